// Calls that bring a payment in place of a key, at a route of the test's own.
#include <atomic>
#include <calyx/core/solana.hpp>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/paying.hpp"
#include "payments/payer_for_tests.hpp"
#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/till.hpp"
#include "wire/writers.hpp"

namespace core = calyx::core;
using calyx::Reason;
using wire_test::Answer;
using wire_test::built;
using wire_test::client_address;
using wire_test::real_v1;
using wire_test::real_v2;
using wire_test::Till;
using wire_test::unpacked;
using wire_test::json::Value;

namespace {

struct Order {
  std::string name;
  calyx::Money amount;
};
calyx::Result<Order> order_in(calyx::wire::Call& call) {
  CALYX_TRY(const Value body, calyx::wire::read_body(call.request));
  calyx::wire::Fields fields(body);
  Order out;
  fields.read("name", out.name);
  fields.read("amount", out.amount);
  CALYX_CHECK(fields.done());
  return out;
}

/// What is sold: an escrow of the order's amount, in its payer's wallet.
calyx::Result<calyx::Response> sell(calyx::wire::Call& call) {
  CALYX_TRY(const Order order, order_in(call));
  const calyx::Spend asked{
      .wallet = *call.session->principal().wallet, .job_id = order.name, .amount = order.amount};
  CALYX_TRY(const calyx::Spent spent, call.session->spend(asked));
  std::string out;
  calyx::wire::Members(out).id("wallet_id", asked.wallet).money("held", asked.amount).close();
  return calyx::wire::json_response(200, std::move(out),
                                    spent.replayed ? calyx::wire::Replay::again : calyx::wire::Replay::first);
}

const calyx::wire::Route route{.method = calyx::wire::Method::post,
                               .path = "/test/orders",
                               .access = calyx::wire::Access::key,
                               .handle = sell,
                               .price = [](calyx::wire::Call& call) -> calyx::Result<calyx::Money> {
                                 CALYX_TRY(const Order order, order_in(call));
                                 return order.amount;
                               }};

struct Shop : Till {
  Answer order(calyx::HeaderFields headers = {}, const std::string& body = R"({"name":"n","amount":100})") {
    const calyx::Request request{"POST", "/test/orders", std::move(headers), body};
    calyx::wire::Call call{.engine = engine,
                           .request = request,
                           .path = "/test/orders",
                           .query = {},
                           .id = {},
                           .key = {},
                           .session = {}};
    const calyx::Result<calyx::Response> made = calyx::wire::answer_of(call, route);
    const calyx::Response response = made.ok() ? *made : calyx::wire::error_response(made.error());
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  }
  std::size_t wallets() { return engine.as_operator().wallets({.limit = 1000}).value().items.size(); }
  std::string wallet_at(const std::string& address) {
    for (const calyx::Wallet& one : engine.as_operator().wallets({.limit = 1000}).value().items)
      if (one.owner_id == "eip155:8453:" + address) return one.id.text();
    return "none";
  }
  std::string at(const std::string& of, const char* member) {
    return ask("GET", "/v1/wallets/" + of, op).at(member);
  }
  void sound() {
    const auto report = engine.as_operator().audit({}, calyx::AuditDepth::each).value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
};

const calyx::HeaderFields by_v2() { return {{"PAYMENT-SIGNATURE", real_v2()}}; }

}  // namespace

TEST_CASE("XM-05, SG-02, SG-08: a call without a key says what it costs, and the payment makes it, once") {
  if (!built("wire.paid_calls")) return;
  for (const bool v1 : {false, true}) {
    CAPTURE(v1);
    Shop shop;
    const calyx::HeaderFields words =
        v1 ? calyx::HeaderFields{{"X-PAYMENT", real_v1()}} : calyx::HeaderFields(by_v2());
    const Answer asked = shop.order();
    CHECK(asked.status == 402);
    CHECK(asked.at("code") == "payment_required");
    CHECK(asked.at("accepts.0.resource") == "https://calyx.example/test/orders");
    CHECK(asked.at("accepts.0.maxAmountRequired") == "1000000");
    CHECK(unpacked(asked.header("PAYMENT-REQUIRED")).find("accepts")->array()->size() == 1);
    CHECK(asked.header("WWW-Authenticate").starts_with("Payment "));
    CHECK(asked.header("Cache-Control") == "no-store");
    // What is refused anyway nobody is asked to pay for.
    CHECK(shop.order({}, R"({"name":"n","amount":100,"x":1})").code() == "field_unknown");
    CHECK(shop.order(words, R"({"name":"n","amount":0})").status == 422);
    CHECK(shop.wallets() == 1);

    const Answer made = shop.order(words);
    REQUIRE_MESSAGE(made.status == 200, made.body);
    CHECK(made.members() == "wallet_id held");
    CHECK(made.header("Cache-Control") == "private");
    const Value said = unpacked(made.header(v1 ? "X-PAYMENT-RESPONSE" : "PAYMENT-RESPONSE"));
    CHECK(*said.find("success") == Value(true));
    const std::string wallet = shop.wallet_at(client_address);
    CHECK(made.at("wallet_id") == wallet);
    CHECK(shop.wallets() == 2);
    CHECK(shop.at(wallet, "balance") == "0.0");
    CHECK(shop.at(wallet, "held") == "100.0");

    // Its answer was lost: the same call again, also when its words have long ended, or nobody settles any
    // more.
    shop.pass_s(7'200);
    shop.engine.set_settlement(nullptr);
    const Answer again = shop.order(words);
    CHECK(again.status == 200);
    CHECK(again.replayed());
    CHECK(again.body == made.body);
    CHECK(shop.tokens->settlements().value() == 1);
    // And no other call, whatever else the wallet has by now.
    REQUIRE(shop.ask("POST", "/v1/wallets/" + wallet + "/topup", shop.op, R"({"amount":500})").status == 200);
    const Answer other = shop.order(words, R"({"name":"m","amount":100})");
    CHECK(other.status == 403);
    CHECK(other.code() == "budget_spent");
    CHECK(shop.at(wallet, "balance") == "500.0");
    CHECK(shop.at(wallet, "held") == "100.0");
    // The words pay in one header.
    CHECK(shop.order({{v1 ? "PAYMENT-SIGNATURE" : "X-PAYMENT", words[0].value}}).code() == "payment_reused");
    shop.sound();
  }
}

TEST_CASE("XM-05, XM-37: a call is paid for on Solana, by what a real client signed") {
  Shop shop;
  for (const Value& row : wire_test::vectors("x402_exact_svm.json")) {
    if (wire_test::text_of(row, "name") != "svm_devnet_1usd") continue;
    const Value& terms = *row.find("payment_requirements");
    const std::string payer = wire_test::text_of(*row.find("payer"), "address");
    const std::string fee_payer = wire_test::text_of(*row.find("fee_payer"), "address");
    const Answer set =
        shop.ask("PUT", "/v1/settings", shop.op,
                 R"({"networks":[{"network":"solana-devnet","pay_to":")" +
                     wire_test::text_of(terms, "payTo") + R"(","fee_payer":")" + fee_payer + "\"}]}");
    REQUIRE_MESSAGE(set.status == 200, set.body);
    REQUIRE(shop.tokens
                ->mint({.network = wire_test::text_of(terms, "network"),
                        .asset = wire_test::text_of(terms, "asset"),
                        .address = payer},
                       "1000000")
                .ok());
    const Answer asked = shop.order();
    CHECK(asked.status == 402);
    CHECK(asked.at("accepts.0.extra.feePayer") == fee_payer);
    CHECK(asked.at("accepts.0.extra.memo") == "absent");  // its client makes its own
    const Value offered = unpacked(asked.header("PAYMENT-REQUIRED"));
    // What is offered is what the client was offered, but for how long it is good; of that nothing is signed.
    wire_test::json::Object entry = *(*offered.find("accepts")->array())[0].object();
    wire_test::json::Object payment = *row.find("payload")->object();
    payment.set("accepted", Value(entry));
    entry.set("maxTimeoutSeconds", 60);
    CHECK(Value(std::move(entry)) == terms);

    const calyx::HeaderFields words = {
        {"PAYMENT-SIGNATURE", core::base64(wire_test::json::text(Value(std::move(payment))))}};
    const Answer made = shop.order(words);
    REQUIRE_MESSAGE(made.status == 200, made.body);
    CHECK(*unpacked(made.header("PAYMENT-RESPONSE")).find("payer") == Value(payer));
    const std::string wallet = made.at("wallet_id");
    CHECK(shop.at(wallet, "owner_id") == "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + payer);
    CHECK(shop.at(wallet, "held") == "100.0");
    CHECK(shop.order(words).replayed());
    CHECK(shop.tokens->settlements().value() == 1);
    CHECK(shop.wallets() == 2);
    shop.sound();
    return;
  }
  FAIL("the vector is not there");
}

TEST_CASE("XM-01: the id of a payment on Solana is of whom its transaction names") {
  for (const Value& row : wire_test::vectors("x402_exact_svm.json")) {
    if (wire_test::text_of(row, "name") != "svm_devnet_1usd") continue;
    const std::string payer = wire_test::text_of(*row.find("payer"), "address");
    const std::string bytes =
        core::unbase64(wire_test::text_of(*row.find("payload")->find("payload"), "transaction")).value();
    const auto named = [&](const std::string& transaction) {
      wire_test::json::Object payment = *row.find("payload")->object();
      payment.set("payload", wire_test::json::object({{"transaction", core::base64(transaction)}}));
      payment.set("extensions",
                  *calyx::read_json(R"({"payment-identifier":{"info":{"id":"pay_7d5d747be160e280"}}})"));
      const std::string text = core::base64(wire_test::json::text(Value(std::move(payment))));
      return calyx::engine::identifier_of({.header = calyx::PaymentHeader::payment_signature, .text = text});
    };
    CHECK(named(bytes) == payer + " pay_7d5d747be160e280");
    const auto changed = [&](const std::string& octets) {
      std::string out = bytes;
      const std::size_t at = out.find(octets);
      REQUIRE(at != std::string::npos);
      out[at] = static_cast<char>(out[at] ^ 1);
      return out;
    };
    // What it signs for again is another transaction by the same payer.
    const std::string mint = wire_test::text_of(*row.find("payment_requirements"), "asset");
    CHECK(named(changed(std::string(core::chars(*core::solana::read_address(mint))))) == named(bytes));
    const std::string other = named(changed(std::string(core::chars(*core::solana::read_address(payer)))));
    CHECK(other != named(bytes));
    CHECK(other.ends_with(" pay_7d5d747be160e280"));
    return;
  }
  FAIL("the vector is not there");
}

TEST_CASE("XM-05, SG-02: a host sells calls of its own, whose payments it hands on with its key") {
  if (!built("wire.paid_calls")) return;
  for (const bool v1 : {false, true}) {
    CAPTURE(v1);
    Shop shop;
    const auto charge = [&](const std::string& body, calyx::HeaderFields headers = {}) {
      return shop.ask("POST", "/v1/paid-calls", shop.op, body, std::move(headers));
    };
    const std::string body = R"({"price":"100","resource":"/render"})";
    const calyx::HeaderFields words =
        v1 ? calyx::HeaderFields{{"X-PAYMENT", real_v1()}} : calyx::HeaderFields(by_v2());
    const Answer asked = charge(body);
    CHECK(asked.status == 402);
    CHECK(asked.at("code") == "payment_required");
    CHECK(asked.at("accepts.0.resource") == "https://calyx.example/render");
    CHECK(asked.header("WWW-Authenticate").starts_with("Payment "));
    CHECK(charge(R"({"price":"101"})", words).at("code") == "payment_invalid");
    CHECK(shop.wallets() == 1);
    const Answer paid = charge(body, words);
    REQUIRE_MESSAGE(paid.status == 200, paid.body);
    CHECK(paid.members() == "wallet_id fresh payment");
    CHECK(paid.at("fresh") == "true");
    CHECK(paid.at("payment.status") == "paid");
    CHECK(paid.at("payment.credited") == "100.0");
    CHECK(!paid.header(v1 ? "X-PAYMENT-RESPONSE" : "PAYMENT-RESPONSE").empty());
    const std::string wallet = shop.wallet_at(client_address);
    CHECK(paid.at("wallet_id") == wallet);
    CHECK(shop.at(wallet, "balance") == "100.0");
    const Answer again = charge(body, words);
    CHECK(again.replayed());
    CHECK(again.body == paid.body);
    CHECK(shop.tokens->settlements().value() == 1);
    // What it bought the host takes from the wallet, by the payment's own name.
    const std::string spend = R"({"amount":100,"job_id":")" + paid.at("payment.payment_id") + "\"}";
    for (int i = 0; i < 2; ++i)
      CHECK(shop.ask("POST", "/v1/wallets/" + wallet + "/spend", shop.op, spend).status == 200);
    CHECK(shop.at(wallet, "held") == "100.0");

    // Of the same payment it pays for no dearer call, and a host sees that its time is over.
    const Answer dearer = charge(R"({"price":"100.000001"})", words);
    CHECK(dearer.status == 402);
    CHECK(dearer.at("code") == "payment_insufficient");
    CHECK(dearer.at("details.payment_id") == paid.at("payment.payment_id"));
    CHECK(dearer.at("accepts.0.maxAmountRequired") == "1000001");
    CHECK(charge(R"({"price":"99"})", words).body == paid.body);
    shop.pass_s(900);
    CHECK(charge(body, words).at("fresh") == "true");
    shop.pass_s(1);
    const Answer stale = charge(body, words);
    CHECK(stale.status == 200);
    CHECK(stale.replayed());
    CHECK(stale.at("fresh") == "false");
    CHECK(stale.at("payment.payment_id") == paid.at("payment.payment_id"));

    CHECK(charge(R"({"price":0})").code() == "amount_zero");
    for (const std::string& path : {std::string("render"), "/" + std::string(1024, 'a')})
      CHECK(charge(R"({"price":1,"resource":")" + path + "\"}").field() == "/resource");
    CHECK(charge(R"({"price":1,"resource":"/)" + std::string(1023, 'a') + "\"}").status == 402);
    CHECK(shop.ask("POST", "/v1/paid-calls", shop.key, body, words).code() == "operator_only");
    shop.sound();
  }
}

