#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tasks.hpp"
#include "testing.hpp"

using namespace calyx::runner;

namespace {

/// Whether this process has no child, living or dead.
bool childless() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

}  // namespace

TEST_CASE("without its helper a runner does not open") {
  const Scratch scratch;
  Options options = options_in(scratch);
  options.helper = scratch / "none";
  const auto missing = Runner::open(options);
  CHECK(missing.reason() == calyx::Reason::file_missing);
  CHECK(missing.error().details.find("looked_at") != nullptr);
  options.helper = "/bin/true";
  CHECK(Runner::open(options).reason() == calyx::Reason::io_error);
  options = options_in(scratch);
  options.scratch = "relative";
  CHECK(Runner::open(options).reason() == calyx::Reason::options_invalid);
  options.scratch = scratch / "none";
  CHECK(Runner::open(options).reason() == calyx::Reason::file_missing);
  CHECK(scratch.empty());
  CHECK(childless());
}

TEST_CASE("a host can name the helper in its environment") {
  const Scratch scratch;
  Options options = options_in(scratch);
  options.helper.clear();
  ::unsetenv("CALYX_RUNNER");
  const auto missing = Runner::open(options);
  REQUIRE(missing.reason() == calyx::Reason::file_missing);
  CHECK(missing.error().details.find("looked_at")->array()->size() >= 3);
  ::setenv("CALYX_RUNNER", calyx::testing::runner_helper.c_str(), 1);
  CHECK(Runner::open(options).ok());
  ::unsetenv("CALYX_RUNNER");
}

TEST_CASE("a runner leaves the host as it found it") {
  const Scratch scratch;
  const std::size_t before = descriptors();
  {
    const auto runner = runner_in(scratch);
    for (int i = 0; i < 20; ++i) {
      const Ended ended = runner->run(shell("echo 1 > $R; echo out; echo 1 > $A/a"));
      CHECK(word(ended.how) == "succeeded");
    }
    CHECK(names_in("/proc/self/task").size() == 1);
  }
  CHECK(descriptors() == before);
  CHECK(scratch.empty());
  CHECK(childless());
}

TEST_CASE("what an ended task left lives as long as the answer, even without the runner") {
  const Scratch scratch;
  {
    auto runner = runner_in(scratch);
    const Ended ended = runner->run(shell("echo 1 > $R; echo out; echo kept > $A/a"));
    runner = nullptr;
    CHECK(ended.out.text() == "out\n");
    const auto file = ended.open(ended.artifacts.found.at(0));
    REQUIRE(file.ok());
    ::close(*file);
  }
  CHECK(scratch.empty());
}

TEST_CASE("what a host that crashed has left is removed by the next one, and nothing else") {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "calyx-runner-abcdef/7/tmp");
  put(scratch / "calyx-runner-abcdef/7/result.json", "1");
  std::filesystem::create_directory(scratch / "other");
  const auto first = runner_in(scratch);
  CHECK(names_in(scratch.folder()).count("calyx-runner-abcdef") == 0);
  const auto second = runner_in(scratch);
  CHECK(names_in(scratch.folder()).size() == 3);
  CHECK(word(first->run(shell("echo 1 > $R")).how) == "succeeded");
  CHECK(word(second->run(shell("echo 1 > $R")).how) == "succeeded");
}

TEST_CASE("a helper that is killed takes its tasks with it, and the next run has another") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const pid_t first = runner->helper();
  Watch watch;
  bool killed = false;
  watch.progress = [&](std::string_view) {
    killed = true;
    ::kill(first, SIGKILL);
  };
  const Ended lost = runner->run(
      shell("echo 'COMPUTALOT_PROGRESS:{}'; sleep 30 & trap '' TERM; while :; do sleep 0.1; done # " +
            mark("lost")),
      watch);
  CHECK(killed);
  CHECK(word(lost.how) == "lost");
  CHECK(lost.why == "helper_lost");
  CHECK_FALSE(somebody_has(mark("lost")));
  const Ended next = runner->run(shell("echo 1 > $R"));
  CHECK(word(next.how) == "succeeded");
  CHECK(runner->helper() != first);
  CHECK(::kill(first, 0) != 0);
}

