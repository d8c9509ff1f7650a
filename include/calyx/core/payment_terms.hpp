/// \file
/// Where a host takes payments, and what its quotes ask for there, in the words of each protocol.
///
/// Start at `kept_terms`, then `requirements_of`.
///
/// Source: x402 versions 1 and 2; MPP's method `evm`, intent `charge`.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <calyx/core/evm.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/payment_network.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/core/uint256.hpp>
#include <calyx/core/x402.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx {

namespace core {

inline constexpr std::size_t payment_url_bytes_max = 256;
inline constexpr std::size_t payment_realm_bytes_max = 128;

/// The dollar token that calyx knows on a chain of Solana. As of `evm_assets`, an entry stays as it is: logs
/// name it.
struct SolanaAsset {
  std::string_view network;  ///< x402's name.
  std::string_view caip2;
  std::string_view mint;
  unsigned decimals;
};
inline constexpr SolanaAsset solana_assets[] = {
    {"solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6},
    {"solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
     "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", 6},
};
constexpr const SolanaAsset* find_solana_asset(std::string_view network) noexcept {
  for (const SolanaAsset& asset : solana_assets)
    if (asset.network == network || asset.caip2 == network) return &asset;
  return nullptr;
}

/// The network as terms keep it, by either of its names; empty for one that calyx does not know.
constexpr std::string_view caip2_of(std::string_view network) noexcept {
  if (const EvmAsset* const evm = find_evm_asset(network)) return evm->caip2;
  const SolanaAsset* const solana = find_solana_asset(network);
  return solana == nullptr ? std::string_view() : solana->caip2;
}

/// Whether tokens of a kept network are given away.
constexpr bool is_test_network(std::string_view network) noexcept {
  return network == "eip155:84532" || network == solana_assets[1].caip2;
}

namespace detail {

/// `text` as the one spelling of an EVM address, or nothing.
inline std::optional<std::string> evm_spelling(std::string_view text) {
  const auto address = read_evm_address(text);
  return address ? std::optional(checksummed_text(*address)) : std::nullopt;
}
inline bool is_header_text(std::string_view text, std::size_t most) noexcept {
  return text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '|';
         });
}
inline Error terms_fault(std::string field, std::string_view says) {
  return fail(Reason::field_value, std::string(says), json::object({{"field", std::move(field)}}));
}

/// `one` as it is kept; `place` is its JSON pointer.
inline Result<PaymentNetwork> kept_network(const PaymentNetwork& one, const std::string& place) {
  PaymentNetwork out = one;
  if (const EvmAsset* const asset = find_evm_asset(one.network)) {
    out.network = std::string(asset->caip2);
    const auto contract = one.asset.empty() ? std::string(asset->contract) : evm_spelling(one.asset);
    if (contract != asset->contract)
      return terms_fault(place + "/asset", "is not the dollar token that calyx knows on this network");
    out.asset = *contract;
    const auto pay_to = evm_spelling(one.pay_to);
    if (!pay_to) return terms_fault(place + "/pay_to", "is no address, or its letters are not EIP-55's");
    out.pay_to = *pay_to;
    if (out.pay_to == out.asset || read_evm_address(*pay_to) == EvmAddress{})
      return terms_fault(place + "/pay_to", "is an address from which nobody pays out");
    if (!one.fee_payer.empty()) return terms_fault(place + "/fee_payer", "is of Solana's networks alone");
    return out;
  }
  const SolanaAsset* const asset = find_solana_asset(one.network);
  if (asset == nullptr) return terms_fault(place + "/network", "is no network that calyx knows");
  out.network = std::string(asset->caip2);
  if (!one.asset.empty() && one.asset != asset->mint)
    return terms_fault(place + "/asset", "is not the dollar token that calyx knows on this network");
  out.asset = std::string(asset->mint);
  const auto pay_to = solana::read_address(one.pay_to);
  const auto fee_payer = solana::read_address(one.fee_payer);
  if (!pay_to) return terms_fault(place + "/pay_to", "is no address");
  if (one.pay_to == out.asset || *pay_to == solana::Address{})
    return terms_fault(place + "/pay_to", "is an address from which nobody pays out");
  if (!fee_payer || *fee_payer == solana::Address{})
    return terms_fault(place + "/fee_payer", "is no address that pays");
  return out;
}

}  // namespace detail

