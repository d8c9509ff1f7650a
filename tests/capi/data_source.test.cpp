// A function of the host that finds what projects' manifests declare, and the tasks that read it.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/tarballs.hpp"
#include "market.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx_tests;

namespace {

/// The host's function, what it was asked, and how often it was dropped.
struct Finder {
  std::function<int(calyx_call*)> answer;
  std::mutex mutex;
  std::vector<std::string> asked;
  std::atomic<int> dropped{0};

  std::size_t times() {
    const std::lock_guard lock(mutex);
    return asked.size();
  }
};

int find(void* ctx, calyx_call* call, const calyx_input* input) {
  Finder& finder = *static_cast<Finder*>(ctx);
  {
    const std::lock_guard lock(finder.mutex);
    finder.asked.emplace_back(input->payload, input->payload_size);
  }
  if (input->struct_size != sizeof(calyx_input) || input->payload[input->payload_size] != '\0' ||
      *input->job_id != '\0' || input->index != 0 || input->attempt != 0)
    return 7;
  return finder.answer(call);
}
void drop(void* ctx) { ++static_cast<Finder*>(ctx)->dropped; }

calyx_status say(calyx_call* call, const std::string& text) {
  return calyx_call_reply(call, text.data(), text.size());
}
std::string found(const std::string& path) { return R"({"outcome":"found","path":")" + path + "\"}"; }

/// A market whose clock can be set on, with a worker that runs commands and a project that declares weights.
class Yard {
 public:
  Yard() {
    std::filesystem::create_directory(scratch / "tasks");
    std::filesystem::create_directory(scratch / "weights");
    std::ofstream(scratch / "weights/model") << "of the model";
    calyx_options options = CALYX_OPTIONS_INIT;
    const std::string path = scratch / "m.db";
    options.path = path.c_str();
    options.ctx = &ahead_us;
    options.now_us = [](void* ctx) {
      using namespace std::chrono;
      return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count() +
             static_cast<std::atomic<std::int64_t>*>(ctx)->load();
    };
    REQUIRE(calyx_open(&options, &engine) == CALYX_OK);
    op = operator_key(engine);
  }
  ~Yard() {
    calyx_worker_stop(worker);
    calyx_close(engine);
  }
  Yard(const Yard&) = delete;
  Yard& operator=(const Yard&) = delete;

  calyx_status finds(Finder& finder, const char* options = "{}") const {
    return calyx_register(engine, CALYX_KIND_DATA_SOURCE, options, find, &finder, drop);
  }
  /// Pushes the project and starts the worker. False where this build cannot push.
  bool opens(const char* test) {
    REQUIRE(ask(engine, "POST", "/api/v1/projects", op, R"({"name":"code"})").http == 201);
    const std::string manifest =
        R"({"data_sources":[{"name":"weights","type":"huggingface","source":"org/model","revision":"main",)"
        R"("mount_path":"/models/weights"}]})";
    const Said pushed =
        ask(engine, "POST", "/api/v1/projects/code/push", op,
            calyx::testing::gzip(calyx::testing::tar({{"computalot.project.json", manifest}})));
    if (pushed.body.find("not_built") != std::string::npos) {
      CHECK(calyx::testing::may_lack(test, "libarchive-dev"));
      return false;
    }
    REQUIRE_MESSAGE(pushed.http == 201, pushed.body);
    const std::string options = R"({"commands":{"scratch":")" + (scratch / "tasks") + R"(","helper":")" +
                                calyx::testing::runner_helper +
                                R"(","allow_bare_host":true,"containers":"none","bubblewrap":"none"}})";
    REQUIRE_MESSAGE(calyx_worker_start(engine, options.c_str(), &worker) == CALYX_OK, calyx_last_error());
    return true;
  }
  std::string submit() const {
    const Said said = ask(engine, "POST", "/api/v1/jobs", op,
                          R"({"project":"code","timeout_s":30,)"
                          R"("command":["sh","-c","cat $COMPUTALOT_DATA_DIR/weights/model"]})");
    REQUIRE_MESSAGE(said.http == 201, said.body);
    return member(said.body, "job_id");
  }
  std::string get(const std::string& target) const { return ask(engine, "GET", target, op).body; }
  /// How the job ended; what waits for another try has not to wait.
  std::string end_of(const std::string& job) {
    std::string waited_after;  // how many attempts
    for (int i = 0; i < 6'000; ++i) {
      const std::string now = member(get("/api/v1/jobs/" + job), "status");
      if (now == "completed" || now == "failed" || now == "cancelled") return now;
      // Once an attempt, and not while a worker has the task: the lease would be over, and that its error.
      const std::string tasks = get("/api/v1/jobs/" + job + "/tasks");
      const std::string attempts = attempts_in(tasks);
      if (waits_again(tasks) && attempts != waited_after) {
        ahead_us += 400'000'000;
        waited_after = attempts;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return "never";
  }
  static bool waits_again(const std::string& tasks) {
    return tasks.find(R"("status":"queued")") != std::string::npos &&
           tasks.find(R"("error":{)") != std::string::npos;
  }
  static std::string attempts_in(const std::string& tasks) {
    const std::size_t at = tasks.find(R"("attempts":)");
    return at == std::string::npos ? std::string() : tasks.substr(at, tasks.find(',', at) - at);
  }

  std::atomic<std::int64_t> ahead_us{0};
  const calyx::store::Scratch scratch;
  calyx_engine* engine = nullptr;
  calyx_worker* worker = nullptr;
  std::string op;
};

}  // namespace

