/// \file
/// A wallet of an EVM chain, straight from libsecp256k1, which signs what tests then check.
#pragma once

#include <calyx/core/evm.hpp>
#include <string>

#if CALYX_HAVE_SECP256K1
#include <doctest/doctest.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>

#include <array>
#include <string_view>
#include <utility>

namespace calyx::crypto::for_tests {

class EvmWallet {
 public:
  /// `secret` has 32 octets, and is not zero and below the group's order.
  explicit EvmWallet(std::string secret)
      : secret_(std::move(secret)), context_(secp256k1_context_create(SECP256K1_CONTEXT_NONE)) {
    REQUIRE(secret_.size() == 32);
    secp256k1_pubkey key;
    REQUIRE(secp256k1_ec_pubkey_create(context_, &key, octets(secret_)) == 1);
    std::array<unsigned char, 65> point{};
    std::size_t size = point.size();
    secp256k1_ec_pubkey_serialize(context_, point.data(), &size, &key, SECP256K1_EC_UNCOMPRESSED);
    address_ = core::evm_address_of(core::chars(point).substr(1));
  }
  EvmWallet(const EvmWallet&) = delete;
  EvmWallet& operator=(const EvmWallet&) = delete;
  ~EvmWallet() { secp256k1_context_destroy(context_); }

  const core::EvmAddress& address() const noexcept { return address_; }

  /// The 65 octets r, s and v, by RFC 6979: the same each time.
  std::string sign(const core::Digest& digest) const {
    secp256k1_ecdsa_recoverable_signature made;
    REQUIRE(secp256k1_ecdsa_sign_recoverable(context_, &made, digest.bytes.data(), octets(secret_), nullptr,
                                             nullptr) == 1);
    std::string out(65, '\0');
    int recovery = 0;
    secp256k1_ecdsa_recoverable_signature_serialize_compact(
        context_, reinterpret_cast<unsigned char*>(out.data()), &recovery, &made);
    out[64] = static_cast<char>(27 + recovery);
    return out;
  }

  /// The same signature as anybody can change it: s taken from the order, and the other v.
  std::string sign_high(const core::Digest& digest) const {
    std::string out = sign(digest);
    std::array<unsigned char, 32> s{};
    for (std::size_t i = 0; i < s.size(); ++i) s[i] = static_cast<unsigned char>(out[32 + i]);
    REQUIRE(secp256k1_ec_seckey_negate(context_, s.data()) == 1);
    out.replace(32, s.size(), core::chars(s));
    out[64] = static_cast<char>(out[64] == 27 ? 28 : 27);
    return out;
  }

 private:
  static const unsigned char* octets(const std::string& bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes.data());
  }
  std::string secret_;
  secp256k1_context* context_;
  core::EvmAddress address_;
};

}  // namespace calyx::crypto::for_tests
#endif
