#include "services/jobs.hpp"

#include <algorithm>
#include <cmath>

#include "crypto/sha256.hpp"
#include "services/projects.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using core::Wide;
using store::JobState;
using store::JobStore;
using store::LeaseRow;
using store::Readiness;

constexpr std::int64_t us_per_ms = 1'000;
constexpr std::int64_t lease_us = lease_s * core::us_per_second;
constexpr std::size_t expired_leases_a_call = 64;
constexpr std::size_t jobs_looked_at = 1'000;
constexpr std::int64_t failure_events_max = 100;  ///< A job's; the rest is in its tasks.
constexpr std::string_view work_version = "1";
constexpr std::uint64_t command_tasks_max = 4;
constexpr std::size_t progress_bytes_max = 65'536;

Error no_job(std::string_view id) {
  return fail(Reason::job_unknown, "no job " + std::string(id), json::object({{"job_id", id}}));
}

/// The memo of a call: what it reads of one job, and writes back once.
struct Held {
  std::shared_ptr<const KnownJob> known;
  JobState state;
};

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

/// What one attempt of the job's task may cost at most.
Wide attempt_cost(const KnownJob& known) {
  return core::charge(known.row.rate.micro, known.terms.timeout_s * 1'000);
}

/// How long the task at the front of a lease may go without an outcome, however often its worker says that it
/// lives: its timeout, and time to tell.
std::int64_t silence_us(const KnownJob& known) {
  return known.terms.timeout_s * core::us_per_second + lease_us;
}

/// When `lease` is over unless its worker is heard again after `now`.
Instant expiry(const KnownJob& known, const LeaseRow& lease, Instant now) {
  return Instant{std::min(now.us + lease_us, lease.since.us + silence_us(known))};
}

/// Whether what ended `lease` is its task that hangs, and not its worker that vanished.
bool hung(const KnownJob& known, const LeaseRow& lease) {
  return lease.expires.us - lease.since.us >= silence_us(known);
}

void note_readiness(Held& job) {
  JobState& state = job.state;
  const std::uint64_t tasks = job.known->row.tasks;
  const bool over = state.failure != JobFailure::none || state.completed + state.failed == tasks;
  if (is_terminal(state.status))
    state.ready = Readiness::nothing;
  else if (over)
    state.ready = state.running == 0 ? Readiness::to_end : Readiness::nothing;
  else
    state.ready = state.waiting == 0 && (state.fresh < tasks || state.retrying > 0) ? Readiness::to_lease
                                                                                    : Readiness::nothing;
}

Result<Done> put(Transaction& tx, Held& job) {
  note_readiness(job);
  return tx.change_jobs().put_state(job.state);
}

Result<Done> tell(Transaction& tx, Held& job, const json::Value& body) {
  return tx.change_jobs().add_event(job.state.number, ++job.state.events, tx.now(), json::canonical(body));
}

json::Value progress_of(const Held& job) {
  return json::object({{"event", "progress"},
                       {"completed", job.state.completed},
                       {"failed", job.state.failed},
                       {"tasks", job.known->row.tasks}});
}

/// Charges `ms` of a lease's time. Its worst case was kept free, so this never goes beyond the hold.
Money charge(Held& job, std::int64_t ms) {
  const auto cost = Money{static_cast<std::int64_t>(core::charge(job.known->row.rate.micro, ms))};
  if (cost.micro == 0) return cost;  // of what costs nothing no account is kept
  job.state.charged.micro += cost.micro;
  job.state.ran_ms += ms;
  return cost;
}

/// Gives up the worst case of `tasks` that no longer run.
void uncommit(Held& job, std::uint64_t tasks) {
  job.state.running -= tasks;
  job.state.committed.micro -= static_cast<std::int64_t>(attempt_cost(*job.known) * static_cast<Wide>(tasks));
}

/// Charges the attempt at the front of `lease`, which nobody reported, for `ran_ms`, and its timeout at most.
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

/// Takes every task from its worker: what runs is charged for the time that it ran, and its report will find
/// no lease. A lease that is late is over, whether or not anybody has looked at it since: of a worker that
/// vanished nothing is charged, of a task that hung its timeout.
Result<Done> stop_tasks(Transaction& tx, Held& job) {
  std::vector<LeaseRow> leases;
  CALYX_CHECK(tx.store().jobs().leases_of(job.state.number, [&](const LeaseRow& row) -> Result<bool> {
    leases.push_back(row);
    return true;
  }));
  JobStore& jobs = tx.change_jobs();
  for (const LeaseRow& lease : leases) {
    const std::int64_t ran_ms = std::max<std::int64_t>(0, (tx.now().us - lease.since.us) / us_per_ms);
    CALYX_CHECK(
        charge_front(tx, job, lease, lease.expires < tx.now() && !hung(*job.known, lease) ? 0 : ran_ms));
    CALYX_CHECK(jobs.remove_lease(lease.token));
    uncommit(job, lease.count);
  }
  if (job.state.retrying != 0) CALYX_CHECK(jobs.remove_retries(job.state.number));
  job.state.retrying = 0;
  return Done{};
}

/// The tasks of a job end here, however many are left.
Result<Done> give_up(Transaction& tx, Held& job, JobFailure failure, std::string error) {
  job.state.failure = failure;
  job.state.error = std::move(error);
  return stop_tasks(tx, job);
}

/// Keeps a task that did not come to a result: for another try, or as failed.
Result<Done> keep_failure(Transaction& tx, Held& job, const LeaseRow& lease, std::uint64_t task,
                          JobFailure failure, const std::string& message) {
  const bool infrastructure = core::is_infrastructure(failure);
  const std::int64_t lost = lease.lost + (infrastructure ? 1 : 0);
  const std::int64_t attempts = lease.attempt - (infrastructure ? 1 : 0);  // that count against `max_retries`
  const bool again = infrastructure ? lost <= core::infrastructure_retries_max
                                    : lease.attempt <= job.known->terms.max_retries;
  if (again && job.state.failure == JobFailure::none) {
    std::uint64_t dice = 0;
    if (!tx.seams().random(&dice, sizeof dice))
      return fail(Reason::io_error, "the random source gives no bytes");
    const std::int64_t delay_ms = core::retry_delay_ms(infrastructure ? lost : lease.attempt, dice);
    ++job.state.retrying;
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

/// Makes the tasks of `lease` free again, as if nobody had tried them.
Result<Done> give_back(Transaction& tx, Held& job, const LeaseRow& lease) {
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
/// one at the front hangs that one took its time, and the others were never begun.
Result<Done> lose(Transaction& tx, Held& job, LeaseRow lease) {
  CALYX_CHECK(tx.change_jobs().remove_lease(lease.token));
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

bool meets(const LeaseAsked& worker, const JobTerms& terms) {
  const auto names = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), terms.name) != list.end();
  };
  const bool runs = terms.work == WorkKind::task     ? names(worker.tasks)
                    : terms.work == WorkKind::recipe ? names(worker.recipes)
                                                     : worker.commands;
  const core::Requirements& needs = terms.requirements;
  const core::Requirements& has = worker.has;
  // A worker that says nothing of a kind has what its machine has; GPUs it must name.
  const auto covers = [](std::int64_t had, std::int64_t needed) { return had == 0 || needed <= had; };
  const bool gpus = needs.gpu_count == 0 ||
                    (needs.gpu_count <= has.gpu_count && covers(has.gpu_memory_mb, needs.gpu_memory_mb) &&
                     (needs.gpu_type.empty() || std::find(worker.gpu_types.begin(), worker.gpu_types.end(),
                                                          needs.gpu_type) != worker.gpu_types.end()));
  return runs && gpus && covers(has.cpu, needs.cpu) && covers(has.memory_mb, needs.memory_mb) &&
         covers(has.storage_gb, needs.storage_gb) && (needs.profile.empty() || needs.profile == has.profile);
}

/// How many fresh tasks of `job` may be handed out at once: by what is left, what may run side by side, and
/// what the budget covers if each takes all its time.
std::uint64_t fresh_tasks(const Held& job, std::uint64_t most) {
  const KnownJob& known = *job.known;
  std::uint64_t count = std::min(most, known.row.tasks - job.state.fresh);
  // Processes take long enough to be leased for themselves, and who hoards them keeps others from them.
  if (known.terms.work == WorkKind::command) count = std::min(count, command_tasks_max);
  if (known.terms.max_parallel != 0) {
    const auto side_by_side = static_cast<std::uint64_t>(known.terms.max_parallel);
    count = std::min(count, side_by_side - std::min(side_by_side, job.state.running));
  }
  if (const Wide each = attempt_cost(known); each > 0) {
    const Wide free = known.row.hold.micro - job.state.charged.micro - job.state.committed.micro;
    count = static_cast<std::uint64_t>(std::min<Wide>(count, free / each));
  }
  return count;
}

/// Whether a job's time is over, and why.
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

/// Gives up a job whose time is over; whether it was.
Result<bool> end_overdue(Transaction& tx, Held& job) {
  if (job.state.failure != JobFailure::none) return false;
  auto over = overdue(*job.known, job.state, tx.now());
  if (!over) return false;
  CALYX_CHECK(give_up(tx, job, over->first, std::move(over->second)));
  return true;
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

/// Settles what `job` came to: one receipt, and the rest of the hold comes back.
Result<Done> settle(Transaction& tx, Held& job, const core::Digest& output) {
  const Book& book = tx.book();
  const KnownJob& known = *job.known;
  if (known.row.lock == 0) return Done{};
  const auto lock = book.locks.find(known.row.lock);
  if (lock == book.locks.end())
    return fail(Reason::corrupt, "job " + std::to_string(known.row.number) + " holds nothing; run an audit");
  const Money gross = job.state.charged;
  if (gross.micro == 0) {
    CALYX_CHECK(tx.append(ReleaseEvent{.lock = known.row.lock}));
    return Done{};
  }
  const core::FeeSplit split = core::split_fee(gross, book.fee_basis_points);
  const WalletState* host = book.wallet(job.state.host);
  if (host == nullptr) return fail(Reason::corrupt, "a job was worked on by nobody; run an audit");
  const core::Requirements& needs = known.terms.requirements;
  EarnEvent fields{.lock = known.row.lock,
                   .host = host->number,
                   .gross = gross,
                   .fee = split.fee,
                   .net = split.net,
                   .output_hash = output,
                   .gpu_model = needs.gpu_count == 0     ? "CPU"
                                : needs.gpu_type.empty() ? "GPU"
                                                         : needs.gpu_type,
                   .duration_seconds = (job.state.ran_ms + 999) / 1000,
                   .leaf = tx.next_leaf(),
                   .work = core::ReceiptWork{.kind = std::string(word(known.terms.work)),
                                             .name = known.terms.name,
                                             .version = std::string(work_version),
                                             .operation = known.terms.operation,
                                             .input_hash = known.row.input}};
  const AccountNumber payer = lock->second.payer;
  const WalletId payer_id = book.wallet(payer)->id;
  const std::string job_id = lock->second.job_id;
  CALYX_TRY(const Placed event, tx.append(fields));
  if (split.net.micro == 0 && host->number != payer)
    CALYX_CHECK(tx.store().append_zero_earning(host->number, event.seq));
  job.state.receipt = fields.leaf;
  tx.add_receipt({.leaf = fields.leaf,
                  .seq = event.seq,
                  .fields = {.id = book.receipt_id(fields.leaf, event.at),
                             .issuer = book.issuer,
                             .issued_at = event.at,
                             .payer_wallet = payer_id,
                             .host_wallet = book.wallet(fields.host)->id,
                             .duration_seconds = fields.duration_seconds,
                             .output_hash = output,
                             .gross = gross,
                             .platform_fee = split.fee,
                             .net = split.net,
                             .fee_basis_points = book.fee_basis_points,
                             .reference = book.txn_id(event.seq, event.at),
                             .seq = static_cast<std::uint64_t>(event.seq),
                             .head = book.head},
                  .job_id = job_id,
                  .gpu_model = fields.gpu_model,
                  .work = fields.work});
  return Done{};
}

/// What the tasks of `job` are made from, as a receipt's `input_hash` covers it: the payload without the
/// choice of a device, which changes no result; for a job that makes its payloads from other members too,
/// all of these.
core::Digest input_of(const json::Object& job) {
  json::Object input;
  if (const json::Value* payload = job.find("payload"); payload != nullptr && payload->object() != nullptr)
    for (const json::Member& member : *payload->object())
      if (member.key != "device") input.set(member.key, member.value);
  json::Object all;
  for (const std::string_view name : shape_members)
    if (const json::Value* value = job.find(name); value != nullptr && name != "payload")
      all.set(std::string(name), *value);
  if (all.empty()) return crypto::Sha256{}(json::canonical(json::Value(std::move(input))));
  if (job.find("payload") != nullptr) all.set("payload", std::move(input));
  return crypto::Sha256{}(json::canonical(json::Value(std::move(all))));
}

/// Whether `settle` may go through, asked before anything of the end is written.
Result<Done> may_settle(Transaction& tx, const Held& job) {
  // What runs is charged as it is stopped, and never more than what is committed for it.
  const Money most{job.state.charged.micro + job.state.committed.micro};
  if (job.known->row.lock == 0 || most.micro == 0) return Done{};
  if (!tx.seams().can_sign)
    return fail(Reason::keys_missing,
                "no signing key of the market is here to sign the receipt: put the key file back");
  const WalletState* host = tx.book().wallet(job.state.host);
  return host == nullptr ? Result<Done>(Done{}) : check_room(*host, most);
}

core::Digest hash_of_null() { return crypto::Sha256{}("null"); }

Result<Done> end(Transaction& tx, Held& job, JobStatus status, const core::Digest& output,
                 std::vector<JobNumber>& next);

/// Lets what waits for the job `number` go on, or ends it too.
Result<Done> end_downstream(Transaction& tx, JobNumber number, JobStatus status,
                            std::vector<JobNumber>& next) {
  std::vector<JobNumber> waiting;
  CALYX_CHECK(tx.store().jobs().jobs_after(number, [&](JobNumber one) -> Result<bool> {
    waiting.push_back(one);
    return true;
  }));
  for (const JobNumber one : waiting) {
    CALYX_TRY(Held job, hold(tx, one));
    if (is_terminal(job.state.status)) continue;
    if (status == JobStatus::completed) {
      if (--job.state.waiting == 0) job.state.status = JobStatus::queued;
      CALYX_CHECK(put(tx, job));
      continue;
    }
    CALYX_TRY(const std::shared_ptr<const KnownJob> before, tx.seams().known_jobs->get(tx.store(), number));
    job.state.failure = JobFailure::dependency_failed;
    job.state.error = "job " + job_id_of(tx.book().tag, before->row).text() + " ended " +
                      std::string(word(status)) + ", and this one depends on it";
    CALYX_CHECK(end(tx, job, JobStatus::failed, hash_of_null(), next));
  }
  return Done{};
}

/// The job's last step. What depends on it is handled by whoever works `next` off.
Result<Done> end(Transaction& tx, Held& job, JobStatus status, const core::Digest& output,
                 std::vector<JobNumber>& next) {
  JobState& state = job.state;
  state.status = status;
  state.ended = tx.now();
  state.output = output;
  CALYX_CHECK(settle(tx, job, output));
  json::Value told = json::object({{"event", "ended"},
                                   {"status", word(status)},
                                   {"completed", state.completed},
                                   {"failed", state.failed},
                                   {"output_hash", core::output_hash_text(output)}});
  if (state.failure != JobFailure::none) told.object()->set("error", word(state.failure));
  CALYX_CHECK(tell(tx, job, told));
  CALYX_CHECK(put(tx, job));
  next.push_back(state.number);
  return Done{};
}

Result<Done> end_all(Transaction& tx, std::vector<JobNumber> next) {
  // A list, not a recursion: a chain of jobs may be as long as there are jobs.
  for (std::size_t i = 0; i < next.size(); ++i) {
    CALYX_TRY(const std::optional<JobState> state, tx.store().jobs().state(next[i]));
    if (state) CALYX_CHECK(end_downstream(tx, next[i], state->status, next));
  }
  return Done{};
}

}  // namespace

JobId job_id_of(std::uint32_t tag, const store::JobRow& row) noexcept {
  return JobId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
}

// ── submitting ──

namespace {

/// A job of a batch has the key of the batch, a space, and its place in it; what is before the space is the
/// caller's.
Result<Done> check_job_key(std::string_view key) {
  const std::size_t space = std::min(key.find(' '), key.size());
  const std::string_view place = key.substr(std::min(space + 1, key.size()));
  const bool of_batch = !place.empty() && place.find_first_not_of("0123456789") == std::string_view::npos;
  return check_key_text("Idempotency-Key", of_batch ? key.substr(0, space) : key,
                        of_batch ? Empty::refused : Empty::allowed);
}

/// Who asks for what this version does not do counts on it, so it is refused and not forgotten.
Result<Done> refuse_unbuilt(const JobTerms& terms, const core::JobShape& shape) {
  struct Row {
    bool asked;
    const char* field;
    const char* says;
  };
  const Row rows[] = {
      {!shape.reduce().command.empty(), "/reduce", "a reduce by a command is not run yet: name an operator"},
      {!terms.callback_url.empty(), "/callback_url", "nobody is called back yet: follow the job's stream"},
      {terms.checkpoints || terms.resumes, "/checkpointing", "no checkpoint is kept yet: a task begins anew"},
      {!terms.retry_of.empty(), "/retry_of", "a job's failed tasks are not retried yet: submit them anew"},
  };
  for (const Row& row : rows)
    if (row.asked) return fail(Reason::unsupported, row.says, json::object({{"field", row.field}}));
  return Done{};
}

}  // namespace

Result<PreparedJob> prepare_job(const JobSubmit& asked) {
  CALYX_TRY(JobTerms terms, read_terms(asked.job, asked.recipe));
  CALYX_CHECK(check_job_key(asked.idempotency_key));
  CALYX_TRY(core::JobShape shape, core::JobShape::read(asked.job));
  CALYX_CHECK(refuse_unbuilt(terms, shape));
  PreparedJob out{.terms = std::move(terms),
                  .shape = std::move(shape),
                  .wallet = asked.wallet,
                  .once = asked.idempotency_key};
  const auto id_at = [&](const std::string& pointer, const std::string& text) -> Result<JobId> {
    if (const auto id = JobId::read(text)) return *id;
    Error error = no_job(text);
    error.details.object()->set("field", pointer);
    return error;
  };
  for (std::size_t i = 0; i < out.terms.depends_on.size(); ++i) {
    CALYX_TRY(const JobId id, id_at("/depends_on/" + std::to_string(i), out.terms.depends_on[i]));
    out.depends_on.push_back(id);
  }

  json::Value whole = json::object({{"recipe", asked.recipe}, {"job", asked.job}});
  std::string text = json::canonical(whole);
  out.input = input_of(asked.job);
  out.request = crypto::Sha256{}(text);
  if (out.shape.items() == 0) {
    out.spec = std::move(text);
    return out;
  }
  // The explicit items are cut out, segment by segment: one of a million is then found without the rest.
  json::Value* list = whole.object()->find("job");
  std::string_view pointer = out.shape.items_pointer();
  while (!pointer.empty() && list != nullptr) {
    pointer.remove_prefix(1);
    const std::size_t slash = std::min(pointer.find('/'), pointer.size());
    list = list->object() == nullptr ? nullptr : list->object()->find(pointer.substr(0, slash));
    pointer.remove_prefix(slash);
  }
  if (list == nullptr || list->array() == nullptr || list->array()->size() != out.shape.items())
    return fail(Reason::internal, "a job's items are not where its shape says");
  json::Array items = std::move(*list->array());
  *list->array() = json::Array{};
  std::string segment;
  for (std::size_t i = 0; i < items.size(); ++i) {
    segment.push_back(segment.empty() ? '[' : ',');
    json::append_canonical(segment, items[i]);
    if ((i + 1) % items_a_segment != 0 && i + 1 != items.size()) continue;
    segment.push_back(']');
    out.items.push_back(std::move(segment));
    segment.clear();
  }
  out.spec = json::canonical(whole);
  return out;
}

Result<JobEstimate> estimate_job(const Book& book, const PreparedJob& job) {
  const Wide rate = core::rate_of(book.prices, job.terms.requirements);
  if (rate > core::amount_max.micro)
    return field_error(Reason::amount_out_of_range, "/requirements",
                       "cost more than " + say(core::amount_max) + " FLOPS a second");
  JobEstimate out{.tasks = job.shape.tasks(), .rate = Money{static_cast<std::int64_t>(rate)}};
  const std::optional<Wide> worst =
      core::worst_case(rate, out.tasks, job.terms.max_retries + 1, job.terms.timeout_s);
  if (worst && *worst <= core::amount_max.micro) out.worst_case = Money{static_cast<std::int64_t>(*worst)};
  if (!out.worst_case && !job.terms.max_cost)
    return field_error(Reason::amount_out_of_range, "/max_cost",
                       "is needed: " + std::to_string(out.tasks) + " tasks of " +
                           std::to_string(job.terms.timeout_s) + " s may cost more than " +
                           say(core::amount_max) + " FLOPS");
  out.hold = out.worst_case ? *out.worst_case : *job.terms.max_cost;
  if (job.terms.max_cost) out.hold = std::min(out.hold, *job.terms.max_cost);
  return out;
}

Result<JobSubmitted> submit_job(Transaction& tx, const Principal& principal, const PreparedJob& job,
                                const Policy* narrowing) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  const WalletState* payer = nullptr;
  if (job.wallet) {
    CALYX_TRY(payer, spendable(book, caller, *job.wallet));
  } else if (!caller.is_operator()) {
    payer = book.wallet(caller.wallet);
  }
  const AccountNumber account = payer == nullptr ? 0 : payer->number;

  JobStore& jobs = tx.store().jobs();
  if (!job.once.empty()) {
    CALYX_TRY(const std::optional<JobNumber> before, jobs.find_once(account, job.once));
    if (before) {
      CALYX_TRY(const Held first, hold(tx, *before));
      if (first.known->row.request != job.request) return reused(Reason::key_reused, "body");
      return JobSubmitted{.id = job_id_of(book.tag, first.known->row),
                          .status = first.state.status,
                          .estimate = {.tasks = first.known->row.tasks,
                                       .rate = first.known->row.rate,
                                       .hold = first.known->row.hold},
                          .replayed = true};
    }
  }
  std::int64_t revision = 0;
  if (!job.terms.project.empty()) {
    CALYX_TRY(revision, revision_for_job(tx.store(), account, job.terms.project));
  }
  CALYX_TRY(const JobEstimate estimate, estimate_job(book, job));
  if (estimate.hold.micro != 0 && payer == nullptr)
    return field_error(Reason::field_missing, "/wallet_id", "is missing: somebody pays for this job");

  std::vector<JobNumber> before;
  for (const JobId& id : job.depends_on) {
    Result<JobState> state = readable_job(book, tx.store(), caller, id);
    if (!state.ok()) return state.error();
    if (state->status == JobStatus::completed) continue;
    if (is_terminal(state->status))
      return field_error(Reason::field_value, "/depends_on",
                         "names job " + id.text() + ", which ended " + std::string(word(state->status)));
    before.push_back(state->number);
  }
  std::sort(before.begin(), before.end());
  before.erase(std::unique(before.begin(), before.end()), before.end());

  CALYX_TRY(const JobNumber last, jobs.last_job());
  store::JobRow row{.number = last + 1,
                    .account = account,
                    .at = tx.now(),
                    .once = job.once,
                    .request = job.request,
                    .input = job.input,
                    .spec = job.spec,
                    .tasks = estimate.tasks,
                    .items = job.shape.items(),
                    .hold = estimate.hold,
                    .rate = estimate.rate,
                    .revision = revision};
  const JobId id = job_id_of(book.tag, row);
  const core::Requirements& needs = job.terms.requirements;
  std::optional<std::string> gpu_type;
  if (needs.gpu_count > 0 && !needs.gpu_type.empty()) gpu_type = needs.gpu_type;
  if (payer != nullptr) {
    // Judged also where it costs nothing: a frozen wallet or a GPU that is not allowed is refused all the
    // same.
    const std::string request = core::hex(job.request);
    CALYX_CHECK(
        pass_policy(tx, {.wallet = payer,
                         .operation = "job",
                         .amount = estimate.hold,
                         .job_id = {},
                         .gpu_type = gpu_type,
                         .judges_gpu = needs.gpu_count > 0,
                         .narrowing = narrowing,
                         .terms = [&] {
                           return json::canonical(json::object({{"operation", "job"}, {"request", request}}));
                         }}));
  }
  if (estimate.hold.micro != 0) {
    CALYX_TRY(const Placed held, tx.append(SpendEvent{.wallet = account,
                                                      .job_id = id.text(),
                                                      .amount = estimate.hold,
                                                      .gpu_type = gpu_type,
                                                      .job = row.number}));
    row.lock = held.seq;
    if (book.house == 0)
      CALYX_CHECK(create_wallet(tx, Principal{}, {.owner_id = std::string(house_owner_id)}));
  }

  JobStore& written = tx.change_jobs();
  CALYX_CHECK(written.add_job(row));
  for (std::size_t i = 0; i < job.items.size(); ++i)
    CALYX_CHECK(written.add_items(row.number, i * items_a_segment, job.items[i]));
  for (const JobNumber one : before) CALYX_CHECK(written.add_edge(one, row.number));
  JobState state{.number = row.number,
                 .account = account,
                 .status = before.empty() ? JobStatus::queued : JobStatus::planning,
                 .priority = job.terms.priority,
                 .ready = before.empty() ? Readiness::to_lease : Readiness::nothing,
                 .waiting = before.size(),
                 .events = 1};
  CALYX_CHECK(written.add_state(state));
  CALYX_CHECK(written.add_event(
      row.number, 1, tx.now(),
      json::canonical(
          json::object({{"event", "submitted"}, {"status", word(state.status)}, {"tasks", row.tasks}}))));
  return JobSubmitted{.id = id, .status = state.status, .estimate = estimate};
}

// ── working ──

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
      if (!meets(asked, known->terms) && !overdue(*known, state, tx.now())) return true;
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
    if (!meets(asked, job.known->terms)) continue;
    // All of a job's tasks are paid to one wallet, in one settlement.
    if (job.known->row.lock != 0 && job.state.host != 0 && job.state.host != host) continue;

    const bool room = job.known->terms.max_parallel == 0 ||
                      job.state.running < static_cast<std::uint64_t>(job.known->terms.max_parallel);
    if (job.state.retrying > 0 && room) {
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
    if (!choice.retry && choice.fresh == 0) continue;
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
  } else {
    row.first = job.state.fresh;
    row.count = best->fresh;
    job.state.fresh += row.count;
  }
  job.state.running += row.count;
  job.state.committed.micro +=
      static_cast<std::int64_t>(attempt_cost(*job.known) * static_cast<Wide>(row.count));
  job.state.host = host;
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
               .command = terms.command,
               .project = terms.project,
               .revision = job.known->row.revision,
               .timeout_s = terms.timeout_s,
               .expires_at = row.expires};
}

