// Quotes over the wire: the one 402, and payments as the real clients made them.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "wire/till.hpp"

namespace core = calyx::core;
using core::for_tests::text_of;
using core::for_tests::vectors;
using wire_test::Answer;
using wire_test::built;
using wire_test::client_address;
using wire_test::combined;
using wire_test::real;
using wire_test::real_v1;
using wire_test::real_v2;
using wire_test::take_base;
using wire_test::Till;
using wire_test::unpacked;
using wire_test::usdc;
using wire_test::json::Value;
#if CALYX_HAVE_SECP256K1
using wire_test::credential_for;
#endif

TEST_CASE("CP-117, XM-01, XM-02, XM-36: one 402 says how to pay, in the words that three real clients took") {
  Till till;
  const std::string at = till.quote();
  const Answer answer = till.ask("POST", at, till.key);
  CHECK(answer.status == 402);
  CHECK(answer.header("Content-Type") == "application/problem+json");
  CHECK(answer.header("Cache-Control") == "no-store");

  const Value& golden = *combined().find("response_402");
  // Of the golden one everything but what is this host's own: where, the words, the id.
  Value body = *golden.find("body");
  const wire_test::json::Object& entry = *(*body.find("accepts")->array())[0].object();
  const auto bare = [](wire_test::json::Object object) {
    for (const char* own : {"resource", "description"}) object.erase(own);
    return wire_test::json::canonical(Value(std::move(object)));
  };
  CHECK(bare(*answer.find("accepts.0")->object()) == bare(entry));
  CHECK(answer.at("accepts.0.resource") == "https://calyx.example" + at);
  for (const char* same : {"type", "title", "status", "detail", "x402Version", "error"})
    CHECK(answer.at(same) == (body.find(same)->string() != nullptr
                                  ? *body.find(same)->string()
                                  : wire_test::json::text(*body.find(same))));
  CHECK(answer.at("code") == "payment_required");
  CHECK(!answer.at("message").empty());

  const Value v2 = unpacked(answer.header("PAYMENT-REQUIRED"));
  const Value golden_v2 = unpacked(text_of(*golden.find("headers"), "PAYMENT-REQUIRED"));
  CHECK(*v2.find("accepts") == *golden_v2.find("accepts"));
  CHECK(*v2.find("error") == *golden_v2.find("error"));
  CHECK(*v2.find("x402Version") == *golden_v2.find("x402Version"));
  CHECK(*v2.find("resource")->find("url") == Value("https://calyx.example" + at));

  // MPP: the same charge, in a challenge of this quote alone.
  const std::string mpp = answer.header("WWW-Authenticate");
  const std::string golden_mpp = text_of(*golden.find("headers"), "WWW-Authenticate");
  const auto parameter = [](const std::string& of, const std::string& name) {
    const std::size_t from = of.find(name + "=\"") + name.size() + 2;
    return of.substr(from, of.find('"', from) - from);
  };
  for (const char* same : {"realm", "method", "intent", "request"})
    CHECK(parameter(mpp, same) == parameter(golden_mpp, same));
  CHECK(parameter(mpp, "id") == answer.at("challengeId"));
  CHECK(parameter(mpp, "expires") == "2026-01-01T00:15:00Z");
  CHECK(mpp.find("header=") == std::string::npos);
  CHECK(parameter(till.ask("POST", till.quote(), till.key).header("WWW-Authenticate"), "id") !=
        parameter(mpp, "id"));

  // Small enough for proxies, also where all networks are taken by a host with a long name.
  REQUIRE(
      till.ask(
              "PUT", "/v1/settings", till.op,
              R"({"base_url":"https://)" + std::string(100, 'h') + R"(","realm":")" + std::string(100, 'r') +
                  R"(","networks":[{"network":"base","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"},)"
                  R"({"network":"megaeth","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"},)"
                  R"({"network":"solana","pay_to":"9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",)"
                  R"("fee_payer":"9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"}]})")
          .status == 200);
  const Answer largest = till.ask("POST", at, till.key);
  CHECK(largest.find("accepts")->array()->size() == 2);
  std::size_t bytes = largest.body.size();
  for (const calyx::HeaderField& field : largest.headers) bytes += field.name.size() + field.value.size() + 4;
  CHECK(bytes < 8'192);

  // Where a key is in `Authorization`, MPP's answer comes elsewhere.
  const Answer beside = till.send("POST", at, {}, {{"Authorization", "Bearer " + till.key}});
  CHECK(beside.status == 402);
  CHECK(parameter(beside.header("WWW-Authenticate"), "header") == "Payment-Authorization");
}

TEST_CASE("XM-39: the same payment from many at once tops up once, and each is told so") {
  if (!built("wire.quotes.same")) return;
  constexpr int rounds = 24, callers = 6;
  const std::string words = real_v2();
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    Till till;
    std::atomic<int> ready{0}, good{0}, first{0};
    std::vector<std::thread> threads;
    for (int caller = 0; caller < callers; ++caller)
      threads.emplace_back([&] {
        const calyx::Request request{"POST",
                                     "/compute/credits/topup",
                                     {{"X-API-Key", till.key}, {"PAYMENT-SIGNATURE", words}},
                                     R"({"amount":1,"network":"base"})"};
        ++ready;
        while (ready < callers) std::this_thread::yield();
        // Whoever finds it under way asks again.
        for (int tries = 0; tries < 1'000; ++tries) {
          const calyx::Response answer = calyx::handle(till.engine, request);
          if (answer.status == 202 || answer.status == 503) continue;
          if (answer.status == 200) ++good;
          const bool again = std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& field) {
            return field.name == "Idempotent-Replayed" && field.value == "true";
          });
          if (!again) ++first;
          break;
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(good == callers);
    CHECK(first == 1);
    CHECK(till.balance() == "100.0");
    CHECK(till.engine.as_operator().audit().value().ok);
  }
}

TEST_CASE("CP-117: what x402's real clients signed pays a quote once, and again gives the same answer") {
  if (!built("wire.quotes.x402")) return;
  struct Row {
    const char* header;
    std::string text;
    const char* response;
    const char* network;
  };
  const Row rows[] = {{"X-PAYMENT", real_v1(), "X-PAYMENT-RESPONSE", "base"},
                      {"PAYMENT-SIGNATURE", real_v2(), "PAYMENT-RESPONSE", "eip155:8453"}};
  for (const Row& row : rows) {
    CAPTURE(std::string(row.header));
    Till till;
    const std::string at = till.quote();
    const Answer paid = till.pay(at, row.header, row.text);
    REQUIRE_MESSAGE(paid.status == 200, paid.body);
    CHECK(paid.at("status") == "paid");
    CHECK(paid.at("payments.0.payer") == client_address);
    CHECK(paid.at("payments.0.credited") == "100.0");
    CHECK(paid.header("Cache-Control") == "private");
    CHECK_FALSE(paid.replayed());
    CHECK(till.balance() == "100.0");
    const Value said = unpacked(paid.header(row.response));
    CHECK(*said.find("success") == Value(true));
    CHECK(*said.find("network") == Value(row.network));
    CHECK(*said.find("transaction") == Value(paid.at("payments.0.transaction")));
    const Answer elsewhere = till.pay(till.quote(), row.header, row.text);
    CHECK(elsewhere.status == 409);
    CHECK(elsewhere.code() == "payment_reused");

    // Long after its time: the same words have the same answer.
    till.pass_s(3'600);
    const Answer again = till.pay(at, row.header, row.text);
    CHECK(again.status == 200);
    CHECK(again.replayed());
    CHECK(again.body == paid.body);
    CHECK(again.header(row.response) == paid.header(row.response));
    CHECK(till.balance() == "100.0");
    CHECK(till.ask("POST", at, till.key).code() == "quote_paid");
    CHECK(till.balance() == "100.0");
    CHECK(till.engine.as_operator().audit().value().ok);
  }
}

TEST_CASE("a payment that is not one is refused with the word of its protocol, and a 402 that can be paid") {
  if (!built("wire.quotes.refused")) return;
  struct Row {
    const char* says;
    const char* amount;
    std::int64_t later_s;
    std::string header, text;
    int status;
    const char* code;
    const char* error;
  };
  std::string cut = real_v1();
  cut.resize(cut.size() / 2);
  const Row rows[] = {
      {"too little", "101", 0, "X-PAYMENT", real_v1(), 402, "payment_invalid",
       "invalid_exact_evm_payload_authorization_value"},
      {"another amount than was accepted", "101", 0, "PAYMENT-SIGNATURE", real_v2(), 402, "payment_invalid",
       "invalid_payment_requirements"},
      {"expired", "100", 300, "X-PAYMENT", real_v1(), 402, "payment_invalid",
       "invalid_exact_evm_payload_authorization_valid_before"},
      {"cut", "100", 0, "X-PAYMENT", cut, 400, "payment_malformed", ""},
      {"of the other version", "100", 0, "PAYMENT-SIGNATURE", real_v1(), 402, "payment_invalid",
       "invalid_x402_version"},
      {"of MPP, from another host", "100", 0, "Authorization", real("mppx 0.11.0", "Authorization"), 402,
       "payment_invalid", "invalid-challenge"},
      {"no credential", "100", 0, "Payment-Authorization", "Payment x", 402, "payment_invalid",
       "malformed-credential"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    Till till;
    const std::string at = till.quote(row.amount);
    till.pass_s(row.later_s);
    const Answer answer = till.pay(at, row.header.c_str(), row.text);
    CHECK(answer.status == row.status);
    if (row.status == 402) {
      CHECK(answer.at("code") == row.code);
      CHECK(answer.at("error") == row.error);
      CHECK(answer.at("details.code") == row.error);
      CHECK(unpacked(answer.header("PAYMENT-REQUIRED")).find("error")->string() != nullptr);
      CHECK(!answer.header("WWW-Authenticate").empty());
    } else {
      CHECK(answer.code() == row.code);
    }
    CHECK(till.ask("GET", at.substr(0, at.rfind("/pay")), till.key).at("status") == "open");
    CHECK(till.ask("GET", at.substr(0, at.rfind("/pay")), till.key).at("payments") == "[]");
    CHECK(till.balance() == "0.0");
  }

  Till till;
  const std::string at = till.quote();
  const Answer both =
      till.ask("POST", at, till.key, {}, {{"X-PAYMENT", real_v1()}, {"PAYMENT-SIGNATURE", real_v2()}});
  CHECK(both.status == 400);
  CHECK(both.code() == "payment_malformed");

  // On another chain than is taken now.
  REQUIRE(till.ask("PUT", "/v1/settings", till.op,
                   R"({"networks":[{"network":"base-sepolia",)"
                   R"("pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]})")
              .status == 200);
  CHECK(till.pay(at, "X-PAYMENT", real_v1()).at("error") == "invalid_network");
  CHECK(till.pay(at, "PAYMENT-SIGNATURE", real_v2()).at("error") == "invalid_payment_requirements");

  // Money that is not there: the quote's payment has failed, for good.
  REQUIRE(till.ask("PUT", "/v1/settings", till.op, take_base).status == 200);
  till.tokens->next(calyx::SimulatedTokens::Answer::refused);
  const Answer failed = till.pay(at, "PAYMENT-SIGNATURE", real_v2());
  CHECK(failed.status == 402);
  CHECK(failed.code() == "payment_invalid");
  CHECK(failed.at("error.details.code") == "told_to_refuse");
  CHECK(*unpacked(failed.header("PAYMENT-RESPONSE")).find("success") == Value(false));
  CHECK(till.ask("POST", at, till.key).code() == "quote_failed");

  const std::string late = till.quote();
  till.pass_s(900);
  const Answer expired = till.ask("POST", late, till.key);
  CHECK(expired.status == 410);
  CHECK(expired.code() == "quote_expired");
  CHECK(till.pay(late, "X-PAYMENT", real_v1()).code() == "quote_expired");
  CHECK(till.balance() == "0.0");
}

TEST_CASE(
    "a signature that only a contract could judge pays nothing, and leaves its nonce to whoever owns it") {
  if (!built("wire.quotes.contract")) return;
  Till till;
  const std::string at = till.quote();
  const auto header = core::unbase64(real_v1());
  REQUIRE(header);
  Value forged = *calyx::read_json(*header);
  const std::string signature = text_of(*forged.find("payload"), "signature");
  wire_test::json::Object payload = *forged.find("payload")->object();
  payload.erase("signature");
  payload.set("signature", signature + "00");
  forged.object()->erase("payload");
  forged.object()->set("payload", std::move(payload));
  const Answer refused = till.pay(at, "X-PAYMENT", core::base64(wire_test::json::text(forged)));
  CHECK(refused.status == 402);
  CHECK(refused.at("error") == "unexpected_verify_error");
  CHECK(till.balance() == "0.0");
  CHECK(till.pay(at, "X-PAYMENT", real_v1()).status == 200);
}

TEST_CASE("a token of 18 decimals is paid by Permit2, and MPP stays with the network that has it") {
  if (!built("wire.quotes.permit2")) return;
  Till till;
  REQUIRE(till.ask("PUT", "/v1/settings", till.op,
                   R"({"networks":[{"network":"base","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"},)"
                   R"({"network":"megaeth","pay_to":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}]})")
              .status == 200);
  const std::string at = till.quote();
  const Answer challenged = till.ask("POST", at, till.key);
  CHECK(unpacked(challenged.header("PAYMENT-REQUIRED")).find("accepts")->array()->size() == 2);
  CHECK(challenged.find("accepts")->array()->size() == 1);  // version 1 knows no MegaETH
  CHECK(till.pay(at, "Authorization", real("mppx 0.11.0", "Authorization")).at("error") ==
        "invalid-challenge");

  for (const Value& row : vectors("x402_v2_permit2.json")) {
    if (text_of(row, "name") != "permit2_megaeth_1usd") continue;
    const std::string words = text_of(row, "payment_signature_header");
    REQUIRE(till.tokens
                ->mint({.network = "eip155:4326",
                        .asset = "0xfafddbb3fc7688494971a79cc65dca3ef82079e7",
                        .address = client_address},
                       "2000000000000000000")
                .ok());
    const Answer paid = till.pay(at, "PAYMENT-SIGNATURE", words);
    REQUIRE_MESSAGE(paid.status == 200, paid.body);
    CHECK(paid.at("payments.0.amount") == "1000000000000000000");
    CHECK(paid.at("payments.0.credited") == "100.0");
    // Also where nothing is taken any more, what was paid is answered.
    REQUIRE(till.ask("PUT", "/v1/settings", till.op, R"({"networks":[]})").status == 200);
    const Answer again = till.pay(at, "PAYMENT-SIGNATURE", words);
    CHECK(again.status == 200);
    CHECK(again.body == paid.body);
  }
  CHECK(till.balance() == "100.0");
}

#if CALYX_HAVE_SECP256K1
TEST_CASE("XM-02: an MPP client's authorization pays the quote whose challenge it answers, and no other") {
  const calyx::crypto::for_tests::EvmWallet payer(std::string(31, '\0') + "\x2a");
  Till till;
  till.fill(core::lower_text(payer.address()));
  const auto credential = [&](const Answer& challenged) { return credential_for(till, payer, challenged); };

  const std::string at = till.quote(), other = till.quote();
  const std::string words = credential(till.ask("POST", at, till.key));
  const Answer wrong = till.pay(other, "Authorization", words);
  CHECK(wrong.status == 402);
  CHECK(wrong.at("error") == "invalid-challenge");
  CHECK(wrong.at("type") == "https://paymentauth.org/problems/invalid-challenge");
  CHECK(till.pay(at, "Payment-Authorization", words).at("error") == "invalid-challenge");

  const Answer paid = till.pay(at, "Authorization", words);
  REQUIRE_MESSAGE(paid.status == 200, paid.body);
  CHECK(paid.at("payments.0.protocol") == "mpp");
  const auto receipt = core::unbase64url(paid.header("Payment-Receipt"));
  REQUIRE(receipt);
  const auto said = calyx::read_json(*receipt);
  REQUIRE(said.ok());
  CHECK(*said->find("status") == Value("success"));
  CHECK(*said->find("reference") == Value(paid.at("payments.0.transaction")));
  CHECK(till.balance() == "100.0");
  till.pass_s(3'600);
  CHECK(till.pay(at, "Authorization", words).replayed());
  CHECK(till.balance() == "100.0");

  // With the key in `Authorization`.
  const std::string third = till.quote();
  const calyx::HeaderFields bearer = {{"Authorization", "Bearer " + till.key}};
  const std::string beside = credential(till.send("POST", third, {}, bearer));
  const Answer also = till.send("POST", third, {}, {bearer[0], {"Payment-Authorization", beside}});
  CHECK_MESSAGE(also.status == 200, also.body);
  CHECK(till.balance() == "200.0");
  CHECK(till.engine.as_operator().audit().value().ok);
}

TEST_CASE("XM-02, CP-118: a call that lacks money is paid for as it is, by MPP too") {
  const calyx::crypto::for_tests::EvmWallet payer(std::string(31, '\0') + "\x2a");
  Till till;
  till.fill(core::lower_text(payer.address()));
  const std::string spend = "/v1/wallets/" + till.wallet + "/spend";
  const std::string asked = R"({"job_id":"j","amount":100})";
  const calyx::HeaderFields bearer = {{"Authorization", "Bearer " + till.key}};
  const std::string words = credential_for(till, payer, till.send("POST", spend, asked, bearer));
  // What was asked for at one call is no payment of another.
  const Answer other = till.send("POST", spend, R"({"job_id":"j","amount":101})",
                                 {bearer[0], {"Payment-Authorization", words}});
  CHECK(other.status == 402);
  CHECK(other.code() == "insufficient_balance");
  const Answer spent = till.send("POST", spend, asked, {bearer[0], {"Payment-Authorization", words}});
  CHECK_MESSAGE(spent.status == 200, spent.body);
  CHECK(spent.at("job_id") == "j");
  CHECK(!spent.header("Payment-Receipt").empty());
  CHECK(till.balance() == "0.0");
  CHECK(till.engine.as_operator().audit().value().ok);
}
#endif

TEST_CASE("a payment whose backend cannot say is under way, and the same call ends it") {
  if (!built("wire.quotes.pending")) return;
  Till till;
  const std::string at = till.quote();
  till.tokens->next(calyx::SimulatedTokens::Answer::pending);
  const Answer waits = till.pay(at, "PAYMENT-SIGNATURE", real_v2());
  CHECK(waits.status == 202);
  CHECK(waits.header("PAYMENT-RESPONSE").empty());
  CHECK(till.balance() == "0.0");
  CHECK(till.ask("POST", at, till.key).code() == "quote_paid");
  till.pass_s(600);
  const Answer paid = till.pay(at, "PAYMENT-SIGNATURE", real_v2());
  CHECK(paid.status == 200);
  CHECK(!paid.header("PAYMENT-RESPONSE").empty());
  CHECK(till.balance() == "100.0");
}

TEST_CASE("a contract's signature is for a backend that judges it, and for no other") {
  if (!built("wire.quotes.contract")) return;
  // A chain that knows one contract's signature.
  struct Chain final : calyx::SettlementBackend {
    Chain(std::shared_ptr<calyx::SimulatedTokens> with, bool judging)
        : tokens(std::move(with)), judges(judging) {}
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment& payment) override {
      const std::string header = payment.payload;
      if (silent_after-- == 0) return {};
      if (unpacked(header).find("payload")->find("signature")->string()->ends_with("ee"))
        return tokens->verify(payment);
      return {.outcome = calyx::SettlementOutcome::refused, .reason = "invalid_exact_evm_payload_signature"};
    }
    calyx::SettlementAnswer settle(std::string_view key, const calyx::VerifiedPayment& payment) override {
      return tokens->settle(key, payment);
    }
    calyx::SettlementAnswer status(std::string_view key) override { return tokens->status(key); }
    bool judges_contracts() const noexcept override { return judges; }
    std::shared_ptr<calyx::SimulatedTokens> tokens;
    bool judges;
    int silent_after = -1;
  };
  // What the real client signed, with a longer signature in its place, as a contract wallet's is.
  const auto signed_by_contract = [](const std::string& end) {
    wire_test::json::Object payment = *unpacked(real_v2()).object();
    wire_test::json::Object payload = *payment.find("payload")->object();
    payload.set("signature", "0x" + std::string(600, 'a') + end);
    payment.set("payload", std::move(payload));
    return core::base64(wire_test::json::text(Value(std::move(payment))));
  };
  Till till;
  const std::string at = till.quote();
  const Answer nobody = till.pay(at, "PAYMENT-SIGNATURE", signed_by_contract("ee"));
  CHECK(nobody.status == 402);
  CHECK(nobody.at("details.code") == "unexpected_verify_error");

  till.engine.set_settlement(std::make_shared<Chain>(till.tokens, true));
  const Answer wrong = till.pay(at, "PAYMENT-SIGNATURE", signed_by_contract("dd"));
  CHECK(wrong.status == 402);
  CHECK(wrong.at("code") == "payment_invalid");
  CHECK(wrong.at("details.code") == "invalid_exact_evm_payload_signature");
  CHECK(till.balance() == "0.0");
  CHECK(till.pay(at, "PAYMENT-SIGNATURE", signed_by_contract("ee")).status == 200);

  // One that was taken for such a backend waits where the next one would not judge it.
  Till other;
  const auto chain = std::make_shared<Chain>(other.tokens, true);
  other.engine.set_settlement(chain);
  const std::string quote = other.quote();
  // Before it was judged nothing is taken.
  for (const auto says :
       {calyx::SimulatedTokens::Answer::unavailable, calyx::SimulatedTokens::Answer::pending}) {
    other.tokens->next(says);
    const Answer unsaid = other.pay(quote, "PAYMENT-SIGNATURE", signed_by_contract("ee"));
    CHECK(unsaid.status == 503);
    CHECK(unsaid.code() == "outcome_unknown");
    CHECK(other.ask("POST", quote, other.key).at("code") == "payment_required");
  }
  chain->silent_after = 1;
  CHECK(other.pay(quote, "PAYMENT-SIGNATURE", signed_by_contract("ee")).status == 202);
  other.engine.set_settlement(other.tokens);
  CHECK(other.pay(quote, "PAYMENT-SIGNATURE", signed_by_contract("ee")).status == 202);
  CHECK(other.balance() == "0.0");
  other.engine.set_settlement(chain);
  const Answer paid = other.pay(quote, "PAYMENT-SIGNATURE", signed_by_contract("ee"));
  CHECK_MESSAGE(paid.status == 200, paid.body);
  CHECK(other.balance() == "100.0");
}

TEST_CASE("CP-115, CP-116: quotes are asked for, listed and read by their own") {
  Till till;
  const std::string quotes = "/api/v1/account/quotes";
  const Answer made = till.ask("POST", quotes + "/topup", till.key, R"({"amount":"12.5","expires_in_s":60})",
                               {{"Idempotency-Key", "q1"}});
  CHECK(made.status == 201);
  CHECK(made.members() == "quote_id wallet_id kind status amount unit created_at expires_at pay payments");
  CHECK(made.at("amount") == "12.5");
  CHECK(made.at("kind") == "topup");
  CHECK(made.at("status") == "open");
  CHECK(made.at("expires_at") == "2026-01-01T00:01:00Z");
  const Answer again = till.ask("POST", quotes + "/topup", till.key, R"({"amount":"12.5","expires_in_s":60})",
                                {{"Idempotency-Key", "q1"}});
  CHECK(again.replayed());
  CHECK(again.body == made.body);
  till.quote("7");
  const Answer listed = till.ask("GET", quotes + "?limit=1", till.key);
  CHECK(listed.items() == 1);
  CHECK(listed.at("items.0") == wire_test::json::text(made.value));
  CHECK(till.ask("GET", quotes + "?after=" + listed.at("next"), till.key).at("items.0.amount") == "7.0");
  till.pass_s(60);
  CHECK(till.ask("GET", quotes + "/" + made.at("quote_id"), till.key).at("status") == "expired");

  const Answer other = till.ask("POST", "/v1/wallets", till.op, R"({"owner_type":"human","owner_id":"b"})");
  CHECK(till.ask("GET", quotes + "/" + made.at("quote_id"), other.at("api_key")).status == 404);
  CHECK(till.ask("POST", made.at("pay"), other.at("api_key")).code() == "quote_unknown");
  CHECK(till.ask("GET", quotes + "/qte_no", till.key).code() == "quote_unknown");
  CHECK(till.ask("POST", quotes + "/topup", till.op, R"({"amount":1})").field() == "/wallet_id");
  CHECK(till.ask("POST", quotes + "/topup", till.op, R"({"amount":1,"wallet_id":")" + till.wallet + "\"}")
            .status == 201);
  CHECK(till.ask("POST", quotes + "/topup", till.key, R"({"amount":0})").code() == "amount_zero");
  CHECK(till.ask("POST", quotes + "/topup", till.key, R"({"amount":1,"expires_in_s":0})").field() ==
        "/expires_in_s");

  // A wallet's key asks 64 times an hour at most; an operator asks on.
  int given = 2;
  Answer asked;
  while (given < 100 &&
         (asked = till.ask("POST", quotes + "/topup", till.key, R"({"amount":1})")).status == 201)
    ++given;
  CHECK(given == 63);  // and one that the operator asked for
  CHECK(asked.status == 429);
  CHECK(asked.code() == "too_many_quotes");
  CHECK(asked.header("Retry-After") == "3540");
  CHECK(till.ask("POST", quotes + "/topup", till.op, R"({"amount":1,"wallet_id":")" + till.wallet + "\"}")
            .status == 201);
  till.pass_s(3'600);

  // Nowhere to pay.
  REQUIRE(till.ask("PUT", "/v1/settings", till.op, R"({"networks":[]})").status == 200);
  CHECK(till.ask("POST", till.quote(), till.key).code() == "unsupported");
}

