/// \file
/// The projects of a market file: whose they are, what was pushed, and what their runs share.
///
/// `projects` and `revisions` are never changed; `project_states` and `project_kv` are. A deleted project
/// keeps its rows and its revisions, which jobs go on with; only what its runs shared goes.
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
#include <vector>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// A project's place in the market's sequence of projects, from 1.
using ProjectNumber = std::int64_t;

/// What `migrate` makes for projects, and which of the tables take no change.
std::span<const char* const> project_schema() noexcept;
std::span<const char* const> project_tables_of_record() noexcept;

struct ProjectRow {
  ProjectNumber number = 0;
  std::int64_t account = 0;  ///< Whose it is; 0 for nobody's.
  Instant at;
  std::string name;
  /// The last revision of the account's projects of this name before: this one's begin behind it.
  std::int64_t revisions_before = 0;
};

struct ProjectState {
  ProjectNumber number = 0;
  std::int64_t account = 0;
  std::string name;
  std::string remote_dir, description;
  std::int64_t active = 0;   ///< The revision that jobs get: the last one pushed; 0: none yet.
  std::int64_t warmed = 0;   ///< The active revision, once it was prepared; else 0.
  Instant invalidated;       ///< When it was last said that it must be prepared anew; 0 us: not since a push.
  Instant deleted;           ///< 0 us: it is there.
  std::int64_t kv_keys = 0;  ///< Rows in `project_kv`.
};

struct RevisionRow {
  ProjectNumber project = 0;
  std::int64_t number = 0;
  Instant at;
  core::Digest sha256;     ///< Of the tarball,
  std::uint64_t size = 0;  ///< and its bytes.
  std::string files;       ///< A JSON array of {path, size, mode, sha256}.
  std::string manifest;    ///< A JSON object.
};

struct KvRow {
  ProjectNumber project = 0;
  std::string key;
  std::string value;  ///< JSON.
  std::int64_t version = 0;
};

class ProjectStore {
 public:
  static Result<ProjectStore> make(Connection& connection, bool writes);

  // ── writing, in a write transaction ──
  Result<Done> add_project(const ProjectRow& row);
  Result<Done> put_state(const ProjectState& state);
  Result<Done> add_revision(const RevisionRow& row);
  Result<Done> put_kv(const KvRow& row);
  Result<Done> remove_kv(ProjectNumber project);

  // ── looking up ──
  Result<ProjectNumber> last_project();
  Result<std::optional<ProjectRow>> project(ProjectNumber number);
  Result<std::optional<ProjectState>> state(ProjectNumber number);
  Result<std::optional<RevisionRow>> revision(ProjectNumber project, std::int64_t number);
  Result<std::optional<KvRow>> kv(ProjectNumber project, std::string_view key);

  // ── walking; the callback gives false to stop ──
  using EachState = std::function<Result<bool>(const ProjectState&)>;
  /// Those of `account` that bear or bore `name`, the youngest first.
  Result<Done> named(std::int64_t account, std::string_view name, const EachState& each);
  /// All behind `after`, deleted ones too, the oldest first.
  Result<Done> all_from(ProjectNumber after, const EachState& each);

  // ── for an audit ──

  /// What the rows of a project come to, which its state says too.
  struct Tally {
    std::int64_t revisions = 0, last_revision = 0, kv_keys = 0;
  };
  Result<Tally> tally(ProjectNumber project);
  /// As `JobStore::index_fault`, of the projects' tables.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_project_, put_state_, add_revision_, put_kv_, remove_kv_;
  Statement last_project_, project_, state_, revision_, kv_, named_, all_from_, tally_;
  Listings listings_;
};

}  // namespace calyx::store
