/// \file
/// Memory that runs out on demand, for SQLite and for C++ alike.
///
/// Start at `AllocScope`. Linking `fault_alloc.cpp` replaces `operator new` in the whole test program and
/// puts a counting allocator under SQLite before `main`; both cost one branch until a scope is open.
///
/// Threads: a scope may watch its own thread (the default, so that counts repeat) or all of them; at most
/// one scope is open at a time in the program.
#pragma once

#include <cstdint>

namespace calyx::faults {

/// Which allocations a scope counts and may fail.
enum class AllocSource : std::uint8_t { sqlite = 1, cpp = 2, both = 3 };

/// Which threads a scope watches.
enum class AllocThreads : std::uint8_t { mine, all };

struct AllocPlan {
  std::uint64_t fail_at = 0;  ///< The allocation to fail, counted from 1; 0 fails none and counts them all.
  bool persistent = false;    ///< Whether every allocation after `fail_at` fails as well.
  AllocSource source = AllocSource::both;
  AllocThreads threads = AllocThreads::mine;
};

/// Puts the counting allocator under SQLite and turns its lookaside pool off, so that every allocation is
/// seen. Runs by itself before `main`; a test asserts its answer. False: SQLite was already initialised.
bool sqlite_allocator_installed() noexcept;

/// From construction to `stop()` or destruction allocations are counted, and fail as the plan says:
/// SQLite gets NULL, `operator new` throws `std::bad_alloc`.
///
/// A test framework allocates too: call `stop()` before the first assertion.
class AllocScope {
 public:
  explicit AllocScope(AllocPlan plan) noexcept;
  ~AllocScope();
  AllocScope(const AllocScope&) = delete;
  AllocScope& operator=(const AllocScope&) = delete;

  void stop() noexcept;
  std::uint64_t seen() const noexcept;   ///< Allocations counted so far.
  std::uint64_t fired() const noexcept;  ///< Allocations refused so far: 0 means the loop over n is over.
};

namespace detail {
inline thread_local int alloc_pause_depth = 0;
}  // namespace detail

/// While it lives this thread's allocations neither count nor fail: the shim stands for the operating
/// system, whose memory is not the program's.
class AllocPause {
 public:
  AllocPause() noexcept { ++detail::alloc_pause_depth; }
  ~AllocPause() { --detail::alloc_pause_depth; }
  AllocPause(const AllocPause&) = delete;
  AllocPause& operator=(const AllocPause&) = delete;
};

}  // namespace calyx::faults
