#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "engine/job_market.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

TEST_CASE("a job holds its worst case, pays for the time that it took, and gives a receipt of its result") {
  JobMarket market;
  market.price(1'000'000);  // a FLOPS a second
  const Money before = market.balance();
  const JobId id = market.submit(JobMarket::job(4, {{"max_retries", 1}}));

  Job job = market.now(id);
  CHECK(job.status == JobStatus::queued);
  CHECK(job.hold == Money{4 * 2 * 10 * 1'000'000});  // tasks, tries, seconds
  CHECK(market.held() == job.hold);

  const Lease lease = market.lease(4);
  CHECK(lease.count == 4);
  CHECK(market.now(id).status == JobStatus::running);
  CHECK(market.now(id).progress.running == 4);
  for (int i = 0; i < 4; ++i)
    CHECK(market.done({.token = lease.token, .first = static_cast<std::uint64_t>(i)}, 1, 1'500).ok());

  job = market.now(id);
  CHECK(job.status == JobStatus::completed);
  CHECK(job.cost == Money{6'000'000});
  CHECK(market.held() == Money{});
  CHECK(market.balance() == Money{before.micro - 6'000'000});
  REQUIRE(job.receipt);
  const Receipt receipt = market.all.receipt(*job.receipt).value();
  CHECK(market.engine.verify(receipt.jws).valid);
  const JobResults results = market.all.job_results(id).value();
  const std::string text = json::canonical(results.result);
  CHECK(text == "[0,1,2,3]");
  CHECK(*job.output_hash == output_hash(text));
  const json::Value* work = receipt.payload.find("work");
  REQUIRE(work != nullptr);
  CHECK(*work->find("kind")->string() == "task");
  CHECK(*work->find("name")->string() == "work");
  CHECK(*receipt.payload.find("job_id")->string() == id.text());
  CHECK(*receipt.payload.find("output_hash")->string() == core::output_hash_text(*job.output_hash));
  CHECK(*receipt.payload.find("duration_seconds")->integer() == 6);
  CHECK(*receipt.payload.find("gpu_model")->string() == "CPU");
  market.check_books();
}

TEST_CASE("a job that costs nothing holds nothing, and gives no receipt") {
  JobMarket market;
  const Result<JobSubmitted> free = market.all.submit_job({.job = JobMarket::job(1)});  // and names no payer
  REQUIRE(free.ok());
  const Lease lease = market.lease();
  CHECK(market.done(lease, 1, 500).ok());
  const Job job = market.now(free->id);
  CHECK(job.status == JobStatus::completed);
  CHECK(job.hold == Money{});
  CHECK_FALSE(job.receipt);
  CHECK(market.held() == Money{});
  market.check_books();
}

TEST_CASE("who pays is named, unless nothing is to pay") {
  JobMarket market;
  market.price(1);
  const Result<JobSubmitted> refused = market.all.submit_job({.job = JobMarket::job(1)});
  CHECK(refused.reason() == Reason::field_missing);
  CHECK(*refused.error().details.find("field")->string() == "/wallet_id");
}

TEST_CASE("a task is tried again as often as it may, and then it has failed") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(2, {{"max_retries", 2}}));
  Lease lease = market.lease(2);
  CHECK(market.done(lease).ok());
  CHECK(market.done({.token = lease.token, .first = 1}, 1, 1'000, JobFailure::task_failed).ok());

  for (std::int64_t attempt = 2; attempt <= 3; ++attempt) {
    market.pass(core::retry_cap_ms / 1000);  // whatever the dice said
    lease = market.lease(2);
    REQUIRE(lease.count == 1);
    CHECK(lease.first == 1);
    CHECK(lease.attempt == attempt);
    CHECK(market.now(id).status == JobStatus::running);
    CHECK(market.done(lease, 1, 1'000, JobFailure::task_failed).ok());
  }
  const Job job = market.now(id);
  CHECK(job.status == JobStatus::partial);
  CHECK(job.failure == JobFailure::task_failed);
  CHECK(job.cost == Money{3'000'000});  // each of the attempts ended for reasons of the job's own
  const std::vector<JobTask> tasks = market.all.job_tasks(id).value().items;
  CHECK(tasks[0].status == TaskStatus::completed);
  CHECK(tasks[1].status == TaskStatus::failed);
  CHECK(tasks[1].attempts == 3);
  CHECK(tasks[1].error == "it did not work");
  CHECK(market.lease().count == 0);
  market.check_books();
}

TEST_CASE("a task tells which of its tries came to a result") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(2, {{"max_retries", 2}}));
  const Lease lease = market.lease(2);
  CHECK(market.done(lease, 1, 0, JobFailure::task_failed).ok());
  CHECK(market.done({.token = lease.token, .first = 1}).ok());
  market.pass(core::retry_cap_ms / 1000);
  CHECK(market.done(market.lease()).ok());
  const std::vector<JobTask> tasks = market.all.job_tasks(id).value().items;
  CHECK(tasks[0].status == TaskStatus::completed);
  CHECK(tasks[0].attempts == 2);
  CHECK(tasks[1].attempts == 1);
}

TEST_CASE("a lease that nobody keeps alive is lost, charged to nobody, and its late report refused") {
  JobMarket market;
  market.price(100'000);
  const JobId id = market.submit(JobMarket::job(3, {{"timeout_s", 1000}}));
  const Lease first = market.lease(3, "gone");
  market.pass(20);
  CHECK(market.all.report_tasks({.token = first.token}).ok());  // a heartbeat
  market.pass(20);
  CHECK(market.done(first).ok());  // 40 s, but never 30 without a word
  market.pass(31);
  CHECK(market.done({.token = first.token, .first = 1}).reason() == Reason::lease_lost);

  CHECK(market.lease(3).count == 0);  // taken back now, and handed out again after a pause
  market.pass(core::retry_cap_ms / 1000);
  std::set<std::uint64_t> again;
  for (int i = 0; i < 2; ++i) {
    const Lease lease = market.lease(3);
    REQUIRE(lease.count == 1);
    CHECK(lease.attempt == 1);  // a worker's end is no try of the job's
    again.insert(lease.first);
    CHECK(market.done(lease).ok());
  }
  CHECK(again == std::set<std::uint64_t>{1, 2});
  CHECK(market.now(id).status == JobStatus::completed);
  CHECK(market.done({.token = first.token, .first = 2}).reason() == Reason::lease_lost);
  CHECK(market.all.job_results(id).value().tasks.size() == 3);
  market.check_books();
}

TEST_CASE("workers that keep vanishing use up a task's own budget of chances") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(1, {{"max_retries", 5}}));
  for (std::int64_t i = 0; i <= core::infrastructure_retries_max; ++i) {
    CHECK(market.now(id).status != JobStatus::failed);
    REQUIRE(market.lease().count == 1);
    market.pass(31);
    CHECK(market.lease().count == 0);
    market.pass(core::retry_cap_ms / 1000);
  }
  CHECK(market.now(id).status == JobStatus::failed);
  CHECK(market.now(id).failure == JobFailure::lease_lost);
}

TEST_CASE("a worker is believed as far as the clock goes, and an attempt costs its timeout at most") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(2, {{"timeout_s", 3}}));
  const Lease lease = market.lease(2);
  Report report{.token = lease.token};
  report.outcomes.push_back({.ran_ms = 1'000'000});
  market.pass(2);
  CHECK(market.all.report_tasks(report).ok());
  CHECK(market.now(id).cost <= Money{2'001'000});  // two seconds by the clock
  market.pass(20);
  CHECK(market.all.report_tasks(report).ok());
  CHECK(market.now(id).cost <= Money{2'001'000 + 3'000'000});
  CHECK(market.now(id).status == JobStatus::completed);
  market.check_books();
}

