#include <doctest/doctest.h>

#include <calyx/core/policy.hpp>
#include <string>
#include <vector>

using namespace calyx;
using core::PolicyOwner;
using core::SpendAsked;
using core::SpendFacts;
using core::SpendVerdict;

namespace {

constexpr Money flops(std::int64_t whole) { return Money{whole * core::micro_per_flops}; }
const std::optional<std::string_view> rtx = "RTX 4090";

Policy rules_met_exactly() {
  Policy policy;
  policy.spend_cap_per_job = flops(10);
  policy.spend_cap_per_hour = flops(30);
  policy.approval_threshold = flops(10);
  policy.allowed_gpu_types = {"A100", "RTX 4090"};
  return policy;
}

/// Two wallets whose rules a spend of 10 FLOPS on an RTX 4090 meets exactly: at every limit, none broken.
struct Story {
  Policy wallet = rules_met_exactly();
  Policy parent = wallet;
  Policy session = wallet;
  Policy key = wallet;  // of a derived key's second block; the first one allows all
  std::optional<Money> budget = flops(50);
  SpendAsked asked{.amount = flops(10), .gpu_type = rtx};
  bool wallet_active = true, parent_active = true, has_parent = true, approved = false;
  Money key_hour = flops(20), key_spent = flops(40);
  Money session_spent = flops(20), wallet_spent = flops(20), parent_spent = flops(20);
  Money balance = flops(10);

  SpendVerdict verdict() const {
    const Policy none;
    SpendFacts facts;
    facts.blocks = {
        {.policy = {.policy = &none}},
        {.policy = {.policy = &key, .spent_in_hour = key_hour}, .budget = budget, .spent = key_spent}};
    facts.session = {.policy = &session, .spent_in_hour = session_spent};
    facts.wallet = {.policy = &wallet, .active = wallet_active, .spent_in_hour = wallet_spent};
    if (has_parent)
      facts.parent = {.policy = &parent, .active = parent_active, .spent_in_hour = parent_spent};
    facts.approved = approved;
    facts.balance = balance;
    return core::judge(asked, facts);
  }
};

/// A rule, and how to break it alone.
struct Rule {
  std::string says;
  Reason reason;
  PolicyOwner owner;
  void (*break_it)(Story&);
};

/// In the order in which they are promised to be judged.
const Rule rules[] = {
    {"the wallet is frozen", Reason::wallet_not_active, PolicyOwner::wallet,
     [](Story& of) { of.wallet_active = false; }},
    {"the parent is frozen", Reason::wallet_not_active, PolicyOwner::parent,
     [](Story& of) { of.parent_active = false; }},
    {"the key's allowlist lacks the GPU", Reason::gpu_not_allowed, PolicyOwner::key,
     [](Story& of) { of.key.allowed_gpu_types->pop_back(); }},
    {"the session's allowlist lacks the GPU", Reason::gpu_not_allowed, PolicyOwner::session,
     [](Story& of) { of.session.allowed_gpu_types->pop_back(); }},
    {"the wallet's allowlist lacks the GPU", Reason::gpu_not_allowed, PolicyOwner::wallet,
     [](Story& of) { of.wallet.allowed_gpu_types->pop_back(); }},
    {"the parent's allowlist lacks the GPU", Reason::gpu_not_allowed, PolicyOwner::parent,
     [](Story& of) { of.parent.allowed_gpu_types->pop_back(); }},
    {"one micro above the key's job cap", Reason::spend_cap_per_job, PolicyOwner::key,
     [](Story& of) { --of.key.spend_cap_per_job->micro; }},
    {"one micro above the session's job cap", Reason::spend_cap_per_job, PolicyOwner::session,
     [](Story& of) { --of.session.spend_cap_per_job->micro; }},
    {"one micro above the wallet's job cap", Reason::spend_cap_per_job, PolicyOwner::wallet,
     [](Story& of) { --of.wallet.spend_cap_per_job->micro; }},
    {"one micro above the parent's job cap", Reason::spend_cap_per_job, PolicyOwner::parent,
     [](Story& of) { --of.parent.spend_cap_per_job->micro; }},
    {"one micro above the key's hour cap", Reason::spend_cap_per_hour, PolicyOwner::key,
     [](Story& of) { ++of.key_hour.micro; }},
    {"one micro above the session's hour cap", Reason::spend_cap_per_hour, PolicyOwner::session,
     [](Story& of) { ++of.session_spent.micro; }},
    {"one micro above the wallet's hour cap", Reason::spend_cap_per_hour, PolicyOwner::wallet,
     [](Story& of) { ++of.wallet_spent.micro; }},
    {"one micro above the parent's hour cap", Reason::spend_cap_per_hour, PolicyOwner::parent,
     [](Story& of) { ++of.parent_spent.micro; }},
    {"one micro above the key's budget", Reason::budget_spent, PolicyOwner::key,
     [](Story& of) { --of.budget->micro; }},
    {"one micro above the key's threshold", Reason::approval_required, PolicyOwner::key,
     [](Story& of) { --of.key.approval_threshold->micro; }},
    {"one micro above the session's threshold", Reason::approval_required, PolicyOwner::session,
     [](Story& of) { --of.session.approval_threshold->micro; }},
    {"one micro above the wallet's threshold", Reason::approval_required, PolicyOwner::wallet,
     [](Story& of) { --of.wallet.approval_threshold->micro; }},
    {"one micro above the parent's threshold", Reason::approval_required, PolicyOwner::parent,
     [](Story& of) { --of.parent.approval_threshold->micro; }},
    {"one micro short of balance", Reason::insufficient_balance, PolicyOwner::wallet,
     [](Story& of) { --of.balance.micro; }},
};

}  // namespace

