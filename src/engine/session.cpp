#include <algorithm>
#include <calyx/session.hpp>

#include "crypto/sha256.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"
#include "json/reader.hpp"
#include "services/audit.hpp"
#include "services/export.hpp"
#include "services/receipts.hpp"

namespace calyx {

using engine::cursor;
using services::Book;
using services::Caller;
using services::Seq;
using services::Transaction;
using services::WalletState;

namespace {

/// One page out of `numbers`, ascending: the things after the cursor, as `view` shows them.
template <class T, class View>
Result<Listed<T>> page_of(const Page& page, const std::vector<std::int64_t>& numbers, View view) {
  CALYX_TRY(const std::int64_t after, cursor(page));
  Listed<T> out;
  for (auto at = std::upper_bound(numbers.begin(), numbers.end(), after); at != numbers.end(); ++at) {
    const std::int64_t number = *at;
    if (out.items.size() == page.limit) {
      out.next = std::to_string(out.next.empty() ? number - 1 : number);
      return out;
    }
    out.items.push_back(view(number));
  }
  return out;
}

/// Events that one page looks at, however few of them it shows.
constexpr std::size_t page_events_max = 10'000;

/// A balance to fill in: what the wallet's entries up to event `seq` sum to.
struct BalanceAt {
  Money* out = nullptr;
  core::AccountNumber account = 0;
  Seq seq = 0;
};

/// Fills the balances of replays in, on a reader's connection: history weighs on nobody else. Each is the
/// balance now less what came since.
Result<Done> fill_in(Market& market, const std::vector<BalanceAt>& wanted) {
  if (wanted.empty()) return Done{};
  std::vector<core::EntryId> last_entries;
  CALYX_CHECK(market.read([&](const Book& book, Instant) -> Result<Done> {
    for (const BalanceAt& one : wanted) {
      const WalletState* wallet = book.wallet(one.account);
      if (wallet == nullptr) return fail(Reason::internal, "no wallet " + std::to_string(one.account));
      *one.out = wallet->balance;
      last_entries.push_back(wallet->last_entry);
    }
    return Done{};
  }));
  return market.history([&](store::MarketStore& store) -> Result<Done> {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const BalanceAt& one = wanted[i];
      CALYX_TRY(const Money since, store.sum_of(one.account, last_entries[i], one.seq));
      one.out->micro -= since.micro;
    }
    return Done{};
  });
}

core::AccountNumber account_of(WalletId id) { return static_cast<core::AccountNumber>(id.number()); }

WalletId wallet_of(const Spend& of) { return of.wallet; }
WalletId wallet_of(const Earn& of) { return of.host; }
WalletId wallet_of(const Release& of) { return of.wallet; }
WalletId wallet_of(const TopUp& of) { return of.wallet; }
WalletId wallet_of(const WalletTransfer& of) { return of.from; }

/// `answer`, with the balance that a replay lacks; `wallet` is whose.
template <class Answer>
Result<Answer> filled(Market& market, Result<Answer> answer, WalletId wallet) {
  if (answer.ok() && answer->replayed)
    CALYX_CHECK(fill_in(
        market, {{&answer->new_balance, account_of(wallet), static_cast<Seq>(answer->txn.number())}}));
  return answer;
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

Session Session::narrowed(const Policy& policy) const {
  Session out = *this;
  out.narrowing_ =
      std::make_shared<const Policy>(narrowing_ == nullptr ? policy : core::tighter(*narrowing_, policy));
  return out;
}

// ── wallets ──

Result<WalletCreated> Session::create_wallet(const WalletCreate& asked) {
  return market_->write([&](Transaction& tx) { return services::create_wallet(tx, principal_, asked); });
}

Result<Wallet> Session::wallet(WalletId id) {
  return market_->read([&](const Book& book, Instant now) -> Result<Wallet> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return book.view(*wallet, now);
  });
}

Result<Listed<Wallet>> Session::wallets(const Page& page) {
  return market_->read([&](const Book& book, Instant now) -> Result<Listed<Wallet>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
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
  return filled(*market_,
                market_->write([&](Transaction& tx) { return services::topup(tx, principal_, asked); }),
                asked.wallet);
}
Result<Moved> Session::transfer(const WalletTransfer& asked) {
  return filled(*market_, market_->write([&](Transaction& tx) {
    return services::transfer(tx, principal_, asked, narrowing_.get());
  }),
                asked.from);
}
Result<Spent> Session::spend(const Spend& asked) {
  return filled(*market_, market_->write([&](Transaction& tx) {
    return services::spend(tx, principal_, asked, narrowing_.get());
  }),
                asked.wallet);
}
Result<Earned> Session::earn(const Earn& asked) {
  return filled(*market_,
                market_->write([&](Transaction& tx) { return services::earn(tx, principal_, asked); }),
                asked.host);
}
Result<Released> Session::release(const Release& asked) {
  return filled(*market_,
                market_->write([&](Transaction& tx) { return services::release(tx, principal_, asked); }),
                asked.wallet);
}

Result<std::vector<Outcome>> Session::bulk(std::span<const Operation> operations, const IdempotencyKey& once,
                                           std::span<const std::size_t> places) {
  CALYX_CHECK(market_->usable());
  if (operations.size() > bulk_max) {
    CALYX_CHECK(market_->read([&](const Book& book, Instant) {
      return services::authorize(book, principal_, services::For::derived_keys);
    }));
    return fail(Reason::too_many_operations,
                std::to_string(operations.size()) + " operations, takes " + std::to_string(bulk_max),
                core::json::object({{"field", "/operations"}, {"limit", bulk_max}}));
  }
  if (!places.empty() && places.size() != operations.size())
    return services::field_error(Reason::field_value, "places", "are not as many as the operations");
  CALYX_CHECK(services::check_key_text("Idempotency-Key", once, services::Empty::allowed));
  // A space, which no caller's key has, keeps these keys apart from all others.
  const auto derived = [&](std::size_t i) {
    return once.empty() ? IdempotencyKey() : once + ' ' + std::to_string(places.empty() ? i : places[i]);
  };
  CALYX_TRY(std::vector<Outcome> all, market_->write([&](Transaction& tx) -> Result<std::vector<Outcome>> {
    std::vector<Outcome> outcomes;
    outcomes.reserve(operations.size());
    const auto keep = [&](auto result) -> Result<Done> {
      if (result.ok())
        outcomes.emplace_back(*std::move(result));
      else if (is_refusal(result.error().reason))
        outcomes.emplace_back(std::move(result).error());
      else
        return std::move(result).error();
      return Done{};
    };
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const Operation& operation = operations[i];
      Result<Done> kept = Done{};
      if (const auto* one = std::get_if<Spend>(&operation))
        kept = keep(services::spend(tx, principal_, *one, narrowing_.get()));
      else if (const auto* two = std::get_if<Earn>(&operation))
        kept = keep(services::earn(tx, principal_, *two));
      else if (const auto* three = std::get_if<Release>(&operation))
        kept = keep(services::release(tx, principal_, *three));
      else if (const auto* four = std::get_if<TopUp>(&operation))
        kept = keep(services::topup(tx, principal_, *four, derived(i)));
      else
        kept = keep(services::transfer(tx, principal_, std::get<WalletTransfer>(operation), narrowing_.get(),
                                       derived(i)));
      CALYX_CHECK(std::move(kept));
    }
    return outcomes;
  }));
  std::vector<BalanceAt> wanted;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const WalletId wallet = std::visit([](const auto& of) { return wallet_of(of); }, operations[i]);
    std::visit(
        [&](auto& outcome) {
          if constexpr (requires { outcome.new_balance; })
            if (outcome.replayed)
              wanted.push_back(
                  {&outcome.new_balance, account_of(wallet), static_cast<Seq>(outcome.txn.number())});
        },
        all[i]);
  }
  CALYX_CHECK(fill_in(*market_, wanted));
  return all;
}

