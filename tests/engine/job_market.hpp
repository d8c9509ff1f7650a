/// \file
/// A market with a price, a payer and a clock that the test moves, for tests of jobs.
#pragma once

#include <doctest/doctest.h>

#include <calyx/calyx.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "testing.hpp"

namespace calyx::testing {

namespace json = core::json;

struct JobMarket {
  std::int64_t now_us = 1'800'000'000'000'000;
  std::mutex dice_mutex;
  Dice dice{20261128};
  Engine engine;
  Session all;
  WalletId payer;

  explicit JobMarket(Options options = {})
      : engine(Engine::open(with_clock(std::move(options))).value()),
        all(engine.as_operator()),
        payer(all.create_wallet({.owner_id = "payer"}).value().wallet.id) {
    CHECK(all.topup({.wallet = payer, .amount = Money{1'000'000'000}}).ok());
  }
  Options with_clock(Options options) {
    options.now_us = [this] { return now_us; };
    // Pauses before another try are drawn: the same ones each time, and never one of nothing by chance.
    if (!options.random)
      options.random = [this](void* out, std::size_t size) {
        const std::lock_guard lock(dice_mutex);
        for (std::size_t i = 0; i < size; ++i)
          static_cast<unsigned char*>(out)[i] = static_cast<unsigned char>(dice.next() >> 56);
        return true;
      };
    return options;
  }

  void pass(std::int64_t seconds) { now_us += seconds * core::us_per_second; }
  /// A second of any task costs `micro` from now on.
  void price(std::int64_t micro) { CHECK(all.set_prices({.base = Money{micro}}).ok()); }

  /// A job of `tasks` tasks of the host's function `work`, with these members more.
  static json::Object job(std::int64_t tasks, std::vector<json::Member> more = {}) {
    json::Object out;
    out.set("task", "work").set("timeout_s", 10);
    out.set("fan_out", json::object({{"chunks", tasks}, {"range_field", "n"}, {"total", tasks}}));
    for (json::Member& member : more) out.set(member.key, std::move(member.value));
    return out;
  }
  JobId submit(json::Object job) {
    Result<JobSubmitted> submitted = all.submit_job({.job = std::move(job), .wallet = payer});
    REQUIRE_MESSAGE(submitted.ok(), submitted.error().message);
    return submitted->id;
  }
  Job now(JobId id) { return all.job(id).value(); }
  Lease lease(std::uint64_t most = 1, std::string worker = "w") {
    return all.lease_tasks({.worker = std::move(worker), .tasks = {"work"}, .tasks_max = most}).value();
  }
  /// Reports that the first task of `lease` took `ms` of the market's time and gave its index, or failed.
  Result<Reported> done(const Lease& lease, std::uint64_t tasks = 1, std::int64_t ms = 0,
                        JobFailure failure = JobFailure::none) {
    now_us += ms * 1000;
    Report report{.token = lease.token};
    for (std::uint64_t i = 0; i < tasks; ++i)
      report.outcomes.push_back({.failure = failure,
                                 .result = json::Value(lease.first + i),
                                 .error = failure == JobFailure::none ? "" : "it did not work",
                                 .ran_ms = ms});
    return all.report_tasks(report);
  }
  Money balance() { return all.wallet(payer).value().balance; }
  Money held() { return all.wallet(payer).value().held; }
  /// Nothing is lost, and the books say so.
  void check_books() {
    const AuditReport report = all.audit({}, AuditDepth::each).value();
    CHECK_MESSAGE(report.ok, report.first_fault);
  }
};

}  // namespace calyx::testing
