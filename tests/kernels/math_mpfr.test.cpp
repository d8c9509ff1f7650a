// Every function of our own beside the exact value, which GNU MPFR computes to 128 bits: over the whole of
// what its header promises, and closely where its method changes.
//
// Units: errors are in units of the last place of the exact value, as in the headers.

#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

#include "calyx_kernels/elementary.hpp"
#include "calyx_kernels/math.hpp"
#include "calyx_kernels/prop_amm_math.hpp"
#include "testing.hpp"

namespace math = calyx::kernels::math;
namespace prop_amm = calyx::kernels::prop_amm;
using calyx::testing::Dice;

TEST_CASE("what is no number, and what has no end, has the answer that the headers give") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto is_none = [](double value) {
    return math::bits_of(value) == math::bits_of(math::not_a_number());
  };
  CHECK(is_none(math::exponential(none)));
  CHECK(math::exponential(math::infinity) == math::infinity);
  CHECK(math::exponential(-math::infinity) == 0.0);
  CHECK(is_none(math::logarithm(none)));
  CHECK(is_none(math::logarithm(-math::infinity)));
  CHECK(is_none(math::logarithm(-5e-324)));
  CHECK(math::logarithm(math::infinity) == math::infinity);
  CHECK(math::logarithm(0.0) == -math::infinity);
  CHECK(math::logarithm(-0.0) == -math::infinity);
  CHECK(is_none(math::power_of(none, 2.0)));
  CHECK(is_none(math::power_of(2.0, none)));
  CHECK(math::power_of(none, 0.0) == 1.0);
  CHECK(math::power_of(1.0, none) == 1.0);
  CHECK(math::power_of(0.5, math::infinity) == 0.0);
  CHECK(math::power_of(0.5, -math::infinity) == math::infinity);
}

#ifndef CALYX_HAVE_MPFR

TEST_CASE("accuracy beside MPFR") { CHECK(calyx::testing::may_lack("kernels.math_mpfr", "libmpfr-dev")); }

#else

#include <mpfr.h>

namespace {

std::uint64_t points() { return calyx::testing::by_scale<std::uint64_t>(5'000, 200'000, 10'000'000); }

/// A number of 128 bits, with an exponent that no double gets to the end of.
class Exact {
 public:
  Exact() { mpfr_init2(value_, 128); }
  ~Exact() { mpfr_clear(value_); }
  Exact(const Exact&) = delete;
  Exact& operator=(const Exact&) = delete;
  mpfr_ptr get() { return value_; }
  mpfr_srcptr get() const { return value_; }
  void set(double value) { mpfr_set_d(value_, value, MPFR_RNDN); }
  /// Correctly rounded, also where doubles are subnormal or end.
  double nearest() const { return mpfr_get_d(value_, MPFR_RNDN); }

 private:
  mpfr_t value_;
};

/// How far `value` is from `exact`, in units of the last place of `exact`.
double units_off(double value, const Exact& exact) {
  if (!std::isfinite(value) || mpfr_zero_p(exact.get()) != 0)
    return value == exact.nearest() ? 0.0 : math::infinity;
  static Exact apart;
  mpfr_sub_d(apart.get(), exact.get(), value, MPFR_RNDN);
  const long unit = std::max<long>(static_cast<long>(mpfr_get_exp(exact.get())) - DBL_MANT_DIG, -1074);
  mpfr_mul_2si(apart.get(), apart.get(), -unit, MPFR_RNDN);
  return std::fabs(apart.nearest());
}

/// The worst that was seen of one function.
class Worst {
 public:
  Worst(const char* function, double bound) : function_(function), bound_(bound) {}
  void look(double value, const Exact& exact, double x, double y = 0.0) {
    take(units_off(value, exact), x, y);
    if (value == exact.nearest()) ++nearest_;
  }
  void take(double units, double x, double y = 0.0) {
    ++points_;
    if (units <= units_) return;
    units_ = units;
    x_ = x;
    y_ = y;
  }
  /// Holds what was seen against the bound, and tells it.
  void judge() const {
    char says[200];
    std::snprintf(says, sizeof says, "%.4f units at (%a, %a), %llu points, %.3f%% of them the nearest double",
                  units_, x_, y_, static_cast<unsigned long long>(points_),
                  100.0 * static_cast<double>(nearest_) / static_cast<double>(points_));
    calyx::testing::told(std::string("worst error beside MPFR, ") + function_, says);
    const std::string of = function_;
    const std::string what = says;
    CAPTURE(of);
    CAPTURE(what);
    CHECK(units_ <= bound_);
  }

