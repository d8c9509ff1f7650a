// A whole request of the wire contract, as a stranger or a wallet's owner may send it: targets, queries,
// headers and bodies, read by every route.
//
// An input has the method and the target in its first line, then whose key comes with it (`-`, `op`, `human`,
// `agent`), then a header, then the body. `{human}`, `{agent}`, `{job}` and `{project}` in a target or a body
// stand for ids of a market that no input before this one has written to.
#include <calyx/engine.hpp>
#include <calyx/request.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz.hpp"
#include "json/reader.hpp"

namespace calyx::fuzz {

namespace {

class RequestMarket {
 public:
  RequestMarket() : engine_(Engine::open(options()).value()) {
    op_ = engine_.issue_operator_key("fuzz").value().api_key;
    Session all = engine_.as_operator();
    const WalletCreated human = all.create_wallet({.owner_id = "human"}).value();
    all.topup({.wallet = human.wallet.id, .amount = Money{1'000'000'000}}).value();
    const WalletCreated agent =
        all.create_wallet({.owner_type = OwnerType::agent, .owner_id = "agent", .parent = human.wallet.id})
            .value();
    all.topup({.wallet = agent.wallet.id, .amount = Money{1'000'000'000}}).value();
    human_ = human.api_key;
    agent_ = agent.api_key;
    all.create_project({.name = "project", .wallet = human.wallet.id}).value();
    const auto job = asked({"POST", "/api/v1/jobs", {{"X-API-Key", human_}}, R"({"task":"t"})"});
    const auto said = read_json(job.body);
    demand(job.status == 201 && said.ok(), "the market of the fuzz target is made");
    names_ = {{"{human}", human.wallet.id.text()},
              {"{agent}", agent.wallet.id.text()},
              {"{job}", std::string(*said->find("job_id")->string())},
              {"{project}", "project"}};
    commits_ = engine_.stats().commits;
  }

  Response asked(Request request) { return handle(engine_, std::move(request)); }
  std::string filled(std::string_view text) const {
    std::string out(text);
    for (const auto& [name, id] : names_)
      for (std::size_t at; (at = out.find(name)) != std::string::npos;) out.replace(at, name.size(), id);
    return out;
  }
  std::string_view key(std::string_view whose) const {
    return whose == "op" ? op_ : whose == "human" ? human_ : whose == "agent" ? agent_ : std::string_view();
  }
  /// Whether anything was asked that changed it.
  bool was_written() const { return engine_.stats().commits != commits_; }
  void check_books() {
    const AuditReport report = engine_.as_operator().audit().value();
    demand(report.ok, "the books are right, whatever was asked");
  }

 private:
  Options options() {
    Options out;
    out.now_us = [this] { return now_us_ += 1'000; };
    out.random = [this](void* to, std::size_t size) {
      for (std::size_t i = 0; i < size; ++i) {
        state_ = state_ * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
        static_cast<unsigned char*>(to)[i] = static_cast<unsigned char>(state_ >> 56U);
      }
      return true;
    };
    return out;
  }

  std::int64_t now_us_ = 1'800'000'000'000'000;
  std::uint64_t state_ = 1, commits_ = 0;
  Engine engine_;
  std::string op_, human_, agent_;
  std::vector<std::pair<std::string, std::string>> names_;
};

const HeaderField* header_of(const Response& response, std::string_view name) {
  for (const HeaderField& field : response.headers)
    if (field.name == name) return &field;
  return nullptr;
}

void check_response(const Response& response, bool is_head) {
  demand(response.status >= 200 && response.status < 600 && response.status != 500,
         "no request is an error of calyx's own");
  for (const HeaderField& field : response.headers)
    demand(field.name.find_first_of("\r\n: ") == std::string::npos &&
               field.value.find_first_of("\r\n") == std::string::npos,
           "what was sent begins no header of an answer");
  const HeaderField* const type = header_of(response, "Content-Type");
  const bool is_json = type != nullptr && type->value.find("json") != std::string::npos;
  if (response.stream != nullptr || is_head || !is_json || response.body.empty()) return;
  const auto read = read_json(response.body, {64, response.body.size()});
  demand(read.ok(), "an answer that says that it is JSON is");
  // Problem documents (RFC 9457) and x402's own answers say it in their words.
  if (response.status < 400 || type->value.find("problem") != std::string::npos) return;
  const core::json::Value* const error = read->find("error");
  demand(error != nullptr, "a refusal says why");
  if (error->object() == nullptr) return;
  const core::json::Value* const code = error->find("code");
  demand(code != nullptr && code->string() != nullptr && !code->string()->empty(), "a refusal has a code");
}

}  // namespace

void target::request(std::string_view input) {
  static std::unique_ptr<RequestMarket> kept;
  if (kept == nullptr) kept = std::make_unique<RequestMarket>();
  RequestMarket& market = *kept;
  const auto lines = pieces_of(input, 4);
  const auto words = pieces_of(lines[0], 2, ' ');
  Request request;
  request.method = std::string(words[0]);
  request.target = market.filled(words[1]);
  if (const std::string_view key = market.key(lines[1]); !key.empty())
    request.headers.push_back({"X-API-Key", std::string(key)});
  if (const auto header = pieces_of(lines[2], 2, ':'); !header[0].empty())
    request.headers.push_back({std::string(header[0]), std::string(header[1])});
  request.body = market.filled(lines[3]);
  const bool is_head = request.method == "HEAD";
  check_response(market.asked(std::move(request)), is_head);
  if (!market.was_written()) return;
  market.check_books();
  kept.reset();
}

}  // namespace calyx::fuzz
