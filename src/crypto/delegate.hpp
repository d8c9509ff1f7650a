/// \file
/// The Ed25519 key that an API key's secret gives, with which its holder signs the keys that it derives
/// (core/derived_key.hpp).
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <cstdint>
#include <span>
#include <string_view>

#include "secret.hpp"

namespace calyx::crypto {

/// The seed, 32 bytes: BLAKE2b of the key's text under the key `calyx/delegate`. Fails: `no_memory`,
/// `io_error`.
Result<SecretBytes> delegate_seed(std::string_view api_key);

/// The public half of what `seed` gives, of zeros for a seed that is not 32 bytes.
core::PublicKey public_key_of(std::span<const std::uint8_t> seed) noexcept;

/// The public half of `delegate_seed`: what an engine keeps. Fails: as that.
Result<core::PublicKey> delegate_key(std::string_view api_key);

/// Signs with the secret key of `seed`, 32 bytes.
core::Signature sign_with_seed(std::span<const std::uint8_t> seed, std::string_view message) noexcept;

}  // namespace calyx::crypto
