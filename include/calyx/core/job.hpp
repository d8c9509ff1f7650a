/// \file
/// A job's rules: its states, what it may cost, when a task is tried again, and whose turn it is.
///
/// Start at `JobStatus`, `worst_case`, `before`. What a job splits into is core/job_shape.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <calyx/core/money.hpp>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>

namespace calyx {

/// `planning` waits for other jobs, `queued` for a worker. The numbers are in the file: none moves.
enum class JobStatus : std::uint8_t { planning, queued, running, completed, partial, failed, cancelled };
constexpr std::string_view word(JobStatus status) noexcept {
  constexpr std::string_view words[] = {"planning", "queued", "running",  "completed",
                                        "partial",  "failed", "cancelled"};
  return words[static_cast<std::size_t>(status)];
}
/// A terminal status never changes.
constexpr bool is_terminal(JobStatus status) noexcept { return status >= JobStatus::completed; }

/// The first is served first.
enum class JobPriority : std::uint8_t { high, normal, low };
constexpr std::string_view word(JobPriority priority) noexcept {
  constexpr std::string_view words[] = {"high", "normal", "low"};
  return words[static_cast<std::size_t>(priority)];
}

/// What became of a task. `cancelled`: it had not ended when its job did.
enum class TaskStatus : std::uint8_t { queued, running, completed, failed, cancelled };
constexpr std::string_view word(TaskStatus status) noexcept {
  constexpr std::string_view words[] = {"queued", "running", "completed", "failed", "cancelled"};
  return words[static_cast<std::size_t>(status)];
}

/// Why a task's attempt, or a whole job, did not come to its end. The words are part of the wire.
enum class JobFailure : std::uint8_t {
  none,
  exit_nonzero,        ///< The command said so.
  signalled,           ///< The command was killed by a signal that we did not send.
  timed_out,           ///< The attempt took longer than `timeout_s`.
  out_of_memory,       ///< The command went beyond its memory,
  out_of_disk,         ///< or its files took more than they may.
  result_missing,      ///< It ended well and wrote no result,
  result_invalid,      ///< or one that is no JSON we take.
  task_failed,         ///< A host's function or recipe said so.
  not_started,         ///< The command could not be started.
  lease_lost,          ///< Workers vanished with it more often than it is handed out again.
  budget_exhausted,    ///< What the job holds would not cover another task.
  too_many_failures,   ///< More tasks failed than `max_failed_tasks`.
  dependency_failed,   ///< A job that it depends on did not complete.
  deadline_passed,     ///< It was not done by its `deadline_s`.
  queue_expired,       ///< No worker took it within its `queue_ttl_s`.
  merge_failed,        ///< The tasks' results cannot be merged as the job asks.
  cancelled,           ///< Somebody asked.
  source_unavailable,  ///< A data source of its project cannot be had here just now,
  source_refused,      ///< or never will be.
};
constexpr std::string_view word(JobFailure failure) noexcept {
  constexpr std::string_view words[] = {
      "none",          "exit_nonzero",     "signalled",         "timed_out",          "out_of_memory",
      "out_of_disk",   "result_missing",   "result_invalid",    "task_failed",        "not_started",
      "lease_lost",    "budget_exhausted", "too_many_failures", "dependency_failed",  "deadline_passed",
      "queue_expired", "merge_failed",     "cancelled",         "source_unavailable", "source_refused"};
  return words[static_cast<std::size_t>(failure)];
}
inline constexpr JobFailure job_failure_last = JobFailure::source_refused;
inline constexpr std::size_t job_failures = static_cast<std::size_t>(job_failure_last) + 1;

/// Of a job's name in the batch that it is submitted with.
inline constexpr std::size_t job_alias_bytes_max = 64;

/// The failure that `text` names, or nothing.
constexpr std::optional<JobFailure> read_job_failure(std::string_view text) noexcept {
  for (std::size_t i = 0; i < job_failures; ++i)
    if (text == word(static_cast<JobFailure>(i))) return static_cast<JobFailure>(i);
  return std::nullopt;
}

/// What to do about it, in one sentence: a job's `recommended_action`.
constexpr std::string_view recommended_action(JobFailure failure) noexcept {
  switch (failure) {
    case JobFailure::none: return {};
    case JobFailure::exit_nonzero:
      return "read the task's output, mend the command, and submit again with retry_of";
    case JobFailure::signalled:
      return "read the task's output: the command crashed, or something outside calyx killed it";
    case JobFailure::timed_out: return "raise timeout_s, or split the work into more tasks";
    case JobFailure::out_of_memory: return "raise requirements.memory_mb, or split the work into more tasks";
    case JobFailure::out_of_disk:
      return "raise requirements.storage_gb, write less, or split the work into more tasks";
    case JobFailure::result_missing:
      return "write the result to the file that COMPUTALOT_TASK_RESULT names before the command ends";
    case JobFailure::result_invalid:
      return "write one JSON value, with no NaN and no integer beyond 2^53 - 1, and end the command with 0";
    case JobFailure::task_failed:
      return "read the task's error, mend what it calls, and submit again with retry_of";
    case JobFailure::not_started:
      return "check runner_command[0] and what the worker may run; see the project's status/details";
    case JobFailure::lease_lost: return "submit again with retry_of; if it happens again look at the workers";
    case JobFailure::budget_exhausted: return "submit again with retry_of and a max_cost for what is left";
    case JobFailure::too_many_failures:
      return "read the failed tasks' errors, mend what they share, and submit again with retry_of";
    case JobFailure::dependency_failed: return "mend the job named in the error, then submit this one again";
    case JobFailure::deadline_passed: return "raise deadline_s, or start more workers";
    case JobFailure::queue_expired:
      return "start a worker that meets the job's requirements, or raise queue_ttl_s";
    case JobFailure::merge_failed:
      return "read the tasks' results, and choose a merge_strategy or reduce that fits them";
    case JobFailure::cancelled:
      return "submit again, with retry_of for what is left, if the work is still wanted";
    case JobFailure::source_unavailable:
      return "submit again with retry_of; if it happens again ask for workers whose host has the data source";
    case JobFailure::source_refused:
      return "mend data_sources in the project's manifest as the task's error says, push, and submit again";
  }
  return {};
}

namespace core {

/// Whether the payer is charged for an attempt that ended so: for what its own work brought about, and not
/// for a worker that vanished or a command that never ran.
constexpr bool is_charged(JobFailure failure) noexcept {
  return failure != JobFailure::lease_lost && failure != JobFailure::not_started &&
         failure != JobFailure::source_unavailable && failure != JobFailure::source_refused;
}

/// Whether a task that failed so would fail again, whoever tries.
constexpr bool is_final(JobFailure failure) noexcept { return failure == JobFailure::source_refused; }

/// Whether a task that failed so is handed out again out of the workers' budget, not the job's `max_retries`.
constexpr bool is_infrastructure(JobFailure failure) noexcept {
  return !is_charged(failure) && !is_final(failure);
}
inline constexpr std::int64_t infrastructure_retries_max = 3;

/// How a job ended whose tasks have all ended.
constexpr JobStatus status_of(std::uint64_t completed, std::uint64_t failed) noexcept {
  if (failed == 0) return JobStatus::completed;
  return completed == 0 ? JobStatus::failed : JobStatus::partial;
}

// ── money ──

/// What a task runs on. Zero asks for none.
struct Requirements {
  std::int64_t cpu = 0;  ///< Cores.
  std::int64_t memory_mb = 0;
  std::int64_t gpu_count = 0;
  std::int64_t gpu_memory_mb = 0;
  std::int64_t storage_gb = 0;
  std::string gpu_type{};  ///< The model, as allowlists judge it.
  std::string profile{};   ///< A name that host and user agree on.

