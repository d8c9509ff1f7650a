#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <calyx/engine.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::Scratch;

namespace {

constexpr int topups_max = 3'000;  // some ten pieces of each format

Options at(const std::string& path) {
  Options options;
  options.path = path;
  return options;
}

/// A connection from outside that tries to cut the log: it may while nobody reads from it.
class Cutter {
 public:
  explicit Cutter(const std::string& path)
      : gate_(store::Gate::open(path + "-gate").value()), log_(path + "-wal") {
    REQUIRE(sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
    // Before it has read something it does not know that there is a log.
    REQUIRE(sqlite3_exec(db_, "SELECT count(*) FROM events", nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  ~Cutter() { sqlite3_close(db_); }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;

  bool cuts() {
    const auto hold = store::GateHold::take(gate_, 5'000);
    return hold.ok() && std::filesystem::file_size(log_) > 0 &&
           sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr) ==
               SQLITE_OK &&
           std::filesystem::file_size(log_) == 0;
  }

 private:
  store::Gate gate_;
  std::string log_;
  sqlite3* db_ = nullptr;
};

}  // namespace

TEST_CASE("who takes an export's pieces slowly keeps nobody from writing, and gets the market as it began") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  Engine engine = Engine::open(at(path)).value(), beside = Engine::open(at(path)).value();
  Session all = engine.as_operator();
  const WalletId wallet = all.create_wallet({.owner_id = "alice"}).value().wallet.id;
  for (int i = 0; i < topups_max; i += static_cast<int>(bulk_max))
    all.bulk(std::vector<Operation>(bulk_max, TopUp{.wallet = wallet, .amount = Money{1}})).value();
  Cutter cutter(path);
  REQUIRE(cutter.cuts());

  struct Row {
    const char* says;
    ExportFormat format;
  };
  for (const Row& row : {Row{"csv", ExportFormat::csv}, Row{"jsonl", ExportFormat::jsonl},
                         Row{"hledger", ExportFormat::hledger}}) {
    CAPTURE(row.says);
    const auto exported = [&](const ExportSink& sink) {
      std::string text;
      CHECK(all.export_ledger(row.format,
                              [&](std::string_view piece) {
                                text += piece;
                                return sink(piece);
                              })
                .ok());
      return text;
    };
    int expected = 0, pieces = 0, wrote = 0, cut = 0;
    const std::string at_rest = exported([&](std::string_view) {
      ++expected;
      return true;
    });
    const std::string disturbed = exported([&](std::string_view) {
      if (++pieces > expected) return false;  // it would go on for as long as somebody writes
      for (Engine* each : {&engine, &beside})
        if (each->as_operator().topup({.wallet = wallet, .amount = Money{1}}).ok()) ++wrote;
      if (cutter.cuts()) ++cut;
      return true;
    });
    CHECK(expected >= 4);
    CHECK(pieces == expected);
    CHECK(wrote == 2 * pieces);
    CHECK(cut == pieces);
    CHECK(disturbed == at_rest);
    // What came meanwhile follows in the next.
    const std::string later = exported([](std::string_view) { return true; });
    CHECK(later.size() > at_rest.size());
    CHECK(later.compare(0, at_rest.size(), at_rest) == 0);
  }
  CHECK(all.audit().value().ok);
}
