/// \file
/// Whose key made a signature on an EVM chain.
#pragma once

#include <calyx/core/evm.hpp>
#include <optional>
#include <string_view>

namespace calyx::crypto {

/// Whether this build has libsecp256k1; without it `recover_evm_address` answers `not_built`.
bool secp256k1_built() noexcept;

/// The address whose key made `signature`, the 65 octets of r, s and v, over `digest`.
///
/// v is 27 or 28 and s is in the lower half of the group's order: tokens refuse the rest on chain, so here
/// it would be a payment that is never paid.
///
/// Fails: `not_built`; `unauthorized` for a signature of another form, or one that no key can have made.
/// Threads: any.
Result<core::EvmAddress> recover_evm_address(const core::Digest& digest, std::string_view signature);

/// The same as core's rules take it.
struct EvmSignatures {
  /// A payer that may be a contract, whose signatures only its chain can judge: any octets count as its own,
  /// but those that its address's own key made, in a spelling that tokens refuse.
  std::optional<core::EvmAddress> contract{};

  Result<core::EvmAddress> operator()(const core::Digest& digest, std::string_view signature) const;
};
static_assert(core::EvmRecovery<EvmSignatures>);

}  // namespace calyx::crypto
