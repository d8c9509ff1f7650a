/// \file
/// What bytecode becomes as PTX: which numbers are known, and the text so far.
///
/// Start at `Emitter::function`. Its parts lie in files of their own: ptx.cpp (the order of things, and what
/// is known), ptx_folding.cpp (what an instruction makes of known numbers), ptx_memory.cpp (accesses,
/// helpers), ptx_numbers.cpp (128 bits, doubles, divisions) and ptx_one.cpp (each instruction). Included by
/// these alone.
///
/// A call is put in its place, so each slot has one place in the stack, whoever uses it: a slot is a register
/// of its own, but for those from the first whose address is taken, which lie in the stack's memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "calyx_kernels/prop_amm_linked.hpp"
#include "strategy/ptx.hpp"
#include "strategy/strategy.hpp"

namespace calyx::strategy::ptx {

using kernels::bytecode::Instruction;
using kernels::bytecode::long_operand;
using kernels::bytecode::Mode;
using kernels::bytecode::Op;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;
using kernels::bytecode::Wide;
namespace kb = kernels::bytecode;

/// An instruction in one of the calls that lead to it: the number of the call, and the instruction's.
using Place = std::pair<std::uint32_t, std::uint32_t>;

/// What is known of slots, which are counted from the beginning of the stack.
class Known {
 public:
  std::optional<std::uint64_t> at(std::uint32_t slot) const {
    const auto found = numbers_.find(slot);
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
  }
  void set(std::uint32_t slot, std::optional<std::uint64_t> number) {
    if (number && (numbers_.size() < most || numbers_.count(slot) != 0))
      numbers_[slot] = *number;
    else
      numbers_.erase(slot);
  }
  void forget(std::uint32_t first, std::uint32_t count) {
    numbers_.erase(numbers_.lower_bound(first), numbers_.lower_bound(first + count));
  }
  /// Keeps what both know. True when that is less than before.
  bool meet(const Known& other);

 private:
  static constexpr std::size_t most = 128;
  std::map<std::uint32_t, std::uint64_t> numbers_;
};

/// The slots that an instruction writes, counted from its frame.
struct Written {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};
Written written(const Instruction& it, const Instruction* how);

/// What an instruction without any other effect makes of numbers that are all known, or nothing.
struct Folded {
  std::uint32_t count = 0;  ///< 0: nothing.
  std::array<std::uint64_t, 2> words{};
};
Folded folded(const Compiled& made, const Instruction& it, std::uint32_t frame, const Known& known);

/// Where a conditional jump leads, when its operands are known.
std::optional<bool> jumps(const Instruction& it, std::uint32_t frame, const Known& known);

constexpr bool is_conditional(Op op) {
  return op == Op::jump_if || op == Op::jump_unless || (op >= Op::jump_eq && op <= Op::jump_not_zero_w);
}

/// Emits one function of the text.
class Emitter {
 public:
  Emitter(const Compiled& made, bool trade, std::size_t bytes_max);

  /// Appends the function to `text`. False where the text would be too long.
  bool function(const char* name, std::uint32_t entry, std::string& text);

 private:
  /// A call: where its frame begins, and where it goes on.
  struct Call {
    std::uint32_t frame;
    Place back;
  };
  static constexpr std::uint32_t nowhere = 0xffffffffU;
  // More than a text of the length that one may have comes from: calls, and instructions with the slots that
  // they go over.
  static constexpr std::uint32_t calls_most = 4'096;
  static constexpr std::uint32_t walked_most = 300'000;

  // ptx.cpp
  bool learn(std::uint32_t entry);
  void arrive(Place place, const Known& known);
  bool walk(Place place);
  void expose(const Instruction& it, std::uint32_t frame, const Known& known);
  void transfer(Place place, std::uint32_t frame, Known& known) const;
  /// The instruction after this one; a call's begins its function.
  std::optional<Place> after(Place place);
  Place target(Place place) const;
  std::uint32_t frame_of(Place place) const { return calls_[place.first].frame; }
  const Instruction* next_word(Place place) const;
  bool is_leader(Place place) const { return leads_[place.second] || returned_to_.count(place) != 0; }
  void emit_from(Place place);
  void charge();
  void needs(Place place);
  bool is_too_long(std::size_t before) const { return before + body_.size() + piece_.size() > bytes_max_; }

  // ptx_one.cpp: emits the instruction. False where nothing can follow it.
  bool one(Place place);
  void simple(Op op, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t number);
  std::string condition(const Instruction& it, std::uint32_t frame);

