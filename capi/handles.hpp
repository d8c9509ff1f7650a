/// \file
/// The table behind the handles of the C ABI.
///
/// A handle is a number in the type of a pointer: which slot, and which of the slot's tenants. So one that
/// was given back, is of another kind, or was made up is told from one that stands by looking, and never by
/// following it.
///
/// Threads: any, at any time. Processes: a forked child begins with a table of its own, and never takes the
/// lock that another thread of its parent may have held at that moment.
#pragma once

#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace calyx::capi {

enum class Kind : std::uint8_t { engine = 1, response = 2, worker = 3, call = 4 };

/// Handles that stand at one time, of all kinds together. A host that holds so many does not give back.
inline constexpr std::size_t handles_max = 1 << 16;

/// The word for `kind` in a message.
const char* noun(Kind kind) noexcept;

class HandleTable {
 public:
  /// The table of this process. Throws `std::bad_alloc`.
  static HandleTable& current();

  /// A handle for `what`. Fails: `no_memory` with `handles_max` of them standing. Throws `std::bad_alloc`,
  /// and then nothing has changed.
  Result<void*> put(Kind kind, std::shared_ptr<void> what);

  /// What `handle` stands for; it lives as long as the answer, whoever gives the handle back meanwhile.
  /// Fails: `handle_invalid`, or `forked` when it is of this process's parent.
  template <class T>
  Result<std::shared_ptr<T>> find(Kind kind, const void* handle) {
    CALYX_TRY(auto what, find_any(kind, handle));
    return std::static_pointer_cast<T>(std::move(what));
  }

  /// Ends `handle` and gives what it stood for, or null when it does not stand in this process.
  std::shared_ptr<void> take(Kind kind, const void* handle) noexcept;

 private:
  struct Slot {
    std::uintptr_t token = 0;  // zero when free
    std::uint32_t tenants = 0;
    std::shared_ptr<void> what;
  };

  HandleTable(std::int64_t process, std::uint32_t generation, const HandleTable* parent) noexcept
      : process_(process), generation_(generation), parent_(parent) {}
  Result<std::shared_ptr<void>> find_any(Kind kind, const void* handle);
  Slot* slot_of(Kind kind, std::uintptr_t token) noexcept;

  const std::int64_t process_;
  const std::uint32_t generation_;                    // forks that lie between this process and the first
  [[maybe_unused]] const HandleTable* const parent_;  // kept so that a checker of leaks sees what it holds
  std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

/// A handle that is not the caller's yet: it ends with the lease unless it is released to them. So the place
/// for an answer is found before the work, and cannot be what fails once the work is done.
class Lease {
 public:
  Lease(HandleTable& table, Kind kind, void* handle) noexcept : table_(table), kind_(kind), handle_(handle) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (handle_ != nullptr) table_.take(kind_, handle_);
  }
  void* release() noexcept { return std::exchange(handle_, nullptr); }

 private:
  HandleTable& table_;
  Kind kind_;
  void* handle_;
};

}  // namespace calyx::capi
