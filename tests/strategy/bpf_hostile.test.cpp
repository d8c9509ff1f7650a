// eBPF from strangers: files with bytes changed are refused or run, and random instructions that pass the
// verifier end. Nothing outside of a program's memory is touched. Built by `./dev asan`, this says most.
#include <iostream>
#include <random>

#include "bpf.hpp"

namespace prop_amm = calyx::kernels::prop_amm;
namespace sbpf = calyx::kernels::sbpf;
using calyx::testing::Dice;
using calyx::testing::DynamicFile;
using calyx::testing::Slot;
using sbpf::Ending;

namespace {

std::uint64_t seed_for(const char* what) {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << what << ": seed " << chosen << '\n';
  return chosen;
}

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

std::vector<unsigned char> random_input(Dice& dice) {
  std::vector<unsigned char> input(prop_amm::SbpfStrategy::input_bytes);
  input[9] = 4;
  input[16] = static_cast<unsigned char>(dice.below(5));
  for (std::size_t i = 17; i < 100; ++i) input[i] = static_cast<unsigned char>(dice.next());
  return input;
}

/// A slot that the verifier may well take: sound registers, jumps that stay, addresses that exist.
Slot random_slot(Dice& dice, std::size_t at, std::size_t count, const std::vector<unsigned>& opcodes) {
  Slot slot;
  slot.opcode = opcodes[dice.below(opcodes.size())];
  slot.d = static_cast<unsigned>(dice.below(10));
  slot.s = static_cast<unsigned>(dice.below(11));
  const bool store = (slot.opcode & 7) == 2 || (slot.opcode & 7) == 3;
  if (store && dice.coin()) slot.d = 10;
  const bool jump =
      (slot.opcode & 7) == 5 && slot.opcode != 0x85 && slot.opcode != 0x8d && slot.opcode != 0x95;
  if (jump)
    slot.offset = static_cast<int>(dice.below(count)) - static_cast<int>(at) - 1;
  else
    slot.offset =
        dice.coin() ? -static_cast<int>(dice.below(64)) : static_cast<int>(dice.below(0x10000)) - 0x8000;
  if (slot.opcode == 0x85)
    slot.immediate = dice.coin() ? -1 : static_cast<int>(dice.below(count)) - static_cast<int>(at) - 1;
  else if (slot.opcode == 0x8d)
    slot.immediate = static_cast<int>(dice.below(10));
  else if (slot.opcode == 0xd4 || slot.opcode == 0xdc)
    slot.immediate = 16 << dice.below(3);
  else
    slot.immediate = 1 + static_cast<int>(dice.below(dice.coin() ? 31 : 0x7fffffff));
  if ((slot.opcode & 0xf7) == 0x67 || (slot.opcode & 0xf7) == 0x77 || (slot.opcode & 0xf7) == 0xc7 ||
      (slot.opcode & 0xf7) == 0x64 || (slot.opcode & 0xf7) == 0x74 || (slot.opcode & 0xf7) == 0xc4)
    slot.immediate &= 31;
  return slot;
}

}  // namespace

