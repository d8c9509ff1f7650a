#include "wire/router.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "wire/notes.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

constexpr Route route_table[] = {
    {Method::post, "/v1/wallets", Access::key, create_wallet},
    {Method::get, "/v1/wallets", Access::key, list_wallets},
    {Method::get, "/v1/wallets/{id}", Access::key, get_wallet},
    {Method::patch, "/v1/wallets/{id}", Access::key, change_wallet},
    {Method::post, "/v1/wallets/{id}/spend", Access::key, spend},
    {Method::post, "/v1/wallets/{id}/earn", Access::key, earn},
    {Method::post, "/v1/wallets/{id}/release", Access::key, release},
    {Method::post, "/v1/wallets/{id}/transfer", Access::key, transfer},
    {Method::post, "/v1/wallets/{id}/topup", Access::key, topup},
    {Method::post, "/v1/wallets/{id}/payouts", Access::key, request_payout},
    {Method::get, "/v1/wallets/{id}/payouts", Access::key, list_payouts},
    {Method::get, "/v1/wallets/{id}/entries", Access::key, list_entries},
    {Method::get, "/v1/wallets/{id}/escrows", Access::key, list_escrows},
    {Method::get, "/v1/wallets/{id}/approvals", Access::key, list_approvals},
    {Method::get, "/v1/wallets/{id}/keys", Access::key, list_keys},
    {Method::post, "/v1/wallets/{id}/keys", Access::key, issue_key},
    {Method::get, "/v1/wallets/{id}/receipts", Access::key, list_receipts},
    {Method::get, "/v1/wallets/{id}/webhook-secret", Access::key, get_webhook_secret},
    {Method::post, "/v1/wallets/{id}/webhook-secret", Access::key, rotate_webhook_secret},
    {Method::get, "/v1/webhooks", Access::operator_, list_dead_webhooks},
    {Method::post, "/v1/webhooks/deliver", Access::operator_, deliver_webhooks},
    {Method::get, "/v1/keys", Access::operator_, list_operator_keys},
    {Method::delete_, "/v1/keys/{id}", Access::key, revoke_key},
    {Method::post, "/v1/keys/{id}/rotate", Access::key, rotate_key},
    {Method::post, "/v1/approvals/{id}/approve", Access::key, approve},
    {Method::post, "/v1/approvals/{id}/deny", Access::key, deny},
    {Method::get, "/v1/payouts/{id}", Access::key, get_payout},
    {Method::post, "/v1/payouts/{id}/confirm", Access::operator_, confirm_payout},
    {Method::post, "/v1/payouts/{id}/fail", Access::operator_, fail_payout},
    {Method::post, "/v1/waitlist", Access::operator_, join_waitlist},
    {Method::post, "/v1/waitlist/{id}/approve", Access::operator_, approve_waitlist},
    {Method::post, "/v1/grants", Access::operator_, grant},
    {Method::post, "/v1/bulk", Access::key, bulk},
    {Method::get, "/v1/receipts/keys", Access::anyone, get_receipt_keys},
    {Method::post, "/v1/receipts/verify", Access::anyone, verify_receipt},
    {Method::get, "/v1/receipts/checkpoint", Access::key, get_checkpoint},
    {Method::get, "/v1/receipts/consistency", Access::key, get_consistency},
    {Method::get, "/v1/receipts/{id}", Access::key, get_receipt},
    {Method::get, "/v1/receipts/{id}/proof", Access::key, get_proof},
    {Method::post, "/v1/receipts/{id}/audit", Access::operator_, audit_receipt},
    {Method::get, "/v1/audit", Access::operator_, audit},
    {Method::post, "/v1/audit", Access::operator_, audit_with_anchor},
    {Method::get, "/v1/export", Access::operator_, export_ledger},
    {Method::get, "/v1/settings", Access::operator_, get_settings},
    {Method::put, "/v1/settings", Access::operator_, put_settings},
    {Method::post, "/v1/paid-calls", Access::operator_, take_paid_call},
    {Method::post, "/api/v1/jobs", Access::key, submit_job, job_text_bytes_max},
    {Method::get, "/api/v1/jobs", Access::key, list_jobs},
    {Method::post, "/api/v1/jobs/batch", Access::key, submit_jobs, job_text_bytes_max},
    {Method::post, "/api/v1/jobs/estimate", Access::key, estimate_job, job_text_bytes_max},
    {Method::get, "/api/v1/jobs/{id}", Access::key, get_job},
    {Method::put, "/api/v1/jobs/{id}/cancel", Access::key, cancel_job},
    {Method::get, "/api/v1/jobs/{id}/output", Access::key, get_job_output},
    {Method::get, "/api/v1/jobs/{id}/tasks", Access::key, get_job_tasks},
    {Method::get, "/api/v1/jobs/{id}/events", Access::key, get_job_events},
    {Method::get, "/api/v1/jobs/{id}/stream", Access::key, stream_job},
    {Method::get, "/api/v1/jobs/watch", Access::key, watch_jobs},
    {Method::get, "/api/v1/jobs/{id}/webhooks", Access::key, list_job_webhooks},
    {Method::post, "/api/v1/jobs/{id}/webhooks/replay", Access::operator_, replay_webhook},
    {Method::get, "/api/v1/results/{id}", Access::key, get_results},
    {Method::get, "/api/v1/presets", Access::key, get_presets},
    {Method::post, "/api/v1/projects", Access::key, create_project},
    {Method::get, "/api/v1/projects", Access::key, list_projects},
    {Method::get, "/api/v1/projects/{id}", Access::key, get_project},
    {Method::put, "/api/v1/projects/{id}", Access::key, change_project},
    {Method::delete_, "/api/v1/projects/{id}", Access::key, delete_project},
    {Method::post, "/api/v1/projects/{id}/push", Access::key, push_project, tarball_bytes_max},
    {Method::post, "/api/v1/projects/{id}/init", Access::key, init_project},
    {Method::get, "/api/v1/projects/{id}/status", Access::key, get_project_status},
    {Method::get, "/api/v1/projects/{id}/status/details", Access::key, get_project_details},
    {Method::get, "/api/v1/projects/{id}/stream", Access::key, stream_project},
    {Method::post, "/api/v1/projects/{id}/invalidate", Access::key, invalidate_project},
    {Method::put, "/api/v1/projects/{id}/kv/{key}", Access::key, put_kv},
    {Method::get, "/api/v1/projects/{id}/kv/{key}", Access::key, get_kv},
    {Method::post, "/api/v1/artifacts", Access::key, put_artifact, artifact_bytes_max},
    {Method::get, "/api/v1/artifacts", Access::key, list_artifacts},
    {Method::get, "/api/v1/artifacts/{id}", Access::key, get_artifact},
    {Method::post, "/api/v1/artifacts/direct", Access::key, direct_artifact},
    {Method::put, "/api/v1/artifacts/direct/{id}", Access::anyone, put_direct, artifact_bytes_max},
    {Method::post, "/api/v1/artifacts/multipart", Access::key, start_artifact},
    {Method::post, "/api/v1/artifacts/multipart/complete", Access::key, complete_artifact,
     parts_text_bytes_max},
    {Method::get, "/api/v1/artifacts/multipart/{id}/parts", Access::key, list_artifact_parts},
    {Method::put, "/api/v1/artifacts/multipart/{id}/parts/{key}", Access::key, put_artifact_part,
     artifact_part_bytes_max},
    {Method::delete_, "/api/v1/artifacts/multipart/{id}", Access::key, abort_artifact},
    {Method::post, "/api/v1/artifacts/collect", Access::operator_, collect_artifacts},
    {Method::get, "/api/v1/recipes", Access::key, list_recipes},
    {Method::get, "/api/v1/recipes/{id}", Access::key, get_recipe},
    {Method::post, "/api/v1/recipes/{id}/jobs", Access::key, submit_recipe_job, job_text_bytes_max},
    {Method::post, "/api/v1/auth/wallet/challenge", Access::anyone, start_sign_in},
    {Method::post, "/api/v1/auth/wallet/verify", Access::anyone, finish_sign_in},
    {Method::post, "/api/v1/auth/wallet/whitelist", Access::operator_, whitelist_wallet},
    {Method::get, "/api/v1/account/balance", Access::key, get_balance},
    {Method::get, "/api/v1/account/ledger", Access::key, get_account_ledger},
    {Method::get, "/api/v1/account/holds", Access::key, get_holds},
    {Method::get, "/api/v1/account/quotes", Access::key, list_quotes},
    {Method::post, "/api/v1/account/quotes/topup", Access::key, quote_topup},
    {Method::get, "/api/v1/account/quotes/{id}", Access::key, get_quote},
    {Method::post, "/api/v1/account/quotes/{id}/pay/x402", Access::key, pay_quote},
    {Method::post, "/compute/api-keys", Access::key, issue_compute_key},
    {Method::get, "/compute/api-keys", Access::key, list_compute_keys},
    {Method::delete_, "/compute/api-keys/{id}", Access::key, revoke_compute_key},
    {Method::get, "/compute/credits/balance", Access::key, get_credits},
    {Method::post, "/compute/credits/topup", Access::key, topup_credits},
    {Method::post, "/api/v1/workers/lease", Access::operator_, lease_tasks},
    {Method::post, "/api/v1/workers/report", Access::operator_, report_tasks, job_text_bytes_max},
    {Method::get, "/api/v1/workers/leases/{id}/source", Access::operator_, get_lease_source},
    {Method::get, "/health", Access::anyone, get_health},
    {Method::get, "/live", Access::anyone, get_health},
    {Method::get, "/ready", Access::anyone, get_ready},
    {Method::get, "/metrics", Access::metrics, get_metrics},
    {Method::post, "/api/v1/feedback", Access::anyone, submit_feedback},
    {Method::get, "/api/v1/feedback", Access::operator_, list_feedback},
    {Method::get, "/skill.md", Access::anyone, get_skill},
    {Method::get, "/llms.txt", Access::anyone, get_compact_reference},
    {Method::get, "/llms-full.txt", Access::anyone, get_full_reference},
    {Method::get, "/docs", Access::anyone, get_docs},
    {Method::get, "/openapi.json", Access::anyone, get_openapi},
    {Method::get, "/api/v1/docs", Access::anyone, get_docs_index},
    {Method::get, "/api/v1/docs/recipes", Access::anyone, get_recipe_guide},
    {Method::get, "/api/v1/docs/python-sdk", Access::anyone, get_python_guide},
    {Method::get, "/api/v1/docs/workflows", Access::anyone, get_workflow_guide},
};
// Who pays in place of a key is a stranger, for whom nothing else is looked up first.
static_assert(std::all_of(std::begin(route_table), std::end(route_table), [](const Route& route) {
  return route.price == nullptr || (route.access == Access::key && !route.path.starts_with("/api/v1/"));
}));

