/// \file
/// The Merkle tree of RFC 9162, section 2.1: heads, proofs that a leaf is in a tree, and proofs that a
/// tree grew out of a smaller one.
///
/// A log keeps a `Frontier` to append to and, for proofs, the hash of every complete subtree. A verifier
/// needs only `verify_inclusion` and `verify_consistency`: nothing of the log, whose every word they take
/// for hostile.
#pragma once

#include <algorithm>
#include <bit>
#include <calyx/core/digest.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core::merkle {

using Path = std::vector<Digest>;

/// No proof is longer: a tree whose size fits 64 bits has at most 64 levels, and a consistency proof
/// starts with one hash more.
inline constexpr std::size_t path_max = 65;

template <Sha256 H>
Digest empty_root(const H& sha256) {
  return sha256(std::string_view{});
}
/// The two first bytes keep a leaf from being passed off as a node.
template <Sha256 H>
Digest leaf_hash(const H& sha256, std::string_view leaf) {
  return sha256(std::string_view("\0", 1), leaf);
}
template <Sha256 H>
Digest node_hash(const H& sha256, const Digest& left, const Digest& right) {
  return sha256(std::string_view("\1", 1), left.view(), right.view());
}

/// Complete subtrees as a proof's maker asks for them: the hash of the leaves
/// [index * 2^level, (index + 1) * 2^level), all of which are in the tree.
template <class S>
concept Subtrees = requires(const S& subtree, unsigned level, std::uint64_t index) {
  { subtree(level, index) } -> std::convertible_to<Digest>;
};

/// The right edge of a growing tree: the hashes of its complete subtrees, the largest first, one for each
/// set bit of the size. Appending and the root take O(log size) hashes.
class Frontier {
 public:
  Frontier() = default;

  /// The frontier of a tree that stands elsewhere.
  template <Subtrees S>
  static Frontier of(std::uint64_t size, const S& subtree) {
    Frontier frontier;
    frontier.size_ = size;
    std::uint64_t begin = 0;
    for (unsigned level = 64; level-- > 0;) {
      const std::uint64_t width = std::uint64_t{1} << level;
      if ((size & width) == 0) continue;
      frontier.peaks_.push_back(subtree(level, begin >> level));
      begin += width;
    }
    return frontier;
  }

  std::uint64_t size() const noexcept { return size_; }
  std::span<const Digest> peaks() const noexcept { return peaks_; }

  /// Appends a leaf by its hash. `completed(level, index, digest)` hears of each subtree that it
  /// completes, from the leaf (level 0) upward: what a store keeps for proofs.
  template <Sha256 H, class Completed>
  void append(const H& sha256, Digest leaf, Completed&& completed) {
    completed(0U, size_, std::as_const(leaf));
    unsigned level = 0;
    for (std::uint64_t bits = size_; (bits & 1) != 0; bits >>= 1) {
      leaf = node_hash(sha256, peaks_.back(), leaf);
      peaks_.pop_back();
      ++level;
      completed(level, size_ >> level, std::as_const(leaf));
    }
    peaks_.push_back(leaf);
    ++size_;
  }
  template <Sha256 H>
  void append(const H& sha256, const Digest& leaf) {
    append(sha256, leaf, [](unsigned, std::uint64_t, const Digest&) {});
  }

  template <Sha256 H>
  Digest root(const H& sha256) const {
    if (peaks_.empty()) return empty_root(sha256);
    Digest root = peaks_.back();
    for (std::size_t i = peaks_.size() - 1; i-- > 0;) root = node_hash(sha256, peaks_[i], root);
    return root;
  }

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> peaks_;
};

/// A run of leaves [begin, end), where begin is a multiple of the power of two that is not below the
/// run's length: what splitting a tree as the RFC does always gives.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  std::uint64_t size() const noexcept { return end - begin; }
  /// Where the run splits: after the largest power of two below its size. Needs two leaves or more.
  std::uint64_t middle() const noexcept { return begin + std::bit_floor(size() - 1); }
};

/// The hash over a run that is not empty.
template <Sha256 H, Subtrees S>
Digest run_root(const H& sha256, Run run, const S& subtree) {
  Path peaks;
  while (run.begin < run.end) {
    const std::uint64_t width = std::bit_floor(run.size());
    const auto level = static_cast<unsigned>(std::countr_zero(width));
    peaks.push_back(subtree(level, run.begin >> level));
    run.begin += width;
  }
  Digest root = peaks.back();
  for (std::size_t i = peaks.size() - 1; i-- > 0;) root = node_hash(sha256, peaks[i], root);
  return root;
}

