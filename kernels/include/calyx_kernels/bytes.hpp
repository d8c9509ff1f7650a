/// \file
/// Bytes that are moved, filled, read and written: the C library's way on a host, and a device's own.
///
/// A device has no `memmove`, and what it does without knowing where bytes lie it does byte by byte. So it
/// looks, and goes by words where it may.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/host_device.hpp"

namespace calyx::kernels {

/// Whether `place` is a multiple of `size`, a power of two.
CALYX_HD inline bool lies_at(const void* place, std::size_t size) {
  return (reinterpret_cast<std::uintptr_t>(place) & (size - 1)) == 0;
}

template <class T>
CALYX_HD inline T read_bytes(const unsigned char* from) {
  T value;
#if CALYX_DEVICE_FORM
  if (lies_at(from, sizeof value))
    std::memcpy(&value, __builtin_assume_aligned(from, sizeof value), sizeof value);
  else
#endif
    std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
CALYX_HD inline void write_bytes(unsigned char* to, T value) {
#if CALYX_DEVICE_FORM
  if (lies_at(to, sizeof value))
    std::memcpy(__builtin_assume_aligned(to, sizeof value), &value, sizeof value);
  else
#endif
    std::memcpy(to, &value, sizeof value);
}

/// The device's own ways, which a host can try, too.
namespace by_words {

inline constexpr std::size_t word = sizeof(std::uint64_t);

CALYX_HD inline void move(void* to, const void* from, std::size_t size) {
  auto* const out = static_cast<unsigned char*>(to);
  const auto* const in = static_cast<const unsigned char*>(from);
  const std::size_t whole = lies_at(out, word) && lies_at(in, word) ? size / word * word : 0;
  if (out <= in) {
    std::size_t i = 0;
    for (; i < whole; i += word) write_bytes(out + i, read_bytes<std::uint64_t>(in + i));
    for (; i < size; ++i) out[i] = in[i];
  } else {
    std::size_t i = size;
    for (; i > whole; --i) out[i - 1] = in[i - 1];
    for (; i > 0; i -= word) write_bytes(out + i - word, read_bytes<std::uint64_t>(in + i - word));
  }
}

CALYX_HD inline void fill(void* to, unsigned char byte, std::size_t size) {
  auto* const out = static_cast<unsigned char*>(to);
  std::size_t i = 0;
  for (; i < size && !lies_at(out + i, word); ++i) out[i] = byte;
  for (; size - i >= word; i += word) write_bytes(out + i, byte * 0x0101010101010101U);
  for (; i < size; ++i) out[i] = byte;
}

}  // namespace by_words

/// As `std::memmove`.
CALYX_HD inline void move_bytes(void* to, const void* from, std::size_t size) {
#if CALYX_DEVICE_FORM
  by_words::move(to, from, size);
#else
  std::memmove(to, from, size);
#endif
}

/// As `std::memset`.
CALYX_HD inline void fill_bytes(void* to, unsigned char byte, std::size_t size) {
#if CALYX_DEVICE_FORM
  by_words::fill(to, byte, size);
#else
  std::memset(to, byte, size);
#endif
}

}  // namespace calyx::kernels
