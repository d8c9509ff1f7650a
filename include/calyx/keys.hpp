/// \file
/// API keys: what a caller proves itself with. At rest only a keyed hash and the last four characters.
#pragma once

#include <calyx/wallets.hpp>

namespace calyx {

/// How a key was issued, which its first letters say; what it may do follows from whose it is, but that only
/// one of kind `api` makes and revokes keys, its own end apart.
enum class KeyKind : std::uint8_t {
  api,      ///< `cyx_live_`, `cyx_op_`: by whoever manages the wallet.
  session,  ///< `fls_`: to a wallet that signed in; it ends.
  compute,  ///< `x402c_`: by the signature of the wallet's owner, who alone revokes it.
};
constexpr std::string_view word(KeyKind kind) noexcept {
  constexpr std::string_view words[] = {"api", "session", "compute"};
  return words[static_cast<std::size_t>(kind)];
}

/// An API key without its secret.
struct ApiKey {
  KeyId id{};
  std::optional<WalletId> wallet{};  ///< Absent for an operator's key.
  std::string label{};
  std::string last4{};
  Instant created_at{};
  std::optional<Instant> revoked_at{};
  KeyKind kind = KeyKind::api;
  std::optional<Instant> expires_at{};  ///< From then on it is as good as revoked. Absent: never.
};

struct KeyIssued {
  ApiKey key{};
  std::string api_key{};  ///< Shown this once; empty when `replayed`.
  bool replayed = false;
};

}  // namespace calyx
