#include "client.hpp"

using wire_test::Answer;
using wire_test::Market;
using wire_test::Owner;

TEST_CASE("a payout's id is never lost: it is read alone, in a list, and again as it was asked for") {
  Market market;
  const Owner alice = market.human("alice"), bob = market.human("bob");
  market.fund(alice, "10");
  const std::string body = R"({"amount":4,"destination":"bank"})";
  const Answer asked = market.post(alice.path("/payouts"), alice.key, body, "once");
  CHECK(asked.status == 202);
  CHECK(asked.at("status") == "pending");
  CHECK(asked.at("new_balance") == "6.0");
  const std::string path = "/v1/payouts/" + asked.at("id");
  market.fund(alice, "1");
  CHECK(market.get(path, alice.key).at("status") == "pending");
  CHECK(market.get(path, alice.key).at("new_balance") == "7.0");
  CHECK(market.get(path, bob.key).code() == "not_your_wallet");
  CHECK(market.get("/v1/payouts/pay_x", alice.key).code() == "payout_unknown");

  const Answer done = market.post(path + "/confirm", market.op, {}, "done");
  CHECK(done.status == 200);
  CHECK_FALSE(done.replayed());
  CHECK(done.at("new_balance") == "7.0");
  market.fund(alice, "1");
  const Answer again = market.post(path + "/confirm", market.op);
  CHECK(again.replayed());
  CHECK(again.body == done.body);
  CHECK(market.post(path + "/confirm", market.op, {}, "a b").field() == "Idempotency-Key");

  const Answer replayed = market.post(alice.path("/payouts"), alice.key, body, "once");
  CHECK(replayed.status == 202);
  CHECK(replayed.replayed());
  CHECK(replayed.body == asked.body);

  market.post(alice.path("/payouts"), alice.key, R"({"amount":1,"destination":"bank"})");
  const Answer first = market.get(alice.path("/payouts?limit=1"), alice.key);
  REQUIRE(first.items() == 1);
  CHECK(first.at("items.0.id") == asked.at("id"));
  CHECK(first.at("items.0.status") == "confirmed");
  const Answer rest = market.get(alice.path("/payouts?after=" + first.at("next")), alice.key);
  CHECK(rest.items() == 1);
  CHECK(rest.at("next") == "null");
  CHECK(market.get(alice.path("/payouts"), bob.key).code() == "not_your_wallet");
  CHECK(market.get(alice.path("/payouts?limit=0"), alice.key).code() == "field_value");
}

TEST_CASE("grants and the waitlist take an idempotency key, and say of a replay that it is one") {
  Market market;
  const Owner alice = market.human("alice"), bob = market.human("bob");
  const auto grant = [&](const Owner& of) {
    return market.post("/v1/grants", market.op, R"({"wallet_id":")" + of.id + "\"}", "g");
  };
  const Answer granted = grant(alice);
  CHECK_FALSE(granted.replayed());
  market.fund(alice, "1");
  CHECK(grant(alice).replayed());
  CHECK(grant(alice).body == granted.body);
  CHECK(grant(bob).code() == "key_reused");
  CHECK(grant(bob).field() == "/wallet_id");

  const Answer joined = market.post("/v1/waitlist", market.op, R"({"owner_id":"carol"})", "j");
  CHECK(joined.status == 201);
  CHECK(market.post("/v1/waitlist", market.op, R"({"owner_id":"carol"})", "j").replayed());
  CHECK(market.post("/v1/waitlist", market.op, R"({"owner_id":"dave"})", "j").field() == "/owner_id");
  const std::string path = "/v1/waitlist/" + joined.at("id") + "/approve";
  const Answer approved = market.post(path, market.op, {}, "a");
  CHECK(approved.status == 200);
  CHECK_FALSE(approved.replayed());
  const Answer again = market.post(path, market.op, {}, "a");
  CHECK(again.status == 200);
  CHECK(again.replayed());
  CHECK(again.at("wallet.api_key") == "null");
  CHECK(again.at("wallet.key_last4") == approved.at("wallet.key_last4"));
  CHECK(again.at("wallet.id") == approved.at("wallet.id"));
}

TEST_CASE("a bulk's header is the key of its items, each by its place in the request") {
  Market market;
  const Owner alice = market.human("alice"), bob = market.human("bob");
  const auto ask = [&](std::string_view first) {
    return market.post("/v1/bulk", market.op,
                       R"({"operations":[)" + std::string(first) + R"(,{"op":"topup","wallet_id":")" +
                           alice.id + R"(","amount":5}]})",
                       "b");
  };
  const std::string to_bob = R"({"op":"topup","wallet_id":")" + bob.id + R"(","amount":)";
  // The first item cannot be read: the second keeps its place all the same.
  CHECK(ask(R"({"op":"topup"})").at("outcomes.0.status") == "422");
  const Answer again = ask(to_bob + "3}");
  CHECK(again.at("outcomes.0.body.new_balance") == "3.0");
  CHECK(again.at("outcomes.0.replayed") == "absent");
  CHECK(again.at("outcomes.1.replayed") == "true");
  CHECK(again.at("outcomes.1.body.new_balance") == "5.0");
  CHECK(ask(to_bob + "4}").at("outcomes.0.body.error.details.field") == "/amount");
  CHECK(market.balance(alice) == "5.0");
  CHECK(market.post(alice.path("/topup"), market.op, R"({"amount":5})", "b 1").code() == "field_value");
}

TEST_CASE("too many approvals that wait are 429 with the time to ask again") {
  Market market;
  const Owner alice = market.human("alice");
  const Owner agent = market.agent(alice, "r", R"("approval_threshold":0)");
  market.fund(agent, "1");
  for (int i = 0; i < 1'000; ++i)
    REQUIRE(market.spend(agent, "job-" + std::to_string(i), "0.1").code() == "approval_required");
  const std::string before = market.head();
  const Answer refused = market.spend(agent, "one-more", "0.1");
  CHECK(refused.status == 429);
  CHECK(refused.code() == "too_many_approvals");
  CHECK(refused.header("Retry-After") == "1");
  CHECK(market.head() == before);
}
