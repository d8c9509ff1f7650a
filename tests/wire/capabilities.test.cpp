// The documents' capabilities, row by row, as somebody on the wire meets them. A name begins with the row's
// number.
#include <calyx/core/fee.hpp>
#include <calyx/core/money.hpp>
#include <set>
#include <thread>

#include "wire/client.hpp"

using namespace wire_test;

namespace {

// A human, its agent, and somebody who rents out GPUs.
struct Town {
  Market market;
  Owner alice = market.human("alice");
  Owner agent = market.agent(alice, "research-agent-v1");
  Owner host = market.human("gpu-farm");
};

}  // namespace

// ── across all systems ──

TEST_CASE("X-02: a path that is not there is 404, a method that is not there 405 with Allow") {
  Town town;
  CHECK(town.market.get("/v1/nothing", town.market.op).code() == "route_unknown");
  CHECK(town.market.get("/v1/wallets/", town.market.op).status == 404);
  CHECK(town.market.get("/v1/wallets//spend", town.market.op).status == 404);
  const Answer wrong = town.market.send("PUT", town.alice.path(), town.market.op);
  CHECK(wrong.status == 405);
  CHECK(wrong.code() == "method_not_allowed");
  CHECK(wrong.header("Allow") == "GET, PATCH");
  CHECK(town.market.send("GET", "/v1/receipts/verify", {}).header("Allow") == "POST");
  CHECK(town.market.send("DELETE", "/v1/receipts/keys", {}).header("Allow") == "GET");
}

TEST_CASE("X-02: header names match in any case, and queries are percent-decoded") {
  Town town;
  for (const char* name : {"X-API-Key", "x-api-key", "X-Api-KEY"}) {
    CAPTURE(name);
    CHECK(town.market.send("GET", town.alice.path(), {}, {}, {{name, town.alice.key}}).status == 200);
  }
  CHECK(town.market.send("GET", town.alice.path(), {}, {}, {{"authorization", "bearer " + town.alice.key}})
            .status == 200);
  CHECK(town.market.get(town.alice.path("/entries?limit=%31%30"), town.alice.key).status == 200);
  CHECK(town.market.get(town.alice.path("/entries?%6cimit=0"), town.alice.key).field() == "limit");
  CHECK(town.market.get("/v1/%77allets", town.alice.key).status == 200);
  CHECK(town.market.get("/v1/wallets/%77" + town.alice.id.substr(1), town.alice.key).status == 200);
}

TEST_CASE("X-02: malformed JSON is 400, what parses and breaks a rule 422") {
  Town town;
  CHECK(town.market.post(town.agent.path("/spend"), town.agent.key, "{").status == 400);
  CHECK(town.market.post(town.agent.path("/spend"), town.agent.key, "{}").status == 422);
}

TEST_CASE("X-03: the typed call and the wire are one path") {
  Town town;
  town.market.fund(town.agent, "12.40");
  auto session = town.market.engine().session(town.agent.key);
  REQUIRE(session.ok());
  const auto id = calyx::WalletId::read(town.agent.id);
  REQUIRE(id);
  calyx::Spend asked;
  asked.wallet = *id;
  asked.job_id = "job-1";
  asked.amount = calyx::Money{4'000'000};
  const auto typed = session->spend(asked);
  REQUIRE(typed.ok());
  const Answer again = town.market.spend(town.agent, "job-1", "4.0");
  CHECK(again.replayed());
  CHECK(again.at("txn_id") == typed->txn.text());

  asked.job_id = "job-2";
  asked.amount = calyx::Money{9'000'000};
  const auto refused = session->spend(asked);
  REQUIRE_FALSE(refused.ok());
  const Answer same = town.market.spend(town.agent, "job-2", "9");
  CHECK(same.code() == word(refused.error().reason));
  CHECK(same.at("error.message") == refused.error().message);
  CHECK(same.at("error.details") == json::text(refused.error().details));
}

TEST_CASE("X-05: an error is JSON with a stable code, a message and the numbers") {
  Town town;
  town.market.fund(town.agent, "8");
  const Answer poor = town.market.spend(town.agent, "job-1", "9");
  CHECK(poor.status == 402);
  CHECK(poor.members() == "error");
  CHECK(poor.code() == "insufficient_balance");
  CHECK(poor.at("error.message") == "needs 9 FLOPS, has 8");
  CHECK(poor.at("error.details.needed") == "9.0");
  CHECK(poor.at("error.details.room") == "8.0");
  CHECK(poor.at("error.details.shortfall") == "1.0");
}

TEST_CASE("X-06: money keeps every digit, as a number or as a string, and never passes through a double") {
  struct Row {
    const char* asked;
    int status;
    const char* says;  // the amount that was moved, or the code
  };
  const Row rows[] = {
      {"5", 200, "5.0"},
      {"5.00", 200, "5.0"},
      {"\"5.00\"", 200, "5.0"},
      {"8.40", 200, "8.4"},
      {"0.000001", 200, "0.000001"},
      {"1e-6", 200, "0.000001"},
      {"1.5E+3", 200, "1500.0"},
      {"7999999999.999999", 200, "7999999999.999999"},
      {"8000000000", 200, "8000000000.0"},
      {"8000000000.000001", 422, "amount_out_of_range"},
      {"9223372036854775807", 422, "amount_out_of_range"},
      {"9223372036854775808", 422, "amount_out_of_range"},
      {"1e400", 422, "amount_out_of_range"},
      {"0.0000001", 422, "amount_too_precise"},
      {"1.0000000", 422, "amount_too_precise"},
      {"1e-400", 422, "amount_too_precise"},
      {"-1", 422, "amount_negative"},
      {"-0", 422, "amount_negative"},
      {"\"-1\"", 422, "amount_negative"},
      {"0", 422, "amount_zero"},
      {"0.0", 422, "amount_zero"},
      {"\"\"", 422, "amount_malformed"},
      {"\" 5\"", 422, "amount_malformed"},
      {"\"+5\"", 422, "amount_malformed"},
      {"\"05\"", 422, "amount_malformed"},
      {"\"5,00\"", 422, "amount_malformed"},
      {"\"0x5\"", 422, "amount_malformed"},
      {"\"NaN\"", 422, "amount_malformed"},
      {"true", 422, "field_type"},
      {"null", 422, "field_type"},
      {"[5]", 422, "field_type"},
      {"{}", 422, "field_type"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.asked);
    Market market;
    const Owner alice = market.human("alice");
    const Answer answer =
        market.post(alice.path("/topup"), market.op, "{\"amount\":" + std::string(row.asked) + "}");
    CHECK(answer.status == row.status);
    CHECK((row.status == 200 ? answer.at("amount") : answer.code()) == row.says);
    CHECK((row.status == 200 ? answer.at("new_balance") : answer.field()) ==
          (row.status == 200 ? row.says : "/amount"));
    CHECK(market.balance(alice) == (row.status == 200 ? row.says : "0.0"));
  }
}

TEST_CASE("X-07: one FLOPS is a cent, a dollar a million atomic units of USDC") {
  using namespace calyx;
  constexpr Money dollar{core::flops_per_usd * core::micro_per_flops};
  CHECK(core::usdc_atomic(dollar) == 1'000'000);
  CHECK(core::from_usdc_atomic(1'000'000) == dollar);
  CHECK(grant_amount == Money{20 * dollar.micro});
}

TEST_CASE("X-08: ids and keys carry the documents' prefixes") {
  Town town;
  town.market.fund(town.agent, "10");
  const auto shaped = [](const std::string& id, std::string_view prefix) {
    return id.size() == prefix.size() + 26 && id.substr(0, prefix.size()) == prefix;
  };
  CHECK(shaped(town.agent.id, "wlt_"));
  CHECK(town.agent.key.substr(0, 9) == "cyx_live_");
  CHECK(town.market.op.substr(0, 7) == "cyx_op_");
  CHECK(shaped(town.market.spend(town.agent, "job-1", "4").at("txn_id"), "txn_"));
  CHECK(shaped(town.market.earn(town.host, town.market.op, "job-1", "4").at("receipt_id"), "rcpt_"));
  CHECK(shaped(town.market.get(town.agent.path("/keys"), town.agent.key).at("items.0.id"), "key_"));
  CHECK(shaped(
      town.market.post(town.agent.path("/payouts"), town.agent.key, R"({"amount":1,"destination":"bank"})")
          .at("id"),
      "pay_"));
}

TEST_CASE("X-09: times are UTC with Z and come from the market's clock") {
  Town town;
  CHECK(town.market.wallet(town.alice).at("created_at") == "2026-04-01T21:00:00Z");
  town.market.pass_s(61);
  CHECK(town.market.wallet(town.market.human("late")).at("created_at") == "2026-04-01T21:01:01Z");
}

TEST_CASE("X-10: a key is shown once, and afterwards by its last four characters only") {
  Town town;
  const Answer issued =
      town.market.post(town.alice.path("/keys"), town.alice.key, R"({"label":"laptop"})", "once-1");
  REQUIRE(issued.status == 201);
  const std::string secret = issued.at("api_key");
  CHECK(secret.substr(0, 9) == "cyx_live_");
  CHECK(issued.at("key_last4") == secret.substr(secret.size() - 4));
  const Answer again =
      town.market.post(town.alice.path("/keys"), town.alice.key, R"({"label":"laptop"})", "once-1");
  CHECK(again.status == 201);
  CHECK(again.replayed());
  CHECK(again.at("id") == issued.at("id"));
  CHECK(again.at("api_key") == "null");
  CHECK(again.at("key_last4") == issued.at("key_last4"));

  const Answer listed = town.market.get(town.alice.path("/keys"), town.alice.key);
  CHECK(listed.items() == 2);
  CHECK(listed.body.find(secret) == std::string::npos);
  CHECK(listed.body.find("cyx_live_") == std::string::npos);
  CHECK(listed.at("items.1.key_last4") == issued.at("key_last4"));
  CHECK(listed.at("items.1.label") == "laptop");
  CHECK(town.market.get("/v1/export?format=jsonl", town.market.op).body.find(secret) == std::string::npos);
}

TEST_CASE("X-13: a settlement that is refused has moved nothing") {
  Town town;
  town.market.fund(town.agent, "10");
  REQUIRE(town.market.spend(town.agent, "job-1", "4").status == 200);
  const std::string before = town.market.head();
  CHECK(town.market.earn(town.host, town.market.op, "job-1", "4.000001").code() == "gross_above_locked");
  CHECK(town.market.head() == before);
  CHECK(town.market.wallet(town.agent).at("held") == "4.0");
  CHECK(town.market.balance(town.host) == "0.0");
}

// ── wallets ──

