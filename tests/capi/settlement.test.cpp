// A function of the host that settles payments: what it is asked, what its answers come to, and when it is
// dropped.
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "market.hpp"
#include "testing.hpp"

using namespace calyx_tests;

namespace {

/// What x402's client signed for 100 FLOPS in USDC on Base, in our vectors, and the instant of that.
const std::string& payment_of_a_client() {
  static const std::string text = [] {
    std::ifstream file(calyx::testing::vectors + "/payments/combined_402.json");
    const std::string all{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = all.find("\"@x402/fetch 2.27.0\"");
    REQUIRE(at != std::string::npos);
    return member(all.substr(at), "PAYMENT-SIGNATURE");
  }();
  return text;
}
constexpr std::int64_t client_signed_us = 1'767'225'600'000'000;

constexpr const char* settled = R"({"outcome":"settled","transaction":"0xf00d"})";
constexpr const char* valid = R"({"outcome":"valid"})";

/// A host that settles: it notes what it is asked, and answers as told.
struct Backend {
  std::function<int(Backend&, calyx_call*, const std::string& call)> answer;
  std::mutex mutex;
  std::vector<std::string> asked;  // payloads
  std::atomic<int> dropped{0};

  std::vector<std::string> calls() {
    const std::lock_guard lock(mutex);
    std::vector<std::string> out;
    for (const std::string& payload : asked) out.push_back(member(payload, "call"));
    return out;
  }
};

calyx_status say(calyx_call* call, const std::string& text) {
  return calyx_call_reply(call, text.data(), text.size());
}
int run(void* ctx, calyx_call* call, const calyx_input* input) {
  auto& backend = *static_cast<Backend*>(ctx);
  const std::string payload(input->payload, input->payload_size);
  {
    const std::lock_guard lock(backend.mutex);
    backend.asked.push_back(payload);
  }
  if (input->struct_size != sizeof(calyx_input) || input->payload[input->payload_size] != '\0' ||
      std::strlen(input->job_id) != 0 || input->index != 0 || input->attempt != 0)
    return 7;
  return backend.answer(backend, call, member(payload, "call"));
}
void drop(void* ctx) { ++static_cast<Backend*>(ctx)->dropped; }

/// Answers `verify` with "valid" and the rest with `reply`.
std::function<int(Backend&, calyx_call*, const std::string&)> replies(std::string reply) {
  return [reply = std::move(reply)](Backend&, calyx_call* call, const std::string& asked) {
    return static_cast<int>(say(call, asked == "verify" ? valid : reply));
  };
}

/// A market that takes payments on Base, and a wallet with a quote of 100 FLOPS in it.
class Till {
 public:
  Till() {
    calyx_options options = CALYX_OPTIONS_INIT;
    options.now_us = [](void*) { return client_signed_us; };
    const calyx_status opened = calyx_open(&options, &engine);
    REQUIRE_MESSAGE(opened == CALYX_OK, calyx_last_error());
    op = operator_key(engine);
    const Said made = ask(engine, "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"a"})");
    REQUIRE_MESSAGE(made.http == 201, made.body);
    key = member(made.body, "api_key");
    wallet = member(made.body, "id");
    REQUIRE(ask(engine, "PUT", "/v1/settings", op,
                R"({"base_url":"https://calyx.example","networks":[{"network":"base",)"
                R"("pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]})")
                .http == 200);
  }
  ~Till() { calyx_close(engine); }
  Till(const Till&) = delete;
  Till& operator=(const Till&) = delete;

  calyx_status settles(Backend& backend, const char* options = "{}") const {
    return calyx_register(engine, CALYX_KIND_SETTLEMENT, options, run, &backend, drop);
  }
  std::string quote() const {
    const Said made = ask(engine, "POST", "/api/v1/account/quotes/topup", key, R"({"amount":100})");
    REQUIRE_MESSAGE(made.http == 201, made.body);
    return member(made.body, "pay");
  }
  /// Presents the payment at `pay`.
  Said present(const std::string& pay) const { return present(pay, key, {}); }
  Said present(const std::string& pay, const std::string& by, const std::string& text) const {
    const std::string headers =
        R"({"X-API-Key":")" + by + R"(","PAYMENT-SIGNATURE":")" + payment_of_a_client() + "\"}";
    calyx_response* response = nullptr;
    Said said;
    said.status =
        calyx_request(engine, "POST", pay.c_str(), headers.c_str(), text.data(), text.size(), &response);
    if (said.status != CALYX_OK) return said;
    said.http = calyx_response_status(response);
    said.headers = calyx_response_headers(response);
    std::size_t size = 0;
    const void* const body = calyx_response_body(response, &size);
    said.body.assign(static_cast<const char*>(body), size);
    calyx_response_free(response);
    return said;
  }
  std::string balance() const {
    return member(ask(engine, "GET", "/v1/wallets/" + wallet, key).body, "balance");
  }

  calyx_engine* engine = nullptr;
  std::string op, key, wallet;
};

