#include <algorithm>

#include "crypto/sha256.hpp"
#include "services/job_steps.hpp"
#include "services/services.hpp"
#include "services/webhooks.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using store::JobState;
using store::JobStore;
using store::Readiness;

constexpr std::string_view work_version = "1";

/// The hosts whose workers were charged for tasks of a job, or have some now.
Result<std::vector<AccountNumber>> hosts_of(store::MarketStore& store, JobNumber number) {
  CALYX_TRY(const std::vector<JobStore::Share> shares, store.jobs().shares_of(number));
  std::vector<AccountNumber> out;
  out.reserve(shares.size());
  for (const JobStore::Share& share : shares) out.push_back(share.host);
  CALYX_CHECK(store.jobs().leases_of(number, [&](const store::LeaseRow& lease) -> Result<bool> {
    out.push_back(lease.host);
    return true;
  }));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

/// What each host has earned of what was charged.
Result<std::vector<JobStore::Share>> shares_of(Transaction& tx, const JobState& state) {
  if (state.host == store::several_hosts) return tx.store().jobs().shares_of(state.number);
  std::vector<JobStore::Share> out;
  if (state.charged.micro != 0)
    out.push_back({.host = state.host, .ran_ms = state.ran_ms, .charged = state.charged});
  return out;
}

/// Settles what `job` came to: a payment and a receipt a host, and the rest of the hold comes back.
Result<Done> settle(Transaction& tx, Held& job, const core::Digest& output) {
  const Book& book = tx.book();
  const KnownJob& known = *job.known;
  if (known.row.lock == 0) return Done{};
  const auto lock = book.locks.find(known.row.lock);
  if (lock == book.locks.end())
    return fail(Reason::corrupt, "job " + std::to_string(known.row.number) + " holds nothing; run an audit");
  CALYX_TRY(const std::vector<JobStore::Share> shares, shares_of(tx, job.state));
  if (shares.empty()) {
    CALYX_CHECK(tx.append(ReleaseEvent{.lock = known.row.lock}));
    return Done{};
  }
  const AccountNumber payer = lock->second.payer;
  const WalletId payer_id = book.wallet(payer)->id;
  const std::string job_id = lock->second.job_id;
  const core::Requirements& needs = known.terms.requirements;
  job.state.receipt = tx.next_leaf();
  job.state.receipts = static_cast<std::int64_t>(shares.size());
  Money before;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const Money gross = shares[i].charged;
    const core::FeeSplit split = core::split_fee(gross, book.fee_basis_points);
    const WalletState* host = book.wallet(shares[i].host);
    if (host == nullptr) return fail(Reason::corrupt, "a job was worked on by nobody; run an audit");
    EarnEvent fields{.lock = known.row.lock,
                     .host = host->number,
                     .gross = gross,
                     .fee = split.fee,
                     .net = split.net,
                     .output_hash = output,
                     .gpu_model = needs.gpu_count == 0     ? "CPU"
                                  : needs.gpu_type.empty() ? "GPU"
                                                           : needs.gpu_type,
                     .duration_seconds = (shares[i].ran_ms + 999) / 1000,
                     .leaf = tx.next_leaf(),
                     .work = core::ReceiptWork{.kind = std::string(word(known.terms.work)),
                                               .name = known.terms.name,
                                               .version = std::string(work_version),
                                               .operation = known.terms.operation,
                                               .input_hash = known.row.input},
                     .before = before,
                     .more = i + 1 < shares.size()};
    before.micro += gross.micro;
    CALYX_TRY(const Placed event, tx.append(fields));
    if (split.net.micro == 0 && host->number != payer)
      CALYX_CHECK(tx.store().append_zero_earning(host->number, event.seq));
    tx.add_receipt({.leaf = fields.leaf,
                    .seq = event.seq,
                    .fields = {.id = book.receipt_id(fields.leaf, event.at),
                               .issuer = book.issuer,
                               .issued_at = event.at,
                               .payer_wallet = payer_id,
                               .host_wallet = host->id,
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
  }
  return Done{};
}

/// Whether `settle` may go through, asked before anything of the end is written.
Result<Done> may_settle(Transaction& tx, const Held& job) {
  // What runs is charged as it is stopped, and never more than what is committed for it.
  const Money most{job.state.charged.micro + job.state.committed.micro};
  if (job.known->row.lock == 0 || most.micro == 0) return Done{};
  if (!tx.seams().can_sign)
    return fail(Reason::keys_missing,
                "no signing key of the market is here to sign the receipt: put the key file back");
  std::vector<AccountNumber> hosts{job.state.host};
  if (job.state.host == store::several_hosts) {
    CALYX_TRY(hosts, hosts_of(tx.store(), job.state.number));
  }
  for (const AccountNumber number : hosts)
    if (const WalletState* host = tx.book().wallet(number)) CALYX_CHECK(check_room(*host, most));
  return Done{};
}

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
    if (lets_go_on(job.known->terms, status)) {
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
  if (may_be_copied(*job.known)) CALYX_CHECK(tx.change_jobs().remove_times(state.number));
  if (!job.known->terms.callback_url.empty()) CALYX_CHECK(write_webhook(tx, *job.known, state));
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

Result<JobNumber> cancel_job(Transaction& tx, const Principal& principal, JobId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal, For::derived_keys));
  CALYX_TRY(JobState state, readable_job(tx.book(), tx.store(), caller, id));
  const JobNumber number = state.number;
  if (is_terminal(state.status)) return number;
  Held job{.known = {}, .state = std::move(state)};
  CALYX_TRY(job.known, tx.seams().known_jobs->get(tx.store(), number));
  CALYX_CHECK(may_end(tx.book(), caller, job.known->row.lock, tx.now()));
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
    bool theirs = state.host == host;
    if (state.host == store::several_hosts) {
      CALYX_TRY(const std::vector<AccountNumber> hosts, hosts_of(store, state.number));
      theirs = std::binary_search(hosts.begin(), hosts.end(), host);
    }
    if (theirs) ++jobs;
    return true;
  }));
  return jobs;
}

Result<Merged> merge_job(store::MarketStore& store, const KnownJob& job, core::Merged* result) {
  std::vector<LeftFile> files;
  CALYX_CHECK(store.artifacts().of_job(job.row.number, 0, [&](const store::ArtifactRow& row) -> Result<bool> {
    files.push_back({row.task, row.name, row.sha256});
    return true;
  }));
  return merge_results(
      store, job,
      [&](const JobStore::EachResults& each) { return store.jobs().results_from(job.row.number, 0, each); },
      files, result);
}

Result<Merged> merge_results(store::MarketStore& store, const KnownJob& job,
                             const std::function<Result<Done>(const JobStore::EachResults&)>& rows,
                             std::span<const LeftFile> files, core::Merged* result) {
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
  CALYX_CHECK(rows([&](const store::ResultsRow& row) -> Result<bool> {
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
  core::Merged merged = std::move(merger).finish();
  // A job that leaves no files is hashed as it is served; else the files are part of what came out.
  json::Value whole = merged.result;
  if (!files.empty()) {
    json::Array left;
    left.reserve(files.size());
    for (const LeftFile& file : files)
      left.push_back(
          json::object({{"name", file.name}, {"sha256", core::hex(file.sha256)}, {"task", file.task}}));
    whole = json::object({{"artifacts", std::move(left)}, {"result", std::move(whole)}});
  }
  out.output = crypto::Sha256{}(json::canonical(whole));
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

}  // namespace calyx::services
