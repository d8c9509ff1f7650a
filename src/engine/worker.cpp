#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <calyx/engine.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/checkpoints.hpp"
#include "engine/commands.hpp"
#include "engine/market.hpp"
#include "engine/performing.hpp"
#include "engine/projects.hpp"
#include "engine/task_files.hpp"
#include "json/reader.hpp"

namespace calyx {
namespace engine {
namespace {

namespace json = core::json;
using services::Transaction;
using std::chrono::steady_clock;

/// A report is due after this long, so that results stand and streams move while a lease of many goes on.
constexpr std::chrono::milliseconds report_every(200);
constexpr std::chrono::milliseconds heartbeat_every(lease_s * 1000 / 3);

std::int64_t ms_since(steady_clock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - then).count();
}

Result<Reported> report(Market& market, const Report& report,
                        std::span<const services::TaskFiles> files = {}) {
  services::Chores chores;
  Result<Reported> reported = market.write(
      [&](Transaction& tx) { return services::report_tasks(tx, Principal{}, report, chores, files); });
  if (reported.ok()) {
    // The report stands, also where the job cannot end yet: the next lease tries that again.
    static_cast<void>(do_chores(market, chores.to_end));
    if (!report.outcomes.empty())
      market.workshop().knock();
    else
      market.workshop().tell();
  }
  return reported;
}

/// What is reported of one lease, and whether it goes on. Threads: its worker's own, and the heart's.
class Reporter {
 public:
  Reporter(Market& market, const Lease& lease)
      : market_(market), job_(static_cast<services::JobNumber>(lease.job.number())), attempt_(lease.attempt) {
    pending_.token = lease.token;
  }

  bool lost() const noexcept { return lost_.load(); }
  /// Whether there is any use in going on.
  bool stands() {
    const std::lock_guard lock(mutex_);
    return done_.ok() && !lost_;
  }
  void add(TaskOutcome outcome, services::TaskFiles files = {}) {
    const std::lock_guard lock(mutex_);
    outcome.progress = std::exchange(waiting_, std::nullopt);
    printed_.reset();  // the outcome has all of it
    pending_.outcomes.push_back(std::move(outcome));
    files_.push_back(std::move(files));
    if (steady_clock::now() - reported_at_ >= report_every) send();
  }
  void progress(const json::Value& value) {
    const std::lock_guard lock(mutex_);
    if (value.object() == nullptr) return;
    waiting_ = value;
    tell_waiting();
  }
  /// What task `task`, the one that runs, has printed so far.
  void printed(std::uint64_t task, Printed printed) {
    const std::lock_guard lock(mutex_);
    printed_of_ = task;
    printed_ = std::move(printed);
    tell_printed();
  }
  /// Reports what has waited long enough, or that the worker lives, however long its task takes.
  void tend() {
    const std::lock_guard lock(mutex_);
    if (printed_ && steady_clock::now() - printed_at_ >= report_every) tell_printed();
    if (lost_) return;
    const auto silent = steady_clock::now() - reported_at_;
    if (!pending_.outcomes.empty() && silent >= report_every) send();
    tell_waiting();
    look();
    if (lost_ || silent < heartbeat_every) return;
    reported_at_ = steady_clock::now();
    take(report(market_, {.token = pending_.token}));
    // Its task hangs, and perhaps those of all workers: nobody else may come by to take it back.
    if (lost_) static_cast<void>(engine::tend(market_, job_));
  }
  /// Reports the rest, and gives back what was not begun.
  Result<Done> finish() {
    std::unique_lock lock(mutex_);
    const auto tell = [this] {
      tell_printed();
      if (printed_) return;
      pending_.gives_back = true;
      if (done_.ok() && !lost_) send();
    };
    tell();
    // A store that stays busy is asked for as long as the lease may last.
    for (const auto since = steady_clock::now();
         (printed_ || (unheard_ && !lost_)) && done_.ok() && ms_since(since) < lease_s * 1'000; tell()) {
      lock.unlock();
      std::this_thread::sleep_for(report_every);
      lock.lock();
    }
    if (unheard_) return *std::move(unheard_);
    return std::move(done_);
  }

