// Where a host takes payments, as an operator's JSON says, and what is asked for there.
#include <algorithm>
#include <calyx/core/mpp.hpp>
#include <calyx/core/payment_terms.hpp>
#include <calyx/core/receipt.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"
#include "json/reader.hpp"
#include "payments/x402.hpp"

namespace calyx::fuzz {

namespace {

/// The terms that a document gives; what has another type is left out.
PaymentTerms terms_in(const core::json::Value& document) {
  using core::detail::text_at;
  PaymentTerms out;
  out.base_url = text_at(document, "base_url");
  out.realm = text_at(document, "realm");
  const core::json::Value* const networks = document.find("networks");
  if (networks == nullptr || networks->array() == nullptr) return out;
  for (const core::json::Value& one : *networks->array())
    out.networks.push_back({std::string(text_at(one, "network")), std::string(text_at(one, "asset")),
                            std::string(text_at(one, "pay_to")), std::string(text_at(one, "fee_payer"))});
  return out;
}

void kept_network(const PaymentNetwork& one) {
  const core::EvmAsset* const evm = core::find_evm_asset(one.network);
  const core::SolanaAsset* const solana = core::find_solana_asset(one.network);
  demand((evm != nullptr) != (solana != nullptr) && core::caip2_of(one.network) == one.network,
         "a network is kept by CAIP-2");
  demand(one.asset == (evm != nullptr ? evm->contract : solana->mint), "the asset is the one that is known");
  demand(one.pay_to != one.asset, "nobody is paid at the token itself");
  if (evm != nullptr) {
    const auto address = core::read_evm_address(one.pay_to);
    demand(address && core::checksummed_text(*address) == one.pay_to && one.fee_payer.empty() &&
               *address != core::EvmAddress{},
           "an EVM address is kept checksummed");
  } else {
    const auto pay_to = core::solana::read_address(one.pay_to);
    const auto fee_payer = core::solana::read_address(one.fee_payer);
    demand(pay_to && fee_payer && core::solana::text(*pay_to) == one.pay_to &&
               core::solana::text(*fee_payer) == one.fee_payer && *pay_to != core::solana::Address{},
           "addresses of Solana are kept as they are spelled");
  }
}

void asked_for(const PaymentTerms& terms, Money amount) {
  const auto offered = core::requirements_of(
      terms, {.amount = amount, .memo = "qte_memo", .resource = "/pay", .description = "what is paid for"});
  demand(offered.size() == terms.networks.size(), "each network is asked for");
  for (std::size_t i = 0; i < offered.size(); ++i) {
    const core::x402::Requirement& one = offered[i];
    demand(one.network == terms.networks[i].network && one.asset == terms.networks[i].asset &&
               one.pay_to == terms.networks[i].pay_to,
           "what is asked for is what the terms say");
    // The least that covers the amount.
    const unsigned decimals = core::token_decimals(one.network);
    const auto worth = core::worth_of(one.amount, decimals);
    demand(worth && worth->money >= amount, "what is asked for covers the amount");
    if (one.amount != core::Uint256()) {
      core::Uint256 less = one.amount;
      for (std::size_t part = less.parts.size(); part-- > 0;)
        if (less.parts[part]-- != 0) break;
      const auto worth_less = core::worth_of(less, decimals);
      demand(worth_less && worth_less->money < amount, "no more is asked for than covers the amount");
    }
    // Version 2's client gives this entry back; so it must be found by it.
    core::x402::Payment payment;
    payment.version = 2;
    payment.accepted = core::x402::v2_value(one);
    demand(core::x402::find_requirement(payment, offered) == i, "what is accepted is found among the offers");
    const Result<core::json::Value> entry = read_json(core::json::text(core::x402::v2_value(one)));
    demand(entry.ok() && *entry == payment.accepted, "an offer is read as it is spelled");
    const auto charge = core::evm_charge_of(one);
    if (!charge) continue;
    const auto read = core::mpp::read_evm_charge(*charge);
    demand(read.has_value() == (one.amount != core::Uint256()), "a charge is of something");
    if (read)
      demand(read->amount == one.amount && read->takes_authorization &&
                 core::mpp::asset_of(*read) != nullptr &&
                 core::checksummed_text(read->recipient) == one.pay_to,
             "a charge that is asked for is read as the same");
  }
  const std::string header =
      payments::x402_payment_required({.error = {}, .offered = offered, .extensions = {}});
  const auto bytes = core::unbase64(header);
  demand(bytes && read_json(*bytes).ok(), "a 402 holds JSON");
}

}  // namespace

void target::payment_terms(std::string_view input) {
  const Result<core::json::Value> document = read_json(input);
  if (!document.ok()) return;
  const PaymentTerms given = terms_in(*document);
  const Result<PaymentTerms> kept = core::kept_terms(given);
  demand(kept.reason() == core::kept_terms(given).reason(), "terms are judged alike each time");
  if (!kept.ok()) {
    const std::string_view field = core::detail::text_at(kept.error().details, "field");
    demand(kept.reason() == Reason::field_value && field.starts_with('/'),
           "a fault of terms says where it stands");
    return;
  }
  const Result<PaymentTerms> again = core::kept_terms(*kept);
  demand(again.ok() && *again == *kept, "terms that are kept are kept as they are");
  demand(kept->base_url == given.base_url && kept->realm == given.realm, "texts are kept as they are");
  demand(kept->base_url.size() <= core::payment_url_bytes_max &&
             kept->realm.size() <= core::payment_realm_bytes_max,
         "terms keep their limits");
  demand(
      kept->networks.size() == given.networks.size() && (kept->networks.empty() || !kept->base_url.empty()),
      "no network is lost, and clients find the host");
  for (std::size_t i = 0; i < kept->networks.size(); ++i) {
    kept_network(kept->networks[i]);
    demand(
        core::is_test_network(kept->networks[i].network) == core::is_test_network(kept->networks[0].network),
        "tokens that are given away buy nothing beside others");
    for (std::size_t k = 0; k < i; ++k)
      demand(kept->networks[i].network != kept->networks[k].network, "no network stands twice");
  }
  for (const std::int64_t micro :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{99}, std::int64_t{12'345'678'901}})
    asked_for(*kept, Money{micro});
}

}  // namespace calyx::fuzz
