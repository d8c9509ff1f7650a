#include "strategy/native_emit.hpp"

#ifdef CALYX_HAVE_XBYAK
#include <xbyak/xbyak.h>
#endif

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>

namespace calyx::strategy {

#ifdef CALYX_HAVE_XBYAK

namespace {

using kernels::bytecode::Instruction;
using kernels::bytecode::long_operand;
using kernels::bytecode::Mode;
using kernels::bytecode::Op;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;
using kernels::bytecode::Wide;
namespace kb = kernels::bytecode;

// rbx is the frame, r13 the payload, r14 the call; rax, rcx and rdx are for the moment. The rest hold slots,
// those first that a helper leaves alone.
constexpr std::uint8_t holders[] = {5, 12, 15, 6, 7, 8, 9, 10, 11};
constexpr bool survives_calls(std::uint8_t reg) { return reg == 5 || reg == 12 || reg == 15; }

/// The processor's conditions, by their number in its instructions: the lowest bit turns one around.
enum Condition : unsigned {
  overflow = 0,
  no_overflow = 1,
  below = 2,
  above_equal = 3,
  equal = 4,
  unequal = 5,
  below_equal = 6,
  above = 7,
  less = 12,
  greater_equal = 13,
  less_equal = 14,
  greater = 15
};
constexpr Condition opposite(Condition condition) { return static_cast<Condition>(condition ^ 1U); }
/// What `condition` is called when its two sides change places.
constexpr Condition mirrored(Condition condition) {
  switch (condition) {
    case below: return above;
    case above: return below;
    case above_equal: return below_equal;
    case below_equal: return above_equal;
    case less: return greater;
    case greater: return less;
    case greater_equal: return less_equal;
    case less_equal: return greater_equal;
    default: return condition;
  }
}
constexpr bool holds(Condition condition, std::uint64_t x, std::uint64_t y) {
  const auto sx = static_cast<std::int64_t>(x);
  const auto sy = static_cast<std::int64_t>(y);
  switch (condition) {
    case below: return x < y;
    case above: return x > y;
    case above_equal: return x >= y;
    case below_equal: return x <= y;
    case less: return sx < sy;
    case greater: return sx > sy;
    case greater_equal: return sx >= sy;
    case less_equal: return sx <= sy;
    case equal: return x == y;
    default: return x != y;
  }
}

constexpr std::uint8_t no_hint = 0xff;

/// What is known of a slot: its number, or the register that has it. `hint` is the segment that it seems to
/// point into, which decides what is tried first and nothing else.
struct Value {
  bool known = false;
  std::uint64_t number = 0;
  std::uint8_t reg = 0;
  std::uint8_t hint = no_hint;
};
Value number(std::uint64_t value) { return {true, value, 0, no_hint}; }
Value in(std::uint8_t reg, std::uint8_t hint = no_hint) { return {false, 0, reg, hint}; }

/// A slot whose value is not, or not only, in its place in the frame.
struct Held {
  std::uint16_t slot;
  Value value;
  bool dirty;  ///< The frame does not have it yet.
  std::uint32_t used;
};
using State = std::vector<Held>;  // in the order of slots

struct Pair {
  Value low;
  Value high;
};

/// What a comparison found, or the flags in which the processor will.
struct Test {
  bool known;
  bool value;
  Condition condition;
};

constexpr bool fits_32(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value))) == value;
}

/// Follows the instructions as they run, and emits what is left to do once all that is known has been used.
///
/// At the target of a jump the code is emitted again for another state of the registers, a few times at most;
/// further arrivals bring theirs into one of those. So a straight run keeps its numbers in registers, and
/// what a payload of a known length makes certain costs nothing.
class Emitter : public Xbyak::CodeGenerator {
 public:
  Emitter(const Compiled& made, const Instruction* instructions, NativeHelper helper, unsigned char* buffer,
          std::size_t size)
      : Xbyak::CodeGenerator(size, buffer),
        made_(made),
        code_(instructions),
        helper_(helper),
        leader_(made.code.size() + 1),
        resumed_(made.code.size() + 1) {
    setDefaultJmpNEAR(true);
    for (std::size_t i = 0; i < made.code.size(); ++i)
      if (const std::int64_t to = jump_target(i);
          to >= 0 && to <= static_cast<std::int64_t>(made.code.size()))
        leader_[static_cast<std::size_t>(to)] = true;
    budget_ = 6 * made.code.size() + 2'000;
  }

