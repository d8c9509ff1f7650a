#include <calyx/core/job.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

constexpr std::size_t batch_jobs_max = 200;
constexpr std::uint64_t listed_usually = 50;

/// The body of a submit: `wallet_id` is ours, the rest is the job.
Result<JobSubmit> take_wallet(JobSubmit asked) {
  if (const json::Value* wallet = asked.job.find("wallet_id"); wallet != nullptr && !wallet->is_null()) {
    if (wallet->string() == nullptr) return field_fault(Reason::field_type, "/wallet_id", "must be a string");
    asked.wallet = WalletId::read(*wallet->string());
    if (!asked.wallet)
      return fail(Reason::wallet_unknown, "no wallet has such an id",
                  json::object({{"field", "/wallet_id"}}));
  }
  asked.job.erase("wallet_id");
  return asked;
}
Result<JobSubmit> read_submit(json::Value body) {
  JobSubmit out;
  if (body.object() == nullptr) return field_fault(Reason::field_type, "", "must be an object");
  out.job = std::move(*body.object());
  return take_wallet(std::move(out));
}

Result<JobSubmit> read_submit(const Call& call) {
  CALYX_TRY(JobSubmit asked, JobSubmit::read(call.request.body));
  CALYX_TRY(asked, take_wallet(std::move(asked)));
  CALYX_TRY(asked.idempotency_key, idempotency_key(call.request));
  return asked;
}

Result<Response> submit(Call& call, const JobSubmit& asked) {
  CALYX_TRY(const JobSubmitted submitted, call.session->submit_job(asked));
  return json_response(201, json_text(submitted), submitted.replayed ? Replay::again : Replay::first);
}

/// `?after=&limit=` and what `take` asks of the query.
template <class Take>
Result<Page> read_page_with(const Call& call, std::uint64_t limit_usual, Take take) {
  Page page;
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::uint64_t limit, query.number("limit", limit_usual));
  if (limit < 1 || limit > 1'000)
    return field_fault(Reason::field_value, "limit", "is " + std::to_string(limit) + ", takes 1 to 1000");
  page.limit = static_cast<std::uint32_t>(limit);
  if (const auto after = query.find("after")) page.after = *after;
  CALYX_CHECK(take(query));
  CALYX_CHECK(query.done());
  return page;
}
Result<Page> read_page(const Call& call, std::uint64_t limit_usual) {
  return read_page_with(call, limit_usual, [](Query&) { return Result<Done>(Done{}); });
}

void append_failure(Members& members, std::string& out, JobFailure failure, const std::string& message) {
  if (failure == JobFailure::none) {
    members.null("error");
    return;
  }
  members.begin("error");
  Members(out).text("code", word(failure)).text("message", std::string_view(message)).close();
}

void append_texts(std::string& out, const std::vector<std::string>& texts) {
  out.push_back('[');
  for (const std::string& text : texts) {
    if (&text != texts.data()) out.push_back(',');
    json::append_string(out, text);
  }
  out.push_back(']');
}

void append_task(std::string& out, const JobTask& task, bool whole) {
  Members members(out);
  members.count("index", task.index).text("status", word(task.status));
  if (whole) members.integer("attempts", task.attempts);
  if (whole) append_value(members, out, "payload", task.payload);
  if (whole) append_value(members, out, "progress", task.progress);
  append_value(members, out, "result", task.result);
  append_failure(members, out, task.failure, task.error);
  if (whole) members.text_or_null("recommended_action", recommended_action(task.failure));
  members.begin("artifacts");
  append_list(out, task.artifacts, [&](const Artifact& artifact) {
    Members(out)
        .id("artifact_id", artifact.id)
        .text("name", std::string_view(artifact.name))
        .count("size", artifact.size)
        .digest("sha256", artifact.sha256)
        .close();
  });
  members.begin("artifacts_skipped");
  append_list(out, task.artifacts_skipped, [&](const SkippedFile& file) {
    Members(out).text("name", std::string_view(file.name)).text("why", std::string_view(file.why)).close();
  });
  members.close();
}

Result<std::int64_t> token_in(Fields& fields) {
  std::string text;
  fields.read("lease_id", text);
  return read_token(text);
}

