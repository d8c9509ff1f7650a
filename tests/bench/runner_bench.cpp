// What a task costs beside its own work: each case starts small programs one after the other, bare by
// `posix_spawn` and as tasks. Costs are CPU of this process and of everything that it started, helper and
// supervisors included.
//
//   runner_bench [--quick] [--rounds N] [--dir PATH]      PATH is where tasks' files lie, /dev/shm unless
//   told

#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "measure.hpp"
#include "runner/runner.hpp"
#include "spawn.hpp"

namespace calyx::bench {
namespace {

Sample as_tasks(unsigned operations, const std::string& folder, std::vector<std::string> words,
                runner::How how) {
  return with_children(operations, [&] {
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
  const std::vector<std::string> little = {"/bin/sh", "-c", task_script};
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
