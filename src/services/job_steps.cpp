#include "services/job_steps.hpp"

#include <algorithm>

#include "crypto/sha256.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using core::Wide;
using store::JobState;
using store::JobStore;
using store::LeaseRow;
using store::Readiness;

/// How long the task at the front of a lease may go without an outcome, however often its worker says that it
/// lives: its timeout, and time to tell.
std::int64_t silence_us(const KnownJob& known) {
  return known.terms.timeout_s * core::us_per_second + lease_us;
}

/// Takes every task from its worker: what runs is charged for the time that it ran, and its report will find
/// no lease. A lease that is late is over, whether or not anybody has looked at it since: of a worker that
/// vanished nothing is charged, of a task that hung its timeout.
Result<Done> stop_tasks(Transaction& tx, Held& job) {
  std::vector<LeaseRow> leases;
  CALYX_CHECK(tx.store().jobs().leases_of(job.state.number, [&](const LeaseRow& row) -> Result<bool> {
    leases.push_back(row);
    return true;
  }));
  const auto ran_ms = [&](const LeaseRow& lease) -> std::int64_t {
    if (lease.expires < tx.now() && !hung(*job.known, lease)) return 0;
    return std::max<std::int64_t>(0, (tx.now().us - lease.since.us) / us_per_ms);
  };
  JobStore& jobs = tx.change_jobs();
  for (std::size_t i = 0; i < leases.size(); ++i) {
    LeaseRow& lease = leases[i];
    const bool copied = i + 1 < leases.size() && leases[i + 1].first == lease.first;
    // Of two copies one is charged: the one that ran longer.
    if (copied && ran_ms(lease) > ran_ms(leases[i + 1])) std::swap(lease, leases[i + 1]);
    CALYX_CHECK(jobs.remove_lease(lease.token));
    if (copied) {
      drop_copy(job);
      continue;
    }
    CALYX_CHECK(charge_front(tx, job, lease, ran_ms(lease)));
    CALYX_CHECK(jobs.put_ended({.job = lease.job,
                                .task = lease.first,
                                .attempts = lease.attempt,
                                .failure = job.state.failure,
                                .message = job.state.error}));
    uncommit(job, lease.count);
  }
  if (job.state.retrying != 0) CALYX_CHECK(jobs.remove_retries(job.state.number));
  job.state.retrying = 0;
  return Done{};
}

}  // namespace

Error no_job(std::string_view id) {
  return fail(Reason::job_unknown, "no job " + std::string(id), json::object({{"job_id", id}}));
}

core::Digest hash_of_null() { return crypto::Sha256{}("null"); }

Result<Held> hold(Transaction& tx, JobNumber number) {
  Held held;
  CALYX_TRY(held.known, tx.seams().known_jobs->get(tx.store(), number));
  CALYX_TRY(std::optional<JobState> state, tx.store().jobs().state(number));
  if (!state)
    return fail(Reason::corrupt, "job " + std::to_string(number) + " has no state; run an audit",
                json::object({{"table", "job_states"}, {"row", number}}));
  held.state = *std::move(state);
  return held;
}

Readiness readiness(const JobState& state, std::uint64_t tasks) {
  if (is_terminal(state.status)) return Readiness::nothing;
  if (state.failure != JobFailure::none || state.completed + state.failed == tasks)
    return state.running == 0 ? Readiness::to_end : Readiness::nothing;
  const bool more = state.fresh < tasks || state.retrying > 0;
  return more && state.waiting == 0 ? Readiness::to_lease : Readiness::nothing;
}

Result<Done> put(Transaction& tx, Held& job) {
  job.state.ready = readiness(job.state, job.known->row.tasks);
  if (job.state.ready == Readiness::nothing && may_have_stragglers(job))
    job.state.ready = Readiness::to_lease;
  return tx.change_jobs().put_state(job.state);
}

Result<Done> tell(Transaction& tx, Held& job, const json::Value& body) {
  return tx.change_jobs().add_event(job.state.number, ++job.state.events, tx.now(), json::canonical(body));
}

Wide attempt_cost(const KnownJob& known) {
  return core::charge(known.row.rate.micro, known.terms.timeout_s * 1'000);
}

Money charge(Held& job, std::int64_t ms) {
  const auto cost = Money{static_cast<std::int64_t>(core::charge(job.known->row.rate.micro, ms))};
  ++job.state.attempts;
  if (cost.micro == 0) return cost;  // of what costs nothing no account is kept
  job.state.charged.micro += cost.micro;
  job.state.ran_ms += ms;
  return cost;
}

void uncommit(Held& job, std::uint64_t tasks) {
  job.state.running -= tasks;
  job.state.committed.micro -= static_cast<std::int64_t>(attempt_cost(*job.known) * static_cast<Wide>(tasks));
}

void drop_copy(Held& job) {
  --job.state.backups;
  job.state.committed.micro -= static_cast<std::int64_t>(attempt_cost(*job.known));
}

Result<Done> charge_front(Transaction& tx, Held& job, const LeaseRow& lease, std::int64_t ran_ms) {
  const std::int64_t ms = std::min(ran_ms, job.known->terms.timeout_s * 1'000);
  const Money cost = charge(job, ms);
  if (cost.micro == 0) return Done{};
  return tx.change_jobs().add_usage({.lease = lease.token,
                                     .sequence = lease.first,
                                     .job = lease.job,
                                     .host = lease.host,
                                     .attempts = 1,
                                     .charged_ms = ms,
                                     .amount = cost});
}

Instant expiry(const KnownJob& known, const LeaseRow& lease, Instant now) {
  return Instant{std::min(now.us + lease_us, lease.since.us + silence_us(known))};
}

bool hung(const KnownJob& known, const LeaseRow& lease) {
  return lease.expires.us - lease.since.us >= silence_us(known);
}

Result<Done> give_up(Transaction& tx, Held& job, JobFailure failure, std::string error) {
  job.state.failure = failure;
  job.state.error = std::move(error);
  return stop_tasks(tx, job);
}

std::optional<std::pair<JobFailure, std::string>> overdue(const KnownJob& known, const JobState& state,
                                                          Instant now) {
  const JobTerms& terms = known.terms;
  const std::int64_t waited_s = (now.us - known.row.at.us) / core::us_per_second;
  if (terms.deadline_s != 0 && waited_s >= terms.deadline_s)
    return std::pair(JobFailure::deadline_passed, "not done after " + std::to_string(waited_s) + " s");
  if (terms.queue_ttl_s != 0 && state.started.us == 0 && waited_s >= terms.queue_ttl_s)
    return std::pair(JobFailure::queue_expired, "no worker after " + std::to_string(waited_s) + " s");
  return std::nullopt;
}

Result<bool> end_overdue(Transaction& tx, Held& job) {
  if (job.state.failure != JobFailure::none) return false;
  auto over = overdue(*job.known, job.state, tx.now());
  if (!over) return false;
  CALYX_CHECK(give_up(tx, job, over->first, std::move(over->second)));
  return true;
}

}  // namespace calyx::services
