/// \file
/// Addresses that ask: their signed requests, and how they sign in.
#include "services/identity.hpp"

#include <calyx/core/challenge_id.hpp>
#include <calyx/core/payment_terms.hpp>
#include <calyx/core/sign_in.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/engine.hpp>

#include "crypto/hmac.hpp"
#include "crypto/secp256k1.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "engine/market.hpp"

namespace calyx {

using core::ChallengeId;
using services::Book;
using services::Transaction;

namespace {

namespace json = core::json;
namespace sign_in = core::sign_in;
namespace signing = core::request_signature;

constexpr std::string_view statement = "Sign in to run jobs and to manage your wallet.";
constexpr std::size_t nonce_octets = 16;

Error signature_invalid(std::string_view code) {
  return fail(Reason::signature_invalid, std::string("the signature does not count: ").append(code),
              json::object({{"code", code}}));
}
Error challenge_invalid(std::string_view code, const char* says) {
  return fail(Reason::challenge_invalid, says, json::object({{"code", code}}));
}
Error not_built() {
  return fail(Reason::not_built,
              "this build checks no signature of an EVM chain: libsecp256k1 was not there");
}

/// `address` in the one spelling that accounts have. Fails: `field_value`.
Result<std::string> spelled(AddressChain chain, std::string_view address) {
  if (chain == AddressChain::base) {
    if (const auto read = core::read_evm_address(address)) return core::lower_text(*read);
    return services::field_error(Reason::field_value, "/address",
                                 "is no address of 20 octets in hexadecimal, or its letters' case is wrong");
  }
  if (const auto read = core::solana::read_address(address)) return core::solana::text(*read);
  return services::field_error(Reason::field_value, "/address", "is no address of 32 octets in base 58");
}

Instant expiry_of(const ChallengeId& of) noexcept {
  return {of.at.us + sign_in_lasts_s * core::us_per_second};
}

/// The text of `of`, for the host at `base_url`, or nothing where no wallet would sign it.
std::optional<std::string> text_of(const ChallengeId& of, std::string_view base_url) {
  constexpr std::string_view scheme_end = "://";
  const std::size_t domain_at = base_url.find(scheme_end);
  if (domain_at == std::string_view::npos) return std::nullopt;
  std::string_view domain = base_url.substr(domain_at + scheme_end.size());
  domain = domain.substr(0, domain.find('/'));
  const bool base = of.chain == AddressChain::base;
  const auto address = base ? core::read_evm_address(of.address) : std::nullopt;
  sign_in::Message message;
  message.domain = domain;
  message.address = address ? core::checksummed_text(*address) : of.address;
  message.statement = std::string(statement);
  message.uri = base_url;
  message.version = "1";
  message.chain_id = base ? "8453" : "mainnet";
  message.nonce = of.nonce;
  message.issued_at = core::iso_text(of.at);
  message.expiration_time = core::iso_text(expiry_of(of));
  return sign_in::sign_in_text(message, base ? sign_in::Chain::ethereum : sign_in::Chain::solana);
}

/// What only this market can say of `text`: nothing of a challenge is kept until it is answered.
std::string seal_of(const crypto::SecretBytes& key, std::string_view text) {
  const core::Digest secret = crypto::hmac_sha256(core::chars(key.bytes()), {"calyx sign-in secret 1\n"});
  return core::hex(crypto::hmac_sha256(secret.view(), {text}));
}

/// Whether the wallet of `of.address` signed `text`. Fails: `signature_invalid`, `not_built`.
Result<Done> check_signature(const ChallengeId& of, std::string_view text, std::string_view signature) {
  if (of.chain == AddressChain::base) {
    const auto octets = core::read_hex_bytes(signature);
    if (!octets || octets->size() != core::evm_signature_bytes)
      return signature_invalid(signing::word(signing::Verdict::signature_malformed));
    const auto signer = crypto::recover_evm_address(core::personal_message_digest(text), *octets);
    if (signer.reason() == Reason::not_built) return not_built();
    if (signer.ok() && core::lower_text(*signer) == of.address) return Done{};
  } else {
    const auto octets = core::unbase64(signature);
    if (!octets || octets->size() != std::tuple_size_v<core::Signature>)
      return signature_invalid(signing::word(signing::Verdict::signature_malformed));
    const auto key = core::solana::read_address(of.address);
    if (key && crypto::ed25519_verify(core::chars(*key), text, *octets)) return Done{};
  }
  return signature_invalid(signing::word(signing::Verdict::signature));
}

}  // namespace

Result<Session> Engine::session(const SignedRequest& request, bool needs_whitelist) {
  // What costs little comes first: a body of a gigabyte is hashed for nobody who may not send it.
  Instant now;
  CALYX_CHECK(market_->read([&](const Book& book, Instant at) -> Result<Done> {
    now = at;
    const signing::Judged claim = signing::judge_claim(request.method, request.target, request.headers, now,
                                                       core::solana::read_address);
    if (claim.verdict != signing::Verdict::ok) return signature_invalid(signing::word(claim.verdict));
    const std::string account = signing::account_of(claim.chain, claim.address);
    if (needs_whitelist && !services::is_whitelisted(book, account))
      return services::not_whitelisted(account);
    return Done{};
  }));
  const signing::Judged judged =
      signing::judge_request({request.method, request.target, crypto::Sha256{}(request.body)},
                             request.headers, now, crypto::EvmSignatures{}, crypto::Ed25519{},
                             core::solana::read_address, market_->options().signature_first_line);
  if (judged.verdict == signing::Verdict::not_built) return not_built();
  if (judged.verdict != signing::Verdict::ok) return signature_invalid(signing::word(judged.verdict));
  const services::SignedOnce once{.account = signing::account_of(judged.chain, judged.address),
                                  .nonce = std::string(request.headers.nonce),
                                  .until = signing::stays_used_until(judged.at)};
  CALYX_TRY(const Principal principal, market_->write([&](Transaction& tx) {
    return services::admit(tx, once,
                           needs_whitelist ? services::Whitelist::needed : services::Whitelist::not_needed);
  }));
  return Session(*market_, principal);
}

Result<SignInChallenge> Engine::sign_in_challenge(AddressChain chain, std::string_view address) {
  ChallengeId challenge{.chain = chain};
  CALYX_TRY(challenge.address, spelled(chain, address));
  std::string base_url;
  CALYX_CHECK(market_->read([&](const Book& book, Instant now) -> Result<Done> {
    base_url = book.payment_terms.base_url;
    challenge.at = {now.us - now.us % core::us_per_second};
    return Done{};
  }));
  CALYX_CHECK(market_->can_check_keys());
  std::string octets(nonce_octets, '\0');
  if (!market_->seams().random(octets.data(), octets.size()))
    return fail(Reason::io_error, "no random bytes are to be had");
  challenge.nonce = core::hex(octets);
  std::optional<std::string> text = text_of(challenge, base_url);
  if (!text)
    return fail(Reason::unsupported,
                "nobody signs in yet: an operator sets the base_url that wallets are shown");
  challenge.seal = seal_of(*market_->seams().hash_key, *text);
  SignInChallenge out{.id = core::challenge_id_text(challenge),
                      .message = *std::move(text),
                      .expires_at = expiry_of(challenge)};
  return out;
}

Result<KeyIssued> Engine::sign_in(std::string_view challenge_id, std::string_view signature) {
  CALYX_CHECK(market_->can_check_keys());
  std::string base_url;
  Instant now;
  CALYX_CHECK(market_->read([&](const Book& book, Instant at) -> Result<Done> {
    base_url = book.payment_terms.base_url;
    now = at;
    return Done{};
  }));
  const std::optional<ChallengeId> named = core::read_challenge_id(challenge_id);
  const std::optional<std::string> text = named ? text_of(*named, base_url) : std::nullopt;
  if (!text || !crypto::equal_in_constant_time(named->seal, seal_of(*market_->seams().hash_key, *text)))
    return challenge_invalid("unknown", "no such challenge was given here");
  const ChallengeId& challenge = *named;
  if (now >= expiry_of(challenge))
    return challenge_invalid("expired", "the challenge has expired: ask again");
  CALYX_CHECK(check_signature(challenge, *text, signature));
  // A blank, which no nonce of a signed request has, keeps the two apart.
  const services::SignedOnce once{.account = signing::account_of(challenge.chain, challenge.address),
                                  .nonce = "sign in " + challenge.nonce,
                                  .until = expiry_of(challenge)};
  return market_->write([&](Transaction& tx) { return services::sign_in(tx, once); });
}

Result<KeyIssued> Session::issue_compute_key(std::string_view label, const IdempotencyKey& once) {
  return market_->write(
      [&](Transaction& tx) { return services::issue_compute_key(tx, principal_, label, once); });
}

Result<Wallet> Session::whitelist(AddressChain chain, std::string_view address, bool allowed) {
  CALYX_TRY(const std::string spelling, spelled(chain, address));
  const std::string account = signing::account_of(chain, spelling);
  return market_->write(
      [&](Transaction& tx) { return services::whitelist(tx, principal_, account, allowed); });
}

}  // namespace calyx
