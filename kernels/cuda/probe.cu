// What a device does in a second: products of matrices, its memory, and the way to the host and back.
#include <dlfcn.h>

#include <algorithm>
#include <vector>

#include "calyx_kernels/freivalds.hpp"
#include "device.cuh"

namespace calyx::kernels::cuda {
namespace {

// Of cuBLAS, from its reference: the library is opened when it is there, and its headers are not needed.
constexpr int operation_none = 0;          // CUBLAS_OP_N
constexpr int type_fp32 = 0;               // CUDA_R_32F
constexpr int type_fp64 = 1;               // CUDA_R_64F
constexpr int type_bf16 = 14;              // CUDA_R_16BF
constexpr int compute_fp32 = 68;           // CUBLAS_COMPUTE_32F
constexpr int compute_fp64 = 70;           // CUBLAS_COMPUTE_64F
constexpr int algorithm_default = -1;      // CUBLAS_GEMM_DEFAULT
constexpr std::uint32_t check_rounds = 2;  // a wrong product passes one time in 2^40

using Handle = void*;
struct Blas {
  int (*create)(Handle*) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*set_stream)(Handle, cudaStream_t) = nullptr;
  int (*product)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                 const void*, void*, int, int, int, int) = nullptr;
  Handle handle = nullptr;

  Blas() = default;
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;
  ~Blas() {
    if (handle != nullptr) destroy(handle);
  }

  /// False where the library is not there or does not work.
  bool open(cudaStream_t stream) {
    void* library = nullptr;
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"}) {
      library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library != nullptr) break;
    }
    if (library == nullptr) return false;
    const auto find = [library](const char* name, auto& function) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    if (!find("cublasCreate_v2", create) || !find("cublasDestroy_v2", destroy) ||
        !find("cublasSetStream_v2", set_stream) || !find("cublasGemmEx", product))
      return false;
    if (create(&handle) != 0) {
      handle = nullptr;
      return false;
    }
    return set_stream(handle, stream) == 0;
  }
};

/// The upper half of a float: exact for whole numbers below 2^8.
struct Bf16 {
  std::uint16_t bits;
};

__device__ void put(double& to, std::int32_t value) { to = value; }
__device__ void put(float& to, std::int32_t value) { to = static_cast<float>(value); }
__device__ void put(Bf16& to, std::int32_t value) {
  to.bits = static_cast<std::uint16_t>(__float_as_uint(static_cast<float>(value)) >> 16);
}

template <class T>
__global__ void fill(T* out, std::uint64_t count, std::uint64_t seed) {
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride)
    put(out[i], probe_entry(seed, i));
}

/// The stream that is measured and its two marks.
struct Clock {
  Stream stream;
  Event before, after;

  Status open() {
    CALYX_CUDA_DO(stream.open());
    CALYX_CUDA_DO(before.open());
    return after.open();
  }
  /// The best of some tries, in units a second, after one that is not counted. `work` begins `units` of work
  /// in the stream.
  template <class F>
  Status best(const ProbeAsked& asked, double units, double& rate, F work) {
    for (std::uint32_t i = 0; i <= asked.tries; ++i) {
      if (asked.stop.asked()) return Status::stopped;
      CALYX_CUDA(cudaEventRecord(before.get(), stream.get()));
      CALYX_CUDA_DO(work());
      CALYX_CUDA(cudaEventRecord(after.get(), stream.get()));
      CALYX_CUDA(cudaEventSynchronize(after.get()));
      float milliseconds = 0.0F;
      CALYX_CUDA(cudaEventElapsedTime(&milliseconds, before.get(), after.get()));
      if (i != 0 && milliseconds > 0.0F)
        rate = std::max(rate, units / (static_cast<double>(milliseconds) * 1e-3));
    }
    return Status::ok;
  }
};

