#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

void Emitter::function(std::uint32_t entry) {
  versions_.clear();
  again_ = std::make_unique<Xbyak::Label>();
  pending_ = 0;
  pins_ = 0;
  cold_ = false;
  if (!arrive(entry)) trace(entry);
  while (!edges_.empty() || !slow_paths_.empty()) {
    auto& queue = edges_.empty() ? slow_paths_ : edges_;
    const std::function<void()> next = std::move(queue.front());
    queue.pop_front();
    pins_ = 0;
    next();
  }
  L(*again_);
  if (in_root_) {
    mov(rdx, ~std::uint64_t{0});
    return;  // falls into the epilogue
  }
  mov(eax, 1);
  add(rsp, 8);
  ret();
}

bool Emitter::ends_soon(std::uint32_t pc) const {
  for (unsigned i = 0; in_root_ && i < 4; ++i) {
    switch (code_[pc].op) {
      case Op::leave: return true;
      case Op::move:
      case Op::load: ++pc; break;
      case Op::jump: pc = target_of(pc); break;
      default: return false;
    }
  }
  return false;
}

bool Emitter::arrive(std::uint32_t pc) {
  if (ends_soon(pc)) return false;
  auto& versions = versions_[pc];
  Version* best = nullptr;
  std::uint32_t best_cost = 0;
  for (const auto& version : versions) {
    std::uint32_t cost = 0;
    if (!can_become(*version, cost)) continue;
    if (best == nullptr || cost < best_cost) {
      best = version.get();
      best_cost = cost;
    }
  }
  // What is rare takes what is there, so that a program of many rare cases stays as long as it is.
  const bool more = versions.size() < versions_most && traced_ < budget_ && !(cold_ && best != nullptr);
  if (best != nullptr && (best_cost == 0 || !more)) {
    become(*best);
    jmp(best->label);
    return true;
  }
  if (more) {
    // A number that was another one last time is likely to go on changing.
    for (const auto& version : versions) widen(version->state);
  } else {
    flush();
    state_.clear();
    charge(pending_);
    pending_ = 0;
  }
  versions.push_back(std::make_unique<Version>());
  versions.back()->state = state_;
  versions.back()->pending = pending_;
  L(versions.back()->label);
  return false;
}

void Emitter::widen(const State& other) {
  pins_ = 0;
  for (const Held& theirs : other) {
    if (!theirs.value.known) continue;
    Held* mine = find(theirs.slot);
    if (mine == nullptr || !mine->value.known || mine->value.number == theirs.value.number) continue;
    // Where it is in the frame already, it is read from there when it is wanted.
    if (mine->dirty) store_to_frame(*mine);
    state_.erase(state_.begin() + (mine - state_.data()));
  }
}

bool Emitter::can_become(const Version& version, std::uint32_t& cost) const {
  if (version.pending > pending_) return false;
  for (const Held& theirs : version.state) {
    const Held* mine = find(theirs.slot);
    if (theirs.value.known) {
      if (mine == nullptr || !mine->value.known || mine->value.number != theirs.value.number) return false;
    } else if (mine == nullptr) {
      cost += 2;
    } else if (mine->value.known || mine->value.reg != theirs.value.reg) {
      ++cost;
    }
    if (mine != nullptr && mine->dirty && !theirs.dirty) ++cost;
    if (theirs.value.known) continue;
    // Two slots in one register must be equal here too.
    for (const Held& also : version.state) {
      if (also.slot == theirs.slot) break;
      if (also.value.known || also.value.reg != theirs.value.reg) continue;
      const Held* other = find(also.slot);
      if (mine == nullptr || other == nullptr || mine->value.known != other->value.known) return false;
      if (mine->value.known ? mine->value.number != other->value.number : mine->value.reg != other->value.reg)
        return false;
    }
  }
  for (const Held& mine : state_) {
    const bool theirs = std::any_of(version.state.begin(), version.state.end(),
                                    [&](const Held& held) { return held.slot == mine.slot; });
    if (theirs) continue;
    cost += mine.dirty ? 1 : 0;
  }
  return true;
}

void Emitter::become(const Version& version) {
  for (Held& mine : state_) {
    if (!mine.dirty) continue;
    const auto theirs = std::find_if(version.state.begin(), version.state.end(),
                                     [&](const Held& held) { return held.slot == mine.slot; });
    if (theirs == version.state.end() || !theirs->dirty) store_to_frame(mine);
  }
  charge(pending_ - version.pending);
  std::map<std::uint8_t, std::uint8_t> moves;  // to, from
  for (const Held& theirs : version.state) {
    const Held* mine = find(theirs.slot);
    if (!theirs.value.known && mine != nullptr && !mine->value.known && mine->value.reg != theirs.value.reg)
      moves[theirs.value.reg] = mine->value.reg;
  }
  while (!moves.empty()) {
    const auto free = std::find_if(moves.begin(), moves.end(), [&](const auto& move) {
      return std::none_of(moves.begin(), moves.end(),
                          [&](const auto& other) { return other.second == move.first; });
    });
    if (free != moves.end()) {
      mov(r(free->first), r(free->second));
      moves.erase(free);
      continue;
    }
    // All that is left goes round: one value waits aside.
    const std::uint8_t first = moves.begin()->first;
    mov(rax, r(first));
    for (auto& move : moves)
      if (move.second == first) move.second = 0;
  }
  for (const Held& theirs : version.state) {
    if (theirs.value.known) continue;
    const Held* mine = find(theirs.slot);
    if (mine == nullptr)
      load_home(theirs.value.reg, theirs.slot);
    else if (mine->value.known)
      mov(r(theirs.value.reg), mine->value.number);
  }
}

void Emitter::later(std::deque<std::function<void()>>& queue, std::shared_ptr<Xbyak::Label> label,
                    std::function<void()> then) {
  queue.push_back([this, label = std::move(label), then = std::move(then), state = state_, pending = pending_,
                   cold = cold_] {
    cold_ = cold;
    state_ = state;
    pending_ = pending;
    L(*label);
    then();
  });
}

const Xbyak::Label& Emitter::slow(std::uint32_t pc, std::uint32_t next) {
  auto label = std::make_shared<Xbyak::Label>();
  kept_.push_back(label);
  resumed_[next] = true;
  later(slow_paths_, label, [this, pc, next] {
    cold_ = true;
    call_helper(pc);
    state_.clear();
    if (!arrive(next)) trace(next);
  });
  return *label;
}

}  // namespace calyx::strategy::native

#endif
