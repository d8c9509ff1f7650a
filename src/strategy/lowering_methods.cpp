#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::method(Index expr, Slot to) {
  const Position where = at(expr).at;
  const std::string name = at(expr).name;
  const std::vector<Index> kids = at(expr).kids;
  const Index result = type_of(expr);
  const Index self_expr = kids[0];
  const std::uint32_t peeled = at(expr).peeled;
  if (at(expr).meaning == Meaning::function) {
    call_function(expr, to, true);
    return;
  }
  const Index self = peeled_type(type_of(self_expr), peeled);
  const auto self_value = [&] {
    Slot slot = value_peeled(self_expr, peeled);
    for (std::size_t i = 1; i < kids.size(); ++i)
      if (at(kids[i]).effects) {
        slot = copied(slot, c_.slots(self));
        break;
      }
    return slot;
  };
  if (name == "clone") {
    load_place(place_peeled(self_expr, peeled), self, to);
    return;
  }
  const Kind self_kind = kind(self);
  if (self_kind == Kind::integer || self_kind == Kind::variable) {
    integer_method_into(expr, to, self_value());
    return;
  }
  if (self_kind == Kind::real) {
    const Slot left = self_value();
    here_ = where;
    if (name == "powf" || name == "powi") {
      const Slot right = value(kids[1]);
      here_ = where;
      emit(name == "powf" ? Op::power_f : Op::power_i, to, left, right);
    } else if (name == "mul_add") {
      const Slot pair = alloc(2);
      move(pair, left, 1);
      into(kids[1], pair + 1);
      const Slot third = value(kids[2]);
      emit(Op::fused_f, to, pair, third);
    } else if (name == "clamp") {
      const Slot low = alloc(1);
      const Slot high = alloc(1);
      const Slot kept = copied(left, 1);
      into(kids[1], low);
      into(kids[2], high);
      here_ = where;
      const Slot truth = alloc(1);
      emit(Op::le_f, truth, low, high);
      emit(Op::require, truth, static_cast<Slot>(Ending::panic_argument));
      // What is not a number stays so.
      Label done;
      Label not_less;
      move(to, kept, 1);
      emit(Op::lt_f, truth, kept, low);
      jump_to(not_less, Op::jump_unless, truth);
      move(to, low, 1);
      place_label(not_less);
      emit(Op::lt_f, truth, high, kept);
      jump_to(done, Op::jump_unless, truth);
      move(to, high, 1);
      place_label(done);
    } else if (name == "recip") {
      const Slot one = loaded(kernels::math::bits_of(1.0));
      emit(Op::div_f, to, one, left);
    } else if (name == "is_nan") {
      emit(Op::ne_f, to, left, left);
    } else if (name == "is_finite" || name == "is_infinite") {
      const Slot size = alloc(1);
      emit(Op::function_f, size, left, static_cast<Slot>(RealFunction::absolute));
      const Slot limit = loaded(kernels::math::bits_of(kernels::math::infinity));
      emit(name == "is_finite" ? Op::lt_f : Op::eq_f, to, size, limit);
    } else if (name == "is_sign_negative" || name == "is_sign_positive") {
      emit(Op::shift_right_i, to, left, 63);
      if (name == "is_sign_positive") emit(Op::bool_not, to, to);
    } else if (name == "to_bits" || name == "to_le_bytes") {
      move(to, left, 1);
    } else {
      const auto function = real_function(name);
      Slot from = left;
      if (*function >= RealFunction::minimum) {
        from = alloc(2);
        move(from, left, 1);
        into(kids[1], from + 1);
        here_ = where;
      }
      emit(Op::function_f, to, from, static_cast<Slot>(*function));
    }
    return;
  }
  if (self_kind == Kind::array || self_kind == Kind::slice || self_kind == Kind::text) {
    slice_method(expr, to, self);
    return;
  }
  // Options and results.
  const Slot option = self_kind == Kind::option || self_kind == Kind::result ? self_value() : 0;
  here_ = where;
  const Index inner = type(self).args[0];
  const Slot slots = c_.slots(inner);
  if (name == "unwrap" || name == "expect") {
    emit(Op::require, option, static_cast<Slot>(Ending::panic_unwrap));
    move(to, option + 1, slots);
  } else if (name == "unwrap_or" || name == "unwrap_or_default") {
    Label nothing;
    Label done;
    // The other value is computed whether it is needed or not.
    Slot other = 0;
    if (name == "unwrap_or") {
      other = alloc(slots);
      into(kids[1], other);
    }
    jump_to(nothing, Op::jump_unless, option);
    move(to, option + 1, slots);
    jump_to(done, Op::jump);
    place_label(nothing);
    if (name == "unwrap_or")
      move(to, other, slots);
    else if (slots != 0)
      emit(Op::clear, to, 0, slots);
    place_label(done);
  } else if (name == "is_some" || name == "is_ok") {
    move(to, option, 1);
  } else if (name == "is_none" || name == "is_err") {
    emit(Op::bool_not, to, option);
  } else if (name == "ok") {
    const Slot all = c_.slots(result);
    Label done;
    const Slot kept = copied(option, c_.slots(self));
    emit(Op::clear, to, 0, all);
    jump_to(done, Op::jump_unless, kept);
    move(to, kept, all);
    place_label(done);
  } else if (name == "copied" || name == "cloned") {
    const Slot all = c_.slots(result);
    const Slot kept = copied(option, 2);
    Label done;
    emit(Op::clear, to, 0, all);
    jump_to(done, Op::jump_unless, kept);
    load(to, 1);
    load_memory(to + 1, kept + 1, 0, type(result).args[0]);
    place_label(done);
  } else {
    refuse("unsupported", where, "the method `" + name + "` is not supported here");
  }
}

