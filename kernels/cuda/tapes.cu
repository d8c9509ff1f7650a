// Tapes of what the seeds draw, and waiting for what reads them.
#include <vector>

#include "tapes.cuh"

namespace calyx::kernels::cuda {
namespace {

namespace amm = kernels::prop_amm;

/// What a tape may take, if a quarter of the free memory is not less.
constexpr std::size_t tape_bytes_max = std::size_t{16} << 30;

__global__ void record_steps(amm::Tape tape, std::uint64_t seed_first, std::uint32_t steps) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane < tape.lanes) amm::record_steps(tape, lane, seed_first + lane, steps);
}

__global__ void count_orders(amm::Tape tape, std::uint64_t seed_first, std::uint32_t steps,
                             std::uint64_t* orders) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane < tape.lanes) orders[lane] = amm::count_orders(tape, lane, seed_first + lane, steps);
}

__global__ void record_orders(amm::Tape tape, std::uint64_t seed_first, std::uint32_t steps) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane < tape.lanes) amm::record_orders(tape, lane, seed_first + lane, steps);
}

}  // namespace

Tapes& tapes() {
  // Never destroyed, as the lock.
  static auto* const kept = new Tapes;
  return *kept;
}

Status Tapes::open() {
  CALYX_CUDA_DO(stream_.open());
  CALYX_CUDA_DO(done_.open());
  CALYX_CUDA_DO(flag_.need(1));
  *flag_.data() = 0;
  return Status::ok;
}

Status Tapes::wait(const amm::Stop& stop) { return wait_for(stream_, done_, flag_, stop); }

Status Tapes::room(std::uint32_t steps, std::uint64_t& lanes) {
  std::size_t free = 0;
  std::size_t all = 0;
  CALYX_CUDA(cudaMemGetInfo(&free, &all));
  const std::size_t budget = std::min(tape_bytes_max, free / 4);
  // Orders: 1.2 a step at most, on average, and some more of them in a short simulation.
  const std::size_t lane_bytes = (std::size_t{steps} * 3 / 2 + 64) * sizeof(double) +
                                 std::size_t{steps} * (2 * sizeof(double) + sizeof(std::uint16_t));
  lanes = std::min<std::uint64_t>(lanes_max, budget / lane_bytes);
  if (lanes == 0) {
    remember("the device has no room for one simulation of so many steps");
    return Status::no_memory;
  }
  return Status::ok;
}

Status Tapes::record(const SeedsAsked& asked, std::uint64_t seed_first, std::uint64_t lanes) {
  const std::uint32_t steps = asked.settings.steps;
  if (steps_ == steps && seed_first - seed_first_ <= tape_.lanes &&
      lanes <= tape_.lanes - (seed_first - seed_first_))
    return Status::ok;
  steps_ = 0;
  tape_ = {};
  CALYX_CUDA_DO(price_.need(steps * lanes));
  CALYX_CUDA_DO(guess_.need(steps * lanes));
  CALYX_CUDA_DO(count_.need(steps * lanes));
  CALYX_CUDA_DO(orders_.need(lanes));
  amm::Tape tape{price_.data(), guess_.data(), count_.data(), nullptr, lanes};
  record_steps<<<blocks_for(lanes), threads, 0, stream()>>>(tape, seed_first, steps);
  CALYX_CUDA(cudaGetLastError());
  count_orders<<<blocks_for(lanes), threads, 0, stream()>>>(tape, seed_first, steps, orders_.data());
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(wait(asked.stop));
  std::vector<std::uint64_t> orders(lanes);
  CALYX_CUDA(cudaMemcpy(orders.data(), orders_.data(), lanes * sizeof orders[0], cudaMemcpyDeviceToHost));
  CALYX_CUDA_DO(
      order_.need(std::max<std::uint64_t>(1, *std::max_element(orders.begin(), orders.end())) * lanes));
  tape.order = order_.data();
  record_orders<<<blocks_for(lanes), threads, 0, stream()>>>(tape, seed_first, steps);
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(wait(asked.stop));
  tape_ = tape;
  seed_first_ = seed_first;
  steps_ = steps;
  return Status::ok;
}

}  // namespace calyx::kernels::cuda
