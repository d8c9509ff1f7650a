/// \file
/// From eBPF to machine code for x86-64, as bytes that can lie anywhere.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "calyx_kernels/sbpf.hpp"
#include "strategy/sbpf_flow.hpp"

namespace calyx::strategy {

/// A call in progress, as machine code reads and writes it: its offsets are part of the code. What is asked
/// for most stands first.
struct SbpfCall {
  unsigned char* input = nullptr;
  /// The last offset at which 1, 2, 4 and 8 bytes of input begin.
  std::uint64_t input_last[4] = {};
  unsigned char* stack = nullptr;
  unsigned char* heap = nullptr;
  const unsigned char* image = nullptr;
  /// In our memory: the end of the frame in use, and of the last one that there is.
  unsigned char* frame = nullptr;
  unsigned char* frame_last = nullptr;
  /// What twice the end of a frame, and this, make r10.
  std::uint64_t frame_base = 0;
  kernels::sbpf::detail::State::Caller* caller = nullptr;
  void* host_stack = nullptr;  ///< Where the code came from, to leave from any depth.
  std::uint64_t spare = 0;
  std::uint32_t slot = 0;  ///< Where it left.
  const kernels::sbpf::Program* program = nullptr;
  const kernels::sbpf::Memory* memory = nullptr;
  kernels::sbpf::Outcome outcome;
  kernels::sbpf::detail::State state;
};

/// How code leaves.
enum class SbpfLeft : std::uint32_t {
  returned = 0,
  /// The interpreter has to go on before the instruction at `slot`, of whose block nothing behind it is
  /// charged yet: all of `state` is as it finds it, but for `r[10]` and `depth`, which `frame` says.
  again = 1,
  asked = 2,  ///< The system call at `slot` ended the call.
};

/// Machine code, and what the interpreter has to know to go on from it.
struct SbpfEmitted {
  std::vector<unsigned char> bytes;
  std::vector<std::uint32_t> charged;  ///< By slot: what its block has paid for from there to its end.
  std::uint32_t input_bytes = 0;       ///< An input of less is for the interpreter.
};

/// A system call: gives the `Ending` that it puts into `outcome`, or 0.
using SbpfSystem = std::uint32_t (*)(SbpfCall* call, std::uint32_t what) noexcept;

/// Emits `program`, of which `flow` was made: a function from a `SbpfCall*` to a `SbpfLeft`. Gives false and
/// says why where it cannot.
bool emit_sbpf(const kernels::sbpf::Program& program, const Flow& flow, SbpfSystem system,
               SbpfEmitted& emitted, std::string& why);

}  // namespace calyx::strategy
