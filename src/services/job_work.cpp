#include <algorithm>

#include "services/artifacts.hpp"
#include "services/job_steps.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using core::Wide;
using store::JobState;
using store::JobStore;
using store::LeaseRow;
using store::Readiness;

constexpr std::size_t expired_leases_a_call = 64;
constexpr std::size_t jobs_looked_at = 1'000;
constexpr std::int64_t failure_events_max = 100;  ///< A job's; the rest is in its tasks.
constexpr std::uint64_t command_tasks_max = 4;

json::Value progress_of(const Held& job) {
  return json::object({{"event", "progress"},
                       {"completed", job.state.completed},
                       {"failed", job.state.failed},
                       {"tasks", job.known->row.tasks}});
}

/// Keeps a task that did not come to a result: for another try, or as failed.
Result<Done> keep_failure(Transaction& tx, Held& job, const LeaseRow& lease, std::uint64_t task,
                          JobFailure failure, const std::string& message) {
  const bool infrastructure = core::is_infrastructure(failure);
  const std::int64_t lost = lease.lost + (infrastructure ? 1 : 0);
  const std::int64_t attempts = lease.attempt - (infrastructure ? 1 : 0);  // that count against `max_retries`
  const bool again = infrastructure
                         ? lost <= core::infrastructure_retries_max
                         : !core::is_final(failure) && lease.attempt <= job.known->terms.max_retries;
  if (again && job.state.failure == JobFailure::none) {
    std::uint64_t dice = 0;
    if (!tx.seams().random(&dice, sizeof dice))
      return fail(Reason::io_error, "the random source gives no bytes");
    const std::int64_t delay_ms = core::retry_delay_ms(infrastructure ? lost : lease.attempt, dice);
    ++job.state.retrying;
    CALYX_CHECK(tx.change_jobs().put_ended(
        {.job = lease.job, .task = task, .attempts = attempts, .failure = failure, .message = message}));
    return tx.change_jobs().put_retry({.job = lease.job,
                                       .task = task,
                                       .attempts = attempts,
                                       .lost = lost,
                                       .not_before = Instant{tx.now().us + delay_ms * us_per_ms}});
  }
  ++job.state.failed;
  if (job.state.failed <= static_cast<std::uint64_t>(failure_events_max))
    CALYX_CHECK(tell(tx, job,
                     json::object({{"event", "task_failed"},
                                   {"index", task},
                                   {"attempts", lease.attempt},
                                   {"error", word(failure)},
                                   {"message", message}})));
  return tx.change_jobs().add_failure(
      {.job = lease.job, .task = task, .attempts = lease.attempt, .failure = failure, .message = message});
}

/// Ends the whole job where too much has failed.
Result<Done> judge_failures(Transaction& tx, Held& job) {
  const std::optional<std::int64_t>& most = job.known->terms.max_failed_tasks;
  if (job.state.failure != JobFailure::none || !most || job.state.failed <= static_cast<std::uint64_t>(*most))
    return Done{};
  return give_up(
      tx, job, JobFailure::too_many_failures,
      std::to_string(job.state.failed) + " tasks failed, max_failed_tasks is " + std::to_string(*most));
}

/// The other lease of the task of `lease`, where two workers have it: what became of one copy is of no
/// account then, unless it is the result.
Result<std::optional<LeaseRow>> other_copy(Transaction& tx, const Held& job, const LeaseRow& lease) {
  if (job.state.backups == 0) return std::optional<LeaseRow>();
  return tx.store().jobs().other_copy(lease);
}

/// Makes the tasks of `lease` free again, as if nobody had tried them.
Result<Done> give_back(Transaction& tx, Held& job, const LeaseRow& lease) {
  if (lease.count == 0) return Done{};
  CALYX_TRY(const std::optional<LeaseRow> other, other_copy(tx, job, lease));
  if (other) {
    drop_copy(job);
    return Done{};
  }
  uncommit(job, lease.count);
  if (lease.attempt == 1 && lease.lost == 0 && lease.first + lease.count == job.state.fresh) {
    job.state.fresh = lease.first;
    return Done{};
  }
  for (std::uint64_t i = 0; i < lease.count; ++i) {
    ++job.state.retrying;
    CALYX_CHECK(tx.change_jobs().put_retry({.job = lease.job,
                                            .task = lease.first + i,
                                            .attempts = lease.attempt - 1,
                                            .lost = lease.lost,
                                            .not_before = tx.now()}));
  }
  return Done{};
}

