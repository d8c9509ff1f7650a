// Native code against the interpreter: every operation, hostile bytecode, fuel, and the original's edges.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <set>
#include <sstream>

#include "prop_amm_vectors.hpp"
#include "running.hpp"
#include "strategy/native_emit.hpp"

namespace kb = calyx::kernels::bytecode;
namespace math = calyx::kernels::math;
namespace prop_amm = calyx::kernels::prop_amm;
using calyx::strategy::Compiled;
using calyx::strategy::make_native;
using calyx::strategy::native_fault;
using calyx::strategy::NativeCode;
using calyx::strategy::NativeStrategy;
using calyx::testing::call_both;
using calyx::testing::Dice;
using kb::Ending;
using kb::Instruction;
using kb::Mode;
using kb::Op;
using kb::Rare;

namespace {

Compiled compiled(const std::string& name) {
  auto made = calyx::strategy::compile(calyx::testing::prop_amm_text("strategies/" + name + ".rs"));
  REQUIRE(std::holds_alternative<Compiled>(made));
  return std::get<Compiled>(std::move(made));
}

Compiled compiled_body(std::string_view items, std::string_view body) {
  auto made = calyx::strategy::compile(calyx::testing::source_of(items, body));
  REQUIRE(std::holds_alternative<Compiled>(made));
  return std::get<Compiled>(std::move(made));
}

/// Whether this build makes native code; says so where it does not.
bool native_here(const char* test) {
  std::string why;
  if (make_native(compiled_body("", "7"), &why) != nullptr) return true;
  REQUIRE(why == "this build has no assembler");
#if defined(__x86_64__)
  REQUIRE(calyx::testing::may_lack(test, "libxbyak-dev"));
#else
  calyx::testing::skipped(test, "native code is for x86-64");
#endif
  return false;
}

Instruction instruction(Op op, std::uint32_t a = 0, std::uint32_t b = 0, std::uint32_t c = 0) {
  return {op, static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b), static_cast<std::uint16_t>(c)};
}

std::uint64_t edge_value(Dice& dice) {
  static constexpr std::uint64_t edges[] = {0,
                                            1,
                                            2,
                                            3,
                                            7,
                                            10,
                                            63,
                                            64,
                                            65,
                                            127,
                                            128,
                                            255,
                                            0x7fff,
                                            0xffff,
                                            0x7fffffff,
                                            0x80000000,
                                            0xffffffff,
                                            0x100000000,
                                            1000000007,
                                            0x7fffffffffffffff,
                                            0x8000000000000000,
                                            0x8000000000000001,
                                            0xfffffffffffffffe,
                                            0xffffffffffffffff,
                                            0x3ff0000000000000,  // 1.0
                                            0xbff8000000000000,  // -1.5
                                            0x7ff0000000000000,  // infinity
                                            0xfff0000000000000,
                                            0x7ff8000000000001,  // no number
                                            0xfff4000000000000,
                                            0x43e0000000000000,                       // 2^63
                                            0x43f0000000000000,                       // 2^64
                                            0xc3e0000000000000,                       // -2^63
                                            0x47f0000000000000,                       // 2^128
                                            0x0000000000000001 | 0x000f000000000000,  // subnormal
                                            0x4024000000000000};                      // 10.0
  switch (dice.below(5)) {
    case 0: return dice.next();
    case 1: return dice.next() >> dice.below(64);
    case 2: return math::bits_of(dice.uniform(-1000.0, 1000.0));
    default: return edges[dice.below(std::size(edges))];
  }
}

/// Writes programs of random operations. Slots 4 to 27 are theirs, 28 and on are kept for addresses and
/// lengths.
class Author {
 public:
  static constexpr std::uint32_t first = 4;
  static constexpr std::uint32_t slots = 24;
  static constexpr std::uint32_t lengths = first + slots;  // 28: two small lengths
  static constexpr std::uint32_t stack = 96;

  explicit Author(Dice& dice) : dice_(dice) {}

