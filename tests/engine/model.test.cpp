/// A second market, written from the documents in plain maps and loops, asked the same questions as the
/// engine: every answer must be the same, and at the end every wallet too.
///
/// CALYX_TEST_SEED=<n> runs one seed again, as a failure prints it; CALYX_TEST_SCALE=small runs fewer.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/calyx.hpp>
#include <calyx/core/fee.hpp>
#include <calyx/core/money.hpp>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "testing.hpp"

using namespace calyx;

namespace {

using Micro = std::int64_t;
using Us = std::int64_t;
constexpr Us second = 1'000'000;
constexpr Us hour = 3600 * second;
constexpr Micro amount_max = 8'000'000'000'000'000;
constexpr Micro supply_max = (Micro{1} << 62) - 1;

enum class Op : std::uint8_t {
  spend,
  earn,
  release,
  topup,
  transfer,
  create_wallet,
  change_wallet,
  issue_key,
  revoke_key,
  rotate_key,
  approve,
  deny,
  request_payout,
  confirm_payout,
  fail_payout,
  grant,
  join_waitlist,
  approve_waitlist,
  too_many,
  count
};
constexpr const char* op_words[] = {
    "spend",     "earn",       "release",       "topup",        "transfer", "create_wallet",  "change_wallet",
    "issue_key", "revoke_key", "rotate_key",    "approve",      "deny",     "request_payout", "confirm",
    "fail",      "grant",      "join_waitlist", "approve_wait", "too_many"};
constexpr std::size_t ops = static_cast<std::size_t>(Op::count);
static_assert(std::size(op_words) == ops);

/// Every reason that a service may give. A reason that a service learns is added here, or nothing asks for
/// it.
constexpr Reason reasons_of_services[] = {
    Reason::field_value,        Reason::amount_out_of_range,  Reason::amount_negative,
    Reason::amount_zero,        Reason::balance_out_of_range, Reason::supply_out_of_range,
    Reason::gross_above_locked, Reason::agent_needs_parent,   Reason::parent_not_human,
    Reason::human_has_parent,   Reason::same_wallet,          Reason::too_many_operations,
    Reason::wallet_not_empty,   Reason::unauthorized,         Reason::insufficient_balance,
    Reason::not_your_wallet,    Reason::operator_only,        Reason::human_only,
    Reason::not_the_host,       Reason::wallet_not_active,    Reason::gpu_not_allowed,
    Reason::spend_cap_per_job,  Reason::spend_cap_per_hour,   Reason::approval_required,
    Reason::wallet_unknown,     Reason::job_unknown,          Reason::approval_unknown,
    Reason::key_unknown,        Reason::payout_unknown,       Reason::waitlist_unknown,
    Reason::job_id_reused,      Reason::already_settled,      Reason::escrow_released,
    Reason::job_burned,         Reason::job_ambiguous,        Reason::key_reused,
    Reason::approval_decided,   Reason::payout_decided,       Reason::grant_taken,
    Reason::grants_exhausted,   Reason::waitlist_decided,     Reason::escrow_expired,
    Reason::approval_expired};

constexpr int nobody = -1;    // absent
constexpr int stranger = -2;  // an id that the market never gave

struct Rules {
  std::optional<Micro> per_job, per_hour, threshold;
  std::optional<std::vector<std::string>> gpus;
  bool operator==(const Rules&) const = default;
};

/// One question, in numbers: wallets, keys, approvals, … by the order in which they were made.
struct Ask {
  Op op = Op::spend;
  int actor = nobody;  ///< The key that asks; nobody: the operator in process.
  int wallet = nobody, other = nobody;
  std::string text, once, gpu_model;
  Micro amount = 0;
  std::optional<std::string> gpu;
  std::optional<std::int64_t> expires_in_s;
  std::uint8_t hash = 0;
  std::int64_t seconds = 0;
  OwnerType type = OwnerType::human;
  Rules rules;
  std::array<bool, 4> set_rule{};
  std::optional<WalletStatus> status;
  int number = 0;
};

/// An answer, as far as it can be compared.
struct Told {
  Reason reason = Reason::none;
  Micro amount = 0, fee = 0, net = 0, balance = 0;
  bool replayed = false, burned = false;
  std::int64_t left = 0;
  std::string word;                   ///< A status, or the room that a refusal tells.
  std::string id;                     ///< The engine's.
  std::shared_ptr<std::string> slot;  ///< The model's: where the id of the first answer is kept.
};

bool same(const Told& a, const Told& b) {
  return a.reason == b.reason && a.amount == b.amount && a.fee == b.fee && a.net == b.net &&
         a.balance == b.balance && a.replayed == b.replayed && a.burned == b.burned && a.left == b.left &&
         a.word == b.word;
}

std::string show(const Told& of) {
  return std::string(word(of.reason)) + " amount " + std::to_string(of.amount) + " fee " +
         std::to_string(of.fee) + " net " + std::to_string(of.net) + " balance " +
         std::to_string(of.balance) + (of.replayed ? " replayed" : "") + (of.burned ? " burned" : "") +
         " left " + std::to_string(of.left) + " '" + of.word + "' " + of.id;
}

std::string show(const Ask& of) {
  return std::string(op_words[static_cast<std::size_t>(of.op)]) + " by key " + std::to_string(of.actor) +
         " wallet " + std::to_string(of.wallet) + " other " + std::to_string(of.other) + " '" + of.text +
         "' once '" + of.once + "' amount " + std::to_string(of.amount) + " gpu " + of.gpu.value_or("-") +
         " expires " + std::to_string(of.expires_in_s.value_or(0)) + " number " + std::to_string(of.number);
}

// ── the model ──

enum class End : std::uint8_t { open, settled, released, expired, burned };

struct Job {
  int payer = 0;
  std::string id;
  End end = End::open;
  Micro amount = 0;
  std::optional<std::string> gpu;
  int host = nobody;
  std::optional<std::int64_t> expires_in_s;
  std::optional<Us> deadline;
  Told spent, ended;  ///< The first answers.
  Ask settled_as;
  std::shared_ptr<Micro> out;
};

struct Outflow {
  Us at;
  std::shared_ptr<Micro> amount;
};

struct ModelWallet {
  OwnerType type = OwnerType::human;
  std::string owner;
  int parent = nobody;
  WalletStatus status = WalletStatus::active;
  Rules rules;
  Micro balance = 0, held = 0;
  std::uint64_t entries = 0;
  std::vector<int> children;
  std::deque<Outflow> outflows;
  std::vector<Job*> timed;  ///< Its jobs with a deadline that were open when last looked at.
  int first_key = 0;
};

struct ModelKey {
  int wallet = nobody;  ///< nobody: an operator's.
  bool revoked = false;
  std::string label;
};

struct ModelApproval {
  int wallet = 0;
  ApprovalStatus status = ApprovalStatus::pending;
  Us expires = 0;
  std::shared_ptr<std::string> slot = std::make_shared<std::string>();
};

struct ModelPayout {
  int wallet = 0;
  Micro amount = 0;
  PayoutStatus status = PayoutStatus::pending;
  std::shared_ptr<Micro> out;
  std::shared_ptr<std::string> slot;
};

struct ModelEntry {
  std::string owner;
  bool approved = false;
  std::shared_ptr<std::string> slot = std::make_shared<std::string>();
};

/// What a key or reference was used for, and what was answered.
struct Used {
  Ask ask;
  int wallet = nobody;
  Told first;
};

bool good_key_text(const std::string& text) {
  return text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

class Model {
 public:
  Us clock = 0;  ///< What the host's clock says.
  std::vector<ModelWallet> wallets;
  std::vector<ModelKey> keys;
  std::vector<ModelApproval> approvals;
  std::vector<ModelPayout> payouts;
  std::vector<ModelEntry> waitlist;
  std::deque<Job> jobs;
  std::map<std::string, std::vector<Job*>> jobs_by_id;
  Micro fees = 0, outside = 0;  ///< `outside`: what came in and was not paid out.
  std::set<std::string> granted;

  Us now() const { return std::max(clock, last_at_); }

  Told run(const Ask& ask) {
    if (ask.actor != nobody && keys[static_cast<std::size_t>(ask.actor)].revoked)
      return no(Reason::unauthorized);
    const int of = ask.actor == nobody ? nobody : keys[static_cast<std::size_t>(ask.actor)].wallet;
    is_operator_ = of == nobody;
    me_ = of;
    is_human_ = !is_operator_ && at(of).type == OwnerType::human;
    switch (ask.op) {
      case Op::spend: return spend(ask);
      case Op::earn: return earn(ask);
      case Op::release: return release(ask);
      case Op::topup: return topup(ask);
      case Op::transfer: return transfer(ask);
      case Op::create_wallet: return create_wallet(ask);
      case Op::change_wallet: return change_wallet(ask);
      case Op::issue_key: return issue_key(ask);
      case Op::revoke_key: return revoke_key(ask);
      case Op::rotate_key: return rotate_key(ask);
      case Op::approve: return decide(ask, true);
      case Op::deny: return decide(ask, false);
      case Op::request_payout: return request_payout(ask);
      case Op::confirm_payout: return finish_payout(ask, PayoutStatus::confirmed);
      case Op::fail_payout: return finish_payout(ask, PayoutStatus::failed);
      case Op::grant: return grant(ask);
      case Op::join_waitlist: return join_waitlist(ask);
      case Op::approve_waitlist: return approve_waitlist(ask);
      case Op::too_many:
      case Op::count: break;
    }
    return no(Reason::too_many_operations);
  }

  ModelWallet& at(int wallet) { return wallets[static_cast<std::size_t>(wallet)]; }

  Micro due(int wallet) {
    Micro sum = 0;
    for (const Job* job : at(wallet).timed)
      if (job->end == End::open && now() >= *job->deadline) sum += job->amount;
    return sum;
  }

  /// What the wallet and its children sent out in the last hour.
  Micro spent(int wallet) {
    Micro sum = 0;
    const auto add = [&](int of) {
      std::deque<Outflow>& all = at(of).outflows;
      // The model's own clock never goes back, so what is too old now stays so.
      while (!all.empty() && all.front().at <= last_at_ - hour) all.pop_front();
      for (const Outflow& one : all)
        if (one.at > now() - hour) sum += *one.amount;
    };
    add(wallet);
    for (const int child : at(wallet).children) add(child);
    return sum;
  }

 private:
  static Told no(Reason reason) { return Told{.reason = reason}; }
  static std::shared_ptr<std::string> fresh() { return std::make_shared<std::string>(); }
  void wrote() { last_at_ = now(); }

  // Who may do what.
  Reason may_read(int wallet) {
    if (wallet < 0) return Reason::wallet_unknown;
    if (is_operator_ || wallet == me_) return Reason::none;
    if (is_human_ && at(wallet).parent == me_) return Reason::none;
    return Reason::not_your_wallet;
  }
  Reason may_spend(int wallet) {
    if (wallet < 0) return Reason::wallet_unknown;
    return is_operator_ || wallet == me_ ? Reason::none : Reason::not_your_wallet;
  }
  Reason may_manage(int wallet, bool own_too) {
    if (const Reason reason = may_read(wallet); reason != Reason::none) return reason;
    if (is_operator_) return Reason::none;
    if (!is_human_) return Reason::human_only;
    return wallet == me_ && !own_too ? Reason::operator_only : Reason::none;
  }

  static Reason bad_amount(Micro amount) {
    if (amount == 0) return Reason::amount_zero;
    if (amount < 0) return Reason::amount_negative;
    return amount > amount_max ? Reason::amount_out_of_range : Reason::none;
  }
  static Reason bad_key(const std::string& text, bool may_be_empty) {
    if (text.empty()) return may_be_empty ? Reason::none : Reason::field_value;
    return good_key_text(text) ? Reason::none : Reason::field_value;
  }
  static Reason bad_name(const std::string& text, std::size_t most, bool may_be_empty = false) {
    if (text.empty()) return may_be_empty ? Reason::none : Reason::field_value;
    const bool control = std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < 0x20; });
    return control || text.size() > most ? Reason::field_value : Reason::none;
  }
  static Reason bad_rules(const Rules& rules) {
    for (const std::optional<Micro>& rule : {rules.per_job, rules.per_hour, rules.threshold}) {
      if (!rule) continue;
      if (*rule < 0) return Reason::amount_negative;
      if (*rule > amount_max) return Reason::amount_out_of_range;
    }
    if (!rules.gpus) return Reason::none;
    const std::set<std::string> different(rules.gpus->begin(), rules.gpus->end());
    return different.size() == rules.gpus->size() ? Reason::none : Reason::field_value;
  }
  static Reason first_of(std::initializer_list<Reason> all) {
    for (const Reason reason : all)
      if (reason != Reason::none) return reason;
    return Reason::none;
  }

