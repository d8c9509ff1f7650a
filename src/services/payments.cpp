#include "services/payments.hpp"

#include <algorithm>
#include <calyx/core/payment_terms.hpp>

#include "services/identity.hpp"
#include "services/jobs.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using store::PaymentRow;
using store::PaymentState;
using store::QuoteRow;

constexpr std::size_t digits_max = 78;  // of 2^256 - 1

Error lost_row(std::string_view what, std::int64_t number) {
  return fail(Reason::corrupt,
              std::string(what).append(" ").append(std::to_string(number)) + " has lost a row; run an audit");
}

Result<PaymentState> payment_state_of(store::MarketStore& store, std::int64_t number) {
  CALYX_TRY(std::optional<PaymentState> state, store.payments().state(number));
  if (!state || state->status < 0 || state->status > static_cast<std::int64_t>(PaymentStatus::failed))
    return lost_row("payment", number);
  return *std::move(state);
}

PaymentStatus status_of(const PaymentState& state) noexcept {
  return static_cast<PaymentStatus>(state.status);
}

Result<Payment> view(store::MarketStore& store, std::uint32_t tag, WalletId wallet, const QuoteRow& quote,
                     const PaymentRow& row) {
  CALYX_TRY(PaymentState state, payment_state_of(store, row.number));
  if (row.protocol < 0 || row.protocol > static_cast<std::int64_t>(PaymentProtocol::mpp))
    return lost_row("payment", row.number);
  Payment out{.id = payment_id_of(tag, row),
              .quote = quote_id_of(tag, quote),
              .wallet = wallet,
              .status = status_of(state),
              .surplus = row.surplus,
              .facts = {.protocol = static_cast<PaymentProtocol>(row.protocol),
                        .network = row.network,
                        .asset = row.asset,
                        .payer = row.payer,
                        .pay_to = row.pay_to,
                        .nonce = row.nonce,
                        .amount = row.amount,
                        .credit = row.credit,
                        .valid_before = row.valid_before,
                        .payload = row.payload,
                        .on_chain = row.on_chain},
              .created_at = row.at};
  if (is_terminal(out.status)) out.ended_at = state.ended;
  if (out.status == PaymentStatus::paid) {
    out.transaction = std::move(state.text);
    out.credited = state.credited;
    out.txn = TxnId::make(state.ended.us, static_cast<std::uint64_t>(state.seq), tag);
  } else {
    out.error = std::move(state.text);
  }
  return out;
}

struct FoundPayment {
  PaymentRow row;
  QuoteRow quote;
};
/// The wallet that a quote credits. Fails: `corrupt` when the row names none.
Result<const WalletState*> wallet_of(const Book& book, const QuoteRow& quote) {
  const WalletState* const wallet = book.wallet(quote.account);
  if (wallet == nullptr) return lost_row("quote", quote.number);
  return wallet;
}
Result<FoundPayment> find_payment(store::MarketStore& store, std::int64_t number) {
  CALYX_TRY(std::optional<PaymentRow> row, store.payments().payment(number));
  if (!row) return lost_row("payment", number);
  CALYX_TRY(std::optional<QuoteRow> quote, store.payments().quote(row->quote));
  if (!quote) return lost_row("quote", row->quote);
  return FoundPayment{*std::move(row), *std::move(quote)};
}

Result<Payment> view(Transaction& tx, const FoundPayment& found) {
  CALYX_TRY(const WalletState* const wallet, wallet_of(tx.book(), found.quote));
  return view(tx.store(), tx.book().tag, wallet->id, found.quote, found.row);
}

Result<Done> check_facts(const VerifiedPayment& asked) {
  const std::pair<const char*, const std::string*> texts[] = {{"/network", &asked.network},
                                                              {"/asset", &asked.asset},
                                                              {"/payer", &asked.payer},
                                                              {"/pay_to", &asked.pay_to},
                                                              {"/nonce", &asked.nonce}};
  for (const auto& [field, text] : texts) CALYX_CHECK(check_key_text(field, *text, Empty::refused));
  CALYX_CHECK(check_key_text("/on_chain", asked.on_chain, Empty::allowed));
  CALYX_CHECK(check_name("/payload", asked.payload, payment_payload_max, Empty::allowed));
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (asked.amount.empty() || asked.amount.size() > digits_max || asked.amount.front() == '0' ||
      !std::all_of(asked.amount.begin(), asked.amount.end(), is_digit))
    return field_error(Reason::field_value, "/amount", "is no number of atomic units above 0");
  if (asked.valid_before.us < 0 || asked.valid_before > core::instant_max)
    return field_error(Reason::field_value, "/valid_before", "is outside 1970 to 9999");
  if (asked.protocol > PaymentProtocol::mpp) return field_error(Reason::field_value, "/protocol", "is none");
  return check_amount("/credit", asked.credit);
}

