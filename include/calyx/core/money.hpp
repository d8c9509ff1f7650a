/// \file
/// Money: integer micro-FLOPS, read from digits and printed as digits, never through a double.
///
/// Start at `12.40_flops` for an amount that the program knows, and at `read_flops` for one that it is given.
///
/// 1 FLOPS = 1,000,000 micro = USD 0.01; 1 atomic unit of USDC (six decimals) = 100 micro.
#pragma once

#include <calyx/core/result.hpp>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace calyx {

/// An amount. Units: micro-FLOPS. Arithmetic is asked for by name (`plus`, `minus`) and is checked.
struct Money {
  std::int64_t micro = 0;

  auto operator<=>(const Money&) const = default;
  constexpr Money operator-() const noexcept { return Money{-micro}; }  // limits keep |micro| far below 2^63
};

namespace core {

__extension__ typedef __int128 Wide;  ///< Intermediates: any product of an amount and a rate fits.

inline constexpr std::int64_t micro_per_flops = 1'000'000;
inline constexpr std::int64_t micro_per_usdc_atomic = 100;
inline constexpr std::int64_t flops_per_usd = 100;

/// Most that one amount or one wallet's balance may be: every integer up to here is exact in a double.
inline constexpr Money amount_max{8'000'000'000'000'000};
/// Most that all wallets together may hold, so that no sum of balances can overflow.
inline constexpr Money supply_max{(std::int64_t{1} << 62) - 1};

/// The sum, or nothing when it leaves the range of int64.
constexpr std::optional<Money> plus(Money a, Money b) noexcept {
  const Wide sum = static_cast<Wide>(a.micro) + b.micro;
  if (sum > INT64_MAX || sum < INT64_MIN) return std::nullopt;
  return Money{static_cast<std::int64_t>(sum)};
}
constexpr std::optional<Money> minus(Money a, Money b) noexcept {
  const Wide difference = static_cast<Wide>(a.micro) - b.micro;
  if (difference > INT64_MAX || difference < INT64_MIN) return std::nullopt;
  return Money{static_cast<std::int64_t>(difference)};
}

/// Why a text is no amount.
enum class MoneyFault { none, malformed, too_precise, out_of_range, negative };

struct MoneyReading {
  Money money;
  MoneyFault fault = MoneyFault::none;
};

/// The amount that the digits of `text` spell: `[-]digits[.digits][e[+-]digits]`, at most six decimals
/// after the exponent is applied (zeros behind them count: `1.0000000` is too precise), at most `amount_max`.
/// A minus sign is a fault of its own, also before zero; so are a plus sign, spaces and a leading zero.
constexpr MoneyReading read_money(std::string_view text) noexcept {
  constexpr auto digit = [](char c) { return c >= '0' && c <= '9'; };
  constexpr int decimals_max = 6;
  std::size_t at = 0;
  const bool negative = at < text.size() && text[at] == '-';
  if (negative) ++at;

  const std::size_t whole_at = at;
  while (at < text.size() && digit(text[at])) ++at;
  const std::string_view whole = text.substr(whole_at, at - whole_at);
  if (whole.empty() || (whole.size() > 1 && whole[0] == '0')) return {{}, MoneyFault::malformed};

  std::string_view decimals;
  if (at < text.size() && text[at] == '.') {
    const std::size_t decimals_at = ++at;
    while (at < text.size() && digit(text[at])) ++at;
    decimals = text.substr(decimals_at, at - decimals_at);
    if (decimals.empty()) return {{}, MoneyFault::malformed};
  }

  int exponent = 0;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    const bool down = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const std::size_t exponent_at = at;
    while (at < text.size() && digit(text[at])) {
      if (exponent < 10'000) exponent = exponent * 10 + (text[at] - '0');
      ++at;
    }
    if (at == exponent_at) return {{}, MoneyFault::malformed};
    if (down) exponent = -exponent;
  }
  if (at != text.size()) return {{}, MoneyFault::malformed};
  if (negative) return {{}, MoneyFault::negative};

  // The value is digits * 10^shift micro.
  const long shift = static_cast<long>(decimals_max) + exponent - static_cast<long>(decimals.size());
  Wide value = 0;
  bool beyond = false;
  for (const std::string_view part : {whole, decimals})
    for (const char c : part) {
      if (value > amount_max.micro)
        beyond = true;
      else
        value = value * 10 + (c - '0');
    }
  const bool zero = value == 0;
  if (shift < 0) return {{}, MoneyFault::too_precise};
  for (long i = 0; i < shift && !beyond && !zero; ++i) {
    value *= 10;
    beyond = value > amount_max.micro;
  }
  if (beyond || value > amount_max.micro) return {{}, MoneyFault::out_of_range};
  return {Money{static_cast<std::int64_t>(value)}, MoneyFault::none};
}

/// The reason that an error has for `fault`.
constexpr Reason reason_of(MoneyFault fault) noexcept {
  switch (fault) {
    case MoneyFault::none: return Reason::none;
    case MoneyFault::malformed: return Reason::amount_malformed;
    case MoneyFault::too_precise: return Reason::amount_too_precise;
    case MoneyFault::out_of_range: return Reason::amount_out_of_range;
    case MoneyFault::negative: return Reason::amount_negative;
  }
  return Reason::internal;
}
/// What an error says of `fault`, after the name of the field or the amount itself.
constexpr std::string_view message_of(MoneyFault fault) noexcept {
  switch (fault) {
    case MoneyFault::none: break;
    case MoneyFault::malformed: return "is not written as a decimal number";
    case MoneyFault::too_precise: return "has more than 6 decimals";
    case MoneyFault::out_of_range: return "is more than 8000000000 FLOPS";
    case MoneyFault::negative: return "is negative";
  }
  return "";
}

/// The longest text of money: a sign, 13 digits of FLOPS, the point and six decimals.
inline constexpr std::size_t money_bytes_max = 21;

/// Writes `money` where `to` points, with at least `decimals_min` decimals and no zero beyond them, and gives
/// its end.
inline char* put_money(char* to, Money money, int decimals_min) noexcept {
  std::uint64_t magnitude = static_cast<std::uint64_t>(money.micro);
  if (money.micro < 0) {
    magnitude = 0 - magnitude;
    *to++ = '-';
  }
  to = std::to_chars(to, to + 13, magnitude / 1'000'000).ptr;
  auto rest = static_cast<std::uint32_t>(magnitude % 1'000'000);
  int decimals = 6;
  for (; decimals > decimals_min && rest % 10 == 0; --decimals) rest /= 10;
  if (decimals == 0) return to;
  *to = '.';
  for (int place = decimals; place > 0; --place, rest /= 10) to[place] = static_cast<char>('0' + rest % 10);
  return to + 1 + decimals;
}
inline void append_money(std::string& out, Money money, int decimals_min) {
  char text[money_bytes_max];
  out.append(text, static_cast<std::size_t>(put_money(text, money, decimals_min) - text));
}

/// As a JSON number of the wire: fewest digits, one decimal at least (`5.0`, `8.4`).
inline std::string wire_text(Money money) {
  std::string out;
  append_money(out, money, 1);
  return out;
}
/// As people and signed documents read it: two to six decimals (`3.80`).
inline std::string money_text(Money money) {
  std::string out;
  append_money(out, money, 2);
  return out;
}

/// The atomic units of USDC that `money` is worth, rounded down.
constexpr std::int64_t usdc_atomic(Money money) noexcept { return money.micro / micro_per_usdc_atomic; }
constexpr Money from_usdc_atomic(std::int64_t atomic) noexcept {
  return Money{atomic * micro_per_usdc_atomic};
}

}  // namespace core

/// The amount that the digits of `text` spell. Units: FLOPS.
/// Fails: `amount_malformed`, `amount_too_precise`, `amount_out_of_range`, `amount_negative`.
inline Result<Money> read_flops(std::string_view text) {
  const core::MoneyReading reading = core::read_money(text);
  if (reading.fault == core::MoneyFault::none) return reading.money;
  // What was given may be long, or no text at all, so it is said only where it is short and printable.
  constexpr std::size_t said_max = 32;
  bool sayable = text.size() <= said_max;
  for (const char c : text) sayable = sayable && c > 0x20 && c < 0x7F;
  std::string message = sayable && !text.empty() ? std::string(text) : std::string("the amount");
  message += ' ';
  message += core::message_of(reading.fault);
  return fail(core::reason_of(reading.fault), std::move(message));
}

inline namespace literals {

/// `12.40_flops`: an amount, read from its digits while the program is compiled. Digits that are no amount do
/// not compile. Units: FLOPS.
consteval Money operator""_flops(const char* digits) {
  const core::MoneyReading reading = core::read_money(digits);
  if (reading.fault != core::MoneyFault::none)
    throw "these digits are no amount of FLOPS";  // never at run time
  return reading.money;
}

}  // namespace literals
}  // namespace calyx
