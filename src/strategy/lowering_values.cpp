#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::into_kind(Index expr, Slot to) {
  const Position where = at(expr).at;
  const Index result = type_of(expr);
  switch (at(expr).kind) {
    case ExprKind::integer: {
      const Number n = number(result);
      if (n.real) refuse("type_mismatch", where, "expected `f64`, found an integer");
      const Wide limit = n.bits == 128
                             ? (n.is_signed ? (Wide{1} << 127) : ~Wide{0})
                             : (Wide{1} << (n.is_signed ? n.bits - 1 : n.bits)) - (n.is_signed ? 0 : 1);
      if (at(expr).number > limit)
        refuse("type_mismatch", where, "the number does not fit into `" + c_.text(result) + "`");
      if (n.wide())
        load_wide(to, at(expr).number);
      else
        load(to, static_cast<std::uint64_t>(at(expr).number));
      return;
    }
    case ExprKind::real: load(to, kernels::math::bits_of(at(expr).real)); return;
    case ExprKind::boolean: load(to, at(expr).flag ? 1 : 0); return;
    case ExprKind::text: {
      const std::string bytes = at(expr).name;
      emit_long(Op::address_constant, to, all_.place_bytes(bytes.data(), bytes.size()));
      if (!at(expr).flag) load(to + 1, bytes.size());
      return;
    }
    case ExprKind::path: path(expr, to); return;
    case ExprKind::field:
    case ExprKind::dereference: load_place(place(expr), result, to); return;
    case ExprKind::index: {
      const Index base = at(expr).kids[0];
      const std::uint32_t peeled = at(expr).peeled;
      const Index base_type = peeled_type(type_of(base), peeled);
      if (at(at(expr).kids[1]).kind != ExprKind::range && c_.stride(type(base_type).args[0]) == 1) {
        const Slot pair = receiver_slice(base, peeled);
        const Slot index = value(at(expr).kids[1]);
        here_ = where;
        emit(Op::index_8, to, pair, index);
        return;
      }
      load_place(place(expr), result, to);
      return;
    }
    case ExprKind::unary: {
      const Slot inner = value_peeled(at(expr).kids[0], at(expr).peeled);
      const Number n = number(result);
      here_ = where;
      if (at(expr).op == "-") {
        emit(n.real ? Op::negate_f : n.wide() ? Op::negate_w : Op::negate, to, inner);
      } else {
        emit(n.truth ? Op::bool_not : n.wide() ? Op::not_w : Op::bit_not, to, inner);
      }
      if (!n.real && !n.truth && n.bits < 64) narrow(n, to, to);
      return;
    }
    case ExprKind::logical: {
      Label no;
      Label done;
      condition(expr, false, no);
      load(to, 1);
      jump_to(done, Op::jump);
      place_label(no);
      load(to, 0);
      place_label(done);
      return;
    }
    case ExprKind::let_condition:
      refuse("unsupported", where, "`let` is a condition of `if` or `while` only");
    case ExprKind::binary: {
      const std::string op = at(expr).op;
      const Index left_expr = at(expr).kids[0];
      const Index right_expr = at(expr).kids[1];
      const bool compares = op == "==" || op == "!=" || op == "<" || op == ">" || op == "<=" || op == ">=";
      const Number n = number(operand_type(left_expr));
      if (!compares) {
        if (const auto known = constant_value(expr)) {
          if (n.wide())
            load_wide(to, *known);
          else
            load(to, static_cast<std::uint64_t>(*known));
          return;
        }
        if (op == "*" && n.wide() && !n.is_signed) {
          const Index left = widened(left_expr);
          const Index right = widened(right_expr);
          if (left != none && right != none) {
            const Slot a = value_before(left, right);
            const Slot b = value(right);
            here_ = where;
            emit(Op::mul_wide, to, a, b);
            return;
          }
        }
      }
      Slot left = operand(left_expr);
      if (at(right_expr).effects) left = copied(left, c_.slots(operand_type(left_expr)));
      if (compares) {
        const Slot right = operand(right_expr);
        here_ = where;
        compare(op, operand_type(left_expr), to, left, right);
        return;
      }
      here_ = where;
      arithmetic(op, n, to, left, right_expr);
      return;
    }
    case ExprKind::assign: {
      const Index target = at(expr).kids[0];
      const Index source = at(expr).kids[1];
      const Slot mark = top_;
      if (at(target).kind == ExprKind::tuple) {
        Slot offset = value(source);
        for (const Index part : std::vector<Index>(at(target).kids)) {
          const Slot slots = c_.slots(type_of(part));
          if (at(part).name != "_" || at(part).kind != ExprKind::path)
            store_place(place(part), type_of(part), offset);
          offset += slots;
        }
        top_ = mark;
        return;
      }
      if (at(target).kind == ExprKind::path && at(target).name == "_") {
        value(source);
        return;
      }
      if (at(target).kind == ExprKind::path && at(target).meaning == Meaning::local &&
          c_.slots(type_of(target)) <= 1) {
        const Place place_here = place(target);
        into(source, place_here.slot);
      } else {
        const Slot slot = alloc(c_.slots(type_of(target)));
        into(source, slot);
        store_place(place(target), type_of(target), slot);
      }
      return;
    }
    case ExprKind::assign_op: {
      const Index target = at(expr).kids[0];
      const Index source = at(expr).kids[1];
      const Number n = number(type_of(target));
      const std::string op = at(expr).op;
      if (at(target).kind == ExprKind::path && !at(source).effects) {
        const Place here = place(target);
        here_ = where;
        if (!here.memory) {
          arithmetic(op, n, here.slot, here.slot, source);
          return;
        }
      }
      // The right side is computed first.
      Slot right = operand(source);
      if (!at(source).effects) right = copied(right, c_.slots(operand_type(source)));
      const Place there = place(target);
      const Slot slot = alloc(c_.slots(type_of(target)));
      load_place(there, type_of(target), slot);
      here_ = where;
      arithmetic_slots(op, n, slot, slot, right);
      store_place(there, type_of(target), slot);
      return;
    }
    case ExprKind::call: call(expr, to); return;
    case ExprKind::method: method(expr, to); return;
    case ExprKind::range: refuse("unsupported", where, "a range is for an index or a `for` only");
    case ExprKind::borrow: {
      const Index inner = at(expr).kids[0];
      const Kind found = kind(type_of(inner));
      if (found == Kind::slice || found == Kind::text) {
        move(to, unsized_value(inner), 2);
        return;
      }
      const Slot address = address_of(place(inner));
      move(to, address, 1);
      return;
    }
    case ExprKind::cast: cast(expr, to); return;
    case ExprKind::condition: {
      Label no;
      Label done;
      const Slot mark = top_;
      condition(at(expr).kids[0], false, no);
      into(at(expr).kids[1], to);
      if (at(expr).kids.size() == 3) {
        jump_to(done, Op::jump);
        place_label(no);
        into(at(expr).kids[2], to);
      } else {
        place_label(no);
      }
      place_label(done);
      top_ = mark;
      return;
    }
    case ExprKind::match: {
      const Index subject = at(expr).kids[0];
      const Slot mark = top_;
      Label done;
      const Place from = place(subject);
      const std::size_t count = at(expr).arms.size();
      for (std::size_t i = 0; i < count; ++i) {
        const MatchArm arm = at(expr).arms[i];
        Label next;
        match(arm.pattern, type_of(subject), from, &next);
        if (arm.guard != none) condition(arm.guard, false, next);
        into(arm.body, to);
        jump_to(done, Op::jump);
        place_label(next);
      }
      // A match that leaves something out is refused by Rust; here it ends the call.
      here_ = where;
      panic(Ending::panic_explicit);
      place_label(done);
      top_ = mark;
      return;
    }
    case ExprKind::block: block(expr, to); return;
    case ExprKind::endless:
    case ExprKind::loop_while: {
      const Slot mark = top_;
      Label begin;
      loops_.push_back({at(expr).name, to, c_.slots(result), {}, {}});
      const std::size_t loop = loops_.size() - 1;
      place_label(begin);
      if (at(expr).kind == ExprKind::loop_while) {
        Label out;
        condition(at(expr).kids[0], false, out);
        statement(at(expr).kids[1]);
        place_label(loops_[loop].next);
        jump_to(begin, Op::jump);
        place_label(out);
      } else {
        statement(at(expr).kids[0]);
        place_label(loops_[loop].next);
        jump_to(begin, Op::jump);
      }
      place_label(loops_[loop].out);
      loops_.pop_back();
      top_ = mark;
      return;
    }
    case ExprKind::loop_for: loop_for(expr); return;
    case ExprKind::leave_loop: {
      Loop& loop = loop_named(at(expr).name);
      if (!at(expr).kids.empty()) into(at(expr).kids[0], loop.to);
      jump_to(loop_named(at(expr).name).out, Op::jump);
      return;
    }
    case ExprKind::next_turn: jump_to(loop_named(at(expr).name).next, Op::jump); return;
    case ExprKind::give_back:
      if (!at(expr).kids.empty()) into(at(expr).kids[0], result_);
      jump_to(end_, Op::jump);
      return;
    case ExprKind::tuple: {
      Slot offset = to;
      for (std::size_t i = 0; i < at(expr).kids.size(); ++i) {
        const Index kid = at(expr).kids[i];
        into(kid, offset);
        offset += c_.slots(type(result).args[i]);
      }
      return;
    }
    case ExprKind::array: {
      const Index element = type(result).args[0];
      const std::uint32_t stride = c_.stride(element);
      if (stride % 8 == 0) {
        for (std::size_t i = 0; i < at(expr).kids.size(); ++i)
          into(at(expr).kids[i], to + static_cast<Slot>(i) * (stride / 8));
        return;
      }
      if (c_.slots(result) != 0) emit(Op::clear, to, 0, c_.slots(result));
      const Slot address = alloc(1);
      emit(Op::address, address, to);
      const Slot mark = top_;
      for (std::size_t i = 0; i < at(expr).kids.size(); ++i) {
        top_ = mark;
        const Slot slot = value(at(expr).kids[i]);
        store_place({true, false, address, static_cast<std::uint32_t>(i) * stride}, element, slot);
      }
      return;
    }
    case ExprKind::array_repeat: repeat(expr, to); return;
    case ExprKind::structure: {
      const Index structure = at(expr).target;
      if (at(expr).flag) into(at(expr).kids.back(), to);
      for (std::size_t i = 0; i < at(expr).fields.size(); ++i) {
        Index field_type = none;
        const Index field = c_.structure_field(result, at(expr).fields[i], field_type);
        const Index kid = at(expr).kids[i];
        if (c_.field_is_read(structure, field))
          into(kid, to + field_offset(result, field));
        else
          value(kid);
      }
      return;
    }
    case ExprKind::attempt: {
      const Index inner = at(expr).kids[0];
      const Slot slot = value(inner);
      Label good;
      here_ = where;
      jump_to(good, Op::jump_if, slot);
      emit(Op::clear, result_, 0, c_.slots(body_->result));
      if (kind(type_of(inner)) == Kind::result)
        move(result_ + 1, slot + 1, c_.slots(type(type_of(inner)).args[1]));
      jump_to(end_, Op::jump);
      place_label(good);
      move(to, slot + 1, c_.slots(result));
      return;
    }
    case ExprKind::macro: macro(expr, to); return;
  }
}

