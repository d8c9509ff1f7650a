#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "tasks.hpp"
#include "testing.hpp"

using namespace calyx::runner;

namespace {

/// The line of `text` that begins with `start`, without it.
std::string line_of(const std::string& text, const std::string& start) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.rfind(start, 0) == 0) return line.substr(start.size());
  return "none";
}

/// The offset that the 8 bytes at `bytes` tell, as the hostile program's flood does.
std::uint64_t told_offset(const char* bytes) {
  std::uint64_t word = 0;
  for (unsigned i = 0; i < 8; ++i)
    word |= std::uint64_t{static_cast<unsigned char>(bytes[i]) & 0x7Fu} << (7 * i);
  return word * 8;
}

}  // namespace

TEST_CASE("nothing that a task starts outlives it") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  for (const auto& words : {std::vector<std::string>{"daemonise"}, {"chain"}, {"hop", "3"}}) {
    CAPTURE(words[0]);
    const Ended ended = runner->run(hostile(scratch, words));
    CAPTURE(ended.message);
    CHECK(word(ended.how) == "succeeded");
    CHECK(ended.strays >= 1);
    CHECK(ended.ran_ms < 15'000);
    CHECK_FALSE(somebody_has(mark("hostile")));
  }
}

TEST_CASE("a task that takes more memory than it may is killed, whichever of its processes has it") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  for (const char* processes : {"1", "4"}) {
    Task task = hostile(scratch, {"hog", processes, processes[0] == '1' ? "400" : "60"});
    task.limits.memory_mb = 100;
    const Ended ended = runner->run(task);
    CHECK(word(ended.how) == "out_of_memory");
    CHECK(ended.rungs.memory_watched);
    CHECK(ended.memory_bytes > 100u << 20);
    CHECK_FALSE(somebody_has(mark("hostile")));
  }
}

TEST_CASE("a file has a largest size, and output does not count against it") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = hostile(scratch, {"fill", "/dev/null"});
  const std::string program = task.argv[0];
  task.argv = {"/bin/sh", "-c", program + " flood 8 && exec " + program + " fill $TMPDIR/large"};
  task.limits.file_mb = 4;
  const Ended ended = runner->run(task);
  CHECK(word(ended.how) == "signalled");
  CHECK(ended.signal == SIGXFSZ);
  CHECK(ended.out.written() == 8u << 20);
}

TEST_CASE("a task's files have a largest size together") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = shell("cd $A; i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > $i; sleep 0.01; done");
  task.limits.disk_mb = 20;
  const Ended large = runner->run(task);
  CHECK(word(large.how) == "out_of_disk");
  CHECK(large.ran_ms < 30'000);
  CHECK(large.artifacts.found.size() > 5);
  task = shell("cd $A; i=0; while :; do i=$((i+1)); mkdir $i; done");
  task.limits.disk_mb = 1;
  CHECK(word(runner->run(task).how) == "out_of_disk");
}

TEST_CASE("of output without end its first MB and its last 15 MB are kept") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const auto mb = calyx::testing::by_scale<std::uint64_t>(64, 1536, 16'384);
  Task task = hostile(scratch, {"flood", std::to_string(mb)});
  std::vector<Log> live;
  Watch watch;
  watch.begun = [&](const Log& out, const Log&, const std::string&) { live.push_back(out); };
  bool whole = true;
  const auto look = [&] {
    // What is read while the ring turns is what was written at that offset.
    const std::uint64_t from = live[0].written() > (10u << 20) ? live[0].written() - (10u << 20) : 0;
    const Log::Piece piece = live[0].read(from / 8 * 8, 1 << 20);
    if (piece.bytes.size() < 16) return;
    const std::uint64_t skip = (8 - piece.offset % 8) % 8;
    whole = whole && told_offset(piece.bytes.data() + skip) == piece.offset + skip;
  };
  watch.cancelled = [&] { return look(), false; };
  const Ended ended = runner->run(task, watch);
  CHECK(word(ended.how) == "succeeded");
  CHECK(whole);
  CHECK(ended.out.written() == mb << 20);
  CHECK(ended.out.dropped() == (mb - 16) << 20);
  const std::string text = ended.out.text();
  CHECK(text.size() == 16u << 20);
  std::uint64_t wrong = 0;
  for (std::uint64_t at = 0; at < text.size(); at += 8) {
    const std::uint64_t offset = at < (1u << 20) ? at : at + ended.out.dropped();
    if (told_offset(text.data() + at) != offset) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(ended.out.read(0, 10).bytes.size() == 10);
  CHECK(ended.out.read(2u << 20, 10).offset == (mb - 15) << 20);
  CHECK(ended.out.read(mb << 20, 10).bytes == "");
  CHECK(ended.err.text() == "");
}

TEST_CASE("output is kept as it is, whatever bytes it has") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const Ended ended =
      runner->run(shell("printf 'a\\000b\\377\\376\\033[31m\\r\\n'; printf '\\200' >&2; echo 1 > $R"));
  CHECK(ended.out.text() == std::string("a\0b\377\376\033[31m\r\n", 12));
  CHECK(ended.err.text() == "\200");
  CHECK(word(ended.how) == "succeeded");
}

