/// \file
/// Who does the work of a search: one thread, or a device's warp, whose lanes share it.
///
/// The code of a search is written once, over a crew, and gives the same bits with any. A warp's lanes all
/// run it, so what holds for `Alone` trivially is a rule:
/// - memory that the crew shares is written in what is handed to `each`, `once` and their like, and nowhere
///   else; nobody reads in one what another lane writes in the same;
/// - what is read from it elsewhere, and all that is computed from that, is the same in every lane;
/// - a variable of the lane's own is never written in them: only some lanes would.
/// Each of them begins when all lanes are there, and ends when all are through.
///
/// Start at `Alone`. `LanesCrew` (packing_lanes.hpp) is a host's thread with all that a search asks for,
/// `WarpCrew` (packing_warp_crew.hpp) a warp.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"

namespace calyx::kernels::packing {

/// The place of the pair (i, j), i < j, of `count` pieces.
CALYX_HD constexpr std::uint32_t pair_index(std::uint32_t i, std::uint32_t j, std::uint32_t count) {
  return i * (2 * count - i - 1) / 2 + (j - i - 1);
}

/// One thread, which does everything itself.
class Alone {
 public:
  /// Calls `f(i)` for each i below `count`.
  template <class F>
  CALYX_HD void each(std::uint32_t count, F f) const {
    for (std::uint32_t i = 0; i < count; ++i) f(i);
  }
  template <class F>
  CALYX_HD void once(F f) const {
    f();
  }
  /// What `f()` says to one of the crew, for all.
  template <class F>
  CALYX_HD bool agreed(F f) const {
    return f();
  }
  /// Calls `f(i, j)` for each pair of `count` pieces, i < j.
  template <class F>
  CALYX_HD void each_pair(std::uint32_t count, F f) const {
    for (std::uint32_t i = 0; i < count; ++i)
      for (std::uint32_t j = i + 1; j < count; ++j) f(i, j);
  }
  /// Writes `area(i, j)` of the pairs for which `close(i, j)`, and 0 of the others, at their places; `out`
  /// has zeros there. False as soon as the areas, added up in this order, are more than `most`.
  template <class Close, class Area>
  CALYX_HD bool areas(std::uint32_t count, Close close, Area area, double* out, double most) const {
    double sum = 0.0;
    for (std::uint32_t i = 0; i < count; ++i) {
      for (std::uint32_t j = i + 1; j < count; ++j) {
        if (!close(i, j)) continue;
        const double shared = area(i, j);
        out[pair_index(i, j, count)] = shared;
        sum += shared;
        if (sum > most) return false;
      }
    }
    return true;
  }
  /// The largest of numbers that are not below 0; 0 where there are none.
  CALYX_HD double largest_of(const double* numbers, std::uint32_t count) const {
    double largest = 0.0;
    for (std::uint32_t i = 0; i < count; ++i)
      if (numbers[i] > largest) largest = numbers[i];
    return largest;
  }
};

}  // namespace calyx::kernels::packing
