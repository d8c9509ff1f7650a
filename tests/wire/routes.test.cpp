// The route table as a table: who gets in where, and what a wrong method is told.
#include <algorithm>
#include <set>

#include "wire/client.hpp"
#include "wire/notes.hpp"

using namespace wire_test;
namespace wire = calyx::wire;

namespace {

std::string path_of(const wire::Route& route, std::string_view id) {
  std::string out(route.path);
  for (const std::string_view parameter : {"{id}", "{key}"})
    if (const std::size_t at = out.find(parameter); at != std::string::npos)
      out.replace(at, parameter.size(), id);
  return out;
}

std::string names_in(std::string_view list) {
  std::string out;
  while (!list.empty()) out += (out.empty() ? "" : " ") + std::string(wire::next_member(list).name);
  return out;
}

}  // namespace

TEST_CASE("every route answers 401 without a key, and with one that is not good, but for the public ones") {
  Market market;
  std::size_t open = 0;
  for (const wire::Route& route : wire::routes()) {
    CAPTURE(route.path);
    const std::string method(word(route.method));
    const std::string path = path_of(route, "wlt_00000000000000000000000000");
    const Answer answer = market.send(method, path, {}, "{");
    if (route.access == wire::Access::anyone) {
      ++open;
      const bool takes_a_ticket = route.path == "/api/v1/artifacts/direct/{id}";
      const bool takes_a_body =
          route.path == "/api/v1/feedback" || route.path.starts_with("/api/v1/auth/wallet/");
      CHECK(answer.status == (takes_a_ticket ? 404 : takes_a_body ? 400 : 200));
      continue;
    }
    CHECK(answer.status == 401);
    CHECK(answer.code() == "unauthorized");
    CHECK(market.send(method, path, "cyx_live_x", "{").status == 401);
  }
  CHECK(open == 18);
}

