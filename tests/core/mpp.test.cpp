#include <calyx/core/mpp.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "payments_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::core;
using namespace calyx::core::mpp;

namespace {

using for_tests::text_of;
using for_tests::vectors;

const for_tests::Hmac hmac;
const for_tests::Hash hash;
const for_tests::ReadJson read_json;

constexpr std::string_view secret = "calyx-test-vector-secret-0123456789abcdef";
constexpr std::string_view old_secret = "another-secret-of-at-least-32-bytes-length";
const std::string_view secrets[] = {secret};
const Instant now{1'767'225'600'000'000};  // 2026-01-01

std::string text_or(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  return member == nullptr ? std::string() : *member->string();
}
const json::Value& at(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  REQUIRE_MESSAGE(member != nullptr, "no member " << std::string(key));
  return *member;
}
json::Value parsed(std::string_view text) {
  auto value = read_json(text);
  REQUIRE_MESSAGE(value, std::string(text));
  return *std::move(value);
}

/// A challenge that is good in every respect.
Challenge example() {
  Challenge out;
  out.realm = "calyx.example";
  out.method = "evm";
  out.intent = "charge";
  out.request = "eyJhbW91bnQiOiIxMDAwMDAwIn0";
  out.expires = "2026-01-01T00:05:00Z";
  return out;
}
Challenge issued_example(void (*change)(Challenge&) = [](Challenge&) {}) {
  Challenge out = example();
  change(out);
  auto made = issue(hmac, secrets, std::move(out));
  REQUIRE(made.ok());
  return *std::move(made);
}

std::string type_of(Problem problem) { return std::string(type_end(problem)); }

}  // namespace

TEST_CASE("a challenge has the id and the header that mppx gives it") {
  int rows = 0;
  for (const json::Value& row : vectors("mpp_challenge_id.json")) {
    CAPTURE(text_of(row, "name"));
    const json::Value& params = at(row, "params");
    Challenge challenge;
    challenge.realm = text_of(params, "realm");
    challenge.method = text_of(params, "method");
    challenge.intent = text_of(params, "intent");
    challenge.request = json_text(at(params, "request"));
    challenge.expires = text_or(params, "expires");
    challenge.digest = text_or(params, "digest");
    challenge.description = text_or(params, "description");
    if (const json::Value* meta = params.find("meta")) challenge.opaque = json_text(*meta);
    CHECK(challenge.request == text_of(row, "request_b64url"));
    CHECK(bound_text(challenge) == text_of(row, "hmac_input"));
    const std::string key = text_of(row, "secret_key_utf8");
    const std::string_view keys[] = {key};
    const Result<Challenge> made = issue(hmac, keys, challenge);
    REQUIRE(made.ok());
    CHECK(made->id == text_of(row, "id"));
    CHECK(www_authenticate(*made) == text_of(row, "www_authenticate"));
    CHECK(issued(hmac, keys, *made));
    ++rows;
  }
  CHECK(rows == 10);
}

TEST_CASE("a header that is not the usual one is bound in a slot before the last") {
  Challenge challenge = example();
  challenge.digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
  challenge.opaque = "eyJxdW90ZSI6InFfOSJ9";
  const std::string before = bound_text(challenge);
  challenge.header = "Payment-Authorization";
  CHECK(bound_text(challenge) ==
        "calyx.example|evm|charge|eyJhbW91bnQiOiIxMDAwMDAwIn0|2026-01-01T00:05:00Z|"
        "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=|Payment-Authorization|eyJxdW90ZSI6InFfOSJ9");
  CHECK(bound_text(challenge) != before);
  const auto made = issue(hmac, secrets, challenge);
  REQUIRE(made.ok());
  CHECK(www_authenticate(*made).find(R"(, header="Payment-Authorization")") != std::string::npos);
  Challenge without = *made;
  without.header.clear();
  CHECK_FALSE(issued(hmac, secrets, without));
}

TEST_CASE("what stands in a header is quoted") {
  Challenge challenge = example();
  challenge.realm = R"(a "b" \c)";
  challenge.description = "Caf\xC3\xA9 \"1\"";
  const auto made = issue(hmac, secrets, challenge);
  REQUIRE(made.ok());
  const std::string text = www_authenticate(*made);
  CHECK(text.find(R"(realm="a \"b\" \\c", method="evm")") != std::string::npos);
  CHECK(text.find("description=\"Caf\xC3\xA9 \\\"1\\\"\"") != std::string::npos);
}

TEST_CASE("a secret is long enough, and the ones before the newest are believed") {
  const std::string_view none[] = {std::string_view(secret).substr(0, 31)};
  const std::string_view enough[] = {std::string_view(secret).substr(0, 32)};
  const std::string_view mixed[] = {secret, "short"};
  CHECK(issue(hmac, none, example()).reason() == Reason::options_invalid);
  CHECK(issue(hmac, mixed, example()).reason() == Reason::options_invalid);
  CHECK(issue(hmac, {}, example()).reason() == Reason::options_invalid);
  CHECK(issue(hmac, enough, example()).ok());

  const std::string_view before[] = {old_secret};
  const std::string_view after[] = {secret, old_secret};
  const auto old = issue(hmac, before, example());
  const auto fresh = issue(hmac, after, example());
  REQUIRE((old.ok() && fresh.ok()));
  CHECK(old->id != fresh->id);
  CHECK(fresh->id == issued_example().id);
  CHECK(issued(hmac, after, *old));
  CHECK(issued(hmac, after, *fresh));
  CHECK_FALSE(issued(hmac, before, *fresh));
  CHECK_FALSE(issued(hmac, secrets, *old));
  CHECK_FALSE(issued(hmac, mixed, *fresh));
  CHECK_FALSE(issued(hmac, {}, *fresh));
}

TEST_CASE("a challenge that is not well formed is neither issued nor believed") {
  using Change = void (*)(Challenge&);
  const Change changes[] = {
      [](Challenge& c) { c.realm.clear(); },
      [](Challenge& c) { c.realm = "a\r\nSet-Cookie: b"; },
      [](Challenge& c) { c.realm = "\xFF"; },
      [](Challenge& c) { c.method.clear(); },
      [](Challenge& c) { c.method = "evm|charge"; },
      [](Challenge& c) { c.method = "EVM"; },
      [](Challenge& c) { c.method = std::string(65, 'a'); },
      [](Challenge& c) { c.intent = "char ge"; },
      [](Challenge& c) { c.intent.clear(); },
      [](Challenge& c) { c.request.clear(); },
      [](Challenge& c) { c.request += "="; },
      [](Challenge& c) { c.request = "a|b"; },
      [](Challenge& c) { c.request = "A"; },
      [](Challenge& c) { c.expires = "tomorrow"; },
      [](Challenge& c) { c.expires = "2026-01-01T00:05:00Z|"; },
      [](Challenge& c) { c.digest = "sha-256=AA=="; },
      [](Challenge& c) { c.digest = "md5=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE="; },
      [](Challenge& c) { c.header = "Authorization"; },
      [](Challenge& c) { c.header = "payment-authorization"; },
      [](Challenge& c) { c.header = "X-Other"; },
      [](Challenge& c) { c.opaque = "trace.123"; },
      [](Challenge& c) { c.description = "one\ntwo"; },
  };
  REQUIRE(well_formed(example()));
  for (const Change change : changes) {
    Challenge challenge = example();
    change(challenge);
    CAPTURE(bound_text(challenge));
    CHECK_FALSE(well_formed(challenge));
    CHECK(issue(hmac, secrets, challenge).reason() == Reason::field_value);
    challenge.id = challenge_id(hmac, secret, challenge);
    CHECK_FALSE(issued(hmac, secrets, challenge));
  }
  Challenge large = example();
  large.description = std::string(challenge_bytes_max, 'a');
  CHECK(issue(hmac, secrets, large).reason() == Reason::too_large);
}

TEST_CASE("no two challenges have one bound text") {
  const std::uint64_t seed = for_tests::seed_for("bound texts");
  CAPTURE(seed);
  testing::Dice dice(seed);
  const auto pick = [&dice](std::initializer_list<const char*> from) {
    return std::string(from.begin()[dice.below(from.size())]);
  };
  const std::string digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
  std::map<std::string, Challenge> seen;
  const int count = testing::by_scale(2'000, 20'000, 200'000);
  for (int i = 0; i < count; ++i) {
    Challenge challenge;
    for (std::uint64_t pieces = 1 + dice.below(4); pieces-- > 0;)
      challenge.realm +=
          pick({"a", "|", "|evm", "|charge", "|AAAA", "|Payment-Authorization", "|2026-01-01T00:05:00Z"});
    challenge.method = pick({"evm", "charge", "aaaa"});
    challenge.intent = pick({"evm", "charge", "aaaa"});
    challenge.request = pick({"AAAA", "evm_", "charge"});
    challenge.expires = pick({"", "2026-01-01T00:05:00Z"});
    challenge.digest = dice.coin() ? digest : "";
    challenge.header = pick({"", "Payment-Authorization"});
    challenge.opaque = pick({"", "AAAA", "Payment-Authorization"});
    if (!well_formed(challenge)) continue;
    const auto [known, fresh] = seen.emplace(bound_text(challenge), challenge);
    if (!fresh) CHECK(known->second == challenge);
  }
  CHECK(seen.size() > 100);
}

TEST_CASE("a body's digest is read with colons and without, and written without") {
  for (const json::Value& row : vectors("mpp_receipt_and_digest.json")) {
    if (row.find("body") == nullptr) continue;
    const Digest digest = hash(std::string_view(text_of(row, "body")));
    CHECK(body_digest_text(digest) == text_of(row, "digest_mppx"));
    CHECK(read_body_digest(text_of(row, "digest_mppx")) == digest);
    CHECK(read_body_digest(text_of(row, "digest_rfc9530_structured")) == digest);
  }
  for (const char* text :
       {"", "sha-256=", "sha-256=::", "sha-256=:C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=",
        "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=:",
        "SHA-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=",
        "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE",
        "sha-256=C4iVhD0oqBPAoFUicP7sF5-j1J1f_KntRQyBmDxg2mE="}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(read_body_digest(text));
  }
}

TEST_CASE("a receipt is spelled as mppx spells it") {
  int rows = 0;
  for (const json::Value& row : vectors("mpp_receipt_and_digest.json")) {
    const json::Value* wanted = row.find("receipt");
    if (wanted == nullptr) continue;
    CAPTURE(text_of(row, "name"));
    Receipt receipt;
    receipt.method = text_of(*wanted, "method");
    receipt.reference = text_of(*wanted, "reference");
    receipt.settled_at = *read_date_time(text_of(*wanted, "timestamp"));
    receipt.external_id = text_or(*wanted, "externalId");
    if (const json::Value* quote = wanted->find("quoteId")) receipt.more.set("quoteId", *quote);
    CHECK(payment_receipt(receipt) == text_of(row, "header"));
    ++rows;
  }
  CHECK(rows == 3);
}

TEST_CASE("a problem document is mppx's, its hint aside") {
  int rows = 0;
  const auto judged = [&rows](const json::Value& body) {
    const std::string type = text_of(body, "type");
    for (std::size_t i = 1; i < problems; ++i) {
      const auto problem = static_cast<Problem>(i);
      if (type != std::string(problem_types) + type_of(problem)) continue;
      const json::Object document =
          problem_document(problem, text_of(body, "detail"), text_of(body, "challengeId"));
      for (const json::Member& member : document) {
        CAPTURE(member.key);
        CHECK(at(body, member.key) == member.value);
      }
      CHECK(document.size() == 5);
      ++rows;
    }
  };
  for (const json::Value& row : vectors("mpp_evm_charge_rounds.json")) {
    judged(parsed(text_of(at(row, "challenge_response"), "body")));
    const json::Value& response = at(row, "reference_response");
    if (for_tests::number_of(response, "status") == 402) judged(parsed(text_of(response, "body")));
  }
  for (const json::Value& row : vectors("combined_402.json")) judged(at(at(row, "response_402"), "body"));
  CHECK(rows == 23);
  CHECK(
      json::text(problem_document(Problem::payment_expired, "too late", "")) ==
      R"({"type":"https://paymentauth.org/problems/payment-expired","title":"Payment Expired","status":402,)"
      R"("detail":"too late"})");
  CHECK(http_status(Problem::none) == 200);
  CHECK(http_status(Problem::payment_required) == 402);
  CHECK(http_status(Problem::method_unsupported) == 400);
  CHECK(title(Problem::method_unsupported) == "Method Unsupported");
}

TEST_CASE("offers are filtered and ordered as the client would rather pay") {
  const Offer offers[] = {{"evm", "charge"}, {"solana", "charge"}, {"stripe", "charge"}, {"evm", "session"}};
  struct Row {
    const char* header;
    std::vector<std::size_t> order;
  };
  const std::vector<std::size_t> all = {0, 1, 2, 3};
  const Row rows[] = {
      {"", all},
      {"evm/charge", {0}},
      {"evm/charge, stripe/charge;q=0.5", {0, 2}},
      {"stripe/charge, evm/charge;q=0.5", {2, 0}},
      {"solana/charge,evm/charge", {0, 1}},
      {"evm/*;q=0.3, solana/*;q=0.6", {1, 0, 3}},
      {"*/*", all},
      {"*/session, */charge;q=0.1", {3, 0, 1, 2}},
      {"*/*;q=0.2, evm/charge;q=0", {1, 2, 3}},
      {"evm/charge;q=0, */*", {1, 2, 3}},
      {"*/*;q=0, evm/*", {0, 3}},
      {"*/charge;q=0.9, evm/*;q=0.1", {1, 2, 0, 3}},
      {"evm/charge;q=0.2, evm/charge;q=0.8, solana/charge;q=0.5", {0, 1}},
      {"\tEvm/charge", all},
      {" , evm/charge ; q=1.000 ,, stripe/charge;Q=0.999, ", {0, 2}},
      // Takes none of them: the client learns what there is.
      {"lightning/charge", all},
      {"*/*;q=0", all},
      // Malformed: as if it were not there.
      {"evm", all},
      {"evm/", all},
      {"evm/charge/x", all},
      {"evm/charge;q=2, solana/charge", all},
      {"evm/charge;q=1.001", all},
      {"evm/charge;q=0.1234", all},
      {"evm/charge;q=", all},
      {"evm/charge;q=.5", all},
      {"evm/charge;q=-0", all},
      {"evm/charge;v=1", all},
      {"evm/charge;q=1;q=0", all},
      {"evm/char*", all},
      {" , ", all},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.header));
    CHECK(accepted(offers, row.header) == row.order);
  }
  CHECK(accepted({}, "evm/charge").empty());
  CHECK(accepted(offers, "evm/charge" + std::string(challenge_bytes_max, ' ')) == all);
}

TEST_CASE("a credential has an echoed challenge and a payload") {
  const std::string whole =
      R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e","later":1},)"
      R"("payload":{"type":"x"},"source":"did:x","more":[]})";
  const auto read = read_credential(parsed(whole));
  REQUIRE(read);
  CHECK(read->challenge.id == "a");
  CHECK(read->challenge.request == "e");
  CHECK(read->challenge.expires.empty());
  CHECK(read->source == "did:x");
  CHECK(json::text(read->payload) == R"({"type":"x"})");
  for (
      const char* text : {
          "[]",
          "1",
          "{}",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e"}})",
          R"({"challenge":[],"payload":{}})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e"},"payload":[]})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e"},"payload":null})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d"},"payload":{}})",
          R"({"challenge":{"id":"","realm":"b","method":"c","intent":"d","request":"e"},"payload":{}})",
          R"({"challenge":{"id":7,"realm":"b","method":"c","intent":"d","request":"e"},"payload":{}})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":{}},"payload":{}})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e","expires":""},"payload":{}})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e","header":null},"payload":{}})",
          R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e"},"payload":{},"source":1})",
      }) {
    CAPTURE(std::string(text));
    CHECK_FALSE(read_credential(parsed(text)));
  }
}