TEST_CASE("CX-01: create, top up, spend, earn, verify: one request each") {
  Market market;
  const Owner human =
      market.owner(market.post("/v1/wallets", market.op, R"({"owner_type":"human","owner_id":"alice"})"));
  const Owner agent = market.owner(
      market.post("/v1/wallets", human.key,
                  R"({"owner_type":"agent","owner_id":"bot","parent_wallet_id":")" + human.id + "\"}"));
  const Owner host = market.human("host");
  CHECK(market.post(agent.path("/topup"), market.op, R"({"amount":12.40})").status == 200);
  CHECK(market.spend(agent, "job-441", "4.00", R"("gpu_type":"RTX 4090","host_wallet_id":")" + host.id + "\"")
            .status == 200);
  const Answer earned = market.earn(host, host.key, "job-441", "3.80");
  CHECK(earned.status == 200);
  const Answer receipt = market.get("/v1/receipts/" + earned.at("receipt_id"), agent.key);
  CHECK(receipt.status == 200);
  CHECK(market.post("/v1/receipts/verify", {}, receipt.body).body == R"({"valid":true})");
}

TEST_CASE("CX-02: a missing, unknown or revoked key is 401, and so are two that differ") {
  Town town;
  Market& market = town.market;
  CHECK(market.get(town.alice.path(), {}).code() == "unauthorized");
  CHECK(market.get(town.alice.path(), {}).status == 401);
  CHECK(market.get(town.alice.path(), "cyx_live_nobody").status == 401);
  CHECK(market.get(town.alice.path(), town.alice.id).status == 401);
  CHECK(
      market.send("GET", town.alice.path(), {}, {}, {{"Authorization", "Basic " + town.alice.key}}).status ==
      401);
  CHECK(
      market
          .send("GET", town.alice.path(), town.alice.key, {}, {{"Authorization", "Bearer " + town.alice.key}})
          .status == 200);
  CHECK(
      market
          .send("GET", town.alice.path(), town.alice.key, {}, {{"Authorization", "Bearer " + town.market.op}})
          .status == 401);
  CHECK(market.send("GET", town.alice.path(), town.alice.key, {}, {{"X-API-Key", town.market.op}}).status ==
        401);

  const std::string key = market.get(town.agent.path("/keys"), market.op).at("items.0.id");
  const Answer revoked = market.send("DELETE", "/v1/keys/" + key, town.alice.key);
  CHECK(revoked.status == 200);
  CHECK(revoked.at("revoked_at") == "2026-04-01T21:00:00Z");
  CHECK(market.get(town.agent.path(), town.agent.key).status == 401);
}

TEST_CASE("CX-03: a waitlist entry that is approved brings a wallet and its key") {
  Market market;
  const Answer joined = market.post("/v1/waitlist", market.op, R"({"owner_id":"dev-1"})");
  CHECK(joined.status == 201);
  CHECK(joined.members() == "id owner_id status created_at");
  CHECK(joined.at("status") == "waiting");
  const Answer again = market.post("/v1/waitlist", market.op, R"({"owner_id":"dev-1"})");
  CHECK(again.status == 201);
  CHECK(again.replayed());
  CHECK(again.at("id") == joined.at("id"));

  const Answer approved = market.post("/v1/waitlist/" + joined.at("id") + "/approve", market.op);
  CHECK(approved.status == 200);
  CHECK(approved.at("status") == "approved");
  CHECK(approved.at("wallet.owner_id") == "dev-1");
  CHECK(market.get("/v1/wallets/" + approved.at("wallet.id"), approved.at("wallet.api_key")).status == 200);
  CHECK(market.post("/v1/waitlist/" + joined.at("id") + "/approve", market.op).code() == "waitlist_decided");
  CHECK(market.post("/v1/waitlist/wtl_0/approve", market.op).code() == "waitlist_unknown");
}

TEST_CASE("CX-04: each wallet has a key of its own") {
  Town town;
  CHECK(town.alice.key != town.agent.key);
  CHECK(town.market.get("/v1/wallets", town.agent.key).at("items.0.id") == town.agent.id);
  CHECK(town.market.get("/v1/wallets", town.alice.key).at("items.0.id") == town.alice.id);
}

TEST_CASE("CX-05: an agent's key reaches neither its parent's wallet nor another agent's") {
  Town town;
  const Owner sibling = town.market.agent(town.alice, "sibling");
  town.market.fund(town.alice, "10");
  town.market.fund(sibling, "10");
  for (const Owner& other : {town.alice, sibling, town.host}) {
    CAPTURE(other.id);
    CHECK(town.market.get(other.path(), town.agent.key).code() == "not_your_wallet");
    for (const char* list : {"/entries", "/escrows", "/approvals", "/keys", "/receipts"})
      CHECK(town.market.get(other.path(list), town.agent.key).status == 403);
    const Answer spent =
        town.market.post(other.path("/spend"), town.agent.key, R"({"job_id":"job-1","amount":1})");
    CHECK(spent.status == 403);
    CHECK(spent.code() == "not_your_wallet");
  }
  CHECK(town.market.balance(town.alice) == "10.0");
  CHECK(town.market.balance(sibling) == "10.0");
}

TEST_CASE("CX-06: caps and allowlists refuse before anything is locked") {
  Town town;
  const Owner bound =
      town.market.agent(town.alice, "bound", R"("spend_cap_per_job":5,"allowed_gpu_types":["A100"])");
  town.market.fund(bound, "100");
  const std::string before = town.market.head();
  CHECK(town.market.spend(bound, "job-1", "6", R"("gpu_type":"A100")").code() == "spend_cap_per_job");
  CHECK(town.market.spend(bound, "job-2", "1", R"("gpu_type":"H100")").code() == "gpu_not_allowed");
  CHECK(town.market.wallet(bound).at("held") == "0.0");
  CHECK(town.market.wallet(bound).at("txn_count") == "1");
  CHECK(town.market.head() == before);
}

TEST_CASE("CX-07: a human creates its agents and allocates their budgets") {
  Town town;
  town.market.fund(town.alice, "2000");
  const Answer moved =
      town.market.post(town.alice.path("/transfer"), town.alice.key,
                       R"({"to_wallet_id":")" + town.agent.id + R"(","amount":12.40,"reference":"may"})");
  CHECK(moved.status == 200);
  CHECK(moved.members() == "txn_id amount new_balance");
  CHECK(moved.at("amount") == "12.4");
  CHECK(moved.at("new_balance") == "1987.6");
  CHECK(town.market.balance(town.agent) == "12.4");
}

TEST_CASE("CX-08: a job may lock up to its cap; no cap binds nothing") {
  Town town;
  const Owner capped = town.market.agent(town.alice, "capped", R"("spend_cap_per_job":5.00)");
  town.market.fund(capped, "100");
  town.market.fund(town.agent, "100");
  CHECK(town.market.spend(capped, "job-1", "5.000001").code() == "spend_cap_per_job");
  CHECK(town.market.spend(capped, "job-1", "5").status == 200);
  CHECK(town.market.spend(town.agent, "job-1", "100").status == 200);
}

TEST_CASE("CX-09: above the threshold a human must approve; at it none need") {
  Town town;
  const Owner gated = town.market.agent(town.alice, "gated", R"("approval_threshold":20)");
  town.market.fund(gated, "100");
  CHECK(town.market.spend(gated, "job-1", "20").status == 200);
  const Answer above = town.market.spend(gated, "job-2", "20.000001");
  CHECK(above.status == 403);
  CHECK(above.code() == "approval_required");
  CHECK(above.at("error.details.limit") == "20.0");
}

TEST_CASE("CX-10: an allowlist allows what it names, an empty one nothing, none everything") {
  Town town;
  const Owner listed = town.market.agent(town.alice, "l", R"("allowed_gpu_types":["RTX 4090","A100"])");
  const Owner empty = town.market.agent(town.alice, "e", R"("allowed_gpu_types":[])");
  const Owner open = town.market.agent(town.alice, "o", R"("allowed_gpu_types":null)");
  for (const Owner& wallet : {listed, empty, open}) town.market.fund(wallet, "10");
  CHECK(town.market.spend(listed, "j1", "1", R"("gpu_type":"A100")").status == 200);
  CHECK(town.market.spend(listed, "j2", "1", R"("gpu_type":"a100")").status == 403);
  CHECK(town.market.spend(listed, "j3", "1").code() == "gpu_not_allowed");
  CHECK(town.market.spend(listed, "j4", "1", R"("gpu_type":null)").code() == "gpu_not_allowed");
  CHECK(town.market.spend(empty, "j1", "1", R"("gpu_type":"A100")").code() == "gpu_not_allowed");
  CHECK(town.market.spend(open, "j1", "1", R"("gpu_type":"anything")").status == 200);
  CHECK(town.market.wallet(empty).at("allowed_gpu_types") == "[]");
  CHECK(town.market.wallet(open).at("allowed_gpu_types") == "null");
}

TEST_CASE("CX-11: the hour rolls, and is exact to the microsecond") {
  Town town;
  const Owner hourly = town.market.agent(town.alice, "hourly", R"("spend_cap_per_hour":10)");
  town.market.fund(hourly, "100");
  CHECK(town.market.spend(hourly, "job-1", "4").status == 200);
  town.market.pass_s(1800);
  CHECK(town.market.spend(hourly, "job-2", "6").status == 200);
  const Answer full = town.market.spend(hourly, "job-3", "0.000001");
  CHECK(full.code() == "spend_cap_per_hour");
  CHECK(full.at("error.details.room") == "0.0");
  town.market.pass_us(std::int64_t{1800} * 1'000'000 - 1);
  CHECK(town.market.spend(hourly, "job-3", "0.000001").code() == "spend_cap_per_hour");
  town.market.pass_us(1);  // an hour after the first
  CHECK(town.market.spend(hourly, "job-3", "4.000001").code() == "spend_cap_per_hour");
  CHECK(town.market.spend(hourly, "job-3", "4").status == 200);
}

TEST_CASE("CX-12: a wallet is created with 201 and belongs to a human or an agent") {
  Town town;
  const auto create = [&](const char* body) { return town.market.post("/v1/wallets", town.market.op, body); };
  CHECK(create(R"({"owner_type":"human","owner_id":"x"})").status == 201);
  CHECK(create(R"({"owner_id":"x"})").field() == "/owner_type");
  CHECK(create(R"({"owner_id":"x"})").code() == "field_missing");
  CHECK(create(R"({"owner_type":"robot","owner_id":"x"})").code() == "field_value");
  CHECK(create(R"({"owner_type":7,"owner_id":"x"})").code() == "field_type");
  CHECK(create(R"({"owner_type":null,"owner_id":"x"})").code() == "field_type");
}

TEST_CASE("CX-13: an owner id is 1 to 256 bytes of text") {
  Town town;
  const auto create = [&](const std::string& owner) {
    return town.market.post("/v1/wallets", town.market.op,
                            R"({"owner_type":"human","owner_id":")" + owner + "\"}");
  };
  CHECK(create("x").status == 201);
  CHECK(create(std::string(256, 'x')).status == 201);
  CHECK(create("Zoë ☂").status == 201);
  CHECK(create(std::string(257, 'x')).code() == "field_value");
  CHECK(create(std::string(257, 'x')).field() == "/owner_id");
  CHECK(create("").code() == "field_value");
  CHECK(create("a\\nb").code() == "field_value");
  CHECK(town.market.post("/v1/wallets", town.market.op, R"({"owner_type":"human"})").code() ==
        "field_missing");
}