/// Whether the wallet can take what would be moved for it.
Result<Done> check_can_credit(const Book& book, const WalletState& wallet, const PaymentRow& row) {
  // What has moved already is not turned away for want of room, only where nobody will ever take it.
  if (!row.on_chain.empty()) return check_room(wallet, Money{});
  CALYX_CHECK(check_room(wallet, row.credit));
  return check_supply(book, row.credit);
}

/// Credits a payment that has settled; it is a top-up that bears the payment's own reference.
Result<Placed> credit(Transaction& tx, const FoundPayment& found, Money amount) {
  CALYX_TRY(const WalletState* const credited, wallet_of(tx.book(), found.quote));
  const WalletState& wallet = *credited;
  CALYX_CHECK(check_room(wallet, amount));
  CALYX_CHECK(check_supply(tx.book(), amount));
  std::string reference = credit_reference(tx.book().tag, found.quote, found.row);
  CALYX_TRY(const std::optional<Seq> before,
            tx.store().find_request(wallet.number, store::RequestKind::topup_reference, reference));
  if (before) return reused(Reason::key_reused, "reference");
  CALYX_TRY(const Placed event, tx.append(TopUpEvent{wallet.number, amount, reference, {}}));
  CALYX_CHECK(
      tx.store().append_request(wallet.number, store::RequestKind::topup_reference, reference, event.seq));
  return event;
}

std::string says(const core::PresentedVerdict& verdict, const QuoteRow& quote, const VerifiedPayment& asked) {
  switch (verdict.reason) {
    case Reason::payment_reused: return "the nonce came before, with another quote or other contents";
    case Reason::quote_paid: return "the quote has its payment";
    case Reason::quote_failed: return "the quote's payment failed: ask for another quote";
    case Reason::quote_expired: return "the quote has expired: ask for another one";
    default: break;
  }
  return "pays " + say(asked.credit).append(" FLOPS, the quote is of ") + say(quote.amount);
}

}  // namespace

QuoteId quote_id_of(std::uint32_t tag, const QuoteRow& row) noexcept {
  return QuoteId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
}
PaymentId payment_id_of(std::uint32_t tag, const PaymentRow& row) noexcept {
  return PaymentId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
}
std::string credit_reference(std::uint32_t tag, const QuoteRow& quote, const PaymentRow& row) {
  return row.surplus ? payment_id_of(tag, row).text() : quote_id_of(tag, quote).text();
}
bool is_credit_reference(std::string_view reference) noexcept {
  // By their shape alone: whose market's they are does not matter.
  return reference.size() == QuoteId::text_bytes && (reference.starts_with(core::prefix(IdKind::quote)) ||
                                                     reference.starts_with(core::prefix(IdKind::payment)));
}

Error no_quote(QuoteId id) {
  return fail(Reason::quote_unknown, "no quote " + id.text(), json::object({{"quote_id", id.text()}}));
}

Result<QuoteRow> quote_row(store::MarketStore& store, std::uint32_t tag, QuoteId id) {
  CALYX_TRY(std::optional<QuoteRow> row, store.payments().quote(static_cast<std::int64_t>(id.number())));
  if (!row || quote_id_of(tag, *row) != id) return no_quote(id);
  return *std::move(row);
}

