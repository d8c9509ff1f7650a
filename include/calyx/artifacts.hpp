/// \file
/// Artifacts: files that jobs read and leave, kept beside the market by the SHA-256 of their bytes.
///
/// Start at `Session::put_artifact` and `Session::open_artifact`. An artifact is a name over bytes, which
/// never change and are stored once however many artifacts have them. It is its account's: its own key, its
/// parent's and an operator's reach it, and for all others it is not there (`artifact_unknown`). What a task
/// leaves in its COMPUTALOT_ARTIFACT_DIR is its job's payer's.
///
/// A job's payload names what its task is to read: `"_artifacts": {"download": [{"artifact_id": "art_…",
/// "path": "data/x.bin"}]}`, or a member that its recipe says is a ref. Submission judges that its payer may
/// read them; a command finds copies below COMPUTALOT_INPUT_DIR, and a function reads them by a session.
///
/// The bytes lie in `<market>-artifacts`, which `Engine::backup` does not copy: copy that folder after the
/// backup was made, and it has all that the backup names. A market in memory keeps none (`unsupported`).
///
/// Units: sizes are bytes, GB a power of two; instants are microseconds since 1970-01-01 UTC.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <calyx/version.hpp>
#include <calyx/wallets.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace calyx {

inline constexpr std::uint64_t artifact_bytes_max = std::uint64_t{2} << 30;    ///< Of one artifact.
inline constexpr std::size_t artifact_part_bytes_max = std::size_t{64} << 20;  ///< Of one part.
inline constexpr std::uint32_t artifact_parts_max = 10'000;                    ///< Of one upload.
inline constexpr std::size_t artifact_name_bytes_max = 1024;
inline constexpr std::int64_t artifact_ticket_s = 3'600;       ///< How long a ticket is good,
inline constexpr std::int64_t artifact_upload_s = 7 * 86'400;  ///< and an upload in parts goes on.
/// How old a blob that no row names must be before `collect_artifacts` takes it: its row may be on its way.
inline constexpr std::int64_t artifact_grace_s = 86'400;

/// The bytes of an artifact: fills `out` and gives how many bytes it put there, 0 at the end. Its error goes
/// up as it is and ends the upload.
using ArtifactSource = std::function<Result<std::size_t>(std::span<char> out)>;

struct Artifact {
  ArtifactId id{};
  std::optional<WalletId> wallet{};  ///< Whose it is. Absent: nobody's, which operators alone reach.
  std::string name{};                ///< Of a task's file: its path below the artifact folder.
  std::uint64_t size = 0;
  core::Digest sha256{};
  Instant created_at{};
  std::optional<JobId> job{};           ///< That left it,
  std::optional<std::uint64_t> task{};  ///< and its task.
};

/// What is said of an artifact beforehand.
struct ArtifactPut {
  std::string name{};                    ///< 1 to 1,024 bytes of UTF-8 without controls.
  std::optional<std::uint64_t> size{};   ///< What the bytes must come to; absent: whatever comes.
  std::optional<core::Digest> sha256{};  ///< The same.
  std::optional<WalletId> wallet{};      ///< Whose it is; absent: the caller's, an operator's is nobody's.
  IdempotencyKey idempotency_key{};
};

struct ArtifactStored {
  Artifact artifact{};
  bool replayed = false;
};

/// A right to upload one artifact, without a key, once.
struct ArtifactTicket {
  UploadId id{};
  std::string secret{};  ///< Shown this once, with `Engine::put_direct` or in its URL; empty in a replay.
  Instant expires_at{};
  bool replayed = false;
};

/// An upload in parts.
struct ArtifactUpload {
  UploadId id{};
  std::optional<WalletId> wallet{};
  std::string name{};
  std::optional<std::uint64_t> size{};
  std::optional<core::Digest> sha256{};
  Instant created_at{}, expires_at{};
  bool replayed = false;
};
struct ArtifactPart {
  std::uint32_t number = 0;  ///< 1 to `artifact_parts_max`.
  std::uint64_t size = 0;
  core::Digest sha256{};
};
struct ArtifactComplete {
  /// The parts that make the artifact, by rising number; empty: all that were sent.
  struct Listed {
    std::uint32_t number = 0;
    core::Digest sha256{};
  };
  std::vector<Listed> parts{};
  std::optional<std::uint64_t> size{};  ///< Of the whole, as in `ArtifactPut`.
  std::optional<core::Digest> sha256{};
};

/// A file of a task that was not kept, and why: `link`, `not_a_file`, `many_links`, `name`, `too_deep`,
/// `too_large`, `too_many`, `unreadable`.
struct SkippedFile {
  std::string name{};
  std::string why{};
};

struct ArtifactsCollected {
  std::uint64_t kept = 0, removed = 0;  ///< Blobs.
  std::uint64_t removed_bytes = 0;
  std::uint64_t uploads_ended = 0;  ///< Parts of uploads that are over.
};

class OpenArtifact;  // a reader's inside

/// An artifact's bytes. It stays readable as long as its engine does.
/// Threads: any, at any time.
class CALYX_EXPORT ArtifactReader {
 public:
  const Artifact& artifact() const noexcept;
  /// Fills `out` with what begins at `offset`, and gives how much that was: less only at the end.
  /// Fails: `closed`, once the engine is gone or ends its streams; `corrupt`, `io_error`.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const;
  /// Reads all of it and compares with its hash. Fails: `corrupt`, `io_error`.
  Result<Done> check() const;

 private:
  friend class Session;
  explicit ArtifactReader(std::shared_ptr<const OpenArtifact> inside) noexcept;
  std::shared_ptr<const OpenArtifact> inside_;
};

}  // namespace calyx
