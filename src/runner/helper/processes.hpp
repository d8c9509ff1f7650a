/// \file
/// Looking at processes below another one, by way of /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace calyx::runner::helper {

/// The children of `parent`, those of each of its threads, zombies among them.
std::vector<pid_t> children_of(pid_t parent);

/// Sends `SIGKILL` to each child of this process but `spared`. Only to children: their numbers stay theirs
/// until this process itself reaps them, so that no stranger who was given a dead one's number can be hit.
/// The children of who dies become ours and are met by the next call. Gives how many there were.
int kill_children(const std::vector<pid_t>& spared);

/// What the processes below `top`, itself left out, hold in memory. The cheap sum counts a page once for each
/// process that maps it; where that is above `limit` the kernel is asked for proportional shares. Units:
/// bytes.
std::uint64_t memory_below(pid_t top, std::uint64_t limit);

}  // namespace calyx::runner::helper
