/// \file
/// Signatures over receipts: by a seed that calyx keeps, or by the host.
///
/// Start at `Signer`.
#pragma once

#include <atomic>
#include <calyx/core/result.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "secret.hpp"
#include "verify.hpp"

namespace calyx::crypto {

inline constexpr std::size_t seed_bytes = 32;

/// The name of a public key: its RFC 7638 thumbprint, in base64url.
std::string key_id(const PublicKey& key);

/// Signs with one key. Threads: any number at a time.
class Signer {
 public:
  virtual ~Signer() = default;

  /// The Ed25519 signature over `message`. Fails: `signer_failed`, and then nothing was signed that may
  /// be used.
  virtual Result<Signature> sign(std::string_view message) const = 0;

  const PublicKey& public_key() const noexcept { return public_key_; }
  const std::string& kid() const noexcept { return kid_; }

  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;

 protected:
  explicit Signer(const PublicKey& key) : public_key_(key), kid_(key_id(key)) {}

 private:
  PublicKey public_key_;
  std::string kid_;
};

/// Signs with a secret key in guarded memory that nothing writes to after it was made, so that threads
/// need no lock.
class Ed25519Signer final : public Signer {
 public:
  /// The signer whose seed is `seed`, 32 bytes. Fails: `internal` for another size; `no_memory`.
  static Result<std::unique_ptr<Ed25519Signer>> from_seed(const SecretBytes& seed);

  Result<Signature> sign(std::string_view message) const override;

 private:
  Ed25519Signer(const PublicKey& key, SecretBytes secret) : Signer(key), secret_(std::move(secret)) {}

  SecretBytes secret_;  ///< Seed and public half, as the library wants them; the half never comes from input.
};

/// The host's signature: writes 64 bytes to `out`, or gives false.
using SignCallback =
    std::function<bool(std::string_view kid, std::string_view message, std::uint8_t out[64])>;

inline constexpr std::chrono::milliseconds sign_deadline_default{2000};

/// Asks the host. A call cannot be cut short from here: the deadline is judged when it comes back, and what
/// came late is refused. Each signature is checked against the public key, since a wrong one in the log
/// could not be taken out again; a callback that throws has failed.
class CallbackSigner final : public Signer {
 public:
  CallbackSigner(const PublicKey& key, SignCallback callback,
                 std::chrono::milliseconds deadline = sign_deadline_default);

  Result<Signature> sign(std::string_view message) const override;

 private:
  SignCallback callback_;
  std::chrono::milliseconds deadline_;
};

/// Signs with another signer while all signatures together have taken no longer than `together`, counted from
/// the first: what many callers wait for must not be late by one deadline a signature.
class DeadlineSigner final : public Signer {
 public:
  DeadlineSigner(std::shared_ptr<const Signer> signer, std::chrono::milliseconds together);

  Result<Signature> sign(std::string_view message) const override;

 private:
  Result<Done> in_time() const;

  std::shared_ptr<const Signer> signer_;
  std::chrono::milliseconds together_;
  mutable std::atomic<std::int64_t> first_us_{0};  ///< When the first was asked for; 0 before.
};

}  // namespace calyx::crypto
