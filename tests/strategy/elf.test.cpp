// Object files: what is taken from them, and the first thing that is wrong with those that are refused.
#include "strategy/elf.hpp"

#include <algorithm>

#include "bpf.hpp"

namespace sbpf = calyx::kernels::sbpf;
using calyx::strategy::load_elf;
using calyx::strategy::ObjectFault;
using calyx::strategy::SbpfObject;
using calyx::testing::Bench;
using calyx::testing::DynamicFile;
using calyx::testing::joined;
using calyx::testing::loaded;
using calyx::testing::object_file;
using calyx::testing::Slot;
using calyx::testing::text_of;
using calyx::testing::wide;
using sbpf::Ending;

namespace {

constexpr std::uint64_t program_at = 0x100000000U;
const Slot leave{0x95};

/// "taken", or the code of the fault and where it is.
std::string verdict(const std::vector<unsigned char>& file) {
  const auto made = load_elf(file);
  const auto* fault = std::get_if<ObjectFault>(&made);
  if (fault == nullptr) return "taken";
  CHECK_FALSE(fault->message.empty());
  return fault->code + " " + std::to_string(fault->at);
}

std::string verdict_of(const std::vector<Slot>& text) {
  const auto fault = calyx::strategy::verify(text_of(text));
  return fault ? fault->code + " " + std::to_string(fault->at) : "taken";
}

std::uint64_t number_at(const std::vector<unsigned char>& bytes, std::size_t at, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value |= std::uint64_t{bytes[at + i]} << (8 * i);
  return value;
}

void put(std::vector<unsigned char>& bytes, std::size_t at, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<unsigned char>(value >> (8 * i));
}

/// Where the header of a section is.
std::size_t section(const std::vector<unsigned char>& file, std::size_t index) {
  return static_cast<std::size_t>(number_at(file, 40, 8)) + 64 * index;
}

/// A program that calls a function of its own and the host, and reads a constant through an address that a
/// relocation mends.
DynamicFile sample() {
  DynamicFile file;
  file.text =
      joined({wide(1, DynamicFile::slot_at(8)),
              {{0x79, 0, 1}, {0x85, 0, 1, 0, 2}, {0x85, 0, 0, 0, -1}, leave, {0x07, 0, 0, 0, 1}, leave}});
  file.constants = {1, 2, 3, 4, 5, 6, 7, 8};
  file.relocations = {{DynamicFile::slot_at(0), 8}, {DynamicFile::slot_at(4), 10, "sol_log_"}};
  return file;
}

}  // namespace

TEST_CASE("a Solana program: calls, constants and keys are where its relocations say") {
  const DynamicFile file = sample();
  Bench bench(loaded(load_elf(file.bytes())));
  CHECK_FALSE(bench.made.plain);
  CHECK(bench.made.frames == 64);
  CHECK(bench.made.heap_bytes == 32 * 1024);
  const auto outcome = bench.run();
  CHECK(outcome.ending == Ending::returned);
  CHECK(outcome.value == 0);  // of the log
  // The image is text and constants, as they are after relocation.
  CHECK(bench.made.text_at == DynamicFile::text_at);
  CHECK(bench.made.image_at == DynamicFile::text_at);
  CHECK(bench.made.image.size() == 9 * 8);
  CHECK(number_at(bench.made.image, 4, 4) == DynamicFile::slot_at(8));
  CHECK(number_at(bench.made.image, 12, 4) == 1);
  CHECK(number_at(bench.made.image, 8 * 8, 8) == 0x0807060504030201U);

  // It may begin anywhere.
  DynamicFile later = file;
  later.entry = 6;
  Bench from_function(loaded(load_elf(later.bytes())));
  CHECK(from_function.run().value == 1);
  later.machine = 263;
  CHECK(loaded(load_elf(later.bytes())).entry == 6);
}

