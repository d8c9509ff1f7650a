// eBPF objects as strategies: their quotes, errors and counts are those of solana_rbpf 0.8.5, their edges
// those of the challenge's own runtime, and both kinds of object agree with the Rust source.
#include <openssl/sha.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <random>
#include <thread>

#include "bpf.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "strategy/strategy.hpp"

namespace math = calyx::kernels::math;
namespace prop_amm = calyx::kernels::prop_amm;
namespace sbpf = calyx::kernels::sbpf;
using calyx::testing::loaded_file;
using calyx::testing::Machine;
using calyx::testing::prop_amm_number;
using calyx::testing::SbpfRunning;
using prop_amm::Side;
using sbpf::Ending;

namespace {

simdjson::dom::element vectors(simdjson::dom::parser& parser, const char* name) {
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::prop_amm_file(name)).get(root) == simdjson::SUCCESS);
  return root;
}

/// Everything here holds of both.
constexpr Machine machines[] = {Machine::interpreter, Machine::code};

bool is_plain(const std::string& file) { return file.ends_with(".bpf.o"); }

std::string_view class_of(Ending ending) {
  return ending == Ending::instruction_limit ? "instruction_limit"
         : ending == Ending::memory_access   ? "memory_access"
                                             : "another";
}

/// The same strategy from its Rust source.
struct Compiled {
  explicit Compiled(const std::string& name)
      : made(compile(name)), stack(made.stack_slots), strategy(made.view(), stack.data()) {
    strategy.begin();
  }
  static calyx::strategy::Compiled compile(const std::string& name) {
    auto result = calyx::strategy::compile(calyx::testing::prop_amm_text("strategies/" + name + ".rs"));
    REQUIRE(std::holds_alternative<calyx::strategy::Compiled>(result));
    return std::get<calyx::strategy::Compiled>(std::move(result));
  }
  calyx::strategy::Compiled made;
  std::vector<std::uint64_t> stack;
  prop_amm::ProgramStrategy strategy;
};

std::vector<unsigned char> bytes_of_hex(std::string_view hex) {
  std::vector<unsigned char> bytes(prop_amm::storage_bytes);
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes[i / 2] = static_cast<unsigned char>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

/// A number of any size, small ones and extremes among them.
std::uint64_t amount(calyx::testing::Dice& dice) {
  const std::uint64_t kind = dice.below(16);
  if (kind == 0) return dice.below(3);
  if (kind == 1) return ~dice.below(3);
  return dice.next() >> dice.below(64);
}

}  // namespace

