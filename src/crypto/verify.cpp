#include "verify.hpp"

#include <sodium.h>

#include "random.hpp"

namespace calyx::crypto {

bool ed25519_verify(const PublicKey& key, std::string_view message, const Signature& signature) noexcept {
  return crypto_ready() &&
         crypto_sign_verify_detached(signature.data(), reinterpret_cast<const unsigned char*>(message.data()),
                                     message.size(), key.data()) == 0;
}

bool ed25519_verify(std::string_view key, std::string_view message, std::string_view signature) noexcept {
  const auto key_octets = core::octets<std::tuple_size_v<PublicKey>>(key);
  const auto signature_octets = core::octets<std::tuple_size_v<Signature>>(signature);
  return key_octets && signature_octets && ed25519_verify(*key_octets, message, *signature_octets);
}

}  // namespace calyx::crypto
