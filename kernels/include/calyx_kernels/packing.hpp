/// \file
/// The packing recipe's one element rule: fifteen unit semicircles in the smallest circle.
///
/// A candidate is 45 numbers, x0, y0, theta0, x1, and so on: for each piece the centre of its full disk and
/// the direction of its curved side; the flat side passes through the centre, at right angles to that
/// direction. The score is the radius of the smallest circle around all pieces, and lower is better; a
/// candidate is valid when no two pieces share more than `overlap_area_max`.
///
/// Start at `check_candidate`, then `evaluate`. The challenge judges numbers rounded to six decimals:
/// `round_candidate` gives those.
///
/// Units: lengths in radii of a piece, angles in radians, areas in squared radii.
/// Threads: any; nothing here allocates, and every loop has a fixed limit and a fixed order, so the verdict's
/// bytes are a function of the candidate's bytes alone (see math.hpp for the flags that this takes).

#pragma once

#include <cstddef>
#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"
#include "calyx_kernels/recipe.hpp"

namespace calyx::kernels::packing {

inline constexpr std::uint32_t pieces = 15;
inline constexpr std::size_t candidate_numbers = 45;
inline constexpr std::uint32_t pairs = 105;
/// The most pieces that anything here takes; the challenge has `pieces`.
inline constexpr std::uint32_t pieces_max = 32;
/// The common area that two pieces may have; the challenge's number.
inline constexpr double overlap_area_max = 1e-6;
/// How far a boundary point may stick out of the circle; the challenge's number.
inline constexpr double containment_slack = 1e-9;
/// The largest x or y taken: beyond it a double no longer carries the six decimals that are scored.
inline constexpr double coordinate_max = 1e9;
/// An area below this is reported as 0, because rounding alone gives as much.
inline constexpr double area_floor = 1e-15;

/// A point, or the way from one point to another.
struct Vector {
  double x;
  double y;
};

CALYX_HD inline Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y}; }
CALYX_HD inline Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y}; }
CALYX_HD inline Vector operator*(double s, Vector a) { return {s * a.x, s * a.y}; }
CALYX_HD inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y; }
CALYX_HD inline double cross(Vector a, Vector b) { return a.x * b.y - a.y * b.x; }
CALYX_HD inline double length(Vector a) { return math::square_root(dot(a, a)); }
/// `a` turned a quarter to the left.
CALYX_HD inline Vector left_of(Vector a) { return {-a.y, a.x}; }

/// A unit semicircle.
struct Piece {
  Vector centre;
  Vector facing;  ///< Of length 1: from the centre to the middle of the arc.
};

/// A circle around the pieces.
struct Circle {
  Vector centre;
  double radius;
};

/// What the rule says of one candidate. It has no padding, so two verdicts are alike when their bytes are.
struct Verdict {
  Circle circle;         ///< The smallest one; its radius is the score of a valid candidate.
  double overlap_total;  ///< The sum of the areas that pairs share.
  double overlap_max;    ///< The largest of them.
  /// A bit for each pair that overlaps: pair (i, j), i < j, is bit `pair_index(i, j)`, counted from the
  /// lowest bit of the first word.
  std::uint64_t overlapping[2];
  std::uint32_t overlapping_count;  ///< How many bits `overlapping` has.
  std::uint32_t close_count;  ///< How many pairs have centres at most 2 apart; the others cannot overlap.
  std::uint32_t contained;    ///< 1 when no piece sticks out of `circle`.
  std::uint32_t valid;        ///< 1 when nothing overlaps and all is contained.
};
static_assert(sizeof(Verdict) == 72, "a verdict is compared by its bytes");

/// The place of the pair (i, j), i < j, among the 105: (0,1), (0,2), ..., (0,14), (1,2), ...
CALYX_HD constexpr std::uint32_t pair_index(std::uint32_t i, std::uint32_t j) {
  return i * (2 * pieces - i - 1) / 2 + (j - i - 1);
}

/// Whether pair (i, j), i < j, overlaps in `verdict`.
CALYX_HD constexpr bool overlaps(const Verdict& verdict, std::uint32_t i, std::uint32_t j) {
  const std::uint32_t index = pair_index(i, j);
  return ((verdict.overlapping[index / 64] >> (index % 64)) & 1U) != 0;
}

