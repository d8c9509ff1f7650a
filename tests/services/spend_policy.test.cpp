#include <doctest/doctest.h>

#include <calyx/engine.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace calyx;

namespace {

constexpr std::int64_t second = core::us_per_second;
constexpr Money flops(std::int64_t whole) { return Money{whole * core::micro_per_flops}; }
constexpr Money one_more(Money money) { return Money{money.micro + 1}; }

/// A human with an agent, each with rules, money for both, and a clock that a test moves.
struct Street {
  std::int64_t clock = 1'774'990'800'000'000;
  Engine engine = Engine::open({.now_us = [this] { return clock; }}).value();
  Session all = engine.as_operator();
  WalletCreated human = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice"}).value();
  WalletCreated agent = create_agent();
  WalletId host = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "host"}).value().wallet.id;
  Session by_human = engine.session(human.api_key).value();
  Session by_agent = engine.session(agent.api_key).value();
  int jobs = 0;

  Street() {
    all.topup({.wallet = human.wallet.id, .amount = flops(1'000)}).value();
    all.topup({.wallet = agent.wallet.id, .amount = flops(100)}).value();
  }
  Street(const Street&) = delete;
  Street& operator=(const Street&) = delete;

  WalletCreated create_agent() {
    WalletCreate asked{.owner_type = OwnerType::agent, .owner_id = "research", .parent = human.wallet.id};
    return all.create_wallet(asked).value();
  }
  void rule(WalletId wallet, const WalletChange& change) { all.change_wallet(wallet, change).value(); }
  Spend job(Money amount) {
    return {.wallet = agent.wallet.id, .job_id = "job-" + std::to_string(jobs++), .amount = amount};
  }
  Result<Spent> spend(Money amount) { return by_agent.spend(job(amount)); }
  Money balance() { return all.wallet(agent.wallet.id).value().balance; }
};

std::string detail_of(const Error& error, const char* name) {
  const core::json::Value* value = error.details.find(name);
  if (value == nullptr) return "absent";
  return value->string() != nullptr ? *value->string() : core::json::text(*value);
}

}  // namespace

TEST_CASE("a refused spend says which rule of which wallet, what it needs and what room is left") {
  struct Row {
    std::string says;
    std::function<void(Street&)> rule;
    Reason reason;
    bool parents;
    std::string limit, room, shortfall, message;
  };
  const auto own = [](auto change) { return [change](Street& of) { of.rule(of.agent.wallet.id, change); }; };
  const auto above = [](auto change) {
    return [change](Street& of) { of.rule(of.human.wallet.id, change); };
  };
  const Row rows[] = {
      {"own job cap", own(WalletChange{.spend_cap_per_job = flops(5)}), Reason::spend_cap_per_job, false,
       "5.0", "5.0", "1.0", "needs 6 FLOPS, the cap a job is 5"},
      {"parent's job cap", above(WalletChange{.spend_cap_per_job = flops(2)}), Reason::spend_cap_per_job,
       true, "2.0", "2.0", "4.0", "needs 6 FLOPS, the parent's cap a job is 2"},
      {"own hour cap", own(WalletChange{.spend_cap_per_hour = flops(8)}), Reason::spend_cap_per_hour, false,
       "8.0", "5.0", "1.0", "needs 6 FLOPS, the cap an hour is 8 with 5 left"},
      {"parent's hour cap", above(WalletChange{.spend_cap_per_hour = flops(4)}), Reason::spend_cap_per_hour,
       true, "4.0", "1.0", "5.0", "needs 6 FLOPS, the parent's cap an hour is 4 with 1 left"},
      {"own threshold", own(WalletChange{.approval_threshold = flops(1)}), Reason::approval_required, false,
       "1.0", "1.0", "5.0", "needs 6 FLOPS, above 1 a human must approve"},
      {"balance",
       [](Street& of) {
         of.all.transfer({.from = of.agent.wallet.id, .to = of.host, .amount = flops(92)}).value();
       },
       Reason::insufficient_balance, false, "5.0", "5.0", "1.0", "needs 6 FLOPS, has 5"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Street street;
    street.spend(flops(3)).value();
    row.rule(street);
    const Money before = street.balance();
    const Result<Spent> spent = street.spend(flops(6));
    REQUIRE_FALSE(spent.ok());
    const Error& error = spent.error();
    CHECK(error.reason == row.reason);
    CHECK(error.message == row.message);
    CHECK(detail_of(error, "rule") == std::string(word(row.reason)));
    CHECK(detail_of(error, "wallet_id") == (row.parents ? street.human : street.agent).wallet.id.text());
    CHECK(detail_of(error, "needed") == "6.0");
    CHECK(detail_of(error, "limit") == row.limit);
    CHECK(detail_of(error, "room") == row.room);
    CHECK(detail_of(error, "shortfall") == row.shortfall);
    CHECK(street.balance() == before);
  }
}

TEST_CASE("a spend is refused by the first check that it fails, in the promised order") {
  // From the last check to the first: each row breaks one more, and from then on speaks first.
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  street.spend(flops(3)).value();
  Spend asked{.wallet = agent, .job_id = "all-wrong", .amount = flops(200), .gpu_type = "H100"};
  struct Row {
    std::string says;
    std::function<void()> break_it;
    Reason expected;
  };
  const Row rows[] = {
      {"balance", [] {}, Reason::insufficient_balance},
      {"threshold", [&] { street.rule(agent, {.approval_threshold = flops(199)}); },
       Reason::approval_required},
      {"parent's hour", [&] { street.rule(human, {.spend_cap_per_hour = flops(202)}); },
       Reason::spend_cap_per_hour},
      {"parent's job", [&] { street.rule(human, {.spend_cap_per_job = flops(199)}); },
       Reason::spend_cap_per_job},
      {"gpu", [&] { street.rule(agent, {.allowed_gpu_types = std::vector<std::string>{"A100"}}); },
       Reason::gpu_not_allowed},
      {"frozen", [&] { street.rule(human, {.status = WalletStatus::frozen}); }, Reason::wallet_not_active},
      {"burned", [&] { street.all.release({.wallet = agent, .job_id = "all-wrong"}).value(); },
       Reason::job_burned},
      {"zero", [&] { asked.amount = Money{}; }, Reason::amount_zero},
      {"job id", [&] { asked.job_id = "a b"; }, Reason::field_value},
      {"another's wallet", [&] { asked.wallet = street.host; }, Reason::not_your_wallet},
      {"nobody's wallet", [&] { asked.wallet = WalletId{}; }, Reason::wallet_unknown},
      {"key", [&] { street.all.revoke_key(street.agent.key).value(); }, Reason::unauthorized},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    row.break_it();
    CHECK(street.by_agent.spend(asked).reason() == row.expected);
  }
}

TEST_CASE("the rolling hour counts what went out, less what came back, to the microsecond") {
  Street street;
  street.rule(street.agent.wallet.id, {.spend_cap_per_hour = flops(10)});
  const auto room = [&] {
    const Result<Spent> refused = street.spend(flops(11));
    REQUIRE(refused.reason() == Reason::spend_cap_per_hour);
    return detail_of(refused.error(), "room");
  };
  CHECK(room() == "10.0");
  const Spend first = street.job(flops(4));
  street.by_agent.spend(first).value();
  CHECK(room() == "6.0");
  CHECK(street.spend(one_more(flops(6))).reason() == Reason::spend_cap_per_hour);
  street.clock += 600 * second;
  Spend second_job = street.job(flops(6));
  second_job.host_wallet = street.host;
  street.by_agent.spend(second_job).value();
  CHECK(room() == "0.0");
  CHECK(street.spend(Money{1}).reason() == Reason::spend_cap_per_hour);

  // Half of it is settled: the rest came back unspent.
  street.all
      .earn({.host = street.host, .job_id = second_job.job_id, .gross_amount = flops(3), .gpu_model = "x"})
      .value();
  CHECK(room() == "3.0");
  // A released job was never spent.
  const Spend third = street.job(flops(3));
  street.by_agent.spend(third).value();
  CHECK(room() == "0.0");
  street.by_agent.release({.wallet = third.wallet, .job_id = third.job_id}).value();
  CHECK(room() == "3.0");
  // Nor an expired one, whether or not a write has brought it back.
  Spend fourth = street.job(flops(3));
  fourth.expires_in_s = 1;
  street.by_agent.spend(fourth).value();
  street.clock += 2 * second;
  CHECK(room() == "3.0");
  street.all.release({.wallet = street.agent.wallet.id, .job_id = "sweeps"}).value();
  CHECK(room() == "3.0");

  // The first spend leaves the hour an hour after it, not a microsecond before.
  street.clock = 1'774'990'800'000'000 + core::us_per_hour - 1;
  CHECK(room() == "3.0");
  street.clock += 1;
  CHECK(room() == "7.0");
  // And what comes back of it then changes nothing.
  street.by_agent.release({.wallet = first.wallet, .job_id = first.job_id}).value();
  CHECK(room() == "7.0");
}

TEST_CASE("a lock leaves the hour at its deadline, though nothing has swept it") {
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  const WalletCreated other = street.create_agent();
  street.all.topup({.wallet = other.wallet.id, .amount = flops(100)}).value();
  Session by_other = street.engine.session(other.api_key).value();
  for (const bool parents : {false, true}) {
    CAPTURE(parents);
    street.rule(agent, {.spend_cap_per_hour = parents ? std::optional<Money>() : flops(10)});
    street.rule(human, {.spend_cap_per_hour = parents ? flops(10) : std::optional<Money>()});
    Session& asker = parents ? by_other : street.by_agent;
    const auto ask = [&](Money amount) {
      Spend asked = street.job(amount);
      asked.wallet = parents ? other.wallet.id : agent;
      return asker.spend(asked);
    };
    // Settled whole, a lock leaves no entry to its payer, and counts for all that.
    Spend settled = street.job(flops(2)), late = street.job(flops(7));
    settled.expires_in_s = late.expires_in_s = 60;
    settled.host_wallet = street.host;
    street.by_agent.spend(settled).value();
    street.all
        .earn({.host = street.host, .job_id = settled.job_id, .gross_amount = flops(2), .gpu_model = "x"})
        .value();
    if (parents) street.rule(human, {.spend_cap_per_hour = flops(10)});
    street.by_agent.spend(late).value();
    CHECK(ask(flops(2)).reason() == Reason::spend_cap_per_hour);
    street.clock += 60 * second - 1;
    CHECK(ask(flops(2)).reason() == Reason::spend_cap_per_hour);
    street.clock += 1;
    CHECK(ask(one_more(flops(8))).reason() == Reason::spend_cap_per_hour);
    CHECK(ask(flops(8)).ok());
    // The expiry that is appended later changes nothing.
    street.all.release({.wallet = agent, .job_id = "sweeps" + std::to_string(parents)}).value();
    CHECK(ask(Money{1}).reason() == Reason::spend_cap_per_hour);
    street.clock += core::us_per_hour;
  }
}

TEST_CASE("an hour that is first asked about after a whole settlement still counts it past the deadline") {
  Street street;
  Spend settled = street.job(flops(4));
  settled.expires_in_s = 60;
  settled.host_wallet = street.host;
  street.by_agent.spend(settled).value();
  street.all.earn({.host = street.host, .job_id = settled.job_id, .gross_amount = flops(4), .gpu_model = "x"})
      .value();
  street.rule(street.agent.wallet.id, {.spend_cap_per_hour = flops(5)});
  street.clock += 61 * second;
  CHECK(detail_of(street.spend(flops(2)).error(), "room") == "1.0");
}

TEST_CASE("an agent's transfers and payouts count in its hour, an allocation and the operator's don't") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  street.rule(agent, {.spend_cap_per_hour = flops(10)});
  const auto room = [&] { return detail_of(street.spend(flops(11)).error(), "room"); };
  street.by_human.transfer({.from = street.human.wallet.id, .to = agent, .amount = flops(50)}).value();
  CHECK(room() == "10.0");
  street.all.transfer({.from = agent, .to = street.host, .amount = flops(50)}).value();
  CHECK(room() == "10.0");
  street.by_agent.transfer({.from = agent, .to = street.host, .amount = flops(2)}).value();
  CHECK(room() == "8.0");
  const Payout payout =
      street.by_agent.request_payout({.wallet = agent, .amount = flops(3), .destination = "iban"}).value();
  CHECK(room() == "5.0");
  CHECK(street.by_agent.transfer({.from = agent, .to = street.host, .amount = one_more(flops(5))}).reason() ==
        Reason::spend_cap_per_hour);
  street.all.fail_payout(payout.id).value();
  CHECK(room() == "8.0");
}

TEST_CASE("a parent's hour bounds the sum of itself and all its agents") {
  Street street;
  const WalletId human = street.human.wallet.id;
  const WalletCreated other = street.create_agent();
  street.all.topup({.wallet = other.wallet.id, .amount = flops(100)}).value();
  Session by_other = street.engine.session(other.api_key).value();
  street.rule(human, {.spend_cap_per_hour = flops(10)});
  street.spend(flops(3)).value();
  by_other.spend({.wallet = other.wallet.id, .job_id = "o", .amount = flops(4)}).value();
  street.by_human.spend({.wallet = human, .job_id = "h", .amount = flops(2)}).value();
  CHECK(detail_of(street.spend(flops(2)).error(), "room") == "1.0");
  // An agent that is made later is counted from its first spend on.
  const WalletCreated late = street.create_agent();
  street.all.topup({.wallet = late.wallet.id, .amount = flops(100)}).value();
  street.all.spend({.wallet = late.wallet.id, .job_id = "l", .amount = flops(1)}).value();
  CHECK(by_other.spend({.wallet = other.wallet.id, .job_id = "o2", .amount = Money{1}}).reason() ==
        Reason::spend_cap_per_hour);
}

TEST_CASE("a spend above the threshold passes once after a human said yes, and for exactly that call") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  street.rule(agent, {.approval_threshold = flops(5)});
  CHECK(street.spend(flops(5)).ok());
  const Spend asked = street.job(one_more(flops(5)));
  const Result<Spent> refused = street.by_agent.spend(asked);
  REQUIRE(refused.reason() == Reason::approval_required);
  CHECK(detail_of(refused.error(), "approval_status") == "pending");
  const std::string id = detail_of(refused.error(), "approval_id");
  CHECK(detail_of(street.by_agent.spend(asked).error(), "approval_id") ==
        id);  // asking again asks nothing new
  const auto listed = street.by_human.approvals(agent).value();
  REQUIRE(listed.items.size() == 1);
  CHECK(listed.items[0].id.text() == id);
  CHECK(listed.items[0].operation == "spend");
  CHECK(listed.items[0].job_id == asked.job_id);
  CHECK(listed.items[0].amount == asked.amount);

  // Who spends does not decide; nor does a human for itself.
  CHECK(street.by_agent.approve(listed.items[0].id).reason() == Reason::human_only);
  CHECK(street.by_human.approve(listed.items[0].id).value().status == ApprovalStatus::approved);
  CHECK(street.by_human.approve(listed.items[0].id).ok());
  CHECK(street.by_human.deny(listed.items[0].id).reason() == Reason::approval_decided);

  Spend other = asked;
  other.gpu_type = "A100";
  CHECK(street.by_agent.spend(other).reason() == Reason::approval_required);
  other = asked;
  ++other.amount.micro;
  CHECK(street.by_agent.spend(other).reason() == Reason::approval_required);

  // It lifts the threshold alone, and is not used up by a refusal.
  street.rule(agent, {.spend_cap_per_job = flops(5)});
  CHECK(street.by_agent.spend(asked).reason() == Reason::spend_cap_per_job);
  street.rule(agent, {.spend_cap_per_job = std::optional<Money>()});
  CHECK_FALSE(street.by_agent.spend(asked).value().replayed);
  CHECK(street.by_agent.spend(asked).value().replayed);
  CHECK(street.by_human.approvals(agent).value().items[0].status == ApprovalStatus::used);
}

