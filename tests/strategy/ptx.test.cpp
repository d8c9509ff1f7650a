// PTX against the interpreter: every operation, hostile bytecode, fuel, and the original's edges, by a
// machine that reads the text; and the assembler's opinion of it, where there is one.
#include "strategy/ptx.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>

#include "prop_amm_vectors.hpp"
#include "ptx_machine.hpp"
#include "random_programs.hpp"
#include "running.hpp"
#include "store/scratch.hpp"
#include "strategy/native_emit.hpp"

namespace kb = calyx::kernels::bytecode;
namespace linked = calyx::kernels::linked;
namespace math = calyx::kernels::math;
namespace prop_amm = calyx::kernels::prop_amm;
using calyx::strategy::Compiled;
using calyx::strategy::native_fault;
using calyx::strategy::ptx_of;
using calyx::testing::Author;
using calyx::testing::Dice;
using calyx::testing::edge_payload;
using calyx::testing::instruction;
using calyx::testing::PtxAsked;
using kb::Ending;
using kb::Instruction;
using kb::Op;

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

/// A program with its text, read.
struct Text : calyx::testing::PtxText {
  explicit Text(const Compiled& program)
      : PtxText(text_of(program), program.stack_slots, program.constants.data(), program.constants.size()),
        made(program) {}
  static std::string text_of(const Compiled& program) {
    std::string why;
    std::string text = ptx_of(program, &why, 2 * calyx::strategy::ptx_bytes_max);
    CAPTURE(why);
    REQUIRE(!text.empty());
    return text;
  }
  Compiled made;
};

/// What a call came to, and whether the text answered it itself.
struct Compared {
  kb::Outcome outcome;
  bool answered = false;
  std::vector<unsigned char> storage;
};

/// One call of `text` and one of the interpreter, which agree; where the text gives up, what it did to the
/// storage is its own.
Compared compare(const Text& text, const std::vector<unsigned char>& data, bool trade,
                 const std::vector<unsigned char>& storage, std::uint64_t fuel) {
  const Compiled& made = text.made;
  std::vector<unsigned char> kept = storage;
  const auto called = calyx::testing::call(made, nullptr, data, trade ? &kept : nullptr, fuel);
  std::vector<std::uint64_t> stack(made.stack_slots, 0xdeadbeefdeadbeefULL);
  alignas(8) unsigned char changed[prop_amm::storage_bytes];
  alignas(8) unsigned char payload[linked::trade_skew + linked::trade_size] = {};
  static_assert(sizeof payload >= linked::quote_skew + linked::quote_size);
  const std::uint32_t skew = trade ? linked::trade_skew : linked::quote_skew;
  REQUIRE(data.size() == (trade ? linked::trade_size : linked::quote_size));
  std::memcpy(payload + skew, data.data(), data.size());
  if (trade) std::memcpy(changed, storage.data(), sizeof changed);
  const linked::End end = text.call(trade, stack.data(), payload + skew, trade ? changed : nullptr, fuel);
  Compared compared{called.outcome, end.at != linked::End::again, called.storage};
  if (!compared.answered) return compared;
  REQUIRE(called.outcome.ending == Ending::returned);
  REQUIRE(end.value == called.outcome.value);
  REQUIRE(end.at == called.outcome.at);
  REQUIRE(fuel - end.fuel == called.outcome.fuel_used);
  if (trade) REQUIRE(std::memcmp(changed, called.storage.data(), sizeof changed) == 0);
  return compared;
}

}  // namespace

