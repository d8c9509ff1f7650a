/// \file
/// A device's warp as the crew of a search: its lanes take a layout's pairs, pieces and numbers among
/// themselves.
///
/// Every sum is taken in the order that `Alone` and the plain `Lanes` have, and so all bits are theirs; what
/// that order leaves to one lane is short. It is written over a warp that may be a device's or a host's, as
/// packing_warp.hpp has them: `LoopWarp` runs lane after lane, so it cannot tell a lane's own memory from
/// what is shared; a warp of threads, in the tests, can.
///
/// Start at `WarpCrew`.
///
/// Units: as in packing_objective.hpp.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/packing_crew.hpp"
#include "calyx_kernels/packing_lanes.hpp"
#include "calyx_kernels/packing_objective.hpp"
#include "calyx_kernels/packing_warp.hpp"

namespace calyx::kernels::packing {

/// What the lanes of a crew share besides what a search hands to them.
struct CrewScratch {
  std::uint8_t pair_first[pairs_max];  ///< The two pieces of each pair, in their order.
  std::uint8_t pair_second[pairs_max];
  std::uint8_t close_first[pairs_max];  ///< Those of the pairs that are close.
  std::uint8_t close_second[pairs_max];
  Piece piece[pieces_max];
  double out[pieces_max];  ///< How far each piece reaches beyond the circle; at most 0: not at all.
  /// Of the pairs that are looked at together: how deep each is, below 0 or not at all; and what it does.
  double apart[warp_lanes];
  Vector way[warp_lanes];
  double first_turn[warp_lanes];
  double second_turn[warp_lanes];
  double part[warp_lanes];  ///< Of a sum or a maximum, by lane.
  std::uint32_t said;       ///< What one lane found for all.
};

/// `Warp` has `lane_count`, a power of two, at most `warp_lanes`; `each(f)`, which calls `f(lane)` for every
/// lane, begins when all are there and ends when all are through; and `ballot(f)`.
template <class Warp>
class WarpCrew {
 public:
  /// `scratch` is this crew's alone, and outlives it; its pairs are those of `count` pieces from here on.
  CALYX_HD WarpCrew(const Warp& warp, CrewScratch& scratch, std::uint32_t count)
      : warp_(warp), shared_(&scratch) {
    CrewScratch* const shared = shared_;
    each(count, [=](std::uint32_t i) {
      for (std::uint32_t j = i + 1; j < count; ++j) {
        const std::uint32_t at = pair_index(i, j, count);
        shared->pair_first[at] = static_cast<std::uint8_t>(i);
        shared->pair_second[at] = static_cast<std::uint8_t>(j);
      }
    });
  }

  template <class F>
  CALYX_HD void each(std::uint32_t count, F f) const {
    warp_.each([=](std::uint32_t lane) {
      for (std::uint32_t i = lane; i < count; i += Warp::lane_count) f(i);
    });
  }
  template <class F>
  CALYX_HD void once(F f) const {
    warp_.each([&](std::uint32_t lane) {
      if (lane == 0) f();
    });
  }
  template <class F>
  CALYX_HD bool agreed(F f) const {
    CrewScratch* const shared = shared_;
    once([&] { shared->said = f() ? 1 : 0; });
    return shared->said != 0;
  }
  template <class F>
  CALYX_HD void each_pair(std::uint32_t count, F f) const {
    const CrewScratch* const shared = shared_;
    each(pairs_of(count), [&](std::uint32_t at) { f(shared->pair_first[at], shared->pair_second[at]); });
  }

  template <class Close, class Area>
  CALYX_HD bool areas(std::uint32_t count, Close close, Area area, double* out, double most) const {
    const CrewScratch* const shared = shared_;
    const std::uint32_t closes = find_close(count, close);
    each(closes, [&](std::uint32_t n) {
      const std::uint32_t i = shared->close_first[n];
      const std::uint32_t j = shared->close_second[n];
      out[pair_index(i, j, count)] = area(i, j);
    });
    // As no area is below 0, the sum is at no place more than at its end.
    double sum = 0.0;
    for (std::uint32_t n = 0; n < closes; ++n)
      sum += out[pair_index(shared->close_first[n], shared->close_second[n], count)];
    return !(sum > most);
  }

  CALYX_HD_APART double largest_of(const double* numbers, std::uint32_t count) const {
    return largest_part([=](std::uint32_t lane) {
      double largest = 0.0;
      for (std::uint32_t i = lane; i < count; i += Warp::lane_count)
        if (numbers[i] > largest) largest = numbers[i];
      return largest;
    });
  }