  // Money.
  void entry(int wallet, Micro amount) {
    if (amount == 0) return;
    at(wallet).balance += amount;
    ++at(wallet).entries;
  }
  void sweep(int wallet) {
    auto& timed = at(wallet).timed;
    for (Job* job : timed)
      if (job->end == End::open && now() >= *job->deadline) {
        job->end = End::expired;
        *job->out = 0;
        at(wallet).held -= job->amount;
        entry(wallet, job->amount);
        wrote();
      }
    timed.erase(std::remove_if(timed.begin(), timed.end(), [](Job* job) { return job->end != End::open; }),
                timed.end());
  }
  Reason no_room(int wallet, Micro amount) {
    if (at(wallet).status == WalletStatus::closed) return Reason::wallet_not_active;
    const Micro holds = at(wallet).balance + at(wallet).held;
    return holds > amount_max - amount ? Reason::balance_out_of_range : Reason::none;
  }

  /// Whether `ask` may go out of `wallet` under its rules; sweeps and uses the approval when it may.
  Told pass(const Ask& ask, int wallet, const std::string& terms, bool rents_gpu) {
    std::vector<int> both = {wallet};
    if (at(wallet).parent != nobody) both.push_back(at(wallet).parent);
    for (const int of : both)
      if (at(of).status != WalletStatus::active) return no(Reason::wallet_not_active);
    for (const int of : both)
      if (const auto& list = at(of).rules.gpus; rents_gpu && list) {
        const bool named = ask.gpu && std::find(list->begin(), list->end(), *ask.gpu) != list->end();
        if (!named) return no(Reason::gpu_not_allowed);
      }
    for (const int of : both)
      if (const auto& cap = at(of).rules.per_job; cap && ask.amount > *cap)
        return {.reason = Reason::spend_cap_per_job, .word = core::wire_text(Money{*cap})};
    for (const int of : both)
      if (const auto& cap = at(of).rules.per_hour) {
        const Micro gone = spent(of);
        if (gone + ask.amount > *cap)
          return {.reason = Reason::spend_cap_per_hour,
                  .word = core::wire_text(Money{std::max<Micro>(0, *cap - gone)})};
      }
    bool asks = false;
    for (const int of : both)
      if (const auto& threshold = at(of).rules.threshold; threshold && ask.amount > *threshold) asks = true;
    int approval = nobody;
    if (asks) {
      if (const auto found = approval_for_.find({wallet, terms}); found != approval_for_.end()) {
        const ModelApproval& one = approvals[static_cast<std::size_t>(found->second)];
        const bool denied = one.status == ApprovalStatus::denied;
        const bool over = one.status == ApprovalStatus::used || now() >= one.expires;
        if (denied || !over) approval = found->second;
      }
      if (approval == nobody) {
        approval = static_cast<int>(approvals.size());
        approvals.push_back({.wallet = wallet, .expires = now() + 24 * hour});
        approval_for_[{wallet, terms}] = approval;
        wrote();
      }
      const ModelApproval& one = approvals[static_cast<std::size_t>(approval)];
      if (one.status != ApprovalStatus::approved)
        return {.reason = Reason::approval_required, .word = std::string(word(one.status)), .slot = one.slot};
    }
    if (at(wallet).balance + due(wallet) < ask.amount)
      return {.reason = Reason::insufficient_balance,
              .word = core::wire_text(Money{at(wallet).balance + due(wallet)})};
    if (approval != nobody) {
      approvals[static_cast<std::size_t>(approval)].status = ApprovalStatus::used;
      wrote();
    }
    sweep(wallet);
    return {};
  }
  Told pass_balance(int wallet, Micro amount) {
    if (at(wallet).balance + due(wallet) < amount)
      return {.reason = Reason::insufficient_balance,
              .word = core::wire_text(Money{at(wallet).balance + due(wallet)})};
    sweep(wallet);
    return {};
  }
  std::shared_ptr<Micro> send_out(int wallet, Micro amount) {
    auto held = std::make_shared<Micro>(amount);
    at(wallet).outflows.push_back({now(), held});
    return held;
  }

  Job* job_of(int payer, const std::string& id) {
    if (const auto found = jobs_by_id.find(id); found != jobs_by_id.end())
      for (Job* job : found->second)
        if (job->payer == payer) return job;
    return nullptr;
  }
  Job& add_job(int payer, const std::string& id) {
    Job& job = jobs.emplace_back();
    job.payer = payer;
    job.id = id;
    jobs_by_id[id].push_back(&job);
    return job;
  }
  static Told again(Told first) {
    first.replayed = true;
    return first;
  }

  Told spend(const Ask& ask) {
    if (const Reason reason =
            first_of({may_spend(ask.wallet), bad_key(ask.text, false), bad_amount(ask.amount),
                      ask.gpu ? bad_name(*ask.gpu, 128) : Reason::none});
        reason != Reason::none)
      return no(reason);
    if (ask.expires_in_s && (*ask.expires_in_s < 1 || *ask.expires_in_s > 31'536'000))
      return no(Reason::field_value);
    if (ask.other == stranger) return no(Reason::wallet_unknown);
    if (const Job* before = job_of(ask.wallet, ask.text)) {
      if (before->end == End::burned) return no(Reason::job_burned);
      const bool equal = before->amount == ask.amount && before->gpu == ask.gpu &&
                         before->host == ask.other && before->expires_in_s == ask.expires_in_s;
      return equal ? again(before->spent) : no(Reason::job_id_reused);
    }
    const std::string terms = "spend " + ask.text + " " + std::to_string(ask.amount) + " " +
                              ask.gpu.value_or("\n") + " " + std::to_string(ask.other) + " " +
                              std::to_string(ask.expires_in_s.value_or(0));
    if (Told told = pass(ask, ask.wallet, terms, true); told.reason != Reason::none) return told;
    Job& job = add_job(ask.wallet, ask.text);
    job.amount = ask.amount;
    job.gpu = ask.gpu;
    job.host = ask.other;
    job.expires_in_s = ask.expires_in_s;
    if (ask.expires_in_s) {
      job.deadline = now() + *ask.expires_in_s * second;
      at(ask.wallet).timed.push_back(&job);
    }
    job.out = send_out(ask.wallet, ask.amount);
    entry(ask.wallet, -ask.amount);
    at(ask.wallet).held += ask.amount;
    wrote();
    job.spent = {.amount = ask.amount, .balance = at(ask.wallet).balance, .slot = fresh()};
    return job.spent;
  }

