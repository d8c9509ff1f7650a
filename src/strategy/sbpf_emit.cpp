#include "strategy/sbpf_emit.hpp"

#ifdef CALYX_HAVE_XBYAK
#include <xbyak/xbyak.h>
#endif

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <optional>

#include "calyx_kernels/prop_amm_sbpf.hpp"

namespace calyx::strategy {

#ifdef CALYX_HAVE_XBYAK

namespace {

namespace sbpf = kernels::sbpf;
using sbpf::Instruction;
using sbpf::Op;
using Kind = Known::Kind;

constexpr std::uint64_t begin_of(std::uint32_t region) { return std::uint64_t{region} << 32; }

/// What a program knows of its input before it runs, it may use without a check. More than this is looked at.
constexpr std::uint64_t input_certain = kernels::prop_amm::SbpfStrategy::input_bytes;

enum class Condition : std::uint8_t {
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

/// An operation and its operand: names in pairs, `_i` first.
struct Pair {
  std::uint32_t number;
  bool with_register;
};
constexpr Pair pair_of(Op op, Op first) {
  const auto distance = static_cast<std::uint32_t>(op) - static_cast<std::uint32_t>(first);
  return {distance / 2, distance % 2 == 1};
}

/// rbx is the end of the frame, rbp the call, r15 what is left of the limit; rax and rcx are for the moment.
/// r10 of the program is in no register: it is made of rbx where it is asked for.
class Emitter : public Xbyak::CodeGenerator {
 public:
  Emitter(const sbpf::Program& program, const Flow& flow, SbpfSystem system, unsigned char* buffer,
          std::size_t size)
      : Xbyak::CodeGenerator(size, buffer),
        program_(program),
        flow_(flow),
        system_(system),
        labels_(flow.blocks.size()) {
    setDefaultJmpNEAR(true);
  }

  void emit(SbpfEmitted& emitted) {
    emitted.charged.assign(std::size_t{program_.slots} + 1, 0);
    emitted.input_bytes = 8;
    emitted_ = &emitted;
    prologue();
    for (std::size_t i = 0; i < flow_.blocks.size(); ++i)
      if (flow_.blocks[i].reached) block(i);
    for (Slow& slow : slow_) slow_path(slow);
    for (auto& [slot, label] : agains_) leave_through(slot, label, again_);
    for (auto& [slot, label] : returns_) leave_through(slot, label, returned_);
    for (auto& [slot, label] : endings_) leave_through(slot, label, asked_);
    epilogue();
    for (std::uint32_t width = 0; width < 4; ++width)
      for (const bool write : {false, true})
        if (place_used_[write ? 1 : 0][width]) place(width, write);
  }

 private:
  /// An access whose first guess was wrong, or that could make none.
  struct Slow {
    std::uint32_t slot;
    std::uint32_t region;
    Xbyak::Label from;
    Xbyak::Label back;
  };

  static constexpr std::size_t state_at = offsetof(SbpfCall, state);
  static constexpr std::size_t outcome_at = offsetof(SbpfCall, outcome);

  static Xbyak::Reg64 r(std::uint32_t reg) {
    // Those of r6 to r9 first that a system call leaves alone.
    constexpr std::uint8_t holders[] = {8, 7, 6, 9, 10, 2, 12, 13, 14, 11};
    return Xbyak::Reg64(holders[reg]);
  }
  static Xbyak::Reg32 r32(std::uint32_t reg) { return r(reg).cvt32(); }

  Xbyak::Address field(std::size_t offset) const { return qword[rbp + offset]; }
  Xbyak::Address saved(std::uint32_t reg) const {
    return field(state_at + offsetof(sbpf::detail::State, r) + 8 * std::size_t{reg});
  }
  const Instruction& at(std::uint32_t slot) const { return program_.code[slot]; }

