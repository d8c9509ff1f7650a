/// \file
/// The exponential, the logarithm and powers, with the same bits on every backend.
///
/// As in math.hpp only + - * / on doubles and on integers are used, so results need `-ffp-contract=off` on
/// the host and `-fmad=false` on the device, and are then the same to the bit.
///
/// Units: errors are in units of the last place of the true result.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"

namespace calyx::kernels::math {

inline constexpr double infinity = __builtin_huge_val();
/// ln 2 cut to 33 bits, so that its product with an exponent is exact, and what that lacks.
inline constexpr double ln2_high = 0x1.62e42fefp-1;
inline constexpr double ln2_low = 0x1.473de6af278edp-34;

/// Not a number, always with the same bits: what a backend makes of 0 / 0 differs.
CALYX_HD inline double not_a_number() { return double_of(0x7ff8000000000000ULL); }

/// `value` times two to the power of `exponent`, rounded once; for a `value` within [0.5, 2).
CALYX_HD inline double scaled(double value, int exponent) {
  if (exponent > 1022)
    return value * 2.0 * double_of(static_cast<std::uint64_t>(1023 + 1022) << 52) *
           double_of(static_cast<std::uint64_t>(1023 + exponent - 1023) << 52);
  if (exponent >= -1021) return value * double_of(static_cast<std::uint64_t>(1023 + exponent) << 52);
  // Below the normal numbers: one exact step down, and one that rounds.
  if (exponent < -1080) return 0.0;
  return value * 0x1p-1000 * double_of(static_cast<std::uint64_t>(1023 + exponent + 1000) << 52);
}

/// The exponential of `high + low`, `low` being small beside `high`, within 0.7 units, or 0.8 where the
/// result is subnormal.
CALYX_HD inline double exponential(Sum power) {
  if (power.high != power.high) return not_a_number();
  if (power.high > 709.8) return infinity;
  if (power.high < -745.2) return 0.0;
  const double turns = power.high * 0x1.71547652b82fep+0;
  const int count = static_cast<int>(turns < 0.0 ? turns - 0.5 : turns + 0.5);
  const double k = count;
  // The first product is exact, and so is the difference but for one rounding that is kept.
  const double coarse = power.high - k * ln2_high;
  const double fine = power.low - k * ln2_low;
  const double x = coarse + fine;
  const double lost = (coarse - x) + fine;
  double tail = 1.0 / 6227020800.0;
  tail = tail * x + 1.0 / 479001600.0;
  tail = tail * x + 1.0 / 39916800.0;
  tail = tail * x + 1.0 / 3628800.0;
  tail = tail * x + 1.0 / 362880.0;
  tail = tail * x + 1.0 / 40320.0;
  tail = tail * x + 1.0 / 5040.0;
  tail = tail * x + 1.0 / 720.0;
  tail = tail * x + 1.0 / 120.0;
  tail = tail * x + 1.0 / 24.0;
  tail = tail * x + 1.0 / 6.0;
  // 1 + x rounds, and what it lost joins the small terms.
  const double main = 1.0 + x;
  const double rest = (1.0 - main) + x;
  const double value = main + (rest + (x * x * (0.5 + x * tail) + lost * main));
  return scaled(value, count);
}

CALYX_HD inline double exponential(double power) { return exponential(Sum{power, 0.0}); }

/// The natural logarithm of a finite `value` above 0, as an unevaluated sum good to 2^-56 of itself.
CALYX_HD inline Sum logarithm_sum(double value) {
  int exponent = 0;
  if (value < 0x1p-1022) {
    value *= 0x1p54;
    exponent = -54;
  }
  const std::uint64_t bits = bits_of(value);
  exponent += static_cast<int>(bits >> 52) - 1023;
  double m = double_of((bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 0x1.6a09e667f3bcdp+0) {
    m *= 0.5;
    ++exponent;
  }
  // ln m = 2 atanh s with s = (m - 1) / (m + 1), kept in two parts.
  const double above = m - 1.0;
  const double below = m + 1.0;
  const double below_lost = m - (below - 1.0);
  const double s = above / below;
  const Sum back = product(s, below);
  const double s_low = (((above - back.high) - back.low) - s * below_lost) / below;
  const double z = s * s;
  double tail = 1.0 / 29.0;
  for (int n = 27; n >= 3; n -= 2) tail = tail * z + 1.0 / n;
  const double first = 2.0 * s;
  const double second = 2.0 * (s * (z * tail) + s_low);
  const double k = exponent;
  const double coarse = k * ln2_high;
  // The larger part first; each sum keeps what it lost.
  const double high = coarse + first;
  const double lost = exponent == 0 ? 0.0 : (coarse - high) + first;
  const double low = (lost + k * ln2_low) + second;
  const double sum = high + low;
  return {sum, (high - sum) + low};
}

/// The natural logarithm, within 0.6 units.
CALYX_HD inline double logarithm(double value) {
  if (value != value || value < 0.0) return not_a_number();
  if (value == 0.0) return -infinity;
  if (value == infinity) return infinity;
  return logarithm_sum(value).high;
}

CALYX_HD inline bool is_whole(double value) {
  const double size = absolute(value);
  if (size >= 0x1p53) return true;
  return static_cast<double>(static_cast<std::uint64_t>(size)) == size;
}

/// `base` to the power of `power`, with the special cases of C's `pow`, within 0.7 units and a twelfth of
/// what the logarithm of the result is in magnitude. The worst of 10,000,000 beside MPFR had 0.85 of that.
CALYX_HD inline double power_of(double base, double power) {
  if (power == 0.0 || base == 1.0) return 1.0;
  if (base != base || power != power) return not_a_number();
  const bool whole = is_whole(power);
  const double half = power * 0.5;
  const bool odd = whole && absolute(power) < 0x1p53 && !is_whole(half);
  const bool negative = (bits_of(base) >> 63) != 0;
  const double size = absolute(base);
  if (absolute(power) == infinity) {
    if (size == 1.0) return 1.0;
    return (size > 1.0) == (power > 0.0) ? infinity : 0.0;
  }
  const double sign = negative && odd ? -1.0 : 1.0;
  if (size == 0.0) return power > 0.0 ? sign * 0.0 : sign * infinity;
  if (size == infinity) return power > 0.0 ? sign * infinity : sign * 0.0;
  if (negative && !whole) return not_a_number();
  const Sum log = logarithm_sum(size);
  const double about = power * log.high;
  if (about > 710.0) return sign * infinity;
  if (about < -746.0) return sign * 0.0;
  if (absolute(power) > 1e150 || absolute(about) < 1e-200) return sign * (1.0 + about);
  const Sum exact = product(power, log.high);
  return sign * exponential(Sum{exact.high, exact.low + power * log.low});
}

}  // namespace calyx::kernels::math
