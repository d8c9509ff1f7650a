/// \file
/// What it costs to follow another process: an event's worth, however large the market has grown.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <calyx/engine.hpp>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "fault_alloc.hpp"
#include "store/scratch.hpp"

using namespace calyx;

namespace calyx::faults {
namespace {

constexpr int rounds = 6;
constexpr Money one{1};

/// Whose turn it is: odd for the child.
struct Turn {
  std::atomic<int> number{0};
  std::atomic<bool> child_left{false};
  void wait(int wanted) const {
    while (number.load() < wanted && !child_left.load()) std::this_thread::yield();
  }
};

/// Allocations of the one process right after a commit of the other.
struct Cost {
  std::uint64_t to_write = UINT64_MAX, to_read = UINT64_MAX;
  bool seen = true;  ///< Each saw each commit of the other at once.
};

/// Two processes, of which one commits and then the other, in a market with so many open locks. A copy of the
/// book would copy each lock's job, which is longer than a string holds by itself.
Cost alternate(int locks) {
  const store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  WalletId wallet;
  Money balance{1'000'000};
  {
    Engine engine = Engine::open(options).value();
    Session all = engine.as_operator();
    wallet = all.create_wallet({.owner_id = "alice"}).value().wallet.id;
    all.topup({.wallet = wallet, .amount = balance}).value();
    std::vector<Operation> spends;
    for (int i = 0; i < locks; ++i) {
      spends.emplace_back(Spend{.wallet = wallet,
                                .job_id = "a-job-with-a-long-name-" + std::to_string(100'000 + i),
                                .amount = one});
      balance.micro -= 1;
      if (spends.size() < bulk_max && i + 1 < locks) continue;
      all.bulk(spends).value();
      spends.clear();
    }
  }
  const store::Shared<Turn> turn;
  const auto stands = [&](Engine& engine, int commits) {
    return engine.as_operator().wallet(wallet).value().balance == Money{balance.micro + commits};
  };
  const auto commit = [&](Engine& engine) {
    return engine.as_operator().topup({.wallet = wallet, .amount = one});
  };
  // In each round the child commits, the parent reads; the child commits, the parent writes.
  const pid_t child = store::start_child([&] {
    struct Leaving {
      Turn& turn;
      ~Leaving() { turn.child_left.store(true); }
    } const leaving{*turn};
    Engine engine = Engine::open(options).value();
    int commits = 0;
    for (int round = 0; round < 2 * rounds; ++round) {
      turn->wait(2 * round + 1);
      if (!stands(engine, commits)) return 1;
      if (!commit(engine).ok()) return 2;
      commits += 1 + round % 2;
      turn->number.store(2 * round + 2);
    }
    return 0;
  });
  Cost cost;
  {
    Engine engine = Engine::open(options).value();
    int commits = 0;
    for (int round = 0; round < 2 * rounds; ++round) {
      turn->number.store(2 * round + 1);
      turn->wait(2 * round + 2);
      commits += 1 + round % 2;
      const bool writes = round % 2 == 1;
      AllocScope scope({.source = AllocSource::cpp});
      if (writes)
        static_cast<void>(commit(engine));
      else
        static_cast<void>(engine.as_operator().wallet(wallet));
      scope.stop();
      std::uint64_t& least = writes ? cost.to_write : cost.to_read;
      least = std::min(least, scope.seen());
      cost.seen = cost.seen && stands(engine, commits);
    }
  }
  if (store::wait_for(child) != 0) cost.seen = false;
  return cost;
}

}  // namespace

TEST_CASE(
    "two processes that commit in turn see each other's commits, and neither copies the market for it") {
  constexpr int few = 10, many = 3'000;
  const Cost small = alternate(few), large = alternate(many);
  CAPTURE(small.to_read);
  CAPTURE(large.to_read);
  CAPTURE(small.to_write);
  CAPTURE(large.to_write);
  CHECK(small.seen);
  CHECK(large.seen);
  constexpr std::uint64_t slack = (many - few) / 10;
  CHECK(large.to_read < small.to_read + slack);
  CHECK(large.to_write < small.to_write + slack);
}

}  // namespace calyx::faults
