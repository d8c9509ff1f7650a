/// \file
/// Projects: a caller's own code, pushed as a tarball, and run by the commands of jobs.
///
/// Start at `Session::create_project` and `push_project`. Each push publishes a revision, whole or not at
/// all, and jobs may be submitted at once; a job keeps the revision that it was submitted with. Revisions of
/// one name are never numbered twice, also where the project was deleted and made anew.
///
/// Units: sizes are bytes, MB a power of two; instants are microseconds since 1970-01-01 UTC.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <calyx/wallets.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx {

/// Which project is meant. A name is one account's; without `wallet` it is the caller's own account, and an
/// operator's is that of jobs that nobody pays for.
struct ProjectName {
  std::string name{};
  std::optional<WalletId> wallet{};
};

struct ProjectCreate {
  std::string name{};         ///< 1 to 128 letters, digits, `.`, `_` and `-`, the first a letter or a digit.
  std::string remote_dir{};   ///< A label of the caller's, at most 1,024 bytes: no path of this machine.
  std::string description{};  ///< At most 1,024 bytes.
  std::optional<WalletId> wallet{};  ///< Whose it is; absent as in `ProjectName`.
};

struct ProjectChange {
  std::optional<std::string> remote_dir{}, description{};
};

struct Project {
  std::string name{};
  std::optional<WalletId> wallet{};  ///< Absent: nobody's.
  std::string remote_dir{}, description{};
  Instant created_at{};
  std::int64_t active_revision = 0;  ///< 0: nothing was pushed yet.
};

/// The tarball of a push: fills `out` and gives how many bytes it put there, 0 at the end. Its error goes up
/// as it is and ends the push; it pushes nothing to the same project itself.
using TarballSource = std::function<Result<std::size_t>(std::span<char> out)>;
inline constexpr std::uint64_t tarball_bytes_max = std::uint64_t{512} << 20;

struct ProjectFile {
  std::string path{};
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  ///< 0755 or 0644.
  core::Digest sha256{};
};

/// Paths that differ from the revision before.
struct TarballDiff {
  std::vector<std::string> added{}, removed{}, changed{};
};

struct Revision {
  std::int64_t number = 0;
  Instant at{};
  core::Digest sha256{};   ///< Of the tarball, as it was pushed,
  std::uint64_t size = 0;  ///< and its bytes.
  std::vector<ProjectFile> files{};
  core::json::Object manifest{};  ///< `computalot.project.json`, empty where there is none.
  TarballDiff tarball_diff{};
};

/// The manifest's place in a tarball. Its members, all of which may be left out:
/// - `data_sources`, immutable inputs from elsewhere, a list of {`name`, `type`: `huggingface`, `url` or
///   `artifact`, `source`, `revision`?, `sha256`?, `mount_path`}
/// - `cache_mounts`, folders that tasks write to and find again, a list of {`name`, `mount_path`, `size_mb`?}
///
/// A command finds each at `mount_path` where it runs in an image, and everywhere by its name below
/// `COMPUTALOT_DATA_DIR`, to read, and `COMPUTALOT_CACHE_DIR`, to write. Where they come from is the host's
/// to say (`CommandOptions`); what a task downloads by itself is asked of nobody.
///
/// A name is 1 to 128 letters, digits, `.`, `_` and `-`, a letter or digit first, once a list. A mount path
/// is an absolute one without `.` and `..`, commas and quotes, neither `/tmp` nor below `/calyx`, `/dev`,
/// `/proc` or `/sys` nor in another's, of either list.
inline constexpr std::string_view manifest_path = "computalot.project.json";
inline constexpr std::size_t manifest_bytes_max = std::size_t{1} << 20;
inline constexpr std::size_t manifest_items_max = 32;  ///< Of a list: a task's start has to take both.

/// An input that a manifest declares, as the host is asked for it.
struct DataSource {
  std::optional<WalletId> wallet{};  ///< Whose project it is; absent: nobody's.
  std::string project{};
  std::int64_t project_revision = 0;
  std::string name{}, type{}, source{}, revision{};  ///< As in the manifest; the last may be empty.
  std::optional<core::Digest> sha256{};              ///< Of a file, which is held to it.
  std::string mount_path{};
};

/// A folder that a manifest asks to be kept from task to task.
struct CacheMount {
  std::string name{}, mount_path{};
  std::int64_t size_mb = 0;  ///< 0: the manifest says nothing of it. Units: 2^20 bytes.
};

enum class RevisionState : std::uint8_t {
  none,         ///< Nothing was pushed.
  published,    ///< Jobs are taken; the first one, or an init, prepares the runtime.
  warm,         ///< Prepared.
  invalidated,  ///< To be prepared anew.
};
constexpr std::string_view word(RevisionState state) noexcept {
  constexpr std::string_view words[] = {"none", "published", "warm", "invalidated"};
  return words[static_cast<std::size_t>(state)];
}

struct ProjectStatus {
  std::string name{};
  bool can_accept_new_jobs = false;  ///< The latest revision is published.
  bool ready_for_jobs = false;       ///< And prepared; it need not be for a submit.
  std::int64_t active_revision = 0;
  RevisionState revision_state = RevisionState::none;
};

/// What is noticed of a project, and what helps.
struct ProjectDiagnostic {
  std::string code{}, message{};
  std::string recommended_action{};  ///< Empty: nothing need be done.
};
struct ProjectStatusDetails {
  ProjectStatus status{};
  std::optional<Revision> revision{};  ///< The active one; its diff is left empty.
  std::vector<ProjectDiagnostic> diagnostics{};
};

/// What an account must have available for an init, which is free.
inline constexpr Money init_balance_min{500'000'000};

/// Shared state of a project: a JSON value under a key.
struct KvEntry {
  std::string key{};
  core::json::Value value{};
  std::int64_t version = 0;  ///< 1 for the first value, and one more each time.
};
struct KvPut {
  std::string key{};  ///< 1 to 128 bytes of 0x21-0x7E.
  core::json::Value value{};
  /// The version that the value was made from; 0: there is none yet. Absent: whatever stands.
  std::optional<std::int64_t> version{};
};
inline constexpr std::size_t kv_value_bytes_max = std::size_t{256} << 10;  ///< As canonical JSON.
inline constexpr std::int64_t kv_keys_max = 10'000;                        ///< Of one project.

}  // namespace calyx
