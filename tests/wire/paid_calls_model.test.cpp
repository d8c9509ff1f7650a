// Calls paid for at random, good and bad, beside a small reference of what they come to.
#include <map>
#include <vector>

#include "payments/payer_for_tests.hpp"
#include "wire/till.hpp"

#if CALYX_HAVE_SECP256K1

namespace core = calyx::core;
namespace paying = calyx::payments::for_tests;
using calyx::Money;
using calyx::PaymentHeader;
using calyx::Reason;
using calyx::testing::Dice;
using wire_test::Till;
using wire_test::json::Value;

namespace {

constexpr std::int64_t micro_an_atom = 100;  // a token's atomic unit is a millionth of a dollar
constexpr const char* paid_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

enum class Kind : std::uint8_t {
  good,
  below,        ///< One atomic unit less than the price.
  above,        ///< One more: version 1 takes that.
  expired,      ///< It ends before a settlement could come about.
  other_chain,  ///< Signed for another chain's token.
  says_other,   ///< Of a chain where no payments are taken.
  other_recipient,
  changed,       ///< The signature is of other words.
  again,         ///< The words of an earlier one.
  other_words,   ///< An earlier one in words of its own.
  other_header,  ///< The words of an earlier one in another version's header.
};
constexpr std::size_t kinds = 11;

struct Payer {
  paying::EvmWallet key;
  std::string address;
  std::uint64_t tokens;
  std::int64_t credited = 0, spent = 0;  // micro-FLOPS
  explicit Payer(std::uint64_t secret, std::uint64_t has)
      : key(paying::octets_of(secret)), address(core::lower_text(key.address())), tokens(has) {}
};

/// One that was paid.
struct Paid {
  std::size_t payer;
  PaymentHeader header;
  std::string words;
  Value payload;
  std::string id;
  std::int64_t credited, spent, at_us;
};

}  // namespace