TEST_CASE("an approval for a transfer serves one transfer, the next asks again") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  street.rule(agent, {.approval_threshold = flops(5)});
  const WalletTransfer asked{.from = agent, .to = street.host, .amount = flops(6), .reference = "rent"};
  const auto approval_of = [&](const Error& error) {
    return ApprovalId::read(detail_of(error, "approval_id")).value_or(ApprovalId{});
  };
  const Result<Moved> first = street.by_agent.transfer(asked);
  REQUIRE(first.reason() == Reason::approval_required);
  street.by_human.approve(approval_of(first.error())).value();
  CHECK(street.by_agent.transfer(asked).ok());
  const Result<Moved> second_time = street.by_agent.transfer(asked);
  REQUIRE(second_time.reason() == Reason::approval_required);
  CHECK(approval_of(second_time.error()) != approval_of(first.error()));

  // No is no, however often it is asked; silence until the end of its day is no as well.
  street.by_human.deny(approval_of(second_time.error())).value();
  CHECK(detail_of(street.by_agent.transfer(asked).error(), "approval_status") == "denied");
  WalletTransfer other = asked;
  other.reference = "food";
  const ApprovalId silent = approval_of(street.by_agent.transfer(other).error());
  street.clock += 24 * core::us_per_hour - 1;
  CHECK(street.by_human.approve(silent).ok());
  street.clock += 1;
  CHECK(street.by_human.approve(silent).reason() == Reason::approval_expired);
  CHECK(street.by_human.deny(silent).reason() == Reason::approval_expired);
  // The no has ended with its day as well.
  CHECK(street.by_human.deny(approval_of(second_time.error())).reason() == Reason::approval_expired);
  CHECK(detail_of(street.by_agent.transfer(asked).error(), "approval_status") == "pending");
  const Result<Moved> too_late = street.by_agent.transfer(other);
  REQUIRE(too_late.reason() == Reason::approval_required);
  CHECK(approval_of(too_late.error()) != silent);
  street.clock += 24 * core::us_per_hour;
  CHECK(street.by_human.approve(approval_of(too_late.error())).reason() == Reason::approval_expired);
}

