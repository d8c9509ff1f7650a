#include "store/database.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "store/gate.hpp"
#include "store/path.hpp"

namespace calyx::store {
namespace {

std::atomic<std::uint64_t> prepared{0};

/// Enough for the largest receipt or payload, and a bound on what a damaged file can make us allocate.
constexpr int value_bytes_max = 16 << 20;
constexpr int sql_bytes_max = 100'000;
constexpr int trigger_depth_max = 10;

/// Pages copied between two looks at the rest of the world during a backup.
constexpr int backup_step_pages = 1000;

/// The errno under SQLite's last error, where it noted one.
int system_errno(sqlite3* db, int code) noexcept {
  const int primary = code & 0xFF;
  if (db == nullptr || (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN)) return 0;
  return sqlite3_system_errno(db);
}

struct Meaning {
  Reason reason;
  const char* what;
  const char* then;  // what the reader of the message does next
};

Meaning meaning_of(int code, int number) noexcept {
  constexpr Meaning full = {Reason::disk_full, "the disk is full",
                            "free some space, then make the same call again"};
  constexpr Meaning memory = {Reason::no_memory, "memory ran out", "make the same call again later"};
  constexpr Meaning corrupt = {Reason::corrupt, "the market's file is damaged",
                               "stop, and keep the file and those beside it as they are"};
  constexpr Meaning io = {Reason::io_error, "the disk or file system gave an error",
                          "look at the system's log, then make the same call again"};
  switch (code) {  // extended codes that mean something else than their family
    case SQLITE_IOERR_NOMEM: return memory;
    case SQLITE_IOERR_DATA:
    case SQLITE_IOERR_CORRUPTFS: return corrupt;
    case SQLITE_CANTOPEN_SYMLINK:
      return {Reason::path_refused, "the path leads through a symbolic link", "give the real path"};
    case SQLITE_READONLY_DBMOVED:
      return {Reason::io_error, "the market's file was moved or removed while open",
              "put it back and reopen"};
    default: break;
  }
  switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return {Reason::store_busy, "the market's file is busy", "make the same call again"};
    case SQLITE_FULL: return full;
    case SQLITE_IOERR: return number == ENOSPC || number == EDQUOT ? full : io;
    case SQLITE_NOLFS: return io;
    case SQLITE_NOMEM: return memory;
    case SQLITE_CORRUPT: return corrupt;
    case SQLITE_NOTADB: return {Reason::not_a_market, "the file is not a market", "give a market's path"};
    case SQLITE_READONLY:
      return {Reason::read_only, "the market's file or folder is read-only",
              "change its permissions, or only read"};
    case SQLITE_CANTOPEN:
      if (number == ENOENT || number == ENOTDIR)
        return {Reason::file_missing, "the market's file is not there", "give an existing market's path"};
      if (number == ENOSPC || number == EDQUOT) return full;
      return {Reason::io_error, "the market's file, or one beside it, cannot be opened",
              "look at the permissions of the files and their folder"};
    case SQLITE_PERM:
      return {Reason::io_error, "the system denies access to the market's file", "look at its permissions"};
    default: return {Reason::internal, "", ""};
  }
}

/// `code` of a step that leads nowhere else: done, or the error.
int run_once(sqlite3_stmt* statement) noexcept {
  const int code = sqlite3_step(statement);
  sqlite3_reset(statement);
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

bool in_list(const char* name, const char* const* first, const char* const* last) noexcept {
  return std::any_of(first, last, [name](const char* other) { return sqlite3_stricmp(name, other) == 0; });
}

/// Pragmas that only tell, without an argument.
constexpr const char* pragmas_that_tell[] = {
    "application_id",    "cache_size",  "cell_size_check", "compile_options", "data_version",
    "database_list",     "encoding",    "foreign_keys",    "freelist_count",  "journal_mode",
    "mmap_size",         "page_count",  "page_size",       "query_only",      "recursive_triggers",
    "schema_version",    "synchronous", "temp_store",      "trusted_schema",  "user_version",
    "wal_autocheckpoint"};

/// Pragmas that only tell, with an argument or without one.
constexpr const char* pragmas_that_look[] = {
    "foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo",
    "integrity_check",   "quick_check",      "table_info", "table_list", "table_xinfo"};

/// What a sealed connection may do. SQLite asks while it prepares a statement; `first` and `second` mean
/// what its documentation says for each action. `frozen` is a bool: nothing but the ends of transactions.
int allow(void* frozen, int action, const char* first, const char* second, const char*,
          const char*) noexcept {
  if (*static_cast<const bool*>(frozen) && action != SQLITE_TRANSACTION) return SQLITE_DENY;
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT: return SQLITE_OK;
    case SQLITE_FUNCTION:
      return second != nullptr && sqlite3_stricmp(second, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      // The schema is a table too, and so are SQLite's own counters.
      return first != nullptr && sqlite3_strnicmp(first, "sqlite_", 7) == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA:
      if (first == nullptr) return SQLITE_DENY;
      if (in_list(first, std::begin(pragmas_that_look), std::end(pragmas_that_look))) return SQLITE_OK;
      return second == nullptr && in_list(first, std::begin(pragmas_that_tell), std::end(pragmas_that_tell))
                 ? SQLITE_OK
                 : SQLITE_DENY;
    default: return SQLITE_DENY;  // also whatever a later SQLite learns
  }
}

Error system_error(int number, const char* doing) {
  const Reason reason = number == ENOSPC || number == EDQUOT    ? Reason::disk_full
                        : number == ENOENT || number == ENOTDIR ? Reason::file_missing
                                                                : Reason::io_error;
  return fail(reason, std::string(doing) + " (errno " + std::to_string(number) + ")",
              core::json::object({{"errno", number}}));
}

/// Whether SQLite can be handed `path`: absolute, so no URI, and free of NUL.
Result<Done> check_path(const std::string& path) {
  if (!path.empty() && path.front() == '/' && path.find('\0') == std::string::npos) return Done{};
  return fail(Reason::path_refused, "the path is not absolute", core::json::object({{"rule", "not_real"}}));
}

enum class Made : std::uint8_t { now, before };

/// Makes the file, for its owner alone; SQLite would let the group and the world read it.
///
/// A file that stands is not opened: closing a descriptor of it would drop the locks that SQLite holds in
/// this process.
Result<Made> make_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor >= 0) {
    ::close(descriptor);
    return Made::now;
  }
  if (errno == EEXIST) return Made::before;
  return system_error(errno, "the market's file cannot be made");
}

