#include "hmac.hpp"

#include <sodium.h>

namespace calyx::crypto {

core::Digest hmac_sha256(std::string_view key, std::initializer_list<std::string_view> parts) noexcept {
  const auto octets = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  core::Digest out;
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, octets(key), key.size());
  for (const std::string_view part : parts) crypto_auth_hmacsha256_update(&state, octets(part), part.size());
  crypto_auth_hmacsha256_final(&state, out.bytes.data());
  sodium_memzero(&state, sizeof state);
  return out;
}

}  // namespace calyx::crypto