/// How much a worker left out of a stream, where it says so in its text.
void read_dropped(Fields& fields, std::string_view name, std::uint64_t& out) {
  std::optional<std::int64_t> given;
  fields.read(name, given);
  if (given && *given < 0) fields.fault(field_fault(Reason::field_value, pointer_to(name), "is below 0"));
  out = given && *given > 0 ? static_cast<std::uint64_t>(*given) : 0;
}

Result<TaskOutcome> read_outcome(const json::Value& value) {
  TaskOutcome out;
  Fields fields(value);
  std::string status;
  fields.read("status", status);
  if (const json::Value* result = fields.find("result")) out.result = *result;
  fields.read_optional("message", out.error);
  fields.read_optional("stdout", out.out);
  read_dropped(fields, "stdout_dropped_bytes", out.out_dropped);
  read_dropped(fields, "stderr_dropped_bytes", out.err_dropped);
  fields.read_optional("stderr", out.err);
  fields.read("ran_ms", out.ran_ms);
  std::optional<std::vector<std::string>> artifacts;
  fields.read("artifacts", artifacts);
  CALYX_CHECK(fields.done());
  if (artifacts)
    for (std::size_t i = 0; i < artifacts->size(); ++i) {
      const auto id = ArtifactId::read((*artifacts)[i]);
      if (!id)
        return field_fault(Reason::field_value, "/artifacts/" + std::to_string(i), "is no artifact's id");
      out.artifacts.push_back(*id);
    }
  const std::optional<JobFailure> failure = read_job_failure(status);
  if (status == "completed")
    out.failure = JobFailure::none;
  else if (failure && *failure != JobFailure::none)
    out.failure = *failure;
  else
    return field_fault(Reason::field_value, "/status", "must be completed, or the word of a failure");
  return out;
}

}  // namespace

void append_json(std::string& out, const JobSubmitted& submitted) {
  Members members(out);
  members.id("job_id", submitted.id)
      .id("id", submitted.id)
      .text("status", word(submitted.status))
      .money("hold", submitted.estimate.hold)
      .begin("estimate");
  append_json(out, submitted.estimate);
  members.close();
}

void append_json(std::string& out, const JobEstimate& estimate) {
  Members(out)
      .count("tasks", estimate.tasks)
      .money("rate_per_second", estimate.rate)
      .money("worst_case", estimate.worst_case)
      .money("hold", estimate.hold)
      .close();
}

void append_json(std::string& out, const Job& job) {
  Members members(out);
  members.id("job_id", job.id)
      .id("id", job.id)
      .text("status", word(job.status))
      .text("type", std::string_view(job.type))
      .begin("work");
  Members(out).text("kind", std::string_view(job.work)).text("name", std::string_view(job.name)).close();
  members.text_or_null("project", job.project);
  job.revision == 0 ? members.null("revision") : members.integer("revision", job.revision);
  members.id("wallet_id", job.wallet).text("priority", word(job.priority)).begin("tags");
  append_texts(out, job.tags);
  members.begin("depends_on");
  append_texts(out, job.depends_on);
  members.begin("progress");
  Members(out)
      .count("tasks", job.progress.tasks)
      .count("completed", job.progress.completed)
      .count("failed", job.progress.failed)
      .count("running", job.progress.running)
      .count("queued", job.progress.queued)
      .close();
  members.money("hold", job.hold).money("cost", job.cost);
  append_failure(members, out, job.failure, job.error);
  members.text_or_null("recommended_action", recommended_action(job.failure));
  members.text("input_hash", std::string_view(core::output_hash_text(job.input_hash)));
  if (job.output_hash)
    members.text("output_hash", std::string_view(core::output_hash_text(*job.output_hash)));
  else
    members.null("output_hash");
  std::vector<std::string> receipts;
  for (const ReceiptId& id : job.receipts) receipts.push_back(id.text());
  members.id("receipt_id", job.receipt).begin("receipt_ids");
  append_texts(out, receipts);
  members.id("retry_of", job.retry_of)
      .id("resume_from", job.resume_from)
      .instant("created_at", job.created_at)
      .instant("started_at", job.started_at)
      .instant("ended_at", job.ended_at)
      .close();
}

