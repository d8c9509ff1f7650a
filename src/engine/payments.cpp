#include "services/payments.hpp"

#include <calyx/engine.hpp>
#include <new>

#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"
#include "engine/paying.hpp"

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

/// Asks the backend and writes down what it says, as far as that leads.
Result<Payment> go_on(Market& market, SettlementBackend& backend, const services::PaymentTaken& taken) {
  Payment payment = taken.payment;
  SettlementCall call = core::first_call(payment.status);
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
  const std::shared_ptr<SettlementBackend> backend = market_->settlement();
  CALYX_CHECK(someone(backend));
  CALYX_TRY(const services::PaymentTaken taken, market_->write([&](Transaction& tx) {
    return services::take_payment(tx, principal_, id, payment);
  }));
  return go_on(*market_, *backend, taken);
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
      const Result<Payment> payment = go_on(*market_, *backend, taken);
      // What a wallet cannot take stays under way, and keeps nobody else's from being settled.
      if (!payment.ok() && !is_refusal(payment.reason())) return payment.error();
      const PaymentStatus status = payment.ok() ? payment->status : PaymentStatus::settling;
      ++(status == PaymentStatus::paid     ? out.paid
         : status == PaymentStatus::failed ? out.failed
                                           : out.waiting);
    }
  }
}

}  // namespace calyx