  /// Emits what a caller calls, and every function that it calls, and gives its place.
  std::size_t root(std::uint32_t entry, bool trade, std::uint32_t data_bytes, std::uint32_t storage_bytes) {
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

 private:
  static constexpr std::uint32_t ended = 0xffffffffU;
  static constexpr std::size_t versions_most = 4;
  static constexpr std::size_t held_most = 60;

  /// Code for one instruction and one state of the registers.
  struct Version {
    Xbyak::Label label;
    State state;
    std::uint32_t pending = 0;
  };

  static constexpr std::size_t base_offset(std::uint32_t segment) {
    return offsetof(NativeCall, segments) + offsetof(kb::detail::Segments, base) + 8 * std::size_t{segment};
  }

  std::int64_t jump_target(std::size_t at) const {
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
  std::uint32_t target_of(std::uint32_t pc) const { return static_cast<std::uint32_t>(jump_target(pc)); }

  // Functions and the order of their pieces.

  void function(std::uint32_t entry) {
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

  void trace(std::uint32_t pc) {
    do {
      pins_ = 0;
      pc_ = pc;
      pc = one(pc);
    } while (pc != ended && !((leader_[pc] || (cold_ && resumed_[pc])) && arrive(pc)));
  }

  /// Whether a few moves from `pc` on the call is over. Those are had again from wherever they are reached:
  /// to bring the registers into one order first would cost more, and keep what nobody will read.
  bool ends_soon(std::uint32_t pc) const {
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

  /// At an instruction that others reach too. True if the code for it is elsewhere and a jump leads there;
  /// else it is to be emitted here.
  bool arrive(std::uint32_t pc) {
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

  void widen(const State& other) {
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

  /// Whether the registers can be made what `version` expects, and at which cost.
  bool can_become(const Version& version, std::uint32_t& cost) const {
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
        if (mine->value.known ? mine->value.number != other->value.number
                              : mine->value.reg != other->value.reg)
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

  void become(const Version& version) {
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

  void charge(std::uint32_t fuel) {
    if (fuel == 0) return;
    sub(qword[r14 + offsetof(NativeCall, fuel)], fuel);
    jb(*again_);
  }

  /// The code for `then` follows later, from the state as it is now.
  void later(std::deque<std::function<void()>>& queue, std::shared_ptr<Xbyak::Label> label,
             std::function<void()> then) {
    queue.push_back([this, label = std::move(label), then = std::move(then), state = state_,
                     pending = pending_, cold = cold_] {
      cold_ = cold;
      state_ = state;
      pending_ = pending;
      L(*label);
      then();
    });
  }

  /// Where a jump goes that leaves the usual path before the instruction at `pc` has done anything: a helper
  /// does it, and the code goes on with everything in the frame.
  const Xbyak::Label& slow(std::uint32_t pc, std::uint32_t next) {
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

  // Slots and registers.

  static Xbyak::Reg64 r(std::uint8_t reg) { return Xbyak::Reg64(reg); }
  // The payload never changes during a call, so its words are held as slots are, behind all real ones.
  static constexpr std::uint32_t payload_words = 0x8000;
  static constexpr std::uint32_t payload_bytes = 0xf000;
  static_assert(stack_slots_max <= payload_words);
  /// The slot that stands for `size` bytes at `offset` of the payload, or 0 if none does.
  static constexpr std::uint32_t payload_slot(std::uint64_t offset, std::uint32_t size) {
    if (size == 8 && offset < payload_bytes - payload_words)
      return payload_words + static_cast<std::uint32_t>(offset);
    if (size == 1 && offset < 0x10000 - payload_bytes)
      return payload_bytes + static_cast<std::uint32_t>(offset);
    return 0;
  }
  /// Loads a slot from where it is when no register has it.
  void load_home(std::uint8_t to, std::uint32_t at) {
    if (at >= payload_bytes)
      movzx(Xbyak::Reg32(to), byte[r13 + std::size_t{at - payload_bytes}]);
    else if (at >= payload_words)
      mov(r(to), qword[r13 + std::size_t{at - payload_words}]);
    else
      mov(r(to), slot(at));
  }
  Xbyak::Address slot(std::uint32_t at) { return qword[rbx + std::size_t{8} * at]; }

  const Held* find(std::uint32_t at) const {
    const auto held =
        std::lower_bound(state_.begin(), state_.end(), at,
                         [](const Held& left, std::uint32_t right) { return left.slot < right; });
    return held == state_.end() || held->slot != at ? nullptr : &*held;
  }
  Held* find(std::uint32_t at) { return const_cast<Held*>(static_cast<const Emitter*>(this)->find(at)); }

  /// Leaves the flags as they are; a long number passes through rax.
  void store_to_frame(Held& held) {
    store_value(slot(held.slot), held.value);
    held.dirty = false;
  }
  void store_value(const Xbyak::Address& to, const Value& value) {
    if (!value.known) {
      mov(to, r(value.reg));
    } else if (fits_32(value.number)) {
      mov(to, value.number);
    } else {
      mov(rax, value.number);
      mov(to, rax);
    }
  }
  void flush() {
    for (Held& held : state_)
      if (held.dirty) store_to_frame(held);
  }
  void forget(std::uint32_t at) {
    if (const Held* held = find(at)) state_.erase(state_.begin() + (held - state_.data()));
  }

  void pin(std::uint8_t reg) { pins_ |= 1U << reg; }

  /// A register for the instruction's own use, or for its result. Changes neither the flags nor rax, rcx,
  /// rdx.
  std::uint8_t fresh() {
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

  /// Whether nobody reads a slot any more, from the instruction on that is being emitted.
  bool is_dead(std::uint32_t at) const {
    std::uint32_t budget = 64;
    return is_dead(at, pc_, budget);
  }
  /// Says no whenever it is not plain to see within the budget.
  bool is_dead(std::uint32_t at, std::uint32_t pc, std::uint32_t& budget) const {
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

  Value get(std::uint32_t at) {
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
  Pair get_wide(std::uint32_t at) {
    const Value low = get(at);
    return {low, get(at + 1)};
  }

  void insert(std::uint32_t at, const Value& value, bool dirty) {
    const auto place =
        std::lower_bound(state_.begin(), state_.end(), at,
                         [](const Held& left, std::uint32_t right) { return left.slot < right; });
    state_.insert(place, {static_cast<std::uint16_t>(at), value, dirty, ++clock_});
  }

  void put(std::uint32_t at, const Value& value) {
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
  void put_wide(std::uint32_t at, const Pair& value) {
    put(at, value.low);
    put(at + 1, value.high);
  }

  /// A register with `value` that may be changed.
  std::uint8_t copy_of(const Value& value) {
    const std::uint8_t reg = fresh();
    load_number(r(reg), value);
    return reg;
  }
  void load_number(const Xbyak::Reg64& to, const Value& value) {
    if (value.known)
      mov(to, value.number);
    else if (to.getIdx() != value.reg)
      mov(to, r(value.reg));
  }
  /// The same where the result goes to slot `at`: its old register, if nobody else has it.
  std::uint8_t copy_for(std::uint32_t at, const Value& value) {
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
  /// `value` in a register, which stays as it is.
  std::uint8_t in_register(const Value& value) { return value.known ? copy_of(value) : value.reg; }

  // Two operands.

  enum class Alu : std::uint8_t { add, adc, sub, sbb, bit_and, bit_or, bit_xor, cmp };

  void alu(Alu op, std::uint8_t to, const Value& from) {
    if (from.known && !fits_32(from.number)) {
      alu(op, to, in(copy_of(from)));
      return;
    }
    const auto apply = [&](const auto& source) {
      switch (op) {
        case Alu::add: add(r(to), source); break;
        case Alu::adc: adc(r(to), source); break;
        case Alu::sub: sub(r(to), source); break;
        case Alu::sbb: sbb(r(to), source); break;
        case Alu::bit_and: and_(r(to), source); break;
        case Alu::bit_or: or_(r(to), source); break;
        case Alu::bit_xor: xor_(r(to), source); break;
        case Alu::cmp: cmp(r(to), source); break;
      }
    };
    if (from.known)
      apply(static_cast<std::uint32_t>(from.number));
    else
      apply(r(from.reg));
  }
  /// `from` as something that an instruction in the middle of a chain of carries can take.
  Value operand(const Value& from) { return from.known && !fits_32(from.number) ? in(copy_of(from)) : from; }

  static std::uint64_t computed(Alu op, std::uint64_t x, std::uint64_t y) {
    switch (op) {
      case Alu::add: return x + y;
      case Alu::sub: return x - y;
      case Alu::bit_and: return x & y;
      case Alu::bit_or: return x | y;
      default: return x ^ y;
    }
  }

  /// x op y for slot `at`. The segment of an address survives that something is added to it.
  Value combined(Alu op, std::uint32_t at, Value x, Value y) {
    if (x.known && y.known) {
      Value folded = number(computed(op, x.number, y.number));
      if (op == Alu::add) folded.hint = x.hint != no_hint ? x.hint : y.hint;
      return folded;
    }
    std::uint8_t hint = x.hint;
    if (op == Alu::add) {
      const auto hint_of = [](const Value& value) {
        if (!value.known || value.hint != no_hint) return value.hint;
        const std::uint64_t segment = value.number >> 32;
        return segment >= 1 && segment <= kb::segment_constants ? static_cast<std::uint8_t>(segment)
                                                                : no_hint;
      };
      hint = hint_of(x) != no_hint ? hint_of(x) : hint_of(y);
    }
    if (op != Alu::sub && x.known) std::swap(x, y);
    if (y.known && y.number == 0 && op != Alu::bit_and) {
      x.hint = hint;
      return x;
    }
    if (y.known && y.number == 0) return number(0);
    const std::uint8_t to = copy_for(at, x);
    alu(op, to, y);
    return in(to, hint);
  }

  Value product(std::uint32_t at, Value x, Value y) {
    if (x.known) std::swap(x, y);
    if (x.known) return number(x.number * y.number);
    if (!y.known) {
      const std::uint8_t to = copy_for(at, x);
      imul(r(to), r(y.reg));
      return in(to);
    }
    if (y.number == 0) return number(0);
    if ((y.number & (y.number - 1)) == 0)
      return shifted_left(at, x, static_cast<std::uint32_t>(__builtin_ctzll(y.number)));
    if (fits_32(y.number)) {
      const std::uint8_t to = fresh();
      imul(r(to), r(x.reg), static_cast<int>(static_cast<std::uint32_t>(y.number)));
      return in(to);
    }
    const std::uint8_t to = copy_of(y);
    imul(r(to), r(x.reg));
    return in(to);
  }
  Value shifted_left(std::uint32_t at, const Value& x, std::uint32_t by) {
    if (x.known) return number(x.number << by);
    if (by == 0) return x;
    const std::uint8_t to = copy_for(at, x);
    shl(r(to), static_cast<int>(by));
    return in(to);
  }

  /// rax / `divisor`, into rax, by a multiplication with 2^k / divisor, rounded up, and a shift by k. It is
  /// exact for numerators of n bits if the multiplier has n bits after its first (Granlund and Montgomery,
  /// 1994). Uses rcx and rdx.
  void divide_by(std::uint64_t divisor) {
    if (divisor == 1) return;
    const auto bits = static_cast<std::uint32_t>(64 - __builtin_clzll(divisor - 1));
    if ((divisor & (divisor - 1)) == 0) {
      shr(rax, static_cast<int>(bits));
      return;
    }
    // Without their factors of two, the numerator has fewer bits too, so that the multiplier fits a register.
    const auto twos = static_cast<std::uint32_t>(__builtin_ctzll(divisor));
    const std::uint64_t odd = divisor >> twos;
    const auto odd_bits = static_cast<std::uint32_t>(64 - __builtin_clzll(odd - 1));
    if (twos >= 1) {
      const std::uint32_t scale = 64 - twos + odd_bits;
      const Wide factor = ((Wide{1} << scale) + odd - 1) / odd;
      if ((factor >> 64) == 0) {
        shr(rax, static_cast<int>(twos));
        mov(rdx, static_cast<std::uint64_t>(factor));
        mul(rdx);
        if (scale >= 64) {
          if (scale > 64) shr(rdx, static_cast<int>(scale - 64));
          mov(rax, rdx);
          return;
        }
        shrd(rax, rdx, static_cast<std::uint8_t>(scale));
        return;
      }
    }
    const Wide power = bits == 64 ? Wide{0} - divisor : ((Wide{1} << bits) - divisor);
    // The multiplier's highest bit, of 65, is left out here and added as the numerator itself, without a
    // carry.
    const auto factor =
        static_cast<std::uint64_t>((static_cast<Wide>(static_cast<std::uint64_t>(power)) << 64) / divisor) +
        1;
    mov(rcx, rax);
    mov(rdx, factor);
    mul(rdx);
    sub(rcx, rdx);
    shr(rcx, 1);
    add(rcx, rdx);
    shr(rcx, static_cast<int>(bits - 1));
    mov(rax, rcx);
  }

  /// Quotient or remainder of two unsigned numbers; the divisor is not 0 if it is known.
  Value quotient(const Value& x, const Value& y, bool rest) {
    if (x.known && y.known) return number(rest ? x.number % y.number : x.number / y.number);
    if (y.known && y.number == 1) return rest ? number(0) : x;
    return quotient_into(fresh(), x, y, rest);
  }
  Value quotient_into(std::uint8_t to, const Value& x, const Value& y, bool rest) {
    if (y.known) {
      load_number(rax, x);
      divide_by(y.number);
      if (!rest) {
        mov(r(to), rax);
        return in(to);
      }
      if (fits_32(y.number)) {
        imul(rax, rax, static_cast<int>(static_cast<std::uint32_t>(y.number)));
      } else {
        mov(rcx, y.number);
        imul(rax, rcx);
      }
      mov(r(to), r(x.reg));
      sub(r(to), rax);
      return in(to);
    }
    test(r(y.reg), r(y.reg));
    jz(*again_);
    load_number(rax, x);
    xor_(edx, edx);
    div(r(y.reg));
    mov(r(to), rest ? rdx : rax);
    return in(to);
  }

  // Conditions.

  void jump(Condition condition, const Xbyak::Label& to) {
    switch (condition) {
      case below: jb(to); break;
      case above_equal: jae(to); break;
      case equal: je(to); break;
      case unequal: jne(to); break;
      case below_equal: jbe(to); break;
      case above: ja(to); break;
      case overflow: jo(to); break;
      case no_overflow: jno(to); break;
      case less: jl(to); break;
      case greater_equal: jge(to); break;
      case less_equal: jle(to); break;
      case greater: jg(to); break;
    }
  }
  void move_if(Condition condition, std::uint8_t to, const Xbyak::Reg64& from) {
    switch (condition) {
      case below: cmovb(r(to), from); break;
      case above_equal: cmovae(r(to), from); break;
      case equal: cmove(r(to), from); break;
      case unequal: cmovne(r(to), from); break;
      case below_equal: cmovbe(r(to), from); break;
      case above: cmova(r(to), from); break;
      case overflow: cmovo(r(to), from); break;
      case no_overflow: cmovno(r(to), from); break;
      case less: cmovl(r(to), from); break;
      case greater_equal: cmovge(r(to), from); break;
      case less_equal: cmovle(r(to), from); break;
      case greater: cmovg(r(to), from); break;
    }
  }
  /// 1 or 0 into `to`, which may be none that the flags came from. Takes rax.
  void set_if(Condition condition, std::uint8_t to) {
    switch (condition) {
      case below: setb(al); break;
      case above_equal: setae(al); break;
      case equal: sete(al); break;
      case unequal: setne(al); break;
      case below_equal: setbe(al); break;
      case above: seta(al); break;
      case overflow: seto(al); break;
      case no_overflow: setno(al); break;
      case less: setl(al); break;
      case greater_equal: setge(al); break;
      case less_equal: setle(al); break;
      case greater: setg(al); break;
    }
    movzx(Xbyak::Reg32(to), al);
  }

  Test compared(Condition condition, Value x, Value y) {
    if (x.known && y.known) return {true, holds(condition, x.number, y.number), condition};
    if (x.known) {
      std::swap(x, y);
      condition = mirrored(condition);
    }
    if (y.known && y.number == 0 && (condition == equal || condition == unequal))
      test(r(x.reg), r(x.reg));
    else
      alu(Alu::cmp, x.reg, y);
    return {false, false, condition};
  }

  Test compared_equal(Condition condition, const Pair& x, const Pair& y) {
    if (x.high.known && y.high.known) {
      if (x.high.number != y.high.number) return {true, condition == unequal, condition};
      return compared(condition, x.low, y.low);
    }
    const std::uint8_t low = copy_of(x.low);
    alu(Alu::bit_xor, low, y.low);
    if (y.high.known && y.high.number == 0) {
      or_(r(low), r(x.high.reg));
    } else if (x.high.known && x.high.number == 0) {
      or_(r(low), r(y.high.reg));
    } else {
      const std::uint8_t high = copy_of(x.high);
      alu(Alu::bit_xor, high, y.high);
      or_(r(low), r(high));
    }
    return {false, false, condition};
  }

  /// x < y, or with `or_equal` not y < x, of 128 bits.
  Test compared_wide(const Pair& left, const Pair& right, bool or_equal, bool is_signed) {
    const Pair& x = or_equal ? right : left;
    const Pair& y = or_equal ? left : right;
    const Condition condition =
        is_signed ? (or_equal ? greater_equal : less) : (or_equal ? above_equal : below);
    if (x.high.known && y.high.known) {
      if (x.high.number == y.high.number)
        return compared(or_equal ? below_equal : below, left.low, right.low);
      const bool under =
          is_signed ? static_cast<std::int64_t>(x.high.number) < static_cast<std::int64_t>(y.high.number)
                    : x.high.number < y.high.number;
      return {true, under != or_equal, condition};
    }
    const std::uint8_t low = in_register(x.low);
    const Value low_y = operand(y.low);
    const std::uint8_t high = copy_of(x.high);
    const Value high_y = operand(y.high);
    alu(Alu::cmp, low, low_y);
    alu(Alu::sbb, high, high_y);
    return {false, false, condition};
  }

  /// What follows a test: a jump or a requirement on it, which then needs no number, or its number.
  std::uint32_t use_test(std::uint32_t pc, const Test& test) {
    const std::uint32_t a = code_[pc].a;
    if (pc + 1 < made_.code.size() && code_[pc + 1].a == a) {
      const Op next = code_[pc + 1].op;
      if (next == Op::jump_if || next == Op::jump_unless) {
        step();
        const bool taken_if = next == Op::jump_if;
        Test turned = test;
        if (!taken_if) {
          turned.value = !test.value;
          turned.condition = opposite(test.condition);
        }
        forget(a);
        return branch(pc + 1, turned,
                      [this, a, taken_if](bool taken) { put(a, number(taken == taken_if ? 1 : 0)); });
      }
      if (next == Op::require) {
        if (test.known && !test.value) return leave_again();
        if (!test.known) jump(opposite(test.condition), *again_);
        step();
        put(a, number(1));
        return pc + 2;
      }
    }
    put_test(a, test);
    return pc + 1;
  }
  void put_test(std::uint32_t a, const Test& test) {
    if (test.known) {
      put(a, number(test.value ? 1 : 0));
      return;
    }
    const std::uint8_t to = fresh();
    set_if(test.condition, to);
    put(a, in(to));
  }

  /// The jump at `pc`; `learn` tells the state what either way says.
  template <class Learn>
  std::uint32_t branch(std::uint32_t pc, const Test& test, Learn learn) {
    const std::uint32_t target = target_of(pc);
    if (test.known) {
      learn(test.value);
      return test.value ? jump_to(target) : pc + 1;
    }
    if (ends_early(target)) {
      jump(test.condition, *again_);
    } else {
      const State before = state_;
      const std::uint32_t clock = clock_;
      learn(true);
      auto label = std::make_shared<Xbyak::Label>();
      kept_.push_back(label);
      later(edges_, label, [this, target] {
        if (!arrive(target)) trace(target);
      });
      state_ = before;
      clock_ = clock;
      jump(test.condition, *label);
    }
    learn(false);
    return pc + 1;
  }
  std::uint32_t jump_to(std::uint32_t target) { return target; }
  bool ends_early(std::uint32_t pc) const {
    return code_[pc].op == Op::panic || code_[pc].op == Op::fuel_end;
  }
  std::uint32_t leave_again() {
    jmp(*again_);
    return ended;
  }

  /// One more instruction of the interpreter's.
  void step() {
    ++pending_;
    ++traced_;
  }

  // Memory.

  /// What an access came to: in line, or the call ends as the interpreter says.
  struct Fetched {
    bool inside;
    Value value;
  };

  bool inside(std::uint64_t address, std::uint32_t size, bool to_write) const {
    const std::uint64_t segment = address >> 32;
    const std::uint64_t offset = address & 0xffffffffULL;
    if (segment > kb::segment_constants) return false;
    if (to_write && (segment == kb::segment_data || segment == kb::segment_constants)) return false;
    return size <= bytes_[segment] && offset <= bytes_[segment] - size;
  }

  void read(std::uint8_t to, const Xbyak::RegExp& from, std::uint32_t size) {
    switch (size) {
      case 1: movzx(Xbyak::Reg32(to), byte[from]); break;
      case 2: movzx(Xbyak::Reg32(to), word[from]); break;
      case 4: mov(Xbyak::Reg32(to), dword[from]); break;
      default: mov(r(to), qword[from]);
    }
  }
  void write(const Xbyak::RegExp& to, std::uint8_t from, std::uint32_t size) {
    switch (size) {
      case 1: mov(byte[to], r(from).cvt8()); break;
      case 2: mov(word[to], Xbyak::Reg16(from)); break;
      case 4: mov(dword[to], Xbyak::Reg32(from)); break;
      default: mov(qword[to], r(from));
    }
  }
  /// The base of a segment: in its register, or put into rcx.
  Xbyak::Reg64 base_of(std::uint64_t segment) {
    if (segment == kb::segment_data) return r13;
    if (segment == kb::segment_stack && in_root_) return rbx;
    mov(rcx, ptr[r14 + base_offset(static_cast<std::uint32_t>(segment))]);
    return rcx;
  }

  /// Slots that `size` bytes at `offset` of the stack touch, written to the frame; forgotten too if
  /// `changed`.
  void settle(std::uint64_t offset, std::uint32_t size, bool changed) {
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

  Fetched fetch(const Value& address, std::uint64_t add_to, std::uint32_t size, std::uint32_t pc,
                std::uint32_t next) {
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

  /// Leaves the offset of an address in rax, which is `size` bytes inside of `segment`; in another segment
  /// goes to `elsewhere`. Takes rcx.
  void check(std::uint8_t address, std::uint64_t add_to, std::uint32_t segment, std::uint32_t size,
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

  /// False where the call ends.
  bool deposit(const Value& address, std::uint64_t add_to, const Value& value, std::uint32_t size,
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

  // Helpers.

  void call_helper(std::uint32_t pc) {
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
  /// One whose results are `count` slots.
  std::uint32_t helped(std::uint32_t pc, std::uint32_t count, std::uint32_t words = 1) {
    call_helper(pc);
    for (std::uint32_t i = 0; i < count; ++i) forget(code_[pc].a + i);
    return pc + words;
  }
  /// One that may write anywhere.
  std::uint32_t helped_everywhere(std::uint32_t pc) {
    call_helper(pc);
    state_.clear();
    return pc + 1;
  }

  // 128 bits.

  Pair sum(const Pair& x, const Pair& y, bool difference) {
    const std::uint8_t low = copy_of(x.low);
    const std::uint8_t high = copy_of(x.high);
    const Value y_low = operand(y.low);
    const Value y_high = operand(y.high);
    alu(difference ? Alu::sub : Alu::add, low, y_low);
    alu(difference ? Alu::sbb : Alu::adc, high, y_high);
    return {in(low), in(high)};
  }

  /// x.low * y.low into rdx and rax, the flags saying whether rdx matters.
  void multiply(const Value& x, const Value& y) {
    if (x.known) {
      mov(rax, x.number);
      mul(r(in_register(y)));
    } else {
      load_number(rax, y);
      mul(r(x.reg));
    }
  }

  Pair product_wide(Pair x, Pair y) {
    const bool x_short = x.high.known && x.high.number == 0;
    const bool y_short = y.high.known && y.high.number == 0;
    if (x_short && y_short && x.low.known && y.low.known) {
      const Wide value = static_cast<Wide>(x.low.number) * y.low.number;
      return {number(static_cast<std::uint64_t>(value)), number(static_cast<std::uint64_t>(value >> 64))};
    }
    const std::uint8_t low = fresh();
    const std::uint8_t high = fresh();
    if (x.low.known && y.low.known) x.low = in(copy_of(x.low));
    const auto cross = [this](const Value& left, const Value& right) {
      // Into rcx, by way of rdx.
      if (left.known && fits_32(left.number) && !right.known) {
        imul(rdx, r(right.reg), static_cast<int>(static_cast<std::uint32_t>(left.number)));
      } else if (right.known && fits_32(right.number) && !left.known) {
        imul(rdx, r(left.reg), static_cast<int>(static_cast<std::uint32_t>(right.number)));
      } else {
        load_number(rdx, left);
        if (right.known) {
          mov(rax, right.number);
          imul(rdx, rax);
        } else {
          imul(rdx, r(right.reg));
        }
      }
    };
    if (!x_short) {
      cross(x.high, y.low);
      mov(rcx, rdx);
    }
    if (!y_short) {
      cross(y.high, x.low);
      if (x_short)
        mov(rcx, rdx);
      else
        add(rcx, rdx);
    }
    if (x.low.known) {
      mov(rax, x.low.number);
      mul(r(y.low.reg));
    } else {
      load_number(rax, y.low);
      mul(r(x.low.reg));
    }
    if (!x_short || !y_short) add(rdx, rcx);
    mov(r(low), rax);
    mov(r(high), rdx);
    return {in(low), in(high)};
  }

  /// Both halves of a quotient or a remainder. The usual path has a divisor below 2^64 and a quotient below
  /// it, which the processor divides by itself.
  std::uint32_t divide_wide(std::uint32_t pc, const Pair& x, const Pair& y, bool rest, std::uint32_t next) {
    const std::uint32_t a = code_[pc].a;
    const bool x_short = x.high.known && x.high.number == 0;
    const bool y_short = y.high.known && y.high.number == 0;
    if (y.high.known && !y_short) return helped(pc, 2);
    if (y_short && y.low.known && y.low.number == 0) return leave_again();
    if (x_short && y_short) {
      put_wide(a, {quotient(x.low, y.low, rest), number(0)});
      return next;
    }
    if (y_short && y.low.known && !x.low.known && !x.high.known && y.low.number > 1) {
      // The upper half is 0 more often than not, and then this is no division at all.
      const std::uint8_t upper = x.high.reg;
      // Before the ways part: what a register held may have to be stored on both.
      const std::uint8_t to = fresh();
      const Xbyak::Label& elsewhere = slow(pc, next);
      auto longer = std::make_shared<Xbyak::Label>();
      auto back = std::make_shared<Xbyak::Label>();
      test(r(upper), r(upper));
      jnz(*longer);
      quotient_into(to, x.low, y.low, rest);
      L(*back);
      slow_paths_.push_back(
          [this, longer, back, &elsewhere, upper, to, rest, low = x.low.reg, by = y.low.number] {
            L(*longer);
            mov(rcx, by);
            cmp(r(upper), rcx);
            jae(elsewhere);
            mov(rax, r(low));
            mov(rdx, r(upper));
            div(rcx);
            mov(r(to), rest ? rdx : rax);
            jmp(*back);
          });
      put_wide(a, {in(to), number(0)});
      return next;
    }
    const std::uint8_t to = fresh();
    const std::uint8_t divisor = in_register(y.low);
    const std::uint8_t upper = in_register(x.high);
    const Xbyak::Label& elsewhere = slow(pc, next);
    if (!y_short) {
      test(r(y.high.reg), r(y.high.reg));
      jnz(elsewhere);
    }
    // A divisor of 0 is never above the upper half.
    cmp(r(upper), r(divisor));
    jae(elsewhere);
    load_number(rax, x.low);
    mov(rdx, r(upper));
    div(r(divisor));
    mov(r(to), rest ? rdx : rax);
    put_wide(a, {in(to), number(0)});
    return next;
  }

  /// The smaller or the larger, as the flags of x < y or y < x say.
  std::uint32_t choose_wide(std::uint32_t pc, bool larger, bool is_signed) {
    const Instruction& it = code_[pc];
    const Pair x = get_wide(it.b);
    const Pair y = get_wide(it.c);
    const bool all_short = x.high.known && y.high.known && x.high.number == 0 && y.high.number == 0;
    if (all_short) {
      put_wide(it.a, {choose(it.a, x.low, y.low, larger, false), number(0)});
      return pc + 1;
    }
    const std::uint8_t low = copy_of(y.low);
    const std::uint8_t high = copy_of(y.high);
    const std::uint8_t x_low = in_register(x.low);
    const std::uint8_t x_high = in_register(x.high);
    if (larger) {
      mov(rax, r(high));
      cmp(r(low), r(x_low));
      sbb(rax, r(x_high));
    } else {
      mov(rax, r(x_high));
      cmp(r(x_low), r(low));
      sbb(rax, r(high));
    }
    const Condition condition = is_signed ? less : below;
    move_if(condition, low, r(x_low));
    move_if(condition, high, r(x_high));
    put_wide(it.a, {in(low), in(high)});
    return pc + 1;
  }

  Value choose(std::uint32_t at, const Value& x, const Value& y, bool larger, bool is_signed) {
    if (x.known && y.known) {
      const bool less_than = is_signed
                                 ? static_cast<std::int64_t>(x.number) < static_cast<std::int64_t>(y.number)
                                 : x.number < y.number;
      return number(less_than != larger ? x.number : y.number);
    }
    const std::uint8_t other = in_register(y);
    const std::uint8_t to = copy_for(at, x);
    cmp(r(to), r(other));
    const Condition condition =
        is_signed ? (larger ? less_equal : greater_equal) : (larger ? below_equal : above_equal);
    move_if(condition, to, r(other));
    return in(to);
  }

  std::uint32_t shift_wide(std::uint32_t pc) {
    const Instruction& it = code_[pc];
    const bool left = it.op == Op::shift_left_w;
    const bool is_signed = it.op == Op::shift_right_sw;
    const Pair x = get_wide(it.b);
    const Value by = get(it.c);
    const std::uint8_t low = copy_of(x.low);
    const std::uint8_t high = copy_of(x.high);
    const std::uint8_t rest = fresh();
    load_number(rcx, by);
    if (is_signed) {
      mov(r(rest), r(high));
      sar(r(rest), 63);
    } else {
      xor_(Xbyak::Reg32(rest), Xbyak::Reg32(rest));
    }
    if (left) {
      shld(r(high), r(low), cl);
      shl(r(low), cl);
      test(ecx, 64);
      cmovnz(r(high), r(low));
      cmovnz(r(low), r(rest));
    } else {
      shrd(r(low), r(high), cl);
      if (is_signed)
        sar(r(high), cl);
      else
        shr(r(high), cl);
      test(ecx, 64);
      cmovnz(r(low), r(high));
      cmovnz(r(high), r(rest));
    }
    put_wide(it.a, {in(low), in(high)});
    return pc + 1;
  }

  // Doubles. They live in the slots' registers and visit xmm0 and xmm1.

  void load_double(const Xbyak::Xmm& to, const Value& value) {
    if (value.known) {
      mov(rax, value.number);
      movq(to, rax);
    } else {
      movq(to, r(value.reg));
    }
  }
  /// xmm0 into slot `a`. What is not a number has the same bits everywhere.
  void put_double(std::uint32_t a) {
    const std::uint8_t to = fresh();
    auto odd = std::make_shared<Xbyak::Label>();
    auto back = std::make_shared<Xbyak::Label>();
    kept_.push_back(odd);
    kept_.push_back(back);
    movq(r(to), xmm0);
    ucomisd(xmm0, xmm0);
    jp(*odd);
    L(*back);
    slow_paths_.push_back([this, odd, back, to] {
      L(*odd);
      mov(r(to), 0x7ff8000000000000ULL);
      jmp(*back);
    });
    put(a, in(to));
  }
  std::uint32_t real(std::uint32_t pc) {
    const Instruction& it = code_[pc];
    const Value x = get(it.b);
    const Value y = get(it.c);
    load_double(xmm0, x);
    load_double(xmm1, y);
    switch (it.op) {
      case Op::add_f: addsd(xmm0, xmm1); break;
      case Op::sub_f: subsd(xmm0, xmm1); break;
      case Op::mul_f: mulsd(xmm0, xmm1); break;
      default: divsd(xmm0, xmm1);
    }
    put_double(it.a);
    return pc + 1;
  }
  std::uint32_t real_compared(std::uint32_t pc) {
    const Instruction& it = code_[pc];
    const Value x = get(it.b);
    const Value y = get(it.c);
    load_double(xmm0, x);
    load_double(xmm1, y);
    // y above x is false where either is no number.
    if (it.op == Op::lt_f || it.op == Op::le_f) {
      ucomisd(xmm1, xmm0);
      return use_test(pc, {false, false, it.op == Op::lt_f ? above : above_equal});
    }
    const std::uint8_t to = fresh();
    ucomisd(xmm0, xmm1);
    if (it.op == Op::eq_f) {
      sete(al);
      setnp(cl);
      and_(al, cl);
    } else {
      setne(al);
      setp(cl);
      or_(al, cl);
    }
    movzx(Xbyak::Reg32(to), al);
    put(it.a, in(to));
    return pc + 1;
  }

  // Operations of the rare kind that are not so rare.

  /// How a result that may not fit goes into its slots; `over` says whether it did not. `words` is what it
  /// takes.
  std::uint32_t put_fitted(std::uint32_t pc, Pair result, bool is_wide, Condition over, bool never_over,
                           std::uint64_t limit) {
    const std::uint32_t a = code_[pc].a;
    const auto mode = static_cast<Mode>(code_[pc + 1].b);
    const std::uint32_t next = pc + 2;
    const auto put_result = [&](std::uint32_t at) {
      put(at, result.low);
      if (is_wide) put(at + 1, result.high);
    };
    if (mode == Mode::wrapping) {
      put_result(a);
      return next;
    }
    if (mode == Mode::checked) {
      if (never_over) {
        put(a, number(1));
        put_result(a + 1);
        return next;
      }
      const Instruction& then = code_[next];
      if (next < made_.code.size() && then.op == Op::require && then.a == a) {
        jump(over, *again_);
        step();
        put(a, number(1));
        put_result(a + 1);
        return next + 1;
      }
      const std::uint8_t some = fresh();
      const auto none = [&](Value& value) {
        if (value.known) value = in(copy_of(value));
        move_if(over, value.reg, rcx);
      };
      mov(ecx, 0);
      none(result.low);
      if (is_wide) none(result.high);
      set_if(opposite(over), some);
      put(a, in(some));
      put_result(a + 1);
      return next;
    }
    if (mode == Mode::saturating) {
      if (!never_over) {
        mov(rcx, limit);
        const auto cap = [&](Value& value) {
          if (value.known) value = in(copy_of(value));
          move_if(over, value.reg, rcx);
        };
        cap(result.low);
        if (is_wide) cap(result.high);
      }
      put_result(a);
      return next;
    }
    const std::uint32_t flag = a + (is_wide ? 2 : 1);
    if (never_over) {
      put(flag, number(0));
    } else {
      const std::uint8_t set = fresh();
      set_if(over, set);
      put(flag, in(set));
    }
    put_result(a);
    return next;
  }

  std::uint32_t integer(std::uint32_t pc) {
    const Instruction& it = code_[pc];
    const Instruction& how = code_[pc + 1];
    const auto kind = static_cast<Rare>(how.op);
    const bool plain = how.a == 64 || how.a == 128;  // unsigned, and filling its slots
    const bool is_wide = how.a == 128;
    // Written slots: a result of two, and a flag.
    const auto by_helper = [&] { return helped(pc, 3, 2); };
    if (!plain) return by_helper();
    const std::uint64_t most = ~std::uint64_t{0};
    switch (kind) {
      case Rare::add:
      case Rare::sub: {
        const bool difference = kind == Rare::sub;
        if (!is_wide) {
          const Value x = get(it.b);
          const Value y = operand(get(it.c));
          const std::uint8_t to = copy_of(x);
          alu(difference ? Alu::sub : Alu::add, to, y);
          return put_fitted(pc, {in(to), {}}, false, below, false, difference ? 0 : most);
        }
        const Pair x = get_wide(it.b);
        const Pair y = get_wide(it.c);
        return put_fitted(pc, sum(x, y, difference), true, below, false, difference ? 0 : most);
      }
      case Rare::mul: {
        if (!is_wide) {
          Value x = get(it.b);
          const Value y = get(it.c);
          if (x.known) x = in(copy_of(x));
          const std::uint8_t to = fresh();
          multiply(x, y);
          mov(r(to), rax);
          return put_fitted(pc, {in(to), {}}, false, overflow, false, most);
        }
        const Pair x = get_wide(it.b);
        const Pair y = get_wide(it.c);
        const bool x_short = x.high.known && x.high.number == 0;
        const bool y_short = y.high.known && y.high.number == 0;
        if ((x.high.known && !x_short) || (y.high.known && !y_short)) return by_helper();
        if (!x_short || !y_short) {
          const Xbyak::Label& elsewhere = slow(pc, pc + 2);
          if (x_short) {
            test(r(y.high.reg), r(y.high.reg));
          } else {
            mov(rax, r(x.high.reg));
            if (y_short)
              test(rax, rax);
            else
              or_(rax, r(y.high.reg));
          }
          jnz(elsewhere);
        }
        return put_fitted(pc, product_wide({x.low, number(0)}, {y.low, number(0)}), true, below, true, 0);
      }
      case Rare::abs_diff: {
        if (is_wide) return by_helper();
        const Value x = get(it.b);
        const Value y = get(it.c);
        if (x.known && y.known) {
          const std::uint64_t apart = x.number < y.number ? y.number - x.number : x.number - y.number;
          return put_fitted(pc, {number(apart), {}}, false, below, true, 0);
        }
        const std::uint8_t y_reg = in_register(y);
        const std::uint8_t x_reg = in_register(x);
        const std::uint8_t to = copy_of(in(x_reg));
        sub(r(to), r(y_reg));
        mov(rax, r(y_reg));
        sub(rax, r(x_reg));
        move_if(above_equal, to, rax);
        return put_fitted(pc, {in(to), {}}, false, below, true, 0);
      }
      case Rare::div:
      case Rare::rem: {
        if (is_wide) return by_helper();
        const Value x = get(it.b);
        const Value y = get(it.c);
        if (y.known && y.number == 0) return by_helper();
        if (!y.known) {
          // What a division by zero gives depends on the mode.
          const Xbyak::Label& elsewhere = slow(pc, pc + 2);
          test(r(y.reg), r(y.reg));
          jz(elsewhere);
        }
        return put_fitted(pc, {quotient(x, y, kind == Rare::rem), {}}, false, below, true, 0);
      }
      case Rare::convert: {
        if (is_wide || (how.c != 128 && how.c != 64)) return by_helper();
        if (how.c == 64) return put_fitted(pc, {get(it.b), {}}, false, below, true, 0);
        const Pair x = get_wide(it.b);
        if (x.high.known && x.high.number != 0) return by_helper();
        if (x.high.known) return put_fitted(pc, {x.low, {}}, false, below, true, 0);
        const std::uint8_t to = copy_of(x.low);
        const std::uint8_t upper = x.high.reg;
        test(r(upper), r(upper));
        return put_fitted(pc, {in(to), {}}, false, unequal, false, most);
      }
      default: return by_helper();
    }
  }

  /// Emits the instruction at `pc`, and what follows if it goes with it. Gives the next one, or `ended`.
  std::uint32_t one(std::uint32_t pc);

  void slots(std::uint32_t to, std::uint32_t from, std::uint32_t count) {
    // As memmove: no slot is overwritten before it was read.
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t at = to < from ? i : count - 1 - i;
      pins_ = 0;
      put(to + at, get(from + at));
    }
  }

  const Compiled& made_;
  const Instruction* code_;
  NativeHelper helper_;
  std::vector<bool> leader_;
  std::vector<bool> resumed_;  ///< Where the code goes on after a helper did what is rare.
  bool cold_ = false;          ///< This code runs after something rare.
  std::uint64_t budget_ = 0;
  std::uint64_t traced_ = 0;
  std::uint32_t bytes_[4] = {};
  std::map<std::uint32_t, std::unique_ptr<Xbyak::Label>> functions_;
  std::deque<std::uint32_t> waiting_;
  std::map<std::uint32_t, std::vector<std::unique_ptr<Version>>> versions_;
  std::deque<std::function<void()>> edges_;
  std::deque<std::function<void()>> slow_paths_;
  std::vector<std::shared_ptr<Xbyak::Label>> kept_;
  std::unique_ptr<Xbyak::Label> again_;
  std::unique_ptr<Xbyak::Label> epilogue_;
  bool in_root_ = false;
  State state_;
  std::uint32_t pending_ = 0;  ///< Instructions since fuel was last taken.
  std::uint32_t pins_ = 0;
  std::uint32_t clock_ = 0;
  std::uint32_t pc_ = 0;  ///< What is being emitted.
};

std::uint32_t Emitter::one(std::uint32_t pc) {
  const Instruction& it = code_[pc];
  const std::uint32_t next = pc + 1;
  const auto both = [&](auto rule) {
    const Value x = get(it.b);
    const Value y = get(it.c);
    put(it.a, rule(x, y));
    return next;
  };
  const auto with_number = [&](auto rule) {
    put(it.a, rule(get(it.b), number(it.c)));
    return next;
  };
  const auto test_of = [&](Condition condition) {
    const Value x = get(it.b);
    const Value y = get(it.c);
    return use_test(pc, compared(condition, x, y));
  };
  const auto wide_test_of = [&](bool or_equal, bool is_signed) {
    const Pair x = get_wide(it.b);
    const Pair y = get_wide(it.c);
    return use_test(pc, compared_wide(x, y, or_equal, is_signed));
  };
  const auto jump_on = [&](Condition condition, const Value& x, const Value& y) {
    const bool equal_if_taken = condition == equal;
    const bool tells = condition == equal || condition == unequal;
    return branch(pc, compared(condition, x, y), [&, x, y](bool taken) {
      if (!tells || taken != equal_if_taken || x.known == y.known) return;
      // Equal to a known number: so known from here on.
      Held* held = find(x.known ? it.b : it.a);
      if (held != nullptr) held->value = number(x.known ? x.number : y.number);
    });
  };
  const auto short_value = [&](const Value& value, std::uint64_t folded, auto emit) {
    if (value.known) return number(folded);
    const std::uint8_t to = fresh();
    emit(Xbyak::Reg32(to), r(value.reg));
    return in(to);
  };
  const auto small_pair = [](std::uint64_t value) { return Pair{number(value), number(0)}; };
  const auto halves = [&](Alu op) {
    const Pair x = get_wide(it.b);
    const Pair y = get_wide(it.c);
    // Never in place: the halves may lie across those of the operands.
    const auto half = [&](Value left, Value right) {
      if (left.known && right.known) return number(computed(op, left.number, right.number));
      if (left.known) std::swap(left, right);
      if (right.known && right.number == 0) return op == Alu::bit_and ? number(0) : left;
      const std::uint8_t to = copy_of(left);
      alu(op, to, right);
      return in(to);
    };
    const Value low = half(x.low, y.low);
    put_wide(it.a, {low, half(x.high, y.high)});
    return next;
  };
  const auto shifted = [&](const Value& x, const Value& y) {
    if (y.known) {
      const auto by = static_cast<std::uint32_t>(y.number & 63);
      if (x.known) {
        const std::uint64_t value =
            it.op == Op::shift_left ? x.number << by
            : it.op == Op::shift_right_u
                ? x.number >> by
                : static_cast<std::uint64_t>(static_cast<std::int64_t>(x.number) >> by);
        return number(value);
      }
      if (by == 0) return x;
      const std::uint8_t to = copy_for(it.a, x);
      if (it.op == Op::shift_left)
        shl(r(to), static_cast<int>(by));
      else if (it.op == Op::shift_right_u)
        shr(r(to), static_cast<int>(by));
      else
        sar(r(to), static_cast<int>(by));
      return in(to);
    }
    mov(rcx, r(y.reg));
    const std::uint8_t to = copy_of(x);
    if (it.op == Op::shift_left)
      shl(r(to), cl);
    else if (it.op == Op::shift_right_u)
      shr(r(to), cl);
    else
      sar(r(to), cl);
    return in(to);
  };
  const auto load = [&](std::uint32_t size) {
    const Fetched fetched = fetch(get(it.b), it.c, size, pc, next);
    if (!fetched.inside) return leave_again();
    put(it.a, fetched.value);
    return next;
  };
  const auto store = [&](std::uint32_t size) {
    const Value value = get(it.b);
    return deposit(get(it.a), it.c, value, size, pc, next) ? next : leave_again();
  };

  step();
  switch (it.op) {
    case Op::move: put(it.a, get(it.b)); return next;
    case Op::move_w: put_wide(it.a, get_wide(it.b)); return next;
    case Op::move_many:
      if (it.c <= 16) {
        slots(it.a, it.b, it.c);
        return next;
      }
      return helped(pc, it.c);
    case Op::load:
      put(it.a,
          number(static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(long_operand(it))})));
      return next;
    case Op::constant: put(it.a, number(made_.pool[long_operand(it)])); return next;
    case Op::constant_w:
      put_wide(it.a, {number(made_.pool[long_operand(it)]), number(made_.pool[long_operand(it) + 1])});
      return next;
    case Op::clear:
      if (it.c > 16) return helped(pc, it.c);
      for (std::uint32_t i = 0; i < it.c; ++i) put(it.a + i, number(0));
      return next;

    case Op::jump: return jump_to(target_of(pc));
    case Op::jump_if:
    case Op::jump_unless: {
      const bool taken_if = it.op == Op::jump_if;
      const Value x = get(it.a);
      return branch(pc, compared(taken_if ? unequal : equal, x, number(0)), [&, x, taken_if](bool taken) {
        Held* held = find(it.a);
        if (taken != taken_if && !x.known && held != nullptr) held->value = number(0);
      });
    }
    case Op::call: {
      auto& label = functions_[long_operand(it)];
      if (label == nullptr) {
        label = std::make_unique<Xbyak::Label>();
        waiting_.push_back(long_operand(it));
      }
      flush();
      charge(pending_);
      pending_ = 0;
      if (it.a != 0) add(rbx, 8 * std::uint32_t{it.a});
      call(*label);
      if (it.a != 0) sub(rbx, 8 * std::uint32_t{it.a});
      test(eax, eax);
      jnz(*again_);
      state_.clear();
      return next;
    }
    case Op::leave:
      if (in_root_) {
        const Value result = get(0);
        charge(pending_);
        load_number(rax, result);
        mov(edx, pc);
        jmp(*epilogue_);
      } else {
        flush();
        charge(pending_);
        xor_(eax, eax);
        add(rsp, 8);
        ret();
      }
      return ended;
    case Op::panic:
    case Op::fuel_end: return leave_again();
    case Op::require: {
      const Value x = get(it.a);
      if (x.known) return x.number != 0 ? next : leave_again();
      test(r(x.reg), r(x.reg));
      jz(*again_);
      return next;
    }

    case Op::add: return both([&](Value x, Value y) { return combined(Alu::add, it.a, x, y); });
    case Op::sub: return both([&](Value x, Value y) { return combined(Alu::sub, it.a, x, y); });
    case Op::bit_and: return both([&](Value x, Value y) { return combined(Alu::bit_and, it.a, x, y); });
    case Op::bit_or: return both([&](Value x, Value y) { return combined(Alu::bit_or, it.a, x, y); });
    case Op::bit_xor: return both([&](Value x, Value y) { return combined(Alu::bit_xor, it.a, x, y); });
    case Op::add_i: return with_number([&](Value x, Value y) { return combined(Alu::add, it.a, x, y); });
    case Op::sub_i: return with_number([&](Value x, Value y) { return combined(Alu::sub, it.a, x, y); });
    case Op::and_i: return with_number([&](Value x, Value y) { return combined(Alu::bit_and, it.a, x, y); });
    case Op::mul: return both([&](Value x, Value y) { return product(it.a, x, y); });
    case Op::mul_i: return with_number([&](Value x, Value y) { return product(it.a, x, y); });
    case Op::div_u:
    case Op::rem_u: {
      const Value x = get(it.b);
      const Value y = get(it.c);
      if (y.known && y.number == 0) return leave_again();
      put(it.a, quotient(x, y, it.op == Op::rem_u));
      return next;
    }
    case Op::div_i:
    case Op::rem_i: put(it.a, quotient(get(it.b), number(it.c), it.op == Op::rem_i)); return next;
    case Op::div_s:
    case Op::rem_s: {
      const std::uint8_t x = in_register(get(it.b));
      const std::uint8_t y = in_register(get(it.c));
      const std::uint8_t to = fresh();
      const Xbyak::Label& elsewhere = slow(pc, next);
      // 0 and -1 are the divisors that may end the call.
      lea(rax, ptr[r(y) + 1]);
      cmp(rax, 1);
      jbe(elsewhere);
      mov(rax, r(x));
      cqo();
      idiv(r(y));
      mov(r(to), it.op == Op::div_s ? rax : rdx);
      put(it.a, in(to));
      return next;
    }
    case Op::shift_left:
    case Op::shift_right_u:
    case Op::shift_right_s: return both(shifted);
    case Op::shift_left_i: put(it.a, shifted_left(it.a, get(it.b), it.c & 63U)); return next;
    case Op::shift_right_i: {
      const Value x = get(it.b);
      const std::uint32_t by = it.c & 63U;
      if (x.known || by == 0) {
        put(it.a, x.known ? number(x.number >> by) : x);
        return next;
      }
      const std::uint8_t to = copy_for(it.a, x);
      shr(r(to), static_cast<int>(by));
      put(it.a, in(to));
      return next;
    }
    case Op::eq: return test_of(equal);
    case Op::ne: return test_of(unequal);
    case Op::lt_u: return test_of(below);
    case Op::le_u: return test_of(below_equal);
    case Op::lt_s: return test_of(less);
    case Op::le_s: return test_of(less_equal);
    case Op::min_u: return both([&](Value x, Value y) { return choose(it.a, x, y, false, false); });
    case Op::max_u: return both([&](Value x, Value y) { return choose(it.a, x, y, true, false); });
    case Op::min_s: return both([&](Value x, Value y) { return choose(it.a, x, y, false, true); });
    case Op::max_s: return both([&](Value x, Value y) { return choose(it.a, x, y, true, true); });
    case Op::sub_saturating:
      return both([&](Value x, Value y) {
        if (x.known && y.known) return number(x.number > y.number ? x.number - y.number : 0);
        const std::uint8_t to = copy_for(it.a, x);
        mov(eax, 0);
        alu(Alu::sub, to, y);
        cmovb(r(to), rax);
        return in(to);
      });
    case Op::bit_not: {
      const Value x = get(it.b);
      if (x.known) {
        put(it.a, number(~x.number));
        return next;
      }
      const std::uint8_t to = copy_for(it.a, x);
      not_(r(to));
      put(it.a, in(to));
      return next;
    }
    case Op::bool_not: put(it.a, combined(Alu::bit_xor, it.a, get(it.b), number(1))); return next;
    case Op::negate: {
      const Value x = get(it.b);
      if (x.known) {
        put(it.a, number(0 - x.number));
        return next;
      }
      const std::uint8_t to = copy_for(it.a, x);
      neg(r(to));
      put(it.a, in(to));
      return next;
    }
    case Op::jump_eq:
    case Op::jump_ne:
    case Op::jump_lt_u:
    case Op::jump_le_u:
    case Op::jump_lt_s:
    case Op::jump_le_s: {
      const Value x = get(it.a);
      const Value y = get(it.b);
      const Condition condition = it.op == Op::jump_eq     ? equal
                                  : it.op == Op::jump_ne   ? unequal
                                  : it.op == Op::jump_lt_u ? below
                                  : it.op == Op::jump_le_u ? below_equal
                                  : it.op == Op::jump_lt_s ? less
                                                           : less_equal;
      return jump_on(condition, x, y);
    }
    case Op::jump_eq_i: return jump_on(equal, get(it.a), number(it.b));
    case Op::jump_ne_i: return jump_on(unequal, get(it.a), number(it.b));
    case Op::jump_zero_w:
    case Op::jump_not_zero_w: {
      const Pair x = get_wide(it.a);
      const Condition condition = it.op == Op::jump_zero_w ? equal : unequal;
      return branch(pc, compared_equal(condition, x, small_pair(0)), [](bool) {});
    }

    case Op::zero_8:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, x.number & 0xffU, [&](auto to, auto from) { movzx(to, from.cvt8()); });
      }());
      return next;
    case Op::zero_16:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, x.number & 0xffffU, [&](auto to, auto from) { movzx(to, from.cvt16()); });
      }());
      return next;
    case Op::zero_32:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, x.number & 0xffffffffU, [&](auto to, auto from) { mov(to, from.cvt32()); });
      }());
      return next;
    case Op::sign_8:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(x.number)}),
                           [&](auto to, auto from) { movsx(to.cvt64(), from.cvt8()); });
      }());
      return next;
    case Op::sign_16:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, static_cast<std::uint64_t>(std::int64_t{static_cast<std::int16_t>(x.number)}),
                           [&](auto to, auto from) { movsx(to.cvt64(), from.cvt16()); });
      }());
      return next;
    case Op::sign_32:
      put(it.a, [&] {
        const Value x = get(it.b);
        return short_value(x, static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(x.number)}),
                           [&](auto to, auto from) { movsxd(to.cvt64(), from.cvt32()); });
      }());
      return next;

    case Op::add_w:
    case Op::sub_w: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      put_wide(it.a, sum(x, y, it.op == Op::sub_w));
      return next;
    }
    case Op::add_wi:
    case Op::sub_wi: {
      const Pair x = get_wide(it.b);
      put_wide(it.a, sum(x, small_pair(it.c), it.op == Op::sub_wi));
      return next;
    }
    case Op::mul_w: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      put_wide(it.a, product_wide(x, y));
      return next;
    }
    case Op::mul_wi: {
      const Pair x = get_wide(it.b);
      put_wide(it.a, product_wide(x, small_pair(it.c)));
      return next;
    }
    case Op::mul_wide: {
      const Value x = get(it.b);
      const Value y = get(it.c);
      put_wide(it.a, product_wide({x, number(0)}, {y, number(0)}));
      return next;
    }
    case Op::div_uw:
    case Op::rem_uw: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      return divide_wide(pc, x, y, it.op == Op::rem_uw, next);
    }
    case Op::div_wi:
    case Op::rem_wi: {
      const Pair x = get_wide(it.b);
      return divide_wide(pc, x, small_pair(it.c), it.op == Op::rem_wi, next);
    }
    case Op::div_sw:
    case Op::rem_sw: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      // Neither is below zero or long: as without signs. All else is rare.
      const std::uint8_t x_low = in_register(x.low);
      const std::uint8_t y_low = in_register(y.low);
      const std::uint8_t to = fresh();
      const Xbyak::Label& elsewhere = slow(pc, next);
      load_number(rcx, x.high);
      load_number(rax, y.high);
      or_(rcx, rax);
      jnz(elsewhere);
      test(r(y_low), r(y_low));
      jz(*again_);
      mov(rax, r(x_low));
      xor_(edx, edx);
      div(r(y_low));
      mov(r(to), it.op == Op::div_sw ? rax : rdx);
      put_wide(it.a, {in(to), number(0)});
      return next;
    }
    case Op::and_w: return halves(Alu::bit_and);
    case Op::or_w: return halves(Alu::bit_or);
    case Op::xor_w: return halves(Alu::bit_xor);
    case Op::shift_left_w:
    case Op::shift_right_uw:
    case Op::shift_right_sw: return shift_wide(pc);
    case Op::eq_w:
    case Op::ne_w: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      return use_test(pc, compared_equal(it.op == Op::eq_w ? equal : unequal, x, y));
    }
    case Op::lt_uw: return wide_test_of(false, false);
    case Op::le_uw: return wide_test_of(true, false);
    case Op::lt_sw: return wide_test_of(false, true);
    case Op::le_sw: return wide_test_of(true, true);
    case Op::min_uw: return choose_wide(pc, false, false);
    case Op::max_uw: return choose_wide(pc, true, false);
    case Op::min_sw: return choose_wide(pc, false, true);
    case Op::max_sw: return choose_wide(pc, true, true);
    case Op::sub_saturating_w: {
      const Pair x = get_wide(it.b);
      const Pair y = get_wide(it.c);
      const Pair rest = sum(x, y, true);
      mov(eax, 0);
      cmovb(r(rest.low.reg), rax);
      cmovb(r(rest.high.reg), rax);
      put_wide(it.a, rest);
      return next;
    }
    case Op::not_w: {
      const Pair x = get_wide(it.b);
      const std::uint8_t low = copy_of(x.low);
      const std::uint8_t high = copy_of(x.high);
      not_(r(low));
      not_(r(high));
      put_wide(it.a, {in(low), in(high)});
      return next;
    }
    case Op::negate_w: {
      const Pair x = get_wide(it.b);
      put_wide(it.a, sum(small_pair(0), x, true));
      return next;
    }
    case Op::widen_u: put_wide(it.a, {get(it.b), number(0)}); return next;
    case Op::widen_s: {
      const Value x = get(it.b);
      if (x.known) {
        put_wide(it.a, {x, number((x.number >> 63) != 0 ? ~std::uint64_t{0} : 0)});
        return next;
      }
      const std::uint8_t sign = copy_of(x);
      sar(r(sign), 63);
      put_wide(it.a, {x, in(sign)});
      return next;
    }

    case Op::add_f:
    case Op::sub_f:
    case Op::mul_f:
    case Op::div_f: return real(pc);
    case Op::negate_f:
      put(it.a, combined(Alu::bit_xor, it.a, get(it.b), number(std::uint64_t{1} << 63)));
      return next;
    case Op::eq_f:
    case Op::ne_f:
    case Op::lt_f:
    case Op::le_f: return real_compared(pc);
    case Op::function_f:
      if (static_cast<RealFunction>(it.c) == RealFunction::square_root) {
        load_double(xmm0, get(it.b));
        sqrtsd(xmm0, xmm0);
        put_double(it.a);
        return next;
      }
      return helped(pc, 1);
    case Op::rem_f:
    case Op::power_f:
    case Op::power_i:
    case Op::fused_f: return helped(pc, 1);
    case Op::u_to_double:
    case Op::s_to_double: {
      const std::uint8_t x = in_register(get(it.b));
      const std::uint8_t to = fresh();
      if (it.op == Op::u_to_double) {
        const Xbyak::Label& elsewhere = slow(pc, next);
        test(r(x), r(x));
        js(elsewhere);
      }
      cvtsi2sd(xmm0, r(x));
      movq(r(to), xmm0);
      put(it.a, in(to));
      return next;
    }
    case Op::uw_to_double: {
      const Pair x = get_wide(it.b);
      const std::uint8_t low = in_register(x.low);
      const std::uint8_t to = fresh();
      const Xbyak::Label& elsewhere = slow(pc, next);
      if (!x.high.known || x.high.number != 0) {
        load_number(rax, x.high);
        test(rax, rax);
        jnz(elsewhere);
      }
      test(r(low), r(low));
      js(elsewhere);
      cvtsi2sd(xmm0, r(low));
      movq(r(to), xmm0);
      put(it.a, in(to));
      return next;
    }
    case Op::sw_to_double: return helped(pc, 1);
    case Op::double_to_u:
    case Op::double_to_s: {
      if (it.c != 64) return helped(pc, 1);
      const Value x = get(it.b);
      const std::uint8_t to = fresh();
      const Xbyak::Label& elsewhere = slow(pc, next);
      load_double(xmm0, x);
      cvttsd2si(r(to), xmm0);
      if (it.op == Op::double_to_u) {
        // Below zero, too large or no number: all of those come out with the sign.
        test(r(to), r(to));
        js(elsewhere);
      } else {
        mov(rax, std::uint64_t{1} << 63);
        cmp(r(to), rax);
        je(elsewhere);
      }
      put(it.a, in(to));
      return next;
    }
    case Op::double_to_uw:
    case Op::double_to_sw: return helped(pc, 2);

    case Op::address: {
      if (in_root_) {
        Value place = number(std::uint64_t{it.b} * 8);
        place.hint = kb::segment_stack;
        put(it.a, place);
        return next;
      }
      const std::uint8_t to = fresh();
      lea(r(to), ptr[rbx + std::size_t{8} * it.b]);
      sub(r(to), ptr[r14 + offsetof(NativeCall, stack)]);
      put(it.a, in(to, kb::segment_stack));
      return next;
    }
    case Op::address_constant:
      put(it.a, number(static_cast<std::uint64_t>(kb::segment_constants) << 32 | long_operand(it)));
      return next;
    case Op::load_8: return load(1);
    case Op::load_16: return load(2);
    case Op::load_32: return load(4);
    case Op::load_64: return load(8);
    case Op::store_8: return store(1);
    case Op::store_16: return store(2);
    case Op::store_32: return store(4);
    case Op::store_64: return store(8);
    case Op::load_many: {
      const Value from = get(it.b);
      // Out of the stack, the order in which slots are read and written matters: as memmove.
      if (!from.known || it.c == 0 || it.c > 16 || !inside(from.number, std::uint32_t{it.c} * 8, false))
        return helped(pc, it.c);
      const std::uint64_t segment = from.number >> 32;
      if (segment == kb::segment_stack) {
        if (!in_root_ || from.number % 8 != 0) return helped(pc, it.c);
        slots(it.a, static_cast<std::uint32_t>(from.number / 8), it.c);
        return next;
      }
      for (std::uint32_t i = 0; i < it.c; ++i) {
        pins_ = 0;
        put(it.a + i, fetch(from, std::uint64_t{8} * i, 8, pc, next).value);
      }
      return next;
    }
    case Op::store_many: {
      const Value to = get(it.a);
      if (!to.known || it.c == 0 || it.c > 16 || !inside(to.number, std::uint32_t{it.c} * 8, true))
        return helped_everywhere(pc);
      if (to.number >> 32 == kb::segment_stack) {
        if (!in_root_ || to.number % 8 != 0) return helped_everywhere(pc);
        slots(static_cast<std::uint32_t>(to.number / 8), it.b, it.c);
        return next;
      }
      for (std::uint32_t i = 0; i < it.c; ++i) {
        pins_ = 0;
        deposit(to, std::uint64_t{8} * i, get(std::uint32_t{it.b} + i), 8, pc, next);
      }
      return next;
    }
    case Op::copy: {
      const Value to = get(it.a);
      const Value from = get(it.b);
      const Value size = get(it.c);
      if (!size.known) return helped_everywhere(pc);
      const auto bytes = static_cast<std::uint32_t>(size.number);
      if (size.number == 16 && to.known) {
        const Fetched low = fetch(from, 0, 8, pc, next);
        if (!low.inside) return leave_again();
        const Fetched high = fetch(from, 8, 8, pc, next);
        if (!high.inside || !inside(to.number, 16, true)) return leave_again();
        deposit(to, 0, low.value, 8, pc, next);
        deposit(to, 8, high.value, 8, pc, next);
        return next;
      }
      if (size.number != 1 && size.number != 2 && size.number != 4 && size.number != 8)
        return helped_everywhere(pc);
      const Fetched fetched = fetch(from, 0, bytes, pc, next);
      if (!fetched.inside) return leave_again();
      return deposit(to, 0, fetched.value, bytes, pc, next) ? next : leave_again();
    }
    case Op::fill_8:
    case Op::fill_slots: return helped_everywhere(pc);
    case Op::bound: {
      const Value x = get(it.a);
      const Value y = get(it.b);
      const Test test = compared(above_equal, x, y);
      if (test.known) return test.value ? leave_again() : next;
      jump(test.condition, *again_);
      return next;
    }
    case Op::range: {
      const Value x = get(it.a);
      const Value y = get(it.b);
      const Value z = get(it.c);
      for (const Test& test : {compared(above, x, y)}) {
        if (test.known && test.value) return leave_again();
        if (!test.known) jump(test.condition, *again_);
      }
      const Test test = compared(above, y, z);
      if (test.known) return test.value ? leave_again() : next;
      jump(test.condition, *again_);
      return next;
    }
    case Op::index_8:
    case Op::index_address: {
      const bool is_load = it.op == Op::index_8;
      const std::uint32_t after = is_load ? next : next + 1;
      const Value at = get(it.c);
      const Pair slice = get_wide(it.b);
      const Test test = compared(above_equal, at, slice.high);
      if (test.known && test.value) return leave_again();
      if (!test.known) jump(test.condition, *again_);
      if (!is_load) {
        const std::uint32_t no_slot = 0xffffffffU;
        const Value offset = product(no_slot, at, number(long_operand(code_[next])));
        put(it.a, combined(Alu::add, no_slot, slice.low, offset));
        return after;
      }
      const Fetched fetched = fetch(combined(Alu::add, 0xffffffffU, slice.low, at), 0, 1, pc, after);
      if (!fetched.inside) return leave_again();
      put(it.a, fetched.value);
      return after;
    }
    case Op::integer: return integer(pc);
  }
  throw Xbyak::Error(Xbyak::ERR_INTERNAL);
}

}  // namespace

bool emit_native(const Compiled& made, const Instruction* instructions, NativeHelper helper,
                 const NativeLengths& lengths, Emitted& emitted, std::string& why) {
  constexpr std::size_t size_most = std::size_t{64} << 20;
  for (std::size_t size = 1 << 16; size <= size_most; size *= 4) {
    emitted.bytes.assign(size, 0xcc);
    try {
      Emitter emitter(made, instructions, helper, emitted.bytes.data(), size);
      if (made.compute_swap != kb::Program::no_entry)
        emitted.compute_swap = emitter.root(made.compute_swap, false, lengths.quote, 0);
      if (made.after_swap != kb::Program::no_entry)
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
