#include "services/jobs.hpp"

#include <calyx/core/preset.hpp>
#include <calyx/core/schema.hpp>
#include <calyx/session.hpp>
#include <chrono>
#include <unordered_set>
#include <utility>

#include "engine/artifacts.hpp"
#include "engine/checkpoints.hpp"
#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"
#include "engine/performing.hpp"
#include "services/artifact_refs.hpp"
#include "services/job_batch.hpp"

namespace calyx {

using engine::find_job;
using engine::FoundJob;
using engine::may_read;
using engine::reading;
using engine::shown;
using services::Book;
using services::Caller;
using services::Chores;
using services::JobNumber;
using services::KnownJob;
using services::Transaction;
using store::JobState;
using store::MarketStore;

namespace {

namespace json = core::json;

/// Where a page of things that are numbered from 0 begins.
Result<std::uint64_t> first_of(const Page& page) {
  CALYX_TRY(const std::int64_t number, engine::cursor(page));
  return static_cast<std::uint64_t>(number);
}

/// Judges the artifacts that `asked` names, which its payer must be able to read, and gives the hash of its
/// input with theirs in it. Nothing for a job that names none. They stay, so this may come before the gate.
Result<std::optional<core::Digest>> input_with_artifacts(Market& market, const Principal& principal,
                                                         const JobSubmit& asked,
                                                         std::span<const std::string> inputs) {
  const auto named = [&](std::string_view member) {
    const json::Value* value = asked.job.find(member);
    return value != nullptr && services::names_artifacts(*value, inputs);
  };
  if (std::none_of(std::begin(services::shape_members), std::end(services::shape_members), named))
    return std::optional<core::Digest>();
  CALYX_TRY(const core::AccountNumber payer, market.read([&](const Book& book,
                                                             Instant) -> Result<core::AccountNumber> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal, services::For::derived_keys));
    if (!asked.wallet) return caller.wallet;
    CALYX_TRY(const services::WalletState* wallet, services::spendable(book, caller, *asked.wallet));
    return wallet->number;
  }));
  CALYX_TRY(const engine::Reading by, engine::reading_of(market, payer));
  json::Object job = asked.job;
  CALYX_CHECK(market.history([&](MarketStore& store) -> Result<Done> {
    for (const std::string_view member : services::shape_members)
      if (json::Value* value = job.find(member)) {
        CALYX_TRY(*value, services::replaced_refs(*value, '/' + std::string(member), inputs,
                                                  [&](ArtifactId id) -> Result<core::Digest> {
                                                    CALYX_TRY(const store::ArtifactRow row,
                                                              engine::find_artifact(store, by, id));
                                                    return row.sha256;
                                                  }));
      }
    return Done{};
  }));
  return std::optional<core::Digest>(
      services::input_of(job, asked.items == nullptr ? LongList{} : *asked.items));
}

/// Puts what the tasks from `from` on left into `tasks`, which follow each other.
Result<Done> add_files(MarketStore& store, const engine::Reading& by, JobNumber number,
                       std::vector<JobTask>& tasks) {
  if (tasks.empty()) return Done{};
  const std::uint64_t from = tasks.front().index;
  const auto place = [&](std::uint64_t task) -> JobTask* {
    return task - from < tasks.size() ? &tasks[task - from] : nullptr;
  };
  CALYX_CHECK(store.artifacts().of_job(number, from, [&](const store::ArtifactRow& row) -> Result<bool> {
    JobTask* task = place(row.task);
    if (task == nullptr) return false;
    CALYX_TRY(task->artifacts.emplace_back(), engine::view_artifact(store, by, row));
    return true;
  }));
  return store.artifacts().skipped_of(
      number, from, [&](std::uint64_t index, std::string_view body) -> Result<bool> {
        JobTask* task = place(index);
        if (task == nullptr) return false;
        CALYX_TRY(const json::Value list, services::read_own_json(body, "a task's files"));
        if (list.array() == nullptr) return true;
        for (const json::Value& file : *list.array()) {
          const json::Value* name = file.find("name");
          const json::Value* why = file.find("why");
          if (name != nullptr && name->string() != nullptr && why != nullptr && why->string() != nullptr)
            task->artifacts_skipped.push_back({*name->string(), *why->string()});
        }
        return true;
      });
}

