#include "engine/mounts.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "crypto/sha256.hpp"
#include "engine/artifacts.hpp"
#include "engine/folders.hpp"
#include "runner/descriptor.hpp"
#include "runner/disk.hpp"
#include "runner/files.hpp"

namespace calyx::engine {
namespace {

using runner::Descriptor;
using Stopped = std::function<bool()>;

constexpr std::chrono::milliseconds look_again_every(50);
constexpr const char* files_name = "files";

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// What the file at `path` hashes to; nothing where it cannot be read, or `stopped` said so.
std::optional<core::Digest> digest_of(const std::string& path, const Stopped& stopped) {
  std::string block(read_block_bytes, '\0');
  crypto::Sha256Stream hash;
  std::ifstream in(path, std::ios::binary);
  while (in && !stopped()) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    hash.update(std::string_view(block).substr(0, static_cast<std::size_t>(in.gcount())));
  }
  if (!in.eof()) return std::nullopt;
  return hash.finish();
}

}  // namespace

// ── data sources ──

FoundSource Sources::ask(const DataSource& source, const Stopped& stopped) const {
  const auto unavailable = [](std::string why) {
    return FoundSource{JobFailure::source_unavailable, std::move(why)};
  };
  try {
    Result<std::string> found = find_(source, stopped);
    if (found.reason() == Reason::stopped || (!found.ok() && stopped())) return {JobFailure::cancelled, {}};
    if (!found.ok())
      return {found.error().status() == Status::unavailable ? JobFailure::source_unavailable
                                                            : JobFailure::source_refused,
              found.error().message};
    if (found->empty() || found->front() != '/' || found->find('\0') != std::string::npos ||
        !is_there(*found))
      return unavailable("the host's answer is no absolute path of a file or a folder that is there");
    std::error_code ignored;
    if (source.sha256 && !std::filesystem::is_directory(*found, ignored)) {
      const std::optional<core::Digest> digest = digest_of(*found, stopped);
      if (!digest && stopped()) return {JobFailure::cancelled, {}};
      if (!digest) return unavailable("the file cannot be read");
      if (*digest != *source.sha256)
        return {JobFailure::source_refused, "the file's SHA-256 is " + core::hex(*digest) +
                                                ", the manifest says " + core::hex(*source.sha256)};
    }
    return {JobFailure::none, *std::move(found)};
  } catch (const std::exception& thrown) {
    return unavailable(thrown.what());
  } catch (...) {
    return unavailable("the host's function threw something that is no exception");
  }
}

FoundSource Sources::find(services::ProjectNumber project, const DataSource& source, const Stopped& stopped) {
  if (!find_) return {JobFailure::source_unavailable, "this worker's host finds none"};
  const Key key(project, source.project_revision, source.name);
  for (std::unique_lock lock(mutex_);;) {
    const auto [known, ours] = answers_.try_emplace(key);
    if (ours) break;
    const std::string path = known->second;
    lock.unlock();
    if (!path.empty() && is_there(path)) return {JobFailure::none, path};
    if (stopped()) return {JobFailure::cancelled, {}};
    lock.lock();
    const auto now = answers_.find(key);
    if (now == answers_.end()) continue;
    if (!path.empty() && now->second == path) {  // it is gone: this caller asks for it anew
      now->second.clear();
      break;
    }
    changed_.wait_for(lock, look_again_every);
  }
  // Whoever waits goes on, also where there is no answer: then the next one asks.
  std::string answer;
  const auto settle = [&](const Sources*) {
    {
      const std::lock_guard lock(mutex_);
      const auto asked = answers_.find(key);
      asked->second.swap(answer);
      if (asked->second.empty()) answers_.erase(asked);
    }
    changed_.notify_all();
  };
  const std::unique_ptr<const Sources, decltype(settle)> ends(this, settle);
  FoundSource found = ask(source, stopped);
  if (found.failure == JobFailure::none) answer = found.text;
  return found;
}

// ── caches ──

namespace {

/// Makes the folder of the files in `home`, where it is not there, and undoes what a task did to its mode.
bool open_to_owner(int home) noexcept {
  struct stat is {};
  if (::mkdirat(home, files_name, 0700) == 0) return true;
  if (errno != EEXIST || ::fstatat(home, files_name, &is, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if (S_ISDIR(is.st_mode)) return (is.st_mode & 0777) == 0700 || ::fchmodat(home, files_name, 0700, 0) == 0;
  errno = ENOTDIR;
  return false;
}

bool put_stamp(int home, std::int64_t stamp_us) noexcept {
  const timespec at{stamp_us / 1'000'000, stamp_us % 1'000'000 * 1000};
  const timespec times[2] = {at, at};
  return ::futimens(home, times) == 0;
}

std::int64_t stamp_of(int home) noexcept {
  struct stat is {};
  if (::fstat(home, &is) != 0) return 0;
  return std::int64_t{is.st_mtim.tv_sec} * 1'000'000 + is.st_mtim.tv_nsec / 1000;
}

}  // namespace

Result<CacheFolder> CacheFolder::open(const std::string& root, const PreparedFolder& project,
                                      const CacheMount& mount, std::uint64_t most_mb, std::int64_t stamp_us,
                                      const Stopped& stopped) {
  const std::string owner = std::to_string(project.market) + '-' + std::to_string(project.project) + '-' +
                            std::to_string(project.created.us);
  const Descriptor top(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Descriptor of_project(top ? open_folder(top.get(), owner) : -1);
  Descriptor home(of_project ? open_folder(of_project.get(), mount.name) : -1);
  if (!home || !open_to_owner(home.get())) return folder_failure("a cache's folder", errno);
  std::string path = root;
  path.append("/").append(owner).append("/").append(mount.name).append("/").append(files_name);
  const auto look = [&] {
    return runner::disk_below(path.c_str(), std::numeric_limits<std::uint64_t>::max(), stopped);
  };
  const auto stopped_early = [] { return fail(Reason::stopped, "the task was stopped before it began"); };
  runner::Below has;
  const bool alone = ::flock(home.get(), LOCK_EX | LOCK_NB) == 0;
  if (alone) {
    has = look();
    if (stopped()) return stopped_early();
    constexpr std::uint64_t mb_max = std::uint64_t{1} << 40;
    if (!has.whole || (most_mb != 0 && has.bytes > std::min(most_mb, mb_max) << 20)) {
      if (!runner::remove_tree(home.get(), files_name) || !Descriptor(open_folder(home.get(), files_name)))
        return folder_failure("a cache's folder", errno);
      has = {};
    }
    if (!put_stamp(home.get(), stamp_us)) return folder_failure("a cache's folder", errno);
  }
  // Somebody else may be looking at it, or emptying it.
  while (::flock(home.get(), LOCK_SH | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return folder_failure("a cache's folder", errno);
    if (stopped()) return stopped_early();
    std::this_thread::sleep_for(look_again_every);
  }
  // A lock that becomes a shared one is nobody's for a moment, in which somebody may have come.
  if (stamp_of(home.get()) != stamp_us && !put_stamp(home.get(), stamp_us - 1))
    return folder_failure("a cache's folder", errno);
  if (!alone) has = look();
  return CacheFolder(std::move(path), home.release(), has.bytes);
}

CacheFolder::CacheFolder(CacheFolder&& other) noexcept
    : path_(std::move(other.path_)), home_(std::exchange(other.home_, -1)), bytes_(other.bytes_) {}

CacheFolder::~CacheFolder() {
  if (home_ >= 0) ::close(home_);
}

}  // namespace calyx::engine
