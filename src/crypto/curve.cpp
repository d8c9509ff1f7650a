#include "curve.hpp"

#include <sodium.h>

#include "random.hpp"

namespace calyx::crypto {

bool on_ed25519_curve(const core::PublicKey& point) noexcept {
  // The base point, as RFC 8032 encodes it. Adding to it fails for what is no point and for nothing else;
  // `crypto_core_ed25519_is_valid_point` would refuse points outside the subgroup of prime order as well.
  static constexpr core::PublicKey base = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};
  core::PublicKey sum;
  return crypto_ready() && crypto_core_ed25519_add(sum.data(), point.data(), base.data()) == 0;
}

}  // namespace calyx::crypto
