#include <calyx/core/event.hpp>
#include <random>
#include <set>
#include <string>

#include "crypto_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using core::EventHead;
using core::EventKind;
namespace json = core::json;
namespace for_tests = core::for_tests;

namespace {

constexpr int kind_numbers = 256;

/// The document by its definition: one object of all fields, spelled canonically.
std::string document_by_hand(const EventHead& head, const json::Object& fields) {
  json::Object whole = fields;
  whole.set("at_us", head.at.us);
  whole.set("kind", word(head.kind));
  whole.set("prev", core::hex(head.prev.view()));
  whole.set("seq", head.seq);
  return json::canonical(json::Value(std::move(whole)));
}

std::string document(const EventHead& head, std::string_view fields) {
  std::string out;
  core::append_event_document(out, head, fields);
  return out;
}

/// Texts that a careless walk over JSON would trip on.
std::string a_text(std::mt19937_64& random) {
  static const char* const pieces[] = {"a", "Z",   "\"", "\\",   "\\\"", "{",   "}",      "[",
                                       "]", ",",   ":",  "\n",   "\x01", "é",   "\u20AC", "😀",
                                       "/", "seq", " ",  "prev", "0",    "\\u", "\x7F",   "kind"};
  std::string out;
  for (std::uint64_t i = random() % 6; i > 0; --i) out += pieces[random() % std::size(pieces)];
  return out;
}

json::Value a_value(std::mt19937_64& random, int depth) {
  switch (random() % (depth > 0 ? 7 : 5)) {
    case 0: return json::Value(static_cast<std::int64_t>(random() >> 11) - (std::int64_t{1} << 52));
    case 1: return json::Value(a_text(random));
    case 2: return json::Value(random() % 2 == 0);
    case 3: return json::Value();
    case 4: return json::Value(std::string());
    case 5: {
      json::Array items;
      for (std::uint64_t i = random() % 4; i > 0; --i) items.push_back(a_value(random, depth - 1));
      return json::Value(std::move(items));
    }
    default: {
      json::Object members;
      for (std::uint64_t i = random() % 4; i > 0; --i)
        members.set(a_text(random), a_value(random, depth - 1));
      return json::Value(std::move(members));
    }
  }
}

/// Keys as events have them: small letters and underscores, not empty, none of the four that all have.
std::string a_key(std::mt19937_64& random) {
  static const std::set<std::string> common = {"at_us", "kind", "prev", "seq"};
  static const char* const near[] = {"at",  "at_ur", "at_ut", "at_us_", "kin",  "kinc", "kine",   "kind_",
                                     "pre", "preu",  "prew",  "prev_",  "se",   "sep",  "ser",    "seq_",
                                     "a",   "b",     "l",     "q",      "zzzz", "_",    "amount", "wallet"};
  if (random() % 2 == 0) return near[random() % std::size(near)];
  for (;;) {
    std::string key;
    for (std::uint64_t i = 1 + random() % 8; i > 0; --i) key += "abcdefghijklmnopqrstuvwxyz_"[random() % 27];
    if (!common.contains(key)) return key;
  }
}

EventKind a_kind(std::mt19937_64& random) {
  for (;;)
    if (const auto kind = static_cast<EventKind>(random() % 64); !word(kind).empty()) return kind;
}

}  // namespace

TEST_CASE("an event's document is the canonical JSON of all its fields, whatever they are") {
  const int rounds = testing::by_scale(5'000, 50'000, 5'000'000);
  std::mt19937_64 random(20261123);
  int wrong = 0;
  std::string first_wrong;
  for (int i = 0; i < rounds; ++i) {
    json::Object fields;
    for (std::uint64_t n = random() % 7; n > 0; --n) fields.set(a_key(random), a_value(random, 2));
    EventHead head{.seq = static_cast<std::int64_t>(random() >> 11),
                   .at = Instant{static_cast<std::int64_t>(random() >> 12)},
                   .kind = a_kind(random)};
    for (auto& byte : head.prev.bytes) byte = static_cast<std::uint8_t>(random());
    const std::string expected = document_by_hand(head, fields);
    const std::string got = document(head, json::canonical(json::Value(fields)));
    if (got != expected && wrong++ == 0) first_wrong = got + "\nnot " + expected;
  }
  CAPTURE(first_wrong);
  CHECK(wrong == 0);
}

TEST_CASE("an event's hash is that of the bytes that a dozen lines of any language would make") {
  EventHead head{.seq = 7, .at = Instant{1'774'990'800'000'000}, .kind = EventKind::spend};
  head.prev = for_tests::Hash{}(std::string_view("00112233445566778899aabbccddeeff"));
  const std::string_view fields = R"({"amount":"4.00","job_id":"job-441","wallet":17})";
  const std::string expected =
      R"({"amount":"4.00","at_us":1774990800000000,"job_id":"job-441","kind":"spend","prev":")" +
      core::hex(head.prev.view()) + R"(","seq":7,"wallet":17})";
  CHECK(document(head, fields) == expected);

  std::string scratch = "what stood here before is gone";
  const core::Digest hash = core::event_hash(for_tests::Hash{}, head, fields, scratch);
  CHECK(hash == for_tests::Hash{}(std::string_view(expected)));
  // Computed once with Python's json and hashlib over the same fields.
  CHECK(core::hex(head.prev.view()) == "5947d7c33d783f94b3b4c1a96ebc8991ed28f1b069b71e03376cba8caa98a720");
  CHECK(core::hex(hash.view()) == "392b3b04396e71de8b8d65c59decba9bebcf62883817757e23ef30b481e33c56");

  CHECK(document(head, "{}") == R"({"at_us":1774990800000000,"kind":"spend","prev":")" +
                                    core::hex(head.prev.view()) + R"(","seq":7})");
}

TEST_CASE("the hash names every field: any one changed changes it") {
  EventHead head{.seq = 7, .at = Instant{1'774'990'800'000'000}, .kind = EventKind::spend};
  std::string scratch;
  const auto hash = [&](const EventHead& of, std::string_view fields) {
    return core::event_hash(for_tests::Hash{}, of, fields, scratch);
  };
  const std::string_view fields = R"({"amount":"4.00"})";
  std::set<std::string> seen = {core::hex(hash(head, fields).view())};
  const auto differs = [&](const EventHead& of, std::string_view text) {
    return seen.insert(core::hex(hash(of, text).view())).second;
  };
  CHECK_FALSE(differs(head, fields));
  EventHead other = head;
  ++other.seq;
  CHECK(differs(other, fields));
  other = head;
  ++other.at.us;
  CHECK(differs(other, fields));
  other = head;
  other.kind = EventKind::earn;
  CHECK(differs(other, fields));
  other = head;
  other.prev.bytes[31] ^= 1;
  CHECK(differs(other, fields));
  CHECK(differs(head, R"({"amount":"4.01"})"));
  CHECK(differs(head, R"({"amounts":"4.00"})"));
}

TEST_CASE("every kind has a word of its own, and the kinds of standing begin at 32") {
  std::set<std::string_view> words;
  int kinds = 0;
  for (int number = 0; number < kind_numbers; ++number) {
    const std::string_view name = word(static_cast<EventKind>(number));
    if (name.empty()) continue;
    ++kinds;
    CHECK(words.insert(name).second);
    const bool money_alone = number < core::standing_first;
    CHECK(money_alone == (number <= static_cast<int>(EventKind::key_bound)));
  }
  CHECK(kinds == 26);
  CHECK(words.contains("market_created"));
}
