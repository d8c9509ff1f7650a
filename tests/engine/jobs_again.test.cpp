/// \file
/// Jobs that do an earlier one again without what is done.
#include "engine/job_market.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

namespace {

/// Lease by lease to the job's end: each task takes a second; those that `fails` names fail.
std::vector<std::uint64_t> work_off(JobMarket& market, const std::vector<std::uint64_t>& fails = {},
                                    std::uint64_t most = 3) {
  std::vector<std::uint64_t> ran;
  for (;;) {
    const Lease lease = market.lease(most);
    if (lease.count == 0) return ran;
    for (std::uint64_t task = lease.first; task < lease.first + lease.count; ++task) {
      ran.push_back(task);
      const bool failed = std::find(fails.begin(), fails.end(), task) != fails.end();
      market.now_us += core::us_per_second;
      Report report{.token = lease.token};
      report.outcomes.push_back({.failure = failed ? JobFailure::task_failed : JobFailure::none,
                                 .result = json::object({{"n", task}}),
                                 .error = failed ? "no" : "",
                                 .ran_ms = 1'000});
      REQUIRE(market.all.report_tasks(report).ok());
    }
  }
}

json::Value result_of(JobMarket& market, JobId id) {
  return market.all.job_results(id, {.limit = 1}).value().result;
}

json::Object sweep_of(std::vector<json::Value> x, std::vector<json::Member> more = {}) {
  json::Object job;
  job.set("task", "work").set("timeout_s", 10).set("type", "sweep");
  job.set("parameters", json::object({{"x", json::Value(json::Array(std::move(x)))}}));
  for (json::Member& member : more) job.set(member.key, std::move(member.value));
  return job;
}

Error refused(JobMarket& market, json::Object job) {
  const Result<JobSubmitted> submitted =
      market.all.submit_job({.job = std::move(job), .wallet = market.payer});
  REQUIRE_FALSE(submitted.ok());
  return submitted.error();
}

}  // namespace

TEST_CASE("a retry runs what failed and what never ran, and pays for that alone") {
  JobMarket market;
  market.price(1'000'000);
  // Nine of ten tasks run; 2, 5 and 6 fail; then the job is cancelled with the last one still to come.
  const JobId first = market.submit(JobMarket::job(10, {{"tags", json::array({"night"})}}));
  const Lease lease = market.lease(9);
  for (std::uint64_t task = 0; task < 9; ++task)
    REQUIRE(market
                .done({.token = lease.token, .first = task}, 1, 1'000,
                      task == 2 || task == 5 || task == 6 ? JobFailure::task_failed : JobFailure::none)
                .ok());
  REQUIRE(market.all.cancel_job(first).ok());
  const Money spent{1'000'000'000 - market.balance().micro};

  json::Object again;
  again.set("retry_of", first.text());
  const JobEstimate estimate = market.all.estimate_job({.job = again, .wallet = market.payer}).value();
  CHECK(estimate.tasks == 10);
  CHECK(estimate.hold == Money{4 * 10 * 1'000'000});
  const JobId second = market.submit(again);
  const Job job = market.now(second);
  CHECK(job.retry_of == first);
  CHECK(job.hold == estimate.hold);
  CHECK(job.tags == std::vector<std::string>{"night"});
  CHECK(job.progress.completed == 6);
  CHECK(job.progress.queued == 4);
  CHECK(job.cost == Money{});
  market.check_books();

  CHECK(work_off(market, {}, 100) == std::vector<std::uint64_t>{2, 5, 6, 9});
  const Job done = market.now(second);
  CHECK(done.status == JobStatus::completed);
  CHECK(done.cost == Money{4'000'000});
  CHECK(done.receipt);
  CHECK(market.balance() == Money{1'000'000'000 - spent.micro - 4'000'000});
  const json::Value merged = result_of(market, second);
  REQUIRE(merged.array()->size() == 10);
  CHECK((*merged.array())[1] == json::Value(1));
  CHECK((*merged.array())[2] == json::object({{"n", 2}}));
  CHECK((*merged.array())[9] == json::object({{"n", 9}}));
  CHECK(market.now(first).status == JobStatus::cancelled);
  market.check_books();

  CHECK(refused(market, json::Object(again).set("retry_of", second.text())).reason == Reason::field_value);
}

TEST_CASE("a retry of a retry, of explicit items, in a file that is opened again") {
  const store::Scratch folder;
  Options options;
  options.path = folder / "market.db";
  JobId first;
  JobId second;
  {
    JobMarket market(options);
    json::Array items;
    for (int i = 0; i < 5'000; ++i) items.push_back(json::object({{"i", i}}));
    json::Object job;
    job.set("task", "work").set("timeout_s", 10).set("fan_out", json::object({{"items", std::move(items)}}));
    first = market.submit(std::move(job));
    CHECK(work_off(market, {0, 4'500, 4'999}, 4'096).size() == 5'000);
    CHECK(market.now(first).status == JobStatus::partial);
    second = market.submit(json::Object().set("retry_of", first.text()));
    CHECK(work_off(market, {4'500}, 4'096) == std::vector<std::uint64_t>{0, 4'500, 4'999});
    CHECK(market.now(second).progress.failed == 1);
  }
  JobMarket market(options);
  const JobId third = market.submit(json::Object().set("retry_of", second.text()).set("max_retries", 1));
  const Lease lease = market.lease(10);
  CHECK(lease.first == 4'500);
  CHECK(lease.count == 1);
  CHECK(lease.attempt == 1);
  CHECK(market.all.task_payloads(lease).value().front() == json::object({{"i", 4'500}}));
  REQUIRE(market.done(lease, 1, 0, JobFailure::task_failed).ok());
  market.pass(3'600);
  CHECK(work_off(market) == std::vector<std::uint64_t>{4'500});  // its own second try
  CHECK(market.now(third).status == JobStatus::completed);
  CHECK(result_of(market, third).array()->size() == 5'000);
  market.check_books();
}

TEST_CASE("a sweep goes on from another by its points, wherever they stand now") {
  JobMarket market;
  market.price(1'000'000);
  const JobId first = market.submit(sweep_of({1, 2, 3, 4}));
  CHECK(work_off(market, {2}).size() == 4);

  // 2 and 4 are finished, under other indices; 3 failed; 9 and 7 are new.
  json::Object wider = sweep_of({9, 4, 2.0, 3, 7}, {{"resume_from", first.text()}});
  const JobId second = market.submit(wider);
  CHECK(market.now(second).resume_from == first);
  CHECK(market.now(second).hold == Money{3 * 10 * 1'000'000});
  CHECK(work_off(market) == std::vector<std::uint64_t>{0, 3, 4});
  CHECK(market.now(second).cost == Money{3'000'000});
  std::vector<json::Value> came;
  for (const JobTask& task : market.all.job_results(second, {.limit = 10}).value().tasks)
    came.push_back(task.result);
  const auto n = [](int i) { return json::object({{"n", i}}); };
  CHECK(came == std::vector<json::Value>{n(0), n(3), n(1), n(3), n(4)});

  // All of it is there: nothing runs, nothing is held, and it ends.
  const JobId third = market.submit(sweep_of({7, 9}, {{"resume_from", second.text()}}));
  CHECK(market.now(third).hold == Money{});
  CHECK(work_off(market).empty());
  CHECK(market.now(third).status == JobStatus::completed);
  CHECK(market.now(third).output_hash);
  CHECK_FALSE(market.now(third).receipt);
  market.check_books();
}

TEST_CASE("what is no job to do again is refused, with the member at fault, and nothing is held") {
  JobMarket market;
  market.price(1'000'000);
  const JobId running = market.submit(JobMarket::job(2));
  const auto names = [](std::string_view field, JobId id) {
    return json::Object().set(std::string(field), id.text());
  };
  CHECK(refused(market, names("retry_of", running)).reason == Reason::field_value);
  CHECK(work_off(market, {1}).size() == 2);
  const JobId partial = running;
  const JobId sweep = market.submit(sweep_of({1, 2}, {{"fixed_payload", json::object({{"a", 1}})}}));
  CHECK(work_off(market, {1}).size() == 2);
  const Money held = market.held();

  struct Row {
    const char* says;
    json::Object job;
    const char* field;
  };
  json::Object other_inputs = JobMarket::job(3, {{"retry_of", partial.text()}});
  json::Object other_work = JobMarket::job(2, {{"retry_of", partial.text()}, {"task", "other"}});
  const std::vector<Row> rows = {
      {"other inputs", other_inputs, "/retry_of"},
      {"other work", other_work, "/retry_of"},
      {"no sweep", names("resume_from", partial), "/resume_from"},
      {"another fixed payload",
       sweep_of({1}, {{"resume_from", sweep.text()}, {"fixed_payload", json::object({{"a", 2}})}}),
       "/resume_from"},
      {"in batches",
       sweep_of(
           {1, 2},
           {{"resume_from", sweep.text()}, {"fixed_payload", json::object({{"a", 1}})}, {"batch_size", 2}}),
       "/resume_from"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Error error = refused(market, row.job);
    CHECK(error.reason == Reason::field_value);
    CHECK(*error.details.find("field")->string() == row.field);
  }
  CHECK(market.held() == held);

  // Another's job is nobody's.
  const WalletId stranger = market.all.create_wallet({.owner_id = "stranger"}).value().wallet.id;
  const std::string key = market.all.issue_key(stranger, "key").value().api_key;
  const Result<JobSubmitted> asked =
      market.engine.session(key).value().submit_job({.job = names("retry_of", partial)});
  CHECK(asked.reason() == Reason::job_unknown);
  market.check_books();
}

TEST_CASE("a submit that is sent again with its key takes nothing over twice") {
  JobMarket market;
  const JobId first = market.submit(JobMarket::job(4));
  CHECK(work_off(market, {3}).size() == 4);
  const JobSubmit again{.job = json::Object().set("retry_of", first.text()),
                        .wallet = market.payer,
                        .idempotency_key = "again"};
  const JobSubmitted one = market.all.submit_job(again).value();
  CHECK(work_off(market) == std::vector<std::uint64_t>{3});
  const JobSubmitted two = market.all.submit_job(again).value();
  CHECK(two.replayed);
  CHECK(two.id == one.id);
  CHECK(market.now(one.id).status == JobStatus::completed);
  market.check_books();
}
