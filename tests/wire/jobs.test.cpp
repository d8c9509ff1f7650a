// Jobs as somebody on the wire meets them, capability by capability. A name begins with the row's number.
#include <calyx/core/job.hpp>
#include <set>

#include "store/gate.hpp"
#include "store/scratch.hpp"
#include "wire/client.hpp"

using namespace wire_test;

namespace {

constexpr const char* job_members =
    "job_id id status type work project revision wallet_id priority tags depends_on progress hold cost error "
    "recommended_action input_hash output_hash receipt_id receipt_ids retry_of resume_from created_at "
    "started_at ended_at";

// A price of a FLOPS a second, and somebody who can pay it.
struct Yard {
  Market market;
  Owner alice = market.human("alice");
  Yard() {
    market.fund(alice, "1000");
    const Answer set = market.send("PUT", "/v1/settings", market.op, R"({"prices":{"base":"1"}})");
    REQUIRE_MESSAGE(set.status == 200, set.body);
  }

  // A job of `tasks` tasks, which hold 10 FLOPS each; `more` is more of its members.
  static std::string job(int tasks, const std::string& more = {}) {
    return R"({"task":"work","timeout_s":10,"fan_out":{"chunks":)" + std::to_string(tasks) +
           R"(,"range_field":"n","total":)" + std::to_string(tasks) + "}" + (more.empty() ? "" : ",") + more +
           "}";
  }
  Answer submit(const std::string& body, const std::string& once = {}) {
    return market.post("/api/v1/jobs", alice.key, body, once);
  }
  std::string submitted(int tasks, const std::string& more = {}) {
    const Answer answer = submit(job(tasks, more));
    REQUIRE_MESSAGE(answer.status == 201, answer.body);
    return answer.at("job_id");
  }
  Answer get(const std::string& target) { return market.get(target, alice.key); }
  Answer of(const std::string& id, const std::string& rest = {}) { return get("/api/v1/jobs/" + id + rest); }
  Answer cancel(const std::string& id) {
    return market.send("PUT", "/api/v1/jobs/" + id + "/cancel", alice.key);
  }
  Answer lease(int most = 1, const std::string& more = {}) {
    return market.post("/api/v1/workers/lease", market.op,
                       R"({"worker":"w","tasks":["work"],"tasks_max":)" + std::to_string(most) +
                           (more.empty() ? "" : ",") + more + "}");
  }
  Answer report(const std::string& lease, const std::string& outcomes, const std::string& more = {}) {
    return market.post("/api/v1/workers/report", market.op,
                       R"({"lease_id":")" + lease + R"(","outcomes":[)" + outcomes + "]" +
                           (more.empty() ? "" : ",") + more + "}");
  }
  // Leases tasks and does them.
  void work(int most, const std::string& outcome = R"({"status":"completed","result":7,"ran_ms":1000})") {
    const Answer got = lease(most);
    REQUIRE_MESSAGE(got.find("lease.payloads") != nullptr, got.body);
    market.pass_s(1);
    std::string outcomes;
    for (std::size_t i = 0; i < got.find("lease.payloads")->array()->size(); ++i)
      outcomes += (i == 0 ? "" : ",") + outcome;
    const Answer answer = report(got.at("lease.lease_id"), outcomes);
    REQUIRE_MESSAGE(answer.status == 200, answer.body);
  }
};

// The names of the members of the object at `path`.
std::string members_of(const Answer& answer, std::string_view path) {
  Answer inner;
  if (const json::Value* found = answer.find(path)) inner.value = *found;
  return inner.members();
}

std::size_t size_of(const Answer& answer, std::string_view path) {
  const json::Value* found = answer.find(path);
  return found == nullptr || found->array() == nullptr ? SIZE_MAX : found->array()->size();
}

}  // namespace

TEST_CASE("CP-50: a submit answers 201 with the job's id twice, its status, its hold and how that comes") {
  Yard yard;
  const Answer answer = yard.submit(yard.job(4));
  CHECK(answer.status == 201);
  CHECK(answer.members() == "job_id id status hold estimate");
  CHECK(answer.at("job_id") == answer.at("id"));
  CHECK(answer.at("status") == "queued");
  CHECK(answer.at("hold") == "40.0");
  CHECK(members_of(answer, "estimate") == "tasks rate_per_second worst_case hold");
  CHECK(answer.at("estimate.tasks") == "4");
  CHECK(answer.at("estimate.rate_per_second") == "1.0");
  CHECK(answer.at("estimate.worst_case") == "40.0");
  CHECK(answer.find("hold")->kind() == json::Kind::real);
  CHECK(yard.of(answer.at("id")).at("type") == "structured_runner");
}

TEST_CASE("CP-50: a submit again with the same key is the same job, and says that it is told again") {
  Yard yard;
  const Answer first = yard.submit(yard.job(1), "k");
  const Answer again = yard.submit(yard.job(1), "k");
  CHECK_FALSE(first.replayed());
  CHECK(first.header("Idempotent-Replayed").empty());
  CHECK(again.status == 201);
  CHECK(again.replayed());
  CHECK(again.at("job_id") == first.at("job_id"));
  CHECK(again.at("hold") == first.at("hold"));
  const Answer other = yard.submit(yard.job(2), "k");
  CHECK(other.status == 409);
  CHECK(other.code() == "key_reused");
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 1);
  CHECK(yard.submit(yard.job(1), "k 1").code() == "field_value");  // no caller's key has a space
}

TEST_CASE("CP-51: a batch takes 200 jobs, and 201 are refused as a whole") {
  Yard yard;
  const auto batch = [&](int jobs, const std::string& once = {}) {
    std::string body;
    for (int i = 0; i < jobs; ++i) body += (i == 0 ? "" : ",") + yard.job(1, R"("max_cost":"1")");
    return yard.market.post("/api/v1/jobs/batch", yard.alice.key, R"({"jobs":[)" + body + "]}", once);
  };
  const std::string before = yard.market.head();
  const Answer many = batch(201);
  CHECK(many.status == 422);
  CHECK(many.code() == "too_many_operations");
  CHECK(many.field() == "/jobs");
  CHECK(many.at("error.details.limit") == "200");
  CHECK(yard.market.head() == before);
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 0);
  const Answer most = batch(200);
  CHECK(most.status == 200);
  CHECK(size_of(most, "jobs") == 200);
  CHECK(members_of(most, "jobs.199") == "job_id id status hold estimate");
  CHECK(batch(0).status == 200);
}

