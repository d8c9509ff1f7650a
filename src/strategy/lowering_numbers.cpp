#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

std::optional<Wide> BodyLowering::constant_value(Index expr) {
  const Expr& node = at(expr);
  if (node.kind == ExprKind::integer) {
    if (kind(node.type) == Kind::integer && node.number > largest(type(node.type).integer))
      return std::nullopt;
    return node.number;
  }
  if (kind(type_of(expr)) != Kind::integer) return std::nullopt;
  const Integer integer = type(type_of(expr)).integer;
  if (is_signed(integer)) return std::nullopt;
  if (node.kind == ExprKind::path && node.meaning == Meaning::number) return node.number;
  if (node.kind == ExprKind::path && node.meaning == Meaning::constant) {
    const auto& value = all_.constant(node.target, node.at);
    return value[0] | (value.size() > 1 ? static_cast<Wide>(value[1]) << 64 : Wide{0});
  }
  if (node.kind == ExprKind::cast) {
    const auto inner = constant_value(node.kids[0]);
    if (inner && *inner <= largest(integer)) return inner;
    return std::nullopt;
  }
  if (node.kind == ExprKind::binary && (node.op == "+" || node.op == "-" || node.op == "*")) {
    const std::string op = node.op;
    const Index right_expr = node.kids[1];
    const auto left = constant_value(node.kids[0]);
    if (!left) return std::nullopt;
    const auto right = constant_value(right_expr);
    if (!right || *left >> 63 != 0 || *right >> 63 != 0) return std::nullopt;
    if (op == "-" && *left < *right) return std::nullopt;
    const Wide result = op == "+" ? *left + *right : op == "-" ? *left - *right : *left * *right;
    if (result > largest(integer)) return std::nullopt;
    return result;
  }
  return std::nullopt;
}

Slot BodyLowering::value(Index expr) {
  const Expr& node = at(expr);
  if (node.unsized_from == none) {
    if (node.kind == ExprKind::path && node.meaning == Meaning::local) return place(expr).slot;
    if (node.kind == ExprKind::field) {
      const Place from = place(expr);
      if (!from.memory) return from.slot;
      const Slot slot = alloc(c_.slots(type_of(expr)));
      load_place(from, type_of(expr), slot);
      return slot;
    }
    if (node.kind == ExprKind::index && at(node.kids[1]).kind != ExprKind::range && node.peeled == 0 &&
        c_.stride(type_of(expr)) % 8 == 0 && constant_value(node.kids[1])) {
      const Place from = place(expr);
      if (!from.memory) return from.slot;
      const Slot slot = alloc(c_.slots(type_of(expr)));
      load_place(from, type_of(expr), slot);
      return slot;
    }
    // A cast that keeps the low 64 bits changes nothing.
    if (node.kind == ExprKind::cast && kind(type_of(expr)) == Kind::integer &&
        bits_of(type(type_of(expr)).integer) == 64 && kind(type_of(node.kids[0])) == Kind::integer &&
        !constant_value(expr))
      return value(node.kids[0]);
    if (node.kind == ExprKind::block && node.statements.empty() && !node.kids.empty())
      return value(node.kids[0]);
  }
  const Slot slot = alloc(c_.slots(type_of(expr)) + (node.unsized_from == none ? 0 : 1));
  into(expr, slot);
  return slot;
}

BodyLowering::Number BodyLowering::number(Index type_index) {
  const Type& found = type(type_index);
  Number made;
  if (found.kind == Kind::integer) {
    made.bits = bits_of(found.integer);
    made.is_signed = is_signed(found.integer);
  } else if (found.kind == Kind::real || (found.kind == Kind::variable && found.wanted == Wanted::real)) {
    made.real = true;
    made.bits = 64;
  } else if (found.kind == Kind::boolean) {
    made.truth = true;
    made.bits = 64;
  } else {
    // An integer that nothing decided is an i32.
    made.is_signed = true;
  }
  return made;
}

void BodyLowering::narrow(const Number& n, Slot slot, Slot from) {
  if (n.real || n.truth || n.bits >= 64) {
    move(slot, from, 1);
    return;
  }
  const Op op = n.is_signed ? (n.bits == 8    ? Op::sign_8
                               : n.bits == 16 ? Op::sign_16
                                              : Op::sign_32)
                            : (n.bits == 8    ? Op::zero_8
                               : n.bits == 16 ? Op::zero_16
                                              : Op::zero_32);
  emit(op, slot, from);
}

