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
#include "random_programs.hpp"
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
using calyx::testing::Author;
using calyx::testing::call_both;
using calyx::testing::Dice;
using calyx::testing::edge_payload;
using calyx::testing::instruction;
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