  // As `Lanes` has them.

  CALYX_HD void begin_descent() const {}

  CALYX_HD_APART double energy(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
                               const double* allowed) const {
    CrewScratch* const shared = shared_;
    const std::uint32_t last = 3 * count;
    const double radius = numbers[last];
    const double twice = 2.0 * stiffness;
    each(count, [=](std::uint32_t i) {
      const Vector origin{0.0, 0.0};
      const Piece piece{{numbers[3 * i], numbers[3 * i + 1]}, quick_direction(numbers[3 * i + 2])};
      const Touch touch = furthest_of(piece, i, origin);
      const double out = distance_to(touch, origin) - radius;
      shared->piece[i] = piece;
      shared->out[i] = out;
      double* const mine = gradient + 3 * i;
      mine[0] = mine[1] = mine[2] = 0.0;
      if (!(out > 0.0)) return;
      const double size = length(touch.point);
      const Vector u = (1.0 / size) * touch.point;
      mine[0] += twice * out * u.x;
      mine[1] += twice * out * u.y;
      if (touch.radius == 0.0) mine[2] += twice * out * cross(touch.point - piece.centre, u);
    });
    double depths = 0.0;
    double of_radius = 1.0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const double out = shared->out[i];
      if (!(out > 0.0)) continue;
      depths += out * out;
      of_radius -= twice * out;
    }
    const std::uint32_t closes = find_close(count, [=](std::uint32_t i, std::uint32_t j) {
      return !plainly_apart(shared->piece[j].centre - shared->piece[i].centre, shared->piece[i].facing,
                            shared->piece[j].facing);
    });
    once([=] { gradient[last] = of_radius; });
    for (std::uint32_t begin = 0; begin < closes; begin += Warp::lane_count) {
      const std::uint32_t end = begin + Warp::lane_count < closes ? begin + Warp::lane_count : closes;
      each(end - begin, [=](std::uint32_t n) {
        const std::uint32_t i = shared->close_first[begin + n];
        const std::uint32_t j = shared->close_second[begin + n];
        const Gap between = gap(shared->piece[i], shared->piece[j], Depth::only);
        const double free = allowed == nullptr ? 0.0 : allowed[pair_index(i, j, count)];
        shared->apart[n] = between.distance + free;
        shared->way[n] = between.way;
        shared->first_turn[n] = between.first_turn;
        shared->second_turn[n] = between.second_turn;
      });
      for (std::uint32_t n = 0; n < end - begin; ++n) {
        const double apart = shared->apart[n];
        if (apart < 0.0) depths += apart * apart;
      }
      // Each piece adds up its own pairs, in their order.
      each(count, [=](std::uint32_t k) {
        double* const mine = gradient + 3 * k;
        for (std::uint32_t n = 0; n < end - begin; ++n) {
          if (!(shared->apart[n] < 0.0)) continue;
          const double force = twice * shared->apart[n];
          if (shared->close_first[begin + n] == k) {
            mine[0] -= force * shared->way[n].x;
            mine[1] -= force * shared->way[n].y;
            mine[2] += force * shared->first_turn[n];
          } else if (shared->close_second[begin + n] == k) {
            mine[0] += force * shared->way[n].x;
            mine[1] += force * shared->way[n].y;
            mine[2] += force * shared->second_turn[n];
          }
        }
      });
    }
    return radius + stiffness * depths;
  }

  CALYX_HD_APART double largest(const double* numbers, std::uint32_t row) const {
    return largest_part([=](std::uint32_t lane) {
      double largest = 0.0;
      for (std::uint32_t i = lane; i < row; i += Warp::lane_count)
        if (largest < math::absolute(numbers[i])) largest = math::absolute(numbers[i]);
      return largest;
    });
  }

  CALYX_HD_APART Heading heading(const Memory& memory, const double* gradient, double stiffness,
                                 std::uint32_t row, double* way) const {
    constexpr std::uint32_t length = Memory::length;
    double part[length];
    each(row, [=](std::uint32_t i) { way[i] = gradient[i]; });
    for (std::uint32_t back = 1; back <= memory.held; ++back) {
      const std::uint32_t at = (memory.head + length - back) % length;
      part[at] = product(memory.steps[at], way, row) * memory.scale[at];
      add(way, -part[at], memory.bends[at], way, row);
    }
    double first = 0.0;
    if (memory.held == 0) {
      const double soft = 0.5 / stiffness;
      first = 0.1 / math::square_root(product(gradient, gradient, row));
      if (soft < first) first = soft;
    } else {
      const std::uint32_t at = (memory.head + length - 1) % length;
      first = 1.0 / (memory.scale[at] * memory.bend[at]);
    }
    each(row, [=](std::uint32_t i) { way[i] *= first; });
    for (std::uint32_t back = memory.held; back > 0; --back) {
      const std::uint32_t at = (memory.head + length - back) % length;
      const double rest = part[at] - product(memory.bends[at], way, row) * memory.scale[at];
      add(way, rest, memory.steps[at], way, row);
    }
    const double slope = product(gradient, way, row);
    return {slope, largest(way, row)};
  }