void BodyLowering::arithmetic(const std::string& op, const Number& n, Slot to, Slot left, Index right_expr) {
  const Position where = here_;
  const auto known = n.real ? std::nullopt : constant_value(right_expr);
  if (known && *known < 0x10000 && !n.truth && (n.wide() || n.bits == 64 || !n.is_signed)) {
    const auto small = static_cast<std::uint32_t>(*known);
    Op quick = Op::fuel_end;
    if (n.wide()) {
      if (op == "+")
        quick = Op::add_wi;
      else if (op == "-")
        quick = Op::sub_wi;
      else if (op == "*")
        quick = Op::mul_wi;
      else if (op == "/" && !n.is_signed && small != 0)
        quick = Op::div_wi;
      else if (op == "%" && !n.is_signed && small != 0)
        quick = Op::rem_wi;
    } else {
      if (op == "+")
        quick = Op::add_i;
      else if (op == "-")
        quick = Op::sub_i;
      else if (op == "*")
        quick = Op::mul_i;
      else if (op == "/" && !n.is_signed && small != 0)
        quick = Op::div_i;
      else if (op == "%" && !n.is_signed && small != 0)
        quick = Op::rem_i;
      else if (op == "&")
        quick = Op::and_i;
      else if (op == "<<" && small < n.bits)
        quick = Op::shift_left_i;
      else if (op == ">>" && small < n.bits && !n.is_signed)
        quick = Op::shift_right_i;
    }
    if (quick != Op::fuel_end) {
      emit(quick, to, left, small);
      if (!n.wide() && n.bits < 64) narrow(n, to, to);
      return;
    }
  }
  const Slot right = operand(right_expr);
  here_ = where;
  arithmetic_slots(op, n, to, left, right);
}

void BodyLowering::arithmetic_slots(const std::string& op, const Number& n, Slot to, Slot left, Slot right) {
  if (n.real) {
    emit(op == "+"   ? Op::add_f
         : op == "-" ? Op::sub_f
         : op == "*" ? Op::mul_f
         : op == "/" ? Op::div_f
                     : Op::rem_f,
         to, left, right);
    return;
  }
  if (op == "&" || op == "|" || op == "^") {
    if (n.wide())
      emit(op == "&" ? Op::and_w : op == "|" ? Op::or_w : Op::xor_w, to, left, right);
    else
      emit(op == "&" ? Op::bit_and : op == "|" ? Op::bit_or : Op::bit_xor, to, left, right);
    return;
  }
  if (op == "<<" || op == ">>") {
    Slot count = right;
    if (n.bits < 64) {
      count = alloc(1);
      emit(Op::and_i, count, right, n.bits - 1);
    }
    if (n.wide())
      emit(op == "<<"    ? Op::shift_left_w
           : n.is_signed ? Op::shift_right_sw
                         : Op::shift_right_uw,
           to, left, count);
    else
      emit(op == "<<"    ? Op::shift_left
           : n.is_signed ? Op::shift_right_s
                         : Op::shift_right_u,
           to, left, count);
    if (op == "<<" && n.bits < 64) narrow(n, to, to);
    return;
  }
  if ((op == "/" || op == "%") && n.is_signed && n.bits < 64) {
    // The one quotient that does not fit ends the call, as with the wide types.
    const Slot option = alloc(2);
    rare(op == "/" ? Rare::div : Rare::rem, Mode::checked, n.code(), option, left, right);
    emit(Op::require, option, static_cast<Slot>(Ending::panic_divide));
    move(to, option + 1, 1);
    return;
  }
  if (n.wide()) {
    emit(op == "+"   ? Op::add_w
         : op == "-" ? Op::sub_w
         : op == "*" ? Op::mul_w
         : op == "/" ? (n.is_signed ? Op::div_sw : Op::div_uw)
                     : (n.is_signed ? Op::rem_sw : Op::rem_uw),
         to, left, right);
    return;
  }
  emit(op == "+"   ? Op::add
       : op == "-" ? Op::sub
       : op == "*" ? Op::mul
       : op == "/" ? (n.is_signed ? Op::div_s : Op::div_u)
                   : (n.is_signed ? Op::rem_s : Op::rem_u),
       to, left, right);
  if (n.bits < 64 && op != "/" && op != "%") narrow(n, to, to);
}

void BodyLowering::equal(Index type_index, Slot to, Slot left, Slot right) {
  const Type found = type(type_index);
  if (found.kind == Kind::tuple || found.kind == Kind::option) {
    Label differ;
    Label done;
    Slot offset = 0;
    if (found.kind == Kind::option) {
      jump_to(differ, Op::jump_ne, left, right);
      load(to, 1);
      jump_to(done, Op::jump_eq_i, left, 0);
      offset = 1;
    }
    const Slot part = alloc(1);
    for (const Index kid : found.args) {
      equal(kid, part, left + offset, right + offset);
      jump_to(differ, Op::jump_unless, part);
      offset += c_.slots(kid);
    }
    load(to, 1);
    jump_to(done, Op::jump);
    place_label(differ);
    load(to, 0);
    place_label(done);
    return;
  }
  const Number n = number(type_index);
  if (found.kind == Kind::enumeration)
    emit(Op::eq, to, left, right);
  else
    emit(n.real ? Op::eq_f : n.wide() ? Op::eq_w : Op::eq, to, left, right);
}

