/// \file
/// Programs as PTX: text that a device's driver makes code of, which gives the interpreter's answers.
///
/// Start at `ptx_of`. The text defines the two functions of `calyx_kernels/prop_amm_linked.hpp`, and calls
/// those that the simulation is compiled with. As native code it does the usual path only: whatever is
/// unusual (a panic, an address out of its segment, no fuel left, a division by zero) leaves it with "again",
/// and the whole call is interpreted.
///
/// What a text reads and writes: the slots of its stack, and what a checked address names. It leaves each
/// loop when the fuel is used up.

#pragma once

#include <cstddef>
#include <string>

#include "strategy/strategy.hpp"

namespace calyx::strategy {

/// Of a text. Nobody can stop a driver that makes code of one, and that takes the longer the more branches
/// there are: the toolkit's assembler, which does the same, took 1.0 to 1.5 seconds for texts of 190 kB with
/// few of them, 5.0 for one of 156 kB with three hundred over forty live numbers, and 7.1 for one of 187 kB.
inline constexpr std::size_t ptx_bytes_max = std::size_t{96} * 1024;

/// PTX of `made`, or an empty text, and in `why`, if there is one, what stood in the way: the bytecode is at
/// fault, as `native_fault` has it, or the text would have more than `bytes_max`. The same program has the
/// same text. Throws `std::bad_alloc` alone.
std::string ptx_of(const Compiled& made, std::string* why = nullptr, std::size_t bytes_max = ptx_bytes_max);

}  // namespace calyx::strategy