TEST_CASE("a task outlives neither its supervisor nor its host") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  // The supervisor is the task's parent.
  Watch watch;
  watch.progress = [&](std::string_view line) {
    ::kill(std::stoi(std::string(line.substr(line.find(':') + 1))), SIGKILL);
  };
  const Ended ended = runner->run(
      shell(
          "(trap '' TERM HUP; while :; do sleep 0.1; done) & echo \"COMPUTALOT_PROGRESS:{\\\"p\\\":$PPID}\";"
          "while :; do sleep 0.1; done # " +
          mark("orphan")),
      watch);
  CHECK(word(ended.how) == "lost");
  for (int tries = 0; tries < 200 && somebody_has(mark("orphan")); ++tries) ::usleep(10'000);
  CHECK_FALSE(somebody_has(mark("orphan")));
  CHECK(word(runner->run(shell("echo 1 > $R")).how) == "succeeded");

  const std::string hostless = mark("hostless");
  const pid_t host = ::fork();
  if (host == 0) {
    const auto own = runner_in(scratch);
    own->run(shell("trap '' TERM; while :; do sleep 0.1; done # " + hostless));
    ::_exit(0);
  }
  for (int tries = 0; tries < 500 && !somebody_has(hostless); ++tries) ::usleep(10'000);
  CHECK(somebody_has(hostless));
  ::kill(host, SIGKILL);
  ::waitpid(host, nullptr, 0);
  for (int tries = 0; tries < 500 && somebody_has(hostless); ++tries) ::usleep(10'000);
  CHECK_FALSE(somebody_has(hostless));
}

TEST_CASE(
    "a task that tells of progress without pause can be cancelled, and its answer costs nothing to keep") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::uint64_t told = 0;
  int asked = 0;
  Watch watch;
  watch.progress = [&](std::string_view) { ++told; };
  watch.cancelled = [&] { return ++asked > 5; };
  const Ended ended = runner->run(shell("yes 'COMPUTALOT_PROGRESS:{}'"), watch);
  CHECK(word(ended.how) == "cancelled");
  CHECK(told > 0);
  CHECK(ended.ran_ms < 5000);
  const std::size_t before = descriptors();
  const Ended quiet = runner->run(shell("echo 1 > $R"));
  CHECK(descriptors() == before);
}

TEST_CASE("what a callback throws passes once the task is gone") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Watch watch;
  watch.progress = [](std::string_view) { throw std::runtime_error("enough"); };
  CHECK_THROWS_AS(runner->run(shell("echo 'COMPUTALOT_PROGRESS:{}'; sleep 30 # " + mark("thrown")), watch),
                  std::runtime_error);
  CHECK_FALSE(somebody_has(mark("thrown")));
  CHECK(word(runner->run(shell("echo 1 > $R")).how) == "succeeded");
}

TEST_CASE("a forked child of the host cannot run its parent's runner") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(runner->run(shell("echo 1 > $R")).why == "forked" ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(word(runner->run(shell("echo 1 > $R")).how) == "succeeded");
}

TEST_CASE("the helper is started by a thread that ends, from a host that ignores its children") {
  const Scratch scratch;
  std::unique_ptr<Runner> runner;
  std::thread([&] { runner = runner_in(scratch); }).join();
  ::signal(SIGCHLD, SIG_IGN);
  CHECK(word(runner->run(shell("echo 1 > $R")).how) == "succeeded");
  CHECK(word(runner->run(shell("sleep 0.1; exit 2")).how) == "exited_nonzero");
  runner = nullptr;
  ::signal(SIGCHLD, SIG_DFL);
  CHECK(childless());
}

TEST_CASE("many threads run tasks at once, and each gets its own answer") {
  const Scratch scratch;
  const std::size_t before = descriptors();
  const int tasks = calyx::testing::by_scale(40, 200, 5000);
  {
    const auto runner = runner_in(scratch);
    std::atomic<int> next{0};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (int task = next++; task < tasks; task = next++) {
          Task asked = shell("cat $COMPUTALOT_TASK_PAYLOAD > $R; cat $R; (sleep 20 &) ; cp $R $A/" +
                             std::to_string(task) + "; [ $(cat $R) != 77 ] || exit 4");
          asked.payload = std::to_string(task);
          const Ended ended = runner->run(asked);
          const bool right = task == 77 ? ended.how == How::exited_nonzero && ended.code == 4
                                        : ended.how == How::succeeded && ended.result == asked.payload;
          if (!right || ended.out.text() != asked.payload || ended.strays != 1 ||
              ended.artifacts.found.size() != 1 || ended.artifacts.found[0].name != asked.payload)
            ++wrong;
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
  calyx::testing::told("tasks run by threads at once", static_cast<std::uint64_t>(tasks));
  CHECK(descriptors() == before);
  CHECK(scratch.empty());
  CHECK(childless());
}