/// Whether `evaluate` takes these `count` numbers; nothing is read when the count is wrong.
///
/// Returns, in the order checked: `wrong_length`, `not_finite`, `out_of_range` (an x or y beyond
/// `coordinate_max`; an angle may be any finite number), `ok`.
CALYX_HD inline Code check_candidate(const double* candidate, std::size_t count) {
  if (count != candidate_numbers) return Code::wrong_length;
  for (std::size_t i = 0; i < count; ++i)
    if (!math::is_finite(candidate[i])) return Code::not_finite;
  for (std::size_t i = 0; i < count; ++i)
    if (i % 3 != 2 && math::absolute(candidate[i]) > coordinate_max) return Code::out_of_range;
  return Code::ok;
}

/// The double nearest to `value` written with six decimals, the decimal being correctly rounded, ties to
/// even. Zero comes back without a sign.
CALYX_HD inline double round6(double value) {
  constexpr double steps = 1e6;
  const double size = math::absolute(value);
  // From here up doubles are further apart than twice the rounding, so the nearest one is the number itself.
  if (size >= 0x1p33) return value;
  // The product's own rounding error decides what looks like a tie.
  const math::Sum scaled = math::product(size, steps);
  constexpr double integers = 0x1p52;  // adding it rounds to a whole number, ties to even
  double whole = scaled.high < integers ? (scaled.high + integers) - integers : scaled.high;
  const double rest = scaled.high - whole;
  if (rest == 0.5 && scaled.low > 0.0) whole += 1.0;
  if (rest == -0.5 && scaled.low < 0.0) whole -= 1.0;
  const double rounded = whole / steps;
  return value < 0.0 && rounded != 0.0 ? -rounded : rounded;
}

/// Writes the `candidate_numbers` numbers that the challenge scores: `candidate`, each rounded to six
/// decimals.
CALYX_HD inline void round_candidate(const double* candidate, double* out) {
  for (std::size_t i = 0; i < candidate_numbers; ++i) out[i] = round6(candidate[i]);
}

CALYX_HD inline Piece piece_at(double x, double y, double theta) {
  const math::Unit unit = math::direction(theta);
  return {{x, y}, {unit.x, unit.y}};
}

/// What the arc of one piece adds to the boundary of a common region.
struct ArcShare {
  double angle;  ///< Its length.
  Vector span;   ///< The sum of the ways from the start to the end of each stretch.
};

/// The part of an arc that lies inside something convex, by where the arc enters and leaves it: each a key
/// that grows along the arc from -1 to 1, and which of them were met.
struct Window {
  double enters;
  double leaves;
  bool has_enters;
  bool has_leaves;
  bool otherwise;  ///< When neither is met: whether the whole arc is inside.
};

/// Whether the stretch of arc between two neighbouring keys is inside. Only keys are compared, never points,
/// so both curves that meet in a crossing agree on it even where they touch and a point could fall on either
/// side.
CALYX_HD inline bool inside(const Window& window, double from, double to) {
  if (window.has_enters && window.has_leaves) {
    if (window.enters <= window.leaves) return from >= window.enters && to <= window.leaves;
    return from >= window.enters || to <= window.leaves;
  }
  if (window.has_enters) return from >= window.enters;
  if (window.has_leaves) return to <= window.leaves;
  return window.otherwise;
}

/// The points of an arc at which it may enter or leave another piece, in order.
struct ArcPoints {
  static constexpr std::uint32_t count_max = 7;
  Vector point[count_max];
  double key[count_max];
  std::uint32_t count;
};

/// Adds `point`, of the unit circle, to the points of the arc that looks towards `facing`, unless it is not
/// on it. Writes its key, the tangent of half its angle, which tells neighbours apart at both ends of the
/// arc.
CALYX_HD inline bool insert(ArcPoints& arc, Vector facing, Vector point, double& key) {
  const double forward = dot(point, facing);
  if (!(forward > 0.0)) return false;
  key = cross(facing, point) / (1.0 + forward);
  std::uint32_t at = arc.count++;
  for (; at > 0 && arc.key[at - 1] > key; --at) {
    arc.key[at] = arc.key[at - 1];
    arc.point[at] = arc.point[at - 1];
  }
  arc.key[at] = key;
  arc.point[at] = point;
  return true;
}