  void prologue() {
    push(rbx);
    push(rbp);
    push(r12);
    push(r13);
    push(r14);
    push(r15);
    sub(rsp, 8);
    mov(rbp, rdi);
    mov(field(offsetof(SbpfCall, host_stack)), rsp);
    mov(rbx, field(offsetof(SbpfCall, frame)));
    mov(r15, field(state_at + offsetof(sbpf::detail::State, left)));
    for (std::uint32_t i = 0; i < 10; ++i)
      if (i != 1) xor_(r32(i), r32(i));
    mov(r(1), begin_of(sbpf::region_input));
    if (first_reached() != flow_.block_of[program_.entry]) jmp(labels_[flow_.block_of[program_.entry]]);
  }
  std::size_t first_reached() const {
    std::size_t i = 0;
    while (!flow_.blocks[i].reached) ++i;
    return i;
  }

  void epilogue() {
    L(again_);
    for (std::uint32_t i = 0; i < 10; ++i) mov(saved(i), r(i));
    mov(eax, static_cast<std::uint32_t>(SbpfLeft::again));
    Xbyak::Label leave;
    jmp(leave);
    L(asked_);
    mov(eax, static_cast<std::uint32_t>(SbpfLeft::asked));
    jmp(leave);
    L(returned_);
    mov(field(outcome_at + offsetof(sbpf::Outcome, value)), r(0));
    xor_(eax, eax);
    L(leave);
    mov(dword[rbp + offsetof(SbpfCall, slot)], ecx);
    mov(field(offsetof(SbpfCall, frame)), rbx);
    mov(field(state_at + offsetof(sbpf::detail::State, left)), r15);
    mov(rsp, field(offsetof(SbpfCall, host_stack)));
    add(rsp, 8);
    pop(r15);
    pop(r14);
    pop(r13);
    pop(r12);
    pop(rbp);
    pop(rbx);
    ret();
  }

  void leave_through(std::uint32_t slot, Xbyak::Label& label, const Xbyak::Label& where) {
    L(label);
    mov(ecx, slot);
    jmp(where);
  }
  Xbyak::Label& again(std::uint32_t slot) { return agains_[slot]; }

  /// As the assembler takes it.
  static std::size_t distance_of(std::int32_t distance) {
    return static_cast<std::size_t>(std::int64_t{distance});
  }

  // Blocks.

  void block(std::size_t index) {
    const Block& block = flow_.blocks[index];
    L(labels_[index]);
    std::uint32_t slot = block.slot;
    for (std::uint32_t i = 0; i < block.length; ++i) {
      emitted_->charged[slot] = block.length - i;
      slot += slots_of(at(slot));
    }
    // Where less is left the interpreter finds the instruction at which it ends. What was taken off here is
    // given back on that way, as it is for every instruction.
    sub(r15, block.length);
    jb(again(block.slot));
    now_ = block.before;
    slot = block.slot;
    for (std::uint32_t i = 0; i < block.length;) {
      const std::uint32_t done = several(slot, block.length - i);
      for (std::uint32_t j = 0; j < done; ++j) {
        if (!branches(at(slot).op)) follow(now_, at(slot));
        slot += slots_of(at(slot));
      }
      i += done;
    }
  }

  /// Emits the instructions from `slot` on, as many as go together, of which the block has `length`.
  std::uint32_t several(std::uint32_t slot, std::uint32_t length) {
    const Instruction& it = at(slot);
    const auto next_is = [&](std::uint32_t distance, Op op) {
      return length > distance && at(slot + distance).op == op && at(slot + distance).d == it.d;
    };
    const auto immediate = [&](std::uint32_t distance) { return at(slot + distance).immediate; };
    // The low half of a register, with or without its sign, is written as two shifts.
    const auto low_half = [&](std::uint32_t distance, std::uint32_t from) {
      if (at(slot + distance).op != Op::shl_i || immediate(distance) != 32) return false;
      const bool zeros = next_is(distance + 1, Op::shr_i);
      if ((!zeros && !next_is(distance + 1, Op::sar_i)) || immediate(distance + 1) != 32) return false;
      if (zeros)
        mov(r32(it.d), r32(from));
      else
        movsxd(r(it.d), r32(from));
      return true;
    };
    if (low_half(0, it.d)) return 2;
    if (it.op == Op::mov_r && length > 1) {
      const std::uint32_t added = at(slot + 1).s;
      if (it.s == 10) {
        if (next_is(1, Op::add_i)) {
          frame_end(r(it.d), immediate(1));
          return 2;
        }
      } else if (next_is(1, Op::shl_i)) {
        if (low_half(1, it.s)) return 3;
      } else if (next_is(1, Op::add_i)) {
        lea(r(it.d), ptr[r(it.s) + distance_of(immediate(1))]);
        return 2;
      } else if (next_is(1, Op::add_r) && added != 10) {
        lea(r(it.d), ptr[r(it.s) + r(added == it.d ? it.s : added)]);
        return 2;
      }
    }
    one(slot);
    return 1;
  }

