/// \file
/// The recipes that calyx brings along: a payload in, a result out, and nothing of money.
#pragma once

#include <calyx/worker.hpp>

namespace calyx::recipes {

/// `packing`: fifteen unit semicircles in the smallest circle, scored as the challenge scores them.
CALYX_EXPORT RecipeDefinition packing_recipe();

/// `prop_amm`: strategies of the Prop AMM challenge, validated and simulated.
CALYX_EXPORT RecipeDefinition prop_amm_recipe();

/// `gpu_probe`: what a host's device does in a second, with its products of matrices checked.
CALYX_EXPORT RecipeDefinition gpu_probe_recipe();

}  // namespace calyx::recipes
