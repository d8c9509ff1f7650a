#include <doctest/doctest.h>

#include <calyx/core/sign_in.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crypto_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::core;
using namespace calyx::core::for_tests;
using namespace calyx::core::sign_in;

namespace {

std::string text_or_empty(const json::Value& value, std::string_view key) {
  const json::Value* found = value.find(key);
  if (found == nullptr) return {};
  return found->string() != nullptr ? *found->string() : json::text(*found);
}

/// The message that a vector's `fields` say.
Message message_of(const json::Value& fields) {
  Message out;
  out.scheme = text_or_empty(fields, "scheme");
  out.domain = text_or_empty(fields, "domain");
  out.address = text_or_empty(fields, "address");
  if (fields.find("statement") != nullptr) out.statement = text_of(fields, "statement");
  out.uri = text_or_empty(fields, "uri");
  out.version = text_or_empty(fields, "version");
  out.chain_id = text_or_empty(fields, "chainId");
  out.nonce = text_or_empty(fields, "nonce");
  out.issued_at = text_or_empty(fields, "issuedAt");
  out.expiration_time = text_or_empty(fields, "expirationTime");
  out.not_before = text_or_empty(fields, "notBefore");
  if (fields.find("requestId") != nullptr) out.request_id = text_of(fields, "requestId");
  if (const json::Value* resources = fields.find("resources")) {
    out.resources.emplace();
    for (const json::Value& each : *resources->array()) out.resources->push_back(*each.string());
  }
  return out;
}

/// `text` with the first `from` in it changed into `to`.
std::string changed(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, "not there: " << std::string(from));
  return text.replace(at, from.size(), to);
}

const std::string full_text =
    "calyx.example wants you to sign in with your Ethereum account:\n"
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n\nSign in to calyx\n\n"
    "URI: https://calyx.example/login\nVersion: 1\nChain ID: 8453\nNonce: a1b2c3d4e5f60718\n"
    "Issued At: 2026-01-01T00:00:00.000Z\nExpiration Time: 2026-01-01T00:05:00.000Z\n"
    "Not Before: 2026-01-01T00:00:00.000Z\nRequest ID: req-1\nResources:\n- https://calyx.example/tos\n"
    "- urn:calyx:scope:jobs";

}  // namespace

TEST_CASE("Ethereum's texts are built as the wallets' own library builds them, and read back") {
  std::size_t seen = 0;
  for (const json::Value& row : vectors("siwe.json")) {
    const json::Value* fields = row.find("fields");
    if (fields == nullptr) continue;
    CAPTURE(text_of(row, "name"));
    const std::string text = text_of(row, "message");
    const Message message = message_of(*fields);
    CHECK(sign_in_text(message, Chain::ethereum) == text);
    const Reading reading = read_sign_in(text, Chain::ethereum);
    CHECK(reading.fault == Fault::none);
    CHECK(reading.message == message);
    CHECK("0x" + hex(personal_message_digest(text)) == text_of(row, "digest"));
    ++seen;
  }
  CHECK(seen == 4);
}

TEST_CASE("Ethereum's negative texts are refused for their reason") {
  std::size_t seen = 0;
  for (const json::Value& row : vectors("siwe.json")) {
    if (row.find("calyx_expect") == nullptr) continue;
    const std::string expect = text_of(row, "calyx_expect");
    CAPTURE(text_of(row, "name"));
    const Reading reading = read_sign_in(text_of(row, "message"), Chain::ethereum);
    ++seen;
    if (expect == "malformed" || expect == "malformed_or_signature") {
      CHECK(malformed(reading.fault));
      continue;
    }
    REQUIRE(reading.fault == Fault::none);
    const std::string domain = text_of(row, "expected_domain");
    const std::string nonce = text_of(row, "expected_nonce");
    const Fault fault = judge(reading.message, {.domain = domain, .nonce = nonce},
                              read_date_time(text_of(row, "verify_at")).value());
    const Fault wanted = expect == "domain"          ? Fault::other_domain
                         : expect == "nonce"         ? Fault::other_nonce
                         : expect == "not_yet_valid" ? Fault::not_yet_valid
                         : expect == "expired"       ? Fault::expired
                                                     : Fault::none;  // the signature's, elsewhere
    CHECK(word(fault) == word(wanted));
  }
  CHECK(seen == 8);
}

