// The host's side of the module: finds it, and asks it for its device. Compiled into the library, not into
// the module.
#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <string>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/cuda_module.hpp"

namespace calyx::kernels::cuda {
namespace {

/// Where the module is expected: beside the file that this code was loaded from.
std::string path_beside_us() {
  Dl_info info{};
  // Any address of this file does.
  static const int here = 0;
  if (dladdr(&here, &info) == 0 || info.dli_fname == nullptr) return {};
  std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  path.erase(slash == std::string::npos ? 0 : slash + 1);
  path.append("libcalyx_cuda.so");
  return slash == std::string::npos ? "./" + path : path;
}

const char* said(Status status) {
  switch (status) {
    case Status::no_driver: return "no driver for CUDA is installed, or one that is too old";
    case Status::no_device: return "the driver shows no device";
    default: return "the device does not answer";
  }
}

Loaded loaded() {
  Loaded out;
  const char* const wanted = std::getenv("CALYX_CUDA_MODULE");
  const std::string path = wanted != nullptr && *wanted != '\0' ? wanted : path_beside_us();
  // Never closed: a driver does not bear it.
  void* const library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    out.why = "libcalyx_cuda.so is not there, or cannot be loaded";
    return out;
  }
  void* const symbol = dlsym(library, entry_name);
  const Module* const module = symbol == nullptr ? nullptr : reinterpret_cast<Entry>(symbol)();
  if (module == nullptr || module->version != module_version || module->bytes != sizeof(Module)) {
    out.why = "libcalyx_cuda.so is of another version of calyx";
    return out;
  }
  out.module = module;
  const Status status = module->device(&out.device);
  out.answers = status == Status::ok;
  if (!out.answers) out.why = said(status);
  return out;
}

}  // namespace

const Loaded& load() noexcept {
  static std::once_flag once;
  static Loaded found;
  try {
    std::call_once(once, [] { found = loaded(); });
  } catch (...) {
    // No memory for a path: the next call may have it.
    static const Loaded nothing{nullptr, "there is no memory left to look for the module", false, {}};
    return nothing;
  }
  return found;
}

}  // namespace calyx::kernels::cuda

namespace calyx::kernels {
namespace {

bool device_answers() noexcept { return cuda::load().answers; }

Code packing_eval(const double* candidates, std::size_t count, packing::Verdict* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const Code code =
        packing::check_candidate(candidates + i * packing::candidate_numbers, packing::candidate_numbers);
    if (code != Code::ok) return code;
  }
  if (!device_answers()) return Code::no_device;
  return cuda::load().module->packing_eval(candidates, count, out) == cuda::Status::ok ? Code::ok
                                                                                       : Code::no_device;
}

}  // namespace

const Backend* cuda_backend() noexcept {
  static constexpr Backend backend{"cuda", device_answers, packing_eval};
  return cuda::load().module == nullptr ? nullptr : &backend;
}

}  // namespace calyx::kernels
