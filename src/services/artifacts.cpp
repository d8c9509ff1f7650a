#include "services/artifacts.hpp"

#include "services/projects.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using store::ArtifactRow;
using store::UploadRow;

Result<ArtifactRow> add(Transaction& tx, ArtifactRow row) {
  CALYX_TRY(const store::ArtifactNumber last, tx.store().artifacts().last());
  row.number = last + 1;
  row.at = tx.now();
  CALYX_CHECK(tx.change_artifacts().add(row));
  return row;
}

/// The upload as it stands in this transaction, which may be over since it was read.
Result<UploadRow> again(Transaction& tx, const UploadRow& begun) {
  CALYX_TRY(std::optional<UploadRow> row, tx.store().artifacts().upload(begun.number));
  if (!row) return no_upload(upload_id_of(tx.book().tag, begun));
  return *std::move(row);
}

}  // namespace

Error no_artifact(ArtifactId id) {
  return fail(Reason::artifact_unknown, "no artifact " + id.text(),
              json::object({{"artifact_id", id.text()}}));
}
Error no_upload(UploadId id) {
  return fail(Reason::upload_unknown, "no upload " + id.text() + ", or it is over",
              json::object({{"upload_id", id.text()}}));
}

ArtifactId artifact_id_of(std::uint32_t tag, const ArtifactRow& row) noexcept {
  return ArtifactId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
}
UploadId upload_id_of(std::uint32_t tag, const UploadRow& row) noexcept {
  return UploadId::make(row.at.us, static_cast<std::uint64_t>(row.number), tag);
}

Result<ArtifactRow> artifact_row(store::MarketStore& store, std::uint32_t tag, ArtifactId id) {
  CALYX_TRY(std::optional<ArtifactRow> row,
            store.artifacts().artifact(static_cast<store::ArtifactNumber>(id.number())));
  if (!row || artifact_id_of(tag, *row) != id) return no_artifact(id);
  return *std::move(row);
}

Result<AccountNumber> check_put(const Book& book, const Principal& principal, const ArtifactPut& asked) {
  CALYX_TRY(const Caller caller, authorize(book, principal, For::derived_keys));
  CALYX_TRY(const AccountNumber account, project_account(book, caller, asked.wallet));
  CALYX_CHECK(check_name("/name", asked.name, artifact_name_bytes_max));
  CALYX_CHECK(check_key_text("Idempotency-Key", asked.idempotency_key, Empty::allowed));
  if (asked.size && *asked.size > artifact_bytes_max)
    return fail(Reason::too_large,
                "has " + std::to_string(*asked.size) + " bytes, takes " + std::to_string(artifact_bytes_max),
                json::object({{"field", "/size"}, {"limit", artifact_bytes_max}}));
  return account;
}

Result<AddedArtifact> add_artifact(Transaction& tx, const Principal& principal, const ArtifactPut& asked,
                                   const Kept& kept) {
  CALYX_TRY(const AccountNumber account, check_put(tx.book(), principal, asked));
  if (!asked.idempotency_key.empty()) {
    CALYX_TRY(std::optional<ArtifactRow> before,
              tx.store().artifacts().find_once(account, asked.idempotency_key));
    if (before && (before->name != asked.name || before->sha256 != kept.sha256))
      return reused(Reason::key_reused, "body");
    if (before) return AddedArtifact{*std::move(before), true};
  }
  CALYX_TRY(ArtifactRow row, add(tx, {.account = account,
                                      .name = asked.name,
                                      .size = kept.size,
                                      .sha256 = kept.sha256,
                                      .once = asked.idempotency_key}));
  return AddedArtifact{std::move(row)};
}

Result<Done> add_task_artifact(Transaction& tx, ArtifactRow row) {
  CALYX_CHECK(add(tx, std::move(row)));
  return Done{};
}

Result<BegunUpload> begin_upload(Transaction& tx, const Principal& principal, const ArtifactPut& asked,
                                 const std::optional<core::Digest>& ticket) {
  CALYX_TRY(const AccountNumber account, check_put(tx.book(), principal, asked));
  store::ArtifactStore& artifacts = tx.store().artifacts();
  if (!asked.idempotency_key.empty()) {
    CALYX_TRY(std::optional<UploadRow> before, artifacts.find_upload_once(account, asked.idempotency_key));
    if (before && (before->name != asked.name || before->size != asked.size ||
                   before->sha256 != asked.sha256 || before->ticket.has_value() != ticket.has_value()))
      return reused(Reason::key_reused, "body");
    if (before) return BegunUpload{*std::move(before), true};
  }
  CALYX_TRY(const store::UploadNumber last, artifacts.last_upload());
  const std::int64_t lasts_s = ticket ? artifact_ticket_s : artifact_upload_s;
  UploadRow row{.number = last + 1,
                .account = account,
                .at = tx.now(),
                .expires = Instant{tx.now().us + lasts_s * core::us_per_second},
                .name = asked.name,
                .size = asked.size,
                .sha256 = asked.sha256,
                .ticket = ticket,
                .once = asked.idempotency_key};
  CALYX_CHECK(tx.change_artifacts().add_upload(row));
  return BegunUpload{std::move(row)};
}

bool is_open(const UploadRow& row, Instant now) noexcept { return row.artifact == 0 && now < row.expires; }

Result<AddedArtifact> end_upload(Transaction& tx, const UploadRow& begun, const Kept& kept) {
  CALYX_TRY(const UploadRow upload, again(tx, begun));
  if (upload.artifact > 0) {
    CALYX_TRY(std::optional<ArtifactRow> row, tx.store().artifacts().artifact(upload.artifact));
    if (row) return AddedArtifact{*std::move(row), true};
  }
  if (!is_open(upload, tx.now())) return no_upload(upload_id_of(tx.book().tag, upload));
  CALYX_TRY(
      ArtifactRow row,
      add(tx, {.account = upload.account, .name = upload.name, .size = kept.size, .sha256 = kept.sha256}));
  CALYX_CHECK(tx.change_artifacts().end_upload(upload.number, row.number));
  return AddedArtifact{std::move(row)};
}

Result<Done> abort_upload(Transaction& tx, const UploadRow& begun) {
  CALYX_TRY(const UploadRow upload, again(tx, begun));
  if (!is_open(upload, tx.now())) return no_upload(upload_id_of(tx.book().tag, upload));
  return tx.change_artifacts().end_upload(upload.number, -1);
}

}  // namespace calyx::services
