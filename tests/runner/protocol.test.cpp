#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tasks.hpp"
#include "testing.hpp"

using namespace calyx::runner;

TEST_CASE("CP-85, CP-86: a task reads its payload and writes its result") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = shell("cat $COMPUTALOT_TASK_PAYLOAD > $R; echo said; echo wrong >&2");
  task.payload = "{\"b\": 1.50, \"a\": [1, \"\\u00e9\"]}";
  const Ended ended = runner->run(task);
  CHECK(word(ended.how) == "succeeded");
  CHECK(ended.message == "");
  CHECK(ended.result == "{\"a\":[1,\"\xC3\xA9\"],\"b\":1.5}");
  CHECK(ended.out.text() == "said\n");
  CHECK(ended.err.text() == "wrong\n");
  CHECK(ended.artifacts.found.empty());
  CHECK(ended.rungs.emptied);
  CHECK(ended.rungs.no_new_privileges);
  CHECK(ended.cpu_us > 0);
  CHECK(ended.memory_bytes > 0);
}

TEST_CASE("the sample of the protocol's description runs as it stands") {
  if (::access("/usr/bin/python3", X_OK) != 0) {
    CHECK(calyx::testing::may_lack("runner.sample", "python3"));
    return;
  }
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::filesystem::create_directory(scratch / "project");
  put(scratch / "project/script.py",
      "import json, os\n"
      "payload = json.load(open(os.environ['COMPUTALOT_TASK_PAYLOAD']))\n"
      "result = {'score': 0.95, 'model': payload['model']}\n"
      "json.dump(result, open(os.environ['COMPUTALOT_TASK_RESULT'], 'w'))\n");
  Task task;
  task.argv = {"python3", "script.py"};
  task.source = scratch / "project";
  task.payload = "{\"model\": \"small\"}";
  task.environment = {{"PATH", "/usr/bin:/bin"}};
  const Ended ended = runner->run(task);
  CHECK(ended.message == "");
  CHECK(ended.err.text() == "");
  CHECK(ended.result == "{\"model\":\"small\",\"score\":0.95}");
}

TEST_CASE("CP-86, CP-88: how a task ends is told exactly") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  struct Row {
    std::string script;
    How how;
    int code;
    int signal;
    const char* why;
  };
  const Row rows[] = {
      {"echo 1 > $R", How::succeeded, 0, 0, ""},
      {"echo 1 > $R; exit 1", How::exited_nonzero, 1, 0, ""},
      {"exit 255", How::exited_nonzero, 255, 0, ""},
      {"kill -SEGV $$", How::signalled, 0, 11, ""},
      {"kill -KILL $$", How::signalled, 0, 9, ""},
      {"kill -TERM $$", How::signalled, 0, 15, ""},
      {"true", How::result_missing, 0, 0, ""},
      {": > $R", How::result_invalid, 0, 0, "not_json"},
      {"echo NaN > $R", How::result_invalid, 0, 0, "not_json"},
      {"echo '[Infinity]' > $R", How::result_invalid, 0, 0, "not_json"},
      {"echo '{\"a\":1} 2' > $R", How::result_invalid, 0, 0, "trailing_bytes"},
      {"echo '{\"a\":1,\"a\":2}' > $R", How::result_invalid, 0, 0, "duplicate_key"},
      {"printf '\"\\377\"' > $R", How::result_invalid, 0, 0, "not_utf8"},
      {"echo 9007199254740991 > $R", How::succeeded, 0, 0, ""},
      {"echo '[-9007199254740992]' > $R", How::result_invalid, 0, 0, "field_value"},
      {"echo '{\"a\":[18446744073709551616]}' > $R", How::result_invalid, 0, 0, "field_value"},
      {"echo 1e400 > $R", How::result_invalid, 0, 0, "field_value"},
      {"echo 1e300 > $R", How::succeeded, 0, 0, ""},
      {"echo -0 > $R", How::succeeded, 0, 0, ""},
      {"(head -c 65 /dev/zero | tr '\\0' '['; head -c 65 /dev/zero | tr '\\0' ']') > $R", How::result_invalid,
       0, 0, "too_deep"},
      {"(head -c 64 /dev/zero | tr '\\0' '['; head -c 64 /dev/zero | tr '\\0' ']') > $R", How::succeeded, 0,
       0, ""},
      {"truncate -s 1G $R", How::result_invalid, 0, 0, "too_large"},
      {"ln -s /etc/hostname $R", How::result_invalid, 0, 0, "path_refused"},
      {"mkfifo $R", How::result_invalid, 0, 0, "path_refused"},
      {"mkdir $R", How::result_invalid, 0, 0, "path_refused"},
      {"echo 1 > $R; ln $R $R.again", How::result_invalid, 0, 0, "path_refused"},
      {"ln $COMPUTALOT_TASK_PAYLOAD $R", How::result_invalid, 0, 0, "path_refused"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.script);
    const Ended ended = runner->run(shell(row.script));
    CAPTURE(ended.message);
    CHECK(word(ended.how) == word(row.how));
    CHECK(ended.code == row.code);
    CHECK(ended.signal == row.signal);
    CHECK(ended.why == row.why);
    CHECK(ended.message.empty() == (row.how == How::succeeded));
  }
}

