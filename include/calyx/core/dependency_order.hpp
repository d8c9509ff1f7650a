/// \file
/// An order for things that need each other, or the circle that leaves none.
///
/// Source: A. B. Kahn, Topological sorting of large networks, Communications of the ACM 5 (1962).
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <queue>
#include <span>
#include <vector>

namespace calyx::core {

/// One of the two is empty, both where there is nothing to order.
struct DependencyOrder {
  std::vector<std::size_t> order;  ///< All of them, each behind what it needs.
  /// Each needs the next one, and the last is the first again. It begins with its lowest index.
  std::vector<std::size_t> cycle;
};

/// Puts 0 to `needs.size() - 1` in order, where `needs[i]` are those that come before `i`: of all that may be
/// next the lowest index is, so what needs nothing keeps its place. A need may be named twice. Each need is
/// below `needs.size()`.
inline DependencyOrder dependency_order(std::span<const std::vector<std::size_t>> needs) {
  DependencyOrder out;
  std::vector<std::size_t> unmet(needs.size());
  std::vector<std::vector<std::size_t>> needed_by(needs.size());
  for (std::size_t i = 0; i < needs.size(); ++i) {
    unmet[i] = needs[i].size();
    for (const std::size_t need : needs[i]) needed_by[need].push_back(i);
  }
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> next;
  for (std::size_t i = 0; i < needs.size(); ++i)
    if (unmet[i] == 0) next.push(i);
  out.order.reserve(needs.size());
  while (!next.empty()) {
    const std::size_t one = next.top();
    next.pop();
    out.order.push_back(one);
    for (const std::size_t after : needed_by[one])
      if (--unmet[after] == 0) next.push(after);
  }
  if (out.order.size() == needs.size()) return out;

  // What is left needs something that is left, so following the needs leads into a circle.
  out.order.clear();
  std::size_t at = 0;
  while (unmet[at] == 0) ++at;
  std::vector<bool> seen(needs.size());
  std::vector<std::size_t>& path = out.cycle;
  for (; !seen[at]; at = *std::find_if(needs[at].begin(), needs[at].end(),
                                       [&](std::size_t need) { return unmet[need] != 0; })) {
    seen[at] = true;
    path.push_back(at);
  }
  path.erase(path.begin(), std::find(path.begin(), path.end(), at));
  std::rotate(path.begin(), std::min_element(path.begin(), path.end()), path.end());
  path.push_back(path.front());
  return out;
}

}  // namespace calyx::core
