/// \file
/// What computes where there is a choice.
#pragma once

#include <cstdint>

namespace calyx {

/// What computes; the results are the same bytes.
enum class Device : std::uint8_t {
  automatic,  ///< CUDA where a device answers and the work is worth the way to it, else the CPU.
  cpu,
  cuda,
};

}  // namespace calyx
