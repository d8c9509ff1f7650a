#include "services/job_again.hpp"

#include <algorithm>
#include <unordered_map>

#include "services/jobs.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

constexpr std::string_view retry_of = "retry_of";
constexpr std::string_view resume_from = "resume_from";

Error wrong(const Earlier& earlier, std::string_view says) {
  return field_error(Reason::field_value, "/" + std::string(earlier.name.field),
                     "names job " + earlier.name.id.text() + ", " + std::string(says));
}

bool is_sweep(const KnownJob& known) { return known.shape.type() == core::JobType::sweep; }

/// Collects results in the order of their tasks.
class Taking {
 public:
  /// The results of `count` tasks from `first` on, which is behind all before it.
  void add(std::uint64_t first, std::uint64_t count, std::int64_t attempts, std::string body) {
    if (first > out_.fresh) out_.gaps.push_back({out_.fresh, first});
    out_.fresh = first + count;
    out_.tasks += count;
    out_.results.push_back({first, count, attempts, std::move(body)});
  }
  /// One result, put beside those right before it.
  void add(std::uint64_t task, std::int64_t attempts, const json::Value& result) {
    constexpr std::uint64_t side_by_side_max = 4'096;
    TakenResults* last = out_.results.empty() ? nullptr : &out_.results.back();
    if (last == nullptr || task != out_.fresh || last->attempts != attempts ||
        last->count == side_by_side_max) {
      add(task, 1, attempts, "[" + json::canonical(result) + "]");
      return;
    }
    last->body.back() = ',';
    json::append_canonical(last->body, result);
    last->body.push_back(']');
    ++last->count;
    ++out_.fresh;
    ++out_.tasks;
  }
  /// What the earlier job's tasks left, for those whose new index `index_of` knows.
  Result<TakenOver> done(store::MarketStore& store, const Earlier& earlier,
                         const std::function<std::optional<std::uint64_t>(std::uint64_t)>& index_of) {
    CALYX_CHECK(store.artifacts().of_job(
        earlier.known->row.number, 0, [&](const store::ArtifactRow& row) -> Result<bool> {
          if (const auto index = index_of(row.task))
            out_.files.push_back({.name = row.name, .size = row.size, .sha256 = row.sha256, .task = *index});
          return true;
        }));
    return std::move(out_);
  }

 private:
  TakenOver out_;
};

/// The tasks whose results still stand: of a reduction by a command those up to the first level of which one
/// is missing, since what took less than all of that is to be taken anew.
Result<std::uint64_t> standing(store::MarketStore& store, const KnownJob& known) {
  const core::ReduceTree* tree = known.shape.reduce_tree();
  if (tree == nullptr) return known.row.tasks;
  std::uint64_t whole = 0;  // every task below has a result
  CALYX_CHECK(
      store.jobs().results_from(known.row.number, 0, [&](const store::ResultsRow& row) -> Result<bool> {
        if (row.first != whole) return false;
        whole += row.count;
        return true;
      }));
  return whole == known.row.tasks ? whole : tree->level(tree->level_of(whole)).end;
}

Result<TakenOver> by_index(store::MarketStore& store, const Earlier& earlier) {
  Taking taking;
  CALYX_TRY(const std::uint64_t until, standing(store, *earlier.known));
  CALYX_CHECK(store.jobs().results_from(
      earlier.known->row.number, 0, [&](const store::ResultsRow& row) -> Result<bool> {
        if (row.first >= until) return false;
        taking.add(row.first, row.count, row.attempts, std::string(row.body));
        return true;
      }));
  return taking.done(store, earlier,
                     [&](std::uint64_t task) { return task < until ? std::optional(task) : std::nullopt; });
}

Result<TakenOver> by_point(store::MarketStore& store, const Earlier& earlier, const core::JobShape& shape) {
  struct Finished {
    std::uint64_t task = 0;
    std::int64_t attempts = 0;
    json::Value result;
  };
  std::unordered_map<std::string, Finished> finished;
  CALYX_CHECK(store.jobs().results_from(
      earlier.known->row.number, 0, [&](const store::ResultsRow& row) -> Result<bool> {
        CALYX_TRY(json::Value values, read_own_json(row.body, "results"));
        json::Array* list = values.array();
        if (list == nullptr || list->size() != row.count)
          return fail(Reason::corrupt, "results of job " + earlier.name.id.text() + " are not as written");
        for (std::uint64_t i = 0; i < row.count; ++i)
          finished[core::point_identity(earlier.known->shape.point(row.first + i))] = {
              row.first + i, row.attempts, std::move((*list)[i])};
        return true;
      }));
  Taking taking;
  std::unordered_map<std::uint64_t, std::uint64_t> index_of;
  for (std::uint64_t point = 0; point < shape.units(); ++point) {
    const auto found = finished.find(core::point_identity(shape.point(point)));
    if (found == finished.end()) continue;
    taking.add(point, found->second.attempts, found->second.result);
    index_of[found->second.task] = point;
  }
  return taking.done(store, earlier, [&](std::uint64_t task) {
    const auto index = index_of.find(task);
    return index == index_of.end() ? std::nullopt : std::optional(index->second);
  });
}

}  // namespace

