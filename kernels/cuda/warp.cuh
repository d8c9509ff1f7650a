/// \file
/// A device's warp, as packing_warp.hpp and packing_warp_crew.hpp have it.
#pragma once

#include <cstdint>

#include "calyx_kernels/packing_warp.hpp"

namespace calyx::kernels::cuda {

/// The lanes that run at once. The barriers also make what one lane wrote visible to the others.
struct DeviceWarp {
  static constexpr std::uint32_t lane_count = packing::warp_lanes;
  unsigned lane;

  template <class F>
  __device__ void each(F f) const {
    __syncwarp();
    f(static_cast<std::uint32_t>(lane));
    __syncwarp();
  }
  template <class F>
  __device__ std::uint32_t ballot(F f) const {
    const std::uint32_t bits = __ballot_sync(0xffffffffU, f(static_cast<std::uint32_t>(lane)) ? 1 : 0);
    __syncwarp();
    return bits;
  }
};

}  // namespace calyx::kernels::cuda
