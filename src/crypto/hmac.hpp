/// \file
/// HMAC-SHA256 (RFC 2104), for the secrets and signatures of webhooks.
#pragma once

#include <calyx/core/digest.hpp>
#include <initializer_list>
#include <string_view>

namespace calyx::crypto {

/// Of the parts put one after another, under a key of any size. Threads: any.
core::Digest hmac_sha256(std::string_view key, std::initializer_list<std::string_view> parts) noexcept;

}  // namespace calyx::crypto
