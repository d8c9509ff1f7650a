/// \file
/// What a session may ask, each a function over one transaction: read, decide with core, append.
///
/// A replay's balance is history, which is summed outside the transaction: the session fills it in.
/// `narrowing` is the policy of the session that asks, null for none. The public headers say what each fails
/// with and in which order. An error other than a refusal of the rules (the store's) ends the whole
/// transaction.
#pragma once

#include <calyx/session.hpp>

#include "services/access.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

// wallets.cpp
/// The answer to the creation `first` again, as it was given then.
WalletCreated created_again(const Book& book, const WalletCreatedEvent& first, Instant now);
Result<WalletCreated> create_wallet(Transaction& tx, const Principal& principal, const WalletCreate& asked);
Result<Wallet> change_wallet(Transaction& tx, const Principal& principal, WalletId id,
                             const WalletChange& change);

// money.cpp
// `derived` is the key that a bulk gives an operation without one of its own.
Result<Moved> topup(Transaction& tx, const Principal& principal, const TopUp& asked,
                    const IdempotencyKey& derived = {});
Result<Moved> transfer(Transaction& tx, const Principal& principal, const WalletTransfer& asked,
                       const Policy* narrowing = nullptr, const IdempotencyKey& derived = {});

// escrow.cpp
Result<Spent> spend(Transaction& tx, const Principal& principal, const Spend& asked,
                    const Policy* narrowing = nullptr);
Result<Earned> earn(Transaction& tx, const Principal& principal, const Earn& asked);
Result<Released> release(Transaction& tx, const Principal& principal, const Release& asked);

// keys.cpp
Result<KeyIssued> issue_key(Transaction& tx, const Principal& principal, std::optional<WalletId> wallet,
                            std::string_view label, const IdempotencyKey& once, KeyKind kind = KeyKind::api);
Result<KeyIssued> issue_compute_key(Transaction& tx, const Principal& principal, std::string_view label,
                                    const IdempotencyKey& once);
/// The same for who paid for a call by MPP, where the wallet has none. Fails: `payment_unknown`,
/// `not_whitelisted`.
Result<KeyIssued> issue_management_key(Transaction& tx, PaymentId paid);
/// A key that ends, for a wallet whose owner has signed in.
Result<KeyIssued> open_session(Transaction& tx, const WalletState& wallet);
Result<ApiKey> revoke_key(Transaction& tx, const Principal& principal, KeyId id);
Result<KeyIssued> rotate_key(Transaction& tx, const Principal& principal, KeyId id,
                             const IdempotencyKey& once);

// approvals.cpp
Result<Approval> decide_approval(Transaction& tx, const Principal& principal, ApprovalId id, bool approved);

// payouts.cpp
struct PayoutAnswer {
  Payout payout;
  Seq balance_at = 0;    ///< Of a replay: the event right after which its balance is meant.
  bool pending = false;  ///< Whether its outcome is still open.
};
Result<PayoutAnswer> request_payout(Transaction& tx, const Principal& principal, const PayoutRequest& asked,
                                    const Policy* narrowing = nullptr);
Result<PayoutAnswer> finish_payout(Transaction& tx, const Principal& principal, PayoutId id,
                                   PayoutStatus outcome, const IdempotencyKey& once);
Result<Granted> grant(Transaction& tx, const Principal& principal, WalletId wallet,
                      const IdempotencyKey& once);
Result<WaitlistEntry> join_waitlist(Transaction& tx, const Principal& principal, std::string_view owner_id,
                                    const IdempotencyKey& once);
Result<WaitlistApproved> approve_waitlist(Transaction& tx, const Principal& principal, WaitlistId id,
                                          const IdempotencyKey& once);

// ── shared by the files above ──

/// The event that the caller's idempotency key stands for, if it was used before.
Result<std::optional<Event>> replayed(Transaction& tx, const Caller& caller, const IdempotencyKey& once);
/// Keeps the key with the event that it brought about.
Result<Done> keep_key(Transaction& tx, const Caller& caller, const IdempotencyKey& once, Seq seq);
/// Keeps a key that came with a call which something else showed to be a replay of the event `first`.
Result<Done> bind_key(Transaction& tx, const Caller& caller, const IdempotencyKey& once, Seq first);
/// The event `seq`, read back. Fails: `corrupt` when it is missing.
Result<Event> event_at(store::MarketStore& store, Seq seq);

/// What a call that sends money out of `wallet` under its policy comes to.
struct Outgoing {
  const WalletState* wallet = nullptr;
  std::string_view operation;
  Money amount;
  std::string_view job_id;
  std::optional<std::string> gpu_type;
  bool judges_gpu = false;
  const Policy* narrowing = nullptr;
  const core::KeyBlocks* blocks = nullptr;  ///< Of a derived key; null: of none.
  bool by_wallet_rules = true;              ///< False: only `narrowing` and the balance judge.
  /// All that the call asked for, as canonical JSON: what an approval is for. Asked only when one is needed.
  std::function<std::string()> terms;
};
/// Judges `outgoing` and, when it may pass, appends what comes before it: the expiries due, the approval's
/// use. When a human must approve, leaves the approval to ask for and fails with it.
Result<Done> pass_policy(Transaction& tx, const Outgoing& outgoing);
/// Whether a transfer or payout of `caller` is part of the wallet's rolling hour: what an hour was asked
/// about is.
bool counts_in_hour(const Caller& caller, const Policy* narrowing) noexcept;
/// The same without a policy: is there enough? Appends the expiries due.
Result<Done> pass_balance(Transaction& tx, const WalletState& wallet, Money amount);
/// Expiries that one call appends at most beyond those it needs: what is left is available all the same.
inline constexpr std::size_t sweep_max = 256;
/// Appends expiries of `wallet` that are due: all that it takes to hold `needed`, and `sweep_max` more.
Result<Done> sweep(Transaction& tx, const WalletState& wallet, Money needed = {});
/// Whether `wallet` can take `amount` more, also when all that may come back to it has come back.
Result<Done> check_room(const WalletState& wallet, Money amount);
/// Whether the market can take `amount` more from outside.
Result<Done> check_supply(const Book& book, Money amount);
Result<Done> check_active(const WalletState& wallet);

}  // namespace calyx::services
