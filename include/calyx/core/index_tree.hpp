/// \file
/// A reduction as one fixed binary tree over the indices of tasks. Which values meet where follows from their
/// indices alone, so a sum of doubles is the same to the bit whatever was finished first and however the
/// tasks were shared out among partial reductions.
///
/// Start at `IndexTree::add`.
///
/// Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace calyx::core {

/// The states of a stretch of indices, merged as far as the tree allows within it: a node covers 2^level
/// indices and begins at a multiple of that. `State` has `merge(State&&)`, which takes in its right
/// neighbour. At most two nodes a level are kept, so memory is that of some hundred states.
template <class State>
class IndexTree {
 public:
  explicit IndexTree(std::uint64_t first = 0) noexcept : begin_(first), end_(first) {}

  /// The index that comes next.
  std::uint64_t end() const noexcept { return end_; }
  std::uint64_t begin() const noexcept { return begin_; }

  /// Puts the state of index `end()`.
  void add(State state) {
    push(Node{0, end_, std::move(state)});
    ++end_;
  }

  /// Puts the stretch that begins at `end()`.
  void add(IndexTree&& right) {
    for (Node& node : right.nodes_) push(std::move(node));
    end_ = right.end_;
  }

  /// All of it as one state, or `State()` of nothing. What has no sibling yet joins its left neighbour, from
  /// the right end on: the shape of the tree for this number of tasks.
  State finish() && {
    if (nodes_.empty()) return State();
    while (nodes_.size() > 1) {
      State last = std::move(nodes_.back().state);
      nodes_.pop_back();
      nodes_.back().state.merge(std::move(last));
    }
    return std::move(nodes_.back().state);
  }

 private:
  struct Node {
    unsigned level;
    std::uint64_t first;
    State state;
  };

  void push(Node node) {
    while (!nodes_.empty() && nodes_.back().level == node.level && (node.first >> node.level) % 2 == 1) {
      Node left = std::move(nodes_.back());
      nodes_.pop_back();
      left.state.merge(std::move(node.state));
      ++left.level;
      node = std::move(left);
    }
    nodes_.push_back(std::move(node));
  }

  std::vector<Node> nodes_;  ///< From left to right, without a gap.
  std::uint64_t begin_;
  std::uint64_t end_;
};

}  // namespace calyx::core