 private:
  const char* function_;
  double bound_;
  double units_ = 0.0;
  double x_ = 0.0;
  double y_ = 0.0;
  std::uint64_t points_ = 0;
  std::uint64_t nearest_ = 0;
};

/// `value`, some doubles up or down.
double beside(Dice& dice, double value) {
  const std::uint64_t bits = math::bits_of(value);
  const std::uint64_t by = dice.below(9);
  return math::double_of(bits + by < by + 4 ? bits : bits + by - 4);
}

double either_sign(Dice& dice, double value) { return dice.coin() ? value : -value; }

/// Above 0, its exponent's field from `low` to before `high`: 0 gives subnormal numbers, 2047 ends them all.
double of_magnitude(Dice& dice, std::uint64_t low, std::uint64_t high) {
  return math::double_of((low + dice.below(high - low)) << 52 | dice.next() >> 12);
}

}  // namespace

TEST_CASE("the exponential and the forms of it that the simulation has are as near as they say") {
  const std::uint64_t seed = 0xe4b1;
  CAPTURE(seed);
  Dice dice(seed);
  Worst usual("exponential", 0.7);
  Worst small("exponential, subnormal results", 0.8);
  Worst msun("msun_exp", 1.0);
  Worst price("price_exp", 0.52);
  Exact exact;
  const auto compute = [&exact](double x) {
    exact.set(x);
    mpfr_exp(exact.get(), exact.get(), MPFR_RNDN);
  };
  const double ln2 = math::ln2_high + math::ln2_low;
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    double x = 0.0;
    switch (i % 5) {
      case 0: x = dice.uniform(-746.0, 710.0); break;
      case 1: x = either_sign(dice, of_magnitude(dice, 0, 1023 + 10)); break;
      // Where the count of turns changes, and where the table's next row begins.
      case 2: x = beside(dice, (static_cast<double>(dice.below(4'200)) - 2'150.5) * ln2 * 0.5); break;
      case 3:
        x = beside(dice, (static_cast<double>(dice.below(256 * 40)) - 128 * 40 + 0.5) * (ln2 / 128.0));
        break;
      default: x = dice.uniform(-745.2, -708.3); break;
    }
    compute(x);
    (mpfr_cmp_d(exact.get(), DBL_MIN) < 0 ? small : usual).look(math::exponential(x), exact, x);
    if (std::fabs(x) >= 700.0) {
      x = std::fmod(x, 700.0);
      compute(x);
    }
    msun.look(prop_amm::msun_exp(x), exact, x);
    price.look(prop_amm::price_exp(x), exact, x);
  }
  for (const Worst* worst : {&usual, &small, &msun, &price}) worst->judge();
}

TEST_CASE("the exponential of a sum counts what the sum's first number does not say") {
  const std::uint64_t seed = 0xe4b2;
  CAPTURE(seed);
  Dice dice(seed);
  Worst worst("exponential of a sum", 0.7);
  Exact exact;
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    const double high =
        i % 2 == 0 ? dice.uniform(-708.0, 709.0) : either_sign(dice, of_magnitude(dice, 0, 1023 + 9));
    const double low = high * dice.uniform(-0x1p-53, 0x1p-53);
    exact.set(high);
    mpfr_add_d(exact.get(), exact.get(), low, MPFR_RNDN);
    mpfr_exp(exact.get(), exact.get(), MPFR_RNDN);
    worst.look(math::exponential(math::Sum{high, low}), exact, high, low);
  }
  worst.judge();
}

