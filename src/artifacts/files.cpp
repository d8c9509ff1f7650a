#include "files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <calyx/core/encoding.hpp>
#include <cerrno>
#include <system_error>

#include "crypto/random.hpp"

namespace calyx::artifacts {

Descriptor::~Descriptor() {
  if (number_ < 0) return;
  const int before = errno;  // which a caller may still want to read
  ::close(number_);
  errno = before;
}

Error system_failure(int number, std::string_view doing) {
  if (number == ENOMEM) return fail(Reason::no_memory, "no memory for " + std::string(doing));
  const Reason reason = number == ENOSPC || number == EDQUOT ? Reason::disk_full : Reason::io_error;
  return fail(reason, std::string(doing) + ": " + std::generic_category().message(number),
              core::json::object({{"errno", number}}));
}

std::string blob_path(const core::Digest& sha256) {
  std::string path = core::hex(sha256);
  path.insert(2, 1, '/');
  return path;
}

Result<Done> make_folder(int at, const char* name) {
  if (::mkdirat(at, name, 0700) != 0 && errno != EEXIST)
    return system_failure(errno, "making a folder of artifacts");
  return Done{};
}

Result<Done> ready_folder(const detail::Folder& folder, const core::Digest& sha256) {
  std::atomic<bool>& synced = folder.synced[sha256.bytes[0]];
  if (synced.load()) return Done{};
  CALYX_CHECK(make_folder(*folder.root, blob_path(sha256).substr(0, 2).c_str()));
  // Also of one that was there: another process may have made it and not come as far.
  if (::fsync(*folder.root) != 0) return system_failure(errno, "syncing the artifacts' folder");
  synced.store(true);
  return Done{};
}

Result<Lock> Lock::take(int root, Sharing sharing) {
  Descriptor file(::openat(root, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.open()) return system_failure(errno, "opening the artifacts' lock");
  while (::flock(*file, sharing == Sharing::many ? LOCK_SH : LOCK_EX) != 0)
    if (errno != EINTR) return system_failure(errno, "locking the artifacts");
  return Lock(std::move(file));
}

Result<std::string> draft_name() {
  std::array<std::uint8_t, 16> random{};
  if (!crypto::system_random()(random.data(), random.size()))
    return fail(Reason::io_error, "the system gives no random bytes");
  return core::hex(core::chars(random));
}

Result<Draft> new_draft(int drafts) {
  constexpr int tries_max = 100;  // a sweep elsewhere takes one away only in the moment of its making
  for (int tries = 0; tries < tries_max; ++tries) {
    Draft draft;
    CALYX_TRY(draft.name, draft_name());
    draft.file = Descriptor(
        ::openat(drafts, draft.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!draft.file.open()) {
      if (errno == EEXIST) continue;
      return system_failure(errno, "making an artifact's file");
    }
    while (::flock(*draft.file, LOCK_EX) != 0)
      if (errno != EINTR) {
        Error error = system_failure(errno, "locking an artifact's file");
        ::unlinkat(drafts, draft.name.c_str(), 0);
        return error;
      }
    struct stat facts {};
    if (::fstat(*draft.file, &facts) == 0 && facts.st_nlink > 0) return draft;
  }
  return fail(Reason::io_error, "an artifact's file is taken away again and again");
}

void remove_folder(int at, const std::string& name) {
  const Descriptor inside(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (inside.open()) {
    const auto names = names_in(*inside, ".");
    if (names.ok() && *names)
      for (const std::string& file : **names) ::unlinkat(*inside, file.c_str(), 0);
  }
  ::unlinkat(at, name.c_str(), AT_REMOVEDIR);
}

void sweep_drafts(int drafts) {
  const auto names = names_in(drafts, ".");
  if (!names.ok() || !*names) return;
  for (const std::string& name : **names) {
    const Descriptor found(::openat(drafts, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat facts {};
    if (!found.open() || ::fstat(*found, &facts) != 0) continue;
    if (S_ISDIR(facts.st_mode)) remove_folder(drafts, name);  // an upload that was ended
    // The lock is held while it goes: whoever has just made it waits for the lock, and then sees it gone.
    else if (::flock(*found, LOCK_EX | LOCK_NB) == 0)
      ::unlinkat(drafts, name.c_str(), 0);
  }
}

Result<std::optional<std::vector<std::string>>> names_in(int at, const char* path) {
  const int folder = ::openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) {
    if (errno == ENOENT) return std::optional<std::vector<std::string>>();
    return system_failure(errno, "opening a folder of artifacts");
  }
  DIR* const entries = ::fdopendir(folder);
  if (entries == nullptr) {
    Error error = system_failure(errno, "reading a folder of artifacts");
    ::close(folder);
    return error;
  }
  std::vector<std::string> names;
  errno = 0;
  // Threads may read folders at once, each through a stream of its own.
  while (const dirent* entry = ::readdir(entries)) {  // NOLINT(concurrency-mt-unsafe)
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int number = errno;
  ::closedir(entries);
  if (number != 0) return system_failure(number, "reading a folder of artifacts");
  return std::optional(std::move(names));
}

bool sync_folder(int at, const char* path) noexcept {
  const Descriptor folder(::openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return folder.open() && ::fsync(*folder) == 0;
}

int write_all(int file, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return 0;
}

ssize_t read_at(int file, char* out, std::size_t size, std::uint64_t offset) noexcept {
  std::size_t have = 0;
  while (have < size) {
    const ssize_t got = ::pread(file, out + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return static_cast<ssize_t>(have);
}

timespec time_of(Instant instant) noexcept {
  std::int64_t seconds = instant.us / core::us_per_second;
  std::int64_t rest = instant.us % core::us_per_second;
  if (rest < 0) {
    rest += core::us_per_second;
    --seconds;
  }
  timespec time{};
  time.tv_sec = seconds;
  time.tv_nsec = rest * 1000;
  return time;
}

Instant instant_of(const timespec& time) noexcept {
  return Instant{time.tv_sec * core::us_per_second + time.tv_nsec / 1000};
}

bool make_young(int root, const std::string& path, const struct stat& facts, Instant now) noexcept {
  if (instant_of(facts.st_mtim) >= now) return true;
  const timespec times[] = {time_of(now), time_of(now)};
  return ::utimensat(root, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace calyx::artifacts
