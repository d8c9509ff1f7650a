/// \file
/// Quotes, the payments that come for them, and the backend that settles those.
///
/// Start at `Session::quote_topup`, then `Session::present_payment`. Whoever presents a payment has checked
/// what the payment itself says (its signature, recipient, amount, times) and hands over a `VerifiedPayment`.
/// A signature is no payment: credits are given once `Options::settlement` says that it settled.
///
/// A payment is written, under its network, asset, payer and nonce, before the backend hears of it, and is
/// `settling` in the file before the backend may move anything. So a process may die at any moment:
/// `Session::settle_payments`, or the same payment presented again, goes on from there.
///
/// Units: amounts are micro-FLOPS (`Money`), but for a token's own `amount`; instants are microseconds since
/// 1970-01-01 UTC.
#pragma once

#include <calyx/core/ids.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/payment_network.hpp>
#include <calyx/core/quote.hpp>
#include <calyx/core/time.hpp>
#include <calyx/version.hpp>
#include <calyx/wallets.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calyx {

/// The numbers are in the file.
enum class QuoteKind : std::uint8_t {
  topup,      ///< Credits that somebody wants.
  shortfall,  ///< Credits that a call lacked.
  credits,    ///< Credits that are asked for and paid at one place, call after call.
  call,       ///< A call that its payer made without a key. Given by `Engine::pay_for_call` alone.
};
constexpr std::string_view word(QuoteKind kind) noexcept {
  constexpr std::string_view words[] = {"topup", "shortfall", "credits", "call"};
  return words[static_cast<std::size_t>(kind)];
}

/// The numbers are in the file.
enum class PaymentProtocol : std::uint8_t { x402_v1, x402_v2, mpp };
constexpr std::string_view word(PaymentProtocol protocol) noexcept {
  constexpr std::string_view words[] = {"x402_v1", "x402_v2", "mpp"};
  return words[static_cast<std::size_t>(protocol)];
}

inline constexpr std::int64_t quote_lasts_s = 900;
inline constexpr std::int64_t quote_lasts_s_max = 86'400;
inline constexpr std::size_t payment_payload_max = 16'384;  ///< Bytes.

struct QuoteTopup {
  WalletId wallet{};
  Money amount{};
  QuoteKind kind = QuoteKind::topup;
  std::int64_t lasts_s = quote_lasts_s;  ///< 1 to `quote_lasts_s_max`.
  /// A quote of another kind than `topup` without one is that of the same kind and amount that is open
  /// already, if there is one with a minute left.
  IdempotencyKey idempotency_key{};
};

/// A payment whose own words were found good; its signature, too, unless it is a contract's and the backend
/// said that it judges those. Texts are UTF-8 without controls.
struct VerifiedPayment {
  PaymentProtocol protocol = PaymentProtocol::x402_v2;
  std::string network{};   ///< CAIP-2, as `eip155:8453`. 1 to 128 bytes of 0x21-0x7E, as the next four.
  std::string asset{};     ///< The token's address, in one spelling.
  std::string payer{};     ///< The payer's address, in one spelling.
  std::string pay_to{};    ///< The address that is paid.
  std::string nonce{};     ///< What is used once by this payer for this asset.
  std::string amount{};    ///< In the token's atomic units: 1 to 78 decimal digits.
  Money credit{};          ///< The same in credits, rounded down to the micro.
  Instant valid_before{};  ///< When the payer's word ends; the backend is held to it.
  std::string payload{};   ///< As it was received, at most `payment_payload_max` bytes, for the backend.
  /// The transaction in which the payer says that it was paid already; empty: it waits to be settled.
  std::string on_chain{};
};

/// A payment as it stands.
struct Payment {
  PaymentId id{};
  QuoteId quote{};
  WalletId wallet{};  ///< That is credited: the quote's.
  PaymentStatus status = PaymentStatus::authorized;
  bool surplus = false;  ///< It came when the quote had no use for it.
  VerifiedPayment facts{};
  Instant created_at{};
  std::optional<Instant> ended_at{};
  std::string transaction{};   ///< Once paid: where it settled, in the backend's words.
  Money credited{};            ///< Once paid.
  std::optional<TxnId> txn{};  ///< Once paid: the top-up.
  std::string error{};         ///< Once failed: why, in the backend's words.
  bool replayed = false;       ///< It had been presented before.
};

