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
#include <vector>

#include "store/path.hpp"

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

Error gate_error(const char* doing, int number) {
  const Reason reason = number == ENOSPC || number == EDQUOT ? Reason::disk_full
                        : number == ENOMEM                   ? Reason::no_memory
                                                             : Reason::io_error;
  const char* advice = number == EACCES || number == EPERM || number == EROFS
                           ? "let this user write it and its folder, or open the market read-only"
                       : reason == Reason::disk_full          ? "make room on its disk"
                       : number == EMFILE || number == ENFILE ? "allow more open files"
                       : number == ENOENT                     ? "make its folder"
                       : number == ELOOP || number == EISDIR  ? "move it away"
                                                              : "check its disk";
  return fail(
      reason,
      std::string("the market's gate file ") + doing + " (errno " + std::to_string(number) + "): " + advice,
      core::json::object({{"errno", number}}));
}

Error busy(std::int64_t waited_us) {
  const std::int64_t waited_ms = waited_us / 1000;
  return fail(Reason::store_busy,
              "another engine held the market for all of " + std::to_string(waited_ms) +
                  " ms: repeat the call, or set busy_timeout_ms higher",
              core::json::object({{"waited_ms", waited_ms}}));
}

/// A descriptor that is closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
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
  if (!S_ISREG(facts.st_mode))
    return fail(Reason::not_a_market, "the market's gate is no file: move it away");
  std::uint64_t magic = 0;
  ssize_t got;
  do got = ::pread(descriptor, &magic, sizeof magic, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return gate_error("cannot be read", errno);
  if (magic != 0 && magic != magic_word)
    return fail(Reason::not_a_market, "the market's gate file holds something else: move it away");
  return magic == magic_word && facts.st_size >= static_cast<off_t>(page_bytes);
}

/// The gate's file, opened; `made` says whether by this very call.
struct Opened {
  Descriptor descriptor;
  bool made = false;
};

Result<Opened> open_file(const std::string& path) {
  constexpr int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  for (;;) {
    Descriptor standing(::open(path.c_str(), flags));
    if (standing.get() >= 0) return Opened{std::move(standing), false};
    if (errno != ENOENT) return gate_error("cannot be opened", errno);
    Descriptor made(::open(path.c_str(), flags | O_CREAT | O_EXCL, 0600));
    if (made.get() >= 0) return Opened{std::move(made), true};
    if (errno != EEXIST) return gate_error("cannot be made", errno);
  }
}

/// Fills a file that is not whole. Real bytes, not a hole: a store to a mapped hole on a full disk would end
/// the process. Somebody may have made the file while we waited for its lock, so what stands is written only
/// where it is not whole. Under the lock.
Result<Done> fill_file(int descriptor) {
  CALYX_TRY(const bool made_meanwhile, is_made(descriptor));
  if (made_meanwhile) return Done{};
  char bytes[page_bytes] = {};
  CALYX_CHECK(write_all(descriptor, bytes, page_bytes, 0));
  std::memcpy(bytes, &magic_word, sizeof magic_word);
  return write_all(descriptor, bytes, sizeof magic_word, 0);
}

Result<Page*> map_page(int descriptor, bool writable) {
  void* mapped =
      ::mmap(nullptr, page_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) return gate_error("cannot be mapped", errno);
  return static_cast<Page*>(mapped);
}

}  // namespace

