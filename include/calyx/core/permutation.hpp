/// \file
/// A keyed permutation of 0 to n - 1 that is computed, not stored: it draws distinct points of a grid of any
/// size without a list.
///
/// Threads: values.
#pragma once

#include <bit>
#include <cstdint>

namespace calyx::core {

/// A Feistel network over the smallest even number of bits that holds n values; what falls outside walks on
/// along its cycle until it is inside, under four steps on average. Each round is undone by itself, so every
/// index has one image and every image one index. It is a draw that anybody can repeat, and no cipher.
class Permutation {
 public:
  /// Units: `size` is at least 1 and at most 2^63.
  constexpr Permutation(std::uint64_t size, std::uint64_t seed) noexcept
      : size_(size), half_bits_((static_cast<unsigned>(std::bit_width(size - 1)) + 1) / 2) {
    if (half_bits_ == 0) half_bits_ = 1;
    // Two keys that are near each other must give rounds that are not.
    for (std::uint64_t& key : keys_) key = seed = mixed(seed + 0x9E3779B97F4A7C15);
  }

  constexpr std::uint64_t size() const noexcept { return size_; }

  /// Where `index`, which is below `size()`, goes.
  constexpr std::uint64_t operator()(std::uint64_t index) const noexcept {
    do index = once(index);
    while (index >= size_);
    return index;
  }

 private:
  static constexpr unsigned rounds = 6;

  /// The finalizer of splitmix64: each bit of `x` reaches each of the outcome.
  static constexpr std::uint64_t mixed(std::uint64_t x) noexcept {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  constexpr std::uint64_t once(std::uint64_t index) const noexcept {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = index >> half_bits_;
    std::uint64_t right = index & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = left ^ (mixed(right ^ key) & mask);
      left = right;
      right = next;
    }
    return left << half_bits_ | right;
  }

  std::uint64_t size_;
  unsigned half_bits_;
  std::uint64_t keys_[rounds]{};
};

}  // namespace calyx::core
