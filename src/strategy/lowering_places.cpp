#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::load_memory(Slot to, Slot address, std::uint32_t offset, Index type) {
  const Slot slots = c_.slots(type);
  const std::uint32_t stride = c_.stride(type);
  if (slots == 0) return;
  if (slots == 1 && offset < 0x10000 && kind(type) != Kind::array && kind(type) != Kind::structure &&
      kind(type) != Kind::tuple) {
    emit(stride == 1   ? Op::load_8
         : stride == 2 ? Op::load_16
         : stride == 4 ? Op::load_32
                       : Op::load_64,
         to, address, offset);
    return;
  }
  if (const std::uint32_t bytes = odd_bytes(type); bytes != 0) {
    // What lies behind an array of bytes is not the array's.
    emit(Op::clear, to, 0, slots);
    const Slot there = alloc(1);
    emit(Op::address, there, to);
    emit(Op::copy, there, moved_address(address, offset), loaded(bytes));
    return;
  }
  emit(Op::load_many, to, moved_address(address, offset), slots);
}

void BodyLowering::store_place(const Place& place, Index type, Slot from) {
  const Slot slots = c_.slots(type);
  if (!place.memory) {
    move(place.slot, from, slots);
    return;
  }
  if (slots == 0) return;
  const std::uint32_t stride = c_.stride(type);
  if (slots == 1 && place.offset < 0x10000 && kind(type) != Kind::array && kind(type) != Kind::structure &&
      kind(type) != Kind::tuple) {
    emit(stride == 1   ? Op::store_8
         : stride == 2 ? Op::store_16
         : stride == 4 ? Op::store_32
                       : Op::store_64,
         place.slot, from, place.offset);
    return;
  }
  if (const std::uint32_t bytes = odd_bytes(type); bytes != 0) {
    const Slot here = alloc(1);
    emit(Op::address, here, from);
    emit(Op::copy, moved_address(place.slot, place.offset), here, loaded(bytes));
    return;
  }
  emit(Op::store_many, moved_address(place.slot, place.offset), from, slots);
}

std::uint32_t BodyLowering::field_offset(Index base, Index field) {
  const Type known = type(base);
  std::uint32_t offset = 0;
  if (known.kind == Kind::tuple) {
    for (Index i = 0; i < field; ++i) offset += c_.slots(known.args[i]);
  } else {
    const auto types = c_.structure_types(known.item);
    for (Index i = 0; i < field; ++i)
      if (c_.field_is_read(known.item, i)) offset += c_.slots(types[i]);
  }
  return offset;
}

Place BodyLowering::place_peeled(Index expr, std::uint32_t peeled) {
  if (peeled == 0) return place(expr);
  Slot address = value(expr);
  for (std::uint32_t i = 1; i < peeled; ++i) {
    const Slot next = alloc(1);
    emit(Op::load_64, next, address, 0);
    address = next;
  }
  return {true, false, address, 0};
}

Place BodyLowering::place(Index expr) {
  here_ = at(expr).at;
  switch (at(expr).kind) {
    case ExprKind::path:
      if (at(expr).meaning == Meaning::local) {
        Slot& slot = locals_[at(expr).target];
        if (slot == none) {
          slot = alloc(c_.slots(body_->locals[at(expr).target]));
          emit(Op::clear, slot, 0, c_.slots(body_->locals[at(expr).target]));
        }
        return {false, false, slot, 0};
      }
      if (at(expr).meaning == Meaning::constant && c_.slots(type_of(expr)) > 2) {
        const Slot address = alloc(1);
        emit_long(Op::address_constant, address, all_.constant_place(at(expr).target, at(expr).at));
        return {true, false, address, 0};
      }
      break;
    case ExprKind::field: {
      const Index base = at(expr).kids[0];
      const std::uint32_t peeled = at(expr).peeled;
      const Place from = place_peeled(base, peeled);
      return moved(from, field_offset(peeled_type(type_of(base), peeled), at(expr).target));
    }
    case ExprKind::index: {
      const Index base = at(expr).kids[0];
      const Index index = at(expr).kids[1];
      if (at(index).kind == ExprKind::range) break;
      const std::uint32_t peeled = at(expr).peeled;
      const Index base_type = peeled_type(type_of(base), peeled);
      const Index element = type(base_type).args[0];
      const std::uint32_t stride = c_.stride(element);
      if (peeled == 0 && kind(base_type) == Kind::array && stride % 8 == 0) {
        const auto known = constant_value(index);
        if (known && *known < type(base_type).length) {
          const Place from = place(base);
          return moved(from, static_cast<std::uint32_t>(*known) * (stride / 8));
        }
      }
      const Slot pair = receiver_slice(base, peeled);
      const Slot counter = value(index);
      here_ = at(expr).at;
      const Slot address = alloc(1);
      emit(Op::index_address, address, pair, counter);
      emit(Op::jump, 0, stride & 0xffffU, stride >> 16);
      return {true, false, address, 0};
    }
    case ExprKind::dereference: {
      const Slot address = value(at(expr).kids[0]);
      return {true, false, address, 0};
    }
    default: break;
  }
  const Slot slot = alloc(c_.slots(type_of(expr)));
  into(expr, slot);
  return {false, true, slot, 0};
}

