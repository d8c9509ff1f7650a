#include "services/audit.hpp"

#include <doctest/doctest.h>

#include <calyx/core/note.hpp>
#include <calyx/core/receipt.hpp>
#include <calyx/engine.hpp>
#include <filesystem>
#include <random>

#include "crypto/sha256.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using services::EventKind;
using services::Fields;
using testing::Edit;

namespace {

constexpr std::int64_t flops = core::micro_per_flops;

/// A market in which everything happened that an event tells of, and `pairs` jobs were settled and one more.
class Story {
 public:
  explicit Story(int pairs) {
    Engine engine = open();
    Session all = engine.as_operator();
    owner = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice", .idempotency_key = "w-1"})
                .value()
                .wallet.id;
    agent = all.create_wallet({.owner_type = OwnerType::agent,
                               .owner_id = "research \xC3\xA9",
                               .parent = owner,
                               .policy = {.approval_threshold = Money{50 * flops}}})
                .value()
                .wallet.id;
    host = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "bob"}).value().wallet.id;
    all.topup(
           {.wallet = owner, .amount = Money{5'000 * flops}, .reference = "paid-1", .idempotency_key = "t-1"})
        .value();
    all.transfer({.from = owner,
                  .to = agent,
                  .amount = Money{3'000 * flops},
                  .reference = "may,\"first\"",
                  .idempotency_key = "m-1"})
        .value();
    all.grant(owner).value();
    const auto pay_out = [&](std::int64_t amount) {
      return all.request_payout({.wallet = owner, .amount = Money{amount * flops}, .destination = "iban"})
          .value()
          .id;
    };
    all.fail_payout(pay_out(7)).value();
    all.confirm_payout(pay_out(5)).value();
    all.approve_waitlist(all.join_waitlist("carol").value().id).value();
    all.change_wallet(agent, {.allowed_gpu_types = std::vector<std::string>{"RTX 4090", "A100"}}).value();

    Spend lock{.wallet = agent, .job_id = "released", .amount = Money{2 * flops}, .gpu_type = "A100"};
    all.spend(lock).value();
    all.release({.wallet = agent, .job_id = "released"}).value();
    all.release({.wallet = agent, .job_id = "burned"}).value();
    lock.job_id = "expires";
    lock.expires_in_s = 60;
    all.spend(lock).value();
    us += 61 * core::us_per_second;
    lock.job_id = "open";
    lock.expires_in_s.reset();
    all.spend(lock).value();
    lock.job_id = "dear";
    lock.amount = Money{60 * flops};
    CHECK(all.spend(lock).reason() == Reason::approval_required);
    all.approve(all.approvals(agent).value().items.at(0).id).value();
    all.spend(lock).value();
    all.issue_key(owner, "second", "k-1").value();

    settle(all, 0, pairs);
    engine.rotate_signing_key().value();
    settle(all, pairs, pairs + 1);
    all.transfer({.from = owner, .to = agent, .amount = Money{2 * flops}, .reference = "late"}).value();
    receipts = static_cast<std::uint64_t>(pairs) + 1;
  }

  Engine open() {
    return Engine::open({.path = file, .now_us = [this] { return us += 1'000; }}).value();
  }

  /// Jobs `from` to `to` in one commit; the fourth comes to nothing.
  void settle(Session& all, int from, int to) {
    std::vector<Operation> operations;
    for (int n = from; n < to; ++n) {
      const std::string job = "job-" + std::to_string(n);
      operations.push_back(Spend{.wallet = agent,
                                 .job_id = job,
                                 .amount = Money{4 * flops},
                                 .gpu_type = "RTX 4090",
                                 .host_wallet = host});
      operations.push_back(Earn{.host = host,
                                .job_id = job,
                                .gross_amount = Money{n == 3 ? 0 : 3'230'000},
                                .gpu_model = "RTX 4090",
                                .duration_seconds = 42});
    }
    for (const Outcome& outcome : all.bulk(operations).value()) {
      CHECK_FALSE(std::holds_alternative<Error>(outcome));
      if (const auto* earned = std::get_if<Earned>(&outcome)) receipt_ids.push_back(earned->receipt);
    }
  }

  store::Scratch scratch;
  std::string file = scratch / "market.db";
  std::int64_t us = 1'775'000'000'000'000;
  WalletId owner, agent, host;
  std::vector<ReceiptId> receipt_ids;
  std::uint64_t receipts = 0;
};

/// One for all tests of this file, with a checkpoint in it: each works on a copy.
Story& story() {
  static Story one(260);
  return one;
}

void copy_market(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  for (const char* suffix : {"", "-wal"}) {
    fs::remove(to + suffix);
    if (fs::exists(from + suffix)) fs::copy_file(from + suffix, to + suffix);
  }
  fs::remove(to + "-shm");
}

Result<AuditReport> audit_file(const std::string& path, const Anchor& anchor = {},
                               AuditDepth depth = AuditDepth::covered) {
  CALYX_TRY(store::Connection connection, store::Connection::open({.path = path, .create = false}));
  CALYX_TRY(store::MarketStore store, store::MarketStore::make(connection, false));
  CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(connection));
  static_cast<void>(snapshot);
  return services::audit(store, anchor, depth);
}

}  // namespace

TEST_CASE("a market that nobody touched passes at either depth, and everything in it was counted") {
  const std::string copy = story().scratch / "sound.db";
  copy_market(story().file, copy);
  const AuditReport covered = audit_file(copy).value();
  const AuditReport each = audit_file(copy, {}, AuditDepth::each).value();
  Edit raw(copy);
  for (const AuditReport* report : {&covered, &each}) {
    CHECK(report->first_fault == "");
    CHECK(report->ok);
    CHECK(static_cast<std::int64_t>(report->events) == raw.number("SELECT count(*) FROM events"));
    CHECK(static_cast<std::int64_t>(report->entries) == raw.number("SELECT count(*) FROM ledger"));
    CHECK(report->receipts == story().receipts);
    CHECK(report->checkpoints == 1);
    CHECK(report->seq == raw.number("SELECT max(seq) FROM events"));
    CHECK(raw.number("SELECT lower(hex(hash)) = '" + report->head +
                     "' FROM events ORDER BY seq DESC LIMIT 1") == 1);
  }
  // What leads from entry to entry, judged by SQLite: the audit has it from the code that wrote it.
  CHECK(raw.number(
            "SELECT count(*) FROM (SELECT previous, lag(id, 1, 0) OVER (PARTITION BY account ORDER BY id) "
            "before FROM entries) WHERE previous <> before") == 0);
  const std::string every_64th =
      "SELECT account, id FROM (SELECT account, id, row_number() OVER (PARTITION BY account ORDER BY id) "
      "place "
      "FROM entries) WHERE place % 64 = 0";
  CHECK(raw.number("SELECT count(*) FROM (" + every_64th + ")") > 3);
  CHECK(raw.number("SELECT count(*) FROM (" + every_64th +
                   " EXCEPT SELECT account, entry FROM milestones)") == 0);
  CHECK(raw.number("SELECT count(*) FROM milestones") ==
        raw.number("SELECT count(*) FROM (" + every_64th + ")"));
  CHECK(covered.signatures == story().receipts - 256);
  CHECK(each.signatures == story().receipts);
}

TEST_CASE("the audit is the operator's, through a session") {
  Story small(2);
  Engine engine = small.open();
  CHECK(engine.as_operator().audit().value().ok);
  const std::string key = engine.as_operator().issue_key(small.owner, "mine").value().api_key;
  CHECK(engine.session(key).value().audit().reason() == Reason::operator_only);
}

TEST_CASE("the first thing that is wrong is named, whatever was edited") {
  struct Row {
    const char* says;
    const char* number;  ///< What `#` stands for in the two that follow, asked before the edit; or null.
    const char* edit;
    const char* fault;
  };
  const char* const first_lock = "SELECT seq FROM locks WHERE job_id = 'job-0'";
  const char* const first_earn =
      "SELECT seq FROM resolutions WHERE lock = (SELECT seq FROM locks WHERE job_id = 'job-0')";
  const Row rows[] = {
      {"an amount in an event", first_lock,
       "UPDATE events SET fields = replace(fields, '\"4.00\"', '\"5.00\"') WHERE seq = #",
       "event #: its hash does not follow"},
      {"a name in an event", "SELECT seq FROM events WHERE fields LIKE '%alice%'",
       "UPDATE events SET fields = replace(fields, 'alice', 'mallory') WHERE seq = #",
       "event #: its hash does not follow"},
      {"a space in an event", first_lock,
       "UPDATE events SET fields = replace(fields, ':', ': ') WHERE seq = #",
       "event #: its hash does not follow"},
      {"an event's time", first_lock, "UPDATE events SET at_us = at_us + 1 WHERE seq = #",
       "event #: its hash does not follow"},
      {"time that runs back", first_lock, "UPDATE events SET at_us = 5 WHERE seq = #",
       "event #: its time is out of order"},
      {"an event's kind", "SELECT seq FROM events WHERE kind = 3",
       "UPDATE events SET kind = 4 WHERE kind = 3", "event #: its hash does not follow"},
      {"no kind at all", "SELECT seq FROM events WHERE kind = 3",
       "UPDATE events SET kind = 31 WHERE kind = 3", "event #: 31 is no kind of event"},
      {"an event's hash", nullptr, "UPDATE events SET hash = zeroblob(32) WHERE seq = 9",
       "event 9: its hash does not follow"},
      {"half a hash", nullptr, "UPDATE events SET hash = zeroblob(16) WHERE seq = 9",
       "events row 9: a hash is not 32 bytes"},
      {"an event taken out", nullptr, "DELETE FROM events WHERE seq = 9", "event 9: is missing"},
      {"an event before the first", nullptr,
       "INSERT INTO events SELECT 0, at_us, kind, fields, hash FROM events WHERE seq = 1",
       "event 0: stands before the first"},
      {"the market's own event", nullptr, "UPDATE events SET fields = '{}' WHERE seq = 1",
       "event 1: does not create a market"},
      {"every event taken out", nullptr, "DELETE FROM events", "events: there is none"},
      {"the last event taken out", "SELECT max(seq) FROM events", "DELETE FROM events WHERE seq = #",
       "entries: account 16 at event # has -2.00, the event says nothing of it"},

      {"an entry's amount", first_lock,
       "UPDATE entries SET amount = amount - 1 WHERE id / 8 = # AND account = 17",
       "entries: account 17 at event # has -4.000001, the event says -4.00 of account 17"},
      {"two entries, and the sum stays", first_earn,
       "UPDATE entries SET amount = amount + 7 WHERE id / 8 = # AND account = 18;"
       "UPDATE resolutions SET fee = fee - 7 WHERE seq = #",
       "entries: account 18 at event # has 2.745507, the event says 2.7455 of account 18"},
      {"what an escrow took in", first_lock, "UPDATE locks SET amount = amount + 1 WHERE seq = #",
       "locks: job job-0 of account 17 has 4.000001, event # says 4.00"},
      {"what an escrow gave out", first_earn, "UPDATE resolutions SET amount = amount - 1 WHERE seq = #",
       "resolutions: lock "},
      {"the fee of an end", first_earn, "UPDATE resolutions SET fee = fee - 7 WHERE seq = #",
       "resolutions: lock "},
      {"an entry that changes its owner", first_earn,
       "UPDATE entries SET account = 16 WHERE id / 8 = # AND account = 18",
       "entries: account 16 at event # has 2.7455, the event says 2.7455 of account 18"},
      {"an entry taken out", first_lock, "DELETE FROM entries WHERE id / 8 = # AND account = 17",
       "entries: account 17 at event # has no row, the event says -4.00"},
      {"an entry that leads past one before it", "SELECT id FROM entries WHERE account = 17 LIMIT 1 OFFSET 9",
       "UPDATE entries SET previous = (SELECT previous FROM entries WHERE id = (SELECT previous FROM entries "
       "WHERE id = #)) WHERE id = #",
       "entries: account 17 at event "},
      {"two entries put in that sum to zero", nullptr,
       "INSERT INTO entries VALUES (8, 1, -1000000, 0), (9, 16, 1000000, 0)",
       "entries: account 1 at event 1 has -1.00, the event says nothing of it"},
      {"an entry before the first event", nullptr, "INSERT INTO entries VALUES (-3, 16, 1000000, 0)",
       "entries: account 16 at event 0 has 1.00, the event says nothing of it"},
      {"entries after the last event", nullptr,
       "INSERT INTO entries VALUES (7999992, 1, -5, 0), (7999993, 16, 5, 0)",
       "entries: account 1 at event 999999 has -0.000005, the event says nothing of it"},
      {"two wallets' entries exchanged", nullptr,
       "UPDATE entries SET account = 33 - account WHERE account IN (16, 17)", "entries: account 1"},

      {"a milestone taken out", "SELECT min(entry) FROM milestones WHERE account = 17",
       "DELETE FROM milestones WHERE entry = #", "milestones: account 17 at entry # has no row"},
      {"a milestone too many", nullptr, "INSERT INTO milestones VALUES (17, 9)",
       "milestones: account 17 at entry 9 has a row, the event says nothing of it"},

      {"a lock taken out, so that its job id would be free", first_lock,
       "DELETE FROM locks WHERE job_id = 'job-0'", "locks: job job-0 of event # is not found"},
      {"a lock that leads elsewhere", first_lock, "UPDATE locks SET seq = 3 WHERE job_id = 'job-0'",
       "locks: job job-0 of event # leads to event 3"},
      {"a job id that was never used", nullptr, "INSERT INTO locks VALUES ('job-x', 17, 3, 0)",
       "locks: job job-x of account 17 names event 3, which does not lock it"},
      {"an end taken away, so that a lock would settle twice", first_lock,
       "DELETE FROM resolutions WHERE lock = #", "resolutions: lock # of event "},
      {"an end made up", "SELECT seq FROM locks WHERE job_id = 'open'",
       "INSERT INTO resolutions VALUES (#, 3, 0, 0)",
       "resolutions: lock # names event 3, which does not end it"},
      {"a key taken out, so that a retry would pay twice", "SELECT seq FROM requests WHERE key = 'm-1'",
       "DELETE FROM requests WHERE key = 'm-1'", "requests: a key of event # is not found"},
      {"a top-up's reference taken out", "SELECT seq FROM requests WHERE key = 'paid-1'",
       "DELETE FROM requests WHERE key = 'paid-1'", "requests: a key of event # is not found"},
      {"a key that changes its owner", "SELECT seq FROM requests WHERE key = 'm-1'",
       "UPDATE requests SET scope = 17 WHERE key = 'm-1'", "requests: a key of event # is not found"},
      {"a key made up", nullptr, "INSERT INTO requests VALUES (0, 1, 'mine', 9)",
       "requests: a key of account 0 names event 9, which does not use it"},

      {"a receipt's words", nullptr,
       "UPDATE receipts SET payload = CAST(replace(payload, 'RTX 4090', 'RTX 5090') AS BLOB) WHERE leaf = 5",
       "receipt 5: does not say what event "},
      {"a covered receipt's signature", nullptr,
       "UPDATE receipts SET signature = zeroblob(64) WHERE leaf = 5",
       "checkpoint 256: its root is not that of the receipts"},
      {"a late receipt's signature", nullptr, "UPDATE receipts SET signature = zeroblob(64) WHERE leaf = 258",
       "receipt 258: signature"},
      {"a signature that is none", nullptr, "UPDATE receipts SET signature = x'00' WHERE leaf = 5",
       "receipt 5: signature"},
      {"another signing key", nullptr, "UPDATE receipts SET key = 1 WHERE leaf = 258",
       "receipt 258: signature"},
      {"no signing key", nullptr, "UPDATE receipts SET key = 2 WHERE leaf = 258",
       "receipt 258: signing key 2 is unknown"},
      {"a receipt of another event", nullptr, "UPDATE receipts SET seq = 3 WHERE leaf = 5",
       "receipt 5: names event 3"},
      {"a receipt taken out", nullptr, "DELETE FROM receipts WHERE leaf = 5", "receipt 5: is missing"},
      {"the last receipt taken out", nullptr, "DELETE FROM receipts WHERE leaf = 260",
       "receipt 260: is missing"},
      {"all receipts taken out", nullptr, "DELETE FROM receipts", "receipt 0: is missing"},
      {"a receipt too many", nullptr,
       "INSERT INTO receipts SELECT 261, seq, key, payload, signature FROM receipts WHERE leaf = 260",
       "receipt 261: no event settles it"},
      {"two receipts exchanged", nullptr,
       "UPDATE receipts SET leaf = -1 WHERE leaf = 5; UPDATE receipts SET leaf = 5 WHERE leaf = 6;"
       "UPDATE receipts SET leaf = 6 WHERE leaf = -1",
       "receipt 5: names event "},
      {"a receipt before the first", nullptr,
       "INSERT INTO receipts SELECT -1, seq, key, payload, signature FROM receipts WHERE leaf = 0",
       "receipt -1: stands before the first"},

      {"a derived key's spending too many", nullptr,
       "INSERT INTO key_spends VALUES (zeroblob(32), 3, 3, 1, 1)",
       "key_spends: they are not what the events say"},
      {"a settlement of nothing too many", nullptr, "INSERT INTO zero_earnings VALUES (18, 3)",
       "zero_earnings: account 18 at event 3 has a row, the event says nothing of it"},

      {"a tile", nullptr, "UPDATE tiles SET hash = zeroblob(32)",
       "tile 8/0: is not the hash of its receipts"},
      {"a tile taken out", nullptr, "DELETE FROM tiles", "tile 8/0: is missing"},
      {"a tile too many", nullptr, "INSERT INTO tiles VALUES (8, 1, zeroblob(32))",
       "tile 8/1: there is no such subtree"},
      {"a tile where none may be", nullptr, "INSERT INTO tiles VALUES (3, 0, zeroblob(32))",
       "tile 3/0: there is no such subtree"},
      {"a checkpoint's text", nullptr, "UPDATE checkpoints SET note = replace(note, '256', '255')",
       "checkpoint 256: its note is not to be believed: signature"},
      {"a checkpoint that is none", nullptr, "UPDATE checkpoints SET note = ''",
       "checkpoint 256: its note is not to be believed: malformed"},
      {"a checkpoint's size", nullptr, "UPDATE checkpoints SET size = 255",
       "checkpoint 255: its note is of 256 receipts"},
      {"a checkpoint taken out", nullptr, "DELETE FROM checkpoints", "checkpoint 256: is missing"},
  };
  const std::string copy = story().scratch / "edited.db";
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    copy_market(story().file, copy);
    std::string number;
    const auto numbered = [&](std::string text) {
      for (std::size_t at; (at = text.find('#')) != std::string::npos;) text.replace(at, 1, number);
      return text;
    };
    {
      Edit raw(copy);
      if (row.number != nullptr) number = std::to_string(raw.number(row.number));
      raw.run(numbered(row.edit));
    }
    const std::string expected = numbered(row.fault);
    const AuditReport report = audit_file(copy).value();
    CHECK_FALSE(report.ok);
    CHECK(report.first_fault.substr(0, expected.size()) == expected);
    CHECK_FALSE(audit_file(copy, {}, AuditDepth::each).value().ok);
  }
}

TEST_CASE("a number that became nothing is no 0: the row is named by who reads it, and by the audit") {
  struct Row {
    const char* table;
    const char* column;
    const char* where;
    const char* name;  ///< In SQL: how the row is told from others.
    bool at_opening;   ///< Always read when a market is opened.
  };
  const char* const end_of_job = "lock = (SELECT seq FROM locks WHERE job_id = 'job-7')";
  const char* const lock_name = "job_id || ' of account ' || payer";
  const Row rows[] = {
      {"events", "at_us", "seq = 20", "seq", false},
      {"events", "kind", "seq = 20", "seq", false},
      {"entries", "amount", "id = (SELECT min(id) FROM entries)", "id", true},
      {"entries", "account", "id = (SELECT min(id) FROM entries)", "id", true},
      {"entries", "previous", "id = (SELECT min(id) FROM entries)", "id", true},
      {"locks", "seq", "job_id = 'open'", lock_name, true},
      {"locks", "amount", "job_id = 'open'", lock_name, true},
      {"locks", "amount", "job_id = 'job-7'", lock_name, false},
      {"resolutions", "seq", end_of_job, "lock", false},
      {"resolutions", "amount", end_of_job, "lock", false},
      {"resolutions", "fee", end_of_job, "lock", true},
      {"requests", "seq", "key = (SELECT min(key) FROM requests)",
       "key || ' of account ' || scope || ' and kind ' || kind", false},
      {"receipts", "seq", "leaf = 5", "leaf", false},
      {"receipts", "key", "leaf = 5", "leaf", false},
  };
  const std::string copy = story().scratch / "nothing.db";
  for (const Row& row : rows) {
    CAPTURE(std::string(row.table));
    CAPTURE(std::string(row.column));
    copy_market(story().file, copy);
    std::string name;
    {
      Edit raw(copy);
      name = raw.text("SELECT " + std::string(row.name) + " FROM " + row.table + " WHERE " + row.where);
      raw.plant_null(row.table, row.column, row.where);
    }
    const std::string line = std::string(row.table) + " row " + name + ": " + row.column + " is no integer";
    const AuditReport report = audit_file(copy).value();
    CHECK_FALSE(report.ok);
    CHECK(report.first_fault == line);
    const Result<Engine> opened = Engine::open({.path = copy, .read_only = true});
    if (row.at_opening) CHECK(opened.reason() == Reason::corrupt);
    if (opened.ok()) continue;
    CHECK(opened.error().message.substr(0, line.size()) == line);
    CHECK(*opened.error().details.find("column")->string() == row.column);
  }

  // Who looks one row up is told as well.
  copy_market(story().file, copy);
  std::int64_t lock = 0, payer = 0, last_outside = 0, last_of_payer = 0;
  {
    Edit raw(copy);
    lock = raw.number("SELECT seq FROM locks WHERE job_id = 'job-7'");
    payer = raw.number("SELECT payer FROM locks WHERE job_id = 'job-7'");
    raw.plant_null("locks", "seq", "job_id = 'job-7'");
    raw.plant_null("resolutions", "seq", "lock = " + std::to_string(lock));
    last_outside = raw.number("SELECT max(id) FROM entries WHERE account = 1");
    last_of_payer = raw.number("SELECT max(id) FROM entries WHERE account = " + std::to_string(payer));
    raw.plant_null("entries", "amount", "id = " + std::to_string(last_outside));
  }
  auto connection = store::Connection::open({.path = copy, .create = false}).value();
  auto store = store::MarketStore::make(connection, false).value();
  CHECK(store.find_lock("job-7", payer).reason() == Reason::corrupt);
  CHECK(store.find_locks("job-7").reason() == Reason::corrupt);
  CHECK(store.find_lock("job-8", payer).ok());
  CHECK(store.find_resolution(lock).reason() == Reason::corrupt);
  CHECK(store.sum_of(1, last_outside, 0).reason() == Reason::corrupt);
  CHECK(store.sum_of(payer, last_of_payer, 0).ok());
  const auto each = [](Money, const store::EventRow&) { return Result<bool>(true); };
  CHECK(store.entries_of(1, last_outside, 0, each).reason() == Reason::corrupt);
}

TEST_CASE("a chain that was made anew is still judged by the rules of the book") {
  const std::string copy = story().scratch / "forged.db";
  const auto lock_of = [&](const char* job) {
    copy_market(story().file, copy);
    Edit raw(copy);
    return std::to_string(raw.number("SELECT seq FROM locks WHERE job_id = '" + std::string(job) + "'"));
  };
  const std::string open_lock = lock_of("open");
  const std::string settled_lock = lock_of("job-0");
  const auto earn = [](const std::string& lock, const std::string& fee, const std::string& gross,
                       const std::string& net, const std::string& leaf = "261") {
    return R"({"duration_seconds":1,"fee":")" + fee + R"(","gpu_model":"x","gross":")" + gross +
           R"(","host":18,"leaf":)" + leaf + R"(,"lock":)" + lock + R"(,"net":")" + net +
           R"(","output_hash":")" + std::string(64, '0') + R"("})";
  };
  struct Row {
    const char* says;
    EventKind kind;
    std::string fields;
    const char* fault;
  };
  const Row rows[] = {
      {"money from nowhere", EventKind::transfer, R"({"amount":"8000000000.00","from":18,"to":16})",
       "account 18 goes below zero"},
      {"to a wallet that is not there", EventKind::transfer, R"({"amount":"1.00","from":16,"to":99})",
       "its wallet is unknown"},
      {"from the platform's own account", EventKind::transfer, R"({"amount":"0.10","from":2,"to":16})",
       "its wallet is unknown"},
      {"from a lock's account", EventKind::transfer, R"({"amount":"1.00","from":1099511627790,"to":16})",
       "its wallet is unknown"},
      {"from a number below zero", EventKind::transfer,
       R"({"amount":"1.00","from":-9223372036854775808,"to":17})", "its wallet is unknown"},
      {"of nothing", EventKind::transfer, R"({"amount":"0.00","from":16,"to":17})", "its amount is nothing"},
      {"to itself", EventKind::transfer, R"({"amount":"1.00","from":16,"to":16})", "it pays itself"},
      {"in another spelling", EventKind::transfer, R"({"amount":"1.0","from":16,"to":17})",
       "its fields are not what calyx writes"},
      {"in another order", EventKind::transfer, R"({"from":16,"amount":"1.00","to":17})",
       "its fields are not what calyx writes"},
      {"with a field too many", EventKind::transfer, R"({"amount":"1.00","from":16,"to":17,"z":1})",
       "its fields are not what calyx writes"},
      {"a settlement after the settlement", EventKind::earn, earn(settled_lock, "0.15", "1.00", "0.85"),
       "its lock is not open"},
      {"more than was locked", EventKind::earn, earn(open_lock, "1.50", "10.00", "8.50"),
       "gross_above_locked"},
      {"no fee", EventKind::earn, earn(open_lock, "0.00", "1.00", "1.00"), "its fee is not the market's"},
      {"a fee and a net that are no gross", EventKind::earn, earn(open_lock, "0.15", "1.00", "0.95"),
       "its fee is not the market's"},
      {"a leaf out of order", EventKind::earn, earn(open_lock, "0.15", "1.00", "0.85", "300"),
       "its receipt is leaf 300, the next one is 261"},
      {"an expiry of what waits for ever", EventKind::expire, R"({"lock":)" + open_lock + "}",
       "its deadline has not come"},
      {"a release of what was settled", EventKind::release, R"({"lock":)" + settled_lock + "}",
       "its lock is not open"},
      {"a deadline beyond all time", EventKind::spend,
       R"({"amount":"1.00","expires_in_s":9007199254740991,"job_id":"z","wallet":17})",
       "its deadline is out of range"},
      {"a second market", EventKind::market_created,
       R"({"fee_basis_points":0,"issuer":"me","market":"00000000000000000000000000000000"})",
       "the market was created before"},
      {"a second grant", EventKind::grant, R"({"amount":"2000.00","wallet":16})",
       "its owner had the grant before"},
      {"a payout's end without the payout", EventKind::payout_failed, R"({"payout":1})",
       "its payout is unknown"},
      {"a key bound to what is not there", EventKind::key_bound,
       R"({"event":9007199254740991,"idempotency_key":"x"})", "it names no event before it"},
      {"a wallet out of turn", EventKind::wallet_created,
       R"({"owner_id":"x","owner_type":"human","wallet":77})", "its wallet is not the next"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    copy_market(story().file, copy);
    std::string name;
    {
      auto connection = store::Connection::open({.path = copy, .create = false}).value();
      auto store = store::MarketStore::make(connection, true).value();
      const std::int64_t seq = store.last_seq().value() + 1;
      const auto last = store.event(seq - 1).value().value();
      name = "event " + std::to_string(seq);
      std::string scratch;
      const core::EventHead head{.seq = seq, .at = last.at, .kind = row.kind, .prev = last.hash};
      const core::Digest forged = core::event_hash(crypto::Sha256{}, head, row.fields, scratch);
      auto transaction = store::WriteTransaction::begin(connection).value();
      REQUIRE(store.append_event(seq, last.at, static_cast<int>(row.kind), row.fields, forged).ok());
      REQUIRE(transaction.commit().ok());
    }
    const std::string fault = audit_file(copy).value().first_fault;
    CAPTURE(fault);
    CHECK(fault.substr(0, name.size()) == name);
    CHECK(fault.find(row.fault) != std::string::npos);
  }
}

TEST_CASE("an anchor is a receipt as text or document, or a checkpoint, and all else is malformed") {
  Story& of = story();
  const std::string copy = of.scratch / "anchored.db";
  copy_market(of.file, copy);
  Engine engine = of.open();
  Session all = engine.as_operator();
  const Receipt first = all.receipt(of.receipt_ids.front()).value();
  const Receipt last = all.receipt(of.receipt_ids.back()).value();
  const std::string document = core::json::text(core::receipt_document(last.payload, last.jws, true));
  const std::string checkpoint = all.checkpoint().value();
  std::string lying = document;
  lying.replace(lying.find("RTX 4090"), 8, "RTX 5090");
  std::string torn = first.jws;
  torn[torn.size() - 30] = torn[torn.size() - 30] == 'A' ? 'B' : 'A';

  Story other(0);
  Engine other_engine = other.open();
  const std::string foreign_receipt =
      other_engine.as_operator().receipt(other.receipt_ids.front()).value().jws;
  const std::string foreign_note = other_engine.as_operator().checkpoint().value();

  struct Row {
    const char* says;
    std::string anchor;
    Reason reason;  ///< `none`: there is a report.
    const char* fault;
  };
  const Row rows[] = {
      {"none", "", Reason::none, ""},
      {"blanks", " \n", Reason::none, ""},
      {"the first receipt", first.jws, Reason::none, ""},
      {"the last, as a document", document, Reason::none, ""},
      {"with the newline of a file", first.jws + "\n", Reason::none, ""},
      {"a checkpoint", checkpoint, Reason::none, ""},
      {"a checkpoint without its last newline", checkpoint.substr(0, checkpoint.size() - 1), Reason::none,
       ""},
      {"words", "hello", Reason::anchor_malformed, ""},
      {"a document without a jws", R"({"id":"rcpt_1"})", Reason::anchor_malformed, ""},
      {"a document that says something else", lying, Reason::anchor_malformed, ""},
      {"lines that are no note", "a\nb\nc", Reason::anchor_malformed, ""},
      {"half a receipt", first.jws.substr(0, first.jws.size() / 2), Reason::anchor_malformed, ""},
      {"a receipt whose signature does not fit", torn, Reason::none,
       "anchor: not a valid receipt: signature"},
      {"another market's receipt", foreign_receipt, Reason::none, "anchor: no key of this market signed it"},
      {"another market's checkpoint", foreign_note, Reason::none, "anchor: no key of this market signed it"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    const Result<AuditReport> report = audit_file(copy, row.anchor);
    CHECK(report.reason() == row.reason);
    if (!report.ok()) continue;
    CHECK(report->first_fault == row.fault);
    CHECK(report->ok == report->first_fault.empty());
  }
}

TEST_CASE("the quick reader of fields reads what the careful one reads, and leaves it the rest") {
  const std::vector<Fields> written = {
      services::SpendEvent{.wallet = 17, .job_id = "j", .amount = Money{1}},
      services::SpendEvent{.wallet = 17,
                           .job_id = "job/1:2",
                           .amount = core::amount_max,
                           .gpu_type = "RTX 4090",
                           .host = 18,
                           .expires_in_s = 60},
      services::EarnEvent{.lock = 4,
                          .host = 18,
                          .gross = Money{3'230'000},
                          .fee = Money{484'500},
                          .net = Money{2'745'500},
                          .gpu_model = "A100",
                          .duration_seconds = 42},
      services::ReleaseEvent{.lock = 9},
      services::ExpireEvent{.lock = 123'456'789},
      services::TransferEvent{.from = 16, .to = 17, .amount = Money{10}},
      services::TransferEvent{.from = 16,
                              .to = 17,
                              .amount = Money{12'400'000},
                              .spends = true,
                              .reference = "r",
                              .once = "o",
                              .by = 16},
      services::TopUpEvent{.wallet = 16, .amount = Money{2'000 * flops}, .reference = "r", .once = "o"},
      services::TopUpEvent{.wallet = 16, .amount = Money{1}},
  };
  const auto spelled = [](const Fields& fields) {
    std::string text;
    services::append_fields(text, fields);
    return text;
  };
  std::mt19937 random(7);
  int changed = 0, taken = 0;
  for (const Fields& fields : written) {
    const EventKind kind = services::kind_of(fields);
    const std::string text = spelled(fields);
    CAPTURE(text);
    const auto read = services::read_usual_fields(kind, text);
    REQUIRE(read.has_value());
    CHECK(spelled(*read) == text);

    // Whatever is done to the text: what the quick reader takes is canonical, and the careful one agrees.
    constexpr std::string_view letters = "0123456789\"\\,:{}.-eE aZ\x01\x7F\xC3\xA9";
    for (int i = 0; i < 20'000; ++i) {
      std::string other = text;
      const std::size_t at = random() % other.size();
      switch (random() % 3) {
        case 0: other[at] = letters[random() % letters.size()]; break;
        case 1: other.erase(at, 1 + random() % 3); break;
        default: other.insert(at, 1, letters[random() % letters.size()]);
      }
      if (other == text) continue;
      ++changed;
      const auto quick = services::read_usual_fields(kind, other);
      if (!quick) continue;
      ++taken;
      const auto careful = services::read_fields(kind, other);
      CAPTURE(other);
      REQUIRE(careful.ok());
      REQUIRE(spelled(*quick) == other);
      REQUIRE(spelled(*careful) == other);
    }
  }
  CHECK(changed > 100'000);
  CHECK(taken > 1'000);  // a digit for a digit: the walk was not all refusals
  CHECK_FALSE(services::read_usual_fields(EventKind::burn, R"({"job_id":"j","wallet":17})").has_value());
}
