#include "calyx_kernels/prop_amm_sbpf.hpp"

namespace calyx::kernels::prop_amm {

std::uint64_t prop_amm_sbpf_range(const sbpf::Program& program, unsigned char* stack, unsigned char* heap,
                                  std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                                  const Settings& settings, std::uint64_t limit, Result* results,
                                  SbpfFaults* faults, const Stop& stop) {
  SbpfStrategy strategy(program, stack, heap, limit);
  GuardedStrategy<SbpfStrategy> guarded(strategy, {}, stop);
  for (std::uint64_t i = first; i < last; ++i) {
    if (stop.wanted != nullptr && stop.wanted(stop.context)) return i;
    results[i] = simulate(seed_base + i, settings, guarded);
    if (guarded.stopped()) return i;
    faults[i] = strategy.faults();
  }
  return last;
}

}  // namespace calyx::kernels::prop_amm