  /// r10 + `distance`.
  void frame_end(const Xbyak::Reg64& to, std::int32_t distance) {
    lea(to, ptr[rbx + rbx + distance_of(distance)]);
    add(to, field(offsetof(SbpfCall, frame_base)));
  }
  /// The register that has what `reg` of the program has: its own, or `to` for r10.
  Xbyak::Reg64 have(std::uint32_t reg, const Xbyak::Reg64& to) {
    if (reg != 10) return r(reg);
    frame_end(to, 0);
    return to;
  }

  void binary(std::uint32_t number, const Xbyak::Reg& d, const Xbyak::Operand& s) {
    switch (number) {
      case 0: return add(d, s);
      case 1: return sub(d, s);
      case 2: return imul(d, s);
      case 5: return or_(d, s);
      case 6: return and_(d, s);
      default: return xor_(d, s);
    }
  }
  void binary(std::uint32_t number, const Xbyak::Reg& d, std::int32_t immediate) {
    const auto value = static_cast<std::uint32_t>(immediate);
    switch (number) {
      case 0: return add(d, value);
      case 1: return sub(d, value);
      case 2: return imul(d, d, immediate);
      case 5: return or_(d, value);
      case 6: return and_(d, value);
      default: return xor_(d, value);
    }
  }
  void shift(std::uint32_t number, const Xbyak::Reg& d, int by) {
    switch (number) {
      case 8: return shl(d, by);
      case 9: return shr(d, by);
      default: return sar(d, by);
    }
  }
  void shift(std::uint32_t number, const Xbyak::Reg& d, const Xbyak::Reg8& by) {
    switch (number) {
      case 8: return shl(d, by);
      case 9: return shr(d, by);
      default: return sar(d, by);
    }
  }

  /// Operations of 64 and of 32 bits, in the order of their numbers: add, sub, mul, div, mod, or, and, xor,
  /// shl, shr, sar.
  void arithmetic(std::uint32_t slot, Pair pair, bool narrow) {
    const Instruction& it = at(slot);
    Xbyak::Reg d = r(it.d);
    if (narrow) d = r32(it.d);
    if (pair.number == 3 || pair.number == 4) return divide(slot, pair, narrow);
    if (pair.number >= 8) {
      if (pair.with_register) {
        mov(rcx, have(it.s, rcx));
        shift(pair.number, d, cl);
      } else if (const int by = it.immediate & (narrow ? 31 : 63); by != 0) {
        shift(pair.number, d, by);
      } else if (narrow) {
        mov(r32(it.d), r32(it.d));
      }
      return;
    }
    if (pair.with_register) {
      const Xbyak::Reg64 s = have(it.s, rax);
      if (narrow)
        binary(pair.number, d, s.cvt32());
      else
        binary(pair.number, d, s);
    } else {
      binary(pair.number, d, it.immediate);
    }
    // Sums, differences and products of 32 bits fill up with their sign.
    if (narrow && pair.number <= 2) movsxd(r(it.d), r32(it.d));
  }

