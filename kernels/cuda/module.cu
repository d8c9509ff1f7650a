// The table that the library asks for, and what its calls have in common.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "device.cuh"

namespace calyx::kernels::cuda {
namespace {

constexpr std::size_t error_bytes = 256;

std::mutex& error_lock() {
  static std::mutex lock;
  return lock;
}
char error_text[error_bytes] = "";

Status device(Device* out) noexcept {
  *out = {};
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) return Status::no_device;
  if (error == cudaErrorInsufficientDriver || error == cudaErrorInitializationError) return Status::no_driver;
  CALYX_CUDA(error);
  CALYX_CUDA(cudaSetDevice(0));
  cudaDeviceProp told{};
  CALYX_CUDA(cudaGetDeviceProperties(&told, 0));
  std::snprintf(out->name, sizeof out->name, "%s", told.name);
  out->memory_bytes = told.totalGlobalMem;
  out->multiprocessors = static_cast<std::uint32_t>(told.multiProcessorCount);
  out->capability_major = static_cast<std::uint32_t>(told.major);
  out->capability_minor = static_cast<std::uint32_t>(told.minor);
  int version = 0;
  CALYX_CUDA(cudaDriverGetVersion(&version));
  out->driver_version = static_cast<std::uint32_t>(version);
  CALYX_CUDA(cudaRuntimeGetVersion(&version));
  out->runtime_version = static_cast<std::uint32_t>(version);
  return Status::ok;
}

/// Runs one call of the table on the device, and lets nothing be thrown out of the module.
template <class F>
Status guarded(F call) noexcept {
  try {
    CALYX_CUDA(cudaSetDevice(0));
    const Status status = call();
    // An error that a launch left behind is not the next call's.
    static_cast<void>(cudaGetLastError());
    return status;
  } catch (...) {
    remember("the host has no memory left");
    return Status::no_memory;
  }
}

/// The same for a call whose buffers are the module's own.
template <class F>
Status alone(F call) noexcept {
  return guarded([&] {
    const std::lock_guard<std::mutex> hold(module_lock());
    return call();
  });
}

Status packing_eval_alone(const double* candidates, std::size_t count, packing::Verdict* out) noexcept {
  return alone([=] { return packing_eval(candidates, count, out); });
}
Status prop_amm_alone(const PropAmmCall* call) noexcept {
  return alone([=] { return prop_amm(*call); });
}
Status prop_amm_objects_alone(const PropAmmObjectCall* call) noexcept {
  return alone([=] { return prop_amm_objects(*call); });
}
Status probe_alone(const ProbeAsked* asked, ProbeFound* out) noexcept {
  return alone([=] { return probe(*asked, *out); });
}

Status packing_search_guarded(const PackingSearchCall* call) noexcept {
  return guarded([=] { return packing_search(*call); });
}

void* take_pinned(std::size_t bytes) noexcept {
  void* memory = nullptr;
  const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocPortable);
  if (error == cudaSuccess) return memory;
  remember(error, "cudaHostAlloc");
  static_cast<void>(cudaGetLastError());
  return nullptr;
}
void give_pinned(void* memory) noexcept {
  if (memory != nullptr) static_cast<void>(cudaFreeHost(memory));
}

const char* last_error() noexcept {
  // A copy for each thread, so that nobody reads what another one writes.
  static thread_local char text[error_bytes];
  const std::lock_guard<std::mutex> hold(error_lock());
  std::memcpy(text, error_text, sizeof text);
  return text;
}

constexpr Module module{
    module_version, sizeof(Module), device,     packing_eval_alone,     prop_amm_alone,        probe_alone,
    take_pinned,    give_pinned,    last_error, prop_amm_objects_alone, packing_search_guarded};

}  // namespace

void remember(const char* what) noexcept {
  const std::lock_guard<std::mutex> hold(error_lock());
  std::snprintf(error_text, sizeof error_text, "%s", what);
}

void remember(cudaError_t error, const char* what) noexcept {
  const std::lock_guard<std::mutex> hold(error_lock());
  std::snprintf(error_text, sizeof error_text, "%s: %.100s", cudaGetErrorString(error), what);
}

Status status_of(cudaError_t error) noexcept {
  switch (error) {
    case cudaSuccess: return Status::ok;
    case cudaErrorMemoryAllocation: return Status::no_memory;
    case cudaErrorNoDevice: return Status::no_device;
    case cudaErrorInsufficientDriver: return Status::no_driver;
    default: return Status::failed;
  }
}

Status wait_for(const Stream& stream, const Event& done, const PinnedArray<std::uint32_t>& flag,
                const kernels::prop_amm::Stop& stop) {
  CALYX_CUDA(cudaEventRecord(done.get(), stream.get()));
  bool stopping = false;
  for (std::uint32_t looks = 0;; ++looks) {
    const cudaError_t error = cudaEventQuery(done.get());
    if (error == cudaSuccess) break;
    if (error != cudaErrorNotReady) CALYX_CUDA(error);
    static_cast<void>(cudaGetLastError());
    if (!stopping && stop.asked()) {
      stopping = true;
      *static_cast<volatile std::uint32_t*>(flag.data()) = 1;
    }
    // A short call is over before the first long sleep.
    std::this_thread::sleep_for(std::chrono::microseconds(looks < 64 ? 50 : 2'000));
  }
  return stopping ? Status::stopped : Status::ok;
}

std::mutex& module_lock() noexcept {
  // Never destroyed, as all that it guards: a driver may be gone before a program's last destructors run.
  static auto* const lock = new std::mutex;
  return *lock;
}

}  // namespace calyx::kernels::cuda

extern "C" __attribute__((visibility("default"))) const calyx::kernels::cuda::Module* calyx_cuda_module() {
  return &calyx::kernels::cuda::module;
}
