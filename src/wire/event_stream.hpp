/// \file
/// Server-sent events (`text/event-stream`, HTML 9.2): what a stream tells, as the bytes of a body.
///
/// Start at `job_body` and `project_body`. A body begins with `retry:`; each event has an `id:` to go on
/// from, an `event:`, and one `data:` line of JSON; and when nothing happens for `comment_every` a comment
/// shows that the line stands.
#pragma once

#include <calyx/request.hpp>
#include <calyx/streams.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wire/router.hpp"

namespace calyx::wire {

/// Proxies and clients give up on a line that is quiet for some longer time.
inline constexpr std::chrono::milliseconds comment_every(15'000);
/// How long a client waits before it asks again.
inline constexpr std::chrono::milliseconds reconnect_after(2'000);

/// How the `id:` of a stream of jobs is spelled: the number of the event behind which to go on.
enum class JobIds : std::uint8_t {
  number,   ///< Of the one job,
  numbers,  ///< or of each, as `watch_id` has them.
};

/// The places of a watch, as a text that a client gives back: a mark that is made from the list of jobs, so
/// that it is not taken for a place in another one, and then each job's number, in the order of the list.
std::string watch_id(const std::vector<JobCursor>& jobs);
/// Sets where each of `jobs` goes on. Fails: false for what is no `watch_id` of these jobs.
bool read_watch_id(std::string_view id, std::vector<JobCursor>& jobs);

/// `jobs` are those of `stream`, and where it begins.
std::shared_ptr<BodyStream> job_body(JobStream stream, JobIds ids, std::vector<JobCursor> jobs,
                                     std::chrono::milliseconds comment_after = comment_every);
std::shared_ptr<BodyStream> project_body(ProjectStream stream,
                                         std::chrono::milliseconds comment_after = comment_every);

/// The answer whose body is `stream`; one that has nothing more to give is 204, which ends a client's asking.
Response stream_response(std::shared_ptr<BodyStream> stream);
Response nothing_more();

}  // namespace calyx::wire