  void divide(std::uint32_t slot, Pair pair, bool narrow) {
    const Instruction& it = at(slot);
    const Xbyak::Reg64 d = r(it.d);
    if (pair.with_register) {
      mov(rcx, have(it.s, rcx));
      if (narrow)
        test(ecx, ecx);
      else
        test(rcx, rcx);
      jz(again(slot));
    } else {
      mov(rcx, static_cast<std::uint64_t>(std::int64_t{it.immediate}));
    }
    // One of the program's registers is rdx, which the division needs.
    const bool keeps = d != rdx;
    if (keeps) mov(field(offsetof(SbpfCall, spare)), rdx);
    mov(rax, d);
    xor_(edx, edx);
    if (narrow)
      div(ecx);
    else
      div(rcx);
    const Xbyak::Reg64& result = pair.number == 3 ? rax : rdx;
    if (d != result) mov(d, result);
    if (keeps) mov(rdx, field(offsetof(SbpfCall, spare)));
  }

  void swap(Op op, const Xbyak::Reg64& d) {
    switch (op) {
      case Op::little_16: return movzx(d.cvt32(), d.cvt16());
      case Op::little_32: return mov(d.cvt32(), d.cvt32());
      case Op::big_16: rol(d.cvt16(), 8); return movzx(d.cvt32(), d.cvt16());
      case Op::big_32: return bswap(d.cvt32());
      case Op::big_64: return bswap(d);
      default: return;
    }
  }

  void one(std::uint32_t slot) {
    const Instruction& it = at(slot);
    const Op op = it.op;
    if (op <= Op::sar_r) return arithmetic(slot, pair_of(op, Op::add_i), false);
    if (op >= Op::add_32_i && op <= Op::sar_32_r) return arithmetic(slot, pair_of(op, Op::add_32_i), true);
    if (op >= Op::little_16 && op <= Op::big_64) return swap(op, r(it.d));
    if (op >= Op::load_8 && op <= Op::store_64_frame) return access(slot);
    if (jumps_perhaps(op)) return branch(slot);
    switch (op) {
      case Op::mov_i: return put(it.d, static_cast<std::uint64_t>(std::int64_t{it.immediate}));
      case Op::mov_32_i: return put(it.d, static_cast<std::uint32_t>(it.immediate));
      case Op::load_constant:
        return put(it.d, static_cast<std::uint32_t>(it.immediate) |
                             static_cast<std::uint64_t>(std::int64_t{it.offset}) << 32);
      case Op::mov_r:
        if (it.s == 10)
          frame_end(r(it.d), 0);
        else if (it.s != it.d)
          mov(r(it.d), r(it.s));
        return;
      case Op::mov_32_r: return mov(r32(it.d), have(it.s, rax).cvt32());
      case Op::neg: return neg(r(it.d));
      case Op::neg_32: return neg(r32(it.d));
      case Op::jump: return go(target(slot), slot + 1);
      case Op::call: return call_function(slot);
      case Op::call_system: return call_system(slot);
      case Op::leave: return leave_function(slot);
      // Through registers, to nowhere, past the end: once in a call's life.
      default: return jmp(again(slot));
    }
  }

  void put(std::uint32_t reg, std::uint64_t value) {
    if (value == 0)
      xor_(r32(reg), r32(reg));
    else
      mov(r(reg), value);
  }

  // Jumps and calls.

  static std::uint32_t target(std::uint32_t slot, const Instruction& it) {
    return static_cast<std::uint32_t>(std::int64_t{slot} + 1 + it.offset);
  }
  std::uint32_t target(std::uint32_t slot) const { return target(slot, at(slot)); }
  const Xbyak::Label& label(std::uint32_t slot) const { return labels_[flow_.block_of[slot]]; }

  void go(std::uint32_t to, std::uint32_t next) {
    if (to != next) jmp(label(to));
  }

