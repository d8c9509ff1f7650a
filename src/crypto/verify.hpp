/// \file
/// Checking an Ed25519 signature.
#pragma once

#include <calyx/core/digest.hpp>
#include <string_view>

namespace calyx::crypto {

using core::PublicKey;
using core::Signature;

/// Whether `signature` was made over `message` by the owner of `key`. Keys of small order and signatures
/// with S not below the group's order are refused: some libraries take them, and with such a key one
/// signature fits every message. Threads: any.
bool ed25519_verify(const PublicKey& key, std::string_view message, const Signature& signature) noexcept;

/// The same over bytes as they came; another size is no key and no signature.
bool ed25519_verify(std::string_view key, std::string_view message, std::string_view signature) noexcept;

/// The check as core's rules take it.
struct Ed25519 {
  bool operator()(const PublicKey& key, std::string_view message, const Signature& signature) const noexcept {
    return ed25519_verify(key, message, signature);
  }
};
static_assert(core::Ed25519Check<Ed25519>);

}  // namespace calyx::crypto
