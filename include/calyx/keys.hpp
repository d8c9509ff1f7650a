/// \file
/// API keys: what a caller proves itself with. At rest only a keyed hash and the last four characters.
#pragma once

#include <calyx/wallets.hpp>

namespace calyx {

/// An API key without its secret.
struct ApiKey {
  KeyId id{};
  std::optional<WalletId> wallet{};  ///< Absent for an operator's key.
  std::string label{};
  std::string last4{};
  Instant created_at{};
  std::optional<Instant> revoked_at{};
};

struct KeyIssued {
  ApiKey key{};
  std::string api_key{};  ///< Shown this once; empty when `replayed`.
  bool replayed = false;
};

}  // namespace calyx
