#include "payments/x402.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/evm_wallet_for_tests.hpp"
#include "crypto/secp256k1.hpp"
#include "json/reader.hpp"
#include "payments_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::payments;
using namespace calyx::payments::for_tests;
using core::Uint256;
using core::json::Value;
using core::x402::Payment;
using core::x402::Requirement;
using core::x402::Transfer;
using core::x402::Verdict;
using core::x402::word;

namespace {

bool built(const char* test) {
  if (crypto::secp256k1_built()) return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

X402Reading read_v1(const std::string& text) { return read_x402_payment(text, X402Header::x_payment); }
X402Reading read_v2(const std::string& text) {
  return read_x402_payment(text, X402Header::payment_signature);
}

Verdict verify(const Payment& payment, const Requirement& requirement, Instant now,
               const Value& extensions = {}) {
  return core::x402::verify_exact_evm(payment, requirement, extensions, now, crypto::EvmSignatures{});
}

/// The class that the vectors have for a verdict.
std::string class_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
    case Verdict::signature:
    case Verdict::recipient:
    case Verdict::amount:
    case Verdict::expired:
    case Verdict::not_yet_valid:
    case Verdict::malformed: return std::string(word(verdict));
    default: return "other: " + std::string(word(verdict));
  }
}

}  // namespace

TEST_CASE("payments of version 1 that its real client signed are read and verify") {
  if (!built("payments.x402.v1")) return;
  std::size_t seen = 0;
  for (const Value& row : vectors("x402_v1_exact_evm.json")) {
    CAPTURE(text_of(row, "name"));
    const Instant now = seconds_at(row, "now");
    const Value& challenge = at(row, "challenge_body");
    const Requirement requirement = requirement_of((*at(challenge, "accepts").array())[0]);
    const X402Reading reading = read_v1(text_of(row, "x_payment_header"));
    REQUIRE(word(reading.verdict) == "ok");
    const Payment& payment = reading.payment;
    CHECK(payment.version == 1);
    CHECK(payment.transfer == Transfer::eip3009);
    CHECK(payment.network == text_of(at(row, "payload"), "network"));
    CHECK_FALSE(payment.asset.has_value());
    const Value& said = at(at(at(row, "payload"), "payload"), "authorization");
    CHECK(core::checksummed_text(payment.payer) == text_of(said, "from"));
    CHECK(core::checksummed_text(payment.pay_to) == text_of(said, "to"));
    CHECK(core::text(payment.value) == text_of(said, "value"));
    CHECK(core::text(payment.valid_after) == text_of(said, "validAfter"));
    CHECK(core::text(payment.valid_before) == text_of(said, "validBefore"));
    CHECK("0x" + core::hex(core::chars(payment.nonce)) == text_of(said, "nonce"));
    CHECK("0x" + core::hex(payment.signature) == text_of(row, "signature"));
    CHECK(core::checksummed_text(payment.payer) == text_of(row, "recovered_address"));
    CHECK(word(verify(payment, requirement, now)) == "ok");
    CHECK(core::x402::find_requirement(payment, {Requirement{}, requirement}) == 1);

    CHECK(x402_v1_challenge(text_of(challenge, "error"), {requirement}) == challenge);
    const Value& settled = at(row, "settle_response");
    const std::string transaction = text_of(settled, "transaction");
    const std::string payer = text_of(settled, "payer");
    CHECK(x402_payment_response({"", transaction, payment.network, payer}, 1) ==
          text_of(row, "x_payment_response_header"));
    ++seen;
  }
  CHECK(seen == 4);
}

