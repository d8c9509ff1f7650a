// The machine that runs sBPF, instruction by instruction: results were worked out from what the public
// documents of eBPF and Solana say of each, in numbers of any length.
#include "calyx_kernels/sbpf.hpp"

#include <set>

#include "bpf.hpp"

namespace sbpf = calyx::kernels::sbpf;
using calyx::testing::Bench;
using calyx::testing::DynamicFile;
using calyx::testing::joined;
using calyx::testing::loaded;
using calyx::testing::loaded_text;
using calyx::testing::Slot;
using calyx::testing::text_of;
using calyx::testing::wide;
using sbpf::Ending;

namespace {

constexpr std::uint64_t program_at = 0x100000000U;
constexpr std::uint64_t stack_at = 0x200000000U;
constexpr std::uint64_t heap_at = 0x300000000U;
constexpr std::uint64_t input_at = 0x400000000U;

const Slot leave{0x95};
Slot set(unsigned d, int value) { return {0xb7, d, 0, 0, value}; }
Slot same(unsigned d, unsigned s) { return {0xbf, d, s}; }

/// A Solana program of this text: it has all frames, and a heap.
Bench program(std::vector<Slot> text, std::vector<DynamicFile::Relocation> relocations = {},
              std::vector<unsigned char> constants = {}) {
  DynamicFile file;
  file.text = std::move(text);
  file.relocations = std::move(relocations);
  file.constants = std::move(constants);
  return Bench(loaded(calyx::strategy::load_elf(file.bytes())));
}

/// The opcodes that the tables of this file have run.
std::set<unsigned> tried;

std::uint64_t result_of(const std::vector<Slot>& text) {
  for (const Slot& slot : text) tried.insert(slot.opcode);
  Bench bench(loaded_text(text));
  for (std::size_t i = 0; i < bench.input.size(); ++i) bench.input[i] = static_cast<unsigned char>(0x80 + i);
  const auto outcome = bench.run();
  CHECK(outcome.ending == Ending::returned);
  return outcome.value;
}

/// What a text ends with, and where.
sbpf::Outcome outcome_of(const std::vector<Slot>& text) { return program(text).run(); }

}  // namespace

