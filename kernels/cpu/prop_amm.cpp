#include "calyx_kernels/prop_amm_program.hpp"

namespace calyx::kernels::prop_amm {

void prop_amm_range(const bytecode::Program& program, std::uint64_t* stack, std::uint64_t seed_base,
                    std::uint64_t first, std::uint64_t last, const Settings& settings, std::uint64_t fuel,
                    Result* results, Fault* faults) noexcept {
  ProgramStrategy strategy(program, stack, fuel);
  for (std::uint64_t i = first; i < last; ++i) {
    results[i] = simulate(seed_base + i, settings, strategy);
    faults[i] = {};
    if (results[i].end == End::strategy_failed)
      faults[i] = {strategy.outcome().ending, strategy.outcome().at};
  }
}

}  // namespace calyx::kernels::prop_amm