static_assert(std::equal(std::begin(route_table), std::end(route_table), std::begin(noted::notes),
                         std::end(noted::notes),
                         [](const Route& route, const Note& note) {
                           return route.method == note.method && route.path == note.path;
                         }),
              "each route has a note in notes.hpp, at the same place");

constexpr std::size_t segments_max = 7;
constexpr std::string_view id_parameter = "{id}";
constexpr std::string_view key_parameter = "{key}";

/// A path in its segments, between the slashes.
struct Path {
  std::array<std::string_view, segments_max> segments;
  std::size_t count = 0;  ///< `segments_max` + 1 when there are more.
};

constexpr Path split(std::string_view path) noexcept {
  Path out;
  std::size_t at = 0;
  while (at < path.size()) {  // at a slash
    std::size_t end = at + 1;
    while (end < path.size() && path[end] != '/') ++end;
    if (out.count == segments_max) {
      ++out.count;
      return out;
    }
    out.segments[out.count++] = path.substr(at + 1, end - at - 1);
    at = end;
  }
  return out;
}

/// The table's paths, split when this file is compiled: a request compares segments and allocates nothing.
constexpr auto patterns = [] {
  std::array<Path, std::size(route_table)> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = split(route_table[i].path);
  return out;
}();
static_assert(std::all_of(patterns.begin(), patterns.end(),
                          [](const Path& path) { return path.count <= segments_max; }));

constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Whether an encoded segment spells `literal`. Nobody escapes letters that need no escape, but may.
bool spells(std::string_view segment, std::string_view literal) noexcept {
  std::size_t at = 0;
  for (const char c : literal) {
    if (at == segment.size()) return false;
    if (segment[at] != '%') {
      if (segment[at++] != c) return false;
      continue;
    }
    if (segment.size() - at < 3) return false;
    const int high = hex_value(segment[at + 1]);
    const int low = hex_value(segment[at + 2]);
    if (high < 0 || low < 0 || static_cast<char>(high * 16 + low) != c) return false;
    at += 3;
  }
  return at == segment.size();
}

enum class Fit : std::uint8_t { none, by_id, literally };

Fit fit(const Path& pattern, const Path& path, std::string_view& id, std::string_view& key) noexcept {
  if (pattern.count != path.count) return Fit::none;
  Fit found = Fit::literally;
  for (std::size_t i = pattern.count; i-- > 0;) {  // the last segments differ most
    const bool is_key = pattern.segments[i] == key_parameter;
    if (is_key || pattern.segments[i] == id_parameter) {
      if (path.segments[i].empty()) return Fit::none;
      (is_key ? key : id) = path.segments[i];
      found = Fit::by_id;
    } else if (!spells(path.segments[i], pattern.segments[i])) {
      return Fit::none;
    }
  }
  return found;
}

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <class Id>
Result<Id> id_in_path(const Call& call, Reason unknown, std::string_view kind, std::string_view name) {
  if (const std::optional<Id> id = Id::read(call.id)) return *id;
  json::Object details;
  if (const auto said = sayable(call.id)) details.set(std::string(name), *said);
  return fail(unknown, "no " + std::string(kind) + " has such an id", std::move(details));
}

