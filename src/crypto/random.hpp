/// \file
/// Where random bytes come from: the system, or whatever a test or a host puts in its place.
#pragma once

#include <cstddef>
#include <functional>

namespace calyx::crypto {

/// Fills `size` bytes at `out`; false when it cannot, and then nothing may be made of them.
/// Threads: called from any thread; what it captures takes care of itself.
using RandomSource = std::function<bool(void* out, std::size_t size)>;

/// The operating system's generator. It stays right after `fork`.
RandomSource system_random();

/// Readies the crypto library, once a process; false when the system gives it no random bytes. Every
/// function of this room that needs it calls it.
bool crypto_ready() noexcept;

}  // namespace calyx::crypto