/// Takes back a lease that is over. Where its worker vanished all of its tasks were lost with it; where the
/// one at the front hangs that one took its time, and the others were never begun. A task that somebody else
/// has too is not lost.
Result<Done> lose(Transaction& tx, Held& job, LeaseRow lease) {
  CALYX_CHECK(tx.change_jobs().remove_lease(lease.token));
  CALYX_TRY(const std::optional<LeaseRow> other, other_copy(tx, job, lease));
  if (other) {
    drop_copy(job);
    return Done{};
  }
  if (hung(*job.known, lease)) {
    const std::int64_t timeout_s = job.known->terms.timeout_s;
    uncommit(job, 1);
    CALYX_CHECK(charge_front(tx, job, lease, timeout_s * 1'000));
    CALYX_CHECK(keep_failure(tx, job, lease, lease.first, JobFailure::timed_out,
                             "worker " + lease.worker + " told nothing of it for " +
                                 std::to_string(timeout_s + lease_s) + " s, timeout_s is " +
                                 std::to_string(timeout_s)));
    ++lease.first;
    --lease.count;
    CALYX_CHECK(give_back(tx, job, lease));
  } else {
    uncommit(job, lease.count);
    for (std::uint64_t i = 0; i < lease.count; ++i)
      CALYX_CHECK(
          keep_failure(tx, job, lease, lease.first + i, JobFailure::lease_lost,
                       "worker " + lease.worker + " was not heard of for " + std::to_string(lease_s) + " s"));
  }
  return judge_failures(tx, job);
}

/// Takes back what workers have let go of.
Result<Done> sweep_leases(Transaction& tx, std::vector<JobNumber>& to_end) {
  std::vector<LeaseRow> lost;
  CALYX_CHECK(tx.store().jobs().expired_leases(tx.now(), [&](const LeaseRow& row) -> Result<bool> {
    lost.push_back(row);
    return lost.size() < expired_leases_a_call;
  }));
  for (const LeaseRow& lease : lost) {
    // One before it may have ended their job, which takes all of its leases.
    CALYX_TRY(const std::optional<LeaseRow> still, tx.store().jobs().lease(lease.token));
    if (!still) continue;
    CALYX_TRY(Held job, hold(tx, lease.job));
    CALYX_CHECK(lose(tx, job, lease));
    CALYX_CHECK(put(tx, job));
    if (job.state.ready == Readiness::to_end) to_end.push_back(lease.job);
  }
  return Done{};
}

bool runs_image(const LeaseAsked& worker, const std::string& image) {
  return std::any_of(worker.images.begin(), worker.images.end(),
                     [&](const std::string& one) { return one == image || one == any_image; });
}

/// Whether `worker`, whose work is paid to `host` (null: to a wallet that is not opened yet), can and may do
/// the tasks of a job.
bool meets(const LeaseAsked& worker, const WalletState* host, const JobTerms& terms) {
  const auto names = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), terms.name) != list.end();
  };
  const bool runs = terms.work == WorkKind::task     ? names(worker.tasks)
                    : terms.work == WorkKind::recipe ? names(worker.recipes)
                    : terms.image.empty()            ? worker.commands
                                                     : runs_image(worker, terms.image);
  const core::Requirements& needs = terms.requirements;
  const core::Requirements& has = worker.has;
  // A worker that says nothing of a kind has what its machine has; GPUs it must name.
  const auto covers = [](std::int64_t had, std::int64_t needed) { return had == 0 || needed <= had; };
  const bool gpus = needs.gpu_count == 0 ||
                    (needs.gpu_count <= has.gpu_count && covers(has.gpu_memory_mb, needs.gpu_memory_mb) &&
                     (needs.gpu_type.empty() || std::find(worker.gpu_types.begin(), worker.gpu_types.end(),
                                                          needs.gpu_type) != worker.gpu_types.end()));
  const std::vector<WalletId>& payees = terms.allowed_payees;
  const bool may = payees.empty() ||
                   (host != nullptr && std::find(payees.begin(), payees.end(), host->id) != payees.end());
  return runs && may && gpus && covers(has.cpu, needs.cpu) && covers(has.memory_mb, needs.memory_mb) &&
         covers(has.storage_gb, needs.storage_gb) && (needs.profile.empty() || needs.profile == has.profile);
}

