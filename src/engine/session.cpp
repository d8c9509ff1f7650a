#include <calyx/session.hpp>
#include <charconv>

#include "crypto/sha256.hpp"
#include "engine/market.hpp"
#include "json/reader.hpp"
#include "services/audit.hpp"
#include "services/export.hpp"
#include "services/receipts.hpp"

namespace calyx {

using services::Book;
using services::Caller;
using services::Seq;
using services::Transaction;
using services::WalletState;

namespace {

/// A page's cursor is the number of the last thing on the page before.
Result<std::int64_t> cursor(const Page& page) {
  if (page.limit < 1 || page.limit > 1000)
    return services::field_error(Reason::field_value, "limit",
                                 "is " + std::to_string(page.limit) + ", takes 1 to 1000");
  if (page.after.empty()) return std::int64_t{0};
  std::int64_t number = 0;
  const char* const end = page.after.data() + page.after.size();
  const auto read = std::from_chars(page.after.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < 0)
    return services::field_error(Reason::field_value, "after", "is not the `next` of a page");
  return number;
}

/// One page out of `numbers`, ascending: the things after the cursor, as `view` shows them.
template <class T, class View>
Result<Listed<T>> page_of(const Page& page, const std::vector<std::int64_t>& numbers, View view) {
  CALYX_TRY(const std::int64_t after, cursor(page));
  Listed<T> out;
  for (const std::int64_t number : numbers) {
    if (number <= after) continue;
    if (out.items.size() == page.limit) {
      out.next = std::to_string(out.next.empty() ? number - 1 : number);
      return out;
    }
    out.items.push_back(view(number));
  }
  return out;
}

std::string kind_word(core::EventKind kind) { return std::string(word(kind)); }

/// The job that an event of `kind` is about, looked up through its lock where it only names that.
Result<std::string> job_of(store::MarketStore& store, const services::Fields& fields) {
  if (const auto* spend = std::get_if<services::SpendEvent>(&fields)) return spend->job_id;
  Seq lock = 0;
  if (const auto* earn = std::get_if<services::EarnEvent>(&fields)) lock = earn->lock;
  if (const auto* release = std::get_if<services::ReleaseEvent>(&fields)) lock = release->lock;
  if (const auto* expire = std::get_if<services::ExpireEvent>(&fields)) lock = expire->lock;
  if (lock == 0) return std::string();
  CALYX_TRY(const services::Event event, services::event_at(store, lock));
  const auto* spend = std::get_if<services::SpendEvent>(&event.fields);
  return spend == nullptr ? std::string() : spend->job_id;
}

std::string reference_of(const services::Fields& fields) {
  if (const auto* topup = std::get_if<services::TopUpEvent>(&fields)) return topup->reference;
  if (const auto* transfer = std::get_if<services::TransferEvent>(&fields)) return transfer->reference;
  return {};
}

/// The parts of a book that make ids: enough to read the log without holding the book.
struct Naming {
  std::uint32_t tag = 0;
  std::vector<WalletId> wallets;
  TxnId txn(Seq seq, Instant at) const { return TxnId::make(at.us, static_cast<std::uint64_t>(seq), tag); }
  ReceiptId receipt(std::int64_t leaf, Instant at) const {
    return ReceiptId::make(at.us, static_cast<std::uint64_t>(leaf), tag);
  }
};

}  // namespace

// ── wallets ──

Result<WalletCreated> Session::create_wallet(const WalletCreate& asked) {
  return market_->write([&](Transaction& tx) { return services::create_wallet(tx, principal_, asked); });
}

Result<Wallet> Session::wallet(WalletId id) {
  return market_->read([&](const Book& book, Instant now) -> Result<Wallet> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return book.view(*wallet, now);
  });
}