TEST_CASE("CX-14: an agent needs a human above it, and a human has none") {
  Town town;
  const auto create = [&](std::string_view type, const std::string& more) {
    return town.market.post("/v1/wallets", town.market.op,
                            R"({"owner_type":")" + std::string(type) + R"(","owner_id":"x")" + more + "}");
  };
  const auto parent = [](const std::string& id) { return R"(,"parent_wallet_id":")" + id + "\""; };
  CHECK(create("agent", parent(town.alice.id)).status == 201);
  CHECK(create("agent", "").code() == "agent_needs_parent");
  CHECK(create("agent", R"(,"parent_wallet_id":null)").code() == "agent_needs_parent");
  CHECK(create("agent", parent(town.agent.id)).code() == "parent_not_human");
  CHECK(create("human", parent(town.alice.id)).code() == "human_has_parent");
  CHECK(create("agent", parent("wlt_human_abc123")).code() == "wallet_unknown");
  CHECK(create("agent", parent("wlt_human_abc123")).field() == "/parent_wallet_id");
  CHECK(create("agent", parent("wlt_00000000000000000000000000")).status == 404);
  CHECK(create("agent", R"(,"parent_wallet_id":7)").code() == "field_type");
}

TEST_CASE("CX-15: every policy may be given at creation, and null is none") {
  Town town;
  const Owner all = town.market.agent(
      town.alice, "all",
      R"("spend_cap_per_job":5.00,"approval_threshold":"20.00","spend_cap_per_hour":50,"allowed_gpu_types":["A100"])");
  const Answer wallet = town.market.wallet(all);
  CHECK(wallet.at("spend_cap_per_job") == "5.0");
  CHECK(wallet.at("approval_threshold") == "20.0");
  CHECK(wallet.at("spend_cap_per_hour") == "50.0");
  CHECK(wallet.at("allowed_gpu_types") == R"(["A100"])");
  const Owner none = town.market.agent(
      town.alice, "none",
      R"("spend_cap_per_job":null,"approval_threshold":null,"spend_cap_per_hour":null,"allowed_gpu_types":null)");
  for (const char* rule :
       {"spend_cap_per_job", "approval_threshold", "spend_cap_per_hour", "allowed_gpu_types"}) {
    CAPTURE(rule);
    CHECK(town.market.wallet(none).at(rule) == "null");
  }
}

TEST_CASE("CX-15: a policy that cannot be is refused at its place") {
  Town town;
  std::string many = "[";
  for (int i = 0; i < 65; ++i) many += (i == 0 ? "\"g" : ",\"g") + std::to_string(i) + "\"";
  many += "]";
  struct Row {
    std::string policy, code, field;
  };
  const Row rows[] = {
      {R"("spend_cap_per_job":-1)", "amount_negative", "/spend_cap_per_job"},
      {R"("spend_cap_per_job":true)", "field_type", "/spend_cap_per_job"},
      {R"("approval_threshold":0.0000001)", "amount_too_precise", "/approval_threshold"},
      {R"("spend_cap_per_hour":"lots")", "amount_malformed", "/spend_cap_per_hour"},
      {R"("allowed_gpu_types":"A100")", "field_type", "/allowed_gpu_types"},
      {R"("allowed_gpu_types":["A100",7])", "field_type", "/allowed_gpu_types/1"},
      {R"("allowed_gpu_types":["A100","A100"])", "field_value", "/allowed_gpu_types/1"},
      {R"("allowed_gpu_types":[""])", "field_value", "/allowed_gpu_types/0"},
      {R"("allowed_gpu_types":[")" + std::string(129, 'g') + "\"]", "field_value", "/allowed_gpu_types/0"},
      {R"("allowed_gpu_types":)" + many, "field_value", "/allowed_gpu_types"},
      {R"("spend_cap":1)", "field_unknown", "/spend_cap"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.policy);
    const Answer answer = town.market.post("/v1/wallets", town.market.op,
                                           R"({"owner_type":"human","owner_id":"x",)" + row.policy + "}");
    CHECK(answer.status == 422);
    CHECK(answer.code() == row.code);
    CHECK(answer.field() == row.field);
  }
}

TEST_CASE("CX-16: a creation answers as the document shows, and adds the key once") {
  Town town;
  const std::string body = R"({"owner_type":"agent","owner_id":"research-agent-v1","parent_wallet_id":")" +
                           town.alice.id +
                           R"(","spend_cap_per_job":5.00,"approval_threshold":20.00,)"
                           R"("allowed_gpu_types":["RTX 4090","A100"]})";
  const Answer created = town.market.post("/v1/wallets", town.alice.key, body, "create-1");
  CHECK(created.status == 201);
  CHECK(created.header("Content-Type") == "application/json");
  CHECK(created.members() ==
        "id owner_type owner_id status balance spend_cap_per_job approval_threshold allowed_gpu_types "
        "created_at parent_wallet_id spend_cap_per_hour held expired_pending txn_count key_id key_last4 "
        "api_key");
  const std::string shown =
      R"("owner_type":"agent","owner_id":"research-agent-v1","status":"active","balance":0.0,)"
      R"("spend_cap_per_job":5.0,"approval_threshold":20.0,"allowed_gpu_types":["RTX 4090","A100"],)"
      R"("created_at":"2026-04-01T21:00:00Z")";
  CHECK(created.body.find(shown) != std::string::npos);
  CHECK(town.market.get("/v1/wallets/" + created.at("id"), created.at("api_key")).status == 200);

  // Asked again it is the same wallet, and the key stays what was shown once.
  town.market.pass_s(60);
  const Answer again = town.market.post("/v1/wallets", town.alice.key, body, "create-1");
  CHECK(again.status == 201);
  CHECK(again.replayed());
  CHECK(again.at("id") == created.at("id"));
  CHECK(again.at("api_key") == "null");
  CHECK(again.at("key_last4") == created.at("key_last4"));
  const Answer other = town.market.post(
      "/v1/wallets", town.alice.key,
      R"({"owner_type":"agent","owner_id":"other","parent_wallet_id":")" + town.alice.id + "\"}", "create-1");
  CHECK(other.status == 409);
  CHECK(other.code() == "key_reused");
  CHECK(other.field() == "/owner_id");
}

TEST_CASE("CX-17: a list shows the wallets a key may read, page by page") {
  Town town;
  const Owner second = town.market.agent(town.alice, "second");
  const Answer mine = town.market.get("/v1/wallets", town.alice.key);
  CHECK(mine.members() == "items next");
  CHECK(mine.items() == 3);
  CHECK(mine.at("next") == "null");
  CHECK(town.market.get("/v1/wallets", town.agent.key).items() == 1);
  CHECK(town.market.get("/v1/wallets", town.market.op).items() == 4);

  std::vector<std::string> ids;
  std::string after;
  for (int page = 0; page < 10; ++page) {
    const Answer answer =
        town.market.get("/v1/wallets?limit=1" + (after.empty() ? "" : "&after=" + after), town.alice.key);
    REQUIRE(answer.status == 200);
    REQUIRE(answer.items() == 1);
    ids.push_back(answer.at("items.0.id"));
    after = answer.at("next");
    if (after == "null") break;
  }
  CHECK(ids == std::vector<std::string>{town.alice.id, town.agent.id, second.id});
}

TEST_CASE("CX-17: a page has 1 to 1,000 items and a cursor that a page gave") {
  Town town;
  struct Row {
    const char* query;
    int status;
    const char* field;
  };
  const Row rows[] = {
      {"limit=1", 200, "absent"},        {"limit=1000", 200, "absent"},
      {"limit=0", 422, "limit"},         {"limit=1001", 422, "limit"},
      {"limit=ten", 422, "limit"},       {"limit=-1", 422, "limit"},
      {"limit=", 422, "limit"},          {"limit=99999999999999999999", 422, "limit"},
      {"limit=1&limit=1", 422, "limit"}, {"after=x", 422, "after"},
      {"lmit=1", 422, "lmit"},           {"after=", 200, "absent"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.query);
    for (const char* list : {"", "/entries", "/escrows", "/approvals", "/keys", "/receipts"}) {
      CAPTURE(list);
      const std::string path = *list == '\0' ? std::string("/v1/wallets") : town.alice.path(list);
      const Answer answer = town.market.get(path + "?" + row.query, town.alice.key);
      CHECK(answer.status == row.status);
      CHECK(answer.field() == row.field);
    }
  }
  CHECK(town.market.get("/v1/wallets?limit=%", town.alice.key).code() == "malformed_target");
  CHECK(town.market.get("/v1/wallets?limit=%zz", town.alice.key).status == 400);
}

TEST_CASE("CX-18: a wallet shows its live balance, its transactions and its status") {
  Town town;
  town.market.fund(town.agent, "12.40");
  const Answer wallet = town.market.get(town.agent.path(), town.agent.key);
  CHECK(wallet.status == 200);
  CHECK(wallet.members() ==
        "id owner_type owner_id status balance spend_cap_per_job approval_threshold allowed_gpu_types "
        "created_at parent_wallet_id spend_cap_per_hour held expired_pending txn_count");
  CHECK(wallet.at("id") == town.agent.id);
  CHECK(wallet.at("balance") == "12.4");
  CHECK(wallet.at("txn_count") == "1");
  CHECK(wallet.at("status") == "active");
  CHECK(wallet.at("parent_wallet_id") == town.alice.id);
  CHECK(town.market.get(town.alice.path(), town.alice.key).at("parent_wallet_id") == "null");
  CHECK(town.market.get("/v1/wallets/wlt_agent_xyz789", town.market.op).code() == "wallet_unknown");
  CHECK(town.market.get("/v1/wallets/wlt_00000000000000000000000000", town.market.op).status == 404);
}

TEST_CASE("CX-19, CX-20: a balance is the sum of the entries, and txn_count counts the transactions") {
  Town town;
  const auto agrees = [&](const Owner& wallet) {
    std::int64_t sum = 0;
    std::set<std::string> transactions;
    const Answer entries = town.market.get(wallet.path("/entries?limit=1000"), town.market.op);
    for (std::size_t i = 0; i < entries.items(); ++i) {
      const std::string at = "items." + std::to_string(i);
      std::string amount = entries.at(at + ".amount");
      const bool debit = amount[0] == '-';
      if (debit) amount.erase(0, 1);
      const auto read = calyx::core::read_money(amount);
      CHECK(read.fault == calyx::core::MoneyFault::none);
      sum += debit ? -read.money.micro : read.money.micro;
      transactions.insert(entries.at(at + ".txn_id"));
    }
    CHECK(town.market.balance(wallet) == micro_text(sum));
    CHECK(town.market.wallet(wallet).at("txn_count") == std::to_string(transactions.size()));
  };
  town.market.fund(town.agent, "12.40");
  agrees(town.agent);
  town.market.spend(town.agent, "job-1", "4");
  agrees(town.agent);
  town.market.earn(town.host, town.market.op, "job-1", "3.80");
  agrees(town.agent);
  agrees(town.host);
  town.market.spend(town.agent, "job-2", "1.5");
  town.market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"job-2"})");
  agrees(town.agent);
  town.market.spend(town.agent, "job-3", "2", R"("expires_in_s":60)");
  town.market.pass_s(60);
  town.market.spend(town.agent, "job-4", "1");
  agrees(town.agent);
  CHECK(town.market.wallet(town.agent).at("txn_count") == "8");
}

