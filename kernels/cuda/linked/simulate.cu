// The simulation as a driver links it with a program's text: the interpreter's kernel with calls of the
// text's two functions, and what those call. Compiled into an image that the module carries, not into its
// code.
#include "../launch.cuh"
#include "calyx_kernels/prop_amm_linked.hpp"

namespace linked = calyx::kernels::linked;

extern "C" {

__device__ linked::End calyx_linked_swap(std::uint64_t stack, std::uint64_t data, std::uint64_t storage,
                                         std::uint64_t constants, std::uint64_t fuel, std::uint64_t input,
                                         std::uint64_t reserve_x, std::uint64_t reserve_y);
__device__ linked::End calyx_linked_after(std::uint64_t stack, std::uint64_t data, std::uint64_t storage,
                                          std::uint64_t constants, std::uint64_t fuel, std::uint64_t input,
                                          std::uint64_t reserve_x, std::uint64_t reserve_y);

#define CALYX_DEFINED(name)                                                                                 \
  __device__ __noinline__ linked::Pair calyx_help_##name(std::uint64_t a, std::uint64_t b, std::uint64_t c, \
                                                         std::uint64_t d) {                                 \
    return linked::name(a, b, c, d);                                                                        \
  }
CALYX_LINKED_HELPERS(CALYX_DEFINED)
#undef CALYX_DEFINED
}

namespace calyx::kernels::cuda {
namespace {

__device__ std::uint64_t word(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

/// The text, as `linked::Strategy` asks it.
struct Text {
  __device__ linked::End swap(std::uint64_t* stack, const unsigned char* data, unsigned char* storage,
                              const unsigned char* constants, std::uint64_t fuel, std::uint64_t input,
                              std::uint64_t reserve_x, std::uint64_t reserve_y) const {
    return calyx_linked_swap(word(stack), word(data), word(storage), word(constants), fuel, input, reserve_x,
                             reserve_y);
  }
  __device__ linked::End after(std::uint64_t* stack, const unsigned char* data, unsigned char* storage,
                               const unsigned char* constants, std::uint64_t fuel, std::uint64_t input,
                               std::uint64_t reserve_x, std::uint64_t reserve_y) const {
    return calyx_linked_after(word(stack), word(data), word(storage), word(constants), fuel, input, reserve_x,
                              reserve_y);
  }
};

}  // namespace
}  // namespace calyx::kernels::cuda

extern "C" __global__ void __launch_bounds__(calyx::kernels::cuda::threads)
    calyx_simulate_linked(calyx::kernels::cuda::Launch it) {
  using namespace calyx::kernels::cuda;
  std::uint64_t own[own_slots];
  Mine mine;
  if (!find_mine(it, own, mine)) return;
  static_cast<void>(linked::play(Text(), mine.program, mine.stack, it.lanes.tape, it.lanes.first + mine.lane,
                                 it.lanes.seed_first + mine.lane, it.settings, it.rules, it.flag,
                                 it.results[mine.at], it.faults[mine.at]));
}
