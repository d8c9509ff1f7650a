#include "fault_vfs.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "fault_alloc.hpp"
#include "testing.hpp"

namespace calyx::faults {

// ---- contents and names

Bytes& Content::edit() {
  if (bytes_.use_count() > 1) bytes_ = std::make_shared<Bytes>(*bytes_);
  return *bytes_;
}

bool Image::same_as(const Image& other) const {
  return files.size() == other.files.size() &&
         std::equal(files.begin(), files.end(), other.files.begin(), [](const auto& a, const auto& b) {
           return a.first == b.first && a.second.same_as(b.second);
         });
}

const char* name_of(Calls call) noexcept {
  switch (call) {
    case Calls::read: return "read";
    case Calls::write: return "write";
    case Calls::sync: return "sync";
    case Calls::truncate: return "truncate";
    case Calls::size: return "size";
    case Calls::open: return "open";
    case Calls::lock: return "lock";
    case Calls::shm_map: return "shm_map";
    case Calls::shm_lock: return "shm_lock";
    case Calls::remove: return "remove";
    case Calls::access: return "access";
    case Calls::shm_barrier: return "shm_barrier";
    case Calls::unfetch: return "unfetch";
    case Calls::none:
    case Calls::failing: break;
  }
  return "several";
}

const char* name_of(DamageKind kind) noexcept {
  switch (kind) {
    case DamageKind::drop_all: return "drop all";
    case DamageKind::keep_all: return "keep all";
    case DamageKind::torn: return "torn";
    case DamageKind::mixed: return "mixed";
    case DamageKind::reordered: return "reordered";
  }
  return "unknown";
}

namespace {

using Random = testing::Dice;

void put(Bytes& file, std::uint64_t offset, const std::uint8_t* data, std::uint64_t count) {
  if (count == 0) return;
  if (file.size() < offset + count) file.resize(offset + count);
  std::memcpy(file.data() + offset, data, count);
}

/// Visits the pieces of a write that fall into one sector each, as (first, count) within the write.
template <class Visit>
void each_sector(const Event& write, Visit visit) {
  std::uint64_t at = 0;
  while (at < write.data.size()) {
    const std::uint64_t room = sector_bytes - (write.offset + at) % sector_bytes;
    const std::uint64_t count = std::min<std::uint64_t>(room, write.data.size() - at);
    visit(at, count);
    at += count;
  }
}

std::uint64_t sectors_of(const Event& write) {
  std::uint64_t count = 0;
  each_sector(write, [&](std::uint64_t, std::uint64_t) { ++count; });
  return count;
}

}  // namespace

// ---- what a power cut leaves

struct Replay::State {
  struct Op {
    std::uint64_t index;   ///< Of the event.
    bool durable = false;  ///< On the medium, behind an earlier operation that is not.
    bool stuck = false;    ///< A sync failed after it: no later one saves it.
  };
  struct File {
    Content base;  ///< What is on the medium for certain.
    std::vector<Op> ops;
    bool linked = false;  ///< Whether its creation is on the medium.
  };

  const Trace& trace;
  const Syncs syncs;
  std::uint64_t position = 0;
  std::map<std::uint64_t, File> files;
  std::map<std::string, std::uint64_t> names;  ///< The directory on the medium.
  std::vector<std::uint64_t> name_changes;     ///< Creations and removals that are not, as event indices.

  State(const Trace& t, Syncs s) : trace(t), syncs(s), names(t.start_files) {
    for (const auto& [name, number] : t.start_files) {
      files[number].base = t.start.files.at(name);
      files[number].linked = true;
    }
  }

  void change_name(std::map<std::string, std::uint64_t>& directory, const Event& event) const {
    if (event.kind == EventKind::create)
      directory[event.name] = event.file;
    else
      directory.erase(event.name);
  }

  void harden_names() {
    for (const std::uint64_t index : name_changes) {
      const Event& event = trace.events[index];
      change_name(names, event);
      if (event.kind == EventKind::create) files[event.file].linked = true;
    }
    name_changes.clear();
  }

  void apply_whole(Bytes& bytes, const Event& event) const {
    if (event.kind == EventKind::truncate)
      bytes.resize(event.offset);
    else
      put(bytes, event.offset, event.data.data(), event.data.size());
  }

