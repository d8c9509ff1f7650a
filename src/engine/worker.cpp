#include <atomic>
#include <calyx/engine.hpp>
#include <chrono>
#include <list>
#include <thread>

#include "engine/market.hpp"
#include "engine/performing.hpp"

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

Result<Reported> report(Market& market, const Report& report) {
  services::Chores chores;
  Result<Reported> reported =
      market.write([&](Transaction& tx) { return services::report_tasks(tx, Principal{}, report, chores); });
  if (reported.ok()) {
    // The report stands, also where the job cannot end yet: the next lease tries that again.
    static_cast<void>(do_chores(market, chores.to_end));
    if (!report.outcomes.empty()) market.workshop().knock();
  }
  return reported;
}

/// Keeps the leases of this process alive while their tasks run, however long a task takes. One thread serves
/// all: it is started with the first lease that outlasts `heartbeat_every`'s third, and is the worker's.
class Heart {
 public:
  explicit Heart(Market& market) : market_(market) {}
  void beat_until(const std::atomic<bool>& stop);
  void add(std::int64_t token) {
    const std::lock_guard lock(mutex_);
    tokens_.push_back({token, steady_clock::now()});
  }
  void remove(std::int64_t token) {
    const std::lock_guard lock(mutex_);
    tokens_.remove_if([&](const Beat& beat) { return beat.token == token; });
  }
  bool lost(std::int64_t token) {
    const std::lock_guard lock(mutex_);
    for (const Beat& beat : tokens_)
      if (beat.token == token) return beat.lost;
    return true;
  }

 private:
  struct Beat {
    std::int64_t token = 0;
    steady_clock::time_point last;
    bool lost = false;
  };
  Market& market_;
  std::mutex mutex_;
  std::list<Beat> tokens_;
};

void Heart::beat_until(const std::atomic<bool>& stop) {
  while (!stop.load()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::vector<std::int64_t> due;
    {
      const std::lock_guard lock(mutex_);
      for (const Beat& beat : tokens_)
        if (!beat.lost && steady_clock::now() - beat.last >= heartbeat_every) due.push_back(beat.token);
    }
    for (const std::int64_t token : due) {
      const Result<Reported> beaten = report(market_, {.token = token});
      const std::lock_guard lock(mutex_);
      for (Beat& beat : tokens_)
        if (beat.token == token) {
          beat.last = steady_clock::now();
          beat.lost = beaten.reason() == Reason::lease_lost;
        }
    }
  }
}

/// Runs one task. Nothing of it passes but its outcome.
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

