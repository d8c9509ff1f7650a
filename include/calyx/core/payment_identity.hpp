/// \file
/// What makes a payment the same one, in one spelling, whichever protocol, version or header brought it: what
/// is kept under UNIQUE.
///
/// Start at `identity_of`, once a payment was judged and is good or needs its backend.
///
/// Threads: values.
#pragma once

#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/mpp.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/core/time.hpp>
#include <calyx/core/uint256.hpp>
#include <calyx/core/x402.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace calyx::core {

struct PaymentIdentity {
  std::string network;   ///< By CAIP-2.
  std::string asset;     ///< EVM: the contract in lower case. Solana: the mint in base 58.
  std::string payer;     ///< EVM: in lower case. Solana: in base 58.
  std::string pay_to;    ///< The same.
  std::string nonce;     ///< Used once by this payer for this asset.
  std::string amount;    ///< In atomic units, decimal.
  Instant valid_before;  ///< At most `instant_max`; of Solana, where the chain's own time counts, that.

  bool operator==(const PaymentIdentity&) const = default;
};

namespace detail {

/// Seconds since 1970 as an instant: what lies beyond the last one that calyx writes is that one.
inline Instant instant_of_seconds(const Uint256& seconds) noexcept {
  const auto small = seconds.small();
  const auto last = static_cast<std::uint64_t>(instant_max.us / us_per_second);
  return small && *small <= last ? Instant{static_cast<std::int64_t>(*small) * us_per_second} : instant_max;
}
inline PaymentIdentity evm_identity(std::string network, const EvmAddress& asset,
                                    const TransferAuthorization& transfer, const char* kind) {
  return {std::move(network),
          lower_text(asset),
          lower_text(transfer.from),
          lower_text(transfer.to),
          kind + hex(chars(transfer.nonce)),
          text(transfer.value),
          instant_of_seconds(transfer.valid_before)};
}

}  // namespace detail

/// Of a payment that `x402::verify_exact_evm` judged as one for `requirement`. The contracts of EIP-3009 and
/// of Permit2 count nonces apart, so theirs are spelled apart.
inline PaymentIdentity identity_of(const x402::Payment& payment, const x402::Requirement& requirement) {
  const TransferAuthorization transfer{payment.payer,       payment.pay_to,       payment.value,
                                       payment.valid_after, payment.valid_before, payment.nonce};
  return detail::evm_identity(requirement.network, read_evm_address(requirement.asset).value_or(EvmAddress{}),
                              transfer, payment.transfer == x402::Transfer::permit2 ? "permit2:0x" : "0x");
}

/// Of an authorization that `mpp::judge_evm_authorization` judged as one for `charge`.
inline PaymentIdentity identity_of(const mpp::EvmAuthorization& given, const mpp::EvmCharge& charge) {
  return detail::evm_identity("eip155:" + std::to_string(charge.chain_id), charge.currency, given.transfer,
                              "0x");
}

/// Of a transaction that `solana::judge_exact` judged by `terms`, on the chain `network`, by CAIP-2.
inline PaymentIdentity identity_of(const solana::ExactPayment& payment, const solana::ExactTerms& terms,
                                   std::string network) {
  return {std::move(network),
          solana::text(terms.mint),
          solana::text(payment.payer),
          solana::text(terms.pay_to),
          hex(payment.message_hash),
          std::to_string(payment.amount),
          instant_max};
}

}  // namespace calyx::core
