/// \file
/// Projects as services: create, publish, prepare, delete, and what their runs share. Tarballs and folders
/// are the engine's; here a revision is a row.
#pragma once

#include <calyx/projects.hpp>

#include "services/access.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

using store::ProjectNumber;
using store::ProjectState;

/// Whose projects a call is about; 0 for those of nobody, which an operator reaches. Fails: as `readable`.
Result<AccountNumber> project_account(const Book& book, const Caller& caller,
                                      const std::optional<WalletId>& wallet);
/// The same for a call on one project: what is another's is not there. Fails: `project_unknown`.
Result<AccountNumber> account_of(const Book& book, const Caller& caller, const ProjectName& project);

/// Fails: `project_unknown`.
Result<ProjectState> find_project(store::MarketStore& store, AccountNumber account, std::string_view name);
/// The account's project of this name that has, or had before it was deleted, the revision.
/// Fails: `project_unknown`.
struct FoundRevision {
  ProjectState project;
  store::RevisionRow revision;
};
Result<FoundRevision> find_revision(store::MarketStore& store, AccountNumber account, std::string_view name,
                                    std::int64_t number);
/// The revision that a job of `account` gets. Fails: `project_unknown`, `project_not_ready`.
Result<std::int64_t> revision_for_job(store::MarketStore& store, AccountNumber account,
                                      std::string_view name);

Result<ProjectState> create_project(Transaction& tx, const Principal& principal, const ProjectCreate& asked);
Result<ProjectState> change_project(Transaction& tx, const Principal& principal, const ProjectName& project,
                                    const ProjectChange& change);
Result<Done> delete_project(Transaction& tx, const Principal& principal, const ProjectName& project);
/// Makes `row`, whose number and instant are given here, the active revision of the project that it names;
/// gives it back, and the number of the one before (0: none).
struct Published {
  store::RevisionRow row;
  std::int64_t before = 0;
};
Result<Published> publish_revision(Transaction& tx, const Principal& principal, const ProjectName& project,
                                   store::RevisionRow row);
/// The revision was prepared. Nothing for one that is no longer the active one.
Result<Done> mark_warm(Transaction& tx, ProjectNumber project, std::int64_t revision);
Result<ProjectState> invalidate_project(Transaction& tx, const Principal& principal,
                                        const ProjectName& project);

/// Fails: `kv_unknown`.
Result<KvEntry> kv_entry(store::MarketStore& store, ProjectNumber project, std::string_view key);
Result<KvEntry> put_kv(Transaction& tx, const Principal& principal, const ProjectName& project,
                       const KvPut& asked);

/// The manifest that `text` spells. Fails: `field_…` with its place, and its name at `file` of the details.
Result<core::json::Object> read_manifest(std::string_view text);

/// What a project's manifest declares. Whose project it is, of its sources, is the caller's to add.
struct Declared {
  std::vector<DataSource> sources;
  std::vector<CacheMount> caches;
};
/// Judges `text`, a revision's manifest, anew: it says where folders are made. Fails: as `read_manifest`.
Result<Declared> declared_in(std::string_view text);

ProjectStatus status_of(const ProjectState& state);
std::string files_text(std::span<const ProjectFile> files);
/// But for its diff. Fails: `corrupt`.
Result<Revision> view(const store::RevisionRow& row);

}  // namespace calyx::services