Result<Listed<Wallet>> Session::wallets(const Page& page) {
  return market_->read([&](const Book& book, Instant now) -> Result<Listed<Wallet>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    std::vector<std::int64_t> numbers;
    if (caller.is_operator()) {
      CALYX_TRY(const std::int64_t after, cursor(page));
      const std::int64_t first = std::max(after + 1, core::wallet_first);
      for (std::int64_t n = first; n < book.next_wallet() && n - first <= page.limit; ++n)
        numbers.push_back(n);
    } else {
      numbers.push_back(caller.wallet);
      for (const core::AccountNumber child : book.wallet(caller.wallet)->children) numbers.push_back(child);
    }
    return page_of<Wallet>(page, numbers, [&](std::int64_t n) { return book.view(*book.wallet(n), now); });
  });
}

Result<Wallet> Session::change_wallet(WalletId id, const WalletChange& change) {
  return market_->write([&](Transaction& tx) { return services::change_wallet(tx, principal_, id, change); });
}

// ── money ──

Result<Moved> Session::topup(const TopUp& asked) {
  return market_->write([&](Transaction& tx) { return services::topup(tx, principal_, asked); });
}
Result<Moved> Session::transfer(const WalletTransfer& asked) {
  return market_->write([&](Transaction& tx) { return services::transfer(tx, principal_, asked); });
}
Result<Spent> Session::spend(const Spend& asked) {
  return market_->write([&](Transaction& tx) { return services::spend(tx, principal_, asked); });
}
Result<Earned> Session::earn(const Earn& asked) {
  return market_->write([&](Transaction& tx) { return services::earn(tx, principal_, asked); });
}
Result<Released> Session::release(const Release& asked) {
  return market_->write([&](Transaction& tx) { return services::release(tx, principal_, asked); });
}

Result<std::vector<Outcome>> Session::bulk(std::span<const Operation> operations) {
  if (operations.size() > bulk_max) {
    CALYX_CHECK(
        market_->read([&](const Book& book, Instant) { return services::authorize(book, principal_); }));
    return fail(Reason::too_many_operations,
                std::to_string(operations.size()) + " operations, takes " + std::to_string(bulk_max),
                core::json::object({{"field", "/operations"}, {"limit", bulk_max}}));
  }
  return market_->write([&](Transaction& tx) -> Result<std::vector<Outcome>> {
    std::vector<Outcome> outcomes;
    outcomes.reserve(operations.size());
    const auto keep = [&](auto result) -> Result<Done> {
      if (result.ok())
        outcomes.emplace_back(*std::move(result));
      else if (is_refusal(result.error()))
        outcomes.emplace_back(std::move(result).error());
      else
        return std::move(result).error();
      return Done{};
    };
    for (const Operation& operation : operations) {
      Result<Done> kept = Done{};
      if (const auto* one = std::get_if<Spend>(&operation))
        kept = keep(services::spend(tx, principal_, *one));
      else if (const auto* two = std::get_if<Earn>(&operation))
        kept = keep(services::earn(tx, principal_, *two));
      else if (const auto* three = std::get_if<Release>(&operation))
        kept = keep(services::release(tx, principal_, *three));
      else if (const auto* four = std::get_if<TopUp>(&operation))
        kept = keep(services::topup(tx, principal_, *four));
      else
        kept = keep(services::transfer(tx, principal_, std::get<WalletTransfer>(operation)));
      CALYX_CHECK(std::move(kept));
    }
    return outcomes;
  });
}

// ── reading a wallet ──

namespace {

struct Subject {
  core::AccountNumber number = 0;
  Naming naming;
  Instant now;
};

Result<Subject> subject(Market& market, const Principal& principal, WalletId id) {
  return market.read([&](const Book& book, Instant now) -> Result<Subject> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return Subject{wallet->number, Naming{book.tag, {}}, now};
  });
}