/// Whether the job `number`, or one that it still waits for, runs a command.
Result<bool> is_of_commands(Market& market, MarketStore& store, JobNumber number) {
  std::vector<JobNumber> to_see{number};
  std::unordered_set<JobNumber> seen;
  while (!to_see.empty()) {
    const JobNumber one = to_see.back();
    to_see.pop_back();
    if (!seen.insert(one).second) continue;
    CALYX_TRY(const std::optional<JobState> state, store.jobs().state(one));
    if (!state || is_terminal(state->status)) continue;
    CALYX_TRY(const std::shared_ptr<const KnownJob> known, market.known_jobs().get(store, one));
    if (known->terms.work == services::WorkKind::command) return true;
    if (state->waiting == 0) continue;
    for (const std::string& text : known->terms.depends_on)
      if (const auto id = JobId::read(text)) to_see.push_back(static_cast<JobNumber>(id->number()));
  }
  return false;
}

}  // namespace

Result<services::PreparedJob> engine::prepare_whole(Market& market, const Principal& principal,
                                                    const JobSubmit& asked) {
  std::vector<std::string> inputs;
  if (!asked.recipe.empty()) {
    const auto recipe = market.workshop().recipe(asked.recipe);
    if (recipe == nullptr)
      return fail(
          Reason::recipe_unknown, "no recipe " + asked.recipe,
          json::object({{"recipe", std::string_view(asked.recipe).substr(0, services::key_text_max)}}));
    // Of a job that fans out each task has a payload of its own, which the recipe judges as it runs.
    const json::Value* payload = asked.job.find("payload");
    if (recipe->check && asked.job.find("fan_out") == nullptr)
      CALYX_CHECK(recipe->check(payload == nullptr ? json::Value() : *payload));
    inputs = recipe->artifact_inputs;
  }
  // Items that name artifacts are looked into, and those that do not stay text.
  inputs.emplace_back(services::artifacts_member);
  JobSubmit opened;
  const bool opens = asked.items != nullptr && services::has_member(*asked.items, inputs);
  inputs.pop_back();
  if (opens) {
    opened = asked;
    CALYX_TRY(opened.job, services::with_items(asked.job, *asked.items));
    opened.items.reset();
  }
  const JobSubmit& whole = opens ? opened : asked;
  const std::shared_ptr<const Market::Webhooks> webhooks = market.webhooks();
  CALYX_TRY(services::PreparedJob job,
            services::prepare_job(whole, webhooks == nullptr ? nullptr : &webhooks->rules));
  CALYX_TRY(const std::optional<core::Digest> input, input_with_artifacts(market, principal, whole, inputs));
  if (input) {
    job.text.input = *input;
    job.text.request = services::request_of(job.text.spec, job.items->items != 0, *input);
  }
  return job;
}

namespace {

/// The same before the gate is asked for, of any submit: one that does a job again is completed from that
/// job, and gets what it takes over.
Result<services::PreparedJob> prepare(Market& market, const Principal& principal, const JobSubmit& asked) {
  CALYX_TRY(const services::EarlierName name, services::earlier_name(asked.job));
  if (name.field.empty()) return engine::prepare_whole(market, principal, asked);
  // What has ended does not change any more, so it may be read before the gate is asked for.
  CALYX_TRY(const engine::Reading by, reading(market, principal));
  Result<FoundJob> found =
      market.history([&](MarketStore& store) { return find_job(market, store, by, name.id); });
  if (!found.ok()) {
    Error error = std::move(found).error();
    if (error.reason == Reason::job_unknown)
      error.details.object()->set("field", "/" + std::string(name.field));
    return error;
  }
  const services::Earlier earlier{name, found->known, found->state};
  CALYX_TRY(const JobSubmit whole, market.history([&](MarketStore& store) {
    return services::completed_from(store, earlier, asked);
  }));
  CALYX_TRY(services::PreparedJob job, engine::prepare_whole(market, principal, whole));
  CALYX_TRY(job.taken, market.history([&](MarketStore& store) {
    return services::take_over(store, earlier, whole, job);
  }));
  return job;
}

}  // namespace

