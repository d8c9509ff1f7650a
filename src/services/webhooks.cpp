#include "services/webhooks.hpp"

#include "crypto/hmac.hpp"
#include "services/job_steps.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using store::JobState;
using store::WebhookState;

constexpr std::size_t secrets_signing_max = 4;

/// It follows from the key file's hash key, which a market keeps for ever: what is kept of it is its version.
Result<std::string> secret_text(const Transaction& tx, AccountNumber account, std::int64_t version) {
  const crypto::SecretBytes& key = *tx.seams().hash_key;
  if (key.empty()) return fail(Reason::keys_missing, "the key file is not here: put it back");
  const core::Digest secret = crypto::hmac_sha256(
      core::chars(key.bytes()),
      {"calyx webhook secret 1\n", std::to_string(account), "\n", std::to_string(version)});
  return "whsec_" + core::base64(secret.view());
}

Result<WebhookState> state_of(store::MarketStore& store, JobNumber number) {
  CALYX_TRY(std::optional<WebhookState> state, store.webhooks().state(number));
  if (!state || state->status < 0 || state->status > static_cast<std::int64_t>(WebhookStatus::dead))
    return fail(Reason::corrupt,
                "the message of job " + std::to_string(number) + " has no such state; run an audit");
  return *std::move(state);
}

void settle(WebhookState& state, WebhookStatus status) {
  state.status = static_cast<std::int64_t>(status);
  state.due = {};
}

}  // namespace

std::string webhook_body(std::uint32_t tag, const KnownJob& known, const JobState& state) {
  json::Value data = json::object({{"job_id", job_id_of(tag, known.row).text()},
                                   {"status", word(state.status)},
                                   {"tasks", known.row.tasks},
                                   {"completed", state.completed},
                                   {"failed", state.failed}});
  if (state.failure != JobFailure::none) data.object()->set("error", word(state.failure));
  std::string at;
  core::append_iso(at, state.ended);
  return json::canonical(json::object({{"type", "job." + std::string(word(state.status))},
                                       {"timestamp", std::move(at)},
                                       {"data", std::move(data)}}));
}

Result<Done> write_webhook(Transaction& tx, const KnownJob& known, const JobState& state) {
  store::WebhookStore& webhooks = tx.change_webhooks();
  CALYX_CHECK(webhooks.add(
      {.job = state.number, .at = state.ended, .body = webhook_body(tx.book().tag, known, state)}));
  return webhooks.put({.job = state.number, .due = state.ended});
}

Result<WebhookTaken> take_webhook(Transaction& tx) {
  for (;;) {
    CALYX_TRY(std::optional<WebhookState> found, tx.store().webhooks().first_due());
    if (!found) return WebhookTaken{};
    WebhookState& state = *found;
    if (state.due > tx.now()) return WebhookTaken{.claim = {}, .next = state.due};
    if (state.attempts >= core::callback_attempts_max) {
      // Its last attempt was taken, and nobody said how it went.
      state.error = "no_answer";
      settle(state, WebhookStatus::dead);
      CALYX_CHECK(tx.change_webhooks().put(state));
      continue;
    }
    CALYX_TRY(const std::shared_ptr<const KnownJob> known, tx.seams().known_jobs->get(tx.store(), state.job));
    CALYX_TRY(std::optional<store::WebhookRow> row, tx.store().webhooks().message(state.job));
    if (!row)
      return fail(Reason::corrupt,
                  "job " + std::to_string(state.job) + " has lost its message; run an audit");
    WebhookClaim claim{.job = state.job,
                       .token = ++state.claims,
                       .at = tx.now(),
                       .id = job_id_of(tx.book().tag, known->row).text(),
                       .url = known->terms.callback_url,
                       .body = std::move(row->body),
                       .secrets = {}};
    std::vector<std::int64_t> versions;
    CALYX_CHECK(tx.store().webhooks().secrets_of(
        known->row.account, [&](std::int64_t version, Instant at) -> Result<bool> {
          versions.push_back(version);
          // The one before it signs too, until whoever checks had time to change over.
          return versions.size() < secrets_signing_max &&
                 at.us > tx.now().us - webhook_overlap_s * core::us_per_second;
        }));
    for (const std::int64_t version : versions) {
      CALYX_TRY(claim.secrets.emplace_back(), secret_text(tx, known->row.account, version));
    }
    ++state.attempts;
    state.last = tx.now();
    state.due = Instant{tx.now().us + webhook_claim_s * core::us_per_second};
    state.answered = 0;
    state.error.clear();
    CALYX_CHECK(tx.change_webhooks().put(state));
    return WebhookTaken{.claim = std::move(claim), .next = {}};
  }
}

