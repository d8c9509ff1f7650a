#include "store/payment_store.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_payments[] = {
    R"(CREATE TABLE quotes(
  number     INTEGER PRIMARY KEY,  -- gapless from 1
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  account    INTEGER NOT NULL,     -- the wallet that is credited
  kind       INTEGER NOT NULL,     -- 0: topup, 1: shortfall, 2: credits, 3: call
  amount     INTEGER NOT NULL,     -- micro-FLOPS
  scope      INTEGER NOT NULL,     -- whose key `once` is; 0: the operators'; -1: a call's words
  once       TEXT NOT NULL         -- the caller's key, or empty
) STRICT)",
    R"(CREATE INDEX quotes_account ON quotes(account, number))",
    R"(CREATE UNIQUE INDEX quotes_once ON quotes(scope, once) WHERE once <> '')",
    R"(CREATE TABLE payments(
  number       INTEGER PRIMARY KEY,  -- gapless from 1
  quote        INTEGER NOT NULL,
  surplus      INTEGER NOT NULL,     -- 1: beside the quote, whose own one has 0
  at_us        INTEGER NOT NULL,
  protocol     INTEGER NOT NULL,     -- 0: x402 v1, 1: x402 v2, 2: MPP
  network      TEXT NOT NULL,        -- CAIP-2
  asset        TEXT NOT NULL,
  payer        TEXT NOT NULL,
  nonce        TEXT NOT NULL,
  pay_to       TEXT NOT NULL,
  amount       TEXT NOT NULL,        -- in the token's atomic units
  credit       INTEGER NOT NULL,     -- the same in micro-FLOPS
  valid_before INTEGER NOT NULL,     -- us
  payload      TEXT NOT NULL,        -- as it came
  on_chain     TEXT NOT NULL         -- the transaction that the payer named, or empty
) STRICT)",
    R"(CREATE UNIQUE INDEX payments_nonce ON payments(network, asset, payer, nonce))",
    R"(CREATE UNIQUE INDEX payments_own ON payments(quote) WHERE surplus = 0)",
    R"(CREATE INDEX payments_quote ON payments(quote, number))",
    R"(CREATE TABLE payment_states(
  payment  INTEGER PRIMARY KEY,
  status   INTEGER NOT NULL,  -- 0: authorized, 1: settling, 2: paid, 3: failed
  ended_us INTEGER NOT NULL,
  seq      INTEGER NOT NULL,  -- the top-up of a paid one
  credited INTEGER NOT NULL,  -- micro-FLOPS
  text     TEXT NOT NULL      -- the transaction, or why it failed
) STRICT)",
    R"(CREATE INDEX payment_states_under_way ON payment_states(payment) WHERE status < 2)",
    R"(CREATE INDEX payment_states_paid ON payment_states(text) WHERE status = 2)",
};

constexpr const char* payment_records[] = {"quotes", "payments"};

constexpr ListingText payment_listings[] = {
    {"quotes", nullptr, "number + at_us + expires_us + kind + amount"},
    {"quotes", nullptr, "account * 3 + number"},
    {"quotes", "quotes_account", "account * 3 + number"},
    {"quotes", nullptr, "number + scope * 3 + length(once)", " WHERE once <> ''"},
    {"quotes", "quotes_once", "number + scope * 3 + length(once)", " WHERE once <> ''"},
    {"payments", nullptr, "number + credit + length(payload) + length(on_chain) + length(amount)"},
    {"payments", nullptr, "number + length(network) + length(asset) + length(payer) + length(nonce)"},
    {"payments", "payments_nonce",
     "number + length(network) + length(asset) + length(payer) + length(nonce)"},
    {"payments", nullptr, "quote * 3 + number", " WHERE surplus = 0"},
    {"payments", "payments_own", "quote * 3 + number", " WHERE surplus = 0"},
    {"payments", nullptr, "quote * 3 + number"},
    {"payments", "payments_quote", "quote * 3 + number"},
    {"payment_states", nullptr, "payment + seq + length(text)"},
    {"payment_states", nullptr, "payment", " WHERE status < 2"},
    {"payment_states", "payment_states_under_way", "payment", " WHERE status < 2"},
    {"payment_states", nullptr, "payment + length(text)", " WHERE status = 2"},
    {"payment_states", "payment_states_paid", "payment + length(text)", " WHERE status = 2"},
};

