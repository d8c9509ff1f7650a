/// \file
/// Jobs against a model of them: a few hundred lines that know no file, no transaction and no clock but the
/// test's. Markets live through random submits, leases, reports, losses and ends, and after each step both
/// must say the same of every job that was touched and of everybody's money.
///
/// A fault names its seed. `CALYX_TEST_JOB_SEED` runs the market of that seed alone.
#include <algorithm>
#include <calyx/core/fee.hpp>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>

#include "engine/job_market.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::by_scale;
using testing::Dice;
using testing::JobMarket;
namespace json = core::json;

namespace {

constexpr std::int64_t us_per_ms = 1'000;
constexpr std::int64_t lease_us = lease_s * core::us_per_second;
constexpr std::size_t live_jobs_max = 10;
constexpr std::size_t leases_max = 24;  // fewer than an engine takes back in one call

enum class At : std::uint8_t { fresh, leased, retrying, completed, failed };

struct ModelTask {
  At at = At::fresh;
  std::int64_t attempts = 0, lost = 0;
  std::int64_t due_least = 0, due_most = 0;  ///< Of a retry, whose delay the engine's dice have.
  std::int64_t result = 0;
};

struct ModelJob {
  JobId id{};
  std::size_t payer = 0;
  JobPriority priority = JobPriority::normal;
  std::int64_t rate = 0, hold = 0, timeout_s = 0, retries = 0, parallel = 0, deadline_s = 0, ttl_s = 0;
  std::optional<std::int64_t> failed_most;
  std::int64_t at_us = 0;
  std::vector<ModelTask> tasks;
  std::vector<std::size_t> downstream;
  std::size_t waiting = 0;
  JobStatus status = JobStatus::queued;
  JobFailure failure = JobFailure::none;
  std::uint64_t fresh = 0;
  bool started = false;
  std::map<std::size_t, std::int64_t> charged_for;  ///< What each host's workers were.
  std::int64_t charged = 0, ran_ms = 0, attempts = 0;
  bool idempotent = false;
  std::int64_t copies = 0;            ///< Tasks that are in two leases.
  std::vector<std::int64_t> took_ms;  ///< What the completed ones took, while nobody knows their buckets.
  std::string key;
  json::Object asked;

