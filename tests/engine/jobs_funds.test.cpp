/// \file
/// A job whose money will not last says so while there is time to do something about it.
#include <algorithm>
#include <chrono>

#include "engine/job_market.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

namespace {

std::vector<JobEvent> told(JobMarket& market, JobId id, std::string_view what) {
  std::vector<JobEvent> out;
  for (JobEvent& event : market.all.job_events(id).value().items)
    if (*event.body.find("event")->string() == what) out.push_back(std::move(event));
  return out;
}

/// A job of twenty tasks that may take ten seconds each, at a FLOPS a second.
JobId capped_job(JobMarket& market, std::int64_t flops) {
  market.price(1'000'000);
  return market.submit(JobMarket::job(20, {{"max_cost", std::to_string(flops)}, {"max_retries", 0}}));
}

}  // namespace

TEST_CASE("a job whose money will not last says it once: what is left, for how many tasks, and until when") {
  JobMarket market;
  const JobId id = capped_job(market, 60);
  for (int i = 0; i < 2; ++i) CHECK(market.done(market.lease(), 1, 4'000).ok());
  CHECK(told(market, id, "low_funds").empty());  // two of twenty tell too little
  CHECK(market.done(market.lease(), 1, 4'000).ok());
  const std::vector<JobEvent> events = told(market, id, "low_funds");
  REQUIRE(events.size() == 1);
  // Of 60 FLOPS three tasks took 12. A task begins while ten are left, so ten more do, at four each.
  CHECK(json::canonical(events[0].body) ==
        R"({"event":"low_funds","left":48,"projected_tasks":10,"rate":1,"runs_out_at":")" +
            core::iso_text(Instant{market.now_us + 48'000'000}) + R"(","tasks_left":17})");
  std::int64_t more = 0;
  for (Lease lease = market.lease(); lease.count != 0; lease = market.lease(), ++more)
    CHECK(market.done(lease, 1, 4'000).ok());
  CHECK(more == 10);  // as it was projected
  CHECK(told(market, id, "low_funds").size() == 1);
  const Job job = market.now(id);
  CHECK(job.status == JobStatus::partial);
  CHECK(job.failure == JobFailure::budget_exhausted);
  CHECK(job.progress.completed == 13);
  market.check_books();
}

TEST_CASE("it is in the job's stream, between what came before and after") {
  JobMarket market;
  const JobId id = capped_job(market, 60);
  for (int i = 0; i < 3; ++i) CHECK(market.done(market.lease(), 1, 4'000).ok());
  CHECK(market.all.cancel_job(id).ok());
  std::vector<std::string> seen;
  JobStream stream = market.all.stream_job(id).value();
  while (!stream.ended())
    for (const JobNews& news : stream.next(std::chrono::milliseconds(100)).value())
      if (news.kind == NewsKind::event) seen.push_back(*news.body.find("event")->string());
  CHECK(std::find(seen.begin(), seen.end(), "low_funds") != seen.end());
}

TEST_CASE("a job whose money lasts says nothing of it") {
  struct Row {
    const char* says;
    std::int64_t flops, task_ms;
    bool low;
  };
  const Row rows[] = {
      {"it holds its worst case", 200, 10'000, false},
      {"and so what it asks for beyond that", 1'000, 10'000, false},
      {"it is capped, and its tasks are quick", 60, 2'000, false},
      {"to the last one", 19 * 2 + 10, 2'000, false},
      {"one FLOPS less", 19 * 2 + 9, 2'000, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    JobMarket market;
    const JobId id = capped_job(market, row.flops);
    for (Lease lease = market.lease(); lease.count != 0; lease = market.lease())
      CHECK(market.done(lease, 1, row.task_ms).ok());
    CHECK(told(market, id, "low_funds").size() == (row.low ? 1 : 0));
    CHECK(market.now(id).status == (row.low ? JobStatus::partial : JobStatus::completed));
  }
}

TEST_CASE("what is kept for the tasks that run is not taken for spent") {
  JobMarket market;
  const JobId id = capped_job(market, 60);
  const Lease lease = market.lease(6);  // the whole budget is kept for these six
  REQUIRE(lease.count == 6);
  for (int i = 0; i < 6; ++i)
    CHECK(market.done({.token = lease.token, .first = lease.first + static_cast<std::uint64_t>(i)}, 1, 2'000)
              .ok());
  CHECK(told(market, id, "low_funds").empty());
}

TEST_CASE("a job that costs nothing never runs short") {
  JobMarket market;
  const JobId id = market.submit(JobMarket::job(20));
  while (true) {
    const Lease lease = market.lease();
    if (lease.count == 0) break;
    CHECK(market.done(lease, 1, 9'000).ok());
  }
  CHECK(told(market, id, "low_funds").empty());
}