TEST_CASE("a path answers any other method with 405 and the ones it has") {
  Market market;
  for (const wire::Route& route : wire::routes()) {
    CAPTURE(route.path);
    const std::string path = path_of(route, "x");
    std::string allow;
    for (std::size_t i = 0; i < wire::methods; ++i)
      for (const wire::Route& other : wire::routes())
        if (other.path == route.path && other.method == static_cast<wire::Method>(i))
          allow += (allow.empty() ? "" : ", ") + std::string(word(other.method));
    for (const char* method : {"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "get", ""}) {
      CAPTURE(method);
      const Answer answer = market.send(method, path, {});
      if ((", " + allow + ",").find(", " + std::string(method) + ",") != std::string::npos &&
          *method != '\0') {
        CHECK(answer.status != 405);
        continue;
      }
      CHECK(answer.status == 405);
      CHECK(answer.header("Allow") == allow);
    }
  }
}

TEST_CASE("no route is listed twice, and a path beside the table leads nowhere") {
  const auto routes = wire::routes();
  for (const wire::Route& route : routes)
    CHECK(std::count_if(routes.begin(), routes.end(), [&](const wire::Route& other) {
            return other.method == route.method && other.path == route.path;
          }) == 1);
  for (const wire::Route& route : routes) {
    CAPTURE(route.path);
    const std::string path = path_of(route, "x");
    CHECK(wire::match(word(route.method), path).route == &route);
    for (const std::string& beside : {path + "/", "/" + path, path + "/x/y/z", path.substr(1)})
      CHECK(wire::match(word(route.method), beside).route == nullptr);
  }
  CHECK(wire::match("GET", "").allow == 0);
  CHECK(wire::match("GET", "/").allow == 0);
  CHECK(wire::match("GET", "/v1").allow == 0);
  CHECK(wire::match("GET", "/v1/wallets/a/b/c/d/e/f/g").allow == 0);
}

TEST_CASE("who may do what: principals against routes") {
  // Codes that only say that the door was passed are left out: what matters is 401, 403 and the rest.
  Market market;
  const Owner alice = market.human("alice");
  const Owner agent = market.agent(alice, "agent", R"("approval_threshold":5)");
  const Owner bob = market.human("bob");
  const Owner bot = market.agent(bob, "bot");
  const Answer extra = market.post(agent.path("/keys"), alice.key, R"({"label":"old"})");
  REQUIRE(extra.status == 201);
  REQUIRE(market.send("DELETE", "/v1/keys/" + extra.at("id"), alice.key).status == 200);

  market.fund(agent, "1000");
  market.fund(alice, "1000");
  REQUIRE(market.spend(agent, "paid", "1", R"("host_wallet_id":")" + bob.id + "\"").status == 200);
  const Answer earned = market.earn(bob, bob.key, "paid", "1");
  REQUIRE(earned.status == 200);
  const std::string approval = market.spend(agent, "big", "10").at("error.details.approval_id");
  const std::string payout =
      market.post(alice.path("/payouts"), alice.key, R"({"amount":1,"destination":"d"})").at("id");
  const std::string waiting = market.post("/v1/waitlist", market.op, R"({"owner_id":"w"})").at("id");
  const std::string key = market.get(agent.path("/keys"), alice.key).at("items.1.id");  // revoked already
  const std::string receipt = "/v1/receipts/" + earned.at("receipt_id");
  const std::string job_id = market.post("/api/v1/jobs", agent.key, R"({"task":"t"})").at("job_id");
  const std::string job = "/api/v1/jobs/" + job_id;
  const std::string quote =
      market.post("/api/v1/account/quotes/topup", agent.key, R"({"amount":1})").at("quote_id");
  const std::string code = R"({"name":"code","wallet_id":")" + agent.id + "\"}";
  REQUIRE(market.post("/api/v1/projects", agent.key, code).status == 201);
  const auto project = [&](const std::string& rest) {
    return "/api/v1/projects/code" + rest + "?wallet_id=" + agent.id;
  };

  struct Row {
    const char* method;
    std::string target;
    std::string body;  // good, or without effect
    // operator, alice (its parent), the agent, bob (another human), bot (another agent), a revoked key
    int expected[6];
  };
  const auto to = [](const Owner& wallet) { return R"({"amount":0.5,"to_wallet_id":")" + wallet.id + "\"}"; };
  const std::string create_agent =
      R"({"owner_type":"agent","owner_id":"new","parent_wallet_id":")" + alice.id + "\"}";
  const Row rows[] = {
      {"GET", "/v1/wallets", "", {200, 200, 200, 200, 200, 401}},
      {"POST", "/v1/wallets", create_agent, {201, 201, 403, 403, 403, 401}},
      {"POST", "/v1/wallets", R"({"owner_type":"human","owner_id":"h"})", {201, 403, 403, 403, 403, 401}},
      {"POST", "/v1/wallets", "{", {400, 400, 403, 400, 403, 401}},
      {"GET", agent.path(), "", {200, 200, 200, 403, 403, 401}},
      {"PATCH", agent.path(), R"({"status":"active"})", {200, 200, 403, 403, 403, 401}},
      {"PATCH", agent.path(), "{", {400, 400, 403, 403, 403, 401}},
      {"PATCH", alice.path(), R"({"status":"active"})", {200, 403, 403, 403, 403, 401}},
      {"PATCH", alice.path(), "{", {400, 403, 403, 403, 403, 401}},
      {"POST", agent.path("/topup"), R"({"amount":1})", {200, 403, 403, 403, 403, 401}},
      {"POST", agent.path("/topup"), "{", {400, 403, 403, 403, 403, 401}},
      {"POST", agent.path("/spend"), R"({"job_id":"same","amount":1})", {200, 403, 200, 403, 403, 401}},
      {"POST", agent.path("/spend"), "{", {400, 403, 400, 403, 403, 401}},
      {"POST", agent.path("/transfer"), to(alice), {200, 403, 200, 403, 403, 401}},
      {"POST", agent.path("/transfer"), "{", {400, 403, 400, 403, 403, 401}},
      {"POST", alice.path("/transfer"), to(agent), {200, 200, 403, 403, 403, 401}},
      {"POST", agent.path("/release"), R"({"job_id":"gone"})", {200, 403, 200, 403, 403, 401}},
      {"POST", agent.path("/release"), "{", {400, 403, 400, 403, 403, 401}},
      {"POST", bob.path("/earn"), "{", {400, 403, 403, 400, 403, 401}},
      {"POST", agent.path("/payouts"), R"({"amount":0.5,"destination":"d"})", {202, 403, 202, 403, 403, 401}},
      {"POST", agent.path("/payouts"), "{", {400, 403, 400, 403, 403, 401}},
      {"GET", agent.path("/payouts"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/entries"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/escrows"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/approvals"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/keys"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/receipts"), "", {200, 200, 200, 403, 403, 401}},
      {"GET", agent.path("/webhook-secret"), "", {200, 200, 200, 403, 403, 401}},
      {"POST", agent.path("/webhook-secret"), "", {201, 201, 403, 403, 403, 401}},
      {"POST", alice.path("/webhook-secret"), "", {201, 201, 403, 403, 403, 401}},
      {"GET", "/v1/webhooks", "", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/webhooks/deliver", "", {501, 403, 403, 403, 403, 401}},
      {"GET", "/v1/webhooks?limit=0", "", {422, 403, 403, 403, 403, 401}},
      {"GET", agent.path("/receipts?limit=0"), "", {422, 422, 422, 403, 403, 401}},
      {"POST", agent.path("/keys"), "{}", {201, 201, 403, 403, 403, 401}},
      {"POST", agent.path("/keys"), "{", {400, 400, 403, 403, 403, 401}},
      {"POST", alice.path("/keys"), "{}", {201, 201, 403, 403, 403, 401}},
      {"DELETE", "/v1/keys/" + key, "", {200, 200, 403, 403, 403, 401}},
      {"POST", "/v1/keys/" + key + "/rotate", "", {404, 404, 403, 403, 403, 401}},
      {"POST", "/v1/approvals/" + approval + "/approve", "", {200, 200, 403, 403, 403, 401}},
      {"POST", "/v1/approvals/" + approval + "/deny", "", {409, 409, 403, 403, 403, 401}},
      {"GET", "/v1/payouts/" + payout, "", {200, 200, 403, 403, 403, 401}},
      {"POST", "/v1/payouts/" + payout + "/confirm", "", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/payouts/" + payout + "/fail", "", {409, 403, 403, 403, 403, 401}},
      {"POST", "/v1/waitlist", R"({"owner_id":"w"})", {201, 403, 403, 403, 403, 401}},
      {"POST", "/v1/waitlist", "{", {400, 403, 403, 403, 403, 401}},
      {"POST", "/v1/waitlist/" + waiting + "/approve", "", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/grants", R"({"wallet_id":")" + alice.id + "\"}", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/grants", "{", {400, 403, 403, 403, 403, 401}},
      {"POST", "/v1/bulk", R"({"operations":[]})", {200, 200, 200, 200, 200, 401}},
      {"GET", receipt, "", {200, 200, 200, 200, 404, 401}},
      {"GET", receipt + "/proof", "", {200, 200, 200, 200, 404, 401}},
      {"POST", receipt + "/audit", "", {409, 403, 403, 403, 403, 401}},
      {"GET", "/v1/receipts/checkpoint", "", {200, 200, 200, 200, 200, 401}},
      {"GET", "/v1/receipts/consistency?old_size=0&new_size=1", "", {200, 200, 200, 200, 200, 401}},
      {"GET", "/v1/receipts/keys", "", {200, 200, 200, 200, 200, 200}},
      {"POST", "/v1/receipts/verify", "x", {200, 200, 200, 200, 200, 200}},
      {"GET", "/v1/audit", "", {200, 403, 403, 403, 403, 401}},
      {"GET", "/v1/keys", "", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/audit", "{}", {200, 403, 403, 403, 403, 401}},
      {"POST", "/v1/audit", "{", {400, 403, 403, 403, 403, 401}},
      {"GET", "/v1/export?format=csv", "", {200, 403, 403, 403, 403, 401}},
      {"GET", "/v1/settings", "", {200, 403, 403, 403, 403, 401}},
      {"PUT", "/v1/settings", R"({"prices":{}})", {200, 403, 403, 403, 403, 401}},
      {"PUT", "/v1/settings", "{", {400, 403, 403, 403, 403, 401}},
      {"POST", "/v1/paid-calls", R"({"price":1})", {501, 403, 403, 403, 403, 401}},
      {"POST", "/v1/paid-calls", "{", {400, 403, 403, 403, 403, 401}},
      {"GET", "/api/v1/account/quotes", "", {422, 200, 200, 200, 200, 401}},
      {"POST", "/api/v1/account/quotes/topup", R"({"amount":1})", {422, 201, 201, 201, 201, 401}},
      {"POST", "/api/v1/account/quotes/topup", "{", {400, 400, 400, 400, 400, 401}},
      {"GET", "/api/v1/account/quotes/" + quote, "", {200, 200, 200, 404, 404, 401}},
      {"POST", "/api/v1/account/quotes/" + quote + "/pay/x402", "", {501, 501, 501, 404, 404, 401}},
      {"POST", "/api/v1/auth/wallet/challenge", "{", {400, 400, 400, 400, 400, 400}},
      {"POST",
       "/api/v1/auth/wallet/verify",
       R"({"challenge_id":"c","signature":"s"})",
       {401, 401, 401, 401, 401, 401}},
      {"POST",
       "/api/v1/auth/wallet/whitelist",
       R"({"chain":"solana","address":"11111111111111111111111111111111"})",
       {200, 403, 403, 403, 403, 401}},
      {"POST", "/api/v1/auth/wallet/whitelist", "{", {400, 403, 403, 403, 403, 401}},
      {"POST", "/compute/api-keys", "{}", {403, 403, 403, 403, 403, 401}},
      {"GET", "/compute/api-keys", "", {200, 200, 200, 200, 200, 401}},
      {"DELETE", "/compute/api-keys/none", "", {404, 404, 404, 404, 404, 401}},
      {"GET", "/compute/credits/balance", "", {422, 200, 200, 200, 200, 401}},
      {"POST", "/compute/credits/topup", R"({"amount":1,"network":"base"})", {422, 501, 501, 501, 501, 401}},
      {"POST", "/compute/credits/topup", "{", {400, 400, 400, 400, 400, 401}},
      {"POST", "/api/v1/jobs", R"({"task":"t"})", {201, 201, 201, 201, 201, 401}},
      {"POST", "/api/v1/jobs", "{", {400, 400, 400, 400, 400, 401}},
      {"GET", "/api/v1/jobs", "", {200, 200, 200, 200, 200, 401}},
      {"POST", "/api/v1/jobs/batch", R"({"jobs":[]})", {200, 200, 200, 200, 200, 401}},
      {"POST", "/api/v1/jobs/estimate", R"({"task":"t"})", {200, 200, 200, 200, 200, 401}},
      {"GET", job, "", {200, 200, 200, 404, 404, 401}},
      {"GET", job + "/output", "", {200, 200, 200, 404, 404, 401}},
      {"GET", job + "/tasks", "", {200, 200, 200, 404, 404, 401}},
      {"GET", job + "/events", "", {200, 200, 200, 404, 404, 401}},
      {"GET", job + "/webhooks", "", {200, 200, 200, 404, 404, 401}},
      {"POST", job + "/webhooks/replay", "", {404, 403, 403, 403, 403, 401}},
      {"GET", job + "/stream", "", {200, 200, 200, 404, 404, 401}},
      {"GET", job + "/stream?last_event_id=x", "", {422, 422, 422, 404, 404, 401}},
      {"GET", "/api/v1/jobs/watch?ids=" + job_id, "", {200, 200, 200, 404, 404, 401}},
      {"GET", "/api/v1/jobs/watch", "", {422, 422, 422, 422, 422, 401}},
      {"GET", "/api/v1/results/" + job_id, "", {200, 200, 200, 404, 404, 401}},
      {"PUT", job + "/cancel", "", {200, 200, 200, 404, 404, 401}},
      {"POST", "/api/v1/projects", code, {409, 409, 409, 403, 403, 401}},
      {"POST", "/api/v1/projects", "{", {400, 400, 400, 400, 400, 401}},
      {"GET", "/api/v1/projects", "", {200, 200, 200, 200, 200, 401}},
      {"GET", "/api/v1/projects?wallet_id=" + agent.id, "", {200, 200, 200, 403, 403, 401}},
      {"GET", project(""), "", {200, 200, 200, 404, 404, 401}},
      {"GET", "/api/v1/projects/code", "", {404, 404, 200, 404, 404, 401}},
      {"PUT", project(""), R"({"remote_dir":"/r"})", {200, 200, 200, 404, 404, 401}},
      {"PUT", project(""), "{", {400, 400, 400, 404, 404, 401}},
      {"POST", project("/push"), "x", {501, 501, 501, 404, 404, 401}},  // in memory
      {"POST", project("/init"), "", {409, 409, 409, 404, 404, 401}},
      {"GET", project("/status"), "", {200, 200, 200, 404, 404, 401}},
      {"GET", project("/status/details"), "", {200, 200, 200, 404, 404, 401}},
      {"GET", project("/stream"), "", {200, 200, 200, 404, 404, 401}},
      {"POST", project("/invalidate"), "", {200, 200, 200, 404, 404, 401}},
      {"PUT", project("/kv/k"), R"({"value":1})", {200, 200, 200, 404, 404, 401}},
      {"PUT", project("/kv/k"), "{", {400, 400, 400, 404, 404, 401}},
      {"GET", project("/kv/k"), "", {200, 200, 200, 404, 404, 401}},
      {"DELETE", project(""), "", {404, 404, 200, 404, 404, 401}},
      {"POST", "/api/v1/artifacts?name=n", "x", {501, 501, 501, 501, 501, 401}},  // in memory
      {"POST", "/api/v1/artifacts?wallet_id=" + agent.id, "x", {501, 501, 501, 403, 403, 401}},
      {"GET", "/api/v1/artifacts", "", {200, 200, 200, 200, 200, 401}},
      {"GET", "/api/v1/artifacts?wallet_id=" + agent.id, "", {200, 200, 200, 403, 403, 401}},
      {"GET", "/api/v1/artifacts/none", "", {404, 404, 404, 404, 404, 401}},
      {"POST", "/api/v1/artifacts/direct", R"({"name":"n"})", {501, 501, 501, 501, 501, 401}},
      {"POST", "/api/v1/artifacts/direct", "{", {400, 400, 400, 400, 400, 401}},
      {"PUT", "/api/v1/artifacts/direct/none", "x", {404, 404, 404, 404, 404, 404}},
      {"POST", "/api/v1/artifacts/multipart", R"({"name":"n"})", {501, 501, 501, 501, 501, 401}},
      {"POST", "/api/v1/artifacts/multipart", "{", {400, 400, 400, 400, 400, 401}},
      {"POST",
       "/api/v1/artifacts/multipart/complete",
       R"({"upload_id":"u"})",
       {404, 404, 404, 404, 404, 401}},
      {"GET", "/api/v1/artifacts/multipart/none/parts", "", {404, 404, 404, 404, 404, 401}},
      {"PUT", "/api/v1/artifacts/multipart/none/parts/1", "x", {404, 404, 404, 404, 404, 401}},
      {"DELETE", "/api/v1/artifacts/multipart/none", "", {404, 404, 404, 404, 404, 401}},
      {"POST", "/api/v1/artifacts/collect", "", {501, 403, 403, 403, 403, 401}},
      {"GET", "/api/v1/recipes", "", {200, 200, 200, 200, 200, 401}},
      {"GET", "/api/v1/recipes/none", "", {404, 404, 404, 404, 404, 401}},
      {"POST", "/api/v1/recipes/none/jobs", R"({"payload":{}})", {404, 404, 404, 404, 404, 401}},
      {"GET", "/api/v1/account/balance", "", {422, 200, 200, 200, 200, 401}},
      {"GET", "/api/v1/account/balance?wallet_id=" + agent.id, "", {200, 200, 200, 403, 403, 401}},
      {"GET", "/api/v1/account/ledger", "", {422, 200, 200, 200, 200, 401}},
      {"GET", "/api/v1/account/holds", "", {422, 200, 200, 200, 200, 401}},
      {"POST", "/api/v1/workers/lease", R"({"worker":"w"})", {200, 403, 403, 403, 403, 401}},
      {"POST", "/api/v1/workers/report", R"({"lease_id":"1"})", {409, 403, 403, 403, 403, 401}},
      {"GET", "/api/v1/workers/leases/1/source", "", {409, 403, 403, 403, 403, 401}},
      {"GET", "/health", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/live", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/ready", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/metrics", "", {200, 403, 403, 403, 403, 401}},
      {"GET", "/api/v1/presets", "", {200, 200, 200, 200, 200, 401}},
      {"POST",
       "/api/v1/feedback",
       R"({"type":"bug","title":"t","description":"d"})",
       {201, 201, 201, 201, 201, 201}},
      {"GET", "/api/v1/feedback", "", {200, 403, 403, 403, 403, 401}},
      {"GET", "/skill.md", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/llms.txt", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/llms-full.txt", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/docs", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/openapi.json", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/api/v1/docs", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/api/v1/docs/recipes", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/api/v1/docs/python-sdk", "", {200, 200, 200, 200, 200, 200}},
      {"GET", "/api/v1/docs/workflows", "", {200, 200, 200, 200, 200, 200}},
  };
  const std::string keys[] = {market.op, alice.key, agent.key, bob.key, bot.key, extra.at("api_key")};
  for (const Row& row : rows)
    for (std::size_t who = 6; who-- > 0;) {  // who may not asks before who may
      CAPTURE(row.method);
      CAPTURE(row.target);
      CAPTURE(row.body);
      CAPTURE(who);
      const Answer answer = market.send(row.method, row.target, keys[who], row.body);
      CHECK_MESSAGE(answer.status == row.expected[who], answer.body);
      if (answer.status >= 300) continue;
      // What was said of the answer is what it is.
      const auto found = wire::match(row.method, row.target.substr(0, row.target.find('?')));
      const wire::Note& note = wire::note_of(*found.route);
      CHECK(answer.status == note.status);
      CHECK(answer.header("Content-Type") == note.content);
      // Of a wallet that never had credits the documents say three zeros and no more.
      const bool no_credits = row.target == "/compute/credits/balance" && answer.at("balance") == "0";
      if (!note.answer.empty() && !no_credits) CHECK(answer.members() == names_in(note.answer));
    }

  // And the table leaves none out.
  for (const wire::Route& route : wire::routes()) {
    CAPTURE(route.path);
    CHECK(std::any_of(std::begin(rows), std::end(rows), [&](const Row& row) {
      return wire::match(row.method, row.target.substr(0, row.target.find('?'))).route == &route;
    }));
  }
}

TEST_CASE("what may come right later says when to ask again") {
  const calyx::Response busy = wire::error_response(
      calyx::fail(calyx::Reason::store_busy, "another writer held the gate for 5000 ms"));
  CHECK(busy.status == 503);
  CHECK(std::any_of(busy.headers.begin(), busy.headers.end(), [](const calyx::HeaderField& field) {
    return field.name == "Retry-After" && field.value == "1";
  }));
  CHECK(
      busy.body ==
      R"({"error":{"code":"store_busy","message":"another writer held the gate for 5000 ms","details":{}}})");
  // All others do not, also where their status is 503: nothing changes them by waiting.
  const std::set<std::string_view> later = {"too_many_approvals", "too_many_quotes",   "too_many_wallets",
                                            "too_many_nonces",    "too_much_feedback", "store_busy",
                                            "disk_full",          "io_error",          "no_memory",
                                            "signer_failed",      "outcome_unknown"};
  const std::set<std::string_view> never = {"read_only",  "forked",  "closed",       "keys_missing",
                                            "file_newer", "stopped", "feedback_full"};
  for (std::size_t i = 0; i < calyx::reasons; ++i) {
    const auto reason = static_cast<calyx::Reason>(i);
    CAPTURE(word(reason));
    const calyx::Response response = wire::error_response(calyx::fail(reason, "x"));
    CHECK(std::any_of(response.headers.begin(), response.headers.end(), [](const calyx::HeaderField& field) {
            return field.name == "Retry-After";
          }) == later.contains(word(reason)));
    const bool may_be_either = response.status == 429 || response.status == 503 || response.status == 507;
    CHECK((later.contains(word(reason)) || never.contains(word(reason))) == may_be_either);
  }
}

TEST_CASE("an error's details are an object that helps, and never repeat what may be a secret") {
  Market market;
  const Owner alice = market.human("alice");
  const std::string stranger = "key_" + std::string(26, '0');
  struct Row {
    const char* says;
    std::string method, target, key;
    int status;
    std::string details;
  };
  const Row rows[] = {
      {"a path that leads nowhere", "GET", "/v1/nothing?x=1", alice.key, 404,
       R"({"method":"GET","path":"/v1/nothing"})"},
      {"a method that is not answered", "PUT", "/v1/wallets", alice.key, 405,
       R"({"method":"PUT","path":"/v1/wallets","allow":"GET, POST"})"},
      {"a key in the path is not said again", "GET", "/v1/" + alice.key, alice.key, 404,
       R"({"method":"GET"})"},
      {"nor one in the place of an id", "DELETE", "/v1/keys/" + alice.key, alice.key, 404, "{}"},
      {"a key that is not there", "DELETE", "/v1/keys/" + stranger, market.op, 404,
       R"({"key_id":")" + stranger + "\"}"},
      {"an id of no shape", "DELETE", "/v1/keys/mine", market.op, 404, R"({"key_id":"mine"})"},
      {"no key", "GET", "/v1/wallets", "", 401, R"({"headers":["X-API-Key","Authorization"]})"},
      {"a bad key", "GET", "/v1/wallets", "cyx_live_x", 401, "{}"},
      {"a human where an operator is needed", "GET", "/v1/audit", alice.key, 403, R"({"role":"human"})"},
      {"a target of no shape", "GET", "v1", alice.key, 400, "{}"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = market.send(row.method, row.target, row.key, "");
    CHECK(answer.status == row.status);
    CHECK(answer.at("error.details") == row.details);
    CHECK(answer.body.find("cyx_") == std::string::npos);
  }
}

TEST_CASE("operators' keys are listed with their ids and without their secrets, and one of them is revoked") {
  Market market;
  const Owner alice = market.human("alice");
  const calyx::KeyIssued second = market.engine().issue_operator_key("second").value();
  const Answer listed = market.send("GET", "/v1/keys", market.op, "");
  CHECK(listed.status == 200);
  CHECK(listed.body.find(second.key.id.text()) != std::string::npos);
  CHECK(listed.body.find("\"second\"") != std::string::npos);
  CHECK(listed.body.find("cyx_") == std::string::npos);
  CHECK(listed.body.find(alice.id) == std::string::npos);
  CHECK(market.send("GET", "/v1/keys?limit=1", market.op, "").at("next") != "null");
  CHECK(market.send("GET", "/v1/keys?limit=0", market.op, "").status == 422);
  CHECK(market.send("GET", "/v1/keys", alice.key, "").status == 403);
  CHECK(market.send("DELETE", "/v1/keys/" + second.key.id.text(), market.op, "").status == 200);
  CHECK(market.send("GET", "/v1/keys", second.api_key, "").status == 401);
  CHECK(market.engine().as_operator().operator_keys().value().items.back().revoked_at.has_value());
}

TEST_CASE("a header given twice counts when both say the same") {
  Market market;
  const Owner alice = market.human("alice");
  const auto topup = [&](calyx::HeaderFields headers) {
    return market.send("POST", alice.path("/topup"), market.op, R"({"amount":1})", std::move(headers));
  };
  CHECK(topup({{"Idempotency-Key", "a"}, {"idempotency-key", " a\t"}}).status == 200);
  const Answer two = topup({{"Idempotency-Key", "a"}, {"idempotency-key", "b"}});
  CHECK(two.status == 400);
  CHECK(two.code() == "malformed_header");
  CHECK(two.field() == "Idempotency-Key");
  CHECK(market.balance(alice) == "1.0");
}