/// Where a key belongs: what a caller without one must know.
json::Value key_places() { return json::object({{"headers", json::array({"X-API-Key", "Authorization"})}}); }

}  // namespace

std::span<const Route> routes() noexcept { return route_table; }

Match match(std::string_view method, std::string_view path) noexcept {
  const Path asked = split(path);
  Match out;
  Fit best = Fit::none;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    std::string_view id, key;
    const Fit found = fit(patterns[i], asked, id, key);
    if (found == Fit::none || found < best) continue;
    if (found > best) out = Match{};  // a literal path hides the methods of the `{id}` beside it
    best = found;
    out.allow |= 1U << static_cast<unsigned>(route_table[i].method);
    if (word(route_table[i].method) == method) {
      out.route = &route_table[i];
      out.id = id;
      out.key = key;
    }
  }
  return out;
}

std::optional<std::string> percent_decoded(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && plus == Plus::space) {
      out.push_back(' ');
      continue;
    }
    if (text[at] != '%') {
      out.push_back(text[at]);
      continue;
    }
    if (text.size() - at < 3) return std::nullopt;
    const int high = hex_value(text[at + 1]);
    const int low = hex_value(text[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    at += 2;
  }
  return out;
}

std::string_view without_blanks(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool same_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

Result<std::optional<std::string_view>> header(const Request& request, std::string_view name) {
  std::optional<std::string_view> found;
  for (const HeaderField& field : request.headers) {
    if (!same_ignoring_case(field.name, name)) continue;
    const std::string_view value = without_blanks(field.value);
    if (found && *found != value)
      return fail(Reason::malformed_header, "the header is given twice, with two values",
                  json::object({{"field", name}}));
    found = value;
  }
  return found;
}

std::optional<std::string_view> sayable(std::string_view text) noexcept {
  constexpr std::size_t said_max = 128;
  constexpr std::string_view secrets[] = {"cyx_", "flk_", "fls_", "x402c_"};
  if (text.size() > said_max) return std::nullopt;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; }))
    return std::nullopt;
  for (const std::string_view secret : secrets)
    if (text.find(secret) != std::string_view::npos) return std::nullopt;
  return text;
}