Result<std::optional<WebhookStatus>> mark_webhook(Transaction& tx, const WebhookClaim& claim,
                                                  const WebhookAnswer& answer, std::string_view error) {
  CALYX_TRY(WebhookState state, state_of(tx.store(), claim.job));
  if (state.status != static_cast<std::int64_t>(WebhookStatus::pending) || state.claims != claim.token)
    return std::optional<WebhookStatus>();
  state.answered = answer.status;
  state.error = error;
  WebhookStatus status = WebhookStatus::pending;
  switch (core::judge_callback(answer.status, state.attempts)) {
    case core::CallbackNext::delivered: settle(state, status = WebhookStatus::delivered); break;
    case core::CallbackNext::dead: settle(state, status = WebhookStatus::dead); break;
    case core::CallbackNext::again: {
      std::uint32_t random = 0;
      if (!tx.seams().random(&random, sizeof random))
        return fail(Reason::io_error, "the random source gave nothing");
      state.due =
          Instant{tx.now().us + core::callback_delay_us(state.attempts, answer.retry_after_s, random)};
    }
  }
  CALYX_CHECK(tx.change_webhooks().put(state));
  return std::optional(status);
}

Result<Webhook> replay_webhook(Transaction& tx, const Principal& principal, JobId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_TRY(const JobState job, readable_job(tx.book(), tx.store(), caller, id));
  CALYX_TRY(const std::optional<Webhook> before, webhook_of(tx.store(), job.number, id));
  if (!before)
    return fail(Reason::job_unknown, "job " + id.text() + " has no message of its end",
                json::object({{"job_id", id.text()}}));
  if (before->status == WebhookStatus::pending) return *before;
  CALYX_TRY(WebhookState state, state_of(tx.store(), job.number));
  state.status = static_cast<std::int64_t>(WebhookStatus::pending);
  state.attempts = 0;
  state.due = tx.now();
  CALYX_CHECK(tx.change_webhooks().put(state));
  CALYX_TRY(std::optional<Webhook> now, webhook_of(tx.store(), job.number, id));
  return *std::move(now);
}

Result<std::optional<Webhook>> webhook_of(store::MarketStore& store, JobNumber number, JobId id) {
  CALYX_TRY(const std::optional<store::WebhookRow> row, store.webhooks().message(number));
  if (!row) return std::optional<Webhook>();
  CALYX_TRY(WebhookState state, state_of(store, number));
  Webhook out{.job = id,
              .status = static_cast<WebhookStatus>(state.status),
              .attempts = state.attempts,
              .created_at = row->at,
              .answered = static_cast<int>(state.answered),
              .error = std::move(state.error)};
  if (state.last.us != 0) out.last_at = state.last;
  if (out.status == WebhookStatus::pending) out.next_at = state.due;
  return std::optional(std::move(out));
}

Result<Done> need_webhook_secret(Transaction& tx, AccountNumber account) {
  CALYX_TRY(const WebhookSecret secret, webhook_secret_of(tx.store(), account, tx.now()));
  if (secret.version != 0) return Done{};
  return fail(Reason::field_value,
              account == 0 ? "needs a wallet that pays, whose secret signs what is sent"
                           : "needs the wallet's secret, which signs what is sent: POST "
                             "/v1/wallets/{id}/webhook-secret first",
              json::object({{"field", "/callback_url"}, {"rule", "secret"}}));
}

Result<WebhookSecret> rotate_webhook_secret(Transaction& tx, const Principal& principal, WalletId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const WalletState* wallet, manageable(tx.book(), caller, id, Own::allowed));
  const AccountNumber account = wallet->number;
  CALYX_TRY(const WebhookSecret before, webhook_secret_of(tx.store(), account, tx.now()));
  CALYX_TRY(std::string text, secret_text(tx, account, before.version + 1));
  CALYX_CHECK(tx.change_webhooks().add_secret(account, before.version + 1, tx.now()));
  CALYX_TRY(WebhookSecret out, webhook_secret_of(tx.store(), account, tx.now()));
  out.secret = std::move(text);
  return out;
}

Result<WebhookSecret> webhook_secret_of(store::MarketStore& store, AccountNumber account, Instant now) {
  WebhookSecret out;
  CALYX_CHECK(store.webhooks().secrets_of(account, [&](std::int64_t version, Instant at) -> Result<bool> {
    out.version = version;
    out.created_at = at;
    return false;
  }));
  const std::int64_t until =
      out.version < 2 ? 0 : out.created_at->us + webhook_overlap_s * core::us_per_second;
  if (until > now.us) out.previous_until = Instant{until};
  return out;
}

}  // namespace calyx::services
