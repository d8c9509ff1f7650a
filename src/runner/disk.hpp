/// \file
/// How much a running task has written.
#pragma once

#include <cstdint>

namespace calyx::runner {

/// What the files below `folder` take up, counted until it is above `limit`. A running task moves its files
/// about, so this is a look and no proof: a file without a name is not seen, nor one below 64 folders. Units:
/// bytes.
std::uint64_t disk_below(const char* folder, std::uint64_t limit);

}  // namespace calyx::runner
