/// \file
/// What the module's files share: how a call of CUDA is checked, memory that is given back, and the one lock.
///
/// Start at `Check`.

#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "calyx_kernels/cuda_module.hpp"

namespace calyx::kernels::cuda {

/// Remembers why the device last said no.
void remember(cudaError_t error, const char* what) noexcept;
/// Likewise, in words alone.
void remember(const char* what) noexcept;
Status status_of(cudaError_t error) noexcept;

/// Held by every call: buffers and tapes are the module's own.
std::mutex& module_lock() noexcept;

/// Returns from the function with a status unless `call` went well.
#define CALYX_CUDA(call)                                     \
  do {                                                       \
    const cudaError_t calyx_error = (call);                  \
    if (calyx_error != cudaSuccess) {                        \
      ::calyx::kernels::cuda::remember(calyx_error, #call);  \
      return ::calyx::kernels::cuda::status_of(calyx_error); \
    }                                                        \
  } while (false)

/// The same for a function of ours.
#define CALYX_CUDA_DO(call)                                                      \
  do {                                                                           \
    const ::calyx::kernels::cuda::Status calyx_status = (call);                  \
    if (calyx_status != ::calyx::kernels::cuda::Status::ok) return calyx_status; \
  } while (false)

/// Memory of the device.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { give_back(); }

  /// Makes room for `count`; what was in it is gone when it grows.
  Status need(std::size_t count) {
    if (count <= count_) return Status::ok;
    give_back();
    CALYX_CUDA(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
    count_ = count;
    return Status::ok;
  }
  void give_back() {
    if (data_ != nullptr) static_cast<void>(cudaFree(data_));
    data_ = nullptr;
    count_ = 0;
  }
  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

/// Memory of the host that the device reads at full speed, and can reach by the same address.
template <class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;
  ~PinnedArray() {
    if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
  }
  Status need(std::size_t count) {
    if (count <= count_) return Status::ok;
    if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
    data_ = nullptr;
    count_ = 0;
    CALYX_CUDA(cudaHostAlloc(reinterpret_cast<void**>(&data_), count * sizeof(T), cudaHostAllocMapped));
    count_ = count;
    return Status::ok;
  }
  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

/// A stream, or nothing before `open`.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (stream_ != nullptr) static_cast<void>(cudaStreamDestroy(stream_));
  }
  Status open() {
    if (stream_ == nullptr) CALYX_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    return Status::ok;
  }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A point in a stream.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (event_ != nullptr) static_cast<void>(cudaEventDestroy(event_));
  }
  Status open() {
    if (event_ == nullptr) CALYX_CUDA(cudaEventCreate(&event_));
    return Status::ok;
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// What a device asks whether to stop: a word of the host's memory.
struct Flag {
  const volatile std::uint32_t* up;
  CALYX_HD bool asked() const { return *up != 0; }
};

/// Waits for what is on its way in the stream, and asks the caller meanwhile whether to go on. `stopped`
/// where it does not: then the flag is up, and the stream has ended, too.
Status wait_for(const Stream& stream, const Event& done, const PinnedArray<std::uint32_t>& flag,
                const kernels::prop_amm::Stop& stop);

/// The calls of the table, each in its own file, under the lock but for searches.
Status packing_eval(const double* candidates, std::size_t count, packing::Verdict* out);
Status packing_search(const PackingSearchCall& call);
Status prop_amm(const PropAmmCall& call);
Status prop_amm_objects(const PropAmmObjectCall& call);
Status probe(const ProbeAsked& asked, ProbeFound& out);

}  // namespace calyx::kernels::cuda
