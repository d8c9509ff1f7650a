/// \file
/// The recipes that calyx brings along.
#pragma once

#include <calyx/worker.hpp>

namespace calyx::services {

/// `packing`: fifteen unit semicircles in the smallest circle, scored as the challenge scores them.
RecipeDefinition packing_recipe();

}  // namespace calyx::services