TEST_CASE("arithmetic, in 64 and 32 bits, with registers and immediates") {
  struct Row {
    unsigned opcode;
    std::uint64_t x;
    std::uint64_t y;
    std::uint64_t expected;
  };
  const Row of_registers[] = {
      {0x0f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0xaaccef1133557689U},
      {0x0f, 0xfffffffffffffff0U, 0x7U, 0xfffffffffffffff7U},
      {0x0f, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0x0f, 0x5U, 0xffffffff00000003U, 0xffffffff00000008U},
      {0x0c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x33557689U},
      {0x0c, 0xfffffffffffffff0U, 0x7U, 0xfffffffffffffff7U},
      {0x0c, 0x80000000U, 0x7fffffffU, 0xffffffffffffffffU},
      {0x0c, 0x5U, 0xffffffff00000003U, 0x8U},
      {0x1f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x7777777777777887U},
      {0x1f, 0xfffffffffffffff0U, 0x7U, 0xffffffffffffffe9U},
      {0x1f, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x1f, 0x5U, 0xffffffff00000003U, 0x100000002U},
      {0x1c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x77777887U},
      {0x1c, 0xfffffffffffffff0U, 0x7U, 0xffffffffffffffe9U},
      {0x1c, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x1c, 0x5U, 0xffffffff00000003U, 0x2U},
      {0x2f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x58bbb728eee6ef88U},
      {0x2f, 0xfffffffffffffff0U, 0x7U, 0xffffffffffffff90U},
      {0x2f, 0x80000000U, 0x7fffffffU, 0x3fffffff80000000U},
      {0x2f, 0x5U, 0xffffffff00000003U, 0xfffffffb0000000fU},
      {0x2c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0xffffffffeee6ef88U},
      {0x2c, 0xfffffffffffffff0U, 0x7U, 0xffffffffffffff90U},
      {0x2c, 0x80000000U, 0x7fffffffU, 0xffffffff80000000U},
      {0x2c, 0x5U, 0xffffffff00000003U, 0xfU},
      {0x3f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x0U},
      {0x3f, 0xfffffffffffffff0U, 0x7U, 0x2492492492492490U},
      {0x3f, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x3f, 0x5U, 0xffffffff00000003U, 0x0U},
      {0x3c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x0U},
      {0x3c, 0xfffffffffffffff0U, 0x7U, 0x24924922U},
      {0x3c, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x3c, 0x5U, 0xffffffff00000003U, 0x1U},
      {0x4f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x99aabbccddeeff89U},
      {0x4f, 0xfffffffffffffff0U, 0x7U, 0xfffffffffffffff7U},
      {0x4f, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0x4f, 0x5U, 0xffffffff00000003U, 0xffffffff00000007U},
      {0x4c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0xddeeff89U},
      {0x4c, 0xfffffffffffffff0U, 0x7U, 0xfffffff7U},
      {0x4c, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0x4c, 0x5U, 0xffffffff00000003U, 0x7U},
      {0x5f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x1122334455667700U},
      {0x5f, 0xfffffffffffffff0U, 0x7U, 0x0U},
      {0x5f, 0x80000000U, 0x7fffffffU, 0x0U},
      {0x5f, 0x5U, 0xffffffff00000003U, 0x1U},
      {0x5c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x55667700U},
      {0x5c, 0xfffffffffffffff0U, 0x7U, 0x0U},
      {0x5c, 0x80000000U, 0x7fffffffU, 0x0U},
      {0x5c, 0x5U, 0xffffffff00000003U, 0x1U},
      {0x6f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x22446688aaccef10U},
      {0x6f, 0xfffffffffffffff0U, 0x7U, 0xfffffffffffff800U},
      {0x6f, 0x80000000U, 0x7fffffffU, 0x0U},
      {0x6f, 0x5U, 0xffffffff00000003U, 0x28U},
      {0x6c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0xaaccef10U},
      {0x6c, 0xfffffffffffffff0U, 0x7U, 0xfffff800U},
      {0x6c, 0x80000000U, 0x7fffffffU, 0x0U},
      {0x6c, 0x5U, 0xffffffff00000003U, 0x28U},
      {0x7f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x89119a22ab33bc4U},
      {0x7f, 0xfffffffffffffff0U, 0x7U, 0x1ffffffffffffffU},
      {0x7f, 0x80000000U, 0x7fffffffU, 0x0U},
      {0x7f, 0x5U, 0xffffffff00000003U, 0x0U},
      {0x7c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x2ab33bc4U},
      {0x7c, 0xfffffffffffffff0U, 0x7U, 0x1ffffffU},
      {0x7c, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x7c, 0x5U, 0xffffffff00000003U, 0x0U},
      {0x9f, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x1122334455667788U},
      {0x9f, 0xfffffffffffffff0U, 0x7U, 0x0U},
      {0x9f, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x9f, 0x5U, 0xffffffff00000003U, 0x5U},
      {0x9c, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x55667788U},
      {0x9c, 0xfffffffffffffff0U, 0x7U, 0x2U},
      {0x9c, 0x80000000U, 0x7fffffffU, 0x1U},
      {0x9c, 0x5U, 0xffffffff00000003U, 0x2U},
      {0xaf, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x8888888888888889U},
      {0xaf, 0xfffffffffffffff0U, 0x7U, 0xfffffffffffffff7U},
      {0xaf, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0xaf, 0x5U, 0xffffffff00000003U, 0xffffffff00000006U},
      {0xac, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x88888889U},
      {0xac, 0xfffffffffffffff0U, 0x7U, 0xfffffff7U},
      {0xac, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0xac, 0x5U, 0xffffffff00000003U, 0x6U},
      {0xbf, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x99aabbccddeeff01U},
      {0xbf, 0xfffffffffffffff0U, 0x7U, 0x7U},
      {0xbf, 0x80000000U, 0x7fffffffU, 0x7fffffffU},
      {0xbf, 0x5U, 0xffffffff00000003U, 0xffffffff00000003U},
      {0xbc, 0x1122334455667788U, 0x99aabbccddeeff01U, 0xddeeff01U},
      {0xbc, 0xfffffffffffffff0U, 0x7U, 0x7U},
      {0xbc, 0x80000000U, 0x7fffffffU, 0x7fffffffU},
      {0xbc, 0x5U, 0xffffffff00000003U, 0x3U},
      {0xcf, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x89119a22ab33bc4U},
      {0xcf, 0xfffffffffffffff0U, 0x7U, 0xffffffffffffffffU},
      {0xcf, 0x80000000U, 0x7fffffffU, 0x0U},
      {0xcf, 0x5U, 0xffffffff00000003U, 0x0U},
      {0xcc, 0x1122334455667788U, 0x99aabbccddeeff01U, 0x2ab33bc4U},
      {0xcc, 0xfffffffffffffff0U, 0x7U, 0xffffffffU},
      {0xcc, 0x80000000U, 0x7fffffffU, 0xffffffffU},
      {0xcc, 0x5U, 0xffffffff00000003U, 0x0U},
  };
  for (const Row& row : of_registers) {
    CAPTURE(row.opcode);
    CAPTURE(row.x);
    CAPTURE(row.y);
    CHECK(result_of(joined({wide(3, row.x), wide(7, row.y), {{row.opcode, 3, 7}, same(0, 3), leave}})) ==
          row.expected);
  }
  struct ImmediateRow {
    unsigned opcode;
    std::uint64_t x;
    std::int64_t immediate;
    std::uint64_t expected;
  };
  const ImmediateRow of_immediates[] = {
      {0x07, 0x1122334455667788U, -2, 0x1122334455667786U},
      {0x07, 0xfffffffffffffff0U, 7, 0xfffffffffffffff7U},
      {0x07, 0x7fffffffU, 1, 0x80000000U},
      {0x07, 0xffffffff80000001U, 0x7fffffff, 0x0U},
      {0x04, 0x1122334455667788U, -2, 0x55667786U},
      {0x04, 0xfffffffffffffff0U, 7, 0xfffffffffffffff7U},
      {0x04, 0x7fffffffU, 1, 0xffffffff80000000U},
      {0x04, 0xffffffff80000001U, 0x7fffffff, 0x0U},
      {0x17, 0x1122334455667788U, -2, 0x112233445566778aU},
      {0x17, 0xfffffffffffffff0U, 7, 0xffffffffffffffe9U},
      {0x17, 0x7fffffffU, 1, 0x7ffffffeU},
      {0x17, 0xffffffff80000001U, 0x7fffffff, 0xffffffff00000002U},
      {0x14, 0x1122334455667788U, -2, 0x5566778aU},
      {0x14, 0xfffffffffffffff0U, 7, 0xffffffffffffffe9U},
      {0x14, 0x7fffffffU, 1, 0x7ffffffeU},
      {0x14, 0xffffffff80000001U, 0x7fffffff, 0x2U},
      {0x27, 0x1122334455667788U, -2, 0xddbb9977553310f0U},
      {0x27, 0xfffffffffffffff0U, 7, 0xffffffffffffff90U},
      {0x27, 0x7fffffffU, 1, 0x7fffffffU},
      {0x27, 0xffffffff80000001U, 0x7fffffff, 0xc0000000ffffffffU},
      {0x24, 0x1122334455667788U, -2, 0x553310f0U},
      {0x24, 0xfffffffffffffff0U, 7, 0xffffffffffffff90U},
      {0x24, 0x7fffffffU, 1, 0x7fffffffU},
      {0x24, 0xffffffff80000001U, 0x7fffffff, 0xffffffffffffffffU},
      {0x37, 0x1122334455667788U, -2, 0x0U},
      {0x37, 0xfffffffffffffff0U, 7, 0x2492492492492490U},
      {0x37, 0x7fffffffU, 1, 0x7fffffffU},
      {0x37, 0xffffffff80000001U, 0x7fffffff, 0x200000003U},
      {0x34, 0x1122334455667788U, -2, 0x0U},
      {0x34, 0xfffffffffffffff0U, 7, 0x24924922U},
      {0x34, 0x7fffffffU, 1, 0x7fffffffU},
      {0x34, 0xffffffff80000001U, 0x7fffffff, 0x1U},
      {0x47, 0x1122334455667788U, -2, 0xfffffffffffffffeU},
      {0x47, 0xfffffffffffffff0U, 7, 0xfffffffffffffff7U},
      {0x47, 0x7fffffffU, 1, 0x7fffffffU},
      {0x47, 0xffffffff80000001U, 0x7fffffff, 0xffffffffffffffffU},
      {0x44, 0x1122334455667788U, -2, 0xfffffffeU},
      {0x44, 0xfffffffffffffff0U, 7, 0xfffffff7U},
      {0x44, 0x7fffffffU, 1, 0x7fffffffU},
      {0x44, 0xffffffff80000001U, 0x7fffffff, 0xffffffffU},
      {0x57, 0x1122334455667788U, -2, 0x1122334455667788U},
      {0x57, 0xfffffffffffffff0U, 7, 0x0U},
      {0x57, 0x7fffffffU, 1, 0x1U},
      {0x57, 0xffffffff80000001U, 0x7fffffff, 0x1U},
      {0x54, 0x1122334455667788U, -2, 0x55667788U},
      {0x54, 0xfffffffffffffff0U, 7, 0x0U},
      {0x54, 0x7fffffffU, 1, 0x1U},
      {0x54, 0xffffffff80000001U, 0x7fffffff, 0x1U},
      {0x67, 0x1122334455667788U, 63, 0x0U},
      {0x67, 0xfffffffffffffff0U, 7, 0xfffffffffffff800U},
      {0x67, 0x7fffffffU, 1, 0xfffffffeU},
      {0x67, 0xffffffff80000001U, 0, 0xffffffff80000001U},
      {0x64, 0x1122334455667788U, 31, 0x0U},
      {0x64, 0xfffffffffffffff0U, 7, 0xfffff800U},
      {0x64, 0x7fffffffU, 1, 0xfffffffeU},
      {0x64, 0xffffffff80000001U, 0, 0x80000001U},
      {0x77, 0x1122334455667788U, 63, 0x0U},
      {0x77, 0xfffffffffffffff0U, 7, 0x1ffffffffffffffU},
      {0x77, 0x7fffffffU, 1, 0x3fffffffU},
      {0x77, 0xffffffff80000001U, 0, 0xffffffff80000001U},
      {0x74, 0x1122334455667788U, 31, 0x0U},
      {0x74, 0xfffffffffffffff0U, 7, 0x1ffffffU},
      {0x74, 0x7fffffffU, 1, 0x3fffffffU},
      {0x74, 0xffffffff80000001U, 0, 0x80000001U},
      {0x97, 0x1122334455667788U, -2, 0x1122334455667788U},
      {0x97, 0xfffffffffffffff0U, 7, 0x0U},
      {0x97, 0x7fffffffU, 1, 0x0U},
      {0x97, 0xffffffff80000001U, 0x7fffffff, 0x4U},
      {0x94, 0x1122334455667788U, -2, 0x55667788U},
      {0x94, 0xfffffffffffffff0U, 7, 0x2U},
      {0x94, 0x7fffffffU, 1, 0x0U},
      {0x94, 0xffffffff80000001U, 0x7fffffff, 0x2U},
      {0xa7, 0x1122334455667788U, -2, 0xeeddccbbaa998876U},
      {0xa7, 0xfffffffffffffff0U, 7, 0xfffffffffffffff7U},
      {0xa7, 0x7fffffffU, 1, 0x7ffffffeU},
      {0xa7, 0xffffffff80000001U, 0x7fffffff, 0xfffffffffffffffeU},
      {0xa4, 0x1122334455667788U, -2, 0xaa998876U},
      {0xa4, 0xfffffffffffffff0U, 7, 0xfffffff7U},
      {0xa4, 0x7fffffffU, 1, 0x7ffffffeU},
      {0xa4, 0xffffffff80000001U, 0x7fffffff, 0xfffffffeU},
      {0xb7, 0x1122334455667788U, -2, 0xfffffffffffffffeU},
      {0xb7, 0xfffffffffffffff0U, 7, 0x7U},
      {0xb7, 0x7fffffffU, 1, 0x1U},
      {0xb7, 0xffffffff80000001U, 0x7fffffff, 0x7fffffffU},
      {0xb4, 0x1122334455667788U, -2, 0xfffffffeU},
      {0xb4, 0xfffffffffffffff0U, 7, 0x7U},
      {0xb4, 0x7fffffffU, 1, 0x1U},
      {0xb4, 0xffffffff80000001U, 0x7fffffff, 0x7fffffffU},
      {0xc7, 0x1122334455667788U, 63, 0x0U},
      {0xc7, 0xfffffffffffffff0U, 7, 0xffffffffffffffffU},
      {0xc7, 0x7fffffffU, 1, 0x3fffffffU},
      {0xc7, 0xffffffff80000001U, 0, 0xffffffff80000001U},
      {0xc4, 0x1122334455667788U, 31, 0x0U},
      {0xc4, 0xfffffffffffffff0U, 7, 0xffffffffU},
      {0xc4, 0x7fffffffU, 1, 0x3fffffffU},
      {0xc4, 0xffffffff80000001U, 0, 0x80000001U},
  };
  for (const ImmediateRow& row : of_immediates) {
    CAPTURE(row.opcode);
    CAPTURE(row.x);
    CAPTURE(row.immediate);
    CHECK(result_of(joined({wide(3, row.x), {{row.opcode, 3, 0, 0, row.immediate}, same(0, 3), leave}})) ==
          row.expected);
  }
}

