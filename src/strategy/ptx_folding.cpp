// What an instruction makes of numbers that are known.
#include <cstring>

#include "strategy/ptx_emitter.hpp"

namespace calyx::strategy::ptx {
namespace {

std::optional<std::uint64_t> folded_64(Op op, std::uint64_t x, std::uint64_t y) {
  const auto sx = static_cast<std::int64_t>(x);
  const auto sy = static_cast<std::int64_t>(y);
  switch (op) {
    case Op::add:
    case Op::add_i: return x + y;
    case Op::sub:
    case Op::sub_i: return x - y;
    case Op::mul:
    case Op::mul_i: return x * y;
    case Op::div_u:
    case Op::div_i: return y == 0 ? std::nullopt : std::optional(x / y);
    case Op::rem_u:
    case Op::rem_i: return y == 0 ? std::nullopt : std::optional(x % y);
    case Op::bit_and:
    case Op::and_i: return x & y;
    case Op::bit_or: return x | y;
    case Op::bit_xor: return x ^ y;
    case Op::shift_left:
    case Op::shift_left_i: return x << (y & 63);
    case Op::shift_right_u:
    case Op::shift_right_i: return x >> (y & 63);
    case Op::shift_right_s: return static_cast<std::uint64_t>(sx >> (y & 63));
    case Op::eq: return x == y;
    case Op::ne: return x != y;
    case Op::lt_u: return x < y;
    case Op::le_u: return x <= y;
    case Op::lt_s: return sx < sy;
    case Op::le_s: return sx <= sy;
    case Op::min_u: return x < y ? x : y;
    case Op::max_u: return x > y ? x : y;
    case Op::min_s: return sx < sy ? x : y;
    case Op::max_s: return sx > sy ? x : y;
    case Op::sub_saturating: return x > y ? x - y : 0;
    default: return std::nullopt;
  }
}

std::optional<std::uint64_t> folded_one(Op op, std::uint64_t x) {
  const auto sign = [](auto cut) { return static_cast<std::uint64_t>(std::int64_t{cut}); };
  switch (op) {
    case Op::bit_not: return ~x;
    case Op::bool_not: return x ^ 1;
    case Op::negate: return 0 - x;
    case Op::zero_8: return x & 0xffU;
    case Op::zero_16: return x & 0xffffU;
    case Op::zero_32: return x & 0xffffffffU;
    case Op::sign_8: return sign(static_cast<std::int8_t>(x));
    case Op::sign_16: return sign(static_cast<std::int16_t>(x));
    case Op::sign_32: return sign(static_cast<std::int32_t>(x));
    default: return std::nullopt;
  }
}

Folded one_word(std::optional<std::uint64_t> word) { return word ? Folded{1, {*word, 0}} : Folded{}; }

/// A number of the program's constants.
Folded loaded(const Compiled& made, std::uint64_t address, std::uint32_t size) {
  const std::uint64_t offset = address & 0xffffffffU;
  if ((address >> 32) != kb::segment_constants || size > made.constants.size() ||
      offset > made.constants.size() - size)
    return {};
  std::uint64_t word = 0;
  std::memcpy(&word, made.constants.data() + offset, size);
  return one_word(word);
}

}  // namespace

Folded folded(const Compiled& made, const Instruction& it, std::uint32_t frame, const Known& known) {
  const auto b = known.at(frame + it.b);
  const auto c = known.at(frame + it.c);
  switch (it.op) {
    case Op::load:
      return one_word(static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(long_operand(it))}));
    case Op::constant: return one_word(made.pool[long_operand(it)]);
    case Op::constant_w: return {2, {made.pool[long_operand(it)], made.pool[long_operand(it) + 1]}};
    case Op::address: return one_word((std::uint64_t{frame} + it.b) * 8);
    case Op::address_constant: return one_word(std::uint64_t{kb::segment_constants} << 32 | long_operand(it));
    case Op::add_i:
    case Op::sub_i:
    case Op::mul_i:
    case Op::div_i:
    case Op::rem_i:
    case Op::and_i:
    case Op::shift_left_i:
    case Op::shift_right_i: return b ? one_word(folded_64(it.op, *b, it.c)) : Folded{};
    case Op::bit_not:
    case Op::bool_not:
    case Op::negate:
    case Op::zero_8:
    case Op::zero_16:
    case Op::zero_32:
    case Op::sign_8:
    case Op::sign_16:
    case Op::sign_32: return b ? one_word(folded_one(it.op, *b)) : Folded{};
    case Op::widen_u: return b ? Folded{2, {*b, 0}} : Folded{};
    case Op::widen_s: return b ? Folded{2, {*b, (*b >> 63) != 0 ? ~std::uint64_t{0} : 0}} : Folded{};
    case Op::load_8: return b ? loaded(made, *b + it.c, 1) : Folded{};
    case Op::load_16: return b ? loaded(made, *b + it.c, 2) : Folded{};
    case Op::load_32: return b ? loaded(made, *b + it.c, 4) : Folded{};
    case Op::load_64: return b ? loaded(made, *b + it.c, 8) : Folded{};
    default: return b && c ? one_word(folded_64(it.op, *b, *c)) : Folded{};
  }
}