TEST_CASE("the keys of the system calls are those that Solana's programs carry") {
  struct Row {
    const char* name;
    std::uint64_t key;
  };
  const Row rows[] = {
      {"abort", 0xb6fc1a11U},
      {"sol_log_", 0x207559bdU},
      {"sol_memcpy_", 0x717cc4a3U},
      {"sol_memmove_", 0x434371f8U},
      {"sol_memset_", 0x3770fb22U},
      {"sol_memcmp_", 0x5fdcde31U},
      {"sol_set_return_data", 0xa226d3ebU},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    DynamicFile file;
    file.text = {{0x85, 0, 0, 0, -1}, leave};
    file.relocations = {{DynamicFile::slot_at(0), 10, row.name}};
    const auto made = loaded(load_elf(file.bytes()));
    CHECK(number_at(made.image, 4, 4) == row.key);
    CHECK(made.code[0].op == sbpf::Op::call_system);
    // The key alone means the same: no relocation has to bring it.
    file.relocations[0] = {DynamicFile::slot_at(0), 1, "x", 0};
    file.text[0].immediate = static_cast<std::int64_t>(row.key);
    file.relocations.clear();
    CHECK(verdict(file.bytes()) == "bpf_verify 0");  // A call by that distance leads outside.
  }
}

TEST_CASE("relocations: addresses of symbols, of the program, of functions by name") {
  // Type 1: the symbol's value and what stood there, in the program's region.
  DynamicFile file;
  file.text = joined({wide(0, 3), {leave}});
  file.relocations = {{DynamicFile::slot_at(0), 1, "table", 0x1000}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == program_at + 0x1003);
  file.relocations = {{DynamicFile::slot_at(0), 1, "table", 2 * program_at}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == 2 * program_at + 3);

  // Type 8 in the text: both halves are the address; one that has its region keeps it.
  file.relocations = {{DynamicFile::slot_at(0), 8}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == program_at + 3);
  file.text = joined({wide(0, program_at + 7), {leave}});
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == program_at + 7);
  // In the constants: the address stands in the upper half, and fills 8 bytes.
  file.text = joined({wide(1, 0), {{0x79, 0, 1}, leave}});
  file.constants = {9, 9, 9, 9, 0x34, 0x12, 0, 0};
  const std::uint64_t constants = file.constants_at();
  file.text = joined({wide(1, constants), {{0x79, 0, 1}, leave}});
  file.relocations = {{DynamicFile::slot_at(0), 8}, {constants, 8}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == program_at + 0x1234);

  // Type 10: a function that is defined is called, whatever its name.
  file = {};
  file.text = {{0x85, 0, 0, 0, -1}, {0x07, 0, 0, 0, 1}, leave, {0xb7, 0, 0, 0, 40}, leave};
  file.relocations = {{DynamicFile::slot_at(0), 10, "helper", DynamicFile::slot_at(3)}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == 41);
  file.relocations = {{DynamicFile::slot_at(0), 10, "abort", DynamicFile::slot_at(3)}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().value == 41);
  // One that is not, and that the host does not have, is found out when it is called.
  file.relocations = {{DynamicFile::slot_at(0), 10, "helper"}};
  CHECK(Bench(loaded(load_elf(file.bytes()))).run().ending == Ending::unknown_call);
}