TEST_CASE("who says who asks is asked for a key, good or not, and pays from the wallet") {
  Shop shop;
  CHECK(shop.order({{"X-API-Key", "cyx_live_no"}}).status == 401);
  CHECK(shop.order({{"Authorization", "Bearer x402c_no"}}).status == 401);
  CHECK(shop.order({{"X-Auth-Chain", "base"}}).status == 401);
  const Answer lacks = shop.order({{"X-API-Key", shop.key}});
  CHECK(lacks.status == 402);
  CHECK(lacks.code() == "insufficient_balance");
  REQUIRE(shop.ask("POST", "/v1/wallets/" + shop.wallet + "/topup", shop.op, R"({"amount":100})").status ==
          200);
  CHECK(shop.order({{"X-API-Key", shop.key}}).status == 200);
  CHECK(shop.balance() == "0.0");
  // Where no payments are taken a key is what is missing.
  REQUIRE(shop.ask("PUT", "/v1/settings", shop.op, R"({"networks":[]})").status == 200);
  CHECK(shop.order().status == 401);
  CHECK(shop.order().code() == "unauthorized");
}

TEST_CASE("a payment that does not fit the call, or would not settle, leaves nothing behind") {
  if (!built("wire.paid_calls")) return;
  Shop shop;
  const Answer dearer = shop.order(by_v2(), R"({"name":"n","amount":101})");
  CHECK(dearer.status == 402);
  CHECK(dearer.at("code") == "payment_invalid");
  CHECK(dearer.at("accepts.0.maxAmountRequired") == "1010000");
  CHECK(shop.order({{"X-PAYMENT", "?"}}).status == 400);
  CHECK(shop.order({{"X-PAYMENT", real_v1()}, {"PAYMENT-SIGNATURE", real_v2()}}).code() ==
        "payment_malformed");
  // The backend is asked before a stranger is given a wallet.
  struct Refusing final : calyx::SettlementBackend {
    calyx::SettlementOutcome says = calyx::SettlementOutcome::refused;
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment&) override {
      return {.outcome = says, .reason = "insufficient_funds"};
    }
    calyx::SettlementAnswer settle(std::string_view, const calyx::VerifiedPayment&) override {
      return {.outcome = calyx::SettlementOutcome::refused, .reason = "insufficient_funds"};
    }
    calyx::SettlementAnswer status(std::string_view) override { return {}; }
  };
  const auto refusing = std::make_shared<Refusing>();
  shop.engine.set_settlement(refusing);
  const Answer refused = shop.order(by_v2());
  CHECK(refused.status == 402);
  CHECK(refused.at("details.code") == "insufficient_funds");
  refusing->says = calyx::SettlementOutcome::unavailable;
  const Answer unsaid = shop.order(by_v2());
  CHECK(unsaid.status == 503);
  CHECK(unsaid.code() == "outcome_unknown");
  CHECK(shop.wallets() == 1);
  // One that was good and then does not settle has failed for good.
  refusing->says = calyx::SettlementOutcome::valid;
  for (int i = 0; i < 2; ++i) {
    const Answer failed = shop.order(by_v2());
    CHECK(failed.status == 402);
    CHECK(failed.at("code") == "payment_invalid");
    CHECK(failed.at("details.code") == "insufficient_funds");
    CHECK(failed.at("accepts.0.maxAmountRequired") == "1000000");  // it can be paid anew
    CHECK(failed.header("WWW-Authenticate").starts_with("Payment "));
  }
  CHECK(shop.wallets() == 2);
  CHECK(shop.at(shop.wallet_at(client_address), "balance") == "0.0");
  shop.sound();
}

