#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::block(Index expr, Slot to) {
  const Slot mark = top_;
  const std::size_t count = at(expr).statements.size();
  for (std::size_t i = 0; i < count; ++i) {
    const Statement statement_here = at(expr).statements[i];
    here_ = statement_here.at;
    if (statement_here.kind != StatementKind::let) {
      // A variable that is assigned to later may get its slot here, so the slots stay.
      const bool plain = at(statement_here.value).kind != ExprKind::assign;
      const Slot before = top_;
      const Slot slot = alloc(c_.slots(type_of(statement_here.value)));
      into(statement_here.value, slot);
      if (plain) top_ = before;
      continue;
    }
    const Pattern& pattern = c_.tree().patterns[statement_here.pattern];
    if (statement_here.value == none) {
      if (pattern.kind != PatternKind::bind)
        refuse("unsupported", statement_here.at, "a variable without a value has a plain name");
      const Slot slots = c_.slots(body_->locals[pattern.local]);
      const Slot slot = alloc(slots);
      locals_[pattern.local] = slot;
      if (slots != 0) emit(Op::clear, slot, 0, slots);
      continue;
    }
    const Index value_expr = statement_here.value;
    if (pattern.kind == PatternKind::bind && !pattern.by_reference && statement_here.otherwise == none) {
      const Index local = pattern.local;
      const Slot slot = alloc(c_.slots(body_->locals[local]));
      into(value_expr, slot);
      locals_[local] = slot;
      continue;
    }
    const Index pattern_index = statement_here.pattern;
    if (at(value_expr).unsized_from != none)
      refuse("unsupported", statement_here.at, "this pattern does not take a slice");
    const Place from = place(value_expr);
    const Index matched = type_of(value_expr);
    if (statement_here.otherwise == none) {
      match(pattern_index, matched, from, nullptr);
    } else {
      Label fail;
      Label done;
      match(pattern_index, matched, from, &fail);
      jump_to(done, Op::jump);
      place_label(fail);
      statement(statement_here.otherwise);
      place_label(done);
    }
  }
  if (!at(expr).kids.empty()) into(at(expr).kids[0], to);
  top_ = mark;
}