  Told earn(const Ask& ask) {
    if (const Reason reason = first_of(
            {may_spend(ask.wallet), bad_key(ask.text, false),
             ask.amount == 0 ? Reason::none : bad_amount(ask.amount), bad_name(ask.gpu_model, 128),
             ask.seconds < 0 || ask.seconds > 9007199254740991 ? Reason::field_value : Reason::none});
        reason != Reason::none)
      return no(reason);
    std::vector<Job*> locks, mine;
    bool burned = false;
    if (const auto found = jobs_by_id.find(ask.text); found != jobs_by_id.end())
      for (Job* job : found->second) {
        if (ask.other != nobody && job->payer != ask.other) continue;
        if (job->end == End::burned) {
          burned = true;
          continue;
        }
        locks.push_back(job);
        if (job->host == ask.wallet || (job->host == nobody && is_operator_)) mine.push_back(job);
      }
    if (locks.empty()) return no(burned ? Reason::job_burned : Reason::job_unknown);
    if (mine.empty()) return no(Reason::not_the_host);
    if (mine.size() > 1) return no(Reason::job_ambiguous);
    Job& job = *mine.front();
    if (job.end == End::settled) {
      const Ask& before = job.settled_as;
      const bool equal = before.wallet == ask.wallet && before.amount == ask.amount &&
                         before.hash == ask.hash && before.gpu_model == ask.gpu_model &&
                         before.seconds == ask.seconds;
      return equal ? again(job.ended) : no(Reason::already_settled);
    }
    if (job.end == End::released) return no(Reason::escrow_released);
    if (job.end == End::expired || (job.deadline && now() >= *job.deadline))
      return no(Reason::escrow_expired);
    if (ask.amount > job.amount) return no(Reason::gross_above_locked);
    // 15 % half-even, in whole micros: 3/20 of the amount.
    const Micro thrice = ask.amount * 3;
    Micro fee = thrice / 20;
    if (thrice % 20 > 10 || (thrice % 20 == 10 && fee % 2 == 1)) ++fee;
    const Micro net = ask.amount - fee;
    if (const Reason reason = no_room(ask.wallet, net); reason != Reason::none) return no(reason);
    sweep(job.payer);
    job.end = End::settled;
    *job.out = ask.amount;
    at(job.payer).held -= job.amount;
    fees += fee;
    const Micro rest = job.amount - ask.amount;
    if (ask.wallet == job.payer) {
      entry(ask.wallet, net + rest);
    } else {
      entry(ask.wallet, net);
      entry(job.payer, rest);
    }
    wrote();
    job.settled_as = ask;
    job.ended = {
        .amount = ask.amount, .fee = fee, .net = net, .balance = at(ask.wallet).balance, .slot = fresh()};
    return job.ended;
  }

  Told release(const Ask& ask) {
    if (const Reason reason = first_of({may_spend(ask.wallet), bad_key(ask.text, false)});
        reason != Reason::none)
      return no(reason);
    Job* job = job_of(ask.wallet, ask.text);
    if (job == nullptr) {
      sweep(ask.wallet);
      Job& burned = add_job(ask.wallet, ask.text);
      burned.end = End::burned;
      wrote();
      burned.ended = {.balance = at(ask.wallet).balance, .burned = true, .slot = fresh()};
      return burned.ended;
    }
    if (job->end == End::burned || job->end == End::released) return again(job->ended);
    if (job->end == End::settled) return no(Reason::already_settled);
    if (job->end == End::expired || (job->deadline && now() >= *job->deadline))
      return no(Reason::escrow_expired);
    sweep(ask.wallet);
    job->end = End::released;
    *job->out = 0;
    at(ask.wallet).held -= job->amount;
    entry(ask.wallet, job->amount);
    wrote();
    job->ended = {.amount = job->amount, .balance = at(ask.wallet).balance, .slot = fresh()};
    return job->ended;
  }

  const Used* used(const std::string& once) const {
    if (once.empty()) return nullptr;
    const auto found = once_.find({me_, once});
    return found == once_.end() ? nullptr : &found->second;
  }
  void keep(const Ask& ask, const Told& first) {
    if (!ask.once.empty()) once_[{me_, ask.once}] = {ask, ask.wallet, first};
  }