/// Whether this build can judge the payment at all.
bool built(const Till& till, const std::string& test = "capi.settlement") {
  Backend nobody;
  REQUIRE(calyx_register(till.engine, CALYX_KIND_SETTLEMENT, "{}", run, &nobody, nullptr) == CALYX_OK);
  if (ask(till.engine, "POST", till.quote(), till.key).body.find("not_built") == std::string::npos)
    return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

}  // namespace

TEST_CASE("XM-05: a host in C sells a call of its own") {
  Backend backend;
  Till till;
  if (!built(till)) return;
  backend.answer = replies(settled);
  REQUIRE(till.settles(backend) == CALYX_OK);
  const std::string call = R"({"price":"100","resource":"/render"})";
  CHECK(ask(till.engine, "POST", "/v1/paid-calls", till.op, call).http == 402);
  const Said paid = till.present("/v1/paid-calls", till.op, call);
  REQUIRE_MESSAGE(paid.http == 200, paid.body);
  CHECK(paid.headers.find("PAYMENT-RESPONSE") != std::string::npos);
  const std::string wallet = member(paid.body, "wallet_id");
  CHECK(wallet != till.wallet);
  CHECK(member(ask(till.engine, "GET", "/v1/wallets/" + wallet, till.op).body, "balance") == "100.0");
  CHECK(till.present("/v1/paid-calls", till.op, call).body == paid.body);
}

