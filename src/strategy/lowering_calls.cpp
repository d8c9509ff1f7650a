#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::call_function(Index expr, Slot to, bool is_method) {
  const Index function = at(expr).target;
  Body& callee = c_.body(function);
  const Unit::Made made = unit_.functions.at(function);
  const Slot mark = top_;
  const std::vector<Index> kids = at(expr).kids;
  const Slot result_slots = c_.slots(callee.result);
  // Arguments stand where the callee's frame begins.
  Slot total = 0;
  for (const Index parameter : callee.parameters) total += c_.slots(parameter);
  const Slot base = alloc(std::max(total, result_slots));
  Slot offset = base;
  for (std::size_t i = 0; i < callee.parameters.size(); ++i) {
    const Index parameter = callee.parameters[i];
    if (i == 0 && is_method)
      receiver(kids[0], parameter, offset);
    else
      into(is_method ? kids[i] : kids[i + 1], offset);
    offset += c_.slots(parameter);
  }
  here_ = at(expr).at;
  if (made.size <= inline_max && inlined_ < 16) {
    inline_call(function, to, base);
  } else {
    // The frame begins behind all that is in use here.
    const Slot frame = top_;
    move(frame, base, total);
    grow();
    max_ = std::max(max_, frame + std::max(total, result_slots));
    stack_ = std::max(stack_, frame + made.stack_slots);
    if (stack_ > stack_slots_max) refuse("too_large", here_, "the calls take more than 128 KiB of stack");
    calls_ = std::max(calls_, made.calls + 1);
    if (calls_ >= kernels::bytecode::calls_max) refuse("too_deep", here_, "more than 31 calls in each other");
    emit_long(Op::call, frame, made.entry);
    move(to, frame, result_slots);
  }
  top_ = mark;
}

void BodyLowering::inline_call(Index function, Slot to, Slot base) {
  const Function& item = c_.tree().functions[function];
  Body& callee = c_.body(function);
  Body* const outer_body = body_;
  std::vector<Slot> outer_locals(callee.locals.size(), none);
  std::vector<Loop> outer_loops;
  Label outer_end;
  const Slot outer_result = result_;
  const bool outer_either = in_either_;
  locals_.swap(outer_locals);
  loops_.swap(outer_loops);
  std::swap(end_, outer_end);
  body_ = &callee;
  in_either_ = false;
  ++inlined_;
  // The result may not stand where the caller's variables are read on the way.
  result_ = alloc(c_.slots(callee.result));
  Slot offset = base;
  for (std::size_t i = 0; i < callee.parameters.size(); ++i) {
    match(item.parameters[i].pattern, callee.parameters[i], {false, true, offset, 0}, nullptr);
    offset += c_.slots(callee.parameters[i]);
  }
  into(item.body, result_);
  place_label(end_);
  move(to, result_, c_.slots(callee.result));
  --inlined_;
  in_either_ = outer_either;
  body_ = outer_body;
  std::swap(end_, outer_end);
  loops_.swap(outer_loops);
  locals_.swap(outer_locals);
  result_ = outer_result;
}

void BodyLowering::receiver(Index expr, Index parameter, Slot to) {
  Index found = type_of(expr);
  std::uint32_t peeled = 0;
  while (kind(found) == Kind::reference) {
    found = c_.find(type(found).args[0]);
    ++peeled;
  }
  const Place from = place_peeled(expr, peeled);
  if (kind(parameter) == Kind::reference)
    move(to, address_of(from), 1);
  else
    load_place(from, parameter, to);
}

