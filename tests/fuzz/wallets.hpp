/// \file
/// Wallets that sign what an input says, so that a target gets past the check of the signature: mutations
/// alone never make a good one. Their secrets are those of nobody.
#pragma once

#include <sodium.h>

#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/evm.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#if CALYX_HAVE_SECP256K1
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#endif

#include "fuzz.hpp"

namespace calyx::fuzz {

/// A wallet of Solana, or the key of an issuer.
class EdWallet {
 public:
  explicit EdWallet(std::string_view seed) {
    demand(sodium_init() >= 0 && seed.size() == crypto_sign_SEEDBYTES, "libsodium starts");
    crypto_sign_seed_keypair(key_.data(), secret_.data(), reinterpret_cast<const std::uint8_t*>(seed.data()));
  }
  const core::PublicKey& key() const noexcept { return key_; }
  core::Signature sign(std::string_view message) const {
    core::Signature out{};
    crypto_sign_detached(out.data(), nullptr, reinterpret_cast<const std::uint8_t*>(message.data()),
                         message.size(), secret_.data());
    return out;
  }

 private:
  core::PublicKey key_{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret_{};
};

/// The same signature as anybody can change it: S with the group's order added, which RFC 8032 forbids and
/// some libraries take.
inline core::Signature with_order_added(core::Signature signature) {
  // 2^252 + 27742317777372353535851937790883648493, the lowest octet first.
  constexpr std::array<std::uint8_t, 32> order = {
      0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
  unsigned carry = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    carry += unsigned{signature[32 + i]} + order[i];
    signature[32 + i] = static_cast<std::uint8_t>(carry);
    carry >>= 8;
  }
  return signature;
}

#if CALYX_HAVE_SECP256K1

inline constexpr bool evm_signs = true;

/// A wallet of EVM chains.
class EvmWallet {
 public:
  EvmWallet() : context_(secp256k1_context_create(SECP256K1_CONTEXT_NONE)) {
    secret_.fill(0x42);
    secp256k1_pubkey key;
    demand(secp256k1_ec_pubkey_create(context_, &key, secret_.data()) == 1, "a wallet has a key");
    std::array<std::uint8_t, 65> point{};
    std::size_t size = point.size();
    secp256k1_ec_pubkey_serialize(context_, point.data(), &size, &key, SECP256K1_EC_UNCOMPRESSED);
    address_ = core::evm_address_of(core::chars(point).substr(1));
  }
  EvmWallet(const EvmWallet&) = delete;
  EvmWallet& operator=(const EvmWallet&) = delete;
  ~EvmWallet() { secp256k1_context_destroy(context_); }

  const core::EvmAddress& address() const noexcept { return address_; }

  /// The 65 octets r, s and v.
  std::string sign(const core::Digest& digest) const {
    secp256k1_ecdsa_recoverable_signature made;
    demand(secp256k1_ecdsa_sign_recoverable(context_, &made, digest.bytes.data(), secret_.data(), nullptr,
                                            nullptr) == 1,
           "a wallet signs");
    std::array<std::uint8_t, 65> out{};
    int recovery = 0;
    secp256k1_ecdsa_recoverable_signature_serialize_compact(context_, out.data(), &recovery, &made);
    out[64] = static_cast<std::uint8_t>(27 + recovery);
    return std::string(core::chars(out));
  }

  /// The same signature as anybody can change it: the order less s, and the other v. Tokens refuse it.
  std::string with_high_s(std::string signature) const {
    std::array<std::uint8_t, 32> s{};
    for (std::size_t i = 0; i < s.size(); ++i) s[i] = static_cast<std::uint8_t>(signature[32 + i]);
    demand(secp256k1_ec_seckey_negate(context_, s.data()) == 1, "s is below the order");
    signature.replace(32, s.size(), core::chars(s));
    signature[64] = static_cast<char>(signature[64] == 27 ? 28 : 27);
    return signature;
  }

 private:
  secp256k1_context* context_;
  std::array<std::uint8_t, 32> secret_{};
  core::EvmAddress address_;
};

#else

inline constexpr bool evm_signs = false;

/// This build checks no signature of an EVM chain, so nothing is signed for one.
struct EvmWallet {
  core::EvmAddress address() const { return {}; }
  std::string sign(const core::Digest&) const { return {}; }
  std::string with_high_s(std::string signature) const { return signature; }
};

#endif

inline const EvmWallet& evm_wallet() {
  static const EvmWallet wallet;
  return wallet;
}

/// Whether a token would take the octets' form on chain: 65 of them, s in the lower half, v 27 or 28.
inline bool evm_form_is_good(std::string_view signature) {
  constexpr std::string_view half(
      "\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
      "\x5d\x57\x6e\x73\x57\xa4\x50\x1d\xdf\xe9\x2f\x46\x68\x1b\x20\xa0",
      32);
  return signature.size() == 65 && signature.substr(32, 32) <= half &&
         (signature[64] == 27 || signature[64] == 28);
}

/// What comes from a good signature by one change, each of which must be refused.
inline std::vector<std::string> spoilt_evm_signatures(const EvmWallet& wallet, const std::string& good) {
  std::vector<std::string> out = {wallet.with_high_s(good), good, good, good, good.substr(0, 64)};
  out[1][64] = static_cast<char>(good[64] - 27);             // v as Ethereum's own library writes it
  out[2][64] = static_cast<char>(good[64] == 27 ? 28 : 27);  // the other key
  out[3][5] = static_cast<char>(good[5] ^ 1);
  return out;
}

}  // namespace calyx::fuzz
