/// \file
/// Doing an ended job again without what is done. `retry_of` runs the tasks that failed or never ran;
/// `resume_from` runs the points of a sweep that the earlier one has no result of. Either is a job of its own
/// with a hold of its own, and takes the finished results over, uncharged.
#pragma once

#include <calyx/jobs.hpp>

#include "services/known_job.hpp"

namespace calyx::services {

struct PreparedJob;

inline constexpr std::uint64_t resumed_points_max = 1'000'000;

/// Results for tasks `first` to `first + count - 1` of the new job.
struct TakenResults {
  std::uint64_t first = 0, count = 0;
  std::int64_t attempts = 1;
  std::string body;  ///< A JSON array.
};
struct TakenOver {
  std::uint64_t tasks = 0;            ///< That have their results.
  std::vector<TakenResults> results;  ///< By `first`.
  std::vector<core::Chunk> gaps;      ///< Tasks between results: they are to run,
  std::uint64_t fresh = 0;            ///< and so is all from here on.
  /// The artifacts of those that have their results; of each row the job is still to be set, and the account.
  std::vector<store::ArtifactRow> files;
};

/// The job that a submit names as the earlier one, and by which member.
struct EarlierName {
  std::string_view field;  ///< `retry_of` or `resume_from`; empty for a submit that names none.
  JobId id;
};
/// Fails: `field_type`, `job_unknown`, `field_value` for both of them.
Result<EarlierName> earlier_name(const core::json::Object& job);

struct Earlier {
  EarlierName name;
  std::shared_ptr<const KnownJob> known;
  store::JobState state;
};

/// `asked` with the work and the shape of the earlier job, where it says nothing of its own about either, and
/// with that job's terms where it has none.
///
/// Fails: `field_value` when that job has not ended, or there is nothing left to do of it.
Result<JobSubmit> completed_from(store::MarketStore& store, const Earlier& earlier, const JobSubmit& asked);

/// What `job`, as `asked` and prepared, takes over. Fails: `field_value` when the earlier job did other work,
/// was made from other inputs (`retry_of`), or is no sweep, or one in batches, or one with another
/// `fixed_payload` (`resume_from`).
Result<TakenOver> take_over(store::MarketStore& store, const Earlier& earlier, const JobSubmit& asked,
                            const PreparedJob& job);

}  // namespace calyx::services
