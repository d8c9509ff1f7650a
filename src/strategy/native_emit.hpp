/// \file
/// From bytecode to machine code for x86-64, as bytes that can lie anywhere.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "strategy/native.hpp"

namespace calyx::strategy {

/// Machine code and where its two functions begin.
struct Emitted {
  static constexpr std::size_t no_entry = ~std::size_t{0};
  std::vector<unsigned char> bytes;
  std::size_t compute_swap = no_entry;
  std::size_t after_swap = no_entry;
};

/// Where the code lies of what is too rare or too long to be put in line: does the instruction at `it` for
/// the frame at `frame`. Gives 0 where the interpreter has to look at it again.
using NativeHelper = std::uint32_t (*)(NativeCall* call, std::uint64_t* frame,
                                       const kernels::bytecode::Instruction* it) noexcept;

/// Emits `made`, which has been checked; the code hands elements of `instructions` to `helper`. Gives false
/// and says why where it cannot.
bool emit_native(const Compiled& made, const kernels::bytecode::Instruction* instructions,
                 NativeHelper helper, const NativeLengths& lengths, Emitted& emitted, std::string& why);

/// The fault in bytecode that code must not be made of, or an empty text: jumps and slots out of bounds,
/// calls too deep, numbers that no compiler of ours writes.
std::string native_fault(const Compiled& made);

}  // namespace calyx::strategy