namespace engine {

namespace {

Result<Done> end_one(Market& market, JobNumber number) {
  CALYX_TRY(const services::Merged merged,
            market.history([&](MarketStore& store) -> Result<services::Merged> {
              CALYX_TRY(const std::shared_ptr<const KnownJob> known, market.known_jobs().get(store, number));
              return services::merge_job(store, *known, nullptr);
            }));
  CALYX_CHECK(market.write([&](Transaction& tx) { return services::end_job(tx, number, merged); }));
  market.workshop().knock();
  drop_checkpoints(market, number);
  return Done{};
}

}  // namespace

Result<Done> do_chores(Market& market, const std::vector<JobNumber>& to_end) {
  Result<Done> done = Done{};
  for (const JobNumber number : to_end)
    if (Result<Done> ended = end_one(market, number); !ended.ok() && done.ok()) done = std::move(ended);
  return done;
}

Result<Done> tend(Market& market, JobNumber number) {
  CALYX_TRY(const Instant now, market.read([](const Book&, Instant at) -> Result<Instant> { return at; }));
  CALYX_TRY(const bool due, market.history([&](MarketStore& store) -> Result<bool> {
    CALYX_TRY(const std::shared_ptr<const KnownJob> known, market.known_jobs().get(store, number));
    CALYX_TRY(const std::optional<JobState> state, store.jobs().state(number));
    return state ? services::is_due(store, *known, *state, now) : Result<bool>(false);
  }));
  if (!due) return Done{};
  Chores chores;
  CALYX_CHECK(market.write([&](Transaction& tx) { return services::tend_job(tx, number, chores); }));
  return do_chores(market, chores.to_end);
}

}  // namespace engine

Result<JobEstimate> Session::estimate_job(const JobSubmit& asked) {
  CALYX_CHECK(market_->usable());
  CALYX_TRY(const services::PreparedJob job, prepare(*market_, principal_, asked));
  return market_->read([&](const Book& book, Instant) -> Result<JobEstimate> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    static_cast<void>(caller);
    return services::estimate_job(book, job);
  });
}

Result<std::vector<Result<JobSubmitted>>> Session::submit_jobs(std::span<const Result<JobSubmit>> asked) {
  CALYX_CHECK(market_->usable());
  CALYX_TRY(const services::Batch batch, services::read_batch(asked));
  std::vector<Result<services::PreparedJob>> jobs;
  jobs.reserve(asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const services::BatchJob& one = batch.jobs[i];
    if (!asked[i].ok() || one.fault)
      jobs.emplace_back(asked[i].ok() ? *one.fault : asked[i].error());
    else
      jobs.push_back(prepare(*market_, principal_, one.without_names ? *one.without_names : *asked[i]));
  }
  using Outcomes = std::vector<Result<JobSubmitted>>;
  Result<Outcomes> submitted = market_->write([&](Transaction& tx) -> Result<Outcomes> {
    Outcomes outcomes(jobs.size(), JobSubmitted{});
    const auto submit = [&](std::size_t i) -> Result<JobSubmitted> {
      if (!jobs[i].ok()) return jobs[i].error();
      const std::vector<services::Sibling>& siblings = batch.jobs[i].siblings;
      if (siblings.empty()) return services::submit_job(tx, principal_, *jobs[i], narrowing_.get());
      CALYX_TRY(const services::PreparedJob job, services::with_siblings(*jobs[i], siblings, outcomes));
      return services::submit_job(tx, principal_, job, narrowing_.get());
    };
    for (const std::size_t i : batch.order) {
      outcomes[i] = submit(i);
      if (!outcomes[i].ok() && !is_refusal(outcomes[i].reason())) return outcomes[i].error();
    }
    return outcomes;
  });
  if (submitted.ok()) market_->workshop().knock();
  return submitted;
}

