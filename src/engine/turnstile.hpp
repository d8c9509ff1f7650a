/// \file
/// A lock for many readers and one writer, who does not wait for readers that came after it.
///
/// The system's own prefers readers: where they overlap without end a writer never has its turn. Here a
/// writer stands in the door as it waits, so that it only waits for those inside.
///
/// Threads: any. A thread that holds it shared must not ask again: a writer may stand between.
#pragma once

#include <atomic>
#include <mutex>
#include <shared_mutex>

namespace calyx::engine {

class Turnstile {
 public:
  void lock() {
    waiting_.fetch_add(1, std::memory_order_relaxed);
    door_.lock();
    room_.lock();
    door_.unlock();
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
  void unlock() { room_.unlock(); }

  /// Readers share no more than the room while no writer is about; one that overlooks a writer does so once.
  void lock_shared() {
    if (waiting_.load(std::memory_order_relaxed) != 0) const std::lock_guard pass(door_);
    room_.lock_shared();
  }
  void unlock_shared() { room_.unlock_shared(); }

 private:
  std::atomic<int> waiting_{0};
  std::mutex door_;
  std::shared_mutex room_;
};

}  // namespace calyx::engine
