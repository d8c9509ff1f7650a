/// \file
/// eBPF as Solana has it (sBPF, version 1), decoded, and the machine that runs it: on a host and on a device,
/// with the same results.
///
/// Start at `run`. A program's code comes from `strategy/elf.hpp`, which has verified it: every register is
/// one of r0 to r10, r10 is never written, and every jump leads to an instruction. All else that a program
/// can do wrong ends the call with an `Ending`. Results, endings and the count of instructions are those of
/// solana_rbpf 0.8.5's interpreter.
///
/// Memory: a region begins at each multiple of 2^32. 1 is the program's image (read only), 2 the stack, 3 the
/// heap, 4 the input. The stack is frames of 4 KiB with gaps of the same size between them; r10 is the end of
/// the frame in use, and each call takes the next one. Nobody clears stack and heap between calls.
///
/// Units: the limit and what is counted of it are instructions, `lddw` one of them; addresses are a
/// program's. Threads: nothing is shared; a `Memory` serves one call at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/bytes.hpp"
#include "calyx_kernels/host_device.hpp"

namespace calyx::kernels::sbpf {

inline constexpr std::uint64_t instructions_default = 100'000;  ///< What one call may execute.
inline constexpr std::uint32_t frames_max = 64;                 ///< Functions that may be open at once.
inline constexpr std::uint32_t frame_bytes = 4'096;
inline constexpr std::uint32_t heap_bytes_max = 32 * 1'024;
inline constexpr std::uint32_t storage_bytes_max = 1'024;  ///< What `sol_set_storage` takes.
inline constexpr std::uint32_t return_bytes_max = 8;       ///< What `sol_set_return_data` takes.
/// What the system calls of one call may move in all. They cost no instructions, so without this a loop of
/// copies would be a thousand times as long as any other; it is far above what the limit lets a program use.
inline constexpr std::uint64_t moved_bytes_max = 8U * 1'024 * 1'024;

enum Region : std::uint32_t { region_program = 1, region_stack = 2, region_heap = 3, region_input = 4 };

// The operations, in the order of their numbers. d and s are registers, i is the immediate, sign-extended,
// and o the offset. A name in `_r` has s where the one in `_i` has i; `_32` works on the low halves.
// - add to sar, mov: d = d op i. In 32 bits sums, differences and products fill up with their sign, all else
//   with zeros.
// - little, big: d = its low bits, as they are in memory of this end first.
// - load_constant: d = 64 bits, the high half in `offset`.
// - load: d = [s + o]; store: [d + o] = s or i. Those in `_frame` lie in the frame below r10, which was seen
//   at loading.
// - jump: by o + 1 slots; u and s are the comparison's type.
// - call: `offset` is the slot of a function; call_system: a `SystemCall`; call_register: d has an address;
//   call_unknown: leads nowhere.
// - half: the second half of a load_constant, which only a wild call meets; end: of the code.
// clang-format off
#define CALYX_SBPF_OPS(X) \
  X(add_i) X(add_r) X(sub_i) X(sub_r) X(mul_i) X(mul_r) X(div_i) X(div_r) X(mod_i) X(mod_r) X(or_i) \
  X(or_r) X(and_i) X(and_r) X(xor_i) X(xor_r) X(shl_i) X(shl_r) X(shr_i) X(shr_r) X(sar_i) X(sar_r) \
  X(mov_i) X(mov_r) X(neg) \
  X(add_32_i) X(add_32_r) X(sub_32_i) X(sub_32_r) X(mul_32_i) X(mul_32_r) X(div_32_i) X(div_32_r) \
  X(mod_32_i) X(mod_32_r) X(or_32_i) X(or_32_r) X(and_32_i) X(and_32_r) X(xor_32_i) X(xor_32_r) \
  X(shl_32_i) X(shl_32_r) X(shr_32_i) X(shr_32_r) X(sar_32_i) X(sar_32_r) X(mov_32_i) X(mov_32_r) \
  X(neg_32) \
  X(little_16) X(little_32) X(little_64) X(big_16) X(big_32) X(big_64) X(load_constant) \
  X(load_8) X(load_16) X(load_32) X(load_64) \
  X(store_8_r) X(store_16_r) X(store_32_r) X(store_64_r) X(store_8_i) X(store_16_i) X(store_32_i) \
  X(store_64_i) \
  X(load_8_frame) X(load_16_frame) X(load_32_frame) X(load_64_frame) X(store_8_frame) X(store_16_frame) \
  X(store_32_frame) X(store_64_frame) \
  X(jump) X(jump_eq_i) X(jump_eq_r) X(jump_ne_i) X(jump_ne_r) X(jump_gt_u_i) X(jump_gt_u_r) X(jump_ge_u_i) \
  X(jump_ge_u_r) X(jump_lt_u_i) X(jump_lt_u_r) X(jump_le_u_i) X(jump_le_u_r) X(jump_gt_s_i) X(jump_gt_s_r) \
  X(jump_ge_s_i) X(jump_ge_s_r) X(jump_lt_s_i) X(jump_lt_s_r) X(jump_le_s_i) X(jump_le_s_r) X(jump_set_i) \
  X(jump_set_r) \
  X(call) X(call_register) X(call_system) X(call_unknown) X(leave) X(half) X(end)
// clang-format on

enum class Op : std::uint8_t {
#define CALYX_SBPF_OP(name) name,
  CALYX_SBPF_OPS(CALYX_SBPF_OP)
#undef CALYX_SBPF_OP
};

/// What a program may ask of its host, under the names that the comments have.
enum class SystemCall : std::uint8_t {
  abort,            ///< abort
  log,              ///< sol_log_: does nothing
  copy,             ///< sol_memcpy_(to, from, bytes)
  move,             ///< sol_memmove_(to, from, bytes)
  compare,          ///< sol_memcmp_(left, right, bytes, result of 4 bytes)
  fill,             ///< sol_memset_(to, byte, bytes)
  set_return_data,  ///< sol_set_return_data(from, bytes)
  set_storage,      ///< sol_set_storage(from, bytes); the rest of the storage is zero
};

/// A slot of the code. There is one for each 8 bytes of the text, so that slots and addresses go together.
struct Instruction {
  Op op;
  std::uint8_t d;
  std::uint8_t s;
  std::int32_t offset;
  std::int32_t immediate;
  std::uint32_t length;  ///< From here to where the code may branch, that one included: in instructions.
};

/// Why a call ended. The numbers never change.
enum class Ending : std::uint8_t {
  returned = 0,
  instruction_limit = 1,
  memory_access = 2,      ///< Outside of what is there, or a write to the image.
  divide_by_zero = 3,     ///< By a register; an immediate is refused beforehand.
  unknown_call = 4,       ///< Of neither a function nor a system call.
  call_depth = 5,         ///< More than `frames_max` functions open.
  call_outside = 6,       ///< Through a register, to an address outside of the code.
  bad_instruction = 7,    ///< Through a register, into the middle of an instruction.
  overrun = 8,            ///< Past the end of the code.
  aborted = 9,            ///< `abort`.
  argument_too_long = 10  ///< More return data or storage than there can be.
};

/// A program as plain arrays that a device can read. Owns: nothing.
struct Program {
  const Instruction* code = nullptr;  ///< `slots` and one more, an `end`.
  std::uint32_t slots = 0;
  std::uint32_t entry = 0;               ///< A slot.
  const unsigned char* image = nullptr;  ///< Text and constants, from `image_at` of the first region.
  std::uint32_t image_at = 0;
  std::uint32_t image_bytes = 0;
  std::uint32_t text_at = 0;     ///< Of slot 0, in the first region.
  std::uint32_t frames = 0;      ///< Of the stack.
  std::uint32_t heap_bytes = 0;  ///< 0: the program has no heap.
  bool plain = false;            ///< An object without system calls: see `prop_amm_sbpf.hpp`.
};

/// What a call may read and write. Owns: nothing.
struct Memory {
  unsigned char* stack = nullptr;  ///< `frames * frame_bytes` of the program.
  unsigned char* heap = nullptr;   ///< `heap_bytes` of the program.
  unsigned char* input = nullptr;
  std::uint32_t input_bytes = 0;
  unsigned char* storage = nullptr;  ///< `storage_bytes_max` for `sol_set_storage`; null: it is forgotten.
};

/// How a call ended. `at` is the slot of the last instruction, or of the one that the limit kept from
/// running.
struct Outcome {
  Ending ending = Ending::returned;
  std::uint32_t at = 0;
  std::uint64_t value = 0;         ///< r0 of a call that returned.
  std::uint64_t instructions = 0;  ///< Executed, the last one included, whether or not it failed.
  std::uint64_t return_data = 0;   ///< Little-endian; bytes that were not set are 0.
  std::uint32_t return_bytes = 0;
  bool storage_set = false;
  bool input_written = false;
  std::uint64_t moved = 0;  ///< Bytes, by system calls.
  // Of a `memory_access`.
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  bool write = false;
};

namespace detail {

/// A call in progress.
struct State {
  std::uint64_t r[11] = {};
  std::uint64_t left = 0;
  std::uint64_t moved = 0;
  std::uint32_t depth = 0;
  struct Caller {
    std::uint64_t saved[4];
    std::uint32_t slot;
  } callers[frames_max];
};

/// Where `bytes` at `address` are, or null. `bytes` is below 2^63, so no sum here wraps.
CALYX_HD inline unsigned char* place_of(const Program& program, const Memory& memory, std::uint64_t address,
                                        std::uint64_t bytes, bool write, Outcome& outcome) {
  const std::uint64_t region = address >> 32;
  std::uint64_t offset = address & 0xffffffffU;
  if (region == region_input) {
    if (offset + bytes <= memory.input_bytes) {
      if (write) outcome.input_written = true;
      return memory.input + offset;
    }
  } else if (region == region_stack) {
    // Frames lie side by side in our memory, so what begins in one may reach into the next.
    if ((offset & frame_bytes) == 0) {
      offset = (offset / (2 * frame_bytes)) * frame_bytes + offset % frame_bytes;
      if (offset + bytes <= std::uint64_t{program.frames} * frame_bytes) return memory.stack + offset;
    }
  } else if (region == region_heap) {
    if (offset + bytes <= program.heap_bytes) return memory.heap + offset;
  } else if (region == region_program && !write && offset >= program.image_at) {
    offset -= program.image_at;
    // The image is only read: its caller knows which it asked for.
    if (offset + bytes <= program.image_bytes) return const_cast<unsigned char*>(program.image) + offset;
  }
  outcome.address = address;
  outcome.bytes = bytes;
  outcome.write = write;
  return nullptr;
}

template <class T>
CALYX_HD inline bool load(const Program& program, const Memory& memory, std::uint64_t address,
                          std::uint64_t& value, Outcome& outcome) {
  const unsigned char* from = place_of(program, memory, address, sizeof(T), false, outcome);
  if (from == nullptr) return false;
  value = read_bytes<T>(from);
  return true;
}

template <class T>
CALYX_HD inline bool store(const Program& program, const Memory& memory, std::uint64_t address,
                           std::uint64_t value, Outcome& outcome) {
  unsigned char* to = place_of(program, memory, address, sizeof(T), true, outcome);
  if (to == nullptr) return false;
  write_bytes(to, static_cast<T>(value));
  return true;
}

/// One system call. Gives `returned`, or how it ends the call.
CALYX_HD inline Ending ask(SystemCall what, const Program& program, const Memory& memory, State& state,
                           Outcome& outcome) {
  std::uint64_t* r = state.r;
  const auto counted = [&state](std::uint64_t bytes) {
    if (bytes > moved_bytes_max - state.moved) return false;
    state.moved += bytes;
    return true;
  };
  const auto place = [&](std::uint64_t address, std::uint64_t bytes, bool write) {
    return place_of(program, memory, address, bytes, write, outcome);
  };
  switch (what) {
    case SystemCall::abort: return Ending::aborted;
    case SystemCall::log: break;
    case SystemCall::copy:
    case SystemCall::move: {
      // Nothing lies nowhere, so a length of 0 asks for no place.
      if (r[3] == 0) break;
      if (!counted(r[3])) return Ending::instruction_limit;
      const unsigned char* from = place(r[2], r[3], false);
      if (from == nullptr) return Ending::memory_access;
      unsigned char* to = place(r[1], r[3], true);
      if (to == nullptr) return Ending::memory_access;
      move_bytes(to, from, r[3]);
      break;
    }
    case SystemCall::compare: {
      std::int32_t difference = 0;
      if (r[3] != 0) {
        if (!counted(r[3])) return Ending::instruction_limit;
        const unsigned char* left = place(r[1], r[3], false);
        if (left == nullptr) return Ending::memory_access;
        const unsigned char* right = place(r[2], r[3], false);
        if (right == nullptr) return Ending::memory_access;
        for (std::uint64_t i = 0; i < r[3] && difference == 0; ++i)
          difference = static_cast<std::int32_t>(left[i]) - static_cast<std::int32_t>(right[i]);
      }
      unsigned char* to = place(r[4], sizeof difference, true);
      if (to == nullptr) return Ending::memory_access;
      std::memcpy(to, &difference, sizeof difference);
      break;
    }
    case SystemCall::fill: {
      if (r[3] == 0) break;
      if (!counted(r[3])) return Ending::instruction_limit;
      unsigned char* to = place(r[1], r[3], true);
      if (to == nullptr) return Ending::memory_access;
      fill_bytes(to, static_cast<unsigned char>(r[2]), r[3]);
      break;
    }
    case SystemCall::set_return_data: {
      if (r[2] > return_bytes_max) return Ending::argument_too_long;
      std::uint64_t value = 0;
      if (r[2] != 0) {
        const unsigned char* from = place(r[1], r[2], false);
        if (from == nullptr) return Ending::memory_access;
        std::memcpy(&value, from, r[2]);
      }
      outcome.return_data = value;
      outcome.return_bytes = static_cast<std::uint32_t>(r[2]);
      break;
    }
    case SystemCall::set_storage: {
      if (r[2] > storage_bytes_max) return Ending::argument_too_long;
      if (!counted(storage_bytes_max)) return Ending::instruction_limit;
      const unsigned char* from = nullptr;
      if (r[2] != 0) {
        from = place(r[1], r[2], false);
        if (from == nullptr) return Ending::memory_access;
      }
      if (memory.storage != nullptr) {
        std::memset(memory.storage, 0, storage_bytes_max);
        if (from != nullptr) std::memcpy(memory.storage, from, r[2]);
      }
      outcome.storage_set = true;
      break;
    }
  }
  r[0] = 0;
  return Ending::returned;
}

CALYX_HD inline std::uint64_t swapped(std::uint64_t value, std::uint32_t bytes) {
  std::uint64_t result = 0;
  for (std::uint32_t i = 0; i < bytes; ++i) result |= (value >> (8 * i) & 0xff) << (8 * (bytes - 1 - i));
  return result;
}
CALYX_HD inline std::uint64_t signed_right(std::uint64_t value, std::uint64_t by) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> by);
}
/// The low half with its sign, and without.
CALYX_HD inline std::uint64_t signed_low(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value)));
}
CALYX_HD inline std::uint64_t low(std::uint64_t value) { return value & 0xffffffffU; }
CALYX_HD inline std::uint64_t signed_right_32(std::uint64_t value, std::uint64_t by) {
  return low(static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value)) >> by));
}