/// Whether one more worker may have a task of `job` beside those that have one.
bool has_room(const Held& job) {
  const std::int64_t most = job.known->terms.max_parallel;
  return most == 0 || job.state.running + job.state.backups < static_cast<std::uint64_t>(most);
}

/// How many fresh tasks of `job` may be handed out at once: by what is left, what may run side by side, and
/// what the budget covers if each takes all its time.
std::uint64_t fresh_tasks(const Held& job, std::uint64_t most) {
  const KnownJob& known = *job.known;
  std::uint64_t count = std::min(most, known.row.tasks - job.state.fresh);
  if (const core::ReduceTree* tree = known.shape.reduce_tree())
    count = std::min(
        count, tree->open_until(job.state.fresh, job.state.completed + job.state.failed) - job.state.fresh);
  // Processes take long enough to be leased for themselves, and who hoards them keeps others from them.
  if (known.terms.work == WorkKind::command) count = std::min(count, command_tasks_max);
  if (known.terms.max_parallel != 0) {
    const auto side_by_side = static_cast<std::uint64_t>(known.terms.max_parallel);
    count = std::min(count, side_by_side - std::min(side_by_side, job.state.running + job.state.backups));
  }
  if (const Wide each = attempt_cost(known); each > 0) {
    const Wide free = known.row.hold.micro - job.state.charged.micro - job.state.committed.micro;
    count = static_cast<std::uint64_t>(std::min<Wide>(count, free / each));
  }
  return count;
}

/// What each outcome left: as the worker of this process kept it, or as artifacts that were put before.
Result<std::vector<TaskFiles>> files_of(Transaction& tx, const Report& report,
                                        std::span<const TaskFiles> files) {
  std::vector<TaskFiles> out(files.begin(), files.end());
  out.resize(report.outcomes.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::vector<ArtifactId>& named = report.outcomes[i].artifacts;
    const std::string field = "/outcomes/" + std::to_string(i) + "/artifacts";
    if (named.size() > task_artifacts_max)
      return field_error(
          Reason::field_value, field,
          "has " + std::to_string(named.size()) + " items, takes " + std::to_string(task_artifacts_max));
    for (std::size_t j = 0; j < named.size(); ++j) {
      Result<store::ArtifactRow> row = artifact_row(tx.store(), tx.book().tag, named[j]);
      if (row.reason() == Reason::artifact_unknown)
        return field_error(Reason::field_value, field + '/' + std::to_string(j), row.error().message);
      if (!row.ok()) return row.error();
      out[i].kept.push_back({.name = row->name, .size = row->size, .sha256 = row->sha256});
    }
  }
  return out;
}

/// Makes the payer's artifacts of what task `task` left.
Result<Done> add_files(Transaction& tx, const Held& job, std::uint64_t task, TaskFiles files) {
  for (store::ArtifactRow& row : files.kept) {
    row.account = job.state.account;
    row.job = job.state.number;
    row.task = task;
    CALYX_CHECK(add_task_artifact(tx, std::move(row)));
  }
  if (files.skipped.empty()) return Done{};
  json::Array skipped;
  for (const SkippedFile& file : files.skipped)
    skipped.push_back(json::object({{"name", file.name}, {"why", file.why}}));
  return tx.change_artifacts().add_skipped(job.state.number, task, json::canonical(json::Value(skipped)));
}

Result<std::int64_t> draw_token(Transaction& tx) {
  std::uint64_t token = 0;
  while (token == 0) {
    if (!tx.seams().random(&token, sizeof token))
      return fail(Reason::io_error, "the random source gives no bytes");
    token >>= 11;  // to 53 bits, which every reader of JSON keeps
  }
  return static_cast<std::int64_t>(token);
}

}  // namespace

