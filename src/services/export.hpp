/// \file
/// The ledger for other people's programs: CSV, JSON Lines, plain-text accounting.
///
/// All three are written from the events alone, one after another, so an export needs as much memory as
/// there are open locks and wallets. That the tables agree with the events is the audit's to say.
#pragma once

#include <calyx/ledger.hpp>
#include <memory>
#include <optional>

#include "services/book.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

/// One export, read piece by piece, so that no read transaction waits for whoever takes the pieces. It ends
/// with the event that was the last when it began.
///
/// - `csv`: a header, then a row for each entry, by event:
/// `seq,at,kind,txn_id,account,amount,job_id,reference`.
///   An account is a wallet's id, `escrow:<job_id>`, `fees` or `external`. Quoted as RFC 4180 says; lines
///   end in LF.
/// - `jsonl`: a line for each event: its document and, last, `event_hash`. Without that member, the canonical
///   form (RFC 8785) of a line has this very SHA-256, and the next line names it as `prev`.
/// - `hledger`: a journal with a transaction for each event that moved money, every account and the
///   commodity declared, so that it also passes strict checks. What is not a letter, a digit, `-`, `_` or `.`
///   is written as `%` and two hex digits where hledger would give it a meaning.
class LedgerExport {
 public:
  explicit LedgerExport(ExportFormat format);
  ~LedgerExport();
  LedgerExport(const LedgerExport&) = delete;
  LedgerExport& operator=(const LedgerExport&) = delete;

  /// The next piece, of about 64 KiB and whole lines, read in a read transaction of its own; empty at the
  /// end. After an error the export cannot go on. Fails: `corrupt`; the store.
  Result<std::string> next(store::MarketStore& store);

  class Format;  ///< What makes lines of events.

 private:
  std::unique_ptr<Format> format_;
  std::unique_ptr<Book> book_;
  std::optional<Seq> last_;  ///< Where it ends, known once it began.
};

}  // namespace calyx::services