TEST_CASE("a call whose payment still settles is not made yet, and the same call ends it") {
  if (!built("wire.paid_calls")) return;
  Shop shop;
  // The first word, that it would settle, is the only one that comes at once.
  struct Slow final : calyx::SettlementBackend {
    std::shared_ptr<calyx::SimulatedTokens> tokens;
    bool done = false;
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment& of) override { return tokens->verify(of); }
    calyx::SettlementAnswer settle(std::string_view key, const calyx::VerifiedPayment& of) override {
      calyx::SettlementAnswer answer = tokens->settle(key, of);
      return done ? answer : calyx::SettlementAnswer{.outcome = calyx::SettlementOutcome::pending};
    }
    calyx::SettlementAnswer status(std::string_view key) override {
      return done ? tokens->status(key)
                  : calyx::SettlementAnswer{.outcome = calyx::SettlementOutcome::pending};
    }
  };
  const auto slow = std::make_shared<Slow>();
  slow->tokens = shop.tokens;
  shop.engine.set_settlement(slow);
  for (int i = 0; i < 2; ++i) {
    const Answer waits = shop.order(by_v2());
    CHECK(waits.status == 503);
    CHECK(waits.code() == "outcome_unknown");
    CHECK(waits.header("PAYMENT-RESPONSE").empty());
  }
  const std::string wallet = shop.wallet_at(client_address);
  CHECK(shop.at(wallet, "balance") == "0.0");
  slow->done = true;
  // Whoever settles: then the call finds it paid.
  CHECK(shop.engine.as_operator().settle_payments().value().paid == 1);
  CHECK(shop.at(wallet, "balance") == "100.0");
  CHECK(shop.order(by_v2()).status == 200);
  CHECK(shop.at(wallet, "held") == "100.0");
  CHECK(shop.tokens->settlements().value() == 1);
  shop.sound();
}

