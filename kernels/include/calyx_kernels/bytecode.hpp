/// \file
/// The bytecode of a strategy, and the machine that runs it: on a host and on a device, with the same
/// results.
///
/// Start at `compute_swap` and `after_swap`. A program has no loop in its calls, so what stack it needs is
/// known (`Program::stack_slots`); everything that it can do wrong ends the call with an `Ending` and the
/// instruction at which it was.
///
/// A frame is an array of 8-byte slots. An instruction names slots of its frame; a number of 128 bits takes
/// two, the low one first. Integers below 64 bits fill their slot, with zeros or with their sign. An address
/// is a segment (high 32 bits) and an offset in bytes; each access is checked against its segment.
///
/// Units: fuel is instructions executed; offsets are bytes, frames are slots of 8 bytes.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/bytes.hpp"
#include "calyx_kernels/elementary.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"

namespace calyx::kernels::bytecode {

__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 SignedWide;

/// Calls that may be open at once.
inline constexpr std::uint32_t calls_max = 32;
/// What one call of a program may execute, unless its caller says otherwise.
inline constexpr std::uint64_t fuel_default = 10'000'000;

/// In the comments a, b, c are slots, `i` is the last operand as a signed number, `to` a jump's distance in
/// it. Two slots are read or written where a name ends in `_w` (128 bits).
enum class Op : std::uint16_t {
  // Moving: load is a = the 32 bits in b and c; constant is a = pool[32 bits]; the counts are slots.
  move,
  move_w,
  move_many,
  load,
  constant,
  constant_w,
  clear,
  // Control: the 32 bits in b and c of `call` are the entry, its frame begins at slot a.
  jump,
  jump_if,
  jump_unless,
  call,
  leave,
  panic,
  require,
  fuel_end,
  // 64 bits: a = b op c.
  add,
  sub,
  mul,
  div_u,
  div_s,
  rem_u,
  rem_s,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right_u,
  shift_right_s,
  add_i,
  sub_i,
  mul_i,
  div_i,
  rem_i,
  and_i,
  shift_left_i,
  shift_right_i,
  eq,
  ne,
  lt_u,
  le_u,
  lt_s,
  le_s,
  min_u,
  max_u,
  min_s,
  max_s,
  sub_saturating,
  bit_not,
  bool_not,
  negate,
  jump_eq,
  jump_ne,
  jump_lt_u,
  jump_le_u,
  jump_lt_s,
  jump_le_s,
  jump_eq_i,
  jump_ne_i,
  jump_zero_w,
  jump_not_zero_w,
  // To a width: a = b.
  zero_8,
  zero_16,
  zero_32,
  sign_8,
  sign_16,
  sign_32,
  // 128 bits.
  add_w,
  sub_w,
  mul_w,
  div_uw,
  div_sw,
  rem_uw,
  rem_sw,
  and_w,
  or_w,
  xor_w,
  shift_left_w,
  shift_right_uw,
  shift_right_sw,
  add_wi,
  sub_wi,
  mul_wi,
  div_wi,
  rem_wi,
  mul_wide,
  eq_w,
  ne_w,
  lt_uw,
  le_uw,
  lt_sw,
  le_sw,
  min_uw,
  max_uw,
  min_sw,
  max_sw,
  sub_saturating_w,
  not_w,
  negate_w,
  widen_u,
  widen_s,
  // Doubles.
  add_f,
  sub_f,
  mul_f,
  div_f,
  rem_f,
  negate_f,
  eq_f,
  ne_f,
  lt_f,
  le_f,
  function_f,
  power_f,
  power_i,
  fused_f,
  // Between integers and doubles; c of double_to_* is the width in bits.
  u_to_double,
  s_to_double,
  uw_to_double,
  sw_to_double,
  double_to_u,
  double_to_s,
  double_to_uw,
  double_to_sw,
  // Memory: `address` is a = the address of slot b, `load_*` a = [b + i], `store_*` [a + i] = b.
  address,
  address_constant,
  load_8,
  load_16,
  load_32,
  load_64,
  load_many,
  store_8,
  store_16,
  store_32,
  store_64,
  store_many,
  copy,
  fill_8,
  fill_slots,
  // Slices are an address and a length: `bound` asks a < b, `range` a <= b <= c; index_8 is a = b[c].
  bound,
  range,
  index_8,
  index_address,
  // An integer operation of the rare kind: the next word says which, for which type, and how it may overflow.
  integer,
};

/// One operation with three operands.
struct Instruction {
  Op op;
  std::uint16_t a;
  std::uint16_t b;
  std::uint16_t c;
};

CALYX_HD inline std::uint32_t long_operand(const Instruction& it) {
  return it.b | static_cast<std::uint32_t>(it.c) << 16;
}

/// A function of one double, the third operand of `function_f`.
enum class RealFunction : std::uint16_t {
  square_root,
  exp,
  ln,
  log2,
  log10,
  exp2,
  floor,
  ceil,
  round,
  truncate,
  absolute,
  sine,
  cosine,
  sign,
  minimum,
  maximum,
  copy_sign,
};

/// What `integer` does, in the op of its next word.
enum class Rare : std::uint16_t {
  add,
  sub,
  mul,
  div,
  rem,
  power,
  negate,
  absolute,
  shift_left,
  shift_right,
  div_euclid,
  rem_euclid,
  div_ceil,
  abs_diff,
  unsigned_abs,
  sign,
  leading_zeros,
  trailing_zeros,
  count_ones,
  square_root,
  log2,
  log10,
  rotate_left,
  rotate_right,
  swap_bytes,
  is_power_of_two,
  next_power_of_two,
  convert,
};
/// How an overflow ends: in the low bits, in None, at the limit, or in a flag beside the low bits.
enum class Mode : std::uint16_t { wrapping, checked, saturating, overflowing };

/// Why a call ended.
enum class Ending : std::uint16_t {
  returned,
  step_limit,
  panic_index,     ///< An index or a range outside of its slice.
  panic_divide,    ///< A division by zero, or one whose quotient does not fit.
  panic_unwrap,    ///< `unwrap` or `expect` of nothing.
  panic_explicit,  ///< `panic!`, `unreachable!` or a failed `assert!`.
  panic_length,    ///< Two slices that should be equally long.
  panic_argument,  ///< An argument that the function refuses, as `clamp` with its limits crossed.
  panic_memory,    ///< A reference to what is gone: Rust refuses such a source, this compiler need not.
};

/// A compiled program, as plain arrays that a device can read.
struct Program {
  static constexpr std::uint32_t no_entry = 0xffffffffU;
  const Instruction* code = nullptr;
  const std::uint64_t* pool = nullptr;
  const unsigned char* constants = nullptr;
  std::uint32_t constants_bytes = 0;
  std::uint32_t stack_slots = 0;
  std::uint32_t compute_swap = no_entry;
  std::uint32_t after_swap = no_entry;
};

/// What a call may read and write. Owns: nothing.
struct Memory {
  std::uint64_t* stack = nullptr;       ///< `Program::stack_slots`; what is in them does not matter.
  const unsigned char* data = nullptr;  ///< The payload, read only.
  std::uint32_t data_bytes = 0;
  unsigned char* storage = nullptr;  ///< Null for a call that gets none.
  std::uint32_t storage_bytes = 0;
};

/// How a call ended. `at` is the index of the last instruction.
struct Outcome {
  Ending ending = Ending::returned;
  std::uint32_t at = 0;
  std::uint64_t value = 0;
  std::uint64_t fuel_used = 0;
};

enum Segment : std::uint32_t { segment_stack, segment_data, segment_storage, segment_constants };

namespace detail {

CALYX_HD inline Wide wide(const std::uint64_t* slot) { return slot[0] | static_cast<Wide>(slot[1]) << 64; }
CALYX_HD inline SignedWide wide_s(const std::uint64_t* slot) { return static_cast<SignedWide>(wide(slot)); }
CALYX_HD inline void put(std::uint64_t* slot, Wide value) {
  slot[0] = static_cast<std::uint64_t>(value);
  slot[1] = static_cast<std::uint64_t>(value >> 64);
}

/// Most divisions have small operands, and the processor divides those by itself.
CALYX_HD inline Wide divide(Wide left, Wide right) {
  if (((left | right) >> 64) == 0)
    return static_cast<std::uint64_t>(left) / static_cast<std::uint64_t>(right);
  return left / right;
}

/// What follows asks for an unsigned divisor below 2^16: two halves of 64 bits, the rest below 2^16 carried.
CALYX_HD inline Wide divide_small(Wide left, std::uint32_t right) {
  const auto high = static_cast<std::uint64_t>(left >> 64);
  const auto low = static_cast<std::uint64_t>(left);
  if (high == 0) return low / right;
  const std::uint64_t top = high / right;
  const std::uint64_t upper = (high % right) << 32 | low >> 32;
  const std::uint64_t lower = (upper % right) << 32 | (low & 0xffffffffULL);
  return static_cast<Wide>(top) << 64 | (upper / right) << 32 | lower / right;
}

/// An integer type: its width in the low bits, 256 for a signed one.
CALYX_HD inline std::uint32_t bits_of_type(std::uint32_t type) { return type & 0xffU; }
CALYX_HD inline bool type_is_signed(std::uint32_t type) { return (type & 0x100U) != 0; }

CALYX_HD inline Wide mask(std::uint32_t bits) { return bits == 128 ? ~Wide{0} : (Wide{1} << bits) - 1; }

/// `value` cut to the type, and filled up with zeros or its sign.
CALYX_HD inline Wide cut(Wide value, std::uint32_t type) {
  const std::uint32_t bits = bits_of_type(type);
  if (bits == 128) return value;
  value &= mask(bits);
  if (type_is_signed(type) && (value >> (bits - 1)) != 0) value |= ~mask(bits);
  return value;
}
CALYX_HD inline Wide read_as(const std::uint64_t* slot, std::uint32_t type) {
  if (bits_of_type(type) == 128) return wide(slot);
  return type_is_signed(type) ? static_cast<Wide>(static_cast<SignedWide>(static_cast<std::int64_t>(slot[0])))
                              : static_cast<Wide>(slot[0]);
}
CALYX_HD inline void write_as(std::uint64_t* slot, Wide value, std::uint32_t type) {
  slot[0] = static_cast<std::uint64_t>(value);
  if (bits_of_type(type) == 128) slot[1] = static_cast<std::uint64_t>(value >> 64);
}
CALYX_HD inline bool below_zero(Wide value) { return (value >> 127) != 0; }

/// The low bits of a result, whether it did not fit, and on which side.
struct Fitted {
  Wide value;
  bool over;
  bool low_side;
};

CALYX_HD inline Fitted fitted_product(Wide x, Wide y, std::uint32_t type) {
  const bool is_signed = type_is_signed(type);
  const bool negative = is_signed && below_zero(x) != below_zero(y);
  const Wide left = is_signed && below_zero(x) ? Wide{0} - x : x;
  const Wide right = is_signed && below_zero(y) ? Wide{0} - y : y;
  const Wide size = left * right;
  bool over = false;
  if ((left >> 64) != 0 || (right >> 64) != 0) over = left != 0 && right != 0 && divide(size, left) != right;
  const std::uint32_t bits = bits_of_type(type);
  const Wide limit = !is_signed ? mask(bits) : negative ? Wide{1} << (bits - 1) : mask(bits - 1);
  if (size > limit) over = true;
  return {cut(negative ? Wide{0} - size : size, type), over, negative};
}

CALYX_HD inline Fitted fitted_sum(Wide x, Wide y, std::uint32_t type) {
  const Wide sum = x + y;
  const Wide value = cut(sum, type);
  if (!type_is_signed(type)) return {value, value < x || value != sum, false};
  const bool over = below_zero(x) == below_zero(y) && below_zero(value) != below_zero(x);
  return {value, over || (bits_of_type(type) < 128 && value != sum), below_zero(x)};
}

CALYX_HD inline Fitted fitted_difference(Wide x, Wide y, std::uint32_t type) {
  const Wide value = cut(x - y, type);
  if (!type_is_signed(type)) return {value, x < y, true};
  const bool over = below_zero(x) != below_zero(y) && below_zero(value) != below_zero(x);
  return {value, over || (bits_of_type(type) < 128 && value != x - y), below_zero(x)};
}

CALYX_HD inline std::uint32_t leading_zeros(Wide value) {
  std::uint32_t count = 0;
  for (std::uint32_t step = 64; step != 0; step >>= 1)
    if ((value >> (128 - step)) == 0) {
      count += step;
      value <<= step;
    }
  return value == 0 ? 128 : count;
}

/// The square root, rounded down, bit by bit.
CALYX_HD inline Wide root(Wide value) {
  Wide result = 0;
  Wide bit = Wide{1} << 126;
  while (bit > value) bit >>= 2;
  while (bit != 0) {
    if (value >= result + bit) {
      value -= result + bit;
      result = (result >> 1) + bit;
    } else {
      result >>= 1;
    }
    bit >>= 2;
  }
  return result;
}

CALYX_HD inline Wide quotient(Wide x, Wide y, bool is_signed) {
  if (!is_signed) return divide(x, y);
  const Wide size = divide(below_zero(x) ? Wide{0} - x : x, below_zero(y) ? Wide{0} - y : y);
  return below_zero(x) != below_zero(y) ? Wide{0} - size : size;
}

/// One rare operation. Gives `returned`, or how it ends the call.
CALYX_HD_APART inline Ending integer_operation(const Instruction& it, const Instruction& how,
                                               std::uint64_t* frame) {
  const std::uint32_t type = how.a;
  const bool is_signed = type_is_signed(type);
  const std::uint32_t bits = bits_of_type(type);
  const auto kind = static_cast<Rare>(how.op);
  const auto mode = static_cast<Mode>(how.b);
  const Wide x = read_as(frame + it.b, type);
  // The second operand of these is a count, whatever the type of the first.
  const bool counted = kind == Rare::power || kind == Rare::shift_left || kind == Rare::shift_right ||
                       kind == Rare::rotate_left || kind == Rare::rotate_right;
  const Wide y = counted ? static_cast<Wide>(frame[it.c]) : read_as(frame + it.c, type);
  Fitted result{0, false, false};
  bool nothing = false;  // Has no result in any mode but `checked`.
  const Wide least = is_signed ? cut(Wide{1} << (bits - 1), type) : 0;
  switch (kind) {
    case Rare::add: result = fitted_sum(x, y, type); break;
    case Rare::sub: result = fitted_difference(x, y, type); break;
    case Rare::mul: result = fitted_product(x, y, type); break;
    case Rare::div:
    case Rare::rem:
    case Rare::div_euclid:
    case Rare::rem_euclid: {
      if (y == 0) {
        nothing = true;
        break;
      }
      const bool remainder = kind == Rare::rem || kind == Rare::rem_euclid;
      if (is_signed && x == least && y == ~Wide{0}) {
        result = {remainder ? 0 : least, true, false};
        break;
      }
      Wide q = quotient(x, y, is_signed);
      Wide r = x - q * y;
      if (is_signed && below_zero(r) && (kind == Rare::div_euclid || kind == Rare::rem_euclid)) {
        q = below_zero(y) ? q + 1 : q - 1;
        r = below_zero(y) ? r - y : r + y;
      }
      result.value = cut(remainder ? r : q, type);
      break;
    }
    case Rare::div_ceil: {
      if (y == 0) {
        nothing = true;
        break;
      }
      const Wide q = divide(x, y);
      result.value = q * y == x ? q : q + 1;
      break;
    }
    case Rare::power: {
      Fitted base{x, false, false};
      result.value = 1;
      bool over = false;
      bool negative = false;
      for (Wide left = y; left != 0; left >>= 1) {
        if ((left & 1) != 0) {
          over = over || base.over;
          const Fitted next = fitted_product(result.value, base.value, type);
          over = over || next.over;
          result.value = next.value;
        }
        if (left > 1) {
          const Fitted square = fitted_product(base.value, base.value, type);
          base = {square.value, base.over || square.over, false};
        }
      }
      negative = is_signed && below_zero(x) && (y & 1) != 0;
      result = {result.value, over, negative};
      break;
    }
    case Rare::negate: result = {cut(Wide{0} - x, type), is_signed ? x == least : x != 0, !is_signed}; break;
    case Rare::absolute:
      result = {is_signed && below_zero(x) ? cut(Wide{0} - x, type) : x, is_signed && x == least, false};
      break;
    case Rare::unsigned_abs: {
      const Wide size = is_signed && below_zero(x) ? Wide{0} - x : x;
      result.value = size & mask(bits);
      break;
    }
    case Rare::shift_left:
    case Rare::shift_right: {
      const auto count = static_cast<std::uint32_t>(y) & (bits - 1);
      result.over = y >= bits;
      if (kind == Rare::shift_left)
        result.value = cut(x << count, type);
      else
        result.value = is_signed ? static_cast<Wide>(static_cast<SignedWide>(x) >> count) : x >> count;
      break;
    }
    case Rare::abs_diff: {
      const bool less = is_signed ? static_cast<SignedWide>(x) < static_cast<SignedWide>(y) : x < y;
      result.value = (less ? y - x : x - y) & mask(bits);
      break;
    }
    case Rare::sign: result.value = x == 0 ? 0 : below_zero(x) ? ~Wide{0} : 1; break;
    case Rare::leading_zeros: result.value = leading_zeros(x & mask(bits)) - (128 - bits); break;
    case Rare::trailing_zeros: {
      const Wide masked = x & mask(bits);
      result.value = masked == 0 ? bits : 127 - leading_zeros(masked & (Wide{0} - masked));
      break;
    }
    case Rare::count_ones: {
      std::uint32_t count = 0;
      for (Wide left = x & mask(bits); left != 0; left &= left - 1) ++count;
      result.value = count;
      break;
    }
    case Rare::square_root:
      if (is_signed && below_zero(x))
        nothing = true;
      else
        result.value = root(x);
      break;
    case Rare::log2:
    case Rare::log10: {
      if (x == 0 || (is_signed && below_zero(x))) {
        nothing = true;
        break;
      }
      if (kind == Rare::log2) {
        result.value = 127 - leading_zeros(x);
        break;
      }
      std::uint32_t digits = 0;
      for (Wide left = x; left >= 10; left = divide_small(left, 10)) ++digits;
      result.value = digits;
      break;
    }
    case Rare::rotate_left:
    case Rare::rotate_right: {
      std::uint32_t count = static_cast<std::uint32_t>(y) & (bits - 1);
      if (kind == Rare::rotate_right) count = (bits - count) & (bits - 1);
      const Wide masked = x & mask(bits);
      result.value = count == 0 ? x : cut(masked << count | masked >> (bits - count), type);
      break;
    }
    case Rare::swap_bytes: {
      Wide swapped = 0;
      for (std::uint32_t i = 0; i < bits; i += 8) swapped = swapped << 8 | ((x >> i) & 0xffU);
      result.value = cut(swapped, type);
      break;
    }
    case Rare::is_power_of_two: result.value = x != 0 && (x & (x - 1)) == 0 ? 1 : 0; break;
    case Rare::next_power_of_two: {
      const std::uint32_t up = x <= 1 ? 0 : 128 - leading_zeros(x - 1);
      result = {up >= bits ? 0 : Wide{1} << up, up >= bits, false};
      break;
    }
    case Rare::convert: {
      // From the type in c of the next word; what does not fit is over.
      const Wide from = read_as(frame + it.b, how.c);
      const bool negative = type_is_signed(how.c) && below_zero(from);
      const Wide value = cut(from, type);
      const bool turned = is_signed ? !negative && below_zero(value) : negative;
      result = {value, value != from || turned, negative};
      break;
    }
  }
  std::uint64_t* out = frame + it.a;
  if (mode == Mode::checked) {
    const bool some = !nothing && !result.over;
    out[0] = some ? 1 : 0;
    write_as(out + 1, some ? result.value : 0, type);
    return Ending::returned;
  }
  if (nothing)
    return kind == Rare::square_root || kind == Rare::log2 || kind == Rare::log10 ? Ending::panic_argument
                                                                                  : Ending::panic_divide;
  if (mode == Mode::saturating && result.over)
    result.value = result.low_side ? least : is_signed ? mask(bits - 1) : mask(bits);
  write_as(out, result.value, type);
  if (mode == Mode::overflowing) out[bits == 128 ? 2 : 1] = result.over ? 1 : 0;
  return Ending::returned;
}

/// A whole number nearest below: doubles from 2^52 on are whole already.
CALYX_HD inline double floor_of(double value) {
  if (!(math::absolute(value) < 0x1p52)) return value;
  const double cut = static_cast<double>(static_cast<std::int64_t>(value));
  const double down = cut > value ? cut - 1.0 : cut;
  return down == 0.0 && (math::bits_of(value) >> 63) != 0 ? -0.0 : down;
}
CALYX_HD inline double truncate_of(double value) {
  if (!(math::absolute(value) < 0x1p52)) return value;
  const double cut = math::absolute(static_cast<double>(static_cast<std::int64_t>(value)));
  return (math::bits_of(value) >> 63) != 0 ? -cut : cut;
}
/// Halves go away from zero.
CALYX_HD inline double round_of(double value) {
  if (!(math::absolute(value) < 0x1p52)) return value;
  const double size = math::absolute(value);
  const double cut = truncate_of(size);
  const double up = size - cut >= 0.5 ? cut + 1.0 : cut;
  return (math::bits_of(value) >> 63) != 0 ? -up : up;
}

/// Every result that is not a number has the same bits: processors disagree about them.
CALYX_HD inline std::uint64_t bits_put(double value) {
  return value != value ? 0x7ff8000000000000ULL : math::bits_of(value);
}

CALYX_HD_APART inline double function_of(RealFunction function, double x, double y) {
  switch (function) {
    case RealFunction::square_root: return math::square_root(x);
    case RealFunction::exp: return math::exponential(x);
    case RealFunction::ln: return math::logarithm(x);
    case RealFunction::log2: {
      if (!(x > 0.0) || x == math::infinity) return math::logarithm(x);
      const math::Sum log = math::logarithm_sum(x);
      const math::Sum scaled = math::product(log.high, 0x1.71547652b82fep+0);
      return scaled.high + (scaled.low + (log.high * 0x1.777d0ffda0d24p-56 + log.low * 0x1.71547652b82fep+0));
    }
    case RealFunction::log10: {
      if (!(x > 0.0) || x == math::infinity) return math::logarithm(x);
      const math::Sum log = math::logarithm_sum(x);
      const math::Sum scaled = math::product(log.high, 0x1.bcb7b1526e50ep-2);
      return scaled.high + (scaled.low + (log.high * 0x1.95355baaafad3p-57 + log.low * 0x1.bcb7b1526e50ep-2));
    }
    case RealFunction::exp2: return math::power_of(2.0, x);
    case RealFunction::floor: return floor_of(x);
    case RealFunction::ceil: return -floor_of(-x);
    case RealFunction::round: return round_of(x);
    case RealFunction::truncate: return truncate_of(x);
    case RealFunction::absolute: return math::double_of(math::bits_of(x) & 0x7fffffffffffffffULL);
    case RealFunction::sine: return math::is_finite(x) ? math::sine(x) : math::not_a_number();
    case RealFunction::cosine: return math::is_finite(x) ? math::cosine(x) : math::not_a_number();
    case RealFunction::sign: return x != x ? x : (math::bits_of(x) >> 63) != 0 ? -1.0 : 1.0;
    // Of two zeros the first argument's is taken, on every backend.
    case RealFunction::minimum: return x != x ? y : y < x ? y : x;
    case RealFunction::maximum: return x != x ? y : y > x ? y : x;
    case RealFunction::copy_sign:
      return math::double_of((math::bits_of(x) & 0x7fffffffffffffffULL) |
                             (math::bits_of(y) & 0x8000000000000000ULL));
  }
  return 0.0;
}

/// The power with a whole exponent, by squaring in the order that compilers' helper has.
CALYX_HD inline double whole_power(double base, std::int32_t power) {
  const bool inverse = power < 0;
  double result = 1.0;
  for (;;) {
    if ((power & 1) != 0) result *= base;
    power /= 2;
    if (power == 0) break;
    base *= base;
  }
  return inverse ? 1.0 / result : result;
}

/// As `move_bytes`, of whole slots.
CALYX_HD inline void move_slots(std::uint64_t* to, const std::uint64_t* from, std::size_t count) {
#if CALYX_DEVICE_FORM
  if (to <= from) {
    for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
  } else {
    for (std::size_t i = count; i > 0; --i) to[i - 1] = from[i - 1];
  }
#else
  std::memmove(to, from, count * 8);
#endif
}

/// From an unsigned number of 128 bits, rounded once to nearest, ties to even.
CALYX_HD inline double double_of_wide(Wide value) {
  if ((value >> 64) == 0) return static_cast<double>(static_cast<std::uint64_t>(value));
  const std::uint32_t shift = 64 - leading_zeros(value);
  auto top = static_cast<std::uint64_t>(value >> shift);
  // What is shifted out sticks to the last of 64 bits, which is far below the 53 that are kept.
  if ((value & mask(shift)) != 0) top |= 1;
  return static_cast<double>(top) * math::double_of(static_cast<std::uint64_t>(1023 + shift) << 52);
}

/// Towards zero and into the range, as Rust's `as` does; what is not a number is 0. For widths up to 128.
CALYX_HD inline Wide saturated(double value, std::uint32_t bits, bool is_signed) {
  if (value != value) return 0;
  const bool negative = value < 0.0;
  if (negative && !is_signed) return 0;
  const double size = negative ? -value : value;
  const std::uint32_t room = is_signed ? bits - 1 : bits;
  if (size >= 0x1p127 * 2.0) return negative ? Wide{0} - (mask(room) + 1) : mask(room);
  Wide whole = 0;
  if (size >= 1.0) {
    const std::uint64_t raw = math::bits_of(size);
    const auto exponent = static_cast<std::int32_t>(raw >> 52) - 1075;
    const Wide digits = (raw & 0x000fffffffffffffULL) | 0x0010000000000000ULL;
    whole = exponent >= 0 ? digits << exponent : digits >> -exponent;
  }
  if (!negative) return whole > mask(room) ? mask(room) : whole;
  return whole > mask(room) + 1 ? Wide{0} - (mask(room) + 1) : Wide{0} - whole;
}

/// The four segments, and the bytes that an address names.
struct Segments {
  unsigned char* base[4];
  std::uint32_t bytes[4];

