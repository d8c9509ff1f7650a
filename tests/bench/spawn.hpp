/// \file
/// Processes that benchmarks start themselves, and what they took.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>
#include <vector>

#include "measure.hpp"

namespace calyx::bench {

/// A task's small work, also where nobody says where its result goes.
inline const std::string task_script =
    "echo 1 > ${COMPUTALOT_TASK_RESULT:-/dev/null}; echo said; echo wrong >&2";

/// Runs `work` and counts what its children took too: they must have been waited for when it returns.
template <class Work>
Sample with_children(unsigned operations, const Work& work) {
  Sample sample;
  const double wall = wall_now_s();
  const double cpu = cpu_now_s() + children_cpu_now_s();
  work();
  sample.cpu_s = cpu_now_s() + children_cpu_now_s() - cpu;
  sample.wall_s = wall_now_s() - wall;
  sample.operations = operations;
  return sample;
}

/// Runs the program `words[0]`, looked for on the PATH, with this environment and nothing to print to;
/// whether it ended well.
inline bool spawn(std::vector<std::string>& words, char** environment) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  const int spawned = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// `words` as often as that, one after the other, with an empty environment: the floor under any runner.
inline Sample spawned(unsigned operations, std::vector<std::string> words) {
  return with_children(operations, [&] {
    char* nothing[] = {nullptr};
    for (unsigned i = 0; i < operations; ++i)
      if (!spawn(words, nothing)) throw std::runtime_error("cannot spawn " + words[0]);
  });
}

}  // namespace calyx::bench
