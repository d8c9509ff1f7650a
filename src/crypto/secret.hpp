/// \file
/// Secrets: memory that keeps them, API keys, and the hash by which a key is known at rest.
///
/// Start at `SecretBytes` and `api_key_text`.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "random.hpp"

namespace calyx::crypto {

/// Bytes in memory of their own: between guard pages, kept out of swap and core dumps where the system
/// allows, read-only once filled, zeroed when given back. They have no copy and no way into a stream.
///
/// Threads: once made, any number may read.
class SecretBytes {
 public:
  using Fill = std::function<bool(std::span<std::uint8_t> out)>;

  SecretBytes() noexcept = default;
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  /// `size` bytes as `fill` writes them; they start as zeros. Fails: `no_memory`; `internal` when `fill`
  /// gives false; `io_error` when the crypto library cannot start.
  static Result<SecretBytes> filled(std::size_t size, const Fill& fill);
  /// A copy; wiping the original is its owner's. Fails: `no_memory`.
  static Result<SecretBytes> copy_of(std::span<const std::uint8_t> bytes);
  /// `size` bytes out of `random`. Fails: `no_memory`; `io_error` when `random` gives none.
  static Result<SecretBytes> random(std::size_t size, const RandomSource& random);

  std::span<const std::uint8_t> bytes() const noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Overwrites what is about to be given back, in a way that the compiler keeps.
void wipe(std::span<std::uint8_t> bytes) noexcept;
void wipe(std::string& text) noexcept;

/// Whether both hold the same bytes; the time tells their sizes and nothing else.
bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;
bool equal_in_constant_time(const core::Digest& a, const core::Digest& b) noexcept;

inline constexpr std::size_t api_key_bytes = 32;
inline constexpr std::size_t hash_key_bytes = 32;

/// A new API key: `prefix` and 32 random bytes in base58. It is shown once; at rest there is only
/// its hash. Fails: `io_error` when `random` gives nothing.
Result<std::string> api_key_text(std::string_view prefix, const RandomSource& random);

/// The hash that stands for an API key at rest: BLAKE2b of 32 bytes under `hash_key`, which has
/// `hash_key_bytes`, so that the market file alone does not allow to test a guess.
core::Digest api_key_hash(const SecretBytes& hash_key, std::string_view api_key) noexcept;

}  // namespace calyx::crypto
