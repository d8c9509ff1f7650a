#include <algorithm>

#include "services/payments.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

constexpr std::int64_t approval_expires_in_s = 24 * 3600;

Error refusal(const Book& book, const Outgoing& outgoing, const core::SpendVerdict& verdict) {
  const std::string needs = "needs " + say(outgoing.amount) + " FLOPS, ";
  const bool parents = verdict.owner == core::PolicyOwner::parent;
  const bool sessions = verdict.owner == core::PolicyOwner::session;
  const bool keys = verdict.owner == core::PolicyOwner::key;
  const WalletState* owner = parents ? book.wallet(outgoing.wallet->parent) : outgoing.wallet;
  const std::string whose = parents    ? "the parent's "
                            : sessions ? "this session's "
                            : keys     ? "this key's "
                                       : "the ";
  json::Object details;
  details.set("rule", word(verdict.reason));
  details.set("wallet_id", owner->id.text());
  if (sessions || keys) details.set("owner", keys ? "key" : "session");
  std::string message;
  switch (verdict.reason) {
    case Reason::wallet_not_active:
      details.set("status", word(owner->status));
      message = std::string(parents ? "the parent wallet is " : "the wallet is ") +
                std::string(word(owner->status));
      break;
    case Reason::gpu_not_allowed:
      details.set("gpu_type", outgoing.gpu_type ? json::Value(*outgoing.gpu_type) : json::Value());
      message = outgoing.gpu_type ? *outgoing.gpu_type + " is not on " + whose + "allowlist"
                                  : "names no gpu_type, and " + whose + "allowlist asks for one";
      break;
    default:
      details.set("needed", number(outgoing.amount));
      details.set("limit", number(verdict.limit));
      details.set("room", number(verdict.room));
      details.set("shortfall", number(Money{outgoing.amount.micro - verdict.room.micro}));
      if (verdict.reason == Reason::spend_cap_per_job)
        message = needs + whose + "cap a job is " + say(verdict.limit);
      else if (verdict.reason == Reason::spend_cap_per_hour)
        message =
            needs + whose + "cap an hour is " + say(verdict.limit) + " with " + say(verdict.room) + " left";
      else if (verdict.reason == Reason::budget_spent)
        message =
            needs + "this key's budget is " + say(verdict.limit) + " with " + say(verdict.room) + " left";
      else if (verdict.reason == Reason::approval_required)
        message = needs + "above " + (sessions || keys ? whose : std::string()) + say(verdict.limit) +
                  " a human must approve";
      else
        message = needs + "has " + say(verdict.room);
  }
  return fail(verdict.reason, std::move(message), json::Value(std::move(details)));
}

/// What was spent under `block`. A lock of `wallet` that is due counts as returned, swept or not.
Result<core::BlockFacts> facts_of_block(Transaction& tx, const WalletState& wallet,
                                        const core::KeyBlock& block) {
  const Book& book = tx.book();
  core::BlockFacts out{.policy = {.policy = &block.limits.policy}, .budget = block.limits.budget};
  Seq hour = INT64_MAX;
  if (block.limits.policy.spend_cap_per_hour) {
    CALYX_TRY(hour, tx.store().first_after(Instant{tx.now().us - core::us_per_hour}));
    CALYX_TRY(out.policy.spent_in_hour, tx.store().key_spent_since(block.id, hour));
  }
  CALYX_TRY(out.spent, tx.store().key_spent(block.id));
  for (const auto& [deadline_us, seq] : wallet.deadlines) {
    if (deadline_us > tx.now().us) break;
    const auto under = book.locks_under.find(seq);
    if (under == book.locks_under.end() ||
        std::find(under->second.begin(), under->second.end(), block.id) == under->second.end())
      continue;
    const Money back = book.locks.at(seq).amount;
    out.spent.micro -= back.micro;
    if (seq >= hour) out.policy.spent_in_hour.micro -= back.micro;
  }
  return out;
}

/// The balance of `wallet` with what is due: all of it when that is less than `needed`, else enough.
Money balance_for(Transaction& tx, const WalletState& wallet, Money needed) {
  const Money missing{needed.micro - wallet.balance.micro};
  return Money{wallet.balance.micro + tx.book().due(wallet, tx.now(), missing).micro};
}

}  // namespace