void BodyLowering::call(Index expr, Slot to) {
  const Position where = at(expr).at;
  const Index result = type_of(expr);
  const std::vector<Index> kids = at(expr).kids;
  if (at(expr).meaning == Meaning::function) {
    call_function(expr, to, false);
    return;
  }
  if (at(expr).meaning == Meaning::variant) {
    const Index variant = at(expr).variant;
    Slot offset = to + 1;
    const Slot slots = c_.slots(result);
    // Unused room is cleared, so that no value depends on what lay there.
    Slot used = 1;
    for (std::size_t i = 1; i < kids.size(); ++i)
      used += c_.slots(type_of(kids[i])) + (at(kids[i]).unsized_from != none ? 1 : 0);
    for (std::size_t i = 1; i < kids.size(); ++i) {
      into(kids[i], offset);
      offset += c_.slots(type_of(kids[i])) + (at(kids[i]).unsized_from != none ? 1 : 0);
    }
    if (used < slots) emit(Op::clear, to + used, 0, slots - used);
    load(to, variant);
    return;
  }
  if (at(expr).meaning == Meaning::structure) {
    for (Index i = 1; i < kids.size(); ++i) into(kids[i], to + field_offset(result, i - 1));
    return;
  }
  const std::string name = at(expr).name;
  if (name == "deserialize") {
    deserialize(kids[1], result, to);
    return;
  }
  if (name == "swap") {
    const Slot left = copied(value(kids[1]), 1);
    const Slot right = value(kids[2]);
    const Index behind = type(type_of(kids[1])).args[0];
    const Place a{true, false, left, 0};
    const Place b{true, false, right, 0};
    const Slot slots = c_.slots(behind);
    const Slot first = alloc(slots);
    const Slot second = alloc(slots);
    load_place(a, behind, first);
    load_place(b, behind, second);
    store_place(a, behind, second);
    store_place(b, behind, first);
    return;
  }
  if (name == "from_le_bytes" || name == "from_be_bytes") {
    from_bytes(kids[1], result, to, name == "from_be_bytes");
    return;
  }
  if (name == "from_bits") {
    into(kids[1], to);
    return;
  }
  const Slot from = value(kids[1]);
  here_ = where;
  if (name == "from") {
    convert(number(type_of(kids[1])), number(result), to, from);
    return;
  }
  if (name == "try_from") {
    const Index target = type(result).args[0];
    rare(Rare::convert, Mode::checked, number(target).code(), to, from, from,
         number(type_of(kids[1])).code());
    return;
  }
  refuse("unsupported", where, "this call is not supported");
}

void BodyLowering::deserialize(Index bytes, Index result, Slot to) {
  const Position where = at(bytes).at;
  const Index target = type(result).args[0];
  if (kind(target) != Kind::structure || !c_.tree().structures[type(target).item].decodes)
    refuse("type_mismatch", where, "`wincode::deserialize` makes a structure that derives `SchemaRead`");
  const Index item = type(target).item;
  const std::vector<Index> types = c_.structure_types(item);
  const Slot pair = value(bytes);
  std::uint32_t size = 0;
  std::vector<std::uint32_t> offsets;
  for (const Index field : types) {
    offsets.push_back(size);
    const Type& found = type(field);
    if (found.kind == Kind::integer || found.kind == Kind::real)
      size += found.kind == Kind::real ? 8 : bits_of(found.integer) / 8;
    else if (found.kind == Kind::array && kind(found.args[0]) == Kind::integer &&
             type(found.args[0]).integer == Integer::u8)
      size += static_cast<std::uint32_t>(found.length);
    else
      refuse("unsupported", c_.tree().structures[item].at, "a field of this type cannot be decoded");
  }
  if (size > 0xf000) refuse("too_large", where, "what is decoded has more than 61440 bytes");
  Label fail;
  Label done;
  here_ = where;
  const Slot slots = c_.slots(result);
  const Slot needed = loaded(size);
  jump_to(fail, Op::jump_lt_u, pair + 1, needed);
  load(to, 1);
  for (Index i = 0; i < types.size(); ++i) {
    if (!c_.field_is_read(item, i)) continue;
    const Slot there = to + 1 + field_offset(target, i);
    const Type& found = type(types[i]);
    if (found.kind == Kind::array) {
      if (c_.slots(types[i]) == 0) continue;
      const auto length = static_cast<std::uint32_t>(found.length);
      emit(Op::clear, there, 0, c_.slots(types[i]));
      const Slot address = alloc(1);
      emit(Op::address, address, there);
      emit(Op::copy, address, moved_address(pair, offsets[i]), loaded(length));
      continue;
    }
    load_bytes(there, pair, offsets[i], number(types[i]));
  }
  jump_to(done, Op::jump);
  place_label(fail);
  emit(Op::clear, to, 0, slots);
  place_label(done);
}