TEST_CASE("a spend at every limit at once passes") {
  const Story story;
  CHECK(story.verdict().reason == Reason::none);
}

TEST_CASE("each rule of a policy refuses by itself, and says whose rule it was") {
  for (const Rule& rule : rules) {
    CAPTURE(rule.says);
    Story story;
    rule.break_it(story);
    const SpendVerdict verdict = story.verdict();
    CHECK(verdict.reason == rule.reason);
    CHECK(verdict.owner == rule.owner);
  }
}

TEST_CASE("of several broken rules the first in the promised order speaks") {
  for (std::size_t first = 0; first < std::size(rules); ++first) {
    CAPTURE(rules[first].says);
    Story story;
    for (std::size_t i = std::size(rules); i-- > first;) rules[i].break_it(story);
    const SpendVerdict all = story.verdict();
    CHECK(all.reason == rules[first].reason);
    CHECK(all.owner == rules[first].owner);
    for (std::size_t second = first + 1; second < std::size(rules); ++second) {
      CAPTURE(rules[second].says);
      Story pair;
      rules[second].break_it(pair);
      rules[first].break_it(pair);
      const SpendVerdict verdict = pair.verdict();
      CHECK(verdict.reason == rules[first].reason);
      CHECK(verdict.owner == rules[first].owner);
    }
  }
}

TEST_CASE("an approval lifts the thresholds of session, wallet and parent, and nothing else") {
  for (const Rule& rule : rules) {
    CAPTURE(rule.says);
    Story story;
    rule.break_it(story);
    story.approved = true;
    CHECK(story.verdict().reason == (rule.reason == Reason::approval_required ? Reason::none : rule.reason));
  }
}

TEST_CASE("a wallet without a parent or without rules is bound by its balance alone") {
  Story alone;
  for (const Rule& rule : rules)
    if (rule.owner == PolicyOwner::parent) rule.break_it(alone);
  alone.has_parent = false;
  CHECK(alone.verdict().reason == Reason::none);

  Story free;
  free.key = free.session = free.wallet = free.parent = Policy{};
  free.budget.reset();
  free.asked = {.amount = core::amount_max};
  free.balance = core::amount_max;
  free.wallet_spent = free.parent_spent = core::supply_max;
  CHECK(free.verdict().reason == Reason::none);
  --free.balance.micro;
  CHECK(free.verdict().reason == Reason::insufficient_balance);
}