TEST_CASE("every operation does as PTX what the interpreter does") {
  const std::uint64_t rounds = calyx::testing::by_scale<std::uint64_t>(2, 12, 400);
  Dice dice(0x97a5);
  Author author(dice);
  std::uint64_t programs = 0;
  std::uint64_t returned = 0;
  std::uint64_t gave_up = 0;
  std::set<std::uint16_t> endings;
  std::vector<std::uint64_t> answered_of(static_cast<std::size_t>(Op::integer) + 1);
  for (std::uint64_t round = 0; round < rounds; ++round)
    for (std::uint64_t op = 0; op <= static_cast<std::uint64_t>(Op::integer); ++op) {
      CAPTURE(round);
      CAPTURE(op);
      const bool trade = dice.below(3) == 0;
      const bool calm = dice.below(3) == 0;
      const auto count = static_cast<std::uint32_t>(1 + dice.below(calm ? 60 : dice.coin() ? 3 : 14));
      const Text text(author.program(static_cast<Op>(op), count, calm, trade));
      ++programs;
      for (int i = 0; i < 4; ++i) {
        const auto data = edge_payload(dice, trade ? linked::trade_size : linked::quote_size);
        std::vector<unsigned char> storage(prop_amm::storage_bytes);
        for (auto& byte : storage) byte = static_cast<unsigned char>(dice.next());
        const std::uint64_t fuel = dice.below(8) == 0 ? dice.below(200) : 3'000;
        const Compared compared = compare(text, data, trade, storage, fuel);
        endings.insert(static_cast<std::uint16_t>(compared.outcome.ending));
        if (compared.outcome.ending != Ending::returned) continue;
        ++returned;
        if (compared.answered)
          ++answered_of[op];
        else
          ++gave_up;
      }
    }
  CHECK(returned > programs * 2);
  CHECK(endings.size() >= 6);
  // An address that a program makes up may name a slot that lies in a register; nothing else is given up.
  CHECK(gave_up * 50 < returned);
  for (std::size_t op = 0; op < answered_of.size() && rounds >= 12; ++op) {
    CAPTURE(op);
    CHECK(answered_of[op] > 0);
  }
  calyx::testing::told("random programs run as PTX", programs);
  calyx::testing::told("calls given up that the interpreter answered", gave_up);
}

