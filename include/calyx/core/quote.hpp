/// \file
/// Quotes and their payments as rules: what an arriving payment comes to, and what a backend's answer does.
///
/// Start at `judge_payment` and `judge_settlement`. A payment that was taken is `authorized`, then `settling`
/// from before the backend is asked to move anything, then `paid`, which never changes, or `failed`, which
/// only the news that the money has moved after all makes `paid`. A quote has one payment of its own, and is
/// where that is; without one it is `open`, or `expired` once its time is over. What reached the chain and
/// cannot pay the quote any more is taken beside it, as a surplus.
#pragma once

#include <calyx/core/reason.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace calyx {

/// The numbers are in the file.
enum class PaymentStatus : std::uint8_t { authorized, settling, paid, failed };
constexpr std::string_view word(PaymentStatus status) noexcept {
  constexpr std::string_view words[] = {"authorized", "settling", "paid", "failed"};
  return words[static_cast<std::size_t>(status)];
}
constexpr bool is_terminal(PaymentStatus status) noexcept {
  return status == PaymentStatus::paid || status == PaymentStatus::failed;
}

enum class QuoteStatus : std::uint8_t { open, authorized, settling, paid, failed, expired };
constexpr std::string_view word(QuoteStatus status) noexcept {
  constexpr std::string_view words[] = {"open", "authorized", "settling", "paid", "failed", "expired"};
  return words[static_cast<std::size_t>(status)];
}

/// What a settlement backend says.
enum class SettlementOutcome : std::uint8_t {
  unavailable,  ///< Nothing is known: ask again.
  valid,        ///< It would settle as things stand. `verify` alone says this.
  settled,      ///< The money has moved, for good.
  pending,      ///< It may still settle.
  refused,      ///< It will never settle under this key.
  unknown,      ///< Nothing was begun under this key. `status` alone says this.
};
inline constexpr std::string_view settlement_outcome_words[] = {"unavailable", "valid",   "settled",
                                                                "pending",     "refused", "unknown"};
constexpr std::string_view word(SettlementOutcome outcome) noexcept {
  return settlement_outcome_words[static_cast<std::size_t>(outcome)];
}

/// What it was asked.
enum class SettlementCall : std::uint8_t { verify, settle, status };
constexpr std::string_view word(SettlementCall call) noexcept {
  constexpr std::string_view words[] = {"verify", "settle", "status"};
  return words[static_cast<std::size_t>(call)];
}

