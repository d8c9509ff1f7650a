#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/engine.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "faults/fault_vfs.hpp"
#include "testing.hpp"

using namespace calyx;

namespace {

/// A market on a disk that counts, with a payer who is rich and a host.
struct Counted {
  faults::Disk disk;
  Engine engine;
  Session all = engine.as_operator();
  WalletId payer, host;

  Counted() : engine(Engine::open(options()).value()) {
    payer = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "payer"}).value().wallet.id;
    host = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "host"}).value().wallet.id;
    all.topup({.wallet = payer, .amount = Money{1'000'000'000}}).value();
  }
  Options options() const {
    Options out;
    out.path = "/mem/market.db";
    out.vfs = disk.vfs_name();
    return out;
  }
  Spend spend(int i) const {
    return {.wallet = payer, .job_id = "job-" + std::to_string(i), .amount = Money{100}, .host_wallet = host};
  }
  Earn earn(int i) const {
    return {
        .host = host, .job_id = "job-" + std::to_string(i), .gross_amount = Money{60}, .gpu_model = "A100"};
  }
};

struct Delta {
  std::uint64_t syncs, commits, checkpoints, writes, prepared;
};

Delta during(Counted& of, const std::function<void()>& work) {
  const EngineStats before = of.engine.stats();
  of.disk.reset_counters();
  work();
  const EngineStats after = of.engine.stats();
  return {of.disk.counters().syncs, after.commits - before.commits, after.checkpoints - before.checkpoints,
          of.disk.counters().writes, after.statements_prepared - before.statements_prepared};
}

}  // namespace

TEST_CASE("a commit syncs once, and once more after the log was started anew") {
  Counted of;
  const int calls = testing::by_scale(800, 2'500, 50'000);
  std::uint64_t checkpoints = 0, extra = 0, most_at_checkpoint = 0;
  bool restarts = true;  // the market's birth may have left the log to be started anew
  for (int i = 0; i < calls; ++i) {
    const Delta delta = during(of, [&] {
      if (i % 2 == 0)
        of.all.spend(of.spend(i)).value();
      else
        of.all.earn(of.earn(i - 1)).value();
    });
    REQUIRE(delta.commits == 1);
    REQUIRE(delta.checkpoints <= 1);
    if (delta.checkpoints == 1) {
      // The log, then the file: what the checkpoint itself syncs, beside the commit that it follows.
      most_at_checkpoint = std::max(most_at_checkpoint, delta.syncs - 1);
      ++checkpoints;
      restarts = true;
      continue;
    }
    if (restarts && delta.syncs == 2)
      ++extra;
    else
      REQUIRE(delta.syncs == 1);
    restarts = false;
  }
  CHECK(checkpoints >= testing::by_scale(1U, 3U, 60U));  // else nothing was seen of them
  CHECK(most_at_checkpoint <= 2);
  CHECK(extra <= checkpoints + 1);
}

TEST_CASE("many operations in one bulk are one commit and one sync") {
  Counted of;
  of.all.spend(of.spend(-1)).value();
  std::vector<Operation> operations;
  for (int i = 0; i < 100; ++i) {
    operations.emplace_back(of.spend(i));
    operations.emplace_back(of.earn(i));
  }
  const Delta delta = during(of, [&] {
    for (const Outcome& outcome : of.all.bulk(operations).value())
      CHECK_FALSE(std::holds_alternative<Error>(outcome));
  });
  CHECK(delta.commits == 1);
  CHECK(delta.syncs == 1 + 2 * delta.checkpoints);
}