/// The stretches of the arc of a piece at the origin which lie inside `other`, whose centre is given relative
/// to that origin, not further than 2 and not at it.
CALYX_HD inline ArcShare arc_inside(Vector facing, const Piece& other) {
  const Vector left = left_of(facing);
  const Vector away = other.centre;
  const double distance_squared = dot(away, away);
  // The other's flat side is on the line `other.facing . p = depth`.
  const double depth = dot(away, other.facing);

  // The middle is a point too, so that no stretch is longer than a quarter turn.
  ArcPoints arc{{Vector{0.0, 0.0} - left, facing, left}, {-1.0, 0.0, 1.0}, 3};
  Window disk{0.0, 0.0, false, false, false};
  if (distance_squared < 4.0) {
    disk.otherwise = dot(facing, away) >= 0.5 * distance_squared;
    const double reach = math::square_root((1.0 - 0.25 * distance_squared) / distance_squared);
    const Vector across = reach * left_of(away);
    disk.has_enters = insert(arc, facing, 0.5 * away - across, disk.enters);
    disk.has_leaves = insert(arc, facing, 0.5 * away + across, disk.leaves);
  }
  Window half_plane{0.0, 0.0, false, false, depth <= -1.0};
  if (depth > -1.0 && depth < 1.0) {
    half_plane.otherwise = dot(facing, other.facing) >= depth;
    const double reach = math::square_root((1.0 - depth) * (1.0 + depth));
    const Vector across = reach * left_of(other.facing);
    half_plane.has_enters = insert(arc, facing, depth * other.facing - across, half_plane.enters);
    half_plane.has_leaves = insert(arc, facing, depth * other.facing + across, half_plane.leaves);
  }

  ArcShare share{0.0, {0.0, 0.0}};
  for (std::uint32_t i = 0; i + 1 < arc.count; ++i) {
    if (!inside(disk, arc.key[i], arc.key[i + 1]) || !inside(half_plane, arc.key[i], arc.key[i + 1]))
      continue;
    const Vector from = arc.point[i];
    const Vector to = arc.point[i + 1];
    share.angle += math::angle_of(dot(from, to), cross(from, to));
    share.span = share.span + (to - from);
  }
  return share;
}

/// The area that two pieces share, within `area_floor`.
///
/// The common region is convex, bounded by stretches of the two arcs and of the two flat sides, and Green's
/// theorem turns its area into a sum over them. With the origin in the centre of `a` the flat side of `a`
/// adds nothing.
CALYX_HD inline double overlap_area(const Piece& a, const Piece& b) {
  const Vector away = b.centre - a.centre;
  const double distance_squared = dot(away, away);
  if (distance_squared > 4.0) return 0.0;
  double area = 0.0;
  if (distance_squared < 1e-32) {
    // One disk: two of its halves share what their directions leave of half a turn.
    area =
        0.5 * (math::pi - math::angle_of(dot(a.facing, b.facing), math::absolute(cross(a.facing, b.facing))));
  } else {
    const ArcShare of_a = arc_inside(a.facing, {away, b.facing});
    const ArcShare of_b = arc_inside(b.facing, {Vector{0.0, 0.0} - away, a.facing});

    // The flat side of b: the points away + s * along with s from `low` to `high` are inside a.
    const Vector along = left_of(b.facing);
    const double depth = dot(away, b.facing);
    double flat = 0.0;
    if (depth > -1.0 && depth < 1.0) {
      const double middle = -dot(away, along);
      const double reach = math::square_root((1.0 - depth) * (1.0 + depth));
      double low = middle - reach > -1.0 ? middle - reach : -1.0;
      double high = middle + reach < 1.0 ? middle + reach : 1.0;
      const double slope = dot(along, a.facing);
      const double start = dot(away, a.facing);
      if (slope > 0.0) {
        const double edge = -start / slope;
        if (edge > low) low = edge;
      } else if (slope < 0.0) {
        const double edge = -start / slope;
        if (edge < high) high = edge;
      } else if (start < 0.0) {
        high = low;
      }
      if (high > low) flat = high - low;
    }
    area = 0.5 * (((of_a.angle + of_b.angle) + cross(away, of_b.span)) - depth * flat);
  }
  return area < area_floor ? 0.0 : area;
}

