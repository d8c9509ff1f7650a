#include "store/artifact_store.hpp"

#include "store/octets.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_artifacts[] = {
    R"(CREATE TABLE artifacts(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- whose it is; 0: nobody's
  at_us   INTEGER NOT NULL,
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  sha256  BLOB NOT NULL,        -- the blob's name beside the market
  job     INTEGER NOT NULL,     -- that left it; 0: none
  task    INTEGER NOT NULL,
  once    TEXT NOT NULL         -- the caller's key, or empty
) STRICT)",
    R"(CREATE INDEX artifacts_job ON artifacts(job, task) WHERE job <> 0)",
    R"(CREATE INDEX artifacts_once ON artifacts(account, once) WHERE once <> '')",
    R"(CREATE TABLE skipped_files(
  job  INTEGER NOT NULL,
  task INTEGER NOT NULL,
  body TEXT NOT NULL,  -- a JSON array of {name, why}
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE uploads(
  number   INTEGER PRIMARY KEY,  -- gapless from 1
  account  INTEGER NOT NULL,
  at_us    INTEGER NOT NULL,
  expires  INTEGER NOT NULL,
  name     TEXT NOT NULL,
  size     INTEGER,
  sha256   BLOB,
  ticket   BLOB,                 -- SHA-256 of its secret; null: an upload in parts
  once     TEXT NOT NULL,
  artifact INTEGER NOT NULL      -- what it became; 0: it is open; -1: given up
) STRICT)",
    R"(CREATE INDEX uploads_once ON uploads(account, once) WHERE once <> '')",
};

constexpr const char* artifact_records[] = {"artifacts", "skipped_files"};

constexpr ListingText artifact_listings[] = {
    {"artifacts", nullptr, "number + length(name) + length(sha256)"},
    {"artifacts", nullptr, "number", " WHERE job <> 0"},
    {"artifacts", "artifacts_job", "number", " WHERE job <> 0"},
    {"artifacts", nullptr, "number", " WHERE once <> ''"},
    {"artifacts", "artifacts_once", "number", " WHERE once <> ''"},
    {"skipped_files", nullptr, "task + length(body)"},
    {"uploads", nullptr, "number + length(name)"},
    {"uploads", nullptr, "number", " WHERE once <> ''"},
    {"uploads", "uploads_once", "number", " WHERE once <> ''"},
};

Result<std::int64_t> number_of(Statement& statement) {
  const Statement::Run run(statement);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}

/// An optional digest of `row`'s column, which a flipped bit may have cut.
Result<std::optional<core::Digest>> read_digest(Statement& row, int column, const char* table) {
  if (row.is_null(column)) return std::optional<core::Digest>();
  const auto digest = core::digest_of_bytes(chars_of(row.column_blob(column)));
  if (!digest) return damaged_row(table, row.column_int(0), "a hash is not 32 bytes");
  return std::optional<core::Digest>(*digest);
}

Result<bool> read_artifact(Statement& row, ArtifactRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  CALYX_TRY(const std::optional<core::Digest> sha256, read_digest(row, 5, "artifacts"));
  out = {.number = row.column_int(0),
         .account = row.column_int(1),
         .at = Instant{row.column_int(2)},
         .name = std::string(row.column_text(3)),
         .size = static_cast<std::uint64_t>(row.column_int(4)),
         .sha256 = sha256.value_or(core::Digest{}),
         .job = row.column_int(6),
         .task = static_cast<std::uint64_t>(row.column_int(7)),
         .once = std::string(row.column_text(8))};
  return true;
}

Result<std::optional<ArtifactRow>> one_artifact(Statement& statement) {
  ArtifactRow row;
  CALYX_TRY(const bool found, read_artifact(statement, row));
  if (!found) return std::optional<ArtifactRow>();
  return std::optional<ArtifactRow>(std::move(row));
}