TEST_CASE("a job never costs more than it holds: what the budget does not cover is not begun") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(10, {{"max_cost", "25"}}));  // two tasks and a half
  CHECK(market.now(id).hold == Money{25'000'000});
  const Lease lease = market.lease(10);
  CHECK(lease.count == 2);
  CHECK(market.lease().count == 0);  // what runs may leave enough
  CHECK(market.done(lease, 1, 10'000).ok());
  CHECK(market.done({.token = lease.token, .first = 1}, 1, 9'000).ok());
  CHECK(market.lease().count == 0);
  const Job job = market.now(id);
  CHECK(job.status == JobStatus::partial);
  CHECK(job.failure == JobFailure::budget_exhausted);
  CHECK(job.progress.completed == 2);
  CHECK(job.cost == Money{19'000'000});
  CHECK(market.held() == Money{});
  const std::vector<JobTask> tasks = market.all.job_tasks(id).value().items;
  CHECK(tasks[1].status == TaskStatus::completed);
  CHECK(tasks[2].status == TaskStatus::cancelled);
  market.check_books();
}

TEST_CASE("a cancel charges what ran, returns the rest, and leaves what was done to be read") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(5));
  const Lease lease = market.lease(2);
  CHECK(market.done(lease, 1, 2'000).ok());
  market.pass(3);  // the second one runs
  const Job job = market.all.cancel_job(id).value();
  CHECK(job.status == JobStatus::cancelled);
  CHECK(job.cost == Money{5'000'000});
  CHECK(market.held() == Money{});
  CHECK(market.done({.token = lease.token, .first = 1}).reason() == Reason::lease_lost);
  CHECK(market.lease().count == 0);
  CHECK(market.all.cancel_job(id).value().status == JobStatus::cancelled);  // and stays so
  CHECK(market.all.job_results(id).value().tasks[0].status == TaskStatus::completed);
  market.check_books();

  const JobId untouched = market.submit(JobMarket::job(5));
  CHECK(market.all.cancel_job(untouched).value().cost == Money{});
  CHECK_FALSE(market.now(untouched).receipt);
  CHECK(market.held() == Money{});
  market.check_books();
}

TEST_CASE("a job's escrow ends with the job, and by nobody else's call") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(1));
  CHECK(market.all.release({.wallet = market.payer, .job_id = id.text()}).reason() == Reason::job_escrow);
  CHECK(market.all
            .earn({.host = market.payer, .job_id = id.text(), .gross_amount = Money{1}, .gpu_model = "CPU"})
            .reason() == Reason::job_escrow);
  CHECK(market.held() == market.now(id).hold);
}

TEST_CASE("too many failures end a job at once") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(10, {{"max_failed_tasks", 1}}));
  const Lease lease = market.lease(4), other = market.lease(1);
  CHECK(market.done(lease, 1, 0, JobFailure::task_failed).ok());
  CHECK(market.now(id).status == JobStatus::running);
  const Result<Reported> last =
      market.done({.token = lease.token, .first = 1}, 1, 0, JobFailure::exit_nonzero);
  REQUIRE(last.ok());
  CHECK(last->left == 0);  // there is nothing more to do of it
  CHECK(market.now(id).status == JobStatus::failed);
  CHECK(market.now(id).failure == JobFailure::too_many_failures);
  CHECK(market.done(other).reason() == Reason::lease_lost);
}

