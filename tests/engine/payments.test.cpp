// Quotes and payments against a ledger of tokens, on a clock that the test moves: what is taken, what is
// credited, that it is once, and how a payment goes on from wherever it stopped.
#include <atomic>
#include <filesystem>
#include <functional>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "engine/job_market.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::by_scale;
using testing::Edit;
using testing::JobMarket;
using testing::Raw;

namespace {

constexpr const char* usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
constexpr const char* ours = "0x1111111111111111111111111111111111111111";
constexpr const char* theirs = "0x2222222222222222222222222222222222222222";
constexpr Money five{5'000'000};

/// 5 FLOPS in USDC, whose atomic unit is 100 micro-FLOPS.
VerifiedPayment payment(const std::string& nonce) {
  return {.network = "eip155:84532",
          .asset = usdc,
          .payer = theirs,
          .pay_to = ours,
          .nonce = nonce,
          .amount = "50000",
          .credit = five,
          .valid_before = Instant{1'900'000'000'000'000},
          .payload = "eyJ4NDAyVmVyc2lvbiI6Mn0="};
}

/// A backend whose every answer the test gives, or `tokens` where it gives none.
struct Played final : SettlementBackend {
  std::shared_ptr<SimulatedTokens> tokens = SimulatedTokens::open().value();
  std::function<std::optional<SettlementAnswer>(SettlementCall)> script{};
  std::atomic<int> verified{0}, settled{0}, asked{0};

  SettlementAnswer verify(const VerifiedPayment& of) override {
    ++verified;
    return played(SettlementCall::verify, [&] { return tokens->verify(of); });
  }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& of) override {
    ++settled;
    return played(SettlementCall::settle, [&] { return tokens->settle(key, of); });
  }
  SettlementAnswer status(std::string_view key) override {
    ++asked;
    return played(SettlementCall::status, [&] { return tokens->status(key); });
  }
  template <class Else>
  SettlementAnswer played(SettlementCall call, Else otherwise) {
    std::optional<SettlementAnswer> answer;
    if (script) answer = script(call);
    return answer ? *answer : otherwise();
  }
};

struct Paying : JobMarket {
  std::shared_ptr<Played> backend;
  explicit Paying(std::shared_ptr<Played> with = std::make_shared<Played>(), Options options = {})
      : JobMarket(settled_by(with, std::move(options))), backend(std::move(with)) {
    CHECK(backend->tokens->mint({"eip155:84532", usdc, theirs}, "1000000").ok());
  }
  static Options settled_by(std::shared_ptr<SettlementBackend> backend, Options options) {
    options.settlement = std::move(backend);
    return options;
  }
  SimulatedTokens& tokens() { return *backend->tokens; }
  QuoteId quoted(Money amount = five) {
    return all.quote_topup({.wallet = payer, .amount = amount}).value().id;
  }
  std::int64_t balance() { return all.wallet(payer).value().balance.micro - 1'000'000'000; }
  std::string has(const char* address) { return tokens().balance({"eip155:84532", usdc, address}).value(); }
  void sound() {
    const AuditReport report = all.audit({}, AuditDepth::each).value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
};

}  // namespace

TEST_CASE("a quote is paid: the tokens move, and the wallet is credited by a top-up that names the quote") {
  Paying market;
  const Quote quote = market.all.quote_topup({.wallet = market.payer, .amount = five}).value();
  CHECK(quote.status == QuoteStatus::open);
  CHECK(quote.expires_at.us == market.now_us + quote_lasts_s * core::us_per_second);
  CHECK(quote.id.text().starts_with("qte_"));
  market.pass(1);
  const Payment paid = market.all.present_payment(quote.id, payment("n1")).value();
  CHECK(paid.status == PaymentStatus::paid);
  CHECK(paid.credited == five);
  CHECK(paid.wallet == market.payer);
  CHECK(paid.quote == quote.id);
  CHECK(paid.created_at == Instant{market.now_us});
  CHECK(paid.ended_at == Instant{market.now_us});
  CHECK(paid.transaction.size() == 66);
  CHECK_FALSE(paid.replayed);
  CHECK(market.balance() == five.micro);
  CHECK(market.has(theirs) == "950000");
  CHECK(market.has(ours) == "50000");

  const Listed<EntryView> entries = market.all.entries(market.payer).value();
  const EntryView& entry = entries.items.back().kind == "topup" && entries.items.back().amount == five
                               ? entries.items.back()
                               : entries.items.front();
  CHECK(entry.reference == quote.id.text());
  CHECK(entry.txn == paid.txn);
  CHECK(entry.amount == five);

  const Quote now = market.all.quote(quote.id).value();
  CHECK(now.status == QuoteStatus::paid);
  REQUIRE(now.payments.size() == 1);
  CHECK(now.payments[0].id == paid.id);
  CHECK(now.payments[0].facts.payload == payment("n1").payload);

  const Payment again = market.all.present_payment(quote.id, payment("n1")).value();
  CHECK(again.replayed);
  CHECK(again.id == paid.id);
  CHECK(again.transaction == paid.transaction);
  CHECK(market.balance() == five.micro);
  CHECK(market.backend->settled == 1);
  market.sound();
}

TEST_CASE("what a quote refuses, in the order in which it looks") {
  Paying market;
  const QuoteId open = market.quoted(), other = market.quoted();
  CHECK(market.all.present_payment(open, payment("n1")).ok());
  const auto reason = [&](QuoteId id, const VerifiedPayment& of) {
    return market.all.present_payment(id, of).reason();
  };
  CHECK(reason(open, payment("n2")) == Reason::quote_paid);
  CHECK(reason(other, payment("n1")) == Reason::payment_reused);
  VerifiedPayment more = payment("n1");
  more.amount = "60000";
  CHECK(reason(open, more) == Reason::payment_reused);
  VerifiedPayment less = payment("n3");
  less.credit.micro -= 1;
  CHECK(reason(other, less) == Reason::payment_insufficient);
  market.pass(quote_lasts_s - 1);
  CHECK(market.all.quote(other).value().status == QuoteStatus::open);
  market.pass(1);
  CHECK(market.all.quote(other).value().status == QuoteStatus::expired);
  CHECK(reason(other, payment("n4")) == Reason::quote_expired);
  CHECK(reason(open, payment("n2")) == Reason::quote_paid);  // one that is paid does not expire
  CHECK(reason(QuoteId{}, payment("n5")) == Reason::quote_unknown);

  const QuoteId failing = market.quoted();
  market.tokens().next(SimulatedTokens::Answer::refused);
  const Payment failed = market.all.present_payment(failing, payment("n6")).value();
  CHECK(failed.status == PaymentStatus::failed);
  CHECK(failed.error == "told_to_refuse");
  CHECK(failed.ended_at);
  CHECK(reason(failing, payment("n7")) == Reason::quote_failed);
  CHECK(market.all.present_payment(failing, payment("n6")).value().status == PaymentStatus::failed);

  struct Row {
    const char* field;
    std::function<void(VerifiedPayment&)> spoil;
    Reason reason;
  };
  const Row rows[] = {
      {"/network", [](auto& of) { of.network.clear(); }, Reason::field_value},
      {"/asset", [](auto& of) { of.asset = "a b"; }, Reason::field_value},
      {"/payer", [](auto& of) { of.payer.assign(129, 'a'); }, Reason::field_value},
      {"/pay_to", [](auto& of) { of.pay_to = "\n"; }, Reason::field_value},
      {"/nonce", [](auto& of) { of.nonce.clear(); }, Reason::field_value},
      {"/on_chain", [](auto& of) { of.on_chain = " "; }, Reason::field_value},
      {"/payload", [](auto& of) { of.payload.assign(payment_payload_max + 1, 'a'); }, Reason::field_value},
      {"/amount", [](auto& of) { of.amount = "050"; }, Reason::field_value},
      {"/amount", [](auto& of) { of.amount = "0x1"; }, Reason::field_value},
      {"/amount", [](auto& of) { of.amount.assign(79, '9'); }, Reason::field_value},
      {"/valid_before", [](auto& of) { of.valid_before.us = -1; }, Reason::field_value},
      {"/credit", [](auto& of) { of.credit.micro = 0; }, Reason::amount_zero},
      {"/credit", [](auto& of) { of.credit.micro = core::amount_max.micro + 1; },
       Reason::amount_out_of_range},
  };
  const QuoteId fresh = market.quoted();
  for (const Row& row : rows) {
    CAPTURE(std::string(row.field));
    VerifiedPayment spoilt = payment("n8");
    row.spoil(spoilt);
    const Result<Payment> refused = market.all.present_payment(fresh, spoilt);
    CHECK(refused.reason() == row.reason);
    if (!refused.ok()) CHECK(*refused.error().details.find("field")->string() == row.field);
  }
  VerifiedPayment whole = payment("n8");
  whole.payload.assign(payment_payload_max, 'a');
  CHECK(market.all.present_payment(fresh, whole).ok());
  market.sound();
}

TEST_CASE("a quote's own words: whose, how much, for how long, and its key") {
  Paying market;
  const QuoteTopup asked{.wallet = market.payer, .amount = five, .lasts_s = 60, .idempotency_key = "key"};
  const Quote first = market.all.quote_topup(asked).value();
  CHECK_FALSE(first.replayed);
  market.pass(70);
  const Quote again = market.all.quote_topup(asked).value();
  CHECK(again.replayed);
  CHECK(again.id == first.id);
  CHECK(again.status == QuoteStatus::expired);  // as it stands
  QuoteTopup changed = asked;
  changed.amount.micro += 1;
  CHECK(market.all.quote_topup(changed).reason() == Reason::key_reused);
  changed = asked;
  changed.lasts_s = 61;
  CHECK(market.all.quote_topup(changed).reason() == Reason::key_reused);
  changed = asked;
  changed.kind = QuoteKind::shortfall;
  CHECK(market.all.quote_topup(changed).reason() == Reason::key_reused);
  for (const std::int64_t lasts_s : {std::int64_t{0}, quote_lasts_s_max + 1})
    CHECK(market.all.quote_topup({.wallet = market.payer, .amount = five, .lasts_s = lasts_s}).reason() ==
          Reason::field_value);
  CHECK(market.all.quote_topup({.wallet = market.payer, .amount = five, .lasts_s = quote_lasts_s_max}).ok());
  CHECK(market.all.quote_topup({.wallet = market.payer}).reason() == Reason::amount_zero);
  CHECK(market.all.quote_topup({.wallet = WalletId{}, .amount = five}).reason() == Reason::wallet_unknown);
  CHECK(market.all.quote_topup({.wallet = market.payer, .amount = core::amount_max}).reason() ==
        Reason::balance_out_of_range);

  // A wallet sees its own.
  const WalletCreated other = market.all.create_wallet({.owner_id = "other"}).value();
  Session own = market.engine.session(other.api_key).value();
  CHECK(own.quote(first.id).reason() == Reason::quote_unknown);
  CHECK(own.quotes(market.payer).reason() == Reason::not_your_wallet);
  CHECK(own.quote_topup({.wallet = market.payer, .amount = five}).reason() == Reason::not_your_wallet);
  CHECK(own.settle_payments().reason() == Reason::operator_only);
  const QuoteId mine =
      own.quote_topup({.wallet = other.wallet.id, .amount = five, .idempotency_key = "key"}).value().id;
  CHECK(mine != first.id);  // a key is its caller's
  CHECK(own.present_payment(market.quoted(), payment("n1")).reason() == Reason::quote_unknown);
  CHECK(own.present_payment(mine, payment("n1")).value().status == PaymentStatus::paid);

  for (int i = 0; i < 5; ++i) market.quoted();
  std::set<std::string> seen;
  Page page{.limit = 3};
  do {
    const Listed<Quote> some = market.all.quotes(market.payer, page).value();
    CHECK(some.items.size() <= 3);
    for (const Quote& quote : some.items) CHECK(seen.insert(quote.id.text()).second);
    page.after = some.next;
  } while (!page.after.empty());
  CHECK(seen.size() == 8);

  // Nobody else may credit in a quote's name.
  CHECK(market.all.topup({.wallet = market.payer, .amount = five, .reference = first.id.text()}).reason() ==
        Reason::field_value);
  JobMarket without;
  CHECK(without.all.present_payment(first.id, payment("n1")).reason() == Reason::unsupported);
  CHECK(without.all.settle_payments().reason() == Reason::unsupported);
  market.sound();
}

TEST_CASE("a payment stays where the backend leaves it, and goes on when it is presented or reconciled") {
  // Each row: what is answered by default to each call until the market is told otherwise.
  using Answer = SimulatedTokens::Answer;
  struct Row {
    const char* says;
    std::vector<Answer> told;  ///< To the calls, in their order.
    PaymentStatus first;
    bool moved;  ///< Whether the tokens have moved by then.
  };
  const Row rows[] = {
      {"verify is pending", {Answer::pending}, PaymentStatus::authorized, false},
      {"verify is unavailable", {Answer::unavailable}, PaymentStatus::authorized, false},
      {"settle was not reached", {}, PaymentStatus::settling, false},
      {"settle is pending", {}, PaymentStatus::settling, true},
      {"settle's answer is lost", {}, PaymentStatus::settling, true},
  };
  for (const Row& row : rows)
    for (const bool by_operator : {true, false})
      for (const bool expires : {true, false}) {
        CAPTURE(std::string(row.says));
        CAPTURE(by_operator);
        CAPTURE(expires);
        Paying market;
        const QuoteId id = market.quoted();
        for (const Answer answer : row.told) market.tokens().next(answer);
        if (row.first == PaymentStatus::settling)
          market.backend->script = [&](SettlementCall call) -> std::optional<SettlementAnswer> {
            if (call != SettlementCall::settle) return std::nullopt;
            const std::string says = row.says;
            market.tokens().next(says == "settle is pending"        ? Answer::pending
                                 : says == "settle was not reached" ? Answer::unavailable
                                                                    : Answer::lost);
            return std::nullopt;
          };
        const Payment first = market.all.present_payment(id, payment("n1")).value();
        CHECK(first.status == row.first);
        CHECK_FALSE(first.ended_at);
        CHECK(market.has(ours) == (row.moved ? "50000" : "0"));
        CHECK(market.balance() == 0);
        CHECK(word(market.all.quote(id).value().status) == word(row.first));
        CHECK(market.all.present_payment(id, payment("n2")).reason() == Reason::quote_paid);
        CHECK(market.all.change_wallet(market.payer, {.status = WalletStatus::closed}).reason() ==
              Reason::wallet_not_empty);
        market.sound();
        market.backend->script = nullptr;
        if (expires) market.pass(2 * quote_lasts_s);
        if (by_operator) {
          const PaymentRound round = market.all.settle_payments().value();
          CHECK(round.paid == 1);
          CHECK(round.waiting + round.failed == 0);
        }
        const Payment last = market.all.present_payment(id, payment("n1")).value();
        CHECK(last.status == PaymentStatus::paid);
        CHECK(last.replayed);
        CHECK(last.id == first.id);
        CHECK(market.has(ours) == "50000");
        CHECK(market.balance() == five.micro);
        CHECK(market.all.settle_payments().value().paid == 0);
        market.sound();
      }
}

TEST_CASE("what is on the chain already is credited, once, also where the quote needs it no more") {
  Paying market;
  const auto on_chain = [&](const std::string& nonce, Money credit = five) {
    VerifiedPayment of = payment(nonce);
    of.amount = std::to_string(credit.micro / 100);
    of.credit = credit;
    of.on_chain = market.tokens().pay(of).value();
    return of;
  };
  const QuoteId id = market.quoted();
  const Payment own = market.all.present_payment(id, on_chain("n1")).value();
  CHECK(own.status == PaymentStatus::paid);
  CHECK_FALSE(own.surplus);
  // The payer's client was not answered, and paid again.
  const VerifiedPayment second = on_chain("n2");
  const Payment surplus = market.all.present_payment(id, second).value();
  CHECK(surplus.status == PaymentStatus::paid);
  CHECK(surplus.surplus);
  CHECK(market.balance() == 2 * five.micro);
  CHECK(market.all.present_payment(id, second).value().replayed);
  const QuoteId other = market.quoted();
  CHECK(market.all.present_payment(other, second).reason() == Reason::payment_reused);
  // Too little, and too late.
  CHECK(market.all.present_payment(other, on_chain("n3", Money{1'000'000})).value().surplus);
  CHECK(market.all.quote(other).value().status == QuoteStatus::open);
  market.pass(quote_lasts_s);
  CHECK(market.all.present_payment(other, on_chain("n4")).value().surplus);
  CHECK(market.all.quote(other).value().status == QuoteStatus::expired);
  CHECK(market.balance() == 3 * five.micro + 1'000'000);
  // A transaction that is nowhere, one of another payment, and one that was taken, are none; but a block may
  // come later than the payer, so they are looked for a while.
  VerifiedPayment lie = payment("n5");
  lie.on_chain = "0xabc";
  CHECK(market.all.present_payment(other, lie).value().status == PaymentStatus::authorized);
  lie.nonce = "n6";
  lie.on_chain = second.on_chain;
  CHECK(market.all.present_payment(other, lie).value().status == PaymentStatus::authorized);
  market.pass(core::on_chain_wait_us / core::us_per_second - 1);
  CHECK(market.all.settle_payments().value().waiting == 2);
  market.pass(1);
  CHECK(market.all.settle_payments().value().failed == 2);
  CHECK(market.all.present_payment(other, lie).value().error == "nonce_used");
  CHECK(market.balance() == 3 * five.micro + 1'000'000);
  for (int i = static_cast<int>(market.all.quote(other).value().payments.size());
       i < static_cast<int>(core::payments_a_quote_max); ++i) {
    lie.nonce = "lie" + std::to_string(i);
    CHECK(market.all.present_payment(other, lie).ok());
  }
  lie.nonce = "one-too-many";
  CHECK(market.all.present_payment(other, lie).reason() == Reason::quote_expired);
  market.sound();
}

TEST_CASE(
    "a transaction that a payer named is credited once, by whichever payment, whatever a backend says") {
  Paying market;
  const char* transaction = "0xT";
  market.backend->script = [&](SettlementCall call) {
    return std::optional(SettlementAnswer{
        .outcome = call == SettlementCall::verify ? SettlementOutcome::valid : SettlementOutcome::settled,
        .transaction = transaction});
  };
  const auto pay = [&](const char* nonce, const char* on_chain) {
    VerifiedPayment of = payment(nonce);
    of.on_chain = on_chain;
    return market.all.present_payment(market.quoted(), of).value();
  };
  CHECK(pay("n1", "0xT").status == PaymentStatus::paid);
  const Payment again = pay("n2", "0xT");
  CHECK(again.status == PaymentStatus::failed);
  CHECK(again.error == "transaction_credited");
  CHECK(pay("n3", "").status == PaymentStatus::failed);
  CHECK(market.balance() == five.micro);
  // What a backend settles together is as many payments as it says, and then nobody's to name.
  transaction = "0xU";
  CHECK(pay("n4", "").status == PaymentStatus::paid);
  CHECK(pay("n5", "").status == PaymentStatus::paid);
  CHECK(pay("n6", "0xU").status == PaymentStatus::failed);
  CHECK(market.balance() == 3 * five.micro);
  market.sound();
}

TEST_CASE("money that has moved counts, though another answer came in between that it never would") {
  Paying market;
  const QuoteId id = market.quoted();
  market.backend->script = [&](SettlementCall call) -> std::optional<SettlementAnswer> {
    if (call == SettlementCall::verify) return SettlementAnswer{.outcome = SettlementOutcome::valid};
    if (call == SettlementCall::status)
      return SettlementAnswer{.outcome = SettlementOutcome::refused, .reason = "nonce_used"};
    // Somebody presents it once more while this is under way.
    const Payment meanwhile = market.all.present_payment(id, payment("n1")).value();
    CHECK(meanwhile.status == PaymentStatus::failed);
    CHECK(meanwhile.error == "nonce_used");
    market.sound();
    return SettlementAnswer{.outcome = SettlementOutcome::settled, .transaction = "t"};
  };
  const Payment paid = market.all.present_payment(id, payment("n1")).value();
  CHECK(paid.status == PaymentStatus::paid);
  CHECK(paid.error.empty());
  CHECK(market.all.quote(id).value().status == QuoteStatus::paid);
  CHECK(market.balance() == five.micro);
  market.sound();
}

TEST_CASE("what could not be credited is not begun") {
  Paying market;
  // A wallet that nobody will ever credit.
  const WalletId closed = market.all.create_wallet({.owner_id = "leaves"}).value().wallet.id;
  const QuoteId id = market.all.quote_topup({.wallet = closed, .amount = five}).value().id;
  CHECK(market.all.change_wallet(closed, {.status = WalletStatus::closed}).ok());
  VerifiedPayment moved = payment("n1");
  moved.on_chain = market.tokens().pay(moved).value();
  CHECK(market.all.present_payment(id, moved).reason() == Reason::wallet_not_active);
  CHECK(market.all.present_payment(id, payment("n2")).reason() == Reason::wallet_not_active);
  // One that has filled up since its payment was taken.
  market.backend->script = [](SettlementCall) {
    return std::optional(SettlementAnswer{.outcome = SettlementOutcome::pending});
  };
  const QuoteId late = market.quoted();
  CHECK(market.all.present_payment(late, payment("n3")).value().status == PaymentStatus::authorized);
  const Money room{core::amount_max.micro - 1'000'000'000};
  CHECK(market.all.topup({.wallet = market.payer, .amount = room}).ok());
  market.backend->script = nullptr;
  CHECK(market.all.present_payment(late, payment("n3")).reason() == Reason::balance_out_of_range);
  CHECK(market.backend->settled == 0);
  CHECK(market.has(ours) == "50000");  // the transaction of the closed wallet's payer
  // Words that no version of calyx has.
  CHECK(market.all.quote_topup({.wallet = market.payer, .amount = five, .kind = QuoteKind{7}}).reason() ==
        Reason::field_value);
  VerifiedPayment odd = payment("n4");
  odd.protocol = PaymentProtocol{7};
  CHECK(market.all.present_payment(late, odd).reason() == Reason::field_value);
  market.sound();
}

TEST_CASE("an audit counts thousands of instants") {
  Paying market;
  for (int i = 0; i < 3000; ++i) market.quoted();
  market.sound();
}

TEST_CASE("what settled and cannot be credited waits, and is credited when it can be") {
  Paying market;
  const QuoteId id = market.quoted();
  market.backend->script = [](SettlementCall call) {
    return call == SettlementCall::verify
               ? std::nullopt
               : std::optional(SettlementAnswer{
                     .outcome = SettlementOutcome::settled, .transaction = "t", .credit = core::amount_max});
  };
  CHECK(market.all.present_payment(id, payment("n1")).reason() == Reason::balance_out_of_range);
  CHECK(market.all.quote(id).value().status == QuoteStatus::settling);
  CHECK(market.all.settle_payments().value().waiting == 1);
  CHECK(market.balance() == 0);
  market.sound();
  // Answers out of shape are none: nothing to credit, too much of it, no transaction.
  for (const SettlementAnswer& odd :
       {SettlementAnswer{.outcome = SettlementOutcome::settled, .transaction = "t", .credit = Money{}},
        SettlementAnswer{.outcome = SettlementOutcome::settled,
        .transaction = "t",
        .credit = Money{core::amount_max.micro + 1}},
        SettlementAnswer{.outcome = SettlementOutcome::settled},
        SettlementAnswer{.outcome = SettlementOutcome::valid}}) {
    market.backend->script = [&](SettlementCall) { return std::optional(odd); };
    CHECK(market.all.settle_payments().value().waiting == 1);
  }
  market.backend->script = [](SettlementCall) -> std::optional<SettlementAnswer> {
    throw std::runtime_error("the network is down");
  };
  CHECK(market.all.settle_payments().value().waiting == 1);
  market.backend->script = [](SettlementCall) -> std::optional<SettlementAnswer> { throw std::bad_alloc(); };
  CHECK_THROWS_AS(static_cast<void>(market.all.settle_payments()), std::bad_alloc);
  // What came in may be less than what was asked.
  market.backend->script = [](SettlementCall) {
    return std::optional(SettlementAnswer{
        .outcome = SettlementOutcome::settled, .transaction = "t", .credit = Money{4'999'999}});
  };
  CHECK(market.all.settle_payments().value().paid == 1);
  CHECK(market.balance() == 4'999'999);
  const Payment paid = market.all.present_payment(id, payment("n1")).value();
  CHECK(paid.credited == Money{4'999'999});
  CHECK(paid.transaction == "t");
  market.sound();
}

TEST_CASE("who settles is set while the engine is open: calls under way end as they began") {
  Paying market;
  std::weak_ptr<Played> first = market.backend;
  const auto second = std::make_shared<Played>();
  REQUIRE(second->tokens->mint({"eip155:84532", usdc, theirs}, "1000000").ok());
  bool stands_inside = false;
  market.backend->script = [&](SettlementCall call) {
    if (call == SettlementCall::verify) {
      market.backend.reset();  // the engine alone holds it
      market.engine.set_settlement(second);
      stands_inside = !first.expired();
    }
    return std::optional<SettlementAnswer>();
  };
  CHECK(market.all.present_payment(market.quoted(), payment("n1")).value().status == PaymentStatus::paid);
  CHECK(stands_inside);
  CHECK(first.expired());
  CHECK(second->verified == 0);
  CHECK(market.all.present_payment(market.quoted(), payment("n2")).value().status == PaymentStatus::paid);
  CHECK(second->settled == 1);
  CHECK(second->tokens->settlements().value() == 1);

  const std::weak_ptr<Played> gone = second;
  market.engine.set_settlement(nullptr);
  CHECK(gone.use_count() == 1);  // ours
  CHECK(market.all.present_payment(market.quoted(), payment("n3")).reason() == Reason::unsupported);
  CHECK(market.all.settle_payments().reason() == Reason::unsupported);
  CHECK(market.balance() == 2 * five.micro);
  market.sound();

  // Threads that pay while others come to settle: each payment once, whoever settles it.
  market.engine.set_settlement(second);
  const auto third = std::make_shared<Played>();
  REQUIRE(third->tokens->mint({"eip155:84532", usdc, theirs}, "1000000").ok());
  std::atomic<bool> over{false};
  std::thread changes([&] {
    for (bool other = false; !over; other = !other) market.engine.set_settlement(other ? third : second);
  });
  constexpr int payments = 8;
  for (int i = 0; i < payments; ++i) {
    const auto paid = market.all.present_payment(market.quoted(), payment("t" + std::to_string(i)));
    CHECK(paid.value().status == PaymentStatus::paid);
  }
  over = true;
  changes.join();
  CHECK(second->tokens->settlements().value() + third->tokens->settlements().value() == payments + 1);
  CHECK(market.balance() == (payments + 2) * five.micro);
}

TEST_CASE("64 threads that present one payment are all told of one credit") {
  for (int round = 0; round < by_scale(2, 8, 100); ++round) {
    Paying market;
    const QuoteId id = market.quoted();
    constexpr std::size_t count = 64;
    std::vector<std::optional<Result<Payment>>> answers(count);
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    threads.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      threads.emplace_back([&, i] {
        while (!go) std::this_thread::yield();
        answers[i].emplace(market.all.present_payment(id, payment("n1")));
      });
    go = true;
    for (std::thread& thread : threads) thread.join();
    std::set<std::string> told;
    std::size_t fresh = 0;
    for (const auto& answer : answers) {
      REQUIRE_MESSAGE(answer->ok(), answer->error().message);
      const Payment& of = **answer;
      CHECK(of.status == PaymentStatus::paid);
      told.insert(of.id.text() + of.transaction + of.txn->text());
      if (!of.replayed) ++fresh;
    }
    CHECK(told.size() == 1);
    CHECK(fresh == 1);
    CHECK(market.balance() == five.micro);
    CHECK(market.has(ours) == "50000");
    CHECK(market.tokens().settlements().value() == 1);
    market.sound();
  }
}

TEST_CASE("64 threads with a payment each for one quote: one is taken") {
  Paying market;
  const QuoteId id = market.quoted();
  std::atomic<int> paid{0}, refused{0};
  std::vector<std::thread> threads;
  threads.reserve(64);
  for (int i = 0; i < 64; ++i)
    threads.emplace_back([&, i] {
      const Result<Payment> answer = market.all.present_payment(id, payment("n" + std::to_string(i)));
      if (answer.ok() && answer->status == PaymentStatus::paid) ++paid;
      if (answer.reason() == Reason::quote_paid) ++refused;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(paid == 1);
  CHECK(refused == 63);
  CHECK(market.balance() == five.micro);
  CHECK(market.has(ours) == "50000");
  market.sound();
}

TEST_CASE("quotes and payments take no change, and an audit finds what was changed all the same") {
  const store::Scratch scratch;
  const std::string made = scratch / "made.db";
  {
    Options options;
    options.path = made;
    Paying market(std::make_shared<Played>(), options);
    CHECK(market.all.present_payment(market.quoted(), payment("n1")).ok());
    const QuoteId second = market.quoted();
    market.tokens().next(SimulatedTokens::Answer::refused);
    CHECK(market.all.present_payment(second, payment("n2")).ok());
    VerifiedPayment paid = payment("n3");
    paid.on_chain = market.tokens().pay(paid).value();
    CHECK(market.all.present_payment(second, paid).value().surplus);
    const QuoteId third = market.quoted();
    market.tokens().next(SimulatedTokens::Answer::pending);
    CHECK(market.all.present_payment(third, payment("n4")).value().status == PaymentStatus::authorized);
    market.quoted();
    market.sound();
  }
  Raw(made).run("PRAGMA wal_checkpoint(TRUNCATE)");
  {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(made.c_str(), &db) == SQLITE_OK);
    for (const char* change : {"UPDATE quotes SET amount = 1", "DELETE FROM quotes",
                               "UPDATE payments SET credit = 1", "DELETE FROM payments",
                               "INSERT INTO payments SELECT 9, 4, 1, at_us, protocol, network, asset, payer, "
                               "nonce, pay_to, amount, credit, valid_before, payload, on_chain FROM payments "
                               "WHERE number = 1",
                               "INSERT INTO payments SELECT 9, quote, 0, at_us, protocol, network, asset, "
                               "payer, 'n9', pay_to, amount, credit, valid_before, payload, on_chain FROM "
                               "payments WHERE number = 1"}) {
      CAPTURE(std::string(change));
      CHECK(sqlite3_exec(db, change, nullptr, nullptr, nullptr) == SQLITE_CONSTRAINT);
    }
    sqlite3_close(db);
  }
  const auto found_in = [&](const char* change) {
    const std::string path = scratch / "copy.db";
    for (const char* suffix : {"-wal", "-shm", "-gate", "-keys"}) std::filesystem::remove(path + suffix);
    std::filesystem::copy_file(made, path, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(made + "-keys", path + "-keys");
    if (*change != '\0') Edit(path).run(change);
    Options options;
    options.path = path;
    return Engine::open(options).value().as_operator().audit().value().first_fault;
  };
  CHECK(found_in("").empty());
  for (const char* change : {"UPDATE quotes SET amount = amount + 1 WHERE number = 1",
                             "UPDATE quotes SET account = 99",
                             "UPDATE quotes SET at_us = at_us + 1000 WHERE number = 1",
                             "DELETE FROM quotes WHERE number = 3",
                             "DELETE FROM quotes WHERE number = 1",
                             "UPDATE quotes SET kind = 7 WHERE number = 4",
                             "UPDATE payments SET quote = 4 WHERE number = 1",
                             "UPDATE payments SET quote = 9 WHERE number = 4",
                             "UPDATE payments SET surplus = 0, quote = 4 WHERE number = 3",
                             "UPDATE payments SET at_us = at_us + 1000 WHERE number = 3",
                             "UPDATE payments SET credit = 1 WHERE number = 1",
                             "DELETE FROM payments WHERE number = 4",
                             "DELETE FROM payments WHERE number = 2",
                             "DELETE FROM payment_states WHERE payment = 1",
                             "UPDATE payment_states SET status = 3 WHERE payment = 1",
                             "UPDATE payment_states SET status = 2 WHERE payment = 2",
                             "UPDATE payment_states SET status = 2, ended_us = 1 WHERE payment = 4",
                             "UPDATE payment_states SET status = 7 WHERE payment = 4",
                             "UPDATE payment_states SET ended_us = ended_us + 1 WHERE payment = 1",
                             "UPDATE payment_states SET seq = seq + 1 WHERE payment = 3",
                             "UPDATE payment_states SET credited = credited + 1 WHERE payment = 3",
                             "UPDATE payment_states SET credited = 1 WHERE payment = 4",
                             "INSERT INTO payment_states VALUES(9, 3, 1, 0, 0, '')"}) {
    CAPTURE(std::string(change));
    CHECK_FALSE(found_in(change).empty());
  }
}

TEST_CASE("tokens move once, from who has them, and what is told comes in its turn") {
  const store::Scratch scratch;
  const std::string path = scratch / "tokens";
  using Answer = SimulatedTokens::Answer;
  const TokenAccount their_account{"eip155:84532", usdc, theirs}, our_account{"eip155:84532", usdc, ours};
  {
    const auto tokens = SimulatedTokens::open(path).value();
    const auto other = SimulatedTokens::open(path).value();
    CHECK(tokens->verify(payment("n1")).reason == "insufficient_funds");
    CHECK(tokens->mint(their_account, "120000").ok());
    CHECK(other->balance(their_account).value() == "120000");
    CHECK(tokens->verify(payment("n1")).outcome == SettlementOutcome::valid);
    CHECK(tokens->status("k1").outcome == SettlementOutcome::unknown);
    const SettlementAnswer done = tokens->settle("k1", payment("n1"));
    CHECK(done.outcome == SettlementOutcome::settled);
    CHECK(done.transaction.size() == 66);
    CHECK(other->settle("k1", payment("n1")).transaction == done.transaction);
    CHECK(other->status("k1").transaction == done.transaction);
    CHECK(other->settle("k2", payment("n1")).reason == "nonce_used");
    CHECK(tokens->status("k2").reason == "nonce_used");  // for good
    CHECK(tokens->balance(our_account).value() == "50000");
    tokens->next(Answer::lost);
    CHECK(tokens->settle("k3", payment("n3")).outcome == SettlementOutcome::unavailable);
    CHECK(tokens->status("k3").outcome == SettlementOutcome::settled);
    CHECK(tokens->settle("k4", payment("n4")).reason == "insufficient_funds");
    CHECK(tokens->mint(their_account, "50000").ok());
    CHECK(tokens->settle("k4", payment("n4")).reason == "insufficient_funds");  // what was refused stays so
    tokens->next(Answer::pending, 2);
    CHECK(tokens->settle("k5", payment("n5")).outcome == SettlementOutcome::pending);
    CHECK(tokens->status("k5").outcome == SettlementOutcome::pending);
    CHECK(tokens->status("k5").outcome == SettlementOutcome::settled);
    CHECK(tokens->settlements().value() == 3);
    CHECK(tokens->balance(their_account).value() == "20000");
    VerifiedPayment odd = payment("n6");
    odd.amount = std::string(38, '9');
    CHECK(tokens->verify(odd).reason == "amount");
    CHECK(tokens->mint(their_account, std::string(37, '9')).reason() == Reason::field_value);
    CHECK(tokens->mint({"a", "b", ""}, "1").reason() == Reason::field_value);
  }
  // What a crash cut short is gone, and what was whole stands.
  {
    std::FILE* file = std::fopen(path.c_str(), "a");
    REQUIRE(file != nullptr);
    std::fputs("mint eip155:84532 ", file);
    std::fclose(file);
  }
  {
    const auto tokens = SimulatedTokens::open(path).value();
    CHECK(tokens->balance(their_account).value() == "20000");
    CHECK(tokens->mint(their_account, "1").ok());
    CHECK(SimulatedTokens::open(path).value()->balance(their_account).value() == "20001");
    CHECK(tokens->status("k4").reason == "insufficient_funds");
  }
  {
    std::FILE* file = std::fopen(path.c_str(), "a");
    REQUIRE(file != nullptr);
    std::fputs("steal everything\n", file);
    std::fclose(file);
  }
  CHECK(SimulatedTokens::open(path).reason() == Reason::corrupt);
  CHECK(SimulatedTokens::open(scratch / "no/such/folder").reason() == Reason::io_error);
}
