// Bytes as text, and numbers as digits: hex, base 64, base 58, digests, decimals below 2^256.
#include <algorithm>
#include <calyx/core/encoding.hpp>
#include <calyx/core/mpp.hpp>
#include <calyx/core/uint256.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace calyx::fuzz {

namespace {

void hex_digits_of(std::string_view text) {
  if (const auto bytes = core::unhex(text)) demand(core::hex(*bytes) == text, "hex has one spelling");
  const auto either = core::unhex(text, core::HexCase::either);
  if (either) demand(core::hex(*either) == small_letters(text), "hex of either case is the same digits");
  demand(core::unhex(core::hex(text)) == std::string(text), "what hex spells is read back");
  if (const auto bytes = core::read_hex_bytes(text))
    demand(text.substr(0, 2) == "0x" && "0x" + core::hex(*bytes) == small_letters(text),
           "hex behind 0x is the same digits");
}

void base64_of(std::string_view text) {
  const auto standard = core::unbase64(text);
  const auto url = core::unbase64url(text);
  if (standard) demand(core::base64(*standard) == text, "base 64 has one spelling");
  if (url) demand(core::base64url(*url) == text, "base64url has one spelling");
  if (standard && url) demand(*standard == *url, "the two alphabets agree where both read");
  demand(core::unbase64(core::base64(text)) == std::string(text), "what base 64 spells is read back");
  demand(core::unbase64url(core::base64url(text)) == std::string(text), "what base64url spells is read back");
}

void base58_of(std::string_view text) {
  if (const auto bytes = core::unbase58(text)) {
    demand(text.size() <= core::base58_chars_max, "base 58 keeps its limit");
    demand(core::base58(*bytes) == text, "base 58 has one spelling");
    std::string same(bytes->size(), '\0');
    demand(core::unbase58_into({reinterpret_cast<std::uint8_t*>(same.data()), same.size()}, text) &&
               same == *bytes,
           "base 58 of a known size is the same");
    std::string more(bytes->size() + 1, '\0');
    demand(!core::unbase58_into({reinterpret_cast<std::uint8_t*>(more.data()), more.size()}, text),
           "base 58 of another size is refused");
  }
  const std::string_view bytes = text.substr(0, 64);  // a signature's, since its time grows with the square
  demand(core::unbase58(core::base58(bytes)) == std::string(bytes), "what base 58 spells is read back");
}

void body_digest_of(std::string_view text) {
  const auto digest = core::mpp::read_body_digest(text);
  if (!digest) return;
  std::string bare(text);
  std::erase(bare, ':');
  demand(core::mpp::body_digest_text(*digest) == bare, "a body's digest is the one that was spelled");
}

/// What a canonical decimal below 2^256 is, by its digits alone.
bool is_decimal_of_256_bits(std::string_view text) {
  constexpr std::string_view greatest =
      "115792089237316195423570985008687907853269984665640564039457584007913129639935";
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return false;
  if (text.front() == '0') return text.size() == 1;
  return text.size() < greatest.size() || (text.size() == greatest.size() && text <= greatest);
}

void worth_in_money(const core::Uint256& number) {
  // Decimals of tokens there are, and of none.
  for (const unsigned decimals : {0U, 2U, 4U, 6U, 7U, 8U, 9U, 12U, 18U, 30U, 77U, 78U, 90U}) {
    const auto worth = core::worth_of(number, decimals);
    if (!worth) continue;
    demand(worth->money.micro >= 0 && worth->money <= core::amount_max, "a worth is an amount");
    const auto back = core::amount_worth(worth->money, decimals);
    demand(back.has_value() && *back <= number, "money is rounded down");
    const auto of_rest = core::worth_of(worth->rest, decimals);
    demand(of_rest.has_value() && of_rest->money == Money{}, "the rest is less than one micro");
    core::Uint256 sum = *back;
    bool carried = false;
    for (std::size_t i = sum.parts.size(); i-- > 0;) {
      const std::uint64_t one = sum.parts[i];
      sum.parts[i] = one + worth->rest.parts[i] + (carried ? 1 : 0);
      carried = sum.parts[i] < one || (carried && sum.parts[i] == one);
    }
    demand(!carried && sum == number, "money and rest are the amount");
  }
}

void decimal_of(std::string_view text) {
  const auto number = core::read_uint256(text);
  demand(number.has_value() == is_decimal_of_256_bits(text), "digits are read, canonical ones alone");
  if (!number) return;
  demand(core::text(*number) == text, "a number has one spelling");
  demand(core::uint256_of(core::word_of(*number)) == *number, "a number is its word");
  constexpr std::string_view greatest_small = "18446744073709551615";
  const bool small =
      text.size() < greatest_small.size() || (text.size() == greatest_small.size() && text <= greatest_small);
  demand(number->small().has_value() == small, "64 bits hold what they can");
  if (small) demand(std::to_string(*number->small()) == text, "64 bits hold the number");
  for (const std::uint64_t divisor :
       {std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{10'000'000'019}, ~std::uint64_t{0}}) {
    core::Uint256 quotient = *number;
    const std::uint64_t rest = core::divide(quotient, divisor);
    demand(rest < divisor && core::times_plus(quotient, divisor, rest) == number, "division has its rest");
  }
  worth_in_money(*number);
}

}  // namespace

void target::encoding(std::string_view input) {
  hex_digits_of(input);
  base64_of(input);
  base58_of(input);
  body_digest_of(input);
  decimal_of(input);
}

}  // namespace calyx::fuzz
