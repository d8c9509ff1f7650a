#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

void Emitter::alu(Alu op, std::uint8_t to, const Value& from) {
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

std::uint64_t Emitter::computed(Alu op, std::uint64_t x, std::uint64_t y) {
  switch (op) {
    case Alu::add: return x + y;
    case Alu::sub: return x - y;
    case Alu::bit_and: return x & y;
    case Alu::bit_or: return x | y;
    default: return x ^ y;
  }
}

Value Emitter::combined(Alu op, std::uint32_t at, Value x, Value y) {
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
      return segment >= 1 && segment <= kb::segment_constants ? static_cast<std::uint8_t>(segment) : no_hint;
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

Value Emitter::product(std::uint32_t at, Value x, Value y) {
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

void Emitter::divide_by(std::uint64_t divisor) {
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
      static_cast<std::uint64_t>((static_cast<Wide>(static_cast<std::uint64_t>(power)) << 64) / divisor) + 1;
  mov(rcx, rax);
  mov(rdx, factor);
  mul(rdx);
  sub(rcx, rdx);
  shr(rcx, 1);
  add(rcx, rdx);
  shr(rcx, static_cast<int>(bits - 1));
  mov(rax, rcx);
}

Value Emitter::quotient_into(std::uint8_t to, const Value& x, const Value& y, bool rest) {
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

void Emitter::jump(Condition condition, const Xbyak::Label& to) {
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

void Emitter::move_if(Condition condition, std::uint8_t to, const Xbyak::Reg64& from) {
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

void Emitter::set_if(Condition condition, std::uint8_t to) {
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

Test Emitter::compared(Condition condition, Value x, Value y) {
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

Test Emitter::compared_equal(Condition condition, const Pair& x, const Pair& y) {
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

Test Emitter::compared_wide(const Pair& left, const Pair& right, bool or_equal, bool is_signed) {
  const Pair& x = or_equal ? right : left;
  const Pair& y = or_equal ? left : right;
  const Condition condition =
      is_signed ? (or_equal ? greater_equal : less) : (or_equal ? above_equal : below);
  if (x.high.known && y.high.known) {
    if (x.high.number == y.high.number) return compared(or_equal ? below_equal : below, left.low, right.low);
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

std::uint32_t Emitter::use_test(std::uint32_t pc, const Test& test) {
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

void Emitter::put_test(std::uint32_t a, const Test& test) {
  if (test.known) {
    put(a, number(test.value ? 1 : 0));
    return;
  }
  const std::uint8_t to = fresh();
  set_if(test.condition, to);
  put(a, in(to));
}

}  // namespace calyx::strategy::native

#endif