Result<Quote> view_quote(store::MarketStore& store, std::uint32_t tag, WalletId wallet, const QuoteRow& row,
                         Instant now) {
  if (row.kind < 0 || row.kind > static_cast<std::int64_t>(QuoteKind::call))
    return lost_row("quote", row.number);
  Quote out{.id = quote_id_of(tag, row),
            .wallet = wallet,
            .kind = static_cast<QuoteKind>(row.kind),
            .amount = row.amount,
            .created_at = row.at,
            .expires_at = row.expires};
  std::vector<PaymentRow> rows;
  CALYX_CHECK(store.payments().payments_of(row.number, [&](const PaymentRow& payment) -> Result<bool> {
    rows.push_back(payment);
    return true;
  }));
  std::optional<PaymentStatus> own;
  out.payments.reserve(rows.size());
  for (const PaymentRow& payment : rows) {
    CALYX_TRY(Payment shown, view(store, tag, wallet, row, payment));
    if (!payment.surplus) own = shown.status;
    out.payments.push_back(std::move(shown));
  }
  out.status = core::quote_status(own, now >= row.expires);
  return out;
}

Result<PaymentTerms> change_settings(Transaction& tx, const Principal& principal,
                                     const PaymentTermsChange& change,
                                     const std::optional<core::Prices>& prices) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  PaymentTerms terms = tx.book().payment_terms;
  if (change.base_url) terms.base_url = *change.base_url;
  if (change.realm) terms.realm = *change.realm;
  if (change.networks) terms.networks = *change.networks;
  CALYX_TRY(PaymentTerms kept, core::kept_terms(terms));
  // What is appended before a refusal stays, so whatever may refuse comes first.
  if (prices) CALYX_CHECK(set_prices(tx, principal, *prices));
  if (kept != tx.book().payment_terms) CALYX_CHECK(tx.append(PaymentTermsSet{kept}));
  return kept;
}

namespace {

/// Quotes of one wallet in an hour, as far as its own keys may ask: each is a row for ever. Those that
/// refusals make by themselves leave half of them to whoever wants to fund it.
constexpr std::size_t quotes_an_hour_max = 64;
constexpr std::size_t shortfalls_an_hour_max = 32;

/// Fails: `too_many_quotes`.
Result<Done> check_pace(Transaction& tx, const std::vector<QuoteRow>& newest, QuoteKind kind) {
  const std::size_t most = kind == QuoteKind::shortfall ? shortfalls_an_hour_max : quotes_an_hour_max;
  std::size_t count = 0;
  std::int64_t passes_us = 0;  // until the oldest of them no longer counts
  for (const QuoteRow& row : newest) {
    if (kind == QuoteKind::shortfall && row.kind != static_cast<std::int64_t>(kind)) continue;
    if (++count < most) continue;
    passes_us = row.at.us + core::us_per_hour - tx.now().us;
    break;
  }
  if (passes_us <= 0) return Done{};
  return fail(Reason::too_many_quotes,
              "the wallet was given " + std::to_string(most) + " quotes within an hour",
              json::object({{"limit", most},
                            {"retry_after_s", (passes_us + core::us_per_second - 1) / core::us_per_second}}));
}

/// Of `newest` the one of `kind` and `amount` that can be paid for a minute yet. A client that tries again
/// and again has one quote for what it lacks, not one a try.
Result<std::optional<Quote>> open_already(Transaction& tx, WalletId wallet,
                                          const std::vector<QuoteRow>& newest, QuoteKind kind, Money amount) {
  for (const QuoteRow& row : newest) {
    if (row.kind != static_cast<std::int64_t>(kind) || row.amount != amount ||
        row.expires.us < tx.now().us + 60 * core::us_per_second)
      continue;
    CALYX_TRY(Quote quote, view_quote(tx.store(), tx.book().tag, wallet, row, tx.now()));
    if (quote.status == QuoteStatus::open) return std::optional(std::move(quote));
  }
  return std::optional<Quote>();
}

}  // namespace

