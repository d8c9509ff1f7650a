/// \file
/// What is certain of an eBPF program's registers before it runs, block by block.
///
/// Start at `flow_of`. Only what the entry reaches without `call_register` is looked at: such a call is left
/// to the interpreter, so what it leads to never runs as machine code.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calyx_kernels/sbpf.hpp"

namespace calyx::strategy {

/// What a register has. `region` says where it seems to point and promises nothing.
struct Known {
  enum class Kind : std::uint8_t {
    none,      ///< Nobody came here yet.
    number,    ///< `value`, whatever the call.
    frame,     ///< r10 + `value`.
    anything,  ///< It depends.
  };
  Kind kind = Kind::none;
  std::uint8_t region = 0;  ///< 0: no idea.
  std::uint64_t value = 0;

  bool operator==(const Known&) const = default;
};

/// What is certain where an instruction begins.
struct Registers {
  Known r[10];
  std::uint8_t depth_least = 0;  ///< Of the functions around this one.
  bool may_be_inner = false;     ///< False: there are none.

  bool operator==(const Registers&) const = default;

  /// r10 is never written.
  Known at(std::uint32_t reg) const {
    return reg == 10 ? Known{Known::Kind::frame, kernels::sbpf::region_stack, 0} : r[reg];
  }
};

/// Instructions that run one after the other, of which only the last may branch.
struct Block {
  std::uint32_t slot = 0;
  std::uint32_t length = 0;  ///< Units: instructions.
  Registers before;
  bool reached = false;
  bool waiting = false;
};

struct Flow {
  std::vector<Block> blocks;            ///< In the order of slots, those that nobody reaches among them.
  std::vector<std::uint32_t> block_of;  ///< By slot: the block that begins there, or `no_block`.
  static constexpr std::uint32_t no_block = ~std::uint32_t{0};
};

/// Follows `program` from its entry. False, and why, where it makes no sense: it is not trusted.
///
/// Takes time and memory in proportion to the program. Throws `std::bad_alloc` alone.
bool flow_of(const kernels::sbpf::Program& program, Flow& flow, std::string& why);

/// What is certain behind `it`, which does not branch.
void follow(Registers& registers, const kernels::sbpf::Instruction& it);

/// The slots that an instruction takes.
inline std::uint32_t slots_of(const kernels::sbpf::Instruction& it) {
  return it.op == kernels::sbpf::Op::load_constant ? 2 : 1;
}

/// Whether `it` is the last of a block.
inline bool branches(kernels::sbpf::Op op) {
  using kernels::sbpf::Op;
  return op >= Op::jump && op != Op::call_system;
}
inline bool jumps_perhaps(kernels::sbpf::Op op) {
  using kernels::sbpf::Op;
  return op > Op::jump && op < Op::call;
}

}  // namespace calyx::strategy