  void harden(File& file) {
    for (Op& op : file.ops) op.durable = op.durable || !op.stuck;
    const auto first_open =
        std::find_if(file.ops.begin(), file.ops.end(), [](const Op& op) { return !op.durable; });
    if (first_open != file.ops.begin()) {
      Bytes& bytes = file.base.edit();
      for (auto op = file.ops.begin(); op != first_open; ++op) apply_whole(bytes, trace.events[op->index]);
      file.ops.erase(file.ops.begin(), first_open);
    }
  }

  void step() {
    const std::uint64_t index = position++;
    const Event& event = trace.events[index];
    switch (event.kind) {
      case EventKind::create: name_changes.push_back(index); break;
      case EventKind::write:
      case EventKind::truncate: files[event.file].ops.push_back(Op{index}); break;
      case EventKind::sync: {
        if (syncs == Syncs::ignores) break;
        File& file = files[event.file];
        harden(file);
        if (!file.linked) harden_names();
        break;
      }
      case EventKind::sync_failed:
        for (Op& op : files[event.file].ops) op.stuck = true;
        break;
      case EventKind::remove: name_changes.push_back(index); break;
      case EventKind::remove_synced:
        name_changes.push_back(index);
        if (syncs == Syncs::honours) harden_names();
        break;
    }
  }
};

Replay::Replay(const Trace& trace, Syncs syncs) : state_(std::make_unique<State>(trace, syncs)) {}
Replay::~Replay() = default;

void Replay::advance_to(std::uint64_t count) {
  if (count > state_->trace.events.size() || count < state_->position)
    throw std::out_of_range("a replay goes forward, to the end of its trace at most");
  while (state_->position < count) state_->step();
}

std::uint64_t Replay::position() const noexcept { return state_->position; }

std::uint64_t Replay::unsynced() const noexcept {
  std::uint64_t count = state_->name_changes.size();
  for (const auto& [number, file] : state_->files)
    count += static_cast<std::uint64_t>(
        std::count_if(file.ops.begin(), file.ops.end(), [](const State::Op& op) { return !op.durable; }));
  return count;
}

Image Replay::image(Damage damage) const {
  const State& state = *state_;
  const std::vector<Event>& events = state.trace.events;
  Random random(damage.seed * 0x100000001b3ULL + state.position + 1);

  // The unsynced writes of all files, in the order in which they were made.
  std::vector<std::uint64_t> writes;
  for (const auto& [number, file] : state.files)
    for (const State::Op& op : file.ops)
      if (!op.durable && events[op.index].kind == EventKind::write) writes.push_back(op.index);
  std::sort(writes.begin(), writes.end());

  std::map<std::string, std::uint64_t> directory = state.names;
  std::uint64_t name_changes = state.name_changes.size();
  if (damage.kind == DamageKind::drop_all) name_changes = 0;
  if (damage.kind == DamageKind::mixed) name_changes = random.below(name_changes + 1);
  for (std::uint64_t i = 0; i < name_changes; ++i)
    state.change_name(directory, events[state.name_changes[i]]);

  // The first unsynced event kept, for `reordered`.
  std::uint64_t kept_from = 0;
  if (damage.kind == DamageKind::reordered && writes.size() > 1)
    kept_from = damage.seed == 0 ? writes.back() : writes[1 + random.below(writes.size() - 1)];

  std::optional<std::uint64_t> garbage_at;  // Counted over the sectors of all unsynced writes.
  if (damage.kind == DamageKind::mixed) {
    std::uint64_t sectors = 0;
    for (const std::uint64_t index : writes) sectors += sectors_of(events[index]);
    if (sectors > 0) garbage_at = random.below(sectors);
  }

  std::uint64_t sector = 0;
  const auto apply_mixed = [&](Bytes& bytes, const Event& event) {
    if (event.kind == EventKind::truncate) {
      if (random.coin()) bytes.resize(event.offset);
      return;
    }
    each_sector(event, [&](std::uint64_t first, std::uint64_t count) {
      const bool keep = random.coin();
      if (garbage_at == sector++) {
        std::uint64_t begin = event.offset + first;
        std::uint64_t end = begin + count;
        if (!state.trace.powersafe_overwrite) {
          begin -= begin % sector_bytes;
          end = begin + sector_bytes;
        }
        Bytes noise(end - begin);
        for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(random.next());
        put(bytes, begin, noise.data(), noise.size());
      } else if (keep) {
        put(bytes, event.offset + first, event.data.data() + first, count);
      }
    });
  };
  const auto apply_torn = [&](Bytes& bytes, const Event& event) {
    std::uint64_t left = random.below(sectors_of(event));
    each_sector(event, [&](std::uint64_t first, std::uint64_t count) {
      if (left == 0) return;
      --left;
      put(bytes, event.offset + first, event.data.data() + first, count);
    });
  };

  Image image;
  // In the order of the file numbers, so that the random choices do not hang on the directory.
  std::map<std::uint64_t, std::vector<std::string>> by_number;
  for (const auto& [name, number] : directory) by_number[number].push_back(name);
  for (const auto& [number, file] : state.files) {
    Content content = file.base;
    for (const State::Op& op : file.ops) {
      const Event& event = events[op.index];
      if (op.durable) {
        state.apply_whole(content.edit(), event);
        continue;
      }
      switch (damage.kind) {
        case DamageKind::drop_all: break;
        case DamageKind::keep_all: state.apply_whole(content.edit(), event); break;
        case DamageKind::torn:
          if (!writes.empty() && op.index == writes.back())
            apply_torn(content.edit(), event);
          else
            state.apply_whole(content.edit(), event);
          break;
        case DamageKind::mixed: apply_mixed(content.edit(), event); break;
        case DamageKind::reordered:
          if (op.index >= kept_from) state.apply_whole(content.edit(), event);
          break;
      }
    }
    const auto named = by_number.find(number);
    if (named != by_number.end())
      for (const std::string& name : named->second) image.files[name] = content;
  }
  // A file that was created and never written has a name and no operations.
  for (const auto& [name, number] : directory) image.files.try_emplace(name);
  return image;
}

std::uint64_t for_each_cut(const Trace& trace, const std::vector<Damage>& damages, Syncs syncs,
                           const std::function<void(const Cut&)>& visit) {
  Replay replay(trace, syncs);
  std::uint64_t visits = 0;
  for (std::uint64_t count = 0; count <= trace.events.size(); ++count) {
    replay.advance_to(count);
    const bool nothing_to_damage = replay.unsynced() == 0;
    for (const Damage& damage : damages) {
      const Image left = replay.image(damage);
      visit(Cut{count, damage, left});
      ++visits;
      if (nothing_to_damage) break;
    }
  }
  return visits;
}

// ---- the live disk

namespace {

struct Handle;

constexpr int shm_slots = SQLITE_SHM_NLOCK;

struct Inode {
  std::uint64_t number = 0;
  std::string name;
  bool temporary = false;
  Content content;
  std::set<Handle*> handles;
  std::vector<std::unique_ptr<std::uint8_t[]>> shm;  ///< Regions stay where they are: SQLite keeps pointers.
  std::uint64_t shm_users = 0;
};

struct Handle {
  DiskState* disk = nullptr;
  std::shared_ptr<Inode> inode;
  int lock = SQLITE_LOCK_NONE;
  bool has_shm = false;
  std::uint32_t shm_shared = 0;
  std::uint32_t shm_exclusive = 0;
  bool delete_on_close = false;
  int persist_wal = 0;
};

/// What SQLite allocates for a file: `Handle` has constructors, so it lives elsewhere.
struct SqliteFile {
  sqlite3_file base;
  Handle* handle;
};

struct Hook {
  std::vector<const sqlite3_file*> files;  ///< Empty: of any connection.
  Calls calls = Calls::none;
  std::uint64_t calls_left = 0;
  std::function<void()> action;
};

int error_of(Calls call) noexcept {
  switch (call) {
    case Calls::read: return SQLITE_IOERR_READ;
    case Calls::write: return SQLITE_IOERR_WRITE;
    case Calls::sync: return SQLITE_IOERR_FSYNC;
    case Calls::truncate: return SQLITE_IOERR_TRUNCATE;
    case Calls::size: return SQLITE_IOERR_FSTAT;
    case Calls::open: return SQLITE_CANTOPEN;
    case Calls::lock: return SQLITE_IOERR_LOCK;
    case Calls::shm_map: return SQLITE_IOERR_SHMMAP;
    case Calls::shm_lock: return SQLITE_IOERR_SHMLOCK;
    case Calls::remove: return SQLITE_IOERR_DELETE;
    case Calls::access: return SQLITE_IOERR_ACCESS;
    case Calls::none:
    case Calls::shm_barrier:
    case Calls::unfetch:
    case Calls::failing: break;
  }
  return SQLITE_IOERR;
}

int full_error_of(Calls call) noexcept {
  if (call == Calls::write || call == Calls::truncate) return SQLITE_FULL;
  if (call == Calls::shm_map) return SQLITE_IOERR_SHMSIZE;
  return error_of(call);
}

/// What `DiskState::admit` says of a call.
struct Verdict {
  int code = SQLITE_OK;
  bool half_write = false;
  bool powered = true;
};

}  // namespace

struct DiskState {
  DiskOptions options;
  std::string name;
  sqlite3_vfs vfs{};
  sqlite3_vfs* base_vfs = nullptr;  ///< For time and sleep, which are not the disk's.

  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<Inode>> files;
  std::uint64_t open_handles = 0;
  std::uint64_t next_number = 1;
  bool powered = true;
  bool tracing = false;
  Trace trace;
  std::optional<Fault> fault;
  std::uint64_t matched = 0;
  std::uint64_t fired = 0;
  Counters counters;
  std::optional<Hook> hook;
  Random random{1};

