/// \file
/// The file behind a task's two logs.
#pragma once

#include "runner/descriptor.hpp"
#include "runner/runner.hpp"

namespace calyx::runner {

struct Log::File {
  Descriptor descriptor;
};

}  // namespace calyx::runner
