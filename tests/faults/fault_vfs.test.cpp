/// \file
/// The fault harness tries itself on plain SQLite: it finds nothing where SQLite keeps its promise, and it
/// finds losses wherever the promise is taken away.
#include "fault_vfs.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fault_alloc.hpp"

namespace calyx::faults {
namespace {

constexpr const char* ledger_path = "/mem/ledger.db";

/// A connection with no comfort: every call gives SQLite's code.
class Connection {
 public:
  explicit Connection(const Disk& disk) {
    opened_ = sqlite3_open_v2(ledger_path, &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, disk.vfs_name());
  }
  ~Connection() { sqlite3_close_v2(db_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int opened() const { return opened_; }
  sqlite3* raw() const { return db_; }
  int run(const char* sql) const { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); }

  /// The first column of the first row, or -1 when there is none.
  std::int64_t number(const char* sql) const {
    std::int64_t value = -1;
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
      value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
  }

  bool says_ok(const char* sql) const {
    bool ok = false;
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      ok = text != nullptr && std::strcmp(text, "ok") == 0;
    }
    sqlite3_finalize(statement);
    return ok;
  }

 private:
  sqlite3* db_ = nullptr;
  int opened_ = SQLITE_ERROR;
};

struct Mode {
  const char* journal;
  const char* synchronous;
};

/// Opens the ledger as `mode` says. A WAL of 12 pages makes a short story checkpoint and restart it often.
int set_up(const Connection& connection, const Mode& mode) {
  if (connection.opened() != SQLITE_OK) return connection.opened();
  const std::string sql =
      std::string("PRAGMA synchronous=") + mode.synchronous + ";PRAGMA journal_mode=" + mode.journal +
      ";PRAGMA wal_autocheckpoint=12"
      ";CREATE TABLE IF NOT EXISTS entry(seq INTEGER PRIMARY KEY, account INTEGER NOT NULL,"
      " amount INTEGER NOT NULL, note TEXT NOT NULL)"
      ";CREATE TABLE IF NOT EXISTS balance(account INTEGER PRIMARY KEY, amount INTEGER NOT NULL)";
  return connection.run(sql.c_str());
}

/// One transfer: two legs and two balances. The note makes pages fill, split and go through the WAL.
int transfer(const Connection& connection, std::uint64_t number) {
  const std::string n = std::to_string(number);
  const std::string from = std::to_string(number % 3);
  const std::string to = std::to_string(3 + number % 5);
  const std::string note = ", hex(zeroblob(" + std::to_string(40 + number * 37 % 400) + ")))";
  const std::string sql = "BEGIN IMMEDIATE;INSERT INTO entry(account,amount,note) VALUES(" + from + ",-" + n +
                          note + ",(" + to + "," + n + note + ";INSERT INTO balance VALUES(" + from + ",-" +
                          n +
                          ") ON CONFLICT DO UPDATE SET amount=amount+excluded.amount"
                          ";INSERT INTO balance VALUES(" +
                          to + "," + n + ") ON CONFLICT DO UPDATE SET amount=amount+excluded.amount;COMMIT";
  const int code = connection.run(sql.c_str());
  if (code != SQLITE_OK && sqlite3_get_autocommit(connection.raw()) == 0) connection.run("ROLLBACK");
  return code;
}

/// What a recovered ledger holds.
struct Books {
  bool sound = false;           ///< Readable, whole, summing to zero, and a prefix of the story.
  std::uint64_t transfers = 0;  ///< How long a prefix.
};

Books read_books(const Connection& connection) {
  Books books;
  if (connection.opened() != SQLITE_OK || !connection.says_ok("PRAGMA integrity_check")) return books;
  const std::int64_t tables =
      connection.number("SELECT count(*) FROM sqlite_schema WHERE name IN ('entry','balance')");
  if (tables < 0) return books;
  if (tables < 2) {
    books.sound = true;
    return books;
  }
  const std::int64_t legs = connection.number("SELECT count(*) FROM entry");
  const std::int64_t gaps = connection.number("SELECT coalesce(max(seq),0)-count(*) FROM entry");
  const std::int64_t sum = connection.number("SELECT coalesce(sum(amount),0) FROM entry");
  const std::int64_t astray = connection.number(
      "SELECT count(*) FROM balance b WHERE amount<>(SELECT sum(amount) FROM entry e WHERE "
      "e.account=b.account)");
  // Transfer n moves n, so the last leg tells its own number.
  const std::int64_t last =
      connection.number("SELECT coalesce((SELECT amount FROM entry ORDER BY seq DESC),0)");
  books.sound = legs >= 0 && legs % 2 == 0 && gaps == 0 && sum == 0 && astray == 0 && last == legs / 2;
  if (books.sound) books.transfers = static_cast<std::uint64_t>(legs) / 2;
  return books;
}

Books recover(Disk& disk, const Image& image) {
  disk.restore(image);
  const Connection connection(disk);
  return read_books(connection);
}

/// The story: open, transfers, close, open again, more transfers. Owns nothing but the trace.
struct Story {
  Trace trace;
  std::vector<std::uint64_t>
      acknowledged;  ///< How many events had returned when transfer n was acknowledged.