TEST_CASE(
    "CP-118: who lacks money gets a quote of what is missing, and the same call succeeds once it is paid") {
  if (!built("wire.quotes.shortfall")) return;
  Till till;
  const std::string spend = "/v1/wallets/" + till.wallet + "/spend";
  const std::string asked = R"({"job_id":"j","amount":100})";
  const Answer refused = till.ask("POST", spend, till.key, asked);
  CHECK(refused.status == 402);
  CHECK(refused.code() == "insufficient_balance");
  CHECK(refused.at("error.details.quote.amount") == "100.0");
  CHECK(refused.at("error.details.quote.expires_at") == "2026-01-01T00:15:00Z");
  const std::string pay = refused.at("error.details.quote.pay");
  CHECK(pay == "/api/v1/account/quotes/" + refused.at("error.details.quote.quote_id") + "/pay/x402");
  CHECK(till.pay(pay, "PAYMENT-SIGNATURE", real_v2()).status == 200);
  CHECK(till.ask("POST", spend, till.key, asked).status == 200);
  CHECK(till.balance() == "0.0");
  // Paid, it is of no more use: what is missing then has a quote of its own.
  const std::string second = R"({"job_id":"k","amount":100})";
  // Asked again, it is the same quote until it has less than a minute.
  const std::string third = till.ask("POST", spend, till.key, second).at("error.details.quote.pay");
  CHECK(third != pay);
  till.pass_s(840);
  CHECK(till.ask("POST", spend, till.key, second).at("error.details.quote.pay") == third);
  till.pass_s(1);
  const std::string next = till.ask("POST", spend, till.key, second).at("error.details.quote.pay");
  CHECK(next != third);
  CHECK(till.ask("POST", spend, till.key, second).at("error.details.quote.pay") == next);
  const std::string more = R"({"job_id":"k","amount":101})";
  CHECK(till.ask("POST", spend, till.key, more).at("error.details.quote.amount") == "101.0");
  // A job says the same.
  REQUIRE(till.ask("PUT", "/v1/settings", till.op, R"({"prices":{"base":"1"}})").status == 200);
  const Answer job = till.ask("POST", "/api/v1/jobs", till.key, R"({"task":"t","timeout_s":10})");
  CHECK(job.code() == "insufficient_balance");
  CHECK(job.at("error.details.quote.amount") == job.at("error.details.shortfall"));

  // Refusals make 32 quotes an hour, and leave the others to whoever funds the wallet.
  int offered = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string some = R"({"job_id":"k","amount":)" + std::to_string(1'000 + i) + "}";
    const Answer lacks = till.ask("POST", spend, till.key, some);
    CHECK(lacks.code() == "insufficient_balance");
    offered += lacks.at("error.details.quote.amount") != "absent";
  }
  CHECK(offered == 27);  // five were offered before
  CHECK(till.ask("POST", "/api/v1/account/quotes/topup", till.key, R"({"amount":1})").status == 201);

  // Where no payment is taken there is nothing to offer.
  REQUIRE(till.ask("PUT", "/v1/settings", till.op, R"({"networks":[]})").status == 200);
  CHECK(till.ask("POST", spend, till.key, second).at("error.details.quote") == "absent");
}

