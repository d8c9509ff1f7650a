// What a device does in the place of the C library's memory functions, against these.
#include "calyx_kernels/bytes.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>

namespace by_words = calyx::kernels::by_words;

namespace {

constexpr std::size_t room = 64;

/// Every byte another one, at a multiple of a word.
struct Bytes {
  alignas(8) std::array<unsigned char, room> at{};
  Bytes() {
    for (std::size_t i = 0; i < room; ++i) at[i] = static_cast<unsigned char>(i * 7 + 1);
  }
};

}  // namespace

TEST_CASE("bytes: a device moves as memmove does, wherever the two ends lie and overlap") {
  bool alike = true;
  for (std::size_t from = 0; from < 24; ++from)
    for (std::size_t to = 0; to < 24; ++to)
      for (std::size_t size = 0; size <= 40; ++size) {
        Bytes expected;
        Bytes moved;
        std::memmove(expected.at.data() + to, expected.at.data() + from, size);
        by_words::move(moved.at.data() + to, moved.at.data() + from, size);
        alike = alike && moved.at == expected.at;
      }
  CHECK(alike);
}

TEST_CASE("bytes: a device fills as memset does, from anywhere") {
  bool alike = true;
  for (std::size_t to = 0; to < 24; ++to)
    for (std::size_t size = 0; size <= 40; ++size)
      for (const int byte : {0x00, 0x5a, 0xff}) {
        Bytes expected;
        Bytes filled;
        std::memset(expected.at.data() + to, byte, size);
        by_words::fill(filled.at.data() + to, static_cast<unsigned char>(byte), size);
        alike = alike && filled.at == expected.at;
      }
  CHECK(alike);
}