Result<std::optional<WalletId>> wallet_id(Market& market, std::optional<core::AccountNumber> number) {
  return market.read([&](const Book& book, Instant) -> Result<std::optional<WalletId>> {
    const WalletState* wallet = number ? book.wallet(*number) : nullptr;
    return wallet == nullptr ? std::optional<WalletId>() : std::optional<WalletId>(wallet->id);
  });
}

}  // namespace

Result<Listed<EntryView>> Session::entries(WalletId wallet, const Page& page) {
  CALYX_TRY(const Subject of, subject(*market_, principal_, wallet));
  CALYX_TRY(const std::int64_t after, cursor(page));
  return market_->history([&](store::MarketStore& store) -> Result<Listed<EntryView>> {
    Listed<EntryView> out;
    CALYX_CHECK(
        store.entries_of(of.number, after, [&](Money amount, const store::EventRow& row) -> Result<bool> {
          if (out.items.size() == page.limit) {
            out.next = std::to_string(out.items.back().seq);
            return false;
          }
          const auto kind = static_cast<core::EventKind>(row.kind);
          CALYX_TRY(const services::Fields fields, services::read_fields(kind, row.fields));
          CALYX_TRY(std::string job, job_of(store, fields));
          out.items.push_back({of.naming.txn(row.seq, row.at), row.seq, kind_word(kind), amount,
                               std::move(job), reference_of(fields), row.at});
          return true;
        }));
    return out;
  });
}

Result<Listed<EscrowView>> Session::escrows(WalletId wallet, const Page& page) {
  CALYX_TRY(const Subject of, subject(*market_, principal_, wallet));
  CALYX_TRY(const std::int64_t after, cursor(page));
  std::vector<std::optional<core::AccountNumber>> hosts;
  CALYX_TRY(Listed<EscrowView> listed, market_->history([&](store::MarketStore& store)
                                                            -> Result<Listed<EscrowView>> {
    Listed<EscrowView> out;
    std::int64_t last = 0;
    CALYX_CHECK(store.entries_of(of.number, after, [&](Money, const store::EventRow& row) -> Result<bool> {
      if (static_cast<core::EventKind>(row.kind) != core::EventKind::spend) return true;
      CALYX_TRY(const services::Fields fields, services::read_fields(core::EventKind::spend, row.fields));
      const auto& spend = std::get<services::SpendEvent>(fields);
      if (spend.wallet != of.number) return true;
      if (out.items.size() == page.limit) {
        out.next = std::to_string(last);
        return false;
      }
      last = row.seq;
      EscrowView view;
      view.job_id = spend.job_id;
      view.payer = wallet;
      view.amount = spend.amount;
      view.gpu_type = spend.gpu_type;
      view.locked_by = of.naming.txn(row.seq, row.at);
      view.locked_at = row.at;
      if (spend.expires_in_s)
        view.expires_at = Instant{row.at.us + *spend.expires_in_s * core::us_per_second};
      CALYX_TRY(const std::optional<Seq> end, store.find_resolution(row.seq));
      if (end) {
        CALYX_TRY(const services::Event event, services::event_at(store, *end));
        view.ended_by = of.naming.txn(event.seq, event.at);
        if (const auto* earn = std::get_if<services::EarnEvent>(&event.fields)) {
          view.state = EscrowState::settled;
          view.receipt = of.naming.receipt(earn->leaf, event.at);
        } else {
          view.state = std::holds_alternative<services::ReleaseEvent>(event.fields) ? EscrowState::released
                                                                                    : EscrowState::expired;
        }
      } else if (view.expires_at && of.now >= *view.expires_at) {
        view.state = EscrowState::expired;  // a fact of time, though nothing has written it yet
      }
      hosts.push_back(spend.host);
      out.items.push_back(std::move(view));
      return true;
    }));
    return out;
  }));
  for (std::size_t i = 0; i < listed.items.size(); ++i) {
    CALYX_TRY(listed.items[i].host, wallet_id(*market_, hosts[i]));
  }
  return listed;
}