 private:
  /// Tells what the task has printed, if that was not heard yet: a store that is busy hears it later.
  void tell_printed() {
    if (!printed_) return;
    printed_at_ = steady_clock::now();
    bool heard = false;
    if (!lost_) {
      send();  // so that the task that it is about is the lease's first
      if (done_.ok() && !lost_ && pending_.outcomes.empty()) {
        const Result<Reported> reported = report(market_, {.token = pending_.token, .printed = *printed_});
        heard = reported.ok() || reported.error().status() != Status::unavailable;
        take(reported);
      }
    }
    // A process that is ended with its job may print until it is gone.
    if (lost_) {
      const Result<Done> kept = market_.write(
          [&](Transaction& tx) { return services::keep_output(tx, job_, printed_of_, attempt_, *printed_); });
      heard = kept.ok() || kept.error().status() != Status::unavailable;
    }
    if (heard) printed_.reset();
  }
  /// Tells how far the task is that runs, if that is news and the last ones were told a while ago.
  void tell_waiting() {
    constexpr std::chrono::milliseconds told_every(500);
    if (!waiting_ || steady_clock::now() - told_at_ < told_every) return;
    told_at_ = steady_clock::now();
    send();  // so that the task that it is about is the lease's first
    if (done_.ok() && !lost_ && pending_.outcomes.empty())
      take(report(market_, {.token = pending_.token, .progress = std::exchange(waiting_, std::nullopt)}));
  }
  /// Whether the lease is still there: a cancel, maybe of another process, tells nobody.
  void look() {
    constexpr std::chrono::seconds every(1);
    if (steady_clock::now() - looked_at_ < every) return;
    looked_at_ = steady_clock::now();
    const auto lease =
        market_.history([&](store::MarketStore& store) { return store.jobs().lease(pending_.token); });
    if (lease.ok() && !*lease) lost_ = true;
  }
  void send() {
    if ((pending_.outcomes.empty() && !pending_.gives_back) || lost_) return;
    const Result<Reported> reported = report(market_, pending_, files_);
    reported_at_ = steady_clock::now();
    unheard_.reset();
    if (!reported.ok() && reported.error().status() == Status::unavailable) {
      unheard_ = reported.error();  // nothing was written: the same is told again, with what comes to it
      return;
    }
    pending_.outcomes.clear();
    files_.clear();
    take(reported);
  }
  void take(const Result<Reported>& reported) {
    // Cancelled, or too late: what was done of it and not told is lost.
    if (reported.reason() == Reason::lease_lost || (reported.ok() && reported->left == 0))
      lost_ = true;
    else if (!reported.ok() && !is_refusal(reported.reason()) &&
             reported.error().status() != Status::unavailable)
      done_ = reported.error();
  }

  Market& market_;
  const services::JobNumber job_;
  const std::int64_t attempt_;
  std::mutex mutex_;  ///< Of all that follows.
  Report pending_;
  std::vector<services::TaskFiles> files_;  ///< Of its outcomes, one for one.
  steady_clock::time_point reported_at_ = steady_clock::now(), looked_at_ = reported_at_, told_at_;
  std::optional<Printed> printed_;       ///< What the task that runs has printed, if it was not heard yet,
  std::uint64_t printed_of_ = 0;         ///< and its index.
  steady_clock::time_point printed_at_;  ///< When it was told last.
  std::optional<json::Value> waiting_;   ///< The last progress of the task that runs, if it was not told yet.
  std::atomic<bool> lost_{false};        ///< Read by running tasks without the lock, which a report may hold.
  std::optional<Error> unheard_;         ///< What a store that was busy said to the last report.
  Result<Done> done_ = Done{};
};

/// Keeps leases alive, and their outcomes told, while tasks run: on a thread of its own, for as long as it is
/// there.
class Heart {
 public:
  Heart() : thread_([this] { beat(); }) {}
  Heart(const Heart&) = delete;
  Heart& operator=(const Heart&) = delete;
  ~Heart() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ends_.notify_all();
    thread_.join();
  }
  void add(std::shared_ptr<Reporter> reporter) {
    const std::lock_guard lock(mutex_);
    reporters_.push_back(std::move(reporter));
  }
  void remove(const std::shared_ptr<Reporter>& reporter) {
    const std::lock_guard lock(mutex_);
    reporters_.erase(std::find(reporters_.begin(), reporters_.end(), reporter));
  }

