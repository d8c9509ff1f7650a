#include <doctest/doctest.h>

#include <calyx/core/money.hpp>
#include <calyx/engine.hpp>
#include <random>
#include <string>
#include <vector>

#include "testing.hpp"

using namespace calyx;

namespace {

std::int64_t micro_at(const core::json::Value& amounts, const char* name) {
  const core::json::Value* text = amounts.find(name);
  REQUIRE(text != nullptr);
  REQUIRE(text->string() != nullptr);
  const core::MoneyReading reading = core::read_money(*text->string());
  REQUIRE(reading.fault == core::MoneyFault::none);
  return reading.money.micro;
}

}  // namespace

TEST_CASE("whatever is locked and settled, at whatever fee, no micro is made or lost") {
  const std::int64_t rounds = testing::by_scale<std::int64_t>(4, 20, 400);
  constexpr std::int64_t pairs = 250;
  for (const std::int32_t rate : {0, 1, 1500, 3333, 9999, 10'000}) {
    CAPTURE(rate);
    std::mt19937_64 random(static_cast<std::uint64_t>(rate) + 20261123);
    Options options;
    options.fee_basis_points = rate;
    Engine engine = Engine::open(options).value();
    Session all = engine.as_operator();
    const auto wallet = [&](const char* owner) {
      return all.create_wallet({.owner_type = OwnerType::human, .owner_id = owner}).value().wallet.id;
    };
    const WalletId payer = wallet("payer"), host = wallet("host");
    all.topup({.wallet = payer, .amount = core::amount_max}).value();
    std::int64_t fees = 0;
    for (std::int64_t round = 0; round < rounds; ++round) {
      std::vector<Operation> operations;
      for (std::int64_t i = 0; i < pairs; ++i) {
        const std::string job = std::to_string(round) + "-" + std::to_string(i);
        // Every magnitude up to a hundred-thousandth of all there is, odd digits included.
        const std::int64_t locked =
            1 + (static_cast<std::int64_t>(random() % 1'000'000'000'000) >> (random() % 40));
        const std::int64_t gross =
            static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(locked + 1));
        operations.emplace_back(
            Spend{.wallet = payer, .job_id = job, .amount = Money{locked}, .host_wallet = host});
        operations.emplace_back(Earn{.host = host,
                                     .job_id = job,
                                     .gross_amount = Money{i % 5 == 0 ? locked : gross},
                                     .gpu_model = "x"});
      }
      const std::vector<Outcome> outcomes = all.bulk(operations).value();
      for (std::size_t i = 1; i < outcomes.size(); i += 2) {
        const auto& asked = std::get<Earn>(operations[i]);
        const auto* earned = std::get_if<Earned>(&outcomes[i]);
        REQUIRE(earned != nullptr);
        REQUIRE(earned->gross_amount == asked.gross_amount);
        REQUIRE(earned->platform_fee.micro >= 0);
        REQUIRE(earned->net_payout.micro >= 0);
        REQUIRE(earned->platform_fee.micro + earned->net_payout.micro == asked.gross_amount.micro);
        fees += earned->platform_fee.micro;
        if (i % 50 != 1) continue;
        const Receipt receipt = all.receipt(earned->receipt).value();
        const core::json::Value* amounts = receipt.payload.find("amount");
        REQUIRE(amounts != nullptr);
        CHECK(micro_at(*amounts, "gross") == earned->gross_amount.micro);
        CHECK(micro_at(*amounts, "platform_fee") == earned->platform_fee.micro);
        CHECK(micro_at(*amounts, "net") == earned->net_payout.micro);
      }
      const Wallet a = all.wallet(payer).value(), b = all.wallet(host).value();
      REQUIRE(a.held == Money{});
      REQUIRE(a.balance.micro + b.balance.micro + fees == core::amount_max.micro);
    }
    const AuditReport report = all.audit().value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
}

TEST_CASE("the largest and the oddest amounts come through every call digit for digit") {
  const std::int64_t amounts[] = {1, 7'999'999'999'999'999, 4'503'599'627'370'497, 7'777'777'777'777'777,
                                  999'999};
  for (const std::int64_t micro : amounts) {
    CAPTURE(micro);
    Engine engine = Engine::open({}).value();
    Session all = engine.as_operator();
    const auto wallet = [&](const char* owner) {
      return all.create_wallet({.owner_type = OwnerType::human, .owner_id = owner}).value().wallet.id;
    };
    const WalletId a = wallet("a"), b = wallet("b");
    CHECK(all.topup({.wallet = a, .amount = Money{micro}}).value().new_balance.micro == micro);
    CHECK(all.transfer({.from = a, .to = b, .amount = Money{micro}}).value().new_balance.micro == 0);
    CHECK(all.wallet(b).value().balance.micro == micro);
    CHECK(all.spend({.wallet = b, .job_id = "j", .amount = Money{micro}, .host_wallet = a})
              .value()
              .amount_locked.micro == micro);
    CHECK(all.release({.wallet = b, .job_id = "j"}).value().new_balance.micro == micro);
    CHECK(all.entries(b).value().items.front().amount.micro == micro);
  }
}

TEST_CASE("a wallet holds at most what a double counts exactly, escrow included") {
  Engine engine = Engine::open({}).value();
  Session all = engine.as_operator();
  const auto wallet = [&](const char* owner) {
    return all.create_wallet({.owner_type = OwnerType::human, .owner_id = owner}).value().wallet.id;
  };
  const WalletId full = wallet("full"), other = wallet("other");
  CHECK(all.topup({.wallet = full, .amount = Money{core::amount_max.micro + 1}}).reason() ==
        Reason::amount_out_of_range);
  all.topup({.wallet = full, .amount = core::amount_max}).value();
  all.topup({.wallet = other, .amount = Money{2}}).value();
  CHECK(all.topup({.wallet = full, .amount = Money{1}}).reason() == Reason::balance_out_of_range);
  CHECK(all.transfer({.from = other, .to = full, .amount = Money{1}}).reason() ==
        Reason::balance_out_of_range);
  // What is locked may come back, so its room stays taken.
  all.spend({.wallet = full, .job_id = "j", .amount = Money{5}}).value();
  CHECK(all.topup({.wallet = full, .amount = Money{1}}).reason() == Reason::balance_out_of_range);
  all.transfer({.from = full, .to = other, .amount = Money{1}}).value();
  CHECK(all.topup({.wallet = full, .amount = Money{1}}).ok());
}