TEST_CASE("payments of version 2 that its real client signed are read and verify") {
  if (!built("payments.x402.v2")) return;
  std::size_t seen = 0;
  for (const Value& row : vectors("x402_v2_exact_evm.json")) {
    CAPTURE(text_of(row, "name"));
    const Instant now = seconds_at(row, "now");
    const Value& challenge = at(row, "payment_required");
    Requirement requirement = requirement_of((*at(challenge, "accepts").array())[0]);
    const Value& resource = at(challenge, "resource");
    requirement.resource = text_of(resource, "url");
    requirement.description = text_of(resource, "description");
    requirement.mime_type = text_of(resource, "mimeType");
    const Value* const offered = challenge.find("extensions");
    const Value extensions = offered == nullptr ? Value() : *offered;

    const X402Reading reading = read_v2(text_of(row, "payment_signature_header"));
    REQUIRE(word(reading.verdict) == "ok");
    const Payment& payment = reading.payment;
    CHECK(payment.version == 2);
    CHECK(core::checksummed_text(payment.asset.value()) == requirement.asset);
    CHECK(core::checksummed_text(payment.payer) == text_of(row, "recovered_address"));
    CHECK(payment.resource == resource);
    CHECK(word(verify(payment, requirement, now, extensions)) == "ok");
    CHECK(core::x402::find_requirement(payment, {Requirement{}, requirement}) == 1);
    CHECK(x402_payment_required({text_of(challenge, "error"), {requirement}, extensions}) ==
          text_of(row, "payment_required_header"));
    const Value& settled = at(row, "settle_response");
    const std::string transaction = text_of(settled, "transaction");
    const std::string payer = text_of(settled, "payer");
    CHECK(x402_payment_response({"", transaction, payment.network, payer}, 2) ==
          text_of(row, "payment_response_header"));
    ++seen;

    // What was offered must come back whole.
    Requirement other = requirement;
    other.max_timeout_seconds += 1;
    CHECK(verify(payment, other, now, extensions) == Verdict::requirements);
    other = requirement;
    other.amount = Uint256(1);
    CHECK(verify(payment, other, now, extensions) == Verdict::requirements);
    other = requirement;
    other.network = "eip155:4326";
    CHECK(verify(payment, other, now, extensions) == Verdict::network);
    CHECK(verify(payment, requirement, now,
                 core::json::object({{"more", core::json::object({{"info", 1}})}})) == Verdict::extensions);
  }
  CHECK(seen == 4);
}

TEST_CASE("payments by Permit2 are read and verify") {
  if (!built("payments.x402.permit2")) return;
  std::size_t seen = 0;
  for (const Value& row : vectors("x402_v2_permit2.json")) {
    CAPTURE(text_of(row, "name"));
    const Instant now = seconds_at(row, "now");
    const Requirement requirement = requirement_of(at(row, "payment_requirements"));
    const X402Reading reading = read_v2(text_of(row, "payment_signature_header"));
    REQUIRE(word(reading.verdict) == "ok");
    const Payment& payment = reading.payment;
    CHECK(payment.transfer == Transfer::permit2);
    CHECK(core::checksummed_text(payment.payer) == text_of(row, "recovered_address"));
    CHECK(core::checksummed_text(payment.asset.value()) == requirement.asset);
    CHECK(payment.value == requirement.amount);
    CHECK(word(verify(payment, requirement, now)) == "ok");
    ++seen;

    Payment other = payment;
    other.spender.bytes[0] ^= 1;
    CHECK(verify(other, requirement, now) == Verdict::spender);
    other = payment;
    other.value = Uint256(1);
    CHECK(verify(other, requirement, now) == Verdict::signature);
    other = payment;
    other.transfer = Transfer::eip3009;
    CHECK(verify(other, requirement, now) == Verdict::transfer_method);
  }
  CHECK(seen == 2);
}

