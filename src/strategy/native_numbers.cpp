#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

void Emitter::put_double(std::uint32_t a) {
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

std::uint32_t Emitter::real(std::uint32_t pc) {
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

std::uint32_t Emitter::real_compared(std::uint32_t pc) {
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

std::uint32_t Emitter::put_fitted(std::uint32_t pc, Pair result, bool is_wide, Condition over,
                                  bool never_over, std::uint64_t limit) {
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

std::uint32_t Emitter::integer(std::uint32_t pc) {
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

}  // namespace calyx::strategy::native

#endif
