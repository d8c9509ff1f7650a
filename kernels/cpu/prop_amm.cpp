#include "calyx_kernels/prop_amm_program.hpp"

namespace calyx::kernels::prop_amm {

std::uint64_t prop_amm_range(const bytecode::Program& program, std::uint64_t* stack, std::uint64_t seed_base,
                             std::uint64_t first, std::uint64_t last, const Settings& settings,
                             const CallRules& rules, Result* results, Fault* faults, const Stop& stop) {
  ProgramStrategy strategy(program, stack, rules.fuel);
  return guarded_range(strategy, seed_base, first, last, settings, rules, results, faults, stop);
}

}  // namespace calyx::kernels::prop_amm