  void branch(std::uint32_t slot) {
    const Instruction& it = at(slot);
    const Pair pair = pair_of(it.op, Op::jump_eq_i);
    constexpr Condition conditions[] = {
        Condition::equal, Condition::unequal,     Condition::above,   Condition::above_equal,
        Condition::below, Condition::below_equal, Condition::greater, Condition::greater_equal,
        Condition::less,  Condition::less_equal,  Condition::unequal};
    const Condition condition = conditions[pair.number];
    const bool bits = it.op == Op::jump_set_i || it.op == Op::jump_set_r;
    const auto value = static_cast<std::uint32_t>(it.immediate);
    const Xbyak::Reg64 d = r(it.d);
    if (pair.with_register) {
      const Xbyak::Reg64 s = have(it.s, rax);
      if (bits)
        test(d, s);
      else
        cmp(d, s);
    } else if (bits) {
      test(d, value);
    } else if (value == 0) {
      test(d, d);
    } else {
      cmp(d, value);
    }
    const Xbyak::Label& to = label(target(slot));
    switch (condition) {
      case Condition::below: return jb(to);
      case Condition::above_equal: return jae(to);
      case Condition::equal: return je(to);
      case Condition::unequal: return jne(to);
      case Condition::below_equal: return jbe(to);
      case Condition::above: return ja(to);
      case Condition::less: return jl(to);
      case Condition::greater_equal: return jge(to);
      case Condition::less_equal: return jle(to);
      case Condition::greater: return jg(to);
    }
  }

  void call_function(std::uint32_t slot) {
    using Caller = sbpf::detail::State::Caller;
    cmp(rbx, field(offsetof(SbpfCall, frame_last)));
    jae(again(slot));
    mov(rax, field(offsetof(SbpfCall, caller)));
    for (std::uint32_t i = 0; i < 4; ++i) mov(qword[rax + offsetof(Caller, saved) + 8 * i], r(6 + i));
    mov(dword[rax + offsetof(Caller, slot)], slot + 1);
    add(rax, sizeof(Caller));
    mov(field(offsetof(SbpfCall, caller)), rax);
    add(rbx, sbpf::frame_bytes);
    call(label(static_cast<std::uint32_t>(at(slot).offset)));
  }

  void leave_function(std::uint32_t slot) {
    using Caller = sbpf::detail::State::Caller;
    if (!now_.may_be_inner) return jmp(returns_[slot]);
    mov(rax, field(offsetof(SbpfCall, caller)));
    if (now_.depth_least == 0) {
      lea(rcx, ptr[rbp + (state_at + offsetof(sbpf::detail::State, callers))]);
      cmp(rax, rcx);
      je(returns_[slot]);
    }
    sub(rax, sizeof(Caller));
    for (std::uint32_t i = 0; i < 4; ++i) mov(r(6 + i), qword[rax + offsetof(Caller, saved) + 8 * i]);
    mov(field(offsetof(SbpfCall, caller)), rax);
    sub(rbx, sbpf::frame_bytes);
    ret();
  }

  void call_system(std::uint32_t slot) {
    const auto what = static_cast<sbpf::SystemCall>(at(slot).offset);
    if (what == sbpf::SystemCall::log) return put(0, 0);
    const Known from = now_.r[1];
    const Known bytes = now_.r[2];
    const std::uint64_t whole = sbpf::return_bytes_max;
    if (what == sbpf::SystemCall::set_return_data && bytes.kind == Kind::number && bytes.value == whole) {
      // The usual one: 8 bytes of the frame.
      if (const auto place = certain(from, 3, false)) {
        if (place->base != rbx) mov(rcx, field(place->field));
        mov(rax, qword[place->base + distance_of(place->offset)]);
        mov(field(outcome_at + offsetof(sbpf::Outcome, return_data)), rax);
        mov(dword[rbp + outcome_at + offsetof(sbpf::Outcome, return_bytes)], sbpf::return_bytes_max);
        return put(0, 0);
      }
    }
    for (std::uint32_t i = 1; i < 10; ++i)
      if (i < 6 || i == 9) mov(saved(i), r(i));
    mov(field(offsetof(SbpfCall, spare)), rsp);
    mov(rdi, rbp);
    mov(esi, static_cast<std::uint32_t>(what));
    and_(rsp, 0xfffffff0U);  // with its sign
    mov(rax, reinterpret_cast<std::uintptr_t>(system_));
    call(rax);
    mov(rsp, field(offsetof(SbpfCall, spare)));
    test(eax, eax);
    jnz(endings_[slot]);
    for (std::uint32_t i = 1; i < 10; ++i)
      if (i < 6 || i == 9) mov(r(i), saved(i));
    put(0, 0);
  }