TEST_CASE("an echoed challenge is judged by what would be asked for now") {
  struct Row {
    const char* problem;
    void (*change)(Challenge& made,
                   Challenge& asked);  ///< Before it is issued, and what is asked in the end.
  };
  const std::string digest = body_digest_text(hash(std::string_view("{}")));
  const Row rows[] = {
      {"", [](Challenge&, Challenge&) {}},
      {"", [](Challenge& made, Challenge& asked) { made.opaque = asked.opaque = "eyJxdW90ZSI6InFfOSJ9"; }},
      {"", [](Challenge& made, Challenge&) { made.description = "more"; }},
      {"", [](Challenge& made, Challenge&) { made.expires.clear(); }},
      {"", [](Challenge& made, Challenge&) { made.expires = "2026-01-01T00:00:00.000001Z"; }},
      {"",
       [](Challenge& made, Challenge& asked) {
         made.digest = "sha-256=:C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=:";
         asked.digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
       }},
      {"payment-expired", [](Challenge& made, Challenge&) { made.expires = "2026-01-01T00:00:00Z"; }},
      {"payment-expired", [](Challenge& made, Challenge&) { made.expires = "2026-01-01T00:30:00+01:00"; }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.realm = "other.example"; }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.method = "solana"; }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.intent = "session"; }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.request = "eyJhbW91bnQiOiIxIn0"; }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.opaque = "eyJxdW90ZSI6InFfOSJ9"; }},
      {"invalid-challenge", [](Challenge&, Challenge& asked) { asked.opaque = "eyJxdW90ZSI6InFfOSJ9"; }},
      {"invalid-challenge",
       [](Challenge& made, Challenge&) {
         made.digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
       }},
      {"invalid-challenge",
       [](Challenge&, Challenge& asked) {
         asked.digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
       }},
      {"invalid-challenge",
       [](Challenge& made, Challenge& asked) {
         made.digest = "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=";
         asked.digest = body_digest_text(Digest{});
       }},
      {"invalid-challenge", [](Challenge& made, Challenge&) { made.header = "Payment-Authorization"; }},
      {"invalid-challenge",  // in the usual header all the same
       [](Challenge& made, Challenge& asked) { made.header = asked.header = "Payment-Authorization"; }},
      // Expired, and for another payment: what is wrong for good is said first.
      {"invalid-challenge",
       [](Challenge& made, Challenge&) {
         made.request = "eyJhbW91bnQiOiIxIn0";
         made.expires = "2025-01-01T00:00:00Z";
       }},
  };
  for (const Row& row : rows) {
    Challenge made = example();
    Challenge asked = example();
    row.change(made, asked);
    const auto echoed = issue(hmac, secrets, made);
    REQUIRE(echoed.ok());
    CAPTURE(www_authenticate(*echoed));
    const Verdict verdict = judge_challenge(hmac, secrets, *echoed, asked, "Authorization", now);
    CHECK(type_of(verdict.problem) == row.problem);
    CHECK(verdict.detail.empty() == verdict.good());
  }
  // In the other header, as the challenge asked.
  Challenge other = example();
  other.header = "Payment-Authorization";
  const auto echoed = issue(hmac, secrets, other);
  REQUIRE(echoed.ok());
  CHECK(judge_challenge(hmac, secrets, *echoed, other, "Payment-Authorization", now).good());
  CHECK_FALSE(
      judge_challenge(hmac, secrets, issued_example(), example(), "Payment-Authorization", now).good());

  // Whatever is bound and changed afterwards was not issued.
  using Change = void (*)(Challenge&);
  for (const Change change :
       {Change([](Challenge& c) { c.id.back() = c.id.back() == 'A' ? 'E' : 'A'; }),
        Change([](Challenge& c) { c.id.clear(); }), Change([](Challenge& c) { c.id.pop_back(); }),
        Change([](Challenge& c) { c.id += 'A'; }), Change([](Challenge& c) { c.realm += 'a'; }),
        Change([](Challenge& c) { c.method = "solana"; }), Change([](Challenge& c) { c.intent = "session"; }),
        Change([](Challenge& c) { c.request = "eyJhbW91bnQiOiIxIn0"; }),
        Change([](Challenge& c) { c.expires = "2027-01-01T00:05:00Z"; }),
        Change([](Challenge& c) { c.expires = "2026-01-01T00:05:00.0Z"; }),
        Change([](Challenge& c) { c.expires.clear(); }),
        Change([](Challenge& c) { c.digest = body_digest_text(Digest{}); }),
        Change([](Challenge& c) { c.header = "Payment-Authorization"; }),
        Change([](Challenge& c) { c.opaque = "AAAA"; })}) {
    Challenge changed = issued_example();
    change(changed);
    CAPTURE(www_authenticate(changed));
    CHECK(judge_challenge(hmac, secrets, changed, changed, "Authorization", now).problem ==
          Problem::invalid_challenge);
  }
}

