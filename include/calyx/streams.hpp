/// \file
/// Streams: what happens to jobs and projects, as it happens.
///
/// Start at `Session::stream_job`. A stream is a place in a log that stands anyhow: nothing is queued for it,
/// and one that begins where another ended goes on exactly there.
///
/// Owns: a stream may outlive its engine, whose end ends it: `next` then fails with `closed`, also one that
/// waits on another thread.
/// Threads: a stream is for one thread at a time; of streams there may be any number.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/jobs.hpp>
#include <calyx/projects.hpp>
#include <calyx/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace calyx {

/// A place in the log of a job: behind its event `after`; 0 is its beginning. Behind the `end` of one that
/// has ended is one more than its last event, and there is nothing there.
struct JobCursor {
  JobId job{};
  std::int64_t after = 0;
};

enum class NewsKind : std::uint8_t {
  event,     ///< What happened.
  snapshot,  ///< In place of events that were too many: how things stand.
  end,       ///< There is nothing more to come.
};
constexpr std::string_view word(NewsKind kind) noexcept {
  constexpr std::string_view words[] = {"event", "snapshot", "end"};
  return words[static_cast<std::size_t>(kind)];
}

struct JobNews {
  NewsKind kind = NewsKind::event;
  std::size_t place = 0;       ///< Of the job among those that were asked for, from 0.
  JobId job{};                 ///< And its id.
  std::int64_t number = 0;     ///< Of the event in its job: a stream from there goes on behind this.
  Instant at{};                ///< Of an event.
  core::json::Value body{};    ///< Of an event: an object whose `event` says what happened.
  std::optional<Job> state{};  ///< Of the others: the job as it is.
};

/// Events behind a cursor that are told one by one. Of a job with more a stream tells how it stands instead.
inline constexpr std::int64_t stream_lag_max = 1'000;
/// Jobs of one stream.
inline constexpr std::size_t watched_jobs_max = 100;
/// News that `JobStream::next` gives at once.
inline constexpr std::size_t news_max = 100;

class JobFollower;      // a stream's inside
class ProjectFollower;  // the same

/// What happens to one job or to several.
class CALYX_EXPORT JobStream {
 public:
  JobStream(JobStream&&) noexcept;
  JobStream& operator=(JobStream&&) noexcept;
  ~JobStream();

  /// What is new, each job's in its order; waits for it, at most `most`. Empty: nothing yet, or never again
  /// (`ended`). The right to read is asked for each time.
  /// Fails: `unauthorized` (the key was revoked), `closed`, `forked`, `corrupt`, which end the stream; what a
  /// store says that is busy or full, after which the same may be asked again.
  Result<std::vector<JobNews>> next(std::chrono::milliseconds most);
  /// Whether nothing will come any more.
  bool ended() const noexcept;

 private:
  friend class Session;
  explicit JobStream(std::unique_ptr<JobFollower> follower) noexcept;
  std::unique_ptr<JobFollower> follower_;
};

/// What a project's status was, as a stream that begins there is told: a text of at most 64 bytes.
using ProjectCursor = std::string;

struct ProjectNews {
  NewsKind kind = NewsKind::snapshot;  ///< The status as the stream began; as it became; or the end.
  ProjectCursor cursor{};              ///< Behind this.
  ProjectStatus status{};
};

/// What a project's status is and becomes. No log is kept of it: of changes in quick succession the last one
/// is told. Ends when the project is deleted.
class CALYX_EXPORT ProjectStream {
 public:
  ProjectStream(ProjectStream&&) noexcept;
  ProjectStream& operator=(ProjectStream&&) noexcept;
  ~ProjectStream();

  /// As `JobStream::next`; at most one.
  Result<std::optional<ProjectNews>> next(std::chrono::milliseconds most);
  bool ended() const noexcept;

 private:
  friend class Session;
  explicit ProjectStream(std::unique_ptr<ProjectFollower> follower) noexcept;
  std::unique_ptr<ProjectFollower> follower_;
};

}  // namespace calyx
