/// \file
/// What bytecode becomes, instruction by instruction: which registers hold which slots, and the code so far.
///
/// Start at `Emitter::root`. Its parts lie in files of their own: native_order.cpp (functions and the order
/// of their pieces), native_registers.cpp, native_operands.cpp (two operands, conditions), native_memory.cpp
/// (accesses, helpers), native_wide.cpp (128 bits), native_numbers.cpp (doubles, integers that may not fit)
/// and native_one.cpp (each instruction). Included by these alone, in builds that found the assembler.
#pragma once

#include <xbyak/xbyak.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "strategy/native_emit.hpp"

namespace calyx::strategy::native {

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
inline constexpr std::uint8_t holders[] = {5, 12, 15, 6, 7, 8, 9, 10, 11};
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

inline constexpr std::uint8_t no_hint = 0xff;

/// What is known of a slot: its number, or the register that has it. `hint` is the segment that it seems to
/// point into, which decides what is tried first and nothing else.
struct Value {
  bool known = false;
  std::uint64_t number = 0;
  std::uint8_t reg = 0;
  std::uint8_t hint = no_hint;
};
inline Value number(std::uint64_t value) { return {true, value, 0, no_hint}; }
inline Value in(std::uint8_t reg, std::uint8_t hint = no_hint) { return {false, 0, reg, hint}; }

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
  std::size_t root(std::uint32_t entry, bool trade, std::uint32_t data_bytes, std::uint32_t storage_bytes);

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
  std::int64_t jump_target(std::size_t at) const;
  std::uint32_t target_of(std::uint32_t pc) const { return static_cast<std::uint32_t>(jump_target(pc)); }

  // Functions and the order of their pieces.
  void function(std::uint32_t entry);
  void trace(std::uint32_t pc) {
    do {
      pins_ = 0;
      pc_ = pc;
      pc = one(pc);
    } while (pc != ended && !((leader_[pc] || (cold_ && resumed_[pc])) && arrive(pc)));
  }
  /// Whether a few moves from `pc` on the call is over. Those are had again from wherever they are reached:
  /// to bring the registers into one order first would cost more, and keep what nobody will read.
  bool ends_soon(std::uint32_t pc) const;
  /// At an instruction that others reach too. True if the code for it is elsewhere and a jump leads there;
  /// else it is to be emitted here.
  bool arrive(std::uint32_t pc);
  void widen(const State& other);
  /// Whether the registers can be made what `version` expects, and at which cost.
  bool can_become(const Version& version, std::uint32_t& cost) const;
  void become(const Version& version);
  void charge(std::uint32_t fuel) {
    if (fuel == 0) return;
    sub(qword[r14 + offsetof(NativeCall, fuel)], fuel);
    jb(*again_);
  }
  /// The code for `then` follows later, from the state as it is now.
  void later(std::deque<std::function<void()>>& queue, std::shared_ptr<Xbyak::Label> label,
             std::function<void()> then);
  /// Where a jump goes that leaves the usual path before the instruction at `pc` has done anything: a helper
  /// does it, and the code goes on with everything in the frame.
  const Xbyak::Label& slow(std::uint32_t pc, std::uint32_t next);

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
  void store_value(const Xbyak::Address& to, const Value& value);
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
  std::uint8_t fresh();
  /// Whether nobody reads a slot any more, from the instruction on that is being emitted.
  bool is_dead(std::uint32_t at) const {
    std::uint32_t budget = 64;
    return is_dead(at, pc_, budget);
  }
  /// Says no whenever it is not plain to see within the budget.
  bool is_dead(std::uint32_t at, std::uint32_t pc, std::uint32_t& budget) const;
  Value get(std::uint32_t at);
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
  void put(std::uint32_t at, const Value& value);
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
  std::uint8_t copy_for(std::uint32_t at, const Value& value);
  /// `value` in a register, which stays as it is.
  std::uint8_t in_register(const Value& value) { return value.known ? copy_of(value) : value.reg; }

