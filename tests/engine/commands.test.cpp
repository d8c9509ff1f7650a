#include "engine/commands.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/job_market.hpp"
#include "engine/pushes.hpp"
#include "engine/tarballs.hpp"
#include "store/gate.hpp"
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

  explicit Shop(std::uint64_t busy_timeout_ms = Options{}.busy_timeout_ms)
      : market(in(scratch, busy_timeout_ms)), code{.name = "code", .wallet = market.payer} {
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
        {"greedy.sh", "x=$(head -c 200000000 /dev/zero | tr '\\0' a)\nsleep 60\n", 0755},
        {"large.sh",
         "head -c $1 /dev/zero > \"$TMPDIR/large\"\nsleep ${2:-0}\necho 1 > \"$COMPUTALOT_TASK_RESULT\"\n",
         0755},
        {"secret.sh",
         "cat /etc/shadow /etc/ssl/private/* /etc/ssh/*_key; echo 1 > \"$COMPUTALOT_TASK_RESULT\"\n", 0755},
    }));
    const Result<Revision> pushed = market.all.push_project(code, tarball);
    REQUIRE_MESSAGE(pushed.ok(), pushed.error().message);
  }
  static Options in(const store::Scratch& folder, std::uint64_t busy_timeout_ms) {
    Options options;
    options.path = folder / "m.db";
    options.busy_timeout_ms = busy_timeout_ms;
    return options;
  }
  WorkerOptions options(bool allowed = true) const {
    WorkerOptions out;
    out.commands = CommandOptions{.scratch = scratch / "tasks",
                                  .helper = calyx::testing::runner_helper,
                                  .allow_bare_host = allowed,
                                  .containers = "none"};
    return out;
  }
  JobId submit(const char* script, std::vector<json::Member> more = {}) {
    json::Object job;
    json::Array words{json::Value("sh")};
    std::istringstream in(script);
    for (std::string word; in >> word;) words.push_back(json::Value(word));
    job.set("project", "code").set("runner_command", json::Value(std::move(words)));
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
  /// Of its first task, those that failed and were reported.
  std::int64_t attempts(JobId id) {
    const JobTask task = market.all.job_tasks(id).value().items.at(0);
    return task.failure == JobFailure::none ? 0 : task.attempts;
  }
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

TEST_CASE("a task whose job says nothing of memory and files may take what the host says") {
  if (!testing::pushes("engine.commands.limits")) return;
  Shop shop;
  const auto with = [](const char* need, int value) {
    return json::Member{"requirements", json::object({{need, value}})};
  };
  const JobId greedy = shop.submit("greedy.sh");
  const JobId large = shop.submit("large.sh 20000000 60");
  const JobId asked = shop.submit("large.sh 20000000", {with("storage_gb", 1)});
  WorkerOptions options = shop.options();
  options.commands->memory_mb = 64;
  options.commands->disk_mb = 8;
  {
    Worker worker = Worker::start(shop.market.engine, options).value();
    for (const JobId id : {greedy, large, asked})
      CHECK(is_terminal(shop.market.all.wait_job(id, std::chrono::minutes(1)).value().status));
  }
  CHECK(shop.market.now(greedy).failure == JobFailure::out_of_memory);
  CHECK(shop.market.now(large).failure == JobFailure::out_of_disk);
  CHECK(shop.market.now(asked).failure == JobFailure::none);
  CHECK(shop.market.now(asked).status == JobStatus::completed);
  shop.market.check_books();
}

TEST_CASE("where the host is root, commands are of the user that it says") {
  if (!testing::pushes("engine.commands.user")) return;
  Shop shop;
  WorkerOptions options = shop.options();
  options.commands->user = TaskUser{65534, 0};
  CHECK(Worker::start(shop.market.engine, options).reason() == Reason::options_invalid);  // root's group
  options.commands->user = TaskUser{65534, 65534};
  if (::geteuid() != 0) {
    testing::skipped("engine.commands.user", "this is not root");
    CHECK(Worker::start(shop.market.engine, options).reason() == Reason::options_invalid);
    return;
  }
  for (const std::string& folder : {shop.scratch / "", shop.scratch / "tasks"})
    REQUIRE(::chmod(folder.c_str(), 0711) == 0);
  json::Object job;
  job.set("project", "code").set("payload", json::object({})).set("timeout_s", 30);
  job.set("checkpointing", json::object({{"enabled", true}}));
  job.set("runner_command",
          json::array({"sh", "-c",
                       "id -u; id -g; cat $PWD/mute.sh; echo kept > $COMPUTALOT_CHECKPOINT_DIR/state && "
                       "echo 1 > $COMPUTALOT_TASK_RESULT; ls $PWD/../../.."}));
  const JobId id = shop.market.submit(std::move(job));
  {
    Worker worker = Worker::start(shop.market.engine, options).value();
    const Job done = shop.market.all.wait_job(id, std::chrono::minutes(1)).value();
    CHECK(done.failure ==
          JobFailure::exit_nonzero);  // by the last word: what lies beside the market is not listed
  }
  const JobOutput output = shop.market.all.job_output(id).value();
  CHECK(output.out == "65534\n65534\nexit 0\n");
  CHECK(output.err.find("Permission denied") != std::string::npos);
}

TEST_CASE("a command reads none of root's secrets, also where the host is root") {
  if (!testing::pushes("engine.commands.secrets")) return;
  Shop shop;
  const JobId id = shop.submit("secret.sh");
  CHECK(shop.run(id).status == JobStatus::completed);
  const JobOutput output = shop.market.all.job_output(id).value();
  CHECK(output.out.empty());
  CHECK(output.err.find("/etc/shadow: Permission denied") != std::string::npos);
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

TEST_CASE("what a command prints is seen while it runs") {
  if (!testing::pushes("engine.commands.live")) return;
  Shop shop;
  const JobId id = shop.submit_kept(R"(
cd "$COMPUTALOT_CHECKPOINT_DIR" || exit 9
echo one; echo warned >&2
while [ ! -e seen ]; do sleep 0.01; done
echo two; echo 2 > "$COMPUTALOT_TASK_RESULT")",
                                    false);
  {
    Worker worker = Worker::start(shop.market.engine, shop.options()).value();
    while (shop.market.all.job_output(id).value().out != "one\n") ::usleep(10'000);
    CHECK(shop.market.all.job_output(id).value().attempt == 1);
    CHECK(shop.market.now(id).progress.running == 1);
    std::ofstream(shop.kept(id) + "/0/seen") << "";
    CHECK(shop.market.all.wait_job(id, std::chrono::minutes(1)).value().status == JobStatus::completed);
  }
  CHECK(shop.market.all.job_output(id).value().out == "one\ntwo\n");
  CHECK(shop.market.all.job_output(id).value().err == "warned\n");
}

TEST_CASE("a cancelled task keeps its attempt and what it printed to its end") {
  if (!testing::pushes("engine.commands.cancelled")) return;
  Shop shop;
  const JobId id =
      shop.submit_kept("trap 'echo asked; exit 1' TERM; echo begun; while :; do sleep 0.05; done", false);
  Worker worker = Worker::start(shop.market.engine, shop.options()).value();
  const auto out = [&] { return shop.market.all.job_output(id).value().out; };
  while (out() != "begun\n") ::usleep(10'000);
  CHECK(shop.market.all.cancel_job(id).value().status == JobStatus::cancelled);
  // No heartbeat is due for ten seconds of the lease's: it is looked for.
  while (out() != "begun\nasked\n") ::usleep(10'000);
  const JobTask task = shop.market.all.job_tasks(id).value().items.at(0);
  CHECK(task.status == TaskStatus::cancelled);
  CHECK(task.attempts == 1);
  CHECK(task.failure == JobFailure::cancelled);
  CHECK(shop.market.all.job_output(id).value().attempt == 1);
  shop.market.check_books();
}

TEST_CASE(
    "what a command prints while the store is busy is seen once it is not, also where that was its last") {
  if (!testing::pushes("engine.commands.busy")) return;
  Shop shop(10);
  const JobId id = shop.submit_kept(R"(
cd "$COMPUTALOT_CHECKPOINT_DIR" || exit 9
trap 'echo asked; exit 1' TERM
echo one
while [ ! -e seen ]; do sleep 0.01; done
echo two; touch said
while :; do sleep 0.01; done)",
                                    false);
  Worker worker = Worker::start(shop.market.engine, shop.options()).value();
  const std::string folder = shop.kept(id) + "/0/";
  const auto there = [&](const char* name) { return std::filesystem::exists(folder + name); };
  // For a while, so that what is never told is a failure and no end.
  const auto comes = [&](const char* out) {
    for (int i = 0; i < 2'000 && shop.market.all.job_output(id).value().out != out; ++i) ::usleep(10'000);
    return shop.market.all.job_output(id).value().out == out;
  };
  // The store is busy until the worker has found that something was printed, and that its lease is gone.
  const auto busy_until = [&](auto done) {
    store::Gate gate = store::Gate::open(shop.scratch / "m.db-gate").value();
    const auto hold = store::GateHold::take(gate, 5'000);
    REQUIRE(hold.ok());
    while (!done()) ::usleep(10'000);
    ::usleep(1'000'000);
  };
  REQUIRE(comes("one\n"));
  busy_until([&, told = false]() mutable {
    if (!std::exchange(told, true)) std::ofstream(folder + "seen") << "";
    return there("said");
  });
  CHECK(comes("one\ntwo\n"));
  CHECK(shop.market.now(id).progress.running == 1);
  CHECK(shop.market.all.cancel_job(id).value().status == JobStatus::cancelled);
  // Its folder goes with it, once what it has printed was told.
  busy_until([&] {
    for (const auto& runner : std::filesystem::directory_iterator(shop.scratch / "tasks"))
      if (!std::filesystem::is_empty(runner.path())) return false;
    return true;
  });
  CHECK(comes("one\ntwo\nasked\n"));
}

TEST_CASE("CP-91: neither output nor error names a path of this machine") {
  if (!testing::pushes("engine.commands.paths")) return;
  Shop shop;
  const JobId id = shop.submit_kept(R"(
echo "$COMPUTALOT_TASK_RESULT"; pwd >&2; pwd -P; echo "at $COMPUTALOT_CHECKPOINT_DIR/step"
printf '%.12s' "$TMPDIR"; sleep 0.6; echo "$TMPDIR" | cut -c 13-
exit 3)",
                                    false, 0);
  CHECK(shop.run(id).failure == JobFailure::exit_nonzero);
  const JobOutput output = shop.market.all.job_output(id).value();
  CHECK(output.out == "work/result.json\nproject\nat checkpoint/step\nwork/tmp\n");
  CHECK(output.err == "project\n");
}

TEST_CASE("of a command that prints without end the beginning and the end are kept, and how much is not") {
  if (!testing::pushes("engine.commands.flood")) return;
  Shop shop;
  const JobId id = shop.submit_kept("echo first; yes | head -c 1000000; echo last; exit 3", false, 0);
  CHECK(shop.run(id).failure == JobFailure::exit_nonzero);
  const JobOutput output = shop.market.all.job_output(id).value();
  CHECK(output.out.size() < core::printed_bytes_max);
  CHECK(output.out.starts_with("first\ny\n"));
  CHECK(output.out.ends_with("y\nlast\n"));
  // Whatever was read in one go: what is kept, what is dropped and the line between are all of it.
  const std::size_t line = output.out.find("\n[… ");
  REQUIRE(line == core::printed_head_bytes);
  const std::size_t tail =
      output.out.size() - output.out.find("dropped …]\n") - std::string("dropped …]\n").size();
  CHECK(line + output.out_dropped + tail == 1'000'011);
  CHECK(output.err_dropped == 0);
}

TEST_CASE("commands run on the bare host only where the host said so, and only through the helper") {
  JobMarket market;
  store::Scratch scratch;
  WorkerOptions options;
  options.commands =
      CommandOptions{.scratch = scratch / "", .helper = calyx::testing::runner_helper, .containers = "none"};
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

namespace {

/// A market, and the container tool of the tests with a folder of its own.
struct Yard {
  store::Scratch scratch;
  Options options;
  JobMarket market;

  explicit Yard(CommandOptions how) : options(in(scratch, std::move(how))), market(options) {}
  ~Yard() { ::unsetenv("DOCKER_CONFIG"); }
  static Options in(const store::Scratch& folder, CommandOptions how) {
    std::filesystem::create_directory(folder / "tasks");
    std::filesystem::create_directory(folder / "tool");
    ::setenv("DOCKER_CONFIG", (folder / "tool").c_str(), 1);
    how.scratch = folder / "tasks";
    how.helper = calyx::testing::runner_helper;
    how.bubblewrap = how.bubblewrap == "auto" ? "none" : how.bubblewrap;
    Options options;
    options.path = folder / "m.db";
    options.commands = std::move(how);
    return options;
  }
  static CommandOptions docker() { return {.containers = calyx::testing::docker_program}; }
  static CommandOptions bare() { return {.allow_bare_host = true, .containers = "none"}; }
  JobId submit(const char* image, const json::Value& command, std::vector<json::Member> more = {}) {
    json::Object job;
    if (*image != '\0') job.set("image", image);
    job.set("command", command).set("timeout_s", 30);
    for (json::Member& member : more) job.set(member.key, std::move(member.value));
    return market.submit(std::move(job));
  }
  /// Runs it to its end on this thread, with the clock set on where it waits for another try.
  Job run(JobId id) {
    for (;;) {
      const auto waits = [this, id, asked = 0]() mutable {
        return asked++ > 0 && market.now(id).status == JobStatus::running &&
               market.now(id).progress.running == 0;
      };
      const Result<Job> job = market.all.run_job(id, {.stopped = waits});
      REQUIRE_MESSAGE(job.ok(), job.error().message);
      if (is_terminal(job->status)) return *job;
      market.pass(400);
    }
  }
  std::string calls() const {
    std::ifstream file(scratch / "tool/calls");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// How many calls began with `words`, spelled as in a list.
  std::size_t called(const std::string& words) const {
    std::size_t times = 0;
    const std::string all = calls();
    for (std::size_t at = all.find("[" + words); at != std::string::npos; at = all.find("[" + words, at + 1))
      ++times;
    return times;
  }
};

}  // namespace

TEST_CASE("a command in an image runs on the thread that waits for it, where the market says how") {
  Yard yard(Yard::docker());
  const JobId id =
      yard.submit("repo/trainer:1", "sh -c 'echo \"ran in $IMAGE\"; echo from repo/trainer:1 >&2'");
  const Job job = yard.run(id);
  CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(job.name == "sh");
  CHECK(yard.market.all.job_results(id).value().result.is_null());
  CHECK(job.output_hash.has_value());  // of that null
  // Which image it was is between its payer and the host.
  CHECK(yard.market.all.job_output(id).value().out == "ran in [image]\n");
  CHECK(yard.market.all.job_output(id).value().err == "from [image]\n");
  CHECK(yard.calls().find("\"repo/trainer:1\", \"sh\", \"-c\"") != std::string::npos);
}

TEST_CASE("commands are looked for where a job, or one that it waits for, runs one, and nowhere else") {
  Yard yard(Yard::bare());
  std::filesystem::remove_all(yard.scratch / "tasks");  // there is no folder for tasks
  CHECK(yard.market.engine
            .register_task("work", [](const TaskCall&) { return Result<json::Value>(json::Value(1)); })
            .ok());
  const JobId command = yard.submit("any/image", "true");
  const auto after = [&](JobId id) {
    return yard.market.submit(JobMarket::job(1, {{"depends_on", json::array({json::Value(id.text())})}}));
  };
  const JobId functions = yard.market.submit(JobMarket::job(2));
  const JobId next = after(command), last = after(next);
  CHECK_FALSE(yard.market.all.run_job(command).ok());
  CHECK_FALSE(yard.market.all.run_job(next).ok());
  CHECK_FALSE(yard.market.all.run_job(last).ok());
  const Result<Job> job = yard.market.all.run_job(functions);
  REQUIRE_MESSAGE(job.ok(), job.error().message);
  CHECK(job->status == JobStatus::completed);
  CHECK(yard.market.all.run_job(after(functions)).value().status == JobStatus::completed);
  CHECK(yard.market.now(command).status == JobStatus::queued);

  CHECK(yard.market.all.cancel_job(command).ok());
  CHECK(yard.market.all.run_job(command).value().status == JobStatus::cancelled);  // nothing is left to run
  std::filesystem::create_directory(yard.scratch / "tasks");
  const JobId again = yard.submit("any/image", "true");
  const JobId behind = after(after(again));
  CHECK(yard.market.all.run_job(behind).value().status == JobStatus::completed);
  CHECK(yard.market.now(again).status == JobStatus::completed);
}

TEST_CASE("a command may leave a result, and a runner_command must") {
  Yard yard(Yard::bare());
  const JobId with = yard.submit("any/image", "sh -c 'echo 7 > $COMPUTALOT_TASK_RESULT'");
  const JobId without = yard.submit("any/image", json::array({"true"}));
  json::Object strict;
  strict.set("image", "any/image")
      .set("runner_command", json::array({"true"}))
      .set("payload", json::object({}));
  const JobId missing = yard.market.submit(std::move(strict));
  for (const JobId id : {with, without, missing}) yard.run(id);
  CHECK(json::canonical(yard.market.all.job_results(with).value().result) == "7");
  CHECK(yard.market.now(without).status == JobStatus::completed);
  CHECK(yard.market.now(missing).failure == JobFailure::result_missing);
}

TEST_CASE("an image that nobody has, and a tool that does not answer, are told apart") {
  Yard yard(Yard::docker());
  const JobId id = yard.submit("missing/image", "true");
  const Job job = yard.run(id);
  CHECK(job.status == JobStatus::failed);
  CHECK(job.failure == JobFailure::not_started);
  CHECK(yard.market.all.job_output(id).value().err.find("Unable to find image '[image]'") !=
        std::string::npos);

  std::ofstream(yard.scratch / "tool/down") << "";
  WorkerOptions options;
  options.commands = yard.options.commands;
  const Result<Worker> worker = Worker::start(yard.market.engine, options);
  CHECK(worker.reason() == Reason::options_invalid);
  CHECK(worker.error().message.find("does not answer") != std::string::npos);
}

TEST_CASE("a project's Dockerfile is built once, by what it is made of") {
  if (!testing::pushes("engine.commands.dockerfile")) return;
  Yard yard(Yard::docker());
  const auto push = [&](const char* name, const char* recipe) {
    CHECK(yard.market.all.create_project({.name = name, .wallet = yard.market.payer}).ok());
    const std::string tarball =
        testing::gzip(testing::tar({{"Dockerfile", recipe, 0644}, {"data", "of it\n", 0644}}));
    CHECK(yard.market.all.push_project({.name = name, .wallet = yard.market.payer}, tarball).ok());
  };
  push("code", "FROM scratch\n");
  push("twin", "FROM scratch\n");
  push("wrong", "broken\n");
  for (const char* project : {"code", "code", "twin"}) {
    const JobId id = yard.submit("", "cat data", {{"project", project}});
    const Job job = yard.run(id);
    CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
    CHECK(yard.market.all.job_output(id).value().out == "of it\n");
  }
  CHECK(yard.called("\"build\"") == 1);

  const JobId id = yard.submit("", "cat data", {{"project", "wrong"}});
  CHECK(yard.run(id).failure == JobFailure::not_started);
  const std::vector<JobTask> tasks = yard.market.all.job_tasks(id).value().items;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].error.find("the Dockerfile is broken") != std::string::npos);
}

TEST_CASE("a project's image that somebody removed is built again, once") {
  if (!testing::pushes("engine.commands.vanished")) return;
  Yard yard(Yard::docker());
  CHECK(yard.market.all.create_project({.name = "code", .wallet = yard.market.payer}).ok());
  const std::string tarball = testing::gzip(testing::tar({{"Dockerfile", "FROM scratch\n", 0644}}));
  CHECK(yard.market.all.push_project({.name = "code", .wallet = yard.market.payer}, tarball).ok());
  for (int i = 0; i < 3; ++i) {
    const Job job = yard.run(yard.submit("", "true", {{"project", "code"}}));
    CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
    if (i == 1) std::filesystem::remove_all(yard.scratch / "tool/images");
  }
  CHECK(yard.called("\"build\"") == 2);
  // Looked for before each of the two builds, and when it had vanished; the second job asked for nothing.
  CHECK(yard.called("\"image\", \"inspect\"") == 3);
  // An image that a job names is nobody's to look for or to build.
  CHECK(yard.run(yard.submit("missing/image", "true")).failure == JobFailure::not_started);
  CHECK(yard.called("\"image\", \"inspect\"") == 3);
}

TEST_CASE("a job goes to workers that have its image, or all") {
  Yard yard(Yard::docker());
  const JobId id = yard.submit("repo/name:2", "true");
  LeaseAsked asked{.worker = "elsewhere", .commands = true, .images = {"repo/name:1"}};
  CHECK(yard.market.all.lease_tasks(asked).value().count == 0);
  asked.images.emplace_back("repo/name:2");
  asked.commands = false;
  const Lease lease = yard.market.all.lease_tasks(asked).value();
  CHECK(lease.job == id);
  CHECK(lease.image == "repo/name:2");
  CHECK(lease.command == std::vector<std::string>{"true"});
}

TEST_CASE("where nothing can take a command there is no worker for it") {
  Yard yard(Yard::bare());
  WorkerOptions options;
  options.commands = yard.options.commands;
  options.commands->allow_bare_host = false;
  CHECK(Worker::start(yard.market.engine, options).reason() == Reason::bare_host_refused);
  options.commands->containers = "podman";  // no path, and neither word
  CHECK(Worker::start(yard.market.engine, options).reason() == Reason::options_invalid);
  options.commands->containers = "none";
  options.commands->roots = {{"name", "relative"}};
  CHECK(Worker::start(yard.market.engine, options).reason() == Reason::options_invalid);
}

TEST_CASE("tasks wait for GPUs that others have, and get numbers of their own") {
  engine::Devices devices(3);
  const auto never = [] { return false; };
  CHECK(devices.take(2, never) == "0,1");
  CHECK(devices.take(2, [] { return true; }).empty());
  CHECK(devices.take(1, never) == "2");
  devices.give_back("0,1");
  CHECK(devices.take(1, never) == "0");
  CHECK(devices.take(4, never).empty());  // there are never so many
}

namespace {

/// A map_reduce of five chunks by commands: a chunk's result is a list of its start, and lists are joined two
/// by two. With `broken` the chunk that starts at 2 fails.
json::Object joining(bool broken = false) {
  const auto python = [](const std::string& body) {
    return json::array({"python3", "-c",
                        "import json, os, sys\n"
                        "given = json.load(open(os.environ['COMPUTALOT_TASK_PAYLOAD']))\n" +
                            body + "\njson.dump(out, open(os.environ['COMPUTALOT_TASK_RESULT'], 'w'))"});
  };
  json::Object job;
  job.set("type", "map_reduce").set("image", "any").set("timeout_s", 60);
  job.set("payload", json::object({{"broken", broken}}));
  job.set("split", json::object({{"range", 5}, {"chunk_size", 1}}));
  job.set("runner_command", python("out = [given['range']['start']]\n"
                                   "if out == [2] and given['broken']: sys.exit(3)"));
  job.set("reduce",
          json::object({{"fan_in", 2},
                        {"runner_command", python("assert 'range' not in given\n"
                                                  "out = [x for one in given['results'] for x in one]")}}));
  return job;
}

}  // namespace

TEST_CASE("a command reduces what commands mapped, level after level, in the order of their index") {
  Yard yard(Yard::bare());
  const JobId id = yard.market.submit(joining());
  const Job job = yard.run(id);
  CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(job.progress.tasks == 11);  // 5 chunks, then 3, 2 and 1 reductions
  CHECK(json::canonical(yard.market.all.job_results(id).value().result) == "[0,1,2,3,4]");
  yard.market.check_books();
}

TEST_CASE("a reduction goes on without what failed, and a job of the rest reduces all of it anew") {
  Yard yard(Yard::bare());
  const JobId id = yard.market.submit(joining(true));
  const Job job = yard.run(id);
  CHECK(job.status == JobStatus::partial);
  CHECK(job.progress.failed == 1);
  CHECK(json::canonical(yard.market.all.job_results(id).value().result) == "[0,1,3,4]");

  // What was mapped stands; what was reduced without the rest does not.
  json::Object again;
  again.set("retry_of", id.text());
  const Result<JobSubmitted> second = yard.market.all.submit_job({.job = again, .wallet = yard.market.payer});
  REQUIRE_MESSAGE(second.ok(), second.error().message);
  CHECK(yard.market.now(second->id).progress.completed == 4);
  CHECK(yard.run(second->id).status == JobStatus::partial);
  yard.market.check_books();
}

TEST_CASE("a level of a reduction is not begun before the one below has ended") {
  Yard yard(Yard::bare());
  yard.market.submit(joining());
  const LeaseAsked asked{.worker = "w", .images = {std::string(any_image)}, .tasks_max = 100};
  const auto lease = [&] { return yard.market.all.lease_tasks(asked).value(); };
  const auto ends = [&](const Lease& one) {
    Report report{.token = one.token};
    for (std::uint64_t i = 0; i < one.count; ++i)
      report.outcomes.push_back({.result = json::array({one.first + i})});
    CHECK(yard.market.all.report_tasks(report).ok());
  };
  const Lease maps = lease(), last_map = lease();
  CHECK(maps.count == 4);  // commands are leased by four
  CHECK(last_map.first == 4);
  CHECK(lease().count == 0);
  ends(maps);
  CHECK(lease().count == 0);
  ends(last_map);
  const Lease first = lease();
  CHECK(first.first == 5);
  CHECK(first.count == 3);
  CHECK(first.command != maps.command);
  const std::vector<json::Value> payloads = yard.market.all.task_payloads(first).value();
  CHECK(json::canonical(*payloads[0].find("results")) == "[[0],[1]]");
  CHECK(json::canonical(*payloads[2].find("results")) == "[[4]]");
  CHECK(lease().count == 0);
  ends(first);
  CHECK(lease().count == 2);
}
