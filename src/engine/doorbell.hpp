/// \file
/// Where threads wait for the end of something that they all wait for: one ring wakes them all.
///
/// A condition variable each costs the ringer a system call and a lock a thread, and the thread the same lock
/// again; `std::atomic::wait` yields its turn a few times before it sleeps. This is the kernel's futex
/// (Linux) and nothing else.
///
/// Threads: any.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace calyx::engine {

class Doorbell {
 public:
  /// Asked before one looks whether there is anything to wait for; `wait` then misses no ring after it.
  std::uint32_t heard() const noexcept { return rings_.load(std::memory_order_seq_cst); }
  /// Sleeps until it rings, if it has not since `heard`. May also return for nothing, so look again.
  void wait(std::uint32_t heard) noexcept {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    futex(FUTEX_WAIT_PRIVATE, heard);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
  void ring_all() noexcept { ring(INT_MAX); }
  /// Wakes one of those who sleep; who was about to sleep looks again as well.
  void ring_one() noexcept { ring(1); }
  /// Wakes one of those who sleep, whose `wait` then returns for nothing. False when none does.
  bool nudge_one() noexcept {
    if (sleepers_.load(std::memory_order_relaxed) == 0) return false;
    futex(FUTEX_WAKE_PRIVATE, 1);
    return true;
  }

 private:
  void ring(std::uint32_t count) noexcept {
    rings_.fetch_add(1, std::memory_order_seq_cst);
    // Who is counted only after this reads the new number of rings, and does not sleep.
    if (sleepers_.load(std::memory_order_seq_cst) != 0) futex(FUTEX_WAKE_PRIVATE, count);
  }
  void futex(int operation, std::uint32_t value) noexcept {
    syscall(SYS_futex, &rings_, operation, value, nullptr, nullptr, 0);
  }

  static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);
  std::atomic<std::uint32_t> rings_{0};
  std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace calyx::engine
