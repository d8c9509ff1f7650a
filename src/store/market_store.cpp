#include "store/market_store.hpp"

#include <algorithm>
#include <initializer_list>

#include "store/octets.hpp"
#include "store/receipt_text.hpp"

namespace calyx::store {
namespace {

static_assert(core::legs_max == 8 && entries_a_milestone == 64, "as the schema says");

Error damaged(const char* table, const std::string& row, const char* what, core::json::Value details) {
  return fail(Reason::corrupt,
              std::string(table) + " row " + row + ": " + what + "; keep the file and run an audit",
              std::move(details));
}
Error damaged(const char* table, std::int64_t row, const char* what) {
  return damaged(table, std::to_string(row), what, core::json::object({{"table", table}, {"row", row}}));
}

/// A column of a row that must hold an integer.
struct Cell {
  int column;
  const char* name;
};

std::string name_of(std::int64_t row) { return std::to_string(row); }
std::string name_of(std::string row) { return row; }

/// SQLite hands out nothing, and words, as 0, and a flipped bit of a row's header makes either of a number:
/// each of `cells` must be an integer. `row()`, a number or words, tells which row of `table` it is.
template <class Row>
Result<Done> check_integers(const Statement& statement, const char* table, Row row,
                            std::initializer_list<Cell> cells) {
  for (const Cell& cell : cells) {
    if (statement.is_integer(cell.column)) continue;
    const auto which = row();
    return damaged(table, name_of(which), (std::string(cell.name) + " is no integer").c_str(),
                   core::json::object({{"table", table}, {"row", which}, {"column", cell.name}}));
  }
  return Done{};
}

// How rows without a number of their own are named.
std::string lock_name(std::string_view job_id, AccountNumber payer) {
  return std::string(job_id).append(" of account ").append(std::to_string(payer));
}
std::string zero_earning_name(AccountNumber host, Seq seq) {
  return std::to_string(host).append(" at event ").append(std::to_string(seq));
}
std::string request_name(AccountNumber scope, std::int64_t kind, std::string_view key) {
  return std::string(key)
      .append(" of account ")
      .append(std::to_string(scope))
      .append(" and kind ")
      .append(std::to_string(kind));
}

Result<core::Digest> digest_column(const Statement& row, int column, const char* table, std::int64_t number) {
  const auto digest = core::digest_of_bytes(chars_of(row.column_blob(column)));
  if (!digest) return damaged(table, number, "a hash is not 32 bytes");
  return *digest;
}

/// The last number that an entry of event `seq` may have.
core::EntryId last_entry_of(Seq seq) noexcept {
  constexpr auto places = static_cast<Seq>(core::legs_max);
  return seq < INT64_MAX / places ? core::entry_id(seq, core::legs_max - 1) : INT64_MAX;
}

/// The seq of the one row that may be found; `row` as `check_integers` takes it.
template <class Row>
Result<std::optional<Seq>> one_seq(Statement& statement, const char* table, Row row) {
  CALYX_TRY(const bool found, statement.step());
  if (!found) return std::optional<Seq>();
  CALYX_CHECK(check_integers(statement, table, row, {{0, "seq"}}));
  return std::optional<Seq>(statement.column_int(0));
}

Result<bool> read_event(Statement& row, EventRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.seq = row.column_int(0);
  out.at = Instant{row.column_int(1)};
  out.kind = static_cast<int>(row.column_int(2));
  if (out.at.us == 0 || out.kind == 0)  // as what is no number reads
    CALYX_CHECK(check_integers(row, "events", [&] { return out.seq; }, {{1, "at_us"}, {2, "kind"}}));
  out.fields = row.column_text(3);
  CALYX_TRY(out.hash, digest_column(row, 4, "events", out.seq));
  return true;
}

Result<bool> read_entry(Statement& row, EntryRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.id = row.column_int(0);
  out.account = row.column_int(1);
  out.amount = Money{row.column_int(2)};
  out.previous = row.column_int(3);
  // There are millions of them, and of these three only the first entry of an account has a 0, as what is no
  // number reads.
  if (out.account == 0 || out.amount.micro == 0 || out.previous == 0)
    CALYX_CHECK(check_integers(row, "entries", [&] { return out.id; },
                               {{1, "account"}, {2, "amount"}, {3, "previous"}}));
  return true;
}

/// The columns are the job's id, the payer, the event and the amount.
Result<bool> read_lock(Statement& row, LockRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out = {row.column_int(1), row.column_int(2), Money{row.column_int(3)}};
  if (out.payer == 0 || out.seq == 0 || out.amount.micro == 0)  // as what is no number reads
    CALYX_CHECK(check_integers(row, "locks", [&] { return lock_name(row.column_text(0), out.payer); },
                               {{1, "payer"}, {2, "seq"}, {3, "amount"}}));
  return true;
}

/// Every row of `statement`, of `table`, until `each` has enough.
Result<Done> each_resolution(Statement& statement, const char* table,
                             const MarketStore::EachResolution& each) {
  const Statement::Run run(statement);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    const ResolutionRow row{run->column_int(0), run->column_int(1), Money{run->column_int(2)},
                            Money{run->column_int(3)}};
    if (row.seq == 0 || row.amount.micro == 0 || row.fee.micro == 0)
      CALYX_CHECK(
          check_integers(*run, table, [&] { return row.lock; }, {{1, "seq"}, {2, "amount"}, {3, "fee"}}));
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}

/// `text` is where the payload is unpacked to.
Result<bool> read_receipt(Statement& row, ReceiptRow& out, std::string& text) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.leaf = row.column_int(0);
  out.seq = row.column_int(1);
  out.key = static_cast<int>(row.column_int(2));
  // As what is no number reads. A market's first key has the place 0, so that one's type is asked alone.
  if (out.seq == 0 || (out.key == 0 && !row.is_integer(2)))
    CALYX_CHECK(check_integers(row, "receipts", [&] { return out.leaf; }, {{1, "seq"}, {2, "key"}}));
  text.clear();
  if (!append_unpacked(text, chars_of(row.column_blob(3))))
    return damaged("receipts", out.leaf, "its payload cannot be unpacked");
  out.payload = text;
  out.signature = chars_of(row.column_blob(4));
  return true;
}

}  // namespace

