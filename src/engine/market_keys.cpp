// A market's keys: its birth, the signing keys that its log names, and what is shown of them.
#include <unistd.h>

#include <algorithm>
#include <calyx/core/note.hpp>
#include <calyx/core/receipt.hpp>

#include "crypto/sha256.hpp"
#include "engine/market.hpp"
#include "services/receipts.hpp"
#include "store/path.hpp"

namespace calyx {

using core::Digest;
using services::Book;
using services::Transaction;

namespace {

/// The hash that the first event names: that of the market's id.
Digest first_head(std::string_view market) { return crypto::Sha256{}(market); }

crypto::SignCallback sign_of(const void* market, crypto::SignCallback host) {
  return
      [market, host = std::move(host)](std::string_view kid, std::string_view message, std::uint8_t out[64]) {
        const engine::InCallback inside(market);
        return host(kid, message, out);  // what it throws, the signer answers
      };
}

}  // namespace

// A market's birth is three steps, and a crash between any two is mended by the next opening: the id in
// the log, the key file that names the id, the log's word for the key.
Result<Done> Market::create_or_load_keys(Book& book) {
  if (!in_file()) {  // an ephemeral key; drawn first, so that a seeded source gives the same one again
    CALYX_TRY(hash_key_, crypto::SecretBytes::random(crypto::hash_key_bytes, seams_.random));
    CALYX_TRY(crypto::SecretBytes seed, crypto::SecretBytes::random(crypto::seed_bytes, seams_.random));
    ephemeral_seeds_.push_back(std::move(seed));
  }
  const auto append = [&](services::Fields fields) -> Result<Done> {
    CALYX_TRY(store::WriteTransaction transaction, store::WriteTransaction::begin(writer_->connection));
    Transaction tx(book, writer_->store, windows_, seams_);
    CALYX_CHECK(tx.tick());
    CALYX_CHECK(tx.append(std::move(fields)));
    return transaction.commit();
  };
  if (book.seq == 0) {
    if (options_.read_only) return fail(Reason::not_a_market, "the file holds no market yet");
    if (blank_ == store::Blank::refused)
      return fail(
          Reason::file_missing,
          "the market's log is empty, and its key file stands: put the market's file and its -wal back");
    std::array<std::uint8_t, 16> id{};
    if (!seams_.random(id.data(), id.size()))
      return fail(Reason::io_error, "the random source gives nothing");
    std::string market = core::hex(core::chars(id));
    book.head = first_head(market);
    CALYX_CHECK(
        append(services::MarketCreated{std::move(market), options_.issuer, options_.fee_basis_points}));
  }
  if (in_file()) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    if (book.signing_keys.empty() && !options_.read_only && access(file.c_str(), F_OK) != 0)
      CALYX_CHECK(crypto::create_key_file(file, book.market, Instant{seams_.now_us()}, seams_.random));
    Result<crypto::KeyFile> keys = crypto::load_key_file(file, book.market);
    if (keys.ok())
      hash_key_ = std::move(keys->hash_key);
    else if (!options_.read_only)
      return std::move(keys).error();
    else
      keys_error_ = std::move(keys).error();  // a reader signs nothing
  }
  CALYX_CHECK(load_signers(book));
  if (options_.read_only) return Done{};

  std::vector<std::string> missing;
  const auto want = [&](const crypto::PublicKey& key) {
    std::string text = core::base64url(core::chars(key));
    if (std::find(book.signing_keys.begin(), book.signing_keys.end(), text) == book.signing_keys.end())
      missing.push_back(std::move(text));
  };
  if (options_.sign) {
    want(*options_.sign_public_key);
  } else if (in_file()) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    CALYX_TRY(const crypto::KeyFile keys, crypto::load_key_file(file, book.market));
    for (const crypto::SigningSeed& seed : keys.seeds) {
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed.seed));
      want(signer->public_key());
    }
  } else {
    for (const crypto::SecretBytes& seed : ephemeral_seeds_) {
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed));
      want(signer->public_key());
    }
  }
  for (std::string& key : missing) CALYX_CHECK(append(services::SigningKeyAdded{std::move(key)}));
  return missing.empty() ? Result<Done>(Done{}) : load_signers(book);
}

