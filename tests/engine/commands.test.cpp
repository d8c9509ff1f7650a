#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/job_market.hpp"
#include "engine/pushes.hpp"
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
  /// A job of a shell's words that keeps checkpoints.
  JobId submit_kept(const char* words, bool resumes, std::int64_t retries = 1) {
    json::Object job;
    job.set("project", "code").set("runner_command", json::array({"sh", "-c", words}));
    job.set("payload", json::object({})).set("timeout_s", 30).set("max_retries", retries);
    job.set("checkpointing", json::object({{"enabled", true}, {"resume_from_latest", resumes}}));
    return market.submit(std::move(job));
  }
  std::string kept(JobId id) const { return scratch / "m.db-checkpoints/" + id.text(); }
  /// Lets a worker work until `done`, and stops it.
  template <class Done>
  void work_until(Done done) {
    Worker worker = Worker::start(market.engine, options()).value();
    while (!done()) ::usleep(10'000);
  }
  /// Of its first task, those that were reported.
  std::int64_t attempts(JobId id) { return market.all.job_output(id).value().attempt; }
  Job run(JobId id) {
    Worker worker = Worker::start(market.engine, options()).value();
    return market.all.wait_job(id, std::chrono::minutes(1)).value();
  }
};

}  // namespace

TEST_CASE("a command of a project reads its payload, writes its result, and is heard") {
  if (!testing::pushes("engine.commands")) return;
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
  if (!testing::pushes("engine.commands.ends")) return;
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
  if (!testing::pushes("engine.commands.cancel")) return;
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

// ── checkpoints ──

TEST_CASE("CP-83: a command that is killed in its middle goes on from its checkpoint, on another worker") {
  if (!testing::pushes("engine.checkpoints")) return;
  Shop shop;
  const JobId id = shop.submit_kept(R"(
cd "$COMPUTALOT_CHECKPOINT_DIR" || exit 9
n=$(cat step 2>/dev/null || echo 0)
echo "begins at $n"
while [ $n -lt 6 ]; do
  n=$((n + 1))
  echo $n > step.new && mv step.new step
  if [ $n -eq 3 ]; then kill -9 $$; fi
done
echo $n > "$COMPUTALOT_TASK_RESULT")",
                                    true);
  shop.work_until([&] { return shop.attempts(id) == 1; });
  CHECK(shop.market.all.job_output(id).value().out == "begins at 0\n");
  CHECK(std::filesystem::exists(shop.kept(id) + "/0/step"));
  shop.market.pass(100);
  const Job job = shop.run(id);
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(shop.market.all.job_output(id).value().out == "begins at 3\n");
  CHECK(json::canonical(shop.market.all.job_results(id).value().result) == "6");
  CHECK_FALSE(std::filesystem::exists(shop.kept(id)));
  shop.market.check_books();
}

TEST_CASE(
    "CP-83: a task whose worker stops goes on from its checkpoint too, and without resume begins anew") {
  if (!testing::pushes("engine.checkpoints.stop")) return;
  Shop shop;
  const char* words = R"(
cd "$COMPUTALOT_CHECKPOINT_DIR" || exit 9
if [ -e begun ]; then echo '"again"' > "$COMPUTALOT_TASK_RESULT"; exit 0; fi
touch begun
exec sleep 60)";
  for (const bool resumes : {true, false}) {
    CAPTURE(resumes);
    const JobId id = shop.submit_kept(words, resumes, 0);
    shop.work_until([&] { return std::filesystem::exists(shop.kept(id) + "/0/begun"); });
    CHECK(shop.market.now(id).progress.queued == 1);
    if (resumes) {
      const Job job = shop.run(id);
      CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
    } else {
      std::ofstream(shop.kept(id) + "/0/stale") << "of the attempt before";
      shop.work_until([&] {
        return shop.market.now(id).status == JobStatus::running &&
               !std::filesystem::exists(shop.kept(id) + "/0/stale") &&
               std::filesystem::exists(shop.kept(id) + "/0/begun");
      });
      CHECK(shop.market.all.cancel_job(id).value().status == JobStatus::cancelled);
    }
    CHECK_FALSE(std::filesystem::exists(shop.kept(id)));
  }
}