TEST_CASE("with any amount of fuel a call ends as PTX as it does interpreted") {
  std::uint64_t fuels = 0;
  const auto every_fuel = [&](const Compiled& made, const std::vector<unsigned char>& data, bool trade,
                              const std::vector<unsigned char>& storage) {
    const Text text(made);
    const Compared whole = compare(text, data, trade, storage, kb::fuel_default);
    REQUIRE(whole.outcome.ending == Ending::returned);
    REQUIRE(whole.answered);
    REQUIRE(whole.outcome.fuel_used < 5'000);
    for (std::uint64_t fuel = 0; fuel <= whole.outcome.fuel_used + 1; ++fuel) {
      CAPTURE(fuel);
      REQUIRE(compare(text, data, trade, storage, fuel).answered == (fuel >= whole.outcome.fuel_used));
    }
    fuels += whole.outcome.fuel_used;
  };
  auto quote = calyx::testing::payload();
  quote[0] = 1;
  const std::vector<unsigned char> storage(prop_amm::storage_bytes, 1);
  for (const char* name : {"cp30", "cp66", "ewma_fee", "wobble"})
    every_fuel(compiled(name), quote, false, storage);
  // Loops, a call, a table and a long copy.
  every_fuel(
      compiled_body("fn f(x: u64) -> u64 { let mut s = x; for i in 0..9 { s = s * 3 + i; } s }",
                    "let t = [1u64, 5, 7]; let mut b = [0u8; 200]; b.copy_from_slice(&data[..200]);\n"
                    "let mut s = 0u64; let mut i = 0usize; while i < 20 { s += f(i as u64) ^ t[i % 3];\n"
                    "i += 1; } s + b[77] as u64"),
      quote, false, storage);
  std::vector<unsigned char> trade = calyx::testing::payload();
  trade.resize(linked::trade_size, 3);
  trade[0] = 2;
  every_fuel(compiled("ewma_fee"), trade, true, storage);
  calyx::testing::told("amounts of fuel tried as PTX", fuels);
}

TEST_CASE("a text gives up where a call panics, and then nobody sees what it wrote") {
  const auto made = calyx::strategy::compile(calyx::testing::source_of(
      "pub fn after_swap(data: &[u8], storage: &mut [u8]) {\n"
      "  storage[3] += 1; storage[9] = storage[3]; if data[5] > 7 { panic!(\"no\"); }\n"
      "  storage[3] += 4; let i = data[6] as usize; storage[1000 + i] = 5; }",
      "1"));
  REQUIRE(std::holds_alternative<Compiled>(made));
  const auto& program = std::get<Compiled>(made);
  const Text text(program);
  std::vector<std::uint64_t> stack(program.stack_slots);
  const auto trade = [&](std::uint64_t input, std::vector<unsigned char>& storage) {
    linked::Strategy<PtxAsked> strategy(program.view(), stack.data(), kb::fuel_default, {&text});
    prop_amm::ProgramStrategy plain(program.view(), stack.data());
    strategy.begin();
    plain.begin();
    std::vector<unsigned char> other = storage;
    const prop_amm::Trade told{prop_amm::Side::buy, input, 1, 2, 3, 4};
    const bool one = strategy.after_swap(told, storage.data());
    CHECK(one == plain.after_swap(told, other.data()));
    CHECK(storage == other);
    CHECK(strategy.outcome().ending == plain.outcome().ending);
    CHECK(strategy.outcome().at == plain.outcome().at);
    CHECK(strategy.executed() == plain.executed());
    return strategy.outcome().ending;
  };
  std::vector<unsigned char> storage(prop_amm::storage_bytes, 9);
  // Bytes 5 and 6 of a trade are the fourth and the fifth of its input.
  CHECK(trade(0, storage) == Ending::returned);
  CHECK(storage[3] == 14);
  CHECK(storage[1000] == 5);
  CHECK(trade(std::uint64_t{30} << 32, storage) == Ending::panic_index);
  CHECK(storage[3] == 19);
  CHECK(trade(std::uint64_t{8} << 24, storage) == Ending::panic_explicit);
  CHECK(storage[3] == 20);  // once, not twice
}

TEST_CASE("of bytecode that reaches out of itself, or needs too long a text, there is no PTX") {
  const auto why = [](std::vector<Instruction> code, std::uint32_t slots = 8, std::uint32_t entry = 0) {
    Compiled made;
    made.code = std::move(code);
    made.pool = {1, 2};
    made.stack_slots = slots;
    made.compute_swap = entry;
    std::string reason;
    const std::string text = ptx_of(made, &reason);
    CHECK(text.empty() == !reason.empty());
    return reason;
  };
  const Instruction leave = instruction(Op::leave);
  CHECK(why({instruction(Op::add, 0, 1, 7), leave}).empty());
  CHECK(why({instruction(Op::add, 0, 1, 8), leave}) == "the stack is too small at instruction 0");
  CHECK(why({instruction(Op::constant, 0, 2), leave}) == "an instruction makes no sense at instruction 0");
  CHECK(why({instruction(Op::jump, 0, 0, 1), leave}) == "a jump leads out of the code at instruction 2");
  CHECK(why({instruction(Op::div_i, 0, 1, 0), leave}) == "an instruction makes no sense at instruction 0");
  CHECK(why({instruction(Op::call, 1, 0), leave}) == "a function calls itself at instruction 0");
  CHECK(why({leave}, 8, kb::Program::no_entry) == "it quotes nothing");
  // Each function calls the one before it twice: put in their places these would be 2^30.
  std::vector<Instruction> chain{leave};
  for (std::uint32_t i = 0; i < 30; ++i) {
    const std::uint32_t callee = i == 0 ? 0 : 3 * i - 2;
    chain.push_back(instruction(Op::call, 1, callee));
    chain.push_back(instruction(Op::call, 1, callee));
    chain.push_back(leave);
  }
  CHECK(why(chain, 100, 3 * 30 - 2) == "its text would be too long");
  // A few instructions that each go over thousands of slots: given up long before gigabytes are written.
  const auto peak_kib = [] {
    struct rusage used {};
    ::getrusage(RUSAGE_SELF, &used);
    return used.ru_maxrss;
  };
  const long before = peak_kib();
  for (const Instruction& wide :
       {instruction(Op::move_many, 0, 4'000, 4'000), instruction(Op::clear, 0, 0, 4'000)}) {
    std::vector<Instruction> code(3'000, wide);
    code.push_back(leave);
    CHECK(why(std::move(code), 8'000) == "its text would be too long");
  }
  CHECK(peak_kib() - before < 300'000);
  // A jump around the code, forever.
  CHECK(why({instruction(Op::jump, 0, 0, 0xffff), leave}).empty());
}

TEST_CASE("as PTX strategies quote what the original runner quoted") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::prop_amm_file("quotes.json")).get(root) == simdjson::SUCCESS);
  std::uint64_t quotes = 0;
  std::uint64_t trades = 0;
  const auto number = calyx::testing::prop_amm_number;
  const auto bytes_of = [](std::string_view hex) {
    std::vector<unsigned char> bytes(prop_amm::storage_bytes);
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      bytes[i / 2] = static_cast<unsigned char>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16));
    return bytes;
  };
  const auto append = [](std::vector<unsigned char>& data, std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i) data.push_back(static_cast<unsigned char>(value >> (8 * i)));
  };
  for (const auto [name, strategy] : simdjson::dom::object(root["strategies"])) {
    const std::string named(name);
    CAPTURE(named);
    const Text text(compiled(named));
    for (const auto row : simdjson::dom::array(strategy["quotes"])) {
      const simdjson::dom::array cells = row;
      std::vector<unsigned char> data{static_cast<unsigned char>(number(cells.at(0)))};
      for (std::size_t i = 1; i < 4; ++i) append(data, number(cells.at(i)));
      const auto storage = bytes_of(std::string_view(cells.at(4)));
      data.insert(data.end(), storage.begin(), storage.end());
      const Compared compared = compare(text, data, false, storage, kb::fuel_default);
      REQUIRE(compared.answered);
      REQUIRE(compared.outcome.value == number(cells.at(5)));
      ++quotes;
    }
    simdjson::dom::array after;
    if (strategy["after_swap"].get(after) != simdjson::SUCCESS) continue;
    for (const auto row : after) {
      const simdjson::dom::array cells = row;
      std::vector<unsigned char> data{2, static_cast<unsigned char>(number(cells.at(0)))};
      for (std::size_t i = 1; i < 6; ++i) append(data, number(cells.at(i)));
      const auto storage = bytes_of(std::string_view(cells.at(6)));
      data.insert(data.end(), storage.begin(), storage.end());
      const Compared compared = compare(text, data, true, storage, kb::fuel_default);
      REQUIRE(compared.answered);
      REQUIRE(compared.storage == bytes_of(std::string_view(cells.at(7))));
      ++trades;
    }
  }
  CHECK(quotes == 1600);
  CHECK(trades == 60);
  calyx::testing::told("quotes of PTX compared", quotes);
}

TEST_CASE("as PTX strategies earn the original's edges to the bit, and break where they broke") {
  std::uint64_t edges = 0;
  for (const char* name : {"cp30", "cp66", "cp500", "ewma_fee", "wobble"}) {
    const Text text(compiled(name));
    std::vector<std::uint64_t> stack(text.made.stack_slots);
    linked::Strategy<PtxAsked> strategy(text.made.view(), stack.data(), kb::fuel_default, {&text});
    edges += calyx::testing::compare_edges(name, strategy, 200).with_edge;
  }
  CHECK(edges >= 200);
  // What breaks does so sooner or later than after 200 steps: by the interpreter's word.
  for (const char* name : {"bad_monotone", "bad_concave", "bad_concave_hidden"}) {
    const Text text(compiled(name));
    std::vector<std::uint64_t> stack(text.made.stack_slots);
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      linked::Strategy<PtxAsked> one(text.made.view(), stack.data(), kb::fuel_default, {&text});
      prop_amm::ProgramStrategy other(text.made.view(), stack.data());
      const prop_amm::Result result = prop_amm::simulate(seed, {300, true}, one);
      const prop_amm::Result plain = prop_amm::simulate(seed, {300, true}, other);
      CHECK(math::bits_of(result.edge) == math::bits_of(plain.edge));
      CHECK(result.end == plain.end);
      CHECK(result.search == plain.search);
      CHECK(result.step == plain.step);
      CHECK(one.executed() == other.executed());
      CHECK(one.outcome().at == other.outcome().at);
    }
  }
  calyx::testing::told("edges of PTX compared", edges);
}