TEST_CASE("a text of Ethereum is read as it stands or not at all") {
  REQUIRE(read_sign_in(full_text, Chain::ethereum).fault == Fault::none);
  struct Row {
    const char* says;
    std::string text;
    Fault fault;
  };
  const Row rows[] = {
      {"nothing", "", Fault::first_line},
      {"a carriage return", changed(full_text, "account:\n", "account:\r\n"), Fault::character},
      {"a letter beyond ASCII", changed(full_text, "calyx\n", "caf\xc3\xa9\n"), Fault::character},
      {"a NUL", changed(full_text, "Sign in", std::string_view("Sig\0in", 6)), Fault::character},
      {"a newline at the end", full_text + "\n", Fault::resources},
      {"another chain's first line", changed(full_text, "Ethereum", "Solana"), Fault::first_line},
      {"no domain", changed(full_text, "calyx.example wants", " wants"), Fault::first_line},
      {"a user in the domain", changed(full_text, "calyx.example wants", "a@calyx.example wants"),
       Fault::first_line},
      {"a scheme that is none", changed(full_text, "calyx.example wants", "1x://calyx.example wants"),
       Fault::first_line},
      {"a wrong checksum", changed(full_text, "0xf39Fd", "0xf39fd"), Fault::address},
      {"lower case alone",
       changed(full_text, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
               "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"),
       Fault::address},
      {"a space before the address", changed(full_text, "0xf39", " 0xf39"), Fault::address},
      {"no blank line", changed(full_text, "\n\nSign", "\nSign"), Fault::line},
      {"no blank line after the statement", changed(full_text, "calyx\n\nURI", "calyx\nURI"), Fault::line},
      {"two statements", changed(full_text, "Sign in to calyx", "Sign in\nto calyx"), Fault::line},
      {"one blank line without a statement", changed(full_text, "Sign in to calyx\n\n", ""), Fault::line},
      {"three blank lines", changed(full_text, "Sign in to calyx\n\n", "\n\n"), Fault::line},
      {"a tag in the statement", changed(full_text, "Sign in", "<b>"), Fault::statement},
      {"no URI", changed(full_text, "URI: https://calyx.example/login\n", ""), Fault::uri},
      {"a URI that is none", changed(full_text, "URI: https://", "URI: "), Fault::uri},
      {"a URI with a half escape", changed(full_text, "/login", "/%4"), Fault::uri},
      {"a label in lower case", changed(full_text, "URI:", "uri:"), Fault::uri},
      {"a label without its space", changed(full_text, "Version: 1", "Version:1"), Fault::version},
      {"version 2", changed(full_text, "Version: 1", "Version: 2"), Fault::version},
      {"a version with more", changed(full_text, "Version: 1", "Version: 1 "), Fault::version},
      {"a chain with a leading zero", changed(full_text, "8453", "08453"), Fault::chain_id},
      {"a chain in words", changed(full_text, "8453", "base"), Fault::chain_id},
      {"seven letters of nonce", changed(full_text, "a1b2c3d4e5f60718", "a1b2c3d"), Fault::nonce},
      {"a nonce with a sign", changed(full_text, "a1b2c3d4e5f60718", "a1b2c3d4-"), Fault::nonce},
      {"a day that is none", changed(full_text, "At: 2026-01-01", "At: 2026-02-29"), Fault::issued_at},
      {"a time without a zone", changed(full_text, "At: 2026-01-01T00:00:00.000Z", "At: 2026-01-01T00:00:00"),
       Fault::issued_at},
      {"an end that is no time", changed(full_text, "Time: 2026", "Time: soon"), Fault::expiration_time},
      {"a beginning that is no time", changed(full_text, "Before: 2026", "Before: 26"), Fault::not_before},
      {"a request id with a space", changed(full_text, "req-1", "req 1"), Fault::request_id},
      {"lines that changed places",
       changed(full_text, "Version: 1\nChain ID: 8453\n", "Chain ID: 8453\nVersion: 1\n"), Fault::version},
      {"a nonce twice", changed(full_text, "Issued At", "Nonce: a1b2c3d4e5f60718\nIssued At"),
       Fault::issued_at},
      {"a request id twice", changed(full_text, "Resources", "Request ID: b\nResources"), Fault::line},
      {"resources without a mark", changed(full_text, "- urn", "urn"), Fault::resources},
      {"a resource that is no URI", changed(full_text, "- urn:calyx:scope:jobs", "- jobs"), Fault::resources},
      {"something after an end without resources",
       changed(full_text, "\nResources:\n- https://calyx.example/tos\n- urn:calyx:scope:jobs", "\n"),
       Fault::line},
      {"too much", full_text + std::string(text_bytes_max, 'x'), Fault::too_large},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(word(read_sign_in(row.text, Chain::ethereum).fault) == word(row.fault));
  }
  std::string many = full_text;
  for (std::size_t i = 2; i < resources_max; ++i) many += "\n- a:b";
  CHECK(read_sign_in(many, Chain::ethereum).fault == Fault::none);
  CHECK(read_sign_in(many + "\n- a:b", Chain::ethereum).fault == Fault::resources);
}