TEST_CASE("quotes, errors and instruction counts of the objects are those of solana_rbpf") {
  simdjson::dom::parser parser;
  const auto root = vectors(parser, "bpf.json");
  CHECK(prop_amm_number(root["instruction_limit"]) == sbpf::instructions_default);
  std::uint64_t quotes = 0;
  std::uint64_t counts = 0;
  std::map<std::string, std::uint64_t> errors;
  for (const auto object : simdjson::dom::object(root["objects"])) {
    for (const auto file : simdjson::dom::object(object.value["files"])) {
      const std::string name(file.key);
      CAPTURE(name);
      const auto bytes = calyx::testing::object_file(name);
      CHECK(bytes.size() == prop_amm_number(file.value["bytes"]));
      unsigned char digest[SHA256_DIGEST_LENGTH];
      SHA256(bytes.data(), bytes.size(), digest);
      std::string hex;
      for (const unsigned char byte : digest) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
      }
      CHECK(hex == std::string(std::string_view(file.value["sha256"])));

      const auto made = loaded_file(name);
      CHECK(made.plain == is_plain(name));
      if (is_plain(name))
        CHECK((made.code.size() - 1) * 8 == prop_amm_number(object.value["text_bytes_of_bpf_o"]));
      for (const Machine machine : machines) {
        CAPTURE(static_cast<int>(machine));
        SbpfRunning running(made, machine);
        const unsigned char storage[prop_amm::storage_bytes] = {};
        for (const auto quote : simdjson::dom::array(object.value["quotes_at_100_10000"])) {
          const std::uint64_t input = prop_amm_number(quote["input"]);
          CAPTURE(input);
          std::uint64_t output = 77;
          CHECK(running.strategy.compute_swap(static_cast<Side>(prop_amm_number(quote["side"])), input,
                                              100'000'000'000, 10'000'000'000'000, storage, output));
          const auto& outcome = running.strategy.outcome();
          std::string_view error;
          if (quote["error"].get(error) == simdjson::SUCCESS) {
            CHECK(output == 0);
            CHECK(std::string(class_of(outcome.ending)) == std::string(error));
            ++errors[std::string(error)];
          } else {
            CHECK(outcome.ending == Ending::returned);
            CHECK(output == prop_amm_number(quote["output"]));
          }
          std::uint64_t count = 0;
          if (is_plain(name) && quote["instructions"].get(count) == simdjson::SUCCESS) {
            CHECK(outcome.instructions == count);
            ++counts;
          }
          ++quotes;
        }
      }
    }
  }
  CHECK(quotes == 2 * 110);
  CHECK(counts == 2 * 48);
  CHECK(errors["instruction_limit"] == 2 * 12);
  CHECK(errors["memory_access"] == 2 * 12);
}

TEST_CASE("a wild read is told with its address and length, and a limit with all of its instructions") {
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    const auto wild = loaded_file("wild_read.bpf.o");
    SbpfRunning running(wild, machine);
    const unsigned char storage[prop_amm::storage_bytes] = {};
    std::uint64_t output = 1;
    for (int i = 0; i < 3; ++i)
      CHECK(running.strategy.compute_swap(Side::buy, 1'000'000'001, 100'000'000'000, 10'000'000'000'000,
                                          storage, output));
    const auto& outcome = running.strategy.outcome();
    CHECK(outcome.ending == Ending::memory_access);
    CHECK(outcome.address == 0x400001000ULL);
    CHECK(outcome.bytes == 8);
    CHECK_FALSE(outcome.write);
    CHECK(running.strategy.faults().count == 3);
    CHECK(running.strategy.faults().first == Ending::memory_access);
    CHECK(running.strategy.faults().address == 0x400001000ULL);
    // The text has the read at this slot: ldxdw r1, [r1 + 4096].
    CHECK(wild.code[outcome.at].op == sbpf::Op::load_64);
    CHECK(wild.code[outcome.at].offset == 4'096);

    const auto spin = loaded_file("spin.sbf.so");
    SbpfRunning spinning(spin, machine);
    CHECK(spinning.strategy.compute_swap(Side::buy, 1'000'000'001, 100'000'000'000, 10'000'000'000'000,
                                         storage, output));
    CHECK(spinning.strategy.outcome().ending == Ending::instruction_limit);
    CHECK(spinning.strategy.outcome().instructions == 100'000);
    CHECK(output == 0);
  }
}

TEST_CASE(
    "the recorded quotes and storage updates come out of both kinds of object, in as many instructions") {
  simdjson::dom::parser parser;
  const auto root = vectors(parser, "quotes.json");
  std::uint64_t quotes = 0;
  std::uint64_t updates = 0;
  for (const std::string file : {"cp30.bpf.o", "cp500.bpf.o", "ewma_fee.bpf.o", "bad_concave.bpf.o",
                                 "cp30.sbf.so", "ewma_fee.sbf.so", "bad_concave.sbf.so"})
    for (const Machine machine : machines) {
      CAPTURE(file);
      CAPTURE(static_cast<int>(machine));
      const std::string name = file.substr(0, file.find('.'));
      const auto made = loaded_file(file);
      const auto native = calyx::testing::native_of(made);
      SbpfRunning running(made, machine);
      std::vector<std::uint64_t> counts;
      const auto recorded = root["strategies"][name];
      for (const simdjson::dom::array row : simdjson::dom::array(recorded["quotes"])) {
        auto storage = bytes_of_hex(row.at(4).get_string());
        // The storage that a quote sees is the one that the last trade left; a plain call puts this one
        // there.
        auto& strategy = running.strategy;
        strategy.begin();
        calyx::testing::Bench bench(made, prop_amm::SbpfStrategy::input_bytes, running.native.get());
        const std::uint64_t length = 1'049;
        std::memcpy(bench.input.data() + 8, &length, 8);
        bench.input[16] = static_cast<unsigned char>(prop_amm_number(row.at(0)));
        for (std::size_t i = 0; i < 3; ++i) {
          const std::uint64_t value = prop_amm_number(row.at(1 + i));
          std::memcpy(bench.input.data() + 17 + 8 * i, &value, 8);
        }
        std::memcpy(bench.input.data() + 41, storage.data(), storage.size());
        const auto outcome = bench.run();
        CAPTURE(quotes);
        CHECK(outcome.ending == Ending::returned);
        CHECK((made.plain ? outcome.value : outcome.return_data) == prop_amm_number(row.at(5)));
        // Sides that there are not are refused by setting nothing.
        if (!made.plain) CHECK(outcome.return_bytes == (prop_amm_number(row.at(0)) < 2 ? 8 : 0));
        counts.push_back(outcome.instructions);
        ++quotes;
      }
      simdjson::dom::element expected;
      if (made.plain && root["bpf"][name].get(expected) == simdjson::SUCCESS) {
        std::sort(counts.begin(), counts.end());
        CHECK(counts.front() == prop_amm_number(expected["instructions_per_quote"]["min"]));
        CHECK(counts.back() == prop_amm_number(expected["instructions_per_quote"]["max"]));
        const std::uint64_t median = prop_amm_number(expected["instructions_per_quote"]["median"]);
        CHECK((counts[counts.size() / 2] == median || counts[counts.size() / 2 - 1] == median));
      }
      simdjson::dom::array rows;
      if (recorded["after_swap"].get(rows) != simdjson::SUCCESS) continue;
      std::uint64_t most = 0;
      for (const simdjson::dom::array row : rows) {
        auto storage = bytes_of_hex(row.at(6).get_string());
        const prop_amm::Trade trade{static_cast<Side>(prop_amm_number(row.at(0))),
                                    prop_amm_number(row.at(1)),
                                    prop_amm_number(row.at(2)),
                                    prop_amm_number(row.at(3)),
                                    prop_amm_number(row.at(4)),
                                    prop_amm_number(row.at(5))};
        CHECK(running.strategy.after_swap(trade, storage.data()));
        CHECK(running.strategy.outcome().ending == Ending::returned);
        CHECK(storage == bytes_of_hex(row.at(7).get_string()));
        most = std::max(most, running.strategy.outcome().instructions);
        ++updates;
      }
      if (made.plain) CHECK(most == prop_amm_number(root["bpf"][name]["instructions_after_swap_max"]));
    }
  CHECK(quotes == 2 * 1'400);
  CHECK(updates == 2 * 120);
}

TEST_CASE("edges of the objects are those of the challenge's eBPF runtime, to the bit") {
  const auto steps_most = calyx::testing::by_scale<std::uint32_t>(200, 2'000, 2'000);
  const auto seeds_most = calyx::testing::by_scale<std::uint64_t>(2, 4, 8);
  simdjson::dom::parser parser;
  const auto root = vectors(parser, "bpf.json");
  std::uint64_t edges = 0;
  for (const std::string file : {"cp30.bpf.o", "ewma_fee.bpf.o", "cp30.sbf.so", "ewma_fee.sbf.so"})
    for (const Machine machine : machines) {
      CAPTURE(file);
      CAPTURE(static_cast<int>(machine));
      const auto made = loaded_file(file);
      SbpfRunning running(made, machine);
      const auto blocks =
          root["objects"][file.substr(0, file.find('.'))]["edges_through_the_challenge_bpf_runtime"];
      for (const auto block : simdjson::dom::array(blocks)) {
        prop_amm::Settings settings;
        settings.steps = static_cast<std::uint32_t>(prop_amm_number(block["steps"]));
        if (settings.steps > steps_most) continue;
        // Half of the long ones is enough each day.
        if (settings.steps > 200 && made.plain && calyx::testing::test_scale() != calyx::testing::Scale::soak)
          continue;
        std::uint64_t seeds = 0;
        for (const auto entry : simdjson::dom::array(block["edges"])) {
          if (seeds++ == seeds_most) break;
          const std::uint64_t seed = prop_amm_number(entry["seed"]);
          CAPTURE(seed);
          CAPTURE(settings.steps);
          const auto result = prop_amm::simulate(seed, settings, running.strategy);
          CHECK(result.end == prop_amm::End::done);
          CHECK(math::bits_of(result.edge) ==
                std::stoull(std::string(std::string_view(entry["bits"])), nullptr, 16));
          CHECK(running.strategy.faults().count == 0);
          ++edges;
        }
      }
    }
  CHECK(edges == calyx::testing::by_scale<std::uint64_t>(16, 40, 80));
  calyx::testing::told("edges of eBPF objects compared", edges);
}

TEST_CASE(
    "an error is a quote of 0, so objects that fail break the shape of their curve as in the challenge") {
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    prop_amm::Settings settings;
    settings.steps = 200;
    for (const std::string file : {"spin.bpf.o", "spin.sbf.so", "wild_read.bpf.o", "wild_read.sbf.so"}) {
      CAPTURE(file);
      const auto made = loaded_file(file);
      SbpfRunning running(made, machine);
      const auto result = prop_amm::simulate(0, settings, running.strategy);
      CHECK(result.end == prop_amm::End::not_monotone);
      CHECK(result.search == prop_amm::Search::arbitrage_buy);
      CHECK(running.strategy.faults().count > 0);
      CHECK(running.strategy.faults().first ==
            (file.starts_with("spin") ? Ending::instruction_limit : Ending::memory_access));
      // Where the shape does not matter the simulation goes on to its end, without those trades.
      settings.strict_curves = false;
      settings.steps = 2;
      CHECK(prop_amm::simulate(0, settings, running.strategy).end == prop_amm::End::done);
      settings = {200, true};
    }
    for (const std::string file : {"bad_concave.bpf.o", "bad_concave.sbf.so"}) {
      CAPTURE(file);
      const auto made = loaded_file(file);
      SbpfRunning running(made, machine);
      CHECK(prop_amm::simulate(0, settings, running.strategy).end == prop_amm::End::not_concave);
    }
  }
}

TEST_CASE("both kinds of object and the Rust source give the same random quotes and storage updates") {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << "eBPF and Rust: seed " << chosen << '\n';
  CAPTURE(chosen);
  calyx::testing::Dice dice(chosen);
  const auto rounds = calyx::testing::by_scale<std::uint64_t>(100, 2'000, 50'000);
  std::uint64_t compared = 0;
  std::uint64_t different = 0;
  std::uint64_t paid = 0;
  for (const std::string name : {"cp30", "ewma_fee", "bad_concave"}) {
    CAPTURE(name);
    Compiled rust(name);
    const auto plain_made = loaded_file(name + ".bpf.o");
    const auto program_made = loaded_file(name + ".sbf.so");
    SbpfRunning plain(plain_made);
    SbpfRunning program(program_made, Machine::code);
    std::vector<unsigned char> storage(prop_amm::storage_bytes);
    std::vector<unsigned char> of_plain = storage;
    std::vector<unsigned char> of_program = storage;
    for (std::uint64_t i = 0; i < rounds; ++i) {
      const auto side = static_cast<Side>(dice.below(2));
      const std::uint64_t input = amount(dice);
      const std::uint64_t x = amount(dice);
      const std::uint64_t y = amount(dice);
      std::uint64_t wanted = 1;
      std::uint64_t first = 2;
      std::uint64_t second = 3;
      const bool sound = rust.strategy.compute_swap(side, input, x, y, storage.data(), wanted);
      plain.strategy.compute_swap(side, input, x, y, of_plain.data(), first);
      program.strategy.compute_swap(side, input, x, y, of_program.data(), second);
      if (!sound || first != wanted || second != wanted) ++different;
      if (wanted != 0) ++paid;
      ++compared;
      if (dice.below(4) != 0) continue;
      if (dice.below(8) == 0) {
        // A storage that no trade leaves. What follows may be refused, and then quotes see this one.
        for (std::size_t byte = 0; byte < 40; ++byte) storage[byte] = static_cast<unsigned char>(dice.next());
        of_plain = of_program = storage;
        plain.strategy.set_storage(of_plain.data());
        program.strategy.set_storage(of_program.data());
      }
      const prop_amm::Trade trade{side, input, wanted, x, y, amount(dice)};
      if (!rust.strategy.after_swap(trade, storage.data())) ++different;
      plain.strategy.after_swap(trade, of_plain.data());
      program.strategy.after_swap(trade, of_program.data());
      if (of_plain != storage || of_program != storage) ++different;
      ++compared;
    }
    CHECK(plain.strategy.faults().count == 0);
    CHECK(program.strategy.faults().count == 0);
  }
  CHECK(different == 0);
  CHECK(paid > compared / 8);
  calyx::testing::told("random eBPF quotes and updates compared with Rust", compared);
}

TEST_CASE("what a program keeps in its stack and heap lasts until the next simulation begins") {
  using calyx::testing::DynamicFile;
  DynamicFile file;
  // 1 more in the heap and 10 more in the stack with each call; their sum is the quote.
  file.text = calyx::testing::joined({calyx::testing::wide(6, 0x300000000U),
                                      {{0x79, 3, 6},
                                       {0x07, 3, 0, 0, 1},
                                       {0x7b, 6, 3},
                                       {0x79, 4, 10, -8},
                                       {0x07, 4, 0, 0, 10},
                                       {0x7b, 10, 4, -8},
                                       {0x0f, 3, 4},
                                       {0x7b, 10, 3, -16},
                                       {0xbf, 1, 10},
                                       {0x07, 1, 0, 0, -16},
                                       {0xb7, 2, 0, 0, 8},
                                       {0x85, 0, 0, 0, -1},
                                       {0x95}}});
  file.relocations = {{DynamicFile::slot_at(13), 10, "sol_set_return_data"}};
  const auto made = calyx::testing::loaded(calyx::strategy::load_elf(file.bytes()));
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    SbpfRunning running(made, machine);
    const unsigned char storage[prop_amm::storage_bytes] = {};
    const auto quote = [&] {
      std::uint64_t output = 0;
      CHECK(running.strategy.compute_swap(Side::buy, 1, 2, 3, storage, output));
      return output;
    };
    CHECK(quote() == 11);
    CHECK(quote() == 22);
    CHECK(quote() == 33);
    running.strategy.begin();
    CHECK(quote() == 11);
  }
}

TEST_CASE("a plain object's storage changes with a trade that ends well, and with nothing else") {
  // A quote is the first byte of the storage, which it then overwrites; a trade writes 7 there, and one with
  // an input of 1 then fails.
  const auto made = calyx::testing::loaded_text({{0x71, 0, 1, 16},
                                                 {0x15, 0, 0, 3, 2},
                                                 {0x71, 0, 1, 41},
                                                 {0x72, 1, 0, 41, 9},
                                                 {0x95},
                                                 {0x72, 1, 0, 58, 7},
                                                 {0x79, 2, 1, 18},
                                                 {0x15, 2, 0, 1, 1},
                                                 {0x95},
                                                 {0x79, 0, 2, 0},
                                                 {0x95}});
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    SbpfRunning running(made, machine);
    std::vector<unsigned char> storage(prop_amm::storage_bytes);
    const auto quote = [&] {
      std::uint64_t output = 99;
      CHECK(running.strategy.compute_swap(Side::sell, 1, 2, 3, storage.data(), output));
      return output;
    };
    CHECK(quote() == 0);
    CHECK(quote() == 0);
    CHECK(running.strategy.after_swap({Side::buy, 1, 2, 3, 4, 5}, storage.data()));
    CHECK(running.strategy.outcome().ending == Ending::memory_access);
    CHECK(running.strategy.faults().count == 1);
    CHECK(storage[0] == 0);
    CHECK(quote() == 0);
    CHECK(running.strategy.after_swap({Side::buy, 2, 2, 3, 4, 5}, storage.data()));
    CHECK(running.strategy.faults().count == 1);
    CHECK(storage[0] == 7);
    CHECK(std::count(storage.begin(), storage.end(), 0) == 1'023);
    CHECK(quote() == 7);
    CHECK(quote() == 7);
  }
}

TEST_CASE("a program's storage changes with what it sets, if the trade ends well") {
  using calyx::testing::DynamicFile;
  // Sets the storage to the 8 bytes of the trade's input, the rest zero; an odd input then fails. A quote
  // does the same, and nobody minds.
  DynamicFile file;
  file.text = {{0xbf, 6, 1},
               {0x07, 1, 0, 0, 18},
               {0xb7, 2, 0, 0, 8},
               {0x85, 0, 0, 0, -1},
               {0x79, 2, 6, 18},
               {0x45, 2, 0, 1, 1},
               {0x95},
               {0x79, 0, 2, 0},
               {0x95}};
  file.relocations = {{DynamicFile::slot_at(3), 10, "sol_set_storage"}};
  const auto made = calyx::testing::loaded(calyx::strategy::load_elf(file.bytes()));
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    SbpfRunning running(made, machine);
    std::vector<unsigned char> storage(prop_amm::storage_bytes, 0x33);
    CHECK(running.strategy.after_swap({Side::buy, 1, 2, 3, 4, 5}, storage.data()));
    CHECK(running.strategy.faults().count == 1);
    CHECK(running.strategy.faults().first == Ending::memory_access);
    CHECK(running.strategy.faults().address == 1);
    CHECK(running.strategy.faults().at == 7);
    CHECK(storage == std::vector<unsigned char>(prop_amm::storage_bytes, 0x33));
    CHECK(running.strategy.after_swap({Side::buy, 3, 2, 3, 4, 5}, storage.data()));
    CHECK(running.strategy.faults().count == 2);
    CHECK(running.strategy.outcome().address == 3);
    CHECK(running.strategy.faults().address == 1);
    std::uint64_t output = 5;
    CHECK(running.strategy.compute_swap(Side::buy, 3, 2, 3, storage.data(), output));
    CHECK(output == 0);
    CHECK(storage == std::vector<unsigned char>(prop_amm::storage_bytes, 0x33));
    CHECK(running.strategy.after_swap({Side::buy, 0x0102, 2, 3, 4, 5}, storage.data()));
    CHECK(storage[0] == 2);
    CHECK(storage[1] == 1);
    CHECK(std::count(storage.begin(), storage.end(), 0) == 1'022);
  }
}

TEST_CASE("ranges of seeds, split anywhere and run by two threads, give what one range gives") {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << "eBPF ranges: seed " << chosen << '\n';
  CAPTURE(chosen);
  calyx::testing::Dice dice(chosen);
  constexpr std::uint64_t count = 8;
  const prop_amm::Settings settings{20, true};
  const std::uint64_t seed_base = ~std::uint64_t{0} - dice.below(count);  // wraps within the range
  const std::uint64_t cut = 1 + dice.below(count - 1);
  CAPTURE(cut);
  std::uint64_t faulty = 0;
  for (const char* name : {"ewma_fee.bpf.o", "ewma_fee.sbf.so", "wild_read.sbf.so"}) {
    CAPTURE(name);
    const auto made = loaded_file(name);
    const auto range = [&](std::uint64_t first, std::uint64_t last, prop_amm::Result* results,
                           prop_amm::SbpfFaults* faults, const calyx::strategy::SbpfNative* native) {
      std::vector<unsigned char> stack(made.stack_bytes(), 0x5a);
      std::vector<unsigned char> heap(made.heap_bytes, 0x5a);
      if (native == nullptr)
        prop_amm::prop_amm_sbpf_range(made.view(), stack.data(), heap.data(), seed_base, first, last,
                                      settings, sbpf::instructions_default, results, faults);
      else
        calyx::strategy::native_sbpf_range(made.view(), native, stack.data(), heap.data(), seed_base, first,
                                           last, settings, sbpf::instructions_default, results, faults);
    };
    std::vector<prop_amm::Result> whole(count);
    std::vector<prop_amm::SbpfFaults> whole_faults(count);
    range(0, count, whole.data(), whole_faults.data(), nullptr);
    std::vector<prop_amm::Result> split(count + 1);
    std::vector<prop_amm::SbpfFaults> split_faults(count + 1);
    split[count].edge = 77.0;
    const auto native = calyx::testing::native_of(made);
    std::thread other([&] { range(cut, count, split.data(), split_faults.data(), native.get()); });
    range(0, cut, split.data(), split_faults.data(), native.get());
    other.join();
    CHECK(split[count].edge == 77.0);
    for (std::uint64_t i = 0; i < count; ++i) {
      CAPTURE(i);
      CHECK(math::bits_of(whole[i].edge) == math::bits_of(split[i].edge));
      CHECK(whole[i].end == split[i].end);
      CHECK(whole[i].step == split[i].step);
      CHECK(whole_faults[i].count == split_faults[i].count);
      CHECK(whole_faults[i].first == split_faults[i].first);
      faulty += whole_faults[i].count;
      SbpfRunning alone(made);
      const auto one = prop_amm::simulate(seed_base + i, settings, alone.strategy);
      CHECK(math::bits_of(one.edge) == math::bits_of(whole[i].edge));
      CHECK(one.end == whole[i].end);
    }
  }
  CHECK(faulty > 0);
}

TEST_CASE("whoever wants an end is heard after a call that moved all it may, of however few instructions") {
  using calyx::testing::DynamicFile;
  DynamicFile file;
  // Fills the heap again and again.
  file.text = calyx::testing::joined(
      {calyx::testing::wide(1, std::uint64_t{sbpf::region_heap} << 32),
       {{0xb7, 3, 0, 0, sbpf::heap_bytes_max}, {0x85, 0, 0, 0, -1}, {0x05, 0, 0, -5}}});
  file.relocations = {{DynamicFile::slot_at(3), 10, "sol_memset_"}};
  const auto made = calyx::testing::loaded(calyx::strategy::load_elf(file.bytes()));
  for (const Machine machine : machines) {
    CAPTURE(static_cast<int>(machine));
    SbpfRunning running(made, machine);
    const prop_amm::Stop stop{[](void*) { return true; }};
    prop_amm::GuardedStrategy<decltype(running.strategy)> guarded(running.strategy, {}, stop);
    const unsigned char storage[prop_amm::storage_bytes] = {};
    std::uint64_t output = 0;
    CHECK_FALSE(guarded.compute_swap(Side::buy, 1, 2, 3, storage, output));
    CHECK(guarded.stopped());
    CHECK(running.strategy.outcome().moved == sbpf::moved_bytes_max);
    CHECK(running.strategy.outcome().instructions < 2'000);
  }
}
