/// \file
/// What the services of jobs have in common: one job read, changed and written back once, and the ways in
/// which its tasks are charged and taken from their workers.
#pragma once

#include "services/jobs.hpp"

namespace calyx::services {

inline constexpr std::int64_t us_per_ms = 1'000;
inline constexpr std::int64_t lease_us = lease_s * core::us_per_second;

Error no_job(std::string_view id);
core::Digest hash_of_null();

/// The memo of a call: what it reads of one job, and writes back once.
struct Held {
  std::shared_ptr<const KnownJob> known;
  store::JobState state;
};

/// Fails: `corrupt` for a job without a state.
Result<Held> hold(Transaction& tx, JobNumber number);
/// What may be done with a job of `tasks` tasks next.
store::Readiness readiness(const store::JobState& state, std::uint64_t tasks);
/// Writes the state of `job` back, with what may be done with it next.
Result<Done> put(Transaction& tx, Held& job);
/// Adds an event to the job's own.
Result<Done> tell(Transaction& tx, Held& job, const core::json::Value& body);

/// What one attempt of the job's task may cost at most.
core::Wide attempt_cost(const KnownJob& known);
/// Charges an attempt, `ms` of a lease's time. Its worst case was kept free, so this never goes beyond the
/// hold.
Money charge(Held& job, std::int64_t ms);
/// Charges the attempt at the front of `lease`, which nobody reported, for `ran_ms`, and its timeout at most.
Result<Done> charge_front(Transaction& tx, Held& job, const store::LeaseRow& lease, std::int64_t ran_ms);
/// Gives up the worst case of `tasks` that no longer run.
void uncommit(Held& job, std::uint64_t tasks);
/// Gives up the worst case of one of a task's two copies; the task runs on in the other, or is taken with it.
void drop_copy(Held& job);

/// When `lease` is over unless its worker is heard again after `now`.
Instant expiry(const KnownJob& known, const store::LeaseRow& lease, Instant now);
/// Whether what ended `lease` is its task that hangs, and not its worker that vanished.
bool hung(const KnownJob& known, const store::LeaseRow& lease);

/// The tasks of a job end here, however many are left.
Result<Done> give_up(Transaction& tx, Held& job, JobFailure failure, std::string error);
/// Whether a job's time is over, and why.
std::optional<std::pair<JobFailure, std::string>> overdue(const KnownJob& known, const store::JobState& state,
                                                          Instant now);
/// Gives up a job whose time is over; whether it was.
Result<bool> end_overdue(Transaction& tx, Held& job);

// ── what a task says while it runs (job_output.cpp) ──

inline constexpr std::size_t progress_bytes_max = 65'536;
enum class Heard : std::uint8_t { kept, told };  ///< Whether the job's readers are told of it by an event.
/// Keeps how far a task of `lease` is; false for what may not be kept.
Result<bool> keep_progress(Transaction& tx, Held& job, const store::LeaseRow& lease, std::uint64_t task,
                           const core::json::Value& progress, Heard heard);
/// Keeps what an attempt printed. As long as that is nothing, what the one before has printed stays.
Result<Done> put_printed(Transaction& tx, JobNumber job, std::uint64_t task, std::int64_t attempt,
                         Printed printed);

// ── what a job's numbers say of its end (job_outlook.cpp) ──

/// Whether tasks of the job may be handed out twice at once: it is idempotent, has enough tasks to know which
/// are late, and keeps no checkpoints, whose folder is one attempt's.
bool may_be_copied(const KnownJob& known);
/// Whether one that runs may be so late that a second copy of it is worth its while.
bool may_have_stragglers(const Held& job);
/// The lease whose task has run longest of those that are worth a second copy, for another worker than has
/// it. A lease with more tasks behind it is none: they would stand in both.
Result<std::optional<store::LeaseRow>> find_straggler(Transaction& tx, const Held& job,
                                                      const std::string& worker);
/// How many fresh tasks one of the workers of `job` may take, so that the last ones are left for all.
Result<std::uint64_t> share_of(Transaction& tx, const Held& job);
/// Tells once that what the job holds will not last to its end, if things go on as they did.
Result<Done> tell_low_funds(Transaction& tx, Held& job);

}  // namespace calyx::services