TEST_CASE("CP-51: each job of a batch has its own answer, and a batch again makes none twice") {
  Yard yard;
  const std::string body =
      R"({"jobs":[)" + yard.job(1) + R"(,{"task":"work","timeout_s":0},7,)" + yard.job(2) + "]}";
  const auto batch = [&] { return yard.market.post("/api/v1/jobs/batch", yard.alice.key, body, "k"); };
  const Answer first = batch();
  CHECK(first.status == 200);
  CHECK(first.at("jobs.0.status") == "queued");
  CHECK(first.at("jobs.1.error.code") == "field_value");
  CHECK(first.at("jobs.1.error.details.field") == "/timeout_s");
  CHECK(first.at("jobs.2.error.code") == "field_type");
  CHECK(first.at("jobs.3.estimate.tasks") == "2");
  CHECK(first.at("jobs.0.id") != first.at("jobs.3.id"));
  const Answer again = batch();
  CHECK(again.at("jobs.0.id") == first.at("jobs.0.id"));
  CHECK(again.at("jobs.3.id") == first.at("jobs.3.id"));
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 2);
  CHECK(yard.market.post("/api/v1/jobs/batch", yard.alice.key, "{}").field() == "/jobs");
  CHECK(yard.market.post("/api/v1/jobs/batch", yard.alice.key, R"({"jobs":{}})").code() == "field_type");
}

TEST_CASE("CP-51, CP-79: jobs of a batch wait for each other by name, wherever they stand in it") {
  Yard yard;
  const auto batch = [&](const std::string& jobs, const std::string& once = {}) {
    return yard.market.post("/api/v1/jobs/batch", yard.alice.key, R"({"jobs":[)" + jobs + "]}", once);
  };
  const std::string outside = yard.submitted(1);
  const std::string jobs =
      yard.job(1, R"("alias":"last","depends_on":["mid-1",")" + outside + R"(","first"])") + "," +
      yard.job(2) + "," + yard.job(3, R"("depends_on":["first"],"alias":"mid-1")") + "," +
      yard.job(4, R"("alias":"first")");
  const Answer got = batch(jobs, "k");
  CHECK(got.status == 200);
  CHECK(size_of(got, "jobs") == 4);
  for (int i = 0; i < 4; ++i)
    CHECK(got.at("jobs." + std::to_string(i) + ".estimate.tasks") == std::to_string(i + 1));
  const auto id = [&](int i) { return got.at("jobs." + std::to_string(i) + ".id"); };
  CHECK(got.at("jobs.0.status") == "planning");
  CHECK(got.at("jobs.1.status") == "queued");
  CHECK(got.at("jobs.2.status") == "planning");
  CHECK(got.at("jobs.3.status") == "queued");
  const Answer last = yard.of(id(0));
  CHECK(last.members() == job_members);  // a name is the batch's alone
  CHECK(last.at("depends_on.0") == id(2));
  CHECK(last.at("depends_on.1") == outside);
  CHECK(last.at("depends_on.2") == id(3));
  CHECK(yard.of(id(2)).at("depends_on.0") == id(3));
  CHECK(size_of(yard.of(id(3)), "depends_on") == 0);

  const Answer again = batch(jobs, "k");
  for (int i = 0; i < 4; ++i) CHECK(again.at("jobs." + std::to_string(i) + ".id") == id(i));
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 5);
  // The same jobs that wait for something else are others.
  const std::string other =
      yard.job(1, R"("alias":"last","depends_on":["first",")" + outside + R"(","first"])") + "," +
      yard.job(2) + "," + yard.job(3, R"("depends_on":["first"],"alias":"mid-1")") + "," +
      yard.job(4, R"("alias":"first")");
  CHECK(batch(other, "k").at("jobs.0.error.code") == "key_reused");
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 5);
}

TEST_CASE("G-12: a job goes on after one that ended partial only if it says so") {
  Yard yard;
  const std::string good = R"({"status":"completed","result":7,"ran_ms":1000})";
  const std::string bad = R"({"status":"task_failed","message":"no","ran_ms":1000})";
  const std::string first = yard.submitted(2);
  const std::string after = R"("depends_on":[")" + first + "\"]";
  const std::string strict = yard.submitted(1, after);
  const std::string lenient = yard.submitted(1, after + R"(,"allow_partial":true)");
  CHECK(yard.of(lenient).at("status") == "planning");
  yard.work(1, good);
  yard.work(1, bad);
  REQUIRE(yard.of(first).at("status") == "partial");
  CHECK(yard.of(strict).at("status") == "failed");
  CHECK(yard.of(strict).at("error.code") == "dependency_failed");
  CHECK(yard.of(lenient).at("status") == "queued");
  // So with one that has ended already; and one that failed is none.
  CHECK(yard.submit(yard.job(1, after)).field() == "/depends_on");
  CHECK(yard.submit(yard.job(1, after + R"(,"allow_partial":true)")).status == 201);
  CHECK(yard.submit(yard.job(1, R"("allow_partial":true,"depends_on":[")" + strict + "\"]")).field() ==
        "/depends_on");
  CHECK(yard.submit(yard.job(1, R"("allow_partial":1)")).field() == "/allow_partial");
}

TEST_CASE(
    "CP-02: a key for jobs has its own prefix and its wallet's rights, and is exchanged for such a one") {
  Yard yard;
  const Answer issued =
      yard.market.post(yard.alice.path("/keys"), yard.market.op, R"({"label":"jobs","kind":"jobs"})");
  REQUIRE_MESSAGE(issued.status == 201, issued.body);
  const std::string key = issued.at("api_key");
  CHECK(key.starts_with("flk_"));
  CHECK(yard.market.get("/api/v1/jobs", key).status == 200);
  CHECK(yard.market.post("/api/v1/jobs", key, yard.job(1)).status == 201);
  CHECK(yard.market.get("/api/v1/jobs", "flk_" + key.substr(4, 40) + "x").status == 401);
  CHECK(yard.market.get("/api/v1/jobs", {}).status == 401);
  const Answer next = yard.market.post("/v1/keys/" + issued.at("id") + "/rotate", key);
  CHECK(next.at("api_key").starts_with("flk_"));
  CHECK(yard.market.get("/api/v1/jobs", key).status == 401);
  for (const char* none : {"session", "compute", "flk_", ""})
    CHECK(
        yard.market.post(yard.alice.path("/keys"), yard.market.op, R"({"kind":")" + std::string(none) + "\"}")
            .field() == "/kind");
  CHECK(yard.market.get("/v1/audit", yard.market.op).at("ok") == "true");
}

TEST_CASE("CP-51, CP-79: a batch that waits for itself is refused as a whole, and told the way around") {
  Yard yard;
  const auto batch = [&](const std::string& jobs) {
    return yard.market.post("/api/v1/jobs/batch", yard.alice.key, R"({"jobs":[)" + jobs + "]}");
  };
  const std::string before = yard.market.head();
  const Answer got = batch(yard.job(1) + "," + yard.job(1, R"("alias":"after","depends_on":["b"])") + "," +
                           yard.job(1, R"("alias":"a","depends_on":["b"])") + "," +
                           yard.job(1, R"("alias":"b","depends_on":["c"])") + "," +
                           yard.job(1, R"("alias":"c","depends_on":["a"])"));
  CHECK(got.status == 422);
  CHECK(got.code() == "dependency_cycle");
  CHECK(got.field() == "/jobs/2/depends_on");
  CHECK(calyx::core::json::canonical(*got.find("error.details.cycle")) == R"(["a","b","c","a"])");
  const Answer itself = batch(yard.job(1, R"("alias":"x","depends_on":["x"])"));
  CHECK(itself.code() == "dependency_cycle");
  CHECK(calyx::core::json::canonical(*itself.find("error.details.cycle")) == R"(["x","x"])");
  CHECK(yard.market.head() == before);
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 0);
}