  // Memory.

  /// Where an address lies, whatever the call: `offset` from a register, which is the frame's end or rcx with
  /// `field` in it.
  struct Certain {
    Xbyak::Reg64 base = Xbyak::Reg64(1);
    std::size_t field = 0;
    std::int32_t offset = 0;
    bool is_input = false;
  };
  std::optional<Certain> certain(const Known& address, std::uint32_t width, bool write) {
    const std::uint64_t bytes = std::uint64_t{1} << width;
    const auto at_field = [&](std::size_t from, std::uint64_t offset, bool is_input) {
      return Certain{rcx, from, static_cast<std::int32_t>(offset), is_input};
    };
    if (address.kind == Kind::frame) {
      // Callers' frames lie two frames apart for the program, and one in our memory.
      const auto distance = static_cast<std::int64_t>(address.value);
      for (std::int64_t up = 0; up <= now_.depth_least; ++up) {
        const std::int64_t within = distance + up * 2 * sbpf::frame_bytes;
        if (within < -std::int64_t{sbpf::frame_bytes}) continue;
        if (within > -static_cast<std::int64_t>(bytes)) break;
        return Certain{rbx, 0, static_cast<std::int32_t>(within - up * sbpf::frame_bytes), false};
      }
      return std::nullopt;
    }
    if (address.kind != Kind::number) return std::nullopt;
    const std::uint64_t offset = address.value & 0xffffffffU;
    switch (address.value >> 32) {
      case sbpf::region_input:
        if (offset + bytes > input_certain) return std::nullopt;
        emitted_->input_bytes = std::max(emitted_->input_bytes, static_cast<std::uint32_t>(offset + bytes));
        return at_field(offsetof(SbpfCall, input), offset, true);
      case sbpf::region_heap:
        if (offset + bytes > program_.heap_bytes) return std::nullopt;
        return at_field(offsetof(SbpfCall, heap), offset, false);
      case sbpf::region_program:
        if (write || offset < program_.image_at || offset - program_.image_at + bytes > program_.image_bytes)
          return std::nullopt;
        return at_field(offsetof(SbpfCall, image), offset - program_.image_at, false);
      default: return std::nullopt;
    }
  }

  /// A load or a store, of which only this is different.
  struct Access {
    std::uint32_t width = 0;  ///< 0 to 3.
    bool write = false;
    bool immediate = false;
    std::uint32_t base = 0;  ///< Registers of the program.
    std::uint32_t other = 0;
  };
  static Access access_of(const Instruction& it) {
    const auto since = [&](Op first) {
      return static_cast<std::uint32_t>(it.op) - static_cast<std::uint32_t>(first);
    };
    if (it.op <= Op::load_64) return {since(Op::load_8), false, false, it.s, it.d};
    if (it.op <= Op::store_64_r) return {since(Op::store_8_r), true, false, it.d, it.s};
    if (it.op <= Op::store_64_i) return {since(Op::store_8_i), true, true, it.d, 0};
    if (it.op <= Op::load_64_frame) return {since(Op::load_8_frame), false, false, 10, it.d};
    return {since(Op::store_8_frame), true, false, 10, it.s};
  }