TEST_CASE(
    "CP-118: a call that lacks money says how to pay, and made again with the payment is paid for and done") {
  if (!built("wire.quotes.lacking")) return;
  struct Row {
    const char* header;
    std::string text;
    const char* response;
  };
  const Row rows[] = {{"X-PAYMENT", real_v1(), "X-PAYMENT-RESPONSE"},
                      {"PAYMENT-SIGNATURE", real_v2(), "PAYMENT-RESPONSE"}};
  for (const Row& row : rows) {
    CAPTURE(std::string(row.header));
    Till till;
    const std::string spend = "/v1/wallets/" + till.wallet + "/spend";
    const std::string asked = R"({"job_id":"j","amount":100})";
    const Answer refused = till.ask("POST", spend, till.key, asked);
    CHECK(refused.status == 402);
    CHECK(refused.code() == "insufficient_balance");
    CHECK(refused.header("Cache-Control") == "no-store");
    CHECK(refused.at("accepts.0.resource") == "https://calyx.example" + spend);
    CHECK(refused.at("accepts.0.maxAmountRequired") == "1000000");
    CHECK(*unpacked(refused.header("PAYMENT-REQUIRED")).find("resource")->find("url") ==
          Value("https://calyx.example" + spend));
    CHECK(refused.header("WWW-Authenticate").find("Payment ") == 0);

    // Of another amount it pays nothing, and is asked for anew.
    const Answer more =
        till.ask("POST", spend, till.key, R"({"job_id":"j","amount":101})", {{row.header, row.text}});
    CHECK(more.status == 402);
    CHECK(more.code() == "insufficient_balance");
    CHECK(more.at("error.details.quote.amount") == "101.0");
    CHECK(till.balance() == "0.0");

    const Answer spent = till.ask("POST", spend, till.key, asked, {{row.header, row.text}});
    REQUIRE_MESSAGE(spent.status == 200, spent.body);
    CHECK(spent.at("job_id") == "j");
    CHECK(*unpacked(spent.header(row.response)).find("success") == Value(true));
    CHECK(till.balance() == "0.0");
    CHECK(till.ask("GET", "/v1/wallets/" + till.wallet, till.key).at("held") == "100.0");
    // Again it is the same answer, and pays for nothing more.
    const Answer again = till.ask("POST", spend, till.key, asked, {{row.header, row.text}});
    CHECK(again.status == 200);
    CHECK(again.replayed());
    const Answer next =
        till.ask("POST", spend, till.key, R"({"job_id":"k","amount":100})", {{row.header, row.text}});
    CHECK(next.status == 402);  // its payment is spent: here is what to pay for this one
    CHECK(next.code() == "insufficient_balance");
    CHECK(next.at("error.details.quote.amount") == "100.0");
    CHECK(till.engine.as_operator().audit().value().ok);
  }
}

