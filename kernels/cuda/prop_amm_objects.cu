// Simulations of an eBPF object: a thread for each seed.
#include <algorithm>

#include "tapes.cuh"

namespace calyx::kernels::cuda {
namespace {

namespace amm = kernels::prop_amm;

/// What the stacks and heaps of a launch may take, if a quarter of the free memory is not less.
constexpr std::size_t memory_bytes_max = std::size_t{16} << 30;

/// What a launch simulates: some lanes of a tape.
struct Launch {
  sbpf::Program program;
  Lanes lanes;
  amm::Settings settings;
  std::uint64_t limit;
  unsigned char* memory;
  std::size_t memory_bytes;  ///< Of each lane in `memory`.
  amm::Result* results;
  amm::SbpfFaults* faults;
  Flag flag;
};

__global__ void __launch_bounds__(threads) simulate(Launch it) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane >= it.lanes.count) return;
  static_cast<void>(amm::play(it.program, it.memory + lane * it.memory_bytes, it.lanes.tape,
                              it.lanes.first + lane, it.lanes.seed_first + lane, it.settings, it.limit,
                              it.flag, it.results[lane], it.faults[lane]));
}

/// What a call takes of the device, and gives back at its end: too much to be kept.
struct Taken {
  DeviceArray<sbpf::Instruction> code;
  DeviceArray<unsigned char> image;
  DeviceArray<unsigned char> memory;
  DeviceArray<amm::Result> results;
  DeviceArray<amm::SbpfFaults> faults;
};

/// Puts the object on the device; gives it as it lies there.
Status put_program(Taken& taken, const PropAmmObjectCall& call, sbpf::Program& program) {
  program = call.program;
  const std::size_t slots = std::size_t{program.slots} + 1;
  CALYX_CUDA_DO(taken.code.need(slots));
  CALYX_CUDA_DO(taken.image.need(std::max<std::size_t>(1, program.image_bytes)));
  // In the stream that reads them: who copies without one may come back before the copy has arrived.
  const cudaStream_t stream = tapes().stream();
  CALYX_CUDA(cudaMemcpyAsync(taken.code.data(), program.code, slots * sizeof(sbpf::Instruction),
                             cudaMemcpyHostToDevice, stream));
  if (program.image_bytes != 0)
    CALYX_CUDA(cudaMemcpyAsync(taken.image.data(), program.image, program.image_bytes, cudaMemcpyHostToDevice,
                               stream));
  CALYX_CUDA(cudaStreamSynchronize(stream));
  program.code = taken.code.data();
  program.image = taken.image.data();
  return Status::ok;
}

/// How many simulations of the object may run at once.
Status room(const sbpf::Program& program, std::uint64_t& lanes) {
  std::size_t free = 0;
  std::size_t all = 0;
  CALYX_CUDA(cudaMemGetInfo(&free, &all));
  lanes =
      std::min<std::uint64_t>(lanes_max, std::min(memory_bytes_max, free / 4) / amm::memory_bytes(program));
  if (lanes == 0) {
    remember("the device has no room for the stack and the heap of one simulation");
    return Status::no_memory;
  }
  return Status::ok;
}

/// Simulates some lanes; the results are those of the call's seeds from `at` on.
Status simulate_lanes(Taken& taken, const PropAmmObjectCall& call, const sbpf::Program& program,
                      const Lanes& lanes, std::uint64_t at) {
  const std::uint64_t count = lanes.count;
  Launch launch{};
  launch.program = program;
  launch.lanes = lanes;
  launch.settings = call.settings;
  launch.limit = call.limit;
  launch.memory_bytes = amm::memory_bytes(program);
  CALYX_CUDA_DO(taken.memory.need(launch.memory_bytes * count));
  CALYX_CUDA_DO(taken.results.need(count));
  CALYX_CUDA_DO(taken.faults.need(count));
  launch.memory = taken.memory.data();
  launch.results = taken.results.data();
  launch.faults = taken.faults.data();
  launch.flag = tapes().flag();
  simulate<<<blocks_for(count), threads, 0, tapes().stream()>>>(launch);
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(tapes().wait(call.stop));
  CALYX_CUDA(cudaMemcpy(call.results + at, taken.results.data(), count * sizeof(amm::Result),
                        cudaMemcpyDeviceToHost));
  CALYX_CUDA(cudaMemcpy(call.faults + at, taken.faults.data(), count * sizeof(amm::SbpfFaults),
                        cudaMemcpyDeviceToHost));
  return Status::ok;
}

Status run(Taken& taken, const PropAmmObjectCall& call) {
  if (call.count == 0) return Status::ok;
  CALYX_CUDA_DO(tapes().open());
  sbpf::Program program;
  CALYX_CUDA_DO(put_program(taken, call, program));
  std::uint64_t launch_lanes = 0;
  CALYX_CUDA_DO(room(program, launch_lanes));
  return for_launches(call, launch_lanes, [&](const Lanes& lanes, std::uint64_t at) {
    return simulate_lanes(taken, call, program, lanes, at);
  });
}

}  // namespace

Status prop_amm_objects(const PropAmmObjectCall& call) {
  Taken taken;
  const Status status = run(taken, call);
  // Whatever was begun has ended before the caller's memory goes away, and ours.
  if (status != Status::ok) static_cast<void>(cudaDeviceSynchronize());
  return status;
}

}  // namespace calyx::kernels::cuda
