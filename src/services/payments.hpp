/// \file
/// Quotes and payments as services: a quote is given, a payment is taken for it, and what its backend says is
/// written down.
#pragma once

#include <calyx/payments.hpp>

#include "services/access.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

QuoteId quote_id_of(std::uint32_t tag, const store::QuoteRow& row) noexcept;
PaymentId payment_id_of(std::uint32_t tag, const store::PaymentRow& row) noexcept;
/// What the top-up of a payment bears as its reference, so that the ledger credits it once.
std::string credit_reference(std::uint32_t tag, const store::QuoteRow& quote, const store::PaymentRow& row);
/// Whether `reference` is one of those, which no other top-up may bear.
bool is_credit_reference(std::string_view reference) noexcept;

/// The quote `id`. Fails: `quote_unknown`.
Result<store::QuoteRow> quote_row(store::MarketStore& store, std::uint32_t tag, QuoteId id);
Error no_quote(QuoteId id);
/// As it stands in `store` at `now`. Fails: `corrupt`.
Result<Quote> view_quote(store::MarketStore& store, std::uint32_t tag, WalletId wallet,
                         const store::QuoteRow& row, Instant now);

/// Changes where and in what payments are taken, and sets prices where they are given (operator). Gives the
/// terms that are kept. Both are judged before either is written.
Result<PaymentTerms> change_settings(Transaction& tx, const Principal& principal,
                                     const PaymentTermsChange& change,
                                     const std::optional<core::Prices>& prices);

Result<Quote> quote_topup(Transaction& tx, const Principal& principal, const QuoteTopup& asked);

/// A payment that is written, by its number.
struct PaymentTaken {
  std::int64_t number = 0;
  Payment payment;
};
/// Takes a payment, which is then `authorized`, or finds that it was.
Result<PaymentTaken> take_payment(Transaction& tx, const Principal& principal, QuoteId id,
                                  const VerifiedPayment& asked);
/// Writes what `answer` to `call` does to the payment where it is now; one that has ended stays as it is.
Result<Payment> move_payment(Transaction& tx, std::int64_t number, SettlementCall call,
                             const SettlementAnswer& answer);
/// A payment that came with a call which no key came with.
struct CallPayment {
  std::string account{};  ///< The payer's, by CAIP-10: its wallet is credited, opened if need be.
  Money price{};
  std::string once{};  ///< Of the words in which it came, or of the id that they give it.
};
/// The number of the payment that has `once`, if one was taken. Fails: `corrupt`.
Result<std::optional<std::int64_t>> call_payment(store::MarketStore& store, std::string_view once);
/// Takes one that the backend has said would settle, which is then `settling`; or finds that it was taken.
/// Fails, and writes nothing: `payment_insufficient`, `payment_reused`, `too_many_wallets`,
/// `too_many_quotes`; as `take_payment`.
Result<PaymentTaken> take_call_payment(Transaction& tx, const CallPayment& call,
                                       const VerifiedPayment& asked);
/// Whether a payment was paid so lately that its words still begin something.
constexpr bool is_fresh(const Payment& payment, Instant now) noexcept {
  return payment.ended_at && now.us <= payment.ended_at->us + quote_lasts_s * core::us_per_second;
}
/// Whose wallet the call's payment `id`, of MPP and fresh, was credited to. Fails: `payment_unknown`.
Result<AccountNumber> payer_of_call(Transaction& tx, PaymentId id);

/// One payment as it stands. Fails: `corrupt`.
Result<PaymentTaken> payment_at(Transaction& tx, std::int64_t number);

/// What the backend said, as far as a backend may: what is out of shape counts as `unavailable`.
SettlementAnswer fit(SettlementAnswer answer, Money credit);

}  // namespace calyx::services