TEST_CASE("what depends on a job waits for it, and ends when it ends badly") {
  JobMarket market;
  const auto after = [&](JobId id) {
    return JobMarket::job(1, {{"depends_on", json::array({json::Value(id.text())})}});
  };
  const JobId first = market.submit(JobMarket::job(1));
  const JobId second = market.submit(after(first)), third = market.submit(after(second));
  CHECK(market.now(second).status == JobStatus::planning);

  const Lease lease = market.lease();
  CHECK(lease.job == first);
  CHECK(market.lease().count == 0);
  CHECK(market.done(lease).ok());
  CHECK(market.now(second).status == JobStatus::queued);
  CHECK(market.now(third).status == JobStatus::planning);

  const Lease bad = market.lease();
  CHECK(bad.job == second);
  CHECK(market.done(bad, 1, 0, JobFailure::task_failed).ok());
  CHECK(market.now(third).status == JobStatus::failed);
  CHECK(market.now(third).failure == JobFailure::dependency_failed);
  CHECK(market.now(third).error.find(second.text()) != std::string::npos);

  CHECK(market.all.submit_job({.job = after(second)}).reason() == Reason::field_value);  // it cannot complete
  CHECK(market.all.submit_job({.job = after(JobId{})}).reason() == Reason::job_unknown);
}

TEST_CASE("time that a job was given ends it") {
  JobMarket market;
  const JobId late = market.submit(JobMarket::job(2, {{"deadline_s", 60}}));
  const JobId unwanted = market.submit(JobMarket::job(1, {{"queue_ttl_s", 30}}));
  const Lease lease = market.lease();
  CHECK(lease.job == late);
  CHECK(market.done(lease).ok());
  market.pass(60);
  CHECK(market.lease().count == 0);
  CHECK(market.now(late).failure == JobFailure::deadline_passed);
  CHECK(market.now(late).status == JobStatus::partial);
  CHECK(market.now(unwanted).failure == JobFailure::queue_expired);
  CHECK(market.now(unwanted).status == JobStatus::failed);
}

