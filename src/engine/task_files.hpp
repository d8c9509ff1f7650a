/// \file
/// The files of a command's task: artifacts that it is given to read, and those that it leaves.
#pragma once

#include "engine/market.hpp"
#include "runner/runner.hpp"
#include "services/jobs.hpp"

namespace calyx::engine {

/// What the payload of a task of `payer` asks to be fetched. Fails: `artifact_unknown`, also for one that is
/// not the payer's, whatever made the payload name it; `field_…`; as opening an artifact.
Result<std::vector<runner::Input>> task_inputs(Market& market, core::AccountNumber payer,
                                               const core::json::Value& payload);

/// The bytes of an artifact that `payer` may read. Fails: `artifact_unknown`; `too_large`; as opening one.
Result<std::string> task_artifact(Market& market, core::AccountNumber payer, std::string_view id,
                                  std::size_t bytes_max);

/// The JSON that it holds. Fails also: as reading JSON.
Result<core::json::Value> task_artifact_json(Market& market, core::AccountNumber payer, std::string_view id,
                                             std::size_t bytes_max);

/// Whether a task that left `files` may leave one more, named `name`. Fails: `field_value` for a name that no
/// artifact may bear, or one that was taken.
Result<Done> check_left(std::string_view name, const services::TaskFiles& files);

/// Stores `bytes` as a file named `name` that a task leaves. Fails: as `check_left`, and storing a blob.
Result<Done> leave_file(const Market& market, std::string_view name, std::string_view bytes,
                        services::TaskFiles& files);

/// Stores what a task left, durably, for the report that tells of it. Fails: as storing a blob.
Result<services::TaskFiles> keep_files(const Market& market, const runner::Ended& ended);

}  // namespace calyx::engine
