// What a task costs beside its own work: each case starts small programs one after the other, bare by
// `posix_spawn` and as tasks. Costs are CPU of this process and of everything that it started, helper and
// supervisors included.
//
//   runner_bench [--quick] [--rounds N] [--dir PATH]      PATH is where tasks' files lie, /dev/shm unless
//   told

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "measure.hpp"
#include "runner/runner.hpp"

namespace calyx::bench {
namespace {

const std::string script = "echo 1 > ${COMPUTALOT_TASK_RESULT:-/dev/null}; echo said; echo wrong >&2";

/// Runs `work` and counts what its children took too: they must have been waited for when it returns.
template <class Work>
Sample measured(unsigned operations, const Work& work) {
  Sample sample;
  const double wall = wall_now_s();
  const double cpu = cpu_now_s() + children_cpu_now_s();
  work();
  sample.cpu_s = cpu_now_s() + children_cpu_now_s() - cpu;
  sample.wall_s = wall_now_s() - wall;
  sample.operations = operations;
  return sample;
}

Sample spawned(unsigned operations, std::vector<std::string> words) {
  return measured(operations, [&] {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    char* nothing[] = {nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    for (unsigned i = 0; i < operations; ++i) {
      pid_t child = -1;
      if (posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), nothing) != 0)
        throw std::runtime_error("cannot spawn " + words[0]);
      while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    posix_spawn_file_actions_destroy(&actions);
  });
}

Sample as_tasks(unsigned operations, const std::string& folder, std::vector<std::string> words,
                runner::How how) {
  return measured(operations, [&] {
    runner::Options options;
    options.scratch = folder;
    options.helper = CALYX_BENCH_RUNNER_HELPER;
    const auto runner = runner::Runner::open(std::move(options)).value();
    runner::Task task;
    task.argv = words;
    task.payload = "{\"seed\":1}";
    for (unsigned i = 0; i < operations; ++i) {
      const runner::Ended ended = runner->run(task);
      if (ended.how != how) throw std::runtime_error("a task ended otherwise: " + ended.message);
    }
  });
}

int run(const std::vector<std::string>& words) {
  unsigned rounds = rounds_min;
  unsigned operations = 300;
  std::string folder = "/dev/shm";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") operations = 10;
    if (words[i] == "--rounds" && i + 1 < words.size())
      rounds = static_cast<unsigned>(std::stoul(words[++i]));
    if (words[i] == "--dir" && i + 1 < words.size()) folder = std::filesystem::absolute(words[++i]);
  }
  const std::vector<std::string> nothing = {"/bin/true"};
  const std::vector<std::string> little = {"/bin/sh", "-c", script};
  const auto series = interleave(
      {{"posix_spawn_true", [&] { return spawned(operations, nothing); }},
       {"task_true", [&] { return as_tasks(operations, folder, nothing, runner::How::result_missing); }},
       {"posix_spawn_sh", [&] { return spawned(operations, little); }},
       {"task_sh_result_and_logs",
        [&] { return as_tasks(operations, folder, little, runner::How::succeeded); }}},
      rounds);
  report("task", series[0], figure::cpu);
  report("task", series[1], figure::cpu, series[0], Ratio::value_over_peer);
  report("task", series[2], figure::cpu);
  report("task", series[3], figure::cpu, series[2], Ratio::value_over_peer);
  return 0;
}

}  // namespace
}  // namespace calyx::bench

int main(int argc, char** argv) {
  try {
    return calyx::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
