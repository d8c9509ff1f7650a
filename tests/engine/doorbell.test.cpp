// What wakes callers at the end of a batch: nobody sleeps on, and a nudge is not taken for the end.
#include "engine/doorbell.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <thread>
#include <vector>

#include "engine/waits.hpp"
#include "testing.hpp"

using calyx::engine::Doorbell;
using calyx::testing::Waiting;

TEST_CASE("one ring wakes all who sleep, and a ring between looking and waiting is not missed") {
  Doorbell bell;
  std::atomic<bool> over{false};
  std::vector<std::unique_ptr<Waiting>> sleepers;
  for (int i = 0; i < 20; ++i)
    sleepers.push_back(std::make_unique<Waiting>([&] {
      for (;;) {
        const std::uint32_t heard = bell.heard();
        if (over.load()) return;
        bell.wait(heard);
      }
    }));
  for (const auto& sleeper : sleepers) sleeper->until_it_waits();
  bell.ring_all();  // before it is over: all look, and sleep again
  for (const auto& sleeper : sleepers) {
    sleeper->until_it_waits();
    CHECK_FALSE(sleeper->done());
  }
  over = true;
  bell.ring_all();
  for (const auto& sleeper : sleepers) sleeper->join();

  const std::uint32_t heard = bell.heard();
  bell.ring_one();  // nobody sleeps
  bell.wait(heard);
  CHECK(bell.heard() == heard + 1);
}

TEST_CASE("a nudge wakes one who sleeps and is no ring") {
  Doorbell bell;
  CHECK_FALSE(bell.nudge_one());
  const std::uint32_t before = bell.heard();
  std::atomic<int> woken{0};
  const auto sleep = [&] {
    bell.wait(bell.heard());
    ++woken;
  };
  Waiting first(sleep), second(sleep);
  first.until_it_waits();
  second.until_it_waits();
  CHECK(bell.nudge_one());
  while (woken.load() == 0) std::this_thread::yield();
  CHECK(bell.heard() == before);
  (first.done() ? second : first).until_it_waits();
  CHECK(woken.load() == 1);
  bell.ring_one();
  first.join();
  second.join();
  CHECK(woken.load() == 2);
}

TEST_CASE("turns that go round between threads never stall") {
  // Each thread waits for its turn and gives the next one on: a ring that is lost stops all of it.
  const int threads = 8, turns = calyx::testing::by_scale(2'000, 20'000, 1'000'000);
  Doorbell bell;
  std::atomic<int> turn{0};
  std::vector<std::thread> all;
  for (int me = 0; me < threads; ++me)
    all.emplace_back([&, me] {
      for (;;) {
        const std::uint32_t heard = bell.heard();
        const int now = turn.load();
        if (now >= turns) return;
        if (now % threads != me) {
          bell.wait(heard);
          continue;
        }
        turn.store(now + 1);
        bell.ring_all();
      }
    });
  for (std::thread& thread : all) thread.join();
  CHECK(turn.load() == turns);
}
