#include "fault_alloc.hpp"

#include <sqlite3.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace calyx::faults {
namespace {

// Plain atomics rather than one locked struct: `operator new` is called from everywhere, also before main
// and inside the mutexes of others.
std::atomic<bool> armed{false};
std::atomic<bool> all_threads{false};
std::atomic<bool> persistent{false};
std::atomic<std::uint8_t> sources{0};
std::atomic<std::uint64_t> fail_at{0};
std::atomic<std::uint64_t> seen_count{0};
std::atomic<std::uint64_t> fired_count{0};
thread_local bool watched = false;

/// Whether the allocation that is about to happen has to fail.
bool refuse(AllocSource source) noexcept {
  if (!armed.load(std::memory_order_acquire)) return false;
  if (!watched && !all_threads.load(std::memory_order_relaxed)) return false;
  if (detail::alloc_pause_depth > 0) return false;
  if ((sources.load(std::memory_order_relaxed) & static_cast<std::uint8_t>(source)) == 0) return false;
  const std::uint64_t number = seen_count.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::uint64_t chosen = fail_at.load(std::memory_order_relaxed);
  const bool hit =
      chosen != 0 && (number == chosen || (number > chosen && persistent.load(std::memory_order_relaxed)));
  if (hit) fired_count.fetch_add(1, std::memory_order_relaxed);
  return hit;
}

sqlite3_mem_methods base_methods{};

void* counted_malloc(int bytes) {
  return refuse(AllocSource::sqlite) ? nullptr : base_methods.xMalloc(bytes);
}

void* counted_realloc(void* old, int bytes) {
  return refuse(AllocSource::sqlite) ? nullptr : base_methods.xRealloc(old, bytes);
}

bool install() noexcept {
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &base_methods) != SQLITE_OK) return false;
  // GETMALLOC answers even when it is too late to change anything; only MALLOC tells.
  sqlite3_mem_methods counted = base_methods;
  counted.xMalloc = counted_malloc;
  counted.xRealloc = counted_realloc;
  if (sqlite3_config(SQLITE_CONFIG_MALLOC, &counted) != SQLITE_OK) return false;
  return sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK;
}

const bool installed = install();

void* obtain(std::size_t bytes) noexcept {
  if (refuse(AllocSource::cpp)) return nullptr;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* obtain(std::size_t bytes, std::align_val_t alignment) noexcept {
  if (refuse(AllocSource::cpp)) return nullptr;
  const auto step = static_cast<std::size_t>(alignment);
  const std::size_t rounded = ((bytes == 0 ? 1 : bytes) + step - 1) / step * step;
  return std::aligned_alloc(step, rounded);
}

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

bool sqlite_allocator_installed() noexcept { return installed; }

AllocScope::AllocScope(AllocPlan plan) noexcept {
  seen_count = 0;
  fired_count = 0;
  fail_at = plan.fail_at;
  persistent = plan.persistent;
  sources = static_cast<std::uint8_t>(plan.source);
  all_threads = plan.threads == AllocThreads::all;
  watched = true;
  armed.store(true, std::memory_order_release);
}

AllocScope::~AllocScope() { stop(); }

void AllocScope::stop() noexcept {
  armed.store(false, std::memory_order_release);
  watched = false;
}

std::uint64_t AllocScope::seen() const noexcept { return seen_count.load(); }
std::uint64_t AllocScope::fired() const noexcept { return fired_count.load(); }

}  // namespace calyx::faults

// The replaceable allocation functions. All of them are replaced, because a mix of ours and the library's
// would pair malloc with a foreign free under a sanitizer.
using calyx::faults::obtain;
using calyx::faults::or_throw;

void* operator new(std::size_t bytes) { return or_throw(obtain(bytes)); }
void* operator new[](std::size_t bytes) { return or_throw(obtain(bytes)); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return obtain(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return obtain(bytes); }
void* operator new(std::size_t bytes, std::align_val_t to) { return or_throw(obtain(bytes, to)); }
void* operator new[](std::size_t bytes, std::align_val_t to) { return or_throw(obtain(bytes, to)); }
void* operator new(std::size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept {
  return obtain(bytes, to);
}
void* operator new[](std::size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept {
  return obtain(bytes, to);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept { std::free(memory); }