/// The name in a folder is on disk only once the folder is synced.
Result<Done> sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_error(errno, "the folder cannot be opened for syncing");
  const int code = ::fsync(descriptor);
  const int number = errno;
  ::close(descriptor);
  // Some file systems sync no folders and say EINVAL; there is nothing more to ask of them.
  if (code != 0 && number != EINVAL) return system_error(number, "the folder cannot be synced");
  return Done{};
}

}  // namespace

bool sqlite_has_wal_reset_fix() noexcept { return has_wal_reset_fix(sqlite3_libversion_number()); }

std::uint64_t statements_prepared() noexcept { return prepared.load(std::memory_order_relaxed); }

Error store_error(sqlite3* db, int code, const char* doing) {
  const int number = system_errno(db, code);
  const Meaning meaning = meaning_of(code, number);
  const std::string where = std::string(" while ") + doing + " (SQLite " + std::to_string(code) + ")";
  auto details = core::json::object({{"sqlite", code}});
  if (number != 0) details.object()->set("errno", number);
  if (meaning.reason == Reason::internal) {
    // The text of SQLite names tables and columns, never the bound values.
    const char* text =
        db != nullptr && sqlite3_extended_errcode(db) == code ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    return fail(Reason::internal, std::string(text) + where, std::move(details));
  }
  return fail(meaning.reason, meaning.what + where + ": " + meaning.then, std::move(details));
}

