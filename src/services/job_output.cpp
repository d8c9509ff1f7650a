#include "services/job_steps.hpp"

namespace calyx::services {

namespace json = core::json;

Result<bool> keep_progress(Transaction& tx, Held& job, const store::LeaseRow& lease, std::uint64_t task,
                           const json::Value& progress, Heard heard) {
  const std::string text = json::canonical(progress);
  if (progress.object() == nullptr || text.size() > progress_bytes_max || !is_result(progress)) return false;
  CALYX_CHECK(tx.change_jobs().put_progress(lease.job, task, lease.attempt, text));
  if (heard == Heard::told)
    CALYX_CHECK(
        tell(tx, job, json::object({{"event", "task_progress"}, {"index", task}, {"progress", progress}})));
  return true;
}

Result<Done> put_printed(Transaction& tx, JobNumber job, std::uint64_t task, std::int64_t attempt,
                         Printed printed) {
  if (printed.out.empty() && printed.err.empty()) return Done{};
  core::keep_printed(printed.out, printed.out_dropped);
  core::keep_printed(printed.err, printed.err_dropped);
  return tx.change_jobs().put_output(job, task, attempt, printed);
}

Result<Done> keep_output(Transaction& tx, JobNumber number, std::uint64_t task, std::int64_t attempt,
                         const Printed& printed) {
  CALYX_TRY(const std::optional<store::OutputRow> row, tx.store().jobs().output(number, task));
  if (!row || row->failure == JobFailure::none || row->tried != attempt || row->attempt > attempt)
    return Done{};
  return put_printed(tx, number, task, attempt, printed);
}

}  // namespace calyx::services
