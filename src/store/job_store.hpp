/// \file
/// The jobs of a market file: what was asked, how far each is, and what its tasks came to.
///
/// A job is a descriptor (`jobs`) and a cursor (`job_states`), however many tasks it has. A task has a row
/// only once something happened to it: it is part of a lease, waits to be tried again, or has ended, and then
/// it is one of a range of results or a failure. What has no row is still to come when it lies at or behind
/// the job's `fresh`, and was cancelled when the job has ended.
///
/// `jobs`, `job_items`, `job_edges`, `results`, `failures`, `usage` and `job_events` are never changed;
/// `job_states`, `leases`, `job_times`, `retries` and `outputs` are. Money is not here: a job's hold and its
/// settlement are a lock and its end, as of any job.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/job.hpp>
#include <calyx/core/printed.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// A number of a job: its place in the market's sequence of jobs, from 1.
using JobNumber = std::int64_t;

/// What `migrate` makes for jobs, and which of the tables take no change.
std::span<const char* const> job_schema() noexcept;
std::span<const char* const> job_tables_of_record() noexcept;

struct JobRow {
  JobNumber number = 0;
  std::int64_t account = 0;  ///< The payer's wallet; 0 for nobody's.
  Instant at;
  std::string once;      ///< The caller's key, or empty.
  core::Digest request;  ///< SHA-256 of the whole request's canonical JSON,
  core::Digest input;    ///< and of what the tasks are made from.
  std::string spec;      ///< The request's canonical JSON without its explicit items.
  std::uint64_t tasks = 0;
  std::uint64_t items = 0;    ///< Explicit ones, in `job_items`.
  std::int64_t lock = 0;      ///< The event that holds its budget; 0: it costs nothing.
  Money hold;                 ///< What that holds.
  Money rate;                 ///< Micro-FLOPS a second of a task.
  std::int64_t revision = 0;  ///< Of its project; 0: it names none.
};

/// In the place of a job's host: its workers were of several, and `usage` says what is whose.
inline constexpr std::int64_t several_hosts = -1;

/// What a job waits for. The numbers are in the file.
enum class Readiness : std::uint8_t {
  nothing,   ///< Other jobs, its workers, or nothing more.
  to_lease,  ///< Workers: it has a task to hand out, now or when a retry is due.
  to_end,    ///< Somebody to merge what its tasks came to, and settle.
};

struct JobState {
  JobNumber number = 0;
  std::int64_t account = 0;
  JobStatus status = JobStatus::queued;
  JobPriority priority = JobPriority::normal;
  Readiness ready = Readiness::nothing;
  std::uint64_t waiting = 0;  ///< Jobs that must complete first.
  std::uint64_t fresh = 0;    ///< The first task that was never handed out.
  std::uint64_t completed = 0, failed = 0;
  std::uint64_t running = 0;   ///< Tasks in leases,
  std::uint64_t backups = 0;   ///< of which so many are in two.
  std::uint64_t retrying = 0;  ///< Tasks in `retries`.
  std::uint64_t attempts = 0;  ///< That were charged, if for nothing.
  bool low_funds = false;      ///< Whether it was told that the money will not last.
  Money charged;               ///< For what has ended,
  Money committed;             ///< and what may be for what runs.
  std::int64_t host = 0;       ///< The wallet that is paid; 0: nobody has taken a task, `several_hosts`.
  std::int64_t ran_ms = 0;     ///< Charged time.
  Instant started, ended;      ///< 0 us: not yet.
  JobFailure failure = JobFailure::none;
  std::string error;                   ///< What went wrong, in words.
  std::int64_t receipt = -1;           ///< The leaf of its first receipt; -1: none.
  std::int64_t receipts = 0;           ///< How many it has, one behind another: one a host.
  std::optional<core::Digest> output;  ///< The hash of the merged result, once it has ended.
  std::int64_t events = 0;             ///< How many it has had.
};

/// Tasks `first` to `first + count - 1`, which a worker has.
struct LeaseRow {
  std::int64_t token = 0;  ///< Drawn, and shown to the worker alone: who has it may report.
  JobNumber job = 0;
  std::uint64_t first = 0, count = 0;
  std::int64_t attempt = 1;  ///< Of a single task that was tried before; 1 for fresh ones.
  std::int64_t lost = 0;     ///< How often workers vanished with it.
  std::string worker;
  std::int64_t host = 0;  ///< The wallet that is paid.
  Instant since;          ///< Of its last report, or of the lease itself: when its first task began.
  Instant expires;
  bool copied = false;  ///< Whether its one task is, or was, also in another lease.
};

