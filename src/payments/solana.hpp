/// \file
/// Payments by x402's scheme `exact` on Solana, judged with this library's own cryptography.
#pragma once

#include <calyx/core/solana.hpp>
#include <calyx/core/x402.hpp>
#include <span>
#include <string>
#include <string_view>

namespace calyx::payments {

/// Judges `payload.transaction`, which is base 64 as it stands in an x402 payload: what
/// `core::solana::judge_exact` says of its bytes. Text that is no base 64 is `not_a_transaction`. Threads:
/// any.
core::solana::ExactReading judge_exact_solana(std::string_view transaction,
                                              const core::solana::ExactTerms& terms,
                                              std::span<const core::solana::Address> ours);

/// The longest memo that a requirement may ask for. Units: bytes.
inline constexpr std::size_t solana_memo_bytes_max = 256;

struct ExactSolana {
  /// What is wrong around the transaction, which is then not looked at: `domain` when the requirement has no
  /// mint, recipient, fee payer of Solana, amount of 64 bits or fitting memo.
  core::x402::Verdict envelope = core::x402::Verdict::ok;
  core::solana::ExactReading reading;

  bool good() const noexcept {
    return envelope == core::x402::Verdict::ok && reading.verdict == core::solana::ExactVerdict::ok;
  }
  /// The code on the wire of `version`, 1 or 2; empty when it is good.
  std::string wire_code(int version) const;
};
/// What the rules say of `payment` as one for `requirement`, offered with `extensions`: as
/// `core::x402::verify_exact_evm` up to the transfer, then as `judge_exact_solana`. Threads: any.
ExactSolana verify_exact_solana(const core::x402::Payment& payment,
                                const core::x402::Requirement& requirement,
                                const core::json::Value& extensions,
                                std::span<const core::solana::Address> ours);

}  // namespace calyx::payments