TEST_CASE("a task has the variables, descriptors and limits that are meant for it, and no others") {
  // What a careless host leaves open and set must not arrive.
  const int left_open = ::open("/dev/null", O_RDONLY);
  const int high = ::fcntl(left_open, F_DUPFD, 900);
  ::setenv("LD_PRELOAD_OF_HOST", "secret", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  Task task = hostile(scratch, {"tell"});
  task.environment = {{"EPOCHS", "3"}, {"LANG", "C"}};
  task.gpus = "0,1";
  task.checkpoint_dir = scratch / "checkpoint";
  std::filesystem::create_directory(task.checkpoint_dir);
  task.data.push_back({"weights", task.source, "/weights"});
  task.caches.push_back({"hub", {}, "/hub"});
  const Ended ended = runner->run(task);
  ::close(left_open);
  ::close(high);
  CAPTURE(ended.message);
  REQUIRE(word(ended.how) == "succeeded");
  std::set<std::string> names;
  std::set<std::string> numbers;
  std::istringstream lines(ended.out.text());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("env ", 0) == 0) names.insert(line.substr(4, line.find('=') - 4));
    if (line.rfind("fd ", 0) == 0) numbers.insert(line.substr(3));
  }
  CHECK(names ==
        std::set<std::string>{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "EPOCHS", "CUDA_VISIBLE_DEVICES",
                              "COMPUTALOT_TASK_PAYLOAD", "COMPUTALOT_TASK_RESULT", "COMPUTALOT_ARTIFACT_DIR",
                              "COMPUTALOT_CHECKPOINT_DIR", "COMPUTALOT_DATA_DIR", "COMPUTALOT_CACHE_DIR"});
  CHECK(numbers == std::set<std::string>{"0", "1", "2"});
  const std::string text = ended.out.text();
  CHECK(text.find("secret") == std::string::npos);
  CHECK(line_of(text, "env LANG=") == "C");
  CHECK(line_of(text, "env CUDA_VISIBLE_DEVICES=") == "0,1");
  CHECK(line_of(text, "env HOME=") == line_of(text, "env TMPDIR="));
  CHECK(line_of(text, "status SigBlk:\t") == "0000000000000000");
  CHECK(line_of(text, "status SigIgn:\t") == "0000000000000000");
  CHECK(line_of(text, "status NoNewPrivs:\t") == "1");
  CHECK(line_of(text, "limit core ") == "0 0");
  CHECK(line_of(text, "limit files ") == "1024 1024");
  CHECK(line_of(text, "cwd ") == scratch / "project");
  CHECK(line_of(text, "session ") == "1");
}

