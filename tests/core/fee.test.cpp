#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/core/fee.hpp>
#include <random>
#include <string>

#include "testing.hpp"

using namespace calyx;
using core::FeeSplit;
using core::split_fee;

namespace {

/// The fee by its definition, from remainders alone: no product of an amount and a rate.
std::int64_t fee_by_hand(std::int64_t gross, std::int32_t rate) {
  const std::int64_t whole = gross / 10'000 * rate;
  const std::int64_t scaled = gross % 10'000 * rate;  // below 10^8
  std::int64_t fee = whole + scaled / 10'000;
  const std::int64_t twice = scaled % 10'000 * 2;
  if (twice > 10'000 || (twice == 10'000 && fee % 2 == 1)) ++fee;
  return fee;
}

}  // namespace

TEST_CASE("the fee is fifteen percent rounded half-even to the micro") {
  struct Row {
    std::string says;
    std::int64_t gross, fee, net;
  };
  const Row rows[] = {
      {"nothing", 0, 0, 0},
      {"the documents' job", 3'800'000, 570'000, 3'230'000},
      {"0.15 of a micro is none", 1, 0, 1},
      {"0.45", 3, 0, 3},
      {"0.60", 4, 1, 3},
      {"1.50, a tie, goes to even", 10, 2, 8},
      {"4.50, a tie, goes to even", 30, 4, 26},
      {"7.50, a tie, goes to even", 50, 8, 42},
      {"10.50, a tie, goes to even", 70, 10, 60},
      {"1.35", 9, 1, 8},
      {"1.65", 11, 2, 9},
      {"the most that there is", core::amount_max.micro, 1'200'000'000'000'000, 6'800'000'000'000'000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const FeeSplit split = split_fee(Money{row.gross}, core::fee_basis_points_default);
    CHECK(split.fee.micro == row.fee);
    CHECK(split.net.micro == row.net);
  }
}

TEST_CASE("fee and net sum to gross for a million amounts, at every rate that is asked") {
  const int rounds = testing::by_scale(50'000, 1'000'000, 50'000'000);
  std::mt19937_64 random(20261123);
  std::uniform_int_distribution<std::int64_t> any(0, core::amount_max.micro);
  std::uniform_int_distribution<std::int32_t> any_rate(0, core::basis_points_whole);
  const std::int32_t rates[] = {0, 1, 250, 1499, 1500, 3333, 5000, 9999, 10'000};
  std::size_t wrong = 0, ties = 0;
  Money first_wrong;
  std::int32_t wrong_rate = 0;
  const auto look = [&](std::int64_t gross, std::int32_t rate) {
    const FeeSplit split = split_fee(Money{gross}, rate);
    const bool good = split.fee.micro >= 0 && split.net.micro >= 0 &&
                      split.fee.micro + split.net.micro == gross &&
                      split.fee.micro == fee_by_hand(gross, rate);
    if (gross % 10'000 * rate % 10'000 == 5'000) ++ties;
    if (good) return;
    if (wrong++ == 0) first_wrong = Money{gross}, wrong_rate = rate;
  };
  for (int i = 0; i < rounds; ++i) {
    look(i, core::fee_basis_points_default);
    look(core::amount_max.micro - i, core::fee_basis_points_default);
    const std::int64_t gross = any(random) >> (random() % 53);  // every magnitude alike
    look(gross, core::fee_basis_points_default);
    look(gross, rates[random() % std::size(rates)]);
    look(gross, any_rate(random));
  }
  CAPTURE(first_wrong.micro);
  CAPTURE(wrong_rate);
  CHECK(wrong == 0);
  CHECK(ties > static_cast<std::size_t>(rounds) / 100);  // else half-even was hardly tried
}

TEST_CASE("over many ties as many go up as down") {
  // At 50 % every odd amount is a tie: what half-even gives away in one it takes back in the next.
  std::int64_t fees = 0, gross = 0;
  for (std::int64_t amount = 1; amount < 4'001; amount += 2) {
    fees += split_fee(Money{amount}, 5'000).fee.micro;
    gross += amount;
  }
  CHECK(fees * 2 == gross);
}