  std::uint64_t acknowledged_by(std::uint64_t events) const {
    std::uint64_t count = 0;
    while (count < acknowledged.size() && acknowledged[count] <= events) ++count;
    return count;
  }
};

Story tell(Disk& disk, const Mode& mode, std::uint64_t transfers) {
  Story story;
  disk.start_trace();
  for (int half = 0; half < 2; ++half) {
    const Connection connection(disk);
    REQUIRE(set_up(connection, mode) == SQLITE_OK);
    const std::uint64_t end = half == 0 ? transfers / 2 : transfers;
    while (story.acknowledged.size() < end) {
      REQUIRE(transfer(connection, story.acknowledged.size() + 1) == SQLITE_OK);
      story.acknowledged.push_back(disk.events());
    }
  }
  REQUIRE(disk.open_files() == 0);
  story.trace = disk.take_trace();
  return story;
}

struct Tally {
  std::uint64_t recoveries = 0;
  std::uint64_t lost = 0;
  std::uint64_t unsound = 0;
};

Tally cut_everywhere(Disk& disk, const Story& story, Syncs syncs) {
  Tally tally;
  const std::vector<Damage> damages(all_damages.begin(), all_damages.end());
  tally.recoveries = for_each_cut(story.trace, damages, syncs, [&](const Cut& cut) {
    const Books books = recover(disk, cut.left);
    if (!books.sound)
      ++tally.unsound;
    else if (books.transfers < story.acknowledged_by(cut.events))
      ++tally.lost;
  });
  return tally;
}

}  // namespace

TEST_CASE("a power cut after any event loses acknowledged transfers only where durability was given up") {
  enum class Expect { nothing, some };
  struct Row {
    const char* says;
    Mode mode;
    Syncs syncs;
    bool powersafe_overwrite;
    Expect lost;
    Expect unsound;
  };
  const Row rows[] = {
      {"WAL, FULL", {"WAL", "FULL"}, Syncs::honours, true, Expect::nothing, Expect::nothing},
      {"WAL, FULL, whole sectors at risk",
       {"WAL", "FULL"},
       Syncs::honours,
       false,
       Expect::nothing,
       Expect::nothing},
      {"rollback journal, EXTRA",
       {"DELETE", "EXTRA"},
       Syncs::honours,
       true,
       Expect::nothing,
       Expect::nothing},
      {"WAL, NORMAL", {"WAL", "NORMAL"}, Syncs::honours, true, Expect::some, Expect::nothing},
      {"WAL, OFF", {"WAL", "OFF"}, Syncs::honours, true, Expect::some, Expect::some},
      {"WAL, FULL, on a medium that ignores syncs",
       {"WAL", "FULL"},
       Syncs::ignores,
       true,
       Expect::some,
       Expect::some},
      {"rollback journal, OFF", {"DELETE", "OFF"}, Syncs::honours, true, Expect::some, Expect::some},
  };
  for (const Row& row : rows) {
    const std::string says = row.says;
    CAPTURE(says);
    Disk disk({.powersafe_overwrite = row.powersafe_overwrite});
    const Story story = tell(disk, row.mode, 40);
    const Tally tally = cut_everywhere(disk, story, row.syncs);
    MESSAGE(says << ": " << story.trace.events.size() << " events, " << tally.recoveries << " recoveries, "
                 << tally.lost << " lost acknowledged transfers, " << tally.unsound << " unsound");
    CHECK(tally.recoveries > story.trace.events.size());
    CHECK((tally.lost > 0) == (row.lost == Expect::some));
    CHECK((tally.unsound > 0) == (row.unsound == Expect::some));
  }
}

TEST_CASE("a second power cut during the recovery from the first loses nothing either") {
  Disk disk;
  const Story story = tell(disk, {"WAL", "FULL"}, 24);
  const std::vector<Damage> first = {{DamageKind::mixed, 7}, {DamageKind::keep_all, 0}};
  const std::vector<Damage> second = {
      {DamageKind::drop_all, 0}, {DamageKind::mixed, 11}, {DamageKind::torn, 3}, {DamageKind::reordered, 5}};
  std::uint64_t recoveries = 0;
  std::uint64_t bad = 0;
  for_each_cut(story.trace, first, Syncs::honours, [&](const Cut& cut) {
    disk.restore(cut.left);
    disk.start_trace();
    {
      const Connection connection(disk);
      read_books(connection);
    }  // Closing checkpoints, which is where recovery writes.
    const Trace recovery = disk.take_trace();
    recoveries += for_each_cut(recovery, second, Syncs::honours, [&](const Cut& again) {
      const Books books = recover(disk, again.left);
      if (!books.sound || books.transfers < story.acknowledged_by(cut.events)) ++bad;
    });
  });
  MESSAGE(recoveries << " recoveries from two cuts, " << bad << " bad");
  CHECK(recoveries > 1000);
  CHECK(bad == 0);
}

TEST_CASE("one commit costs one sync, and one more when it restarts the WAL") {
  Disk disk;
  const Connection connection(disk);
  REQUIRE(set_up(connection, {"WAL", "FULL"}) == SQLITE_OK);
  REQUIRE(connection.run("PRAGMA wal_autocheckpoint=0") == SQLITE_OK);
  REQUIRE(transfer(connection, 1) == SQLITE_OK);
  disk.reset_counters();
  for (std::uint64_t n = 2; n <= 11; ++n) REQUIRE(transfer(connection, n) == SQLITE_OK);
  CHECK(disk.counters().syncs == 10);
  CHECK(disk.counters().writes >= 40);
  CHECK(disk.counters().bytes_written > 40 * 1024);

  REQUIRE(sqlite3_wal_checkpoint_v2(connection.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr) ==
          SQLITE_OK);
  disk.reset_counters();
  REQUIRE(transfer(connection, 12) == SQLITE_OK);
  CHECK(disk.counters().syncs == 2);
}

TEST_CASE("damage is what its name says, down to the sector") {
  // A file of three durable sectors, then two unsynced writes: sectors 0 and 1 at once, then sector 2.
  const Bytes old(3 * sector_bytes, 'o');
  Trace trace;
  trace.start.files.emplace("/f", Content(old));
  trace.start_files.emplace("/f", 1);
  trace.events.push_back({EventKind::write, 1, "/f", 0, Bytes(2 * sector_bytes, 'a')});
  trace.events.push_back({EventKind::write, 1, "/f", 2 * sector_bytes, Bytes(sector_bytes, 'b')});
  trace.events.push_back({EventKind::sync_failed, 1, "/f", 0, {}});
  trace.events.push_back({EventKind::write, 1, "/f", 0, Bytes(2 * sector_bytes, 'c')});
  trace.events.push_back({EventKind::sync, 1, "/f", 0, {}});
  trace.events.push_back({EventKind::create, 2, "/g", 0, {}});
  trace.events.push_back({EventKind::remove, 1, "/f", 0, {}});
  trace.events.push_back({EventKind::sync, 2, "/g", 0, {}});

  /// One letter a sector, '?' for one that is not uniform, "none" where there is no file.
  const auto spell = [](const Image& image, const char* name) {
    const auto found = image.files.find(name);
    if (found == image.files.end()) return std::string("none");
    const Bytes& bytes = found->second.read();
    std::string letters;
    for (std::size_t at = 0; at < bytes.size(); at += sector_bytes) {
      const Bytes sector(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         bytes.begin() + static_cast<std::ptrdiff_t>(at + sector_bytes));
      letters += sector == Bytes(sector_bytes, sector[0]) ? static_cast<char>(sector[0]) : '?';
    }
    return letters;
  };
  struct Row {
    const char* says;
    std::uint64_t events;
    Damage damage;
    const char* f;
    const char* g;
  };
  const Row rows[] = {
      {"nothing has happened", 0, {DamageKind::keep_all, 0}, "ooo", "none"},
      {"unsynced writes are gone", 2, {DamageKind::drop_all, 0}, "ooo", "none"},
      {"unsynced writes are there", 2, {DamageKind::keep_all, 0}, "aab", "none"},
      {"the later one alone is there", 2, {DamageKind::reordered, 0}, "oob", "none"},
      {"a write of one sector tears to nothing", 2, {DamageKind::torn, 1}, "aao", "none"},
      {"a failed sync makes nothing durable", 3, {DamageKind::drop_all, 0}, "ooo", "none"},
      {"nor does the next one save what it lost", 5, {DamageKind::drop_all, 0}, "cco", "none"},
      {"which may be there all the same", 5, {DamageKind::keep_all, 0}, "ccb", "none"},
      {"a removal that nobody synced comes undone", 7, {DamageKind::drop_all, 0}, "cco", "none"},
      {"or stands", 7, {DamageKind::keep_all, 0}, "none", ""},
      {"the sync of a new file hardens the directory", 8, {DamageKind::drop_all, 0}, "none", ""},
  };
  for (const Row& row : rows) {
    const std::string says = row.says;
    CAPTURE(says);
    Replay replay(trace);
    replay.advance_to(row.events);
    const Image image = replay.image(row.damage);
    CHECK(spell(image, "/f") == row.f);
    CHECK(spell(image, "/g") == row.g);
  }

  Replay replay(trace);
  replay.advance_to(1);
  bool torn_between = false;
  bool garbage = false;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    const std::string torn = spell(replay.image({DamageKind::torn, seed}), "/f");
    const std::string mixed = spell(replay.image({DamageKind::mixed, seed}), "/f");
    CHECK((torn == "ooo" || torn == "aoo"));
    torn_between = torn_between || torn == "aoo";
    CHECK(mixed.size() == 3);
    CHECK(mixed[2] == 'o');
    garbage = garbage || mixed[0] == '?' || mixed[1] == '?';
    CHECK(replay.image({DamageKind::mixed, seed}).same_as(replay.image({DamageKind::mixed, seed})));
  }
  CHECK(torn_between);
  CHECK(garbage);
}