Result<MarketStore> MarketStore::make(Connection& connection, bool writes) {
  MarketStore store;
  struct Text {
    Statement& statement;
    const char* sql;
    const char* doing;
  };
  const Text write_texts[] = {
      {store.append_event_, "INSERT INTO events(seq, at_us, kind, fields, hash) VALUES(?1, ?2, ?3, ?4, ?5)",
       "appending an event"},
      {store.append_entry_, "INSERT INTO entries(id, account, amount, previous) VALUES(?1, ?2, ?3, ?4)",
       "appending an entry"},
      {store.append_milestone_, "INSERT INTO milestones(account, entry) VALUES(?1, ?2)",
       "appending a milestone"},
      {store.append_lock_, "INSERT INTO locks(job_id, payer, seq, amount) VALUES(?1, ?2, ?3, ?4)",
       "appending a lock"},
      {store.append_resolution_, "INSERT INTO resolutions(lock, seq, amount, fee) VALUES(?1, ?2, ?3, ?4)",
       "ending a lock"},
      {store.append_part_, "INSERT INTO parts(lock, seq, amount, fee) VALUES(?1, ?2, ?3, ?4)",
       "paying one host of several"},
      {store.append_zero_earning_, "INSERT INTO zero_earnings(host, seq) VALUES(?1, ?2)",
       "appending a settlement of nothing"},
      {store.append_key_spend_,
       "INSERT INTO key_spends(block, seq, lock, amount, total) VALUES(?1, ?2, ?3, ?4, ?5)",
       "counting what a derived key spent"},
      {store.append_request_, "INSERT INTO requests(scope, kind, key, seq) VALUES(?1, ?2, ?3, ?4)",
       "keeping a caller's key"},
      {store.append_receipt_,
       "INSERT INTO receipts(leaf, seq, key, payload, signature) VALUES(?1, ?2, ?3, ?4, ?5)",
       "appending a receipt"},
      {store.append_tile_, "INSERT INTO tiles(level, place, hash) VALUES(?1, ?2, ?3)", "keeping a tile"},
      {store.append_checkpoint_, "INSERT INTO checkpoints(size, note) VALUES(?1, ?2)",
       "keeping a checkpoint"},
  };
  const Text read_texts[] = {
      {store.version_, "PRAGMA user_version", "reading the schema's version"},
      {store.schema_, schema_text, "reading the schema"},
      {store.last_seq_, "SELECT max(seq) FROM events", "reading the log's end"},
      {store.find_lock_, "SELECT seq FROM locks WHERE job_id = ?1 AND payer = ?2", "looking up a job"},
      {store.find_locks_, "SELECT payer, seq FROM locks WHERE job_id = ?1 LIMIT 1000", "looking up a job"},
      {store.find_resolution_, "SELECT seq FROM resolutions WHERE lock = ?1", "looking up a lock's end"},
      {store.find_parts_, "SELECT seq FROM parts WHERE lock = ?1 ORDER BY seq", "looking up a lock's hosts"},
      {store.find_request_, "SELECT seq FROM requests WHERE scope = ?1 AND kind = ?2 AND key = ?3",
       "looking up a caller's key"},
      {store.event_, "SELECT seq, at_us, kind, fields, hash FROM events WHERE seq = ?1", "reading an event"},
      {store.receipt_, "SELECT leaf, seq, key, payload, signature FROM receipts WHERE leaf = ?1",
       "reading a receipt"},
      {store.receipt_count_, "SELECT max(leaf) FROM receipts", "reading the receipt log's end"},
      {store.tile_, "SELECT hash FROM tiles WHERE level = ?1 AND place = ?2", "reading a tile"},
      {store.entry_, "SELECT id, account, amount, previous FROM entries WHERE id = ?1", "reading an entry"},
      {store.next_milestone_,
       "SELECT entry FROM milestones WHERE account = ?1 AND entry > ?2 ORDER BY entry LIMIT 1",
       "looking for a milestone"},
      {store.last_checkpoint_, "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1",
       "reading a checkpoint"},
      {store.at_of_, "SELECT at_us FROM events WHERE seq = ?1", "reading an event's time"},
      {store.events_from_, "SELECT seq, at_us, kind, fields, hash FROM events WHERE seq >= ?1 ORDER BY seq",
       "reading events"},
      {store.standing_events_,
       "SELECT seq, at_us, kind, fields, hash FROM events INDEXED BY standing_events WHERE kind >= 32 ORDER "
       "BY seq",
       "reading events"},
      {store.event_of_entry_, "SELECT seq, at_us, kind, fields, hash FROM events WHERE seq = ?1",
       "reading an entry's event"},
      {store.entries_from_, "SELECT id, account, amount, previous FROM entries WHERE id >= ?1 ORDER BY id",
       "reading entries"},
      // `IS NOT`: nothing, which only a damaged row has, is not 0.
      {store.fees_,
       "SELECT lock, fee, 'resolutions' FROM resolutions WHERE fee IS NOT 0 "
       "UNION ALL SELECT lock, fee, 'parts' FROM parts WHERE fee IS NOT 0",
       "summing fees"},
      {store.open_locks_,
       "SELECT job_id, payer, seq, amount FROM locks "
       "WHERE amount IS NOT 0 AND NOT EXISTS (SELECT 1 FROM resolutions WHERE lock = locks.seq)",
       "looking for open locks"},
      {store.receipts_from_,
       "SELECT leaf, seq, key, payload, signature FROM receipts WHERE leaf >= ?1 ORDER BY leaf",
       "reading receipts"},
      {store.all_milestones_, "SELECT account, entry FROM milestones ORDER BY account, entry",
       "reading milestones"},
      {store.all_locks_, "SELECT job_id, payer, seq, amount FROM locks", "reading locks"},
      {store.all_resolutions_, "SELECT lock, seq, amount, fee FROM resolutions ORDER BY lock",
       "reading locks' ends"},
      {store.all_parts_, "SELECT lock, seq, amount, fee FROM parts ORDER BY lock, seq",
       "reading what hosts were paid"},
      {store.zero_earnings_of_, "SELECT seq FROM zero_earnings WHERE host = ?1 AND seq > ?2 ORDER BY seq",
       "reading settlements of nothing"},
      {store.all_zero_earnings_, "SELECT host, seq FROM zero_earnings ORDER BY host, seq",
       "reading settlements of nothing"},
      {store.key_spent_, "SELECT total FROM key_spends WHERE block = ?1 ORDER BY seq DESC LIMIT 1",
       "looking up what a derived key spent"},
      // What came back counts for the hour in which it went out.
      {store.key_spent_since_,
       "SELECT ifnull(sum(amount), 0) FROM key_spends WHERE block = ?1 AND seq >= ?2 AND lock >= ?2",
       "looking up what a derived key spent"},
      {store.all_key_spends_, "SELECT block, seq, lock, amount, total FROM key_spends ORDER BY block, seq",
       "reading what derived keys spent"},
      {store.all_requests_, "SELECT scope, kind, key, seq FROM requests", "reading callers' keys"},
      {store.all_checkpoints_, "SELECT size, note FROM checkpoints ORDER BY size", "reading checkpoints"},
      {store.all_tiles_, "SELECT level, place, hash FROM tiles ORDER BY level, place", "reading tiles"},
  };
  if (writes)
    for (const Text& text : write_texts) {
      CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
    }
  for (const Text& text : read_texts) {
    CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
  }
  CALYX_TRY(store.jobs_, JobStore::make(connection, writes));
  CALYX_TRY(store.projects_, ProjectStore::make(connection, writes));
  CALYX_TRY(store.feedback_, FeedbackStore::make(connection, writes));
  CALYX_TRY(store.webhooks_, WebhookStore::make(connection, writes));
  CALYX_TRY(store.artifacts_, ArtifactStore::make(connection, writes));
  CALYX_TRY(store.payments_, PaymentStore::make(connection, writes));
  CALYX_TRY(store.nonces_, NonceStore::make(connection, writes));
  return store;
}