void BodyLowering::load_bytes(Slot to, Slot address, std::uint32_t offset, const Number& n) {
  if (n.wide()) {
    emit(Op::load_64, to, address, offset);
    emit(Op::load_64, to + 1, address, offset + 8);
    return;
  }
  emit(n.bits == 8    ? Op::load_8
       : n.bits == 16 ? Op::load_16
       : n.bits == 32 ? Op::load_32
                      : Op::load_64,
       to, address, offset);
  if (n.is_signed && n.bits < 64) narrow(n, to, to);
}

void BodyLowering::from_bytes(Index bytes, Index result, Slot to, bool turned) {
  const Number n = number(result);
  const std::uint32_t size = n.bits / 8;
  // `slice.try_into().unwrap()` needs no array in between.
  Index slice = none;
  if (at(bytes).kind == ExprKind::method && (at(bytes).name == "unwrap" || at(bytes).name == "expect")) {
    const Index inner = at(bytes).kids[0];
    if (at(inner).kind == ExprKind::method && at(inner).name == "try_into") slice = inner;
  }
  if (slice != none) {
    if (const Index part = at(slice).kids[0]; spans(part, size)) {
      // A part that is as long by the way it is written needs no test of its length.
      const Slot whole = receiver_slice(at(part).kids[0], at(part).peeled);
      const Slot begin = value(at(at(part).kids[1]).kids[0]);
      here_ = at(part).at;
      const Slot end = alloc(1);
      emit(Op::add_i, end, begin, size);
      emit(Op::range, begin, end, whole + 1);
      emit(Op::add, end, whole, begin);
      load_bytes(to, end, 0, n);
      if (turned) rare(Rare::swap_bytes, Mode::wrapping, n.code(), to, to, to);
      return;
    }
    const Slot pair = receiver_slice(at(slice).kids[0], at(slice).peeled);
    here_ = at(bytes).at;
    const Slot truth = alloc(1);
    emit(Op::eq, truth, pair + 1, loaded(size));
    emit(Op::require, truth, static_cast<Slot>(Ending::panic_unwrap));
    load_bytes(to, pair, 0, n);
  } else {
    const Slot from = value(bytes);
    if (n.wide())
      move(to, from, 2);
    else
      narrow(n, to, from);
  }
  if (turned) rare(Rare::swap_bytes, Mode::wrapping, n.code(), to, to, to);
}

bool BodyLowering::spans(Index expr, std::uint32_t size) {
  if (at(expr).kind != ExprKind::index || at(at(expr).kids[1]).kind != ExprKind::range) return false;
  const Expr& range = at(at(expr).kids[1]);
  if (range.op != ".." || range.kids[0] == none || range.kids[1] == none) return false;
  const Index base = peeled_type(type_of(at(expr).kids[0]), at(expr).peeled);
  if (c_.stride(type(base).args[0]) != 1) return false;
  const Index first = range.kids[0];
  const Index last = range.kids[1];
  const auto low = constant_value(first);
  const auto high = constant_value(last);
  if (low && high) return *high >= *low && *high - *low == size;
  const Expr& sum = at(last);
  if (sum.kind != ExprKind::binary || sum.op != "+") return false;
  const Expr& same = at(sum.kids[0]);
  const auto more = constant_value(sum.kids[1]);
  return more && *more == size && at(first).kind == ExprKind::path && at(first).meaning == Meaning::local &&
         same.kind == ExprKind::path && same.meaning == Meaning::local && same.target == at(first).target;
}

}  // namespace calyx::strategy::lowering