TEST_CASE("connections of one process lock each other out as processes would") {
  Disk disk;
  const Connection writer(disk);
  const Connection other(disk);
  SUBCASE("with a WAL: one writer, and readers keep what they saw") {
    REQUIRE(set_up(writer, {"WAL", "FULL"}) == SQLITE_OK);
    REQUIRE(transfer(writer, 1) == SQLITE_OK);
    REQUIRE(other.run("BEGIN") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 2);
    REQUIRE(writer.run("BEGIN IMMEDIATE;INSERT INTO entry VALUES(3,1,1,'')") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 2);
    CHECK(transfer(Connection(disk), 2) == SQLITE_BUSY);
    CHECK(writer.run("COMMIT") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 2);
    // A checkpoint cannot pass the reader, so the WAL is not truncated under it.
    CHECK(writer.run("PRAGMA busy_timeout=0") == SQLITE_OK);
    CHECK(writer.number("PRAGMA wal_checkpoint(TRUNCATE)") == 1);
    CHECK(other.run("INSERT INTO entry VALUES(4,1,1,'')") == SQLITE_BUSY);
    CHECK(sqlite3_extended_errcode(other.raw()) == SQLITE_BUSY_SNAPSHOT);
    CHECK(other.run("COMMIT") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 3);
    CHECK(writer.number("PRAGMA wal_checkpoint(TRUNCATE)") == 0);
    CHECK(disk.snapshot().files.at(std::string(ledger_path) + "-wal").read().empty());
  }
  SUBCASE("with a rollback journal: a writer waits for readers, and new readers wait for it") {
    REQUIRE(set_up(writer, {"DELETE", "EXTRA"}) == SQLITE_OK);
    REQUIRE(transfer(writer, 1) == SQLITE_OK);
    REQUIRE(other.run("BEGIN") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 2);
    REQUIRE(writer.run("BEGIN IMMEDIATE;INSERT INTO entry VALUES(3,1,1,'')") == SQLITE_OK);
    CHECK(transfer(Connection(disk), 2) == SQLITE_BUSY);
    CHECK(writer.run("COMMIT") == SQLITE_BUSY);
    CHECK(Connection(disk).number("SELECT count(*) FROM entry") == -1);
    CHECK(other.run("COMMIT") == SQLITE_OK);
    CHECK(writer.run("COMMIT") == SQLITE_OK);
    CHECK(other.number("SELECT count(*) FROM entry") == 3);
  }
  CHECK_THROWS_AS(disk.restore({}), std::logic_error);
}