TEST_CASE("files that are no proper program, and why") {
  struct Row {
    const char* says;
    std::size_t at;  ///< In the file's header.
    std::uint64_t value;
    std::size_t width;
    const char* expected;
  };
  const Row rows[] = {
      {"as it is", 20, 1, 4, "taken"},
      {"no ELF file", 1, 'e', 1, "elf_malformed 0"},
      {"32 bits", 4, 1, 1, "elf_unsupported 4"},
      {"big-endian", 5, 2, 1, "elf_unsupported 5"},
      {"another version in front", 6, 0, 1, "elf_malformed 6"},
      {"another version", 20, 2, 4, "elf_malformed 6"},
      {"another ABI", 7, 3, 1, "elf_unsupported 7"},
      {"an executable", 16, 2, 2, "elf_unsupported 16"},
      {"x86-64", 18, 62, 2, "elf_unsupported 18"},
      {"version 2", 48, 0x20, 4, "elf_unsupported 48"},
      {"flags that nobody knows", 48, 3, 4, "elf_unsupported 48"},
      {"another header size", 52, 56, 2, "elf_malformed 52"},
      {"no sections", 60, 0, 2, "elf_malformed 60"},
      {"many sections", 60, 1025, 2, "elf_too_large 60"},
      {"sections past the end", 60, 1024, 2, "elf_malformed 40"},
      {"sections that wrap", 40, ~std::uint64_t{0} - 63, 8, "elf_malformed 40"},
      {"section headers of another size", 58, 40, 2, "elf_malformed 58"},
      {"many segments", 56, 65, 2, "elf_too_large 56"},
      {"segments past the end", 32, 1 << 20, 8, "elf_malformed 32"},
      {"segment headers of another size", 54, 32, 2, "elf_malformed 54"},
      {"segments over the header", 32, 0, 8, "elf_malformed 56"},
      {"no names", 62, 8, 2, "elf_malformed 62"},
      {"names that are none", 62, 1, 2, "elf_malformed 62"},
      {"an entry before the text", 24, DynamicFile::text_at - 8, 8, "elf_malformed 24"},
      {"an entry behind the text", 24, DynamicFile::slot_at(8), 8, "elf_malformed 24"},
      {"the last entry", 24, DynamicFile::slot_at(7), 8, "taken"},
      {"an entry between two", 24, DynamicFile::slot_at(1) + 4, 8, "elf_malformed 24"},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    auto bytes = sample().bytes();
    put(bytes, row.at, row.value, row.width);
    CHECK(verdict(bytes) == std::string(row.expected));
  }
  // Every shorter file is refused, and so is one that is too long.
  const auto whole = sample().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(verdict({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}) != "taken");
  auto longer = whole;
  longer.resize(calyx::strategy::object_bytes_max);
  CHECK(verdict(longer) == "taken");
  longer.push_back(0);
  CHECK(verdict(longer) == "elf_too_large 10485760");
}

TEST_CASE("sections that lie, and which of them is told") {
  // 1 .text, 2 .rodata, 3 .dynamic, 4 .dynsym, 5 .dynstr, 6 .rel.dyn, 7 .shstrtab.
  struct Row {
    const char* says;
    std::size_t section;
    std::size_t field;
    std::uint64_t value;
    std::size_t width;
    const char* expected;  ///< A place is told as a section's header, and so is not repeated.
  };
  const std::uint64_t text = DynamicFile::text_at;
  const Row rows[] = {
      {"a first section that is not empty", 0, 4, 1, 4, "elf_malformed"},
      {"past the end", 1, 32, 1 << 20, 8, "elf_malformed"},
      {"an end that wraps", 1, 32, ~std::uint64_t{0}, 8, "elf_malformed"},
      {"an offset past the end", 1, 24, 1 << 20, 8, "elf_malformed"},
      {"over the header", 1, 24, 8, 8, "elf_malformed"},
      {"over the next section", 1, 32, 8 * 8 + 1, 8, "elf_malformed"},
      {"no text", 1, 0, 7, 4, "elf_malformed"},
      {"two texts", 2, 0, 1, 4, "elf_malformed"},
      {"a name outside of the names", 3, 0, 59, 4, "elf_malformed"},
      {"text that is not in the file", 1, 4, 8, 4, "elf_malformed"},
      {"text of another size", 1, 32, 8 * 8 - 1, 8, "bpf_verify"},
      {"no instruction", 1, 32, 0, 8, "bpf_verify"},
      {"text at another address", 1, 16, text - 8, 8, "elf_unsupported"},
      {"constants at another address", 2, 16, text, 8, "elf_unsupported"},
      {"symbols without names", 4, 40, 99, 4, "elf_malformed"},
      {"symbols whose names are something else", 4, 40, 2, 4, "elf_malformed"},
      {"no symbols", 4, 4, 1, 4, "elf_malformed"},
      {"fewer symbols", 4, 32, 24 * 2, 8, "elf_malformed"},
      {"half a symbol", 4, 32, 24 * 2 + 8, 8, "elf_malformed"},
      {"names without an end", 5, 32, 4, 8, "elf_malformed"},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    auto bytes = sample().bytes();
    put(bytes, section(bytes, row.section) + row.field, row.value, row.width);
    const std::string told = verdict(bytes);
    CHECK(told.substr(0, told.find(' ')) == std::string(row.expected));
  }
  // Data that a program could write is not there to be had.
  auto bytes = sample().bytes();
  const auto names = static_cast<std::size_t>(number_at(bytes, section(bytes, 7) + 24, 8));
  const auto renamed = [&](const char* name, std::uint64_t flags) {
    auto other = bytes;
    std::memcpy(other.data() + names + 7, name, 8);
    put(other, section(other, 2) + 8, flags, 8);
    return verdict(other).substr(0, 15);
  };
  CHECK(renamed(".bss\0\0\0", 2) == "elf_unsupported");
  CHECK(renamed(".data\0\0", 3) == "elf_unsupported");
  CHECK(renamed(".data\0\0", 2) == "taken");
  CHECK(renamed(".data.r", 3) == "elf_unsupported");
}