TEST_CASE("many threads that make one paid call make it once") {
  if (!built("wire.paid_calls")) return;
  Shop shop;
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  threads.reserve(16);
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      if (shop.order(by_v2()).status == 200) ++made;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 16);
  CHECK(shop.order(by_v2()).status == 200);
  const std::string wallet = shop.wallet_at(client_address);
  CHECK(shop.at(wallet, "balance") == "0.0");
  CHECK(shop.at(wallet, "held") == "100.0");
  CHECK(shop.tokens->settlements().value() == 1);
  CHECK(shop.wallets() == 2);
  shop.sound();
}

#if CALYX_HAVE_SECP256K1
TEST_CASE("XM-39: who pays by MPP without a key is given one, once") {
  const calyx::crypto::for_tests::EvmWallet payer(std::string(31, '\0') + "\x2a");
  const std::string address = core::lower_text(payer.address());
  Shop shop;
  shop.fill(address);
  const auto credential = [&] { return wire_test::credential_for(shop, payer, shop.order()); };
  const std::string words = credential();
  const Answer made = shop.order({{"Authorization", words}});
  REQUIRE_MESSAGE(made.status == 200, made.body);
  CHECK(made.members() ==
        "wallet_id held management_api_key management_api_key_id management_api_key_last4 management_note");
  CHECK(made.header("Cache-Control") == "no-store");
  CHECK(!made.header("Payment-Receipt").empty());
  std::string key = made.at("management_api_key");
  CHECK(key.starts_with("x402c_"));
  CHECK(key.ends_with(made.at("management_api_key_last4")));
  // It is the payer's, for all that such keys do.
  CHECK(shop.send("GET", "/compute/credits/balance", {}, {{"X-API-Key", key}}).at("balance") == "0.00");
  CHECK(shop.send("GET", "/v1/wallets/" + shop.wallet_at(address), {}, {{"X-API-Key", key}}).status == 200);
  const Answer keys = shop.send("GET", "/compute/api-keys", {}, {{"X-API-Key", key}});
  CHECK(keys.at("api_keys.0.id") == made.at("management_api_key_id"));

  const Answer again = shop.order({{"Authorization", words}});
  CHECK(again.status == 200);
  CHECK(again.at("management_api_key") == "null");
  CHECK(again.at("management_api_key_id") == made.at("management_api_key_id"));
  CHECK(again.at("management_note") != made.at("management_note"));

  // A challenge of a call is for calls, one of a quote for that; and each is paid for by one payment.
  const std::string second = credential();
  CHECK(second != words);
  CHECK(shop.pay(shop.quote(), "Authorization", second).at("error") == "invalid-challenge");
  const std::string of_quote =
      wire_test::credential_for(shop, payer, shop.ask("POST", shop.quote(), shop.key));
  const Answer wrong = shop.order({{"Authorization", of_quote}});
  CHECK(wrong.status == 402);
  CHECK(wrong.at("type") == "https://paymentauth.org/problems/invalid-challenge");
  CHECK(shop.order({{"Authorization", second}}, R"({"name":"m","amount":101})").status == 402);
  const std::string last = credential();
  shop.pass_s(901);
  CHECK(shop.order({{"Authorization", last}}).at("type") ==
        "https://paymentauth.org/problems/payment-expired");

  // Who has a key is given no other; one that is revoked is made up for, as long as the payment is fresh.
  const auto paid_again = [&](const char* name) {
    const std::string body = R"({"name":")" + std::string(name) + R"(","amount":100})";
    return shop.order({{"Authorization", wire_test::credential_for(shop, payer, shop.order({}, body))}},
                      body);
  };
  const Answer more = paid_again("o");
  CHECK(more.at("management_api_key") == "null");
  CHECK(more.at("management_api_key_id") == made.at("management_api_key_id"));
  const std::string id = shop.engine.as_operator()
                             .keys(calyx::WalletId::read(shop.wallet_at(address)).value())
                             .value()
                             .items.at(0)
                             .id.text();
  REQUIRE(shop.ask("DELETE", "/v1/keys/" + id, shop.op).status == 200);
  const Answer next = paid_again("p");
  CHECK(next.at("management_api_key").starts_with("x402c_"));
  key = next.at("management_api_key");

  // A call that fails shows no key; its money stays in the wallet.
  const std::string third = credential();
  REQUIRE(
      shop.ask("PATCH", "/v1/wallets/" + shop.wallet_at(address), shop.op, R"({"status":"frozen"})").status ==
      200);
  const Answer taken = shop.order({{"Authorization", third}}, R"({"name":"m","amount":100})");
  CHECK(taken.status == 403);
  CHECK(taken.code() == "wallet_not_active");
  CHECK(taken.members() == "error");
  CHECK(shop.at(shop.wallet_at(address), "balance") == "100.0");
  CHECK(shop.send("GET", "/compute/api-keys", {}, {{"X-API-Key", key}}).find("api_keys")->array()->size() ==
        2);
  // Nor does the payment show one long after, to whoever has its words by then.
  REQUIRE(
      shop.ask("PATCH", "/v1/wallets/" + shop.wallet_at(address), shop.op, R"({"status":"active"})").status ==
      200);
  shop.pass_s(901);
  CHECK(shop.order({{"Authorization", third}}, R"({"name":"m","amount":100})").code() == "budget_spent");
  CHECK(shop.order({{"Authorization", words}}).members() == "wallet_id held");
  shop.sound();
}