// ── reading a wallet ──

namespace {

struct Subject {
  core::AccountNumber number = 0;
  core::EntryId last_entry = 0;
  Naming naming;
  Instant now;
};

Result<Subject> subject(Market& market, const Principal& principal, WalletId id) {
  return market.read([&](const Book& book, Instant now) -> Result<Subject> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal, services::For::derived_keys));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return Subject{wallet->number, wallet->last_entry, Naming{book.tag, {}}, now};
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
    CALYX_CHECK(store.entries_of(
        of.number, of.last_entry, after, [&](Money amount, const store::EventRow& row) -> Result<bool> {
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
  const auto read_page = [&](store::MarketStore& store) -> Result<Listed<EscrowView>> {
    Listed<EscrowView> out;
    std::int64_t last = after;
    std::size_t seen = 0;
    const auto show = [&](Money, const store::EventRow& row) -> Result<bool> {
      if (seen++ == page_events_max) {
        out.next = std::to_string(last);
        return false;
      }
      const std::int64_t before = std::exchange(last, row.seq);
      if (static_cast<core::EventKind>(row.kind) != core::EventKind::spend) return true;
      CALYX_TRY(const services::Fields fields, services::read_fields(core::EventKind::spend, row.fields));
      const auto& spend = std::get<services::SpendEvent>(fields);
      if (spend.wallet != of.number) return true;
      if (out.items.size() == page.limit) {
        out.next = std::to_string(before);
        return false;
      }
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
          // Several hosts' receipts lie one behind another; the first one stands for them, as in the job.
          std::int64_t leaf = earn->leaf;
          if (earn->before.micro != 0) {
            CALYX_TRY(const std::vector<Seq> parts, store.find_parts(row.seq));
            leaf -= static_cast<std::int64_t>(parts.size());
          }
          view.receipt = of.naming.receipt(leaf, event.at);
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
    };
    CALYX_CHECK(store.entries_of(of.number, of.last_entry, after, show));
    return out;
  };
  CALYX_TRY(Listed<EscrowView> listed, market_->history(read_page));
  for (std::size_t i = 0; i < listed.items.size(); ++i) {
    CALYX_TRY(listed.items[i].host, wallet_id(*market_, hosts[i]));
  }
  return listed;
}

Result<Listed<Approval>> Session::approvals(WalletId id, const Page& page) {
  return market_->read([&](const Book& book, Instant now) -> Result<Listed<Approval>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    // A human sees what waits for it: its own and its agents'. Of each no more than the page can show.
    CALYX_TRY(const std::int64_t after, cursor(page));
    std::vector<std::int64_t> numbers;
    const auto take = [&](const WalletState& of) {
      std::size_t left = std::size_t{page.limit} + 1;
      for (auto at = of.approvals.upper_bound(after); at != of.approvals.end() && left != 0; ++at, --left)
        numbers.push_back(*at);
    };
    take(*wallet);
    for (const core::AccountNumber child : wallet->children) take(*book.wallet(child));
    std::sort(numbers.begin(), numbers.end());
    return page_of<Approval>(page, numbers,
                             [&](std::int64_t seq) { return book.view(book.approvals.at(seq), now); });
  });
}

Result<Listed<ApiKey>> Session::keys(WalletId id, const Page& page) {
  return market_->read([&](const Book& book, Instant) -> Result<Listed<ApiKey>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return page_of<ApiKey>(page, wallet->keys,
                           [&](std::int64_t number) { return book.view(*book.key(number)); });
  });
}

Result<Listed<Payout>> Session::payouts(WalletId id, const Page& page) {
  return market_->read([&](const Book& book, Instant) -> Result<Listed<Payout>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    CALYX_TRY(const WalletState* wallet, services::readable(book, caller, id));
    return page_of<Payout>(page, wallet->payouts,
                           [&](std::int64_t seq) { return book.view(seq, book.payouts.at(seq)); });
  });
}