TEST_CASE("CX-21: a top-up is the operator's, and counts once a reference and once a key") {
  Town town;
  const auto topup = [&](std::string_view key, const char* body, const char* once = "") {
    return town.market.post(town.alice.path("/topup"), key, body, once);
  };
  CHECK(topup(town.alice.key, R"({"amount":5})").code() == "operator_only");
  const Answer first = topup(town.market.op, R"({"amount":5,"reference":"pay-1"})");
  CHECK(first.status == 200);
  CHECK(first.members() == "txn_id amount new_balance");
  CHECK_FALSE(first.replayed());
  topup(town.market.op, R"({"amount":1})");
  const Answer again = topup(town.market.op, R"({"amount":5.00,"reference":"pay-1"})");
  CHECK(again.replayed());
  CHECK(again.body == first.body);
  const Answer other = topup(town.market.op, R"({"amount":6,"reference":"pay-1"})");
  CHECK(other.status == 409);
  CHECK(other.code() == "key_reused");
  CHECK(other.field() == "/amount");
  CHECK(topup(town.market.op, R"({"amount":2})", "key-1").status == 200);
  CHECK(topup(town.market.op, R"({"amount":2})", "key-1").replayed());
  CHECK(topup(town.market.op, R"({"amount":3})", "key-1").code() == "key_reused");
  CHECK(topup(town.market.op, R"({"amount":3})", "a b").code() == "field_value");
  CHECK(topup(town.market.op, R"({"amount":3})", "a b").field() == "Idempotency-Key");
  CHECK(topup(town.market.op, R"({"amount":3})", std::string(129, 'k').c_str()).status == 422);
  CHECK(topup(town.market.op, R"({"amount":3})", std::string(128, 'k').c_str()).status == 200);
  CHECK(town.market
            .send("POST", town.alice.path("/topup"), town.market.op, R"({"amount":3})",
                  {{"Idempotency-Key", ""}})
            .status == 422);
  CHECK(topup(town.market.op, R"({"amount":3,"reference":""})").field() == "/reference");
  CHECK(town.market.balance(town.alice) == "11.0");
}

// ── escrow ──

TEST_CASE("CX-22, CX-24: a spend locks escrow and answers with what is left") {
  Town town;
  town.market.fund(town.agent, "12.40");
  const Answer spent = town.market.spend(town.agent, "job-441", "4.00", R"("gpu_type":"RTX 4090")");
  CHECK(spent.status == 200);
  CHECK(spent.members() == "txn_id job_id amount_locked new_balance");
  CHECK(spent.body.find(R"("job_id":"job-441","amount_locked":4.0,"new_balance":8.4})") != std::string::npos);
  CHECK(town.market.balance(town.agent) == "8.4");
  CHECK(town.market.wallet(town.agent).at("held") == "4.0");
}

TEST_CASE("CX-23: a spend's body is judged field by field") {
  Town town;
  town.market.fund(town.agent, "10");
  struct Row {
    std::string body;
    const char* code;
    const char* field;
  };
  const Row rows[] = {
      {R"({"amount":1})", "field_missing", "/job_id"},
      {R"({"job_id":"j"})", "field_missing", "/amount"},
      {R"({"job_id":7,"amount":1})", "field_type", "/job_id"},
      {R"({"job_id":"","amount":1})", "field_value", "/job_id"},
      {R"({"job_id":"a b","amount":1})", "field_value", "/job_id"},
      {R"({"job_id":"jöb","amount":1})", "field_value", "/job_id"},
      {R"({"job_id":")" + std::string(129, 'j') + R"(","amount":1})", "field_value", "/job_id"},
      {R"({"job_id":"j","amount":"one"})", "amount_malformed", "/amount"},
      {R"({"job_id":"j","amount":0})", "amount_zero", "/amount"},
      {R"({"job_id":"j","amount":1,"gpu_type":7})", "field_type", "/gpu_type"},
      {R"({"job_id":"j","amount":1,"gpu_type":""})", "field_value", "/gpu_type"},
      {R"({"job_id":"j","amount":1,"expires_in_s":0})", "field_value", "/expires_in_s"},
      {R"({"job_id":"j","amount":1,"expires_in_s":31536001})", "field_value", "/expires_in_s"},
      {R"({"job_id":"j","amount":1,"expires_in_s":1.5})", "field_type", "/expires_in_s"},
      {R"({"job_id":"j","amount":1,"expires_in_s":1e400})", "field_type", "/expires_in_s"},
      {R"({"job_id":"j","amount":1,"expires_in_s":18446744073709551616})", "field_value", "/expires_in_s"},
      {R"({"job_id":"j","amount":1,"host_wallet_id":7})", "field_type", "/host_wallet_id"},
      {R"({"job_id":"j","amount":1,"host_wallet_id":"wlt_x"})", "wallet_unknown", "/host_wallet_id"},
      {R"({"job_id":"j","amount":1,"gpu":"A100"})", "field_unknown", "/gpu"},
      {R"({"job_id":"j","amount":1,"a/b~c":1})", "field_unknown", "/a~1b~0c"},
  };
  const std::string before = town.market.head();
  for (const Row& row : rows) {
    CAPTURE(row.body);
    const Answer answer = town.market.post(town.agent.path("/spend"), town.agent.key, row.body);
    CHECK(answer.status == (std::string_view(row.code) == "wallet_unknown" ? 404 : 422));
    CHECK(answer.code() == row.code);
    CHECK(answer.field() == row.field);
  }
  CHECK(town.market.head() == before);
  CHECK(town.market.spend(town.agent, std::string(128, 'j'), "1", R"("expires_in_s":31536000)").status ==
        200);
}

TEST_CASE("CX-25: too little is 402 and changes nothing") {
  Town town;
  town.market.fund(town.agent, "8");
  const std::string before = town.market.head();
  const Answer poor = town.market.spend(town.agent, "job-1", "8.000001");
  CHECK(poor.status == 402);
  CHECK(poor.code() == "insufficient_balance");
  CHECK(town.market.head() == before);
  CHECK(town.market.spend(town.agent, "job-1", "8").status == 200);
}

TEST_CASE("CX-26: a spend that breaks several rules is told the first") {
  // Each row's request breaks the rule that it is told and every one below it.
  Town town;
  Market& market = town.market;
  const Owner bound = market.agent(
      town.alice, "bound",
      R"("spend_cap_per_job":50,"spend_cap_per_hour":40,"approval_threshold":20,"allowed_gpu_types":["A100"])");
  market.fund(bound, "10");
  REQUIRE(market.spend(bound, "used", "1", R"("gpu_type":"A100")").status == 200);
  REQUIRE(market.post(bound.path("/release"), bound.key, R"({"job_id":"burned"})").status == 200);
  const std::string frozen = R"({"status":"frozen"})";
  const std::string thawed = R"({"status":"active"})";

  struct Row {
    const char* says;
    const char* method;
    std::string target;
    std::string key;
    std::string body;
    bool is_frozen;
    int status;
    const char* code;
  };
  const std::string path = bound.path("/spend");
  const std::string huge(calyx::request_body_max + 1, ' ');
  const std::string all_wrong = R"({"job_id":"j","amount":1000,"gpu_type":"H100"})";
  const Row rows[] = {
      {"a target", "POST", "v1", "nobody", huge, true, 400, "malformed_target"},
      {"a route", "PUT", "/v1/wallet", "nobody", huge, true, 404, "route_unknown"},
      {"a method", "PUT", path, "nobody", huge, true, 405, "method_not_allowed"},
      {"a key", "POST", path, "nobody", huge, true, 401, "unauthorized"},
      {"a wallet", "POST", "/v1/wallets/wlt_x/spend", bound.key, huge, true, 404, "wallet_unknown"},
      {"one's own", "POST", town.host.path("/spend"), bound.key, huge, true, 403, "not_your_wallet"},
      {"one's own, not one's agent's", "POST", path, town.alice.key, huge, true, 403, "not_your_wallet"},
      {"a body's size", "POST", path, bound.key, huge, true, 413, "too_large"},
      {"JSON", "POST", path, bound.key, "{", true, 400, "not_json"},
      {"a field's shape", "POST", path, bound.key, R"({"job_id":"used","amount":-1})", true, 422,
       "amount_negative"},
      {"a job id's one meaning", "POST", path, bound.key,
       R"({"job_id":"used","amount":1000,"gpu_type":"H100"})", true, 409, "job_id_reused"},
      {"a burned job id", "POST", path, bound.key, R"({"job_id":"burned","amount":1000,"gpu_type":"H100"})",
       true, 409, "job_burned"},
      {"an active wallet", "POST", path, bound.key, all_wrong, true, 403, "wallet_not_active"},
      {"an allowed GPU", "POST", path, bound.key, all_wrong, false, 403, "gpu_not_allowed"},
      {"the job's cap", "POST", path, bound.key, R"({"job_id":"j","amount":1000,"gpu_type":"A100"})", false,
       403, "spend_cap_per_job"},
      {"the hour's cap", "POST", path, bound.key, R"({"job_id":"j","amount":45,"gpu_type":"A100"})", false,
       403, "spend_cap_per_hour"},
      {"an approval", "POST", path, bound.key, R"({"job_id":"j","amount":30,"gpu_type":"A100"})", false, 403,
       "approval_required"},
      {"the balance", "POST", path, bound.key, R"({"job_id":"j","amount":15,"gpu_type":"A100"})", false, 402,
       "insufficient_balance"},
      {"nothing", "POST", path, bound.key, R"({"job_id":"j","amount":9,"gpu_type":"A100"})", false, 200,
       "absent"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    REQUIRE(market.patch(bound.path(), market.op, row.is_frozen ? frozen : thawed).status == 200);
    const Answer answer = market.send(row.method, row.target, row.key, row.body);
    CHECK(answer.status == row.status);
    CHECK(answer.code() == row.code);
    const std::string rule = answer.at("error.details.rule");
    if (row.status == 402 || (row.status == 403 && !row.is_frozen)) CHECK(rule == row.code);
  }
}

TEST_CASE("CX-26: a parent's rule speaks after the wallet's own of the same kind") {
  Town town;
  town.market.fund(town.agent, "100");
  REQUIRE(
      town.market
          .patch(town.alice.path(), town.market.op, R"({"spend_cap_per_job":5,"allowed_gpu_types":["A100"]})")
          .status == 200);
  REQUIRE(town.market.patch(town.agent.path(), town.alice.key, R"({"spend_cap_per_job":6})").status == 200);
  const Answer own = town.market.spend(town.agent, "j", "7", R"("gpu_type":"A100")");
  CHECK(own.at("error.details.limit") == "6.0");
  CHECK(own.at("error.details.wallet_id") == town.agent.id);
  const Answer parents = town.market.spend(town.agent, "j", "6", R"("gpu_type":"A100")");
  CHECK(parents.at("error.details.limit") == "5.0");
  CHECK(parents.at("error.details.wallet_id") == town.alice.id);
  CHECK(town.market.spend(town.agent, "j", "5", R"("gpu_type":"H100")").code() == "gpu_not_allowed");
}

TEST_CASE("CX-27: spends that race overdraw nothing and exceed no cap") {
  Town town;
  const Owner hourly = town.market.agent(town.alice, "hourly", R"("spend_cap_per_hour":7)");
  town.market.fund(town.agent, "5");
  town.market.fund(hourly, "100");
  constexpr int callers = 4;
  constexpr int each = 5;
  std::atomic<int> rich = 0, poor = 0, capped = 0, passed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < callers; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const std::string job = "job-" + std::to_string(t) + "-" + std::to_string(i);
        const auto spend = [&](const Owner& wallet) {
          return calyx::handle(town.market.engine(), {"POST",
                                                      wallet.path("/spend"),
                                                      {{"X-API-Key", wallet.key}},
                                                      R"({"amount":1,"job_id":")" + job + "\"}"})
              .status;
        };
        const int first = spend(town.agent);
        (first == 200 ? rich : poor) += first == 200 || first == 402;
        const int second = spend(hourly);
        (second == 200 ? passed : capped) += second == 200 || second == 403;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(rich == 5);
  CHECK(poor == callers * each - 5);
  CHECK(passed == 7);
  CHECK(capped == callers * each - 7);
  CHECK(town.market.balance(town.agent) == "0.0");
  CHECK(town.market.wallet(town.agent).at("held") == "5.0");
}

