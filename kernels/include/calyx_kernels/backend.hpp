/// \file
/// The seam between the recipes and the machines that run them: one table of operations a backend.
///
/// Start at `choose_backend`. Every operation of class `exact` gives the same bytes on every backend.
///
/// Threads: any, at any time; a backend keeps no state that a caller could see, and starts no thread.

#pragma once

#include <cstddef>

#include "calyx_kernels/packing.hpp"
#include "calyx_kernels/recipe.hpp"

/// Opens a name of libcalyx to those who link it.
#if defined(__GNUC__)
#define CALYX_KERNELS_API __attribute__((visibility("default")))
#else
#define CALYX_KERNELS_API
#endif

namespace calyx::kernels {

/// What one machine can do. No type of any device library is named here.
struct Backend {
  const char* name;  ///< "cpu" or "cuda".
  bool (*usable)() noexcept;
  /// Judges `count` candidates of `packing::candidate_numbers` numbers each, one after the other, into
  /// `count` verdicts.
  ///
  /// Fails: what `packing::check_candidate` says of the first candidate it refuses; then nothing is written.
  /// On a device also `no_device`, when it fails in the middle of its work.
  Code (*packing_eval)(const double* candidates, std::size_t count, packing::Verdict* out) noexcept;
};

CALYX_KERNELS_API const Backend& cpu_backend() noexcept;
CALYX_KERNELS_API const Backend* cuda_backend() noexcept;  ///< Null where its module is not.

/// Verdicts at once from which a device is worth the way to it: some ten milliseconds of a core.
inline constexpr std::size_t packing_device_min = 1'000;

/// What the caller asks for.
enum class Preference { none, cpu, cuda };

/// The backend to use: the one preferred, or without a preference CUDA where a device answers, else the CPU.
/// Null when the preferred one is not in this build or not usable on this machine.
CALYX_KERNELS_API const Backend* choose_backend(Preference preference = Preference::none) noexcept;

}  // namespace calyx::kernels