TEST_CASE("CP-51, CP-79: who waits for a job that was refused is refused, and says for which") {
  Yard yard;
  const auto batch = [&](const std::string& jobs) {
    return yard.market.post("/api/v1/jobs/batch", yard.alice.key, R"({"jobs":[)" + jobs + "]}");
  };
  const Answer got =
      batch(R"({"task":"work","timeout_s":0,"alias":"bad"},)" +
            yard.job(1, R"("alias":"next","depends_on":["good","bad"])") + "," +
            yard.job(2, R"("depends_on":["next"])") + "," + yard.job(3, R"("alias":"good")") +
            R"(,{"task":"work","wallet_id":7,"alias":"unread"},)" +
            yard.job(1, R"("depends_on":["unread"])") + "," + yard.job(1, R"("depends_on":["nobody"])"));
  CHECK(got.status == 200);
  CHECK(got.at("jobs.0.error.code") == "field_value");
  CHECK(got.at("jobs.0.error.details.field") == "/timeout_s");
  CHECK(got.at("jobs.1.error.code") == "dependency_refused");
  CHECK(got.at("jobs.1.error.details.field") == "/depends_on/1");
  CHECK(got.at("jobs.1.error.details.alias") == "bad");
  CHECK(got.at("jobs.1.error.details.refused") == "field_value");
  CHECK(got.at("jobs.2.error.code") == "dependency_refused");
  CHECK(got.at("jobs.2.error.details.alias") == "next");
  CHECK(got.at("jobs.2.error.details.refused") == "dependency_refused");
  CHECK(got.at("jobs.3.estimate.tasks") == "3");
  CHECK(got.at("jobs.4.error.code") == "field_type");
  CHECK(got.at("jobs.4.error.details.alias") == "unread");
  CHECK(got.at("jobs.5.error.code") == "dependency_refused");
  CHECK(got.at("jobs.6.error.code") == "job_unknown");
  CHECK(got.at("jobs.6.error.details.field") == "/depends_on/0");
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 1);

  // Of two that need more than there is the first stands, and what waits for the other does not.
  const Owner poor = yard.market.human("poor");
  const Answer broke = yard.market.post(
      "/api/v1/jobs/batch", poor.key,
      R"({"jobs":[)" + yard.job(1, R"("alias":"a")") + "," + yard.job(1, R"("depends_on":["a"])") + "]}");
  CHECK(broke.at("jobs.0.error.code") == "insufficient_balance");
  CHECK(broke.at("jobs.1.error.details.refused") == "insufficient_balance");
}

TEST_CASE("CP-51: a name in a batch is a short word that no other has, and no job's id") {
  Yard yard;
  const std::string id = yard.submitted(1);
  const std::string longest(64, 'a');
  struct Row {
    std::string alias, code;
  };
  const Row rows[] = {
      {R"("a")", ""},
      {R"("A-b_c.9")", ""},
      {R"("job_1")", ""},
      {'"' + longest + '"', ""},
      {"null", ""},
      {'"' + longest + "a\"", "field_value"},
      {R"("")", "field_value"},
      {R"("a b")", "field_value"},
      {R"("a/b")", "field_value"},
      {R"("\u00e9")", "field_value"},
      {'"' + id + '"', "field_value"},
      {"7", "field_type"},
      {R"(["a"])", "field_type"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.alias);
    const Answer got = yard.market.post("/api/v1/jobs/batch", yard.alice.key,
                                        R"({"jobs":[)" + yard.job(1, R"("alias":)" + row.alias) + "]}");
    CHECK(got.status == 200);
    if (row.code.empty()) {
      CHECK(got.at("jobs.0.status") == "queued");
    } else {
      CHECK(got.at("jobs.0.error.code") == row.code);
      CHECK(got.at("jobs.0.error.details.field") == "/alias");
    }
  }
  const Answer twice = yard.market.post("/api/v1/jobs/batch", yard.alice.key,
                                        R"({"jobs":[)" + yard.job(1, R"("alias":"x")") + "," +
                                            yard.job(1, R"("alias":"x","depends_on":["x"])") + "," +
                                            yard.job(1, R"("depends_on":["x"])") + "," + yard.job(1) + "]}");
  CHECK(twice.at("jobs.0.error.details.field") == "/alias");
  CHECK(twice.at("jobs.1.error.details.field") == "/alias");
  CHECK(twice.at("jobs.2.error.code") == "dependency_refused");
  CHECK(twice.at("jobs.3.status") == "queued");
  // A job alone has nobody to be named to.
  CHECK(yard.submit(yard.job(1, R"("alias":"a")")).code() == "field_unknown");
}

TEST_CASE("CP-52: jobs are listed by status, project and tag, 50 at a time unless said otherwise") {
  Yard yard;
  for (int i = 0; i < 60; ++i)
    yard.submitted(1, R"("tags":["t)" + std::to_string(i % 2) + R"(","u)" + std::to_string(i % 3) + R"("])");
  const Answer usual = yard.get("/api/v1/jobs");
  CHECK(usual.members() == "jobs next_cursor");
  CHECK(size_of(usual, "jobs") == 50);
  CHECK(members_of(usual, "jobs.0") == job_members);
  CHECK(size_of(yard.get("/api/v1/jobs?after=" + usual.at("next_cursor")), "jobs") == 10);
  CHECK(size_of(yard.get("/api/v1/jobs?limit=1000"), "jobs") == 60);
  CHECK(yard.get("/api/v1/jobs?limit=1000").at("next_cursor") == "null");
  CHECK(size_of(yard.get("/api/v1/jobs?tag=u0&limit=100"), "jobs") == 20);
  CHECK(size_of(yard.get("/api/v1/jobs?project=p&limit=100"), "jobs") == 0);  // none is of a project
  CHECK(size_of(yard.get("/api/v1/jobs?tag=t1&limit=100"), "jobs") == 30);
  CHECK(size_of(yard.get("/api/v1/jobs?tag=t1&status=queued&limit=100"), "jobs") == 30);
  CHECK(size_of(yard.get("/api/v1/jobs?status=queued&limit=7"), "jobs") == 7);
  CHECK(size_of(yard.get("/api/v1/jobs?status=running"), "jobs") == 0);
  CHECK(yard.get("/api/v1/jobs?status=asleep").field() == "status");
  CHECK(yard.get("/api/v1/jobs?limit=0").field() == "limit");
  CHECK(yard.get("/api/v1/jobs?limit=1001").field() == "limit");
  CHECK(yard.get("/api/v1/jobs?colour=red").code() == "field_unknown");
  CHECK(yard.get("/api/v1/jobs?after=x").field() == "after");
}