TEST_CASE("variables that change programs or carry credentials are refused by name") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  struct Row {
    std::string name;
    std::string value;
    const char* rule;
  };
  const Row rows[] = {
      {"EPOCHS", "3", ""},
      {"_x9", "", ""},
      {"PATH", "/bin", ""},
      {"TOKENIZERS_PARALLELISM", "false", ""},
      {"", "x", "name"},
      {"9A", "x", "name"},
      {"A=B", "x", "name"},
      {"A B", "x", "name"},
      {std::string("A\0", 2), "x", "name"},
      {"A", std::string("x\0y", 3), "value"},
      {"A", std::string(40'000, 'x'), "too_large"},
      {"LD_PRELOAD", "x", "loader"},
      {"ld_audit", "x", "loader"},
      {"PYTHONPATH", "x", "loader"},
      {"BASH_ENV", "x", "loader"},
      {"HOME", "x", "reserved"},
      {"COMPUTALOT_TASK_RESULT", "x", "reserved"},
      {"CUDA_VISIBLE_DEVICES", "0", "reserved"},
      {"AWS_ACCESS_KEY_ID", "x", "credential"},
      {"HF_TOKEN", "x", "credential"},
      {"db_password", "x", "credential"},
      {"X_API_KEY", "x", "credential"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto checked = check_environment({{row.name, row.value}});
    CHECK(checked.ok() == (*row.rule == '\0'));
    if (!checked.ok()) CHECK(*checked.error().details.find("rule")->string() == row.rule);
  }
  CHECK_FALSE(check_environment({{"A", "1"}, {"A", "2"}}).ok());
  Task task = shell("echo 1 > $R");
  task.environment = {{"LD_PRELOAD", "/tmp/x.so"}};
  const Ended ended = runner->run(task);
  CHECK(word(ended.how) == "not_started");
  CHECK(ended.why == "field_value");
}

TEST_CASE("a task gets out of its folders only as far as its rungs say") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  put(scratch / "secret", "key");
  Task task =
      hostile(scratch, {"attack", std::to_string(::getpid()), scratch / "secret", scratch / "target"});
  const Ended ended = runner->run(task);
  CAPTURE(ended.message);
  REQUIRE(word(ended.how) == "succeeded");
  const std::string text = ended.out.text();
  CAPTURE(text);
  CHECK(line_of(text, "own tmp ") == "yes");
  CHECK(line_of(text, "null ") == "yes");
  CHECK(line_of(text, "stdout ") == "yes");
  CHECK(line_of(text, "local ") == "yes");
#if defined(__x86_64__) || defined(__aarch64__)
  CHECK(ended.rungs.sockets_denied);
#endif
  if (ended.rungs.sockets_denied) {
    CHECK(line_of(text, "udp ") == "no 13");
    CHECK(line_of(text, "connect ").rfind("no ", 0) == 0);
    CHECK(line_of(text, "uring ") == "no 38");
  }
  if (ended.rungs.landlock_abi == 0) {
    calyx::testing::skipped("runner.landlock", "the kernel has no Landlock");
    return;
  }
  for (const char* what : {"read secret ", "write target ", "write source ", "write tmp ", "read host ",
                           "trace host ", "trace parent "})
    CHECK(line_of(text, what).rfind("no ", 0) == 0);
  if (ended.rungs.signals_scoped) {
    CHECK(line_of(text, "signal host ").rfind("no ", 0) == 0);
    CHECK(line_of(text, "signal parent ").rfind("no ", 0) == 0);
  }
  CHECK(ended.rungs.tcp_denied == (ended.rungs.landlock_abi >= 4));
  task.network = true;
  const Ended open = runner->run(task);
  CHECK(line_of(open.out.text(), "connect ") == "yes");
  CHECK(line_of(open.out.text(), "udp ") == "yes");
  CHECK_FALSE(open.rungs.tcp_denied);
  CHECK_FALSE(open.rungs.sockets_denied);
}

TEST_CASE("a checkpoint folder is kept, and written from one task to the next") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::filesystem::create_directory(scratch / "checkpoint");
  for (const char* expected : {"1", "2"}) {
    Task task = shell("cd $COMPUTALOT_CHECKPOINT_DIR; echo >> steps; wc -l < steps > $R");
    task.checkpoint_dir = scratch / "checkpoint";
    CHECK(runner->run(task).result == expected);
  }
}

