#include "calyx_kernels/math.hpp"

#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include "testing.hpp"

namespace {

namespace math = calyx::kernels::math;

/// How far `value` is from `exact`, in units of the last place of `exact`.
double units_off(double value, long double exact) {
  const auto nearest = static_cast<double>(exact);
  const double size = std::fabs(nearest);
  const double unit =
      size < DBL_MIN ? std::numeric_limits<double>::denorm_min() : std::nextafter(size, INFINITY) - size;
  return static_cast<double>(std::fabs(static_cast<long double>(value) - exact) /
                             static_cast<long double>(unit));
}

}  // namespace

TEST_CASE("sine and cosine are within one unit of the last place, near and far") {
  if (LDBL_MANT_DIG <= DBL_MANT_DIG) {
    calyx::testing::skipped("accuracy of sine and cosine", "long double is no wider than double here");
    return;
  }
  struct Row {
    const char* says;
    double largest;
    double units_max;
  };
  const Row rows[] = {
      {"within a turn", 6.3, 1.0},
      {"a few turns", 100.0, 1.0},
      {"a million radians", 1e6, 1.0},
      {"beyond any sensible angle", 1e15, 1.0},
  };
  calyx::testing::Dice dice(1);
  for (const Row& row : rows) {
    CAPTURE(row.says);
    double worst = 0.0;
    for (int i = 0; i < 100000; ++i) {
      const double angle = dice.uniform(-row.largest, row.largest);
      const math::Unit unit = math::direction(angle);
      worst = std::fmax(worst, units_off(unit.x, std::cos(static_cast<long double>(angle))));
      worst = std::fmax(worst, units_off(unit.y, std::sin(static_cast<long double>(angle))));
    }
    CHECK(worst <= row.units_max);
  }
}

TEST_CASE("every magnitude of double has its sine, up to the largest") {
  calyx::testing::Dice dice(2);
  double worst = 0.0;
  for (std::uint64_t exponent = 1; exponent < 2047; ++exponent) {
    for (int i = 0; i < 20; ++i) {
      const double angle = math::double_of((exponent << 52) | (dice.next() >> 12));
      const math::Unit unit = math::direction(angle);
      worst = std::fmax(worst, units_off(unit.x, std::cos(static_cast<long double>(angle))));
      worst = std::fmax(worst, units_off(unit.y, std::sin(static_cast<long double>(angle))));
    }
  }
  // Where long double is no wider than double, the library's own rounding is half a unit more.
  CHECK(worst <= 1.5);
}

TEST_CASE("an angle close to a whole number of quarters keeps its digits") {
  // What is left after 2^k quarter turns is far below a unit of the angle itself.
  struct Row {
    double angle;
    double cosine;
    double sine;
  };
  const Row rows[] = {
      {math::half_pi, 0x1.1a62633145c07p-54, 1.0},
      {math::pi, -1.0, 0x1.1a62633145c07p-53},
      {2.0 * math::pi, 1.0, -0x1.1a62633145c07p-52},
      {1048576.0 * math::half_pi, 1.0, -0x1.1a62633145c07p-34},
  };
  for (const Row& row : rows) {
    CAPTURE(row.angle);
    CHECK(math::cosine(row.angle) == row.cosine);
    CHECK(math::sine(row.angle) == row.sine);
    CHECK(math::cosine(-row.angle) == row.cosine);
    CHECK(math::sine(-row.angle) == -row.sine);
  }
  // The double that comes closest of all to a whole number of quarters.
  CHECK(math::cosine(0x1.6ac5b262ca1ffp+849) == doctest::Approx(0.0).epsilon(1e-15));
  CHECK(units_off(math::cosine(0x1.6ac5b262ca1ffp+849), std::cos(0x1.6ac5b262ca1ffp+849L)) <= 1.5);
}

TEST_CASE("zero and tiny angles come back as they are") {
  CHECK(math::cosine(0.0) == 1.0);
  CHECK(math::sine(0.0) == 0.0);
  CHECK(math::sine(1e-300) == 1e-300);
  CHECK(math::sine(5e-324) == 5e-324);
  CHECK(math::cosine(5e-324) == 1.0);
}

TEST_CASE("the angle of a vector is within one and a half units of the last place") {
  calyx::testing::Dice dice(3);
  double worst = 0.0;
  for (int i = 0; i < 200000; ++i) {
    const double scale = math::double_of((dice.next() % 400 + 823) << 52);
    const double x = dice.uniform(-1.0, 1.0) * scale;
    const double y = dice.uniform(-1.0, 1.0) * (i % 3 == 0 ? scale : scale * dice.uniform(0.0, 1e-6));
    worst = std::fmax(worst, units_off(math::angle_of(x, y),
                                       std::atan2(static_cast<long double>(y), static_cast<long double>(x))));
    worst = std::fmax(worst, units_off(math::angle_of(y, x),
                                       std::atan2(static_cast<long double>(x), static_cast<long double>(y))));
  }
  CHECK(worst <= 1.5);
}

TEST_CASE("the angle of an axis or a diagonal is the nearest double") {
  struct Row {
    double x;
    double y;
    double expected;
  };
  const Row rows[] = {
      {1.0, 0.0, 0.0},
      {1.0, 1.0, 0.5 * math::half_pi},
      {0.0, 1.0, math::half_pi},
      {-1.0, 1.0, 0x1.2d97c7f3321d2p+1},
      {-1.0, 0.0, math::pi},
      {-1.0, -1.0, -0x1.2d97c7f3321d2p+1},
      {0.0, -1.0, -math::half_pi},
      {1.0, -1.0, -0.5 * math::half_pi},
      {0.0, 0.0, 0.0},
      {1e299, 1e299, 0.5 * math::half_pi},
  };
  for (const Row& row : rows) {
    CAPTURE(row.x);
    CAPTURE(row.y);
    CHECK(math::angle_of(row.x, row.y) == row.expected);
  }
}

TEST_CASE("a product and what it rounds away are exact together") {
  calyx::testing::Dice dice(4);
  for (int i = 0; i < 10000; ++i) {
    // Factors of 26 and 30 bits: their exact product fits an integer, which is the oracle.
    const auto left = static_cast<std::int64_t>(dice.next() >> 34);
    const auto right = static_cast<std::int64_t>(dice.next() >> 31);
    const math::Sum sum = math::product(static_cast<double>(left), static_cast<double>(right));
    CHECK(static_cast<std::int64_t>(sum.high) + static_cast<std::int64_t>(sum.low) == left * right);
    CHECK(sum.high == static_cast<double>(left) * static_cast<double>(right));
  }
}

TEST_CASE("a wide product agrees with arithmetic by hand") {
  const math::WideProduct largest = math::wide_product(~std::uint64_t{0}, ~std::uint64_t{0});
  CHECK(largest.high == 0xfffffffffffffffeULL);
  CHECK(largest.low == 1);
  const math::WideProduct shifted = math::wide_product(0x123456789abcdef0ULL, std::uint64_t{1} << 36);
  CHECK(shifted.high == 0x123456789abcdef0ULL >> 28);
  CHECK(shifted.low == 0x123456789abcdef0ULL << 36);
}

TEST_CASE("no compiler contracted a product and a sum in this build") {
  // (1 + 2^-30)^2 rounds to 1 + 2^-29; a fused operation would keep the 2^-60.
  volatile double factor = 1.0 + 0x1p-30;
  const double left = factor;
  const double rounded = 1.0 + 0x1p-29;
  CHECK(left * left - rounded == 0.0);
}