Result<Done> MarketStore::append_event(Seq seq, Instant at, int kind, std::string_view fields,
                                       const core::Digest& hash) {
  const Statement::Run run(append_event_);
  return run->bind(1, seq).bind(2, at.us).bind(3, kind).bind(4, fields).bind(5, octets_of(hash)).execute();
}

// Row by row: for a statement of several rows SQLite keeps a copy of each page that it writes, so that it
// could undo the half of it.
Result<Done> MarketStore::append_entry(const EntryRow& row) {
  const Statement::Run run(append_entry_);
  return run->bind(1, row.id).bind(2, row.account).bind(3, row.amount.micro).bind(4, row.previous).execute();
}
Result<Done> MarketStore::append_milestone(AccountNumber account, core::EntryId entry) {
  const Statement::Run run(append_milestone_);
  return run->bind(1, account).bind(2, entry).execute();
}

Result<Done> MarketStore::append_lock(std::string_view job_id, const LockRow& row) {
  const Statement::Run run(append_lock_);
  return run->bind(1, job_id).bind(2, row.payer).bind(3, row.seq).bind(4, row.amount.micro).execute();
}
Result<Done> MarketStore::append_resolution(const ResolutionRow& row) {
  const Statement::Run run(append_resolution_);
  return run->bind(1, row.lock).bind(2, row.seq).bind(3, row.amount.micro).bind(4, row.fee.micro).execute();
}
Result<Done> MarketStore::append_part(const ResolutionRow& row) {
  const Statement::Run run(append_part_);
  return run->bind(1, row.lock).bind(2, row.seq).bind(3, row.amount.micro).bind(4, row.fee.micro).execute();
}
Result<Done> MarketStore::append_zero_earning(AccountNumber host, Seq seq) {
  const Statement::Run run(append_zero_earning_);
  return run->bind(1, host).bind(2, seq).execute();
}
Result<Done> MarketStore::append_key_spend(const KeySpendRow& row) {
  const Statement::Run run(append_key_spend_);
  return run->bind(1, octets_of(row.block))
      .bind(2, row.seq)
      .bind(3, row.lock)
      .bind(4, row.amount.micro)
      .bind(5, row.total.micro)
      .execute();
}
Result<Done> MarketStore::append_request(AccountNumber scope, RequestKind kind, std::string_view key,
                                         Seq seq) {
  const Statement::Run run(append_request_);
  return run->bind(1, scope).bind(2, static_cast<int>(kind)).bind(3, key).bind(4, seq).execute();
}
Result<Done> MarketStore::append_receipt(const ReceiptRow& row) {
  const Statement::Run run(append_receipt_);
  return run->bind(1, row.leaf)
      .bind(2, row.seq)
      .bind(3, row.key)
      .bind(4, octets_of(row.payload))
      .bind(5, octets_of(row.signature))
      .execute();
}
Result<Done> MarketStore::append_tile(unsigned level, std::uint64_t index, const core::Digest& hash) {
  const Statement::Run run(append_tile_);
  return run->bind(1, level).bind(2, static_cast<std::int64_t>(index)).bind(3, octets_of(hash)).execute();
}
Result<Done> MarketStore::append_checkpoint(std::uint64_t size, std::string_view note) {
  const Statement::Run run(append_checkpoint_);
  return run->bind(1, static_cast<std::int64_t>(size)).bind(2, note).execute();
}

