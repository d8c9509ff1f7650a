#include <algorithm>

#include "crypto/sha256.hpp"
#include "services/artifacts.hpp"
#include "services/job_steps.hpp"
#include "services/projects.hpp"
#include "services/services.hpp"
#include "services/webhooks.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using core::Wide;
using store::JobState;
using store::JobStore;
using store::Readiness;

/// A job of a batch has the key of the batch, a space, and its place in it; what is before the space is the
/// caller's.
Result<Done> check_job_key(std::string_view key) {
  const std::size_t space = std::min(key.find(' '), key.size());
  const std::string_view place = key.substr(std::min(space + 1, key.size()));
  const bool of_batch = !place.empty() && place.find_first_not_of("0123456789") == std::string_view::npos;
  return check_key_text("Idempotency-Key", of_batch ? key.substr(0, space) : key,
                        of_batch ? Empty::refused : Empty::allowed);
}

/// Who asks for what this version does not do counts on it, so it is refused and not forgotten.
Result<Done> refuse_unbuilt(const JobTerms& terms, const core::JobShape& shape) {
  struct Row {
    bool asked;
    const char* field;
    const char* says;
  };
  const Row rows[] = {
      {shape.reduce_tree() != nullptr && terms.work != WorkKind::command, "/reduce",
       "only a job of a command reduces by a command: name an operator"},
      {terms.checkpoints && terms.work != WorkKind::command, "/checkpointing",
       "only a command has a folder for checkpoints"},
  };
  for (const Row& row : rows)
    if (row.asked) return fail(Reason::unsupported, row.says, json::object({{"field", row.field}}));
  return Done{};
}

/// The shape of a submit whose items may be cut out.
Result<core::JobShape> shape_of(const JobSubmit& asked) {
  if (asked.items == nullptr) return core::JobShape::read(asked.job);
  return core::JobShape::read_stored(asked.job, asked.items->items);
}

/// As far as the text of a URL goes: its host's addresses are judged before each attempt.
Result<Done> check_callback(const JobTerms& terms, const core::CallbackRules* rules) {
  if (terms.callback_url.empty()) return Done{};
  if (rules == nullptr)
    return fail(Reason::unsupported, "this market calls nobody back: its host says who may be",
                json::object({{"field", "/callback_url"}}));
  const std::string_view fault = core::read_callback_url(*rules, terms.callback_url).fault;
  if (fault.empty()) return Done{};
  return fail(Reason::field_value, "is not a URL that this market calls: " + std::string(fault),
              json::object({{"field", "/callback_url"}, {"rule", fault}}));
}

}  // namespace

Result<PreparedJob> prepare_job(const JobSubmit& asked, const core::CallbackRules* callbacks) {
  CALYX_TRY(JobTerms terms, read_terms(asked.job, asked.recipe));
  CALYX_CHECK(check_job_key(asked.idempotency_key));
  CALYX_TRY(core::JobShape shape, shape_of(asked));
  CALYX_CHECK(refuse_unbuilt(terms, shape));
  CALYX_CHECK(check_callback(terms, callbacks));
  PreparedJob out{.terms = std::move(terms),
                  .shape = std::move(shape),
                  .wallet = asked.wallet,
                  .once = asked.idempotency_key,
                  .items = asked.items};
  const auto id_at = [&](const std::string& pointer, const std::string& text) -> Result<JobId> {
    if (const auto id = JobId::read(text)) return *id;
    Error error = no_job(text);
    error.details.object()->set("field", pointer);
    return error;
  };
  for (std::size_t i = 0; i < out.terms.depends_on.size(); ++i) {
    CALYX_TRY(const JobId id, id_at("/depends_on/" + std::to_string(i), out.terms.depends_on[i]));
    out.depends_on.push_back(id);
  }

  if (out.items == nullptr)
    out.items = std::make_shared<const LongList>(cut_items(asked.job, out.shape.items_pointer()));
  if (out.items->items != out.shape.items())
    return fail(Reason::internal, "a job's items are not where its shape says");
  out.text = spell_job(asked.job, asked.recipe, *out.items);
  return out;
}

}  // namespace calyx::services

namespace calyx {

Result<JobSubmit> JobSubmit::read(std::string_view text) {
  const auto read_with = [&](LongList* cut) -> Result<JobSubmit> {
    const ReadLimits limits{.bytes = job_text_bytes_max};
    CALYX_TRY(core::json::Value value, cut == nullptr
                                           ? read_json(text, limits)
                                           : read_json(text, limits, services::items_a_segment, *cut));
    if (value.object() == nullptr) return services::field_error(Reason::field_type, "", "must be an object");
    JobSubmit out;
    out.job = std::move(*value.object());
    return out;
  };
  auto cut = std::make_shared<LongList>();
  CALYX_TRY(JobSubmit out, read_with(cut.get()));
  if (cut->items == 0) return out;
  const Result<core::JobShape> shape = core::JobShape::read_stored(out.job, cut->items);
  const bool are_items = shape.ok() && shape->items_pointer() == cut->pointer &&
                         (cut->objects || cut->pointer != "/fan_out/items");
  if (!are_items) return read_with(nullptr);  // a long list of another kind, or one that is at fault
  out.items = std::move(cut);
  return out;
}

}  // namespace calyx

