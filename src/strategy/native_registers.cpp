#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

void Emitter::store_value(const Xbyak::Address& to, const Value& value) {
  if (!value.known) {
    mov(to, r(value.reg));
  } else if (fits_32(value.number)) {
    mov(to, value.number);
  } else {
    mov(rax, value.number);
    mov(to, rax);
  }
}

std::uint8_t Emitter::fresh() {
  std::uint32_t taken = pins_;
  for (const Held& held : state_)
    if (!held.value.known) taken |= 1U << held.value.reg;
  for (const std::uint8_t reg : holders)
    if ((taken >> reg & 1U) == 0) {
      pin(reg);
      return reg;
    }
  // The one that was not used for longest.
  const Held* oldest = nullptr;
  std::uint32_t newest_use[16] = {};
  for (const Held& held : state_)
    if (!held.value.known) newest_use[held.value.reg] = std::max(newest_use[held.value.reg], held.used);
  for (const Held& held : state_) {
    if (held.value.known || (pins_ >> held.value.reg & 1U) != 0) continue;
    if (oldest == nullptr || newest_use[held.value.reg] < newest_use[oldest->value.reg]) oldest = &held;
  }
  if (oldest == nullptr) throw Xbyak::Error(Xbyak::ERR_INTERNAL);
  const std::uint8_t reg = oldest->value.reg;
  for (std::size_t i = 0; i < state_.size();) {
    if (state_[i].value.known || state_[i].value.reg != reg) {
      ++i;
      continue;
    }
    if (state_[i].dirty && !is_dead(state_[i].slot)) store_to_frame(state_[i]);
    state_.erase(state_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  pin(reg);
  return reg;
}

bool Emitter::is_dead(std::uint32_t at, std::uint32_t pc, std::uint32_t& budget) const {
  for (;;) {
    if (budget == 0) return false;
    --budget;
    const Instruction& it = code_[pc];
    if (it.op == Op::leave) return in_root_ && at != 0;
    if (it.op == Op::panic || it.op == Op::fuel_end) return true;
    if (it.op == Op::jump) {
      if (target_of(pc) <= pc) return false;
      pc = target_of(pc);
      continue;
    }
    // What counts its slots, calls or reads memory may read any.
    const bool anywhere = it.op == Op::move_many || it.op == Op::clear || it.op == Op::call ||
                          (it.op >= Op::load_8 && it.op <= Op::fill_slots) || it.op == Op::index_8;
    // No other operand is wider than three slots; what is no slot is taken for one.
    const auto near = [at](std::uint32_t slot) { return at >= slot && at < slot + 3; };
    if (anywhere || near(it.a) || near(it.b) || near(it.c)) return false;
    if (jump_target(pc) >= 0 && (target_of(pc) <= pc || !is_dead(at, target_of(pc), budget))) return false;
    pc += it.op == Op::integer || it.op == Op::index_address ? 2 : 1;
  }
}

Value Emitter::get(std::uint32_t at) {
  if (Held* held = find(at)) {
    held->used = ++clock_;
    if (!held->value.known) pin(held->value.reg);
    return held->value;
  }
  const std::uint8_t reg = fresh();
  load_home(reg, at);
  insert(at, in(reg), false);
  return in(reg);
}

void Emitter::put(std::uint32_t at, const Value& value) {
  if (Held* held = find(at)) {
    const bool same = value.known ? held->value.known && held->value.number == value.number
                                  : !held->value.known && held->value.reg == value.reg;
    held->value = value;
    held->used = ++clock_;
    held->dirty = held->dirty || !same;
    return;
  }
  if (state_.size() >= held_most) {
    auto oldest = std::min_element(state_.begin(), state_.end(), [](const Held& left, const Held& right) {
      return left.used < right.used;
    });
    if (oldest->dirty) store_to_frame(*oldest);
    state_.erase(oldest);
  }
  insert(at, value, true);
}

std::uint8_t Emitter::copy_for(std::uint32_t at, const Value& value) {
  if (!value.known) {
    const Held* held = find(at);
    const auto users = std::count_if(state_.begin(), state_.end(), [&](const Held& other) {
      return !other.value.known && other.value.reg == value.reg;
    });
    if (held != nullptr && !held->value.known && held->value.reg == value.reg && users == 1) {
      state_.erase(state_.begin() + (held - state_.data()));
      return value.reg;
    }
  }
  return copy_of(value);
}

}  // namespace calyx::strategy::native

#endif
