/// \file
/// What a search for packings minimises, and how it changes when pieces move.
///
/// The objective of a layout of 1 to `pieces_max` pieces is the radius of the smallest circle around them
/// plus a penalty for each unit of area that pairs share. `Layout` keeps the area of every pair, so that one
/// piece that moves touches its own pairs alone, and sums the table whole: a layout that was moved a million
/// times has the bits of one set up afresh. `gradient` is exact wherever the objective has one.
///
/// The area of two pieces that just touch grows with a power of their depth and says nothing of pieces apart.
/// `gap` is the distance that separates two pieces, or how deep they are in each other, below 0: convex
/// pieces touch in it alike, whatever touches. `energy` is made of it, and a descent that follows it comes to
/// rest.
///
/// Start at `Layout`.
///
/// Units: lengths in radii of a piece, angles in radians, areas in squared radii.
/// Threads: any; nothing here allocates.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"
#include "calyx_kernels/packing.hpp"
#include "calyx_kernels/packing_crew.hpp"

namespace calyx::kernels::packing {

inline constexpr std::uint32_t numbers_max = 3 * pieces_max;
inline constexpr std::uint32_t pairs_max = pieces_max * (pieces_max - 1) / 2;
/// The areas of all pairs, with zeros up to a power of two.
inline constexpr std::uint32_t area_leaves = 512;
static_assert(pairs_max <= area_leaves, "every pair has its leaf");
/// What a unit of shared area costs, unless told otherwise.
inline constexpr double penalty_default = 100.0;

/// The reach of a piece from its centre in the direction `u`, of length 1.
CALYX_HD inline double reach(Vector facing, Vector u) {
  return dot(u, facing) >= 0.0 ? 1.0 : math::absolute(cross(u, facing));
}

/// The point of a piece, seen from its centre, that lies furthest in the direction `u`, of length 1.
CALYX_HD inline Vector furthest_along(Vector facing, Vector u) {
  if (dot(u, facing) >= 0.0) return u;
  const Vector side = left_of(facing);
  return dot(u, side) >= 0.0 ? side : Vector{0.0, 0.0} - side;
}

/// How far two pieces are apart, and along which way.
struct Gap {
  double distance;     ///< Below 0 as deep as they are in each other.
  Vector way;          ///< Of length 1, from the first piece to the second: what grows the gap most.
  double first_turn;   ///< What the gap gains from a turn of the first piece to the left.
  double second_turn;  ///< Likewise of the second.
};

/// Whether a flat side alone tells that two pieces share nothing, the second lying `away` from the first, or
/// their disks do. It forgives no rounding: pieces that touch within 1e-12 are not told apart.
CALYX_HD inline bool plainly_apart(Vector away, Vector first, Vector second) {
  constexpr double margin = 1e-12;
  if (dot(away, away) >= 4.0 + margin) return true;
  if (dot(away, first) + reach(second, first) < -margin) return true;
  return dot(away, second) - reach(first, second) > margin;
}

/// What `gap` is asked for.
enum class Depth : std::uint32_t {
  any,   ///< The gap, whatever it is.
  only,  ///< How deep pieces are in each other; of those that are not, some distance above 0.
};

/// The gap between two pieces.
///
/// Pieces are convex, so the gap is the largest distance between parallel lines that keep them apart. Only a
/// few ways can be that: along the centres, square to a flat side, or from a corner to a centre or a corner;
/// and each of these only where what it joins is what the two pieces show each other.
CALYX_HD_APART inline Gap gap(const Piece& a, const Piece& b, Depth depth = Depth::any) {
  const Vector away = b.centre - a.centre;
  const double away_a = dot(away, a.facing);
  const double away_b = dot(away, b.facing);
  const double turn = cross(a.facing, b.facing);
  Gap best{-away_a - reach(b.facing, a.facing), Vector{0.0, 0.0} - a.facing, 0.0, 0.0};
  // 0: neither's flat side, 1: the first's, 2: the second's.
  std::uint32_t flat = 1;
  if (away_b - reach(a.facing, b.facing) > best.distance) {
    flat = 2;
    best.way = b.facing;
    best.distance = away_b - reach(a.facing, b.facing);
  }
  // A corner of each, left or right, or its centre: v joins them.
  const Vector left_a = left_of(a.facing);
  const Vector left_b = left_of(b.facing);
  const double along_a = dot(away, left_a);
  const double along_b = dot(away, left_b);
  const double likeness = dot(a.facing, b.facing);
  // An arc goes over into a corner without a kink, so trying too much there costs the square of it.
  constexpr double slack = 1e-9;
  double corner_a = 0.0;
  double corner_b = 0.0;
  // From the place p of the first, 0 its centre, 1 or -1 a corner, to the place q of the second.
  const auto tries = [&](double p, double q) {
    if (depth == Depth::only && best.distance > 0.0) return;
    const Vector v = (away + q * left_b) - p * left_a;
    const double size = length(v);
    if (!(size > 0.0)) return;
    const double distance = size - (p == 0.0 ? 1.0 : 0.0) - (q == 0.0 ? 1.0 : 0.0);
    if (!(distance > best.distance)) return;
    flat = 0;
    corner_a = p;
    corner_b = q;
    best.distance = distance;
    best.way = (1.0 / size) * v;
  };
  // Its left or its right corner is the second's nearest point to the first's centre; never both.
  const double near_b = along_b < 0.0 ? 1.0 : -1.0;
  const bool side_b = !(math::absolute(along_b) < 1.0) && !(-away_b > slack);
  if (!(away_a < -slack) && !(-away_b < -slack)) tries(0.0, 0.0);
  if (side_b && !(away_a - near_b * turn < -slack)) tries(0.0, near_b);
  for (std::uint32_t i = 0; i < 2; ++i) {
    const double p = i == 0 ? 1.0 : -1.0;
    const double behind = p * turn - away_b;  // -v . b.facing
    const double beside = p * along_a;
    if (!(away_a > slack) && !(beside < 1.0) && !(behind < -slack)) tries(p, 0.0);
    if (behind > slack) continue;
    const double likely = p * likeness;
    // Each of the two corners sees the other as its piece's nearest point.
    if (!(away_a - turn > slack) && !(beside + likely < 1.0) && !(likely - along_b < 1.0)) tries(p, 1.0);
    if (!(away_a + turn > slack) && !(beside - likely < 1.0) && !(along_b - likely < 1.0)) tries(p, -1.0);
  }
  // Where they touch: on a flat side it is the other's point, and elsewhere either's own.
  if (flat == 0) {
    best.first_turn = -corner_a * cross(left_a, best.way);
    best.second_turn = corner_b * cross(left_b, best.way);
  } else if (flat == 1) {
    const Vector point = furthest_along(b.facing, a.facing);
    best.first_turn = -cross(away + point, best.way);
    best.second_turn = cross(point, best.way);
  } else {
    const Vector point = furthest_along(a.facing, b.facing);
    best.first_turn = -cross(point, best.way);
    best.second_turn = cross(point - away, best.way);
  }
  return best;
}

/// The part of the flat side of a piece at the origin that lies inside `other`, from `low` to `high` along
/// the left of `facing`; nothing where `high` is not above `low`.
struct Chord {
  double low;
  double high;
};

CALYX_HD inline Chord flat_inside(Vector facing, const Piece& other) {
  const Vector along = left_of(facing);
  const double depth = dot(other.centre, facing);
  if (!(depth > -1.0 && depth < 1.0)) return {0.0, 0.0};
  const double middle = dot(other.centre, along);
  const double half = math::square_root((1.0 - depth) * (1.0 + depth));
  Chord chord{middle - half > -1.0 ? middle - half : -1.0, middle + half < 1.0 ? middle + half : 1.0};
  // A point s * along is on the other's curved side where s * slope >= start.
  const double slope = dot(along, other.facing);
  const double start = dot(other.centre, other.facing);
  if (slope > 0.0) {
    if (start / slope > chord.low) chord.low = start / slope;
  } else if (slope < 0.0) {
    if (start / slope < chord.high) chord.high = start / slope;
  } else if (start > 0.0) {
    chord.high = chord.low;
  }
  return chord;
}

/// How the area that two pieces share grows: per step of the second away from the first (the first's own step
/// has it with the other sign), and per turn of each to the left.
struct AreaGradient {
  Vector step;
  double first_turn;
  double second_turn;
};

/// The gradient of `overlap_area(a, b)`; zero for pieces that share no more than their edges.
///
/// A boundary that moves outwards sweeps area over its length inside the other piece; an arc that turns about
/// its own centre sweeps none.
CALYX_HD_APART inline AreaGradient overlap_gradient(const Piece& a, const Piece& b) {
  const Vector away = b.centre - a.centre;
  const double distance_squared = dot(away, away);
  if (distance_squared > 4.0) return {{0.0, 0.0}, 0.0, 0.0};
  if (distance_squared < 1e-32) {
    const double turn = cross(a.facing, b.facing) < 0.0 ? 0.5 : -0.5;
    return {{0.0, 0.0}, -turn, turn};
  }
  const ArcShare of_b = arc_inside(b.facing, {Vector{0.0, 0.0} - away, a.facing});
  const Chord on_a = flat_inside(a.facing, {away, b.facing});
  const Chord on_b = flat_inside(b.facing, {Vector{0.0, 0.0} - away, a.facing});
  AreaGradient out{{of_b.span.y, -of_b.span.x}, 0.0, 0.0};
  if (on_b.high > on_b.low) {
    out.step = out.step - (on_b.high - on_b.low) * b.facing;
    out.second_turn = 0.5 * (on_b.high - on_b.low) * (on_b.high + on_b.low);
  }
  if (on_a.high > on_a.low) out.first_turn = 0.5 * (on_a.high - on_a.low) * (on_a.high + on_a.low);
  return out;
}

/// How much each of the two or three points that hold the smallest circle bears of it: not below 0, and 1
/// together.
struct Shares {
  double share[3];
};

CALYX_HD inline Shares shares_of(const Support& support) {
  Shares out{{0.5, 0.5, 0.0}};
  if (support.count < 3) return out;
  Vector u[3];
  for (std::uint32_t i = 0; i < 3; ++i) u[i] = support.touch[i].point - support.circle.centre;
  // What keeps the centre at rest: the ways to the three, so weighted, cancel.
  const double weight[3] = {cross(u[1], u[2]), cross(u[2], u[0]), cross(u[0], u[1])};
  double sum = 0.0;
  double size[3];
  for (std::uint32_t i = 0; i < 3; ++i) {
    size[i] = math::absolute(weight[i]);
    sum += size[i];
  }
  if (!(sum > 0.0)) return out;
  for (std::uint32_t i = 0; i < 3; ++i) out.share[i] = size[i] / sum;
  return out;
}

/// Pieces, the area of each pair, and the smallest circle around all of them. A warp's lanes share one.
class Layout {
 public:
  /// `count` pieces, 1 to `pieces_max`, from three numbers each.
  template <class Crew = Alone>
  CALYX_HD_APART void set(const double* numbers, std::uint32_t count, const Crew& crew = {}) {
    begin(numbers, count, crew);
    static_cast<void>(fill(std::numeric_limits<double>::infinity(), crew));
    sum(crew);
  }

