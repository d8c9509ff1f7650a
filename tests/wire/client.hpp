// What the wire's tests share: a market in memory with a clock of its own, and a client that speaks to it.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <calyx/calyx.hpp>
#include <calyx/core/json.hpp>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json/reader.hpp"

namespace wire_test {

namespace json = calyx::core::json;

struct Answer {
  int status = 0;
  calyx::HeaderFields headers;
  std::string body;
  json::Value value;  // null when the body is no JSON

  std::string header(std::string_view name) const {
    for (const calyx::HeaderField& field : headers)
      if (field.name == name) return field.value;
    return {};
  }
  bool replayed() const { return header("Idempotent-Replayed") == "true"; }

  // The value at `path`, in words: `at("error.details.field")`, `at("items.0.amount")`. A string without its
  // quotes, everything else as JSON; `absent` when it is not there.
  std::string at(std::string_view path) const {
    const json::Value* here = find(path);
    if (here == nullptr) return "absent";
    return here->string() != nullptr ? *here->string() : json::text(*here);
  }
  const json::Value* find(std::string_view path) const {
    const json::Value* here = &value;
    while (!path.empty() && here != nullptr) {
      const std::size_t dot = std::min(path.find('.'), path.size());
      const std::string_view name = path.substr(0, dot);
      path = path.substr(std::min(dot + 1, path.size()));
      if (const json::Array* items = here->array()) {
        std::size_t index = 0;
        std::from_chars(name.data(), name.data() + name.size(), index);
        here = index < items->size() ? &(*items)[index] : nullptr;
      } else {
        here = here->find(name);
      }
    }
    return here;
  }
  std::string code() const { return at("error.code"); }
  std::string field() const { return at("error.details.field"); }
  std::size_t items() const {
    const json::Value* list = find("items");
    return list == nullptr || list->array() == nullptr ? 0 : list->array()->size();
  }
  // The names of an object's members, in their order.
  std::string members() const {
    std::string out;
    if (value.object() == nullptr) return "no object";
    for (const json::Member& member : *value.object()) out += (out.empty() ? "" : " ") + member.key;
    return out;
  }
};

// A wallet as a test holds it: its id and its key.
struct Owner {
  std::string id;
  std::string key;
  std::string path(std::string_view rest = {}) const { return "/v1/wallets/" + id + std::string(rest); }
};

class Market {
 public:
  static constexpr const char* metrics_token = "token-for-metrics-only";
  // Without a path it is in memory.
  explicit Market(std::string path = {})
      : clock_(std::make_shared<std::atomic<std::int64_t>>(1'775'077'200'000'000)) {
    calyx::Options options;
    options.path = std::move(path);
    options.metrics_token = metrics_token;
    options.now_us = [clock = clock_] { return clock->load(); };
    auto opened = calyx::Engine::open(std::move(options));
    REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? std::string() : opened.error().message));
    engine_ = std::make_unique<calyx::Engine>(*std::move(opened));
    auto key = engine_->issue_operator_key("tests");
    REQUIRE(key.ok());
    op = key->api_key;
  }

  calyx::Engine& engine() { return *engine_; }
  std::int64_t now_us() const { return clock_->load(); }
  void pass_us(std::int64_t us) { *clock_ += us; }
  void pass_s(std::int64_t seconds) { pass_us(seconds * 1'000'000); }

  Answer send(std::string method, std::string target, std::string_view key, std::string body = {},
              calyx::HeaderFields headers = {}) {
    if (!key.empty()) headers.push_back({"X-API-Key", std::string(key)});
    calyx::Response response =
        calyx::handle(*engine_, {std::move(method), std::move(target), std::move(headers), std::move(body)});
    Answer out{response.status, std::move(response.headers), std::move(response.body), {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    if (out.status >= 400) {  // every error has the one form
      CHECK(out.header("Content-Type") == "application/json");
      CHECK(!out.code().empty());
      CHECK(out.find("error.message") != nullptr);
    }
    return out;
  }
  Answer get(std::string target, std::string_view key) { return send("GET", std::move(target), key); }
  Answer post(std::string target, std::string_view key, std::string body = {}, std::string once = {}) {
    calyx::HeaderFields headers;
    if (!once.empty()) headers.push_back({"Idempotency-Key", std::move(once)});
    return send("POST", std::move(target), key, std::move(body), std::move(headers));
  }
  Answer patch(std::string target, std::string_view key, std::string body) {
    return send("PATCH", std::move(target), key, std::move(body));
  }

  Owner human(std::string_view name) {
    return owner(
        post("/v1/wallets", op, R"({"owner_type":"human","owner_id":")" + std::string(name) + "\"}"));
  }
  // `policy` is more members of the body, as `"spend_cap_per_job":5`.
  Owner agent(const Owner& parent, std::string_view name, std::string_view policy = {}) {
    return owner(post("/v1/wallets", op,
                      R"({"owner_type":"agent","owner_id":")" + std::string(name) +
                          R"(","parent_wallet_id":")" + parent.id + "\"" + (policy.empty() ? "" : ",") +
                          std::string(policy) + "}"));
  }
  Owner owner(const Answer& created) {
    REQUIRE_MESSAGE(created.status == 201, created.body);
    return {created.at("id"), created.at("api_key")};
  }
  void fund(const Owner& wallet, std::string_view amount) {
    const Answer answer = post(wallet.path("/topup"), op, "{\"amount\":" + std::string(amount) + "}");
    REQUIRE_MESSAGE(answer.status == 200, answer.body);
  }
  Answer spend(const Owner& wallet, std::string_view job, std::string_view amount,
               std::string_view more = {}) {
    return post(wallet.path("/spend"), wallet.key,
                R"({"job_id":")" + std::string(job) + R"(","amount":)" + std::string(amount) +
                    (more.empty() ? "" : ",") + std::string(more) + "}");
  }
  Answer earn(const Owner& host, std::string_view key, std::string_view job, std::string_view gross,
              std::string_view more = {}) {
    return post(host.path("/earn"), key,
                R"({"job_id":")" + std::string(job) + R"(","gross_amount":)" + std::string(gross) +
                    R"(,"output_hash":"sha256:)" + std::string(64, 'a') +
                    R"(","gpu_model":"RTX 4090","duration_seconds":10082)" + (more.empty() ? "" : ",") +
                    std::string(more) + "}");
  }
  Answer wallet(const Owner& of) { return get(of.path(), op); }
  std::string balance(const Owner& of) { return wallet(of).at("balance"); }

  // What would show that anything at all was written: the head of the chain of events.
  std::string head() {
    auto report = engine_->as_operator().audit();
    REQUIRE_MESSAGE(report.ok(), (report.ok() ? std::string() : report.error().message));
    CHECK_MESSAGE(report->ok, report->first_fault);
    return report->head;
  }

  std::string op;  // an operator's key

 private:
  std::shared_ptr<std::atomic<std::int64_t>> clock_;
  std::unique_ptr<calyx::Engine> engine_;
};

inline std::string micro_text(std::int64_t micro) { return calyx::core::wire_text(calyx::Money{micro}); }

}  // namespace wire_test