void BodyLowering::integer_method_into(Index expr, Slot to, Slot left) {
  const std::string name = at(expr).name;
  const std::vector<Index> kids = at(expr).kids;
  const Position where = at(expr).at;
  const Index result = type_of(expr);
  const Number n = number(peeled_type(type_of(kids[0]), at(expr).peeled));
  here_ = where;
  if (name == "min" || name == "max") {
    const Slot right = value(kids[1]);
    here_ = where;
    const bool least = name == "min";
    emit(n.wide() ? (n.is_signed ? (least ? Op::min_sw : Op::max_sw) : (least ? Op::min_uw : Op::max_uw))
                  : (n.is_signed ? (least ? Op::min_s : Op::max_s) : (least ? Op::min_u : Op::max_u)),
         to, left, right);
    return;
  }
  if (name == "clamp") {
    const Slot slots = n.wide() ? 2 : 1;
    const Slot kept = copied(left, slots);
    const Slot low = alloc(slots);
    const Slot high = alloc(slots);
    into(kids[1], low);
    into(kids[2], high);
    here_ = where;
    const Slot truth = alloc(1);
    compare("<=", type_of(kids[1]), truth, low, high);
    emit(Op::require, truth, static_cast<Slot>(Ending::panic_argument));
    emit(n.wide() ? (n.is_signed ? Op::max_sw : Op::max_uw) : (n.is_signed ? Op::max_s : Op::max_u), to, kept,
         low);
    emit(n.wide() ? (n.is_signed ? Op::min_sw : Op::min_uw) : (n.is_signed ? Op::min_s : Op::min_u), to, to,
         high);
    return;
  }
  if (name == "saturating_sub" && !n.is_signed) {
    const Slot right = value(kids[1]);
    here_ = where;
    emit(n.wide() ? Op::sub_saturating_w : Op::sub_saturating, to, left, right);
    return;
  }
  if (name == "wrapping_add" || name == "wrapping_sub" || name == "wrapping_mul") {
    arithmetic(name == "wrapping_add" ? "+" : name == "wrapping_sub" ? "-" : "*", n, to, left, kids[1]);
    return;
  }
  if (name == "to_le_bytes" || name == "to_ne_bytes" || name == "to_be_bytes") {
    Slot from = left;
    if (name == "to_be_bytes") {
      from = alloc(n.wide() ? 2 : 1);
      rare(Rare::swap_bytes, Mode::wrapping, n.code(), from, left, left);
    }
    // Bytes lie in memory without the sign that fills the slot.
    Number plain = n;
    plain.is_signed = false;
    if (n.wide())
      move(to, from, 2);
    else
      narrow(plain, to, from);
    return;
  }
  if (name == "is_positive" || name == "is_negative") {
    const Slot zero = alloc(2);
    load_wide(zero, 0);
    compare(name == "is_positive" ? ">" : "<", type_of(kids[0]), to, left, zero);
    return;
  }
  if (name == "into") {
    if (kind(result) != Kind::integer && kind(result) != Kind::real)
      refuse("type_unknown", where, "what `into` makes must be a number of a known type");
    convert(n, number(result), to, left);
    return;
  }
  if (name == "try_into") {
    const Index target = type(result).args[0];
    rare(Rare::convert, Mode::checked, number(target).code(), to, left, left, n.code());
    return;
  }
  const auto method = integer_method(name);
  if (!method) refuse("unsupported", where, "the method `" + name + "` is not supported");
  const Slot right = method->has_argument ? value(kids[1]) : left;
  here_ = where;
  rare(method->rare, method->mode, n.code(), to, left, right);
}