/// A boundary point of a piece, and what it stands for: the arc's disk, or itself.
struct Touch {
  Vector point;
  Vector centre;  ///< Of the disk, or the point.
  double radius;  ///< 1 on an arc, 0 in a corner.
  std::uint32_t piece;
};

/// The point of `piece` that is furthest from `from`: opposite on the arc, or else a corner.
CALYX_HD inline Touch furthest_of(const Piece& piece, std::uint32_t index, Vector from) {
  const Vector away = piece.centre - from;
  if (dot(away, piece.facing) >= 0.0) {
    const double size = length(away);
    const Vector direction = size > 0.0 ? (1.0 / size) * away : piece.facing;
    return {piece.centre + direction, piece.centre, 1.0, index};
  }
  const Vector side = left_of(piece.facing);
  const Vector corner = dot(away, side) >= 0.0 ? piece.centre + side : piece.centre - side;
  return {corner, corner, 0.0, index};
}

CALYX_HD inline double distance_to(const Touch& touch, Vector from) {
  return length(touch.centre - from) + touch.radius;
}

/// The point of all `count` pieces that is furthest from `from`; of equals, the first piece's.
CALYX_HD inline Touch furthest_of_all(const Piece* piece, Vector from, std::uint32_t count = pieces) {
  Touch best = furthest_of(piece[0], 0, from);
  double best_distance = distance_to(best, from);
  for (std::uint32_t i = 1; i < count; ++i) {
    const Touch touch = furthest_of(piece[i], i, from);
    const double distance = distance_to(touch, from);
    if (distance > best_distance) {
      best = touch;
      best_distance = distance;
    }
  }
  return best;
}

/// At most three points and the smallest circle around them.
struct Support {
  Touch touch[3];
  std::uint32_t count;
  Circle circle;
};

/// The centre of the circle through three points, or the first one when they lie on a line.
CALYX_HD inline Vector centre_through(Vector a, Vector b, Vector c) {
  const Vector ab = b - a;
  const Vector ac = c - a;
  const double twice = 2.0 * cross(ab, ac);
  if (twice == 0.0) return a;
  const double ab_squared = dot(ab, ab);
  const double ac_squared = dot(ac, ac);
  const Vector to_centre{(ac.y * ab_squared - ab.y * ac_squared) / twice,
                         (ab.x * ac_squared - ac.x * ab_squared) / twice};
  return a + to_centre;
}

/// The smallest circle around `count` points, 2 to 4, and the two or three that hold it.
///
/// Every pair and every three of them propose a centre, and the one from which the furthest point is nearest
/// wins: this needs no tolerance, and of equals the first wins.
CALYX_HD inline Support smallest_around(const Touch* touch, std::uint32_t count) {
  Support best{};
  best.circle.radius = -1.0;
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = i + 1; j < count; ++j) {
      // k == j stands for the pair alone.
      for (std::uint32_t k = j; k < count; ++k) {
        const Vector centre = k == j ? 0.5 * (touch[i].point + touch[j].point)
                                     : centre_through(touch[i].point, touch[j].point, touch[k].point);
        double furthest_squared = 0.0;
        for (std::uint32_t n = 0; n < count; ++n) {
          const Vector away = touch[n].point - centre;
          const double squared = dot(away, away);
          if (squared > furthest_squared) furthest_squared = squared;
        }
        const double radius = math::square_root(furthest_squared);
        if (best.circle.radius >= 0.0 && !(radius < best.circle.radius)) continue;
        best.touch[0] = touch[i];
        best.touch[1] = touch[j];
        best.touch[2] = touch[k];
        best.count = k == j ? 2 : 3;
        best.circle = {centre, radius};
      }
    }
  }
  return best;
}

