#include "services/book.hpp"

#include <algorithm>
#include <calyx/core/payment_terms.hpp>
#include <calyx/identity.hpp>
#include <utility>

namespace calyx::services {
namespace {

Error impossible(const Event& event, const char* why) {
  return fail(
      Reason::corrupt,
      std::string("event ") + std::to_string(event.seq) + " cannot follow from those before it: " + why,
      core::json::object({{"seq", event.seq}}));
}

/// The market's tag in its ids: the first four bytes of its own id.
std::uint32_t tag_of(std::string_view market_hex) noexcept {
  std::uint32_t tag = 0;
  for (const char c : market_hex.substr(0, 8))
    tag = tag << 4 | static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return tag;
}

template <class... Of>
struct Cases : Of... {
  using Of::operator()...;
};
template <class... Of>
Cases(Of...) -> Cases<Of...>;

}  // namespace

WalletState* Book::wallet(AccountNumber number) noexcept {
  return const_cast<WalletState*>(std::as_const(*this).wallet(number));
}
const WalletState* Book::wallet(AccountNumber number) const noexcept {
  if (!core::is_wallet(number)) return nullptr;
  const auto place = static_cast<std::size_t>(number - core::wallet_first);
  return place < wallets.size() ? &wallets[place] : nullptr;
}
const WalletState* Book::find(const WalletId& id) const noexcept {
  const WalletState* found = wallet(static_cast<AccountNumber>(id.number()));
  return found != nullptr && found->id == id ? found : nullptr;
}
const KeyState* Book::key(std::int64_t number) const noexcept {
  return number >= 1 && number <= static_cast<std::int64_t>(keys.size())
             ? &keys[static_cast<std::size_t>(number - 1)]
             : nullptr;
}
const KeyState* Book::find(const KeyId& id) const noexcept {
  const KeyState* found = key(static_cast<std::int64_t>(id.number()));
  return found != nullptr && found->id == id ? found : nullptr;
}

std::int64_t Book::grants_left_after(Seq grant) const noexcept {
  return grants_max - (std::upper_bound(grants.begin(), grants.end(), grant) - grants.begin());
}

bool Book::waits(const ApprovalState& approval, Instant now) noexcept {
  const bool open = approval.status == ApprovalStatus::pending || approval.status == ApprovalStatus::approved;
  return open && now < approval.expires_at;
}

bool Book::takes_approval(const WalletState& wallet, Instant now, std::size_t most) const noexcept {
  if (wallet.approvals.size() < most) return true;
  const auto waiting = std::count_if(wallet.approvals.begin(), wallet.approvals.end(),
                                     [&](Seq asked) { return waits(approvals.at(asked), now); });
  return static_cast<std::size_t>(waiting) < most;
}

Money Book::due(const WalletState& wallet, Instant now, Money enough) const noexcept {
  Money sum;
  for (const auto& [deadline, lock] : wallet.deadlines) {
    if (deadline > now.us || sum >= enough) break;
    if (const auto found = locks.find(lock); found != locks.end()) sum.micro += found->second.amount.micro;
  }
  return sum;
}

Result<core::Legs> Book::legs(const Event& event) const {
  const auto open = [&](Seq lock) -> const OpenLock* {
    const auto found = locks.find(lock);
    return found == locks.end() ? nullptr : &found->second;
  };
  return std::visit(Cases{
                        [&](const SpendEvent& of) -> Result<core::Legs> {
                          return core::lock_legs(of.wallet, event.seq, of.amount);
                        },
                        [&](const EarnEvent& of) -> Result<core::Legs> {
                          const OpenLock* lock = open(of.lock);
                          if (lock == nullptr) return impossible(event, "its lock is not open");
                          if (of.more) return core::part_legs(of.host, of.lock, of.gross, {of.fee, of.net});
                          return core::settlement_legs(lock->payer, of.host, of.lock, lock->amount, of.gross,
                                                       {of.fee, of.net});
                        },
                        [&](const ReleaseEvent& of) -> Result<core::Legs> {
                          const OpenLock* lock = open(of.lock);
                          if (lock == nullptr) return impossible(event, "its lock is not open");
                          return core::release_legs(lock->payer, of.lock, lock->amount);
                        },
                        [&](const ExpireEvent& of) -> Result<core::Legs> {
                          const OpenLock* lock = open(of.lock);
                          if (lock == nullptr) return impossible(event, "its lock is not open");
                          return core::release_legs(lock->payer, of.lock, lock->amount);
                        },
                        [&](const TransferEvent& of) -> Result<core::Legs> {
                          return core::move_legs(of.from, of.to, of.amount);
                        },
                        [&](const TopUpEvent& of) -> Result<core::Legs> {
                          return core::move_legs(core::account_external, of.wallet, of.amount);
                        },
                        [&](const GrantEvent& of) -> Result<core::Legs> {
                          return core::move_legs(core::account_external, of.wallet, of.amount);
                        },
                        [&](const PayoutEvent& of) -> Result<core::Legs> {
                          return core::move_legs(of.wallet, core::account_external, of.amount);
                        },
                        [&](const PayoutFailed& of) -> Result<core::Legs> {
                          const auto found = payouts.find(of.payout);
                          if (found == payouts.end()) return impossible(event, "its payout is unknown");
                          return core::move_legs(core::account_external, found->second.wallet,
                                                 found->second.amount);
                        },
                        [&](const auto&) -> Result<core::Legs> { return core::Legs{}; },
                    },
                    event.fields);
}

Trail Book::trail(AccountNumber account) const noexcept {
  if (account == core::account_external) return external_trail;
  const WalletState* of = wallet(account);
  return of == nullptr ? Trail{} : Trail{of->txn_count, of->last_entry};
}

void Book::move(core::EntryId id, const core::Entry& leg) {
  if (leg.account == core::account_external) {
    external.micro += leg.amount.micro;
    external_trail = {external_trail.entries + 1, id};
  } else if (leg.account == core::account_fees) {
    fees.micro += leg.amount.micro;
  } else if (WalletState* of = wallet(leg.account)) {
    of->balance.micro += leg.amount.micro;
    ++of->txn_count;
    of->last_entry = id;
  }
}

void Book::open_lock(Seq lock_seq, Instant locked_at, const SpendEvent& spend) {
  OpenLock lock{.payer = spend.wallet,
                .host = spend.host.value_or(0),
                .amount = spend.amount,
                .deadline = {},
                .job_id = spend.job_id,
                .at = locked_at,
                .job = spend.job};
  WalletState& payer = *wallet(spend.wallet);
  payer.held.micro += spend.amount.micro;
  ++payer.open_locks;
  if (spend.expires_in_s) {
    lock.deadline = Instant{locked_at.us + *spend.expires_in_s * core::us_per_second};
    payer.deadlines.emplace(lock.deadline->us, lock_seq);
  }
  locks.emplace(lock_seq, std::move(lock));
  if (!spend.under.empty()) locks_under.emplace(lock_seq, spend.under);
}

void Book::pay_part(OpenLock& lock, Money gross) {
  lock.amount.micro -= gross.micro;
  lock.paid.micro += gross.micro;
  wallet(lock.payer)->held.micro -= gross.micro;
}

void Book::close_lock(std::unordered_map<Seq, OpenLock>::iterator lock) {
  WalletState& payer = *wallet(lock->second.payer);
  payer.held.micro -= lock->second.amount.micro;
  --payer.open_locks;
  if (lock->second.deadline) payer.deadlines.erase({lock->second.deadline->us, lock->first});
  if (!locks_under.empty()) locks_under.erase(lock->first);
  locks.erase(lock);
}

void Book::end_payout(PayoutState& payout, PayoutStatus status, Seq ended) {
  payout.status = status;
  payout.ended = ended;
  paying_out.micro -= payout.amount.micro;
  wallet(payout.wallet)->paying_out.micro -= payout.amount.micro;
}

void Book::forget_approval(WalletState& owner, Instant now) {
  if (owner.approvals.size() < approvals_kept_max) return;
  const auto ended = std::find_if(owner.approvals.begin(), owner.approvals.end(),
                                  [&](Seq asked) { return !waits(approvals.at(asked), now); });
  if (ended == owner.approvals.end()) return;
  const auto found = approvals.find(*ended);
  if (const auto latest = approval_by_terms.find({owner.number, found->second.terms});
      latest != approval_by_terms.end() && latest->second == *ended)
    approval_by_terms.erase(latest);
  approvals.erase(found);
  owner.approvals.erase(ended);
}

Result<Done> Book::stand(const Event& event) {
  return std::visit(
      Cases{
          [&](const SpendEvent& of) -> Result<Done> {
            if (wallet(of.wallet) == nullptr) return impossible(event, "its wallet is unknown");
            open_lock(event.seq, event.at, of);
            return Done{};
          },
          [&](const EarnEvent& of) -> Result<Done> {
            const auto lock = locks.find(of.lock);
            if (lock == locks.end() || wallet(of.host) == nullptr)
              return impossible(event, "its lock is not open");
            if (of.before != lock->second.paid)
              return impossible(event, "others were paid otherwise out of its lock");
            if (of.more)
              pay_part(lock->second, of.gross);
            else
              close_lock(lock);
            return Done{};
          },
          [&](const ReleaseEvent& of) -> Result<Done> {
            const auto lock = locks.find(of.lock);
            if (lock == locks.end()) return impossible(event, "its lock is not open");
            close_lock(lock);
            return Done{};
          },
          [&](const ExpireEvent& of) -> Result<Done> {
            const auto lock = locks.find(of.lock);
            if (lock == locks.end()) return impossible(event, "its lock is not open");
            close_lock(lock);
            return Done{};
          },
          [&](const BurnEvent&) -> Result<Done> { return Done{}; },
          [&](const KeyBoundEvent&) -> Result<Done> { return Done{}; },
          [&](const TransferEvent&) -> Result<Done> { return Done{}; },
          [&](const TopUpEvent&) -> Result<Done> { return Done{}; },
          [&](const MarketCreated& of) -> Result<Done> {
            if (of.market.size() != 32) return impossible(event, "the market's id is not 16 bytes");
            market = of.market;
            issuer = of.issuer;
            fee_basis_points = of.fee_basis_points;
            tag = tag_of(market);
            return Done{};
          },
          [&](const WalletCreatedEvent& of) -> Result<Done> {
            if (of.wallet != next_wallet()) return impossible(event, "its wallet is not the next");
            WalletState state;
            state.number = of.wallet;
            state.created_seq = event.seq;
            state.id = WalletId::make(event.at.us, static_cast<std::uint64_t>(of.wallet), tag);
            state.owner_type = of.owner_type;
            state.owner_id = of.owner_id;
            state.parent = of.parent;
            state.policy = of.policy;
            state.created_at = event.at;
            state.whitelisted = of.by != of.wallet;
            if (!state.whitelisted) {
              if (opened_by_signature.size() == opened_by_signature_max) opened_by_signature.pop_front();
              opened_by_signature.push_back(event.at);
            }
            if (of.owner_type == OwnerType::human && core::request_signature::address_in(of.owner_id))
              wallet_by_address.emplace(of.owner_id, of.wallet);
            if (house == 0 && of.parent == 0 && of.owner_id == house_owner_id) house = of.wallet;
            if (of.parent != 0) {
              WalletState* parent = wallet(of.parent);
              if (parent == nullptr) return impossible(event, "its parent is unknown");
              parent->children.push_back(of.wallet);
            }
            wallets.push_back(std::move(state));
            return Done{};
          },
          [&](const WalletChanged& of) -> Result<Done> {
            WalletState* state = wallet(of.wallet);
            if (state == nullptr) return impossible(event, "its wallet is unknown");
            state->policy = of.policy;
            state->status = of.status;
            return Done{};
          },
          [&](const WalletWhitelisted& of) -> Result<Done> {
            WalletState* state = wallet(of.wallet);
            if (state == nullptr) return impossible(event, "its wallet is unknown");
            state->whitelisted = of.allowed;
            return Done{};
          },
          [&](const KeyIssuedEvent& of) -> Result<Done> {
            if (of.key != next_key()) return impossible(event, "its key is not the next");
            if (of.expires_in_s && (*of.expires_in_s < 1 || *of.expires_in_s > session_lasts_s))
              return impossible(event, "its end is out of range");
            keys.push_back({.id = KeyId::make(event.at.us, static_cast<std::uint64_t>(of.key), tag),
                            .wallet = of.wallet,
                            .hash = of.hash,
                            .last4 = of.last4,
                            .label = of.label,
                            .created_at = event.at,
                            .revoked_at = {},
                            .kind = of.kind,
                            .expires_at = {},
                            .delegate = of.delegate});
            if (of.expires_in_s)
              keys.back().expires_at = Instant{event.at.us + *of.expires_in_s * core::us_per_second};
            key_by_hash[of.hash] = of.key;
            if (of.delegate) key_by_delegate[*of.delegate] = of.key;
            if (WalletState* owner = wallet(of.wallet)) owner->keys.push_back(of.key);
            return Done{};
          },
          [&](const KeyRevokedEvent& of) -> Result<Done> {
            if (key(of.key) == nullptr) return impossible(event, "its key is unknown");
            keys[static_cast<std::size_t>(of.key - 1)].revoked_at = event.at;
            return Done{};
          },
          [&](const ApprovalRequested& of) -> Result<Done> {
            WalletState* state = wallet(of.wallet);
            if (state == nullptr) return impossible(event, "its wallet is unknown");
            forget_approval(*state, event.at);
            state->approvals.insert(event.seq);
            approvals[event.seq] = {
                .id = ApprovalId::make(event.at.us, static_cast<std::uint64_t>(event.seq), tag),
                .wallet = of.wallet,
                .operation = of.operation,
                .amount = of.amount,
                .job_id = of.job_id,
                .gpu_type = of.gpu_type,
                .terms = of.terms,
                .created_at = event.at,
                .expires_at = Instant{event.at.us + of.expires_in_s * core::us_per_second},
            };
            approval_by_terms[{of.wallet, of.terms}] = event.seq;
            return Done{};
          },
          [&](const ApprovalDecided& of) -> Result<Done> {
            const auto found = approvals.find(of.approval);
            if (found == approvals.end()) return impossible(event, "its approval is unknown");
            found->second.status = of.approved ? ApprovalStatus::approved : ApprovalStatus::denied;
            return Done{};
          },
          [&](const ApprovalUsed& of) -> Result<Done> {
            const auto found = approvals.find(of.approval);
            if (found == approvals.end()) return impossible(event, "its approval is unknown");
            found->second.status = ApprovalStatus::used;
            return Done{};
          },
          [&](const GrantEvent& of) -> Result<Done> {
            const WalletState* state = wallet(of.wallet);
            if (state == nullptr) return impossible(event, "its wallet is unknown");
            granted_owners.insert(state->owner_id);
            grants.push_back(event.seq);
            return Done{};
          },
          [&](const PayoutEvent& of) -> Result<Done> {
            WalletState* state = wallet(of.wallet);
            if (state == nullptr) return impossible(event, "its wallet is unknown");
            state->payouts.push_back(event.seq);
            state->paying_out.micro += of.amount.micro;
            paying_out.micro += of.amount.micro;
            payouts[event.seq] = {
                .id = PayoutId::make(event.at.us, static_cast<std::uint64_t>(event.seq), tag),
                .wallet = of.wallet,
                .amount = of.amount,
                .destination = of.destination,
                .spends = of.spends,
                .created_at = event.at};
            return Done{};
          },
          [&](const PayoutConfirmed& of) -> Result<Done> {
            const auto found = payouts.find(of.payout);
            if (found == payouts.end()) return impossible(event, "its payout is unknown");
            end_payout(found->second, PayoutStatus::confirmed, event.seq);
            return Done{};
          },
          [&](const PayoutFailed& of) -> Result<Done> {
            const auto found = payouts.find(of.payout);
            if (found == payouts.end()) return impossible(event, "its payout is unknown");
            end_payout(found->second, PayoutStatus::failed, event.seq);
            return Done{};
          },
          [&](const WaitlistJoined& of) -> Result<Done> {
            waitlist[event.seq] = {
                .id = WaitlistId::make(event.at.us, static_cast<std::uint64_t>(event.seq), tag),
                .owner_id = of.owner_id,
                .created_at = event.at};
            waitlist_by_owner[of.owner_id] = event.seq;
            return Done{};
          },
          [&](const WaitlistApprovedEvent& of) -> Result<Done> {
            const auto found = waitlist.find(of.entry);
            if (found == waitlist.end()) return impossible(event, "its entry is unknown");
            found->second.status = WaitlistStatus::approved;
            return Done{};
          },
          [&](const SigningKeyAdded& of) -> Result<Done> {
            signing_keys.push_back(of.public_key);
            return Done{};
          },
          [&](const PricesSet& of) -> Result<Done> {
            prices = of.prices;
            return Done{};
          },
          [&](const PaymentTermsSet& of) -> Result<Done> {
            const Result<PaymentTerms> kept = core::kept_terms(of.terms);
            if (!kept.ok() || *kept != of.terms) return impossible(event, "its payment terms are none");
            payment_terms = of.terms;
            return Done{};
          },
      },
      event.fields);
}

Result<Done> Book::apply(const Event& event, const core::Digest& hash) {
  if (event.seq != seq + 1) return impossible(event, "it is not the next");
  CALYX_TRY(const core::Legs moved, legs(event));
  CALYX_CHECK(stand(event));
  for (std::size_t place = 0; place < moved.count(); ++place)
    move(core::entry_id(event.seq, place), moved.all()[place]);
  seq = event.seq;
  at = event.at;
  head = hash;
  return Done{};
}

Result<Done> Book::restore(const Event& event) { return stand(event); }

Result<Done> Book::restore_entry(core::EntryId id, const core::Entry& entry) {
  const WalletState* of = wallet(entry.account);
  if (of == nullptr && entry.account != core::account_external) return Done{};
  // Rows that were edited may hold any number.
  if (!core::plus(of == nullptr ? external : of->balance, entry.amount))
    return fail(Reason::corrupt, "the entries of account " + std::to_string(entry.account) +
                                     " sum to more than 2^63 micro-FLOPS at event " +
                                     std::to_string(core::event_of(id)) + "; keep the file and run an audit");
  move(id, entry);
  return Done{};
}

Result<Done> Book::restore_lock(Seq lock_seq, Instant locked_at, const SpendEvent& spend) {
  if (wallet(spend.wallet) == nullptr)
    return fail(Reason::corrupt, "lock " + std::to_string(lock_seq) + " names a wallet that is not there");
  open_lock(lock_seq, locked_at, spend);
  return Done{};
}

Wallet Book::view(const WalletState& state, Instant now) const {
  Wallet out;
  out.id = state.id;
  out.owner_type = state.owner_type;
  out.owner_id = state.owner_id;
  if (const WalletState* parent = wallet(state.parent)) out.parent = parent->id;
  out.status = state.status;
  out.policy = state.policy;
  out.created_at = state.created_at;
  out.balance = state.balance;
  out.held = state.held;
  out.expired_pending = due(state, now);
  out.txn_count = state.txn_count;
  return out;
}

ApiKey Book::view(const KeyState& state) const {
  ApiKey out;
  out.id = state.id;
  if (const WalletState* owner = wallet(state.wallet)) out.wallet = owner->id;
  out.label = state.label;
  out.last4 = state.last4;
  out.created_at = state.created_at;
  out.revoked_at = state.revoked_at;
  out.kind = state.kind;
  out.expires_at = state.expires_at;
  return out;
}

Approval Book::view(const ApprovalState& state, Instant now) const {
  Approval out;
  out.id = state.id;
  if (const WalletState* owner = wallet(state.wallet)) out.wallet = owner->id;
  out.status = state.status;
  const bool open = state.status == ApprovalStatus::pending || state.status == ApprovalStatus::approved;
  if (open && now >= state.expires_at) out.status = ApprovalStatus::expired;
  out.operation = state.operation;
  out.amount = state.amount;
  out.job_id = state.job_id;
  out.gpu_type = state.gpu_type;
  out.created_at = state.created_at;
  out.expires_at = state.expires_at;
  return out;
}

Payout Book::view(Seq payout_seq, const PayoutState& state) const {
  Payout out;
  out.id = state.id;
  out.txn = txn_id(payout_seq, state.created_at);
  if (const WalletState* owner = wallet(state.wallet)) {
    out.wallet = owner->id;
    out.new_balance = owner->balance;
  }
  out.amount = state.amount;
  out.destination = state.destination;
  out.status = state.status;
  out.created_at = state.created_at;
  return out;
}

}  // namespace calyx::services
