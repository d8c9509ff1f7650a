#ifdef CALYX_HAVE_XBYAK

#include "strategy/native_emitter.hpp"

namespace calyx::strategy::native {

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

}  // namespace calyx::strategy::native

#endif
