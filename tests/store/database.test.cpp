#include "store/database.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "scratch.hpp"
#include "store/asking.hpp"
#include "store/gate.hpp"
#include "store/path.hpp"

using namespace calyx::store;
using calyx::Reason;

namespace {

Connection open(const std::string& path) { return Connection::open({.path = path}).value(); }

/// A table of the kind that the market has: append-only by triggers.
constexpr const char* append_only =
    "CREATE TABLE entry(id INTEGER PRIMARY KEY, note TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append only'); END;"
    "CREATE TRIGGER entry_same BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append only'); END;"
    "INSERT INTO entry VALUES (1, 'first'), (2, 'second')";

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// How many descriptors this process has of the file.
int descriptors_of(const std::string& path) {
  struct stat file = {};
  if (::stat(path.c_str(), &file) != 0) return 0;
  int found = 0;
  for (int descriptor = 3; descriptor < 256; ++descriptor) {
    struct stat other = {};
    if (::fstat(descriptor, &other) == 0 && other.st_ino == file.st_ino && other.st_dev == file.st_dev)
      ++found;
  }
  return found;
}

/// Writes `note` as one transaction.
calyx::Result<calyx::Done> add(Connection& connection, const std::string& note) {
  auto transaction = WriteTransaction::begin(connection).value();
  auto insert = connection.prepare("INSERT INTO entry(note) VALUES (?1)").value();
  {
    const Statement::Run run(insert);
    CALYX_CHECK(run->bind(1, note).execute());
  }
  return transaction.commit();
}

}  // namespace

TEST_CASE("a connection has every setting that money needs") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  struct Row {
    std::string pragma;
    std::string value;
  };
  const Row rows[] = {
      {"journal_mode", "wal"},
      {"synchronous", "2"},
      {"foreign_keys", "1"},
      {"trusted_schema", "0"},
      {"recursive_triggers", "1"},
      {"cell_size_check", "1"},
      {"temp_store", "2"},
      {"mmap_size", "0"},
      {"wal_autocheckpoint", "0"},
      {"cache_size", "-16384"},
      {"writable_schema", "0"},
      {"locking_mode", "normal"},
      {"checkpoint_fullfsync",
#ifdef __APPLE__
       "1"
#else
       "0"
#endif
      },
  };
  for (const Row& row : rows) {
    CAPTURE(row.pragma);
    CHECK(ask(connection, "PRAGMA " + row.pragma) == row.value);
  }
  sqlite3* db = connection.handle();
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, -1) == 0);
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, -1) == 10);
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, -1) == 100'000);
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_LENGTH, -1) == 16 << 20);
  CHECK(sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, -1) == 0);
  for (const int on : {SQLITE_DBCONFIG_DEFENSIVE, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE}) {
    int value = -1;
    CHECK(sqlite3_db_config(db, on, -1, &value) == SQLITE_OK);
    CHECK(value == 1);
  }
  for (const int off :
       {SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION}) {
    int value = -1;
    CHECK(sqlite3_db_config(db, off, -1, &value) == SQLITE_OK);
    CHECK(value == 0);
  }
  int keeps_log = -1;
  CHECK(sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keeps_log) == SQLITE_OK);
  CHECK(keeps_log == 1);
  CHECK(ask(connection, "SELECT \"text\"") == "internal");  // double quotes name a column, never a text

  struct stat facts = {};
  for (const char* ending : {"", "-wal", "-shm"}) {
    CAPTURE(std::string(ending));
    REQUIRE(::stat((scratch / "m.db" + ending).c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
  }
  auto loose =
      Connection::open({.path = scratch / "n.db", .synchronous_full = false, .cache_kib = 100}).value();
  CHECK(ask(loose, "PRAGMA synchronous") == "1");
  CHECK(ask(loose, "PRAGMA cache_size") == "-100");
}

TEST_CASE("an append-only row cannot be replaced, by its id or by another unique column") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  for (const char* sql :
       {"INSERT OR REPLACE INTO entry VALUES (1, 'other')", "REPLACE INTO entry(note) VALUES ('first')",
        "UPDATE entry SET note = 'other'", "DELETE FROM entry",
        "INSERT INTO entry VALUES (1, 'x') ON CONFLICT DO UPDATE SET note = 'x'"}) {
    CAPTURE(std::string(sql));
    const auto refused = connection.exec(sql);
    CHECK(refused.reason() == Reason::internal);
    CHECK(refused.error().message.find("append only") != std::string::npos);
    CHECK(ask(connection, "SELECT group_concat(id || note) FROM entry") == "1first,2second");
  }
}

