/// \file
/// Doing tasks in this process: lease some, run them, report them.
#pragma once

#include <calyx/worker.hpp>
#include <functional>

#include "services/jobs.hpp"

namespace calyx {
class Market;
}

namespace calyx::engine {

using Stopped = std::function<bool()>;

/// Ends the jobs of `to_end`: merges what their tasks came to, and settles.
Result<Done> do_chores(Market& market, const std::vector<services::JobNumber>& to_end);

/// Sees to a job that is waited for though nobody may lease any more: takes back what is late, ends what is
/// over. Writes only where there is something to do.
Result<Done> tend(Market& market, services::JobNumber number);

/// Runs one task. Nothing of it passes but its outcome: what it throws is its failure.
TaskOutcome run_one(const TaskFunction& run, const TaskCall& call);

class Commands;

/// What recipes on callers' threads run other programs by, as `Options::commands` lets them: opened when it
/// is first called. Owns: nothing; the market outlives it.
RunEnclosed callers_enclosed(Market& market);

/// Does on this thread, one lease after the other, what this process can do of any job, until `over` says so;
/// calls `idle` where there is nothing to do. Where `stopped` says so the lease ends early: a task that has
/// begun is let to its end, but for a command and a function that fails as it is asked to stop, which are
/// given back. Where `enough` says so it ends early, too, and nobody is asked to stop. With `heartbeats` a
/// thread more keeps leases alive for so long. `commands` may be null. Fails: the store, `idle`; a lease that
/// was lost on the way is no failure.
Result<Done> perform_until(Market& market, Commands* commands, bool heartbeats, const Stopped& stopped,
                           const Stopped& enough, const std::function<bool()>& over,
                           const std::function<Result<Done>()>& idle);

}  // namespace calyx::engine
