/// \file
/// What the engine asks of a market file, one function an intent; all the SQL of calyx is in this room.
///
/// The tables: `events` is the log; `entries`, `milestones`, `locks`, `resolutions`, `parts`,
/// `zero_earnings`, `key_spends`, `requests`, `receipts`, `tiles` and `checkpoints` are views of it that are
/// written in the same transaction and never again. The SQL view `ledger` shows every entry of every
/// transfer, those in the columns of `locks`, `resolutions` and `parts` too.
///
/// Entries lie in the order of events, so that a commit writes few pages however many wallets it touches.
/// Each names the one before of its account: an account's history is walked from its last entry back, and
/// `milestones` has every 64th of them, so that the walk may begin anywhere.
///
/// Threads: a store belongs to one connection, so to one thread at a time. Every statement is prepared
/// when the store is made.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/event.hpp>
#include <calyx/core/transfer.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/artifact_store.hpp"
#include "store/database.hpp"
#include "store/feedback_store.hpp"
#include "store/job_store.hpp"
#include "store/nonce_store.hpp"
#include "store/payment_store.hpp"
#include "store/project_store.hpp"
#include "store/schema.hpp"
#include "store/webhook_store.hpp"

namespace calyx::store {

using Seq = std::int64_t;
using core::AccountNumber;

inline constexpr unsigned tile_levels = 8;                ///< Every 8th level of the receipt tree is kept.
inline constexpr std::uint64_t entries_a_milestone = 64;  ///< Of one account.

struct EventRow {
  Seq seq = 0;
  Instant at;
  int kind = 0;
  std::string_view fields;  ///< Lives until the callback returns.
  core::Digest hash;
};

/// An entry of a wallet or of the outside.
struct EntryRow {
  core::EntryId id = 0;
  AccountNumber account = 0;
  Money amount;
  core::EntryId previous = 0;  ///< The account's entry before; 0 for its first.
};

struct LockRow {
  AccountNumber payer = 0;
  Seq seq = 0;   ///< The spend, or the burn.
  Money amount;  ///< What its escrow account takes in; 0 for a burn.
};

/// How a lock ended, or what one host of several was paid of it before.
struct ResolutionRow {
  Seq lock = 0;
  Seq seq = 0;
  Money amount;  ///< What leaves its escrow account: at its end all that was left there,
  Money fee;     ///< of which the platform's fees get this.
};

struct ReceiptRow {
  std::int64_t leaf = 0;
  Seq seq = 0;  ///< The settling event.
  int key = 0;  ///< Place of the signing key among the market's.
  std::string_view payload;
  std::string_view signature;  ///< 64 bytes.
};

/// What a block of a derived key sent out, or of it came back.
struct KeySpendRow {
  core::Digest block;
  Seq seq = 0;
  Seq lock = 0;  ///< The event that sent it out.
  Money amount;  ///< Below 0: it came back.
  Money total;   ///< Of the block, so far.
};

/// What a caller's key was used for.
enum class RequestKind : std::uint8_t { idempotency_key = 1, topup_reference = 2 };

class MarketStore {
 public:
  static Result<MarketStore> make(Connection& connection, bool writes);

  JobStore& jobs() noexcept { return jobs_; }
  ProjectStore& projects() noexcept { return projects_; }
  FeedbackStore& feedback() noexcept { return feedback_; }
  WebhookStore& webhooks() noexcept { return webhooks_; }
  PaymentStore& payments() noexcept { return payments_; }
  NonceStore& nonces() noexcept { return nonces_; }
  ArtifactStore& artifacts() noexcept { return artifacts_; }

  // ── writing, in a write transaction ──
  Result<Done> append_event(Seq seq, Instant at, int kind, std::string_view fields, const core::Digest& hash);
  Result<Done> append_entry(const EntryRow& row);
  Result<Done> append_milestone(AccountNumber account, core::EntryId entry);
  Result<Done> append_lock(std::string_view job_id, const LockRow& row);
  Result<Done> append_resolution(const ResolutionRow& row);
  Result<Done> append_part(const ResolutionRow& row);
  Result<Done> append_zero_earning(AccountNumber host, Seq seq);
  Result<Done> append_key_spend(const KeySpendRow& row);
  Result<Done> append_request(AccountNumber scope, RequestKind kind, std::string_view key, Seq seq);
  /// `row.payload` is packed (receipt_text.hpp), which whoever signed it has done.
  Result<Done> append_receipt(const ReceiptRow& row);
  Result<Done> append_tile(unsigned level, std::uint64_t index, const core::Digest& hash);
  Result<Done> append_checkpoint(std::uint64_t size, std::string_view note);

