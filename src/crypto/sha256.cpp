#include "sha256.hpp"

#include <openssl/evp.h>
#include <sodium.h>

#include <initializer_list>

namespace calyx::crypto {
namespace {

/// Set once the thread's context is freed: destructors of the host's own statics may still hash.
thread_local bool context_gone = false;

/// A thread's digest context. Making one costs as much as a small hash, so it is kept.
struct Context {
  EVP_MD_CTX* const held = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    EVP_MD_CTX_free(held);
    context_gone = true;
  }
};

/// Fetched once: looking the algorithm up takes longer than hashing. It is never freed, so that hashing works
/// for as long as the process runs.
EVP_MD* openssl_sha256() noexcept {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return algorithm;
}

/// OpenSSL's SHA-256 uses the processor's own instructions, which libsodium's does not: four times as fast.
bool hash_by_openssl(std::initializer_list<std::string_view> parts, core::Digest& out) noexcept {
  EVP_MD* const algorithm = openssl_sha256();
  if (algorithm == nullptr || context_gone) return false;
  thread_local Context context;
  if (context.held == nullptr || EVP_DigestInit_ex2(context.held, algorithm, nullptr) != 1) return false;
  for (const std::string_view part : parts)
    if (EVP_DigestUpdate(context.held, part.data(), part.size()) != 1) return false;
  return EVP_DigestFinal_ex(context.held, out.bytes.data(), nullptr) == 1;
}

/// A hash must not fail: where OpenSSL cannot (no memory, no such provider), libsodium does the same.
core::Digest hash(std::initializer_list<std::string_view> parts) noexcept {
  core::Digest out;
  if (hash_by_openssl(parts, out)) return out;
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  for (const std::string_view part : parts)
    crypto_hash_sha256_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  crypto_hash_sha256_final(&state, out.bytes.data());
  return out;
}

}  // namespace

core::Digest Sha256::operator()(std::string_view a) const { return hash({a}); }
core::Digest Sha256::operator()(std::string_view a, std::string_view b) const { return hash({a, b}); }
core::Digest Sha256::operator()(std::string_view a, std::string_view b, std::string_view c) const {
  return hash({a, b, c});
}

/// Hashed by OpenSSL where that gives a context, else by libsodium from the first piece on.
struct Sha256Stream::State {
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  crypto_hash_sha256_state sodium{};
  bool by_openssl = false;

  State() { begin(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }

  void begin() noexcept {
    EVP_MD* const algorithm = openssl_sha256();
    by_openssl =
        context != nullptr && algorithm != nullptr && EVP_DigestInit_ex2(context, algorithm, nullptr) == 1;
    if (!by_openssl) crypto_hash_sha256_init(&sodium);
  }
};

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) {}
Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;
Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::update(std::string_view piece) {
  if (state_->by_openssl) {
    // Of a context that was begun this does not fail: it allocates nothing.
    EVP_DigestUpdate(state_->context, piece.data(), piece.size());
    return;
  }
  crypto_hash_sha256_update(&state_->sodium, reinterpret_cast<const unsigned char*>(piece.data()),
                            piece.size());
}

core::Digest Sha256Stream::finish() {
  core::Digest out;
  if (state_->by_openssl)
    EVP_DigestFinal_ex(state_->context, out.bytes.data(), nullptr);
  else
    crypto_hash_sha256_final(&state_->sodium, out.bytes.data());
  state_->begin();
  return out;
}

}  // namespace calyx::crypto
