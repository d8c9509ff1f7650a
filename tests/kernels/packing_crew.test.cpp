// Searches by a warp, run by the host: lane after lane, and by a thread a lane. What one thread finds, to the
// bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "calyx_kernels/packing_sample.hpp"
#include "calyx_kernels/packing_steps.hpp"
#include "calyx_kernels/packing_warp_crew.hpp"
#include "testing.hpp"

namespace math = calyx::kernels::math;
using namespace calyx::kernels::packing;
using calyx::testing::by_scale;
using calyx::testing::Dice;

namespace {

constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

/// What threads that are lanes have in common. They meet some hundred times an evaluation, so none of them
/// sleeps at once.
class Meeting {
 public:
  explicit Meeting(std::uint32_t lanes) : lanes_(lanes) {}
  void wait() {
    const std::uint64_t turn = turn_.load();
    if (here_.fetch_add(1) + 1 == lanes_) {
      here_ = 0;
      turn_.fetch_add(1);
      turn_.notify_all();
      return;
    }
    for (int looks = 0; looks < 5'000; ++looks)
      if (turn_.load() != turn) return;
    turn_.wait(turn);
  }
  std::atomic<std::uint32_t> bits{0};

 private:
  const std::uint32_t lanes_;
  std::atomic<std::uint32_t> here_{0};
  std::atomic<std::uint64_t> turn_{0};
};

/// A lane that is a thread: what it does not share it really has alone, and a barrier that is missing is a
/// race, which ThreadSanitizer sees.
struct ThreadWarp {
  static constexpr std::uint32_t lane_count = 2;
  Meeting* meeting;
  std::uint32_t lane;

  template <class F>
  void each(F f) const {
    meeting->wait();
    f(lane);
    meeting->wait();
  }
  template <class F>
  std::uint32_t ballot(F f) const {
    meeting->wait();
    if (lane == 0) meeting->bits = 0;
    meeting->wait();
    if (f(lane)) meeting->bits |= std::uint32_t{1} << lane;
    meeting->wait();
    return meeting->bits;
  }
};

/// Stops a search when it was asked so often.
struct Asks {
  static constexpr std::uint32_t every = 32;
  std::uint64_t* left;
  bool stops(const SearchProgress& /*progress*/) const { return *left != never && (*left)-- <= 1; }
};

/// A search that some crew takes further.
class Bench {
 public:
  explicit Bench(Search& search)
      : search_(search),
        work_(std::make_unique<Workspace>()),
        scratch_(std::make_unique<CrewScratch>()),
        trials_(people_numbers(search.settings()), -1.0) {
    // What a device's memory may hold.
    std::memset(static_cast<void*>(work_.get()), 0xa5, sizeof *work_);
    std::memset(static_cast<void*>(scratch_.get()), 0x5a, sizeof *scratch_);
  }

  /// Asks `left` times, then stops; rests at `rest_at` evaluations.
  Pause loop(std::uint32_t first_lane, std::uint64_t left = never, std::uint64_t rest_at = never) {
    return go(LoopWarp{first_lane}, &left, rest_at);
  }

  Pause threads(std::uint64_t left = never, std::uint64_t rest_at = never) {
    Meeting meeting(ThreadWarp::lane_count);
    std::vector<Pause> pauses(ThreadWarp::lane_count);
    std::vector<std::thread> lanes;
    for (std::uint32_t lane = 0; lane < ThreadWarp::lane_count; ++lane)
      lanes.emplace_back([&, lane] { pauses[lane] = go(ThreadWarp{&meeting, lane}, &left, rest_at); });
    for (std::thread& lane : lanes) lane.join();
    for (const Pause pause : pauses) CHECK(pause == pauses[0]);
    return pauses[0];
  }

 private:
  template <class Warp>
  Pause go(const Warp& warp, std::uint64_t* left, std::uint64_t rest_at) {
    const SearchSettings& settings = search_.settings();
    return Steps<WarpCrew<Warp>, Asks>(settings, search_.has_start(), search_.state(), *work_,
                                       {search_.people(), trials_.data()},
                                       WarpCrew<Warp>(warp, *scratch_, settings.count), Asks{left})
        .go(rest_at);
  }

  Search& search_;
  std::unique_ptr<Workspace> work_;
  std::unique_ptr<CrewScratch> scratch_;
  std::vector<double> trials_;
};

/// Settings that make each method short, and lead it through all of its steps.
std::vector<SearchSettings> short_searches(std::uint64_t seed, std::uint64_t longer) {
  std::vector<SearchSettings> out = {
      {.method = Method::feasible_optimize, .iterations = 24 * longer, .restarts = 2},
      {.method = Method::basin_hopping, .iterations = 8 * longer, .temperature = 0.01},
      {.method = Method::differential_evolution, .iterations = 2 * longer, .population = 40}};
  for (SearchSettings& each : out) each.seed = seed;
  return out;
}

std::uint64_t chance(const char* test) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << test << ": seed " << seed << std::endl;
  return seed;
}

bool same_bits(double a, double b) { return math::bits_of(a) == math::bits_of(b); }

}  // namespace

