/// \file
/// What went wrong with jobs once, or goes wrong on the edge of what they promise.
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "engine/job_market.hpp"
#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

TEST_CASE(
    "the first lost lease that ends its job takes the other lost ones with it, and no task is counted "
    "twice") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(2, {{"max_failed_tasks", 0}}));
  // Workers vanish with both tasks until neither is handed out again.
  for (std::int64_t i = 0; i <= core::infrastructure_retries_max; ++i) {
    REQUIRE(market.lease().count == 1);
    REQUIRE(market.lease().count == 1);
    market.pass(31);
    CHECK(market.lease().count == 0);
    market.pass(core::retry_cap_ms / 1000);
  }
  const Job job = market.now(id);
  CHECK(job.status == JobStatus::failed);
  CHECK(job.failure == JobFailure::too_many_failures);
  CHECK(job.progress.failed == 1);
  CHECK(job.progress.running == 0);
  CHECK(job.cost == Money{});
  CHECK(market.held() == Money{});
  market.check_books();
}

TEST_CASE("a worker that was not heard of is charged to nobody, also when its job ends before it is missed") {
  JobMarket market;
  market.price(1'000'000);
  const Money before = market.balance();
  const JobId id = market.submit(JobMarket::job(1));
  REQUIRE(market.lease().count == 1);
  market.now_us += lease_s * core::us_per_second + 1;
  const Job job = market.all.cancel_job(id).value();
  CHECK(job.status == JobStatus::cancelled);
  CHECK(job.cost == Money{});
  CHECK_FALSE(job.receipt);
  CHECK(market.balance() == before);
  market.check_books();
}

