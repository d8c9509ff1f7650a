// Verdicts on packings: a warp a candidate for the areas, a thread a candidate for the circle, and copies
// meanwhile.
#include <algorithm>
#include <cstring>

#include "calyx_kernels/packing_warp.hpp"
#include "device.cuh"
#include "warp.cuh"

namespace calyx::kernels::cuda {
namespace {

constexpr unsigned area_warps = 4;  // a block
constexpr unsigned circle_threads = 64;
/// Candidates that are in one buffer: some milliseconds of work, and 12 MiB.
constexpr std::size_t chunk_max = 32'768;
constexpr unsigned buffers = 2;

__global__ void areas(const double* candidates, std::uint32_t count, packing::Verdict* out) {
  __shared__ packing::WarpScratch scratch[area_warps];
  const unsigned warp = threadIdx.x / packing::warp_lanes;
  const DeviceWarp lanes{threadIdx.x % packing::warp_lanes};
  // A whole warp leaves or stays.
  const std::uint32_t index = blockIdx.x * area_warps + warp;
  if (index >= count) return;
  packing::judge_areas(lanes, candidates + std::size_t{index} * packing::candidate_numbers, scratch[warp],
                       out[index]);
}

__global__ void circles(const double* candidates, std::uint32_t count, packing::Verdict* out) {
  const std::uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  packing::judge_circles(candidates + std::size_t{index} * packing::candidate_numbers, out[index]);
}

/// One of the buffers, and the work on it.
struct Buffer {
  DeviceArray<double> numbers;
  DeviceArray<packing::Verdict> verdicts;
  PinnedArray<double> numbers_in;
  PinnedArray<packing::Verdict> verdicts_out;
  Stream stream;
  std::size_t first = 0;
  std::size_t count = 0;  // 0: nothing is on its way
};

struct Buffers {
  Buffer buffer[buffers];
};

bool is_pinned(const void* memory) {
  cudaPointerAttributes told{};
  const cudaError_t error = cudaPointerGetAttributes(&told, memory);
  static_cast<void>(cudaGetLastError());
  return error == cudaSuccess && told.type == cudaMemoryTypeHost;
}

Status begin(Buffer& buffer, const double* candidates, packing::Verdict* out, bool pinned) {
  const std::size_t numbers = buffer.count * packing::candidate_numbers;
  CALYX_CUDA_DO(buffer.stream.open());
  CALYX_CUDA_DO(buffer.numbers.need(numbers));
  CALYX_CUDA_DO(buffer.verdicts.need(buffer.count));
  const double* from = candidates + buffer.first * packing::candidate_numbers;
  packing::Verdict* to = out + buffer.first;
  if (!pinned) {
    CALYX_CUDA_DO(buffer.numbers_in.need(numbers));
    CALYX_CUDA_DO(buffer.verdicts_out.need(buffer.count));
    std::memcpy(buffer.numbers_in.data(), from, numbers * sizeof(double));
    from = buffer.numbers_in.data();
    to = buffer.verdicts_out.data();
  }
  const cudaStream_t stream = buffer.stream.get();
  const auto count = static_cast<std::uint32_t>(buffer.count);
  CALYX_CUDA(
      cudaMemcpyAsync(buffer.numbers.data(), from, numbers * sizeof(double), cudaMemcpyHostToDevice, stream));
  areas<<<(count + area_warps - 1) / area_warps, area_warps * packing::warp_lanes, 0, stream>>>(
      buffer.numbers.data(), count, buffer.verdicts.data());
  CALYX_CUDA(cudaGetLastError());
  circles<<<(count + circle_threads - 1) / circle_threads, circle_threads, 0, stream>>>(
      buffer.numbers.data(), count, buffer.verdicts.data());
  CALYX_CUDA(cudaGetLastError());
  CALYX_CUDA(cudaMemcpyAsync(to, buffer.verdicts.data(), buffer.count * sizeof(packing::Verdict),
                             cudaMemcpyDeviceToHost, stream));
  return Status::ok;
}

Status end(Buffer& buffer, packing::Verdict* out, bool pinned) {
  if (buffer.count == 0) return Status::ok;
  CALYX_CUDA(cudaStreamSynchronize(buffer.stream.get()));
  if (!pinned)
    std::memcpy(static_cast<void*>(out + buffer.first), buffer.verdicts_out.data(),
                buffer.count * sizeof(packing::Verdict));
  buffer.count = 0;
  return Status::ok;
}

Status run(Buffers& all, const double* candidates, std::size_t count, packing::Verdict* out) {
  const bool pinned = is_pinned(candidates) && is_pinned(out);
  std::size_t turn = 0;
  for (std::size_t first = 0; first < count; first += chunk_max, ++turn) {
    Buffer& buffer = all.buffer[turn % buffers];
    CALYX_CUDA_DO(end(buffer, out, pinned));
    buffer.first = first;
    buffer.count = std::min(chunk_max, count - first);
    CALYX_CUDA_DO(begin(buffer, candidates, out, pinned));
  }
  for (std::size_t i = 0; i < buffers; ++i) CALYX_CUDA_DO(end(all.buffer[(turn + i) % buffers], out, pinned));
  return Status::ok;
}

}  // namespace

Status packing_eval(const double* candidates, std::size_t count, packing::Verdict* out) {
  static auto* const all = new Buffers;
  const Status status = run(*all, candidates, count, out);
  if (status != Status::ok) {
    // What is still on its way must not write to the caller's memory later.
    static_cast<void>(cudaDeviceSynchronize());
    for (Buffer& buffer : all->buffer) buffer.count = 0;
  }
  return status;
}

}  // namespace calyx::kernels::cuda
