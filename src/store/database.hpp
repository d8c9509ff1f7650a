/// \file
/// SQLite as calyx uses it: one way to open a file, prepared statements, transactions whose end is known.
///
/// Start at `Connection::open`, then `seal`, `prepare` and `freeze`. Writers hold the market's `Gate` around
/// `WriteTransaction`, `checkpoint_passive` and `backup_to`; nothing here takes it.
///
/// Owns: a connection outlives its statements and transactions.
/// Threads: a connection, with all that came from it, belongs to one thread at a time.
/// Processes: a forked child uses none of this; its copy of a connection is left alone, not closed.
#pragma once

#include <sqlite3.h>

#include <calyx/core/result.hpp>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace calyx::store {

/// The oldest SQLite that can read a market: the first with STRICT tables.
inline constexpr int sqlite_version_min = 3037000;

/// Whether SQLite `version` (as 3040001) keeps commits safe from a checkpoint that runs beside them. Where
/// it does not, only the gate does.
constexpr bool has_wal_reset_fix(int version) noexcept {
  return version >= 3051003 || (version >= 3050007 && version < 3051000) ||
         (version >= 3044006 && version < 3045000);
}
bool sqlite_has_wal_reset_fix() noexcept;  ///< Of the library that this process runs.

/// How many statements this process has prepared, `exec` included; a running engine prepares none.
std::uint64_t statements_prepared() noexcept;

/// The error that SQLite's `code` means while `doing` something ("appending events"). `db` may be null.
Error store_error(sqlite3* db, int code, const char* doing);

struct OpenOptions {
  std::string path = {};                 ///< From `real_market_path`; unused in memory.
  bool read_only = false;                ///< The file must be there; nothing is written.
  bool create = true;                    ///< A missing file is made (0600), unless `read_only`.
  bool in_memory = false;                ///< A database that ends with the connection.
  const char* vfs = nullptr;             ///< SQLite's name of a file system, or null for its own.
  std::uint64_t busy_timeout_ms = 5000;  ///< How long a locked file is waited for.
  bool synchronous_full = true;          ///< False loses commits with the power; for tests of our tests.
  std::size_t cache_kib = 16384;         ///< Pages kept in memory.
};

/// What can be told of a market's file and its log by looking, before anything is made beside them.
enum class Standing : std::uint8_t {
  missing,    ///< No file, or an empty one, and no log.
  lost,       ///< No file, or an empty one, and a log that holds what was in it.
  blank,      ///< A database in which nothing was made, and no log.
  plausible,  ///< A database that may be a market: SQLite has to open it.
  no_market,  ///< Something else.
};

/// Looks at the file at `path` (absolute, from `real_market_path`) and at its log, and leaves both as they
/// are. The file is opened and closed through SQLite, so that no lock of this process is lost by it.
/// Fails: `io_error`, `no_memory`, as the store.
Result<Standing> look_at(const std::string& path);

/// What a checkpoint found and did. Units: WAL frames, of one page each.
struct CheckpointCount {
  int frames = 0;  ///< In the log.
  int moved = 0;   ///< Of these, in the database file as well: all of them, unless a reader was in the way.
};

class Statement;

/// One open connection.
class Connection {
 public:
  /// Opens what `options` say, with every setting that money needs; whoever may create or recover the file
  /// holds the gate.
  /// Fails: `path_refused` (the path is not absolute), `file_missing`, `not_a_market` (no SQLite file, or
  /// one that is not in WAL mode, which is left as it is), `corrupt`, `read_only`, `store_busy`, `disk_full`,
  /// `io_error`, `no_memory`, `unsupported` (the SQLite of this process is too old, or has no threads).
  static Result<Connection> open(const OpenOptions& options);

  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  ~Connection();

  /// From now on refuses every change of the schema, ATTACH, VACUUM, and every PRAGMA that is not on a short
  /// list of reads. Statements prepared before are prepared once more by SQLite, so seal first.
  void seal() noexcept;

  /// From now on no statement is prepared, on a connection that is sealed. SQLite prepares one anew by itself
  /// where another connection has changed the schema: that one then fails with `file_newer`, and what was
  /// written for one schema never runs on another.
  void freeze() noexcept;

  /// Runs `sql`, any number of statements, answers thrown away. For opening and migration.
  Result<Done> exec(const char* sql);

  /// Prepares the one statement in `sql`. `doing` names its purpose in errors and must live as long as the
  /// program. Fails: `internal` for SQL that is wrong or refused; as the store.
  Result<Statement> prepare(std::string_view sql, const char* doing = "running a statement");

  /// As `store_error`, of this connection.
  Error error(int code, const char* doing) const { return store_error(handle(), code, doing); }