 private:
  void beat() {
    constexpr std::chrono::milliseconds every(50);
    std::unique_lock lock(mutex_);
    while (!ends_.wait_for(lock, every, [this] { return over_; })) {
      try {
        const std::vector<std::shared_ptr<Reporter>> now = reporters_;
        lock.unlock();
        for (const std::shared_ptr<Reporter>& reporter : now) reporter->tend();
      } catch (const std::bad_alloc&) {  // the next beat may find some
      }
      if (!lock.owns_lock()) lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ends_;
  bool over_ = false;
  std::vector<std::shared_ptr<Reporter>> reporters_;
  std::thread thread_;  // the last one, since it uses the others
};

/// A lease under way. With a heart the heart tends it, else whoever asks whether it is lost.
class Holding {
 public:
  Holding(Market& market, const Lease& lease, Heart* heart)
      : heart_(heart), reporter_(std::make_shared<Reporter>(market, lease)) {
    if (heart_ != nullptr) heart_->add(reporter_);
  }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  ~Holding() {
    if (heart_ != nullptr) heart_->remove(reporter_);
  }
  Reporter* operator->() const noexcept { return reporter_.get(); }
  bool lost() {
    if (heart_ == nullptr) reporter_->tend();
    return reporter_->lost();
  }

 private:
  Heart* heart_;
  std::shared_ptr<Reporter> reporter_;
};

/// The function of this process that does the tasks of `lease`; empty for a command, or when it was taken
/// away.
TaskFunction function_of(const Workshop& workshop, const Lease& lease) {
  if (lease.work == word(services::WorkKind::task)) {
    if (const auto task = workshop.task(lease.name)) return *task;
  } else if (lease.work == word(services::WorkKind::recipe)) {
    if (const auto recipe = workshop.recipe(lease.name)) return recipe->run;
  }
  return {};
}

/// Stores what a task that went well left. Where that fails the task did not: nobody is charged, and another
/// try may find room.
void keep(const Market& market, const runner::Ended& ended, TaskOutcome& outcome,
          services::TaskFiles& files) {
  Result<services::TaskFiles> kept = keep_files(market, ended);
  if (kept.ok()) {
    files = *std::move(kept);
    return;
  }
  outcome.failure = JobFailure::not_started;
  outcome.error = "what it left could not be kept: " + kept.error().message;
  outcome.result = {};
}

/// What recipes run other programs by: `commands` gives what runs this machine's, or null where none may.
RunEnclosed enclosed_by(std::function<Result<Commands*>()> commands) {
  return [commands = std::move(commands)](const EnclosedTask& task,
                                          const std::function<bool()>& stopped) -> Result<EnclosedEnd> {
    CALYX_TRY(Commands* const found, commands());
    if (found == nullptr) return fail(Reason::bare_host_refused, "no commands run here");
    return found->run_enclosed(task, stopped);
  };
}

/// Runs a command's task in its project's folder, with what it reads, and its checkpoint where the job keeps
/// any; `files` gets what it left.
std::optional<TaskOutcome> run_command(Market& market, Commands& commands, const services::KnownJob& job,
                                       const TaskCall& call, const Commands::Prints& prints,
                                       services::TaskFiles& files) {
  const auto not_started = [](const Error& error) {
    return TaskOutcome{.failure = JobFailure::not_started, .error = error.message};
  };
  PreparedFolder folder;
  if (!job.terms.project.empty()) {
    Result<PreparedFolder> prepared =
        project_folder(market, job.row.account, job.terms.project, job.row.revision);
    if (!prepared.ok()) return not_started(prepared.error());
    folder = *std::move(prepared);
  }
  Result<std::vector<runner::Input>> inputs = task_inputs(market, job.row.account, call.payload);
  if (!inputs.ok()) return not_started(inputs.error());
  std::optional<Checkpoint> checkpoint;
  if (job.terms.checkpoints) {
    Result<Checkpoint> opened =
        Checkpoint::open(market, call.job, call.index, job.terms.resumes, call.stopped);
    if (opened.reason() == Reason::stopped) return std::nullopt;
    if (!opened.ok()) return not_started(opened.error());
    checkpoint.emplace(*std::move(opened));
  }
  return commands.run(job, folder, checkpoint ? checkpoint->path() : std::string(), *std::move(inputs), call,
                      prints, [&](const runner::Ended& ended, TaskOutcome& how) {
                        if (how.failure == JobFailure::none) keep(market, ended, how, files);
                      });
}

Result<bool> perform(Market& market, const WorkerOptions& options, const Stopped& stopped,
                     const Stopped& enough, Commands* commands, const RunEnclosed& enclosed, Heart* heart) {
  const LeaseAsked asked{
      .worker = options.name,
      .host_wallet = options.host_wallet,
      .tasks = market.workshop().task_names(),
      .recipes = market.workshop().recipe_names(),
      .commands = commands != nullptr && commands->places().without_image(),
      .images = commands == nullptr ? std::vector<std::string>() : commands->places().images(),
      .has = options.has,
      .gpu_types = options.gpu_types,
      .tasks_max = options.tasks_max};
  services::Chores chores;
  CALYX_TRY(const Lease lease, market.write([&](Transaction& tx) {
    return services::lease_tasks(tx, Principal{}, asked, chores);
  }));
  if (lease.count != 0) market.workshop().tell();
  // Tasks that it has are done, whatever becomes of another job's end: the next lease finds that again.
  if (Result<Done> done = do_chores(market, chores.to_end); !done.ok() && lease.count == 0)
    return done.error();
  if (lease.count == 0) return !chores.to_end.empty();

  Holding holding(market, lease, heart);
  std::shared_ptr<const services::KnownJob> known;
  const Result<std::vector<json::Value>> payloads =
      market.history([&](store::MarketStore& store) -> Result<std::vector<json::Value>> {
        CALYX_TRY(known,
                  market.known_jobs().get(store, static_cast<services::JobNumber>(lease.job.number())));
        return services::payloads_of(store, *known, lease.first, lease.count);
      });
  if (!payloads.ok()) {
    static_cast<void>(holding->finish());  // others may read them, and sooner than the lease is over
    return payloads.error();
  }
  const TaskFunction run = function_of(market.workshop(), lease);
  const bool is_command = lease.work == word(services::WorkKind::command) && commands != nullptr;
  const std::int64_t timeout_ms = lease.timeout_s * 1'000;
  bool kept_checkpoints = false;
  for (std::uint64_t i = 0; i < lease.count && holding->stands() && !stopped() && !enough(); ++i) {
    const auto begun = steady_clock::now();
    // A process has its timeout from the runner; a function is asked to stop, and cannot be made to.
    const auto stops = [&] {
      return stopped() || holding.lost() || (!is_command && ms_since(begun) > timeout_ms);
    };
    services::TaskFiles files;
    const Attempt attempt{.job = lease.job, .task = lease.first + i, .number = lease.attempt};
    const TaskCall call{
        .job = lease.job,
        .index = lease.first + i,
        .attempt = lease.attempt,
        .payload = (*payloads)[i],
        .stopped = stops,
        .progress = [&](const json::Value& value) { holding->progress(value); },
        .artifact =
            [&](std::string_view id, std::size_t bytes_max) {
              return task_artifact(market, known->row.account, id, bytes_max);
            },
        .artifact_json =
            [&](std::string_view id, std::size_t bytes_max) {
              return task_artifact_json(market, known->row.account, id, bytes_max);
            },
        .leave = [&](std::string_view name,
                     std::string_view bytes) { return leave_file(market, name, bytes, files); },
        .enclosed = enclosed,
        .checkpoint = [&] { return kept_state(market, attempt); },
        .keep_checkpoint = [&](std::string_view bytes) -> Result<Done> {
          if (holding.lost()) return fail(Reason::stopped, "the job is over, or the task is somebody else's");
          kept_checkpoints = true;
          return keep_state(market, attempt, bytes);
        }};
    if (is_command) {
      std::optional<TaskOutcome> outcome = run_command(
          market, *commands, *known, call,
          [&](Printed printed) { holding->printed(call.index, std::move(printed)); }, files);
      if (!outcome) break;  // it is given back, or nobody's any more
      holding->add(*std::move(outcome), std::move(files));
      continue;
    }
    TaskOutcome outcome = run ? run_one(run, call)
                              : TaskOutcome{.failure = JobFailure::not_started,
                                            .error = "this process has no " + lease.work + " " + lease.name};
    // One that was asked to stop, and says that it could not go on, is somebody else's.
    if (outcome.failure != JobFailure::none && stopped()) break;
    if (outcome.ran_ms > timeout_ms)
      outcome = {.failure = JobFailure::timed_out,
                 .error = "ran " + std::to_string(outcome.ran_ms) + " ms, timeout_s is " +
                          std::to_string(lease.timeout_s),
                 .ran_ms = outcome.ran_ms};
    // Of one that failed nothing is kept.
    if (outcome.failure != JobFailure::none) files = {};
    holding->add(std::move(outcome), std::move(files));
  }
  const Result<Done> finished = holding->finish();
  // The job may have ended meanwhile, and what it kept been removed before the last was.
  if (kept_checkpoints || (is_command && known->terms.checkpoints))
    drop_checkpoints(market, known->row.number);
  CALYX_CHECK(finished);
  return true;
}

}  // namespace

TaskOutcome run_one(const TaskFunction& run, const TaskCall& call) {
  TaskOutcome out;
  const auto begun = steady_clock::now();
  try {
    Result<json::Value> result = run(call);
    if (!result.ok()) {
      out.failure = JobFailure::task_failed;
      out.error = result.error().message;
    } else if (!services::is_result(*result)) {
      out.failure = JobFailure::result_invalid;
      out.error = "the result has a NaN, an infinity or an integer beyond 2^53 - 1";
    } else {
      out.result = *std::move(result);
    }
  } catch (const std::bad_alloc&) {
    out.failure = JobFailure::out_of_memory;
    out.error = "no memory left";
  } catch (const std::exception& thrown) {
    out.failure = JobFailure::task_failed;
    out.error = thrown.what();
  } catch (...) {
    out.failure = JobFailure::task_failed;
    out.error = "it threw something that is no exception";
  }
  out.ran_ms = ms_since(begun);
  return out;
}

RunEnclosed callers_enclosed(Market& market) {
  return enclosed_by([&market] { return market.commands(); });
}

Result<Done> perform_until(Market& market, Commands* commands, bool heartbeats, const Stopped& stopped,
                           const Stopped& enough, const std::function<bool()>& over,
                           const std::function<Result<Done>()>& idle) {
  std::optional<Heart> heart;
  try {
    if (heartbeats) heart.emplace();
  } catch (const std::system_error&) {
    return fail(Reason::no_memory, "the system gives no thread more that would keep leases alive");
  }
  // A recipe may want a program of the host's where the job has no command.
  const RunEnclosed enclosed = callers_enclosed(market);
  while (!over()) {
    CALYX_TRY(const bool worked, perform(market, {.name = "caller"}, stopped, enough, commands, enclosed,
                                         heart ? &*heart : nullptr));
    if (!worked) CALYX_CHECK(idle());
  }
  return Done{};
}

}  // namespace engine

class Crew {
 public:
  Crew(Market& market, WorkerOptions options, std::unique_ptr<engine::Commands> commands)
      : market_(market), options_(std::move(options)), commands_(std::move(commands)) {}
  ~Crew() { stop(); }
  bool at_home() const noexcept { return pid_ == ::getpid(); }
  Result<Done> start() {
    try {
      heart_.emplace();
      while (threads_.size() < options_.threads) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      return fail(Reason::no_memory, "the system gives no thread more than " +
                                         std::to_string(threads_.size()) + " of the worker's " +
                                         std::to_string(options_.threads));
    }
    return Done{};
  }
  void ask_to_stop() noexcept {
    stop_ = true;
    market_.workshop().knock();
  }
  void stop() noexcept {
    ask_to_stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    heart_.reset();  // it kept alive what took its time to end
  }

