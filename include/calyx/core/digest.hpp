/// \file
/// A SHA-256 digest and its texts, and the two shapes in which cryptography comes into core: as arguments
/// that model `Sha256` and `Ed25519Check`. Neither is ever computed here.
#pragma once

#include <array>
#include <calyx/core/encoding.hpp>
#include <compare>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace calyx::core {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  std::string_view view() const noexcept { return chars(bytes); }
};

/// A hash as core takes it: the SHA-256 of its pieces laid end to end, so that no caller has to copy them
/// together. `struct Hash { template <class... Pieces> Digest operator()(Pieces... pieces) const; };`
template <class H>
concept Sha256 = requires(const H& hash, std::string_view piece) {
  { hash(piece) } -> std::same_as<Digest>;
  { hash(piece, piece) } -> std::same_as<Digest>;
  { hash(piece, piece, piece) } -> std::same_as<Digest>;
};

using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;

/// A signature check as core takes it: whether `signature` over `message` is `key`'s, by RFC 8032 with
/// what that leaves open refused (an S that is not below the group's order, a key of small order).
template <class V>
concept Ed25519Check = requires(const V& check, const PublicKey& key, std::string_view message,
                                const Signature& signature) {
  { check(key, message, signature) } -> std::same_as<bool>;
};

inline std::string hex(const Digest& digest) { return hex(digest.view()); }
inline void append_hex(std::string& out, const Digest& digest) { append_hex(out, digest.view()); }

/// The digest of raw bytes, or nothing when they are not 32.
inline std::optional<Digest> digest_of_bytes(std::string_view bytes) noexcept {
  const auto read = octets<32>(bytes);
  return read ? std::optional<Digest>(Digest{*read}) : std::nullopt;
}

/// The digest that 64 lower-case hex digits spell, or nothing.
inline std::optional<Digest> read_digest_hex(std::string_view text, HexCase letters = HexCase::lower) {
  Digest out;
  return unhex_into(out.bytes, text, letters) ? std::optional<Digest>(out) : std::nullopt;
}

inline constexpr std::string_view output_hash_prefix = "sha256:";

/// An output's hash as a host sends it: with the prefix or without, letters of either case.
inline std::optional<Digest> read_output_hash(std::string_view text) {
  if (text.substr(0, output_hash_prefix.size()) == output_hash_prefix)
    text.remove_prefix(output_hash_prefix.size());
  return read_digest_hex(text, HexCase::either);
}

/// An output's hash as calyx prints it: the prefix and lower-case letters.
inline char* put_output_hash(char* to, const Digest& digest) noexcept {
  return put_hex(put_text(to, output_hash_prefix), digest.view());
}
inline void append_output_hash(std::string& out, const Digest& digest) {
  out += output_hash_prefix;
  append_hex(out, digest);
}
inline std::string output_hash_text(const Digest& digest) {
  std::string out;
  append_output_hash(out, digest);
  return out;
}

}  // namespace calyx::core
