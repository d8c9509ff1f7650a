// MPP's credentials: the header that a client answers with, and the verdict on what it pays.
//
// An input is a header's value, or the JSON that one would spell in base64url.
#include <calyx/core/payment_identity.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/secp256k1.hpp"
#include "fuzz.hpp"
#include "payments/mpp.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

using core::mpp::Challenge;
using core::mpp::Credential;
using core::mpp::CredentialReading;
using core::mpp::EvmVerdict;
using core::mpp::Problem;

/// That of the vectors.
constexpr std::string_view credential_secrets[] = {"calyx-test-vector-secret-0123456789abcdef"};
constexpr Instant answered_at{1'767'225'600 * core::us_per_second};

bool same_credential(const Credential& one, const Credential& other) {
  return one.challenge == other.challenge && one.payload == other.payload && one.source == other.source;
}

std::string credential_text(const Credential& credential) {
  core::json::Object challenge;
  const Challenge& of = credential.challenge;
  for (const auto& [name, text] : {std::pair{"id", &of.id},
                                   {"realm", &of.realm},
                                   {"method", &of.method},
                                   {"intent", &of.intent},
                                   {"request", &of.request},
                                   {"expires", &of.expires},
                                   {"digest", &of.digest},
                                   {"header", &of.header},
                                   {"opaque", &of.opaque},
                                   {"description", &of.description}})
    if (!text->empty()) challenge.set(name, *text);
  core::json::Object out;
  out.set("challenge", std::move(challenge)).set("payload", credential.payload);
  if (!credential.source.empty()) out.set("source", credential.source);
  return "Payment " + core::base64url(core::json::text(core::json::Value(std::move(out))));
}

EvmVerdict judged(const Credential& credential, Instant now) {
  EvmVerdict out = payments::mpp::judge_evm(credential, now);
  const EvmVerdict same = payments::mpp::judge_evm(credential, now);
  demand(out.verdict.problem == same.verdict.problem && out.verdict.detail == same.verdict.detail &&
             out.verdict.needs_backend == same.verdict.needs_backend,
         "a credential is judged alike each time");
  return out;
}

core::json::Value with_member(const core::json::Value& payload, std::string_view name, std::string text) {
  core::json::Value out = payload;
  out.object()->set(std::string(name), std::move(text));
  return out;
}

void good_authorization(const Credential& credential, const core::mpp::EvmCharge& charge,
                        const EvmVerdict& verdict) {
  const core::TransferAuthorization& paid = verdict.authorization.transfer;
  demand(evm_form_is_good(verdict.authorization.signature), "a good signature is one that a token takes");
  demand(paid.to == charge.recipient && paid.value == charge.amount, "what is paid is what was asked for");
  demand(core::detail::text_at(credential.payload, "value") == core::text(paid.value),
         "an amount that is read is canonical");
  demand(paid.nonce == core::keccak256(credential.challenge.id + credential.challenge.realm).bytes,
         "the nonce binds the challenge");
  const core::EvmAsset* const asset = core::mpp::asset_of(charge);
  demand(asset != nullptr && asset->chain_id == charge.chain_id && charge.takes_authorization,
         "the token takes authorizations");
  const core::EvmDomain domain{asset->name, asset->version, charge.chain_id, charge.currency};
  const Result<core::EvmAddress> signer =
      crypto::recover_evm_address(core::transfer_digest(domain, paid), verdict.authorization.signature);
  demand(signer.ok() && *signer == paid.from, "a good signature is the payer's");
  if (!credential.source.empty())
    demand(small_letters(credential.source) ==
               "did:pkh:eip155:" + std::to_string(charge.chain_id) + ":" + core::lower_text(paid.from),
           "the source is who pays");
  const core::PaymentIdentity identity = core::identity_of(verdict.authorization, charge);
  demand(core::read_uint256(identity.amount) == paid.value && identity.network == asset->caip2,
         "an identity says what is paid and where");
  for (const std::string& signature : spoilt_evm_signatures(evm_wallet(), verdict.authorization.signature)) {
    Credential spoilt = credential;
    spoilt.payload = with_member(credential.payload, "signature", "0x" + core::hex(signature));
    demand(judged(spoilt, answered_at).verdict.problem == Problem::verification_failed,
           "a signature that was changed is refused");
  }
}

/// The same answer as one that our own wallet pays.
void paid_by_wallet(Credential credential, const core::mpp::EvmCharge& charge) {
  const core::EvmAsset* const asset = core::mpp::asset_of(charge);
  core::TransferAuthorization paid;
  paid.from = evm_wallet().address();
  paid.to = charge.recipient;
  paid.value = charge.amount;
  paid.valid_before = core::Uint256(static_cast<std::uint64_t>(answered_at.us / core::us_per_second) +
                                    core::x402::seconds_left_min);
  paid.nonce = core::keccak256(credential.challenge.id + credential.challenge.realm).bytes;
  std::string signature(65, '\x1b');
  if (asset != nullptr)
    signature = evm_wallet().sign(
        core::transfer_digest({asset->name, asset->version, charge.chain_id, charge.currency}, paid));
  credential.source.clear();
  credential.payload = core::json::object({{"type", "authorization"},
                                           {"from", core::lower_text(paid.from)},
                                           {"to", core::lower_text(paid.to)},
                                           {"value", core::text(paid.value)},
                                           {"validAfter", "0"},
                                           {"validBefore", core::text(paid.valid_before)},
                                           {"nonce", "0x" + core::hex(core::chars(paid.nonce))},
                                           {"signature", "0x" + core::hex(signature)}});
  const EvmVerdict verdict = judged(credential, answered_at);
  demand(verdict.verdict.good() == (asset != nullptr && charge.takes_authorization),
         "what was asked for and is signed is good");
  if (!verdict.verdict.good()) return;
  good_authorization(credential, charge, verdict);
  demand(
      judged(credential, {answered_at.us + core::us_per_second}).verdict.problem == Problem::payment_expired,
      "a payment that cannot be settled in time is refused");
  for (const auto& [name, text] : {std::pair{"value", "0" + core::text(paid.value)},
                                   {"validAfter", "00"},
                                   {"validBefore", "0x6955b900"},
                                   {"type", "hash"}}) {
    Credential other = credential;
    other.payload = with_member(credential.payload, name, text);
    demand(judged(other, answered_at).verdict.problem == Problem::invalid_payload,
           "an amount has one spelling");
  }
}

void solana_charge(const Credential& credential, const core::json::Value& request) {
  const auto charge = core::mpp::read_solana_charge(request);
  const core::solana::Address ours = charge ? charge->fee_payer : core::solana::Address{};
  const core::mpp::SolanaVerdict out = payments::mpp::judge_solana(credential, {&ours, 1});
  const core::mpp::SolanaVerdict same = payments::mpp::judge_solana(credential, {&ours, 1});
  demand(out.verdict.problem == same.verdict.problem && out.reason == same.reason,
         "a transaction is judged alike each time");
  demand(charge.has_value() == (out.verdict.problem != Problem::method_unsupported), "a charge is judged");
  if (out.verdict.problem != Problem::none) return;
  demand(out.payment.amount == charge->amount && out.payment.payer != ours,
         "what is paid is what was asked for");
  demand(payments::mpp::judge_solana(credential, {}).verdict.problem == Problem::verification_failed,
         "nobody pays the fee of a stranger's choice");
}

/// What was echoed, once it is a challenge of ours.
void challenge_of_ours(const Credential& credential) {
  const Challenge& echoed = credential.challenge;
  const std::string_view received_in =
      echoed.header.empty() ? core::mpp::usual_header : core::mpp::other_header;
  Challenge asked = echoed;
  asked.id.clear();
  const auto judge = [&](const Challenge& echo, std::string_view in) {
    return payments::mpp::judge_challenge(credential_secrets, echo, asked, in, answered_at);
  };
  const bool known = judge(echoed, received_in).problem != Problem::invalid_challenge;
  const Result<Challenge> issued = payments::mpp::issue(credential_secrets, asked);
  if (known) {
    demand(core::mpp::well_formed(echoed), "a challenge that is known is whole");
    demand(!issued.ok() || issued->id == echoed.id, "a challenge that is known was issued");
  }
  if (!issued.ok()) return;
  const core::mpp::Verdict verdict = judge(*issued, received_in);
  const auto expires = echoed.expires.empty() ? std::nullopt : core::read_date_time(echoed.expires);
  demand(verdict.problem == (expires && *expires <= answered_at ? Problem::payment_expired : Problem::none),
         "a challenge that was issued is good until it expires");
  demand(judge(*issued, echoed.header.empty() ? core::mpp::other_header : core::mpp::usual_header).problem ==
             Problem::invalid_challenge,
         "an answer comes in the header that was asked for");
  Challenge dearer = asked;
  dearer.request += "AA";
  demand(
      payments::mpp::judge_challenge(credential_secrets, *issued, dearer, received_in, answered_at).problem ==
          Problem::invalid_challenge,
      "a challenge is for one payment");
}

}  // namespace

