// x402's payment headers, versions 1 and 2, and the verdict on what they say.
//
// An input is a header's text, or the JSON that one would spell in base 64: no base 64 begins with a brace.
#include "payments/x402.hpp"

#include <calyx/core/payment_identity.hpp>
#include <calyx/core/receipt.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/secp256k1.hpp"
#include "fuzz.hpp"
#include "json/reader.hpp"
#include "payments/solana.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

using core::Uint256;
using core::x402::Payment;
using core::x402::Requirement;
using core::x402::Transfer;
using payments::X402Header;
using payments::X402Reading;
using PaymentVerdict = core::x402::Verdict;
namespace js = core::json;

/// When payments are judged: the time of the vectors.
constexpr Instant judged_at{1'767'225'600 * core::us_per_second};

Instant at_second(std::uint64_t seconds) {
  return {static_cast<std::int64_t>(seconds) * core::us_per_second};
}

bool same_payment(const Payment& one, const Payment& other) {
  return one.version == other.version && one.scheme == other.scheme && one.network == other.network &&
         one.transfer == other.transfer && one.payer == other.payer && one.pay_to == other.pay_to &&
         one.value == other.value && one.valid_after == other.valid_after &&
         one.valid_before == other.valid_before && one.nonce == other.nonce &&
         one.signature == other.signature && one.asset == other.asset && one.spender == other.spender &&
         one.transaction == other.transaction && one.accepted == other.accepted &&
         one.resource == other.resource && one.extensions == other.extensions &&
         one.identifier == other.identifier;
}

bool same_reading(const X402Reading& one, const X402Reading& other) {
  return one.verdict == other.verdict && one.pointer == other.pointer &&
         same_payment(one.payment, other.payment);
}

std::string hex_text(std::string_view bytes) { return "0x" + core::hex(bytes); }

/// The JSON of a payment, from what was read of it.
std::string json_of(const Payment& payment) {
  js::Object payload;
  const std::string from = core::checksummed_text(payment.payer);
  const std::string to = core::lower_text(payment.pay_to);
  switch (payment.transfer) {
    case Transfer::eip3009:
      payload.set("authorization", js::object({{"from", from},
                                               {"to", to},
                                               {"value", core::text(payment.value)},
                                               {"validAfter", core::text(payment.valid_after)},
                                               {"validBefore", core::text(payment.valid_before)},
                                               {"nonce", hex_text(core::chars(payment.nonce))}}));
      break;
    case Transfer::permit2:
      payload.set("permit2Authorization",
                  js::object({{"from", from},
                              {"permitted", js::object({{"token", core::lower_text(*payment.asset)},
                                                        {"amount", core::text(payment.value)}})},
                              {"spender", core::lower_text(payment.spender)},
                              {"nonce", core::text(core::uint256_of(payment.nonce))},
                              {"deadline", core::text(payment.valid_before)},
                              {"witness",
                               js::object({{"to", to}, {"validAfter", core::text(payment.valid_after)}})}}));
      break;
    case Transfer::solana: payload.set("transaction", payment.transaction); break;
  }
  if (payment.transfer != Transfer::solana) payload.set("signature", hex_text(payment.signature));
  js::Object out;
  out.set("x402Version", payment.version);
  if (payment.version == 1) out.set("scheme", payment.scheme).set("network", payment.network);
  if (payment.version == 2) out.set("accepted", payment.accepted);
  if (!payment.resource.is_null()) out.set("resource", payment.resource);
  if (!payment.extensions.is_null()) out.set("extensions", payment.extensions);
  out.set("payload", std::move(payload));
  return js::text(out);
}

/// The words of the document are those that the payment was read from.
void check_words(const js::Value& document, const Payment& payment) {
  using core::detail::text_at;
  const js::Value& payload = *document.find("payload");
  int messages = 0;
  for (const char* const message : {"authorization", "permit2Authorization", "transaction"})
    messages += payload.find(message) != nullptr ? 1 : 0;
  demand(messages == 1, "a payment is one message");
  const auto is_number = [](const js::Value& in, std::string_view name, const Uint256& number) {
    demand(text_at(in, name) == core::text(number), "an amount that is read is canonical");
  };
  const auto is_address = [](const js::Value& in, std::string_view name, const core::EvmAddress& address) {
    demand(small_letters(text_at(in, name)) == core::lower_text(address),
           "an address is the one that stands there");
  };
  if (payment.transfer == Transfer::eip3009) {
    const js::Value& in = *payload.find("authorization");
    is_address(in, "from", payment.payer);
    is_address(in, "to", payment.pay_to);
    is_number(in, "value", payment.value);
    is_number(in, "validAfter", payment.valid_after);
    is_number(in, "validBefore", payment.valid_before);
  } else if (payment.transfer == Transfer::permit2) {
    const js::Value& in = *payload.find("permit2Authorization");
    is_address(in, "from", payment.payer);
    is_address(*in.find("permitted"), "token", *payment.asset);
    is_number(*in.find("permitted"), "amount", payment.value);
    is_number(in, "deadline", payment.valid_before);
    is_address(*in.find("witness"), "to", payment.pay_to);
  }
}

/// What the payment says it is for, as if it had been asked for.
Requirement requirement_for(const Payment& payment) {
  using core::detail::text_at;
  Requirement out;
  const core::EvmAsset* const asset = core::find_evm_asset(payment.network);
  if (payment.version == 1) {
    out.network = payment.network;
    out.amount = payment.value;
    if (asset != nullptr) out = core::x402::exact_evm_requirement(*asset, payment.value, payment.pay_to);
    return out;
  }
  out.network = payment.network;
  out.amount = core::read_uint256(text_at(payment.accepted, "amount")).value_or(Uint256());
  out.asset = text_at(payment.accepted, "asset");
  out.pay_to = text_at(payment.accepted, "payTo");
  const js::Value* const seconds = payment.accepted.find("maxTimeoutSeconds");
  if (seconds != nullptr && seconds->integer() != nullptr)
    out.max_timeout_seconds = static_cast<std::uint32_t>(*seconds->integer());
  if (const js::Value* const extra = payment.accepted.find("extra")) out.extra = *extra;
  return out;
}

/// What EIP-712 has a wallet sign, spelled word by word and hashed from one text.
core::Digest digest_to_sign(const Payment& payment, const Requirement& requirement) {
  const auto hashed = [](std::string_view text) { return std::string(core::keccak256(text).view()); };
  const auto number = [](const Uint256& value) { return std::string(core::chars(core::word_of(value))); };
  const auto address = [](const core::EvmAddress& value) {
    return std::string(12, '\0') + std::string(core::chars(value.bytes));
  };
  const Uint256 chain(core::read_evm_chain(requirement.network).value_or(0));
  std::string domain;
  std::string message;
  if (payment.transfer == Transfer::permit2) {
    const std::string token = "TokenPermissions(address token,uint256 amount)";
    const std::string witness = "Witness(address to,uint256 validAfter)";
    domain = hashed("EIP712Domain(string name,uint256 chainId,address verifyingContract)") +
             hashed("Permit2") + number(chain) +
             address(*core::read_evm_address("0x000000000022D473030F116dDEE9F6B43aC78BA3"));
    message = hashed(
                  "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,"
                  "uint256 deadline,Witness witness)" +
                  token + witness) +
              hashed(hashed(token) + address(*payment.asset) + number(payment.value)) +
              address(payment.spender) + std::string(core::chars(payment.nonce)) +
              number(payment.valid_before) +
              hashed(hashed(witness) + address(payment.pay_to) + number(payment.valid_after));
  } else {
    domain = hashed("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)") +
             hashed(core::detail::text_at(requirement.extra, "name")) +
             hashed(core::detail::text_at(requirement.extra, "version")) + number(chain) +
             address(core::read_evm_address(requirement.asset).value_or(core::EvmAddress()));
    message = hashed(
                  "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
                  "uint256 validBefore,bytes32 nonce)") +
              address(payment.payer) + address(payment.pay_to) + number(payment.value) +
              number(payment.valid_after) + number(payment.valid_before) +
              std::string(core::chars(payment.nonce));
  }
  return core::keccak256("\x19\x01" + hashed(domain) + hashed(message));
}

PaymentVerdict judged(const Payment& payment, const Requirement& requirement, Instant now) {
  const PaymentVerdict verdict =
      core::x402::verify_exact_evm(payment, requirement, {}, now, crypto::EvmSignatures{});
  demand(verdict == core::x402::verify_exact_evm(payment, requirement, {}, now, crypto::EvmSignatures{}),
         "a payment is judged alike each time");
  return verdict;
}

/// What holds of a payment that was found good at `now`.
void good_payment(const Payment& payment, const Requirement& requirement, Instant now) {
  demand(evm_form_is_good(payment.signature), "a good signature is one that a token takes");
  const Result<core::EvmAddress> signer =
      crypto::recover_evm_address(digest_to_sign(payment, requirement), payment.signature);
  demand(signer.ok() && *signer == payment.payer, "a good signature is the payer's over what is paid");
  demand(core::read_evm_address(requirement.pay_to) == payment.pay_to, "the recipient is the one who asked");
  const Uint256 seconds(static_cast<std::uint64_t>(now.us / core::us_per_second));
  demand(payment.valid_after <= seconds && seconds < payment.valid_before, "the payment is of this time");
  demand(payment.version == 1 ? payment.value >= requirement.amount : payment.value == requirement.amount,
         "the amount is what was asked for");
  const core::PaymentIdentity identity = core::identity_of(payment, requirement);
  demand(core::read_uint256(identity.amount) == payment.value &&
             identity.payer == core::lower_text(payment.payer) &&
             identity.pay_to == core::lower_text(payment.pay_to) &&
             identity.nonce.ends_with("0x" + core::hex(core::chars(payment.nonce))),
         "an identity says what is paid, to whom and by which nonce");

  // One thing asked for otherwise, and what is said of that. Version 2's client accepted it so.
  const auto asked_otherwise = [&](const Requirement& other) {
    Payment answer = payment;
    if (payment.version == 2) answer.accepted = core::x402::v2_value(other);
    return judged(answer, other, now);
  };
  Requirement other = requirement;
  const auto more = core::times_plus(payment.value, 1, 1);
  other.amount = more.value_or(Uint256());
  if (more) demand(asked_otherwise(other) == PaymentVerdict::amount, "less than was asked for is not enough");
  other = requirement;
  other.pay_to = core::lower_text(core::x402_permit2_proxy);
  if (core::x402_permit2_proxy != payment.pay_to)
    demand(asked_otherwise(other) == PaymentVerdict::recipient, "another recipient is not paid");
  other = requirement;
  other.asset = core::lower_text(core::x402_permit2_proxy);
  const PaymentVerdict of_other_asset = asked_otherwise(other);
  if (core::read_evm_address(requirement.asset) != core::x402_permit2_proxy)
    demand(of_other_asset == PaymentVerdict::signature || of_other_asset == PaymentVerdict::token,
           "another token is not paid in");
  other = requirement;
  other.network = requirement.network == "eip155:8453" ? "eip155:84532" : "eip155:8453";
  demand(asked_otherwise(other) == PaymentVerdict::network, "a payment is on one chain");
  for (std::string& signature : spoilt_evm_signatures(evm_wallet(), payment.signature)) {
    Payment spoilt = payment;
    spoilt.signature = std::move(signature);
    demand(judged(spoilt, requirement, now) == PaymentVerdict::signature,
           "a signature that was changed is refused");
  }
}

/// The same payment as one of our own wallet, whose signature is good.
void signed_by_us(Payment payment, const Requirement& requirement) {
  payment.payer = evm_wallet().address();
  payment.signature = evm_wallet().sign(digest_to_sign(payment, requirement));
  const PaymentVerdict verdict = judged(payment, requirement, judged_at);
  demand(verdict != PaymentVerdict::signature, "the payer's own signature is found good");
  if (verdict == PaymentVerdict::ok) good_payment(payment, requirement, judged_at);
  if (verdict < PaymentVerdict::signature && verdict != PaymentVerdict::ok) return;
  // Its time is over with the sixth second before the end.
  const auto end = payment.valid_before.small();
  if (!end || *end < core::x402::seconds_left_min || *end > 1'000'000'000'000) return;
  const PaymentVerdict last = judged(payment, requirement, at_second(*end - core::x402::seconds_left_min));
  demand(last != PaymentVerdict::expired, "a payment is good to its end");
  if (last == PaymentVerdict::ok)
    good_payment(payment, requirement, at_second(*end - core::x402::seconds_left_min));
  const PaymentVerdict late =
      judged(payment, requirement, at_second(*end - core::x402::seconds_left_min + 1));
  demand(late != PaymentVerdict::ok, "a payment that cannot be settled in time is refused");
}

void payment_header(const std::string& text, X402Header header) {
  const X402Reading reading = payments::read_x402_payment(text, header);
  demand(same_reading(reading, payments::read_x402_payment(std::string(text), header)),
         "a header is read alike each time");
  const PaymentVerdict verdict = reading.verdict;
  demand(verdict == PaymentVerdict::ok || verdict == PaymentVerdict::malformed ||
             verdict == PaymentVerdict::version || verdict == PaymentVerdict::scheme,
         "reading says no more than it knows");
  demand(reading.pointer.empty() || reading.pointer.front() == '/', "a fault stands at a pointer");
  if (verdict != PaymentVerdict::ok) {
    demand(!core::x402::wire_code(verdict, 1).empty() && !core::x402::wire_code(verdict, 2).empty(),
           "what is refused has a code");
    return;
  }
  const Payment& payment = reading.payment;
  demand(text.size() <= payments::x402_header_bytes_max, "a header keeps its limit");
  demand(payment.version == (header == X402Header::x_payment ? 1 : 2), "each header has its version");
  demand(payment.scheme == core::x402::scheme_exact, "the scheme is the one that is known");
  demand(
      payment.identifier.empty() || (payment.version == 2 && core::x402::is_identifier(payment.identifier)),
      "a payment's id is one");
  const auto bytes = core::unbase64(text);
  demand(bytes && core::base64(*bytes) == text, "a header has one spelling");
  const Result<js::Value> document = read_json(*bytes);
  demand(document.ok(), "a header holds JSON");
  check_words(*document, payment);
  const std::string spelled = core::base64(json_of(payment));
  if (spelled.size() <= payments::x402_header_bytes_max) {
    const X402Reading again = payments::read_x402_payment(spelled, header);
    demand(again.verdict == PaymentVerdict::ok && same_payment(again.payment, payment),
           "a payment that is spelled is read as the same");
  }

  const Requirement requirement = requirement_for(payment);
  const auto found = core::x402::find_requirement(payment, {requirement});
  if (payment.version == 2)
    demand(found.has_value() == (payment.accepted == core::x402::v2_value(requirement)),
           "version 2 accepts all of what was asked for");
  if (payment.transfer == Transfer::solana) {
    const auto fee_payer = core::solana::read_address(
        requirement.extra.is_null() ? std::string_view()
                                    : core::detail::text_at(requirement.extra, "feePayer"));
    const core::solana::Address ours = fee_payer.value_or(core::solana::Address{});
    const payments::ExactSolana one = payments::verify_exact_solana(payment, requirement, {}, {&ours, 1});
    const payments::ExactSolana other = payments::verify_exact_solana(payment, requirement, {}, {&ours, 1});
    demand(one.envelope == other.envelope && one.reading.verdict == other.reading.verdict,
           "a transaction is judged alike each time");
    demand(one.good() == one.wire_code(payment.version).empty(), "what is refused has a code");
    return;
  }
  if (!evm_signs) return;
  if (judged(payment, requirement, judged_at) == PaymentVerdict::ok)
    good_payment(payment, requirement, judged_at);
  signed_by_us(payment, requirement);
}

}  // namespace

void target::x402(std::string_view input) {
  const std::string text = input.starts_with('{') ? core::base64(input) : std::string(input);
  payment_header(text, X402Header::x_payment);
  payment_header(text, X402Header::payment_signature);
}

}  // namespace calyx::fuzz
