/// \file
/// Random programs of every operation, and payloads of numbers at the edges: what native code and PTX are
/// compared with the interpreter on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <vector>

#include "calyx_kernels/bytecode.hpp"
#include "strategy/strategy.hpp"
#include "testing.hpp"

namespace calyx::testing {

namespace kb = kernels::bytecode;
namespace math = kernels::math;
using kb::Instruction;
using kb::Mode;
using kb::Op;
using kb::Rare;
using strategy::Compiled;

inline Instruction instruction(Op op, std::uint32_t a = 0, std::uint32_t b = 0, std::uint32_t c = 0) {
  return {op, static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b), static_cast<std::uint16_t>(c)};
}

inline std::uint64_t edge_value(Dice& dice) {
  static constexpr std::uint64_t edges[] = {0,
                                            1,
                                            2,
                                            3,
                                            7,
                                            10,
                                            63,
                                            64,
                                            65,
                                            127,
                                            128,
                                            255,
                                            0x7fff,
                                            0xffff,
                                            0x7fffffff,
                                            0x80000000,
                                            0xffffffff,
                                            0x100000000,
                                            1000000007,
                                            0x7fffffffffffffff,
                                            0x8000000000000000,
                                            0x8000000000000001,
                                            0xfffffffffffffffe,
                                            0xffffffffffffffff,
                                            0x3ff0000000000000,  // 1.0
                                            0xbff8000000000000,  // -1.5
                                            0x7ff0000000000000,  // infinity
                                            0xfff0000000000000,
                                            0x7ff8000000000001,  // no number
                                            0xfff4000000000000,
                                            0x43e0000000000000,                       // 2^63
                                            0x43f0000000000000,                       // 2^64
                                            0xc3e0000000000000,                       // -2^63
                                            0x47f0000000000000,                       // 2^128
                                            0x0000000000000001 | 0x000f000000000000,  // subnormal
                                            0x4024000000000000};                      // 10.0
  switch (dice.below(5)) {
    case 0: return dice.next();
    case 1: return dice.next() >> dice.below(64);
    case 2: return math::bits_of(dice.uniform(-1000.0, 1000.0));
    default: return edges[dice.below(std::size(edges))];
  }
}

/// Writes programs of random operations. Slots 4 to 27 are theirs, 28 and on are kept for addresses and
/// lengths.
class Author {
 public:
  static constexpr std::uint32_t first = 4;
  static constexpr std::uint32_t slots = 24;
  static constexpr std::uint32_t lengths = first + slots;  // 28: two small lengths
  static constexpr std::uint32_t stack = 96;

  explicit Author(Dice& dice) : dice_(dice) {}

  /// A program of about `count` operations, one of which is `op`, and then a sum over all slots. A calm one
  /// has no other operations that could end it, so it can be long.
  Compiled program(Op op, std::uint32_t count, bool calm, bool trade) {
    made_ = {};
    made_.stack_slots = stack;
    made_.constants.resize(40);
    for (auto& byte : made_.constants) byte = static_cast<unsigned char>(dice_.next());
    const bool calls = dice_.below(3) == 0;
    begin();
    const std::uint32_t chosen = static_cast<std::uint32_t>(dice_.below(count));
    std::vector<std::size_t> jumps;
    std::vector<std::uint32_t> starts;
    for (std::uint32_t i = 0; i < count; ++i) {
      starts.push_back(static_cast<std::uint32_t>(made_.code.size()));
      Op next = op;
      if (i != chosen) do
          next = any();
        while (calm && may_end(next));
      if (calls && dice_.below(8) == 0) {
        starts.push_back(static_cast<std::uint32_t>(made_.code.size()));
        calls_.push_back(made_.code.size());
        add(instruction(Op::call, 32 + static_cast<std::uint32_t>(dice_.below(8))));
      }
      if (is_jump(next)) jumps.push_back(made_.code.size());
      operation(next);
    }
    const auto end = static_cast<std::uint32_t>(made_.code.size());
    starts.push_back(end);
    sum(first, slots);
    // All of the jumps lead to the beginning of some operation, back too at times.
    for (const std::size_t at : jumps) {
      std::uint32_t to = starts[dice_.below(starts.size())];
      if (to <= at && dice_.below(3) != 0) to = end;
      made_.code[at].c =
          static_cast<std::uint16_t>(static_cast<std::int32_t>(to) - static_cast<std::int32_t>(at) - 1);
    }
    if (!calls_.empty()) {
      const auto callee = static_cast<std::uint32_t>(made_.code.size());
      for (const std::size_t at : calls_) {
        made_.code[at].b = static_cast<std::uint16_t>(callee);
        made_.code[at].c = 0;
      }
      for (int i = 0; i < 6; ++i) {
        Op next = Op::jump;
        while (is_jump(next) || next == Op::leave || next == Op::panic || next == Op::fuel_end ||
               next == Op::call)
          next = any();
        operation(next);
      }
      add(instruction(Op::address, 5, static_cast<std::uint32_t>(dice_.below(20))));
      add(instruction(Op::leave));
      calls_.clear();
    }
    if (trade) made_.after_swap = 0;
    made_.compute_swap = 0;
    return made_;
  }