TEST_CASE("CP-45: a C function finds a data source, once for all tasks, and they read it") {
  Finder finder, before;
  {
    std::atomic<bool> as_told{true};
    Yard yard;
    finder.answer = [&](calyx_call* call) {
      if (calyx_call_cancelled(call) != CALYX_OK) as_told = false;
      if (calyx_call_progress(call, "{}", 2) != CALYX_UNSUPPORTED) as_told = false;
      if (calyx_call_keep_checkpoint(call, nullptr, 0) != CALYX_UNSUPPORTED) as_told = false;
      calyx_text kept{nullptr, 0};
      if (calyx_call_checkpoint(call, &kept) != CALYX_UNSUPPORTED) as_told = false;
      return static_cast<int>(say(call, found(yard.scratch / "weights")));
    };
    REQUIRE(yard.finds(before) == CALYX_OK);
    REQUIRE(yard.finds(finder) == CALYX_OK);
    CHECK(before.dropped == 1);
    if (!yard.opens("capi.data_source.found")) return;
    for (int i = 0; i < 2; ++i) {
      const std::string job = yard.submit();
      CHECK(yard.end_of(job) == "completed");
      CHECK(yard.get("/api/v1/jobs/" + job + "/output").find("of the model") != std::string::npos);
    }
    CHECK(as_told);
    REQUIRE(finder.times() == 1);
    const std::string& asked = finder.asked.front();
    CAPTURE(asked);
    CHECK(member(asked, "name") == "weights");
    CHECK(member(asked, "type") == "huggingface");
    CHECK(member(asked, "source") == "org/model");
    CHECK(member(asked, "revision") == "main");
    CHECK(member(asked, "sha256") == "null");
    CHECK(member(asked, "mount_path") == "/models/weights");
    CHECK(member(asked, "project") == "code");
    CHECK(member(asked, "project_revision") == "1");
    CHECK(member(asked, "wallet_id") == "null");
    CHECK(finder.dropped == 0);
  }
  CHECK(finder.dropped == 1);
}

