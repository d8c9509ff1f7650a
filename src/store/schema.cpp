#include "store/schema.hpp"

#include <cstdlib>
#include <map>

#include "store/artifact_store.hpp"
#include "store/feedback_store.hpp"
#include "store/job_store.hpp"
#include "store/nonce_store.hpp"
#include "store/payment_store.hpp"
#include "store/project_store.hpp"
#include "store/webhook_store.hpp"

namespace calyx::store {
namespace {

// One statement a string: SQLite keeps the text as the schema, and people read it there.
constexpr const char* log_schema[] = {
    R"(CREATE TABLE events(
  seq    INTEGER PRIMARY KEY,  -- gapless from 1
  at_us  INTEGER NOT NULL,     -- never before the event before
  kind   INTEGER NOT NULL,
  fields TEXT NOT NULL,        -- canonical JSON (RFC 8785)
  hash   BLOB NOT NULL         -- SHA-256 of the event's document, which names the hash before
) STRICT)",
    R"(CREATE INDEX standing_events ON events(seq) WHERE kind >= 32)",
    R"(CREATE TABLE entries(
  id       INTEGER PRIMARY KEY,                  -- 8 * seq + its place in the transfer
  account  INTEGER NOT NULL,                     -- a wallet, or 1: the outside
  amount   INTEGER NOT NULL CHECK(amount <> 0),  -- micro-FLOPS
  previous INTEGER NOT NULL                      -- id of the account's entry before; 0 for its first
) STRICT)",
    R"(CREATE TABLE milestones(  -- every 64th entry of an account
  account INTEGER NOT NULL,
  entry   INTEGER NOT NULL,
  PRIMARY KEY(account, entry)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE locks(
  job_id TEXT NOT NULL,
  payer  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,  -- credits the lock's escrow account; 0: the job id was burned
  PRIMARY KEY(job_id, payer)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE resolutions(
  lock   INTEGER PRIMARY KEY,  -- a lock ends once
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,     -- debits the lock's escrow account
  fee    INTEGER NOT NULL      -- credits the platform's fees
) STRICT)",
    R"(CREATE TABLE parts(         -- what hosts were paid of a lock before the settlement that ended it
  lock   INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,     -- debits the lock's escrow account
  fee    INTEGER NOT NULL,     -- credits the platform's fees
  PRIMARY KEY(lock, seq)
) STRICT, WITHOUT ROWID)",
    // An escrow account lives for two entries and nobody pages through the fees, so their entries are columns
    // of the rows above. Here each entry is a row.
    R"(CREATE VIEW ledger(account, seq, amount) AS
  SELECT account, id / 8, amount FROM entries
  UNION ALL SELECT 1099511627776 + seq, seq, amount FROM locks WHERE amount <> 0
  UNION ALL SELECT 1099511627776 + lock, seq, -amount FROM resolutions WHERE amount <> 0
  UNION ALL SELECT 1099511627776 + lock, seq, -amount FROM parts
  UNION ALL SELECT 2, seq, fee FROM resolutions WHERE fee <> 0
  UNION ALL SELECT 2, seq, fee FROM parts WHERE fee <> 0)",
    R"(CREATE TABLE zero_earnings(  -- settlements that paid their host nothing, so that it has no entry
  host INTEGER NOT NULL,
  seq  INTEGER NOT NULL,
  PRIMARY KEY(host, seq)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE key_spends(    -- what derived keys sent out and what of it came back, by their blocks
  block  BLOB NOT NULL,        -- SHA-256 of the block's signature
  seq    INTEGER NOT NULL,
  lock   INTEGER NOT NULL,     -- the spend's event: seq, or an earlier one whose rest comes back
  amount INTEGER NOT NULL,     -- micro-FLOPS; what comes back is below 0
  total  INTEGER NOT NULL,     -- the sum of the block's amounts so far
  PRIMARY KEY(block, seq)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE requests(
  scope INTEGER NOT NULL,
  kind  INTEGER NOT NULL,
  key   TEXT NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY(scope, kind, key)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE receipts(
  leaf      INTEGER PRIMARY KEY,  -- place in the receipt log, from 0
  seq       INTEGER NOT NULL,
  key       INTEGER NOT NULL,     -- place among the signing keys
  payload   BLOB NOT NULL,        -- the bytes that were signed, as receipt_text.hpp packs them
  signature BLOB NOT NULL
) STRICT)",
    R"(CREATE TABLE tiles(
  level INTEGER NOT NULL,
  place INTEGER NOT NULL,
  hash  BLOB NOT NULL,
  PRIMARY KEY(level, place)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE checkpoints(
  size INTEGER PRIMARY KEY,
  note TEXT NOT NULL  -- C2SP tlog-checkpoint, signed
) STRICT)",
};

