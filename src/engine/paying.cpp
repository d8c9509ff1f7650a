#include "engine/paying.hpp"

#include <algorithm>
#include <calyx/core/payment_identity.hpp>

#include "crypto/hmac.hpp"
#include "crypto/secp256k1.hpp"
#include "json/reader.hpp"
#include "payments/mpp.hpp"
#include "payments/solana.hpp"
#include "payments/x402.hpp"

namespace calyx {

using core::x402::Requirement;
using engine::Asked;
using services::Book;

namespace {

namespace json = core::json;
namespace mpp = payments::mpp;

constexpr std::string_view description = "calyx credits";
/// That a client may give its payment an id. Nobody has to say it back.
constexpr std::string_view offered_extensions =
    R"({"payment-identifier":{"info":{"required":false},"schema":{)"
    R"("$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{)"
    R"("required":{"type":"boolean"},"id":{"type":"string","minLength":16,"maxLength":128}},)"
    R"("required":["required"]}}})";
constexpr std::string_view mpp_method = "evm";
constexpr std::string_view mpp_intent = "charge";

Error refused(std::string_view code, std::string_view says) {
  return fail(Reason::payment_invalid, std::string("the payment is not accepted: ").append(says),
              json::object({{"code", code}}));
}
Error malformed(std::string_view code, const std::string& pointer) {
  return fail(Reason::payment_malformed, "the header holds no payment",
              json::object({{"code", code}, {"pointer", pointer}}));
}

Error refused(core::x402::Verdict verdict, int version) {
  return refused(core::x402::wire_code(verdict, version), core::x402::word(verdict));
}
using engine::refused;

VerifiedPayment verified(core::PaymentIdentity identity, PaymentProtocol protocol, Money credit,
                         std::string_view text) {
  return {.protocol = protocol,
          .network = std::move(identity.network),
          .asset = std::move(identity.asset),
          .payer = std::move(identity.payer),
          .pay_to = std::move(identity.pay_to),
          .nonce = std::move(identity.nonce),
          .amount = std::move(identity.amount),
          .credit = credit,
          .valid_before = identity.valid_before,
          .payload = std::string(text)};
}

/// What `amount` is worth. More than one amount may be is no payment for a quote.
Result<Money> worth(const core::Uint256& amount, std::string_view network) {
  const auto found = core::worth_of(amount, core::token_decimals(network));
  if (found) return found->money;
  return fail(Reason::amount_out_of_range, "the payment is above what one amount may be");
}

payments::X402Reading read_x402(const PaymentWords& words) {
  return payments::read_x402_payment(words.text, words.header == PaymentHeader::x_payment
                                                     ? payments::X402Header::x_payment
                                                     : payments::X402Header::payment_signature);
}
constexpr int version_of(PaymentHeader header) noexcept { return header == PaymentHeader::x_payment ? 1 : 2; }

Result<VerifiedPayment> judge_x402(const Asked& asked, const PaymentWords& words) {
  using core::x402::Verdict;
  const int version = version_of(words.header);
  const PaymentProtocol protocol = version == 1 ? PaymentProtocol::x402_v1 : PaymentProtocol::x402_v2;
  const payments::X402Reading reading = read_x402(words);
  if (reading.verdict == Verdict::malformed)
    return malformed(core::x402::wire_code(reading.verdict, version), reading.pointer);
  if (reading.verdict != Verdict::ok) return refused(reading.verdict, version);
  const auto at = core::x402::find_requirement(reading.payment, asked.offered);
  if (!at) return refused(version == 1 ? Verdict::network : Verdict::requirements, version);
  const Requirement& requirement = asked.offered[*at];

  if (core::find_solana_asset(requirement.network) != nullptr) {
    // Kept terms have an address there.
    const core::solana::Address ours =
        core::solana::read_address(asked.terms.networks[*at].fee_payer).value_or(core::solana::Address{});
    const payments::ExactSolana judged =
        payments::verify_exact_solana(reading.payment, requirement, {}, {&ours, 1});
    if (!judged.good()) {
      const std::string code = judged.wire_code(version);
      return refused(code, code);
    }
    const core::solana::ExactPayment& paid = judged.reading.payment;
    core::solana::ExactTerms terms;
    terms.mint = core::solana::read_address(requirement.asset).value_or(core::solana::Address{});
    terms.pay_to = core::solana::read_address(requirement.pay_to).value_or(core::solana::Address{});
    CALYX_TRY(const Money credit, worth(core::Uint256(paid.amount), requirement.network));
    return verified(core::identity_of(paid, terms, requirement.network), protocol, credit, words.text);
  }
  const auto judged_by = [&](const crypto::EvmSignatures& signatures) {
    return core::x402::verify_exact_evm(reading.payment, requirement, {}, asked.now, signatures);
  };
  Verdict verdict = judged_by({});
  // What the payer's key did not sign a contract may have.
  if (verdict == Verdict::signature && asked.judges_contracts) {
    verdict = judged_by({reading.payment.payer});
    if (verdict == Verdict::ok) verdict = Verdict::needs_backend;
  }
  // A contract's signature is the chain's to judge, and most backends are promised one that was judged.
  if (verdict == Verdict::needs_backend && !asked.judges_contracts)
    return refused("unexpected_verify_error", "a contract's signature cannot be judged here");
  if (verdict != Verdict::ok && verdict != Verdict::needs_backend) return refused(verdict, version);
  CALYX_TRY(const Money credit, worth(reading.payment.value, requirement.network));
  return verified(core::identity_of(reading.payment, requirement), protocol, credit, words.text);
}

// ── MPP ──

/// The member of a challenge's `opaque` that names what it is of.
constexpr const char* member_of(const engine::AskedFor& what) noexcept {
  return what.of_call ? "call" : "quote";
}

/// The challenge for `charge`, without its id. One challenge is of one quote or call: `opaque` says which.
core::mpp::Challenge challenge_for(const Asked& asked, const json::Value& charge, bool other_header) {
  core::mpp::Challenge out;
  out.realm = asked.terms.realm;
  out.method = std::string(mpp_method);
  out.intent = std::string(mpp_intent);
  out.request = core::mpp::json_text(charge);
  out.expires = core::iso_text(asked.what.expires_at);
  out.opaque = core::mpp::json_text(json::object({{member_of(asked.what), asked.what.name}}));
  if (other_header) out.header = std::string(core::mpp::other_header);
  return out;
}

struct Charge {
  const Requirement* requirement;
  json::Value request;
};
/// What MPP asks for, one charge a network that takes it.
std::vector<Charge> charges_of(const Asked& asked) {
  std::vector<Charge> out;
  if (asked.secret.empty()) return out;
  for (const Requirement& requirement : asked.offered)
    if (auto charge = core::evm_charge_of(requirement)) out.push_back({&requirement, *std::move(charge)});
  return out;
}

Result<VerifiedPayment> judge_mpp(const Asked& asked, const PaymentWords& words) {
  const core::mpp::CredentialReading reading = mpp::read_authorization(words.text);
  if (reading.problem != core::mpp::Problem::none)
    return refused({reading.problem, "the header holds no credential", false});
  const core::mpp::Challenge& echoed = reading.credential.challenge;
  const bool other_header = words.header == PaymentHeader::payment_authorization;
  const std::string_view secrets[] = {asked.secret};
  const std::vector<Charge> charges = charges_of(asked);
  for (const auto& [requirement, charge] : charges) {
    core::mpp::Challenge mine = challenge_for(asked, charge, other_header);
    // Of a call's challenge nothing was kept: that it was issued here, for a call, has to do.
    if (asked.what.of_call && !engine::name_in(echoed, "call").empty()) mine.opaque = echoed.opaque;
    // Among several networks the one that is answered is meant; what fits none is judged beside the last.
    if (mine.request != echoed.request && requirement != charges.back().requirement) continue;
    const core::mpp::Verdict bound = mpp::judge_challenge(
        secrets, echoed, mine, other_header ? core::mpp::other_header : core::mpp::usual_header, asked.now);
    if (!bound.good()) return refused(bound);
    core::mpp::EvmVerdict judged = mpp::judge_evm(reading.credential, asked.now);
    // The signature is judged last: what is good but for that a contract may have signed.
    if (!judged.verdict.good() && !judged.verdict.needs_backend && asked.judges_contracts) {
      const auto by_contract =
          mpp::judge_evm(reading.credential, asked.now, {judged.authorization.transfer.from});
      judged.verdict.needs_backend = by_contract.verdict.good();
    }
    if (judged.verdict.needs_backend && !asked.judges_contracts)
      return refused(
          {core::mpp::Problem::verification_failed, "a contract's signature cannot be judged here", false});
    if (!judged.verdict.good() && !judged.verdict.needs_backend) return refused(judged.verdict);
    const auto read = core::mpp::read_evm_charge(charge);
    CALYX_TRY(const Money credit, worth(judged.authorization.transfer.value, requirement->network));
    return verified(core::identity_of(judged.authorization, *read), PaymentProtocol::mpp, credit, words.text);
  }
  return refused({core::mpp::Problem::method_unsupported, "nothing is asked for by MPP here", false});
}

}  // namespace

Result<Asked> engine::asked_of(Market& market, AskedFor what, std::string_view resource,
                               std::string_view network) {
  Asked out;
  out.what = std::move(what);
  CALYX_CHECK(market.read([&](const Book& book, Instant now) -> Result<Done> {
    out.terms = book.payment_terms;
    out.now = now;
    return Done{};
  }));
  if (out.terms.networks.empty())
    return fail(Reason::unsupported, "no network is set on which payments are taken: an operator says where");
  const std::shared_ptr<SettlementBackend> backend = market.settlement();
  if (backend == nullptr) return fail(Reason::unsupported, "nobody settles payments: the host says who does");
  out.judges_contracts = backend->judges_contracts();
  if (!network.empty()) {
    const std::string_view wanted = core::caip2_of(network);
    std::erase_if(out.terms.networks, [&](const PaymentNetwork& one) { return one.network != wanted; });
    if (out.terms.networks.empty())
      return fail(Reason::unsupported, "no payments are taken on this network",
                  json::object({{"network", network}}));
  }
  // Nobody is asked for what cannot be judged here.
  std::erase_if(out.terms.networks, [](const PaymentNetwork& one) {
    return core::find_evm_asset(one.network) != nullptr && !crypto::secp256k1_built();
  });
  if (out.terms.networks.empty())
    return fail(Reason::not_built,
                "this build checks no signature of an EVM chain: libsecp256k1 was not there");
  // What is signed for a call that nobody keeps cannot repeat its name.
  const std::string_view memo = out.what.of_call ? std::string_view() : out.what.name;
  out.offered = core::requirements_of(
      out.terms, {.amount = out.what.amount, .memo = memo, .resource = resource, .description = description});
  for (const Requirement& requirement : out.offered)
    CALYX_CHECK(worth(requirement.amount, requirement.network));
  const crypto::SecretBytes& key = *market.seams().hash_key;
  if (!out.terms.realm.empty() && !key.empty()) {
    const core::Digest secret =
        crypto::hmac_sha256(core::chars(key.bytes()), {"calyx MPP challenge secret 1\n"});
    out.secret = std::string(secret.view());
  }
  return out;
}

Result<VerifiedPayment> engine::judge(const Asked& asked, const PaymentWords& words) {
  return is_mpp(words.header) ? judge_mpp(asked, words) : judge_x402(asked, words);
}

Error engine::refused(const core::mpp::Verdict& verdict) {
  return calyx::refused(core::mpp::type_end(verdict.problem), verdict.detail);
}

std::string engine::name_in(const core::mpp::Challenge& challenge, const char* member) {
  const auto opaque = core::unbase64url(challenge.opaque);
  const Result<json::Value> map = read_json(opaque.value_or(std::string()));
  const json::Value* const name = map.ok() ? map->find(member) : nullptr;
  return name == nullptr || name->string() == nullptr ? std::string() : *name->string();
}

Result<PaymentChallenge> engine::challenge_of(const Asked& asked, const PaymentAsk& ask) {
  PaymentChallenge out;
  std::string first_id;
  const std::string_view secrets[] = {asked.secret};
  for (const auto& [requirement, charge] : charges_of(asked)) {
    core::mpp::Challenge challenge = challenge_for(asked, charge, ask.key_in_authorization);
    challenge.description = std::string(description);
    CALYX_TRY(challenge, mpp::issue(secrets, std::move(challenge)));
    out.www_authenticate.push_back(core::mpp::www_authenticate(challenge));
    if (first_id.empty()) first_id = challenge.id;
  }
  const auto error_or = [&](std::string_view otherwise) { return ask.error.empty() ? otherwise : ask.error; };
  CALYX_TRY(json::Value extensions, read_json(offered_extensions));
  out.payment_required =
      payments::x402_payment_required({.error = error_or("PAYMENT-SIGNATURE header is required"),
                                       .offered = asked.offered,
                                       .extensions = std::move(extensions)});
  core::mpp::Problem problem = core::mpp::Problem::payment_required;
  for (std::size_t i = 0; i < core::mpp::problems; ++i)
    if (const auto one = static_cast<core::mpp::Problem>(i);
        !ask.error.empty() && core::mpp::type_end(one) == ask.error)
      problem = one;
  json::Object body = core::mpp::problem_document(
      problem, ask.detail.empty() ? "Payment is required." : ask.detail, first_id);
  body.set("status", 402);
  const json::Value v1 = payments::x402_v1_challenge(error_or("X-PAYMENT header is required"), asked.offered);
  for (const json::Member& member : *v1.object()) body.set(member.key, member.value);
  out.body = std::move(body);
  return out;
}

std::string engine::response_to(const Payment& payment, const PaymentWords& words) {
  if (!is_terminal(payment.status)) return {};
  const bool paid = payment.status == PaymentStatus::paid;
  if (!is_mpp(words.header)) {
    const payments::X402Reading reading = read_x402(words);
    // Version 1's client knows a closed list of reasons, and refuses a header with another one.
    std::string_view error = payment.error;
    if (words.header == PaymentHeader::x_payment && error != "insufficient_funds")
      error = "unexpected_settle_error";
    return payments::x402_payment_response({.error = paid ? std::string_view() : error,
                                            .transaction = payment.transaction,
                                            .network = reading.payment.network,
                                            .payer = payment.facts.payer},
                                           version_of(words.header));
  }
  if (!paid) return {};
  return core::mpp::payment_receipt({.method = std::string(mpp_method),
                                     .reference = payment.transaction,
                                     .settled_at = payment.ended_at.value_or(payment.created_at),
                                     .external_id = payment.quote.text()});
}

bool engine::same_words(const Payment& payment, const PaymentWords& words) {
  const bool same_protocol =
      is_mpp(words.header)
          ? payment.facts.protocol == PaymentProtocol::mpp
          : payment.facts.protocol ==
                (version_of(words.header) == 1 ? PaymentProtocol::x402_v1 : PaymentProtocol::x402_v2);
  return same_protocol && !words.text.empty() && payment.facts.payload == words.text;
}

namespace {

/// Whether `signature` is a contract's: longer than a key's, or none of the key of `payer` over what
/// `digest_of` makes of the token's domain.
template <class DigestOf>
bool by_contract(const VerifiedPayment& payment, const core::EvmAddress& payer, std::string_view signature,
                 const DigestOf& digest_of) {
  if (signature.size() > core::evm_signature_bytes) return true;
  const core::EvmAsset* const asset = core::find_evm_asset(payment.network);
  const auto contract = asset == nullptr ? std::nullopt : core::read_evm_address(asset->contract);
  if (!contract || payment.asset != core::lower_text(*contract)) return false;
  const core::Digest digest = digest_of({asset->name, asset->version, asset->chain_id, *contract});
  const Result<core::EvmAddress> signer = crypto::EvmSignatures{}(digest, signature);
  return signer.reason() != Reason::not_built && !(signer.ok() && *signer == payer) &&
         crypto::EvmSignatures{payer}(digest, signature).ok();
}

}  // namespace

bool engine::signed_by_contract(const VerifiedPayment& payment) {
  if (payment.protocol == PaymentProtocol::mpp) {
    const core::mpp::CredentialReading reading = mpp::read_authorization(payment.payload);
    const auto read = core::mpp::read_evm_authorization(reading.credential.payload);
    return read && by_contract(payment, read->transfer.from, read->signature, [&](const core::EvmDomain& of) {
             return core::transfer_digest(of, read->transfer);
           });
  }
  const payments::X402Reading reading =
      read_x402({.header = payment.protocol == PaymentProtocol::x402_v1 ? PaymentHeader::x_payment
                                                                        : PaymentHeader::payment_signature,
                 .text = payment.payload});
  const core::x402::Payment& read = reading.payment;
  return reading.verdict == core::x402::Verdict::ok && read.transfer != core::x402::Transfer::solana &&
         by_contract(payment, read.payer, read.signature,
                     [&](const core::EvmDomain& of) { return core::x402::signed_digest(read, of); });
}

std::string engine::identifier_of(const PaymentWords& words) {
  if (words.header != PaymentHeader::payment_signature) return {};
  const payments::X402Reading reading = read_x402(words);
  const std::string& id = reading.payment.identifier;
  if (reading.verdict != core::x402::Verdict::ok || id.empty()) return {};
  if (reading.payment.transfer != core::x402::Transfer::solana)
    return core::lower_text(reading.payment.payer) + " " + id;
  // Its transaction alone says who pays; whether it pays well is judged elsewhere.
  const core::solana::Address any{};
  return core::base58(core::chars(
             payments::judge_exact_solana(reading.payment.transaction, {}, {&any, 1}).payment.payer)) +
         " " + id;
}

}  // namespace calyx