  /// Like `set`, but gives up, with false, as soon as the areas alone make the objective larger than `bar`;
  /// then nothing can be asked of the layout.
  template <class Crew = Alone>
  CALYX_HD_APART bool set_below(const double* numbers, std::uint32_t count, double penalty, double bar,
                                const Crew& crew = {}) {
    begin(numbers, count, crew);
    // No circle is smaller than a piece; the margin is more than another order of summation can make.
    if (!fill((bar * (1.0 + 1e-9) - 1.0) / penalty, crew)) return false;
    sum(crew);
    return true;
  }

  /// What a move changed.
  struct Before {
    std::uint32_t moved;
    bool enclosed;
    Piece piece;
    double area[pieces_max];
    double total;
    double largest;
    Support support;
  };

  /// Puts piece `i` elsewhere, which touches its own pairs alone; the circle is found when it is asked for.
  /// Writes what `undo` takes.
  template <class Crew = Alone>
  CALYX_HD_APART void move(std::uint32_t i, const Piece& to, Before& before, const Crew& crew = {}) {
    crew.once([&] {
      before.moved = i;
      before.enclosed = enclosed_;
      before.piece = piece_[i];
      before.total = total_;
      before.largest = largest_;
      before.support = support_;
      piece_[i] = to;
      enclosed_ = false;
    });
    crew.each(count_, [&](std::uint32_t j) {
      if (j == i) return;
      const std::uint32_t low = i < j ? i : j;
      const std::uint32_t high = i < j ? j : i;
      double& shared = area_[pair_index(low, high, count_)];
      before.area[j] = shared;
      shared = close(low, high) ? overlap_area(piece_[low], piece_[high]) : 0.0;
    });
    sum(crew);
  }

