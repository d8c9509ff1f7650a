#include "services/known_job.hpp"

#include "services/job_text.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

constexpr std::size_t known_jobs_max = 4'096;

}  // namespace

Result<json::Value> read_own_json(std::string_view text, std::string_view what) {
  // A result may be as deep as a request's payload allows, inside an array of them.
  Result<json::Value> value = read_json(text, {.depth = json_depth_max + 2, .bytes = text.size()});
  if (value.ok()) return value;
  return fail(Reason::corrupt, std::string(what) + " is no JSON: " + value.error().message +
                                   "; keep the file and run an audit");
}

Result<std::shared_ptr<const KnownJob>> JobCache::get(store::MarketStore& store, store::JobNumber number) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(number); found != known_.end()) return found->second;
  }
  const auto damaged = [&](const std::string& what) {
    return fail(Reason::corrupt, "job " + std::to_string(number) + ": " + what + "; run an audit",
                json::object({{"table", "jobs"}, {"row", number}}));
  };
  CALYX_TRY(std::optional<store::JobRow> row, store.jobs().job(number));
  if (!row) return damaged("its row is missing");
  CALYX_TRY(json::Value spec, read_own_json(row->spec, "a job's request"));
  const json::Value* recipe = spec.find("recipe");
  const json::Value* job = spec.find("job");
  if (recipe == nullptr || recipe->string() == nullptr || job == nullptr || job->object() == nullptr)
    return damaged("its request is not as it was written");
  Result<JobTerms> terms = read_terms(*job->object(), *recipe->string());
  if (!terms.ok()) return damaged(terms.error().message);
  Result<core::JobShape> shape = core::JobShape::read_stored(*job->object(), row->items);
  if (!shape.ok()) return damaged(shape.error().message);
  row->spec.clear();  // it was read
  auto known =
      std::make_shared<const KnownJob>(KnownJob{*std::move(row), *std::move(terms), *std::move(shape)});
  const std::lock_guard lock(mutex_);
  if (known_.size() >= known_jobs_max) known_.clear();
  known_[number] = known;
  return std::shared_ptr<const KnownJob>(std::move(known));
}

void JobCache::forget() {
  const std::lock_guard lock(mutex_);
  known_.clear();
}

Result<json::Value> Items::operator()(std::uint64_t item) {
  const auto missing = [&] { return item < first_ || item - first_ >= segment_.size(); };
  if (missing()) {
    CALYX_TRY(const std::optional<store::JobStore::Items> found, store_.jobs().items(job_, item));
    if (found) {
      CALYX_TRY(json::Value read, read_own_json(found->body, "a job's items"));
      if (json::Array* items = read.array()) segment_ = std::move(*items);
      first_ = found->first;
    }
  }
  if (missing())
    return fail(Reason::corrupt, "item " + std::to_string(item) + " of job " + std::to_string(job_) +
                                     " is missing; run an audit");
  return segment_[item - first_];
}

Result<json::Value> spec_of(store::MarketStore& store, const KnownJob& known) {
  CALYX_TRY(const std::optional<store::JobRow> row, store.jobs().job(known.row.number));
  if (!row) return fail(Reason::corrupt, "job " + std::to_string(known.row.number) + " is gone");
  return read_own_json(row->spec, "a job's request");
}

Result<std::shared_ptr<const LongList>> items_of(store::MarketStore& store, const KnownJob& known) {
  auto items = std::make_shared<LongList>();
  items->pointer = known.shape.items_pointer();
  items->items = known.row.items;
  for (std::uint64_t first = 0; first < known.row.items; first += items_a_segment) {
    CALYX_TRY(std::optional<store::JobStore::Items> segment, store.jobs().items(known.row.number, first));
    if (!segment || segment->first != first)
      return fail(Reason::corrupt, "items of job " + std::to_string(known.row.number) + " are missing");
    items->segments.push_back(std::move(segment->body));
  }
  return std::shared_ptr<const LongList>(std::move(items));
}

namespace {

/// What `tasks` of `job` came to, in their order; those that failed are left out.
Result<json::Array> results_of(store::MarketStore& store, const KnownJob& job, core::Chunk tasks) {
  json::Array out;
  CALYX_CHECK(store.jobs().results_from(
      job.row.number, tasks.start, [&](const store::ResultsRow& row) -> Result<bool> {
        if (row.first >= tasks.end) return false;
        CALYX_TRY(json::Value values, read_own_json(row.body, "results"));
        json::Array* list = values.array();
        if (list == nullptr || list->size() != row.count)
          return fail(Reason::corrupt, "results of job " + std::to_string(job.row.number) +
                                           " are not as they were written; run an audit");
        for (std::uint64_t i = 0; i < row.count; ++i)
          if (row.first + i >= tasks.start && row.first + i < tasks.end) out.push_back(std::move((*list)[i]));
        return true;
      }));
  return out;
}

}  // namespace

Result<std::vector<json::Value>> payloads_of(store::MarketStore& store, const KnownJob& job,
                                             std::uint64_t first, std::uint64_t count) {
  Items items(store, job.row.number);
  const core::JobShape::ItemAt item_at = std::ref(items);
  std::vector<json::Value> out;
  out.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (job.shape.reduces(first + i)) {
      CALYX_TRY(json::Array results, results_of(store, job, job.shape.reduce_tree()->inputs(first + i)));
      out.push_back(job.shape.reduce_payload(std::move(results)));
      continue;
    }
    CALYX_TRY(json::Value payload, job.shape.payload(first + i, item_at));
    out.push_back(std::move(payload));
  }
  return out;
}

}  // namespace calyx::services