Result<std::optional<Event>> replayed(Transaction& tx, const Caller& caller, const IdempotencyKey& once) {
  if (once.empty()) return std::optional<Event>();
  CALYX_TRY(const std::optional<Seq> seq,
            tx.store().find_request(caller.wallet, store::RequestKind::idempotency_key, once));
  if (!seq) return std::optional<Event>();
  CALYX_TRY(Event event, event_at(tx.store(), *seq));
  if (const auto* bound = std::get_if<KeyBoundEvent>(&event.fields)) {
    CALYX_TRY(event, event_at(tx.store(), bound->event));
  }
  return std::optional<Event>(std::move(event));
}

Result<Done> bind_key(Transaction& tx, const Caller& caller, const IdempotencyKey& once, Seq first) {
  if (once.empty()) return Done{};
  CALYX_TRY(const Placed event, tx.append(KeyBoundEvent{.event = first, .once = once, .by = caller.wallet}));
  return keep_key(tx, caller, once, event.seq);
}

Result<Done> keep_key(Transaction& tx, const Caller& caller, const IdempotencyKey& once, Seq seq) {
  if (once.empty()) return Done{};
  return tx.store().append_request(caller.wallet, store::RequestKind::idempotency_key, once, seq);
}

Result<Event> event_at(store::MarketStore& store, Seq seq) {
  CALYX_TRY(const std::optional<store::MarketStore::OwnedEvent> row, store.event(seq));
  if (!row)
    return fail(Reason::corrupt,
                "event " + std::to_string(seq) + " is missing; keep the file and run an audit");
  CALYX_TRY(Fields fields, read_fields(static_cast<EventKind>(row->kind), row->fields));
  return Event{row->seq, row->at, std::move(fields)};
}

Result<Done> check_active(const WalletState& wallet) {
  if (wallet.status == WalletStatus::active) return Done{};
  return fail(Reason::wallet_not_active, "the wallet is " + std::string(word(wallet.status)),
              json::object({{"wallet_id", wallet.id.text()}, {"status", word(wallet.status)}}));
}

Result<Done> check_room(const WalletState& wallet, Money amount) {
  if (wallet.status == WalletStatus::closed) return check_active(wallet);
  // What is held or being paid out may come back, and finds its room then.
  const core::Wide after = static_cast<core::Wide>(wallet.balance.micro) + wallet.held.micro +
                           wallet.paying_out.micro + amount.micro;
  if (after <= core::amount_max.micro) return Done{};
  return fail(Reason::balance_out_of_range,
              "the wallet would hold more than " + say(core::amount_max) + " FLOPS",
              json::object({{"wallet_id", wallet.id.text()}, {"limit", number(core::amount_max)}}));
}

Result<Done> check_supply(const Book& book, Money amount) {
  const core::Wide after =
      static_cast<core::Wide>(amount.micro) - book.external.micro + book.paying_out.micro;
  if (after <= core::supply_max.micro) return Done{};
  return fail(Reason::supply_out_of_range,
              "all wallets together would hold more than " + say(core::supply_max) + " FLOPS");
}

Result<Done> sweep(Transaction& tx, const WalletState& wallet, Money needed) {
  for (std::size_t beyond = 0; !wallet.deadlines.empty() && wallet.deadlines.begin()->first <= tx.now().us;) {
    if (wallet.balance >= needed && beyond++ == sweep_max) break;
    const Seq lock = wallet.deadlines.begin()->second;
    CALYX_CHECK(tx.append(ExpireEvent{.lock = lock}));
  }
  return Done{};
}