Result<Listed<ApiKey>> Session::operator_keys(const Page& page) {
  return market_->read([&](const Book& book, Instant) -> Result<Listed<ApiKey>> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    CALYX_CHECK(services::operator_only(caller));
    std::vector<std::int64_t> numbers;
    for (std::size_t i = 0; i < book.keys.size(); ++i)
      if (book.keys[i].wallet == 0) numbers.push_back(static_cast<std::int64_t>(i) + 1);
    return page_of<ApiKey>(page, numbers, [&](std::int64_t number) { return book.view(*book.key(number)); });
  });
}

Result<Listed<Receipt>> Session::receipts(WalletId wallet, const Page& page) {
  CALYX_TRY(const Subject of, subject(*market_, principal_, wallet));
  // A job of several hosts has a receipt from each, and a page may end among them: `7+2` begins behind the
  // second one of what comes after event 7.
  const std::size_t plus = page.after.find('+');
  const bool within = plus != std::string::npos && plus != 0 && plus + 1 != page.after.size();
  CALYX_TRY(const std::int64_t after, cursor({within ? page.after.substr(0, plus) : page.after, page.limit}));
  std::int64_t passed = 0;
  if (within) {
    CALYX_TRY(passed, cursor({page.after.substr(plus + 1), page.limit}));
  }
  return market_->history([&](store::MarketStore& store) -> Result<Listed<Receipt>> {
    Listed<Receipt> out;
    std::int64_t last = after;  // shown or passed over,
    std::int64_t shown = 0;     // and so many of what comes next
    const auto show = [&](const services::EarnEvent& earn) -> Result<bool> {
      if (out.items.size() == page.limit) {
        out.next = std::to_string(last);
        if (shown != 0) out.next += "+" + std::to_string(shown);
        return false;
      }
      CALYX_TRY(const auto stored, store.receipt(earn.leaf));
      if (!stored)
        return fail(Reason::corrupt, "receipt " + std::to_string(earn.leaf) + " is missing; run an audit");
      CALYX_TRY(core::json::Value payload, read_json(stored->payload));
      const core::json::Value* id = payload.find("id");
      const auto read =
          id != nullptr && id->string() != nullptr ? ReceiptId::read(*id->string()) : std::nullopt;
      if (!read)
        return fail(Reason::corrupt, "receipt " + std::to_string(earn.leaf) + " has no id; run an audit");
      CALYX_TRY(std::string jws, market_->jws(*stored));
      out.items.push_back({*read, std::move(jws), std::move(payload), static_cast<std::uint64_t>(earn.leaf)});
      return true;
    };

    // What paid its host nothing has no entry of the host's, and is shown between those that have.
    std::deque<Seq> zeros;
    CALYX_CHECK(store.zero_earnings_of(of.number, after, [&](Seq seq) -> Result<bool> {
      zeros.push_back(seq);
      return zeros.size() <= page.limit;
    }));
    const auto show_zeros_before = [&](Seq seq) -> Result<bool> {
      for (; !zeros.empty() && zeros.front() < seq; zeros.pop_front()) {
        CALYX_TRY(const services::Event event, services::event_at(store, zeros.front()));
        const auto* earn = std::get_if<services::EarnEvent>(&event.fields);
        if (earn == nullptr)
          return fail(Reason::corrupt,
                      "event " + std::to_string(event.seq) + " is no settlement; run an audit");
        CALYX_TRY(const bool go_on, show(*earn));
        if (!go_on) return false;
        last = event.seq;
      }
      return true;
    };

    // A payer's receipts hang on its spends, a host's on what it earned.
    const auto settled_at = [&](const store::EventRow& row) -> Result<std::vector<services::EarnEvent>> {
      std::vector<services::EarnEvent> earned;
      const auto kind = static_cast<core::EventKind>(row.kind);
      if (kind == core::EventKind::spend) {
        CALYX_TRY(const std::optional<Seq> end, store.find_resolution(row.seq));
        if (!end) return earned;
        CALYX_TRY(services::Event event, services::event_at(store, *end));
        auto* last_one = std::get_if<services::EarnEvent>(&event.fields);
        if (last_one == nullptr) return earned;
        std::vector<Seq> parts;
        if (last_one->before.micro != 0) {
          CALYX_TRY(parts, store.find_parts(row.seq));
        }
        for (const Seq seq : parts) {
          CALYX_TRY(services::Event part, services::event_at(store, seq));
          if (auto* earn = std::get_if<services::EarnEvent>(&part.fields)) earned.push_back(std::move(*earn));
        }
        earned.push_back(std::move(*last_one));
      } else if (kind == core::EventKind::earn) {
        CALYX_TRY(services::Fields fields, services::read_fields(kind, row.fields));
        auto& earn = std::get<services::EarnEvent>(fields);
        CALYX_TRY(const services::Event lock, services::event_at(store, earn.lock));
        const auto* spend = std::get_if<services::SpendEvent>(&lock.fields);
        // The payer's own job: its spend has shown the receipt.
        if (earn.host == of.number && (spend == nullptr || spend->wallet != of.number))
          earned.push_back(std::move(earn));
      }
      return earned;
    };
    std::size_t seen = 0;
    const auto look_at = [&](Money, const store::EventRow& row) -> Result<bool> {
      CALYX_TRY(bool go_on, show_zeros_before(row.seq));
      if (!go_on) return false;
      if (seen++ == page_events_max) {
        out.next = std::to_string(last);
        return false;
      }
      CALYX_TRY(const std::vector<services::EarnEvent> settlements, settled_at(row));
      for (const services::EarnEvent& earn : settlements) {
        if (shown >= passed) {
          CALYX_TRY(go_on, show(earn));
          if (!go_on) return false;
        }
        ++shown;
      }
      if (!settlements.empty()) passed = 0;
      shown = 0;
      last = row.seq;
      return true;
    };
    CALYX_CHECK(store.entries_of(of.number, of.last_entry, after, look_at));
    if (!out.next.empty()) return out;
    CALYX_CHECK(show_zeros_before(INT64_MAX));
    return out;
  });
}