  CALYX_HD_APART double step(const double* here, double length, const double* way, const double* limit,
                             const double* gradient, std::uint32_t used, std::uint32_t row,
                             double* next) const {
    each(row, [=](std::uint32_t i) {
      double to = here[i] + -length * way[i];
      if (i < used) {
        if (to < -limit[i]) to = -limit[i];
        if (limit[i] < to) to = limit[i];
      }
      next[i] = to;
    });
    double expected = 0.0;
    for (std::uint32_t i = 0; i < used; ++i) expected += gradient[i] * (here[i] - next[i]);
    return expected;
  }

  CALYX_HD_APART void remember(Memory& memory, const double* here, const double* next, const double* gradient,
                               const double* next_gradient, std::uint32_t row) const {
    const std::uint32_t at = memory.head;
    add(next, -1.0, here, memory.steps[at], row);
    add(next_gradient, -1.0, gradient, memory.bends[at], row);
    const double curvature = product(memory.steps[at], memory.bends[at], row);
    if (!(curvature > curvature_min)) return;
    const double bend = product(memory.bends[at], memory.bends[at], row);
    once([&] {
      memory.scale[at] = 1.0 / curvature;
      memory.bend[at] = bend;
      memory.head = (at + 1) % Memory::length;
      if (memory.held < Memory::length) ++memory.held;
    });
  }

 private:
  CALYX_HD static std::uint32_t pairs_of(std::uint32_t count) { return count * (count - 1) / 2; }

  /// Lists the pairs that are close, in their order, and gives how many they are.
  template <class Close>
  CALYX_HD std::uint32_t find_close(std::uint32_t count, Close close) const {
    CrewScratch* const shared = shared_;
    const std::uint32_t all = pairs_of(count);
    std::uint32_t found = 0;
    for (std::uint32_t begin = 0; begin < all; begin += Warp::lane_count) {
      const std::uint32_t bits = warp_.ballot([&](std::uint32_t lane) {
        const std::uint32_t at = begin + lane;
        return at < all && close(shared->pair_first[at], shared->pair_second[at]);
      });
      warp_.each([=](std::uint32_t lane) {
        if (((bits >> lane) & 1U) == 0) return;
        const std::uint32_t at = found + count_bits(bits & ((std::uint32_t{1} << lane) - 1));
        shared->close_first[at] = shared->pair_first[begin + lane];
        shared->close_second[at] = shared->pair_second[begin + lane];
      });
      found += count_bits(bits);
    }
    return found;
  }

  /// Four sums side by side, as the plain lanes have them.
  CALYX_HD_APART double product(const double* a, const double* b, std::uint32_t row) const {
    double* const part = shared_->part;
    each(4, [=](std::uint32_t lane) {
      double sum = 0.0;
      for (std::uint32_t i = lane; i < row; i += 4) sum += a[i] * b[i];
      part[lane] = sum;
    });
    return (part[0] + part[2]) + (part[1] + part[3]);
  }

  /// Writes `a + factor * b`.
  CALYX_HD_APART void add(const double* a, double factor, const double* b, double* out,
                          std::uint32_t row) const {
    each(row, [=](std::uint32_t i) { out[i] = a[i] + factor * b[i]; });
  }

  /// The largest of `of(lane)`, none of them below 0.
  template <class Of>
  CALYX_HD double largest_part(Of of) const {
    double* const part = shared_->part;
    warp_.each([&](std::uint32_t lane) { part[lane] = of(lane); });
    for (std::uint32_t half = Warp::lane_count / 2; half > 0; half /= 2)
      warp_.each([=](std::uint32_t lane) {
        if (lane < half && part[lane + half] > part[lane]) part[lane] = part[lane + half];
      });
    return part[0];
  }

  Warp warp_;
  CrewScratch* shared_;
};

}  // namespace calyx::kernels::packing