TEST_CASE("a deadline ends what runs, as soon as anybody is heard or waits") {
  JobMarket market;
  market.price(1'000);
  const JobId by_heartbeat = market.submit(JobMarket::job(1, {{"deadline_s", 20}, {"timeout_s", 3600}}));
  const Lease first = market.lease();
  const JobId by_report = market.submit(JobMarket::job(2, {{"deadline_s", 20}, {"timeout_s", 3600}}));
  const Lease second = market.lease(2);
  const JobId by_waiting = market.submit(JobMarket::job(1, {{"deadline_s", 20}, {"timeout_s", 3600}}));
  market.pass(20);
  const Reported beaten = market.all.report_tasks({.token = first.token}).value();
  CHECK(beaten.left == 0);
  CHECK(market.now(by_heartbeat).failure == JobFailure::deadline_passed);
  CHECK(market.now(by_heartbeat).status == JobStatus::failed);
  CHECK(market.now(by_heartbeat).cost == Money{20'000});  // it ran all the time
  CHECK(market.done(second, 1).value().left == 0);
  CHECK(market.now(by_report).status == JobStatus::partial);
  CHECK(market.now(by_report).failure == JobFailure::deadline_passed);
  CHECK(market.all.wait_job(by_waiting, std::chrono::seconds(30)).value().failure ==
        JobFailure::deadline_passed);
  CHECK(market.held() == Money{});
  market.check_books();
}

TEST_CASE("a task that hangs ends with its timeout, however often its worker is heard") {
  JobMarket market;
  market.price(1'000'000);
  const JobId id = market.submit(JobMarket::job(3, {{"max_retries", 0}}));  // each has 10 s
  const Lease lease = market.lease(3);
  const Instant begun{market.now_us};
  for (int i = 0; i < 2; ++i) {
    market.pass(15);
    const Reported heard = market.all.report_tasks({.token = lease.token}).value();
    CHECK(heard.left == 3);
    CHECK(heard.expires_at == Instant{begun.us + (10 + lease_s) * core::us_per_second});
  }
  market.pass(11);
  CHECK(market.all.report_tasks({.token = lease.token}).reason() == Reason::lease_lost);
  SUBCASE("found by the next lease") {}
  SUBCASE("found by who waits") { CHECK(market.all.wait_job(id, std::chrono::milliseconds(1'500)).ok()); }
  SUBCASE("and charged where the job is cancelled first") {
    CHECK(market.all.cancel_job(id).ok());
    CHECK(market.now(id).cost == Money{10'000'000});
    market.check_books();
    return;
  }
  const Lease rest = market.lease(3);
  CHECK(rest.first == 1);  // those behind it were not begun, and are nobody's failure
  CHECK(rest.count == 2);
  CHECK(rest.attempt == 1);
  CHECK(market.done(rest, 2).ok());
  const Job now = market.now(id);
  CHECK(now.status == JobStatus::partial);
  CHECK(now.failure == JobFailure::timed_out);
  CHECK(now.cost == Money{10'000'000});
  CHECK(market.balance() == Money{1'000'000'000 - 10'000'000});
  market.check_books();
}

TEST_CASE("what a task came to is told while the next one of its lease runs") {
  JobMarket market;
  std::atomic<bool> go{false};
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             while (call.index == 1 && !go.load()) std::this_thread::yield();
                             return json::Value(call.index);
                           })
            .ok());
  const JobId id = market.submit(JobMarket::job(2, {{"timeout_s", 3600}}));
  Worker worker = Worker::start(market.engine, {.tasks_max = 2}).value();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (market.now(id).progress.completed == 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(market.now(id).progress.completed == 1);
  go = true;
  CHECK(market.all.wait_job(id, std::chrono::seconds(60)).value().status == JobStatus::completed);
}

TEST_CASE("a wallet that jobs are worked on for is not closed before they are settled") {
  JobMarket market;
  market.price(1'000'000);
  const WalletId host = market.all.create_wallet({.owner_id = "host"}).value().wallet.id;
  const JobId id = market.submit(JobMarket::job(1));
  const LeaseAsked asked{.worker = "w", .host_wallet = host, .tasks = {"work"}};
  const Lease lease = market.all.lease_tasks(asked).value();
  CHECK(market.all.change_wallet(host, {.status = WalletStatus::closed}).reason() ==
        Reason::wallet_not_empty);
  CHECK(market.done(lease).ok());
  CHECK(market.now(id).status == JobStatus::completed);
  CHECK(market.all.change_wallet(host, {.status = WalletStatus::closed}).ok());
  CHECK(market.all.lease_tasks(asked).reason() == Reason::wallet_not_active);
  market.check_books();
}

TEST_CASE("classes go first, and then who has fewer tasks running") {
  JobMarket market;
  const WalletId other = market.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  market.submit(JobMarket::job(9, {{"priority", "low"}}));
  const JobId mine = market.submit(JobMarket::job(9)), more = market.submit(JobMarket::job(9));
  const JobId theirs = market.all.submit_job({.job = JobMarket::job(9), .wallet = other}).value().id;
  const JobId high = market.submit(JobMarket::job(1, {{"priority", "high"}}));
  std::vector<JobId> order;
  for (int i = 0; i < 4; ++i) order.push_back(market.lease().job);
  CHECK(order == std::vector<JobId>{high, theirs, mine, theirs});
  static_cast<void>(more);
}

TEST_CASE("a job of a low class that has waited long is served as one of the class above") {
  JobMarket market;
  const JobId low = market.submit(JobMarket::job(2, {{"priority", "low"}}));
  market.pass(core::ageing_us / core::us_per_second - 1);
  const JobId normal = market.submit(JobMarket::job(2));
  CHECK(market.lease().job == normal);
  market.pass(1);
  CHECK(market.lease().job == low);
}

TEST_CASE("a submit is judged as a spend of its hold") {
  JobMarket market;
  market.price(1'000'000);
  const WalletId agent = market.all
                             .create_wallet({.owner_type = OwnerType::agent,
                                             .owner_id = "agent",
                                             .parent = market.payer,
                                             .policy = {.spend_cap_per_job = Money{50'000'000},
                                                        .approval_threshold = Money{20'000'000}}})
                             .value()
                             .wallet.id;
  CHECK(market.all.transfer({.from = market.payer, .to = agent, .amount = Money{100'000'000}}).ok());
  const auto submit = [&](std::int64_t tasks, const std::string& key = {}) {
    return market.all.submit_job({.job = JobMarket::job(tasks), .wallet = agent, .idempotency_key = key});
  };
  CHECK(submit(6).reason() == Reason::spend_cap_per_job);  // 60 FLOPS
  const Result<JobSubmitted> waits = submit(3);            // 30
  CHECK(waits.reason() == Reason::approval_required);
  CHECK(market.all.jobs().value().items.empty());
  const auto approval = ApprovalId::read(*waits.error().details.find("approval_id")->string());
  CHECK(market.all.approve(*approval).ok());
  CHECK(submit(4).reason() == Reason::approval_required);  // it was for another
  CHECK(submit(3, "k").ok());
  CHECK(submit(3).reason() == Reason::approval_required);  // and serves once
  CHECK(submit(3, "k").value().replayed);
  CHECK(submit(2, "k").reason() == Reason::key_reused);

  json::Object gpu =
      JobMarket::job(1, {{"requirements", json::object({{"gpu_count", 1}, {"gpu_type", "H100"}})}});
  CHECK(market.all.change_wallet(agent, {.allowed_gpu_types = std::vector<std::string>{"A100"}}).ok());
  CHECK(market.all.submit_job({.job = gpu, .wallet = agent}).reason() == Reason::gpu_not_allowed);
  CHECK(submit(1).ok());  // rents none
  market.check_books();
}

TEST_CASE("jobs are their payer's, its parent's and the operator's to read") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(1));
  const WalletCreated stranger = market.all.create_wallet({.owner_id = "stranger"}).value();
  Session theirs = market.engine.session(stranger.api_key).value();
  CHECK(theirs.job(id).reason() == Reason::job_unknown);
  CHECK(theirs.cancel_job(id).reason() == Reason::job_unknown);
  CHECK(theirs.job_results(id).reason() == Reason::job_unknown);
  CHECK(theirs.jobs().value().items.empty());
  CHECK(theirs.lease_tasks({.worker = "w"}).reason() == Reason::operator_only);
  CHECK(theirs.report_tasks({.token = 1}).reason() == Reason::operator_only);
  CHECK(theirs.set_prices({}).reason() == Reason::operator_only);
  CHECK(market.all.job(JobId::make(0, 1, 0)).reason() == Reason::job_unknown);  // another market's
}

TEST_CASE("lists are told by status, project and tag, youngest first, page by page") {
  JobMarket market;
  std::vector<JobId> ids;
  for (int i = 0; i < 5; ++i)
    ids.push_back(market.submit(
        JobMarket::job(1, {{"tags", json::array({json::Value(i % 2 == 0 ? "even" : "odd")})}})));
  CHECK(market.all.cancel_job(ids[0]).ok());
  CHECK(market.all.jobs({.status = JobStatus::cancelled}).value().items.front().id == ids[0]);
  CHECK(market.all.jobs({.tag = "odd"}).value().items.size() == 2);
  CHECK(market.all.jobs({.project = "none"}).value().items.empty());
  std::vector<JobId> read;
  Page page{.limit = 2};
  do {
    const Listed<Job> listed = market.all.jobs({}, page).value();
    for (const Job& job : listed.items) read.push_back(job.id);
    page.after = listed.next;
  } while (!page.after.empty());
  CHECK(read == std::vector<JobId>(ids.rbegin(), ids.rend()));
}

TEST_CASE("what is no job is refused with its place, and nothing is written") {
  JobMarket market;
  struct Row {
    const char* says;
    json::Object job;
    Reason reason;
    const char* field;
  };
  const auto with = [](const char* name, json::Value value) {
    return JobMarket::job(1, {{name, std::move(value)}});
  };
  json::Object nothing;
  const Row rows[] = {
      {"nothing to run", nothing, Reason::field_missing, "/runner_command"},
      {"two things to run", with("runner_command", json::array({"x"})), Reason::field_value, "/task"},
      {"a member of nobody's", with("colour", "red"), Reason::field_unknown, "/colour"},
      {"no such type", with("type", "dream"), Reason::field_value, "/type"},
      {"no time", with("timeout_s", 0), Reason::field_value, "/timeout_s"},
      {"text for time", with("timeout_s", "10"), Reason::field_type, "/timeout_s"},
      {"no such class", with("priority", "urgent"), Reason::field_value, "/priority"},
      {"a budget of nothing", with("max_cost", 0), Reason::amount_zero, "/max_cost"},
      {"two budgets", JobMarket::job(1, {{"max_cost", 1}, {"max_budget", 2}}), Reason::field_value,
       "/max_budget"},
      {"a need of nobody's", with("requirements", json::object({{"luck", 1}})), Reason::field_unknown,
       "/requirements/luck"},
      {"tags that are none", with("tags", json::array({json::Value(1)})), Reason::field_type, "/tags/0"},
      {"a command without a project", json::Object().set("runner_command", json::array({"x"})),
       Reason::field_missing, "/project"},
  };
  for (const Row& row : rows) {
    INFO(row.says);
    const Result<JobSubmitted> refused = market.all.submit_job({.job = row.job, .wallet = market.payer});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.reason() == row.reason);
    CHECK(*refused.error().details.find("field")->string() == row.field);
  }
  CHECK(market.all.submit_job({.job = JobMarket::job(1), .recipe = "none"}).reason() ==
        Reason::recipe_unknown);
  CHECK(market.all.jobs().value().items.empty());
}

TEST_CASE("many jobs are submitted in one commit, and one that is refused stops none") {
  JobMarket market;
  std::vector<Result<JobSubmit>> asked;
  for (int i = 0; i < 3; ++i) asked.emplace_back(JobSubmit{.job = JobMarket::job(1), .wallet = market.payer});
  asked[1]->job.set("timeout_s", -1);
  const std::uint64_t commits = market.engine.stats().commits;
  const auto outcomes = market.all.submit_jobs(asked).value();
  CHECK(market.engine.stats().commits == commits + 1);
  CHECK(outcomes[0].ok());
  CHECK(outcomes[1].reason() == Reason::field_value);
  CHECK(outcomes[2].ok());
  CHECK(market.all.jobs().value().items.size() == 2);
}

TEST_CASE("jobs of a batch that wait for each other run one after the other, by their names alone") {
  JobMarket market;
  const auto named = [&](const char* alias, std::vector<std::string> after, std::int64_t tasks) {
    json::Array names;
    for (std::string& one : after) names.emplace_back(std::move(one));
    return Result<JobSubmit>(
        JobSubmit{.job = JobMarket::job(tasks, {{"alias", alias}, {"depends_on", std::move(names)}}),
                  .wallet = market.payer});
  };
  std::vector<Result<JobSubmit>> asked{named("c", {"b", "a"}, 1), named("b", {"a"}, 2), named("a", {}, 3)};
  // Explicit items are kept apart from what is spelled anew.
  asked[1]->job.erase("fan_out");
  asked[1]->job.set("fan_out", json::object({{"items", json::array({json::object({{"x", 1}})})}}));
  const std::uint64_t commits = market.engine.stats().commits;
  const auto outcomes = market.all.submit_jobs(asked).value();
  CHECK(market.engine.stats().commits == commits + 1);
  for (const auto& outcome : outcomes) REQUIRE_MESSAGE(outcome.ok(), outcome.error().message);
  CHECK(market.now(outcomes[0]->id).depends_on ==
        std::vector<std::string>{outcomes[1]->id.text(), outcomes[2]->id.text()});

  std::vector<std::string> ran;
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             ran.push_back(call.job.text());
                             return json::Value(1);
                           })
            .ok());
  CHECK(market.all.run_job(outcomes[0]->id).value().status == JobStatus::completed);
  std::vector<std::string> order(3, outcomes[2]->id.text());
  order.push_back(outcomes[1]->id.text());
  order.push_back(outcomes[0]->id.text());
  CHECK(ran == order);
  market.check_books();

  const std::vector<Result<JobSubmit>> circle{named("a", {"b"}, 1), named("b", {"a"}, 1)};
  const auto refused = market.all.submit_jobs(circle);
  CHECK(refused.reason() == Reason::dependency_cycle);
  CHECK(refused.error().message.find("a, b, a") != std::string::npos);
  CHECK(market.all.jobs().value().items.size() == 3);
}

TEST_CASE("a job of a batch is the same request as one that names its siblings by their ids") {
  JobMarket market;
  const auto batch = [&](json::Object first, json::Object second) {
    std::vector<Result<JobSubmit>> asked{
        JobSubmit{.job = std::move(first), .wallet = market.payer, .idempotency_key = "k 0"},
        JobSubmit{.job = std::move(second), .wallet = market.payer, .idempotency_key = "k 1"}};
    return market.all.submit_jobs(asked).value();
  };
  const auto after = [](std::string name) {
    return JobMarket::job(
        1, {{"depends_on", json::array({json::Value(std::move(name))})}, {"tags", json::array({})}});
  };
  const auto first = batch(JobMarket::job(2, {{"alias", "a"}}), after("a"));
  REQUIRE(first[0].ok());
  REQUIRE(first[1].ok());
  const auto again = batch(JobMarket::job(2), after(first[0]->id.text()));
  REQUIRE(again[0].ok());
  REQUIRE_MESSAGE(again[1].ok(), again[1].error().message);
  CHECK(again[0]->id == first[0]->id);
  CHECK(again[1]->id == first[1]->id);
  CHECK(again[1]->replayed);
}

TEST_CASE("a host's function does tasks on the caller's thread, and its faults are its tasks'") {
  JobMarket market;
  CHECK(market.engine
            .register_task("work",
                           [](const TaskCall& call) -> Result<json::Value> {
                             if (call.index == 1) return fail(Reason::field_value, "no such thing");
                             if (call.index == 2) throw std::runtime_error("thrown");
                             if (call.index == 3) return json::Value(0.0 / 0.0);
                             if (call.index == 4) throw 5;
                             return json::Value(call.index * 10);
                           })
            .ok());
  const JobId id = market.submit(JobMarket::job(6));
  const Job job = market.all.run_job(id).value();
  CHECK(job.status == JobStatus::partial);
  const JobResults results = market.all.job_results(id).value();
  CHECK(results.tasks[1].error == "no such thing");
  CHECK(results.tasks[2].error == "thrown");
  CHECK(results.tasks[3].failure == JobFailure::result_invalid);
  CHECK(results.tasks[4].failure == JobFailure::task_failed);
  CHECK(*results.tasks[5].result.integer() == 50);
}

TEST_CASE("what a function keeps, the next attempt of its task finds, until the job has ended") {
  store::Scratch folder;
  Options options;
  options.path = folder / "m.db";
  JobMarket market(options);
  const std::string kept = folder / "m.db-checkpoints";
  std::vector<std::string> found;
  CHECK(market.engine
            .register_task(
                "work",
                [&](const TaskCall& call) -> Result<json::Value> {
                  found.push_back(call.checkpoint().value());
                  CHECK(call.keep_checkpoint("lost").ok());
                  const std::string bytes = "task " + std::to_string(call.index) + std::string(1, '\0');
                  CHECK(call.keep_checkpoint(bytes).ok());
                  CHECK(call.keep_checkpoint(std::string(checkpoint_bytes_max + 1, 'x')).reason() ==
                        Reason::too_large);
                  if (call.attempt == 1) return fail(Reason::internal, "the first try");
                  return json::Value(true);
                })
            .ok());
  const JobId id = market.submit(JobMarket::job(2, {{"max_retries", 1}}));
  CHECK(market.all.run_job(id, {.enough = [&] { return found.size() == 2; }}).ok());
  // One file a task, and nothing half written.
  for (const char* task : {"/0", "/1"}) {
    std::vector<std::string> names;
    for (const auto& each : std::filesystem::directory_iterator(kept + '/' + id.text() + task))
      names.push_back(each.path().filename().string());
    CHECK(names == std::vector<std::string>{"state"});
  }
  market.pass(1'000);
  CHECK(market.all.run_job(id).ok());
  CHECK(market.now(id).status == JobStatus::completed);
  // Which is tried again first is left to chance.
  REQUIRE(found.size() == 4);
  std::sort(found.begin(), found.end());
  CHECK(found == std::vector<std::string>{"", "", std::string("task 0\0", 7), std::string("task 1\0", 7)});
  CHECK(std::filesystem::is_empty(kept));
}

TEST_CASE("a function keeps nothing of a job that is over, nor in a market in memory, nor through a link") {
  store::Scratch folder;
  Options options;
  options.path = folder / "m.db";
  JobMarket market(options);
  JobId id{};
  Result<Done> kept = Done{};
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             CHECK(market.all.cancel_job(id).ok());
                             // It is heard of with the next word of its lease.
                             call.progress(json::object({}));
                             kept = call.keep_checkpoint("late");
                             return json::Value(true);
                           })
            .ok());
  id = market.submit(JobMarket::job(1));
  CHECK(market.all.run_job(id).value().status == JobStatus::cancelled);
  CHECK(kept.reason() == Reason::stopped);
  CHECK_FALSE(std::filesystem::exists(folder / "m.db-checkpoints"));

  JobMarket memory;
  Reason reading = Reason::none;
  Reason keeping = Reason::none;
  CHECK(memory.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             reading = call.checkpoint().reason();
                             keeping = call.keep_checkpoint("x").reason();
                             return json::Value(true);
                           })
            .ok());
  const JobId other = memory.submit(JobMarket::job(1));
  CHECK(memory.all.run_job(other).value().status == JobStatus::completed);
  CHECK(reading == Reason::unsupported);
  CHECK(keeping == Reason::unsupported);

  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::create_directory(folder / "m.db-checkpoints");
  Result<std::string> read = std::string();
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             kept = call.keep_checkpoint("x");
                             read = call.checkpoint();
                             return json::Value(true);
                           })
            .ok());
  const JobId linked = market.submit(JobMarket::job(1));
  std::filesystem::create_directory_symlink(folder / "elsewhere",
                                            folder / "m.db-checkpoints/" + linked.text());
  CHECK(market.all.run_job(linked).value().status == JobStatus::completed);
  CHECK(kept.reason() == Reason::io_error);
  CHECK(read.reason() == Reason::io_error);
  CHECK(std::filesystem::is_empty(folder / "elsewhere"));
}

