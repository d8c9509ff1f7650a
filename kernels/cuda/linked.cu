// The driver's linker, which is asked for at run time, and the kernels that it has made.
#include <cuda.h>

#include <cstdio>
#include <list>
#include <string>

#include "linked.cuh"

extern "C" {
// The image of linked/simulate.cu.
extern const unsigned char calyx_linked_image[];
extern const unsigned char calyx_linked_image_end[];
}

namespace calyx::kernels::cuda {

class Linked {
 public:
  std::string text;
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;  ///< Null: it could not be made, or is of no use.
  bool proven = false;
};

namespace {

constexpr const char* kernel_name = "calyx_simulate_linked";
/// Programs that are kept: a host that tries strategies in turn has a few of them.
constexpr std::size_t kept_most = 8;

/// The driver's functions, by the types that the header has for them; the driver itself is not linked with.
struct Driver {
  decltype(&::cuLinkCreate) link_create = nullptr;
  decltype(&::cuLinkAddData) link_add = nullptr;
  decltype(&::cuLinkComplete) link_complete = nullptr;
  decltype(&::cuLinkDestroy) link_destroy = nullptr;
  decltype(&::cuModuleLoadData) load = nullptr;
  decltype(&::cuModuleUnload) unload = nullptr;
  decltype(&::cuModuleGetFunction) function = nullptr;
  decltype(&::cuLaunchKernel) launch = nullptr;
  bool whole = false;
};

template <class Function>
bool find(const char* name, Function& function) {
  void* found = nullptr;
#if CUDART_VERSION >= 12050
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault);
#endif
  if (error != cudaSuccess || found == nullptr) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  function = reinterpret_cast<Function>(found);
  return true;
}

const Driver& driver() {
  static const Driver found = [] {
    Driver it;
    it.whole = find("cuLinkCreate", it.link_create) && find("cuLinkAddData", it.link_add) &&
               find("cuLinkComplete", it.link_complete) && find("cuLinkDestroy", it.link_destroy) &&
               find("cuModuleLoadData", it.load) && find("cuModuleUnload", it.unload) &&
               find("cuModuleGetFunction", it.function) && find("cuLaunchKernel", it.launch);
    return it;
  }();
  return found;
}

/// The driver's linker at work on one image. What it made is its own, so it outlives the loading.
class Link {
 public:
  Link() { open_ = driver().link_create(2, options_, values_, &state_) == CUDA_SUCCESS; }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() {
    if (open_) static_cast<void>(driver().link_destroy(state_));
  }

  bool add(CUjitInputType type, const void* data, std::size_t size, const char* name) {
    return open_ && driver().link_add(state_, type, const_cast<void*>(data), size, name, 0, nullptr,
                                      nullptr) == CUDA_SUCCESS;
  }
  bool load(CUmodule& module) {
    void* image = nullptr;
    std::size_t size = 0;
    return open_ && driver().link_complete(state_, &image, &size) == CUDA_SUCCESS &&
           driver().load(&module, image) == CUDA_SUCCESS;
  }
  const char* said() const { return said_; }

 private:
  CUlinkState state_ = nullptr;
  bool open_ = false;
  char said_[160] = {};
  // The linker writes to these for as long as it is open.
  CUjit_option options_[2] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values_[2] = {said_, reinterpret_cast<void*>(sizeof said_ - 1)};
};

void link(Linked& linked) {
  Link linker;
  const auto image_bytes = static_cast<std::size_t>(calyx_linked_image_end - calyx_linked_image);
  // A text ends in a NUL, which is part of it.
  if (linker.add(CU_JIT_INPUT_PTX, linked.text.c_str(), linked.text.size() + 1, "strategy") &&
      linker.add(CU_JIT_INPUT_FATBINARY, calyx_linked_image, image_bytes, "simulation") &&
      linker.load(linked.module) &&
      driver().function(&linked.kernel, linked.module, kernel_name) == CUDA_SUCCESS)
    return;
  linked.kernel = nullptr;
  char why[224];
  std::snprintf(why, sizeof why, "the driver links no program: %s", linker.said());
  remember(why);
}

std::list<Linked>& all() {
  // Never destroyed, as the lock: a driver may be gone before a program's last destructors run.
  static auto* const kept = new std::list<Linked>;
  return *kept;
}

void drop_oldest() {
  Linked& oldest = all().back();
  if (oldest.module != nullptr) static_cast<void>(driver().unload(oldest.module));
  all().pop_back();
}

}  // namespace

Linked* linked_with(std::string_view text) {
  if (!driver().whole) {
    remember("the driver has no linker");
    return nullptr;
  }
  auto& kept = all();
  for (auto it = kept.begin(); it != kept.end(); ++it) {
    if (it->text != text) continue;
    kept.splice(kept.begin(), kept, it);
    return it->kernel == nullptr ? nullptr : &kept.front();
  }
  // No call of the module is under way but this one, so nothing that is dropped runs.
  if (kept.size() >= kept_most) drop_oldest();
  kept.emplace_front().text = text;
  link(kept.front());
  return kept.front().kernel == nullptr ? nullptr : &kept.front();
}

void refuse(Linked& linked) { linked.kernel = nullptr; }
bool is_proven(const Linked& linked) { return linked.proven; }
void prove(Linked& linked) { linked.proven = true; }

bool launch(const Linked& linked, const Launch& what, cudaStream_t stream) {
  Launch given = what;
  void* arguments[] = {&given};
  if (driver().launch(linked.kernel, blocks_for(what.lanes.count), 1, 1, threads, 1, 1, 0, stream, arguments,
                      nullptr) == CUDA_SUCCESS)
    return true;
  remember("the driver launches no linked program");
  return false;
}

}  // namespace calyx::kernels::cuda
