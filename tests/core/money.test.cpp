#include <doctest/doctest.h>

#include <calyx/core/money.hpp>
#include <cstdint>
#include <random>
#include <string>

using namespace calyx;
using namespace calyx::core;

static_assert(read_money("3.80").money == Money{3'800'000});

TEST_CASE("an amount is read from its digits, or named by its fault") {
  struct Row {
    std::string text;
    std::int64_t micro;
    MoneyFault fault;
  };
  const auto none = MoneyFault::none;
  const auto malformed = MoneyFault::malformed;
  const auto precise = MoneyFault::too_precise;
  const auto range = MoneyFault::out_of_range;
  const auto negative = MoneyFault::negative;
  const Row rows[] = {
      {"0", 0, none},
      {"0.0", 0, none},
      {"0.000001", 1, none},
      {"1", 1'000'000, none},
      {"3.80", 3'800'000, none},
      {"0.1", 100'000, none},
      {"12.345678", 12'345'678, none},
      {"8000000000", 8'000'000'000'000'000, none},
      {"8000000000.000000", 8'000'000'000'000'000, none},
      {"8000000000.000001", 0, range},
      {"8000000001", 0, range},
      {"99999999999999999999999999999999999999999999", 0, range},
      {"9223372036854775808", 0, range},
      {"1e3", 1'000'000'000, none},
      {"1E+3", 1'000'000'000, none},
      {"1e-6", 1, none},
      {"1.5e-5", 15, none},
      {"25e-1", 2'500'000, none},
      {"8e9", 8'000'000'000'000'000, none},
      {"8.1e9", 0, range},
      {"0e400", 0, none},
      {"1e400", 0, range},
      {"1e99999999999999999999", 0, range},
      {"1e-7", 0, precise},
      {"0.0000001", 0, precise},
      {"1.0000000", 0, precise},
      {"1e-99999999999999999999", 0, precise},
      {"-1", 0, negative},
      {"-0", 0, negative},
      {"-0.0", 0, negative},
      {"-1e400", 0, negative},
      {"", 0, malformed},
      {"-", 0, malformed},
      {"+1", 0, malformed},
      {"01", 0, malformed},
      {"00", 0, malformed},
      {".5", 0, malformed},
      {"5.", 0, malformed},
      {"1,5", 0, malformed},
      {" 1", 0, malformed},
      {"1 ", 0, malformed},
      {"1e", 0, malformed},
      {"1e+", 0, malformed},
      {"1e1.5", 0, malformed},
      {"1.2.3", 0, malformed},
      {"0x1", 0, malformed},
      {"inf", 0, malformed},
      {"NaN", 0, malformed},
      {"\xD9\xA1", 0, malformed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const MoneyReading read = read_money(row.text);
    CHECK(read.fault == row.fault);
    CHECK(read.money == Money{row.micro});
  }
  CHECK(read_money(std::string_view("1\0", 2)).fault == malformed);
}

TEST_CASE("an amount prints the fewest digits that the wire and people expect") {
  struct Row {
    std::int64_t micro;
    std::string wire;
    std::string money;
  };
  const Row rows[] = {
      {0, "0.0", "0.00"},
      {1, "0.000001", "0.000001"},
      {10, "0.00001", "0.00001"},
      {5'000'000, "5.0", "5.00"},
      {8'400'000, "8.4", "8.40"},
      {3'230'000, "3.23", "3.23"},
      {100'000, "0.1", "0.10"},
      {12'345'678, "12.345678", "12.345678"},
      {-570'000, "-0.57", "-0.57"},
      {-1, "-0.000001", "-0.000001"},
      {8'000'000'000'000'000, "8000000000.0", "8000000000.00"},
      {INT64_MAX, "9223372036854.775807", "9223372036854.775807"},
      {INT64_MIN, "-9223372036854.775808", "-9223372036854.775808"},
  };
  for (const Row& row : rows) {
    CHECK(wire_text(Money{row.micro}) == row.wire);
    CHECK(money_text(Money{row.micro}) == row.money);
  }
}

TEST_CASE("a million amounts are read back from what they print") {
  std::mt19937_64 random(20261123);
  int wrong = 0;
  std::string text;
  for (int i = 0; i < 1'000'000; ++i) {
    // Every size is drawn as often as every other, so small amounts and long tails of zeros are among them.
    const std::uint64_t bound = std::uint64_t{1} << (random() % 53);
    std::int64_t micro = static_cast<std::int64_t>(random() % bound);
    if (i % 3 == 0) micro = micro / 1000 * 1000;
    if (micro > amount_max.micro) micro = amount_max.micro;
    for (const int decimals : {1, 2}) {
      text.clear();
      append_money(text, Money{micro}, decimals);
      const MoneyReading read = read_money(text);
      const bool same = read.fault == MoneyFault::none && read.money.micro == micro;
      if (!same && ++wrong < 10) MESSAGE("lost: " << text);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a sum that leaves int64 is no sum") {
  CHECK(plus(Money{1}, Money{2}) == Money{3});
  CHECK(minus(Money{1}, Money{2}) == Money{-1});
  CHECK(plus(Money{INT64_MAX}, Money{0}) == Money{INT64_MAX});
  CHECK_FALSE(plus(Money{INT64_MAX}, Money{1}));
  CHECK_FALSE(plus(Money{INT64_MIN}, Money{-1}));
  CHECK(minus(Money{INT64_MIN}, Money{0}) == Money{INT64_MIN});
  CHECK_FALSE(minus(Money{INT64_MIN}, Money{1}));
  CHECK_FALSE(minus(Money{0}, Money{INT64_MIN}));
}

TEST_CASE("an atomic unit of USDC is a hundred micro, rounded down") {
  CHECK(usdc_atomic(Money{199}) == 1);
  CHECK(usdc_atomic(Money{micro_per_flops}) == 10'000);
  CHECK(from_usdc_atomic(1'000'000) == Money{flops_per_usd * micro_per_flops});
}

TEST_CASE("every amount is exact in a double") {
  CHECK(static_cast<std::int64_t>(static_cast<double>(amount_max.micro)) == amount_max.micro);
  CHECK(amount_max.micro < std::int64_t{1} << 53);
}

TEST_CASE("an amount that a program knows is read when it is compiled") {
  static_assert(12.40_flops == Money{12'400'000});
  static_assert(2000_flops == Money{2'000'000'000});
  static_assert(1e-6_flops == Money{1});
  static_assert(0_flops == Money{});
}

TEST_CASE("an amount that a program is given is read, or its fault is an error that says so") {
  CHECK(read_flops("3.80").value() == 3.80_flops);
  struct Row {
    std::string text;
    Reason reason;
    std::string message;
  };
  const Row rows[] = {
      {"", Reason::amount_malformed, "the amount is not written as a decimal number"},
      {"4,00", Reason::amount_malformed, "4,00 is not written as a decimal number"},
      {"4 ", Reason::amount_malformed, "the amount is not written as a decimal number"},
      {"0.0000001", Reason::amount_too_precise, "0.0000001 has more than 6 decimals"},
      {"8000000001", Reason::amount_out_of_range, "8000000001 is more than 8000000000 FLOPS"},
      {"-1", Reason::amount_negative, "-1 is negative"},
      {std::string(33, '9'), Reason::amount_out_of_range, "the amount is more than 8000000000 FLOPS"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<Money> read = read_flops(row.text);
    REQUIRE(!read.ok());
    CHECK(read.error().reason == row.reason);
    CHECK(read.error().message == row.message);
  }
}
