/// \file
/// Artifacts as services: whose they are, and the uploads on their way. Blobs are the engine's; here an
/// artifact is a row.
#pragma once

#include <calyx/artifacts.hpp>

#include "services/access.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

Error no_artifact(ArtifactId id);
Error no_upload(UploadId id);

ArtifactId artifact_id_of(std::uint32_t tag, const store::ArtifactRow& row) noexcept;
UploadId upload_id_of(std::uint32_t tag, const store::UploadRow& row) noexcept;

/// The row that `id` names in this market. Fails: `artifact_unknown`.
Result<store::ArtifactRow> artifact_row(store::MarketStore& store, std::uint32_t tag, ArtifactId id);

/// What is said of a put before its bytes come, and who it is by; the account that it is for.
/// Fails: as `project_account`; `field_value`, `too_large`.
Result<AccountNumber> check_put(const Book& book, const Principal& principal, const ArtifactPut& asked);

/// A blob that is durable, and was stored or renewed just now.
struct Kept {
  std::uint64_t size = 0;
  core::Digest sha256;
};
struct AddedArtifact {
  store::ArtifactRow row;
  bool replayed = false;
};
/// Fails: as `check_put`; `key_reused`.
Result<AddedArtifact> add_artifact(Transaction& tx, const Principal& principal, const ArtifactPut& asked,
                                   const Kept& kept);
/// A file that a task left, which `row` describes but for its number and its instant.
Result<Done> add_task_artifact(Transaction& tx, store::ArtifactRow row);

struct BegunUpload {
  store::UploadRow row;
  bool replayed = false;
};
/// `ticket` is the hash of a ticket's secret; absent: an upload in parts. Fails: as `add_artifact`.
Result<BegunUpload> begin_upload(Transaction& tx, const Principal& principal, const ArtifactPut& asked,
                                 const std::optional<core::Digest>& ticket);
/// Whether bytes may still come for `row`.
bool is_open(const store::UploadRow& row, Instant now) noexcept;
/// Makes an artifact of an upload and its blob, once. Fails: `upload_unknown` for one that is over.
Result<AddedArtifact> end_upload(Transaction& tx, const store::UploadRow& begun, const Kept& kept);
/// Gives up an upload. Fails: `upload_unknown` for one that is over.
Result<Done> abort_upload(Transaction& tx, const store::UploadRow& begun);

}  // namespace calyx::services