// ── keys, approvals, outside money ──

Result<KeyIssued> Session::issue_key(WalletId wallet, std::string_view label, const IdempotencyKey& once,
                                     KeyKind kind) {
  return market_->write(
      [&](Transaction& tx) { return services::issue_key(tx, principal_, wallet, label, once, kind); });
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
  CALYX_TRY(services::PayoutAnswer answer, market_->write([&](Transaction& tx) {
    return services::request_payout(tx, principal_, asked, narrowing_.get());
  }));
  Payout& payout = answer.payout;
  if (payout.replayed)
    CALYX_CHECK(fill_in(*market_, {{&payout.new_balance, account_of(payout.wallet), answer.balance_at}}));
  const auto& pay_out = market_->options().pay_out;
  if (!answer.pending || !pay_out) return payout;
  PayoutOutcome outcome = PayoutOutcome::pending;
  try {
    outcome = pay_out(payout);
  } catch (...) {  // the debit stands whatever the host's callback met
  }
  if (outcome == PayoutOutcome::pending) return payout;
  // Where this cannot be written the payout is what the caller is told it is: pending. A retry asks again.
  static_cast<void>(market_->write([&](Transaction& tx) {
    return services::finish_payout(
        tx, Principal{}, payout.id,
        outcome == PayoutOutcome::confirmed ? PayoutStatus::confirmed : PayoutStatus::failed, {});
  }));
  return payout;
}