TEST_CASE("a sealed connection changes no schema, reaches no other file and sets nothing") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  const std::string schema = ask(connection, "SELECT group_concat(sql) FROM sqlite_schema");
  connection.seal();
  const std::string out = scratch / "out.db";
  const std::string refused[] = {
      "DROP TRIGGER entry_stays",
      "DROP TABLE entry",
      "ALTER TABLE entry RENAME TO other",
      "ALTER TABLE entry ADD COLUMN extra TEXT",
      "CREATE TABLE other(id INTEGER)",
      "CREATE TEMP TABLE other(id INTEGER)",
      "CREATE INDEX other ON entry(note)",
      "CREATE VIEW other AS SELECT 1",
      "CREATE TEMP TRIGGER other BEFORE INSERT ON entry BEGIN SELECT RAISE(IGNORE); END",
      "CREATE VIRTUAL TABLE other USING fts5(a)",
      "ATTACH '" + out + "' AS other",
      "DETACH main",
      "VACUUM",
      "VACUUM INTO '" + out + "'",
      "REINDEX",
      "ANALYZE",
      "PRAGMA writable_schema = ON",
      "PRAGMA ignore_check_constraints = ON",
      "PRAGMA recursive_triggers = OFF",
      "PRAGMA foreign_keys = OFF",
      "PRAGMA journal_mode = DELETE",
      "PRAGMA synchronous = OFF",
      "PRAGMA user_version = 7",
      "PRAGMA wal_checkpoint",
      "PRAGMA wal_checkpoint(TRUNCATE)",
      "PRAGMA wal_autocheckpoint = 1",
      "PRAGMA incremental_vacuum",
      "PRAGMA optimize",
      "PRAGMA busy_timeout = 1",
      "SELECT load_extension('x')",
      "DELETE FROM sqlite_schema",
      "UPDATE sqlite_schema SET sql = ''",
  };
  for (const std::string& sql : refused) {
    CAPTURE(sql);
    CHECK(connection.exec(sql.c_str()).reason() == Reason::internal);
  }
  CHECK_FALSE(std::filesystem::exists(out));
  CHECK(ask(connection, "SELECT group_concat(sql) FROM sqlite_schema") == schema);
  CHECK(ask(connection, "PRAGMA recursive_triggers") == "1");
  CHECK(ask(connection, "PRAGMA user_version") == "0");
  CHECK(ask(connection, "PRAGMA integrity_check(10)") == "ok");
  CHECK(ask(connection, "PRAGMA table_info(entry)") == "0");
  CHECK(add(connection, "third").ok());
  CHECK(ask(connection,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) "
            "SELECT sum(i) FROM n") == "15");
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "3");
}

TEST_CASE("a writer who waits gives up at its deadline, and the message says what to do") {
  const Scratch scratch;
  auto first = open(scratch / "m.db");
  for (const std::uint64_t timeout_ms : {0U, 60U}) {
    CAPTURE(timeout_ms);
    auto second = Connection::open({.path = scratch / "m.db", .busy_timeout_ms = timeout_ms}).value();
    const auto held = WriteTransaction::begin(first).value();
    const std::int64_t began_us = monotonic_us();
    const auto refused = WriteTransaction::begin(second);
    const std::int64_t waited_us = monotonic_us() - began_us;
    CHECK(refused.reason() == Reason::store_busy);
    CHECK(refused.error().message ==
          "the market's file is busy while beginning to write (SQLite 5): make the same call again");
    CHECK(waited_us >= static_cast<std::int64_t>(timeout_ms) * 1000);
    CHECK(waited_us < static_cast<std::int64_t>(timeout_ms) * 1000 + 2'000'000);
  }
  // The first one's hold has ended with its scope, so nothing is left locked.
  CHECK(WriteTransaction::begin(first).ok());
}

