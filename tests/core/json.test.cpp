#include <bit>
#include <calyx/core/json.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "crypto_for_tests.hpp"

using namespace calyx::core;
using json::Value;

namespace {

std::string number(double value) {
  std::string out;
  json::append_number(out, value);
  return out;
}
std::string json_string(std::string_view text) {
  std::string out;
  json::append_string(out, text);
  return out;
}

}  // namespace

TEST_CASE("canonical bytes are those of the RFC 8785 vectors, and what is no JSON is not read") {
  int accepted = 0;
  int refused = 0;
  for (const Value& row : for_tests::vectors("jcs.json")) {
    const std::string name = for_tests::text_of(row, "name");
    CAPTURE(name);
    const auto value = for_tests::ReadJson{}(for_tests::text_of(row, "input"));
    if (row.find("calyx_expect") != nullptr) {
      CHECK((!value || !json::signable(*value)));
      ++refused;
      continue;
    }
    REQUIRE(value);
    const std::string bytes = json::canonical(*value);
    CHECK(bytes == for_tests::text_of(row, "canonical"));
    CHECK(hex(bytes) == for_tests::text_of(row, "canonical_hex"));
    CHECK(hex(for_tests::Hash{}(bytes)) == for_tests::text_of(row, "sha256"));
    ++accepted;
  }
  CHECK(accepted == 6);
  CHECK(refused == 4);
}

TEST_CASE("a number's canonical text is what ECMAScript prints, three thousand published times") {
  const std::string csv = for_tests::vector_text("jcs_es6_numbers_1_3000.csv");
  int rows = 0;
  for (std::size_t at = 0; at < csv.size();) {
    const std::size_t comma = csv.find(',', at);
    const std::size_t end = csv.find('\n', at);
    REQUIRE(comma < end);
    std::uint64_t bits = 0;
    std::from_chars(csv.data() + at, csv.data() + comma, bits, 16);
    CHECK(number(std::bit_cast<double>(bits)) == csv.substr(comma + 1, end - comma - 1));
    ++rows;
    if (end == std::string::npos) break;
    at = end + 1;
  }
  CHECK(rows == 3000);
}

TEST_CASE("the point and the exponent stand where ECMAScript puts them") {
  struct Row {
    double value;
    std::string text;
  };
  const Row rows[] = {
      {0.0, "0"},
      {-0.0, "0"},
      {5e-324, "5e-324"},
      {1e-7, "1e-7"},
      {1.5e-7, "1.5e-7"},
      {1e-6, "0.000001"},
      {0.1, "0.1"},
      {-1.25, "-1.25"},
      {123.456, "123.456"},
      {9007199254740991.0, "9007199254740991"},
      {9007199254740992.0, "9007199254740992"},
      {1e20, "100000000000000000000"},
      {123456789012345680000.0, "123456789012345680000"},
      {1e21, "1e+21"},
      {1.5e300, "1.5e+300"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {std::numeric_limits<double>::infinity(), "null"},
      {std::numeric_limits<double>::quiet_NaN(), "null"},
  };
  for (const Row& row : rows) CHECK(number(row.value) == row.text);
}

TEST_CASE("a million random doubles are read back from their canonical text, bit for bit") {
  std::mt19937_64 random(20261123);
  int finite = 0;
  int wrong = 0;
  std::string text;
  while (finite < 1'000'000) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    ++finite;
    text.clear();
    json::append_number(text, value);
    double again = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), again);
    const bool same = read.ec == std::errc{} && read.ptr == text.data() + text.size() && again == value;
    if (!same && ++wrong < 10) MESSAGE("lost: " << text);
  }
  CHECK(wrong == 0);
}

TEST_CASE("an integer beyond 2^53 is spelled as its double in canonical text, and in full on the wire") {
  const std::int64_t edge = std::int64_t{1} << 53;
  CHECK(json::canonical(edge) == "9007199254740992");
  CHECK(json::canonical(edge + 1) == "9007199254740992");
  CHECK(json::canonical(-edge - 1) == "-9007199254740992");
  CHECK(json::text(edge + 1) == "9007199254740993");
  CHECK(json::canonical(INT64_MIN) == "-9223372036854776000");
  CHECK(json::text(INT64_MIN) == "-9223372036854775808");
  CHECK(json::text(UINT64_MAX) == "18446744073709551615");
  CHECK(json::canonical(UINT64_MAX) == "18446744073709552000");
  CHECK(Value(UINT64_MAX).kind() == json::Kind::real);
}