Result<EarlierName> earlier_name(const json::Object& job) {
  EarlierName out;
  for (const std::string_view field : {retry_of, resume_from}) {
    const json::Value* value = job.find(field);
    if (value == nullptr || value->is_null()) continue;
    const std::string pointer = "/" + std::string(field);
    if (!out.field.empty())
      return field_error(Reason::field_value, pointer, "stands beside retry_of: a job does one of them");
    if (value->string() == nullptr) return field_error(Reason::field_type, pointer, "must be a string");
    const auto id = JobId::read(*value->string());
    if (!id)
      return fail(Reason::job_unknown, "no job " + value->string()->substr(0, key_text_max),
                  json::object({{"field", pointer}}));
    out = {field, *id};
  }
  return out;
}

Result<JobSubmit> completed_from(store::MarketStore& store, const Earlier& earlier, const JobSubmit& asked) {
  const store::JobState& state = earlier.state;
  if (!is_terminal(state.status)) return wrong(earlier, "which has not ended: cancel it, or wait for it");
  if (earlier.name.field == retry_of && state.completed == earlier.known->row.tasks)
    return wrong(earlier, "all of whose tasks have completed: nothing is left to try again");

  const auto says = [&](std::string_view name) { return asked.job.find(name) != nullptr; };
  if (!asked.recipe.empty() || says("task") || says("runner_command") || says("command") || says("image") ||
      std::any_of(std::begin(shape_members), std::end(shape_members), says))
    return asked;
  CALYX_TRY(const json::Value spec, spec_of(store, *earlier.known));
  JobSubmit out = asked;
  out.recipe = *spec.find("recipe")->string();
  out.job = *spec.find("job")->object();
  // What it waited for has completed, or has nothing to say any more.
  for (const std::string_view gone : {retry_of, resume_from, std::string_view("depends_on")})
    out.job.erase(gone);
  for (const json::Member& member : asked.job) {
    if (member.key == "max_cost" || member.key == "max_budget") {
      out.job.erase("max_cost");  // two names of one term
      out.job.erase("max_budget");
    }
    out.job.set(member.key, member.value);
  }
  if (earlier.known->row.items != 0) {
    CALYX_TRY(out.items, items_of(store, *earlier.known));
  }
  return out;
}

Result<TakenOver> take_over(store::MarketStore& store, const Earlier& earlier, const JobSubmit& asked,
                            const PreparedJob& job) {
  const KnownJob& before = *earlier.known;
  if (before.terms.work != job.terms.work || before.terms.name != job.terms.name ||
      before.terms.command != job.terms.command || before.terms.image != job.terms.image ||
      before.terms.bare_result != job.terms.bare_result || before.terms.project != job.terms.project)
    return wrong(earlier, "which ran other work");
  if (earlier.name.field == retry_of) {
    if (before.row.input != job.text.input || before.row.tasks != job.shape.tasks())
      return wrong(earlier, "whose tasks were made from other inputs; what is left out is taken from it");
    return by_index(store, earlier);
  }
  if (!is_sweep(before) || job.shape.type() != core::JobType::sweep)
    return wrong(earlier, "and only a sweep goes on from a sweep");
  if (before.shape.batched() || job.shape.batched())
    return wrong(earlier, "and of a sweep in batches no point has a result of its own");
  if (job.shape.units() > resumed_points_max)
    return wrong(earlier, "and of " + std::to_string(job.shape.units()) + " points at most " +
                              std::to_string(resumed_points_max) + " are compared");
  CALYX_TRY(const json::Value spec, spec_of(store, before));
  const auto fixed = [](const json::Object& from) {
    const json::Value* value = from.find("fixed_payload");
    return value == nullptr || value->is_null() ? std::string("{}") : json::canonical(*value);
  };
  if (fixed(*spec.find("job")->object()) != fixed(asked.job))
    return wrong(earlier, "which has another fixed_payload");
  return by_point(store, earlier, job.shape);
}

}  // namespace calyx::services
