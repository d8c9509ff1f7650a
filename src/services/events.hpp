/// \file
/// The events of a market, each with its fields: how they are spelled in the log, and read back.
///
/// Wallets and keys are named by number here (an id is derived from it); money is a decimal string.
#pragma once

#include <calyx/approvals.hpp>
#include <calyx/core/event.hpp>
#include <calyx/core/job.hpp>
#include <calyx/core/payment_network.hpp>
#include <calyx/core/receipt.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/transfer.hpp>
#include <calyx/keys.hpp>
#include <calyx/payouts.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace calyx::services {

using core::AccountNumber;
using core::EventKind;
using Seq = std::int64_t;

struct SpendEvent {
  AccountNumber wallet = 0;
  std::string job_id;
  Money amount;
  std::optional<std::string> gpu_type;
  std::optional<AccountNumber> host;
  std::optional<std::int64_t> expires_in_s;
  std::int64_t job =
      0;  ///< The job whose budget this is, which alone may end it; 0: nobody's but the caller's.
  std::vector<core::Digest> under;  ///< The blocks of the derived key that asked (core/derived_key.hpp).
};

struct EarnEvent {
  Seq lock = 0;  ///< The spend that it settles.
  AccountNumber host = 0;
  Money gross, fee, net;
  core::Digest output_hash;
  std::string gpu_model;
  std::int64_t duration_seconds = 0;
  std::int64_t leaf = 0;                  ///< The receipt's place in the log.
  std::optional<core::ReceiptWork> work;  ///< Of a job.
  // A job that several hosts worked on is settled by as many of these, one after another.
  Money before;       ///< What those before it paid out of the lock.
  bool more = false;  ///< Whether others follow, and the lock stays open for them.
};

struct ReleaseEvent {
  Seq lock = 0;
};

struct ExpireEvent {
  Seq lock = 0;
};

struct BurnEvent {
  AccountNumber wallet = 0;
  std::string job_id;
};

struct TransferEvent {
  AccountNumber from = 0, to = 0;
  Money amount;
  bool spends = false;  ///< Made with an agent's key: it counts in the rolling hour.
  std::string reference;
  std::string once;  ///< The idempotency key, if any.
  AccountNumber by = 0;
};

struct TopUpEvent {
  AccountNumber wallet = 0;
  Money amount;
  std::string reference;
  std::string once;
};

/// An idempotency key that was first used on a call which something else showed to be a replay.
struct KeyBoundEvent {
  Seq event = 0;  ///< The first call's.
  std::string once;
  AccountNumber by = 0;
};

struct MarketCreated {
  std::string market;  ///< 16 bytes in hex.
  std::string issuer;
  std::int32_t fee_basis_points = 0;
};

struct WalletCreatedEvent {
  AccountNumber wallet = 0;
  OwnerType owner_type = OwnerType::human;
  std::string owner_id;
  AccountNumber parent = 0;  ///< 0: none.
  Policy policy;
  std::string once;
  AccountNumber by = 0;  ///< The principal's wallet; 0 is the operator; itself: its owner's first signature.
};

/// The wallet's whole standing after the change.
struct WalletChanged {
  AccountNumber wallet = 0;
  WalletStatus status = WalletStatus::active;
  Policy policy;
  AccountNumber by = 0;
};

struct KeyIssuedEvent {
  std::int64_t key = 0;
  AccountNumber wallet = 0;  ///< 0: an operator's key.
  core::Digest hash;         ///< Keyed BLAKE2b of the secret.
  std::string last4;
  std::string label;
  std::int64_t replaces = 0;  ///< The key that it was rotated from; 0: none.
  std::string once;
  AccountNumber by = 0;
  KeyKind kind = KeyKind::api;
  std::optional<std::int64_t> expires_in_s;
  /// The public key that the secret gives (crypto/delegate.hpp). Absent for an operator's, from which none is
  /// derived.
  std::optional<core::Digest> delegate;
};

struct KeyRevokedEvent {
  std::int64_t key = 0;
  AccountNumber by = 0;
};

struct ApprovalRequested {
  AccountNumber wallet = 0;
  std::string operation;
  Money amount;
  std::string job_id;
  std::optional<std::string> gpu_type;
  std::string terms;  ///< What the call asked for, as one text: the approval serves exactly that.
  std::int64_t expires_in_s = 0;
};

struct ApprovalDecided {
  Seq approval = 0;
  bool approved = false;
  AccountNumber by = 0;
};

struct ApprovalUsed {
  Seq approval = 0;
};

struct GrantEvent {
  AccountNumber wallet = 0;
  Money amount;
  std::string once;
};

struct PayoutEvent {
  AccountNumber wallet = 0;
  Money amount;
  std::string destination;
  bool spends = false;
  std::string once;
  AccountNumber by = 0;
};

struct PayoutConfirmed {
  Seq payout = 0;
};

struct PayoutFailed {
  Seq payout = 0;
};

struct WaitlistJoined {
  std::string owner_id;
  std::string once;
};

/// The wallet that it opens is the next event.
struct WaitlistApprovedEvent {
  Seq entry = 0;
  std::string once;
};

struct SigningKeyAdded {
  std::string public_key;  ///< 32 bytes in base64url: a JWK's `x`.
};

/// The whole price list.
struct PricesSet {
  core::Prices prices;
};

/// All of where and in what payments are taken.
struct PaymentTermsSet {
  PaymentTerms terms;
};

/// Whether the wallet's owner may run jobs, where its wallet was opened by a signature.
struct WalletWhitelisted {
  AccountNumber wallet = 0;
  bool allowed = false;
};

using Fields =
    std::variant<SpendEvent, EarnEvent, ReleaseEvent, ExpireEvent, BurnEvent, TransferEvent, TopUpEvent,
                 KeyBoundEvent, MarketCreated, WalletCreatedEvent, WalletChanged, KeyIssuedEvent,
                 KeyRevokedEvent, ApprovalRequested, ApprovalDecided, ApprovalUsed, GrantEvent, PayoutEvent,
                 PayoutConfirmed, PayoutFailed, WaitlistJoined, WaitlistApprovedEvent, SigningKeyAdded,
                 PricesSet, PaymentTermsSet, WalletWhitelisted>;

struct Event {
  Seq seq = 0;
  Instant at;
  Fields fields;
};

EventKind kind_of(const Fields& fields) noexcept;

/// The job id that an event uses up for its payer: a spend's, or a burn's.
struct JobTaken {
  std::string_view job_id;  ///< Lives as long as the fields.
  AccountNumber payer = 0;
  Money locked;  ///< 0 for a burn.
};
std::optional<JobTaken> job_taken_by(const Fields& fields) noexcept;
/// The lock that an event ends; 0 for most, and for a settlement that others follow.
Seq lock_ended_by(const Fields& fields) noexcept;

/// Appends the event's own fields as a canonical JSON object.
void append_fields(std::string& out, const Fields& fields);

/// The fields that `text` spells. Fails: `corrupt`, for what this engine would not have written.
Result<Fields> read_fields(EventKind kind, std::string_view text);

}  // namespace calyx::services