TEST_CASE("negation, byte order and constants") {
  struct Row {
    unsigned opcode;
    int immediate;
    std::uint64_t x;
    std::uint64_t expected;
  };
  const Row rows[] = {
      {0x87, 0, 1, 0xffffffffffffffffU},
      {0x87, 0, 0x8000000000000000U, 0x8000000000000000U},
      {0x84, 0, 0xffffffff00000001U, 0xffffffffU},
      {0x84, 0, 0x80000000U, 0x80000000U},
      {0xd4, 16, 0x1122334455667788U, 0x7788U},
      {0xd4, 32, 0x1122334455667788U, 0x55667788U},
      {0xd4, 64, 0x1122334455667788U, 0x1122334455667788U},
      {0xdc, 16, 0x1122334455667788U, 0x8877U},
      {0xdc, 32, 0x1122334455667788U, 0x88776655U},
      {0xdc, 64, 0x1122334455667788U, 0x8877665544332211U},
  };
  for (const Row& row : rows) {
    CAPTURE(row.opcode);
    CAPTURE(row.immediate);
    CHECK(result_of(joined({wide(4, row.x), {{row.opcode, 4, 0, 0, row.immediate}, same(0, 4), leave}})) ==
          row.expected);
  }
  CHECK(result_of(joined({wide(0, 0x80000000ffffffffU), {leave}})) == 0x80000000ffffffffU);
  // An immediate has its sign, in 64 bits, and none in 32.
  CHECK(result_of({set(0, -1), leave}) == ~std::uint64_t{0});
  CHECK(result_of({{0xb4, 0, 0, 0, -1}, leave}) == 0xffffffffU);
}

