#include "beneath.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace calyx::archive {
namespace {

/// Once openat2 was not there it is not asked for again.
std::atomic<bool> kernel_lacks_openat2{false};

int open_by_kernel(int folder, const char* path, int flags, mode_t mode) noexcept {
  open_how how{};
  how.flags = static_cast<unsigned>(flags);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long number = ::syscall(SYS_openat2, folder, path, &how, sizeof how);
    // EAGAIN: a rename elsewhere made the kernel unsure, and it asks to be asked again.
    if (number >= 0 || (errno != EAGAIN && errno != EINTR)) return static_cast<int>(number);
  }
}

int open_by_steps(int folder, const std::string& path, int flags, mode_t mode) noexcept {
  Descriptor held;
  int at = folder;
  std::size_t from = 0;
  for (;;) {
    const std::size_t slash = path.find('/', from);
    const bool last = slash == std::string::npos;
    const std::string name = path.substr(from, last ? slash : slash - from);
    // The caller's paths have neither; whatever else comes here must not climb.
    if (name.empty() || name == "..") {
      errno = EXDEV;
      return -1;
    }
    if (last) return ::openat(at, name.c_str(), flags | O_NOFOLLOW, mode);
    Descriptor next(::openat(at, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.open()) {
      if (errno == ENOTDIR) {
        // As openat2 answers a link on the way.
        struct stat facts {};
        if (::fstatat(at, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(facts.st_mode))
          errno = ELOOP;
        else
          errno = ENOTDIR;
      }
      return -1;
    }
    held = std::move(next);
    at = *held;
    from = slash + 1;
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ < 0) return;
  const int before = errno;  // which a caller may still want to read
  ::close(number_);
  errno = before;
}

Way way_here() noexcept { return kernel_lacks_openat2.load() ? Way::steps : Way::kernel; }

Descriptor open_beneath(int folder, const std::string& path, int flags, mode_t mode, Way way) {
  flags |= O_CLOEXEC;
  if (way == Way::kernel && !kernel_lacks_openat2.load()) {
    Descriptor opened(open_by_kernel(folder, path.c_str(), flags, mode));
    // EPERM is what a sandbox answers to a call that it does not know; where it was meant, the steps meet it
    // as well.
    if (opened.open() || (errno != ENOSYS && errno != EPERM && errno != E2BIG)) return opened;
    if (errno == ENOSYS) kernel_lacks_openat2.store(true);
  }
  return Descriptor(open_by_steps(folder, path, flags, mode));
}

bool make_folder_beneath(int folder, const std::string& path, Way way) {
  const std::size_t slash = path.rfind('/');
  Descriptor parent;
  const char* name = path.c_str();
  if (slash != std::string::npos) {
    parent = open_beneath(folder, path.substr(0, slash), O_PATH | O_DIRECTORY, 0, way);
    if (!parent.open()) return false;
    folder = *parent;
    name += slash + 1;
  }
  // The umask may have taken rights away. Nobody else reaches the name between the two calls: the draft that
  // it lies in is its owner's alone.
  return ::mkdirat(folder, name, 0755) == 0 && ::fchmodat(folder, name, 0755, 0) == 0;
}

bool remove_tree(int folder, const char* name) noexcept {
  if (::unlinkat(folder, name, 0) == 0 || errno == ENOENT) return true;
  const int inside = ::openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (inside < 0) return errno == ENOENT;
  DIR* const entries = ::fdopendir(inside);
  if (entries == nullptr) {
    ::close(inside);
    return false;
  }
  bool all = true;
  // Threads may read folders at once, each through a stream of its own.
  while (const dirent* entry = ::readdir(entries)) {  // NOLINT(concurrency-mt-unsafe)
    const std::string_view found = entry->d_name;
    if (found != "." && found != "..") all = remove_tree(inside, entry->d_name) && all;
  }
  ::closedir(entries);
  return (::unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT) && all;
}

Error system_failure(int number, std::string_view doing) {
  if (number == ENOMEM) return fail(Reason::no_memory, "no memory for " + std::string(doing));
  const Reason reason = number == ENOSPC || number == EDQUOT ? Reason::disk_full : Reason::io_error;
  return fail(reason, std::string(doing) + ": " + std::generic_category().message(number),
              core::json::object({{"errno", number}}));
}

}  // namespace calyx::archive