  // ptx_numbers.cpp
  struct Two {
    std::string low;
    std::string high;
  };
  Two wide(std::uint32_t slot);
  void put_wide(std::uint32_t slot, const Two& value);
  Two sum(const Two& x, const Two& y);
  Two difference(const Two& x, const Two& y);
  Two product(const Two& x, const Two& y);
  /// Of what is below `y` by a number that is known.
  std::string quotient(const std::string& x, std::uint64_t by);
  Two wide_quotient(const Two& x, std::uint64_t by);
  void divide_wide(Op op, std::uint32_t a, std::uint32_t b, std::uint32_t c);
  void shift_wide(Op op, std::uint32_t a, std::uint32_t b, const std::string& by);
  std::string less(const Two& x, const Two& y, bool or_equal, bool is_signed);
  void wide_one(const Instruction& it, std::uint32_t frame);
  void real_one(const Instruction& it, std::uint32_t frame);
  std::string real(const std::string& word);
  void put_real(std::uint32_t slot, const std::string& value);
  void rare(const Instruction& it, const Instruction& how, std::uint32_t frame);
  bool rare_in_line(const Instruction& it, const Instruction& how, std::uint32_t frame);

  // ptx_memory.cpp
  /// Where checked bytes lie: in words of 8 from `base` on where their place is known.
  struct Spot {
    std::string base;
    std::uint64_t offset = 0;
    std::optional<std::uint32_t> in_word;  ///< The place in its word of the byte at `offset`, if known.
  };
  struct Size {
    std::string word;
    std::optional<std::uint64_t> number;
  };
  Size size_of(std::uint32_t slot);
  Spot spot(const std::string& address, std::optional<std::uint64_t> known, std::uint64_t add,
            const Size& size, bool to_write);
  std::string pointer(const Spot& spot);
  std::string read(const Spot& spot, std::uint32_t size);
  void write(const Spot& spot, std::uint32_t size, const std::string& value);
  void memory_one(const Instruction& it, std::uint32_t frame);
  void burn(const Size& fuel);
  Two help(const char* name, const std::string& a, const std::string& b, const std::string& c = "0",
           const std::string& d = "0");
  std::uint32_t bytes_of(std::uint32_t segment) const;
  std::uint32_t skew_of(std::uint32_t segment) const;

  // The text.
  void line(std::string_view op, std::initializer_list<std::string_view> operands);
  std::string temp() { return "%t" + std::to_string(temps_++); }
  std::string word32() { return "%w" + std::to_string(words_++); }
  std::string test() { return "%p" + std::to_string(tests_++); }
  std::string fresh_real() { return "%d" + std::to_string(reals_++); }
  static std::string number(std::uint64_t value);
  /// The slot's value: a number or a register.
  std::string get(std::uint32_t slot);
  /// The same in a register.
  std::string reg(std::uint32_t slot) { return in_register(get(slot)); }
  std::string in_register(const std::string& operand);
  void put(std::uint32_t slot, const std::string& operand);
  void again_if(const std::string& test) { piece_ += "\t@" + test + " bra AGAIN;\n"; }
  void again_unless(const std::string& test) { piece_ += "\t@!" + test + " bra AGAIN;\n"; }
  void again() { piece_ += "\tbra.uni AGAIN;\n"; }
  static std::string label(Place place) {
    return "L" + std::to_string(place.first) + "_" + std::to_string(place.second);
  }
  /// A register that is written by `op` from two words.
  std::string made(std::string_view op, const std::string& x, const std::string& y);

  const Compiled& made_;
  const bool trade_;
  const std::size_t bytes_max_;
  std::vector<bool> leads_;  ///< What some jump leads to.
  std::vector<Call> calls_;
  std::map<Place, std::uint32_t> callees_;  ///< By the place of the call.
  std::set<Place> returned_to_;
  std::uint32_t exposed_;  ///< The first slot that lies in the stack's memory.

  std::map<Place, Known> known_at_;
  std::set<Place> to_walk_;
  std::uint32_t walked_ = 0;

  Known known_;  ///< Where the text is.
  std::set<Place> emitted_;
  std::vector<Place> to_emit_;
  std::string body_;
  std::string piece_;  ///< Since the last charge.
  std::uint32_t fuel_ = 0;
  std::uint32_t temps_ = 0, words_ = 0, tests_ = 0, reals_ = 0;
  std::uint32_t slots_ = 0;
  bool has_scratch_ = false;
};

}  // namespace calyx::strategy::ptx