TEST_CASE("loads and stores of each width, in the input and in the frame, at any alignment") {
  struct Load {
    unsigned opcode;
    int offset;
    std::uint64_t expected;
  };
  // The input is the bytes 0x80, 0x81, …
  const Load loads[] = {
      {0x71, 5, 0x85U},
      {0x69, 3, 0x8483U},
      {0x61, 1, 0x84838281U},
      {0x79, 7, 0x8e8d8c8b8a898887U},
  };
  for (const Load& row : loads) {
    CAPTURE(row.opcode);
    CHECK(result_of({{row.opcode, 0, 1, row.offset}, leave}) == row.expected);
  }
  struct Store {
    unsigned from_register;
    unsigned from_immediate;
    std::uint64_t expected;
    std::uint64_t of_immediate;
  };
  // Over the bytes 0x83 to 0x8a, from r2 = 0x1122334455667788 and from -2.
  const Store stores[] = {
      {0x73, 0x72, 0x8a89888786858488U, 0x8a898887868584feU},
      {0x6b, 0x6a, 0x8a89888786857788U, 0x8a8988878685fffeU},
      {0x63, 0x62, 0x8a89888755667788U, 0x8a898887fffffffeU},
      {0x7b, 0x7a, 0x1122334455667788U, 0xfffffffffffffffeU},
  };
  for (const Store& row : stores) {
    CAPTURE(row.from_register);
    const auto value = wide(2, 0x1122334455667788U);
    CHECK(result_of(joined({value, {{row.from_register, 1, 2, 3}, {0x79, 0, 1, 3}, leave}})) == row.expected);
    CHECK(result_of({{row.from_immediate, 1, 0, 3, -2}, {0x79, 0, 1, 3}, leave}) == row.of_immediate);
    // The same below r10, and through a copy of it, which is not known to lead there.
    const std::vector<Slot> fill{{0x79, 3, 1, 3}, {0x7b, 10, 3, -13}};
    CHECK(result_of(joined({value, fill, {{row.from_register, 10, 2, -13}, {0x79, 0, 10, -13}, leave}})) ==
          row.expected);
    CHECK(result_of(joined(
              {value, fill, {same(5, 10), {row.from_register, 5, 2, -13}, {0x79, 0, 5, -13}, leave}})) ==
          row.expected);
    CHECK(result_of(joined({fill, {{row.from_immediate, 10, 0, -13, -2}, {0x79, 0, 10, -13}, leave}})) ==
          row.of_immediate);
  }
  for (const Load& row : loads) {
    const std::vector<Slot> fill{{0x79, 3, 1, row.offset}, {0x7b, 10, 3, -4096}};
    CHECK(result_of(joined({fill, {{row.opcode, 0, 10, -4096}, leave}})) == row.expected);
  }
}