Result<JobId> job_id(const Call& call) {
  const std::optional<JobId> id = JobId::read(call.id);
  if (id) return *id;
  json::Object details;
  if (const auto said = sayable(call.id)) details.set("job_id", *said);
  return fail(Reason::job_unknown, "no job has such an id", std::move(details));
}

// ── jobs ──

Result<Response> submit_job(Call& call) {
  CALYX_TRY(const JobSubmit asked, read_submit(call));
  return submit(call, asked);
}

Result<Response> estimate_job(Call& call) {
  CALYX_TRY(const JobSubmit asked, read_submit(call));
  CALYX_TRY(const JobEstimate estimate, call.session->estimate_job(asked));
  return json_response(200, json_text(estimate));
}

Result<Response> submit_jobs(Call& call) {
  CALYX_TRY(json::Value body, read_body(call.request, job_text_bytes_max));
  Fields fields(body);
  const json::Value* listed = fields.find("jobs");
  if (listed == nullptr) return field_fault(Reason::field_missing, "/jobs", "is missing");
  if (listed->array() == nullptr) return field_fault(Reason::field_type, "/jobs", "must be a list of jobs");
  CALYX_CHECK(fields.done());
  json::Array& jobs = *body.object()->find("jobs")->array();
  if (jobs.size() > batch_jobs_max)
    return fail(Reason::too_many_operations,
                std::to_string(jobs.size()) + " jobs, takes " + std::to_string(batch_jobs_max),
                json::object({{"field", "/jobs"}, {"limit", batch_jobs_max}}));
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  std::vector<Result<JobSubmit>> asked;
  asked.reserve(jobs.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    std::optional<json::Value> alias;
    if (const json::Value* said = jobs[i].find("alias")) alias = *said;
    asked.push_back(read_submit(std::move(jobs[i])));
    // Who waits for one that cannot be read is to hear which one that is.
    const std::string* name = alias ? alias->string() : nullptr;
    if (!asked.back().ok() && name != nullptr && name->size() <= job_alias_bytes_max) {
      Error error = std::move(asked.back()).error();
      if (error.details.object() != nullptr) error.details.object()->set("alias", *name);
      asked.back() = std::move(error);
    }
    // A space, which no caller's key has, keeps these keys apart from all others.
    if (asked.back().ok() && !once.empty()) asked.back()->idempotency_key = once + ' ' + std::to_string(i);
  }
  CALYX_TRY(const std::vector<Result<JobSubmitted>> outcomes, call.session->submit_jobs(asked));
  std::string out = R"({"jobs":)";
  append_list(out, outcomes, [&](const Result<JobSubmitted>& outcome) {
    if (outcome.ok())
      append_json(out, *outcome);
    else
      append_error(out, outcome.error());
  });
  out.push_back('}');
  return json_response(200, std::move(out));
}

Result<Response> list_jobs(Call& call) {
  JobFilter filter;
  CALYX_TRY(const Page page, read_page_with(call, listed_usually, [&](Query& query) -> Result<Done> {
              if (const auto project = query.find("project")) filter.project = *project;
              if (const auto tag = query.find("tag")) filter.tag = *tag;
              const auto status = query.find("status");
              if (!status) return Done{};
              for (int i = 0; i <= static_cast<int>(JobStatus::cancelled); ++i)
                if (*status == word(static_cast<JobStatus>(i))) filter.status = static_cast<JobStatus>(i);
              if (!filter.status) return field_fault(Reason::field_value, "status", "is no job's status");
              return Done{};
            }));
  CALYX_TRY(const Listed<Job> listed, call.session->jobs(filter, page));
  std::string out = R"({"jobs":)";
  append_list(out, listed.items, [&](const Job& job) { append_json(out, job); });
  out += R"(,"next_cursor":)";
  listed.next.empty() ? void(out += "null") : json::append_string(out, listed.next);
  out.push_back('}');
  return json_response(200, std::move(out));
}

Result<Response> get_job(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(const Job job, call.session->job(id));
  return json_response(200, json_text(job));
}

Result<Response> cancel_job(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(const Job job, call.session->cancel_job(id));
  return json_response(200, json_text(job));
}