TEST_CASE("what readers could differ on is not signable") {
  const std::int64_t most = (std::int64_t{1} << 53) - 1;
  CHECK(json::signable(json::object({{"a", json::array({most, -most, "x", true, nullptr})}})));
  CHECK_FALSE(json::signable(json::object({{"a", json::array({most + 1})}})));
  CHECK_FALSE(json::signable(json::array({-most - 1})));
  CHECK_FALSE(json::signable(json::array({0.5})));
  CHECK_FALSE(json::signable(Value::number_token("5.0")));
}

TEST_CASE("members are sorted by UTF-16 code units: a surrogate pair comes before U+E000") {
  CHECK(json::canonical(json::object({{"\xEF\xAC\xB3", 1},      // U+FB33
                                      {"\xF0\x9F\x98\x80", 2},  // U+1F600
                                      {"\xEE\x80\x80", 3},      // U+E000
                                      {"\xED\x9F\xBF", 4},      // U+D7FF
                                      {"\xF4\x8F\xBF\xBF", 5},  // U+10FFFF
                                      {"a", 6},
                                      {"ab", 7},
                                      {"", 8}})) ==
        "{\"\":8,\"a\":6,\"ab\":7,\"\xED\x9F\xBF\":4,\"\xF0\x9F\x98\x80\":2,\"\xF4\x8F\xBF\xBF\":5,"
        "\"\xEE\x80\x80\":3,\"\xEF\xAC\xB3\":1}");
}

TEST_CASE("a string escapes what RFC 8785 names and nothing else") {
  std::string all;
  for (int c = 0; c < 128; ++c) all.push_back(static_cast<char>(c));
  const std::string text = json_string(all);
  CHECK(text.substr(0, 51) == "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b");
  CHECK(text.find("\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f") != std::string::npos);
  CHECK(text.find("\\u001f !\\\"#$") != std::string::npos);
  CHECK(text.find("./0") != std::string::npos);
  CHECK(text.find("[\\\\]") != std::string::npos);
  CHECK(text.substr(text.size() - 3) == "~\x7F\"");
  CHECK(json_string("") == "\"\"");
  CHECK(json_string(std::string_view()) == "\"\"");
  CHECK(json_string("\n") == "\"\\n\"");
  const auto again = for_tests::ReadJson{}(text);
  REQUIRE(again);
  CHECK(*again == Value(all));
}

TEST_CASE("what must be escaped is seen wherever it stands in a text of any length") {
  struct Row {
    char letter;
    const char* printed;
  };
  // Those that must be, and their neighbours.
  const Row rows[] = {{'\x01', "\\u0001"}, {'\x1F', "\\u001f"}, {' ', " "},    {'!', "!"},
                      {'"', "\\\""},       {'#', "#"},          {'[', "["},    {'\\', "\\\\"},
                      {']', "]"},          {'\x7F', "\x7F"},    {'\t', "\\t"}, {'\xA2', "\xA2"}};
  for (std::size_t before = 0; before <= 20; ++before)
    for (std::size_t behind = 0; behind <= 20; ++behind)
      for (const Row& row : rows) {
        const std::string start(before, 'x'), end(behind, 'y');
        CAPTURE(before);
        CAPTURE(behind);
        CHECK(json_string(start + row.letter + end) == '"' + start + row.printed + end + '"');
      }
}

TEST_CASE("the wire keeps the order of members and the digits of money") {
  const Value value = json::object({{"needed", 4},
                                    {"balance", Value::number_token("5.0")},
                                    {"field", "/amount"},
                                    {"list", json::array({nullptr, true, false, 2.5, json::array({})})},
                                    {"empty", json::object({})}});
  CHECK(json::text(value) ==
        R"({"needed":4,"balance":5.0,"field":"/amount","list":[null,true,false,2.5,[]],"empty":{}})");
  CHECK(json::canonical(value) ==
        R"({"balance":5,"empty":{},"field":"/amount","list":[null,true,false,2.5,[]],"needed":4})");
}

TEST_CASE("a token that no double holds keeps its digits, and its value says on which side it lies") {
  const double infinite = std::numeric_limits<double>::infinity();
  struct Row {
    std::string token;
    double value;
  };
  const Row rows[] = {
      {"8.4", 8.4},
      {"1e400", infinite},
      {"1E+400", infinite},
      {"-1e400", -infinite},
      {"1e-400", 0},
      {"1e99999999999999999999", infinite},
      {"1e-99999999999999999999", 0},
      {"0." + std::string(400, '0') + "1", 0},
      {"1" + std::string(400, '0'), infinite},
      {"1" + std::string(800, '0') + "e-5", infinite},
      {"0." + std::string(800, '0') + "1e5", 0},
      {"0e999999", 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.token);
    const Value value = Value::number_token(row.token);
    REQUIRE(value.real() != nullptr);
    CHECK(value.real()->value == row.value);
    CHECK(json::text(value) == row.token);
  }
}

