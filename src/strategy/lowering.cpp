#include "strategy/lowering.hpp"

#include <algorithm>
#include <cstring>

namespace calyx::strategy {

using kernels::bytecode::Ending;
using kernels::bytecode::Instruction;
using kernels::bytecode::Mode;
using kernels::bytecode::Op;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;

namespace {

/// Functions of at most this many instructions are put in where they are called.
constexpr std::uint32_t inline_max = 48;
constexpr std::uint32_t constants_bytes_max = 256 * 1024;

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

  Unit::Made function(Index index) {
    const auto begin = static_cast<std::uint32_t>(unit_.code.size());
    const Function& item = c_.tree().functions[index];
    Body& body = c_.body(index);
    enter(body);
    Slot at = 0;
    std::vector<Place> places;
    for (const Index type : body.parameters) {
      places.push_back({false, true, at, 0});
      at += c_.slots(type);
    }
    const Slot result_slots = c_.slots(body.result);
    top_ = std::max(at, result_slots);
    grow();
    result_ = alloc(result_slots, item.at);
    for (std::size_t i = 0; i < places.size(); ++i)
      match(item.parameters[i].pattern, body.parameters[i], places[i], nullptr);
    into(item.body, result_);
    place_label(end_);
    move(0, result_, result_slots);
    emit(Op::leave);
    return finish(begin);
  }