  /// A program of about `count` operations, one of which is `op`, and then a sum over all slots. A calm one
  /// has no other operations that could end it, so it can be long.
  Compiled program(Op op, std::uint32_t count, bool calm, bool trade) {
    made_ = {};
    made_.stack_slots = stack;
    made_.constants.resize(40);
    for (auto& byte : made_.constants) byte = static_cast<unsigned char>(dice_.next());
    const bool calls = dice_.below(3) == 0;
    begin();
    const std::uint32_t chosen = static_cast<std::uint32_t>(dice_.below(count));
    std::vector<std::size_t> jumps;
    std::vector<std::uint32_t> starts;
    for (std::uint32_t i = 0; i < count; ++i) {
      starts.push_back(static_cast<std::uint32_t>(made_.code.size()));
      Op next = op;
      if (i != chosen) do
          next = any();
        while (calm && may_end(next));
      if (calls && dice_.below(8) == 0) {
        starts.push_back(static_cast<std::uint32_t>(made_.code.size()));
        calls_.push_back(made_.code.size());
        add(instruction(Op::call, 32 + static_cast<std::uint32_t>(dice_.below(8))));
      }
      if (is_jump(next)) jumps.push_back(made_.code.size());
      operation(next);
    }
    const auto end = static_cast<std::uint32_t>(made_.code.size());
    starts.push_back(end);
    sum(first, slots);
    // All of the jumps lead to the beginning of some operation, back too at times.
    for (const std::size_t at : jumps) {
      std::uint32_t to = starts[dice_.below(starts.size())];
      if (to <= at && dice_.below(3) != 0) to = end;
      made_.code[at].c =
          static_cast<std::uint16_t>(static_cast<std::int32_t>(to) - static_cast<std::int32_t>(at) - 1);
    }
    if (!calls_.empty()) {
      const auto callee = static_cast<std::uint32_t>(made_.code.size());
      for (const std::size_t at : calls_) {
        made_.code[at].b = static_cast<std::uint16_t>(callee);
        made_.code[at].c = 0;
      }
      for (int i = 0; i < 6; ++i) {
        Op next = Op::jump;
        while (is_jump(next) || next == Op::leave || next == Op::panic || next == Op::fuel_end ||
               next == Op::call)
          next = any();
        operation(next);
      }
      add(instruction(Op::address, 5, static_cast<std::uint32_t>(dice_.below(20))));
      add(instruction(Op::leave));
      calls_.clear();
    }
    if (trade) made_.after_swap = 0;
    made_.compute_swap = 0;
    return made_;
  }

  static bool may_end(Op op) {
    return is_jump(op) || op == Op::panic || op == Op::require || op == Op::fuel_end || op == Op::div_u ||
           op == Op::rem_u || (op >= Op::load_8 && op < Op::integer);
  }
  static bool is_jump(Op op) {
    return op == Op::jump || op == Op::jump_if || op == Op::jump_unless ||
           (op >= Op::jump_eq && op <= Op::jump_not_zero_w);
  }

 private:
  Op any() { return static_cast<Op>(dice_.below(static_cast<std::uint64_t>(Op::integer) + 1)); }
  void add(const Instruction& it) { made_.code.push_back(it); }
  std::uint32_t slot(std::uint32_t width = 1) {
    return first + static_cast<std::uint32_t>(dice_.below(slots - width + 1));
  }
  std::uint32_t pool(std::uint64_t value) {
    made_.pool.push_back(value);
    return static_cast<std::uint32_t>(made_.pool.size() - 1);
  }
  void constant(std::uint32_t at, std::uint64_t value) { add(instruction(Op::constant, at, pool(value))); }

