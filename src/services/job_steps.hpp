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
/// Charges `ms` of a lease's time. Its worst case was kept free, so this never goes beyond the hold.
Money charge(Held& job, std::int64_t ms);
/// Charges the attempt at the front of `lease`, which nobody reported, for `ran_ms`, and its timeout at most.
Result<Done> charge_front(Transaction& tx, Held& job, const store::LeaseRow& lease, std::int64_t ran_ms);
/// Gives up the worst case of `tasks` that no longer run.
void uncommit(Held& job, std::uint64_t tasks);

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

}  // namespace calyx::services
