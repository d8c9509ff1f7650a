#include "runner/disk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

namespace calyx::runner {
namespace {

constexpr int depth_max = 64;

/// What a name costs at least, so that empty files without number are seen too. Units: bytes.
constexpr std::uint64_t entry_bytes = 512;

class Counter {
 public:
  explicit Counter(std::uint64_t limit) noexcept : limit_(limit) {}

  void count(int folder, int depth) {
    DIR* const listing = ::fdopendir(folder);
    if (listing == nullptr) {
      ::close(folder);
      return;
    }
    while (const dirent* entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
      const std::string_view name = entry->d_name;
      struct stat facts;
      if (name == "." || name == ".." ||
          ::fstatat(::dirfd(listing), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      bytes_ += entry_bytes + static_cast<std::uint64_t>(facts.st_blocks) * 512;
      if (bytes_ > limit_) break;
      if (!S_ISDIR(facts.st_mode) || depth >= depth_max) continue;
      const int inside =
          ::openat(::dirfd(listing), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (inside >= 0) count(inside, depth + 1);
    }
    ::closedir(listing);
  }

  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::uint64_t limit_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

std::uint64_t disk_below(const char* folder, std::uint64_t limit) {
  Counter counter(limit);
  const int top = ::open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top >= 0) counter.count(top, 0);
  return counter.bytes();
}

}  // namespace calyx::runner
