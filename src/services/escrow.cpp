#include <algorithm>
#include <calyx/core/escrow.hpp>
#include <calyx/core/receipt.hpp>

#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

Error job_error(Reason reason, std::string_view job_id, std::string message) {
  return fail(reason, std::move(message), json::object({{"job_id", job_id}}));
}

/// The first field in which `asked` differs from what its `job_id` was used for; empty when none does.
std::string_view differs(const Book& book, const SpendEvent& before, const Spend& asked) {
  if (before.amount != asked.amount) return "amount";
  if (before.gpu_type != asked.gpu_type) return "gpu_type";
  const WalletState* host = book.wallet(before.host.value_or(0));
  const auto host_id = host == nullptr ? std::nullopt : std::optional<WalletId>(host->id);
  if (host_id != asked.host_wallet) return "host_wallet_id";
  if (before.expires_in_s != asked.expires_in_s) return "expires_in_s";
  return {};
}

std::string_view differs(const EarnEvent& before, AccountNumber host, const Earn& asked) {
  if (before.host != host) return "wallet_id";
  if (before.gross != asked.gross_amount) return "gross_amount";
  if (before.output_hash != asked.output_hash) return "output_hash";
  if (before.gpu_model != asked.gpu_model) return "gpu_model";
  if (before.duration_seconds != asked.duration_seconds) return "duration_seconds";
  return {};
}

Result<Done> check(const Spend& asked) {
  CALYX_CHECK(check_key_text("/job_id", asked.job_id, Empty::refused));
  CALYX_CHECK(check_amount("/amount", asked.amount));
  if (asked.gpu_type) CALYX_CHECK(check_name("/gpu_type", *asked.gpu_type, key_text_max));
  if (asked.expires_in_s && (*asked.expires_in_s < 1 || *asked.expires_in_s > expires_in_s_max))
    return field_error(
        Reason::field_value, "/expires_in_s",
        "is " + std::to_string(*asked.expires_in_s) + ", takes 1 to " + std::to_string(expires_in_s_max));
  return Done{};
}

Result<Done> check(const Earn& asked) {
  CALYX_CHECK(check_key_text("/job_id", asked.job_id, Empty::refused));
  if (asked.gross_amount.micro != 0) CALYX_CHECK(check_amount("/gross_amount", asked.gross_amount));
  CALYX_CHECK(check_name("/gpu_model", asked.gpu_model, key_text_max));
  if (asked.duration_seconds < 0 || asked.duration_seconds > integer_max)
    return field_error(
        Reason::field_value, "/duration_seconds",
        "is " + std::to_string(asked.duration_seconds) + ", takes 0 to " + std::to_string(integer_max));
  return Done{};
}

/// What an approval of `asked` is for.
std::string terms_of(const Spend& asked) {
  json::Object terms;
  terms.set("operation", "spend").set("job_id", asked.job_id).set("amount", core::money_text(asked.amount));
  if (asked.gpu_type) terms.set("gpu_type", *asked.gpu_type);
  if (asked.host_wallet) terms.set("host_wallet_id", asked.host_wallet->text());
  if (asked.expires_in_s) terms.set("expires_in_s", *asked.expires_in_s);
  return json::canonical(json::Value(std::move(terms)));
}

/// A lock, open or ended, as one who wants to end it finds it.
struct Found {
  Seq seq = 0;
  AccountNumber payer = 0;
  bool burned = false;   ///< By a release that came first: no host, no money, no end.
  std::int64_t job = 0;  ///< The job whose budget it is.
  std::optional<AccountNumber> host;
  Instant locked_at;
  core::LockFacts facts;
  std::optional<Event> end;
};

/// A job's budget is settled by the job's end alone: whoever took it earlier would leave workers unpaid.
Error job_escrow(std::string_view job_id) {
  return job_error(Reason::job_escrow, job_id, "the escrow is a job's budget: cancel the job to end it");
}