Result<Quote> quote_topup(Transaction& tx, const Principal& principal, const QuoteTopup& asked) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const WalletState* wallet, readable(book, caller, asked.wallet));
  CALYX_CHECK(check_amount("/amount", asked.amount));
  if (asked.kind > QuoteKind::credits) return field_error(Reason::field_value, "/kind", "is none");
  if (asked.lasts_s < 1 || asked.lasts_s > quote_lasts_s_max)
    return field_error(Reason::field_value, "/expires_in_s",
                       "takes 1 to " + std::to_string(quote_lasts_s_max));
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));

  CALYX_TRY(const std::optional<QuoteRow> before,
            tx.store().payments().quote_once(caller.wallet, asked.idempotency_key));
  if (before) {
    if (before->account != wallet->number)
      return reused(Reason::key_reused, "wallet_id", book, before->account, wallet->number);
    if (before->amount != asked.amount)
      return reused(Reason::key_reused, "amount", before->amount, asked.amount);
    if (before->kind != static_cast<std::int64_t>(asked.kind)) return reused(Reason::key_reused, "kind");
    if (before->expires.us != before->at.us + asked.lasts_s * core::us_per_second)
      return reused(Reason::key_reused, "expires_in_s");
    CALYX_TRY(Quote out, view_quote(tx.store(), book.tag, wallet->id, *before, tx.now()));
    out.replayed = true;
    return out;
  }
  CALYX_TRY(const std::vector<QuoteRow> newest,
            tx.store().payments().newest_quotes(wallet->number, quotes_an_hour_max, false));
  if (asked.kind != QuoteKind::topup && asked.idempotency_key.empty()) {
    CALYX_TRY(std::optional<Quote> open, open_already(tx, wallet->id, newest, asked.kind, asked.amount));
    if (open) return *std::move(open);
  }
  if (!caller.is_operator()) CALYX_CHECK(check_pace(tx, newest, asked.kind));
  CALYX_CHECK(check_room(*wallet, asked.amount));
  CALYX_CHECK(check_supply(book, asked.amount));
  CALYX_TRY(const std::int64_t last, tx.store().payments().last_quote());
  const QuoteRow row{.number = last + 1,
                     .at = tx.now(),
                     .expires = Instant{tx.now().us + asked.lasts_s * core::us_per_second},
                     .account = wallet->number,
                     .kind = static_cast<std::int64_t>(asked.kind),
                     .amount = asked.amount,
                     .scope = caller.wallet,
                     .once = asked.idempotency_key};
  CALYX_CHECK(tx.change_payments().add_quote(row));
  return view_quote(tx.store(), book.tag, wallet->id, row, tx.now());
}

Result<PaymentTaken> take_payment(Transaction& tx, const Principal& principal, QuoteId id,
                                  const VerifiedPayment& asked) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_CHECK(check_facts(asked));
  CALYX_TRY(QuoteRow quote_asked, quote_row(tx.store(), book.tag, id));
  CALYX_TRY(const WalletState* const wallet, wallet_of(book, quote_asked));
  // Whose quote it is stays a secret: a wallet that may not be read has none.
  if (!readable(book, caller, wallet->id).ok()) return no_quote(id);
  FoundPayment found{{}, std::move(quote_asked)};
  found.row = {.quote = found.quote.number,
               .at = tx.now(),
               .protocol = static_cast<std::int64_t>(asked.protocol),
               .network = asked.network,
               .asset = asked.asset,
               .payer = asked.payer,
               .nonce = asked.nonce,
               .pay_to = asked.pay_to,
               .amount = asked.amount,
               .credit = asked.credit,
               .valid_before = asked.valid_before,
               .payload = asked.payload,
               .on_chain = asked.on_chain};

  store::PaymentStore& payments = tx.store().payments();
  CALYX_TRY(const std::optional<PaymentRow> before, payments.find(found.row));
  CALYX_TRY(const Quote quote, view_quote(tx.store(), book.tag, wallet->id, found.quote, tx.now()));
  core::PresentedFacts facts{.quote = quote.status,
                             .on_chain = !asked.on_chain.empty(),
                             .covers = asked.credit >= found.quote.amount,
                             .payments = quote.payments.size()};
  // How the payload spells the payment may differ between two protocols that sign the same words.
  if (before)
    facts.seen = before->quote == found.row.quote && before->pay_to == found.row.pay_to &&
                         before->amount == found.row.amount && before->credit == found.row.credit &&
                         before->on_chain == found.row.on_chain
                     ? core::PaymentSeen::here
                     : core::PaymentSeen::elsewhere;
  const core::PresentedVerdict verdict = core::judge_payment(facts);
  switch (verdict.next) {
    case core::PaymentNext::refuse:
      return fail(verdict.reason, says(verdict, found.quote, asked),
                  json::object({{"quote_id", id.text()}, {"status", word(quote.status)}}));
    case core::PaymentNext::again: {
      found.row = *before;
      CALYX_TRY(Payment payment, view(tx, found));
      payment.replayed = true;
      return PaymentTaken{before->number, std::move(payment)};
    }
    case core::PaymentNext::surplus: found.row.surplus = true; break;
    case core::PaymentNext::take: break;
  }
  CALYX_CHECK(check_can_credit(book, *wallet, found.row));
  CALYX_TRY(const std::int64_t last, payments.last_payment());
  found.row.number = last + 1;
  CALYX_CHECK(tx.change_payments().add(found.row));
  CALYX_CHECK(payments.put(
      {.payment = found.row.number, .status = static_cast<std::int64_t>(PaymentStatus::authorized)}));
  CALYX_TRY(Payment payment, view(tx, found));
  return PaymentTaken{found.row.number, std::move(payment)};
}

