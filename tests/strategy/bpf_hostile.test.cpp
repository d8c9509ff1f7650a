// eBPF from strangers: files with bytes changed are refused or run, and random instructions that pass the
// verifier end. Nothing outside of a program's memory is touched. Built by `./dev asan`, this says most.
#include <algorithm>
#include <iterator>

#include "bpf.hpp"
#include "bpf_random.hpp"

namespace sbpf = calyx::kernels::sbpf;
using calyx::testing::DamagedFiles;
using calyx::testing::Dice;
using calyx::testing::DynamicFile;
using calyx::testing::RandomPrograms;
using calyx::testing::seed_for;
using sbpf::Ending;

namespace {

/// A program's memory between guards that nothing may change.
class Guarded {
 public:
  explicit Guarded(const calyx::strategy::SbpfObject& made)
      : made_(made), stack_(made.stack_bytes() + 2 * guard, 0xc3), heap_(made.heap_bytes + 2 * guard, 0xc3) {}

  /// How a call ended; the guards and the image stand.
  sbpf::Outcome run(const std::vector<unsigned char>& input, std::uint64_t limit) {
    std::vector<unsigned char> around(input.size() + 2 * guard, 0xc3);
    std::copy(input.begin(), input.end(), around.begin() + guard);
    std::vector<unsigned char> storage(sbpf::storage_bytes_max + 2 * guard, 0xc3);
    const auto image = made_.image;
    sbpf::Memory memory;
    memory.stack = stack_.data() + guard;
    memory.heap = heap_.data() + guard;
    memory.input = around.data() + guard;
    memory.input_bytes = static_cast<std::uint32_t>(input.size());
    memory.storage = storage.data() + guard;
    const auto outcome = sbpf::run(made_.view(), memory, limit);
    CHECK(outcome.instructions <= limit);
    CHECK(outcome.ending <= Ending::argument_too_long);
    CHECK(outcome.at < made_.code.size());
    CHECK(made_.image == image);
    for (const auto* part : {&stack_, &heap_, &around, &storage}) {
      bool whole = true;
      for (std::size_t i = 0; i < guard; ++i)
        if ((*part)[i] != 0xc3 || (*part)[part->size() - 1 - i] != 0xc3) whole = false;
      CHECK(whole);
    }
    return outcome;
  }

 private:
  static constexpr std::size_t guard = 64;
  const calyx::strategy::SbpfObject& made_;
  std::vector<unsigned char> stack_;
  std::vector<unsigned char> heap_;
};

}  // namespace

TEST_CASE("random programs end, whatever they do, and touch nothing that is not theirs") {
  const std::uint64_t chosen = seed_for("random eBPF");
  CAPTURE(chosen);
  Dice dice(chosen);
  const auto wanted = calyx::testing::by_scale<std::uint64_t>(4'000, 20'000, 1'000'000);
  const RandomPrograms programs;
  std::uint64_t executions = 0;
  std::uint64_t refused = 0;
  std::uint64_t endings[11] = {};
  // On until each way to end was met, which the rarest may take a while.
  const auto met_all = [&] {
    return std::find(std::begin(endings), std::end(endings), 0U) == std::end(endings);
  };
  while (executions < wanted || (executions < 50 * wanted && !met_all())) {
    const DynamicFile file = programs.next(dice);
    const auto made = calyx::strategy::load_elf(file.bytes());
    if (!std::holds_alternative<calyx::strategy::SbpfObject>(made)) {
      // A jump into an lddw, most of the time.
      CHECK(std::get<calyx::strategy::ObjectFault>(made).code == "bpf_verify");
      ++refused;
      REQUIRE(refused < 100 + 20 * wanted);
      continue;
    }
    Guarded guarded(std::get<calyx::strategy::SbpfObject>(made));
    for (int i = 0; i < 4; ++i) {
      const std::uint64_t limit = dice.below(4) == 0 ? dice.below(50) : 2'000;
      ++endings[static_cast<std::size_t>(guarded.run(calyx::testing::random_input(dice), limit).ending)];
      ++executions;
    }
  }
  // All of them were met.
  for (std::size_t ending = 0; ending <= 10; ++ending) {
    CAPTURE(ending);
    CHECK(endings[ending] > 0);
  }
  calyx::testing::told("random eBPF programs run", executions);
}

TEST_CASE("files with bytes changed are refused, or run to an end") {
  const std::uint64_t chosen = seed_for("damaged eBPF files");
  CAPTURE(chosen);
  Dice dice(chosen);
  const auto rounds = calyx::testing::by_scale<std::uint64_t>(2'000, 10'000, 300'000);
  const DamagedFiles files;
  std::uint64_t taken = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto file = files.next(dice);
    const auto made = calyx::strategy::load_elf(file);
    if (const auto* fault = std::get_if<calyx::strategy::ObjectFault>(&made)) {
      const bool known = fault->code == "elf_malformed" || fault->code == "elf_unsupported" ||
                         fault->code == "elf_too_large" || fault->code == "bpf_verify";
      CHECK(known);
      CHECK(fault->at <= file.size());
      ++refused;
      continue;
    }
    ++taken;
    Guarded guarded(std::get<calyx::strategy::SbpfObject>(made));
    guarded.run(calyx::testing::random_input(dice), 5'000);
  }
  CHECK(taken > rounds / 20);
  CHECK(refused > rounds / 20);
  calyx::testing::told("damaged eBPF files loaded", taken + refused);
}