Result<JobSubmitted> Session::submit_job(const JobSubmit& asked) {
  CALYX_CHECK(market_->usable());
  // Only a job of a batch has a key with a space, which keeps the two apart.
  CALYX_CHECK(services::check_key_text("Idempotency-Key", asked.idempotency_key, services::Empty::allowed));
  CALYX_TRY(const services::PreparedJob job, prepare(*market_, principal_, asked));
  Result<JobSubmitted> submitted = market_->write(
      [&](Transaction& tx) { return services::submit_job(tx, principal_, job, narrowing_.get()); });
  if (submitted.ok()) market_->workshop().knock();
  return submitted;
}

Result<Job> Session::job(JobId id) {
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<Job> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    return shown(by, found);
  });
}

Result<Listed<Job>> Session::jobs(const JobFilter& filter, const Page& page) {
  CALYX_TRY(const std::uint64_t after, first_of(page));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<Listed<Job>> {
    Listed<Job> out;
    constexpr std::size_t looked_at_max = 10'000;
    std::size_t looked_at = 0;
    const std::int64_t account = by.caller.is_operator() ? -1 : by.own.size() == 1 ? by.own.front() : -1;
    const JobNumber before = after == 0 ? INT64_MAX : static_cast<JobNumber>(after);
    CALYX_CHECK(store.jobs().jobs_of(account, before, [&](const JobState& state) -> Result<bool> {
      if (out.items.size() == page.limit || ++looked_at > looked_at_max) {
        out.next = std::to_string(state.number + 1);
        return false;
      }
      if (!may_read(by, state) || (filter.status && state.status != *filter.status)) return true;
      FoundJob found{.known = {}, .state = state};
      CALYX_TRY(found.known, market_->known_jobs().get(store, state.number));
      const services::JobTerms& terms = found.known->terms;
      if (!filter.project.empty() && terms.project != filter.project) return true;
      if (!filter.tag.empty() &&
          std::find(terms.tags.begin(), terms.tags.end(), filter.tag) == terms.tags.end())
        return true;
      out.items.push_back(shown(by, found));
      return true;
    }));
    return out;
  });
}

Result<Job> Session::cancel_job(JobId id) {
  CALYX_TRY(const JobNumber number,
            market_->write([&](Transaction& tx) { return services::cancel_job(tx, principal_, id); }));
  market_->workshop().knock();
  engine::drop_checkpoints(*market_, number);
  return job(id);
}

Result<Listed<JobTask>> Session::job_tasks(JobId id, const Page& page) {
  CALYX_TRY(const std::uint64_t from, first_of(page));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<Listed<JobTask>> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    Listed<JobTask> out;
    CALYX_TRY(out.items, services::tasks_of(store, *found.known, found.state, from, page.limit, true));
    CALYX_CHECK(add_files(store, by, found.state.number, out.items));
    if (from + out.items.size() < found.known->row.tasks && !out.items.empty())
      out.next = std::to_string(from + out.items.size());
    return out;
  });
}

Result<JobResults> Session::job_results(JobId id, const Page& page) {
  CALYX_TRY(const std::uint64_t from, first_of(page));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<JobResults> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    JobResults out{.id = id, .status = found.state.status};
    const bool merged =
        found.state.status == JobStatus::completed || found.state.status == JobStatus::partial;
    if (merged) {
      core::Merged all;
      CALYX_CHECK(services::merge_job(store, *found.known, &all));
      out.result = std::move(all.result);
      out.notes = std::move(all.notes);
    }
    CALYX_TRY(out.tasks, services::tasks_of(store, *found.known, found.state, from, page.limit, false));
    CALYX_CHECK(add_files(store, by, found.state.number, out.tasks));
    if (from + out.tasks.size() < found.known->row.tasks && !out.tasks.empty())
      out.next = std::to_string(from + out.tasks.size());
    return out;
  });
}

Result<JobOutput> Session::job_output(JobId id, std::uint64_t task) {
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<JobOutput> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    if (task >= found.known->row.tasks)
      return fail(
          Reason::task_unknown,
          "no task " + std::to_string(task) + ", the job has " + std::to_string(found.known->row.tasks),
          json::object({{"task", task}, {"tasks", found.known->row.tasks}}));
    CALYX_TRY(std::optional<store::OutputRow> row, store.jobs().output(found.state.number, task));
    if (!row) return JobOutput{.task = task};
    Printed& printed = row->printed;
    return JobOutput{task,
                     row->attempt,
                     std::move(printed.out),
                     std::move(printed.err),
                     printed.out_dropped,
                     printed.err_dropped};
  });
}

