#include "runner/helper/processes.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace calyx::runner::helper {
namespace {

/// A small file of /proc, or nothing.
std::string text_of(const char* path) {
  std::string text;
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return text;
  char bytes[4096];
  for (;;) {
    const ssize_t got = ::read(file, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(bytes, static_cast<std::size_t>(got));
  }
  ::close(file);
  return text;
}

/// Calls `each` with the numbers that are names in `folder`.
template <class Each>
void for_each_number(const char* folder, Each each) {
  DIR* const listing = ::opendir(folder);
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    each(static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10)));
  }
  ::closedir(listing);
}

/// The parent that /proc names for `process`, or 0.
pid_t parent_of(pid_t process) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", process);
  const std::string stat = text_of(path);
  // The name in parentheses may hold anything, so what counts is behind the last of them.
  const std::size_t behind = stat.rfind(')');
  if (behind == std::string::npos || behind + 4 > stat.size()) return 0;
  return static_cast<pid_t>(std::strtol(stat.c_str() + behind + 4, nullptr, 10));
}

/// Whether the kernel lists children. Not all are built so.
bool lists_children() {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/children", ::getpid());
  return ::access(path, R_OK) == 0;
}

std::uint64_t resident(pid_t process, bool proportional) {
  char path[64];
  if (proportional) {
    std::snprintf(path, sizeof path, "/proc/%d/smaps_rollup", process);
    const std::string text = text_of(path);
    const char* const share = std::strstr(text.c_str(), "\nPss:");
    if (share != nullptr) return std::strtoull(share + 5, nullptr, 10) << 10;
  }
  std::snprintf(path, sizeof path, "/proc/%d/statm", process);
  const std::string text = text_of(path);
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return 0;
  return std::strtoull(text.c_str() + space, nullptr, 10) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task", parent);
  static const bool listed = lists_children();
  if (!listed) {
    for_each_number("/proc", [&](pid_t process) {
      if (parent_of(process) == parent) children.push_back(process);
    });
    return children;
  }
  for_each_number(path, [&](pid_t thread) {
    char list[96];
    std::snprintf(list, sizeof list, "/proc/%d/task/%d/children", parent, thread);
    const std::string text = text_of(list);
    const char* at = text.c_str();
    char* end = nullptr;
    for (long child = std::strtol(at, &end, 10); end != at; child = std::strtol(at, &end, 10)) {
      children.push_back(static_cast<pid_t>(child));
      at = end;
    }
  });
  return children;
}

int kill_children(const std::vector<pid_t>& spared) {
  int killed = 0;
  for (const pid_t child : children_of(::getpid())) {
    if (std::find(spared.begin(), spared.end(), child) != spared.end()) continue;
    if (::kill(child, SIGKILL) == 0) ++killed;
  }
  return killed;
}

std::uint64_t memory_below(pid_t top, std::uint64_t limit) {
  std::vector<pid_t> found = children_of(top);
  for (std::size_t at = 0; at < found.size(); ++at) {
    const std::vector<pid_t> below = children_of(found[at]);
    found.insert(found.end(), below.begin(), below.end());
  }
  for (const bool proportional : {false, true}) {
    std::uint64_t sum = 0;
    for (const pid_t process : found) sum += resident(process, proportional);
    if (sum <= limit || proportional) return sum;
  }
  return 0;
}

}  // namespace calyx::runner::helper
