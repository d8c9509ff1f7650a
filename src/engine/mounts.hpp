/// \file
/// What a project's manifest declares, made ready for a task: data sources as the host's function finds them,
/// and folders for caches.
#pragma once

#include <calyx/worker.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "engine/projects.hpp"

namespace calyx::engine {

struct FoundSource {
  JobFailure failure = JobFailure::none;  ///< `cancelled`: stopped meanwhile.
  std::string text;                       ///< The path, or what is wrong.
};

/// What the host answered. Threads: any.
class Sources {
 public:
  explicit Sources(FindDataSource find) : find_(std::move(find)) {}
  /// Where `source` of `project` lies. The host is asked by one caller while others wait, and not again as
  /// long as something lies there.
  FoundSource find(services::ProjectNumber project, const DataSource& source,
                   const std::function<bool()>& stopped);

 private:
  FoundSource ask(const DataSource& source, const std::function<bool()>& stopped) const;

  using Key = std::tuple<services::ProjectNumber, std::int64_t, std::string>;
  const FindDataSource find_;
  std::mutex mutex_;                    ///< Of what follows; nobody is asked under it.
  std::condition_variable changed_;     ///< Somebody has an answer, or none.
  std::map<Key, std::string> answers_;  ///< By project, revision and name; empty while the host is asked.
};

/// The folder of a cache, `<root>/<market>-<project>-<creation>/<name>/files`, for one task. Threads: one at
/// a time.
class CacheFolder {
 public:
  /// Opens it, made where it is not there. It is emptied where no task has it, in this process or in another,
  /// and it has more than `most_mb`, 0 being no limit, or folders that cannot be looked into. The folder
  /// above has the modification time `stamp_us` as long as nobody else has it, or comes; all who come have
  /// stamps of their own. Fails: `stopped`; `disk_full`, `io_error`.
  static Result<CacheFolder> open(const std::string& root, const PreparedFolder& project,
                                  const CacheMount& mount, std::uint64_t most_mb, std::int64_t stamp_us,
                                  const std::function<bool()>& stopped);
  CacheFolder(CacheFolder&& other) noexcept;
  CacheFolder& operator=(CacheFolder&&) = delete;
  ~CacheFolder();

  const std::string& path() const noexcept { return path_; }
  std::uint64_t bytes() const noexcept { return bytes_; }  ///< That were in it when it was opened.

 private:
  CacheFolder(std::string path, int home, std::uint64_t bytes) noexcept
      : path_(std::move(path)), home_(home), bytes_(bytes) {}
  std::string path_;
  int home_;  ///< The folder above, whose lock says that a task has it: tasks do not reach it.
  std::uint64_t bytes_;
};

}  // namespace calyx::engine