Result<Listed<JobEvent>> Session::job_events(JobId id, const Page& page) {
  CALYX_TRY(const std::uint64_t after, first_of(page));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<Listed<JobEvent>> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    Listed<JobEvent> out;
    CALYX_CHECK(
        store.jobs().events_of(found.state.number, static_cast<std::int64_t>(after),
                               [&](std::int64_t number, Instant at, std::string_view body) -> Result<bool> {
                                 if (out.items.size() == page.limit) {
                                   out.next = std::to_string(out.items.back().number);
                                   return false;
                                 }
                                 CALYX_TRY(json::Value value, services::read_own_json(body, "a job's event"));
                                 out.items.push_back({number, at, std::move(value)});
                                 return true;
                               }));
    return out;
  });
}

Result<Job> Session::wait_job(JobId id, std::chrono::milliseconds most) {
  using std::chrono::steady_clock;
  constexpr std::chrono::seconds tended_every(1);
  const auto until = steady_clock::now() + most;
  auto tended = steady_clock::now();
  for (;;) {
    const std::uint64_t heard = market_->workshop().heard();
    CALYX_TRY(Job now, job(id));
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - steady_clock::now());
    if (is_terminal(now.status) || left.count() <= 0) return now;
    if (steady_clock::now() - tended >= tended_every) {
      tended = steady_clock::now();
      // Where that fails, say for a market that is read only, there is still something to wait for.
      static_cast<void>(engine::tend(*market_, static_cast<JobNumber>(id.number())));
    }
    constexpr std::chrono::milliseconds look_again(100);  // others may end it, in other processes
    market_->workshop().wait(heard, std::min(left, look_again));
  }
}

Result<Job> Session::run_job(JobId id, const RunOptions& options) {
  const auto stopped = [&] { return options.stopped && options.stopped(); };
  const auto enough = [&] { return options.enough && options.enough(); };
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  bool wants_commands = false;
  Result<Job> now = market_->history([&](MarketStore& store) -> Result<Job> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, id));
    CALYX_TRY(wants_commands, is_of_commands(*market_, store, found.state.number));
    return shown(by, found);
  });
  if (!now.ok() || is_terminal(now->status) || stopped() || enough()) return now;
  engine::Commands* commands = nullptr;
  if (wants_commands) {
    CALYX_TRY(commands, market_->commands());
  }
  const auto idle = [&]() -> Result<Done> {
    // Nothing of it is to be done here and now: others have it, or it waits for a retry.
    constexpr std::chrono::milliseconds look_again(50);
    CALYX_CHECK(wait_job(id, look_again));
    return Done{};
  };
  // Asked once a lease, since a lease of many tasks may end it; before the first one it was just read.
  bool is_read = true;
  const auto over = [&] {
    if (std::exchange(is_read, false)) return false;
    now = job(id);
    return !now.ok() || is_terminal(now->status) || stopped() || enough();
  };
  CALYX_CHECK(engine::perform_until(*market_, commands, options.heartbeats, stopped, enough, over, idle));
  return now;
}

Result<Lease> Session::lease_tasks(const LeaseAsked& asked) {
  Chores chores;
  Result<Lease> lease =
      market_->write([&](Transaction& tx) { return services::lease_tasks(tx, principal_, asked, chores); });
  if (!lease.ok()) return lease;
  if (lease->count != 0) market_->workshop().tell();
  // What was handed out is told, whatever becomes of another job's end: the next lease finds that again.
  if (Result<Done> done = engine::do_chores(*market_, chores.to_end); !done.ok() && lease->count == 0)
    return done.error();
  return lease;
}

Result<Reported> Session::report_tasks(const Report& report) {
  Chores chores;
  Result<Reported> reported =
      market_->write([&](Transaction& tx) { return services::report_tasks(tx, principal_, report, chores); });
  if (reported.ok()) {
    // The report stands, also where the job cannot end yet: the next lease tries that again.
    static_cast<void>(engine::do_chores(*market_, chores.to_end));
    market_->workshop().knock();
  }
  return reported;
}

