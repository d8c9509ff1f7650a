/// \file
/// Verdicts on packings of fifteen unit semicircles, without a market: what the recipe `packing` says of
/// them.
///
/// Start at `evaluate`. A candidate is 45 numbers: x, y and direction (radians, of the curved side) of each
/// piece, one after the other. Areas are exact; no number is rounded here, as the scorer's library has it
/// (its command line rounds to 6 decimals first, and so does the recipe's `rounded`).
///
/// Threads: any, at any time; nothing is shared and none is started.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/version.hpp>
#include <cstdint>
#include <span>

namespace calyx::packing {

inline constexpr std::size_t pieces = 15;
inline constexpr std::size_t candidate_numbers = 3 * pieces;

struct Verdict {
  bool valid = false;  ///< No pair shares more than 1e-6, and all pieces lie in the circle.
  double score = 0.0;  ///< The radius of the smallest circle around all pieces; smaller is better.
  double centre_x = 0.0;
  double centre_y = 0.0;
  double overlap_total = 0.0;           ///< The areas that pairs share, added.
  double overlap_max = 0.0;             ///< The largest of them.
  std::uint32_t overlapping_pairs = 0;  ///< Those that share more than 1e-6.
};

/// What computes; the results are the same bytes.
enum class Device : std::uint8_t {
  automatic,  ///< CUDA where a device answers, else the CPU.
  cpu,
  cuda,
};

/// Judges one candidate, on the CPU. Fails: `field_value`: not 45 numbers, one that is not finite, or a
/// coordinate beyond 10^9.
CALYX_EXPORT Result<Verdict> evaluate(std::span<const double> candidate);

/// Judges candidates that lie one after the other, into as many verdicts. Fails, having written nothing:
/// `field_value`, as `evaluate`, with the `index` of the candidate in the details, or where `out` is not as
/// long as there are candidates; `unsupported`: no such device answers.
CALYX_EXPORT Result<Done> evaluate_batch(std::span<const double> candidates, std::span<Verdict> out,
                                         Device device = Device::automatic);

}  // namespace calyx::packing
