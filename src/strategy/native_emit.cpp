#include "strategy/native_emit.hpp"

#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

std::size_t Emitter::root(std::uint32_t entry, bool trade, std::uint32_t data_bytes,
                          std::uint32_t storage_bytes) {
  bytes_[kb::segment_stack] = made_.stack_slots * 8;
  bytes_[kb::segment_data] = data_bytes;
  bytes_[kb::segment_storage] = storage_bytes;
  bytes_[kb::segment_constants] = static_cast<std::uint32_t>(made_.constants.size());
  functions_.clear();
  waiting_.clear();
  align(16);
  const std::size_t place = getSize();
  push(rbx);
  push(rbp);
  push(r12);
  push(r13);
  push(r14);
  push(r15);
  sub(rsp, 8);
  mov(r14, rdi);
  mov(rbx, rsi);
  mov(r13, rdx);
  epilogue_ = std::make_unique<Xbyak::Label>();
  in_root_ = true;
  state_.clear();
  // The arguments, which the caller has not put into their slots.
  const auto given = [this](std::uint16_t slot, std::uint64_t value) {
    state_.push_back({slot, number(value), true, 0});
  };
  given(0, static_cast<std::uint64_t>(kb::segment_data) << 32);
  given(1, data_bytes);
  if (!trade && data_bytes >= 25) {
    // The numbers of a quote come in registers too.
    const auto held = [this](std::uint32_t offset, std::uint8_t reg, const Xbyak::Reg64& from) {
      if (r(reg) != from) mov(r(reg), from);
      state_.push_back({static_cast<std::uint16_t>(payload_slot(offset, 8)), in(reg), false, 0});
    };
    held(1, 5, rcx);
    held(9, 8, r8);
    held(17, 9, r9);
  }
  if (trade) {
    given(2, static_cast<std::uint64_t>(kb::segment_storage) << 32);
    given(3, storage_bytes);
  }
  function(entry);
  L(*epilogue_);
  add(rsp, 8);
  pop(r15);
  pop(r14);
  pop(r13);
  pop(r12);
  pop(rbp);
  pop(rbx);
  ret();
  in_root_ = false;
  while (!waiting_.empty()) {
    const std::uint32_t next = waiting_.front();
    waiting_.pop_front();
    align(16);
    L(*functions_.at(next));
    sub(rsp, 8);
    state_.clear();
    function(next);
  }
  return place;
}

std::int64_t Emitter::jump_target(std::size_t at) const {
  switch (made_.code[at].op) {
    case Op::jump:
    case Op::jump_if:
    case Op::jump_unless:
    case Op::jump_eq:
    case Op::jump_ne:
    case Op::jump_lt_u:
    case Op::jump_le_u:
    case Op::jump_lt_s:
    case Op::jump_le_s:
    case Op::jump_eq_i:
    case Op::jump_ne_i:
    case Op::jump_zero_w:
    case Op::jump_not_zero_w:
      return static_cast<std::int64_t>(at) + 1 + static_cast<std::int16_t>(made_.code[at].c);
    default: return -1;
  }
}

}  // namespace calyx::strategy::native

#endif

namespace calyx::strategy {

#ifdef CALYX_HAVE_XBYAK

bool emit_native(const Compiled& made, const kernels::bytecode::Instruction* instructions,
                 NativeHelper helper, const NativeLengths& lengths, Emitted& emitted, std::string& why) {
  constexpr std::size_t size_most = std::size_t{64} << 20;
  for (std::size_t size = 1 << 16; size <= size_most; size *= 4) {
    emitted.bytes.assign(size, 0xcc);
    try {
      native::Emitter emitter(made, instructions, helper, emitted.bytes.data(), size);
      if (made.compute_swap != kernels::bytecode::Program::no_entry)
        emitted.compute_swap = emitter.root(made.compute_swap, false, lengths.quote, 0);
      if (made.after_swap != kernels::bytecode::Program::no_entry)
        emitted.after_swap = emitter.root(made.after_swap, true, lengths.trade, lengths.storage);
      emitted.bytes.resize(emitter.getSize());
      return true;
    } catch (const Xbyak::Error& error) {
      if (static_cast<int>(error) == Xbyak::ERR_CODE_IS_TOO_BIG) continue;
      why = error.what();
      return false;
    }
  }
  why = "more than 64 MiB of code";
  return false;
}

#else

bool emit_native(const Compiled&, const kernels::bytecode::Instruction*, NativeHelper, const NativeLengths&,
                 Emitted&, std::string& why) {
  why = "this build has no assembler";
  return false;
}

#endif

}  // namespace calyx::strategy
