#include "payments/solana.hpp"

#include <calyx/core/encoding.hpp>
#include <optional>

#include "crypto/curve.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"

namespace calyx::payments {

core::solana::ExactReading judge_exact_solana(std::string_view transaction,
                                              const core::solana::ExactTerms& terms,
                                              std::span<const core::solana::Address> ours) {
  // What is longer than the longest transaction is not decoded first.
  constexpr std::size_t text_max = (core::solana::transaction_bytes_max + 2) / 3 * 4;
  const auto bytes =
      transaction.size() <= text_max ? core::unbase64(transaction) : std::optional<std::string>();
  if (!bytes) return {core::solana::ExactVerdict::not_a_transaction, {}};
  return core::solana::judge_exact(*bytes, terms, ours, crypto::Sha256{}, crypto::Ed25519Curve{},
                                   crypto::Ed25519{});
}

namespace {

/// The terms of `requirement`, or nothing when they are none of Solana. `extra` keeps what they show.
std::optional<core::solana::ExactTerms> terms_of(const core::x402::Requirement& requirement) {
  const auto member = [&](std::string_view name) -> const std::string* {
    const core::json::Value* const found = requirement.extra.find(name);
    return found == nullptr ? nullptr : found->string();
  };
  const auto mint = core::solana::read_address(requirement.asset);
  const auto pay_to = core::solana::read_address(requirement.pay_to);
  const auto amount = requirement.amount.small();
  const std::string* const fee_payer = member("feePayer");
  const auto payer_of_fee = fee_payer == nullptr ? std::nullopt : core::solana::read_address(*fee_payer);
  if (!mint || !pay_to || !amount || !payer_of_fee) return std::nullopt;
  core::solana::ExactTerms out{
      .mint = *mint, .pay_to = *pay_to, .amount = *amount, .fee_payer = *payer_of_fee};
  if (requirement.extra.find("memo") != nullptr) {
    const std::string* const memo = member("memo");
    if (memo == nullptr || memo->size() > solana_memo_bytes_max) return std::nullopt;
    out.memo = *memo;
  }
  return out;
}

}  // namespace

std::string ExactSolana::wire_code(int version) const {
  if (envelope != core::x402::Verdict::ok) return std::string(core::x402::wire_code(envelope, version));
  return version == 1 ? core::solana::v1_code(reading.verdict) : core::solana::v2_code(reading.verdict);
}

ExactSolana verify_exact_solana(const core::x402::Payment& payment,
                                const core::x402::Requirement& requirement,
                                const core::json::Value& extensions,
                                std::span<const core::solana::Address> ours) {
  using core::x402::Verdict;
  ExactSolana out;
  out.envelope = core::x402::judge_envelope(payment, requirement, extensions);
  if (out.envelope != Verdict::ok) return out;
  if (!requirement.network.starts_with("solana:")) {
    out.envelope = Verdict::network;
  } else if (payment.transfer != core::x402::Transfer::solana) {
    out.envelope = Verdict::transfer_method;
  } else if (const auto terms = terms_of(requirement)) {
    out.reading = judge_exact_solana(payment.transaction, *terms, ours);
  } else {
    out.envelope = Verdict::domain;
  }
  return out;
}

}  // namespace calyx::payments