namespace calyx::services {

Result<JobEstimate> estimate_job(const Book& book, const PreparedJob& job) {
  const Wide rate = core::rate_of(book.prices, job.terms.requirements);
  if (rate > core::amount_max.micro)
    return field_error(Reason::amount_out_of_range, "/requirements",
                       "cost more than " + say(core::amount_max) + " FLOPS a second");
  JobEstimate out{.tasks = job.shape.tasks(), .rate = Money{static_cast<std::int64_t>(rate)}};
  const std::optional<Wide> worst =
      core::worst_case(rate, out.tasks - job.taken.tasks, job.terms.max_retries + 1, job.terms.timeout_s);
  if (worst && *worst <= core::amount_max.micro) out.worst_case = Money{static_cast<std::int64_t>(*worst)};
  if (!out.worst_case && !job.terms.max_cost)
    return field_error(Reason::amount_out_of_range, "/max_cost",
                       "is needed: " + std::to_string(out.tasks) + " tasks of " +
                           std::to_string(job.terms.timeout_s) + " s may cost more than " +
                           say(core::amount_max) + " FLOPS");
  out.hold = out.worst_case ? *out.worst_case : *job.terms.max_cost;
  if (job.terms.max_cost) out.hold = std::min(out.hold, *job.terms.max_cost);
  return out;
}

Result<JobSubmitted> submit_job(Transaction& tx, const Principal& principal, const PreparedJob& job,
                                const Policy* narrowing) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal, For::derived_keys));
  CALYX_CHECK(may_run_jobs(book, caller));
  const WalletState* payer = nullptr;
  if (job.wallet) {
    CALYX_TRY(payer, spendable(book, caller, *job.wallet));
  } else if (!caller.is_operator()) {
    payer = book.wallet(caller.wallet);
  }
  const AccountNumber account = payer == nullptr ? 0 : payer->number;

  JobStore& jobs = tx.store().jobs();
  if (!job.once.empty()) {
    CALYX_TRY(const std::optional<JobNumber> before, jobs.find_once(account, job.once));
    if (before) {
      CALYX_TRY(const Held first, hold(tx, *before));
      if (first.known->row.request != job.text.request) return reused(Reason::key_reused, "body");
      return JobSubmitted{.id = job_id_of(book.tag, first.known->row),
                          .status = first.state.status,
                          .estimate = {.tasks = first.known->row.tasks,
                                       .rate = first.known->row.rate,
                                       .hold = first.known->row.hold},
                          .replayed = true};
    }
  }
  CALYX_CHECK(check_limits(
      caller,
      {.recipe = job.terms.work == WorkKind::recipe ? std::string_view(job.terms.name) : std::string_view(),
       .payees = job.terms.allowed_payees},
      tx.now()));
  if (!job.terms.callback_url.empty()) CALYX_CHECK(need_webhook_secret(tx, account));
  std::int64_t revision = 0;
  if (!job.terms.project.empty()) {
    CALYX_TRY(revision, revision_for_job(tx.store(), account, job.terms.project));
  }
  CALYX_TRY(const JobEstimate estimate, estimate_job(book, job));
  if (estimate.hold.micro != 0 && payer == nullptr)
    return field_error(Reason::field_missing, "/wallet_id", "is missing: somebody pays for this job");

  std::vector<JobNumber> before;
  for (const JobId& id : job.depends_on) {
    Result<JobState> state = readable_job(book, tx.store(), caller, id);
    if (!state.ok()) return state.error();
    if (lets_go_on(job.terms, state->status)) continue;
    if (is_terminal(state->status))
      return field_error(Reason::field_value, "/depends_on",
                         "names job " + id.text() + ", which ended " + std::string(word(state->status)));
    before.push_back(state->number);
  }
  std::sort(before.begin(), before.end());
  before.erase(std::unique(before.begin(), before.end()), before.end());

  CALYX_TRY(const JobNumber last, jobs.last_job());
  store::JobRow row{.number = last + 1,
                    .account = account,
                    .at = tx.now(),
                    .once = job.once,
                    .request = job.text.request,
                    .input = job.text.input,
                    .spec = job.text.spec,
                    .tasks = estimate.tasks,
                    .items = job.shape.items(),
                    .hold = estimate.hold,
                    .rate = estimate.rate,
                    .revision = revision};
  const JobId id = job_id_of(book.tag, row);
  const core::Requirements& needs = job.terms.requirements;
  std::optional<std::string> gpu_type;
  if (needs.gpu_count > 0 && !needs.gpu_type.empty()) gpu_type = needs.gpu_type;
  if (payer != nullptr) {
    // Judged also where it costs nothing: a frozen wallet or a GPU that is not allowed is refused all the
    // same.
    const std::string request = core::hex(job.text.request);
    CALYX_CHECK(
        pass_policy(tx, {.wallet = payer,
                         .operation = "job",
                         .amount = estimate.hold,
                         .job_id = {},
                         .gpu_type = gpu_type,
                         .judges_gpu = needs.gpu_count > 0,
                         .narrowing = narrowing,
                         .blocks = caller.blocks,
                         .terms = [&] {
                           return json::canonical(json::object({{"operation", "job"}, {"request", request}}));
                         }}));
  }
  if (estimate.hold.micro != 0) {
    CALYX_TRY(const Placed held, tx.append(SpendEvent{.wallet = account,
                                                      .job_id = id.text(),
                                                      .amount = estimate.hold,
                                                      .gpu_type = gpu_type,
                                                      .job = row.number,
                                                      .under = ids_of(caller.blocks)}));
    row.lock = held.seq;
    if (book.house == 0)
      CALYX_CHECK(create_wallet(tx, Principal{}, {.owner_id = std::string(house_owner_id)}));
  }

  JobStore& written = tx.change_jobs();
  CALYX_CHECK(written.add_job(row));
  const std::vector<std::string>& segments = job.items->segments;
  for (std::size_t i = 0; i < segments.size(); ++i)
    CALYX_CHECK(written.add_items(row.number, i * items_a_segment, segments[i]));
  for (const JobNumber one : before) CALYX_CHECK(written.add_edge(one, row.number));
  JobState state{.number = row.number,
                 .account = account,
                 .status = before.empty() ? JobStatus::queued : JobStatus::planning,
                 .priority = job.terms.priority,
                 .waiting = before.size(),
                 .fresh = job.taken.fresh,
                 .completed = job.taken.tasks,
                 .events = 1};
  for (const TakenResults& taken : job.taken.results)
    CALYX_CHECK(written.add_results(
        row.number,
        {.first = taken.first, .count = taken.count, .attempts = taken.attempts, .body = taken.body}));
  for (store::ArtifactRow file : job.taken.files) {
    file.account = account;
    file.job = row.number;
    CALYX_CHECK(add_task_artifact(tx, std::move(file)));
  }
  for (const core::Chunk& gap : job.taken.gaps)
    for (std::uint64_t task = gap.start; task < gap.end; ++task) {
      CALYX_CHECK(written.put_retry({.job = row.number, .task = task, .not_before = tx.now()}));
      ++state.retrying;
    }
  if (job.taken.tasks == row.tasks) {  // nothing is left to run, so nothing to wait for
    state.status = JobStatus::running;
    state.started = tx.now();
  }
  state.ready = readiness(state, row.tasks);
  CALYX_CHECK(written.add_state(state));
  json::Value told =
      json::object({{"event", "submitted"}, {"status", word(state.status)}, {"tasks", row.tasks}});
  if (job.taken.tasks != 0) told.object()->set("taken_over", job.taken.tasks);
  CALYX_CHECK(written.add_event(row.number, 1, tx.now(), json::canonical(told)));
  return JobSubmitted{.id = id, .status = state.status, .estimate = estimate};
}

Result<Done> set_prices(Transaction& tx, const Principal& principal, const core::Prices& prices) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  const auto check = [](const std::string& field, Money price) -> Result<Done> {
    return price.micro == 0 ? Result<Done>(Done{}) : check_amount(field, price);
  };
  CALYX_CHECK(check("/prices/base", prices.base));
  CALYX_CHECK(check("/prices/cpu", prices.cpu));
  CALYX_CHECK(check("/prices/memory_gb", prices.memory_gb));
  if (prices.gpus.size() > gpu_types_max)
    return field_error(Reason::field_value, "/prices/gpus",
                       "has " + std::to_string(prices.gpus.size()) + " members, takes at most " +
                           std::to_string(gpu_types_max));
  for (const auto& [type, price] : prices.gpus) {
    CALYX_CHECK(check_name("/prices/gpus", type, key_text_max));
    CALYX_CHECK(check("/prices/gpus", price));
  }
  if (prices == tx.book().prices) return Done{};
  CALYX_CHECK(tx.append(PricesSet{prices}));
  return Done{};
}

}  // namespace calyx::services
