// What somebody with the file in an editor can do to it, and what the audit then says.
//
// A file is judged with an anchor: the receipt of the last settlement, which its holder kept. What the audit
// passes must be benign: everything that calyx reads is the same as before. The counts are printed by kind.

#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/core/receipt.hpp>
#include <calyx/engine.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>

#include "crypto/sha256.hpp"
#include "services/audit.hpp"
#include "services/events.hpp"
#include "services/raw.hpp"
#include "store/receipt_text.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::Edit;
using testing::Raw;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t flops = core::micro_per_flops;
constexpr int job_of_nothing = 8;  // it comes to nothing, so that its host has no entry
constexpr const char* tables[] = {"events",      "entries",  "milestones",    "locks",
                                  "resolutions", "parts",    "zero_earnings", "key_spends",
                                  "requests",    "receipts", "tiles",         "checkpoints"};

int rounds(int usual) { return testing::by_scale(usual / 8, usual, 20 * usual); }

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void put_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// The market's files in memory: the database, and the log that is not yet in it.
struct Files {
  std::string db, wal, keys;

  static Files of(const std::string& path) {
    return {bytes_of(path), fs::exists(path + "-wal") ? bytes_of(path + "-wal") : std::string(),
            fs::exists(path + "-keys") ? bytes_of(path + "-keys") : std::string()};
  }
  void put(const std::string& path) const {
    for (const char* suffix : {"-wal", "-shm", "-gate", "-keys"}) fs::remove(path + suffix);
    put_bytes(path, db);
    if (!wal.empty()) put_bytes(path + "-wal", wal);
    if (keys.empty()) return;
    put_bytes(path + "-keys", keys);
    fs::permissions(path + "-keys", fs::perms::owner_read | fs::perms::owner_write);
  }
};