namespace {

constexpr const char* evm_request =
    R"({"amount":"1000000","currency":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","methodDetails":)"
    R"({"chainId":8453,"credentialTypes":["permit2","authorization"],"decimals":6},)"
    R"("recipient":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"})";
constexpr const char* from_text = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

Credential evm_credential() {
  Credential out;
  out.challenge = issued_example();
  out.source = "did:pkh:eip155:8453:" + std::string(from_text);
  out.payload = json::object({{"type", "authorization"},
                              {"from", from_text},
                              {"to", "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"},
                              {"value", "1000000"},
                              {"validAfter", "0"},
                              {"validBefore", "1767225900"},
                              {"nonce", "0x" + hex(keccak256(std::string_view(out.challenge.id),
                                                             std::string_view(out.challenge.realm)))},
                              {"signature", "0x" + std::string(130, 'a')}});
  return out;
}

}  // namespace

TEST_CASE("an evm charge is read from its request, and no other") {
  const auto charge = read_evm_charge(parsed(evm_request));
  REQUIRE(charge);
  CHECK(charge->amount == Uint256(1'000'000));
  CHECK(charge->chain_id == 8453);
  CHECK(charge->takes_authorization);
  CHECK(hex(chars(charge->currency.bytes)) == "833589fcd6edb6e08f4c7c32d4f71b54bda02913");
  struct Row {
    const char* from;
    const char* to;
    bool read;
  };
  const Row rows[] = {
      {R"("amount":"1000000")", R"("amount":1000000)", false},
      {R"("amount":"1000000")", R"("amount":"01000000")", false},
      {R"("amount":"1000000")", R"("amount":"0xf4240")", false},
      {R"("amount":"1000000")", R"("amount":"-1")", false},
      {R"("amount":"1000000")", R"("amount":"0")", false},
      {R"("amount":"1000000")", R"("amount":"")", false},
      {R"("amount":"1000000")",
       R"("amount":"115792089237316195423570985008687907853269984665640564039457584007913129639935")", true},
      {R"("amount":"1000000")",
       R"("amount":"115792089237316195423570985008687907853269984665640564039457584007913129639936")", false},
      {R"("chainId":8453)", R"("chainId":"8453")", false},
      {R"("chainId":8453)", R"("chainId":0)", false},
      {R"("recipient":"0x)", R"("recipient":"0X)", false},
      {R"(293BC"})", R"(293B"})", false},
      {R"("currency")", R"("token")", false},
      {R"("methodDetails")", R"("details")", false},
  };
  for (const Row& row : rows) {
    std::string text = evm_request;
    text.replace(text.find(row.from), std::string(row.from).size(), row.to);
    CAPTURE(text);
    CHECK(read_evm_charge(parsed(text)).has_value() == row.read);
  }
  std::string splits = evm_request;
  splits.replace(splits.find(R"("decimals":6)"), 12, R"("splits":[])");
  CHECK_FALSE(read_evm_charge(parsed(splits))->takes_authorization);
}

