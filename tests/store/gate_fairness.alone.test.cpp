#include <doctest/doctest.h>

#include <atomic>
#include <string>

#include "store/contest.hpp"
#include "store/database.hpp"

using calyx::store::Gate;
using calyx::store::monotonic_us;
using calyx::store::Scratch;
using calyx::store::Shared;
using calyx::testing::Contest;

namespace {

struct GateContest : Contest {
  std::atomic<int> inside{0};
  std::atomic<int> broken{0};
};

enum class Work { commits, busy_200_us };

int contend(GateContest& contest, std::size_t me, const std::string& path, Work work) {
  auto gate = Gate::open(path + "-gate").value();
  REQUIRE(gate.lock(5000).ok());
  auto connection = work == Work::commits ? calyx::store::Connection::open({.path = path}).value()
                                          : calyx::store::Connection::open({.in_memory = true}).value();
  REQUIRE(connection.exec("CREATE TABLE IF NOT EXISTS turn(who INTEGER NOT NULL) STRICT").ok());
  auto insert = connection.prepare("INSERT INTO turn VALUES (?1)").value();
  gate.unlock();
  return contest.take_part(me, 2'000'000, [&]() -> std::optional<std::int64_t> {
    const std::int64_t asked_us = monotonic_us();
    if (!gate.lock(10'000).ok()) return std::nullopt;
    const std::int64_t began_us = monotonic_us();
    if (contest.inside.fetch_add(1) != 0) contest.broken.fetch_add(1);
    if (work == Work::commits) {
      auto transaction = calyx::store::WriteTransaction::begin(connection).value();
      {
        const calyx::store::Statement::Run run(insert);
        if (!run->bind(1, static_cast<std::int64_t>(me)).execute().ok()) return std::nullopt;
      }
      if (!transaction.commit().ok()) return std::nullopt;
    } else {
      while (monotonic_us() - began_us < 200) {
      }
    }
    contest.inside.fetch_sub(1);
    gate.unlock();
    return began_us - asked_us;
  });
}

}  // namespace

TEST_CASE("four processes that want nothing else share the gate fairly") {
  for (const Work work : {Work::busy_200_us, Work::commits}) {
    // A neighbour on a shared machine may stop one process for long; three times in a row would be our doing.
    calyx::testing::Shares shares;
    for (int attempt = 0; attempt < 3 && !shares.fair(); ++attempt) {
      const Scratch scratch;
      const std::string path = scratch / "m.db";
      const Shared<GateContest> contest;
      shares = calyx::testing::hold(
          *contest,
          work == Work::commits ? "fairness of the gate, commits" : "fairness of the gate, 200 us of work",
          [&](std::size_t me) { return contend(*contest, me, path, work); });
      CHECK(contest->broken.load() == 0);
    }
    CHECK(shares.least >= 15);
    CHECK(shares.longest_wait_us <= 2'000'000);
  }
}