 private:
  void work() {
    const RunEnclosed enclosed = engine::enclosed_by([this] { return Result(commands_.get()); });
    while (!stop_.load()) {
      const std::uint64_t heard = market_.workshop().heard();
      bool worked = false;
      try {
        const Result<bool> done = engine::perform(
            market_, options_, [this] { return stop_.load(); }, [] { return false; }, commands_.get(),
            enclosed, &*heart_);
        worked = done.ok() && *done;
      } catch (const std::bad_alloc&) {  // the next round may find some
      }
      // Other processes submit too, retries fall due, and a store that was busy is asked again.
      constexpr std::chrono::milliseconds look_again(200);
      if (!worked && !stop_.load()) market_.workshop().wait(heard, look_again);
    }
  }

  Market& market_;
  const pid_t pid_ = ::getpid();
  WorkerOptions options_;
  std::unique_ptr<engine::Commands> commands_;  ///< Null: it runs none.
  std::optional<engine::Heart> heart_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

Worker::Worker(std::unique_ptr<Crew> crew) : crew_(std::move(crew)) {}
Worker::Worker(Worker&&) noexcept = default;
Worker& Worker::operator=(Worker&& other) noexcept {
  if (this == &other) return *this;
  stop();
  crew_ = std::move(other.crew_);
  return *this;
}
Worker::~Worker() { stop(); }
void Worker::stop() noexcept {
  if (crew_ == nullptr) return;
  // A forked child has none of its threads, and what they waited for as it was made it would wait for without
  // end.
  if (!crew_->at_home())
    static_cast<void>(crew_.release());  // NOLINT: on purpose never given back
  else
    crew_->stop();
}
void Worker::ask_to_stop() noexcept {
  if (crew_ != nullptr && crew_->at_home()) crew_->ask_to_stop();
}

Result<Worker> Worker::start(Engine& engine, WorkerOptions options) {
  Market& market = *engine.market_;
  CALYX_CHECK(market.usable());
  CALYX_CHECK(services::check_key_text("/name", options.name, services::Empty::refused));
  if (options.threads < 1 || options.threads > 1024)
    return services::field_error(Reason::field_value, "/threads",
                                 "is " + std::to_string(options.threads) + ", takes 1 to 1024");
  if (options.tasks_max < 1 || options.tasks_max > services::lease_tasks_max)
    return services::field_error(Reason::field_value, "/tasks_max",
                                 "is " + std::to_string(options.tasks_max) + ", takes 1 to " +
                                     std::to_string(services::lease_tasks_max));
  std::unique_ptr<engine::Commands> commands;
  if (options.commands) {
    CALYX_TRY(commands, engine::Commands::open(*options.commands, options.has.gpu_count));
  }
  engine::sweep_checkpoints(market);  // of jobs that ended while nobody was there to see to it
  auto crew = std::make_unique<Crew>(market, std::move(options), std::move(commands));
  CALYX_CHECK(crew->start());
  return Worker(std::move(crew));
}

}  // namespace calyx