namespace {

/// Whose quotes of calls are: nobody asked for them, and no caller's key is among theirs.
constexpr std::int64_t calls_scope = -1;
/// Calls of one payer within an hour whose payments did not settle, one after another: each is a row for
/// ever.
constexpr std::size_t unpaid_calls_max = 32;

/// Fails: `too_many_quotes`.
Result<Done> check_unpaid(Transaction& tx, const WalletState& wallet) {
  CALYX_TRY(const std::vector<QuoteRow> newest,
            tx.store().payments().newest_quotes(wallet.number, unpaid_calls_max, true));
  if (newest.size() < unpaid_calls_max) return Done{};
  const std::int64_t wait_us = newest.back().at.us + core::us_per_hour - tx.now().us;
  if (wait_us <= 0) return Done{};
  for (const QuoteRow& row : newest) {
    CALYX_TRY(const Quote quote, view_quote(tx.store(), tx.book().tag, wallet.id, row, tx.now()));
    if (quote.status == QuoteStatus::paid) return Done{};
  }
  return fail(Reason::too_many_quotes,
              "the last " + std::to_string(unpaid_calls_max) + " payments for calls did not settle",
              json::object({{"limit", unpaid_calls_max},
                            {"retry_after_s", (wait_us + core::us_per_second - 1) / core::us_per_second}}));
}

}  // namespace

Result<std::optional<std::int64_t>> call_payment(store::MarketStore& store, std::string_view once) {
  std::optional<std::int64_t> out;
  CALYX_TRY(const std::optional<QuoteRow> quote, store.payments().quote_once(calls_scope, once));
  if (!quote) return out;
  CALYX_CHECK(store.payments().payments_of(quote->number, [&](const PaymentRow& row) -> Result<bool> {
    if (!row.surplus) out = row.number;
    return !out;
  }));
  if (!out) return lost_row("quote", quote->number);
  return out;
}

Result<PaymentTaken> take_call_payment(Transaction& tx, const CallPayment& call,
                                       const VerifiedPayment& asked) {
  CALYX_TRY(const std::optional<std::int64_t> before, call_payment(tx.store(), call.once));
  if (before) {  // somebody was quicker
    CALYX_TRY(PaymentTaken taken, payment_at(tx, *before));
    taken.payment.replayed = true;
    return taken;
  }
  // All that may refuse comes first: what is appended before a refusal stays.
  CALYX_CHECK(check_facts(asked));
  PaymentRow row{.network = asked.network, .asset = asked.asset, .payer = asked.payer, .nonce = asked.nonce};
  row.credit = asked.credit;
  row.on_chain = asked.on_chain;
  CALYX_TRY(const std::optional<PaymentRow> seen, tx.store().payments().find(row));
  if (seen)
    return fail(Reason::payment_reused, "the nonce came before, with another quote or other contents");
  if (asked.credit < call.price)
    return fail(Reason::payment_insufficient,
                "pays " + say(asked.credit) + " FLOPS, the call costs " + say(call.price));
  CALYX_CHECK(check_supply(tx.book(), asked.credit));
  CALYX_TRY(const WalletState* wallet, wallet_or_room(tx.book(), call.account, tx.now()));
  if (wallet != nullptr) {
    CALYX_CHECK(check_can_credit(tx.book(), *wallet, row));
    CALYX_CHECK(check_unpaid(tx, *wallet));
  } else {
    CALYX_TRY(wallet, open_wallet(tx, call.account, tx.book().next_wallet()));
  }
  CALYX_TRY(const std::int64_t last, tx.store().payments().last_quote());
  const QuoteRow quote{.number = last + 1,
                       .at = tx.now(),
                       .expires = Instant{tx.now().us + quote_lasts_s * core::us_per_second},
                       .account = wallet->number,
                       .kind = static_cast<std::int64_t>(QuoteKind::call),
                       .amount = call.price,
                       .scope = calls_scope,
                       .once = call.once};
  CALYX_CHECK(tx.change_payments().add_quote(quote));
  const Principal payer{.role = Role::human, .wallet = wallet->id, .key = {}};
  CALYX_TRY(PaymentTaken taken, take_payment(tx, payer, quote_id_of(tx.book().tag, quote), asked));
  CALYX_TRY(taken.payment,
            move_payment(tx, taken.number, SettlementCall::verify, {.outcome = SettlementOutcome::valid}));
  return taken;
}

