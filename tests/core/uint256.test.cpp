#include <doctest/doctest.h>

#include <calyx/core/encoding.hpp>
#include <calyx/core/uint256.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "testing.hpp"

using namespace calyx;
using namespace calyx::core;

namespace {

constexpr std::string_view largest =
    "115792089237316195423570985008687907853269984665640564039457584007913129639935";

Uint256 number(std::string_view digits) { return read_uint256(digits).value(); }

}  // namespace

TEST_CASE("an amount has one spelling") {
  struct Row {
    std::string_view digits;
    bool read;
  };
  const Row rows[] = {
      {"0", true},
      {"1", true},
      {"1000000", true},
      {"18446744073709551616", true},
      {largest, true},
      {"115792089237316195423570985008687907853269984665640564039457584007913129639936", false},
      {"999999999999999999999999999999999999999999999999999999999999999999999999999999", false},
      {"1000000000000000000000000000000000000000000000000000000000000000000000000000000", false},
      {"", false},
      {"00", false},
      {"0001000000", false},
      {"0xf4240", false},
      {"1000000.0", false},
      {"1e6", false},
      {"+1", false},
      {"-1", false},
      {" 1", false},
      {"1 ", false},
      {std::string_view("1\0", 2), false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.digits);
    const auto read = read_uint256(row.digits);
    REQUIRE(read.has_value() == row.read);
    if (read) CHECK(text(*read) == row.digits);
  }
}

TEST_CASE("amounts compare as numbers do, and a word has the highest octet first") {
  CHECK(number("9") < number("10"));
  CHECK(number("18446744073709551615") < number("18446744073709551616"));
  CHECK(number(largest) > number("18446744073709551616"));
  CHECK(number("18446744073709551615").small() == UINT64_MAX);
  CHECK_FALSE(number("18446744073709551616").small().has_value());
  CHECK(hex(chars(word_of(number("258")))) == std::string(60, '0') + "0102");
  CHECK(hex(chars(word_of(number(largest)))) == std::string(64, 'f'));
  CHECK_FALSE(times_plus(number(largest), 1, 1).has_value());
  CHECK_FALSE(times_plus(number(largest), 2, 0).has_value());
}

TEST_CASE("what is read is printed, is worth its word, and divides with its rest") {
  const std::uint64_t seed = 20261129;
  MESSAGE("seed " << seed);
  calyx::testing::Dice dice(seed);
  for (int round = 0; round < 2000; ++round) {
    Uint256 any;
    const std::size_t parts = dice.below(5);
    for (std::size_t i = 0; i < parts; ++i) any.parts[3 - i] = dice.next() >> dice.below(64);
    CHECK(read_uint256(text(any)) == any);
    CHECK(uint256_of(word_of(any)) == any);
    const auto power = static_cast<unsigned>(dice.below(80));
    const auto divided = divide_by_power_of_ten(any, power);
    // By the digits: the quotient is the text without its last ones, which are the rest.
    const std::string digits = text(any);
    const std::size_t kept = digits.size() > power ? digits.size() - power : 0;
    const std::string high = kept == 0 ? "0" : digits.substr(0, kept);
    std::string low = digits.substr(kept);
    low.erase(0, low.find_first_not_of('0'));
    CHECK(text(divided.quotient) == high);
    CHECK(text(divided.rest) == (low.empty() ? "0" : low));
  }
}

TEST_CASE("a dollar token's amount is worth micro-FLOPS, rounded down with its rest") {
  struct Row {
    std::string_view amount;
    unsigned decimals;
    std::int64_t micro;
    std::string_view rest;
  };
  const Row rows[] = {
      {"1", 6, 100, "0"},
      {"1000000", 6, 100'000'000, "0"},
      {"10000000000", 18, 1, "0"},
      {"9999999999", 18, 0, "9999999999"},
      {"1000000000000000001", 18, 100'000'000, "1"},
      {"7", 8, 7, "0"},
      {"1", 0, 100'000'000, "0"},
      {"80000000000000", 6, 8'000'000'000'000'000, "0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.amount);
    const auto worth = worth_of(number(row.amount), row.decimals);
    REQUIRE(worth);
    CHECK(worth->money.micro == row.micro);
    CHECK(text(worth->rest) == row.rest);
    const auto back = amount_worth(Money{row.micro}, row.decimals);
    REQUIRE(back);
    if (row.rest == "0") CHECK(text(*back) == row.amount);
  }
  CHECK_FALSE(worth_of(number("80000000000001"), 6).has_value());
  CHECK_FALSE(worth_of(number(largest), 6).has_value());
  CHECK_FALSE(worth_of(number(largest), 18).has_value());
  CHECK_FALSE(amount_worth(Money{150}, 6).has_value());  // finer than an atomic unit
  CHECK_FALSE(amount_worth(Money{-100}, 6).has_value());
  CHECK(text(*amount_worth(amount_max, 18)) == "80000000000000000000000000");
}
