/// \file
/// One function's checked tree to bytecode: the state that this takes, and what writes code.
///
/// Start at `BodyLowering::function`. Its parts lie in files of their own: lowering_places.cpp (where values
/// lie), lowering_values.cpp (what they come to), lowering_numbers.cpp, lowering_patterns.cpp,
/// lowering_statements.cpp, lowering_calls.cpp and lowering_methods.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "strategy/lowering.hpp"

namespace calyx::strategy::lowering {

using kernels::bytecode::Ending;
using kernels::bytecode::Instruction;
using kernels::bytecode::Mode;
using kernels::bytecode::Op;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;

/// Functions of at most this many instructions are put in where they are called.
inline constexpr std::uint32_t inline_max = 48;

using Slot = std::uint32_t;

/// Where a value lies: in the frame, or in memory at an address that a slot holds.
struct Place {
  bool memory = false;
  bool owned = false;        ///< Nobody else has this slot: a name may simply take it over.
  Slot slot = 0;             ///< Of the value, or of its address.
  std::uint32_t offset = 0;  ///< Bytes behind the address.
};

struct Label {
  std::vector<std::uint32_t> from;
  bool placed = false;
  std::uint32_t at = 0;
};

/// Lowers one function into a unit.
class BodyLowering {
 public:
  BodyLowering(Lowering& all, Unit& unit) : all_(all), c_(all.checker()), unit_(unit) {}
  Unit::Made function(Index index);
  /// Of one constant's expression.
  Unit::Made value(Index expr, Body& body);

 private:
  Expr& at(Index expr) { return c_.tree().exprs[expr]; }
  Type& type(Index index) { return c_.at(index); }
  Index type_of(Index expr) { return c_.find(at(expr).type); }
  Kind kind(Index index) { return c_.at(index).kind; }
  void enter(Body& body) {
    body_ = &body;
    locals_.assign(body.locals.size(), none);
  }
  Unit::Made finish(std::uint32_t begin) {
    return {begin, static_cast<std::uint32_t>(unit_.code.size()) - begin, std::max(stack_, max_), calls_};
  }

  // Code.
  std::uint32_t emit(Op op, Slot a = 0, Slot b = 0, std::uint32_t c = 0) {
    if (unit_.code.size() >= code_max)
      refuse("too_large", here_, "the program has more than 30000 instructions");
    unit_.code.push_back(
        {op, static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b), static_cast<std::uint16_t>(c)});
    unit_.lines.push_back(here_.line);
    return static_cast<std::uint32_t>(unit_.code.size() - 1);
  }
  void emit_long(Op op, Slot a, std::uint32_t value) { emit(op, a, value & 0xffffU, value >> 16); }
  void jump_to(Label& label, Op op, Slot a = 0, Slot b = 0) {
    const std::uint32_t from = emit(op, a, b);
    if (label.placed)
      patch(from, label.at);
    else
      label.from.push_back(from);
  }
  void patch(std::uint32_t from, std::uint32_t to) {
    const auto distance = static_cast<std::int32_t>(to) - static_cast<std::int32_t>(from) - 1;
    unit_.code[from].c = static_cast<std::uint16_t>(static_cast<std::int16_t>(distance));
  }
  void place_label(Label& label) {
    label.placed = true;
    label.at = static_cast<std::uint32_t>(unit_.code.size());
    for (const std::uint32_t from : label.from) patch(from, label.at);
    label.from.clear();
  }
  Slot alloc(Slot count, Position where) {
    const Slot slot = top_;
    top_ += count;
    if (top_ > frame_slots_max)
      refuse("too_large", where, "the variables of a function take more than 64 KiB");
    grow();
    return slot;
  }
  Slot alloc(Slot count) { return alloc(count, here_); }
  void grow() { max_ = std::max(max_, top_); }
  void load(Slot slot, std::uint64_t value) {
    const auto small = static_cast<std::int64_t>(value);
    if (small >= -0x7fffffff && small <= 0x7fffffff) {
      emit_long(Op::load, slot, static_cast<std::uint32_t>(small));
    } else {
      emit_long(Op::constant, slot, pool({value}));
    }
  }
  void load_wide(Slot slot, Wide value) {
    if ((value >> 64) == 0 && value < 0x7fffffff) {
      load(slot, static_cast<std::uint64_t>(value));
      load(slot + 1, 0);
      return;
    }
    emit_long(Op::constant_w, slot,
              pool({static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(value >> 64)}));
  }
  std::uint32_t pool(const std::vector<std::uint64_t>& words) {
    auto& pool = unit_.pool;
    const auto found = std::search(pool.begin(), pool.end(), words.begin(), words.end());
    const auto index = static_cast<std::uint32_t>(found - pool.begin());
    if (found == pool.end()) pool.insert(pool.end(), words.begin(), words.end());
    return index;
  }
  Slot loaded(std::uint64_t value) {
    const Slot slot = alloc(1);
    load(slot, value);
    return slot;
  }
  void move(Slot to, Slot from, Slot count) {
    if (to == from || count == 0) return;
    if (count == 1)
      emit(Op::move, to, from);
    else if (count == 2)
      emit(Op::move_w, to, from);
    else
      emit(Op::move_many, to, from, count);
  }