void BodyLowering::path(Index expr, Slot to) {
  const Expr& node = at(expr);
  const Index result = type_of(expr);
  switch (node.meaning) {
    case Meaning::local: move(to, place(expr).slot, c_.slots(result)); return;
    case Meaning::constant: {
      if (c_.slots(result) > 2) {
        load_place(place(expr), result, to);
        return;
      }
      const std::vector<std::uint64_t> words = all_.constant(node.target, node.at);
      if (words.size() == 2)
        load_wide(to, words[0] | static_cast<Wide>(words[1]) << 64);
      else if (words.size() == 1)
        load(to, words[0]);
      return;
    }
    case Meaning::variant:
      if (c_.slots(result) > 1) emit(Op::clear, to, 0, c_.slots(result));
      load(to, node.variant);
      return;
    case Meaning::number: {
      const Number n = number(result);
      if (n.real)
        load(to, kernels::math::bits_of(node.real));
      else if (n.wide())
        load_wide(to, node.number);
      else
        load(to, static_cast<std::uint64_t>(node.number));
      return;
    }
    default: refuse("unsupported", node.at, "`" + node.name + "` is not a value");
  }
}

void BodyLowering::repeat(Index expr, Slot to) {
  const Index result = type_of(expr);
  const Index element = type(result).args[0];
  const Index kid = at(expr).kids[0];
  const Slot slots = c_.slots(result);
  const Slot mark = top_;
  const Slot first = value(kid);
  if (slots == 0) return;
  const bool zero = (at(kid).kind == ExprKind::integer && at(kid).number == 0) ||
                    (at(kid).kind == ExprKind::boolean && !at(kid).flag) ||
                    (at(kid).kind == ExprKind::real && kernels::math::bits_of(at(kid).real) == 0);
  const std::uint32_t stride = c_.stride(element);
  if (zero || stride == 1 || stride == 2 || stride == 4) emit(Op::clear, to, 0, slots);
  if (!zero) {
    const Slot address = alloc(1);
    emit(Op::address, address, to);
    fill(address, first, element, loaded(type(result).length));
  }
  top_ = mark;
}