TEST_CASE("Solana's texts have what they have, and one blank line before each part") {
  std::size_t seen = 0;
  for (const json::Value& row : vectors("solana_ed25519.json")) {
    const json::Value* fields = row.find("fields");
    if (fields == nullptr) continue;
    CAPTURE(text_of(row, "name"));
    const std::string text = text_of(row, "message");
    const Message message = message_of(*fields);
    CHECK(sign_in_text(message, Chain::solana) == text);
    const Reading reading = read_sign_in(text, Chain::solana);
    CHECK(reading.fault == Fault::none);
    CHECK(reading.message == message);
    CHECK(read_sign_in(text, Chain::ethereum).fault == Fault::first_line);
    ++seen;
  }
  CHECK(seen == 3);

  const std::string head =
      "calyx.example wants you to sign in with your Solana account:\n"
      "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";
  struct Row {
    const char* says;
    std::string text;
    Fault fault;
  };
  const Row rows[] = {
      {"the least", head, Fault::none},
      {"a statement alone", head + "\n\nHello", Fault::none},
      {"a field alone", head + "\n\nNonce: 12345678", Fault::none},
      {"a chain by name", head + "\n\nChain ID: mainnet", Fault::none},
      {"a statement and a field", head + "\n\nHello\n\nVersion: 1", Fault::none},
      {"no newline at the end", head + "\n", Fault::line},
      {"nor two", head + "\n\n", Fault::statement},
      {"nor after a statement", head + "\n\nHello\n", Fault::line},
      {"nor after fields", head + "\n\nNonce: 12345678\n", Fault::line},
      {"two blank lines", head + "\n\n\nNonce: 12345678", Fault::statement},
      {"a field without its blank line", head + "\n\nHello\nNonce: 12345678", Fault::line},
      {"an order that is not theirs", head + "\n\nNonce: 12345678\nVersion: 1", Fault::line},
      {"a chain that is none", head + "\n\nChain ID: 8453", Fault::chain_id},
      {"a long reference", head + "\n\nChain ID: solana:" + std::string(33, 'a'), Fault::chain_id},
      {"an address of Ethereum",
       changed(head, "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
               "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
       Fault::address},
      {"a scheme before the domain", "https://" + head, Fault::first_line},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(word(read_sign_in(row.text, Chain::solana).fault) == word(row.fault));
  }
}

TEST_CASE("what would not be read back is not built") {
  const Message good = read_sign_in(full_text, Chain::ethereum).message;
  REQUIRE(sign_in_text(good, Chain::ethereum) == full_text);
  Message bad = good;
  bad.statement = "one\ntwo";
  CHECK_FALSE(sign_in_text(bad, Chain::ethereum).has_value());
  bad = good;
  bad.statement = "";
  CHECK_FALSE(sign_in_text(bad, Chain::ethereum).has_value());
  bad = good;
  bad.nonce = "short";
  CHECK_FALSE(sign_in_text(bad, Chain::ethereum).has_value());
  bad = good;
  bad.issued_at.clear();
  CHECK_FALSE(sign_in_text(bad, Chain::ethereum).has_value());
  bad = good;
  bad.domain = "calyx.example wants you to sign in with your Ethereum account:\nx";
  CHECK_FALSE(sign_in_text(bad, Chain::ethereum).has_value());
  Message like_a_field;
  like_a_field.domain = "calyx.example";
  like_a_field.address = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z";
  like_a_field.statement = "Nonce: 12345678";
  CHECK_FALSE(sign_in_text(like_a_field, Chain::solana).has_value());
}

TEST_CASE("a message counts from its beginning to before its end") {
  const Message message = read_sign_in(full_text, Chain::ethereum).message;
  const Instant begins = read_date_time("2026-01-01T00:00:00Z").value();
  const Instant ends = read_date_time("2026-01-01T00:05:00Z").value();
  const Expected expected{.domain = "calyx.example", .chain_id = "8453", .nonce = "a1b2c3d4e5f60718"};
  CHECK(judge(message, expected, {begins.us - 1}) == Fault::not_yet_valid);
  CHECK(judge(message, expected, begins) == Fault::none);
  CHECK(judge(message, expected, {ends.us - 1}) == Fault::none);
  CHECK(judge(message, expected, ends) == Fault::expired);
  CHECK(judge(message, {.chain_id = "1"}, begins) == Fault::other_chain);
  CHECK(judge(message, {.domain = "calyx.example.evil"}, begins) == Fault::other_domain);
  CHECK(judge(message, {}, begins) == Fault::none);
}

TEST_CASE("a date-time is RFC 3339's") {
  struct Row {
    const char* text;
    std::int64_t us;
  };
  const Row rows[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"2026-01-01T00:00:00.000Z", 1'767'225'600'000'000},
      {"2026-01-01t00:00:00z", 1'767'225'600'000'000},
      {"2026-01-01T00:00:00.1234567Z", 1'767'225'600'123'456},
      {"2026-01-01T01:30:00+01:30", 1'767'225'600'000'000},
      {"2025-12-31T23:00:00-01:00", 1'767'225'600'000'000},
      {"2024-02-29T00:00:00Z", 1'709'164'800'000'000},
      {"2016-12-31T23:59:60Z", 1'483'228'799'000'000},
      {"1969-12-31T23:59:59.5Z", -500'000},
      {"0000-03-01T00:00:00Z", -62'162'035'200'000'000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto read = read_date_time(row.text);
    REQUIRE(read);
    CHECK(read->us == row.us);
  }
  for (const char* bad : {"",
                          "2026-01-01",
                          "2026-01-01T00:00:00",
                          "2026-01-01 00:00:00Z",
                          "2026-13-01T00:00:00Z",
                          "2026-00-01T00:00:00Z",
                          "2026-04-31T00:00:00Z",
                          "2100-02-29T00:00:00Z",
                          "2026-01-01T24:00:00Z",
                          "2026-01-01T00:60:00Z",
                          "2026-01-01T00:00:61Z",
                          "2026-01-01T00:00:00.Z",
                          "2026-01-01T00:00:00ZZ",
                          "2026-01-01T00:00:00+0100",
                          "2026-01-01T00:00:00+24:00",
                          "2026-01-01T00:00:00+01:60",
                          "2026-1-01T00:00:00Z",
                          "+026-01-01T00:00:00Z",
                          "2026/01/01T00:00:00Z",
                          "2026-01-01T00:00:00.1"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_date_time(bad).has_value());
  }
  // Each day of four centuries is what `date_of` says.
  for (std::int64_t day = -146'097; day < 146'097; day += 17) {
    const Instant instant{day * 86'400 * us_per_second};
    CHECK(read_date_time(iso_text(instant)) == instant);
  }
}

TEST_CASE("any text is read or refused, and what is read has that one text") {
  const std::uint64_t seed = 0x51e7;
  MESSAGE("seed " << seed);
  calyx::testing::Dice dice(seed);
  std::vector<std::pair<std::string, Chain>> texts;
  for (const json::Value& row : vectors("siwe.json"))
    texts.emplace_back(text_of(row, "message"), Chain::ethereum);
  for (const json::Value& row : vectors("solana_ed25519.json"))
    texts.emplace_back(text_of(row, "message"), Chain::solana);
  const int rounds = calyx::testing::by_scale(2'000, 20'000, 2'000'000);
  int read = 0;
  for (int round = 0; round < rounds; ++round) {
    const auto& [original, chain] = texts[dice.below(texts.size())];
    std::string text = original;
    for (std::uint64_t changes = 1 + dice.below(3); changes > 0 && !text.empty(); --changes) {
      const std::size_t at = dice.below(text.size());
      constexpr std::string_view letters = "\n\r: -A1z";
      switch (dice.below(4)) {
        case 0: text[at] = letters[dice.below(letters.size())]; break;
        case 1: text.erase(at, 1 + dice.below(20)); break;
        case 2: text.insert(at, 1, letters[dice.below(letters.size())]); break;
        default: text.insert(at, text.substr(dice.below(text.size()), dice.below(40))); break;
      }
    }
    const Reading reading = read_sign_in(text, chain);
    if (reading.fault != Fault::none) continue;
    ++read;
    CHECK(sign_in_text(reading.message, chain) == text);
  }
  CHECK(read > 0);
  calyx::testing::told("sign-in texts changed at random", static_cast<std::uint64_t>(rounds));
}