  static bool may_end(Op op) {
    return is_jump(op) || op == Op::panic || op == Op::require || op == Op::fuel_end || op == Op::div_u ||
           op == Op::rem_u || (op >= Op::load_8 && op < Op::integer);
  }
  static bool is_jump(Op op) {
    return op == Op::jump || op == Op::jump_if || op == Op::jump_unless ||
           (op >= Op::jump_eq && op <= Op::jump_not_zero_w);
  }

 private:
  Op any() { return static_cast<Op>(dice_.below(static_cast<std::uint64_t>(Op::integer) + 1)); }
  void add(const Instruction& it) { made_.code.push_back(it); }
  std::uint32_t slot(std::uint32_t width = 1) {
    return first + static_cast<std::uint32_t>(dice_.below(slots - width + 1));
  }
  std::uint32_t pool(std::uint64_t value) {
    made_.pool.push_back(value);
    return static_cast<std::uint32_t>(made_.pool.size() - 1);
  }
  void constant(std::uint32_t at, std::uint64_t value) { add(instruction(Op::constant, at, pool(value))); }

  /// Values in all slots, known to the compiler of native code or not.
  void begin() {
    for (std::uint32_t i = 0; i < slots; ++i) {
      if (dice_.coin()) {
        constant(first + i, edge_value(dice_));
      } else {
        // The payload has such numbers from byte 32 on.
        add(instruction(Op::load_64, first + i, 0, 32 + 8 * static_cast<std::uint32_t>(dice_.below(60))));
      }
    }
    // What lies in the stack before a call is nobody's business, so nothing of it may be read.
    add(instruction(Op::clear, lengths, 0, stack - lengths));
    constant(lengths, dice_.below(20));
    constant(lengths + 1, 1 + dice_.below(3));
    constant(lengths + 2, 0);
  }
  void sum(std::uint32_t from, std::uint32_t count) {
    add(instruction(Op::load, 0, 17));
    // At times of a few: then nobody reads the others, and they need not be kept.
    const bool all = dice_.coin();
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!all && dice_.below(4) != 0) continue;
      add(instruction(Op::mul_i, 0, 0, 31));
      add(instruction(Op::add, 0, 0, from + i));
    }
    add(instruction(Op::leave));
  }

  /// An address, mostly a good one, into slot `at`; its number is known, or comes by way of the payload's.
  void address(std::uint32_t at) {
    static constexpr std::uint32_t sizes[] = {stack * 8, 1049, 1024, 40};
    const std::uint64_t segment = dice_.below(4);
    const std::uint32_t size = sizes[segment];
    std::uint64_t offset = segment == 0 ? 8 * (first + dice_.below(slots - 4)) : dice_.below(size - 16);
    if (dice_.below(4) == 0) offset += dice_.below(8);
    if (dice_.below(6) == 0) offset = size - dice_.below(18);
    if (dice_.below(40) == 0) offset = dice_.next();
    const std::uint64_t value =
        (dice_.below(60) == 0 ? dice_.next() : segment) << 32 | (offset & 0xffffffffU);
    if (segment == 0 && dice_.below(3) != 0)
      add(instruction(Op::address, at, static_cast<std::uint32_t>(offset / 8) % (stack - 1)));
    else
      constant(at, value);
    if (dice_.coin()) {
      // Byte 24 of the payload is 0, which nobody knows beforehand.
      add(instruction(Op::load_8, at + 1 < first + slots ? at + 1 : at - 1, 0, 24));
      add(instruction(Op::add, at, at, at + 1 < first + slots ? at + 1 : at - 1));
    }
  }

  void operation(Op op) {
    const auto bits = [&] {
      static constexpr std::uint32_t widths[] = {8, 16, 32, 64, 128};
      return widths[dice_.below(std::size(widths))];
    };
    const auto small = [&] {
      return static_cast<std::uint32_t>(dice_.coin() ? dice_.below(70) : dice_.next() & 0xffff);
    };
    switch (op) {
      case Op::leave:  // in the middle, only at the end of a program
      case Op::call: return;
      case Op::panic:
      case Op::fuel_end:
        if (dice_.below(4) == 0) add(instruction(op, 0, 5));
        return;
      case Op::load: add(instruction(op, slot(), dice_.next() & 0xffff, dice_.next() & 0xffff)); return;
      case Op::constant: constant(slot(), edge_value(dice_)); return;
      case Op::constant_w: {
        const std::uint32_t at = pool(edge_value(dice_));
        pool(edge_value(dice_));
        add(instruction(op, slot(2), at));
        return;
      }
      case Op::clear: {
        const auto count = static_cast<std::uint32_t>(dice_.below(20));
        add(instruction(op, slot(count == 0 ? 1 : count), 0, count));
        return;
      }
      case Op::move_many: {
        const auto count = static_cast<std::uint32_t>(dice_.below(20));
        add(instruction(op, slot(count == 0 ? 1 : count), slot(count == 0 ? 1 : count), count));
        return;
      }
      case Op::jump_eq_i:
      case Op::jump_ne_i: add(instruction(op, slot(), small())); return;
      case Op::require:
        if (dice_.coin()) return;
        add(instruction(op, slot(), 6));
        return;
      case Op::div_i:
      case Op::rem_i: add(instruction(op, slot(), slot(), std::max(1U, small()))); return;
      case Op::div_wi:
      case Op::rem_wi: add(instruction(op, slot(2), slot(2), std::max(1U, small()))); return;
      case Op::add_i:
      case Op::sub_i:
      case Op::mul_i:
      case Op::and_i:
      case Op::shift_left_i:
      case Op::shift_right_i: add(instruction(op, slot(), slot(), small())); return;
      case Op::add_wi:
      case Op::sub_wi:
      case Op::mul_wi: add(instruction(op, slot(2), slot(2), small())); return;
      case Op::double_to_u:
      case Op::double_to_s: {
        const std::uint32_t width = bits();
        add(instruction(op, slot(), slot(), std::min(64U, width)));
        return;
      }
      case Op::function_f:
        add(instruction(op, slot(), slot(2),
                        static_cast<std::uint32_t>(
                            dice_.below(1 + static_cast<std::uint64_t>(kb::RealFunction::copy_sign)))));
        return;
      case Op::address: add(instruction(op, slot(), slot())); return;
      case Op::address_constant:
        add(instruction(op, slot(), static_cast<std::uint32_t>(dice_.below(44))));
        return;
      case Op::load_8:
      case Op::load_16:
      case Op::load_32:
      case Op::load_64: {
        const std::uint32_t at = slot();
        address(at);
        add(instruction(op, slot(), at, static_cast<std::uint32_t>(dice_.below(12))));
        return;
      }
      case Op::store_8:
      case Op::store_16:
      case Op::store_32:
      case Op::store_64: {
        const std::uint32_t at = slot();
        address(at);
        add(instruction(op, at, slot(), static_cast<std::uint32_t>(dice_.below(12))));
        return;
      }
      case Op::load_many: {
        const std::uint32_t at = slot();
        const auto count = static_cast<std::uint32_t>(dice_.below(6));
        address(at);
        add(instruction(op, slot(count == 0 ? 1 : count), at, count));
        return;
      }
      case Op::store_many: {
        const std::uint32_t at = slot();
        const auto count = static_cast<std::uint32_t>(dice_.below(6));
        address(at);
        add(instruction(op, at, slot(count == 0 ? 1 : count), count));
        return;
      }
      case Op::copy:
      case Op::fill_8: {
        const std::uint32_t to = slot();
        address(to);
        const std::uint32_t from = slot();
        if (from == to) return;
        if (op == Op::copy) address(from);
        constant(lengths, dice_.coin() ? std::uint64_t{1} << dice_.below(6) : dice_.below(80));
        add(instruction(op, to, from, lengths));
        return;
      }
      case Op::fill_slots: {
        const std::uint32_t to = slot();
        address(to);
        constant(lengths, dice_.below(4));
        constant(lengths + 1, dice_.below(3));
        add(instruction(op, to, slot(3), lengths));
        return;
      }
      case Op::index_8:
      case Op::index_address: {
        const std::uint32_t slice = slot(3);
        address(slice);
        constant(slice + 1, dice_.below(100));
        constant(slice + 2, dice_.below(100));
        add(instruction(op, slot(), slice, dice_.coin() ? slice + 2 : slot()));
        if (op == Op::index_address)
          add(instruction(static_cast<Op>(0), 0, 1 + static_cast<std::uint32_t>(dice_.below(40))));
        return;
      }
      case Op::bound:
      case Op::range:
        constant(lengths, dice_.below(3));
        add(instruction(op, lengths, slot(), slot()));
        return;
      case Op::integer: {
        const std::uint32_t type = bits() | (dice_.coin() ? 0x100U : 0U);
        const std::uint32_t wide = dice_.coin() ? 64U : 128U;
        const std::uint32_t other = bits() | (dice_.coin() ? 0x100U : 0U);
        add(instruction(op, slot(3), slot(2), slot(2)));
        add(instruction(static_cast<Op>(dice_.below(1 + static_cast<std::uint64_t>(Rare::convert))),
                        dice_.coin() ? type : wide, static_cast<std::uint32_t>(dice_.below(4)), other));
        // What follows a checked one mostly asks for it.
        if (dice_.below(3) == 0) add(instruction(Op::require, made_.code[made_.code.size() - 2].a, 2));
        return;
      }
      default:
        // Comparisons are mostly followed by what uses them.
        add(instruction(op, slot(2), slot(2), slot(2)));
        if (dice_.below(3) == 0 && is_test(op)) add(instruction(Op::require, made_.code.back().a, 6));
    }
  }
  static bool is_test(Op op) {
    return (op >= Op::eq && op <= Op::le_s) || (op >= Op::eq_w && op <= Op::le_sw) ||
           (op >= Op::eq_f && op <= Op::le_f);
  }

  Dice& dice_;
  Compiled made_;
  std::vector<std::size_t> calls_;
};

/// Lengths 1,049 or 1,066: numbers of the edges from byte 32 on, a 0 at byte 24.
inline std::vector<unsigned char> edge_payload(Dice& dice, std::size_t size) {
  std::vector<unsigned char> data(size);
  for (auto& byte : data) byte = static_cast<unsigned char>(dice.next());
  for (std::size_t at = 32; at + 8 <= size; at += 8) {
    const std::uint64_t value = edge_value(dice);
    std::memcpy(data.data() + at, &value, 8);
  }
  data[24] = 0;
  return data;
}

}  // namespace calyx::testing
