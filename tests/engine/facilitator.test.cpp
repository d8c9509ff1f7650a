// A facilitator that a script plays, or tokens: what is sent to it, what its answers come to, and that a
// payment is credited once whatever gets lost on the way.
#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "core/crypto_for_tests.hpp"
#include "crypto/secp256k1.hpp"
#include "engine/job_market.hpp"
#include "json/reader.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using core::for_tests::text_of;
using core::for_tests::vectors;
using core::json::Value;
using testing::by_scale;
using testing::JobMarket;

namespace {

constexpr const char* usdc = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
constexpr const char* payer = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
constexpr const char* pay_to = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
constexpr const char* transaction = "0x89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef";
const std::string success =
    std::string(R"({"success":true,"transaction":")") + transaction +
    R"(","network":"eip155:8453","payer":"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"})";
const std::string valid = R"({"isValid":true,"payer":"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"})";

std::string refusal(const std::string& reason) {
  return R"({"success":false,"errorReason":")" + reason + R"(","transaction":"","network":"eip155:8453"})";
}

std::string real(const char* client, const char* header) {
  static const core::json::Array rows = vectors("combined_402.json");
  return text_of(*rows[0].find("client_retry_headers")->find(client), header);
}
std::string real_v1() { return real("x402-fetch 1.2.0", "X-PAYMENT"); }
std::string real_v2() { return real("@x402/fetch 2.27.0", "PAYMENT-SIGNATURE"); }

/// A dollar on Base, as the vectors' client of version 2 paid it; of another nonce it has another payload.
VerifiedPayment payment(const std::string& nonce = "0x01") {
  return {.network = "eip155:8453",
          .asset = usdc,
          .payer = payer,
          .pay_to = pay_to,
          .nonce = nonce,
          .amount = "1000000",
          .credit = Money{100'000'000},
          .valid_before = Instant{1'767'225'900'000'000},
          .payload = nonce == "0x01" ? real_v2()
                                     : core::base64(core::unbase64(real_v2()).value() +
                                                    std::string(std::stoul(nonce.substr(2)), ' '))};
}

using Reply = std::optional<FacilitatorReply>;

/// A facilitator, the network to it and the time between, played by a test.
struct Line {
  struct Sent {
    std::string method, url, body;
    std::map<std::string, std::string> headers;
    std::int64_t timeout_ms;
  };
  std::vector<Sent> sent;
  std::vector<std::int64_t> slept;
  std::int64_t now_ms = 1'000'000;
  std::uint64_t drawn = 0;
  std::function<Reply(const Sent&)> answer = [](const Sent&) { return Reply(); };
  FacilitatorOptions options;

  Line() {
    options.url = "https://facilitator.example/x402";
    options.send = [this](const FacilitatorRequest& asked) {
      Sent one{
          std::string(asked.method), std::string(asked.url), std::string(asked.body), {}, asked.timeout_ms};
      for (const auto& [name, value] : asked.headers) CHECK(one.headers.emplace(name, value).second);
      sent.push_back(one);
      return answer(one);
    };
    options.sleep = [this](std::int64_t ms) { slept.push_back(ms); };
    options.random = [this] { return drawn; };
    options.now_ms = [this] { return now_ms; };
  }
  std::shared_ptr<Facilitator> open() { return Facilitator::open(options).value(); }
  /// One that has just said that `payment()` is good.
  std::shared_ptr<Facilitator> verified(const VerifiedPayment& of = payment()) {
    auto out = open();
    says(200, valid);
    CHECK(out->verify(of).outcome == SettlementOutcome::valid);
    sent.clear();
    return out;
  }
  void says(int status, std::string body) {
    answer = [=](const Sent&) { return Reply({status, body}); };
  }
  /// These, one after another; the last one from then on.
  void says(std::vector<Reply> replies) {
    answer = [replies, at = std::size_t{0}](const Sent&) mutable {
      return replies[std::min(at++, replies.size() - 1)];
    };
  }
  Value last() { return read_json(sent.back().body).value(); }
};

}  // namespace

