#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/engine.hpp>
#include <functional>
#include <string>
#include <vector>

#include "faults/fault_vfs.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::Scratch;

TEST_CASE("while one engine catches up with what others committed the gate is theirs") {
  faults::Disk disk;
  const Scratch scratch;
  Options options;
  options.path = "/mem/market.db";
  options.vfs = disk.vfs_name();
  options.sidecars = scratch / "m.db";
  Engine behind = Engine::open(options).value();
  options.busy_timeout_ms = 20;  // who does not get in gives up
  Engine ahead = Engine::open(options).value();
  Session all = ahead.as_operator();
  const WalletId wallet = all.create_wallet({.owner_id = "alice"}).value().wallet.id;
  // Several stretches, between which the one behind asks the file anew.
  constexpr int stretches = 3, stretch_events = 512;
  for (int left = stretches * stretch_events; left > 0;) {
    const int count = std::min<int>(left, bulk_max);
    all.bulk(std::vector<Operation>(static_cast<std::size_t>(count),
                                    TopUp{.wallet = wallet, .amount = Money{1}}))
        .value();
    left -= count;
  }

  // Whenever it is about to read the other one would commit.
  std::int64_t let_in = 0, kept_out = 0;
  Reason answer = Reason::none;
  const std::function<void()> commit = [&] {
    answer = all.topup({.wallet = wallet, .amount = Money{1}}).reason();
    ++(answer == Reason::none ? let_in : kept_out);
    if (answer == Reason::none) disk.hook_before(nullptr, faults::Calls::read, 1, commit);
  };
  disk.hook_before(nullptr, faults::Calls::read, 1, commit);
  const Result<Moved> moved = behind.as_operator().topup({.wallet = wallet, .amount = Money{1}});
  disk.drop_hook();

  CHECK(let_in >= stretches);
  CHECK(kept_out == 1);  // as soon as it has the gate itself, for what little is left
  CHECK(answer == Reason::store_busy);
  REQUIRE(moved.ok());
  CHECK(moved->new_balance == Money{stretches * stretch_events + let_in + 1});
  CHECK(all.wallet(wallet).value().balance == moved->new_balance);
  CHECK(all.audit().value().ok);
}