Result<Done> Market::load_signers(const Book& book) {
  // Those that are here already, in case that the key file cannot be read just now.
  std::vector<std::shared_ptr<const crypto::Signer>> known = signers_;
  if (options_.sign) {
    if (known.empty())
      known.push_back(std::make_shared<crypto::CallbackSigner>(*options_.sign_public_key,
                                                               sign_of(this, options_.sign), sign_deadline));
  } else if (in_file() && !options_.read_only) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    const Result<crypto::KeyFile> keys = crypto::load_key_file(file, book.market);
    for (std::size_t i = 0; keys.ok() && i < keys->seeds.size(); ++i) {
      CALYX_TRY(auto signer, crypto::Ed25519Signer::from_seed(keys->seeds[i].seed));
      known.push_back(std::move(signer));
    }
  }
  for (const crypto::SecretBytes& seed : ephemeral_seeds_) {
    if (options_.sign) break;  // the host signs with its own key alone
    CALYX_TRY(auto signer, crypto::Ed25519Signer::from_seed(seed));
    known.push_back(std::move(signer));
  }
  std::vector<std::shared_ptr<const crypto::Signer>> signers(book.signing_keys.size());
  int place = -1;
  std::vector<std::string> headers;
  for (std::size_t i = 0; i < book.signing_keys.size(); ++i) {
    const auto bytes = core::unbase64url(book.signing_keys[i]);
    const auto key = bytes ? core::octets<32>(*bytes) : std::nullopt;
    if (!key)
      return fail(Reason::corrupt,
                  "a signing key in the log is not 32 bytes; keep the file and run an audit");
    headers.push_back(core::base64url(core::receipt_header(crypto::key_id(*key))));
    for (const auto& signer : known)
      if (signer != nullptr && signer->public_key() == *key) signers[i] = signer;
    if (signers[i] != nullptr) place = static_cast<int>(i);
  }
  const std::unique_lock lock(signers_mutex_);
  signers_ = std::move(signers);
  signing_headers_ = std::move(headers);
  signing_place_ = place;
  seams_.can_sign = place >= 0;
  return Done{};
}

Result<std::string> Market::jws(const store::MarketStore::OwnedReceipt& row) const {
  CALYX_CHECK(usable());
  const auto place = static_cast<std::size_t>(row.key);
  std::string header;
  {
    const std::shared_lock lock(signers_mutex_);
    if (place < signing_headers_.size()) header = signing_headers_[place];
  }
  if (header.empty()) {  // a key that another process added, and that this one has signed nothing with yet
    CALYX_TRY(const std::vector<core::TrustedKey> keys, trusted_keys());
    if (place < keys.size()) header = core::base64url(core::receipt_header(keys[place].kid));
  }
  std::string out;
  core::append_signing_input(out, header, row.payload);
  out.push_back('.');
  core::append_base64url(out, row.signature);
  return out;
}

Result<Done> Market::can_check_keys() const {
  if (!keys_error_) return Done{};
  return fail(Reason::keys_missing, "no API key can be checked: " + keys_error_->message);
}

Result<std::vector<core::TrustedKey>> Market::trusted_keys() const {
  CALYX_CHECK(usable());
  std::vector<core::TrustedKey> keys;
  const std::shared_lock lock(committed_mutex_);
  for (const std::string& text : committed_.signing_keys) {
    const auto bytes = core::unbase64url(text);
    const auto key = bytes ? core::octets<32>(*bytes) : std::nullopt;
    if (key) keys.push_back({crypto::key_id(*key), *key});
  }
  return keys;
}

Result<std::string> Market::checkpoint_note(const core::merkle::Head& head) {
  CALYX_CHECK(usable());
  std::shared_ptr<const crypto::Signer> signer;
  {
    const std::shared_lock lock(signers_mutex_);
    if (signing_place_ >= 0) signer = signers_[static_cast<std::size_t>(signing_place_)];
  }
  if (signer == nullptr)
    return fail(Reason::keys_missing,
                "the seed of the market's signing key is not here: open the market for writing");
  CALYX_TRY(const std::string name, issuer());
  return services::sign_checkpoint(head, name, *signer);
}

Result<std::string> Market::rotate_signing_key() {
  CALYX_CHECK(usable());
  if (options_.sign || options_.read_only)
    return fail(Reason::unsupported, "this engine does not hold the signing key");
  return write([&](Transaction& tx) -> Result<std::string> {
    crypto::PublicKey key{};
    if (in_file()) {
      const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
      CALYX_TRY(const crypto::KeyFile keys,
                crypto::add_signing_seed(file, tx.book().market, tx.now(), seams_.random));
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(keys.seeds.back().seed));
      key = signer->public_key();
    } else {
      CALYX_TRY(crypto::SecretBytes seed, crypto::SecretBytes::random(crypto::seed_bytes, seams_.random));
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed));
      key = signer->public_key();
      ephemeral_seeds_.push_back(std::move(seed));
    }
    // Receipts of this very batch are signed with the old key: it is the one that the pool holds.
    CALYX_CHECK(tx.append(services::SigningKeyAdded{core::base64url(core::chars(key))}));
    return crypto::key_id(key);
  });
}

}  // namespace calyx
