#include "calyx_kernels/philox.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>

using calyx::kernels::Draws;
using calyx::kernels::philox;
using calyx::kernels::Philox4x32;

TEST_CASE("Philox gives the words that its authors published") {
  struct Row {
    Philox4x32 counter;
    std::uint32_t key[2];
    Philox4x32 expected;
  };
  constexpr std::uint32_t ones = 0xffffffffU;
  const Row rows[] = {
      {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}}},
      {{{ones, ones, ones, ones}}, {ones, ones}, {{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}}},
      {{{0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}},
       {0xa4093822U, 0x299f31d0U},
       {{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}}},
  };
  for (const Row& row : rows) {
    const Philox4x32 got = philox(row.counter, row.key[0], row.key[1]);
    for (int i = 0; i < 4; ++i) CHECK(got.word[i] == row.expected.word[i]);
  }
}

TEST_CASE("draws follow from their place alone, and every part of a place counts") {
  const auto third = [](Draws draws) {
    draws.next();
    draws.next();
    return draws.next();
  };
  const std::uint64_t here = third({7, 1, 2, 3});
  CHECK(third({7, 1, 2, 3}) == here);
  CHECK(third({8, 1, 2, 3}) != here);
  CHECK(third({7 + (std::uint64_t{1} << 40), 1, 2, 3}) != here);
  CHECK(third({7, 0, 2, 3}) != here);
  CHECK(third({7, 1, 0, 3}) != here);
  CHECK(third({7, 1, 2, 0}) != here);
  // The first word of the second block, low half first.
  const Philox4x32 block = philox({{1, 2, 3, 1}}, 7, 0);
  CHECK(here == (std::uint64_t{block.word[1]} << 32 | block.word[0]));
}

TEST_CASE("uniform, bounded and normal draws are spread as they say") {
  Draws draws(42, 0, 0, 0);
  constexpr int count = 200'000;
  double sum = 0.0;
  double lowest = 1.0;
  double highest = 0.0;
  int seen[7] = {};
  double mean = 0.0;
  double squares = 0.0;
  double fourths = 0.0;
  int beyond_two = 0;
  for (int i = 0; i < count; ++i) {
    const double u = draws.uniform();
    sum += u;
    lowest = std::fmin(lowest, u);
    highest = std::fmax(highest, u);
    ++seen[draws.below(7)];
    const double n = draws.normal();
    mean += n;
    squares += n * n;
    fourths += n * n * n * n;
    beyond_two += std::fabs(n) > 2.0 ? 1 : 0;
  }
  // Each within five deviations of what is expected.
  CHECK(std::fabs(sum / count - 0.5) < 5 * 0.2887 / std::sqrt(count));
  CHECK(lowest >= 0.0);
  CHECK(lowest < 1e-4);
  CHECK(highest < 1.0);
  CHECK(highest > 1.0 - 1e-4);
  for (const int times : seen) CHECK(std::fabs(times - count / 7.0) < 5 * std::sqrt(count / 7.0));
  CHECK(std::fabs(mean / count) < 5 / std::sqrt(count));
  CHECK(std::fabs(squares / count - 1.0) < 5 * std::sqrt(2.0 / count));
  CHECK(std::fabs(fourths / count - 3.0) < 5 * std::sqrt(96.0 / count));
  CHECK(std::fabs(beyond_two / static_cast<double>(count) - 0.0455) < 5 * std::sqrt(0.0455 / count));
}
