#include <doctest/doctest.h>

#include <calyx/core/transfer.hpp>
#include <vector>

using namespace calyx;
using core::AccountNumber;
using core::Entry;
using core::Legs;

namespace {

Legs legs_of(const std::vector<Entry>& entries) {
  Legs legs;
  for (const Entry& entry : entries) legs.add(entry.account, entry.amount);
  return legs;
}

std::vector<Entry> all(const Legs& legs) { return {legs.all().begin(), legs.all().end()}; }

std::vector<Entry> a_chain(std::size_t count) {
  std::vector<Entry> entries;
  for (std::size_t i = 1; i < count; ++i) entries.push_back({AccountNumber(15 + i), Money{1}});
  entries.push_back({99, Money{1 - static_cast<std::int64_t>(count)}});
  return entries;
}

}  // namespace

TEST_CASE("a transfer has two to eight legs that sum to zero, or none at all") {
  struct Row {
    std::string says;
    std::vector<Entry> entries;
    Reason expected;
  };
  const Row rows[] = {
      {"nothing moved", {}, Reason::none},
      {"legs of nothing are no legs", {{16, Money{0}}, {17, Money{0}}}, Reason::none},
      {"what leaves arrives", {{16, Money{-9}}, {17, Money{9}}}, Reason::none},
      {"one leg is no transfer", {{16, Money{9}}}, Reason::legs_out_of_range},
      {"one micro is missing", {{16, Money{-9}}, {17, Money{8}}}, Reason::sum_not_zero},
      {"one micro is too many", {{16, Money{-9}}, {17, Money{10}}}, Reason::sum_not_zero},
      {"eight", a_chain(8), Reason::none},
      {"nine", a_chain(9), Reason::legs_out_of_range},
      {"the largest amounts",
       {{16, -core::amount_max}, {17, core::amount_max}, {18, -core::amount_max}, {19, core::amount_max}},
       Reason::none},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::judge(legs_of(row.entries)) == row.expected);
  }
}

TEST_CASE("an account has one leg at most, and one that comes to nothing is gone") {
  CHECK(all(legs_of({{16, Money{5}}, {17, Money{-8}}, {16, Money{3}}})) ==
        std::vector<Entry>{{16, Money{8}}, {17, Money{-8}}});
  CHECK(all(legs_of({{16, Money{5}}, {17, Money{-8}}, {18, Money{3}}, {16, Money{-5}}})) ==
        std::vector<Entry>{{17, Money{-8}}, {18, Money{3}}});
  CHECK(legs_of({{16, Money{5}}, {16, Money{-5}}}).count() == 0);
}

TEST_CASE("an account's number says what it is") {
  struct Row {
    AccountNumber account;
    bool wallet, escrow;
  };
  const AccountNumber first_escrow = core::escrow_account(0);
  const Row rows[] = {
      {core::account_external, false, false}, {core::account_fees, false, false},
      {core::wallet_first - 1, false, false}, {core::wallet_first, true, false},
      {first_escrow - 1, true, false},        {first_escrow, false, true},
      {core::escrow_account(1), false, true}, {core::escrow_account(1'000'000'000'000), false, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.account);
    CHECK(core::is_wallet(row.account) == row.wallet);
    CHECK(core::is_escrow(row.account) == row.escrow);
  }
}
