#include <algorithm>
#include <cmath>

#include "services/job_steps.hpp"

namespace calyx::services {

namespace json = core::json;
using store::JobState;
using store::JobStore;
using store::LeaseRow;

JobId job_id_of(std::uint32_t tag, const store::JobRow& row) noexcept {
  return JobId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
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
          .input_hash = known.row.input,
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
  for (std::int64_t i = 0; i < state.receipts; ++i)
    out.receipts.push_back(
        ReceiptId::make(state.ended.us, static_cast<std::uint64_t>(state.receipt + i), tag));
  if (!out.receipts.empty()) out.receipt = out.receipts.front();
  if (!terms.retry_of.empty()) out.retry_of = JobId::read(terms.retry_of);
  if (!terms.resume_from.empty()) out.resume_from = JobId::read(terms.resume_from);
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
    JobTask& task = out[row.task - from];
    if (!row.progress.empty()) {
      CALYX_TRY(task.progress, read_own_json(row.progress, "a task's progress"));
    }
    if (row.failure == JobFailure::none || task.status == TaskStatus::completed ||
        task.status == TaskStatus::failed)
      return true;
    task.failure = row.failure;
    task.error = row.message;
    if (task.status == TaskStatus::cancelled) task.attempts = row.tried;
    return true;
  }));
  if (payloads) {
    CALYX_TRY(std::vector<json::Value> made, payloads_of(store, known, from, out.size()));
    for (JobTask& task : out) task.payload = std::move(made[task.index - from]);
  }
  return out;
}

}  // namespace calyx::services