TEST_CASE("XM-39: the key of who pays a host by MPP is not the host's") {
  const calyx::crypto::for_tests::EvmWallet payer(std::string(31, '\0') + "\x2c");
  Shop shop;
  shop.fill(core::lower_text(payer.address()));
  const auto charge = [&](calyx::HeaderFields headers = {}) {
    return shop.ask("POST", "/v1/paid-calls", shop.op, R"({"price":100})", std::move(headers));
  };
  const Answer paid = charge({{"Authorization", wire_test::credential_for(shop, payer, charge())}});
  REQUIRE_MESSAGE(paid.status == 200, paid.body);
  CHECK(paid.members() == "wallet_id fresh payment");
  CHECK(!paid.header("Payment-Receipt").empty());
  const auto id = calyx::PaymentId::read(paid.at("payment.payment_id"));
  REQUIRE(id);
  CHECK(shop.engine.issue_management_key(*id).value().api_key.starts_with("x402c_"));
  shop.sound();
}

namespace {

namespace paying = calyx::payments::for_tests;
using paying::EvmWallet;

constexpr const char* paid_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

// 100 FLOPS unless said, as `key` signs them, for `payer` if not for itself.
Value payload_of(const Till& till, const EvmWallet& key, std::uint64_t nonce,
                 const std::optional<core::EvmAddress>& payer = {}, std::uint64_t value = 1'000'000) {
  return paying::signed_payload(
      key, {.pay_to = paid_to,
            .value = value,
            .valid_before = static_cast<std::uint64_t>(till.now_us / core::us_per_second) + 300,
            .nonce = nonce,
            .payer = payer});
}
Value offered_by(const Answer& asked) {
  return (*unpacked(asked.header("PAYMENT-REQUIRED")).find("accepts")->array())[0];
}
Value with_id(Value id) {
  return wire_test::json::object(
      {{"payment-identifier",
        wire_test::json::object(
            {{"info", wire_test::json::object({{"required", false}, {"id", std::move(id)}})}})}});
}

/// A chain on which a contract takes one signature for its own.
struct Chain final : calyx::SettlementBackend {
  Chain(std::shared_ptr<calyx::SimulatedTokens> with, std::string signature)
      : tokens(std::move(with)), known(std::move(signature)) {}
  calyx::SettlementAnswer verify(const calyx::VerifiedPayment& payment) override {
    ++asked;
    if (signature_in(payment) == known) return tokens->verify(payment);
    return {.outcome = calyx::SettlementOutcome::refused, .reason = "no_signature_of_the_contract"};
  }
  calyx::SettlementAnswer settle(std::string_view key, const calyx::VerifiedPayment& payment) override {
    return tokens->settle(key, payment);
  }
  calyx::SettlementAnswer status(std::string_view key) override { return tokens->status(key); }
  bool judges_contracts() const noexcept override { return true; }
  static std::string signature_in(const calyx::VerifiedPayment& payment) {
    const bool mpp = payment.protocol == calyx::PaymentProtocol::mpp;
    const auto text = mpp ? core::unbase64url(std::string_view(payment.payload).substr(8))
                          : core::unbase64(payment.payload);
    const auto read = calyx::read_json(text.value());
    return *read.value().find("payload")->find("signature")->string();
  }
  std::shared_ptr<calyx::SimulatedTokens> tokens;
  std::string known;
  int asked = 0;
};

std::string signature_of(const Value& payload) { return *payload.find("signature")->string(); }
Value with_signature(Value payload, const std::string& octets) {
  payload.object()->set("signature", "0x" + core::hex(octets));
  return payload;
}

}  // namespace

TEST_CASE("XM-01: a client may give its payment an id, which is for that payment alone") {
  const EvmWallet payer(paying::octets_of(0x31)), other(paying::octets_of(0x32));
  Shop shop;
  for (const EvmWallet* one : {&payer, &other}) shop.fill(core::lower_text(one->address()));
  const Answer asked = shop.order();
  const Value extensions = *unpacked(asked.header("PAYMENT-REQUIRED")).find("extensions");
  const Value& extension = *extensions.find("payment-identifier");
  CHECK(*extension.find("info")->find("required") == Value(false));
  CHECK(*extension.find("schema")->find("type") == Value("object"));
  const Value accepted = offered_by(asked);
  const auto by = [&](const EvmWallet& who, std::uint64_t nonce, Value said) {
    return calyx::HeaderFields{
        {"PAYMENT-SIGNATURE", paying::v2_words(payload_of(shop, who, nonce), accepted, std::move(said))}};
  };
  // One that is none, at a call and at a quote.
  for (const Value& bad : {Value(std::string(15, 'a')), Value(std::string(129, 'a')), Value(16)}) {
    const Answer refused = shop.order(by(payer, 1, with_id(bad)));
    CHECK(refused.status == 400);
    CHECK(refused.code() == "payment_malformed");
    CHECK(refused.at("error.details.pointer") == "/extensions/payment-identifier/info/id");
  }
  CHECK(shop.wallets() == 1);

  const std::string id = "pay_7d5d747be160e280504c099d984bcfe0";
  const Answer made = shop.order(by(payer, 1, with_id(id)));
  REQUIRE_MESSAGE(made.status == 200, made.body);
  const Answer again = shop.order(by(payer, 1, with_id(id)));
  CHECK(again.replayed());
  CHECK(again.body == made.body);
  // Its answer was lost, and the client signs anew: it does not pay twice.
  const Answer twice = shop.order(by(payer, 2, with_id(id)));
  CHECK(twice.status == 409);
  CHECK(twice.code() == "payment_reused");
  CHECK(shop.tokens->settlements().value() == 1);
  // Nor are these words that payment's: nobody judged them.
  Value forged = payload_of(shop, other, 1, payer.address());
  CHECK(shop.order({{"PAYMENT-SIGNATURE", paying::v2_words(std::move(forged), accepted, with_id(id))}})
            .code() == "payment_reused");
  // The id is the payer's, and another one, or none, is another payment.
  const std::string body = R"({"name":"m","amount":100})";
  CHECK(shop.order(by(other, 1, with_id(id)), body).status == 200);
  CHECK(shop.order(by(payer, 2, with_id(id + "1")), R"({"name":"o","amount":100})").status == 200);
  CHECK(shop.order(by(payer, 3, extensions), R"({"name":"p","amount":100})").status == 200);
  CHECK(shop.order(by(payer, 4, {}), R"({"name":"q","amount":100})").status == 200);
  CHECK(shop.tokens->settlements().value() == 5);

  // Where credits are bought at one place with one call after another.
  const auto buy = [&](std::uint64_t nonce, Value said) {
    return shop.ask("POST", "/compute/credits/topup", shop.key, R"({"amount":1,"network":"base"})",
                    by(other, nonce, std::move(said)));
  };
  const Answer bought = buy(11, with_id(id + "2"));
  REQUIRE_MESSAGE(bought.status == 200, bought.body);
  CHECK(buy(11, with_id(id + "2")).replayed());
  CHECK(buy(12, with_id(id + "2")).code() == "payment_reused");
  CHECK(shop.balance() == "100.0");
  CHECK(buy(12, with_id(id + "3")).status == 200);
  CHECK(shop.balance() == "200.0");
  shop.sound();
}

