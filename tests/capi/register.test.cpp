// Functions of the host that do tasks: how they are registered and dropped, what a call of one may ask and
// say, and the workers that make the calls.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "market.hpp"
#include "store/scratch.hpp"

using namespace calyx_tests;

namespace {

using Function = std::function<int(calyx_call*, const calyx_input&)>;

/// What stands behind a registration here: a function, and how often it was dropped.
struct Host {
  Function function;
  std::atomic<int> dropped{0};
};

int run(void* ctx, calyx_call* call, const calyx_input* input) {
  return static_cast<Host*>(ctx)->function(call, *input);
}
void drop(void* ctx) { ++static_cast<Host*>(ctx)->dropped; }

calyx_status say(calyx_call* call, const std::string& text) {
  return calyx_call_reply(call, text.data(), text.size());
}
calyx_status tell(calyx_call* call, const std::string& text) {
  return calyx_call_progress(call, text.data(), text.size());
}

/// Until `come` says so; a minute is for ever.
bool waits_for(const std::function<bool()>& come) {
  for (int i = 0; i < 30'000; ++i) {
    if (come()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

/// A market with an operator's key, in which functions are registered and jobs asked for. The functions live
/// as long as it does.
class Yard {
 public:
  explicit Yard(const char* path = nullptr) {
    calyx_options options = CALYX_OPTIONS_INIT;
    options.path = path;
    const calyx_status opened = calyx_open(&options, &engine);
    REQUIRE_MESSAGE(opened == CALYX_OK, calyx_last_error());
    op = operator_key(engine);
  }
  ~Yard() {
    stop();
    calyx_close(engine);
  }
  Yard(const Yard&) = delete;
  Yard& operator=(const Yard&) = delete;

  Host& does(const std::string& name, Function function) {
    Host& host = *hosts_.emplace_back(std::make_unique<Host>());
    host.function = std::move(function);
    const std::string options = "{\"name\":\"" + name + "\"}";
    const calyx_status done = calyx_register(engine, CALYX_KIND_TASK, options.c_str(), run, &host, drop);
    REQUIRE_MESSAGE(done == CALYX_OK, calyx_last_error());
    return host;
  }
  void work(const char* options = nullptr) {
    const calyx_status started = calyx_worker_start(engine, options, &worker);
    REQUIRE_MESSAGE(started == CALYX_OK, calyx_last_error());
  }
  void stop() { calyx_worker_stop(std::exchange(worker, nullptr)); }

  std::string submit(const std::string& job) const {
    const Said said = ask(engine, "POST", "/api/v1/jobs", op, job);
    REQUIRE_MESSAGE(said.http == 201, said.body);
    return member(said.body, "job_id");
  }
  std::string get(const std::string& target) const { return ask(engine, "GET", target, op).body; }
  std::string status(const std::string& job) const { return member(get("/api/v1/jobs/" + job), "status"); }
  std::string results(const std::string& job) const { return get("/api/v1/results/" + job); }
  /// How the job ended.
  std::string end_of(const std::string& job) const {
    std::string now;
    REQUIRE(waits_for([&] {
      now = status(job);
      return now == "completed" || now == "partial" || now == "failed" || now == "cancelled";
    }));
    return now;
  }

  calyx_engine* engine = nullptr;
  calyx_worker* worker = nullptr;
  std::string op;

 private:
  std::vector<std::unique_ptr<Host>> hosts_;
};

}  // namespace

TEST_CASE("a job's tasks are done by a C function, and what it replies is their results") {
  Yard yard;
  std::atomic<bool> as_told{true};
  std::string job;
  yard.does("echo", [&](calyx_call* call, const calyx_input& input) {
    const std::string payload(input.payload, input.payload_size);
    if (input.struct_size != sizeof(calyx_input) || input.attempt != 1 ||
        input.payload[input.payload_size] != '\0' || std::string(input.job_id).substr(0, 4) != "job_")
      as_told = false;
    if (calyx_call_cancelled(call) != CALYX_OK) as_told = false;
    if (say(call, "{\"index\":" + std::to_string(input.index) + ",\"payload\":" + payload + "}") != CALYX_OK)
      as_told = false;
    return 0;
  });
  yard.work(R"({"name":"c","threads":2,"tasks_max":1})");
  job = yard.submit(R"({"task":"echo","fan_out":{"items":[{"x":1},{"x":"18446744073709551615"}]}})");
  CHECK(yard.end_of(job) == "completed");
  CHECK(as_told);
  const std::string results = yard.results(job);
  CHECK(results.find(R"({"index":0,"payload":{"x":1}})") != std::string::npos);
  CHECK(results.find(R"({"index":1,"payload":{"x":"18446744073709551615"}})") != std::string::npos);
}

TEST_CASE("what a function gives and replies decides how its task ends") {
  struct Row {
    const char* says;
    Function function;
    const char* status;
    const char* found;  // in the results
  };
  const Row rows[] = {
      {"done without a word is null", [](calyx_call*, const calyx_input&) { return 0; }, "completed",
       R"("result":null)"},
      {"any JSON is a result", [](calyx_call* call, const calyx_input&) { return say(call, " [1, 2.5] "); },
       "completed", R"("result":[1,2.5])"},
      {"the last reply counts",
       [](calyx_call* call, const calyx_input&) {
         static_cast<void>(say(call, "not yet JSON"));
         return say(call, R"("the last")");
       },
       "completed", R"("result":"the last")"},
      {"failed, with the error's text",
       [](calyx_call* call, const calyx_input&) {
         static_cast<void>(say(call, "no such colour"));
         return 3;
       },
       "failed", R"("error":{"code":"task_failed","message":"no such colour"})"},
      {"a result that an error replaces is none",
       [](calyx_call* call, const calyx_input&) {
         static_cast<void>(say(call, "7"));
         static_cast<void>(say(call, "and then it broke"));
         return -1;
       },
       "failed", R"("message":"and then it broke")"},
      {"failed without a word", [](calyx_call*, const calyx_input&) { return 3; }, "failed",
       R"("code":"task_failed","message":"it gave 3 and no word")"},
      {"a reply that is no JSON", [](calyx_call* call, const calyx_input&) { return say(call, "{\"x\":"); },
       "failed", R"("code":"task_failed","message":"what it replied is no JSON: )"},
      {"an empty reply is no JSON", [](calyx_call* call, const calyx_input&) { return say(call, ""); },
       "failed", R"("message":"what it replied is no JSON: )"},
      {"an integer that is no result",
       [](calyx_call* call, const calyx_input&) { return say(call, "9007199254740992"); }, "failed",
       R"("code":"result_invalid")"},
      {"what a C++ host throws is its task's failure",
       [](calyx_call*, const calyx_input&) -> int { throw std::runtime_error("thrown"); }, "failed",
       R"("code":"task_failed","message":"thrown")"},
  };
  Yard yard;
  yard.work();
  for (const Row& row : rows) {
    CAPTURE(row.says);
    yard.does("work", row.function);
    const std::string job = yard.submit(R"({"task":"work"})");
    CHECK(yard.end_of(job) == row.status);
    const std::string results = yard.results(job);
    CAPTURE(results);
    CHECK(results.find(row.found) != std::string::npos);
  }
}

TEST_CASE("progress is seen while the task runs, and a cancelled task is told so") {
  Yard yard;
  std::atomic<bool> cancelled{false};
  std::atomic<int> refused{0};
  yard.does("long", [&](calyx_call* call, const calyx_input&) {
    const auto is_refused = [&](const std::string& text, const char* reason) {
      if (tell(call, text) == CALYX_INVALID && last_reason() == reason) ++refused;
    };
    is_refused("[1]", "field_type");
    is_refused("{", "not_json");
    is_refused("{\"x\":\"\xFF\"}", "not_utf8");
    is_refused(std::string(65'537, ' '), "too_large");
    if (calyx_call_progress(call, nullptr, 1) == CALYX_INVALID && last_reason() == "field_missing") ++refused;
    // It is told again and again, for the answer to that is how a worker hears of a cancel so soon.
    cancelled = waits_for([&] {
      if (tell(call, R"({"done":0.5})") != CALYX_OK) return true;
      return calyx_call_cancelled(call) == CALYX_STOPPED && last_reason() == "stopped";
    });
    return say(call, R"("too late")");
  });
  yard.work();
  const std::string job = yard.submit(R"({"task":"long"})");
  CHECK(waits_for([&] {
    return yard.get("/api/v1/jobs/" + job + "/tasks").find(R"("progress":{"done":0.5})") != std::string::npos;
  }));
  REQUIRE(ask(yard.engine, "PUT", "/api/v1/jobs/" + job + "/cancel", yard.op).http == 200);
  yard.stop();
  CHECK(cancelled);
  CHECK(refused == 5);
  CHECK(yard.status(job) == "cancelled");
  CHECK(yard.results(job).find("too late") == std::string::npos);
}

TEST_CASE("what an attempt keeps, the next one of its task finds") {
  const calyx::store::Scratch scratch;
  Yard yard((scratch / "m.db").c_str());
  std::vector<std::string> found;
  int wrong = 0;
  yard.does("tries", [&](calyx_call* call, const calyx_input& input) {
    calyx_text kept{};
    if (calyx_call_checkpoint(call, &kept) != CALYX_OK) ++wrong;
    found.emplace_back(kept.data, kept.size);
    if (kept.data == nullptr || kept.data[kept.size] != '\0') ++wrong;
    calyx_text_free(&kept);
    if (input.attempt == 1) {
      if (calyx_call_keep_checkpoint(call, "\0first\xFF", 7) != CALYX_OK) ++wrong;
    } else if (calyx_call_keep_checkpoint(call, nullptr, 0) != CALYX_OK) {
      ++wrong;
    }
    if (calyx_call_keep_checkpoint(call, nullptr, 1) != CALYX_INVALID || last_reason() != "field_missing")
      ++wrong;
    if (calyx_call_keep_checkpoint(call, "x", 67'108'865) != CALYX_INVALID || last_reason() != "too_large")
      ++wrong;
    return input.attempt < 3 ? 1 : 0;
  });
  yard.work();
  const std::string job = yard.submit(R"({"task":"tries","max_retries":2})");
  CHECK(yard.end_of(job) == "completed");
  yard.stop();
  CHECK(wrong == 0);
  CHECK(found == std::vector<std::string>{"", std::string("\0first\xFF", 7), ""});
}

TEST_CASE("a reply that could be neither a result nor an error is refused, and the one before stands") {
  Yard yard;
  std::vector<std::string> reasons;
  yard.does("work", [&](calyx_call* call, const calyx_input&) {
    static_cast<void>(say(call, R"("stands")"));
    const auto refused = [&](calyx_status status) {
      reasons.push_back(status == CALYX_INVALID ? last_reason() : "not refused");
    };
    refused(calyx_call_reply(call, nullptr, 0));
    refused(say(call, "\xC3"));
    refused(say(call, std::string("a\0b", 3)));
    refused(calyx_call_reply(call, "x", 67'108'865));
    refused(calyx_call_reply(call, "x", SIZE_MAX));
    return 0;
  });
  yard.work();
  const std::string job = yard.submit(R"({"task":"work"})");
  CHECK(yard.end_of(job) == "completed");
  CHECK(reasons ==
        std::vector<std::string>{"field_missing", "not_utf8", "zero_character", "too_large", "too_large"});
  CHECK(yard.results(job).find(R"("result":"stands")") != std::string::npos);
}

TEST_CASE("a call's handle stands as long as the call, for any thread, and no longer") {
  Yard yard;
  std::atomic<calyx_call*> kept{nullptr};
  std::atomic<bool> threads_may{false};
  std::atomic<bool> go{false};
  yard.does("work", [&](calyx_call* call, const calyx_input&) {
    kept = call;
    std::thread([&] { threads_may = tell(call, "{}") == CALYX_OK && say(call, "1") == CALYX_OK; }).join();
    // It is a call's, and nobody else's.
    const bool foreign = calyx_response_status(reinterpret_cast<calyx_response*>(call)) == 0 &&
                         calyx_call_cancelled(reinterpret_cast<calyx_call*>(yard.engine)) == CALYX_INVALID &&
                         calyx_call_cancelled(reinterpret_cast<calyx_call*>(yard.worker)) == CALYX_INVALID;
    waits_for([&] { return go.load(); });
    return foreign ? 0 : 1;
  });
  yard.work();
  const std::string job = yard.submit(R"({"task":"work"})");
  REQUIRE(waits_for([&] { return kept.load() != nullptr; }));
  CHECK(calyx_call_cancelled(kept) == CALYX_OK);
  go = true;
  CHECK(yard.end_of(job) == "completed");
  CHECK(threads_may);
  for (calyx_call* call : {kept.load(), static_cast<calyx_call*>(nullptr)}) {
    CHECK(calyx_call_cancelled(call) == CALYX_INVALID);
    CHECK(last_reason() == "handle_invalid");
    CHECK(tell(call, "{}") == CALYX_INVALID);
    CHECK(last_reason() == "handle_invalid");
    CHECK(say(call, "2") == CALYX_INVALID);
    CHECK(last_reason() == "handle_invalid");
  }
}

TEST_CASE("calls give their handles back: more of them pass than handles may stand") {
  constexpr int calls = 70'000;
  Yard yard;
  std::atomic<int> made{0};
  yard.does("work", [&](calyx_call*, const calyx_input&) {
    ++made;
    return 0;
  });
  yard.work(R"({"tasks_max":4096})");
  CHECK(yard.end_of(yard.submit(R"({"task":"work","fan_out":{"range_field":"n","chunks":)" +
                                std::to_string(calls) + R"(,"total":)" + std::to_string(calls) + "}}")) ==
        "completed");
  CHECK(made == calls);
}

TEST_CASE("threads that use a call while it ends are waited for, and told that it is over") {
  Yard yard;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  yard.does("work", [&](calyx_call* call, const calyx_input&) {
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, call] {
        calyx_status status = CALYX_OK;
        while (status == CALYX_OK) {
          status = say(call, "1");
          if (status == CALYX_OK) status = calyx_call_cancelled(call);
        }
        if (status != CALYX_INVALID || last_reason() != "handle_invalid") ++wrong;
      });
    return 0;
  });
  yard.work(R"({"tasks_max":1})");
  for (int i = 0; i < 10; ++i) CHECK(yard.end_of(yard.submit(R"({"task":"work"})")) == "completed");
  for (std::thread& thread : threads) thread.join();
  CHECK(threads.size() == 40);
  CHECK(wrong == 0);
}

TEST_CASE("a function may call calyx: it submits a job, reads, and registers") {
  Yard yard;
  std::atomic<int> http{0};
  Host other;
  other.function = [](calyx_call* call, const calyx_input&) { return say(call, "2"); };
  yard.does("first", [&](calyx_call* call, const calyx_input&) {
    const calyx_status registered =
        calyx_register(yard.engine, CALYX_KIND_TASK, R"({"name":"second"})", run, &other, nullptr);
    if (registered != CALYX_OK) return 1;
    const Said said = ask(yard.engine, "POST", "/api/v1/jobs", yard.op, R"({"task":"second"})");
    http = said.http;
    return say(call, "\"" + member(said.body, "job_id") + "\"");
  });
  yard.work();
  const std::string job = yard.submit(R"({"task":"first"})");
  CHECK(yard.end_of(job) == "completed");
  CHECK(http == 201);
  const std::string second = member(yard.results(job), "result");
  CHECK(yard.end_of(second) == "completed");
  CHECK(other.dropped == 0);
}

TEST_CASE("what was registered is dropped once: when it is replaced, or when its engine has gone") {
  Host first, second, refused;
  for (Host* host : {&first, &second, &refused})
    host->function = [](calyx_call*, const calyx_input&) { return 0; };
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  const auto put = [&](std::uint32_t kind, const char* options, Host& host) {
    return calyx_register(engine, kind, options, run, &host, drop);
  };
  CHECK(put(CALYX_KIND_TASK, R"({"name":"work"})", first) == CALYX_OK);
  CHECK(put(CALYX_KIND_TASK, R"({"name":"other"})", first) == CALYX_OK);  // each registration is one
  CHECK(first.dropped == 0);
  CHECK(put(CALYX_KIND_TASK, R"({"name":"work"})", second) == CALYX_OK);
  CHECK(first.dropped == 1);
  CHECK(put(CALYX_KIND_RECIPE, R"({"name":"work"})", second) == CALYX_OK);  // another kind, another name
  CHECK(second.dropped == 0);
  // What is refused stays the caller's.
  CHECK(put(CALYX_KIND_TASK, R"({"name":""})", refused) == CALYX_INVALID);
  CHECK(put(CALYX_KIND_CONTAINER, R"({"name":"work"})", refused) == CALYX_UNSUPPORTED);
  calyx_close(engine);
  CHECK(first.dropped == 2);
  CHECK(second.dropped == 2);
  CHECK(refused.dropped == 0);
  CHECK(put(CALYX_KIND_TASK, R"({"name":"work"})", refused) == CALYX_INVALID);
  CHECK(refused.dropped == 0);
}

TEST_CASE("a function that is replaced while it runs is dropped after its call") {
  Yard yard;
  std::atomic<bool> runs{false}, go{false};
  std::atomic<int> dropped_inside{-1};
  Host* first = nullptr;
  first = &yard.does("work", [&](calyx_call* call, const calyx_input&) {
    runs = true;
    waits_for([&] { return go.load(); });
    dropped_inside = first->dropped.load();
    return say(call, R"("first")");
  });
  yard.work();
  const std::string before = yard.submit(R"({"task":"work"})");
  REQUIRE(waits_for([&] { return runs.load(); }));
  Host& second =
      yard.does("work", [](calyx_call* call, const calyx_input&) { return say(call, R"("second")"); });
  CHECK(first->dropped == 0);
  go = true;
  CHECK(yard.end_of(before) == "completed");
  CHECK(yard.results(before).find(R"("result":"first")") != std::string::npos);
  CHECK(waits_for([&] { return first->dropped == 1; }));
  CHECK(dropped_inside == 0);
  const std::string after = yard.submit(R"({"task":"work"})");
  CHECK(yard.end_of(after) == "completed");
  CHECK(yard.results(after).find(R"("result":"second")") != std::string::npos);
  CHECK(second.dropped == 0);
}

TEST_CASE("inside drop calyx is refused but for what gives back; other threads may, for no lock is held") {
  struct Curious {
    calyx_engine* engine = nullptr;
    calyx_status asked = CALYX_OK, registered = CALYX_OK, elsewhere = CALYX_INTERNAL;
  } curious;
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  curious.engine = engine;
  const auto look = [](void* ctx) {
    auto& at = *static_cast<Curious*>(ctx);
    calyx_response* response = nullptr;
    at.asked = calyx_request(at.engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response);
    at.registered = calyx_register(at.engine, CALYX_KIND_TASK, R"({"name":"again"})", run, nullptr, nullptr);
    calyx_response_free(response);
    std::thread([&at] {
      at.elsewhere = calyx_register(at.engine, CALYX_KIND_TASK, R"({"name":"other"})", run, nullptr, nullptr);
    }).join();
  };
  REQUIRE(calyx_register(engine, CALYX_KIND_TASK, R"({"name":"work"})", run, &curious, look) == CALYX_OK);
  REQUIRE(calyx_register(engine, CALYX_KIND_TASK, R"({"name":"work"})", run, nullptr, nullptr) == CALYX_OK);
  CHECK(std::string(calyx_last_error()).empty());
  CHECK(curious.asked == CALYX_INVALID);
  CHECK(curious.registered == CALYX_INVALID);
  CHECK(curious.elsewhere == CALYX_OK);
  calyx_close(engine);
}

TEST_CASE("a recipe is listed with what was said of it, and does jobs") {
  Yard yard;
  Host host;
  host.function = [](calyx_call* call, const calyx_input& input) {
    return say(call, std::string(input.payload, input.payload_size));
  };
  REQUIRE(calyx_register(yard.engine, CALYX_KIND_RECIPE,
                         R"({"name":"mirror","summary":"Gives back what it is given.",)"
                         R"("payload_schema":{"type":"object","required":["x"]},"operations":["echo"],)"
                         R"("artifact_inputs":[],"class":"exact"})",
                         run, &host, nullptr) == CALYX_OK);
  const std::string listed = yard.get("/api/v1/recipes/mirror");
  CHECK(listed.find("Gives back what it is given.") != std::string::npos);
  CHECK(listed.find(R"({"type":"object","required":["x"]})") != std::string::npos);
  CHECK(listed.find(R"("class":"exact")") != std::string::npos);
  CHECK(listed.find(R"(["echo"])") != std::string::npos);
  yard.work();
  const Said said =
      ask(yard.engine, "POST", "/api/v1/recipes/mirror/jobs", yard.op, R"({"payload":{"x":1}})");
  REQUIRE_MESSAGE(said.http == 201, said.body);
  const Said refused =
      ask(yard.engine, "POST", "/api/v1/recipes/mirror/jobs", yard.op, R"({"payload":{"y":1}})");
  CHECK(refused.http == 422);
  CHECK(refused.body.find(R"("field":"/payload/x")") != std::string::npos);
  const std::string job = member(said.body, "job_id");
  CHECK(yard.end_of(job) == "completed");
  CHECK(yard.results(job).find(R"("result":{"x":1})") != std::string::npos);
  yard.stop();
}

TEST_CASE("a registration says what is wrong with it, and where") {
  Yard yard;
  struct Row {
    const char* says;
    std::uint32_t kind;
    const char* options;
    calyx_status status;
    const char* error;  // how it begins
  };
  const Row rows[] = {
      {"no options", CALYX_KIND_TASK, nullptr, CALYX_INVALID, "field_missing: options_json is NULL"},
      {"no JSON", CALYX_KIND_TASK, "{", CALYX_INVALID, "not_json: "},
      {"no object", CALYX_KIND_TASK, "7", CALYX_INVALID, "field_type: options_json is a number"},
      {"no name", CALYX_KIND_TASK, "{}", CALYX_INVALID, "field_missing: options_json/name is missing"},
      {"a name with a space", CALYX_KIND_TASK, R"({"name":"a b"})", CALYX_INVALID,
       "field_value: options_json/name "},
      {"what only a recipe has", CALYX_KIND_TASK, R"({"name":"a","summary":"b"})", CALYX_INVALID,
       "field_unknown: options_json/summary "},
      {"a recipe without a name", CALYX_KIND_RECIPE, R"({"summary":"b"})", CALYX_INVALID,
       "field_missing: options_json/name "},
      {"operations that are no texts", CALYX_KIND_RECIPE, R"({"name":"a","operations":[1]})", CALYX_INVALID,
       "field_type: options_json/operations"},
      {"a schema with a word that would judge and does not", CALYX_KIND_RECIPE,
       R"({"name":"a","payload_schema":{"pattern":"a"}})", CALYX_INVALID, "field_unknown: "},
      {"a class that is none", CALYX_KIND_RECIPE, R"({"name":"a","class":"perfect"})", CALYX_INVALID,
       "field_value: "},
      {"a member that nobody knows", CALYX_KIND_RECIPE, R"({"name":"a","sumary":"b"})", CALYX_INVALID,
       "field_unknown: options_json/sumary "},
      {"a settlement's name that is none", CALYX_KIND_SETTLEMENT, R"({"name":[]})", CALYX_INVALID,
       "field_type: options_json/name "},
      {"a transport of no ports", CALYX_KIND_TRANSPORT, R"({"ports":[443,0]})", CALYX_INVALID,
       "field_value: options_json/ports "},
      {"a port that is no list", CALYX_KIND_TRANSPORT, R"({"ports":443})", CALYX_INVALID,
       "field_value: options_json/ports "},
      {"a transport's rule that is none", CALYX_KIND_TRANSPORT, R"({"allow_https":true})", CALYX_INVALID,
       "field_unknown: options_json/allow_https "},
      {"container", CALYX_KIND_CONTAINER, "{}", CALYX_UNSUPPORTED, "unsupported: "},
      {"a data source's name", CALYX_KIND_DATA_SOURCE, R"({"name":"a"})", CALYX_INVALID,
       "field_unknown: options_json/name "},
      {"a kind of a later header", 7, "{}", CALYX_UNSUPPORTED, "unsupported: "},
      {"nothing", 0, "{}", CALYX_UNSUPPORTED, "unsupported: "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(calyx_register(yard.engine, row.kind, row.options, run, nullptr, nullptr) == row.status);
    const std::string error = calyx_last_error();
    CAPTURE(error);
    CHECK(error.find(row.error) == 0);
  }
  CHECK(calyx_register(yard.engine, CALYX_KIND_TASK, R"({"name":"a"})", nullptr, nullptr, nullptr) ==
        CALYX_INVALID);
  CHECK(last_reason() == "field_missing");
}

TEST_CASE("a worker's options say what is wrong with them, and where") {
  Yard yard;
  struct Row {
    const char* options;
    calyx_status status;
    const char* error;  // how it begins; empty: it starts
  };
  const Row rows[] = {
      {nullptr, CALYX_OK, ""},
      {"{}", CALYX_OK, ""},
      {R"({"name":"w","threads":2,"tasks_max":4096,"host_wallet_id":null,"gpu_types":["A100"],"commands":null,)"
       R"("has":{"cpu":4,"memory_mb":1024,"gpu_count":1,"gpu_memory_mb":81920,"storage_gb":1,"profile":"p"}})",
       CALYX_OK, ""},
      {"", CALYX_INVALID, "not_json: "},
      {"[]", CALYX_INVALID, "field_type: options_json is an array"},
      {R"({"thread":1})", CALYX_INVALID, "field_unknown: options_json/thread "},
      {R"({"threads":0})", CALYX_INVALID, "field_value: options_json/threads is 0, takes 1 to 1024"},
      {R"({"threads":1025})", CALYX_INVALID, "field_value: options_json/threads is 1025, takes 1 to 1024"},
      {R"({"threads":-1})", CALYX_INVALID, "field_value: options_json/threads is -1"},
      {R"({"threads":4294967297})", CALYX_INVALID, "field_value: options_json/threads is 4294967297"},
      {R"({"threads":"2"})", CALYX_INVALID, "field_type: options_json/threads "},
      {R"({"tasks_max":4097})", CALYX_INVALID, "field_value: options_json/tasks_max is 4097"},
      {R"({"name":""})", CALYX_INVALID, "field_value: options_json/name "},
      {R"({"name":"a b"})", CALYX_INVALID, "field_value: options_json/name "},
      {R"({"has":{"cpus":1}})", CALYX_INVALID, "field_unknown: options_json/has/cpus "},
      {R"({"has":[]})", CALYX_INVALID, "field_type: options_json/has is an array"},
      {R"({"host_wallet_id":"wlt_1"})", CALYX_NOT_FOUND, "wallet_unknown: "},
      {R"({"commands":{}})", CALYX_INVALID, "field_missing: options_json/commands/scratch "},
      {R"({"commands":{"scratch":"/tmp","containers":"none"}})", CALYX_REFUSED, "bare_host_refused: "},
      {R"({"commands":{"scratch":"/tmp","allow_bare_host":false,"containers":"none"}})", CALYX_REFUSED,
       "bare_host_refused: "},
      {R"({"commands":{"scratch":"/tmp","containers":"podman"}})", CALYX_INVALID,
       "options_invalid: options_json/commands/containers is podman, takes auto, none or an absolute path"},
      {R"({"commands":{"scratch":"/tmp","roots":{"a":3}}})", CALYX_INVALID,
       "field_type: options_json/commands/roots/a is a number, must be a string"},
      {R"({"commands":{"scratch":"/tmp","allow_bare_host":1}})", CALYX_INVALID,
       "field_type: options_json/commands/allow_bare_host is a number, must be true or false"},
      {R"({"commands":{"scratch":"/tmp","memory_mb":-1}})", CALYX_INVALID,
       "field_value: options_json/commands/memory_mb is -1"},
      {R"({"commands":{"scratch":"/tmp","cache_mb":-1}})", CALYX_INVALID,
       "field_value: options_json/commands/cache_mb is -1"},
      {R"({"commands":{"scratch":"/tmp","allow_bare_host":true,"containers":"none","caches":"here"}})",
       CALYX_INVALID, "options_invalid: options_json/commands/caches "},
      {R"({"commands":{"scratch":"/tmp","user":{"user":65534}}})", CALYX_INVALID,
       "field_missing: options_json/commands/user/group "},
      {R"({"commands":{"scratch":"/tmp","user":{"user":-1,"group":1}}})", CALYX_INVALID,
       "field_value: options_json/commands/user/user is -1"},
      {R"({"commands":{"scratch":"/tmp","bare":true}})", CALYX_INVALID,
       "field_unknown: options_json/commands/bare "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.options);
    calyx_worker* worker = reinterpret_cast<calyx_worker*>(std::uintptr_t{0xBAD});
    CHECK(calyx_worker_start(yard.engine, row.options, &worker) == row.status);
    const std::string error = calyx_last_error();
    CAPTURE(error);
    CHECK(error.find(row.error) == 0);
    CHECK((worker == nullptr) == (row.status != CALYX_OK));
    calyx_worker_stop(worker);
  }
}

TEST_CASE("a worker that two threads give back stops once") {
  for (int round = 0; round < 20; ++round) {
    Yard yard;
    yard.does("work", [](calyx_call*, const calyx_input&) { return 0; });
    yard.work(R"({"threads":2})");
    static_cast<void>(yard.submit(R"({"task":"work","fan_out":{"chunks":9,"range_field":"n","total":9}})"));
    calyx_worker* const worker = std::exchange(yard.worker, nullptr);
    std::thread other([&] { calyx_worker_stop(worker); });
    calyx_worker_stop(worker);
    other.join();
    calyx_worker_stop(worker);
    CHECK(std::string(calyx_last_error()).empty());
  }
}

TEST_CASE(
    "inside a function a worker is only asked to stop, and still stands for who gives it back outside") {
  Yard yard;
  std::atomic<bool> told{false};
  yard.does("work", [&](calyx_call* call, const calyx_input& input) {
    if (input.index != 0) return 0;
    if (calyx_call_cancelled(call) != CALYX_OK) return 1;
    calyx_worker_stop(yard.worker);
    const bool says_so = last_reason() == "handle_invalid";
    calyx_worker_stop(yard.worker);
    told = says_so && calyx_call_cancelled(call) == CALYX_STOPPED;
    return say(call, R"("the last one")");
  });
  yard.work();
  const std::string job =
      yard.submit(R"({"task":"work","fan_out":{"chunks":3,"range_field":"n","total":3}})");
  // The task that asked ends, and the rest is for others.
  CHECK(waits_for([&] { return yard.results(job).find("the last one") != std::string::npos; }));
  CHECK(told);
  CHECK(member(yard.get("/api/v1/jobs/" + job), "completed") == "1");
  yard.stop();
  yard.work();
  CHECK(yard.end_of(job) == "completed");
}

TEST_CASE("a clock that gives its worker back asks it to stop, and waits for nothing") {
  struct Clock {
    std::atomic<calyx_worker*> worker{nullptr};
    std::atomic<int> asked{0};
  } clock;
  calyx_options options = CALYX_OPTIONS_INIT;
  options.ctx = &clock;
  options.now_us = [](void* ctx) -> std::int64_t {
    auto& of = *static_cast<Clock*>(ctx);
    if (of.worker != nullptr) {
      calyx_worker_stop(of.worker);
      ++of.asked;
    }
    return 1'775'077'200'000'000;
  };
  Market market(&options);
  calyx_worker* worker = nullptr;
  REQUIRE(calyx_worker_start(market.get(), nullptr, &worker) == CALYX_OK);
  clock.worker = worker;
  CHECK(ask(market.get(), "GET", "/v1/wallets", operator_key(market.get())).http == 200);
  CHECK(waits_for([&] { return clock.asked > 0; }));
  clock.worker = nullptr;
  calyx_worker_stop(worker);
}

TEST_CASE("an engine that is closed asks its workers to stop, and they hold it until they are given back") {
  char folder[] = "/tmp/calyx-register-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/market.db";
  calyx_options options = CALYX_OPTIONS_INIT;
  options.path = path.c_str();
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(&options, &engine) == CALYX_OK);
  const std::string op = operator_key(engine);
  std::atomic<bool> runs{false}, stopped{false};
  std::atomic<calyx_status> inside{CALYX_OK};
  Host host;
  host.function = [&](calyx_call* call, const calyx_input&) {
    runs = true;
    stopped = waits_for([&] { return calyx_call_cancelled(call) == CALYX_STOPPED; });
    calyx_text text{nullptr, 0};
    inside = calyx_public_key(engine, &text);
    return say(call, R"("done all the same")");
  };
  REQUIRE(calyx_register(engine, CALYX_KIND_TASK, R"({"name":"work"})", run, &host, drop) == CALYX_OK);
  calyx_worker* worker = nullptr;
  REQUIRE(calyx_worker_start(engine, nullptr, &worker) == CALYX_OK);
  const Said said = ask(engine, "POST", "/api/v1/jobs", op, R"({"task":"work"})");
  REQUIRE(said.http == 201);
  REQUIRE(waits_for([&] { return runs.load(); }));
  calyx_close(engine);
  CHECK(waits_for([&] { return stopped.load(); }));
  CHECK(host.dropped == 0);
  calyx_worker_stop(worker);
  CHECK(inside == CALYX_INVALID);
  CHECK(host.dropped == 1);

  // What the task came to stands.
  REQUIRE(calyx_open(&options, &engine) == CALYX_OK);
  const Said results = ask(engine, "GET", "/api/v1/results/" + member(said.body, "job_id"), op);
  CHECK(results.body.find("done all the same") != std::string::npos);
  calyx_close(engine);
  for (const char* suffix : {"", "-wal", "-shm", "-gate", "-keys"}) ::unlink((path + suffix).c_str());
  ::rmdir(folder);
}

TEST_CASE("a function may close its own engine") {
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  const std::string op = operator_key(engine);
  std::atomic<bool> closed{false};
  Host host;
  host.function = [&](calyx_call* call, const calyx_input&) {
    calyx_close(engine);
    closed = calyx_call_cancelled(call) == CALYX_STOPPED;
    return 0;
  };
  REQUIRE(calyx_register(engine, CALYX_KIND_TASK, R"({"name":"work"})", run, &host, drop) == CALYX_OK);
  calyx_worker* worker = nullptr;
  REQUIRE(calyx_worker_start(engine, R"({"threads":2})", &worker) == CALYX_OK);
  REQUIRE(ask(engine, "POST", "/api/v1/jobs", op, R"({"task":"work"})").http == 201);
  CHECK(waits_for([&] { return closed.load(); }));
  calyx_worker_stop(worker);
  CHECK(host.dropped == 1);
}

TEST_CASE(
    "in a forked child nothing runs: its parent's worker does nothing there, and goes on in the parent") {
  Yard yard;
  Host& host = yard.does("work", [](calyx_call*, const calyx_input&) { return 0; });
  yard.work();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(10);  // a thread that only the parent has would be waited for without an end
    int wrong = 0;
    const auto expect = [&wrong](bool holds) { wrong += holds ? 0 : 1; };
    expect(calyx_register(yard.engine, CALYX_KIND_TASK, R"({"name":"work"})", run, &host, drop) ==
           CALYX_UNAVAILABLE);
    expect(last_reason() == "forked");
    calyx_worker* worker = nullptr;
    expect(calyx_worker_start(yard.engine, nullptr, &worker) == CALYX_UNAVAILABLE);
    calyx_worker_stop(yard.worker);
    calyx_close(yard.engine);
    expect(host.dropped == 0);
#ifndef __SANITIZE_THREAD__  // which knows no new threads in the child of a process that had some
    calyx_engine* own = nullptr;
    expect(calyx_open(nullptr, &own) == CALYX_OK);
    expect(calyx_worker_start(own, nullptr, &worker) == CALYX_OK);
    calyx_worker_stop(worker);
    calyx_close(own);
#endif
    ::_exit(wrong);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(yard.end_of(yard.submit(R"({"task":"work"})")) == "completed");
}