TEST_CASE("jumps are taken where their comparison says") {
  struct Row {
    unsigned opcode;  // With an immediate; 8 more is with a register.
    bool below;       // For -5 and 3, 3 and 3, 7 and 3, and 4 and -4.
    bool equal;
    bool above;
    bool minus;
  };
  const Row rows[] = {
      {0x15, false, true, false, false}, {0x55, true, false, true, true},   {0x25, true, false, true, false},
      {0x35, true, true, true, false},   {0xa5, false, false, false, true}, {0xb5, false, true, false, true},
      {0x65, false, false, true, true},  {0x75, false, true, true, true},   {0xc5, true, false, false, false},
      {0xd5, true, true, false, false},  {0x45, true, true, true, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.opcode);
    const auto taken = [&](int x, int y) {
      const std::vector<Slot> after{set(0, 1), leave, set(0, 2), leave};
      const std::uint64_t first = result_of(joined({{set(6, x), {row.opcode, 6, 0, 2, y}}, after}));
      const std::uint64_t second =
          result_of(joined({{set(6, x), set(8, y), {row.opcode + 8, 6, 8, 2}}, after}));
      CHECK(first == second);
      return first == 2;
    };
    CHECK(taken(-5, 3) == row.below);
    CHECK(taken(3, 3) == row.equal);
    CHECK(taken(7, 3) == row.above);
    CHECK(taken(4, -4) == row.minus);
  }
  // No bit in common.
  CHECK(result_of({set(0, 1), set(6, 5), {0x45, 6, 0, 1, 2}, set(0, 9), leave}) == 9);
  CHECK(result_of({set(0, 1), set(6, 5), set(7, 2), {0x4d, 6, 7, 1}, set(0, 9), leave}) == 9);
  // Forth and back: 4 + 3 + 2 + 1.
  CHECK(result_of({set(0, 0),
                   set(2, 4),
                   {0x05, 0, 0, 2},
                   {0x0f, 0, 2},
                   {0x07, 2, 0, 0, -1},
                   {0x55, 2, 0, -3, 0},
                   leave}) == 10);
}

TEST_CASE("every instruction that is known was run by a table of this file") {
  // The two calls are run below; they need more than a plain object.
  tried.insert({0x85, 0x8d});
  std::uint64_t known = 0;
  for (unsigned opcode = 1; opcode < 256; ++opcode) {
    CAPTURE(opcode);
    bool taken = false;
    for (const int immediate : {1, 16}) {
      auto text = text_of({{opcode, 0, 0, 0, immediate}, opcode == 0x18 ? Slot{} : leave, leave});
      if (!calyx::strategy::verify(text)) taken = true;
    }
    if (!taken) continue;
    ++known;
    CHECK(tried.count(opcode) == 1);
  }
  CHECK(known == 91);
}

TEST_CASE("a function keeps its caller's r6 to r9 and its frame, and gives back r0 to r5") {
  // The function at 10 spoils all registers and writes below its own r10.
  auto bench = program({
      set(6, 60),
      set(7, 70),
      set(8, 80),
      set(9, 90),
      {0x7a, 10, 0, -8, 11},
      {0x85, 0, 1, 0, 8},  // to 14
      {0x0f, 0, 6},
      {0x0f, 0, 7},
      {0x0f, 0, 8},
      {0x0f, 0, 9},
      {0x0f, 0, 5},
      {0x79, 3, 10, -8},
      {0x0f, 0, 3},
      leave,
      set(0, 1000),
      set(6, 1),
      set(7, 1),
      set(8, 1),
      set(9, 1),
      set(5, 5),
      {0x7a, 10, 0, -8, 22},
      leave,
  });
  const auto outcome = bench.run();
  CHECK(outcome.ending == Ending::returned);
  CHECK(outcome.value == 1000 + 60 + 70 + 80 + 90 + 5 + 11);
  CHECK(outcome.instructions == 14 + 8);
  // The frames lie one behind the other.
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  std::memcpy(&first, bench.stack.data() + 4096 - 8, 8);
  std::memcpy(&second, bench.stack.data() + 2 * 4096 - 8, 8);
  CHECK(first == 11);
  CHECK(second == 22);
  // r10 is the end of the frame, and the next one is a gap further.
  CHECK(outcome_of({same(0, 10), leave}).value == stack_at + 4096);
  CHECK(outcome_of({{0x85, 0, 1, 0, 1}, leave, same(0, 10), leave}).value == stack_at + 3 * 4096);
}

TEST_CASE("functions may call to a depth of 64, the first one counted") {
  // r1 counts down: each call calls itself again.
  const auto deep = [](int calls) {
    return outcome_of({set(1, calls),
                       {0x85, 0, 1, 0, 2},
                       set(0, 5),
                       leave,
                       {0x15, 1, 0, 2, 1},
                       {0x07, 1, 0, 0, -1},
                       {0x85, 0, 1, 0, -3},
                       leave});
  };
  CHECK(deep(63).ending == Ending::returned);
  CHECK(deep(63).value == 5);
  CHECK(deep(64).ending == Ending::call_depth);
  CHECK(deep(64).at == 6);
}

