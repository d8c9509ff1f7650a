/// \file
/// Four faults that would cost money are built into the engine, and the ordinary checks must find each by
/// what it does: the story's answers, the audit, the rules told from the rows, and the power cuts.
#include "planted.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "faults/engine_story.hpp"

namespace calyx::faults {
namespace {

/// SQL as the engine says it, or as the planted fault would have it.
std::string spoilt(std::string sql) {
  const auto replace = [&](std::string_view from, std::string_view to) {
    if (const std::size_t at = sql.find(from); at != std::string::npos) sql.replace(at, from.size(), to);
  };
  if (planted == Planted::normal_sync) replace("PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL");
  if (planted == Planted::index_dropped && sql.starts_with("CREATE TABLE resolutions"))
    replace("INTEGER PRIMARY KEY", "INTEGER");
  return sql;
}

using Play = std::pair<Played, std::string>;

/// The story by an engine with the fault in it; the text says where it went no further.
Play played_with(Planted fault, Disk& disk) {
  Play out;
  out.first.story = tell_story();
  Stage stage(disk);
  disk.start_trace();
  planted = fault;
  try {
    out.first.told = play(stage, out.first.story, 20);
    const auto report = stage.engine().as_operator().audit({}, AuditDepth::each);
    if (!report.ok())
      out.second = report.error().message;
    else if (!report->ok)
      out.second = "the audit: " + report->first_fault;
  } catch (const Failure& failure) {
    out.second = std::string("the story: ") + failure.what();
  }
  stage.close();
  planted = Planted::nothing;
  out.first.trace = disk.take_trace();
  return out;
}

/// What the ordinary checks say, each by its name; nothing where all are green.
std::vector<std::string> caught(Planted fault) {
  std::vector<std::string> by;
  Disk disk;
  const auto [played, stopped] = played_with(fault, disk);
  if (!stopped.empty()) by.push_back(stopped);
  const std::vector<Told>& usual = undisturbed().told;
  for (std::size_t i = 0; i < std::min(usual.size(), played.told.size()); ++i)
    if (usual[i].answer.text != played.told[i].answer.text) {
      by.push_back("the answers: \"" + played.told[i].answer.text + "\" instead of \"" +
                   usual[i].answer.text + "\"");
      break;
    }
  if (const std::string broken = find_broken_rule(disk, Depth::pages); !broken.empty())
    by.push_back("the rows: " + broken);
  if (by.empty()) {
    const Cuts cuts =
        cut_everywhere(played, {{DamageKind::drop_all, 0}, {DamageKind::mixed, 1}}, Syncs::honours, {}, 1);
    if (cuts.bad > 0) by.push_back("the power cuts: " + cuts.fault);
  }
  return by;
}

}  // namespace

TEST_CASE("faults that are built into the engine are found by what they do") {
  REQUIRE(!usual_schema().empty());  // before anything is planted
  REQUIRE(undisturbed().told.size() > 20);
  struct Row {
    std::string says;
    Planted fault;
  };
  const Row rows[] = {{"nothing", Planted::nothing},
                      {"synchronous=NORMAL", Planted::normal_sync},
                      {"a unique index dropped", Planted::index_dropped},
                      {"a chain that skips a field", Planted::chain_skips_a_field},
                      {"a fee off by one", Planted::fee_off_by_one}};
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const auto begun = std::chrono::steady_clock::now();
    const std::vector<std::string> by = caught(row.fault);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    std::string all;
    for (const std::string& one : by) all += (all.empty() ? "" : "; ") + one.substr(0, 120);
    testing::told("planted, " + row.says, all.empty() ? "green" : "red by " + all);
    CHECK(by.empty() == (row.fault == Planted::nothing));
    CHECK(took.count() < 60);
  }
}

}  // namespace calyx::faults

extern "C" {

int __real_sqlite3_exec(sqlite3*, const char*, int (*)(void*, int, char**, char**), void*, char**);
int __wrap_sqlite3_exec(sqlite3*, const char*, int (*)(void*, int, char**, char**), void*, char**);
int __wrap_sqlite3_exec(sqlite3* db, const char* sql, int (*row)(void*, int, char**, char**), void* to,
                        char** error) {
  return __real_sqlite3_exec(db, calyx::faults::spoilt(sql).c_str(), row, to, error);
}

int __real_sqlite3_prepare_v2(sqlite3*, const char*, int, sqlite3_stmt**, const char**);
int __wrap_sqlite3_prepare_v2(sqlite3*, const char*, int, sqlite3_stmt**, const char**);
int __wrap_sqlite3_prepare_v2(sqlite3* db, const char* sql, int size, sqlite3_stmt** statement,
                              const char** tail) {
  if (tail != nullptr) return __real_sqlite3_prepare_v2(db, sql, size, statement, tail);
  const std::string text = size < 0 ? std::string(sql) : std::string(sql, static_cast<std::size_t>(size));
  return __real_sqlite3_prepare_v2(db, calyx::faults::spoilt(text).c_str(), -1, statement, nullptr);
}

int __real_sqlite3_prepare_v3(sqlite3*, const char*, int, unsigned, sqlite3_stmt**, const char**);
int __wrap_sqlite3_prepare_v3(sqlite3*, const char*, int, unsigned, sqlite3_stmt**, const char**);
int __wrap_sqlite3_prepare_v3(sqlite3* db, const char* sql, int size, unsigned flags,
                              sqlite3_stmt** statement, const char** tail) {
  if (tail != nullptr) return __real_sqlite3_prepare_v3(db, sql, size, flags, statement, tail);
  const std::string text = size < 0 ? std::string(sql) : std::string(sql, static_cast<std::size_t>(size));
  return __real_sqlite3_prepare_v3(db, calyx::faults::spoilt(text).c_str(), -1, flags, statement, nullptr);
}

}  // extern "C"
