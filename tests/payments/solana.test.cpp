#include "payments/solana.hpp"

#include <doctest/doctest.h>

#include <calyx/core/encoding.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/payment_identity.hpp>
#include <string>

#include "payments/x402.hpp"
#include "payments_for_tests.hpp"

using namespace calyx;
using core::identity_of;
using core::json::Value;
using core::x402::Requirement;
using core::x402::Verdict;
using payments::for_tests::at;
using payments::for_tests::requirement_of;
using payments::for_tests::text_of;
using payments::for_tests::vectors;

namespace {

const core::solana::Address ours[] = {
    *core::solana::read_address("Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr")};

core::x402::Payment read(const Value& document) {
  const payments::X402Reading reading = payments::read_x402_payment(core::base64(core::json::text(document)),
                                                                    payments::X402Header::payment_signature);
  REQUIRE(word(reading.verdict) == "ok");
  return reading.payment;
}

}  // namespace

TEST_CASE("a payment on Solana is judged from its header") {
  int good = 0;
  for (const Value& row : vectors("x402_exact_svm.json")) {
    CAPTURE(text_of(row, "name"));
    const Value& document = at(row, "payload");
    const Requirement requirement = requirement_of(at(row, "payment_requirements"));
    const bool valid = *at(at(row, "reference_result"), "isValid").boolean();
    const payments::ExactSolana verdict =
        payments::verify_exact_solana(read(document), requirement, {}, ours);
    CHECK(verdict.good() == valid);
    CHECK(verdict.wire_code(2) == (valid ? "" : text_of(at(row, "reference_result"), "invalidReason")));
    CHECK(verdict.wire_code(1).empty() == valid);
    if (!valid) continue;
    ++good;

    // What stands around the transaction.
    const auto envelope = [&](const core::x402::Payment& payment, const Requirement& asked,
                              const Value& extensions = {}) {
      const payments::ExactSolana of = payments::verify_exact_solana(payment, asked, extensions, ours);
      CHECK_FALSE(of.good());
      CHECK(of.wire_code(2) == std::string(wire_code(of.envelope, 2)));
      return of.envelope;
    };
    const core::x402::Payment payment = read(document);
    core::x402::Payment other = payment;
    other.accepted.object()->erase("amount");
    CHECK(envelope(other, requirement) == Verdict::requirements);
    CHECK(envelope(payment, requirement, core::json::object({{"x", 1}})) == Verdict::extensions);
    other = payment;
    other.version = 3;
    CHECK(envelope(other, requirement) == Verdict::version);
    other = payment;
    other.transfer = core::x402::Transfer::eip3009;
    CHECK(envelope(other, requirement) == Verdict::transfer_method);

    // A host that asks for what nobody can pay; the client echoes it.
    const auto asking = [&](auto change) {
      Requirement asked = requirement;
      change(asked);
      core::x402::Payment echo = payment;
      echo.accepted = core::x402::v2_value(asked);
      echo.network = asked.network;
      return envelope(echo, asked);
    };
    CHECK(asking([](Requirement& of) { of.asset = "sol"; }) == Verdict::domain);
    CHECK(asking([](Requirement& of) { of.pay_to += "1"; }) == Verdict::domain);
    CHECK(asking([](Requirement& of) { of.amount = *core::read_uint256("18446744073709551616"); }) ==
          Verdict::domain);
    CHECK(asking([](Requirement& of) { of.extra.object()->erase("feePayer"); }) == Verdict::domain);
    CHECK(asking([](Requirement& of) { of.extra.object()->set("memo", 1); }) == Verdict::domain);
    CHECK(asking([](Requirement& of) {
            of.extra.object()->set("memo", std::string(payments::solana_memo_bytes_max + 1, 'm'));
          }) == Verdict::domain);
    CHECK(asking([](Requirement& of) { of.network = "eip155:8453"; }) == Verdict::network);
  }
  CHECK(good > 0);
}

TEST_CASE("a payment has one identity, whatever brought it") {
  const core::EvmAsset& usdc = core::evm_assets[0];
  const core::EvmAddress payer{{1}}, recipient{{2}}, contract = *core::read_evm_address(usdc.contract);
  const Requirement requirement = core::x402::exact_evm_requirement(usdc, core::Uint256(50), recipient);
  core::x402::Payment v2{
      .version = 2, .network = std::string(usdc.caip2), .payer = payer, .pay_to = recipient};
  v2.value = core::Uint256(50);
  v2.valid_before = core::Uint256(1'800'000'000);
  v2.nonce = {7};
  core::x402::Payment v1 = v2;
  v1.version = 1;
  v1.network = usdc.network;
  const core::PaymentIdentity identity = identity_of(v2, requirement);
  CHECK(identity.network == "eip155:8453");
  CHECK(identity.asset == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913");
  CHECK(identity.payer == "0x01" + std::string(38, '0'));
  CHECK(identity.pay_to == "0x02" + std::string(38, '0'));
  CHECK(identity.nonce == "0x07" + std::string(62, '0'));
  CHECK(identity.amount == "50");
  CHECK(identity.valid_before == Instant{1'800'000'000'000'000});
  CHECK(identity == identity_of(v1, requirement));
  const core::mpp::EvmAuthorization given{
      {payer, recipient, v2.value, v2.valid_after, v2.valid_before, v2.nonce}, ""};
  CHECK(identity ==
        identity_of(given, core::mpp::EvmCharge{v2.value, contract, recipient, usdc.chain_id, true}));
  // Two contracts, two counts of nonces.
  core::x402::Payment permit2 = v2;
  permit2.transfer = core::x402::Transfer::permit2;
  CHECK(identity_of(permit2, requirement).nonce == "permit2:" + identity.nonce);
  // A time beyond all that calyx writes.
  v2.valid_before = *core::read_uint256(std::string(70, '9'));
  CHECK(identity_of(v2, requirement).valid_before == core::instant_max);

  const core::solana::ExactPayment moved{.payer = {3}, .amount = 9, .message_hash = {{4}}};
  const core::solana::ExactTerms terms{.mint = {5}, .pay_to = {6}};
  const core::PaymentIdentity on_solana = identity_of(moved, terms, "solana:x");
  CHECK(core::solana::read_address(on_solana.asset) == terms.mint);
  CHECK(core::solana::read_address(on_solana.payer) == moved.payer);
  CHECK(core::solana::read_address(on_solana.pay_to) == terms.pay_to);
  CHECK(on_solana.nonce == "04" + std::string(62, '0'));
  CHECK(on_solana.amount == "9");
}
