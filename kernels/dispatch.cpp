#include "calyx_kernels/backend.hpp"

namespace calyx::kernels {

const Backend* choose_backend(Preference preference) noexcept {
  const Backend* const cuda = cuda_backend();
  const bool cuda_usable = cuda != nullptr && cuda->usable();
  switch (preference) {
    case Preference::cpu: return &cpu_backend();
    case Preference::cuda: return cuda_usable ? cuda : nullptr;
    case Preference::none: break;
  }
  return cuda_usable ? cuda : &cpu_backend();
}

}  // namespace calyx::kernels
