/// \file
/// MPP with this library's own JSON reader and cryptography: `core/mpp.hpp` says what each of these means.
///
/// Start at `issue` and `read_authorization`. Nothing here knows a ledger, a clock or a route.
///
/// Threads: any.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/core/mpp.hpp>
#include <calyx/core/result.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/secp256k1.hpp"

namespace calyx::payments::mpp {

/// The deepest JSON that a credential or a request may be.
inline constexpr std::size_t depth_max = 8;

/// The challenge with the id that the first secret gives it. Fails as `core::mpp::issue`.
Result<core::mpp::Challenge> issue(core::mpp::Secrets secrets, core::mpp::Challenge challenge);

/// The credential of a header's value: of `Authorization` or `Payment-Authorization`.
core::mpp::CredentialReading read_authorization(std::string_view value);

/// Judges what a credential echoes, as `core::mpp::judge_challenge`.
core::mpp::Verdict judge_challenge(core::mpp::Secrets secrets, const core::mpp::Challenge& echoed,
                                   const core::mpp::Challenge& asked, std::string_view received_in,
                                   Instant now);

/// The request or the `opaque` map of a challenge, or nothing when the text is not base64url of a JSON
/// object.
std::optional<core::json::Value> read_json_text(std::string_view text);

/// Judges an `evm` charge's authorization. The challenge was found good, so its request is what was asked. A
/// request that is no such charge is `method_unsupported`.
core::mpp::EvmVerdict judge_evm(const core::mpp::Credential& credential, Instant now,
                                const crypto::EvmSignatures& signatures = {});

/// Judges a `solana` charge's transaction. The challenge was found good, so its request is what was asked.
/// A request that is no such charge is `method_unsupported`.
core::mpp::SolanaVerdict judge_solana(const core::mpp::Credential& credential,
                                      std::span<const core::solana::Address> ours);

/// The digest of a body, as a challenge binds it.
std::string body_digest(std::string_view body);

}  // namespace calyx::payments::mpp
