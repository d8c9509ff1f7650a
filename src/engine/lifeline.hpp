/// \file
/// How what outlives an engine reaches its market: through a lifeline, which the market cuts as it goes.
///
/// Threads: any.
#pragma once

#include <unistd.h>

#include <atomic>
#include <calyx/core/result.hpp>
#include <mutex>
#include <shared_mutex>

namespace calyx {
class Market;
}

namespace calyx::engine {

class Lifeline {
 public:
  explicit Lifeline(Market& market) noexcept : market_(market), pid_(::getpid()) {}
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  /// The market, which does not go while this stands.
  class Hold {
   public:
    Market& market() const noexcept { return market_; }

   private:
    friend class Lifeline;
    Hold(Market& market, std::shared_lock<std::shared_mutex> lock) noexcept
        : market_(market), lock_(std::move(lock)) {}
    Market& market_;
    std::shared_lock<std::shared_mutex> lock_;
  };

  /// Fails: `closed`; `forked`, in a child, which leaves alone a lock that another thread of its parent may
  /// have held as it was made.
  Result<Hold> hold() {
    if (!at_home()) return fail(Reason::forked, "this process was forked: open the market in it anew");
    if (!loose_) {
      std::shared_lock lock(mutex_);
      if (!loose_) return Hold(market_, std::move(lock));
    }
    return fail(Reason::closed, "the engine was closed");
  }
  /// Whether this is the process that the market is of.
  bool at_home() const noexcept { return pid_ == ::getpid(); }
  /// Whether those who hold on are to let go.
  bool loose() const noexcept { return loose_; }
  /// From now on nobody takes hold; who waits must be woken after this.
  void loosen() noexcept { loose_ = true; }
  /// Waits until everybody has let go.
  void cut() {
    loosen();
    const std::lock_guard lock(mutex_);
  }

 private:
  Market& market_;
  const std::int64_t pid_;
  std::atomic<bool> loose_{false};
  std::shared_mutex mutex_;
};

}  // namespace calyx::engine
