#include "services/payments.hpp"

#include <calyx/core/request_signature.hpp>
#include <calyx/engine.hpp>
#include <functional>
#include <new>

#include "crypto/sha256.hpp"
#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"
#include "engine/paying.hpp"
#include "payments/mpp.hpp"

namespace calyx {

// Here, so that the class has one table and one type wherever it is derived from.
SettlementBackend::~SettlementBackend() = default;
bool SettlementBackend::judges_contracts() const noexcept { return false; }

using services::Book;
using services::Transaction;
using store::MarketStore;

namespace {

constexpr std::size_t payments_a_look = 64;

/// Fails: `unsupported`.
Result<Done> someone(const std::shared_ptr<SettlementBackend>& backend) {
  if (backend == nullptr) return fail(Reason::unsupported, "nobody settles payments: the host says who does");
  return Done{};
}

/// What the backend throws is no answer, but for a lack of memory.
SettlementAnswer ask(SettlementBackend& backend, SettlementCall call, const Payment& payment) {
  // It was taken for another backend, which would have judged it. What that began is still asked about.
  if (call != SettlementCall::status && !backend.judges_contracts() &&
      engine::signed_by_contract(payment.facts))
    return {};
  try {
    switch (call) {
      case SettlementCall::verify: return services::fit(backend.verify(payment.facts), payment.facts.credit);
      case SettlementCall::settle:
        return services::fit(backend.settle(payment.id.text(), payment.facts), payment.facts.credit);
      case SettlementCall::status:
        return services::fit(backend.status(payment.id.text()), payment.facts.credit);
    }
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
  }
  return {};
}

/// Also a failed payment keeps its id: were the next one to have it, a third would not find that one.
Error identifier_reused() {
  return fail(
      Reason::payment_reused,
      "the payment's id came before, with another payment: pay anew by another id, if that one failed");
}
Error would_not_settle(const SettlementAnswer& answer) {
  return fail(Reason::payment_invalid, "the payment would not settle: " + answer.reason,
              core::json::object({{"code", answer.reason}}));
}

/// The backend's word that `payment` would settle. Fails: `payment_invalid`, `outcome_unknown`.
Result<Done> check_would_settle(SettlementBackend& backend, const VerifiedPayment& payment) {
  Payment asked;
  asked.facts = payment;
  const SettlementAnswer answer = ask(backend, SettlementCall::verify, asked);
  switch (answer.outcome) {
    case SettlementOutcome::valid:
    case SettlementOutcome::settled: return Done{};
    case SettlementOutcome::refused: return would_not_settle(answer);
    case SettlementOutcome::unavailable:
    case SettlementOutcome::pending:
    case SettlementOutcome::unknown: break;
  }
  return fail(Reason::outcome_unknown,
              "nobody can say yet whether the payment is good: make the same call again, with it");
}

/// Asks the backend, `call` first, and writes down what it says, as far as that leads.
Result<Payment> go_on(Market& market, SettlementBackend& backend, const services::PaymentTaken& taken,
                      SettlementCall call) {
  Payment payment = taken.payment;
  while (!is_terminal(payment.status)) {
    const SettlementAnswer answer = ask(backend, call, payment);
    if (core::judge_settlement({.status = payment.status, .call = call, .outcome = answer.outcome}) ==
        core::SettlementNext::settle) {
      call = SettlementCall::settle;
      continue;
    }
    // Also what changes nothing: somebody else may have gone on meanwhile.
    CALYX_TRY(Payment moved, market.write([&](Transaction& tx) {
      return services::move_payment(tx, taken.number, call, answer);
    }));
    moved.replayed = payment.replayed;
    payment = std::move(moved);
    if (call != SettlementCall::verify || payment.status != PaymentStatus::settling) break;
    call = SettlementCall::settle;
  }
  return payment;
}

Result<WalletId> wallet_in(const engine::Reading& by, const store::QuoteRow& row) {
  const core::AccountNumber at = row.account - core::wallet_first;
  if (at < 0 || static_cast<std::size_t>(at) >= by.wallets.size())
    return store::damaged_row("quotes", row.number, "its wallet is none");
  return by.wallets[static_cast<std::size_t>(at)];
}

Result<Done> check_open(const Quote& quote) {
  switch (quote.status) {
    case QuoteStatus::open: return Done{};
    case QuoteStatus::expired:
      return fail(Reason::quote_expired, "the quote has expired: ask for another one");
    case QuoteStatus::failed:
      return fail(Reason::quote_failed, "the quote's payment failed: ask for another quote");
    case QuoteStatus::authorized:
    case QuoteStatus::settling:
    case QuoteStatus::paid: break;
  }
  return fail(Reason::quote_paid, "the quote has its payment");
}

/// What the open `quote` asks for, at `resource`; on `network` alone, if one is named.
Result<engine::Asked> asked_for(Market& market, const Quote& quote, std::string_view resource,
                                std::string_view network = {}) {
  CALYX_CHECK(check_open(quote));
  return engine::asked_of(market,
                          {.amount = quote.amount, .expires_at = quote.expires_at, .name = quote.id.text()},
                          resource, network);
}

/// What may forbid a payment in the transaction that takes it; null forbids none.
using Forbids = std::function<Result<Done>(Transaction&)>;

/// Takes a payment for quote `id`, and goes on with it as far as who settles says.
Result<Payment> present(Market& market, const Principal& principal, QuoteId id,
                        const VerifiedPayment& payment, const Forbids& forbids) {
  const std::shared_ptr<SettlementBackend> backend = market.settlement();
  CALYX_CHECK(someone(backend));
  CALYX_TRY(const services::PaymentTaken taken,
            market.write([&](Transaction& tx) -> Result<services::PaymentTaken> {
              if (forbids) CALYX_CHECK(forbids(tx));
              return services::take_payment(tx, principal, id, payment);
            }));
  return go_on(market, *backend, taken, core::first_call(taken.payment.status));
}

/// What came for credits of one wallet before.
struct Before {
  std::optional<store::QuoteRow> quote;  ///< Which had this very payment, by its words.
  bool other = false;                    ///< A payment in other words has the name of this one.
  std::int64_t newest = 0;               ///< The number of the market's last payment.
};

constexpr std::size_t quotes_looked_at = 64;

/// Looks among the payments for `wallet` after `from`. `named` is the name of the one in `words`, or empty.
Result<Before> payments_before(store::PaymentStore& payments, core::AccountNumber wallet, QuoteKind kind,
                               const PaymentWords& words, std::string_view named, std::int64_t from = 0) {
  Before out;
  CALYX_TRY(out.newest, payments.last_payment());
  if (out.newest <= from) return out;
  CALYX_TRY(const auto quotes, payments.newest_quotes(wallet, quotes_looked_at, false));
  for (const store::QuoteRow& quote : quotes) {
    if (out.quote || quote.kind != static_cast<std::int64_t>(kind)) continue;
    CALYX_CHECK(payments.payments_of(quote.number, [&](const store::PaymentRow& payment) -> Result<bool> {
      if (payment.number <= from) return true;
      if (payment.payload == words.text)
        out.quote = quote;
      else if (!named.empty() && payment.protocol == static_cast<std::int64_t>(PaymentProtocol::x402_v2))
        out.other = out.other || engine::identifier_of({.text = payment.payload}) == named;
      return !out.quote;
    }));
  }
  return out;
}

}  // namespace

std::shared_ptr<SettlementBackend> Market::settlement() const {
  const std::lock_guard lock(settlement_mutex_);
  return options_.settlement;
}
void Engine::set_settlement(std::shared_ptr<SettlementBackend> backend) { market_->set_settlement(backend); }

Result<Quote> Session::quote_topup(const QuoteTopup& asked) {
  return market_->write([&](Transaction& tx) { return services::quote_topup(tx, principal_, asked); });
}

Result<Quote> Session::quote(QuoteId id) {
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  CALYX_TRY(const Instant now, market_->read([](const Book&, Instant at) -> Result<Instant> { return at; }));
  return market_->history([&](MarketStore& store) -> Result<Quote> {
    CALYX_TRY(const store::QuoteRow row, services::quote_row(store, by.tag, id));
    if (!engine::may_read(by, row.account)) return services::no_quote(id);
    CALYX_TRY(const WalletId wallet, wallet_in(by, row));
    return services::view_quote(store, by.tag, wallet, row, now);
  });
}

Result<Listed<Quote>> Session::quotes(WalletId wallet, const Page& page) {
  Instant now;
  std::uint32_t tag = 0;
  CALYX_TRY(const core::AccountNumber account,
            market_->read([&](const Book& book, Instant at) -> Result<core::AccountNumber> {
              now = at;
              tag = book.tag;
              CALYX_TRY(const services::Caller caller,
                        services::authorize(book, principal_, services::For::derived_keys));
              CALYX_TRY(const services::WalletState* state, services::readable(book, caller, wallet));
              return state->number;
            }));
  CALYX_TRY(const std::int64_t after, engine::cursor(page));
  return market_->history([&](MarketStore& store) -> Result<Listed<Quote>> {
    std::vector<store::QuoteRow> rows;
    CALYX_CHECK(store.payments().quotes_of(account, after, [&](const store::QuoteRow& row) -> Result<bool> {
      rows.push_back(row);
      return rows.size() <= page.limit;
    }));
    Listed<Quote> out;
    if (rows.size() > page.limit) {
      rows.pop_back();
      out.next = std::to_string(rows.back().number);
    }
    out.items.reserve(rows.size());
    for (const store::QuoteRow& row : rows) {
      CALYX_TRY(out.items.emplace_back(), services::view_quote(store, tag, wallet, row, now));
      // All of a page together could take a quarter of a gigabyte.
      for (Payment& payment : out.items.back().payments) payment.facts.payload.clear();
    }
    return out;
  });
}

Result<Payment> Session::present_payment(QuoteId id, const VerifiedPayment& payment) {
  return present(*market_, principal_, id, payment, {});
}

Result<PaymentRound> Session::settle_payments() {
  CALYX_CHECK(market_->read([&](const Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const services::Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  const std::shared_ptr<SettlementBackend> backend = market_->settlement();
  CALYX_CHECK(someone(backend));
  PaymentRound out;
  // What comes while this runs is the next round's.
  CALYX_TRY(const std::int64_t last,
            market_->history([](MarketStore& store) { return store.payments().last_payment(); }));
  for (std::int64_t after = 0;;) {
    CALYX_TRY(const std::vector<std::int64_t> numbers, market_->history([&](MarketStore& store) {
      return store.payments().under_way(after, payments_a_look);
    }));
    if (numbers.empty()) return out;
    for (const std::int64_t number : numbers) {
      if (number > last) return out;
      after = number;
      CALYX_TRY(const services::PaymentTaken taken,
                market_->write([&](Transaction& tx) { return services::payment_at(tx, number); }));
      const Result<Payment> payment =
          go_on(*market_, *backend, taken, core::first_call(taken.payment.status));
      // What a wallet cannot take stays under way, and keeps nobody else's from being settled.
      if (!payment.ok() && !is_refusal(payment.reason())) return payment.error();
      const PaymentStatus status = payment.ok() ? payment->status : PaymentStatus::settling;
      ++(status == PaymentStatus::paid     ? out.paid
         : status == PaymentStatus::failed ? out.failed
                                           : out.waiting);
    }
  }
}

Result<PaymentTerms> Session::payment_terms() {
  return market_->read([&](const Book& book, Instant) -> Result<PaymentTerms> {
    CALYX_TRY(const services::Caller caller,
              services::authorize(book, principal_, services::For::derived_keys));
    static_cast<void>(caller);
    return book.payment_terms;
  });
}

Result<PaymentTerms> Session::change_settings(const PaymentTermsChange& change,
                                              const std::optional<core::Prices>& prices) {
  return market_->write(
      [&](Transaction& tx) { return services::change_settings(tx, principal_, change, prices); });
}

Result<PaymentChallenge> Session::payment_challenge(QuoteId id, const PaymentAsk& ask) {
  CALYX_TRY(const Quote quote, this->quote(id));
  CALYX_TRY(const engine::Asked asked, asked_for(*market_, quote, ask.resource, ask.network));
  return engine::challenge_of(asked, ask);
}

namespace {

/// Judges the payment in `words` and presents it for quote `id`.
Result<PaymentAnswer> pay(Session& session, Market& market, const Principal& principal, QuoteId id,
                          const PaymentWords& words, const Forbids& forbids) {
  const auto find = [&](std::optional<Payment>& before, Quote quote) {
    for (Payment& payment : quote.payments)
      if (!before && engine::same_words(payment, words)) before = std::move(payment);
  };
  CALYX_TRY(const Quote quote, session.quote(id));
  std::optional<Payment> before;
  find(before, quote);
  VerifiedPayment facts;
  if (!before) {
    CALYX_TRY(const engine::Asked asked, asked_for(market, quote, {}));
    CALYX_TRY(facts, engine::judge(asked, words));
    // A contract's signature that is none must not cost the quote.
    if (const auto backend = market.settlement(); backend != nullptr && engine::signed_by_contract(facts)) {
      if (const Result<Done> good = check_would_settle(*backend, facts); !good.ok()) {
        // What somebody settled meanwhile in these words would not settle again.
        CALYX_TRY(Quote now, session.quote(id));
        find(before, std::move(now));
        if (!before) return good.error();
      }
    }
  }
  PaymentAnswer out;
  // What has ended needs nobody to settle it.
  if (before && is_terminal(before->status)) {
    out.payment = *std::move(before);
    out.payment.replayed = true;
  } else {
    CALYX_TRY(out.payment, before ? present(market, principal, id, before->facts, {})
                                  : present(market, principal, id, facts, forbids));
  }
  out.response = engine::response_to(out.payment, words);
  return out;
}

}  // namespace

Result<PaymentAnswer> Session::pay_quote(QuoteId id, const PaymentWords& words) {
  return pay(*this, *market_, principal_, id, words, {});
}

Result<PaymentAnswer> Session::pay_credits(Money amount, const PaymentWords& words, QuoteKind kind) {
  if (!principal_.wallet)
    return services::field_error(Reason::field_value, "/wallet_id", "an operator has no account of its own");
  std::optional<QuoteId> id;
  if (engine::is_mpp(words.header)) {
    id = QuoteId::read(
        engine::name_in(payments::mpp::read_authorization(words.text).credential.challenge, "quote"));
    const Result<Quote> meant = id ? quote(*id) : Result<Quote>(services::no_quote(QuoteId{}));
    // What was taken in these words goes on, whatever is asked for by now: else its client would pay twice.
    const bool taken =
        meant.ok() && meant->wallet == *principal_.wallet &&
        std::any_of(meant->payments.begin(), meant->payments.end(),
                    [&](const Payment& payment) { return engine::same_words(payment, words); });
    // A challenge of another call, another amount or another wallet is none of this one.
    if (!taken && (!meant.ok() || meant->wallet != *principal_.wallet || meant->kind != kind ||
                   meant->amount != amount))
      return engine::refused(
          {core::mpp::Problem::invalid_challenge, "the challenge is not of this call", false});
  }
  if (id) return pay_quote(*id, words);
  // x402 names no quote: a payment that came before is found by its words.
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  const std::string named = engine::identifier_of(words);
  const auto look = [&] {
    return market_->history([&](MarketStore& store) {
      return payments_before(store.payments(), by.caller.wallet, kind, words, named);
    });
  };
  CALYX_TRY(const Before before, look());
  if (before.quote) return pay_quote(services::quote_id_of(by.tag, *before.quote), words);
  if (before.other) return identifier_reused();
  CALYX_TRY(const Quote quote, quote_topup({.wallet = *principal_.wallet, .amount = amount, .kind = kind}));
  // Another one of this name may be taken meanwhile.
  const auto forbids = [&](Transaction& tx) -> Result<Done> {
    if (named.empty()) return Done{};
    CALYX_TRY(const Before since,
              payments_before(tx.store().payments(), by.caller.wallet, kind, words, named, before.newest));
    return since.other && !since.quote ? Result<Done>(identifier_reused()) : Done{};
  };
  Result<PaymentAnswer> answer = pay(*this, *market_, principal_, quote.id, words, forbids);
  if (answer.reason() != Reason::payment_reused && answer.reason() != Reason::payment_invalid) return answer;
  // Unless it was taken in these very words after they were looked for: then it is this one, and a contract's
  // would not settle again.
  CALYX_TRY(const Before now, look());
  if (!now.quote) return answer;
  return pay_quote(services::quote_id_of(by.tag, *now.quote), words);
}

Result<Money> Session::paid_in(WalletId wallet) {
  CALYX_TRY(const core::AccountNumber account,
            market_->read([&](const Book& book, Instant) -> Result<core::AccountNumber> {
              CALYX_TRY(const services::Caller caller,
                        services::authorize(book, principal_, services::For::derived_keys));
              CALYX_TRY(const services::WalletState* state, services::readable(book, caller, wallet));
              return state->number;
            }));
  return market_->history([&](store::MarketStore& store) { return store.payments().credited_to(account); });
}

// ── calls without a key ──

namespace {

constexpr std::size_t call_name_octets = 16;

/// Whose wallet a payment credits that came with a call. A contract's address is its own on its chain alone,
/// and accounts are of Base.
Result<std::string> account_of(const VerifiedPayment& payment) {
  namespace signing = core::request_signature;
  if (core::find_evm_asset(payment.network) == nullptr)
    return signing::account_of(signing::Chain::solana, payment.payer);
  std::string out = signing::account_of(signing::Chain::base, payment.payer);
  if (engine::signed_by_contract(payment) && out != payment.network + ":" + payment.payer)
    return fail(Reason::payment_invalid, "a contract pays for a call without a key on Base alone",
                core::json::object({{"code", "unexpected_verify_error"}}));
  return out;
}

/// Fails: as `Engine::payment_challenge`.
Result<engine::Asked> asked_for_call(Market& market, Money price, const PaymentAsk& ask) {
  CALYX_CHECK(services::check_amount("/price", price));
  std::string octets(call_name_octets, '\0');
  if (!market.seams().random(octets.data(), octets.size()))
    return fail(Reason::io_error, "no random bytes are to be had");
  CALYX_TRY(engine::Asked out,
            engine::asked_of(market, {.amount = price, .name = core::hex(octets), .of_call = true},
                             ask.resource, ask.network));
  out.what.expires_at = {out.now.us + quote_lasts_s * core::us_per_second};
  return out;
}

}  // namespace

Result<PaymentChallenge> Engine::payment_challenge(Money price, const PaymentAsk& ask) {
  CALYX_TRY(const engine::Asked asked, asked_for_call(*market_, price, ask));
  return engine::challenge_of(asked, ask);
}

Result<PaidCall> Engine::pay_for_call(Money price, const PaymentWords& words) {
  Market& market = *market_;
  const std::string named = engine::identifier_of(words);
  services::CallPayment call{.price = price,
                             .once = (named.empty() ? "call-" : "call-id-") +
                                     core::hex(crypto::Sha256{}(named.empty() ? words.text : named))};
  const auto find = [&] {
    return market.history([&](MarketStore& store) { return services::call_payment(store, call.once); });
  };
  CALYX_TRY(std::optional<std::int64_t> before, find());
  const std::shared_ptr<SettlementBackend> backend = market.settlement();
  services::PaymentTaken taken;
  if (!before) {
    CALYX_TRY(const engine::Asked asked, asked_for_call(market, price, {}));
    CALYX_TRY(const VerifiedPayment facts, engine::judge(asked, words));
    CALYX_TRY(call.account, account_of(facts));
    CALYX_CHECK(someone(backend));
    if (const Result<Done> good = check_would_settle(*backend, facts); good.ok()) {
      CALYX_TRY(taken,
                market.write([&](Transaction& tx) { return services::take_call_payment(tx, call, facts); }));
    } else {
      // What somebody settled meanwhile in these words would not settle again.
      CALYX_TRY(before, find());
      if (!before) return good.error();
    }
  }
  if (before) {
    CALYX_TRY(taken, market.write([&](Transaction& tx) { return services::payment_at(tx, *before); }));
    taken.payment.replayed = true;
  }
  if (!engine::same_words(taken.payment, words)) {
    Error reused = named.empty() ? fail(Reason::payment_reused, "the payment came before in other words")
                                 : identifier_reused();
    reused.details = core::json::object({{"payment_id", taken.payment.id.text()}});
    return reused;
  }
  PaidCall out;
  if (!is_terminal(taken.payment.status)) {
    CALYX_CHECK(someone(backend));
    // Of one that was taken just now nobody can have asked before.
    CALYX_TRY(taken.payment, go_on(market, *backend, taken,
                                   taken.payment.replayed ? SettlementCall::status : SettlementCall::settle));
  }
  out.answer.payment = std::move(taken.payment);
  const Payment& payment = out.answer.payment;
  out.answer.response = engine::response_to(payment, words);
  if (payment.status != PaymentStatus::paid) return out;
  // Whoever has the words has what they paid for; all else of the wallet is its owner's. A settled payment's
  // words are no secret, so after a while they begin nothing any more, and what came back is the owner's
  // alone.
  core::KeyBlock block{.id = crypto::Sha256{}("calyx paid call 1\n" + payment.id.text())};
  CALYX_TRY(Principal principal, market.read([&](const Book& book, Instant now) -> Result<Principal> {
    block.limits.budget = services::is_fresh(payment, now) ? payment.credited : Money{};
    const services::WalletState* const wallet = book.find(payment.wallet);
    if (wallet == nullptr) return services::no_such_key();
    return Principal{.role = Role::human,
                     .wallet = wallet->id,
                     .key = {},
                     .whitelisted = services::whitelisted(book, *wallet)};
  }));
  principal.blocks = std::make_shared<const core::KeyBlocks>(core::KeyBlocks{std::move(block)});
  out.session = Session(market, std::move(principal));
  return out;
}

Result<KeyIssued> Engine::issue_management_key(PaymentId paid) {
  return market_->write([&](Transaction& tx) { return services::issue_management_key(tx, paid); });
}

}  // namespace calyx