TEST_CASE("a human's own spends above its threshold are the operator's to approve") {
  Street street;
  const WalletId human = street.human.wallet.id;
  street.rule(human, {.approval_threshold = flops(5)});
  const Spend asked{.wallet = human, .job_id = "own", .amount = flops(6)};
  const Result<Spent> refused = street.by_human.spend(asked);
  REQUIRE(refused.reason() == Reason::approval_required);
  const ApprovalId id = ApprovalId::read(detail_of(refused.error(), "approval_id")).value_or(ApprovalId{});
  CHECK(street.by_human.approve(id).reason() == Reason::operator_only);
  CHECK(street.all.approve(id).ok());
  CHECK(street.by_human.spend(asked).ok());
}

TEST_CASE("a wallet with a payout on its way out does not close, for it may come back") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  const Payout payout =
      street.all.request_payout({.wallet = agent, .amount = flops(100), .destination = "iban"}).value();
  CHECK(street.all.change_wallet(agent, {.status = WalletStatus::closed}).reason() ==
        Reason::wallet_not_empty);
  street.all.confirm_payout(payout.id).value();
  CHECK(street.all.change_wallet(agent, {.status = WalletStatus::closed}).ok());
  CHECK(street.all.topup({.wallet = agent, .amount = flops(1)}).reason() == Reason::wallet_not_active);
}

