// Markets that calyx made with each of its schemas so far: opened as this one opens them, whole, and worked
// with.
#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <calyx/engine.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/openings.hpp"
#include "json/reader.hpp"
#include "store/later_schemas.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::at, testing::reading;
namespace fs = std::filesystem;

namespace {

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Where its statements still are as it is opened: `file`, or the `log` of a process that died.
enum class Lies : std::uint8_t { file, log };

/// Makes the market again that `sql` writes down, at `path`.
void restore(const std::string& sql, const std::string& path, Lies lies) {
  const std::string elsewhere = lies == Lies::log ? path + "-elsewhere" : path;
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(elsewhere.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_wal_autocheckpoint(db, 0);
  REQUIRE(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  if (lies == Lies::log) {  // as they are while it is open
    fs::copy_file(elsewhere, path);
    fs::copy_file(elsewhere + "-wal", path + "-wal");
    REQUIRE(fs::file_size(path + "-wal") > 100'000);
  }
  REQUIRE(sqlite3_close(db) == SQLITE_OK);
}

}  // namespace

TEST_CASE("a market of every schema so far opens, is whole, and goes on") {
  for (int version = 1; version <= store::schema_version; ++version) {
    const fs::path base = fs::path(testing::vectors) / "markets" / ("schema" + std::to_string(version));
    const std::string sql = text_of(base.string() + ".sql");
    const core::json::Value told = read_json(text_of(base.string() + ".json")).value();
    for (const Lies lies : {Lies::file, Lies::log}) {
      CAPTURE(version);
      CAPTURE(lies == Lies::log);
      const store::Scratch scratch;
      const std::string path = scratch / "m.db";
      restore(sql, path, lies);
      fs::copy_file(base.string() + ".keys.json", path + "-keys");
      REQUIRE(::chmod((path + "-keys").c_str(), 0600) == 0);
      // Until somebody writes, only a reader of its own schema is let in.
      CHECK(Engine::open(reading(path)).reason() ==
            (version == store::schema_version ? Reason::none : Reason::read_only));

      Engine engine = Engine::open(at(path)).value();
      Session all = engine.as_operator();
      const AuditReport report = all.audit("", AuditDepth::each).value();
      CHECK_MESSAGE(report.ok, report.first_fault);
      CHECK(report.head == *told.find("head")->string());
      CHECK(report.seq == *told.find("seq")->integer());
      CHECK(static_cast<std::int64_t>(report.receipts) == *told.find("receipts")->integer());
      CHECK(report.signatures >= report.receipts);
      CHECK(fs::exists(path + "-schema" + std::to_string(version)) == (version < store::schema_version));

      std::vector<Wallet> wallets = all.wallets().value().items;
      REQUIRE(wallets.size() == told.find("balances")->object()->size());
      for (const Wallet& wallet : wallets)
        CHECK(core::money_text(wallet.balance) == *told.find("balances")->find(wallet.owner_id)->string());
      for (const Receipt& receipt : all.receipts(wallets[1].id).value().items)
        CHECK(engine.verify(receipt.jws).valid);

      // What was promised is kept: an escrow that is open is settled, and a key answers again.
      const Earn earn{.host = wallets[1].id,
                      .job_id = "job-3",
                      .gross_amount = 4_flops,
                      .gpu_model = "CPU",
                      .duration_seconds = 1};
      const Earned earned = all.earn(earn).value();
      CHECK(engine.verify(all.receipt(earned.receipt).value().jws).valid);
      CHECK(all.earn(earn).value().replayed);
      CHECK(all.audit("", AuditDepth::each).value().ok);
    }
  }
}

TEST_CASE("an engine whose market a newer calyx brings forward says so, and writes nothing more") {
  const store::Scratch scratch;
  const std::string path = scratch / "m.db";
  Engine engine = Engine::open(at(path)).value();
  const WalletId wallet = testing::populate(engine);
  Session all = engine.as_operator();
  {
    store::Connection newer = store::Connection::open({.path = path}).value();
    REQUIRE(store::migrate(newer, false, store::Blank::refused, store::next_schema()).ok());
  }
  const auto refused = [&](const auto& result) {
    CHECK(result.reason() == Reason::file_newer);
    if (!result.ok()) CHECK(testing::says(result.error().message, "open the market with the newest calyx"));
  };
  refused(all.topup({.wallet = wallet, .amount = Money{1}}));
  refused(all.topup({.wallet = wallet, .amount = Money{1}}));
  refused(all.receipts(wallet));
  refused(all.audit());
  CHECK(all.wallet(wallet).value().balance == Money{1'000});  // as of what it has seen
  CHECK(Engine::open(at(path)).reason() == Reason::file_newer);
  Engine reader = Engine::open(reading(path)).value();
  CHECK(reader.as_operator().wallet(wallet).value().balance == Money{1'000});
  CHECK(reader.as_operator().audit().value().ok);  // what a newer one added is no fault
}