Result<AccountNumber> payer_of_call(Transaction& tx, PaymentId id) {
  const auto number = static_cast<std::int64_t>(id.number());
  CALYX_TRY(const std::optional<PaymentRow> row, tx.store().payments().payment(number));
  if (row && payment_id_of(tx.book().tag, *row) == id) {
    CALYX_TRY(const FoundPayment found, find_payment(tx.store(), number));
    CALYX_TRY(const Payment payment, view(tx, found));
    if (found.quote.kind == static_cast<std::int64_t>(QuoteKind::call) &&
        payment.status == PaymentStatus::paid && payment.facts.protocol == PaymentProtocol::mpp &&
        is_fresh(payment, tx.now()))
      return found.quote.account;
  }
  return fail(Reason::payment_unknown, "no call that MPP paid for just now: " + id.text(),
              json::object({{"payment_id", id.text()}}));
}

Result<PaymentTaken> payment_at(Transaction& tx, std::int64_t number) {
  CALYX_TRY(const FoundPayment found, find_payment(tx.store(), number));
  CALYX_TRY(Payment payment, view(tx, found));
  return PaymentTaken{number, std::move(payment)};
}

Result<Payment> move_payment(Transaction& tx, std::int64_t number, SettlementCall call,
                             const SettlementAnswer& answer) {
  CALYX_TRY(const FoundPayment found, find_payment(tx.store(), number));
  CALYX_TRY(PaymentState state, payment_state_of(tx.store(), number));
  const auto fails = [&](std::string_view why) {
    state.status = static_cast<std::int64_t>(PaymentStatus::failed);
    state.ended = tx.now();
    state.text = why;
  };
  // Somebody else may have gone on with it since the backend was asked.
  switch (core::judge_settlement({.status = status_of(state),
                                  .call = call,
                                  .outcome = answer.outcome,
                                  .on_chain = !found.row.on_chain.empty(),
                                  .overdue = tx.now().us >= found.row.at.us + core::on_chain_wait_us})) {
    case core::SettlementNext::wait:
    case core::SettlementNext::settle: return view(tx, found);
    case core::SettlementNext::settling: {
      // The last look before money moves.
      CALYX_TRY(const WalletState* const wallet, wallet_of(tx.book(), found.quote));
      CALYX_CHECK(check_can_credit(tx.book(), *wallet, found.row));
      state.status = static_cast<std::int64_t>(PaymentStatus::settling);
      break;
    }
    case core::SettlementNext::failed: fails(answer.reason); break;
    case core::SettlementNext::paid: {
      CALYX_TRY(const bool before, tx.store().payments().credited(found.row, answer.transaction));
      if (before) {
        fails("transaction_credited");
        break;
      }
      state.credited = answer.credit.value_or(found.row.credit);
      CALYX_TRY(const Placed event, credit(tx, found, state.credited));
      state.status = static_cast<std::int64_t>(PaymentStatus::paid);
      state.ended = event.at;
      state.seq = event.seq;
      state.text = answer.transaction;
      break;
    }
  }
  CALYX_CHECK(tx.change_payments().put(state));
  return view(tx, found);
}

SettlementAnswer fit(SettlementAnswer answer, Money credit) {
  if (answer.outcome == SettlementOutcome::settled &&
      (!check_amount("/credit", answer.credit.value_or(credit)).ok() ||
       !check_name("/transaction", answer.transaction, name_max).ok()))
    return {};
  if (answer.outcome == SettlementOutcome::refused && !check_name("/reason", answer.reason, name_max).ok())
    answer.reason = "refused";
  return answer;
}

}  // namespace calyx::services