  /// Takes the last move back that was not taken back yet.
  template <class Crew = Alone>
  CALYX_HD_APART void undo(const Before& before, const Crew& crew = {}) {
    const std::uint32_t i = before.moved;
    crew.each(count_, [&](std::uint32_t j) {
      if (j != i) area_[pair_index(i < j ? i : j, i < j ? j : i, count_)] = before.area[j];
    });
    crew.once([&] {
      piece_[i] = before.piece;
      total_ = before.total;
      largest_ = before.largest;
      support_ = before.support;
      enclosed_ = before.enclosed;
    });
  }

  CALYX_HD std::uint32_t count() const { return count_; }
  CALYX_HD const Piece& piece(std::uint32_t i) const { return piece_[i]; }
  CALYX_HD const Piece* all() const { return piece_; }
  CALYX_HD double pair_area(std::uint32_t i, std::uint32_t j) const {
    return area_[pair_index(i, j, count_)];
  }
  CALYX_HD double overlap_total() const { return total_; }
  CALYX_HD double overlap_max() const { return largest_; }
  /// Whether no pair shares more than the challenge allows.
  CALYX_HD bool feasible() const { return !(largest_ > overlap_area_max); }

  template <class Crew = Alone>
  CALYX_HD_APART const Support& support(const Crew& crew = {}) {
    if (!enclosed_) {
      crew.once([&] {
        support_ = enclosing_support(piece_, count_);
        enclosed_ = true;
      });
    }
    return support_;
  }
  template <class Crew = Alone>
  CALYX_HD double radius(const Crew& crew = {}) {
    return support(crew).circle.radius;
  }
  template <class Crew = Alone>
  CALYX_HD double objective(double penalty, const Crew& crew = {}) {
    return radius(crew) + penalty * total_;
  }