TEST_CASE("what changes nothing writes nothing") {
  Counted of;
  of.all.spend(of.spend(1)).value();
  of.all.earn(of.earn(1)).value();
  struct Row {
    std::string says;
    std::function<bool()> ask;
  };
  const Row rows[] = {
      {"a spend again", [&] { return of.all.spend(of.spend(1)).value().replayed; }},
      {"an earn again", [&] { return of.all.earn(of.earn(1)).value().replayed; }},
      {"a spend too large",
       [&] {
         return of.all.spend({.wallet = of.payer, .job_id = "x", .amount = core::amount_max}).reason() ==
                Reason::insufficient_balance;
       }},
      {"a job nobody knows", [&] { return of.all.earn(of.earn(99)).reason() == Reason::job_unknown; }},
      {"a change of nothing", [&] { return of.all.change_wallet(of.payer, {}).ok(); }},
      {"a bulk of refusals",
       [&] {
         const Operation both[] = {of.earn(98), of.earn(97)};
         return of.all.bulk(both).value().size() == 2;
       }},
      {"a balance", [&] { return of.all.wallet(of.payer).ok(); }},
      {"all balances", [&] { return of.all.wallets().ok(); }},
      {"entries", [&] { return of.all.entries(of.payer).value().items.size() == 3; }},
      {"escrows", [&] { return of.all.escrows(of.payer).ok(); }},
      {"receipts", [&] { return of.all.receipts(of.host).value().items.size() == 1; }},
      {"a checkpoint", [&] { return of.all.checkpoint().ok(); }},
      {"an audit", [&] { return of.all.audit().value().ok; }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Delta delta = during(of, [&] { CHECK(row.ask()); });
    CHECK(delta.commits == 0);
    CHECK(delta.syncs == 0);
    CHECK(delta.writes == 0);
  }
}

TEST_CASE("a running engine prepares no statement") {
  Counted of;
  const Delta delta = during(of, [&] {
    for (int i = 0; i < 300; ++i) {
      of.all.spend(of.spend(i)).value();
      of.all.spend(of.spend(i)).value();
      if (i % 3 == 0)
        of.all.release({.wallet = of.payer, .job_id = of.spend(i).job_id}).value();
      else
        of.all.earn(of.earn(i)).value();
      of.all.transfer({.from = of.payer, .to = of.host, .amount = Money{1}}).value();
    }
    of.all.topup({.wallet = of.payer, .amount = Money{5}, .reference = "r", .idempotency_key = "k"}).value();
    const WalletCreated agent =
        of.all.create_wallet({.owner_type = OwnerType::agent, .owner_id = "a", .parent = of.payer}).value();
    of.all.change_wallet(agent.wallet.id, {.spend_cap_per_hour = Money{50}, .approval_threshold = Money{5}})
        .value();
    of.all.topup({.wallet = agent.wallet.id, .amount = Money{40}}).value();
    of.all.spend({.wallet = agent.wallet.id, .job_id = "a", .amount = Money{5}}).value();
    CHECK(of.all.spend({.wallet = agent.wallet.id, .job_id = "b", .amount = Money{6}}).reason() ==
          Reason::approval_required);
    of.engine.session(agent.api_key).value().wallet(agent.wallet.id).value();
    of.all.wallets().value();
    of.all.entries(of.payer).value();
    of.all.escrows(of.payer).value();
    const auto receipts = of.all.receipts(of.host).value();
    of.all.receipt(receipts.items.front().id).value();
    of.all.inclusion_proof(receipts.items.front().id).value();
    of.all.consistency_proof(1, 100).value();
    of.all.checkpoint().value();
  });
  CHECK(delta.prepared == 0);
  CHECK(delta.commits > 900);
}

TEST_CASE("nor does it for what comes seldom") {
  faults::Disk disk;
  std::int64_t now_us = 1'790'000'000'000'000;
  Options options;
  options.path = "/mem/market.db";
  options.vfs = disk.vfs_name();
  options.now_us = [&] { return now_us += 1'000; };
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const auto wallet = [&](const char* owner) {
    return all.create_wallet({.owner_type = OwnerType::human, .owner_id = owner}).value().wallet.id;
  };
  const WalletId payer = wallet("payer"), host = wallet("host");
  all.topup({.wallet = payer, .amount = Money{1'000'000'000}}).value();
  const WalletId agent = all.create_wallet({.owner_type = OwnerType::agent,
                                            .owner_id = "agent",
                                            .parent = payer,
                                            .policy = {.approval_threshold = Money{5}}})
                             .value()
                             .wallet.id;
  all.topup({.wallet = agent, .amount = Money{1'000}}).value();
  const auto approval_for = [&](const char* job) {
    CHECK(all.spend({.wallet = agent, .job_id = job, .amount = Money{6}}).reason() ==
          Reason::approval_required);
    return all.approvals(agent, {.limit = 1'000}).value().items.back().id;
  };
  struct Row {
    std::string says;
    std::function<bool()> ask;
  };
  const Row rows[] = {
      {"payouts, confirmed and failed",
       [&] {
         const auto ask = [&] {
           return all.request_payout({.wallet = payer, .amount = Money{9}, .destination = "bank"}).value().id;
         };
         return all.confirm_payout(ask()).ok() && all.fail_payout(ask()).ok();
       }},
      {"a grant", [&] { return all.grant(host).ok(); }},
      {"the waitlist", [&] { return all.approve_waitlist(all.join_waitlist("newcomer").value().id).ok(); }},
      {"approvals, given and used, and denied",
       [&] {
         const bool good = all.approve(approval_for("large")).ok() &&
                           all.spend({.wallet = agent, .job_id = "large", .amount = Money{6}}).ok();
         return good && all.deny(approval_for("larger")).ok();
       }},
      {"keys, issued, rotated, revoked and listed",
       [&] {
         const KeyIssued issued = all.issue_key(payer, "laptop").value();
         const KeyIssued next = all.rotate_key(issued.key.id).value();
         return engine.session(next.api_key).ok() && all.revoke_key(next.key.id).ok() &&
                !engine.session(next.api_key).ok() && all.keys(payer).ok() &&
                engine.issue_operator_key("desk").ok();
       }},
      {"a bulk of everything",
       [&] {
         const Operation operations[] = {
             TopUp{.wallet = payer, .amount = Money{7}},
             WalletTransfer{.from = payer, .to = host, .amount = Money{7}},
             Spend{.wallet = payer, .job_id = "b-1", .amount = Money{7}, .host_wallet = host},
             Earn{.host = host, .job_id = "b-1", .gross_amount = Money{5}, .gpu_model = "A100"},
             Spend{.wallet = payer, .job_id = "b-2", .amount = Money{7}},
             Release{.wallet = payer, .job_id = "b-2"}};
         const auto outcomes = all.bulk(operations).value();
         return std::none_of(outcomes.begin(), outcomes.end(),
                             [](const Outcome& outcome) { return std::holds_alternative<Error>(outcome); });
       }},
      {"a sweep of what expired",
       [&] {
         for (const char* job : {"e-1", "e-2", "e-3"})
           if (!all.spend({.wallet = payer, .job_id = job, .amount = Money{4}, .expires_in_s = 60}).ok())
             return false;
         now_us += 61 * core::us_per_second;
         const bool swept =
             all.spend({.wallet = payer, .job_id = "e-4", .amount = Money{1}, .host_wallet = host}).ok();
         const auto escrows = all.escrows(payer, {.limit = 1'000}).value().items;
         return swept && std::count_if(escrows.begin(), escrows.end(), [](const EscrowView& escrow) {
                           return escrow.state == EscrowState::expired;
                         }) == 3;
       }},
      {"a wallet closed and its policy changed",
       [&] {
         const WalletId other = wallet("other");
         return all.change_wallet(other, {.spend_cap_per_job = Money{5}}).ok() &&
                all.change_wallet(other, {.status = WalletStatus::closed}).ok();
       }},
      {"audits, without an anchor and with one",
       [&] {
         const std::string checkpoint = all.checkpoint().value();
         return all.audit().value().ok && all.audit(checkpoint).value().ok &&
                all.audit({}, AuditDepth::each).value().ok;
       }},
      {"exports",
       [&] {
         std::size_t bytes = 0;
         for (const ExportFormat format : {ExportFormat::csv, ExportFormat::jsonl, ExportFormat::hledger})
           if (!all.export_ledger(format, [&](std::string_view piece) { return bytes += piece.size(), true; })
                    .ok())
             return false;
         return bytes > 1'000;
       }},
      {"every list",
       [&] {
         return all.escrows(payer).ok() && all.receipts(host).ok() && all.entries(agent).ok() &&
                all.approvals(agent).ok();
       }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const std::uint64_t before = engine.stats().statements_prepared;
    CHECK(row.ask());
    CHECK(engine.stats().statements_prepared == before);
  }
}

TEST_CASE("a job paid in full leaves few rows") {
  faults::Disk disk;
  Options options;
  options.path = "/mem/market.db";
  options.vfs = disk.vfs_name();
  const auto rows = [&] {
    std::map<std::string, std::int64_t> out;
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open_v2("/mem/market.db", &db, SQLITE_OPEN_READWRITE, disk.vfs_name()) == SQLITE_OK);
    for (const char* table : {"events", "entries", "locks", "resolutions", "requests", "receipts"}) {
      sqlite3_stmt* statement = nullptr;
      const std::string sql = std::string("SELECT count(*) FROM ") + table;
      REQUIRE(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
      REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
      out[table] = sqlite3_column_int64(statement, 0);
      sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    return out;
  };
  // The key lives in memory with this disk, so one engine does it all and is closed before anybody looks.
  std::map<std::string, std::int64_t> counts[2];
  for (int pairs : {0, 50}) {
    disk.restore({});
    {
      Engine engine = Engine::open(options).value();
      Session all = engine.as_operator();
      const WalletId payer =
          all.create_wallet({.owner_type = OwnerType::human, .owner_id = "payer"}).value().wallet.id;
      const WalletId host =
          all.create_wallet({.owner_type = OwnerType::human, .owner_id = "host"}).value().wallet.id;
      all.topup({.wallet = payer, .amount = Money{1'000'000}}).value();
      for (int i = 0; i < pairs; ++i) {
        const std::string job = std::to_string(i);
        all.spend({.wallet = payer, .job_id = job, .amount = Money{100}, .host_wallet = host}).value();
        all.earn({.host = host, .job_id = job, .gross_amount = Money{60}, .gpu_model = "A100"}).value();
      }
    }
    counts[pairs == 0 ? 0 : 1] = rows();
  }
  const std::map<std::string, std::int64_t> a_pair = {{"events", 2},      {"entries", 6},  {"locks", 1},
                                                      {"resolutions", 1}, {"requests", 0}, {"receipts", 1}};
  for (const auto& row : a_pair) {
    CAPTURE(row.first);
    CHECK(counts[1][row.first] - counts[0][row.first] == 50 * row.second);
  }
}
