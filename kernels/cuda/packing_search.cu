// Searches for packings: a warp a search, from one rest to the next.
#include <algorithm>
#include <vector>

#include "calyx_kernels/packing_groups.hpp"
#include "calyx_kernels/packing_steps.hpp"
#include "calyx_kernels/packing_warp_crew.hpp"
#include "device.cuh"
#include "warp.cuh"

namespace calyx::kernels::cuda {
namespace {

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
  packing::Steps<Crew, AsksFlag> steps(
      settings, it.has_start, state, it.works[index],
      {it.people + index * it.people_numbers, it.trials + index * it.people_numbers}, crew,
      AsksFlag{it.flag});
  static_cast<void>(steps.go(rest_at));
}

/// The device for one call, whose memory goes with it: it is too much to be kept, and so calls of several
/// threads are beside each other.
class Searching {
 public:
  explicit Searching(const PackingSearchCall& call) : call_(call) {}

  Status open() {
    CALYX_CUDA_DO(stream_.open());
    CALYX_CUDA_DO(done_.open());
    CALYX_CUDA_DO(flag_.need(1));
    *flag_.data() = 0;
    return Status::ok;
  }

  /// How many searches there is room for.
  Status room(std::uint64_t& count) const {
    std::size_t free = 0;
    std::size_t all = 0;
    CALYX_CUDA(cudaMemGetInfo(&free, &all));
    const std::size_t each = sizeof(packing::SearchState) + sizeof(packing::Workspace) +
                             sizeof(packing::CrewScratch) +
                             2 * sizeof(double) * packing::people_numbers(call_.settings);
    count = std::min<std::uint64_t>(call_.count, free / 2 / each);
    if (count != 0) return Status::ok;
    remember("the device has no room for one search");
    return Status::no_memory;
  }

  Status put(const SearchGroup& group) {
    const std::uint64_t count = group.count;
    const std::size_t numbers = group.people_numbers;
    CALYX_CUDA_DO(states_.need(count));
    CALYX_CUDA_DO(works_.need(count));
    CALYX_CUDA_DO(scratches_.need(count));
    CALYX_CUDA_DO(people_.need(count * numbers));
    CALYX_CUDA_DO(trials_.need(count * numbers));
    held_.resize(count);
    // In the stream that reads them: who copies without one may come back before the copy has arrived.
    for (std::uint64_t i = 0; i < count; ++i) {
      held_[i] = group.state(i);
      if (numbers != 0)
        CALYX_CUDA(cudaMemcpyAsync(people_.data() + i * numbers, group.people(i), numbers * sizeof(double),
                                   cudaMemcpyHostToDevice, stream_.get()));
    }
    CALYX_CUDA(cudaMemcpyAsync(states_.data(), held_.data(), count * sizeof held_[0], cudaMemcpyHostToDevice,
                               stream_.get()));
    CALYX_CUDA(cudaStreamSynchronize(stream_.get()));
    launch_ = {group.settings(0), call_.has_start, 0,       states_.data(), works_.data(), scratches_.data(),
               people_.data(),    trials_.data(),  numbers, {flag_.data()}};
    return Status::ok;
  }

  Status launch(std::uint64_t slice) {
    launch_.slice = slice;
    search<<<static_cast<unsigned>(held_.size()), packing::warp_lanes, 0, stream_.get()>>>(launch_);
    CALYX_CUDA(cudaGetLastError());
    return wait_for(stream_, done_, flag_, call_.stop);
  }

  Status bring(const SearchGroup& group, Brought what) {
    const std::size_t numbers = group.people_numbers;
    CALYX_CUDA(
        cudaMemcpy(held_.data(), states_.data(), held_.size() * sizeof held_[0], cudaMemcpyDeviceToHost));
    for (std::uint64_t i = 0; i < group.count; ++i) {
      group.state(i) = held_[i];
      if (what == Brought::all && numbers != 0)
        CALYX_CUDA(cudaMemcpy(group.people(i), people_.data() + i * numbers, numbers * sizeof(double),
                              cudaMemcpyDeviceToHost));
    }
    return Status::ok;
  }

 private:
  const PackingSearchCall& call_;
  Stream stream_;
  Event done_;
  PinnedArray<std::uint32_t> flag_;
  DeviceArray<packing::SearchState> states_;
  DeviceArray<packing::Workspace> works_;
  DeviceArray<packing::CrewScratch> scratches_;
  DeviceArray<double> people_, trials_;
  std::vector<packing::SearchState> held_;  // the host's copy
  Launch launch_{};
};

}  // namespace

Status packing_search(const PackingSearchCall& call) {
  Searching device(call);
  CALYX_CUDA_DO(device.open());
  std::uint64_t together = 0;
  CALYX_CUDA_DO(device.room(together));
  return search_in_groups(call, together, device);
}

}  // namespace calyx::kernels::cuda
