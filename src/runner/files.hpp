/// \file
/// The files of tasks: where they lie, what is taken from them afterwards, and how they go.
///
/// Whatever a task left is taken for hostile: each step goes by descriptor, follows no link, waits for no
/// pipe and counts before it believes. Callers see to it that nobody of the task is alive by then.
#pragma once

#include <sys/types.h>

#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/descriptor.hpp"
#include "runner/runner.hpp"

namespace calyx::runner {

/// Removes `name` in `parent` and all that is in it, however deep. False when something would not go.
bool remove_tree(int parent, const char* name);

/// A runner's folder below the scratch folder. It is locked as long as it is in use, so that a later runner
/// can tell and remove what a host that crashed has left.
class Root {
 public:
  /// A new one; removes abandoned ones first. Fails: `file_missing`, `io_error`, `disk_full`, `no_memory`.
  static Result<std::shared_ptr<Root>> make(const std::string& scratch);
  Root(Descriptor scratch, Descriptor folder, std::string name, std::string path) noexcept;
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;
  ~Root();

  int folder() const noexcept { return folder_.get(); }
  const std::string& path() const noexcept { return path_; }

 private:
  Descriptor scratch_;
  Descriptor folder_;
  std::string name_;
  std::string path_;
};

/// Whom a task's files belong to, when it does not run as the host's own user.
struct Owner {
  uid_t user = 0;
  gid_t group = 0;
};

/// One task's folder: `payload.json`, `result.json` once the task has written it, `artifacts`, and `tmp`,
/// which is its home. It goes with its last holder.
class TaskFolder {
 public:
  /// Fails: `io_error`, `disk_full`, `no_memory`.
  static Result<std::shared_ptr<TaskFolder>> make(std::shared_ptr<Root> root, std::uint64_t number,
                                                  std::string_view payload,
                                                  const std::optional<Owner>& owner);
  TaskFolder(std::shared_ptr<Root> root, std::string name) noexcept;
  TaskFolder(const TaskFolder&) = delete;
  TaskFolder& operator=(const TaskFolder&) = delete;
  ~TaskFolder();

  const std::string& path() const noexcept { return path_; }
  int folder() const noexcept { return folder_.get(); }

 private:
  std::shared_ptr<Root> root_;
  std::string name_;
  std::string path_;
  Descriptor folder_;
};

/// Copies `inputs` to `inputs` in `folder`, for `owner`. Fails: as `TaskFolder::make`; `field_value` for a
/// path that leads out; what an input's `read` says.
Result<Done> write_inputs(const TaskFolder& folder, const std::vector<Input>& inputs,
                          const std::optional<Owner>& owner);

/// Makes `data` and `caches` in `folder`, for `owner`, with a link for each mount of `task`, or a new folder.
/// Fails: as `TaskFolder::make`.
Result<Done> link_mounts(const TaskFolder& folder, const Task& task, const std::optional<Owner>& owner);

/// A new file without a name in `root`, for a task's logs. Fails: as `TaskFolder::make`.
Result<Descriptor> make_log(const Root& root);

/// The canonical text of the result in `folder`, which `user` must have written; `file_missing` when there is
/// none. Fails: `path_refused` (no plain file of one name and of that user), `too_large`, `io_error`, what
/// `read_json` refuses, `field_value` (a number that other readers would not get: details as `read_json`'s).
Result<std::string> read_result(const TaskFolder& folder, uid_t user, std::size_t bytes_max);

/// Gathers the files below `artifacts` in `folder`.
void gather_artifacts(const TaskFolder& folder, const Limits& limits, Artifacts& artifacts);

/// Opens what `gather_artifacts` has found, for reading. Fails: `file_missing`, `io_error`.
Result<Descriptor> open_artifact(const TaskFolder& folder, const Artifact& artifact);

/// The error of a system call on a file. `doing` says on what: `the payload cannot be written`.
Error file_error(std::string doing, int number);

}  // namespace calyx::runner
