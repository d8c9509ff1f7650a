/// \file
/// One write transaction as the services see it: the book to read, the log to append to.
///
/// A service reads, asks a pure rule in core, and appends; only the commit, which is the engine's, is
/// durable. Threads: the leader's, as long as it leads.
#pragma once

#include <calyx/core/receipt.hpp>
#include <deque>
#include <set>
#include <unordered_map>

#include "crypto/secret.hpp"
#include "services/book.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

/// What left each wallet in the rolling hour, exactly: kept for wallets whose policy caps it, loaded from the
/// log when first asked, dropped when a batch fails.
///
/// That a lock's deadline has passed is a fact of time: what it held no longer counts then, whether or not an
/// expiry was appended since. Time as a window was asked about does not run back.
class Windows {
 public:
  /// What `wallet` (with its children) sent out in (now - 60 min, now], less what came back unspent.
  Result<Money> spent(store::MarketStore& store, const Book& book, const WalletState& wallet, Instant now);
  /// Takes note of an event that was appended to `book` just now. `payer` is whose money it brings back, or
  /// 0.
  void note(const Book& book, const Event& event, AccountNumber payer);
  /// Whose money `fields` bring back, asked before the book forgets the lock; 0 for other events.
  static AccountNumber payer_of(const Book& book, const Fields& fields) noexcept;
  void forget() { windows_.clear(); }

 private:
  struct Item {
    std::int64_t at_us;
    Seq seq;
    Money amount;
    std::int64_t deadline_us;  ///< 0: none, or not before the item is an hour old.
  };
  struct Window {
    std::deque<Item> items;                            ///< By seq, so by time.
    std::set<std::pair<std::int64_t, Seq>> deadlines;  ///< Of the items that have one and have not ended.
    Money sum;
    void add(const Item& item);
    void settle_at(Seq seq, Money amount);  ///< Of what `seq` sent out only `amount` stays out.
    /// Forgets what is an hour old at `now`, and counts as nothing what is due by then.
    void move_to(Instant now);
    /// Forgets the deadline of what `still_open(seq)` says has ended.
    template <class StillOpen>
    void keep_deadlines(StillOpen still_open);
  };
  static void apply(Window& window, const Event& event);
  std::unordered_map<AccountNumber, Window> windows_;
};

/// The rows of the entries' table that the legs of event `seq` become, in their order: `each(store::EntryRow,
/// bool milestone)`, which gives a `Result<Done>`. Asked before `book` moves on to the event. The legs of
/// escrow and fees are columns of the lock's row and of its end's.
template <class Each>
Result<Done> for_entries(const Book& book, Seq seq, const core::Legs& legs, Each&& each) {
  for (std::size_t place = 0; place < legs.count(); ++place) {
    const core::Entry& leg = legs.all()[place];
    if (leg.account != core::account_external && !core::is_wallet(leg.account)) continue;
    const Trail trail = book.trail(leg.account);  // a transfer has one leg an account
    const bool milestone = (trail.entries + 1) % store::entries_a_milestone == 0;
    CALYX_CHECK(
        each(store::EntryRow{core::entry_id(seq, place), leg.account, leg.amount, trail.last}, milestone));
  }
  return Done{};
}

/// How `event` ends a lock that is open in `book`, if it ends one.
std::optional<store::ResolutionRow> resolution_of(const Book& book, const Event& event);
/// The rows of derived keys' spending that `event` becomes, but for their totals. Asked before `book` moves
/// on to the event.
std::vector<store::KeySpendRow> key_spends_of(const Book& book, const Event& event);
/// The part of a lock that `event` pays to one host of several; nothing for most.
std::optional<store::ResolutionRow> part_of(const Event& event);

/// A receipt that waits to be written and signed, by whichever thread has time, and then for its place in the
/// log.
struct PendingReceipt {
  std::int64_t leaf = 0;
  Seq seq = 0;
  core::ReceiptFields fields;  ///< But for what stands here beside it; the issuer is the book's.
  std::string job_id, gpu_model;
  std::optional<core::ReceiptWork> work;
  std::string packed;           ///< The payload as the store keeps it, once signed.
  core::Signature signature{};  ///< Once signed.
  core::Digest leaf_hash;       ///< Of the JWS, once signed.
};