TEST_CASE("CP-45: what a C function gives and replies decides what becomes of the task") {
  struct Row {
    const char* says;
    int gives;
    std::string reply;  // empty: none
    const char* reason;
    const char* error;  // how the task's ends
  };
  const Row rows[] = {
      {"not now", 0, R"({"outcome":"unavailable","reason":"the hub is down"})", "source_unavailable",
       "the hub is down"},
      {"not now, and no word", 0, R"({"outcome":"unavailable"})", "source_unavailable", "gives no reason"},
      {"never", 0, R"({"outcome":"refused","reason":"gated"})", "source_refused", "gated"},
      {"found, and failed", 1, found("/tmp"), "source_unavailable", "gives no reason"},
      {"nothing", 0, "", "source_unavailable", "gives no reason"},
      {"a relative path", 0, found("weights"), "source_unavailable", "that is there"},
  };
  Finder finder;
  std::string errors;
  Yard yard;
  REQUIRE(yard.finds(finder) == CALYX_OK);
  if (!yard.opens("capi.data_source.fails")) return;
  for (const Row& row : rows) {
    CAPTURE(row.says);
    finder.answer = [&](calyx_call* call) {
      if (!row.reply.empty() && say(call, row.reply) != CALYX_OK) return 9;
      return row.gives;
    };
    const std::string job = yard.submit();
    CHECK(yard.end_of(job) == "failed");
    const std::string tasks = yard.get("/api/v1/jobs/" + job + "/tasks");
    CAPTURE(tasks);
    CHECK(tasks.find(std::string("\"") + row.reason + "\"") != std::string::npos);
    CHECK(tasks.find(std::string(row.error) + "\"") != std::string::npos);
  }

  struct Wrong {
    const char* reply;
    const char* error;  // how it begins
  };
  const Wrong wrong[] = {
      {"", "not_json: "},
      {"{}", "field_missing: reply/outcome "},
      {R"({"outcome":"lost"})", "field_value: reply/outcome must be found, unavailable or refused"},
      {R"({"outcome":"found"})", "field_missing: reply/path "},
      {R"({"outcome":"found","path":7})", "field_type: reply/path "},
      {R"({"outcome":"found","path":"/a","reason":"b"})", "field_unknown: reply/reason "},
      {R"({"outcome":"refused","path":"/a"})", "field_unknown: reply/path "},
  };
  finder.answer = [&](calyx_call* call) {
    for (const Wrong& row : wrong) {
      const bool refused = calyx_call_reply(call, row.reply, std::strlen(row.reply)) == CALYX_INVALID;
      const std::string error = calyx_last_error();
      if (!refused || error.find(row.error) != 0) errors += error + "; not: " + row.error + '\n';
    }
    // One that is refused replaces nothing.
    if (say(call, found(yard.scratch / "weights")) != CALYX_OK || say(call, "{}") == CALYX_OK)
      errors += "last";
    return 0;
  };
  CHECK(yard.end_of(yard.submit()) == "completed");
  CHECK(errors == "");
}

TEST_CASE("CP-45: a C function is told to stop, and a worker without one finds nothing") {
  Finder finder;
  std::atomic<bool> asked{false}, stopped{false};
  Yard yard;  // its worker may be in the function until its end
  if (!yard.opens("capi.data_source.stops")) return;
  const std::string nobody = yard.submit();
  CHECK(yard.end_of(nobody) == "failed");
  CHECK(yard.get("/api/v1/jobs/" + nobody + "/tasks").find("host finds none") != std::string::npos);

  finder.answer = [&](calyx_call* call) {
    asked = true;
    for (int i = 0; i < 6'000 && !stopped; ++i) {
      stopped = calyx_call_cancelled(call) == CALYX_STOPPED;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return 1;
  };
  REQUIRE(yard.finds(finder) == CALYX_OK);  // of workers that run already, too
  const std::string job = yard.submit();
  for (int i = 0; i < 6'000 && !asked; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(asked);
  CHECK(ask(yard.engine, "PUT", "/api/v1/jobs/" + job + "/cancel", yard.op).http == 200);
  CHECK(yard.end_of(job) == "cancelled");
  for (int i = 0; i < 6'000 && !stopped; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(stopped);
  CHECK(yard.finds(finder, R"({"name":"a"})") == CALYX_INVALID);
  CHECK(std::string(calyx_last_error()).find("field_unknown: options_json/name ") == 0);
}
