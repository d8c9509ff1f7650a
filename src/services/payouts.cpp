#include "services/services.hpp"

namespace calyx::services {

namespace json = core::json;

Result<PayoutAnswer> request_payout(Transaction& tx, const Principal& principal, const PayoutRequest& asked,
                                    const Policy* narrowing) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const WalletState* wallet, spendable(book, caller, asked.wallet));
  CALYX_CHECK(check_amount("/amount", asked.amount));
  CALYX_CHECK(check_name("/destination", asked.destination, name_max));
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));

  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, asked.idempotency_key));
  if (first) {
    const auto* before = std::get_if<PayoutEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->wallet != wallet->number)
      return reused(Reason::key_reused, "wallet_id", book, before->wallet, wallet->number);
    if (before->amount != asked.amount)
      return reused(Reason::key_reused, "amount", before->amount, asked.amount);
    if (before->destination != asked.destination) return reused(Reason::key_reused, "destination");
    const PayoutState& payout = book.payouts.at(first->seq);
    PayoutAnswer out{book.view(first->seq, payout), first->seq, payout.status == PayoutStatus::pending};
    out.payout.status = PayoutStatus::pending;  // as it was answered first
    out.payout.replayed = true;
    return out;
  }

  CALYX_CHECK(check_active(*wallet));
  const bool spends = counts_in_hour(caller, narrowing);
  if (caller.role == Role::agent || narrowing != nullptr) {
    const auto terms = [&] {
      return json::canonical(json::object({{"operation", "payout"},
                                           {"amount", core::money_text(asked.amount)},
                                           {"destination", asked.destination}}));
    };
    CALYX_CHECK(pass_policy(tx, {.wallet = wallet,
                                 .operation = "payout",
                                 .amount = asked.amount,
                                 .narrowing = narrowing,
                                 .by_wallet_rules = caller.role == Role::agent,
                                 .terms = terms}));
  } else {
    CALYX_CHECK(pass_balance(tx, *wallet, asked.amount));
  }
  CALYX_TRY(const Placed event, tx.append(PayoutEvent{.wallet = wallet->number,
                                                      .amount = asked.amount,
                                                      .destination = asked.destination,
                                                      .spends = spends,
                                                      .once = asked.idempotency_key,
                                                      .by = caller.wallet}));
  CALYX_CHECK(keep_key(tx, caller, asked.idempotency_key, event.seq));
  return PayoutAnswer{book.view(event.seq, book.payouts.at(event.seq)), event.seq, true};
}

Result<PayoutAnswer> finish_payout(Transaction& tx, const Principal& principal, PayoutId id,
                                   PayoutStatus outcome, const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));  // the payout's state is the key
  const auto found = book.payouts.find(static_cast<Seq>(id.number()));
  if (found == book.payouts.end() || found->second.id != id)
    return fail(Reason::payout_unknown, "no payout " + id.text(),
                core::json::object({{"payout_id", id.text()}}));
  const PayoutState& payout = found->second;
  if (payout.status == outcome) {  // said so before
    PayoutAnswer out{book.view(found->first, payout), payout.ended};
    out.payout.replayed = true;
    return out;
  }
  if (payout.status != PayoutStatus::pending)
    return fail(Reason::payout_decided, "the payout is " + std::string(word(payout.status)),
                json::object({{"status", word(payout.status)}}));
  if (outcome == PayoutStatus::confirmed)
    CALYX_CHECK(tx.append(PayoutConfirmed{.payout = found->first}));
  else
    CALYX_CHECK(tx.append(PayoutFailed{.payout = found->first}));
  return PayoutAnswer{book.view(found->first, payout), payout.ended};
}