TEST_CASE("a division by a number that is known is the division, for each number") {
  // Numbers around the multiples of the divisor, where a quotient that is rounded wrongly shows.
  Dice dice(0xd1f1de);
  const std::uint64_t rounds = calyx::testing::by_scale<std::uint64_t>(20, 300, 20'000);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    std::uint64_t by = dice.next() >> dice.below(64);
    if (by == 0) by = 1;
    if (dice.below(4) == 0) by = (std::uint64_t{1} << dice.below(64)) + dice.below(3) - 1;
    if (by == 0) by = 7;
    const std::uint64_t small = (by & 0xffff) == 0 ? 3 : by & 0xffff;
    CAPTURE(by);
    Compiled made;
    made.pool = {by, 0};
    made.stack_slots = 32;
    made.compute_swap = 0;
    made.code = {instruction(Op::load_64, 4, 0, 1),
                 instruction(Op::load_64, 5, 0, 9),
                 instruction(Op::constant_w, 6, 0),
                 instruction(Op::div_u, 8, 4, 6),
                 instruction(Op::rem_u, 9, 4, 6),
                 instruction(Op::div_i, 10, 4, static_cast<std::uint32_t>(small)),
                 instruction(Op::rem_i, 11, 4, static_cast<std::uint32_t>(small)),
                 instruction(Op::div_uw, 12, 4, 6),
                 instruction(Op::rem_uw, 14, 4, 6),
                 instruction(Op::div_wi, 16, 4, static_cast<std::uint32_t>(small)),
                 instruction(Op::rem_wi, 18, 4, static_cast<std::uint32_t>(small)),
                 instruction(Op::load, 0, 1)};
    for (std::uint32_t slot = 8; slot < 20; ++slot) {
      made.code.push_back(instruction(Op::mul_i, 0, 0, 31));
      made.code.push_back(instruction(Op::add, 0, 0, slot));
    }
    made.code.push_back(instruction(Op::leave));
    const Text text(made);
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t quotient = dice.next() >> dice.below(64);
      const std::uint64_t low = dice.below(3) == 0
                                    ? calyx::testing::edge_value(dice)
                                    : (dice.coin() ? by : small) * quotient + dice.below(3) - 1;
      const std::uint64_t high = dice.coin() ? 0 : calyx::testing::edge_value(dice);
      std::vector<unsigned char> data(linked::quote_size);
      std::memcpy(data.data() + 1, &low, 8);
      std::memcpy(data.data() + 9, &high, 8);
      CAPTURE(low);
      CAPTURE(high);
      REQUIRE(compare(text, data, false, {}, kb::fuel_default).answered);
    }
  }
}