Result<Response> get_job_output(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::uint64_t task, query.number("task", 0));
  CALYX_CHECK(query.done());
  CALYX_TRY(const JobOutput output, call.session->job_output(id, task));
  std::string out;
  Members(out)
      .id("job_id", id)
      .count("task", output.task)
      .integer("attempt", output.attempt)
      .text("stdout", std::string_view(output.out))
      .text("stderr", std::string_view(output.err))
      .count("stdout_dropped_bytes", output.out_dropped)
      .count("stderr_dropped_bytes", output.err_dropped)
      .close();
  return json_response(200, std::move(out));
}

Result<Response> get_job_tasks(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(const Page page, read_page(call, Page{}.limit));
  CALYX_TRY(const Listed<JobTask> listed, call.session->job_tasks(id, page));
  std::string out;
  Members members(out);
  members.id("job_id", id).begin("tasks");
  append_list(out, listed.items, [&](const JobTask& task) { append_task(out, task, true); });
  members.text_or_null("next_cursor", listed.next).close();
  return json_response(200, std::move(out));
}

Result<Response> get_job_events(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  constexpr std::uint64_t events_usually = 200;
  CALYX_TRY(const Page page, read_page(call, events_usually));
  CALYX_TRY(const Listed<JobEvent> listed, call.session->job_events(id, page));
  std::string out;
  Members members(out);
  members.id("job_id", id).begin("events");
  append_list(out, listed.items, [&](const JobEvent& event) {
    Members each(out);
    each.integer("id", event.number).instant("at", event.at);
    append_value(each, out, "data", event.body);
    each.close();
  });
  members.text_or_null("next_cursor", listed.next).close();
  return json_response(200, std::move(out));
}

Result<Response> get_results(Call& call) {
  CALYX_TRY(const JobId id, job_id(call));
  CALYX_TRY(const Page page, read_page(call, Page{}.limit));
  CALYX_TRY(const JobResults results, call.session->job_results(id, page));
  std::string out;
  Members members(out);
  members.id("job_id", id).text("status", word(results.status));
  append_value(members, out, "result", results.result);
  append_value(members, out, "notes", results.notes);
  members.begin("tasks");
  append_list(out, results.tasks, [&](const JobTask& task) { append_task(out, task, false); });
  members.text_or_null("next_cursor", results.next).close();
  return json_response(200, std::move(out));
}

// ── recipes ──

Result<Response> list_recipes(Call& call) {
  std::string out = R"({"recipes":)";
  append_list(out, call.session->recipes(), [&](const std::shared_ptr<const RecipeDefinition>& recipe) {
    Members members(out);
    members.text("name", std::string_view(recipe->name))
        .text("summary", std::string_view(recipe->summary))
        .text("class", word(recipe->result_class))
        .begin("operations");
    append_texts(out, recipe->operations);
    members.close();
  });
  out.push_back('}');
  return json_response(200, std::move(out));
}

Result<Response> get_recipe(Call& call) {
  for (const auto& recipe : call.session->recipes()) {
    if (recipe->name != call.id) continue;
    std::string out;
    Members members(out);
    members.text("name", std::string_view(recipe->name))
        .text("summary", std::string_view(recipe->summary))
        .text("class", word(recipe->result_class));
    append_value(members, out, "payload_schema", recipe->payload_schema);
    members.begin("operations");
    append_texts(out, recipe->operations);
    members.begin("artifact_inputs");
    append_texts(out, recipe->artifact_inputs);
    members.close();
    return json_response(200, std::move(out));
  }
  json::Object details;
  if (const auto said = sayable(call.id)) details.set("recipe", *said);
  return fail(Reason::recipe_unknown, "no recipe has such a name", std::move(details));
}

Result<Response> submit_recipe_job(Call& call) {
  CALYX_TRY(JobSubmit asked, read_submit(call));
  asked.recipe = call.id;
  return submit(call, asked);
}