Result<Found> look_up(Transaction& tx, AccountNumber payer, Seq seq) {
  Found found{.seq = seq, .payer = payer};
  if (const auto open = tx.book().locks.find(seq); open != tx.book().locks.end()) {
    const OpenLock& lock = open->second;
    if (lock.host != 0) found.host = lock.host;
    found.job = lock.job;
    found.locked_at = lock.at;
    found.facts = {.locked = lock.amount, .deadline = lock.deadline};
    return found;
  }
  CALYX_TRY(Event event, event_at(tx.store(), seq));
  found.locked_at = event.at;
  const auto* spend = std::get_if<SpendEvent>(&event.fields);
  found.burned = spend == nullptr;
  if (found.burned) return found;
  found.host = spend->host;
  found.job = spend->job;
  found.facts.locked = spend->amount;
  if (spend->expires_in_s)
    found.facts.deadline = Instant{event.at.us + *spend->expires_in_s * core::us_per_second};
  CALYX_TRY(const std::optional<Seq> end, tx.store().find_resolution(seq));
  if (!end)
    return fail(Reason::corrupt, "lock " + std::to_string(seq) + " is neither open nor ended; run an audit");
  CALYX_TRY(found.end, event_at(tx.store(), *end));
  found.facts.state = std::holds_alternative<EarnEvent>(found.end->fields)      ? core::LockState::settled
                      : std::holds_alternative<ReleaseEvent>(found.end->fields) ? core::LockState::released
                                                                                : core::LockState::expired;
  return found;
}

/// The settlement that `asked` repeats although other payers have used the job id since: there was nothing to
/// tell apart when it was first asked. Null when no one candidate is it.
const Found* settled_alone(const std::vector<Found>& candidates, AccountNumber host, const Earn& asked) {
  const Found* found = nullptr;
  for (const Found& one : candidates) {
    const auto* earn = one.end ? std::get_if<EarnEvent>(&one.end->fields) : nullptr;
    if (earn == nullptr || !differs(*earn, host, asked).empty()) continue;
    if (found != nullptr) return nullptr;
    found = &one;
  }
  if (found == nullptr) return nullptr;
  const bool first = std::all_of(candidates.begin(), candidates.end(), [&](const Found& other) {
    return &other == found || other.seq > found->end->seq;
  });
  return first ? found : nullptr;
}

Error ended(Reason reason, std::string_view job_id, const core::LockFacts& facts) {
  switch (reason) {
    case Reason::already_settled: return job_error(reason, job_id, "the job was settled before");
    case Reason::escrow_released: return job_error(reason, job_id, "the job's escrow was released before");
    case Reason::escrow_expired: {
      Error error = expired(reason, "the job's escrow", facts.deadline.value_or(Instant{}));
      error.details.object()->set("job_id", job_id);
      return error;
    }
    default: return job_error(reason, job_id, std::string(word(reason)));
  }
}

}  // namespace

Result<Spent> spend(Transaction& tx, const Principal& principal, const Spend& asked,
                    const Policy* narrowing) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal, For::derived_keys));
  CALYX_TRY(const WalletState* wallet, spendable(tx.book(), caller, asked.wallet));
  CALYX_CHECK(check(asked));
  const WalletState* host = nullptr;
  if (asked.host_wallet) {
    host = tx.book().find(*asked.host_wallet);
    if (host == nullptr)
      return fail(Reason::wallet_unknown, "no wallet " + asked.host_wallet->text(),
                  json::object({{"field", "/host_wallet_id"}}));
  }

  CALYX_TRY(const std::optional<Seq> before, tx.store().find_lock(asked.job_id, wallet->number));
  if (before) {
    CALYX_TRY(const Event event, event_at(tx.store(), *before));
    const auto* first = std::get_if<SpendEvent>(&event.fields);
    if (first == nullptr)
      return job_error(Reason::job_burned, asked.job_id, "the job id was burned by a release");
    if (const std::string_view field = differs(tx.book(), *first, asked); !field.empty())
      return field == "amount" ? reused(Reason::job_id_reused, field, first->amount, asked.amount)
                               : reused(Reason::job_id_reused, field);
    return Spent{tx.book().txn_id(event.seq, event.at), asked.job_id, first->amount, {}, true};
  }

  SpendsOn on;
  if (asked.host_wallet) on.payees = {&*asked.host_wallet, 1};
  CALYX_CHECK(check_limits(caller, on, tx.now()));
  CALYX_CHECK(pass_policy(tx, {.wallet = wallet,
                               .operation = "spend",
                               .amount = asked.amount,
                               .job_id = asked.job_id,
                               .gpu_type = asked.gpu_type,
                               .judges_gpu = true,
                               .narrowing = narrowing,
                               .blocks = caller.blocks,
                               .terms = [&] { return terms_of(asked); }}));
  SpendEvent fields{.wallet = wallet->number,
                    .job_id = asked.job_id,
                    .amount = asked.amount,
                    .gpu_type = asked.gpu_type,
                    .expires_in_s = asked.expires_in_s,
                    .job = 0,
                    .under = ids_of(caller.blocks)};
  if (host != nullptr) fields.host = host->number;
  CALYX_TRY(const Placed event, tx.append(std::move(fields)));
  return Spent{tx.book().txn_id(event.seq, event.at), asked.job_id, asked.amount, wallet->balance};
}

