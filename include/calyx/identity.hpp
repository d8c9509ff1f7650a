/// \file
/// Who is asking, where nobody was given a key: wallets of other chains, by their signatures.
///
/// Three ways lead to a session. A request that bears its own signature (`Engine::session`), once; a wallet
/// that signs in (`Engine::sign_in_challenge`, `Engine::sign_in`) for a key that ends; and a key that the
/// owner signed for (`Session::issue_compute_key`), for an agent.
///
/// The first signature of an address opens a human's wallet, whose `owner_id` is the account by CAIP-10, as
/// `eip155:8453:0x…` in lower case or `solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:…`. It runs jobs and signs in
/// once an operator has it on the whitelist (`Session::whitelist`); a wallet that an operator opens under
/// such a name is the address's, and on it from the start.
///
/// Sources: the published clients of x402 compute for requests, EIP-191 and EIP-4361 and Sign-In With Solana
/// for signing in.
#pragma once

#include <calyx/core/request_signature.hpp>
#include <calyx/keys.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace calyx {

/// The chain by whose rules an address signs: `base` (as on all EVM chains) or `solana`.
using AddressChain = core::request_signature::Chain;

/// How long a challenge may be answered, and how long the session lasts that it opens.
inline constexpr std::int64_t sign_in_lasts_s = 300;
inline constexpr std::int64_t session_lasts_s = 86'400;

/// A request as it came, with what its `X-Auth-` headers say. What it points to outlives the call alone.
struct SignedRequest {
  std::string_view method{};  ///< In upper case.
  std::string_view target{};  ///< Path and query as they were sent.
  std::string_view body{};
  core::request_signature::Headers headers{};
};

/// What a wallet signs to sign in: `message` to the byte, by EIP-191 on base, as it is on solana.
struct SignInChallenge {
  std::string id{};
  std::string message{};
  Instant expires_at{};
};

}  // namespace calyx
