#include "services/job_batch.hpp"

#include <algorithm>
#include <calyx/core/dependency_order.hpp>
#include <calyx/core/job.hpp>
#include <map>
#include <string_view>

#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

constexpr std::string_view alias_member = "alias", depends_on = "depends_on";

/// What job `asked` says of its name, or null.
const json::Value* said_name(const Result<JobSubmit>& asked) {
  const json::Value* name =
      asked.ok() ? asked->job.find(alias_member) : asked.error().details.find(alias_member);
  return name == nullptr || name->is_null() ? nullptr : name;
}

/// Why `name` is none; nothing where it is one.
std::optional<Error> fault_of(const json::Value& name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  const std::string* text = name.string();
  if (text == nullptr) return field_error(Reason::field_type, "/alias", "must be a string");
  if (text->empty() || text->size() > job_alias_bytes_max ||
      !std::all_of(text->begin(), text->end(), is_letter))
    return field_error(Reason::field_value, "/alias",
                       "takes 1 to " + std::to_string(job_alias_bytes_max) + " letters, digits and _.-");
  if (JobId::read(*text)) return field_error(Reason::field_value, "/alias", "is spelled as a job's id");
  return std::nullopt;
}

/// What stands in the `depends_on` of `job` and is a name of the batch.
std::vector<Sibling> siblings_of(const json::Object& job, const std::map<std::string, std::size_t>& named) {
  std::vector<Sibling> out;
  const json::Value* list = job.find(depends_on);
  if (list == nullptr || list->array() == nullptr) return out;
  for (std::size_t place = 0; place < list->array()->size(); ++place) {
    const std::string* text = (*list->array())[place].string();
    const auto found = text == nullptr ? named.end() : named.find(*text);
    if (found != named.end()) out.push_back({place, found->second, found->first});
  }
  return out;
}

Error cycle_error(std::span<const Result<JobSubmit>> asked, const std::vector<std::size_t>& cycle) {
  json::Array names;
  std::string way;
  for (const std::size_t job : cycle) {
    const std::string& name = *said_name(asked[job])->string();
    way += (way.empty() ? "" : ", ") + name;
    names.emplace_back(name);
  }
  return fail(Reason::dependency_cycle, "jobs wait for each other in a circle: " + way,
              json::object({{"field", "/jobs/" + std::to_string(cycle.front()) + "/depends_on"},
                            {"cycle", std::move(names)}}));
}

}  // namespace

Result<Batch> read_batch(std::span<const Result<JobSubmit>> asked) {
  Batch out;
  out.jobs.resize(asked.size());
  std::map<std::string, std::size_t> named;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const json::Value* name = said_name(asked[i]);
    if (name == nullptr) continue;
    out.jobs[i].fault = fault_of(*name);
    if (out.jobs[i].fault) continue;
    const auto [first, is_new] = named.try_emplace(*name->string(), i);
    if (is_new) continue;
    // Neither may run: who waits for the name would wait for the wrong one.
    for (const std::size_t one : {first->second, i})
      out.jobs[one].fault =
          field_error(Reason::field_value, "/alias", "is the name of two jobs of the batch");
  }

  std::vector<std::vector<std::size_t>> needs(asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    BatchJob& job = out.jobs[i];
    if (!asked[i].ok() || job.fault) continue;
    job.siblings = siblings_of(asked[i]->job, named);
    for (const Sibling& sibling : job.siblings) needs[i].push_back(sibling.job);
    if (job.siblings.empty() && asked[i]->job.find(alias_member) == nullptr) continue;
    JobSubmit& plain = job.without_names.emplace(*asked[i]);
    plain.job.erase(alias_member);
    for (const Sibling& sibling : job.siblings)
      (*plain.job.find(depends_on)->array())[sibling.place] = JobId{}.text();
  }
  core::DependencyOrder order = core::dependency_order(needs);
  if (!order.cycle.empty()) return cycle_error(asked, order.cycle);
  out.order = std::move(order.order);
  return out;
}

Result<PreparedJob> with_siblings(const PreparedJob& job, std::span<const Sibling> siblings,
                                  std::span<const Result<JobSubmitted>> outcomes) {
  for (const Sibling& sibling : siblings)
    if (const Result<JobSubmitted>& outcome = outcomes[sibling.job]; !outcome.ok())
      return fail(Reason::dependency_refused, "waits for " + sibling.alias + ", which was refused",
                  json::object({{"field", "/depends_on/" + std::to_string(sibling.place)},
                                {"alias", sibling.alias},
                                {"refused", word(outcome.reason())}}));
  PreparedJob out = job;
  // Its spec has what its terms have: whoever reads the job learns of ids.
  CALYX_TRY(json::Value spec, read_own_json(out.text.spec, "a job of a batch"));
  json::Array& list = *spec.object()->find("job")->object()->find(depends_on)->array();
  for (const Sibling& sibling : siblings) {
    const JobId id = outcomes[sibling.job]->id;
    out.depends_on[sibling.place] = id;
    list[sibling.place] = out.terms.depends_on[sibling.place] = id.text();
  }
  out.text.spec = json::canonical(spec);
  out.text.request = request_of(out.text.spec, out.items->items != 0, out.text.input);
  return out;
}

}  // namespace calyx::services
