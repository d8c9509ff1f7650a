#include "secp256k1.hpp"

#if CALYX_HAVE_SECP256K1
#include <secp256k1.h>
#include <secp256k1_recovery.h>

#include <array>
#include <cstring>
#endif

namespace calyx::crypto {

#if CALYX_HAVE_SECP256K1

namespace {

/// Half of the group's order, rounded down (SEC 2, section 2.4.1): the most that s may be.
constexpr std::array<unsigned char, 32> s_max = {
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};

Error refused(const char* why) { return fail(Reason::unauthorized, why); }

/// The address of the key that made r and s, the first 64 of `octets`. `v` is 0 or 1.
Result<core::EvmAddress> recovered(const core::Digest& digest, const unsigned char* octets, int v) {
  // The library's own constant context does for what needs no secret, and needs no making.
  const secp256k1_context* const context = secp256k1_context_static;
  secp256k1_ecdsa_recoverable_signature read;
  secp256k1_pubkey key;
  if (secp256k1_ecdsa_recoverable_signature_parse_compact(context, &read, octets, v) != 1 ||
      secp256k1_ecdsa_recover(context, &key, &read, digest.bytes.data()) != 1)
    return refused("no key can have made the signature");
  std::array<unsigned char, 65> point;  // 0x04, x, y
  std::size_t size = point.size();
  secp256k1_ec_pubkey_serialize(context, point.data(), &size, &key, SECP256K1_EC_UNCOMPRESSED);
  return core::evm_address_of(core::chars(point).substr(1));
}

}  // namespace

bool secp256k1_built() noexcept { return true; }

Result<core::EvmAddress> recover_evm_address(const core::Digest& digest, std::string_view signature) {
  if (signature.size() != core::evm_signature_bytes) return refused("a signature has 65 octets");
  const auto* octets = reinterpret_cast<const unsigned char*>(signature.data());
  const int v = octets[64];
  if (v != 27 && v != 28) return refused("v of a signature is 27 or 28");
  if (std::memcmp(octets + 32, s_max.data(), s_max.size()) > 0)
    return refused("s of the signature is in the upper half of the order");
  return recovered(digest, octets, v - 27);
}

Result<core::EvmAddress> EvmSignatures::operator()(const core::Digest& digest,
                                                   std::string_view signature) const {
  if (!contract) return recover_evm_address(digest, signature);
  constexpr std::size_t compact_bytes = 64;
  if (signature.size() == core::evm_signature_bytes || signature.size() == compact_bytes) {
    std::array<unsigned char, compact_bytes> octets{};
    std::memcpy(octets.data(), signature.data(), octets.size());
    // By either v, since whoever changes s changes that, too; of 64 octets also with the bit as a part of s
    // where EIP-2098 has v.
    for (int spelling = 0; spelling < (signature.size() == compact_bytes ? 4 : 2); ++spelling) {
      if (spelling == 2) octets[32] &= 0x7f;
      const auto signer = recovered(digest, octets.data(), spelling & 1);
      if (signer.ok() && *signer == *contract) return refused("the payer's key signed in another spelling");
    }
  }
  return *contract;
}

#else

bool secp256k1_built() noexcept { return false; }

Result<core::EvmAddress> recover_evm_address(const core::Digest& digest, std::string_view signature) {
  static_cast<void>(digest);
  static_cast<void>(signature);
  return fail(Reason::not_built, "this build has no libsecp256k1, so it checks no signature of an EVM chain");
}
Result<core::EvmAddress> EvmSignatures::operator()(const core::Digest& digest,
                                                   std::string_view signature) const {
  return recover_evm_address(digest, signature);
}

#endif

}  // namespace calyx::crypto
