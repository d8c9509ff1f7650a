#include "services/webhooks.hpp"

#include <calyx/engine.hpp>
#include <charconv>
#include <new>

#include "crypto/hmac.hpp"
#include "crypto/secret.hpp"
#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"

namespace calyx {

using services::Book;
using services::Caller;
using services::Transaction;
using store::MarketStore;

namespace {

/// The key in a secret's text; nothing where it is none.
std::optional<std::string> key_in(std::string_view secret) {
  constexpr std::string_view prefix = "whsec_";
  if (!secret.starts_with(prefix)) return std::nullopt;
  std::optional<std::string> key = core::unbase64(secret.substr(prefix.size()));
  if (key && (key->size() < 24 || key->size() > 64)) return std::nullopt;
  return key;
}

/// `v1,` and the signature, as Standard Webhooks 1.0 has it.
std::string signed_by(std::string_view key, std::string_view id, std::string_view timestamp,
                      std::string_view body) {
  return "v1," + core::base64(crypto::hmac_sha256(key, {id, ".", timestamp, ".", body}).view());
}

struct Attempt {
  WebhookAnswer answer;
  std::string_view error;  ///< Why nothing was sent, or answered.
};

/// Judges, signs and sends. What the host's functions throw is no answer, but for a lack of memory.
Attempt send(const core::CallbackRules& rules, const WebhookTransport& transport,
             const services::WebhookClaim& claim) {
  const core::CallbackReading reading = core::read_callback_url(rules, claim.url);
  if (!reading.fault.empty()) return {{}, reading.fault};  // the host's rules are others than they were
  try {
    std::vector<std::string> addresses{reading.url.host};
    if (!reading.url.is_address) addresses = transport.resolve(reading.url.host);
    if (const std::string_view fault = core::judge_addresses(rules, addresses); !fault.empty())
      return {{}, fault};
    const std::string timestamp = std::to_string(claim.at.us / core::us_per_second);
    std::string signatures;
    for (const std::string& secret : claim.secrets) {
      std::string key = key_in(secret).value_or(std::string());
      if (!signatures.empty()) signatures.push_back(' ');
      signatures += signed_by(key, claim.id, timestamp, claim.body);
      crypto::wipe(key);
    }
    const WebhookAnswer answer = transport.send({.url = claim.url,
                                                 .target = reading.url,
                                                 .address = std::move(addresses.front()),
                                                 .headers = {{"Content-Type", "application/json"},
                                                             {"webhook-id", claim.id},
                                                             {"webhook-timestamp", timestamp},
                                                             {"webhook-signature", std::move(signatures)}},
                                                 .body = claim.body});
    if (answer.status >= 100 && answer.status <= 999) return {answer, {}};
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
  }
  return {{}, "no_answer"};
}

Result<WebhookRound> deliver(Market& market, const core::CallbackRules& rules,
                             const WebhookTransport& transport, std::size_t most) {
  if (!transport.send || !transport.resolve)
    return services::field_error(Reason::field_missing, "/transport", "lacks a function");
  WebhookRound out;
  for (std::size_t i = 0; i < most; ++i) {
    CALYX_TRY(const services::WebhookTaken taken,
              market.write([](Transaction& tx) { return services::take_webhook(tx); }));
    out.next_at = taken.next;
    if (!taken.claim) break;
    const Attempt attempt = send(rules, transport, *taken.claim);
    CALYX_TRY(const std::optional<WebhookStatus> status, market.write([&](Transaction& tx) {
      return services::mark_webhook(tx, *taken.claim, attempt.answer, attempt.error);
    }));
    if (status == WebhookStatus::delivered) ++out.delivered;
    if (status == WebhookStatus::pending) ++out.failed;
    if (status == WebhookStatus::dead) ++out.dead;
  }
  return out;
}

Error calls_nobody() {
  return fail(Reason::unsupported, "nobody is called back: the market's host says who may be");
}

}  // namespace

void Engine::set_webhooks(core::CallbackRules rules, WebhookTransport transport) {
  if (!market_->usable().ok()) return;
  auto swapped =
      std::make_shared<const Market::Webhooks>(Market::Webhooks{std::move(rules), std::move(transport)});
  market_->set_webhooks(swapped);  // who was there goes outside the lock: it is the host's
}

Result<WebhookRound> Engine::deliver_webhooks(const WebhookTransport& transport, std::size_t most) {
  CALYX_CHECK(market_->usable());
  const std::shared_ptr<const Market::Webhooks> webhooks = market_->webhooks();
  if (webhooks == nullptr) return calls_nobody();
  return deliver(*market_, webhooks->rules, transport, most);
}

Result<WebhookRound> Session::deliver_webhooks(std::size_t most) {
  CALYX_CHECK(market_->read([&](const Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  const std::shared_ptr<const Market::Webhooks> webhooks = market_->webhooks();
  if (webhooks == nullptr) return calls_nobody();
  if (!webhooks->transport.send)
    return fail(Reason::unsupported,
                "the host sends webhooks itself: it has set no transport for others to use");
  return deliver(*market_, webhooks->rules, webhooks->transport, most);
}

Result<WebhookSecret> Session::webhook_secret(WalletId wallet) {
  Instant now;
  CALYX_TRY(const core::AccountNumber account, market_->read([&](const Book& book,
                                                                 Instant at) -> Result<core::AccountNumber> {
    now = at;
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    CALYX_TRY(const services::WalletState* state, services::readable(book, caller, wallet));
    return state->number;
  }));
  return market_->history(
      [&](MarketStore& store) { return services::webhook_secret_of(store, account, now); });
}

Result<WebhookSecret> Session::rotate_webhook_secret(WalletId wallet) {
  return market_->write(
      [&](Transaction& tx) { return services::rotate_webhook_secret(tx, principal_, wallet); });
}

Result<std::vector<Webhook>> Session::job_webhooks(JobId id) {
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<std::vector<Webhook>> {
    CALYX_TRY(const engine::FoundJob found, engine::find_job(*market_, store, by, id));
    CALYX_TRY(std::optional<Webhook> webhook, services::webhook_of(store, found.state.number, id));
    std::vector<Webhook> out;
    if (webhook) out.push_back(*std::move(webhook));
    return out;
  });
}

Result<Listed<Webhook>> Session::dead_webhooks(const Page& page) {
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  CALYX_CHECK(services::operator_only(by.caller));
  CALYX_TRY(const std::int64_t after, engine::cursor(page));
  return market_->history([&](MarketStore& store) -> Result<Listed<Webhook>> {
    Listed<Webhook> out;
    CALYX_CHECK(store.webhooks().dead_from(after, [&](const store::WebhookState& state) -> Result<bool> {
      if (out.items.size() == page.limit) {
        out.next = std::to_string(out.items.back().job.number());
        return false;
      }
      CALYX_TRY(const auto known, market_->known_jobs().get(store, state.job));
      CALYX_TRY(std::optional<Webhook> webhook,
                services::webhook_of(store, state.job, services::job_id_of(by.tag, known->row)));
      if (webhook) out.items.push_back(*std::move(webhook));
      return true;
    }));
    return out;
  });
}

Result<Webhook> Session::replay_webhook(JobId id) {
  return market_->write([&](Transaction& tx) { return services::replay_webhook(tx, principal_, id); });
}

WebhookVerdict verify_webhook(std::string_view secret, const WebhookReceived& received, Instant now) {
  std::optional<std::string> key = key_in(secret);
  if (!key) return {false, "secret"};
  std::int64_t at = 0;
  const char* const end = received.timestamp.data() + received.timestamp.size();
  const auto read = std::from_chars(received.timestamp.data(), end, at);
  // No id has a dot: it would move the border between what is signed and what is not.
  if (read.ec != std::errc() || read.ptr != end || at < 0 || received.id.empty() ||
      received.id.find('.') != std::string_view::npos)
    return {false, "malformed"};
  const std::int64_t seconds = now.us / core::us_per_second;
  if (at < seconds - webhook_tolerance_s || at > seconds + webhook_tolerance_s) return {false, "timestamp"};
  const std::string expected = signed_by(*key, received.id, received.timestamp, received.body);
  crypto::wipe(*key);
  bool valid = false;
  std::string_view left = received.signature;
  while (!left.empty()) {
    const std::size_t blank = std::min(left.find(' '), left.size());
    valid |= crypto::equal_in_constant_time(expected, left.substr(0, blank));
    left.remove_prefix(std::min(blank + 1, left.size()));
  }
  return {valid, valid ? std::string_view() : "signature"};
}

}  // namespace calyx