/// Which take no change.
constexpr const char* log_tables[] = {"events",      "entries",  "milestones",    "locks",
                                      "resolutions", "parts",    "zero_earnings", "key_spends",
                                      "requests",    "receipts", "tiles",         "checkpoints"};

/// How many copies of one version a market may leave beside itself, by tries that a crash ended.
constexpr int copies_max = 9;

Result<std::int64_t> pragma(Connection& connection, const char* sql) {
  CALYX_TRY(Statement statement, connection.prepare(sql, "reading the file's header"));
  CALYX_TRY(const bool row, statement.step());
  return row ? statement.column_int(0) : 0;
}

std::string trigger_sql(const std::string& table, const char* change) {
  return "CREATE TRIGGER " + table + "_no_" + change + " BEFORE " + change + " ON " + table +
         " BEGIN SELECT RAISE(ABORT, '" + table + " is append-only'); END";
}

/// The type and name of what `sql` makes: the words before its first bracket or third space.
std::string made_by(std::string_view sql) {
  sql.remove_prefix(std::string_view("CREATE ").size());
  if (sql.starts_with("UNIQUE ")) sql.remove_prefix(std::string_view("UNIQUE ").size());
  std::string type(sql.substr(0, sql.find(' ')));
  std::string_view name = sql.substr(type.size() + 1);
  name = name.substr(0, name.find_first_of(" ("));
  for (char& letter : type) letter = static_cast<char>(letter - 'A' + 'a');
  return type.append(" ").append(name);
}

/// Fails: `corrupt` where the file is made otherwise than `schema` says.
Result<Done> check_schema(Connection& connection, const Schema& schema) {
  CALYX_TRY(Statement statement, connection.prepare(schema_text, "reading the schema"));
  CALYX_TRY(const std::string difference, schema_difference(statement, schema));
  if (difference.empty()) return Done{};
  return fail(Reason::corrupt, "the market's schema is not its own, " + difference + ": keep the file",
              core::json::object({{"difference", difference}}));
}

/// Fails: `corrupt` where SQLite finds a page that is damaged; the store.
Result<Done> check_pages(Connection& connection) {
  constexpr const char* doing = "checking the file's pages";
  CALYX_TRY(Statement statement, connection.prepare("PRAGMA quick_check(1)", doing));
  CALYX_TRY(const bool row, statement.step());
  const std::string_view said = row ? statement.column_text(0) : std::string_view("nothing");
  if (said == "ok") return Done{};
  // A page that could not be read, for want of memory or a disk that fails, is a finding to SQLite.
  constexpr std::string_view unread = "unable to get the page. error code=";
  if (const std::size_t at = said.find(unread); at != std::string_view::npos)
    if (const long code = std::strtol(std::string(said.substr(at + unread.size())).c_str(), nullptr, 10);
        code != 0)
      return connection.error(static_cast<int>(code), doing);
  return fail(Reason::corrupt,
              "the market's file is damaged, and was not brought forward: keep it, and put a backup in its "
              "place: " +
                  std::string(said));
}

Result<Done> set_pragma(Connection& connection, const char* name, std::int64_t value) {
  return connection.exec(
      std::string("PRAGMA ").append(name).append(" = ").append(std::to_string(value)).c_str());
}

/// Copies the file to the first free one of its names for copies.
Result<Done> copy_beside(Connection& connection, std::int64_t version) {
  const std::string name =
      std::string(sqlite3_db_filename(connection.handle(), "main")) + "-schema" + std::to_string(version);
  Result<Done> copied = connection.backup_to(name);
  for (int n = 2; n <= copies_max && copied.reason() == Reason::path_refused; ++n)
    copied = connection.backup_to(name + "-" + std::to_string(n));
  return copied;
}

