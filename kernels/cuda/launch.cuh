/// \file
/// One launch of simulations of compiled strategies: what the interpreter's kernel and a linked one are
/// given, and how a thread of either finds its own.

#pragma once

#include <cstdint>

#include "tapes.cuh"

namespace calyx::kernels::cuda {

/// Slots of a program's stack that lie in a thread's own memory, where neighbours' accesses are one.
inline constexpr std::uint32_t own_slots = 256;

/// What a launch simulates: some lanes of a tape, for some programs.
struct Launch {
  const bytecode::Program* programs;
  Lanes lanes;
  prop_amm::Settings settings;
  prop_amm::CallRules rules;
  std::uint64_t* stacks;      ///< Null where no program needs more than `own_slots`.
  std::uint32_t stack_slots;  ///< Of each thread in `stacks`.
  prop_amm::Result* results;  ///< As many as lanes a program.
  prop_amm::Fault* faults;
  Flag flag;
};

/// What a thread simulates.
struct Mine {
  bytecode::Program program;
  std::uint64_t* stack;
  std::uint64_t lane;
  std::uint64_t at;  ///< In the results and the faults.
};

/// The calling thread's; false where it has nothing to do. `own` has `own_slots`.
__device__ inline bool find_mine(const Launch& it, std::uint64_t* own, Mine& mine) {
  mine.lane = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (mine.lane >= it.lanes.count) return false;
  mine.program = it.programs[blockIdx.y];
  mine.at = blockIdx.y * it.lanes.count + mine.lane;
  mine.stack = mine.program.stack_slots <= own_slots ? own : it.stacks + mine.at * it.stack_slots;
  return true;
}

}  // namespace calyx::kernels::cuda