TEST_CASE("a warp's searches leave what one thread's do, whichever lane goes first") {
  Dice dice(chance("packing_crew"));
  for (int round = 0; round < by_scale(2, 6, 500); ++round) {
    CAPTURE(round);
    for (SearchSettings settings : short_searches(dice.below(1'000), by_scale(1U, 4U, 8U))) {
      CAPTURE(static_cast<std::uint32_t>(settings.method));
      if (round % 3 == 1) settings.count = 1 + static_cast<std::uint32_t>(dice.below(pieces_max));
      if (round % 4 == 3) settings.evaluations_max = 500 + dice.below(8'000);
      const double* const start = round % 2 == 1 && settings.count == pieces ? sample_candidate : nullptr;
      CAPTURE(settings.count);
      CAPTURE(settings.seed);
      Search alone(settings, start);
      alone.run();
      Search by_warp(settings, start);
      CHECK(Bench(by_warp).loop(static_cast<std::uint32_t>(dice.below(warp_lanes))) == Pause::over);
      CHECK(by_warp.save() == alone.save());
    }
  }
}

TEST_CASE("a warp of threads finds the same, however often it rests or is told to stop") {
  Dice dice(chance("packing_crew, threads"));
  for (SearchSettings settings : short_searches(dice.below(1'000), 1)) {
    CAPTURE(static_cast<std::uint32_t>(settings.method));
    CAPTURE(settings.seed);
    settings.evaluations_max = by_scale(500U, 700U, 20'000U);
    Search alone(settings, nullptr);
    alone.run();
    Search by_warp(settings, nullptr);
    Bench bench(by_warp);
    // A stop in the first step leaves nothing of it.
    const std::vector<unsigned char> before = by_warp.save();
    CHECK(bench.threads(1) == Pause::told);
    CHECK(by_warp.save() == before);
    std::uint64_t rests = 0;
    Pause pause = Pause::rests;
    while (pause == Pause::rests) {
      pause = bench.threads(never, by_warp.progress().evaluations + 150);
      ++rests;
    }
    CHECK(pause == Pause::over);
    CHECK(rests > 1);
    CHECK(by_warp.save() == alone.save());
  }
}

TEST_CASE("a warp that was told to stop anywhere goes on to the same end") {
  Dice dice(chance("packing_crew, stops"));
  for (const SearchSettings& settings : short_searches(dice.below(1'000), by_scale(1U, 2U, 8U))) {
    CAPTURE(static_cast<std::uint32_t>(settings.method));
    CAPTURE(settings.seed);
    Search alone(settings, nullptr);
    alone.run();
    Search by_warp(settings, nullptr);
    Bench bench(by_warp);
    std::uint64_t longer = 1;
    std::uint64_t told = 0;
    for (;;) {
      const std::uint64_t before = by_warp.progress().evaluations;
      const Pause pause = bench.loop(0, longer * (1 + dice.below(40)));
      if (pause == Pause::over) break;
      REQUIRE(pause == Pause::told);
      longer = by_warp.progress().evaluations == before ? 2 * longer : 1;
      ++told;
    }
    CHECK(told > 2);
    CHECK(by_warp.save() == alone.save());
  }
}

TEST_CASE("energies of a warp are those of one thread, to the bit") {
  Dice dice(chance("packing_crew, energies"));
  CrewScratch scratch;
  std::uint64_t deep = 0;
  const int rounds = by_scale(1'000, 50'000, 5'000'000);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const auto count = round % 2 == 0 ? pieces : 1 + static_cast<std::uint32_t>(dice.below(pieces_max));
    CAPTURE(count);
    alignas(row_alignment) double numbers[row_max] = {};
    const double spread = dice.uniform(0.0, 1.0) < 0.1 ? 0.2 : 0.5 * math::square_root(count);
    for (std::uint32_t i = 0; i < 3 * count; ++i)
      numbers[i] = i % 3 == 2 ? dice.uniform(-7.0, 7.0) : dice.uniform(-spread, spread);
    if (round % 5 == 0 && count > 1) std::copy(numbers, numbers + 3, numbers + 3);
    numbers[3 * count] = dice.uniform(0.3, 1.0) * math::square_root(count) + 0.4;
    const double stiffness = dice.coin() ? 2.0 : dice.uniform(0.1, 1e6);
    double allowed[pairs_max];
    for (double& depth : allowed) depth = dice.coin() ? 0.0 : dice.uniform(0.0, 0.2);
    const double* const free = dice.below(3) == 0 ? allowed : nullptr;
    const WarpCrew<LoopWarp> crew(LoopWarp{static_cast<std::uint32_t>(dice.below(warp_lanes))}, scratch,
                                  count);
    double expected[numbers_max + 1];
    double got[numbers_max + 1];
    const double value = energy(numbers, count, stiffness, expected, free);
    REQUIRE(same_bits(crew.energy(numbers, count, stiffness, got, free), value));
    for (std::uint32_t i = 0; i <= 3 * count; ++i) REQUIRE(same_bits(got[i], expected[i]));
    if (value > numbers[3 * count]) ++deep;
  }
  CHECK(deep > static_cast<std::uint64_t>(rounds) / 2);
}
