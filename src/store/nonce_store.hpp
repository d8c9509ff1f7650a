/// \file
/// What may be said once: nonces of signatures, until the signature would be too old anyway.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// What `migrate` makes for nonces. Nothing of it is of record: rows go when their time has passed.
std::span<const char* const> nonce_schema() noexcept;

class NonceStore {
 public:
  static Result<NonceStore> make(Connection& connection, bool writes);

  /// Whether the nonce of `account` came before, or may have: with one that was to be kept until `until` it
  /// may be forgotten already, also where the clock has gone back since.
  Result<bool> spent(std::string_view account, std::string_view nonce, Instant until);
  /// Where `most` nonces of `account` are kept whose time has not passed at `now`: when that of one of them
  /// passes. Nothing where there are fewer.
  Result<std::optional<Instant>> full_until(std::string_view account, Instant now, std::size_t most);
  /// In a write transaction: keeps a nonce that is not spent until `until`. Rows whose time had passed at
  /// `now` go, a few at each call, so that they do not pile up.
  Result<Done> keep(std::string_view account, std::string_view nonce, Instant until, Instant now);

  // ── for an audit ──
  /// As `JobStore::index_fault`.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement spent_, kept_, keep_, forget_, forgotten_;
  Listings listings_;
};

}  // namespace calyx::store