TEST_CASE("a payment goes out as it came, beside what it pays") {
  Line line;
  line.options.authorize = [](std::string_view method, std::string_view url) {
    return HeaderFields{{"Authorization", std::string(method) + " " + std::string(url)}};
  };
  line.options.timeout_ms = 1'234;
  line.options.resource = "https://calyx.example/pay";
  line.says(200, valid);
  const auto facilitator = line.open();

  // Version 2: the client's own words are the requirement.
  const Value v2 = read_json(core::unbase64(real_v2()).value()).value();
  CHECK(facilitator->verify(payment()).outcome == SettlementOutcome::valid);
  CHECK(line.sent.back().method == "POST");
  CHECK(line.sent.back().url == "https://facilitator.example/x402/verify");
  CHECK(line.sent.back().timeout_ms == 1'234);
  CHECK(line.sent.back().headers ==
        std::map<std::string, std::string>{{"Accept", "application/json"},
                                           {"Authorization", "POST https://facilitator.example/x402/verify"},
                                           {"Content-Type", "application/json"}});
  CHECK(line.last() ==
        core::json::object(
            {{"x402Version", 2}, {"paymentPayload", v2}, {"paymentRequirements", *v2.find("accepted")}}));
  const std::string verified_body = line.sent.back().body;
  line.says(200, success);
  CHECK(facilitator->settle("pmt_1", payment()).outcome == SettlementOutcome::settled);
  CHECK(line.sent.back().url == "https://facilitator.example/x402/settle");
  CHECK(line.sent.back().body == verified_body);
  CHECK(line.sent.back().headers["Idempotency-Key"] == "pmt_1");
  // What is no header's text is in none.
  CHECK(facilitator->settle("a\r\nX: b", payment()).outcome == SettlementOutcome::settled);
  CHECK(line.sent.back().headers.count("Idempotency-Key") == 0);

  // Version 1 says only what the client signed: what is asked for is told from the payment.
  VerifiedPayment one = payment();
  one.protocol = PaymentProtocol::x402_v1;
  one.payload = real_v1();
  line.says(200, R"({"isValid":true})");
  CHECK(facilitator->verify(one).outcome == SettlementOutcome::valid);
  CHECK(line.last() ==
        read_json(R"({"x402Version":1,"paymentPayload":)" + core::unbase64(real_v1()).value() +
                  R"(,"paymentRequirements":{"scheme":"exact","network":"base",)"
                  R"("maxAmountRequired":"1000000","resource":"https://calyx.example/pay","description":"",)"
                  R"("mimeType":"application/json","payTo":"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",)"
                  R"("maxTimeoutSeconds":300,"asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",)"
                  R"("extra":{"name":"USD Coin","version":"2"}}})")
            .value());

  // MPP signs the same message: version 2 in other words.
  const core::json::Array rounds = vectors("mpp_evm_charge_rounds.json");
  VerifiedPayment mpp = payment();
  mpp.protocol = PaymentProtocol::mpp;
  mpp.network = "eip155:84532";
  mpp.asset = "0x036cbd53842c5426634e7929541ec2318f3dcf7e";
  mpp.payload = text_of(rounds[0], "authorization_header");
  CHECK(facilitator->verify(mpp).outcome == SettlementOutcome::valid);
  const Value& given = *rounds[0].find("credential")->find("payload");
  core::json::Object authorization;
  for (const char* name : {"from", "to", "value", "validAfter", "validBefore", "nonce"})
    authorization.set(name, text_of(given, name));
  const Value asked =
      read_json(R"({"scheme":"exact","network":"eip155:84532","amount":"1000000",)"
                R"("payTo":"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",)"
                R"("maxTimeoutSeconds":300,"asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",)"
                R"("extra":{"name":"USDC","version":"2"}})")
          .value();
  CHECK(line.last() ==
        core::json::object(
            {{"x402Version", 2},
             {"paymentPayload",
              core::json::object({{"x402Version", 2},
                                  {"accepted", asked},
                                  {"payload", core::json::object({{"signature", text_of(given, "signature")},
                                                                  {"authorization", authorization}})}})},
             {"paymentRequirements", asked}}));

  // Solana: version 1's payer of the chain's fee is the transaction's first account.
  const Value solana = vectors("x402_exact_svm.json")[0];
  const Value& terms = *solana.find("payment_requirements");
  VerifiedPayment svm{.protocol = PaymentProtocol::x402_v1,
                      .network = text_of(terms, "network"),
                      .asset = text_of(terms, "asset"),
                      .payer = text_of(*solana.find("payer"), "address"),
                      .pay_to = text_of(terms, "payTo"),
                      .nonce = "n",
                      .amount = "1000000",
                      .credit = Money{100'000'000}};
  const std::string moves = text_of(*solana.find("payload")->find("payload"), "transaction");
  svm.payload = core::base64(
      R"({"x402Version":1,"scheme":"exact","network":"solana-devnet","payload":{"transaction":")" + moves +
      R"("}})");
  CHECK(facilitator->verify(svm).outcome == SettlementOutcome::valid);
  const Value entry = *line.last().find("paymentRequirements");
  CHECK(text_of(entry, "network") == "solana-devnet");
  CHECK(text_of(entry, "asset") == svm.asset);
  CHECK(text_of(entry, "payTo") == svm.pay_to);
  CHECK(text_of(*entry.find("extra"), "feePayer") == text_of(*solana.find("fee_payer"), "address"));
  svm.protocol = PaymentProtocol::x402_v2;
  svm.payload = core::base64(core::json::canonical(*solana.find("payload")));
  CHECK(facilitator->verify(svm).outcome == SettlementOutcome::valid);
  CHECK(*line.last().find("paymentRequirements") == terms);
  line.says(
      200, R"({"success":true,"transaction":"5Sig","network":"solana-devnet","payer":")" + svm.payer + "\"}");
  CHECK(facilitator->settle("k", svm).transaction == "5Sig");

  // What cannot be told is refused before anything moves, and never afterwards.
  const std::size_t before = line.sent.size();
  const auto no_payload = [&](const std::function<void(VerifiedPayment&)>& spoil, VerifiedPayment of) {
    spoil(of);
    const SettlementAnswer refused = facilitator->verify(of);
    CHECK(refused.outcome == SettlementOutcome::refused);
    CHECK(refused.reason == "invalid_payload");
    CHECK(facilitator->settle("k2", of).outcome == SettlementOutcome::unavailable);
    line.now_ms += 300'000;
  };
  no_payload([](auto& of) { of.payload = "?"; }, payment());
  no_payload([](auto& of) { of.payload = core::base64("[]"); }, payment());
  no_payload([](auto& of) { of.payload = core::base64(R"({"x402Version":2})"); }, payment());
  no_payload([](auto& of) { of.payload = real_v1(); }, payment());
  no_payload([](auto& of) { of.payload = real_v2(); }, one);
  no_payload([](auto& of) { of.amount = "1\",\"a\":\"b"; }, one);
  no_payload([](auto& of) { of.pay_to = "\"}"; }, mpp);
  no_payload([](auto& of) { of.network = "eip155:1"; }, one);
  no_payload([](auto& of) { of.payload = real_v2(); }, mpp);
  no_payload([](auto& of) { of.network = "eip155:1"; }, mpp);
  VerifiedPayment cut = svm;
  cut.protocol = PaymentProtocol::x402_v1;
  no_payload(
      [&](auto& of) {
        of.payload =
            core::base64(R"({"x402Version":1,"payload":{"transaction":")" + moves.substr(0, 40) + "\"}}");
      },
      cut);
  CHECK(line.sent.size() == before);
}

