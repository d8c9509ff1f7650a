/// \file
/// Receipts in the store: signing, the log they are leaves of, proofs.
#pragma once

#include <calyx/core/merkle.hpp>
#include <calyx/receipts.hpp>

#include "crypto/signer.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

/// Room to write receipts in, kept from one to the next.
struct ReceiptScratch {
  std::string payload, jws;
};
/// Writes `receipt`, signs it and computes its leaf; `header` is the base64url of the signer's protected
/// header.
Result<Done> sign_receipt(PendingReceipt& receipt, const crypto::Signer& signer, std::string_view header,
                          ReceiptScratch& scratch);

/// The leaf of a stored receipt: the hash of its JWS. Fails: `corrupt` when its key is unknown.
Result<core::Digest> leaf_of(const Book& book, const store::ReceiptRow& row);

/// The frontier of the log that `store` holds.
Result<core::merkle::Frontier> load_receipt_log(store::MarketStore& store, const Book& book);

/// The hash of a complete subtree, from the tiles that are kept and the leaves below them.
Result<core::Digest> subtree(store::MarketStore& store, const Book& book, unsigned level,
                             std::uint64_t index);

Result<core::merkle::Path> inclusion_path(store::MarketStore& store, const Book& book, std::uint64_t leaf,
                                          std::uint64_t size);
Result<ConsistencyProof> consistency_proof(store::MarketStore& store, const Book& book,
                                           std::uint64_t old_size, std::uint64_t new_size);

/// The note of a head: C2SP tlog-checkpoint, origin and key named after the issuer.
std::string checkpoint_origin(std::string_view issuer);
Result<std::string> sign_checkpoint(const core::merkle::Head& head, std::string_view issuer,
                                    const crypto::Signer& signer);

}  // namespace calyx::services
