/// \file
/// Memory runs out at every allocation of a request, by the wire's door in C++ and by the C ABI: the caller
/// is told or the exception passes, nothing is half done, and the same request then gives what it should.
#include <calyx.h>
#include <doctest/doctest.h>

#include <calyx/request.hpp>
#include <new>

#include "engine_story.hpp"
#include "fault_alloc.hpp"

namespace calyx::faults {
namespace {

/// What came of a request: a status as in HTTP, or 0 where it was not answered at all.
struct Said {
  int status = 0;
  std::string body;
};

/// A market, and somebody who asks it by one door. Nothing that `ask` is given is allocated while it runs.
struct Door {
  std::string says;
  std::function<Said(const char* method, const std::string& target, const std::string& body)> ask;
};

/// Starves one request at allocation 1, 2, 3, … until it goes through; `make` gives the n-th, each with a job
/// of its own. Empty when all is well.
std::string starve_request(const Door& door, const char* method,
                           const std::function<std::pair<std::string, std::string>(std::uint64_t)>& make,
                           std::uint64_t& cases) {
  for (const bool persistent : {false, true})
    for (std::uint64_t n = 1;; ++n) {
      const auto [target, body] = make(2 * n + (persistent ? 1 : 0));
      Said said;
      AllocScope scope({.fail_at = n, .persistent = persistent});
      bool threw = false;
      try {
        said = door.ask(method, target, body);
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      scope.stop();
      ++cases;
      const bool fired = scope.fired() > 0;
      const auto say = [&](const std::string& what) {
        return door.says + ", " + method + " " + target.substr(0, 60) + ", allocation " + std::to_string(n) +
               (persistent ? " and after: " : ": ") + (threw ? "threw" : std::to_string(said.status)) + " " +
               said.body.substr(0, 200) + ": " + what;
      };
      const bool refused = threw || said.status == 0 || said.status == 503;
      if (!fired && refused) return say("fails with memory enough");
      if (!refused && said.status / 100 != 2) return say("another answer than memory");
      // The same again is the answer; what was answered already is not done twice.
      Said again = door.ask(method, target, body);
      // In a bulk the mark of a replay stands in the body.
      constexpr std::string_view mark = R"(,"replayed":true)";
      for (std::size_t at = 0; (at = again.body.find(mark)) != std::string::npos;)
        again.body.erase(at, mark.size());
      if (again.status / 100 != 2) return say("then " + std::to_string(again.status) + " " + again.body);
      if (!refused && body.find("job_id") != std::string::npos && again.body != said.body)
        return say("and again " + again.body);
      if (!fired) break;
    }
  return {};
}

struct Names {
  std::string payer, host, receipt;
};

/// The requests that are starved: a lookup, a lock, a settlement, a bulk, an export, a verification.
std::string starve_door(const Door& door, std::uint64_t& cases) {
  const auto need = [&](const char* method, const std::string& target, const std::string& body) {
    const Said said = door.ask(method, target, body);
    if (said.status / 100 != 2) throw std::runtime_error(target + ": " + said.body);
    return *read_json(said.body);
  };
  const auto make_wallet = [&](const char* owner) {
    const auto value =
        need("POST", "/v1/wallets", R"({"owner_type":"human","owner_id":")" + std::string(owner) + "\"}");
    return *value.find("id")->string();
  };
  Names of;
  of.payer = make_wallet("payer");
  of.host = make_wallet("host");
  need("POST", "/v1/wallets/" + of.payer + "/topup", R"({"amount":1000000})");
  const auto job = [](std::uint64_t i) { return "\"job-" + std::to_string(i) + "\""; };
  const auto spend_of = [&](const std::string& name) {
    return R"({"job_id":)" + name + R"(,"amount":2.5,"host_wallet_id":")" + of.host + "\"}";
  };
  const auto earn_of = [&](const std::string& name) {
    return R"({"job_id":)" + name + R"(,"gross_amount":"1.25","output_hash":"sha256:)" +
           std::string(64, 'a') + R"(","gpu_model":"H100","duration_seconds":12})";
  };
  const std::string spend_path = "/v1/wallets/" + of.payer + "/spend";
  const std::string earn_path = "/v1/wallets/" + of.host + "/earn";
  need("POST", spend_path, spend_of("\"first\""));
  const auto earned = need("POST", earn_path, earn_of("\"first\""));
  of.receipt = *earned.find("receipt_id")->string();
  const auto shown = need("GET", "/v1/receipts/" + of.receipt, {});
  const std::string presented = core::json::text(shown);

  using Made = std::pair<std::string, std::string>;
  std::string fault;
  const auto starve = [&](const char* method, const std::function<Made(std::uint64_t)>& make) {
    if (fault.empty()) fault = starve_request(door, method, make, cases);
  };
  starve("GET", [&](std::uint64_t) { return Made("/v1/wallets/" + of.payer, ""); });
  starve("POST", [&](std::uint64_t i) { return Made(spend_path, spend_of(job(i))); });
  starve("POST", [&](std::uint64_t i) {
    const std::string name = job(1'000'000 + i);
    need("POST", spend_path, spend_of(name));
    return Made(earn_path, earn_of(name));
  });
  starve("POST", [&](std::uint64_t i) {
    return Made("/v1/bulk", R"({"operations":[{"op":"spend","wallet_id":")" + of.payer + R"(","job_id":)" +
                                job(2'000'000 + i) + R"(,"amount":1},{"op":"release","wallet_id":")" +
                                of.payer + R"(","job_id":)" + job(2'000'000 + i) + "}]}");
  });
  starve("POST", [&](std::uint64_t) { return Made("/v1/receipts/verify", presented); });
  starve("GET", [&](std::uint64_t) { return Made("/v1/wallets/" + of.payer + "/entries?limit=5", ""); });
  if (!fault.empty()) return fault;
  const auto report = need("GET", "/v1/audit", {});
  if (report.find("ok") == nullptr || core::json::text(*report.find("ok")) != "true")
    return "the audit says " + core::json::text(report);
  return {};
}

}  // namespace