Result<std::vector<json::Value>> Session::task_payloads(const Lease& lease) {
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<std::vector<json::Value>> {
    CALYX_TRY(const FoundJob found, find_job(*market_, store, by, lease.job));
    const std::uint64_t tasks = found.known->row.tasks;
    if (lease.first > tasks || lease.count > tasks - lease.first)
      return fail(Reason::task_unknown, "the job has " + std::to_string(tasks) + " tasks",
                  json::object({{"tasks", tasks}}));
    return services::payloads_of(store, *found.known, lease.first, lease.count);
  });
}

Result<core::Prices> Session::prices() {
  return market_->read([&](const Book& book, Instant) -> Result<core::Prices> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    static_cast<void>(caller);
    return book.prices;
  });
}

Result<core::Prices> Session::set_prices(const core::Prices& prices) {
  CALYX_CHECK(market_->write([&](Transaction& tx) { return services::set_prices(tx, principal_, prices); }));
  return prices;
}

Result<std::vector<Preset>> Session::presets() {
  CALYX_TRY(const core::Prices prices, this->prices());
  std::vector<Preset> out;
  for (const core::ResourcePreset& preset : core::resource_presets) {
    Preset& one = out.emplace_back();
    one.name = preset.name;
    one.summary = preset.summary;
    one.requirements = core::requirements_of(preset);
    if (const core::Wide rate = core::rate_of(prices, one.requirements); rate <= core::amount_max.micro)
      one.rate = Money{static_cast<std::int64_t>(rate)};
  }
  return out;
}

Result<Metrics> Session::metrics() {
  CALYX_TRY(Metrics out, market_->read([&](const Book& book, Instant) -> Result<Metrics> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_));
    CALYX_CHECK(services::operator_only(caller));
    Metrics read;
    read.events = static_cast<std::uint64_t>(book.seq);
    read.wallets = book.wallets.size();
    read.receipts = book.receipt_log.size();
    read.open_escrows = book.locks.size();
    read.supply = Money{-book.external.micro};
    read.fees = book.fees;
    return read;
  }));
  CALYX_TRY(const store::JobStore::Census census,
            market_->history([](MarketStore& store) { return store.jobs().census(); }));
  out.jobs = census.jobs;
  out.jobs_planning = census.planning;
  out.jobs_queued = census.queued;
  out.jobs_running = census.running;
  out.tasks_ready = census.tasks_ready;
  out.tasks_running = census.tasks_running;
  out.leases = census.leases;
  out.engine = market_->stats();
  return out;
}

std::vector<std::shared_ptr<const RecipeDefinition>> Session::recipes() const {
  return market_->workshop().recipes();
}

Result<Done> Engine::register_task(const std::string& name, TaskFunction run) {
  CALYX_CHECK(services::check_key_text("/name", name, services::Empty::refused));
  if (!run) return services::field_error(Reason::field_missing, "/run", "is no function");
  market_->workshop().put_task(name, std::move(run));
  market_->workshop().knock();
  return Done{};
}

Result<Done> Engine::register_recipe(RecipeDefinition recipe) {
  CALYX_CHECK(services::check_key_text("/name", recipe.name, services::Empty::refused));
  if (!recipe.run) return services::field_error(Reason::field_missing, "/run", "is no function");
  if (!recipe.payload_schema.is_null()) {
    CALYX_CHECK(core::check_schema(recipe.payload_schema, "/payload_schema"));
    recipe.check = [schema = recipe.payload_schema,
                    check = std::move(recipe.check)](const json::Value& payload) -> Result<Done> {
      CALYX_CHECK(core::check_by_schema(schema, payload, "/payload"));
      return check ? check(payload) : Result<Done>(Done{});
    };
  }
  // Of a job that fans out each task's payload is seen when it is made, and not before.
  if (recipe.check)
    recipe.run = [check = recipe.check,
                  run = std::move(recipe.run)](const TaskCall& call) -> Result<json::Value> {
      CALYX_CHECK(check(call.payload));
      return run(call);
    };
  market_->workshop().put_recipe(std::move(recipe));
  market_->workshop().knock();
  return Done{};
}

}  // namespace calyx
