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

TEST_CASE("a conflict says what it was before and what it is now, and a time that is over when that was") {
  Market market;
  const Owner alice = market.human("alice"), bob = market.human("bob");
  market.fund(alice, "100");
  const auto said = [](const Answer& answer) {
    return answer.code() + " " + answer.field() + " " + answer.at("error.details.was") + " " +
           answer.at("error.details.is");
  };
  const auto topup = [&](const Owner& of, const char* body, std::string once = {}) {
    return market.post(of.path("/topup"), market.op, body, std::move(once));
  };
  REQUIRE(topup(alice, R"({"amount":3,"reference":"r-1"})", "t").status == 200);
  const Answer amount = topup(alice, R"({"amount":4.5,"reference":"r-1"})", "t");
  CHECK(said(amount) == "key_reused /amount 3.0 4.5");
  CHECK(amount.at("error.message") == "was used before with another amount: 3, now 4.5");
  CHECK(said(topup(alice, R"({"amount":3,"reference":"r-2"})", "t")) == "key_reused /reference r-1 r-2");
  CHECK(said(topup(bob, R"({"amount":3,"reference":"r-1"})", "t")) ==
        "key_reused /wallet_id " + alice.id + " " + bob.id);
  const std::string to_bob = R"({"to_wallet_id":")" + bob.id + R"(","amount":)";
  REQUIRE(market.post(alice.path("/transfer"), alice.key, to_bob + "1}", "m").status == 200);
  CHECK(said(market.post(alice.path("/transfer"), alice.key, to_bob + "2}", "m")) ==
        "key_reused /amount 1.0 2.0");
  REQUIRE(market.post("/v1/waitlist", market.op, R"({"owner_id":"carol"})", "j").status == 201);
  CHECK(said(market.post("/v1/waitlist", market.op, R"({"owner_id":"dave"})", "j")) ==
        "key_reused /owner_id carol dave");

  REQUIRE(market.spend(alice, "job", "9").status == 200);
  CHECK(said(market.spend(alice, "job", "8")) == "job_id_reused /amount 9.0 8.0");
  REQUIRE(market.earn(bob, market.op, "job", "7").status == 200);
  CHECK(said(market.earn(bob, market.op, "job", "6")) == "already_settled /gross_amount 7.0 6.0");
  CHECK(said(market.earn(alice, market.op, "job", "7")) ==
        "already_settled /wallet_id " + bob.id + " " + alice.id);

  REQUIRE(market.spend(alice, "late", "9", R"("expires_in_s":60)").status == 200);
  market.pass_s(61);
  // Both before and after something was written of its end.
  for (const bool ended : {false, true}) {
    CAPTURE(ended);
    const Answer late = market.earn(bob, market.op, "late", "7");
    CHECK(late.code() == "escrow_expired");
    CHECK(late.at("error.message") == "the job's escrow expired at " + late.at("error.details.expires_at"));
    CHECK(late.at("error.details.expires_at") == "2026-04-01T21:01:00Z");
    CHECK(late.at("error.details.job_id") == "late");
    if (!ended) REQUIRE(market.spend(alice, "other", "1").status == 200);
  }

  const std::string grant = R"({"wallet_id":")" + alice.id + "\"}";
  const Answer granted = market.post("/v1/grants", market.op, grant);
  REQUIRE(granted.status == 200);
  const Answer again = market.post("/v1/grants", market.op, grant);
  CHECK(again.code() == "grant_taken");
  CHECK(again.at("error.details.amount") == granted.at("amount"));
}