  /// Runs the hook if this is the call it waits for. The mutex is not held.
  void before(Calls call, const sqlite3_file* file) {
    std::function<void()> action;
    {
      const AllocPause pause;
      const std::lock_guard<std::mutex> guard(mutex);
      if (!hook || !contains(hook->calls, call)) return;
      if (!hook->files.empty() &&
          std::find(hook->files.begin(), hook->files.end(), file) == hook->files.end())
        return;
      if (--hook->calls_left > 0) return;
      action = std::move(hook->action);
      hook.reset();
    }
    action();
  }

  /// Counts a call and says whether it may go on. The mutex is held.
  Verdict admit(Calls call) {
    if (!powered) return Verdict{error_of(call), false, false};
    if (!fault || !contains(fault->calls, call)) return {};
    ++matched;
    const bool hit = matched == fault->at || (matched > fault->at && fault->persistent);
    if (!hit) return {};
    ++fired;
    switch (fault->kind) {
      case FaultKind::io_error: return Verdict{error_of(call)};
      case FaultKind::disk_full: return Verdict{full_error_of(call)};
      case FaultKind::short_write: return Verdict{full_error_of(call), call == Calls::write};
    }
    return {};
  }

  /// What a process sees now. The mutex is held.
  Image seen() const {
    Image image;
    for (const auto& [path, inode] : files)
      if (!inode->temporary) image.files.emplace(path, inode->content);
    return image;
  }