TEST_CASE("CP-53, CP-92: a job's state, and for one that failed why, and what to do about it") {
  Yard yard;
  const std::string id = yard.submitted(2);
  Answer job = yard.of(id);
  CHECK(job.status == 200);
  CHECK(job.members() == job_members);
  CHECK(job.at("status") == "queued");
  CHECK(members_of(job, "work") == "kind name");
  CHECK(members_of(job, "progress") == "tasks completed failed running queued");
  CHECK(job.at("wallet_id") == yard.alice.id);
  for (const char* none : {"project", "error", "recommended_action", "output_hash", "receipt_id", "retry_of",
                           "started_at", "ended_at"}) {
    CAPTURE(none);
    CHECK(job.at(none) == "null");
  }
  yard.work(2, R"({"status":"task_failed","message":"no such file","ran_ms":1000})");
  job = yard.of(id);
  CHECK(job.at("status") == "failed");
  CHECK(members_of(job, "error") == "code message");
  CHECK(job.at("error.code") == "task_failed");
  CHECK(job.at("error.message").find("no such file") != std::string::npos);
  CHECK(job.at("recommended_action") == calyx::recommended_action(calyx::JobFailure::task_failed));
  CHECK(job.at("cost") == "1.002");  // a second by the clock, and a millisecond of grace for each
  CHECK(job.at("ended_at") != "null");
  for (const char* unknown : {"job_0", "x", "%00"}) {
    CAPTURE(unknown);
    CHECK(yard.of(unknown).status == 404);
    CHECK(yard.of(unknown).code() == "job_unknown");
  }
  const Owner bob = yard.market.human("bob");
  CHECK(yard.market.get("/api/v1/jobs/" + id, bob.key).code() == "job_unknown");  // as if it were not there
}

TEST_CASE("CP-54: what a task printed") {
  Yard yard;
  const std::string id = yard.submitted(2);
  Answer output = yard.of(id, "/output");
  CHECK(output.members() == "job_id task attempt stdout stderr stdout_dropped_bytes stderr_dropped_bytes");
  CHECK(output.at("attempt") == "0");
  CHECK(output.at("stdout").empty());
  yard.work(2, R"({"status":"completed","result":1,"ran_ms":1,"stdout":"said","stderr":"warned"})");
  output = yard.of(id, "/output?task=1");
  CHECK(output.at("task") == "1");
  CHECK(output.at("attempt") == "1");
  CHECK(output.at("stdout") == "said");
  CHECK(output.at("stderr") == "warned");
  CHECK(yard.of(id, "/output?task=2").code() == "task_unknown");
  CHECK(yard.of(id, "/output?task=-1").status == 422);
}

TEST_CASE("CP-55, CP-61: tasks with all that is known of them, and what they came to") {
  Yard yard;
  const std::string id = yard.submitted(3, R"("max_retries":0)");
  yard.work(1);
  yard.work(1, R"({"status":"exit_nonzero","message":"3","ran_ms":1})");
  Answer tasks = yard.of(id, "/tasks");
  CHECK(tasks.members() == "job_id tasks next_cursor");
  CHECK(members_of(tasks, "tasks.0") ==
        "index status attempts payload progress result error recommended_action artifacts artifacts_skipped");
  CHECK(tasks.at("tasks.0.status") == "completed");
  CHECK(tasks.at("tasks.0.result") == "7");
  CHECK(tasks.at("tasks.0.payload.n") == "1");
  CHECK(tasks.at("tasks.1.payload.n_start") == "1");
  CHECK(tasks.at("tasks.1.payload.n_end") == "2");
  CHECK(tasks.at("tasks.1.status") == "failed");
  CHECK(tasks.at("tasks.1.error.code") == "exit_nonzero");
  CHECK(tasks.at("tasks.2.status") == "queued");
  CHECK(tasks.at("tasks.2.error") == "null");
  const Answer page = yard.of(id, "/tasks?limit=2");
  CHECK(size_of(page, "tasks") == 2);
  CHECK(yard.of(id, "/tasks?after=" + page.at("next_cursor")).at("tasks.0.index") == "2");
  Answer results = yard.get("/api/v1/results/" + id);
  CHECK(results.members() == "job_id status result notes tasks next_cursor");
  CHECK(results.at("result") == "null");  // not before the end
  CHECK(members_of(results, "tasks.0") == "index status result error artifacts artifacts_skipped");
  yard.work(1);
  results = yard.get("/api/v1/results/" + id);
  CHECK(results.at("status") == "partial");
  CHECK(results.find("result")->array() != nullptr);
  CHECK(results.at("notes.failed") == "1");
  CHECK(yard.get("/api/v1/results/x").code() == "job_unknown");
}

TEST_CASE("CP-56: what happened to a job, in order and from any point on") {
  Yard yard;
  const std::string id = yard.submitted(1);
  yard.work(1);
  const Answer events = yard.of(id, "/events");
  CHECK(events.members() == "job_id events next_cursor");
  CHECK(members_of(events, "events.0") == "id at data");
  CHECK(events.at("events.0.data.event") == "submitted");
  CHECK(events.at("events.1.data.event") == "started");
  CHECK(events.at("events.2.data.event") == "ended");
  CHECK(events.at("events.2.data.status") == "completed");
  CHECK(events.at("events.0.id") == "1");
  CHECK(size_of(events, "events") == 3);
  const Answer page = yard.of(id, "/events?limit=2");
  CHECK(page.at("next_cursor") == "2");
  CHECK(yard.of(id, "/events?after=2").at("events.0.id") == "3");
  CHECK(yard.of(id, "/events?limit=1001").field() == "limit");
}

TEST_CASE("CP-59, CP-62: a cancel ends a job once, and what has ended stays as it is") {
  Yard yard;
  const std::string id = yard.submitted(2), done = yard.submitted(1);
  CHECK(yard.cancel(id).at("status") == "cancelled");
  const Answer again = yard.cancel(id);
  CHECK(again.status == 200);
  CHECK(again.members() == job_members);
  CHECK(again.at("status") == "cancelled");
  CHECK(again.at("error.code") == "cancelled");
  yard.work(1);
  const std::string before = yard.of(done).body;
  CHECK(yard.cancel(done).at("status") == "completed");
  CHECK(yard.of(done).body == before);
  CHECK(yard.cancel("x").code() == "job_unknown");
  CHECK(yard.market.balance(yard.alice) == "999.0");
}