void BodyLowering::slice_method(Index expr, Slot to, Index self) {
  const std::string name = at(expr).name;
  const std::vector<Index> kids = at(expr).kids;
  const Position where = at(expr).at;
  const Index result = type_of(expr);
  if (name == "len" && kind(self) == Kind::array) {
    load(to, type(self).length);
    return;
  }
  Slot pair = receiver_slice(kids[0], at(expr).peeled);
  for (std::size_t i = 1; i < kids.size(); ++i)
    if (at(kids[i]).effects) {
      pair = copied(pair, 2);
      break;
    }
  here_ = where;
  if (name == "len") {
    move(to, pair + 1, 1);
    return;
  }
  if (name == "is_empty") {
    emit(Op::eq, to, pair + 1, loaded(0));
    return;
  }
  if (name == "as_slice" || name == "as_mut_slice" || name == "as_ref" || name == "as_mut" ||
      name == "as_bytes") {
    move(to, pair, 2);
    return;
  }
  const Index element = type(self).args[0];
  const std::uint32_t stride = c_.stride(element);
  if (name == "get" || name == "get_mut" || name == "first" || name == "last") {
    Label outside;
    Label done;
    const Slot made = alloc(3);
    if (name.compare(0, 3, "get") == 0 && at(kids[1]).kind == ExprKind::range) {
      slice_of(pair, kids[1], stride, made + 1, &outside);
    } else {
      Slot index = 0;
      if (name == "first") {
        index = loaded(0);
      } else if (name == "last") {
        index = alloc(1);
        emit(Op::sub_i, index, pair + 1, 1);
      } else {
        index = value(kids[1]);
      }
      here_ = where;
      jump_to(outside, Op::jump_le_u, pair + 1, index);
      emit(Op::add, made + 1, pair, scaled(index, stride));
    }
    load(made, 1);
    jump_to(done, Op::jump);
    place_label(outside);
    emit(Op::clear, made, 0, 3);
    place_label(done);
    move(to, made, c_.slots(result));
    return;
  }
  if (name == "copy_from_slice" || name == "clone_from_slice") {
    const Slot from = value(kids[1]);
    here_ = where;
    const Slot truth = alloc(1);
    emit(Op::eq, truth, pair + 1, from + 1);
    emit(Op::require, truth, static_cast<Slot>(Ending::panic_length));
    emit(Op::copy, pair, from, scaled(pair + 1, stride));
    return;
  }
  if (name == "fill") {
    const Slot slot = value(kids[1]);
    here_ = where;
    if (stride != 0) fill(pair, slot, element, pair + 1);
    return;
  }
  if (name == "swap") {
    const Slot first = value_before(kids[1], kids[2]);
    const Slot second = value(kids[2]);
    here_ = where;
    emit(Op::bound, first, pair + 1);
    emit(Op::bound, second, pair + 1);
    const Slot a = alloc(1);
    const Slot b = alloc(1);
    emit(Op::add, a, pair, scaled(first, stride));
    emit(Op::add, b, pair, scaled(second, stride));
    const Slot slots = c_.slots(element);
    const Slot x = alloc(slots);
    const Slot y = alloc(slots);
    load_memory(x, a, 0, element);
    load_memory(y, b, 0, element);
    store_place({true, false, a, 0}, element, y);
    store_place({true, false, b, 0}, element, x);
    return;
  }
  if (name == "split_at") {
    const Slot middle = value(kids[1]);
    here_ = where;
    emit(Op::range, middle, middle, pair + 1);
    const Slot made = alloc(4);
    move(made, pair, 1);
    move(made + 1, middle, 1);
    emit(Op::add, made + 2, pair, scaled(middle, stride));
    emit(Op::sub, made + 3, pair + 1, middle);
    move(to, made, 4);
    return;
  }
  if (name == "try_into") {
    const Index target = type(result).args[0];
    const bool by_reference = kind(target) == Kind::reference;
    const Index array = by_reference ? c_.find(type(target).args[0]) : c_.find(target);
    if (kind(array) != Kind::array)
      refuse("type_unknown", where, "`try_into` must make an array of a known length");
    if (!same_type(type(array).args[0], element))
      refuse("type_mismatch", where, "the array has other elements");
    Label wrong;
    Label done;
    const Slot made = alloc(c_.slots(result));
    emit(Op::clear, made, 0, c_.slots(result));
    jump_to(wrong, Op::jump_ne, pair + 1, loaded(type(array).length));
    load(made, 1);
    if (by_reference) {
      move(made + 1, pair, 1);
    } else if (c_.slots(array) != 0) {
      const Slot address = alloc(1);
      emit(Op::address, address, made + 1);
      emit(Op::copy, address, pair, loaded(type(array).length * stride));
    }
    place_label(wrong);
    place_label(done);
    move(to, made, c_.slots(result));
    return;
  }
  refuse("unsupported", where, "the method `" + name + "` is not supported here");
}

