// Simulations: tapes of what the seeds draw, which stay on the device, and a thread for each seed and
// program.
#include <algorithm>
#include <vector>

#include "calyx_kernels/prop_amm_tape.hpp"
#include "device.cuh"

namespace calyx::kernels::cuda {
namespace {

namespace amm = kernels::prop_amm;

constexpr unsigned threads = 64;  // a block: fewer registers than a larger one would leave each
/// Slots of a program's stack that lie in a thread's own memory, where neighbours' accesses are one.
constexpr std::uint32_t own_slots = 256;
/// What the stacks of programs with more may take at once.
constexpr std::size_t stack_bytes_max = std::size_t{1} << 30;
/// What a tape may take, if a quarter of the free memory is not less.
constexpr std::size_t tape_bytes_max = std::size_t{16} << 30;
/// Seeds between two looks at whether to go on, and two words of progress.
constexpr std::uint64_t lanes_max = 65'536;

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

/// What a launch simulates: some lanes of a tape, for some programs.
struct Launch {
  const bytecode::Program* programs;
  amm::Tape tape;
  std::uint64_t lane_first;  ///< Of the tape.
  std::uint64_t lanes;
  std::uint64_t seed_first;  ///< Of the first of these lanes.
  amm::Settings settings;
  amm::CallRules rules;
  std::uint64_t* stacks;      ///< Null where no program needs more than `own_slots`.
  std::uint32_t stack_slots;  ///< Of each thread in `stacks`.
  amm::Result* results;       ///< `lanes` a program.
  amm::Fault* faults;
  Flag flag;
};

__global__ void __launch_bounds__(threads) simulate(Launch it) {
  const std::uint64_t lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (lane >= it.lanes) return;
  const bytecode::Program program = it.programs[blockIdx.y];
  const std::uint64_t at = blockIdx.y * it.lanes + lane;
  std::uint64_t own[own_slots];
  std::uint64_t* const stack =
      program.stack_slots <= own_slots ? static_cast<std::uint64_t*>(own) : it.stacks + at * it.stack_slots;
  static_cast<void>(amm::play(program, stack, it.tape, it.lane_first + lane, it.seed_first + lane,
                              it.settings, it.rules, it.flag, it.results[at], it.faults[at]));
}

unsigned blocks_for(std::uint64_t lanes) { return static_cast<unsigned>((lanes + threads - 1) / threads); }

/// What stays on the device from one call to the next.
struct Kept {
  Stream stream;
  Event done;
  PinnedArray<std::uint32_t> flag;

  // The tape and what it is one of.
  DeviceArray<double> price, guess, order;
  DeviceArray<std::uint16_t> count;
  DeviceArray<std::uint64_t> orders;
  amm::Tape tape;
  std::uint64_t seed_first = 0;
  std::uint32_t steps = 0;  ///< 0: there is no tape.

