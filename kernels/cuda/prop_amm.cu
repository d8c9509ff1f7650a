// Simulations of compiled strategies: a thread for each seed and program.
#include <algorithm>
#include <vector>

#include "launch.cuh"
#include "linked.cuh"

namespace calyx::kernels::cuda {
namespace {

namespace amm = kernels::prop_amm;

/// What the stacks of programs with more may take at once.
constexpr std::size_t stack_bytes_max = std::size_t{1} << 30;

__global__ void __launch_bounds__(threads) simulate(Launch it) {
  std::uint64_t own[own_slots];
  Mine mine;
  if (!find_mine(it, own, mine)) return;
  static_cast<void>(amm::play(mine.program, mine.stack, it.lanes.tape, it.lanes.first + mine.lane,
                              it.lanes.seed_first + mine.lane, it.settings, it.rules, it.flag,
                              it.results[mine.at], it.faults[mine.at]));
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

/// What simulates in a call: a linked program, or the interpreter.
struct Chosen {
  Linked* linked = nullptr;  ///< Null: the interpreter.
  bool ran = false;          ///< A linked program did.
};

void simulate_interpreted(const Launch& launch, std::uint64_t programs) {
  simulate<<<dim3(blocks_for(launch.lanes.count), static_cast<unsigned>(programs)), threads, 0,
             tapes().stream()>>>(launch);
}

/// Compares a linked program's results with the interpreter's over the first steps of some lanes, once: what
/// a driver makes of a text is not ours. Without agreement it is not chosen.
Status try_out(const PropAmmCall& call, const Launch& launch, Chosen& chosen) {
  constexpr std::uint64_t lanes_tried = threads;
  constexpr std::uint32_t steps_tried = 32;
  Launch some = launch;
  some.lanes.count = std::min(lanes_tried, launch.lanes.count);
  some.settings.steps = std::min(steps_tried, launch.settings.steps);
  amm::Result results[2][lanes_tried];
  amm::Fault faults[2][lanes_tried];
  for (int i = 0; i < 2; ++i) {
    if (i == 0) {
      simulate_interpreted(some, 1);
      CALYX_CUDA(cudaGetLastError());
    } else if (!cuda::launch(*chosen.linked, some, tapes().stream())) {
      refuse(*chosen.linked);
      chosen.linked = nullptr;
      return Status::ok;
    }
    CALYX_CUDA_DO(tapes().wait(call.stop));
    CALYX_CUDA(cudaMemcpy(results[i], launch.results, some.lanes.count * sizeof results[0][0],
                          cudaMemcpyDeviceToHost));
    CALYX_CUDA(
        cudaMemcpy(faults[i], launch.faults, some.lanes.count * sizeof faults[0][0], cudaMemcpyDeviceToHost));
  }
  for (std::uint64_t i = 0; i < some.lanes.count; ++i) {
    const amm::Result& one = results[0][i];
    const amm::Result& other = results[1][i];
    if (math::bits_of(one.edge) == math::bits_of(other.edge) && one.end == other.end &&
        one.search == other.search && one.step == other.step && faults[0][i].ending == faults[1][i].ending &&
        faults[0][i].at == faults[1][i].at)
      continue;
    refuse(*chosen.linked);
    chosen.linked = nullptr;
    remember("a linked program has other results than the interpreter");
    return Status::ok;
  }
  prove(*chosen.linked);
  return Status::ok;
}

/// Simulates some lanes for all programs; the results are those of the call's seeds from `at` on.
Status simulate_lanes(Kept& kept, const PropAmmCall& call, const Lanes& lanes, std::uint64_t at,
                      std::uint32_t stack_slots, Chosen& chosen) {
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
  if (chosen.linked != nullptr && !is_proven(*chosen.linked)) CALYX_CUDA_DO(try_out(call, launch, chosen));
  if (chosen.linked != nullptr && cuda::launch(*chosen.linked, launch, tapes().stream())) {
    chosen.ran = true;
  } else {
    chosen.linked = nullptr;
    simulate_interpreted(launch, programs);
    CALYX_CUDA(cudaGetLastError());
  }
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
  Chosen chosen;
  const SizedProgram& first = call.programs[0];
  if (call.program_count == 1 && first.ptx_bytes != 0) {
    // Nobody can stop the linker.
    if (call.stop.asked()) return Status::stopped;
    chosen.linked = linked_with({first.ptx, first.ptx_bytes});
  }
  const Status status = for_launches(call, launch_lanes, [&](const Lanes& lanes, std::uint64_t at) {
    return simulate_lanes(kept, call, lanes, at, stack_slots, chosen);
  });
  if (status == Status::failed && chosen.linked != nullptr) refuse(*chosen.linked);
  if (call.linked != nullptr) *call.linked = chosen.ran;
  return status;
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
