/// \file
/// What a program's PTX and the simulation that it is linked with agree on: the two functions that the text
/// defines, those that it calls, and the memory that it finds.
///
/// Start at `Strategy`. The functions that a text calls are the interpreter's own, so there is one of each.
///
/// Units: as in bytecode.hpp.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/bytecode.hpp"
#include "calyx_kernels/bytes.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_payload.hpp"
#include "calyx_kernels/prop_amm_tape.hpp"

namespace calyx::kernels::linked {

/// Bytes before a payload in its memory, so that its numbers, and the storage behind them, lie at multiples
/// of 8. The memory begins and ends at such multiples too: a text reads whole words of it.
inline constexpr std::uint32_t quote_skew = 7;
inline constexpr std::uint32_t trade_skew = 6;
inline constexpr std::uint32_t quote_size = prop_amm::quote_bytes + prop_amm::storage_bytes;
inline constexpr std::uint32_t trade_size = prop_amm::trade_bytes + prop_amm::storage_bytes;
static_assert((quote_skew + prop_amm::quote_bytes) % 8 == 0 && (quote_skew + quote_size) % 8 == 0);
static_assert((trade_skew + prop_amm::trade_bytes) % 8 == 0 && (trade_skew + trade_size) % 8 == 0);

/// The functions that a text defines.
inline constexpr const char* swap_name = "calyx_linked_swap";
inline constexpr const char* after_name = "calyx_linked_after";

/// How a call of a text ended: as the interpreter's that returned, or with `again` in `at` where the
/// interpreter has to be asked. Its layout is part of each text.
struct End {
  static constexpr std::uint64_t again = ~std::uint64_t{0};
  std::uint64_t value;
  std::uint64_t fuel;  ///< That is left.
  std::uint64_t at;
};

/// What the functions give that a text calls. Each of them takes four words. Its layout is part of each text.
struct Pair {
  std::uint64_t low;
  std::uint64_t high;
};
static_assert(sizeof(End) == 24 && sizeof(Pair) == 16);
using Helper = Pair (*)(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t);

/// Two numbers of 128 bits, the second not 0.
CALYX_HD inline Pair divide(std::uint64_t x_low, std::uint64_t x_high, std::uint64_t y_low,
                            std::uint64_t y_high) {
  const bytecode::Wide q = bytecode::detail::divide(x_low | static_cast<bytecode::Wide>(x_high) << 64,
                                                    y_low | static_cast<bytecode::Wide>(y_high) << 64);
  return {static_cast<std::uint64_t>(q), static_cast<std::uint64_t>(q >> 64)};
}

/// Likewise with signs; the quotient fits.
CALYX_HD inline Pair divide_signed(std::uint64_t x_low, std::uint64_t x_high, std::uint64_t y_low,
                                   std::uint64_t y_high) {
  const bytecode::Wide q =
      bytecode::detail::quotient(x_low | static_cast<bytecode::Wide>(x_high) << 64,
                                 y_low | static_cast<bytecode::Wide>(y_high) << 64, true);
  return {static_cast<std::uint64_t>(q), static_cast<std::uint64_t>(q >> 64)};
}

/// A double's bits come and go as a word.
CALYX_HD inline Pair function(std::uint64_t function, std::uint64_t x, std::uint64_t y, std::uint64_t) {
  return {bytecode::detail::bits_put(bytecode::detail::function_of(
              static_cast<bytecode::RealFunction>(function), math::double_of(x), math::double_of(y))),
          0};
}
CALYX_HD inline Pair remainder(std::uint64_t x, std::uint64_t y, std::uint64_t, std::uint64_t) {
  return {bytecode::detail::bits_put(std::fmod(math::double_of(x), math::double_of(y))), 0};
}
CALYX_HD inline Pair power(std::uint64_t base, std::uint64_t power, std::uint64_t, std::uint64_t) {
  return {bytecode::detail::bits_put(math::power_of(math::double_of(base), math::double_of(power))), 0};
}
CALYX_HD inline Pair whole_power(std::uint64_t base, std::uint64_t power, std::uint64_t, std::uint64_t) {
  return {bytecode::detail::bits_put(
              bytecode::detail::whole_power(math::double_of(base), static_cast<std::int32_t>(power))),
          0};
}

CALYX_HD inline Pair wide_to_double(std::uint64_t low, std::uint64_t high, std::uint64_t is_signed,
                                    std::uint64_t) {
  const bytecode::Wide x = low | static_cast<bytecode::Wide>(high) << 64;
  if (is_signed != 0 && bytecode::detail::below_zero(x))
    return {math::bits_of(-bytecode::detail::double_of_wide(bytecode::Wide{0} - x)), 0};
  return {math::bits_of(bytecode::detail::double_of_wide(x)), 0};
}
CALYX_HD inline Pair double_to(std::uint64_t x, std::uint64_t bits, std::uint64_t is_signed, std::uint64_t) {
  const bytecode::Wide whole =
      bytecode::detail::saturated(math::double_of(x), static_cast<std::uint32_t>(bits), is_signed != 0);
  return {static_cast<std::uint64_t>(whole), static_cast<std::uint64_t>(whole >> 64)};
}

/// An address as a text has it. What is checked before, and where, is the text's affair.
CALYX_HD inline unsigned char* memory_at(std::uint64_t address) {
  return reinterpret_cast<unsigned char*>(address);  // NOLINT(performance-no-int-to-ptr)
}

/// Where `integer` finds its operands in the slots that it is given, and leaves its result.
inline constexpr std::uint16_t integer_left = 0;
inline constexpr std::uint16_t integer_right = 2;
inline constexpr std::uint16_t integer_result = 4;
inline constexpr std::uint16_t integer_slots = 7;

/// An operation of the rare kind: `how` is its second word, the op in the low bits. Gives 0 where it panics.
CALYX_HD inline Pair integer(std::uint64_t slots, std::uint64_t how, std::uint64_t, std::uint64_t) {
  const bytecode::Instruction it{bytecode::Op::integer, integer_result, integer_left, integer_right};
  const bytecode::Instruction kind{
      static_cast<bytecode::Op>(how & 0xffffU), static_cast<std::uint16_t>(how >> 16),
      static_cast<std::uint16_t>(how >> 32), static_cast<std::uint16_t>(how >> 48)};
  const bytecode::Ending ending =
      bytecode::detail::integer_operation(it, kind, reinterpret_cast<std::uint64_t*>(memory_at(slots)));
  return {ending == bytecode::Ending::returned ? 1U : 0U, 0};
}

/// Memory that has been checked.
CALYX_HD inline Pair move(std::uint64_t to, std::uint64_t from, std::uint64_t size, std::uint64_t) {
  move_bytes(memory_at(to), memory_at(from), size);
  return {0, 0};
}
CALYX_HD inline Pair fill(std::uint64_t to, std::uint64_t byte, std::uint64_t size, std::uint64_t) {
  std::memset(memory_at(to), static_cast<int>(byte & 0xff), size);
  return {0, 0};
}
/// `count` times the `size` slots at `from`.
CALYX_HD inline Pair fill_slots(std::uint64_t to, std::uint64_t from, std::uint64_t count,
                                std::uint64_t size) {
  for (std::uint64_t i = 0; i < count; ++i) move(to + i * size * 8, from, size * 8, 0);
  return {0, 0};
}

/// The names by which a text calls them: `calyx_help_` and the function's.
#define CALYX_LINKED_HELPERS(each)                                                              \
  each(divide) each(divide_signed) each(function) each(remainder) each(power) each(whole_power) \
      each(wide_to_double) each(double_to) each(integer) each(move) each(fill) each(fill_slots)

/// A program as a strategy of the simulation: as `prop_amm::ProgramStrategy`, with a text's functions in the
/// interpreter's place. `Text` has them: `swap` and `after`, which take the stack, the payload, the storage,
/// the program's constants, the fuel, and a quote's three numbers, and give an `End`.
///
/// Where a text gives up the whole call is interpreted from the same inputs, so a call has the
/// interpreter's outcome in every case.
template <class Text>
class Strategy {
 public:
  /// As `ProgramStrategy`'s.
  CALYX_HD Strategy(const bytecode::Program& program, std::uint64_t* stack,
                    std::uint64_t fuel = bytecode::fuel_default, const Text& text = Text())
      : program_(program), stack_(stack), fuel_(fuel), text_(text) {}