Result<std::string> MarketStore::schema_fault() {
  {
    const Statement::Run version(version_);
    CALYX_TRY(const bool row, version->step());
    if (row && version->column_int(0) > schema_version) return std::string();
  }
  const Statement::Run run(schema_);
  return schema_difference(*run);
}
Result<Seq> MarketStore::last_seq() {
  const Statement::Run run(last_seq_);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}
Result<std::optional<Seq>> MarketStore::find_lock(std::string_view job_id, AccountNumber payer) {
  const Statement::Run run(find_lock_);
  run->bind(1, job_id).bind(2, payer);
  return one_seq(*run, "locks", [&] { return lock_name(job_id, payer); });
}
Result<std::vector<LockRow>> MarketStore::find_locks(std::string_view job_id) {
  const Statement::Run run(find_locks_);
  run->bind(1, job_id);
  std::vector<LockRow> rows;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return rows;
    CALYX_CHECK(check_integers(*run, "locks", [&] { return lock_name(job_id, run->column_int(0)); },
                               {{0, "payer"}, {1, "seq"}}));
    rows.push_back({.payer = run->column_int(0), .seq = run->column_int(1)});
  }
}
Result<std::optional<Seq>> MarketStore::find_resolution(Seq lock) {
  const Statement::Run run(find_resolution_);
  run->bind(1, lock);
  return one_seq(*run, "resolutions", [&] { return lock; });
}
Result<Money> MarketStore::key_spent(const core::Digest& block) {
  const Statement::Run run(key_spent_);
  run->bind(1, octets_of(block));
  CALYX_TRY(const bool found, run->step());
  if (!found) return Money{};
  CALYX_CHECK(check_integers(*run, "key_spends", [&] { return core::hex(block); }, {{0, "total"}}));
  return Money{run->column_int(0)};
}
Result<Money> MarketStore::key_spent_since(const core::Digest& block, Seq first) {
  const Statement::Run run(key_spent_since_);
  run->bind(1, octets_of(block)).bind(2, first);
  CALYX_TRY(const bool found, run->step());
  if (!found) return Money{};
  CALYX_CHECK(check_integers(*run, "key_spends", [&] { return core::hex(block); }, {{0, "amount"}}));
  return Money{run->column_int(0)};
}
Result<std::vector<Seq>> MarketStore::find_parts(Seq lock) {
  const Statement::Run run(find_parts_);
  run->bind(1, lock);
  std::vector<Seq> out;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return out;
    CALYX_CHECK(check_integers(*run, "parts", [&] { return lock; }, {{0, "seq"}}));
    out.push_back(run->column_int(0));
  }
}
Result<std::optional<Seq>> MarketStore::find_request(AccountNumber scope, RequestKind kind,
                                                     std::string_view key) {
  const Statement::Run run(find_request_);
  run->bind(1, scope).bind(2, static_cast<int>(kind)).bind(3, key);
  return one_seq(*run, "requests", [&] { return request_name(scope, static_cast<int>(kind), key); });
}

