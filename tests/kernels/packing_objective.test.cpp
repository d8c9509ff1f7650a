#include "calyx_kernels/packing_objective.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "calyx_kernels/packing_sample.hpp"
#include "testing.hpp"

namespace math = calyx::kernels::math;
using namespace calyx::kernels::packing;
using calyx::testing::Dice;

namespace {

std::vector<double> some_layout(Dice& dice, std::uint32_t count, double spread) {
  std::vector<double> numbers;
  for (std::uint32_t i = 0; i < 3 * count; ++i)
    numbers.push_back(i % 3 == 2 ? dice.uniform(-math::pi, math::pi) : dice.uniform(-spread, spread));
  return numbers;
}

double objective_of(const std::vector<double>& numbers, double penalty) {
  Layout layout;
  layout.set(numbers.data(), static_cast<std::uint32_t>(numbers.size() / 3));
  return layout.objective(penalty);
}

bool same_bits(double a, double b) { return math::bits_of(a) == math::bits_of(b); }

/// Whether two layouts are alike to the bit, in all that can be asked.
bool alike(Layout& a, Layout& b) {
  bool same = same_bits(a.overlap_total(), b.overlap_total()) &&
              same_bits(a.overlap_max(), b.overlap_max()) && same_bits(a.radius(), b.radius()) &&
              same_bits(a.objective(100.0), b.objective(100.0));
  for (std::uint32_t i = 0; i < a.count(); ++i)
    for (std::uint32_t j = i + 1; j < a.count(); ++j)
      same = same && same_bits(a.pair_area(i, j), b.pair_area(i, j));
  return same;
}

/// The derivative of `f` along one number, by differences on both sides at two distances: what they leave of
/// error is of the fourth order.
template <class F>
double slope(F f, double step) {
  return (8.0 * (f(step) - f(-step)) - (f(2.0 * step) - f(-2.0 * step))) / (12.0 * step);
}

}  // namespace

TEST_CASE("the objective is the radius and the overlap that the verdict states") {
  Dice dice(1);
  for (int round = 0; round < 300; ++round) {
    const std::vector<double> numbers =
        round == 0 ? std::vector<double>(sample_candidate, sample_candidate + candidate_numbers)
                   : some_layout(dice, pieces, round % 2 == 0 ? 2.5 : 6.0);
    const Verdict verdict = evaluate(numbers.data());
    Layout layout;
    layout.set(numbers.data(), pieces);
    CHECK(same_bits(layout.radius(), verdict.circle.radius));
    CHECK(same_bits(layout.overlap_total(), verdict.overlap_total));
    CHECK(same_bits(layout.overlap_max(), verdict.overlap_max));
    CHECK(layout.feasible() == (verdict.overlapping_count == 0));
    CHECK(same_bits(layout.objective(7.0), verdict.circle.radius + 7.0 * verdict.overlap_total));
  }
}