TEST_CASE("what an answer to verify comes to") {
  struct Row {
    const char* says;
    int status;
    std::string body;
    SettlementOutcome outcome;
    const char* reason;
    std::size_t tries;
  };
  const Row rows[] = {
      {"good", 200, valid, SettlementOutcome::valid, "", 1},
      {"good, and says no more", 200, R"({"isValid":true})", SettlementOutcome::valid, "", 1},
      {"no answer", 0, "", SettlementOutcome::unavailable, "", 3},
      {"its own fault", 500, valid, SettlementOutcome::unavailable, "", 3},
      {"too often", 429, valid, SettlementOutcome::unavailable, "", 3},
      {"a time-out of a proxy", 408, valid, SettlementOutcome::unavailable, "", 3},
      {"no JSON", 200, "<html>", SettlementOutcome::unavailable, "", 3},
      {"no object", 200, "[true]", SettlementOutcome::unavailable, "", 1},
      {"a key twice", 200, R"({"isValid":true,"isValid":true})", SettlementOutcome::unavailable, "", 3},
      {"nothing of x402's", 200, "{}", SettlementOutcome::unavailable, "", 1},
      {"no truth", 200, R"({"isValid":"true"})", SettlementOutcome::unavailable, "", 1},
      {"good, elsewhere", 302, valid, SettlementOutcome::unavailable, "", 1},
      {"good, with a status that says no", 400, valid, SettlementOutcome::unavailable, "", 1},
      {"of another payer", 200, R"({"isValid":true,"payer":"0x0000000000000000000000000000000000000001"})",
       SettlementOutcome::unavailable, "", 1},
      {"bad, of another payer", 200,
       R"({"isValid":false,"invalidReason":"a","payer":"0x0000000000000000000000000000000000000001"})",
       SettlementOutcome::unavailable, "", 1},
      {"bad", 200, R"({"isValid":false,"invalidReason":"insufficient_funds"})", SettlementOutcome::refused,
       "insufficient_funds", 1},
      {"bad, by its status too", 400, R"({"isValid":false,"invalidReason":"insufficient_funds"})",
       SettlementOutcome::refused, "insufficient_funds", 1},
      {"a used nonce", 200, R"({"isValid":false,"invalidReason":"invalid_exact_evm_nonce_already_used"})",
       SettlementOutcome::refused, "invalid_exact_evm_nonce_already_used", 1},
      {"bad, it does not say why", 200, R"({"isValid":false})", SettlementOutcome::refused, "refused", 1},
      {"bad, with a reason for no header", 200, R"({"isValid":false,"invalidReason":"a\u0007b"})",
       SettlementOutcome::refused, "refused", 1},
      {"a reason as long as one may be", 200,
       R"({"isValid":false,"invalidReason":")" + std::string(256, 'a') + "\"}", SettlementOutcome::refused,
       nullptr, 1},
      {"one byte longer", 200, R"({"isValid":false,"invalidReason":")" + std::string(257, 'a') + "\"}",
       SettlementOutcome::refused, "refused", 1},
      {"who asks is nobody it knows", 401, R"({"isValid":false,"invalidReason":"invalid_key"})",
       SettlementOutcome::unavailable, "", 1},
      {"not found", 404, R"({"isValid":false,"invalidReason":"a"})", SettlementOutcome::unavailable, "", 1},
      {"a bad request", 400, R"({"error":"Invalid request"})", SettlementOutcome::unavailable, "", 1},
      {"its own trouble", 200, R"({"isValid":false,"invalidReason":"unexpected_verify_error"})",
       SettlementOutcome::unavailable, "", 1},
      {"its node's trouble", 200,
       R"({"isValid":false,"invalidReason":"invalid_exact_evm_failed_to_get_network_config"})",
       SettlementOutcome::unavailable, "", 1},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    Line line;
    if (row.status == 0)
      line.says({Reply()});
    else
      line.says(row.status, row.body);
    const SettlementAnswer answer = line.open()->verify(payment());
    CHECK(answer.outcome == row.outcome);
    if (row.outcome == SettlementOutcome::refused)
      CHECK(answer.reason == (row.reason != nullptr ? row.reason : std::string(256, 'a')));
    CHECK(line.sent.size() == row.tries);
  }
}

TEST_CASE("what an answer to the first settle comes to") {
  const auto with = [](const std::string& member) {
    return success.substr(0, success.size() - 1) + "," + member + "}";
  };
  const auto moved = [](const std::string& where, const std::string& network = "eip155:8453") {
    return R"({"success":true,"transaction":")" + where + R"(","network":")" + network + "\"}";
  };
  struct Row {
    const char* says;
    int status;
    std::string body;
    SettlementOutcome outcome;
    std::size_t tries = 1;
  };
  const Row rows[] = {
      {"done", 200, success, SettlementOutcome::settled},
      {"done, as version 1 names the network", 200, moved(transaction, "base"), SettlementOutcome::settled},
      {"done, and it does not say where", 200,
       std::string(R"({"success":true,"transaction":")") + transaction + "\"}", SettlementOutcome::settled},
      {"done, in capitals", 200, moved("0x89ABCDEF89ABCDEF89ABCDEF89ABCDEF89ABCDEF89ABCDEF89ABCDEF89ABCDEF"),
       SettlementOutcome::settled},
      {"done, for the amount", 200, with(R"("amount":"1000000")"), SettlementOutcome::settled},
      {"done, for null", 200, with(R"("amount":null)"), SettlementOutcome::settled},
      {"done, for more", 200, with(R"("amount":"1000001")"), SettlementOutcome::unavailable},
      {"done, for less", 200, with(R"("amount":"999999")"), SettlementOutcome::unavailable},
      {"done, for what is no text", 200, with(R"("amount":1000000)"), SettlementOutcome::unavailable},
      {"done, nowhere", 200, R"({"success":true,"network":"eip155:8453"})", SettlementOutcome::unavailable},
      {"done, in nothing", 200, moved(""), SettlementOutcome::unavailable},
      {"done, in zeros", 200, moved("0x" + std::string(64, '0')), SettlementOutcome::unavailable},
      {"done, in what is no hash", 200, moved("0x" + std::string(63, 'a')), SettlementOutcome::unavailable},
      {"done, in letters that are no hash", 200, moved("0x" + std::string(64, 'g')),
       SettlementOutcome::unavailable},
      {"done, elsewhere", 200, moved(transaction, "eip155:84532"), SettlementOutcome::unavailable},
      {"done, for somebody else", 200,
       std::string(R"({"success":true,"transaction":")") + transaction +
           R"(","payer":"0x0000000000000000000000000000000000000001"})",
       SettlementOutcome::unavailable},
      {"done, and an error", 500, success, SettlementOutcome::unavailable, 3},
      {"done, and it refuses", 400, success, SettlementOutcome::unavailable},
      {"done, elsewhere on the web", 307, success, SettlementOutcome::unavailable},
      {"too often", 429, success, SettlementOutcome::unavailable, 3},
      {"no JSON", 200, "done", SettlementOutcome::unavailable, 3},
      {"nothing of x402's", 200, R"({"isValid":true})", SettlementOutcome::unavailable},
      {"under way", 200, refusal("settlement_pending"), SettlementOutcome::pending},
      {"no funds", 200, refusal("insufficient_funds"), SettlementOutcome::refused},
      {"no funds, by its status too", 402, refusal("insufficient_funds"), SettlementOutcome::refused},
      {"too late", 200, refusal("invalid_exact_evm_payload_authorization_valid_before"),
       SettlementOutcome::refused},
      {"a signature that is none", 200, refusal("invalid_exact_evm_payload_signature"),
       SettlementOutcome::refused},
      {"a scheme that it does not know", 200, refusal("unsupported_scheme"), SettlementOutcome::refused},
      {"of somebody else", 200,
       R"({"success":false,"errorReason":"insufficient_funds","payer":"0x0000000000000000000000000000000000000001"})",
       SettlementOutcome::unavailable},
      {"who asks is nobody it knows", 401, refusal("invalid_api_key"), SettlementOutcome::unavailable},
      {"forbidden", 403, refusal("insufficient_funds"), SettlementOutcome::unavailable},
      // Whatever may come after something was sent to a chain.
      {"no funds, and a transaction", 200,
       R"({"success":false,"errorReason":"insufficient_funds","transaction":")" + std::string(transaction) +
           "\"}",
       SettlementOutcome::unavailable},
      {"a used nonce", 200, refusal("invalid_exact_evm_nonce_already_used"), SettlementOutcome::unavailable},
      {"a used nonce, in other words", 200, refusal("nonce_reused"), SettlementOutcome::unavailable},
      {"it reverted", 200, refusal("invalid_transaction_state"), SettlementOutcome::unavailable},
      {"it failed", 200, refusal("invalid_exact_evm_transaction_failed"), SettlementOutcome::unavailable},
      {"it would fail", 200, refusal("invalid_exact_evm_transaction_simulation_failed"),
       SettlementOutcome::unavailable},
      {"twice", 200, refusal("duplicate_settlement"), SettlementOutcome::unavailable},
      {"who knows", 200, refusal("unexpected_settle_error"), SettlementOutcome::unavailable},
      {"not confirmed", 200, refusal("settle_exact_svm_transaction_confirmation_timed_out"),
       SettlementOutcome::unavailable},
      {"a word of its own", 200, refusal("computer_says_no"), SettlementOutcome::unavailable},
      {"a sentence of its own", 200, refusal("unexpected_settle_error: insufficient_funds"),
       SettlementOutcome::unavailable},
      {"too late, maybe after it was sent", 200, refusal("transaction_expired"),
       SettlementOutcome::unavailable},
      {"too late, in another word", 200, refusal("payment_expired"), SettlementOutcome::refused},
      {"no word", 200, R"({"success":false})", SettlementOutcome::unavailable},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.says));
    Line line;
    const auto facilitator = line.verified();
    line.says(row.status, row.body);
    const SettlementAnswer answer = facilitator->settle("k", payment());
    CHECK(answer.outcome == row.outcome);
    CHECK(line.sent.size() == row.tries);
    CHECK_FALSE(answer.credit);
    if (answer.outcome == SettlementOutcome::settled) CHECK(answer.transaction == transaction);
    if (answer.outcome == SettlementOutcome::refused)
      CHECK(row.body.find(answer.reason) != std::string::npos);
  }
}

