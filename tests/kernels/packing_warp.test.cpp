// The bodies of the device's packing kernels, run by the host lane by lane: what `evaluate` says, to the bit.
#include "calyx_kernels/packing_warp.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <iostream>
#include <random>

#include "calyx_kernels/packing_sample.hpp"
#include "testing.hpp"

namespace packing = calyx::kernels::packing;

namespace {

void check_alike(const double* candidate, std::uint32_t first_lane) {
  // What was there before must not shine through.
  packing::Verdict verdict;
  std::memset(static_cast<void*>(&verdict), 0xa5, sizeof verdict);
  packing::WarpScratch scratch;
  std::memset(static_cast<void*>(&scratch), 0x5a, sizeof scratch);
  packing::judge_areas(packing::LoopWarp{first_lane}, candidate, scratch, verdict);
  packing::judge_circles(candidate, verdict);
  const packing::Verdict expected = packing::evaluate(candidate);
  CHECK(std::memcmp(static_cast<const void*>(&verdict), static_cast<const void*>(&expected),
                    sizeof verdict) == 0);
}

}  // namespace

TEST_CASE("a warp's verdicts are those of one thread, whichever lane goes first") {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "packing_warp: seed " << seed << std::endl;
  calyx::testing::Dice dice(seed);
  const int rounds = calyx::testing::by_scale(300, 20'000, 500'000);
  for (int i = 0; i < rounds; ++i) {
    double candidate[packing::candidate_numbers];
    // From a packing to a heap, with pieces of equal place or direction now and then.
    const double spread = dice.uniform(0.0, 1.0) * (i % 3 == 0 ? 1e-3 : 2.0);
    for (std::size_t n = 0; n < packing::candidate_numbers; ++n)
      candidate[n] = packing::sample_candidate[n] + dice.uniform(-spread, spread);
    // Where all pairs share something, every addition rounds, so that its order shows.
    if (i % 4 == 1)
      for (std::size_t n = 0; n < packing::candidate_numbers; ++n)
        candidate[n] = n % 3 == 2 ? dice.uniform(-0.5, 0.5) : dice.uniform(-0.3, 0.3);
    if (i % 5 == 0) std::memcpy(candidate + 3, candidate, 3 * sizeof candidate[0]);
    if (i % 7 == 0) candidate[8] = candidate[5];
    if (i % 11 == 0) packing::round_candidate(candidate, candidate);
    check_alike(candidate, static_cast<std::uint32_t>(dice.below(packing::warp_lanes)));
  }
  // All pieces in one place: every pair is close, and each of the four rows is full.
  const double heap[packing::candidate_numbers] = {};
  check_alike(heap, 0);
  double far[packing::candidate_numbers] = {};
  for (std::size_t i = 0; i < packing::pieces; ++i) far[3 * i] = 10.0 * static_cast<double>(i);
  check_alike(far, 17);
}

TEST_CASE("every index is that of its pair") {
  for (std::uint32_t index = 0; index < packing::pairs; ++index) {
    const packing::Pair pair = packing::pair_at(index);
    REQUIRE(pair.first < pair.second);
    REQUIRE(pair.second < packing::pieces);
    CHECK(packing::pair_index(pair.first, pair.second) == index);
  }
}
