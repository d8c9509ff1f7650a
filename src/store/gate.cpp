#include "store/gate.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>
#include <utility>

namespace calyx::store {
namespace {

/// What is mapped of the file. Every process of the machine must agree on it, whatever its build, so a
/// new layout takes a new magic.
struct Page {
  std::uint64_t magic;
  std::atomic<std::uint64_t> committed_seq;
  std::atomic<std::int64_t> last_wanted_us;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "processes share these words without a lock");
static_assert(sizeof(Page) == 24 && sizeof(std::atomic<std::uint64_t>) == 8);

constexpr std::size_t page_bytes = 4096;
constexpr std::uint64_t magic_word = 0x31'65'74'61'67'78'6C'63;  // "clxgate1", little endian

void sleep_us(std::int64_t us) {
  if (us > 0) std::this_thread::sleep_for(std::chrono::microseconds(us));
}

Error gate_error(const char* doing, int number) {
  const Reason reason = number == ENOSPC || number == EDQUOT ? Reason::disk_full
                        : number == ENOMEM                   ? Reason::no_memory
                                                             : Reason::io_error;
  return fail(reason,
              std::string("the market's gate file: ") + doing + " (errno " + std::to_string(number) + ")",
              core::json::object({{"errno", number}}));
}

Error busy(std::int64_t waited_us) {
  const std::int64_t waited_ms = waited_us / 1000;
  return fail(Reason::store_busy,
              "another engine held the market for all of " + std::to_string(waited_ms) + " ms",
              core::json::object({{"waited_ms", waited_ms}}));
}

/// A descriptor that is closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }

 private:
  int number_;
};

enum class Try : std::uint8_t { taken, busy, failed };

Try try_lock(int descriptor) noexcept {
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    return errno == EWOULDBLOCK ? Try::busy : Try::failed;
  }
  return Try::taken;
}