TEST_CASE("each verification case has the class that it should have") {
  if (!built("payments.x402.cases")) return;
  std::map<std::string, std::size_t> classes;
  for (const Value& row : vectors("x402_verify_cases.json")) {
    const std::string name = text_of(row, "name");
    CAPTURE(name);
    const bool v1 = number_of(row, "x402_version") == 1;
    const std::string header = text_of(row, "header");
    const X402Reading reading = v1 ? read_v1(header) : read_v2(header);
    Verdict verdict = reading.verdict;
    const Requirement requirement = requirement_of(at(row, "payment_requirements"));
    if (verdict == Verdict::ok) verdict = verify(reading.payment, requirement, seconds_at(row, "now"));
    const std::string expect = text_of(row, "calyx_expect");
    ++classes[expect];
    if (expect == "policy") {
      // Ours: a token refuses a v of 0 or 1 on chain, and an amount has one spelling.
      CHECK(class_of(verdict) ==
            (name.find("leading_zeros") == std::string::npos ? "signature" : "malformed"));
    } else if (expect == "ok_or_amount") {
      CHECK(class_of(verdict) == "ok");
    } else {
      CHECK(class_of(verdict) == expect);
    }
    // Where the reference refuses for the same reason in version 1, it has our code for it.
    const Value* const reference = at(row, "reference_result").find("invalidReason");
    if (v1 && reference != nullptr && reference->string() != nullptr && verdict != Verdict::malformed)
      CHECK(core::x402::wire_code(verdict, 1) == *reference->string());
  }
  CHECK(classes.size() == 8);
  CHECK(classes["ok"] == 9);
}

TEST_CASE("the example that x402's specification prints verifies") {
  const char* const extra = std::getenv("CALYX_EXTRA_VECTORS");
  if (extra == nullptr) {
    calyx::testing::skipped("payments.x402.published_example", "CALYX_EXTRA_VECTORS is not set");
    return;
  }
  if (!built("payments.x402.published_example")) return;
  std::ifstream file(std::string(extra) + "/payments/x402_published_example.json", std::ios::binary);
  REQUIRE(file.good());
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto document = read_json(text);
  REQUIRE(document.ok());
  for (const Value& row : *at(*document, "vectors").array()) {
    const X402Reading reading = read_v1(text_of(row, "x_payment_header"));
    REQUIRE(word(reading.verdict) == "ok");
    CHECK(core::checksummed_text(reading.payment.payer) == text_of(row, "recovered_address"));
    const Requirement requirement = core::x402::exact_evm_requirement(
        *core::find_evm_asset("base-sepolia"), reading.payment.value, reading.payment.pay_to);
    CHECK(word(verify(reading.payment, requirement, seconds_at(row, "now_inside_window"))) == "ok");
  }
}

TEST_CASE("a requirement for a known asset is what the vectors offer") {
  const Value body = at(vectors("combined_402.json")[0], "response_402");
  const Value& entry = (*at(at(body, "body"), "accepts").array())[0];
  Requirement requirement =
      core::x402::exact_evm_requirement(*core::find_evm_asset("base"), Uint256(1'000'000),
                                        core::read_evm_address(text_of(entry, "payTo")).value());
  requirement.resource = text_of(entry, "resource");
  requirement.description = "calyx top-up";
  CHECK(core::x402::v1_value(requirement) == entry);
  CHECK(x402_payment_required({"PAYMENT-SIGNATURE header is required", {requirement}, {}}) ==
        text_of(at(body, "headers"), "PAYMENT-REQUIRED"));

  // A chain that version 1's client does not know is offered in version 2 alone.
  const Requirement mega =
      core::x402::exact_evm_requirement(*core::find_evm_asset("megaeth"), Uint256(5), {});
  CHECK(core::json::text(mega.extra) ==
        R"({"assetTransferMethod":"permit2","name":"MegaUSD","version":"1"})");
  CHECK_FALSE(core::x402::v1_value(mega).has_value());
  CHECK(at(x402_v1_challenge("", {mega, requirement}), "accepts").array()->size() == 1);
  CHECK(core::x402::v2_value(mega).find("network")->string()->compare("eip155:4326") == 0);
}

TEST_CASE("how a settlement ended is told in each version's way") {
  const auto decoded = [](const std::string& header) { return core::unbase64(header).value(); };
  CHECK(
      decoded(x402_payment_response({"insufficient_funds", "", "base", "0xab"}, 1)) ==
      R"({"success":false,"errorReason":"insufficient_funds","transaction":)"
      R"("0x0000000000000000000000000000000000000000000000000000000000000000","network":"base","payer":"0xab"})");
  CHECK(decoded(x402_payment_response({"insufficient_funds", "", "eip155:8453", ""}, 2)) ==
        R"({"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:8453"})");
}