  /// Null where `size` bytes at `address` are not all inside, or not to be written.
  CALYX_HD unsigned char* find(std::uint64_t address, std::uint64_t size, bool to_write) const {
    const auto segment = static_cast<std::uint32_t>(address >> 32);
    const std::uint64_t offset = address & 0xffffffffULL;
    if (segment > segment_constants) return nullptr;
    if (to_write && (segment == segment_data || segment == segment_constants)) return nullptr;
    if (size > bytes[segment] || offset > bytes[segment] - size) return nullptr;
    return base[segment] + offset;
  }
};

}  // namespace detail

/// Calls the function at `entry`. Its arguments, addresses and lengths, lie in the first slots of the stack.
CALYX_HD_APART inline Outcome run_at(const Program& program, std::uint32_t entry, const Memory& memory,
                                     std::uint64_t fuel) {
  using namespace detail;
  // The constness of the payload and of the constants is kept by `Segments::find`.
  const Segments segments{
      {reinterpret_cast<unsigned char*>(memory.stack), const_cast<unsigned char*>(memory.data),
       memory.storage, const_cast<unsigned char*>(program.constants)},
      {program.stack_slots * 8, memory.data_bytes, memory.storage_bytes, program.constants_bytes}};
  const Instruction* const code = program.code;
  std::uint32_t returns[calls_max];
  std::uint32_t frames[calls_max];
  std::uint32_t depth = 0;
  std::uint64_t* fp = memory.stack;
  const Instruction* next = code + entry;
  std::uint64_t left = fuel;
  Ending ending = Ending::returned;

#define CALYX_A fp[it.a]
#define CALYX_B fp[it.b]
#define CALYX_C fp[it.c]
#define CALYX_I static_cast<std::int16_t>(it.c)
#define CALYX_DOUBLE(slot) math::double_of(slot)
#define CALYX_STOP(why)   \
  {                       \
    ending = Ending::why; \
    goto stopped;         \
  }
  for (;;) {
    const Instruction& it = *next;
    if (left == 0) CALYX_STOP(step_limit)
    --left;
    ++next;
    switch (it.op) {
      case Op::move: CALYX_A = CALYX_B; break;
      case Op::move_w: {
        const std::uint64_t low = fp[it.b];
        const std::uint64_t high = fp[it.b + 1];
        fp[it.a] = low;
        fp[it.a + 1] = high;
        break;
      }
      case Op::move_many: move_slots(fp + it.a, fp + it.b, it.c); break;
      case Op::load:
        CALYX_A = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(long_operand(it))});
        break;
      case Op::constant: CALYX_A = program.pool[long_operand(it)]; break;
      case Op::constant_w: {
        const std::uint32_t at = long_operand(it);
        fp[it.a] = program.pool[at];
        fp[it.a + 1] = program.pool[at + 1];
        break;
      }
      case Op::clear:
        for (std::uint32_t i = 0; i < it.c; ++i) fp[it.a + i] = 0;
        break;
      case Op::jump: next += CALYX_I; break;
      case Op::jump_if:
        if (CALYX_A != 0) next += CALYX_I;
        break;
      case Op::jump_unless:
        if (CALYX_A == 0) next += CALYX_I;
        break;
      case Op::call:
        // The compiler has counted the deepest chain of calls.
        returns[depth] = static_cast<std::uint32_t>(next - code);
        frames[depth] = it.a;
        ++depth;
        fp += it.a;
        next = code + long_operand(it);
        break;
      case Op::leave:
        if (depth == 0) goto stopped;
        --depth;
        fp -= frames[depth];
        next = code + returns[depth];
        break;
      case Op::panic: ending = static_cast<Ending>(it.b); goto stopped;
      case Op::require:
        if (CALYX_A == 0) {
          ending = static_cast<Ending>(it.b);
          goto stopped;
        }
        break;
      case Op::fuel_end: CALYX_STOP(step_limit)

      case Op::add: CALYX_A = CALYX_B + CALYX_C; break;
      case Op::sub: CALYX_A = CALYX_B - CALYX_C; break;
      case Op::mul: CALYX_A = CALYX_B * CALYX_C; break;
      case Op::div_u:
        if (CALYX_C == 0) CALYX_STOP(panic_divide) CALYX_A = CALYX_B / CALYX_C;
        break;
      case Op::rem_u:
        if (CALYX_C == 0) CALYX_STOP(panic_divide) CALYX_A = CALYX_B % CALYX_C;
        break;
      case Op::div_s:
      case Op::rem_s: {
        const auto x = static_cast<std::int64_t>(CALYX_B);
        const auto y = static_cast<std::int64_t>(CALYX_C);
        if (y == 0 || (y == -1 && CALYX_B == 0x8000000000000000ULL)) CALYX_STOP(panic_divide)
        CALYX_A = static_cast<std::uint64_t>(it.op == Op::div_s ? x / y : x % y);
        break;
      }
      case Op::bit_and: CALYX_A = CALYX_B & CALYX_C; break;
      case Op::bit_or: CALYX_A = CALYX_B | CALYX_C; break;
      case Op::bit_xor: CALYX_A = CALYX_B ^ CALYX_C; break;
      case Op::shift_left: CALYX_A = CALYX_B << (CALYX_C & 63); break;
      case Op::shift_right_u: CALYX_A = CALYX_B >> (CALYX_C & 63); break;
      case Op::shift_right_s:
        CALYX_A = static_cast<std::uint64_t>(static_cast<std::int64_t>(CALYX_B) >> (CALYX_C & 63));
        break;
      case Op::add_i: CALYX_A = CALYX_B + it.c; break;
      case Op::sub_i: CALYX_A = CALYX_B - it.c; break;
      case Op::mul_i: CALYX_A = CALYX_B * it.c; break;
      case Op::div_i: CALYX_A = CALYX_B / it.c; break;
      case Op::rem_i: CALYX_A = CALYX_B % it.c; break;
      case Op::and_i: CALYX_A = CALYX_B & it.c; break;
      case Op::shift_left_i: CALYX_A = CALYX_B << (it.c & 63); break;
      case Op::shift_right_i: CALYX_A = CALYX_B >> (it.c & 63); break;
      case Op::eq: CALYX_A = CALYX_B == CALYX_C ? 1 : 0; break;
      case Op::ne: CALYX_A = CALYX_B != CALYX_C ? 1 : 0; break;
      case Op::lt_u: CALYX_A = CALYX_B < CALYX_C ? 1 : 0; break;
      case Op::le_u: CALYX_A = CALYX_B <= CALYX_C ? 1 : 0; break;
      case Op::lt_s:
        CALYX_A = static_cast<std::int64_t>(CALYX_B) < static_cast<std::int64_t>(CALYX_C) ? 1 : 0;
        break;
      case Op::le_s:
        CALYX_A = static_cast<std::int64_t>(CALYX_B) <= static_cast<std::int64_t>(CALYX_C) ? 1 : 0;
        break;
      case Op::min_u: CALYX_A = CALYX_B < CALYX_C ? CALYX_B : CALYX_C; break;
      case Op::max_u: CALYX_A = CALYX_B > CALYX_C ? CALYX_B : CALYX_C; break;
      case Op::min_s:
        CALYX_A = static_cast<std::int64_t>(CALYX_B) < static_cast<std::int64_t>(CALYX_C) ? CALYX_B : CALYX_C;
        break;
      case Op::max_s:
        CALYX_A = static_cast<std::int64_t>(CALYX_B) > static_cast<std::int64_t>(CALYX_C) ? CALYX_B : CALYX_C;
        break;
      case Op::sub_saturating: CALYX_A = CALYX_B > CALYX_C ? CALYX_B - CALYX_C : 0; break;
      case Op::bit_not: CALYX_A = ~CALYX_B; break;
      case Op::bool_not: CALYX_A = CALYX_B ^ 1; break;
      case Op::negate: CALYX_A = 0 - CALYX_B; break;
      case Op::jump_eq:
        if (CALYX_A == CALYX_B) next += CALYX_I;
        break;
      case Op::jump_ne:
        if (CALYX_A != CALYX_B) next += CALYX_I;
        break;
      case Op::jump_lt_u:
        if (CALYX_A < CALYX_B) next += CALYX_I;
        break;
      case Op::jump_le_u:
        if (CALYX_A <= CALYX_B) next += CALYX_I;
        break;
      case Op::jump_lt_s:
        if (static_cast<std::int64_t>(CALYX_A) < static_cast<std::int64_t>(CALYX_B)) next += CALYX_I;
        break;
      case Op::jump_le_s:
        if (static_cast<std::int64_t>(CALYX_A) <= static_cast<std::int64_t>(CALYX_B)) next += CALYX_I;
        break;
      case Op::jump_eq_i:
        if (CALYX_A == it.b) next += CALYX_I;
        break;
      case Op::jump_ne_i:
        if (CALYX_A != it.b) next += CALYX_I;
        break;
      case Op::jump_zero_w:
        if ((fp[it.a] | fp[it.a + 1]) == 0) next += CALYX_I;
        break;
      case Op::jump_not_zero_w:
        if ((fp[it.a] | fp[it.a + 1]) != 0) next += CALYX_I;
        break;

      case Op::zero_8: CALYX_A = CALYX_B & 0xffU; break;
      case Op::zero_16: CALYX_A = CALYX_B & 0xffffU; break;
      case Op::zero_32: CALYX_A = CALYX_B & 0xffffffffU; break;
      case Op::sign_8:
        CALYX_A = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(CALYX_B)});
        break;
      case Op::sign_16:
        CALYX_A = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int16_t>(CALYX_B)});
        break;
      case Op::sign_32:
        CALYX_A = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(CALYX_B)});
        break;

      case Op::add_w: put(fp + it.a, wide(fp + it.b) + wide(fp + it.c)); break;
      case Op::sub_w: put(fp + it.a, wide(fp + it.b) - wide(fp + it.c)); break;
      case Op::mul_w: put(fp + it.a, wide(fp + it.b) * wide(fp + it.c)); break;
      case Op::div_uw:
      case Op::rem_uw: {
        const Wide x = wide(fp + it.b);
        const Wide y = wide(fp + it.c);
        if (y == 0) CALYX_STOP(panic_divide)
        const Wide q = divide(x, y);
        put(fp + it.a, it.op == Op::div_uw ? q : x - q * y);
        break;
      }
      case Op::div_sw:
      case Op::rem_sw: {
        const Wide x = wide(fp + it.b);
        const Wide y = wide(fp + it.c);
        if (y == 0 || (y == ~Wide{0} && x == Wide{1} << 127)) CALYX_STOP(panic_divide)
        const Wide q = quotient(x, y, true);
        put(fp + it.a, it.op == Op::div_sw ? q : x - q * y);
        break;
      }
      case Op::and_w: put(fp + it.a, wide(fp + it.b) & wide(fp + it.c)); break;
      case Op::or_w: put(fp + it.a, wide(fp + it.b) | wide(fp + it.c)); break;
      case Op::xor_w: put(fp + it.a, wide(fp + it.b) ^ wide(fp + it.c)); break;
      case Op::shift_left_w: put(fp + it.a, wide(fp + it.b) << (CALYX_C & 127)); break;
      case Op::shift_right_uw: put(fp + it.a, wide(fp + it.b) >> (CALYX_C & 127)); break;
      case Op::shift_right_sw: put(fp + it.a, static_cast<Wide>(wide_s(fp + it.b) >> (CALYX_C & 127))); break;
      case Op::add_wi: put(fp + it.a, wide(fp + it.b) + it.c); break;
      case Op::sub_wi: put(fp + it.a, wide(fp + it.b) - it.c); break;
      case Op::mul_wi: put(fp + it.a, wide(fp + it.b) * it.c); break;
      case Op::div_wi: put(fp + it.a, divide_small(wide(fp + it.b), it.c)); break;
      case Op::rem_wi: {
        const Wide x = wide(fp + it.b);
        put(fp + it.a, x - divide_small(x, it.c) * it.c);
        break;
      }
      case Op::mul_wide: put(fp + it.a, static_cast<Wide>(CALYX_B) * CALYX_C); break;
      case Op::eq_w: CALYX_A = wide(fp + it.b) == wide(fp + it.c) ? 1 : 0; break;
      case Op::ne_w: CALYX_A = wide(fp + it.b) != wide(fp + it.c) ? 1 : 0; break;
      case Op::lt_uw: CALYX_A = wide(fp + it.b) < wide(fp + it.c) ? 1 : 0; break;
      case Op::le_uw: CALYX_A = wide(fp + it.b) <= wide(fp + it.c) ? 1 : 0; break;
      case Op::lt_sw: CALYX_A = wide_s(fp + it.b) < wide_s(fp + it.c) ? 1 : 0; break;
      case Op::le_sw: CALYX_A = wide_s(fp + it.b) <= wide_s(fp + it.c) ? 1 : 0; break;
      case Op::min_uw: {
        const Wide x = wide(fp + it.b);
        const Wide y = wide(fp + it.c);
        put(fp + it.a, x < y ? x : y);
        break;
      }
      case Op::max_uw: {
        const Wide x = wide(fp + it.b);
        const Wide y = wide(fp + it.c);
        put(fp + it.a, x > y ? x : y);
        break;
      }
      case Op::min_sw: {
        const SignedWide x = wide_s(fp + it.b);
        const SignedWide y = wide_s(fp + it.c);
        put(fp + it.a, static_cast<Wide>(x < y ? x : y));
        break;
      }
      case Op::max_sw: {
        const SignedWide x = wide_s(fp + it.b);
        const SignedWide y = wide_s(fp + it.c);
        put(fp + it.a, static_cast<Wide>(x > y ? x : y));
        break;
      }
      case Op::sub_saturating_w: {
        const Wide x = wide(fp + it.b);
        const Wide y = wide(fp + it.c);
        put(fp + it.a, x > y ? x - y : 0);
        break;
      }
      case Op::not_w: put(fp + it.a, ~wide(fp + it.b)); break;
      case Op::negate_w: put(fp + it.a, Wide{0} - wide(fp + it.b)); break;
      case Op::widen_u: {
        const std::uint64_t low = CALYX_B;
        fp[it.a] = low;
        fp[it.a + 1] = 0;
        break;
      }
      case Op::widen_s: {
        const std::uint64_t low = CALYX_B;
        fp[it.a] = low;
        fp[it.a + 1] = (low >> 63) != 0 ? ~std::uint64_t{0} : 0;
        break;
      }

      case Op::add_f: CALYX_A = bits_put(CALYX_DOUBLE(CALYX_B) + CALYX_DOUBLE(CALYX_C)); break;
      case Op::sub_f: CALYX_A = bits_put(CALYX_DOUBLE(CALYX_B) - CALYX_DOUBLE(CALYX_C)); break;
      case Op::mul_f: CALYX_A = bits_put(CALYX_DOUBLE(CALYX_B) * CALYX_DOUBLE(CALYX_C)); break;
      case Op::div_f: CALYX_A = bits_put(CALYX_DOUBLE(CALYX_B) / CALYX_DOUBLE(CALYX_C)); break;
      // The remainder is exact in every library.
      case Op::rem_f: CALYX_A = bits_put(std::fmod(CALYX_DOUBLE(CALYX_B), CALYX_DOUBLE(CALYX_C))); break;
      case Op::negate_f: CALYX_A = CALYX_B ^ 0x8000000000000000ULL; break;
      case Op::eq_f: CALYX_A = CALYX_DOUBLE(CALYX_B) == CALYX_DOUBLE(CALYX_C) ? 1 : 0; break;
      case Op::ne_f: CALYX_A = CALYX_DOUBLE(CALYX_B) != CALYX_DOUBLE(CALYX_C) ? 1 : 0; break;
      case Op::lt_f: CALYX_A = CALYX_DOUBLE(CALYX_B) < CALYX_DOUBLE(CALYX_C) ? 1 : 0; break;
      case Op::le_f: CALYX_A = CALYX_DOUBLE(CALYX_B) <= CALYX_DOUBLE(CALYX_C) ? 1 : 0; break;
      // A function of two doubles has the second one in the slot after the first.
      case Op::function_f: {
        const auto function = static_cast<RealFunction>(it.c);
        const double second = function >= RealFunction::minimum ? CALYX_DOUBLE(fp[it.b + 1]) : 0.0;
        CALYX_A = bits_put(function_of(function, CALYX_DOUBLE(CALYX_B), second));
        break;
      }
      case Op::power_f:
        CALYX_A = bits_put(math::power_of(CALYX_DOUBLE(CALYX_B), CALYX_DOUBLE(CALYX_C)));
        break;
      case Op::power_i:
        CALYX_A = bits_put(whole_power(CALYX_DOUBLE(CALYX_B), static_cast<std::int32_t>(CALYX_C)));
        break;
      case Op::fused_f:
        CALYX_A =
            bits_put(std::fma(CALYX_DOUBLE(fp[it.b]), CALYX_DOUBLE(fp[it.b + 1]), CALYX_DOUBLE(CALYX_C)));
        break;

      case Op::u_to_double: CALYX_A = math::bits_of(static_cast<double>(CALYX_B)); break;
      case Op::s_to_double:
        CALYX_A = math::bits_of(static_cast<double>(static_cast<std::int64_t>(CALYX_B)));
        break;
      case Op::uw_to_double: CALYX_A = math::bits_of(double_of_wide(wide(fp + it.b))); break;
      case Op::sw_to_double: {
        const Wide x = wide(fp + it.b);
        CALYX_A = math::bits_of(below_zero(x) ? -double_of_wide(Wide{0} - x) : double_of_wide(x));
        break;
      }
      case Op::double_to_u: {
        const double value = CALYX_DOUBLE(CALYX_B);
        if (it.c == 64 && value >= 0.0 && value < 0x1p63)
          CALYX_A = static_cast<std::uint64_t>(value);
        else
          CALYX_A = static_cast<std::uint64_t>(saturated(value, it.c, false));
        break;
      }
      case Op::double_to_s:
        CALYX_A = static_cast<std::uint64_t>(saturated(CALYX_DOUBLE(CALYX_B), it.c, true));
        break;
      case Op::double_to_uw: put(fp + it.a, saturated(CALYX_DOUBLE(CALYX_B), 128, false)); break;
      case Op::double_to_sw: put(fp + it.a, saturated(CALYX_DOUBLE(CALYX_B), 128, true)); break;

      case Op::address: CALYX_A = static_cast<std::uint64_t>(fp - memory.stack + it.b) * 8; break;
      case Op::address_constant:
        CALYX_A = static_cast<std::uint64_t>(segment_constants) << 32 | long_operand(it);
        break;