TEST_CASE("XM-01, XM-05, SG-02: payments for calls at random come to what a small reference says") {
  const std::uint64_t seed = 20'261'203;
  MESSAGE("seed " << seed);
  Dice dice(seed);
  Till till;
  std::vector<std::unique_ptr<Payer>> payers;
  // The last one is poor: a payment or two, and then there are no funds.
  for (const std::uint64_t tokens : {400'000'000u, 400'000'000u, 70'000u}) {
    payers.push_back(std::make_unique<Payer>(0x61 + payers.size(), tokens));
    REQUIRE(
        till.tokens
            ->mint({.network = "eip155:8453", .asset = wire_test::usdc, .address = payers.back()->address},
                   std::to_string(tokens))
            .ok());
  }
  std::vector<Paid> paid;
  std::map<std::string, std::uint64_t> came_to;
  std::uint64_t nonce = 0, jobs = 0;

  // What a session of `one` may spend now, and whether it does.
  const auto spend = [&](calyx::Session session, Paid& one) {
    Payer& payer = *payers[one.payer];
    const bool fresh = till.now_us <= one.at_us + 900 * core::us_per_second;
    const std::int64_t left = fresh ? one.credited - one.spent : 0;
    const Money asked{1 + static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(left) + 2))};
    const auto spent = session.spend(
        {.wallet = *session.principal().wallet, .job_id = "job-" + std::to_string(++jobs), .amount = asked});
    CHECK(spent.reason() == (asked.micro <= left ? Reason::none : Reason::budget_spent));
    if (!spent.ok()) return;
    one.spent += asked.micro;
    payer.spent += asked.micro;
  };

  const int steps = calyx::testing::by_scale(150, 3'000, 30'000);
  for (int step = 0; step < steps; ++step) {
    CAPTURE(step);
    if (dice.below(8) == 0) till.pass_s(static_cast<std::int64_t>(dice.below(400)));
    const std::uint64_t atoms = 10'000 * (1 + dice.below(3));
    const Money price{static_cast<std::int64_t>(atoms) * micro_an_atom};
    auto kind = static_cast<Kind>(dice.below(kinds));
    if (paid.empty() && kind >= Kind::again) kind = Kind::good;
    const auto now_s = static_cast<std::uint64_t>(till.now_us / core::us_per_second);
    std::size_t who = dice.below(payers.size());
    PaymentHeader header = dice.coin() ? PaymentHeader::x_payment : PaymentHeader::payment_signature;
    std::string words;
    Value payload;
    std::optional<std::size_t> before;

    paying::ToSign signs{.pay_to = paid_to, .value = atoms, .valid_before = now_s + 300, .nonce = ++nonce};
    if (kind == Kind::below) --signs.value;
    if (kind == Kind::above) ++signs.value;
    if (kind == Kind::expired) signs.valid_before = now_s + dice.below(6);
    if (kind == Kind::other_chain) signs.chain = "base-sepolia";
    if (kind == Kind::other_recipient) signs.pay_to = wire_test::client_address;
    if (kind >= Kind::again) {
      before = dice.below(paid.size());
      const Paid& one = paid[*before];
      who = one.payer;
      header = one.header;
      words = one.words;
      payload = one.payload;
      if (kind == Kind::other_header)
        header =
            header == PaymentHeader::x_payment ? PaymentHeader::payment_signature : PaymentHeader::x_payment;
      if (kind == Kind::other_words) {
        header = PaymentHeader::x_payment;
        payload.object()->set("spelling", step);
      }
    } else {
      payload = paying::signed_payload(payers[who]->key, signs);
    }
    if (kind == Kind::changed) {
      std::string signature = *payload.find("signature")->string();
      char& digit = signature[2 + dice.below(64)];  // of r
      digit = digit == '0' ? '1' : '0';
      payload.object()->set("signature", signature);
    }
    if (words.empty() || kind == Kind::other_words) {
      if (header == PaymentHeader::x_payment) {
        words = paying::v1_words(payload, kind == Kind::says_other ? "base-sepolia" : "base");
      } else {
        const auto challenge = till.engine.payment_challenge(price).value();
        Value accepted = (*wire_test::unpacked(challenge.payment_required).find("accepts")->array())[0];
        if (kind == Kind::says_other) accepted.object()->set("network", "eip155:84532");
        words = paying::v2_words(payload, std::move(accepted));
      }
    }

    // What it comes to.
    Reason expected = Reason::payment_invalid;
    if (kind == Kind::again) expected = Reason::none;
    if (kind == Kind::other_header) expected = Reason::payment_reused;
    const bool fits = kind == Kind::good || (kind == Kind::above && header == PaymentHeader::x_payment);
    if (fits && payers[who]->tokens >= signs.value) expected = Reason::none;

    auto answer = till.engine.pay_for_call(price, {header, words});
    ++came_to[std::string(word(answer.reason()))];
    REQUIRE_MESSAGE(answer.reason() == expected, "kind " << static_cast<int>(kind));
    if (expected == Reason::none) {
      REQUIRE(answer->session);
      const calyx::Payment& payment = answer->answer.payment;
      CHECK(payment.status == calyx::PaymentStatus::paid);
      CHECK(payment.replayed == before.has_value());
      CHECK(!answer->answer.response.empty());
      if (before) {
        CHECK(payment.id.text() == paid[*before].id);
        CHECK(payment.credited.micro == paid[*before].credited);
      } else {
        const auto credited = static_cast<std::int64_t>(signs.value) * micro_an_atom;
        CHECK(payment.credited.micro == credited);
        payers[who]->tokens -= signs.value;
        payers[who]->credited += credited;
        paid.push_back({who, header, words, payload, payment.id.text(), credited, 0, till.now_us});
        before = paid.size() - 1;
      }
      if (dice.coin()) spend(*answer->session, paid[*before]);
    }

    // The books, all of them.
    std::map<std::string, const Payer*> owners;
    for (const auto& payer : payers) owners["eip155:8453:" + payer->address] = payer.get();
    for (const calyx::Wallet& wallet : till.engine.as_operator().wallets().value().items) {
      const auto found = owners.find(wallet.owner_id);
      if (found == owners.end()) continue;
      const Payer& payer = *found->second;
      CHECK(payer.credited > 0);
      CHECK(wallet.balance.micro == payer.credited - payer.spent);
      CHECK(wallet.held.micro == payer.spent);
      owners.erase(found);  // a second wallet of the owner would be told below
    }
    for (const auto& [owner, payer] : owners) CHECK(payer->credited == 0);
    CHECK(till.tokens->settlements().value() == paid.size());
    if (step % 300 == 0) {
      const auto report = till.engine.as_operator().audit({}, calyx::AuditDepth::each).value();
      CHECK_MESSAGE(report.ok, report.first_fault);
    }
  }
  for (const auto& payer : payers)
    CHECK(
        till.tokens->balance({.network = "eip155:8453", .asset = wire_test::usdc, .address = payer->address})
            .value() == std::to_string(payer->tokens));
  CHECK(till.engine.as_operator().wallets().value().items.size() <= payers.size() + 1);
  for (const char* reason : {"none", "payment_invalid", "payment_reused"}) CHECK(came_to[reason] > 0);
  calyx::testing::told("payments for calls at random", static_cast<std::uint64_t>(steps));
}

#else
TEST_CASE("XM-01, XM-05, SG-02: payments for calls at random come to what a small reference says") {
  CHECK(calyx::testing::may_lack("wire.paid_calls_model", "libsecp256k1-dev"));
}
#endif