Result<Listed<Approval>> Session::approvals(WalletId id, const Page& page) {
  return market_->read([&](const Book& book, Instant now) -> Result<Listed<Approval>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    std::vector<std::int64_t> numbers;
    for (const auto& [seq, approval] : book.approvals) {
      // A human sees what waits for it: its own and its agents'.
      const WalletState* of = book.wallet(approval.wallet);
      if (of->number == wallet->number || of->parent == wallet->number) numbers.push_back(seq);
    }
    return page_of<Approval>(page, numbers,
                             [&](std::int64_t seq) { return book.view(book.approvals.at(seq), now); });
  });
}

Result<Listed<ApiKey>> Session::keys(WalletId id, const Page& page) {
  return market_->read([&](const Book& book, Instant) -> Result<Listed<ApiKey>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return page_of<ApiKey>(page, wallet->keys,
                           [&](std::int64_t number) { return book.view(*book.key(number)); });
  });
}

Result<Listed<Receipt>> Session::receipts(WalletId wallet, const Page& page) {
  CALYX_TRY(const Subject of, subject(*market_, principal_, wallet));
  CALYX_TRY(const std::int64_t after, cursor(page));
  return market_->history([&](store::MarketStore& store) -> Result<Listed<Receipt>> {
    Listed<Receipt> out;
    std::int64_t last = 0;
    // A payer's receipts hang on its spends, a host's on what it earned.
    CALYX_CHECK(store.entries_of(of.number, after, [&](Money, const store::EventRow& row) -> Result<bool> {
      const auto kind = static_cast<core::EventKind>(row.kind);
      if (kind != core::EventKind::spend && kind != core::EventKind::earn) return true;
      CALYX_TRY(services::Fields fields, services::read_fields(kind, row.fields));
      if (kind == core::EventKind::spend) {
        CALYX_TRY(const std::optional<Seq> end, store.find_resolution(row.seq));
        if (!end) return true;
        CALYX_TRY(services::Event event, services::event_at(store, *end));
        fields = std::move(event.fields);
      } else {
        const auto& earned = std::get<services::EarnEvent>(fields);
        CALYX_TRY(const services::Event lock, services::event_at(store, earned.lock));
        const auto* spend = std::get_if<services::SpendEvent>(&lock.fields);
        if (earned.host != of.number || (spend != nullptr && spend->wallet == of.number))
          return true;  // the payer's own job: its spend has shown the receipt
      }
      const auto* earn = std::get_if<services::EarnEvent>(&fields);
      if (earn == nullptr) return true;
      if (out.items.size() == page.limit) {
        out.next = std::to_string(last);
        return false;
      }
      last = row.seq;
      CALYX_TRY(const auto stored, store.receipt(earn->leaf));
      if (!stored)
        return fail(Reason::corrupt, "receipt " + std::to_string(earn->leaf) + " is missing; run an audit");
      CALYX_TRY(core::json::Value payload, read_json(stored->payload));
      const core::json::Value* id = payload.find("id");
      const auto read =
          id != nullptr && id->string() != nullptr ? ReceiptId::read(*id->string()) : std::nullopt;
      if (!read)
        return fail(Reason::corrupt, "receipt " + std::to_string(earn->leaf) + " has no id; run an audit");
      out.items.push_back(
          {*read, market_->jws(*stored), std::move(payload), static_cast<std::uint64_t>(earn->leaf)});
      return true;
    }));
    return out;
  });
}

// ── keys, approvals, outside money ──

Result<KeyIssued> Session::issue_key(WalletId wallet, std::string_view label, const IdempotencyKey& once) {
  return market_->write(
      [&](Transaction& tx) { return services::issue_key(tx, principal_, wallet, label, once); });
}
Result<ApiKey> Session::revoke_key(KeyId key) {
  return market_->write([&](Transaction& tx) { return services::revoke_key(tx, principal_, key); });
}
Result<KeyIssued> Session::rotate_key(KeyId key, const IdempotencyKey& once) {
  return market_->write([&](Transaction& tx) { return services::rotate_key(tx, principal_, key, once); });
}
Result<Approval> Session::approve(ApprovalId id) {
  return market_->write([&](Transaction& tx) { return services::decide_approval(tx, principal_, id, true); });
}
Result<Approval> Session::deny(ApprovalId id) {
  return market_->write(
      [&](Transaction& tx) { return services::decide_approval(tx, principal_, id, false); });
}

