// The packing objective as a plain C library, for peers that a benchmark drives from another language.

#include "calyx_kernels/packing_objective.hpp"

#include "calyx_kernels/elementary.hpp"

namespace {

namespace packing = calyx::kernels::packing;

/// The radius once all centres are moved away from the origin by the smallest factor at which the layout is
/// valid, as the vectors' targets have it. Not a number where no factor does it.
double feasible_radius(const double* numbers) {
  double moved[packing::candidate_numbers];
  packing::Layout layout;
  const auto fits = [&](double factor) {
    for (std::size_t i = 0; i < packing::candidate_numbers; ++i)
      moved[i] = i % 3 == 2 ? numbers[i] : factor * numbers[i];
    layout.set(moved, packing::pieces);
    return layout.feasible();
  };
  double low = 1.0;
  double high = 1.0;
  while (!fits(high)) {
    low = high;
    high *= 2.0;
    if (high > 1e6) return calyx::kernels::math::not_a_number();
  }
  for (int i = 0; i < 40 && high > low; ++i) {
    const double middle = 0.5 * (low + high);
    (fits(middle) ? high : low) = middle;
  }
  fits(high);
  return layout.radius();
}

/// The radius around the centre that 200 steps find from the centroid, each towards the farthest point and a
/// little shorter than the last: how the vectors' targets have it.
double radius_by_steps(const packing::Piece* piece) {
  packing::Vector centre{0.0, 0.0};
  for (std::uint32_t i = 0; i < packing::pieces; ++i)
    centre = centre + (1.0 / packing::pieces) * piece[i].centre;
  constexpr std::uint32_t steps = 200;
  for (std::uint32_t step = 1; step <= steps; ++step) {
    const packing::Vector farthest = packing::furthest_of_all(piece, centre).point;
    centre = centre + (1.0 / (step + 1.0)) * (farthest - centre);
  }
  return packing::length(packing::furthest_of_all(piece, centre).point - centre);
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) double packing_objective(const double* numbers, double penalty) {
  packing::Layout layout;
  layout.set(numbers, packing::pieces);
  return layout.objective(penalty);
}
/// The objective that the targets' SciPy runs had.
__attribute__((visibility("default"))) double packing_objective_of_targets(const double* numbers,
                                                                           double penalty) {
  packing::Layout layout;
  layout.set(numbers, packing::pieces);
  return radius_by_steps(layout.all()) + penalty * layout.overlap_total();
}
__attribute__((visibility("default"))) double packing_feasible_radius(const double* numbers) {
  return feasible_radius(numbers);
}
}
