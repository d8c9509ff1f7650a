#include "payments/mpp.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "crypto/secp256k1.hpp"
#include "json/reader.hpp"
#include "payments/solana.hpp"
#include "payments_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::core::mpp;
namespace json = calyx::core::json;
namespace mpp = calyx::payments::mpp;

namespace {

using payments::for_tests::at;
using payments::for_tests::text_of;
using payments::for_tests::vectors;

json::Value vector_named(std::string_view name) {
  for (const json::Value& row : vectors("mpp_evm_charge_rounds.json"))
    if (text_of(row, "name") == name) return row;
  FAIL("no such round");
  return {};
}

std::string type_of(Problem problem) { return std::string(type_end(problem)); }

std::uint64_t seed_for(std::string_view what) {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << what << ": seed " << chosen << std::endl;
  return chosen;
}

/// What the server of a round would ask for now: its challenge without an id.
Challenge asked_of(const json::Value& row) {
  const json::Value& challenge = at(row, "challenge");
  Challenge out;
  out.realm = text_of(challenge, "realm");
  out.method = text_of(challenge, "method");
  out.intent = text_of(challenge, "intent");
  out.request = json_text(at(challenge, "request"));
  out.expires = text_of(challenge, "expires");
  if (const std::string* opaque = at(challenge, "opaque").string()) out.opaque = *opaque;
  return out;
}

struct Outcome {
  Verdict verdict;
  Credential credential;
  EvmAuthorization authorization;
};

/// False when this build recovers no payers, and then the test is skipped by its name.
bool can_recover(std::string_view test) {
  if (!crypto::secp256k1_built()) CHECK(testing::may_lack(test, "libsecp256k1-dev"));
  return crypto::secp256k1_built();
}

/// A header's value, from text to verdict, as a route would take it.
Outcome answer(std::string_view header, const Challenge& asked, Secrets secrets, Instant now) {
  Outcome out;
  CredentialReading read = mpp::read_authorization(header);
  out.credential = std::move(read.credential);
  out.verdict.problem = read.problem;
  if (read.problem != Problem::none) return out;
  out.verdict = mpp::judge_challenge(secrets, out.credential.challenge, asked, usual_header, now);
  if (!out.verdict.good()) return out;
  const EvmVerdict verdict = mpp::judge_evm(out.credential, now);
  out.verdict = verdict.verdict;
  out.authorization = verdict.authorization;
  return out;
}

std::string header_of(std::string_view json_of_credential) {
  return "Payment " + core::base64url(json_of_credential);
}

}  // namespace

