#include "services/transaction.hpp"

#include <algorithm>

#include "crypto/sha256.hpp"

namespace calyx::services {
namespace {

/// What an event sends out of a wallet under its policy: nothing for most.
struct Outflow {
  AccountNumber wallet = 0;
  Money amount;
  std::optional<std::int64_t> expires_in_s;
};
Outflow outflow_of(const Fields& fields) noexcept {
  if (const auto* spend = std::get_if<SpendEvent>(&fields))
    return {spend->wallet, spend->amount, spend->expires_in_s};
  if (const auto* transfer = std::get_if<TransferEvent>(&fields))
    return transfer->spends ? Outflow{transfer->from, transfer->amount, {}} : Outflow{};
  if (const auto* payout = std::get_if<PayoutEvent>(&fields))
    return payout->spends ? Outflow{payout->wallet, payout->amount, {}} : Outflow{};
  return {};
}

/// What an event brings back: of what `seq` sent out, only `stays` is spent.
struct Return {
  Seq seq = 0;
  Money stays;
};
Return return_of(const Fields& fields) noexcept {
  if (const auto* earn = std::get_if<EarnEvent>(&fields))
    return earn->more ? Return{} : Return{earn->lock, Money{earn->before.micro + earn->gross.micro}};
  if (const Seq lock = lock_ended_by(fields); lock != 0) return {lock, Money{}};
  if (const auto* failed = std::get_if<PayoutFailed>(&fields)) return {failed->payout, Money{}};
  return {};
}

}  // namespace

void Windows::Window::add(const Item& item) {
  items.push_back(item);
  sum.micro += item.amount.micro;
  if (item.deadline_us != 0) deadlines.emplace(item.deadline_us, item.seq);
}

void Windows::Window::settle_at(Seq seq, Money amount) {
  const auto found = std::lower_bound(items.begin(), items.end(), seq,
                                      [](const Item& item, Seq wanted) { return item.seq < wanted; });
  if (found == items.end() || found->seq != seq) return;  // it left the window, or never was in it
  sum.micro += amount.micro - found->amount.micro;
  found->amount = amount;
  if (found->deadline_us != 0) deadlines.erase({found->deadline_us, seq});
}

void Windows::Window::move_to(Instant now) {
  while (!items.empty() && items.front().at_us <= now.us - core::us_per_hour) {
    const Item& item = items.front();
    sum.micro -= item.amount.micro;
    if (item.deadline_us != 0) deadlines.erase({item.deadline_us, item.seq});
    items.pop_front();
  }
  while (!deadlines.empty() && deadlines.begin()->first <= now.us)
    settle_at(deadlines.begin()->second, Money{});
}

template <class StillOpen>
void Windows::Window::keep_deadlines(StillOpen still_open) {
  for (auto at = deadlines.begin(); at != deadlines.end();)
    at = still_open(at->second) ? std::next(at) : deadlines.erase(at);
}

void Windows::apply(Window& window, const Event& event) {
  if (const Outflow out = outflow_of(event.fields); out.wallet != 0) {
    Item item{event.at.us, event.seq, out.amount, 0};
    // A later deadline comes when the item is no longer in the window.
    constexpr std::int64_t hour_s = core::us_per_hour / core::us_per_second;
    if (out.expires_in_s && *out.expires_in_s < hour_s)
      item.deadline_us = event.at.us + *out.expires_in_s * core::us_per_second;
    window.add(item);
  }
  if (const Return back = return_of(event.fields); back.seq != 0) window.settle_at(back.seq, back.stays);
}

Result<Money> Windows::spent(store::MarketStore& store, const Book& book, const WalletState& wallet,
                             Instant now) {
  auto found = windows_.find(wallet.number);
  if (found == windows_.end()) {
    CALYX_TRY(const Seq first, store.first_after(Instant{now.us - core::us_per_hour}));
    std::vector<AccountNumber> accounts = wallet.children;
    accounts.push_back(wallet.number);
    std::vector<Event> events;
    for (const AccountNumber account : accounts) {
      const auto gather = [&](Money, const store::EventRow& row) -> Result<bool> {
        const auto kind = static_cast<EventKind>(row.kind);
        CALYX_TRY(Fields fields, read_fields(kind, row.fields));
        const Outflow out = outflow_of(fields);
        const bool own = out.wallet == account;
        const bool returned = return_of(fields).seq != 0;
        if (own || returned) events.push_back({row.seq, row.at, std::move(fields)});
        return true;
      };
      CALYX_CHECK(store.entries_of(account, book.trail(account).last, first - 1, gather));
    }
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.seq < b.seq; });
    Window window;
    for (const Event& event : events) apply(window, event);
    // A settlement that left nothing to bring back has no entry here.
    window.keep_deadlines([&](Seq seq) { return book.locks.contains(seq); });
    found = windows_.emplace(wallet.number, std::move(window)).first;
  }
  found->second.move_to(now);
  return found->second.sum;
}

