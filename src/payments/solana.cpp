#include "payments/solana.hpp"

#include <calyx/core/encoding.hpp>

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

}  // namespace calyx::payments