TEST_CASE("a command that cannot be run is told from one that failed") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::filesystem::create_directory(scratch / "project");
  put(scratch / "project/plain", "echo 1\n");
  put(scratch / "project/run", "#!/bin/sh\necho 1 > $COMPUTALOT_TASK_RESULT\n");
  ::chmod((scratch / "project/run").c_str(), 0755);
  put(scratch / "project/garbage", "echo 1\n");
  ::chmod((scratch / "project/garbage").c_str(), 0755);
  struct Row {
    std::vector<std::string> argv;
    std::string source;
    const char* why;
  };
  const Row rows[] = {
      {{"no-such-command"}, "", "command_missing"},
      {{"/no/such/command"}, "", "command_missing"},
      {{"./plain"}, scratch / "project", "command_not_allowed"},
      {{"./garbage"}, scratch / "project", "command_not_a_program"},
      {{"./run"}, scratch / "project", ""},
      {{"run"}, scratch / "project", "command_missing"},
      {{}, "", "field_missing"},
      {{""}, "", "field_missing"},
      {{std::string("a\0b", 3)}, "", "field_value"},
      {{"true", std::string(200'000, 'x')}, "", "too_large"},
      {{"true"}, "project", "field_value"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.argv);
    Task task;
    task.argv = row.argv;
    task.source = row.source;
    const Ended ended = runner->run(task);
    CAPTURE(ended.message);
    CHECK(word(ended.how) == (*row.why == '\0' ? "succeeded" : "not_started"));
    CHECK(ended.why == row.why);
  }
  Task task;
  task.argv = {"true"};
  task.source = scratch / "nowhere";
  CHECK(word(runner->run(task).how) == "not_started");
}

TEST_CASE("a task of too long gets TERM, and KILL when it ignores that") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const Ended polite = runner->run(shell("trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done", 200));
  CHECK(word(polite.how) == "timed_out");
  CHECK(polite.out.text() == "bye\n");
  CHECK(polite.ran_ms >= 200);
  const Ended deaf = runner->run(shell("trap '' TERM; echo 1 > $R; while :; do sleep 0.05; done", 200));
  CHECK(word(deaf.how) == "timed_out");
  CHECK(deaf.ran_ms >= 500);
  CHECK(deaf.ran_ms < 20'000);
  CHECK(deaf.result == "");
  const Ended stopped = runner->run(shell("kill -STOP $$", 200));
  CHECK(word(stopped.how) == "timed_out");
  CHECK(word(runner->run(shell("sleep 10", 0)).how) == "timed_out");
}

TEST_CASE("a task is cancelled while it runs") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Watch watch;
  int asked = 0;
  watch.cancelled = [&] { return ++asked > 3; };
  const Ended ended = runner->run(shell("trap '' TERM; echo here; while :; do sleep 0.05; done"), watch);
  CHECK(word(ended.how) == "cancelled");
  CHECK(ended.out.text() == "here\n");
  CHECK(asked == 4);
}

TEST_CASE("CP-89: progress is told while the task runs, and what only looks like it is output") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::vector<std::string> told;
  Watch watch;
  watch.progress = [&](std::string_view line) { told.emplace_back(line); };
  const std::string script =
      "echo 'COMPUTALOT_PROGRESS:{\"epoch\":1}'; sleep 0.2;"
      "echo ' COMPUTALOT_PROGRESS:{\"epoch\":2}'; echo 'x COMPUTALOT_PROGRESS:{\"epoch\":3}';"
      "echo 'COMPUTALOT_PROGRESS:{epoch}'; echo 'COMPUTALOT_PROGRESS:[1]'; echo 'COMPUTALOT_PROGRESS:';"
      "printf 'COMPUTALOT_PROG'; sleep 0.1; printf 'RESS:{\"epoch\":4,'; sleep 0.1; printf "
      "'\"loss\":0.23}\\r\\n';"
      "sleep 0.2; echo 'COMPUTALOT_PROGRESS:{\"epoch\":5}' >&2;"
      "printf 'COMPUTALOT_PROGRESS:{\"a\":\"'; head -c 70000 /dev/zero | tr '\\0' x; echo '\"}';"
      "printf 'COMPUTALOT_PROGRESS:{\"epoch\":6}'; echo 1 > $R";
  const Ended ended = runner->run(shell(script), watch);
  CHECK(word(ended.how) == "succeeded");
  CHECK(told == std::vector<std::string>{"{\"epoch\":1}", "{\"epoch\":4,\"loss\":0.23}"});
  CHECK(ended.out.text().find("x COMPUTALOT_PROGRESS:{\"epoch\":3}\n") != std::string::npos);
  CHECK(ended.out.written() > 70'000);
}