void BodyLowering::compare(const std::string& op, Index type_index, Slot to, Slot left, Slot right) {
  const Number n = number(type_index);
  if (op == "==" || op == "!=") {
    const Kind found = kind(type_index);
    if (found == Kind::tuple || found == Kind::option || found == Kind::enumeration) {
      equal(type_index, to, left, right);
      if (op == "!=") emit(Op::bool_not, to, to);
      return;
    }
    if (op == "==")
      emit(n.real ? Op::eq_f : n.wide() ? Op::eq_w : Op::eq, to, left, right);
    else
      emit(n.real ? Op::ne_f : n.wide() ? Op::ne_w : Op::ne, to, left, right);
    return;
  }
  const bool turned = op == ">" || op == ">=";
  const bool strict = op == "<" || op == ">";
  Op made = Op::lt_u;
  if (n.real)
    made = strict ? Op::lt_f : Op::le_f;
  else if (n.wide())
    made = n.is_signed ? (strict ? Op::lt_sw : Op::le_sw) : (strict ? Op::lt_uw : Op::le_uw);
  else
    made = n.is_signed ? (strict ? Op::lt_s : Op::le_s) : (strict ? Op::lt_u : Op::le_u);
  emit(made, to, turned ? right : left, turned ? left : right);
}

void BodyLowering::condition(Index expr, bool when, Label& label) {
  here_ = at(expr).at;
  const ExprKind expr_kind = at(expr).kind;
  if (expr_kind == ExprKind::let_condition) {
    const Index subject = at(expr).kids[0];
    const Place from = place(subject);
    match(at(expr).pattern, type_of(subject), from, &label);
    return;
  }
  if (expr_kind == ExprKind::unary && at(expr).op == "!" && at(expr).peeled == 0) {
    condition(at(expr).kids[0], !when, label);
    return;
  }
  if (expr_kind == ExprKind::logical) {
    const Index left = at(expr).kids[0];
    const Index right = at(expr).kids[1];
    const bool both = at(expr).op == "&&";
    if (both == when) {
      Label past;
      condition(left, !when, past);
      condition(right, when, label);
      place_label(past);
    } else {
      condition(left, when, label);
      condition(right, when, label);
    }
    return;
  }
  if (expr_kind == ExprKind::binary) {
    const std::string op = at(expr).op;
    const Index left_expr = at(expr).kids[0];
    const Index right_expr = at(expr).kids[1];
    const bool compares = op == "==" || op == "!=" || op == "<" || op == ">" || op == "<=" || op == ">=";
    if (compares) {
      const Index operands = operand_type(left_expr);
      const Number n = number(operands);
      const Kind found = kind(operands);
      const bool plain =
          (found == Kind::integer || found == Kind::variable || found == Kind::boolean) && !n.real;
      const bool equality = op == "==" || op == "!=";
      const auto known = plain ? constant_value(right_expr) : std::nullopt;
      if (plain && equality && known && (n.wide() ? *known == 0 : *known < 0x10000)) {
        const Slot left = operand(left_expr);
        here_ = at(expr).at;
        const bool on_equal = (op == "==") == when;
        if (n.wide())
          jump_to(label, on_equal ? Op::jump_zero_w : Op::jump_not_zero_w, left);
        else
          jump_to(label, on_equal ? Op::jump_eq_i : Op::jump_ne_i, left, static_cast<Slot>(*known));
        return;
      }
      if (plain && !n.wide()) {
        Slot left = operand(left_expr);
        if (at(right_expr).effects) left = copied(left, 1);
        Slot right = operand(right_expr);
        here_ = at(expr).at;
        if (equality) {
          jump_to(label, (op == "==") == when ? Op::jump_eq : Op::jump_ne, left, right);
          return;
        }
        bool strict = op == "<" || op == ">";
        bool turned = op == ">" || op == ">=";
        if (!when) {
          // Not (a < b) is b <= a.
          turned = !turned;
          strict = !strict;
        }
        if (turned) std::swap(left, right);
        jump_to(
            label,
            n.is_signed ? (strict ? Op::jump_lt_s : Op::jump_le_s) : (strict ? Op::jump_lt_u : Op::jump_le_u),
            left, right);
        return;
      }
    }
  }
  const Slot truth = value(expr);
  jump_to(label, when ? Op::jump_if : Op::jump_unless, truth);
}

}  // namespace calyx::strategy::lowering