namespace {

/// The key that a request gives, or nothing. Fails: `unauthorized` for two that differ.
Result<std::optional<std::string_view>> key_in(const Request& request) {
  // All of a kind, so that neither a proxy's view of the order nor ours decides who is asking.
  std::string_view key;
  bool differ = false;
  const auto take = [&](std::string_view given) {
    differ = differ || (!key.empty() && key != given);
    key = given;
  };
  for (const HeaderField& field : request.headers) {
    if (same_ignoring_case(field.name, "X-API-Key")) {
      if (const std::string_view given = without_blanks(field.value); !given.empty()) take(given);
    } else if (same_ignoring_case(field.name, "Authorization")) {
      constexpr std::string_view bearer = "Bearer ";
      const std::string_view value = without_blanks(field.value);
      if (value.size() > bearer.size() && same_ignoring_case(value.substr(0, bearer.size()), bearer))
        take(without_blanks(value.substr(bearer.size())));
    }
  }
  if (differ) return fail(Reason::unauthorized, "two different API keys are given", key_places());
  return key.empty() ? std::optional<std::string_view>() : key;
}

}  // namespace

Result<std::string_view> api_key(const Request& request) {
  CALYX_TRY(const std::optional<std::string_view> key, key_in(request));
  if (key) return *key;
  return fail(Reason::unauthorized, "an API key is needed, in X-API-Key or Authorization: Bearer",
              key_places());
}

namespace {

struct SignaturePlace {
  std::string_view name;
  std::string_view core::request_signature::Headers::*member;
};
constexpr SignaturePlace signature_places[] = {
    {"X-Auth-Address", &core::request_signature::Headers::address},
    {"X-Auth-Chain", &core::request_signature::Headers::chain},
    {"X-Auth-Signature", &core::request_signature::Headers::signature},
    {"X-Auth-Timestamp", &core::request_signature::Headers::timestamp},
    {"X-Auth-Nonce", &core::request_signature::Headers::nonce},
    {"X-Auth-Sig-Encoding", &core::request_signature::Headers::encoding}};

}  // namespace

bool is_signed(const Request& request) noexcept {
  return std::any_of(request.headers.begin(), request.headers.end(), [](const HeaderField& field) {
    return std::any_of(
        std::begin(signature_places), std::end(signature_places),
        [&](const SignaturePlace& place) { return same_ignoring_case(field.name, place.name); });
  });
}

Result<Session> session_of(Engine& engine, const Request& request, bool of_jobs) {
  if (!is_signed(request)) {
    CALYX_TRY(const std::string_view key, api_key(request));
    return engine.session(key);
  }
  // Who is meant, where two are named, is nobody's guess.
  CALYX_TRY(const std::optional<std::string_view> key, key_in(request));
  if (key) return fail(Reason::unauthorized, "an API key and a signature are given", key_places());
  core::request_signature::Headers headers;
  for (const auto& [name, member] : signature_places) {
    CALYX_TRY(const std::optional<std::string_view> value, header(request, name));
    headers.*member = value.value_or(std::string_view());
  }
  return engine.session({request.method, request.target, request.body, headers}, of_jobs);
}

Result<IdempotencyKey> idempotency_key(const Request& request) {
  constexpr std::string_view name = "Idempotency-Key";
  CALYX_TRY(const std::optional<std::string_view> given, header(request, name));
  if (!given) return key_of_payment(request);
  if (given->empty())
    return fail(Reason::field_value, "is empty, takes 1 to 128 bytes of 0x21-0x7E",
                json::object({{"field", name}}));
  return IdempotencyKey(*given);
}