Result<Done> write_all(int descriptor, const char* bytes, std::size_t count, off_t at) {
  while (count > 0) {
    const ssize_t written = ::pwrite(descriptor, bytes, count, at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return gate_error("cannot be written", written < 0 ? errno : ENOSPC);
    bytes += written;
    count -= static_cast<std::size_t>(written);
    at += written;
  }
  return Done{};
}

/// Whether the file is whole and ours. A file of no bytes, or cut short by a full disk, is still to be made.
Result<bool> is_made(int descriptor) {
  struct stat facts;
  if (::fstat(descriptor, &facts) != 0) return gate_error("cannot be looked at", errno);
  if (!S_ISREG(facts.st_mode)) return fail(Reason::not_a_market, "the market's gate is no file");
  std::uint64_t magic = 0;
  ssize_t got;
  do got = ::pread(descriptor, &magic, sizeof magic, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return gate_error("cannot be read", errno);
  if (magic != 0 && magic != magic_word)
    return fail(Reason::not_a_market, "the market's gate file holds something else: move it away");
  return magic == magic_word && facts.st_size >= static_cast<off_t>(page_bytes);
}

}  // namespace

std::int64_t monotonic_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Jitter::Jitter() noexcept {
  state_ = static_cast<std::uint64_t>(monotonic_us()) * 0x9E3779B97F4A7C15 ^
           (static_cast<std::uint64_t>(::getpid()) << 40) ^ reinterpret_cast<std::uintptr_t>(this);
  if (state_ == 0) state_ = 1;  // xorshift never leaves zero
}

std::int64_t Jitter::next_us() noexcept {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return 50 + static_cast<std::int64_t>(state_ % 101);
}

struct Gate::Inside {
  explicit Inside(Descriptor opened) noexcept : descriptor(std::move(opened)) {}
  ~Inside() {
    if (page != nullptr) ::munmap(page, page_bytes);
  }

  Descriptor descriptor;
  Page* page = nullptr;
  bool writable = true;
  pid_t owner = ::getpid();
  Jitter jitter;
  std::atomic<bool> held{false};
  std::atomic<std::int64_t> own_stamp_us{0};  // what this gate last wrote into last_wanted_us
  std::int64_t stand_aside_until_us = 0;

  /// Tells the holder that somebody waits.
  void want(std::int64_t now_us) noexcept {
    if (!writable || page == nullptr) return;
    own_stamp_us.store(now_us, std::memory_order_relaxed);
    page->last_wanted_us.store(now_us, std::memory_order_relaxed);
  }

  /// A stamp that is our own means that nobody has tried since we did.
  bool wanted_by_others() const noexcept {
    const std::int64_t stamp_us = page->last_wanted_us.load(std::memory_order_relaxed);
    if (stamp_us == own_stamp_us.load(std::memory_order_relaxed)) return false;
    const std::int64_t age_us = monotonic_us() - stamp_us;
    return age_us >= 0 && age_us < wanted_window_us;
  }

  Result<Done> lock(std::uint64_t timeout_ms) {
    const std::int64_t began_us = monotonic_us();
    // Beyond a day it is all the same, and the sum below must not overflow.
    const std::int64_t timeout_us =
        static_cast<std::int64_t>(std::min<std::uint64_t>(timeout_ms, 86'400'000)) * 1000;
    const std::int64_t aside_us = std::min(stand_aside_until_us - began_us, timeout_us);
    if (aside_us > 0) sleep_us(aside_us);
    for (;;) {
      const Try tried = try_lock(descriptor.get());
      if (tried == Try::taken) return Done{};
      if (tried == Try::failed) return gate_error("cannot be locked", errno);
      const std::int64_t now_us = monotonic_us();
      want(now_us);
      const std::int64_t left_us = began_us + timeout_us - now_us;
      if (left_us <= 0) return busy(now_us - began_us);
      sleep_us(std::min(jitter.next_us(), left_us));
    }
  }

  void unlock() noexcept {
    // Standing aside for one pause lets a waiter's next try find the gate open.
    if (wanted_by_others()) stand_aside_until_us = monotonic_us() + jitter.next_us();
    ::flock(descriptor.get(), LOCK_UN);
  }

  Result<Done> map() {
    void* mapped = ::mmap(nullptr, page_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                          descriptor.get(), 0);
    if (mapped == MAP_FAILED) return gate_error("cannot be mapped", errno);
    page = static_cast<Page*>(mapped);
    return Done{};
  }
};

Gate::Gate() noexcept = default;
Gate::Gate(std::unique_ptr<Inside> inside) noexcept : inside_(std::move(inside)) {}
Gate::Gate(Gate&&) noexcept = default;
Gate& Gate::operator=(Gate&&) noexcept = default;
Gate::~Gate() = default;

Result<Gate> Gate::open(const std::string& path, std::uint64_t timeout_ms) {
  Descriptor descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (descriptor.get() < 0) return gate_error("cannot be opened or made", errno);
  auto inside = std::make_unique<Inside>(std::move(descriptor));
  CALYX_TRY(const bool made, is_made(inside->descriptor.get()));
  if (!made) {
    CALYX_CHECK(inside->lock(timeout_ms));
    const int file = inside->descriptor.get();
    // Real bytes, not a hole: a store to a mapped hole on a full disk would end the process. Somebody may
    // have made the file while we waited, so what stands is written only where it is not whole.
    auto done = [&]() -> Result<Done> {
      CALYX_TRY(const bool made_meanwhile, is_made(file));
      if (made_meanwhile) return Done{};
      char bytes[page_bytes] = {};
      CALYX_CHECK(write_all(file, bytes, page_bytes, 0));
      std::memcpy(bytes, &magic_word, sizeof magic_word);
      return write_all(file, bytes, sizeof magic_word, 0);
    }();
    ::flock(file, LOCK_UN);
    if (!done.ok()) return std::move(done).error();
  }
  CALYX_CHECK(inside->map());
  return Gate(std::move(inside));
}

Gate Gate::open_for_reading(const std::string& path) noexcept {
  try {
    if (auto gate = open(path); gate.ok()) return *std::move(gate);
    Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (descriptor.get() < 0) return Gate();
    const auto made = is_made(descriptor.get());
    if (!made.ok() || !*made) return Gate();
    auto inside = std::make_unique<Inside>(std::move(descriptor));
    inside->writable = false;
    if (!inside->map().ok()) return Gate();
    return Gate(std::move(inside));
  } catch (...) {
    return Gate();  // no memory for an error's text: as good as no file
  }
}

Result<Done> Gate::lock(std::uint64_t timeout_ms) {
  if (!inside_) return Done{};
  if (inside_->owner != ::getpid())
    return fail(Reason::forked, "the market was opened before a fork: open it again in the child");
  if (inside_->held.exchange(true, std::memory_order_acquire))
    return fail(Reason::internal, "the market's gate was taken twice by one engine");
  auto locked = inside_->lock(timeout_ms);
  if (!locked.ok()) inside_->held.store(false, std::memory_order_release);
  return locked;
}

void Gate::unlock() noexcept {
  // In a forked child the lock is the parent's: giving it back here would open the parent's gate.
  if (!inside_ || !inside_->held.load(std::memory_order_relaxed) || inside_->owner != ::getpid()) return;
  inside_->unlock();
  inside_->held.store(false, std::memory_order_release);
}

bool Gate::held() const noexcept { return inside_ && inside_->held.load(std::memory_order_relaxed); }

bool Gate::wanted_by_others() const noexcept { return inside_ && inside_->wanted_by_others(); }

void Gate::publish(std::uint64_t seq) noexcept {
  if (!inside_ || !inside_->writable) return;
  std::atomic<std::uint64_t>& word = inside_->page->committed_seq;
  std::uint64_t stands = word.load(std::memory_order_relaxed);
  while (stands < seq && !word.compare_exchange_weak(stands, seq, std::memory_order_release)) {
  }
}

std::optional<std::uint64_t> Gate::committed_seq() const noexcept {
  if (!inside_) return std::nullopt;
  return inside_->page->committed_seq.load(std::memory_order_acquire);
}

}  // namespace calyx::store