  /// Writes the gradient of `objective(penalty)`, three numbers a piece. Where the objective has a kink it is
  /// that of one side. Of one thread alone.
  CALYX_HD void gradient(double penalty, double* out) {
    for (std::uint32_t i = 0; i < 3 * count_; ++i) out[i] = 0.0;
    const Support& held = support();
    const Shares shares = shares_of(held);
    for (std::uint32_t n = 0; n < held.count; ++n) {
      const Touch& touch = held.touch[n];
      const Vector from_centre = touch.point - held.circle.centre;
      const Vector u = (1.0 / length(from_centre)) * from_centre;
      double* of_piece = out + 3 * touch.piece;
      of_piece[0] += shares.share[n] * u.x;
      of_piece[1] += shares.share[n] * u.y;
      // An arc turns under its own furthest point; a corner is carried along.
      if (touch.radius == 0.0)
        of_piece[2] += shares.share[n] * cross(touch.point - piece_[touch.piece].centre, u);
    }
    for (std::uint32_t i = 0; i < count_; ++i) {
      for (std::uint32_t j = i + 1; j < count_; ++j) {
        if (area_[pair_index(i, j, count_)] == 0.0) continue;
        const AreaGradient grows = overlap_gradient(piece_[i], piece_[j]);
        out[3 * i] -= penalty * grows.step.x;
        out[3 * i + 1] -= penalty * grows.step.y;
        out[3 * i + 2] += penalty * grows.first_turn;
        out[3 * j] += penalty * grows.step.x;
        out[3 * j + 1] += penalty * grows.step.y;
        out[3 * j + 2] += penalty * grows.second_turn;
      }
    }
  }

 private:
  template <class Crew>
  CALYX_HD_APART void begin(const double* numbers, std::uint32_t count, const Crew& crew) {
    std::uint32_t leaves = 1;
    while (leaves < count * (count - 1) / 2) leaves *= 2;
    crew.once([&] {
      count_ = count;
      leaves_ = leaves;
      enclosed_ = false;
    });
    crew.each(leaves, [&](std::uint32_t i) { area_[i] = 0.0; });
    crew.each(count, [&](std::uint32_t i) {
      piece_[i] = piece_at(numbers[3 * i], numbers[3 * i + 1], numbers[3 * i + 2]);
    });
  }

  /// The areas of a layout that has begun. False when they are more than `most`.
  template <class Crew>
  CALYX_HD_APART bool fill(double most, const Crew& crew) {
    return crew.areas(
        count_, [&](std::uint32_t i, std::uint32_t j) { return close(i, j); },
        [&](std::uint32_t i, std::uint32_t j) { return overlap_area(piece_[i], piece_[j]); }, area_, most);
  }

  CALYX_HD bool close(std::uint32_t i, std::uint32_t j) const {
    return !plainly_apart(piece_[j].centre - piece_[i].centre, piece_[i].facing, piece_[j].facing);
  }

  /// One fixed tree over the whole table, as in `evaluate`: leaves that are 0 add nothing.
  template <class Crew>
  CALYX_HD_APART void sum(const Crew& crew) {
    double* const tree = tree_;
    const double* const area = area_;
    crew.each(leaves_, [=](std::uint32_t i) { tree[i] = area[i]; });
    for (std::uint32_t half = leaves_ / 2; half > 0; half /= 2)
      crew.each(half, [=](std::uint32_t i) { tree[i] += tree[i + half]; });
    const double largest = crew.largest_of(area, leaves_);
    crew.once([&] {
      total_ = tree[0];
      largest_ = largest;
    });
  }