Result<std::int64_t> last_of(Statement& statement) {
  const Statement::Run run(statement);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}

Result<std::optional<QuoteRow>> read_quote(Statement& row) {
  CALYX_TRY(const bool found, row.step());
  if (!found) return std::optional<QuoteRow>();
  return std::optional(QuoteRow{.number = row.column_int(0),
                                .at = Instant{row.column_int(1)},
                                .expires = Instant{row.column_int(2)},
                                .account = row.column_int(3),
                                .kind = row.column_int(4),
                                .amount = Money{row.column_int(5)},
                                .scope = row.column_int(6),
                                .once = std::string(row.column_text(7))});
}

Result<std::optional<PaymentRow>> read_payment(Statement& row) {
  CALYX_TRY(const bool found, row.step());
  if (!found) return std::optional<PaymentRow>();
  const auto text = [&](int column) { return std::string(row.column_text(column)); };
  return std::optional(PaymentRow{.number = row.column_int(0),
                                  .quote = row.column_int(1),
                                  .surplus = row.column_int(2) != 0,
                                  .at = Instant{row.column_int(3)},
                                  .protocol = row.column_int(4),
                                  .network = text(5),
                                  .asset = text(6),
                                  .payer = text(7),
                                  .nonce = text(8),
                                  .pay_to = text(9),
                                  .amount = text(10),
                                  .credit = Money{row.column_int(11)},
                                  .valid_before = Instant{row.column_int(12)},
                                  .payload = text(13),
                                  .on_chain = text(14)});
}

Result<Done> each_of(Statement& row, const PaymentStore::EachQuote& each) {
  for (;;) {
    CALYX_TRY(const std::optional<QuoteRow> quote, read_quote(row));
    if (!quote) return Done{};
    CALYX_TRY(const bool go_on, each(*quote));
    if (!go_on) return Done{};
  }
}

Result<Done> each_of(Statement& row, const PaymentStore::EachPayment& each) {
  for (;;) {
    CALYX_TRY(const std::optional<PaymentRow> payment, read_payment(row));
    if (!payment) return Done{};
    CALYX_TRY(const bool go_on, each(*payment));
    if (!go_on) return Done{};
  }
}

}  // namespace

std::span<const char* const> payment_schema() noexcept { return schema_of_payments; }
std::span<const char* const> payment_tables_of_record() noexcept { return payment_records; }

