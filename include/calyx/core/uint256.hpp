/// \file
/// An amount as EVM contracts count it: an integer below 2^256, and what it is worth in calyx's money.
///
/// Start at `read_uint256`. An amount has one spelling, the canonical decimal one: a hexadecimal value or a
/// leading zero, which other readers take, is refused, so that two readers cannot differ.
///
/// Units: atomic units of a token, whose `decimals` say how many make one; money is micro-FLOPS.
/// Threads: values.
#pragma once

#include <array>
#include <calyx/core/money.hpp>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace calyx::core {

/// The decimal digits of 2^256 - 1.
inline constexpr std::size_t uint256_digits_max = 78;

__extension__ typedef unsigned __int128 UnsignedWide;  ///< Two parts side by side.

struct Uint256 {
  std::array<std::uint64_t, 4> parts{};  ///< The highest first, so that they compare as the number does.

  constexpr Uint256() = default;
  constexpr explicit Uint256(std::uint64_t number) noexcept : parts{0, 0, 0, number} {}
  auto operator<=>(const Uint256&) const = default;

  /// The number in 64 bits, or nothing when it needs more.
  constexpr std::optional<std::uint64_t> small() const noexcept {
    if ((parts[0] | parts[1] | parts[2]) != 0) return std::nullopt;
    return parts[3];
  }
};

/// `number` times `factor`, plus `addend`; nothing when that is 2^256 or more.
constexpr std::optional<Uint256> times_plus(const Uint256& number, std::uint64_t factor,
                                            std::uint64_t addend) noexcept {
  Uint256 out;
  std::uint64_t carry = addend;
  for (std::size_t i = out.parts.size(); i-- > 0;) {
    const auto wide = static_cast<UnsignedWide>(number.parts[i]) * factor + carry;
    out.parts[i] = static_cast<std::uint64_t>(wide);
    carry = static_cast<std::uint64_t>(wide >> 64);
  }
  return carry == 0 ? std::optional<Uint256>(out) : std::nullopt;
}

/// Makes the quotient of `number`, and gives the rest. `divisor` is not zero.
constexpr std::uint64_t divide(Uint256& number, std::uint64_t divisor) noexcept {
  std::uint64_t rest = 0;
  for (std::uint64_t& part : number.parts) {
    const auto wide = static_cast<UnsignedWide>(rest) << 64 | part;
    part = static_cast<std::uint64_t>(wide / divisor);
    rest = static_cast<std::uint64_t>(wide % divisor);
  }
  return rest;
}

/// The amount that `text` spells, or nothing: digits alone, no leading zero, below 2^256.
constexpr std::optional<Uint256> read_uint256(std::string_view text) noexcept {
  if (text.empty() || text.size() > uint256_digits_max) return std::nullopt;
  if (text.front() == '0' && text.size() > 1) return std::nullopt;
  Uint256 out;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto next = times_plus(out, 10, static_cast<std::uint64_t>(c - '0'));
    if (!next) return std::nullopt;
    out = *next;
  }
  return out;
}

inline std::string text(Uint256 number) {
  std::string out(uint256_digits_max, '0');
  std::size_t at = out.size();
  do out[--at] = static_cast<char>('0' + divide(number, 10));
  while (number != Uint256());
  out.erase(0, at);
  return out;
}

/// The 32 octets of `number`, the highest first: a word of the EVM.
constexpr std::array<std::uint8_t, 32> word_of(const Uint256& number) noexcept {
  std::array<std::uint8_t, 32> out{};
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::uint8_t>(number.parts[i / 8] >> (56 - 8 * (i % 8)));
  return out;
}
constexpr Uint256 uint256_of(const std::array<std::uint8_t, 32>& word) noexcept {
  Uint256 out;
  for (std::size_t i = 0; i < word.size(); ++i) out.parts[i / 8] = out.parts[i / 8] << 8 | word[i];
  return out;
}

struct Uint256Division {
  Uint256 quotient;
  Uint256 rest;
};

/// `number` divided by 10^`power`.
constexpr Uint256Division divide_by_power_of_ten(const Uint256& number, unsigned power) noexcept {
  Uint256Division out{number, {}};
  if (power >= uint256_digits_max) return {Uint256(), number};  // 10^78 is above all of them
  std::array<std::uint64_t, uint256_digits_max> digits{};       // of the rest, the lowest first
  for (unsigned i = 0; i < power; ++i) digits[i] = divide(out.quotient, 10);
  // The rest is no larger than the number, so nothing overflows.
  for (unsigned i = power; i-- > 0;) out.rest = times_plus(out.rest, 10, digits[i]).value_or(Uint256());
  return out;
}

/// A dollar has as many micro-FLOPS as a unit of 8 decimals has atomic units: 100 FLOPS of 10^6 each.
inline constexpr unsigned money_decimals_of_usd = 8;
static_assert(flops_per_usd * micro_per_flops == 100'000'000);

/// What an amount of a dollar token is worth.
struct Worth {
  Money money;   ///< Rounded down. Units: micro-FLOPS.
  Uint256 rest;  ///< What the rounding left out. Units: atomic units.
};

/// The worth of `amount` of a token that stands for dollars, or nothing when it is above `amount_max`.
/// One atomic unit of 6 decimals is 100 micro; one micro is 10^10 atomic units of 18 decimals.
constexpr std::optional<Worth> worth_of(const Uint256& amount, unsigned decimals) noexcept {
  Uint256Division divided{amount, {}};
  if (decimals >= money_decimals_of_usd) {
    divided = divide_by_power_of_ten(amount, decimals - money_decimals_of_usd);
  } else {
    for (unsigned i = decimals; i < money_decimals_of_usd; ++i) {
      const auto more = times_plus(divided.quotient, 10, 0);
      if (!more) return std::nullopt;
      divided.quotient = *more;
    }
  }
  const auto micro = divided.quotient.small();
  if (!micro || *micro > static_cast<std::uint64_t>(amount_max.micro)) return std::nullopt;
  return Worth{Money{static_cast<std::int64_t>(*micro)}, divided.rest};
}

/// The amount of a token that stands for dollars which is worth exactly `money`, or nothing: when `money` is
/// negative, or finer than the token's atomic unit.
constexpr std::optional<Uint256> amount_worth(Money money, unsigned decimals) noexcept {
  if (money.micro < 0) return std::nullopt;
  Uint256 out(static_cast<std::uint64_t>(money.micro));
  if (decimals < money_decimals_of_usd) {
    const auto divided = divide_by_power_of_ten(out, money_decimals_of_usd - decimals);
    if (divided.rest != Uint256()) return std::nullopt;
    return divided.quotient;
  }
  for (unsigned i = money_decimals_of_usd; i < decimals; ++i) {
    const auto more = times_plus(out, 10, 0);
    if (!more) return std::nullopt;
    out = *more;
  }
  return out;
}

}  // namespace calyx::core
