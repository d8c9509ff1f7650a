// Webhooks over the wire: what the routes answer once a job has ended, and who sends.
#include "wire/client.hpp"

using wire_test::json::Value;

namespace {

struct Hooks {
  std::int64_t now_us = 1'800'000'000'000'000;
  calyx::Engine engine;
  std::string op;

  Hooks()
      : engine(calyx::Engine::open(options()).value()), op(engine.issue_operator_key("t").value().api_key) {}
  calyx::Options options() {
    calyx::Options out;
    out.now_us = [this] { return now_us; };
    out.callbacks.emplace();
    return out;
  }
  wire_test::Answer ask(const char* method, const std::string& target, const std::string& key,
                        const std::string& body = {}) {
    const calyx::Response response = calyx::handle(engine, {method, target, {{"X-API-Key", key}}, body});
    wire_test::Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  }
  void deliver(int status) {
    const calyx::WebhookTransport transport{
        .resolve = [](const std::string&) { return std::vector<std::string>{"93.184.216.34"}; },
        .send = [&](const calyx::WebhookRequest&) { return calyx::WebhookAnswer{.status = status}; }};
    CHECK(engine.deliver_webhooks(transport).ok());
  }
};

}  // namespace

TEST_CASE("CP-81: a job's end is told, seen to fail, listed as dead and replayed") {
  Hooks market;
  const auto made = market.ask("POST", "/v1/wallets", market.op, R"({"owner_type":"human","owner_id":"a"})");
  const std::string key = made.at("api_key");
  const std::string secret = "/v1/wallets/" + made.at("id") + "/webhook-secret";
  const std::string job = R"({"task":"t","callback_url":"https://hooks.example.org/x"})";

  auto answer = market.ask("POST", "/api/v1/jobs", key, job);
  CHECK(answer.status == 422);
  CHECK(answer.field() == "/callback_url");
  CHECK(answer.at("error.details.rule") == "secret");
  CHECK(market.ask("GET", secret, key).at("version") == "0");
  CHECK(market.ask("GET", secret, key).at("secret") == "null");
  answer = market.ask("POST", secret, key);
  CHECK(answer.status == 201);
  CHECK(answer.members() == "wallet_id version created_at previous_until secret");
  CHECK(answer.at("secret").substr(0, 6) == "whsec_");
  answer = market.ask("POST", secret, key);
  CHECK(answer.at("version") == "2");
  CHECK(answer.at("previous_until") == "2027-01-16T08:00:00Z");
  CHECK(market.ask("GET", secret, key).at("secret") == "null");

  answer = market.ask("POST", "/api/v1/jobs", key, R"({"task":"t","callback_url":"https://127.1/"})");
  CHECK(answer.status == 422);
  CHECK(answer.at("error.details.rule") == "address");
  answer = market.ask("POST", "/api/v1/jobs", key, job);
  REQUIRE(answer.status == 201);
  const std::string path = "/api/v1/jobs/" + answer.at("job_id");
  CHECK(market.ask("GET", path + "/webhooks", key).body == R"({"items":[],"next":null})");
  CHECK(market.ask("POST", path + "/webhooks/replay", market.op).code() == "job_unknown");
  CHECK(market.ask("PUT", path + "/cancel", key).status == 200);
  answer = market.ask("GET", path + "/webhooks", key);
  CHECK(answer.at("items.0.status") == "pending");
  CHECK(answer.at("items.0.last_at") == "null");

  market.deliver(410);
  answer = market.ask("GET", "/v1/webhooks", market.op);
  CHECK(answer.items() == 1);
  CHECK(answer.at("items.0.status") == "dead");
  CHECK(answer.at("items.0.answered") == "410");
  CHECK(answer.at("items.0.error") == "null");
  CHECK(market.ask("POST", path + "/webhooks/replay", key).code() == "operator_only");
  answer = market.ask("POST", path + "/webhooks/replay", market.op);
  CHECK(answer.status == 200);
  CHECK(answer.at("status") == "pending");
  market.deliver(204);
  CHECK(market.ask("GET", path + "/webhooks", key).at("items.0.status") == "delivered");
  CHECK(market.ask("GET", "/v1/webhooks", market.op).items() == 0);
}

TEST_CASE("CP-81: an operator has messages sent by the transport that the host has set") {
  Hooks market;
  const auto made = market.ask("POST", "/v1/wallets", market.op, R"({"owner_type":"human","owner_id":"a"})");
  const std::string key = made.at("api_key");
  REQUIRE(market.ask("POST", "/v1/wallets/" + made.at("id") + "/webhook-secret", key).status == 201);
  const auto ends = [&](const char* url) {
    const auto job =
        market.ask("POST", "/api/v1/jobs", key, R"({"task":"t","callback_url":")" + std::string(url) + "\"}");
    if (job.status == 201)
      CHECK(market.ask("PUT", "/api/v1/jobs/" + job.at("job_id") + "/cancel", key).status == 200);
    return job.status;
  };
  REQUIRE(ends("https://hooks.example.org/x") == 201);
  // A host that sends them itself, by Options::callbacks, has set none.
  CHECK(market.ask("POST", "/v1/webhooks/deliver", market.op).status == 501);

  std::vector<std::string> sent;
  calyx::WebhookTransport transport;
  transport.resolve = [](const std::string&) { return std::vector<std::string>{"93.184.216.34"}; };
  transport.send = [&](const calyx::WebhookRequest& request) {
    sent.emplace_back(request.url);
    return calyx::WebhookAnswer{.status = sent.size() == 2 ? 503 : 200};
  };
  market.engine.set_webhooks({.allow_http = true, .ports = {80}}, transport);
  CHECK(ends("https://hooks.example.org/x") == 422);  // these are the rules now
  REQUIRE(ends("http://hooks.example.org/y") == 201);
  REQUIRE(ends("http://hooks.example.org/z") == 201);
  auto answer = market.ask("POST", "/v1/webhooks/deliver?limit=2", market.op);
  CHECK(answer.status == 200);
  CHECK(answer.members() == "delivered failed dead next_at");
  CHECK(sent == std::vector<std::string>{"http://hooks.example.org/y"});  // the first is against the rules
  CHECK(answer.at("delivered") == "1");
  CHECK(answer.at("failed") == "1");
  CHECK(market.ask("POST", "/v1/webhooks/deliver", market.op).at("failed") == "1");
  CHECK(sent.size() == 2);

  CHECK(market.ask("POST", "/v1/webhooks/deliver?limit=1001", market.op).status == 422);
  CHECK(market.ask("POST", "/v1/webhooks/deliver", key).code() == "operator_only");
  market.engine.set_webhooks({.allow_http = true, .ports = {80}}, {});
  CHECK(market.ask("POST", "/v1/webhooks/deliver", market.op).status == 501);
  CHECK(market.engine.deliver_webhooks(transport).ok());
}