TEST_CASE("the rounds of a real client end as they should") {
  if (!can_recover("rounds of MPP")) return;
  int rows = 0;
  int paid = 0;
  for (const json::Value& row : vectors("mpp_evm_charge_rounds.json")) {
    CAPTURE(text_of(row, "name"));
    ++rows;
    const std::string secret = text_of(row, "secret_key_utf8");
    const std::string_view secrets[] = {secret};
    const Instant now{*at(row, "now").integer() * core::us_per_second};
    const Challenge asked = asked_of(row);

    // The challenge itself.
    const auto made = mpp::issue(secrets, asked);
    REQUIRE(made.ok());
    CHECK(made->id == text_of(at(row, "challenge"), "id"));
    CHECK(www_authenticate(*made) ==
          text_of(at(at(row, "challenge_response"), "headers"), "www-authenticate"));
    CHECK("0x" + core::hex(core::keccak256(std::string_view(made->id), std::string_view(made->realm))) ==
          text_of(row, "challenge_hash_nonce"));

    // Its answer.
    const Outcome outcome = answer(text_of(row, "authorization_header"), asked, secrets, now);
    const json::Value& expected = at(row, "calyx_expect");
    const json::Value* problem = expected.find("problem");
    if (problem != nullptr) {
      const std::string classes = "|" + *problem->string() + "|";
      CAPTURE(type_of(outcome.verdict.problem));
      CHECK(outcome.verdict.problem != Problem::none);
      CHECK(classes.find("|" + type_of(outcome.verdict.problem) + "|") != std::string::npos);
      CHECK(std::int64_t{http_status(outcome.verdict.problem)} == *at(expected, "status").integer());
      continue;
    }
    // Padding is tolerated: the policy that is ours to choose.
    CHECK(outcome.verdict.good());
    ++paid;
    if (const json::Value* payer = row.find("recovered_address")) {
      const auto request = mpp::read_json_text(outcome.credential.challenge.request);
      REQUIRE(request);
      const auto charge = read_evm_charge(*request);
      REQUIRE(charge);
      const core::EvmAsset* asset = asset_of(*charge);
      REQUIRE(asset != nullptr);
      CHECK("0x" + core::hex(
                       core::transfer_digest({asset->name, asset->version, asset->chain_id, charge->currency},
                                             outcome.authorization.transfer)) ==
            text_of(at(row, "eip712"), "digest"));
      CHECK(core::checksummed_text(outcome.authorization.transfer.from) == *payer->string());
      const json::Value& receipt = at(row, "receipt");
      CHECK(payment_receipt({text_of(receipt, "method"),
                             text_of(receipt, "reference"),
                             *core::read_date_time(text_of(receipt, "timestamp")),
                             {},
                             {}}) ==
            text_of(at(at(row, "reference_response"), "headers"), "payment-receipt"));
    }

    // The same answer later, elsewhere, and to a server with other secrets.
    CHECK(type_of(answer(text_of(row, "authorization_header"), asked, secrets,
                         Instant{now.us + 300 * core::us_per_second})
                      .verdict.problem) == "payment-expired");
    const std::string_view others[] = {"another-secret-of-at-least-32-bytes-length"};
    CHECK(type_of(answer(text_of(row, "authorization_header"), asked, others, now).verdict.problem) ==
          "invalid-challenge");
    const std::string_view rotated[] = {others[0], secret};
    CHECK(answer(text_of(row, "authorization_header"), asked, rotated, now).verdict.good());
  }
  CHECK(rows == 14);
  CHECK(paid == 5);
}

TEST_CASE("the MPP part of a 402 that three clients pay is paid") {
  if (!can_recover("the MPP part of a 402")) return;
  for (const json::Value& row : vectors("combined_402.json")) {
    const std::string secret = text_of(row, "secret_key_utf8");
    const std::string_view secrets[] = {secret};
    const std::string header = text_of(at(at(row, "client_retry_headers"), "mppx 0.11.0"), "Authorization");
    const CredentialReading read = mpp::read_authorization(header);
    REQUIRE(read.problem == Problem::none);
    const Challenge& challenge = read.credential.challenge;
    CHECK(www_authenticate(challenge) == text_of(at(at(row, "response_402"), "headers"), "WWW-Authenticate"));
    const Instant now{*at(row, "now").integer() * core::us_per_second};
    Challenge asked = challenge;
    asked.id.clear();
    CHECK(mpp::issue(secrets, asked)->id == challenge.id);
    CHECK(answer(header, asked, secrets, now).verdict.good());
    const json::Value& body = at(at(row, "response_402"), "body");
    const json::Object document =
        problem_document(Problem::payment_required, "Payment is required.", challenge.id);
    for (const json::Member& member : document) CHECK(at(body, member.key) == member.value);
  }
}

