/// \file
/// What the runner's tests share: a folder to work in, a runner, and tasks in one line of shell.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "runner/runner.hpp"
#include "testing.hpp"

namespace calyx::runner {

/// A folder for a test on a file system in memory where there is one, passable for other users.
class Scratch {
 public:
  Scratch() {
    struct stat facts;
    std::string name =
        ::stat("/dev/shm", &facts) == 0 ? "/dev/shm/calyx-test-XXXXXX" : "/tmp/calyx-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr || ::chmod(name.c_str(), 0711) != 0)
      throw std::runtime_error("no folder for the test");
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
  bool empty() const { return std::filesystem::is_empty(folder_); }

 private:
  std::string folder_;
};

inline Options options_in(const Scratch& scratch) {
  Options options;
  options.scratch = scratch.folder();
  options.helper = calyx::testing::runner_helper;
  return options;
}

inline std::unique_ptr<Runner> runner_in(const Scratch& scratch) {
  return Runner::open(options_in(scratch)).value();
}

/// A task that is a piece of shell; `R` in it is the path of its result.
inline Task shell(const std::string& script, std::int64_t timeout_ms = 60'000) {
  Task task;
  task.argv = {"/bin/sh", "-c", "R=$COMPUTALOT_TASK_RESULT; A=$COMPUTALOT_ARTIFACT_DIR; " + script};
  task.limits.timeout_ms = timeout_ms;
  task.limits.grace_ms = 300;
  return task;
}

/// A word that no other test's tasks have, whichever run beside this one, nor as the beginning of theirs.
inline std::string mark(const std::string& word) {
  return "calyx-" + word + "-" + std::to_string(::getpid()) + "x";
}

/// A task that is the hostile program, copied to where tasks may read it: a folder `project`.
inline Task hostile(const Scratch& scratch, const std::vector<std::string>& words) {
  std::filesystem::create_directory(scratch / "project");
  std::filesystem::copy_file(calyx::testing::hostile_program, scratch / ("project/" + mark("hostile")),
                             std::filesystem::copy_options::skip_existing);
  Task task;
  task.argv = {"./" + mark("hostile")};
  task.argv.insert(task.argv.end(), words.begin(), words.end());
  task.source = scratch / "project";
  task.limits.timeout_ms = 60'000;
  task.limits.grace_ms = 300;
  return task;
}

inline std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

/// How many descriptors this process has.
inline std::size_t descriptors() { return names_in("/proc/self/fd").size(); }

inline void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

/// A small file's beginning; a process of /proc may be gone by the time that it is read.
inline std::string beginning_of(const std::string& path) {
  char bytes[4096];
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t got = file < 0 ? -1 : ::read(file, bytes, sizeof bytes);
  if (file >= 0) ::close(file);
  return got > 0 ? std::string(bytes, static_cast<std::size_t>(got)) : std::string();
}

/// Whether some process of the machine has `mark` in its command line.
inline bool somebody_has(const std::string& mark) {
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (std::stol(name) == ::getpid()) continue;
    const std::string line = beginning_of("/proc/" + name + "/cmdline");
    if (line.find(mark) != std::string::npos) return true;
  }
  return false;
}

}  // namespace calyx::runner
