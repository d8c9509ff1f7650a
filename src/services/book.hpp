/// \file
/// The book: a market's present state, in memory, as it follows from the events applied so far.
///
/// It is a value: the writer works on one copy, readers see another that moves only when a commit is
/// durable, and a batch that failed is undone by copying. What would grow with history (settled jobs, old
/// entries) is not here but in the store.
#pragma once

#include <calyx/core/escrow.hpp>
#include <calyx/core/merkle.hpp>
#include <calyx/core/request_signature.hpp>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "services/events.hpp"

namespace calyx::services {

struct WalletState {
  WalletId id;
  AccountNumber number = 0;
  Seq created_seq = 0;
  OwnerType owner_type = OwnerType::human;
  std::string owner_id;
  AccountNumber parent = 0;
  WalletStatus status = WalletStatus::active;
  Policy policy;
  Instant created_at;
  Money balance;
  Money held;
  Money paying_out;              ///< What its pending payouts may bring back.
  std::uint64_t txn_count = 0;   ///< Its entries,
  core::EntryId last_entry = 0;  ///< the last of them; 0 while there is none.
  std::uint32_t open_locks = 0;
  std::set<std::pair<std::int64_t, Seq>> deadlines;  ///< Of the open locks that have one: (us, lock).
  std::vector<AccountNumber> children;
  std::vector<std::int64_t> keys;  ///< Numbers, oldest first.
  std::vector<Seq> payouts;        ///< Oldest first.
  std::set<Seq> approvals;         ///< At most `approvals_kept_max`.
  /// Whether its owner may run jobs: not where a signature alone opened it, until an operator says so.
  bool whitelisted = true;
};

struct KeyState {
  KeyId id;
  AccountNumber wallet = 0;  ///< 0: an operator's.
  core::Digest hash;
  std::string last4;
  std::string label;
  Instant created_at;
  std::optional<Instant> revoked_at;
  KeyKind kind = KeyKind::api;
  std::optional<Instant> expires_at;
  std::optional<core::Digest> delegate;  ///< The public key of which others are derived.

  bool good(Instant now) const noexcept { return !revoked_at && (!expires_at || now < *expires_at); }
};

struct OpenLock {
  AccountNumber payer = 0;
  AccountNumber host = 0;  ///< 0: none named.
  Money amount;
  std::optional<Instant> deadline;
  std::string job_id;
  Instant at;
  std::int64_t job = 0;  ///< The job whose budget it is; 0: none's.
  Money paid;            ///< What hosts were paid of it so far; `amount` is what is left.
};

struct ApprovalState {
  ApprovalId id;
  AccountNumber wallet = 0;
  std::string operation;
  Money amount;
  std::string job_id;
  std::optional<std::string> gpu_type;
  std::string terms;
  Instant created_at;
  Instant expires_at;
  ApprovalStatus status = ApprovalStatus::pending;  ///< Never `expired`: that is a fact of time.
};

struct PayoutState {
  PayoutId id;
  AccountNumber wallet = 0;
  Money amount;
  std::string destination;
  bool spends = false;
  PayoutStatus status = PayoutStatus::pending;
  Instant created_at;
  Seq ended = 0;  ///< The event of its outcome; 0 while there is none.
};

struct WaitlistState {
  WaitlistId id;
  std::string owner_id;
  WaitlistStatus status = WaitlistStatus::waiting;
  Instant created_at;
};

/// How many entries an account has, and which is the last; 0 while there is none.
struct Trail {
  std::uint64_t entries = 0;
  core::EntryId last = 0;
  bool operator==(const Trail&) const = default;
};

struct DigestHash {
  std::size_t operator()(const core::Digest& digest) const noexcept {
    std::size_t first;
    std::memcpy(&first, digest.bytes.data(), sizeof first);
    return first;
  }
};

/// Whose wallet is paid for work where nobody else is named. An operator alone opens humans' wallets.
inline constexpr std::string_view house_owner_id = "calyx.house";

/// As many wallets as strangers' signatures open in an hour; each stays for good.
inline constexpr std::size_t opened_by_signature_max = 1000;

class Book {
 public:
  // ── the market ──
  std::string market;  ///< Its id, 16 bytes in hex; empty until the first event.
  std::string issuer;
  std::int32_t fee_basis_points = 0;
  std::uint32_t tag = 0;  ///< In every id of this market.
  core::Prices prices;
  PaymentTerms payment_terms;
  AccountNumber house = 0;  ///< The wallet that is paid where nobody else is named; 0: not opened yet.
  std::vector<std::string>
      signing_keys;  ///< Public keys in base64url, oldest first; a receipt names one by place.

  // ── the log ──
  Seq seq = 0;
  Instant at;
  core::Digest head;  ///< Hash of the last event; before the first, of the market's id.
  core::merkle::Frontier receipt_log;

