/// \file
/// Bytes as SQLite takes and gives them, and as the rest of calyx holds them.
#pragma once

#include <calyx/core/digest.hpp>
#include <cstdint>
#include <span>
#include <string_view>

namespace calyx::store {

inline std::span<const std::uint8_t> octets_of(const core::Digest& digest) noexcept { return digest.bytes; }
inline std::span<const std::uint8_t> octets_of(std::string_view bytes) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}
inline std::string_view chars_of(std::span<const std::uint8_t> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace calyx::store
