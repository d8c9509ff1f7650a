/// \file
/// What a recipe promises about its bytes, and the codes with which a kernel refuses its input.

#pragma once

#include <cstdint>

namespace calyx::kernels {

/// Why a kernel refused its input. The numbers never change.
enum class Code : std::int32_t {
  ok = 0,
  wrong_length = 1,  ///< Not the count of numbers that the operation takes.
  not_finite = 2,    ///< A NaN or an infinity.
  out_of_range = 3,  ///< Finite, but beyond the limit that the operation names.
  no_device = 4,     ///< The device failed in the middle of it; what was written means nothing.
};

/// How alike two runs of one operation are.
enum class Exactness : std::int32_t {
  exact = 0,       ///< The same bytes on every backend, so a receipt may carry their digest.
  repeatable = 1,  ///< The same bytes on one device and build.
  bounded = 2,     ///< Within a stated error.
};

/// One operation of one sealed recipe.
struct Recipe {
  const char* name;
  const char* operation;
  Exactness exactness;
};

inline constexpr Recipe packing_eval_recipe{"packing", "eval", Exactness::exact};
inline constexpr Recipe gpu_probe_recipe{"gpu_probe", "measure", Exactness::bounded};

}  // namespace calyx::kernels
