#include <calyx/core/field.hpp>
#include <cstdint>
#include <string>

#include "plan_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using for_tests::parsed;
using for_tests::refusal;

TEST_CASE("a count is an integer within its range, and the refusal says which") {
  struct Row {
    json::Value value;
    std::string expected;
  };
  const Row rows[] = {
      {1, "none"},
      {10, "none"},
      {0, "field_value /n is 0, takes 1 to 10"},
      {11, "field_value /n is 11, takes 1 to 10"},
      {-1, "field_value /n is -1, takes 1 to 10"},
      {json::Value::number_token("99999999999999999999"), "field_value /n is beyond 64 bits, takes 1 to 10"},
      {json::Value::number_token("5.0"), "field_type /n is a number, must be an integer"},
      {5.0, "field_type /n is a number, must be an integer"},
      {"5", "field_type /n is a string, must be an integer"},
      {true, "field_type /n is a boolean, must be an integer"},
  };
  for (const Row& row : rows) {
    CAPTURE(json::text(row.value));
    CHECK(refusal(read_count("/n", row.value, {.least = 1, .most = 10})) == row.expected);
  }
}

TEST_CASE(
    "a seed is any u64, as an integer or as digits, and is printed so that every reader gets it right") {
  struct Row {
    json::Value value;
    std::string expected;  // as it is printed, or the refusal
  };
  const Row rows[] = {
      {0, "0"},
      {9007199254740991, "9007199254740991"},
      {9007199254740992, R"("9007199254740992")"},
      {UINT64_MAX, R"("18446744073709551615")"},
      {"18446744073709551615", R"("18446744073709551615")"},
      {"7", "7"},
      {"18446744073709551616", "field_value /seed must be a whole number below 2^64"},
      {-1, "field_value /seed must be a whole number below 2^64"},
      {0.5, "field_value /seed must be a whole number below 2^64"},
      {"", "field_value /seed must be a whole number below 2^64"},
      {"7 ", "field_value /seed must be a whole number below 2^64"},
      {true, "field_type /seed is a boolean, must be an integer or a decimal string"},
  };
  for (const Row& row : rows) {
    CAPTURE(json::text(row.value));
    const auto read = read_seed("/seed", row.value);
    CHECK((read.ok() ? json::text(seed_value(*read)) : refusal(read)) == row.expected);
  }
}

TEST_CASE("a member that is null counts as left out, one that nobody knows is refused where it stands") {
  const json::Value value = parsed(R"({"a": null, "b": "x", "c/d~": 1, "n": 3})");
  const Members members(*value.object(), "/at", "a test");
  CHECK_FALSE(members.has("a"));
  CHECK(refusal(members.need("a")) == "field_missing /at/a is missing");
  CHECK(*members.text("b") == "x");
  CHECK(refusal(members.text("n")) == "field_type /at/n is a number, must be a string");
  CHECK(*members.count("n", {}) == 3);
  CHECK(*members.count_or("none", {}, 7) == 7);
  constexpr std::string_view words[] = {"x", "y", "z"};
  CHECK(*members.word("b", words) == 0);
  CHECK(*members.word("none", words) == 0);
  constexpr std::string_view others[] = {"u", "v", "w"};
  CHECK(refusal(members.word("b", others)) == "field_value /at/b must be u, v or w");
  CHECK(refusal(members.only({"a", "b", "n"})) == "field_unknown /at/c~1d~0 is not a field of a test");
  CHECK(refusal(members.only({"a", "b", "c/d~", "n"})) == "none");
}

TEST_CASE("a stranger's name is repeated only as far as a whole character within 128 bytes") {
  const std::string pointer = pointer_step("", std::string(127, 'x') + "\xC3\xA9" + "y");
  CHECK(pointer == "/" + std::string(127, 'x'));
  CHECK(full_pointer_step("", std::string(200, 'x')).size() == 201);
}

TEST_CASE("merged objects keep the base's order, and the other's values win") {
  const auto object = [](std::string_view text) { return *parsed(text).object(); };
  CHECK(json::text(merged(object(R"({"a":1,"b":2})"), object(R"({"c":3,"a":4})"))) ==
        R"({"a":4,"b":2,"c":3})");
  CHECK(json::text(merged({}, object(R"({"c":3})"))) == R"({"c":3})");
  // Many members take the other way through, to the same end.
  json::Object base, over, expected;
  for (int i = 0; i < 100; ++i) base.set("k" + std::to_string(i), i);
  for (int i = 150; i >= 50; --i) over.set("k" + std::to_string(i), -i);
  expected = base;
  for (const json::Member& member : over) expected.set(member.key, member.value);
  CHECK(json::text(merged(base, over)) == json::text(expected));
}
