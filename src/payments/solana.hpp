/// \file
/// Payments by x402's scheme `exact` on Solana, judged with this library's own cryptography.
#pragma once

#include <calyx/core/solana.hpp>
#include <span>
#include <string_view>

namespace calyx::payments {

/// Judges `payload.transaction`, which is base 64 as it stands in an x402 payload: what
/// `core::solana::judge_exact` says of its bytes. Text that is no base 64 is `not_a_transaction`. Threads:
/// any.
core::solana::ExactReading judge_exact_solana(std::string_view transaction,
                                              const core::solana::ExactTerms& terms,
                                              std::span<const core::solana::Address> ours);

}  // namespace calyx::payments