TEST_CASE("CP-62, CP-63: a job is planning, queued, running, and then ends by how its tasks went") {
  struct Row {
    const char* says;
    const char* first;
    const char* second;
    const char* expected;
  };
  constexpr const char* good = R"({"status":"completed","result":1,"ran_ms":1})";
  constexpr const char* bad = R"({"status":"task_failed","message":"no","ran_ms":1})";
  for (const Row& row : {Row{"all went well", good, good, "completed"}, Row{"some did", good, bad, "partial"},
                         Row{"none did", bad, bad, "failed"}}) {
    CAPTURE(row.says);
    Yard yard;
    const std::string id = yard.submitted(2);
    const std::string after = yard.submitted(1, R"("depends_on":[")" + id + "\"]");
    CHECK(yard.of(after).at("status") == "planning");
    CHECK(yard.of(id).at("status") == "queued");
    yard.work(1, row.first);
    CHECK(yard.of(id).at("status") == "running");
    yard.work(1, row.second);
    CHECK(yard.of(id).at("status") == row.expected);
    CHECK(yard.of(after).at("status") == (std::string(row.expected) == "completed" ? "queued" : "failed"));
  }
}

TEST_CASE("CP-64 to CP-67: every type splits into the tasks that its own fields say") {
  Yard yard;
  struct Row {
    const char* says;
    const char* job;
    const char* tasks;
  };
  const Row rows[] = {
      {"CP-64: one task without a fan-out", R"("payload":{"x":1})", "1"},
      {"CP-65: a grid", R"("type":"sweep","parameters":{"a":[1,2],"b":[1,2,3]})", "6"},
      {"CP-66: a split", R"("type":"map_reduce","split":{"range":10,"chunk_size":4},"reduce":"sum")", "3"},
      {"CP-67: replicas", R"("type":"benchmark","candidates":{"a":{},"b":{}},"replicas":3)", "6"},
      {"CP-69: by a list of the payload", R"("payload":{"xs":[1,2,3]},"fan_out":{"by":"xs"})", "3"},
      {"CP-70: explicit items", R"("fan_out":{"items":[{"a":1},{"a":2}]})", "2"},
      {"CP-71: a range", R"("fan_out":{"chunks":20,"range_field":"r","total":10000})", "20"},
      {"CP-73: batches", R"("fan_out":{"items":[{},{},{},{},{}]},"batch_size":2)", "3"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = yard.submit(std::string(R"({"task":"work","timeout_s":1,)") + row.job + "}");
    CHECK_MESSAGE(answer.status == 201, answer.body);
    CHECK(answer.at("estimate.tasks") == row.tasks);
  }
}

TEST_CASE("CP-68 to CP-83: what is no job is refused with its place, and nothing is written") {
  Yard yard;
  struct Row {
    const char* says;
    const char* more;
    const char* code;
    const char* field;
  };
  std::string tags;
  for (int i = 0; i < 21; ++i) tags += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + "\"";
  const std::string many_tags = R"("tags":[)" + tags + "]";
  const Row rows[] = {
      {"CP-68: no such type", R"("type":"dream")", "field_value", "/type"},
      {"CP-68: another type's field", R"("parameters":{"a":[1]})", "field_unknown", "/parameters"},
      {"CP-72: two shapes", R"("fan_out":{"by":"x","items":[{}]},"payload":{"x":[1]})", "field_value",
       "/fan_out"},
      {"CP-74: no such merge", R"("merge_strategy":"guess")", "field_value", "/merge_strategy"},
      {"CP-75: text for a project", R"("project":7)", "field_type", "/project"},
      {"CP-76: no time", R"("timeout_s":0)", "field_value", "/timeout_s"},
      {"CP-77: a try less than none", R"("max_retries":-1)", "field_value", "/max_retries"},
      {"CP-78: no such class", R"("priority":"urgent")", "field_value", "/priority"},
      {"CP-79: after nothing", R"("depends_on":["x"])", "job_unknown", "/depends_on/0"},
      {"CP-80: 21 tags", many_tags.c_str(), "field_value", "/tags"},
      {"CP-81: a number to call", R"("callback_url":7)", "field_type", "/callback_url"},
      {"CP-81: nobody is called yet", R"("callback_url":"https://example.org/")", "unsupported",
       "/callback_url"},
      {"CP-83: nothing is kept yet", R"("checkpointing":{"enabled":true})", "unsupported", "/checkpointing"},
      {"a payee of nobody's", R"("allowed_payees":["wal_1"])", "field_value", "/allowed_payees/0"},
      {"a payee alone", R"("allowed_payees":"wal_1")", "field_type", "/allowed_payees"},
      {"a retry of nothing", R"("retry_of":"job_01M32511TR0000000G014850DB")", "job_unknown", "/retry_of"},
      {"a retry of a number", R"("retry_of":7)", "field_type", "/retry_of"},
      {"two jobs before", R"("retry_of":"job_01M32511TR0000000G014850DB","resume_from":"job_1")",
       "field_value", "/resume_from"},
      {"CP-82: a need of nobody's", R"("requirements":{"luck":1})", "field_unknown", "/requirements/luck"},
      {"CP-82: half a core", R"("requirements":{"cpu":0.5})", "field_type", "/requirements/cpu"},
      {"CP-83: a word for yes", R"("checkpointing":{"enabled":"yes"})", "field_type",
       "/checkpointing/enabled"},
      {"a member of nobody's", R"("colour":"red")", "field_unknown", "/colour"},
      {"a wallet that is none", R"("wallet_id":"x")", "wallet_unknown", "/wallet_id"},
      {"a wallet that is a number", R"("wallet_id":7)", "field_type", "/wallet_id"},
  };
  const std::string before = yard.market.head();
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = yard.submit(std::string(R"({"task":"work",)") + row.more + "}");
    CHECK(answer.status >= 400);
    CHECK(answer.code() == row.code);
    CHECK(answer.field() == row.field);
  }
  CHECK(yard.submit("[]").code() == "field_type");
  CHECK(yard.submit("{").status == 400);
  CHECK(yard.market.head() == before);
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 0);
  CHECK(yard.submit(R"({"task":"work","tags":[)" + tags.substr(0, tags.rfind(',')) + "]}").status ==
        402);  // 20 are well: an hour is more than she has
}

TEST_CASE("CP-76, CP-77, CP-78: an hour, no other try and the middle class, unless said otherwise") {
  Yard yard;
  const Answer answer = yard.submit(R"({"task":"work","max_cost":"5"})");
  CHECK(answer.at("estimate.worst_case") == "3600.0");
  CHECK(answer.at("hold") == "5.0");
  CHECK(yard.of(answer.at("id")).at("priority") == "normal");
}

TEST_CASE("CP-95: a worker elsewhere leases tasks, stays heard of, and reports") {
  Yard yard;
  const std::string id = yard.submitted(3);
  const Answer lease = yard.lease(2);
  CHECK(lease.members() == "lease");
  CHECK(members_of(lease, "lease") ==
        "lease_id job_id first attempt work runner_command image project revision timeout_s expires_at "
        "payloads");
  CHECK(members_of(lease, "lease.work") == "kind name operation");
  CHECK(lease.find("lease.lease_id")->string() != nullptr);
  CHECK(lease.at("lease.job_id") == id);
  CHECK(lease.at("lease.timeout_s") == "10");
  CHECK(size_of(lease, "lease.payloads") == 2);
  const std::string token = lease.at("lease.lease_id");

  yard.market.pass_s(20);
  const Answer beat = yard.report(token, "");
  CHECK(beat.status == 200);
  CHECK(beat.members() == "left expires_at");
  CHECK(beat.at("left") == "2");
  yard.market.pass_s(20);
  const Answer first = yard.report(token, R"({"status":"completed","result":{"a":1},"ran_ms":9000})");
  CHECK(first.at("left") == "1");
  CHECK(yard.report(token, "", R"("gives_back":true)").at("left") == "0");
  const Answer late = yard.report(token, R"({"status":"completed","result":1,"ran_ms":1})");
  CHECK(late.status == 409);
  CHECK(late.code() == "lease_lost");

  yard.work(2);
  CHECK(yard.of(id).at("status") == "completed");
  CHECK(yard.lease().at("lease") == "null");
}

