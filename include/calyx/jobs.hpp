/// \file
/// Jobs: work that is split into tasks, handed to workers, paid for by the second, and merged into one
/// result.
///
/// Start at `Session::submit_job`. Who runs the tasks: a `Worker` of this process (worker.hpp), or one
/// elsewhere by `Session::lease_tasks` and `report_tasks`. A job's money is an escrow of its own
/// (escrows.hpp) under the job's id: held at submission, settled once at its end, and only the job's end ends
/// it.
///
/// Units: instants are microseconds since 1970-01-01 UTC; prices are micro-FLOPS a second of a task.
#pragma once

#include <calyx/artifacts.hpp>
#include <calyx/core/digest.hpp>
#include <calyx/core/job.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/printed.hpp>
#include <calyx/version.hpp>
#include <calyx/wallets.hpp>
#include <memory>

namespace calyx {

struct LongList;
inline constexpr std::size_t job_text_bytes_max = std::size_t{64} << 20;

/// A job as it is asked for. `job` has the members of `POST /api/v1/jobs`: what runs (`task`, the name of a
/// host's function, or `runner_command`, in a `project` or an `image`), what it is given and how that is
/// split (`type`, `payload`, `fan_out`, …), and on what terms (`timeout_s`, `max_retries`, `priority`,
/// `depends_on`, `tags`, `requirements`, `max_cost`, …).
///
/// With `retry_of`, the id of a job that has ended, only those of its tasks run that did not complete; what
/// the submit leaves out of work, shape and terms is taken from that job. With `resume_from` a sweep runs
/// only the points that the sweep of that id has no result of. Either takes the finished results over,
/// uncharged.
struct JobSubmit {
  core::json::Object job{};
  /// Who pays; a wallet's own key pays itself. An operator names it, unless the job costs nothing.
  std::optional<WalletId> wallet{};
  IdempotencyKey idempotency_key{};
  /// The recipe that runs, for `POST /api/v1/recipes/{name}/jobs`; `job` then names no work of its own.
  std::string recipe{};
  /// A long list of explicit items that `read` cut out of `job`, where an empty one is left.
  std::shared_ptr<const LongList> items{};