/// `given` as it is kept: networks by CAIP-2, assets named, addresses in one spelling. Fails: `field_value`,
/// with the JSON pointer of what is at fault.
inline Result<PaymentTerms> kept_terms(const PaymentTerms& given) {
  PaymentTerms out = given;
  const bool web = given.base_url.starts_with("https://") || given.base_url.starts_with("http://");
  if (given.base_url.empty() ? !given.networks.empty()
                             : !web || given.base_url.ends_with('/') ||
                                   given.base_url.find_first_of("?#") != std::string::npos ||
                                   !detail::is_header_text(given.base_url, payment_url_bytes_max))
    return detail::terms_fault("/base_url", "is no http(s) URL of 256 bytes at most without a last slash");
  if (!detail::is_header_text(given.realm, payment_realm_bytes_max))
    return detail::terms_fault("/realm", "is not 128 bytes at most of 0x21-0x7E but for \" \\ |");
  for (std::size_t i = 0; i < out.networks.size(); ++i) {
    const std::string place = "/networks/" + std::to_string(i);
    CALYX_TRY(out.networks[i], detail::kept_network(given.networks[i], place));
    for (std::size_t j = 0; j < i; ++j)
      if (out.networks[j].network == out.networks[i].network)
        return detail::terms_fault(place + "/network", "is there already");
    // Else tokens that anybody is given for nothing would buy what others pay for.
    if (is_test_network(out.networks[i].network) != is_test_network(out.networks[0].network))
      return detail::terms_fault(place + "/network", "is of a chain for tests beside one that is none");
  }
  return out;
}

/// Decimals of a kept network's token.
constexpr unsigned token_decimals(std::string_view network) noexcept {
  if (const EvmAsset* const asset = find_evm_asset(network)) return asset->decimals;
  const SolanaAsset* const asset = find_solana_asset(network);
  return asset == nullptr ? money_decimals_of_usd : asset->decimals;
}

/// The least amount of a token that is worth `money` or more. Units: atomic units.
inline Uint256 amount_covering(Money money, unsigned decimals) {
  std::int64_t atom = 1;  // micro-FLOPS
  for (unsigned i = decimals; i < money_decimals_of_usd; ++i) atom *= 10;
  const std::int64_t over = money.micro % atom;
  return amount_worth(Money{over == 0 ? money.micro : money.micro + atom - over}, decimals)
      .value_or(Uint256());
}

/// What stands around the amount in what is asked for.
struct PaymentAsked {
  Money amount{};
  std::string_view memo;  ///< What binds a transaction of Solana: the quote's id. Empty: the client's own.
  std::string_view resource;
  std::string_view description;
};

/// One requirement a network of `terms`, which are kept ones, in their order.
inline std::vector<x402::Requirement> requirements_of(const PaymentTerms& terms, const PaymentAsked& asked) {
  std::vector<x402::Requirement> out;
  for (const PaymentNetwork& one : terms.networks) {
    const Uint256 amount = amount_covering(asked.amount, token_decimals(one.network));
    x402::Requirement requirement;
    if (const EvmAsset* const asset = find_evm_asset(one.network)) {
      requirement =
          x402::exact_evm_requirement(*asset, amount, read_evm_address(one.pay_to).value_or(EvmAddress{}));
    } else {
      requirement.network = one.network;
      requirement.amount = amount;
      requirement.asset = one.asset;
      requirement.pay_to = one.pay_to;
      json::Object extra;
      extra.set("feePayer", one.fee_payer);
      if (!asked.memo.empty()) extra.set("memo", std::string(asked.memo));
      requirement.extra = std::move(extra);
    }
    requirement.resource = terms.base_url + std::string(asked.resource);
    requirement.description = std::string(asked.description);
    out.push_back(std::move(requirement));
  }
  return out;
}

/// The request of an MPP charge for `requirement`, or nothing where its token takes no authorizations
/// (EIP-3009).
inline std::optional<json::Value> evm_charge_of(const x402::Requirement& requirement) {
  const EvmAsset* const asset = find_evm_asset(requirement.network);
  if (asset == nullptr || !asset->eip3009) return std::nullopt;
  json::Array types;
  types.push_back("authorization");
  json::Object details;
  details.set("chainId", static_cast<std::int64_t>(asset->chain_id))
      .set("credentialTypes", std::move(types))
      .set("decimals", static_cast<std::int64_t>(asset->decimals));
  json::Object out;
  out.set("amount", text(requirement.amount))
      .set("currency", requirement.asset)
      .set("methodDetails", std::move(details))
      .set("recipient", requirement.pay_to);
  return json::Value(std::move(out));
}

}  // namespace core
}  // namespace calyx