TEST_CASE("XM-01, XM-02: a signature of a key's length may be a contract's, where the backend judges those") {
  const EvmWallet owner(paying::octets_of(0x41)), contract(paying::octets_of(0x42));
  const std::string address = core::lower_text(contract.address());
  for (const bool quote : {false, true}) {
    CAPTURE(quote);
    Shop shop;
    shop.fill(address);
    const std::string at = quote ? shop.quote() : "/test/orders";
    const auto ask = [&](calyx::HeaderFields headers) {
      return quote ? shop.ask("POST", at, shop.key, {}, std::move(headers)) : shop.order(std::move(headers));
    };
    const Value accepted = offered_by(ask({}));
    const auto pay = [&](const Value& payload) {
      return ask({{"PAYMENT-SIGNATURE", paying::v2_words(payload, accepted)}});
    };
    const auto code_of = [&](const Answer& answer) { return answer.at("details.code"); };
    const Value by_owner = payload_of(shop, owner, 1, contract.address());
    // As ever where it does not.
    CHECK(code_of(pay(by_owner)) == "invalid_exact_evm_payload_signature");

    const auto chain = std::make_shared<Chain>(shop.tokens, signature_of(by_owner));
    shop.engine.set_settlement(chain);
    // Of the address's own key there is one spelling: others are not asked about.
    const Value own = payload_of(shop, contract, 1);
    const std::string good = core::read_hex_bytes(signature_of(own)).value();
    const core::EvmAsset& asset = *core::find_evm_asset("base");
    core::TransferAuthorization transfer;
    transfer.from = contract.address();
    transfer.to = *core::read_evm_address(paid_to);
    transfer.value = core::Uint256(1'000'000);
    transfer.valid_before =
        core::Uint256(static_cast<std::uint64_t>(shop.now_us / core::us_per_second) + 300);
    transfer.nonce = *core::octets<32>(paying::octets_of(1));
    const std::string high = contract.sign_high(core::transfer_digest(
        {asset.name, asset.version, asset.chain_id, *core::read_evm_address(asset.contract)}, transfer));
    for (const std::string& spelt :
         {high, good.substr(0, 64), good.substr(0, 64) + '\0', good.substr(0, 64) + '\1'})
      CHECK(code_of(pay(with_signature(own, spelt))) == "invalid_exact_evm_payload_signature");
    CHECK(chain->asked == 0);
    // What is wrong beside the signature nobody asks about.
    Value dearer = by_owner;
    wire_test::json::Object terms = *dearer.find("authorization")->object();
    terms.set("value", "999999");
    dearer.object()->set("authorization", std::move(terms));
    CHECK(code_of(pay(dearer)) == "invalid_exact_evm_payload_authorization_value_mismatch");
    CHECK(chain->asked == 0);
    // Another one of the chain's is none of the contract's, of any length, and costs neither wallet nor
    // quote.
    for (const std::string& other : {owner.sign(core::keccak256("another")), std::string(65, '\x1c'),
                                     std::string(64, '\1'), std::string(1, '\1'), std::string()}) {
      const Answer refused = pay(with_signature(by_owner, other));
      CHECK(refused.status == 402);
      CHECK(code_of(refused) == "no_signature_of_the_contract");
    }
    CHECK(chain->asked == 5);
    CHECK(shop.wallets() == 1);

    const Answer paid = pay(by_owner);
    REQUIRE_MESSAGE(paid.status == 200, paid.body);
    CHECK(pay(by_owner).status == 200);
    CHECK(shop.tokens->settlements().value() == 1);
    if (quote)
      CHECK(shop.balance() == "100.0");
    else
      CHECK(shop.at(shop.wallet_at(address), "held") == "100.0");
    // What it took it asks nobody else about.
    const Value next = payload_of(shop, owner, 2, contract.address());
    chain->known = signature_of(next);
    shop.tokens->next(calyx::SimulatedTokens::Answer::unavailable);
    const std::string second = quote ? shop.quote() : "";
    const auto again = [&] {
      const calyx::HeaderFields words = {
          {"PAYMENT-SIGNATURE",
           paying::v2_words(next, quote ? offered_by(shop.ask("POST", second, shop.key)) : accepted)}};
      return quote ? shop.ask("POST", second, shop.key, {}, words)
                   : shop.order(words, R"({"name":"m","amount":100})");
    };
    const Answer unsaid = again();
    CHECK(unsaid.status == 503);
    CHECK(unsaid.code() == "outcome_unknown");
    CHECK(shop.tokens->settlements().value() == 1);
    CHECK(again().status == 200);
    CHECK(shop.tokens->settlements().value() == 2);
    shop.sound();
  }
}

