/// \file
/// How a call of searches goes over a device: in groups of as many as it has room for, from rest to rest.
///
/// Start at `search_in_groups`. It is written over a device that may be a real one, or a host in its place.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/packing_search.hpp"

namespace calyx::kernels::cuda {

/// Some of a call's searches, which are on the device together.
struct SearchGroup {
  const PackingSearchCall& call;
  std::uint64_t first;
  std::uint64_t count;
  std::size_t people_numbers;  ///< Of each.

  packing::SearchState& state(std::uint64_t i) const { return *call.states[first + i]; }
  double* people(std::uint64_t i) const { return call.people[first + i]; }
  /// Those of search i.
  packing::SearchSettings settings(std::uint64_t i) const {
    packing::SearchSettings out = call.settings;
    out.seed += first + i;
    return out;
  }

  std::uint64_t evaluations() const {
    std::uint64_t all = 0;
    for (std::uint64_t i = 0; i < count; ++i) all += state(i).marks.evaluations;
    return all;
  }
  bool over() const {
    for (std::uint64_t i = 0; i < count; ++i)
      if (state(i).marks.phase != packing::Phase::over) return false;
    return true;
  }
};

/// Takes the searches of a group to their ends. `Device` has, each with a status, `put(group)`, which takes
/// states and populations there; `launch(slice)`, which lets each search make so many evaluations and waits,
/// `stopped` where the caller wants no more; and `bring(group, what)`.
template <class Device>
Status search_group(const SearchGroup& group, Device& device) {
  // A launch is to last so long; a step in it may last longer.
  constexpr std::chrono::milliseconds short_launch{50};
  constexpr std::chrono::milliseconds long_launch{200};
  constexpr std::uint64_t slice_min = 128;
  constexpr std::uint64_t slice_max = std::uint64_t{1} << 20;
  const auto run = [](Status status) { return status == Status::ok || status == Status::stopped; };

  if (const Status put = device.put(group); put != Status::ok) return put;
  std::uint64_t slice = slice_min;
  std::uint64_t brought = group.evaluations();
  while (!group.over()) {
    const auto begin = std::chrono::steady_clock::now();
    const Status launched = device.launch(slice);
    if (!run(launched)) return launched;
    const auto took = std::chrono::steady_clock::now() - begin;
    if (took < short_launch)
      slice = std::min(2 * slice, slice_max);
    else if (took > long_launch)
      slice = std::max(slice / 2, slice_min);
    if (const Status status = device.bring(group, Brought::states); status != Status::ok) return status;
    const std::uint64_t evaluations = group.evaluations();
    const bool last = launched == Status::stopped || group.over();
    Brought what = Brought::states;
    if (last || group.people_numbers == 0 || evaluations - brought >= group.call.people_every) {
      what = Brought::all;
      brought = evaluations;
      if (const Status status = device.bring(group, what); status != Status::ok) return status;
    }
    if (launched == Status::stopped) return launched;
    if (group.call.rests(group.call.rests_context, what)) continue;
    if (group.over()) break;
    if (const Status status = device.bring(group, Brought::all); status != Status::ok) return status;
    return Status::stopped;
  }
  return Status::ok;
}

/// All searches of a call, of which the device has room for `together` at once, at least one.
template <class Device>
Status search_in_groups(const PackingSearchCall& call, std::uint64_t together, Device& device) {
  const std::size_t people_numbers = packing::people_numbers(call.settings);
  for (std::uint64_t first = 0; first < call.count; first += together) {
    const SearchGroup group{call, first, std::min(together, call.count - first), people_numbers};
    if (const Status status = search_group(group, device); status != Status::ok) return status;
  }
  return Status::ok;
}

}  // namespace calyx::kernels::cuda