TEST_CASE("dynamic tables and relocations that lie") {
  struct Row {
    const char* says;
    DynamicFile::Relocation relocation;
    const char* expected;
  };
  const std::uint64_t slot = DynamicFile::slot_at(0);
  const Row rows[] = {
      {"a type that nobody knows", {slot, 2}, "elf_unsupported"},
      {"outside of the file", {1 << 20, 8}, "elf_malformed"},
      {"a place that wraps", {~std::uint64_t{0} - 4, 10, "x"}, "elf_malformed"},
      {"a function outside of the text", {slot, 10, "x", DynamicFile::slot_at(8)}, "elf_malformed"},
      {"a function before the text", {slot, 10, "x", 8}, "elf_malformed"},
      {"two functions of one name", {slot, 10, "entrypoint", DynamicFile::slot_at(2)}, "elf_unsupported"},
      {"the entry by its name", {DynamicFile::slot_at(3), 10, "entrypoint", slot}, "taken"},
      {"into the middle of an instruction",
       {DynamicFile::slot_at(3), 10, "x", DynamicFile::slot_at(1)},
       "bpf_verify"},
      {"a long name", {slot + 8 * 4, 10, std::string(255, 'n')}, "taken"},
      {"a name that is too long", {slot + 8 * 4, 10, std::string(256, 'n')}, "elf_malformed"},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    DynamicFile file = sample();
    file.relocations[0] = row.relocation;
    file.relocations[1] = {DynamicFile::slot_at(4), 10, "sol_log_"};
    const std::string told = verdict(file.bytes());
    CHECK(told.substr(0, told.find(' ')) == std::string(row.expected));
  }
  // What is mended lies in the file to its last byte.
  for (const std::uint32_t type : {1U, 8U, 10U}) {
    CAPTURE(type);
    DynamicFile file = sample();
    file.text[0].immediate = 0x1000;
    const std::uint64_t end = file.bytes().size();
    const std::uint64_t touched = type == 1 ? 16 : 8;
    file.relocations[0] = {end - touched, type};
    CHECK(verdict(file.bytes()) == "taken");
    file.relocations[0].place += 1;
    CHECK(verdict(file.bytes()).starts_with("elf_malformed"));
  }
  // No address at all.
  DynamicFile none = sample();
  none.text[0].immediate = 0;
  CHECK(verdict(none.bytes()).starts_with("elf_malformed"));

  struct Tag {
    const char* says;
    std::size_t entry;
    std::size_t field;
    std::uint64_t value;
    const char* expected;
  };
  // 0 DT_REL, 1 DT_RELSZ, 2 DT_RELENT, 3 DT_SYMTAB, 4 DT_STRTAB, 5 DT_NULL.
  const Tag tags[] = {
      {"relocations with addends", 0, 0, 7, "elf_unsupported"},
      {"relocations that are nowhere", 0, 8, 1 << 20, "elf_malformed"},
      {"no relocations", 0, 8, 0, "taken"},
      {"more relocations than there are", 1, 8, 16 * 4096, "elf_malformed"},
      {"half a relocation", 1, 8, 24, "elf_malformed"},
      {"relocations of another size", 2, 8, 24, "elf_malformed"},
      {"symbols that are nowhere", 3, 8, 64, "elf_malformed"},
      {"no symbols", 3, 8, 0, "elf_malformed"},
      {"an early end", 0, 0, 0, "taken"},
      {"no end", 5, 0, 99, "taken"},
  };
  for (const Tag& row : tags) {
    INFO(std::string(row.says));
    auto bytes = sample().bytes();
    const auto table = static_cast<std::size_t>(number_at(bytes, section(bytes, 3) + 24, 8));
    put(bytes, table + 16 * row.entry + row.field, row.value, 8);
    const std::string told = verdict(bytes);
    CHECK(told.substr(0, told.find(' ')) == std::string(row.expected));
    // A table that is at fault is told as such, before anything in it is read; one that is not there is
    // missed by the relocation that needs it.
    if (told.starts_with("elf_malformed") && row.value != 0)
      CHECK(told == "elf_malformed " + std::to_string(table));
  }
}