TEST_CASE("XM-05, SG-02: words that are settled while the backend is asked of them are their payment's") {
  const EvmWallet owner(paying::octets_of(0x45)), contract(paying::octets_of(0x46));
  // Another client is quicker, while `verify` is on its way.
  struct Overtaken final : calyx::SettlementBackend {
    std::shared_ptr<calyx::SimulatedTokens> tokens;
    std::function<void()> meanwhile;
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment& payment) override {
      if (const auto first = std::exchange(meanwhile, nullptr)) first();
      return tokens->verify(payment);
    }
    calyx::SettlementAnswer settle(std::string_view key, const calyx::VerifiedPayment& payment) override {
      return tokens->settle(key, payment);
    }
    calyx::SettlementAnswer status(std::string_view key) override { return tokens->status(key); }
    bool judges_contracts() const noexcept override { return true; }
  };
  enum class Paid : std::uint8_t { order, quote, credits };
  for (const Paid paid : {Paid::order, Paid::quote, Paid::credits}) {
    CAPTURE(static_cast<int>(paid));
    Shop shop;
    shop.fill(core::lower_text(contract.address()));
    const auto overtaken = std::make_shared<Overtaken>();
    overtaken->tokens = shop.tokens;
    shop.engine.set_settlement(overtaken);
    const std::string at = paid == Paid::quote ? shop.quote() : "/compute/credits/topup";
    const std::string body = paid == Paid::quote ? "" : R"({"amount":1,"network":"base"})";
    const auto ask = [&](calyx::HeaderFields headers) {
      return paid == Paid::order ? shop.order(std::move(headers))
                                 : shop.ask("POST", at, shop.key, body, std::move(headers));
    };
    const Value accepted = offered_by(ask({}));
    const auto pay = [&](Value payload) {
      return ask({{"PAYMENT-SIGNATURE", paying::v2_words(std::move(payload), accepted)}});
    };
    const Value words = payload_of(shop, owner, 1, contract.address());
    Answer first;
    overtaken->meanwhile = [&] { first = pay(words); };
    const Answer second = pay(words);
    REQUIRE_MESSAGE(first.status == 200, first.body);
    REQUIRE_MESSAGE(second.status == 200, second.body);
    CHECK(second.replayed());
    CHECK(second.body == first.body);
    CHECK(second.header("PAYMENT-RESPONSE") == first.header("PAYMENT-RESPONSE"));
    CHECK(shop.tokens->settlements().value() == 1);
    // In other words it is none of theirs.
    if (paid == Paid::order) {
      Value other = payload_of(shop, owner, 2, contract.address()), spelt = other;
      spelt.object()->set("spelling", 1);
      overtaken->meanwhile = [&] {
        CHECK(shop.order({{"PAYMENT-SIGNATURE", paying::v2_words(other, accepted)}},
                         R"({"name":"m","amount":100})")
                  .status == 200);
      };
      CHECK(pay(spelt).at("code") == "payment_invalid");
    }
    // Nor is its name another payment's.
    if (paid == Paid::credits) {
      const std::string two = R"({"amount":2,"network":"base"})";
      const Value dearer = offered_by(shop.ask("POST", at, shop.key, two));
      const Value id = with_id("pay_7d5d747be160e280");
      overtaken->meanwhile = [&] {
        Value other = payload_of(shop, owner, 2, contract.address(), 2'000'000);
        first = shop.ask("POST", at, shop.key, two,
                         {{"PAYMENT-SIGNATURE", paying::v2_words(std::move(other), dearer, id)}});
      };
      const Answer late =
          ask({{"PAYMENT-SIGNATURE",
                paying::v2_words(payload_of(shop, owner, 3, contract.address()), accepted, id)}});
      REQUIRE_MESSAGE(first.status == 200, first.body);
      CHECK(late.status == 409);
      CHECK(late.code() == "payment_reused");
      CHECK(shop.tokens->settlements().value() == 2);
      CHECK(shop.balance() == "300.0");
    }
    shop.sound();
  }
}

TEST_CASE("XM-01: a payment that failed keeps its id, and the next one has another") {
  const EvmWallet payer(paying::octets_of(0x47));
  Shop shop;
  shop.fill(core::lower_text(payer.address()));
  struct Vain final : calyx::SettlementBackend {
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment&) override {
      return {.outcome = calyx::SettlementOutcome::valid};
    }
    calyx::SettlementAnswer settle(std::string_view, const calyx::VerifiedPayment&) override {
      return {.outcome = calyx::SettlementOutcome::refused, .reason = "insufficient_funds"};
    }
    calyx::SettlementAnswer status(std::string_view) override { return {}; }
  };
  const Value accepted = offered_by(shop.order());
  const std::string id = "pay_7d5d747be160e280504c099d984bcfe0";
  const auto by = [&](std::uint64_t nonce, const std::string& with) {
    return calyx::HeaderFields{
        {"PAYMENT-SIGNATURE", paying::v2_words(payload_of(shop, payer, nonce), accepted, with_id(with))}};
  };
  const auto buy = [&](std::uint64_t nonce, const std::string& with) {
    return shop.ask("POST", "/compute/credits/topup", shop.key, R"({"amount":1,"network":"base"})",
                    by(nonce, with));
  };
  shop.engine.set_settlement(std::make_shared<Vain>());
  CHECK(shop.order(by(1, id)).at("code") == "payment_invalid");
  CHECK(buy(11, id).at("error.code") == "payment_invalid");
  shop.engine.set_settlement(shop.tokens);
  for (int i = 0; i < 2; ++i) {
    CHECK(shop.order(by(1, id)).at("code") == "payment_invalid");
    CHECK(shop.order(by(2, id)).code() == "payment_reused");
    CHECK(buy(12, id).code() == "payment_reused");
  }
  CHECK(shop.tokens->settlements().value() == 0);
  CHECK(shop.order(by(2, id + "1")).status == 200);
  CHECK(buy(12, id + "1").status == 200);
  CHECK(shop.tokens->settlements().value() == 2);
  shop.sound();
}

