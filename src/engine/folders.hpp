/// \file
/// Folders that tasks have and that stay when they end, opened one inside the other so that no link leads
/// astray.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <calyx/core/result.hpp>
#include <cerrno>
#include <string>
#include <system_error>

namespace calyx::engine {

/// The folder `name` in `at`; a link in its place is none. Negative: `errno` says why.
inline int find_folder(int at, const std::string& name) noexcept {
  return ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// The same, made for its owner alone when it is not there.
inline int open_folder(int at, const std::string& name) noexcept {
  if (::mkdirat(at, name.c_str(), 0700) != 0 && errno != EEXIST) return -1;
  return find_folder(at, name);
}

/// `disk_full` or `io_error`, by the `errno` that `what` met.
inline Error folder_failure(const char* what, int number) {
  return fail(number == ENOSPC || number == EDQUOT ? Reason::disk_full : Reason::io_error,
              std::string(what) + ": " + std::system_category().message(number));
}

}  // namespace calyx::engine