TEST_CASE("the retry of a creation gives the first answer, though the parent was closed since") {
  Street street;
  const WalletId parent =
      street.all.create_wallet({.owner_type = OwnerType::human, .owner_id = "p"}).value().wallet.id;
  WalletCreate asked{.owner_type = OwnerType::agent, .owner_id = "a", .parent = parent};
  asked.idempotency_key = "once";
  const WalletId first = street.all.create_wallet(asked).value().wallet.id;
  street.rule(first, {.status = WalletStatus::closed});
  street.rule(parent, {.status = WalletStatus::closed});
  const WalletCreated again = street.all.create_wallet(asked).value();
  CHECK(again.replayed);
  CHECK(again.wallet.id == first);
  CHECK(again.api_key.empty());
  asked.idempotency_key = "twice";
  CHECK(street.all.create_wallet(asked).reason() == Reason::wallet_not_active);
}

TEST_CASE("a payer who is its own host has one receipt, listed once") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  Spend asked = street.job(flops(4));
  asked.host_wallet = agent;
  street.by_agent.spend(asked).value();
  const Earned earned =
      street.by_agent
          .earn({.host = agent, .job_id = asked.job_id, .gross_amount = flops(4), .gpu_model = "x"})
          .value();
  CHECK(earned.new_balance == Money{flops(100).micro - earned.platform_fee.micro});
  CHECK(street.by_agent.receipts(agent).value().items.size() == 1);
}