Result<Granted> grant(Transaction& tx, const Principal& principal, WalletId id, const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const WalletState* wallet, readable(book, caller, id));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<GrantEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->wallet != wallet->number)
      return reused(Reason::key_reused, "wallet_id", book, before->wallet, wallet->number);
    return Granted{Moved{book.txn_id(first->seq, first->at), before->amount, {}, true},
                   book.grants_left_after(first->seq)};
  }
  if (wallet->owner_type != OwnerType::human)
    return fail(Reason::human_only, "grants are for humans' wallets",
                json::object({{"wallet_id", id.text()}}));
  if (book.granted_owners.contains(wallet->owner_id))
    return fail(Reason::grant_taken, "this owner had the grant of " + say(grant_amount) + " FLOPS before",
                json::object({{"wallet_id", id.text()}, {"amount", number(grant_amount)}}));
  if (book.grants_left() <= 0)
    return fail(Reason::grants_exhausted, "all " + std::to_string(grants_max) + " grants are taken",
                json::object({{"limit", grants_max}}));
  CALYX_CHECK(check_active(*wallet));
  CALYX_CHECK(check_room(*wallet, grant_amount));
  CALYX_CHECK(check_supply(book, grant_amount));
  CALYX_TRY(const Placed event,
            tx.append(GrantEvent{.wallet = wallet->number, .amount = grant_amount, .once = once}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  return Granted{Moved{book.txn_id(event.seq, event.at), grant_amount, wallet->balance}, book.grants_left()};
}

Result<WaitlistEntry> join_waitlist(Transaction& tx, const Principal& principal, std::string_view owner_id,
                                    const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_name("/owner_id", owner_id, name_max));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  const auto entry = [&](Seq seq, bool replay) {
    const WaitlistState& state = book.waitlist.at(seq);
    return WaitlistEntry{state.id, state.owner_id, state.status, state.created_at, replay};
  };
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<WaitlistJoined>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->owner_id != owner_id)
      return reused(Reason::key_reused, "owner_id", before->owner_id, owner_id);
    return entry(first->seq, true);
  }
  if (const auto found = book.waitlist_by_owner.find(std::string(owner_id));
      found != book.waitlist_by_owner.end()) {
    CALYX_CHECK(bind_key(tx, caller, once, found->second));
    return entry(found->second, true);
  }
  CALYX_TRY(const Placed event, tx.append(WaitlistJoined{.owner_id = std::string(owner_id), .once = once}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  return entry(event.seq, false);
}

Result<WaitlistApproved> approve_waitlist(Transaction& tx, const Principal& principal, WaitlistId id,
                                          const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  const auto found = book.waitlist.find(static_cast<Seq>(id.number()));
  if (found == book.waitlist.end() || found->second.id != id)
    return fail(Reason::waitlist_unknown, "no waitlist entry " + id.text(),
                core::json::object({{"entry_id", id.text()}}));
  const WaitlistState& state = found->second;
  WaitlistApproved out;
  out.entry = {state.id, state.owner_id, state.status, state.created_at};
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<WaitlistApprovedEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->entry != found->first) return reused(Reason::key_reused, "waitlist_id");
    CALYX_TRY(const Event next, event_at(tx.store(), first->seq + 1));
    const auto* created = std::get_if<WalletCreatedEvent>(&next.fields);
    if (created == nullptr)
      return fail(Reason::corrupt, "event " + std::to_string(next.seq) +
                                       " does not open the wallet of the entry before it; run an audit");
    out.entry.replayed = true;
    out.created = created_again(book, *created, tx.now());
    return out;
  }
  if (state.status == WaitlistStatus::approved)
    return fail(Reason::waitlist_decided, "the entry was approved before",
                json::object({{"status", "approved"}}));
  CALYX_CHECK(check_owner(book, state.owner_id));
  CALYX_TRY(const Placed event, tx.append(WaitlistApprovedEvent{.entry = found->first, .once = once}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  CALYX_TRY(WalletCreated created,
            create_wallet(tx, principal, {.owner_type = OwnerType::human, .owner_id = state.owner_id}));
  out.entry.status = state.status;
  out.created = std::move(created);
  return out;
}

}  // namespace calyx::services
