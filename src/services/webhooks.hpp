/// \file
/// Webhooks as services: the message that a job's end leaves, who may send it and how that went, and the
/// secrets that sign.
#pragma once

#include <calyx/webhooks.hpp>

#include "services/jobs.hpp"

namespace calyx::services {

/// Keeps the message of `state`, a job that has just ended; it is due at once.
Result<Done> write_webhook(Transaction& tx, const KnownJob& known, const store::JobState& state);
/// What that message says: nothing of results, payloads or paths.
std::string webhook_body(std::uint32_t tag, const KnownJob& known, const store::JobState& state);

/// A message that nobody else sends until the claim ends.
struct WebhookClaim {
  JobNumber job = 0;
  std::int64_t token = 0;
  Instant at;
  std::string id, url, body;
  std::vector<std::string> secrets;  ///< That sign it, the newest first.
};
struct WebhookTaken {
  std::optional<WebhookClaim> claim;
  std::optional<Instant> next;  ///< Without a claim: when there is one.
};
/// Takes the message that is due first. Whoever took it before and has not said how it went is taken for
/// gone, and that attempt counts. Fails: `keys_missing`.
Result<WebhookTaken> take_webhook(Transaction& tx);
/// How the attempt went; its status then. Nothing where the claim has ended meanwhile.
Result<std::optional<WebhookStatus>> mark_webhook(Transaction& tx, const WebhookClaim& claim,
                                                  const WebhookAnswer& answer, std::string_view error);
Result<Webhook> replay_webhook(Transaction& tx, const Principal& principal, JobId id);
/// The message of a job. Fails: `corrupt` where it has no state.
Result<std::optional<Webhook>> webhook_of(store::MarketStore& store, JobNumber number, JobId id);

/// Fails: `field_value` at `callback_url` where `account` has no secret yet.
Result<Done> need_webhook_secret(Transaction& tx, AccountNumber account);
Result<WebhookSecret> rotate_webhook_secret(Transaction& tx, const Principal& principal, WalletId id);
/// Without the secret itself.
Result<WebhookSecret> webhook_secret_of(store::MarketStore& store, AccountNumber account, Instant now);

}  // namespace calyx::services