TEST_CASE("only the first try of the first settle is believed that nothing will ever move") {
  const Reply lost, no_funds = FacilitatorReply{200, refusal("insufficient_funds")};
  const VerifiedPayment of = payment();
  {
    Line line;
    const auto facilitator = line.verified();
    line.says({no_funds});
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::refused);
    // Somebody else's call, at the same moment, knows less.
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::unavailable);
    // Nor does another look make it the first again.
    line.now_ms += 1'000;
    line.says(200, valid);
    CHECK(facilitator->verify(of).outcome == SettlementOutcome::valid);
    line.says({no_funds});
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::unavailable);
  }
  for (const Reply& first : {lost, Reply({500, ""}), Reply({200, "?"})}) {
    Line line;
    const auto facilitator = line.verified();
    line.says({first, no_funds});
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::unavailable);
    CHECK(line.sent.size() == 2);
    CHECK(line.sent[0].body == line.sent[1].body);
    CHECK(line.sent[0].headers == line.sent[1].headers);
    line.now_ms += 1'000;
    // The first try's answer, got by the second one.
    line.says({first, FacilitatorReply{200, success}});
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::settled);
  }
  {
    // A process that knows nothing of it: the one before may have asked.
    Line line;
    line.says({no_funds});
    CHECK(line.open()->settle("k", of).outcome == SettlementOutcome::unavailable);
  }
  {
    // One whose verification was asked for while it was settled.
    Line line;
    std::shared_ptr<Facilitator> facilitator = line.open();
    line.answer = [&](const Line::Sent& sent) -> Reply {
      if (!sent.url.ends_with("/verify")) return no_funds;
      if (line.sent.size() > 1) return FacilitatorReply{200, valid};
      line.now_ms += 300'000;
      CHECK(facilitator->verify(of).outcome == SettlementOutcome::valid);
      CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::refused);
      return FacilitatorReply{200, valid};
    };
    CHECK(facilitator->verify(of).outcome == SettlementOutcome::valid);
    CHECK(facilitator->settle("k", of).outcome == SettlementOutcome::unavailable);
  }
  // What is forgotten is not believed: 1,024 payments and keys are remembered.
  for (const bool one_more : {false, true}) {
    Line line;
    const auto facilitator = line.verified();
    for (int i = 0; i < 1023 + (one_more ? 1 : 0); ++i)
      CHECK(facilitator->verify(payment("0x" + std::to_string(i + 2))).outcome == SettlementOutcome::valid);
    line.says({no_funds});
    CHECK(facilitator->settle("k", of).outcome ==
          (one_more ? SettlementOutcome::unavailable : SettlementOutcome::refused));
  }
}

