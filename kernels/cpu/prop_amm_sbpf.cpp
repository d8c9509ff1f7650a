#include "calyx_kernels/prop_amm_sbpf.hpp"

namespace calyx::kernels::prop_amm {

std::uint64_t prop_amm_sbpf_range(const sbpf::Program& program, unsigned char* stack, unsigned char* heap,
                                  std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                                  const Settings& settings, std::uint64_t limit, Result* results,
                                  SbpfFaults* faults, const Stop& stop) {
  SbpfStrategy strategy(program, stack, heap, limit);
  return sbpf_range(strategy, seed_base, first, last, settings, results, faults, stop);
}

}  // namespace calyx::kernels::prop_amm