Result<Done> pass_policy(Transaction& tx, const Outgoing& outgoing) {
  const Book& book = tx.book();
  const WalletState& wallet = *outgoing.wallet;
  const auto facts_of = [&](const WalletState* of) -> Result<core::PolicyFacts> {
    if (of == nullptr) return core::PolicyFacts{};
    core::PolicyFacts facts{.policy = &of->policy, .active = of->status == WalletStatus::active};
    if (of->policy.spend_cap_per_hour) {
      CALYX_TRY(facts.spent_in_hour, tx.spent_in_hour(*of));
    }
    return facts;
  };
  core::SpendFacts facts;
  if (outgoing.blocks != nullptr) {
    for (const core::KeyBlock& block : *outgoing.blocks) {
      CALYX_TRY(facts.blocks.emplace_back(), facts_of_block(tx, wallet, block));
    }
  }
  if (outgoing.narrowing != nullptr) {
    facts.session.policy = outgoing.narrowing;
    if (outgoing.narrowing->spend_cap_per_hour) {
      CALYX_TRY(facts.session.spent_in_hour, tx.spent_in_hour(wallet));
    }
  }
  if (outgoing.by_wallet_rules) {
    CALYX_TRY(facts.wallet, facts_of(&wallet));
    CALYX_TRY(facts.parent, facts_of(book.wallet(wallet.parent)));
  }
  facts.balance = balance_for(tx, wallet, outgoing.amount);

  std::optional<std::string_view> gpu;
  if (outgoing.gpu_type) gpu = *outgoing.gpu_type;
  const core::SpendAsked asked{.amount = outgoing.amount, .gpu_type = gpu, .judges_gpu = outgoing.judges_gpu};
  const core::SpendVerdict verdict = core::judge(asked, facts);
  if (verdict.reason == Reason::none) return sweep(tx, wallet, outgoing.amount);
  if (verdict.reason != Reason::approval_required) return refusal(book, outgoing, verdict);

  // The latest approval for exactly this call, unless its time is over or it was used.
  // Another key's call is another call: what was approved for one serves no other.
  std::string terms = outgoing.terms();
  if (outgoing.blocks != nullptr)
    terms =
        json::canonical(json::object({{"call", terms}, {"under", core::hex(outgoing.blocks->back().id)}}));
  const ApprovalState* approval = nullptr;
  Seq approval_seq = 0;
  if (const auto found = book.approval_by_terms.find({wallet.number, terms});
      found != book.approval_by_terms.end()) {
    const ApprovalState& state = book.approvals.at(found->second);
    if (state.status != ApprovalStatus::used && tx.now() < state.expires_at) {
      approval = &state;
      approval_seq = found->second;
    }
  }
  if (approval != nullptr && approval->status == ApprovalStatus::approved) {
    facts.approved = true;
    if (const core::SpendVerdict rest = core::judge(asked, facts); rest.reason != Reason::none)
      return refusal(book, outgoing, rest);
    CALYX_CHECK(tx.append(ApprovalUsed{.approval = approval_seq}));
    return sweep(tx, wallet, outgoing.amount);
  }

  Error error = refusal(book, outgoing, verdict);
  if (approval == nullptr) {
    if (!book.takes_approval(wallet, tx.now(),
                             outgoing.blocks == nullptr ? approvals_kept_max : approvals_kept_max / 2))
      return fail(Reason::too_many_approvals,
                  std::to_string(wallet.approvals.size()) + " approvals of the wallet wait already",
                  json::object({{"wallet_id", wallet.id.text()}, {"limit", approvals_kept_max}}));
    CALYX_TRY(const Placed event, tx.append(ApprovalRequested{.wallet = wallet.number,
                                                              .operation = std::string(outgoing.operation),
                                                              .amount = outgoing.amount,
                                                              .job_id = std::string(outgoing.job_id),
                                                              .gpu_type = outgoing.gpu_type,
                                                              .terms = std::move(terms),
                                                              .expires_in_s = approval_expires_in_s}));
    approval = &book.approvals.at(event.seq);
  }
  error.details.object()->set("approval_id", approval->id.text());
  error.details.object()->set("approval_status", word(approval->status));
  return error;
}

bool counts_in_hour(const Caller& caller, const Policy* narrowing) noexcept {
  return caller.role == Role::agent || (narrowing != nullptr && narrowing->spend_cap_per_hour);
}

Result<Done> pass_balance(Transaction& tx, const WalletState& wallet, Money amount) {
  const Money has = balance_for(tx, wallet, amount);
  if (amount > has) {
    const Outgoing outgoing{.wallet = &wallet, .amount = amount};
    return refusal(tx.book(), outgoing, {.reason = Reason::insufficient_balance, .limit = has, .room = has});
  }
  return sweep(tx, wallet, amount);
}

