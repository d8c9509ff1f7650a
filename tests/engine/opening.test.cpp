#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <calyx/engine.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "engine/openings.hpp"
#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::in_child;
using store::Scratch;
using testing::at, testing::make_market, testing::populate, testing::reading, testing::run_sql, testing::says;
namespace fs = std::filesystem;

namespace {

/// As `make_market`, by a process that ends without closing it, so that the log holds all.
void make_and_crash(const std::string& path) {
  CHECK(in_child([&] {
          auto* engine = new Engine(Engine::open(at(path)).value());
          populate(*engine);
          return 0;
        }) == 0);
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
std::map<std::string, std::string> folder(const Scratch& scratch) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::directory_iterator(scratch.folder()))
    out[entry.path().filename()] = bytes_of(entry.path());
  return out;
}

}  // namespace

TEST_CASE("a market whose file is gone, and may come back, is not begun anew") {
  struct Row {
    std::string says;
    std::function<void(const std::string&)> spoil;
    const char* part;
  };
  const auto lose = [](const char* ending) {
    return [ending](const std::string& path) { fs::remove(path + ending); };
  };
  const Row rows[] = {
      {"the file is gone, its log and its keys stand", lose(""), "-wal"},
      {"the file is empty", [](const std::string& path) { fs::resize_file(path, 0); }, "-wal"},
      {"the file is gone, its log stands",
       [](const std::string& path) {
         fs::remove(path);
         fs::remove(path + "-keys");
       },
       "-wal"},
      {"the file is gone with its log, its keys stand",
       [](const std::string& path) {
         fs::remove(path);
         fs::remove(path + "-wal");
       },
       "-keys"},
      {"the file is empty, its log is gone, its keys stand",
       [](const std::string& path) {
         fs::resize_file(path, 0);
         fs::remove(path + "-wal");
       },
       "-keys"},
      {"the log is gone that held all, the file is blank", lose("-wal"), "-keys"},
      {"the log holds nothing any more",
       [](const std::string& path) {
         std::fstream log(path + "-wal", std::ios::binary | std::ios::in | std::ios::out);
         log << std::string(32, '\0');
       },
       "-keys"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Scratch scratch;
    const std::string path = scratch / "m.db";
    make_and_crash(path);
    fs::remove(path + "-shm");
    const auto whole = folder(scratch);
    row.spoil(path);
    const std::string before = bytes_of(path);
    const bool stood = fs::exists(path);
    for (const Options& options : {at(path), reading(path)}) {
      const Result<Engine> opened = Engine::open(options);
      REQUIRE(opened.reason() == Reason::file_missing);
      CAPTURE(opened.error().message);
      CHECK(says(opened.error().message, row.part));
      CHECK(fs::exists(path) == stood);
      CHECK(bytes_of(path) == before);
    }
    // Put back, it is the market again.
    for (const char* name : {"m.db", "m.db-wal", "m.db-keys"})
      std::ofstream(scratch / name, std::ios::binary) << whole.at(name);
    fs::permissions(path + "-keys", fs::perms::owner_read | fs::perms::owner_write);
    fs::remove(path + "-shm");
    Result<Engine> opened = Engine::open(at(path));
    REQUIRE(opened.ok());
    CHECK(opened->as_operator().wallets().value().items.size() == 1);
  }
}

TEST_CASE("opening what is no market leaves nothing beside it") {
  struct Row {
    std::string says;
    std::function<void(const std::string&)> make;
  };
  const Row rows[] = {
      {"notes", [](const std::string& path) { std::ofstream(path) << "milk, eggs"; }},
      {"long notes", [](const std::string& path) { std::ofstream(path) << std::string(9'000, 'n'); }},
      {"somebody's database", [](const std::string& path) { run_sql(path, "CREATE TABLE t(x)"); }},
      {"somebody's database in WAL mode",
       [](const std::string& path) { run_sql(path, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)"); }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Scratch scratch;
    const std::string path = scratch / "notes.txt";
    row.make(path);
    const auto before = folder(scratch);
    for (const Options& options : {at(path), reading(path)}) {
      CHECK(Engine::open(options).reason() == Reason::not_a_market);
      CHECK(folder(scratch) == before);
    }
  }
  // An empty file is none yet for a reader; for others it may become one, as a host's mkstemp leaves it.
  const Scratch blank;
  std::ofstream{blank / "m.db"};
  CHECK(Engine::open(reading(blank / "m.db")).reason() == Reason::not_a_market);
  CHECK(fs::file_size(blank / "m.db") == 0);
  CHECK_FALSE(fs::exists(blank / "m.db-keys"));
  CHECK(Engine::open(at(blank / "m.db")).ok());
  // Where only SQLite can tell, its own files come, and a gate that was made for nothing goes.
  const Scratch scratch;
  const std::string path = scratch / "app.db";
  run_sql(path, "PRAGMA journal_mode=WAL; PRAGMA application_id=7; CREATE TABLE t(x)");
  CHECK(Engine::open(at(path)).reason() == Reason::not_a_market);
  CHECK_FALSE(fs::exists(path + "-gate"));
}

TEST_CASE("looking at a market drops no lock that this process holds") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  Engine engine = Engine::open(at(path)).value();
  const WalletId wallet = populate(engine);
  for (int i = 0; i < 3; ++i) {
    CHECK(Engine::open(at(path)).ok());
    CHECK(Engine::open(reading(path)).ok());
    CHECK(
        engine.as_operator().spend({.wallet = wallet, .job_id = std::to_string(i), .amount = Money{1}}).ok());
  }
  // SQLite keeps the log's index locked while anybody has it open: another process sees it.
  CHECK(in_child([&] { return Engine::open(at(path)).value().as_operator().audit().value().ok ? 0 : 1; }) ==
        0);
}

TEST_CASE("without its key file a reader says of an API key that it cannot be checked") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  std::string key;
  {
    Engine engine = Engine::open(at(path)).value();
    key = engine.issue_operator_key("mine").value().api_key;
  }
  CHECK(Engine::open(reading(path)).value().session(key).ok());
  CHECK(Engine::open(reading(path)).value().session("cyx_op_wrong").reason() == Reason::unauthorized);
  fs::rename(path + "-keys", scratch / "away");
  Engine reader = Engine::open(reading(path)).value();
  const Result<Session> session = reader.session(key);
  REQUIRE(session.reason() == Reason::keys_missing);
  CHECK(session.error().status() == Status::unavailable);
  CHECK(says(session.error().message, "-keys"));
}

TEST_CASE("a schema that is not this build's is corrupt, and the difference is named") {
  struct Row {
    const char* says;
    const char* sql;
  };
  const Row rows[] = {
      {"trigger events_no_DELETE is missing", "DROP TRIGGER events_no_DELETE"},
      {"index standing_events is missing", "DROP INDEX standing_events"},
      {"trigger entries_no_UPDATE was changed",
       "DROP TRIGGER entries_no_UPDATE; CREATE TRIGGER entries_no_UPDATE BEFORE UPDATE ON entries BEGIN "
       "SELECT 1; END"},
      {"trigger thief was added",
       "CREATE TRIGGER thief AFTER INSERT ON entries BEGIN DELETE FROM locks; END"},
      {"table notes was added", "CREATE TABLE notes(x)"},
      {"view sums was added", "CREATE VIEW sums AS SELECT 1"},
      {"index by_amount was added", "CREATE INDEX by_amount ON entries(amount)"},
      {"table requests was changed", "ALTER TABLE requests ADD COLUMN x TEXT"},
      {"table tiles is missing", "DROP TABLE tiles"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Scratch scratch;
    const std::string path = scratch / "m.db";
    make_market(path);
    run_sql(path, row.sql);
    for (const Options& options : {at(path), reading(path)}) {
      const Result<Engine> opened = Engine::open(options);
      REQUIRE(opened.reason() == Reason::corrupt);
      CAPTURE(opened.error().message);
      CHECK(says(opened.error().message, row.says));
    }
  }
  // Behind the back of an engine that has it open, the audit finds it.
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  make_market(path);
  Engine engine = Engine::open(at(path)).value();
  CHECK(engine.as_operator().audit().value().ok);
  CHECK(in_child([&] {
          sqlite3* db = nullptr;
          sqlite3_open(path.c_str(), &db);
          return sqlite3_exec(db, "DROP TRIGGER events_no_DELETE", nullptr, nullptr, nullptr);
        }) == 0);
  const AuditReport report = engine.as_operator().audit().value();
  CHECK_FALSE(report.ok);
  CHECK(report.first_fault == "schema: trigger events_no_DELETE is missing");
}

TEST_CASE("a gate that was left by a larger market does not mislead the one that is opened") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  make_market(path);
  const std::uint64_t committed = store::Gate::open(path + "-gate").value().committed_seq().value();
  store::Gate::open(path + "-gate").value().publish(committed + 1'000);
  Engine engine = Engine::open(at(path)).value();
  CHECK(store::Gate::open(path + "-gate").value().committed_seq() == committed);
  CHECK(engine.as_operator().wallets().ok());
}

TEST_CASE("a market that is closed in peace is its file alone") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  {
    Engine engine = Engine::open(at(path)).value();
    populate(engine);
    {
      Engine other = Engine::open(at(path)).value();
      CHECK(other.as_operator().wallets().ok());
    }
    CHECK(engine.as_operator().wallets().value().items.size() == 1);
    populate(engine);
    CHECK(fs::file_size(path + "-wal") > 0);
  }
  CHECK(fs::file_size(path + "-wal") == 0);
  fs::remove(path + "-wal");
  fs::remove(path + "-shm");
  CHECK(Engine::open(at(path)).value().as_operator().wallets().value().items.size() == 2);
}