  // Places.
  void load_place(const Place& place, Index type, Slot to) {
    if (!place.memory) {
      move(to, place.slot, c_.slots(type));
      return;
    }
    load_memory(to, place.slot, place.offset, type);
  }
  void load_memory(Slot to, Slot address, std::uint32_t offset, Index type);
  /// The bytes of an array that does not fill its last slot, or 0.
  std::uint32_t odd_bytes(Index index) {
    if (kind(index) != Kind::array) return 0;
    const auto bytes = static_cast<std::uint32_t>(c_.stride(type(index).args[0]) * type(index).length);
    return bytes % 8 == 0 ? 0 : bytes;
  }
  Slot moved_address(Slot address, std::uint32_t offset) {
    if (offset == 0) return address;
    const Slot moved = alloc(1);
    if (offset < 0x10000)
      emit(Op::add_i, moved, address, offset);
    else
      emit(Op::add, moved, address, loaded(offset));
    return moved;
  }
  void store_place(const Place& place, Index type, Slot from);
  Slot address_of(const Place& place) {
    if (place.memory) return moved_address(place.slot, place.offset);
    const Slot address = alloc(1);
    emit(Op::address, address, place.slot);
    return address;
  }
  static Place moved(Place place, std::uint32_t slots) {
    if (place.memory)
      place.offset += slots * 8;
    else
      place.slot += slots;
    return place;
  }
  /// The slots before a field.
  std::uint32_t field_offset(Index base, Index field);
  Index peeled_type(Index type_index, std::uint32_t peeled) {
    for (; peeled != 0; --peeled) type_index = type(type_index).args[0];
    return c_.find(type_index);
  }
  Place place_peeled(Index expr, std::uint32_t peeled);
  Place place(Index expr);
  /// The address and length of what `expr` is, or refers to.
  Slot receiver_slice(Index expr, std::uint32_t peeled);
  Slot pair_of(Slot address, std::uint64_t length) {
    const Slot pair = alloc(2);
    move(pair, address, 1);
    load(pair + 1, length);
    return pair;
  }
  /// An expression that is a slice itself: a part of one, or what a reference to one leads to.
  Slot unsized_value(Index expr);
  /// Writes the part of `whole` that `range` names to `pair`; outside of it a panic, or a jump.
  void slice_of(Slot whole, Index range, std::uint32_t stride, Slot pair, Label* outside);
  Slot scaled(Slot count, std::uint32_t stride) {
    if (stride == 1) return count;
    const Slot bytes = alloc(1);
    if (stride < 0x10000)
      emit(Op::mul_i, bytes, count, stride);
    else
      emit(Op::mul, bytes, count, loaded(stride));
    return bytes;
  }
  Slot copied(Slot slot, Slot count) {
    const Slot copy = alloc(count);
    move(copy, slot, count);
    return copy;
  }

  // Constants that are known while compiling.
  std::optional<Wide> constant_value(Index expr);
  static Wide largest(Integer integer) {
    const std::uint32_t bits = bits_of(integer) - (is_signed(integer) ? 1 : 0);
    return bits == 128 ? ~Wide{0} : (Wide{1} << bits) - 1;
  }

  // Values.
  /// A slot that holds the value; it may be a variable's own.
  Slot value(Index expr);
  /// The same, safe from what `later` may change.
  Slot value_before(Index expr, Index later) {
    const Slot slot = value(expr);
    if (!at(later).effects) return slot;
    return copied(slot, c_.slots(type_of(expr)));
  }
  Slot value_peeled(Index expr, std::uint32_t peeled) {
    if (peeled == 0) return value(expr);
    const Place from = place_peeled(expr, peeled);
    const Index behind = peeled_type(type_of(expr), peeled);
    const Slot slot = alloc(c_.slots(behind));
    load_place(from, behind, slot);
    return slot;
  }
  /// References taken off: the operand of an operator.
  Slot operand(Index expr) {
    std::uint32_t peeled = 0;
    for (Index t = type_of(expr); kind(t) == Kind::reference; t = type(t).args[0]) ++peeled;
    return value_peeled(expr, peeled);
  }
  Index operand_type(Index expr) {
    Index found = type_of(expr);
    while (kind(found) == Kind::reference) found = c_.find(type(found).args[0]);
    return found;
  }
  struct Number {
    bool real = false;
    bool truth = false;
    bool is_signed = false;
    std::uint32_t bits = 32;
    bool wide() const { return bits == 128; }
    std::uint16_t code() const { return static_cast<std::uint16_t>(bits | (is_signed ? 0x100U : 0U)); }
  };
  Number number(Index type_index);
  void narrow(const Number& n, Slot slot, Slot from);
  void rare(Rare kind, Mode mode, std::uint32_t code, Slot to, Slot left, Slot right,
            std::uint32_t extra = 0) {
    emit(Op::integer, to, left, right);
    const std::uint32_t word = emit(Op::jump, code, static_cast<std::uint32_t>(mode), extra);
    unit_.code[word].op = static_cast<Op>(kind);
  }
  void arithmetic(const std::string& op, const Number& n, Slot to, Slot left, Index right_expr);
  void arithmetic_slots(const std::string& op, const Number& n, Slot to, Slot left, Slot right);
  /// Whether two values of one type are equal, into a slot.
  void equal(Index type_index, Slot to, Slot left, Slot right);
  void compare(const std::string& op, Index type_index, Slot to, Slot left, Slot right);
  /// Jumps to `label` when `expr` is `when`.
  void condition(Index expr, bool when, Label& label);