  void record(EventKind kind, const Inode& inode, std::uint64_t offset = 0, Bytes data = {}) {
    if (tracing && !inode.temporary)
      trace.events.push_back(Event{kind, inode.number, inode.name, offset, std::move(data)});
  }
};

namespace {

DiskState& state_of(sqlite3_vfs* vfs) { return *static_cast<DiskState*>(vfs->pAppData); }
Handle& handle_of(sqlite3_file* file) { return *reinterpret_cast<SqliteFile*>(file)->handle; }

using Guard = std::lock_guard<std::mutex>;

// ---- file methods

int file_close(sqlite3_file* file) {
  const AllocPause pause;
  Handle* handle = reinterpret_cast<SqliteFile*>(file)->handle;
  DiskState& disk = *handle->disk;
  {
    const Guard guard(disk.mutex);
    Inode& inode = *handle->inode;
    inode.handles.erase(handle);
    if (handle->delete_on_close && disk.powered) {
      const auto found = disk.files.find(inode.name);
      if (found != disk.files.end() && found->second == handle->inode) disk.files.erase(found);
    }
    --disk.open_handles;
  }
  delete handle;
  file->pMethods = nullptr;
  return SQLITE_OK;
}

int file_read(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::read, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::read);
  if (verdict.code != SQLITE_OK) return verdict.code;
  if (!handle.inode->temporary) ++disk.counters.reads;
  const Bytes& bytes = handle.inode->content.read();
  const auto from = static_cast<std::uint64_t>(offset);
  const auto wanted = static_cast<std::uint64_t>(count);
  const std::uint64_t there = from >= bytes.size() ? 0 : std::min<std::uint64_t>(wanted, bytes.size() - from);
  auto* target = static_cast<std::uint8_t*>(out);
  if (there > 0) std::memcpy(target, bytes.data() + from, there);
  if (there == wanted) return SQLITE_OK;
  // SQLite asks for zeros where the file ends.
  std::memset(target + there, 0, wanted - there);
  return SQLITE_IOERR_SHORT_READ;
}

int file_write(sqlite3_file* file, const void* data, int count, sqlite3_int64 offset) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::write, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::write);
  if (verdict.code != SQLITE_OK && !verdict.half_write) return verdict.code;
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  const auto from = static_cast<std::uint64_t>(offset);
  const auto written = static_cast<std::uint64_t>(verdict.half_write ? count / 2 : count);
  put(handle.inode->content.edit(), from, bytes, written);
  if (!handle.inode->temporary) {
    ++disk.counters.writes;
    disk.counters.bytes_written += written;
  }
  if (disk.tracing && !handle.inode->temporary && written > 0)
    disk.record(EventKind::write, *handle.inode, from, Bytes(bytes, bytes + written));
  return verdict.code;
}

