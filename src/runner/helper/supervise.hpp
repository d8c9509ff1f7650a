/// \file
/// One task, from its request to its report, in a process of its own.
#pragma once

#include "runner/helper/landlock.hpp"

namespace calyx::runner::helper {

/// What a supervisor has from the helper that forked it.
struct Inherited {
  const Grounds* grounds;
  int host;    ///< A pidfd of the runner's process.
  int parent;  ///< A pidfd of the helper.
  int null;    ///< /dev/null, for reading.
};

/// Reads a request from `channel`, runs the task with its output in `log`, kills whatever is left of it, and
/// reports. The calling process becomes the reaper of all that the task starts, so it must have no other
/// children.
void supervise(int channel, int log, const Inherited& inherited);

}  // namespace calyx::runner::helper
