// Strategies in Rust, compiled and run in the Prop AMM simulation: the original's edges and violations.
#include <iostream>
#include <random>
#include <thread>
#include <variant>
#include <vector>

#include "calyx_kernels/prop_amm_program.hpp"
#include "prop_amm_vectors.hpp"
#include "running.hpp"
#include "strategy/strategy.hpp"

namespace bytecode = calyx::kernels::bytecode;
namespace math = calyx::kernels::math;
namespace prop_amm = calyx::kernels::prop_amm;
using prop_amm::End;

namespace {

/// A strategy and the stack that it works on.
struct Running {
  explicit Running(const calyx::strategy::Compiled& made, std::uint64_t fuel = bytecode::fuel_default)
      : stack(made.stack_slots), strategy(made.view(), stack.data(), fuel) {}
  std::vector<std::uint64_t> stack;
  prop_amm::ProgramStrategy strategy;
};

calyx::strategy::Compiled compiled(const std::string& name) {
  auto made =
      calyx::strategy::compile(calyx::testing::prop_amm_text("strategies/" + std::string(name) + ".rs"));
  REQUIRE(std::holds_alternative<calyx::strategy::Compiled>(made));
  return std::get<calyx::strategy::Compiled>(std::move(made));
}

}  // namespace

TEST_CASE("compiled strategies earn the original's edges to the bit, and break where they broke") {
  // Native code runs all of them (native.test.cpp). Here those of 2,000 steps are for the soak, but for a
  // strategy that keeps a state and for those that break.
  const auto steps = calyx::testing::by_scale<std::uint32_t>(200, 200, 10'000);
  const bool small = calyx::testing::test_scale() == calyx::testing::Scale::small;
  std::uint64_t edges = 0;
  std::uint64_t violations = 0;
  for (const char* name :
       {"cp30", "cp66", "cp500", "ewma_fee", "wobble", "bad_monotone", "bad_concave", "bad_concave_hidden"}) {
    const auto made = compiled(name);
    Running running(made);
    const bool more = name[0] == 'b' || std::string_view(name) == "ewma_fee";
    const auto compared = calyx::testing::compare_edges(name, running.strategy,
                                                        more && !small ? std::max(steps, 2'000U) : steps);
    edges += compared.with_edge;
    violations += compared.all - compared.with_edge;
  }
  CHECK(edges == calyx::testing::by_scale<std::uint64_t>(320, 384, 722));
  CHECK(violations == (small ? 0 : 24));
  calyx::testing::told("edges of compiled strategies compared", edges);
}

TEST_CASE("a compiled strategy without fuel fails its simulation, and says why") {
  const auto made = compiled("cp66");
  Running running(made, 20);
  const auto result = prop_amm::simulate(0, {10, true}, running.strategy);
  CHECK(result.end == End::strategy_failed);
  CHECK(result.step == 0);
  CHECK(running.strategy.outcome().ending == bytecode::Ending::step_limit);
}

TEST_CASE("ranges of seeds, split anywhere and run by two threads, give what one range gives") {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << "prop_amm ranges: seed " << chosen << '\n';
  CAPTURE(chosen);
  calyx::testing::Dice dice(chosen);
  const prop_amm::Settings settings{calyx::testing::by_scale<std::uint32_t>(200, 200, 2'000), true};
  constexpr std::uint64_t count = 24;
  // The last one violates the shape, at a step and in a search that depend on the seed.
  for (const char* name : {"ewma_fee", "cp30", "bad_concave_hidden"}) {
    CAPTURE(name);
    const auto made = compiled(name);
    const std::uint64_t seed_base = ~std::uint64_t{0} - dice.below(count);  // wraps within the range
    const auto range = [&](std::uint64_t first, std::uint64_t last, prop_amm::Result* results,
                           prop_amm::Fault* faults) {
      std::vector<std::uint64_t> stack(made.stack_slots, 0xdeadbeefdeadbeefULL);
      prop_amm::prop_amm_range(made.view(), stack.data(), seed_base, first, last, settings, {}, results,
                               faults);
    };
    std::vector<prop_amm::Result> whole(count);
    std::vector<prop_amm::Fault> whole_faults(count);
    range(0, count, whole.data(), whole_faults.data());
    const std::uint64_t cut = 1 + dice.below(count - 1);
    CAPTURE(cut);
    std::vector<prop_amm::Result> split(count + 1);
    std::vector<prop_amm::Fault> split_faults(count + 1);
    split[count].edge = 77.0;
    std::thread other([&] { range(cut, count, split.data(), split_faults.data()); });
    range(0, cut, split.data(), split_faults.data());
    other.join();
    std::uint64_t different = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      CAPTURE(i);
      CHECK(math::bits_of(whole[i].edge) == math::bits_of(split[i].edge));
      CHECK(whole[i].end == split[i].end);
      CHECK(whole[i].search == split[i].search);
      CHECK(whole[i].step == split[i].step);
      Running alone(made);
      const auto one = prop_amm::simulate(seed_base + i, settings, alone.strategy);
      CHECK(math::bits_of(one.edge) == math::bits_of(whole[i].edge));
      CHECK(one.end == whole[i].end);
      if (i > 0 && (whole[i].edge != whole[i - 1].edge || whole[i].step != whole[i - 1].step)) ++different;
    }
    CHECK(different > 0);
    CHECK(split[count].edge == 77.0);
    const auto one = prop_amm::summary_of(whole.data(), count);
    const auto two = prop_amm::summary_of(split.data(), count);
    CHECK(math::bits_of(one.total) == math::bits_of(two.total));
    CHECK(one.violations == two.violations);
    CHECK(one.failures == 0);
    CHECK((one.violations > 0) == (std::string_view(name) == "bad_concave_hidden"));
  }
}

TEST_CASE("a range goes on after a seed that failed, and tells where each did") {
  const auto made = compiled("ewma_fee");
  std::vector<std::uint64_t> stack(made.stack_slots);
  std::vector<prop_amm::Result> results(4);
  std::vector<prop_amm::Fault> faults(4);
  prop_amm::prop_amm_range(made.view(), stack.data(), 0, 1, 4, {50, true}, {30, false}, results.data(),
                           faults.data());
  CHECK(results[0].end == End::done);  // outside of the range
  CHECK(faults[0].ending == bytecode::Ending::returned);
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(results[i].end == End::strategy_failed);
    CHECK(faults[i].ending == bytecode::Ending::step_limit);
    CHECK(made.line_at(faults[i].at) > 0);
  }
  const auto summary = prop_amm::summary_of(results.data(), results.size());
  CHECK(summary.failures == 3);
  CHECK(summary.first_failure == 1);
  CHECK(summary.violations == 0);
}

TEST_CASE("the means over many seeds are the original's") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::prop_amm_file("edges.json")).get(root) == simdjson::SUCCESS);
  std::uint64_t seeds = 0;
  for (const char* name : {"cp30", "cp66", "cp500", "ewma_fee"}) {
    const auto made = compiled(name);
    const auto native = calyx::testing::native_of(made);
    for (const auto mean : simdjson::dom::array(root["strategies"][name]["means"])) {
      prop_amm::Settings settings;
      settings.steps = static_cast<std::uint32_t>(calyx::testing::prop_amm_number(mean["steps"]));
      if (settings.steps > calyx::testing::by_scale<std::uint32_t>(0, 200, 10'000)) continue;
      const std::uint64_t count = calyx::testing::prop_amm_number(mean["count"]);
      std::vector<std::uint64_t> stack(made.stack_slots);
      std::vector<prop_amm::Result> results(count);
      std::vector<prop_amm::Fault> faults(count);
      calyx::strategy::native_range(made.view(), native.get(), stack.data(), 0, 0, count, settings, {},
                                    results.data(), faults.data());
      const auto summary = prop_amm::summary_of(results.data(), count);
      CHECK(summary.violations + summary.failures == 0);
      CHECK(math::absolute(summary.total - double(mean["total"])) <= 1e-7);
      CHECK(math::absolute(summary.total / static_cast<double>(count) - double(mean["mean"])) <= 1e-9);
      seeds += count;
    }
  }
  CHECK(seeds == calyx::testing::by_scale<std::uint64_t>(0, 4'000, 4'800));
}
