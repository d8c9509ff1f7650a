#include "store/path.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "scratch.hpp"

using calyx::Reason;
using calyx::store::real_market_path;
using calyx::store::Scratch;

namespace {

void make_file(const std::string& path) { std::ofstream(path) << "x"; }

/// The rule's word in the refusal, or what came instead of one.
std::string rule_of(const calyx::Result<std::string>& result) {
  if (result.ok()) return "taken as " + *result;
  const auto* rule = result.error().details.find("rule");
  return rule == nullptr || rule->string() == nullptr ? "none" : *rule->string();
}

}  // namespace

TEST_CASE("a market's path is refused by the first rule it breaks") {
  const Scratch scratch;
  make_file(scratch / "plain.db");
  std::filesystem::create_directory(scratch / "folder");
  REQUIRE(::symlink("nowhere.db", (scratch / "dangling.db").c_str()) == 0);
  make_file(scratch / "linked.db");
  REQUIRE(::link((scratch / "linked.db").c_str(), (scratch / "second.db").c_str()) == 0);
  REQUIRE(::mkfifo((scratch / "pipe.db").c_str(), 0600) == 0);
  make_file(scratch / "other.db-wal");
  REQUIRE(::symlink("other.db-wal", (scratch / "disguised.db").c_str()) == 0);

  struct Row {
    std::string says;
    std::string path;
    Reason reason;
    std::string rule;
  };
  const Row rows[] = {
      {"nothing is no name", "", Reason::path_refused, "empty"},
      {"SQLite's URIs can switch locking off", "file:x.db?vfs=unix-none", Reason::path_refused, "uri"},
      {"in any case", "FiLe:x.db", Reason::path_refused, "uri"},
      {"a URI is no path, whatever its length", "file:", Reason::path_refused, "uri"},
      {"SQLite's name for memory", ":memory:", Reason::path_refused, "memory"},
      {"a NUL would cut the name", std::string("x.db\0y", 6), Reason::path_refused, "control_character"},
      {"a line break", "x\n.db", Reason::path_refused, "control_character"},
      {"the last control character", "x\x7F.db", Reason::path_refused, "control_character"},
      {"one byte too many", std::string(4001, 'a'), Reason::path_refused, "too_long"},
      {"a folder", scratch / "folder", Reason::path_refused, "not_a_file"},
      {"a name that ends in a slash", scratch / "plain.db/", Reason::path_refused, "not_a_file"},
      {"a dot", scratch / ".", Reason::path_refused, "not_a_file"},
      {"the root", "/", Reason::path_refused, "not_a_file"},
      {"a pipe", scratch / "pipe.db", Reason::path_refused, "not_a_file"},
      {"a device", "/dev/null", Reason::path_refused, "not_a_file"},
      {"a link to nothing", scratch / "dangling.db", Reason::path_refused, "dangling_link"},
      {"a file of two names", scratch / "second.db", Reason::path_refused, "many_links"},
      {"another market's log", scratch / "new.db-wal", Reason::path_refused, "sidecar"},
      {"another market's log behind a link", scratch / "disguised.db", Reason::path_refused, "sidecar"},
      {"another market's gate", scratch / "new.db-gate", Reason::path_refused, "sidecar"},
      {"another market's keys", scratch / "new.db-keys", Reason::path_refused, "sidecar"},
      {"a folder that is not there", scratch / "no/new.db", Reason::file_missing, "folder"},
      {"a file used as a folder", scratch / "plain.db/new.db", Reason::file_missing, "folder"},
      {"longer than SQLite takes, once it is whole",
       scratch.folder() + "/" + std::string(500 - scratch.folder().size(), 'a'), Reason::path_refused,
       "too_long"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const auto result = real_market_path(row.path);
    CHECK(result.reason() == row.reason);
    CHECK(rule_of(result) == row.rule);
    // Each says what to do, and what is looked up on the disk also where.
    const std::string& said = result.error().message;
    CAPTURE(said);
    const bool looked_up = row.path.starts_with('/') && row.path.back() != '/' && row.path.back() != '.' &&
                           row.rule != "sidecar" && row.rule != "too_long";
    if (looked_up) {
      CHECK(said.starts_with(row.path + ": "));
      REQUIRE(result.error().details.find("path") != nullptr);
      CHECK(*result.error().details.find("path")->string() == row.path);
    }
    CHECK(said.rfind(": ") > said.rfind('/') + 1);
  }
}

TEST_CASE("all names of one file lead to one real path") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "folder");
  REQUIRE(::symlink("folder", (scratch / "alias").c_str()) == 0);
  const std::string real = scratch / "folder/market.db";
  const auto old_folder = std::filesystem::current_path();
  std::filesystem::current_path(scratch.folder());

  const std::string names[] = {real, scratch / "alias/market.db", scratch / "folder/../alias/./market.db",
                               "folder/market.db", "./alias//market.db"};
  for (const bool there : {false, true}) {
    CAPTURE(there);
    if (there) make_file(real);
    for (const std::string& name : names) {
      CAPTURE(name);
      const auto result = real_market_path(name);
      REQUIRE(result.ok());
      CHECK(*result == real);
    }
  }
  REQUIRE(::symlink("folder/market.db", "other-name.db") == 0);
  CHECK(real_market_path("other-name.db").value() == real);
  // With a folder before it, "file:" is a name like any other, and the real path never begins with it.
  CHECK(real_market_path("./file:x.db").value() == scratch / "file:x.db");
  std::filesystem::current_path(old_folder);
}

TEST_CASE("a path of exactly the longest size is taken") {
  const Scratch scratch;
  const std::string longest = scratch.folder() + "/" + std::string(120, 'a') + "/" + std::string(120, 'b') +
                              "/" + std::string(120, 'c') + "/";
  const std::string path = longest + std::string(calyx::store::real_path_bytes_max - longest.size(), 'd');
  std::filesystem::create_directories(longest);
  CHECK(real_market_path(path).value() == path);
  CHECK(rule_of(real_market_path(path + "d")) == "too_long");
}

TEST_CASE("the files beside a market are named after it") {
  CHECK(calyx::store::gate_path("/a/m.db") == "/a/m.db-gate");
  CHECK(calyx::store::keys_path("/a/m.db") == "/a/m.db-keys");
}
