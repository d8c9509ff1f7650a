#include "signer.hpp"

#include <sodium.h>

#include <calyx/core/encoding.hpp>
#include <utility>

#include "sha256.hpp"

namespace calyx::crypto {

static_assert(seed_bytes == crypto_sign_SEEDBYTES);

std::string key_id(const PublicKey& key) {
  // The members that RFC 8037 requires of such a key, sorted: what RFC 7638 hashes.
  const std::string x = core::base64url(core::chars(key));
  return core::base64url(Sha256{}(R"({"crv":"Ed25519","kty":"OKP","x":")", x, R"("})").view());
}

Result<std::unique_ptr<Ed25519Signer>> Ed25519Signer::from_seed(const SecretBytes& seed) {
  if (seed.size() != seed_bytes)
    return fail(Reason::internal, "a seed of " + std::to_string(seed.size()) + " bytes, not 32");
  PublicKey key{};
  CALYX_TRY(SecretBytes secret,
            SecretBytes::filled(crypto_sign_SECRETKEYBYTES, [&](std::span<std::uint8_t> out) {
              return crypto_sign_seed_keypair(key.data(), out.data(), seed.bytes().data()) == 0;
            }));
  return std::unique_ptr<Ed25519Signer>(new Ed25519Signer(key, std::move(secret)));
}

Result<Signature> Ed25519Signer::sign(std::string_view message) const {
  Signature signature{};
  if (crypto_sign_detached(signature.data(), nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                           message.size(), secret_.bytes().data()) != 0)
    return fail(Reason::signer_failed, "the crypto library did not sign");
  return signature;
}

CallbackSigner::CallbackSigner(const PublicKey& key, SignCallback callback,
                               std::chrono::milliseconds deadline)
    : Signer(key), callback_(std::move(callback)), deadline_(deadline) {}

Result<Signature> CallbackSigner::sign(std::string_view message) const {
  using Clock = std::chrono::steady_clock;  // measures a wait; no result depends on what time it is
  Signature signature{};
  const Clock::time_point asked = Clock::now();
  try {
    if (!callback_ || !callback_(kid(), message, signature.data()))
      return fail(Reason::signer_failed, "the signing callback gave no signature");
  } catch (...) {
    return fail(Reason::signer_failed, "the signing callback threw");
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - asked);
  if (took > deadline_)
    return fail(Reason::signer_failed,
                "the signing callback took " + std::to_string(took.count()) + " ms, it has " +
                    std::to_string(deadline_.count()),
                core::json::object({{"took_ms", took.count()}, {"deadline_ms", deadline_.count()}}));
  if (!ed25519_verify(public_key(), message, signature))
    return fail(Reason::signer_failed, "the signing callback's signature is not that of key " + kid(),
                core::json::object({{"kid", kid()}}));
  return signature;
}

DeadlineSigner::DeadlineSigner(std::shared_ptr<const Signer> signer, std::chrono::milliseconds together)
    : Signer(signer->public_key()), signer_(std::move(signer)), together_(together) {}

Result<Done> DeadlineSigner::in_time() const {
  using namespace std::chrono;
  const std::int64_t now_us = duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  std::int64_t first_us = 0;
  if (first_us_.compare_exchange_strong(first_us, now_us)) return Done{};
  const auto took = duration_cast<milliseconds>(microseconds(now_us - first_us));
  if (took <= together_) return Done{};
  return fail(Reason::signer_failed,
              "the signatures took " + std::to_string(took.count()) + " ms together, they have " +
                  std::to_string(together_.count()),
              core::json::object({{"took_ms", took.count()}, {"deadline_ms", together_.count()}}));
}

Result<Signature> DeadlineSigner::sign(std::string_view message) const {
  CALYX_CHECK(in_time());
  CALYX_TRY(const Signature signature, signer_->sign(message));
  CALYX_CHECK(in_time());
  return signature;
}

}  // namespace calyx::crypto