TEST_CASE("a call through a register goes to an address of the text") {
  const std::uint64_t text = program_at + DynamicFile::text_at;
  struct Row {
    const char* says;
    std::uint64_t address;
    Ending ending;
    std::uint64_t value;
  };
  const Row rows[] = {
      {"a function", text + 5 * 8, Ending::returned, 42},
      {"between two instructions means the first", text + 5 * 8 + 7, Ending::returned, 42},
      {"below the text", text - 1, Ending::call_outside, 0},
      {"the last instruction", text + 8 * 8, Ending::returned, 0},
      {"behind the text", text + 9 * 8, Ending::call_outside, 0},
      {"without a region", 5 * 8, Ending::call_outside, 0},
      {"another region", input_at, Ending::call_outside, 0},
      {"the last address", ~std::uint64_t{0}, Ending::call_outside, 0},
      {"the middle of an instruction", text + 1 * 8, Ending::bad_instruction, 0},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    const auto outcome = outcome_of(
        joined({wide(9, row.address),
                {set(0, 0), {0x8d, 0, 0, 0, 9}, leave, set(0, 41), {0x07, 0, 0, 0, 1}, leave, leave}}));
    CHECK(outcome.ending == row.ending);
    CHECK(outcome.value == row.value);
  }
}

TEST_CASE("what may be read and written: the regions and their edges") {
  struct Row {
    const char* says;
    std::uint64_t address;
    unsigned width;
    bool read;
    bool written;
  };
  // The text is 4 slots (5 for a store), with 4 bytes of constants behind.
  const std::uint64_t image = program_at + DynamicFile::text_at;
  const Row rows[] = {
      {"the image", image, 8, true, false},
      {"the end of the image", image + 4 * 8 + 3, 1, true, false},
      {"over the end of the image", image + 5 * 8 - 3, 8, false, false},
      {"before the image", image - 1, 1, false, false},
      {"the stack's begin", stack_at, 8, true, true},
      {"the end of the first frame", stack_at + 4095, 1, true, true},
      {"over the end of a frame is the next frame", stack_at + 4095, 8, true, true},
      {"the gap behind the first frame", stack_at + 4096, 1, false, false},
      {"the end of the gap", stack_at + 8191, 1, false, false},
      {"the second frame", stack_at + 8192, 8, true, true},
      {"the end of the last frame", stack_at + 63 * 8192 + 4088, 8, true, true},
      {"over the end of the last frame", stack_at + 63 * 8192 + 4089, 8, false, false},
      {"behind the stack", stack_at + 64 * 8192, 1, false, false},
      {"the heap's begin", heap_at, 8, true, true},
      {"the heap's end", heap_at + 32 * 1024 - 4, 4, true, true},
      {"over the heap's end", heap_at + 32 * 1024 - 3, 4, false, false},
      {"the input's begin", input_at, 8, true, true},
      {"the input's end", input_at + 63, 1, true, true},
      {"over the input's end by one", input_at + 57, 8, false, false},
      {"behind the input", input_at + 64, 1, false, false},
      {"the end of the input's region", input_at + 0xffffffffU, 8, false, false},
      {"no region", 0, 1, false, false},
      {"the end of no region", 0xffffffffU, 2, false, false},
      {"a fifth region", 0x500000000U, 1, false, false},
      {"all of the space", ~std::uint64_t{0}, 1, false, false},
      {"over the end of all", ~std::uint64_t{0} - 3, 8, false, false},
      {"a region whose number is cut", 0x100000000U << 8 | 4, 1, false, false},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    const unsigned load = row.width == 1 ? 0x71 : row.width == 2 ? 0x69 : row.width == 4 ? 0x61 : 0x79;
    // The address comes about with an offset, forth and back.
    for (const int offset : {0, 32767, -32768}) {
      CAPTURE(offset);
      const auto base = wide(2, row.address - static_cast<std::uint64_t>(static_cast<std::int64_t>(offset)));
      const auto read = program(joined({base, {{load, 0, 2, offset}, leave}}), {}, {1, 2, 3, 4}).run();
      CHECK((read.ending == Ending::returned) == row.read);
      const auto written = program(joined({base, {{load + 2, 2, 1, offset}, leave}}), {}, {1, 2, 3, 4}).run();
      CHECK((written.ending == Ending::returned) == row.written);
      CHECK(written.input_written == (row.written && row.address >> 32 == 4));
      for (const auto& outcome : {read, written}) {
        if (outcome.ending == Ending::returned) continue;
        CHECK(outcome.ending == Ending::memory_access);
        CHECK(outcome.address == row.address);
        CHECK(outcome.bytes == row.width);
        CHECK(outcome.at == 2);
        CHECK(outcome.instructions == 2);
      }
      CHECK_FALSE(read.write);
    }
  }
  // A plain object has a frame and no heap.
  Bench plain(loaded_text(joined({wide(2, heap_at), {{0x71, 0, 2}, leave}})));
  CHECK(plain.run().ending == Ending::memory_access);
  Bench frame(loaded_text({{0x79, 0, 10, -4096}, leave}));
  CHECK(frame.run().ending == Ending::returned);
  for (const int offset : {-4097, -7, 0, 4096}) {
    CAPTURE(offset);
    Bench outside(loaded_text({{0x79, 0, 10, offset}, leave}));
    CHECK(outside.run().ending == Ending::memory_access);
    Bench stored(loaded_text({{0x7b, 10, 1, offset}, leave}));
    CHECK(stored.run().ending == Ending::memory_access);
    CHECK(stored.run().write);
  }
}