void BodyLowering::fill(Slot address, Slot first, Index element, Slot count) {
  const std::uint32_t stride = c_.stride(element);
  if (stride == 1) {
    emit(Op::fill_8, address, first, count);
    return;
  }
  if (stride % 8 == 0) {
    const Slot pair = alloc(2);
    move(pair, count, 1);
    load(pair + 1, stride / 8);
    emit(Op::fill_slots, address, first, pair);
    return;
  }
  const Slot index = loaded(0);
  const Slot there = copied(address, 1);
  Label begin;
  Label out;
  place_label(begin);
  jump_to(out, Op::jump_le_u, count, index);
  store_place({true, false, there, 0}, element, first);
  emit(Op::add_i, there, there, stride);
  emit(Op::add_i, index, index, 1);
  jump_to(begin, Op::jump);
  place_label(out);
}

void BodyLowering::cast(Index expr, Slot to) {
  const Index inner = at(expr).kids[0];
  const Index result = type_of(expr);
  if (const auto known = constant_value(expr)) {
    if (number(result).wide())
      load_wide(to, *known);
    else
      load(to, static_cast<std::uint64_t>(*known));
    return;
  }
  const Slot from = value(inner);
  here_ = at(expr).at;
  const Type source = type(type_of(inner));
  if (source.kind == Kind::enumeration) {
    // Numbers of their own are looked up one by one.
    const std::size_t count = c_.tree().enumerations[source.item].variants.size();
    Label done;
    const Slot value_slot = alloc(1);
    for (Index i = 0; i < count; ++i) {
      Label next;
      jump_to(next, Op::jump_ne_i, from, i);
      load(value_slot, static_cast<std::uint64_t>(c_.variant_number(source.item, i)));
      jump_to(done, Op::jump);
      place_label(next);
    }
    place_label(done);
    Number signed_one;
    signed_one.bits = 64;
    signed_one.is_signed = true;
    convert(signed_one, number(result), to, value_slot);
    return;
  }
  convert(number(type_of(inner)), number(result), to, from);
}

void BodyLowering::convert(const Number& from, const Number& n, Slot to, Slot slot) {
  if (n.real) {
    if (from.real)
      move(to, slot, 1);
    else if (from.wide())
      emit(from.is_signed ? Op::sw_to_double : Op::uw_to_double, to, slot);
    else
      emit(from.is_signed ? Op::s_to_double : Op::u_to_double, to, slot);
  } else if (from.real) {
    if (n.wide())
      emit(n.is_signed ? Op::double_to_sw : Op::double_to_uw, to, slot);
    else
      emit(n.is_signed ? Op::double_to_s : Op::double_to_u, to, slot, n.bits);
  } else if (n.wide()) {
    if (from.wide())
      move(to, slot, 2);
    else
      emit(from.is_signed ? Op::widen_s : Op::widen_u, to, slot);
  } else {
    narrow(n, to, slot);
  }
}

}  // namespace calyx::strategy::lowering
