#include <filesystem>

#include "archive/archive.hpp"
#include "engine/job_market.hpp"
#include "engine/tarballs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

namespace {

/// A market whose payer has pushed a project of shell scripts, and a worker that runs them.
struct Shop {
  store::Scratch scratch;
  JobMarket market;
  ProjectName code;

  Shop() : market(in(scratch)), code{.name = "code", .wallet = market.payer} {
    std::filesystem::create_directory(scratch / "tasks");
    CHECK(market.all.create_project({.name = "code", .wallet = market.payer}).ok());
    const std::string tarball = testing::gzip(testing::tar({
        {"echo.sh",
         "cat \"$COMPUTALOT_TASK_PAYLOAD\" > \"$COMPUTALOT_TASK_RESULT\"\n"
         "echo 'COMPUTALOT_PROGRESS:{\"done\":1}'\necho heard; echo warned >&2\n",
         0755},
        {"fail.sh", "echo 'no such luck' >&2\nexit 3\n", 0755},
        {"slow.sh", "sleep 60\n", 0755},
        {"mute.sh", "exit 0\n", 0755},
    }));
    const Result<Revision> pushed = market.all.push_project(code, tarball);
    REQUIRE_MESSAGE(pushed.ok(), pushed.error().message);
  }
  static Options in(const store::Scratch& folder) {
    Options options;
    options.path = folder / "m.db";
    return options;
  }
  WorkerOptions options(bool allowed = true) const {
    WorkerOptions out;
    out.commands = CommandOptions{
        .scratch = scratch / "tasks", .helper = CALYX_TEST_RUNNER_HELPER, .allow_bare_host = allowed};
    return out;
  }
  JobId submit(const char* script, std::vector<json::Member> more = {}) {
    json::Object job;
    job.set("project", "code").set("runner_command", json::array({"sh", script}));
    job.set("payload", json::object({{"n", 1}})).set("timeout_s", 30);
    for (json::Member& member : more) job.set(member.key, std::move(member.value));
    return market.submit(std::move(job));
  }
  Job run(JobId id) {
    Worker worker = Worker::start(market.engine, options()).value();
    return market.all.wait_job(id, std::chrono::minutes(1)).value();
  }
};

/// Whether projects can be pushed at all; told where they can't.
bool pushes(const char* test) {
  if (archive::built()) return true;
  CHECK(testing::may_lack(test, "libarchive-dev"));
  return false;
}

}  // namespace

TEST_CASE("a command of a project reads its payload, writes its result, and is heard") {
  if (!pushes("engine.commands")) return;
  Shop shop;
  const JobId id = shop.submit("echo.sh");
  const Job job = shop.run(id);
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(json::canonical(shop.market.all.job_results(id).value().result) == R"({"n":1})");
  const JobOutput output = shop.market.all.job_output(id).value();
  CHECK(output.out.find("heard\n") != std::string::npos);
  CHECK(output.err == "warned\n");
  CHECK(job.work == "command");
  CHECK(job.name == "sh");
}

TEST_CASE("how a command ends is how its task ends") {
  if (!pushes("engine.commands.ends")) return;
  Shop shop;
  const JobId failed = shop.submit("fail.sh");
  const JobId mute = shop.submit("mute.sh");
  const JobId slow = shop.submit("slow.sh", {{"timeout_s", 1}});
  const JobId none = shop.submit("none.sh");
  {
    Worker worker = Worker::start(shop.market.engine, shop.options()).value();
    for (const JobId id : {failed, mute, slow, none})
      CHECK(shop.market.all.wait_job(id, std::chrono::minutes(1)).value().status == JobStatus::failed);
  }
  CHECK(shop.market.now(failed).failure == JobFailure::exit_nonzero);
  CHECK(shop.market.all.job_output(failed).value().err == "no such luck\n");
  CHECK(shop.market.now(mute).failure == JobFailure::result_missing);
  CHECK(shop.market.now(slow).failure == JobFailure::timed_out);
  CHECK(shop.market.now(none).failure == JobFailure::exit_nonzero);  // the shell's word for it
  shop.market.check_books();
}

TEST_CASE("a cancel ends the process, and a worker that stops gives its task back") {
  if (!pushes("engine.commands.cancel")) return;
  Shop shop;
  const JobId id = shop.submit("slow.sh");
  {
    Worker worker = Worker::start(shop.market.engine, shop.options()).value();
    while (shop.market.now(id).status != JobStatus::running)
      static_cast<void>(shop.market.all.wait_job(id, std::chrono::milliseconds(20)));
  }
  CHECK(shop.market.now(id).progress.queued == 1);
  CHECK(shop.market.all.cancel_job(id).value().status == JobStatus::cancelled);
}

TEST_CASE("commands run on the bare host only where the host said so, and only through the helper") {
  JobMarket market;
  store::Scratch scratch;
  WorkerOptions options;
  options.commands = CommandOptions{.scratch = scratch / "", .helper = CALYX_TEST_RUNNER_HELPER};
  CHECK(Worker::start(market.engine, options).reason() == Reason::bare_host_refused);
  options.commands->allow_bare_host = true;
  options.commands->helper = scratch / "nothing";
  CHECK_FALSE(Worker::start(market.engine, options).ok());
}
