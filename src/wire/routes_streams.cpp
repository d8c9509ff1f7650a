#include <charconv>

#include "wire/event_stream.hpp"
#include "wire/fields.hpp"
#include "wire/router.hpp"

namespace calyx::wire {
namespace {

constexpr std::string_view last_id_header = "Last-Event-ID";
constexpr std::string_view last_id_parameter = "last_event_id";

/// Where a client left off: what it says in the header, which a browser sends when it connects again to the
/// same target, else in the query. Empty: from the beginning.
struct LeftOff {
  std::string_view id;
  std::string_view field;

  Error fault(std::string message) const {
    return field_fault(Reason::field_value, field, std::move(message));
  }
};
Result<LeftOff> left_off(const Call& call, Query& query) {
  const auto in_query = query.find(last_id_parameter);
  CALYX_TRY(const std::optional<std::string_view> in_header, header(call.request, last_id_header));
  if (in_header && !in_header->empty()) return LeftOff{*in_header, last_id_header};
  return LeftOff{in_query.value_or(std::string_view{}), last_id_parameter};
}

/// A place that the log does not have is told as the fault of who named it.
Error stream_fault(const Error& error, const LeftOff& from) {
  const core::json::Value* field = error.details.find("field");
  if (error.reason != Reason::field_value || field == nullptr || field->string() == nullptr ||
      *field->string() != "after")
    return error;
  return from.fault(error.message);
}

/// What is answered for a place of no shape: `fault`, unless there is a job that the caller may not even see.
Error first_fault(Call& call, std::vector<JobCursor> jobs, Error fault) {
  for (JobCursor& job : jobs) job.after = 0;
  if (const Result<JobStream> stream = call.session->watch_jobs(jobs); !stream.ok()) return stream.error();
  return fault;
}

}  // namespace

Result<Response> stream_job(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const LeftOff from, left_off(call, query));
  CALYX_CHECK(query.done());
  std::vector<JobCursor> jobs{{.job = id}};
  const char* const end = from.id.data() + from.id.size();
  if (!from.id.empty()) {
    const auto read = std::from_chars(from.id.data(), end, jobs[0].after);
    if (read.ec != std::errc() || read.ptr != end || jobs[0].after < 0)
      return first_fault(call, std::move(jobs), from.fault("is no number of an event"));
  }
  Result<JobStream> stream = call.session->stream_job(id, jobs[0].after);
  if (!stream.ok()) return stream_fault(stream.error(), from);
  if (stream->ended()) return nothing_more();
  return stream_response(job_body(*std::move(stream), JobIds::number, std::move(jobs)));
}

Result<Response> watch_jobs(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const LeftOff from, left_off(call, query));
  const auto ids = query.find("ids");
  CALYX_CHECK(query.done());
  if (!ids || ids->empty())
    return field_fault(Reason::field_missing, "ids", "is missing: ids of jobs, with commas");
  const auto count = static_cast<std::size_t>(1 + std::count(ids->begin(), ids->end(), ','));
  if (count > watched_jobs_max)
    return fail(Reason::too_many_operations,
                std::to_string(count) + " jobs, takes " + std::to_string(watched_jobs_max),
                core::json::object({{"field", "ids"}, {"jobs", count}, {"limit", watched_jobs_max}}));
  std::vector<JobCursor> jobs;
  jobs.reserve(count);
  for (std::string_view rest = *ids;;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view text = rest.substr(0, comma);
    const std::optional<JobId> id = JobId::read(text);
    if (!id) {
      core::json::Object details;
      if (const auto said = sayable(text)) details.set("job_id", *said);
      return fail(Reason::job_unknown, "no job has such an id", std::move(details));
    }
    jobs.push_back({.job = *id});
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  if (!from.id.empty() && !read_watch_id(from.id, jobs))
    return first_fault(call, std::move(jobs), from.fault("is no place in a watch of these jobs"));
  Result<JobStream> stream = call.session->watch_jobs(jobs);
  if (!stream.ok()) {
    if (stream.error().reason == Reason::field_value && stream.error().details.find("field") != nullptr &&
        *stream.error().details.find("field")->string() == "jobs")
      return field_fault(Reason::field_value, "ids", stream.error().message);
    return stream_fault(stream.error(), from);
  }
  if (stream->ended()) return nothing_more();
  return stream_response(job_body(*std::move(stream), JobIds::numbers, std::move(jobs)));
}

Result<Response> stream_project(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const LeftOff from, left_off(call, query));
  CALYX_TRY(const ProjectName name, project_name(call, query));
  CALYX_CHECK(query.done());
  Result<ProjectStream> stream = call.session->stream_project(name, ProjectCursor(from.id));
  if (!stream.ok()) return stream_fault(stream.error(), from);
  return stream_response(project_body(*std::move(stream)));
}

}  // namespace calyx::wire