  /// The access itself, where `place` says.
  void touch(const Instruction& it, const Access& how, const Xbyak::RegExp& place) {
    const Xbyak::Address where = how.width == 0   ? byte[place]
                                 : how.width == 1 ? word[place]
                                 : how.width == 2 ? dword[place]
                                                  : qword[place];
    if (!how.write) {
      if (how.width < 2) return movzx(r32(how.other), where);
      return how.width == 2 ? mov(r32(how.other), where) : mov(r(how.other), where);
    }
    if (how.immediate) {
      const auto value = static_cast<std::uint32_t>(it.immediate);
      const std::uint64_t cut = how.width == 0   ? value & 0xffU
                                : how.width == 1 ? value & 0xffffU
                                : how.width == 2 ? value
                                                 : static_cast<std::uint64_t>(std::int64_t{it.immediate});
      return mov(where, cut);
    }
    const Xbyak::Reg64 from = how.other == 10 ? Xbyak::Reg64(rax) : r(how.other);
    switch (how.width) {
      case 0: return mov(where, from.cvt8());
      case 1: return mov(where, from.cvt16());
      case 2: return mov(where, from.cvt32());
      default: return mov(where, from);
    }
  }

  void wrote_input() { mov(byte[rbp + outcome_at + offsetof(sbpf::Outcome, input_written)], 1); }

  void access(std::uint32_t slot) {
    const Instruction& it = at(slot);
    const Access how = access_of(it);
    Known address = now_.at(how.base);
    address.value += static_cast<std::uint64_t>(std::int64_t{it.offset});
    const bool stores_frame = how.write && !how.immediate && how.other == 10;
    if (const auto place = certain(address, how.width, how.write)) {
      if (place->base != rbx) mov(rcx, field(place->field));
      if (stores_frame) frame_end(rax, 0);
      if (how.write && place->is_input) wrote_input();
      return touch(it, how, place->base + distance_of(place->offset));
    }
    const std::uint32_t region =
        address.kind == Kind::number ? static_cast<std::uint32_t>(address.value >> 32) : address.region;
    const std::uint64_t bytes = std::uint64_t{1} << how.width;
    if (stores_frame || (region != sbpf::region_input && region != sbpf::region_stack)) {
      address_of(it, how, 0);
      find(slot, how);
      if (stores_frame) {
        mov(rcx, rax);
        frame_end(rax, 0);
        return touch(it, how, rcx);
      }
      return touch(it, how, rax);
    }
    slow_.emplace_back();
    Slow& slow = slow_.back();
    slow.slot = slot;
    slow.region = region;
    address_of(it, how, begin_of(region));
    if (region == sbpf::region_input) {
      cmp(rax, field(offsetof(SbpfCall, input_last) + 8 * std::size_t{how.width}));
      ja(slow.from);
      mov(rcx, field(offsetof(SbpfCall, input)));
      if (how.write) wrote_input();
      touch(it, how, rcx + rax);
    } else {
      if (program_.frames > 1) {
        test(eax, sbpf::frame_bytes);
        jnz(slow.from);
      }
      cmp(rax, stack_last(bytes));
      ja(slow.from);
      if (program_.frames > 1) frame_place();
      mov(rcx, field(offsetof(SbpfCall, stack)));
      touch(it, how, rcx + rax);
    }
    L(slow.back);
  }

  /// Puts the address of an access into rax, less `begin`.
  void address_of(const Instruction& it, const Access& how, std::uint64_t begin) {
    const Xbyak::Reg64 base = have(how.base, rcx);
    const std::uint64_t distance = static_cast<std::uint64_t>(std::int64_t{it.offset}) - begin;
    if (begin == 0) return lea(rax, ptr[base + distance_of(it.offset)]);
    mov(rax, distance);
    add(rax, base);
  }

  /// The last offset in the stack at which `bytes` begin, as the program sees it.
  std::uint32_t stack_last(std::uint64_t bytes) const {
    return static_cast<std::uint32_t>((std::uint64_t{program_.frames} * 2 - 1) * sbpf::frame_bytes - bytes);
  }
  /// Turns an offset in the stack into one in ours, which has no gaps: of 2k frames and a rest, k are left.
  void frame_place() {
    mov(ecx, eax);
    and_(ecx, sbpf::frame_bytes - 1);
    add(eax, ecx);
    shr(eax, 1);
  }

  /// Turns the address in rax into a place in our memory, or leaves.
  void find(std::uint32_t slot, const Access& how) {
    place_used_[how.write ? 1 : 0][how.width] = true;
    call(places_[how.write ? 1 : 0][how.width]);
    test(rax, rax);
    jz(again(slot));
  }

