// How long things live: handles across threads and forks, responses beyond their engine, texts, the error.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "market.hpp"

using namespace calyx_tests;

namespace {

constexpr std::size_t handles_max = 65536;

calyx_response* keys_of(calyx_engine* engine) {
  calyx_response* response = nullptr;
  const calyx_status status =
      calyx_request(engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response);
  REQUIRE_MESSAGE(status == CALYX_OK, calyx_last_error());
  return response;
}

/// Runs `work`, which counts what went wrong, in a forked child that has ten seconds.
template <class Work>
int faults_in_child(Work work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(10);  // a lock that the parent held would be waited for without an end
    ::_exit(work());
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

}  // namespace

TEST_CASE("a response outlives its engine") {
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  calyx_response* response = keys_of(engine);
  calyx_close(engine);
  CHECK(calyx_response_status(response) == 200);
  std::size_t size = 0;
  const char* body = static_cast<const char*>(calyx_response_body(response, &size));
  REQUIRE(body != nullptr);
  CHECK(std::strlen(body) == size);
  CHECK(std::string(calyx_response_headers(response)).front() == '{');
  calyx_response_free(response);
  CHECK(calyx_response_status(response) == 0);
}

TEST_CASE("a body that is not streamed comes in one piece, and then its end") {
  Market market;
  calyx_response* response = keys_of(market.get());
  std::size_t whole = 0;
  const void* body = calyx_response_body(response, &whole);
  const void* piece = nullptr;
  std::size_t size = 0;
  CHECK(calyx_response_next(response, 0, &piece, &size) == CALYX_OK);
  CHECK(size == whole);
  CHECK(std::memcmp(piece, body, size) == 0);
  for (const std::uint32_t timeout_ms : {0u, 1u, UINT32_MAX}) {
    CHECK(calyx_response_next(response, timeout_ms, &piece, &size) == CALYX_OK);
    CHECK(size == 0);
    CHECK(piece == nullptr);
  }
  calyx_response_free(response);
}

namespace {

/// A stream of a new job, whose key is `op`.
calyx_response* stream_of(calyx_engine* engine, const std::string& op, std::string* job = nullptr) {
  const Said submitted = ask(engine, "POST", "/api/v1/jobs", op, R"({"task":"t"})");
  REQUIRE_MESSAGE(submitted.http == 201, submitted.body);
  const std::string id = member(submitted.body, "job_id");
  if (job != nullptr) *job = id;
  calyx_response* response = nullptr;
  const std::string headers = "{\"X-API-Key\":\"" + op + "\"}";
  REQUIRE(calyx_request(engine, "GET", ("/api/v1/jobs/" + id + "/stream").c_str(), headers.c_str(), nullptr,
                        0, &response) == CALYX_OK);
  REQUIRE(calyx_response_status(response) == 200);
  return response;
}

}  // namespace

TEST_CASE("a body that is streamed comes piece by piece, with nothing yet between, and ends") {
  Market market;
  const std::string op = operator_key(market.get());
  std::string job;
  calyx_response* response = stream_of(market.get(), op, &job);
  CHECK(std::string(calyx_response_headers(response)).find("text/event-stream") != std::string::npos);
  std::size_t size = 7;
  const void* piece = nullptr;
  CHECK(calyx_response_body(response, &size) != nullptr);
  CHECK(size == 0);
  const auto next = [&](std::uint32_t timeout_ms) {
    CHECK(calyx_response_next(response, timeout_ms, &piece, &size) == CALYX_OK);
    if (piece != nullptr) CHECK(static_cast<const char*>(piece)[size] == '\0');
    return std::string(static_cast<const char*>(piece), size);
  };
  CHECK(next(0) == "retry: 2000\n\n");
  CHECK(next(0).find("event: submitted\n") != std::string::npos);
  for (const std::uint32_t timeout_ms : {0u, 20u}) {
    CHECK(calyx_response_next(response, timeout_ms, &piece, &size) == CALYX_UNAVAILABLE);
    CHECK(piece == nullptr);
    CHECK(size == 0);
    CHECK(std::string(calyx_last_error()).empty());
  }
  REQUIRE(ask(market.get(), "PUT", "/api/v1/jobs/" + job + "/cancel", op).http == 200);
  CHECK(next(20'000).find("event: end\n") != std::string::npos);
  for (const std::uint32_t timeout_ms : {0u, UINT32_MAX}) {
    CHECK(calyx_response_next(response, timeout_ms, &piece, &size) == CALYX_OK);
    CHECK(size == 0);
    CHECK(piece == nullptr);
  }
  calyx_response_free(response);
}

TEST_CASE("a stream that waits ends with its engine, and no second thread waits on it") {
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  calyx_response* response = stream_of(engine, operator_key(engine));
  const void* piece = nullptr;
  std::size_t size = 0;
  for (int i = 0; i < 2; ++i) REQUIRE(calyx_response_next(response, 0, &piece, &size) == CALYX_OK);

  std::atomic<calyx_status> waited{CALYX_INTERNAL};
  std::thread waiting([&] {
    const void* late = nullptr;
    std::size_t bytes = 7;
    do {  // the one who looks below may be in the way
      waited = calyx_response_next(response, UINT32_MAX, &late, &bytes);
    } while (waited == CALYX_INVALID);
    if (bytes != 0) waited = CALYX_INTERNAL;
  });
  // Until the other has begun to wait this answers that there is nothing yet.
  calyx_status meanwhile = CALYX_UNAVAILABLE;
  while (meanwhile == CALYX_UNAVAILABLE) meanwhile = calyx_response_next(response, 0, &piece, &size);
  CHECK(meanwhile == CALYX_INVALID);
  CHECK(last_reason() == "handle_invalid");
  calyx_close(engine);
  waiting.join();
  CHECK(waited == CALYX_OK);
  CHECK(calyx_response_next(response, UINT32_MAX, &piece, &size) == CALYX_OK);
  CHECK(size == 0);
  calyx_response_free(response);
}

TEST_CASE("a clock that closes the engine while a stream looks ends both") {
  calyx_engine* engine = nullptr;
  struct Clock {
    calyx_engine** engine;
    std::atomic<bool> closes{false};
  } clock{&engine};
  calyx_options options = CALYX_OPTIONS_INIT;
  options.ctx = &clock;
  options.now_us = [](void* ctx) -> std::int64_t {
    auto* of = static_cast<Clock*>(ctx);
    if (of->closes) calyx_close(*of->engine);
    return 1'775'077'200'000'000;
  };
  REQUIRE(calyx_open(&options, &engine) == CALYX_OK);
  calyx_response* response = stream_of(engine, operator_key(engine));
  const void* piece = nullptr;
  std::size_t size = 0;
  CHECK(calyx_response_next(response, 0, &piece, &size) == CALYX_OK);
  clock.closes = true;
  calyx_status status = CALYX_OK;
  do {
    status = calyx_response_next(response, 20'000, &piece, &size);
  } while (status == CALYX_OK && size != 0);
  CHECK(status == CALYX_OK);
  CHECK(calyx_public_key(engine, nullptr) == CALYX_INVALID);
  calyx_response_free(response);
}

TEST_CASE("a handle is never given out twice while a program could still hold the old one") {
  Market market;
  calyx_response* const first = keys_of(market.get());
  calyx_response_free(first);
  for (int i = 0; i < 1000; ++i) {
    calyx_response* const next = keys_of(market.get());
    CHECK(next != first);
    CHECK(calyx_response_status(first) == 0);
    calyx_response_free(next);
  }
}

TEST_CASE(
    "so many handles may stand and no more, and a request without a place for its answer does nothing") {
  Market market;
  const std::string op = operator_key(market.get());
  std::vector<calyx_response*> held;
  held.reserve(handles_max);
  while (held.size() < handles_max - 1) {  // the market is one
    calyx_response* response = nullptr;
    if (calyx_request(market.get(), "GET", "/v1/nothing", nullptr, nullptr, 0, &response) != CALYX_OK) break;
    held.push_back(response);
  }
  CHECK(held.size() == handles_max - 1);
  const Said refused =
      ask(market.get(), "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"one"})");
  CHECK(refused.status == CALYX_UNAVAILABLE);
  CHECK(last_reason() == "no_memory");
  calyx_engine* engine = nullptr;
  CHECK(calyx_open(nullptr, &engine) == CALYX_UNAVAILABLE);
  calyx_response_free(held.back());
  held.pop_back();
  const Said listed = ask(market.get(), "GET", "/v1/wallets", op);
  CHECK(listed.http == 200);
  CHECK(listed.body.find("\"one\"") == std::string::npos);
  for (calyx_response* response : held) calyx_response_free(response);
}

TEST_CASE("the error describes the last call of its own thread, and is gone with the next") {
  Market market;
  CHECK(calyx_response_status(nullptr) == 0);
  CHECK(last_reason() == "handle_invalid");
  std::thread([] {
    CHECK(std::string(calyx_last_error()) == "");
    calyx_text text{nullptr, 0};
    CHECK(calyx_public_key(nullptr, &text) == CALYX_INVALID);
    CHECK(std::string(calyx_last_error()) == "handle_invalid: engine is NULL");
  }).join();
  CHECK(std::string(calyx_last_error()) == "handle_invalid: response is NULL");
  CHECK(calyx_abi_version() == CALYX_ABI_VERSION);
  CHECK(std::string(calyx_version()).find('.') != std::string::npos);
  CHECK(last_reason() == "handle_invalid");
  calyx_response* response = keys_of(market.get());
  CHECK(std::string(calyx_last_error()) == "");
  CHECK(calyx_response_status(nullptr) == 0);
  calyx_response_free(response);
  CHECK(std::string(calyx_last_error()) == "");
}

TEST_CASE("a long error is cut between two characters") {
  Market market;
  std::string headers = "{\"";
  for (int i = 0; i < 2000; ++i) headers += "\xC3\xA9";
  headers += "\":1}";
  for (int shift = 0; shift < 2; ++shift) {  // one of the two puts the cut inside a character
    headers.insert(2, static_cast<std::size_t>(shift), 'x');
    calyx_response* response = nullptr;
    CHECK(calyx_request(market.get(), "GET", "/", headers.c_str(), nullptr, 0, &response) == CALYX_INVALID);
    const std::string text = calyx_last_error();
    CHECK(text.size() >= 1022);
    CHECK(text.size() <= 1023);
    CHECK(static_cast<unsigned char>(text[text.size() - 1]) == 0xA9);
    CHECK(static_cast<unsigned char>(text[text.size() - 2]) == 0xC3);
  }
}

TEST_CASE("threads share an engine, and one that closes it disturbs no call under way") {
  for (int round = 0; round < 5; ++round) {
    calyx_engine* engine = nullptr;
    REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
    std::atomic<int> answered{0};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (;;) {
          calyx_response* response = nullptr;
          const calyx_status status =
              calyx_request(engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response);
          if (status == CALYX_INVALID) break;
          if (status != CALYX_OK || calyx_response_status(response) != 200) ++wrong;
          calyx_response_free(response);
          ++answered;
        }
        calyx_response* response = nullptr;
        if (calyx_request(engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response) !=
            CALYX_INVALID)
          ++wrong;
      });
    }
    while (answered < 100) std::this_thread::yield();
    calyx_close(engine);
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    calyx_close(engine);
  }
}

TEST_CASE("what one thread opens another uses and gives back") {
  calyx_engine* engine = nullptr;
  std::thread([&] { CHECK(calyx_open(nullptr, &engine) == CALYX_OK); }).join();
  calyx_response* response = nullptr;
  std::thread([&] { response = keys_of(engine); }).join();
  CHECK(calyx_response_status(response) == 200);
  std::thread([&] {
    calyx_response_free(response);
    calyx_close(engine);
  }).join();
  CHECK(calyx_response_status(response) == 0);
  calyx_text text{nullptr, 0};
  CHECK(calyx_public_key(engine, &text) == CALYX_INVALID);
}

TEST_CASE("in a forked child what the parent opened is unavailable, and the child opens its own") {
  Market market;
  calyx_engine* const engine = market.get();
  calyx_response* const response = keys_of(engine);
  calyx_text text{nullptr, 0};
  REQUIRE(calyx_public_key(engine, &text) == CALYX_OK);
  const int faults = faults_in_child([&] {
    int wrong = 0;
    const auto expect = [&wrong](bool holds) { wrong += holds ? 0 : 1; };
    calyx_response* made = nullptr;
    expect(calyx_request(engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &made) ==
           CALYX_UNAVAILABLE);
    expect(last_reason() == "forked");
    expect(made == nullptr);
    calyx_text out{nullptr, 0};
    expect(calyx_public_key(engine, &out) == CALYX_UNAVAILABLE);
    expect(calyx_issue_operator_key(engine, "child", &out) == CALYX_UNAVAILABLE);
    calyx_worker* worker = nullptr;
    expect(calyx_worker_start(engine, nullptr, &worker) == CALYX_UNAVAILABLE);
    expect(calyx_response_status(response) == 0);
    expect(last_reason() == "forked");
    expect(calyx_response_headers(response) == nullptr);
    std::size_t size = 7;
    expect(calyx_response_body(response, &size) == nullptr);
    expect(size == 0);
    const void* piece = nullptr;
    expect(calyx_response_next(response, 0, &piece, &size) == CALYX_UNAVAILABLE);
    expect(calyx_response_status(nullptr) == 0 && last_reason() == "handle_invalid");
    calyx_response_free(response);
    calyx_close(engine);
    calyx_text_free(&text);  // its letters are the child's own copy

    calyx_engine* own = nullptr;
    expect(calyx_open(nullptr, &own) == CALYX_OK);
    expect(own != engine);
    expect(calyx_request(own, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &made) == CALYX_OK);
    expect(calyx_response_status(made) == 200);
    calyx_response_free(made);
    calyx_close(own);
    expect(calyx_public_key(own, &out) == CALYX_INVALID);
    return wrong;
  });
  CHECK(faults == 0);
  // The parent has noticed nothing.
  CHECK(calyx_response_status(response) == 200);
  CHECK(ask(engine, "GET", "/v1/receipts/keys").http == 200);
  CHECK(text.size > 0);
  calyx_text_free(&text);
  calyx_response_free(response);
}

TEST_CASE("a child forked while other threads are inside calyx waits for none of them") {
  Market market;
  calyx_response* const response = keys_of(market.get());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) static_cast<void>(calyx_response_status(response));
    });
  }
  for (int i = 0; i < 50; ++i) {
    const int faults = faults_in_child([&] {
      calyx_response* made = nullptr;
      const bool refused =
          calyx_request(market.get(), "GET", "/", nullptr, nullptr, 0, &made) == CALYX_UNAVAILABLE;
      return refused && calyx_response_status(response) == 0 ? 0 : 1;
    });
    CHECK(faults == 0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  calyx_response_free(response);
}