Result<std::optional<MarketStore::OwnedEvent>> MarketStore::event(Seq seq) {
  const Statement::Run run(event_);
  run->bind(1, seq);
  EventRow row;
  CALYX_TRY(const bool found, read_event(*run, row));
  if (!found) return std::optional<OwnedEvent>();
  return std::optional<OwnedEvent>(OwnedEvent{row.seq, row.at, row.kind, std::string(row.fields), row.hash});
}
Result<std::optional<MarketStore::OwnedReceipt>> MarketStore::receipt(std::int64_t leaf) {
  const Statement::Run run(receipt_);
  run->bind(1, leaf);
  ReceiptRow row;
  CALYX_TRY(const bool found, read_receipt(*run, row, receipt_text_));
  if (!found) return std::optional<OwnedReceipt>();
  return std::optional<OwnedReceipt>(
      OwnedReceipt{row.leaf, row.seq, row.key, std::string(row.payload), std::string(row.signature)});
}
Result<std::uint64_t> MarketStore::receipt_count() {
  const Statement::Run run(receipt_count_);
  CALYX_TRY(const bool row, run->step());
  if (!row || run->is_null(0)) return std::uint64_t{0};
  return static_cast<std::uint64_t>(run->column_int(0) + 1);
}
Result<std::optional<core::Digest>> MarketStore::tile(unsigned level, std::uint64_t index) {
  const Statement::Run run(tile_);
  run->bind(1, level).bind(2, static_cast<std::int64_t>(index));
  CALYX_TRY(const bool row, run->step());
  if (!row) return std::optional<core::Digest>();
  CALYX_TRY(const core::Digest hash, digest_column(*run, 0, "tiles", static_cast<std::int64_t>(index)));
  return std::optional<core::Digest>(hash);
}
template <class Each>
Result<Done> MarketStore::walk_back(AccountNumber account, core::EntryId last, core::EntryId after,
                                    Each each) {
  for (core::EntryId id = last; id > after;) {
    const Statement::Run run(entry_);
    run->bind(1, id);
    EntryRow row;
    CALYX_TRY(const bool found, read_entry(*run, row));
    if (!found) return damaged("entries", id, "it is missing");
    if (row.account != account) return damaged("entries", id, "it is of another account");
    if (row.previous >= id) return damaged("entries", id, "it names no entry before it");
    each(row);
    id = row.previous;
  }
  return Done{};
}
Result<core::EntryId> MarketStore::next_milestone(AccountNumber account, core::EntryId after,
                                                  core::EntryId last) {
  const Statement::Run run(next_milestone_);
  run->bind(1, account).bind(2, after);
  CALYX_TRY(const bool found, run->step());
  return found ? std::min(run->column_int(0), last) : last;
}