Result<Response> get_presets(Call& call) {
  CALYX_TRY(const std::vector<Preset> presets, call.session->presets());
  std::string out = R"({"presets":)";
  append_list(out, presets, [&](const Preset& preset) {
    const core::Requirements& needs = preset.requirements;
    Members members(out);
    members.text("name", std::string_view(preset.name))
        .text("summary", std::string_view(preset.summary))
        .begin("requirements");
    // As a submit takes them: what is not asked for is left out.
    Members inner(out);
    inner.integer("cpu", needs.cpu).integer("memory_mb", needs.memory_mb);
    if (needs.gpu_count > 0)
      inner.integer("gpu_count", needs.gpu_count)
          .integer("gpu_memory_mb", needs.gpu_memory_mb)
          .text("gpu_type", std::string_view(needs.gpu_type));
    inner.close();
    members.money("rate_per_second", preset.rate).close();
  });
  out.push_back('}');
  return json_response(200, std::move(out));
}

// ── accounts ──

Result<Response> get_balance(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const WalletId id, account_of(call, query));
  CALYX_CHECK(query.done());
  CALYX_TRY(const Wallet wallet, call.session->wallet(id));
  std::string out;
  Members(out)
      .id("wallet_id", wallet.id)
      .money("balance", Money{wallet.balance.micro + wallet.held.micro})
      .money("held", wallet.held)
      .money("available", wallet.balance)
      .text("unit", std::string_view("FLOPS"))
      .close();
  return json_response(200, std::move(out));
}

Result<Response> get_account_ledger(Call& call) {
  std::optional<WalletId> id;
  CALYX_TRY(const Page page, read_page_with(call, Page{}.limit, [&](Query& query) -> Result<Done> {
              CALYX_TRY(id, account_of(call, query));
              return Done{};
            }));
  CALYX_TRY(const Listed<EntryView> listed, call.session->entries(*id, page));
  return json_response(200, page_text(listed));
}

Result<Response> get_holds(Call& call) {
  std::optional<WalletId> id;
  CALYX_TRY(Page page, read_page_with(call, Page{}.limit, [&](Query& query) -> Result<Done> {
              CALYX_TRY(id, account_of(call, query));
              return Done{};
            }));
  // What has ended lies between: as many pages of escrows are read as fill one, within reason.
  constexpr int pages_max = 16;
  const std::size_t limit = page.limit;
  Listed<EscrowView> open;
  for (int i = 0; i < pages_max && open.items.size() <= limit; ++i) {
    CALYX_TRY(Listed<EscrowView> listed, call.session->escrows(*id, page));
    for (EscrowView& escrow : listed.items)
      if (escrow.state == EscrowState::open) open.items.push_back(std::move(escrow));
    page.after = open.next = std::move(listed.next);
    if (open.next.empty()) break;
  }
  if (open.items.size() > limit) {
    open.items.resize(limit);
    open.next = std::to_string(open.items.back().locked_by.number());  // where it lies in the ledger
  }
  return json_response(200, page_text(open));
}

// ── the host's ──

Result<std::int64_t> read_token(std::string_view text) {
  std::int64_t token = 0;
  for (const char digit : text) {
    constexpr std::size_t digits_max = 16;  // 53 bits
    if (digit < '0' || digit > '9' || text.size() > digits_max)
      return fail(Reason::lease_lost, "no such lease", json::object({{"field", "/lease_id"}}));
    token = token * 10 + (digit - '0');
  }
  return token;
}

Result<Response> lease_tasks(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  LeaseAsked asked;
  fields.read("worker", asked.worker);
  fields.read("host_wallet_id", asked.host_wallet);
  std::optional<std::vector<std::string>> tasks, recipes, images;
  std::optional<std::int64_t> most;
  fields.read("tasks", tasks);
  fields.read("recipes", recipes);
  if (tasks) asked.tasks = *std::move(tasks);
  if (recipes) asked.recipes = *std::move(recipes);
  fields.read("images", images);
  if (images) asked.images = *std::move(images);
  fields.read("commands", asked.commands);
  fields.read("tasks_max", most);
  if (most) asked.tasks_max = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *most));
  if (const json::Value* has = fields.find("has"); has != nullptr && !has->is_null()) {
    Fields inner(*has, "/has");
    read_requirements(inner, asked.has);
    std::optional<std::vector<std::string>> types;
    inner.read("gpu_types", types);
    if (types) asked.gpu_types = *std::move(types);
    if (Result<Done> done = inner.done(); !done.ok()) fields.fault(done.error());
  }
  CALYX_CHECK(fields.done());
  CALYX_TRY(const Lease lease, call.session->lease_tasks(asked));
  if (lease.count == 0) return json_response(200, R"({"lease":null})");
  CALYX_TRY(const std::vector<json::Value> payloads, call.session->task_payloads(lease));
  std::string out = R"({"lease":)";
  Members members(out);
  members.text("lease_id", std::string_view(std::to_string(lease.token)))
      .id("job_id", lease.job)
      .count("first", lease.first)
      .integer("attempt", lease.attempt)
      .begin("work");
  Members(out)
      .text("kind", std::string_view(lease.work))
      .text("name", std::string_view(lease.name))
      .text_or_null("operation", lease.operation)
      .close();
  members.begin("runner_command");
  append_texts(out, lease.command);
  members.text_or_null("image", lease.image).text_or_null("project", lease.project);
  lease.revision == 0 ? members.null("revision") : members.integer("revision", lease.revision);
  members.integer("timeout_s", lease.timeout_s).instant("expires_at", lease.expires_at).begin("payloads");
  append_list(out, payloads, [&](const json::Value& payload) { json::append_text(out, payload); });
  members.close();
  out.push_back('}');
  return json_response(200, std::move(out));
}

