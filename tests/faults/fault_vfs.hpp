/// \file
/// A disk in memory under SQLite, which fails, loses power and lets others in, exactly when a test says so.
///
/// Start at `Disk`: it registers an SQLite VFS of its own; open a connection with its `vfs_name()` and a
/// plain name such as "/mem/market.db". To cut the power everywhere: `start_trace()`, run the story,
/// `take_trace()`, then `for_each_cut`. To fail calls: `arm`. To step in between two calls: `hook_before`.
///
/// Model of the medium. A write is in the cache when it returns and on the medium when a later sync of the
/// same file returns; until then any part of it, in units of a sector, may or may not be there. The first
/// sync of a new file, and a delete that asks for it, harden the directory up to then; directory changes
/// keep their order. After a failed sync the cache takes the pages for clean, so a later sync that
/// succeeds does not save them. Any sequence that a journaling Linux file system may leave is among these;
/// so are some that it would not.
///
/// Threads: any number of connections on any threads. Sharing memory between processes is outside it.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::faults {

/// The unit that a medium writes whole. Units: bytes.
inline constexpr std::uint64_t sector_bytes = 512;

using Bytes = std::vector<std::uint8_t>;

/// The bytes of a file, shared between copies until one of them is edited.
class Content {
 public:
  Content() : bytes_(std::make_shared<Bytes>()) {}
  explicit Content(Bytes bytes) : bytes_(std::make_shared<Bytes>(std::move(bytes))) {}

  const Bytes& read() const noexcept { return *bytes_; }
  Bytes& edit();  ///< The bytes, no longer shared with any copy.
  bool same_as(const Content& other) const noexcept {
    return bytes_ == other.bytes_ || *bytes_ == *other.bytes_;
  }

 private:
  std::shared_ptr<Bytes> bytes_;
};

/// Everything that stands on a disk: names and contents. Copying one costs a map, not the bytes.
struct Image {
  std::map<std::string, Content> files;

  bool same_as(const Image& other) const;
};

