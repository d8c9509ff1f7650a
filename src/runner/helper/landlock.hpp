/// \file
/// What a task may touch, as the kernel's Landlock keeps it: without root, namespaces or a daemon.
///
/// The constants are our own, since a distribution's headers are older than the kernels that it meets.
#pragma once

#include <cstdint>
#include <vector>

namespace calyx::runner::helper {

/// The version of Landlock that the running kernel answers, or 0.
int landlock_abi() noexcept;

/// Folders and devices that every task may use, opened once: a rule then costs one system call.
struct Grounds {
  std::vector<int> readable;
  std::vector<int> writable;
  std::vector<int> devices;
  std::vector<int> gpu_devices;
  int abi = 0;
};

/// Opens `path` for a rule and adds it to `places`; one that is not there is left out.
void add_place(std::vector<int>& places, const char* path);

/// The devices without which nothing runs, and those of GPUs.
void add_devices(Grounds& grounds);

/// A ruleset, which `landlock_restrict` puts on a process, or -1 with `errno`.
struct Wanted {
  const Grounds* grounds;
  std::vector<const char*> readable;
  std::vector<const char*> writable;
  bool network;
  bool gpu;
};
int landlock_ruleset(const Wanted& wanted);

/// Holds the calling process, and all that it starts, to `ruleset`. False with `errno`. Safe after `clone`.
bool landlock_restrict(int ruleset) noexcept;

}  // namespace calyx::runner::helper
