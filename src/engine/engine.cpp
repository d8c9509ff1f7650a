#include <calyx/core/receipt.hpp>
#include <calyx/engine.hpp>
#include <utility>

#include "crypto/secret.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "engine/market.hpp"
#include "json/reader.hpp"

namespace calyx {
namespace {

ReceiptVerdict judge(std::string_view receipt, std::span<const core::TrustedKey> keys) {
  const auto read = [](std::string_view text) -> std::optional<core::json::Value> {
    Result<core::json::Value> value = read_json(text);
    return value.ok() ? std::optional<core::json::Value>(*std::move(value)) : std::nullopt;
  };
  const auto check = [](const core::PublicKey& key, std::string_view message,
                        const core::Signature& signature) {
    return crypto::ed25519_verify(key, message, signature);
  };
  while (!receipt.empty() && (receipt.back() == '\n' || receipt.back() == '\r')) receipt.remove_suffix(1);
  core::ReceiptVerdict verdict = core::verify_receipt_document(receipt, keys, read, check);
  return {verdict.valid, std::string(verdict.reason), std::move(verdict.payload)};
}

}  // namespace

ReceiptVerdict verify_receipt(std::string_view receipt, std::string_view jwks) {
  const Result<core::json::Value> value = read_json(jwks);
  const auto keys = value.ok() ? core::read_jwks(*value, crypto::Sha256{}) : std::nullopt;
  if (!keys || keys->empty()) return {false, "jwks", {}};  // whoever has no key cannot tell
  return judge(receipt, *keys);
}

core::Digest output_hash(std::string_view bytes) { return crypto::Sha256{}(bytes); }

Engine::Engine(std::unique_ptr<Market> market) : market_(std::move(market)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&& other) noexcept {
  if (this != &other) Market::end(std::exchange(market_, std::move(other.market_)));
  return *this;
}
Engine::~Engine() { Market::end(std::move(market_)); }

void Engine::end_streams() {
  market_->lifeline()->loosen();
  if (market_->lifeline()->at_home()) market_->workshop().tell();
}

Result<Engine> Engine::open(Options options) {
  CALYX_TRY(std::unique_ptr<Market> market, Market::open(std::move(options)));
  return Engine(std::move(market));
}

Result<Session> Engine::session(std::string_view api_key) {
  if (core::is_derived_key(api_key)) return session_of_derived(api_key);
  return market_->read([&](const services::Book& book, Instant now) -> Result<Session> {
    CALYX_CHECK(market_->can_check_keys());
    const core::Digest hash = crypto::api_key_hash(*market_->seams().hash_key, api_key);
    const auto found = book.key_by_hash.find(hash);
    const services::KeyState* key = found == book.key_by_hash.end() ? nullptr : book.key(found->second);
    // A key that is unknown, one that ended and one that was revoked are the same to who holds it.
    if (key == nullptr || !crypto::equal_in_constant_time(key->hash, hash) || !key->good(now))
      return services::no_such_key();
    return Session(*market_, services::principal_of(book, *key));
  });
}

Session Engine::as_operator() { return Session(*market_, Principal{}); }

Result<KeyIssued> Engine::issue_operator_key(std::string_view label) {
  return market_->write([&](services::Transaction& tx) {
    return services::issue_key(tx, Principal{}, std::nullopt, label, {});
  });
}

std::string Engine::public_keys() const {
  const Result<std::vector<core::TrustedKey>> keys = market_->trusted_keys();
  return keys.ok() ? core::json::text(core::jwks(*keys)) : std::string();
}

Result<std::string> Engine::rotate_signing_key() { return market_->rotate_signing_key(); }

ReceiptVerdict Engine::verify(std::string_view receipt) const {
  const Result<std::vector<core::TrustedKey>> keys = market_->trusted_keys();
  if (!keys.ok()) return {false, std::string(word(keys.reason())), {}};
  return judge(receipt, *keys);
}

Result<Done> Engine::backup(const std::string& path) { return market_->backup(path); }

EngineStats Engine::stats() const noexcept { return market_->stats(); }

bool Engine::is_metrics_token(std::string_view presented) const noexcept {
  const std::string& token = market_->options().metrics_token;
  return !token.empty() && crypto::equal_in_constant_time(token, presented);
}

std::string Engine::issuer() const {
  Result<std::string> issuer = market_->issuer();
  return issuer.ok() ? *std::move(issuer) : std::string();
}

}  // namespace calyx