namespace core {

/// Payments that one quote takes, its own and surpluses.
inline constexpr std::size_t payments_a_quote_max = 16;

/// How long a transaction that a payer names is looked for before its payment fails. A payer may be quicker
/// than the block. Units: microseconds.
inline constexpr std::int64_t on_chain_wait_us = 86'400'000'000;

/// Where a quote is.
constexpr QuoteStatus quote_status(std::optional<PaymentStatus> own, bool expired) noexcept {
  if (!own) return expired ? QuoteStatus::expired : QuoteStatus::open;
  switch (*own) {
    case PaymentStatus::authorized: return QuoteStatus::authorized;
    case PaymentStatus::settling: return QuoteStatus::settling;
    case PaymentStatus::paid: return QuoteStatus::paid;
    case PaymentStatus::failed: break;
  }
  return QuoteStatus::failed;
}

/// The payment that stands under the same network, asset, payer and nonce.
enum class PaymentSeen : std::uint8_t {
  never,
  here,       ///< On this quote, with the same contents.
  elsewhere,  ///< On another quote, or with other contents.
};

struct PresentedFacts {
  QuoteStatus quote = QuoteStatus::open;
  PaymentSeen seen = PaymentSeen::never;
  bool on_chain = false;     ///< The payer has moved the money already.
  bool covers = true;        ///< Its credit is the quote's amount or more.
  std::size_t payments = 0;  ///< That the quote has taken so far.
};

enum class PaymentNext : std::uint8_t {
  take,     ///< As the quote's own.
  surplus,  ///< Beside the quote: it is credited and pays for nothing.
  again,    ///< Answer what is known of it.
  refuse,
};
struct PresentedVerdict {
  PaymentNext next = PaymentNext::refuse;
  Reason reason = Reason::none;  ///< Of a refusal.
  bool operator==(const PresentedVerdict&) const = default;
};

/// What a payment that arrives comes to. Money that has moved is turned away only when it was seen before, or
/// by a quote that has taken its fill.
constexpr PresentedVerdict judge_payment(const PresentedFacts& facts) noexcept {
  const auto refuse = [](Reason reason) { return PresentedVerdict{PaymentNext::refuse, reason}; };
  if (facts.seen == PaymentSeen::here) return {PaymentNext::again, Reason::none};
  if (facts.seen == PaymentSeen::elsewhere) return refuse(Reason::payment_reused);
  const bool full = facts.payments >= payments_a_quote_max;
  if (facts.quote == QuoteStatus::open && facts.covers && !full) return {PaymentNext::take, Reason::none};
  if (facts.on_chain && !full) return {PaymentNext::surplus, Reason::none};
  switch (facts.quote) {
    case QuoteStatus::authorized:
    case QuoteStatus::settling:
    case QuoteStatus::paid: return refuse(Reason::quote_paid);
    case QuoteStatus::failed: return refuse(Reason::quote_failed);
    case QuoteStatus::expired: return refuse(Reason::quote_expired);
    case QuoteStatus::open: break;
  }
  return refuse(facts.covers ? Reason::quote_paid : Reason::payment_insufficient);
}

enum class SettlementNext : std::uint8_t {
  wait,      ///< It stays as it is.
  settling,  ///< Write that, then ask `settle`.
  settle,    ///< Ask `settle`, under the same key.
  paid,
  failed,
};

/// What is asked first of a payment that is under way.
constexpr SettlementCall first_call(PaymentStatus status) noexcept {
  return status == PaymentStatus::authorized ? SettlementCall::verify : SettlementCall::status;
}

struct SettlementFacts {
  PaymentStatus status = PaymentStatus::authorized;
  SettlementCall call = SettlementCall::verify;  ///< That the backend was asked.
  SettlementOutcome outcome = SettlementOutcome::unavailable;
  bool on_chain = false;  ///< The payer has named a transaction.
  bool overdue = false;   ///< It was looked for as long as `on_chain_wait_us`.
};

/// What an answer does to a payment. Only what a backend may say to a call, and while the payment is where
/// that call is made, does anything; but money that has moved counts also after another answer said that it
/// never would.
constexpr SettlementNext judge_settlement(const SettlementFacts& facts) noexcept {
  const bool verifies = facts.call == SettlementCall::verify;
  if (facts.status == PaymentStatus::paid) return SettlementNext::wait;
  if (facts.status == PaymentStatus::failed)
    return !verifies && facts.outcome == SettlementOutcome::settled ? SettlementNext::paid
                                                                    : SettlementNext::wait;
  if (verifies != (facts.status == PaymentStatus::authorized)) return SettlementNext::wait;
  switch (facts.outcome) {
    case SettlementOutcome::refused:
      return verifies && facts.on_chain && !facts.overdue ? SettlementNext::wait : SettlementNext::failed;
    case SettlementOutcome::settled: return verifies ? SettlementNext::settling : SettlementNext::paid;
    case SettlementOutcome::valid: return verifies ? SettlementNext::settling : SettlementNext::wait;
    case SettlementOutcome::unknown:
      return facts.call == SettlementCall::status ? SettlementNext::settle : SettlementNext::wait;
    case SettlementOutcome::pending:
    case SettlementOutcome::unavailable: break;
  }
  return SettlementNext::wait;
}

}  // namespace core
}  // namespace calyx