TEST_CASE("workers on many threads do each task once, across engines of one file") {
  store::Scratch scratch;
  const std::string path = scratch / "m.db";
  constexpr std::int64_t tasks = 5'000;
  std::vector<std::atomic<int>> times(tasks);
  const auto open = [&] {
    Engine engine = Engine::open({.path = path}).value();
    CHECK(engine
              .register_task("work",
                             [&](const TaskCall& call) -> Result<json::Value> {
                               ++times[call.index];
                               return json::Value(call.index);
                             })
              .ok());
    return engine;
  };
  Engine first = open(), second = open();
  JobId id;
  {
    Session all = first.as_operator();
    id = all.submit_job({.job = JobMarket::job(tasks)}).value().id;
    Worker one = Worker::start(first, {.threads = 3, .tasks_max = 7}).value();
    Worker two = Worker::start(second, {.name = "two", .threads = 3, .tasks_max = 50}).value();
    CHECK(all.wait_job(id, std::chrono::minutes(2)).value().status == JobStatus::completed);
  }
  for (const std::atomic<int>& each : times) CHECK(each == 1);
  const JobResults results = second.as_operator().job_results(id, {.limit = 1}).value();
  REQUIRE(results.result.array() != nullptr);
  REQUIRE(results.result.array()->size() == tasks);
  for (std::int64_t i = 0; i < tasks; ++i)
    CHECK(*(*results.result.array())[static_cast<std::size_t>(i)].integer() == i);
  CHECK(first.as_operator().audit().value().ok);
}

