#include <algorithm>
#include <calyx/engine.hpp>
#include <calyx/keys.hpp>

#include "crypto/delegate.hpp"
#include "crypto/random.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "engine/market.hpp"
#include "json/reader.hpp"

namespace calyx {
namespace {

Error bad_limit(std::string_view field, std::string message) {
  return fail(Reason::field_value, std::move(message), core::json::object({{"field", field}}));
}

/// The secret of a key that was read, for as long as it is needed.
struct Wiped {
  core::DerivedKey& key;
  ~Wiped() { crypto::wipe(key.secret); }
};

/// The blocks of a derived key whose chain holds. Fails: `unauthorized`.
Result<core::KeyBlocks> blocks_of(const core::DerivedKey& key) {
  if (!core::chain_holds(key, crypto::Ed25519{},
                         [](std::span<const std::uint8_t> seed) { return crypto::public_key_of(seed); }))
    return services::no_such_key();
  core::KeyBlocks out;
  for (const core::DerivedKey::Block& block : key.blocks) {
    const Result<KeyLimits> limits = read_key_limits(block.limits);
    if (!limits.ok()) return services::no_such_key();
    out.push_back({crypto::Sha256{}(core::chars(block.signature)), *limits});
  }
  return out;
}

}  // namespace

Result<KeyLimits> read_key_limits(std::string_view text) {
  CALYX_TRY(const core::json::Value document, read_json(text));
  std::string bad_at;
  auto limits = core::read_limits(document, bad_at);
  if (!limits) return bad_limit(bad_at, "is nothing that a derived key may say");
  return *std::move(limits);
}

Result<std::string> derive_key(std::string_view api_key, const KeyLimits& limits) {
  if (const std::string_view field = core::limits_fault(limits); !field.empty())
    return bad_limit(field, "is nothing that a derived key may say");
  const std::string text = core::json::canonical(core::limits_document(limits));
  if (text.size() > core::key_limits_bytes_max)
    return bad_limit("", "the limits have " + std::to_string(text.size()) + " bytes, at most " +
                             std::to_string(core::key_limits_bytes_max));

  core::DerivedKey key;
  const Wiped wiped{key};
  crypto::SecretBytes signer;
  if (core::is_derived_key(api_key)) {
    auto read = core::read_derived_key(api_key);
    if (!read) return fail(Reason::unauthorized, "begins as a derived key, and is none");
    const Wiped as_read{*read};
    if (read->blocks.size() == core::key_blocks_max)
      return bad_limit("",
                       "the key has " + std::to_string(core::key_blocks_max) + " blocks, and takes no more");
    key = *read;
    CALYX_TRY(signer, crypto::SecretBytes::copy_of(key.secret));
  } else if (api_key.empty() || api_key.substr(0, 7) == "cyx_op_") {
    return fail(Reason::unauthorized, "no key is derived of an operator's, or of none");
  } else {
    CALYX_TRY(signer, crypto::delegate_seed(api_key));
    key.root = crypto::public_key_of(signer.bytes());
  }

  CALYX_TRY(const crypto::SecretBytes next,
            crypto::SecretBytes::random(key.secret.size(), crypto::system_random()));
  const core::PublicKey next_key = crypto::public_key_of(next.bytes());
  const core::Signature* before = key.blocks.empty() ? nullptr : &key.blocks.back().signature;
  const core::Signature signature =
      crypto::sign_with_seed(signer.bytes(), core::block_signing_input(before, next_key, text));
  key.blocks.push_back({text, next_key, signature});
  std::copy(next.bytes().begin(), next.bytes().end(), key.secret.begin());
  std::string out = core::derived_key_text(key);
  if (out.size() > core::derived_key_bytes_max)
    return bad_limit("", "the key would have " + std::to_string(out.size()) + " bytes, at most " +
                             std::to_string(core::derived_key_bytes_max));
  return out;
}

Result<Session> Engine::session_of_derived(std::string_view api_key) {
  auto key = core::read_derived_key(api_key);
  if (!key) return services::no_such_key();
  const Wiped wiped{*key};
  Instant now;
  // The root is looked up first: a stranger's signatures are not worth checking.
  CALYX_TRY(Principal principal,
            market_->read([&](const services::Book& book, Instant at) -> Result<Principal> {
              now = at;
              CALYX_CHECK(market_->can_check_keys());
              const auto found = book.key_by_delegate.find(core::Digest{key->root});
              const services::KeyState* root =
                  found == book.key_by_delegate.end() ? nullptr : book.key(found->second);
              if (root == nullptr || !root->good(now)) return services::no_such_key();
              return services::principal_of(book, *root);
            }));
  CALYX_TRY(core::KeyBlocks blocks, blocks_of(*key));
  if (!core::in_time(blocks, now)) return services::no_such_key();
  principal.blocks = std::make_shared<const core::KeyBlocks>(std::move(blocks));
  return Session(*market_, std::move(principal));
}

}  // namespace calyx