TEST_CASE("CX-28: the same spend again is the first answer, another with its job id a conflict") {
  Town town;
  town.market.fund(town.agent, "10");
  const Answer first = town.market.spend(town.agent, "job-1", "4", R"("gpu_type":"A100")");
  town.market.spend(town.agent, "job-2", "1");
  const Answer again = town.market.spend(town.agent, "job-1", "4.00", R"("gpu_type":"A100")");
  CHECK(again.status == 200);
  CHECK(again.replayed());
  CHECK_FALSE(first.replayed());
  CHECK(again.body == first.body);
  const Answer other = town.market.spend(town.agent, "job-1", "5", R"("gpu_type":"A100")");
  CHECK(other.status == 409);
  CHECK(other.code() == "job_id_reused");
  CHECK(other.field() == "/amount");
  CHECK(town.market.spend(town.agent, "job-1", "4", R"("gpu_type":"H100")").field() == "/gpu_type");
  CHECK(town.market.wallet(town.agent).at("held") == "5.0");
  // The id is the payer's own: another wallet may use it.
  town.market.fund(town.host, "10");
  CHECK(town.market.spend(town.host, "job-1", "1").status == 200);
}

TEST_CASE("CX-29: a lock is seen as held, and comes back by release or expiry") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  const Answer one =
      market.spend(town.agent, "job-1", "4", R"("gpu_type":"A100","host_wallet_id":")" + town.host.id + "\"");
  market.spend(town.agent, "job-2", "3", R"("expires_in_s":60)");
  Answer escrows = market.get(town.agent.path("/escrows"), town.agent.key);
  CHECK(escrows.items() == 2);
  CHECK(escrows.at("items.0.job_id") == "job-1");
  CHECK(escrows.at("items.0.payer_wallet_id") == town.agent.id);
  CHECK(escrows.at("items.0.host_wallet_id") == town.host.id);
  CHECK(escrows.at("items.0.amount") == "4.0");
  CHECK(escrows.at("items.0.gpu_type") == "A100");
  CHECK(escrows.at("items.0.state") == "open");
  CHECK(escrows.at("items.0.locked_by") == one.at("txn_id"));
  CHECK(escrows.at("items.0.expires_at") == "null");
  CHECK(escrows.at("items.0.ended_by") == "null");
  CHECK(escrows.at("items.0.receipt_id") == "null");
  CHECK(escrows.at("items.1.host_wallet_id") == "null");
  CHECK(escrows.at("items.1.gpu_type") == "null");
  CHECK(escrows.at("items.1.expires_at") == "2026-04-01T21:01:00Z");

  const Answer released = market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"job-1"})");
  CHECK(released.status == 200);
  CHECK(released.members() == "txn_id job_id amount new_balance burned");
  CHECK(released.at("amount") == "4.0");
  CHECK(released.at("new_balance") == "7.0");
  CHECK(released.at("burned") == "false");
  const Answer again = market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"job-1"})");
  CHECK(again.replayed());
  CHECK(again.body == released.body);
  CHECK(market.earn(town.host, town.host.key, "job-1", "1").code() == "escrow_released");

  market.pass_us(59'999'999);
  CHECK(market.wallet(town.agent).at("expired_pending") == "0.0");
  market.pass_us(1);
  CHECK(market.wallet(town.agent).at("expired_pending") == "3.0");
  CHECK(market.wallet(town.agent).at("balance") == "7.0");
  const Answer late = market.earn(town.host, market.op, "job-2", "1");
  CHECK(late.status == 410);
  CHECK(late.code() == "escrow_expired");
  CHECK(market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"job-2"})").status == 410);
  // The next write brings it back first, so all of it may be spent.
  CHECK(market.spend(town.agent, "job-3", "10").status == 200);
  CHECK(market.wallet(town.agent).at("expired_pending") == "0.0");
  escrows = market.get(town.agent.path("/escrows"), town.agent.key);
  CHECK(escrows.at("items.0.state") == "released");
  CHECK(escrows.at("items.1.state") == "expired");
  CHECK(escrows.at("items.2.state") == "open");
}

TEST_CASE("CX-29: releasing a job id that was never seen burns it") {
  Town town;
  town.market.fund(town.agent, "10");
  const Answer burned = town.market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"gone"})");
  CHECK(burned.status == 200);
  CHECK(burned.at("burned") == "true");
  CHECK(burned.at("amount") == "0.0");
  CHECK(town.market.spend(town.agent, "gone", "1").code() == "job_burned");
  CHECK(town.market.balance(town.agent) == "10.0");
}

TEST_CASE("CX-30, CX-32: an earn settles, takes the fee, pays the host and signs a receipt") {
  Town town;
  town.market.fund(town.agent, "12.40");
  town.market.spend(town.agent, "job-441", "4.00", R"("host_wallet_id":")" + town.host.id + "\"");
  const Answer earned = town.market.earn(town.host, town.host.key, "job-441", "3.80");
  CHECK(earned.status == 200);
  CHECK(earned.members() == "txn_id gross_amount platform_fee net_payout new_balance receipt_id");
  CHECK(earned.body.find(R"("gross_amount":3.8,"platform_fee":0.57,"net_payout":3.23,"new_balance":3.23,)") !=
        std::string::npos);
  CHECK(town.market.wallet(town.agent).at("held") == "0.0");
  CHECK(town.market.balance(town.agent) == "8.6");
  const Answer escrows = town.market.get(town.agent.path("/escrows"), town.agent.key);
  CHECK(escrows.at("items.0.state") == "settled");
  CHECK(escrows.at("items.0.ended_by") == earned.at("txn_id"));
  CHECK(escrows.at("items.0.receipt_id") == earned.at("receipt_id"));
}

TEST_CASE("CX-30: who may earn: the host that the lock names, or the operator where none is named") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  market.spend(town.agent, "named", "1", R"("host_wallet_id":")" + town.host.id + "\"");
  market.spend(town.agent, "open", "1");
  CHECK(market.earn(town.alice, town.alice.key, "named", "1").code() == "not_the_host");
  CHECK(market.earn(town.alice, market.op, "named", "1").status == 403);
  CHECK(market.earn(town.host, town.host.key, "open", "1").code() == "not_the_host");
  CHECK(market.earn(town.host, town.alice.key, "named", "1").code() == "not_your_wallet");
  CHECK(market.earn(town.host, town.host.key, "named", "1").status == 200);
  CHECK(market.earn(town.host, market.op, "open", "1").status == 200);

  // Two payers with one job id: the payer must be named.
  market.fund(town.alice, "10");
  market.spend(town.agent, "twin", "1", R"("host_wallet_id":")" + town.host.id + "\"");
  market.spend(town.alice, "twin", "2", R"("host_wallet_id":")" + town.host.id + "\"");
  const Answer which = market.earn(town.host, town.host.key, "twin", "1");
  CHECK(which.status == 409);
  CHECK(which.code() == "job_ambiguous");
  CHECK(market.earn(town.host, town.host.key, "twin", "2", R"("payer_wallet_id":")" + town.alice.id + "\"")
            .status == 200);
  CHECK(market.earn(town.host, town.host.key, "twin", "1", R"("payer_wallet_id":")" + town.agent.id + "\"")
            .status == 200);
}

TEST_CASE("CX-31: every field of an earn is needed") {
  Town town;
  town.market.fund(town.agent, "10");
  town.market.spend(town.agent, "job-1", "4");
  const std::string hash(64, 'a');
  const std::pair<const char*, std::string> fields[] = {
      {"job_id", "\"job-1\""},       {"gross_amount", "1"},     {"output_hash", "\"" + hash + "\""},
      {"gpu_model", "\"RTX 4090\""}, {"duration_seconds", "1"},
  };
  const auto body = [&](std::string_view changed, std::string_view value) {
    std::string out = "{";
    for (const auto& [name, good] : fields) {
      const std::string_view said = name == changed ? value : std::string_view(good);
      if (said.empty()) continue;
      out += (out.size() == 1 ? "\"" : ",\"") + std::string(name) + "\":" + std::string(said);
    }
    return out + "}";
  };
  struct Row {
    const char* field;
    std::string value;
    const char* code;
  };
  const Row rows[] = {
      {"job_id", "", "field_missing"},
      {"job_id", "441", "field_type"},
      {"gross_amount", "", "field_missing"},
      {"gross_amount", "-1", "amount_negative"},
      {"gross_amount", "null", "field_type"},
      {"output_hash", "", "field_missing"},
      {"output_hash", "7", "field_type"},
      {"gpu_model", "", "field_missing"},
      {"gpu_model", "\"\"", "field_value"},
      {"gpu_model", "\"" + std::string(129, 'g') + "\"", "field_value"},
      {"gpu_model", "[]", "field_type"},
      {"duration_seconds", "", "field_missing"},
      {"duration_seconds", "-1", "field_value"},
      {"duration_seconds", "9007199254740992", "field_value"},
      {"duration_seconds", "9223372036854775808", "field_value"},
      {"duration_seconds", "1.0", "field_type"},
      {"duration_seconds", "\"1\"", "field_type"},
  };
  const std::string before = town.market.head();
  for (const Row& row : rows) {
    CAPTURE(row.field);
    CAPTURE(row.value);
    const Answer answer =
        town.market.post(town.host.path("/earn"), town.market.op, body(row.field, row.value));
    CHECK(answer.status == 422);
    CHECK(answer.code() == row.code);
    CHECK(answer.field() == "/" + std::string(row.field));
  }
  CHECK(town.market.head() == before);
  CHECK(
      town.market.post(town.host.path("/earn"), town.market.op, body("duration_seconds", "9007199254740991"))
          .status == 200);
}

