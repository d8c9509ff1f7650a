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
inline const Stopped never = [] { return false; };

/// Ends the jobs of `to_end`: merges what their tasks came to, and settles.
Result<Done> do_chores(Market& market, const std::vector<services::JobNumber>& to_end);

/// Sees to a job that is waited for though nobody may lease any more: takes back what is late, ends what is
/// over. Writes only where there is something to do.
Result<Done> tend(Market& market, services::JobNumber number);

class Commands;

/// Leases up to `options.tasks_max` tasks that this process can do, does them on this thread, and reports
/// each stretch of them. False when there was nothing to do. What is not done when `stopped` says so is given
/// back. Fails: the store; a lease that was lost on the way is no failure.
Result<bool> perform_some(Market& market, const WorkerOptions& options, const Stopped& stopped);

}  // namespace calyx::engine
