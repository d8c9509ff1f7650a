/// \file
/// The generator PCG XSL-RR 128/64, with its seeding from 64 bits, and the uniform draws made of it.
///
/// The Prop AMM challenge publishes scores by seed, so its generator and its ways to cut a draw are kept to
/// the bit.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"

namespace calyx::kernels {

/// A stream of 64-bit words. Two of one seed give the same words.
class Pcg64 {
 public:
  __extension__ typedef unsigned __int128 State;

  /// The stream of `seed`: a PCG32 stepper spreads it over the state and the increment.
  CALYX_HD explicit Pcg64(std::uint64_t seed) {
    std::uint64_t words[4] = {0, 0, 0, 0};
    for (std::uint32_t i = 0; i < 8; ++i) {
      seed = seed * 6364136223846793005ULL + 11634580027462260723ULL;
      const auto mixed = static_cast<std::uint32_t>(((seed >> 18) ^ seed) >> 27);
      const auto turn = static_cast<std::uint32_t>(seed >> 59);
      const std::uint32_t word = (mixed >> turn) | (mixed << ((32U - turn) & 31U));
      words[i / 2] |= static_cast<std::uint64_t>(word) << (32U * (i % 2));
    }
    increment_ = (static_cast<State>(words[3]) << 64 | words[2]) | 1U;
    state_ = (static_cast<State>(words[1]) << 64 | words[0]) + increment_;
    step();
  }

  CALYX_HD std::uint64_t next() {
    step();
    const auto high = static_cast<std::uint64_t>(state_ >> 64);
    const std::uint64_t mixed = high ^ static_cast<std::uint64_t>(state_);
    const auto turn = static_cast<std::uint32_t>(high >> 58);
    return (mixed >> turn) | (mixed << ((64U - turn) & 63U));
  }

  /// Leaves out the next `count` words, in time that grows with the length of `count` in bits.
  CALYX_HD void advance(std::uint64_t count) {
    // What `count` steps do is one product and one sum, put together from doublings of one step.
    State factor = 1;
    State sum = 0;
    State doubled_factor = multiplier();
    State doubled_sum = increment_;
    for (; count != 0; count >>= 1) {
      if ((count & 1U) != 0) {
        factor *= doubled_factor;
        sum = sum * doubled_factor + doubled_sum;
      }
      doubled_sum = (doubled_factor + 1) * doubled_sum;
      doubled_factor *= doubled_factor;
    }
    state_ = factor * state_ + sum;
  }

 private:
  CALYX_HD static constexpr State multiplier() {
    return static_cast<State>(0x2360ed051fc65da4ULL) << 64 | 0x4385df649fccf645ULL;
  }
  CALYX_HD void step() { state_ = state_ * multiplier() + increment_; }

  State state_;
  State increment_;
};

/// The 52 top bits of `word` as a number in [1, 2).
CALYX_HD inline double one_to_two(std::uint64_t word) {
  return math::double_of((word >> 12) | 0x3ff0000000000000ULL);
}

/// In [0, 1), a multiple of 2^-53.
CALYX_HD inline double uniform(Pcg64& words) { return static_cast<double>(words.next() >> 11) * 0x1p-53; }

/// In (0, 1).
CALYX_HD inline double uniform_open(Pcg64& words) { return one_to_two(words.next()) - (1.0 - 0x1p-53); }

/// In [low, high).
CALYX_HD inline double uniform_between(Pcg64& words, double low, double high) {
  for (;;) {
    const double value = (one_to_two(words.next()) - 1.0) * (high - low) + low;
    if (value < high) return value;
  }
}

/// A whole number from `low` to `low + count - 1`; `count` is not 0.
CALYX_HD inline std::uint32_t uniform_whole(Pcg64& words, std::uint32_t low, std::uint32_t count) {
  const std::uint32_t last = 0xffffffffU - (0U - count) % count;
  for (;;) {
    const std::uint64_t product = (words.next() & 0xffffffffULL) * count;
    if (static_cast<std::uint32_t>(product) <= last) return low + static_cast<std::uint32_t>(product >> 32);
  }
}

}  // namespace calyx::kernels
