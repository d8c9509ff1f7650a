// A receipt's job, computed again: what its payload comes to now, against the hash that was signed.
#include <algorithm>
#include <calyx/core/receipt.hpp>
#include <calyx/session.hpp>

#include "crypto/sha256.hpp"
#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/performing.hpp"
#include "engine/task_files.hpp"
#include "json/reader.hpp"

namespace calyx {

using engine::FoundJob;
using services::KnownJob;
using store::MarketStore;

namespace {

namespace json = core::json;

Error not_reproducible(std::string_view why, std::string message) {
  return fail(Reason::not_reproducible, std::move(message), json::object({{"why", why}}));
}

/// The job that `receipt` pays for. An id alone says nothing, since a spend may bear any: the job names its
/// receipts, too.
Result<FoundJob> job_of(Market& market, const engine::Reading& by, const Receipt& receipt) {
  const json::Value* name = receipt.payload.find("job_id");
  const auto id = name == nullptr || name->string() == nullptr ? std::nullopt : JobId::read(*name->string());
  const Error is_spend = not_reproducible("spend", "the receipt is of a spend, and of no job of this market");
  if (receipt.payload.find("work") == nullptr || !id) return is_spend;
  CALYX_TRY(FoundJob found,
            market.history([&](MarketStore& store) { return engine::find_job(market, store, by, *id); }));
  const auto first = static_cast<std::uint64_t>(found.state.receipt);
  if (receipt.leaf < first || receipt.leaf - first >= static_cast<std::uint64_t>(found.state.receipts))
    return is_spend;
  return found;
}

/// The hash of what the job was made from, from what is recorded of it.
Result<core::Digest> recorded_input(Market& market, const KnownJob& known) {
  JobSubmit asked;
  CALYX_CHECK(market.history([&](MarketStore& store) -> Result<Done> {
    CALYX_TRY(json::Value spec, services::spec_of(store, known));
    json::Value* job = spec.object() == nullptr ? nullptr : spec.object()->find("job");
    if (job == nullptr || job->object() == nullptr)
      return fail(Reason::corrupt,
                  "the request of job " + std::to_string(known.row.number) + " is no object");
    asked.job = std::move(*job->object());
    CALYX_TRY(asked.items, services::items_of(store, known));
    return Done{};
  }));
  asked.recipe = known.terms.name;
  asked.job.erase("callback_url");  // where it told its end may be nowhere today
  CALYX_TRY(const services::PreparedJob job, engine::prepare_whole(market, Principal{}, asked));
  return job.text.input;
}

/// Tasks that came to a result, side by side: a row of what is stored, with a text of its own.
struct Range {
  std::uint64_t first = 0, count = 0;
  std::string body;  ///< A canonical JSON array.
};

/// The stored range that holds task `from`, or the first one behind it.
Result<std::optional<Range>> range_from(Market& market, services::JobNumber number, std::uint64_t from) {
  return market.history([&](MarketStore& store) -> Result<std::optional<Range>> {
    std::optional<Range> out;
    CALYX_CHECK(store.jobs().results_from(number, from, [&](const store::ResultsRow& row) -> Result<bool> {
      out = Range{row.first, row.count, std::string(row.body)};
      return false;
    }));
    return out;
  });
}

/// Does the tasks of a job again, as far as they came to a result.
class Recomputation {
 public:
  Recomputation(Market& market, const KnownJob& job, const TaskFunction& run,
                const std::function<bool()>& stopped)
      : market_(market), job_(job), run_(run), stopped_(stopped) {}

  /// Fills in what came out. Fails: `corrupt`; `stopped`; the store.
  Result<Done> fill(ReceiptAudit& out) {
    const services::JobNumber number = job_.row.number;
    for (std::uint64_t next = 0;;) {
      CALYX_TRY(const std::optional<Range> stored, range_from(market_, number, next));
      if (!stored) break;
      next = stored->first + stored->count;
      CALYX_CHECK(again(*stored, out));
    }
    std::stable_sort(files_.begin(), files_.end(),
                     [](const services::LeftFile& a, const services::LeftFile& b) {
                       return a.task != b.task ? a.task < b.task : a.name < b.name;
                     });
    CALYX_TRY(const services::Merged merged, market_.history([&](MarketStore& store) {
      const auto rows = [&](const store::JobStore::EachResults& each) -> Result<Done> {
        for (const Range& range : ranges_) {
          CALYX_TRY(const bool more, each({.first = range.first, .count = range.count, .body = range.body}));
          if (!more) break;
        }
        return Done{};
      };
      return services::merge_results(store, job_, rows, files_, nullptr);
    }));
    if (out.error.empty()) out.error = merged.fault;
    if (merged.output) out.recomputed = *merged.output;
    return Done{};
  }

