#include "runner/enclosure.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tasks.hpp"
#include "testing.hpp"

using namespace calyx::runner;

namespace {

using Words = std::vector<std::string>;

/// Whether `part` stands in `words` as it is, side by side.
bool has(const Words& words, const Words& part) {
  return std::search(words.begin(), words.end(), part.begin(), part.end()) != words.end();
}

Words command_in(Enclosure::Kind kind, const Task& task, User user = {1000, 1000}) {
  const Enclosure enclosure{.kind = kind, .program = "/bin/tool", .image = "repo/name:tag", .root = "/"};
  return command_of(enclosure, {.task = task,
                                .folder = "/scratch/calyx-ab/7",
                                .name = "calyx-ab-7",
                                .mark = "/scratch/calyx-ab/7.container",
                                .variables = {{"HOME", "/calyx/task/tmp"}, {"LANG", "C.UTF-8"}},
                                .user = user});
}

/// The container tool of the tests, with a folder of its own.
struct FakeDocker {
  Scratch scratch;
  FakeDocker() {
    std::filesystem::create_directory(scratch / "tool");
    std::filesystem::create_directory(scratch / "tasks");
    ::setenv("DOCKER_CONFIG", (scratch / "tool").c_str(), 1);
  }
  ~FakeDocker() { ::unsetenv("DOCKER_CONFIG"); }
  std::unique_ptr<Runner> runner() const {
    Options options = options_in(scratch);
    options.scratch = scratch / "tasks";
    return Runner::open(options).value();
  }
  static void enclose(Task& task, std::string image) {
    task.enclosure = Enclosure{.kind = Enclosure::Kind::docker,
                               .program = calyx::testing::docker_program,
                               .image = std::move(image)};
  }
  std::string calls() const {
    std::ifstream file(scratch / "tool/calls");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
};

}  // namespace

TEST_CASE("a container gets the task's folders at places of their own, its limits, and no more") {
  Task task;
  task.argv = {"python", "train.py"};
  task.source = "/market-projects/1/2";
  task.checkpoint_dir = "/market-checkpoints/job/0";
  task.limits.memory_mb = 512;
  task.gpus = "0,2";
  task.data = {{"weights", "/host/weights", "/models/weights"}};
  task.caches = {{"hub", "/host/hub", "/cache/hub"}, {"own", {}, "/cache/own"}};
  const Words words = command_in(Enclosure::Kind::docker, task);
  CHECK(Words(words.begin(), words.begin() + 3) == Words{"/bin/tool", "run", "--rm"});
  CHECK(has(words, {"--mount", "type=bind,source=/scratch/calyx-ab/7,target=/calyx/task"}));
  CHECK(has(words, {"--mount", "type=bind,source=/market-projects/1/2,target=/calyx/project,readonly"}));
  CHECK(has(words, {"--mount", "type=bind,source=/market-checkpoints/job/0,target=/calyx/checkpoint"}));
  CHECK(has(words, {"--mount", "type=bind,source=/host/weights,target=/models/weights,readonly"}));
  CHECK(has(words, {"--mount", "type=bind,source=/host/hub,target=/cache/hub"}));
  CHECK(has(words, {"--mount", "type=bind,source=/scratch/calyx-ab/7/caches/own,target=/cache/own"}));
  CHECK(has(words, {"--workdir", "/calyx/project"}));
  CHECK(has(words, {"--network", "none"}));
  CHECK(has(words, {"--read-only"}));
  CHECK(has(words, {"--cap-drop", "ALL"}));
  CHECK(has(words, {"--user", "1000:1000"}));
  CHECK(has(words, {"--memory", "512m"}));
  CHECK(has(words, {"--gpus", "\"device=0,2\""}));
  CHECK(has(words, {"--env", "HOME=/calyx/task/tmp"}));
  CHECK(Words(words.end() - 3, words.end()) == Words{"repo/name:tag", "python", "train.py"});

  const Words podman = command_in(Enclosure::Kind::podman, task);
  CHECK(has(podman, {"--userns", "keep-id"}));
  CHECK(has(podman, {"--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=2"}));
  CHECK_FALSE(has(podman, {"--init"}));
  CHECK_FALSE(has(command_in(Enclosure::Kind::podman, task, {0, 0}), {"--userns", "keep-id"}));

  task = Task{.argv = {"true"}};
  task.network = true;
  const Words open = command_in(Enclosure::Kind::docker, task);
  for (const char* absent : {"--network", "--workdir", "--memory", "--gpus"})
    CHECK_FALSE(has(open, {absent}));
}

TEST_CASE("a path that a container tool would part is refused") {
  Task task;
  task.argv = {"true"};
  FakeDocker::enclose(task, "name");
  CHECK(check_enclosure(task, "/scratch").ok());
  CHECK(check_enclosure(task, "/scr,readonly").reason() == calyx::Reason::field_value);
  task.source = "/a\"b";
  CHECK(check_enclosure(task, "/scratch").reason() == calyx::Reason::field_value);
  task.source.clear();
  task.data = {{"weights", "/host/a,b", "/weights"}};
  CHECK(check_enclosure(task, "/scratch").reason() == calyx::Reason::field_value);
  task.data.clear();
  FakeDocker::enclose(task, "--privileged");
  CHECK(check_enclosure(task, "/scratch").reason() == calyx::Reason::field_value);
}

TEST_CASE("a task in a container ends as its command does") {
  const FakeDocker docker;
  const auto runner = docker.runner();
  Task good = shell("cat $COMPUTALOT_TASK_PAYLOAD > $R; echo \"in $IMAGE\"; echo kept > $A/file");
  good.payload = R"({"n":1})";
  FakeDocker::enclose(good, "repo/name:tag");
  Ended ended = runner->run(good);
  CHECK_MESSAGE(ended.how == How::succeeded, ended.message);
  CHECK(ended.result == R"({"n":1})");
  CHECK(ended.out.text() == "in repo/name:tag\n");
  REQUIRE(ended.artifacts.found.size() == 1);
  CHECK(ended.artifacts.found[0].name == "file");

  Task failing = shell("exit 3");
  FakeDocker::enclose(failing, "repo/name:tag");
  ended = runner->run(failing);
  CHECK(ended.how == How::exited_nonzero);
  CHECK(ended.code == 3);
  CHECK(docker.calls().find("\"rm\"") == std::string::npos);  // each was gone by itself
}

TEST_CASE("a container that was not made is nobody's fault, and one that was is its command's") {
  const FakeDocker docker;
  const auto runner = docker.runner();
  Task task = shell("exit 125");
  FakeDocker::enclose(task, "missing/name");
  Ended ended = runner->run(task);
  CHECK(ended.how == How::not_started);
  CHECK(ended.why == "container");
  CHECK(ended.err.text().find("Unable to find image") != std::string::npos);
  FakeDocker::enclose(task, "repo/name");  // it says what the tool would say
  ended = runner->run(task);
  CHECK(ended.how == How::exited_nonzero);
  CHECK(ended.code == 125);
}

TEST_CASE("a container that takes too long is asked to end, and is removed") {
  const FakeDocker docker;
  const auto runner = docker.runner();
  Task task = shell("trap '' TERM; while :; do sleep 0.05; done", 300);
  task.limits.grace_ms = 200;
  FakeDocker::enclose(task, "repo/name");
  const Ended ended = runner->run(task);
  CHECK(ended.how == How::timed_out);
  CHECK(docker.calls().find("[\"rm\", \"--force\", \"calyx-") != std::string::npos);
  CHECK(ended.rungs.emptied);
}

TEST_CASE("under bubblewrap a command sees a root that it cannot change, its folders, and no network") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task probe{
      .argv = {"/usr/bin/bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"}};
  probe.trusted = probe.result_optional = true;
  const Ended works = runner->run(probe);
  if (works.how != How::succeeded) {
    // A missing package is a failure elsewhere; a kernel that gives no namespaces is none.
    calyx::testing::skipped("runner.bubblewrap", works.how == How::not_started
                                                     ? "bwrap is not installed"
                                                     : "the kernel gives no namespaces");
    CHECK((works.how != How::not_started || std::getenv("CALYX_TEST_WHOLE") == nullptr));
    return;
  }
  Task task = shell(
      "touch /etc/calyx-was-here 2>/dev/null && exit 4; touch /calyx-was-here 2>/dev/null && exit 5; "
      "[ $(ls -d /proc/[0-9]* | wc -l) -lt 8 ] || exit 6; "
      "[ $(grep -c : /proc/net/dev) = 1 ] || exit 7; pwd; cat file; "
      "touch here 2>/dev/null && exit 8; cp $COMPUTALOT_TASK_PAYLOAD $R; echo kept > $A/file");
  std::filesystem::create_directory(scratch / "project");
  std::ofstream(scratch / "project/file") << "of the project\n";
  task.source = scratch / "project";
  task.payload = R"({"n":2})";
  task.enclosure = Enclosure{.kind = Enclosure::Kind::bubblewrap, .program = "/usr/bin/bwrap", .root = "/"};
  Ended ended = runner->run(task);
  CHECK_MESSAGE(ended.how == How::succeeded, ended.message << " " << ended.err.text());
  CHECK(ended.result == R"({"n":2})");
  CHECK(ended.out.text() == "/calyx/project\nof the project\n");
  CHECK(ended.artifacts.found.size() == 1);