TEST_CASE("CP-118: one payment pays for one call, also where that names no key of its own") {
  if (!built("wire.quotes.lacking")) return;
  Till till;
  REQUIRE(till.ask("PUT", "/v1/settings", till.op, R"({"prices":{"base":"1"}})").status == 200);
  const std::string job = R"({"task":"t","timeout_s":100})";
  const calyx::HeaderFields words = {{"PAYMENT-SIGNATURE", real_v2()}};
  const Answer made = till.ask("POST", "/api/v1/jobs", till.key, job, words);
  REQUIRE_MESSAGE(made.status == 201, made.body);
  // Its answer was lost. Money that came meanwhile is not for a second job.
  REQUIRE(till.ask("POST", "/v1/wallets/" + till.wallet + "/topup", till.op, R"({"amount":500})").status ==
          200);
  const Answer again = till.ask("POST", "/api/v1/jobs", till.key, job, words);
  CHECK(again.replayed());
  CHECK(again.at("job_id") == made.at("job_id"));
  CHECK(till.balance() == "500.0");
  const Answer other = till.ask("POST", "/api/v1/jobs", till.key, R"({"task":"u","timeout_s":100})", words);
  CHECK(other.status == 409);
  CHECK(other.code() == "key_reused");
}

TEST_CASE("CP-118: a call whose payment still settles is not made yet, and the same call ends it") {
  if (!built("wire.quotes.lacking")) return;
  Till till;
  const std::string spend = "/v1/wallets/" + till.wallet + "/spend";
  const std::string asked = R"({"job_id":"j","amount":100})";
  const calyx::HeaderFields words = {{"PAYMENT-SIGNATURE", real_v2()}};
  till.tokens->next(calyx::SimulatedTokens::Answer::pending);
  const Answer waits = till.ask("POST", spend, till.key, asked, words);
  CHECK(waits.status == 503);
  CHECK(waits.code() == "outcome_unknown");
  CHECK(till.balance() == "0.0");
  const Answer spent = till.ask("POST", spend, till.key, asked, words);
  CHECK_MESSAGE(spent.status == 200, spent.body);
  CHECK(till.ask("GET", "/v1/wallets/" + till.wallet, till.key).at("held") == "100.0");

  Till other;
  other.tokens->next(calyx::SimulatedTokens::Answer::refused);
  const Answer failed = other.ask("POST", "/v1/wallets/" + other.wallet + "/spend", other.key, asked, words);
  CHECK(failed.status == 402);
  CHECK(failed.code() == "payment_invalid");
  CHECK(other.ask("GET", "/v1/wallets/" + other.wallet, other.key).at("held") == "0.0");
}

