#include "strategy/body_lowering.hpp"

namespace calyx::strategy::lowering {

void BodyLowering::match(Index pattern_index, Index matched, Place from, Label* fail) {
  const Pattern pattern = c_.tree().patterns[pattern_index];
  matched = c_.find(matched);
  for (std::uint32_t i = 0; i < pattern.peeled; ++i) {
    const Slot address = alloc(1);
    load_place(from, matched, address);
    from = {true, false, address, 0};
    matched = c_.find(type(matched).args[0]);
  }
  const auto need_fail = [&]() -> Label& {
    if (fail == nullptr)
      refuse("type_mismatch", pattern.at, "this pattern may not match; use `if let` or `match`");
    return *fail;
  };
  switch (pattern.kind) {
    case PatternKind::any:
    case PatternKind::rest: return;
    case PatternKind::bind: {
      Slot& slot = locals_[pattern.local];
      if (pattern.by_reference) {
        const Slot address = address_of(from);
        const Slot count = c_.slots(body_->locals[pattern.local]);
        if (slot == none || !in_either_) slot = alloc(count);
        move(slot, address, 1);
        if (count == 2) refuse("unsupported", pattern.at, "a reference to a slice inside of a pattern");
        return;
      }
      if (!from.memory && from.owned && !in_either_) {
        slot = from.slot;
        return;
      }
      if (slot == none || !in_either_) slot = alloc(c_.slots(matched));
      load_place(from, matched, slot);
      return;
    }
    case PatternKind::literal:
    case PatternKind::range: {
      const Slot value_slot = read(from, matched);
      Label& out = need_fail();
      const Number n = number(matched);
      if (pattern.kind == PatternKind::literal) {
        const auto known = constant_value(pattern.low);
        if (known && *known < 0x10000 && !n.real && !n.wide()) {
          jump_to(out, Op::jump_ne_i, value_slot, static_cast<Slot>(*known));
          return;
        }
        const Slot truth = alloc(1);
        compare("==", matched, truth, value_slot, value(pattern.low));
        jump_to(out, Op::jump_unless, truth);
        return;
      }
      const Slot truth = alloc(1);
      if (pattern.low != none) {
        compare("<=", matched, truth, value(pattern.low), value_slot);
        jump_to(out, Op::jump_unless, truth);
      }
      if (pattern.high != none) {
        compare(pattern.inclusive ? "<=" : "<", matched, truth, value_slot, value(pattern.high));
        jump_to(out, Op::jump_unless, truth);
      }
      return;
    }
    case PatternKind::tuple: {
      Slot offset = 0;
      const std::vector<Index> parts = type(matched).args;
      for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
        match(pattern.kids[i], parts[i], moved(from, offset), fail);
        offset += c_.slots(parts[i]);
      }
      return;
    }
    case PatternKind::path:
    case PatternKind::variant: {
      if (pattern.constant != none) {
        const Slot value_slot = read(from, matched);
        Label& out = need_fail();
        const auto& words = all_.constant(pattern.constant, pattern.at);
        const Slot known = alloc(static_cast<Slot>(words.size()));
        for (std::size_t i = 0; i < words.size(); ++i) load(known + static_cast<Slot>(i), words[i]);
        const Slot truth = alloc(1);
        compare("==", matched, truth, value_slot, known);
        jump_to(out, Op::jump_unless, truth);
        return;
      }
      const Type found = type(matched);
      if (found.kind == Kind::structure) {
        fields(pattern, c_.structure_types(found.item), from, fail, matched);
        return;
      }
      const bool only =
          found.kind == Kind::enumeration && c_.tree().enumerations[found.item].variants.size() == 1;
      if (!only) {
        Slot tag = from.slot;
        if (from.memory) {
          tag = alloc(1);
          emit(Op::load_64, tag, moved_address(from.slot, from.offset), 0);
        }
        jump_to(need_fail(), Op::jump_ne_i, tag, pattern.variant);
      }
      std::vector<Index> parts;
      if (found.kind == Kind::option)
        parts = found.args;
      else if (found.kind == Kind::result)
        parts = {found.args[pattern.variant == 1 ? 0 : 1]};
      else
        parts = c_.variant_types(found.item, pattern.variant);
      Slot offset = 1;
      for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
        match(pattern.kids[i], parts[i], moved(from, offset), fail);
        offset += c_.slots(parts[i]);
      }
      return;
    }
    case PatternKind::structure: {
      for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
        Index field_type = none;
        const Index field = c_.structure_field(matched, pattern.fields[i], field_type);
        match(pattern.kids[i], field_type, moved(from, field_offset(matched, field)), fail);
      }
      return;
    }
    case PatternKind::reference: {
      const Slot address = alloc(1);
      load_place(from, matched, address);
      match(pattern.kids[0], type(matched).args[0], {true, false, address, 0}, fail);
      return;
    }
    case PatternKind::either: {
      Label matched_one;
      const bool outer = in_either_;
      in_either_ = true;
      for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
        const bool last = i + 1 == pattern.kids.size();
        if (last) {
          match(pattern.kids[i], matched, from, fail);
        } else {
          Label next;
          match(pattern.kids[i], matched, from, &next);
          jump_to(matched_one, Op::jump);
          place_label(next);
        }
      }
      in_either_ = outer;
      place_label(matched_one);
      return;
    }
  }
}

}  // namespace calyx::strategy::lowering
