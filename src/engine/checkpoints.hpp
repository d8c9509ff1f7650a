/// \file
/// What is kept between the attempts of a task: beside the market lies `<market>-checkpoints/<job>/<task>`, a
/// folder that goes when the job has ended.
///
/// A command has it for its own. It writes a checkpoint under another name and renames it, as one may be
/// killed at any time. What a function or a recipe keeps is one file in it, written likewise.
#pragma once

#include <calyx/worker.hpp>
#include <functional>
#include <string>
#include <string_view>

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

/// The task that a function does, and which attempt of it.
struct Attempt {
  JobId job{};
  std::uint64_t task = 0;
  std::int64_t number = 1;
};

/// What a function kept of this task last; empty where there is nothing. Fails: `unsupported` of a market in
/// memory; `io_error`; `too_large` of a file that `keep_state` did not write.
Result<std::string> kept_state(const Market& market, const Attempt& attempt);

/// Keeps `bytes` in its place, durably: whoever breaks this off leaves the old or the new. Attempts side by
/// side, of which one was given up, do not mix theirs. Fails: `too_large`, `unsupported`, `disk_full`,
/// `io_error`.
Result<Done> keep_state(const Market& market, const Attempt& attempt, std::string_view bytes);

/// Removes what the tasks of a job kept, if it has ended. What cannot be removed, or read, stays for the next
/// time.
void drop_checkpoints(Market& market, services::JobNumber job) noexcept;
/// The same of every job that left something.
void sweep_checkpoints(Market& market) noexcept;

}  // namespace calyx::engine