  /// Copies what readers have left behind from the log to the database file. Only under the gate.
  /// Fails: `store_busy`, `io_error`, `disk_full`, `corrupt`.
  Result<CheckpointCount> checkpoint_passive();

  /// Copies the whole log to the database file and cuts it to nothing, waiting for readers. For after a
  /// commit whose sync failed: what it left in the log is not on the disk, and whoever recovered it would
  /// build on sand. Only under the gate. Fails: `store_busy`, `io_error`, `disk_full`, `corrupt`.
  Result<Done> empty_log();

  /// As `checkpoint_passive`, and waits `wait_ms` at most until no reader is left in the log, which then
  /// begins anew with the next commit. Only under the gate. Fails: `store_busy` when readers stayed; as the
  /// store.
  Result<Done> restart_log(std::uint64_t wait_ms);

  /// As `empty_log`, without waiting. For the last who closes a market in peace. Only under the gate.
  Result<Done> empty_log_if_idle();

  /// The frames that were in the log after this connection's last commit or checkpoint.
  int wal_frames() const noexcept;

  /// Copies the whole database to the new file `path` (0600; absolute, from `real_market_path`), synced to
  /// disk. Under the gate, else another process's commit makes it start again.
  /// Fails: `path_refused` when something stands at `path`; as the store; the half copy is removed.
  Result<Done> backup_to(const std::string& path);

  /// The rows that the last INSERT, UPDATE or DELETE touched.
  std::int64_t changes() const noexcept { return sqlite3_changes64(handle()); }

  /// Whether a transaction is open. SQLite ends one by itself after some errors.
  bool in_transaction() const noexcept { return sqlite3_get_autocommit(handle()) == 0; }

  /// Tries once more to undo a transaction that a failed rollback left open: it keeps all others from
  /// writing.
  void end_transaction() noexcept;

  /// Whether a commit or rollback left this connection unfit for use: close it and open another.
  bool broken() const noexcept;

  sqlite3* handle() const noexcept { return db_; }

 private:
  friend class WriteTransaction;
  friend class ReadTransaction;
  struct Inside;
  Result<Done> checkpoint_waiting(int mode, std::uint64_t wait_ms, const char* doing);
  explicit Connection(std::unique_ptr<Inside> inside) noexcept;
  std::unique_ptr<Inside> inside_;  // its address is known to SQLite, so it never moves
  sqlite3* db_ = nullptr;
};

