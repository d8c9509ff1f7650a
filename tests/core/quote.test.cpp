#include <doctest/doctest.h>

#include <calyx/core/ids.hpp>
#include <calyx/core/quote.hpp>
#include <string>

using namespace calyx;
using namespace calyx::core;

TEST_CASE("a quote is where its own payment is, and open or expired without one") {
  struct Row {
    std::optional<PaymentStatus> own;
    QuoteStatus in_time, late;
  };
  const Row rows[] = {
      {std::nullopt, QuoteStatus::open, QuoteStatus::expired},
      {PaymentStatus::authorized, QuoteStatus::authorized, QuoteStatus::authorized},
      {PaymentStatus::settling, QuoteStatus::settling, QuoteStatus::settling},
      {PaymentStatus::paid, QuoteStatus::paid, QuoteStatus::paid},
      {PaymentStatus::failed, QuoteStatus::failed, QuoteStatus::failed},
  };
  for (const Row& row : rows) {
    CHECK(quote_status(row.own, false) == row.in_time);
    CHECK(quote_status(row.own, true) == row.late);
    if (row.own) CHECK(word(*row.own) == word(row.in_time));
  }
  static_assert(!is_terminal(PaymentStatus::authorized) && !is_terminal(PaymentStatus::settling));
  static_assert(is_terminal(PaymentStatus::paid) && is_terminal(PaymentStatus::failed));
  CHECK(prefix(IdKind::quote) == "qte_");
  CHECK(prefix(IdKind::payment) == "pmt_");
}

TEST_CASE("what a payment that arrives comes to") {
  // What it comes to where it waits to be settled, and where the money has moved already.
  struct Row {
    const char* says;
    QuoteStatus quote;
    bool covers;
    PresentedVerdict waits, moved;
  };
  const auto refuse = [](Reason reason) { return PresentedVerdict{PaymentNext::refuse, reason}; };
  const PresentedVerdict take{PaymentNext::take}, surplus{PaymentNext::surplus};
  const Row rows[] = {
      {"an open quote takes its payment", QuoteStatus::open, true, take, take},
      {"but not less than it asks", QuoteStatus::open, false, refuse(Reason::payment_insufficient), surplus},
      {"one is under way", QuoteStatus::authorized, true, refuse(Reason::quote_paid), surplus},
      {"one is with the backend", QuoteStatus::settling, true, refuse(Reason::quote_paid), surplus},
      {"one has paid", QuoteStatus::paid, true, refuse(Reason::quote_paid), surplus},
      {"one has failed", QuoteStatus::failed, true, refuse(Reason::quote_failed), surplus},
      {"too late", QuoteStatus::expired, true, refuse(Reason::quote_expired), surplus},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    for (const bool covers : {true, false}) {
      if (row.quote == QuoteStatus::open && covers != row.covers) continue;  // elsewhere it makes no odds
      for (const bool on_chain : {false, true}) {
        PresentedFacts facts{.quote = row.quote, .on_chain = on_chain, .covers = covers};
        CHECK(judge_payment(facts) == (on_chain ? row.moved : row.waits));
        facts.payments = payments_a_quote_max - 1;
        CHECK(judge_payment(facts) == (on_chain ? row.moved : row.waits));
        facts.payments = payments_a_quote_max;  // it has taken its fill
        CHECK(judge_payment(facts).next == PaymentNext::refuse);
        // What was seen before is answered, or refused, whatever else holds.
        facts.seen = PaymentSeen::here;
        CHECK(judge_payment(facts) == PresentedVerdict{PaymentNext::again, Reason::none});
        facts.seen = PaymentSeen::elsewhere;
        CHECK(judge_payment(facts) == refuse(Reason::payment_reused));
      }
    }
  }
}

TEST_CASE("what a backend's answer does to a payment") {
  // All that does anything; every other answer leaves the payment as it is.
  struct Row {
    PaymentStatus status;
    SettlementCall call;
    SettlementOutcome outcome;
    SettlementNext next;
  };
  using enum SettlementOutcome;
  const Row rows[] = {
      {PaymentStatus::authorized, SettlementCall::verify, valid, SettlementNext::settling},
      {PaymentStatus::authorized, SettlementCall::verify, settled, SettlementNext::settling},
      {PaymentStatus::authorized, SettlementCall::verify, refused, SettlementNext::failed},
      {PaymentStatus::settling, SettlementCall::settle, settled, SettlementNext::paid},
      {PaymentStatus::settling, SettlementCall::settle, refused, SettlementNext::failed},
      {PaymentStatus::settling, SettlementCall::status, settled, SettlementNext::paid},
      {PaymentStatus::settling, SettlementCall::status, refused, SettlementNext::failed},
      {PaymentStatus::settling, SettlementCall::status, unknown, SettlementNext::settle},
      // The money has moved after all.
      {PaymentStatus::failed, SettlementCall::settle, settled, SettlementNext::paid},
      {PaymentStatus::failed, SettlementCall::status, settled, SettlementNext::paid},
  };
  int looked_at = 0;
  for (const PaymentStatus status :
       {PaymentStatus::authorized, PaymentStatus::settling, PaymentStatus::paid, PaymentStatus::failed})
    for (const SettlementCall call : {SettlementCall::verify, SettlementCall::settle, SettlementCall::status})
      for (const SettlementOutcome outcome : {unavailable, valid, settled, pending, refused, unknown}) {
        SettlementNext expected = SettlementNext::wait;
        for (const Row& row : rows)
          if (row.status == status && row.call == call && row.outcome == outcome) expected = row.next;
        CAPTURE(std::string(word(status)));
        CAPTURE(static_cast<int>(call));
        CAPTURE(static_cast<int>(outcome));
        SettlementFacts facts{status, call, outcome};
        CHECK(judge_settlement(facts) == expected);
        facts.overdue = true;
        CHECK(judge_settlement(facts) == expected);
        // A transaction that the payer named may be in a block to come.
        facts.on_chain = true;
        CHECK(judge_settlement(facts) == expected);
        facts.overdue = false;
        const bool looked_for = status == PaymentStatus::authorized && call == SettlementCall::verify;
        CHECK(judge_settlement(facts) ==
              (looked_for && outcome == refused ? SettlementNext::wait : expected));
        ++looked_at;
      }
  CHECK(looked_at == 72);
  CHECK(first_call(PaymentStatus::authorized) == SettlementCall::verify);
  CHECK(first_call(PaymentStatus::settling) == SettlementCall::status);
}
