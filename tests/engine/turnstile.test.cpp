#include "engine/turnstile.hpp"

#include <doctest/doctest.h>

#include <calyx/engine.hpp>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "engine/market.hpp"
#include "engine/waits.hpp"

using namespace calyx;
using engine::Turnstile;
using testing::Latch;
using testing::Waiting;

TEST_CASE("readers share the room while no writer waits") {
  Turnstile turnstile;
  turnstile.lock_shared();
  Waiting another([&] { const std::shared_lock inside(turnstile); });
  another.until_it_waits();
  CHECK(another.done());
  turnstile.unlock_shared();
  const std::unique_lock alone(turnstile);
}

TEST_CASE("a reader that comes after a writer waits for it, so that readers that overlap starve no writer") {
  Turnstile turnstile;
  std::mutex order_mutex;
  std::vector<int> order;
  const auto note = [&](int who) {
    const std::lock_guard lock(order_mutex);
    order.push_back(who);
  };
  constexpr int writer_place = 0, readers = 3;
  turnstile.lock_shared();
  Waiting writer([&] {
    const std::unique_lock alone(turnstile);
    note(writer_place);
  });
  writer.until_it_waits();
  CHECK_FALSE(writer.done());
  // Each comes while the one before is inside, or stands behind the writer.
  std::vector<std::unique_ptr<Waiting>> later;
  for (int i = 1; i <= readers; ++i) {
    later.push_back(std::make_unique<Waiting>([&, i] {
      const std::shared_lock inside(turnstile);
      note(i);
    }));
    later.back()->until_it_waits();
    CHECK_FALSE(later.back()->done());
  }
  turnstile.unlock_shared();
  writer.join();
  for (const auto& reader : later) reader->join();
  REQUIRE(order.size() == readers + 1);
  CHECK(order.front() == writer_place);
}

TEST_CASE("who looks at a market after a commit waited for readers sees that commit") {
  const std::unique_ptr<Market> market = Market::open({}).value();
  const Principal all{};
  const auto create = [&] {
    return market
        ->write([&](services::Transaction& tx) {
          return services::create_wallet(tx, all, {.owner_id = "alice"});
        })
        .ok();
  };
  const auto wallets = [&] {
    return market->read(
        [](const services::Book& book, Instant) -> Result<std::size_t> { return book.wallets.size(); });
  };
  REQUIRE(create());

  Latch inside, leave;
  Waiting long_reader([&] {
    const auto looked = market->read([&](const services::Book& book, Instant) -> Result<std::size_t> {
      inside.open();
      leave.wait();
      return book.wallets.size();
    });
    CHECK(looked.value() == 1);
  });
  inside.wait();
  Waiting leader([&] { CHECK(create()); });
  leader.until_it_waits();
  CHECK_FALSE(leader.done());
  std::vector<std::unique_ptr<Waiting>> later;
  for (int i = 0; i < 3; ++i) {
    later.push_back(std::make_unique<Waiting>([&] { CHECK(wallets().value() == 2); }));
    later.back()->until_it_waits();
    CHECK_FALSE(later.back()->done());
  }
  leave.open();
  leader.join();
}