TEST_CASE("XM-02: MPP's credential may be signed by a contract, where the backend judges those") {
  const EvmWallet owner(paying::octets_of(0x43)), contract(paying::octets_of(0x44));
  Shop shop;
  shop.fill(core::lower_text(contract.address()));
  const std::string words = wire_test::credential_for(shop, owner, shop.order(), contract.address());
  const Answer as_ever = shop.order({{"Authorization", words}});
  CHECK(as_ever.status == 402);
  CHECK(as_ever.at("type") == "https://paymentauth.org/problems/verification-failed");
  calyx::VerifiedPayment facts;
  facts.protocol = calyx::PaymentProtocol::mpp;
  facts.payload = words;
  const auto chain = std::make_shared<Chain>(shop.tokens, Chain::signature_in(facts));
  shop.engine.set_settlement(chain);
  const std::string unknown = wire_test::credential_for(shop, owner, shop.order(), contract.address());
  CHECK(shop.order({{"Authorization", unknown}}).at("details.code") == "no_signature_of_the_contract");
  CHECK(shop.wallets() == 1);
  const Answer paid = shop.order({{"Authorization", words}});
  REQUIRE_MESSAGE(paid.status == 200, paid.body);
  CHECK(shop.at(shop.wallet_at(core::lower_text(contract.address())), "held") == "100.0");
  CHECK(shop.tokens->settlements().value() == 1);
  shop.sound();
}

TEST_CASE("a paid call's session has what was paid, and no more") {
  if (!built("wire.paid_calls")) return;
  Shop shop;
  const std::string text = real_v2();
  const calyx::PaymentWords words{.header = calyx::PaymentHeader::payment_signature, .text = text};
  const calyx::Money price{100 * core::micro_per_flops};
  CHECK(shop.engine.payment_challenge(calyx::Money{}).reason() == Reason::amount_zero);
  CHECK(shop.engine.pay_for_call(calyx::Money{}, words).reason() == Reason::amount_zero);
  const calyx::PaidCall paid = shop.engine.pay_for_call(price, words).value();
  CHECK(paid.answer.payment.status == calyx::PaymentStatus::paid);
  REQUIRE(paid.session);
  calyx::Session session = *paid.session;
  const calyx::WalletId wallet = *session.principal().wallet;
  CHECK(session.wallet(wallet).value().balance == price);
  const calyx::WalletId other = calyx::WalletId::read(shop.wallet).value();
  CHECK(session.transfer({.from = wallet, .to = other, .amount = price}).reason() == Reason::key_limited);
  CHECK(session.issue_compute_key("mine").reason() == Reason::key_limited);
  CHECK(session.quote_topup({.wallet = wallet, .amount = price}).reason() == Reason::key_limited);
  REQUIRE(shop.engine.as_operator().topup({.wallet = wallet, .amount = price}).ok());
  const calyx::Money half{price.micro / 2};
  CHECK(session.spend({.wallet = wallet, .job_id = "a", .amount = half}).ok());
  CHECK(session.spend({.wallet = wallet, .job_id = "b", .amount = calyx::Money{half.micro + 1}}).reason() ==
        Reason::budget_spent);
  // The same payment is the same budget.
  calyx::Session again = *shop.engine.pay_for_call(price, words).value().session;
  CHECK(again.spend({.wallet = wallet, .job_id = "c", .amount = half}).ok());
  CHECK(again.spend({.wallet = wallet, .job_id = "d", .amount = calyx::Money{1}}).reason() ==
        Reason::budget_spent);

  // What comes back is theirs again for a while, and then its owner's alone.
  REQUIRE(shop.engine.as_operator().release({.wallet = wallet, .job_id = "a"}).ok());
  CHECK(again.spend({.wallet = wallet, .job_id = "e", .amount = half}).ok());
  REQUIRE(shop.engine.as_operator().release({.wallet = wallet, .job_id = "e"}).ok());
  shop.pass_s(901);
  calyx::Session late = *shop.engine.pay_for_call(price, words).value().session;
  CHECK(late.spend({.wallet = wallet, .job_id = "f", .amount = calyx::Money{1}}).reason() ==
        Reason::budget_spent);
  CHECK(late.spend({.wallet = wallet, .job_id = "c", .amount = half}).value().replayed);

  // A key is for who pays by MPP: the words of x402 are on the chain.
  for (const calyx::PaymentId id : {calyx::PaymentId{}, paid.answer.payment.id})
    CHECK(shop.engine.issue_management_key(id).reason() == Reason::payment_unknown);
  shop.sound();
}

TEST_CASE("a payer whose calls do not settle is let be, after 32 of them within an hour") {
  const calyx::crypto::for_tests::EvmWallet payer(std::string(31, '\0') + "\x2b");
  Shop shop;
  shop.fill(core::lower_text(payer.address()));
  // It would settle, and then it does not.
  struct Vain final : calyx::SettlementBackend {
    bool settles = false;
    calyx::SettlementAnswer verify(const calyx::VerifiedPayment&) override {
      return {.outcome = calyx::SettlementOutcome::valid};
    }
    calyx::SettlementAnswer settle(std::string_view key, const calyx::VerifiedPayment&) override {
      if (settles) return {.outcome = calyx::SettlementOutcome::settled, .transaction = std::string(key)};
      return {.outcome = calyx::SettlementOutcome::refused, .reason = "nonce_used"};
    }
    calyx::SettlementAnswer status(std::string_view) override { return {}; }
  };
  const auto vain = std::make_shared<Vain>();
  shop.engine.set_settlement(vain);
  const auto order = [&](int i) {
    const std::string body = R"({"name":"n)" + std::to_string(i) + R"(","amount":100})";
    return shop.order({{"Authorization", wire_test::credential_for(shop, payer, shop.order({}, body))}},
                      body);
  };
  for (int i = 0; i < 32; ++i) {
    CHECK(order(i).at("code") == "payment_invalid");
    shop.pass_s(1);
  }
  const Answer enough = order(32);
  CHECK(enough.status == 429);
  CHECK(enough.code() == "too_many_quotes");
  CHECK(enough.at("error.details.retry_after_s") == "3568");
  shop.pass_s(3'568);
  vain->settles = true;
  CHECK(order(33).status == 200);
  // One that settles ends the row.
  CHECK(order(34).status == 200);
  shop.sound();
}
#endif