TEST_CASE("a clock that is set back makes nothing cheaper than nothing") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(3));
  const Lease lease = market.lease(3);
  CHECK(market.done(lease, 1, 1'000).ok());
  const Money cost = market.now(id).cost;
  market.pass(-3600);
  CHECK(market.done({.token = lease.token, .first = 1}, 1, 0).ok());
  CHECK(market.now(id).cost >= cost);
  market.pass(-3600);
  Report report{.token = lease.token};
  report.outcomes.push_back({.ran_ms = 5'000});
  CHECK(market.all.report_tasks(report).ok());
  CHECK(market.now(id).cost >= cost);
  CHECK(market.now(id).cost <= Money{cost.micro + 2 * 1'000});  // a millisecond's grace for each
  CHECK(market.now(id).status == JobStatus::completed);
  market.check_books();

  const JobId other = market.submit(JobMarket::job(1));
  REQUIRE(market.lease().count == 1);
  market.pass(-3600);
  CHECK(market.all.cancel_job(other).value().cost == Money{});
  market.check_books();
}

TEST_CASE("a result is JSON that every reader takes alike, whoever reports it") {
  struct Row {
    const char* says;
    json::Value result;
    bool taken;
  };
  constexpr std::int64_t most = (std::int64_t{1} << 53) - 1;
  const Row rows[] = {
      {"the largest integer", json::Value(most), true},
      {"one more", json::Value(most + 1), false},
      {"the smallest", json::Value(-most), true},
      {"one less", json::Value(-most - 1), false},
      {"no number", json::Value(std::nan("")), false},
      {"an infinity", json::Value(HUGE_VAL), false},
      {"deep inside", json::object({{"a", json::array({json::object({{"b", most + 1}})})}}), false},
      {"a large real", json::Value(1e300), true},
      {"nothing", json::Value(), true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    JobMarket market;
    const JobId id = market.submit(JobMarket::job(1));
    Report report{.token = market.lease().token};
    report.outcomes.push_back({.result = row.result});
    CHECK(market.all.report_tasks(report).ok());
    const JobTask task = market.all.job_tasks(id).value().items[0];
    CHECK(task.status == (row.taken ? TaskStatus::completed : TaskStatus::failed));
    if (row.taken)
      CHECK(json::canonical(task.result) == json::canonical(row.result));
    else
      CHECK(task.failure == JobFailure::result_invalid);
  }
}

TEST_CASE("a job of a batch has the batch's key and its place, which is nobody's key outside of a batch") {
  JobMarket market;
  struct Row {
    const char* key;
    bool alone, in_batch;
  };
  const std::string longest(128, 'k');
  const std::string place = longest + " 199", longer = longest + "k 1";
  const Row rows[] = {{"k", true, true},
                      {longest.c_str(), true, true},
                      {"k 0", false, true},
                      {"k 199", false, true},
                      {place.c_str(), false, true},
                      {" 0", false, false},
                      {" ", false, false},
                      {"k ", false, false},
                      {"k x", false, false},
                      {"k 1 2", false, false},
                      {"k 1x", false, false},
                      {"k\t1", false, false},
                      {longer.c_str(), false, false}};
  for (const Row& row : rows) {
    CAPTURE(row.key);
    const JobSubmit asked{.job = JobMarket::job(1), .wallet = market.payer, .idempotency_key = row.key};
    CHECK(market.all.submit_job(asked).ok() == row.alone);
    const std::vector<Result<JobSubmit>> batch{asked};
    const Result<JobSubmitted> submitted = market.all.submit_jobs(batch).value()[0];
    CHECK(submitted.ok() == row.in_batch);
    if (row.alone) CHECK(submitted->replayed);
  }
}

namespace {

/// A worker's wallet that can take no more, so that no job of its can be settled until it has spent.
struct FullHost {
  explicit FullHost(JobMarket& in)
      : market(in), host(in.all.create_wallet({.owner_id = "full"}).value().wallet.id) {
    CHECK(market.all.topup({.wallet = host, .amount = core::amount_max}).ok());
  }
  Lease lease() {
    return market.all.lease_tasks({.worker = "w", .host_wallet = host, .tasks = {"work"}}).value();
  }
  void spend() {
    CHECK(market.all.transfer({.from = host, .to = market.payer, .amount = Money{100'000'000}}).ok());
  }
  JobMarket& market;
  WalletId host;
};

}  // namespace

TEST_CASE(
    "a cancel that cannot pay who worked is refused before anything is written, and then goes through") {
  JobMarket market;
  market.price(1'000'000);
  FullHost full(market);
  const JobId id = market.submit(JobMarket::job(1));
  const Money held = market.held();
  const Lease lease = full.lease();
  REQUIRE(lease.count == 1);  // it runs, and was charged nothing so far
  market.pass(3);
  CHECK(market.all.cancel_job(id).reason() == Reason::balance_out_of_range);
  CHECK(market.now(id).status == JobStatus::running);
  CHECK(market.now(id).progress.running == 1);
  CHECK(market.now(id).cost == Money{});
  CHECK(market.held() == held);
  CHECK(market.all.report_tasks({.token = lease.token}).ok());  // its worker still has it
  market.check_books();
  full.spend();
  const Job job = market.all.cancel_job(id).value();
  CHECK(job.status == JobStatus::cancelled);
  CHECK(job.cost == Money{3'000'000});
  CHECK(job.receipt);
  CHECK(market.held() == Money{});
  market.check_books();
}

TEST_CASE("a job that cannot be settled yet keeps no worker from what it did, nor from other jobs") {
  JobMarket market;
  market.price(1'000'000);
  FullHost full(market);
  const JobId first = market.submit(JobMarket::job(1)), second = market.submit(JobMarket::job(2));
  const Lease lease = full.lease();
  REQUIRE(lease.job == first);
  CHECK(market.done(lease, 1, 1'000).ok());
  CHECK(market.now(first).progress.completed == 1);
  CHECK(market.now(first).status == JobStatus::running);  // who did it cannot be paid
  CHECK(market.lease().job == second);
  CHECK(market.lease().job == second);
  CHECK(market.all.lease_tasks({.worker = "w"}).reason() == Reason::balance_out_of_range);  // nothing is lost
  market.check_books();
  full.spend();
  CHECK(market.lease().count == 0);  // whoever looks for work ends it
  CHECK(market.now(first).status == JobStatus::completed);
  CHECK(market.now(first).cost == Money{1'000'000});
  market.check_books();
}

TEST_CASE("jobs that no worker can do keep no other job from being seen") {
  JobMarket market;
  std::vector<Result<JobSubmit>> asked;
  for (int i = 0; i < 1'100; ++i)
    asked.emplace_back(JobSubmit{.job = JobMarket::job(1, {{"task", "nobodys"}})});
  CHECK(market.all.submit_jobs(asked).ok());
  const JobId id = market.submit(JobMarket::job(1));
  const Lease lease = market.lease();
  REQUIRE(lease.count == 1);
  CHECK(lease.job == id);
}

TEST_CASE("what a worker did while the store was busy is told once it is not, and not done again") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  options.busy_timeout_ms = 10;
  Engine engine = Engine::open(options).value();
  std::atomic<int> begun{0};
  std::atomic<bool> go_on{false};
  CHECK(engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             ++begun;
                             while (!go_on) std::this_thread::yield();
                             return json::Value(call.index);
                           })
            .ok());
  Session all = engine.as_operator();
  const JobId id = all.submit_job({.job = JobMarket::job(3)}).value().id;
  Worker worker = Worker::start(engine, {.tasks_max = 3}).value();
  while (begun == 0) std::this_thread::yield();
  {
    store::Gate gate = store::Gate::open(options.path + "-gate").value();
    const auto hold = store::GateHold::take(gate, 5'000);
    REQUIRE(hold.ok());
    go_on = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // longer than a report waits
  }
  CHECK(all.wait_job(id, std::chrono::seconds(10)).value().status == JobStatus::completed);
  CHECK(begun == 3);
  worker.stop();
}

TEST_CASE("who has waited enough ends between two tasks, and asks none of them to stop") {
  JobMarket market;
  bool enough = false;
  std::uint64_t begun = 0;
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             ++begun;
                             enough = true;
                             if (call.stopped()) return fail(Reason::stopped, "was asked to stop");
                             return json::Value(call.index);
                           })
            .ok());
  const JobId id = market.submit(JobMarket::job(3));
  const RunOptions once{.enough = [&] { return enough; }};
  for (std::uint64_t round = 1; round <= 3; ++round) {
    enough = false;
    const Job job = market.all.run_job(id, once).value();
    CHECK(begun == round);
    CHECK(job.progress.completed == round);
    CHECK(market.all.job_tasks(id).value().items.at(round - 1).attempts == 1);
  }
  enough = true;  // nothing is begun
  const JobId other = market.submit(JobMarket::job(1));
  CHECK(market.all.run_job(other, once).value().status == JobStatus::queued);
  CHECK(begun == 3);
}