TEST_CASE("the log is used again from its start after a checkpoint, and outlives the last connection") {
  const Scratch scratch;
  const std::string log = scratch / "m.db-wal";
  std::uintmax_t log_bytes = 0;
  {
    auto connection = open(scratch / "m.db");
    REQUIRE(connection.exec(append_only).ok());
    for (int i = 0; i < 20; ++i) REQUIRE(add(connection, "a" + std::to_string(i)).ok());
    const int frames = connection.wal_frames();
    CHECK(frames >= 40);
    log_bytes = std::filesystem::file_size(log);
    CHECK(log_bytes == 32U + static_cast<unsigned>(frames) * (4096U + 24U));

    const auto moved = connection.checkpoint_passive().value();
    CHECK(moved.frames == frames);
    CHECK(moved.moved == frames);
    CHECK(std::filesystem::file_size(log) == log_bytes);
    REQUIRE(add(connection, "b").ok());
    CHECK(connection.wal_frames() < 5);
    CHECK(std::filesystem::file_size(log) == log_bytes);
  }
  CHECK(std::filesystem::file_size(log) == log_bytes);
  auto again = open(scratch / "m.db");
  CHECK(ask(again, "SELECT count(*) FROM entry") == "23");
}

TEST_CASE("a reader's snapshot holds the log back, and lets it go") {
  const Scratch scratch;
  auto writer = open(scratch / "m.db");
  REQUIRE(writer.exec(append_only).ok());
  auto reader = Connection::open({.path = scratch / "m.db", .read_only = true}).value();
  auto snapshot = ReadTransaction::begin(reader).value();
  CHECK(ask(reader, "SELECT count(*) FROM entry") == "2");
  REQUIRE(add(writer, "third").ok());
  CHECK(ask(reader, "SELECT count(*) FROM entry") == "2");
  auto count = writer.checkpoint_passive().value();
  CHECK(count.moved < count.frames);
  snapshot.end();
  CHECK(ask(reader, "SELECT count(*) FROM entry") == "3");
  count = writer.checkpoint_passive().value();
  CHECK(count.moved == count.frames);
  CHECK(reader.exec("DELETE FROM entry").reason() == Reason::read_only);
}

TEST_CASE("a code of SQLite has one meaning") {
  struct Row {
    int code;
    Reason reason;
  };
  const Row rows[] = {
      {SQLITE_BUSY, Reason::store_busy},
      {SQLITE_BUSY_SNAPSHOT, Reason::store_busy},
      {SQLITE_BUSY_RECOVERY, Reason::store_busy},
      {SQLITE_LOCKED, Reason::store_busy},
      {SQLITE_PROTOCOL, Reason::store_busy},
      {SQLITE_FULL, Reason::disk_full},
      {SQLITE_IOERR, Reason::io_error},
      {SQLITE_IOERR_FSYNC, Reason::io_error},
      {SQLITE_IOERR_SHORT_READ, Reason::io_error},
      {SQLITE_IOERR_NOMEM, Reason::no_memory},
      {SQLITE_IOERR_DATA, Reason::corrupt},
      {SQLITE_NOMEM, Reason::no_memory},
      {SQLITE_CORRUPT, Reason::corrupt},
      {SQLITE_CORRUPT_INDEX, Reason::corrupt},
      {SQLITE_NOTADB, Reason::not_a_market},
      {SQLITE_READONLY, Reason::read_only},
      {SQLITE_READONLY_DBMOVED, Reason::io_error},
      {SQLITE_CANTOPEN, Reason::io_error},
      {SQLITE_CANTOPEN_SYMLINK, Reason::path_refused},
      {SQLITE_PERM, Reason::io_error},
      {SQLITE_CONSTRAINT_UNIQUE, Reason::internal},
      {SQLITE_AUTH, Reason::internal},
      {SQLITE_MISUSE, Reason::internal},
      {SQLITE_TOOBIG, Reason::internal},
  };
  for (const Row& row : rows) {
    CAPTURE(row.code);
    const calyx::Error error = store_error(nullptr, row.code, "testing");
    CHECK(error.reason == row.reason);
    CHECK(error.message.find("while testing (SQLite " + std::to_string(row.code) + ")") != std::string::npos);
    const auto* told = error.details.find("sqlite");
    REQUIRE(told != nullptr);
    CHECK(*told == calyx::core::json::Value(row.code));
  }
}