TEST_CASE("connections on four threads lose none of each other's commits") {
  constexpr int threads_count = 4;
  constexpr int commits_each = 60;
  // Nobody checkpoints: beside writers that would be the race which calyx's gate is for.
  const Mode modes[] = {{"WAL", "FULL"}, {"DELETE", "FULL"}};
  for (const Mode& mode : modes) {
    const std::string journal = mode.journal;
    CAPTURE(journal);
    Disk disk;
    const Connection keeper(disk);
    REQUIRE(set_up(keeper, mode) == SQLITE_OK);
    REQUIRE(keeper.run("INSERT INTO balance VALUES(1,0)") == SQLITE_OK);
    std::atomic<int> surprises{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_count; ++t)
      threads.emplace_back([&] {
        const Connection mine(disk);
        mine.run("PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=0");
        for (int done = 0; done < commits_each;) {
          const int code = mine.run(
              "BEGIN IMMEDIATE;UPDATE balance SET amount=amount+1;"
              "INSERT INTO entry(account,amount,note) SELECT 1,amount,'' FROM balance;COMMIT");
          if (code == SQLITE_OK) {
            ++done;
            continue;
          }
          if (code != SQLITE_BUSY) {
            ++surprises;
            return;
          }
          if (sqlite3_get_autocommit(mine.raw()) == 0) mine.run("ROLLBACK");
          std::this_thread::yield();
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(surprises == 0);
    CHECK(keeper.says_ok("PRAGMA integrity_check"));
    CHECK(keeper.number("SELECT amount FROM balance") == threads_count * commits_each);
    CHECK(keeper.number("SELECT count(DISTINCT amount) FROM entry") == threads_count * commits_each);
  }
}

TEST_CASE("an I/O error at any call leaves books that are sound and hold what was acknowledged") {
  Disk disk;
  tell(disk, {"WAL", "FULL"}, 6);
  const Image base = disk.snapshot();
  constexpr std::uint64_t points_max = 400;
  std::uint64_t points = 0;
  std::uint64_t stood_anyway = 0;
  for (const Calls calls : failing_calls) {
    const std::string call = name_of(calls);
    std::uint64_t reached = 0;
    for (const bool persistent : {false, true}) {
      for (const FaultKind kind : {FaultKind::io_error, FaultKind::disk_full, FaultKind::short_write}) {
        for (const bool killed : {false, true}) {
          for (std::uint64_t at = 1;; ++at) {
            REQUIRE(at <= points_max);
            CAPTURE(call);
            CAPTURE(persistent);
            CAPTURE(killed);
            CAPTURE(at);
            disk.restore(base);
            disk.arm({.calls = calls, .at = at, .persistent = persistent, .kind = kind});
            std::uint64_t acknowledged = 6;
            bool failed = false;
            {
              const Connection connection(disk);
              failed = set_up(connection, {"WAL", "FULL"}) != SQLITE_OK;
              while (!failed && acknowledged < 18) {
                failed = transfer(connection, acknowledged + 1) != SQLITE_OK;
                if (!failed) ++acknowledged;
              }
              if (killed) disk.cut_power();
              if (!persistent) disk.disarm();
            }
            const std::uint64_t fired = disk.fired();
            const Books books = recover(disk, disk.snapshot());
            CHECK(books.sound);
            CHECK(books.transfers >= acknowledged);
            // An error at COMMIT means that the outcome is unknown, and of one transfer at most.
            CHECK(books.transfers <= acknowledged + (failed ? 1 : 0));
            if (books.transfers > acknowledged) ++stood_anyway;
            if (fired == 0) break;
            ++points;
            ++reached;
          }
        }
      }
    }
    CAPTURE(call);
    CHECK(reached > 0);
  }
  MESSAGE(points << " failing calls, " << stood_anyway << " answered an error and stood all the same");
}

TEST_CASE("after a failed sync the cache may not be believed") {
  enum class Then { goes_on, reopens };
  struct Row {
    const char* says;
    Then then;
    bool loses;
  };
  const Row rows[] = {
      {"the connection rolled the commit back and writes its place again", Then::goes_on, false},
      {"a new connection reads the commit in the cache and takes it for durable", Then::reopens, true},
  };
  for (const Row& row : rows) {
    const std::string says = row.says;
    CAPTURE(says);
    Disk disk;
    tell(disk, {"WAL", "FULL"}, 6);
    const Image base = disk.snapshot();
    Tally total;
    std::uint64_t refused = 0;
    for (std::uint64_t at = 1;; ++at) {
      REQUIRE(at < 100);
      disk.restore(base);
      Story story;
      story.acknowledged.assign(6, 0);
      disk.start_trace();
      auto connection = std::make_unique<Connection>(disk);
      REQUIRE(set_up(*connection, {"WAL", "FULL"}) == SQLITE_OK);
      disk.arm({.calls = Calls::sync, .at = at});
      while (story.acknowledged.size() < 16) {
        if (transfer(*connection, story.acknowledged.size() + 1) == SQLITE_OK) {
          story.acknowledged.push_back(disk.events());
          continue;
        }
        ++refused;
        if (row.then == Then::goes_on) continue;
        // Without the checkpoint that closing makes, the frames of the failed commit stay for the next one.
        REQUIRE(sqlite3_db_config(connection->raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) ==
                SQLITE_OK);
        connection.reset();
        connection = std::make_unique<Connection>(disk);
        REQUIRE(set_up(*connection, {"WAL", "FULL"}) == SQLITE_OK);
        const Books books = read_books(*connection);
        REQUIRE(books.sound);
        while (story.acknowledged.size() < books.transfers) story.acknowledged.push_back(disk.events());
      }
      connection.reset();
      const bool fired = disk.fired() > 0;
      story.trace = disk.take_trace();
      const Tally tally = cut_everywhere(disk, story, Syncs::honours);
      total.recoveries += tally.recoveries;
      total.lost += tally.lost;
      total.unsound += tally.unsound;
      if (!fired) break;
    }
    MESSAGE(says << ": " << refused << " refused commits, " << total.recoveries << " recoveries, "
                 << total.lost << " lost, " << total.unsound << " unsound");
    CHECK(refused > 0);
    CHECK((total.lost + total.unsound > 0) == row.loses);
  }
}

TEST_CASE("running out of memory at any allocation leaves the same") {
  REQUIRE(sqlite_allocator_installed());
  Disk disk;
  tell(disk, {"WAL", "FULL"}, 6);
  const Image base = disk.snapshot();
  const sqlite3_int64 used_before = sqlite3_memory_used();
  std::uint64_t points = 0;
  std::uint64_t refused = 0;
  for (const bool persistent : {false, true}) {
    for (std::uint64_t at = 1;; ++at) {
      CAPTURE(persistent);
      CAPTURE(at);
      disk.restore(base);
      std::uint64_t acknowledged = 6;
      std::uint64_t fired = 0;
      {
        AllocScope scope({.fail_at = at, .persistent = persistent, .source = AllocSource::sqlite});
        const auto connection = std::make_unique<Connection>(disk);
        bool failed = set_up(*connection, {"WAL", "FULL"}) != SQLITE_OK;
        while (!failed && acknowledged < 9) {
          failed = transfer(*connection, acknowledged + 1) != SQLITE_OK;
          if (!failed) ++acknowledged;
        }
        scope.stop();
        fired = scope.fired();
        refused += fired;
      }
      const Books books = recover(disk, disk.snapshot());
      CHECK(books.sound);
      CHECK(books.transfers >= acknowledged);
      CHECK(books.transfers <= acknowledged + 1);
      CHECK(sqlite3_memory_used() == used_before);
      if (fired == 0) break;
      ++points;
    }
  }
  MESSAGE(points << " points of failure, " << refused << " allocations refused");
  CHECK(points > 200);
}

TEST_CASE("C++ runs out of memory at the chosen allocation, on the chosen thread, and not in a pause") {
  // Called as functions, since a compiler may leave out a new-expression whose result goes nowhere.
  const auto allocate = [] {
    try {
      ::operator delete(::operator new(64));
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  };
  struct Row {
    const char* says;
    AllocPlan plan;
    std::array<bool, 3> mine;
    bool elsewhere;
  };
  const Row rows[] = {
      {"none", {}, {true, true, true}, true},
      {"once", {.fail_at = 2}, {true, false, true}, true},
      {"from then on", {.fail_at = 2, .persistent = true}, {true, false, false}, true},
      {"on every thread",
       {.fail_at = 2, .persistent = true, .threads = AllocThreads::all},
       {true, false, false},
       false},
      {"SQLite's alone",
       {.fail_at = 1, .persistent = true, .source = AllocSource::sqlite},
       {true, true, true},
       true},
  };
  for (const Row& row : rows) {
    const std::string says = row.says;
    CAPTURE(says);
    std::array<bool, 3> mine{};
    bool elsewhere = false;
    bool paused = false;
    std::atomic<int> stage{0};
    // Started before the scope opens: starting a thread allocates.
    std::thread other([&] {
      while (stage.load() < 1) std::this_thread::yield();
      elsewhere = allocate();
      stage.store(2);
    });
    {
      AllocScope scope(row.plan);
      for (bool& went_well : mine) went_well = allocate();
      stage.store(1);
      while (stage.load() < 2) std::this_thread::yield();
      const AllocPause pause;
      paused = allocate();
    }
    other.join();
    CHECK(mine == row.mine);
    CHECK(elsewhere == row.elsewhere);
    CHECK(paused);
  }
}

}  // namespace calyx::faults