TEST_CASE("settings say where payments are taken; what is at fault is named and nothing is set") {
  Till till;
  const Answer before = till.ask("GET", "/v1/settings", till.op);
  CHECK(before.members() == "prices base_url realm networks");
  CHECK(before.at("networks.0.network") == "eip155:8453");
  CHECK(before.at("networks.0.asset") == "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
  CHECK(before.at("networks.0.fee_payer") == "null");
  struct Row {
    const char* body;
    const char* field;
  };
  const Row rows[] = {
      {R"({"base_url":"calyx.example"})", "/base_url"},
      {R"({"base_url":"https://calyx.example/"})", "/base_url"},
      {R"({"base_url":null})", "/base_url"},
      {R"({"base_url":7})", "/base_url"},
      {R"({"realm":"a\"b"})", "/realm"},
      {R"({"networks":{}})", "/networks"},
      {R"({"networks":[{"network":"base"}]})", "/networks/0/pay_to"},
      {R"({"networks":[{"network":"moon","pay_to":"x"}]})", "/networks/0/network"},
      {R"({"networks":[{"network":"base","pay_to":"0x3c44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]})",
       "/networks/0/pay_to"},
      {R"({"networks":[{"network":"base","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC","extra":1}]})",
       "/networks/0/extra"},
      {R"({"prices":{"gpus":{"":"1"}},"realm":"other.example"})", "/prices/gpus"},
      {R"({"prices":{"base":"5"},"networks":[{"network":"solana","pay_to":"x","fee_payer":"y"}]})",
       "/networks/0/pay_to"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.body));
    const Answer refused = till.ask("PUT", "/v1/settings", till.op, row.body);
    CHECK(refused.status == 422);
    CHECK(refused.field() == row.field);
    CHECK(till.ask("GET", "/v1/settings", till.op).body == before.body);
  }
  const Answer set = till.ask("PUT", "/v1/settings", till.op, R"({"prices":{"base":"5"},"realm":null})");
  CHECK(set.status == 200);
  CHECK(set.at("prices.base") == "5.0");
  CHECK(set.at("realm") == "null");
  CHECK(set.at("networks.0.network") == "eip155:8453");
  CHECK(till.ask("POST", till.quote(), till.key).header("WWW-Authenticate").empty());
  CHECK(till.ask("PUT", "/v1/settings", till.key, take_base).status == 403);
  CHECK(till.engine.as_operator().audit().value().ok);
}