Result<Reported> report_tasks(Transaction& tx, const Principal& principal, const Report& report,
                              Chores& chores) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  CALYX_TRY(const std::optional<LeaseRow> found, tx.store().jobs().lease(report.token));
  // A lease that is late is as good as lost: its tasks may be with somebody else.
  if (!found || found->expires < tx.now())
    return fail(Reason::lease_lost, "the lease is over: its tasks were taken back or its job has ended",
                json::object({{"token", report.token}}));
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
  JobStore& jobs = tx.change_jobs();
  CALYX_TRY(Held job, hold(tx, lease.job));
  if (report.progress && lease.count > 0) {
    const std::string progress = json::canonical(*report.progress);
    if (report.progress->object() == nullptr || progress.size() > progress_bytes_max ||
        !is_result(*report.progress))
      return field_error(Reason::field_value, "/progress",
                         "must be a JSON object of at most " + std::to_string(progress_bytes_max) + " bytes");
    CALYX_CHECK(jobs.put_progress(lease.job, lease.first, lease.attempt, progress));
    CALYX_CHECK(tell(
        tx, job,
        json::object({{"event", "task_progress"}, {"index", lease.first}, {"progress", *report.progress}})));
    CALYX_CHECK(put(tx, job));
  }
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
  uncommit(job, reported);
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
    if (core::is_charged(failure)) {
      const std::int64_t ms =
          std::clamp<std::int64_t>(outcome.ran_ms, 0, std::min(wall_ms, job.known->terms.timeout_s * 1'000));
      wall_ms -= ms;
      charged_ms += ms;
      amount.micro += charge(job, ms).micro;
      ++attempts;
    }
    if (!outcome.out.empty() || !outcome.err.empty())
      CALYX_CHECK(jobs.put_output({.job = lease.job,
                                   .task = task,
                                   .attempt = lease.attempt,
                                   .out = outcome.out,
                                   .err = outcome.err,
                                   .progress = {}}));
    if (failure != JobFailure::none) {
      CALYX_CHECK(flush(task));
      CALYX_CHECK(keep_failure(tx, job, lease, task, failure, error));
      continue;
    }
    if (results.empty()) results_first = task;
    results.push_back(results.empty() ? '[' : ',');
    json::append_canonical(results, outcome.result);
    ++job.state.completed;
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

Result<JobNumber> cancel_job(Transaction& tx, const Principal& principal, JobId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(JobState state, readable_job(tx.book(), tx.store(), caller, id));
  const JobNumber number = state.number;
  if (is_terminal(state.status)) return number;
  Held job{.known = {}, .state = std::move(state)};
  CALYX_TRY(job.known, tx.seams().known_jobs->get(tx.store(), number));
  CALYX_CHECK(may_settle(tx, job));
  CALYX_CHECK(give_up(tx, job, JobFailure::cancelled, "it was cancelled"));
  std::vector<JobNumber> next;
  CALYX_CHECK(end(tx, job, JobStatus::cancelled, hash_of_null(), next));
  CALYX_CHECK(end_all(tx, std::move(next)));
  return number;
}

Result<std::int64_t> jobs_worked_on_for(store::MarketStore& store, AccountNumber host) {
  std::int64_t jobs = 0;
  CALYX_CHECK(store.jobs().live_jobs([&](const JobState& state) -> Result<bool> {
    if (state.host == host) ++jobs;
    return true;
  }));
  return jobs;
}

// ── ending ──

Result<Merged> merge_job(store::MarketStore& store, const KnownJob& job, core::Merged* result) {
  const JobNumber number = job.row.number;
  Items items(store, number);
  core::Merger merger(job.shape, std::ref(items));
  std::uint64_t next = 0;
  std::optional<std::string> fault;
  const auto add = [&](const json::Value* value) -> Result<Done> {
    if (fault) return Done{};
    Result<Done> added = merger.add(next++, value);
    if (added.ok() || added.error().status() != Status::invalid) return added;
    fault = added.error().message;  // the results' own
    return Done{};
  };
  CALYX_CHECK(store.jobs().results_from(number, 0, [&](const store::ResultsRow& row) -> Result<bool> {
    CALYX_TRY(const json::Value values, read_own_json(row.body, "results"));
    if (values.array() == nullptr || values.array()->size() != row.count || row.first < next)
      return fail(Reason::corrupt, "the results of job " + std::to_string(number) + " from task " +
                                       std::to_string(row.first) + " are not as they were written");
    while (next < row.first && !fault) CALYX_CHECK(add(nullptr));
    for (const json::Value& value : *values.array()) CALYX_CHECK(add(&value));
    return !fault.has_value();
  }));
  Merged out;
  if (fault) {
    out.fault = *std::move(fault);
    return out;
  }
  // What failed or never ran is missing from the results, and the merge says what that means.
  CALYX_TRY(core::Merged merged, std::move(merger).finish());
  out.output = crypto::Sha256{}(json::canonical(merged.result));
  if (result != nullptr) *result = std::move(merged);
  return out;
}

Result<Done> end_job(Transaction& tx, JobNumber number, const Merged& merged) {
  CALYX_TRY(Held job, hold(tx, number));
  if (job.state.ready != Readiness::to_end) return Done{};  // somebody was here first
  CALYX_CHECK(may_settle(tx, job));
  JobState& state = job.state;
  JobStatus status = core::status_of(state.completed, state.failed);
  if (state.failure != JobFailure::none)
    status = state.completed == 0 ? JobStatus::failed : JobStatus::partial;
  if (!merged.fault.empty() && state.failure == JobFailure::none && status != JobStatus::failed) {
    state.failure = JobFailure::merge_failed;
    state.error = merged.fault;
    status = JobStatus::failed;
  }
  if (state.failure == JobFailure::none && state.failed != 0) {
    // What the first failed task says stands for the job.
    CALYX_CHECK(tx.store().jobs().failures_from(number, 0, [&](const store::FailureRow& row) -> Result<bool> {
      state.failure = row.failure;
      state.error = std::to_string(state.failed) + " of " + std::to_string(job.known->row.tasks) +
                    " tasks failed; task " + std::to_string(row.task) + ": " + row.message;
      return false;
    }));
  }
  std::vector<JobNumber> next;
  const bool has_result = merged.output && status != JobStatus::failed;
  CALYX_CHECK(end(tx, job, status, has_result ? *merged.output : hash_of_null(), next));
  return end_all(tx, std::move(next));
}

Result<Done> set_prices(Transaction& tx, const Principal& principal, const core::Prices& prices) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  const auto check = [](const std::string& field, Money price) -> Result<Done> {
    return price.micro == 0 ? Result<Done>(Done{}) : check_amount(field, price);
  };
  CALYX_CHECK(check("/prices/base", prices.base));
  CALYX_CHECK(check("/prices/cpu", prices.cpu));
  CALYX_CHECK(check("/prices/memory_gb", prices.memory_gb));
  if (prices.gpus.size() > gpu_types_max)
    return field_error(Reason::field_value, "/prices/gpus",
                       "has " + std::to_string(prices.gpus.size()) + " members, takes at most " +
                           std::to_string(gpu_types_max));
  for (const auto& [type, price] : prices.gpus) {
    CALYX_CHECK(check_name("/prices/gpus", type, key_text_max));
    CALYX_CHECK(check("/prices/gpus", price));
  }
  if (prices == tx.book().prices) return Done{};
  CALYX_CHECK(tx.append(PricesSet{prices}));
  return Done{};
}

bool is_result(const json::Value& value) noexcept {
  switch (value.kind()) {
    case json::Kind::integer: return *value.integer() >= -integer_max && *value.integer() <= integer_max;
    case json::Kind::real: {
      const json::Real& real = *value.real();
      // An integer too large for 64 bits is a real with its digits.
      const bool whole = !real.token.empty() && real.token.find_first_of(".eE") == std::string::npos;
      return std::isfinite(real.value) && !(whole && std::abs(real.value) > static_cast<double>(integer_max));
    }
    case json::Kind::array:
      return std::all_of(value.array()->begin(), value.array()->end(),
                         [](const json::Value& item) { return is_result(item); });
    case json::Kind::object:
      return std::all_of(value.object()->begin(), value.object()->end(),
                         [](const json::Member& member) { return is_result(member.value); });
    default: return true;
  }
}

// ── reading ──

Result<JobState> readable_job(const Book& book, store::MarketStore& store, const Caller& caller, JobId id) {
  // Another market's id, or one that was never given, is a name of nothing; so is somebody else's job.
  const auto number = static_cast<JobNumber>(id.number());
  CALYX_TRY(std::optional<JobState> state, store.jobs().state(number));
  if (!state) return no_job(id.text());
  CALYX_TRY(const std::optional<store::JobRow> row, store.jobs().job(number));
  if (!row || job_id_of(book.tag, *row) != id) return no_job(id.text());
  if (caller.is_operator()) return *std::move(state);
  const WalletState* payer = book.wallet(state->account);
  if (payer == nullptr || !readable(book, caller, payer->id).ok()) return no_job(id.text());
  return *std::move(state);
}

Job view(std::uint32_t tag, const KnownJob& known, const JobState& state,
         const std::function<WalletId(AccountNumber)>& wallet_of) {
  const JobTerms& terms = known.terms;
  Job out{.id = job_id_of(tag, known.row),
          .status = state.status,
          .type = terms.type,
          .work = std::string(word(terms.work)),
          .name = terms.name,
          .project = terms.project,
          .revision = known.row.revision,
          .priority = state.priority,
          .tags = terms.tags,
          .depends_on = terms.depends_on,
          .hold = known.row.hold,
          .cost = state.charged,
          .failure = state.failure,
          .error = state.error,
          .output_hash = state.output,
          .created_at = known.row.at};
  if (state.account != 0) out.wallet = wallet_of(state.account);
  out.progress = {.tasks = known.row.tasks,
                  .completed = state.completed,
                  .failed = state.failed,
                  .running = state.running,
                  .queued = is_terminal(state.status)
                                ? 0
                                : known.row.tasks - state.completed - state.failed - state.running};
  if (state.receipt >= 0)
    out.receipt = ReceiptId::make(state.ended.us, static_cast<std::uint64_t>(state.receipt), tag);
  if (!terms.retry_of.empty()) out.retry_of = JobId::read(terms.retry_of);
  if (state.started.us != 0) out.started_at = state.started;
  if (state.ended.us != 0) out.ended_at = state.ended;
  return out;
}

Result<std::vector<JobTask>> tasks_of(store::MarketStore& store, const KnownJob& known, const JobState& state,
                                      std::uint64_t from, std::uint64_t count, bool payloads) {
  const JobNumber number = known.row.number;
  const std::uint64_t end = from + std::min(count, known.row.tasks - std::min(known.row.tasks, from));
  std::vector<JobTask> out;
  for (std::uint64_t i = from; i < end; ++i)
    out.push_back(
        {.index = i, .status = is_terminal(state.status) ? TaskStatus::cancelled : TaskStatus::queued});
  JobStore& jobs = store.jobs();
  CALYX_CHECK(jobs.results_from(number, from, [&](const store::ResultsRow& row) -> Result<bool> {
    if (row.first >= end) return false;
    CALYX_TRY(json::Value values, read_own_json(row.body, "results"));
    if (values.array() == nullptr || values.array()->size() != row.count)
      return fail(Reason::corrupt, "results of job " + std::to_string(number) + " are not as written");
    for (std::uint64_t i = std::max(row.first, from); i < std::min(row.first + row.count, end); ++i) {
      out[i - from].status = TaskStatus::completed;
      out[i - from].attempts = row.attempts;
      out[i - from].result = std::move((*values.array())[i - row.first]);
    }
    return true;
  }));
  CALYX_CHECK(jobs.failures_from(number, from, [&](const store::FailureRow& row) -> Result<bool> {
    if (row.task >= end) return false;
    JobTask& task = out[row.task - from];
    task.status = TaskStatus::failed;
    task.attempts = row.attempts;
    task.failure = row.failure;
    task.error = row.message;
    return true;
  }));
  CALYX_CHECK(jobs.retries_from(number, from, [&](const store::RetryRow& row) -> Result<bool> {
    if (row.task >= end) return false;
    out[row.task - from].attempts = row.attempts;
    return true;
  }));
  CALYX_CHECK(jobs.leases_of(number, [&](const LeaseRow& row) -> Result<bool> {
    for (std::uint64_t i = std::max(row.first, from); i < std::min(row.first + row.count, end); ++i) {
      out[i - from].status = TaskStatus::running;
      out[i - from].attempts = row.attempt;
    }
    return row.first < end;
  }));
  CALYX_CHECK(jobs.outputs_from(number, from, [&](const store::OutputRow& row) -> Result<bool> {
    if (row.task >= end) return false;
    if (!row.progress.empty()) {
      CALYX_TRY(out[row.task - from].progress, read_own_json(row.progress, "a task's progress"));
    }
    return true;
  }));
  if (payloads) {
    CALYX_TRY(std::vector<json::Value> made, payloads_of(store, known, from, out.size()));
    for (JobTask& task : out) task.payload = std::move(made[task.index - from]);
  }
  return out;
}

}  // namespace calyx::services
