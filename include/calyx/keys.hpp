/// \file
/// API keys: what a caller proves itself with. At rest only a keyed hash and the last four characters.
#pragma once

#include <calyx/core/derived_key.hpp>
#include <calyx/core/result.hpp>
#include <calyx/version.hpp>
#include <calyx/wallets.hpp>
#include <string>
#include <string_view>

namespace calyx {

/// How a key was issued, which its first letters say; what it may do follows from whose it is, but that only
/// one of kind `api` makes and revokes keys, its own end apart.
enum class KeyKind : std::uint8_t {
  api,      ///< `cyx_live_`, `cyx_op_`: by whoever manages the wallet.
  session,  ///< `fls_`: to a wallet that signed in; it ends.
  compute,  ///< `x402c_`: by the signature of the wallet's owner, who alone revokes it.
  jobs,     ///< `flk_`: as `api`, under the prefix that clients of the jobs' interface know.
};
constexpr std::string_view word(KeyKind kind) noexcept {
  constexpr std::string_view words[] = {"api", "session", "compute", "jobs"};
  return words[static_cast<std::size_t>(kind)];
}
/// Whether whoever manages a wallet issues, exchanges and revokes keys of this kind.
constexpr bool is_managed(KeyKind kind) noexcept { return kind == KeyKind::api || kind == KeyKind::jobs; }

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

/// A key that may do what `api_key` may, a wallet's or a derived one, within `limits` besides: made offline,
/// by whoever holds it, and known to the engine where it is first used. It reads what the wallet's keys read,
/// takes whole artifacts in, locks escrow, submits jobs, and ends of those what it, or a key derived from it,
/// began, where that holds any money; everything else is `key_limited`. It ends with the key at its root. Its
/// caps count for itself and all that is derived from it. Names (job ids, keys of calls) are the wallet's.
/// A job under `allowed_payees` names its own `allowed_payees`, none of them another's; a job under
/// `allowed_recipes` is one of a recipe. Over `approval_threshold` decides who decides for the wallet's own
/// spends (`Session::approve`), for that very key alone.
///
/// Fails: `field_value`, with the member of `core::limits_document` as `field`, also for a key that has
/// `core::key_blocks_max` blocks or grows beyond `core::derived_key_bytes_max`; `unauthorized` for an
/// operator's key, and for what begins as a derived key and is none; `io_error`, `no_memory`. Threads: any.
CALYX_EXPORT Result<std::string> derive_key(std::string_view api_key, const KeyLimits& limits);

/// The limits that a JSON object says in the members of `core::limits_document`; amounts may be integers.
/// Fails: as JSON; `field_value`, with the JSON pointer of what is wrong as `field`.
CALYX_EXPORT Result<KeyLimits> read_key_limits(std::string_view text);

}  // namespace calyx
