/// \file
/// Mean, variance and their interval from a stream of numbers that may be merged, and a summary of a few.
///
/// Only operations that IEEE 754 rounds correctly are used (+ - * / and the square root), so the same numbers
/// in the same order give the same bits everywhere.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <vector>

namespace calyx::core {

/// Count, mean and the sum of squared distances from the mean, which two of them merge exactly as one would
/// have counted (Chan, Golub and LeVeque, 1979).
struct Moments {
  std::uint64_t n = 0;
  double mean = 0;
  double m2 = 0;

  static constexpr Moments of(double value) noexcept { return {.n = 1, .mean = value, .m2 = 0}; }

  constexpr void merge(const Moments& other) noexcept {
    if (other.n == 0) return;
    if (n == 0) {
      *this = other;
      return;
    }
    const auto left = static_cast<double>(n);
    const auto right = static_cast<double>(other.n);
    const double apart = other.mean - mean;
    const double share = right / (left + right);
    mean += apart * share;
    m2 += other.m2 + apart * apart * left * share;
    n += other.n;
  }

  /// The sample's variance, which divides by n - 1; nothing of fewer than two.
  constexpr std::optional<double> variance() const noexcept {
    if (n < 2) return std::nullopt;
    return m2 / static_cast<double>(n - 1);
  }
};

/// Student's t for a two-sided interval of 95 %: the 0.975 quantile with `freedom` degrees of freedom, at
/// least 1. To 30 from the inverse of the distribution, and it agrees with the printed tables; above by the
/// expansion 26.7.5 of Abramowitz and Stegun, whose error is there below 1e-7.
constexpr double student_t_975(std::uint64_t freedom) noexcept {
  constexpr double table[] = {12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911851,
                              2.364624252,  2.306004135, 2.262157163, 2.228138852, 2.200985160, 2.178812830,
                              2.160368656,  2.144786688, 2.131449546, 2.119905299, 2.109815578, 2.100922040,
                              2.093024054,  2.085963447, 2.079613845, 2.073873068, 2.068657610, 2.063898562,
                              2.059538553,  2.055529439, 2.051830516, 2.048407142, 2.045229642, 2.042272456};
  if (freedom <= std::size(table)) return table[freedom - 1];
  constexpr double x = 1.959963984540054;  // the normal distribution's 0.975 quantile
  constexpr double x2 = x * x;
  constexpr double g1 = (x2 + 1) * x / 4;
  constexpr double g2 = ((5 * x2 + 16) * x2 + 3) * x / 96;
  constexpr double g3 = (((3 * x2 + 19) * x2 + 17) * x2 - 15) * x / 384;
  constexpr double g4 = ((((79 * x2 + 776) * x2 + 1482) * x2 - 1920) * x2 - 945) * x / 92160;
  const double by = 1 / static_cast<double>(freedom);
  return x + by * (g1 + by * (g2 + by * (g3 + by * g4)));
}

/// What is said of a candidate's replicas. Of fewer than two numbers there is no sd and no interval.
struct Summary {
  std::uint64_t n = 0;
  double mean = 0;
  double median = 0;
  double min = 0;
  double max = 0;
  std::optional<double> sd{};
  std::optional<double> low{};   ///< The interval in which the mean lies, 95 % of the time, when the numbers
  std::optional<double> high{};  ///< are drawn independently from a normal distribution.
};

/// The summary of `numbers`, in the order of their replicas.
inline Summary summary_of(std::vector<double> numbers) {
  Summary out;
  out.n = numbers.size();
  if (numbers.empty()) return out;
  Moments moments;
  for (const double number : numbers) moments.merge(Moments::of(number));
  out.mean = moments.mean;
  if (const auto variance = moments.variance()) {
    out.sd = std::sqrt(*variance);
    const auto n = static_cast<double>(out.n);
    const double reach = student_t_975(out.n - 1) * *out.sd / std::sqrt(n);
    out.low = out.mean - reach;
    out.high = out.mean + reach;
  }
  std::sort(numbers.begin(), numbers.end());
  out.min = numbers.front();
  out.max = numbers.back();
  const std::size_t middle = numbers.size() / 2;
  const double upper = numbers[middle];
  // Halves are added, not halved after: the sum of two large ones may be no double.
  out.median = numbers.size() % 2 == 1 ? upper : numbers[middle - 1] / 2 + upper / 2;
  return out;
}

}  // namespace calyx::core
