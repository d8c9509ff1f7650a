/// \file
/// A market in numbers, for whoever watches over it: `Session::metrics`, and `GET /metrics` on the wire.
///
/// Reading them costs what is under way now (open jobs and leases), not what ever was.
#pragma once

#include <calyx/core/money.hpp>
#include <cstdint>

namespace calyx {

/// Counters of one engine since it was opened.
struct EngineStats {
  std::uint64_t commits = 0;
  std::uint64_t calls_committed = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t statements_prepared = 0;  ///< By this process, all engines.
};

struct Metrics {
  std::uint64_t events = 0;  ///< In the log; the last one's number.
  std::uint64_t wallets = 0;
  std::uint64_t receipts = 0;
  std::uint64_t open_escrows = 0;
  Money supply{};          ///< All that was put in and not paid out: what wallets, escrows and fees hold.
  Money fees{};            ///< What the platform has earned.
  std::uint64_t jobs = 0;  ///< Ever submitted,
  std::uint64_t jobs_planning = 0, jobs_queued = 0, jobs_running = 0;  ///< and those that have not ended.
  std::uint64_t tasks_ready = 0;    ///< Of jobs that wait for no other: not yet handed out, or to be again.
  std::uint64_t tasks_running = 0;  ///< With workers.
  std::uint64_t leases = 0;         ///< In which they are.
  EngineStats engine{};
};

}  // namespace calyx