Result<bool> perform(Market& market, const WorkerOptions& options, const Stopped& stopped, Heart* heart) {
  LeaseAsked asked{.worker = options.name,
                   .host_wallet = options.host_wallet,
                   .tasks = market.workshop().task_names(),
                   .recipes = market.workshop().recipe_names(),
                   .has = options.has,
                   .gpu_types = options.gpu_types,
                   .tasks_max = options.tasks_max};
  services::Chores chores;
  CALYX_TRY(const Lease lease, market.write([&](Transaction& tx) {
    return services::lease_tasks(tx, Principal{}, asked, chores);
  }));
  // Tasks that it has are done, whatever becomes of another job's end: the next lease finds that again.
  if (Result<Done> done = do_chores(market, chores.to_end); !done.ok() && lease.count == 0)
    return done.error();
  if (lease.count == 0) return !chores.to_end.empty();

  TaskFunction run;
  if (const auto task = market.workshop().task(lease.name); lease.work == "task" && task != nullptr)
    run = *task;
  if (const auto recipe = market.workshop().recipe(lease.name); lease.work == "recipe" && recipe != nullptr)
    run = recipe->run;
  if (!run) run = [](const TaskCall&) { return fail(Reason::internal, "its function was taken away"); };

  const auto number = static_cast<services::JobNumber>(lease.job.number());
  CALYX_TRY(const std::vector<json::Value> payloads,
            market.history([&](store::MarketStore& store) -> Result<std::vector<json::Value>> {
              CALYX_TRY(const auto known, market.known_jobs().get(store, number));
              return services::payloads_of(store, *known, lease.first, lease.count);
            }));
  if (heart != nullptr) heart->add(lease.token);
  Report pending{.token = lease.token};
  auto reported_at = steady_clock::now();
  bool lost = false;
  Result<Done> done = Done{};
  std::optional<Error> unheard;
  const auto send = [&] {
    if ((pending.outcomes.empty() && !pending.gives_back) || lost) return;
    const Result<Reported> sent = report(market, pending);
    reported_at = steady_clock::now();
    unheard.reset();
    if (!sent.ok() && sent.error().status() == Status::unavailable) {
      unheard = sent.error();  // nothing was written: the same is told again, with what comes to it
      return;
    }
    pending.outcomes.clear();
    // Cancelled, or too late: what was done of it is lost, and charged to nobody.
    if (sent.reason() == Reason::lease_lost || (sent.ok() && sent->left == 0))
      lost = true;
    else if (!sent.ok())
      done = sent.error();
  };
  for (std::uint64_t i = 0; i < lease.count && !lost && done.ok() && !stopped(); ++i) {
    const auto begun = steady_clock::now();
    bool late = false;
    const TaskCall call{.job = lease.job,
                        .index = lease.first + i,
                        .attempt = lease.attempt,
                        .payload = payloads[i],
                        .stopped =
                            [&] {
                              late = late || ms_since(begun) > lease.timeout_s * 1'000;
                              return late || stopped() || (heart != nullptr && heart->lost(lease.token));
                            },
                        .progress = [](const json::Value&) {}};
    TaskOutcome outcome = run_one(run, call);
    if (outcome.ran_ms > lease.timeout_s * 1'000) {
      outcome.failure = JobFailure::timed_out;
      outcome.error =
          "ran " + std::to_string(outcome.ran_ms) + " ms, timeout_s is " + std::to_string(lease.timeout_s);
      outcome.result = {};
    }
    pending.outcomes.push_back(std::move(outcome));
    if (steady_clock::now() - reported_at >= report_every) send();
  }
  pending.gives_back = true;  // of what `stopped` left; nothing, of a lease that is done
  if (done.ok()) send();
  // A store that stays busy is asked for as long as the lease may last.
  for (const auto since = steady_clock::now(); unheard && ms_since(since) < lease_s * 1'000; send())
    std::this_thread::sleep_for(report_every);
  if (unheard) done = *std::move(unheard);
  if (heart != nullptr) heart->remove(lease.token);
  CALYX_CHECK(std::move(done));
  return true;
}

}  // namespace

Result<bool> perform_some(Market& market, const WorkerOptions& options, const Stopped& stopped) {
  return perform(market, options, stopped, nullptr);
}

}  // namespace engine

class Worker::Inside {
 public:
  Inside(Market& market, WorkerOptions options)
      : market_(market), options_(std::move(options)), heart_(market) {}
  ~Inside() { stop(); }
  void start() {
    threads_.emplace_back([this] { heart_.beat_until(stop_); });
    for (unsigned i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
  }
  void stop() noexcept {
    stop_ = true;
    market_.workshop().knock();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void work() {
    while (!stop_.load()) {
      const std::uint64_t heard = market_.workshop().heard();
      bool worked = false;
      try {
        const Result<bool> done = engine::perform(
            market_, options_, [this] { return stop_.load(); }, &heart_);
        worked = done.ok() && *done;
      } catch (const std::bad_alloc&) {  // the next round may find some
      }
      // Other processes submit too, retries fall due, and a store that was busy is asked again.
      constexpr std::chrono::milliseconds look_again(200);
      if (!worked && !stop_.load()) market_.workshop().wait(heard, look_again);
    }
  }

  Market& market_;
  WorkerOptions options_;
  engine::Heart heart_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

Worker::Worker(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Worker::Worker(Worker&&) noexcept = default;
Worker& Worker::operator=(Worker&&) noexcept = default;
Worker::~Worker() = default;
void Worker::stop() noexcept {
  if (inside_ != nullptr) inside_->stop();
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
  auto inside = std::make_unique<Inside>(market, std::move(options));
  inside->start();
  return Worker(std::move(inside));
}

}  // namespace calyx
