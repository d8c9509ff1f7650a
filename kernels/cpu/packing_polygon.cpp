#include "calyx_kernels/packing_polygon.hpp"

#include <algorithm>
#include <array>

namespace calyx::kernels::packing {
namespace {

/// The corners of a piece at the origin that looks upwards, from its right end over the top to its left.
struct Corners {
  std::array<Vector, arc_points> at;

  Corners() {
    constexpr double step = math::pi / static_cast<double>(arc_points - 1);
    for (std::uint32_t k = 0; k < arc_points / 2; ++k) {
      const math::Unit unit = math::direction(static_cast<double>(k) * step);
      at[k] = {unit.x, unit.y};
      at[arc_points - 1 - k] = {-unit.x, unit.y};
    }
  }
};

const Corners& corners() {
  static const Corners made;
  return made;
}

/// Half of a polygon's boundary, from its left end to its right, walked with a growing x.
class Chain {
 public:
  /// From corner `first` on, forwards or backwards around the polygon, to corner `last`.
  Chain(const Vector* corner, std::uint32_t first, std::uint32_t last, std::uint32_t stride)
      : corner_(corner), next_(first), last_(last), stride_(stride), from_(corner[first]), to_(from_) {}

  /// Goes on until the edge in hand reaches beyond `x`, or is the last.
  void reach(double x) {
    while (!(to_.x > x) && next_ != last_) {
      next_ = (next_ + stride_) % arc_points;
      from_ = to_;
      to_ = corner_[next_];
    }
  }
  /// Where the edge in hand ends.
  double end() const { return to_.x; }
  double height(double x) const {
    const double run = to_.x - from_.x;
    if (!(x < to_.x) || !(run > 0.0)) return to_.y;
    if (!(x > from_.x)) return from_.y;
    return from_.y + (to_.y - from_.y) * ((x - from_.x) / run);
  }

 private:
  const Vector* corner_;
  std::uint32_t next_, last_, stride_;
  Vector from_, to_;
};

constexpr std::uint32_t forwards = 1, backwards = arc_points - 1;

/// What lies above 0 of a height that goes evenly from `low` to `high` over a way of length 1.
double above_zero(double low, double high) {
  if (low >= 0.0 && high >= 0.0) return 0.5 * (low + high);
  if (low > 0.0) return 0.5 * low * (low / (low - high));
  if (high > 0.0) return 0.5 * high * (high / (high - low));
  return 0.0;
}

/// A value at both ends of a strip, even in between.
struct Edge {
  double left, right;