TEST_CASE("a C function settles a payment: it is asked in JSON, and the credits follow from its answer") {
  Backend backend;  // outlives the engine, which drops it
  Till till;
  if (!built(till)) return;
  backend.answer = replies(settled);
  REQUIRE(till.settles(backend) == CALYX_OK);
  const std::string pay = till.quote();
  const Said paid = till.present(pay);
  REQUIRE_MESSAGE(paid.http == 200, paid.body);
  CHECK(paid.headers.find("PAYMENT-RESPONSE") != std::string::npos);
  CHECK(member(paid.body, "transaction") == "0xf00d");
  CHECK(till.balance() == "100.0");

  REQUIRE(backend.calls() == std::vector<std::string>{"verify", "settle"});
  const std::string& verify = backend.asked[0];
  CAPTURE(verify);
  CHECK(member(verify, "key").empty());
  CHECK(member(verify, "protocol") == "x402_v2");
  CHECK(member(verify, "network") == "eip155:8453");
  CHECK(member(verify, "asset") == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913");
  CHECK(member(verify, "payer") == "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
  CHECK(member(verify, "pay_to") == "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
  CHECK(member(verify, "nonce").size() == 66);
  CHECK(member(verify, "amount") == "1000000");
  CHECK(member(verify, "credit") == "100.00");
  CHECK(member(verify, "valid_before").find("2026-01-01T00:") == 0);
  CHECK(member(verify, "payload") == payment_of_a_client());
  CHECK(member(verify, "on_chain") == "null");
  CHECK(member(backend.asked[1], "key") == member(paid.body, "payment_id"));
  CHECK(member(backend.asked[1], "nonce") == member(verify, "nonce"));

  // Presented again it is a replay: the same answer, nobody asked.
  const Said again = till.present(pay);
  CHECK(again.http == 200);
  CHECK(again.body == paid.body);
  CHECK(backend.asked.size() == 2);
  CHECK(till.balance() == "100.0");
}

TEST_CASE("what a settlement gives and replies decides what becomes of the payment") {
  struct Row {
    const char* says;
    std::function<int(Backend&, calyx_call*, const std::string&)> answer;
    int http;
    const char* found;  // in the answer's body
    const char* balance;
  };
  using Call = calyx_call*;
  const Row rows[] = {
      {"settled", replies(settled), 200, R"("status":"paid")", "100.0"},
      {"settled, of another amount", replies(R"({"outcome":"settled","transaction":"t","credit":"12.5"})"),
       200, R"("credited":12.5)", "12.5"},
      {"the amount may be a number", replies(R"({"outcome":"settled","transaction":"t","credit":12.5})"), 200,
       R"("credited":12.5)", "12.5"},
      {"settled for nothing counts as unavailable",
       replies(R"({"outcome":"settled","transaction":"t","credit":0})"), 202, R"("status":"settling")",
       "0.0"},
      {"pending", replies(R"({"outcome":"pending"})"), 202, R"("status":"settling")", "0.0"},
      {"unavailable", replies(R"({"outcome":"unavailable"})"), 202, R"("status":"settling")", "0.0"},
      {"refused, with a reason", replies(R"({"outcome":"refused","reason":"insufficient_funds"})"), 402,
       R"("code":"insufficient_funds")", "0.0"},
      {"refused without one", replies(R"({"outcome":"refused"})"), 402, R"("code":"refused")", "0.0"},
      {"a reply beside failure is none",
       [](Backend&, Call call, const std::string&) { return say(call, settled) == CALYX_OK ? 1 : 0; }, 202,
       R"("status":"authorized")", "0.0"},
      {"no reply", [](Backend&, Call, const std::string&) { return 0; }, 202, R"("status":"authorized")",
       "0.0"},
      {"what a C++ host throws",
       [](Backend&, Call, const std::string&) -> int { throw std::runtime_error("thrown"); }, 202,
       R"("status":"authorized")", "0.0"},
      {"no reply that can be read",
       [](Backend&, Call call, const std::string&) {
         return say(call, R"({"outcome":"done"})") == CALYX_INVALID ? 0 : 9;
       },
       202, R"("status":"authorized")", "0.0"},
      {"a reply that is refused leaves the one before",
       [](Backend&, Call call, const std::string&) {
         return say(call, settled) == CALYX_OK && say(call, "{}") == CALYX_INVALID ? 0 : 9;
       },
       200, R"("status":"paid")", "100.0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Backend backend;  // outlives the engine, which drops it
    Till till;
    if (!built(till)) return;
    backend.answer = row.answer;
    REQUIRE(till.settles(backend) == CALYX_OK);
    const Said said = till.present(till.quote());
    CAPTURE(said.body);
    CHECK(said.http == row.http);
    CHECK(said.body.find(row.found) != std::string::npos);
    CHECK(till.balance() == row.balance);
  }
}

TEST_CASE(
    "a payment that is pending is asked about by its key, and settled anew only where nobody knows it") {
  Backend backend;  // outlives the engine, which drops it
  Till till;
  if (!built(till)) return;
  std::string next = R"({"outcome":"pending"})";
  backend.answer = [&](Backend&, calyx_call* call, const std::string& asked) {
    return static_cast<int>(say(call, asked == "verify" ? valid : next));
  };
  REQUIRE(till.settles(backend) == CALYX_OK);
  const std::string pay = till.quote();
  CHECK(till.present(pay).http == 202);
  CHECK(till.present(pay).http == 202);
  CHECK(backend.calls() == std::vector<std::string>{"verify", "settle", "status"});
  CHECK(member(backend.asked[2], "key") == member(backend.asked[1], "key"));
  CHECK(backend.asked[2].find("payment\"") == std::string::npos);

  backend.answer = [&](Backend&, calyx_call* call, const std::string& asked) {
    return static_cast<int>(say(call, asked == "status" ? R"({"outcome":"unknown"})" : settled));
  };
  CHECK(till.present(pay).http == 200);
  CHECK(backend.calls() == std::vector<std::string>{"verify", "settle", "status", "status", "settle"});
  CHECK(till.balance() == "100.0");
}

TEST_CASE("a settlement's call can reply, and says what is wrong with a reply; it can do nothing else") {
  Backend backend;  // outlives the engine, which drops it
  Till till;
  if (!built(till)) return;
  struct Row {
    const char* reply;
    const char* error;  // how it begins
  };
  const Row rows[] = {
      {"", "not_json: "},
      {"settled", "not_json: "},
      {"[]", "field_type: "},
      {"{}", "field_missing: reply/outcome "},
      {R"({"outcome":"done"})", "field_value: reply/outcome must be "},
      {R"({"outcome":1})", "field_type: reply/outcome "},
      {R"({"outcome":"settled"})", "field_missing: reply/transaction "},
      {R"({"outcome":"settled","transaction":""})", "field_value: reply/transaction "},
      {R"({"outcome":"settled","transaction":"t","credit":"ten"})", "amount_"},
      {R"({"outcome":"settled","transaction":"t","amount":1})", "field_unknown: reply/amount "},
      {R"({"outcome":"refused","reason":7})", "field_type: reply/reason "},
  };
  std::vector<std::string> wrong;
  calyx_call* kept = nullptr;
  backend.answer = [&](Backend&, calyx_call* call, const std::string&) {
    kept = call;
    const auto note = [&](bool holds, const char* what) {
      if (!holds) wrong.push_back(std::string(what) + ": " + calyx_last_error());
    };
    for (const Row& row : rows) {
      note(say(call, row.reply) == CALYX_INVALID, row.reply);
      note(std::string(calyx_last_error()).find(row.error) == 0, row.reply);
    }
    const auto unsupported = [&](calyx_status status, const char* what) {
      note(status == CALYX_UNSUPPORTED && last_reason() == "unsupported", what);
    };
    unsupported(calyx_call_progress(call, "{}", 2), "progress");
    unsupported(calyx_call_cancelled(call), "cancelled");
    calyx_text text{nullptr, 7};
    unsupported(calyx_call_checkpoint(call, &text), "checkpoint");
    note(text.data == nullptr && text.size == 0, "zeroed");
    unsupported(calyx_call_keep_checkpoint(call, "7", 1), "keep_checkpoint");
    return 0;
  };
  REQUIRE(till.settles(backend) == CALYX_OK);
  CHECK(till.present(till.quote()).http == 202);
  CHECK(wrong == std::vector<std::string>{});
  // And afterwards it is no call any more.
  CHECK(say(kept, settled) == CALYX_INVALID);
  CHECK(last_reason() == "handle_invalid");
  CHECK(calyx_call_progress(kept, "{}", 2) == CALYX_INVALID);
  CHECK(last_reason() == "handle_invalid");
}

TEST_CASE("a settlement may call calyx, and another one that it sets serves from the next call on") {
  Backend first, second;  // which outlive the engine
  Till till;
  if (!built(till)) return;
  second.answer = replies(R"({"outcome":"settled","transaction":"second"})");
  std::string balance_inside;
  int dropped_inside = -1;
  first.answer = [&](Backend& self, calyx_call* call, const std::string& asked) {
    if (asked == "verify") {
      balance_inside = till.balance();
      if (till.settles(second) != CALYX_OK) return 1;
      dropped_inside = self.dropped;
    }
    return static_cast<int>(say(call, R"({"outcome":"settled","transaction":"first"})"));
  };
  REQUIRE(till.settles(first, R"({"name":"the first"})") == CALYX_OK);
  const Said paid = till.present(till.quote());
  CHECK(paid.http == 200);
  CHECK(member(paid.body, "transaction") == "first");  // a payment under way ends as it began
  CHECK(balance_inside == "0.0");
  CHECK(dropped_inside == 0);
  CHECK(first.dropped == 1);
  CHECK(second.asked.empty());
  CHECK(second.dropped == 0);
}

TEST_CASE("a settlement may close its own engine, and is dropped when the call is over") {
  Backend backend;  // outlives the engine, which drops it
  Till till;
  if (!built(till)) return;
  backend.answer = [&](Backend& self, calyx_call* call, const std::string&) {
    calyx_close(std::exchange(till.engine, nullptr));
    return self.dropped == 0 ? static_cast<int>(say(call, settled)) : 1;
  };
  REQUIRE(till.settles(backend) == CALYX_OK);
  CHECK(till.present(till.quote()).http == 200);
  CHECK(backend.dropped == 1);
}

TEST_CASE("eight threads bring one payment: it is credited once") {
  Backend backend;  // outlives the engine, which drops it
  Till till;
  if (!built(till)) return;
  backend.answer = replies(settled);
  REQUIRE(till.settles(backend) == CALYX_OK);
  const std::string pay = till.quote();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      const Said said = till.present(pay);
      if (said.http == 200 || said.http == 202) ++good;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 8);
  CHECK(till.balance() == "100.0");
}

TEST_CASE("a settlement is dropped once: when it is replaced, or when its engine has gone") {
  Backend first, second, refused;
  {
    Till till;
    // Nobody settles as yet, so nobody is asked to pay.
    CHECK(member(ask(till.engine, "POST", till.quote(), till.key).body, "code") == "unsupported");
    REQUIRE(till.settles(first) == CALYX_OK);
    REQUIRE(till.settles(first) == CALYX_OK);  // each registration is one
    CHECK(first.dropped == 1);
    REQUIRE(till.settles(second) == CALYX_OK);
    CHECK(first.dropped == 2);
    // What is refused stays the caller's, and who settled goes on.
    struct Row {
      const char* options;
      const char* error;  // how it begins
    };
    const Row rows[] = {
        {nullptr, "field_missing: options_json is NULL"},
        {"{", "not_json: "},
        {"[]", "field_type: options_json is an array"},
        {R"({"name":7})", "field_type: options_json/name "},
        {R"({"name":""})", "field_value: options_json/name "},
        {R"({"facilitator":"https://x402.example"})", "field_unknown: options_json/facilitator "},
    };
    for (const Row& row : rows) {
      CAPTURE(row.error);
      CHECK(till.settles(refused, row.options) == CALYX_INVALID);
      CHECK(std::string(calyx_last_error()).find(row.error) == 0);
    }
    CHECK(calyx_register(till.engine, CALYX_KIND_SETTLEMENT, "{}", nullptr, &refused, drop) == CALYX_INVALID);
    CHECK(last_reason() == "field_missing");
    CHECK(second.dropped == 0);
  }
  CHECK(first.dropped == 2);
  CHECK(second.dropped == 1);
  CHECK(refused.dropped == 0);
}