TEST_CASE("workers of two host wallets are each paid, and the job names a receipt of each") {
  Yard yard;
  const std::string id = yard.submitted(2);
  CHECK(size_of(yard.of(id), "receipt_ids") == 0);
  const Owner hosts[] = {yard.market.human("red"), yard.market.human("blue")};
  for (const Owner& host : hosts) {
    const std::string named = R"("host_wallet_id":")" + host.id + '"';
    const std::string token = yard.lease(1, named).at("lease.lease_id");
    yard.market.pass_s(1);
    CHECK(yard.report(token, R"({"status":"completed","result":7,"ran_ms":1000})").status == 200);
  }
  const Answer job = yard.of(id);
  REQUIRE(job.at("status") == "completed");
  CHECK(job.at("cost") == "2.0");
  REQUIRE(size_of(job, "receipt_ids") == 2);
  CHECK(job.at("receipt_id") == job.at("receipt_ids.0"));
  for (std::size_t i = 0; i < 2; ++i) {
    const Answer receipt = yard.get("/v1/receipts/" + job.at("receipt_ids." + std::to_string(i)));
    CHECK(receipt.status == 200);
    CHECK(receipt.at("host_wallet") == hosts[i].id);
    CHECK(receipt.at("amount.gross") == "1.00");
    CHECK(receipt.at("amount.net") == "0.85");
    CHECK(receipt.at("output_hash") == job.at("output_hash"));
    CHECK(receipt.at("verified") == "true");
  }
  CHECK(yard.get("/v1/wallets/" + yard.alice.id + "/receipts?limit=1").at("next").find('+') !=
        std::string::npos);
}

TEST_CASE("a worker that made its result up is found out by whoever computes the receipt's job again") {
  Yard yard;
  std::string numbers = "0";
  for (int i = 1; i < 45; ++i) numbers += "," + std::to_string(i);
  const Answer submitted = yard.market.post(
      "/api/v1/recipes/packing/jobs", yard.alice.key,
      R"({"timeout_s":10,"payload":{"operation":"eval","device":"cpu","candidate":[)" + numbers + "]}}");
  REQUIRE_MESSAGE(submitted.status == 201, submitted.body);
  const Answer lease = yard.market.post("/api/v1/workers/lease", yard.market.op,
                                        R"({"worker":"w","recipes":["packing"],"tasks_max":1})");
  yard.market.pass_s(1);
  CHECK(yard.report(lease.at("lease.lease_id"),
                    R"({"status":"completed","result":{"raw":{"valid":true,"score":2.9}},"ran_ms":1000})")
            .status == 200);
  const Answer job = yard.of(submitted.at("job_id"));
  const std::string receipt = "/v1/receipts/" + job.at("receipt_id");
  CHECK(yard.get(receipt).at("verified") == "true");  // the host did sign for it
  const Answer audit = yard.market.post(receipt + "/audit", yard.market.op, "");
  REQUIRE_MESSAGE(audit.status == 200, audit.body);
  CHECK(audit.members() ==
        "receipt_id job_id reproduced tasks input_hash output_hash recomputed_hash first_difference error");
  CHECK(audit.at("reproduced") == "false");
  CHECK(audit.at("output_hash") == job.at("output_hash"));
  CHECK(audit.at("recomputed_hash") != job.at("output_hash"));
  CHECK(audit.at("input_hash") == job.at("input_hash"));
  CHECK(audit.at("first_difference") == "0");
  CHECK(audit.at("tasks") == "1");
  CHECK(yard.get("/api/v1/recipes/packing").at("class") == "exact");
  const Answer recipes = yard.get("/api/v1/recipes");
  CHECK(recipes.at("recipes.0.name") == "gpu_probe");
  CHECK(recipes.at("recipes.0.class") == "bounded");
  CHECK(recipes.at("recipes.1.class") == "exact");

  // A receipt of a plain spend is of nothing that could be computed.
  CHECK(yard.market
            .post("/v1/wallets/" + yard.alice.id + "/spend", yard.alice.key,
                  R"({"job_id":"plain","amount":1,"gpu_type":"A100"})")
            .status == 200);
  const Owner host = yard.market.human("host");
  const Answer earned = yard.market.post(
      "/v1/wallets/" + host.id + "/earn", yard.market.op,
      R"({"job_id":"plain","gross_amount":1,"gpu_model":"A100","duration_seconds":1,"output_hash":")" +
          std::string(64, 'a') + "\"}");
  REQUIRE_MESSAGE(earned.status == 200, earned.body);
  const Answer refused =
      yard.market.post("/v1/receipts/" + earned.at("receipt_id") + "/audit", yard.market.op, "");
  CHECK(refused.status == 409);
  CHECK(refused.at("error.code") == "not_reproducible");
  CHECK(refused.at("error.details.why") == "spend");
}

TEST_CASE("CP-95: a heartbeat tells how far the task is that runs, and every reader of the job sees it") {
  Yard yard;
  const std::string id = yard.submitted(2);
  const std::string token = yard.lease(2).at("lease.lease_id");
  const auto beat = [&](const std::string& more) { return yard.report(token, "", more); };
  CHECK(beat(R"("progress":{"epoch":5,"loss":0.23})").at("left") == "2");
  CHECK(yard.of(id, "/tasks").at("tasks.0.progress.epoch") == "5");
  CHECK(yard.of(id, "/tasks").at("tasks.1.progress") == "null");
  CHECK(yard.of(id, "/events").body.find("task_progress") != std::string::npos);
  CHECK(beat(R"("progress":null)").status == 200);
  CHECK(yard.of(id, "/tasks").at("tasks.0.progress.epoch") == "5");

  // It is of the task at the front: an outcome moves that.
  const std::string done = R"({"status":"completed","result":1,"ran_ms":1})";
  CHECK(yard.report(token, done, R"("progress":{})").field() == "/progress");
  CHECK(beat(R"("progress":{},"gives_back":true)").field() == "/progress");
  CHECK(beat(R"("progress":[5])").field() == "/progress");
  CHECK(beat(R"("progress":{"x":")" + std::string(65'536, 'x') + R"("})").field() == "/progress");
  CHECK(beat(R"("progress":{"n":9007199254740992})").field() == "/progress");
  CHECK(yard.report(token, done).at("left") == "1");
  CHECK(beat(R"("progress":{"epoch":1},"first":1)").at("left") == "1");
  CHECK(yard.of(id, "/tasks").at("tasks.1.progress.epoch") == "1");
}