struct Quote {
  QuoteId id{};
  WalletId wallet{};
  QuoteKind kind = QuoteKind::topup;
  Money amount{};
  Instant created_at{}, expires_at{};
  QuoteStatus status = QuoteStatus::open;
  std::vector<Payment> payments{};  ///< In the order in which they came; one at most is no surplus.
  bool replayed = false;
};

/// The headers in which the real clients bring a payment.
enum class PaymentHeader : std::uint8_t {
  x_payment,              ///< `X-PAYMENT`: x402 version 1.
  payment_signature,      ///< `PAYMENT-SIGNATURE`: x402 version 2.
  authorization,          ///< `Authorization: Payment …`: MPP.
  payment_authorization,  ///< `Payment-Authorization`: MPP, where `Authorization` bears a key.
};

/// A payment as it came: nothing of it was judged.
struct PaymentWords {
  PaymentHeader header = PaymentHeader::payment_signature;
  std::string_view text{};  ///< The header's value.
};

/// What a 402 of a quote says besides the money.
struct PaymentAsk {
  /// The path, with its leading slash, where the payment will be presented; the host's `base_url` goes
  /// before.
  std::string_view resource{};
  bool key_in_authorization = false;  ///< Then MPP's credential comes in `Payment-Authorization`.
  /// The one network that is asked for, as `PaymentNetwork::network`. Empty: all.
  std::string_view network{};
  /// What was wrong with the last payment, as `code` of the details of `payment_invalid`, and in words.
  std::string_view error{}, detail{};
};

/// One 402 that clients of x402 version 1 (body) and 2 (header) and of MPP (`WWW-Authenticate`) understand.
struct PaymentChallenge {
  std::string payment_required{};               ///< The value of `PAYMENT-REQUIRED`.
  std::vector<std::string> www_authenticate{};  ///< One value a challenge of MPP.
  core::json::Value body{};  ///< Version 1's challenge, which is MPP's problem document too.
};

/// A payment that was presented as it came, and what is said of it to its client.
struct PaymentAnswer {
  Payment payment{};
  /// The value of `X-PAYMENT-RESPONSE`, `PAYMENT-RESPONSE` or `Payment-Receipt`; empty while it is under way,
  /// and for a failed one of MPP.
  std::string response{};
};

struct SettlementAnswer {
  SettlementOutcome outcome = SettlementOutcome::unavailable;
  std::string transaction{};  ///< Of `settled`: 1 to 256 bytes of UTF-8 without controls.
  /// Of `settled`: what it came to; absent: the payment's own `credit`. Of 0, or above what one amount may
  /// be, nothing can be credited: the answer counts as `unavailable`.
  std::optional<Money> credit{};
  std::string reason{};  ///< Of `refused`: one word, as `insufficient_funds`.
};

/// Who moves the money: a facilitator, a node of a chain, a card network, or `SimulatedTokens`.
///
/// Each call comes from a thread of the host, outside every lock and transaction, may take its time, and may
/// call the engine. The same call may come twice, on two threads or from two processes at once: the key
/// stands for the payment, and under one key money moves once. What throws says `unavailable`.
///
/// A transaction has one spelling: one that a payer named is credited once, by that.
class CALYX_EXPORT SettlementBackend {
 public:
  SettlementBackend() = default;
  SettlementBackend(const SettlementBackend&) = delete;
  SettlementBackend& operator=(const SettlementBackend&) = delete;
  virtual ~SettlementBackend();

  /// Whether it would settle: balance, allowance, the nonce on the chain. Moves nothing. To a payment that is
  /// `on_chain`: whether that transaction is there, from that payer to that address; `refused` then means
  /// not yet, for `core::on_chain_wait_us`.
  virtual SettlementAnswer verify(const VerifiedPayment& payment) = 0;
  /// Moves the money, or, of one that is `on_chain`, looks whether that moved it. `key` is the payment's id.
  /// `refused` is for good: never say it of what may still settle.
  virtual SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) = 0;
  /// What became of `settle` under `key`; `unknown` where it never came.
  virtual SettlementAnswer status(std::string_view key) = 0;
  /// Whether `verify` judges the signatures of contracts (ERC-1271, ERC-6492), which stand in `payload`: only
  /// the chain can. To one that does comes whatever the payer's own key did not sign, of any length. Where it
  /// does not, payments with one are not put to it.
  virtual bool judges_contracts() const noexcept;
};

/// What a call of `settle_payments` did.
struct PaymentRound {
  std::uint64_t paid = 0, failed = 0;
  std::uint64_t waiting = 0;  ///< Still under way.
};

}  // namespace calyx