void Windows::note(const Book& book, const Event& event, AccountNumber payer) {
  if (windows_.empty()) return;
  const auto note_for = [&](AccountNumber number) {
    const auto found = windows_.find(number);
    if (found == windows_.end()) return;
    apply(found->second, event);
    found->second.move_to(event.at);  // so that one that nobody asks about does not grow
  };
  if (const Outflow out = outflow_of(event.fields); out.wallet != 0) {
    note_for(out.wallet);
    if (const WalletState* state = book.wallet(out.wallet); state != nullptr && state->parent != 0)
      note_for(state->parent);
  } else if (return_of(event.fields).seq != 0 && payer != 0) {
    note_for(payer);
    if (const WalletState* state = book.wallet(payer); state != nullptr && state->parent != 0)
      note_for(state->parent);
  }
}

AccountNumber Windows::payer_of(const Book& book, const Fields& fields) noexcept {
  const Seq sent = return_of(fields).seq;
  if (const auto lock = book.locks.find(sent); lock != book.locks.end()) return lock->second.payer;
  if (const auto payout = book.payouts.find(sent); payout != book.payouts.end()) return payout->second.wallet;
  return 0;
}

std::optional<store::ResolutionRow> resolution_of(const Book& book, const Event& event) {
  const Seq lock = lock_ended_by(event.fields);
  if (lock == 0) return std::nullopt;
  const auto* earn = std::get_if<EarnEvent>(&event.fields);
  return store::ResolutionRow{lock, event.seq, book.locks.at(lock).amount,
                              earn == nullptr ? Money{} : earn->fee};
}

std::optional<store::ResolutionRow> part_of(const Event& event) {
  const auto* earn = std::get_if<EarnEvent>(&event.fields);
  if (earn == nullptr || !earn->more) return std::nullopt;
  return store::ResolutionRow{earn->lock, event.seq, earn->gross, earn->fee};
}

std::vector<store::KeySpendRow> key_spends_of(const Book& book, const Event& event) {
  std::vector<store::KeySpendRow> out;
  const auto add = [&](const std::vector<core::Digest>& blocks, Seq lock, Money amount) {
    for (const core::Digest& block : blocks)
      out.push_back({.block = block, .seq = event.seq, .lock = lock, .amount = amount, .total = {}});
  };
  if (const auto* spend = std::get_if<SpendEvent>(&event.fields)) {
    add(spend->under, event.seq, spend->amount);
  } else if (!book.locks_under.empty()) {
    const Return back = return_of(event.fields);
    const auto under = book.locks_under.find(back.seq);
    if (under == book.locks_under.end()) return out;
    const OpenLock& lock = book.locks.at(back.seq);
    const std::int64_t returned = lock.amount.micro + lock.paid.micro - back.stays.micro;
    if (returned != 0) add(under->second, back.seq, Money{-returned});
  }
  return out;
}

Result<Done> Transaction::tick() {
  const std::int64_t us = seams_.now_us();
  if (us < 0 || us > core::instant_max.us)
    return fail(Reason::io_error, "the clock says " + std::to_string(us) + " us, outside 1970 to 9999");
  now_ = Instant{std::max(us, book_.at.us)};
  return Done{};
}

Result<Placed> Transaction::append(Fields fields) {
  const Appended& appended =
      appended_.emplace_back(Appended{Event{book_.seq + 1, now_, std::move(fields)}, {}});
  const Event& event = appended.event;
  CALYX_TRY(const core::Legs legs, book_.legs(event));
  if (const Reason reason = core::judge(legs); reason != Reason::none)
    return fail(Reason::internal, "event " + std::to_string(event.seq) + ": " + std::string(word(reason)));

  fields_text_.clear();
  append_fields(fields_text_, event.fields);
  const EventKind kind = kind_of(event.fields);
  appended_.back().hash =
      core::event_hash(crypto::Sha256{}, {.seq = event.seq, .at = event.at, .kind = kind, .prev = book_.head},
                       fields_text_, document_);
  CALYX_CHECK(store_.append_event(event.seq, event.at, static_cast<int>(kind), fields_text_, appended.hash));
  CALYX_CHECK(
      for_entries(book_, event.seq, legs, [&](const store::EntryRow& row, bool milestone) -> Result<Done> {
        CALYX_CHECK(store_.append_entry(row));
        return milestone ? store_.append_milestone(row.account, row.id) : Result<Done>(Done{});
      }));
  if (const auto job = job_taken_by(event.fields))
    CALYX_CHECK(store_.append_lock(job->job_id, {job->payer, event.seq, job->locked}));
  if (const auto end = resolution_of(book_, event)) CALYX_CHECK(store_.append_resolution(*end));
  if (const auto part = part_of(event)) CALYX_CHECK(store_.append_part(*part));
  for (store::KeySpendRow& row : key_spends_of(book_, event)) {
    CALYX_TRY(const Money before, store_.key_spent(row.block));
    row.total = Money{before.micro + row.amount.micro};
    CALYX_CHECK(store_.append_key_spend(row));
  }
  const AccountNumber payer = Windows::payer_of(book_, event.fields);
  CALYX_CHECK(book_.apply(event, appended.hash));
  windows_.note(book_, event, payer);
  return Placed{event.seq, event.at};
}

}  // namespace calyx::services
