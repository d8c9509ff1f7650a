// What descents are made of, four numbers at once, beside one at a time: the same bits.
#include "calyx_kernels/packing_lanes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <random>

#include "calyx_kernels/packing_sample.hpp"
#include "testing.hpp"

namespace math = calyx::kernels::math;
using namespace calyx::kernels::packing;
using calyx::testing::by_scale;
using calyx::testing::Dice;

namespace {

/// As many numbers as a descent works on, zeros behind those in use.
struct Row {
  alignas(row_alignment) double number[row_max] = {};
  double* begin() { return number; }
  double* end() { return number + row_max; }
};

bool same_bits(double a, double b) { return math::bits_of(a) == math::bits_of(b); }
bool same_bits(const Row& a, const Row& b) {
  return std::equal(a.number, a.number + row_max, b.number,
                    [](double x, double y) { return same_bits(x, y); });
}

std::uint64_t chance(const char* test) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << test << ": seed " << seed << std::endl;
  return seed;
}

/// The lanes that this machine has besides the plain ones, or null: then the case says so and is over.
const Lanes* wide() {
  const Lanes* const lanes = avx2_lanes();
  if (lanes == nullptr) calyx::testing::skipped("kernels.packing_lanes", "no AVX2 here");
  return lanes;
}

/// A layout and a radius, of one of many kinds.
Row some_layout(Dice& dice, std::uint32_t count, int kind) {
  Row row;
  const double spread = kind % 2 == 0 ? 0.55 * math::square_root(count) : dice.uniform(0.0, 4.0);
  for (std::uint32_t i = 0; i < 3 * count; ++i) {
    row.number[i] =
        i % 3 == 2 ? dice.uniform(-2.0 * math::pi, 2.0 * math::pi) : dice.uniform(-spread, spread);
    // A grid on which flat sides meet, corners lie on corners and arcs touch in one point.
    if (kind % 5 == 1) {
      row.number[i] = i % 3 == 2 ? math::half_pi * static_cast<double>(dice.below(9)) - 2.0 * math::pi
                                 : 0.5 * static_cast<double>(dice.below(9)) - 2.0;
      if (kind % 3 == 0) row.number[i] += dice.uniform(-1e-9, 1e-9);
    }
  }
  // Some pieces are the same, or have the same place or direction.
  for (std::uint32_t i = 1; i < count && kind % 7 == 2; ++i) {
    if (dice.below(3) != 0) continue;
    const std::uint64_t how = dice.below(3);
    if (how != 0) std::copy(row.number, row.number + 2, row.number + 3 * i);
    if (how != 1) row.number[3 * i + 2] = row.number[2] + (dice.coin() ? 0.0 : math::pi);
  }
  if (kind % 11 == 3) std::fill(row.number, row.number + 3 * count, 0.0);
  if (kind % 13 == 4 && count == pieces)
    std::copy(sample_candidate, sample_candidate + candidate_numbers, row.number);
  // Now and then one number is beyond what lanes take themselves.
  if (kind % 17 == 5) row.number[dice.below(3 * count)] = dice.coin() ? dice.uniform(60.0, 70.0) : -3e7;
  row.number[3 * count] = kind % 19 == 6 ? 0.0 : dice.uniform(0.3, 1.0) * math::square_root(count) + 0.4;
  return row;
}

}  // namespace

TEST_CASE("the energy of a layout is the same to the bit, however many numbers are worked on at once") {
  const Lanes* const lanes = wide();
  if (lanes == nullptr) return;
  Dice dice(chance("packing_lanes"));
  std::uint64_t deep = 0;
  const int rounds = by_scale(2'000, 100'000, 10'000'000);
  for (int round = 0; round < rounds; ++round) {
    const auto count = round % 2 == 0 ? pieces : 1 + static_cast<std::uint32_t>(dice.below(pieces_max));
    const Row numbers = some_layout(dice, count, static_cast<int>(dice.below(1'000'000)));
    const double stiffness = dice.coin() ? 2.0 : dice.uniform(0.1, 1e6);
    double allowed[pairs_max];
    for (double& depth : allowed) depth = dice.coin() ? 0.0 : dice.uniform(0.0, 0.2);
    const double* const free = dice.below(3) == 0 ? allowed : nullptr;
    Row expected;
    Row got;
    const double value = energy(numbers.number, count, stiffness, expected.number, free);
    // What is behind the numbers stays as it was.
    for (std::uint32_t i = 3 * count + 1; i < row_max; ++i) expected.number[i] = got.number[i] = 7.0;
    CAPTURE(round);
    CAPTURE(count);
    Nearby nearby;
    REQUIRE(same_bits(lanes->energy(numbers.number, count, stiffness, got.number, free, nearby), value));
    REQUIRE(same_bits(got, expected));
    if (value > numbers.number[3 * count]) ++deep;
  }
  CHECK(deep > static_cast<std::uint64_t>(rounds) / 2);
}

