#include <doctest/doctest.h>

#include <calyx/engine.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/market.hpp"
#include "engine/waits.hpp"
#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::monotonic_us;
using store::Scratch;
using testing::Waiting;

namespace {

const Principal all{};
/// How often calls are made to wait together until they share a batch: that its time is over is certain, that
/// there is time left a neighbour on the machine may prevent.
constexpr int attempts_max = 50;

/// A market in a file, with a gate at which the test can hold it.
struct Held {
  Scratch scratch;
  std::unique_ptr<Market> market;
  store::Gate gate;

  Held() : market(Market::open(options()).value()), gate(store::Gate::open(path() + "-gate").value()) {}
  std::string path() const { return scratch / "m.db"; }
  Options options() const {
    Options out;
    out.path = path();
    out.busy_timeout_ms = 60'000;
    return out;
  }

  /// Has `calls` wait together, in their order, and lets them in: the first of them leads.
  template <class... Call>
  void together(Call... calls) {
    REQUIRE(gate.lock(60'000).ok());
    std::vector<std::unique_ptr<Waiting>> callers;
    const auto start = [&](auto call) {
      callers.push_back(std::make_unique<Waiting>(call));
      callers.back()->until_it_waits();
      CHECK_FALSE(callers.back()->done());
    };
    (start(calls), ...);
    gate.unlock();
    for (const auto& caller : callers) caller->join();
  }
};

Result<WalletCreated> create(services::Transaction& tx, const char* owner) {
  return services::create_wallet(tx, all, {.owner_id = owner});
}

}  // namespace

TEST_CASE("a batch takes in no more once its time is over, which is sooner while others want the gate") {
  struct Row {
    const char* says;
    std::int64_t first_takes_us;
    bool others_want;
    std::uint64_t commits;
  };
  const Row rows[] = {
      {"a short call leaves room for the others", 0, false, 1},
      {"a call of 5.5 ms does while nobody else wants the gate", 5'500, false, 1},
      {"a call of 5.5 ms does not while somebody does", 5'500, true, 2},
      {"a call of 11 ms does not in any case", 11'000, false, 2},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    std::uint64_t commits = 0, calls = 0;
    for (int attempt = 0; attempt < attempts_max && commits != row.commits; ++attempt) {
      Held held;
      store::Gate other = store::Gate::open(held.path() + "-gate").value();
      const auto first = [&] {
        CHECK(held.market
                  ->write([&](services::Transaction& tx) {
                    const std::int64_t end_us = monotonic_us() + row.first_takes_us;
                    // Asleep: who spins so long is the first to be held up afterwards.
                    for (std::int64_t left_us; (left_us = end_us - monotonic_us()) > 0;)
                      std::this_thread::sleep_for(std::chrono::microseconds(left_us));
                    if (row.others_want) CHECK(other.lock(0).reason() == Reason::store_busy);
                    return create(tx, "first");
                  })
                  .ok());
      };
      const auto later = [&] {
        CHECK(held.market->write([](services::Transaction& tx) { return create(tx, "later"); }).ok());
      };
      const EngineStats before = held.market->stats();
      held.together(first, later, later);
      commits = held.market->stats().commits - before.commits;
      calls = held.market->stats().calls_committed - before.calls_committed;
    }
    CHECK(commits == row.commits);
    CHECK(calls == 3);
  }
}

TEST_CASE("without a signing key the settlements of a batch are refused, and the rest of it commits") {
  Held held;
  const auto made = [&](const char* owner) {
    return held.market->write([&](services::Transaction& tx) { return create(tx, owner); }).value().wallet.id;
  };
  const WalletId payer = made("payer"), host = made("host");
  CHECK(held.market
            ->write([&](services::Transaction& tx) {
              return services::topup(tx, all, {.wallet = payer, .amount = Money{1'000}});
            })
            .ok());
  const auto spend = [&](const std::string& job) {
    return held.market->write([&](services::Transaction& tx) {
      return services::spend(tx, all,
                             {.wallet = payer, .job_id = job, .amount = Money{100}, .host_wallet = host});
    });
  };
  const auto earn = [&] {
    return held.market->write([&](services::Transaction& tx) {
      return services::earn(tx, all,
                            {.host = host, .job_id = "j", .gross_amount = Money{60}, .gpu_model = "x"});
    });
  };
  REQUIRE(spend("j").ok());

  // No seed of the market's is here: what opening allows a reader alone, a writer may come to as well.
  auto& seams = const_cast<services::Seams&>(held.market->seams());
  seams.can_sign = false;
  std::uint64_t commits = 0, calls = 0;
  for (int attempt = 0; attempt < attempts_max && commits != 1; ++attempt) {
    const std::string number = std::to_string(attempt);
    const EngineStats before = held.market->stats();
    held.together([&] { CHECK(spend("before-" + number).ok()); },
                  [&] {
                    const Result<Earned> earned = earn();
                    CHECK(earned.reason() == Reason::keys_missing);
                    if (!earned.ok()) CHECK(earned.error().status() == Status::unavailable);
                  },
                  [&] { CHECK(spend("after-" + number).ok()); });
    commits = held.market->stats().commits - before.commits;
    calls = held.market->stats().calls_committed - before.calls_committed;
  }
  CHECK(commits == 1);
  CHECK(calls == 3);

  seams.can_sign = true;  // the key is back, and so is the settlement
  const Earned earned = earn().value();
  CHECK_FALSE(earned.replayed);
  CHECK(earned.gross_amount == Money{60});
}
