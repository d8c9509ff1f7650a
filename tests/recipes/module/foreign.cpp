// A module of another version of calyx, which must not be used.
#include "calyx_kernels/cuda_module.hpp"

extern "C" __attribute__((visibility("default"))) const calyx::kernels::cuda::Module* calyx_cuda_module() {
  static const calyx::kernels::cuda::Module module{calyx::kernels::cuda::module_version + 1,
                                                   sizeof(calyx::kernels::cuda::Module),
                                                   nullptr,
                                                   nullptr,
                                                   nullptr,
                                                   nullptr,
                                                   nullptr,
                                                   nullptr,
                                                   nullptr,
                                                   nullptr};
  return &module;
}
