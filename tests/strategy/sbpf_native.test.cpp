// eBPF as machine code against the interpreter: the same outcome, the same count and the same bytes left in
// memory, whatever the program, the input and the limit.
#include "strategy/sbpf_native.hpp"

#include <algorithm>
#include <iterator>

#include "bpf.hpp"
#include "bpf_random.hpp"

namespace sbpf = calyx::kernels::sbpf;
namespace prop_amm = calyx::kernels::prop_amm;
using calyx::strategy::make_sbpf_native;
using calyx::strategy::SbpfCall;
using calyx::strategy::SbpfNative;
using calyx::strategy::SbpfObject;
using calyx::testing::DamagedFiles;
using calyx::testing::Dice;
using calyx::testing::DynamicFile;
using calyx::testing::joined;
using calyx::testing::loaded;
using calyx::testing::loaded_text;
using calyx::testing::native_here;
using calyx::testing::RandomPrograms;
using calyx::testing::same;
using calyx::testing::seed_for;
using calyx::testing::Slot;
using calyx::testing::SoundPrograms;
using calyx::testing::wide;
using sbpf::Ending;

namespace {

/// One side's memory: guards around all of it, which nothing may change.
class Side {
 public:
  Side(const SbpfObject& made, std::size_t input_bytes)
      : stack_(made.stack_bytes() + 2 * guard, 0xc3),
        heap_(made.heap_bytes + 2 * guard, 0xc3),
        input_(input_bytes + 2 * guard, 0xc3),
        storage_(sbpf::storage_bytes_max + 2 * guard, 0xc3) {}

  sbpf::Memory memory() {
    return {stack_.data() + guard, heap_.data() + guard, input_.data() + guard,
            static_cast<std::uint32_t>(input_.size() - 2 * guard), storage_.data() + guard};
  }
  void set_input(const std::vector<unsigned char>& input) {
    std::copy(input.begin(), input.end(), input_.begin() + guard);
  }
  bool operator==(const Side&) const = default;
  bool guarded() const {
    for (const auto* part : {&stack_, &heap_, &input_, &storage_})
      for (std::size_t i = 0; i < guard; ++i)
        if ((*part)[i] != 0xc3 || (*part)[part->size() - 1 - i] != 0xc3) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 64;
  std::vector<unsigned char> stack_;
  std::vector<unsigned char> heap_;
  std::vector<unsigned char> input_;
  std::vector<unsigned char> storage_;
};

/// An object, run both ways.
class Twins {
 public:
  explicit Twins(const SbpfObject& made, std::size_t input_bytes = prop_amm::SbpfStrategy::input_bytes)
      : made_(made),
        native_(make_sbpf_native(made.view(), &why_)),
        call_(std::make_unique<SbpfCall>()),
        interpreted_(made, input_bytes),
        own_(made, input_bytes) {}

  bool has_code() const { return native_ != nullptr; }
  const std::string& why() const { return why_; }

  /// The interpreter's outcome. `agree` becomes false if the code has another one.
  sbpf::Outcome run(const std::vector<unsigned char>& input, std::uint64_t limit, bool& agree) {
    interpreted_.set_input(input);
    own_.set_input(input);
    const auto image = made_.image;
    const sbpf::Outcome wanted = sbpf::run(made_.view(), interpreted_.memory(), limit);
    native_->run(*call_, made_.view(), own_.memory(), limit);
    if (!same(call_->outcome, wanted) || !(own_ == interpreted_) || !own_.guarded() || made_.image != image) {
      agree = false;
      MESSAGE("limit " << limit << ": ending " << static_cast<int>(wanted.ending) << " and "
                       << static_cast<int>(call_->outcome.ending) << ", at " << wanted.at << " and "
                       << call_->outcome.at << ", instructions " << wanted.instructions << " and "
                       << call_->outcome.instructions << ", value " << wanted.value << " and "
                       << call_->outcome.value << ", memory "
                       << (own_ == interpreted_ ? "the same" : "another"));
    }
    return wanted;
  }