TEST_CASE("CP-45: a task reads its data, writes to its caches, and reaches nothing beside either") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  for (const char* folder : {"weights", "hub"}) {
    std::filesystem::create_directory(scratch / folder);
    std::ofstream(scratch / folder + "/one") << "one\n";
  }
  std::ofstream(scratch / "table") << "row\n";
  std::ofstream(scratch / "beside") << "secret\n";
  Task task = shell(
      "cd $COMPUTALOT_DATA_DIR; cat weights/one table; cat weights/../beside $(readlink table)/../beside; "
      "touch weights/two || echo >> table || cd $COMPUTALOT_CACHE_DIR; ls; cat hub/one; touch hub/two "
      "fresh/x; "
      "touch hub/../three || echo 1 > $R");
  task.data = {{"weights", scratch / "weights", "/weights"}, {"table", scratch / "table", "/table"}};
  task.caches = {{"hub", scratch / "hub", "/hub"}, {"fresh", {}, "/fresh"}};
  const Ended ended = runner->run(task);
  CHECK_MESSAGE(ended.how == How::succeeded, ended.message << ended.err.text());
  CHECK(ended.out.text() == "one\nrow\nfresh\nhub\none\n");
  CHECK(std::filesystem::exists(scratch / "hub/two"));
  CHECK_FALSE(std::filesystem::exists(scratch / "weights/two"));
  CHECK_FALSE(std::filesystem::exists(scratch / "three"));
}

TEST_CASE("CP-45: a mount without a name or a place of its own is refused") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  const Mount rows[] = {{"", "/usr", "/a"},
                        {".", "/usr", "/a"},
                        {"..", "/usr", "/a"},
                        {"a/b", "/usr", "/a"},
                        {"a", "usr", "/a"},
                        {"a", "/usr", "a"},
                        {std::string("a\0b", 3), "/usr", "/a"},
                        {"a", {}, "/a"}};
  for (const Mount& row : rows) {
    CAPTURE(row.name);
    Task task = shell("echo 1 > $R");
    task.data = {row};
    CHECK(runner->run(task).why == "field_value");
  }
}

TEST_CASE("what a task writes to its checkpoint folder counts as its disk") {
  const Scratch scratch;
  const auto runner = runner_in(scratch);
  std::filesystem::create_directory(scratch / "checkpoint");
  Task task = shell("cd $COMPUTALOT_CHECKPOINT_DIR; head -c 4000000 /dev/zero > large; sleep 60");
  task.checkpoint_dir = scratch / "checkpoint";
  task.limits.disk_mb = 2;
  CHECK(word(runner->run(task).how) == "out_of_disk");
}

TEST_CASE("where the host is root, tasks can be somebody else") {
  if (::geteuid() != 0) {
    calyx::testing::skipped("runner.user", "this is not root");
    return;
  }
  const Scratch scratch;
  Options options = options_in(scratch);
  options.user = User{65534, 65534};
  const auto runner = Runner::open(options).value();
  Task task = hostile(scratch, {"tell"});
  const Ended ended = runner->run(task);
  CAPTURE(ended.message);
  REQUIRE(word(ended.how) == "succeeded");
  CHECK(ended.rungs.user_dropped);
  CHECK_FALSE(ended.rungs.root);
  CHECK(line_of(ended.out.text(), "status Uid:\t") == "65534\t65534\t65534\t65534");
  const Ended script =
      runner->run(shell("echo hello > /dev/stdout; echo 1 > $A/kept; cat $COMPUTALOT_TASK_PAYLOAD > $R"));
  CHECK(word(script.how) == "succeeded");
  CHECK(script.out.text() == "hello\n");
  CHECK(script.artifacts.found.size() == 1);
  const Ended forged = runner->run(shell("ln -s /etc/shadow $R"));
  CHECK(word(forged.how) == "result_invalid");
  Task alone = shell("true | cat; echo 1 > $R");
  alone.limits.processes = 1;
  CHECK(word(runner->run(alone).how) != "succeeded");
  CHECK(runner_in(scratch)->run(shell("echo 1 > $R")).rungs.root);
}
