/// \file
/// Whether 32 octets are a point of Ed25519's curve, as Solana asks when it derives addresses.
#pragma once

#include <calyx/core/digest.hpp>

namespace calyx::crypto {

/// Whether `point` is the encoding of a point of the curve, of any order. False, too, when the library cannot
/// start. Threads: any.
bool on_ed25519_curve(const core::PublicKey& point) noexcept;

/// The test as core's rules take it.
struct Ed25519Curve {
  bool operator()(const core::PublicKey& point) const noexcept { return on_ed25519_curve(point); }
};

}  // namespace calyx::crypto
