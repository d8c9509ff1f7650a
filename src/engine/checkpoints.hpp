/// \file
/// What a command keeps between the attempts of its task: beside the market lies
/// `<market>-checkpoints/<job>/<task>`, a folder that goes when the job has ended.
///
/// A command writes a checkpoint under another name and renames it, as one may be killed at any time.
#pragma once

#include <functional>
#include <string>

#include "services/jobs.hpp"

namespace calyx {
class Market;
}

namespace calyx::engine {

/// A task's folder, for one attempt. Threads: one at a time.
class Checkpoint {
 public:
  /// Opens the folder of the task; it is empty unless `resumes`. While another attempt of the task has it, in
  /// this process or in another, this one waits: that one was given up, and is about to be ended.
  ///
  /// Fails: `stopped` when `stopped()` said so meanwhile; `unsupported` of a market in memory; `disk_full`,
  /// `io_error`.
  static Result<Checkpoint> open(Market& market, JobId job, std::uint64_t task, bool resumes,
                                 const std::function<bool()>& stopped);
  Checkpoint(Checkpoint&& other) noexcept;
  Checkpoint& operator=(Checkpoint&&) = delete;
  ~Checkpoint();

  const std::string& path() const noexcept { return path_; }

 private:
  Checkpoint(std::string path, int folder) noexcept : path_(std::move(path)), folder_(folder) {}
  std::string path_;
  int folder_;  ///< Whose lock says that the attempt runs; the system gives it up where a process ends.
};

/// Removes what the tasks of a job kept, if it has ended. What cannot be removed, or read, stays for the next
/// time.
void drop_checkpoints(Market& market, services::JobNumber job) noexcept;
/// The same of every job that left something.
void sweep_checkpoints(Market& market) noexcept;

}  // namespace calyx::engine
