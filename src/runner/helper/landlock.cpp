#include "runner/helper/landlock.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

namespace calyx::runner::helper {
namespace {

#ifdef SYS_landlock_create_ruleset
constexpr long create_call = SYS_landlock_create_ruleset;
constexpr long add_call = SYS_landlock_add_rule;
constexpr long restrict_call = SYS_landlock_restrict_self;
#else
constexpr long create_call = 444, add_call = 445, restrict_call = 446;  // the same on every architecture
#endif

constexpr std::uint64_t execute = 1, write_file = 2, read_file = 4, read_dir = 8;
constexpr std::uint64_t make_char = 1 << 6, make_block = 1 << 11;
constexpr std::uint64_t refer = 1 << 13;      // from version 2 on: links and renames between folders
constexpr std::uint64_t truncate = 1 << 14;   // 3
constexpr std::uint64_t ioctl_dev = 1 << 15;  // 5
constexpr std::uint64_t bind_tcp = 1, connect_tcp = 2;                // 4
constexpr std::uint64_t scope_abstract_socket = 1, scope_signal = 2;  // 6

struct Ruleset {
  std::uint64_t files;
  std::uint64_t network;
  std::uint64_t scoped;
};

struct __attribute__((packed)) PathRule {
  std::uint64_t allowed;
  std::int32_t parent;
};

std::uint64_t handled_files(int abi) noexcept {
  std::uint64_t all = refer - 1;
  if (abi >= 2) all |= refer;
  if (abi >= 3) all |= truncate;
  if (abi >= 5) all |= ioctl_dev;
  return all;
}

/// A rule for what `place` names. Rights that only folders can have are left out for a file.
bool add_rule(int ruleset, int place, std::uint64_t allowed) noexcept {
  struct stat facts;
  if (::fstat(place, &facts) != 0) return false;
  if (!S_ISDIR(facts.st_mode)) allowed &= execute | write_file | read_file | truncate | ioctl_dev;
  const PathRule rule{allowed, place};
  return ::syscall(add_call, ruleset, 1, &rule, 0) == 0;
}

bool add_rules(int ruleset, const std::vector<int>& places, std::uint64_t allowed) noexcept {
  for (const int place : places)
    if (!add_rule(ruleset, place, allowed)) return false;
  return true;
}

bool add_rules(int ruleset, const std::vector<const char*>& paths, std::uint64_t allowed) {
  for (const char* path : paths) {
    const int place = ::open(path, O_PATH | O_CLOEXEC);
    if (place < 0) return false;
    const bool added = add_rule(ruleset, place, allowed);
    ::close(place);
    if (!added) return false;
  }
  return true;
}

}  // namespace

int landlock_abi() noexcept {
  const long abi = ::syscall(create_call, nullptr, 0, 1);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

void add_place(std::vector<int>& places, const char* path) {
  const int place = ::open(path, O_PATH | O_CLOEXEC);
  if (place >= 0) places.push_back(place);
}

void add_devices(Grounds& grounds) {
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    add_place(grounds.devices, path);
  add_place(grounds.gpu_devices, "/dev/dri");
  add_place(grounds.gpu_devices, "/dev/kfd");
  DIR* const listing = ::opendir("/dev");
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing))  // NOLINT(concurrency-mt-unsafe): a stream of our own
    if (std::strncmp(entry->d_name, "nvidia", 6) == 0)
      add_place(grounds.gpu_devices, (std::string("/dev/") + entry->d_name).c_str());
  ::closedir(listing);
}

int landlock_ruleset(const Wanted& wanted) {
  const Grounds& grounds = *wanted.grounds;
  Ruleset rules{handled_files(grounds.abi), 0, 0};
  // An older kernel refuses fields that it does not know, so it is shown as many as it knows.
  std::size_t size = sizeof rules.files;
  if (grounds.abi >= 4) {
    size = offsetof(Ruleset, scoped);
    if (!wanted.network) rules.network = bind_tcp | connect_tcp;
  }
  if (grounds.abi >= 6) {
    size = sizeof rules;
    rules.scoped = scope_abstract_socket | scope_signal;
  }
  const int ruleset = static_cast<int>(::syscall(create_call, &rules, size, 0));
  if (ruleset < 0) return -1;
  const std::uint64_t reading = execute | read_file | read_dir;
  const std::uint64_t writing = rules.files & ~(make_char | make_block | ioctl_dev);
  const std::uint64_t device = rules.files & (read_file | write_file | truncate | ioctl_dev | read_dir);
  if (add_rules(ruleset, grounds.readable, reading) && add_rules(ruleset, grounds.writable, writing) &&
      add_rules(ruleset, grounds.devices, device) &&
      (!wanted.gpu || add_rules(ruleset, grounds.gpu_devices, device)) &&
      add_rules(ruleset, wanted.readable, reading) && add_rules(ruleset, wanted.writable, writing))
    return ruleset;
  const int number = errno;
  ::close(ruleset);
  errno = number;
  return -1;
}

bool landlock_restrict(int ruleset) noexcept { return ::syscall(restrict_call, ruleset, 0) == 0; }

}  // namespace calyx::runner::helper