TEST_CASE("a worker that is stopped gives back what it has not begun") {
  JobMarket market;
  std::atomic<bool> begun{false};
  CHECK(market.engine
            .register_task("work",
                           [&](const TaskCall& call) -> Result<json::Value> {
                             begun = true;
                             while (!call.stopped()) std::this_thread::yield();
                             return json::Value(1);
                           })
            .ok());
  const JobId id = market.submit(JobMarket::job(10));
  {
    Worker worker = Worker::start(market.engine, {.tasks_max = 10}).value();
    while (!begun) std::this_thread::yield();
  }
  const Job job = market.now(id);
  CHECK(job.progress.completed == 1);
  CHECK(job.progress.running == 0);
  CHECK(job.progress.queued == 9);
  CHECK(market.lease(9).count == 9);  // at once, and as if nobody had had them
}

TEST_CASE("what a job is, and what it did, stands after the engine is closed") {
  store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  JobId id;
  {
    JobMarket market(options);
    market.price(1'000'000);
    id = market.submit(JobMarket::job(3));
    CHECK(market.done(market.lease(2), 1, 1'000).ok());
  }
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const Job job = all.job(id).value();
  CHECK(job.status == JobStatus::running);
  CHECK(job.cost == Money{1'000'000});
  CHECK(all.cancel_job(id).value().status == JobStatus::cancelled);
  CHECK(all.audit({}, AuditDepth::each).value().ok);
}

TEST_CASE("a report that is made again, since its answer was lost, counts once") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(3));
  const Lease lease = market.lease(3);
  Report report{.token = lease.token, .first = 0};
  report.outcomes.push_back({.result = json::Value("first")});
  CHECK(market.all.report_tasks(report).value().left == 2);
  CHECK(market.all.report_tasks(report).value().left == 2);
  CHECK(market.now(id).progress.completed == 1);
  report.outcomes.push_back({.result = json::Value("second")});
  CHECK(market.all.report_tasks(report).reason() == Reason::field_value);  // half of it is told already
  report.first = 2;
  CHECK(market.all.report_tasks(report).reason() == Reason::field_value);  // and here one would be left out
  report = {.token = lease.token, .first = 1};
  report.outcomes.push_back({.result = json::Value("second")});
  CHECK(market.all.report_tasks(report).value().left == 1);
  CHECK(*market.all.job_results(id).value().tasks[1].result.string() == "second");
}