TEST_CASE("each verdict has its words") {
  for (const auto& facts : core::x402::verdict_table) {
    CAPTURE(facts.word);
    CHECK(facts.v1.empty() == (facts.word == "ok"));
    CHECK(facts.v2.empty() == (facts.word == "ok"));
  }
  CHECK(core::x402::wire_code(Verdict::amount, 1) == "invalid_exact_evm_payload_authorization_value");
  CHECK(core::x402::wire_code(Verdict::amount, 2) ==
        "invalid_exact_evm_payload_authorization_value_mismatch");
}

TEST_CASE("what is no payment is refused where it is none") {
  const std::string v1 =
      core::unbase64(text_of(vectors("x402_v1_exact_evm.json")[0], "x_payment_header")).value();
  const std::string v2 =
      core::unbase64(text_of(vectors("x402_v2_exact_evm.json")[0], "payment_signature_header")).value();
  const std::string permit2 =
      core::unbase64(text_of(vectors("x402_v2_permit2.json")[0], "payment_signature_header")).value();
  const auto changed = [](std::string text, std::string_view from, std::string_view to) {
    const std::size_t place = text.find(from);
    REQUIRE_MESSAGE(place != std::string::npos, "not there: " << std::string(from));
    return text.replace(place, from.size(), to);
  };
  struct Row {
    const char* says;
    int version;
    std::string json;
    Verdict verdict;
    const char* pointer;
  };
  const Row rows[] = {
      {"as it was", 1, v1, Verdict::ok, ""},
      {"as it was", 2, v2, Verdict::ok, ""},
      {"as it was", 2, permit2, Verdict::ok, ""},
      {"an unknown member more", 1, changed(v1, "{", R"({"more":1,)"), Verdict::ok, ""},
      {"no JSON", 1, v1.substr(1), Verdict::malformed, ""},
      {"something after it", 1, v1 + " 1", Verdict::malformed, ""},
      {"an array", 1, "[" + v1 + "]", Verdict::malformed, ""},
      {"a key twice", 1, changed(v1, "{", R"({"scheme":"exact",)"), Verdict::malformed, ""},
      {"no version", 1, changed(v1, R"("x402Version":1,)", ""), Verdict::malformed, "/x402Version"},
      {"a version as text", 1, changed(v1, R"("x402Version":1)", R"("x402Version":"1")"), Verdict::malformed,
       "/x402Version"},
      {"version 1.0", 1, changed(v1, R"("x402Version":1)", R"("x402Version":1.0)"), Verdict::malformed,
       "/x402Version"},
      {"version 3", 1, changed(v1, R"("x402Version":1)", R"("x402Version":3)"), Verdict::version,
       "/x402Version"},
      {"version 2 in version 1's header", 1, v2, Verdict::version, "/x402Version"},
      {"version 1 in version 2's header", 2, v1, Verdict::version, "/x402Version"},
      {"another scheme", 1, changed(v1, R"("exact")", R"("upto")"), Verdict::scheme, "/scheme"},
      {"another scheme", 2, changed(v2, R"("exact")", R"("upto")"), Verdict::scheme, "/accepted/scheme"},
      {"no network", 1, changed(v1, R"("network")", R"("netword")"), Verdict::malformed, "/network"},
      {"nothing accepted", 2, changed(v2, R"("accepted")", R"("excepted")"), Verdict::malformed, "/accepted"},
      {"no payload", 1, changed(v1, R"("payload")", R"("payl0ad")"), Verdict::malformed, "/payload"},
      {"no message", 1, changed(v1, R"("authorization")", R"("authorisation")"), Verdict::malformed,
       "/payload"},
      {"two messages", 2, changed(v2, R"("authorization")", R"("permit2Authorization":{},"authorization")"),
       Verdict::malformed, "/payload"},
      {"Permit2 in version 1", 1, changed(v1, R"("authorization")", R"("permit2Authorization")"),
       Verdict::malformed, "/payload"},
      {"no signature", 1, changed(v1, R"("signature")", R"("signed")"), Verdict::malformed,
       "/payload/signature"},
      {"a signature of letters", 1, changed(v1, R"("0x92)", R"("0xzz)"), Verdict::malformed,
       "/payload/signature"},
      {"a signature of half an octet", 1, changed(v1, R"("0x92)", R"("0x9)"), Verdict::malformed,
       "/payload/signature"},
      {"a wrong checksum", 1, changed(v1, "0xf39F", "0xf39f"), Verdict::malformed,
       "/payload/authorization/from"},
      {"a number as the amount", 1, changed(v1, R"("value":"1000000")", R"("value":1000000)"),
       Verdict::malformed, "/payload/authorization/value"},
      {"a negative amount", 1, changed(v1, R"("value":")", R"("value":"-)"), Verdict::malformed,
       "/payload/authorization/value"},
      {"an amount of 2^256", 1,
       changed(v1, R"("value":"1000000")",
               R"("value":"115792089237316195423570985008687907853269984665640564039457584007913129639936")"),
       Verdict::malformed, "/payload/authorization/value"},
      {"a time with a point", 1, changed(v1, "1767225660", "1767225660.0"), Verdict::malformed,
       "/payload/authorization/validBefore"},
      {"a short nonce", 1, changed(v1, R"("nonce":"0x70)", R"("nonce":"0x)"), Verdict::malformed,
       "/payload/authorization/nonce"},
      {"no token", 2, changed(permit2, R"("token")", R"("tok")"), Verdict::malformed,
       "/payload/permit2Authorization/permitted/token"},
      {"no witness", 2, changed(permit2, R"("witness")", R"("wit")"), Verdict::malformed,
       "/payload/permit2Authorization/witness"},
      {"an asset that is none", 2, changed(v2, R"("asset":"0x036C)", R"("asset":"0x036c)"),
       Verdict::malformed, "/accepted/asset"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CAPTURE(row.json);
    const std::string header = core::base64(row.json);
    const X402Reading reading = row.version == 1 ? read_v1(header) : read_v2(header);
    CHECK(word(reading.verdict) == word(row.verdict));
    CHECK(reading.pointer == row.pointer);
  }
  // Base 64 of another kind.
  const std::string header = core::base64(v1 + "    ");
  CHECK(read_v1(header.substr(0, header.size() - 1)).verdict == Verdict::malformed);
  CHECK(read_v1(core::base64url(v1)).verdict ==
        (core::base64url(v1) == core::base64(v1) ? Verdict::ok : Verdict::malformed));
  CHECK(read_v1(header + "\n").verdict == Verdict::malformed);
  CHECK(read_v1("").verdict == Verdict::malformed);
  // The limit, and one past it.
  const std::size_t bytes = x402_header_bytes_max / 4 * 3;
  CHECK(read_v1(core::base64(v1 + std::string(bytes - v1.size(), ' '))).verdict == Verdict::ok);
  CHECK(read_v1(core::base64(v1 + std::string(bytes - v1.size() + 1, ' '))).verdict == Verdict::malformed);
}

TEST_CASE("a transaction of Solana is carried and not judged here") {
  const std::string json =
      R"({"x402Version":2,"accepted":{"scheme":"exact","network":"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"},)"
      R"("payload":{"transaction":"AQID"}})";
  const X402Reading reading = read_v2(core::base64(json));
  REQUIRE(word(reading.verdict) == "ok");
  CHECK(reading.payment.transfer == Transfer::solana);
  CHECK(reading.payment.transaction == "AQID");
  Requirement requirement;
  requirement.network = reading.payment.network;
  CHECK(verify(reading.payment, requirement, {}) == Verdict::requirements);
  Payment payment = reading.payment;
  payment.accepted = core::x402::v2_value(requirement);
  CHECK(verify(payment, requirement, {}) == Verdict::network);
}

#if CALYX_HAVE_SECP256K1

namespace {

using crypto::for_tests::EvmWallet;

/// Signs `payment` anew, for the asset of `requirement`.
void sign(Payment& payment, const Requirement& requirement, const EvmWallet& wallet) {
  payment.payer = wallet.address();
  const auto chain = core::read_evm_chain(requirement.network).value();
  const auto asset = core::read_evm_address(requirement.asset).value();
  const std::string name = text_of(requirement.extra, "name");
  const std::string version = text_of(requirement.extra, "version");
  payment.signature = wallet.sign(core::x402::signed_digest(payment, {name, version, chain, asset}));
}

}  // namespace

TEST_CASE("the first rule that a payment breaks is the verdict") {
  const EvmWallet wallet(std::string(32, '\1'));
  const EvmWallet thief(std::string(32, '\2'));
  const Instant now{1'767'225'600'000'000};
  for (const bool permit2 : {false, true})
    for (const int version : {1, 2}) {
      if (permit2 && version == 1) continue;
      CAPTURE(permit2);
      CAPTURE(version);
      core::EvmAsset asset = *core::find_evm_asset("base");
      asset.eip3009 = !permit2;
      const Requirement requirement =
          core::x402::exact_evm_requirement(asset, Uint256(1'000'000), thief.address());
      Payment good;
      good.version = version;
      good.scheme = "exact";
      good.network = version == 1 ? "base" : "eip155:8453";
      good.transfer = permit2 ? Transfer::permit2 : Transfer::eip3009;
      good.pay_to = thief.address();
      good.value = Uint256(1'000'000);
      good.valid_after = Uint256(1'767'225'600);
      good.valid_before = Uint256(1'767'225'606);
      good.nonce[0] = 9;
      good.asset = core::read_evm_address(requirement.asset);
      good.spender = core::x402_permit2_proxy;
      good.accepted = core::x402::v2_value(requirement);
      sign(good, requirement, wallet);
      CHECK(word(verify(good, requirement, now)) == "ok");

      // Each change stands on those before it, from the last rule to the first.
      Payment payment = good;
      const auto broken = [&](Verdict verdict) {
        CHECK(word(verify(payment, requirement, now)) == word(verdict));
      };
      payment.value = Uint256(999'999);
      sign(payment, requirement, wallet);
      broken(Verdict::amount);
      payment.valid_after = Uint256(1'767'225'601);
      sign(payment, requirement, wallet);
      broken(Verdict::not_yet_valid);
      payment.valid_before = Uint256(1'767'225'605);
      sign(payment, requirement, wallet);
      broken(Verdict::expired);
      payment.pay_to = wallet.address();
      sign(payment, requirement, wallet);
      broken(Verdict::recipient);
      if (permit2) {
        payment.asset = wallet.address();
        sign(payment, requirement, wallet);
        broken(Verdict::token);
      }
      const Payment signed_well = payment;
      payment.payer = thief.address();
      broken(Verdict::signature);
      payment = signed_well;
      payment.signature = std::string(65, '\0');
      broken(Verdict::signature);
      payment.signature = signed_well.signature.substr(0, 64);
      broken(Verdict::signature);
      payment.signature.clear();
      broken(Verdict::signature);
      if (permit2) {
        payment.spender = wallet.address();
        broken(Verdict::spender);
      }
      payment.transfer = permit2 ? Transfer::eip3009 : Transfer::permit2;
      broken(Verdict::transfer_method);
      if (version == 2) {
        payment.accepted.object()->set("amount", "1");
        broken(Verdict::requirements);
      }
      payment.network = "eip155:1";
      broken(Verdict::network);
      payment.scheme = "upto";
      broken(Verdict::scheme);
      payment.version = 3;
      broken(Verdict::version);

      // One more than was asked for.
      payment = good;
      payment.value = Uint256(1'000'001);
      sign(payment, requirement, wallet);
      CHECK(word(verify(payment, requirement, now)) == (version == 1 ? "ok" : "amount"));
      // A contract's signature makes nothing good that is wrong.
      payment = good;
      payment.signature = std::string(66, '\1');
      CHECK(verify(payment, requirement, now) == Verdict::needs_backend);
      const Payment by_contract = payment;
      payment.value = Uint256(0);
      CHECK(verify(payment, requirement, now) == Verdict::amount);
      payment = by_contract;
      payment.valid_before = Uint256(1);
      CHECK(verify(payment, requirement, now) == Verdict::expired);
      payment = by_contract;
      payment.pay_to = payment.payer;
      CHECK(verify(payment, requirement, now) == Verdict::recipient);
      // Address zero never pays, whatever the signature.
      payment = good;
      payment.payer = {};
      CHECK(verify(payment, requirement, now) == Verdict::signature);
      // A host that says no domain.
      Requirement bare = requirement;
      bare.extra = permit2 ? core::json::object({{"assetTransferMethod", "permit2"}}) : Value();
      payment = good;
      payment.accepted = core::x402::v2_value(bare);
      CHECK(word(verify(payment, bare, now)) == (permit2 ? "ok" : "domain"));
      bare = requirement;
      bare.pay_to = "nobody";
      payment.accepted = core::x402::v2_value(bare);
      CHECK(verify(payment, bare, now) == Verdict::domain);
      const auto not_built = [](const core::Digest& /*digest*/, std::string_view /*signature*/) {
        return Result<core::EvmAddress>(fail(Reason::not_built, ""));
      };
      CHECK(core::x402::verify_exact_evm(good, requirement, {}, now, not_built) == Verdict::not_built);
    }
}

TEST_CASE("an extension may grow on its way back and may not change") {
  const Value offered =
      core::json::object({{"id", core::json::object({{"info", core::json::object({{"required", false}})}})}});
  const auto answered = [](Value info) {
    return core::json::object({{"id", core::json::object({{"info", std::move(info)}})}, {"more", 1}});
  };
  using core::json::object;
  CHECK(core::x402::echoes(offered, answered(object({{"required", false}}))));
  CHECK(core::x402::echoes(offered, answered(object({{"required", false}, {"id", "a"}}))));
  CHECK_FALSE(core::x402::echoes(offered, answered(object({{"required", true}}))));
  CHECK_FALSE(core::x402::echoes(offered, answered(object({}))));
  CHECK_FALSE(core::x402::echoes(offered, answered(Value(1))));
  CHECK_FALSE(core::x402::echoes(offered, Value()));
}

#endif

TEST_CASE("version 2's payment-identifier is read, and has to be one") {
  const std::string text = text_of(vectors("x402_v2_exact_evm.json")[0], "payment_signature_header");
  const auto with = [&](Value extensions) {
    core::json::Object document = *read_json(core::unbase64(text).value()).value().object();
    document.set("extensions", std::move(extensions));
    return core::base64(core::json::text(Value(std::move(document))));
  };
  const auto with_id = [&](Value id) {
    return with(core::json::object(
        {{"payment-identifier",
          core::json::object(
              {{"info", core::json::object({{"required", false}, {"id", std::move(id)}})}})}}));
  };
  for (const std::string& good :
       {std::string(16, 'a'), std::string(128, '9'), std::string("pay_A-Z-0-9_aaaa")}) {
    const X402Reading reading = read_v2(with_id(good));
    CHECK(word(reading.verdict) == "ok");
    CHECK(reading.payment.identifier == good);
  }
  for (const Value& bad :
       {Value(std::string(15, 'a')), Value(std::string(129, 'a')), Value("sixteen letters!"),
        Value("caf\xc3\xa9-caf\xc3\xa9-caf\xc3\xa9"), Value(""), Value(16), Value()}) {
    const X402Reading reading = read_v2(with_id(bad));
    CHECK(reading.verdict == Verdict::malformed);
    CHECK(reading.pointer == "/extensions/payment-identifier/info/id");
  }
  for (const Value& none :
       {Value(), Value(core::json::Object()), Value(1), core::json::object({{"payment-identifier", 1}}),
        core::json::object({{"payment-identifier", core::json::object({{"info", 1}})}}),
        core::json::object({{"other", core::json::object({{"id", 1}})}})}) {
    const X402Reading reading = read_v2(with(none));
    CHECK(word(reading.verdict) == "ok");
    CHECK(reading.payment.identifier.empty());
  }
}