  // ── standing ──
  std::vector<WalletState> wallets;  ///< Wallet `wallet_first + i` at i.
  std::vector<KeyState> keys;        ///< Key i + 1 at i.
  std::unordered_map<core::Digest, std::int64_t, DigestHash> key_by_hash, key_by_delegate;
  /// The first human's wallet of each owner that is an address, as CAIP-10 names it (identity.hpp).
  std::unordered_map<std::string, AccountNumber> wallet_by_address;
  std::deque<Instant> opened_by_signature;  ///< The last `opened_by_signature_max`, oldest first.
  std::unordered_map<Seq, OpenLock> locks;
  /// The blocks of the derived keys that asked for open locks: few locks have any.
  std::unordered_map<Seq, std::vector<core::Digest>> locks_under;
  std::map<Seq, ApprovalState> approvals;
  std::map<std::pair<AccountNumber, std::string>, Seq> approval_by_terms;  ///< The latest for the terms.
  std::map<Seq, PayoutState> payouts;
  std::map<Seq, WaitlistState> waitlist;
  std::unordered_map<std::string, Seq> waitlist_by_owner;
  std::unordered_set<std::string> granted_owners;
  std::vector<Seq> grants;  ///< At most `grants_max`, oldest first.
  Money external;           ///< Balance of the outside: minus all that was ever put in and not paid out.
  Trail external_trail;
  Money fees;
  Money paying_out;  ///< What all pending payouts may bring back.

  WalletState* wallet(AccountNumber number) noexcept;
  const WalletState* wallet(AccountNumber number) const noexcept;
  /// The wallet that `id` names, or null.
  const WalletState* find(const WalletId& id) const noexcept;
  const KeyState* key(std::int64_t number) const noexcept;
  const KeyState* find(const KeyId& id) const noexcept;

  TxnId txn_id(Seq event_seq, Instant event_at) const noexcept {
    return TxnId::make(event_at.us, static_cast<std::uint64_t>(event_seq), tag);
  }
  ReceiptId receipt_id(std::int64_t leaf, Instant issued_at) const noexcept {
    return ReceiptId::make(issued_at.us, static_cast<std::uint64_t>(leaf), tag);
  }
  AccountNumber next_wallet() const noexcept {
    return core::wallet_first + static_cast<AccountNumber>(wallets.size());
  }
  std::int64_t next_key() const noexcept { return static_cast<std::int64_t>(keys.size()) + 1; }
  std::int64_t grants_left() const noexcept {
    return grants_max - static_cast<std::int64_t>(granted_owners.size());
  }

  /// Where the entries of `account`, a wallet or the outside, end.
  Trail trail(AccountNumber account) const noexcept;

  /// How many grants were left right after the grant `seq`.
  std::int64_t grants_left_after(Seq seq) const noexcept;
  /// Whether `approval` still waits at `now`: for a decision, or for the call that it serves.
  static bool waits(const ApprovalState& approval, Instant now) noexcept;
  /// Whether `wallet` may ask for one more approval: not while `most` wait, of which all that are kept is
  /// one.
  bool takes_approval(const WalletState& wallet, Instant now, std::size_t most) const noexcept;

  /// The sum of the locks of `wallet` whose deadline has passed but that nothing has returned yet. Who needs
  /// no more than `enough` is told of the first ones that come to it, and the rest is not looked at.
  Money due(const WalletState& wallet, Instant now, Money enough = core::amount_max) const noexcept;

  /// The legs of `event`, which follow from its fields and, for what ends a lock, from the lock.
  /// Fails: `corrupt` when the event ends a lock that is not open.
  Result<core::Legs> legs(const Event& event) const;

  /// Moves on to `event`, whose hash is `hash`; the receipt log is moved on by whoever has the leaf.
  /// Fails: `corrupt` when it cannot follow from what stands.
  Result<Done> apply(const Event& event, const core::Digest& hash);

  // ── opening: what `apply` would have brought about, from the entries ──

  /// Moves on to an event of standing without its legs.
  Result<Done> restore(const Event& event);
  /// The next entry of a wallet or of the outside. Fails: `corrupt` for a sum beyond an account's bounds.
  Result<Done> restore_entry(core::EntryId id, const core::Entry& entry);
  void restore_fees(Money sum) noexcept { fees = sum; }
  Result<Done> restore_lock(Seq seq, Instant at, const SpendEvent& spend);

  // ── views ──
  Wallet view(const WalletState& wallet, Instant now) const;
  ApiKey view(const KeyState& key) const;
  Approval view(const ApprovalState& approval, Instant now) const;
  Payout view(Seq seq, const PayoutState& payout) const;

 private:
  Result<Done> stand(const Event& event);
  void open_lock(Seq seq, Instant at, const SpendEvent& spend);
  void pay_part(OpenLock& lock, Money gross);
  void close_lock(std::unordered_map<Seq, OpenLock>::iterator lock);
  void end_payout(PayoutState& payout, PayoutStatus status, Seq seq);
  /// Makes room for one more approval: the oldest of the wallet that has ended goes. The log keeps all.
  void forget_approval(WalletState& wallet, Instant now);
  void move(core::EntryId id, const core::Entry& leg);
};

}  // namespace calyx::services
