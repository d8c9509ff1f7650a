// libFuzzer's way into one target, which CALYX_FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  calyx::fuzz::target::CALYX_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