  // Two operands.
  enum class Alu : std::uint8_t { add, adc, sub, sbb, bit_and, bit_or, bit_xor, cmp };
  void alu(Alu op, std::uint8_t to, const Value& from);
  /// `from` as something that an instruction in the middle of a chain of carries can take.
  Value operand(const Value& from) { return from.known && !fits_32(from.number) ? in(copy_of(from)) : from; }
  static std::uint64_t computed(Alu op, std::uint64_t x, std::uint64_t y);
  /// x op y for slot `at`. The segment of an address survives that something is added to it.
  Value combined(Alu op, std::uint32_t at, Value x, Value y);
  Value product(std::uint32_t at, Value x, Value y);
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
  void divide_by(std::uint64_t divisor);
  /// Quotient or remainder of two unsigned numbers; the divisor is not 0 if it is known.
  Value quotient(const Value& x, const Value& y, bool rest) {
    if (x.known && y.known) return number(rest ? x.number % y.number : x.number / y.number);
    if (y.known && y.number == 1) return rest ? number(0) : x;
    return quotient_into(fresh(), x, y, rest);
  }
  Value quotient_into(std::uint8_t to, const Value& x, const Value& y, bool rest);

  // Conditions.
  void jump(Condition condition, const Xbyak::Label& to);
  void move_if(Condition condition, std::uint8_t to, const Xbyak::Reg64& from);
  /// 1 or 0 into `to`, which may be none that the flags came from. Takes rax.
  void set_if(Condition condition, std::uint8_t to);
  Test compared(Condition condition, Value x, Value y);
  Test compared_equal(Condition condition, const Pair& x, const Pair& y);
  /// x < y, or with `or_equal` not y < x, of 128 bits.
  Test compared_wide(const Pair& left, const Pair& right, bool or_equal, bool is_signed);
  /// What follows a test: a jump or a requirement on it, which then needs no number, or its number.
  std::uint32_t use_test(std::uint32_t pc, const Test& test);
  void put_test(std::uint32_t a, const Test& test);
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
  void settle(std::uint64_t offset, std::uint32_t size, bool changed);
  Fetched fetch(const Value& address, std::uint64_t add_to, std::uint32_t size, std::uint32_t pc,
                std::uint32_t next);
  /// Leaves the offset of an address in rax, which is `size` bytes inside of `segment`; in another segment
  /// goes to `elsewhere`. Takes rcx.
  void check(std::uint8_t address, std::uint64_t add_to, std::uint32_t segment, std::uint32_t size,
             const Xbyak::Label& elsewhere);
  /// False where the call ends.
  bool deposit(const Value& address, std::uint64_t add_to, const Value& value, std::uint32_t size,
               std::uint32_t pc, std::uint32_t next);

  // Helpers.
  void call_helper(std::uint32_t pc);
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
  Pair sum(const Pair& x, const Pair& y, bool difference);
  /// x.low * y.low into rdx and rax, the flags saying whether rdx matters.
  void multiply(const Value& x, const Value& y);
  Pair product_wide(Pair x, Pair y);
  /// Both halves of a quotient or a remainder. The usual path has a divisor below 2^64 and a quotient below
  /// it, which the processor divides by itself.
  std::uint32_t divide_wide(std::uint32_t pc, const Pair& x, const Pair& y, bool rest, std::uint32_t next);
  /// The smaller or the larger, as the flags of x < y or y < x say.
  std::uint32_t choose_wide(std::uint32_t pc, bool larger, bool is_signed);
  Value choose(std::uint32_t at, const Value& x, const Value& y, bool larger, bool is_signed);
  std::uint32_t shift_wide(std::uint32_t pc);

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
  void put_double(std::uint32_t a);
  std::uint32_t real(std::uint32_t pc);
  std::uint32_t real_compared(std::uint32_t pc);

  // Operations of the rare kind that are not so rare.
  /// How a result that may not fit goes into its slots; `over` says whether it did not. `words` is what it
  /// takes.
  std::uint32_t put_fitted(std::uint32_t pc, Pair result, bool is_wide, Condition over, bool never_over,
                           std::uint64_t limit);
  std::uint32_t integer(std::uint32_t pc);
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

}  // namespace calyx::strategy::native
