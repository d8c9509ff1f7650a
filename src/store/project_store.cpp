#include "store/project_store.hpp"

#include "store/octets.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_projects[] = {
    R"(CREATE TABLE projects(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- whose it is; 0: nobody's
  at_us   INTEGER NOT NULL,
  name    TEXT NOT NULL,
  before  INTEGER NOT NULL      -- the last revision of an older project of this name
) STRICT)",
    R"(CREATE TABLE project_states(
  number      INTEGER PRIMARY KEY,
  account     INTEGER NOT NULL,
  name        TEXT NOT NULL,
  remote_dir  TEXT NOT NULL,
  description TEXT NOT NULL,
  active      INTEGER NOT NULL,  -- the last revision; 0: none yet
  warmed      INTEGER NOT NULL,  -- the same, once it was prepared
  invalidated INTEGER NOT NULL,
  deleted     INTEGER NOT NULL,  -- when; 0: it is there
  kv_keys     INTEGER NOT NULL
) STRICT)",
    R"(CREATE INDEX project_states_name ON project_states(account, name, number))",
    R"(CREATE TABLE revisions(
  project  INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  at_us    INTEGER NOT NULL,
  sha256   BLOB NOT NULL,     -- of the tarball
  size     INTEGER NOT NULL,
  files    TEXT NOT NULL,     -- a JSON array
  manifest TEXT NOT NULL,     -- a JSON object
  PRIMARY KEY(project, number)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE project_kv(
  project INTEGER NOT NULL,
  key     TEXT NOT NULL,
  value   TEXT NOT NULL,     -- JSON
  version INTEGER NOT NULL,
  PRIMARY KEY(project, key)
) STRICT, WITHOUT ROWID)",
};

constexpr const char* project_records[] = {"projects", "revisions"};

constexpr const char* project_columns =
    "number, account, name, remote_dir, description, active, warmed, invalidated, deleted, kv_keys";

/// What an audit walks.
constexpr ListingText project_listings[] = {
    {"projects", nullptr, "number + length(name)"},
    {"project_states", nullptr, "number + length(name)"},
    {"project_states", "project_states_name", "number + length(name)"},
    {"revisions", nullptr, "number + length(sha256) + length(files) + length(manifest)"},
    {"project_kv", nullptr, "version + length(key) + length(value)"},
};

Result<bool> read_state(Statement& row, ProjectState& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.number = row.column_int(0);
  out.account = row.column_int(1);
  out.name = row.column_text(2);
  out.remote_dir = row.column_text(3);
  out.description = row.column_text(4);
  out.active = row.column_int(5);
  out.warmed = row.column_int(6);
  out.invalidated = Instant{row.column_int(7)};
  out.deleted = Instant{row.column_int(8)};
  out.kv_keys = row.column_int(9);
  return true;
}