Result<Done> all(Statement& statement, const ArtifactStore::Each& each) {
  ArtifactRow row;
  for (;;) {
    CALYX_TRY(const bool more, read_artifact(statement, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}

Result<std::optional<UploadRow>> one_upload(Statement& row) {
  CALYX_TRY(const bool found, row.step());
  if (!found) return std::optional<UploadRow>();
  UploadRow out{.number = row.column_int(0),
                .account = row.column_int(1),
                .at = Instant{row.column_int(2)},
                .expires = Instant{row.column_int(3)},
                .name = std::string(row.column_text(4)),
                .once = std::string(row.column_text(8)),
                .artifact = row.column_int(9)};
  if (!row.is_null(5)) out.size = static_cast<std::uint64_t>(row.column_int(5));
  CALYX_TRY(out.sha256, read_digest(row, 6, "uploads"));
  CALYX_TRY(out.ticket, read_digest(row, 7, "uploads"));
  return std::optional<UploadRow>(std::move(out));
}

}  // namespace

std::span<const char* const> artifact_schema() noexcept { return schema_of_artifacts; }
std::span<const char* const> artifact_tables_of_record() noexcept { return artifact_records; }

Result<ArtifactStore> ArtifactStore::make(Connection& connection, bool writes) {
  ArtifactStore store;
  struct Text {
    Statement& statement;
    std::string sql;
    const char* doing;
  };
  const std::string artifacts =
      "SELECT number, account, at_us, name, size, sha256, job, task, once FROM artifacts WHERE ";
  const std::string uploads =
      "SELECT number, account, at_us, expires, name, size, sha256, ticket, once, artifact FROM uploads "
      "WHERE ";
  const Text write_texts[] = {
      {store.add_,
       "INSERT INTO artifacts(number, account, at_us, name, size, sha256, job, task, once) VALUES(?1, ?2, "
       "?3, ?4, ?5, ?6, ?7, ?8, ?9)",
       "adding an artifact"},
      {store.add_skipped_, "INSERT INTO skipped_files(job, task, body) VALUES(?1, ?2, ?3)",
       "keeping what of a task's files was not kept"},
      {store.add_upload_,
       "INSERT INTO uploads(number, account, at_us, expires, name, size, sha256, ticket, once, artifact) "
       "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
       "beginning an upload"},
      {store.end_upload_, "UPDATE uploads SET artifact = ?2 WHERE number = ?1", "ending an upload"},
  };
  const Text read_texts[] = {
      {store.last_, "SELECT max(number) FROM artifacts", "reading the last artifact"},
      {store.count_, "SELECT count(*) FROM artifacts", "counting artifacts"},
      {store.artifact_, artifacts + "number = ?1", "reading an artifact"},
      {store.find_once_, artifacts + "account = ?1 AND once = ?2 AND once <> ''", "finding an artifact"},
      {store.last_upload_, "SELECT max(number) FROM uploads", "reading the last upload"},
      {store.count_uploads_, "SELECT count(*) FROM uploads", "counting uploads"},
      {store.upload_, uploads + "number = ?1", "reading an upload"},
      {store.find_upload_once_, uploads + "account = ?1 AND once = ?2 AND once <> ''", "finding an upload"},
      {store.all_before_, artifacts + "number < ?1 ORDER BY number DESC", "listing artifacts"},
      {store.of_job_, artifacts + "job = ?1 AND job <> 0 AND task >= ?2 ORDER BY task, name, number",
       "reading what a job left"},
      {store.skipped_of_, "SELECT task, body FROM skipped_files WHERE job = ?1 AND task >= ?2 ORDER BY task",
       "reading what a job left"},
      {store.blobs_, "SELECT 0, sha256 FROM artifacts UNION ALL SELECT 0, sha256 FROM revisions",
       "reading which blobs are wanted"},
  };
  if (writes)
    for (const Text& text : write_texts) {
      CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
    }
  for (const Text& text : read_texts) {
    CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
  }
  CALYX_TRY(store.listings_, Listings::make(connection, artifact_listings));
  return store;
}

Result<Done> ArtifactStore::add(const ArtifactRow& row) {
  const Statement::Run run(add_);
  return run->bind(1, row.number)
      .bind(2, row.account)
      .bind(3, row.at.us)
      .bind(4, std::string_view(row.name))
      .bind(5, static_cast<std::int64_t>(row.size))
      .bind(6, octets_of(row.sha256))
      .bind(7, row.job)
      .bind(8, static_cast<std::int64_t>(row.task))
      .bind(9, std::string_view(row.once))
      .execute();
}
Result<Done> ArtifactStore::add_skipped(std::int64_t job, std::uint64_t task, std::string_view body) {
  const Statement::Run run(add_skipped_);
  return run->bind(1, job).bind(2, static_cast<std::int64_t>(task)).bind(3, body).execute();
}
Result<Done> ArtifactStore::add_upload(const UploadRow& row) {
  const Statement::Run run(add_upload_);
  run->bind(1, row.number)
      .bind(2, row.account)
      .bind(3, row.at.us)
      .bind(4, row.expires.us)
      .bind(5, std::string_view(row.name))
      .bind(9, std::string_view(row.once))
      .bind(10, row.artifact);
  row.size ? run->bind(6, static_cast<std::int64_t>(*row.size)) : run->bind(6, nullptr);
  row.sha256 ? run->bind(7, octets_of(*row.sha256)) : run->bind(7, nullptr);
  row.ticket ? run->bind(8, octets_of(*row.ticket)) : run->bind(8, nullptr);
  return run->execute();
}
Result<Done> ArtifactStore::end_upload(UploadNumber number, ArtifactNumber artifact) {
  const Statement::Run run(end_upload_);
  return run->bind(1, number).bind(2, artifact).execute();
}

Result<ArtifactNumber> ArtifactStore::last() { return number_of(last_); }
Result<std::int64_t> ArtifactStore::count() { return number_of(count_); }
Result<UploadNumber> ArtifactStore::last_upload() { return number_of(last_upload_); }
Result<std::int64_t> ArtifactStore::count_uploads() { return number_of(count_uploads_); }

Result<std::optional<ArtifactRow>> ArtifactStore::artifact(ArtifactNumber number) {
  const Statement::Run run(artifact_);
  run->bind(1, number);
  return one_artifact(*run);
}
Result<std::optional<ArtifactRow>> ArtifactStore::find_once(std::int64_t account, std::string_view once) {
  const Statement::Run run(find_once_);
  run->bind(1, account).bind(2, once);
  return one_artifact(*run);
}
Result<std::optional<UploadRow>> ArtifactStore::upload(UploadNumber number) {
  const Statement::Run run(upload_);
  run->bind(1, number);
  return one_upload(*run);
}
Result<std::optional<UploadRow>> ArtifactStore::find_upload_once(std::int64_t account,
                                                                 std::string_view once) {
  const Statement::Run run(find_upload_once_);
  run->bind(1, account).bind(2, once);
  return one_upload(*run);
}

Result<Done> ArtifactStore::all_before(ArtifactNumber before, const Each& each) {
  const Statement::Run run(all_before_);
  run->bind(1, before);
  return all(*run, each);
}
Result<Done> ArtifactStore::of_job(std::int64_t job, std::uint64_t from, const Each& each) {
  const Statement::Run run(of_job_);
  run->bind(1, job).bind(2, static_cast<std::int64_t>(from));
  return all(*run, each);
}
Result<Done> ArtifactStore::skipped_of(std::int64_t job, std::uint64_t from, const EachSkipped& each) {
  const Statement::Run run(skipped_of_);
  run->bind(1, job).bind(2, static_cast<std::int64_t>(from));
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(static_cast<std::uint64_t>(run->column_int(0)), run->column_text(1)));
    if (!go_on) return Done{};
  }
}
Result<Done> ArtifactStore::blobs(const EachBlob& each) {
  const Statement::Run run(blobs_);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const std::optional<core::Digest> blob, read_digest(*run, 1, "artifacts"));
    if (!blob) continue;
    CALYX_TRY(const bool go_on, each(*blob));
    if (!go_on) return Done{};
  }
}

}  // namespace calyx::store
