/// \file
/// A range cut into chunks: every index in one of them, in order.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <cstdint>

namespace calyx::core {

/// Indices from `start` up to `end`, which is not among them.
struct Chunk {
  std::uint64_t start = 0;
  std::uint64_t end = 0;

  constexpr std::uint64_t size() const noexcept { return end - start; }
  bool operator==(const Chunk&) const = default;
};

/// Chunk `index` of `chunks` that share `total` evenly: sizes differ by at most one, the larger ones come
/// first. `index` is below `chunks`.
constexpr Chunk even_chunk(std::uint64_t total, std::uint64_t chunks, std::uint64_t index) noexcept {
  const std::uint64_t size = total / chunks;
  const std::uint64_t larger = total % chunks;
  const std::uint64_t start = index * size + std::min(index, larger);
  return {start, start + size + (index < larger ? 1 : 0)};
}

/// How many chunks of `size` cover `total`; the last may be smaller.
constexpr std::uint64_t sized_chunks(std::uint64_t total, std::uint64_t size) noexcept {
  return total / size + (total % size != 0 ? 1 : 0);
}
/// Chunk `index` of those.
constexpr Chunk sized_chunk(std::uint64_t total, std::uint64_t size, std::uint64_t index) noexcept {
  const std::uint64_t start = index * size;
  return {start, start + std::min(size, total - start)};
}

}  // namespace calyx::core
