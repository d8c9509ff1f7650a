// Simulations of compiled strategies: a thread for each seed and program.
#include <algorithm>
#include <vector>

#include "tapes.cuh"

namespace calyx::kernels::cuda {
namespace {

namespace amm = kernels::prop_amm;

/// Slots of a program's stack that lie in a thread's own memory, where neighbours' accesses are one.
constexpr std::uint32_t own_slots = 256;
/// What the stacks of programs with more may take at once.
constexpr std::size_t stack_bytes_max = std::size_t{1} << 30;

/// What a launch simulates: some lanes of a tape, for some programs.
struct Launch {
  const bytecode::Program* programs;
  Lanes lanes;
  amm::Settings settings;
  amm::CallRules rules;
  std::uint64_t* stacks;      ///< Null where no program needs more than `own_slots`.
  std::uint32_t stack_slots;  ///< Of each thread in `stacks`.
  amm::Result* results;       ///< As many as lanes a program.
  amm::Fault* faults;
  Flag flag;
};

__global__ void __launch_bounds__(threads) simulate(Launch it) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane >= it.lanes.count) return;
  const bytecode::Program program = it.programs[blockIdx.y];
  const std::uint64_t at = blockIdx.y * it.lanes.count + lane;
  std::uint64_t own[own_slots];
  std::uint64_t* const stack =
      program.stack_slots <= own_slots ? static_cast<std::uint64_t*>(own) : it.stacks + at * it.stack_slots;
  static_cast<void>(amm::play(program, stack, it.lanes.tape, it.lanes.first + lane,
                              it.lanes.seed_first + lane, it.settings, it.rules, it.flag, it.results[at],
                              it.faults[at]));
}

/// What stays on the device from one call to the next.
struct Kept {
  DeviceArray<unsigned char> code;
  DeviceArray<bytecode::Program> programs;
  DeviceArray<std::uint64_t> stacks;
  DeviceArray<amm::Result> results;
  DeviceArray<amm::Fault> faults;
};

/// Puts the programs on the device; gives the most slots of stack that one needs beyond `own_slots`, or 0.
Status put_programs(Kept& kept, cudaStream_t stream, const PropAmmCall& call, std::uint32_t& stack_slots) {
  const auto padded = [](std::size_t bytes) { return (bytes + 15) / 16 * 16; };
  std::size_t bytes = 0;
  stack_slots = 0;
  for (std::uint64_t i = 0; i < call.program_count; ++i) {
    const SizedProgram& program = call.programs[i];
    bytes += padded(program.instructions * sizeof(bytecode::Instruction)) +
             padded(program.pool_words * sizeof(std::uint64_t)) + padded(program.view.constants_bytes);
    if (program.view.stack_slots > own_slots) stack_slots = std::max(stack_slots, program.view.stack_slots);
  }
  std::vector<unsigned char> host(bytes);
  std::vector<bytecode::Program> views;
  views.reserve(call.program_count);
  CALYX_CUDA_DO(kept.code.need(std::max<std::size_t>(1, bytes)));
  std::size_t at = 0;
  const auto put = [&](const void* from, std::size_t size) {
    const unsigned char* const where = kept.code.data() + at;
    const auto* const begin = static_cast<const unsigned char*>(from);
    if (size != 0) std::copy(begin, begin + size, host.begin() + static_cast<std::ptrdiff_t>(at));
    at += padded(size);
    return where;
  };
  for (std::uint64_t i = 0; i < call.program_count; ++i) {
    const SizedProgram& program = call.programs[i];
    bytecode::Program view = program.view;
    view.code = reinterpret_cast<const bytecode::Instruction*>(
        put(program.view.code, program.instructions * sizeof(bytecode::Instruction)));
    view.pool = reinterpret_cast<const std::uint64_t*>(
        put(program.view.pool, program.pool_words * sizeof(std::uint64_t)));
    view.constants = put(program.view.constants, program.view.constants_bytes);
    views.push_back(view);
  }
  CALYX_CUDA_DO(kept.programs.need(views.size()));
  if (bytes != 0)
    CALYX_CUDA(cudaMemcpyAsync(kept.code.data(), host.data(), bytes, cudaMemcpyHostToDevice, stream));
  CALYX_CUDA(cudaMemcpyAsync(kept.programs.data(), views.data(), views.size() * sizeof views[0],
                             cudaMemcpyHostToDevice, stream));
  CALYX_CUDA(cudaStreamSynchronize(stream));
  return Status::ok;
}

/// Simulates some lanes for all programs; the results are those of the call's seeds from `at` on.
Status simulate_lanes(Kept& kept, const PropAmmCall& call, const Lanes& lanes, std::uint64_t at,
                      std::uint32_t stack_slots) {
  const std::uint64_t programs = call.program_count;
  const std::uint64_t count = lanes.count;
  CALYX_CUDA_DO(kept.results.need(programs * count));
  CALYX_CUDA_DO(kept.faults.need(programs * count));
  if (stack_slots != 0) CALYX_CUDA_DO(kept.stacks.need(std::size_t{stack_slots} * programs * count));
  Launch launch{};
  launch.programs = kept.programs.data();
  launch.lanes = lanes;
  launch.settings = call.settings;
  launch.rules = call.rules;
  launch.stacks = stack_slots != 0 ? kept.stacks.data() : nullptr;
  launch.stack_slots = stack_slots;
  launch.results = kept.results.data();
  launch.faults = kept.faults.data();
  launch.flag = tapes().flag();
  simulate<<<dim3(blocks_for(count), static_cast<unsigned>(programs)), threads, 0, tapes().stream()>>>(
      launch);
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(tapes().wait(call.stop));
  for (std::uint64_t p = 0; p < programs; ++p) {
    CALYX_CUDA(cudaMemcpy(call.results + p * call.count + at, kept.results.data() + p * count,
                          count * sizeof(amm::Result), cudaMemcpyDeviceToHost));
    CALYX_CUDA(cudaMemcpy(call.faults + p * call.count + at, kept.faults.data() + p * count,
                          count * sizeof(amm::Fault), cudaMemcpyDeviceToHost));
  }
  return Status::ok;
}

Status run(Kept& kept, const PropAmmCall& call) {
  constexpr std::uint64_t programs_max = 65'535;  // CUDA's for the second dimension of a grid
  if (call.program_count > programs_max) {
    remember("there are more programs than one launch takes");
    return Status::failed;
  }
  if (call.program_count == 0 || call.count == 0) return Status::ok;
  CALYX_CUDA_DO(tapes().open());
  std::uint32_t stack_slots = 0;
  CALYX_CUDA_DO(put_programs(kept, tapes().stream(), call, stack_slots));
  // Room for the stacks, and for results, which a launch has as many as simulations.
  std::uint64_t launch_lanes = std::max<std::uint64_t>(1, (lanes_max * 64) / call.program_count);
  if (stack_slots != 0)
    launch_lanes = std::min<std::uint64_t>(
        launch_lanes,
        std::max<std::uint64_t>(1, stack_bytes_max / (std::size_t{stack_slots} * 8 * call.program_count)));
  return for_launches(call, launch_lanes, [&](const Lanes& lanes, std::uint64_t at) {
    return simulate_lanes(kept, call, lanes, at, stack_slots);
  });
}

}  // namespace

Status prop_amm(const PropAmmCall& call) {
  static auto* const kept = new Kept;
  const Status status = run(*kept, call);
  // Whatever was begun has ended before the caller's memory goes away, or another call's begins.
  if (status != Status::ok) static_cast<void>(cudaDeviceSynchronize());
  return status;
}

}  // namespace calyx::kernels::cuda
