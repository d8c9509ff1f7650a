/// \file
/// Packings judged as the challenge's scorer judges them: by polygons drawn into the pieces.
///
/// The scorer puts `arc_points` points on each arc, at equal angles and with both ends, and joins them; two
/// pieces overlap when their polygons share more than `overlap_area_max`. A polygon has 1.541e-7 less than
/// its piece, so what it says of two pieces is smaller by up to twice that; near the limit, where pieces
/// touch, by some 3e-9. The exact areas of packing.hpp decide alike outside of that band.
///
/// Units: as in packing.hpp.
/// Threads: any. On the CPU alone; the bits are a function of the numbers, as there. Polygons of the same
/// pieces whose corners are rounded otherwise, as the scorer's are, share the same within 1e-14 while the
/// pieces lie within a few radii of the origin.

#pragma once

#include "calyx_kernels/packing.hpp"
#include "calyx_kernels/packing_objective.hpp"

namespace calyx::kernels::packing {

/// Corners of a piece's polygon; the challenge's number.
inline constexpr std::uint32_t arc_points = 4096;

/// The area that the polygons of two pieces share. Up to half a millisecond.
double polygon_overlap(const Piece& a, const Piece& b);

/// Writes what the polygons of each pair of `count` pieces share, at `pair_index(i, j, count)`; 0 for pieces
/// that share nothing themselves. `count` is at most `pieces_max`.
void polygon_areas(const Piece* piece, std::uint32_t count, double* area);

/// As `evaluate`, with the polygons' areas in the place of the pieces'.
Verdict evaluate_polygons(const double* candidate);

}  // namespace calyx::kernels::packing