int file_truncate(sqlite3_file* file, sqlite3_int64 size) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::truncate, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::truncate);
  if (verdict.code != SQLITE_OK) return verdict.code;
  handle.inode->content.edit().resize(static_cast<std::size_t>(size));
  if (!handle.inode->temporary) ++disk.counters.truncates;
  disk.record(EventKind::truncate, *handle.inode, static_cast<std::uint64_t>(size));
  return SQLITE_OK;
}

int file_sync(sqlite3_file* file, int) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::sync, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::sync);
  if (verdict.code != SQLITE_OK) {
    if (verdict.powered) disk.record(EventKind::sync_failed, *handle.inode);
    return verdict.code;
  }
  if (!handle.inode->temporary) ++disk.counters.syncs;
  disk.record(EventKind::sync, *handle.inode);
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* out) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::size, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::size);
  if (verdict.code != SQLITE_OK) return verdict.code;
  *out = static_cast<sqlite3_int64>(handle.inode->content.read().size());
  return SQLITE_OK;
}

/// The strongest lock that another connection holds on the file.
int strongest_other_lock(const Handle& handle) {
  int strongest = SQLITE_LOCK_NONE;
  for (const Handle* other : handle.inode->handles)
    if (other != &handle) strongest = std::max(strongest, other->lock);
  return strongest;
}

int file_lock(sqlite3_file* file, int level) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  disk.before(Calls::lock, file);
  const Guard guard(disk.mutex);
  if (handle.lock >= level) return SQLITE_OK;
  const Verdict verdict = disk.admit(Calls::lock);
  if (verdict.code != SQLITE_OK) return verdict.code;
  const int other = strongest_other_lock(handle);
  if (level == SQLITE_LOCK_SHARED) {
    if (other >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
    handle.lock = SQLITE_LOCK_SHARED;
    return SQLITE_OK;
  }
  // From here on one connection at most may stand above SHARED.
  if (other >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_EXCLUSIVE && other >= SQLITE_LOCK_SHARED) {
    // New readers are kept out while those that are in finish.
    handle.lock = SQLITE_LOCK_PENDING;
    return SQLITE_BUSY;
  }
  handle.lock = level;
  return SQLITE_OK;
}

int file_unlock(sqlite3_file* file, int level) {
  Handle& handle = handle_of(file);
  const Guard guard(handle.disk->mutex);
  handle.lock = std::min(handle.lock, level);
  return SQLITE_OK;
}