Result<Payout> Session::payout(PayoutId id) {
  return market_->read([&](const Book& book, Instant) -> Result<Payout> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    const auto found = book.payouts.find(static_cast<Seq>(id.number()));
    if (found == book.payouts.end() || found->second.id != id)
      return fail(Reason::payout_unknown, "no payout " + id.text());
    CALYX_TRY(const WalletState* wallet,
              services::readable(book, caller, book.wallet(found->second.wallet)->id));
    static_cast<void>(wallet);
    return book.view(found->first, found->second);
  });
}

namespace {

Result<Payout> finish(Market& market, const Principal& principal, PayoutId id, PayoutStatus outcome,
                      const IdempotencyKey& once) {
  CALYX_TRY(services::PayoutAnswer answer, market.write([&](Transaction& tx) {
    return services::finish_payout(tx, principal, id, outcome, once);
  }));
  Payout& payout = answer.payout;
  if (payout.replayed)
    CALYX_CHECK(fill_in(market, {{&payout.new_balance, account_of(payout.wallet), answer.balance_at}}));
  return payout;
}

}  // namespace

Result<Payout> Session::confirm_payout(PayoutId id, const IdempotencyKey& once) {
  return finish(*market_, principal_, id, PayoutStatus::confirmed, once);
}
Result<Payout> Session::fail_payout(PayoutId id, const IdempotencyKey& once) {
  return finish(*market_, principal_, id, PayoutStatus::failed, once);
}
Result<Granted> Session::grant(WalletId wallet, const IdempotencyKey& once) {
  CALYX_TRY(Granted granted,
            market_->write([&](Transaction& tx) { return services::grant(tx, principal_, wallet, once); }));
  CALYX_TRY(granted.moved, filled(*market_, Result<Moved>(granted.moved), wallet));
  return granted;
}
Result<WaitlistEntry> Session::join_waitlist(std::string_view owner_id, const IdempotencyKey& once) {
  return market_->write(
      [&](Transaction& tx) { return services::join_waitlist(tx, principal_, owner_id, once); });
}
Result<WaitlistApproved> Session::approve_waitlist(WaitlistId id, const IdempotencyKey& once) {
  return market_->write(
      [&](Transaction& tx) { return services::approve_waitlist(tx, principal_, id, once); });
}

