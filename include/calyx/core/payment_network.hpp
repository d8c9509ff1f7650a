/// \file
/// Where a host takes payments, as it says so itself; `core/payment_terms.hpp` has the rules.
///
/// Threads: values.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace calyx {

/// A dollar token on one chain, and the address there that is paid.
struct PaymentNetwork {
  std::string network{};    ///< `base`, `base-sepolia`, `megaeth`, `solana`, `solana-devnet`; kept by CAIP-2.
  std::string asset{};      ///< The token's address; empty: the one that calyx knows there.
  std::string pay_to{};     ///< An EVM address passes EIP-55; of Solana the wallet, in base 58.
  std::string fee_payer{};  ///< Solana alone: the address that pays the chain's fee.

  bool operator==(const PaymentNetwork&) const = default;
};

struct PaymentTerms {
  std::string base_url{};  ///< Where clients find this host: `https://calyx.example`, without a last slash.
  std::string realm{};     ///< Of MPP's challenges; empty: MPP is not offered.
  std::vector<PaymentNetwork> networks{};  ///< The one that is liked best first; empty: none is taken.

  bool operator==(const PaymentTerms&) const = default;
};

/// What is left out stays as it is.
struct PaymentTermsChange {
  std::optional<std::string> base_url{}, realm{};
  std::optional<std::vector<PaymentNetwork>> networks{};
};

}  // namespace calyx
