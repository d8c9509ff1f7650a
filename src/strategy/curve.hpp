/// \file
/// Is a strategy a pricing curve at all? The challenge's fast suite, which runs before any simulation.
///
/// Start at `check_curve`. `Strategy` is what `prop_amm::simulate` runs, with one member more:
///   void set_storage(const unsigned char* storage);  // what the quotes to come see, `storage_bytes` long
///
/// Units: sizes are in Y for a purchase and in X for a sale; outputs are nanos (1e-9).
/// Threads: nothing is shared.

#pragma once

#include <array>
#include <cstdint>

#include "calyx_kernels/prop_amm.hpp"

namespace calyx::strategy {

enum class CurveFault : std::uint8_t {
  none,
  zero_output,   ///< A purchase for 10 Y, or the sale of 1 X, pays nothing.
  monotonicity,  ///< A larger input does not pay out more than a smaller one that pays.
  concavity,     ///< Of two steps of 0.001 from a size, the second pays more than the first.
  failed,        ///< A call did not return; the strategy remembers why.
};

struct CurveVerdict {
  CurveFault fault = CurveFault::none;
  kernels::prop_amm::Side side = kernels::prop_amm::Side::buy;
  double size = 0.0;  ///< Where the fault is; 0 if it has no size.
};

/// What is looked at. All: the first quotes, the shape, and calls with 32 states that no market has had.
/// Shape: the shape alone.
enum class CurveChecks : std::uint8_t { all, shape };

namespace detail {

inline constexpr std::array<double, 10> curve_sizes = {0.1,  0.5,  1.0,  2.0,   5.0,
                                                       10.0, 20.0, 50.0, 100.0, 200.0};
inline constexpr std::uint64_t curve_step_nano = 1'000'000;
inline constexpr std::int64_t concave_slack_nano = 1;
inline constexpr std::uint64_t start_x_nano = 100'000'000'000;
inline constexpr std::uint64_t start_y_nano = 10'000'000'000'000;
inline constexpr std::array<kernels::prop_amm::Side, 2> sides = {kernels::prop_amm::Side::buy,
                                                                 kernels::prop_amm::Side::sell};

/// SplitMix64 (Steele, Lea, Flood 2014): the states below need no quality, only to be the same everywhere.
class Mixer {
 public:
  explicit Mixer(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

template <class Strategy>
class CurveCheck {
 public:
  explicit CurveCheck(Strategy& strategy) : strategy_(strategy) {}

  CurveVerdict first_quotes() {
    if (quote(Side::buy, 10.0, 0) == 0) return fault(CurveFault::zero_output, Side::buy, 10.0);
    if (quote(Side::sell, 1.0, 0) == 0) return fault(CurveFault::zero_output, Side::sell, 1.0);
    return verdict();
  }

  CurveVerdict shape() {
    for (const Side side : sides) {
      std::uint64_t before = 0;
      for (const double size : curve_sizes) {
        const std::uint64_t output = quote(side, size, 0);
        if (before > 0 && output <= before) return fault(CurveFault::monotonicity, side, size);
        before = output;
      }
    }
    for (const Side side : sides) {
      for (const double size : curve_sizes) {
        const Wide at = quote(side, size, 0);
        const Wide one = quote(side, size, 1);
        const Wide two = quote(side, size, 2);
        if (two - one > one - at + concave_slack_nano) return fault(CurveFault::concavity, side, size);
      }
    }
    return verdict();
  }

  CurveVerdict random_states() {
    for (std::uint64_t state = 0; state < 32 && !failed_; ++state) {
      Mixer mixer(state);
      unsigned char storage[kernels::prop_amm::storage_bytes] = {};
      for (std::size_t i = 0; i < 32; ++i) storage[i] = static_cast<unsigned char>(mixer.next());
      const Side side = sides[mixer.next() % 2];
      const std::uint64_t x = 1'000'000'000 + mixer.next() % 2'000'000'000'000;
      const std::uint64_t y = 1'000'000'000 + mixer.next() % 200'000'000'000'000;
      const std::uint64_t input = 1'000'000 + mixer.next() % 10'000'000'000;
      strategy_.begin();
      strategy_.set_storage(storage);
      std::uint64_t output = 0;
      failed_ = !strategy_.compute_swap(side, input, x, y, storage, output) ||
                !strategy_.after_swap({side, input, output, x, y, state}, storage);
    }
    return verdict();
  }

 private:
  using Side = kernels::prop_amm::Side;
  __extension__ typedef __int128 Wide;

  std::uint64_t quote(Side side, double size, std::uint64_t steps) {
    const std::uint64_t input = kernels::prop_amm::to_nano(size) + steps * curve_step_nano;
    std::uint64_t output = 0;
    if (!failed_ && !strategy_.compute_swap(side, input, start_x_nano, start_y_nano, empty_, output))
      failed_ = true;
    return output;
  }
  /// A quote that failed counts as 0, and must not be told as a fault of the shape.
  CurveVerdict fault(CurveFault what, Side side, double size) const {
    return failed_ ? verdict() : CurveVerdict{what, side, size};
  }
  CurveVerdict verdict() const { return {failed_ ? CurveFault::failed : CurveFault::none, Side::buy, 0.0}; }

  Strategy& strategy_;
  bool failed_ = false;
  const unsigned char empty_[kernels::prop_amm::storage_bytes] = {};
};

}  // namespace detail

/// The first fault found, in the order of `CurveFault`.
template <class Strategy>
CurveVerdict check_curve(Strategy& strategy, CurveChecks checks) {
  strategy.begin();
  detail::CurveCheck<Strategy> check(strategy);
  if (checks == CurveChecks::shape) return check.shape();
  if (const CurveVerdict found = check.first_quotes(); found.fault != CurveFault::none) return found;
  if (const CurveVerdict found = check.shape(); found.fault != CurveFault::none) return found;
  return check.random_states();
}

}  // namespace calyx::strategy