  // CP-45: data and caches are where the manifest says, and by name.
  std::filesystem::create_directory(scratch / "hub");
  task = shell(
      "cat /calyx-models/weights/file $COMPUTALOT_DATA_DIR/weights/file; touch /calyx-models/weights/x && "
      "exit 4; "
      "ls /calyx-models/.. | grep -qx calyx-models || exit 5; "
      "touch /calyx-cache/hub/one $COMPUTALOT_CACHE_DIR/own/two && ls /calyx-cache/own; echo 1 > $R");
  task.data = {{"weights", scratch / "project", "/calyx-models/weights"}};
  task.caches = {{"hub", scratch / "hub", "/calyx-cache/hub"}, {"own", {}, "/calyx-cache/own"}};
  task.enclosure = Enclosure{.kind = Enclosure::Kind::bubblewrap, .program = "/usr/bin/bwrap", .root = "/"};
  ended = runner->run(task);
  CHECK_MESSAGE(ended.how == How::succeeded, ended.message << " " << ended.err.text());
  CHECK(ended.out.text() == "of the project\nof the project\ntwo\n");
  CHECK(std::filesystem::exists(scratch / "hub/one"));
  task.caches = {{"hub", scratch / "hub", "/usr/no-such-place"}};  // the root is not written to
  ended = runner->run(task);
  CHECK(ended.how == How::not_started);
  CHECK(ended.message.find("/usr/no-such-place") != std::string::npos);

  task = shell("trap '' TERM; sleep 60 & wait; sleep 60", 300);
  task.limits.grace_ms = 200;
  task.enclosure = Enclosure{.kind = Enclosure::Kind::bubblewrap, .program = "/usr/bin/bwrap", .root = "/"};
  ended = runner->run(task);
  CHECK(ended.how == How::timed_out);
  CHECK(ended.rungs.emptied);
}

TEST_CASE("a task whose result is optional has null for one") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = shell("true");
  CHECK(runner->run(task).how == How::result_missing);
  task.result_optional = true;
  const Ended ended = runner->run(task);
  CHECK(ended.how == How::succeeded);
  CHECK(ended.result == "null");
  task = shell("echo '{' > $R");
  task.result_optional = true;
  CHECK(runner->run(task).how == How::result_invalid);
}
