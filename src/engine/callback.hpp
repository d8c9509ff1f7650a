/// \file
/// Which callbacks of the host are under way on this thread, and of which market.
///
/// A callback that asks its own market could wait for the very call that made it, so `Market` refuses it.
#pragma once

namespace calyx::engine {

/// Stands while a callback of `market` runs; markets whose callbacks call each other make a chain.
class InCallback {
 public:
  explicit InCallback(const void* market) noexcept : market_(market), outer_(innermost) { innermost = this; }
  InCallback(const InCallback&) = delete;
  InCallback& operator=(const InCallback&) = delete;
  ~InCallback() { innermost = outer_; }

  static bool of(const void* market) noexcept {
    for (const InCallback* each = innermost; each != nullptr; each = each->outer_)
      if (each->market_ == market) return true;
    return false;
  }

 private:
  const void* market_;
  const InCallback* outer_;
  static inline thread_local const InCallback* innermost = nullptr;
};

}  // namespace calyx::engine