void target::mpp_credential(std::string_view input) {
  const std::string value = input.starts_with('{') ? "Payment " + core::base64url(input) : std::string(input);
  const CredentialReading reading = payments::mpp::read_authorization(value);
  const CredentialReading same = payments::mpp::read_authorization(std::string(value));
  demand(reading.problem == same.problem && same_credential(reading.credential, same.credential),
         "a header is read alike each time");
  if (reading.problem != Problem::none) {
    demand(reading.problem == Problem::payment_required || reading.problem == Problem::malformed_credential,
           "reading says no more than it knows");
    return;
  }
  const Credential& credential = reading.credential;
  const Challenge& echoed = credential.challenge;
  demand(!echoed.id.empty() && !echoed.realm.empty() && !echoed.method.empty() && !echoed.intent.empty() &&
             !echoed.request.empty() && credential.payload.object() != nullptr,
         "what is demanded is there");
  const std::string spelled = credential_text(credential);
  if (spelled.size() <= core::mpp::credential_bytes_max) {
    const CredentialReading again = payments::mpp::read_authorization(spelled);
    demand(again.problem == Problem::none && same_credential(again.credential, credential),
           "a credential that is spelled is read as the same");
  }
  challenge_of_ours(credential);
  const EvmVerdict verdict = judged(credential, answered_at);
  const auto request = payments::mpp::read_json_text(echoed.request);
  const auto charge = request ? core::mpp::read_evm_charge(*request) : std::nullopt;
  demand(charge.has_value() || verdict.verdict.problem == Problem::method_unsupported,
         "what is no charge is not judged");
  solana_charge(credential, request.value_or(core::json::Value()));
  if (!charge || !evm_signs) return;
  if (verdict.verdict.good()) good_authorization(credential, *charge, verdict);
  paid_by_wallet(credential, *charge);
}

}  // namespace calyx::fuzz
