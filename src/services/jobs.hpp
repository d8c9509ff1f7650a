/// \file
/// Jobs as services: submit, lease, report, cancel, end. What may be long (reading a submit, merging results)
/// is done outside the transaction, before it or between two.
#pragma once

#include <calyx/core/callback.hpp>
#include <calyx/core/merge.hpp>
#include <calyx/jobs.hpp>

#include "services/access.hpp"
#include "services/job_again.hpp"
#include "services/job_text.hpp"
#include "services/known_job.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

using store::JobNumber;

/// A submit, read, checked and spelled.
struct PreparedJob {
  JobTerms terms;
  core::JobShape shape;
  std::optional<WalletId> wallet;
  IdempotencyKey once;
  JobText text;
  std::shared_ptr<const LongList> items;  ///< The explicit ones.
  std::vector<JobId> depends_on;
  TakenOver taken;  ///< From an earlier job.
};
inline constexpr std::uint64_t lease_tasks_max = 4096;

/// `callbacks`: where jobs may have their end told; null: nowhere. Fails: as `read_terms` and
/// `JobShape::read`; `job_unknown` for a dependency that is no job's id; `unsupported`; `field_value` with
/// the broken `rule` for a `callback_url`.
Result<PreparedJob> prepare_job(const JobSubmit& asked, const core::CallbackRules* callbacks);

/// What `job` may come to at the book's prices. Fails: `amount_out_of_range` for a rate beyond an amount.
Result<JobEstimate> estimate_job(const Book& book, const PreparedJob& job);

Result<JobSubmitted> submit_job(Transaction& tx, const Principal& principal, const PreparedJob& job,
                                const Policy* narrowing);

/// What a lease or a report leaves for its caller to do, outside the transaction.
struct Chores {
  std::vector<JobNumber> to_end;  ///< Jobs whose tasks have all ended.
};
Result<Lease> lease_tasks(Transaction& tx, const Principal& principal, const LeaseAsked& asked,
                          Chores& chores);
/// What a task of this process left, its blobs durable; the rows name no job yet.
struct TaskFiles {
  std::vector<store::ArtifactRow> kept;
  std::vector<SkippedFile> skipped;
};
/// `files` are those of the outcomes, one for one, or none at all.
Result<Reported> report_tasks(Transaction& tx, const Principal& principal, const Report& report,
                              Chores& chores, std::span<const TaskFiles> files = {});
/// Keeps what attempt `attempt` of a task has printed though its lease is over: one that was stopped, or came
/// too late, and was charged. Of another that was, or where a later one has printed, nothing is changed.
Result<Done> keep_output(Transaction& tx, JobNumber number, std::uint64_t task, std::int64_t attempt,
                         const Printed& printed);
/// Whether something is to be done about a job though nobody leases: a worker is late, its own time is over,
/// or its tasks have all ended.
Result<bool> is_due(store::MarketStore& store, const KnownJob& known, const store::JobState& state,
                    Instant now);
/// Does it, but for the end, which is left to `chores`.
Result<Done> tend_job(Transaction& tx, JobNumber number, Chores& chores);
/// A job that has ended stays as it is, and is no error.
Result<JobNumber> cancel_job(Transaction& tx, const Principal& principal, JobId id);

/// How many jobs that have not ended are worked on for the wallet `host`.
Result<std::int64_t> jobs_worked_on_for(store::MarketStore& store, AccountNumber host);

/// What the tasks of a job came to.
struct Merged {
  std::optional<core::Digest> output;  ///< The hash of the merged result; of `null` where there is none.
  std::string fault;                   ///< Why they could not be merged.
};
/// Merges the results that `store` has of `job`, one after the other; `result` gets them, unless it is null.
Result<Merged> merge_job(store::MarketStore& store, const KnownJob& job, core::Merged* result);
/// A file that a task left, as far as a job's `output_hash` covers it.
struct LeftFile {
  std::uint64_t task = 0;
  std::string name;
  core::Digest sha256;
};
/// The same of results from elsewhere: `rows` calls back with each range of them, in the order of tasks, and
/// `files` are in the order of tasks and names.
Result<Merged> merge_results(store::MarketStore& store, const KnownJob& job,
                             const std::function<Result<Done>(const store::JobStore::EachResults&)>& rows,
                             std::span<const LeftFile> files, core::Merged* result);
/// Ends a job whose tasks have all ended: settles, and lets what depends on it go on. Nothing for one that
/// was ended meanwhile.
Result<Done> end_job(Transaction& tx, JobNumber number, const Merged& merged);

/// Whether `value` may be a task's result: no NaN, no infinity, no integer that a reader of doubles would
/// change.
bool is_result(const core::json::Value& value) noexcept;

/// The price list, as a whole (operator).
Result<Done> set_prices(Transaction& tx, const Principal& principal, const core::Prices& prices);

// ── reading ──

/// The job, for a caller who may read its payer's wallet. Fails: `job_unknown`.
Result<store::JobState> readable_job(const Book& book, store::MarketStore& store, const Caller& caller,
                                     JobId id);
JobId job_id_of(std::uint32_t tag, const store::JobRow& row) noexcept;
Job view(std::uint32_t tag, const KnownJob& known, const store::JobState& state,
         const std::function<WalletId(AccountNumber)>& wallet_of);

/// Tasks `from` to `from + count - 1`, as they stand; with their payloads where asked.
Result<std::vector<JobTask>> tasks_of(store::MarketStore& store, const KnownJob& known,
                                      const store::JobState& state, std::uint64_t from, std::uint64_t count,
                                      bool payloads);

}  // namespace calyx::services