Result<Money> MarketStore::sum_of(AccountNumber account, core::EntryId last, Seq after) {
  std::optional<Money> sum = Money{};
  CALYX_CHECK(walk_back(account, last, last_entry_of(after),
                        [&](const EntryRow& row) { sum = sum ? core::plus(*sum, row.amount) : sum; }));
  if (!sum) return damaged("entries", last, "its account's sum is beyond 2^63 micro-FLOPS");
  return *sum;
}
Result<std::optional<MarketStore::OwnedCheckpoint>> MarketStore::last_checkpoint() {
  const Statement::Run run(last_checkpoint_);
  CALYX_TRY(const bool row, run->step());
  if (!row) return std::optional<OwnedCheckpoint>();
  return std::optional<OwnedCheckpoint>(
      OwnedCheckpoint{static_cast<std::uint64_t>(run->column_int(0)), std::string(run->column_text(1))});
}

Result<Seq> MarketStore::first_after(Instant at) {
  // Time never runs back along the log, so the place is found by halving.
  CALYX_TRY(const Seq last, last_seq());
  Seq low = 1, high = last + 1;
  while (low < high) {
    const Seq middle = low + (high - low) / 2;
    const Statement::Run run(at_of_);
    run->bind(1, middle);
    CALYX_TRY(const bool row, run->step());
    if (!row) return damaged("events", middle, "it is missing");
    CALYX_CHECK(check_integers(*run, "events", [&] { return middle; }, {{0, "at_us"}}));
    if (run->column_int(0) > at.us)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

Result<Done> MarketStore::events_from(Seq from, const EachEvent& each) {
  const Statement::Run run(events_from_);
  run->bind(1, from);
  EventRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_event(*run, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::standing_events(const EachEvent& each) {
  const Statement::Run run(standing_events_);
  EventRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_event(*run, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::entries_of(AccountNumber account, core::EntryId last, Seq after,
                                     const EachEntryOf& each) {
  std::vector<EntryRow> newest_first;
  for (core::EntryId passed = last_entry_of(after); passed < last;) {
    CALYX_TRY(const core::EntryId end, next_milestone(account, passed, last));
    newest_first.clear();
    CALYX_CHECK(walk_back(account, end, passed, [&](const EntryRow& row) { newest_first.push_back(row); }));
    for (auto entry = newest_first.rbegin(); entry != newest_first.rend(); ++entry) {
      const Statement::Run run(event_of_entry_);
      run->bind(1, core::event_of(entry->id));
      EventRow row;
      CALYX_TRY(const bool found, read_event(*run, row));
      if (!found) return damaged("events", core::event_of(entry->id), "it is missing");
      CALYX_TRY(const bool go_on, each(entry->amount, row));
      if (!go_on) return Done{};
    }
    passed = end;
  }
  return Done{};
}
Result<Done> MarketStore::entries_from(core::EntryId from, const EachEntry& each) {
  const Statement::Run run(entries_from_);
  run->bind(1, from);
  EntryRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_entry(*run, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Money> MarketStore::sum_of_fees() {
  const Statement::Run run(fees_);
  Money sum;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return sum;
    const Seq lock = run->column_int(0);
    const auto table = [&] { return std::string(run->column_text(2)); };
    if (run->column_int(1) == 0)
      CALYX_CHECK(check_integers(*run, table().c_str(), [&] { return lock; }, {{1, "fee"}}));
    const std::optional<Money> next = core::plus(sum, Money{run->column_int(1)});
    if (!next) return damaged(table().c_str(), lock, "the fees' sum is beyond 2^63 micro-FLOPS");
    sum = *next;
  }
}
Result<Done> MarketStore::open_locks(const EachOpenLock& each) {
  const Statement::Run run(open_locks_);
  LockRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_lock(*run, row));
    if (!more) return Done{};
    CALYX_CHECK(each(row.seq, row.amount));
  }
}
Result<Done> MarketStore::receipts_from(std::int64_t leaf, const EachReceipt& each) {
  const Statement::Run run(receipts_from_);
  run->bind(1, leaf);
  ReceiptRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_receipt(*run, row, receipt_text_));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_locks(const EachLock& each) {
  const Statement::Run run(all_locks_);
  LockRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_lock(*run, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(run->column_text(0), row));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_resolutions(const EachResolution& each) {
  return each_resolution(all_resolutions_, "resolutions", each);
}
Result<Done> MarketStore::all_parts(const EachResolution& each) {
  return each_resolution(all_parts_, "parts", each);
}
Result<Done> MarketStore::all_milestones(const EachMilestone& each) {
  const Statement::Run run(all_milestones_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(run->column_int(0), run->column_int(1)));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::zero_earnings_of(AccountNumber host, Seq after, const EachSeq& each) {
  const Statement::Run run(zero_earnings_of_);
  run->bind(1, host).bind(2, after);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_CHECK(check_integers(*run, "zero_earnings",
                               [&] { return zero_earning_name(host, run->column_int(0)); }, {{0, "seq"}}));
    CALYX_TRY(const bool go_on, each(run->column_int(0)));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_zero_earnings(const EachZeroEarning& each) {
  const Statement::Run run(all_zero_earnings_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_CHECK(check_integers(*run, "zero_earnings",
                               [&] { return zero_earning_name(run->column_int(0), run->column_int(1)); },
                               {{0, "host"}, {1, "seq"}}));
    CALYX_TRY(const bool go_on, each(run->column_int(0), run->column_int(1)));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_key_spends(const EachKeySpend& each) {
  const Statement::Run run(all_key_spends_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    KeySpendRow row{.block = {},
                    .seq = run->column_int(1),
                    .lock = run->column_int(2),
                    .amount = Money{run->column_int(3)},
                    .total = Money{run->column_int(4)}};
    CALYX_CHECK(check_integers(*run, "key_spends", [&] { return row.seq; },
                               {{1, "seq"}, {2, "lock"}, {3, "amount"}, {4, "total"}}));
    CALYX_TRY(row.block, digest_column(*run, 0, "key_spends", row.seq));
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_requests(const EachRequest& each) {
  const Statement::Run run(all_requests_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    const std::int64_t kind = run->column_int(1);
    CALYX_CHECK(check_integers(*run, "requests",
                               [&] { return request_name(run->column_int(0), kind, run->column_text(2)); },
                               {{0, "scope"}, {1, "kind"}, {3, "seq"}}));
    if (kind != static_cast<int>(RequestKind::idempotency_key) &&
        kind != static_cast<int>(RequestKind::topup_reference))
      return damaged("requests", run->column_int(3), "a kind is neither 1 nor 2");
    CALYX_TRY(const bool go_on, each(run->column_int(0), static_cast<RequestKind>(kind), run->column_text(2),
                                     run->column_int(3)));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_checkpoints(const EachCheckpoint& each) {
  const Statement::Run run(all_checkpoints_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(static_cast<std::uint64_t>(run->column_int(0)), run->column_text(1)));
    if (!go_on) return Done{};
  }
}
Result<Done> MarketStore::all_tiles(const EachTile& each) {
  const Statement::Run run(all_tiles_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_CHECK(
        check_integers(*run, "tiles", [&] { return run->column_int(1); }, {{0, "level"}, {1, "place"}}));
    CALYX_TRY(const core::Digest hash, digest_column(*run, 2, "tiles", run->column_int(1)));
    CALYX_TRY(const bool go_on, each(static_cast<unsigned>(run->column_int(0)),
                                     static_cast<std::uint64_t>(run->column_int(1)), hash));
    if (!go_on) return Done{};
  }
}

}  // namespace calyx::store
