// Derived keys: what they may do, what is counted under them, and what ends them.
#include <doctest/doctest.h>

#include <atomic>
#include <calyx/calyx.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/job_market.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

namespace {

constexpr Money flops(std::int64_t whole) { return Money{whole * core::micro_per_flops}; }
constexpr std::int64_t hour_s = 3600;

/// A payer with money and a host, on a clock that the test moves.
struct Shop {
  store::Scratch scratch;
  std::shared_ptr<std::atomic<std::int64_t>> clock =
      std::make_shared<std::atomic<std::int64_t>>(1'800'000'000'000'000);
  Engine engine = open();
  Session all = engine.as_operator();
  WalletCreated payer = all.create_wallet({.owner_id = "payer"}).value();
  WalletCreated host = all.create_wallet({.owner_id = "host"}).value();
  int jobs = 0;

  Shop() { all.topup({.wallet = payer.wallet.id, .amount = flops(1000)}).value(); }
  Engine open() {
    Options options;
    options.path = scratch / "market.db";
    options.now_us = [at = clock] { return at->load(); };
    return Engine::open(std::move(options)).value();
  }
  void pass(std::int64_t seconds) { *clock += seconds * core::us_per_second; }
  Instant now() const { return Instant{clock->load()}; }
  std::string derived(const KeyLimits& limits) { return derive_key(payer.api_key, limits).value(); }
  Session session(const std::string& key) { return engine.session(key).value(); }
  /// A spend of `whole` FLOPS for a job of its own.
  Spend spend(std::int64_t whole, std::optional<std::int64_t> expires_in_s = {}) {
    return {.wallet = payer.wallet.id,
            .job_id = "job-" + std::to_string(jobs++),
            .amount = flops(whole),
            .gpu_type = "H100",
            .host_wallet = host.wallet.id,
            .expires_in_s = expires_in_s};
  }
  void check_books() {
    const AuditReport report = all.audit({}, AuditDepth::each).value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
};

std::string limit_of(const Error& error) {
  const json::Value* limit = error.details.find("limit");
  return limit == nullptr || limit->string() == nullptr ? std::string() : *limit->string();
}

}  // namespace

TEST_CASE(
    "each limit of a derived key refuses by itself, with its numbers, and the wallet's own key goes on") {
  Shop shop;
  Session own = shop.session(shop.payer.api_key);

  Session job = shop.session(shop.derived({.policy = {.spend_cap_per_job = flops(6)}}));
  CHECK(job.spend(shop.spend(6)).ok());
  const Error above = job.spend(shop.spend(7)).error();
  CHECK(above.reason == Reason::spend_cap_per_job);
  CHECK(above.message == "needs 7 FLOPS, this key's cap a job is 6");
  CHECK(json::text(*above.details.find("owner")) == R"("key")");
  CHECK(own.spend(shop.spend(7)).ok());

  Session gpu =
      shop.session(shop.derived({.policy = {.allowed_gpu_types = std::vector<std::string>{"RTX 4090"}}}));
  CHECK(gpu.spend(shop.spend(1)).reason() == Reason::gpu_not_allowed);
  Spend rtx = shop.spend(1);
  rtx.gpu_type = "RTX 4090";
  CHECK(gpu.spend(rtx).ok());

  Session budget = shop.session(shop.derived({.budget = flops(10)}));
  CHECK(budget.spend(shop.spend(8)).ok());
  const Error spent = budget.spend(shop.spend(3)).error();
  CHECK(spent.reason == Reason::budget_spent);
  CHECK(spent.message == "needs 3 FLOPS, this key's budget is 10 with 2 left");
  CHECK(json::text(*spent.details.find("shortfall")) == "1.0");
  CHECK(budget.spend(shop.spend(2)).ok());

  Session hour = shop.session(shop.derived({.policy = {.spend_cap_per_hour = flops(10)}}));
  CHECK(hour.spend(shop.spend(8)).ok());
  shop.pass(hour_s / 2);
  CHECK(hour.spend(shop.spend(3)).reason() == Reason::spend_cap_per_hour);
  CHECK(hour.spend(shop.spend(2)).ok());
  shop.pass(hour_s / 2);
  CHECK(hour.spend(shop.spend(8)).ok());
  CHECK(hour.spend(shop.spend(1)).reason() == Reason::spend_cap_per_hour);

  Session payee = shop.session(shop.derived({.allowed_payees = std::vector<WalletId>{shop.host.wallet.id}}));
  CHECK(payee.spend(shop.spend(1)).ok());
  Spend nobody = shop.spend(1);
  nobody.host_wallet.reset();
  CHECK(payee.spend(nobody).reason() == Reason::key_limited);
  CHECK(limit_of(payee.spend(nobody).error()) == "allowed_payees");
  nobody.host_wallet = shop.payer.wallet.id;
  CHECK(limit_of(payee.spend(nobody).error()) == "allowed_payees");

  Session recipe = shop.session(shop.derived({.allowed_recipes = std::vector<std::string>{"packing"}}));
  CHECK(limit_of(recipe.spend(shop.spend(1)).error()) == "allowed_recipes");

  Session asks = shop.session(shop.derived({.policy = {.approval_threshold = flops(3)}}));
  const Spend big = shop.spend(4);
  const Error waits = asks.spend(big).error();
  REQUIRE(waits.reason == Reason::approval_required);
  const auto approval = ApprovalId::read(*waits.details.find("approval_id")->string());
  CHECK(asks.approve(*approval).reason() == Reason::key_limited);
  CHECK(shop.all.approve(*approval).ok());
  // For that very key alone.
  const Error others =
      shop.session(shop.derived({.policy = {.approval_threshold = flops(3)}})).spend(big).error();
  CHECK(others.reason == Reason::approval_required);
  CHECK(*others.details.find("approval_id") != *waits.details.find("approval_id"));
  CHECK(asks.spend(big).ok());
  shop.check_books();
}

TEST_CASE("a derived key leaves half of the wallet's approvals to others") {
  Shop shop;
  Session asks = shop.session(shop.derived({.policy = {.approval_threshold = Money{}}}));
  std::size_t waiting = 0;
  while (asks.spend(shop.spend(1)).reason() == Reason::approval_required) ++waiting;
  CHECK(waiting == approvals_kept_max / 2);
  CHECK(asks.spend(shop.spend(1)).reason() == Reason::too_many_approvals);
  shop.all.change_wallet(shop.payer.wallet.id, {.approval_threshold = std::optional<Money>(Money{})}).value();
  CHECK(shop.session(shop.payer.api_key).spend(shop.spend(1)).reason() == Reason::approval_required);
}

TEST_CASE("what came back, by release, settlement or its deadline, is there to be spent again") {
  Shop shop;
  Session derived =
      shop.session(shop.derived({.policy = {.spend_cap_per_hour = flops(20)}, .budget = flops(10)}));
  const Spend first = shop.spend(10);
  CHECK(derived.spend(first).ok());
  CHECK(derived.spend(first)->replayed);
  CHECK(derived.spend(shop.spend(1)).reason() == Reason::budget_spent);
  CHECK(derived.release({.wallet = shop.payer.wallet.id, .job_id = first.job_id}).ok());

  const Spend second = shop.spend(10);
  CHECK(derived.spend(second).ok());
  shop.all
      .earn({.host = shop.host.wallet.id,
             .job_id = second.job_id,
             .gross_amount = flops(4),
             .gpu_model = "H100",
             .duration_seconds = 1})
      .value();
  CHECK(derived.spend(shop.spend(7)).reason() == Reason::budget_spent);  // 4 of 10 are gone

  // One that is due has come back, though nobody has said so yet.
  CHECK(derived.spend(shop.spend(6, 60)).ok());
  CHECK(derived.spend(shop.spend(6)).reason() == Reason::budget_spent);
  shop.pass(60);
  CHECK(derived.spend(shop.spend(6)).ok());
  CHECK(derived.spend(shop.spend(1)).reason() == Reason::budget_spent);
  shop.check_books();

  // The budget is for ever, the hour is not.
  shop.pass(hour_s + 60);
  CHECK(derived.spend(shop.spend(1)).reason() == Reason::budget_spent);
}

TEST_CASE("all blocks bind, and what is derived of one key shares its caps") {
  Shop shop;
  const std::string parent = shop.derived({.budget = flops(10)});
  const std::string one = derive_key(parent, {.budget = flops(6)}).value();
  const std::string two = derive_key(parent, {.budget = flops(6)}).value();
  const std::string wide = derive_key(one, {.budget = flops(500)}).value();
  CHECK(shop.session(wide).spend(shop.spend(7)).reason() == Reason::budget_spent);
  CHECK(shop.session(wide).spend(shop.spend(2)).ok());
  CHECK(shop.session(one).spend(shop.spend(4)).ok());
  CHECK(shop.session(one).spend(shop.spend(1)).reason() == Reason::budget_spent);
  const Error left = shop.session(two).spend(shop.spend(5)).error();
  CHECK(left.reason == Reason::budget_spent);
  CHECK(left.message == "needs 5 FLOPS, this key's budget is 10 with 4 left");
  CHECK(shop.session(two).spend(shop.spend(4)).ok());
  CHECK(shop.session(parent).spend(shop.spend(1)).reason() == Reason::budget_spent);

  // Another key of the same limits is another key.
  CHECK(shop.session(shop.derived({.budget = flops(10)})).spend(shop.spend(10)).ok());
  shop.check_books();
}

TEST_CASE("counts outlive the process, and hold in one beside it") {
  Shop shop;
  const std::string key = shop.derived({.budget = flops(10)});
  const Spend first = shop.spend(4, 3600);
  CHECK(shop.session(key).spend(first).ok());
  {
    Engine other = shop.open();
    Session beside = other.session(key).value();
    CHECK(beside.spend(shop.spend(7)).reason() == Reason::budget_spent);
    CHECK(beside.spend(shop.spend(5)).ok());
  }
  CHECK(shop.session(key).spend(shop.spend(2)).reason() == Reason::budget_spent);
  {
    Engine again = shop.open();  // which reads the open locks back, with the blocks that they are under
    CHECK(again.session(key)->release({.wallet = shop.payer.wallet.id, .job_id = first.job_id}).ok());
  }
  CHECK(shop.session(key).spend(shop.spend(5)).ok());
  CHECK(shop.session(key).spend(shop.spend(1)).reason() == Reason::budget_spent);
  shop.check_books();
}

TEST_CASE("threads that spend under one budget spend no more than it") {
  Shop shop;
  const std::string key = shop.derived({.budget = flops(50)});
  std::atomic<int> spent{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Session session = shop.engine.session(key).value();
      for (int i = 0; i < 25; ++i) {
        Spend one{.wallet = shop.payer.wallet.id,
                  .job_id = "thread-" + std::to_string(t) + "-" + std::to_string(i),
                  .amount = flops(1)};
        if (session.spend(one).ok()) ++spent;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(spent == 50);
  CHECK(shop.all.wallet(shop.payer.wallet.id)->held == flops(50));
  shop.check_books();
}

TEST_CASE("a derived key ends what it began, or what was derived of it, and nobody else's") {
  Shop shop;
  const std::string parent = shop.derived({});
  const std::string child = derive_key(parent, {}).value();
  const std::string stranger = shop.derived({});
  const WalletId wallet = shop.payer.wallet.id;
  const Spend own = shop.spend(1), childs = shop.spend(1), wallets = shop.spend(1);
  CHECK(shop.session(parent).spend(own).ok());
  CHECK(shop.session(child).spend(childs).ok());
  CHECK(shop.session(shop.payer.api_key).spend(wallets).ok());
  CHECK(shop.session(child).release({.wallet = wallet, .job_id = own.job_id}).reason() ==
        Reason::key_limited);
  CHECK(shop.session(stranger).release({.wallet = wallet, .job_id = childs.job_id}).reason() ==
        Reason::key_limited);
  CHECK(shop.session(child).release({.wallet = wallet, .job_id = wallets.job_id}).reason() ==
        Reason::key_limited);
  CHECK(shop.session(parent).release({.wallet = wallet, .job_id = "never"}).reason() == Reason::key_limited);
  CHECK(shop.session(parent).release({.wallet = wallet, .job_id = childs.job_id}).ok());
  CHECK(shop.session(shop.payer.api_key).release({.wallet = wallet, .job_id = own.job_id}).ok());
  shop.check_books();
}

TEST_CASE("a derived key reads, and does nothing else that a whole key does") {
  Shop shop;
  const std::string key = shop.derived({});
  Session derived = shop.session(key);
  const WalletId wallet = shop.payer.wallet.id;
  CHECK(derived.principal().wallet == wallet);
  CHECK(derived.wallet(wallet)->balance == flops(1000));
  CHECK(derived.wallets().ok());
  CHECK(derived.entries(wallet).ok());
  CHECK(derived.escrows(wallet).ok());
  CHECK(derived.keys(wallet).ok());
  CHECK(derived.receipts(wallet).ok());
  CHECK(derived.payouts(wallet).ok());
  CHECK(derived.quotes(wallet).ok());
  CHECK(derived.jobs().ok());
  CHECK(derived.prices().ok());
  CHECK(derived.wallet(shop.host.wallet.id).reason() == Reason::not_your_wallet);

  const auto limited = [](Reason reason, const char* call) {
    CHECK_MESSAGE(reason == Reason::key_limited, call, ": ", std::string(word(reason)));
  };
  const WalletId host = shop.host.wallet.id;
  limited(derived.transfer({.from = wallet, .to = host, .amount = flops(1)}).reason(), "transfer");
  limited(derived.request_payout({.wallet = wallet, .amount = flops(1), .destination = "x"}).reason(),
          "request_payout");
  limited(derived.earn({.host = wallet, .job_id = "j", .gpu_model = "H100"}).reason(), "earn");
  limited(derived.topup({.wallet = wallet, .amount = flops(1)}).reason(), "topup");
  limited(derived.create_wallet({.owner_type = OwnerType::agent, .owner_id = "a", .parent = wallet}).reason(),
          "create_wallet");
  limited(derived.change_wallet(wallet, {.status = WalletStatus::frozen}).reason(), "change_wallet");
  limited(derived.issue_key(wallet, "").reason(), "issue_key");
  limited(derived.revoke_key(shop.payer.key).reason(), "revoke_key");
  limited(derived.rotate_key(shop.payer.key).reason(), "rotate_key");
  limited(derived.issue_compute_key("").reason(), "issue_compute_key");
  limited(derived.rotate_webhook_secret(wallet).reason(), "rotate_webhook_secret");
  limited(derived.quote_topup({.wallet = wallet, .amount = flops(1)}).reason(), "quote_topup");
  limited(derived.create_project({.name = "p"}).reason(), "create_project");
  limited(derived.push_project({.name = "p"}, "x").reason(), "push_project");
  limited(derived.init_project({.name = "p"}).reason(), "init_project");
  limited(derived.start_artifact({.name = "a"}).reason(), "start_artifact");
  limited(derived.abort_artifact(UploadId::make(0, 1, 1)).reason(), "abort_artifact");
  limited(derived.grant(wallet).reason(), "grant");
  limited(derived.set_prices({}).reason(), "set_prices");
  limited(derived.lease_tasks({.worker = "w"}).reason(), "lease_tasks");
  limited(derived.audit().reason(), "audit");
  limited(derived.metrics().reason(), "metrics");
  limited(derived.settle_payments().reason(), "settle_payments");
  // In bulk each is judged by itself.
  const std::vector<Operation> operations = {shop.spend(1),
                                             WalletTransfer{.from = wallet, .to = host, .amount = flops(1)}};
  const auto outcomes = derived.bulk(operations).value();
  CHECK(std::holds_alternative<Spent>(outcomes[0]));
  CHECK(std::get<Error>(outcomes[1]).reason == Reason::key_limited);
  CHECK(derived.narrowed({.spend_cap_per_job = flops(1)}).spend(shop.spend(2)).reason() ==
        Reason::spend_cap_per_job);
  shop.check_books();
}

TEST_CASE("a derived key is good as long as its root and its own time") {
  Shop shop;
  const auto reason = [&](std::string_view key) { return shop.engine.session(key).reason(); };
  const std::string timed = shop.derived({.not_before = Instant{shop.now().us + 60 * core::us_per_second},
                                          .not_after = Instant{shop.now().us + 120 * core::us_per_second}});
  CHECK(reason(timed) == Reason::unauthorized);
  shop.pass(60);
  CHECK(reason(timed) == Reason::none);
  Session session = shop.session(timed);
  CHECK(session.spend(shop.spend(1)).ok());
  shop.pass(61);
  CHECK(reason(timed) == Reason::unauthorized);
  CHECK(session.spend(shop.spend(1)).reason() == Reason::unauthorized);  // the one that stands, too

  const std::string key = derive_key(shop.derived({}), {}).value();
  Session before = shop.session(key);
  CHECK(before.spend(shop.spend(1)).ok());
  shop.all.revoke_key(shop.payer.key).value();
  CHECK(reason(key) == Reason::unauthorized);
  CHECK(before.spend(shop.spend(1)).reason() == Reason::unauthorized);
  CHECK(before.wallet(shop.payer.wallet.id).reason() == Reason::unauthorized);

  // What is made of no key of this market is none, nor what was changed on the way.
  CHECK(reason(derive_key("cyx_live_made_up", {}).value()) == Reason::unauthorized);
  std::string changed = derive_key(shop.host.api_key, {}).value();
  CHECK(reason(changed) == Reason::none);
  changed[changed.size() / 2] = changed[changed.size() / 2] == 'A' ? 'B' : 'A';
  CHECK(reason(changed) == Reason::unauthorized);
  CHECK(reason("cyx_der_") == Reason::unauthorized);
  const std::string operators = shop.engine.issue_operator_key("o")->api_key;
  CHECK(derive_key(operators, {}).reason() == Reason::unauthorized);
  CHECK(derive_key("", {}).reason() == Reason::unauthorized);
  CHECK(derive_key("cyx_der_x", {}).reason() == Reason::unauthorized);
}

TEST_CASE("a key that cannot be made is refused, with the member that is wrong") {
  Shop shop;
  const Error negative = derive_key(shop.payer.api_key, {.budget = Money{-1}}).error();
  CHECK(negative.reason == Reason::field_value);
  CHECK(json::text(*negative.details.find("field")) == R"("/budget/max")");
  std::vector<std::string> long_list(64, std::string(128, 'x'));
  CHECK(derive_key(shop.payer.api_key, {.allowed_recipes = long_list}).reason() == Reason::field_value);
  std::string key = shop.payer.api_key;
  for (std::size_t i = 0; i < core::key_blocks_max; ++i) key = derive_key(key, {.budget = flops(9)}).value();
  CHECK(shop.session(key).spend(shop.spend(9)).ok());
  CHECK(derive_key(key, {}).reason() == Reason::field_value);
  // Two thousand bytes a block: four fill a key.
  KeyLimits wide;
  wide.allowed_recipes = std::vector<std::string>(15, std::string(120, 'r'));
  std::string big = shop.payer.api_key;
  std::size_t blocks = 0;
  for (Result<std::string> next = derive_key(big, wide); next.ok(); next = derive_key(big, wide)) {
    big = *next;
    ++blocks;
  }
  CHECK(blocks == 3);
  CHECK(big.size() <= core::derived_key_bytes_max);
  CHECK(shop.engine.session(big).ok());
  shop.check_books();
}

TEST_CASE("jobs under a derived key: its recipes, its hosts, its caps, and their rest comes back") {
  JobMarket market;
  market.price(1'000'000);  // a FLOPS a second
  market.all.topup({.wallet = market.payer, .amount = flops(1000)}).value();
  const std::string own = market.all.issue_key(market.payer, "own")->api_key;
  const WalletId one = market.all.create_wallet({.owner_id = "one"})->wallet.id;
  const WalletId two = market.all.create_wallet({.owner_id = "two"})->wallet.id;
  const auto submitted = [](Session& by, JobSubmit asked) {
    const Result<JobSubmitted> job = by.submit_job(asked);
    REQUIRE_MESSAGE(job.ok(), job.error().message);
    return job->id;
  };
  const auto session = [&](const KeyLimits& limits) {
    return market.engine.session(derive_key(own, limits).value()).value();
  };

  Session recipes = session({.allowed_recipes = std::vector<std::string>{"packing"}});
  CHECK(limit_of(recipes.submit_job({.job = JobMarket::job(1)}).error()) == "allowed_recipes");
  Session other = session({.allowed_recipes = std::vector<std::string>{"other"}});
  const json::Object ten_seconds = *json::object({{"timeout_s", 10}}).object();
  for (const char* name : {"packing", "mine"})
    CHECK(market.engine
              .register_recipe(
                  {.name = name, .run = [](const TaskCall&) { return Result<json::Value>(json::Value()); }})
              .ok());
  CHECK(limit_of(other.submit_job({.job = ten_seconds, .recipe = "mine"}).error()) == "allowed_recipes");
  const JobId allowed = submitted(recipes, {.job = ten_seconds, .recipe = "packing"});
  CHECK(recipes.cancel_job(allowed).ok());

  Session hosts = session({.allowed_payees = std::vector<WalletId>{one}});
  CHECK(limit_of(hosts.submit_job({.job = JobMarket::job(1)}).error()) == "allowed_payees");
  CHECK(limit_of(hosts.submit_job({.job = JobMarket::job(1, {{"allowed_payees", json::array({two.text()})}})})
                     .error()) == "allowed_payees");
  const JobId job =
      submitted(hosts, {.job = JobMarket::job(1, {{"allowed_payees", json::array({one.text()})}})});
  const auto lease = [&](WalletId host) {
    return market.all.lease_tasks({.worker = "w", .host_wallet = host, .tasks = {"work"}}).value();
  };
  CHECK(lease(two).count == 0);
  const Lease leased = lease(one);
  CHECK(leased.count == 1);
  CHECK(market.done(leased).ok());
  CHECK(market.now(job).status == JobStatus::completed);

  // A second of ten that were held is paid; the rest may be held again, by this key and by its wallet.
  Session budget = session({.budget = flops(11)});
  const JobId paid = submitted(budget, {.job = JobMarket::job(1)});
  CHECK(budget.submit_job({.job = JobMarket::job(1)}).reason() == Reason::budget_spent);
  CHECK(market.done(market.lease(), 1, 1000).ok());
  CHECK(market.now(paid).cost == flops(1));
  const JobId next = submitted(budget, {.job = JobMarket::job(1)});
  CHECK(budget.submit_job({.job = JobMarket::job(1)}).reason() == Reason::budget_spent);
  CHECK(session({}).cancel_job(next).reason() == Reason::key_limited);
  CHECK(budget.cancel_job(next).ok());
  CHECK(budget.submit_job({.job = JobMarket::job(1)}).ok());
  market.check_books();
}
