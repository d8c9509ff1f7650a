// Payments that somebody tampered with on the way: whatever is still read and verifies must be the same
// payment.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/secp256k1.hpp"
#include "payments/x402.hpp"
#include "payments_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::payments;
using namespace calyx::payments::for_tests;
using calyx::testing::Dice;
using core::json::Value;
using core::x402::Payment;
using core::x402::Requirement;
using core::x402::Verdict;

namespace {

struct Original {
  std::string header;
  std::string json;
  X402Header kind = X402Header::x_payment;
  Requirement requirement;
  Value extensions;
  Instant now;
  Payment payment;
};

std::vector<Original> originals() {
  std::vector<Original> out;
  const auto add = [&out](std::string header, X402Header kind, const Value& entry, Value extensions,
                          Instant now) {
    Original each;
    each.json = core::unbase64(header).value();
    each.header = std::move(header);
    each.kind = kind;
    each.requirement = requirement_of(entry);
    each.extensions = std::move(extensions);
    each.now = now;
    const X402Reading reading = read_x402_payment(each.header, kind);
    REQUIRE(reading.verdict == Verdict::ok);
    each.payment = reading.payment;
    out.push_back(std::move(each));
  };
  for (const Value& row : vectors("x402_v1_exact_evm.json"))
    add(text_of(row, "x_payment_header"), X402Header::x_payment,
        (*at(at(row, "challenge_body"), "accepts").array())[0], {}, seconds_at(row, "now"));
  for (const Value& row : vectors("x402_v2_exact_evm.json")) {
    const Value* const extensions = at(row, "payment_required").find("extensions");
    add(text_of(row, "payment_signature_header"), X402Header::payment_signature,
        (*at(at(row, "payment_required"), "accepts").array())[0],
        extensions == nullptr ? Value() : *extensions, seconds_at(row, "now"));
  }
  for (const Value& row : vectors("x402_v2_permit2.json"))
    add(text_of(row, "payment_signature_header"), X402Header::payment_signature,
        at(row, "payment_requirements"), {}, seconds_at(row, "now"));
  return out;
}

/// One change of `text`: a bit, a byte, a cut, a copy, or a run of it somewhere else.
void change(std::string& text, Dice& dice) {
  if (text.empty()) return;
  const std::size_t place = dice.below(text.size());
  constexpr std::string_view letters = "0123456789abcdefABCDEFx\"{}[]:,\\ -.e=/+";
  switch (dice.below(6)) {
    case 0: text[place] = static_cast<char>(text[place] ^ (1 << dice.below(8))); break;
    case 1:
    case 2: text[place] = letters[dice.below(letters.size())]; break;
    case 3: text.erase(place, 1 + dice.below(8)); break;
    case 4: text.insert(place, 1, letters[dice.below(letters.size())]); break;
    default: text.insert(place, text.substr(dice.below(text.size()), dice.below(60))); break;
  }
}

/// What a payment moves, and for whom.
bool same_payment(const Payment& one, const Payment& other) {
  return one.version == other.version && one.network == other.network && one.transfer == other.transfer &&
         one.payer == other.payer && one.pay_to == other.pay_to && one.value == other.value &&
         one.valid_after == other.valid_after && one.valid_before == other.valid_before &&
         one.nonce == other.nonce && one.asset == other.asset && one.signature == other.signature;
}

}  // namespace

TEST_CASE("a payment that was changed on its way verifies as itself or not at all") {
  const std::uint64_t seed = 0x402402;
  MESSAGE("seed " << seed);
  Dice dice(seed);
  const std::vector<Original> all = originals();
  const int rounds = calyx::testing::by_scale(2'000, 40'000, 4'000'000);
  int read = 0;
  int verified = 0;
  for (int round = 0; round < rounds; ++round) {
    const Original& original = all[dice.below(all.size())];
    std::string json = original.json;
    for (std::uint64_t changes = 1 + dice.below(3); changes > 0; --changes) change(json, dice);
    std::string header = core::base64(json);
    if (dice.below(8) == 0) {  // the header's own text
      header = original.header;
      change(header, dice);
    }
    const X402Reading reading = read_x402_payment(header, original.kind);
    if (reading.verdict != Verdict::ok) continue;
    ++read;
    const Verdict verdict = core::x402::verify_exact_evm(
        reading.payment, original.requirement, original.extensions, original.now, crypto::EvmSignatures{});
    if (verdict != Verdict::ok) continue;
    ++verified;
    CAPTURE(json);
    CHECK(same_payment(reading.payment, original.payment));
  }
  CHECK(read > rounds / 100);
  if (crypto::secp256k1_built())
    CHECK(verified > 0);
  else
    CHECK(calyx::testing::may_lack("payments.x402_random.verified", "libsecp256k1-dev"));
  calyx::testing::told("x402 payments changed at random", static_cast<std::uint64_t>(rounds));
  calyx::testing::told("x402 payments changed at random that still verify",
                       static_cast<std::uint64_t>(verified));
}

TEST_CASE("any field of a payment changed to another good value is refused") {
  if (!crypto::secp256k1_built()) {
    CHECK(calyx::testing::may_lack("payments.x402_random.fields", "libsecp256k1-dev"));
    return;
  }
  const std::uint64_t seed = 0x402f1e1d;
  MESSAGE("seed " << seed);
  Dice dice(seed);
  const std::vector<Original> all = originals();
  const int rounds = calyx::testing::by_scale(500, 5'000, 500'000);
  for (int round = 0; round < rounds; ++round) {
    const Original& original = all[dice.below(all.size())];
    Payment payment = original.payment;
    const auto octet = static_cast<std::uint8_t>(1 + dice.below(255));
    core::Uint256 number;
    for (std::size_t i = 0; i <= dice.below(4); ++i) number.parts[3 - i] = dice.next();
    const std::uint64_t field = dice.below(7);
    switch (field) {
      case 0: payment.payer.bytes[dice.below(20)] ^= octet; break;
      case 1: payment.pay_to.bytes[dice.below(20)] ^= octet; break;
      case 2: payment.value = number; break;
      case 3: payment.valid_after = number; break;
      case 4: payment.valid_before = number; break;
      case 5: payment.nonce[dice.below(32)] ^= octet; break;
      default: payment.signature[dice.below(65)] ^= static_cast<char>(octet); break;
    }
    CAPTURE(field);
    CHECK(core::x402::verify_exact_evm(payment, original.requirement, original.extensions, original.now,
                                       crypto::EvmSignatures{}) == Verdict::signature);
  }
}
