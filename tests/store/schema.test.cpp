// How a file that an older calyx made goes forward, and what an engine that has it open meanwhile sees of
// that.
#include "store/schema.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "services/raw.hpp"
#include "store/asking.hpp"
#include "store/later_schemas.hpp"
#include "store/market_store.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using namespace calyx::store;

namespace {

Connection open_at(const std::string& path, bool read_only = false) {
  return Connection::open({.path = path, .read_only = read_only, .create = !read_only}).value();
}

/// A file of this build's schema with three events.
void make_file(const std::string& path) {
  Connection connection = open_at(path);
  REQUIRE(migrate(connection, false).ok());
  MarketStore store = MarketStore::make(connection, true).value();
  WriteTransaction transaction = WriteTransaction::begin(connection).value();
  for (Seq seq = 1; seq <= 3; ++seq) REQUIRE(store.append_event(seq, Instant{1'000 * seq}, 6, "{}", {}).ok());
  REQUIRE(transaction.commit().ok());
}

}  // namespace

TEST_CASE("a file goes forward by one version or by two, with all that it holds") {
  for (const Schema& schema : {next_schema(), next_but_one_schema()}) {
    CAPTURE(schema.version);
    const Scratch scratch;
    const std::string path = scratch / "m.db";
    make_file(path);
    Connection connection = open_at(path);
    REQUIRE(migrate(connection, false, Blank::refused, schema).ok());
    CHECK(ask(connection, "PRAGMA user_version") == std::to_string(schema.version));
    CHECK(ask(connection, "SELECT group_concat(seq || ' ' || at_us) FROM events") == "1 1000,2 2000,3 3000");
    CHECK(ask(connection, "SELECT group_concat(id || ' ' || text) FROM remarks") ==
          "1 of 1000,2 of 2000,3 of 3000");
    CHECK_FALSE(connection.exec("DELETE FROM remarks").ok());
    CHECK_FALSE(connection.exec("DELETE FROM events").ok());

    // Nothing is left to do, and a new file is the same.
    REQUIRE(migrate(connection, false, Blank::refused, schema).ok());
    Connection fresh = open_at(scratch / "fresh.db");
    REQUIRE(migrate(fresh, false, Blank::becomes_a_market, schema).ok());
    const char* all =
        "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY type, name)";
    CHECK(ask(fresh, all) == ask(connection, all));

    // Beside it lies what it was.
    const std::string copy = path + "-schema" + std::to_string(schema_version);
    struct stat facts = {};
    REQUIRE(::stat(copy.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    Connection before = open_at(copy);
    CHECK(migrate(before, false).ok());
    CHECK(ask(before, "SELECT count(*) FROM events") == "3");

    // This build refuses what comes after it, and reads it.
    const Result<Done> back = migrate(connection, false);
    CHECK(back.reason() == Reason::file_newer);
    CHECK(migrate(connection, true).ok());
  }
}

TEST_CASE("a file that is only read does not go forward") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  make_file(path);
  Connection connection = open_at(path, true);
  const Result<Done> refused = migrate(connection, true, Blank::refused, next_schema());
  REQUIRE(refused.reason() == Reason::read_only);
  CHECK(refused.error().message.find("open it once for writing") != std::string::npos);
  CHECK(*refused.error().details.find("file")->integer() == schema_version);
  CHECK(*refused.error().details.find("build")->integer() == schema_version + 1);
  CHECK(ask(connection, "PRAGMA user_version") == std::to_string(schema_version));
  CHECK_FALSE(std::filesystem::exists(path + "-schema" + std::to_string(schema_version)));
}

TEST_CASE("a file that was changed, or is damaged, or that a step does not fit, stays as it is") {
  struct Row {
    const char* says;
    const char* change;  ///< To the file.
    Schema schema;
    Reason reason;
    const char* part;
  };
  Schema wrong_step = next_schema();
  wrong_step.steps.back().pop_back();
  wrong_step.steps.back().pop_back();
  Schema failing_step = next_schema();
  failing_step.steps.back().push_back("DELETE FROM events");
  const Row rows[] = {
      {"a trigger is gone", "DROP TRIGGER events_no_UPDATE", next_schema(), Reason::corrupt,
       "trigger events_no_UPDATE is missing"},
      {"a table was added", "CREATE TABLE mine(x)", next_schema(), Reason::corrupt, "table mine was added"},
      {"a table is in the step's way", "CREATE TABLE remarks(x)", next_schema(), Reason::internal, "remarks"},
      {"a step that makes another schema", "SELECT 1", wrong_step, Reason::corrupt, "trigger remarks_stay"},
      {"a step that touches the log", "SELECT 1", failing_step, Reason::internal, "append-only"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Scratch scratch;
    const std::string path = scratch / "m.db";
    make_file(path);
    {
      Connection other = open_at(path);
      REQUIRE(other.exec(row.change).ok());
    }
    Connection connection = open_at(path);
    const std::string before = ask(connection, "SELECT group_concat(sql, ';') FROM sqlite_schema");
    const Result<Done> refused = migrate(connection, false, Blank::refused, row.schema);
    REQUIRE(refused.reason() == row.reason);
    CHECK(refused.error().message.find(row.part) != std::string::npos);
    CHECK(ask(connection, "SELECT group_concat(sql, ';') FROM sqlite_schema") == before);
    CHECK(ask(connection, "PRAGMA user_version") == std::to_string(schema_version));
    CHECK(ask(connection, "SELECT count(*) FROM events") == "3");
  }

  const Scratch scratch;
  const std::string path = scratch / "m.db";
  make_file(path);
  {
    Connection whole = open_at(path);
    REQUIRE(whole.empty_log().ok());
  }
  {
    // Of the events' index, which is of no use to a reader: only a look at all pages finds it.
    Connection other = open_at(path);
    const std::string root = ask(other, "SELECT rootpage FROM sqlite_schema WHERE name = 'standing_events'");
    const std::string page_size = ask(other, "PRAGMA page_size");
    std::FILE* file = std::fopen(path.c_str(), "r+b");
    REQUIRE(file != nullptr);
    std::fseek(file, (std::stol(root) - 1) * std::stol(page_size), SEEK_SET);
    std::fputs("not a page", file);
    std::fclose(file);
  }
  Connection connection = open_at(path);
  const Result<Done> refused = migrate(connection, false, Blank::refused, next_schema());
  CHECK(refused.reason() == Reason::corrupt);
  CHECK(ask(connection, "PRAGMA user_version") == std::to_string(schema_version));
}

TEST_CASE("a copy takes the place of no other") {
  const Scratch scratch;
  const std::string path = scratch / "m.db", copies = path + "-schema" + std::to_string(schema_version);
  make_file(path);
  const auto leave = [&](const std::string& at) {
    std::FILE* left = std::fopen(at.c_str(), "w");
    REQUIRE(left != nullptr);
    std::fputs("somebody's", left);
    std::fclose(left);
  };
  leave(copies);
  for (int n = 2; n <= 9; ++n) leave(copies + "-" + std::to_string(n));
  {
    Connection connection = open_at(path);
    CHECK(migrate(connection, false, Blank::refused, next_schema()).reason() == Reason::path_refused);
    CHECK(ask(connection, "PRAGMA user_version") == std::to_string(schema_version));
  }
  std::filesystem::remove(copies + "-3");
  Connection connection = open_at(path);
  REQUIRE(migrate(connection, false, Blank::refused, next_schema()).ok());
  CHECK(std::filesystem::file_size(copies) == 10);
  Connection copy = open_at(copies + "-3");
  CHECK(ask(copy, "SELECT count(*) FROM events") == "3");
}

TEST_CASE("who opens a file that goes forward just then finds it of one schema or of the other") {
  const Scratch scratch;
  std::atomic<int> wrong{0}, looked{0};
  for (int round = 0; round < 20; ++round) {
    const std::string path = scratch / ("m" + std::to_string(round) + ".db");
    make_file(path);
    std::atomic<bool> done{false};
    std::thread reader([&] {
      while (!done.load()) {
        Connection connection = open_at(path, true);
        if (!migrate(connection, true).ok()) ++wrong;
        ++looked;
      }
    });
    Connection connection = open_at(path);
    CHECK(migrate(connection, false, Blank::refused, next_schema()).ok());
    done = true;
    reader.join();
  }
  CHECK(wrong.load() == 0);
  CHECK(looked.load() > 0);
}

TEST_CASE("an engine under which a newer one changed the schema reads and writes nothing more") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  make_file(path);
  Connection older = open_at(path);
  REQUIRE(migrate(older, false).ok());
  older.seal();
  MarketStore store = MarketStore::make(older, true).value();
  older.freeze();
  REQUIRE(store.last_seq().value() == 3);
  CHECK_FALSE(older.prepare("SELECT 1", "asking").ok());

  Connection newer = open_at(path);
  REQUIRE(migrate(newer, false, Blank::refused, next_schema()).ok());

  const Result<Seq> read = store.last_seq();
  REQUIRE(read.reason() == Reason::file_newer);
  CHECK(read.error().message.find("close it, and open the market with the newest calyx") !=
        std::string::npos);
  {
    WriteTransaction transaction = WriteTransaction::begin(older).value();
    CHECK(store.append_event(4, Instant{4'000}, 6, "{}", {}).reason() == Reason::file_newer);
    transaction.rollback();
  }
  CHECK(ask(newer, "SELECT max(seq) FROM events") == "3");
  CHECK_FALSE(older.in_transaction());
  {
    WriteTransaction transaction = WriteTransaction::begin(newer).value();
    REQUIRE(newer.exec("INSERT INTO remarks(id, text) VALUES(4, 'on')").ok());
    REQUIRE(transaction.commit().ok());
  }
}
