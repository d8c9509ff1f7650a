/// \file
/// What all calls of simulations share: tapes of what the seeds draw, which stay on the device, and how a
/// call goes over its seeds.
///
/// Start at `Tapes` and `for_launches`.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "calyx_kernels/prop_amm_tape.hpp"
#include "device.cuh"

namespace calyx::kernels::cuda {

inline constexpr unsigned threads = 64;  // a block: fewer registers than a larger one would leave each
/// Seeds between two looks at whether to go on, and two words of progress.
inline constexpr std::uint64_t lanes_max = 65'536;

inline unsigned blocks_for(std::uint64_t lanes) {
  return static_cast<unsigned>((lanes + threads - 1) / threads);
}

/// Some lanes of a tape, which one launch simulates.
struct Lanes {
  prop_amm::Tape tape;
  std::uint64_t first;  ///< Of the tape.
  std::uint64_t count;
  std::uint64_t seed_first;  ///< Of the first of these lanes.
};

/// What stays on the device from one call to the next, the stream of all that is simulated, and the flag.
class Tapes {
 public:
  Status open();
  cudaStream_t stream() const { return stream_.get(); }
  Flag flag() const { return {flag_.data()}; }

  /// How many lanes a tape of these steps may have.
  static Status room(std::uint32_t steps, std::uint64_t& lanes);
  /// Records the tape of these seeds, unless it is there.
  Status record(const SeedsAsked& asked, std::uint64_t seed_first, std::uint64_t lanes);
  /// `count` lanes of the tape, from the one of `seed_first` on.
  Lanes lanes(std::uint64_t seed_first, std::uint64_t count) const {
    return {tape_, seed_first - seed_first_, count, seed_first};
  }
  /// Waits for the stream, and asks the caller meanwhile whether to go on.
  Status wait(const prop_amm::Stop& stop);

 private:
  Stream stream_;
  Event done_;
  PinnedArray<std::uint32_t> flag_;

  // The tape and what it is one of.
  DeviceArray<double> price_, guess_, order_;
  DeviceArray<std::uint16_t> count_;
  DeviceArray<std::uint64_t> orders_;
  prop_amm::Tape tape_;
  std::uint64_t seed_first_ = 0;
  std::uint32_t steps_ = 0;  ///< 0: there is no tape.
};

/// The module's own, under its lock.
Tapes& tapes();

/// Simulates all seeds of a call, `launch_lanes` at once at most: `simulate(lanes, at)` has the results of
/// these lanes at the call's seeds from `at` on, or says why not.
template <class Simulate>
Status for_launches(const SeedsAsked& asked, std::uint64_t launch_lanes, Simulate simulate) {
  Tapes& kept = tapes();
  std::uint64_t tape_lanes = 0;
  CALYX_CUDA_DO(Tapes::room(asked.settings.steps, tape_lanes));
  for (std::uint64_t first = 0; first < asked.count; first += tape_lanes) {
    const std::uint64_t recorded = std::min(tape_lanes, asked.count - first);
    CALYX_CUDA_DO(kept.record(asked, asked.seed_first + first, recorded));
    for (std::uint64_t i = 0; i < recorded; i += launch_lanes) {
      const std::uint64_t now = std::min(launch_lanes, recorded - i);
      CALYX_CUDA_DO(simulate(kept.lanes(asked.seed_first + first + i, now), first + i));
      if (asked.progress != nullptr) asked.progress(asked.progress_context, first + i + now);
    }
  }
  return Status::ok;
}

}  // namespace calyx::kernels::cuda