TEST_CASE("what lies between two sections that can be read, and is none, reads as zero") {
  // The constants become a section of another name, and the names of the symbols the constants.
  auto bytes = sample().bytes();
  put(bytes, section(bytes, 2), 15, 4);
  put(bytes, section(bytes, 5), 7, 4);
  const auto names = static_cast<std::size_t>(number_at(bytes, section(bytes, 5) + 24, 8));
  const auto made = loaded(load_elf(bytes));
  REQUIRE(made.image_at == DynamicFile::text_at);
  CHECK(made.image.size() == names + number_at(bytes, section(bytes, 5) + 32, 8) - DynamicFile::text_at);
  CHECK(number_at(bytes, DynamicFile::slot_at(8), 8) == 0x0807060504030201U);
  CHECK(number_at(made.image, 8 * 8, 8) == 0);
  CHECK(std::memcmp(made.image.data() + made.image.size() - 9, "sol_log_", 9) == 0);
}

TEST_CASE("relocatable objects: one function, nothing to be patched, no helpers") {
  const auto whole = object_file("cp30.bpf.o");
  CHECK(verdict(whole) == "taken");
  const auto made = loaded(load_elf(whole));
  CHECK(made.plain);
  CHECK(made.frames == 1);
  CHECK(made.heap_bytes == 0);
  CHECK(made.entry == 0);

  // 1 .strtab, 2 .text, 3 .llvm_addrsig, 4 .symtab.
  auto bytes = whole;
  put(bytes, 18, 263, 2);
  CHECK(verdict(bytes) == "elf_unsupported 18");
  bytes = whole;
  const auto strings = static_cast<std::size_t>(number_at(bytes, section(bytes, 1) + 24, 8));
  const std::string name("entrypoint", 11);
  const auto found = std::search(bytes.begin() + static_cast<std::ptrdiff_t>(strings), bytes.end(),
                                 name.begin(), name.end());
  REQUIRE(found != bytes.end());
  *found = 'E';
  CHECK(verdict(bytes) == "elf_unsupported " + std::to_string(section(bytes, 2)));
  // It has to begin the text: its symbol is the last one.
  bytes = whole;
  const std::size_t symbol = section(bytes, 4);
  const auto last =
      static_cast<std::size_t>(number_at(bytes, symbol + 24, 8) + number_at(bytes, symbol + 32, 8)) - 24;
  put(bytes, last + 8, 8, 8);
  CHECK(verdict(bytes) == "elf_unsupported " + std::to_string(last + 8));
  // Relocations of the text, as a section in place of the one that nobody needs.
  bytes = whole;
  const std::size_t spare = section(bytes, 3);
  put(bytes, spare + 4, 9, 4);
  put(bytes, spare + 24, 0x2000, 8);
  put(bytes, spare + 32, 16, 8);
  put(bytes, spare + 44, 2, 4);
  bytes.resize(0x2010);
  CHECK(verdict(bytes) == "elf_unsupported " + std::to_string(spare));
  put(bytes, spare + 44, 1, 4);
  CHECK(verdict(bytes) == "taken");
  // A helper function has its number in the instruction, and no distance.
  bytes = whole;
  put(bytes, 64, 0x0000000600000085U, 8);
  CHECK(verdict(bytes) == "elf_unsupported 64");
  // A function of its own is fine, and brings frames.
  put(bytes, 64, 0x0000000600001085U, 8);
  CHECK(loaded(load_elf(bytes)).frames == 64);
}