  /// The job that `text` asks for, a JSON object of at most `job_text_bytes_max`. A long list of explicit
  /// items is kept as text, which takes a sixth of the time of values and of their memory.
  ///
  /// Fails: `too_large`, `not_json` and what else is no JSON; `field_type`. Threads: any.
  CALYX_EXPORT static Result<JobSubmit> read(std::string_view text);
};

/// What a job may come to, before it is submitted. Units: micro-FLOPS.
struct JobEstimate {
  std::uint64_t tasks = 0;
  Money rate{};  ///< A second of one task.
  std::optional<Money>
      worst_case{};  ///< Each task with every try and every second; absent: beyond an amount.
  Money hold{};      ///< What is held: the worst case, or `max_cost` if that is less.
};

/// Requirements under a name (core/preset.hpp).
struct Preset {
  std::string name{}, summary{};
  core::Requirements requirements{};
  std::optional<Money> rate{};  ///< A second of one task; absent: beyond an amount.
};

struct JobSubmitted {
  JobId id{};
  JobStatus status = JobStatus::queued;
  JobEstimate estimate{};
  bool replayed = false;
};

struct JobProgress {
  std::uint64_t tasks = 0, completed = 0, failed = 0, running = 0, queued = 0;
};

struct Job {
  JobId id{};
  JobStatus status = JobStatus::queued;
  std::string type{};  ///< `structured_runner`, `sweep`, `map_reduce`, `benchmark`.
  std::string work{};  ///< `task`, `recipe` or `command`,
  std::string name{};  ///< and which: a task's or a recipe's name, or the command's first word.
  std::string project{};
  std::int64_t revision = 0;  ///< Of the project, as it was submitted with; 0: it names none.
  std::optional<WalletId> wallet{};
  JobPriority priority = JobPriority::normal;
  std::vector<std::string> tags{};
  std::vector<std::string> depends_on{};
  JobProgress progress{};
  Money hold{}, cost{};
  JobFailure failure = JobFailure::none;
  std::string error{};  ///< In words; empty for a job that went well.
  /// Of what its tasks are made from: its payload, or all members that make payloads, without `device` and
  /// with the hashes of artifacts for their ids.
  core::Digest input_hash{};
  /// Of the canonical JSON of `JobResults::result`; where tasks left artifacts, of {`artifacts`: [{`name`,
  /// `sha256`, `task`}], in the order of tasks and names, `result`}.
  std::optional<core::Digest> output_hash{};
  /// One for each host wallet whose workers were charged for, in the order of the wallets; `receipt` is the
  /// first.
  std::vector<ReceiptId> receipts{};
  std::optional<ReceiptId> receipt{};
  std::optional<JobId> retry_of{}, resume_from{};
  Instant created_at{};
  std::optional<Instant> started_at{}, ended_at{};
};

/// Which jobs to list, the youngest first. Empty members let all pass.
struct JobFilter {
  std::optional<JobStatus> status{};
  std::string project{}, tag{};
};

struct JobTask {
  std::uint64_t index = 0;
  TaskStatus status = TaskStatus::queued;
  std::int64_t attempts = 0;
  /// How its last attempt ended that did not go well; none of a task that has completed.
  JobFailure failure = JobFailure::none;
  std::string error{};
  core::json::Value payload{}, result{}, progress{};
  std::vector<Artifact> artifacts{};             ///< What it left, by name; of its completed attempt alone.
  std::vector<SkippedFile> artifacts_skipped{};  ///< The first 100.
};

struct JobResults {
  JobId id{};
  JobStatus status = JobStatus::queued;
  core::json::Value result{};  ///< The merged one; null until the job has ended with one.
  core::json::Object notes{};  ///< What of the tasks' results it leaves out, and why; core/merge.hpp.
  std::vector<JobTask> tasks{};
  std::string next{};
};

/// Of the last attempt that printed anything: the one before is kept until the next one's first byte.
struct JobOutput {
  std::uint64_t task = 0;
  std::int64_t attempt = 0;  ///< 0: nothing was printed yet.
  std::string out{}, err{};
  std::uint64_t out_dropped = 0, err_dropped = 0;  ///< As in `Printed`.
};

struct JobEvent {
  std::int64_t number = 0;  ///< In its job, from 1: an SSE stream's `id`.
  Instant at{};
  /// An object whose `event` says what happened: `submitted`, `started`, `progress`, `task_progress`,
  /// `task_failed`, `ended`; and `low_funds`, once, when what the job holds will not last to its end: `left`
  /// of it for `tasks_left` tasks that have not ended, `projected_tasks` that it lasts for if an attempt goes
  /// on costing what it did, the `rate` a second at which it was spent so far, and `runs_out_at` that rate. A
  /// job whose money does end fails with `budget_exhausted`, or is `partial` with what it has.
  core::json::Value body{};
};

inline constexpr std::string_view any_image = "*";

/// What a worker can do, as it asks for tasks.
struct LeaseAsked {
  std::string worker{};                   ///< Its name, 1 to 128 bytes of 0x21-0x7E.
  std::optional<WalletId> host_wallet{};  ///< Who is paid; absent: the market's house wallet.
  std::vector<std::string> tasks{};       ///< The names of the functions it has,
  std::vector<std::string> recipes{};     ///< of its recipes,
  bool commands = false;                  ///< whether it runs commands without an image,
  std::vector<std::string> images{};      ///< and in which images it runs some; `any_image` for all.
  core::Requirements has{};  ///< A job that needs more is not for it; zero has none of that kind.
  std::vector<std::string> gpu_types{};
  std::uint64_t tasks_max = 1;  ///< 1 to 4,096, of one job; near its end it gets fewer, to leave others some.
};

/// Tasks `first` to `first + count - 1` of a job, for `lease_s` seconds from the last report or heartbeat; by
/// heartbeats alone no longer than `timeout_s` and `lease_s` from the lease, or the last report with
/// outcomes.
///
/// A task of an `idempotent` job may be in two leases: once three of four tasks are done, ten of them with a
/// result, one that has run for longer than 30 s and than twice what three of four took is handed out to
/// another worker too. The first result counts; the other lease is over then, and of both one is charged.
struct Lease {
  std::int64_t token = 0;
  JobId job{};
  std::uint64_t first = 0, count = 0;  ///< A count of 0: there is nothing to do.
  std::int64_t attempt = 1;
  std::string work{}, name{}, operation{};
  std::vector<std::string> command{};
  std::string image{};  ///< That the command runs in; empty: its project's, or none.
  std::string project{};
  std::int64_t revision = 0;  ///< Of the project.
  std::int64_t timeout_s = 0;
  Instant expires_at{};
};
inline constexpr std::int64_t lease_s = 30;

/// How one task of a lease went.
struct TaskOutcome {
  JobFailure failure = JobFailure::none;
  core::json::Value result{};  ///< Of one that went well.
  std::string error{};         ///< Of one that did not.
  std::int64_t ran_ms = 0;
  std::string out{}, err{};  ///< What it printed: what is more than `Printed` has is dropped.
  /// What it left, put before it is reported, each its payer's from then on; of a task that failed nothing is
  /// kept.
  std::vector<ArtifactId> artifacts{};
  std::uint64_t out_dropped = 0, err_dropped = 0;  ///< As in `Printed`, where the worker has dropped them.
  std::optional<core::json::Value> progress{};     ///< Its last one, where it was not reported yet.
};
inline constexpr std::size_t task_artifacts_max = 10'000;

/// Outcomes of the tasks at the front of a lease, in their order. With none it is a heartbeat.
struct Report {
  std::int64_t token = 0;
  /// The index of the first task that it is about. A report that is made again, since its answer was lost, is
  /// then known for what it is and counts nothing; without it the lease's next task is meant.
  std::optional<std::uint64_t> first{};
  std::optional<core::json::Value> progress{};  ///< Of the task at the front, while it runs: an object.
  /// What that task has printed so far, in the place of what was reported before. Nobody sees it of a task
  /// that two workers have.
  std::optional<Printed> printed{};
  /// The lease's job, and its attempt of task `first`. Named, `printed` is kept to its end of a task that was
  /// stopped with its job, though the lease is over, and that is no failure; while the job goes on it is one.
  std::optional<JobId> job{};
  std::int64_t attempt = 0;
  std::vector<TaskOutcome> outcomes{};
  bool gives_back = false;  ///< What is left of the lease is for somebody else, at no try's cost.
};

struct Reported {
  std::uint64_t left = 0;  ///< Tasks of the lease that are still to do; with 0 it is over.
  Instant expires_at{};
};

}  // namespace calyx