int file_check_reserved(sqlite3_file* file, int* out) {
  Handle& handle = handle_of(file);
  const Guard guard(handle.disk->mutex);
  *out = handle.lock >= SQLITE_LOCK_RESERVED || strongest_other_lock(handle) >= SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

int file_control(sqlite3_file* file, int op, void* argument) {
  Handle& handle = handle_of(file);
  const Guard guard(handle.disk->mutex);
  switch (op) {
    case SQLITE_FCNTL_LOCKSTATE: *static_cast<int*>(argument) = handle.lock; return SQLITE_OK;
    case SQLITE_FCNTL_PERSIST_WAL: {
      int* setting = static_cast<int*>(argument);
      if (*setting < 0)
        *setting = handle.persist_wal;
      else
        handle.persist_wal = *setting;
      return SQLITE_OK;
    }
    case SQLITE_FCNTL_VFSNAME:
      *static_cast<char**>(argument) = sqlite3_mprintf("%s", handle.disk->name.c_str());
      return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED: {
      const auto found = handle.disk->files.find(handle.inode->name);
      *static_cast<int*>(argument) = found == handle.disk->files.end() || found->second != handle.inode;
      return SQLITE_OK;
    }
    default: return SQLITE_NOTFOUND;
  }
}

int file_sector_size(sqlite3_file*) { return static_cast<int>(sector_bytes); }

int file_characteristics(sqlite3_file* file) {
  return handle_of(file).disk->options.powersafe_overwrite ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

int shm_map(sqlite3_file* file, int region, int bytes, int extend, void volatile** out) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  *out = nullptr;
  disk.before(Calls::shm_map, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::shm_map);
  if (verdict.code != SQLITE_OK) return verdict.code;
  Inode& inode = *handle.inode;
  if (!handle.has_shm) {
    handle.has_shm = true;
    ++inode.shm_users;
  }
  const auto wanted = static_cast<std::size_t>(region) + 1;
  if (inode.shm.size() < wanted && extend == 0) return SQLITE_OK;
  while (inode.shm.size() < wanted)
    inode.shm.push_back(std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(bytes)));
  *out = inode.shm[wanted - 1].get();
  return SQLITE_OK;
}

int shm_lock(sqlite3_file* file, int first, int count, int flags) {
  const AllocPause pause;
  Handle& handle = handle_of(file);
  DiskState& disk = *handle.disk;
  const std::uint32_t mask = ((1U << (first + count)) - 1U) & ~((1U << first) - 1U);
  if (first < 0 || count < 1 || first + count > shm_slots) return SQLITE_IOERR_SHMLOCK;
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    const Guard guard(disk.mutex);
    handle.shm_shared &= ~mask;
    handle.shm_exclusive &= ~mask;
    return SQLITE_OK;
  }
  disk.before(Calls::shm_lock, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::shm_lock);
  if (verdict.code != SQLITE_OK) return verdict.code;
  std::uint32_t shared = 0;
  std::uint32_t exclusive = 0;
  for (const Handle* other : handle.inode->handles) {
    if (other == &handle) continue;
    shared |= other->shm_shared;
    exclusive |= other->shm_exclusive;
  }
  if ((exclusive & mask) != 0) return SQLITE_BUSY;
  if ((flags & SQLITE_SHM_SHARED) != 0) {
    handle.shm_shared |= mask;
    return SQLITE_OK;
  }
  // A connection that shares a slot does not upgrade: for SQLite that is busy, as under its unix VFS.
  if (((shared | handle.shm_shared) & mask) != 0) return SQLITE_BUSY;
  handle.shm_exclusive |= mask;
  return SQLITE_OK;
}

void shm_barrier(sqlite3_file* file) {
  DiskState& disk = *handle_of(file).disk;
  disk.before(Calls::shm_barrier, file);
  // Taking the mutex orders memory among the threads as well as a fence, and sanitizers understand it.
  const Guard guard(disk.mutex);
}

int shm_unmap(sqlite3_file* file, int) {
  Handle& handle = handle_of(file);
  const Guard guard(handle.disk->mutex);
  if (!handle.has_shm) return SQLITE_OK;
  handle.has_shm = false;
  handle.shm_shared = 0;
  handle.shm_exclusive = 0;
  // Shared memory is no part of the disk: with its last user it is gone, as after a restart.
  if (--handle.inode->shm_users == 0) handle.inode->shm.clear();
  return SQLITE_OK;
}

// Memory mapping is never granted; the two methods exist because a checkpoint calls `unfetch` right after it
// has read the header of the WAL, which is the only call in the window of the WAL-reset race.
int file_fetch(sqlite3_file*, sqlite3_int64, int, void** out) {
  *out = nullptr;
  return SQLITE_OK;
}

int file_unfetch(sqlite3_file* file, sqlite3_int64, void*) {
  handle_of(file).disk->before(Calls::unfetch, file);
  return SQLITE_OK;
}

const sqlite3_io_methods file_methods = {3,
                                         file_close,
                                         file_read,
                                         file_write,
                                         file_truncate,
                                         file_sync,
                                         file_size,
                                         file_lock,
                                         file_unlock,
                                         file_check_reserved,
                                         file_control,
                                         file_sector_size,
                                         file_characteristics,
                                         shm_map,
                                         shm_lock,
                                         shm_barrier,
                                         shm_unmap,
                                         file_fetch,
                                         file_unfetch};