TEST_CASE("what is verified of each instruction") {
  struct Row {
    const char* says;
    std::vector<Slot> text;
    const char* expected;
  };
  const Row rows[] = {
      {"nothing", {}, "bpf_verify 0"},
      {"an exit", {leave}, "taken"},
      {"no exit", {{0xb7, 0}}, "taken"},
      {"an instruction that nobody knows", {{0xb7, 0}, {0xdb, 1, 2}}, "bpf_verify 1"},
      {"a slot of nothing", {{0, 0}, leave}, "bpf_verify 0"},
      {"one of version 2", {{0xf7, 1, 0, 0, 1}, leave}, "bpf_verify 0"},
      {"the kernel's jump of 32 bits", {{0x16, 1, 0, 0, 1}, leave}, "bpf_verify 0"},
      {"a signed division", {{0xe7, 1, 0, 0, 1}, leave}, "bpf_verify 0"},
      {"an lddw", {{0x18, 1}, {0, 0}, leave}, "taken"},
      {"an lddw at the end", {leave, {0x18, 1}}, "bpf_verify 1"},
      {"half an lddw", {{0x18, 1}, leave}, "bpf_verify 0"},
      {"divide by zero", {{0x37, 1, 0, 0, 0}, leave}, "bpf_verify 0"},
      {"divide by zero in 32 bits", {{0x34, 1, 0, 0, 0}, leave}, "bpf_verify 0"},
      {"remainder of zero", {{0x97, 1, 0, 0, 0}, leave}, "bpf_verify 0"},
      {"remainder of zero in 32 bits", {{0x94, 1, 0, 0, 0}, leave}, "bpf_verify 0"},
      {"divide by one", {{0x37, 1, 0, 0, 1}, leave}, "taken"},
      {"shift by 63", {{0x67, 1, 0, 0, 63}, {0x77, 1, 0, 0, 63}, {0xc7, 1, 0, 0, 63}, leave}, "taken"},
      {"shift by 64", {{0x67, 1, 0, 0, 64}, leave}, "bpf_verify 0"},
      {"shift right by 64", {{0x77, 1, 0, 0, 64}, leave}, "bpf_verify 0"},
      {"shift a sign by 64", {{0xc7, 1, 0, 0, 64}, leave}, "bpf_verify 0"},
      {"shift by -1", {{0x67, 1, 0, 0, -1}, leave}, "bpf_verify 0"},
      {"shift 32 bits by 31",
       {{0x64, 1, 0, 0, 31}, {0x74, 1, 0, 0, 31}, {0xc4, 1, 0, 0, 31}, leave},
       "taken"},
      {"shift 32 bits by 32", {{0x64, 1, 0, 0, 32}, leave}, "bpf_verify 0"},
      {"shift 32 bits right by 32", {{0x74, 1, 0, 0, 32}, leave}, "bpf_verify 0"},
      {"shift the sign of 32 bits by 32", {{0xc4, 1, 0, 0, 32}, leave}, "bpf_verify 0"},
      {"turn 24 bits", {{0xd4, 1, 0, 0, 24}, leave}, "bpf_verify 0"},
      {"turn no bits", {{0xdc, 1, 0, 0, 0}, leave}, "bpf_verify 0"},
      {"r9 is written", {{0xb7, 9}, leave}, "taken"},
      {"r10 is written", {{0xb7, 10}, leave}, "bpf_verify 0"},
      {"r10 is loaded", {{0x79, 10, 1}, leave}, "bpf_verify 0"},
      {"r10 is an lddw's", {{0x18, 10}, {0, 0}, leave}, "bpf_verify 0"},
      {"r10 is stored, and to it", {{0x7b, 10, 10, -8}, leave}, "taken"},
      {"r10 is compared, which the original's verifier refuses",
       {{0x15, 10, 0, 0, 0}, leave},
       "bpf_verify 0"},
      {"r10 is compared with", {{0x1d, 1, 10, 0}, leave}, "taken"},
      {"there is no r11", {{0xb7, 11}, leave}, "bpf_verify 0"},
      {"there is no r11 to store to", {{0x7b, 11, 1}, leave}, "bpf_verify 0"},
      {"there is no r11 to read", {{0xbf, 1, 11}, leave}, "bpf_verify 0"},
      {"jump to the end", {{0x05, 0, 0, 0}, leave}, "taken"},
      {"jump past the end", {{0x05, 0, 0, 1}, leave}, "bpf_verify 0"},
      {"jump to the begin", {leave, {0x05, 0, 0, -2}}, "taken"},
      {"jump before the begin", {leave, {0x05, 0, 0, -3}}, "bpf_verify 1"},
      {"jump far", {{0x15, 0, 0, 32767}, leave}, "bpf_verify 0"},
      {"jump to an lddw", {{0x05, 0, 0, 0}, {0x18, 1}, {0, 0}, leave}, "taken"},
      {"jump into an lddw", {{0x05, 0, 0, 1}, {0x18, 1}, {0, 0}, leave}, "bpf_verify 0"},
      {"call through r9", {{0x8d, 0, 0, 0, 9}, leave}, "taken"},
      {"call through r10", {{0x8d, 0, 0, 0, 10}, leave}, "bpf_verify 0"},
      {"call through nothing", {{0x8d, 0, 0, 0, -1}, leave}, "bpf_verify 0"},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    CHECK(verdict_of(row.text) == std::string(row.expected));
  }
  // Every jump is looked at.
  for (unsigned opcode = 5; opcode <= 0xdd; opcode += 8) {
    if (opcode == 0x85 || opcode == 0x8d || opcode == 0x95 || opcode == 0x0d || opcode == 0x9d) continue;
    CAPTURE(opcode);
    CHECK(verdict_of({{opcode, 0, 0, 0}, leave}) == "taken");
    CHECK(verdict_of({{opcode, 0, 0, 1}, leave}) == "bpf_verify 0");
  }
  // Calls by distance are judged where they are given their keys.
  const auto call = [](int distance) {
    DynamicFile file;
    file.text = {{0x85, 0, 1, 0, distance}, {0x18, 1}, {0, 0}, leave};
    return verdict(file.bytes());
  };
  CHECK(call(0) == "taken");
  CHECK(call(1) == "bpf_verify 0");  // the middle of the lddw
  CHECK(call(2) == "taken");
  CHECK(call(3) == "bpf_verify 0");
  CHECK(call(-2) == "bpf_verify 0");
  CHECK(call(0x7fffffff) == "bpf_verify 0");
}

TEST_CASE("text has a limit") {
  std::vector<unsigned char> text =
      text_of(std::vector<Slot>(calyx::strategy::text_instructions_max, Slot{0xb7, 0}));
  const auto whole = calyx::strategy::load_text(text);
  REQUIRE(std::holds_alternative<SbpfObject>(whole));
  // One long stretch: the limit is found within it.
  Bench bench(loaded(calyx::strategy::load_text(text)));
  CHECK(bench.run().ending == Ending::instruction_limit);
  CHECK(bench.run().at == 100'000);
  CHECK(bench.run(1'000'000).ending == Ending::overrun);
  const auto more = text_of({leave});
  text.insert(text.end(), more.begin(), more.end());
  const auto refused = calyx::strategy::load_text(text);
  REQUIRE(std::holds_alternative<ObjectFault>(refused));
  CHECK(std::get<ObjectFault>(refused).code == "elf_too_large");
  CHECK(calyx::strategy::verify(text)->code == "elf_too_large");
}
