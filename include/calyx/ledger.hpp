/// \file
/// The ledger as it is read: entries, audit, exports.
#pragma once

#include <calyx/escrows.hpp>
#include <functional>

namespace calyx {

/// One leg of one transfer, as a wallet's statement shows it.
struct EntryView {
  TxnId txn{};
  std::int64_t seq = 0;
  std::string kind{};       ///< `topup`, `transfer`, `spend`, `earn`, `release`, `expire`, `grant`, `payout`,
                            ///< `payout_failed`.
  Money amount{};           ///< Positive credits the wallet.
  std::string job_id{};     ///< Empty when the transfer is of no job.
  std::string reference{};  ///< Empty when none was given.
  Instant at{};
};

/// What an outsider holds that the file must agree with: a receipt (JWS or document) or a checkpoint note.
using Anchor = std::string;

enum class AuditDepth : std::uint8_t {
  covered,  ///< Signatures under a verified signed checkpoint are covered by it.
  /// Every receipt's signature is checked on its own as well, and every job: that its explicit items and its
  /// tasks' results still have the hashes that were settled.
  each,
};

struct AuditReport {
  bool ok = false;
  std::uint64_t events = 0, entries = 0, receipts = 0, signatures = 0, checkpoints = 0;
  std::string first_fault{};  ///< Empty when ok: what is wrong first, and where.
  std::string head{};         ///< The hash of the last event, lower hex.
  std::int64_t seq = 0;       ///< Its number.
};

enum class ExportFormat : std::uint8_t { csv, jsonl, hledger };

/// Takes the next piece of an export; false stops it and the call answers `stopped`.
using ExportSink = std::function<bool(std::string_view piece)>;

}  // namespace calyx
