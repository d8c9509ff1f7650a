/// \file
/// Compute receipts, and the log they are leaves of.
///
/// A receipt is a compact JWS (RFC 7515, EdDSA) over an RFC 8785 payload. Anybody with the market's public
/// keys verifies it without calyx; `core/receipt.hpp` is the same verifier, pure.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/merkle.hpp>
#include <calyx/core/result.hpp>
#include <calyx/version.hpp>
#include <calyx/wallets.hpp>

namespace calyx {

/// A receipt as it was signed, and its fields decoded from those very bytes.
struct Receipt {
  ReceiptId id{};
  std::string jws{};
  core::json::Value payload{};
  std::uint64_t leaf = 0;  ///< Its index in the receipt log.
};

struct ReceiptVerdict {
  bool valid = false;
  /// Empty when valid: else `malformed`, `alg`, `header`, `key`, `signature`, … With `jwks` nothing was
  /// judged: the keys cannot be read, or there is no Ed25519 key among them.
  std::string reason{};
  core::json::Value payload{};  ///< What was signed, when it could be read.
};

/// That leaf `leaf` is in the log of `size` leaves whose root is `root` (RFC 9162 2.1.3).
struct InclusionProof {
  std::uint64_t leaf = 0;
  std::uint64_t size = 0;
  core::Digest leaf_hash{};
  core::Digest root{};
  std::vector<core::Digest> path{};
  std::string checkpoint{};  ///< The signed note (C2SP tlog-checkpoint) that vouches for `root`.
};

/// That the log of `old_size` leaves is a beginning of the log of `new_size` leaves (RFC 9162 2.1.4).
struct ConsistencyProof {
  std::uint64_t old_size = 0, new_size = 0;
  core::Digest old_root, new_root{};
  std::vector<core::Digest> path{};
};

/// What a receipt's job came to when it was computed again.
struct ReceiptAudit {
  ReceiptId receipt{};
  JobId job{};
  core::Digest input_hash{};   ///< Of what its tasks were made from, as receipt and job have it.
  core::Digest output_hash{};  ///< As it was signed.
  core::Digest recomputed{};   ///< Of what came out now.
  std::uint64_t tasks = 0;     ///< Computed again: those that had come to a result.
  /// The first task that came to something else than what is stored of it, which is where to look; absent
  /// also where the stored results are not what was signed.
  std::optional<std::uint64_t> first_difference{};
  std::string error{};  ///< What that task, or the merge, failed with now; empty for another result.

  bool reproduced() const noexcept { return output_hash == recomputed; }
};

/// Judges a receipt, given as its JWS text or as the JSON document that `GET /v1/receipts/{id}` serves,
/// against `jwks`, a JSON Web Key Set. Needs no engine, no file and no network. Threads: any.
CALYX_EXPORT ReceiptVerdict verify_receipt(std::string_view receipt, std::string_view jwks);

/// The hash of a job's output, for `Earn::output_hash`: the SHA-256 of `bytes` as they are. Of a result in
/// JSON the bytes are its canonical ones (`core::json::canonical`), so that every spelling has one hash.
/// Threads: any.
CALYX_EXPORT core::Digest output_hash(std::string_view bytes);

}  // namespace calyx