TEST_CASE("CX-33: fee and net make the gross at every amount, and a half micro goes to the even side") {
  struct Row {
    const char *gross, *fee, *net;
  };
  const Row rows[] = {
      {"3.80", "0.57", "3.23"},
      {"0.000001", "0.0", "0.000001"},
      {"0.000003", "0.0", "0.000003"},
      {"0.000004", "0.000001", "0.000003"},
      {"0.00001", "0.000002", "0.000008"},
      {"0.00003", "0.000004", "0.000026"},
      {"0.00005", "0.000008", "0.000042"},
      {"100", "15.0", "85.0"},
      {"0", "0.0", "0.0"},
  };
  Town town;
  town.market.fund(town.agent, "1000");
  int job = 0;
  for (const Row& row : rows) {
    CAPTURE(row.gross);
    const std::string id = "job-" + std::to_string(++job);
    REQUIRE(town.market.spend(town.agent, id, "100").status == 200);
    const Answer earned = town.market.earn(town.host, town.market.op, id, row.gross);
    CHECK(earned.at("platform_fee") == row.fee);
    CHECK(earned.at("net_payout") == row.net);
  }
}

TEST_CASE("CX-34: what was locked and not used goes back, and more than was locked is refused") {
  Town town;
  town.market.fund(town.agent, "10");
  town.market.spend(town.agent, "job-1", "4");
  const Answer more = town.market.earn(town.host, town.market.op, "job-1", "4.000001");
  CHECK(more.status == 422);
  CHECK(more.code() == "gross_above_locked");
  CHECK(town.market.earn(town.host, town.market.op, "job-1", "3.80").status == 200);
  CHECK(town.market.balance(town.agent) == "6.2");
  town.market.spend(town.agent, "job-2", "6.2");
  CHECK(town.market.earn(town.host, town.market.op, "job-2", "0").status == 200);
  CHECK(town.market.balance(town.agent) == "6.2");
}

TEST_CASE("CX-35: a job settles once: the same earn is the first answer, another a conflict") {
  Town town;
  town.market.fund(town.agent, "10");
  town.market.spend(town.agent, "job-1", "4");
  const Answer unknown = town.market.earn(town.host, town.market.op, "job-0", "1");
  CHECK(unknown.status == 404);
  CHECK(unknown.code() == "job_unknown");
  const Answer first = town.market.earn(town.host, town.market.op, "job-1", "3.80");
  town.market.fund(town.host, "1");
  const Answer again = town.market.earn(town.host, town.market.op, "job-1", "3.8");
  CHECK(again.status == 200);
  CHECK(again.replayed());
  CHECK(again.body == first.body);
  const Answer other = town.market.earn(town.host, town.market.op, "job-1", "3.7");
  CHECK(other.status == 409);
  CHECK(other.code() == "already_settled");
  CHECK(other.field() == "/gross_amount");
  CHECK(town.market.post(town.agent.path("/release"), town.agent.key, R"({"job_id":"job-1"})").code() ==
        "already_settled");
}

TEST_CASE("CX-36: credits are conserved: what was put in is with wallets, in escrow, or the platform's fee") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "100");
  market.fund(town.alice, "20");
  market.spend(town.agent, "a", "10");
  market.spend(town.agent, "b", "10");
  const Answer earned = market.earn(town.host, market.op, "a", "7.77");
  std::int64_t total = 0;
  for (const Owner* wallet : {&town.alice, &town.agent, &town.host}) {
    const Answer view = market.wallet(*wallet);
    total += calyx::core::read_money(view.at("balance")).money.micro;
    total += calyx::core::read_money(view.at("held")).money.micro;
  }
  total += calyx::core::read_money(earned.at("platform_fee")).money.micro;
  CHECK(micro_text(total) == "120.0");
  const Answer audit = market.get("/v1/audit", market.op);
  CHECK(audit.members() == "ok checked seq head");
  CHECK(audit.at("ok") == "true");
  CHECK(audit.at("checked.receipts") == "1");
}

TEST_CASE("CX-37, CX-38: the ledger is read page by page, and nothing on the wire changes it") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "12.40");
  market.spend(town.agent, "job-1", "4");
  market.earn(town.host, market.op, "job-1", "3.80");
  const Answer all = market.get(town.agent.path("/entries"), town.agent.key);
  CHECK(all.items() == 3);
  CHECK(all.at("next") == "null");
  struct Row {
    const char *kind, *amount, *job;
  };
  const Row rows[] = {{"topup", "12.4", "null"}, {"spend", "-4.0", "job-1"}, {"earn", "0.2", "job-1"}};
  std::string after;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string at = "items." + std::to_string(i);
    CHECK(all.at(at + ".kind") == rows[i].kind);
    CHECK(all.at(at + ".amount") == rows[i].amount);
    CHECK(all.at(at + ".job_id") == rows[i].job);
    const Answer page = market.get(
        town.agent.path("/entries?limit=1" + (after.empty() ? "" : "&after=" + after)), town.agent.key);
    CHECK(page.at("items.0.txn_id") == all.at(at + ".txn_id"));
    after = page.at("next");
  }
  CHECK(after == "null");
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    const Answer refused = market.send(method, town.agent.path("/entries"), market.op, "{}");
    CHECK(refused.status == 405);
    CHECK(refused.header("Allow") == "GET");
  }
}

TEST_CASE("CX-38: the ledger is exported in three forms, to the operator") {
  Town town;
  town.market.fund(town.agent, "12.40");
  CHECK(town.market.get("/v1/export?format=csv", town.agent.key).code() == "operator_only");
  CHECK(town.market.get("/v1/export?format=csv", town.market.op).header("Content-Type") ==
        "text/csv; charset=utf-8");
  CHECK(town.market.get("/v1/export?format=jsonl", town.market.op).body.find("12.4") != std::string::npos);
  CHECK(town.market.get("/v1/export?format=hledger", town.market.op).status == 200);
  CHECK(town.market.get("/v1/export?format=xml", town.market.op).field() == "format");
  CHECK(town.market.get("/v1/export", town.market.op).code() == "field_missing");
}

TEST_CASE("CX-39: inside, credits move without any processor of payments") {
  Town town;  // no payout interface is given, and none is missed
  town.market.fund(town.alice, "2000");
  CHECK(town.market
            .post(town.alice.path("/transfer"), town.alice.key,
                  R"({"to_wallet_id":")" + town.host.id + R"(","amount":2000})")
            .status == 200);
  CHECK(town.market.balance(town.host) == "2000.0");
}

TEST_CASE("CX-40: agents pay each other at once and free, within their own rules") {
  Town town;
  const Owner other = town.market.agent(town.host, "other");
  const Owner bound = town.market.agent(town.alice, "bound", R"("spend_cap_per_job":3)");
  town.market.fund(town.agent, "5");
  town.market.fund(bound, "5");
  const auto transfer = [&](const Owner& from, const Owner& to, const char* amount, const char* once = "") {
    return town.market.post(from.path("/transfer"), from.key,
                            R"({"to_wallet_id":")" + to.id + R"(","amount":)" + amount + "}", once);
  };
  const Answer first = transfer(town.agent, other, "1.25", "pay-1");
  CHECK(first.status == 200);
  CHECK(first.at("new_balance") == "3.75");
  CHECK(town.market.balance(other) == "1.25");
  CHECK(transfer(town.agent, other, "1.25", "pay-1").replayed());
  CHECK(transfer(town.agent, other, "1.26", "pay-1").code() == "key_reused");
  CHECK(transfer(town.agent, town.agent, "1").code() == "same_wallet");
  CHECK(transfer(town.agent, Owner{"wlt_x", ""}, "1").code() == "wallet_unknown");
  CHECK(transfer(town.agent, Owner{"wlt_x", ""}, "1").field() == "/to_wallet_id");
  CHECK(transfer(town.agent, other, "9").code() == "insufficient_balance");
  CHECK(transfer(bound, other, "3.5").code() == "spend_cap_per_job");
  CHECK(town.market.balance(other) == "1.25");
}

TEST_CASE("CX-41: only a payout goes outside: debited at once, confirmed or given back") {
  Town town;
  Market& market = town.market;
  market.fund(town.host, "10");
  const auto ask = [&](const char* body, const char* once = "") {
    return market.post(town.host.path("/payouts"), town.host.key, body, once);
  };
  const Answer asked = ask(R"({"amount":4,"destination":"IBAN DE00"})", "out-1");
  CHECK(asked.status == 202);
  CHECK(asked.members() == "id txn_id wallet_id amount destination status new_balance created_at");
  CHECK(asked.at("status") == "pending");
  CHECK(asked.at("new_balance") == "6.0");
  const Answer again = ask(R"({"amount":4,"destination":"IBAN DE00"})", "out-1");
  CHECK(again.status == 202);
  CHECK(again.replayed());
  CHECK(again.body == asked.body);
  CHECK(market.post("/v1/payouts/" + asked.at("id") + "/confirm", town.host.key).code() == "operator_only");
  CHECK(market.post("/v1/payouts/" + asked.at("id") + "/confirm", market.op).at("status") == "confirmed");
  CHECK(market.post("/v1/payouts/" + asked.at("id") + "/fail", market.op).code() == "payout_decided");
  const Answer second = ask(R"({"amount":6,"destination":"IBAN DE00"})");
  CHECK(second.at("new_balance") == "0.0");
  const Answer failed = market.post("/v1/payouts/" + second.at("id") + "/fail", market.op);
  CHECK(failed.status == 200);
  CHECK(failed.at("status") == "failed");
  CHECK(market.balance(town.host) == "6.0");
  CHECK(ask(R"({"amount":6})").field() == "/destination");
  CHECK(ask(R"({"amount":7,"destination":"x"})").status == 402);
  CHECK(market.post("/v1/payouts/pay_x/fail", market.op).code() == "payout_unknown");
}

// ── receipts ──

TEST_CASE("CX-42, CX-43: a receipt holds what was bought, in the documents' words") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "12.40");
  market.spend(town.agent, "job-441", "4.00");
  const Answer earned = market.earn(town.host, market.op, "job-441", "3.42");
  const Answer receipt = market.get("/v1/receipts/" + earned.at("receipt_id"), town.agent.key);
  CHECK(receipt.status == 200);
  const std::pair<const char*, std::string> fields[] = {
      {"receipt_id", earned.at("receipt_id")},
      {"id", earned.at("receipt_id")},
      {"flops_spent", "3.42"},
      {"output_hash", "sha256:" + std::string(64, 'a')},
      {"gpu_model", "RTX 4090"},
      {"duration_seconds", "10082"},
      {"verified", "true"},
      {"job_id", "job-441"},
      {"payer_wallet", town.agent.id},
      {"host_wallet", town.host.id},
      {"issued_at", "2026-04-01T21:00:00Z"},
      {"amount.unit", "FLOPS"},
      {"amount.gross", "3.42"},
      {"amount.platform_fee", "0.513"},
      {"amount.net", "2.907"},
      {"fee_basis_points", "1500"},
      {"type", "calyx.compute_receipt"},
  };
  for (const auto& field : fields) {
    CAPTURE(field.first);
    CHECK(receipt.at(field.first) == field.second);
  }
  CHECK(market.get(town.agent.path("/receipts"), town.agent.key).at("items.0.jws") == receipt.at("jws"));
  CHECK(market.get(town.host.path("/receipts"), town.host.key).items() == 1);
  CHECK(market.get(town.alice.path("/receipts"), town.alice.key).items() == 0);
  CHECK(market.get("/v1/receipts/" + earned.at("receipt_id"), town.host.key).status == 200);
  CHECK(market.get("/v1/receipts/" + earned.at("receipt_id"), market.human("eve").key).code() ==
        "receipt_unknown");
  CHECK(market.get("/v1/receipts/rcpt_x", town.agent.key).code() == "receipt_unknown");
}