/// One kind of number: `In` is multiplied and added up in `Out`.
template <class In, class Out>
Status measure_product(Clock& clock, const Blas& blas, const ProbeAsked& asked, int in_type, int out_type,
                       int compute, double& rate, ProbeFound& found) {
  const std::uint64_t entries = std::uint64_t{asked.size} * asked.size;
  const std::uint64_t seed_a = mixed_word(asked.seed, 0);
  const std::uint64_t seed_b = mixed_word(asked.seed, 1);
  DeviceArray<In> a;
  DeviceArray<In> b;
  DeviceArray<Out> c;
  CALYX_CUDA_DO(a.need(entries));
  CALYX_CUDA_DO(b.need(entries));
  CALYX_CUDA_DO(c.need(entries));
  const cudaStream_t stream = clock.stream.get();
  fill<<<1'024, 256, 0, stream>>>(a.data(), entries, seed_a);
  CALYX_CUDA(cudaGetLastError());
  fill<<<1'024, 256, 0, stream>>>(b.data(), entries, seed_b);
  CALYX_CUDA(cudaGetLastError());
  const Out one = 1;
  const Out zero = 0;
  const int size = static_cast<int>(asked.size);
  // cuBLAS counts by columns, so what it sees are the transposes, whose product the other way round is that
  // of ours.
  CALYX_CUDA_DO(clock.best(asked, 2.0 * asked.size * static_cast<double>(entries), rate, [&] {
    const int said = blas.product(blas.handle, operation_none, operation_none, size, size, size, &one,
                                  b.data(), in_type, size, a.data(), in_type, size, &zero, c.data(), out_type,
                                  size, compute, algorithm_default);
    if (said == 0) return Status::ok;
    remember("cublasGemmEx failed");
    return Status::failed;
  }));
  std::vector<Out> host(entries);
  CALYX_CUDA(cudaMemcpy(host.data(), c.data(), entries * sizeof(Out), cudaMemcpyDeviceToHost));
  ++found.products_checked;
  if (!product_holds(seed_a, seed_b, host.data(), asked.size, mixed_word(asked.seed, 2), check_rounds))
    ++found.products_wrong;
  return Status::ok;
}

Status measure_transfers(Clock& clock, const ProbeAsked& asked, ProbeFound& found) {
  DeviceArray<unsigned char> here;
  DeviceArray<unsigned char> there;
  PinnedArray<unsigned char> host;
  const std::size_t bytes = asked.transfer_bytes;
  CALYX_CUDA_DO(here.need(bytes));
  CALYX_CUDA_DO(there.need(bytes));
  CALYX_CUDA_DO(host.need(bytes));
  const cudaStream_t stream = clock.stream.get();
  CALYX_CUDA(cudaMemsetAsync(here.data(), 1, bytes, stream));
  const auto copying = [&](void* to, const void* from, cudaMemcpyKind kind) {
    return [=]() -> Status {
      CALYX_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream));
      return Status::ok;
    };
  };
  const auto size = static_cast<double>(bytes);
  CALYX_CUDA_DO(clock.best(asked, 2.0 * size, found.memory_bytes,
                           copying(there.data(), here.data(), cudaMemcpyDeviceToDevice)));
  CALYX_CUDA_DO(clock.best(asked, size, found.to_host_bytes,
                           copying(host.data(), there.data(), cudaMemcpyDeviceToHost)));
  return clock.best(asked, size, found.to_device_bytes,
                    copying(here.data(), host.data(), cudaMemcpyHostToDevice));
}

}  // namespace

Status probe(const ProbeAsked& asked, ProbeFound& out) {
  out = {};
  Clock clock;
  CALYX_CUDA_DO(clock.open());
  CALYX_CUDA_DO(measure_transfers(clock, asked, out));
  Blas blas;
  if (!blas.open(clock.stream.get())) return Status::ok;
  CALYX_CUDA_DO((measure_product<double, double>(clock, blas, asked, type_fp64, type_fp64, compute_fp64,
                                                 out.fp64_flops, out)));
  CALYX_CUDA_DO((measure_product<float, float>(clock, blas, asked, type_fp32, type_fp32, compute_fp32,
                                               out.fp32_flops, out)));
  return measure_product<Bf16, float>(clock, blas, asked, type_bf16, type_fp32, compute_fp32, out.bf16_flops,
                                      out);
}

}  // namespace calyx::kernels::cuda
