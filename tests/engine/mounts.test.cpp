#include "engine/mounts.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <calyx/core/digest.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "crypto/sha256.hpp"
#include "engine/job_market.hpp"
#include "engine/pushes.hpp"
#include "engine/tarballs.hpp"
#include "runner/disk.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::JobMarket;
namespace fs = std::filesystem;
namespace json = core::json;

namespace {

constexpr const char* two_sources =
    R"({"data_sources":[
  {"name":"weights","type":"huggingface","source":"org/model","revision":"main","mount_path":"/models/weights"},
  {"name":"table","type":"url","source":"https://example.com/t.csv","mount_path":"/data/table.csv"}]})";
constexpr const char* one_cache = R"({"cache_mounts":[{"name":"hub","mount_path":"/cache/hub"}]})";

std::string with_source(const std::string& more) {
  return R"({"data_sources":[{"name":"weights","type":"huggingface","source":"org/model",)" + more +
         R"("mount_path":"/models/weights"}]})";
}

/// What stands in the folder that a test works in, before its market does.
struct Ground {
  store::Scratch scratch;
  Ground() {
    for (const char* folder : {"tasks", "caches", "weights"}) fs::create_directory(scratch / folder);
    std::ofstream(scratch / "weights/model") << "of the model\n";
    std::ofstream(scratch / "table.csv") << "a,b\n";
  }
};

/// A market whose projects declare something, and whose host has an answer.
struct Mounted : Ground {
  std::mutex mutex;
  std::vector<DataSource> asked;  ///< In the order of the calls.
  FindDataSource answer = [this](const DataSource& source, const std::function<bool()>&) {
    return Result<std::string>(scratch / (source.name == "table" ? "table.csv" : source.name));
  };
  CommandOptions commands;
  std::optional<JobMarket> made;
  JobMarket& market;

  explicit Mounted(CommandOptions how = {}) : commands(with(std::move(how))), market(made.emplace(in())) {}
  CommandOptions with(CommandOptions how) {
    how.scratch = scratch / "tasks";
    how.helper = calyx::testing::runner_helper;
    how.allow_bare_host = true;
    how.containers = how.bubblewrap = "none";
    how.caches = scratch / "caches";
    how.data_sources = [this](const DataSource& source, const std::function<bool()>& stopped) {
      {
        const std::lock_guard lock(mutex);
        asked.push_back(source);
      }
      return answer(source, stopped);
    };
    return how;
  }
  Options in() const {
    Options options;
    options.path = scratch / "m.db";
    options.commands = commands;
    return options;
  }
  void push(const std::string& manifest, const char* name = "code", std::optional<WalletId> wallet = {}) {
    const ProjectName project{.name = name, .wallet = wallet ? *wallet : market.payer};
    static_cast<void>(market.all.create_project({.name = name, .wallet = project.wallet}));
    const Result<Revision> pushed = market.all.push_project(
        project, testing::gzip(testing::tar({{"computalot.project.json", manifest}})));
    REQUIRE_MESSAGE(pushed.ok(), pushed.error().message);
  }
  json::Object job(const std::string& script, const char* project = "code") const {
    json::Object out;
    out.set("project", project).set("command", json::array({"sh", "-c", script})).set("timeout_s", 30);
    return out;
  }
  /// Runs it to its end on this thread, with the clock set on where it waits for another try.
  Job finish(JobId id) {
    for (;;) {
      const auto waits = [this, id, looked = 0]() mutable {
        return looked++ > 0 && market.now(id).status == JobStatus::running &&
               market.now(id).progress.running == 0;
      };
      const Result<Job> job = market.all.run_job(id, {.stopped = waits});
      REQUIRE_MESSAGE(job.ok(), job.error().message);
      if (is_terminal(job->status)) return *job;
      market.pass(400);
    }
  }
  Job run(const std::string& script, const char* project = "code") {
    return finish(market.submit(job(script, project)));
  }
  std::string out(const Job& job) { return market.all.job_output(job.id).value().out; }
  std::string printed(const std::string& script, const char* project = "code") {
    const Job job = run(script, project);
    CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
    return out(job);
  }
  std::string cache(int project = 1) const {
    for (const auto& entry : fs::directory_iterator(scratch / "caches"))
      if (entry.path().filename().string().find("-" + std::to_string(project) + "-") != std::string::npos)
        return entry.path().string() + "/hub";
    return {};
  }
};

}  // namespace

