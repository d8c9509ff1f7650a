/// \file
/// A paid job that the workers of several host wallets did: what each is paid, and by what receipt.
#include <calyx/core/fee.hpp>

#include "engine/job_market.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::JobMarket;

namespace {

struct Hosts : JobMarket {
  explicit Hosts(std::size_t count, Options options = {}) : JobMarket(std::move(options)) {
    price(1'000'000);
    for (std::size_t i = 0; i < count; ++i)
      hosts.push_back(all.create_wallet({.owner_id = "host " + std::to_string(i)}).value().wallet.id);
  }
  Lease lease_for(std::size_t host, std::uint64_t most = 1) {
    const LeaseAsked asked{.worker = "w" + std::to_string(host),
                           .host_wallet = hosts[host],
                           .tasks = {"work"},
                           .tasks_max = most};
    return all.lease_tasks(asked).value();
  }
  /// What the receipt says of money, in micro-FLOPS.
  static Money said(const Receipt& receipt, const char* member) {
    return core::read_money(*receipt.payload.find("amount")->find(member)->string()).money;
  }
  Money balance_of(std::size_t host) { return all.wallet(hosts[host]).value().balance; }
  Money fees() { return all.metrics().value().fees; }

  std::vector<WalletId> hosts;
};

}  // namespace

