#include "delegate.hpp"

#include <sodium.h>

#include <array>

namespace calyx::crypto {
namespace {

static_assert(crypto_sign_SEEDBYTES == 32 && crypto_sign_BYTES == 64);

/// A key pair for as long as one call needs it.
struct Pair {
  explicit Pair(std::span<const std::uint8_t> seed) noexcept {
    if (seed.size() == crypto_sign_SEEDBYTES)
      crypto_sign_seed_keypair(public_key.data(), secret.data(), seed.data());
  }
  ~Pair() { wipe(secret); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  core::PublicKey public_key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
};

}  // namespace

Result<SecretBytes> delegate_seed(std::string_view api_key) {
  constexpr std::string_view context = "calyx/delegate";
  return SecretBytes::filled(crypto_sign_SEEDBYTES, [&](std::span<std::uint8_t> out) {
    return crypto_generichash(out.data(), out.size(), reinterpret_cast<const unsigned char*>(api_key.data()),
                              api_key.size(), reinterpret_cast<const unsigned char*>(context.data()),
                              context.size()) == 0;
  });
}

core::PublicKey public_key_of(std::span<const std::uint8_t> seed) noexcept { return Pair(seed).public_key; }

Result<core::PublicKey> delegate_key(std::string_view api_key) {
  CALYX_TRY(const SecretBytes seed, delegate_seed(api_key));
  return public_key_of(seed.bytes());
}

core::Signature sign_with_seed(std::span<const std::uint8_t> seed, std::string_view message) noexcept {
  const Pair pair(seed);
  core::Signature out{};
  crypto_sign_detached(out.data(), nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                       message.size(), pair.secret.data());
  return out;
}

}  // namespace calyx::crypto