TEST_CASE("what cannot be a market is refused, and left as it was") {
  const Scratch scratch;
  const std::string diary = "Dear diary, " + std::string(4096, 'x');
  std::ofstream(scratch / "diary.db") << diary;
  std::ofstream(scratch / "empty.db") << "";
  {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open((scratch / "other.db").c_str(), &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "CREATE TABLE t(a)", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
  }
  const std::string other = text_of(scratch / "other.db");
  std::filesystem::create_symlink("other.db", scratch / "link.db");
  struct Row {
    std::string says;
    OpenOptions options;
    Reason reason;
  };
  const Row rows[] = {
      {"a relative path", {.path = "m.db"}, Reason::path_refused},
      {"a URI", {.path = "file:/tmp/m.db"}, Reason::path_refused},
      {"no path", {.path = ""}, Reason::path_refused},
      {"a NUL", {.path = std::string("/tmp/m\0.db", 10)}, Reason::path_refused},
      {"a link", {.path = scratch / "link.db"}, Reason::path_refused},
      {"a text", {.path = scratch / "diary.db"}, Reason::not_a_market},
      {"a text, to read", {.path = scratch / "diary.db", .read_only = true}, Reason::not_a_market},
      {"another's database", {.path = scratch / "other.db"}, Reason::not_a_market},
      {"nothing to read in it", {.path = scratch / "empty.db", .read_only = true}, Reason::not_a_market},
      {"a missing file, to read", {.path = scratch / "no.db", .read_only = true}, Reason::file_missing},
      {"a missing file that may not be made",
       {.path = scratch / "no.db", .create = false},
       Reason::file_missing},
      {"a missing folder", {.path = scratch / "no/m.db"}, Reason::file_missing},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(Connection::open(row.options).reason() == row.reason);
  }
  CHECK(text_of(scratch / "diary.db") == diary);
  CHECK(text_of(scratch / "other.db") == other);
  CHECK_FALSE(std::filesystem::exists(scratch / "no.db"));
  CHECK_FALSE(std::filesystem::exists(scratch / "m.db"));
}

TEST_CASE("the longest real path opens, with its log beside it") {
  const Scratch scratch;
  std::string folder = scratch.folder() + "/" + std::string(200, 'a') + "/" + std::string(150, 'b') + "/";
  std::filesystem::create_directories(folder);
  const auto path = real_market_path(folder + std::string(real_path_bytes_max - folder.size(), 'c')).value();
  REQUIRE(path.size() == real_path_bytes_max);
  auto connection = open(path);
  CHECK(connection.exec(append_only).ok());
}

TEST_CASE("a damaged file is called damaged") {
  const Scratch scratch;
  {
    auto connection = open(scratch / "m.db");
    REQUIRE(connection.exec(append_only).ok());
    REQUIRE(connection.checkpoint_passive().ok());
  }
  std::filesystem::remove(scratch / "m.db-wal");
  std::fstream file(scratch / "m.db", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(4096, '\x55');
  file.close();
  auto connection = open(scratch / "m.db");
  CHECK(ask(connection, "SELECT note FROM entry") == "corrupt");
}

TEST_CASE("what is bound comes back: numbers, texts with a NUL, bytes, nothing") {
  auto connection = Connection::open({.in_memory = true}).value();
  REQUIRE(
      connection.exec("CREATE TABLE t(n INTEGER NOT NULL, s TEXT NOT NULL, b BLOB NOT NULL, x TEXT) STRICT")
          .ok());
  auto insert = connection.prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4)").value();
  auto select = connection.prepare("SELECT n, s, b, x FROM t ORDER BY rowid DESC LIMIT 1").value();
  struct Row {
    std::int64_t number;
    std::string text;
    std::vector<std::uint8_t> bytes;
  };
  const Row rows[] = {
      {0, "", {}},
      {INT64_MAX, std::string("a\0b", 3), {0, 255, 0}},
      {INT64_MIN, "\xC3\xA9", std::vector<std::uint8_t>(100'000, 7)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.number);
    {
      const Statement::Run run(insert);
      REQUIRE(run->bind(1, row.number).bind(2, row.text).bind(3, row.bytes).bind(4, nullptr).execute().ok());
      CHECK(connection.changes() == 1);
    }
    const Statement::Run run(select);
    REQUIRE(run->step().value());
    CHECK(run->column_int(0) == row.number);
    CHECK(run->column_text(1) == row.text);
    const auto bytes = run->column_blob(2);
    CHECK(std::vector<std::uint8_t>(bytes.begin(), bytes.end()) == row.bytes);
    CHECK_FALSE(run->is_null(2));
    CHECK(run->is_null(3));
    CHECK(run->column_text(3).empty());
    // Bytes are no text, and a text is no bytes, though each is a bit away from the other.
    CHECK(run->column_text(2).empty());
    CHECK(run->column_blob(1).empty());
    CHECK_FALSE(run->step().value());
  }
  // Texts and blobs of no bytes at no address are empty, not NULL, which the columns would refuse.
  const Statement::Run run(insert);
  CHECK(run->bind(1, 1).bind(2, std::string_view()).bind(3, std::span<const std::uint8_t>()).execute().ok());
}

TEST_CASE("a run starts with nothing bound, and a wrong binding is told at the step") {
  auto connection = Connection::open({.in_memory = true}).value();
  auto select = connection.prepare("SELECT ?1").value();
  {
    const Statement::Run run(select);
    REQUIRE(run->bind(1, "secret").step().value());
    CHECK(run->column_text(0) == "secret");
  }
  {
    const Statement::Run run(select);
    REQUIRE(run->step().value());
    CHECK(run->is_null(0));
  }
  {
    const Statement::Run run(select);
    CHECK(run->bind(2, 5).step().reason() == Reason::internal);
  }
  {
    const Statement::Run run(select);
    CHECK(run->execute().reason() == Reason::internal);  // a row that nobody wanted
  }
  CHECK(connection.prepare("SELECT 1; SELECT 2").reason() == Reason::internal);
  CHECK(connection.prepare("").reason() == Reason::internal);
  CHECK(connection.prepare("SELECT 1;\n").ok());
  CHECK(connection.prepare("SELECT " + std::string(100'001, '1')).reason() == Reason::internal);
}

TEST_CASE("statements are counted when they are prepared, and not when they run") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  connection.seal();
  const std::uint64_t before = statements_prepared();
  auto insert = connection.prepare("INSERT INTO entry(note) VALUES (?1)").value();
  CHECK(statements_prepared() == before + 1);
  for (int i = 0; i < 10; ++i) {
    auto transaction = WriteTransaction::begin(connection).value();
    const std::string note = "n" + std::to_string(i);
    const Statement::Run run(insert);
    REQUIRE(run->bind(1, note).execute().ok());
    REQUIRE(transaction.commit().ok());
  }
  REQUIRE(connection.checkpoint_passive().ok());
  CHECK(statements_prepared() == before + 1);
  REQUIRE(connection.exec("SELECT 1").ok());
  CHECK(statements_prepared() == before + 2);
}

TEST_CASE("a transaction that is not committed never happened") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  {
    const auto transaction = WriteTransaction::begin(connection).value();
    REQUIRE(connection.exec("INSERT INTO entry(note) VALUES ('x')").ok());
    CHECK(connection.in_transaction());
  }
  CHECK_FALSE(connection.in_transaction());
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "2");

  auto transaction = WriteTransaction::begin(connection).value();
  REQUIRE(connection.exec("INSERT INTO entry(note) VALUES ('x')").ok());
  CHECK(transaction.state() == CommitState::open);
  CHECK(transaction.commit().ok());
  CHECK(transaction.state() == CommitState::committed);
  CHECK(transaction.commit().reason() == Reason::internal);
  transaction.rollback();
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "3");
  CHECK_FALSE(connection.broken());
}

TEST_CASE("a commit that is refused before it writes is known not to stand") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection
              .exec("CREATE TABLE parent(id INTEGER PRIMARY KEY) STRICT;"
                    "CREATE TABLE child(id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT")
              .ok());
  auto transaction = WriteTransaction::begin(connection).value();
  REQUIRE(connection.exec("INSERT INTO child VALUES (1)").ok());
  CHECK(transaction.commit().reason() == Reason::internal);
  CHECK(transaction.state() == CommitState::not_committed);
  CHECK_FALSE(connection.broken());
  CHECK_FALSE(connection.in_transaction());
  CHECK(ask(connection, "SELECT count(*) FROM child") == "0");
}