Result<PaymentStore> PaymentStore::make(Connection& connection, bool writes) {
  PaymentStore store;
  struct Text {
    Statement& statement;
    const char* sql;
    const char* doing;
  };
#define QUOTE "number, at_us, expires_us, account, kind, amount, scope, once"
#define PAYMENT                                                                                     \
  "number, quote, surplus, at_us, protocol, network, asset, payer, nonce, pay_to, amount, credit, " \
  "valid_before, payload, on_chain"
  const Text write_texts[] = {
      {store.add_quote_, "INSERT INTO quotes(" QUOTE ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
       "keeping a quote"},
      {store.add_,
       "INSERT INTO payments(" PAYMENT
       ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
       "keeping a payment"},
      {store.put_,
       "INSERT OR REPLACE INTO payment_states(payment, status, ended_us, seq, credited, text) "
       "VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
       "keeping how far a payment is"},
  };
  const Text read_texts[] = {
      {store.last_quote_, "SELECT max(number) FROM quotes", "counting quotes"},
      {store.last_payment_, "SELECT max(number) FROM payments", "counting payments"},
      {store.quote_, "SELECT " QUOTE " FROM quotes WHERE number = ?1", "reading a quote"},
      {store.quote_once_, "SELECT " QUOTE " FROM quotes WHERE scope = ?1 AND once = ?2 AND once <> ''",
       "looking for a quote"},
      {store.payment_, "SELECT " PAYMENT " FROM payments WHERE number = ?1", "reading a payment"},
      {store.state_,
       "SELECT payment, status, ended_us, seq, credited, text FROM payment_states WHERE payment = ?1",
       "reading how far a payment is"},
      {store.find_,
       "SELECT " PAYMENT " FROM payments WHERE network = ?1 AND asset = ?2 AND payer = ?3 AND nonce = ?4",
       "looking for a payment"},
      // A transaction that a payer named is one payment; one that a backend made may carry several.
      {store.credited_,
       "SELECT 1 FROM payment_states s JOIN payments p ON p.number = s.payment WHERE s.status = 2 AND s.text "
       "= ?1 "
       "AND p.network = ?2 AND p.number <> ?3 AND (?4 <> '' OR p.on_chain <> '') LIMIT 1",
       "looking for a transaction"},
      {store.quotes_of_, "SELECT " QUOTE " FROM quotes WHERE account = ?1 AND number > ?2 ORDER BY number",
       "reading quotes"},
      {store.newest_quotes_,  // However many calls one pays for: the look back ends.
       "SELECT " QUOTE " FROM (SELECT " QUOTE
       " FROM quotes WHERE account = ?1 ORDER BY number DESC LIMIT 4096) "
       "WHERE (kind = 3) = ?3 ORDER BY number DESC LIMIT ?2",
       "reading the newest quotes"},
      {store.payments_of_, "SELECT " PAYMENT " FROM payments WHERE quote = ?1 ORDER BY number",
       "reading payments"},
      {store.under_way_,
       "SELECT payment FROM payment_states WHERE status < 2 AND payment > ?1 ORDER BY payment LIMIT ?2",
       "looking for payments under way"},
      {store.count_under_way_,
       "SELECT count(*) FROM payment_states s JOIN payments p ON p.number = s.payment JOIN quotes q ON "
       "q.number = p.quote WHERE s.status < 2 AND q.account = ?1",
       "counting payments under way"},
      {store.credited_to_,
       "SELECT coalesce(sum(s.credited), 0) FROM quotes q JOIN payments p ON p.quote = q.number JOIN "
       "payment_states s ON s.payment = p.number WHERE s.status = 2 AND q.account = ?1",
       "adding up payments"},
      {store.all_quotes_, "SELECT " QUOTE " FROM quotes ORDER BY number", "reading quotes"},
      {store.all_payments_, "SELECT " PAYMENT " FROM payments ORDER BY number", "reading payments"},
      {store.count_states_, "SELECT count(*) FROM payment_states", "counting payments"},
  };
#undef QUOTE
#undef PAYMENT
  if (writes)
    for (const Text& text : write_texts) {
      CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
    }
  for (const Text& text : read_texts) {
    CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
  }
  CALYX_TRY(store.listings_, Listings::make(connection, payment_listings));
  return store;
}

Result<Done> PaymentStore::add_quote(const QuoteRow& row) {
  const Statement::Run run(add_quote_);
  return run->bind(1, row.number)
      .bind(2, row.at.us)
      .bind(3, row.expires.us)
      .bind(4, row.account)
      .bind(5, row.kind)
      .bind(6, row.amount.micro)
      .bind(7, row.scope)
      .bind(8, std::string_view(row.once))
      .execute();
}

Result<Done> PaymentStore::add(const PaymentRow& row) {
  const Statement::Run run(add_);
  run->bind(1, row.number)
      .bind(2, row.quote)
      .bind(3, row.surplus ? 1 : 0)
      .bind(4, row.at.us)
      .bind(5, row.protocol)
      .bind(12, row.credit.micro)
      .bind(13, row.valid_before.us);
  const std::string* const texts[] = {&row.network, &row.asset,  &row.payer,
                                      &row.nonce,   &row.pay_to, &row.amount};
  int column = 6;
  for (const std::string* text : texts) run->bind(column++, std::string_view(*text));
  return run->bind(14, std::string_view(row.payload)).bind(15, std::string_view(row.on_chain)).execute();
}

Result<Done> PaymentStore::put(const PaymentState& state) {
  const Statement::Run run(put_);
  return run->bind(1, state.payment)
      .bind(2, state.status)
      .bind(3, state.ended.us)
      .bind(4, state.seq)
      .bind(5, state.credited.micro)
      .bind(6, std::string_view(state.text))
      .execute();
}