// ---- VFS methods

int vfs_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const AllocPause pause;
  DiskState& disk = state_of(vfs);
  file->pMethods = nullptr;
  disk.before(Calls::open, file);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::open);
  if (verdict.code != SQLITE_OK) return verdict.code;

  std::shared_ptr<Inode> inode;
  if (name == nullptr) {
    inode = std::make_shared<Inode>();
    inode->temporary = true;
  } else {
    const auto found = disk.files.find(name);
    if (found != disk.files.end()) {
      if ((flags & SQLITE_OPEN_CREATE) != 0 && (flags & SQLITE_OPEN_EXCLUSIVE) != 0) return SQLITE_CANTOPEN;
      inode = found->second;
    } else {
      if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      inode = std::make_shared<Inode>();
      inode->name = name;
      inode->number = disk.next_number++;
      inode->temporary = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
      disk.files.emplace(name, inode);
      disk.record(EventKind::create, *inode);
    }
    if (!inode->temporary) ++disk.counters.opens;
  }

  auto* handle = new Handle;
  handle->disk = &disk;
  handle->inode = inode;
  handle->delete_on_close = name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
  inode->handles.insert(handle);
  ++disk.open_handles;
  reinterpret_cast<SqliteFile*>(file)->handle = handle;
  file->pMethods = &file_methods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int vfs_delete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  const AllocPause pause;
  DiskState& disk = state_of(vfs);
  disk.before(Calls::remove, nullptr);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::remove);
  if (verdict.code != SQLITE_OK) return verdict.code;
  const auto found = disk.files.find(name);
  if (found == disk.files.end()) return SQLITE_IOERR_DELETE_NOENT;
  ++disk.counters.removes;
  disk.record(sync_directory != 0 ? EventKind::remove_synced : EventKind::remove, *found->second);
  disk.files.erase(found);
  return SQLITE_OK;
}

int vfs_access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
  const AllocPause pause;
  DiskState& disk = state_of(vfs);
  *out = 0;
  disk.before(Calls::access, nullptr);
  const Guard guard(disk.mutex);
  const Verdict verdict = disk.admit(Calls::access);
  if (verdict.code != SQLITE_OK) return verdict.code;
  const auto found = disk.files.find(name);
  // SQLite's unix VFS takes an empty file for none when asked whether it exists; recovery leans on that.
  *out =
      found != disk.files.end() && (flags != SQLITE_ACCESS_EXISTS || !found->second->content.read().empty());
  return SQLITE_OK;
}

