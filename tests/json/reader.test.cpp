#include "json/reader.hpp"

#include <doctest/doctest.h>

#include <calyx/core/json.hpp>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "json/pointer.hpp"

using calyx::LongList;
using calyx::read_json;
using calyx::ReadLimits;
using calyx::Reason;
using calyx::Result;
using calyx::core::json::Value;
namespace json = calyx::core::json;

namespace {

using namespace std::string_view_literals;

/// `text`, read with long lists cut out and then put back in their places.
Result<Value> read_cut(std::string_view text, std::size_t items_a_segment, LongList& cut) {
  Result<Value> value = read_json(text, {}, items_a_segment, cut);
  if (!value.ok() || cut.items == 0) return value;
  std::string list;
  for (const std::string& segment : cut.segments) {
    list += list.empty() ? "[" : ",";
    list.append(segment, 1, segment.size() - 2);
  }
  Result<Value> items = read_json(list + "]");
  if (!items.ok()) return items;
  for (const json::Member& outer : *value->object()) {
    if (outer.value.object() == nullptr) continue;
    for (const json::Member& inner : *outer.value.object()) {
      std::string pointer;
      calyx::append_pointer_step(pointer, outer.key);
      calyx::append_pointer_step(pointer, inner.key);
      if (pointer != cut.pointer) continue;
      CHECK(inner.value.array()->empty());
      CHECK(items->array()->size() == cut.items);
      value->object()->find(outer.key)->object()->set(inner.key, *items);
      return value;
    }
  }
  FAIL_CHECK("nothing stands at " << cut.pointer);
  return value;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

/// Where an error says that the fault is: a pointer as it is, an offset as digits.
std::string at(const calyx::Error& error) {
  const Value* const place = error.details.find("at");
  if (place == nullptr) return "nowhere";
  if (const std::int64_t* const offset = place->integer()) return std::to_string(*offset);
  return place->string() == nullptr ? "nowhere" : *place->string();
}

}  // namespace

TEST_CASE("a text that two readers could take differently is refused, with the place") {
  struct Row {
    const char* says;
    std::string_view text;
    Reason reason;
    const char* at;
  };
  const Row rows[] = {
      {"no text", ""sv, Reason::not_json, "0"},
      {"spaces alone", " \n\t\r"sv, Reason::not_json, "4"},
      {"a byte order mark", "\xEF\xBB\xBF{}"sv, Reason::not_json, "0"},
      {"UTF-16", "\xFF\xFE{\0}\0"sv, Reason::not_utf8, "0"},

      {"an overlong slash", "[\"ab\xC0\xAF\"]"sv, Reason::not_utf8, "4"},
      {"an overlong NUL of three bytes", "[\"\xE0\x80\x80\"]"sv, Reason::not_utf8, "2"},
      {"a surrogate as bytes", "[\"\xED\xA0\x80\"]"sv, Reason::not_utf8, "2"},
      {"beyond U+10FFFF", "[\"\xF4\x90\x80\x80\"]"sv, Reason::not_utf8, "2"},
      {"a character cut short", "[\"\xE2\x82\"]"sv, Reason::not_utf8, "2"},
      {"a bare continuation", "[\"\x80\"]"sv, Reason::not_utf8, "2"},
      {"not UTF-8 outside strings", "[1,\xFF]"sv, Reason::not_utf8, "3"},
      {"UTF-8 is judged before all else", "{{{\xFF"sv, Reason::not_utf8, "3"},
      {"a high surrogate alone", R"({"a":["x","\ud800"]})"sv, Reason::not_utf8, "/a/1"},
      {"a low surrogate alone", R"(["\udc00"])"sv, Reason::not_utf8, "/0"},
      {"two high surrogates", R"(["\ud800\ud800"])"sv, Reason::not_utf8, "/0"},
      {"a high surrogate before a letter", R"(["\ud83dA"])"sv, Reason::not_utf8, "/0"},
      {"a high surrogate before an escaped letter", R"(["\ud83d\u0041"])"sv, Reason::not_utf8, "/0"},
      {"half a pair after a whole one", R"(["\ud83d\ude00\ude00"])"sv, Reason::not_utf8, "/0"},
      {"half a pair in a key", R"({"o":{"\udfff":1}})"sv, Reason::not_utf8, "/o"},
      {"half a pair as the whole text", R"("\ud800")"sv, Reason::not_utf8, ""},

      {"a comma too many in an array", "[1,]"sv, Reason::not_json, nullptr},
      {"a comma too many in an object", R"({"a":1,})"sv, Reason::not_json, nullptr},
      {"a comma first", "[,1]"sv, Reason::not_json, nullptr},
      {"no comma", "[1 2]"sv, Reason::not_json, nullptr},
      {"no comma between strings", R"(["a""b"])"sv, Reason::not_json, nullptr},
      {"no comma between string and number", R"(["a"1])"sv, Reason::not_json, nullptr},
      {"no comma between number and string", R"([1"a"])"sv, Reason::not_json, nullptr},
      {"no comma between members", R"({"a":1 "b":2})"sv, Reason::not_json, nullptr},
      {"a colon for a comma", R"({"a":1:"b":2})"sv, Reason::not_json, nullptr},
      {"a colon in an array", R"(["a":1])"sv, Reason::not_json, nullptr},
      {"no colon", R"({"a" 1})"sv, Reason::not_json, nullptr},
      {"no value", R"({"a":})"sv, Reason::not_json, nullptr},
      {"a key alone", R"({"a"})"sv, Reason::not_json, nullptr},
      {"a key that is a number", "{1:2}"sv, Reason::not_json, nullptr},
      {"a key without quotes", "{a:2}"sv, Reason::not_json, nullptr},
      {"single quotes", "{'a':2}"sv, Reason::not_json, nullptr},
      {"the wrong bracket", R"({"a":1])"sv, Reason::not_json, nullptr},
      {"the wrong bracket in an array", "[1}"sv, Reason::not_json, nullptr},
      {"the wrong bracket inside", R"({"a":[1}})"sv, Reason::not_json, nullptr},
      {"an open array", "[1,[2]"sv, Reason::not_json, nullptr},
      {"an open object", R"({"a":{"b":1})"sv, Reason::not_json, nullptr},
      {"an open string", R"(["abc)"sv, Reason::not_json, nullptr},
      {"an open string as the whole text", R"("abc)"sv, Reason::not_json, nullptr},
      {"a comment", R"({"a":1 /* one */})"sv, Reason::not_json, nullptr},
      {"a comment line", "[1 // one\n]"sv, Reason::not_json, nullptr},
      {"a comment first", "/**/[1]"sv, Reason::not_json, nullptr},
      {"a form feed is no space", "[1\f]"sv, Reason::not_json, nullptr},
      {"a no-break space is no space",
       "[\xC2\xA0"
       "1]"sv,
       Reason::not_json, nullptr},
      {"an unknown escape", R"(["\x41"])"sv, Reason::not_json, nullptr},
      {"an escape of three digits", R"(["\u004"])"sv, Reason::not_json, nullptr},
      {"an escape with a sign", R"(["\u+041"])"sv, Reason::not_json, nullptr},
      {"a raw line feed in a string", "[\"a\nb\"]"sv, Reason::not_json, "3"},
      {"a raw tab in a key", "{\"a\tb\":1}"sv, Reason::not_json, "3"},
      {"a zero byte outside strings", "[1,\0 2]"sv, Reason::not_json, nullptr},
      {"a zero byte at the end", "[1\0]"sv, Reason::not_json, nullptr},
      {"a closing bracket alone", "]"sv, Reason::not_json, nullptr},
      {"a comma alone", ","sv, Reason::not_json, nullptr},

      {"not a number", "[NaN]"sv, Reason::not_json, "1"},
      {"minus infinity", "[-Infinity]"sv, Reason::not_json, "1"},
      {"True", "[True]"sv, Reason::not_json, "1"},
      {"nul", "[nul]"sv, Reason::not_json, "1"},
      {"nulls", "[nulls]"sv, Reason::not_json, "1"},
      {"true with a tail", "[true1]"sv, Reason::not_json, "1"},
      {"a leading zero", "[01]"sv, Reason::not_json, "1"},
      {"a minus and a leading zero", "[-01]"sv, Reason::not_json, "1"},
      {"a plus", "[+1]"sv, Reason::not_json, "1"},
      {"a minus alone", "[-]"sv, Reason::not_json, "1"},
      {"a point last", "[1.]"sv, Reason::not_json, "1"},
      {"a point first", "[.5]"sv, Reason::not_json, "1"},
      {"an exponent without digits", "[1e]"sv, Reason::not_json, "1"},
      {"an exponent with a sign alone", "[1e+]"sv, Reason::not_json, "1"},
      {"two points", "[1.2.3]"sv, Reason::not_json, "1"},
      {"hex", "[0x10]"sv, Reason::not_json, "1"},
      {"letters after digits", "[12abc]"sv, Reason::not_json, "1"},
      {"a leading zero as the whole text", "01"sv, Reason::not_json, "0"},
      {"NaN as the whole text", " NaN"sv, Reason::not_json, "1"},

      {"a key twice", R"({"a":1,"b":2,"a":3})"sv, Reason::duplicate_key, "/a"},
      {"a key twice with one value", R"({"a":1,"a":1})"sv, Reason::duplicate_key, "/a"},
      {"a key and its escaped spelling", R"({"a":1,"\u0061":2})"sv, Reason::duplicate_key, "/a"},
      {"a key with an escaped slash", R"({"a\/b":1,"a/b":2})"sv, Reason::duplicate_key, "/a~1b"},
      {"a pair and its bytes", "{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}"sv, Reason::duplicate_key,
       "/\xF0\x9F\x98\x80"},
      {"a key twice deep down", R"([0,{"x":{"~":1,"~":2}}])"sv, Reason::duplicate_key, "/1/x/~0"},
      {"the empty key twice", R"({"":1,"":2})"sv, Reason::duplicate_key, "/"},

      {"an escaped NUL", R"({"a":["\u0000"]})"sv, Reason::zero_character, "/a/0"},
      {"an escaped NUL within", R"(["a\u0000b"])"sv, Reason::zero_character, "/0"},
      {"an escaped NUL in a key", R"({"o":{"a\u0000":1}})"sv, Reason::zero_character, "/o"},
      {"a raw NUL in a string", "[\"a\0b\"]"sv, Reason::zero_character, "3"},
      {"a raw NUL in a key", "{\"a\0\":1}"sv, Reason::zero_character, "3"},

      {"a second document", "{} {}"sv, Reason::trailing_bytes, nullptr},
      {"a second document at once", "[1][2]"sv, Reason::trailing_bytes, nullptr},
      {"a letter after", R"({"a":1} x)"sv, Reason::trailing_bytes, nullptr},
      {"a bracket after", "[1]]"sv, Reason::trailing_bytes, nullptr},
      {"a brace after", R"({"a":1}})"sv, Reason::trailing_bytes, nullptr},
      {"a comma after", "[1],"sv, Reason::trailing_bytes, nullptr},
      {"a comment after", "[1] // one"sv, Reason::trailing_bytes, nullptr},
      {"a zero byte after", "[1]\0"sv, Reason::trailing_bytes, nullptr},
      {"an open string after", R"([1] "abc)"sv, Reason::trailing_bytes, nullptr},
      {"two numbers", "1 2"sv, Reason::trailing_bytes, nullptr},
      {"two strings", R"("a" "b")"sv, Reason::trailing_bytes, nullptr},
      {"a comma after a number", "1,"sv, Reason::trailing_bytes, nullptr},
      {"what comes first is judged first", R"({"a":1,"a":2} x)"sv, Reason::duplicate_key, "/a"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const auto read = read_json(row.text);
    CHECK(read.reason() == row.reason);
    if (read.ok()) continue;
    CHECK(at(read.error()) != "nowhere");
    if (row.at != nullptr) CHECK(at(read.error()) == row.at);
    CHECK(read.error().message.find('\n') == std::string::npos);
  }
}

TEST_CASE("a number is an int64, or it keeps its digits") {
  struct Row {
    const char* token;
    bool whole;
    double value;
  };
  const Row rows[] = {
      {"0", true, 0},
      {"-1", true, -1},
      {"9007199254740992", true, 9007199254740992.0},
      {"9007199254740993", true, 9007199254740992.0},
      {"9223372036854775807", true, 9223372036854775808.0},
      {"-9223372036854775808", true, -9223372036854775808.0},
      {"9223372036854775808", false, 9223372036854775808.0},
      {"-9223372036854775809", false, -9223372036854775808.0},
      {"18446744073709551615", false, 18446744073709551616.0},
      {"18446744073709551616", false, 18446744073709551616.0},
      {"1180591620717411303424", false, 1180591620717411303424.0},
      {"-0", false, -0.0},
      {"-0.0", false, -0.0},
      {"0.0", false, 0},
      {"1.0", false, 1},
      {"1e2", false, 100},
      {"1E+2", false, 100},
      {"5.5000000", false, 5.5},
      {"0.1", false, 0.1},
      {"1e400", false, HUGE_VAL},
      {"-1e400", false, -HUGE_VAL},
      {"1e-400", false, 0},
  };
  for (const Row& row : rows) {
    const std::string token = row.token;
    for (const std::string& text :
         {token, " " + token + "\n", "[" + token + "]", "[ " + token + " ,1]", "{\"a\":" + token + "}"}) {
      CAPTURE(text);
      const auto read = read_json(text);
      REQUIRE(read.ok());
      const Value* value = &*read;
      if (value->array() != nullptr) value = &value->array()->front();
      if (value->object() != nullptr) value = value->find("a");
      if (row.whole) {
        REQUIRE(value->integer() != nullptr);
        CHECK(std::to_string(*value->integer()) == token);
      } else {
        REQUIRE(value->real() != nullptr);
        CHECK(value->real()->token == token);
        CHECK(value->real()->value == row.value);
        CHECK(std::signbit(value->real()->value) == std::signbit(row.value));
      }
    }
  }
  const std::string many_digits = "1." + std::string(5000, '3');
  const auto read = read_json(many_digits);
  REQUIRE(read.ok());
  CHECK(read->real()->token == many_digits);
}

TEST_CASE("what is JSON comes out as it was meant, in its order") {
  struct Row {
    std::string_view text;
    std::string_view same;
  };
  const Row rows[] = {
      {"null"sv, "null"sv},
      {" true "sv, "true"sv},
      {"\"\""sv, "\"\""sv},
      {R"("a\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00")"sv,
       "\"a\\\"\\\\/\\b\\f\\n\\r\\tA\xC3\xA9\xF0\x9F\x98\x80\""sv},
      {"\"\\ud7ff\\ue000\xED\x9F\xBF\\uffff\x7F\""sv,
       "\"\xED\x9F\xBF\xEE\x80\x80\xED\x9F\xBF\xEF\xBF\xBF\x7F\""sv},
      {R"("\\u0000\\ud800")"sv, R"("\\u0000\\ud800")"sv},
      {"[]"sv, "[]"sv},
      {"{}"sv, "{}"sv},
      {" [ [ ] , { } , [ [ ] ] ] "sv, "[[],{},[[]]]"sv},
      {R"({"b":1,"a":{"c":[true,false,null,"x",1.50]},"":0})"sv,
       R"({"b":1,"a":{"c":[true,false,null,"x",1.50]},"":0})"sv},
      {R"({"a":"]","b":"[\"{"})"sv, R"({"a":"]","b":"[\"{"})"sv},
      {R"({"a":{"a":{"a":1}}})"sv, R"({"a":{"a":{"a":1}}})"sv},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto read = read_json(row.text);
    REQUIRE(read.ok());
    CHECK(json::text(*read) == row.same);
  }
}

TEST_CASE("32 levels are read, 33 are not") {
  CHECK(read_json(nested(32)).ok());
  const auto read = read_json(nested(33));
  CHECK(read.reason() == Reason::too_deep);
  std::string pointer;
  for (int i = 0; i < 32; ++i) pointer += "/0";
  CHECK(at(read.error()) == pointer);

  std::string objects = "1";
  for (int i = 0; i < 32; ++i) objects = "{\"a\":" + objects + "}";
  CHECK(read_json(objects).ok());
  CHECK(read_json("[" + objects + "]").reason() == Reason::too_deep);

  CHECK(read_json(nested(100'000)).reason() == Reason::too_deep);
  CHECK(read_json(std::string(100'000, '[')).reason() != Reason::none);
  CHECK(read_json("[[1]]", ReadLimits{.depth = 2}).ok());
  CHECK(read_json("[[1]]", ReadLimits{.depth = 1}).reason() == Reason::too_deep);
  CHECK(read_json("1", ReadLimits{.depth = 0}).ok());
}

TEST_CASE("a text of the largest size is read, one byte more is not") {
  const std::string most = "\"" + std::string(calyx::json_bytes_max - 2, 'a') + "\"";
  CHECK(read_json(most).ok());
  const auto read = read_json(most + " ");
  REQUIRE(read.reason() == Reason::too_large);
  CHECK(*read.error().details.find("limit")->integer() == std::int64_t{1} << 20);
  CHECK(read_json("[1]", ReadLimits{.bytes = 3}).ok());
  CHECK(read_json("[1] ", ReadLimits{.bytes = 3}).reason() == Reason::too_large);
}

TEST_CASE("an object with many members is read in their order, and a key that stands twice is found") {
  std::string text = "{";
  for (int i = 0; i < 20'000; ++i)
    text += "\"k" + std::to_string(i * 7919 % 20'000) + "\":" + std::to_string(i) + ",";
  const auto whole = read_json(text + "\"last\":0}");
  REQUIRE(whole.ok());
  CHECK(whole->object()->size() == 20'001);
  CHECK(whole->object()->begin()[1].key == "k7919");
  const auto twice = read_json(text + "\"k77\":0}");
  REQUIRE(twice.reason() == Reason::duplicate_key);
  CHECK(at(twice.error()) == "/k77");
}

TEST_CASE("a faulty text leaves nothing behind for the next one") {
  CHECK(read_json(R"({"a":"secret", )").reason() == Reason::not_json);
  const auto read = read_json("[]");
  REQUIRE(read.ok());
  CHECK(json::text(*read) == "[]");
  // The end of a longer text lies in the buffer behind a shorter one.
  CHECK(read_json("[1,2,3,4,5,6,7,8]]").reason() == Reason::trailing_bytes);
  CHECK(read_json("[1,[2]").reason() == Reason::not_json);
}

TEST_CASE("a mutated text is read whole or refused for a reason, and what was read is spelled back") {
  const std::vector<std::string> seeds = {
      R"({"amount":5.50,"reference":"job_1","ok":true,"none":null,"list":[1,-0,1e400,"x"],"o":{"a":{}}})",
      R"({"owner_type":"agent","owner_id":"\u00e9\ud83d\ude00","allowed_gpu_types":["RTX 4090","A100"]})",
      R"([[[[[[1,2],3],"\\\"\/"],{"":""}],9223372036854775808],18446744073709551616])",
      R"("just a string")",
      "-12.5e-3",
      "[\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"]"};
  const std::string alphabet =
      "{}[]:,\"\\/ \t\n\r0123456789eE+-.truefalsnu\x01\x7F\x80\xC0\xE2\xED\xF0\xFF" + std::string(1, '\0');
  const std::set<Reason> expected = {Reason::not_utf8, Reason::not_json,       Reason::duplicate_key,
                                     Reason::too_deep, Reason::zero_character, Reason::trailing_bytes};
  std::mt19937 random(20261123);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::size_t accepted = 0;
  std::size_t cut_out = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::string text = seeds[below(seeds.size())];
    for (std::size_t edits = 1 + below(3); edits > 0 && !text.empty(); --edits) {
      const std::size_t place = below(text.size());
      switch (below(5)) {
        case 0: text[place] = alphabet[below(alphabet.size())]; break;
        case 1: text.erase(place, 1 + below(4)); break;
        case 2: text.insert(place, 1, alphabet[below(alphabet.size())]); break;
        case 3: text.insert(place, text.substr(below(text.size()), below(12))); break;
        default: text.resize(place); break;
      }
    }
    const std::string inside = R"({"a":[1,2],"o":{"k":0,"l":[{},)" + text + R"(,[1]]},"z":0})";
    const auto whole = read_json(inside);
    LongList cut;
    const auto put_back = read_cut(inside, 2, cut);
    if (put_back.reason() != whole.reason() ||
        (whole.ok() ? json::canonical(*put_back) != json::canonical(*whole)
                    : at(put_back.error()) != at(whole.error()))) {
      CAPTURE(inside);
      FAIL_CHECK("cut out it is not the same");
    }
    if (cut.items != 0) ++cut_out;
    if (whole.ok() && whole->find("o") != nullptr) {
      const Value* list = whole->find("o")->find("l");
      if (list != nullptr && list->array() != nullptr && list->array()->size() > 2) CHECK(cut.items != 0);
    }

    const auto read = read_json(text);
    if (!read.ok()) {
      if (expected.count(read.reason()) == 0) {
        CAPTURE(text);
        CHECK(calyx::word(read.reason()) == "one of the expected");
      }
      continue;
    }
    ++accepted;
    const auto again = read_json(json::text(*read));
    const auto longer = read_json(text + " x");
    if (!again.ok() || !(*again == *read) || longer.reason() != Reason::trailing_bytes) {
      CAPTURE(text);
      CHECK(again.ok());
      CHECK(longer.reason() == Reason::trailing_bytes);
      FAIL_CHECK("not the same when spelled back");
    }
  }
  CHECK(accepted > 5000);
  CHECK(cut_out > 5000);
}

TEST_CASE("a long list is cut out as canonical text, the second level's first and no other") {
  LongList cut;
  const auto read = read_json(R"({"a":[1,2,3],"b":{"c":{"d":[1,2,3]},"e":[1,2],"f/g":[ {"y" : 1.50, "x":-0},
      "\u0041\n", 1e2, 0.1, 0.0000001, 9007199254740993, true , {} ]},"h":{"i":[1,2,3]}})",
                              {}, 3, cut);
  REQUIRE(read.ok());
  CHECK(cut.pointer == "/b/f~1g");
  CHECK(cut.items == 8);
  CHECK_FALSE(cut.objects);
  CHECK(cut.segments == std::vector<std::string>{R"([{"x":0,"y":1.5},"A\n",100])",
                                                 "[0.1,1e-7,9007199254740992]", "[true,{}]"});
  CHECK(json::text(*read) == R"({"a":[1,2,3],"b":{"c":{"d":[1,2,3]},"e":[1,2],"f/g":[]},"h":{"i":[1,2,3]}})");

  REQUIRE(read_json(R"({"a":{"b":[{},{},{}]}})", {}, 2, cut).ok());
  CHECK(cut.objects);
  REQUIRE(read_json(R"([[[1,2,3]]])", {}, 2, cut).ok());
  CHECK(cut.items == 0);
  CHECK_FALSE(read_json(R"({"a":{"b":[1,2,3]})", {}, 2, cut).ok());
  CHECK(cut.segments.empty());
}

TEST_CASE("the number of a long list is spelled as a value is") {
  std::mt19937_64 random(20261128);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 100'000; ++round) {
    std::string number = below(2) == 0 ? "-" : "";
    const auto digits = [&](std::size_t most) {
      for (std::size_t i = below(most + 1); i > 0; --i) number.push_back(static_cast<char>('0' + below(10)));
    };
    if (below(3) == 0) {
      number += "0";
    } else {
      number.push_back(static_cast<char>('1' + below(9)));
      digits(17);
    }
    if (below(3) != 0) {
      number += ".";
      number.append(below(9), '0');
      number.push_back(static_cast<char>('0' + below(10)));
      digits(12);
    }
    if (below(6) == 0) {
      number += below(2) == 0 ? "e-" : "E";
      number.push_back(static_cast<char>('0' + below(10)));
    }
    LongList cut;
    const auto read = read_json(R"({"a":{"b":[)" + number + ",0]}}", {}, 1, cut);
    REQUIRE(read.ok());
    if (cut.segments.front() != "[" + json::canonical(*read_json(number)) + "]") {
      CAPTURE(number);
      CHECK(cut.segments.front() == "[" + json::canonical(*read_json(number)) + "]");
    }
  }
}

TEST_CASE("a step of a pointer escapes its own two characters and no others") {
  std::string pointer;
  for (const char* name : {"a/b", "~", "~1", "", "\"\xC3\xA9"}) calyx::append_pointer_step(pointer, name);
  CHECK(pointer == "/a~1b/~0/~01//\"\xC3\xA9");
}