TEST_CASE("random programs end, whatever they do, and touch nothing that is not theirs") {
  const std::uint64_t chosen = seed_for("random eBPF");
  CAPTURE(chosen);
  Dice dice(chosen);
  const auto wanted = calyx::testing::by_scale<std::uint64_t>(4'000, 20'000, 1'000'000);
  std::vector<unsigned> opcodes;
  for (unsigned opcode = 1; opcode < 256; ++opcode)
    for (const int immediate : {1, 16})
      if (opcode != 0x18 &&
          !calyx::strategy::verify(calyx::testing::text_of({{opcode, 0, 0, 0, immediate}, {0x95}}))) {
        opcodes.push_back(opcode);
        break;
      }
  // Calls are where the rare endings are.
  for (int i = 0; i < 12; ++i) opcodes.insert(opcodes.end(), {0x85, 0x8d});
  const char* const names[] = {"abort",         "sol_log_",    "sol_memcpy_",         "sol_memmove_",
                               "sol_memcmp_",   "sol_memset_", "sol_set_return_data", "sol_set_storage",
                               "sol_unheard_of"};
  std::uint64_t executions = 0;
  std::uint64_t refused = 0;
  std::uint64_t endings[11] = {};
  while (executions < wanted) {
    DynamicFile file;
    const std::size_t count = 4 + dice.below(60);
    // Registers begin as addresses and small numbers, so that something is done.
    for (unsigned d = 2; d < 10 && file.text.size() + 8 < count; ++d) {
      const std::uint64_t region = 1 + dice.below(4);
      // Of the text often the second half of one of these constants.
      const std::uint64_t in_text = dice.coin() ? dice.below(count * 8) : 8 * (2 * dice.below(8) + 1);
      const std::uint64_t offset =
          region == 1 ? DynamicFile::text_at + in_text : dice.below(region == 4 ? 1'106 : 40'000);
      for (const Slot& slot :
           calyx::testing::wide(d, dice.below(4) == 0 ? dice.below(2'000) : region << 32 | offset))
        file.text.push_back(slot);
    }
    while (file.text.size() < count) {
      const std::size_t at = file.text.size();
      file.text.push_back(random_slot(dice, at, count, opcodes));
      if (file.text.back().opcode == 0x85 && file.text.back().immediate == -1)
        file.relocations.push_back({DynamicFile::slot_at(at), 10, names[dice.below(9)]});
    }
    for (std::uint64_t i = dice.below(16); i > 0; --i)
      file.constants.push_back(static_cast<unsigned char>(dice.next()));
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
      ++endings[static_cast<std::size_t>(guarded.run(random_input(dice), limit).ending)];
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
  std::vector<std::vector<unsigned char>> files;
  for (const char* name : {"cp30.bpf.o", "ewma_fee.bpf.o", "cp30.sbf.so", "ewma_fee.sbf.so"})
    files.push_back(calyx::testing::object_file(name));
  DynamicFile small;
  small.text = calyx::testing::joined({calyx::testing::wide(1, DynamicFile::slot_at(6)),
                                       {{0x79, 0, 1}, {0x85, 0, 0, 0, -1}, {0x85, 0, 1, 0, 0}, {0x95}}});
  small.constants = {1, 2, 3, 4, 5, 6, 7, 8};
  small.relocations = {{DynamicFile::slot_at(0), 8},
                       {DynamicFile::slot_at(3), 10, "sol_memset_"},
                       {DynamicFile::slot_at(6), 8},
                       {DynamicFile::slot_at(4), 10, "f", DynamicFile::slot_at(5)}};
  files.push_back(small.bytes());
  std::uint64_t taken = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    auto file = files[dice.below(4) == 0 ? dice.below(files.size()) : files.size() - 1];
    const auto size = file.size();
    for (std::uint64_t i = 1 + dice.below(4); i > 0; --i) {
      // The headers and tables at the ends are where a file can lie most.
      const std::uint64_t kind = dice.below(8);
      const std::size_t at = kind < 2   ? dice.below(232)
                             : kind < 5 ? size - 1 - dice.below(std::min<std::size_t>(size, 1'024))
                                        : dice.below(size);
      const std::uint64_t how = dice.below(4);
      if (how == 0) file[at] = static_cast<unsigned char>(dice.next());
      if (how == 1) file[at] = static_cast<unsigned char>(file[at] ^ 1U << dice.below(8));
      if (how == 2) file[at] = dice.coin() ? 0xff : 0;
      if (how == 3 && at + 8 <= size) {
        const std::uint64_t value = dice.coin() ? dice.below(size + 16) : ~dice.below(64);
        std::memcpy(file.data() + at, &value, 8);
      }
    }
    if (dice.below(16) == 0) file.resize(dice.below(size));
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
    guarded.run(random_input(dice), 5'000);
  }
  CHECK(taken > rounds / 20);
  CHECK(refused > rounds / 20);
  calyx::testing::told("damaged eBPF files loaded", taken + refused);
}