#define CALYX_LOAD(type)                                                   \
  {                                                                        \
    const auto* from = segments.find(CALYX_B + it.c, sizeof(type), false); \
    if (from == nullptr) CALYX_STOP(panic_memory)                          \
    type value;                                                            \
    std::memcpy(&value, from, sizeof value);                               \
    CALYX_A = value;                                                       \
    break;                                                                 \
  }
#define CALYX_STORE(type)                                         \
  {                                                               \
    auto* to = segments.find(CALYX_A + it.c, sizeof(type), true); \
    if (to == nullptr) CALYX_STOP(panic_memory)                   \
    const auto value = static_cast<type>(CALYX_B);                \
    std::memcpy(to, &value, sizeof value);                        \
    break;                                                        \
  }
      case Op::load_8: CALYX_LOAD(std::uint8_t)
      case Op::load_16: CALYX_LOAD(std::uint16_t)
      case Op::load_32: CALYX_LOAD(std::uint32_t)
      case Op::load_64: CALYX_LOAD(std::uint64_t)
      case Op::store_8: CALYX_STORE(std::uint8_t)
      case Op::store_16: CALYX_STORE(std::uint16_t)
      case Op::store_32: CALYX_STORE(std::uint32_t)
      case Op::store_64: CALYX_STORE(std::uint64_t)