Result<Lease> lease_tasks(Transaction& tx, const Principal& principal, const LeaseAsked& asked,
                          Chores& chores) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_CHECK(check_key_text("/worker", asked.worker, Empty::refused));
  if (asked.tasks_max < 1 || asked.tasks_max > lease_tasks_max)
    return field_error(
        Reason::field_value, "/tasks_max",
        "is " + std::to_string(asked.tasks_max) + ", takes 1 to " + std::to_string(lease_tasks_max));
  AccountNumber host = book.house;
  if (asked.host_wallet) {
    const WalletState* named = book.find(*asked.host_wallet);
    if (named == nullptr)
      return fail(Reason::wallet_unknown, "no wallet " + asked.host_wallet->text(),
                  json::object({{"field", "/host_wallet_id"}}));
    if (named->status == WalletStatus::closed) return check_active(*named).error();
    host = named->number;
  }
  CALYX_CHECK(sweep_leases(tx, chores.to_end));

  // The best job for this worker, and what it would get of it.
  std::vector<JobState> ready;
  CALYX_CHECK(tx.store().jobs().ready_jobs([&](const JobState& state) -> Result<bool> {
    if (state.ready == Readiness::to_lease) {
      // What this worker cannot do is no part of what it looks at: else enough jobs of nobody's would keep
      // all others from being seen.
      CALYX_TRY(const std::shared_ptr<const KnownJob> known,
                tx.seams().known_jobs->get(tx.store(), state.number));
      if (!meets(asked, book.wallet(host), known->terms) && !overdue(*known, state, tx.now())) return true;
    }
    ready.push_back(state);
    return ready.size() < jobs_looked_at;
  }));
  std::unordered_map<AccountNumber, std::uint64_t> running;
  struct Choice {
    Held job;
    core::Waiting waiting;
    std::optional<store::RetryRow> retry;
    std::uint64_t fresh = 0;
    std::optional<LeaseRow> straggler;
  };
  std::optional<Choice> best;
  for (JobState& state : ready) {
    if (state.ready == Readiness::to_end) {
      chores.to_end.push_back(state.number);
      continue;
    }
    Choice choice;
    CALYX_TRY(choice.job.known, tx.seams().known_jobs->get(tx.store(), state.number));
    choice.job.state = std::move(state);
    Held& job = choice.job;
    CALYX_TRY(const bool ended, end_overdue(tx, job));
    if (ended) {
      CALYX_CHECK(put(tx, job));
      chores.to_end.push_back(job.state.number);
      continue;
    }
    if (!meets(asked, book.wallet(host), job.known->terms)) continue;

    if (job.state.retrying > 0 && has_room(job)) {
      CALYX_TRY(choice.retry, tx.store().jobs().next_retry(job.state.number));
      if (choice.retry && choice.retry->not_before > tx.now()) choice.retry.reset();
    }
    const Wide each = attempt_cost(*job.known);
    const Wide free = job.known->row.hold.micro - job.state.charged.micro - job.state.committed.micro;
    if (each > 0 && each > free) {
      if (job.state.running != 0) continue;  // what runs may leave enough
      CALYX_CHECK(give_up(tx, job, JobFailure::budget_exhausted,
                          "another task may cost " + say(Money{static_cast<std::int64_t>(each)}) +
                              " FLOPS, " + say(Money{static_cast<std::int64_t>(free)}) + " are left"));
      CALYX_CHECK(put(tx, job));
      chores.to_end.push_back(job.state.number);
      continue;
    }
    if (!choice.retry) choice.fresh = fresh_tasks(job, asked.tasks_max);
    if (!choice.retry && choice.fresh == 0) {
      if (has_room(job)) {
        CALYX_TRY(choice.straggler, find_straggler(tx, job, asked.worker));
      }
      if (!choice.straggler) continue;
    }
    const auto known_running = running.find(job.state.account);
    if (known_running == running.end()) {
      CALYX_TRY(running[job.state.account], tx.store().jobs().running_of(job.state.account));
    }
    choice.waiting = {.number = job.state.number,
                      .priority = job.state.priority,
                      .since = job.known->row.at,
                      .running_account = running[job.state.account]};
    if (!best || core::before(choice.waiting, best->waiting, tx.now())) best = std::move(choice);
  }
  if (!best) return Lease{};

  Held& job = best->job;
  CALYX_TRY(const std::int64_t token, draw_token(tx));
  LeaseRow row{.token = token,
               .job = job.state.number,
               .worker = asked.worker,
               .host = host,
               .since = tx.now(),
               .expires = Instant{tx.now().us + lease_us}};
  JobStore& jobs = tx.change_jobs();
  if (best->retry) {
    row.first = best->retry->task;
    row.count = 1;
    row.attempt = best->retry->attempts + 1;
    row.lost = best->retry->lost;
    CALYX_CHECK(jobs.remove_retry(row.job, row.first));
    --job.state.retrying;
  } else if (best->straggler) {
    // Another copy of the same attempt: the first result of the two counts, and one of them is charged.
    row.first = best->straggler->first;
    row.count = 1;
    row.attempt = best->straggler->attempt;
    row.lost = best->straggler->lost;
    row.copied = best->straggler->copied = true;
    CALYX_CHECK(jobs.put_lease(*best->straggler));
    ++job.state.backups;
  } else {
    CALYX_TRY(const std::uint64_t share, share_of(tx, job));
    row.first = job.state.fresh;
    row.count = std::min(best->fresh, share);
    job.state.fresh += row.count;
  }
  if (!best->straggler) job.state.running += row.count;
  job.state.committed.micro +=
      static_cast<std::int64_t>(attempt_cost(*job.known) * static_cast<Wide>(row.count));
  if (job.state.host == 0)
    job.state.host = host;
  else if (job.state.host != host)
    job.state.host = store::several_hosts;
  if (job.state.started.us == 0) {
    job.state.started = tx.now();
    job.state.status = JobStatus::running;
    CALYX_CHECK(tell(tx, job, json::object({{"event", "started"}})));
  }
  CALYX_CHECK(jobs.add_lease(row));
  CALYX_CHECK(put(tx, job));
  const JobTerms& terms = job.known->terms;
  return Lease{.token = row.token,
               .job = job_id_of(book.tag, job.known->row),
               .first = row.first,
               .count = row.count,
               .attempt = row.attempt,
               .work = std::string(word(terms.work)),
               .name = terms.name,
               .operation = terms.operation,
               .command = command_of(*job.known, row.first),
               .image = terms.image,
               .project = terms.project,
               .revision = job.known->row.revision,
               .timeout_s = terms.timeout_s,
               .expires_at = row.expires};
}