Result<Response> report_tasks(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request, job_text_bytes_max));
  Fields fields(body);
  Report report;
  CALYX_TRY(report.token, token_in(fields));
  const json::Value* outcomes = fields.find("outcomes");
  fields.read("gives_back", report.gives_back);
  const json::Value* progress = fields.find("progress");
  Printed printed;
  fields.read_optional("stdout", printed.out);
  read_dropped(fields, "stdout_dropped_bytes", printed.out_dropped);
  read_dropped(fields, "stderr_dropped_bytes", printed.err_dropped);
  fields.read_optional("stderr", printed.err);
  std::optional<std::string> job;
  fields.read("job_id", job);
  std::optional<std::int64_t> first, attempt;
  fields.read("attempt", attempt);
  report.attempt = attempt.value_or(0);
  fields.read("first", first);
  if (first && *first < 0) fields.fault(field_fault(Reason::field_value, "/first", "must not be negative"));
  if (first) report.first = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *first));
  CALYX_CHECK(fields.done());
  if (job && !(report.job = JobId::read(*job)))
    return field_fault(Reason::field_value, "/job_id", "is no job's id");
  if (outcomes != nullptr && !outcomes->is_null()) {
    if (outcomes->array() == nullptr)
      return field_fault(Reason::field_type, "/outcomes", "must be a list of outcomes");
    for (std::size_t i = 0; i < outcomes->array()->size(); ++i) {
      Result<TaskOutcome> outcome = read_outcome((*outcomes->array())[i]);
      if (!outcome.ok()) {
        Error error = outcome.error();
        if (json::Object* details = error.details.object())
          if (const json::Value* field = details->find("field");
              field != nullptr && field->string() != nullptr)
            details->set("field", "/outcomes/" + std::to_string(i) + *field->string());
        return error;
      }
      report.outcomes.push_back(*std::move(outcome));
    }
  }
  if (progress != nullptr && !progress->is_null()) {
    if (!report.outcomes.empty() || report.gives_back)
      return field_fault(Reason::field_value, "/progress", "is for a heartbeat, which has no outcomes");
    report.progress = *progress;
  }
  if (!printed.out.empty() || !printed.err.empty()) {
    if (!report.outcomes.empty() || report.gives_back)
      return field_fault(Reason::field_value, printed.out.empty() ? "/stderr" : "/stdout",
                         "is for a heartbeat, which has no outcomes");
    report.printed = std::move(printed);
  }
  CALYX_TRY(const Reported reported, call.session->report_tasks(report));
  std::string out;
  Members(out).count("left", reported.left).instant("expires_at", reported.expires_at).close();
  return json_response(200, std::move(out));
}

Result<Response> get_health(Call&) { return json_response(200, R"({"status":"ok"})"); }

Result<Response> get_ready(Call& call) {
  // What stands behind every other answer: the book, as it is read.
  if (const std::string issuer = call.engine.issuer(); !issuer.empty())
    return json_response(200, R"({"status":"ready"})");
  return json_response(503, R"({"status":"not ready"})");
}

}  // namespace calyx::wire