TEST_CASE("energies agree where two pieces just touch, and on either side of it") {
  const Lanes* const lanes = wide();
  if (lanes == nullptr) return;
  Dice dice(chance("packing_lanes, touching"));
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  const int rounds = by_scale(2'000, 50'000, 5'000'000);
  for (int round = 0; round < rounds; ++round) {
    Row numbers;
    double* at = numbers.number;
    at[2] = dice.uniform(-4.0, 4.0);
    at[3] = dice.uniform(-2.0, 2.0);
    at[4] = dice.uniform(-2.0, 2.0);
    at[5] = dice.coin() ? dice.uniform(-4.0, 4.0) : at[2] + math::pi * static_cast<double>(dice.below(3));
    at[6] = 10.0;  // the circle, around both
    // Out of each other, or together, and then by about as much as any margin has.
    for (int i = 0; i < 3; ++i) {
      const Gap between = gap(piece_at(at[0], at[1], at[2]), piece_at(at[3], at[4], at[5]));
      at[3] -= between.distance * between.way.x;
      at[4] -= between.distance * between.way.y;
    }
    const double by = dice.uniform(-1.0, 1.0) * (dice.coin() ? 1e-3 : dice.coin() ? 1e-9 : 1e-15);
    const Gap between = gap(piece_at(at[0], at[1], at[2]), piece_at(at[3], at[4], at[5]));
    at[3] += by * between.way.x;
    at[4] += by * between.way.y;
    Row expected;
    Row got;
    const double value = energy(at, 2, 1e6, expected.number);
    CAPTURE(round);
    Nearby nearby;
    REQUIRE(same_bits(lanes->energy(at, 2, 1e6, got.number, nullptr, nearby), value));
    REQUIRE(same_bits(got, expected));
    ++(expected.number[3] == 0.0 && expected.number[4] == 0.0 ? outside : inside);
  }
  CHECK(inside > static_cast<std::uint32_t>(rounds) / 5);
  CHECK(outside > static_cast<std::uint32_t>(rounds) / 5);
}

TEST_CASE(
    "energies agree along a walk, in short steps and in long ones, with what is kept from one to the next") {
  const Lanes* const lanes = wide();
  if (lanes == nullptr) return;
  Dice dice(chance("packing_lanes, walks"));
  const int walks = by_scale(20, 1'000, 100'000);
  for (int walk = 0; walk < walks; ++walk) {
    CAPTURE(walk);
    const auto count = walk % 2 == 0 ? pieces : 1 + static_cast<std::uint32_t>(dice.below(pieces_max));
    Row numbers = some_layout(dice, count, 2 * static_cast<int>(dice.below(1'000'000)));
    Nearby nearby;
    for (int step = 0; step < 100; ++step) {
      CAPTURE(step);
      Row expected;
      Row got;
      const double value = energy(numbers.number, count, 20.0, expected.number);
      REQUIRE(same_bits(lanes->energy(numbers.number, count, 20.0, got.number, nullptr, nearby), value));
      REQUIRE(same_bits(got, expected));
      // As a descent goes, or all of it one way, so that a wall is reached; now and then a jump.
      const double scale = dice.coin() ? 1e-3 : dice.coin() ? 9e-3 : dice.below(9) == 0 ? 1.0 : 0.03;
      const bool downhill = dice.coin();
      double largest = 1e-300;
      for (std::uint32_t i = 0; i < 3 * count; ++i)
        largest = std::max(largest, math::absolute(got.number[i]));
      for (std::uint32_t i = 0; i < 3 * count; ++i)
        numbers.number[i] -= scale * (downhill ? got.number[i] / largest : dice.uniform(-1.0, 1.0));
    }
  }
}

TEST_CASE("the way of a descent is the same to the bit, however many numbers are worked on at once") {
  const Lanes* const lanes = wide();
  if (lanes == nullptr) return;
  const Lanes& plain = plain_lanes();
  Dice dice(chance("packing_lanes, ways"));
  const auto memories = std::make_unique<Memory[]>(2);
  const int rounds = by_scale(500, 20'000, 2'000'000);
  std::uint32_t full = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const std::uint32_t used = 1 + static_cast<std::uint32_t>(dice.below(numbers_max + 1));
    const std::uint32_t row = row_of(used);
    Memory& a = memories[0];
    Memory& b = memories[1];
    a = b = Memory{};
    Row here;
    Row gradient;
    Row limit;
    std::fill(limit.begin(), limit.end(), std::numeric_limits<double>::infinity());
    for (std::uint32_t i = 0; i < used; ++i) {
      here.number[i] = dice.uniform(-3.0, 3.0);
      gradient.number[i] = dice.uniform(-1.0, 1.0);
      if (dice.coin()) limit.number[i] = 2.9;
    }
    for (int step = 0; step < 8; ++step) {
      CAPTURE(step);
      REQUIRE(same_bits(plain.largest(gradient.number, row), lanes->largest(gradient.number, row)));
      Row way_a;
      Row way_b;
      const Heading to_a = plain.heading(a, gradient.number, 3.0, row, way_a.number);
      const Heading to_b = lanes->heading(b, gradient.number, 3.0, row, way_b.number);
      REQUIRE(same_bits(to_a.slope, to_b.slope));
      REQUIRE(same_bits(to_a.largest, to_b.largest));
      REQUIRE(same_bits(way_a, way_b));
      Row next_a;
      Row next_b;
      const double length = dice.uniform(0.0, 1.0);
      const double expected = plain.step(here.number, length, way_a.number, limit.number, gradient.number,
                                         used, row, next_a.number);
      REQUIRE(same_bits(expected, lanes->step(here.number, length, way_b.number, limit.number,
                                              gradient.number, used, row, next_b.number)));
      REQUIRE(same_bits(next_a, next_b));
      // A gradient that mostly grows along the step, and now and then does not.
      Row next_gradient;
      for (std::uint32_t i = 0; i < used; ++i)
        next_gradient.number[i] = gradient.number[i] + dice.uniform(-0.1, dice.below(9) == 0 ? 0.0 : 2.0) *
                                                           (next_a.number[i] - here.number[i]);
      plain.remember(a, here.number, next_a.number, gradient.number, next_gradient.number, row);
      lanes->remember(b, here.number, next_b.number, gradient.number, next_gradient.number, row);
      REQUIRE(a.held == b.held);
      REQUIRE(a.head == b.head);
      here = next_a;
      gradient = next_gradient;
    }
    if (a.held == Memory::length) ++full;
  }
  CHECK(full > static_cast<std::uint32_t>(rounds) / 2);
}