TEST_CASE("an accessor of another kind gives null") {
  const Value rows[] = {
      Value(), Value(true), Value(7), Value(7.5), Value("text"), json::array({1}), json::object({{"a", 1}})};
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    CAPTURE(i);
    const Value& value = rows[i];
    CHECK(static_cast<std::size_t>(value.kind()) == i);
    CHECK(value.is_null() == (i == 0));
    CHECK((value.boolean() != nullptr) == (i == 1));
    CHECK((value.integer() != nullptr) == (i == 2));
    CHECK((value.real() != nullptr) == (i == 3));
    CHECK((value.string() != nullptr) == (i == 4));
    CHECK((value.array() != nullptr) == (i == 5));
    CHECK((value.object() != nullptr) == (i == 6));
    CHECK((value.find("a") != nullptr) == (i == 6));
    for (std::size_t j = 0; j < std::size(rows); ++j) CHECK((value == rows[j]) == (i == j));
  }
}

TEST_CASE("setting a key again replaces its value in its place") {
  json::Object object;
  object.set("a", 1).set("b", 2).set("a", "new");
  CHECK(object.size() == 2);
  CHECK(json::text(object) == R"({"a":"new","b":2})");
  CHECK(object.find("c") == nullptr);
}

TEST_CASE("an object is not made of members with one key twice") {
  const auto members = [](const char* last) {
    std::vector<json::Member> out;
    for (const char* key : {"b", "a", last}) out.push_back(json::Member{key, 1});
    return out;
  };
  CHECK_FALSE(json::Object::of(members("b")));
  const auto object = json::Object::of(members("c"));
  REQUIRE(object);
  CHECK(json::text(*object) == R"({"b":1,"a":1,"c":1})");
}

TEST_CASE("equal objects have equal members in any order; equal numbers may be spelled differently") {
  CHECK(json::object({{"a", 1}, {"b", 2}}) == json::object({{"b", 2}, {"a", 1}}));
  CHECK_FALSE(json::object({{"a", 1}, {"b", 2}}) == json::object({{"a", 1}, {"b", 3}}));
  CHECK_FALSE(json::object({{"a", 1}, {"b", 2}}) == json::object({{"a", 1}, {"c", 2}}));
  CHECK_FALSE(json::object({{"a", 1}}) == json::object({{"a", 1}, {"b", 2}}));
  CHECK(Value::number_token("5.0") == Value::number_token("5.00"));
  CHECK(Value::number_token("0.5") == Value(0.5));
  CHECK_FALSE(Value(5) == Value::number_token("5.0"));
}

TEST_CASE("UTF-8 is shortest forms without surrogates up to U+10FFFF") {
  struct Row {
    std::string says;
    std::string_view bytes;
    bool valid;
  };
  const Row rows[] = {
      {"nothing", "", true},
      {"long ASCII", "0123456789abcdef0123456789abcdef", true},
      {"two, three and four bytes", "\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xEF\xBF\xBF \xF0\x90\x80\x80", true},
      {"the last code point", "\xF4\x8F\xBF\xBF", true},
      {"around the surrogates", "\xED\x9F\xBF\xEE\x80\x80", true},
      {"a bare continuation", "\x80", false},
      {"an overlong slash", "\xC0\xAF", false},
      {"an overlong NUL", "\xC0\x80", false},
      {"overlong in three", "\xE0\x9F\xBF", false},
      {"overlong in four", "\xF0\x8F\xBF\xBF", false},
      {"the first surrogate", "\xED\xA0\x80", false},
      {"the last surrogate", "\xED\xBF\xBF", false},
      {"past the last code point", "\xF4\x90\x80\x80", false},
      {"a lead that there is not", "\xF5\x80\x80\x80", false},
      {"cut after the lead", "abc\xE2", false},
      {"cut in the middle", "abc\xE2\x82", false},
      {"cut before the end of four", "\xF0\x9F\x98", false},
      {"another lead instead of a continuation", "\xE2\xC2\xA0", false},
      {"bad after eight good bytes", "12345678\xFF", false},
      {"bad within eight bytes",
       "123\xFF"
       "5678",
       false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(json::valid_utf8(row.bytes) == row.valid);
  }
}