TEST_CASE("CP-45: the host is asked for what the manifest declares, once a revision, and for nothing else") {
  if (!testing::pushes("engine.mounts.asked")) return;
  Mounted yard;
  yard.push(two_sources);
  CHECK(yard.asked.empty());
  json::Object job = yard.job(
      "cat $COMPUTALOT_DATA_DIR/weights/model $COMPUTALOT_DATA_DIR/table; ls $COMPUTALOT_DATA_DIR; "
      "cat $COMPUTALOT_DATA_DIR/other/model || exit 0");
  // What a runner downloads by itself is between it and its network.
  job.set("payload", json::object({{"download", "org/other"}, {"data_sources", json::array({"other"})}}));
  for (int i = 0; i < 2; ++i) {
    json::Object again = job;
    const Job done = yard.finish(yard.market.submit(std::move(again)));
    REQUIRE_MESSAGE(done.status == JobStatus::completed, done.error);
    CHECK(yard.out(done) == "of the model\na,b\ntable\nweights\n");
    CHECK(yard.asked.size() == 2);
  }
  const DataSource& weights = yard.asked[0];
  CHECK(weights.wallet == yard.market.payer);
  CHECK(weights.project == "code");
  CHECK(weights.project_revision == 1);
  CHECK(weights.name == "weights");
  CHECK(weights.type == "huggingface");
  CHECK(weights.source == "org/model");
  CHECK(weights.revision == "main");
  CHECK(weights.mount_path == "/models/weights");
  CHECK_FALSE(weights.sha256);
  CHECK(yard.asked[1].name == "table");
  CHECK(yard.asked[1].type == "url");

  // Another revision may mean another thing by the same name, and what is gone is fetched anew.
  yard.push(two_sources);
  CHECK(yard.run("true").status == JobStatus::completed);
  CHECK(yard.asked.size() == 4);
  CHECK(yard.asked[3].project_revision == 2);
  fs::rename(yard.scratch / "table.csv", yard.scratch / "moved.csv");
  yard.answer = [&](const DataSource& source, const std::function<bool()>&) {
    return Result<std::string>(yard.scratch / (source.name == "table" ? "moved.csv" : source.name));
  };
  CHECK(yard.printed("cat $COMPUTALOT_DATA_DIR/table") == "a,b\n");
  CHECK(yard.asked.size() == 5);
  // A project that declares nothing, and a command without one, are nothing to ask for.
  yard.push("{}", "plain");
  CHECK(yard.printed("echo ${COMPUTALOT_DATA_DIR-none} ${COMPUTALOT_CACHE_DIR-none}", "plain") ==
        "none none\n");
  CHECK(yard.asked.size() == 5);
  yard.market.check_books();
}

TEST_CASE("CP-45: a task reads its data sources, whatever it tries, and sees no path of this machine") {
  if (!testing::pushes("engine.mounts.read")) return;
  Mounted yard;
  yard.push(two_sources);
  const Job job = yard.run(
      "cd $COMPUTALOT_DATA_DIR/weights; touch new && echo made; echo x >> model && echo changed; "
      "rm model && echo removed; chmod 777 model && echo opened; echo x > $COMPUTALOT_DATA_DIR/table && echo "
      "written; ls ..  > /dev/null || echo closed; pwd -P; readlink $COMPUTALOT_DATA_DIR/table");
  CHECK_MESSAGE(job.status == JobStatus::completed, job.error);
  std::string out = yard.out(job);
  if (out.starts_with("opened\n")) out.erase(0, 7);  // Landlock knows no right to change a mode
  CHECK(out == "closed\ndata/weights\ndata/table\n");
  CHECK(fs::exists(yard.scratch / "weights/model"));
  CHECK_FALSE(fs::exists(yard.scratch / "weights/new"));
  // What a task makes of its own links is nobody else's.
  CHECK(yard.run("rm $COMPUTALOT_DATA_DIR/weights && ln -s / $COMPUTALOT_DATA_DIR/weights").status ==
        JobStatus::completed);
  CHECK(yard.printed("cat $COMPUTALOT_DATA_DIR/weights/model") == "of the model\n");
}

