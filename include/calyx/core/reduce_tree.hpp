/// \file
/// A reduction by a command, as tasks behind those that it reduces: level after level, each task takes
/// `fan_in` results that stand side by side, until one is left.
///
/// Of 5 results with a fan-in of 2 these are tasks 5 to 10: 5 takes 0 and 1, 6 takes 2 and 3, 7 takes 4
/// alone; 8 takes 5 and 6, 9 takes 7; 10 takes 8 and 9. Which task takes what follows from its index, so
/// whatever order they end in gives the same result.
///
/// Threads: values.
#pragma once

#include <calyx/core/chunks.hpp>
#include <cstdint>

namespace calyx::core {

class ReduceTree {
 public:
  /// Over `leaves` results, at least one; `fan_in` is at least 2.
  constexpr ReduceTree(std::uint64_t leaves, std::uint64_t fan_in) noexcept
      : leaves_(leaves), fan_in_(fan_in) {}

  /// The tasks of level `number`; level 0 is what is reduced. Empty behind the last.
  constexpr Chunk level(unsigned number) const noexcept {
    Chunk out{0, leaves_};
    for (unsigned i = 0; i < number; ++i) {
      if (i > 0 && out.size() <= 1) return {out.end, out.end};
      out = {out.end, out.end + sized_chunks(out.size(), fan_in_)};
    }
    return out;
  }
  /// The level that task `index` is of, which is below `tasks()`.
  constexpr unsigned level_of(std::uint64_t index) const noexcept {
    unsigned number = 0;
    while (index >= level(number).end) ++number;
    return number;
  }
  /// All of them, the leaves among them. Even a single result is reduced, by one task.
  constexpr std::uint64_t tasks() const noexcept {
    unsigned number = 1;
    while (level(number).size() > 1) ++number;
    return level(number).end;
  }
  /// The tasks whose results task `index` takes; none for a leaf.
  constexpr Chunk inputs(std::uint64_t index) const noexcept {
    const unsigned number = level_of(index);
    if (number == 0) return {};
    const Chunk below = level(number - 1);
    const Chunk taken = sized_chunk(below.size(), fan_in_, index - level(number).start);
    return {below.start + taken.start, below.start + taken.end};
  }
  /// The end of what may be handed out from task `fresh` on where `ended` tasks have ended: a level begins
  /// when all before it have.
  constexpr std::uint64_t open_until(std::uint64_t fresh, std::uint64_t ended) const noexcept {
    const Chunk now = level(level_of(fresh));
    return now.start != 0 && ended < now.start ? fresh : now.end;
  }

 private:
  std::uint64_t leaves_;
  std::uint64_t fan_in_;
};

}  // namespace calyx::core
