/// \file
/// What may be said once: nonces of signatures, until the signature would be too old anyway.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <span>
#include <string_view>

#include "store/database.hpp"

namespace calyx::store {

/// What `migrate` makes for nonces. Nothing of it is of record: rows go when their time has passed.
std::span<const char* const> nonce_schema() noexcept;

class NonceStore {
 public:
  static Result<NonceStore> make(Connection& connection, bool writes);

  /// In a write transaction: takes the nonce of `account`, to be kept until `until`; false when it is taken.
  /// Rows whose time had passed at `now` go, a few at each call, so that there are never many.
  Result<bool> take(std::string_view account, std::string_view nonce, Instant until, Instant now);

 private:
  Statement take_, forget_;
};

}  // namespace calyx::store