Result<Done> go_forward(Connection& connection, std::int64_t from, const Schema& schema) {
  CALYX_CHECK(check_pages(connection));
  CALYX_CHECK(copy_beside(connection, from));
  CALYX_TRY(WriteTransaction transaction, WriteTransaction::begin(connection));
  for (std::int64_t version = from; version < schema.version; ++version)
    for (const std::string& sql : schema.steps[static_cast<std::size_t>(version - 1)])
      CALYX_CHECK(connection.exec(sql.c_str()));
  CALYX_CHECK(set_pragma(connection, "user_version", schema.version));
  CALYX_CHECK(check_schema(connection, schema));
  return transaction.commit();
}

}  // namespace

Schema own_schema() {
  Schema schema;
  for (const std::span<const char* const> part :
       {std::span<const char* const>(log_schema), job_schema(), project_schema(), feedback_schema(),
        webhook_schema(), artifact_schema(), payment_schema(), nonce_schema()})
    schema.statements.insert(schema.statements.end(), part.begin(), part.end());
  for (const std::span<const char* const> records :
       {std::span<const char* const>(log_tables), job_tables_of_record(), project_tables_of_record(),
        feedback_tables_of_record(), webhook_tables_of_record(), artifact_tables_of_record(),
        payment_tables_of_record()})
    for (const char* table : records)
      for (const char* change : {"UPDATE", "DELETE"}) schema.statements.push_back(trigger_sql(table, change));
  return schema;
}

Result<std::string> schema_difference(Statement& statement, const Schema& schema) {
  std::map<std::string, std::string_view> expected;
  for (const std::string& sql : schema.statements) expected.emplace(made_by(sql), sql);
  for (;;) {
    CALYX_TRY(const bool more, statement.step());
    if (!more) break;
    const std::string name =
        std::string(statement.column_text(0)).append(" ").append(statement.column_text(1));
    const auto found = expected.find(name);
    if (found == expected.end()) return name + " was added";
    if (found->second != statement.column_text(2)) return name + " was changed";
    expected.erase(found);
  }
  return expected.empty() ? std::string() : expected.begin()->first + " is missing";
}

Result<Done> migrate(Connection& connection, bool read_only, Blank blank, const Schema& schema) {
  std::int64_t application = 0, version = 0, objects = 0;
  {
    // One look at all of it: a newer calyx may be at it, and who only reads holds no gate.
    CALYX_TRY(const ReadTransaction snapshot, ReadTransaction::begin(connection));
    static_cast<void>(snapshot);
    CALYX_TRY(application, pragma(connection, "PRAGMA application_id"));
    CALYX_TRY(version, pragma(connection, "PRAGMA user_version"));
    CALYX_TRY(objects, pragma(connection, "SELECT count(*) FROM sqlite_schema"));
    if (application == application_id && version == schema.version) return check_schema(connection, schema);
  }
  if (application == application_id && version > 0) {
    const auto details = [&] { return core::json::object({{"file", version}, {"build", schema.version}}); };
    const std::string versions = "the market is of schema " + std::to_string(version) +
                                 ", this build writes " + std::to_string(schema.version);
    if (version < schema.version && !read_only) return go_forward(connection, version, schema);
    if (version < schema.version)
      return fail(Reason::read_only, versions + ": open it once for writing, which brings it forward",
                  details());
    if (read_only) return Done{};
    return fail(Reason::file_newer, versions + ": open it read-only or use a newer calyx", details());
  }
  if (objects != 0 || application != 0 || version != 0)
    return fail(Reason::not_a_market, "the file is an SQLite database that calyx did not make");
  if (blank == Blank::refused)
    return fail(
        Reason::file_missing,
        "the file holds no market, and a key file stands beside it: put the market's file and its -wal "
        "back, or move the -keys away to begin a new market");
  if (read_only) return fail(Reason::not_a_market, "the file is empty and read-only");

  CALYX_TRY(WriteTransaction transaction, WriteTransaction::begin(connection));
  for (const std::string& sql : schema.statements) CALYX_CHECK(connection.exec(sql.c_str()));
  CALYX_CHECK(set_pragma(connection, "application_id", application_id));
  CALYX_CHECK(set_pragma(connection, "user_version", schema.version));
  return transaction.commit();
}

}  // namespace calyx::store
