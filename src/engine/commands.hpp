/// \file
/// Jobs' commands as processes of this machine: what a task of a job is to `src/runner`, and what its end is
/// to the job.
#pragma once

#include <calyx/worker.hpp>
#include <functional>
#include <memory>

#include "runner/runner.hpp"
#include "services/known_job.hpp"

namespace calyx::engine {

/// Threads: any; each call runs one task.
class Commands {
 public:
  /// Fails: `bare_host_refused` unless the host allowed it; as `runner::Runner::open`.
  static Result<std::unique_ptr<Commands>> open(const CommandOptions& options);

  /// What is done with what a task left, once it is known how it went; may change that.
  using Left = std::function<void(const runner::Ended& ended, TaskOutcome& outcome)>;
  /// Runs the command of `job` on `payload` in the folder `source`, or in one of its own, with `inputs` to
  /// read; it may write to `checkpoint`, a folder, unless that is empty. Nothing where `call.stopped` ended
  /// it: how it would have ended is not known.
  std::optional<TaskOutcome> run(const services::KnownJob& job, const std::string& source,
                                 const std::string& checkpoint, std::vector<runner::Input> inputs,
                                 const TaskCall& call, const Left& left);

 private:
  Commands(std::unique_ptr<runner::Runner> runner, bool network)
      : runner_(std::move(runner)), network_(network) {}
  std::unique_ptr<runner::Runner> runner_;
  bool network_;
};

}  // namespace calyx::engine