TEST_CASE("a division by a register that is zero ends the call") {
  for (const unsigned opcode : {0x3fU, 0x9fU, 0x3cU, 0x9cU}) {
    CAPTURE(opcode);
    const bool half = (opcode & 7) == 4;
    const auto outcome =
        outcome_of(joined({wide(2, half ? 0x100000000U : 0), {set(0, 9), {opcode, 0, 2}, leave}}));
    CHECK(outcome.ending == Ending::divide_by_zero);
    CHECK(outcome.at == 3);
    CHECK(outcome.instructions == 3);
    CHECK(outcome.value == 0);
  }
}

TEST_CASE("the limit ends a call after exactly so many instructions, and nothing later has happened") {
  // 0..7: bytes of the input are written one by one; a constant of two slots is one instruction.
  const auto text = joined({wide(2, 0x0102030405060708U),
                            {{0x73, 1, 2, 0},
                             {0x73, 1, 2, 1},
                             {0x73, 1, 2, 2},
                             {0x05, 0, 0, 0},
                             {0x73, 1, 2, 3},
                             {0x15, 2, 0, 0, 0},
                             {0x73, 1, 2, 4},
                             leave}});
  const std::uint64_t written_after[] = {0, 0, 1, 2, 3, 3, 4, 4, 5, 5};
  for (std::uint64_t limit = 0; limit < 10; ++limit) {
    CAPTURE(limit);
    Bench bench(loaded_text(text));
    const auto outcome = bench.run(limit);
    CHECK(outcome.ending == (limit < 9 ? Ending::instruction_limit : Ending::returned));
    CHECK(outcome.instructions == limit);
    std::uint64_t written = 0;
    for (const unsigned char byte : bench.input)
      if (byte == 8) ++written;
    CHECK(written == written_after[limit]);
  }
  // A fault inside the limit comes before it, one behind it does not.
  const auto faulty = joined({wide(2, 0), {{0x71, 0, 2}, leave}});
  Bench bench(loaded_text(faulty));
  CHECK(bench.run(1).ending == Ending::instruction_limit);
  CHECK(bench.run(2).ending == Ending::memory_access);
  CHECK(bench.run(2).instructions == 2);
  // Loops end, in calls too.
  Bench endless(loaded_text({{0x05, 0, 0, -1}, leave}));
  CHECK(endless.run().ending == Ending::instruction_limit);
  CHECK(endless.run().instructions == 100'000);
}

TEST_CASE("running past the end of the text is an ending of its own") {
  const auto outcome = outcome_of({set(0, 1)});
  CHECK(outcome.ending == Ending::overrun);
  CHECK(outcome.at == 1);
  CHECK(outcome.instructions == 2);
  Bench bench(loaded_text({set(0, 1)}));
  CHECK(bench.run(1).ending == Ending::instruction_limit);
}

TEST_CASE("stack and heap keep what a call left there, registers do not") {
  auto bench = program(joined(
      {{{0x79, 0, 10, -8}, {0x0f, 0, 9}},
       wide(2, heap_at),
       {{0x79, 3, 2, 8}, {0x0f, 0, 3}, {0x7a, 10, 0, -8, 5}, {0x7a, 2, 0, 8, 70}, set(9, 900), leave}}));
  CHECK(bench.run().value == 0);
  CHECK(bench.run().value == 75);
  // All registers but r1 and r10 begin at 0.
  CHECK(outcome_of({{0x4f, 0, 2},
                    {0x4f, 0, 3},
                    {0x4f, 0, 4},
                    {0x4f, 0, 5},
                    {0x4f, 0, 6},
                    {0x4f, 0, 7},
                    {0x4f, 0, 8},
                    {0x4f, 0, 9},
                    leave})
            .value == 0);
  CHECK(outcome_of({same(0, 1), leave}).value == input_at);
}

TEST_CASE("system calls: what they do, and what they refuse") {
  struct Row {
    const char* says;
    const char* name;
    std::uint64_t r1;
    std::uint64_t r2;
    std::uint64_t r3;
    std::uint64_t r4;
    Ending ending;
    std::uint64_t first;   // Of the input, afterwards: it begins as 1, 2, 3, …
    std::uint64_t second;  // The 8 bytes after.
  };
  constexpr std::uint64_t as_was = 0x0807060504030201U;
  constexpr std::uint64_t next = 0x100f0e0d0c0b0a09U;
  const Row rows[] = {
      {"abort", "abort", 0, 0, 0, 0, Ending::aborted, as_was, next},
      {"a log of nowhere is nothing", "sol_log_", 0, 99, 0, 0, Ending::returned, as_was, next},
      {"copy", "sol_memcpy_", input_at + 8, input_at, 4, 0, Ending::returned, as_was, 0x100f0e0d04030201U},
      {"copy nothing from nowhere", "sol_memcpy_", 0, 0, 0, 0, Ending::returned, as_was, next},
      {"copy from nowhere", "sol_memcpy_", input_at, 7, 1, 0, Ending::memory_access, as_was, next},
      {"copy to the image", "sol_memcpy_", program_at + 232, input_at, 1, 0, Ending::memory_access, as_was,
       next},
      {"copy past the input", "sol_memcpy_", input_at, input_at + 60, 5, 0, Ending::memory_access, as_was,
       next},
      {"copy more than there is", "sol_memcpy_", input_at, input_at, ~std::uint64_t{0}, 0,
       Ending::instruction_limit, as_was, next},
      {"move up over itself", "sol_memmove_", input_at + 1, input_at, 7, 0, Ending::returned,
       0x0706050403020101U, next},
      {"move down over itself", "sol_memmove_", input_at, input_at + 1, 7, 0, Ending::returned,
       0x0808070605040302U, next},
      {"fill", "sol_memset_", input_at + 6, 0x1234, 4, 0, Ending::returned, 0x3434060504030201U,
       0x100f0e0d0c0b3434U},
      {"fill past the end", "sol_memset_", input_at + 60, 0, 5, 0, Ending::memory_access, as_was, next},
      {"compare less", "sol_memcmp_", input_at, input_at + 8, 8, input_at + 8, Ending::returned, as_was,
       0x100f0e0dfffffff8U},
      {"compare more", "sol_memcmp_", input_at + 9, input_at + 1, 1, input_at + 8, Ending::returned, as_was,
       0x100f0e0d00000008U},
      {"compare equal", "sol_memcmp_", input_at, input_at, 8, input_at + 8, Ending::returned, as_was,
       0x100f0e0d00000000U},
      {"compare nothing", "sol_memcmp_", 0, 0, 0, input_at + 8, Ending::returned, as_was,
       0x100f0e0d00000000U},
      {"compare into the image", "sol_memcmp_", input_at, input_at, 1, program_at + 232,
       Ending::memory_access, as_was, next},
      {"a name that nobody has", "sol_unheard_of", 0, 0, 0, 0, Ending::unknown_call, as_was, next},
      {"too much return data", "sol_set_return_data", input_at, 9, 0, 0, Ending::argument_too_long, as_was,
       next},
      {"too much storage", "sol_set_storage", input_at, 1025, 0, 0, Ending::argument_too_long, as_was, next},
      {"storage past the input", "sol_set_storage", input_at, 65, 0, 0, Ending::memory_access, as_was, next},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.says));
    auto bench = program(joined({wide(1, row.r1),
                                 wide(2, row.r2),
                                 wide(3, row.r3),
                                 wide(4, row.r4),
                                 {set(0, 99), {0x85, 0, 0, 0, -1}, leave}}),
                         {{DynamicFile::slot_at(9), 10, row.name}});
    for (std::size_t i = 0; i < bench.input.size(); ++i) bench.input[i] = static_cast<unsigned char>(i + 1);
    const auto outcome = bench.run();
    CHECK(outcome.ending == row.ending);
    CHECK(outcome.value == 0);
    CHECK(outcome.instructions == (row.ending == Ending::returned ? 7 : 6));
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    std::memcpy(&first, bench.input.data(), 8);
    std::memcpy(&second, bench.input.data() + 8, 8);
    CHECK(first == row.first);
    CHECK(second == row.second);
    CHECK_FALSE(outcome.storage_set);
    CHECK(outcome.return_bytes == 0);
  }
}

