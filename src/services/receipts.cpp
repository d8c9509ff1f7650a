#include "services/receipts.hpp"

#include <calyx/core/note.hpp>
#include <calyx/core/receipt.hpp>

#include "crypto/sha256.hpp"
#include "store/receipt_text.hpp"

namespace calyx::services {
namespace {

/// Core's walks ask for subtrees one by one and know no errors: the first is kept, and the rest is nothing.
class Subtrees {
 public:
  Subtrees(store::MarketStore& store, const Book& book) : store_(store), book_(book) {}
  core::Digest operator()(unsigned level, std::uint64_t index) const {
    if (failed_) return {};
    Result<core::Digest> hash = subtree(store_, book_, level, index);
    if (hash.ok()) return *hash;
    failed_ = std::move(hash).error();
    return {};
  }
  const std::optional<Error>& failed() const noexcept { return failed_; }

 private:
  store::MarketStore& store_;
  const Book& book_;
  mutable std::optional<Error> failed_;
};

}  // namespace

Result<Done> sign_receipt(PendingReceipt& receipt, const crypto::Signer& signer, std::string_view header,
                          ReceiptScratch& scratch) {
  auto& [payload, jws] = scratch;
  core::ReceiptFields fields = receipt.fields;
  fields.job_id = receipt.job_id;
  fields.gpu_model = receipt.gpu_model;
  if (receipt.work) fields.work = &*receipt.work;
  payload.clear();
  core::append_receipt_payload(payload, fields);
  jws.clear();
  core::append_signing_input(jws, header, payload);
  CALYX_TRY(receipt.signature, signer.sign(jws));
  core::append_signature(jws, receipt.signature);
  receipt.leaf_hash = core::merkle::leaf_hash(crypto::Sha256{}, jws);
  store::append_packed(receipt.packed, payload);
  return Done{};
}

Result<core::Digest> leaf_of(const Book& book, const store::ReceiptRow& row) {
  const auto place = static_cast<std::size_t>(row.key);
  const auto bytes =
      place < book.signing_keys.size() ? core::unbase64url(book.signing_keys[place]) : std::nullopt;
  const auto key = bytes ? core::octets<32>(*bytes) : std::nullopt;
  const auto signature = core::octets<64>(row.signature);
  if (!key || !signature)
    return fail(Reason::corrupt,
                "receipt " + std::to_string(row.leaf) + " names a key that is not there; run an audit");
  return core::merkle::leaf_hash(
      crypto::Sha256{},
      core::compact_jws(core::receipt_header(crypto::key_id(*key)), row.payload, *signature));
}

Result<core::Digest> subtree(store::MarketStore& store, const Book& book, unsigned level,
                             std::uint64_t index) {
  if (level == 0) {
    CALYX_TRY(const auto row, store.receipt(static_cast<std::int64_t>(index)));
    if (!row) return fail(Reason::corrupt, "receipt " + std::to_string(index) + " is missing; run an audit");
    return leaf_of(book, {row->leaf, row->seq, row->key, row->payload, row->signature});
  }
  if (level % store::tile_levels == 0) {
    CALYX_TRY(const std::optional<core::Digest> tile, store.tile(level, index));
    if (!tile) return fail(Reason::corrupt, "a tile of the receipt log is missing; run an audit");
    return *tile;
  }
  CALYX_TRY(const core::Digest left, subtree(store, book, level - 1, 2 * index));
  CALYX_TRY(const core::Digest right, subtree(store, book, level - 1, 2 * index + 1));
  return core::merkle::node_hash(crypto::Sha256{}, left, right);
}

Result<core::merkle::Frontier> load_receipt_log(store::MarketStore& store, const Book& book) {
  CALYX_TRY(const std::uint64_t size, store.receipt_count());
  const Subtrees subtrees(store, book);
  core::merkle::Frontier log = core::merkle::Frontier::of(size, subtrees);
  if (subtrees.failed()) return *subtrees.failed();
  return log;
}

Result<core::merkle::Path> inclusion_path(store::MarketStore& store, const Book& book, std::uint64_t leaf,
                                          std::uint64_t size) {
  const Subtrees subtrees(store, book);
  auto path = core::merkle::inclusion_path(crypto::Sha256{}, leaf, size, subtrees);
  if (subtrees.failed()) return *subtrees.failed();
  if (!path)
    return fail(Reason::receipt_unknown, "no leaf " + std::to_string(leaf) + " in " + std::to_string(size));
  return *std::move(path);
}

Result<ConsistencyProof> consistency_proof(store::MarketStore& store, const Book& book,
                                           std::uint64_t old_size, std::uint64_t new_size) {
  const Subtrees subtrees(store, book);
  auto path = core::merkle::consistency_path(crypto::Sha256{}, old_size, new_size, subtrees);
  ConsistencyProof proof{.old_size = old_size, .new_size = new_size};
  proof.old_root = core::merkle::tree_root(crypto::Sha256{}, old_size, subtrees);
  proof.new_root = core::merkle::tree_root(crypto::Sha256{}, new_size, subtrees);
  if (subtrees.failed()) return *subtrees.failed();
  if (!path)
    return fail(
        Reason::checkpoint_unknown,
        "the old log has " + std::to_string(old_size) + " leaves, the new one " + std::to_string(new_size),
        core::json::object({{"old_size", old_size}, {"new_size", new_size}}));
  proof.path = *std::move(path);
  return proof;
}

std::string checkpoint_origin(std::string_view issuer) { return std::string(issuer) + "/receipts"; }

Result<std::string> sign_checkpoint(const core::merkle::Head& head, std::string_view issuer,
                                    const crypto::Signer& signer) {
  const std::string origin = checkpoint_origin(issuer);
  const std::string text = core::note::checkpoint_text(origin, head);
  CALYX_TRY(const crypto::Signature signature, signer.sign(text));
  const auto key = core::note::verifier_key(crypto::Sha256{}, origin, signer.public_key());
  return core::note::signed_note(text, core::note::signature_line(origin, key.id, signature));
}

}  // namespace calyx::services
