/// \file
/// Jobs that are submitted together and name each other, before any of them has an id.
///
/// A job of a batch may bear a name, `alias`, by which others of the batch wait for it in `depends_on`.
#pragma once

#include <calyx/jobs.hpp>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "services/jobs.hpp"

namespace calyx::services {

/// Job `job` of the batch, which stands at `place` of a `depends_on`.
struct Sibling {
  std::size_t place = 0, job = 0;
  std::string alias;
};

struct BatchJob {
  /// The job without its name and with an id of nobody's in its siblings' places; absent: as it was given.
  std::optional<JobSubmit> without_names;
  std::vector<Sibling> siblings;
  std::optional<Error> fault;  ///< Why its name is none.
};

struct Batch {
  std::vector<BatchJob> jobs;      ///< As they were given.
  std::vector<std::size_t> order;  ///< To submit them in: each behind its siblings, else as they were given.
};

/// Finds the names in `asked`. A job whose name is malformed, or another's too, has a fault of its own:
/// `field_type`, `field_value`. One that could not be read is known by the `alias` in its error's details.
///
/// Fails: `dependency_cycle`, with the names on the way around it in `cycle`.
Result<Batch> read_batch(std::span<const Result<JobSubmit>> asked);

/// `job`, prepared without names, with the ids of its siblings in their places; `outcomes` has theirs. Fails:
/// `dependency_refused`, with the `alias`, and the word of what was said to it in `refused`.
Result<PreparedJob> with_siblings(const PreparedJob& job, std::span<const Sibling> siblings,
                                  std::span<const Result<JobSubmitted>> outcomes);

}  // namespace calyx::services
