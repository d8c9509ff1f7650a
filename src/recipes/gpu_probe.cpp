#include <array>
#include <calyx/core/field.hpp>

#include "calyx_kernels/freivalds.hpp"
#include "recipes/device.hpp"
#include "recipes/recipes.hpp"
#include "recipes/schema.hpp"

namespace calyx::recipes {
namespace {

namespace cuda = kernels::cuda;
namespace json = core::json;
using core::field_fault;
using core::Members;

constexpr std::array<std::string_view, 1> operations = {"measure"};
constexpr std::uint32_t size_min = 256, size_default = 4'096, size_step = 16;
constexpr std::uint32_t tries_max = 100, tries_default = 5;
constexpr std::uint64_t transfer_bytes = std::uint64_t{256} << 20;

json::Value payload_schema() {
  return schema::payload(json::object(
      {{"operation", schema::one_of(operations)},
       {"size", schema::integer(size_min, kernels::freivalds_size_max,
                                "rows of the matrices that are multiplied, a multiple of 16; 4096")},
       {"tries", schema::integer(1, tries_max, "of each measurement, of which the best counts; 5")},
       {"seed", schema::seed("of the matrices and their check; 0 if left out,")},
       {"device", schema::one_of(schema::devices)}}));
}

Result<cuda::ProbeAsked> read_payload(const json::Value& payload) {
  CALYX_TRY(const Members members, Members::of(payload, "/payload", "this recipe's payload"));
  CALYX_CHECK(members.only({"operation", "size", "tries", "seed", "device"}));
  CALYX_CHECK(members.need("operation"));
  CALYX_CHECK(members.word("operation", operations));
  CALYX_TRY(const std::size_t device, members.word("device", schema::devices));
  if (device_of(device) == Device::cpu)
    return field_fault(Reason::field_value, members.at("device"), "is cpu, and a device is what is measured");
  cuda::ProbeAsked out{};
  CALYX_TRY(const std::uint64_t size,
            members.count_or("size", {size_min, kernels::freivalds_size_max}, size_default));
  if (size % size_step != 0)
    return field_fault(Reason::field_value, members.at("size"),
                       "is " + std::to_string(size) + ", must be a multiple of 16");
  out.size = static_cast<std::uint32_t>(size);
  CALYX_TRY(const std::uint64_t tries, members.count_or("tries", {1, tries_max}, tries_default));
  out.tries = static_cast<std::uint32_t>(tries);
  CALYX_TRY(out.seed, members.seed("seed"));
  out.transfer_bytes = transfer_bytes;
  return out;
}

/// A rate that was measured, or null.
json::Value rate(double of) { return of > 0.0 ? json::Value(of) : json::Value(); }

std::string version(std::uint32_t number) {
  std::string out = std::to_string(number / 1'000);
  return out.append(".").append(std::to_string(number % 1'000 / 10));
}

json::Value shown(const cuda::Device& device) {
  std::string capability = std::to_string(device.capability_major);
  capability.append(".").append(std::to_string(device.capability_minor));
  return json::object({{"name", std::string(device.name)},
                       {"memory_bytes", device.memory_bytes},
                       {"multiprocessors", device.multiprocessors},
                       {"compute_capability", std::move(capability)},
                       {"driver", version(device.driver_version)},
                       {"runtime", version(device.runtime_version)}});
}

bool wanted(void* context) { return (*static_cast<const std::function<bool()>*>(context))(); }

Result<json::Value> run(const TaskCall& call) {
  CALYX_TRY(cuda::ProbeAsked asked, read_payload(call.payload));
  CALYX_TRY(const cuda::Module* const module, device_for("/payload/device"));
  if (call.stopped) asked.stop = {wanted, const_cast<std::function<bool()>*>(&call.stopped)};
  cuda::ProbeFound found{};
  if (const cuda::Status status = module->probe(&asked, &found); status != cuda::Status::ok)
    return device_failed(*module, status);
  const bool checked = found.products_checked != 0;
  return json::object({{"device", shown(cuda::load().device)},
                       {"size", asked.size},
                       {"tries", asked.tries},
                       {"seed", core::seed_value(asked.seed)},
                       {"flops_per_s", json::object({{"fp64", rate(found.fp64_flops)},
                                                     {"fp32", rate(found.fp32_flops)},
                                                     {"bf16", rate(found.bf16_flops)}})},
                       {"memory_bytes_per_s", rate(found.memory_bytes)},
                       {"to_device_bytes_per_s", rate(found.to_device_bytes)},
                       {"to_host_bytes_per_s", rate(found.to_host_bytes)},
                       // Null where there is no cuBLAS, and so no product.
                       {"verified", checked ? json::Value(found.products_wrong == 0) : json::Value()},
                       {"products_checked", found.products_checked},
                       {"products_wrong", found.products_wrong}});
}

}  // namespace

RecipeDefinition gpu_probe_recipe() {
  return {.name = "gpu_probe",
          .summary = "What does this host's GPU do in a second, and are its products right?",
          .payload_schema = payload_schema(),
          .operations = {operations.begin(), operations.end()},
          .artifact_inputs = {},
          .result_class = RecipeClass::bounded,
          .check = [](const json::Value& payload) -> Result<Done> {
            CALYX_CHECK(read_payload(payload));
            return Done{};
          },
          .run = run};
}

}  // namespace calyx::recipes