/// A task that failed and is tried again.
struct RetryRow {
  JobNumber job = 0;
  std::uint64_t task = 0;
  std::int64_t attempts = 0;  ///< So far.
  std::int64_t lost = 0;
  Instant not_before;
};

struct FailureRow {
  JobNumber job = 0;
  std::uint64_t task = 0;
  std::int64_t attempts = 0;
  JobFailure failure = JobFailure::task_failed;
  std::string message;
};

/// What a report of a lease charged. `sequence` is the lease's own count of reports, so none counts twice.
struct UsageRow {
  std::int64_t lease = 0;
  std::uint64_t sequence = 0;
  JobNumber job = 0;
  std::int64_t host = 0;
  std::uint64_t attempts = 0;
  std::int64_t charged_ms = 0;
  Money amount;
};

/// What a task's attempt printed, and where it stood: kept until a later attempt says something. And how the
/// last attempt went that was not the task's last word.
struct OutputRow {
  JobNumber job = 0;
  std::uint64_t task = 0;
  std::int64_t attempt = 0;  ///< Whose output it is.
  Printed printed;
  std::string progress;                   ///< JSON, or empty.
  std::int64_t tried = 0;                 ///< Attempts so far, as that one ended,
  JobFailure failure = JobFailure::none;  ///< and how it did; none: no such attempt.
  std::string message;
};

/// Tasks `first` to `first + count - 1` came to their results, each with its `attempts`th attempt.
struct ResultsRow {
  std::uint64_t first = 0, count = 0;
  std::int64_t attempts = 1;
  std::string_view body;  ///< A JSON array of `count` results. Read from a row, it lives until the next one.
};

class JobStore {
 public:
  static Result<JobStore> make(Connection& connection, bool writes);

  // ── writing, in a write transaction ──
  Result<Done> add_job(const JobRow& row);
  Result<Done> add_items(JobNumber job, std::uint64_t first, std::string_view items);
  /// `after` waits until `before` has completed.
  Result<Done> add_edge(JobNumber before, JobNumber after);
  Result<Done> add_state(const JobState& state);
  Result<Done> put_state(const JobState& state);
  Result<Done> add_lease(const LeaseRow& row);
  /// What is left of the lease, since when, until when, and whether it was copied.
  Result<Done> put_lease(const LeaseRow& row);
  Result<Done> remove_lease(std::int64_t token);
  /// One more task took a time of `bucket`.
  Result<Done> add_time(JobNumber job, std::int64_t bucket);
  Result<Done> remove_times(JobNumber job);
  Result<Done> put_retry(const RetryRow& row);
  Result<Done> remove_retry(JobNumber job, std::uint64_t task);
  Result<Done> remove_retries(JobNumber job);
  Result<Done> add_results(JobNumber job, const ResultsRow& row);
  Result<Done> add_failure(const FailureRow& row);
  Result<Done> add_usage(const UsageRow& row);
  /// What the attempt of a task printed; the rest of its row stays.
  Result<Done> put_output(JobNumber job, std::uint64_t task, std::int64_t attempt, const Printed& printed);
  /// How an attempt ended that is not the task's last word; what was printed stays.
  Result<Done> put_ended(const FailureRow& row);
  /// How far the attempt of a task is; what an earlier one printed stays.
  Result<Done> put_progress(JobNumber job, std::uint64_t task, std::int64_t attempt, std::string_view json);
  Result<Done> add_event(JobNumber job, std::int64_t number, Instant at, std::string_view body);