std::optional<bool> jumps(const Instruction& it, std::uint32_t frame, const Known& known) {
  const auto a = known.at(frame + it.a);
  const auto b = known.at(frame + it.b);
  const auto high = known.at(frame + it.a + 1);
  const auto both = [&](Op op) -> std::optional<bool> {
    if (!a || !b) return std::nullopt;
    return folded_64(op, *a, *b) == std::uint64_t{1};
  };
  switch (it.op) {
    case Op::jump_if: return a ? std::optional(*a != 0) : std::nullopt;
    case Op::jump_unless: return a ? std::optional(*a == 0) : std::nullopt;
    case Op::jump_eq_i: return a ? std::optional(*a == it.b) : std::nullopt;
    case Op::jump_ne_i: return a ? std::optional(*a != it.b) : std::nullopt;
    case Op::jump_zero_w: return a && high ? std::optional((*a | *high) == 0) : std::nullopt;
    case Op::jump_not_zero_w: return a && high ? std::optional((*a | *high) != 0) : std::nullopt;
    case Op::jump_eq: return both(Op::eq);
    case Op::jump_ne: return both(Op::ne);
    case Op::jump_lt_u: return both(Op::lt_u);
    case Op::jump_le_u: return both(Op::le_u);
    case Op::jump_lt_s: return both(Op::lt_s);
    case Op::jump_le_s: return both(Op::le_s);
    default: return std::nullopt;
  }
}

Written written(const Instruction& it, const Instruction* how) {
  switch (it.op) {
    case Op::jump:
    case Op::jump_if:
    case Op::jump_unless:
    case Op::call:
    case Op::leave:
    case Op::panic:
    case Op::require:
    case Op::fuel_end:
    case Op::jump_eq:
    case Op::jump_ne:
    case Op::jump_lt_u:
    case Op::jump_le_u:
    case Op::jump_lt_s:
    case Op::jump_le_s:
    case Op::jump_eq_i:
    case Op::jump_ne_i:
    case Op::jump_zero_w:
    case Op::jump_not_zero_w:
    case Op::store_8:
    case Op::store_16:
    case Op::store_32:
    case Op::store_64:
    case Op::store_many:
    case Op::copy:
    case Op::fill_8:
    case Op::fill_slots:
    case Op::bound:
    case Op::range: return {};
    case Op::move_many:
    case Op::clear:
    case Op::load_many: return {it.a, it.c};
    case Op::move_w:
    case Op::constant_w:
    case Op::add_w:
    case Op::sub_w:
    case Op::mul_w:
    case Op::div_uw:
    case Op::div_sw:
    case Op::rem_uw:
    case Op::rem_sw:
    case Op::and_w:
    case Op::or_w:
    case Op::xor_w:
    case Op::shift_left_w:
    case Op::shift_right_uw:
    case Op::shift_right_sw:
    case Op::add_wi:
    case Op::sub_wi:
    case Op::mul_wi:
    case Op::div_wi:
    case Op::rem_wi:
    case Op::mul_wide:
    case Op::min_uw:
    case Op::max_uw:
    case Op::min_sw:
    case Op::max_sw:
    case Op::sub_saturating_w:
    case Op::not_w:
    case Op::negate_w:
    case Op::widen_u:
    case Op::widen_s:
    case Op::double_to_uw:
    case Op::double_to_sw: return {it.a, 2};
    case Op::integer: {
      const std::uint32_t width = kb::detail::bits_of_type(how->a) == 128 ? 2 : 1;
      const auto mode = static_cast<Mode>(how->b);
      return {it.a, mode == Mode::checked || mode == Mode::overflowing ? width + 1 : width};
    }
    default: return {it.a, 1};
  }
}

}  // namespace calyx::strategy::ptx
