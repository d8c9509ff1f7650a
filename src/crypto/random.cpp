#include "random.hpp"

#include <sodium.h>

namespace calyx::crypto {

bool crypto_ready() noexcept {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

RandomSource system_random() {
  return [](void* out, std::size_t size) {
    if (!crypto_ready()) return false;
    randombytes_buf(out, size);
    return true;
  };
}

}  // namespace calyx::crypto