  /// Values in all slots, known to the compiler of native code or not.
  void begin() {
    for (std::uint32_t i = 0; i < slots; ++i) {
      if (dice_.coin()) {
        constant(first + i, edge_value(dice_));
      } else {
        // The payload has such numbers from byte 32 on.
        add(instruction(Op::load_64, first + i, 0, 32 + 8 * static_cast<std::uint32_t>(dice_.below(60))));
      }
    }
    // What lies in the stack before a call is nobody's business, so nothing of it may be read.
    add(instruction(Op::clear, lengths, 0, stack - lengths));
    constant(lengths, dice_.below(20));
    constant(lengths + 1, 1 + dice_.below(3));
    constant(lengths + 2, 0);
  }
  void sum(std::uint32_t from, std::uint32_t count) {
    add(instruction(Op::load, 0, 17));
    // At times of a few: then nobody reads the others, and they need not be kept.
    const bool all = dice_.coin();
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!all && dice_.below(4) != 0) continue;
      add(instruction(Op::mul_i, 0, 0, 31));
      add(instruction(Op::add, 0, 0, from + i));
    }
    add(instruction(Op::leave));
  }

  /// An address, mostly a good one, into slot `at`; its number is known, or comes by way of the payload's.
  void address(std::uint32_t at) {
    static constexpr std::uint32_t sizes[] = {stack * 8, 1049, 1024, 40};
    const std::uint64_t segment = dice_.below(4);
    const std::uint32_t size = sizes[segment];
    std::uint64_t offset = segment == 0 ? 8 * (first + dice_.below(slots - 4)) : dice_.below(size - 16);
    if (dice_.below(4) == 0) offset += dice_.below(8);
    if (dice_.below(6) == 0) offset = size - dice_.below(18);
    if (dice_.below(40) == 0) offset = dice_.next();
    const std::uint64_t value =
        (dice_.below(60) == 0 ? dice_.next() : segment) << 32 | (offset & 0xffffffffU);
    if (segment == 0 && dice_.below(3) != 0)
      add(instruction(Op::address, at, static_cast<std::uint32_t>(offset / 8) % (stack - 1)));
    else
      constant(at, value);
    if (dice_.coin()) {
      // Byte 24 of the payload is 0, which nobody knows beforehand.
      add(instruction(Op::load_8, at + 1 < first + slots ? at + 1 : at - 1, 0, 24));
      add(instruction(Op::add, at, at, at + 1 < first + slots ? at + 1 : at - 1));
    }
  }

  void operation(Op op) {
    const auto bits = [&] {
      static constexpr std::uint32_t widths[] = {8, 16, 32, 64, 128};
      return widths[dice_.below(std::size(widths))];
    };
    const auto small = [&] {
      return static_cast<std::uint32_t>(dice_.coin() ? dice_.below(70) : dice_.next() & 0xffff);
    };
    switch (op) {
      case Op::leave:  // in the middle, only at the end of a program
      case Op::call: return;
      case Op::panic:
      case Op::fuel_end:
        if (dice_.below(4) == 0) add(instruction(op, 0, 5));
        return;
      case Op::load: add(instruction(op, slot(), dice_.next() & 0xffff, dice_.next() & 0xffff)); return;
      case Op::constant: constant(slot(), edge_value(dice_)); return;
      case Op::constant_w: {
        const std::uint32_t at = pool(edge_value(dice_));
        pool(edge_value(dice_));
        add(instruction(op, slot(2), at));
        return;
      }
      case Op::clear: {
        const auto count = static_cast<std::uint32_t>(dice_.below(20));
        add(instruction(op, slot(count == 0 ? 1 : count), 0, count));
        return;
      }
      case Op::move_many: {
        const auto count = static_cast<std::uint32_t>(dice_.below(20));
        add(instruction(op, slot(count == 0 ? 1 : count), slot(count == 0 ? 1 : count), count));
        return;
      }
      case Op::jump_eq_i:
      case Op::jump_ne_i: add(instruction(op, slot(), small())); return;
      case Op::require:
        if (dice_.coin()) return;
        add(instruction(op, slot(), 6));
        return;
      case Op::div_i:
      case Op::rem_i: add(instruction(op, slot(), slot(), std::max(1U, small()))); return;
      case Op::div_wi:
      case Op::rem_wi: add(instruction(op, slot(2), slot(2), std::max(1U, small()))); return;
      case Op::add_i:
      case Op::sub_i:
      case Op::mul_i:
      case Op::and_i:
      case Op::shift_left_i:
      case Op::shift_right_i: add(instruction(op, slot(), slot(), small())); return;
      case Op::add_wi:
      case Op::sub_wi:
      case Op::mul_wi: add(instruction(op, slot(2), slot(2), small())); return;
      case Op::double_to_u:
      case Op::double_to_s: {
        const std::uint32_t width = bits();
        add(instruction(op, slot(), slot(), std::min(64U, width)));
        return;
      }
      case Op::function_f:
        add(instruction(op, slot(), slot(2),
                        static_cast<std::uint32_t>(
                            dice_.below(1 + static_cast<std::uint64_t>(kb::RealFunction::copy_sign)))));
        return;
      case Op::address: add(instruction(op, slot(), slot())); return;
      case Op::address_constant:
        add(instruction(op, slot(), static_cast<std::uint32_t>(dice_.below(44))));
        return;
      case Op::load_8:
      case Op::load_16:
      case Op::load_32:
      case Op::load_64: {
        const std::uint32_t at = slot();
        address(at);
        add(instruction(op, slot(), at, static_cast<std::uint32_t>(dice_.below(12))));
        return;
      }
      case Op::store_8:
      case Op::store_16:
      case Op::store_32:
      case Op::store_64: {
        const std::uint32_t at = slot();
        address(at);
        add(instruction(op, at, slot(), static_cast<std::uint32_t>(dice_.below(12))));
        return;
      }
      case Op::load_many: {
        const std::uint32_t at = slot();
        const auto count = static_cast<std::uint32_t>(dice_.below(6));
        address(at);
        add(instruction(op, slot(count == 0 ? 1 : count), at, count));
        return;
      }
      case Op::store_many: {
        const std::uint32_t at = slot();
        const auto count = static_cast<std::uint32_t>(dice_.below(6));
        address(at);
        add(instruction(op, at, slot(count == 0 ? 1 : count), count));
        return;
      }
      case Op::copy:
      case Op::fill_8: {
        const std::uint32_t to = slot();
        address(to);
        const std::uint32_t from = slot();
        if (from == to) return;
        if (op == Op::copy) address(from);
        constant(lengths, dice_.coin() ? std::uint64_t{1} << dice_.below(6) : dice_.below(80));
        add(instruction(op, to, from, lengths));
        return;
      }
      case Op::fill_slots: {
        const std::uint32_t to = slot();
        address(to);
        constant(lengths, dice_.below(4));
        constant(lengths + 1, dice_.below(3));
        add(instruction(op, to, slot(3), lengths));
        return;
      }
      case Op::index_8:
      case Op::index_address: {
        const std::uint32_t slice = slot(3);
        address(slice);
        constant(slice + 1, dice_.below(100));
        constant(slice + 2, dice_.below(100));
        add(instruction(op, slot(), slice, dice_.coin() ? slice + 2 : slot()));
        if (op == Op::index_address)
          add(instruction(static_cast<Op>(0), 0, 1 + static_cast<std::uint32_t>(dice_.below(40))));
        return;
      }
      case Op::bound:
      case Op::range:
        constant(lengths, dice_.below(3));
        add(instruction(op, lengths, slot(), slot()));
        return;
      case Op::integer: {
        const std::uint32_t type = bits() | (dice_.coin() ? 0x100U : 0U);
        const std::uint32_t wide = dice_.coin() ? 64U : 128U;
        const std::uint32_t other = bits() | (dice_.coin() ? 0x100U : 0U);
        add(instruction(op, slot(3), slot(2), slot(2)));
        add(instruction(static_cast<Op>(dice_.below(1 + static_cast<std::uint64_t>(Rare::convert))),
                        dice_.coin() ? type : wide, static_cast<std::uint32_t>(dice_.below(4)), other));
        // What follows a checked one mostly asks for it.
        if (dice_.below(3) == 0) add(instruction(Op::require, made_.code[made_.code.size() - 2].a, 2));
        return;
      }
      default:
        // Comparisons are mostly followed by what uses them.
        add(instruction(op, slot(2), slot(2), slot(2)));
        if (dice_.below(3) == 0 && is_test(op)) add(instruction(Op::require, made_.code.back().a, 6));
    }
  }
  static bool is_test(Op op) {
    return (op >= Op::eq && op <= Op::le_s) || (op >= Op::eq_w && op <= Op::le_sw) ||
           (op >= Op::eq_f && op <= Op::le_f);
  }

  Dice& dice_;
  Compiled made_;
  std::vector<std::size_t> calls_;
};