Slot BodyLowering::receiver_slice(Index expr, std::uint32_t peeled) {
  const Index found = type_of(expr);
  const Index behind = peeled_type(found, peeled);
  if (peeled == 0) {
    if (kind(behind) == Kind::array) {
      const Place from = place(expr);
      return pair_of(address_of(from), type(behind).length);
    }
    return unsized_value(expr);
  }
  if (peeled == 1 && kind(behind) != Kind::array) return value(expr);
  Slot address = value(expr);
  for (std::uint32_t i = 1; i + 1 < peeled; ++i) {
    const Slot next = alloc(1);
    emit(Op::load_64, next, address, 0);
    address = next;
  }
  if (kind(behind) == Kind::array) {
    if (peeled > 1) {
      const Slot next = alloc(1);
      emit(Op::load_64, next, address, 0);
      address = next;
    }
    return pair_of(address, type(behind).length);
  }
  const Slot pair = alloc(2);
  emit(Op::load_many, pair, address, 2);
  return pair;
}

Slot BodyLowering::unsized_value(Index expr) {
  here_ = at(expr).at;
  if (at(expr).kind == ExprKind::dereference) return value(at(expr).kids[0]);
  if (at(expr).kind == ExprKind::index) {
    const Index base = at(expr).kids[0];
    const Index range = at(expr).kids[1];
    const Index base_type = peeled_type(type_of(base), at(expr).peeled);
    const Slot whole = receiver_slice(base, at(expr).peeled);
    const Slot pair = alloc(2);
    slice_of(whole, range, c_.stride(type(base_type).args[0]), pair, nullptr);
    return pair;
  }
  if (kind(type_of(expr)) == Kind::slice || kind(type_of(expr)) == Kind::text)
    refuse("unsupported", at(expr).at, "a slice is used through a reference");
  const Slot pair = alloc(2);
  into(expr, pair);
  return pair;
}

void BodyLowering::slice_of(Slot whole, Index range, std::uint32_t stride, Slot pair, Label* outside) {
  const Index first = at(range).kids[0];
  const Index last = at(range).kids[1];
  const Position where = at(range).at;
  const bool inclusive = at(range).op == "..=";
  Slot begin = 0;
  if (first == none) {
    begin = loaded(0);
  } else {
    begin = value(first);
    if (last != none && at(last).effects) begin = copied(begin, 1);
  }
  Slot end = whole + 1;
  if (last != none) {
    end = value(last);
    if (inclusive) {
      const Slot more = alloc(1);
      emit(Op::add_i, more, end, 1);
      end = more;
    }
  }
  here_ = where;
  if (outside != nullptr) {
    const Slot fits = alloc(1);
    emit(Op::le_u, fits, begin, end);
    jump_to(*outside, Op::jump_unless, fits);
    emit(Op::le_u, fits, end, whole + 1);
    jump_to(*outside, Op::jump_unless, fits);
  } else {
    emit(Op::range, begin, end, whole + 1);
  }
  const Slot length = alloc(1);
  emit(Op::sub, length, end, begin);
  const Slot bytes = scaled(begin, stride);
  emit(Op::add, pair, whole, bytes);
  move(pair + 1, length, 1);
}

}  // namespace calyx::strategy::lowering