TEST_CASE("CP-90: a failed attempt is shown with its output until the next one prints or ends") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(1, {{"max_retries", 3}}));
  const auto task = [&] { return market.all.job_tasks(id).value().items.at(0); };
  const auto output = [&] { return market.all.job_output(id).value(); };
  const auto fails = [&](const Lease& lease, const char* error, const char* out) {
    Report report{.token = lease.token};
    report.outcomes.push_back({.failure = JobFailure::exit_nonzero, .error = error, .ran_ms = 1, .out = out});
    CHECK(market.all.report_tasks(report).ok());
  };
  const auto next = [&] {
    market.pass(400);
    return market.lease();
  };
  fails(market.lease(), "code 1", "one\n");
  CHECK(task().status == TaskStatus::queued);
  CHECK(task().failure == JobFailure::exit_nonzero);
  CHECK(task().error == "code 1");

  const Lease second = next();
  CHECK(second.attempt == 2);
  CHECK(task().status == TaskStatus::running);
  CHECK(task().attempts == 2);
  CHECK(task().error == "code 1");
  CHECK(output().attempt == 1);
  // A heartbeat of one that has printed nothing yet changes nothing; the first byte does.
  CHECK(market.all.report_tasks({.token = second.token, .printed = Printed{}}).ok());
  CHECK(output().out == "one\n");
  CHECK(market.all.report_tasks({.token = second.token, .printed = Printed{.err = "t"}}).ok());
  CHECK(output().attempt == 2);
  CHECK(output().out.empty());
  CHECK(output().err == "t");
  CHECK(task().error == "code 1");
  CHECK(market.all.report_tasks({.token = second.token, .printed = Printed{.out = "two", .err = "t"}}).ok());
  CHECK(output().out == "two");
  fails(second, "code 2", "");
  CHECK(task().error == "code 2");
  CHECK(output().out == "two");

  CHECK(market.done(next()).ok());
  CHECK(task().status == TaskStatus::completed);
  CHECK(task().failure == JobFailure::none);
  CHECK(task().error.empty());
  CHECK(output().attempt == 2);
  market.check_books();
}

