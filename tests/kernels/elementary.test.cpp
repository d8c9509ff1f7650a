#include "calyx_kernels/elementary.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "testing.hpp"

namespace math = calyx::kernels::math;

namespace {
/// How many doubles lie between two finite ones of the same sign.
std::uint64_t apart(double left, double right) {
  const std::uint64_t a = math::bits_of(left);
  const std::uint64_t b = math::bits_of(right);
  return a > b ? a - b : b - a;
}
}  // namespace

TEST_CASE("exponential, logarithm and power are within one unit of the C library") {
  calyx::testing::Dice dice(0xe4b);
  for (int i = 0; i < 200'000; ++i) {
    const double wide = dice.uniform(-700.0, 700.0);
    const double near = dice.uniform(0.5, 2.0);
    const double power = dice.uniform(-4.0, 4.0);
    REQUIRE(apart(math::exponential(wide), std::exp(wide)) <= 1);
    REQUIRE(apart(math::exponential(power), std::exp(power)) <= 1);
    REQUIRE(apart(math::logarithm(near), std::log(near)) <= 1);
    REQUIRE(apart(math::logarithm(std::exp(wide)), std::log(std::exp(wide))) <= 1);
    REQUIRE(apart(math::power_of(near, power), std::pow(near, power)) <= 1);
  }
}

TEST_CASE("at the ends of the range they are what C's are") {
  for (const double value :
       {0.0, -0.0, 1.0, 709.7, 709.79, -745.1, -746.0, -708.5, math::infinity, -math::infinity})
    CHECK(math::bits_of(math::exponential(value)) == math::bits_of(std::exp(value)));
  CHECK(math::logarithm(0.0) == -math::infinity);
  CHECK(math::logarithm(math::infinity) == math::infinity);
  CHECK(std::isnan(math::logarithm(-1.0)));
  CHECK(apart(math::logarithm(5e-324), std::log(5e-324)) <= 1);
  const double bases[] = {0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, math::infinity, -math::infinity};
  const double powers[] = {
      0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, 2000.0, -2000.0, math::infinity, -math::infinity};
  for (const double base : bases)
    for (const double power : powers) {
      CAPTURE(base);
      CAPTURE(power);
      const double wanted = std::pow(base, power);
      const double found = math::power_of(base, power);
      if (std::isnan(wanted))
        CHECK(std::isnan(found));
      else
        CHECK(math::bits_of(found) == math::bits_of(wanted));
    }
}
