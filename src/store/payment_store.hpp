/// \file
/// Quotes, and the payments that came for them.
///
/// Quotes and payments are never changed; how far a payment is stands beside it. Where a quote is follows
/// from its payment, so nothing says that twice.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/money.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// What `migrate` makes for payments, and which of the tables take no change.
std::span<const char* const> payment_schema() noexcept;
std::span<const char* const> payment_tables_of_record() noexcept;

struct QuoteRow {
  std::int64_t number = 0;  ///< Gapless from 1.
  Instant at, expires;
  std::int64_t account = 0;  ///< That is credited.
  std::int64_t kind = 0;     ///< `QuoteKind`.
  Money amount;
  std::int64_t scope = 0;  ///< Whose key `once` is; 0: the operators'.
  std::string once;        ///< Empty: none.
};

struct PaymentRow {
  std::int64_t number = 0;  ///< Gapless from 1.
  std::int64_t quote = 0;
  bool surplus = false;
  Instant at;
  std::int64_t protocol = 0;  ///< `PaymentProtocol`.
  std::string network, asset, payer, nonce;
  std::string pay_to, amount;
  Money credit;
  Instant valid_before;
  std::string payload, on_chain;
};

struct PaymentState {
  std::int64_t payment = 0;
  std::int64_t status = 0;  ///< `PaymentStatus`.
  Instant ended;            ///< 0 us: it has not.
  std::int64_t seq = 0;     ///< The top-up's event; 0: none.
  Money credited;
  std::string text;  ///< The transaction of a paid one, the reason of a failed one.
};

class PaymentStore {
 public:
  static Result<PaymentStore> make(Connection& connection, bool writes);

  // ── in a write transaction ──
  Result<Done> add_quote(const QuoteRow& row);
  Result<Done> add(const PaymentRow& row);
  /// Makes or replaces the state of a payment.
  Result<Done> put(const PaymentState& state);

  Result<std::int64_t> last_quote();
  Result<std::int64_t> last_payment();
  Result<std::optional<QuoteRow>> quote(std::int64_t number);
  Result<std::optional<QuoteRow>> quote_once(std::int64_t scope, std::string_view once);
  Result<std::optional<PaymentRow>> payment(std::int64_t number);
  Result<std::optional<PaymentState>> state(std::int64_t payment);
  /// By what no two payments have in common.
  Result<std::optional<PaymentRow>> find(const PaymentRow& wanted);
  /// Whether another payment than `row` was paid by `transaction`, and the payer of one of the two named it.
  Result<bool> credited(const PaymentRow& row, std::string_view transaction);

  /// In each of these the callback gives false to stop.
  using EachQuote = std::function<Result<bool>(const QuoteRow&)>;
  using EachPayment = std::function<Result<bool>(const PaymentRow&)>;
  /// Of `account`, the oldest first, behind `after`.
  Result<Done> quotes_of(std::int64_t account, std::int64_t after, const EachQuote& each);
  /// Of `account`, the newest first, at most `most` of them.
  Result<std::vector<QuoteRow>> newest_quotes(std::int64_t account, std::size_t most, bool calls);
  /// Of a quote, in their order.
  Result<Done> payments_of(std::int64_t quote, const EachPayment& each);
  /// Payments that have not ended, behind `after`: at most `most` of their numbers.
  Result<std::vector<std::int64_t>> under_way(std::int64_t after, std::size_t most);

  /// What paid ones brought `account`, in micro-FLOPS.
  Result<Money> credited_to(std::int64_t account);
  /// How many of those under way are to be credited to `account`.
  Result<std::int64_t> count_under_way(std::int64_t account);

  // ── for an audit ──
  Result<Done> all_quotes(const EachQuote& each);
  Result<Done> all_payments(const EachPayment& each);
  Result<std::int64_t> count_states();
  /// As `JobStore::index_fault`.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_quote_, add_, put_, last_quote_, last_payment_, quote_, quote_once_, payment_, state_, find_,
      credited_, quotes_of_, newest_quotes_, payments_of_, under_way_, count_under_way_, credited_to_,
      all_quotes_, all_payments_, count_states_;
  Listings listings_;
};

}  // namespace calyx::store