 private:
  /// The tasks of `stored` again, each compared with what is stored of it.
  Result<Done> again(const Range& stored, ReceiptAudit& out) {
    CALYX_TRY(const std::vector<json::Value> payloads, market_.history([&](MarketStore& store) {
      return services::payloads_of(store, job_, stored.first, stored.count);
    }));
    CALYX_TRY(const json::Value values, services::read_own_json(stored.body, "results"));
    if (values.array() == nullptr || values.array()->size() != stored.count)
      return fail(Reason::corrupt, "the results of job " + std::to_string(job_.row.number) + " from task " +
                                       std::to_string(stored.first) + " are not as they were written");
    for (std::uint64_t i = 0; i < stored.count; ++i) {
      const std::uint64_t task = stored.first + i;
      if (stopped_ && stopped_()) return fail(Reason::stopped, "the audit was asked to stop");
      const TaskOutcome outcome = run(out.job, task, payloads[i]);
      if (stopped_ && stopped_()) return fail(Reason::stopped, "the audit was asked to stop");
      ++out.tasks;
      const bool went_well = outcome.failure == JobFailure::none;
      const std::string result = went_well ? json::canonical(outcome.result) : std::string();
      if (!out.first_difference && result != json::canonical((*values.array())[i])) {
        out.first_difference = task;
        out.error = outcome.error;
      }
      if (went_well) add(task, result);
    }
    return Done{};
  }
  void add(std::uint64_t task, std::string_view result) {
    Range* last = ranges_.empty() ? nullptr : &ranges_.back();
    if (last == nullptr || last->first + last->count != task || last->count == services::lease_tasks_max) {
      ranges_.push_back({task, 0, "["});
      last = &ranges_.back();
    } else {
      last->body.back() = ',';
    }
    last->body.append(result).push_back(']');
    ++last->count;
  }
  TaskOutcome run(JobId job, std::uint64_t task, const json::Value& payload) {
    const core::AccountNumber payer = job_.row.account;
    services::TaskFiles files;
    TaskOutcome outcome = engine::run_one(
        run_, {.job = job,
               .index = task,
               .payload = payload,
               .stopped = [this] { return stopped_ && stopped_(); },
               .progress = [](const json::Value&) {},
               .artifact =
                   [&](std::string_view id, std::size_t bytes_max) {
                     return engine::task_artifact(market_, payer, id, bytes_max);
                   },
               .artifact_json =
                   [&](std::string_view id, std::size_t bytes_max) {
                     return engine::task_artifact_json(market_, payer, id, bytes_max);
                   },
               .leave = [&](std::string_view name, std::string_view bytes) -> Result<Done> {
                 CALYX_CHECK(engine::check_left(name, files));
                 files.kept.push_back({.name = std::string(name), .sha256 = crypto::Sha256{}(bytes)});
                 return Done{};
               },
               .enclosed = engine::callers_enclosed(market_)});
    if (outcome.failure == JobFailure::none)
      for (store::ArtifactRow& file : files.kept) files_.push_back({task, std::move(file.name), file.sha256});
    return outcome;
  }

  Market& market_;
  const KnownJob& job_;
  const TaskFunction& run_;
  const std::function<bool()>& stopped_;
  std::vector<Range> ranges_;
  std::vector<services::LeftFile> files_;
};

}  // namespace

Result<ReceiptAudit> Session::audit_receipt(ReceiptId id, const std::function<bool()>& stopped) {
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  CALYX_CHECK(services::operator_only(by.caller));
  CALYX_TRY(const Receipt receipt, this->receipt(id));
  CALYX_TRY(const std::vector<core::TrustedKey> keys, market_->trusted_keys());
  const ReceiptVerdict verdict = verify_receipt(receipt.jws, json::text(core::jwks(keys)));
  if (!verdict.valid)
    return fail(Reason::corrupt, "the receipt's " + verdict.reason + " is not valid; run an audit");
  CALYX_TRY(const FoundJob found, job_of(*market_, by, receipt));
  const KnownJob& known = *found.known;
  if (known.terms.work != services::WorkKind::recipe)
    return not_reproducible("work", "the receipt is of a " + std::string(word(known.terms.work)) +
                                        ", and only recipes come out the same");
  const auto recipe = market_->workshop().recipe(known.terms.name);
  if (recipe == nullptr)
    return fail(Reason::recipe_unknown, "no recipe " + known.terms.name,
                json::object({{"recipe", known.terms.name}}));
  if (recipe->result_class != RecipeClass::exact)
    return not_reproducible("class", "the recipe " + known.terms.name + " is " +
                                         std::string(word(recipe->result_class)) +
                                         ", and only exact ones come out the same");
  ReceiptAudit out{.receipt = id, .job = services::job_id_of(by.tag, known.row)};
  const json::Value* signed_output = receipt.payload.find("output_hash");
  const json::Value* signed_input = receipt.payload.find("work")->find("input_hash");
  const auto digest = [](const json::Value* of) {
    return of == nullptr || of->string() == nullptr ? std::nullopt : core::read_output_hash(*of->string());
  };
  const auto output = digest(signed_output), input = digest(signed_input);
  if (!output || !input) return fail(Reason::corrupt, "the receipt has no hash to compare; run an audit");
  out.output_hash = *output;
  out.input_hash = *input;
  if (found.state.status == JobStatus::failed || found.state.status == JobStatus::cancelled)
    return not_reproducible(
        "no_result", "the job ended " + std::string(word(found.state.status)) + ", and came to no result");
  CALYX_TRY(const core::Digest recorded, recorded_input(*market_, known));
  if (recorded != out.input_hash)
    return fail(Reason::corrupt, "what is recorded of the job hashes to " + core::output_hash_text(recorded) +
                                     ", the receipt was signed over " +
                                     core::output_hash_text(out.input_hash));
  CALYX_CHECK(Recomputation(*market_, known, recipe->run, stopped).fill(out));
  return out;
}

}  // namespace calyx
