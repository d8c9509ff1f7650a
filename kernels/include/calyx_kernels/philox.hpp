/// \file
/// Philox4x32-10, a generator without a state: a draw is a function of a key and a counter.
///
/// Whoever draws says where it stands (which stream, which generation, which individual, which draw), so a
/// search gives the same numbers on any number of threads, and one that goes on from a checkpoint needs no
/// more than its place. Published by Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1,
/// 2, 3" (2011); the constants and the test vectors are theirs.
///
/// Start at `Draws`.
///
/// Threads: any; nothing is kept between calls but in a `Draws` of the caller's.

#pragma once

#include <cstdint>

#include "calyx_kernels/elementary.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"

namespace calyx::kernels {

/// A counter, or what is drawn for it.
struct Philox4x32 {
  std::uint32_t word[4];
};

/// The four words for `counter` under the key of two words, after ten rounds.
CALYX_HD inline Philox4x32 philox(Philox4x32 counter, std::uint32_t key_low, std::uint32_t key_high) {
  for (std::uint32_t round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{0xd2511f53U} * counter.word[0];
    const std::uint64_t second = std::uint64_t{0xcd9e8d57U} * counter.word[2];
    counter = {{static_cast<std::uint32_t>(second >> 32) ^ counter.word[1] ^ key_low,
                static_cast<std::uint32_t>(second),
                static_cast<std::uint32_t>(first >> 32) ^ counter.word[3] ^ key_high,
                static_cast<std::uint32_t>(first)}};
    key_low += 0x9e3779b9U;
    key_high += 0xbb67ae85U;
  }
  return counter;
}

/// The draws at one place of a search, one after the other.
class Draws {
 public:
  CALYX_HD Draws(std::uint64_t seed, std::uint32_t stream, std::uint32_t generation, std::uint32_t individual)
      : seed_(seed), place_{{stream, generation, individual, 0}} {}

  /// 64 bits.
  CALYX_HD std::uint64_t next() {
    if (left_ == 0) {
      block_ = philox(place_, static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32));
      ++place_.word[3];
      left_ = 2;
    }
    --left_;
    const std::uint32_t at = left_ == 1 ? 0 : 2;
    return std::uint64_t{block_.word[at + 1]} << 32 | block_.word[at];
  }

  /// At least 0, below 1, a multiple of 2^-53.
  CALYX_HD double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  CALYX_HD double uniform(double from, double to) { return from + (to - from) * uniform(); }

  /// Below `count`, which is below 2^32; some numbers are likelier than others by one in 2^32.
  CALYX_HD std::uint32_t below(std::uint32_t count) {
    return static_cast<std::uint32_t>((std::uint64_t{static_cast<std::uint32_t>(next() >> 32)} * count) >>
                                      32);
  }

  /// From the normal distribution with mean 0 and deviation 1 (Box and Muller's way). Two uniform draws give
  /// one of them: the second that they could give would be a state to keep.
  CALYX_HD_APART double normal() {
    const double size = 1.0 - uniform();  // above 0
    const double turn = uniform();
    return math::square_root(-2.0 * math::logarithm(size)) * math::cosine(2.0 * math::pi * turn);
  }

 private:
  std::uint64_t seed_;
  Philox4x32 place_;
  Philox4x32 block_{{0, 0, 0, 0}};
  std::uint32_t left_ = 0;
};

}  // namespace calyx::kernels