  Told topup(const Ask& ask) {
    if (const Reason reason =
            first_of({may_read(ask.wallet), is_operator_ ? Reason::none : Reason::operator_only,
                      bad_amount(ask.amount), bad_key(ask.text, true), bad_key(ask.once, true)});
        reason != Reason::none)
      return no(reason);
    const Used* before = used(ask.once);
    if (before == nullptr && !ask.text.empty())
      if (const auto found = references_.find({ask.wallet, ask.text}); found != references_.end())
        before = &found->second;
    if (before != nullptr) {
      const bool equal = before->ask.op == Op::topup && before->wallet == ask.wallet &&
                         before->ask.amount == ask.amount && before->ask.text == ask.text;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    if (const Reason reason = no_room(ask.wallet, ask.amount); reason != Reason::none) return no(reason);
    if (outside > supply_max - ask.amount) return no(Reason::supply_out_of_range);
    entry(ask.wallet, ask.amount);
    outside += ask.amount;
    wrote();
    const Told told{.amount = ask.amount, .balance = at(ask.wallet).balance, .slot = fresh()};
    keep(ask, told);
    if (!ask.text.empty()) references_[{ask.wallet, ask.text}] = {ask, ask.wallet, told};
    return told;
  }

  Told transfer(const Ask& ask) {
    if (const Reason reason =
            first_of({may_spend(ask.wallet), bad_amount(ask.amount), bad_key(ask.text, true),
                      bad_key(ask.once, true), ask.other < 0 ? Reason::wallet_unknown : Reason::none,
                      ask.other == ask.wallet ? Reason::same_wallet : Reason::none});
        reason != Reason::none)
      return no(reason);
    if (const Used* before = used(ask.once)) {
      const bool equal = before->ask.op == Op::transfer && before->wallet == ask.wallet &&
                         before->ask.other == ask.other && before->ask.amount == ask.amount &&
                         before->ask.text == ask.text;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    if (at(ask.wallet).status != WalletStatus::active) return no(Reason::wallet_not_active);
    if (const Reason reason = no_room(ask.other, ask.amount); reason != Reason::none) return no(reason);
    const bool judged = !is_operator_ && !is_human_;
    const std::string terms =
        "transfer " + std::to_string(ask.other) + " " + std::to_string(ask.amount) + " " + ask.text;
    Told told = judged ? pass(ask, ask.wallet, terms, false) : pass_balance(ask.wallet, ask.amount);
    if (told.reason != Reason::none) return told;
    if (judged) send_out(ask.wallet, ask.amount);
    entry(ask.wallet, -ask.amount);
    entry(ask.other, ask.amount);
    wrote();
    told = {.amount = ask.amount, .balance = at(ask.wallet).balance, .slot = fresh()};
    keep(ask, told);
    return told;
  }

  /// A wallet and its first key.
  Told add_wallet(OwnerType type, const std::string& owner, int parent, const Rules& rules) {
    const int wallet = static_cast<int>(wallets.size());
    wallets.push_back({.type = type,
                       .owner = owner,
                       .parent = parent,
                       .rules = rules,
                       .first_key = static_cast<int>(keys.size())});
    if (parent != nobody) at(parent).children.push_back(wallet);
    keys.push_back({.wallet = wallet});
    wrote();
    return {.word = "active", .slot = fresh()};
  }

  Told create_wallet(const Ask& ask) {
    if (!is_operator_ && !is_human_) return no(Reason::human_only);
    if (is_human_ && ask.type == OwnerType::human) return no(Reason::operator_only);
    if (const Reason reason =
            first_of({bad_name(ask.text, 256), bad_rules(ask.rules), bad_key(ask.once, true)});
        reason != Reason::none)
      return no(reason);
    if (ask.type == OwnerType::human) {
      if (ask.other != nobody) return no(Reason::human_has_parent);
    } else {
      if (ask.other == nobody) return no(Reason::agent_needs_parent);
      if (const Reason reason = may_read(ask.other); reason != Reason::none) return no(reason);
      if (at(ask.other).type != OwnerType::human) return no(Reason::parent_not_human);
    }
    if (const Used* before = used(ask.once)) {
      const bool equal = before->ask.op == Op::create_wallet && before->ask.type == ask.type &&
                         before->ask.text == ask.text && before->ask.other == ask.other &&
                         before->ask.rules == ask.rules;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    if (ask.other != nobody && at(ask.other).status == WalletStatus::closed)
      return no(Reason::wallet_not_active);
    const Told told = add_wallet(ask.type, ask.text, ask.other, ask.rules);
    keep(ask, told);
    return told;
  }

  Told change_wallet(const Ask& ask) {
    if (const Reason reason = may_manage(ask.wallet, false); reason != Reason::none) return no(reason);
    ModelWallet& wallet = at(ask.wallet);
    Rules rules = wallet.rules;
    if (ask.set_rule[0]) rules.per_job = ask.rules.per_job;
    if (ask.set_rule[1]) rules.per_hour = ask.rules.per_hour;
    if (ask.set_rule[2]) rules.threshold = ask.rules.threshold;
    if (ask.set_rule[3]) rules.gpus = ask.rules.gpus;
    if (const Reason reason = bad_rules(rules); reason != Reason::none) return no(reason);
    const WalletStatus status = ask.status.value_or(wallet.status);
    const bool changes = status != wallet.status || rules != wallet.rules;
    if (wallet.status == WalletStatus::closed && changes) return no(Reason::wallet_not_active);
    if (status == WalletStatus::closed && changes) {
      bool empty = wallet.balance == 0 && wallet.held == 0;
      for (const int child : wallet.children) empty = empty && at(child).status == WalletStatus::closed;
      // What is on its way out may come back.
      for (const ModelPayout& payout : payouts)
        if (payout.wallet == ask.wallet && payout.status == PayoutStatus::pending) empty = false;
      if (!empty) return no(Reason::wallet_not_empty);
    }
    if (changes) {
      wallet.status = status;
      wallet.rules = rules;
      wrote();
    }
    return {.balance = wallet.balance, .word = std::string(word(status))};
  }

  Told issue_key(const Ask& ask) {
    if (const Reason reason =
            first_of({may_manage(ask.wallet, true), bad_name(ask.text, 64, true), bad_key(ask.once, true)});
        reason != Reason::none)
      return no(reason);
    if (const Used* before = used(ask.once)) {
      const bool equal =
          before->ask.op == Op::issue_key && before->wallet == ask.wallet && before->ask.text == ask.text;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    keys.push_back({.wallet = ask.wallet, .label = ask.text});
    wrote();
    const Told told{.slot = fresh()};
    keep(ask, told);
    return told;
  }

  Reason may_manage_key(int number) {
    if (number < 0) return Reason::key_unknown;
    if (is_operator_) return Reason::none;
    const int wallet = keys[static_cast<std::size_t>(number)].wallet;
    return wallet == nobody ? Reason::key_unknown : may_manage(wallet, true);
  }
  Told revoke_key(const Ask& ask) {
    if (const Reason reason = may_manage_key(ask.number); reason != Reason::none) return no(reason);
    ModelKey& key = keys[static_cast<std::size_t>(ask.number)];
    if (!key.revoked) wrote();
    key.revoked = true;
    return {};
  }
  Told rotate_key(const Ask& ask) {
    if (const Reason reason = first_of({may_manage_key(ask.number), bad_key(ask.once, true)});
        reason != Reason::none)
      return no(reason);
    if (const Used* before = used(ask.once)) {
      const bool equal = before->ask.op == Op::rotate_key && before->ask.number == ask.number;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    ModelKey& key = keys[static_cast<std::size_t>(ask.number)];
    if (key.revoked) return no(Reason::key_unknown);
    key.revoked = true;
    const ModelKey next{.wallet = key.wallet, .label = key.label};
    keys.push_back(next);
    wrote();
    const Told told{.slot = fresh()};
    keep(ask, told);
    return told;
  }

  Told decide(const Ask& ask, bool approve) {
    if (ask.number < 0) return no(Reason::approval_unknown);
    ModelApproval& approval = approvals[static_cast<std::size_t>(ask.number)];
    if (const Reason reason = may_manage(approval.wallet, false); reason != Reason::none) return no(reason);
    const ApprovalStatus wanted = approve ? ApprovalStatus::approved : ApprovalStatus::denied;
    if (approval.status != wanted) {
      if (approval.status != ApprovalStatus::pending) return no(Reason::approval_decided);
      if (now() >= approval.expires) return no(Reason::approval_expired);
      approval.status = wanted;
      wrote();
    }
    const bool waits = approval.status == ApprovalStatus::approved;
    return {.word = waits && now() >= approval.expires ? "expired" : std::string(word(approval.status))};
  }

  Told request_payout(const Ask& ask) {
    if (const Reason reason = first_of({may_spend(ask.wallet), bad_amount(ask.amount),
                                        bad_name(ask.text, 256), bad_key(ask.once, true)});
        reason != Reason::none)
      return no(reason);
    if (const Used* before = used(ask.once)) {
      const bool equal = before->ask.op == Op::request_payout && before->wallet == ask.wallet &&
                         before->ask.amount == ask.amount && before->ask.text == ask.text;
      return equal ? again(before->first) : no(Reason::key_reused);
    }
    if (at(ask.wallet).status != WalletStatus::active) return no(Reason::wallet_not_active);
    const bool judged = !is_operator_ && !is_human_;
    const std::string terms = "payout " + std::to_string(ask.amount) + " " + ask.text;
    Told told = judged ? pass(ask, ask.wallet, terms, false) : pass_balance(ask.wallet, ask.amount);
    if (told.reason != Reason::none) return told;
    entry(ask.wallet, -ask.amount);
    outside -= ask.amount;
    told = {.amount = ask.amount, .balance = at(ask.wallet).balance, .word = "pending", .slot = fresh()};
    payouts.push_back({.wallet = ask.wallet,
                       .amount = ask.amount,
                       .out = judged ? send_out(ask.wallet, ask.amount) : nullptr,
                       .slot = told.slot});
    wrote();
    keep(ask, told);
    return told;
  }
  Told finish_payout(const Ask& ask, PayoutStatus outcome) {
    if (!is_operator_) return no(Reason::operator_only);
    if (ask.number < 0) return no(Reason::payout_unknown);
    ModelPayout& payout = payouts[static_cast<std::size_t>(ask.number)];
    if (payout.status != outcome) {
      if (payout.status != PayoutStatus::pending) return no(Reason::payout_decided);
      payout.status = outcome;
      wrote();
      if (outcome == PayoutStatus::failed) {
        if (payout.out) *payout.out = 0;
        entry(payout.wallet, payout.amount);
        outside += payout.amount;
      }
    }
    return {
        .amount = payout.amount, .balance = at(payout.wallet).balance, .word = std::string(word(outcome))};
  }

  Told grant(const Ask& ask) {
    if (const Reason reason =
            first_of({may_read(ask.wallet), is_operator_ ? Reason::none : Reason::operator_only});
        reason != Reason::none)
      return no(reason);
    ModelWallet& wallet = at(ask.wallet);
    if (wallet.type != OwnerType::human) return no(Reason::human_only);
    if (granted.contains(wallet.owner)) return no(Reason::grant_taken);
    if (granted.size() >= 50) return no(Reason::grants_exhausted);
    if (wallet.status != WalletStatus::active) return no(Reason::wallet_not_active);
    constexpr Micro twenty_dollars = 2'000'000'000;
    if (const Reason reason = no_room(ask.wallet, twenty_dollars); reason != Reason::none) return no(reason);
    granted.insert(wallet.owner);
    entry(ask.wallet, twenty_dollars);
    outside += twenty_dollars;
    wrote();
    return {.amount = twenty_dollars,
            .balance = wallet.balance,
            .left = 50 - static_cast<std::int64_t>(granted.size()),
            .slot = fresh()};
  }

  Told join_waitlist(const Ask& ask) {
    if (!is_operator_) return no(Reason::operator_only);
    if (const Reason reason = bad_name(ask.text, 256); reason != Reason::none) return no(reason);
    const auto waits = [](const ModelEntry& entry) {
      return std::string(entry.approved ? "approved" : "waiting");
    };
    for (const ModelEntry& entry : waitlist)
      if (entry.owner == ask.text) return {.replayed = true, .word = waits(entry), .slot = entry.slot};
    waitlist.push_back({.owner = ask.text});
    wrote();
    return {.word = "waiting", .slot = waitlist.back().slot};
  }
  Told approve_waitlist(const Ask& ask) {
    if (!is_operator_) return no(Reason::operator_only);
    if (ask.number < 0) return no(Reason::waitlist_unknown);
    ModelEntry& entry = waitlist[static_cast<std::size_t>(ask.number)];
    if (entry.approved) return no(Reason::waitlist_decided);
    entry.approved = true;
    return add_wallet(OwnerType::human, entry.owner, nobody, {});
  }

  Us last_at_ = 0;
  bool is_operator_ = true, is_human_ = false;
  int me_ = nobody;
  std::map<std::pair<int, std::string>, int> approval_for_;
  std::map<std::pair<int, std::string>, Used> once_, references_;
};

// ── the same questions to the engine ──

Policy policy_of(const Rules& rules) {
  Policy out;
  if (rules.per_job) out.spend_cap_per_job = Money{*rules.per_job};
  if (rules.per_hour) out.spend_cap_per_hour = Money{*rules.per_hour};
  if (rules.threshold) out.approval_threshold = Money{*rules.threshold};
  out.allowed_gpu_types = rules.gpus;
  return out;
}

class Asked {
 public:
  explicit Asked(const Us& clock)
      : engine_(Engine::open({.now_us = [&clock] { return clock; }}).value()),
        operator_(engine_.as_operator()) {}

  Engine& engine() { return engine_; }
  Session& as_operator() { return operator_; }
  WalletId wallet(int number) const {
    return number < 0 ? WalletId::make(0, 77, 7) : wallets_[static_cast<std::size_t>(number)];
  }

  Told ask(const Ask& ask) {
    Session session = session_of(ask.actor);
    switch (ask.op) {
      case Op::spend: return told(session.spend(spend_of(ask)));
      case Op::earn: return told(session.earn(earn_of(ask)));
      case Op::release: return told(session.release({wallet(ask.wallet), ask.text}));
      case Op::topup: return told(session.topup(topup_of(ask)));
      case Op::transfer: return told(session.transfer(transfer_of(ask)));
      case Op::create_wallet: {
        WalletCreate asked{.owner_type = ask.type, .owner_id = ask.text, .policy = policy_of(ask.rules)};
        if (ask.other != nobody) asked.parent = wallet(ask.other);
        asked.idempotency_key = ask.once;
        return created(session.create_wallet(asked));
      }
      case Op::change_wallet: {
        const Policy policy = policy_of(ask.rules);
        WalletChange change{.status = ask.status};
        if (ask.set_rule[0]) change.spend_cap_per_job = policy.spend_cap_per_job;
        if (ask.set_rule[1]) change.spend_cap_per_hour = policy.spend_cap_per_hour;
        if (ask.set_rule[2]) change.approval_threshold = policy.approval_threshold;
        if (ask.set_rule[3]) change.allowed_gpu_types = policy.allowed_gpu_types;
        const auto changed = session.change_wallet(wallet(ask.wallet), change);
        if (!changed.ok()) return error(changed.error());
        return {.balance = changed->balance.micro, .word = std::string(word(changed->status))};
      }
      case Op::issue_key: return issued(session.issue_key(wallet(ask.wallet), ask.text, ask.once));
      case Op::rotate_key: return issued(session.rotate_key(key(ask.number), ask.once));
      case Op::revoke_key: {
        const auto revoked = session.revoke_key(key(ask.number));
        if (!revoked.ok()) return error(revoked.error());
        return revoked->revoked_at ? Told{} : Told{.word = "not revoked"};
      }
      case Op::approve:
      case Op::deny: {
        const ApprovalId id = approval_slots_.empty() || ask.number < 0
                                  ? ApprovalId::make(0, 99'999'999, 7)
                                  : ApprovalId::read(*approval_slots_[static_cast<std::size_t>(ask.number)])
                                        .value_or(ApprovalId{});
        const auto decided = ask.op == Op::approve ? session.approve(id) : session.deny(id);
        if (!decided.ok()) return error(decided.error());
        return {.word = std::string(word(decided->status))};
      }
      case Op::request_payout: {
        const auto asked =
            session.request_payout({wallet(ask.wallet), Money{ask.amount}, ask.text, ask.once});
        if (!asked.ok()) return error(asked.error());
        if (!asked->replayed) payouts_.push_back(asked->id);
        return {.amount = asked->amount.micro,
                .balance = asked->new_balance.micro,
                .replayed = asked->replayed,
                .word = std::string(word(asked->status)),
                .id = asked->id.text()};
      }
      case Op::confirm_payout:
      case Op::fail_payout: {
        const PayoutId id =
            ask.number < 0 ? PayoutId::make(0, 9'999'999, 7) : payouts_[static_cast<std::size_t>(ask.number)];
        const auto done = ask.op == Op::confirm_payout ? session.confirm_payout(id) : session.fail_payout(id);
        if (!done.ok()) return error(done.error());
        return {.amount = done->amount.micro,
                .balance = done->new_balance.micro,
                .word = std::string(word(done->status))};
      }
      case Op::grant: {
        const auto granted = session.grant(wallet(ask.wallet));
        if (!granted.ok()) return error(granted.error());
        return {.amount = granted->moved.amount.micro,
                .balance = granted->moved.new_balance.micro,
                .left = granted->remaining,
                .id = granted->moved.txn.text()};
      }
      case Op::join_waitlist: {
        const auto joined = session.join_waitlist(ask.text);
        if (!joined.ok()) return error(joined.error());
        if (!joined->replayed) entries_.push_back(joined->id);
        return {
            .replayed = joined->replayed, .word = std::string(word(joined->status)), .id = joined->id.text()};
      }
      case Op::approve_waitlist: {
        const WaitlistId id = ask.number < 0 ? WaitlistId::make(0, 9'999'999, 7)
                                             : entries_[static_cast<std::size_t>(ask.number)];
        auto approved = session.approve_waitlist(id);
        if (!approved.ok()) return error(approved.error());
        return created(Result<WalletCreated>(std::move(approved->created)));
      }
      case Op::too_many:
      case Op::count: break;
    }
    const std::vector<Operation> many(bulk_max + 1, Operation(topup_of(ask)));
    const auto refused = session.bulk(many);
    return refused.ok() ? Told{} : error(refused.error());
  }

  std::vector<Told> bulk(const std::vector<Ask>& asks) {
    std::vector<Operation> operations;
    for (const Ask& ask : asks) switch (ask.op) {
        case Op::spend: operations.emplace_back(spend_of(ask)); break;
        case Op::earn: operations.emplace_back(earn_of(ask)); break;
        case Op::release: operations.emplace_back(Release{wallet(ask.wallet), ask.text}); break;
        case Op::topup: operations.emplace_back(topup_of(ask)); break;
        default: operations.emplace_back(transfer_of(ask)); break;
      }
    std::vector<Told> out;
    const auto outcomes = session_of(asks.front().actor).bulk(operations);
    if (!outcomes.ok()) return std::vector<Told>(asks.size(), error(outcomes.error()));
    for (const Outcome& outcome : *outcomes)
      out.push_back(std::visit([](const auto& one) { return tell(one); }, outcome));
    return out;
  }

  /// The model made an approval: its id comes with the answer that is compared next.
  void know_approvals(const std::vector<ModelApproval>& approvals) {
    for (std::size_t i = approval_slots_.size(); i < approvals.size(); ++i)
      approval_slots_.push_back(approvals[i].slot);
  }

 private:
  Session session_of(int actor) const {
    return actor == nobody ? operator_ : sessions_[static_cast<std::size_t>(actor)];
  }
  KeyId key(int number) const {
    return number < 0 ? KeyId::make(0, 9'999'999, 7) : keys_[static_cast<std::size_t>(number)];
  }
  Spend spend_of(const Ask& ask) const {
    Spend out{.wallet = wallet(ask.wallet), .job_id = ask.text, .amount = Money{ask.amount}};
    out.gpu_type = ask.gpu;
    if (ask.other != nobody) out.host_wallet = wallet(ask.other);
    out.expires_in_s = ask.expires_in_s;
    return out;
  }
  Earn earn_of(const Ask& ask) const {
    Earn out{.host = wallet(ask.wallet), .job_id = ask.text, .gross_amount = Money{ask.amount}};
    out.output_hash.bytes.fill(ask.hash);
    out.gpu_model = ask.gpu_model;
    out.duration_seconds = ask.seconds;
    if (ask.other != nobody) out.payer_wallet = wallet(ask.other);
    return out;
  }
  TopUp topup_of(const Ask& ask) const { return {wallet(ask.wallet), Money{ask.amount}, ask.text, ask.once}; }
  WalletTransfer transfer_of(const Ask& ask) const {
    return {wallet(ask.wallet), wallet(ask.other), Money{ask.amount}, ask.text, ask.once};
  }

  static Told error(const Error& error) {
    Told out{.reason = error.reason};
    const auto detail = [&](const char* name) {
      const core::json::Value* value = error.details.find(name);
      if (value == nullptr) return std::string("no ") + name;
      return value->string() != nullptr ? *value->string() : core::json::text(*value);
    };
    if (error.reason == Reason::approval_required) {
      out.word = detail("approval_status");
      out.id = detail("approval_id");
    } else if (error.reason == Reason::spend_cap_per_job || error.reason == Reason::spend_cap_per_hour ||
               error.reason == Reason::insufficient_balance) {
      out.word = detail("room");
    }
    return out;
  }
  static Told tell(const Error& of) { return error(of); }
  static Told tell(const Spent& of) {
    return {.amount = of.amount_locked.micro,
            .balance = of.new_balance.micro,
            .replayed = of.replayed,
            .id = of.txn.text()};
  }
  static Told tell(const Earned& of) {
    return {.amount = of.gross_amount.micro,
            .fee = of.platform_fee.micro,
            .net = of.net_payout.micro,
            .balance = of.new_balance.micro,
            .replayed = of.replayed,
            .id = of.txn.text() + of.receipt.text()};
  }
  static Told tell(const Released& of) {
    return {.amount = of.amount.micro,
            .balance = of.new_balance.micro,
            .replayed = of.replayed,
            .burned = of.burned,
            .id = of.txn.text()};
  }
  static Told tell(const Moved& of) {
    return {.amount = of.amount.micro,
            .balance = of.new_balance.micro,
            .replayed = of.replayed,
            .id = of.txn.text()};
  }
  template <class T>
  static Told told(const Result<T>& result) {
    return result.ok() ? tell(*result) : error(result.error());
  }
  Told created(const Result<WalletCreated>& result) {
    if (!result.ok()) return error(result.error());
    if (!result->replayed) {
      wallets_.push_back(result->wallet.id);
      add_key(result->key, result->api_key);
    }
    return {.balance = result->wallet.balance.micro,
            .replayed = result->replayed,
            .word = std::string(word(result->wallet.status)),
            .id = result->wallet.id.text() + result->key.text()};
  }
  Told issued(const Result<KeyIssued>& result) {
    if (!result.ok()) return error(result.error());
    if (!result->replayed) add_key(result->key.id, result->api_key);
    return {.replayed = result->replayed, .id = result->key.id.text()};
  }
  void add_key(KeyId id, const std::string& secret) {
    keys_.push_back(id);
    sessions_.push_back(engine_.session(secret).value());
  }

  Engine engine_;
  Session operator_;
  std::vector<WalletId> wallets_;
  std::vector<KeyId> keys_;
  std::vector<Session> sessions_;
  std::vector<PayoutId> payouts_;
  std::vector<WaitlistId> entries_;
  std::vector<std::shared_ptr<std::string>> approval_slots_;
};

// ── what is asked ──

/// What kind of market a seed makes: reasons that need crowds or riches get a market where they are near.
enum class Flavour : std::uint8_t { street, crowd, rich };

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  int below(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class List>
  const auto& of(const List& list) {
    return list[below(static_cast<std::uint64_t>(std::size(list)))];
  }

 private:
  std::mt19937_64 random_;
};

class Asker {
 public:
  Asker(Model& model, Flavour flavour, std::uint64_t seed) : model_(model), flavour_(flavour), dice_(seed) {}

  Dice& dice() { return dice_; }

  void move_clock() {
    const int way = dice_.below(10'000);
    Us step = 0;
    if (way < 4'000)
      step = dice_.below(int(second));
    else if (way < 4'500)
      step = static_cast<Us>(dice_.below(60)) * second;
    else if (way < 4'540)
      step = static_cast<Us>(dice_.below(1'200)) * second;
    else if (way < 4'546)
      step = static_cast<Us>(dice_.below(30)) * hour;
    else if (way < 4'560)
      step = -static_cast<Us>(dice_.below(600)) * second;  // a clock may be set back
    else if (way < 4'640 && !model_.jobs.empty()) {
      // To the microsecond of a deadline or of an hour's end, or beside it.
      const Job& job = model_.jobs[dice_.below(static_cast<std::uint64_t>(model_.jobs.size()))];
      const Us to = job.deadline.value_or(0) + dice_.below(3) - 1;
      if (to > model_.clock && to < model_.clock + 2 * hour) step = to - model_.clock;
    } else if (way < 4'720 && !model_.wallets.empty()) {
      const ModelWallet& wallet = model_.wallets[dice_.below(model_.wallets.size())];
      if (!wallet.outflows.empty()) {
        const Us to = dice_.of(wallet.outflows).at + hour + dice_.below(3) - 1;
        if (to > model_.clock) step = to - model_.clock;
      }
    }
    model_.clock += step;
  }

  Ask next() {
    if (!recent_.empty() && dice_.chance(14)) {  // the same once more, as a caller who saw no answer
      Ask again = dice_.of(recent_);
      if (dice_.chance(35)) change_a_little(again);
      return again;
    }
    Ask ask = make(pick_op());
    remember(ask);
    return ask;
  }

  /// For `bulk`: money alone, all by one caller.
  std::vector<Ask> several() {
    constexpr Op kinds[] = {Op::spend, Op::spend, Op::spend,   Op::earn,    Op::earn,
                            Op::earn,  Op::topup, Op::release, Op::transfer};
    std::vector<Ask> out;
    const int actor = dice_.chance(70) ? nobody : any_key();
    for (int n = 1 + dice_.below(60); n > 0; --n) {
      Ask ask = make(dice_.of(kinds));
      if (!recent_.empty() && dice_.chance(10)) {
        const Ask& old = dice_.of(recent_);
        if (old.op <= Op::transfer) ask = old;
      }
      ask.actor = actor;
      remember(ask);
      out.push_back(std::move(ask));
    }
    return out;
  }

 private:
  void remember(const Ask& ask) {
    recent_.push_back(ask);
    if (recent_.size() > 60) recent_.pop_front();
  }

  Op pick_op() {
    static constexpr std::pair<Op, int> weights[] = {
        {Op::spend, 300},         {Op::earn, 260},           {Op::release, 70},       {Op::topup, 70},
        {Op::transfer, 110},      {Op::create_wallet, 8},    {Op::change_wallet, 50}, {Op::issue_key, 6},
        {Op::revoke_key, 3},      {Op::rotate_key, 5},       {Op::approve, 40},       {Op::deny, 8},
        {Op::request_payout, 30}, {Op::confirm_payout, 12},  {Op::fail_payout, 12},   {Op::grant, 30},
        {Op::join_waitlist, 3},   {Op::approve_waitlist, 3}, {Op::too_many, 1}};
    static constexpr int sum = [] {
      int all = 0;
      for (const auto& [op, weight] : weights) all += weight;
      return all;
    }();
    int roll = dice_.below(sum);
    for (const auto& [op, weight] : weights)
      if ((roll -= weight) < 0) return op;
    return Op::spend;
  }

  int wallets() const { return static_cast<int>(model_.wallets.size()); }
  int any_wallet() {
    if (dice_.below(300) == 0) return stranger;
    // Some wallets do most of the business, so that their rules are met.
    const int busy = std::min(wallets(), flavour_ == Flavour::street ? 14 : 80);
    return dice_.chance(85) ? dice_.below(busy) : dice_.below(wallets());
  }
  int any_key() { return dice_.below(static_cast<int>(model_.keys.size())); }
  /// Mostly a key that works for the wallet, sometimes another's, sometimes the operator.
  int actor_for(int wallet) {
    const int roll = dice_.below(100);
    if (roll < 25 || wallet < 0) return nobody;
    if (roll < 94) {
      const int first = model_.at(wallet).first_key;
      if (!model_.keys[static_cast<std::size_t>(first)].revoked) return first;
      for (std::size_t i = model_.keys.size(); i-- > 0;)
        if (model_.keys[i].wallet == wallet && !model_.keys[i].revoked) return static_cast<int>(i);
      return nobody;
    }
    return any_key();
  }
  int manager_for(int wallet) {
    if (wallet >= 0 && model_.at(wallet).parent != nobody && dice_.chance(55))
      return actor_for(model_.at(wallet).parent);
    return dice_.chance(60) ? nobody : actor_for(wallet);
  }

  std::string a_key_text(const char* kind, int pool) {
    if (dice_.below(400) == 0) return dice_.chance(50) ? std::string(129, 'x') : "a b";
    return std::string(kind) + std::to_string(dice_.below(pool));
  }
  std::string once() { return dice_.chance(70) ? std::string() : a_key_text("once-", 4'000); }
  std::string a_job() {
    if (dice_.below(300) == 0) return dice_.chance(50) ? "" : std::string(129, 'j');
    if (dice_.chance(55)) return "job-" + std::to_string(jobs_++);
    const int back = dice_.chance(80) ? 40 : 2'000;
    return "job-" + std::to_string(std::max(0, jobs_ - 1 - dice_.below(back)));
  }
  std::optional<std::string> a_gpu() {
    static constexpr const char* gpus[] = {"RTX 4090", "RTX 4090", "RTX 4090", "A100", "H100"};
    if (dice_.chance(20)) return std::nullopt;
    return dice_.below(300) == 0 ? std::string(129, 'g') : std::string(dice_.of(gpus));
  }

  Micro small_amount() {
    if (flavour_ == Flavour::rich && dice_.chance(60)) return amount_max - dice_.below(3) + dice_.below(2);
    const int roll = dice_.below(100);
    if (roll < 2) return 0;
    if (roll < 3) return -1 - dice_.below(5);
    if (roll < 4) return amount_max + dice_.below(2);
    return static_cast<Micro>(dice_.below(std::uint64_t{1} << (4 + dice_.below(21))));
  }
  /// An amount on the edge of what `wallet` may send, or an easy one.
  Micro edge_amount(int wallet) {
    if (wallet < 0 || dice_.chance(35)) return small_amount();
    const int off = dice_.below(3) - 1;
    int of = wallet;
    if (model_.at(wallet).parent != nobody && dice_.chance(40)) of = model_.at(wallet).parent;
    const Rules& rules = model_.at(of).rules;
    switch (dice_.below(6)) {
      case 0: return rules.per_job ? *rules.per_job + off : small_amount();
      case 1: return rules.threshold ? *rules.threshold + off : small_amount();
      case 2: return rules.per_hour ? *rules.per_hour - model_.spent(of) + off : small_amount();
      case 3: return dice_.chance(15) ? model_.at(wallet).balance + model_.due(wallet) + off : small_amount();
      default: return small_amount() / 16 + 1;
    }
  }

  Rules some_rules(int percent) {
    Rules out;
    if (dice_.chance(percent)) out.per_job = 1'000'000 + dice_.below(8'000'000);
    if (dice_.chance(percent)) out.per_hour = 2'000'000 + dice_.below(40'000'000);
    if (dice_.chance(percent)) out.threshold = 500'000 + dice_.below(6'000'000);
    if (dice_.chance(percent / 2)) {
      out.gpus.emplace();
      for (const char* gpu : {"RTX 4090", "A100", "H100"})
        if (dice_.chance(60)) out.gpus->push_back(gpu);
    }
    if (dice_.below(60) == 0) out.per_job = -1;
    if (dice_.below(60) == 0) out.threshold = amount_max + 1;
    if (dice_.below(60) == 0) out.gpus = {"A100", "A100"};
    return out;
  }

  Ask make(Op op) {
    Ask ask{.op = op};
    ask.wallet = any_wallet();
    switch (op) {
      case Op::spend:
        ask.actor = actor_for(ask.wallet);
        ask.text = a_job();
        ask.amount = edge_amount(ask.wallet);
        ask.gpu = a_gpu();
        if (dice_.chance(80)) ask.other = any_wallet();
        if (dice_.chance(45)) ask.expires_in_s = dice_.below(200) == 0 ? 0 : 1 + dice_.below(7'200);
        break;
      case Op::earn: {
        ask.text = a_job();
        ask.amount = small_amount();
        if (!model_.jobs.empty() && dice_.chance(88)) {
          // A job that is known, mostly one of the last, by its host for about what was locked.
          const auto count = static_cast<std::uint64_t>(model_.jobs.size());
          const Job& job =
              model_.jobs[count - 1 -
                          dice_.below(std::min<std::uint64_t>(count, dice_.chance(85) ? 30 : 2'000))];
          ask.text = job.id;
          if (job.host != nobody && dice_.chance(90)) ask.wallet = job.host;
          const int roll = dice_.below(10);
          ask.amount = roll < 4 ? job.amount : roll < 5 ? job.amount + 1 : job.amount / (1 + dice_.below(20));
          if (dice_.chance(25)) ask.other = job.payer;
        }
        ask.actor = dice_.chance(40) ? nobody : actor_for(ask.wallet);
        ask.hash = static_cast<std::uint8_t>(dice_.below(2));
        ask.gpu_model = dice_.below(200) == 0 ? "" : "RTX 4090";
        ask.seconds = dice_.below(200) == 0 ? -1 : dice_.below(2);
        break;
      }
      case Op::release:
        ask.actor = actor_for(ask.wallet);
        ask.text = a_job();
        if (!model_.jobs.empty() && dice_.chance(75)) {
          const auto count = static_cast<std::uint64_t>(model_.jobs.size());
          const Job& job = model_.jobs[count - 1 - dice_.below(std::min<std::uint64_t>(count, 60))];
          ask.text = job.id;
          ask.wallet = job.payer;
          ask.actor = actor_for(ask.wallet);
        }
        break;
      case Op::topup:
      case Op::too_many:
        ask.actor = dice_.chance(90) ? nobody : any_key();
        ask.amount = flavour_ == Flavour::rich && dice_.chance(80) ? amount_max - dice_.below(2)
                     : dice_.chance(92)                            ? 1 + dice_.below(60'000'000)
                                                                   : small_amount();
        if (dice_.chance(40)) ask.text = a_key_text("ref-", 60);
        ask.once = once();
        break;
      case Op::transfer:
        if (ask.wallet >= 0 && model_.at(ask.wallet).parent != nobody && dice_.chance(50)) {
          ask.other = ask.wallet;  // a parent's allocation
          ask.wallet = model_.at(ask.wallet).parent;
        } else {
          ask.other = any_wallet();
        }
        ask.actor = actor_for(ask.wallet);
        ask.amount = edge_amount(ask.wallet);
        if (dice_.chance(30)) ask.text = a_key_text("note-", 10);
        ask.once = once();
        break;
      case Op::create_wallet:
        ask.type = dice_.chance(60) ? OwnerType::agent : OwnerType::human;
        if (dice_.chance(ask.type == OwnerType::agent ? 90 : 15)) ask.other = any_wallet();
        ask.actor = dice_.chance(50) ? nobody : actor_for(ask.other);
        ask.text = dice_.below(50) == 0 ? std::string("a\nb") : "owner-" + std::to_string(dice_.below(400));
        ask.rules = some_rules(50);
        ask.once = once();
        break;
      case Op::change_wallet: {
        ask.actor = manager_for(ask.wallet);
        ask.rules = some_rules(60);
        for (bool& one : ask.set_rule) one = dice_.chance(30);
        const int roll = dice_.below(100);
        if (roll < 55)
          ask.status = WalletStatus::active;
        else if (roll < 65)
          ask.status = WalletStatus::frozen;
        else if (roll < 72 && dice_.chance(25))
          ask.status = WalletStatus::closed;
        // Far from the busy street wallets close for good.
        if (roll >= 90 && wallets() > 20) {
          ask.wallet = wallets() - 1 - dice_.below(std::min(wallets() - 14, 40));
          // Or one that has just sent away all that it had.
          if (!model_.payouts.empty() && dice_.chance(40)) ask.wallet = model_.payouts.back().wallet;
          ask.actor = nobody;
          ask.set_rule = {};
          ask.status = WalletStatus::closed;
        }
        break;
      }
      case Op::issue_key:
        ask.actor = manager_for(ask.wallet);
        ask.text = dice_.below(40) == 0 ? std::string(65, 'l') : dice_.chance(50) ? "" : "label";
        ask.once = once();
        break;
      case Op::revoke_key:
      case Op::rotate_key: {
        ask.number = dice_.below(40) == 0 ? nobody : any_key();
        const int of = ask.number < 0 ? nobody : model_.keys[static_cast<std::size_t>(ask.number)].wallet;
        ask.actor = of < 0 ? nobody : manager_for(of);
        ask.once = once();
        break;
      }
      case Op::approve:
      case Op::deny: {
        const int count = static_cast<int>(model_.approvals.size());
        ask.number = count == 0 || dice_.below(60) == 0 ? nobody
                     : dice_.chance(80)                 ? count - 1 - dice_.below(std::min(count, 12))
                                                        : dice_.below(count);
        const int of =
            ask.number < 0 ? nobody : model_.approvals[static_cast<std::size_t>(ask.number)].wallet;
        ask.actor = manager_for(of);
        break;
      }
      case Op::request_payout:
        ask.actor = actor_for(ask.wallet);
        ask.amount = edge_amount(ask.wallet);
        ask.text = dice_.below(60) == 0 ? "" : "bank " + std::to_string(dice_.below(3));
        if (wallets() > 20 && dice_.chance(15)) {
          ask.wallet = wallets() - 1 - dice_.below(wallets() - 14);
          ask.actor = nobody;
          ask.amount = model_.at(ask.wallet).balance + model_.due(ask.wallet);
        }
        ask.once = once();
        break;
      case Op::confirm_payout:
      case Op::fail_payout: {
        const int count = static_cast<int>(model_.payouts.size());
        ask.actor = dice_.chance(95) ? nobody : any_key();
        ask.number =
            count == 0 || dice_.below(40) == 0 ? nobody : count - 1 - dice_.below(std::min(count, 10));
        break;
      }
      case Op::grant: ask.actor = dice_.chance(95) ? nobody : any_key(); break;
      case Op::join_waitlist:
        ask.actor = dice_.chance(90) ? nobody : any_key();
        ask.text = dice_.below(20) == 0 ? "" : "waits-" + std::to_string(dice_.below(60));
        break;
      case Op::approve_waitlist:
        ask.actor = dice_.chance(90) ? nobody : any_key();
        ask.number = model_.waitlist.empty() || dice_.chance(10)
                         ? nobody
                         : dice_.below(static_cast<int>(model_.waitlist.size()));
        break;
      case Op::count: break;
    }
    return ask;
  }

  void change_a_little(Ask& ask) {
    switch (dice_.below(8)) {
      case 0: ++ask.amount; break;
      case 1: ask.gpu = a_gpu(); break;
      case 2: ask.other = any_wallet(); break;
      case 3: ask.expires_in_s = 1 + dice_.below(100); break;
      case 4: ask.hash ^= 1; break;
      case 5: ++ask.seconds; break;
      case 6: ask.actor = any_key(); break;
      default: ask.wallet = any_wallet(); break;
    }
  }

  Model& model_;
  Flavour flavour_;
  Dice dice_;
  std::deque<Ask> recent_;
  int jobs_ = 0;
};

// ── the comparison ──

struct Reach {
  std::array<std::atomic<std::uint64_t>, ops> done{};
  std::array<std::atomic<std::uint64_t>, reasons> refused{};
  std::atomic<std::uint64_t> replays{0}, expiries{0}, asked{0};
};

struct Divergence {
  std::string what;
};

class Trial {
 public:
  Trial(std::uint64_t seed, Reach& reach)
      : seed_(seed),
        flavour_(seed % 8 == 1   ? Flavour::crowd
                 : seed % 8 == 2 ? Flavour::rich
                                 : Flavour::street),
        asked_(model_.clock),
        asker_(model_, flavour_, seed * 0x9E3779B97F4A7C15 + 1),
        reach_(reach) {
    model_.clock = 1'774'990'800'000'000;  // 2026-03-31T21:00:00Z
  }

  void run(std::uint64_t count) {
    populate();
    std::uint64_t next_look = 2'000;
    while (n_ < count) {
      asker_.move_clock();
      if (asker_.dice().chance(2))
        compare(asker_.several());
      else
        compare(asker_.next());
      if (n_ >= next_look) {
        compare_wallets();
        next_look += 2'000;
      }
    }
    compare_wallets();
    compare_books();
  }

 private:
  [[noreturn]] void diverge(const std::string& what) const {
    throw Divergence{"CALYX_TEST_SEED=" + std::to_string(seed_) + " question " + std::to_string(n_) + ": " +
                     what};
  }

  void populate() {
    const int humans = flavour_ == Flavour::street ? 5 : flavour_ == Flavour::crowd ? 70 : 600;
    for (int i = 0; i < humans; ++i)
      compare(Ask{.op = Op::create_wallet, .text = "first-" + std::to_string(i)});
    for (int i = 0; i < 10; ++i) {
      Ask ask{.op = Op::create_wallet, .other = i % 3, .text = "agent-" + std::to_string(i)};
      ask.type = OwnerType::agent;
      if (i % 3 != 0) ask.rules = {.per_job = 5'000'000, .per_hour = 30'000'000, .threshold = 2'000'000};
      if (i % 4 == 0) ask.rules.gpus = {"RTX 4090", "A100"};
      compare(ask);
    }
    Ask ask{.op = Op::change_wallet, .wallet = 1};
    ask.rules = {.per_hour = 60'000'000, .threshold = 3'000'000};
    ask.set_rule = {false, true, true, false};
    compare(ask);
    for (int i = 0; i < static_cast<int>(model_.wallets.size()); ++i)
      compare(Ask{.op = Op::topup,
                  .wallet = i,
                  .amount = flavour_ == Flavour::rich ? amount_max - i % 2 : 400'000'000});
  }

  void count(const Ask& ask, const Told& told) {
    ++n_;
    ++reach_.asked;
    if (told.reason == Reason::none) {
      ++reach_.done[static_cast<std::size_t>(ask.op)];
      if (told.replayed) ++reach_.replays;
    } else {
      ++reach_.refused[static_cast<std::size_t>(told.reason)];
    }
  }

  void judge(const Ask& ask, const Told& expected, const Told& got) {
    count(ask, expected);
    if (!same(expected, got))
      diverge(show(ask) + "\nthe model: " + show(expected) + "\nthe engine: " + show(got));
    if (!expected.slot) return;
    if (expected.slot->empty()) {
      if (expected.replayed) diverge(show(ask) + ": a first answer without an id");
      if (!ids_.insert(got.id).second) diverge(show(ask) + ": the id " + got.id + " was given before");
      *expected.slot = got.id;
    } else if (*expected.slot != got.id) {
      diverge(show(ask) + "\nfirst answered with " + *expected.slot + ", now with " + got.id);
    }
  }

  void compare(const Ask& ask) {
    asked_.know_approvals(model_.approvals);
    const Told expected = model_.run(ask);
    judge(ask, expected, asked_.ask(ask));
  }
  void compare(const std::vector<Ask>& asks) {
    std::vector<Told> expected;
    for (const Ask& ask : asks) expected.push_back(model_.run(ask));
    const std::vector<Told> got = asked_.bulk(asks);
    if (got.size() != asks.size()) diverge("bulk answered " + std::to_string(got.size()) + " operations");
    for (std::size_t i = 0; i < asks.size(); ++i) judge(asks[i], expected[i], got[i]);
  }

  void compare_wallets() {
    std::size_t i = 0;
    for (Page page{.limit = 1'000};;) {
      const auto listed = asked_.as_operator().wallets(page).value();
      for (const Wallet& got : listed.items) {
        if (i == model_.wallets.size()) diverge("the engine has more wallets");
        const int number = static_cast<int>(i);
        const ModelWallet& expected = model_.at(static_cast<int>(i++));
        const Micro due = model_.due(number);
        if (got.id != asked_.wallet(number) || got.balance.micro != expected.balance ||
            got.held.micro != expected.held || got.expired_pending.micro != due ||
            got.txn_count != expected.entries || got.status != expected.status ||
            got.policy != policy_of(expected.rules) || got.owner_id != expected.owner ||
            got.owner_type != expected.type)
          diverge("wallet " + std::to_string(number) + ": the model has " + std::to_string(expected.balance) +
                  " held " + std::to_string(expected.held) + " due " + std::to_string(due) + " entries " +
                  std::to_string(expected.entries) + ", the engine " + std::to_string(got.balance.micro) +
                  " held " + std::to_string(got.held.micro) + " due " +
                  std::to_string(got.expired_pending.micro) + " entries " + std::to_string(got.txn_count));
      }
      if (listed.next.empty()) break;
      page.after = listed.next;
    }
    if (i != model_.wallets.size()) diverge("the engine has fewer wallets");
  }

  /// At the end: every job's fate, every wallet's entries, and the audit.
  void compare_books() {
    model_.clock -= 600 * second;  // set back: what the log has seen is the past all the same
    Micro all = 0;
    for (const ModelWallet& wallet : model_.wallets) all += wallet.balance + wallet.held;
    if (all + model_.fees != model_.outside) diverge("the model's own books don't balance");
    std::map<int, std::map<std::string, const Job*>> by_payer;
    for (const Job& job : model_.jobs) {
      if (job.end == End::expired) ++reach_.expiries;
      if (job.end != End::burned) by_payer[job.payer][job.id] = &job;
    }
    for (int number = 0; number < static_cast<int>(model_.wallets.size()); ++number) {
      if (number % 7 != 0 && number > 16) continue;
      Micro sum = 0;
      for (Page page{.limit = 1'000};;) {
        const auto listed = asked_.as_operator().entries(asked_.wallet(number), page).value();
        for (const EntryView& entry : listed.items) sum += entry.amount.micro;
        if (listed.next.empty()) break;
        page.after = listed.next;
      }
      if (sum != model_.at(number).balance) diverge("entries of wallet " + std::to_string(number));
      const std::map<std::string, const Job*>& jobs = by_payer[number];
      std::size_t seen = 0;
      for (Page page{.limit = 1'000};;) {
        const auto listed = asked_.as_operator().escrows(asked_.wallet(number), page).value();
        for (const EscrowView& got : listed.items) {
          const auto found = jobs.find(got.job_id);
          if (found == jobs.end()) diverge("an escrow that nobody locked: " + got.job_id);
          const Job& job = *found->second;
          const bool late = job.end == End::open && job.deadline && model_.now() >= *job.deadline;
          const End end = late ? End::expired : job.end;
          if (static_cast<int>(got.state) != static_cast<int>(end) || got.amount.micro != job.amount)
            diverge("the escrow of " + got.job_id + " is " + std::string(word(got.state)));
          ++seen;
        }
        if (listed.next.empty()) break;
        page.after = listed.next;
      }
      if (seen != jobs.size()) diverge("escrows of wallet " + std::to_string(number));
    }
    const auto report = asked_.as_operator().audit();
    if (!report.ok()) diverge("the audit: " + report.error().message);
    if (!report->ok) diverge("the audit found " + report->first_fault);
  }

  std::uint64_t seed_;
  Flavour flavour_;
  Model model_;
  Asked asked_;
  Asker asker_;
  Reach& reach_;
  std::uint64_t n_ = 0;
  std::set<std::string> ids_;
};

static_assert(static_cast<int>(End::open) == static_cast<int>(EscrowState::open) &&
              static_cast<int>(End::settled) == static_cast<int>(EscrowState::settled) &&
              static_cast<int>(End::released) == static_cast<int>(EscrowState::released) &&
              static_cast<int>(End::expired) == static_cast<int>(EscrowState::expired));

}  // namespace

TEST_CASE("a million random questions get from the engine what the documents promise") {
  const char* one = std::getenv("CALYX_TEST_SEED");
  const auto seeds = testing::by_scale<std::uint64_t>(3, 40, 2'000);
  const auto questions = testing::by_scale<std::uint64_t>(17'000, 25'000, 25'000);
  Reach reach;
  std::mutex mutex;
  std::string first_divergence;
  std::atomic<std::uint64_t> next{0};
  const auto work = [&] {
    for (;;) {
      const std::uint64_t place = next.fetch_add(1);
      if (place >= (one != nullptr ? 1 : seeds)) return;
      const std::uint64_t seed = one != nullptr ? std::strtoull(one, nullptr, 10) : place;
      std::string what;
      try {
        Trial(seed, reach).run(questions);
        continue;
      } catch (const Divergence& divergence) {
        what = divergence.what;
      } catch (const std::exception& error) {
        what = "CALYX_TEST_SEED=" + std::to_string(seed) + ": " + error.what();
      }
      const std::lock_guard lock(mutex);
      if (first_divergence.empty()) first_divergence = what;
      next = seeds;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::min(4U, std::max(1U, std::thread::hardware_concurrency())); ++i)
    threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();

  std::string counts;
  for (std::size_t i = 0; i < ops; ++i)
    counts += std::string(op_words[i]) + " " + std::to_string(reach.done[i].load()) + ", ";
  for (const Reason reason : reasons_of_services)
    counts += std::string(word(reason)) + " " +
              std::to_string(reach.refused[static_cast<std::size_t>(reason)].load()) + ", ";
  MESSAGE(reach.asked.load(), " questions, seeds 0 to ", seeds - 1, ": ", counts, "replays ",
          reach.replays.load(), ", expiries ", reach.expiries.load());
  testing::told("model operations", reach.asked.load());
  testing::told("model seeds", one != nullptr ? std::string(one) : "0 to " + std::to_string(seeds - 1));
  CHECK_MESSAGE(first_divergence.empty(), first_divergence);
  if (!first_divergence.empty() || one != nullptr) return;

  // What was never asked was never compared.
  CHECK(reach.asked.load() >= testing::by_scale(50'000U, 1'000'000U, 50'000'000U));
  const auto least = testing::by_scale<std::uint64_t>(1, 100, 100);
  for (std::size_t i = 0; i < ops; ++i) {
    CAPTURE(op_words[i]);
    if (static_cast<Op>(i) != Op::too_many) CHECK(reach.done[i].load() >= least);
  }
  for (const Reason reason : reasons_of_services) {
    const std::string name(word(reason));
    CAPTURE(name);
    CHECK(reach.refused[static_cast<std::size_t>(reason)].load() >= least);
  }
  CHECK(reach.replays.load() >= 100 * least);
  CHECK(reach.expiries.load() >= 10 * least);
}