  // Patterns: tests, jumping to `fail`, and names.
  void match(Index pattern_index, Index matched, Place from, Label* fail);
  void fields(const Pattern& pattern, std::vector<Index> parts, const Place& from, Label* fail,
              Index matched) {
    for (Index i = 0; i < pattern.kids.size(); ++i)
      match(pattern.kids[i], parts[i], moved(from, field_offset(matched, i)), fail);
  }
  Slot read(const Place& from, Index matched) {
    if (!from.memory) return from.slot;
    const Slot slot = alloc(c_.slots(matched));
    load_place(from, matched, slot);
    return slot;
  }

  // Expressions, each written to where it is wanted.
  void into(Index expr, Slot to) {
    if (++depth_ > 4 * nesting_max)
      refuse("too_deep", at(expr).at, "calls and expressions are nested too deep");
    const Index from = at(expr).unsized_from;
    here_ = at(expr).at;
    into_kind(expr, to);
    if (from != none) load(to + 1, type(from).length);
    --depth_;
  }
  void panic(Ending why) { emit(Op::panic, 0, static_cast<Slot>(why)); }
  void into_kind(Index expr, Slot to);
  /// What is cast to u128 from an unsigned type of at most 64 bits, or none.
  Index widened(Index expr) {
    if (at(expr).kind != ExprKind::cast) return none;
    const Index inner = at(expr).kids[0];
    const Type& found = type(type_of(inner));
    if (found.kind != Kind::integer || is_signed(found.integer) || bits_of(found.integer) > 64) return none;
    return inner;
  }
  void path(Index expr, Slot to);
  void repeat(Index expr, Slot to);
  /// Writes `count` times the value in `first` from `address` on.
  void fill(Slot address, Slot first, Index element, Slot count);
  void cast(Index expr, Slot to);
  void convert(const Number& from, const Number& n, Slot to, Slot slot);

  // Statements.
  void statement(Index expr) {
    const Slot mark = top_;
    const Slot slot = alloc(c_.slots(type_of(expr)));
    into(expr, slot);
    top_ = mark;
  }
  void block(Index expr, Slot to);
  struct Loop {
    std::string label;
    Slot to;
    Slot slots;
    Label out;
    Label next;
  };
  Loop& loop_named(const std::string& label) {
    for (auto it = loops_.rbegin(); it != loops_.rend(); ++it)
      if (label.empty() || it->label == label) return *it;
    return loops_.back();
  }
  void loop_for(Index expr);

  // Calls.
  void call_function(Index expr, Slot to, bool is_method);
  void inline_call(Index function, Slot to, Slot base);
  /// `x.method()` where the parameter is `self`, `&self` or `&mut self`.
  void receiver(Index expr, Index parameter, Slot to);
  void call(Index expr, Slot to);
  void deserialize(Index bytes, Index result, Slot to);
  /// A little-endian number at an address.
  void load_bytes(Slot to, Slot address, std::uint32_t offset, const Number& n);
  void from_bytes(Index bytes, Index result, Slot to, bool turned);
  /// Whether `expr` is `x[a..a + size]` with the same variable `a` twice, or `x[1..9]` with numbers.
  bool spans(Index expr, std::uint32_t size);
  void method(Index expr, Slot to);
  void integer_method_into(Index expr, Slot to, Slot left);
  void slice_method(Index expr, Slot to, Index self);
  bool same_type(Index left, Index right) {
    return kind(left) == kind(right) &&
           (kind(left) != Kind::integer || type(left).integer == type(right).integer) &&
           c_.slots(left) == c_.slots(right);
  }
  void macro(Index expr, Slot to);

  Lowering& all_;
  Checker& c_;
  Unit& unit_;
  Body* body_ = nullptr;
  std::vector<Slot> locals_;
  std::vector<Loop> loops_;
  Label end_;
  Slot result_ = 0;
  Slot top_ = 0;
  Slot max_ = 0;
  std::uint32_t stack_ = 0;
  std::uint32_t calls_ = 0;
  std::uint32_t inlined_ = 0;
  std::uint32_t depth_ = 0;
  bool in_either_ = false;
  Position here_;
};

}  // namespace calyx::strategy::lowering