/// A prepared statement. Bind, step, read columns, reset; best through `Run`.
///
/// Text and blobs are bound where they lie: the bytes must live, unchanged, until the statement is reset or
/// the parameter bound again. A binding that fails is reported by the next `step`.
class Statement {
 public:
  Statement() noexcept = default;
  // Not inline: stores have dozens of them, and each store is made and moved in many places.
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  /// Parameters count from 1.
  Statement& bind(int index, std::int64_t value) noexcept {
    return note(sqlite3_bind_int64(statement_, index, value));
  }
  Statement& bind(int index, std::string_view text) noexcept {
    // A null pointer would bind NULL; an empty text is not NULL.
    const char* bytes = text.data() == nullptr ? "" : text.data();
    return note(sqlite3_bind_text64(statement_, index, bytes, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  Statement& bind(int index, std::span<const std::uint8_t> blob) noexcept {
    const void* bytes = blob.data() == nullptr ? static_cast<const void*>("") : blob.data();
    return note(sqlite3_bind_blob64(statement_, index, bytes, blob.size(), SQLITE_STATIC));
  }
  Statement& bind(int index, std::nullptr_t) noexcept { return note(sqlite3_bind_null(statement_, index)); }
  template <std::integral T>
  requires(std::signed_integral<T> || sizeof(T) < sizeof(std::int64_t)) Statement& bind(int index,
                                                                                        T value) noexcept {
    return bind(index, static_cast<std::int64_t>(value));
  }
  Statement& bind(int index, const char* text) noexcept { return bind(index, std::string_view(text)); }
  Statement& bind(int index, std::string&& text) = delete;  // would be gone before the step
  Statement& bind(int index, double value) = delete;        // no REAL is ever stored

  /// True with a row to read, false at the end. Fails: as the store; `internal` for a broken constraint.
  Result<bool> step() {
    if (bind_code_ != SQLITE_OK) return failed(bind_code_);
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return failed(code);
  }

  /// Steps to the end a statement that has no rows to give.
  Result<Done> execute() {
    CALYX_TRY(const bool row, step());
    if (row) return failed(SQLITE_ROW);
    return Done{};
  }

  /// Ends the run and forgets the bindings.
  void reset() noexcept {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    bind_code_ = SQLITE_OK;
  }

  /// Columns count from 0; views live until the next `step` or `reset`. NULL reads as 0 or as empty, and so
  /// does a text where bytes are asked for, or bytes where a text is: one flipped bit makes either of the
  /// other.
  std::int64_t column_int(int index) const noexcept { return sqlite3_column_int64(statement_, index); }
  std::string_view column_text(int index) const noexcept {
    if (sqlite3_column_type(statement_, index) != SQLITE_TEXT) return {};
    const void* bytes = sqlite3_column_text(statement_, index);
    return bytes == nullptr ? std::string_view()
                            : std::string_view(static_cast<const char*>(bytes), size(index));
  }
  std::span<const std::uint8_t> column_blob(int index) const noexcept {
    if (sqlite3_column_type(statement_, index) != SQLITE_BLOB) return {};
    const void* bytes = sqlite3_column_blob(statement_, index);
    if (bytes == nullptr) return {};
    return {static_cast<const std::uint8_t*>(bytes), size(index)};
  }
  bool is_integer(int index) const noexcept {
    return sqlite3_column_type(statement_, index) == SQLITE_INTEGER;
  }
  bool is_null(int index) const noexcept { return sqlite3_column_type(statement_, index) == SQLITE_NULL; }

  /// One run: the statement is reset when the guard goes, on every way out.
  class Run {
   public:
    explicit Run(Statement& statement) noexcept : statement_(statement) {
      assert(!sqlite3_stmt_busy(statement.statement_));  // two runs of one statement would share bindings
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { statement_.reset(); }
    Statement* operator->() const noexcept { return &statement_; }
    Statement& operator*() const noexcept { return statement_; }

   private:
    Statement& statement_;
  };

 private:
  friend class Connection;
  Statement(sqlite3_stmt* statement, const char* doing) noexcept : statement_(statement), doing_(doing) {}

  void swap(Statement& other) noexcept {
    std::swap(statement_, other.statement_);
    std::swap(doing_, other.doing_);
    std::swap(bind_code_, other.bind_code_);
  }
  Statement& note(int code) noexcept {
    if (code != SQLITE_OK && bind_code_ == SQLITE_OK) bind_code_ = code;
    return *this;
  }
  std::size_t size(int index) const noexcept {
    return static_cast<std::size_t>(sqlite3_column_bytes(statement_, index));
  }
  Error failed(int code) const;

  sqlite3_stmt* statement_ = nullptr;
  const char* doing_ = "";
  int bind_code_ = SQLITE_OK;
};

/// Where a write transaction stands.
enum class CommitState : std::uint8_t {
  open,
  committed,
  not_committed,  ///< Rolled back, for certain.
  unknown,        ///< An error at the commit itself: open another connection and look.
};

/// A write transaction (BEGIN IMMEDIATE), rolled back unless `commit` was called. Only under the gate.
///
/// The first error of a statement ends the caller's work: SQLite may have rolled back by itself, and a
/// statement that runs on would then commit alone.
class WriteTransaction {
 public:
  /// Fails: `store_busy`, `read_only`, as the store.
  static Result<WriteTransaction> begin(Connection& connection);

  WriteTransaction(WriteTransaction&& other) noexcept
      : inside_(std::exchange(other.inside_, nullptr)), state_(other.state_) {}
  WriteTransaction& operator=(WriteTransaction&&) = delete;
  ~WriteTransaction() { rollback(); }

  /// Makes it durable. After an error, `state()` says whether it is known not to stand
  /// (`not_committed`: the same call may be made again) or not known (`unknown`: the connection is
  /// `broken`; look the idempotency key up through another one).
  /// Fails: `store_busy` and `disk_full`, not committed; `outcome_unknown`, with the store's word at `cause`
  /// of the details; `internal` when SQLite had rolled back already, at an error that the caller did not
  /// heed.
  Result<Done> commit();

  /// Undoes it; nothing after `commit`.
  void rollback() noexcept;

  CommitState state() const noexcept { return state_; }

 private:
  explicit WriteTransaction(Connection::Inside* inside) noexcept : inside_(inside) {}
  Connection::Inside* inside_;
  CommitState state_ = CommitState::open;
};

/// A read transaction: all that is read in it is as it was at its first SELECT. Keep it short: while it is
/// open, a checkpoint cannot empty the log.
class ReadTransaction {
 public:
  static Result<ReadTransaction> begin(Connection& connection);

  ReadTransaction(ReadTransaction&& other) noexcept : inside_(std::exchange(other.inside_, nullptr)) {}
  ReadTransaction& operator=(ReadTransaction&&) = delete;
  ~ReadTransaction() { end(); }

  /// Lets go of the snapshot.
  void end() noexcept;

 private:
  explicit ReadTransaction(Connection::Inside* inside) noexcept : inside_(inside) {}
  Connection::Inside* inside_;
};

}  // namespace calyx::store
