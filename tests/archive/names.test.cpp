#include "archive/names.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace calyx::archive;
using calyx::Reason;

namespace {

constexpr auto is_file = EntryKind::file;
constexpr auto is_folder = EntryKind::folder;

struct Given {
  std::string name;
  EntryKind kind = is_file;
};

/// The rule that the last of the names breaks, or its path; the ones before must be taken.
std::string rule_of(const std::vector<Given>& given, const Limits& limits = {}) {
  Names names(limits);
  for (std::size_t i = 0; i + 1 < given.size(); ++i) {
    CAPTURE(given[i].name);
    REQUIRE(names.add(given[i].name, given[i].kind).ok());
  }
  const auto last = names.add(given.back().name, given.back().kind);
  if (last.ok()) return "taken as " + last->path;
  CHECK(last.reason() == Reason::archive_refused);
  return *last.error().details.find("rule")->string();
}

std::string deep(std::size_t names) {
  std::string path = "a";
  for (std::size_t i = 1; i < names; ++i) path += "/a";
  return path;
}

}  // namespace

TEST_CASE("a name is taken in its plain form, or refused by the first rule it breaks") {
  struct Row {
    std::string says;
    std::vector<Given> given;
    std::string rule;
  };
  const Row rows[] = {
      {"a file", {{"run.sh"}}, "taken as run.sh"},
      {"as tar writes it for a folder's contents", {{"./a/run.sh"}}, "taken as a/run.sh"},
      {"slashes say no more twice", {{"a//b///c"}}, "taken as a/b/c"},
      {"a folder ends in a slash or does not", {{"a/b/", is_folder}}, "taken as a/b"},
      {"the root", {{"./", is_folder}}, "taken as "},
      {"letters of any language",
       {{"d\xC3\xA9j\xC3\xA0/\xE6\x97\xA5"}},
       "taken as d\xC3\xA9j\xC3\xA0/\xE6\x97\xA5"},
      {"dots that climb nowhere", {{"...a/..b"}}, "taken as ...a/..b"},
      {"a folder that was implied", {{"a/b"}, {"a", is_folder}}, "taken as a"},
      {"no name", {{""}}, "name_empty"},
      {"a file that is the root", {{"."}}, "name_empty"},
      {"half a letter", {{"caf\xC3"}}, "not_utf8"},
      {"a letter spelled too long",
       {{"\xC0\xAF"
         "etc"}},
       "not_utf8"},
      {"half a surrogate pair", {{"\xED\xA0\x80"}}, "not_utf8"},
      {"a line break", {{"a\nb"}}, "control_character"},
      {"a terminal's control", {{"\x1B[2J"}}, "control_character"},
      {"from the root of the machine", {{"/etc/passwd"}}, "absolute"},
      {"from its root by two slashes", {{"//etc/passwd"}}, "absolute"},
      {"upwards", {{"../x"}}, "parent_folder"},
      {"upwards from within", {{"a/../../x"}}, "parent_folder"},
      {"upwards and back", {{"a/.."}}, "parent_folder"},
      {"a folder upwards", {{"..", is_folder}}, "parent_folder"},
      {"a file named as a folder", {{"a/"}}, "file_and_folder"},
      {"a file twice", {{"a"}, {"a"}}, "duplicate"},
      {"a file twice, spelled otherwise", {{"a/b"}, {"./a//b"}}, "duplicate"},
      {"a folder twice", {{"a", is_folder}, {"a/", is_folder}}, "duplicate"},
      {"the root twice", {{".", is_folder}, {"./", is_folder}}, "duplicate"},
      {"a file where a folder is", {{"a", is_folder}, {"a"}}, "file_and_folder"},
      {"a folder where a file is", {{"a"}, {"a/", is_folder}}, "file_and_folder"},
      {"a file used as a folder", {{"a"}, {"a/b"}}, "file_and_folder"},
      {"an implied folder as a file", {{"a/b"}, {"a"}}, "file_and_folder"},
      {"names that some systems take for one", {{"README"}, {"readme"}}, "case_collision"},
      {"the same on the way", {{"A/x"}, {"a/y"}}, "case_collision"},
      {"and of two kinds", {{"a"}, {"A/b"}}, "case_collision"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(rule_of(row.given) == row.rule);
  }
}

TEST_CASE("names end at their limits") {
  CHECK(rule_of({{deep(32)}}) == "taken as " + deep(32));
  CHECK(rule_of({{deep(33)}}) == "depth");
  CHECK(rule_of({{std::string(255, 'a')}}) == "taken as " + std::string(255, 'a'));
  CHECK(rule_of({{std::string(256, 'a')}}) == "name_bytes");
  std::string longest;
  for (int i = 0; i < 4; ++i) longest += std::string(255, 'a') + "/";
  CHECK(rule_of({{longest, is_folder}}) == "taken as " + longest.substr(0, 1023));
  CHECK(rule_of({{longest + "b"}}) == "path_bytes");
}

TEST_CASE("entries are counted, and folders on the way with them") {
  const Limits three{.entries_max = 3};
  CHECK(rule_of({{"a"}, {"b"}, {"c"}}, three) == "taken as c");
  CHECK(rule_of({{"a"}, {"b"}, {"c"}, {"d"}}, three) == "entries");
  CHECK(rule_of({{"a/b/c"}, {"d"}}, three) == "entries");
  CHECK(rule_of({{"a/b/c/d"}}, three) == "entries");
  CHECK(rule_of({{"a/b/c"}, {"a/b", is_folder}}, three) == "taken as a/b");
}

TEST_CASE("100,000 entries are taken and one more is not") {
  Names names(Limits{});
  int taken = 0;
  while (taken < 100'001 && names.add("f" + std::to_string(taken), is_file).ok()) ++taken;
  CHECK(taken == 100'000);
}

TEST_CASE("the folders on the way to a name come once, outermost first") {
  Names names(Limits{});
  CHECK(names.add("a/b/c", is_file)->folders_to_make == std::vector<std::string>{"a", "a/b"});
  CHECK(names.add("a/b/d", is_file)->folders_to_make.empty());
  CHECK(names.add("a/e/f", is_folder)->folders_to_make == std::vector<std::string>{"a/e"});
  CHECK(names.add("a", is_folder)->made_already);
}

TEST_CASE("a refusal says which entry and which numbers, in letters that may be shown") {
  Names names(Limits{});
  const auto bad = names.add("caf\xC3/\x1B", is_file);
  CHECK(bad.error().message == "the entry caf\\xc3/\\x1b has a name that is not UTF-8");
  CHECK(*bad.error().details.find("entry")->string() == "caf\\xc3/\\x1b");
  const auto deeper = names.add(deep(40), is_file);
  CHECK(*deeper.error().details.find("limit")->integer() == 32);
  CHECK(*deeper.error().details.find("found")->integer() == 40);
  CHECK(shown(std::string(300, 'a')) == std::string(200, 'a') + "...");
  CHECK(shown("\xF0\x9F\x8C\xB8") == "\xF0\x9F\x8C\xB8");
}