  // ── looking up ──
  /// What is missing, changed or added in the schema, by name; empty when it is as this build makes it, or of
  /// a newer one.
  Result<std::string> schema_fault();
  Result<Seq> last_seq();
  Result<std::optional<Seq>> find_lock(std::string_view job_id, AccountNumber payer);
  Result<std::vector<LockRow>> find_locks(std::string_view job_id);
  Result<std::optional<Seq>> find_resolution(Seq lock);
  /// The events that paid hosts out of `lock` before the one that ended it, in order.
  Result<std::vector<Seq>> find_parts(Seq lock);
  /// What was spent under `block`, less what came back: all of it, or of what went out from event `first` on.
  Result<Money> key_spent(const core::Digest& block);
  Result<Money> key_spent_since(const core::Digest& block, Seq first);
  Result<std::optional<Seq>> find_request(AccountNumber scope, RequestKind kind, std::string_view key);
  /// The event `seq`; its text is copied, so it outlives the call.
  struct OwnedEvent {
    Seq seq = 0;
    Instant at;
    int kind = 0;
    std::string fields;
    core::Digest hash;
  };
  Result<std::optional<OwnedEvent>> event(Seq seq);
  /// The receipt whose leaf is `leaf`; its texts are copied.
  struct OwnedReceipt {
    std::int64_t leaf = 0;
    Seq seq = 0;
    int key = 0;
    std::string payload;
    std::string signature;
  };
  Result<std::optional<OwnedReceipt>> receipt(std::int64_t leaf);
  Result<std::uint64_t> receipt_count();
  Result<std::optional<core::Digest>> tile(unsigned level, std::uint64_t index);
  /// What the entries of `account`, from `last` back to the first one after event `after`, sum to.
  Result<Money> sum_of(AccountNumber account, core::EntryId last, Seq after);
  /// The last checkpoint that is stored.
  struct OwnedCheckpoint {
    std::uint64_t size = 0;
    std::string note;
  };
  Result<std::optional<OwnedCheckpoint>> last_checkpoint();
  /// The first event that is younger than `at`, or one past the last.
  Result<Seq> first_after(Instant at);

  // ── walking; the callback gives false to stop ──
  using EachEvent = std::function<Result<bool>(const EventRow&)>;
  Result<Done> events_from(Seq from, const EachEvent& each);
  /// The events of standing (kinds from `core::standing_first`) in order.
  Result<Done> standing_events(const EachEvent& each);
  /// The events after `after` that `account` has entries in, oldest first, with the entry's amount; `last` is
  /// the account's last entry.
  using EachEntryOf = std::function<Result<bool>(Money amount, const EventRow&)>;
  Result<Done> entries_of(AccountNumber account, core::EntryId last, Seq after, const EachEntryOf& each);
  /// The settlements that paid `host` nothing, after `after`, oldest first.
  using EachSeq = std::function<Result<bool>(Seq seq)>;
  Result<Done> zero_earnings_of(AccountNumber host, Seq after, const EachSeq& each);
  /// The entries from `from` on, in order.
  using EachEntry = std::function<Result<bool>(const EntryRow&)>;
  Result<Done> entries_from(core::EntryId from, const EachEntry& each);
  Result<Money> sum_of_fees();
  /// The locks that nothing has ended; their escrow accounts are those that do not sum to zero.
  using EachOpenLock = std::function<Result<Done>(Seq lock, Money amount)>;
  Result<Done> open_locks(const EachOpenLock& each);
  using EachReceipt = std::function<Result<bool>(const ReceiptRow&)>;
  Result<Done> receipts_from(std::int64_t leaf, const EachReceipt& each);
  using EachLock = std::function<Result<bool>(std::string_view job_id, const LockRow&)>;
  Result<Done> all_locks(const EachLock& each);
  using EachResolution = std::function<Result<bool>(const ResolutionRow&)>;
  Result<Done> all_resolutions(const EachResolution& each);
  Result<Done> all_parts(const EachResolution& each);
  /// By host and then by event.
  using EachZeroEarning = std::function<Result<bool>(AccountNumber host, Seq seq)>;
  Result<Done> all_zero_earnings(const EachZeroEarning& each);
  /// By account and then by entry.
  using EachMilestone = std::function<Result<bool>(AccountNumber account, core::EntryId entry)>;
  Result<Done> all_milestones(const EachMilestone& each);
  /// By block and then by event.
  using EachKeySpend = std::function<Result<bool>(const KeySpendRow& row)>;
  Result<Done> all_key_spends(const EachKeySpend& each);
  using EachRequest =
      std::function<Result<bool>(AccountNumber scope, RequestKind kind, std::string_view key, Seq seq)>;
  Result<Done> all_requests(const EachRequest& each);
  using EachCheckpoint = std::function<Result<bool>(std::uint64_t size, std::string_view note)>;
  Result<Done> all_checkpoints(const EachCheckpoint& each);
  using EachTile = std::function<Result<bool>(unsigned level, std::uint64_t index, const core::Digest& hash)>;
  Result<Done> all_tiles(const EachTile& each);

 private:
  MarketStore() = default;
  JobStore jobs_;
  ProjectStore projects_;
  FeedbackStore feedback_;
  WebhookStore webhooks_;
  PaymentStore payments_;
  NonceStore nonces_;
  ArtifactStore artifacts_;
  Statement append_event_, append_entry_, append_milestone_, append_lock_, append_resolution_, append_part_,
      append_zero_earning_, append_key_spend_, append_request_, append_receipt_, append_tile_,
      append_checkpoint_;
  /// From the entry `last` of `account` back to the first one after `after`: `each(EntryRow)`.
  template <class Each>
  Result<Done> walk_back(AccountNumber account, core::EntryId last, core::EntryId after, Each each);
  /// Where a walk over the entries of `account` after `after` may begin: at a milestone, or at `last`.
  Result<core::EntryId> next_milestone(AccountNumber account, core::EntryId after, core::EntryId last);

  Statement version_, schema_, last_seq_, find_lock_, find_locks_, find_resolution_, find_parts_,
      find_request_, event_, receipt_, receipt_count_, tile_, entry_, next_milestone_, last_checkpoint_,
      at_of_;
  Statement events_from_, standing_events_, event_of_entry_, entries_from_, fees_, open_locks_,
      receipts_from_, all_locks_, all_resolutions_, all_parts_, zero_earnings_of_, all_zero_earnings_,
      all_milestones_, key_spent_, key_spent_since_, all_key_spends_, all_requests_, all_checkpoints_,
      all_tiles_;
  std::string
      receipt_text_;  ///< The payload of the receipt under way, kept so that the next needs no memory.
};

}  // namespace calyx::store