TEST_CASE("an authorization is judged by its charge and its challenge") {
  struct Row {
    const char* problem;
    bool needs_backend;
    void (*change)(Credential&, EvmCharge&);
  };
  const Row rows[] = {
      {"", false, [](Credential&, EvmCharge&) {}},
      {"", false, [](Credential& c, EvmCharge&) { c.source.clear(); }},
      {"", false,
       [](Credential& c, EvmCharge&) {
         c.source = "did:pkh:eip155:8453:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
       }},
      {"", false, [](Credential& c, EvmCharge&) { c.payload.object()->set("validAfter", "1767225600"); }},
      {"", false, [](Credential& c, EvmCharge&) { c.payload.object()->set("validBefore", "1767225606"); }},
      {"payment-expired", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validBefore", "1767225605"); }},
      {"", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validBefore", std::string(70, '9')); }},
      {"", true,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", "0x" + std::string(640, 'a')); }},
      {"invalid-payload", false, [](Credential& c, EvmCharge&) { c.payload = json::object({}); }},
      {"invalid-payload", false, [](Credential& c, EvmCharge&) { c.payload.object()->set("type", "hash"); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("value", 1'000'000); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("value", "01000000"); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("value", "0xf4240"); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validAfter", ""); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validBefore", "-1"); }},
      {"invalid-payload", false, [](Credential& c, EvmCharge&) { c.payload.object()->set("nonce", "0x00"); }},
      {"invalid-payload", false, [](Credential& c, EvmCharge&) { c.payload.object()->set("from", "f39F"); }},
      {"invalid-payload", false, [](Credential& c, EvmCharge&) { c.payload.object()->erase("to"); }},
      {"invalid-payload", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", std::string(132, 'a')); }},
      {"verification-failed", false,
       [](Credential&, EvmCharge& charge) { charge.takes_authorization = false; }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("nonce", "0x" + std::string(64, '0')); }},
      {"verification-failed", false, [](Credential& c, EvmCharge&) { c.challenge.id += 'a'; }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("to", from_text); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("value", "999999"); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("value", "1000001"); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) {
         c.source = "did:pkh:eip155:8453:0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
       }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.source = "did:pkh:eip155:1:" + std::string(from_text); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.source = "did:pkh:eip155:08453:" + std::string(from_text); }},
      {"verification-failed", false, [](Credential& c, EvmCharge&) { c.source = from_text; }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validAfter", "1767225601"); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validAfter", std::string(70, '9')); }},
      {"payment-expired", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("validBefore", "1767225600"); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", "0x" + std::string(128, 'a')); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", "0x" + std::string(130, 'b')); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", "0x" + std::string(130, 'c')); }},
      {"verification-failed", false,
       [](Credential& c, EvmCharge&) { c.payload.object()->set("signature", "0x" + std::string(130, 'd')); }},
      {"verification-failed", false, [](Credential&, EvmCharge& charge) { charge.chain_id = 84'532; }},
      {"verification-failed", false,
       [](Credential&, EvmCharge& charge) { charge.currency = charge.recipient; }},
      {"invalid-payload", false,  // a letter's case that is no checksum's
       [](Credential& c, EvmCharge&) {
         c.payload.object()->set("from", "0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
       }},
  };
  for (const Row& row : rows) {
    Credential credential = evm_credential();
    EvmCharge charge = *read_evm_charge(parsed(evm_request));
    row.change(credential, charge);
    CAPTURE(json::text(credential.payload));
    CAPTURE(credential.source);
    // A signature of a's is the right one, of b's somebody else's, of c's none, of d's one that nobody can
    // check.
    const auto recover = [](const Digest& digest, std::string_view signature) -> Result<EvmAddress> {
      CHECK(digest != Digest{});
      if (signature.size() != evm_signature_bytes || signature[0] == '\xCC')
        return fail(Reason::unauthorized, "none");
      if (signature[0] == '\xDD') return fail(Reason::not_built, "not built");
      return signature[0] == '\xAA' ? *read_evm_address(from_text) : EvmAddress{};
    };
    const EvmVerdict verdict = judge_evm_authorization(credential, charge, now, recover);
    CHECK(verdict.not_built == (verdict.authorization.signature == std::string(65, '\xDD')));
    CHECK(type_of(verdict.verdict.problem) == row.problem);
    CHECK(verdict.verdict.needs_backend == row.needs_backend);
    CHECK(verdict.verdict.good() == (row.problem[0] == '\0' && !row.needs_backend));
  }
}

TEST_CASE("a solana charge is paid by a transaction of the layout of exact") {
  int rows = 0;
  for (const json::Value& row : vectors("x402_exact_svm.json")) {
    CAPTURE(text_of(row, "name"));
    const json::Value& requirement = at(row, "payment_requirements");
    const json::Value& extra = at(requirement, "extra");
    json::Value request =
        json::object({{"amount", at(requirement, "amount")},
                      {"currency", at(requirement, "asset")},
                      {"recipient", at(requirement, "payTo")},
                      {"methodDetails", json::object({{"network", "devnet"},
                                                      {"decimals", 6},
                                                      {"feePayer", true},
                                                      {"feePayerKey", at(extra, "feePayer")}})}});
    if (const json::Value* memo = extra.find("memo")) request.object()->set("externalId", *memo);
    const auto charge = read_solana_charge(request);
    REQUIRE(charge);
    Credential credential;
    credential.payload = json::object(
        {{"type", "transaction"}, {"transaction", at(at(at(row, "payload"), "payload"), "transaction")}});
    const solana::Address ours[] = {*solana::read_address("Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr")};
    const auto judge = [&](const Credential& given) {
      return judge_solana_transaction(
          given, *charge, [&ours](std::string_view transaction, const solana::ExactTerms& terms) {
            const auto bytes = unbase64(transaction);
            return bytes ? solana::judge_exact(*bytes, terms, ours, hash, for_tests::OnCurve{},
                                               for_tests::Check{})
                         : solana::ExactReading{solana::ExactVerdict::not_a_transaction, {}};
          });
    };
    const SolanaVerdict verdict = judge(credential);
    const bool valid = *at(at(row, "reference_result"), "isValid").boolean();
    CHECK(verdict.verdict.good() == valid);
    CHECK(type_of(verdict.verdict.problem) == (valid ? "" : "verification-failed"));
    CHECK((verdict.reason == solana::ExactVerdict::ok) == valid);
    ++rows;

    for (const char* type : {"signature", "", "Transaction"}) {
      Credential other = credential;
      other.payload.object()->set("type", type);
      CHECK(judge(other).verdict.problem == Problem::invalid_payload);
    }
    Credential other = credential;
    other.payload.object()->set("transaction", "AA=");
    CHECK(judge(other).verdict.problem == Problem::verification_failed);
    other.payload.object()->set("transaction", "AAAA");
    CHECK(judge(other).verdict.problem == Problem::verification_failed);

    // What is charged otherwise is not judged here.
    using Change = void (*)(json::Value&);
    for (const Change change :
         {Change([](json::Value& r) { r.object()->set("currency", "sol"); }),
          Change([](json::Value& r) { r.object()->set("amount", "18446744073709551616"); }),
          Change([](json::Value& r) { r.object()->set("amount", "0"); }),
          Change([](json::Value& r) { r.object()->erase("recipient"); }),
          Change([](json::Value& r) { r.object()->erase("methodDetails"); }),
          Change([](json::Value& r) { r.object()->find("methodDetails")->object()->set("feePayer", false); }),
          Change([](json::Value& r) { r.object()->find("methodDetails")->object()->erase("feePayerKey"); }),
          Change([](json::Value& r) {
            r.object()->find("methodDetails")->object()->set("splits", json::Array{});
          })}) {
      json::Value changed = request;
      change(changed);
      CHECK_FALSE(read_solana_charge(changed));
    }
  }
  CHECK(rows == 6);
}