void BodyLowering::loop_for(Index expr) {
  const Iteration it = c_.iteration(expr);
  const Slot mark = top_;
  const Position where = at(expr).at;
  loops_.push_back({at(expr).name, 0, 0, {}, {}});
  const std::size_t loop = loops_.size() - 1;
  const Index pattern = at(expr).pattern;
  const Index body = at(expr).kids[1];
  Label begin;
  Slot order = none;
  // The item, behind its number when that is asked for.
  const Slot lead = it.counted ? 1 : 0;
  if (it.counted) order = loaded(0);
  const auto item_type = [&](Index item) {
    if (!it.counted) return item;
    Type number_type;
    number_type.kind = Kind::tuple;
    number_type.args = {c_.make_integer(Integer::usize), item};
    return c_.make(number_type);
  };
  if (it.over == Iteration::Over::range) {
    const Number n = number(it.element);
    const Slot slots = n.wide() ? 2 : 1;
    const Index first = at(it.base).kids[0];
    const Index last = at(it.base).kids[1];
    const bool inclusive = at(it.base).op == "..=";
    const Slot low = alloc(slots);
    into(first, low);
    const Slot high = alloc(slots);
    if (last != none) {
      into(last, high);
    } else {
      const Wide most =
          largest(type(it.element).kind == Kind::integer ? type(it.element).integer : Integer::i32);
      if (n.wide())
        load_wide(high, most);
      else
        load(high, static_cast<std::uint64_t>(most));
    }
    const Slot truth = alloc(1);
    const Slot counter = it.backwards ? high : low;
    const Slot one = alloc(slots);
    Slot step = one;
    if (n.wide())
      load_wide(one, 1);
    else
      load(one, 1);
    if (it.step != none) {
      step = alloc(slots);
      const Slot given = value(it.step);
      here_ = where;
      emit(Op::require, given, static_cast<Slot>(Ending::panic_argument));
      if (n.wide())
        emit(Op::widen_u, step, given);
      else
        move(step, given, 1);
    }
    const auto test = [&](const std::string& op, Slot left, Slot right, Label& out) {
      compare(op, it.element, truth, left, right);
      jump_to(out, Op::jump_unless, truth);
    };
    place_label(begin);
    if (!n.wide() && !inclusive && !it.backwards) {
      jump_to(loops_[loop].out, n.is_signed ? Op::jump_le_s : Op::jump_le_u, high, low);
    } else {
      test(inclusive ? "<=" : "<", low, high, loops_[loop].out);
    }
    if (it.backwards && !inclusive) arithmetic_slots("-", n, high, high, one);
    const Slot body_mark = top_;
    const Slot item = alloc(lead + slots);
    if (it.counted) move(item, order, 1);
    move(item + lead, counter, slots);
    match(pattern, item_type(it.element), {false, true, item, 0}, nullptr);
    statement(body);
    place_label(loops_[loop].next);
    if (it.counted) emit(Op::add_i, order, order, 1);
    here_ = where;
    if (it.backwards) {
      if (inclusive) {
        test("!=", low, high, loops_[loop].out);
        arithmetic_slots("-", n, high, high, one);
      }
    } else if (!inclusive && it.step == none) {
      if (n.wide())
        emit(Op::add_wi, low, low, 1);
      else
        emit(Op::add_i, low, low, 1);
    } else {
      // What is left, as an unsigned number, against the step: the end of the type is not passed.
      Number whole = n;
      whole.is_signed = false;
      if (!n.wide()) whole.bits = 64;
      const Slot rest = alloc(slots);
      arithmetic_slots("-", whole, rest, high, low);
      const Index unsigned_type = c_.make_integer(n.wide() ? Integer::u128 : Integer::u64);
      compare(inclusive ? "<" : "<=", unsigned_type, truth, rest, step);
      jump_to(loops_[loop].out, Op::jump_if, truth);
      arithmetic_slots("+", n, low, low, step);
    }
    jump_to(begin, Op::jump);
    top_ = body_mark;
  } else {
    std::uint32_t peeled = 0;
    Index base_type = type_of(it.base);
    while (kind(base_type) == Kind::reference) {
      base_type = c_.find(type(base_type).args[0]);
      ++peeled;
    }
    const Slot whole = copied(receiver_slice(it.base, peeled), 2);
    const std::uint32_t stride = c_.stride(it.element);
    Slot count = whole + 1;
    Slot chunk = none;
    std::uint32_t item_slots = it.over == Iteration::Over::values ? c_.slots(it.element) : 1;
    if (it.over == Iteration::Over::chunks) {
      chunk = copied(value(it.step), 1);
      here_ = where;
      emit(Op::require, chunk, static_cast<Slot>(Ending::panic_argument));
      count = alloc(1);
      emit(Op::div_u, count, whole + 1, chunk);
      item_slots = 2;
    }
    const Slot index = it.backwards ? copied(count, 1) : loaded(0);
    const Slot zero = it.backwards ? loaded(0) : 0;
    place_label(begin);
    here_ = where;
    jump_to(loops_[loop].out, Op::jump_le_u, it.backwards ? index : count, it.backwards ? zero : index);
    if (it.backwards) emit(Op::sub_i, index, index, 1);
    const Slot body_mark = top_;
    const Slot item = alloc(lead + item_slots);
    if (it.counted) move(item, order, 1);
    Index item_kind = it.element;
    Slot bytes = scaled(index, stride);
    if (chunk != none) {
      const Slot more = alloc(1);
      emit(Op::mul, more, bytes, chunk);
      bytes = more;
    }
    const Slot address = alloc(1);
    emit(Op::add, address, whole, bytes);
    if (it.over == Iteration::Over::values) {
      load_memory(item + lead, address, 0, it.element);
    } else {
      move(item + lead, address, 1);
      Type made;
      made.kind = Kind::reference;
      made.args = {it.element};
      if (chunk != none) {
        Type slice;
        slice.kind = Kind::slice;
        slice.args = {it.element};
        made.args = {c_.make(slice)};
        move(item + lead + 1, chunk, 1);
      }
      item_kind = c_.make(made);
    }
    match(pattern, item_type(item_kind), {false, true, item, 0}, nullptr);
    statement(body);
    place_label(loops_[loop].next);
    if (it.counted) emit(Op::add_i, order, order, 1);
    if (!it.backwards) emit(Op::add_i, index, index, 1);
    jump_to(begin, Op::jump);
    top_ = body_mark;
  }
  place_label(loops_[loop].out);
  loops_.pop_back();
  top_ = mark;
}

}  // namespace calyx::strategy::lowering
