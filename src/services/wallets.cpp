#include "services/jobs.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

std::string_view differs(const Book& book, const WalletCreatedEvent& before, const WalletCreate& asked) {
  if (before.owner_type != asked.owner_type) return "owner_type";
  if (before.owner_id != asked.owner_id) return "owner_id";
  const WalletState* parent = book.wallet(before.parent);
  const auto parent_id = parent == nullptr ? std::nullopt : std::optional<WalletId>(parent->id);
  // A human who left the parent out meant itself, so only a parent that was named can differ.
  if (asked.parent && parent_id != asked.parent) return "parent_wallet_id";
  if (before.policy.spend_cap_per_job != asked.policy.spend_cap_per_job) return "spend_cap_per_job";
  if (before.policy.spend_cap_per_hour != asked.policy.spend_cap_per_hour) return "spend_cap_per_hour";
  if (before.policy.approval_threshold != asked.policy.approval_threshold) return "approval_threshold";
  if (before.policy.allowed_gpu_types != asked.policy.allowed_gpu_types) return "allowed_gpu_types";
  return {};
}

}  // namespace

WalletCreated created_again(const Book& book, const WalletCreatedEvent& first, Instant now) {
  const WalletState& state = *book.wallet(first.wallet);
  WalletCreated out{.wallet = book.view(state, now), .replayed = true};
  out.wallet.balance = out.wallet.held = out.wallet.expired_pending = Money{};
  out.wallet.txn_count = 0;
  out.wallet.policy = first.policy;
  out.wallet.status = WalletStatus::active;
  const KeyState& key = *book.key(state.keys.front());
  out.key = key.id;
  out.key_last4 = key.last4;
  return out;
}

Result<WalletCreated> create_wallet(Transaction& tx, const Principal& principal, const WalletCreate& asked) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  if (caller.role == Role::agent) return fail(Reason::human_only, "an agent's key may not create wallets");
  if (caller.role == Role::human && asked.owner_type == OwnerType::human)
    return fail(Reason::operator_only, "only an operator's key may create a human's wallet");
  CALYX_CHECK(may_change_keys(caller));
  CALYX_CHECK(check_name("/owner_id", asked.owner_id, name_max));
  CALYX_CHECK(check_policy(asked.policy));
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));

  AccountNumber parent = 0;
  if (asked.owner_type == OwnerType::human) {
    if (asked.parent)
      return field_error(Reason::human_has_parent, "/parent_wallet_id", "a human's wallet has no parent");
  } else {
    if (!asked.parent)
      return field_error(Reason::agent_needs_parent, "/parent_wallet_id",
                         "an agent's wallet needs a human wallet above it");
    CALYX_TRY(const WalletState* above, readable(book, caller, *asked.parent));
    if (above->owner_type != OwnerType::human)
      return field_error(Reason::parent_not_human, "/parent_wallet_id",
                         "is an agent's wallet, must be a human's");
    parent = above->number;
  }

  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, asked.idempotency_key));
  if (first) {
    const auto* before = std::get_if<WalletCreatedEvent>(&first->fields);
    if (before == nullptr) return reused(Reason::key_reused, "operation");
    if (const std::string_view field = differs(book, *before, asked); !field.empty())
      return reused(Reason::key_reused, field);
    return created_again(book, *before, tx.now());
  }

  if (const WalletState* above = book.wallet(parent);
      above != nullptr && above->status == WalletStatus::closed)
    return check_active(*above).error();
  if (asked.owner_type == OwnerType::human) CALYX_CHECK(check_owner(book, asked.owner_id));
  if (const WalletState* above = book.wallet(parent)) CALYX_CHECK(may_grow(book, *above));
  const AccountNumber number = book.next_wallet();
  CALYX_TRY(const Placed event, tx.append(WalletCreatedEvent{.wallet = number,
                                                             .owner_type = asked.owner_type,
                                                             .owner_id = asked.owner_id,
                                                             .parent = parent,
                                                             .policy = asked.policy,
                                                             .once = asked.idempotency_key,
                                                             .by = caller.wallet}));
  CALYX_CHECK(keep_key(tx, caller, asked.idempotency_key, event.seq));
  const WalletId id = book.wallet(number)->id;
  CALYX_TRY(KeyIssued issued, issue_key(tx, Principal{}, id, {}, {}));
  return WalletCreated{.wallet = book.view(*book.wallet(number), tx.now()),
                       .api_key = std::move(issued.api_key),
                       .key = issued.key.id,
                       .key_last4 = issued.key.last4};
}

Result<Wallet> change_wallet(Transaction& tx, const Principal& principal, WalletId id,
                             const WalletChange& change) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const WalletState* wallet, manageable(book, caller, id, Own::refused));

  Policy policy = wallet->policy;
  if (change.spend_cap_per_job) policy.spend_cap_per_job = *change.spend_cap_per_job;
  if (change.spend_cap_per_hour) policy.spend_cap_per_hour = *change.spend_cap_per_hour;
  if (change.approval_threshold) policy.approval_threshold = *change.approval_threshold;
  if (change.allowed_gpu_types) policy.allowed_gpu_types = *change.allowed_gpu_types;
  CALYX_CHECK(check_policy(policy));

  const WalletStatus status = change.status.value_or(wallet->status);
  if (wallet->status == WalletStatus::closed && (status != WalletStatus::closed || policy != wallet->policy))
    return check_active(*wallet).error();
  if (status == WalletStatus::closed && wallet->status != WalletStatus::closed) {
    const Money holds{wallet->balance.micro + wallet->held.micro};
    if (holds.micro != 0 || wallet->open_locks != 0)
      return fail(Reason::wallet_not_empty,
                  "the wallet has " + say(wallet->balance) + " FLOPS and " + say(wallet->held) + " in escrow",
                  json::object({{"balance", number(wallet->balance)}, {"held", number(wallet->held)}}));
    if (wallet->paying_out.micro != 0)  // what is on its way out may come back
      return fail(Reason::wallet_not_empty,
                  "the wallet has " + say(wallet->paying_out) + " FLOPS in payouts that are pending",
                  json::object({{"paying_out", number(wallet->paying_out)}}));
    for (const AccountNumber child : wallet->children)
      if (book.wallet(child)->status != WalletStatus::closed)
        return fail(Reason::wallet_not_empty, "its agent " + book.wallet(child)->id.text() + " is not closed",
                    json::object({{"wallet_id", book.wallet(child)->id.text()}}));
    CALYX_TRY(const std::int64_t jobs, jobs_worked_on_for(tx.store(), wallet->number));
    if (jobs != 0)
      return fail(Reason::wallet_not_empty,
                  std::to_string(jobs) + " jobs that are not settled yet are worked on for the wallet",
                  json::object({{"jobs", jobs}}));
    CALYX_TRY(const std::int64_t payments, tx.store().payments().count_under_way(wallet->number));
    if (payments != 0)
      return fail(Reason::wallet_not_empty,
                  std::to_string(payments) + " payments for the wallet are under way",
                  json::object({{"payments", payments}}));
  }
  if (status != wallet->status || policy != wallet->policy)
    CALYX_CHECK(tx.append(WalletChanged{wallet->number, status, policy, caller.wallet}));
  return book.view(*wallet, tx.now());
}

}  // namespace calyx::services