Result<Reported> report_tasks(Transaction& tx, const Principal& principal, const Report& report,
                              Chores& chores, std::span<const TaskFiles> files) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_TRY(const std::optional<LeaseRow> found, tx.store().jobs().lease(report.token));
  // A lease that is late is as good as lost: its tasks may be with somebody else.
  if (!found || found->expires < tx.now()) {
    if (report.printed && report.job && report.first && report.outcomes.empty()) {
      CALYX_TRY(const JobState state, readable_job(tx.book(), tx.store(), caller, *report.job));
      // Of a job that goes on, the task is somebody else's by now, or soon.
      if (is_terminal(state.status)) {
        CALYX_CHECK(keep_output(tx, state.number, *report.first, report.attempt, *report.printed));
        return Reported{};
      }
    }
    return fail(Reason::lease_lost, "the lease is over: its tasks were taken back or its job has ended",
                json::object({{"token", report.token}}));
  }
  LeaseRow lease = *found;
  if (report.first && *report.first < lease.first) {
    if (lease.first - *report.first >= report.outcomes.size())  // told before, and counted
      return Reported{.left = lease.count, .expires_at = lease.expires};
    return field_error(Reason::field_value, "/first",
                       "is " + std::to_string(*report.first) + ", the lease is at " +
                           std::to_string(lease.first) + " already");
  }
  if (report.first && *report.first > lease.first)
    return field_error(
        Reason::field_value, "/first",
        "is " + std::to_string(*report.first) + ", the lease is at " + std::to_string(lease.first) + " only");
  if (report.outcomes.size() > lease.count)
    return field_error(Reason::field_value, "/outcomes",
                       "has " + std::to_string(report.outcomes.size()) + " items, the lease has " +
                           std::to_string(lease.count) + " tasks left");
  CALYX_TRY(std::vector<TaskFiles> left, files_of(tx, report, files));
  JobStore& jobs = tx.change_jobs();
  CALYX_TRY(Held job, hold(tx, lease.job));
  if (report.progress && lease.count > 0) {
    CALYX_TRY(const bool kept, keep_progress(tx, job, lease, lease.first, *report.progress, Heard::told));
    if (!kept)
      return field_error(Reason::field_value, "/progress",
                         "must be a JSON object of at most " + std::to_string(progress_bytes_max) + " bytes");
    CALYX_CHECK(put(tx, job));
  }
  // Of two copies nobody could tell whose output it is.
  if (report.printed && lease.count > 0 && !lease.copied)
    CALYX_CHECK(put_printed(tx, lease.job, lease.first, lease.attempt, *report.printed));
  if (report.outcomes.empty() && !report.gives_back) {
    lease.expires = expiry(*job.known, lease, tx.now());
    CALYX_TRY(const bool late, end_overdue(tx, job));
    if (late) {
      CALYX_CHECK(put(tx, job));
      chores.to_end.push_back(lease.job);
    } else {
      CALYX_CHECK(jobs.put_lease(lease));
    }
    return Reported{.left = late ? 0 : lease.count, .expires_at = lease.expires};
  }

  const std::uint64_t reported = report.outcomes.size();
  const std::uint64_t tasks = job.known->row.tasks;
  const std::uint64_t done_before = job.state.completed + job.state.failed;
  // A worker is believed as far as the clock goes, which may have been set back meanwhile.
  std::int64_t wall_ms = std::max<std::int64_t>(0, (tx.now().us - lease.since.us) / us_per_ms) +
                         static_cast<std::int64_t>(reported);
  std::int64_t charged_ms = 0;
  Money amount;
  std::uint64_t attempts = 0;
  std::string results;
  std::uint64_t results_first = lease.first;
  const auto flush = [&](std::uint64_t end) -> Result<Done> {
    if (results.empty()) return Done{};
    results.push_back(']');
    CALYX_CHECK(jobs.add_results(
        lease.job,
        {.first = results_first, .count = end - results_first, .attempts = lease.attempt, .body = results}));
    results.clear();
    return Done{};
  };
  std::optional<LeaseRow> other;
  if (reported != 0) {
    CALYX_TRY(other, other_copy(tx, job, lease));
  }
  const bool keeps_times = may_be_copied(*job.known);
  for (std::uint64_t i = 0; i < reported; ++i) {
    const TaskOutcome& outcome = report.outcomes[i];
    const std::uint64_t task = lease.first + i;
    JobFailure failure = outcome.failure;
    std::string error = outcome.error;
    if (failure == JobFailure::none) {
      // Whoever reports: a worker of this process has asked before, one elsewhere may not have.
      if (!is_result(outcome.result)) {
        failure = JobFailure::result_invalid;
        error = "the result has a NaN, an infinity or an integer beyond 2^53 - 1";
      } else if (Result<Done> fits = check_result(job.known->shape, task, outcome.result); !fits.ok()) {
        failure = JobFailure::result_invalid;
        error = std::move(fits).error().message;
      }
    }
    if (other) {
      // Two copies of one attempt: the first result ends it, a failure only once it is the other's too.
      if (failure == JobFailure::none) CALYX_CHECK(jobs.remove_lease(other->token));
      drop_copy(job);
      if (failure != JobFailure::none) continue;
    }
    uncommit(job, 1);
    std::int64_t ms = 0;
    if (core::is_charged(failure)) {
      ms = std::clamp<std::int64_t>(outcome.ran_ms, 0, std::min(wall_ms, job.known->terms.timeout_s * 1'000));
      wall_ms -= ms;
      charged_ms += ms;
      amount.micro += charge(job, ms).micro;
      ++attempts;
    }
    CALYX_CHECK(put_printed(tx, lease.job, task, lease.attempt,
                            {outcome.out, outcome.err, outcome.out_dropped, outcome.err_dropped}));
    if (outcome.progress) {
      // One event a report, however many tasks went well since the last one.
      const bool told = failure != JobFailure::none || i + 1 == reported;
      CALYX_CHECK(keep_progress(tx, job, lease, task, *outcome.progress, told ? Heard::told : Heard::kept));
    }
    if (failure != JobFailure::none) {
      CALYX_CHECK(flush(task));
      CALYX_CHECK(keep_failure(tx, job, lease, task, failure, error));
      continue;
    }
    if (results.empty()) results_first = task;
    results.push_back(results.empty() ? '[' : ',');
    json::append_canonical(results, outcome.result);
    ++job.state.completed;
    if (keeps_times) CALYX_CHECK(jobs.add_time(lease.job, core::duration_bucket(ms)));
    CALYX_CHECK(add_files(tx, job, task, std::move(left[i])));
  }
  CALYX_CHECK(flush(lease.first + reported));
  if (amount.micro != 0)
    CALYX_CHECK(jobs.add_usage({.lease = lease.token,
                                .sequence = lease.first,
                                .job = lease.job,
                                .host = lease.host,
                                .attempts = attempts,
                                .charged_ms = charged_ms,
                                .amount = amount}));
  lease.first += reported;
  lease.count -= reported;
  lease.since = tx.now();
  lease.expires = expiry(*job.known, lease, tx.now());
  if (report.gives_back) CALYX_CHECK(give_back(tx, job, lease));
  if (lease.count == 0 || report.gives_back)
    CALYX_CHECK(jobs.remove_lease(lease.token));
  else
    CALYX_CHECK(jobs.put_lease(lease));

  CALYX_CHECK(judge_failures(tx, job));
  const std::uint64_t done = job.state.completed + job.state.failed;
  if (done < tasks) CALYX_CHECK(end_overdue(tx, job));
  constexpr std::uint64_t steps = 100;  // a stream is told of each hundredth
  if (done < tasks &&
      static_cast<Wide>(done) * steps / tasks != static_cast<Wide>(done_before) * steps / tasks)
    CALYX_CHECK(tell(tx, job, progress_of(job)));
  CALYX_CHECK(tell_low_funds(tx, job));
  CALYX_CHECK(put(tx, job));
  if (job.state.ready == Readiness::to_end) chores.to_end.push_back(lease.job);
  const bool over = job.state.failure != JobFailure::none;
  return Reported{.left = over || report.gives_back ? 0 : lease.count, .expires_at = lease.expires};
}

Result<bool> is_due(store::MarketStore& store, const KnownJob& known, const JobState& state, Instant now) {
  if (is_terminal(state.status)) return false;
  if (state.ready == Readiness::to_end) return true;
  bool late = false;
  CALYX_CHECK(store.jobs().leases_of(state.number, [&](const LeaseRow& row) -> Result<bool> {
    late = row.expires < now;
    return !late;
  }));
  return late || (state.status != JobStatus::planning && overdue(known, state, now));
}

Result<Done> tend_job(Transaction& tx, JobNumber number, Chores& chores) {
  CALYX_TRY(Held job, hold(tx, number));
  CALYX_TRY(const bool due, is_due(tx.store(), *job.known, job.state, tx.now()));
  if (!due) return Done{};
  if (job.state.ready != Readiness::to_end) {
    std::vector<LeaseRow> late;
    CALYX_CHECK(tx.store().jobs().leases_of(number, [&](const LeaseRow& row) -> Result<bool> {
      if (row.expires < tx.now()) late.push_back(row);
      return true;
    }));
    for (const LeaseRow& lease : late)
      if (job.state.failure == JobFailure::none) CALYX_CHECK(lose(tx, job, lease));
    CALYX_CHECK(end_overdue(tx, job));
    CALYX_CHECK(put(tx, job));
  }
  if (job.state.ready == Readiness::to_end) chores.to_end.push_back(number);
  return Done{};
}

}  // namespace calyx::services