TEST_CASE("a commit that meets a disk error is unknown, and the connection is done for") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  REQUIRE(open(path).exec(append_only).ok());
  // A limit on the size of files stands in for a disk that ends; it belongs to the process, so to a child.
  CHECK(in_child([&] {
          auto connection = open(path);
          auto transaction = WriteTransaction::begin(connection).value();
          if (!connection.exec("INSERT INTO entry(note) VALUES ('x')").ok()) return 1;
          ::signal(SIGXFSZ, SIG_IGN);
          const auto log_bytes = static_cast<rlim_t>(std::filesystem::file_size(path + "-wal"));
          const rlimit limit = {log_bytes + 100, log_bytes + 100};
          if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
          const auto committed = transaction.commit();
          if (committed.reason() != Reason::outcome_unknown) return 3;
          const auto* cause = committed.error().details.find("cause");
          if (cause == nullptr || cause->string() == nullptr || *cause->string() != "io_error") return 4;
          if (transaction.state() != CommitState::unknown || !connection.broken()) return 5;
          if (WriteTransaction::begin(connection).reason() != Reason::internal) return 6;
          return 0;
        }) == 0);
  auto connection = open(path);
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "2");
  CHECK(ask(connection, "PRAGMA integrity_check") == "ok");
}

TEST_CASE("carrying on after the error that ended a transaction is found at the commit") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  auto transaction = WriteTransaction::begin(connection).value();
  REQUIRE(connection.exec("INSERT INTO entry(note) VALUES ('x')").ok());
  REQUIRE_FALSE(connection.exec("INSERT OR ROLLBACK INTO entry(note) VALUES ('x')").ok());
  REQUIRE(connection.exec("INSERT INTO entry(note) VALUES ('alone')").ok());
  CHECK(transaction.commit().reason() == Reason::internal);
  CHECK(transaction.state() == CommitState::unknown);
  CHECK(connection.broken());
}

