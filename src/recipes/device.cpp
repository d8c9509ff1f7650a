#include "recipes/device.hpp"

#include <calyx/core/json.hpp>
#include <utility>

namespace calyx::recipes {

namespace cuda = kernels::cuda;
namespace json = core::json;

Result<const cuda::Module*> device_for(std::string_view field) {
  const cuda::Loaded& loaded = cuda::load();
  if (loaded.answers) return loaded.module;
  return fail(
      Reason::unsupported,
      std::string("no such device answers here, as ").append(loaded.why).append("; device may be auto"),
      json::object({{"field", field}}));
}

Error only_on_cpu(std::string_view field, std::string_view what) {
  return fail(Reason::unsupported, std::string(what).append(" runs on the CPU alone; device may be auto"),
              json::object({{"field", field}}));
}

Error device_failed(const cuda::Module& module, cuda::Status status) {
  switch (status) {
    case cuda::Status::stopped: return fail(Reason::stopped, "was asked to stop");
    case cuda::Status::no_memory: return fail(Reason::no_memory, "the device has no memory left for it");
    case cuda::Status::no_driver:
    case cuda::Status::no_device: return fail(Reason::unsupported, "the device does not answer any more");
    default: return fail(Reason::io_error, std::string("the device failed: ").append(module.last_error()));
  }
}

Error device_failed() {
  const cuda::Module* const module = cuda::load().module;
  std::string message = "the device failed";
  if (module != nullptr) message.append(": ").append(module->last_error());
  return fail(Reason::io_error, std::move(message));
}

}  // namespace calyx::recipes
