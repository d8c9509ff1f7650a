/// \file
/// What somebody with the file in an editor can do to its jobs, and what the audit then says.
///
/// Every column of every table of jobs is changed, every table loses a row and gets one more; each time the
/// audit must name it, or the edit stands in the list of those that it passes, with the reason. The list is
/// exact: an edit that is found does not stand in it.
#include <filesystem>
#include <map>

#include "engine/job_market.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::Edit;
using testing::JobMarket;
using testing::Raw;
namespace json = core::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* tables[] = {"jobs",    "job_items", "job_edges", "job_states", "leases",  "job_times",
                                  "retries", "results",   "failures",  "usage",      "outputs", "job_events"};

/// A market in which every table of jobs has rows, folded into one file. Job 1 is completed and paid, 2 runs
/// and has a task that failed, one that is tried again and one that is with a worker, 3 waits for 2, 4 has
/// explicit items, 5 has a task that two workers have, 6 was paid to two hosts, 7 was cancelled.
void make_market(const std::string& path) {
  {
    Options options;
    options.path = path;
    JobMarket market(options);
    market.price(1'000'000);
    market.submit(JobMarket::job(2));
    CHECK(market.done(market.lease(2), 2, 1'500).ok());
    const JobId running = market.submit(JobMarket::job(6, {{"max_retries", 1}}));
    CHECK(market.done(market.lease(), 1, 700, JobFailure::task_failed).ok());
    market.pass(1);
    const Lease again = market.lease();
    CHECK(market.done(again, 1, 700, JobFailure::task_failed).ok());
    Lease lease = market.lease(3);
    Report report{.token = lease.token};
    report.outcomes.push_back({.result = json::Value(5), .ran_ms = 100, .out = "out", .err = "err"});
    report.outcomes.push_back({.failure = JobFailure::task_failed, .error = "no", .ran_ms = 100});
    market.pass(1);
    CHECK(market.all.report_tasks(report).value().left == 1);
    market.submit(JobMarket::job(1, {{"depends_on", json::array({json::Value(running.text())})}}));
    json::Object items;
    items.set("task", "work").set("timeout_s", 10);
    items.set("fan_out",
              json::object({{"items", json::array({json::object({{"a", 1}}), json::object({{"a", 2}})})}}));
    market.all.submit_job({.job = items, .wallet = market.payer, .idempotency_key = "once"}).value();
    market.submit(JobMarket::job(12, {{"task", "other"}, {"idempotent", true}, {"timeout_s", 40}}));
    const auto lease_other = [&](const char* worker) {
      return market.all.lease_tasks({.worker = worker, .tasks = {"other"}}).value();
    };
    for (int i = 0; i < 11; ++i) CHECK(market.done(lease_other("w"), 1, 100).ok());
    const Lease slow = lease_other("slow");
    for (int i = 0; i < 2; ++i) {
      market.pass(16);
      CHECK(market.all.report_tasks({.token = slow.token}).ok());
      CHECK(market.all.report_tasks({.token = lease.token}).ok());
    }
    CHECK(lease_other("quick").first == slow.first);
    market.submit(JobMarket::job(2, {{"task", "shared"}}));
    const WalletId second = market.all.create_wallet({.owner_id = "second host"}).value().wallet.id;
    for (const std::optional<WalletId>& host : {std::optional<WalletId>(), std::optional(second)}) {
      const LeaseAsked asked{.worker = "w", .host_wallet = host, .tasks = {"shared"}};
      CHECK(market.done(market.all.lease_tasks(asked).value(), 1, 500).ok());
    }
    const JobId cancelled = market.submit(JobMarket::job(3));
    CHECK(market.all.cancel_job(cancelled).ok());
    market.check_books();
  }
  Raw(path).run("PRAGMA wal_checkpoint(TRUNCATE)");
}

void copy_market(const std::string& from, const std::string& to) {
  for (const char* suffix : {"-wal", "-shm", "-gate", "-keys"}) fs::remove(to + suffix);
  fs::copy_file(from, to, fs::copy_options::overwrite_existing);
  fs::copy_file(from + "-keys", to + "-keys");
}

/// What an audit says of the file; empty when it passes.
std::string found_in(const std::string& path) {
  Options options;
  options.path = path;
  Result<Engine> engine = Engine::open(options);
  if (!engine.ok()) return "refused: " + engine.error().message;
  const Result<AuditReport> report = engine->as_operator().audit({}, AuditDepth::each);
  if (!report.ok()) return "refused: " + report.error().message;
  return report->first_fault;
}

/// What an audit passes, by the edit's name ("jobs.tasks", "results: a row less"), and why.
using Passed = std::map<std::string, const char*>;

const Passed& passed_by_the_audit() {
  constexpr const char* words = "says how something went, in words or numbers that nothing is reckoned from";
  constexpr const char* scheduling = "moves when or where a task is done, and neither money nor results";
  constexpr const char* printed =
      "is what a task printed: kept as long as it is of use, and never vouched for";
  constexpr const char* secret = "is drawn: its worker finds no lease, and the task is handed out again";
  // What an audit could tell and does not yet. Money does not depend on it: a job's hold is its lock's, what
  // was settled is in the log, and a receipt is signed.
  constexpr const char* spec = "the payloads would be other ones: an audit splits no job again";
  constexpr const char* unsettled = "of a job that was not settled nothing else says what it is";
  constexpr const char* ranges = "an audit counts a job's tasks, and does not look which ones they are";
  constexpr const char* edges = "an audit does not walk what jobs wait for";
  static const Passed list = {
      {"jobs.at_us", spec},
      {"jobs.once", spec},
      {"jobs.tasks", spec},
      {"jobs.rate", spec},
      {"jobs.revision", "an audit looks up no job's project: another revision's code would run"},
      {"job_items: a row more", spec},
      {"job_edges.upstream", edges},
      {"job_edges.downstream", edges},
      {"job_edges: a row less", edges},
      {"job_edges: a row more", edges},
      {"job_states.waiting", edges},
      {"job_states.attempts", scheduling},
      {"job_states.low_funds", words},
      {"job_states.priority", scheduling},
      {"job_states.ready", scheduling},
      {"job_states.fresh", ranges},
      {"job_states.committed", scheduling},
      {"job_states.host", unsettled},
      {"job_states.started", words},
      {"job_states.ended", words},
      {"job_states.error", words},
      {"job_states.failure", words},
      {"job_states.output", unsettled},
      {"leases.token", secret},
      {"leases.attempt", scheduling},
      {"leases.lost", scheduling},
      {"leases.worker", words},
      {"leases.host", words},
      {"leases.since", scheduling},
      {"leases.expires", scheduling},
      {"leases.copied", scheduling},
      {"job_times.job", scheduling},
      {"job_times.bucket", scheduling},
      {"job_times.count", scheduling},
      {"job_times: a row less", scheduling},
      {"job_times: a row more", scheduling},
      {"retries.task", ranges},
      {"retries.attempts", scheduling},
      {"retries.lost", scheduling},
      {"retries.not_before", scheduling},
      {"results.attempts", scheduling},
      {"results.body", unsettled},
      {"failures.task", ranges},
      {"failures.attempts", words},
      {"failures.failure", words},
      {"failures.message", words},
      {"usage.lease", words},
      {"usage.sequence", words},
      {"usage.host", words},
      {"usage.attempts", words},
      {"outputs.job", printed},
      {"outputs.task", printed},
      {"outputs.attempt", printed},
      {"outputs.out", printed},
      {"outputs.err", printed},
      {"outputs.out_dropped", printed},
      {"outputs.err_dropped", printed},
      {"outputs.progress", printed},
      {"outputs.tried", words},
      {"outputs.failure", words},
      {"outputs.message", words},
      {"outputs: a row less", printed},
      {"outputs: a row more", printed},
      {"job_events.at_us", words},
      {"job_events.body", words},
      {"a result for another task", ranges},
      {"a lease of another task", ranges},
  };
  return list;
}

}  // namespace

TEST_CASE("each row of a job that is edited, removed or added is named by the audit, or known to be passed") {
  const store::Scratch scratch;
  const std::string whole = scratch / "market.db", copy = scratch / "copy.db";
  make_market(whole);
  copy_market(whole, copy);
  REQUIRE(found_in(copy).empty());

  struct Trial {
    std::string name, sql;
  };
  std::vector<Trial> trials;
  {
    Raw raw(whole);
    for (const std::string table : tables) {
      CAPTURE(table);
      REQUIRE(raw.number("SELECT count(*) FROM " + table) > 0);
      const std::vector<std::string> columns =
          raw.texts("SELECT name FROM pragma_table_info('" + table + "')");
      const std::string key =
          raw.text("SELECT group_concat(name) FROM pragma_table_info('" + table + "') WHERE pk > 0");
      // The last row of each: it belongs to a job that is under way, or to the youngest.
      std::string order = key + " DESC";
      for (std::size_t at = 0; (at = order.find(',', at)) != std::string::npos; at += 6)
        order.insert(at, " DESC");
      const std::string one =
          " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table + " ORDER BY " + order + " LIMIT 1)";
      std::string again;
      for (const std::string& column : columns) {
        const std::string type =
            raw.text("SELECT type FROM pragma_table_info('" + table + "') WHERE name = '" + column + "'");
        const std::string other = type == "INTEGER" ? column + " + 1"
                                  : type == "TEXT"  ? column + " || ' '"
                                                    : "zeroblob(32)";
        trials.push_back({table + "." + column, "UPDATE " + table + " SET " + column + " = " + other + one});
        const bool last_of_key = column == key.substr(key.find_last_of(',') + 1);
        again += (again.empty() ? "" : ", ") + (last_of_key ? column + " + 1" : column);
      }
      trials.push_back({table + ": a row less", "DELETE FROM " + table + one});
      trials.push_back(
          {table + ": a row more", "INSERT INTO " + table + " SELECT " + again + " FROM " + table + one});
    }
  }
  // What nobody does by chance: several rows that agree with each other.
  trials.push_back({"a charge, in the state and in its usage",
                    "UPDATE job_states SET charged = charged + 1 WHERE number = 1; UPDATE usage SET amount = "
                    "amount + 1 WHERE job = 1"});
  trials.push_back({"a charge less than was settled",
                    "UPDATE job_states SET charged = 0, ran_ms = 0 WHERE number = 1; DELETE FROM usage WHERE "
                    "job = 1"});
  trials.push_back({"a result of a job that is settled", "UPDATE results SET body = '[7,7]' WHERE job = 1"});
  trials.push_back({"an output hash that its receipt has not",
                    "UPDATE job_states SET output = zeroblob(32) WHERE number = 1"});
  trials.push_back(
      {"a receipt that is another job's", "UPDATE job_states SET receipt = -1 WHERE number = 1"});
  trials.push_back(
      {"a job that has ended runs again", "UPDATE job_states SET status = 2, ended = 0 WHERE number = 1"});
  trials.push_back({"a job that runs has ended", "UPDATE job_states SET status = 3 WHERE number = 2"});
  trials.push_back(
      {"a task twice in results",
       "INSERT INTO results SELECT job, first + 1, 1, 1, '[1]' FROM results WHERE job = 1; UPDATE "
       "job_states SET completed = completed + 1 WHERE number = 1"});
  trials.push_back({"a result for another task", "UPDATE results SET first = 5 WHERE job = 2"});
  trials.push_back({"a lease of another task", "UPDATE leases SET first = first + 1 WHERE job = 2"});
  trials.push_back(
      {"a copy of another task", "UPDATE leases SET first = first - 1 WHERE job = 5 AND worker = 'slow'"});
  trials.push_back({"a hold less", "UPDATE jobs SET hold = hold - 1 WHERE number = 2"});
  trials.push_back({"a lock of another job", "UPDATE jobs SET lock = lock - 1 WHERE number = 2"});
  trials.push_back({"a payer of another job",
                    "UPDATE jobs SET account = account + 1 WHERE number = 2; UPDATE job_states SET account = "
                    "account + 1 WHERE number = 2"});
  trials.push_back({"a spec and its hash of another job",
                    "UPDATE jobs SET spec = (SELECT spec FROM jobs WHERE number = 1), request = (SELECT "
                    "request FROM jobs WHERE number = 1) WHERE number = 7"});
  trials.push_back({"a share that is another host's",
                    "UPDATE usage SET host = (SELECT max(host) FROM usage WHERE job = 6) WHERE job = 6"});
  trials.push_back({"two shares of two hosts change hands",
                    "UPDATE usage SET host = (SELECT sum(DISTINCT host) FROM usage WHERE job = 6) - host, "
                    "amount = amount + 1 - 2 * (sequence = 1) WHERE job = 6"});
  trials.push_back(
      {"a job of several hosts is one's",
       "UPDATE job_states SET host = (SELECT max(host) FROM usage WHERE job = 6) WHERE number = 6"});
  trials.push_back(
      {"a receipt less than there are hosts", "UPDATE job_states SET receipts = 1 WHERE number = 6"});

  std::uint64_t named = 0, passed = 0;
  for (const Trial& trial : trials) {
    CAPTURE(trial.name);
    copy_market(whole, copy);
    Edit(copy).run(trial.sql);
    const std::string fault = found_in(copy);
    const auto passes = passed_by_the_audit().find(trial.name);
    if (fault.empty()) {
      ++passed;
      CHECK_MESSAGE(passes != passed_by_the_audit().end(), "no audit names it");
    } else {
      ++named;
      CHECK_MESSAGE(passes == passed_by_the_audit().end(), "it is found: " << fault);
    }
  }
  MESSAGE(named, " edits of jobs are named by the audit, ", passed, " are passed for a reason");
  testing::told("edits of jobs' rows named by the audit", named);
  testing::told("edits of jobs' rows passed for a reason", passed);
}
