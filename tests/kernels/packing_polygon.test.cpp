#include "calyx_kernels/packing_polygon.hpp"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "calyx_kernels/packing_sample.hpp"
#include "testing.hpp"

namespace {

namespace testing = calyx::testing;
using namespace calyx::kernels::packing;
using simdjson::dom::element;

Piece piece_of(element numbers) {
  const simdjson::dom::array items = numbers;
  return piece_at(double(items.at(0)), double(items.at(1)), double(items.at(2)));
}

/// What a polygon lacks of its piece: all segments between the corners of half a disk.
double lacking() {
  constexpr double segments = arc_points - 1;
  return 0.5 * (calyx::kernels::math::pi -
                segments * calyx::kernels::math::sine(calyx::kernels::math::pi / segments));
}

}  // namespace

TEST_CASE("two pieces' polygons share what the scorer's do") {
  simdjson::dom::parser parser;
  element root;
  REQUIRE(parser.load(calyx::testing::vectors + "/packing/pair_area.json").get(root) == simdjson::SUCCESS);
  double worst = 0.0;
  std::size_t seen = 0;
  for (const element pair : simdjson::dom::array(root["pairs"])) {
    const std::string_view kind(pair["kind"]);
    CAPTURE(kind);
    const double polygon(pair["polygon"]);
    CAPTURE(polygon);
    const double shared = polygon_overlap(piece_of(pair["a"]), piece_of(pair["b"]));
    const double off = std::fabs(shared - polygon);
    CHECK(off <= (kind == "big_offset" ? 1e-9 : 2e-14));
    CHECK((shared > overlap_area_max) == (polygon > overlap_area_max));
    if (kind != "big_offset") worst = std::max(worst, off);
    ++seen;
  }
  CHECK(seen == 300);
  MESSAGE("furthest from the scorer's: " << worst);
}

TEST_CASE("a polygon lies in its piece and lacks little of it, whatever lies on what") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed " << seed);
  testing::Dice dice(seed);
  const double most = lacking();
  CHECK(most == doctest::Approx(1.540849e-7).epsilon(1e-6));
  const int rounds = testing::by_scale(60, 1'500, 20'000);
  for (int i = 0; i < rounds; ++i) {
    const auto coordinate = [&] { return dice.uniform(-1.2, 1.2); };
    Piece a = piece_at(coordinate(), coordinate(), dice.uniform(-4.0, 4.0));
    Piece b = piece_at(coordinate(), coordinate(), dice.uniform(-4.0, 4.0));
    // Some on a line, back to back, side by side or on each other.
    const std::uint64_t kind = dice.below(6);
    if (kind == 0) b = {a.centre, a.facing};
    if (kind == 1) b = {a.centre, Vector{0.0, 0.0} - a.facing};
    if (kind == 2) b.facing = a.facing;
    if (kind == 3) b.centre = a.centre + dice.uniform(-2.0, 2.0) * left_of(a.facing);
    CAPTURE(seed);
    CAPTURE(i);
    const double exact = overlap_area(a, b);
    const double shared = polygon_overlap(a, b);
    CHECK(shared <= exact + 1e-14);
    CHECK(shared >= exact - 2.0 * most - 1e-14);
    CHECK(std::fabs(polygon_overlap(b, a) - shared) <= 2e-14);
  }
}

TEST_CASE("pieces that share nothing have polygons that share nothing, and the sum is that of all pairs") {
  CHECK(polygon_overlap(piece_at(0, 0, 0), piece_at(5, 0, 0)) == 0.0);
  CHECK(polygon_overlap(piece_at(0, 0, 0), piece_at(1.5, 0, 3.141592653589793)) > 0.4);
  CHECK(polygon_overlap(piece_at(0, 0, 3.141592653589793), piece_at(1.5, 0, 0)) == 0.0);
  double crowded[candidate_numbers];
  for (std::size_t i = 0; i < candidate_numbers; ++i)
    crowded[i] = i % 3 == 2 ? sample_candidate[i] : 0.9 * sample_candidate[i];
  const Verdict verdict = evaluate_polygons(crowded);
  const Verdict exact = evaluate(crowded);
  CHECK(verdict.valid == 0);
  CHECK(verdict.overlapping_count == exact.overlapping_count);
  CHECK(verdict.overlap_total < exact.overlap_total);
  CHECK(verdict.overlap_total > exact.overlap_total - 2.0 * lacking() * pairs);
  CHECK(verdict.overlap_max <= exact.overlap_max);
  CHECK(verdict.circle.radius == exact.circle.radius);
  std::uint32_t set = 0;
  for (std::uint32_t i = 0; i < pieces; ++i)
    for (std::uint32_t j = i + 1; j < pieces; ++j) {
      CHECK(overlaps(verdict, i, j) == overlaps(exact, i, j));
      set += overlaps(verdict, i, j) ? 1U : 0U;
    }
  CHECK(set == verdict.overlapping_count);
  CHECK(evaluate_polygons(sample_candidate).valid == 1);
}