  double at(double part) const { return left + (right - left) * part; }
};

/// Where in a strip two edges cross, as a part of its width; 1 where they do not.
double crossing(Edge a, Edge b) {
  const double left = a.left - b.left;
  const double right = a.right - b.right;
  if ((left < 0.0 && right > 0.0) || (left > 0.0 && right < 0.0)) return left / (left - right);
  return 1.0;
}

/// The area, over a strip of width 1, of what is below both tops and above both bottoms.
double shared_strip(Edge top, Edge other_top, Edge bottom, Edge other_bottom) {
  const double first = crossing(top, other_top);
  const double second = crossing(bottom, other_bottom);
  const double cuts[4] = {0.0, std::min(first, second), std::max(first, second), 1.0};
  double area = 0.0;
  double height = std::min(top.left, other_top.left) - std::max(bottom.left, other_bottom.left);
  for (std::uint32_t i = 0; i < 3; ++i) {
    if (!(cuts[i + 1] > cuts[i])) continue;
    const double to = cuts[i + 1];
    const double next =
        to == 1.0 ? std::min(top.right, other_top.right) - std::max(bottom.right, other_bottom.right)
                  : std::min(top.at(to), other_top.at(to)) - std::max(bottom.at(to), other_bottom.at(to));
    area += (to - cuts[i]) * above_zero(height, next);
    height = next;
  }
  return area;
}

}  // namespace

// The common area is an integral of the height that is common, strip by strip between all corners: that is a
// continuous function of every corner, so edges which lie on each other, as those of pieces back to back do,
// are no special case.
double polygon_overlap(const Piece& a, const Piece& b) {
  // Seen from a, which looks upwards: its flat side is its lower half.
  const Vector right = Vector{0.0, 0.0} - left_of(a.facing);
  const Vector away = b.centre - a.centre;
  if (dot(away, away) > 4.0) return 0.0;
  const Vector centre{dot(away, right), dot(away, a.facing)};
  const Vector facing{dot(b.facing, right), dot(b.facing, a.facing)};
  const Vector along = Vector{0.0, 0.0} - left_of(facing);
  const std::array<Vector, arc_points>& upright = corners().at;
  std::array<Vector, arc_points> other;
  std::uint32_t leftmost = 0;
  std::uint32_t rightmost = 0;
  for (std::uint32_t k = 0; k < arc_points; ++k) {
    other[k] = centre + (upright[k].x * along + upright[k].y * facing);
    if (other[k].x < other[leftmost].x) leftmost = k;
    if (other[k].x > other[rightmost].x) rightmost = k;
  }
  const double end = std::min(1.0, other[rightmost].x);
  double x = std::max(-1.0, other[leftmost].x);
  if (!(x < end)) return 0.0;

  Chain top(upright.data(), arc_points - 1, 0, backwards);
  Chain other_top(other.data(), leftmost, rightmost, backwards);
  Chain other_bottom(other.data(), leftmost, rightmost, forwards);
  double area = 0.0;
  double lost = 0.0;  // what the sum so far lacks, as Kahan keeps it
  while (x < end) {
    top.reach(x);
    other_top.reach(x);
    other_bottom.reach(x);
    const double next = std::min(std::min(top.end(), other_top.end()), std::min(other_bottom.end(), end));
    if (!(next > x)) break;  // the last edges end here
    const double strip =
        shared_strip({top.height(x), top.height(next)}, {other_top.height(x), other_top.height(next)},
                     {0.0, 0.0}, {other_bottom.height(x), other_bottom.height(next)});
    const double added = (next - x) * strip - lost;
    const double sum = area + added;
    lost = (sum - area) - added;
    area = sum;
    x = next;
  }
  return area < area_floor ? 0.0 : area;
}

void polygon_areas(const Piece* piece, std::uint32_t count, double* area) {
  for (std::uint32_t i = 0; i < count; ++i)
    for (std::uint32_t j = i + 1; j < count; ++j) {
      // A polygon lies in its piece.
      const bool apart = overlap_area(piece[i], piece[j]) == 0.0;
      area[pair_index(i, j, count)] = apart ? 0.0 : polygon_overlap(piece[i], piece[j]);
    }
}

Verdict evaluate_polygons(const double* candidate) {
  Verdict verdict = evaluate(candidate);
  Piece piece[pieces];
  for (std::uint32_t i = 0; i < pieces; ++i)
    piece[i] = piece_at(candidate[3 * i], candidate[3 * i + 1], candidate[3 * i + 2]);
  double area[pairs];
  polygon_areas(piece, pieces, area);
  verdict.overlap_total = verdict.overlap_max = 0.0;
  verdict.overlapping[0] = verdict.overlapping[1] = 0;
  verdict.overlapping_count = 0;
  for (std::uint32_t index = 0; index < pairs; ++index) {
    verdict.overlap_total += area[index];
    verdict.overlap_max = std::max(verdict.overlap_max, area[index]);
    if (!(area[index] > overlap_area_max)) continue;
    ++verdict.overlapping_count;
    verdict.overlapping[index / 64] |= std::uint64_t{1} << (index % 64);
  }
  verdict.valid = verdict.contained == 1 && verdict.overlapping_count == 0 ? 1 : 0;
  return verdict;
}

}  // namespace calyx::kernels::packing