#undef CALYX_LOAD
#undef CALYX_STORE
      case Op::load_many: {
        const auto* from = segments.find(CALYX_B, std::uint64_t{it.c} * 8, false);
        if (from == nullptr) CALYX_STOP(panic_memory)
        move_bytes(fp + it.a, from, std::size_t{it.c} * 8);
        break;
      }
      case Op::store_many: {
        auto* to = segments.find(CALYX_A, std::uint64_t{it.c} * 8, true);
        if (to == nullptr) CALYX_STOP(panic_memory)
        move_bytes(to, fp + it.b, std::size_t{it.c} * 8);
        break;
      }
      // Copying and filling cost fuel by their length.
      case Op::copy: {
        const std::uint64_t size = CALYX_C;
        auto* to = segments.find(CALYX_A, size, true);
        const auto* from = segments.find(CALYX_B, size, false);
        if (to == nullptr || from == nullptr) CALYX_STOP(panic_memory)
        if (left < size / 64) CALYX_STOP(step_limit)
        left -= size / 64;
        if (size != 0) move_bytes(to, from, size);
        break;
      }
      case Op::fill_8: {
        const std::uint64_t size = CALYX_C;
        auto* to = segments.find(CALYX_A, size, true);
        if (to == nullptr) CALYX_STOP(panic_memory)
        if (left < size / 64) CALYX_STOP(step_limit)
        left -= size / 64;
        if (size != 0) std::memset(to, static_cast<int>(CALYX_B & 0xff), size);
        break;
      }
      case Op::fill_slots: {
        // Slot c of the frame is how many elements; the next slot is how many slots one has.
        const std::uint64_t count = fp[it.c];
        const std::uint64_t size = fp[it.c + 1];
        if (count > 0x10000 || size > 0x10000) CALYX_STOP(panic_memory)
        auto* to = segments.find(CALYX_A, count * size * 8, true);
        if (to == nullptr) CALYX_STOP(panic_memory)
        if (left < count) CALYX_STOP(step_limit)
        left -= count;
        for (std::uint64_t i = 0; i < count; ++i) move_bytes(to + i * size * 8, fp + it.b, size * 8);
        break;
      }
      case Op::bound:
        if (CALYX_A >= CALYX_B) CALYX_STOP(panic_index) break;
      case Op::range:
        if (CALYX_A > CALYX_B || CALYX_B > CALYX_C) CALYX_STOP(panic_index) break;
      case Op::index_8: {
        const std::uint64_t at = CALYX_C;
        if (at >= fp[it.b + 1]) CALYX_STOP(panic_index)
        const auto* from = segments.find(fp[it.b] + at, 1, false);
        if (from == nullptr) CALYX_STOP(panic_memory)
        CALYX_A = *from;
        break;
      }
      // The address of an element: the next word has the size of one in bytes.
      case Op::index_address: {
        const std::uint64_t at = CALYX_C;
        if (at >= fp[it.b + 1]) CALYX_STOP(panic_index)
        CALYX_A = fp[it.b] + at * long_operand(*next);
        ++next;
        break;
      }
      case Op::integer: {
        const Ending how = integer_operation(it, *next, fp);
        if (how != Ending::returned) {
          ending = how;
          goto stopped;
        }
        ++next;
        break;
      }
    }
  }
