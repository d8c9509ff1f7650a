/// \file
/// The audit: the whole file read once, and every table compared with what the log says it must hold.
///
/// It walks the events in order with a book of its own, so what it needs to remember is the open locks and
/// the wallets, not the history; of the receipt log it keeps a few hashes for every 256 leaves.
#pragma once

#include <calyx/ledger.hpp>

#include "services/events.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

/// Audits the market in `store`, inside a read transaction.
///
/// A file that is wrong is an answer, `ok` false with `first_fault`; so is one that SQLite calls malformed.
/// Then the counts, `head` and `seq` are of what was found good before. What a limit or a policy was when
/// something was allowed is not judged again; sums, escrow rules and the fee are.
///
/// `AuditDepth::each` checks every signature, and also looks every row up by its key, as calls do: a tree
/// that reads well from end to end may still lead a search astray.
///
/// Fails: `anchor_malformed`, when `anchor` is no receipt and no checkpoint; the store, `corrupt` excepted.
Result<AuditReport> audit(store::MarketStore& store, const Anchor& anchor, AuditDepth depth);

/// The fields of the kinds that most of a log consists of, in the spelling that they mostly have: the same
/// as `read_fields`, several times as fast. Nothing when that has to look: another kind, an escape, a letter
/// beyond ASCII, or no good fields at all.
std::optional<Fields> read_usual_fields(EventKind kind, std::string_view text);

}  // namespace calyx::services
