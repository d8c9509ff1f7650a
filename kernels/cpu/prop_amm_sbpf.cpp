#include "calyx_kernels/prop_amm_sbpf.hpp"

namespace calyx::kernels::prop_amm {

void prop_amm_sbpf_range(const sbpf::Program& program, unsigned char* stack, unsigned char* heap,
                         std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                         const Settings& settings, std::uint64_t limit, Result* results,
                         SbpfFaults* faults) noexcept {
  SbpfStrategy strategy(program, stack, heap, limit);
  for (std::uint64_t i = first; i < last; ++i) {
    results[i] = simulate(seed_base + i, settings, strategy);
    faults[i] = strategy.faults();
  }
}

}  // namespace calyx::kernels::prop_amm
