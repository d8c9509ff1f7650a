/// \file
/// Four processes that want the same thing as fast as they can, and whether each got its share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "store/gate.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

namespace calyx::testing {

/// What the children tell, in memory that they share with the test.
struct Contest {
  static constexpr std::size_t processes = 4;
  std::atomic<std::size_t> ready{0};
  std::atomic<bool> go{false};
  std::array<std::atomic<std::int64_t>, processes> turns{};
  std::array<std::atomic<std::int64_t>, processes> longest_wait_us{};

  static void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

  /// What the child `me` does: `turn()` for `contest_us` from the start on, which gives how long it waited;
  /// nothing ends the child with 1.
  template <class Turn>
  int take_part(std::size_t me, std::int64_t contest_us, Turn turn) {
    ready.fetch_add(1);
    while (!go.load()) pause_ms(1);
    const std::int64_t end_us = store::monotonic_us() + contest_us;
    while (store::monotonic_us() < end_us) {
      const std::optional<std::int64_t> waited_us = turn();
      if (!waited_us) return 1;
      longest_wait_us[me].store(std::max(longest_wait_us[me].load(), *waited_us));
      turns[me].fetch_add(1);
    }
    return 0;
  }
};

struct Shares {
  std::int64_t all = 0;
  double least = 0;  ///< Percent.
  std::int64_t longest_wait_us = 0;
  bool fair() const noexcept { return least >= 15 && longest_wait_us <= 2'000'000; }
};

/// Starts four children that each do `contend(me)`, which takes part in `contest`, waits for them, and tells
/// their shares as `what`.
template <class Contend>
Shares hold(Contest& contest, const std::string& what, Contend contend) {
  std::array<pid_t, Contest::processes> children{};
  for (std::size_t i = 0; i < children.size(); ++i)
    children[i] = store::start_child([&] { return contend(i); });
  for (int ms = 0; contest.ready.load() < children.size() && ms < 30'000; ++ms) Contest::pause_ms(1);
  contest.go.store(true);
  for (const pid_t child : children) CHECK(store::wait_for(child) == 0);

  Shares out;
  for (const auto& turns : contest.turns) out.all += turns.load();
  REQUIRE(out.all > 0);
  out.least = 100;
  std::string shares;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const double share = 100.0 * static_cast<double>(contest.turns[i].load()) / static_cast<double>(out.all);
    out.least = std::min(out.least, share);
    out.longest_wait_us = std::max(out.longest_wait_us, contest.longest_wait_us[i].load());
    shares += std::to_string(static_cast<int>(share + 0.5)) + " % ";
  }
  told(what, std::to_string(out.all) + " turns, shares " + shares + "longest wait " +
                 std::to_string(out.longest_wait_us) + " us");
  return out;
}

}  // namespace calyx::testing