struct Connection::Inside {
  Inside() = default;
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    // In a forked child the locks and the log are the parent's, and closing would disturb both.
    if (owner != ::getpid()) return;
    for (sqlite3_stmt* statement : {begin_read, begin_write, commit, rollback}) sqlite3_finalize(statement);
    sqlite3_close_v2(db);
  }

  sqlite3* db = nullptr;
  sqlite3_stmt* begin_read = nullptr;
  sqlite3_stmt* begin_write = nullptr;
  sqlite3_stmt* commit = nullptr;
  sqlite3_stmt* rollback = nullptr;
  std::string vfs;
  std::int64_t busy_timeout_us = 0;
  std::int64_t busy_since_us = 0;
  int frames = 0;
  bool broken = false;
  bool frozen = false;
  pid_t owner = ::getpid();
  Jitter jitter;

  /// SQLite's built-in waiting sleeps longer and longer, and starves whoever waits; short random pauses
  /// share. Zero gives up.
  static int wait_while_busy(void* self, int tries) noexcept {
    auto& inside = *static_cast<Inside*>(self);
    const std::int64_t now_us = monotonic_us();
    if (tries == 0) inside.busy_since_us = now_us;
    const std::int64_t left_us = inside.busy_since_us + inside.busy_timeout_us - now_us;
    if (left_us <= 0) return 0;
    sleep_us(std::min(inside.jitter.next_us(), left_us));
    return 1;
  }

  static int note_frames(void* self, sqlite3*, const char*, int frames) noexcept {
    static_cast<Inside*>(self)->frames = frames;
    return SQLITE_OK;
  }

  /// The first column of the first row of `sql`.
  Result<std::string> ask(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    prepared.fetch_add(1, std::memory_order_relaxed);
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, nullptr);
    // A statement that is left behind where an error's text finds no memory would keep the file open for
    // ever.
    const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> ending(statement, &sqlite3_finalize);
    std::string answer;
    if (code == SQLITE_OK) {
      code = sqlite3_step(statement);
      if (code == SQLITE_ROW) {
        const void* text = sqlite3_column_text(statement, 0);
        if (text != nullptr) answer = static_cast<const char*>(text);
        // To the end: a change of the journal's mode is carried out only after it was answered.
        code = sqlite3_step(statement);
      }
      if (code == SQLITE_DONE) code = SQLITE_OK;
    }
    if (code == SQLITE_OK) return answer;
    return store_error(db, code, "opening the market");
  }

  Result<Done> set(const char* sql) {
    CALYX_CHECK(ask(sql));
    return Done{};
  }

  Result<Done> configure(const OpenOptions& options);
  Result<Done> use_wal(const OpenOptions& options);
  Result<Done> copy_to(sqlite3* target);
};

