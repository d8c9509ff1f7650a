// What a job's numbers say of its end: how many tasks to hand out at once, which are late, and whether the
// money lasts.
#include <algorithm>

#include "services/job_steps.hpp"

namespace calyx::services {

namespace json = core::json;
using core::Wide;
using store::JobState;
using store::JobStore;
using store::LeaseRow;

bool may_be_copied(const KnownJob& known) {
  return known.terms.idempotent && !known.terms.checkpoints && known.row.tasks > core::straggler_samples_min;
}

bool may_have_stragglers(const Held& job) {
  const JobState& state = job.state;
  return may_be_copied(*job.known) && state.failure == JobFailure::none && state.running > state.backups &&
         core::nears_its_end(job.known->row.tasks, state.completed + state.failed);
}

Result<std::uint64_t> share_of(Transaction& tx, const Held& job) {
  const std::uint64_t left = job.known->row.tasks - job.state.fresh;
  // Of what costs nothing no account is kept, so nobody knows how long it takes.
  const std::int64_t mean_ms =
      job.state.ran_ms / std::max<std::int64_t>(1, static_cast<std::int64_t>(job.state.attempts));
  if (mean_ms < core::shared_from_ms) return left;
  CALYX_TRY(const std::uint64_t leases, tx.store().jobs().leases_count(job.state.number));
  return core::lease_share(left, leases + 1, mean_ms);
}

Result<std::optional<LeaseRow>> find_straggler(Transaction& tx, const Held& job, const std::string& worker) {
  std::optional<LeaseRow> found;
  if (!may_have_stragglers(job)) return found;
  JobStore& jobs = tx.store().jobs();
  CALYX_TRY(const std::vector<core::DurationCount> times, jobs.times_of(job.state.number));
  const std::optional<std::int64_t> after_ms = core::straggler_ms(times);
  if (!after_ms) return found;
  CALYX_CHECK(jobs.leases_of(job.state.number, [&](const LeaseRow& row) -> Result<bool> {
    if (row.count == 1 && !row.copied && row.worker != worker && row.expires >= tx.now() &&
        tx.now().us - row.since.us > *after_ms * us_per_ms && (!found || row.since < found->since))
      found = row;
    return true;
  }));
  return found;
}

Result<Done> tell_low_funds(Transaction& tx, Held& job) {
  JobState& state = job.state;
  const std::uint64_t tasks = job.known->row.tasks, tasks_left = tasks - state.completed - state.failed;
  if (state.low_funds || state.failure != JobFailure::none) return Done{};
  const Money left{job.known->row.hold.micro - state.charged.micro};
  const std::optional<std::uint64_t> lasts = core::runs_short({.left = left.micro,
                                                               .charged = state.charged.micro,
                                                               .attempts = state.attempts,
                                                               .each = attempt_cost(*job.known),
                                                               .tasks = tasks,
                                                               .tasks_left = tasks_left});
  if (!lasts) return Done{};
  state.low_funds = true;
  json::Value told = json::object({{"event", "low_funds"},
                                   {"left", number(left)},
                                   {"tasks_left", tasks_left},
                                   {"projected_tasks", *lasts}});
  const std::int64_t ran_us = tx.now().us - state.started.us;
  const Wide rate = ran_us <= 0 ? 0 : static_cast<Wide>(state.charged.micro) * core::us_per_second / ran_us;
  told.object()->set("rate",
                     number(Money{static_cast<std::int64_t>(std::min<Wide>(rate, core::amount_max.micro))}));
  if (const auto spent = core::spent_in_us(left.micro, state.charged.micro, ran_us))
    told.object()->set("runs_out_at", core::iso_text(Instant{tx.now().us + *spent}));
  return tell(tx, job, told);
}

}  // namespace calyx::services
