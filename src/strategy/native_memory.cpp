#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

void Emitter::settle(std::uint64_t offset, std::uint32_t size, bool changed) {
  if (!in_root_) {
    // Where this frame lies is not known.
    flush();
    if (changed) state_.clear();
    return;
  }
  for (std::uint64_t at = offset / 8; at <= (offset + size - 1) / 8; ++at) {
    Held* held = find(static_cast<std::uint32_t>(at));
    if (held == nullptr) continue;
    if (held->dirty) store_to_frame(*held);
    if (changed) forget(static_cast<std::uint32_t>(at));
  }
}

Emitter::Fetched Emitter::fetch(const Value& address, std::uint64_t add_to, std::uint32_t size,
                                std::uint32_t pc, std::uint32_t next) {
  if (address.known) {
    const std::uint64_t at = address.number + add_to;
    if (!inside(at, size, false)) return {false, {}};
    const std::uint64_t segment = at >> 32;
    const std::uint64_t offset = at & 0xffffffffULL;
    if (segment == kb::segment_constants) {
      std::uint64_t value = 0;
      std::memcpy(&value, made_.constants.data() + offset, size);
      return {true, number(value)};
    }
    if (segment == kb::segment_stack) {
      if (in_root_ && size == 8 && offset % 8 == 0)
        return {true, get(static_cast<std::uint32_t>(offset / 8))};
      settle(offset, size, false);
    }
    if (segment == kb::segment_data)
      if (const std::uint32_t held = payload_slot(offset, size); held != 0) return {true, get(held)};
    const std::uint8_t to = fresh();
    read(to, base_of(segment) + static_cast<std::size_t>(offset), size);
    return {true, in(to)};
  }
  const std::uint32_t segment = address.hint == no_hint ? std::uint32_t{kb::segment_data} : address.hint;
  if (size > bytes_[segment]) return {false, {}};  // some other segment, or none
  const std::uint8_t to = fresh();
  if (segment == kb::segment_stack) flush();
  check(address.reg, add_to, segment, size, slow(pc, next));
  read(to, base_of(segment) + rax, size);
  return {true, in(to)};
}

void Emitter::check(std::uint8_t address, std::uint64_t add_to, std::uint32_t segment, std::uint32_t size,
                    const Xbyak::Label& elsewhere) {
  lea(rax, ptr[r(address) + static_cast<std::size_t>(add_to)]);
  mov(rcx, rax);
  shr(rcx, 32);
  if (segment == 0)
    test(ecx, ecx);
  else
    cmp(ecx, segment);
  jne(elsewhere);
  mov(eax, eax);
  cmp(eax, bytes_[segment] - size);
  ja(*again_);
}

bool Emitter::deposit(const Value& address, std::uint64_t add_to, const Value& value, std::uint32_t size,
                      std::uint32_t pc, std::uint32_t next) {
  if (address.known) {
    const std::uint64_t at = address.number + add_to;
    if (!inside(at, size, true)) return false;
    const std::uint64_t segment = at >> 32;
    const std::uint64_t offset = at & 0xffffffffULL;
    if (segment == kb::segment_stack) {
      if (in_root_ && size == 8 && offset % 8 == 0) {
        put(static_cast<std::uint32_t>(offset / 8), value);
        return true;
      }
      settle(offset, size, true);
    }
    const std::uint8_t from = in_register(value);
    write(base_of(segment) + static_cast<std::size_t>(offset), from, size);
    return true;
  }
  const bool to_storage = address.hint != kb::segment_stack && size <= bytes_[kb::segment_storage];
  const std::uint32_t segment = to_storage ? kb::segment_storage : kb::segment_stack;
  const std::uint8_t from = in_register(value);
  if (segment == kb::segment_stack) flush();
  check(address.reg, add_to, segment, size, slow(pc, next));
  write(base_of(segment) + rax, from, size);
  if (segment == kb::segment_stack) state_.clear();
  return true;
}

void Emitter::call_helper(std::uint32_t pc) {
  flush();
  mov(rdi, r14);
  mov(rsi, rbx);
  mov(rdx, reinterpret_cast<std::uint64_t>(code_ + pc));
  mov(rax, reinterpret_cast<std::uint64_t>(helper_));
  call(rax);
  test(eax, eax);
  jz(*again_);
  for (std::size_t i = 0; i < state_.size();) {
    if (state_[i].value.known || survives_calls(state_[i].value.reg))
      ++i;
    else
      state_.erase(state_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

}  // namespace calyx::strategy::native

#endif