Result<Payout> Session::request_payout(const PayoutRequest& asked) {
  CALYX_TRY(Payout payout,
            market_->write([&](Transaction& tx) { return services::request_payout(tx, principal_, asked); }));
  const auto& pay_out = market_->options().pay_out;
  if (payout.replayed || !pay_out) return payout;
  const PayoutOutcome outcome = pay_out(payout);
  if (outcome == PayoutOutcome::pending) return payout;
  return market_->write([&](Transaction& tx) {
    return services::finish_payout(
        tx, Principal{}, payout.id,
        outcome == PayoutOutcome::confirmed ? PayoutStatus::confirmed : PayoutStatus::failed);
  });
}
Result<Payout> Session::confirm_payout(PayoutId id) {
  return market_->write(
      [&](Transaction& tx) { return services::finish_payout(tx, principal_, id, PayoutStatus::confirmed); });
}
Result<Payout> Session::fail_payout(PayoutId id) {
  return market_->write(
      [&](Transaction& tx) { return services::finish_payout(tx, principal_, id, PayoutStatus::failed); });
}
Result<Granted> Session::grant(WalletId wallet) {
  return market_->write([&](Transaction& tx) { return services::grant(tx, principal_, wallet); });
}
Result<WaitlistEntry> Session::join_waitlist(std::string_view owner_id) {
  return market_->write([&](Transaction& tx) { return services::join_waitlist(tx, principal_, owner_id); });
}
Result<WaitlistApproved> Session::approve_waitlist(WaitlistId id) {
  return market_->write([&](Transaction& tx) { return services::approve_waitlist(tx, principal_, id); });
}

// ── receipts and the books ──

namespace {

struct Located {
  std::uint64_t leaf = 0;
  Caller caller;
};

Error no_receipt(ReceiptId id) { return fail(Reason::receipt_unknown, "no receipt " + id.text()); }

/// The stored receipt `id`, for a caller who is one of its parties (or above one).
Result<store::MarketStore::OwnedReceipt> find_receipt(Market& market, const Principal& principal,
                                                      ReceiptId id) {
  const auto leaf = static_cast<std::int64_t>(id.number());
  CALYX_TRY(const bool plausible, market.read([&](const Book& book, Instant) -> Result<bool> {
    CALYX_CHECK(services::authorize(book, principal));
    return id.tag() == book.tag && id.number() < book.receipt_log.size();
  }));
  if (!plausible) return no_receipt(id);
  struct Parties {
    store::MarketStore::OwnedReceipt row;
    core::AccountNumber payer = 0, host = 0;
    Instant at;
  };
  CALYX_TRY(Parties parties, market.history([&](store::MarketStore& store) -> Result<Parties> {
    CALYX_TRY(auto row, store.receipt(leaf));
    if (!row) return no_receipt(id);
    CALYX_TRY(const services::Event event, services::event_at(store, row->seq));
    const auto* earn = std::get_if<services::EarnEvent>(&event.fields);
    if (earn == nullptr)
      return fail(Reason::corrupt, "receipt " + std::to_string(leaf) + " is of no settlement; run an audit");
    CALYX_TRY(const services::Event lock, services::event_at(store, earn->lock));
    const auto* spend = std::get_if<services::SpendEvent>(&lock.fields);
    return Parties{*std::move(row), spend == nullptr ? 0 : spend->wallet, earn->host, event.at};
  }));
  CALYX_TRY(const bool theirs, market.read([&](const Book& book, Instant) -> Result<bool> {
    if (book.receipt_id(leaf, parties.at) != id) return false;
    CALYX_TRY(const Caller caller, services::authorize(book, principal));
    if (caller.is_operator()) return true;
    for (const core::AccountNumber party : {parties.payer, parties.host}) {
      const WalletState* wallet = book.wallet(party);
      if (wallet != nullptr && services::readable(book, caller, wallet->id).ok()) return true;
    }
    return false;
  }));
  if (!theirs) return no_receipt(id);
  return std::move(parties.row);
}

/// What the receipt log comes to, in one look.
struct LogHead {
  core::merkle::Head head;
  Book names;  ///< Only the signing keys, which leaves are hashed under.
};
Result<LogHead> log_head(Market& market, const Principal& principal) {
  return market.read([&](const Book& book, Instant) -> Result<LogHead> {
    CALYX_CHECK(services::authorize(book, principal));
    LogHead out;
    out.head = {book.receipt_log.size(), book.receipt_log.root(crypto::Sha256{})};
    out.names.signing_keys = book.signing_keys;
    return out;
  });
}

}  // namespace