/// The calls that SQLite makes of a file system, as a set.
enum class Calls : std::uint32_t {
  none = 0,
  read = 1U << 0,
  write = 1U << 1,
  sync = 1U << 2,
  truncate = 1U << 3,
  size = 1U << 4,
  open = 1U << 5,
  lock = 1U << 6,  ///< Taking a file lock; giving one back never fails.
  shm_map = 1U << 7,
  shm_lock = 1U << 8,  ///< Taking a lock on shared memory; giving one back never fails.
  remove = 1U << 9,
  access = 1U << 10,
  shm_barrier = 1U << 11,  ///< Cannot fail; for hooks.
  unfetch = 1U << 12,  ///< Cannot fail; for hooks: a checkpoint makes it just after reading the WAL header.
  failing = (1U << 11) - 1,
};
constexpr Calls operator|(Calls a, Calls b) noexcept {
  return static_cast<Calls>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr bool contains(Calls set, Calls call) noexcept {
  return (static_cast<std::uint32_t>(set) & static_cast<std::uint32_t>(call)) != 0;
}

/// The classes one by one, for a loop over all that may fail.
inline constexpr std::array<Calls, 11> failing_calls = {
    Calls::read, Calls::write,   Calls::sync,     Calls::truncate, Calls::size,  Calls::open,
    Calls::lock, Calls::shm_map, Calls::shm_lock, Calls::remove,   Calls::access};
const char* name_of(Calls call) noexcept;

enum class FaultKind : std::uint8_t {
  io_error,     ///< The SQLITE_IOERR code (or SQLITE_CANTOPEN) that belongs to the call; nothing is done.
  disk_full,    ///< SQLITE_FULL where space is needed, else as io_error.
  short_write,  ///< A write leaves its first half behind and answers SQLITE_FULL; else as io_error.
};

/// One planned failure.
struct Fault {
  Calls calls = Calls::failing;  ///< What counts.
  std::uint64_t at = 1;          ///< The call to fail, counted from 1 since `arm`.
  bool persistent = false;       ///< Whether every such call after it fails as well.
  FaultKind kind = FaultKind::io_error;
};

/// What was asked of the disk since `reset_counters`. Temporary files are left out.
struct Counters {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t syncs = 0;
  std::uint64_t truncates = 0;
  std::uint64_t removes = 0;
  std::uint64_t opens = 0;
};

enum class EventKind : std::uint8_t { create, write, truncate, sync, sync_failed, remove, remove_synced };

/// One change asked of the disk, in the order in which they were made.
struct Event {
  EventKind kind;
  std::uint64_t file;    ///< Its number; a name that is removed and created again gets another one.
  std::string name;      ///< The name it was opened by.
  std::uint64_t offset;  ///< Of a write; the new size for a truncate.
  Bytes data;            ///< Of a write.
};

/// A disk at rest, and what was done to it since.
struct Trace {
  Image start;
  std::map<std::string, std::uint64_t> start_files;  ///< The numbers of the files in `start`.
  std::vector<Event> events;
  bool powersafe_overwrite = true;
};

enum class DamageKind : std::uint8_t {
  drop_all,   ///< Nothing that was not synced is there.
  keep_all,   ///< Everything is there.
  torn,       ///< Everything but the last unsynced write, of which some first sectors are there.
  mixed,      ///< A random half of the unsynced sectors, and one of the others holds garbage.
  reordered,  ///< Later unsynced writes are there and earlier ones are not.
};
const char* name_of(DamageKind kind) noexcept;

struct Damage {
  DamageKind kind;
  std::uint64_t seed;  ///< Chooses among the ways; a `reordered` with seed 0 keeps the very last write only.
};

/// Eight ways to lose power, enough for an exhaustive run.
inline constexpr std::array<Damage, 8> all_damages = {{{DamageKind::drop_all, 0},
                                                       {DamageKind::keep_all, 0},
                                                       {DamageKind::torn, 1},
                                                       {DamageKind::mixed, 1},
                                                       {DamageKind::mixed, 2},
                                                       {DamageKind::mixed, 3},
                                                       {DamageKind::mixed, 4},
                                                       {DamageKind::reordered, 0}}};

/// Whether the medium keeps its promise. `ignores` is for proving that a test would notice.
enum class Syncs : std::uint8_t { honours, ignores };

/// Walks along a trace and tells what a power cut would leave.
///
/// Owns: nothing; `trace` outlives it.
class Replay {
 public:
  explicit Replay(const Trace& trace, Syncs syncs = Syncs::honours);
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  void advance_to(std::uint64_t count);     ///< Events 1 to `count` have returned. Never goes back.
  std::uint64_t position() const noexcept;  ///< The `count` reached.
  std::uint64_t unsynced() const noexcept;  ///< Changes that a cut here may lose.
  Image image(Damage damage) const;         ///< What a cut here leaves. Equal calls give equal images.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What one power cut left behind.
struct Cut {
  std::uint64_t events;  ///< How many events of the trace had returned.
  Damage damage;
  const Image& left;
};

/// Calls `visit` for a cut before the first event and after every one of them, with each of `damages`; a
/// point with nothing unsynced is visited once, since there is nothing to damage. Returns the number of
/// visits.
std::uint64_t for_each_cut(const Trace& trace, const std::vector<Damage>& damages, Syncs syncs,
                           const std::function<void(const Cut&)>& visit);

struct DiskOptions {
  /// Whether a torn write leaves the bytes around it alone, as SQLite's unix VFS assumes too. If not, the
  /// whole sector is at risk, SQLite is told so, and it pads.
  bool powersafe_overwrite = true;
};

struct DiskState;

/// A disk in memory, and the SQLite VFS that reaches it.
///
/// Owns: the files and the registration; every connection is closed before the disk goes.
class Disk {
 public:
  explicit Disk(DiskOptions options = {});
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// For the fourth argument of `sqlite3_open_v2`. Unique in the process, valid as long as the disk.
  const char* vfs_name() const noexcept;

  /// What a process sees at this moment, synced or not: a kill -9 leaves this.
  Image snapshot() const;
  /// Puts `image` in place, all of it durable, power on, no fault, no hook, no trace.
  /// Fails: throws `std::logic_error` while a file is open.
  void restore(const Image& image);
  std::uint64_t open_files() const;  ///< 0 when nobody forgot to close.

  void start_trace();            ///< From here on every change is recorded; what stands now is durable.
  std::uint64_t events() const;  ///< Recorded since `start_trace`: read it when a call acknowledges.
  Trace take_trace();            ///< Ends the recording.

  void arm(const Fault& fault);
  void disarm();
  std::uint64_t matched() const;  ///< Calls that counted since `arm`.
  std::uint64_t fired() const;    ///< Calls that failed since `arm`: 0 means that the loop over n is over.

  /// From here on every call fails and changes nothing, so that objects may be closed as the dead would.
  /// `restore` puts the power back on.
  void cut_power();

  Counters counters() const;
  void reset_counters();

  /// Runs `action` once, on the calling thread and with no lock of the disk held, just before the `at`-th
  /// call from now that is in `calls` and is made by `connection`, or by any where that is null. The hook
  /// is gone before `action` starts, which may use other connections.
  void hook_before(sqlite3* connection, Calls calls, std::uint64_t at, std::function<void()> action);
  bool hook_pending() const;  ///< Whether an action still waits: a test that forces a window asserts not.
  void drop_hook();

 private:
  std::unique_ptr<DiskState> state_;
};

}  // namespace calyx::faults