TEST_CASE("a header is a credential, none, or a malformed one") {
  const std::string good =
      R"({"challenge":{"id":"a","realm":"b","method":"c","intent":"d","request":"e"},"payload":{}})";
  const std::string text = core::base64url(good);
  struct Row {
    const char* problem;
    std::string header;
  };
  const std::vector<Row> rows = {
      {"", "Payment " + text},
      {"", "payment " + text},
      {"", "PAYMENT   " + text + "  "},
      {"", "\tPayment\t" + text},
      {"", "Payment " + text + "="},
      {"", "Payment " + text + "=="},
      {"", header_of(good + "\n ")},
      {"payment-required", ""},
      {"payment-required", "Bearer " + text},
      {"payment-required", "Payments " + text},
      {"payment-required", "Paymen " + text},
      {"payment-required", text},
      {"payment-required", "Payment=" + text},
      {"malformed-credential", "Payment"},
      {"malformed-credential", "Payment "},
      {"malformed-credential", "Payment ="},
      {"malformed-credential", "Payment not-valid!!!"},
      {"malformed-credential", "Payment " + text + ", Payment " + text},
      {"malformed-credential", "Payment " + text + " " + text},
      {"malformed-credential", "Payment id=\"" + text + "\""},
      {"malformed-credential", "Payment " + text + "==="},
      {"malformed-credential", "Payment " + text + "= ="},
      {"malformed-credential", header_of("")},
      {"malformed-credential", header_of("null")},
      {"malformed-credential", header_of(good + good)},
      {"malformed-credential", header_of(good.substr(0, good.size() - 1))},
      {"malformed-credential", header_of("\xEF\xBB\xBF" + good)},
      {"malformed-credential", header_of("{\"payload\":{}," + good.substr(1))},  // a key twice
      {"malformed-credential", header_of(R"({"challenge":{"id":"\ud800"},"payload":{}})")},
      {"malformed-credential",
       header_of("{\"deep\":" + std::string(9, '[') + std::string(9, ']') + "," + good.substr(1))},
      {"malformed-credential", header_of(good + std::string(credential_bytes_max, ' '))},
  };
  for (const Row& row : rows) {
    CAPTURE(row.header.substr(0, 60));
    CHECK(type_of(mpp::read_authorization(row.header).problem) == row.problem);
  }
}

TEST_CASE("a request is an object in base64url") {
  CHECK(json::canonical(*mpp::read_json_text("eyJhbW91bnQiOiIxMDAwMDAwIn0")) == R"({"amount":"1000000"})");
  for (const char* text : {"", "W10", "bnVsbA", "eyJhbW91bnQiOiIxMDAwMDAwIn0=", "e30g.", "e3"})
    CHECK_FALSE(mpp::read_json_text(text));
  CHECK(mpp::body_digest("{\"amount\":50}") == "sha-256=C4iVhD0oqBPAoFUicP7sF5+j1J1f/KntRQyBmDxg2mE=");
}

TEST_CASE("a solana charge is judged from its challenge") {
  for (const json::Value& row : vectors("x402_exact_svm.json")) {
    CAPTURE(text_of(row, "name"));
    const json::Value& requirement = at(row, "payment_requirements");
    const core::solana::Address ours[] = {
        *core::solana::read_address("Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr")};
    const std::string transaction = text_of(at(at(row, "payload"), "payload"), "transaction");
    json::Value request = json::object(
        {{"amount", at(requirement, "amount")},
         {"currency", at(requirement, "asset")},
         {"recipient", at(requirement, "payTo")},
         {"methodDetails",
          json::object({{"feePayer", true}, {"feePayerKey", at(at(requirement, "extra"), "feePayer")}})}});
    Credential credential;
    credential.challenge.request = json_text(request);
    credential.payload = json::object({{"type", "transaction"}, {"transaction", transaction}});
    const bool valid = *at(at(row, "reference_result"), "isValid").boolean();
    const SolanaVerdict verdict = mpp::judge_solana(credential, ours);
    CHECK(verdict.verdict.good() == valid);
    if (valid)
      CHECK(core::solana::text(verdict.payment.payer) == text_of(at(row, "reference_result"), "payer"));
    request.object()->set("currency", "sol");
    credential.challenge.request = json_text(request);
    CHECK(mpp::judge_solana(credential, ours).verdict.problem == Problem::method_unsupported);
    CHECK(mpp::judge_evm(credential, Instant{}).verdict.problem == Problem::method_unsupported);

    // The same by x402.
    core::solana::ExactTerms terms;
    terms.mint = *core::solana::read_address(text_of(requirement, "asset"));
    terms.pay_to = *core::solana::read_address(text_of(requirement, "payTo"));
    terms.amount = std::stoull(text_of(requirement, "amount"));
    terms.fee_payer = *core::solana::read_address(text_of(at(requirement, "extra"), "feePayer"));
    CHECK((payments::judge_exact_solana(transaction, terms, ours).verdict ==
           core::solana::ExactVerdict::ok) == valid);
    terms.fee_payer = ours[0];
    for (const std::string& text :
         {std::string(), transaction.substr(1), transaction + "====", transaction + "\n",
          std::string(4 * core::solana::transaction_bytes_max, 'A')})
      CHECK(payments::judge_exact_solana(text, terms, ours).verdict ==
            core::solana::ExactVerdict::not_a_transaction);
  }
}