TEST_CASE("the logarithm and its forms are as near as they say") {
  const std::uint64_t seed = 0x1091;
  CAPTURE(seed);
  Dice dice(seed);
  Worst usual("logarithm", 0.6);
  Worst msun("msun_ln", 1.0);
  Worst sum("logarithm_sum, in units of 2^-56 of the whole", 1.0);
  Exact exact;
  Exact left;
  const auto compute = [&exact](double x) {
    exact.set(x);
    mpfr_log(exact.get(), exact.get(), MPFR_RNDN);
  };
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    double x = 0.0;
    switch (i % 5) {
      case 0: x = of_magnitude(dice, 0, 2047); break;
      case 1: x = beside(dice, 1.0 + either_sign(dice, of_magnitude(dice, 1023 - 54, 1023 - 1))); break;
      case 2:
        x = beside(dice, std::ldexp(math::square_root(2.0), static_cast<int>(dice.below(2'044)) - 1'022));
        break;
      case 3: x = math::double_of(dice.next() >> (12 + dice.below(50))); break;
      default: x = dice.uniform(0.5, 2.0); break;
    }
    if (x == 0.0) x = 1.0;
    compute(x);
    usual.look(math::logarithm(x), exact, x);
    const math::Sum parts = math::logarithm_sum(x);
    if (x == 1.0) {
      sum.take(parts.high == 0.0 && parts.low == 0.0 ? 0.0 : math::infinity, x);
    } else {
      mpfr_sub_d(left.get(), exact.get(), parts.high, MPFR_RNDN);
      mpfr_sub_d(left.get(), left.get(), parts.low, MPFR_RNDN);
      mpfr_div(left.get(), left.get(), exact.get(), MPFR_RNDN);
      sum.take(std::fabs(left.nearest()) * 0x1p56, x);
    }
    if (x < DBL_MIN) {
      x *= 0x1p60;
      compute(x);
    }
    msun.look(prop_amm::msun_ln(x), exact, x);
  }
  for (const Worst* worst : {&usual, &msun, &sum}) worst->judge();
}

TEST_CASE("sine and cosine of every double are within one unit") {
  const std::uint64_t seed = 0x51e;
  CAPTURE(seed);
  Dice dice(seed);
  Worst sine("sine", 1.0);
  Worst cosine("cosine", 1.0);
  Exact angle;
  Exact exact_sine;
  Exact exact_cosine;
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    double x = 0.0;
    switch (i % 5) {
      case 0: x = of_magnitude(dice, 0, 2047); break;
      // Close to whole quarters and between two of them, near and far.
      case 1:
        x = beside(dice, static_cast<double>(dice.next() >> (11 + dice.below(53))) * math::half_pi);
        break;
      case 2: x = beside(dice, (static_cast<double>(dice.below(1'000)) + 0.5) * math::half_pi); break;
      case 3:
        x = std::ldexp(beside(dice, static_cast<double>(dice.below(1'000) + 1) * math::half_pi),
                       static_cast<int>(dice.below(1'012)));
        break;
      default: x = dice.uniform(0.0, 10.0); break;
    }
    if (i == 0) x = 0x1.6ac5b262ca1ffp+849;  // which comes closest of all to a whole number of quarters
    x = either_sign(dice, x);
    angle.set(x);
    mpfr_sin_cos(exact_sine.get(), exact_cosine.get(), angle.get(), MPFR_RNDN);
    const math::Unit unit = math::direction(x);
    sine.look(unit.y, exact_sine, x);
    cosine.look(unit.x, exact_cosine, x);
  }
  for (const Worst* worst : {&sine, &cosine}) worst->judge();
}

TEST_CASE("the angle of a vector is as near as it says") {
  const std::uint64_t seed = 0xa7a2;
  CAPTURE(seed);
  Dice dice(seed);
  Worst worst("angle_of", 1.6);
  Exact x_exact;
  Exact exact;
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    // From 1e-300 to 1e300, which lie beyond 2^-996 and 2^996.
    double longer = of_magnitude(dice, 1023 - 996, 1023 + 996);
    double shorter = 0.0;
    switch (i % 4) {
      case 0:
        longer = of_magnitude(dice, 1023, 1023 + 996);
        shorter = longer * of_magnitude(dice, 1023 - 960, 1023);
        break;
      case 1: shorter = longer * dice.uniform(0.0, 1.0); break;
      // Eighths, and halfway between two of them, where another row of the table is taken.
      case 2: shorter = beside(dice, longer * (static_cast<double>(dice.below(17)) * 0.0625)); break;
      default: shorter = longer * of_magnitude(dice, 1023 - 70, 1023); break;
    }
    if (shorter < longer * 1e-289) shorter = longer;
    const bool steep = dice.coin();
    const double x = either_sign(dice, steep ? shorter : longer);
    double y = either_sign(dice, steep ? longer : shorter);
    if (y == 0.0) y = 0.0;  // the axis has one angle, whatever its zero's sign
    x_exact.set(x);
    exact.set(y);
    mpfr_atan2(exact.get(), exact.get(), x_exact.get(), MPFR_RNDN);
    worst.look(math::angle_of(x, y), exact, x, y);
  }
  worst.judge();
}

TEST_CASE("powers are as near as they say, the further off the larger their logarithm") {
  const std::uint64_t seed = 0x90e;
  CAPTURE(seed);
  Dice dice(seed);
  Worst near("power_of, logarithm below 8, as a share of the bound", 1.0);
  Worst far("power_of, logarithm above 8, as a share of the bound", 1.0);
  Exact base_exact;
  Exact exact;
  const std::uint64_t count = points();
  for (std::uint64_t i = 0; i < count; ++i) {
    double base = i % 3 == 0 ? dice.uniform(0.5, 2.0) : of_magnitude(dice, 0, 2047);
    if (i % 7 == 0) base = beside(dice, 1.0 + either_sign(dice, of_magnitude(dice, 1023 - 52, 1022)));
    if (base == 1.0) base = 2.0;
    double power = dice.uniform(-8.0, 8.0) / std::log(base);
    if (i % 2 == 0) power = dice.uniform(-708.0, 709.0) / std::log(base);
    if (i % 5 == 0) {
      base = either_sign(dice, dice.uniform(0.1, 10.0));
      power = static_cast<double>(dice.below(40)) - 20.0;
    }
    base_exact.set(base);
    exact.set(power);
    mpfr_pow(exact.get(), base_exact.get(), exact.get(), MPFR_RNDN);
    const double value = math::power_of(base, power);
    const double size = std::fabs(power * std::log(std::fabs(base)));
    const double bound = 0.7 + size / 12.0;
    (size < 8.0 ? near : far).take(units_off(value, exact) / bound, base, power);
  }
  for (const Worst* worst : {&near, &far}) worst->judge();
}

#endif