  std::uint32_t count_ = 0;
  std::uint32_t leaves_ = 0;
  bool enclosed_ = false;
  Piece piece_[pieces_max];
  double area_[area_leaves];
  double tree_[area_leaves];  // of the last sum
  double total_ = 0.0;
  double largest_ = 0.0;
  Support support_{};
};

/// The direction of an angle that is no more than a few turns, within 1 unit of the last place, though not
/// always with the bits of `math::direction`.
CALYX_HD_APART inline Vector quick_direction(double angle) {
  if (!(math::absolute(angle) < 64.0)) {
    const math::Unit unit = math::direction(angle);
    return {unit.x, unit.y};
  }
  // pi / 2 in three parts, of which a count of quarter turns takes the first two without error.
  constexpr double first = 0x1.921fb54400000p+0;
  constexpr double second = 0x1.0b4611a600000p-34;
  constexpr double third = 0x1.3198a2e037073p-69;
  constexpr double to_whole = 0x1.8p52;
  const double quarters = (angle * 0x1.45f306dc9c883p-1 + to_whole) - to_whole;
  const double rough = angle - quarters * first;
  const double taken = quarters * second;
  const double high = rough - taken;
  const double low = ((rough - high) - taken) - quarters * third;
  const double cosine = math::cosine_near_zero({high, low});
  const double sine = math::sine_near_zero({high, low});
  const std::int64_t count = static_cast<std::int64_t>(quarters);
  const double along = (count & 1) == 0 ? cosine : sine;
  const double across = (count & 1) == 0 ? sine : cosine;
  return {((count + 1) & 2) == 0 ? along : -along, (count & 2) == 0 ? across : -across};
}

/// `radius + stiffness * (depth^2 of every pair + depth^2 of every piece beyond the circle)`, the circle
/// being the one of that radius around the origin; writes its gradient, three numbers a piece and then the
/// radius.
///
/// What a descent follows: unlike the objective it has no kink where pieces touch or where the circle changes
/// hands, and all contacts are equally stiff. `allowed`, if it is there, says for each pair how deep it may
/// be without that counting.
/// `Lanes` has it for several numbers at once, with these bits.
CALYX_HD inline double energy(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
                              const double* allowed = nullptr) {
  Piece piece[pieces_max];
  const std::uint32_t last = 3 * count;
  const double radius = numbers[last];
  double depths = 0.0;
  for (std::uint32_t i = 0; i < last; ++i) gradient[i] = 0.0;
  gradient[last] = 1.0;
  const double twice = 2.0 * stiffness;
  for (std::uint32_t i = 0; i < count; ++i) {
    piece[i] = {{numbers[3 * i], numbers[3 * i + 1]}, quick_direction(numbers[3 * i + 2])};
    const Vector origin{0.0, 0.0};
    const Touch touch = furthest_of(piece[i], i, origin);
    const double out = distance_to(touch, origin) - radius;
    if (!(out > 0.0)) continue;
    const double size = length(touch.point);
    const Vector u = (1.0 / size) * touch.point;
    depths += out * out;
    gradient[3 * i] += twice * out * u.x;
    gradient[3 * i + 1] += twice * out * u.y;
    if (touch.radius == 0.0) gradient[3 * i + 2] += twice * out * cross(touch.point - piece[i].centre, u);
    gradient[last] -= twice * out;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = i + 1; j < count; ++j) {
      const Vector away = piece[j].centre - piece[i].centre;
      if (plainly_apart(away, piece[i].facing, piece[j].facing)) continue;
      const Gap between = gap(piece[i], piece[j], Depth::only);
      const double free = allowed == nullptr ? 0.0 : allowed[pair_index(i, j, count)];
      const double apart = between.distance + free;
      if (!(apart < 0.0)) continue;
      depths += apart * apart;
      const double force = twice * apart;
      gradient[3 * i] -= force * between.way.x;
      gradient[3 * i + 1] -= force * between.way.y;
      gradient[3 * i + 2] += force * between.first_turn;
      gradient[3 * j] += force * between.way.x;
      gradient[3 * j + 1] += force * between.way.y;
      gradient[3 * j + 2] += force * between.second_turn;
    }
  }
  return radius + stiffness * depths;
}

}  // namespace calyx::kernels::packing
