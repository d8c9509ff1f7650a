/// \file
/// Freivalds' method: whether one matrix is the product of two others, in the time that reading them takes.
///
/// Both sides of c = a b are multiplied by a vector of chance: c r is compared with a (b r). A wrong c passes
/// one round with a probability of at most 1 / `freivalds_values`, whatever is wrong in it, as the vector's
/// entries are uniform among that many. Entries of a and b are small whole numbers, so that every sum is one
/// too and nothing is rounded: neither here nor, below 2^24, in single precision. Source: R. Freivalds,
/// Probabilistic machines can use less running time (IFIP 1977).
///
/// Start at `probe_entry` and `product_holds`.
///
/// Threads: any; `product_holds` allocates its vectors and throws `std::bad_alloc` alone.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "calyx_kernels/host_device.hpp"

namespace calyx::kernels {

/// Entries of the matrices lie within this, both signs.
inline constexpr std::int64_t probe_entry_max = 8;
/// What an entry of the vector is one of.
inline constexpr std::uint32_t freivalds_values = 1U << 20;
/// Of the matrices: with more, single precision would round.
inline constexpr std::uint32_t freivalds_size_max = 16'384;
static_assert(std::int64_t{freivalds_size_max} * probe_entry_max * probe_entry_max < (std::int64_t{1} << 24));

/// A hash of two words: splitmix64's, of the index-th number of its stream.
CALYX_HD inline std::uint64_t mixed_word(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Entry `index`, row by row, of the matrix that `seed` makes: a whole number from -8 to 8.
CALYX_HD inline std::int32_t probe_entry(std::uint64_t seed, std::uint64_t index) {
  return static_cast<std::int32_t>(mixed_word(seed, index) % (2 * probe_entry_max + 1)) -
         static_cast<std::int32_t>(probe_entry_max);
}

/// Whether the `size` by `size` matrix at `c`, row by row, is the product of those that the seeds `a` and `b`
/// make, by `rounds` rounds with vectors of `seed`. An entry that no product can have is wrong at once.
template <class Entry>
bool product_holds(std::uint64_t a, std::uint64_t b, const Entry* c, std::uint32_t size, std::uint64_t seed,
                   std::uint32_t rounds) {
  constexpr double entry_max = static_cast<double>(freivalds_size_max) * probe_entry_max * probe_entry_max;
  std::vector<std::int64_t> r(size), through(size);
  for (std::uint32_t round = 0; round < rounds; ++round) {
    for (std::uint32_t i = 0; i < size; ++i)
      r[i] = static_cast<std::int64_t>(mixed_word(seed, std::uint64_t{round} * size + i) % freivalds_values);
    // Below 2^38 in size, and then below 2^55.
    for (std::uint64_t i = 0; i < size; ++i) {
      std::int64_t sum = 0;
      for (std::uint64_t j = 0; j < size; ++j) sum += probe_entry(b, i * size + j) * r[j];
      through[i] = sum;
    }
    for (std::uint64_t i = 0; i < size; ++i) {
      std::int64_t expected = 0;
      std::int64_t found = 0;
      for (std::uint64_t j = 0; j < size; ++j) {
        const auto entry = static_cast<double>(c[i * size + j]);
        if (!(entry >= -entry_max && entry <= entry_max)) return false;
        const auto whole = static_cast<std::int64_t>(entry);
        if (static_cast<double>(whole) != entry) return false;
        expected += probe_entry(a, i * size + j) * through[j];
        found += whole * r[j];
      }
      if (expected != found) return false;
    }
  }
  return true;
}

}  // namespace calyx::kernels