  // ── looking up ──
  Result<JobNumber> last_job();
  Result<std::optional<JobRow>> job(JobNumber number);
  Result<std::optional<JobState>> state(JobNumber number);
  Result<std::optional<JobNumber>> find_once(std::int64_t account, std::string_view once);
  Result<std::optional<LeaseRow>> lease(std::int64_t token);
  /// The other lease that has the task at the front of `of`.
  Result<std::optional<LeaseRow>> other_copy(const LeaseRow& of);
  Result<std::uint64_t> leases_count(JobNumber job);
  /// How long tasks took, in the order of their buckets.
  Result<std::vector<core::DurationCount>> times_of(JobNumber job);
  /// The task of `job` that is next to be tried again.
  Result<std::optional<RetryRow>> next_retry(JobNumber job);
  Result<std::optional<RetryRow>> retry(JobNumber job, std::uint64_t task);
  Result<std::optional<OutputRow>> output(JobNumber job, std::uint64_t task);
  /// The segment of explicit items that holds item `item`: its JSON array, and the first one's place.
  struct Items {
    std::uint64_t first = 0;
    std::string body;
  };
  Result<std::optional<Items>> items(JobNumber job, std::uint64_t item);
  /// How much there is, at the cost of what has not ended. Counts of tasks stop at 2^53 - 1.
  struct Census {
    std::uint64_t jobs = 0;  ///< Ever submitted,
    std::uint64_t planning = 0, queued = 0, running = 0;
    std::uint64_t tasks_ready = 0;    ///< Neither ended nor with a worker, of jobs that wait for no other.
    std::uint64_t tasks_running = 0;  ///< In leases,
    std::uint64_t leases = 0;         ///< of which there are so many.
  };
  Result<Census> census();
  /// Tasks with workers now, over all jobs of `account`.
  Result<std::uint64_t> running_of(std::int64_t account);

  // ── walking; the callback gives false to stop ──
  using EachState = std::function<Result<bool>(const JobState&)>;
  /// Jobs that are to be leased or to be ended, the oldest first.
  Result<Done> ready_jobs(const EachState& each);
  /// The jobs of `account` (all with -1) before `before`, the youngest first.
  Result<Done> jobs_of(std::int64_t account, JobNumber before, const EachState& each);
  Result<Done> live_jobs(const EachState& each);
  using EachNumber = std::function<Result<bool>(JobNumber)>;
  Result<Done> jobs_after(JobNumber before, const EachNumber& each);
  using EachLease = std::function<Result<bool>(const LeaseRow&)>;
  Result<Done> leases_of(JobNumber job, const EachLease& each);
  /// Leases that ended before `now`, the first one first.
  Result<Done> expired_leases(Instant now, const EachLease& each);
  using EachResults = std::function<Result<bool>(const ResultsRow& row)>;
  /// The ranges of results that end behind `from`, in order.
  Result<Done> results_from(JobNumber job, std::uint64_t from, const EachResults& each);
  using EachFailure = std::function<Result<bool>(const FailureRow&)>;
  Result<Done> failures_from(JobNumber job, std::uint64_t from, const EachFailure& each);
  using EachOutput = std::function<Result<bool>(const OutputRow&)>;
  Result<Done> outputs_from(JobNumber job, std::uint64_t from, const EachOutput& each);
  using EachRetry = std::function<Result<bool>(const RetryRow&)>;
  Result<Done> retries_from(JobNumber job, std::uint64_t from, const EachRetry& each);
  using EachJobEvent = std::function<Result<bool>(std::int64_t number, Instant at, std::string_view body)>;
  Result<Done> events_of(JobNumber job, std::int64_t after, const EachJobEvent& each);
  /// What was charged for the work of one host's workers.
  struct Share {
    std::int64_t host = 0;
    std::int64_t ran_ms = 0;
    Money charged;
  };
  /// By host, in the order of their numbers; those that nothing was charged for are left out.
  Result<std::vector<Share>> shares_of(JobNumber job);

  // ── for an audit ──

  /// What the rows of a job come to, which its state says too.
  struct Tally {
    std::uint64_t completed = 0, failed = 0, running = 0, retrying = 0;
    std::int64_t ran_ms = 0, charged = 0, events = 0;
    std::uint64_t backups = 0;
    bool operator==(const Tally&) const = default;
  };
  Result<Tally> tally(JobNumber job);
  /// Reads every page of the jobs' tables and indices, and names the index that lists other rows than its
  /// table; empty when all is well. Fails: the store, `corrupt` above all.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_job_, add_items_, add_edge_, add_state_, put_state_, add_lease_, put_lease_, remove_lease_,
      add_time_, remove_times_, put_retry_, remove_retry_, remove_retries_, add_results_, add_failure_,
      add_usage_, put_output_, put_ended_, put_progress_, add_event_;
  Statement last_job_, job_, state_, find_once_, lease_, other_copy_, leases_count_, times_of_, next_retry_,
      retry_, output_, outputs_from_, items_, running_of_, census_, ready_jobs_, jobs_of_, live_jobs_,
      jobs_after_, leases_of_, expired_leases_, results_from_, failures_from_, retries_from_, events_of_,
      shares_of_, tally_;
  Listings listings_;
};

}  // namespace calyx::store