TEST_CASE("no change of a credential is taken for another payment") {
  if (!can_recover("changed credentials")) return;
  const std::uint64_t seed = seed_for("changed credentials");
  CAPTURE(seed);
  testing::Dice dice(seed);
  const int count = testing::by_scale(2'000, 20'000, 500'000);
  const json::Value row = vector_named("base_meta_opaque");
  const std::string secret = text_of(row, "secret_key_utf8");
  const std::string_view secrets[] = {secret};
  const Instant now{*at(row, "now").integer() * core::us_per_second};
  const Challenge asked = asked_of(row);
  const std::string whole = text_of(row, "authorization_header");
  const std::string inner = *core::unbase64url(whole.substr(8));
  const Outcome meant = answer(whole, asked, secrets, now);
  REQUIRE(meant.verdict.good());
  // Pieces of the text put elsewhere are better guesses than octets.
  std::vector<std::string> pieces = {"\"",
                                     "{",
                                     "}",
                                     ",",
                                     ":",
                                     "null",
                                     "0",
                                     "|",
                                     "=",
                                     "Payment ",
                                     "payload",
                                     "value",
                                     "\"validAfter\":\"1\"",
                                     "\"value\":\"1\"",
                                     "\"type\":\"hash\"",
                                     "authorization"};
  int taken = 0;
  for (int i = 0; i < count; ++i) {
    std::string header = whole;
    std::string text = inner;
    const bool within = dice.below(4) != 0;
    std::string& changed = within ? text : header;
    for (std::uint64_t changes = 1 + dice.below(3); changes-- > 0 && !changed.empty();) {
      const std::size_t place = dice.below(changed.size());
      switch (dice.below(7)) {
        case 0: changed[place] = static_cast<char>(dice.below(256)); break;
        case 1: changed[place] = static_cast<char>(changed[place] ^ 1 << dice.below(8)); break;
        case 2: changed.erase(place, 1 + dice.below(4)); break;
        case 3: changed.insert(place, pieces[dice.below(pieces.size())]); break;
        case 4: changed.insert(place, changed.substr(dice.below(changed.size()), dice.below(60))); break;
        case 5: changed[place] = static_cast<char>('0' + dice.below(10)); break;
        default: changed.resize(place); break;
      }
    }
    if (within) header = header_of(text);
    const Outcome outcome = answer(header, asked, secrets, now);
    if (!outcome.verdict.good()) continue;
    ++taken;
    CAPTURE(header);
    CHECK(outcome.credential.challenge.id == meant.credential.challenge.id);
    CHECK(outcome.credential.challenge.request == meant.credential.challenge.request);
    CHECK(outcome.credential.challenge.expires == meant.credential.challenge.expires);
    CHECK(outcome.credential.challenge.opaque == meant.credential.challenge.opaque);
    CHECK(outcome.authorization.transfer.from == meant.authorization.transfer.from);
    CHECK(outcome.authorization.transfer.to == meant.authorization.transfer.to);
    CHECK(outcome.authorization.transfer.value == meant.authorization.transfer.value);
    CHECK(outcome.authorization.transfer.valid_after == meant.authorization.transfer.valid_after);
    CHECK(outcome.authorization.transfer.valid_before == meant.authorization.transfer.valid_before);
    CHECK(outcome.authorization.transfer.nonce == meant.authorization.transfer.nonce);
    CHECK(outcome.authorization.signature == meant.authorization.signature);
  }
  testing::told("changed MPP credentials", static_cast<std::uint64_t>(count));
  CHECK(taken > 0);  // a letter's case in an address, and what is not a member of ours, may change
}
