#include <doctest/doctest.h>
#include <fcntl.h>

#include <string>

#include "tasks.hpp"
#include "testing.hpp"

using namespace calyx::runner;

namespace {

std::string why_of(const Artifacts& artifacts, const std::string& name) {
  for (const auto& skipped : artifacts.skipped)
    if (skipped.name == name) return std::string(skipped.why);
  return "none";
}

}  // namespace

TEST_CASE("CP-87: the files of the artifact folder are found, and what is no file of its own is told") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  put(scratch / "outside", "secret");
  const Ended ended = runner->run(
      shell("echo 1 > $R; cd $A; mkdir -p b/c empty; echo hello > a; echo deep > b/c/d; : > b/zero;"
            "ln -s /etc/passwd link; ln -s /etc folder_link; mkfifo pipe; echo x > twin; ln twin twin2;"
            "touch 'line\nbreak'; touch \"$(printf 'bad\\377')\"; chmod 0 b/zero"));
  CAPTURE(ended.message);
  CHECK(word(ended.how) == "succeeded");
  std::string found;
  for (const Artifact& artifact : ended.artifacts.found)
    found += artifact.name + ":" + std::to_string(artifact.size) + " ";
  CHECK(found == "a:6 b/c/d:5 b/zero:0 ");
  CHECK(why_of(ended.artifacts, "link") == "link");
  CHECK(why_of(ended.artifacts, "folder_link") == "link");
  CHECK(why_of(ended.artifacts, "pipe") == "not_a_file");
  CHECK(why_of(ended.artifacts, "twin") == "many_links");
  CHECK(why_of(ended.artifacts, "twin2") == "many_links");
  CHECK(why_of(ended.artifacts, "") == "name");
  CHECK(ended.artifacts.skipped_in_all == 7);
  const int file = ended.open({"b/c/d", 5}).value();
  char bytes[8] = {};
  CHECK(::read(file, bytes, sizeof bytes) == 5);
  CHECK(std::string(bytes) == "deep\n");
  ::close(file);
  for (const char* name :
       {"", "..", "../result.json", "b/../a", "link", "pipe", "twin", "/a", "a/", "none"}) {
    CAPTURE(name);
    CHECK_FALSE(ended.open({name, 6}).ok());
  }
  CHECK_FALSE(ended.open({"a", 7}).ok());
}

TEST_CASE("artifacts are kept of a task that failed, too") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const Ended ended = runner->run(shell("echo why > $A/log; exit 3"));
  CHECK(ended.code == 3);
  CHECK(ended.artifacts.found.size() == 1);
}

TEST_CASE("artifacts have limits: how many, how large, how deep") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = shell(
      "echo 1 > $R; cd $A; for i in 1 2 3 4 5; do echo x > f$i; done; truncate -s 1G e; mkdir -p g/h/i; : > "
      "g/h/i/j");
  task.limits.artifacts = 3;
  task.limits.artifact_bytes = 1 << 20;
  task.limits.artifact_depth = 2;
  const Ended ended = runner->run(task);
  CHECK(ended.artifacts.found.size() == 3);
  CHECK(why_of(ended.artifacts, "e") == "too_large");
  CHECK(why_of(ended.artifacts, "f4") == "too_many");
  CHECK(why_of(ended.artifacts, "f5") == "too_many");
  CHECK(why_of(ended.artifacts, "g/h/i") == "too_deep");
}

TEST_CASE("a task that replaces its own folders gains nothing") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const Ended linked = runner->run(shell("echo 1 > $R; rmdir $A; ln -s /etc $A"));
  CHECK(word(linked.how) == "succeeded");
  CHECK(linked.artifacts.found.empty());
  CHECK(why_of(linked.artifacts, "") == "link");
  const Ended removed = runner->run(shell("echo 1 > $R; rmdir $A; rm $COMPUTALOT_TASK_PAYLOAD"));
  CHECK(word(removed.how) == "succeeded");
  CHECK(removed.artifacts.skipped_in_all == 0);
}

TEST_CASE("whatever a task leaves is removed, also when it is deeper than a path can name") {
  const Scratch scratch;
  {
    const auto runner = runner_in(scratch);
    const Ended ended = runner->run(hostile(scratch, {"dig", "3000"}));
    CAPTURE(ended.message);
    CHECK(word(ended.how) == "succeeded");
    CHECK(why_of(ended.artifacts,
                 "deeper/deeper/deeper/deeper/deeper/deeper/deeper/deeper/deeper/deeper/deeper/"
                 "deeper/deeper/deeper/deeper/deeper/deeper") == "too_deep");
  }
  CHECK(names_in(scratch.folder()) == std::set<std::string>{"project"});
}

TEST_CASE("a task's inputs are copies in its own folder, and a path that leads out starts nothing") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const auto input = [](std::string path, std::string bytes) {
    return Input{std::move(path),
                 [bytes](std::uint64_t offset, std::span<char> out) -> calyx::Result<std::size_t> {
                   return offset >= bytes.size() ? 0 : bytes.copy(out.data(), out.size(), offset);
                 }};
  };
  Task task = shell("test \"$COMPUTALOT_INPUT_DIR\" && cd $COMPUTALOT_INPUT_DIR && cat a/b/c d | wc -c > $R");
  task.inputs = {input("a/b/c", std::string(600'000, 'x')), input("a/b/e", ""), input("d", "12345")};
  const Ended ended = runner->run(task);
  CAPTURE(ended.message);
  CHECK(word(ended.how) == "succeeded");
  CHECK(ended.result == "600005");
  CHECK(ended.artifacts.found.empty());
  CHECK(runner->run(shell("test -z \"$COMPUTALOT_INPUT_DIR\" && echo 1 > $R")).result == "1");

  for (const char* path : {"", "/a", "../a", "a/../../b", "a//b", ".", "a/"}) {
    CAPTURE(path);
    Task bad = shell("echo 1 > $R");
    bad.inputs = {input(path, "x")};
    const Ended refused = runner->run(bad);
    CHECK(word(refused.how) == "not_started");
    CHECK(refused.why == "field_value");
  }
  Task twice = shell("echo 1 > $R");
  twice.inputs = {input("a", "x"), input("a/b", "x")};
  CHECK(word(runner->run(twice).how) == "not_started");
  Task broken = shell("echo 1 > $R");
  broken.inputs = {Input{"a", [](std::uint64_t, std::span<char>) -> calyx::Result<std::size_t> {
                           return calyx::fail(calyx::Reason::io_error, "gone");
                         }}};
  CHECK(runner->run(broken).why == "io_error");
}
