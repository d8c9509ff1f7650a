/// \file
/// The artifacts of a market file: whose each blob is and what it is called, and the uploads on their way.
///
/// `artifacts` and `skipped_files` are never changed; `uploads` are. The bytes lie beside the market
/// (src/artifacts), and a row is written only once they are durable there.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// An artifact's place in the market's sequence of artifacts, from 1; the same of an upload.
using ArtifactNumber = std::int64_t;
using UploadNumber = std::int64_t;

/// What `migrate` makes for artifacts, and which of the tables take no change.
std::span<const char* const> artifact_schema() noexcept;
std::span<const char* const> artifact_tables_of_record() noexcept;

struct ArtifactRow {
  ArtifactNumber number = 0;
  std::int64_t account = 0;  ///< Whose it is; 0 for nobody's.
  Instant at;
  std::string name;
  std::uint64_t size = 0;
  core::Digest sha256;
  std::int64_t job = 0;    ///< The job that left it; 0: none,
  std::uint64_t task = 0;  ///< and its task.
  std::string once;        ///< The caller's key, or empty.
};

/// An upload in parts, or a ticket for one that comes directly.
struct UploadRow {
  UploadNumber number = 0;
  std::int64_t account = 0;
  Instant at, expires;
  std::string name;
  std::optional<std::uint64_t> size;  ///< As it was said beforehand,
  std::optional<core::Digest> sha256;
  std::optional<core::Digest> ticket;  ///< SHA-256 of a ticket's secret; none for an upload in parts.
  std::string once;
  ArtifactNumber artifact = 0;  ///< What it became; 0: it is open; -1: it was given up.
};

class ArtifactStore {
 public:
  static Result<ArtifactStore> make(Connection& connection, bool writes);

  // ── writing, in a write transaction ──
  Result<Done> add(const ArtifactRow& row);
  /// What of a task's files was not kept: a JSON array.
  Result<Done> add_skipped(std::int64_t job, std::uint64_t task, std::string_view body);
  Result<Done> add_upload(const UploadRow& row);
  Result<Done> end_upload(UploadNumber number, ArtifactNumber artifact);

  // ── looking up ──
  Result<ArtifactNumber> last();
  Result<std::int64_t> count();
  Result<std::optional<ArtifactRow>> artifact(ArtifactNumber number);
  Result<std::optional<ArtifactRow>> find_once(std::int64_t account, std::string_view once);
  Result<UploadNumber> last_upload();
  Result<std::int64_t> count_uploads();
  Result<std::optional<UploadRow>> upload(UploadNumber number);
  Result<std::optional<UploadRow>> find_upload_once(std::int64_t account, std::string_view once);

  // ── walking; the callback gives false to stop ──
  using Each = std::function<Result<bool>(const ArtifactRow&)>;
  /// Those before `before`, the youngest first.
  Result<Done> all_before(ArtifactNumber before, const Each& each);
  /// What the tasks of `job` from `from` on left, in the tasks' order.
  Result<Done> of_job(std::int64_t job, std::uint64_t from, const Each& each);
  using EachSkipped = std::function<Result<bool>(std::uint64_t task, std::string_view body)>;
  Result<Done> skipped_of(std::int64_t job, std::uint64_t from, const EachSkipped& each);
  /// Every blob that a row names, a project's revisions among them; some may come twice.
  using EachBlob = std::function<Result<bool>(const core::Digest&)>;
  Result<Done> blobs(const EachBlob& each);

  /// As `JobStore::index_fault`, of the artifacts' tables.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_, add_skipped_, add_upload_, end_upload_;
  Statement last_, count_, artifact_, find_once_, last_upload_, count_uploads_, upload_, find_upload_once_,
      all_before_, of_job_, skipped_of_, blobs_;
  Listings listings_;
};

}  // namespace calyx::store