  DeviceArray<unsigned char> code;
  DeviceArray<bytecode::Program> programs;
  DeviceArray<std::uint64_t> stacks;
  DeviceArray<amm::Result> results;
  DeviceArray<amm::Fault> faults;
};

/// Waits for the stream, and asks the caller meanwhile whether to go on.
Status wait(Kept& kept, const PropAmmCall& call) {
  return wait_for(kept.stream, kept.done, kept.flag, call.stop);
}

/// How many lanes a tape of these steps may have.
Status room(std::uint32_t steps, std::uint64_t& lanes) {
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

/// Records the tape of these seeds, unless it is there.
Status record(Kept& kept, const PropAmmCall& call, std::uint64_t seed_first, std::uint64_t lanes) {
  const std::uint32_t steps = call.settings.steps;
  if (kept.steps == steps && seed_first - kept.seed_first <= kept.tape.lanes &&
      lanes <= kept.tape.lanes - (seed_first - kept.seed_first))
    return Status::ok;
  kept.steps = 0;
  kept.tape = {};
  CALYX_CUDA_DO(kept.price.need(steps * lanes));
  CALYX_CUDA_DO(kept.guess.need(steps * lanes));
  CALYX_CUDA_DO(kept.count.need(steps * lanes));
  CALYX_CUDA_DO(kept.orders.need(lanes));
  amm::Tape tape{kept.price.data(), kept.guess.data(), kept.count.data(), nullptr, lanes};
  const cudaStream_t stream = kept.stream.get();
  record_steps<<<blocks_for(lanes), threads, 0, stream>>>(tape, seed_first, steps);
  CALYX_CUDA(cudaGetLastError());
  count_orders<<<blocks_for(lanes), threads, 0, stream>>>(tape, seed_first, steps, kept.orders.data());
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(wait(kept, call));
  std::vector<std::uint64_t> orders(lanes);
  CALYX_CUDA(cudaMemcpy(orders.data(), kept.orders.data(), lanes * sizeof orders[0], cudaMemcpyDeviceToHost));
  CALYX_CUDA_DO(
      kept.order.need(std::max<std::uint64_t>(1, *std::max_element(orders.begin(), orders.end())) * lanes));
  tape.order = kept.order.data();
  record_orders<<<blocks_for(lanes), threads, 0, stream>>>(tape, seed_first, steps);
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(wait(kept, call));
  kept.tape = tape;
  kept.seed_first = seed_first;
  kept.steps = steps;
  return Status::ok;
}

/// Puts the programs on the device; gives the most slots of stack that one needs beyond `own_slots`, or 0.
Status put_programs(Kept& kept, const PropAmmCall& call, std::uint32_t& stack_slots) {
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
  const cudaStream_t stream = kept.stream.get();
  if (bytes != 0)
    CALYX_CUDA(cudaMemcpyAsync(kept.code.data(), host.data(), bytes, cudaMemcpyHostToDevice, stream));
  CALYX_CUDA(cudaMemcpyAsync(kept.programs.data(), views.data(), views.size() * sizeof views[0],
                             cudaMemcpyHostToDevice, stream));
  CALYX_CUDA(cudaStreamSynchronize(stream));
  return Status::ok;
}

/// Simulates `lanes` seeds from the i-th on, whose tape is recorded.
Status simulate_lanes(Kept& kept, const PropAmmCall& call, std::uint64_t first, std::uint64_t lanes,
                      std::uint32_t stack_slots) {
  const std::uint64_t programs = call.program_count;
  CALYX_CUDA_DO(kept.results.need(programs * lanes));
  CALYX_CUDA_DO(kept.faults.need(programs * lanes));
  if (stack_slots != 0) CALYX_CUDA_DO(kept.stacks.need(std::size_t{stack_slots} * programs * lanes));
  Launch launch{};
  launch.programs = kept.programs.data();
  launch.tape = kept.tape;
  launch.seed_first = call.seed_first + first;
  launch.lane_first = launch.seed_first - kept.seed_first;
  launch.lanes = lanes;
  launch.settings = call.settings;
  launch.rules = call.rules;
  launch.stacks = stack_slots != 0 ? kept.stacks.data() : nullptr;
  launch.stack_slots = stack_slots;
  launch.results = kept.results.data();
  launch.faults = kept.faults.data();
  launch.flag = {kept.flag.data()};
  simulate<<<dim3(blocks_for(lanes), static_cast<unsigned>(programs)), threads, 0, kept.stream.get()>>>(
      launch);
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA_DO(wait(kept, call));
  for (std::uint64_t p = 0; p < programs; ++p) {
    CALYX_CUDA(cudaMemcpy(call.results + p * call.count + first, kept.results.data() + p * lanes,
                          lanes * sizeof(amm::Result), cudaMemcpyDeviceToHost));
    CALYX_CUDA(cudaMemcpy(call.faults + p * call.count + first, kept.faults.data() + p * lanes,
                          lanes * sizeof(amm::Fault), cudaMemcpyDeviceToHost));
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
  CALYX_CUDA_DO(kept.stream.open());
  CALYX_CUDA_DO(kept.done.open());
  CALYX_CUDA_DO(kept.flag.need(1));
  *kept.flag.data() = 0;
  std::uint32_t stack_slots = 0;
  CALYX_CUDA_DO(put_programs(kept, call, stack_slots));
  std::uint64_t tape_lanes = 0;
  CALYX_CUDA_DO(room(call.settings.steps, tape_lanes));
  // Room for the stacks, and for results, which a launch has as many as simulations.
  std::uint64_t launch_lanes = std::max<std::uint64_t>(1, (lanes_max * 64) / call.program_count);
  if (stack_slots != 0)
    launch_lanes = std::min<std::uint64_t>(
        launch_lanes,
        std::max<std::uint64_t>(1, stack_bytes_max / (std::size_t{stack_slots} * 8 * call.program_count)));
  for (std::uint64_t first = 0; first < call.count; first += tape_lanes) {
    const std::uint64_t lanes = std::min(tape_lanes, call.count - first);
    CALYX_CUDA_DO(record(kept, call, call.seed_first + first, lanes));
    for (std::uint64_t i = 0; i < lanes; i += launch_lanes) {
      const std::uint64_t now = std::min(launch_lanes, lanes - i);
      CALYX_CUDA_DO(simulate_lanes(kept, call, first + i, now, stack_slots));
      if (call.progress != nullptr) call.progress(call.progress_context, first + i + now);
    }
  }
  return Status::ok;
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