Result<Done> Connection::Inside::configure(const OpenOptions& options) {
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_handler(db, &wait_while_busy, this);

  struct Switch {
    int what;
    int value;
  };
  constexpr Switch switches[] = {
      {SQLITE_DBCONFIG_DEFENSIVE, 1},
      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
      {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
      {SQLITE_DBCONFIG_ENABLE_TRIGGER, 1},
      {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
      {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
      {SQLITE_DBCONFIG_DQS_DML, 0},
      {SQLITE_DBCONFIG_DQS_DDL, 0},
      {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
      {SQLITE_DBCONFIG_ENABLE_QPSG, 1},  // no statement is prepared anew for what is bound to it
  };
  for (const Switch& each : switches) {
    int now = -1;
    const int code = sqlite3_db_config(db, each.what, each.value, &now);
    if (code != SQLITE_OK || now != each.value)
      return fail(Reason::unsupported, "this SQLite does not take a setting that calyx needs",
                  core::json::object({{"setting", each.what}, {"sqlite", code}}));
  }

  constexpr Switch limits[] = {
      {SQLITE_LIMIT_ATTACHED, 0},
      {SQLITE_LIMIT_TRIGGER_DEPTH, trigger_depth_max},
      {SQLITE_LIMIT_SQL_LENGTH, sql_bytes_max},
      {SQLITE_LIMIT_LENGTH, value_bytes_max},
      {SQLITE_LIMIT_WORKER_THREADS, 0},  // the engine starts no thread
  };
  for (const Switch& each : limits) sqlite3_limit(db, each.what, each.value);

  CALYX_CHECK(set("PRAGMA recursive_triggers=ON"));
  CALYX_CHECK(set("PRAGMA cell_size_check=ON"));
  CALYX_CHECK(set("PRAGMA temp_store=MEMORY"));
  // Nothing is ever deleted; without this some distributions' SQLite wipes what a page split leaves behind.
  CALYX_CHECK(set("PRAGMA secure_delete=OFF"));
  CALYX_CHECK(set("PRAGMA mmap_size=0"));
#ifdef __APPLE__
  // A plain fsync leaves the bytes in the drive's cache there.
  CALYX_CHECK(set("PRAGMA fullfsync=ON"));
  CALYX_CHECK(set("PRAGMA checkpoint_fullfsync=ON"));
#endif
  const std::string cache = "PRAGMA cache_size=-" + std::to_string(options.cache_kib);
  CALYX_CHECK(set(cache.c_str()));
  CALYX_CHECK(set(options.synchronous_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  CALYX_CHECK(use_wal(options));

  struct Prepared {
    const char* sql;
    sqlite3_stmt** statement;
  };
  const Prepared wanted[] = {{"BEGIN", &begin_read},
                             {"BEGIN IMMEDIATE", &begin_write},
                             {"COMMIT", &commit},
                             {"ROLLBACK", &rollback}};
  for (const Prepared& each : wanted) {
    prepared.fetch_add(1, std::memory_order_relaxed);
    const int code = sqlite3_prepare_v3(db, each.sql, -1, SQLITE_PREPARE_PERSISTENT, each.statement, nullptr);
    if (code != SQLITE_OK) return store_error(db, code, "opening the market");
  }
  return Done{};
}

Result<Done> Connection::Inside::use_wal(const OpenOptions& options) {
  if (options.in_memory) return Done{};
  // An automatic checkpoint would run outside the gate; the hook takes its place.
  sqlite3_wal_autocheckpoint(db, 0);
  sqlite3_wal_hook(db, &note_frames, this);

  CALYX_TRY(std::string mode, ask("PRAGMA journal_mode"));
  if (mode != "wal") {
    auto pages = ask("PRAGMA page_count");
    if (!pages.ok()) return std::move(pages).error();
    const bool empty = *pages == "0";
    if (!empty || options.read_only)
      return fail(Reason::not_a_market,
                  empty ? "the file is empty" : "the file is not in WAL mode, as every market is");
    CALYX_TRY(mode, ask("PRAGMA journal_mode=WAL"));
    if (mode != "wal")
      return fail(Reason::unsupported, "this file system or SQLite has no WAL mode, journal mode is " + mode);
  }
  // Only now, for SQLite makes the log at its first use. A file system of a test may not know the wish,
  // and the log stays all the same while NO_CKPT_ON_CLOSE holds.
  int keep = 1;
  const int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
  if (code != SQLITE_OK && code != SQLITE_NOTFOUND) return store_error(db, code, "opening the market");
  return Done{};
}

Connection::Connection(std::unique_ptr<Inside> inside) noexcept
    : inside_(std::move(inside)), db_(inside_->db) {}
Connection::Connection(Connection&& other) noexcept
    : inside_(std::move(other.inside_)), db_(std::exchange(other.db_, nullptr)) {}
Connection& Connection::operator=(Connection&& other) noexcept {
  inside_ = std::move(other.inside_);
  db_ = std::exchange(other.db_, nullptr);
  return *this;
}
Connection::~Connection() = default;

Result<Standing> look_at(const std::string& path) {
  constexpr std::size_t head_bytes = 105;  // the header, and of the first tree what it is and has
  CALYX_CHECK(check_path(path));
  // The log first: whoever is making the market just now has made the file before it.
  struct stat facts;
  const bool logged = ::stat((path + "-wal").c_str(), &facts) == 0 && facts.st_size > 0;
  const bool stands = ::stat(path.c_str(), &facts) == 0;
  if (!stands && errno != ENOENT) return system_error(errno, "the market's file cannot be looked at");
  if (!stands || facts.st_size == 0) return logged ? Standing::lost : Standing::missing;
  if (facts.st_size < static_cast<off_t>(head_bytes)) return Standing::no_market;

  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &db,
      SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_READONLY, nullptr);
  const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> closing(db, &sqlite3_close);
  if (code != SQLITE_OK) return store_error(db, code, "looking at the market");
  sqlite3_file* file = nullptr;
  unsigned char head[head_bytes] = {};
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == nullptr ||
      file->pMethods == nullptr)
    return Standing::plausible;
  const int got = file->pMethods->xRead(file, head, static_cast<int>(head_bytes), 0);
  if (got == SQLITE_IOERR_SHORT_READ) return Standing::no_market;
  if (got != SQLITE_OK) return store_error(db, got, "looking at the market");

  // https://www.sqlite.org/fileformat2.html, 1.3 and 1.6.
  constexpr std::size_t write_version_at = 18, application_at = 68, tree_at = 100, cells_at = 103;
  constexpr unsigned char wal_version = 2, leaf_of_table = 0x0D;
  if (std::memcmp(head, "SQLite format 3", 16) != 0 || head[write_version_at] != wal_version)
    return Standing::no_market;
  if (logged) return Standing::plausible;  // it says more than the file
  const bool named = (head[application_at] | head[application_at + 1] | head[application_at + 2] |
                      head[application_at + 3]) != 0;
  const bool holds = head[tree_at] != leaf_of_table || (head[cells_at] | head[cells_at + 1]) != 0;
  if (!holds && !named) return Standing::blank;
  return named ? Standing::plausible : Standing::no_market;
}

Result<Connection> Connection::open(const OpenOptions& options) {
  if (sqlite3_libversion_number() < sqlite_version_min || sqlite3_threadsafe() == 0)
    return fail(Reason::unsupported,
                std::string("SQLite ") + sqlite3_libversion() + " is too old, or built without threads",
                core::json::object({{"version", sqlite3_libversion_number()}}));
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (options.in_memory) {
    flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  } else {
    CALYX_CHECK(check_path(options.path));
    flags |= SQLITE_OPEN_NOFOLLOW;
    flags |= options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (!options.read_only && options.create) {
      flags |= SQLITE_OPEN_CREATE;
      if (options.vfs == nullptr) CALYX_CHECK(make_file(options.path));
    }
  }
  auto inside = std::make_unique<Inside>();
  if (options.vfs != nullptr) inside->vfs = options.vfs;
  // Beyond a day it is all the same, and later sums must not overflow.
  inside->busy_timeout_us =
      static_cast<std::int64_t>(std::min<std::uint64_t>(options.busy_timeout_ms, 86'400'000)) * 1000;
  const int code =
      sqlite3_open_v2(options.in_memory ? ":memory:" : options.path.c_str(), &inside->db, flags, options.vfs);
  if (code != SQLITE_OK) return store_error(inside->db, code, "opening the market");
  CALYX_CHECK(inside->configure(options));
  return Connection(std::move(inside));
}

void Connection::seal() noexcept { sqlite3_set_authorizer(db_, &allow, &inside_->frozen); }
void Connection::freeze() noexcept { inside_->frozen = true; }

Result<Done> Connection::exec(const char* sql) {
  prepared.fetch_add(1, std::memory_order_relaxed);
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code, "running SQL");
  return Done{};
}

Result<Statement> Connection::prepare(std::string_view sql, const char* doing) {
  if (sql.size() > static_cast<std::size_t>(sql_bytes_max)) return error(SQLITE_TOOBIG, doing);
  prepared.fetch_add(1, std::memory_order_relaxed);
  sqlite3_stmt* raw = nullptr;
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, &rest);
  if (code != SQLITE_OK) return error(code, doing);
  Statement statement(raw, doing);
  const std::string_view tail(rest, static_cast<std::size_t>(sql.data() + sql.size() - rest));
  if (raw == nullptr || tail.find_first_not_of(" \n\t;") != std::string_view::npos)
    return fail(Reason::internal, std::string("not exactly one SQL statement while ") + doing);
  return statement;
}

Result<CheckpointCount> Connection::checkpoint_passive() {
  int frames = 0;
  int moved = 0;
  const int code = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
  if (code != SQLITE_OK) return error(code, "moving the log into the file");
  CheckpointCount count;  // a database without a log answers -1
  count.frames = std::max(frames, 0);
  count.moved = std::max(moved, 0);
  inside_->frames = count.frames;
  return count;
}

Result<Done> Connection::empty_log() {
  const int code = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code, "emptying the log");
  inside_->frames = 0;
  return Done{};
}

Result<Done> Connection::checkpoint_waiting(int mode, std::uint64_t wait_ms, const char* doing) {
  const std::int64_t usual_us =
      std::exchange(inside_->busy_timeout_us, static_cast<std::int64_t>(wait_ms) * 1000);
  int frames = 0;
  const int code = sqlite3_wal_checkpoint_v2(db_, nullptr, mode, &frames, nullptr);
  inside_->busy_timeout_us = usual_us;
  if (code != SQLITE_OK) return error(code, doing);
  inside_->frames = mode == SQLITE_CHECKPOINT_TRUNCATE ? 0 : std::max(frames, 0);
  return Done{};
}

Result<Done> Connection::restart_log(std::uint64_t wait_ms) {
  return checkpoint_waiting(SQLITE_CHECKPOINT_RESTART, wait_ms, "starting the log anew");
}

Result<Done> Connection::empty_log_if_idle() {
  return checkpoint_waiting(SQLITE_CHECKPOINT_TRUNCATE, 0, "emptying the log");
}

int Connection::wal_frames() const noexcept { return inside_->frames; }
bool Connection::broken() const noexcept { return inside_->broken; }
void Connection::end_transaction() noexcept {
  if (in_transaction()) run_once(inside_->rollback);
}

Result<Done> Connection::Inside::copy_to(sqlite3* target) {
  constexpr const char* doing = "making a backup";
  sqlite3_backup* backup = sqlite3_backup_init(target, "main", db, "main");
  if (backup == nullptr) return store_error(target, sqlite3_extended_errcode(target), doing);
  std::int64_t busy_from_us = 0;  // zero while it gets on
  int code;
  for (;;) {
    code = sqlite3_backup_step(backup, backup_step_pages);
    const int family = code & 0xFF;
    if (code == SQLITE_OK) {
      busy_from_us = 0;
    } else if (family == SQLITE_BUSY || family == SQLITE_LOCKED) {
      const std::int64_t now_us = monotonic_us();
      if (busy_from_us == 0) busy_from_us = now_us;
      if (now_us - busy_from_us >= busy_timeout_us) break;
      sleep_us(jitter.next_us());
    } else {
      break;
    }
  }
  const int ended = sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return store_error(target, code, doing);
  if (ended != SQLITE_OK) return store_error(target, ended, doing);
  return Done{};
}

Result<Done> Connection::backup_to(const std::string& path) {
  CALYX_CHECK(check_path(path));
  const auto exists = [&path] {
    return at_path(fail(Reason::path_refused, "something stands there already: give a path where nothing is",
                        core::json::object({{"rule", "exists"}})),
                   path);
  };
  const char* vfs_name = inside_->vfs.empty() ? nullptr : inside_->vfs.c_str();
  sqlite3_vfs* vfs = sqlite3_vfs_find(vfs_name);
  if (vfs == nullptr) return error(SQLITE_ERROR, "making a backup");
  if (vfs_name == nullptr) {
    CALYX_TRY(const Made made, make_file(path));
    if (made == Made::before) return exists();
  } else {
    int found = 0;
    const int code = vfs->xAccess(vfs, path.c_str(), SQLITE_ACCESS_EXISTS, &found);
    if (code != SQLITE_OK) return error(code, "making a backup");
    if (found != 0) return exists();
  }

  auto done = [&]() -> Result<Done> {
    sqlite3* target = nullptr;
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW |
                      SQLITE_OPEN_READWRITE | (vfs_name == nullptr ? 0 : SQLITE_OPEN_CREATE);
    const int code = sqlite3_open_v2(path.c_str(), &target, flags, vfs_name);
    const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> closing(target, &sqlite3_close);
    if (code != SQLITE_OK) return store_error(target, code, "making a backup");
    // More than full: where the end of its journal is not on the disk, a journal that comes back undoes the
    // copy.
    const int synced = sqlite3_exec(target, "PRAGMA synchronous=EXTRA", nullptr, nullptr, nullptr);
    if (synced != SQLITE_OK) return store_error(target, synced, "making a backup");
    CALYX_CHECK(inside_->copy_to(target));
    // The copy of a file is in WAL mode as the file was; that of a market in memory is not yet.
    const int logged = sqlite3_exec(target, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr);
    if (logged != SQLITE_OK) return store_error(target, logged, "making a backup");
    return Done{};
  }();
  if (done.ok() && vfs_name == nullptr) done = sync_folder_of(path);
  if (!done.ok()) {
    // It is ours: we made it, and half a backup must not pass for one.
    const std::string journal = path + "-journal";
    vfs->xDelete(vfs, path.c_str(), 0);
    vfs->xDelete(vfs, journal.c_str(), 0);
  }
  return done;
}

Statement::Statement(Statement&& other) noexcept { swap(other); }
Statement& Statement::operator=(Statement&& other) noexcept {
  Statement(std::move(other)).swap(*this);
  return *this;
}
Statement::~Statement() { sqlite3_finalize(statement_); }

Error Statement::failed(int code) const {
  if (code == SQLITE_ROW) return fail(Reason::internal, std::string("an unexpected row while ") + doing_);
  if (code == SQLITE_AUTH)
    return fail(
        Reason::file_newer,
        std::string("the market's schema was changed under this engine, or its file was rewritten by a tool "
                    "(VACUUM), which shows while ") +
            doing_ + ": close it, and open the market with the newest calyx");
  return store_error(sqlite3_db_handle(statement_), code, doing_);
}

Result<WriteTransaction> WriteTransaction::begin(Connection& connection) {
  Connection::Inside& inside = *connection.inside_;
  if (inside.broken) return fail(Reason::internal, "a broken connection was used again");
  const int code = run_once(inside.begin_write);
  if (code != SQLITE_OK) return store_error(inside.db, code, "beginning to write");
  return WriteTransaction(&inside);
}

namespace {

/// Whether a commit's last write to the log is the one that makes it whole. Where a torn write endangers its
/// sector SQLite pads the log behind it. An error of a sync that found no room has another code than a
/// write's.
bool ends_with_the_commit(sqlite3* db) noexcept {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == nullptr ||
      file->pMethods == nullptr)
    return false;
  return (file->pMethods->xDeviceCharacteristics(file) & SQLITE_IOCAP_POWERSAFE_OVERWRITE) != 0;
}

}  // namespace