Result<Done> all(Statement& statement, const ProjectStore::EachState& each) {
  ProjectState row;
  for (;;) {
    CALYX_TRY(const bool more, read_state(statement, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}

}  // namespace

std::span<const char* const> project_schema() noexcept { return schema_of_projects; }
std::span<const char* const> project_tables_of_record() noexcept { return project_records; }

Result<ProjectStore> ProjectStore::make(Connection& connection, bool writes) {
  ProjectStore store;
  struct Text {
    Statement& statement;
    std::string sql;
    const char* doing;
  };
  const std::string states = std::string("SELECT ") + project_columns + " FROM project_states ";
  const Text write_texts[] = {
      {store.add_project_,
       "INSERT INTO projects(number, account, at_us, name, before) VALUES(?1, ?2, ?3, ?4, ?5)",
       "adding a project"},
      {store.put_state_,
       std::string("INSERT INTO project_states(") + project_columns +
           ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT(number) DO UPDATE SET remote_dir = "
           "?4, description = ?5, active = ?6, warmed = ?7, invalidated = ?8, deleted = ?9, kv_keys = ?10",
       "changing a project"},
      {store.add_revision_,
       "INSERT INTO revisions(project, number, at_us, sha256, size, files, manifest) VALUES(?1, ?2, ?3, ?4, "
       "?5, ?6, ?7)",
       "adding a revision"},
      {store.put_kv_,
       "INSERT INTO project_kv(project, key, value, version) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(project, "
       "key) "
       "DO UPDATE SET value = ?3, version = ?4",
       "keeping what a project shares"},
      {store.remove_kv_, "DELETE FROM project_kv WHERE project = ?1", "deleting a project"},
  };
  const Text read_texts[] = {
      {store.last_project_, "SELECT max(number) FROM projects", "reading the last project"},
      {store.project_, "SELECT number, account, at_us, name, before FROM projects WHERE number = ?1",
       "reading a project"},
      {store.state_, states + "WHERE number = ?1", "reading a project's state"},
      {store.revision_,
       "SELECT project, number, at_us, sha256, size, files, manifest FROM revisions WHERE project = ?1 AND "
       "number = ?2",
       "reading a revision"},
      {store.kv_, "SELECT project, key, value, version FROM project_kv WHERE project = ?1 AND key = ?2",
       "reading what a project shares"},
      {store.named_, states + "WHERE account = ?1 AND name = ?2 ORDER BY number DESC", "finding a project"},
      {store.all_from_, states + "WHERE number > ?1 ORDER BY number", "listing projects"},
      {store.tally_,
       "SELECT (SELECT count(*) FROM revisions WHERE project = ?1), (SELECT max(number) FROM revisions WHERE "
       "project = ?1), (SELECT count(*) FROM project_kv WHERE project = ?1)",
       "reading what a project has"},
  };
  if (writes)
    for (const Text& text : write_texts) {
      CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
    }
  for (const Text& text : read_texts) {
    CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
  }
  CALYX_TRY(store.listings_, Listings::make(connection, project_listings));
  return store;
}

Result<Done> ProjectStore::add_project(const ProjectRow& row) {
  const Statement::Run run(add_project_);
  return run->bind(1, row.number)
      .bind(2, row.account)
      .bind(3, row.at.us)
      .bind(4, std::string_view(row.name))
      .bind(5, row.revisions_before)
      .execute();
}
Result<Done> ProjectStore::put_state(const ProjectState& state) {
  const Statement::Run run(put_state_);
  return run->bind(1, state.number)
      .bind(2, state.account)
      .bind(3, std::string_view(state.name))
      .bind(4, std::string_view(state.remote_dir))
      .bind(5, std::string_view(state.description))
      .bind(6, state.active)
      .bind(7, state.warmed)
      .bind(8, state.invalidated.us)
      .bind(9, state.deleted.us)
      .bind(10, state.kv_keys)
      .execute();
}
Result<Done> ProjectStore::add_revision(const RevisionRow& row) {
  const Statement::Run run(add_revision_);
  return run->bind(1, row.project)
      .bind(2, row.number)
      .bind(3, row.at.us)
      .bind(4, std::span<const std::uint8_t>(row.sha256.bytes))
      .bind(5, static_cast<std::int64_t>(row.size))
      .bind(6, std::string_view(row.files))
      .bind(7, std::string_view(row.manifest))
      .execute();
}
Result<Done> ProjectStore::put_kv(const KvRow& row) {
  const Statement::Run run(put_kv_);
  return run->bind(1, row.project)
      .bind(2, std::string_view(row.key))
      .bind(3, std::string_view(row.value))
      .bind(4, row.version)
      .execute();
}
Result<Done> ProjectStore::remove_kv(ProjectNumber project) {
  const Statement::Run run(remove_kv_);
  return run->bind(1, project).execute();
}

Result<ProjectNumber> ProjectStore::last_project() {
  const Statement::Run run(last_project_);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}
Result<std::optional<ProjectRow>> ProjectStore::project(ProjectNumber number) {
  const Statement::Run run(project_);
  run->bind(1, number);
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<ProjectRow>();
  return std::optional<ProjectRow>(ProjectRow{.number = run->column_int(0),
                                              .account = run->column_int(1),
                                              .at = Instant{run->column_int(2)},
                                              .name = std::string(run->column_text(3)),
                                              .revisions_before = run->column_int(4)});
}
Result<std::optional<ProjectState>> ProjectStore::state(ProjectNumber number) {
  const Statement::Run run(state_);
  run->bind(1, number);
  ProjectState state;
  CALYX_TRY(const bool found, read_state(*run, state));
  if (!found) return std::optional<ProjectState>();
  return std::optional<ProjectState>(std::move(state));
}
Result<std::optional<RevisionRow>> ProjectStore::revision(ProjectNumber project, std::int64_t number) {
  const Statement::Run run(revision_);
  run->bind(1, project).bind(2, number);
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<RevisionRow>();
  const auto sha256 = core::digest_of_bytes(chars_of(run->column_blob(3)));
  if (!sha256) return damaged_row("revisions", number, "a hash is not 32 bytes");
  return std::optional<RevisionRow>(RevisionRow{.project = run->column_int(0),
                                                .number = run->column_int(1),
                                                .at = Instant{run->column_int(2)},
                                                .sha256 = *sha256,
                                                .size = static_cast<std::uint64_t>(run->column_int(4)),
                                                .files = std::string(run->column_text(5)),
                                                .manifest = std::string(run->column_text(6))});
}
Result<std::optional<KvRow>> ProjectStore::kv(ProjectNumber project, std::string_view key) {
  const Statement::Run run(kv_);
  run->bind(1, project).bind(2, key);
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<KvRow>();
  return std::optional<KvRow>(KvRow{run->column_int(0), std::string(run->column_text(1)),
                                    std::string(run->column_text(2)), run->column_int(3)});
}

Result<Done> ProjectStore::named(std::int64_t account, std::string_view name, const EachState& each) {
  const Statement::Run run(named_);
  run->bind(1, account).bind(2, name);
  return all(*run, each);
}
Result<Done> ProjectStore::all_from(ProjectNumber after, const EachState& each) {
  const Statement::Run run(all_from_);
  run->bind(1, after);
  return all(*run, each);
}

Result<ProjectStore::Tally> ProjectStore::tally(ProjectNumber project) {
  const Statement::Run run(tally_);
  run->bind(1, project);
  CALYX_TRY(const bool row, run->step());
  return row ? Tally{run->column_int(0), run->column_int(1), run->column_int(2)} : Tally{};
}

}  // namespace calyx::store
