/// \file
/// A folder of a test's own, and children to share its files with.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>

namespace calyx::store {

/// A new folder, by its real path; gone with its contents when the test ends.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::canonical(std::filesystem::temp_directory_path()) / "calyx-XXXXXX");
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder for the test");
    folder_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string operator/(const std::string& name) const { return folder_ + "/" + name; }
  const std::string& folder() const noexcept { return folder_; }

 private:
  std::string folder_;
};

/// A value that parent and children see alike.
template <class T>
class Shared {
 public:
  Shared() {
    void* mapped = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("no shared memory");
    value_ = new (mapped) T();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }
  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }

 private:
  T* value_;
};

/// Starts `work` in a child process, whose exit code is what it returns; 99 for an exception. The child
/// runs nothing of the test that started it.
template <class Work>
pid_t start_child(Work work) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("no child process");
  if (child > 0) return child;
  int code = 99;
  try {
    code = work();
  } catch (...) {
  }
  ::_exit(code);
}

/// The child's exit code, or -1 when a signal ended it, or it is none of ours.
inline int wait_for(pid_t child) {
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

template <class Work>
int in_child(Work work) {
  return wait_for(start_child(work));
}

}  // namespace calyx::store