TEST_CASE("an allowlist is read literally, and only by what rents a GPU") {
  using List = std::optional<std::vector<std::string>>;
  struct Row {
    std::string says;
    List list;
    std::optional<std::string_view> gpu;
    bool judges_gpu;
    Reason expected;
  };
  const Row rows[] = {
      {"no list allows all", std::nullopt, rtx, true, Reason::none},
      {"no list allows none named", std::nullopt, std::nullopt, true, Reason::none},
      {"an empty list allows none", List{std::in_place}, rtx, true, Reason::gpu_not_allowed},
      {"a list wants a name", List{{"RTX 4090"}}, std::nullopt, true, Reason::gpu_not_allowed},
      {"case counts", List{{"rtx 4090"}}, rtx, true, Reason::gpu_not_allowed},
      {"so do spaces", List{{"RTX 4090 "}}, rtx, true, Reason::gpu_not_allowed},
      {"a beginning is not enough", List{{"RTX"}}, rtx, true, Reason::gpu_not_allowed},
      {"the last of many", List{{"A100", "H100", "RTX 4090"}}, rtx, true, Reason::none},
      {"a transfer rents nothing", List{std::in_place}, std::nullopt, false, Reason::none},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Story story;
    story.wallet.allowed_gpu_types = row.list;
    story.key.allowed_gpu_types.reset();
    story.session.allowed_gpu_types.reset();
    story.parent.allowed_gpu_types.reset();
    story.asked.gpu_type = row.gpu;
    story.asked.judges_gpu = row.judges_gpu;
    CHECK(story.verdict().reason == row.expected);
  }
}

TEST_CASE("a refusal tells the limit and the room that is left under it") {
  Story hour;
  hour.session = Policy{};
  hour.wallet_spent = flops(28);
  SpendVerdict verdict = hour.verdict();
  CHECK(verdict.reason == Reason::spend_cap_per_hour);
  CHECK(verdict.limit == flops(30));
  CHECK(verdict.room == flops(2));
  hour.asked.amount = verdict.room;
  CHECK(hour.verdict().reason == Reason::none);

  Story budget;
  budget.key_spent = flops(47);
  verdict = budget.verdict();
  CHECK(verdict.reason == Reason::budget_spent);
  CHECK(verdict.limit == flops(50));
  CHECK(verdict.room == flops(3));
  budget.key_spent = flops(60);  // it was given less than what is spent already
  CHECK(budget.verdict().room == Money{});
  budget.budget.reset();
  CHECK(budget.verdict().reason == Reason::none);
  budget.key_spent = Money{INT64_MAX - flops(10).micro + 1};
  CHECK(budget.verdict().reason == Reason::budget_spent);  // no budget, but a sum that nothing can hold

  // A cap that was lowered below what went out already leaves no room, not less than none.
  Story lowered;
  lowered.session = Policy{};
  lowered.wallet_spent = flops(31);
  CHECK(lowered.verdict().room == Money{});

  Story job;
  job.asked.amount = flops(11);
  verdict = job.verdict();
  CHECK(verdict.reason == Reason::spend_cap_per_job);
  CHECK(verdict.limit == flops(10));
  CHECK(verdict.room == flops(10));

  Story poor;
  poor.balance = flops(3);
  verdict = poor.verdict();
  CHECK(verdict.reason == Reason::insufficient_balance);
  CHECK(verdict.room == flops(3));

  // The largest amounts do not overflow.
  Story large;
  large.session = large.wallet = large.parent = Policy{.spend_cap_per_hour = core::amount_max};
  large.key = {};
  large.budget.reset();
  large.wallet_spent = large.balance = core::supply_max;
  large.asked.amount = core::amount_max;
  CHECK(large.verdict().reason == Reason::spend_cap_per_hour);
}

TEST_CASE("of two policies the tighter allows what both allow") {
  const Policy none;
  const Policy some{.spend_cap_per_job = flops(3),
                    .spend_cap_per_hour = flops(9),
                    .approval_threshold = flops(2),
                    .allowed_gpu_types = std::vector<std::string>{"A100", "H100"}};
  const Policy other{.spend_cap_per_job = flops(4),
                     .spend_cap_per_hour = flops(8),
                     .approval_threshold = flops(2),
                     .allowed_gpu_types = std::vector<std::string>{"H100", "RTX 4090"}};
  CHECK(core::tighter(none, none) == none);
  CHECK(core::tighter(none, some) == some);
  CHECK(core::tighter(some, none) == some);
  CHECK(core::tighter(some, some) == some);
  const Policy both{.spend_cap_per_job = flops(3),
                    .spend_cap_per_hour = flops(8),
                    .approval_threshold = flops(2),
                    .allowed_gpu_types = std::vector<std::string>{"H100"}};
  CHECK(core::tighter(some, other) == both);
  CHECK(core::tighter(other, some) == both);
}
