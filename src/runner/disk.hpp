/// \file
/// How much a running task has written.
#pragma once

#include <cstdint>
#include <functional>

namespace calyx::runner {

struct Below {
  std::uint64_t bytes = 0;
  bool whole = true;  ///< No folder was left out: one that may not be opened, or lies below 64 others.
};

/// What the files below `folder` take up, counted until it is above `limit`, or `stopped` says so. A running
/// task moves its files about, so this is a look and no proof: a file without a name is not seen.
Below disk_below(const char* folder, std::uint64_t limit, const std::function<bool()>& stopped = {});

}  // namespace calyx::runner