 private:
  const SbpfObject& made_;
  std::string why_;
  std::unique_ptr<SbpfNative> native_;
  std::unique_ptr<SbpfCall> call_;
  Side interpreted_;
  Side own_;
};

/// Limits that end a call of so many instructions at its end, around it and anywhere.
std::uint64_t limit_for(Dice& dice, std::uint64_t instructions) {
  switch (dice.below(4)) {
    case 0: return instructions - (instructions > 0 ? dice.below(2) : 0);
    case 1: return instructions + dice.below(3);
    default: return dice.below(instructions + 2);
  }
}

/// Calls a program some times, and says how often it ended in which way.
void compare(const SbpfObject& made, Dice& dice, std::uint64_t calls, std::uint64_t* endings, bool& agree) {
  const std::size_t bytes =
      dice.below(4) == 0 ? dice.below(200) : std::size_t{prop_amm::SbpfStrategy::input_bytes};
  Twins twins(made, bytes);
  CAPTURE(twins.why());
  REQUIRE(twins.has_code());
  std::uint64_t limit = 2'000;
  for (std::uint64_t i = 0; i < calls; ++i) {
    auto input = calyx::testing::random_input(dice);
    input.resize(bytes);
    const sbpf::Outcome outcome = twins.run(input, limit, agree);
    ++endings[static_cast<std::size_t>(outcome.ending)];
    // What the next one leaves in memory depends on where this one was cut off, on both sides alike.
    limit = i % 2 == 0 ? limit_for(dice, outcome.instructions) : 2'000;
  }
}

}  // namespace

TEST_CASE("random programs come to the same as machine code and interpreted, wherever the limit cuts them") {
  if (!native_here("eBPF as machine code")) return;
  const std::uint64_t chosen = seed_for("eBPF machine code");
  CAPTURE(chosen);
  Dice dice(chosen);
  const auto wanted = calyx::testing::by_scale<std::uint64_t>(2'000, 12'000, 1'000'000);
  const RandomPrograms programs;
  std::uint64_t executions = 0;
  std::uint64_t refused = 0;
  std::uint64_t endings[11] = {};
  bool agree = true;
  // On until each way to end was met, which the rarest may take a while.
  const auto met_all = [&] {
    return std::find(std::begin(endings), std::end(endings), 0U) == std::end(endings);
  };
  while (agree && (executions < wanted || (executions < 50 * wanted && !met_all()))) {
    const bool sound = dice.below(3) != 0;
    const auto made =
        calyx::strategy::load_elf((sound ? SoundPrograms::next(dice) : programs.next(dice)).bytes());
    if (!std::holds_alternative<SbpfObject>(made)) {
      ++refused;
      REQUIRE(refused < 100 + 20 * wanted);
      continue;
    }
    CAPTURE(executions);
    CAPTURE(sound);
    compare(std::get<SbpfObject>(made), dice, 6, endings, agree);
    CHECK(agree);
    executions += 6;
  }
  for (std::size_t ending = 0; ending <= 10; ++ending) {
    CAPTURE(ending);
    CHECK(endings[ending] > 0);
  }
  CHECK(endings[0] > executions / 10);
  calyx::testing::told("random eBPF programs compared as machine code", executions);
}

TEST_CASE("damaged objects that load come to the same as machine code and interpreted") {
  if (!native_here("damaged eBPF as machine code")) return;
  const std::uint64_t chosen = seed_for("damaged eBPF machine code");
  CAPTURE(chosen);
  Dice dice(chosen);
  const auto rounds = calyx::testing::by_scale<std::uint64_t>(400, 2'000, 50'000);
  const DamagedFiles files;
  std::uint64_t compared = 0;
  std::uint64_t endings[11] = {};
  bool agree = true;
  for (std::uint64_t round = 0; round < rounds && agree; ++round) {
    const auto made = calyx::strategy::load_elf(files.next(dice));
    if (!std::holds_alternative<SbpfObject>(made)) continue;
    CAPTURE(round);
    compare(std::get<SbpfObject>(made), dice, 4, endings, agree);
    CHECK(agree);
    compared += 4;
  }
  CHECK(compared > rounds / 5);
  calyx::testing::told("damaged eBPF objects compared as machine code", compared);
}

TEST_CASE("the objects of the test vectors end alike at every limit") {
  if (!native_here("eBPF limits as machine code")) return;
  Dice dice(1);
  for (const char* name : {"cp30.bpf.o", "ewma_fee.bpf.o", "cp30.sbf.so", "ewma_fee.sbf.so"}) {
    CAPTURE(name);
    const auto made = calyx::testing::loaded_file(name);
    Twins twins(made);
    REQUIRE(twins.has_code());
    bool agree = true;
    for (unsigned char tag = 0; tag < 5 && agree; ++tag) {
      auto input = calyx::testing::random_input(dice);
      input[16] = tag;
      const std::uint64_t all = twins.run(input, sbpf::instructions_default, agree).instructions;
      const std::uint64_t step = calyx::testing::by_scale<std::uint64_t>(97, 7, 1);
      for (std::uint64_t limit = dice.below(step); limit <= all + 1 && agree; limit += step)
        twins.run(input, limit, agree);
      twins.run(input, all, agree);
      twins.run(input, all - 1, agree);
    }
    CHECK(agree);
  }
}

TEST_CASE("machine code resolves the frames of callers as the interpreter does") {
  if (!native_here("eBPF frames as machine code")) return;
  // Three functions, each of which writes through what its caller gave it, into frames above, over the edge
  // of a frame and out of the stack.
  for (const int distance : {-8, -4'096, -4'089, 0, 1, -4'097, 4'096, -8'192, -12'288, -16'384}) {
    CAPTURE(distance);
    DynamicFile file;
    file.text = {{0xbf, 1, 10},      {0x07, 1, 0, 0, distance},
                 {0x85, 0, 1, 0, 2},  // to the second
                 {0x79, 0, 10, -8},  {0x95},
                 {0xbf, 6, 10},      {0x07, 6, 0, 0, distance},
                 {0x7a, 1, 0, 0, 1}, {0x85, 0, 1, 0, 2},  // to the third
                 {0x0f, 0, 6},       {0x95},
                 {0x7b, 1, 10, 8},   {0x7b, 6, 1, 0},
                 {0xbf, 0, 10},      {0x79, 2, 6, -24},
                 {0x0f, 0, 2},       {0x95}};
    const auto made = loaded(calyx::strategy::load_elf(file.bytes()));
    Twins twins(made);
    REQUIRE(twins.has_code());
    bool agree = true;
    twins.run(std::vector<unsigned char>(100), 1'000, agree);
    CHECK(agree);
  }
}

TEST_CASE("an access at the edge of what is there is found or refused as by the interpreter") {
  if (!native_here("eBPF edges as machine code")) return;
  // The address is in the input, so nothing is known of it but what it was made of: nothing at all, the input
  // or the frame.
  constexpr std::uint64_t input_bytes = 256;
  const std::uint64_t image_at = DynamicFile::text_at;
  std::uint64_t found = 0;
  std::uint64_t refused = 0;
  for (const unsigned opcode : {0x71U, 0x69U, 0x61U, 0x79U, 0x73U, 0x6bU, 0x63U, 0x7bU, 0x72U, 0x7aU}) {
    for (int made_of = 0; made_of < 3; ++made_of) {
      CAPTURE(opcode);
      CAPTURE(made_of);
      const bool loads = (opcode & 7) == 1;
      DynamicFile file;
      file.text = {{0x79, 2, 1, 64}, {0xb7, 3, 0, 0, 0}};
      if (made_of == 1) file.text.insert(file.text.end(), {{0xbf, 3, 1}, {0x1f, 2, 3}});
      if (made_of == 2) file.text.insert(file.text.end(), {{0xbf, 3, 10}, {0x1f, 2, 3}});
      file.text.insert(file.text.end(), {{0x0f, 3, 2}, {0x07, 3, 0, 0, 5}});
      file.text.push_back(loads ? Slot{opcode, 0, 3, -5} : Slot{opcode, 3, 1, -5, 0x1234});
      file.text.push_back({0x95});
      file.constants = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
      const std::uint64_t image_end = file.constants_at() + file.constants.size();
      const auto made = loaded(calyx::strategy::load_elf(file.bytes()));
      Twins twins(made, input_bytes);
      REQUIRE(twins.has_code());
      bool agree = true;
      const std::uint64_t edges[] = {0,
                                     0x100000000U,
                                     0x100000000U + image_at,
                                     0x100000000U + image_end,
                                     0x200000000U,
                                     0x200001000U,
                                     0x200002000U,
                                     0x20007e000U,
                                     0x20007f000U,
                                     0x200080000U,
                                     0x300000000U,
                                     0x300000000U + sbpf::heap_bytes_max,
                                     0x400000000U,
                                     0x400000000U + input_bytes,
                                     0x400001000U,
                                     0x500000000U,
                                     0x8000000400000000U,
                                     0x10000000400000U};
      for (const std::uint64_t edge : edges)
        for (int from = -9; from <= 9; ++from) {
          std::vector<unsigned char> input(input_bytes, 0x11);
          const std::uint64_t address = edge + static_cast<std::uint64_t>(std::int64_t{from});
          std::memcpy(input.data() + 64, &address, 8);
          ++(twins.run(input, 100, agree).ending == Ending::returned ? found : refused);
        }
      CHECK(agree);
    }
  }
  CHECK(found > 1'000);
  CHECK(refused > 1'000);
}

TEST_CASE("programs that no loader made are refused, and no code is made of them") {
  std::string why;
  auto object = loaded_text({{0x07, 1, 0, 0, 1}, {0x05, 0, 0, 0}, {0x79, 0, 10, -8}, {0x95}});
  const auto refused = [&](auto change) {
    auto changed = object;
    change(changed.code);
    why.clear();
    return make_sbpf_native(changed.view(), &why) == nullptr &&
           why.find("makes no sense") != std::string::npos;
  };
  CHECK(refused([](auto& code) { code[0].d = 10; }));
  CHECK(refused([](auto& code) { code[0].d = 11; }));
  CHECK(refused([](auto& code) { code[0].s = 11; }));
  CHECK(refused([](auto& code) { code[0].op = sbpf::Op::load_constant; }));
  CHECK(refused([](auto& code) { code[0].op = static_cast<sbpf::Op>(200); }));
  CHECK(refused([](auto& code) { code[0].op = sbpf::Op::div_i, code[0].immediate = 0; }));
  CHECK(refused([](auto& code) { code[1].offset = 3; }));
  CHECK(refused([](auto& code) { code[1].offset = -3; }));
  CHECK(refused([](auto& code) { code[1].op = sbpf::Op::call; }));
  CHECK(refused([](auto& code) { code[2].offset = -7; }));
  CHECK(refused([](auto& code) { code[2].offset = -4'097; }));
  CHECK(refused([](auto& code) { code[4].op = sbpf::Op::leave; }));
  const std::vector<Slot> many(65'537, Slot{0x07, 1, 0, 0, 1});
  CHECK(make_sbpf_native(loaded_text(many).view(), &why) == nullptr);
  CHECK(why == "the program is too large");
}
