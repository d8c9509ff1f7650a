/// \file
/// The ledger for other people's programs: CSV, JSON Lines, plain-text accounting.
///
/// All three are written from the events alone, one after another, so an export needs as much memory as
/// there are open locks and wallets. That the tables agree with the events is the audit's to say.
#pragma once

#include <calyx/ledger.hpp>

#include "store/market_store.hpp"

namespace calyx::services {

/// Writes the market in `store`, inside a read transaction, to `sink` in pieces of about 64 KiB, none of
/// which splits a line.
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
///
/// Fails: `stopped` when `sink` gives false; `corrupt`; the store.
Result<Done> export_ledger(store::MarketStore& store, ExportFormat format, const ExportSink& sink);

}  // namespace calyx::services
