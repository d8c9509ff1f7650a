#include "secret.hpp"

#include <sodium.h>

#include <array>
#include <calyx/core/encoding.hpp>
#include <cstring>
#include <utility>

namespace calyx::crypto {

static_assert(hash_key_bytes == crypto_generichash_KEYBYTES);

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SecretBytes::~SecretBytes() { sodium_free(data_); }

Result<SecretBytes> SecretBytes::filled(std::size_t size, const Fill& fill) {
  SecretBytes out;
  if (size == 0) return out;
  if (!crypto_ready()) return fail(Reason::io_error, "the system gives no random bytes");
  out.data_ = static_cast<std::uint8_t*>(sodium_malloc(size));
  if (out.data_ == nullptr)
    return fail(Reason::no_memory, "no guarded memory for " + std::to_string(size) + " bytes");
  out.size_ = size;
  sodium_memzero(out.data_, size);
  if (!fill({out.data_, size})) return fail(Reason::internal, "a secret could not be made");
  // Where a system has no such protection the bytes stay writable; nothing writes to them all the same.
  static_cast<void>(sodium_mprotect_readonly(out.data_));
  return out;
}

Result<SecretBytes> SecretBytes::copy_of(std::span<const std::uint8_t> bytes) {
  return filled(bytes.size(), [bytes](std::span<std::uint8_t> out) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return true;
  });
}

Result<SecretBytes> SecretBytes::random(std::size_t size, const RandomSource& random) {
  bool given = true;
  auto out =
      filled(size, [&](std::span<std::uint8_t> bytes) { return given = random(bytes.data(), bytes.size()); });
  if (!given) return fail(Reason::io_error, "the random source gave nothing");
  return out;
}

void wipe(std::span<std::uint8_t> bytes) noexcept {
  if (!bytes.empty()) sodium_memzero(bytes.data(), bytes.size());
}

void wipe(std::string& text) noexcept {
  if (!text.empty()) sodium_memzero(text.data(), text.size());
  text.clear();
}

bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

bool equal_in_constant_time(const core::Digest& a, const core::Digest& b) noexcept {
  return equal_in_constant_time(a.view(), b.view());
}

Result<std::string> api_key_text(std::string_view prefix, const RandomSource& random) {
  std::array<std::uint8_t, api_key_bytes> bytes{};
  if (!random(bytes.data(), bytes.size())) return fail(Reason::io_error, "the random source gave nothing");
  std::string letters = core::base58(core::chars(bytes));
  wipe(bytes);
  std::string out;
  out.reserve(prefix.size() + letters.size());
  out += prefix;
  out += letters;
  wipe(letters);
  return out;
}

core::Digest api_key_hash(const SecretBytes& hash_key, std::string_view api_key) noexcept {
  core::Digest digest;
  // It fails for sizes that it does not take alone, and these are fixed.
  static_cast<void>(crypto_generichash(digest.bytes.data(), digest.bytes.size(),
                                       reinterpret_cast<const unsigned char*>(api_key.data()), api_key.size(),
                                       hash_key.bytes().data(), hash_key.size()));
  return digest;
}

}  // namespace calyx::crypto
