/// \file
/// Jobs' commands as processes and containers of this machine: what a task of a job is to `src/runner`, and
/// what its end is to the job.
#pragma once

#include <calyx/worker.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "engine/mounts.hpp"
#include "engine/places.hpp"
#include "engine/projects.hpp"
#include "runner/runner.hpp"
#include "services/known_job.hpp"

namespace calyx::engine {

/// The GPUs of this machine, by number. Threads: any.
class Devices {
 public:
  explicit Devices(std::int64_t count)
      : free_(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)), true) {}
  /// The numbers of `count` devices, parted by commas, once so many are free; empty when `stopped` said so
  /// meanwhile, or when there are never so many.
  std::string take(std::int64_t count, const std::function<bool()>& stopped);
  void give_back(const std::string& numbers);

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::vector<bool> free_;
};

/// Threads: any; each call runs one task.
class Commands {
 public:
  /// `gpu_count` is how many GPUs tasks share. Fails: as `Places::check`, `runner::Runner::open` and
  /// `Places::find`.
  static Result<std::unique_ptr<Commands>> open(const CommandOptions& options, std::int64_t gpu_count);

  const Places& places() const noexcept { return *places_; }

  /// Runs a program for a recipe, by a runner of its own that is opened when it is first asked for: commands
  /// may read more. Fails: as `open_enclosure`, as `RunEnclosed`.
  Result<EnclosedEnd> run_enclosed(const EnclosedTask& task, const std::function<bool()>& stopped);

  /// What is done with what a task has printed so far: now and then as it runs, when there is more, and once
  /// more where it is stopped. Called on the thread of `run`.
  using Prints = std::function<void(Printed printed)>;
  /// What is done with what a task left, once it is known how it went; may change that.
  using Left = std::function<void(const runner::Ended& ended, TaskOutcome& outcome)>;
  /// Runs the command of `job` on `payload` in the folder `source`, or in one of its own, with `inputs` and
  /// what the project's manifest declares to read; it may write to `checkpoint`, a folder, unless that is
  /// empty. Nothing where `call.stopped` ended it: how it would have ended is not known.
  std::optional<TaskOutcome> run(const services::KnownJob& job, const PreparedFolder& source,
                                 const std::string& checkpoint, std::vector<runner::Input> inputs,
                                 const TaskCall& call, const Prints& prints, const Left& left);

 private:
  Commands(std::unique_ptr<runner::Runner> runner, std::unique_ptr<Places> places,
           const CommandOptions& options, std::int64_t gpu_count)
      : runner_(std::move(runner)),
        places_(std::move(places)),
        network_(options.network),
        memory_mb_(options.memory_mb),
        disk_mb_(options.disk_mb),
        cache_mb_(options.cache_mb),
        caches_(options.caches),
        user_(options.user),
        sources_(options.data_sources),
        devices_(gpu_count),
        enclosure_{.scratch = options.scratch,
                   .helper = options.helper,
                   .bubblewrap = options.bubblewrap,
                   .allow_bare_host = options.allow_bare_host} {}
  /// Gives `task` what the manifest of `source` declares, and `held` what it has while it runs. Nothing where
  /// it has all of it; a failure `cancelled` where it was stopped.
  std::optional<TaskOutcome> mount(const services::KnownJob& job, const PreparedFolder& source,
                                   const std::function<bool()>& stopped, runner::Task& task,
                                   std::vector<CacheFolder>& held);

  std::unique_ptr<runner::Runner> runner_;
  std::unique_ptr<Places> places_;
  bool network_;
  std::uint64_t memory_mb_, disk_mb_;  ///< Of a task whose job says nothing of it.
  std::uint64_t cache_mb_;             ///< The most that a cache keeps.
  const std::string caches_;           ///< Empty: each task has its own.
  std::optional<TaskUser> user_;       ///< Of tasks, if not the host's own.
  Sources sources_;
  Devices devices_;
  const EnclosureOptions enclosure_;
  std::mutex mutex_;          ///< Of what follows.
  RunEnclosed run_enclosed_;  ///< Empty before it is first asked for.
};

}  // namespace calyx::engine