TEST_CASE("what plainly lies apart shares nothing") {
  Dice dice(2);
  std::uint32_t apart = 0;
  for (int round = 0; round < 200'000; ++round) {
    const Piece a = piece_at(0.0, 0.0, dice.uniform(-4.0, 4.0));
    const Piece b = piece_at(dice.uniform(-2.0, 2.0), dice.uniform(-2.0, 2.0), dice.uniform(-4.0, 4.0));
    if (!plainly_apart(b.centre - a.centre, a.facing, b.facing)) continue;
    ++apart;
    REQUIRE(overlap_area(a, b) == 0.0);
    REQUIRE(gap(a, b).distance > 0.0);
  }
  CHECK(apart > 50'000);
}

TEST_CASE("a layout whose pieces were moved has the bits of one set up afresh, and a move taken back none") {
  Dice dice(3);
  for (const std::uint32_t count : {1U, 2U, 7U, pieces, pieces_max}) {
    CAPTURE(count);
    std::vector<double> numbers = some_layout(dice, count, 0.6 * std::sqrt(count));
    auto moved = std::make_unique<Layout>();
    moved->set(numbers.data(), count);
    for (int round = 0; round < 400; ++round) {
      const auto i = static_cast<std::uint32_t>(dice.next() % count);
      const double to[3] = {dice.uniform(-2.5, 2.5), dice.uniform(-2.5, 2.5), dice.uniform(-4.0, 4.0)};
      if (round % 3 == 0) moved->radius();  // with and without the circle known before
      Layout::Before before;
      moved->move(i, piece_at(to[0], to[1], to[2]), before);
      if (round % 2 == 0) {
        if (round % 4 == 0) moved->radius();
        moved->undo(before);
      } else {
        std::memcpy(numbers.data() + 3 * i, to, sizeof to);
      }
      auto afresh = std::make_unique<Layout>();
      afresh->set(numbers.data(), count);
      REQUIRE(alike(*moved, *afresh));
    }
  }
}

TEST_CASE("the gradient of the objective agrees with differences") {
  Dice dice(4);
  double worst = 0.0;
  std::uint32_t compared = 0;
  std::uint32_t kinks = 0;
  for (int round = 0; round < 120; ++round) {
    const std::uint32_t count = round % 3 == 0 ? 4 : pieces;
    const std::vector<double> numbers = some_layout(dice, count, 0.55 * std::sqrt(count));
    const double penalty = round % 2 == 0 ? 1.0 : 0.1;
    double gradient[numbers_max];
    Layout layout;
    layout.set(numbers.data(), count);
    layout.gradient(penalty, gradient);
    for (std::uint32_t k = 0; k < 3 * count; ++k) {
      const auto moved = [&](double by) {
        std::vector<double> other = numbers;
        other[k] += by;
        return objective_of(other, penalty);
      };
      const double differences = slope(moved, 1e-5);
      // Where the two distances disagree the objective has a kink nearby, and no derivative to compare.
      const double check = slope(moved, 2e-5);
      if (std::fabs(check - differences) > 1e-8) {
        ++kinks;
        continue;
      }
      ++compared;
      worst = std::fmax(worst, std::fabs(differences - gradient[k]));
    }
  }
  CHECK(worst < 1e-7);
  CHECK(compared > 2'500);
  CHECK(kinks < compared / 20);
}

TEST_CASE("the circle's gradient is where the circle is held") {
  // Three pieces that look outwards hold it by their arcs, three that look inwards by their corners.
  for (const double turned : {0.0, 0.3, math::pi + 0.3, math::pi - 0.4}) {
    CAPTURE(turned);
    std::vector<double> numbers;
    for (int i = 0; i < 3; ++i) {
      const double at = 2.0 * math::pi * i / 3.0 + 0.1 * i;
      numbers.insert(numbers.end(), {3.0 * std::cos(at), 3.0 * std::sin(at), at + turned});
    }
    Layout layout;
    layout.set(numbers.data(), 3);
    REQUIRE(layout.overlap_total() == 0.0);
    double gradient[numbers_max];
    layout.gradient(100.0, gradient);
    double shares = 0.0;
    for (std::uint32_t k = 0; k < 9; ++k) {
      const auto moved = [&](double by) {
        std::vector<double> other = numbers;
        other[k] += by;
        return objective_of(other, 100.0);
      };
      CHECK(std::fabs(slope(moved, 1e-5) - gradient[k]) < 1e-8);
      if (k % 3 == 0) shares += std::hypot(gradient[k], gradient[k + 1]);
    }
    CHECK(shares == doctest::Approx(1.0).epsilon(1e-12));
  }
}

TEST_CASE("two pieces share area exactly where their gap is below nothing, and the gap is a distance") {
  Dice dice(5);
  std::uint32_t deep = 0;
  for (int round = 0; round < 40'000; ++round) {
    const Piece a = piece_at(0.3, -0.2, dice.uniform(-4.0, 4.0));
    const Piece b = piece_at(dice.uniform(-2.3, 2.3), dice.uniform(-2.3, 2.3), dice.uniform(-4.0, 4.0));
    const Gap between = gap(a, b);
    const double area = overlap_area(a, b);
    if (between.distance > 1e-9) REQUIRE(area == 0.0);
    // The smallest overlap of a given depth is that of a corner in an arc or another corner.
    if (between.distance < -1e-3) REQUIRE(area > 1e-9);
    REQUIRE(length(between.way) == doctest::Approx(1.0).epsilon(1e-14));
    // Either way round, and a step along the way is a step of the gap.
    const Gap back = gap(b, a);
    REQUIRE(std::fabs(back.distance - between.distance) < 1e-14);
    if (between.distance < 0.0) {
      ++deep;
      Piece apart = b;
      apart.centre = apart.centre + (1e-12 - between.distance) * between.way;
      REQUIRE(overlap_area(a, apart) < 1e-10);
    }
  }
  CHECK(deep > 10'000);
}

TEST_CASE("asked for depth alone, a gap says the same of pieces that are in each other") {
  Dice dice(15);
  std::uint32_t in_each_other = 0;
  for (int round = 0; round < 40'000; ++round) {
    const Piece a = piece_at(0.0, 0.0, dice.uniform(-4.0, 4.0));
    const Piece b = piece_at(dice.uniform(-2.0, 2.0), dice.uniform(-2.0, 2.0), dice.uniform(-4.0, 4.0));
    const Gap all = gap(a, b);
    const Gap depth = gap(a, b, Depth::only);
    REQUIRE((all.distance < 0.0) == (depth.distance < 0.0));
    if (!(all.distance < 0.0)) continue;
    ++in_each_other;
    REQUIRE(std::memcmp(&all, &depth, sizeof all) == 0);
  }
  CHECK(in_each_other > 10'000);
}

TEST_CASE("the quick direction is the direction") {
  Dice dice(16);
  double worst = 0.0;
  const auto compare = [&](double angle) {
    const math::Unit unit = math::direction(angle);
    const Vector quick = quick_direction(angle);
    worst = std::fmax(worst, std::fmax(std::fabs(unit.x - quick.x), std::fabs(unit.y - quick.y)));
  };
  for (int round = 0; round < 100'000; ++round) compare(dice.uniform(-70.0, 70.0));
  for (int quarter = -40; quarter <= 40; ++quarter)
    for (const double off : {0.0, 1e-16, -1e-9, 1e-3, -0.7853981633974483, 0.7853981633974484})
      compare(quarter * math::half_pi + off);
  compare(1e300);
  CHECK(worst < 3e-16);
}

TEST_CASE("a layout above a bar is given up, and one below it is as it always is") {
  Dice dice(17);
  std::uint32_t given_up = 0;
  for (int round = 0; round < 500; ++round) {
    // Also such whose circle is hardly larger than a piece, with a bar that is just theirs.
    const bool tight = round % 5 == 0;
    const std::vector<double> numbers = some_layout(dice, pieces, tight ? 0.3 : 3.0);
    Layout whole;
    whole.set(numbers.data(), pieces);
    const double objective = whole.objective(10.0);
    const double bar = tight ? objective : objective * dice.uniform(0.2, 1.2);
    Layout layout;
    const bool below = layout.set_below(numbers.data(), pieces, 10.0, bar);
    if (objective <= bar) REQUIRE(below);
    if (below) REQUIRE(alike(whole, layout));
    given_up += below ? 0U : 1U;
  }
  CHECK(given_up > 200);
  CHECK(given_up < 450);
}

TEST_CASE("the energy's gradient agrees with differences") {
  Dice dice(6);
  double worst = 0.0;
  std::uint32_t compared = 0;
  std::uint32_t kinks = 0;
  for (int round = 0; round < 120; ++round) {
    const std::uint32_t count = round % 3 == 0 ? 5 : pieces;
    std::vector<double> numbers = some_layout(dice, count, 0.55 * std::sqrt(count));
    numbers.push_back(0.6 * std::sqrt(count) + 0.5);
    double gradient[numbers_max + 1];
    double unused[numbers_max + 1];
    energy(numbers.data(), count, 0.7, gradient);
    for (std::uint32_t k = 0; k <= 3 * count; ++k) {
      const auto moved = [&](double by) {
        std::vector<double> other = numbers;
        other[k] += by;
        return energy(other.data(), count, 0.7, unused);
      };
      const double differences = slope(moved, 1e-5);
      const double check = slope(moved, 2e-5);
      if (std::fabs(check - differences) > 1e-8) {
        ++kinks;
        continue;
      }
      ++compared;
      worst = std::fmax(worst, std::fabs(differences - gradient[k]));
    }
  }
  CHECK(worst < 1e-7);
  CHECK(compared > 2'500);
  CHECK(kinks < compared / 20);
}
