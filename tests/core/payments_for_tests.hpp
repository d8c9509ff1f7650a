/// \file
/// What core's rules of payments take as arguments, for their tests, straight from libraries.
#pragma once

#include <openssl/hmac.h>
#include <sodium.h>

#include <cstdint>
#include <iostream>
#include <random>
#include <string_view>

#include "crypto_for_tests.hpp"

namespace calyx::core::for_tests {

/// Whether octets are a point of the curve.
struct OnCurve {
  bool operator()(const PublicKey& point) const {
    PublicKey base{};
    base.fill(0x66);
    base[0] = 0x58;
    PublicKey sum;
    return crypto_core_ed25519_add(sum.data(), point.data(), base.data()) == 0;
  }
};

/// HMAC-SHA256 of a message.
struct Hmac {
  Digest operator()(std::string_view key, std::string_view message) const {
    Digest out;
    unsigned size = 0;
    ::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(), out.bytes.data(), &size);
    return out;
  }
};

/// A fresh seed, printed so that what it led to can be had again.
inline std::uint64_t seed_for(std::string_view what) {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << what << ": seed " << chosen << '\n';
  return chosen;
}

}  // namespace calyx::core::for_tests