  bool operator==(const Requirements&) const = default;
};

/// The host's prices. Units: micro-FLOPS a second. All are zero until the host sets them.
struct Prices {
  Money base{};                         ///< Of every task, whatever it needs.
  Money cpu{};                          ///< A core.
  Money memory_gb{};                    ///< 1,024 MB, by the MB and rounded up.
  std::map<std::string, Money> gpus{};  ///< A GPU, by `gpu_type`; `*` is any other.

  bool operator==(const Prices&) const = default;
};

/// What a second of one task costs. Units: micro-FLOPS. Up to about 10^30, so never an amount by itself.
inline Wide rate_of(const Prices& prices, const Requirements& needs) noexcept {
  Wide rate = prices.base.micro;
  rate += static_cast<Wide>(prices.cpu.micro) * needs.cpu;
  rate += (static_cast<Wide>(prices.memory_gb.micro) * needs.memory_mb + 1023) / 1024;
  if (needs.gpu_count > 0) {
    auto price = prices.gpus.find(needs.gpu_type);
    if (price == prices.gpus.end()) price = prices.gpus.find("*");
    if (price != prices.gpus.end()) rate += static_cast<Wide>(price->second.micro) * needs.gpu_count;
  }
  return rate;
}

/// What an attempt of `ms` milliseconds costs: rounded up to the micro. `rate` is at most `amount_max`.
constexpr Wide charge(Wide rate, std::int64_t ms) noexcept { return (rate * ms + 999) / 1000; }

/// What a job costs if each task takes every try and every second that it may; nothing when that is beyond
/// 2^126, which no budget is.
constexpr std::optional<Wide> worst_case(Wide rate, std::uint64_t tasks, std::int64_t tries,
                                         std::int64_t timeout_s) noexcept {
  constexpr Wide limit = Wide{1} << 126;
  Wide cost = rate;
  for (const Wide factor :
       {static_cast<Wide>(timeout_s), static_cast<Wide>(tries), static_cast<Wide>(tasks)}) {
    if (factor != 0 && cost > limit / factor) return std::nullopt;
    cost *= factor;
  }
  return cost;
}

// ── trying again ──

inline constexpr std::int64_t retry_base_ms = 1'000;
inline constexpr std::int64_t retry_cap_ms = 300'000;

/// How long to wait before try `attempt` (from 1 on, the first one again): anything below
/// min(`retry_cap_ms`, `retry_base_ms` · 2^(attempt - 1)), as `dice` has it ("full jitter"), so that what
/// failed together does not come back together.
constexpr std::int64_t retry_delay_ms(std::int64_t attempt, std::uint64_t dice) noexcept {
  std::int64_t most = retry_base_ms;
  for (std::int64_t i = 1; i < attempt && most < retry_cap_ms; ++i) most *= 2;
  return static_cast<std::int64_t>(dice % static_cast<std::uint64_t>(std::min(most, retry_cap_ms)));
}

// ── stragglers ──

/// The bucket of a duration: exact below 8 ms, then four to each doubling.
constexpr std::int64_t duration_bucket(std::int64_t ms) noexcept {
  const auto whole = static_cast<std::uint64_t>(std::max<std::int64_t>(0, ms));
  if (whole < 4) return static_cast<std::int64_t>(whole);
  const auto doublings = static_cast<std::int64_t>(std::bit_width(whole)) - 3;  // beyond 4 ms
  return 4 * doublings + (static_cast<std::int64_t>(whole) >> doublings);
}
/// The longest duration of `bucket`. Units: ms.
constexpr std::int64_t longest_in(std::int64_t bucket) noexcept {
  if (bucket < 4) return bucket;
  const std::int64_t doublings = bucket / 4 - 1;
  return ((bucket % 4 + 5) << doublings) - 1;
}

/// How many tasks took a time of `bucket`.
struct DurationCount {
  std::int64_t bucket = 0;
  std::uint64_t count = 0;
};

/// What three of four durations do not exceed, rounded up to their bucket's longest. `times` are in the order
/// of their buckets; of none it is 0. Units: ms.
constexpr std::int64_t p75_ms(std::span<const DurationCount> times) noexcept {
  std::uint64_t all = 0, seen = 0;
  for (const DurationCount& time : times) all += time.count;
  for (const DurationCount& time : times) {
    seen += time.count;
    if (seen >= all - all / 4) return longest_in(time.bucket);
  }
  return 0;
}

inline constexpr std::uint64_t straggler_samples_min = 10;
inline constexpr std::int64_t straggler_least_ms = 30'000;

/// Whether so many of a job's tasks have ended that those which still run may be stragglers: three of four.
constexpr bool nears_its_end(std::uint64_t tasks, std::uint64_t ended) noexcept {
  return ended >= tasks - tasks / 4;
}

/// For how long a task must have run for a second copy of it to be handed out, where `times` are those of
/// the tasks that completed; nothing while these are too few to tell. Units: ms.
constexpr std::optional<std::int64_t> straggler_ms(std::span<const DurationCount> times) noexcept {
  std::uint64_t samples = 0;
  for (const DurationCount& time : times) samples += time.count;
  if (samples < straggler_samples_min) return std::nullopt;
  return std::max(2 * p75_ms(times), straggler_least_ms);
}

// ── how much at once ──

inline constexpr std::int64_t shared_from_ms = 10;

/// How many of the `left` tasks that nobody had yet one lease may take, so that no worker sits on the last
/// ones while others idle: an even share of half of them ("guided self-scheduling") among `workers`, with
/// the one that asks. All of them where it works alone, and where a task takes less than `shared_from_ms`,
/// since a lease has a cost too, or nobody knows yet.
constexpr std::uint64_t lease_share(std::uint64_t left, std::uint64_t workers,
                                    std::int64_t mean_ms) noexcept {
  if (mean_ms < shared_from_ms || workers < 2 || left == 0) return left;
  return (left - 1) / (2 * workers) + 1;
}

// ── whether the money lasts ──

/// What a job spends. Units: micro-FLOPS.
struct Spending {
  Wide left = 0;               ///< Held, and not charged.
  Wide charged = 0;            ///< For
  std::uint64_t attempts = 0;  ///< so many attempts.
  Wide each = 0;               ///< What another attempt may cost at most, which must be left for it to begin.
  std::uint64_t tasks = 0;
  std::uint64_t tasks_left = 0;  ///< Of them, have not ended.
};

/// For how many of its `tasks_left` the money lasts, if an attempt goes on costing what it did so far and
/// each task takes one; nothing where that is all of them, or too little was tried to tell.
constexpr std::optional<std::uint64_t> runs_short(const Spending& job) noexcept {
  const std::uint64_t enough = std::min<std::uint64_t>(10, job.tasks / 10 + 1);
  if (job.attempts < enough || job.charged <= 0) return std::nullopt;
  if (job.left < job.each) return job.tasks_left == 0 ? std::nullopt : std::optional<std::uint64_t>(0);
  // One more begins as long as its worst case is left: (left - each) / (charged / attempts), and that one.
  const Wide lasts = (job.left - job.each) * static_cast<Wide>(job.attempts) / job.charged + 1;
  if (lasts >= static_cast<Wide>(job.tasks_left)) return std::nullopt;
  return static_cast<std::uint64_t>(lasts);
}

/// In how long `left` is spent, where `charged` was in `ran_us`; nothing where that is a thousand years, or
/// no time has passed. Units: us.
constexpr std::optional<std::int64_t> spent_in_us(Wide left, Wide charged, std::int64_t ran_us) noexcept {
  constexpr Wide most = Wide{365'000} * 86'400 * us_per_second;
  if (charged <= 0 || ran_us <= 0) return std::nullopt;
  const Wide us = left * ran_us / charged;
  return us < most ? std::optional(static_cast<std::int64_t>(us)) : std::nullopt;
}

// ── whose turn it is ──

/// After this long a job is served as if it were of the class above, so that nothing starves.
inline constexpr std::int64_t ageing_us = 15 * 60 * us_per_second;

/// A job that has a task to hand out.
struct Waiting {
  std::int64_t number = 0;
  JobPriority priority = JobPriority::normal;
  Instant since;                      ///< Of its submission.
  std::uint64_t running_account = 0;  ///< Tasks that its account has with workers now, over all its jobs.
};

/// Its class at `now`.
constexpr JobPriority aged(const Waiting& job, Instant now) noexcept {
  const std::int64_t classes = std::max<std::int64_t>(0, now.us - job.since.us) / ageing_us;
  const auto own = static_cast<std::int64_t>(job.priority);
  return static_cast<JobPriority>(std::max<std::int64_t>(0, own - classes));
}

/// Whether `a` is served before `b`: by class, then the account with fewer tasks running, then the older job.
constexpr bool before(const Waiting& a, const Waiting& b, Instant now) noexcept {
  const auto key = [now](const Waiting& job) {
    return std::tuple(aged(job, now), job.running_account, job.number);
  };
  return key(a) < key(b);
}

}  // namespace core
}  // namespace calyx
