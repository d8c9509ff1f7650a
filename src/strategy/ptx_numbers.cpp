// Numbers of 128 bits, divisions by what is known, doubles, and the rare kind.
#include <bit>

#include "strategy/ptx_emitter.hpp"

namespace calyx::strategy::ptx {

Emitter::Two Emitter::wide(std::uint32_t slot) { return {reg(slot), reg(slot + 1)}; }

void Emitter::put_wide(std::uint32_t slot, const Two& value) {
  put(slot, value.low);
  put(slot + 1, value.high);
}

Emitter::Two Emitter::sum(const Two& x, const Two& y) {
  const std::string low = made("add.cc.u64", x.low, y.low);
  return {low, made("addc.u64", x.high, y.high)};
}

Emitter::Two Emitter::difference(const Two& x, const Two& y) {
  const std::string low = made("sub.cc.u64", x.low, y.low);
  return {low, made("subc.u64", x.high, y.high)};
}

Emitter::Two Emitter::product(const Two& x, const Two& y) {
  std::string high = made("mul.hi.u64", x.low, y.low);
  high = made("add.u64", high, made("mul.lo.u64", x.low, y.high));
  return {made("mul.lo.u64", x.low, y.low), made("add.u64", high, made("mul.lo.u64", x.high, y.low))};
}

std::string Emitter::quotient(const std::string& x, std::uint64_t by) {
  if (std::has_single_bit(by)) return made("shr.u64", x, number(static_cast<unsigned>(std::countr_zero(by))));
  // With 2^(bits - 1) < by < 2^bits the quotient is x (2^64 + times) / 2^(64 + bits), rounded down.
  const auto bits = static_cast<std::uint32_t>(std::bit_width(by));
  const Wide above = (Wide{1} << bits) - by;
  const auto times = static_cast<std::uint64_t>((above << 64) / by) + 1;
  const std::string high = made("mul.hi.u64", x, number(times));
  // The sum of x and `high` may have 65 bits.
  const std::string half = made("shr.u64", made("sub.u64", x, high), "1");
  return made("shr.u64", made("add.u64", half, high), number(bits - 1));
}

Emitter::Two Emitter::wide_quotient(const Two& x, std::uint64_t by) {
  // Two halves, the rest below 2^32 carried, as `detail::divide_small` does.
  const auto rest = [&](const std::string& of, const std::string& whole) {
    return made("sub.u64", of, made("mul.lo.u64", whole, number(by)));
  };
  const std::string top = quotient(x.high, by);
  const std::string upper =
      made("or.b64", made("shl.b64", rest(x.high, top), "32"), made("shr.u64", x.low, "32"));
  const std::string middle = quotient(upper, by);
  const std::string lower =
      made("or.b64", made("shl.b64", rest(upper, middle), "32"), made("and.b64", x.low, number(0xffffffffU)));
  return {made("add.u64", made("shl.b64", middle, "32"), quotient(lower, by)), top};
}

void Emitter::divide_wide(Op op, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const Two x = wide(b);
  const bool remainder = op == Op::rem_uw || op == Op::rem_sw;
  const auto low = known_.at(c);
  const Two y = wide(c);
  Two q;
  if (op == Op::div_uw || op == Op::rem_uw) {
    if (low && known_.at(c + 1) == std::uint64_t{0} && *low != 0 && *low <= 0xffffffffU) {
      q = wide_quotient(x, *low);
    } else {
      const std::string high = made("or.b64", x.high, y.high);
      const std::string p = test();
      line("setp.eq.u64", {p, made("or.b64", y.low, y.high), "0"});
      again_if(p);
      // Most divisions have small operands, and those need no call.
      q = {temp(), temp()};
      const std::string small = "D" + number(tests_);
      line("setp.eq.u64", {p, high, "0"});
      line("mov.b64", {q.high, in_register("0")});
      piece_ += "\t@" + p + " bra " + small + ";\n";
      const Two found = help("divide", x.low, x.high, y.low, y.high);
      line("mov.b64", {q.low, found.low});
      line("mov.b64", {q.high, found.high});
      piece_ += "\tbra " + small + "_;\n" + small + ":\n";
      line("div.u64", {q.low, x.low, y.low});
      piece_ += small + "_:\n";
    }
  } else {
    const std::string zero = test();
    line("setp.eq.u64", {zero, made("or.b64", y.low, y.high), "0"});
    again_if(zero);
    // The one quotient that does not fit.
    const std::string p = test();
    line("setp.eq.u64", {p, made("and.b64", y.low, y.high), number(~std::uint64_t{0})});
    line("setp.eq.and.u64", {p, x.low, "0", p});
    line("setp.eq.and.u64", {p, x.high, number(std::uint64_t{1} << 63), p});
    again_if(p);
    q = help("divide_signed", x.low, x.high, y.low, y.high);
  }
  put_wide(a, remainder ? difference(x, product(q, y)) : q);
}

void Emitter::shift_wide(Op op, std::uint32_t a, std::uint32_t b, const std::string& by) {
  const Two x = wide(b);
  // A shift by 64 or more leaves nothing, a negative one is such a shift.
  const std::string near = word32();
  const std::string back = word32();
  const std::string beyond = word32();
  line("cvt.u32.u64", {near, made("and.b64", by, "127")});
  line("sub.u32", {back, "64", near});
  line("sub.u32", {beyond, near, "64"});
  const auto any = [this](const std::string& p, const std::string& q) { return made("or.b64", p, q); };
  if (op == Op::shift_left_w) {
    const std::string inner = any(made("shl.b64", x.high, near), made("shr.u64", x.low, back));
    put_wide(a, {made("shl.b64", x.low, near), any(inner, made("shl.b64", x.low, beyond))});
    return;
  }
  const std::string inner = any(made("shr.u64", x.low, near), made("shl.b64", x.high, back));
  if (op == Op::shift_right_uw) {
    put_wide(a, {any(inner, made("shr.u64", x.high, beyond)), made("shr.u64", x.high, near)});
    return;
  }
  const std::string p = test();
  line("setp.lt.u32", {p, near, "64"});
  const std::string low = temp();
  line("selp.b64", {low, inner, made("shr.s64", x.high, beyond), p});
  put_wide(a, {low, made("shr.s64", x.high, near)});
}

std::string Emitter::less(const Two& x, const Two& y, bool or_equal, bool is_signed) {
  std::string p = test();
  line("setp.eq.u64", {p, x.high, y.high});
  line(or_equal ? "setp.le.and.u64" : "setp.lt.and.u64", {p, x.low, y.low, p});
  line(is_signed ? "setp.lt.or.s64" : "setp.lt.or.u64", {p, x.high, y.high, p});
  return p;
}

void Emitter::wide_one(const Instruction& it, std::uint32_t frame) {
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  const std::uint32_t c = frame + it.c;
  const auto each = [&](const char* op) {
    const Two x = wide(b);
    const Two y = wide(c);
    put_wide(a, {made(op, x.low, y.low), made(op, x.high, y.high)});
  };
  const auto truth = [&](const std::string& p) {
    const std::string out = temp();
    line("selp.b64", {out, "1", "0", p});
    put(a, out);
  };
  const auto one_of = [&](const Two& x, const Two& y, const std::string& p) {
    const Two out{temp(), temp()};
    line("selp.b64", {out.low, x.low, y.low, p});
    line("selp.b64", {out.high, x.high, y.high, p});
    put_wide(a, out);
  };
  const bool is_signed =
      it.op == Op::min_sw || it.op == Op::max_sw || it.op == Op::lt_sw || it.op == Op::le_sw;
  const Two small{number(it.c), "0"};
  switch (it.op) {
    case Op::add_w: put_wide(a, sum(wide(b), wide(c))); break;
    case Op::sub_w: put_wide(a, difference(wide(b), wide(c))); break;
    case Op::mul_w: put_wide(a, product(wide(b), wide(c))); break;
    case Op::add_wi: put_wide(a, sum(wide(b), small)); break;
    case Op::sub_wi: put_wide(a, difference(wide(b), small)); break;
    case Op::mul_wi: put_wide(a, product(wide(b), small)); break;
    case Op::div_uw:
    case Op::div_sw:
    case Op::rem_uw:
    case Op::rem_sw: divide_wide(it.op, a, b, c); break;
    case Op::div_wi: put_wide(a, wide_quotient(wide(b), it.c)); break;
    case Op::rem_wi: {
      const Two x = wide(b);
      put_wide(a, difference(x, product(wide_quotient(x, it.c), small)));
      break;
    }
    case Op::and_w: each("and.b64"); break;
    case Op::or_w: each("or.b64"); break;
    case Op::xor_w: each("xor.b64"); break;
    case Op::shift_left_w:
    case Op::shift_right_uw:
    case Op::shift_right_sw: shift_wide(it.op, a, b, reg(c)); break;
    case Op::mul_wide: {
      const std::string x = reg(b);
      const std::string y = get(c);
      put_wide(a, {made("mul.lo.u64", x, y), made("mul.hi.u64", x, y)});
      break;
    }
    case Op::eq_w:
    case Op::ne_w: {
      const Two x = wide(b);
      const Two y = wide(c);
      const std::string p = test();
      line(it.op == Op::eq_w ? "setp.eq.u64" : "setp.ne.u64",
           {p, made("or.b64", made("xor.b64", x.low, y.low), made("xor.b64", x.high, y.high)), "0"});
      truth(p);
      break;
    }
    case Op::lt_uw:
    case Op::lt_sw: truth(less(wide(b), wide(c), false, is_signed)); break;
    case Op::le_uw:
    case Op::le_sw: truth(less(wide(b), wide(c), true, is_signed)); break;
    case Op::min_uw:
    case Op::min_sw:
    case Op::max_uw:
    case Op::max_sw: {
      const Two x = wide(b);
      const Two y = wide(c);
      const bool least = it.op == Op::min_uw || it.op == Op::min_sw;
      one_of(x, y, least ? less(x, y, false, is_signed) : less(y, x, false, is_signed));
      break;
    }
    case Op::sub_saturating_w: {
      const Two x = wide(b);
      const Two y = wide(c);
      one_of(difference(x, y), {"0", "0"}, less(y, x, false, false));
      break;
    }
    case Op::not_w: {
      const Two x = wide(b);
      put_wide(a, {made("xor.b64", x.low, "-1"), made("xor.b64", x.high, "-1")});
      break;
    }
    case Op::negate_w: put_wide(a, difference({in_register("0"), in_register("0")}, wide(b))); break;
    case Op::widen_u: put_wide(a, {get(b), "0"}); break;
    case Op::widen_s: {
      const std::string low = reg(b);
      put_wide(a, {low, made("shr.s64", low, "63")});
      break;
    }
    default: break;
  }
}

std::string Emitter::real(const std::string& word) {
  std::string out = fresh_real();
  line("mov.b64", {out, in_register(word)});
  return out;
}

void Emitter::put_real(std::uint32_t slot, const std::string& value) {
  // What is not a number has always the same bits.
  const std::string p = test();
  const std::string bits = temp();
  const std::string out = temp();
  line("mov.b64", {bits, value});
  line("setp.nan.f64", {p, value, value});
  line("selp.b64", {out, number(0x7ff8000000000000ULL), bits, p});
  put(slot, out);
}

void Emitter::real_one(const Instruction& it, std::uint32_t frame) {
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  const std::uint32_t c = frame + it.c;
  const auto two = [&](const char* op) {
    const std::string out = fresh_real();
    line(op, {out, real(get(b)), real(get(c))});
    put_real(a, out);
  };
  const auto truth = [&](const char* op) {
    const std::string p = test();
    const std::string out = temp();
    line(op, {p, real(get(b)), real(get(c))});
    line("selp.b64", {out, "1", "0", p});
    put(a, out);
  };
  const auto whole = [&](bool is_signed, std::uint32_t bits) {
    return help("double_to", get(b), number(bits), is_signed ? "1" : "0");
  };
  switch (it.op) {
    case Op::add_f: two("add.rn.f64"); break;
    case Op::sub_f: two("sub.rn.f64"); break;
    case Op::mul_f: two("mul.rn.f64"); break;
    case Op::div_f: two("div.rn.f64"); break;
    case Op::rem_f: put(a, help("remainder", get(b), get(c)).low); break;
    case Op::negate_f: put(a, made("xor.b64", reg(b), number(std::uint64_t{1} << 63))); break;
    case Op::eq_f: truth("setp.eq.f64"); break;
    // Unordered numbers are unequal too.
    case Op::ne_f: truth("setp.neu.f64"); break;
    case Op::lt_f: truth("setp.lt.f64"); break;
    case Op::le_f: truth("setp.le.f64"); break;
    case Op::function_f: {
      const auto function = static_cast<RealFunction>(it.c);
      if (function == RealFunction::square_root) {
        const std::string out = fresh_real();
        line("sqrt.rn.f64", {out, real(get(b))});
        put_real(a, out);
        break;
      }
      put(a,
          help("function", number(it.c), get(b), function >= RealFunction::minimum ? get(b + 1) : "0").low);
      break;
    }
    case Op::power_f: put(a, help("power", get(b), get(c)).low); break;
    case Op::power_i: put(a, help("whole_power", get(b), get(c)).low); break;
    case Op::fused_f: {
      // The one place where a product is not rounded: Rust's `mul_add`.
      const std::string out = fresh_real();
      line("fma.rn.f64", {out, real(get(b)), real(get(b + 1)), real(get(c))});
      put_real(a, out);
      break;
    }
    case Op::u_to_double:
    case Op::s_to_double: {
      const std::string out = fresh_real();
      const std::string bits = temp();
      line(it.op == Op::u_to_double ? "cvt.rn.f64.u64" : "cvt.rn.f64.s64", {out, reg(b)});
      line("mov.b64", {bits, out});
      put(a, bits);
      break;
    }
    case Op::uw_to_double: put(a, help("wide_to_double", get(b), get(b + 1), "0").low); break;
    case Op::sw_to_double: put(a, help("wide_to_double", get(b), get(b + 1), "1").low); break;
    case Op::double_to_u: {
      if (it.c != 64) {
        put(a, whole(false, it.c).low);
        break;
      }
      // As the interpreter, whose usual case needs no call.
      const std::string x = real(get(b));
      const std::string p = test();
      const std::string out = temp();
      const std::string small = "D" + number(tests_);
      line("setp.ge.f64", {p, x, "0d0000000000000000"});
      line("setp.lt.and.f64", {p, x, "0d43E0000000000000", p});
      piece_ += "\t@" + p + " bra " + small + ";\n";
      line("mov.b64", {out, whole(false, 64).low});
      piece_ += "\tbra " + small + "_;\n" + small + ":\n";
      line("cvt.rzi.u64.f64", {out, x});
      piece_ += small + "_:\n";
      put(a, out);
      break;
    }
    case Op::double_to_s: put(a, whole(true, it.c).low); break;
    case Op::double_to_uw: put_wide(a, whole(false, 128)); break;
    case Op::double_to_sw: put_wide(a, whole(true, 128)); break;
    default: break;
  }
}

bool Emitter::rare_in_line(const Instruction& it, const Instruction& how, std::uint32_t frame) {
  const auto kind = static_cast<Rare>(static_cast<std::uint16_t>(how.op));
  const auto mode = static_cast<Mode>(how.b);
  if (how.a != 64) return false;
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  const std::uint32_t c = frame + it.c;
  std::string value;
  std::string over;  // whether it did not fit
  std::uint64_t limit = ~std::uint64_t{0};
  switch (kind) {
    case Rare::add: {
      const std::string x = reg(b);
      value = made("add.u64", x, get(c));
      over = test();
      line("setp.lt.u64", {over, value, x});
      break;
    }
    case Rare::sub: {
      const std::string x = reg(b);
      const std::string y = get(c);
      value = made("sub.u64", x, y);
      over = test();
      line("setp.lt.u64", {over, x, y});
      limit = 0;
      break;
    }
    case Rare::mul: {
      const std::string x = reg(b);
      const std::string y = get(c);
      value = made("mul.lo.u64", x, y);
      const std::string high = made("mul.hi.u64", x, y);
      over = test();
      line("setp.ne.u64", {over, high, "0"});
      break;
    }
    case Rare::convert:
      if (how.c != 128) return false;
      value = reg(b);
      over = test();
      line("setp.ne.u64", {over, reg(b + 1), "0"});
      break;
    case Rare::abs_diff: {
      if (mode != Mode::wrapping) return false;
      const std::string x = reg(b);
      const std::string y = reg(c);
      const std::string most = made("max.u64", x, y);
      put(a, made("sub.u64", most, made("min.u64", x, y)));
      return true;
    }
    default: return false;
  }
  const std::string flag = temp();
  const std::string out = temp();
  switch (mode) {
    case Mode::wrapping: put(a, value); break;
    case Mode::checked:
      line("selp.b64", {flag, "0", "1", over});
      line("selp.b64", {out, "0", value, over});
      put(a, flag);
      put(a + 1, out);
      break;
    case Mode::saturating:
      line("selp.b64", {out, number(limit), value, over});
      put(a, out);
      break;
    case Mode::overflowing:
      line("selp.b64", {flag, "1", "0", over});
      // Its own register: the slot may be an operand's.
      line("mov.b64", {out, value});
      put(a, out);
      put(a + 1, flag);
      break;
  }
  return true;
}

void Emitter::rare(const Instruction& it, const Instruction& how, std::uint32_t frame) {
  if (rare_in_line(it, how, frame)) return;
  const auto kind = static_cast<Rare>(static_cast<std::uint16_t>(how.op));
  const auto slots = [](std::uint32_t type) { return kb::detail::bits_of_type(type) == 128 ? 2U : 1U; };
  const bool counted = kind == Rare::power || kind == Rare::shift_left || kind == Rare::shift_right ||
                       kind == Rare::rotate_left || kind == Rare::rotate_right;
  has_scratch_ = true;
  const std::string scratch = temp();
  line("mov.u64", {scratch, "scratch"});
  line("cvta.local.u64", {scratch, scratch});
  const auto give = [&](std::uint32_t at, std::uint32_t slot, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i)
      line("st.u64", {"[" + scratch + "+" + number((at + i) * 8) + "]", reg(slot + i)});
  };
  // The operands are read whatever the kind.
  const std::uint32_t left = kind == Rare::convert ? std::max(slots(how.a), slots(how.c)) : slots(how.a);
  give(kernels::linked::integer_left, frame + it.b, left);
  give(kernels::linked::integer_right, frame + it.c, counted ? 1 : slots(how.a));
  const std::uint64_t word = static_cast<std::uint64_t>(how.op) | std::uint64_t{how.a} << 16 |
                             std::uint64_t{how.b} << 32 | std::uint64_t{how.c} << 48;
  const std::string fine = help("integer", scratch, number(word)).low;
  const std::string p = test();
  line("setp.eq.u64", {p, fine, "0"});
  again_if(p);
  const std::uint32_t out = written(it, &how).count;
  for (std::uint32_t i = 0; i < out; ++i) {
    const std::string value = temp();
    line("ld.u64", {value, "[" + scratch + "+" + number((kernels::linked::integer_result + i) * 8) + "]"});
    put(frame + it.a + i, value);
  }
}

}  // namespace calyx::strategy::ptx