/// A market that settles jobs: a checkpoint and a tile are in it, and its last call is a settlement.
class Jobs {
 public:
  explicit Jobs(const std::string& path) : file(path) {
    engine.emplace(Engine::open({.path = file, .now_us = [this] { return us += 1'000; }}).value());
    Session all = engine->as_operator();
    const WalletCreated alice =
        all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice", .idempotency_key = "w-1"})
            .value();
    payer = alice.wallet.id;
    key = derive_key(derive_key(alice.api_key, {}).value(), {.budget = Money{5'000 * flops}}).value();
    host = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "bob"}).value().wallet.id;
    all.topup({.wallet = payer, .amount = Money{5'000 * flops}, .reference = "r-1", .idempotency_key = "t-1"})
        .value();
  }

  /// Settles `count` more jobs, `each` in a commit.
  void settle(int count, int each) {
    Session all = engine->as_operator();
    Session derived = engine->session(key).value();
    while (count > 0) {
      std::vector<Operation> operations;
      for (int i = 0; i < each && count > 0; ++i, --count) {
        const std::string job = "job-" + std::to_string(jobs);
        const Money gross{jobs++ == job_of_nothing ? 0 : 3'230'000};
        const Spend spend{.wallet = payer, .job_id = job, .amount = Money{4 * flops}, .host_wallet = host};
        // A few with a derived key, so that rows of those are there.
        if (jobs % 16 == 3)
          derived.spend(spend).value();
        else
          operations.push_back(spend);
        operations.push_back(Earn{
            .host = host, .job_id = job, .gross_amount = gross, .gpu_model = "A100", .duration_seconds = 42});
      }
      const std::vector<Outcome> outcomes = all.bulk(operations).value();
      REQUIRE(std::holds_alternative<Earned>(outcomes.back()));
      last = std::get<Earned>(outcomes.back()).receipt;
    }
  }
  /// The last receipt, as its holder keeps it.
  Anchor receipt() { return engine->as_operator().receipt(last).value().jws; }
  Anchor checkpoint() { return engine->as_operator().checkpoint().value(); }

  std::string file;
  std::int64_t us = 1'775'000'000'000'000;
  std::optional<Engine> engine;
  WalletId payer, host;
  std::string key;
  ReceiptId last;
  int jobs = 0;
};

/// Moves the log into the database file, so that this is all there is.
void fold_log(const std::string& path) {
  Raw raw(path);
  raw.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

struct Logical {
  std::optional<std::string> rows;    ///< All that stands in calyx's tables.
  std::optional<std::string> schema;  ///< How they are described.
  bool sound = false;                 ///< SQLite's own check of its trees found nothing.
  bool operator==(const Logical& other) const { return rows && rows == other.rows; }
};
Logical read_all(const std::string& path) {
  Raw raw(path);
  Logical out;
  out.rows = "";
  for (const char* table : tables) {
    const auto rows = raw.all_of("SELECT * FROM " + std::string(table));
    if (!rows) return out.rows.reset(), out;
    *out.rows += *rows;
  }
  out.schema = raw.all_of("SELECT type, name, tbl_name, sql FROM sqlite_schema");
  out.sound = raw.all_of("PRAGMA integrity_check") == std::optional<std::string>("32:ok\n");
  return out;
}

/// What becomes of a file: refused when it is opened, found by the audit, or passed.
struct Verdict {
  enum class Kind { refused, found, passed } kind = Kind::passed;
  std::string line;
};
Verdict judge_file(const std::string& path, const Anchor& anchor, AuditDepth depth = AuditDepth::covered) {
  const auto audited = [&]() -> Result<AuditReport> {
    CALYX_TRY(store::Connection connection, store::Connection::open({.path = path, .create = false}));
    CALYX_CHECK(store::migrate(connection, true));
    CALYX_TRY(store::MarketStore store, store::MarketStore::make(connection, false));
    CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(connection));
    static_cast<void>(snapshot);
    return services::audit(store, anchor, depth);
  }();
  if (!audited.ok()) return {Verdict::Kind::refused, audited.error().message};
  if (!audited->ok) return {Verdict::Kind::found, audited->first_fault};
  return {Verdict::Kind::passed, {}};
}

void print_counts(const std::string& title, const std::map<std::string, int>& counts) {
  for (const auto& [kind, count] : counts)
    testing::told(title + " " + kind, static_cast<std::uint64_t>(count));
}

}  // namespace

TEST_CASE("a flipped bit in the database is found, or nothing that is read has changed") {
  const store::Scratch scratch;
  Anchor anchor;
  Files whole;
  {
    Jobs jobs(scratch / "market.db");
    jobs.settle(400, 20);  // so that rows outweigh the pages of tables that are empty here
    anchor = jobs.receipt();
    jobs.engine.reset();
    fold_log(jobs.file);
    whole = Files::of(jobs.file);
  }
  REQUIRE(whole.wal.empty());
  const std::string copy = scratch / "copy.db";
  whole.put(copy);
  REQUIRE(judge_file(copy, anchor).kind == Verdict::Kind::passed);
  const Logical before = read_all(copy);
  REQUIRE(before.sound);

  std::mt19937_64 random(20'261'123);
  std::map<std::string, int> counts;
  const int flips = rounds(600);
  for (int i = 0; i < flips; ++i) {
    const std::size_t bit = random() % (whole.db.size() * 8);
    CAPTURE(bit);
    Files flipped = whole;
    flipped.db[bit / 8] = static_cast<char>(flipped.db[bit / 8] ^ (1 << bit % 8));
    flipped.put(copy);
    const Verdict verdict = judge_file(copy, anchor);
    if (verdict.kind != Verdict::Kind::passed) {
      ++counts[verdict.kind == Verdict::Kind::refused ? "detected: refused at opening"
                                                      : "detected: named by the audit"];
      continue;
    }
    const Logical after = read_all(copy);
    if (after.rows && *after.rows != *before.rows) {
      const auto at = static_cast<std::size_t>(
          std::mismatch(after.rows->begin(), after.rows->end(), before.rows->begin(), before.rows->end())
              .first -
          after.rows->begin());
      MESSAGE(before.rows->substr(at - std::min<std::size_t>(at, 60), 120), " became ",
              after.rows->substr(at - std::min<std::size_t>(at, 60), 120));
    }
    CHECK(after == before);  // else something that calyx reads was changed behind its back
    if (after.schema != before.schema)
      ++counts["benign: the wording of the tables or triggers, which hold the same rows"];
    else if (after.sound)
      ++counts["benign: bytes that no row uses"];
    else if (judge_file(copy, anchor, AuditDepth::each).kind != Verdict::Kind::passed)
      ++counts["detected at AuditDepth::each alone: rows read alike, a search goes astray"];
    else
      ++counts["benign: SQLite's housekeeping, rows and searches alike"];
  }
  print_counts("flips in the database:", counts);
  CHECK(counts["detected: named by the audit"] > flips / 2);
}

TEST_CASE("a flipped bit in the log that was not folded in yet takes commits away, and the anchor tells") {
  const store::Scratch scratch;
  Jobs jobs(scratch / "market.db");
  jobs.settle(20, 20);
  jobs.engine.reset();
  fold_log(jobs.file);
  jobs.engine.emplace(Engine::open({.path = jobs.file, .now_us = [&] { return jobs.us += 1'000; }}).value());
  jobs.settle(60, 5);
  const Anchor anchor = jobs.receipt();
  const Files whole = Files::of(jobs.file);
  REQUIRE(whole.wal.size() > 10'000);
  const std::string copy = scratch / "copy.db";
  whole.put(copy);
  REQUIRE(judge_file(copy, anchor).kind == Verdict::Kind::passed);
  const Logical before = read_all(copy);

  std::mt19937_64 random(20'261'124);
  std::map<std::string, int> counts;
  for (int i = 0, flips = rounds(300); i < flips; ++i) {
    const std::size_t bit = random() % (whole.wal.size() * 8);
    CAPTURE(bit);
    Files flipped = whole;
    flipped.wal[bit / 8] = static_cast<char>(flipped.wal[bit / 8] ^ (1 << bit % 8));
    flipped.put(copy);
    const Verdict verdict = judge_file(copy, anchor);
    if (verdict.kind == Verdict::Kind::refused) {
      ++counts["detected: refused at opening"];
    } else if (verdict.kind == Verdict::Kind::found) {
      const bool older = verdict.line.find("the file is older than the anchor") == 0;
      ++counts[older ? "detected: older than the anchor" : "detected: named by the audit"];
      // Without the anchor most of these files look sound: SQLite just stops at the first bad frame.
      if (older) CHECK(judge_file(copy, {}).kind == Verdict::Kind::passed);
    } else {
      CHECK(read_all(copy) == before);
      ++counts["benign: frames beyond the last commit"];
    }
  }
  print_counts("flips in the log:", counts);
  CHECK(counts["detected: older than the anchor"] > 0);
}

TEST_CASE("what was taken away, put back or replaced is told by a receipt or a checkpoint that was kept") {
  const store::Scratch scratch;
  Jobs jobs(scratch / "market.db");
  jobs.settle(10, 5);
  const Files old = Files::of(jobs.file);
  const std::string old_events = std::to_string(jobs.engine->as_operator().audit().value().seq);
  jobs.settle(260, 20);
  const Anchor receipt = jobs.receipt(), checkpoint = jobs.checkpoint();
  const Files whole = Files::of(jobs.file);
  jobs.engine.reset();
  Files folded;
  {
    fold_log(jobs.file);
    folded = Files::of(jobs.file);
  }
  REQUIRE_FALSE(old.wal.empty());

  // Another market with the same story, made by somebody who has none of the keys.
  Jobs forger(scratch / "forged.db");
  forger.settle(270, 20);
  forger.engine.reset();
  fold_log(forger.file);
  const Files forged = Files::of(forger.file);

  const auto edited = [&](const std::function<void(Raw&)>& edit) {
    const std::string path = scratch / "edit.db";
    folded.put(path);
    {
      Edit raw(path);
      edit(raw);
      raw.run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    return Files::of(path);
  };
  const auto cut_after = [&](const std::string& seq) {
    return edited([&](Raw& raw) {
      for (const char* table :
           {"locks", "resolutions", "parts", "zero_earnings", "key_spends", "requests", "receipts", "events"})
        raw.run("DELETE FROM " + std::string(table) + " WHERE seq > " + seq);
      raw.run("DELETE FROM entries WHERE id / 8 > " + seq);
      raw.run("DELETE FROM milestones WHERE entry / 8 > " + seq);
      raw.run("DELETE FROM tiles");
      raw.run("DELETE FROM checkpoints");
    });
  };
  Files wal_gone = whole;
  wal_gone.db = old.db;  // as a disk holds it when the log was never folded in
  wal_gone.wal.clear();

  struct Row {
    const char* says;
    Files files;
    bool looks_sound;  ///< Without an anchor nothing is wrong with it: it is a market's honest past.
    const char* by_receipt;
    const char* by_checkpoint;
  };
  const char* const older = "the file is older than the anchor";
  const char* const stranger = "anchor: no key of this market signed it";
  const Row rows[] = {
      {"nothing was done", folded, true, "", ""},
      {"an old copy is put back", old, true, older, older},
      {"the last events are deleted, with all that followed from them", cut_after(old_events), true, older,
       older},
      {"another market stands in its place", forged, true, stranger, stranger},
      {"only the last event is deleted",
       edited([](Raw& raw) { raw.run("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"); }),
       false, "receipt 269: no event settles it", "receipt 269: no event settles it"},
      {"an event's amount and its entries are edited, and the sums stay", edited([](Raw& raw) {
         raw.run("UPDATE events SET fields = replace(fields, '5000.00', '6000.00')");
         raw.run("UPDATE entries SET amount = amount / 5 * 6 WHERE abs(amount) = 5000000000");
       }),
       false, "event ", "event "},
      {"a settlement that paid its host nothing loses its row",
       edited([](Raw& raw) { raw.run("DELETE FROM zero_earnings"); }), false,
       "zero_earnings: account 17 at event ", "zero_earnings: account 17 at event "},
      {"the log's own tail is cut from all receipts",
       edited([](Raw& raw) { raw.run("DELETE FROM receipts WHERE leaf > 255"); }), false,
       "receipt 256: is missing", "receipt 256: is missing"},
  };
  const std::string copy = scratch / "copy.db";
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    for (const auto& [anchor, expected] :
         {std::pair(Anchor(), row.looks_sound ? "" : row.by_receipt), std::pair(receipt, row.by_receipt),
          std::pair(checkpoint, row.by_checkpoint)}) {
      // As its owner would: through an engine, with the key file beside the market.
      row.files.put(copy);
      Result<Engine> engine = Engine::open({.path = copy, .now_us = [&] { return jobs.us; }});
      if (!engine.ok()) {
        CHECK_FALSE(row.looks_sound);
        CHECK(engine.error().status() == Status::corrupt);
        row.files.put(copy);
        const Verdict verdict = judge_file(copy, anchor);
        CHECK(verdict.line.substr(0, std::string(expected).size()) == expected);
        continue;
      }
      const Result<AuditReport> report = engine->as_operator().audit(anchor);
      REQUIRE(report.ok());
      CHECK(report->ok == std::string(expected).empty());
      CHECK(report->first_fault.substr(0, std::string(expected).size()) == expected);
    }
  }

  // A log that is deleted takes the whole young market with it: an empty file, which is no market yet.
  wal_gone.put(copy);
  const Verdict gone = judge_file(copy, receipt);
  CHECK(gone.kind != Verdict::Kind::passed);
}

TEST_CASE("a deleted log is an old copy by another name") {
  const store::Scratch scratch;
  Jobs jobs(scratch / "market.db");
  jobs.settle(20, 20);
  jobs.engine.reset();
  fold_log(jobs.file);
  jobs.engine.emplace(Engine::open({.path = jobs.file, .now_us = [&] { return jobs.us += 1'000; }}).value());
  jobs.settle(5, 1);
  const Anchor receipt = jobs.receipt(), checkpoint = jobs.checkpoint();
  Files files = Files::of(jobs.file);
  REQUIRE_FALSE(files.wal.empty());
  files.wal.clear();
  const std::string copy = scratch / "copy.db";
  files.put(copy);
  Engine engine = Engine::open({.path = copy}).value();
  CHECK(engine.as_operator().audit().value().ok);
  CHECK(engine.as_operator().audit(checkpoint).value().first_fault ==
        "the file is older than the anchor: it has 20 receipts, the anchor 25");
  const std::string by_receipt = engine.as_operator().audit(receipt).value().first_fault;
  CHECK(by_receipt.substr(0, 48) == "the file is older than the anchor: it ends at ev");
}

TEST_CASE("a chain that its owner made anew from one edit on does not fit the receipts that others hold") {
  const store::Scratch scratch;
  Jobs jobs(scratch / "market.db");
  jobs.settle(30, 10);
  jobs.engine->as_operator()
      .topup({.wallet = jobs.payer, .amount = Money{7 * flops}, .reference = "after-all-receipts"})
      .value();
  const Anchor receipt = jobs.receipt(), checkpoint = jobs.checkpoint();
  jobs.engine.reset();
  fold_log(jobs.file);
  const Files whole = Files::of(jobs.file);
  const std::string copy = scratch / "copy.db";

  // Replaces `from` by `to` in the fields of one event, in its entries, and makes every hash after it anew.
  const auto rewrite = [&](std::int64_t seq, const std::string& from, const std::string& to,
                           std::int64_t micro_from, std::int64_t micro_to, bool receipts_too) {
    whole.put(copy);
    std::vector<std::string> updates;
    {
      auto connection = store::Connection::open({.path = copy, .create = false}).value();
      auto store = store::MarketStore::make(connection, false).value();
      core::Digest prev;
      std::string scratch_text;
      std::map<std::string, std::string> heads;  // the hashes that change, and what they become
      const Result<Done> walked = store.events_from(1, [&](const store::EventRow& row) -> Result<bool> {
        std::string fields(row.fields);
        if (row.seq == seq) {
          const std::size_t at = fields.find(from);
          REQUIRE(at != std::string::npos);
          fields.replace(at, from.size(), to);
          updates.push_back("UPDATE events SET fields = '" + fields + "' WHERE seq = " + std::to_string(seq));
        }
        const auto kind = static_cast<core::EventKind>(row.kind);
        if (row.seq == 1)
          prev = crypto::Sha256{}(
              std::get<services::MarketCreated>(services::read_fields(kind, row.fields).value()).market);
        const core::EventHead head{.seq = row.seq, .at = row.at, .kind = kind, .prev = prev};
        prev = core::event_hash(crypto::Sha256{}, head, fields, scratch_text);
        if (prev == row.hash) return true;
        updates.push_back("UPDATE events SET hash = x'" + core::hex(prev) +
                          "' WHERE seq = " + std::to_string(row.seq));
        heads[core::hex(row.hash)] = core::hex(prev);
        return true;
      });
      REQUIRE(walked.ok());
      const Result<Done> receipts = store.receipts_from(0, [&](const store::ReceiptRow& row) -> Result<bool> {
        std::string payload(row.payload);
        const std::string word = R"("head":")";
        const std::size_t at = payload.find(word) + word.size();
        const auto other = heads.find(payload.substr(at, 64));
        if (!receipts_too || other == heads.end()) return true;
        payload.replace(at, 64, other->second);
        std::string packed;
        store::append_packed(packed, payload);
        updates.push_back("UPDATE receipts SET payload = x'" + core::hex(packed) +
                          "' WHERE leaf = " + std::to_string(row.leaf));
        return true;
      });
      REQUIRE(receipts.ok());
    }
    Edit raw(copy);
    for (const std::string& update : updates) raw.run(update);
    for (const int sign : {1, -1})
      raw.run("UPDATE entries SET amount = " + std::to_string(sign * micro_to) + " WHERE id / 8 = " +
              std::to_string(seq) + " AND amount = " + std::to_string(sign * micro_from));
  };
  std::int64_t first_topup = 0, last_topup = 0;
  {
    whole.put(copy);
    auto connection = store::Connection::open({.path = copy, .create = false}).value();
    auto store = store::MarketStore::make(connection, false).value();
    first_topup = store.find_request(0, store::RequestKind::idempotency_key, "t-1").value().value();
    last_topup = store.last_seq().value();
  }

  rewrite(first_topup, "5000.00", "6000.00", 5'000 * flops, 6'000 * flops, false);
  CHECK(judge_file(copy, {}).line.find("receipt 0: does not say what event ") == 0);

  rewrite(first_topup, "5000.00", "6000.00", 5'000 * flops, 6'000 * flops, true);
  CHECK(judge_file(copy, {}).line == "receipt 0: signature");
  CHECK(judge_file(copy, receipt).line == "receipt 0: signature");

  // An anchor vouches for what is before it and for no more: keep the newest.
  rewrite(last_topup, "7.00", "9.00", 7 * flops, 9 * flops, true);
  CHECK(judge_file(copy, receipt).kind == Verdict::Kind::passed);
  CHECK(judge_file(copy, checkpoint).kind == Verdict::Kind::passed);
}