TEST_CASE("a full file is told as a full disk, and nothing of the transaction stays") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  REQUIRE(connection.exec("PRAGMA max_page_count = 8").ok());
  {
    const auto transaction = WriteTransaction::begin(connection).value();
    auto insert = connection.prepare("INSERT INTO entry(note) VALUES (?1)", "appending").value();
    const std::string note(100'000, 'x');
    const Statement::Run run(insert);
    const auto refused = run->bind(1, note).execute();
    CHECK(refused.reason() == Reason::disk_full);
    CHECK(refused.error().message ==
          "the disk is full while appending (SQLite 13): free some space, then make the same call again");
  }
  CHECK_FALSE(connection.broken());
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "2");
  CHECK(add(connection, "small").ok());
}

TEST_CASE("a backup is the whole market in one new file") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  REQUIRE(connection.exec("CREATE TABLE filler(b BLOB) STRICT; INSERT INTO filler VALUES (zeroblob(9000000))")
              .ok());
  REQUIRE(connection.checkpoint_passive().ok());
  REQUIRE(add(connection, "only in the log").ok());
  connection.seal();
  const std::string copy = scratch / "copy.db";
  REQUIRE(connection.backup_to(copy).ok());
  CHECK_FALSE(std::filesystem::exists(copy + "-journal"));
  CHECK_FALSE(std::filesystem::exists(copy + "-wal"));
  struct stat facts = {};
  REQUIRE(::stat(copy.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  {
    auto opened = Connection::open({.path = copy, .read_only = true}).value();
    CHECK(ask(opened, "SELECT group_concat(note) FROM entry") == "first,second,only in the log");
    CHECK(ask(opened, "PRAGMA integrity_check") == "ok");
    CHECK(ask(opened, "PRAGMA journal_mode") == "wal");
  }
  auto writable = open(copy);
  CHECK(add(writable, "a life of its own").ok());

  CHECK(connection.backup_to(copy).reason() == Reason::path_refused);
  CHECK(connection.backup_to(scratch / "m.db").reason() == Reason::path_refused);
  CHECK(connection.backup_to("relative.db").reason() == Reason::path_refused);
  CHECK(connection.backup_to("file:x.db").reason() == Reason::path_refused);
  CHECK(connection.backup_to(scratch / "no/copy.db").reason() == Reason::file_missing);
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "3");
}