// ── receipts and the books ──

namespace {

struct Located {
  std::uint64_t leaf = 0;
  Caller caller;
};

Error no_receipt(ReceiptId id) {
  return fail(Reason::receipt_unknown, "no receipt " + id.text(),
              core::json::object({{"receipt_id", id.text()}}));
}

/// The stored receipt `id`, for a caller who is one of its parties (or above one).
Result<store::MarketStore::OwnedReceipt> find_receipt(Market& market, const Principal& principal,
                                                      ReceiptId id) {
  const auto leaf = static_cast<std::int64_t>(id.number());
  CALYX_TRY(const bool plausible, market.read([&](const Book& book, Instant) -> Result<bool> {
    CALYX_CHECK(services::authorize(book, principal, services::For::derived_keys));
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
    CALYX_TRY(const Caller caller, services::authorize(book, principal, services::For::derived_keys));
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
    CALYX_CHECK(services::authorize(book, principal, services::For::derived_keys));
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
  CALYX_TRY(std::string jws, market_->jws(row));
  return Receipt{id, std::move(jws), std::move(payload), static_cast<std::uint64_t>(row.leaf)};
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
  Result<AuditReport> report =
      market_->history([&](store::MarketStore& store) { return services::audit(store, anchor, depth); });
  if (report.reason() != Reason::file_newer) return report;
  // The schema was changed under this engine. That is a fault, unless a newer calyx did it.
  const std::string difference = market_->schema_fault();
  if (difference.empty()) return report;
  return AuditReport{.first_fault = "schema: " + difference};
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