Result<std::int64_t> PaymentStore::last_quote() { return last_of(last_quote_); }
Result<std::int64_t> PaymentStore::last_payment() { return last_of(last_payment_); }
Result<std::int64_t> PaymentStore::count_states() { return last_of(count_states_); }

Result<std::optional<QuoteRow>> PaymentStore::quote(std::int64_t number) {
  const Statement::Run run(quote_);
  run->bind(1, number);
  return read_quote(*run);
}

Result<std::optional<QuoteRow>> PaymentStore::quote_once(std::int64_t scope, std::string_view once) {
  const Statement::Run run(quote_once_);
  run->bind(1, scope).bind(2, once);
  return read_quote(*run);
}

Result<std::optional<PaymentRow>> PaymentStore::payment(std::int64_t number) {
  const Statement::Run run(payment_);
  run->bind(1, number);
  return read_payment(*run);
}

Result<std::optional<PaymentRow>> PaymentStore::find(const PaymentRow& wanted) {
  const Statement::Run run(find_);
  run->bind(1, std::string_view(wanted.network))
      .bind(2, std::string_view(wanted.asset))
      .bind(3, std::string_view(wanted.payer))
      .bind(4, std::string_view(wanted.nonce));
  return read_payment(*run);
}

Result<bool> PaymentStore::credited(const PaymentRow& row, std::string_view transaction) {
  const Statement::Run run(credited_);
  run->bind(1, transaction)
      .bind(2, std::string_view(row.network))
      .bind(3, row.number)
      .bind(4, std::string_view(row.on_chain));
  return run->step();
}

Result<std::optional<PaymentState>> PaymentStore::state(std::int64_t payment) {
  const Statement::Run run(state_);
  run->bind(1, payment);
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<PaymentState>();
  return std::optional(PaymentState{.payment = run->column_int(0),
                                    .status = run->column_int(1),
                                    .ended = Instant{run->column_int(2)},
                                    .seq = run->column_int(3),
                                    .credited = Money{run->column_int(4)},
                                    .text = std::string(run->column_text(5))});
}

Result<Done> PaymentStore::quotes_of(std::int64_t account, std::int64_t after, const EachQuote& each) {
  const Statement::Run run(quotes_of_);
  run->bind(1, account).bind(2, after);
  return each_of(*run, each);
}

Result<std::vector<QuoteRow>> PaymentStore::newest_quotes(std::int64_t account, std::size_t most,
                                                          bool calls) {
  const Statement::Run run(newest_quotes_);
  run->bind(1, account).bind(2, static_cast<std::int64_t>(most)).bind(3, static_cast<std::int64_t>(calls));
  std::vector<QuoteRow> out;
  for (;;) {
    CALYX_TRY(std::optional<QuoteRow> row, read_quote(*run));
    if (!row) return out;
    out.push_back(*std::move(row));
  }
}

Result<Done> PaymentStore::payments_of(std::int64_t quote, const EachPayment& each) {
  const Statement::Run run(payments_of_);
  run->bind(1, quote);
  return each_of(*run, each);
}

Result<std::vector<std::int64_t>> PaymentStore::under_way(std::int64_t after, std::size_t most) {
  const Statement::Run run(under_way_);
  run->bind(1, after).bind(2, static_cast<std::int64_t>(most));
  std::vector<std::int64_t> out;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return out;
    out.push_back(run->column_int(0));
  }
}

Result<std::int64_t> PaymentStore::count_under_way(std::int64_t account) {
  const Statement::Run run(count_under_way_);
  run->bind(1, account);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;
}

Result<Money> PaymentStore::credited_to(std::int64_t account) {
  const Statement::Run run(credited_to_);
  run->bind(1, account);
  CALYX_TRY(const bool row, run->step());
  return Money{row ? run->column_int(0) : 0};
}

Result<Done> PaymentStore::all_quotes(const EachQuote& each) {
  const Statement::Run run(all_quotes_);
  return each_of(*run, each);
}

Result<Done> PaymentStore::all_payments(const EachPayment& each) {
  const Statement::Run run(all_payments_);
  return each_of(*run, each);
}

}  // namespace calyx::store
