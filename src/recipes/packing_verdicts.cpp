#include <algorithm>
#include <array>
#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/packing_polygon.hpp"
#include "recipes/device.hpp"

namespace calyx::packing {

namespace json = core::json;
namespace kernel = kernels::packing;

namespace {

static_assert(candidate_numbers == kernel::candidate_numbers);

Verdict told(const kernel::Verdict& verdict) {
  return {.valid = verdict.valid != 0,
          .score = verdict.circle.radius,
          .centre_x = verdict.circle.centre.x,
          .centre_y = verdict.circle.centre.y,
          .overlap_total = verdict.overlap_total,
          .overlap_max = verdict.overlap_max,
          .overlapping_pairs = verdict.overlapping_count};
}

std::string wrong_length(std::size_t numbers) {
  return "has " + std::to_string(numbers) + " numbers, needs " + std::to_string(candidate_numbers) +
         " a candidate: x, y and direction of each of " + std::to_string(pieces) + " pieces";
}
constexpr const char* wrong_number = "has a number that is not finite, or a coordinate beyond 10^9";

}  // namespace

Result<Verdict> evaluate(std::span<const double> candidate, Areas areas) {
  switch (kernel::check_candidate(candidate.data(), candidate.size())) {
    case kernels::Code::ok:
      return told(areas == Areas::polygon ? kernel::evaluate_polygons(candidate.data())
                                          : kernel::evaluate(candidate.data()));
    case kernels::Code::wrong_length:
      return core::field_fault(Reason::field_value, "/candidate", wrong_length(candidate.size()));
    default: return core::field_fault(Reason::field_value, "/candidate", wrong_number);
  }
}

Result<Done> evaluate_batch(std::span<const double> candidates, std::span<Verdict> out, Device device,
                            Areas areas) {
  if (candidates.size() % candidate_numbers != 0)
    return core::field_fault(Reason::field_value, "/candidates", wrong_length(candidates.size()));
  const std::size_t count = candidates.size() / candidate_numbers;
  if (out.size() != count)
    return core::field_fault(
        Reason::field_value, "/out",
        "has room for " + std::to_string(out.size()) + " verdicts, needs " + std::to_string(count));
  const bool polygons = areas == Areas::polygon;
  if (device == Device::cuda) {
    CALYX_CHECK(recipes::device_for("/device"));
    if (polygons) return recipes::only_on_cpu("/device", "a verdict by polygons");
  }
  const bool may_choose = device == Device::automatic && count >= kernels::packing_device_min && !polygons;
  const kernels::Backend* backend = kernels::choose_backend(device == Device::cuda ? kernels::Preference::cuda
                                                            : may_choose           ? kernels::Preference::none
                                                                         : kernels::Preference::cpu);
  for (std::size_t i = 0; i < count; ++i)
    if (kernel::check_candidate(candidates.data() + i * candidate_numbers, candidate_numbers) !=
        kernels::Code::ok)
      return fail(Reason::field_value, wrong_number, json::object({{"field", "/candidates"}, {"index", i}}));
  if (polygons) {
    for (std::size_t i = 0; i < count; ++i)
      out[i] = told(kernel::evaluate_polygons(candidates.data() + i * candidate_numbers));
    return Done{};
  }
  // In pieces, so that nothing is as large as the batch but the batch; a device has enough to do with each.
  std::vector<kernel::Verdict> verdicts(std::min<std::size_t>(count, 65'536));
  for (std::size_t done = 0; done < count; done += verdicts.size()) {
    const std::size_t now = std::min(verdicts.size(), count - done);
    const double* const from = candidates.data() + done * candidate_numbers;
    kernels::Code code = backend->packing_eval(from, now, verdicts.data());
    if (code == kernels::Code::no_device && device == Device::automatic) {
      // The bytes are the same, wherever they come from.
      backend = &kernels::cpu_backend();
      code = backend->packing_eval(from, now, verdicts.data());
    }
    if (code == kernels::Code::no_device) return recipes::device_failed();
    if (code != kernels::Code::ok)
      return fail(Reason::internal, "a candidate passed its check, and the kernel refused it");
    std::transform(verdicts.begin(), verdicts.begin() + static_cast<std::ptrdiff_t>(now),
                   out.begin() + static_cast<std::ptrdiff_t>(done), told);
  }
  return Done{};
}

}  // namespace calyx::packing