std::int64_t monotonic_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void sleep_us(std::int64_t us) {
  if (us > 0) std::this_thread::sleep_for(std::chrono::microseconds(us));
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
  Inside(std::string where, Descriptor opened) : path(std::move(where)), descriptor(std::move(opened)) {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    for (Page* each : mapped) ::munmap(each, page_bytes);
  }

  std::string path;
  Descriptor descriptor;
  std::atomic<Page*> page{nullptr};
  std::vector<Page*> mapped;  ///< Every page that was ever looked at: a reader may be looking still.
  bool writable = true;
  bool page_stands = false;  ///< `page` is of the file that is open.
  bool made = false;         ///< By this gate, in its folder.
  pid_t owner = ::getpid();
  Jitter jitter;
  std::atomic<bool> held{false};
  std::atomic<std::int64_t> own_stamp_us{0};  // what this gate last wrote into last_wanted_us
  std::int64_t stand_aside_until_us = 0;

  Page& shared() const noexcept { return *page.load(std::memory_order_acquire); }

  /// Tells the holder that somebody waits.
  void want(std::int64_t now_us) noexcept {
    if (!writable || page.load(std::memory_order_relaxed) == nullptr) return;
    own_stamp_us.store(now_us, std::memory_order_relaxed);
    shared().last_wanted_us.store(now_us, std::memory_order_relaxed);
  }

  /// A stamp that is our own means that nobody has tried since we did.
  bool wanted_by_others() const noexcept {
    const std::int64_t stamp_us = shared().last_wanted_us.load(std::memory_order_relaxed);
    if (stamp_us == own_stamp_us.load(std::memory_order_relaxed)) return false;
    const std::int64_t age_us = monotonic_us() - stamp_us;
    return age_us >= 0 && age_us < wanted_window_us;
  }

  /// Locks the file that bears the gate's name.
  Result<Done> lock(std::uint64_t timeout_ms) {
    const std::int64_t began_us = monotonic_us();
    // Beyond a day it is all the same, and the sum below must not overflow.
    const std::int64_t timeout_us =
        static_cast<std::int64_t>(std::min<std::uint64_t>(timeout_ms, 86'400'000)) * 1000;
    const std::int64_t aside_us = std::min(stand_aside_until_us - began_us, timeout_us);
    if (aside_us > 0) sleep_us(aside_us);
    for (;;) {
      const Try tried = try_lock(descriptor.get());
      if (tried == Try::failed) return gate_error("cannot be locked", errno);
      if (tried == Try::taken) {
        Result<Done> ours = replaced() ? open_again() : page_stands ? Result<Done>(Done{}) : make_page();
        if (ours.ok() && page_stands) return ours;
        ::flock(descriptor.get(), LOCK_UN);  // of the new file, where there is one, nothing is locked yet
        if (!ours.ok()) return ours;
        continue;
      }
      const std::int64_t now_us = monotonic_us();
      want(now_us);
      const std::int64_t left_us = began_us + timeout_us - now_us;
      if (left_us <= 0) return busy(now_us - began_us);
      sleep_us(std::min(jitter.next_us(), left_us));
    }
  }

  /// Whether another file, or none, bears the name of the one that is open. Who cannot write the folder can
  /// only stay with what it has.
  bool replaced() const noexcept {
    struct stat ours, named;
    if (::fstat(descriptor.get(), &ours) != 0) return false;
    if (::lstat(path.c_str(), &named) != 0) return errno == ENOENT && writable;
    return ours.st_ino != named.st_ino || ours.st_dev != named.st_dev;
  }

  /// Goes over to the file that bears the name now; makes it where there is none. The old one's lock goes
  /// with its descriptor.
  Result<Done> open_again() {
    if (writable) {
      CALYX_TRY(Opened opened, open_file(path));
      descriptor = std::move(opened.descriptor);
      made = opened.made;
    } else {
      Descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (opened.get() < 0) return gate_error("cannot be opened", errno);
      descriptor = std::move(opened);
    }
    page_stands = false;
    return Done{};
  }

  /// Makes the file whole and maps it. Under the lock.
  Result<Done> make_page() {
    CALYX_TRY(const bool whole, is_made(descriptor.get()));
    if (!whole) {
      if (!writable) return gate_error("is not whole", EIO);
      CALYX_CHECK(fill_file(descriptor.get()));
    }
    return map();
  }

  void unlock() noexcept {
    // Standing aside for one pause lets a waiter's next try find the gate open.
    if (wanted_by_others()) stand_aside_until_us = monotonic_us() + jitter.next_us();
    ::flock(descriptor.get(), LOCK_UN);
  }

  Result<Done> map() {
    mapped.reserve(mapped.size() + 1);
    CALYX_TRY(Page* const fresh, map_page(descriptor.get(), writable));
    mapped.push_back(fresh);
    page.store(fresh, std::memory_order_release);
    page_stands = true;
    return Done{};
  }
};

Gate::Gate() noexcept = default;
Gate::Gate(std::unique_ptr<Inside> inside) noexcept : inside_(std::move(inside)) {}
Gate::Gate(Gate&&) noexcept = default;
Gate& Gate::operator=(Gate&&) noexcept = default;
Gate::~Gate() = default;

Result<Gate> Gate::open(const std::string& path, std::uint64_t timeout_ms) {
  Result<Gate> opened = open_at(path, timeout_ms);
  if (!opened.ok()) return at_path(std::move(opened).error(), path);
  return opened;
}

Result<Gate> Gate::open_at(const std::string& path, std::uint64_t timeout_ms) {
  CALYX_TRY(Opened opened, open_file(path));
  auto inside = std::make_unique<Inside>(path, std::move(opened.descriptor));
  inside->made = opened.made;
  CALYX_TRY(const bool whole, is_made(inside->descriptor.get()));
  if (whole) {
    CALYX_CHECK(inside->map());
  } else {
    CALYX_CHECK(inside->lock(timeout_ms));  // which makes it whole
    ::flock(inside->descriptor.get(), LOCK_UN);
  }
  return Gate(std::move(inside));
}

Gate Gate::open_for_reading(const std::string& path) noexcept {
  try {
    if (auto gate = open(path); gate.ok()) return *std::move(gate);
    Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (descriptor.get() < 0) return Gate();
    const auto made = is_made(descriptor.get());
    if (!made.ok() || !*made) return Gate();
    auto inside = std::make_unique<Inside>(path, std::move(descriptor));
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
  try {
    Result<Done> locked = inside_->lock(timeout_ms);
    if (!locked.ok()) inside_->held.store(false, std::memory_order_release);
    return locked;
  } catch (...) {  // no memory for a page or for words
    ::flock(inside_->descriptor.get(), LOCK_UN);
    inside_->held.store(false, std::memory_order_release);
    throw;
  }
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
  std::atomic<std::uint64_t>& word = inside_->shared().committed_seq;
  std::uint64_t stands = word.load(std::memory_order_relaxed);
  while (stands < seq && !word.compare_exchange_weak(stands, seq, std::memory_order_release)) {
  }
}

void Gate::begin_at(std::uint64_t seq) noexcept {
  if (!held() || !inside_->writable) return;
  inside_->shared().committed_seq.store(seq, std::memory_order_release);
}

void Gate::withdraw() noexcept {
  if (!held() || !inside_->made || inside_->owner != ::getpid()) return;
  ::unlink(inside_->path.c_str());
  inside_->made = false;
}

std::optional<std::uint64_t> Gate::committed_seq() const noexcept {
  if (!inside_) return std::nullopt;
  return inside_->shared().committed_seq.load(std::memory_order_acquire);
}

}  // namespace calyx::store