TEST_CASE("half a backup is removed") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::string copy = scratch / "copy.db";
  {
    auto connection = open(path);
    REQUIRE(connection.exec("CREATE TABLE t(b BLOB) STRICT; INSERT INTO t VALUES (zeroblob(9000000))").ok());
    REQUIRE(connection.checkpoint_passive().ok());
  }
  CHECK(in_child([&] {
          auto connection = open(path);
          ::signal(SIGXFSZ, SIG_IGN);
          const rlimit limit = {1'000'000, 1'000'000};
          if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
          return connection.backup_to(copy).reason() == Reason::io_error ? 0 : 2;
        }) == 0);
  CHECK_FALSE(std::filesystem::exists(copy));
  CHECK_FALSE(std::filesystem::exists(copy + "-journal"));
}

TEST_CASE("a market in memory needs no file, and has no log") {
  auto connection = Connection::open({.in_memory = true}).value();
  REQUIRE(connection.exec(append_only).ok());
  CHECK(add(connection, "third").ok());
  CHECK(connection.wal_frames() == 0);
  const auto count = connection.checkpoint_passive().value();
  CHECK(count.frames == 0);
  CHECK(count.moved == 0);
  const Scratch scratch;
  REQUIRE(connection.backup_to(scratch / "copy.db").ok());
  auto copy = Connection::open({.path = scratch / "copy.db", .create = false}).value();
  CHECK(ask(copy, "SELECT count(*) FROM entry") == "3");
}

TEST_CASE("a connection that moves keeps its busy handler and its statements") {
  const Scratch scratch;
  auto first = open(scratch / "m.db");
  REQUIRE(first.exec(append_only).ok());
  auto opened = Connection::open({.path = scratch / "m.db", .busy_timeout_ms = 20}).value();
  auto count = opened.prepare("SELECT count(*) FROM entry").value();
  Connection moved = std::move(opened);
  Statement counts = std::move(count);
  const auto held = WriteTransaction::begin(first).value();
  CHECK(WriteTransaction::begin(moved).reason() == Reason::store_busy);
  const Statement::Run run(counts);
  REQUIRE(run->step().value());
  CHECK(run->column_int(0) == 2);
}

TEST_CASE("a forked child that ends leaves its parent's connection and locks alone") {
  const Scratch scratch;
  auto connection = open(scratch / "m.db");
  REQUIRE(connection.exec(append_only).ok());
  auto transaction = WriteTransaction::begin(connection).value();
  REQUIRE(connection.exec("INSERT INTO entry(note) VALUES ('x')").ok());
  CHECK(in_child([&] {
          sqlite3* db = connection.handle();
          { const WriteTransaction gone = std::move(transaction); }
          if (sqlite3_get_autocommit(db) != 0) return 1;
          const int open_before = descriptors_of(scratch / "m.db");
          { const Connection gone = std::move(connection); }
          return open_before > 0 && descriptors_of(scratch / "m.db") == open_before ? 0 : 2;
        }) == 0);
  CHECK(in_child([&] {
          auto theirs = Connection::open({.path = scratch / "m.db", .busy_timeout_ms = 10}).value();
          return WriteTransaction::begin(theirs).reason() == Reason::store_busy ? 0 : 1;
        }) == 0);
  CHECK(transaction.commit().ok());
  CHECK(ask(connection, "SELECT count(*) FROM entry") == "3");
}

TEST_CASE("the versions of SQLite that keep a commit beside a checkpoint are known") {
  struct Row {
    int version;
    bool fixed;
  };
  const Row rows[] = {{3007000, false}, {3040001, false}, {3044005, false}, {3044006, true},
                      {3045000, false}, {3050006, false}, {3050007, true},  {3051000, false},
                      {3051002, false}, {3051003, true},  {3054001, true}};
  for (const Row& row : rows) {
    CAPTURE(row.version);
    CHECK(has_wal_reset_fix(row.version) == row.fixed);
  }
  CHECK(sqlite_has_wal_reset_fix() == has_wal_reset_fix(sqlite3_libversion_number()));
}