/// The centre of the smallest circle that the disks behind two touches touch from inside; writes none or one.
CALYX_HD inline std::uint32_t centre_touching(const Touch& first, const Touch& second, Vector* out) {
  const Vector way = second.centre - first.centre;
  const double distance = length(way);
  const double larger = second.radius - first.radius;
  if (!(distance > math::absolute(larger))) return 0;
  *out = first.centre + (0.5 * (distance + larger) / distance) * way;
  return 1;
}

/// The centres of the circles that the disks behind three touches touch from inside; writes none, one or two.
CALYX_HD inline std::uint32_t centres_touching(const Touch& first, const Touch& second, const Touch& third,
                                               Vector* out) {
  const Vector b = second.centre - first.centre;
  const double b_radius = second.radius - first.radius;
  // With the first centre as origin and s the radius less the first one's: |p| = s, and for the others
  // b . p - s * b_radius = (|b|^2 - b_radius^2) / 2. So p = base + s * slope, and s solves a square equation.
  const Vector c = third.centre - first.centre;
  const double c_radius = third.radius - first.radius;
  const double determinant = cross(b, c);
  if (determinant == 0.0) return 0;
  const double b_side = 0.5 * (dot(b, b) - b_radius * b_radius);
  const double c_side = 0.5 * (dot(c, c) - c_radius * c_radius);
  const Vector base{(b_side * c.y - c_side * b.y) / determinant, (b.x * c_side - c.x * b_side) / determinant};
  const Vector slope{(b_radius * c.y - c_radius * b.y) / determinant,
                     (b.x * c_radius - c.x * b_radius) / determinant};
  const double square = dot(slope, slope) - 1.0;
  const double half_linear = dot(base, slope);
  const double constant = dot(base, base);
  const double discriminant = half_linear * half_linear - square * constant;
  if (discriminant < 0.0) return 0;
  const double root = math::square_root(discriminant);
  // The root with the larger sum first, the other from the product of the two: neither cancels.
  const double sum = half_linear < 0.0 ? root - half_linear : -half_linear - root;
  std::uint32_t count = 0;
  if (square != 0.0) out[count++] = first.centre + (base + (sum / square) * slope);
  if (sum != 0.0) out[count++] = first.centre + (base + (constant / sum) * slope);
  return count;
}

/// The smallest circle around `count` pieces, at most `pieces_max`, and the points that hold it; the circle's
/// radius is the distance to the furthest boundary point.
///
/// A few boundary points are held, at most three, and the smallest circle around them can only be too small.
/// Each round first slides them along their arcs to where the disks behind them would touch the circle, which
/// finds the exact answer once the right pieces are held; then the point of all pieces that sticks out most
/// joins. The circle never shrinks, so the rounds end in the answer; in practice they are 2 to 6, and more
/// only where many disks nearly coincide.
CALYX_HD inline Support enclosing_support(const Piece* given, std::uint32_t count) {
  // Seen from the first piece, so that a layout far from the origin loses no digits.
  Piece piece[pieces_max];
  Vector mean{0.0, 0.0};
  for (std::uint32_t i = 0; i < count; ++i) {
    piece[i] = {given[i].centre - given[0].centre, given[i].facing};
    mean = mean + piece[i].centre;
  }
  mean = (1.0 / static_cast<double>(count)) * mean;

  constexpr std::uint32_t rounds_max = 64;
  constexpr double gap_max =
      1e-15;  // relative to the radius: the furthest point is then on the circle, to rounding
  Touch held[4];
  held[0] = furthest_of_all(piece, mean, count);
  held[1] = furthest_of_all(piece, held[0].point, count);
  Support support = smallest_around(held, 2);
  Touch furthest = furthest_of_all(piece, support.circle.centre, count);
  Support best = support;
  best.circle.radius = distance_to(furthest, support.circle.centre);
  for (std::uint32_t round = 0; round < rounds_max; ++round) {
    const Support before = support;
    Vector centre[5];
    std::uint32_t centres = centre_touching(before.touch[0], before.touch[1], centre);
    if (before.count == 3) {
      // One disk may be held by two of its points, so the pairs are tried too.
      centres += centre_touching(before.touch[0], before.touch[2], centre + centres);
      centres += centre_touching(before.touch[1], before.touch[2], centre + centres);
      centres += centres_touching(before.touch[0], before.touch[1], before.touch[2], centre + centres);
    }
    for (std::uint32_t n = 0; n < centres; ++n) {
      for (std::uint32_t i = 0; i < before.count; ++i) {
        held[i] = before.touch[i];
        if (held[i].radius > 0.0) held[i] = furthest_of(piece[held[i].piece], held[i].piece, centre[n]);
      }
      const Support slid = smallest_around(held, before.count);
      if (slid.circle.radius > support.circle.radius) support = slid;
    }

    furthest = furthest_of_all(piece, support.circle.centre, count);
    const double reach = distance_to(furthest, support.circle.centre);
    if (reach < best.circle.radius) {
      best = support;
      best.circle.radius = reach;
    }
    if (reach - support.circle.radius <= gap_max * reach) break;

    for (std::uint32_t i = 0; i < support.count; ++i) held[i] = support.touch[i];
    held[support.count] = furthest;
    const Support grown = smallest_around(held, support.count + 1);
    if (grown.circle.radius < support.circle.radius) break;
    support = grown;
  }
  best.circle.centre = best.circle.centre + given[0].centre;
  for (std::uint32_t i = 0; i < best.count; ++i) {
    best.touch[i].point = best.touch[i].point + given[0].centre;
    best.touch[i].centre = best.touch[i].centre + given[0].centre;
  }
  return best;
}