TEST_CASE("CP-45: a data source that cannot be had is the host's failure, and one that is refused is final") {
  if (!testing::pushes("engine.mounts.fails")) return;
  struct Row {
    const char* says;
    Result<std::string> answer;
    JobFailure failure;
    std::size_t asked;
    const char* error;
  };
  const std::size_t tries = static_cast<std::size_t>(core::infrastructure_retries_max) + 1;
  const auto unavailable = JobFailure::source_unavailable;
  const char* nothing_there = "the host's answer is no absolute path of a file or a folder that is there";
  const Row rows[] = {
      {"the hub is down", fail(Reason::io_error, "the hub is down"), unavailable, tries, "the hub is down"},
      {"no room", fail(Reason::disk_full, "no room"), unavailable, tries, "no room"},
      {"nobody's", fail(Reason::not_your_wallet, "gated"), JobFailure::source_refused, 1, "gated"},
      {"no such", fail(Reason::file_missing, "no such"), JobFailure::source_refused, 1, "no such"},
      {"nothing", Result<std::string>(""), unavailable, tries, nothing_there},
      {"a relative path", Result<std::string>("weights"), unavailable, tries, nothing_there},
      {"a path to nothing", Result<std::string>("/no/such/folder"), unavailable, tries, nothing_there},
  };
  Mounted yard;
  yard.market.price(1'000'000);
  const Money before = yard.market.balance();
  for (const Row& row : rows) {
    CAPTURE(row.says);
    yard.push(with_source(""));
    yard.asked.clear();
    yard.answer = [&](const DataSource&, const std::function<bool()>&) { return row.answer; };
    json::Object job = yard.job("true");
    job.set("max_retries", 2);
    const Job done = yard.finish(yard.market.submit(std::move(job)));
    CHECK(done.status == JobStatus::failed);
    CHECK(done.failure == row.failure);
    CHECK_FALSE(recommended_action(row.failure).empty());
    CHECK(yard.asked.size() == row.asked);
    const JobTask task = yard.market.all.job_tasks(done.id).value().items.at(0);
    CHECK(task.failure == row.failure);
    CHECK(task.error == std::string("data source weights: ") + row.error);
    CHECK(done.cost.micro == 0);
    CHECK(yard.market.balance() == before);
  }
  yard.answer = [](const DataSource&, const std::function<bool()>&) -> Result<std::string> {
    throw std::runtime_error("a slip");
  };
  CHECK(yard.run("true").failure == unavailable);
  // The next one that asks may find it.
  yard.answer = [&](const DataSource& source, const std::function<bool()>&) {
    return yard.asked.size() % 2 == 1 ? Result<std::string>(fail(Reason::io_error, "not yet"))
                                      : Result<std::string>(yard.scratch / source.name);
  };
  yard.asked.clear();
  CHECK(yard.run("true").status == JobStatus::completed);
  CHECK(yard.asked.size() == 2);
  yard.market.check_books();
}

TEST_CASE("CP-45: a file is held to the SHA-256 that its manifest names") {
  if (!testing::pushes("engine.mounts.digest")) return;
  Mounted yard;
  yard.answer = [&](const DataSource&, const std::function<bool()>&) {
    return Result<std::string>(yard.scratch / "table.csv");
  };
  const auto with_digest = [](const char* of) {
    return with_source("\"sha256\":\"" + core::hex(crypto::Sha256{}(of)) + "\",");
  };
  yard.push(with_digest("a,b\n"));
  CHECK(yard.printed("cat $COMPUTALOT_DATA_DIR/weights") == "a,b\n");
  REQUIRE(yard.asked[0].sha256);
  yard.push(with_digest("a,c\n"));
  const Job job = yard.run("true");
  CHECK(job.failure == JobFailure::source_refused);
}

