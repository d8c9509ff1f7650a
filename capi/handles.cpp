#include "handles.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

namespace calyx::capi {
namespace {

// A token from its lowest bit: 1 (so it equals no address of an object), 3 bits of kind, 16 of slot, 12 of
// generation, 32 of tenants.
static_assert(sizeof(void*) == 8, "a handle carries 64 bits");
constexpr unsigned kind_shift = 1;
constexpr unsigned slot_shift = 4;
constexpr unsigned generation_shift = 20;
constexpr unsigned tenants_shift = 32;
constexpr std::uintptr_t slot_mask = handles_max - 1;
constexpr std::uint32_t generation_mask = 0xFFF;
static_assert(handles_max == std::size_t{1} << (generation_shift - slot_shift));

std::uintptr_t token_of(Kind kind, std::size_t slot, std::uint32_t generation,
                        std::uint32_t tenants) noexcept {
  return std::uintptr_t{1} | static_cast<std::uintptr_t>(kind) << kind_shift | slot << slot_shift |
         static_cast<std::uintptr_t>(generation & generation_mask) << generation_shift |
         static_cast<std::uintptr_t>(tenants) << tenants_shift;
}

std::uint32_t generation_in(std::uintptr_t token) noexcept {
  return static_cast<std::uint32_t>(token >> generation_shift) & generation_mask;
}
Kind kind_in(std::uintptr_t token) noexcept { return static_cast<Kind>((token >> kind_shift) & 7); }

std::atomic<HandleTable*> table_now{nullptr};

}  // namespace

const char* noun(Kind kind) noexcept {
  constexpr const char* nouns[] = {"", "engine", "response", "worker", "call"};
  return nouns[static_cast<std::size_t>(kind)];
}

HandleTable& HandleTable::current() {
  const std::int64_t process = ::getpid();
  HandleTable* stands = table_now.load(std::memory_order_acquire);
  if (stands != nullptr && stands->process_ == process) return *stands;
  // Never destroyed: the destructors of a host's statics may still give handles back, and what a forked child
  // has from its parent must not be closed by it.
  const std::uint32_t generation = stands == nullptr ? 0 : stands->generation_ + 1;
  std::unique_ptr<HandleTable> made(new HandleTable(process, generation, stands));
  if (table_now.compare_exchange_strong(stands, made.get(), std::memory_order_acq_rel))
    return *made.release();
  return *stands;  // another thread of this process was first
}

Result<void*> HandleTable::put(Kind kind, std::shared_ptr<void> what) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    if (slots_.size() >= handles_max)
      return fail(Reason::no_memory,
                  std::to_string(handles_max) + " handles stand, which is all there may be: give some back");
    // Room first in both, so that giving a handle back never allocates and a failure here changes nothing.
    const std::size_t wanted = std::max<std::size_t>(64, slots_.size() + 1);
    if (slots_.capacity() < wanted) slots_.reserve(std::max(wanted, slots_.capacity() * 2));
    free_.reserve(slots_.capacity());
    slots_.emplace_back();
    free_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
  }
  const std::size_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  ++slot.tenants;
  slot.token = token_of(kind, index, generation_, slot.tenants);
  slot.what = std::move(what);
  return reinterpret_cast<void*>(slot.token);  // NOLINT(performance-no-int-to-ptr): a number, never followed
}

HandleTable::Slot* HandleTable::slot_of(Kind kind, std::uintptr_t token) noexcept {
  const std::size_t index = (token >> slot_shift) & slot_mask;
  if (kind_in(token) != kind || index >= slots_.size() || slots_[index].token != token) return nullptr;
  return &slots_[index];
}

Result<std::shared_ptr<void>> HandleTable::find_any(Kind kind, const void* handle) {
  const auto token = reinterpret_cast<std::uintptr_t>(handle);
  {
    const std::lock_guard lock(mutex_);
    if (Slot* slot = slot_of(kind, token)) return slot->what;
  }
  const std::string name = noun(kind);
  if (handle == nullptr) return fail(Reason::handle_invalid, name + " is NULL");
  // What the parent's table held cannot be asked, its lock may be held for ever; the shape has to do.
  if ((token & 1) != 0 && kind_in(token) == kind && token >> tenants_shift != 0 &&
      generation_in(token) < generation_)
    return fail(Reason::forked, name + " was opened before a fork: open the market again in this process");
  return fail(Reason::handle_invalid,
              name + " is no handle that stands: it was given back, or is of another kind");
}

std::shared_ptr<void> HandleTable::take(Kind kind, const void* handle) noexcept {
  const std::lock_guard lock(mutex_);
  Slot* slot = slot_of(kind, reinterpret_cast<std::uintptr_t>(handle));
  if (slot == nullptr) return nullptr;
  slot->token = 0;
  // A slot whose count of tenants is used up stays empty, since its next handle would be an old one again.
  if (slot->tenants != UINT32_MAX) free_.push_back(static_cast<std::uint32_t>(slot - slots_.data()));
  return std::move(slot->what);
}

}  // namespace calyx::capi
