/// \file
/// Tasks that are late, and their second copies: when one is handed out, which of the two counts, and that a
/// payer is charged for one of them, whatever becomes of either.
#include "engine/job_market.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::JobMarket;
using testing::Raw;
namespace json = core::json;

namespace {

constexpr std::int64_t second_micro = 1'000;  ///< What a second of a task costs.

/// A job of twelve tasks of which ten took a second each, while "slow" has the last but one and "w" has had
/// the last one, which is done too: one task runs, and is as old as the test lets it be.
struct LateMarket {
  explicit LateMarket(std::vector<json::Member> more = {}, bool idempotent = true) {
    market.price(second_micro);
    before = market.balance();
    more.push_back({"idempotent", idempotent});
    more.push_back({"timeout_s", 300});
    more.push_back({"max_retries", 1});
    id = market.submit(JobMarket::job(12, std::move(more)));
    for (int i = 0; i < 10; ++i) CHECK(market.done(market.lease(), 1, 1'000).ok());
    slow = market.lease(1, "slow");
    REQUIRE(slow.first == 10);
    CHECK(market.done(market.lease(), 1, 1'000).ok());
  }
  /// `seconds` in which the workers of these leases are heard.
  void pass(std::int64_t seconds, const std::vector<Lease>& heard) {
    for (; seconds > 0; seconds -= 10) {
      market.pass(std::min<std::int64_t>(seconds, 10));
      for (const Lease& lease : heard) CHECK(market.all.report_tasks({.token = lease.token}).ok());
    }
  }
  /// The slow task's second copy, once it is late.
  Lease backup() {
    pass(31, {slow});
    const Lease lease = market.lease(4, "quick");
    REQUIRE(lease.count == 1);
    CHECK(lease.first == slow.first);
    CHECK(lease.attempt == slow.attempt);
    CHECK(lease.token != slow.token);
    return lease;
  }
  Result<Reported> result(const Lease& of, const char* text, std::int64_t ms) {
    Report report{.token = of.token};
    report.outcomes.push_back({.result = json::Value(text), .ran_ms = ms});
    return market.all.report_tasks(report);
  }
  /// What the eleven quick tasks cost, and `seconds` more; and that nothing is held, nor more charged.
  void check_paid(std::int64_t seconds) {
    const Job job = market.now(id);
    CHECK(is_terminal(job.status));
    CHECK(job.cost == Money{(11 + seconds) * second_micro});
    CHECK(market.held() == Money{});
    CHECK(market.balance() == Money{before.micro - job.cost.micro});
    market.check_books();  // the usage of its leases comes to that as well
  }

  JobMarket market;
  Money before;
  JobId id{};
  Lease slow;
};

}  // namespace

TEST_CASE("a task that is late is handed out once more, to another worker, and once") {
  LateMarket late;
  late.pass(29, {late.slow});
  CHECK(late.market.lease(1, "quick").count == 0);  // after 30 s it is not late yet
  late.pass(1, {late.slow});
  CHECK(late.market.lease(1, "slow").count == 0);  // who has it does not get it again
  const Job one = late.market.now(late.id);
  const Lease backup = late.market.lease(4, "quick");
  CHECK(backup.count == 1);
  CHECK(backup.first == 10);
  CHECK(late.market.all.task_payloads(backup).value().size() == 1);
  CHECK(late.market.lease(1, "third").count == 0);
  const Job both = late.market.now(late.id);
  CHECK(both.progress.running == one.progress.running);  // tasks, and not copies
  CHECK(both.progress.queued == 0);
  CHECK(late.market.all.job_tasks(late.id).value().items[10].status == TaskStatus::running);
  late.market.check_books();
}

TEST_CASE("nothing is handed out twice before three of four tasks are done, ten of them with a time") {
  struct Row {
    const char* says;
    std::int64_t tasks;
    int quick, failed;
    bool backed_up;
  };
  const Row rows[] = {
      {"a job too small to tell", 10, 9, 0, false},
      {"the smallest that does", 11, 10, 0, true},
      {"one less than three of four", 16, 11, 0, false},
      {"three of four", 16, 12, 0, true},
      {"failed ones are done too", 16, 10, 2, true},
      {"and tell nothing of how long one takes", 16, 9, 3, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    JobMarket market;
    const JobId id = market.submit(
        JobMarket::job(row.tasks, {{"idempotent", true}, {"timeout_s", 300}, {"max_retries", 0}}));
    for (int i = 0; i < row.quick; ++i) CHECK(market.done(market.lease(), 1, 5).ok());
    for (int i = 0; i < row.failed; ++i)
      CHECK(market.done(market.lease(), 1, 5, JobFailure::task_failed).ok());
    std::vector<Lease> running;
    for (Lease lease = market.lease(1, "slow"); lease.count != 0; lease = market.lease(1, "slow"))
      running.push_back(lease);
    for (int i = 0; i < 4; ++i) {
      market.pass(10);
      for (const Lease& lease : running) CHECK(market.all.report_tasks({.token = lease.token}).ok());
    }
    CHECK(market.lease(1, "quick").count == (row.backed_up ? 1 : 0));
    CHECK(market.now(id).progress.running == running.size());
    market.check_books();
  }
}

TEST_CASE("what is late follows from what the others took") {
  JobMarket market;
  market.submit(JobMarket::job(12, {{"idempotent", true}, {"timeout_s", 300}}));
  for (int i = 0; i < 11; ++i) {
    const Lease lease = market.lease();
    market.pass(20);
    CHECK(market.all.report_tasks({.token = lease.token}).ok());
    CHECK(market.done(lease, 1, 5'000).ok());  // it tells of 5 of these 25 s
  }
  const Lease slow = market.lease(1, "slow");
  for (int i = 0; i < 3; ++i) {
    market.pass(10);
    CHECK(market.all.report_tasks({.token = slow.token}).ok());
  }
  CHECK(market.lease(1, "quick").count == 0);
  market.pass(1);
  CHECK(market.lease(1, "quick").count == 1);  // twice 5 s is less than 30
}

TEST_CASE("where tasks take a minute one is late after two") {
  JobMarket market;
  market.submit(JobMarket::job(12, {{"idempotent", true}, {"timeout_s", 300}}));
  for (int i = 0; i < 11; ++i) {
    const Lease lease = market.lease();
    for (int beats = 0; beats < 3; ++beats) {
      market.pass(20);
      CHECK(market.all.report_tasks({.token = lease.token}).ok());
    }
    Report report{.token = lease.token};
    report.outcomes.push_back({.ran_ms = 60'000});
    CHECK(market.all.report_tasks(report).ok());
  }
  const Lease slow = market.lease(1, "slow");
  std::int64_t late_after_s = 0;
  for (; late_after_s < 200 && market.lease(1, "quick").count == 0; late_after_s += 5) {
    market.pass(5);
    CHECK(market.all.report_tasks({.token = slow.token}).ok());
  }
  // A minute is of the bucket that ends at 65.5 s.
  CHECK(late_after_s > 120);
  CHECK(late_after_s <= 135);
}

TEST_CASE("the first result counts, and the other copy's lease is over and charged to nobody") {
  for (const bool backup_wins : {true, false}) {
    CAPTURE(backup_wins);
    LateMarket late;
    const Lease backup = late.backup();
    late.market.pass(2);
    const Lease& winner = backup_wins ? backup : late.slow;
    const Lease& loser = backup_wins ? late.slow : backup;
    CHECK(late.result(winner, "first", 2'000).ok());
    CHECK(late.market.now(late.id).status == JobStatus::completed);
    CHECK(late.result(loser, "second", 2'000).reason() == Reason::lease_lost);
    CHECK(late.market.all.report_tasks({.token = loser.token}).reason() == Reason::lease_lost);
    const JobTask task = late.market.all.job_tasks(late.id).value().items[10];
    CHECK(json::canonical(task.result) == R"("first")");
    CHECK(task.attempts == 1);
    late.check_paid(2);
  }
}

TEST_CASE("a copy that fails leaves its task to the other one") {
  for (const bool backup_fails : {true, false}) {
    CAPTURE(backup_fails);
    LateMarket late;
    const Lease backup = late.backup();
    late.market.pass(1);
    CHECK(late.market.done(backup_fails ? backup : late.slow, 1, 0, JobFailure::task_failed).ok());
    const Job job = late.market.now(late.id);
    CHECK(job.progress.running == 1);
    CHECK(job.progress.failed == 0);
    CHECK(job.progress.queued == 0);
    CHECK(late.market.lease(1, "third").count == 0);  // one backup an attempt
    CHECK(late.result(backup_fails ? late.slow : backup, "it did", 1'000).ok());
    CHECK(late.market.all.job_tasks(late.id).value().items[10].attempts == 1);
    late.check_paid(1);
  }
}

TEST_CASE("two copies that fail are one attempt, and the next one is tried and charged as any other") {
  LateMarket late;
  const Lease backup = late.backup();
  late.market.pass(3);
  CHECK(late.market.done(late.slow, 1, 0, JobFailure::task_failed).ok());
  Report report{.token = backup.token};
  report.outcomes.push_back({.failure = JobFailure::task_failed, .error = "no", .ran_ms = 3'000});
  CHECK(late.market.all.report_tasks(report).ok());
  CHECK(late.market.now(late.id).progress.queued == 1);
  late.market.pass(2);
  const Lease again = late.market.lease();
  REQUIRE(again.count == 1);
  CHECK(again.attempt == 2);
  CHECK(late.market.done(again, 1, 1'000, JobFailure::task_failed).ok());
  const Job job = late.market.now(late.id);
  CHECK(job.status == JobStatus::partial);
  CHECK(job.progress.failed == 1);
  CHECK(late.market.all.job_tasks(late.id).value().items[10].attempts == 2);
  late.check_paid(3 + 1);
}

TEST_CASE("a copy whose worker vanishes is missed by nobody while the other runs") {
  for (const bool backup_vanishes : {true, false}) {
    CAPTURE(backup_vanishes);
    LateMarket late;
    const Lease backup = late.backup();
    late.pass(40, {backup_vanishes ? late.slow : backup});
    CHECK(late.market.lease(1, "third").count == 0);
    const Job job = late.market.now(late.id);
    CHECK(job.progress.running == 1);
    CHECK(job.progress.queued == 0);
    late.market.check_books();
    CHECK(late.result(backup_vanishes ? backup : late.slow, "late", 1'000).reason() == Reason::lease_lost);
    CHECK(late.result(backup_vanishes ? late.slow : backup, "it did", 40'000).ok());
    late.check_paid(40);
  }
}

TEST_CASE("where both workers vanish the task is lost once") {
  LateMarket late;
  static_cast<void>(late.backup());
  late.market.pass(31);
  CHECK(late.market.lease(1, "third").count == 0);  // it waits for its turn again
  const Job job = late.market.now(late.id);
  CHECK(job.progress.running == 0);
  CHECK(job.progress.queued == 1);
  late.market.pass(5);
  const Lease again = late.market.lease(1, "third");
  CHECK(again.count == 1);
  CHECK(again.attempt == 1);  // it was the workers' fault
  CHECK(late.market.done(again, 1, 1'000).ok());
  late.check_paid(1);
}

TEST_CASE("a copy that hangs is charged only if it is the last one") {
  LateMarket late;
  const Lease backup = late.backup();
  // A lease ends its timeout and 30 s after it began, however often its worker is heard.
  late.pass(290, {late.slow, backup});
  late.market.pass(10);
  CHECK(late.market.all.report_tasks({.token = backup.token}).ok());
  CHECK(late.market.lease(1, "third").count == 0);
  CHECK(late.result(late.slow, "late", 1'000).reason() == Reason::lease_lost);
  CHECK(late.market.now(late.id).cost == Money{11 * second_micro});
  CHECK(late.market.now(late.id).progress.running == 1);
  late.pass(29, {backup});
  late.market.pass(2);
  CHECK(late.market.lease(1, "third").count == 0);
  CHECK(late.market.now(late.id).cost == Money{(11 + 300) * second_micro});
  late.market.pass(5);
  CHECK(late.market.done(late.market.lease(1, "third"), 1, 1'000).ok());
  late.check_paid(300 + 1);
}

TEST_CASE("a copy that is given back leaves the task with the other one") {
  for (const bool backup_goes : {true, false}) {
    CAPTURE(backup_goes);
    LateMarket late;
    const Lease backup = late.backup();
    CHECK(
        late.market.all.report_tasks({.token = (backup_goes ? backup : late.slow).token, .gives_back = true})
            .ok());
    CHECK(late.market.now(late.id).progress.queued == 0);
    late.market.check_books();
    late.market.pass(1);
    CHECK(late.result(backup_goes ? late.slow : backup, "it did", 1'000).ok());
    late.check_paid(1);
  }
}

TEST_CASE("a cancel takes both copies, and charges the one that ran longer") {
  LateMarket late;
  const Lease backup = late.backup();
  late.market.pass(4);
  CHECK(late.market.all.cancel_job(late.id).value().status == JobStatus::cancelled);
  CHECK(late.result(backup, "late", 1'000).reason() == Reason::lease_lost);
  CHECK(late.result(late.slow, "late", 1'000).reason() == Reason::lease_lost);
  late.check_paid(31 + 1 + 4);  // a second passed while the last quick task ran
}

TEST_CASE("a cancel charges no copy whose worker has vanished") {
  LateMarket late;
  const Lease backup = late.backup();
  late.pass(31, {backup});
  CHECK(late.market.all.cancel_job(late.id).value().status == JobStatus::cancelled);
  late.check_paid(31);
}

TEST_CASE("no backup goes beyond the budget, and while one runs its worst case is kept for it") {
  // Eleven tasks took a second each, and one that runs may take 300: so much is kept for it.
  constexpr std::int64_t one = 300 * second_micro, spent = 11 * second_micro;
  for (const std::int64_t short_of : {0, 1}) {
    CAPTURE(short_of);
    LateMarket late({{"max_cost", core::wire_text(Money{spent + 2 * one - short_of})}});
    late.pass(31, {late.slow});
    const Lease backup = late.market.lease(1, "quick");
    CHECK(backup.count == (short_of == 0 ? 1 : 0));
    CHECK(late.market.now(late.id).status == JobStatus::running);  // what runs may leave enough
    if (backup.count != 0) CHECK(late.market.done(backup, 1, 0, JobFailure::not_started).ok());
    CHECK(late.result(late.slow, "it did", 31'000).ok());
    late.check_paid(31);
  }
}

TEST_CASE("a backup is one of the tasks that may run side by side") {
  for (const std::int64_t most : {1, 2}) {
    CAPTURE(most);
    JobMarket market;
    market.submit(JobMarket::job(12, {{"idempotent", true}, {"timeout_s", 300}, {"max_parallel", most}}));
    for (int i = 0; i < 11; ++i) CHECK(market.done(market.lease(), 1, 5).ok());
    const Lease slow = market.lease(1, "slow");
    for (int i = 0; i < 4; ++i) {
      market.pass(10);
      CHECK(market.all.report_tasks({.token = slow.token}).ok());
    }
    CHECK(market.lease(1, "quick").count == (most == 1 ? 0 : 1));
    market.check_books();
  }
}

TEST_CASE("a task that may not run twice never does") {
  LateMarket late({}, false);
  late.pass(120, {late.slow});
  CHECK(late.market.lease(1, "quick").count == 0);
  CHECK(late.result(late.slow, "it did", 121'000).ok());
  late.check_paid(121);
}

TEST_CASE("a task is handed out for the first time before another is handed out again") {
  JobMarket market;
  const JobId id =
      market.submit(JobMarket::job(16, {{"idempotent", true}, {"timeout_s", 300}, {"max_retries", 1}}));
  const Lease slow = market.lease(1, "slow");
  for (int i = 0; i < 12; ++i) CHECK(market.done(market.lease(), 1, 5).ok());
  CHECK(market.done(market.lease(), 1, 5, JobFailure::task_failed).ok());
  for (int i = 0; i < 4; ++i) {
    market.pass(10);
    CHECK(market.all.report_tasks({.token = slow.token}).ok());
  }
  const Lease again = market.lease(1, "quick"), fresh = market.lease(1, "quick"),
              last = market.lease(1, "quick"), backup = market.lease(1, "quick");
  CHECK(again.first == 13);
  CHECK(again.attempt == 2);
  CHECK(fresh.first == 14);
  CHECK(last.first == 15);
  CHECK(backup.first == slow.first);
  CHECK(market.now(id).progress.running == 4);
  market.check_books();
}

TEST_CASE("a lease of several tasks is none to back up until the last of them runs") {
  JobMarket market;
  market.submit(JobMarket::job(14, {{"idempotent", true}, {"timeout_s", 300}}));
  for (int i = 0; i < 12; ++i) CHECK(market.done(market.lease(), 1, 5).ok());
  const Lease slow = market.lease(2, "slow");
  REQUIRE(slow.count == 2);
  const auto wait = [&] {
    for (int i = 0; i < 4; ++i) {
      market.pass(10);
      CHECK(market.all.report_tasks({.token = slow.token}).ok());
    }
  };
  wait();
  CHECK(market.lease(1, "quick").count == 0);
  CHECK(market.done(slow, 1, 5).ok());
  CHECK(market.lease(1, "quick").count == 0);  // the last one has only just begun
  wait();
  CHECK(market.lease(1, "quick").first == 13);
}

TEST_CASE("how long tasks took is kept of idempotent jobs alone, until they end") {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  JobMarket market(options);
  // A job that is too small for backups counts as one that may have none.
  for (const bool idempotent : {true, false})
    for (const int tasks : {10, 11}) {
      CAPTURE(idempotent);
      CAPTURE(tasks);
      market.submit(JobMarket::job(tasks, {{"idempotent", idempotent}}));
      for (int i = 0; i < tasks; ++i) {
        const bool kept = idempotent && tasks > 10 && i > 0;
        CHECK(Raw(options.path).number("SELECT count(*) FROM job_times") == (kept ? 1 : 0));
        CHECK(market.done(market.lease(), 1, 5).ok());
      }
      CHECK(Raw(options.path).number("SELECT count(*) FROM job_times") == 0);
    }
}

TEST_CASE("of a job's last tasks a worker gets a share, if they take their time and others are at it too") {
  struct Row {
    const char* says;
    std::int64_t price, task_ms;
    bool others;
    std::uint64_t count;
  };
  const Row rows[] = {{"half of what is left, among two", second_micro, 10, true, 10},
                      {"short tasks are taken whole", second_micro, 9, true, 39},
                      {"and what costs nothing, of which no time is kept", 0, 10, true, 39},
                      {"who is alone takes them all", second_micro, 10, false, 39}};
  for (const Row& row : rows) {
    CAPTURE(row.says);
    JobMarket market;
    market.price(row.price);
    market.submit(JobMarket::job(41));
    CHECK(market.done(market.lease(), 1, row.task_ms).ok());
    const Lease other = market.lease();
    if (!row.others) CHECK(market.done(other, 1, row.task_ms).ok());
    CHECK(market.lease(256).count == row.count);
  }
}