Response json_response(int status, std::string body, Replay replay) {
  Response out;
  out.status = status;
  out.headers.reserve(2);
  out.headers.push_back({"Content-Type", "application/json"});
  if (replay == Replay::again) out.headers.push_back({"Idempotent-Replayed", "true"});
  out.body = std::move(body);
  return out;
}

void append_error(std::string& out, const Error& error) {
  out += R"({"error":{"code":")";
  out += word(error.reason);
  out += R"(","message":)";
  json::append_string(out, error.message);
  out += R"(,"details":)";
  if (error.details.object() != nullptr)
    json::append_text(out, error.details);
  else
    out += "{}";
  out += "}}";
}

namespace {

/// Whether the same call may come right by waiting alone. A market that is read only, or of a newer build, or
/// lacks its keys, or is closed, needs somebody who does something.
constexpr bool waiting_helps(Reason reason) noexcept {
  switch (reason) {
    case Reason::too_many_approvals:
    case Reason::too_many_quotes:
    case Reason::too_many_wallets:
    case Reason::too_many_nonces:
    case Reason::too_much_feedback:
    case Reason::store_busy:
    case Reason::disk_full:
    case Reason::io_error:
    case Reason::no_memory:
    case Reason::signer_failed:
    case Reason::outcome_unknown: return true;
    default: return false;
  }
}

}  // namespace

Response error_response(const Error& error) {
  std::string body;
  append_error(body, error);
  Response out = json_response(facts(error.reason).http, std::move(body));
  if (waiting_helps(error.reason)) {
    // A rule that knows when it lets the next one pass says so.
    const json::Value* known = error.details.find("retry_after_s");
    const std::int64_t* seconds = known == nullptr ? nullptr : known->integer();
    out.headers.push_back({"Retry-After", seconds == nullptr ? "1" : std::to_string(*seconds)});
  }
  return out;
}

Error first_fault(Session& session, WalletId wallet, Right right, Error fault) {
  if (Result<Wallet> read = session.wallet(wallet); !read.ok()) return std::move(read).error();
  const Principal& principal = session.principal();
  if (principal.role == Role::operator_) return fault;
  const bool own = principal.wallet == wallet;
  switch (right) {
    case Right::read: return fault;
    case Right::spend:
      if (own) return fault;
      return fail(Reason::not_your_wallet, "this key does not reach " + wallet.text(),
                  json::object({{"wallet_id", wallet.text()}}));
    case Right::manage:
    case Right::manage_own:
      if (principal.role != Role::human)
        return fail(Reason::human_only, "an agent's key may not do this",
                    json::object({{"role", "agent"}, {"wallet_id", wallet.text()}}));
      if (own && right == Right::manage)
        return fail(Reason::operator_only, "for a human's own wallet only an operator may do this",
                    json::object({{"role", "human"}, {"wallet_id", wallet.text()}}));
      return fault;
    case Right::operate:
      return fail(Reason::operator_only, "only an operator's key may do this",
                  json::object({{"role", principal.role == Role::human ? "human" : "agent"}}));
  }
  return fault;
}

Result<WalletId> wallet_id(const Call& call) {
  return id_in_path<WalletId>(call, Reason::wallet_unknown, "wallet", "wallet_id");
}
Result<KeyId> key_id(const Call& call) {
  return id_in_path<KeyId>(call, Reason::key_unknown, "key", "key_id");
}
Result<ApprovalId> approval_id(const Call& call) {
  return id_in_path<ApprovalId>(call, Reason::approval_unknown, "approval", "approval_id");
}
Result<PayoutId> payout_id(const Call& call) {
  return id_in_path<PayoutId>(call, Reason::payout_unknown, "payout", "payout_id");
}
Result<WaitlistId> waitlist_id(const Call& call) {
  return id_in_path<WaitlistId>(call, Reason::waitlist_unknown, "waitlist entry", "entry_id");
}
Result<ReceiptId> receipt_id(const Call& call) {
  return id_in_path<ReceiptId>(call, Reason::receipt_unknown, "receipt", "receipt_id");
}

}  // namespace calyx::wire