TEST_CASE("return data and storage: set as told, the rest zero, the last call counts") {
  const auto asked = [](const char* name, std::uint64_t bytes) {
    auto bench = program(joined({wide(2, bytes), {{0x85, 0, 0, 0, -1}, leave}}),
                         {{DynamicFile::slot_at(2), 10, name}});
    bench.input.resize(1024);
    for (std::size_t i = 0; i < bench.input.size(); ++i)
      bench.input[i] = static_cast<unsigned char>(i % 251 + 1);
    std::memset(bench.storage, 0xee, sizeof bench.storage);
    const auto outcome = bench.run();
    return std::pair(outcome, std::vector<unsigned char>(bench.storage, bench.storage + 1024));
  };
  for (const std::uint64_t bytes : {0U, 1U, 3U, 8U}) {
    CAPTURE(bytes);
    const auto [outcome, storage] = asked("sol_set_return_data", bytes);
    CHECK(outcome.ending == Ending::returned);
    CHECK(outcome.return_bytes == bytes);
    CHECK(outcome.return_data ==
          (bytes == 8 ? 0x0807060504030201U : 0x0807060504030201U & ((1ULL << (8 * bytes)) - 1)));
    CHECK_FALSE(outcome.storage_set);
    CHECK(storage == std::vector<unsigned char>(1024, 0xee));
  }
  for (const std::uint64_t bytes : {0U, 1U, 1000U, 1024U}) {
    CAPTURE(bytes);
    const auto [outcome, storage] = asked("sol_set_storage", bytes);
    CHECK(outcome.ending == Ending::returned);
    CHECK(outcome.storage_set);
    CHECK(outcome.return_bytes == 0);
    std::uint64_t wrong = 0;
    for (std::size_t i = 0; i < 1024; ++i)
      if (storage[i] != (i < bytes ? i % 251 + 1 : 0)) ++wrong;
    CHECK(wrong == 0);
  }
}

TEST_CASE("a loop of system calls ends by the bytes that it moves") {
  // 32 KiB a turn: 256 turns are 8 MiB, and the next is one too many.
  auto bench = program(joined({wide(1, heap_at),
                               {set(3, 32 * 1024),
                                {0x07, 6, 0, 0, 1},
                                {0x85, 0, 0, 0, -1},
                                {0x7b, 1, 6, 0},
                                {0x05, 0, 0, -4},
                                leave}}),
                       {{DynamicFile::slot_at(4), 10, "sol_memset_"}});
  const auto outcome = bench.run();
  CHECK(outcome.ending == Ending::instruction_limit);
  CHECK(outcome.at == 4);
  CHECK(outcome.instructions == 2 + 256 * 4 + 2);
}