/// Runs from `slot` on. The limit is looked at where the code may branch: all up to the next such place is
/// taken off at once. Where not so much is left, this gives false, and `slot` is where `counted` goes on,
/// which looks at each instruction and so ends where it should. It never branches: the limit comes first.
template <bool counted>
CALYX_HD inline bool advance(const Program& program, const Memory& memory, State& state, std::uint32_t& slot,
                             Outcome& outcome) {
  const Instruction* const code = program.code;
  const Instruction* it = code + slot;
  std::uint64_t* const r = state.r;
  std::uint64_t left = state.left;
  unsigned char* frame = memory.stack + (std::size_t{state.depth} + 1) * frame_bytes;
  Ending ending = Ending::returned;
  bool whole = true;

// Each operation goes to the next one by itself where a compiler can do that: a processor then foresees each
// of these jumps from its own past. It is half again as fast.
#if defined(__GNUC__) && !CALYX_DEVICE_FORM
#define CALYX_LABELS 1
#else
#define CALYX_LABELS 0
#endif
#if CALYX_LABELS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#define CALYX_LABEL(name) &&at_##name,
  static const void* const labels[] = {CALYX_SBPF_OPS(CALYX_LABEL)};
#undef CALYX_LABEL
#define CALYX_OP(name) at_##name:
#define CALYX_GO                                     \
  {                                                  \
    if constexpr (counted) {                         \
      if (left == 0) CALYX_STOP(instruction_limit)   \
      --left;                                        \
    }                                                \
    goto* labels[static_cast<std::uint8_t>(it->op)]; \
  }
#else
#define CALYX_OP(name) case Op::name:
#define CALYX_GO continue;
#endif
#define CALYX_NEXT \
  {                \
    ++it;          \
    CALYX_GO       \
  }
#define CALYX_D r[it->d]
#define CALYX_S r[it->s]
#define CALYX_I static_cast<std::uint64_t>(static_cast<std::int64_t>(it->immediate))
#define CALYX_O static_cast<std::uint64_t>(static_cast<std::int64_t>(it->offset))
#define CALYX_STOP(why)   \
  {                       \
    ending = Ending::why; \
    goto stopped;         \
  }
// To the instruction `to`, with which a stretch begins.
#define CALYX_ENTER(to)        \
  {                            \
    it = (to);                 \
    if constexpr (!counted) {  \
      if (left < it->length) { \
        whole = false;         \
        goto stopped;          \
      }                        \
      left -= it->length;      \
    }                          \
    CALYX_GO                   \
  }
#define CALYX_END(name, why) CALYX_OP(name) CALYX_STOP(why)
#define CALYX_SET(name, value) \
  CALYX_OP(name) {             \
    CALYX_D = value;           \
    CALYX_NEXT                 \
  }
#define CALYX_BINARY(name, expression_of) \
  CALYX_OP(name##_i) {                    \
    const std::uint64_t x = CALYX_D;      \
    const std::uint64_t y = CALYX_I;      \
    CALYX_D = expression_of;              \
    CALYX_NEXT                            \
  }                                       \
  CALYX_OP(name##_r) {                    \
    const std::uint64_t x = CALYX_D;      \
    const std::uint64_t y = CALYX_S;      \
    CALYX_D = expression_of;              \
    CALYX_NEXT                            \
  }
// A division: an immediate is not zero.
#define CALYX_DIVISION(name, operand, operation)                   \
  CALYX_SET(name##_i, operand(CALYX_D) operation operand(CALYX_I)) \
  CALYX_OP(name##_r) {                                             \
    const std::uint64_t y = operand(CALYX_S);                      \
    if (y == 0) CALYX_STOP(divide_by_zero)                         \
    CALYX_D = operand(CALYX_D) operation y;                        \
    CALYX_NEXT                                                     \
  }
// NOLINTBEGIN(bugprone-macro-parentheses): an operator takes none.
#define CALYX_JUMP(name, type, operation)                                  \
  CALYX_OP(name##_i) {                                                     \
    if (static_cast<type>(CALYX_D) operation static_cast<type>(CALYX_I)) { \
      CALYX_ENTER(it + it->offset + 1)                                     \
    }                                                                      \
    CALYX_ENTER(it + 1)                                                    \
  }                                                                        \
  CALYX_OP(name##_r) {                                                     \
    if (static_cast<type>(CALYX_D) operation static_cast<type>(CALYX_S)) { \
      CALYX_ENTER(it + it->offset + 1)                                     \
    }                                                                      \
    CALYX_ENTER(it + 1)                                                    \
  }
// NOLINTEND(bugprone-macro-parentheses)
#define CALYX_LOAD(name, type)                                                                       \
  CALYX_OP(name) {                                                                                   \
    if (!load<type>(program, memory, CALYX_S + CALYX_O, CALYX_D, outcome)) CALYX_STOP(memory_access) \
    CALYX_NEXT                                                                                       \
  }                                                                                                  \
  CALYX_OP(name##_frame) {                                                                           \
    CALYX_D = read_bytes<type>(frame + it->offset);                                                  \
    CALYX_NEXT                                                                                       \
  }
#define CALYX_STORE(name, type)                                                                       \
  CALYX_OP(name##_r) {                                                                                \
    if (!store<type>(program, memory, CALYX_D + CALYX_O, CALYX_S, outcome)) CALYX_STOP(memory_access) \
    CALYX_NEXT                                                                                        \
  }                                                                                                   \
  CALYX_OP(name##_i) {                                                                                \
    if (!store<type>(program, memory, CALYX_D + CALYX_O, CALYX_I, outcome)) CALYX_STOP(memory_access) \
    CALYX_NEXT                                                                                        \
  }                                                                                                   \
  CALYX_OP(name##_frame) {                                                                            \
    write_bytes(frame + it->offset, static_cast<type>(CALYX_S));                                      \
    CALYX_NEXT                                                                                        \
  }

  if constexpr (!counted) {
    if (left < it->length) return false;
    left -= it->length;
  }
#if CALYX_LABELS
  CALYX_GO {
    {
#else
  for (;;) {
    if constexpr (counted) {
      if (left == 0) CALYX_STOP(instruction_limit)
      --left;
    }
    switch (it->op) {
#endif
      CALYX_BINARY(add, x + y)
      CALYX_BINARY(sub, x - y)
      CALYX_BINARY(mul, x * y)
      CALYX_DIVISION(div, , /)
      CALYX_DIVISION(mod, , %)
      CALYX_BINARY(or, x | y)
      CALYX_BINARY(and, x & y)
      CALYX_BINARY(xor, x ^ y)
      CALYX_BINARY(shl, x << (y & 63))
      CALYX_BINARY(shr, x >> (y & 63))
      CALYX_BINARY(sar, signed_right(x, y & 63))
      CALYX_SET(mov_i, CALYX_I)
      CALYX_SET(mov_r, CALYX_S)
      CALYX_SET(neg, 0 - CALYX_D)

      CALYX_BINARY(add_32, signed_low(x + y))
      CALYX_BINARY(sub_32, signed_low(x - y))
      CALYX_BINARY(mul_32, signed_low(x * y))
      CALYX_DIVISION(div_32, low, /)
      CALYX_DIVISION(mod_32, low, %)
      CALYX_BINARY(or_32, low(x | y))
      CALYX_BINARY(and_32, low(x & y))
      CALYX_BINARY(xor_32, low(x ^ y))
      CALYX_BINARY(shl_32, low(low(x) << (y & 31)))
      CALYX_BINARY(shr_32, low(x) >> (y & 31))
      CALYX_BINARY(sar_32, signed_right_32(x, y & 31))
      CALYX_SET(mov_32_i, low(CALYX_I))
      CALYX_SET(mov_32_r, low(CALYX_S))
      CALYX_SET(neg_32, low(0 - CALYX_D))

      CALYX_SET(little_16, CALYX_D & 0xffff)
      CALYX_SET(little_32, low(CALYX_D))
      CALYX_SET(little_64, CALYX_D)
      CALYX_SET(big_16, swapped(CALYX_D, 2))
      CALYX_SET(big_32, swapped(CALYX_D, 4))
      CALYX_SET(big_64, swapped(CALYX_D, 8))

      CALYX_OP(load_constant) {
        CALYX_D = low(CALYX_I) | CALYX_O << 32;
        it += 2;
        CALYX_GO
      }

      CALYX_LOAD(load_8, std::uint8_t)
      CALYX_LOAD(load_16, std::uint16_t)
      CALYX_LOAD(load_32, std::uint32_t)
      CALYX_LOAD(load_64, std::uint64_t)
      CALYX_STORE(store_8, std::uint8_t)
      CALYX_STORE(store_16, std::uint16_t)
      CALYX_STORE(store_32, std::uint32_t)
      CALYX_STORE(store_64, std::uint64_t)

      CALYX_OP(jump) {
        const Instruction* const to = it + it->offset + 1;
        CALYX_ENTER(to)
      }
      CALYX_JUMP(jump_eq, std::uint64_t, ==)
      CALYX_JUMP(jump_ne, std::uint64_t, !=)
      CALYX_JUMP(jump_gt_u, std::uint64_t, >)
      CALYX_JUMP(jump_ge_u, std::uint64_t, >=)
      CALYX_JUMP(jump_lt_u, std::uint64_t, <)
      CALYX_JUMP(jump_le_u, std::uint64_t, <=)
      CALYX_JUMP(jump_gt_s, std::int64_t, >)
      CALYX_JUMP(jump_ge_s, std::int64_t, >=)
      CALYX_JUMP(jump_lt_s, std::int64_t, <)
      CALYX_JUMP(jump_le_s, std::int64_t, <=)
      CALYX_OP(jump_set_i) {
        if ((CALYX_D & CALYX_I) != 0) CALYX_ENTER(it + it->offset + 1)
        CALYX_ENTER(it + 1)
      }
      CALYX_OP(jump_set_r) {
        if ((CALYX_D & CALYX_S) != 0) CALYX_ENTER(it + it->offset + 1)
        CALYX_ENTER(it + 1)
      }

      CALYX_OP(call)
      CALYX_OP(call_register) {
        const std::uint64_t to = it->op == Op::call ? 0 : CALYX_D;
        State::Caller& caller = state.callers[state.depth];
        for (std::uint32_t i = 0; i < 4; ++i) caller.saved[i] = r[6 + i];
        caller.slot = static_cast<std::uint32_t>(it - code) + 1;
        if (state.depth + 1 == frames_max) CALYX_STOP(call_depth)
        ++state.depth;
        r[10] += 2 * frame_bytes;
        frame += frame_bytes;
        if (it->op == Op::call) CALYX_ENTER(code + it->offset)
        // An address between two slots means the one before.
        const std::uint64_t text = std::uint64_t{region_program} << 32 | program.text_at;
        if (to < text || (to - text) / 8 >= program.slots) CALYX_STOP(call_outside)
        CALYX_ENTER(code + (to - text) / 8)
      }
      CALYX_OP(call_system) {
        const Ending how = ask(static_cast<SystemCall>(it->offset), program, memory, state, outcome);
        if (how != Ending::returned) {
          ending = how;
          goto stopped;
        }
        CALYX_NEXT
      }
      CALYX_END(call_unknown, unknown_call)
      CALYX_OP(leave) {
        if (state.depth == 0) goto stopped;
        --state.depth;
        const State::Caller& caller = state.callers[state.depth];
        for (std::uint32_t i = 0; i < 4; ++i) r[6 + i] = caller.saved[i];
        r[10] -= 2 * frame_bytes;
        frame -= frame_bytes;
        CALYX_ENTER(code + caller.slot)
      }
      CALYX_END(half, bad_instruction)
      CALYX_END(end, overrun)
    }
  }
stopped:
  if (whole) {
    // The stretch was taken off whole: what comes after the last instruction is given back.
    if constexpr (!counted) left += it->length - 1;
    outcome.ending = ending;
    outcome.value = ending == Ending::returned ? r[0] : 0;
  }
  state.left = left;
  slot = static_cast<std::uint32_t>(it - code);
  return whole;
#if CALYX_LABELS
#pragma GCC diagnostic pop
#endif
#undef CALYX_LABELS
#undef CALYX_OP
#undef CALYX_GO
#undef CALYX_NEXT
#undef CALYX_D
#undef CALYX_S
#undef CALYX_I
#undef CALYX_O
#undef CALYX_STOP
#undef CALYX_ENTER
#undef CALYX_END
#undef CALYX_SET
#undef CALYX_BINARY
#undef CALYX_DIVISION
#undef CALYX_JUMP
#undef CALYX_LOAD
#undef CALYX_STORE
}

}  // namespace detail

/// Calls the program's entry with r1 at the input.
CALYX_HD_APART inline Outcome run(const Program& program, const Memory& memory,
                                  std::uint64_t limit = instructions_default) {
  detail::State state;
  state.r[1] = std::uint64_t{region_input} << 32;
  state.r[10] = (std::uint64_t{region_stack} << 32) + frame_bytes;
  state.left = limit;
  Outcome outcome;
  std::uint32_t slot = program.entry;
  if (!detail::advance<false>(program, memory, state, slot, outcome))
    detail::advance<true>(program, memory, state, slot, outcome);
  outcome.at = slot;
  outcome.instructions = limit - state.left;
  outcome.moved = state.moved;
  return outcome;
}

}  // namespace calyx::kernels::sbpf

#undef CALYX_SBPF_OPS
