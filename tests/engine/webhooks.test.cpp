// Webhooks against a receiver that the test plays, on a clock that it moves: what a job's end leaves, how it
// is signed, when it is tried again, and that nobody sends one message while another does.
#include <sodium.h>

#include <array>
#include <atomic>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "engine/job_market.hpp"
#include "json/reader.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::Edit;
using testing::JobMarket;
using testing::Raw;
namespace json = core::json;

namespace {

constexpr const char* url = "https://hooks.example.org/calyx?a=b";

Options with_callbacks(Options options = {}) {
  options.callbacks.emplace();
  return options;
}

struct Sent {
  std::string id, timestamp, signature, body, address;
  std::int64_t at_us;
};

/// A market whose payer has a secret, and a receiver that answers 200 unless told otherwise.
struct Hooks : JobMarket {
  std::string secret;
  std::vector<Sent> sent;
  std::deque<WebhookAnswer> answers;
  std::vector<std::string> addresses{"93.184.216.34"};
  std::function<void()> meanwhile;  ///< While a message is on its way.

  explicit Hooks(Options options = {}) : JobMarket(with_callbacks(std::move(options))) {
    secret = all.rotate_webhook_secret(payer).value().secret;
  }
  static json::Object hooked(std::int64_t tasks = 1, std::vector<json::Member> more = {}) {
    more.push_back({"callback_url", url});
    return job(tasks, std::move(more));
  }
  WebhookTransport transport() {
    return {.resolve =
                [this](const std::string& host) {
                  CHECK(host == "hooks.example.org");
                  return addresses;
                },
            .send =
                [this](const WebhookRequest& request) {
                  std::map<std::string, std::string> headers(request.headers.begin(), request.headers.end());
                  CHECK(headers.size() == 4);
                  CHECK(headers["Content-Type"] == "application/json");
                  CHECK(request.url == url);
                  CHECK(request.target.target == "/calyx?a=b");
                  sent.push_back({headers["webhook-id"], headers["webhook-timestamp"],
                                  headers["webhook-signature"], std::string(request.body), request.address,
                                  now_us});
                  if (meanwhile) meanwhile();
                  if (answers.empty()) return WebhookAnswer{.status = 200};
                  const WebhookAnswer answer = answers.front();
                  answers.pop_front();
                  return answer;
                }};
  }
  WebhookRound deliver(std::size_t most = 64) {
    const Result<WebhookRound> round = engine.deliver_webhooks(transport(), most);
    REQUIRE_MESSAGE(round.ok(), round.error().message);
    return *round;
  }
  Webhook webhook(JobId id) {
    const std::vector<Webhook> list = all.job_webhooks(id).value();
    REQUIRE(list.size() == 1);
    return list.front();
  }
  JobId ended() {
    const JobId id = submit(hooked());
    CHECK(done(lease()).ok());
    CHECK(now(id).status == JobStatus::completed);
    return id;
  }
  WebhookVerdict verdict(const Sent& one, std::string_view with, std::int64_t later_s = 0) const {
    return verify_webhook(
        with, {.id = one.id, .timestamp = one.timestamp, .signature = one.signature, .body = one.body},
        Instant{one.at_us + later_s * core::us_per_second});
  }
};

}  // namespace