/// What the market keeps beside its file, and its seams to the outside.
class JobCache;

struct Seams {
  std::function<std::int64_t()> now_us;
  std::function<bool(void*, std::size_t)> random;
  const crypto::SecretBytes* hash_key = nullptr;
  bool can_sign = true;  ///< Whether a signing key is here; without one nothing settles.
  JobCache* known_jobs = nullptr;
};

/// Where an event came to stand.
struct Placed {
  Seq seq = 0;
  Instant at;
};

class Transaction {
 public:
  Transaction(Book& book, store::MarketStore& store, Windows& windows, const Seams& seams)
      : book_(book), store_(store), windows_(windows), seams_(seams) {}

  const Book& book() const noexcept { return book_; }
  store::MarketStore& store() noexcept { return store_; }
  const Seams& seams() const noexcept { return seams_; }

  /// The instant of the call under way; never before the last event.
  Instant now() const noexcept { return now_; }
  /// Reads the clock for the next call. Fails: `io_error` for a clock outside 1970 to 9999.
  Result<Done> tick();

  /// Appends `fields` to the log with the rows that follow from it, but for a caller's key and a receipt, and
  /// moves the book on. The first error ends the transaction.
  /// Fails: the store; `corrupt`.
  Result<Placed> append(Fields fields);

  Result<Money> spent_in_hour(const WalletState& wallet) {
    return windows_.spent(store_, book_, wallet, now_);
  }

  std::int64_t next_leaf() const noexcept {
    return static_cast<std::int64_t>(book_.receipt_log.size() + receipts_.size());
  }
  void add_receipt(PendingReceipt receipt) {
    PendingReceipt& pending = receipts_.emplace_back(std::move(receipt));
    if (hand_over_) hand_over_(pending);
  }
  /// From now on each receipt is handed over as soon as it waits; it stays where it is as long as this
  /// transaction.
  void hand_receipts_to(std::function<void(PendingReceipt&)> hand_over) { hand_over_ = std::move(hand_over); }
  std::size_t receipts() const noexcept { return receipts_.size(); }

  struct Appended {
    Event event;
    core::Digest hash;
  };
  const std::deque<Appended>& appended() const noexcept { return appended_; }

  /// The jobs' rows, to be changed: what is written there is committed even where no event is appended.
  store::JobStore& change_jobs() noexcept {
    changed_rows_ = true;
    return store_.jobs();
  }
  /// The same of the projects' rows.
  store::ProjectStore& change_projects() noexcept {
    changed_rows_ = true;
    return store_.projects();
  }
  store::FeedbackStore& change_feedback() noexcept {
    changed_rows_ = true;
    return store_.feedback();
  }
  store::WebhookStore& change_webhooks() noexcept {
    changed_rows_ = true;
    return store_.webhooks();
  }
  store::PaymentStore& change_payments() noexcept {
    changed_rows_ = true;
    return store_.payments();
  }
  store::NonceStore& change_nonces() noexcept {
    changed_rows_ = true;
    return store_.nonces();
  }
  store::ArtifactStore& change_artifacts() noexcept {
    changed_rows_ = true;
    return store_.artifacts();
  }
  /// Whether there is anything to commit.
  bool wrote() const noexcept { return changed_rows_ || !appended_.empty(); }

 private:
  Book& book_;
  store::MarketStore& store_;
  Windows& windows_;
  const Seams& seams_;
  Instant now_;
  std::deque<Appended> appended_;
  std::deque<PendingReceipt> receipts_;
  std::function<void(PendingReceipt&)> hand_over_;
  bool changed_rows_ = false;
  std::string fields_text_, document_;  // kept between events: the hot path allocates little
};

}  // namespace calyx::services