TEST_CASE("a narrowed session's own rules speak first, by name, and bind every call that sends money out") {
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  street.rule(agent, {.spend_cap_per_job = flops(5), .approval_threshold = flops(1)});
  Session narrow = street.by_agent.narrowed({.spend_cap_per_job = flops(3),
                                             .spend_cap_per_hour = flops(40),
                                             .allowed_gpu_types = std::vector<std::string>{"A100", "H100"}});
  Spend asked = street.job(flops(6));
  const auto says = [&](Session& session) {
    const Result<Spent> spent = session.spend(asked);
    return spent.ok() ? std::string("passed") : spent.error().message;
  };
  CHECK(says(narrow) == "names no gpu_type, and this session's allowlist asks for one");
  asked.gpu_type = "RTX 4090";
  CHECK(says(narrow) == "RTX 4090 is not on this session's allowlist");
  asked.gpu_type = "A100";
  CHECK(says(narrow) == "needs 6 FLOPS, this session's cap a job is 3");
  CHECK(says(street.by_agent) == "needs 6 FLOPS, the cap a job is 5");
  const Result<Spent> refused = narrow.spend(asked);
  REQUIRE(refused.reason() == Reason::spend_cap_per_job);
  CHECK(detail_of(refused.error(), "owner") == "session");
  CHECK(detail_of(refused.error(), "wallet_id") == agent.text());
  CHECK(detail_of(refused.error(), "room") == "3.0");

  // Narrowed again, both bind.
  Session narrower = narrow.narrowed(
      {.spend_cap_per_job = flops(9), .allowed_gpu_types = std::vector<std::string>{"H100", "x"}});
  CHECK(says(narrower) == "A100 is not on this session's allowlist");
  asked.gpu_type = "H100";
  CHECK(says(narrower) == "needs 6 FLOPS, this session's cap a job is 3");
  Session careful = street.by_agent.narrowed({.approval_threshold = Money{}});
  asked.amount = flops(1);
  CHECK(says(careful) == "needs 1 FLOPS, above this session's 0 a human must approve");

  // What was answered before is answered again, whoever asks.
  street.by_agent.spend(asked).value();
  CHECK(careful.spend(asked).value().replayed);

  // Its hour is the wallet's own, whoever spent in it.
  Session hourly = street.by_agent.narrowed({.spend_cap_per_hour = flops(2)});
  CHECK(hourly.spend(street.job(one_more(flops(1)))).reason() == Reason::spend_cap_per_hour);
  CHECK(hourly.spend(street.job(flops(1))).ok());

  // A human's transfers and payouts are bound by it as well, by its wallet's own rules they aren't.
  street.rule(human, {.spend_cap_per_job = flops(1)});
  Session purse = street.by_human.narrowed({.spend_cap_per_job = flops(7), .spend_cap_per_hour = flops(10)});
  const auto move = [&](Money amount) {
    return purse.transfer({.from = human, .to = agent, .amount = amount}).reason();
  };
  CHECK(move(flops(8)) == Reason::spend_cap_per_job);
  CHECK(purse.request_payout({.wallet = human, .amount = flops(8), .destination = "iban"}).reason() ==
        Reason::spend_cap_per_job);
  CHECK(move(flops(7)) == Reason::none);
  CHECK(move(flops(2)) == Reason::spend_cap_per_hour);  // with what the agent spent: 2 and 7 are 9
  CHECK(purse.request_payout({.wallet = human, .amount = flops(1), .destination = "iban"}).ok());
  CHECK(street.by_human.transfer({.from = human, .to = agent, .amount = flops(8)}).ok());
  const std::vector<Operation> many{WalletTransfer{.from = human, .to = agent, .amount = flops(8)}};
  const auto outcomes = purse.bulk(many).value();
  REQUIRE(std::holds_alternative<Error>(outcomes[0]));
  CHECK(std::get<Error>(outcomes[0]).reason == Reason::spend_cap_per_job);
}

TEST_CASE("an allowlist that is asked for no GPU says what it misses") {
  Street street;
  street.rule(street.agent.wallet.id, {.allowed_gpu_types = std::vector<std::string>{"A100"}});
  CHECK(street.spend(flops(1)).error().message == "names no gpu_type, and the allowlist asks for one");
  street.rule(street.agent.wallet.id, {.allowed_gpu_types = std::optional<std::vector<std::string>>()});
  street.rule(street.human.wallet.id, {.allowed_gpu_types = std::vector<std::string>{"A100"}});
  CHECK(street.spend(flops(1)).error().message ==
        "names no gpu_type, and the parent's allowlist asks for one");
}

