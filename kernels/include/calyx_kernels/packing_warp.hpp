/// \file
/// The packing verdict by a device's warps: the areas of a candidate's pairs by 32 lanes together, its circle
/// by one lane alone.
///
/// Start at `judge_areas`, then `judge_circles`. Both leave in a verdict what `evaluate` would, to the bit:
/// areas are summed in its tree, and the circle is found by its code. They are written over a warp that may
/// be a device's or `LoopWarp`, which runs the lanes one after the other, so a host without a device tests
/// them.
///
/// A warp has `each(f)`, which calls `f(lane)` for every lane, begins when all are there and lets none go on
/// before all are through; and `ballot(f)`, the lanes for which `f(lane)` is true, as bits. Within one `each`
/// no lane reads what another one writes.
///
/// Units: as in packing.hpp.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/packing.hpp"

namespace calyx::kernels::packing {

inline constexpr std::uint32_t warp_lanes = 32;

/// A warp on a host: its lanes in turn, which begin with `first`, so that a test can see whether their order
/// matters.
struct LoopWarp {
  static constexpr std::uint32_t lane_count = warp_lanes;
  std::uint32_t first = 0;

  template <class F>
  void each(F f) const {
    for (std::uint32_t i = 0; i < warp_lanes; ++i) f((i + first) % warp_lanes);
  }
  template <class F>
  std::uint32_t ballot(F f) const {
    std::uint32_t bits = 0;
    each([&](std::uint32_t lane) {
      if (f(lane)) bits |= std::uint32_t{1} << lane;
    });
    return bits;
  }
};

/// What the lanes of a warp share while they judge a candidate.
struct WarpScratch {
  Piece piece[pieces];
  double area[4 * warp_lanes];
  double largest[warp_lanes];
  std::uint8_t first[4 * warp_lanes];   ///< Of the n-th pair that is close,
  std::uint8_t second[4 * warp_lanes];  ///< the two pieces.
};

/// A pair of pieces.
struct Pair {
  std::uint32_t first;
  std::uint32_t second;
};

/// The pair with this `pair_index`.
CALYX_HD inline Pair pair_at(std::uint32_t index) {
  std::uint32_t i = 0;
  for (; index >= pieces - 1 - i; ++i) index -= pieces - 1 - i;
  return {i, i + 1 + index};
}

CALYX_HD inline std::uint32_t count_bits(std::uint32_t bits) {
  std::uint32_t count = 0;
  for (; bits != 0; bits &= bits - 1) ++count;
  return count;
}

/// Writes what the pairs of the `candidate_numbers` numbers at `candidate` say to `verdict`, and nothing else
/// of it: the areas and the overlapping pairs.
template <class Warp>
CALYX_HD inline void judge_areas(const Warp& warp, const double* candidate, WarpScratch& shared,
                                 Verdict& verdict) {
  static_assert(pairs > 3 * warp_lanes && pairs <= 4 * warp_lanes, "a lane has three or four pairs");
  warp.each([&](std::uint32_t lane) {
    if (lane < pieces)
      shared.piece[lane] = piece_at(candidate[3 * lane], candidate[3 * lane + 1], candidate[3 * lane + 2]);
    for (std::uint32_t row = 0; row < 4; ++row) shared.area[row * warp_lanes + lane] = 0.0;
  });

  // Only close pairs take long, and they are dealt out to the lanes anew, so that none is idle.
  std::uint32_t close[4];
  std::uint32_t close_count = 0;
  for (std::uint32_t row = 0; row < 4; ++row) {
    close[row] = warp.ballot([&](std::uint32_t lane) {
      const std::uint32_t index = row * warp_lanes + lane;
      if (index >= pairs) return false;
      const Pair pair = pair_at(index);
      return !(length(shared.piece[pair.second].centre - shared.piece[pair.first].centre) > 2.0);
    });
    const std::uint32_t before = close_count;
    const std::uint32_t bits = close[row];
    warp.each([&](std::uint32_t lane) {
      if (((bits >> lane) & 1U) == 0) return;
      const Pair pair = pair_at(row * warp_lanes + lane);
      const std::uint32_t at = before + count_bits(bits & ((std::uint32_t{1} << lane) - 1));
      shared.first[at] = static_cast<std::uint8_t>(pair.first);
      shared.second[at] = static_cast<std::uint8_t>(pair.second);
    });
    close_count += count_bits(bits);
  }
  for (std::uint32_t begin = 0; begin < close_count; begin += warp_lanes)
    warp.each([&](std::uint32_t lane) {
      if (begin + lane >= close_count) return;
      const std::uint32_t i = shared.first[begin + lane];
      const std::uint32_t j = shared.second[begin + lane];
      shared.area[pair_index(i, j)] = overlap_area(shared.piece[i], shared.piece[j]);
    });

  std::uint32_t overlapping[4];
  for (std::uint32_t row = 0; row < 4; ++row)
    overlapping[row] = warp.ballot(
        [&](std::uint32_t lane) { return shared.area[row * warp_lanes + lane] > overlap_area_max; });
  warp.each([&](std::uint32_t lane) {
    double largest = 0.0;
    for (std::uint32_t row = 0; row < 4; ++row)
      if (shared.area[row * warp_lanes + lane] > largest) largest = shared.area[row * warp_lanes + lane];
    shared.largest[lane] = largest;
    // The upper levels of the tree that `evaluate` sums by lie within a lane.
    shared.area[lane] += shared.area[2 * warp_lanes + lane];
    shared.area[warp_lanes + lane] += shared.area[3 * warp_lanes + lane];
    shared.area[lane] += shared.area[warp_lanes + lane];
  });
  for (std::uint32_t half = warp_lanes / 2; half > 0; half /= 2)
    warp.each([&](std::uint32_t lane) {
      if (lane >= half) return;
      shared.area[lane] += shared.area[lane + half];
      if (shared.largest[lane + half] > shared.largest[lane])
        shared.largest[lane] = shared.largest[lane + half];
    });
  warp.each([&](std::uint32_t lane) {
    if (lane != 0) return;
    verdict.overlap_total = shared.area[0];
    verdict.overlap_max = shared.largest[0];
    verdict.overlapping[0] = overlapping[0] | std::uint64_t{overlapping[1]} << 32;
    verdict.overlapping[1] = overlapping[2] | std::uint64_t{overlapping[3]} << 32;
    verdict.overlapping_count = 0;
    for (std::uint32_t row = 0; row < 4; ++row) verdict.overlapping_count += count_bits(overlapping[row]);
    verdict.close_count = close_count;
  });
}

/// Writes the rest of a verdict that `judge_areas` has begun.
CALYX_HD inline void judge_circles(const double* candidate, Verdict& verdict) {
  Piece piece[pieces];
  for (std::uint32_t i = 0; i < pieces; ++i)
    piece[i] = piece_at(candidate[3 * i], candidate[3 * i + 1], candidate[3 * i + 2]);
  judge_circle(piece, verdict);
}

}  // namespace calyx::kernels::packing