void BodyLowering::macro(Index expr, Slot to) {
  const std::string name = at(expr).name;
  const Position where = at(expr).at;
  if (name == "panic" || name == "unreachable" || name == "todo" || name == "unimplemented") {
    panic(Ending::panic_explicit);
    return;
  }
  if (name == "assert") {
    Label good;
    condition(at(expr).kids[0], true, good);
    here_ = where;
    panic(Ending::panic_explicit);
    place_label(good);
    return;
  }
  if (name == "assert_eq" || name == "assert_ne") {
    const Index left_expr = at(expr).kids[0];
    const Slot left = value_before(left_expr, at(expr).kids[1]);
    const Slot right = value(at(expr).kids[1]);
    const Slot truth = alloc(1);
    here_ = where;
    compare(name == "assert_eq" ? "==" : "!=", type_of(left_expr), truth, left, right);
    emit(Op::require, truth, static_cast<Slot>(Ending::panic_explicit));
    return;
  }
  if (name == "matches") {
    const Index subject = at(expr).kids[0];
    Label no;
    Label done;
    match(at(expr).pattern, type_of(subject), place(subject), &no);
    load(to, 1);
    jump_to(done, Op::jump);
    place_label(no);
    load(to, 0);
    place_label(done);
  }
}

}  // namespace calyx::strategy::lowering
