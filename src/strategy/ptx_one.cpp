// Each instruction, where its numbers are not known.
#include "strategy/ptx_emitter.hpp"

namespace calyx::strategy::ptx {

void Emitter::line(std::string_view op, std::initializer_list<std::string_view> operands) {
  piece_ += '\t';
  piece_ += op;
  std::string_view before = " ";
  for (const std::string_view operand : operands) {
    piece_ += before;
    piece_ += operand;
    before = ", ";
  }
  piece_ += ";\n";
}

std::string Emitter::made(std::string_view op, const std::string& x, const std::string& y) {
  const std::string from = in_register(x);
  std::string out = temp();
  line(op, {out, from, y});
  return out;
}

std::string Emitter::number(std::uint64_t value) {
  // A decimal number is a signed one.
  if (value >> 63 == 0) return std::to_string(value);
  std::string text = "0x";
  for (unsigned shift = 64; shift != 0; shift -= 4) text += "0123456789abcdef"[(value >> (shift - 4)) & 15U];
  return text + "U";
}

std::string Emitter::in_register(const std::string& operand) {
  if (operand.front() == '%') return operand;
  std::string out = temp();
  line("mov.b64", {out, operand});
  return out;
}

std::string Emitter::get(std::uint32_t slot) {
  if (const auto known = known_.at(slot)) return number(*known);
  if (slot < exposed_) {
    slots_ = std::max(slots_, slot + 1);
    return "%s" + number(slot);
  }
  std::string out = temp();
  line("ld.u64", {out, "[%stack+" + number(std::uint64_t{slot} * 8) + "]"});
  return out;
}

void Emitter::put(std::uint32_t slot, const std::string& operand) {
  if (slot < exposed_) {
    slots_ = std::max(slots_, slot + 1);
    line("mov.b64", {"%s" + number(slot), operand});
  } else {
    line("st.u64", {"[%stack+" + number(std::uint64_t{slot} * 8) + "]", in_register(operand)});
  }
}

std::string Emitter::condition(const Instruction& it, std::uint32_t frame) {
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  std::string p;
  const auto compare = [&](const char* op, const std::string& x, const std::string& y) {
    const std::string from = in_register(x);
    p = test();
    line(op, {p, from, y});
  };
  switch (it.op) {
    case Op::jump_if: compare("setp.ne.u64", get(a), "0"); break;
    case Op::jump_unless: compare("setp.eq.u64", get(a), "0"); break;
    case Op::jump_eq: compare("setp.eq.u64", get(a), get(b)); break;
    case Op::jump_ne: compare("setp.ne.u64", get(a), get(b)); break;
    case Op::jump_lt_u: compare("setp.lt.u64", get(a), get(b)); break;
    case Op::jump_le_u: compare("setp.le.u64", get(a), get(b)); break;
    case Op::jump_lt_s: compare("setp.lt.s64", get(a), get(b)); break;
    case Op::jump_le_s: compare("setp.le.s64", get(a), get(b)); break;
    case Op::jump_eq_i: compare("setp.eq.u64", get(a), number(it.b)); break;
    case Op::jump_ne_i: compare("setp.ne.u64", get(a), number(it.b)); break;
    case Op::jump_zero_w: compare("setp.eq.u64", made("or.b64", get(a), get(a + 1)), "0"); break;
    default: compare("setp.ne.u64", made("or.b64", get(a), get(a + 1)), "0"); break;
  }
  return p;
}

bool Emitter::one(Place place) {
  const Instruction& it = made_.code[place.second];
  const std::uint32_t frame = frame_of(place);
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  const std::uint32_t c = frame + it.c;
  const Folded words = folded(made_, it, frame, known_);
  for (std::uint32_t i = 0; i < words.count; ++i) put(a + i, number(words.words[i]));
  if (words.count != 0) return true;

  const auto two = [&](const char* op) { put(a, made(op, get(b), get(c))); };
  const auto immediate = [&](const char* op) { put(a, made(op, get(b), number(it.c))); };
  const auto shift = [&](const char* op) {
    const std::string from = reg(b);
    const std::string by = word32();
    line("cvt.u32.u64", {by, made("and.b64", get(c), "63")});
    put(a, made(op, from, by));
  };
  const auto truth = [&](const char* op) {
    const std::string from = reg(b);
    const std::string p = test();
    const std::string out = temp();
    line(op, {p, from, get(c)});
    line("selp.b64", {out, "1", "0", p});
    put(a, out);
  };
  const auto divisor_is_zero = [&](const std::string& by) {
    const std::string p = test();
    line("setp.eq.u64", {p, by, "0"});
    again_if(p);
  };
  switch (it.op) {
    case Op::move: put(a, get(b)); break;
    case Op::move_w:
    case Op::move_many: {
      // What is read last may be what is written first.
      const std::uint32_t count = it.op == Op::move_w ? 2 : it.c;
      std::vector<std::string> words_read;
      for (std::uint32_t i = 0; i < count; ++i) {
        words_read.push_back(temp());
        line("mov.b64", {words_read.back(), get(b + i)});
      }
      for (std::uint32_t i = 0; i < count; ++i) put(a + i, words_read[i]);
      break;
    }
    case Op::clear:
      for (std::uint32_t i = 0; i < it.c; ++i) put(a + i, "0");
      break;
    case Op::call: break;
    case Op::leave:
      if (place.first != 0) break;
      charge();
      line("st.param.b64", {"[end+0]", reg(0)});
      line("st.param.b64", {"[end+8]", "%fuel"});
      line("mov.b64", {"%last", number(place.second)});
      line("st.param.b64", {"[end+16]", "%last"});
      piece_ += "\tret;\n";
      return false;
    case Op::panic:
    case Op::fuel_end: again(); return false;
    case Op::require:
      if (const auto known = known_.at(a)) {
        if (*known != 0) break;
        again();
        return false;
      }
      divisor_is_zero(reg(a));
      break;

    case Op::add: two("add.u64"); break;
    case Op::sub: two("sub.u64"); break;
    case Op::mul: two("mul.lo.u64"); break;
    case Op::div_u:
    case Op::rem_u: {
      const auto by = known_.at(c);
      const std::string x = reg(b);
      if (by && *by != 0) {
        const std::string q = quotient(x, *by);
        put(a, it.op == Op::div_u ? q : made("sub.u64", x, made("mul.lo.u64", q, number(*by))));
        break;
      }
      const std::string y = reg(c);
      divisor_is_zero(y);
      put(a, made(it.op == Op::div_u ? "div.u64" : "rem.u64", x, y));
      break;
    }
    case Op::div_s:
    case Op::rem_s: {
      const std::string x = reg(b);
      const std::string y = reg(c);
      divisor_is_zero(y);
      const std::string p = test();
      line("setp.eq.u64", {p, y, number(~std::uint64_t{0})});
      line("setp.eq.and.u64", {p, x, number(std::uint64_t{1} << 63), p});
      again_if(p);
      put(a, made(it.op == Op::div_s ? "div.s64" : "rem.s64", x, y));
      break;
    }
    case Op::div_i:
    case Op::rem_i: {
      const std::string x = reg(b);
      const std::string q = quotient(x, it.c);
      put(a, it.op == Op::div_i ? q : made("sub.u64", x, made("mul.lo.u64", q, number(it.c))));
      break;
    }
    case Op::bit_and: two("and.b64"); break;
    case Op::bit_or: two("or.b64"); break;
    case Op::bit_xor: two("xor.b64"); break;
    case Op::shift_left: shift("shl.b64"); break;
    case Op::shift_right_u: shift("shr.u64"); break;
    case Op::shift_right_s: shift("shr.s64"); break;
    case Op::add_i: immediate("add.u64"); break;
    case Op::sub_i: immediate("sub.u64"); break;
    case Op::mul_i: immediate("mul.lo.u64"); break;
    case Op::and_i: immediate("and.b64"); break;
    case Op::shift_left_i: put(a, made("shl.b64", get(b), number(it.c & 63U))); break;
    case Op::shift_right_i: put(a, made("shr.u64", get(b), number(it.c & 63U))); break;
    case Op::eq: truth("setp.eq.u64"); break;
    case Op::ne: truth("setp.ne.u64"); break;
    case Op::lt_u: truth("setp.lt.u64"); break;
    case Op::le_u: truth("setp.le.u64"); break;
    case Op::lt_s: truth("setp.lt.s64"); break;
    case Op::le_s: truth("setp.le.s64"); break;
    case Op::min_u: two("min.u64"); break;
    case Op::max_u: two("max.u64"); break;
    case Op::min_s: two("min.s64"); break;
    case Op::max_s: two("max.s64"); break;
    case Op::sub_saturating: {
      const std::string x = reg(b);
      const std::string y = get(c);
      const std::string p = test();
      const std::string out = temp();
      line("setp.gt.u64", {p, x, y});
      line("selp.b64", {out, made("sub.u64", x, y), "0", p});
      put(a, out);
      break;
    }
    case Op::bit_not: put(a, made("xor.b64", get(b), "-1")); break;
    case Op::bool_not: put(a, made("xor.b64", get(b), "1")); break;
    case Op::negate: put(a, made("sub.u64", "0", get(b))); break;
    case Op::zero_8: put(a, made("and.b64", get(b), number(0xffU))); break;
    case Op::zero_16: put(a, made("and.b64", get(b), number(0xffffU))); break;
    case Op::zero_32: put(a, made("and.b64", get(b), number(0xffffffffU))); break;
    case Op::sign_8: put(a, made("shr.s64", made("shl.b64", get(b), "56"), "56")); break;
    case Op::sign_16: put(a, made("shr.s64", made("shl.b64", get(b), "48"), "48")); break;
    case Op::sign_32: put(a, made("shr.s64", made("shl.b64", get(b), "32"), "32")); break;

    case Op::bound: {
      const auto at = known_.at(a);
      const auto size = known_.at(b);
      if (at && size && *at < *size) break;
      const std::string from = reg(a);
      const std::string p = test();
      line("setp.ge.u64", {p, from, get(b)});
      again_if(p);
      break;
    }
    case Op::range: {
      const auto first = known_.at(a);
      const auto last = known_.at(b);
      const auto size = known_.at(c);
      const std::string p = test();
      if (!(first && last && *first <= *last)) {
        line("setp.gt.u64", {p, reg(a), get(b)});
        again_if(p);
      }
      if (!(last && size && *last <= *size)) {
        line("setp.gt.u64", {p, reg(b), get(c)});
        again_if(p);
      }
      break;
    }
    case Op::index_address: {
      const auto index = known_.at(c);
      const auto size = known_.at(b + 1);
      const std::string at = reg(c);
      if (!(index && size && *index < *size)) {
        const std::string p = test();
        line("setp.ge.u64", {p, at, get(b + 1)});
        again_if(p);
      }
      put(a, made("add.u64", made("mul.lo.u64", at, number(long_operand(*next_word(place)))), get(b)));
      break;
    }
    case Op::integer: rare(it, *next_word(place), frame); break;
    case Op::load_8:
    case Op::load_16:
    case Op::load_32:
    case Op::load_64:
    case Op::load_many:
    case Op::store_8:
    case Op::store_16:
    case Op::store_32:
    case Op::store_64:
    case Op::store_many:
    case Op::copy:
    case Op::fill_8:
    case Op::fill_slots:
    case Op::index_8: memory_one(it, frame); break;
    default:
      if (it.op >= Op::add_w && it.op <= Op::widen_s)
        wide_one(it, frame);
      else
        real_one(it, frame);
  }
  return true;
}

}  // namespace calyx::strategy::ptx