TEST_CASE("each host of a job is paid for what its workers did, and has a receipt of its own") {
  Hosts market(3);
  const Money before = market.balance();
  const JobId id = market.submit(JobMarket::job(4));
  // 1.001 s, 2.5 s and 0.333 s, and another 0.1 s of the first one's; ceilings and fees are each host's own.
  const Lease first = market.lease_for(0), second = market.lease_for(1), third = market.lease_for(2);
  CHECK(market.done(second, 1, 2'500).ok());
  CHECK(market.done(first, 1, 1'001).ok());
  CHECK(market.done(third, 1, 333).ok());
  CHECK(market.done(market.lease_for(0), 1, 100).ok());

  const Job job = market.now(id);
  REQUIRE(job.status == JobStatus::completed);
  CHECK(job.cost == Money{3'934'000});
  CHECK(market.balance() == Money{before.micro - job.cost.micro});
  CHECK(market.held() == Money{});
  REQUIRE(job.receipts.size() == 3);
  CHECK(job.receipt == job.receipts[0]);

  constexpr std::int64_t gross[] = {1'101'000, 2'500'000, 333'000};
  constexpr std::int64_t seconds[] = {2, 3, 1};
  Money net, fees;
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    const Receipt receipt = market.all.receipt(job.receipts[i]).value();
    CHECK(market.engine.verify(receipt.jws).valid);
    CHECK(*receipt.payload.find("host_wallet")->string() == market.hosts[i].text());
    CHECK(*receipt.payload.find("payer_wallet")->string() == market.payer.text());
    CHECK(*receipt.payload.find("job_id")->string() == id.text());
    CHECK(*receipt.payload.find("output_hash")->string() == core::output_hash_text(*job.output_hash));
    CHECK(*receipt.payload.find("duration_seconds")->integer() == seconds[i]);
    CHECK(Hosts::said(receipt, "gross") == Money{gross[i]});
    const core::FeeSplit split = core::split_fee(Money{gross[i]}, core::fee_basis_points_default);
    CHECK(Hosts::said(receipt, "platform_fee") == split.fee);
    CHECK(Hosts::said(receipt, "net") == split.net);
    CHECK(market.balance_of(i) == split.net);
    net.micro += split.net.micro;
    fees.micro += split.fee.micro;
    // Its own receipt, and nobody else's.
    const auto own = market.all.receipts(market.hosts[i], {}).value().items;
    REQUIRE(own.size() == 1);
    CHECK(own[0].id == job.receipts[i]);
    // Each is in the log that a checkpoint vouches for.
    CHECK(market.all.inclusion_proof(job.receipts[i]).ok());
  }
  CHECK(net.micro + fees.micro == job.cost.micro);
  market.check_books();
}

TEST_CASE("the payer's receipts come in order, whatever the size of a page") {
  Hosts market(3);
  std::vector<ReceiptId> expected;
  for (int i = 0; i < 3; ++i) {
    const JobId id = market.submit(JobMarket::job(3));
    const std::size_t hosts = i == 1 ? 1 : 3;  // the one in the middle has one host
    for (std::size_t task = 0; task < 3; ++task)
      CHECK(market.done(market.lease_for(task % hosts), 1, 100).ok());
    const Job job = market.now(id);
    CHECK(job.receipts.size() == hosts);
    expected.insert(expected.end(), job.receipts.begin(), job.receipts.end());
  }
  REQUIRE(expected.size() == 7);
  for (std::uint32_t limit = 1; limit <= 8; ++limit) {
    CAPTURE(limit);
    std::vector<ReceiptId> seen;
    Page page{.after = {}, .limit = limit};
    for (int pages = 0; pages < 10; ++pages) {
      const Listed<Receipt> listed = market.all.receipts(market.payer, page).value();
      CHECK(listed.items.size() <= limit);
      for (const Receipt& receipt : listed.items) seen.push_back(receipt.id);
      if (listed.next.empty()) break;
      page.after = listed.next;
    }
    CHECK(seen == expected);
  }
  for (const char* after : {"1+", "+1", "1+x", "1+2+3", "-1+2"})
    CHECK(market.all.receipts(market.payer, {.after = after, .limit = 5}).reason() == Reason::field_value);
  const std::vector<EscrowView> escrows = market.all.escrows(market.payer, {}).value().items;
  REQUIRE(escrows.size() == 3);
  CHECK(escrows[0].receipt == expected[0]);
  CHECK(escrows[1].receipt == expected[3]);
  CHECK(escrows[2].receipt == expected[4]);
}

TEST_CASE("who only lost its lease is not paid, and a job of one that was paid has one receipt") {
  Hosts market(2);
  const JobId id = market.submit(JobMarket::job(1));
  CHECK(market.lease_for(0).count == 1);
  market.pass(3'600);                     // nobody heard of it
  CHECK(market.lease_for(1).count == 0);  // which finds that out, and lets it wait
  market.pass(60);
  CHECK(market.done(market.lease_for(1), 1, 700).ok());
  const Job job = market.now(id);
  CHECK(job.status == JobStatus::completed);
  CHECK(job.receipts.size() == 1);
  CHECK(market.balance_of(0) == Money{});
  CHECK(market.balance_of(1) == core::split_fee(Money{700'000}, core::fee_basis_points_default).net);
  market.check_books();
}

TEST_CASE(
    "a job that is cancelled pays each host for the time that its task ran, and no more than it holds") {
  Hosts market(2);
  const JobId id = market.submit(JobMarket::job(2));
  const Money held = market.held();
  CHECK(market.lease_for(0).count == 1);
  market.pass(2);
  CHECK(market.lease_for(1).count == 1);
  market.pass(3);
  const Job job = market.all.cancel_job(id).value();
  CHECK(job.cost == Money{8'000'000});  // 5 s and 3 s
  CHECK(job.cost <= held);
  CHECK(job.receipts.size() == 2);
  CHECK(market.balance_of(0) == core::split_fee(Money{5'000'000}, core::fee_basis_points_default).net);
  CHECK(market.balance_of(1) == core::split_fee(Money{3'000'000}, core::fee_basis_points_default).net);
  market.check_books();
}

TEST_CASE("an hour's spend is what all hosts of a job were paid, in memory and read anew") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "market.db";
  Hosts market(2, options);
  CHECK(market.all.change_wallet(market.payer, {.spend_cap_per_hour = Money{25'000'000}}).ok());
  market.submit(JobMarket::job(2));  // holds 20 of 25, and comes to 3
  CHECK(market.done(market.lease_for(0), 1, 1'000).ok());
  CHECK(market.done(market.lease_for(1), 1, 2'000).ok());
  const auto submit = [&](Session& session, std::int64_t max_cost) {
    core::json::Object job = JobMarket::job(3);
    job.set("max_cost", core::money_text(Money{max_cost}));
    return session.submit_job({.job = std::move(job), .wallet = market.payer}).reason();
  };
  const auto agent = market.all.issue_key(market.payer, "agent", {}).value();
  Session own = market.engine.session(agent.api_key).value();
  CHECK(submit(own, 22'000'001) == Reason::spend_cap_per_hour);
  {
    Options again = options;
    again.now_us = [&] { return market.now_us; };
    Engine other = Engine::open(again).value();  // it knows of the hour only what the file says
    Session reader = other.session(agent.api_key).value();
    CHECK(submit(reader, 22'000'001) == Reason::spend_cap_per_hour);
    CHECK(submit(reader, 22'000'000) == Reason::none);
  }
  market.check_books();
}

TEST_CASE("a host that may be owed something is not closed, whoever else works on the job") {
  Hosts market(2);
  market.submit(JobMarket::job(3));
  CHECK(market.done(market.lease_for(0), 1, 100).ok());
  const Lease running = market.lease_for(1);
  for (const WalletId& host : market.hosts)
    CHECK(market.all.change_wallet(host, {.status = WalletStatus::closed}).reason() ==
          Reason::wallet_not_empty);
  CHECK(market.done(running, 1, 100).ok());
  CHECK(market.done(market.lease_for(0), 1, 100).ok());
  market.check_books();
}

TEST_CASE("whoever pays itself for a part is paid like the others") {
  Hosts market(1);
  market.hosts.push_back(market.payer);
  const Money before = market.balance();
  const JobId id = market.submit(JobMarket::job(2));
  CHECK(market.done(market.lease_for(0), 1, 1'000).ok());
  CHECK(market.done(market.lease_for(1), 1, 1'000).ok());
  const Job job = market.now(id);
  CHECK(job.receipts.size() == 2);
  const core::FeeSplit split = core::split_fee(Money{1'000'000}, core::fee_basis_points_default);
  CHECK(market.balance() == Money{before.micro - 2'000'000 + split.net.micro});
  const auto listed = market.all.receipts(market.payer, {}).value().items;
  CHECK(listed.size() == 2);  // each of them once
  market.check_books();
}

TEST_CASE("a market that is opened again knows what its hosts were paid, and its export says it") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "market.db";
  std::vector<ReceiptId> receipts;
  WalletId first, second;
  Money fees;
  {
    Hosts market(2, options);
    const JobId id = market.submit(JobMarket::job(2));
    CHECK(market.done(market.lease_for(0), 1, 1'000).ok());
    CHECK(market.done(market.lease_for(1), 1, 2'000).ok());
    receipts = market.now(id).receipts;
    first = market.hosts[0], second = market.hosts[1];
    fees = market.fees();
  }
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  CHECK(all.metrics().value().fees == fees);
  CHECK(all.wallet(first).value().balance == Money{850'000});
  CHECK(all.wallet(second).value().balance == Money{1'700'000});
  for (const ReceiptId& id : receipts) CHECK(engine.verify(all.receipt(id).value().jws).valid);
  CHECK(all.audit({}, AuditDepth::each).value().ok);
}