  std::uint64_t count(At at) const {
    return static_cast<std::uint64_t>(
        std::count_if(tasks.begin(), tasks.end(), [&](const ModelTask& task) { return task.at == at; }));
  }
  bool over() const {
    return failure != JobFailure::none || count(At::completed) + count(At::failed) == tasks.size();
  }
  bool to_lease() const {
    return !is_terminal(status) && !over() && waiting == 0 &&
           (fresh < tasks.size() || count(At::retrying) > 0 || nears_its_end());
  }
  /// Whether what runs may be handed out once more.
  bool nears_its_end() const {
    return idempotent && tasks.size() > 10 && count(At::leased) > static_cast<std::uint64_t>(copies) &&
           4 * (count(At::completed) + count(At::failed)) >= 3 * tasks.size();
  }
  bool room() const { return parallel == 0 || busy() < parallel; }
  /// Its tasks with workers; one that two have counts twice.
  std::int64_t busy() const { return static_cast<std::int64_t>(count(At::leased)) + copies; }
  std::int64_t each() const { return (rate * timeout_s * 1'000 + 999) / 1'000; }
  std::int64_t free() const { return hold - charged - each() * busy(); }
};

struct ModelLease {
  std::int64_t token = 0;
  std::size_t job = 0;
  std::uint64_t first = 0, count = 0;
  std::int64_t attempt = 1, lost = 0, since = 0, expires = 0;
  std::size_t host = 0;
  std::string worker{};
  bool copied = false;
};

class World {
 public:
  World(std::uint64_t seed, const std::string& path)
      : dice_(seed), drawn_(~seed), path_(path), market_(std::make_unique<JobMarket>(options())) {
    // `JobMarket` made a payer of its own; these are known to the micro.
    for (const char* name : {"one", "two"}) {
      payers_.push_back(market_->all.create_wallet({.owner_id = name}).value().wallet.id);
      balances_.push_back(0);
      held_.push_back(0);
    }
    for (const char* name : {"red", "blue"}) {
      hosts_.push_back(market_->all.create_wallet({.owner_id = name}).value().wallet.id);
      earned_.push_back(0);
    }
    fund(0, 50'000'000);
    fund(1, 50'000);  // poor: some submits are more than it has
    market_->price(500);
    rate_ = 500;
  }

  /// Empty as long as all is well.
  std::string live(std::uint64_t steps) {
    for (step_ = 0; step_ < steps && fault_.empty(); ++step_) {
      step();
      compare();
    }
    drive_to_the_end();
    return fault_;
  }
  std::uint64_t jobs() const { return jobs_.size(); }
  const std::map<std::string, std::uint64_t>& seen() const { return seen_; }

 private:
  /// Tokens and pauses come from the seed too, so that a market lives the same life again.
  Options options() {
    Options out;
    out.path = path_;
    out.random = [this](void* to, std::size_t bytes) {
      auto* octets = static_cast<unsigned char*>(to);
      for (std::size_t i = 0; i < bytes; ++i) octets[i] = static_cast<unsigned char>(drawn_.next() >> 56);
      return true;
    };
    return out;
  }
  std::int64_t now() const { return market_->now_us; }
  bool wrong(const std::string& what) {
    if (fault_.empty()) fault_ = "step " + std::to_string(step_) + ", " + doing_ + ": " + what;
    return false;
  }
  bool same(const std::string& what, std::int64_t is, std::int64_t expected) {
    return is == expected ||
           wrong(what + " is " + std::to_string(is) + ", the model says " + std::to_string(expected));
  }
  void saw(const char* what) { ++seen_[what]; }

  // ── what happens ──

  void step() {
    const std::uint64_t roll = dice_.below(100);
    if (roll < 12) return submit();
    if (roll < 40) return lease();
    if (roll < 78) return report();
    if (roll < 81) return cancel();
    if (roll < 90) return pass();
    if (roll < 96) return beat();
    if (roll < 97) return change_prices();
    if (roll < 98) return fund(dice_.below(2), static_cast<std::int64_t>(1 + dice_.below(100'000)));
    if (roll < 99) return stale_report();
    reopen();
  }

  void fund(std::size_t payer, std::int64_t micro) {
    doing_ = "topup";
    if (!market_->all.topup({.wallet = payers_[payer], .amount = Money{micro}}).ok()) wrong("refused");
    balances_[payer] += micro;
  }

  void change_prices() {
    doing_ = "prices";
    rate_ = dice_.below(3) == 0 ? 0 : static_cast<std::int64_t>(1 + dice_.below(2'000));
    if (!market_->all.set_prices({.base = Money{rate_}}).ok()) wrong("refused");
  }

  void pass() {
    doing_ = "time";
    constexpr std::int64_t spans_ms[] = {1, 7, 500, 3'000, 12'000, 31'000, 70'000, 301'000, 1'000'000};
    market_->now_us +=
        static_cast<std::int64_t>(
            dice_.below(static_cast<std::uint64_t>(spans_ms[dice_.below(std::size(spans_ms))] * us_per_ms))) +
        1;
  }

  void reopen() {
    doing_ = "reopening";
    if (path_.empty()) return;
    market_->engine = Engine::open(market_->with_clock(options())).value();
    market_->all = market_->engine.as_operator();
    saw("reopened");
  }

  void submit() {
    doing_ = "submit";
    if (live_.size() >= live_jobs_max) return;
    if (!jobs_.empty() && dice_.below(12) == 0) return submit_again();
    ModelJob job;
    job.tasks.resize(1 + dice_.below(dice_.coin() ? 4 : 30));
    job.idempotent = dice_.coin();
    if (job.idempotent) job.tasks.resize(job.tasks.size() + dice_.below(12));
    job.payer = dice_.below(4) == 0 ? 1 : 0;
    job.rate = rate_;
    // Those that may have backups run for long enough to be late.
    job.timeout_s = static_cast<std::int64_t>(1 + dice_.below(60)) + (job.idempotent ? 30 : 0);
    job.retries = static_cast<std::int64_t>(dice_.below(3));
    job.at_us = now();
    job.asked = JobMarket::job(static_cast<std::int64_t>(job.tasks.size()));
    job.asked.set("timeout_s", job.timeout_s).set("max_retries", job.retries);
    job.asked.set("idempotent", job.idempotent);
    job.priority = static_cast<JobPriority>(dice_.below(3));
    job.asked.set("priority", word(job.priority));
    const auto worst =
        static_cast<std::int64_t>(job.tasks.size()) * (job.retries + 1) * job.timeout_s * rate_;
    job.hold = worst;
    if (dice_.below(3) == 0) {
      const auto most = static_cast<std::int64_t>(1 + dice_.below(static_cast<std::uint64_t>(worst) + 1));
      job.asked.set("max_cost", core::wire_text(Money{most}));
      job.hold = std::min(worst, most);
    }
    if (dice_.below(4) == 0) {
      job.parallel = static_cast<std::int64_t>(1 + dice_.below(6));
      job.asked.set("max_parallel", job.parallel);
    }
    if (dice_.below(4) == 0) {
      job.failed_most = static_cast<std::int64_t>(dice_.below(3));
      job.asked.set("max_failed_tasks", *job.failed_most);
    }
    if (dice_.below(6) == 0) {
      job.deadline_s = static_cast<std::int64_t>(1 + dice_.below(900));
      job.asked.set("deadline_s", job.deadline_s);
    }
    if (dice_.below(6) == 0) {
      job.ttl_s = static_cast<std::int64_t>(1 + dice_.below(300));
      job.asked.set("queue_ttl_s", job.ttl_s);
    }
    std::set<std::size_t> before;
    bool dead = false;
    if (!jobs_.empty() && dice_.below(4) == 0) {
      json::Array ids;
      for (std::uint64_t i = 1 + dice_.below(3); i > 0; --i) {
        // Of the youngest, so that most are still under way; twice the same is the same.
        const std::size_t upstream = jobs_.size() - 1 - dice_.below(std::min<std::size_t>(jobs_.size(), 8));
        ids.emplace_back(jobs_[upstream].id.text());
        const JobStatus status = jobs_[upstream].status;
        if (!is_terminal(status))
          before.insert(upstream);
        else
          dead = dead || status != JobStatus::completed;
      }
      job.asked.set("depends_on", json::Value(std::move(ids)));
    }
    if (dice_.coin()) job.key = "key-" + std::to_string(step_);
    const Result<JobSubmitted> submitted =
        market_->all.submit_job({.job = job.asked, .wallet = payers_[job.payer], .idempotency_key = job.key});
    if (dead) {
      saw("submits after what cannot complete");
      if (submitted.reason() != Reason::field_value) wrong("after a job that failed it was not refused");
      return;
    }
    if (job.hold > balances_[job.payer]) {
      saw("submits that nobody can pay");
      if (submitted.reason() != Reason::insufficient_balance)
        wrong("it holds more than there is, and was not refused for it");
      return;
    }
    if (!submitted.ok()) {
      wrong("refused: " + submitted.error().message);
      return;
    }
    same("the hold", submitted->estimate.hold.micro, job.hold);
    job.id = submitted->id;
    job.waiting = before.size();
    job.status = before.empty() ? JobStatus::queued : JobStatus::planning;
    balances_[job.payer] -= job.hold;
    held_[job.payer] += job.hold;
    for (const std::size_t upstream : before) jobs_[upstream].downstream.push_back(jobs_.size());
    touched_.insert(jobs_.size());
    live_.insert(jobs_.size());
    jobs_.push_back(std::move(job));
    saw("jobs");
  }

  void submit_again() {
    ModelJob& job = jobs_[dice_.below(jobs_.size())];
    if (job.key.empty()) return;
    json::Object asked = job.asked;
    const bool other = dice_.coin();
    if (other) asked.set("timeout_s", job.timeout_s + 1);
    const Result<JobSubmitted> again = market_->all.submit_job(
        {.job = std::move(asked), .wallet = payers_[job.payer], .idempotency_key = job.key});
    saw("submits again");
    if (other) {
      if (again.reason() != Reason::key_reused) wrong("a key was taken for another job");
    } else if (!again.ok() || !again->replayed || again->id != job.id) {
      wrong("the same submit made another job");
    }
  }

  // ── the model's own rules ──

  void charge(ModelJob& job, std::size_t host, std::int64_t ms) {
    const std::int64_t cost = (job.rate * ms + 999) / 1'000;
    job.charged += cost;
    if (cost != 0) job.charged_for[host] += cost;
    if (job.rate != 0) job.ran_ms += ms;
    ++job.attempts;
  }

  /// The lease that has the one task of `lease` too.
  const ModelLease* other_copy(const ModelLease& lease) const {
    for (const auto& [token, other] : leases_)
      if (token != lease.token && other.job == lease.job && other.first == lease.first && lease.count > 0)
        return &other;
    return nullptr;
  }

  void keep_failure(ModelJob& job, ModelTask& task, std::int64_t attempt, std::int64_t lost, bool workers) {
    lost += workers ? 1 : 0;
    const bool again = workers ? lost <= core::infrastructure_retries_max : attempt <= job.retries;
    if (!again) {
      task.at = At::failed;
      task.attempts = attempt;
      return;
    }
    task.at = At::retrying;
    task.attempts = attempt - (workers ? 1 : 0);
    task.lost = lost;
    const std::int64_t tries = workers ? lost : attempt;
    const std::int64_t bound = std::min(core::retry_cap_ms, core::retry_base_ms << (tries - 1));
    task.due_least = now();
    task.due_most = now() + (bound - 1) * us_per_ms;
  }

  /// How long a task may go without an outcome, though its worker be heard.
  std::int64_t silence(const ModelLease& lease) const {
    return jobs_[lease.job].timeout_s * core::us_per_second + lease_us;
  }
  bool hung(const ModelLease& lease) const { return lease.expires - lease.since >= silence(lease); }
  void heard(ModelLease& lease) { lease.expires = std::min(now() + lease_us, lease.since + silence(lease)); }
  std::int64_t waited_s(const ModelJob& job) const { return (now() - job.at_us) / core::us_per_second; }
  /// What somebody who reports finds: only a deadline can have come since its job was started.
  bool end_overdue(std::size_t number) {
    const ModelJob& job = jobs_[number];
    if (job.failure != JobFailure::none || job.deadline_s == 0 || waited_s(job) < job.deadline_s)
      return false;
    saw("deadlines passed while tasks ran");
    give_up(number, JobFailure::deadline_passed);
    return true;
  }

  /// Takes its tasks from their workers. A lease that is late is lost already, and nobody pays for it.
  void give_up(std::size_t number, JobFailure failure) {
    ModelJob& job = jobs_[number];
    job.failure = failure;
    // Of two copies one is charged: the one that ran longer, or that has the greater token.
    struct Ran {
      std::int64_t ms = 0;
      std::size_t host = 0;
    };
    std::map<std::uint64_t, Ran> ran;
    for (auto lease = leases_.begin(); lease != leases_.end();) {
      if (lease->second.job != number) {
        ++lease;
        continue;
      }
      Ran this_one{.host = lease->second.host};
      if (lease->second.expires >= now() || hung(lease->second))
        this_one.ms = std::max<std::int64_t>((now() - lease->second.since) / us_per_ms, 0);
      else
        saw("late leases of jobs that end");
      Ran& longest = ran[lease->second.first];
      if (this_one.ms >= longest.ms) longest = this_one;
      stale_.push_back(lease->first);
      lease = leases_.erase(lease);
    }
    for (const auto& [first, one] : ran) charge(job, one.host, std::min(one.ms, job.timeout_s * 1'000));
    if (job.copies != 0) saw("jobs given up with backups");
    job.copies = 0;
    for (ModelTask& task : job.tasks)
      if (task.at == At::leased || task.at == At::retrying) task.at = At::fresh;
    saw("jobs given up");
  }

  void judge_failures(std::size_t number) {
    const ModelJob& job = jobs_[number];
    if (job.failure == JobFailure::none && job.failed_most &&
        job.count(At::failed) > static_cast<std::uint64_t>(*job.failed_most))
      give_up(number, JobFailure::too_many_failures);
  }

  void end(std::size_t number, JobStatus status) {
    ModelJob& job = jobs_[number];
    job.status = status;
    held_[job.payer] -= job.hold;
    balances_[job.payer] += job.hold - job.charged;
    for (const auto& [host, gross] : job.charged_for)
      earned_[host] += core::split_fee(Money{gross}, fee_).net.micro;
    if (job.charged_for.size() > 1) saw("jobs of several hosts");
    touched_.insert(number);
    live_.erase(number);
    if (job.charged > job.hold) wrong("the model charges more than is held");
    for (const std::size_t other : job.downstream) {
      ModelJob& after = jobs_[other];
      if (is_terminal(after.status)) continue;
      touched_.insert(other);
      if (status == JobStatus::completed) {
        if (--after.waiting == 0) after.status = JobStatus::queued;
        continue;
      }
      after.failure = JobFailure::dependency_failed;
      saw("jobs ended by what they depend on");
      end(other, JobStatus::failed);
    }
  }

  /// Ends what is over and has nothing with a worker.
  void end_if_over(std::size_t number) {
    ModelJob& job = jobs_[number];
    if (is_terminal(job.status) || !job.over() || job.count(At::leased) != 0) return;
    const std::uint64_t completed = job.count(At::completed);
    JobStatus status = completed == 0 ? JobStatus::failed : JobStatus::partial;
    if (job.failure == JobFailure::none && job.count(At::failed) == 0) status = JobStatus::completed;
    end(number, status);
  }

  // ── leases ──

  void take_back_late() {
    std::vector<ModelLease> late;
    for (const auto& [token, lease] : leases_)
      if (lease.expires < now()) late.push_back(lease);
    std::sort(late.begin(), late.end(), [](const ModelLease& a, const ModelLease& b) {
      return std::pair(a.expires, a.token) < std::pair(b.expires, b.token);
    });
    for (const ModelLease& lease : late) {
      if (leases_.erase(lease.token) == 0) continue;  // its job has been given up meanwhile
      stale_.push_back(lease.token);
      ModelJob& job = jobs_[lease.job];
      touched_.insert(lease.job);
      if (other_copy(lease) != nullptr) {
        saw("copies lost");
        --job.copies;
        continue;
      }
      if (hung(lease)) {
        saw("tasks that hang");
        charge(job, lease.host, job.timeout_s * 1'000);
        keep_failure(job, job.tasks[lease.first], lease.attempt, lease.lost, false);
        give_back(job, {.first = lease.first + 1,
                        .count = lease.count - 1,
                        .attempt = lease.attempt,
                        .lost = lease.lost});
      } else {
        saw("leases lost");
        for (std::uint64_t i = 0; i < lease.count; ++i)
          keep_failure(job, job.tasks[lease.first + i], lease.attempt, lease.lost, true);
      }
      judge_failures(lease.job);
      over_.insert(lease.job);
    }
  }

  /// Makes tasks free again, as if nobody had tried them.
  void give_back(ModelJob& job, const ModelLease& lease) {
    const bool unseen = lease.attempt == 1 && lease.lost == 0 && lease.first + lease.count == job.fresh;
    for (std::uint64_t i = 0; i < lease.count; ++i) {
      ModelTask& task = job.tasks[lease.first + i];
      task.at = unseen ? At::fresh : At::retrying;
      task.attempts = lease.attempt - 1;
      task.lost = lease.lost;
      task.due_least = task.due_most = now();
    }
    if (unseen) job.fresh = lease.first;
  }

  struct Chance {
    bool certain = false, possible = false;
    std::uint64_t fresh = 0;
    bool retry_certain = false;
    std::optional<std::int64_t> straggler;  ///< Its token.
  };
  /// Whether `worker` may get something of the job, once what is late or too dear has been given up.
  Chance chance_of(std::size_t number, std::uint64_t most, const std::string& worker) const {
    const ModelJob& job = jobs_[number];
    Chance out;
    if (!job.to_lease()) return out;
    if (job.each() > 0 && job.each() > job.free()) return out;
    const bool room = job.room();
    bool retry_possible = false;
    for (const ModelTask& task : job.tasks) {
      if (task.at != At::retrying || !room) continue;
      retry_possible = retry_possible || task.due_least <= now();
      out.retry_certain = out.retry_certain || task.due_most <= now();
    }
    out.fresh = std::min<std::uint64_t>(most, job.tasks.size() - job.fresh);
    if (job.parallel != 0)
      out.fresh = room ? std::min(out.fresh, static_cast<std::uint64_t>(job.parallel - job.busy())) : 0;
    if (job.each() > 0) out.fresh = std::min(out.fresh, static_cast<std::uint64_t>(job.free() / job.each()));
    // So that the last ones are left for all, of what takes its time.
    if (job.attempts > 0 && job.ran_ms / job.attempts >= 10 && leases_of(number) != 0)
      out.fresh = std::min(out.fresh, half_shared(job.tasks.size() - job.fresh, leases_of(number) + 1));
    if (out.fresh == 0 && room && job.nears_its_end()) out.straggler = straggler_of(number, worker);
    out.certain = out.retry_certain || out.fresh > 0 || out.straggler.has_value();
    out.possible = retry_possible || out.fresh > 0 || out.straggler.has_value();
    return out;
  }
  static std::uint64_t half_shared(std::uint64_t left, std::uint64_t workers) {
    return (left + 2 * workers - 1) / (2 * workers);
  }
  std::uint64_t leases_of(std::size_t number) const {
    return static_cast<std::uint64_t>(std::count_if(
        leases_.begin(), leases_.end(), [&](const auto& one) { return one.second.job == number; }));
  }
  /// The lease that has run longest of those that are so late that `worker` may have their task too.
  std::optional<std::int64_t> straggler_of(std::size_t number, const std::string& worker) const {
    std::vector<std::int64_t> took = jobs_[number].took_ms;
    if (took.size() < 10) return std::nullopt;
    std::sort(took.begin(), took.end());
    const std::int64_t p75 = took[took.size() - took.size() / 4 - 1];
    // Durations are kept in buckets, four to a doubling; a straggler is judged by its bucket's longest.
    const std::int64_t longest = core::longest_in(core::duration_bucket(p75));
    const std::int64_t after_us = std::max<std::int64_t>(2 * longest, 30'000) * us_per_ms;
    const ModelLease* found = nullptr;
    for (const auto& [token, lease] : leases_) {
      if (lease.job != number || lease.count != 1 || lease.copied || lease.worker == worker) continue;
      if (lease.expires < now() || now() - lease.since <= after_us) continue;
      if (found == nullptr || std::pair(lease.since, lease.first) < std::pair(found->since, found->first))
        found = &lease;
    }
    return found == nullptr ? std::nullopt : std::optional(found->token);
  }

  void lease() {
    if (leases_.size() >= leases_max) return;
    lease(dice_.below(5) == 0 ? 1 : 0, 1 + dice_.below(dice_.coin() ? 2 : 12), dice_.coin() ? "w" : "v");
  }
  void lease(std::size_t host, std::uint64_t most, const std::string& worker) {
    doing_ = "lease";
    const Result<Lease> got = market_->all.lease_tasks(
        {.worker = worker, .host_wallet = hosts_[host], .tasks = {"work"}, .tasks_max = most});
    if (!got.ok()) {
      wrong("refused: " + got.error().message);
      return;
    }
    over_.clear();
    take_back_late();
    const std::size_t given_up_before = seen_["jobs given up"];
    const std::set<std::size_t> live = live_;
    for (const std::size_t number : live) {
      ModelJob& job = jobs_[number];
      if (!job.to_lease()) continue;
      if (job.deadline_s != 0 && waited_s(job) >= job.deadline_s) {
        saw("deadlines passed");
        give_up(number, JobFailure::deadline_passed);
      } else if (job.ttl_s != 0 && !job.started && waited_s(job) >= job.ttl_s) {
        saw("queues expired");
        give_up(number, JobFailure::queue_expired);
      } else if (job.each() > 0 && job.each() > job.free() && job.count(At::leased) == 0) {
        saw("budgets exhausted");
        give_up(number, JobFailure::budget_exhausted);
      } else {
        continue;
      }
      over_.insert(number);
    }
    // A job that lost its tasks just now changes how many its account has, and the order by that.
    take(*got, host, most, worker, seen_["jobs given up"] == given_up_before);
    for (const std::size_t number : std::set<std::size_t>(over_)) {
      touched_.insert(number);
      end_if_over(number);
    }
  }

  core::Waiting waiting_of(std::size_t number) const {
    const ModelJob& job = jobs_[number];
    std::uint64_t running = 0;
    for (const std::size_t other : live_)
      if (jobs_[other].payer == job.payer) running += jobs_[other].count(At::leased);
    return {.number = static_cast<std::int64_t>(number),
            .priority = job.priority,
            .since = Instant{job.at_us},
            .running_account = running};
  }

  /// What the engine handed out must be what one may have, and nothing that goes before it.
  void take(const Lease& got, std::size_t host, std::uint64_t most, const std::string& worker, bool ordered) {
    std::optional<std::size_t> chosen;
    for (const std::size_t number : live_)
      if (got.count != 0 && jobs_[number].id == got.job) chosen = number;
    if (got.count != 0 && !chosen) {
      wrong("a job that has ended was handed out");
      return;
    }
    for (const std::size_t number : live_) {
      if (!chosen && chance_of(number, most, worker).certain)
        wrong("job " + std::to_string(number) + " was not handed out");
      if (chosen && ordered && number != *chosen && chance_of(number, most, worker).certain &&
          core::before(waiting_of(number), waiting_of(*chosen), Instant{now()}))
        wrong("job " + std::to_string(number) + " goes before job " + std::to_string(*chosen));
    }
    if (!chosen) return;
    ModelJob& job = jobs_[*chosen];
    const Chance chance = chance_of(*chosen, most, worker);
    if (!chance.possible) {
      wrong("a job that has nothing to hand out was handed out");
      return;
    }
    if (got.first + got.count > job.tasks.size()) {
      wrong("tasks that the job has not were handed out");
      return;
    }
    ModelTask& first = job.tasks[got.first];
    ModelLease lease{.token = got.token,
                     .job = *chosen,
                     .first = got.first,
                     .count = got.count,
                     .since = now(),
                     .expires = now() + lease_us,
                     .host = host,
                     .worker = worker};
    const bool copy = first.at == At::leased;
    if (copy) {
      saw("backups");
      if (chance.retry_certain || chance.fresh > 0) wrong("a backup was handed out before a task");
      if (!chance.straggler || leases_.at(*chance.straggler).first != got.first) {
        wrong("task " + std::to_string(got.first) + " is none to back up");
        return;
      }
      same("the size of a backup", static_cast<std::int64_t>(got.count), 1);
      ModelLease& straggler = leases_.at(*chance.straggler);
      lease.attempt = straggler.attempt;
      lease.lost = straggler.lost;
      lease.copied = straggler.copied = true;
      ++job.copies;
    } else if (first.at == At::retrying) {
      saw("tries again");
      same("the size of a retry", static_cast<std::int64_t>(got.count), 1);
      // How long it waits is in the engine's dice; hardly one in a thousand waits less than a millisecond.
      if (first.due_least != first.due_most && now() < first.due_least + us_per_ms)
        saw("tries again at once");
      lease.attempt = first.attempts + 1;
      lease.lost = first.lost;
    } else {
      if (chance.retry_certain) wrong("a retry that is due was passed over");
      same("the first task", static_cast<std::int64_t>(got.first), static_cast<std::int64_t>(job.fresh));
      same("how many tasks", static_cast<std::int64_t>(got.count), static_cast<std::int64_t>(chance.fresh));
      job.fresh += got.count;
    }
    same("the attempt", got.attempt, lease.attempt);
    same("the end of the lease", got.expires_at.us, lease.expires);
    for (std::uint64_t i = 0; i < got.count; ++i) {
      ModelTask& task = job.tasks[got.first + i];
      if (!copy && task.at != At::fresh && task.at != At::retrying) wrong("a task was handed out twice");
      task.at = At::leased;
    }
    job.status = JobStatus::running;
    job.started = true;
    if (!leases_.emplace(lease.token, lease).second) wrong("a token was drawn twice");
    touched_.insert(*chosen);
    saw("leases");
  }

  // ── reports ──

  void report() {
    if (leases_.empty()) return;
    auto it = leases_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(dice_.below(leases_.size())));
    const ModelLease& lease = it->second;
    std::uint64_t outcomes = 0;
    bool back = false;
    switch (dice_.below(8)) {
      case 0: break;  // a heartbeat
      case 1: outcomes = lease.count + 1; break;
      case 2: back = true; break;
      case 3: back = true; [[fallthrough]];
      case 4: outcomes = 1 + dice_.below(lease.count); break;
      default: outcomes = lease.count;
    }
    // Some take a part of their time before they say it, some say more than the clock does.
    if (dice_.coin()) market_->now_us += static_cast<std::int64_t>(dice_.below(9'000)) * us_per_ms;
    report(lease.token, outcomes, back, dice_.below(4) == 0);
  }

  /// Everybody is heard for a while, and nobody gets anywhere.
  void beat() {
    for (int i = 0; i < 4; ++i) {
      market_->now_us += static_cast<std::int64_t>(dice_.below(25'000)) * us_per_ms;
      std::vector<std::int64_t> tokens;
      for (const auto& [token, lease] : leases_) tokens.push_back(token);
      for (const std::int64_t token : tokens) report(token, 0, false, false);
    }
    for (int i = 0; i < 3; ++i) lease();
  }

  void report(std::int64_t token, std::uint64_t outcomes, bool back, bool failing) {
    doing_ = "report";
    const auto found = leases_.find(token);
    Report asked{.token = token, .gives_back = back};
    for (std::uint64_t i = 0; i < outcomes; ++i) {
      TaskOutcome outcome{.result = json::Value(static_cast<std::int64_t>(dice_.below(1'000'000))),
                          .ran_ms = static_cast<std::int64_t>(dice_.below(20'000)) - 100};
      constexpr JobFailure failures[] = {JobFailure::task_failed, JobFailure::timed_out,
                                         JobFailure::not_started, JobFailure::result_missing};
      if (failing && dice_.below(3) != 0) outcome.failure = failures[dice_.below(std::size(failures))];
      // The first integer that readers of doubles may change is no result.
      if (failing && dice_.below(12) == 0) outcome.result = json::Value(std::int64_t{1} << 53);
      asked.outcomes.push_back(std::move(outcome));
    }
    const Result<Reported> got = market_->all.report_tasks(asked);
    if (found == leases_.end() || found->second.expires < now()) {
      saw("late reports");
      if (got.reason() != Reason::lease_lost) wrong("a lease that is over was reported on");
      return;
    }
    ModelLease& lease = found->second;
    const std::size_t number = lease.job;
    ModelJob& job = jobs_[number];
    touched_.insert(number);
    if (outcomes > lease.count) {
      if (got.reason() != Reason::field_value) wrong("more outcomes were taken than the lease has tasks");
      return;
    }
    if (!got.ok()) {
      wrong("refused: " + got.error().message);
      return;
    }
    saw("reports");
    if (outcomes == 0 && !back) {
      heard(lease);
      const std::int64_t left = static_cast<std::int64_t>(lease.count);
      same("the end of the lease", got->expires_at.us, lease.expires);
      const bool late = end_overdue(number);
      same("what is left", static_cast<std::int64_t>(got->left), late ? 0 : left);
      end_if_over(number);
      return;
    }
    std::int64_t wall_ms = (now() - lease.since) / us_per_ms + static_cast<std::int64_t>(outcomes);
    for (const TaskOutcome& outcome : asked.outcomes) {
      ModelTask& task = job.tasks[lease.first];
      JobFailure failure = outcome.failure;
      if (failure == JobFailure::none && *outcome.result.integer() == std::int64_t{1} << 53)
        failure = JobFailure::result_invalid;
      if (const ModelLease* other = other_copy(lease)) {
        --job.copies;
        if (failure != JobFailure::none) {
          saw("copies that failed");
          ++lease.first;
          --lease.count;
          continue;
        }
        saw(other->since < lease.since ? "backups that won" : "backups that lost");
        stale_.push_back(other->token);
        leases_.erase(other->token);
      }
      const bool workers = failure == JobFailure::not_started;
      if (!workers) {
        const std::int64_t ms =
            std::clamp<std::int64_t>(outcome.ran_ms, 0, std::min(wall_ms, job.timeout_s * 1'000));
        wall_ms -= ms;
        charge(job, lease.host, ms);
        if (failure == JobFailure::none) job.took_ms.push_back(ms);
      }
      if (failure == JobFailure::none) {
        task.at = At::completed;
        task.result = *outcome.result.integer();
        saw("tasks completed");
      } else {
        keep_failure(job, task, lease.attempt, lease.lost, workers);
      }
      ++lease.first;
      --lease.count;
    }
    lease.since = now();
    heard(lease);
    same("the end of the lease", got->expires_at.us, lease.expires);
    if (back) {
      saw("leases given back");
      if (other_copy(lease) != nullptr) {
        saw("copies given back");
        --job.copies;
      } else {
        give_back(job, lease);
      }
    }
    const std::uint64_t left = back ? 0 : lease.count;
    if (left == 0) {
      stale_.push_back(token);
      leases_.erase(token);
    }
    judge_failures(number);
    if (job.count(At::completed) + job.count(At::failed) < job.tasks.size()) end_overdue(number);
    same("what is left", static_cast<std::int64_t>(got->left),
         static_cast<std::int64_t>(job.failure == JobFailure::none ? left : 0));
    end_if_over(number);
  }

  void stale_report() {
    const bool drawn = stale_.empty() || dice_.coin();
    const auto token =
        drawn ? static_cast<std::int64_t>(dice_.next() >> 11) : stale_[dice_.below(stale_.size())];
    report(token, dice_.below(3), dice_.coin(), false);
  }

  void cancel() {
    doing_ = "cancel";
    if (jobs_.empty()) return;
    std::size_t number = jobs_.size() - 1 - dice_.below(std::min<std::size_t>(jobs_.size(), 12));
    for (const std::size_t live : live_)
      if (jobs_[live].copies != 0 && dice_.coin()) number = live;
    ModelJob& job = jobs_[number];
    const Result<Job> got = market_->all.cancel_job(job.id);
    if (!got.ok()) {
      wrong("refused: " + got.error().message);
      return;
    }
    touched_.insert(number);
    if (is_terminal(job.status)) return;
    saw("jobs cancelled");
    give_up(number, JobFailure::cancelled);
    end(number, JobStatus::cancelled);
  }

  // ── comparing ──

  void compare() {
    if (!fault_.empty()) return;
    if (step_ % 64 == 0) touched_.insert(live_.begin(), live_.end());
    for (const std::size_t number : touched_) {
      compare(number);
      if (is_terminal(jobs_[number].status)) compare_tasks(number);
    }
    touched_.clear();
    for (std::size_t i = 0; i < payers_.size(); ++i) {
      const Wallet wallet = market_->all.wallet(payers_[i]).value();
      same("a payer's balance", wallet.balance.micro, balances_[i]);
      same("what a payer has held", wallet.held.micro, held_[i]);
      same("a host's balance", market_->all.wallet(hosts_[i]).value().balance.micro, earned_[i]);
    }
    if (step_ % 1'024 == 0) audit();
  }

  void compare(std::size_t number) {
    const ModelJob& job = jobs_[number];
    const Job is = market_->all.job(job.id).value();
    const std::string name = "job " + std::to_string(number) + ": ";
    const auto say = [&](const char* what, auto value, auto expected) {
      same(name + what, static_cast<std::int64_t>(value), static_cast<std::int64_t>(expected));
    };
    if (is.status != job.status)
      wrong(name + "is " + std::string(word(is.status)) + ", the model says " +
            std::string(word(job.status)));
    say("tasks", is.progress.tasks, job.tasks.size());
    say("completed", is.progress.completed, job.count(At::completed));
    say("failed", is.progress.failed, job.count(At::failed));
    say("running", is.progress.running, job.count(At::leased));
    if (!is_terminal(job.status))
      say("queued", is.progress.queued, job.count(At::fresh) + job.count(At::retrying));
    say("cost", is.cost.micro, job.charged);
    say("hold", is.hold.micro, job.hold);
    if (job.failure != JobFailure::none && is.failure != job.failure)
      wrong(name + "ended for " + std::string(word(is.failure)) + ", the model says " +
            std::string(word(job.failure)));
    if (is_terminal(job.status) && is.receipts.size() != job.charged_for.size())
      wrong(name + "has " + std::to_string(is.receipts.size()) + " receipts, and " +
            std::to_string(job.charged_for.size()) + " hosts were paid");
  }

  void compare_tasks(std::size_t number) {
    const ModelJob& job = jobs_[number];
    const JobResults results = market_->all.job_results(job.id, {.limit = 1'000}).value();
    json::Array all;
    for (std::size_t i = 0; i < job.tasks.size(); ++i) {
      const ModelTask& task = job.tasks[i];
      const JobTask& is = results.tasks[i];
      const TaskStatus expected = task.at == At::completed ? TaskStatus::completed
                                  : task.at == At::failed  ? TaskStatus::failed
                                                           : TaskStatus::cancelled;
      const std::string name = "task " + std::to_string(i) + " of job " + std::to_string(number);
      if (is.status != expected)
        wrong(name + " is " + std::string(word(is.status)) + ", the model says " +
              std::string(word(expected)));
      if (task.at == At::failed) same("the attempts of " + name, is.attempts, task.attempts);
      if (task.at == At::completed && json::canonical(is.result) != std::to_string(task.result))
        wrong(name + " has another result than was reported");
      all.emplace_back(task.result);
    }
    if (job.status == JobStatus::completed &&
        json::canonical(results.result) != json::canonical(json::Value(std::move(all))))
      wrong("job " + std::to_string(number) + " has merged other results than its tasks'");
  }

  void audit() {
    doing_ = "audit";
    const AuditReport report = market_->all.audit({}, AuditDepth::each).value();
    if (!report.ok) wrong(report.first_fault);
  }

  /// Every job comes to an end, however it stands, and nothing is held then.
  void drive_to_the_end() {
    constexpr int rounds_max = 4'000;
    for (int round = 0; round < rounds_max && !live_.empty() && fault_.empty(); ++round) {
      step_ += 1;
      const std::size_t before = leases_.size();
      if (before < leases_max) lease(static_cast<std::size_t>(round % 2), 12, "w");
      compare();
      if (leases_.size() != before) continue;
      while (!leases_.empty() && fault_.empty()) {
        report(leases_.begin()->first, leases_.begin()->second.count, false, false);
        if (!leases_.empty() && leases_.begin()->second.expires < now()) break;  // the next lease finds it
        compare();
      }
      market_->pass(core::retry_cap_ms / 1'000);
    }
    if (!fault_.empty()) return;
    doing_ = "the end";
    if (!live_.empty()) wrong(std::to_string(live_.size()) + " jobs do not end");
    if (held_[0] != 0 || held_[1] != 0) wrong("something is still held");
    for (std::size_t number = 0; number < jobs_.size(); ++number) {
      compare(number);
      compare_tasks(number);
    }
    compare();
    audit();
  }

  Dice dice_, drawn_;
  std::string path_;
  std::unique_ptr<JobMarket> market_;
  std::vector<WalletId> payers_, hosts_;
  std::vector<std::int64_t> balances_, held_, earned_;
  std::int64_t rate_ = 0;
  std::int32_t fee_ = 1500;  // the usual fee, in basis points
  std::vector<ModelJob> jobs_;
  std::set<std::size_t> live_, touched_, over_;
  std::map<std::int64_t, ModelLease> leases_;
  std::vector<std::int64_t> stale_;
  std::uint64_t step_ = 0;
  std::string doing_, fault_;
  std::map<std::string, std::uint64_t> seen_;
};

/// Runs one market of `steps`; adds to `seen` what happened in it.
std::string run(std::uint64_t seed, std::uint64_t steps, bool in_memory,
                std::map<std::string, std::uint64_t>& seen) {
  std::optional<store::Scratch> folder;
  if (!in_memory) folder.emplace();
  World world(seed, in_memory ? std::string() : *folder / "m.db");
  std::string fault = world.live(steps);
  for (const auto& [what, count] : world.seen()) seen[what] += count;
  return fault;
}

void live_through(std::uint64_t first_seed, std::uint64_t markets, std::uint64_t steps, bool in_memory,
                  const char* told) {
  std::map<std::string, std::uint64_t> seen;
  const char* alone = std::getenv("CALYX_TEST_JOB_SEED");
  for (std::uint64_t i = 0; i < markets; ++i) {
    const std::uint64_t seed = alone != nullptr ? std::strtoull(alone, nullptr, 10) : first_seed + i;
    const std::string fault = run(seed, steps, in_memory, seen);
    REQUIRE_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
    if (alone != nullptr) return;
  }
  std::string line;
  for (const auto& [what, count] : seen) line += "\n  " + std::to_string(count) + " " + what;
  MESSAGE("seeds ", first_seed, " to ", first_seed + markets - 1, ", ", steps, " steps each:", line);
  testing::told(told, markets * steps);
  CHECK(seen["tries again at once"] * 100 <= seen["tries again"]);
  constexpr std::uint64_t some = 8'000;  // steps, in which tasks are late now and then
  if (markets * steps >= some) REQUIRE(seen["backups"] > 0);
  constexpr std::uint64_t enough = 100'000;  // steps, in which all of this comes about
  if (markets * steps < enough) return;
  // What never happened was not tried.
  for (const char* what : {"jobs",
                           "leases",
                           "reports",
                           "tries again",
                           "leases lost",
                           "late reports",
                           "leases given back",
                           "jobs cancelled",
                           "deadlines passed",
                           "queues expired",
                           "budgets exhausted",
                           "late leases of jobs that end",
                           "tasks that hang",
                           "deadlines passed while tasks ran",
                           "submits again",
                           "submits that nobody can pay",
                           "submits after what cannot complete",
                           "jobs ended by what they depend on",
                           "tasks completed",
                           "jobs of several hosts",
                           "backups that won",
                           "backups that lost",
                           "copies that failed",
                           "copies lost",
                           "copies given back",
                           "jobs given up with backups"}) {
    CAPTURE(what);
    CHECK(seen[what] > 0);
  }
}

}  // namespace

TEST_CASE("jobs do what a model of them says, whatever happens to them") {
  live_through(20'261'128, by_scale<std::uint64_t>(12, 210, 4'000), 1'000, true, "steps of jobs in a model");
}

TEST_CASE("jobs do what a model of them says, over engines that close and open again") {
  live_through(7'000, by_scale<std::uint64_t>(2, 8, 100), 1'000, false,
               "steps of jobs in a model, in a file");
}
