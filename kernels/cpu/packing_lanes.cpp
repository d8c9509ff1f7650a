#include "calyx_kernels/packing_lanes.hpp"

#include <algorithm>
#include <cstring>

namespace calyx::kernels::packing {
namespace {
namespace plain {

/// Two numbers that are worked on at once, to the bits that each would have alone.
using Two = double __attribute__((vector_size(16)));

Two two_at(const double* from) {
  Two out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

void put(Two two, double* to) { std::memcpy(to, &two, sizeof two); }

/// Four sums side by side, always the same four: one alone would wait for itself.
double product(const double* a, const double* b, std::uint32_t row) {
  Two low{0.0, 0.0};
  Two high{0.0, 0.0};
  for (std::uint32_t i = 0; i < row; i += 4) {
    low += two_at(a + i) * two_at(b + i);
    high += two_at(a + i + 2) * two_at(b + i + 2);
  }
  const Two sums = low + high;
  return sums[0] + sums[1];
}

/// Writes `a + factor * b`.
void sum_of(const double* a, double factor, const double* b, double* out, std::uint32_t row) {
  const Two both{factor, factor};
  for (std::uint32_t i = 0; i < row; i += 2) put(two_at(a + i) + both * two_at(b + i), out + i);
}

double largest(const double* a, std::uint32_t row) {
  double sizes[4] = {0.0, 0.0, 0.0, 0.0};
  for (std::uint32_t i = 0; i < row; i += 4)
    for (std::uint32_t lane = 0; lane < 4; ++lane)
      sizes[lane] = std::max(sizes[lane], math::absolute(a[i + lane]));
  return std::max(std::max(sizes[0], sizes[1]), std::max(sizes[2], sizes[3]));
}

Heading heading(const Memory& memory, const double* gradient, double stiffness, std::uint32_t row,
                double* way) {
  constexpr std::uint32_t length = Memory::length;
  double part[length];
  std::copy(gradient, gradient + row, way);
  for (std::uint32_t back = 1; back <= memory.held; ++back) {
    const std::uint32_t at = (memory.head + length - back) % length;
    part[at] = product(memory.steps[at], way, row) * memory.scale[at];
    sum_of(way, -part[at], memory.bends[at], way, row);
  }
  double first = 0.0;
  if (memory.held == 0) {
    first = std::min(0.1 / math::square_root(product(gradient, gradient, row)), 0.5 / stiffness);
  } else {
    const std::uint32_t at = (memory.head + length - 1) % length;
    first = 1.0 / (memory.scale[at] * memory.bend[at]);
  }
  for (std::uint32_t i = 0; i < row; ++i) way[i] *= first;
  for (std::uint32_t back = memory.held; back > 0; --back) {
    const std::uint32_t at = (memory.head + length - back) % length;
    const double rest = part[at] - product(memory.bends[at], way, row) * memory.scale[at];
    sum_of(way, rest, memory.steps[at], way, row);
  }
  return {product(gradient, way, row), largest(way, row)};
}

double step(const double* here, double length, const double* way, const double* limit, const double* gradient,
            std::uint32_t used, std::uint32_t row, double* next) {
  sum_of(here, -length, way, next, row);
  for (std::uint32_t i = 0; i < used; ++i) next[i] = std::min(std::max(next[i], -limit[i]), limit[i]);
  double expected = 0.0;
  for (std::uint32_t i = 0; i < used; ++i) expected += gradient[i] * (here[i] - next[i]);
  return expected;
}

void remember(Memory& memory, const double* here, const double* next, const double* gradient,
              const double* next_gradient, std::uint32_t row) {
  const std::uint32_t at = memory.head;
  sum_of(next, -1.0, here, memory.steps[at], row);
  sum_of(next_gradient, -1.0, gradient, memory.bends[at], row);
  const double curvature = product(memory.steps[at], memory.bends[at], row);
  if (!(curvature > curvature_min)) return;
  memory.scale[at] = 1.0 / curvature;
  memory.bend[at] = product(memory.bends[at], memory.bends[at], row);
  memory.head = (at + 1) % Memory::length;
  memory.held = std::min(memory.held + 1, Memory::length);
}

double energy(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
              const double* allowed, Nearby& /*nearby*/) {
  return packing::energy(numbers, count, stiffness, gradient, allowed);
}

}  // namespace plain
}  // namespace

const Lanes& plain_lanes() noexcept {
  static constexpr Lanes lanes{"plain",        plain::energy, plain::largest,
                               plain::heading, plain::step,   plain::remember};
  return lanes;
}

const Lanes& best_lanes() noexcept {
  static const Lanes& best = avx2_lanes() != nullptr ? *avx2_lanes() : plain_lanes();
  return best;
}

}  // namespace calyx::kernels::packing