  void slow_path(Slow& slow) {
    const Instruction& it = at(slow.slot);
    const Access how = access_of(it);
    L(slow.from);
    mov(rcx, begin_of(slow.region));
    add(rax, rcx);
    find(slow.slot, how);
    touch(it, how, rax);
    jmp(slow.back);
  }

  /// `place_of` of the interpreter: the address in rax becomes a place in our memory, or 0.
  void place(std::uint32_t width, bool write) {
    const std::uint64_t bytes = std::uint64_t{1} << width;
    Xbyak::Label none;
    Xbyak::Label not_input;
    Xbyak::Label not_stack;
    Xbyak::Label not_heap;
    align(16);
    L(places_[write ? 1 : 0][width]);
    mov(rcx, rax);
    shr(rcx, 32);
    mov(eax, eax);
    cmp(ecx, sbpf::region_input);
    jne(not_input);
    cmp(rax, field(offsetof(SbpfCall, input_last) + 8 * std::size_t{width}));
    ja(none);
    if (write) wrote_input();
    add(rax, field(offsetof(SbpfCall, input)));
    ret();
    L(not_input);
    cmp(ecx, sbpf::region_stack);
    jne(not_stack);
    test(eax, sbpf::frame_bytes);
    jnz(none);
    cmp(eax, stack_last(bytes));
    ja(none);
    frame_place();
    add(rax, field(offsetof(SbpfCall, stack)));
    ret();
    L(not_stack);
    if (program_.heap_bytes >= bytes) {
      cmp(ecx, sbpf::region_heap);
      jne(not_heap);
      cmp(eax, static_cast<std::uint32_t>(program_.heap_bytes - bytes));
      ja(none);
      add(rax, field(offsetof(SbpfCall, heap)));
      ret();
      L(not_heap);
    }
    if (!write && program_.image_bytes >= bytes) {
      cmp(ecx, sbpf::region_program);
      jne(none);
      sub(eax, program_.image_at);
      jb(none);
      cmp(eax, static_cast<std::uint32_t>(program_.image_bytes - bytes));
      ja(none);
      add(rax, field(offsetof(SbpfCall, image)));
      ret();
    }
    L(none);
    xor_(eax, eax);
    ret();
  }

  const sbpf::Program& program_;
  const Flow& flow_;
  const SbpfSystem system_;
  SbpfEmitted* emitted_ = nullptr;
  std::vector<Xbyak::Label> labels_;
  std::map<std::uint32_t, Xbyak::Label> agains_;
  std::map<std::uint32_t, Xbyak::Label> returns_;
  std::map<std::uint32_t, Xbyak::Label> endings_;
  Xbyak::Label again_;
  Xbyak::Label returned_;
  Xbyak::Label asked_;
  Xbyak::Label places_[2][4];  ///< Of loads and of stores, by width.
  bool place_used_[2][4] = {};
  std::deque<Slow> slow_;
  Registers now_;
};

}  // namespace

bool emit_sbpf(const sbpf::Program& program, const Flow& flow, SbpfSystem system, SbpfEmitted& emitted,
               std::string& why) {
  constexpr std::size_t size_most = std::size_t{16} << 20;
  for (std::size_t size = 1 << 14; size <= size_most; size *= 4) {
    emitted.bytes.assign(size, 0xcc);
    try {
      Emitter emitter(program, flow, system, emitted.bytes.data(), size);
      emitter.emit(emitted);
      emitted.bytes.resize(emitter.getSize());
      return true;
    } catch (const Xbyak::Error& error) {
      if (static_cast<int>(error) == Xbyak::ERR_CODE_IS_TOO_BIG) continue;
      why = error.what();
      return false;
    }
  }
  why = "more than 16 MiB of code";
  return false;
}

#else

bool emit_sbpf(const kernels::sbpf::Program&, const Flow&, SbpfSystem, SbpfEmitted&, std::string& why) {
  why = "this build has no assembler";
  return false;
}

#endif

}  // namespace calyx::strategy