TEST_CASE("CX-44: whoever has the public keys verifies a receipt without the market") {
  std::string document, jws, keys;
  {
    Town town;
    town.market.fund(town.agent, "10");
    town.market.spend(town.agent, "job-1", "4");
    const Answer earned = town.market.earn(town.host, town.market.op, "job-1", "4");
    const Answer receipt = town.market.get("/v1/receipts/" + earned.at("receipt_id"), town.agent.key);
    document = receipt.body;
    jws = receipt.at("jws");
    keys = town.market.get("/v1/receipts/keys", {}).body;
  }
  CHECK(calyx::verify_receipt(document, keys).valid);
  CHECK(calyx::verify_receipt(jws, keys).valid);
  CHECK_FALSE(calyx::verify_receipt(jws, R"({"keys":[]})").valid);
  Market other;
  CHECK(other.post("/v1/receipts/verify", {}, jws).at("reason") == "key");
}

TEST_CASE("CX-45: a receipt is verified on the wire by anybody, in each of its forms") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  market.spend(town.agent, "job-1", "4");
  const Answer earned = market.earn(town.host, market.op, "job-1", "4");
  const Answer receipt = market.get("/v1/receipts/" + earned.at("receipt_id"), town.agent.key);
  const std::string jws = receipt.at("jws");
  const auto verify = [&](const std::string& body) { return market.post("/v1/receipts/verify", {}, body); };
  CHECK(verify(receipt.body).body == R"({"valid":true})");
  CHECK(verify(jws).body == R"({"valid":true})");
  CHECK(verify(jws + "\n").at("valid") == "true");
  CHECK(verify("{\"jws\":\"" + jws + "\"}").at("valid") == "true");

  // One byte, anywhere in the JWS.
  int valid = 0;
  for (std::size_t i = 0; i < jws.size(); ++i) {
    std::string changed = jws;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const Answer answer = verify(changed);
    REQUIRE(answer.status == 200);
    if (answer.at("valid") != "false" || answer.at("reason") == "absent") ++valid;
  }
  CHECK(valid == 0);

  std::string document = receipt.body;
  document.replace(document.find("RTX 4090"), 8, "RTX 4091");
  CHECK(verify(document).body == R"({"valid":false,"reason":"fields_differ"})");
  CHECK(verify("no receipt").at("reason") == "malformed");
  CHECK(verify("{}").at("valid") == "false");
  CHECK(verify("{").at("valid") == "false");
  CHECK(verify("").code() == "not_json");
  CHECK(verify(std::string(calyx::request_body_max + 1, 'A')).status == 413);

  const Answer keys = market.get("/v1/receipts/keys", {});
  CHECK(keys.status == 200);
  CHECK(keys.at("keys.0.kty") == "OKP");
  CHECK(keys.at("keys.0.crv") == "Ed25519");
  CHECK(keys.at("keys.0.d") == "absent");
}

TEST_CASE("CX-45: the log of receipts proves itself, and an anchor holds the market to it") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  std::vector<std::string> receipts;
  for (int i = 0; i < 3; ++i) {
    market.spend(town.agent, "job-" + std::to_string(i), "1");
    receipts.push_back(market.earn(town.host, market.op, "job-" + std::to_string(i), "1").at("receipt_id"));
  }
  const Answer proof = market.get("/v1/receipts/" + receipts[1] + "/proof", town.agent.key);
  CHECK(proof.status == 200);
  CHECK(proof.members() == "leaf_index tree_size leaf_hash root_hash path checkpoint");
  CHECK(proof.at("leaf_index") == "1");
  CHECK(proof.at("tree_size") == "3");
  CHECK(proof.find("path")->array()->size() == 2);
  CHECK(market.get("/v1/receipts/" + receipts[1] + "/proof", market.human("eve").key).status == 404);

  const Answer grown = market.get("/v1/receipts/consistency?old_size=1&new_size=3", town.agent.key);
  CHECK(grown.status == 200);
  CHECK(grown.members() == "old_size new_size old_root_hash new_root_hash path");
  CHECK(grown.at("new_root_hash") == proof.at("root_hash"));
  CHECK(market.get("/v1/receipts/consistency?old_size=1", town.agent.key).field() == "new_size");
  CHECK(market.get("/v1/receipts/consistency?old_size=-1&new_size=3", town.agent.key).field() == "old_size");
  CHECK(market.get("/v1/receipts/consistency?old_size=1&new_size=4", town.agent.key).status >= 400);

  const Answer note = market.get("/v1/receipts/checkpoint", town.agent.key);
  CHECK(note.status == 200);
  CHECK(note.header("Content-Type") == "text/plain; charset=utf-8");
  CHECK(note.body == proof.at("checkpoint"));

  const Answer document = market.get("/v1/receipts/" + receipts[0], town.agent.key);
  std::string as_text = "{\"anchor\":";
  json::append_string(as_text, note.body);
  as_text += "}";
  CHECK(market.post("/v1/audit", market.op, as_text).at("ok") == "true");
  CHECK(market.post("/v1/audit", market.op, "{\"anchor\":" + document.body + "}").at("ok") == "true");
  CHECK(market.post("/v1/audit", market.op, "{\"anchor\":\"" + document.at("jws") + "\"}").at("ok") ==
        "true");
  CHECK(market.post("/v1/audit", market.op, "{}").at("ok") == "true");
  CHECK(market.post("/v1/audit", market.op, R"({"depth":"each"})").at("checked.signatures") == "3");
  CHECK(market.post("/v1/audit", market.op, R"({"depth":"deep"})").field() == "/depth");
  CHECK(market.post("/v1/audit", market.op, R"({"anchor":7})").code() == "field_type");
  CHECK(market.post("/v1/audit", market.op, R"({"anchor":"nonsense"})").code() == "anchor_malformed");
  CHECK(market.get("/v1/audit?depth=each", market.op).at("ok") == "true");
  CHECK(market.get("/v1/audit", town.alice.key).code() == "operator_only");
}

TEST_CASE("CX-46: an output hash is 64 hex digits, with the prefix or without, and is kept in one form") {
  Town town;
  town.market.fund(town.agent, "100");
  const std::string digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  std::string upper = digits;
  for (char& c : upper)
    if (c >= 'a') c = static_cast<char>(c - 'a' + 'A');
  int job = 0;
  const auto settle = [&](const std::string& hash) {
    const std::string id = "job-" + std::to_string(++job);
    REQUIRE(town.market.spend(town.agent, id, "1").status == 200);
    return town.market.post(town.host.path("/earn"), town.market.op,
                            R"({"job_id":")" + id + R"(","gross_amount":1,"output_hash":")" + hash +
                                R"(","gpu_model":"A100","duration_seconds":1})");
  };
  for (const std::string& good : {digits, "sha256:" + digits, upper, "sha256:" + upper}) {
    CAPTURE(good);
    const Answer earned = settle(good);
    REQUIRE(earned.status == 200);
    CHECK(town.market.get("/v1/receipts/" + earned.at("receipt_id"), town.agent.key).at("output_hash") ==
          "sha256:" + digits);
  }
  for (const std::string& bad : {digits.substr(1), digits + "0", "sha512:" + digits, "SHA256:" + digits,
                                 "g" + digits.substr(1), std::string()}) {
    CAPTURE(bad);
    const Answer refused = settle(bad);
    CHECK(refused.status == 422);
    CHECK(refused.field() == "/output_hash");
  }
}

TEST_CASE("CX-47: a key alone finds its wallet and its live balance") {
  Town town;
  town.market.fund(town.agent, "12.40");
  const Answer mine = town.market.get("/v1/wallets", town.agent.key);
  CHECK(mine.items() == 1);
  CHECK(mine.at("items.0.balance") == "12.4");
  town.market.spend(town.agent, "job-1", "4");
  CHECK(town.market.get("/v1/wallets", town.agent.key).at("items.0.balance") == "8.4");
}

// ── promotion, approvals, statuses ──

TEST_CASE("CX-50: the first fifty owners get 2,000 FLOPS, once each") {
  Town town;
  Market& market = town.market;
  const auto grant = [&](const Owner& wallet, std::string_view key) {
    return market.post("/v1/grants", key, R"({"wallet_id":")" + wallet.id + "\"}");
  };
  CHECK(grant(town.alice, town.alice.key).code() == "operator_only");
  CHECK(grant(town.agent, market.op).code() == "human_only");
  const Answer first = grant(town.alice, market.op);
  CHECK(first.status == 200);
  CHECK(first.members() == "txn_id amount new_balance remaining");
  CHECK(first.at("amount") == "2000.0");
  CHECK(first.at("remaining") == "49");
  CHECK(grant(town.alice, market.op).code() == "grant_taken");
  for (int i = 2; i <= 50; ++i) {
    const Answer next = grant(market.human("dev-" + std::to_string(i)), market.op);
    REQUIRE(next.status == 200);
    CHECK(next.at("remaining") == std::to_string(50 - i));
  }
  const Answer late = grant(market.human("dev-51"), market.op);
  CHECK(late.status == 409);
  CHECK(late.code() == "grants_exhausted");
  CHECK(market.post("/v1/grants", market.op, R"({"wallet_id":"wlt_x"})").status == 404);
}