Result<Earned> earn(Transaction& tx, const Principal& principal, const Earn& asked) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const WalletState* host, spendable(book, caller, asked.host));
  CALYX_CHECK(check(asked));

  // The job is one of the locks of that id: one that names this host or, for the operator, none.
  std::vector<store::LockRow> rows;
  if (asked.payer_wallet) {
    // A job id that thousands of payers used is still this one's own.
    if (const WalletState* payer = book.find(*asked.payer_wallet)) {
      CALYX_TRY(const std::optional<Seq> seq, tx.store().find_lock(asked.job_id, payer->number));
      if (seq) rows.push_back({.payer = payer->number, .seq = *seq});
    }
  } else {
    CALYX_TRY(rows, tx.store().find_locks(asked.job_id));
  }
  std::vector<Found> candidates;
  std::size_t locks = 0, burned = 0;
  for (const store::LockRow& row : rows) {
    if (book.wallet(row.payer) == nullptr)
      return fail(Reason::corrupt, "a lock names a payer that is not there; run an audit");
    CALYX_TRY(Found one, look_up(tx, row.payer, row.seq));
    if (one.burned) {
      ++burned;
      continue;
    }
    ++locks;
    if (one.job != 0) return job_escrow(asked.job_id);
    const bool mine = one.host ? *one.host == host->number : caller.is_operator();
    if (!mine) continue;
    candidates.push_back(std::move(one));
  }
  if (locks == 0 && burned != 0)
    return job_error(Reason::job_burned, asked.job_id, "the job id was burned by a release");
  if (locks == 0) return job_error(Reason::job_unknown, asked.job_id, "no escrow for job " + asked.job_id);
  if (candidates.empty())
    return job_error(Reason::not_the_host, asked.job_id, "the escrow is not for this wallet to earn");
  const Found* found =
      candidates.size() == 1 ? &candidates.front() : settled_alone(candidates, host->number, asked);
  if (found == nullptr)
    return job_error(Reason::job_ambiguous, asked.job_id,
                     std::to_string(candidates.size()) + " payers used this job id; name payer_wallet_id");

  const core::LockFacts& facts = found->facts;
  if (facts.state == core::LockState::settled) {
    const auto& before = std::get<EarnEvent>(found->end->fields);
    if (const std::string_view field = differs(before, host->number, asked); !field.empty())
      return field == "gross_amount"
                 ? reused(Reason::already_settled, field, before.gross, asked.gross_amount)
             : field == "wallet_id" ? reused(Reason::already_settled, field, book, before.host, host->number)
                                    : reused(Reason::already_settled, field);
    return Earned{book.txn_id(found->end->seq, found->end->at), before.gross, before.fee, before.net, {},
                  book.receipt_id(before.leaf, found->end->at), true};
  }
  if (const Reason reason = core::judge_settlement(facts, asked.gross_amount, tx.now());
      reason != Reason::none) {
    if (reason != Reason::gross_above_locked) return ended(reason, asked.job_id, facts);
    return fail(reason, "gross " + say(asked.gross_amount) + " FLOPS, locked " + say(facts.locked),
                json::object({{"field", "/gross_amount"},
                              {"needed", number(asked.gross_amount)},
                              {"limit", number(facts.locked)},
                              {"shortfall", number(Money{asked.gross_amount.micro - facts.locked.micro})}}));
  }
  const core::FeeSplit split = core::split_fee(asked.gross_amount, book.fee_basis_points);
  CALYX_CHECK(check_room(*host, split.net));
  if (!tx.seams().can_sign)
    return fail(Reason::keys_missing,
                "no signing key of the market is here to sign the receipt: put the key file back");

  CALYX_CHECK(sweep(tx, *book.wallet(found->payer)));
  const EarnEvent fields{.lock = found->seq,
                         .host = host->number,
                         .gross = asked.gross_amount,
                         .fee = split.fee,
                         .net = split.net,
                         .output_hash = asked.output_hash,
                         .gpu_model = asked.gpu_model,
                         .duration_seconds = asked.duration_seconds,
                         .leaf = tx.next_leaf()};
  CALYX_TRY(const Placed event, tx.append(fields));
  if (split.net.micro == 0 && host->number != found->payer)
    CALYX_CHECK(tx.store().append_zero_earning(host->number, event.seq));

  const TxnId txn = book.txn_id(event.seq, event.at);
  const ReceiptId receipt = book.receipt_id(fields.leaf, event.at);
  tx.add_receipt({.leaf = fields.leaf,
                  .seq = event.seq,
                  .fields = {.id = receipt,
                             .issuer = book.issuer,
                             .issued_at = event.at,
                             .payer_wallet = book.wallet(found->payer)->id,
                             .host_wallet = host->id,
                             .duration_seconds = asked.duration_seconds,
                             .output_hash = asked.output_hash,
                             .gross = asked.gross_amount,
                             .platform_fee = split.fee,
                             .net = split.net,
                             .fee_basis_points = book.fee_basis_points,
                             .reference = txn,
                             .seq = static_cast<std::uint64_t>(event.seq),
                             .head = book.head},
                  .job_id = asked.job_id,
                  .gpu_model = asked.gpu_model});
  return Earned{txn, asked.gross_amount, split.fee, split.net, host->balance, receipt};
}