TEST_CASE("the signature is the one of Standard Webhooks 1.0") {
  // The example of its libraries: base64(hmac_sha256(unbase64(secret), "id.timestamp.body")).
  constexpr const char* secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const WebhookReceived good{.id = "msg_p5jXN8AQM9LWM0D4loKWxJek",
                             .timestamp = "1614265330",
                             .signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                             .body = R"({"test": 2432232314})"};
  const Instant now{1'614'265'330'000'000};
  CHECK(verify_webhook(secret, good, now).valid);
  CHECK(verify_webhook(secret, good, now).reason.empty());

  const auto reason = [&](std::string_view with, auto change, std::int64_t later_s = 0) {
    WebhookReceived one = good;
    change(one);
    const WebhookVerdict verdict = verify_webhook(with, one, Instant{now.us + later_s * core::us_per_second});
    CHECK(verdict.valid == verdict.reason.empty());
    return verdict.reason;
  };
  const auto same = [](WebhookReceived&) {};
  CHECK(reason(secret, same, 300).empty());
  CHECK(reason(secret, same, -300).empty());
  CHECK(reason(secret, same, 301) == "timestamp");
  CHECK(reason(secret, same, -301) == "timestamp");
  CHECK(reason(secret, [](WebhookReceived& one) { one.body = R"({"test": 2432232315})"; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) { one.body = ""; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) { one.id = "msg_other"; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) { one.timestamp = "1614265331"; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) { one.signature = ""; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) { one.signature = "v1,"; }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) {
          one.signature = "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        }) == "signature");
  CHECK(reason(secret, [](WebhookReceived& one) {
          one.signature = "v1,AAAA v1a,x  v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,BBBB";
        }).empty());
  for (const char* timestamp :
       {"", "x", "1614265330 ", " 1614265330", "1614265330.0", "-1", "0x60", "99999999999999999999"}) {
    CAPTURE(timestamp);
    CHECK(reason(secret, [&](WebhookReceived& one) { one.timestamp = timestamp; }) == "malformed");
  }
  CHECK(reason(secret, [](WebhookReceived& one) { one.id = ""; }) == "malformed");
  CHECK(reason(secret, [](WebhookReceived& one) { one.id = "a.1614265330"; }) == "malformed");
  for (const char* bad : {"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!",
                          "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}) {
    CAPTURE(bad);
    CHECK(reason(bad, same) == "secret");
  }
}

TEST_CASE("CP-81: a callback is refused unless the host allows it, its URL passes and a secret signs") {
  JobMarket off;
  const auto submit = [](JobMarket& market, const char* to, std::optional<WalletId> wallet) {
    return market.all.submit_job({.job = JobMarket::job(1, {{"callback_url", to}}), .wallet = wallet});
  };
  CHECK(submit(off, url, off.payer).reason() == Reason::unsupported);
  CHECK(off.engine.deliver_webhooks({}).reason() == Reason::unsupported);

  JobMarket on(with_callbacks());
  Result<JobSubmitted> refused = submit(on, url, on.payer);
  CHECK(refused.reason() == Reason::field_value);
  CHECK(json::text(refused.error().details) == R"({"field":"/callback_url","rule":"secret"})");
  CHECK(submit(on, url, std::nullopt).reason() == Reason::field_value);
  CHECK(on.all.webhook_secret(on.payer).value().version == 0);
  const WebhookSecret made = on.all.rotate_webhook_secret(on.payer).value();
  CHECK(made.version == 1);
  CHECK(made.secret.size() == 6 + 44);
  CHECK_FALSE(made.previous_until);
  CHECK(on.all.webhook_secret(on.payer).value().version == 1);
  CHECK(on.all.webhook_secret(on.payer).value().secret.empty());
  CHECK(submit(on, url, on.payer).ok());
  CHECK(submit(on, url, std::nullopt).reason() == Reason::field_value);  // it would be nobody's secret
  for (const char* bad :
       {"http://example.org/", "https://127.0.0.1/", "https://a@example.org/", "nonsense"}) {
    CAPTURE(bad);
    refused = submit(on, bad, on.payer);
    CHECK(refused.reason() == Reason::field_value);
    CHECK(refused.error().details.find("rule") != nullptr);
  }
  CHECK(on.engine.deliver_webhooks({}).reason() == Reason::field_missing);
  on.check_books();

  // Another wallet's secret is another one.
  const WalletId other = on.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  CHECK(on.all.rotate_webhook_secret(other).value().secret != made.secret);
}

TEST_CASE("CP-81: each job that ends leaves one message, whichever way, and one that runs none") {
  Hooks market;
  market.price(1'000);
  std::map<std::string, std::string> expected;  // by job
  const auto expect = [&](JobId id, const char* data) { expected[id.text()] = data; };
  const JobId completed = market.submit(Hooks::hooked(2));
  CHECK(market.done(market.lease(2), 2, 10).ok());
  expect(completed, R"("completed":2,"failed":0,"job_id":"$","status":"completed","tasks":2)");

  const JobId partial = market.submit(Hooks::hooked(2));
  CHECK(market.done(market.lease(1)).ok());
  CHECK(market.done(market.lease(1), 1, 10, JobFailure::task_failed).ok());
  expect(partial,
         R"("completed":1,"error":"task_failed","failed":1,"job_id":"$","status":"partial","tasks":2)");

  const JobId failed = market.submit(Hooks::hooked(1));
  const JobId after =
      market.submit(Hooks::hooked(3, {{"depends_on", json::array({json::Value(failed.text())})}}));
  const JobId last =
      market.submit(Hooks::hooked(1, {{"depends_on", json::array({json::Value(after.text())})}}));
  CHECK(market.done(market.lease(1), 1, 10, JobFailure::timed_out).ok());
  expect(failed, R"("completed":0,"error":"timed_out","failed":1,"job_id":"$","status":"failed","tasks":1)");
  expect(after,
         R"("completed":0,"error":"dependency_failed","failed":0,"job_id":"$","status":"failed","tasks":3)");
  expect(last,
         R"("completed":0,"error":"dependency_failed","failed":0,"job_id":"$","status":"failed","tasks":1)");

  const JobId cancelled = market.submit(Hooks::hooked(5));
  CHECK(market.all.cancel_job(cancelled).ok());
  CHECK(market.all.cancel_job(cancelled).ok());  // again, which is no other end
  expect(cancelled,
         R"("completed":0,"error":"cancelled","failed":0,"job_id":"$","status":"cancelled","tasks":5)");

  const JobId late = market.submit(Hooks::hooked(1, {{"deadline_s", 5}}));
  market.pass(6);
  CHECK(market.lease().count == 0);
  REQUIRE(market.now(late).status == JobStatus::failed);
  expect(late,
         R"("completed":0,"error":"deadline_passed","failed":0,"job_id":"$","status":"failed","tasks":1)");

  const JobId silent = market.submit(JobMarket::job(1));
  CHECK(market.done(market.lease(1)).ok());
  CHECK(market.all.job_webhooks(silent).value().empty());
  const JobId runs = market.submit(Hooks::hooked(1));
  CHECK(market.lease(1).count == 1);
  CHECK(market.all.job_webhooks(runs).value().empty());

  const WebhookRound round = market.deliver();
  CHECK(round.delivered == expected.size());
  CHECK(market.sent.size() == expected.size());
  for (const Sent& one : market.sent) {
    CAPTURE(one.body);
    const auto found = expected.find(one.id);
    REQUIRE(found != expected.end());
    std::string data = found->second;
    data.replace(data.find('$'), 1, one.id);
    const Job job = market.now(*JobId::read(one.id));
    std::string at;
    core::append_iso(at, *job.ended_at);
    CHECK(one.body == "{\"data\":{" + data + "},\"timestamp\":\"" + at + "\",\"type\":\"job." +
                          std::string(word(job.status)) + "\"}");
    CHECK(one.address == "93.184.216.34");
    CHECK(market.verdict(one, market.secret).valid);
    CHECK(market.webhook(job.id).status == WebhookStatus::delivered);
    CHECK(market.webhook(job.id).answered == 200);
    CHECK_FALSE(market.webhook(job.id).next_at);
    expected.erase(found);
  }
  CHECK(market.deliver().delivered == 0);
  market.check_books();
}

TEST_CASE("CP-81: an end that does not come about leaves no message, and the one that does leaves one") {
  std::array<unsigned char, 64> secret{};
  Options options;
  REQUIRE(crypto_sign_keypair(options.sign_public_key.emplace().data(), secret.data()) == 0);
  bool signs = false;
  options.sign = [&](std::string_view, std::string_view message, std::uint8_t* out) {
    return signs && crypto_sign_detached(out, nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                                         message.size(), secret.data()) == 0;
  };
  Hooks market(options);
  market.price(1'000);
  const JobId id = market.submit(Hooks::hooked(2));
  const Lease lease = market.lease(1);
  CHECK(market.done(lease, 1, 10).ok());
  CHECK_FALSE(market.all.cancel_job(id).ok());
  CHECK_FALSE(is_terminal(market.now(id).status));
  CHECK(market.all.job_webhooks(id).value().empty());
  CHECK(market.deliver().delivered == 0);
  market.check_books();
  signs = true;
  CHECK(market.all.cancel_job(id).ok());
  CHECK(market.deliver().delivered == 1);
  market.check_books();
}

TEST_CASE("a message that fails is tried ten times as listed, is then dead, and can be replayed") {
  Hooks market;
  const JobId id = market.ended();
  constexpr std::int64_t listed_s[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
  constexpr int answered[] = {500, 301, 302, 307, 404, 429, 503, 0, 100, 400};
  for (int attempt = 1; attempt <= 10; ++attempt) {
    CAPTURE(attempt);
    market.answers.push_back({.status = answered[attempt - 1]});
    const WebhookRound round = market.deliver();
    CHECK(market.sent.size() == static_cast<std::size_t>(attempt));
    const Webhook webhook = market.webhook(id);
    CHECK(webhook.attempts == attempt);
    CHECK(webhook.answered == answered[attempt - 1]);
    CHECK(webhook.error == (answered[attempt - 1] == 0 ? "no_answer" : ""));
    CHECK(webhook.last_at == Instant{market.now_us});
    if (attempt == 10) {
      CHECK(round.dead == 1);
      CHECK(webhook.status == WebhookStatus::dead);
      break;
    }
    CHECK(round.failed == 1);
    REQUIRE(webhook.next_at);
    CHECK(round.next_at == webhook.next_at);
    const std::int64_t wait_us = webhook.next_at->us - market.now_us;
    CHECK(wait_us >= listed_s[attempt - 1] * 1'000'000);
    CHECK(wait_us <= listed_s[attempt - 1] * 1'100'000);
    market.now_us += wait_us - 1;
    CHECK(market.deliver().next_at == webhook.next_at);  // and nothing was sent before its time
    market.now_us += 1;
  }
  std::set<std::string> timestamps;
  for (const Sent& one : market.sent) {
    CHECK(one.id == id.text());
    CHECK(one.body == market.sent.front().body);
    CHECK(market.verdict(one, market.secret).valid);
    timestamps.insert(one.timestamp);
  }
  CHECK(timestamps.size() == 10);
  market.pass(1'000'000);
  CHECK(market.deliver().delivered == 0);

  const Listed<Webhook> dead = market.all.dead_webhooks().value();
  REQUIRE(dead.items.size() == 1);
  CHECK(dead.items[0].job == id);
  CHECK(market.all.replay_webhook(id).value().status == WebhookStatus::pending);
  CHECK(market.all.dead_webhooks().value().items.empty());
  CHECK(market.all.replay_webhook(id).value().attempts == 0);  // pending: it stays as it is
  market.answers.push_back({.status = 500});
  CHECK(market.deliver().failed == 1);
  market.pass(6);
  CHECK(market.deliver().delivered == 1);
  CHECK(market.webhook(id).attempts == 2);
  CHECK(market.all.replay_webhook(id).ok());
  CHECK(market.deliver().delivered == 1);
  CHECK(market.all.replay_webhook(market.submit(JobMarket::job(1))).reason() == Reason::job_unknown);
  market.check_books();
}

TEST_CASE("410 ends it at once, Retry-After is heard within a day, and every 2xx is success") {
  Hooks market;
  const JobId gone = market.ended();
  market.answers = {{.status = 410}};
  CHECK(market.deliver().dead == 1);
  CHECK(market.webhook(gone).attempts == 1);
  CHECK(market.webhook(gone).answered == 410);

  const JobId busy = market.ended();
  market.answers = {{.status = 429, .retry_after_s = 3600}};
  CHECK(market.deliver().failed == 1);
  CHECK(market.webhook(busy).next_at == Instant{market.now_us + 3600 * core::us_per_second});
  market.pass(3600);
  market.answers = {{.status = 503, .retry_after_s = INT64_MAX}};
  CHECK(market.deliver().failed == 1);
  CHECK(market.webhook(busy).next_at == Instant{market.now_us + 86'400 * core::us_per_second});
  market.pass(86'400);
  market.answers = {{.status = 503, .retry_after_s = -7}};
  CHECK(market.deliver().failed == 1);
  CHECK(market.webhook(busy).next_at->us >= market.now_us + 1800 * core::us_per_second);
  market.pass(2000);
  for (const int status : {200, 201, 202, 204, 299}) {
    market.answers = {{.status = status}};
    CHECK(market.deliver().delivered == 1);
    market.ended();
  }
  market.check_books();
}

TEST_CASE("addresses are judged before each attempt, and a bad one is never connected to") {
  Hooks market;
  const JobId id = market.ended();
  const std::pair<std::vector<std::string>, const char*> bad[] = {
      {{"127.0.0.1"}, "loopback"},     {{"93.184.216.34", "169.254.169.254"}, "metadata"},
      {{"::ffff:10.0.0.1"}, "mapped"}, {{}, "unresolved"},
      {{"0x7f.1"}, "address"},
  };
  for (const auto& [addresses, why] : bad) {
    const std::string says(why);  // clang 14 captures no structured binding
    CAPTURE(says);
    market.addresses = addresses;
    CHECK(market.deliver().failed == 1);
    CHECK(market.sent.empty());
    CHECK(market.webhook(id).error == says);
    market.now_us = market.webhook(id).next_at->us;
  }
  // A resolver that throws, and one that takes part no more.
  WebhookTransport throws = market.transport();
  throws.resolve = [](const std::string&) -> std::vector<std::string> { throw std::runtime_error("no"); };
  CHECK(market.engine.deliver_webhooks(throws).value().failed == 1);
  CHECK(market.webhook(id).error == "no_answer");
  market.now_us = market.webhook(id).next_at->us;
  market.addresses = {"93.184.216.34"};
  CHECK(market.deliver().delivered == 1);
  CHECK(market.sent.size() == 1);

  // A URL with an address is not resolved; and rules may have changed since the job was submitted.
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  options.callbacks = core::CallbackRules{.allow_http = true, .allow_private = true, .ports = {8080}};
  JobId local;
  {
    JobMarket open(options);
    CHECK(open.all.rotate_webhook_secret(open.payer).ok());
    local = open.submit(JobMarket::job(1, {{"callback_url", "http://[::1]:8080/"}}));
    CHECK(open.done(open.lease()).ok());
  }
  options.callbacks.emplace();
  const auto unasked = [](const std::string&) -> std::vector<std::string> {
    FAIL("asked");
    return {};
  };
  {
    const auto refused = [](const WebhookRequest&) -> WebhookAnswer {
      FAIL("sent");
      return {};
    };
    std::int64_t now_us = 1'900'000'000'000'000;
    options.now_us = [&] { return now_us; };
    Engine strict = Engine::open(options).value();
    CHECK(strict.deliver_webhooks({unasked, refused}).value().failed == 1);
    CHECK(strict.as_operator().job_webhooks(local).value()[0].error == "scheme");
  }
  options.callbacks = core::CallbackRules{.allow_http = true, .allow_private = true, .ports = {8080}};
  options.now_us = [] { return std::int64_t{1'900'000'100'000'000}; };
  Engine again = Engine::open(options).value();
  const auto sends = [](const WebhookRequest& request) {
    CHECK(request.address == "::1");
    CHECK(request.target.port == 8080);
    CHECK_FALSE(request.target.https);
    return WebhookAnswer{.status = 204};
  };
  CHECK(again.deliver_webhooks({unasked, sends}).value().delivered == 1);
}

TEST_CASE(
    "whoever is gone between sending and saying so leaves the message to the next, once its claim ends") {
  Hooks market;
  const JobId id = market.ended();
  market.meanwhile = [] { throw std::bad_alloc(); };  // what is nearest to the end of a process
  CHECK_THROWS_AS(static_cast<void>(market.engine.deliver_webhooks(market.transport())), std::bad_alloc);
  market.meanwhile = nullptr;
  CHECK(market.sent.size() == 1);
  CHECK(market.webhook(id).status == WebhookStatus::pending);
  market.pass(webhook_claim_s - 1);
  CHECK(market.deliver().delivered == 0);
  CHECK(market.sent.size() == 1);
  market.pass(1);
  CHECK(market.deliver().delivered == 1);
  REQUIRE(market.sent.size() == 2);
  CHECK(market.sent[1].id == market.sent[0].id);
  CHECK(market.sent[1].timestamp != market.sent[0].timestamp);
  CHECK(market.webhook(id).attempts == 2);

  // Ten that vanish are all there are.
  const JobId lost = market.ended();
  market.meanwhile = [] { throw std::bad_alloc(); };
  for (int i = 0; i < 10; ++i) {
    CHECK_THROWS_AS(static_cast<void>(market.engine.deliver_webhooks(market.transport())), std::bad_alloc);
    market.pass(webhook_claim_s);
  }
  market.meanwhile = nullptr;
  CHECK(market.deliver().delivered == 0);
  CHECK(market.webhook(lost).status == WebhookStatus::dead);
  CHECK(market.webhook(lost).error == "no_answer");
  CHECK(market.sent.size() == 12);
  market.check_books();
}

TEST_CASE("nobody sends what another sends, and who comes back late says nothing") {
  Hooks market;
  const JobId id = market.ended();
  int depth = 0;
  market.meanwhile = [&] {
    if (++depth != 1) return;
    CHECK(market.deliver().delivered == 0);  // it is under way
    CHECK(market.all.replay_webhook(id).value().attempts == 1);
    CHECK(market.deliver().delivered == 0);  // also for who would replay it
    market.pass(webhook_claim_s);
    CHECK(market.deliver().delivered == 1);  // the claim has ended, and this one is heard
  };
  market.answers = {{.status = 200}, {.status = 410}};
  const WebhookRound late = market.deliver();
  CHECK(late.delivered + late.failed + late.dead == 0);
  CHECK(market.sent.size() == 2);
  CHECK(market.webhook(id).status == WebhookStatus::delivered);
  CHECK(market.webhook(id).answered == 200);

  // The same where the other one's attempt failed: its word stands, also while it is under way.
  const JobId again = market.ended();
  depth = 0;
  market.meanwhile = [&] {
    if (++depth != 1) return;
    market.pass(webhook_claim_s);
    CHECK(market.deliver().failed == 1);
  };
  market.answers = {{.status = 500}, {.status = 410}};
  CHECK(market.deliver(1).dead == 0);
  CHECK(market.webhook(again).status == WebhookStatus::pending);
  CHECK(market.webhook(again).answered == 500);
  CHECK(market.webhook(again).attempts == 2);
  market.check_books();
}

TEST_CASE("four threads that deliver at once send each message once") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  Hooks market(options);
  constexpr std::size_t messages = 40;
  for (std::size_t i = 0; i < messages; ++i) market.ended();
  std::mutex mutex;
  std::map<std::string, int> counts;
  const WebhookTransport transport{
      .resolve = [](const std::string&) { return std::vector<std::string>{"93.184.216.34"}; },
      .send =
          [&](const WebhookRequest& request) {
            const std::lock_guard lock(mutex);
            ++counts[request.headers[1].second];
            return WebhookAnswer{.status = 200};
          }};
  Options other_options = market.with_clock(with_callbacks(options));
  Engine other = Engine::open(other_options).value();  // as another process would
  std::atomic<std::uint64_t> delivered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const Result<WebhookRound> round = (i % 2 == 0 ? market.engine : other).deliver_webhooks(transport);
      delivered += round.ok() ? round->delivered : 0;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(delivered == messages);
  CHECK(counts.size() == messages);
  for (const auto& [id, count] : counts) CHECK(count == 1);
  market.check_books();
}

TEST_CASE("after a rotation both secrets sign for a day, and they outlive the engine") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  std::string first, second;
  WalletId payer;
  JobId id;
  std::int64_t now_us = 0;
  {
    Hooks market(options);
    first = market.secret;
    payer = market.payer;
    id = market.ended();
    const WebhookSecret rotated = market.all.rotate_webhook_secret(payer).value();
    second = rotated.secret;
    CHECK(rotated.version == 2);
    CHECK(rotated.previous_until == Instant{market.now_us + 86'400 * core::us_per_second});
    CHECK(second != first);
    now_us = market.now_us;
  }
  Options again = with_callbacks(options);
  again.now_us = [&] { return now_us; };
  Engine engine = Engine::open(again).value();
  std::vector<Sent> sent;
  const WebhookTransport transport{
      .resolve = [](const std::string&) { return std::vector<std::string>{"93.184.216.34"}; },
      .send =
          [&](const WebhookRequest& request) {
            sent.push_back({request.headers[1].second, request.headers[2].second, request.headers[3].second,
                            std::string(request.body), request.address, now_us});
            return WebhookAnswer{.status = 200};
          }};
  const auto signs = [&](const std::string& secret) {
    const Sent& one = sent.back();
    return verify_webhook(
               secret,
               {.id = one.id, .timestamp = one.timestamp, .signature = one.signature, .body = one.body},
               Instant{one.at_us})
        .valid;
  };
  CHECK(engine.deliver_webhooks(transport).value().delivered == 1);
  CHECK(signs(first));
  CHECK(signs(second));
  CHECK(engine.as_operator().replay_webhook(id).ok());
  now_us += 86'400 * core::us_per_second;
  CHECK(engine.deliver_webhooks(transport).value().delivered == 1);
  CHECK_FALSE(signs(first));
  CHECK(signs(second));
  CHECK_FALSE(engine.as_operator().webhook_secret(payer).value().previous_until);

  // The file holds no secret.
  CHECK(Raw(options.path).all_of("SELECT * FROM webhook_secrets")->find("whsec") == std::string::npos);
}

TEST_CASE("a receiver of moods: what is delivered or dead at the end was sent as often as was counted") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    Hooks market;
    testing::Dice moods(seed);
    std::map<std::string, JobId> jobs;
    for (int i = 0; i < 12; ++i) {
      const JobId id = market.ended();
      jobs.emplace(id.text(), id);
      market.pass(static_cast<std::int64_t>(moods.next() % 100));
    }
    std::map<std::string, std::int64_t> last_us, attempts;
    std::set<std::string> accepted, refused;
    for (int step = 0; step < 2000; ++step) {
      const std::uint64_t mood = moods.next() % 100;
      const int status = mood < 8 ? 200 : mood < 10 ? 410 : mood < 50 ? 500 : mood < 70 ? 302 : 0;
      const bool dies = mood >= 95;
      market.answers = {{.status = status, .retry_after_s = static_cast<std::int64_t>(moods.next() % 1000)}};
      market.meanwhile = [&] {
        const Sent& one = market.sent.back();
        CHECK(accepted.count(one.id) == 0);
        CHECK(refused.count(one.id) == 0);
        const std::int64_t apart_us = one.at_us - last_us[one.id];
        CHECK(apart_us >= 5 * core::us_per_second);  // the shortest of all pauses
        last_us[one.id] = one.at_us;
        CHECK(++attempts[one.id] <= 10);
        if (dies) throw std::bad_alloc();
        if (status == 200) accepted.insert(one.id);
        if (status == 410) refused.insert(one.id);
      };
      std::optional<Instant> next;
      try {
        next = market.deliver(1).next_at;
      } catch (const std::bad_alloc&) {
      }
      if (next) market.now_us = std::max(market.now_us, next->us);
    }
    for (const auto& [text, id] : jobs) {
      const Webhook webhook = market.webhook(id);
      CHECK(webhook.attempts == attempts[text]);
      CHECK(webhook.status != WebhookStatus::pending);
      CHECK((webhook.status == WebhookStatus::delivered) == (accepted.count(text) == 1));
      if (webhook.status == WebhookStatus::dead) CHECK((refused.count(text) == 1 || webhook.attempts == 10));
    }
    market.check_books();
  }
}

TEST_CASE("what an editor does to messages is refused by the file, and found by the audit") {
  const store::Scratch scratch;
  const std::string made = scratch / "made.db";
  {
    Options options;
    options.path = made;
    Hooks market(options);
    market.ended();
    market.answers = {{.status = 410}};
    market.deliver();
    market.ended();
    market.deliver();
    market.ended();
    market.submit(Hooks::hooked());
  }
  Raw(made).run("PRAGMA wal_checkpoint(TRUNCATE)");
  {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(made.c_str(), &db) == SQLITE_OK);
    for (const char* change : {"UPDATE webhooks SET body = '{}'", "DELETE FROM webhooks",
                               "UPDATE webhook_secrets SET version = 2", "DELETE FROM webhook_secrets"}) {
      CAPTURE(change);
      CHECK(sqlite3_exec(db, change, nullptr, nullptr, nullptr) == SQLITE_CONSTRAINT);
    }
    sqlite3_close(db);
  }
  const auto found_in = [&](const char* change) {
    const std::string path = scratch / "copy.db";
    for (const char* suffix : {"-wal", "-shm", "-gate", "-keys"}) std::filesystem::remove(path + suffix);
    std::filesystem::copy_file(made, path, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(made + "-keys", path + "-keys");
    if (*change != '\0') Edit(path).run(change);
    Options options;
    options.path = path;
    return Engine::open(options).value().as_operator().audit().value().first_fault;
  };
  CHECK(found_in("").empty());
  for (const char* change :
       {"UPDATE webhooks SET body = replace(body, 'completed', 'failed') WHERE job = 1",
        "UPDATE webhooks SET at_us = at_us + 1 WHERE job = 2", "DELETE FROM webhooks WHERE job = 1",
        "UPDATE webhooks SET job = 9 WHERE job = 2", "INSERT INTO webhooks VALUES(4, 1, '{}')",
        "DELETE FROM webhook_states WHERE job = 1", "UPDATE webhook_states SET job = 9 WHERE job = 1",
        "INSERT INTO webhook_states VALUES(4, 0, 0, 0, 0, 0, 0, '')",
        "UPDATE webhook_states SET status = 7 WHERE job = 2"}) {
    CAPTURE(change);
    CHECK_FALSE(found_in(change).empty());
  }
  // When a message is tried, and how that went, no audit can know; what it says would be found.
  CHECK(found_in("UPDATE webhook_states SET attempts = 3, due_us = 5, answered = 500 WHERE job = 3").empty());
}

TEST_CASE("a job's message is its payer's and an operator's to see, and dead ones an operator's") {
  Hooks market;
  const JobId id = market.ended();
  const auto key = [&](WalletId wallet) { return market.all.issue_key(wallet, "").value().api_key; };
  Session own = market.engine.session(key(market.payer)).value();
  const WalletId other_wallet = market.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  Session other = market.engine.session(key(other_wallet)).value();
  CHECK(own.job_webhooks(id).value().size() == 1);
  CHECK(other.job_webhooks(id).reason() == Reason::job_unknown);
  CHECK(own.dead_webhooks().reason() == Reason::operator_only);
  CHECK(own.replay_webhook(id).reason() == Reason::operator_only);
  CHECK(own.webhook_secret(market.payer).value().version == 1);
  CHECK(own.rotate_webhook_secret(market.payer).value().version == 2);
  CHECK(other.webhook_secret(market.payer).reason() == Reason::not_your_wallet);
  CHECK(other.rotate_webhook_secret(market.payer).reason() == Reason::not_your_wallet);

  // Pages of dead ones.
  market.addresses = {};
  for (int i = 0; i < 4; ++i) market.ended();
  for (int i = 0; i < 10; ++i) {
    market.deliver();
    market.pass(100'000);
  }
  const Listed<Webhook> first = market.all.dead_webhooks({.limit = 3}).value();
  CHECK(first.items.size() == 3);
  const Listed<Webhook> rest = market.all.dead_webhooks({.after = first.next, .limit = 3}).value();
  CHECK(rest.items.size() == 2);
  CHECK(rest.next.empty());
}