TEST_CASE("a try that may help is made again, after a pause that grows and is drawn") {
  Line line;
  line.options.tries = 4;
  line.options.pause_ms = 1'000;
  line.drawn = 0;
  const auto least = line.open();
  CHECK(least->verify(payment()).outcome == SettlementOutcome::unavailable);
  CHECK(line.slept == std::vector<std::int64_t>{1'000, 2'000, 4'000});
  CHECK(line.sent.size() == 4);
  line.slept.clear();
  line.drawn = 500;
  const auto most = line.open();
  CHECK(most->settle("k", payment()).outcome == SettlementOutcome::unavailable);
  CHECK(line.slept == std::vector<std::int64_t>{500, 1'500, 3'500});
  // Never longer than a minute.
  line.slept.clear();
  line.drawn = 0;
  line.options.tries = 3;
  line.options.pause_ms = 60'000;
  CHECK(line.open()->verify(payment()).outcome == SettlementOutcome::unavailable);
  CHECK(line.slept == std::vector<std::int64_t>{60'000, 60'000});
  // What the host's functions throw is no answer, and the next try may have one.
  line.answer = [&, at = 0](const Line::Sent&) mutable -> Reply {
    if (at++ == 0) throw std::runtime_error("no route");
    return FacilitatorReply{200, valid};
  };
  CHECK(line.open()->verify(payment()).outcome == SettlementOutcome::valid);
  line.options.authorize = [](std::string_view, std::string_view) -> HeaderFields {
    throw std::runtime_error("no key");
  };
  line.sent.clear();
  CHECK(line.open()->verify(payment()).outcome == SettlementOutcome::unavailable);
  CHECK(line.sent.empty());
  line.options.authorize = nullptr;
  line.answer = [](const Line::Sent&) -> Reply { throw std::bad_alloc(); };
  CHECK_THROWS_AS(line.open()->verify(payment()), std::bad_alloc);
}

TEST_CASE("an answer is read to 64 KB and not beyond") {
  for (const bool too_long : {false, true}) {
    Line line;
    std::string body = valid;
    body.insert(body.size() - 1, facilitator_reply_max - body.size() + (too_long ? 1 : 0), ' ');
    line.says(200, body);
    CHECK(line.open()->verify(payment()).outcome ==
          (too_long ? SettlementOutcome::unavailable : SettlementOutcome::valid));
    CHECK(line.sent.size() == (too_long ? 3 : 1));
  }
}

TEST_CASE("what led nowhere is asked about again after 1 s, then 2 s, up to 5 min") {
  Line line;
  line.options.tries = 1;
  const auto facilitator = line.open();
  CHECK(facilitator->status("k").outcome == SettlementOutcome::unknown);
  std::int64_t wait_ms = 1'000;
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    CHECK(facilitator->settle("k", payment()).outcome == SettlementOutcome::unavailable);
    line.now_ms += wait_ms - 1;
    CHECK(facilitator->status("k").outcome == SettlementOutcome::unavailable);
    CHECK(facilitator->status("other").outcome == SettlementOutcome::unknown);
    line.now_ms += 1;
    CHECK(facilitator->status("k").outcome == SettlementOutcome::unknown);
    wait_ms = std::min<std::int64_t>(2 * wait_ms, 300'000);
  }
  line.says(200, refusal("settlement_pending"));
  CHECK(facilitator->settle("p", payment()).outcome == SettlementOutcome::pending);
  CHECK(facilitator->status("p").outcome == SettlementOutcome::unavailable);
  // And so with verify, which is then not even sent.
  line.sent.clear();
  line.says({Reply()});
  CHECK(facilitator->verify(payment("0x02")).outcome == SettlementOutcome::unavailable);
  CHECK(facilitator->verify(payment("0x02")).outcome == SettlementOutcome::unavailable);
  CHECK(line.sent.size() == 1);
  CHECK(facilitator->verify(payment("0x03")).outcome == SettlementOutcome::unavailable);
  CHECK(line.sent.size() == 2);
  line.now_ms += 1'000;
  line.says(200, valid);
  CHECK(facilitator->verify(payment("0x02")).outcome == SettlementOutcome::valid);
}

TEST_CASE("one at a time asks about a payment") {
  Line line;
  line.options.tries = 1;
  const auto facilitator = line.open();
  line.answer = [&](const Line::Sent&) {
    line.now_ms += 299'999;
    CHECK(facilitator->verify(payment()).outcome == SettlementOutcome::unavailable);
    return FacilitatorReply{200, valid};
  };
  CHECK(facilitator->verify(payment()).outcome == SettlementOutcome::valid);
  CHECK(facilitator->verify(payment()).outcome == SettlementOutcome::valid);
  CHECK(line.sent.size() == 2);
  line.sent.clear();

  const auto somebody_else = [&] {
    CHECK(facilitator->status("k").outcome == SettlementOutcome::unavailable);
    CHECK(facilitator->settle("k", payment()).outcome == SettlementOutcome::pending);
  };
  line.answer = [&](const Line::Sent&) -> Reply {
    somebody_else();
    line.now_ms += 299'999;
    somebody_else();
    if (line.sent.size() == 2) return FacilitatorReply{200, success};
    return std::nullopt;
  };
  CHECK(facilitator->settle("k", payment()).outcome == SettlementOutcome::unavailable);
  // Who heard that it was due before somebody else had no answer is too late as well.
  somebody_else();
  line.now_ms += 1'000;
  CHECK(facilitator->settle("k", payment()).outcome == SettlementOutcome::settled);
  CHECK(line.sent.size() == 2);
  // One that never came back keeps nobody out for ever.
  line.answer = [&](const Line::Sent&) -> Reply {
    line.now_ms += 300'000;
    CHECK(facilitator->status("k").outcome == SettlementOutcome::unknown);
    return std::nullopt;
  };
  CHECK(facilitator->settle("k", payment()).outcome == SettlementOutcome::unavailable);
}

TEST_CASE("what strangers verify drives out no payment whose settlement began") {
  const std::string refused = R"({"isValid":false,"invalidReason":"invalid_payload"})";
  constexpr int room = 1024;
  int nonce = 1;
  const auto another = [&] { return payment("0x" + std::to_string(++nonce)); };
  Line line;
  const auto facilitator = line.verified();
  line.says(503, "");
  CHECK(facilitator->settle("pmt_1", payment()).outcome == SettlementOutcome::unavailable);
  line.now_ms += 300'000;
  line.says(402, refused);
  for (int i = 0; i < room + 2; ++i)
    CHECK(facilitator->verify(another()).outcome == SettlementOutcome::refused);
  // Asked anew, it may have moved the money the first time.
  line.says(200, valid);
  CHECK(facilitator->verify(payment()).outcome == SettlementOutcome::valid);
  line.says(400, refusal("insufficient_funds"));
  CHECK(facilitator->settle("pmt_2", payment()).outcome == SettlementOutcome::unavailable);

  // Whoever waits goes on waiting, and there is no room for one more.
  line.now_ms += 300'000;
  line.says(503, "");
  const VerifiedPayment waits = another();
  for (int i = 0; i < room; ++i)
    CHECK(facilitator->verify(i == 0 ? waits : another()).outcome == SettlementOutcome::unavailable);
  line.sent.clear();
  line.says(200, valid);
  for (const VerifiedPayment& one : {waits, another()})
    CHECK(facilitator->verify(one).outcome == SettlementOutcome::unavailable);
  CHECK(facilitator->settle("pmt_3", another()).outcome == SettlementOutcome::pending);
  CHECK(line.sent.empty());
  line.now_ms += 1'000;
  CHECK(facilitator->verify(waits).outcome == SettlementOutcome::valid);

  // However many began, the next one is settled, and believed.
  line.says(200, success);
  for (int i = 0; i < 2 * room; ++i) {
    const VerifiedPayment one = another();
    line.says(200, valid);
    facilitator->verify(one);
    line.says(400, refusal("insufficient_funds"));
    CHECK(facilitator->settle("pmt_of_" + one.nonce, one).outcome == SettlementOutcome::refused);
  }
}

TEST_CASE("what a chain says ends what a facilitator cannot") {
  struct Row {
    SettlementOutcome seen;
    SettlementOutcome settles;             ///< Where the facilitator refuses with a used nonce.
    SettlementOutcome verifies, on_chain;  ///< Of a payment that names its transaction.
  };
  const Row rows[] = {
      {SettlementOutcome::settled, SettlementOutcome::settled, SettlementOutcome::valid,
       SettlementOutcome::settled},
      {SettlementOutcome::refused, SettlementOutcome::refused, SettlementOutcome::refused,
       SettlementOutcome::refused},
      {SettlementOutcome::pending, SettlementOutcome::pending, SettlementOutcome::pending,
       SettlementOutcome::pending},
      {SettlementOutcome::unknown, SettlementOutcome::unavailable, SettlementOutcome::refused,
       SettlementOutcome::unavailable},
      {SettlementOutcome::valid, SettlementOutcome::unavailable, SettlementOutcome::unavailable,
       SettlementOutcome::unavailable},
      {SettlementOutcome::unavailable, SettlementOutcome::unavailable, SettlementOutcome::unavailable,
       SettlementOutcome::unavailable},
  };
  VerifiedPayment named = payment();
  named.on_chain = transaction;
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.seen));
    Line line;
    line.options.lookup = [&](const VerifiedPayment& of) {
      CHECK(of.nonce == payment().nonce);
      return SettlementAnswer{.outcome = row.seen, .transaction = "t", .reason = "r"};
    };
    const auto facilitator = line.verified();
    line.says(200, refusal("invalid_exact_evm_nonce_already_used"));
    CHECK(facilitator->settle("k", payment()).outcome == row.settles);
    CHECK(line.sent.size() == 1);
    // The next time the chain is asked first, and the facilitator only where it does not know.
    line.now_ms += 1'000;
    CHECK(facilitator->settle("k", payment()).outcome == row.settles);
    CHECK(line.sent.size() == (row.settles == SettlementOutcome::unavailable ? 2 : 1));
    line.sent.clear();
    CHECK(facilitator->verify(named).outcome == row.verifies);
    line.now_ms += 2'000;
    CHECK(facilitator->settle("k", named).outcome == row.on_chain);
    CHECK(line.sent.empty());
  }
  // Nobody to ask, or nobody who answers.
  for (const bool throws : {false, true}) {
    Line line;
    if (throws) line.options.lookup = [](const VerifiedPayment&) -> SettlementAnswer { throw 1; };
    const auto facilitator = line.open();
    CHECK(facilitator->verify(named).outcome == SettlementOutcome::unavailable);
    CHECK(facilitator->settle("k", named).outcome == SettlementOutcome::unavailable);
    CHECK(line.sent.empty());
  }
}