Result<Moved> topup(Transaction& tx, const Principal& principal, const TopUp& asked,
                    const IdempotencyKey& derived) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const WalletState* wallet, readable(tx.book(), caller, asked.wallet));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_amount("/amount", asked.amount));
  CALYX_CHECK(check_key_text("/reference", asked.reference, Empty::allowed));
  if (is_credit_reference(asked.reference))
    return field_error(Reason::field_value, "/reference",
                       "is a quote's or a payment's, which credits by itself");
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));

  const IdempotencyKey& once = asked.idempotency_key.empty() ? derived : asked.idempotency_key;
  CALYX_TRY(std::optional<Event> first, replayed(tx, caller, once));
  const bool bound = first.has_value();
  if (!first && !asked.reference.empty()) {
    CALYX_TRY(const std::optional<Seq> seq,
              tx.store().find_request(wallet->number, store::RequestKind::topup_reference, asked.reference));
    if (seq) {
      CALYX_TRY(first, event_at(tx.store(), *seq));
    }
  }
  if (first) {
    const auto* before = std::get_if<TopUpEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->wallet != wallet->number)
      return reused(Reason::key_reused, "wallet_id", tx.book(), before->wallet, wallet->number);
    if (before->amount != asked.amount)
      return reused(Reason::key_reused, "amount", before->amount, asked.amount);
    if (before->reference != asked.reference)
      return reused(Reason::key_reused, "reference", before->reference, asked.reference);
    if (!bound) CALYX_CHECK(bind_key(tx, caller, once, first->seq));
    return Moved{tx.book().txn_id(first->seq, first->at), asked.amount, {}, true};
  }

  CALYX_CHECK(check_room(*wallet, asked.amount));
  CALYX_CHECK(check_supply(tx.book(), asked.amount));
  CALYX_TRY(const Placed event, tx.append(TopUpEvent{wallet->number, asked.amount, asked.reference, once}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  if (!asked.reference.empty())
    CALYX_CHECK(tx.store().append_request(wallet->number, store::RequestKind::topup_reference,
                                          asked.reference, event.seq));
  return Moved{tx.book().txn_id(event.seq, event.at), asked.amount, wallet->balance};
}

Result<Moved> transfer(Transaction& tx, const Principal& principal, const WalletTransfer& asked,
                       const Policy* narrowing, const IdempotencyKey& derived) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const WalletState* from, spendable(tx.book(), caller, asked.from));
  CALYX_CHECK(check_amount("/amount", asked.amount));
  CALYX_CHECK(check_key_text("/reference", asked.reference, Empty::allowed));
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));
  const WalletState* to = tx.book().find(asked.to);
  if (to == nullptr)
    return fail(Reason::wallet_unknown, "no wallet " + asked.to.text(),
                json::object({{"field", "/to_wallet_id"}}));
  if (to == from) return field_error(Reason::same_wallet, "/to_wallet_id", "is the wallet that pays");

  const IdempotencyKey& once = asked.idempotency_key.empty() ? derived : asked.idempotency_key;
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<TransferEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (before->from != from->number)
      return reused(Reason::key_reused, "wallet_id", tx.book(), before->from, from->number);
    if (before->to != to->number)
      return reused(Reason::key_reused, "to_wallet_id", tx.book(), before->to, to->number);
    if (before->amount != asked.amount)
      return reused(Reason::key_reused, "amount", before->amount, asked.amount);
    if (before->reference != asked.reference)
      return reused(Reason::key_reused, "reference", before->reference, asked.reference);
    return Moved{tx.book().txn_id(first->seq, first->at), asked.amount, {}, true};
  }

  CALYX_CHECK(check_active(*from));
  CALYX_CHECK(check_room(*to, asked.amount));
  const bool spends = counts_in_hour(caller, narrowing);
  if (caller.role == Role::agent || narrowing != nullptr) {
    const auto terms = [&] {
      return json::canonical(json::object({{"operation", "transfer"},
                                           {"to_wallet_id", asked.to.text()},
                                           {"amount", core::money_text(asked.amount)},
                                           {"reference", asked.reference}}));
    };
    CALYX_CHECK(pass_policy(tx, {.wallet = from,
                                 .operation = "transfer",
                                 .amount = asked.amount,
                                 .narrowing = narrowing,
                                 .by_wallet_rules = caller.role == Role::agent,
                                 .terms = terms}));
  } else {
    CALYX_CHECK(pass_balance(tx, *from, asked.amount));
  }
  CALYX_TRY(const Placed event, tx.append(TransferEvent{.from = from->number,
                                                        .to = to->number,
                                                        .amount = asked.amount,
                                                        .spends = spends,
                                                        .reference = asked.reference,
                                                        .once = once,
                                                        .by = caller.wallet}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  return Moved{tx.book().txn_id(event.seq, event.at), asked.amount, from->balance};
}

}  // namespace calyx::services