Result<Done> WriteTransaction::commit() {
  if (inside_ == nullptr || state_ != CommitState::open)
    return fail(Reason::internal, "a transaction that has ended was committed");
  Connection::Inside& inside = *inside_;
  if (sqlite3_get_autocommit(inside.db) != 0) {
    // SQLite ended it at an error, and what the caller wrote after that error has committed alone.
    state_ = CommitState::unknown;
    inside.broken = true;
    return fail(Reason::internal, "a transaction was carried on after the error that ended it");
  }
  const int code = run_once(inside.commit);
  if (code == SQLITE_OK) {
    state_ = CommitState::committed;
    return Done{};
  }
  // The state is settled before there are words for it: these need memory, which may be what is wanting.
  if (sqlite3_get_autocommit(inside.db) == 0) {
    // SQLite refused before it wrote anything (busy, or a broken constraint) and left it open.
    run_once(inside.rollback);
    if (sqlite3_get_autocommit(inside.db) != 0) {
      state_ = CommitState::not_committed;
      return store_error(inside.db, code, "committing");
    }
  }
  if (code == SQLITE_FULL && ends_with_the_commit(inside.db)) {
    // A write found no room, so the last one of the commit was never made and no recovery can find it whole.
    state_ = CommitState::not_committed;
    return store_error(inside.db, code, "committing");
  }
  // The log may hold the whole transaction though its sync failed, and a later recovery would find it.
  state_ = CommitState::unknown;
  inside.broken = true;
  Error error = store_error(inside.db, code, "committing");
  error.details.object()->set("cause", word(error.reason));
  return fail(Reason::outcome_unknown, std::move(error.message), std::move(error.details));
}

void WriteTransaction::rollback() noexcept {
  if (inside_ == nullptr || state_ != CommitState::open || inside_->owner != ::getpid()) return;
  state_ = CommitState::not_committed;
  if (sqlite3_get_autocommit(inside_->db) != 0) return;  // SQLite was first
  run_once(inside_->rollback);
  if (sqlite3_get_autocommit(inside_->db) == 0) inside_->broken = true;
}

Result<ReadTransaction> ReadTransaction::begin(Connection& connection) {
  Connection::Inside& inside = *connection.inside_;
  const int code = run_once(inside.begin_read);
  if (code != SQLITE_OK) return store_error(inside.db, code, "beginning to read");
  return ReadTransaction(&inside);
}

void ReadTransaction::end() noexcept {
  if (inside_ == nullptr || inside_->owner != ::getpid()) return;
  Connection::Inside& inside = *std::exchange(inside_, nullptr);
  if (sqlite3_get_autocommit(inside.db) != 0) return;
  if (run_once(inside.commit) != SQLITE_OK) run_once(inside.rollback);
  if (sqlite3_get_autocommit(inside.db) == 0) inside.broken = true;
}

}  // namespace calyx::store
