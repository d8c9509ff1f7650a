#include "draft.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <calyx/core/encoding.hpp>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "crypto/random.hpp"

namespace calyx::archive {
namespace {

constexpr std::string_view draft_end = ".new";
constexpr std::size_t draft_digits = 16;

Error refused_path(std::string_view rule, std::string message) {
  return fail(Reason::path_refused, std::move(message), core::json::object({{"rule", rule}}));
}

bool is_draft_of(std::string_view entry, std::string_view name) noexcept {
  return entry.size() == name.size() + 1 + draft_digits + draft_end.size() &&
         entry.substr(0, name.size()) == name && entry[name.size()] == '-' &&
         entry.substr(entry.size() - draft_end.size()) == draft_end &&
         entry.substr(name.size() + 1, draft_digits).find_first_not_of(core::hex_digits) ==
             std::string_view::npos;
}

/// Takes away what crashes have left: drafts that nobody holds. Nothing depends on its success.
void sweep_drafts(int parent, std::string_view name) {
  const int copy = ::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return;
  DIR* const entries = ::fdopendir(copy);
  if (entries == nullptr) {
    ::close(copy);
    return;
  }
  // Threads may read folders at once, each through a stream of its own.
  while (const dirent* entry = ::readdir(entries)) {  // NOLINT(concurrency-mt-unsafe)
    if (!is_draft_of(entry->d_name, name)) continue;
    const Descriptor found(::openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // The lock is held while it goes: whoever has just made it waits for the lock, and then sees it gone.
    if (found.open() && ::flock(*found, LOCK_EX | LOCK_NB) == 0) remove_tree(parent, entry->d_name);
  }
  ::closedir(entries);
}

bool same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Renames without replacing anything.
bool rename_to_free(int parent, const char* from, const char* to) noexcept {
  if (::renameat2(parent, from, parent, to, RENAME_NOREPLACE) == 0) return true;
  if (errno != ENOSYS && errno != EINVAL && errno != EPERM) return false;
  // Some file systems cannot: there an empty folder holds the name, which a rename of a folder may replace.
  if (::mkdirat(parent, to, 0700) != 0) return false;
  if (::renameat(parent, from, parent, to) == 0) return true;
  const int number = errno;
  ::unlinkat(parent, to, AT_REMOVEDIR);
  errno = number;
  return false;
}

Error taken(const std::string& name) {
  return refused_path("exists", "there is something at " + name + " already");
}

}  // namespace

Result<Draft> Draft::begin(const std::string& destination) {
  std::string_view path = destination;
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  Draft draft;
  draft.name_ = std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
  if (draft.name_.empty() || draft.name_ == "." || draft.name_ == "..")
    return refused_path("name", "the destination has no name of its own");
  std::string parent = slash == std::string_view::npos ? "." : std::string(path.substr(0, slash));
  if (parent.empty()) parent = "/";

  draft.parent_ = Descriptor(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!draft.parent_.open()) {
    if (errno == ENOENT || errno == ENOTDIR)
      return fail(Reason::file_missing, "the folder to unpack into is not there: make it first");
    return system_failure(errno, "opening the folder to unpack into");
  }
  struct stat facts {};
  if (::fstatat(*draft.parent_, draft.name_.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0)
    return taken(draft.name_);
  sweep_drafts(*draft.parent_, draft.name_);

  constexpr int tries_max = 100;  // a sweep elsewhere takes one away only in the moment of its making
  for (int tries = 0; tries < tries_max; ++tries) {
    std::array<std::uint8_t, draft_digits / 2> random{};
    if (!crypto::system_random()(random.data(), random.size()))
      return fail(Reason::io_error, "the system gives no random bytes");
    std::string name = draft.name_ + "-" + core::hex(core::chars(random)) + std::string(draft_end);
    if (::mkdirat(*draft.parent_, name.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      if (errno == ENAMETOOLONG)
        return refused_path("too_long", "the destination's name is too long for a draft beside it");
      return system_failure(errno, "making the folder to unpack into");
    }
    draft.draft_name_ = std::move(name);
    Descriptor made(
        ::openat(*draft.parent_, draft.draft_name_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made.open()) {
      if (errno == ENOENT) continue;
      return system_failure(errno, "opening the folder to unpack into");
    }
    // Where there are no locks nothing is swept either.
    while (::flock(*made, LOCK_EX) != 0 && errno == EINTR) {
    }
    struct stat held {};
    if (::fstat(*made, &held) != 0 ||
        ::fstatat(*draft.parent_, draft.draft_name_.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0 ||
        !same_file(held, facts))
      continue;
    // The umask may have taken rights from the owner, too.
    if (::fchmod(*made, 0700) != 0) return system_failure(errno, "setting a folder's mode");
    draft.folder_ = std::move(made);
    return draft;
  }
  draft.draft_name_.clear();
  return fail(Reason::io_error, "the folder to unpack into is taken away again and again");
}

Draft::Draft(Draft&& other) noexcept
    : parent_(std::move(other.parent_)),
      folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      draft_name_(std::exchange(other.draft_name_, {})) {}

Draft::~Draft() {
  if (!draft_name_.empty()) remove_tree(*parent_, draft_name_.c_str());
}

Result<Done> Draft::keep(Keeping keeping) {
  if (::fchmod(*folder_, 0755) != 0) return system_failure(errno, "setting a folder's mode");
  // One call for all of the files: a sync for each would wait for the disk as often.
  if (keeping == Keeping::durable && ::syncfs(*folder_) != 0)
    return system_failure(errno, "syncing what was unpacked");
  if (!rename_to_free(*parent_, draft_name_.c_str(), name_.c_str())) {
    if (errno == EEXIST || errno == ENOTEMPTY) return taken(name_);
    return system_failure(errno, "naming what was unpacked");
  }
  draft_name_.clear();
  if (keeping == Keeping::durable && ::fsync(*parent_) != 0) {
    Error error = system_failure(errno, "syncing the folder of what was unpacked");
    remove_tree(*parent_, name_.c_str());
    return error;
  }
  return Done{};
}

}  // namespace calyx::archive