/// Lengths 1,049 or 1,066: numbers of the edges from byte 32 on, a 0 at byte 24.
std::vector<unsigned char> edge_payload(Dice& dice, std::size_t size) {
  std::vector<unsigned char> data(size);
  for (auto& byte : data) byte = static_cast<unsigned char>(dice.next());
  for (std::size_t at = 32; at + 8 <= size; at += 8) {
    const std::uint64_t value = edge_value(dice);
    std::memcpy(data.data() + at, &value, 8);
  }
  data[24] = 0;
  return data;
}

std::vector<std::string> maps() {
  std::ifstream file("/proc/self/maps");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}
/// The lines whose permissions contain all of `letters`, without a file behind them.
std::set<std::string> lines_with(std::string_view letters) {
  std::set<std::string> found;
  for (const std::string& line : maps()) {
    std::istringstream words(line);
    std::string range, permissions, offset, device, node, path;
    words >> range >> permissions >> offset >> device >> node >> path;
    bool all = true;
    for (const char letter : letters) all = all && permissions.find(letter) != std::string::npos;
    if (all && path.empty()) found.insert(range);
  }
  return found;
}

}  // namespace

TEST_CASE("every operation does natively what the interpreter does") {
  if (!native_here("every operation natively")) return;
  const std::uint64_t rounds = calyx::testing::by_scale<std::uint64_t>(4, 24, 2'000);
  Dice dice(0x7a11);
  Author author(dice);
  std::uint64_t programs = 0;
  std::uint64_t returned = 0;
  std::set<std::uint16_t> endings;
  std::vector<std::uint64_t> returned_of(static_cast<std::size_t>(Op::integer) + 1);
  for (std::uint64_t round = 0; round < rounds; ++round)
    for (std::uint64_t op = 0; op <= static_cast<std::uint64_t>(Op::integer); ++op) {
      CAPTURE(round);
      CAPTURE(op);
      const bool trade = dice.below(3) == 0;
      const bool calm = dice.below(3) == 0;
      const auto count = static_cast<std::uint32_t>(1 + dice.below(calm ? 60 : dice.coin() ? 3 : 14));
      const Compiled made = author.program(static_cast<Op>(op), count, calm, trade);
      REQUIRE(native_fault(made).empty());
      std::string why;
      const auto native = make_native(made, &why);
      CAPTURE(why);
      REQUIRE(native != nullptr);
      ++programs;
      for (int i = 0; i < 4; ++i) {
        auto data = edge_payload(dice, trade ? 1066 : 1049);
        std::vector<unsigned char> storage(1024);
        for (auto& byte : storage) byte = static_cast<unsigned char>(dice.next());
        const std::uint64_t fuel = dice.below(8) == 0 ? dice.below(200) : 3'000;
        const auto called = call_both(made, native.get(), data, trade ? &storage : nullptr, fuel);
        endings.insert(static_cast<std::uint16_t>(called.outcome.ending));
        if (called.outcome.ending == Ending::returned) {
          ++returned;
          ++returned_of[op];
        }
      }
    }
  // A generator of panics alone would test the interpreter against itself.
  CHECK(returned > programs * 2);
  CHECK(endings.size() >= 6);
  // A few rounds do not bring every operation to a good end.
  for (std::size_t op = 0; op < returned_of.size() && rounds >= 24; ++op) {
    CAPTURE(op);
    CHECK(returned_of[op] > 0);
  }
  calyx::testing::told("random programs run natively", programs);
}

TEST_CASE("with any amount of fuel a call ends natively as it does interpreted") {
  if (!native_here("native code and fuel")) return;
  const auto every_fuel = [](const Compiled& made, std::vector<unsigned char> data,
                             std::vector<unsigned char>* storage) {
    const auto native = calyx::testing::native_of(made);
    const auto whole = call_both(made, native.get(), data, storage, kb::fuel_default);
    REQUIRE(whole.outcome.ending == Ending::returned);
    REQUIRE(whole.outcome.fuel_used < 5'000);
    for (std::uint64_t fuel = 0; fuel <= whole.outcome.fuel_used + 1; ++fuel) {
      CAPTURE(fuel);
      const auto called = call_both(made, native.get(), data, storage, fuel);
      REQUIRE((called.outcome.ending == Ending::returned) == (fuel >= whole.outcome.fuel_used));
    }
    return whole.outcome.fuel_used;
  };
  auto quote = calyx::testing::payload();
  quote[0] = 1;
  std::uint64_t fuels = 0;
  for (const char* name : {"cp30", "cp66", "ewma_fee", "wobble"})
    fuels += every_fuel(compiled(name), quote, nullptr);
  // Loops, a call, a table and a long copy.
  fuels += every_fuel(
      compiled_body("fn f(x: u64) -> u64 { let mut s = x; for i in 0..9 { s = s * 3 + i; } s }",
                    "let t = [1u64, 5, 7]; let mut b = [0u8; 200]; b.copy_from_slice(&data[..200]);\n"
                    "let mut s = 0u64; let mut i = 0usize; while i < 20 { s += f(i as u64) ^ t[i % 3];\n"
                    "i += 1; } s + b[77] as u64"),
      quote, nullptr);
  // The storage is put back where the interpreter has to begin anew.
  std::vector<unsigned char> trade = calyx::testing::payload();
  trade.resize(1066, 3);
  trade[0] = 2;
  std::vector<unsigned char> storage(1024, 1);
  fuels += every_fuel(compiled("ewma_fee"), trade, &storage);
  calyx::testing::told("amounts of fuel tried natively", fuels);
}

TEST_CASE("a panic after a write leaves the storage that the interpreter leaves") {
  if (!native_here("native code and storage")) return;
  const auto made = calyx::strategy::compile(calyx::testing::source_of(
      "pub fn after_swap(data: &[u8], storage: &mut [u8]) {\n"
      "  storage[3] += 1; storage[9] = storage[3]; if data[5] > 7 { panic!(\"no\"); }\n"
      "  storage[3] += 4; let i = data[6] as usize; storage[1000 + i] = 5; }",
      "1"));
  REQUIRE(std::holds_alternative<Compiled>(made));
  const auto& program = std::get<Compiled>(made);
  const auto native = calyx::testing::native_of(program);
  std::vector<unsigned char> data(1066);
  std::vector<unsigned char> storage(1024, 9);
  const auto plain = call_both(program, native.get(), data, &storage, kb::fuel_default);
  CHECK(plain.outcome.ending == Ending::returned);
  CHECK(plain.storage[3] == 14);
  CHECK(plain.storage[1000] == 5);
  data[6] = 30;
  CHECK(call_both(program, native.get(), data, &storage, kb::fuel_default).outcome.ending ==
        Ending::panic_index);
  data[5] = 8;
  const auto failed = call_both(program, native.get(), data, &storage, kb::fuel_default);
  CHECK(failed.outcome.ending == Ending::panic_explicit);
  CHECK(failed.storage[3] == 10);  // once, not twice
  // Other lengths than those that the code was made for.
  data.resize(1000);
  CHECK(call_both(program, native.get(), data, &storage, kb::fuel_default).outcome.ending ==
        Ending::panic_explicit);
  storage.resize(1003);
  data[5] = 0;
  data[6] = 3;
  CHECK(call_both(program, native.get(), data, &storage, kb::fuel_default).outcome.ending ==
        Ending::panic_index);
}

TEST_CASE("bytecode that reaches out of itself is refused, not run") {
  const auto fault = [](std::vector<Instruction> code, std::uint32_t slots = 8, std::uint32_t entry = 0) {
    Compiled made;
    made.code = std::move(code);
    made.pool = {1, 2};
    made.stack_slots = slots;
    made.compute_swap = entry;
    const std::string found = native_fault(made);
    std::string why;
    if (!found.empty()) {
      REQUIRE(make_native(made, &why) == nullptr);
      REQUIRE(why == found);
    }
    return found;
  };
  const Instruction leave = instruction(Op::leave);
  CHECK(fault({instruction(Op::add, 0, 1, 7), leave}).empty());
  CHECK(fault({instruction(Op::add, 0, 1, 8), leave}) == "the stack is too small at instruction 0");
  CHECK(fault({instruction(Op::add_w, 6, 0, 0), leave}).empty());
  CHECK(fault({instruction(Op::add_w, 7, 0, 0), leave}) == "the stack is too small at instruction 0");
  CHECK(fault({instruction(Op::move_many, 0, 4, 5), leave}) == "the stack is too small at instruction 0");
  CHECK(fault({leave}, 3) == "the stack is too small at instruction 0");
  CHECK(fault({instruction(Op::constant, 0, 1), leave}).empty());
  CHECK(fault({instruction(Op::constant, 0, 2), leave}) == "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::constant_w, 0, 1), leave}) ==
        "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::jump, 0, 0, 0), leave}).empty());
  CHECK(fault({instruction(Op::jump, 0, 0, 1), leave}) == "a jump leads out of the code at instruction 2");
  CHECK(fault({instruction(Op::jump_eq, 0, 1, 0xfff0), leave}).substr(0, 28) ==
        "a jump leads out of the code");
  CHECK(fault({instruction(Op::move, 0, 1)}) == "a jump leads out of the code at instruction 1");
  CHECK(fault({instruction(Op::integer, 0, 1, 2)}) == "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::integer, 0, 1, 2), instruction(static_cast<Op>(40), 64), leave}) ==
        "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::integer, 0, 1, 2), instruction(static_cast<Op>(0), 63), leave}) ==
        "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::div_i, 0, 1, 0), leave}) == "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::div_wi, 0, 1, 0), leave}) == "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(static_cast<Op>(999)), leave}) ==
        "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::function_f, 0, 1, 99), leave}) ==
        "an instruction makes no sense at instruction 0");
  CHECK(fault({instruction(Op::call, 1, 0), leave}) == "a function calls itself at instruction 0");
  CHECK(fault({instruction(Op::call, 1, 9), leave}) == "a call leads out of the code at instruction 0");
  CHECK(fault({leave, instruction(Op::call, 4, 0), leave}, 8, 1).empty());
  CHECK(fault({leave, instruction(Op::call, 8, 0), leave}, 8, 1) ==
        "the stack is too small at instruction 1");
  CHECK(fault({leave}, 8, 1) == "an entry lies out of the code at instruction 1");
  CHECK(fault({leave}, 20'000) == "the program is too large");
  // A chain of calls, one longer than the interpreter has room for.
  for (const std::uint32_t calls : {kb::calls_max, kb::calls_max + 1}) {
    std::vector<Instruction> chain{leave};
    for (std::uint32_t i = 0; i < calls; ++i) {
      chain.push_back(instruction(Op::call, 1, i == 0 ? 0 : 2 * i - 1));
      chain.push_back(leave);
    }
    const auto found = fault(chain, 100, 2 * calls - 1);
    CHECK(found.empty() == (calls == kb::calls_max));
  }
}

TEST_CASE("code is never writable and executable at once, and goes when its owner does") {
  if (!native_here("native code's pages")) return;
  const auto both_before = lines_with("wx");
  const auto run_before = lines_with("x");
  const auto made = compiled("ewma_fee");
  {
    const auto native = calyx::testing::native_of(made);
    CHECK(lines_with("wx") == both_before);
    CHECK(lines_with("x").size() == run_before.size() + 1);
    CHECK(native->size() > 100);
  }
  CHECK(lines_with("x") == run_before);
}

TEST_CASE("code grows with its program and no faster") {
  if (!native_here("native code's size")) return;
  // Every operation has a rare case, after which the code has to go on somewhere.
  for (const char* piece :
       {"v += (v * 7 / (v + 3)) ^ (v >> 5);", "if v > 9 { v = v * 3; } else { v += 5; }"}) {
    CAPTURE(piece);
    std::string body = "let mut v = data[0] as u128;";
    for (int i = 0; i < 900; ++i) body += piece;
    const auto made = compiled_body("", body + " v as u64");
    const auto native = calyx::testing::native_of(made);
    CHECK(native->size() < made.code.size() * 300);
    call_both(made, native.get(), calyx::testing::payload(), nullptr, kb::fuel_default);
  }
}

TEST_CASE("where the system refuses executable memory, programs are interpreted") {
  if (!native_here("a system without executable memory")) return;
  const auto made = compiled("cp30");
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // From here on no page of this process becomes executable.
    sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 16),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 13),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{static_cast<unsigned short>(std::size(rules)), rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      _exit(2);
    std::string why;
    const auto native = make_native(made, &why);
    if (native != nullptr || why != "the system allows no executable memory") _exit(3);
    std::vector<std::uint64_t> stack(made.stack_slots);
    NativeStrategy strategy(made.view(), native.get(), stack.data());
    std::uint64_t output = 0;
    const bool answered = strategy.compute_swap(prop_amm::Side::buy, 10'000'000'000, 100'000'000'000,
                                                10'000'000'000'000, nullptr, output);
    _exit(answered && output == 99'600'698 ? 0 : 4);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) {
    calyx::testing::skipped("a system without executable memory", "no system call filters here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("native strategies earn the original's edges to the bit, and break where they broke") {
  if (!native_here("the original's edges natively")) return;
  const auto steps = calyx::testing::by_scale<std::uint32_t>(200, 10'000, 10'000);
  std::uint64_t edges = 0;
  std::uint64_t violations = 0;
  for (const char* name :
       {"cp30", "cp66", "cp500", "ewma_fee", "wobble", "bad_monotone", "bad_concave", "bad_concave_hidden"}) {
    const auto made = compiled(name);
    const auto native = calyx::testing::native_of(made);
    std::vector<std::uint64_t> stack(made.stack_slots);
    NativeStrategy strategy(made.view(), native.get(), stack.data());
    const auto compared = calyx::testing::compare_edges(name, strategy, steps);
    edges += compared.with_edge;
    violations += compared.all - compared.with_edge;
  }
  CHECK(edges == (steps == 200 ? 320 : 722));
  CHECK(violations == (steps == 200 ? 0 : 24));
  calyx::testing::told("edges of native strategies compared", edges);
}

TEST_CASE("a native range is the interpreter's range, with its faults") {
  const prop_amm::Settings settings{60, true};
  constexpr std::uint64_t count = 12;
  for (const char* name : {"cp66", "ewma_fee", "bad_concave_hidden"})
    for (const std::uint64_t fuel : {kb::fuel_default, std::uint64_t{30}, std::uint64_t{150}}) {
      CAPTURE(name);
      CAPTURE(fuel);
      const auto made = compiled(name);
      const auto native = calyx::testing::native_of(made);
      std::vector<std::uint64_t> stack(made.stack_slots, 0xdeadbeefdeadbeefULL);
      std::vector<prop_amm::Result> one(count + 1);
      std::vector<prop_amm::Result> two(count + 1);
      std::vector<prop_amm::Fault> one_faults(count + 1);
      std::vector<prop_amm::Fault> two_faults(count + 1);
      two[0].edge = two[count].edge = 77.0;
      prop_amm::prop_amm_range(made.view(), stack.data(), 9, 1, count, settings, {fuel, false}, one.data(),
                               one_faults.data());
      calyx::strategy::native_range(made.view(), native.get(), stack.data(), 9, 1, count, settings,
                                    {fuel, false}, two.data(), two_faults.data());
      for (std::uint64_t i = 1; i < count; ++i) {
        CHECK(math::bits_of(one[i].edge) == math::bits_of(two[i].edge));
        CHECK(one[i].end == two[i].end);
        CHECK(one[i].search == two[i].search);
        CHECK(one[i].step == two[i].step);
        CHECK(one_faults[i].ending == two_faults[i].ending);
        CHECK(one_faults[i].at == two_faults[i].at);
        if (fuel == 30) CHECK(two[i].end == prop_amm::End::strategy_failed);
      }
      CHECK(two[0].edge == 77.0);
      CHECK(two[count].edge == 77.0);
    }
}
