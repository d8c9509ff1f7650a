/// \file
/// Sine, cosine and the angle of a vector, with the same bits on every backend.
///
/// The C library and a device's library round these functions differently. The ones here use only + - * /
/// on doubles and on integers, which IEEE 754 and the language fix to the bit, so a host and a device agree
/// as long as no compiler contracts a product and a sum into one rounding: build with `-ffp-contract=off` on
/// the host and `-fmad=false` on the device.
///
/// Start at `direction` (sine and cosine at once) and `angle_of`.
///
/// Units: angles are radians. Errors are in units of the last place of the true result.

#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/host_device.hpp"

#ifdef __FAST_MATH__
#error "the recipes promise exact bytes: build the kernels without -ffast-math"
#endif

namespace calyx::kernels::math {

#ifdef FLT_EVAL_METHOD
static_assert(FLT_EVAL_METHOD == 0, "a double must be computed as a double, not in wider registers");
#endif

inline constexpr double pi = 0x1.921fb54442d18p+1;
inline constexpr double half_pi = 0x1.921fb54442d18p+0;
/// What `half_pi` lacks to pi / 2.
inline constexpr double half_pi_rest = 0x1.1a62633145c07p-54;

/// Correctly rounded everywhere: the standard asks it of the square root, of no other library function.
CALYX_HD inline double square_root(double value) { return std::sqrt(value); }

CALYX_HD inline double absolute(double value) { return value < 0.0 ? -value : value; }

CALYX_HD inline std::uint64_t bits_of(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

CALYX_HD inline double double_of(std::uint64_t bits) {
  double value = 0.0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

CALYX_HD inline bool is_finite(double value) {
  return (bits_of(value) & 0x7ff0000000000000ULL) != 0x7ff0000000000000ULL;
}

/// An unevaluated sum, `low` being what `high` rounded away.
struct Sum {
  double high;
  double low;
};

/// `left * right` without error, for factors below 1e150 and products above 1e-290 in magnitude.
CALYX_HD inline Sum product(double left, double right) {
  // Each factor is cut into two halves of at most 26 bits, whose products are exact.
  constexpr double cut = 134217729.0;  // 2^27 + 1
  const double left_cut = cut * left;
  const double left_high = left_cut - (left_cut - left);
  const double left_low = left - left_high;
  const double right_cut = cut * right;
  const double right_high = right_cut - (right_cut - right);
  const double right_low = right - right_high;
  const double high = left * right;
  const double low = ((left_high * right_high - high) + left_high * right_low + left_low * right_high) +
                     left_low * right_low;
  return {high, low};
}

/// A 128-bit product of two 64-bit factors, in halves: the language has no wider integer on every compiler.
struct WideProduct {
  std::uint64_t high;
  std::uint64_t low;
};

CALYX_HD inline WideProduct wide_product(std::uint64_t left, std::uint64_t right) {
  constexpr std::uint64_t half = 0xffffffffULL;
  const std::uint64_t low_low = (left & half) * (right & half);
  const std::uint64_t low_high = (left & half) * (right >> 32);
  const std::uint64_t high_low = (left >> 32) * (right & half);
  const std::uint64_t high_high = (left >> 32) * (right >> 32);
  const std::uint64_t middle = (low_low >> 32) + (low_high & half) + (high_low & half);
  return {high_high + (low_high >> 32) + (high_low >> 32) + (middle >> 32),
          (middle << 32) | (low_low & half)};
}

/// An angle as whole quarter turns and a rest within [-pi/4, pi/4].
struct Quarters {
  std::uint32_t count;  ///< Modulo 4.
  Sum rest;
};

/// Takes the quarter turns out of `angle`, which is finite and above pi / 4.
///
/// The angle times 2 / pi is wanted modulo 4 with enough bits left when it lies close to a whole number. An
/// angle is an integer of 53 bits times a power of two, so of 2 / pi only a window of 192 bits matters: what
/// lies above it adds whole turns, what lies below adds less than 2^-137. No double comes closer than 2^-62
/// to a whole number of quarters, which leaves the rest 75 good bits, whatever the angle.
CALYX_HD inline Quarters quarters_of(double angle) {
  // A word of zeros, then 1216 bits of 2 / pi after the binary point (from Machin's formula, in integers).
  static constexpr std::uint64_t two_over_pi[20] = {
      0x0000000000000000ULL, 0xa2f9836e4e441529ULL, 0xfc2757d1f534ddc0ULL, 0xdb6295993c439041ULL,
      0xfe5163abdebbc561ULL, 0xb7246e3a424dd2e0ULL, 0x06492eea09d1921cULL, 0xfe1deb1cb129a73eULL,
      0xe88235f52ebb4484ULL, 0xe99c7026b45f7e41ULL, 0x3991d639835339f4ULL, 0x9c845f8bbdf9283bULL,
      0x1ff897ffde05980fULL, 0xef2f118b5a0a6d1fULL, 0x6d367ecf27cb09b7ULL, 0x4f463f669e5fea2dULL,
      0x7527bac7ebe5f17bULL, 0x3d0739f78a5292eaULL, 0x6bfb5fb11f8d5d08ULL, 0x56033046fc7b6babULL};
  const std::uint64_t bits = bits_of(angle);
  const std::uint64_t whole = (bits & 0x000fffffffffffffULL) | 0x0010000000000000ULL;
  // angle = whole * 2^exponent; the window's first bit of 2 / pi then weighs 2 in the product.
  const int exponent = static_cast<int>(bits >> 52) - 1075;
  const auto start = static_cast<std::uint32_t>(exponent + 62);
  const std::uint32_t word = start >> 6;
  const std::uint32_t shift = start & 63U;
  std::uint64_t window[3];
  for (std::uint32_t i = 0; i < 3; ++i)
    window[i] = shift == 0 ? two_over_pi[word + i]
                           : (two_over_pi[word + i] << shift) | (two_over_pi[word + i + 1] >> (64U - shift));

  // The product modulo 2^192, first word first: 2 bits of quarters, then 190 bits of fraction.
  const WideProduct low = wide_product(whole, window[2]);
  const WideProduct middle = wide_product(whole, window[1]);
  const std::uint64_t second = middle.low + low.high;
  const std::uint64_t carry = second < low.high ? 1 : 0;
  const std::uint64_t first = whole * window[0] + middle.high + carry;
  auto count = static_cast<std::uint32_t>(first >> 62);
  std::uint64_t a = (first << 2) | (second >> 62);
  std::uint64_t b = (second << 2) | (low.low >> 62);
  std::uint64_t c = low.low << 2;

  // More than half a quarter is counted as a whole one, and the rest turns negative.
  const bool negative = (a >> 63) != 0;
  if (negative) {
    ++count;
    a = ~a;
    b = ~b;
    c = ~c + 1;
    if (c == 0 && ++b == 0) ++a;
  }
  std::uint32_t zeros = 0;
  while ((a >> 63) == 0 && zeros < 128) {
    a = (a << 1) | (b >> 63);
    b = (b << 1) | (c >> 63);
    c <<= 1;
    ++zeros;
  }
  const double high = static_cast<double>(a >> 11) * 0x1p-53;
  const double low_part = static_cast<double>(((a & 0x7ffULL) << 42) | (b >> 22)) * 0x1p-106;
  const Sum scaled = product(high, half_pi);
  const double rest = scaled.low + (high * half_pi_rest + low_part * half_pi);
  const double sum = scaled.high + rest;
  const double lost = rest - (sum - scaled.high);
  // A power of two, so exact.
  const double scale = double_of(static_cast<std::uint64_t>(1023U - zeros) << 52) * (negative ? -1.0 : 1.0);
  return {count & 3U, {sum * scale, lost * scale}};
}

/// The sine of `angle`, at most pi / 4 in magnitude. The Taylor series is enough so close to zero: its first
/// term left out is below 2^-62 of the result.
CALYX_HD inline double sine_near_zero(Sum angle) {
  const double x = angle.high;
  const double z = x * x;
  double tail = 1.0 / 355687428096000.0;
  tail = tail * z - 1.0 / 1307674368000.0;
  tail = tail * z + 1.0 / 6227020800.0;
  tail = tail * z - 1.0 / 39916800.0;
  tail = tail * z + 1.0 / 362880.0;
  tail = tail * z - 1.0 / 5040.0;
  tail = tail * z + 1.0 / 120.0;
  tail = tail * z - 1.0 / 6.0;
  return x + (x * z * tail + angle.low * (1.0 - 0.5 * z));
}

/// The cosine of `angle`, at most pi / 4 in magnitude.
CALYX_HD inline double cosine_near_zero(Sum angle) {
  const double x = angle.high;
  const double z = x * x;
  double tail = 1.0 / 6402373705728000.0;
  tail = 1.0 / 20922789888000.0 - tail * z;
  tail = tail * z - 1.0 / 87178291200.0;
  tail = tail * z + 1.0 / 479001600.0;
  tail = tail * z - 1.0 / 3628800.0;
  tail = tail * z + 1.0 / 40320.0;
  tail = tail * z - 1.0 / 720.0;
  tail = tail * z + 1.0 / 24.0;
  // 1 - z / 2 rounds once, and what it lost is added to the small terms.
  const double half = 0.5 * z;
  const double main = 1.0 - half;
  return main + (((1.0 - main) - half) + (z * z * tail - x * angle.low));
}

/// A vector of length 1, to rounding.
struct Unit {
  double x;
  double y;
};

/// The cosine and the sine of any finite `angle`, each within 1 unit of the last place.
CALYX_HD inline Unit direction(double angle) {
  const double size = absolute(angle);
  Quarters quarters{0, {size, 0.0}};
  if (size > 0.5 * half_pi) quarters = quarters_of(size);
  const double cosine = cosine_near_zero(quarters.rest);
  const double sine = sine_near_zero(quarters.rest);
  Unit unit{cosine, sine};
  if (quarters.count == 1) unit = {-sine, cosine};
  if (quarters.count == 2) unit = {-cosine, -sine};
  if (quarters.count == 3) unit = {sine, -cosine};
  if (angle < 0.0) unit.y = -unit.y;
  return unit;
}

CALYX_HD inline double cosine(double angle) { return direction(angle).x; }
CALYX_HD inline double sine(double angle) { return direction(angle).y; }

/// The angle of the vector (x, y), within (-pi, pi] and 1.6 units of the last place; 0 for the zero vector.
/// For magnitudes below 1e300 of which the larger is above 1e-300, and quotients above 1e-290.
CALYX_HD inline double angle_of(double x, double y) {
  // atan(i / 8), and what its rounding lost (from integer arithmetic).
  static constexpr double atan_high[9] = {0.0,
                                          0x1.fd5ba9aac2f6ep-4,
                                          0x1.f5b75f92c80ddp-3,
                                          0x1.6f61941e4def1p-2,
                                          0x1.dac670561bb4fp-2,
                                          0x1.1e00babdefeb4p-1,
                                          0x1.4978fa3269ee1p-1,
                                          0x1.700a7c5784634p-1,
                                          0x1.921fb54442d18p-1};
  static constexpr double atan_low[9] = {0.0,
                                         -0x1.cd37686760c17p-59,
                                         0x1.8ab6e3cf7afbdp-57,
                                         -0x1.c63aae6f6e918p-56,
                                         0x1.a2b7f222f65e2p-56,
                                         -0x1.928df287a668fp-58,
                                         0x1.2419a87f2a458p-56,
                                         -0x1.8c34d25aadef6p-56,
                                         0x1.1a62633145c07p-55};
  // i / 8 as two powers of two: each is taken from the smaller side without rounding, so their difference is
  // exact.
  static constexpr double first_part[9] = {0.0, 0.125, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0, 1.0};
  static constexpr double second_part[9] = {0.0, 0.0, 0.0, 0.125, 0.0, 0.125, 0.25, -0.125, 0.0};

  const double width = absolute(x);
  const double height = absolute(y);
  const bool steep = height > width;
  const double longer = steep ? height : width;
  const double shorter = steep ? width : height;
  if (longer == 0.0) return 0.0;

  // atan(t) = atan(k) + atan((t - k) / (1 + t k)) with k the nearest eighth: what is left is at most 1 / 16.
  const auto eighth = static_cast<std::uint32_t>(8.0 * (shorter / longer) + 0.5);
  const double k = first_part[eighth] + second_part[eighth];
  const double above = (shorter - first_part[eighth] * longer) - second_part[eighth] * longer;
  const double t = above / (longer + k * shorter);
  const double z = t * t;
  double tail = 1.0 / 13.0;
  tail = tail * z - 1.0 / 11.0;
  tail = tail * z + 1.0 / 9.0;
  tail = tail * z - 1.0 / 7.0;
  tail = tail * z + 1.0 / 5.0;
  tail = tail * z - 1.0 / 3.0;
  Sum angle{atan_high[eighth], t + (t * z * tail + atan_low[eighth])};

  // The angle of the first octant is turned into the right one; the sums keep what the large term rounds
  // away.
  if (steep) {
    const double sum = half_pi - angle.high;
    const double lost = (half_pi - sum) - angle.high;
    angle = {sum, (lost + half_pi_rest) - angle.low};
  }
  if (x < 0.0) {
    const double sum = pi - angle.high;
    const double lost = (pi - sum) - angle.high;
    angle = {sum, (lost + 2.0 * half_pi_rest) - angle.low};
  }
  const double result = angle.high + angle.low;
  return y < 0.0 ? -result : result;
}

}  // namespace calyx::kernels::math