TEST_CASE("options that cannot be meant are refused") {
  struct Row {
    const char* url;
    bool fine;
  };
  const std::string longest = "https://" + std::string(248, 'a');
  const std::string too_long = longest + "a";
  const Row rows[] = {{"https://x402.org/facilitator", true},
                      {"http://127.0.0.1:8402", true},
                      {"http://127.0.0.1/a", true},
                      {"http://localhost:1", true},
                      {"http://[::1]:1/a", true},
                      {longest.c_str(), true},
                      {too_long.c_str(), false},
                      {"", false},
                      {"https://", false},
                      {"http://", false},
                      {"ftp://a", false},
                      {"https://a/", false},
                      {"https://a?b", false},
                      {"https://a#b", false},
                      {"https://a b", false},
                      {"https://u:p@a", false},
                      {"http://a.example", false},
                      {"http://10.0.0.1", false},
                      {"http://127.0.0.1@evil.example", false},
                      {"http://localhost.evil.example", false},
                      {"http://127.0.0.1.evil.example", false},
                      {"http://[::2]", false},
                      {"http://127.0.0.11", false},
                      {"https:///a", false},
                      {"http:/localhost", false}};
  for (const Row& row : rows) {
    CAPTURE(std::string(row.url));
    Line line;
    line.options.url = row.url;
    CHECK(Facilitator::open(line.options).reason() == (row.fine ? Reason::none : Reason::options_invalid));
  }
  const auto refused = [](const std::function<void(FacilitatorOptions&)>& spoil) {
    Line line;
    spoil(line.options);
    return Facilitator::open(line.options).reason() == Reason::options_invalid;
  };
  CHECK(refused([](auto& of) { of.send = nullptr; }));
  CHECK(refused([](auto& of) { of.resource = "https://a/\""; }));
  for (const int tries : {0, 11}) CHECK(refused([=](auto& of) { of.tries = tries; }));
  for (const int tries : {1, 10}) CHECK_FALSE(refused([=](auto& of) { of.tries = tries; }));
  for (const int ms : {0, 300'001}) CHECK(refused([=](auto& of) { of.timeout_ms = ms; }));
  for (const int ms : {1, 300'000}) CHECK_FALSE(refused([=](auto& of) { of.timeout_ms = ms; }));
  for (const int ms : {-1, 60'001}) CHECK(refused([=](auto& of) { of.pause_ms = ms; }));
  for (const int ms : {0, 60'000}) CHECK_FALSE(refused([=](auto& of) { of.pause_ms = ms; }));
}

TEST_CASE("what a facilitator settles is told as it says it") {
  Line line;
  const std::string kinds =
      R"([{"x402Version":1,"scheme":"exact","network":"base"},)"
      R"({"x402Version":2,"scheme":"exact","network":"solana:x","extra":{"feePayer":"F"}}])";
  line.says(200, R"({"kinds":)" + kinds + R"(,"extensions":[],"signers":{}})");
  const auto facilitator = line.open();
  CHECK(core::json::text(facilitator->supported().value()) == kinds);
  CHECK(line.sent.back().method == "GET");
  CHECK(line.sent.back().url == "https://facilitator.example/x402/supported");
  CHECK(line.sent.back().body.empty());
  CHECK(line.sent.back().headers == std::map<std::string, std::string>{{"Accept", "application/json"}});
  for (const Reply& none : {Reply(), Reply({503, ""}), Reply({200, "{}"}), Reply({200, "[]"}),
                            Reply({200, R"({"kinds":{}})"}), Reply({401, R"({"kinds":[]})"})}) {
    line.says({none});
    const auto failed = facilitator->supported();
    CHECK(failed.reason() == Reason::io_error);
    if (!failed.ok())
      CHECK(failed.error().message.ends_with("HTTP status " + std::to_string(none ? none->status : 0)));
  }
}

TEST_CASE("garbage is no answer, and half of an answer says no more than the whole") {
  testing::Dice dice(20261130);
  Line line;
  line.options.tries = 1;
  const auto garbage = [&](std::string body) {
    Line::Sent none;
    for (const int status : {200, 400, 500}) {
      const auto facilitator = line.verified();
      line.says(status, body);
      const SettlementOutcome settles = facilitator->settle("k", payment()).outcome;
      CHECK(settles == SettlementOutcome::unavailable);
      const SettlementOutcome verifies = line.open()->verify(payment()).outcome;
      CHECK(verifies == SettlementOutcome::unavailable);
      static_cast<void>(line.open()->supported());
    }
  };
  for (int i = 0; i < by_scale(200, 2'000, 50'000); ++i) {
    std::string body;
    const std::size_t size = dice.below(64);
    constexpr std::string_view shapes = "{}[]\",:0 \\u\n\xFF";
    for (std::size_t at = 0; at < size; ++at)
      body.push_back(dice.coin() ? shapes[dice.below(shapes.size())] : static_cast<char>(dice.below(256)));
    garbage(body);
  }
  for (std::size_t cut = 0; cut < success.size(); ++cut) garbage(success.substr(0, cut));
  for (std::size_t cut = 0; cut < valid.size(); ++cut) garbage(valid.substr(0, cut));
  garbage(std::string(100'000, '['));
  // A byte changed: it is settled in a hash, for the payment's own credit, or not at all.
  std::size_t settled = 0;
  for (int i = 0; i < by_scale(500, 5'000, 100'000); ++i) {
    std::string body = success;
    body[dice.below(body.size())] = static_cast<char>(dice.below(256));
    const auto facilitator = line.verified();
    line.says(200, body);
    const SettlementAnswer answer = facilitator->settle("k", payment());
    CHECK(answer.outcome != SettlementOutcome::refused);
    if (answer.outcome != SettlementOutcome::settled) continue;
    ++settled;
    CHECK_FALSE(answer.credit);
    CHECK(answer.transaction.size() == 66);
    CHECK(core::read_hex_bytes(answer.transaction));
  }
  CHECK(settled > 0);
}

namespace {

/// A facilitator that settles in a ledger of tokens. It knows no keys and keeps no status, as they are.
struct Fake {
  std::shared_ptr<SimulatedTokens> tokens = SimulatedTokens::open().value();
  std::mutex mutex;
  int calls = 0;
  std::map<std::string, std::string> moved;  ///< The chain's own memory: the transaction, by nonce.
  bool loses = false;                        ///< The answers to settlements.
  bool dies = false;                         ///< The host's process does, in the middle of a settlement.
  std::string claims;                        ///< Members more of its answers to settlements.
  std::function<void()> before_settle = [] {};

  Fake() { fill("1000000"); }
  void fill(const std::string& with) {
    CHECK(tokens->mint({.network = "eip155:8453", .asset = usdc, .address = payer}, with).ok());
  }
  std::string received() {
    return tokens->balance({.network = "eip155:8453", .asset = usdc, .address = pay_to}).value();
  }

  Reply answer(const FacilitatorRequest& asked) {
    const std::lock_guard lock(mutex);
    const Value body = read_json(asked.body).value();
    const Value& terms = *body.find("paymentRequirements");
    const Value& given = *body.find("paymentPayload")->find("payload")->find("authorization");
    const bool v1 = *body.find("x402Version") == Value(1);
    const auto address = [](const Value& in, const char* name) {
      return core::lower_text(core::read_evm_address(text_of(in, name)).value());
    };
    VerifiedPayment of{.network = "eip155:8453",
                       .asset = address(terms, "asset"),
                       .payer = address(given, "from"),
                       .pay_to = address(given, "to"),
                       .nonce = text_of(given, "nonce"),
                       .amount = text_of(given, "value")};
    CHECK(text_of(terms, v1 ? "maxAmountRequired" : "amount") == of.amount);
    CHECK(text_of(terms, "network") == (v1 ? "base" : "eip155:8453"));
    CHECK(address(terms, "payTo") == of.pay_to);
    if (asked.url.ends_with("/verify")) {
      const SettlementAnswer said = tokens->verify(of);
      if (said.outcome == SettlementOutcome::valid) return FacilitatorReply{200, valid};
      return FacilitatorReply{200, R"({"isValid":false,"invalidReason":")" + said.reason + "\"}"};
    }
    before_settle();
    const SettlementAnswer said = tokens->settle("call" + std::to_string(++calls), of);
    if (said.outcome == SettlementOutcome::settled) moved[of.nonce] = said.transaction;
    if (dies) throw std::runtime_error("killed");
    if (loses) return std::nullopt;
    if (said.outcome != SettlementOutcome::settled) return FacilitatorReply{200, refusal(said.reason)};
    return FacilitatorReply{200, R"({"success":true,"transaction":")" + said.transaction +
                                     R"(","network":")" + text_of(terms, "network") + "\"" + claims + "}"};
  }
  SettlementAnswer look(const VerifiedPayment& of) {
    const std::lock_guard lock(mutex);
    const auto found = moved.find(of.nonce);
    if (found == moved.end()) return {.outcome = SettlementOutcome::unknown};
    return {.outcome = SettlementOutcome::settled, .transaction = found->second};
  }
};

enum class Chain { asked, unasked };

struct Till {
  std::int64_t now_us = 1'767'225'600'000'000;
  std::int64_t now_ms = 0;
  std::shared_ptr<Fake> fake;
  Engine engine;
  Session all;

  Till(std::shared_ptr<Fake> with, Chain chain, const std::string& path = {})
      : fake(std::move(with)),
        engine(Engine::open(options(chain, path)).value()),
        all(engine.as_operator()) {}
  Options options(Chain chain, const std::string& path) {
    FacilitatorOptions to;
    to.url = "https://facilitator.example";
    to.send = [this](const FacilitatorRequest& asked) { return fake->answer(asked); };
    to.sleep = [](std::int64_t) {};
    to.now_ms = [this] { return now_ms; };
    if (chain == Chain::asked) to.lookup = [this](const VerifiedPayment& of) { return fake->look(of); };
    Options out;
    out.path = path;
    out.now_us = [this] { return now_us; };
    out.settlement = Facilitator::open(to).value();
    return out;
  }
  WalletId wallet() {
    PaymentTermsChange change;
    change.base_url = "https://calyx.example";
    change.networks.emplace().push_back(
        {.network = "base", .pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"});
    CHECK(all.change_settings(change, std::nullopt).ok());
    return all.create_wallet({.owner_id = "a"}).value().wallet.id;
  }
  Payment pay(QuoteId id, PaymentHeader header, const std::string& text) {
    Result<PaymentAnswer> answer = all.pay_quote(id, {.header = header, .text = text});
    REQUIRE_MESSAGE(answer.ok(), answer.error().message);
    return answer->payment;
  }
  Money balance(WalletId of) { return all.wallet(of).value().balance; }
  void sound() {
    const AuditReport report = all.audit({}, AuditDepth::each).value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
};

constexpr Money dollar{100'000'000};

bool built(const char* test) {
  if (crypto::secp256k1_built()) return true;
  CHECK(testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

}  // namespace

TEST_CASE("a quote is paid through a facilitator, by what real clients signed") {
  if (!built("engine.facilitator.quote")) return;
  for (const bool v1 : {true, false}) {
    CAPTURE(v1);
    Till till(std::make_shared<Fake>(), Chain::unasked);
    const WalletId wallet = till.wallet();
    const QuoteId id = till.all.quote_topup({.wallet = wallet, .amount = dollar}).value().id;
    const auto header = v1 ? PaymentHeader::x_payment : PaymentHeader::payment_signature;
    const std::string text = v1 ? real_v1() : real_v2();
    const Payment paid = till.pay(id, header, text);
    CHECK(paid.status == PaymentStatus::paid);
    CHECK(paid.credited == dollar);
    CHECK(paid.transaction.size() == 66);
    CHECK(till.balance(wallet) == dollar);
    CHECK(till.fake->received() == "1000000");
    CHECK(till.pay(id, header, text).replayed);
    CHECK(till.fake->calls == 1);
    till.sound();
  }
  // A payer without funds is told so, before and at the settlement.
  for (const bool at_settle : {false, true}) {
    Till till(std::make_shared<Fake>(), Chain::unasked);
    const WalletId wallet = till.wallet();
    const QuoteId id = till.all.quote_topup({.wallet = wallet, .amount = dollar}).value().id;
    const auto spend = [&] {
      CHECK(till.fake->tokens->settle("x", payment("0x07")).outcome == SettlementOutcome::settled);
    };
    if (at_settle)
      till.fake->before_settle = spend;
    else
      spend();
    const Payment failed = till.pay(id, PaymentHeader::payment_signature, real_v2());
    CHECK(failed.status == PaymentStatus::failed);
    CHECK(failed.error == "insufficient_funds");
    CHECK(till.balance(wallet) == Money{});
    till.sound();
  }
}

TEST_CASE("a facilitator credits no more than was paid, whatever it claims") {
  if (!built("engine.facilitator.hostile")) return;
  for (const char* claims : {R"(,"amount":"999999999999999")", R"(,"amount":"0")", R"(,"amount":-1)",
                             R"(,"credit":"999999999","amount":"1000000")"}) {
    CAPTURE(std::string(claims));
    Till till(std::make_shared<Fake>(), Chain::asked);
    const WalletId wallet = till.wallet();
    const QuoteId id = till.all.quote_topup({.wallet = wallet, .amount = dollar}).value().id;
    till.fake->claims = claims;
    const Payment paid = till.pay(id, PaymentHeader::payment_signature, real_v2());
    CHECK(paid.status == PaymentStatus::paid);
    CHECK(till.balance(wallet) == dollar);
    till.sound();
  }
}

TEST_CASE("a settlement whose answer is lost is credited once a chain is asked, once, and never failed") {
  if (!built("engine.facilitator.lost")) return;
  const store::Scratch scratch;
  int market = 0;
  for (const bool dies : {false, true})
    for (const bool has_more : {false, true}) {
      CAPTURE(dies);
      CAPTURE(has_more);
      const std::string path = scratch / ("market" + std::to_string(++market));
      const auto fake = std::make_shared<Fake>();
      // Its refusals of what was settled already: a used nonce, or, once the payer has nothing left, no
      // funds.
      if (has_more) fake->fill("1000000");
      WalletId wallet;
      QuoteId id;
      {
        Till till(fake, Chain::unasked, path);
        wallet = till.wallet();
        id = till.all.quote_topup({.wallet = wallet, .amount = dollar}).value().id;
        (dies ? fake->dies : fake->loses) = true;
        CHECK(till.pay(id, PaymentHeader::payment_signature, real_v2()).status == PaymentStatus::settling);
        CHECK(fake->received() == "1000000");
        CHECK(fake->calls == 3);
        fake->dies = fake->loses = false;
        // Within the pause nobody is asked; then it is refused, which proves nothing.
        CHECK(till.all.settle_payments().value().waiting == 1);
        CHECK(fake->calls == 3);
        till.now_ms += 1'000;
        CHECK(till.all.settle_payments().value().waiting == 1);
        CHECK(fake->calls == 4);
      }
      {
        // Another process, long after the payer's word has ended.
        Till till(fake, Chain::unasked, path);
        till.now_us += 3'600 * core::us_per_second;
        CHECK(till.pay(id, PaymentHeader::payment_signature, real_v2()).status == PaymentStatus::settling);
        CHECK(till.balance(wallet) == Money{});
        till.sound();
      }
      Till till(fake, Chain::asked, path);
      till.now_us += 7'200 * core::us_per_second;
      CHECK(till.all.settle_payments().value().paid == 1);
      const Payment paid = till.pay(id, PaymentHeader::payment_signature, real_v2());
      CHECK(paid.status == PaymentStatus::paid);
      CHECK(paid.replayed);
      CHECK(till.balance(wallet) == dollar);
      CHECK(fake->received() == "1000000");
      CHECK(fake->tokens->settlements().value() == 1);
      till.sound();
    }
}

TEST_CASE("many threads that present one payment are all told of one credit") {
  if (!built("engine.facilitator.threads")) return;
  for (int round = 0; round < by_scale(2, 8, 50); ++round) {
    Till till(std::make_shared<Fake>(), Chain::asked);
    const WalletId wallet = till.wallet();
    const QuoteId id = till.all.quote_topup({.wallet = wallet, .amount = dollar}).value().id;
    const std::string text = real_v2();
    std::atomic<int> paid{0}, failed{0};
    std::vector<std::thread> threads;
    threads.reserve(16);
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&] {
        const auto answer =
            till.all.pay_quote(id, {.header = PaymentHeader::payment_signature, .text = text});
        if (answer.ok() && answer->payment.status == PaymentStatus::paid) ++paid;
        if (!answer.ok() || answer->payment.status == PaymentStatus::failed) ++failed;
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(paid >= 1);
    CHECK(till.pay(id, PaymentHeader::payment_signature, text).status == PaymentStatus::paid);
    CHECK(till.balance(wallet) == dollar);
    CHECK(till.fake->received() == "1000000");
    till.sound();
  }
}