/// The circle of `enclosing_support`.
CALYX_HD inline Circle enclosing_circle(const Piece* given, std::uint32_t count = pieces) {
  return enclosing_support(given, count).circle;
}

/// Whether no boundary point of the pieces sticks out of `circle` by more than `containment_slack`.
///
/// The centre of a circle far from the origin is itself rounded, so one unit of its last place is allowed on
/// top.
CALYX_HD inline bool contains(const Circle& circle, const Piece* piece, std::uint32_t count = pieces) {
  const double rounding = 0x1p-51 * (math::absolute(circle.centre.x) + math::absolute(circle.centre.y));
  const Touch touch = furthest_of_all(piece, circle.centre, count);
  return distance_to(touch, circle.centre) <= circle.radius + (containment_slack + rounding);
}

/// Writes to `verdict`, whose overlaps are known, what the circle around the pieces says.
CALYX_HD inline void judge_circle(const Piece* piece, Verdict& verdict) {
  verdict.circle = enclosing_circle(piece);
  verdict.contained = contains(verdict.circle, piece) ? 1 : 0;
  verdict.valid = verdict.contained == 1 && verdict.overlapping_count == 0 ? 1 : 0;
}

/// The verdict on the `candidate_numbers` numbers at `candidate`, for which `check_candidate` said `ok`.
CALYX_HD inline Verdict evaluate(const double* candidate) {
  Piece piece[pieces];
  for (std::uint32_t i = 0; i < pieces; ++i)
    piece[i] = piece_at(candidate[3 * i], candidate[3 * i + 1], candidate[3 * i + 2]);

  Verdict verdict{};
  constexpr std::uint32_t leaves = 128;
  double area[leaves];
  for (std::uint32_t i = pairs; i < leaves; ++i) area[i] = 0.0;
  for (std::uint32_t i = 0; i < pieces; ++i) {
    for (std::uint32_t j = i + 1; j < pieces; ++j) {
      const std::uint32_t index = pair_index(i, j);
      area[index] = 0.0;
      if (length(piece[j].centre - piece[i].centre) > 2.0) continue;
      ++verdict.close_count;
      area[index] = overlap_area(piece[i], piece[j]);
      if (area[index] > verdict.overlap_max) verdict.overlap_max = area[index];
      if (area[index] > overlap_area_max) {
        ++verdict.overlapping_count;
        verdict.overlapping[index / 64] |= std::uint64_t{1} << (index % 64);
      }
    }
  }
  // One fixed tree: half is added to half, which the lanes of a device do in the same order.
  for (std::uint32_t half = leaves / 2; half > 0; half /= 2)
    for (std::uint32_t i = 0; i < half; ++i) area[i] += area[i + half];
  verdict.overlap_total = area[0];

  judge_circle(piece, verdict);
  return verdict;
}

}  // namespace calyx::kernels::packing
