#include "calyx_kernels/packing.hpp"

#include "calyx_kernels/backend.hpp"

namespace calyx::kernels {
namespace {

bool always_usable() noexcept { return true; }

Code packing_eval(const double* candidates, std::size_t count, packing::Verdict* out) noexcept {
  // All are checked before the first is judged, so a refusal leaves `out` as it was.
  for (std::size_t i = 0; i < count; ++i) {
    const Code code =
        packing::check_candidate(candidates + i * packing::candidate_numbers, packing::candidate_numbers);
    if (code != Code::ok) return code;
  }
  for (std::size_t i = 0; i < count; ++i)
    out[i] = packing::evaluate(candidates + i * packing::candidate_numbers);
  return Code::ok;
}

}  // namespace

const Backend& cpu_backend() noexcept {
  static constexpr Backend backend{"cpu", always_usable, packing_eval};
  return backend;
}

}  // namespace calyx::kernels