TEST_CASE("a call's frame lies in its caller's, in registers and in memory") {
  const auto calls = [](bool in_memory) {
    Compiled made;
    made.stack_slots = 24;
    made.compute_swap = 0;
    made.code = {instruction(Op::load_64, 10, 0, 1), instruction(Op::call, 9, 6),
                 instruction(Op::call, 11, 6), instruction(Op::mul_i, 0, 9, 1'000),
                 instruction(Op::add, 0, 0, 11), instruction(Op::leave),
                 // Slot 1 is its argument, and so is slot 2 when it is called again.
                 instruction(Op::mul_i, 0, 1, 3), instruction(Op::move, 3, 1), instruction(Op::call, 2, 12),
                 instruction(Op::add, 3, 2, 3), instruction(Op::sub, 0, 0, 2), instruction(Op::leave),
                 instruction(Op::add_i, 0, 1, 5), instruction(in_memory ? Op::address : Op::load, 9, 1),
                 instruction(Op::leave)};
    return made;
  };
  for (const bool in_memory : {false, true}) {
    const Text text(calls(in_memory));
    std::vector<unsigned char> data(linked::quote_size);
    data[2] = 77;
    data[3] = 9;
    const Compared compared = compare(text, data, false, {}, 100);
    CHECK(compared.answered);
    CHECK(compared.outcome.value != 0);
    for (std::uint64_t fuel = 0; fuel < 30; ++fuel) compare(text, data, false, {}, fuel);
  }
}

TEST_CASE("an access is answered up to the last byte of its segment, and not beyond") {
  static constexpr Op loads[] = {Op::load_8, Op::load_16, Op::load_32, Op::load_64};
  static constexpr Op stores[] = {Op::store_8, Op::store_16, Op::store_32, Op::store_64};
  std::uint64_t answered = 0;
  std::uint64_t given_up = 0;
  for (std::uint32_t segment = 0; segment < 4; ++segment)
    for (std::uint32_t width = 0; width < 4; ++width)
      for (const bool writes : {false, true})
        for (const bool known : {false, true}) {
          const std::uint32_t size = 1U << width;
          static constexpr std::uint32_t ends[] = {32 * 8, linked::trade_size, prop_amm::storage_bytes, 37};
          const std::uint32_t first = segment == 0 ? 24 * 8 : 0;
          for (const std::int64_t offset :
               {std::int64_t{first} - 1, std::int64_t{first}, std::int64_t{first} + 3,
                std::int64_t{ends[segment]} - size - 1, std::int64_t{ends[segment]} - size,
                std::int64_t{ends[segment]} - size + 1, std::int64_t{ends[segment]}}) {
            const auto address = (std::uint64_t{segment} << 32) + static_cast<std::uint64_t>(offset);
            CAPTURE(segment);
            CAPTURE(size);
            CAPTURE(writes);
            CAPTURE(known);
            CAPTURE(offset);
            Compiled made;
            made.constants.resize(37, 0x5a);
            made.pool = {address, 0x1122334455667788};
            made.stack_slots = 32;
            made.compute_swap = made.after_swap = 0;
            // Slots 24 to 31 lie in memory, and have been written to.
            for (std::uint32_t slot = 24; slot < 32; ++slot)
              made.code.push_back(instruction(Op::load, slot, slot * 77, slot));
            made.code.push_back(instruction(Op::address, 5, 24));
            made.code.push_back(instruction(Op::constant, 6, 1));
            if (known)
              made.code.push_back(instruction(Op::constant, 4, 0));
            else
              made.code.push_back(instruction(Op::load_64, 4, 0, 2));
            if (writes) made.code.push_back(instruction(stores[width], 4, 6));
            made.code.push_back(instruction(loads[width], 0, 4));
            for (std::uint32_t slot = 24; slot < 32; ++slot) {
              made.code.push_back(instruction(Op::mul_i, 0, 0, 31));
              made.code.push_back(instruction(Op::add, 0, 0, slot));
            }
            made.code.push_back(instruction(Op::leave));
            const Text text(made);
            std::vector<unsigned char> data(linked::trade_size);
            for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<unsigned char>(7 * i);
            std::memcpy(data.data() + 2, &address, 8);
            const std::vector<unsigned char> storage(prop_amm::storage_bytes, 3);
            const Compared compared = compare(text, data, true, storage, 1'000);
            // A slot below the exposed ones lies in no memory, unless its address is known.
            if (segment != 0 || known || offset >= first)
              CHECK(compared.answered == (compared.outcome.ending == Ending::returned));
            ++(compared.answered ? answered : given_up);
          }
        }
  CHECK(answered >= 200);
  CHECK(given_up > 100);
}

TEST_CASE("an index is answered below its limit, whether both are known or not") {
  for (std::uint64_t index = 0; index < 12; ++index)
    for (const bool known : {false, true})
      for (const Op op : {Op::bound, Op::index_8, Op::index_address, Op::range}) {
        CAPTURE(index);
        CAPTURE(known);
        Compiled made;
        made.constants.resize(64);
        for (std::size_t i = 0; i < 64; ++i) made.constants[i] = static_cast<unsigned char>(i + 9);
        made.pool = {index, 8};
        made.stack_slots = 32;
        made.compute_swap = 0;
        made.code = {instruction(Op::address_constant, 4, 0), instruction(Op::constant, 5, 1),
                     known ? instruction(Op::constant, 6, 0) : instruction(Op::load_64, 6, 0, 1),
                     instruction(Op::load, 0, 3)};
        switch (op) {
          case Op::bound: made.code.push_back(instruction(op, 6, 5)); break;
          case Op::index_8: made.code.push_back(instruction(op, 0, 4, 6)); break;
          case Op::index_address:
            made.code.push_back(instruction(op, 0, 4, 6));
            made.code.push_back(instruction(Op::move, 0, 3));  // elements of 3 bytes
            break;
          default:
            made.code.push_back(instruction(op, 6, 5, 5));
            made.code.push_back(instruction(Op::load, 7, 4));
            made.code.push_back(instruction(op, 7, 6, 5));
        }
        made.code.push_back(instruction(Op::leave));
        std::vector<unsigned char> data(linked::quote_size);
        data[1] = static_cast<unsigned char>(index);
        const Compared compared = compare(Text(made), data, false, {}, 100);
        CHECK(compared.answered == (compared.outcome.ending == Ending::returned));
        if (op != Op::range) CHECK(compared.answered == (index < 8));
      }
}

TEST_CASE("each way to overflow a whole number, in line or called for") {
  Dice dice(0x0f10);
  const auto rounds = calyx::testing::by_scale<std::uint64_t>(2, 12, 200);
  std::uint64_t overflows = 0;
  for (std::uint16_t kind = 0; kind <= static_cast<std::uint16_t>(kb::Rare::convert); ++kind)
    for (std::uint32_t mode = 0; mode < 4; ++mode)
      for (const std::uint32_t type : {64U, 0x140U, 128U})
        for (const bool over_itself : {false, true}) {
          CAPTURE(kind);
          CAPTURE(mode);
          CAPTURE(type);
          Compiled made;
          made.stack_slots = 32;
          made.compute_swap = 0;
          made.code.push_back(instruction(Op::clear, 4, 0, 12));
          for (std::uint32_t i = 0; i < 4; ++i)
            made.code.push_back(instruction(Op::load_64, 4 + i, 0, 33 + 8 * i));
          const std::uint32_t out = over_itself ? 4 : 10;
          made.code.push_back(instruction(Op::integer, out, 4, 6));
          made.code.push_back(instruction(static_cast<Op>(kind), type, mode, type == 64 ? 128 : 64));
          made.code.push_back(instruction(Op::load, 0, 1));
          for (std::uint32_t slot = 4; slot < 16; ++slot) {
            made.code.push_back(instruction(Op::mul_i, 0, 0, 31));
            made.code.push_back(instruction(Op::add, 0, 0, slot));
          }
          made.code.push_back(instruction(Op::leave));
          // The load's address is the payload's own.
          const Text text(made);
          for (std::uint64_t i = 0; i < rounds; ++i) {
            const auto data = edge_payload(dice, linked::quote_size);
            const Compared compared = compare(text, data, false, {}, 1'000);
            CHECK(compared.answered == (compared.outcome.ending == Ending::returned));
            if (!compared.answered) ++overflows;
          }
        }
  CHECK(overflows > 0);
}

namespace {

/// What `program` leaves behind as its exit status, or 127 where it is not there. What it says is in `said`.
int status_of(std::vector<std::string> words, std::string& said) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  char some[4'096];
  for (ssize_t got = 0; (got = read(ends[0], some, sizeof some)) > 0;)
    said.append(some, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

TEST_CASE("the assembler takes every text") {
  std::string said;
  if (status_of({"ptxas", "--version"}, said) != 0) {
    calyx::testing::skipped("the assembler takes every text", "ptxas is not installed");
    return;
  }
  const calyx::store::Scratch folder;
  const std::string source = folder / "text.ptx";
  const std::string object = folder / "text.o";
  std::uint64_t texts = 0;
  const auto assemble = [&](const Compiled& made) {
    const std::string text = Text::text_of(made);
    std::ofstream(source) << text;
    for (const char* arch : {"-arch=sm_75", "-arch=sm_90"}) {
      said.clear();
      const int status = status_of({"ptxas", arch, "-c", source, "-o", object}, said);
      CAPTURE(text);
      CAPTURE(said);
      REQUIRE(status == 0);
    }
    ++texts;
  };
  for (const char* name : {"cp30", "ewma_fee", "bad_concave_hidden", "wobble"}) assemble(compiled(name));
  Dice dice(0xa55e);
  Author author(dice);
  const std::uint64_t step = calyx::testing::by_scale<std::uint64_t>(12, 3, 1);
  for (std::uint64_t op = dice.below(step); op <= static_cast<std::uint64_t>(Op::integer); op += step)
    assemble(author.program(static_cast<Op>(op), 30, dice.coin(), dice.coin()));
  calyx::testing::told("texts of PTX assembled", texts);
}

TEST_CASE("a text and the simulation agree about the functions that they share") {
  const char* const test = "a text and the simulation agree about the functions that they share";
  const char* const image = std::getenv("CALYX_TEST_IMAGE");
  std::string said;
  if (image == nullptr || status_of({"ptxas", "--version"}, said) != 0 ||
      status_of({"nvlink", "--version"}, said) != 0) {
    calyx::testing::skipped(test, "no nvcc made the module for sm_90, or ptxas and nvlink are not installed");
    return;
  }
  const calyx::store::Scratch folder;
  const std::string source = folder / "text.ptx";
  const std::string object = folder / "text.o";
  const std::string linked_file = folder / "linked.cubin";
  const auto links = [&](const std::string& text) {
    std::ofstream(source) << text;
    said.clear();
    REQUIRE(status_of({"ptxas", "-arch=sm_90", "-c", source, "-o", object}, said) == 0);
    const int status = status_of({"nvlink", "-arch=sm_90", object, image, "-o", linked_file}, said);
    CAPTURE(said);
    return status == 0;
  };
  Dice dice(0x11c);
  Author author(dice);
  for (const char* name : {"cp30", "ewma_fee"}) CHECK(links(Text::text_of(compiled(name))));
  // Of all functions that a text may call some are called by such a program.
  CHECK(links(Text::text_of(author.program(Op::integer, 60, true, true))));
  // The linker looks at what it links: a function with a parameter less is another one.
  std::string other = Text::text_of(compiled("cp30"));
  const auto cut = [&](const std::string& what) {
    for (std::size_t at = other.find(what); at != std::string::npos; at = other.find(what))
      other.erase(at, what.size());
  };
  cut(", .param .b64 reserve_y");
  cut("\tld.param.u64 %reserve_y, [reserve_y];\n");
  CHECK(!links(other));
}