/// The head of the tree of the first `size` leaves.
template <Sha256 H, Subtrees S>
Digest tree_root(const H& sha256, std::uint64_t size, const S& subtree) {
  return size == 0 ? empty_root(sha256) : run_root(sha256, Run{0, size}, subtree);
}

/// The proof that leaf `index` is in the tree of `size` leaves, from the leaf's sibling upward; nothing
/// when there is no such leaf.
template <Sha256 H, Subtrees S>
std::optional<Path> inclusion_path(const H& sha256, std::uint64_t index, std::uint64_t size,
                                   const S& subtree) {
  if (index >= size) return std::nullopt;
  Path path;
  Run run{0, size};
  while (run.size() > 1) {
    const std::uint64_t middle = run.middle();
    if (index < middle) {
      path.push_back(run_root(sha256, Run{middle, run.end}, subtree));
      run.end = middle;
    } else {
      path.push_back(run_root(sha256, Run{run.begin, middle}, subtree));
      run.begin = middle;
    }
  }
  std::reverse(path.begin(), path.end());
  return path;
}

/// The proof that the tree of `old_size` leaves is the beginning of the tree of `new_size`; nothing when
/// it is the larger one. Empty when the old tree is empty or the sizes are equal.
template <Sha256 H, Subtrees S>
std::optional<Path> consistency_path(const H& sha256, std::uint64_t old_size, std::uint64_t new_size,
                                     const S& subtree) {
  if (old_size > new_size) return std::nullopt;
  Path path;
  if (old_size == 0 || old_size == new_size) return path;
  Run run{0, new_size};
  while (run.end != old_size) {
    const std::uint64_t middle = run.middle();
    if (old_size <= middle) {
      path.push_back(run_root(sha256, Run{middle, run.end}, subtree));
      run.end = middle;
    } else {
      path.push_back(run_root(sha256, Run{run.begin, middle}, subtree));
      run.begin = middle;
    }
  }
  // A run that starts at the tree's first leaf is the old tree itself, whose root the verifier has.
  if (run.begin != 0) path.push_back(run_root(sha256, run, subtree));
  std::reverse(path.begin(), path.end());
  return path;
}

/// Whether `path` proves that the leaf with hash `leaf` stands at `index` in the tree of `size` leaves
/// whose head is `root` (RFC 9162, 2.1.3.2).
template <Sha256 H>
bool verify_inclusion(const H& sha256, const Digest& leaf, std::uint64_t index, std::uint64_t size,
                      std::span<const Digest> path, const Digest& root) {
  if (index >= size || path.size() > path_max) return false;
  std::uint64_t node = index;     // its place in the level that has been reached
  std::uint64_t last = size - 1;  // the place of that level's last node
  Digest hash = leaf;
  for (const Digest& sibling : path) {
    if (last == 0) return false;
    if ((node & 1) != 0 || node == last) {
      hash = node_hash(sha256, sibling, hash);
      while ((node & 1) == 0 && node != 0) {  // the right edge has no sibling on these levels
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(sha256, hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

/// A tree's head: how many leaves, and the hash over them.
struct Head {
  std::uint64_t size = 0;
  Digest root;

  bool operator==(const Head&) const = default;
};

/// Whether `path` proves that `older` is the beginning of `newer` (RFC 9162, 2.1.4.2). The empty tree is
/// the beginning of every tree, and a tree of itself, by an empty path.
template <Sha256 H>
bool verify_consistency(const H& sha256, const Head& older, const Head& newer, std::span<const Digest> path) {
  if (older.size > newer.size || path.size() > path_max) return false;
  if (older.size == newer.size) {
    // Both may be empty: then the root is known, and must be that.
    return path.empty() && older.root == newer.root && (older.size != 0 || older.root == empty_root(sha256));
  }
  if (older.size == 0) return path.empty() && older.root == empty_root(sha256);
  std::uint64_t node = older.size - 1;
  std::uint64_t last = newer.size - 1;
  while ((node & 1) != 0) {
    node >>= 1;
    last >>= 1;
  }
  // An old tree that is a complete subtree needs no first hash: it is the old root.
  const bool complete = std::has_single_bit(older.size);
  if (!complete && path.empty()) return false;
  Digest old_hash = complete ? older.root : path.front();
  Digest new_hash = old_hash;
  for (const Digest& sibling : path.subspan(complete ? 0 : 1)) {
    if (last == 0) return false;
    if ((node & 1) != 0 || node == last) {
      old_hash = node_hash(sha256, sibling, old_hash);
      new_hash = node_hash(sha256, sibling, new_hash);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      new_hash = node_hash(sha256, new_hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == older.root && new_hash == newer.root;
}

}  // namespace calyx::core::merkle