TEST_CASE("CP-83: links in a checkpoint lead nowhere: what they name is neither emptied nor written to") {
  if (!testing::pushes("engine.checkpoints.links")) return;
  Shop shop;
  std::filesystem::create_directory(shop.scratch / "victim");
  std::ofstream(shop.scratch / "victim/file") << "mine";
  const std::string victim = shop.scratch / "victim";
  const std::string words = "cd \"$COMPUTALOT_CHECKPOINT_DIR\" || exit 9; echo found $(ls -A); ln -s " +
                            victim + " link; ln -s " + victim +
                            "/file file; mkdir deep; ln -s / deep/root; exit 5";
  const JobId id = shop.submit_kept(words.c_str(), false);
  shop.work_until([&] { return shop.attempts(id) == 1; });
  shop.market.pass(100);
  CHECK(shop.run(id).failure == JobFailure::exit_nonzero);
  CHECK(shop.market.all.job_output(id).value().attempt == 2);
  CHECK(shop.market.all.job_output(id).value().out == "found\n");  // nothing of the first
  CHECK(std::filesystem::exists(shop.scratch / "victim/file"));
  CHECK_FALSE(std::filesystem::exists(shop.kept(id)));

  for (const bool resumes : {true, false}) {
    const JobId lured = shop.submit_kept("touch \"$COMPUTALOT_CHECKPOINT_DIR\"/new; exit 0", resumes, 0);
    std::filesystem::create_directories(shop.kept(lured));
    std::filesystem::create_directory_symlink(shop.scratch / "victim", shop.kept(lured) + "/0");
    // It cannot be started there, which is a fault of the worker: the task waits for another try.
    shop.work_until(
        [&] { return shop.market.now(lured).started_at && shop.market.all.metrics().value().leases == 0; });
    CHECK(shop.market.now(lured).progress.queued == 1);
    CHECK(shop.market.all.cancel_job(lured).ok());
    CHECK(std::filesystem::exists(shop.scratch / "victim/file"));
    CHECK_FALSE(std::filesystem::exists(shop.scratch / "victim/new"));
    CHECK_FALSE(std::filesystem::exists(shop.kept(lured)));
  }
}

TEST_CASE("CP-83: an attempt waits for the one before it, which has the folder still") {
  if (!testing::pushes("engine.checkpoints.lock")) return;
  Shop shop;
  const JobId id = shop.submit_kept("echo 1 > \"$COMPUTALOT_TASK_RESULT\"", true, 0);
  std::filesystem::create_directories(shop.kept(id) + "/0");
  const int held = ::open((shop.kept(id) + "/0").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(held, LOCK_EX) == 0);
  shop.work_until([&] { return shop.market.now(id).status == JobStatus::running; });
  CHECK(shop.market.now(id).progress.queued == 1);  // given back, not begun
  ::close(held);
  CHECK(shop.run(id).status == JobStatus::completed);
}

TEST_CASE("CP-83: what ended jobs left is swept by the next worker, and nothing else is") {
  if (!testing::pushes("engine.checkpoints.sweep")) return;
  Shop shop;
  const JobId ended = shop.submit_kept("exit 5", true, 0);
  CHECK(shop.run(ended).status == JobStatus::failed);
  const JobId waits = shop.submit_kept("exit 5", true, 0);
  const std::string foreign = shop.scratch / "m.db-checkpoints/job_00000000000000000000000000";
  for (const std::string& folder : {shop.kept(ended), shop.kept(waits), foreign})
    std::filesystem::create_directories(folder + "/0/x");
  {
    const Worker worker = Worker::start(shop.market.engine, shop.options()).value();
    CHECK_FALSE(std::filesystem::exists(shop.kept(ended)));
  }
  CHECK(std::filesystem::exists(foreign));
}

TEST_CASE("CP-83: only commands keep checkpoints, and nothing resumes from none") {
  JobMarket market;
  const auto refused = [&](json::Value checkpointing) {
    return market.all
        .submit_job(
            {.job = JobMarket::job(1, {{"checkpointing", std::move(checkpointing)}}), .wallet = market.payer})
        .reason();
  };
  CHECK(refused(json::object({{"enabled", true}})) == Reason::unsupported);
  CHECK(refused(json::object({{"enabled", true}, {"resume_from_latest", true}})) == Reason::unsupported);
  CHECK(refused(json::object({{"enabled", false}, {"resume_from_latest", true}})) == Reason::field_value);
  CHECK(refused(json::object({{"resume_from_latest", true}})) == Reason::field_value);
  CHECK(refused(json::object({{"enabled", false}})) == Reason::none);
}