int vfs_full_path(sqlite3_vfs*, const char* name, int room, char* out) {
  const std::size_t length = std::strlen(name);
  if (length + 1 > static_cast<std::size_t>(room)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

int vfs_randomness(sqlite3_vfs* vfs, int count, char* out) {
  DiskState& disk = state_of(vfs);
  const Guard guard(disk.mutex);
  for (int i = 0; i < count; ++i) out[i] = static_cast<char>(disk.random.next());
  return count;
}

int vfs_sleep(sqlite3_vfs* vfs, int microseconds) {
  sqlite3_vfs* base = state_of(vfs).base_vfs;
  return base->xSleep(base, microseconds);
}

int vfs_time_days(sqlite3_vfs* vfs, double* out) {
  sqlite3_vfs* base = state_of(vfs).base_vfs;
  return base->xCurrentTime(base, out);
}

int vfs_time_ms(sqlite3_vfs* vfs, sqlite3_int64* out) {
  sqlite3_vfs* base = state_of(vfs).base_vfs;
  return base->xCurrentTimeInt64(base, out);
}

int vfs_last_error(sqlite3_vfs*, int, char*) { return 0; }

std::atomic<std::uint64_t> disks_made{0};

}  // namespace

Disk::Disk(DiskOptions options) : state_(std::make_unique<DiskState>()) {
  DiskState& disk = *state_;
  disk.options = options;
  disk.name = "calyx-faults-" + std::to_string(++disks_made);
  disk.base_vfs = sqlite3_vfs_find(nullptr);
  disk.vfs.iVersion = 2;
  disk.vfs.szOsFile = static_cast<int>(sizeof(SqliteFile));
  disk.vfs.mxPathname = 512;
  disk.vfs.zName = disk.name.c_str();
  disk.vfs.pAppData = &disk;
  disk.vfs.xOpen = vfs_open;
  disk.vfs.xDelete = vfs_delete;
  disk.vfs.xAccess = vfs_access;
  disk.vfs.xFullPathname = vfs_full_path;
  disk.vfs.xRandomness = vfs_randomness;
  disk.vfs.xSleep = vfs_sleep;
  disk.vfs.xCurrentTime = vfs_time_days;
  disk.vfs.xGetLastError = vfs_last_error;
  disk.vfs.xCurrentTimeInt64 = vfs_time_ms;
  if (disk.base_vfs == nullptr || sqlite3_vfs_register(&disk.vfs, 0) != SQLITE_OK)
    throw std::runtime_error("SQLite takes no VFS");
}

Disk::~Disk() { sqlite3_vfs_unregister(&state_->vfs); }

const char* Disk::vfs_name() const noexcept { return state_->name.c_str(); }

Image Disk::snapshot() const {
  const Guard guard(state_->mutex);
  return state_->seen();
}

void Disk::restore(const Image& image) {
  const Guard guard(state_->mutex);
  DiskState& disk = *state_;
  if (disk.open_handles != 0)
    throw std::logic_error("a disk is restored while " + std::to_string(disk.open_handles) +
                           " files are open");
  disk.files.clear();
  for (const auto& [name, content] : image.files) {
    auto inode = std::make_shared<Inode>();
    inode->name = name;
    inode->number = disk.next_number++;
    inode->content = content;
    disk.files.emplace(name, std::move(inode));
  }
  disk.powered = true;
  disk.tracing = false;
  disk.trace = Trace{};
  disk.fault.reset();
  disk.hook.reset();
}

std::uint64_t Disk::open_files() const {
  const Guard guard(state_->mutex);
  return state_->open_handles;
}

void Disk::start_trace() {
  const Guard guard(state_->mutex);
  DiskState& disk = *state_;
  disk.trace = Trace{};
  disk.trace.start = disk.seen();
  disk.trace.powersafe_overwrite = disk.options.powersafe_overwrite;
  for (const auto& [name, inode] : disk.files)
    if (!inode->temporary) disk.trace.start_files.emplace(name, inode->number);
  disk.tracing = true;
}

std::uint64_t Disk::events() const {
  const Guard guard(state_->mutex);
  return state_->trace.events.size();
}

Trace Disk::take_trace() {
  const Guard guard(state_->mutex);
  state_->tracing = false;
  return std::exchange(state_->trace, Trace{});
}

void Disk::arm(const Fault& fault) {
  const Guard guard(state_->mutex);
  state_->fault = fault;
  state_->matched = 0;
  state_->fired = 0;
}

void Disk::disarm() {
  const Guard guard(state_->mutex);
  state_->fault.reset();
}

std::uint64_t Disk::matched() const {
  const Guard guard(state_->mutex);
  return state_->matched;
}

std::uint64_t Disk::fired() const {
  const Guard guard(state_->mutex);
  return state_->fired;
}

void Disk::cut_power() {
  const Guard guard(state_->mutex);
  state_->powered = false;
}

Counters Disk::counters() const {
  const Guard guard(state_->mutex);
  return state_->counters;
}

void Disk::reset_counters() {
  const Guard guard(state_->mutex);
  state_->counters = Counters{};
}

void Disk::hook_before(sqlite3* connection, Calls calls, std::uint64_t at, std::function<void()> action) {
  Hook hook;
  hook.calls = calls;
  hook.calls_left = std::max<std::uint64_t>(at, 1);
  hook.action = std::move(action);
  if (connection != nullptr) {
    for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
      sqlite3_file* file = nullptr;
      if (sqlite3_file_control(connection, "main", which, &file) == SQLITE_OK && file != nullptr)
        hook.files.push_back(file);
    }
    if (hook.files.empty()) throw std::logic_error("a hook names a connection with no file");
  }
  const Guard guard(state_->mutex);
  state_->hook = std::move(hook);
}

bool Disk::hook_pending() const {
  const Guard guard(state_->mutex);
  return state_->hook.has_value();
}

void Disk::drop_hook() {
  const Guard guard(state_->mutex);
  state_->hook.reset();
}

}  // namespace calyx::faults
