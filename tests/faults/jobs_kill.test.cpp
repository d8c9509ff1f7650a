/// \file
/// Workers that share a market's file are killed at any moment: no task is done twice or lost, each job is
/// settled once, and every report that was answered stands.
#include <doctest/doctest.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/calyx.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "faults/children.hpp"
#include "runner/tasks.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

namespace calyx::faults {
namespace {

namespace json = core::json;
using testing::by_scale;
using testing::Dice;

constexpr std::int64_t tasks_a_job = 12;
constexpr std::int64_t topup_micro = 1'000'000'000'000;

/// The market's clock. A round is later than any lease of the round before, and than any retry's pause.
std::function<std::int64_t()> clock_of(std::uint64_t round) {
  const auto begun = std::chrono::steady_clock::now();
  return [begun, round] {
    constexpr std::int64_t first_us = 1'800'000'000'000'000, round_us = 400'000'000;
    const auto passed =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
    return first_us + static_cast<std::int64_t>(round) * round_us + passed.count();
  };
}

Result<Engine> open(const std::string& path, std::uint64_t round) {
  Options options;
  options.path = path;
  options.busy_timeout_ms = 10'000;
  options.now_us = clock_of(round);
  return Engine::open(std::move(options));
}

/// The payer: made by whoever comes first, the same for all.
Result<WalletId> payer_of(Session& all) {
  CALYX_TRY(const WalletCreated payer, all.create_wallet({.owner_id = "payer", .idempotency_key = "payer"}));
  return payer.wallet.id;
}

/// One of two that workers are paid to, so that jobs end in settlements of several payments.
Result<WalletId> host_of(Session& all, std::uint64_t which) {
  const std::string name = which % 2 == 0 ? "even-host" : "odd-host";
  CALYX_TRY(const WalletCreated host, all.create_wallet({.owner_id = name, .idempotency_key = name}));
  return host.wallet.id;
}

/// What does the tasks of a market.
enum class Work : std::uint8_t { functions, commands };

/// How long the processes sleep that tasks leave behind. Nobody else's have this word, which this process and
/// its children share: it ends in a letter, since another's number may begin as ours.
const std::string left_s = "60.0" + std::to_string(::getpid()) + "s";

JobSubmit job_of(const WalletId& payer, const std::string& key) {
  JobSubmit asked{.wallet = payer, .idempotency_key = key};
  asked.job.set("task", "work").set("timeout_s", 10).set("max_retries", 1);
  asked.job.set("fan_out",
                json::object({{"chunks", tasks_a_job}, {"range_field", "n"}, {"total", tasks_a_job}}));
  return asked;
}

/// The same of commands: each leaves a process behind, prints more than a pipe takes, and gives its payload.
JobSubmit command_job_of(const WalletId& payer, const std::string& key) {
  JobSubmit asked{.wallet = payer, .idempotency_key = key};
  const std::string script = "echo begun; sleep " + left_s +
                             " & yes | head -c 100000; cp $COMPUTALOT_TASK_PAYLOAD "
                             "$COMPUTALOT_TASK_RESULT; echo done";
  asked.job.set("image", "any").set("command", json::array({"sh", "-c", script}));
  asked.job.set("timeout_s", 10).set("max_retries", 1);
  asked.job.set("fan_out", json::object({{"chunks", 3}, {"range_field", "n"}, {"total", 3}}));
  return asked;
}
JobSubmit job_of(Work work, const WalletId& payer, const std::string& key) {
  return work == Work::commands ? command_job_of(payer, key) : job_of(payer, key);
}

CommandOptions commands_of(const std::string& path) {
  return {.scratch = path + "-tasks",
          .helper = testing::runner_helper,
          .allow_bare_host = true,
          .containers = "none"};
}

/// What a child does until it is killed. It says "submitted KEY JOB" and "reported JOB FIRST COUNT NAME" once
/// the call has come back; the result of each task that it did is NAME, which no other report has.
int do_functions(const std::string& path, std::uint64_t round, std::size_t process, int pipe) {
  Result<Engine> engine = open(path, round);
  if (!engine.ok()) {
    tell(pipe, "failed to open: " + engine.error().message);
    return 1;
  }
  Session all = engine->as_operator();
  const Result<WalletId> payer = payer_of(all);
  if (!payer.ok()) return 1;
  const Result<WalletId> hosts[] = {host_of(all, 0), host_of(all, 1)};
  if (!hosts[0].ok() || !hosts[1].ok()) return 1;
  Dice dice(round * 1'000 + process);
  const std::string self = std::to_string(round) + "." + std::to_string(process) + ".";
  for (std::uint64_t i = 0;; ++i) {
    const std::string name = self + std::to_string(i);
    if (i % 6 == 0) {
      const Result<JobSubmitted> submitted = all.submit_job(job_of(*payer, name));
      if (!submitted.ok()) {
        tell(pipe, "failed to submit: " + submitted.error().message);
        return 1;
      }
      tell(pipe, "submitted " + name + " " + submitted->id.text());
    }
    const Result<Lease> lease = all.lease_tasks({.worker = name,
                                                 .host_wallet = *hosts[dice.below(2)],
                                                 .tasks = {"work"},
                                                 .tasks_max = 1 + dice.below(6)});
    if (!lease.ok()) {
      tell(pipe, "failed to lease: " + lease.error().message);
      return 1;
    }
    if (lease->count == 0) continue;
    Report report{.token = lease->token, .gives_back = true};
    const std::uint64_t done = dice.below(8) == 0 ? dice.below(lease->count + 1) : lease->count;
    const bool fails = done != 0 && dice.below(6) == 0;
    for (std::uint64_t task = 0; task < done; ++task)
      report.outcomes.push_back({.failure = fails ? JobFailure::task_failed : JobFailure::none,
                                 .result = json::Value(name),
                                 .ran_ms = static_cast<std::int64_t>(dice.below(20))});
    const Result<Reported> reported = all.report_tasks(report);
    if (!reported.ok()) {
      tell(pipe, "failed to report: " + reported.error().message);
      return 1;
    }
    if (!fails && done != 0)
      tell(pipe, "reported " + lease->job.text() + " " + std::to_string(lease->first) + " " +
                     std::to_string(done) + " " + name);
  }
}

/// The same with a worker that runs commands, on two threads. It says "ended JOB STATUS" of a job that has.
int run_commands(const std::string& path, std::uint64_t round, std::size_t process, int pipe) {
  Result<Engine> engine = open(path, round);
  if (!engine.ok()) {
    tell(pipe, "failed to open: " + engine.error().message);
    return 1;
  }
  Session all = engine->as_operator();
  const Result<WalletId> payer = payer_of(all);
  const Result<WalletId> host = host_of(all, process);
  if (!payer.ok() || !host.ok()) return 1;
  const std::string self = std::to_string(round) + "." + std::to_string(process) + ".";
  const Result<Worker> worker = Worker::start(
      *engine,
      {.name = self, .threads = 2, .tasks_max = 2, .host_wallet = *host, .commands = commands_of(path)});
  if (!worker.ok()) {
    tell(pipe, "failed to start: " + worker.error().message);
    return 1;
  }
  for (std::uint64_t i = 0;; ++i) {
    const std::string name = self + std::to_string(i);
    const Result<JobSubmitted> submitted = all.submit_job(command_job_of(*payer, name));
    if (!submitted.ok()) {
      tell(pipe, "failed to submit: " + submitted.error().message);
      return 1;
    }
    tell(pipe, "submitted " + name + " " + submitted->id.text());
    const Result<Job> job = all.wait_job(submitted->id, std::chrono::minutes(1));
    if (!job.ok()) {
      tell(pipe, "failed to wait: " + job.error().message);
      return 1;
    }
    if (is_terminal(job->status))
      tell(pipe, "ended " + submitted->id.text() + " " + std::string(word(job->status)));
  }
}

/// What was answered, over all rounds: it must stand in each round after.
struct Answered {
  std::map<std::string, std::string> jobs;                            ///< By the submit's key.
  std::map<std::string, std::map<std::uint64_t, std::string>> tasks;  ///< By job and task.
  std::map<std::string, std::string> ended;                           ///< How jobs of commands did.
};

/// Empty, or what the child says went wrong.
std::string hear(const Child& child, Answered& answered, std::uint64_t& heard) {
  std::string all, failure;
  char bytes[4096];
  for (ssize_t got; (got = ::read(child.pipe, bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(got));
  ::close(child.pipe);
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what, job, name;
    words >> what;
    ++heard;
    if (what == "submitted") {
      words >> name >> job;
      answered.jobs[name] = job;
    } else if (what == "reported") {
      std::uint64_t first = 0, count = 0;
      words >> job >> first >> count >> name;
      for (std::uint64_t i = first; i < first + count; ++i)
        if (!answered.tasks[job].emplace(i, name).second)
          return "task " + std::to_string(i) + " of " + job + " was done twice";
    } else if (what == "ended") {
      words >> job >> name;
      answered.ended[job] = name;
    } else {
      failure = line;
    }
  }
  return failure;
}

/// Whether all that was answered stands, and every job's money is where its state says.
std::string judge(Engine& engine, Work work, const Answered& answered, AuditDepth depth) {
  Session all = engine.as_operator();
  const Result<AuditReport> report = all.audit({}, depth);
  if (!report.ok()) return "no audit: " + report.error().message;
  if (!report->ok) return "the audit says: " + report->first_fault;
  const WalletId payer = payer_of(all).value();
  for (const auto& [key, job] : answered.jobs) {
    const Result<JobSubmitted> again = all.submit_job(job_of(work, payer, key));
    if (!again.ok() || !again->replayed || again->id.text() != job)
      return "submit " + key + " does not stand";
  }
  for (const auto& [id, tasks] : answered.tasks) {
    const Result<JobResults> results = all.job_results(*JobId::read(id));
    if (!results.ok()) return "the results of " + id + ": " + results.error().message;
    for (const auto& [task, name] : tasks) {
      const JobTask& is = results->tasks[task];
      if (is.status != TaskStatus::completed || is.result.string() == nullptr || *is.result.string() != name)
        return "task " + std::to_string(task) + " of " + id + " was answered to " + name +
               ", and does not stand";
    }
  }
  for (const auto& [id, status] : answered.ended) {
    const Job job = all.job(*JobId::read(id)).value();
    if (word(job.status) != status) return "job " + id + " was answered to be " + status;
    if (job.status != JobStatus::completed) continue;
    for (const JobTask& task : all.job_results(job.id).value().tasks)
      if (task.result.object() == nullptr ||
          !all.job_output(job.id, task.index).value().out.ends_with("y\ndone\n"))
        return "task " + std::to_string(task.index) + " of " + id + " lacks what it gave or printed";
  }
  // What was paid in is with the payer, is held, or was charged by a job that has ended.
  std::int64_t spent = 0, holds = 0;
  Page page{.limit = 1'000};
  do {
    const Listed<Job> jobs = all.jobs({}, page).value();
    for (const Job& job : jobs.items) {
      if (job.cost > job.hold) return "a job costs more than it holds";
      (is_terminal(job.status) ? spent : holds) += (is_terminal(job.status) ? job.cost : job.hold).micro;
      if (is_terminal(job.status) && job.receipts.empty() != (job.cost.micro == 0))
        return "a job that has ended lacks its receipt";
    }
    page.after = jobs.next;
  } while (!page.after.empty());
  const Wallet wallet = all.wallet(payer).value();
  if (wallet.held.micro != holds) return "the payer holds other sums than its jobs";
  if (wallet.balance.micro + holds + spent != topup_micro) return "money was lost, or charged twice";
  return {};
}

/// Does what is left, as workers would; each job then has ended.
std::string finish(Engine& engine) {
  Session all = engine.as_operator();
  for (;;) {
    const Result<Lease> lease = all.lease_tasks({.worker = "last",
                                                 .tasks = {"work"},
                                                 .commands = true,
                                                 .images = {std::string(any_image)},
                                                 .tasks_max = 100});
    if (!lease.ok()) return "the last lease: " + lease.error().message;
    if (lease->count == 0) break;
    Report report{.token = lease->token};
    for (std::uint64_t i = 0; i < lease->count; ++i)
      report.outcomes.push_back({.result = json::Value("last")});
    if (const Result<Reported> done = all.report_tasks(report); !done.ok())
      return "the last report: " + done.error().message;
  }
  for (const JobStatus status : {JobStatus::planning, JobStatus::queued, JobStatus::running})
    if (!all.jobs({.status = status}).value().items.empty()) return "a job does not end";
  return {};
}

/// With every engine closed a plain connection disturbs nobody's locks.
std::string judge_rows(const std::string& path, Work work) {
  struct Row {
    const char* says;
    const char* sql;
    const char* expected;
  };
  std::vector<Row> rows = {
      {"the file", "PRAGMA integrity_check", "ok"},
      {"results of one task twice",
       "SELECT count(*) FROM results a JOIN results b ON a.job = b.job AND a.first < b.first AND b.first < "
       "a.first + a.count",
       "0"},
      {"tasks that both failed and did not",
       "SELECT count(*) FROM failures f JOIN results r ON f.job = r.job AND f.task >= r.first AND f.task < "
       "r.first + r.count",
       "0"},
      {"jobs with tasks that nobody knows of",
       "SELECT count(*) FROM jobs j WHERE tasks <> (SELECT coalesce(sum(count), 0) FROM results WHERE job = "
       "j.number) + (SELECT count(*) FROM failures WHERE job = j.number)",
       "0"},
      {"leases of nobody's", "SELECT count(*) FROM leases", "0"},
      {"retries of nobody's", "SELECT count(*) FROM retries", "0"},
      {"jobs settled other than once",
       "SELECT count(*) FROM jobs j WHERE lock <> 0 AND (SELECT count(*) FROM resolutions WHERE lock = "
       "j.lock) <> 1",
       "0"},
      {"what hosts were paid, and how many receipts tell of it",
       "SELECT (SELECT count(*) FROM parts) + (SELECT count(*) FROM resolutions WHERE fee <> 0) - "
       "(SELECT count(*) FROM receipts)",
       "0"},
      {"the sum of the books", "SELECT sum(amount) FROM ledger", "0"},
  };
  if (work == Work::functions)
    rows.push_back({"jobs that more than one host was paid for, if none there was",
                    "SELECT count(*) = 0 FROM parts", "0"});
  sqlite3* raw = nullptr;
  std::string fault;
  sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  for (const Row& row : rows) {
    sqlite3_stmt* statement = nullptr;
    std::string is = "nothing";
    sqlite3_prepare_v2(raw, row.sql, -1, &statement, nullptr);
    if (sqlite3_step(statement) == SQLITE_ROW)
      is = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    if (is != row.expected) fault += std::string(row.says) + ": " + is + " ";
  }
  sqlite3_close_v2(raw);
  return fault;
}

struct Tally {
  std::uint64_t kills = 0, heard = 0, tasks = 0, jobs = 0;
};

/// One market, through `rounds` of killing. Empty when all is well.
std::string kill_again_and_again(const std::string& path, Work work, std::size_t processes,
                                 std::uint64_t rounds, Dice& dice, Tally& tally) {
  Answered answered;
  {
    Result<Engine> engine = open(path, 0);
    if (!engine.ok()) return "it does not open: " + engine.error().message;
    Session all = engine->as_operator();
    const WalletId payer = payer_of(all).value();
    if (!all.topup({.wallet = payer, .amount = Money{topup_micro}}).ok()) return "no money";
    if (!all.set_prices({.base = Money{1'000'000}}).ok()) return "no price";
  }
  if (work == Work::commands) std::filesystem::create_directory(commands_of(path).scratch);
  std::uint64_t pause_us = work == Work::commands ? 300'000 : 60'000;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    std::vector<Child> children;
    for (std::size_t process = 0; process < processes; ++process)
      children.push_back(start(children, [&](int pipe) {
        return work == Work::commands ? run_commands(path, round, process, pipe)
                                      : do_functions(path, round, process, pipe);
      }));
    for (Child& child : children) {  // not all at one moment: who is left takes over
      std::this_thread::sleep_for(std::chrono::microseconds(dice.below(pause_us)));
      ::kill(child.process, SIGKILL);
      ++tally.kills;
    }
    std::string failure;
    const std::uint64_t heard = tally.heard;
    for (Child& child : children) {
      store::wait_for(child.process);
      if (const std::string said = hear(child, answered, tally.heard); !said.empty()) failure = said;
    }
    const std::string at = "round " + std::to_string(round) + ": ";
    if (!failure.empty()) return at + failure;
    // The helper of a host that is gone ends its tasks, which no signal of anybody's asks it to.
    for (int waited = 0; work == Work::commands && runner::somebody_has(left_s); ++waited) {
      if (waited == 1'500) return at + "a task outlived its host by 15 s";
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    // Where nobody came to say anything (a slow machine, a sanitizer) the next may live longer.
    if (tally.heard == heard && pause_us < 1'000'000) pause_us *= 2;

    Result<Engine> engine = open(path, round);
    if (!engine.ok()) return at + "it does not open: " + engine.error().message;
    const AuditDepth depth = round % 4 == 0 ? AuditDepth::each : AuditDepth::covered;
    if (const std::string fault = judge(*engine, work, answered, depth); !fault.empty()) return at + fault;
  }
  {
    // Twice: what failed or was lost in the first go is due again in the second.
    for (std::uint64_t later = 1; later <= 6; ++later) {
      Result<Engine> engine = open(path, rounds + later);
      if (!engine.ok()) return "it does not open: " + engine.error().message;
      const std::string fault = finish(*engine);
      if (!fault.empty() && later == 6) return fault;
      if (!fault.empty()) continue;
      if (const std::string at_last = judge(*engine, work, answered, AuditDepth::each); !at_last.empty())
        return "at the end: " + at_last;
      break;
    }
  }
  for (const auto& [job, tasks] : answered.tasks) tally.tasks += tasks.size();
  for (const auto& [job, status] : answered.ended) tally.jobs += status == "completed" ? 1U : 0U;
  const std::string fault = judge_rows(path, work);
  return fault.empty() ? fault : "the file says: " + fault;
}

}  // namespace

TEST_CASE("workers that share a market may be killed at any moment, and no task is lost or paid for twice") {
  const auto begun = std::chrono::steady_clock::now();
  Tally tally;
  std::string fault;
  constexpr std::uint64_t seed = 20'261'128;
  Dice dice(seed);
  const std::uint64_t markets = by_scale<std::uint64_t>(2, 20, 40);
  const std::uint64_t rounds = by_scale<std::uint64_t>(3, 15, 25);
  for (std::uint64_t market = 0; market < markets && fault.empty(); ++market) {
    const store::Scratch folder;
    fault = kill_again_and_again(folder / "market.db", Work::functions, market % 2 == 0 ? 1 : 4, rounds, dice,
                                 tally);
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("kills: ", markets * rounds, " runs in ", markets, " markets, ", tally.kills, " workers killed, ",
          tally.heard, " answers, ", tally.tasks, " tasks answered for, ", ms, " ms");
  testing::told("runs of jobs that ended in kills", markets * rounds);
  testing::told("workers of jobs killed", tally.kills);
  testing::told("tasks answered for over kills", tally.tasks);
  CHECK(markets * rounds >= by_scale<std::uint64_t>(6, 300, 1'000));
  CHECK(tally.kills > markets * rounds);  // four at once in every other market
  CHECK(tally.tasks > 0);
}

TEST_CASE(
    "hosts may be killed while their commands begin, print and end: no task of theirs lives on or counts "
    "twice") {
  Tally tally;
  std::string fault;
  constexpr std::uint64_t seed = 20'261'130;
  Dice dice(seed);
  const std::uint64_t markets = by_scale<std::uint64_t>(1, 2, 8);
  const std::uint64_t rounds = by_scale<std::uint64_t>(3, 10, 20);
  for (std::uint64_t market = 0; market < markets && fault.empty(); ++market) {
    const store::Scratch folder;
    const std::string path = folder / "market.db";
    fault = kill_again_and_again(path, Work::commands, 1 + market % 2, rounds, dice, tally);
    // What hosts left of their tasks' files the next one takes away.
    {
      Engine engine = open(path, 100).value();
      CHECK(Worker::start(engine, {.commands = commands_of(path)}).ok());
    }
    CHECK(std::filesystem::is_empty(commands_of(path).scratch));
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  testing::told("hosts of commands killed", tally.kills);
  testing::told("jobs of commands completed over kills", tally.jobs);
  CHECK(tally.kills >= markets * rounds);
  CHECK(tally.jobs > 0);
}

}  // namespace calyx::faults
