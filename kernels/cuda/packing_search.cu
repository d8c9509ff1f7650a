// Searches for packings: a warp a search, from one rest to the next.
#include <algorithm>
#include <chrono>
#include <vector>

#include "calyx_kernels/packing_steps.hpp"
#include "calyx_kernels/packing_warp_crew.hpp"
#include "device.cuh"
#include "warp.cuh"

namespace calyx::kernels::cuda {
namespace {

/// What searches may take of the device's memory at once, if half of what is free is not less.
constexpr std::size_t bytes_max = std::size_t{16} << 30;
/// A launch is to last so long, in evaluations of each search: from the first to at most the last of these.
constexpr std::uint64_t slice_first = 128, slice_last = std::uint64_t{1} << 20;
constexpr std::chrono::milliseconds slice_short{50}, slice_long{200};

/// Asks the host's word, which is far away.
struct AsksFlag {
  static constexpr std::uint32_t every = 256;
  Flag flag;
  __device__ bool stops(const packing::SearchProgress& /*progress*/) const { return flag.asked(); }
};

/// What a launch takes further.
struct Launch {
  packing::SearchSettings settings;  ///< Of the first of them.
  bool has_start;
  std::uint64_t slice;  ///< Evaluations.
  packing::SearchState* states;
  packing::Workspace* works;
  packing::CrewScratch* scratches;
  double* people;
  double* trials;
  std::size_t people_numbers;  ///< Of each.
  Flag flag;
};

__global__ void __launch_bounds__(packing::warp_lanes) search(Launch it) {
  const std::uint64_t index = blockIdx.x;
  packing::SearchSettings settings = it.settings;
  settings.seed += index;
  packing::SearchState& state = it.states[index];
  const std::uint64_t rest_at = state.marks.evaluations + it.slice;
  using Crew = packing::WarpCrew<DeviceWarp>;
  const Crew crew(DeviceWarp{threadIdx.x}, it.scratches[index], settings.count);
  packing::Steps<Crew, AsksFlag> steps(settings, it.has_start, state, it.works[index],
                                       it.people + index * it.people_numbers,
                                       it.trials + index * it.people_numbers, crew, AsksFlag{it.flag});
  static_cast<void>(steps.go(rest_at));
}

/// What stays on the device from one call to the next.
struct Kept {
  Stream stream;
  Event done;
  PinnedArray<std::uint32_t> flag;
  DeviceArray<packing::SearchState> states;
  DeviceArray<packing::Workspace> works;
  DeviceArray<packing::CrewScratch> scratches;
  DeviceArray<double> people, trials;
};

/// Some of a call's searches, which are on the device together.
struct Group {
  std::uint64_t first;
  std::uint64_t count;
  std::vector<packing::SearchState> states;
  std::size_t people_numbers;
};

/// How many searches there is room for.
Status room(const PackingSearchCall& call, std::uint64_t& count) {
  std::size_t free = 0;
  std::size_t all = 0;
  CALYX_CUDA(cudaMemGetInfo(&free, &all));
  const std::size_t each = sizeof(packing::SearchState) + sizeof(packing::Workspace) +
                           sizeof(packing::CrewScratch) +
                           2 * sizeof(double) * packing::people_numbers(call.settings);
  count = std::min<std::uint64_t>(call.count, std::min(bytes_max, free / 2) / each);
  if (count != 0) return Status::ok;
  remember("the device has no room for one search");
  return Status::no_memory;
}

Status put(Kept& kept, const PackingSearchCall& call, Group& group) {
  CALYX_CUDA_DO(kept.states.need(group.count));
  CALYX_CUDA_DO(kept.works.need(group.count));
  CALYX_CUDA_DO(kept.scratches.need(group.count));
  CALYX_CUDA_DO(kept.people.need(group.count * group.people_numbers));
  CALYX_CUDA_DO(kept.trials.need(group.count * group.people_numbers));
  // In the stream that reads them: who copies without one may come back before the copy has arrived.
  const cudaStream_t stream = kept.stream.get();
  for (std::uint64_t i = 0; i < group.count; ++i) {
    group.states.push_back(*call.states[group.first + i]);
    if (group.people_numbers != 0)
      CALYX_CUDA(cudaMemcpyAsync(kept.people.data() + i * group.people_numbers, call.people[group.first + i],
                                 group.people_numbers * sizeof(double), cudaMemcpyHostToDevice, stream));
  }
  CALYX_CUDA(cudaMemcpyAsync(kept.states.data(), group.states.data(), group.count * sizeof group.states[0],
                             cudaMemcpyHostToDevice, stream));
  CALYX_CUDA(cudaStreamSynchronize(stream));
  return Status::ok;
}

/// Once the stream has ended.
Status bring(Kept& kept, const PackingSearchCall& call, Group& group, bool whole) {
  CALYX_CUDA(cudaMemcpy(group.states.data(), kept.states.data(), group.count * sizeof group.states[0],
                        cudaMemcpyDeviceToHost));
  for (std::uint64_t i = 0; i < group.count; ++i) {
    *call.states[group.first + i] = group.states[i];
    if (whole && group.people_numbers != 0)
      CALYX_CUDA(cudaMemcpy(call.people[group.first + i], kept.people.data() + i * group.people_numbers,
                            group.people_numbers * sizeof(double), cudaMemcpyDeviceToHost));
  }
  return Status::ok;
}

std::uint64_t evaluations_of(const Group& group) {
  std::uint64_t all = 0;
  for (const packing::SearchState& state : group.states) all += state.marks.evaluations;
  return all;
}

bool all_over(const Group& group) {
  return std::all_of(group.states.begin(), group.states.end(), [](const packing::SearchState& state) {
    return state.marks.phase == packing::Phase::over;
  });
}

Status run(Kept& kept, const PackingSearchCall& call, std::uint64_t first, std::uint64_t count) {
  Group group{first, count, {}, packing::people_numbers(call.settings)};
  CALYX_CUDA_DO(put(kept, call, group));
  Launch launch{};
  launch.settings = call.settings;
  launch.settings.seed += first;
  launch.has_start = call.has_start;
  launch.slice = slice_first;
  launch.states = kept.states.data();
  launch.works = kept.works.data();
  launch.scratches = kept.scratches.data();
  launch.people = kept.people.data();
  launch.trials = kept.trials.data();
  launch.people_numbers = group.people_numbers;
  launch.flag = {kept.flag.data()};
  std::uint64_t brought = evaluations_of(group);
  while (!all_over(group)) {
    const auto begin = std::chrono::steady_clock::now();
    search<<<static_cast<unsigned>(count), packing::warp_lanes, 0, kept.stream.get()>>>(launch);
    CALYX_CUDA(cudaGetLastError());
    const Status waited = wait_for(kept.stream, kept.done, kept.flag, call.stop);
    if (waited != Status::ok && waited != Status::stopped) return waited;
    const auto took = std::chrono::steady_clock::now() - begin;
    if (took < slice_short)
      launch.slice = std::min(2 * launch.slice, slice_last);
    else if (took > slice_long)
      launch.slice = std::max(launch.slice / 2, slice_first);
    CALYX_CUDA_DO(bring(kept, call, group, false));
    const std::uint64_t evaluations = evaluations_of(group);
    const bool ends = waited == Status::stopped || all_over(group);
    const bool whole = ends || group.people_numbers == 0 || evaluations - brought >= call.people_every;
    if (whole) {
      CALYX_CUDA_DO(bring(kept, call, group, true));
      brought = evaluations;
    }
    if (waited == Status::stopped) return waited;
    if (call.rests(call.rests_context, whole) || all_over(group)) continue;
    CALYX_CUDA_DO(bring(kept, call, group, true));
    return Status::stopped;
  }
  return Status::ok;
}

}  // namespace

Status packing_search(const PackingSearchCall& call) {
  static auto* const kept = new Kept;
  CALYX_CUDA_DO(kept->stream.open());
  CALYX_CUDA_DO(kept->done.open());
  CALYX_CUDA_DO(kept->flag.need(1));
  *kept->flag.data() = 0;
  std::uint64_t together = 0;
  CALYX_CUDA_DO(room(call, together));
  for (std::uint64_t first = 0; first < call.count; first += together)
    CALYX_CUDA_DO(run(*kept, call, first, std::min(together, call.count - first)));
  return Status::ok;
}

}  // namespace calyx::kernels::cuda