  CALYX_HD void begin() {
    for (std::uint32_t i = 0; i < sizeof quote_; ++i) quote_[i] = 0;
    outcome_ = {};
  }

  CALYX_HD void set_storage(const unsigned char* storage) {
    std::memcpy(quote_ + quote_skew + prop_amm::quote_bytes, storage, prop_amm::storage_bytes);
  }

  CALYX_HD bool compute_swap(prop_amm::Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                             std::uint64_t reserve_y_nano, const unsigned char*, std::uint64_t& output_nano) {
    unsigned char* const data = quote_ + quote_skew;
    prop_amm::put_quote(data, side, input_nano, reserve_x_nano, reserve_y_nano);
    const End end = text_.swap(stack_, data, nullptr, program_.constants, fuel_, input_nano, reserve_x_nano,
                               reserve_y_nano);
    if (end.at != End::again) {
      outcome_ = {bytecode::Ending::returned, static_cast<std::uint32_t>(end.at), end.value,
                  fuel_ - end.fuel};
      output_nano = end.value;
      return true;
    }
    outcome_ = bytecode::compute_swap(program_, {stack_, data, quote_size, nullptr, 0}, fuel_);
    output_nano = outcome_.value;
    return outcome_.ending == bytecode::Ending::returned;
  }

  CALYX_HD bool after_swap(const prop_amm::Trade& trade, unsigned char* storage) {
    if (program_.after_swap == bytecode::Program::no_entry) return true;
    alignas(8) unsigned char payload[trade_skew + trade_size];
    alignas(8) unsigned char changed[prop_amm::storage_bytes];
    unsigned char* const data = payload + trade_skew;
    prop_amm::put_trade(data, trade, storage);
    std::memcpy(changed, storage, sizeof changed);
    const End end = text_.after(stack_, data, changed, program_.constants, fuel_, 0, 0, 0);
    if (end.at != End::again) {
      outcome_ = {bytecode::Ending::returned, static_cast<std::uint32_t>(end.at), end.value,
                  fuel_ - end.fuel};
      std::memcpy(storage, changed, sizeof changed);
    } else {
      outcome_ =
          bytecode::after_swap(program_, {stack_, data, trade_size, storage, prop_amm::storage_bytes}, fuel_);
    }
    set_storage(storage);
    return outcome_.ending == bytecode::Ending::returned;
  }

  CALYX_HD const bytecode::Outcome& outcome() const { return outcome_; }
  CALYX_HD std::uint64_t executed() const { return outcome_.fuel_used; }

 private:
  bytecode::Program program_;
  std::uint64_t* stack_;
  std::uint64_t fuel_;
  Text text_;
  bytecode::Outcome outcome_;
  alignas(8) unsigned char quote_[quote_skew + quote_size] = {};
};

/// As `prop_amm::play`, with a text in the interpreter's place.
template <class Text, class Asks>
CALYX_HD inline bool play(const Text& text, const bytecode::Program& program, std::uint64_t* stack,
                          const prop_amm::Tape& tape, std::uint64_t lane, std::uint64_t seed,
                          const prop_amm::Settings& settings, const prop_amm::CallRules& rules,
                          const Asks& stop, prop_amm::Result& result, prop_amm::Fault& fault) {
  Strategy<Text> strategy(program, stack, rules.fuel, text);
  if (!prop_amm::detail::played(strategy, tape, lane, seed, settings, rules, stop, result)) return false;
  fault = {};
  if (result.end == prop_amm::End::strategy_failed)
    fault = {strategy.outcome().ending, strategy.outcome().at};
  return true;
}

}  // namespace calyx::kernels::linked