Result<Released> release(Transaction& tx, const Principal& principal, const Release& asked) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal, For::derived_keys));
  CALYX_TRY(const WalletState* wallet, spendable(book, caller, asked.wallet));
  CALYX_CHECK(check_key_text("/job_id", asked.job_id, Empty::refused));

  CALYX_TRY(const std::optional<Seq> seq, tx.store().find_lock(asked.job_id, wallet->number));
  if (!seq) {
    CALYX_CHECK(may_end(book, caller, 0, tx.now()));
    CALYX_CHECK(sweep(tx, *wallet));
    CALYX_TRY(const Placed event, tx.append(BurnEvent{.wallet = wallet->number, .job_id = asked.job_id}));
    return Released{book.txn_id(event.seq, event.at), asked.job_id, Money{}, wallet->balance, true};
  }
  CALYX_TRY(const Found found, look_up(tx, wallet->number, *seq));
  if (found.job != 0) return job_escrow(asked.job_id);
  if (found.burned ||
      found.facts.state == core::LockState::released) {  // done before: the first answer again
    const Seq first = found.burned ? found.seq : found.end->seq;
    const Instant at = found.burned ? found.locked_at : found.end->at;
    return Released{book.txn_id(first, at), asked.job_id, found.facts.locked, {}, found.burned, true};
  }
  if (const Reason reason = core::judge_release(found.facts, tx.now()); reason != Reason::none)
    return ended(reason, asked.job_id, found.facts);
  CALYX_CHECK(may_end(book, caller, *seq, tx.now()));
  CALYX_CHECK(sweep(tx, *wallet));
  CALYX_TRY(const Placed event, tx.append(ReleaseEvent{.lock = *seq}));
  return Released{book.txn_id(event.seq, event.at), asked.job_id, found.facts.locked, wallet->balance};
}

}  // namespace calyx::services