TEST_CASE("CX-51: the refused spend waits for a human, and once approved passes once") {
  Town town;
  Market& market = town.market;
  const Owner gated = market.agent(town.alice, "gated", R"("approval_threshold":5)");
  market.fund(gated, "100");
  const Answer refused = market.spend(gated, "job-1", "10", R"("gpu_type":"A100")");
  CHECK(refused.code() == "approval_required");
  const std::string id = refused.at("error.details.approval_id");
  CHECK(market.spend(gated, "job-1", "10", R"("gpu_type":"A100")").at("error.details.approval_id") == id);
  CHECK(market.spend(gated, "job-1", "11", R"("gpu_type":"A100")").at("error.details.approval_id") != id);

  const Answer waiting = market.get(gated.path("/approvals"), town.alice.key);
  CHECK(waiting.items() == 2);
  CHECK(waiting.at("items.0.id") == id);
  CHECK(waiting.at("items.0.status") == "pending");
  CHECK(waiting.at("items.0.operation") == "spend");
  CHECK(waiting.at("items.0.amount") == "10.0");
  CHECK(waiting.at("items.0.job_id") == "job-1");
  CHECK(waiting.at("items.0.gpu_type") == "A100");

  const std::string approve = "/v1/approvals/" + id + "/approve";
  CHECK(market.post(approve, gated.key).code() == "human_only");
  CHECK(market.post(approve, town.host.key).status == 403);
  CHECK(market.post("/v1/approvals/apr_x/approve", town.alice.key).code() == "approval_unknown");
  const Answer approved = market.post(approve, town.alice.key);
  CHECK(approved.status == 200);
  CHECK(approved.members() == "id wallet_id status operation amount job_id gpu_type created_at expires_at");
  CHECK(approved.at("status") == "approved");
  CHECK(market.post(approve, town.alice.key).status == 200);
  CHECK(market.post("/v1/approvals/" + id + "/deny", town.alice.key).code() == "approval_decided");

  CHECK(market.spend(gated, "job-1", "10", R"("gpu_type":"A100")").status == 200);
  CHECK(market.get(gated.path("/approvals"), town.alice.key).at("items.0.status") == "used");
  CHECK(market.spend(gated, "job-2", "10", R"("gpu_type":"A100")").code() == "approval_required");

  // A denial stands; silence becomes one.
  const Answer next = market.spend(gated, "job-3", "6");
  const std::string other = next.at("error.details.approval_id");
  CHECK(market.post("/v1/approvals/" + other + "/deny", town.alice.key).at("status") == "denied");
  CHECK(market.spend(gated, "job-3", "6").code() == "approval_required");
  const std::string late = market.spend(gated, "job-4", "6").at("error.details.approval_id");
  market.pass_s(24 * 3600);
  const Answer expired = market.post("/v1/approvals/" + late + "/approve", town.alice.key);
  CHECK(expired.status == 410);
  CHECK(expired.code() == "approval_expired");
}

TEST_CASE("CX-52: a wallet that is frozen or closed cannot spend") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  const Answer frozen = market.patch(town.agent.path(), town.alice.key, R"({"status":"frozen"})");
  CHECK(frozen.status == 200);
  CHECK(frozen.at("status") == "frozen");
  const Answer refused = market.spend(town.agent, "job-1", "1");
  CHECK(refused.status == 403);
  CHECK(refused.code() == "wallet_not_active");
  CHECK(market.patch(town.agent.path(), town.alice.key, R"({"status":"closed"})").code() ==
        "wallet_not_empty");
  CHECK(market.patch(town.agent.path(), town.alice.key, R"({"status":"active"})").status == 200);
  CHECK(market
            .post(town.agent.path("/transfer"), town.agent.key,
                  R"({"to_wallet_id":")" + town.alice.id + R"(","amount":10})")
            .status == 200);
  CHECK(market.patch(town.agent.path(), town.alice.key, R"({"status":"closed"})").at("status") == "closed");
  CHECK(market.patch(town.agent.path(), town.alice.key, R"({"status":"active"})").code() ==
        "wallet_not_active");
  CHECK(market.spend(town.agent, "job-1", "1").code() == "wallet_not_active");
}

TEST_CASE("CX-52: a change leaves what it does not name, and null clears a rule") {
  Town town;
  Market& market = town.market;
  const Owner bound = market.agent(
      town.alice, "bound",
      R"("spend_cap_per_job":5,"spend_cap_per_hour":50,"approval_threshold":4,"allowed_gpu_types":["A100"])");
  const Answer changed =
      market.patch(bound.path(), town.alice.key, R"({"spend_cap_per_job":"6.50","allowed_gpu_types":null})");
  CHECK(changed.status == 200);
  CHECK(changed.at("spend_cap_per_job") == "6.5");
  CHECK(changed.at("allowed_gpu_types") == "null");
  CHECK(changed.at("spend_cap_per_hour") == "50.0");
  CHECK(changed.at("approval_threshold") == "4.0");
  const std::string before = market.head();
  CHECK(market.patch(bound.path(), town.alice.key, "{}").body == changed.body);
  CHECK(market.head() == before);

  struct Row {
    const char *body, *code, *field;
  };
  const Row rows[] = {
      {R"({"status":null})", "field_type", "/status"},
      {R"({"status":"open"})", "field_value", "/status"},
      {R"({"spend_cap_per_job":-1})", "amount_negative", "/spend_cap_per_job"},
      {R"({"owner_id":"mallory"})", "field_unknown", "/owner_id"},
      {R"({"balance":1})", "field_unknown", "/balance"},
      {R"({"allowed_gpu_types":["A100","A100"]})", "field_value", "/allowed_gpu_types/1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.body);
    const Answer refused = market.patch(bound.path(), town.alice.key, row.body);
    CHECK(refused.status == 422);
    CHECK(refused.code() == row.code);
    CHECK(refused.field() == row.field);
  }
  CHECK(market.patch(bound.path(), bound.key, "{").code() == "human_only");
  CHECK(market.patch(bound.path(), bound.key, "{}").code() == "human_only");
  CHECK(market.patch(town.alice.path(), town.alice.key, "{").code() == "operator_only");
  CHECK(market.patch(town.alice.path(), town.alice.key, "{}").code() == "operator_only");
  CHECK(market.head() == before);
}

// ── keys and bulk, which the documents imply ──

TEST_CASE("CX-04: a key is rotated in one step, and the old one is gone") {
  Town town;
  Market& market = town.market;
  const std::string id = market.get(town.agent.path("/keys"), town.alice.key).at("items.0.id");
  CHECK(market.post("/v1/keys/" + id + "/rotate", town.agent.key).code() == "human_only");
  const Answer rotated = market.post("/v1/keys/" + id + "/rotate", town.alice.key, {}, "turn-1");
  CHECK(rotated.status == 201);
  CHECK(rotated.members() == "id api_key key_last4 label created_at");
  CHECK(market.get(town.agent.path(), town.agent.key).status == 401);
  CHECK(market.get(town.agent.path(), rotated.at("api_key")).status == 200);
  const Answer again = market.post("/v1/keys/" + id + "/rotate", town.alice.key, {}, "turn-1");
  CHECK(again.replayed());
  CHECK(again.at("id") == rotated.at("id"));
  CHECK(again.at("api_key") == "null");
  CHECK(market.post("/v1/keys/key_x/rotate", town.alice.key).code() == "key_unknown");
  CHECK(market.send("DELETE", "/v1/keys/key_x", town.alice.key).code() == "key_unknown");
  CHECK(market.send("DELETE", "/v1/keys/" + rotated.at("id"), town.host.key).status == 403);
  CHECK(market.post(town.agent.path("/keys"), rotated.at("api_key"), R"({"label":"x"})").code() ==
        "human_only");
  CHECK(market.post(town.agent.path("/keys"), town.alice.key, "{\"label\":\"" + std::string(65, 'x') + "\"}")
            .field() == "/label");
  CHECK(market.post(town.agent.path("/keys"), town.alice.key, "{}").status == 201);
}

TEST_CASE("CX-01: a bulk gives each operation the answer that it would have had alone") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "10");
  const auto item = [](std::string_view op, const Owner& wallet, std::string_view more) {
    return R"({"op":")" + std::string(op) + R"(","wallet_id":")" + wallet.id + "\"" +
           (more.empty() ? "" : ",") + std::string(more) + "}";
  };
  const std::string hash(64, 'a');
  const std::string earn = R"("job_id":"a","gross_amount":3.80,"output_hash":")" + hash +
                           R"(","gpu_model":"A100","duration_seconds":1)";
  const std::string body =
      "{\"operations\":[" + item("spend", town.agent, R"("job_id":"a","amount":4)") + "," +
      item("spend", town.agent, R"("job_id":"b","amount":400)") + "," +
      item("spend", town.agent, R"("job_id":"c","amount":"four")") + "," + item("earn", town.host, earn) +
      "," + item("spend", town.agent, R"("job_id":"a","amount":4)") + "," +
      item("release", town.agent, R"("job_id":"z")") + "," +
      item("topup", town.alice, R"("amount":5,"idempotency_key":"k")") + "," +
      item("topup", town.alice, R"("amount":5,"idempotency_key":"k")") + "," +
      item("transfer", town.alice, R"("amount":1,"to_wallet_id":")" + town.host.id + "\"") + "," +
      item("burn", town.alice, "") + "," + item("spend", Owner{"wlt_x", ""}, "") + ",7,{}]}";
  const Answer answer = market.post("/v1/bulk", market.op, body);
  REQUIRE(answer.status == 200);
  struct Row {
    const char *status, *where, *says, *replayed;
  };
  const Row rows[] = {
      {"200", "amount_locked", "4.0", "absent"},
      {"402", "error.code", "insufficient_balance", "absent"},
      {"422", "error.details.field", "/amount", "absent"},
      {"200", "net_payout", "3.23", "absent"},
      {"200", "new_balance", "6.0", "true"},
      {"200", "burned", "true", "absent"},
      {"200", "new_balance", "5.0", "absent"},
      {"200", "new_balance", "5.0", "true"},
      {"200", "new_balance", "4.0", "absent"},
      {"422", "error.details.field", "/op", "absent"},
      {"404", "error.code", "wallet_unknown", "absent"},
      {"422", "error.code", "field_type", "absent"},
      {"422", "error.details.field", "/op", "absent"},
  };
  REQUIRE(answer.find("outcomes")->array()->size() == std::size(rows));
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    CAPTURE(i);
    const std::string at = "outcomes." + std::to_string(i);
    CHECK(answer.at(at + ".status") == rows[i].status);
    CHECK(answer.at(at + ".body." + rows[i].where) == rows[i].says);
    CHECK(answer.at(at + ".replayed") == rows[i].replayed);
  }
  CHECK(market.balance(town.agent) == "6.2");
}

TEST_CASE("CX-01: a bulk judges each item by the key that sent it, and has at most 1,000") {
  Town town;
  Market& market = town.market;
  market.fund(town.agent, "2000");
  const auto spends = [&](const Owner& wallet, int count) {
    std::string out = "{\"operations\":[";
    for (int i = 0; i < count; ++i)
      out += (i == 0 ? "" : ",") + (R"({"op":"spend","wallet_id":")" + wallet.id) +
             R"(","amount":1,"job_id":"job-)" + std::to_string(i) + "\"}";
    return out + "]}";
  };
  CHECK(market.post("/v1/bulk", town.host.key, spends(town.agent, 1)).at("outcomes.0.status") == "403");
  CHECK(market
            .post("/v1/bulk", town.host.key,
                  R"({"operations":[{"op":"topup","wallet_id":")" + town.host.id + R"(","amount":"x"}]})")
            .at("outcomes.0.body.error.code") == "operator_only");
  const Answer many = market.post("/v1/bulk", town.agent.key, spends(town.agent, 1001));
  CHECK(many.status == 422);
  CHECK(many.code() == "too_many_operations");
  CHECK(market.wallet(town.agent).at("held") == "0.0");
  CHECK(market.post("/v1/bulk", town.agent.key, spends(town.agent, 1000)).at("outcomes.999.status") == "200");
  CHECK(market.wallet(town.agent).at("held") == "1000.0");
  CHECK(market.post("/v1/bulk", town.agent.key, R"({"operations":[]})").body == R"({"outcomes":[]})");
  CHECK(market.post("/v1/bulk", town.agent.key, R"({"operations":{}})").code() == "field_type");
  CHECK(market.post("/v1/bulk", town.agent.key, "{}").field() == "/operations");
}
