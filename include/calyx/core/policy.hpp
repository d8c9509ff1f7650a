/// \file
/// Spend policies: what a wallet's owner allows, and the verdict on one spend. Values in, values out.
#pragma once

#include <algorithm>
#include <calyx/core/money.hpp>
#include <calyx/core/reason.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calyx {

/// What a wallet may spend. An absent rule binds nothing. Units: micro-FLOPS.
struct Policy {
  std::optional<Money> spend_cap_per_job{};   ///< Most that one job may lock.
  std::optional<Money> spend_cap_per_hour{};  ///< Most that may go out in a rolling 60 minutes.
  std::optional<Money> approval_threshold{};  ///< Above it a human must approve; at it none need.
  std::optional<std::vector<std::string>> allowed_gpu_types{};  ///< An empty list allows none.

  bool operator==(const Policy&) const = default;
};

namespace core {

/// Whose rule spoke: the derived key's that asked (derived_key.hpp), its session's, the wallet's own, or its
/// parent's.
enum class PolicyOwner : std::uint8_t { key, session, wallet, parent };

/// The policy that allows what both allow.
inline Policy tighter(const Policy& a, const Policy& b) {
  const auto lower = [](const std::optional<Money>& x, const std::optional<Money>& y) {
    if (!x || !y) return x ? x : y;
    return std::optional<Money>(std::min(*x, *y));
  };
  Policy out{.spend_cap_per_job = lower(a.spend_cap_per_job, b.spend_cap_per_job),
             .spend_cap_per_hour = lower(a.spend_cap_per_hour, b.spend_cap_per_hour),
             .approval_threshold = lower(a.approval_threshold, b.approval_threshold),
             .allowed_gpu_types = a.allowed_gpu_types ? a.allowed_gpu_types : b.allowed_gpu_types};
  if (a.allowed_gpu_types && b.allowed_gpu_types)
    std::erase_if(*out.allowed_gpu_types, [&](const std::string& gpu) {
      return std::find(b.allowed_gpu_types->begin(), b.allowed_gpu_types->end(), gpu) ==
             b.allowed_gpu_types->end();
    });
  return out;
}

/// What a spend asks for.
struct SpendAsked {
  Money amount{};
  std::optional<std::string_view> gpu_type{};  ///< Absent for what rents no GPU.
  bool judges_gpu = true;                      ///< False for transfers and payouts: they rent nothing.
};

/// One policy, and what its wallet (with its children, for a parent) sent out in the rolling hour.
struct PolicyFacts {
  const Policy* policy = nullptr;  ///< Null: no such policy (a wallet without a parent).
  bool active = true;
  Money spent_in_hour{};
};

/// One block of a derived key, and what was spent under it.
struct BlockFacts {
  PolicyFacts policy{};
  std::optional<Money> budget{};
  Money spent{};  ///< All, less what came back.
};

struct SpendFacts {
  std::vector<BlockFacts> blocks{};
  PolicyFacts session{};  ///< Its hour is the wallet's.
  PolicyFacts wallet{};
  PolicyFacts parent{};
  bool approved = false;  ///< A human approved this very spend; it lifts thresholds only.
  Money balance{};
};

/// The first rule that refuses, with its numbers; `reason == none` when the spend may pass.
struct SpendVerdict {
  Reason reason = Reason::none;
  PolicyOwner owner = PolicyOwner::wallet;
  Money limit{};  ///< The cap, threshold or balance that spoke.
  Money room{};   ///< What would still have passed under that rule.
};

constexpr bool allows_gpu(const Policy& policy, std::optional<std::string_view> gpu_type) {
  if (!policy.allowed_gpu_types) return true;
  if (!gpu_type) return false;
  return std::any_of(policy.allowed_gpu_types->begin(), policy.allowed_gpu_types->end(),
                     [&](const std::string& allowed) { return allowed == *gpu_type; });
}

/// Judges a spend in the promised order: active, GPU, job cap, hour cap, budget, approval, balance; the key's
/// rules before the session's, that before the wallet's own, and that before its parent's.
constexpr SpendVerdict judge(const SpendAsked& asked, const SpendFacts& facts) {
  const PolicyFacts* const all[] = {&facts.session, &facts.wallet, &facts.parent};
  const auto owner = [&](const PolicyFacts* of) {
    if (of == &facts.session) return PolicyOwner::session;
    return of == &facts.wallet ? PolicyOwner::wallet : PolicyOwner::parent;
  };
  const auto each = [&](auto rule) -> SpendVerdict {
    for (const BlockFacts& block : facts.blocks)
      if (SpendVerdict verdict = rule(block.policy); verdict.reason != Reason::none) {
        verdict.owner = PolicyOwner::key;
        return verdict;
      }
    for (const PolicyFacts* of : all)
      if (of->policy != nullptr)
        if (SpendVerdict verdict = rule(*of); verdict.reason != Reason::none) {
          verdict.owner = owner(of);
          return verdict;
        }
    return {};
  };

  SpendVerdict verdict = each([](const PolicyFacts& of) -> SpendVerdict {
    if (of.active) return {};
    return {.reason = Reason::wallet_not_active};
  });
  if (verdict.reason != Reason::none) return verdict;

  verdict = each([&](const PolicyFacts& of) -> SpendVerdict {
    if (!asked.judges_gpu || allows_gpu(*of.policy, asked.gpu_type)) return {};
    return {.reason = Reason::gpu_not_allowed};
  });
  if (verdict.reason != Reason::none) return verdict;

  verdict = each([&](const PolicyFacts& of) -> SpendVerdict {
    const auto& cap = of.policy->spend_cap_per_job;
    if (!cap || asked.amount <= *cap) return {};
    return {.reason = Reason::spend_cap_per_job, .limit = *cap, .room = *cap};
  });
  if (verdict.reason != Reason::none) return verdict;

  verdict = each([&](const PolicyFacts& of) -> SpendVerdict {
    const auto& cap = of.policy->spend_cap_per_hour;
    if (!cap) return {};
    const Wide after = static_cast<Wide>(of.spent_in_hour.micro) + asked.amount.micro;
    if (after <= cap->micro) return {};
    return {.reason = Reason::spend_cap_per_hour,
            .limit = *cap,
            .room = Money{std::max<std::int64_t>(0, cap->micro - of.spent_in_hour.micro)}};
  });
  if (verdict.reason != Reason::none) return verdict;

  for (const BlockFacts& block : facts.blocks) {
    // Without a budget only what no sum of money can be is refused.
    const Money most = block.budget.value_or(Money{INT64_MAX});
    if (static_cast<Wide>(block.spent.micro) + asked.amount.micro <= most.micro) continue;
    return {.reason = Reason::budget_spent,
            .owner = PolicyOwner::key,
            .limit = most,
            .room = Money{std::max<std::int64_t>(0, most.micro - block.spent.micro)}};
  }

  if (!facts.approved) {
    verdict = each([&](const PolicyFacts& of) -> SpendVerdict {
      const auto& threshold = of.policy->approval_threshold;
      if (!threshold || asked.amount <= *threshold) return {};
      return {.reason = Reason::approval_required, .limit = *threshold, .room = *threshold};
    });
    if (verdict.reason != Reason::none) return verdict;
  }

  if (asked.amount > facts.balance)
    return {.reason = Reason::insufficient_balance, .limit = facts.balance, .room = facts.balance};
  return {};
}

}  // namespace core
}  // namespace calyx