Result<Receipt> Session::receipt(ReceiptId id) {
  CALYX_TRY(const auto row, find_receipt(*market_, principal_, id));
  CALYX_TRY(core::json::Value payload, read_json(row.payload));
  return Receipt{id, market_->jws(row), std::move(payload), static_cast<std::uint64_t>(row.leaf)};
}

Result<InclusionProof> Session::inclusion_proof(ReceiptId id) {
  CALYX_TRY(const auto row, find_receipt(*market_, principal_, id));
  CALYX_TRY(const LogHead log, log_head(*market_, principal_));
  InclusionProof proof{.leaf = static_cast<std::uint64_t>(row.leaf), .size = log.head.size};
  proof.root = log.head.root;
  CALYX_TRY(proof.leaf_hash,
            services::leaf_of(log.names, {row.leaf, row.seq, row.key, row.payload, row.signature}));
  CALYX_TRY(proof.path, market_->history([&](store::MarketStore& store) {
    return services::inclusion_path(store, log.names, proof.leaf, log.head.size);
  }));
  CALYX_TRY(proof.checkpoint, market_->checkpoint_note(log.head));
  return proof;
}

Result<ConsistencyProof> Session::consistency_proof(std::uint64_t old_size, std::uint64_t new_size) {
  CALYX_TRY(const LogHead log, log_head(*market_, principal_));
  if (new_size > log.head.size || old_size > new_size)
    return fail(
        Reason::checkpoint_unknown, "the log has " + std::to_string(log.head.size) + " receipts",
        core::json::object({{"old_size", old_size}, {"new_size", new_size}, {"size", log.head.size}}));
  return market_->history([&](store::MarketStore& store) {
    return services::consistency_proof(store, log.names, old_size, new_size);
  });
}

Result<std::string> Session::checkpoint() {
  CALYX_TRY(const LogHead log, log_head(*market_, principal_));
  return market_->checkpoint_note(log.head);
}

Result<AuditReport> Session::audit(const Anchor& anchor, AuditDepth depth) {
  CALYX_CHECK(market_->read([&](const Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  return market_->history([&](store::MarketStore& store) { return services::audit(store, anchor, depth); });
}

Result<Done> Session::export_ledger(ExportFormat format, const ExportSink& sink) {
  CALYX_CHECK(market_->read([&](const Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  // The sink is called between two reads and not within one: it may take its time, throw, or ask the market.
  services::LedgerExport ledger(format);
  for (;;) {
    CALYX_TRY(const std::string piece,
              market_->history([&](store::MarketStore& store) { return ledger.next(store); }));
    if (piece.empty()) return Done{};
    if (!sink(piece)) return fail(Reason::stopped, "the export's receiver asked for no more");
  }
}

}  // namespace calyx