TEST_CASE("CP-45: where the host finds no data sources their jobs say so") {
  if (!testing::pushes("engine.mounts.none")) return;
  Mounted yard;
  yard.push(with_source(""));
  CommandOptions without = yard.commands;
  without.data_sources = {};
  WorkerOptions options;
  options.commands = without;
  const JobId id = yard.market.submit(yard.job("true"));
  {
    Worker worker = Worker::start(yard.market.engine, options).value();
    while (yard.market.all.job_tasks(id).value().items.at(0).failure == JobFailure::none) ::usleep(10'000);
  }
  const JobTask task = yard.market.all.job_tasks(id).value().items.at(0);
  CHECK(task.failure == JobFailure::source_unavailable);
  CHECK(task.error == "data source weights: this worker's host finds none");
  CHECK(yard.asked.empty());
  // Another host's worker may have it: the task waits for that.
  yard.market.pass(400);
  CHECK(yard.finish(id).status == JobStatus::completed);

  const ProjectStatusDetails details =
      yard.market.all.project_status_details({.name = "code", .wallet = yard.market.payer}).value();
  REQUIRE(details.diagnostics.size() == 1);
  CHECK(details.diagnostics[0].code == "data_sources");
  CHECK(details.diagnostics[0].message.find("source_unavailable") != std::string::npos);
}

TEST_CASE("CP-45: of tasks at once one asks the host, and a cancel reaches it") {
  if (!testing::pushes("engine.mounts.once")) return;
  Mounted yard;
  yard.push(with_source(""));
  std::atomic<bool> found{false};
  yard.answer = [&](const DataSource& source, const std::function<bool()>& stopped) -> Result<std::string> {
    while (!found) {
      if (stopped()) return fail(Reason::io_error, "broken off");
      ::usleep(1'000);
    }
    return yard.scratch / source.name;
  };
  const auto asked = [&] {
    const std::lock_guard lock(yard.mutex);
    return yard.asked.size();
  };
  WorkerOptions options;
  options.threads = 4;
  options.tasks_max = 1;
  options.commands = yard.commands;
  Worker worker = Worker::start(yard.market.engine, options).value();
  const JobId cancelled = yard.market.submit(yard.job("true"));
  while (asked() == 0) ::usleep(1'000);
  CHECK(yard.market.all.cancel_job(cancelled).value().status == JobStatus::cancelled);
  std::vector<JobId> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(yard.market.submit(yard.job("true")));
  while (asked() == 1) ::usleep(1'000);  // the cancelled one has let go
  for (const JobId id : jobs)
    while (yard.market.now(id).progress.running == 0) ::usleep(1'000);
  found = true;
  for (const JobId id : jobs)
    CHECK(yard.market.all.wait_job(id, std::chrono::minutes(1)).value().status == JobStatus::completed);
  worker.stop();
  CHECK(asked() == 2);
  CHECK(yard.market.all.job_tasks(cancelled).value().items.at(0).failure == JobFailure::cancelled);
  yard.market.check_books();
}

TEST_CASE("CP-45: a cache is found again by its project's tasks, and by nobody else's") {
  if (!testing::pushes("engine.mounts.caches")) return;
  Mounted yard;
  const std::string add = "cd $COMPUTALOT_CACHE_DIR/hub && echo x >> n && wc -l < n";
  yard.push(one_cache);
  CHECK(yard.printed(add) == "1\n");
  CHECK(yard.printed(add) == "2\n");
  yard.push(one_cache);  // another revision of the same project
  CHECK(yard.printed(add) == "3\n");
  struct stat is {};
  for (const char* below : {"", "/files"}) {
    REQUIRE(::stat((yard.cache() + below).c_str(), &is) == 0);
    CHECK((is.st_mode & 0777) == 0700);
  }

  yard.push(one_cache, "twin");
  CHECK(yard.printed(add, "twin") == "1\n");
  // The same names in another account.
  const WalletId other = yard.market.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  CHECK(yard.market.all.topup({.wallet = other, .amount = Money{1'000'000'000}}).ok());
  yard.push(one_cache, "code", other);
  const JobId theirs = yard.market.all.submit_job({.job = yard.job(add), .wallet = other}).value().id;
  CHECK(yard.finish(theirs).status == JobStatus::completed);
  CHECK(yard.market.all.job_output(theirs).value().out == "1\n");
  // And a project that comes after one of its name was deleted.
  CHECK(yard.market.all.delete_project({.name = "code", .wallet = yard.market.payer}).ok());
  yard.push(one_cache);
  CHECK(yard.printed(add) == "1\n");

  CHECK(yard.printed("cd $COMPUTALOT_CACHE_DIR/hub; pwd -P; ls ../../.. || ls .. || ls ../../../*/hub || "
                     "touch ../mine || echo closed") == "caches/hub\nclosed\n");
  yard.market.check_books();
}

TEST_CASE("CP-45: without a folder for caches each task has an empty one of its own") {
  if (!testing::pushes("engine.mounts.fresh")) return;
  Mounted yard;
  yard.push(one_cache);
  CommandOptions without = yard.commands;
  without.caches.clear();
  WorkerOptions options;
  options.commands = without;
  Worker worker = Worker::start(yard.market.engine, options).value();
  for (int i = 0; i < 2; ++i) {
    const JobId id =
        yard.market.submit(yard.job("cd $COMPUTALOT_CACHE_DIR/hub && echo x >> n && wc -l < n; pwd -P"));
    CHECK(yard.market.all.wait_job(id, std::chrono::minutes(1)).value().status == JobStatus::completed);
    CHECK(yard.market.all.job_output(id).value().out == "1\nwork/caches/hub\n");
  }
  CHECK(fs::is_empty(yard.scratch / "caches"));
  for (const std::string& wrong :
       {std::string("relative"), yard.scratch / "nowhere", yard.scratch / "table.csv"}) {
    options.commands->caches = wrong;
    CHECK(Worker::start(yard.market.engine, options).reason() == Reason::options_invalid);
  }
}

TEST_CASE("CP-45: what a task adds to a cache is its disk, and a cache that outgrew its size begins anew") {
  if (!testing::pushes("engine.mounts.size")) return;
  CommandOptions how;
  how.disk_mb = 8;
  how.cache_mb = 6;
  Mounted yard(std::move(how));
  yard.push(one_cache);
  const auto add = [](int bytes) {
    return "head -c " + std::to_string(bytes) + " /dev/zero >> $COMPUTALOT_CACHE_DIR/hub/n; sleep ${1-0}";
  };
  const std::string size = "cat $COMPUTALOT_CACHE_DIR/hub/n 2> /dev/null | wc -c";
  CHECK(yard.run(add(5'000'000)).status == JobStatus::completed);
  // Neither more than it may keep, nor more than this task may add, though both together are more than 8 MB.
  CHECK(yard.printed(size + "; head -c 5000000 /dev/zero > $TMPDIR/x; sleep 1.5") == "5000000\n");
  CHECK(yard.run(add(5'000'000)).status == JobStatus::completed);
  // A task that runs keeps what it has.
  {
    const int home = ::open(yard.cache().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(::flock(home, LOCK_SH) == 0);
    CHECK(yard.printed(size) == "10000000\n");
    ::close(home);
  }
  CHECK(yard.printed(size) == "0\n");
  CHECK(yard.run(add(20'000'000) + "; sleep 20").failure == JobFailure::out_of_disk);
  CHECK(yard.printed(size) == "0\n");
  // The manifest may ask for less than the host keeps, and for no more.
  CHECK(yard.run(add(2'000'000)).status == JobStatus::completed);
  yard.push(R"({"cache_mounts":[{"name":"hub","mount_path":"/cache/hub","size_mb":1}]})");
  CHECK(yard.printed(size) == "0\n");
  CHECK(yard.run(add(7'000'000)).status == JobStatus::completed);
  yard.push(R"({"cache_mounts":[{"name":"hub","mount_path":"/cache/hub","size_mb":100}]})");
  CHECK(yard.printed(size) == "0\n");
}

TEST_CASE("CP-45: what lies too deep in a cache to be looked at is too much, and does not stay") {
  if (!testing::pushes("engine.mounts.deep")) return;
  CommandOptions how;
  how.disk_mb = 8;
  Mounted yard(std::move(how));
  yard.push(one_cache);
  const auto nested = [](int folders) {
    return "cd $COMPUTALOT_CACHE_DIR/hub && for i in $(seq " + std::to_string(folders) +
           "); do mkdir d && cd d; done; head -c 40000000 /dev/zero > x; sleep 20";
  };
  for (const int folders : {60, 70}) {
    CAPTURE(folders);
    CHECK(yard.run(nested(folders)).failure == JobFailure::out_of_disk);
    const std::string files = yard.cache() + "/files";
    CHECK_FALSE(fs::is_empty(files));
    // Its 40 MB are less than a cache may have.
    CHECK(yard.printed("ls $COMPUTALOT_CACHE_DIR/hub") == (folders == 60 ? "d\n" : ""));
    fs::remove_all(files + "/d");
  }
}

TEST_CASE("CP-45: a folder that its owner may not open hides nothing") {
  const store::Scratch scratch;
  fs::create_directories(scratch / "files/closed/inside");
  fs::create_directories(scratch / "files/unsearched/inside");
  for (const char* folder : {"", "files", "files/closed", "files/unsearched"}) {
    REQUIRE(::chmod((scratch / folder).c_str(), 0755) == 0);
    if (::geteuid() == 0) REQUIRE(::chown((scratch / folder).c_str(), 65534, 65534) == 0);
  }
  const std::string files = scratch / "files";
  const auto whole = [&] {
    const pid_t child = ::fork();
    if (child == 0) {
      if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
      ::_exit(runner::disk_below(files.c_str(), UINT64_MAX).whole ? 1 : 0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) != 2);
    return WEXITSTATUS(status) == 1;
  };
  CHECK(whole());
  const std::pair<const char*, mode_t> rows[] = {{"/closed", 0}, {"/unsearched", 0600}, {"", 0}};
  for (const auto& row : rows) {
    const std::string folder = files + row.first;
    CAPTURE(folder);
    REQUIRE(::chmod(folder.c_str(), row.second) == 0);
    CHECK_FALSE(whole());
    REQUIRE(::chmod(folder.c_str(), 0755) == 0);
  }
}

TEST_CASE("CP-45: what a task takes out of a cache is no room for other files") {
  if (!testing::pushes("engine.mounts.swap")) return;
  CommandOptions how;
  how.disk_mb = 8;
  Mounted yard(std::move(how));
  yard.push(one_cache);
  CHECK(yard.run("head -c 7000000 /dev/zero > $COMPUTALOT_CACHE_DIR/hub/n").status == JobStatus::completed);
  CHECK(
      yard.run("rm $COMPUTALOT_CACHE_DIR/hub/n; head -c 12000000 /dev/zero > $TMPDIR/x; sleep 20").failure ==
      JobFailure::out_of_disk);
}

TEST_CASE("CP-45: of tasks that have a cache at once none answers for what another adds") {
  if (!testing::pushes("engine.mounts.shared")) return;
  CommandOptions how;
  how.disk_mb = 8;
  Mounted yard(std::move(how));
  yard.push(one_cache);
  WorkerOptions options;
  options.threads = 2;
  options.tasks_max = 1;
  options.commands = yard.commands;
  Worker worker = Worker::start(yard.market.engine, options).value();
  const auto fill = [&](const char* ours, const char* theirs) {
    return yard.job("cd $COMPUTALOT_CACHE_DIR/hub; touch in." + std::string(ours) + "; until [ -e in." +
                    theirs + " ]; do sleep 0.05; done; head -c 6000000 /dev/zero > " + ours +
                    "; until [ $(cat a b | wc -c) = 12000000 ]; do sleep 0.05; done; sleep 2.5");
  };
  const JobId jobs[] = {yard.market.submit(fill("a", "b")), yard.market.submit(fill("b", "a"))};
  for (const JobId id : jobs) {
    const Job done = yard.market.all.wait_job(id, std::chrono::minutes(1)).value();
    CHECK_MESSAGE(done.status == JobStatus::completed, done.error);
  }
  worker.stop();
  // Whoever has it alone answers for what it adds.
  CHECK(yard.run("head -c 9000000 /dev/zero > $COMPUTALOT_CACHE_DIR/hub/c; sleep 20").failure ==
        JobFailure::out_of_disk);
}

TEST_CASE("CP-45: a cache is open to its task, whatever one before did to its mode") {
  if (!testing::pushes("engine.mounts.mode")) return;
  Mounted yard;
  yard.push(one_cache);
  CHECK(yard.run("chmod 000 $COMPUTALOT_CACHE_DIR/hub").status == JobStatus::completed);
  CHECK(yard.printed("echo x > $COMPUTALOT_CACHE_DIR/hub/n") == "");
  struct stat is {};
  REQUIRE(::stat((yard.cache() + "/files").c_str(), &is) == 0);
  CHECK((is.st_mode & 0777) == 0700);
}

TEST_CASE("CP-45: after a backup was put back a project finds no cache of one that is lost") {
  if (!testing::pushes("engine.mounts.backup")) return;
  Mounted yard;
  const Options before = yard.in();
  CHECK(yard.market.engine.backup(yard.scratch / "backup.db").ok());
  const std::string add = "cd $COMPUTALOT_CACHE_DIR/hub && echo x >> n && wc -l < n";
  yard.push(one_cache);
  CHECK(yard.printed(add) == "1\n");
  yard.made.reset();
  for (const char* file : {"m.db", "m.db-wal", "m.db-shm"}) fs::remove(yard.scratch / file);
  fs::rename(yard.scratch / "backup.db", before.path);
  yard.made.emplace(before);
  yard.market.pass(1);
  yard.push(one_cache, "other");
  CHECK(yard.printed(add, "other") == "1\n");
}

TEST_CASE("CP-45: a task has all that a manifest may declare, with the longest names and places") {
  if (!testing::pushes("engine.mounts.most")) return;
  Mounted yard;
  yard.answer = [&](const DataSource&, const std::function<bool()>&) {
    return Result<std::string>(yard.scratch / "table.csv");
  };
  const auto items = [](const std::string& kind, const std::string& more) {
    json::Array out;
    for (std::size_t i = 0; i < manifest_items_max; ++i) {
      const std::string name = kind + std::to_string(100 + i) + std::string(124, 'x');
      std::string place = "/" + name;
      place.append("/" + std::string(1024 - place.size() - 1, 'y'));
      out.push_back(json::object({{"name", name}, {"mount_path", place}}));
      if (!more.empty()) out.back().object()->set("type", "url").set("source", more);
    }
    return out;
  };
  yard.push(
      json::canonical(json::object({{"data_sources", items("d", "s")}, {"cache_mounts", items("c", "")}})));
  CHECK(yard.printed("ls $COMPUTALOT_DATA_DIR $COMPUTALOT_CACHE_DIR | grep -c xxx; # " +
                     std::string(4'000, 'z')) == std::to_string(2 * manifest_items_max) + "\n");
}

TEST_CASE("CP-45: a link in the place of a cache's folder is none") {
  if (!testing::pushes("engine.mounts.links")) return;
  Mounted yard;
  yard.push(one_cache);
  CHECK(yard.run("true").status == JobStatus::completed);
  const std::string files = yard.cache() + "/files";
  fs::remove_all(files);
  fs::create_directory(yard.scratch / "elsewhere");
  fs::create_directory_symlink(yard.scratch / "elsewhere", files);
  const Job job = yard.run("touch $COMPUTALOT_CACHE_DIR/hub/x");
  CHECK(job.failure == JobFailure::not_started);
  CHECK(fs::is_empty(yard.scratch / "elsewhere"));
}

TEST_CASE("CP-45: where commands are of another user, caches are its own to write") {
  if (!testing::pushes("engine.mounts.user")) return;
  if (::geteuid() != 0) {
    testing::skipped("engine.mounts.user", "this is not root");
    return;
  }
  CommandOptions how;
  how.user = TaskUser{65534, 65534};
  Mounted yard(std::move(how));
  for (const char* folder : {"", "tasks", "caches", "weights"})
    REQUIRE(::chmod((yard.scratch / folder).c_str(), 0711) == 0);
  REQUIRE(::chmod((yard.scratch / "weights").c_str(), 0755) == 0);
  yard.push(R"({"data_sources":[{"name":"weights","type":"url","source":"s","mount_path":"/w"}],)"
            R"("cache_mounts":[{"name":"hub","mount_path":"/cache/hub"}]})");
  for (const char* lines : {"1\n", "2\n"})
    CHECK(
        yard.printed("cat $COMPUTALOT_DATA_DIR/weights/model > /dev/null && cd $COMPUTALOT_CACHE_DIR/hub && "
                     "echo x >> n && wc -l < n") == lines);
  struct stat is {};
  REQUIRE(::stat((yard.cache() + "/files").c_str(), &is) == 0);
  CHECK(is.st_uid == 65534);
  CHECK((is.st_mode & 0777) == 0700);
}