stopped:
#undef CALYX_A
#undef CALYX_B
#undef CALYX_C
#undef CALYX_I
#undef CALYX_DOUBLE
#undef CALYX_STOP
  const auto at = static_cast<std::uint32_t>(next - code);
  return {ending, at == 0 ? 0 : at - 1, ending == Ending::returned ? memory.stack[0] : 0, fuel - left};
}

/// Quotes: `compute_swap(data)`.
CALYX_HD inline Outcome compute_swap(const Program& program, const Memory& memory,
                                     std::uint64_t fuel = fuel_default) {
  memory.stack[0] = static_cast<std::uint64_t>(segment_data) << 32;
  memory.stack[1] = memory.data_bytes;
  return run_at(program, program.compute_swap, memory, fuel);
}

/// Tells of a trade: `after_swap(data, storage)`. A program without that function returns at once.
CALYX_HD inline Outcome after_swap(const Program& program, const Memory& memory,
                                   std::uint64_t fuel = fuel_default) {
  if (program.after_swap == Program::no_entry) return {};
  memory.stack[0] = static_cast<std::uint64_t>(segment_data) << 32;
  memory.stack[1] = memory.data_bytes;
  memory.stack[2] = static_cast<std::uint64_t>(segment_storage) << 32;
  memory.stack[3] = memory.storage_bytes;
  return run_at(program, program.after_swap, memory, fuel);
}

}  // namespace calyx::kernels::bytecode
