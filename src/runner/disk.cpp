#include "runner/disk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace calyx::runner {
namespace {

constexpr int depth_max = 64;

/// What a name costs at least, so that empty files without number are seen too. Units: bytes.
constexpr std::uint64_t entry_bytes = 512;

class Counter {
 public:
  Counter(std::uint64_t limit, const std::function<bool()>& stopped) noexcept
      : limit_(limit), stopped_(stopped) {}

  void count(int at, const char* name, int depth) {
    if (stopped_ && stopped_()) return;
    const int folder =
        depth > depth_max ? -1 : ::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) {
      // Where it is a folder no more a later look sees what became of it.
      if (depth > depth_max || errno == EACCES) below_.whole = false;
      return;
    }
    DIR* const listing = ::fdopendir(folder);
    if (listing == nullptr) {
      ::close(folder);
      return;
    }
    while (const dirent* entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
      const std::string_view inside = entry->d_name;
      if (inside == "." || inside == "..") continue;
      struct stat facts;
      if (::fstatat(::dirfd(listing), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == EACCES) below_.whole = false;
        continue;
      }
      below_.bytes += entry_bytes + static_cast<std::uint64_t>(facts.st_blocks) * 512;
      if (S_ISDIR(facts.st_mode)) count(::dirfd(listing), entry->d_name, depth + 1);
      if (below_.bytes > limit_) break;
    }
    ::closedir(listing);
  }

  Below below() const noexcept { return below_; }

 private:
  std::uint64_t limit_;
  const std::function<bool()>& stopped_;
  Below below_;
};

}  // namespace

Below disk_below(const char* folder, std::uint64_t limit, const std::function<bool()>& stopped) {
  Counter counter(limit, stopped);
  counter.count(AT_FDCWD, folder, 0);
  return counter.below();
}

}  // namespace calyx::runner