TEST_CASE("CP-95: a heartbeat tells what the task has printed, and its readers see it while it runs") {
  Yard yard;
  const std::string id = yard.submitted(2);
  const std::string token = yard.lease(2).at("lease.lease_id");
  CHECK(yard.of(id, "/output").members() ==
        "job_id task attempt stdout stderr stdout_dropped_bytes stderr_dropped_bytes");
  CHECK(yard.report(token, "", R"("stdout":"one\n")").at("left") == "2");
  CHECK(yard.of(id, "/output").at("stdout") == "one\n");
  CHECK(yard.report(token, "", R"("stdout":"one\ntwo\n","stderr":"x","first":0)").status == 200);
  CHECK(yard.of(id, "/output").at("stdout") == "one\ntwo\n");
  CHECK(yard.of(id, "/output").at("stderr") == "x");
  CHECK(yard.report(token, "").status == 200);  // a heartbeat that says nothing of it
  CHECK(yard.of(id, "/output").at("stdout") == "one\ntwo\n");
  CHECK(yard.of(id, "/output?task=1").at("attempt") == "0");

  const std::string done = R"({"status":"completed","result":1,"ran_ms":1})";
  CHECK(yard.report(token, done, R"("stdout":"x")").field() == "/stdout");
  CHECK(yard.report(token, "", R"("stderr":"x","gives_back":true)").field() == "/stderr");
  CHECK(yard.report(token, "", R"("stdout":1)").field() == "/stdout");
  CHECK(yard.report(token, "", R"("stdout":")" + std::string(300'000, 'x') + '"').status == 200);
  CHECK(yard.of(id, "/output").at("stdout_dropped_bytes") == "37856");
  CHECK(yard.of(id, "/output").at("stdout").find("\n[… 37,856 bytes dropped …]\n") == 65'536);

  // Its lease goes with a cancel; named by its job and its attempt it is heard to its end.
  CHECK(yard.cancel(id).status == 200);
  CHECK(yard.report(token, "", R"("stdout":"late","first":0)").status == 409);
  const auto named = [&](const std::string& job) {
    return yard.report(token, "", R"("stdout":"last","first":0,"attempt":1,"job_id":")" + job + '"');
  };
  CHECK(named(id).at("left") == "0");
  CHECK(yard.of(id, "/output").at("stdout") == "last");
  CHECK(named("job_1").field() == "/job_id");
}

TEST_CASE("CP-95: a lease that was not heard of for 30 seconds is 409, and its tasks are another's") {
  Yard yard;
  const std::string id = yard.submitted(1);
  const std::string lost = yard.lease().at("lease.lease_id");
  yard.market.pass_us(30'000'001);
  const Answer late = yard.report(lost, R"({"status":"completed","result":1,"ran_ms":1})");
  CHECK(late.status == 409);
  CHECK(late.code() == "lease_lost");
  CHECK(yard.lease().at("lease") == "null");  // taken back, and due after a pause
  yard.market.pass_s(300);
  const Answer next = yard.lease();
  CHECK(next.at("lease.job_id") == id);
  CHECK(next.at("lease.attempt") == "1");  // the first worker's end was no try
  CHECK(yard.report(lost, R"({"status":"completed","result":1,"ran_ms":1})").status == 409);
  CHECK(yard.report(next.at("lease.lease_id"), R"({"status":"completed","result":2,"ran_ms":0})").status ==
        200);
  CHECK(yard.get("/api/v1/results/" + id).at("tasks.0.result") == "2");
  CHECK(yard.of(id).at("cost") == "0.0");  // the lost one cost nobody anything
}

TEST_CASE("CP-95: what a worker asks or says wrongly is refused with its place, and its lease stands") {
  Yard yard;
  yard.submitted(2);
  CHECK(yard.market.post("/api/v1/workers/lease", yard.market.op, "{}").field() == "/worker");
  CHECK(yard.lease(0).field() == "/tasks_max");
  CHECK(yard.lease(-1).field() == "/tasks_max");
  CHECK(yard.lease(4097).field() == "/tasks_max");
  CHECK(yard.lease(1, R"("host_wallet_id":"x")").status >= 400);
  CHECK(yard.lease(1, R"("commands":1)").field() == "/commands");
  CHECK(yard.lease(1, R"("has":{"luck":1})").code() == "field_unknown");
  CHECK(yard.lease(1, R"("colour":1)").code() == "field_unknown");
  CHECK(yard.market.post("/api/v1/workers/lease", yard.alice.key, R"({"worker":"w"})").code() ==
        "operator_only");
  const std::string token = yard.lease(2).at("lease.lease_id");
  struct Row {
    const char* says;
    const char* outcomes;
    const char* code;
    const char* field;
  };
  const Row rows[] = {
      {"no status", R"({"ran_ms":1})", "field_missing", "/outcomes/0/status"},
      {"no such status", R"({"status":"fine","ran_ms":1})", "field_value", "/outcomes/0/status"},
      {"a failure of nothing", R"({"status":"none","ran_ms":1})", "field_value", "/outcomes/0/status"},
      {"no time", R"({"status":"completed"})", "field_missing", "/outcomes/0/ran_ms"},
      {"the second", R"({"status":"completed","ran_ms":1},{"status":"completed","ran_ms":"1"})", "field_type",
       "/outcomes/1/ran_ms"},
      {"three of two",
       R"({"status":"completed","ran_ms":1},{"status":"completed","ran_ms":1},{"status":"completed","ran_ms":1})",
       "field_value", "/outcomes"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = yard.report(token, row.outcomes);
    CHECK(answer.status == 422);
    CHECK(answer.code() == row.code);
    CHECK(answer.field() == row.field);
  }
  for (const char* none : {"", "x", "-1", "99999999999999999", "18446744073709551616"}) {
    CAPTURE(none);
    CHECK(yard.report(none, "").status == 409);
  }
  CHECK(yard.report(token, "").at("left") == "2");
}

TEST_CASE("a result that readers of doubles would change fails its task, and the message says why") {
  Yard yard;
  const std::string id = yard.submitted(1);
  yard.work(1, R"({"status":"completed","result":{"n":9007199254740992},"ran_ms":1})");
  CHECK(yard.of(id).at("error.code") == "result_invalid");
  CHECK(yard.of(id).at("error.message").find("2^53") != std::string::npos);
}

TEST_CASE("CP-112: a page of what is held is full, whatever has ended in between") {
  Yard yard;
  std::vector<std::string> open;
  for (int i = 0; i < 30; ++i) {
    const std::string id = yard.submitted(1);
    if (i % 10 == 9)
      open.push_back(id);
    else
      REQUIRE(yard.cancel(id).status == 200);
  }
  for (const std::size_t limit : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
    CAPTURE(limit);
    std::vector<std::string> seen;
    std::string after;
    do {
      const Answer page = yard.get("/api/v1/account/holds?limit=" + std::to_string(limit) +
                                   (after.empty() ? "" : "&after=" + after));
      REQUIRE(page.status == 200);
      REQUIRE(page.items() == std::min(limit, open.size() - seen.size()));
      for (std::size_t i = 0; i < page.items(); ++i)
        seen.push_back(page.at("items." + std::to_string(i) + ".job_id"));
      after = page.find("next")->string() == nullptr ? "" : page.at("next");
    } while (!after.empty());
    CHECK(seen == open);
  }
}

TEST_CASE("CP-110 to CP-113: what an account has, what it holds, and how that came about") {
  Yard yard;
  const std::string id = yard.submitted(2);
  const Answer balance = yard.get("/api/v1/account/balance");
  CHECK(balance.members() == "wallet_id balance held available unit");
  CHECK(balance.at("balance") == "1000.0");
  CHECK(balance.at("held") == "20.0");
  CHECK(balance.at("available") == "980.0");
  CHECK(balance.at("unit") == "FLOPS");
  const Answer holds = yard.get("/api/v1/account/holds");
  REQUIRE(holds.items() == 1);
  CHECK(holds.at("items.0.job_id") == id);
  CHECK(holds.at("items.0.amount") == "20.0");
  CHECK(holds.at("items.0.state") == "open");
  yard.work(2);
  CHECK(yard.get("/api/v1/account/holds").items() == 0);
  const Answer ledger = yard.get("/api/v1/account/ledger?limit=1000");
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < ledger.items(); ++i) {
    const std::string amount = ledger.at("items." + std::to_string(i) + ".amount");
    const bool out = amount.starts_with('-');
    const auto read = calyx::core::read_money(amount.substr(out ? 1 : 0));
    REQUIRE(read.fault == calyx::core::MoneyFault::none);
    sum += out ? -read.money.micro : read.money.micro;
  }
  CHECK(micro_text(sum) == yard.get("/api/v1/account/balance").at("balance"));
  for (const char* path : {"balance", "ledger", "holds"}) {
    CAPTURE(path);
    const std::string target = "/api/v1/account/" + std::string(path);
    CHECK(yard.market.get(target, yard.market.op).field() == "wallet_id");  // an operator has no account
    CHECK(yard.market.get(target + "?wallet_id=" + yard.alice.id, yard.market.op).status == 200);
    CHECK(yard.market.get(target + "?wallet_id=x", yard.market.op).code() == "wallet_unknown");
  }
}

TEST_CASE("CP-114: a job holds its worst case, settles to what was used, and gives the rest back") {
  Yard yard;
  const std::string id = yard.submitted(2);
  CHECK(yard.market.balance(yard.alice) == "980.0");
  yard.work(1);
  yard.work(1);
  const Answer job = yard.of(id);
  CHECK(job.at("status") == "completed");
  CHECK(job.at("cost") == "2.0");
  CHECK(yard.market.balance(yard.alice) == "998.0");
  const Answer receipt = yard.get("/v1/receipts/" + job.at("receipt_id"));
  CHECK(receipt.status == 200);
  CHECK(receipt.body.find(job.at("output_hash")) != std::string::npos);
  const Answer poor = yard.submit(yard.job(100));
  CHECK(poor.status == 402);
  CHECK(poor.code() == "insufficient_balance");
  CHECK(yard.submit(yard.job(100), "again").status == 402);
  yard.market.fund(yard.alice, "2");
  CHECK(yard.submit(yard.job(100), "again").status == 201);  // the same submit, once there is enough
}

TEST_CASE("CP-119: the host sets the prices, anybody asks what a job may come to") {
  Yard yard;
  const Answer set =
      yard.market.send("PUT", "/v1/settings", yard.market.op,
                       R"({"prices":{"base":"1","cpu":"2","memory_gb":"0.5","gpus":{"H100":"10","*":"3"}}})");
  CHECK(set.status == 200);
  CHECK(set.members() == "prices base_url realm networks");
  CHECK(members_of(set, "prices") == "base cpu memory_gb gpus");
  CHECK(set.at("prices.gpus.H100") == "10.0");
  CHECK(yard.market.get("/v1/settings", yard.market.op).body == set.body);
  const Answer estimate = yard.market.post(
      "/api/v1/jobs/estimate", yard.alice.key,
      yard.job(2, R"("requirements":{"cpu":1,"memory_mb":2048,"gpu_count":2,"gpu_type":"H100"})"));
  CHECK(estimate.status == 200);
  CHECK(estimate.members() == "tasks rate_per_second worst_case hold");
  CHECK(estimate.at("rate_per_second") == "24.0");
  CHECK(estimate.at("worst_case") == "480.0");
  CHECK(size_of(yard.get("/api/v1/jobs"), "jobs") == 0);  // it asked, no more
  struct Row {
    const char* body;
    const char* field;
  };
  for (const Row& row : {Row{R"({"prices":{"luck":"1"}})", "/prices/luck"},
                         Row{R"({"prices":{"gpus":{"H100":"x"}}})", "/prices/gpus/H100"},
                         Row{R"({"prices":{"base":"-1"}})", "/prices/base"}}) {
    CAPTURE(row.body);
    const Answer refused = yard.market.send("PUT", "/v1/settings", yard.market.op, row.body);
    CHECK(refused.status == 422);
    CHECK(refused.field() == row.field);
  }
  CHECK(yard.market.send("PUT", "/v1/settings", yard.alice.key, R"({"prices":{}})").code() ==
        "operator_only");
  CHECK(yard.market.get("/v1/settings", yard.market.op).body == set.body);
}

TEST_CASE("a submit while another has the gate is 503, says when to come again, and is then the same job") {
  const calyx::store::Scratch folder;
  calyx::Options options;
  options.path = folder / "m.db";
  options.busy_timeout_ms = 20;
  calyx::Engine engine = calyx::Engine::open(options).value();
  const std::string key = engine.issue_operator_key("tests").value().api_key;
  const auto submit = [&] {
    return calyx::handle(
        engine,
        {"POST", "/api/v1/jobs", {{"X-API-Key", key}, {"Idempotency-Key", "k"}}, R"({"task":"work"})"});
  };
  const auto header = [](const calyx::Response& response, std::string_view name) {
    for (const calyx::HeaderField& field : response.headers)
      if (field.name == name) return field.value;
    return std::string();
  };
  {
    calyx::store::Gate gate = calyx::store::Gate::open(options.path + "-gate").value();
    const auto hold = calyx::store::GateHold::take(gate, 5'000);
    REQUIRE(hold.ok());
    const calyx::Response busy = submit();
    CHECK(busy.status == 503);
    CHECK(header(busy, "Retry-After") == "1");
    CHECK(busy.body.find("store_busy") != std::string::npos);
  }
  CHECK(submit().status == 201);
  const calyx::Response again = submit();
  CHECK(again.status == 201);
  CHECK(header(again, "Idempotent-Replayed") == "true");
}