TEST_CASE("a task that is stopped with its job is shown with its attempt, and why it was stopped") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(3));
  const Lease lease = market.lease(2);
  CHECK(market.all.report_tasks({.token = lease.token, .printed = Printed{.out = "begun\n"}}).ok());
  CHECK(market.all.cancel_job(id).ok());
  const std::vector<JobTask> tasks = market.all.job_tasks(id).value().items;
  CHECK(tasks[0].attempts == 1);
  CHECK(tasks[0].failure == JobFailure::cancelled);
  CHECK(tasks[0].error == "it was cancelled");
  CHECK(tasks[1].attempts == 0);  // behind it in the lease, and never begun
  CHECK(tasks[1].failure == JobFailure::none);
  CHECK(market.all.job_output(id).value().out == "begun\n");
  CHECK(market.all.report_tasks({.token = lease.token, .printed = Printed{.out = "late"}}).reason() ==
        Reason::lease_lost);
  CHECK(market.all.job_output(id).value().out == "begun\n");
  // A worker that names what it did is heard to the end: of the task that ran, and of no other attempt.
  const auto last = [&](std::uint64_t task, std::int64_t attempt, const char* text) {
    return market.all.report_tasks({.token = lease.token,
                                    .first = task,
                                    .printed = Printed{.out = text},
                                    .job = id,
                                    .attempt = attempt});
  };
  CHECK(last(0, 1, "begun\nlast\n").value().left == 0);
  CHECK(market.all.job_output(id).value().out == "begun\nlast\n");
  CHECK(last(0, 2, "another").ok());
  CHECK(last(1, 1, "never begun").ok());
  CHECK(market.all.job_output(id).value().out == "begun\nlast\n");
  CHECK(market.all.job_output(id, 1).value().out.empty());
  // What it came to does not count any more.
  Report late{.token = lease.token, .first = 0, .printed = Printed{.out = "x"}, .job = id, .attempt = 1};
  late.outcomes.push_back({.result = json::Value(1), .ran_ms = 1});
  CHECK(market.all.report_tasks(late).reason() == Reason::lease_lost);
  const JobId stands = market.submit(JobMarket::job(1));
  const Lease live = market.lease();
  late = {.token = lease.token, .first = 0, .printed = Printed{.out = "x"}, .job = stands, .attempt = 1};
  CHECK(market.all.report_tasks(late).reason() == Reason::lease_lost);
  CHECK(market.all.job_output(stands).value().out.empty());
  CHECK(market.done(live).ok());
  // Nor that of a task whose lease was let pass by, and whose job goes on.
  const JobId passed = market.submit(JobMarket::job(2));
  late.token = market.lease().token;
  late.job = passed;
  market.pass(40);
  CHECK(market.all.report_tasks(late).reason() == Reason::lease_lost);
  CHECK(market.all.cancel_job(passed).ok());
  market.check_books();
}

TEST_CASE("what a worker says of a task's output is cut to what is kept, as an outcome's is") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(1));
  const Lease lease = market.lease();
  const std::string long_text(core::printed_bytes_max + 1'000, 'x');
  CHECK(market.all.report_tasks({.token = lease.token, .printed = Printed{.out = long_text}}).ok());
  const JobOutput output = market.all.job_output(id).value();
  CHECK(output.out.size() < core::printed_bytes_max);
  CHECK(output.out_dropped == 1'128);
  Report report{.token = lease.token};
  report.outcomes.push_back({.ran_ms = 1, .err = long_text});
  CHECK(market.all.report_tasks(report).ok());
  CHECK(market.all.job_output(id).value().err_dropped == 1'128);
}

TEST_CASE("the last progress of a task is kept, however soon it came after the one before") {
  JobMarket market;
  CHECK(market.engine
            .register_task("work",
                           [](const TaskCall& call) -> Result<json::Value> {
                             for (std::int64_t epoch : {1, 2})
                               call.progress(json::object({{"epoch", epoch}}));
                             if (call.index == 1) return fail(Reason::field_value, "no");
                             return json::Value(1);
                           })
            .ok());
  const JobId id = market.submit(JobMarket::job(2, {{"max_retries", 0}}));
  CHECK(market.all.run_job(id).ok());
  for (const JobTask& task : market.all.job_tasks(id).value().items)
    CHECK(json::canonical(task.progress) == R"({"epoch":2})");
  market.check_books();
}
