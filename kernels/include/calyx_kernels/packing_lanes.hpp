/// \file
/// What a descent spends its time in, on several numbers at once where the processor can: the energy of
/// packing_objective.hpp and the sums of a quasi-Newton method with a limited memory.
///
/// There is more than one way to do it and all of them give the same bits: nothing is contracted, and every
/// sum has one order, four sums side by side where a row of numbers is added up.
///
/// Rows of numbers have `row_max` places, are aligned to `row_alignment` and end in zeros: `row_of(n)` of
/// them are worked on, `n` being what they hold.
///
/// Start at `best_lanes`.
///
/// Units: as in packing_objective.hpp.
/// Threads: any; nothing is kept between calls but in what the caller hands in.

#pragma once

#include <cstddef>
#include <cstdint>

#include "calyx_kernels/packing_crew.hpp"
#include "calyx_kernels/packing_objective.hpp"

namespace calyx::kernels::packing {

/// The numbers of a layout and a radius, up to a multiple of four.
inline constexpr std::uint32_t row_max = (numbers_max + 1 + 3) / 4 * 4;
inline constexpr std::size_t row_alignment = 32;

constexpr std::uint32_t row_of(std::uint32_t numbers) { return (numbers + 3) / 4 * 4; }

/// A step over which the gradient bends less is not worth remembering.
inline constexpr double curvature_min = 1e-14;

/// The pairs of a layout that may be in each other, which hold for its neighbours too: a descent hardly moves
/// from one of its layouts to the next. What an energy is does not depend on them.
struct Nearby {
  alignas(row_alignment) double numbers[row_max];  ///< The layout that they were looked up for.
  std::uint8_t first[pairs_max + 8];
  std::uint8_t second[pairs_max + 8];
  std::uint32_t count;
  bool known = false;  ///< Set to false before `numbers` is of another count of pieces.
};

/// The last steps of a descent, and how the gradient bent over each.
struct Memory {
  static constexpr std::uint32_t length = 5;
  alignas(row_alignment) double steps[length][row_max];
  alignas(row_alignment) double bends[length][row_max];
  double scale[length];    ///< 1 over the product of the two.
  double bend[length];     ///< The product of a bend with itself.
  std::uint32_t held = 0;  ///< How many are known.
  std::uint32_t head = 0;  ///< Where the next one goes.
};

/// Where a descent goes next.
struct Heading {
  double slope;    ///< The product of the gradient and the way; above 0 where the way leads down.
  double largest;  ///< The largest size of a number of the way.
};

/// One way to do the work. `row` is that of the numbers in use.
struct Lanes {
  const char* name;
  /// `energy`, to the bit. `numbers` and `gradient` are rows; what `gradient` has beyond its numbers is not
  /// touched. `nearby` is kept for the next call.
  double (*energy)(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
                   const double* allowed, Nearby& nearby);
  /// The largest size of a number.
  double (*largest)(const double* numbers, std::uint32_t row);
  /// Writes the way that the memory makes of the gradient: by both of its loops, or, where nothing is held,
  /// straight up the gradient, so far that a soft contact would be left.
  Heading (*heading)(const Memory& memory, const double* gradient, double stiffness, std::uint32_t row,
                     double* way);
  /// Writes to `next` where `length` of the way against it leads from `here`, no number going beyond its
  /// `limit` in size, and returns what the gradient says of the first `used` numbers' descent.
  double (*step)(const double* here, double length, const double* way, const double* limit,
                 const double* gradient, std::uint32_t used, std::uint32_t row, double* next);
  /// Keeps the step from `here` to `next` in memory, unless the energy bends too little over it.
  void (*remember)(Memory& memory, const double* here, const double* next, const double* gradient,
                   const double* next_gradient, std::uint32_t row);
};

/// For any processor.
const Lanes& plain_lanes() noexcept;
/// Four numbers at once, or null in a build or on a processor that has no AVX2.
const Lanes* avx2_lanes() noexcept;
/// The fastest of them here.
const Lanes& best_lanes() noexcept;

/// One thread of a host, with some lanes for its descents.
class LanesCrew : public Alone {
 public:
  /// Both outlive it; `nearby` is this crew's alone.
  LanesCrew(const Lanes& lanes, Nearby& nearby) : lanes_(lanes), nearby_(nearby) {}

  void begin_descent() const { nearby_.known = false; }
  double energy(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
                const double* allowed) const {
    return lanes_.energy(numbers, count, stiffness, gradient, allowed, nearby_);
  }
  double largest(const double* numbers, std::uint32_t row) const { return lanes_.largest(numbers, row); }
  Heading heading(const Memory& memory, const double* gradient, double stiffness, std::uint32_t row,
                  double* way) const {
    return lanes_.heading(memory, gradient, stiffness, row, way);
  }
  double step(const double* here, double length, const double* way, const double* limit,
              const double* gradient, std::uint32_t used, std::uint32_t row, double* next) const {
    return lanes_.step(here, length, way, limit, gradient, used, row, next);
  }
  void remember(Memory& memory, const double* here, const double* next, const double* gradient,
                const double* next_gradient, std::uint32_t row) const {
    lanes_.remember(memory, here, next, gradient, next_gradient, row);
  }

 private:
  const Lanes& lanes_;
  Nearby& nearby_;
};

}  // namespace calyx::kernels::packing