TEST_CASE("a thousand approvals of a wallet may wait, the next waits for one to end") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  street.rule(agent, {.approval_threshold = Money{}});
  const auto ask = [&](std::size_t number) {
    return street.by_agent.spend(
        {.wallet = agent, .job_id = "nag-" + std::to_string(number), .amount = Money{1}});
  };
  for (std::size_t i = 0; i < approvals_kept_max; ++i) REQUIRE(ask(i).reason() == Reason::approval_required);
  const std::int64_t before = street.all.audit().value().seq;
  const Result<Spent> refused = ask(approvals_kept_max);
  CHECK(refused.reason() == Reason::too_many_approvals);
  CHECK(facts(refused.reason()).http == 429);
  CHECK(street.all.audit().value().seq == before);
  CHECK(detail_of(ask(7).error(), "approval_status") == "pending");  // one that waits is no new one
  // Another wallet's are its own, and in a bulk the others go on.
  const WalletCreated other = street.create_agent();
  street.rule(other.wallet.id, {.approval_threshold = Money{}});
  CHECK(street.all.spend({.wallet = other.wallet.id, .job_id = "o", .amount = Money{1}}).reason() ==
        Reason::approval_required);
  const std::vector<Operation> many{
      Spend{.wallet = agent, .job_id = "more", .amount = Money{1}},
      TopUp{.wallet = agent, .amount = Money{1}},
  };
  const auto outcomes = street.all.bulk(many).value();
  CHECK(std::get<Error>(outcomes[0]).reason == Reason::too_many_approvals);
  CHECK(std::holds_alternative<Moved>(outcomes[1]));

  // The oldest that has ended makes room; those that wait stay.
  const auto page = street.by_human.approvals(agent, {.limit = 1'000}).value();
  REQUIRE(page.items.size() == approvals_kept_max);
  street.by_human.deny(page.items[5].id).value();
  street.by_human.approve(page.items[6].id).value();
  CHECK(ask(approvals_kept_max).reason() == Reason::approval_required);
  CHECK(ask(approvals_kept_max + 1).reason() == Reason::too_many_approvals);
  CHECK(street.by_human.deny(page.items[5].id).reason() == Reason::approval_unknown);
  CHECK(ask(6).ok());
  // A human's list joins its agents', in order, page by page.
  std::string last;
  std::size_t listed = 0;
  for (Page at{.limit = 300};;) {
    const auto some = street.by_human.approvals(street.human.wallet.id, at).value();
    listed += some.items.size();
    for (const Approval& one : some.items) {
      CHECK(last < one.id.text());
      last = one.id.text();
    }
    if (some.next.empty()) break;
    at.after = some.next;
  }
  CHECK(listed == approvals_kept_max + 1);
  CHECK(street.all.audit().value().ok);
}

TEST_CASE("a payout that comes back finds its room, and a wallet that waits for one does not close") {
  Street street;
  const WalletId wallet = street.host;
  const Money most = core::amount_max;
  street.all.topup({.wallet = wallet, .amount = most}).value();
  const Payout payout =
      street.all.request_payout({.wallet = wallet, .amount = flops(2'000), .destination = "iban"}).value();
  CHECK(street.all.topup({.wallet = wallet, .amount = Money{1}}).reason() == Reason::balance_out_of_range);
  CHECK(street.all.transfer({.from = street.human.wallet.id, .to = wallet, .amount = Money{1}}).reason() ==
        Reason::balance_out_of_range);
  CHECK(street.all.grant(wallet).reason() == Reason::balance_out_of_range);
  CHECK(street.all.fail_payout(payout.id).value().new_balance == most);

  const Payout second =
      street.all.request_payout({.wallet = wallet, .amount = most, .destination = "iban"}).value();
  const Result<Wallet> closed = street.all.change_wallet(wallet, {.status = WalletStatus::closed});
  CHECK(closed.reason() == Reason::wallet_not_empty);
  CHECK(closed.error().message == "the wallet has 8000000000 FLOPS in payouts that are pending");
  street.all.confirm_payout(second.id).value();
  CHECK(street.all.topup({.wallet = wallet, .amount = Money{1}}).ok());
}

TEST_CASE("the supply counts what is being paid out and may come back") {
  Engine engine = Engine::open({}).value();
  Session all = engine.as_operator();
  const auto human = [&](int number) {
    return all.create_wallet({.owner_type = OwnerType::human, .owner_id = "w" + std::to_string(number)})
        .value()
        .wallet.id;
  };
  const std::int64_t full = core::supply_max.micro / core::amount_max.micro;
  std::vector<WalletId> wallets;
  for (int i = 0; i < full; ++i) {
    wallets.push_back(human(i));
    all.topup({.wallet = wallets.back(), .amount = core::amount_max}).value();
  }
  const WalletId last = human(1'000);
  all.topup({.wallet = last, .amount = Money{core::supply_max.micro % core::amount_max.micro}}).value();
  const Payout payout =
      all.request_payout({.wallet = wallets[0], .amount = flops(3'000), .destination = "x"}).value();
  CHECK(all.topup({.wallet = last, .amount = Money{1}}).reason() == Reason::supply_out_of_range);
  CHECK(all.grant(last).reason() == Reason::supply_out_of_range);
  all.fail_payout(payout.id).value();
  all.confirm_payout(
         all.request_payout({.wallet = wallets[0], .amount = flops(3'000), .destination = "x"}).value().id)
      .value();
  CHECK(all.topup({.wallet = last, .amount = Money{1}}).ok());
  CHECK(all.audit().value().ok);
}

TEST_CASE("payouts are read one by one and as a list, and their outcomes are replayed as they were") {
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  std::vector<Payout> asked;
  for (int i = 1; i <= 5; ++i)
    asked.push_back(
        street.by_agent.request_payout({.wallet = agent, .amount = flops(i), .destination = "iban"}).value());
  CHECK(asked[4].new_balance == flops(85));
  const Payout failed = street.all.fail_payout(asked[1].id).value();
  CHECK(failed.new_balance == flops(87));
  CHECK_FALSE(failed.replayed);
  const Payout confirmed = street.all.confirm_payout(asked[2].id, "a-key").value();
  CHECK(confirmed.new_balance == flops(87));
  street.spend(flops(10)).value();
  const Payout again = street.all.fail_payout(asked[1].id).value();
  CHECK(again.replayed);
  CHECK(again.new_balance == flops(87));
  CHECK(street.all.confirm_payout(asked[2].id).value().new_balance == flops(87));
  CHECK(street.all.confirm_payout(asked[2].id, "a key").reason() == Reason::field_value);

  CHECK(street.by_agent.payout(asked[1].id).value().status == PayoutStatus::failed);
  CHECK(street.by_human.payout(asked[2].id).value().status == PayoutStatus::confirmed);
  CHECK(street.by_human.payout(asked[2].id).value().new_balance == flops(77));
  CHECK(street.by_agent.payout(PayoutId{}).reason() == Reason::payout_unknown);
  const Payout above =
      street.by_human.request_payout({.wallet = human, .amount = flops(1), .destination = "x"}).value();
  CHECK(street.by_agent.payout(above.id).reason() == Reason::not_your_wallet);
  CHECK(street.by_agent.payouts(human).reason() == Reason::not_your_wallet);

  const auto first = street.by_human.payouts(agent, {.limit = 3}).value();
  REQUIRE(first.items.size() == 3);
  CHECK(first.items[1].id == asked[1].id);
  CHECK(first.items[1].status == PayoutStatus::failed);
  const auto rest = street.by_human.payouts(agent, {.after = first.next}).value();
  REQUIRE(rest.items.size() == 2);
  CHECK(rest.items[1].id == asked[4].id);
  CHECK(rest.next.empty());
}

TEST_CASE(
    "of thousands of due locks a call sweeps what it needs and 256 more; the rest is available all the "
    "same") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  constexpr int locks = 1'000;
  for (int i = 0; i < locks; ++i) {
    Spend asked = street.job(Money{100'000});  // all that the agent has, in a thousand parts
    asked.expires_in_s = 60;
    street.by_agent.spend(asked).value();
  }
  CHECK(street.balance() == Money{});
  street.clock += 60 * second;
  auto swept = [&, before = street.all.audit().value().seq]() mutable {
    const std::int64_t seq = street.all.audit().value().seq;
    return seq - std::exchange(before, seq);
  };
  // Nothing of its own is needed to burn an id.
  street.all.release({.wallet = agent, .job_id = "burned"}).value();
  CHECK(swept() == 256 + 1);
  CHECK(street.all.wallet(agent).value().expired_pending == Money{(locks - 256) * 100'000});
  // 256 are back; what is asked needs 44 more, and 256 follow.
  CHECK(street.spend(flops(30)).ok());
  CHECK(swept() == 44 + 256 + 1);
  CHECK(street.spend(one_more(flops(70))).reason() == Reason::insufficient_balance);
  CHECK(street.spend(flops(70)).ok());
  CHECK(street.balance() == Money{});
  CHECK(street.all.audit().value().ok);
}

TEST_CASE("the same earn again is the first answer, also when other payers have used its job id since") {
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  const auto lock = [&](WalletId payer) {
    return street.all
        .spend({.wallet = payer, .job_id = "shared", .amount = flops(4), .host_wallet = street.host})
        .ok();
  };
  Earn asked{.host = street.host, .job_id = "shared", .gross_amount = flops(2), .gpu_model = "A100"};
  CHECK(lock(agent));
  const Earned first = street.all.earn(asked).value();
  CHECK(lock(human));
  const Earned again = street.all.earn(asked).value();
  CHECK(again.replayed);
  CHECK(again.txn == first.txn);
  CHECK(again.new_balance == first.new_balance);
  Earn other = asked;
  other.duration_seconds = 1;
  CHECK(street.all.earn(other).reason() == Reason::job_ambiguous);
  // When both are settled alike, nobody can say which is meant.
  Earn named = asked;
  named.payer_wallet = human;
  street.all.earn(named).value();
  CHECK(street.all.earn(asked).reason() == Reason::job_ambiguous);

  // Settled while the other was locked: it was named then, and is now.
  Earn second = asked;
  second.job_id = "both";
  for (const WalletId payer : {agent, human})
    street.all.spend({.wallet = payer, .job_id = "both", .amount = flops(4), .host_wallet = street.host})
        .value();
  second.payer_wallet = agent;
  street.all.earn(second).value();
  second.payer_wallet.reset();
  CHECK(street.all.earn(second).reason() == Reason::job_ambiguous);
}

TEST_CASE("grants and the waitlist keep their keys, and a replay has no secret") {
  Street street;
  Session& all = street.all;
  const WalletId human = street.human.wallet.id;
  const Granted first = all.grant(human, "g").value();
  all.grant(street.host).value();
  all.transfer({.from = human, .to = street.host, .amount = flops(1)}).value();
  const Granted again = all.grant(human, "g").value();
  CHECK(again.moved.replayed);
  CHECK(again.moved.txn == first.moved.txn);
  CHECK(again.moved.new_balance == first.moved.new_balance);
  CHECK(again.remaining == first.remaining);
  CHECK(detail_of(all.grant(street.host, "g").error(), "field") == "/wallet_id");
  CHECK(all.grant(human, "other").reason() == Reason::grant_taken);
  CHECK(detail_of(all.topup({.wallet = human, .amount = flops(1), .idempotency_key = "g"}).error(),
                  "field") == "/operation");

  const WaitlistEntry entry = all.join_waitlist("carol", "j").value();
  CHECK(all.join_waitlist("carol", "j").value().replayed);
  CHECK(detail_of(all.join_waitlist("dave", "j").error(), "field") == "/owner_id");
  CHECK(all.join_waitlist("carol", "j2").value().id == entry.id);
  CHECK(all.join_waitlist("dave", "j2").reason() == Reason::key_reused);  // a replay keeps its key too
  const WaitlistEntry dave = all.join_waitlist("dave").value();

  const WaitlistApproved approved = all.approve_waitlist(entry.id, "a").value();
  CHECK_FALSE(approved.created.api_key.empty());
  all.topup({.wallet = approved.created.wallet.id, .amount = flops(1)}).value();
  const WaitlistApproved later = all.approve_waitlist(entry.id, "a").value();
  CHECK(later.entry.replayed);
  CHECK(later.created.replayed);
  CHECK(later.created.api_key.empty());
  CHECK(later.created.key_last4 == approved.created.key_last4);
  CHECK(later.created.wallet.id == approved.created.wallet.id);
  CHECK(later.created.wallet.balance == Money{});
  CHECK(detail_of(all.approve_waitlist(dave.id, "a").error(), "field") == "/waitlist_id");
  CHECK(all.approve_waitlist(entry.id).reason() == Reason::waitlist_decided);
  CHECK(all.audit({}, AuditDepth::each).value().ok);
}

TEST_CASE("a top-up that is replayed by its reference keeps the key that came with it") {
  Street street;
  TopUp asked{.wallet = street.host, .amount = flops(5), .reference = "pi_1", .idempotency_key = "k1"};
  const Moved first = street.all.topup(asked).value();
  asked.idempotency_key = "k2";
  CHECK(street.all.topup(asked).value().txn == first.txn);
  CHECK(street.all.topup(asked).value().new_balance == flops(5));
  asked.reference = "pi_2";
  CHECK(detail_of(street.all.topup(asked).error(), "field") == "/reference");
  CHECK(street.all.wallet(street.host).value().balance == flops(5));
  CHECK(street.all.audit({}, AuditDepth::each).value().ok);
}

TEST_CASE("of a bulk with a key what stood is replayed and what was refused is tried again") {
  Street street;
  const WalletId agent = street.agent.wallet.id, human = street.human.wallet.id;
  std::vector<Operation> many{
      TopUp{.wallet = human, .amount = flops(1)},
      WalletTransfer{.from = agent, .to = street.host, .amount = flops(500)},
      WalletTransfer{.from = human, .to = agent, .amount = flops(2)},
      TopUp{.wallet = human, .amount = flops(1), .idempotency_key = "own"},
  };
  const auto first = street.all.bulk(many, "b").value();
  CHECK(std::get<Error>(first[1]).reason == Reason::insufficient_balance);
  street.all.topup({.wallet = agent, .amount = flops(1'000)}).value();
  const auto again = street.all.bulk(many, "b").value();
  CHECK(std::get<Moved>(again[0]).replayed);
  CHECK(std::get<Moved>(again[0]).new_balance == std::get<Moved>(first[0]).new_balance);
  CHECK_FALSE(std::get<Moved>(again[1]).replayed);
  CHECK(std::get<Moved>(again[2]).replayed);
  CHECK(std::get<Moved>(again[2]).new_balance == std::get<Moved>(first[2]).new_balance);
  CHECK(std::get<Moved>(again[3]).replayed);
  // The same place with other contents is a conflict that names the field.
  std::get<TopUp>(many[0]).amount = flops(9);
  CHECK(detail_of(std::get<Error>(street.all.bulk(many, "b").value()[0]), "field") == "/amount");
  // Without the key, or with no key's letters, nothing is kept or known.
  CHECK_FALSE(std::get<Moved>(street.all.bulk(many).value()[0]).replayed);
  CHECK(street.all.topup({.wallet = human, .amount = flops(9), .idempotency_key = "b 0"}).reason() ==
        Reason::field_value);
  CHECK(street.all.bulk(many, "b 0").reason() == Reason::field_value);
  CHECK(street.all.audit({}, AuditDepth::each).value().ok);
}

TEST_CASE(
    "a host's receipts hold those of nothing, in their place, and pages go on past what they don't show") {
  Street street;
  const WalletId agent = street.agent.wallet.id;
  std::vector<ReceiptId> settled;
  const auto settle = [&](Money gross) {
    Spend asked = street.job(flops(1));
    asked.host_wallet = street.host;
    street.by_agent.spend(asked).value();
    settled.push_back(
        street.all
            .earn({.host = street.host, .job_id = asked.job_id, .gross_amount = gross, .gpu_model = "x"})
            .value()
            .receipt);
  };
  for (const std::int64_t gross : {0, 7, 0, 0, 9, 0}) settle(Money{gross});
  for (const WalletId wallet : {street.host, agent})
    for (const std::uint32_t limit : {1U, 2U, 100U}) {
      CAPTURE(limit);
      std::vector<ReceiptId> shown;
      for (Page page{.limit = limit};;) {
        const auto listed = street.all.receipts(wallet, page).value();
        for (const Receipt& one : listed.items) shown.push_back(one.id);
        if (listed.next.empty()) break;
        page.after = listed.next;
      }
      CHECK(shown == settled);
    }
  CHECK(street.all.audit({}, AuditDepth::each).value().ok);

  // More transfers than a page looks at, then one lock.
  for (int left = 10'100; left > 0; left -= 1'000) {
    std::vector<Operation> many;
    for (int i = 0; i < std::min(left, 1'000); ++i)
      many.push_back(WalletTransfer{.from = street.human.wallet.id, .to = street.host, .amount = Money{1}});
    street.all.bulk(many).value();
  }
  street.by_human.spend({.wallet = street.human.wallet.id, .job_id = "far", .amount = flops(1)}).value();
  const auto first = street.by_human.escrows(street.human.wallet.id).value();
  CHECK(first.items.empty());
  REQUIRE_FALSE(first.next.empty());
  const auto second = street.by_human.escrows(street.human.wallet.id, {.after = first.next}).value();
  REQUIRE(second.items.size() == 1);
  CHECK(second.items[0].job_id == "far");
  CHECK(second.next.empty());
  CHECK_FALSE(street.by_human.receipts(street.human.wallet.id).value().next.empty());
}