  Unit::Made value(Index expr, Body& body) {
    const auto begin = static_cast<std::uint32_t>(unit_.code.size());
    enter(body);
    const Slot slots = c_.slots(body.result);
    top_ = slots;
    grow();
    into(expr, 0);
    emit(Op::leave);
    return finish(begin);
  }

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
  void load_memory(Slot to, Slot address, std::uint32_t offset, Index type) {
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
  void store_place(const Place& place, Index type, Slot from) {
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
  std::uint32_t field_offset(Index base, Index field) {
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
  Index peeled_type(Index type_index, std::uint32_t peeled) {
    for (; peeled != 0; --peeled) type_index = type(type_index).args[0];
    return c_.find(type_index);
  }

  Place place_peeled(Index expr, std::uint32_t peeled) {
    if (peeled == 0) return place(expr);
    Slot address = value(expr);
    for (std::uint32_t i = 1; i < peeled; ++i) {
      const Slot next = alloc(1);
      emit(Op::load_64, next, address, 0);
      address = next;
    }
    return {true, false, address, 0};
  }

  Place place(Index expr) {
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

  /// The address and length of what `expr` is, or refers to.
  Slot receiver_slice(Index expr, std::uint32_t peeled) {
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
  Slot pair_of(Slot address, std::uint64_t length) {
    const Slot pair = alloc(2);
    move(pair, address, 1);
    load(pair + 1, length);
    return pair;
  }

  /// An expression that is a slice itself: a part of one, or what a reference to one leads to.
  Slot unsized_value(Index expr) {
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

  /// Writes the part of `whole` that `range` names to `pair`; outside of it a panic, or a jump.
  void slice_of(Slot whole, Index range, std::uint32_t stride, Slot pair, Label* outside) {
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
  std::optional<Wide> constant_value(Index expr) {
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
  static Wide largest(Integer integer) {
    const std::uint32_t bits = bits_of(integer) - (is_signed(integer) ? 1 : 0);
    return bits == 128 ? ~Wide{0} : (Wide{1} << bits) - 1;
  }

  // Values.
  /// A slot that holds the value; it may be a variable's own.
  Slot value(Index expr) {
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
  Number number(Index type_index) {
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
  void narrow(const Number& n, Slot slot, Slot from) {
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
  void rare(Rare kind, Mode mode, std::uint32_t code, Slot to, Slot left, Slot right,
            std::uint32_t extra = 0) {
    emit(Op::integer, to, left, right);
    const std::uint32_t word = emit(Op::jump, code, static_cast<std::uint32_t>(mode), extra);
    unit_.code[word].op = static_cast<Op>(kind);
  }

  void arithmetic(const std::string& op, const Number& n, Slot to, Slot left, Index right_expr) {
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

  void arithmetic_slots(const std::string& op, const Number& n, Slot to, Slot left, Slot right) {
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

  /// Whether two values of one type are equal, into a slot.
  void equal(Index type_index, Slot to, Slot left, Slot right) {
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

  void compare(const std::string& op, Index type_index, Slot to, Slot left, Slot right) {
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

  /// Jumps to `label` when `expr` is `when`.
  void condition(Index expr, bool when, Label& label) {
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
          jump_to(label,
                  n.is_signed ? (strict ? Op::jump_lt_s : Op::jump_le_s)
                              : (strict ? Op::jump_lt_u : Op::jump_le_u),
                  left, right);
          return;
        }
      }
    }
    const Slot truth = value(expr);
    jump_to(label, when ? Op::jump_if : Op::jump_unless, truth);
  }

  // Patterns: tests, jumping to `fail`, and names.
  void match(Index pattern_index, Index matched, Place from, Label* fail) {
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

  void into_kind(Index expr, Slot to) {
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

  /// What is cast to u128 from an unsigned type of at most 64 bits, or none.
  Index widened(Index expr) {
    if (at(expr).kind != ExprKind::cast) return none;
    const Index inner = at(expr).kids[0];
    const Type& found = type(type_of(inner));
    if (found.kind != Kind::integer || is_signed(found.integer) || bits_of(found.integer) > 64) return none;
    return inner;
  }

  void path(Index expr, Slot to) {
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

  void repeat(Index expr, Slot to) {
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
  /// Writes `count` times the value in `first` from `address` on.
  void fill(Slot address, Slot first, Index element, Slot count) {
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

  void cast(Index expr, Slot to) {
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
  void convert(const Number& from, const Number& n, Slot to, Slot slot) {
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

  // Statements.
  void statement(Index expr) {
    const Slot mark = top_;
    const Slot slot = alloc(c_.slots(type_of(expr)));
    into(expr, slot);
    top_ = mark;
  }

  void block(Index expr, Slot to) {
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

  void loop_for(Index expr) {
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

  // Calls.
  void call_function(Index expr, Slot to, bool is_method) {
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
      if (calls_ >= kernels::bytecode::calls_max)
        refuse("too_deep", here_, "more than 31 calls in each other");
      emit_long(Op::call, frame, made.entry);
      move(to, frame, result_slots);
    }
    top_ = mark;
  }

  void inline_call(Index function, Slot to, Slot base) {
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

  /// `x.method()` where the parameter is `self`, `&self` or `&mut self`.
  void receiver(Index expr, Index parameter, Slot to) {
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

  void call(Index expr, Slot to) {
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

  void deserialize(Index bytes, Index result, Slot to) {
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
  /// A little-endian number at an address.
  void load_bytes(Slot to, Slot address, std::uint32_t offset, const Number& n) {
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

  void from_bytes(Index bytes, Index result, Slot to, bool turned) {
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

  /// Whether `expr` is `x[a..a + size]` with the same variable `a` twice, or `x[1..9]` with numbers.
  bool spans(Index expr, std::uint32_t size) {
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

  void method(Index expr, Slot to) {
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

  void integer_method_into(Index expr, Slot to, Slot left) {
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
      emit(n.wide() ? (n.is_signed ? Op::max_sw : Op::max_uw) : (n.is_signed ? Op::max_s : Op::max_u), to,
           kept, low);
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

  void slice_method(Index expr, Slot to, Index self) {
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
  bool same_type(Index left, Index right) {
    return kind(left) == kind(right) &&
           (kind(left) != Kind::integer || type(left).integer == type(right).integer) &&
           c_.slots(left) == c_.slots(right);
  }

  void macro(Index expr, Slot to) {
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

}  // namespace

Lowering::Lowering(Checker& checker) : checker_(checker) { checker.evaluator = this; }

void Lowering::add(Unit& unit, Index function) {
  // Callees first, without recursion here: what is open when it is met again calls itself.
  struct Open {
    Index function;
    std::size_t next;
  };
  std::vector<Open> open{{function, 0}};
  std::map<Index, bool> is_open;
  is_open[function] = true;
  while (!open.empty()) {
    Open& top = open.back();
    const Body& body = checker_.body(top.function);
    if (unit.functions.count(top.function) != 0 || top.next == body.callees.size()) {
      if (unit.functions.count(top.function) == 0)
        unit.functions[top.function] = BodyLowering(*this, unit).function(top.function);
      is_open[top.function] = false;
      open.pop_back();
      continue;
    }
    const Index callee = body.callees[top.next++];
    if (unit.functions.count(callee) != 0) continue;
    if (is_open[callee])
      refuse("recursion", checker_.tree().functions[callee].at,
             "`" + checker_.tree().functions[callee].name + "` calls itself; recursion is not supported");
    is_open[callee] = true;
    open.push_back({callee, 0});
  }
}

std::uint32_t Lowering::place_bytes(const void* bytes, std::size_t size) {
  while (constants_.size() % 8 != 0) constants_.push_back(0);
  if (constants_.size() + size > constants_bytes_max)
    refuse("too_large", {}, "the constants take more than 256 KiB");
  const auto place = static_cast<std::uint32_t>(constants_.size());
  const auto* from = static_cast<const unsigned char*>(bytes);
  if (size != 0) constants_.insert(constants_.end(), from, from + size);
  return place;
}

std::uint32_t Lowering::constant_place(Index constant_index, Position at) {
  const auto found = places_.find(constant_index);
  if (found != places_.end()) return found->second;
  const std::vector<std::uint64_t> value = constant(constant_index, at);
  const std::uint32_t place = place_bytes(value.data(), value.size() * 8);
  places_[constant_index] = place;
  return place;
}

std::vector<std::uint64_t> Lowering::run(Index expr, Index type, Body& body, Position at) {
  Unit unit;
  for (const Index callee : body.callees) add(unit, callee);
  const Unit::Made made = BodyLowering(*this, unit).value(expr, body);
  std::vector<std::uint64_t> stack(made.stack_slots + 8);
  kernels::bytecode::Program program;
  program.code = unit.code.data();
  program.pool = unit.pool.data();
  program.constants = constants_.data();
  program.constants_bytes = static_cast<std::uint32_t>(constants_.size());
  program.stack_slots = static_cast<std::uint32_t>(stack.size());
  kernels::bytecode::Memory memory;
  memory.stack = stack.data();
  const auto outcome = kernels::bytecode::run_at(program, made.entry, memory, fuel_);
  fuel_ -= std::min(fuel_, outcome.fuel_used);
  if (outcome.ending != Ending::returned)
    refuse("constant_failed", at,
           outcome.ending == Ending::step_limit ? "this constant takes too long to compute"
                                                : "computing this constant panics");
  std::vector<std::uint64_t> value(stack.begin(), stack.begin() + checker_.slots(type));
  keep(value.data(), type, stack, 0);
  return value;
}

void Lowering::keep(std::uint64_t* value, Index type, const std::vector<std::uint64_t>& stack, int depth) {
  // What a constant refers to may lie on the stack that computed it: it moves among the constants.
  const Type found = checker_.at(type);
  if (found.kind == Kind::tuple) {
    for (const Index kid : found.args) {
      keep(value, kid, stack, depth);
      value += checker_.slots(kid);
    }
  }
  if (found.kind != Kind::reference || value[0] >> 32 != 0) return;
  if (depth > 4) refuse("unsupported", {}, "references in each other in a constant");
  const Type behind = checker_.at(found.args[0]);
  const bool slice = behind.kind == Kind::slice;
  if (slice ? checker_.at(behind.args[0]).kind == Kind::reference : behind.kind == Kind::reference)
    refuse("unsupported", {}, "references in each other in a constant");
  std::uint64_t size = checker_.slots(found.args[0]) * std::uint64_t{8};
  if (slice) size = checker_.stride(behind.args[0]) * value[1];
  if (behind.kind == Kind::text) size = value[1];
  const std::uint64_t offset = value[0] & 0xffffffffU;
  if (offset > stack.size() * 8 || size > stack.size() * 8 - offset)
    refuse("constant_failed", {}, "a constant refers to what is gone");
  const std::uint32_t place = place_bytes(reinterpret_cast<const unsigned char*>(stack.data()) + offset,
                                          static_cast<std::size_t>(size));
  value[0] = static_cast<std::uint64_t>(kernels::bytecode::segment_constants) << 32 | place;
}

namespace {
/// Constants that need each other are nested; few levels are enough for what people write.
class Nested {
 public:
  Nested(std::uint32_t& depth, Position at) : depth_(depth) {
    if (++depth_ > 8) {
      --depth_;
      refuse("constant_failed", at, "constants depend on each other too deeply, or in a circle");
    }
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  ~Nested() { --depth_; }

 private:
  std::uint32_t& depth_;
};
}  // namespace

const std::vector<std::uint64_t>& Lowering::constant(Index constant_index, Position at) {
  const auto found = values_.find(constant_index);
  if (found != values_.end()) return found->second;
  const Nested nested(depth_, at);
  checker_.check_constant(constant_index);
  Body& body = checker_.constant_body(constant_index);
  const Index expr = checker_.tree().constants[constant_index].value;
  auto value = run(expr, body.result, body, at);
  return values_[constant_index] = std::move(value);
}

std::vector<std::uint64_t> Lowering::expression(Index expr, Index type, Index) {
  const Expr& node = checker_.tree().exprs[expr];
  if (node.kind == ExprKind::integer && node.suffix.empty())
    return {static_cast<std::uint64_t>(node.number > ~std::uint64_t{0} ? ~std::uint64_t{0} : node.number)};
  const Position at = node.at;
  const Nested nested(depth_, at);
  Body body = checker_.check_value(expr, type);
  return run(expr, type, body, at);
}

}  // namespace calyx::strategy
