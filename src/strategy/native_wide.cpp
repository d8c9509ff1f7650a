#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

Pair Emitter::sum(const Pair& x, const Pair& y, bool difference) {
  const std::uint8_t low = copy_of(x.low);
  const std::uint8_t high = copy_of(x.high);
  const Value y_low = operand(y.low);
  const Value y_high = operand(y.high);
  alu(difference ? Alu::sub : Alu::add, low, y_low);
  alu(difference ? Alu::sbb : Alu::adc, high, y_high);
  return {in(low), in(high)};
}

void Emitter::multiply(const Value& x, const Value& y) {
  if (x.known) {
    mov(rax, x.number);
    mul(r(in_register(y)));
  } else {
    load_number(rax, y);
    mul(r(x.reg));
  }
}

Pair Emitter::product_wide(Pair x, Pair y) {
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

std::uint32_t Emitter::divide_wide(std::uint32_t pc, const Pair& x, const Pair& y, bool rest,
                                   std::uint32_t next) {
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

std::uint32_t Emitter::choose_wide(std::uint32_t pc, bool larger, bool is_signed) {
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

Value Emitter::choose(std::uint32_t at, const Value& x, const Value& y, bool larger, bool is_signed) {
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

std::uint32_t Emitter::shift_wide(std::uint32_t pc) {
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

}  // namespace calyx::strategy::native

#endif
