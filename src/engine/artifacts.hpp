/// \file
/// Blobs beside the market, as projects, uploads and tasks use them.
#pragma once

#include <calyx/artifacts.hpp>

#include "artifacts/artifacts.hpp"
#include "engine/job_reading.hpp"

namespace calyx::engine {

inline constexpr std::size_t read_block_bytes = std::size_t{256} << 10;  ///< Of a blob, at a time.

/// The folder of blobs, opened. Fails: `unsupported` of a market in memory; as `artifacts::open_store`.
Result<artifacts::Store> open_blobs(const Market& market);

/// The same to write to. Fails also: `read_only`.
Result<artifacts::Store> writable_blobs(const Market& market);

/// Stores what `source` gives, durably. Fails: `too_large`, `content_mismatch`, `disk_full`, `io_error`; what
/// `source` says.
Result<artifacts::Stored> keep_blob(const artifacts::Store& blobs, Instant now, const ArtifactSource& source,
                                    const artifacts::Expected& expected = {});

/// The artifact that `id` names. Fails: `artifact_unknown`, also for somebody else's.
Result<store::ArtifactRow> find_artifact(store::MarketStore& store, const Reading& by, ArtifactId id);
Result<Artifact> view_artifact(store::MarketStore& store, const Reading& by, const store::ArtifactRow& row);

}  // namespace calyx::engine
