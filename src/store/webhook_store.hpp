/// \file
/// The messages of jobs' ends that wait in a market file to be sent, and which wallets have a secret.
///
/// A message is never changed; how far it is stands beside it. Of a secret only its version is kept.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// What `migrate` makes for webhooks, and which of the tables take no change.
std::span<const char* const> webhook_schema() noexcept;
std::span<const char* const> webhook_tables_of_record() noexcept;

struct WebhookRow {
  std::int64_t job = 0;
  Instant at;
  std::string body;  ///< JSON, as it is signed and sent.
};

struct WebhookState {
  std::int64_t job = 0;
  std::int64_t status = 0;  ///< `WebhookStatus`.
  std::int64_t attempts = 0;
  std::int64_t claims = 0;    ///< How often it was taken to be sent: the last taker's token.
  Instant due;                ///< When it may be taken, again or at all.
  Instant last;               ///< When it was last taken; 0 us: never.
  std::int64_t answered = 0;  ///< The last attempt's HTTP status; 0: none.
  std::string error;
};

class WebhookStore {
 public:
  static Result<WebhookStore> make(Connection& connection, bool writes);

  // ── in a write transaction ──
  Result<Done> add(const WebhookRow& row);
  /// Makes or replaces the state of a message.
  Result<Done> put(const WebhookState& state);
  Result<Done> add_secret(std::int64_t account, std::int64_t version, Instant at);

  Result<std::optional<WebhookRow>> message(std::int64_t job);
  Result<std::optional<WebhookState>> state(std::int64_t job);
  /// The pending one that is due first.
  Result<std::optional<WebhookState>> first_due();
  /// The dead ones of jobs behind `after`, by job; the callback gives false to stop.
  using Each = std::function<Result<bool>(const WebhookState&)>;
  Result<Done> dead_from(std::int64_t after, const Each& each);
  /// Of `account`, the newest first; the callback gives false to stop.
  using EachSecret = std::function<Result<bool>(std::int64_t version, Instant at)>;
  Result<Done> secrets_of(std::int64_t account, const EachSecret& each);

  // ── for an audit ──
  struct Count {
    std::int64_t messages = 0;
    std::int64_t states = 0;  ///< Of these,
    std::int64_t all_states = 0;
  };
  Result<Count> count();
  /// As `JobStore::index_fault`.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_, put_, add_secret_, message_, state_, first_due_, dead_from_, secrets_of_, count_;
  Listings listings_;
};

}  // namespace calyx::store