TEST_CASE("memory may run out at any allocation of a request by the wire") {
  Disk disk;
  Stage stage(disk);
  REQUIRE(stage.open(60).ok());
  const std::string key = stage.engine().issue_operator_key("tests").value().api_key;
  const Door door{
      "handle", [&](const char* method, const std::string& target, const std::string& body) {
        const Response response = handle(stage.engine(), {method, target, {{"X-API-Key", key}}, body});
        return Said{response.status, response.body};
      }};
  std::uint64_t cases = 0;
  const std::string fault = starve_door(door, cases);
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(find_broken_rule(disk, Depth::pages) == "");
  testing::told("points where memory ran out in requests by the wire", cases);
}

TEST_CASE("memory may run out at any allocation of a request by the C ABI, which lets nothing pass") {
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  calyx_text key{};
  REQUIRE(calyx_issue_operator_key(engine, "tests", &key) == CALYX_OK);
  const std::string headers = R"({"X-API-Key":")" + std::string(key.data, key.size) + "\"}";
  bool threw = false;
  const Door door{"calyx_request",
                  [&](const char* method, const std::string& target, const std::string& body) {
                    calyx_response* response = nullptr;
                    Said said;
                    calyx_status status = CALYX_INTERNAL;
                    try {
                      status = calyx_request(engine, method, target.c_str(), headers.c_str(), body.data(),
                                             body.size(), &response);
                    } catch (...) {
                      threw = true;
                    }
                    if (status != CALYX_OK) {
                      if (status != CALYX_UNAVAILABLE && status != CALYX_UNKNOWN) said.status = 500;
                      if (response != nullptr) said.status = 599;  // nothing may come out with an error
                      return said;
                    }
                    said.status = calyx_response_status(response);
                    std::size_t size = 0;
                    const void* bytes = calyx_response_body(response, &size);
                    {
                      const AllocPause pause;  // this copy is the test's own
                      said.body.assign(static_cast<const char*>(bytes), size);
                    }
                    calyx_response_free(response);
                    return said;
                  }};
  std::uint64_t cases = 0;
  const std::string fault = starve_door(door, cases);
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK_FALSE(threw);
  calyx_text_free(&key);
  calyx_close(engine);
  testing::told("points where memory ran out in requests by the C ABI", cases);
}

}  // namespace calyx::faults
