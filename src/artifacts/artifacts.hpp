/// \file
/// Blobs by their SHA-256, in a folder beside the market: written whole or not at all, stored once, kept
/// until nobody wants them.
///
/// Start at `open_store`. A blob's name is the hash of its bytes and appears only when all of them are on the
/// disk, so whoever writes a row that names a blob does it after `Upload::finish`. Whose a blob is, and who
/// may read it, is not known here.
///
/// Units: sizes are bytes, GB a power of two; instants are given, never asked for.
/// Threads: a `Store` and a `Reader` any, at any time; an `Upload` one at a time. Processes may share a
/// folder.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::artifacts {

/// `<db>-artifacts`.
std::string folder_path(std::string_view database_path);

struct Options {
  std::uint64_t blob_bytes_max = std::uint64_t{2} << 30;
};

/// Of one upload in parts; 10,000 is what S3's clients know.
inline constexpr std::uint32_t part_number_max = 10'000;
inline constexpr std::size_t upload_id_bytes_max = 64;

/// What the sender says of the bytes; what it leaves out is not asked for.
struct Expected {
  std::optional<core::Digest> sha256;
  std::optional<std::uint64_t> size;
};

struct Stored {
  core::Digest sha256;
  std::uint64_t size = 0;
  bool fresh = false;  ///< Whether these bytes were not there before.
};

namespace detail {
struct Folder;
struct Writing;
struct Reading;
}  // namespace detail

/// Bytes on their way in. One that ends without `finish` leaves nothing; nor does a crash, once the store is
/// opened again.
class Upload {
 public:
  Upload(Upload&&) noexcept;
  Upload& operator=(Upload&&) noexcept;
  ~Upload();

  /// Appends `bytes`. After an error the upload is over, and each later call answers the same.
  /// Fails: `too_large` with `limit` and `found`, as soon as the limit is passed; `disk_full`, `io_error`.
  Result<Done> write(std::string_view bytes);

  /// What was written so far.
  std::uint64_t size() const noexcept;

  /// Makes what was written durable and gives it its name, born `now`. The upload is over either way.
  ///
  /// Fails, having stored nothing: `content_mismatch` with `field`, `expected` and `found`; `upload_unknown`
  /// when it was a part, and its upload ended meanwhile; `disk_full`, `io_error`; `closed` when it is over.
  /// An `io_error` of the very last sync may leave a whole blob that nobody wants.
  Result<Stored> finish(Instant now, const Expected& expected = {});

 private:
  friend class Store;
  explicit Upload(std::unique_ptr<detail::Writing> state) noexcept;
  std::unique_ptr<detail::Writing> state_;
};

/// A stored blob. It stays readable when it is removed meanwhile.
class Reader {
 public:
  std::uint64_t size() const noexcept;

  /// Fills `out` with what begins at `offset`, and gives how much that was: less only at the blob's end.
  /// Fails: `corrupt` when the file is shorter than it was; `io_error`.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const;
  Result<std::string> read_at(std::uint64_t offset, std::size_t length) const;

  /// Reads all of it and compares with its name. Fails: `corrupt`, `io_error`.
  Result<Done> check() const;

 private:
  friend class Store;
  explicit Reader(std::shared_ptr<const detail::Reading> state) noexcept;
  std::shared_ptr<const detail::Reading> state_;
};

/// One part of an upload in parts, as it lies on the disk.
struct Part {
  std::uint32_t number = 0;
  core::Digest sha256;
  std::uint64_t size = 0;

  bool operator==(const Part&) const = default;
};

/// A part as the sender lists it at the end.
struct ListedPart {
  std::uint32_t number = 0;
  core::Digest sha256;
};

/// What becomes of the parts of an upload that was completed.
enum class PartsThen : std::uint8_t {
  go,
  stay,  ///< Until `abort`: whoever keeps a row of the blob writes it first, so a crash loses neither.
};

struct Collected {
  std::uint64_t kept = 0;
  std::uint64_t removed = 0;
  std::uint64_t removed_bytes = 0;
};

class Store {
 public:
  /// Begins a new blob. Fails: `disk_full`, `io_error`.
  Result<Upload> begin() const;

  /// The blob with this hash. Fails: `artifact_unknown`; `corrupt` when its name is no file's; `io_error`.
  Result<Reader> open(const core::Digest& sha256) const;

  /// Takes the blob away; false when there was none. Fails: `io_error`.
  Result<bool> remove(const core::Digest& sha256) const;

  /// Makes the blob as young as `now`; false when there is none. Who is about to write a row for a blob that
  /// is there already calls this first: `collect` then leaves it alone for the grace.
  Result<bool> renew(const core::Digest& sha256, Instant now) const;

  /// Removes each blob that `is_wanted` does not want and that was born, or renewed, at least `grace_us`
  /// before `now`. An error of `is_wanted` ends it and goes up. Fails: `io_error`.
  Result<Collected> collect(const std::function<Result<bool>(const core::Digest&)>& is_wanted, Instant now,
                            std::int64_t grace_us) const;

  // ---- Uploads in parts, which survive a restart.

  /// Begins the upload `id`, letters, digits, `-` and `_`; one that has begun goes on.
  /// Fails: `field_value`; `disk_full`, `io_error`.
  Result<Done> start(std::string_view id) const;

  /// Begins part `number`, 1 to `part_number_max`, of any size. Finished, it replaces what was sent under the
  /// number before. Fails: `field_value`, `upload_unknown`, `disk_full`, `io_error`. Its limit is what the
  /// other parts leave.
  Result<Upload> begin_part(std::string_view id, std::uint32_t number) const;

  /// The same for a part that is held in memory, durable when this returns. Fails: as `begin_part`, `write`
  /// and `finish` do.
  Result<Part> part(std::string_view id, std::uint32_t number, std::string_view bytes,
                    const Expected& expected = {}) const;

  /// The parts that are here, by number. Fails: `field_value`, `upload_unknown`, `corrupt`, `io_error`.
  Result<std::vector<Part>> list(std::string_view id) const;

  /// Makes one blob of the listed parts, in their order, and ends the upload; parts that are not listed go.
  /// After an error the upload stands as it was, so a part may be sent again; after a crash the same call
  /// may be made again. When it is over, its id is unknown: the caller keeps the answer.
  ///
  /// Fails: `field_value` when the list is empty or its numbers do not rise; `upload_unknown`;
  /// `content_mismatch` with `part` when one is missing or another, with `field` when the whole is;
  /// `too_large`; `corrupt` when a part's bytes changed on the disk; `disk_full`, `io_error`.
  Result<Stored> complete(std::string_view id, std::span<const ListedPart> parts, const Expected& expected,
                          Instant now, PartsThen then = PartsThen::go) const;

  /// Ends the upload and takes its parts away; false when there is none. Fails: `field_value`, `io_error`.
  Result<bool> abort(std::string_view id) const;

  /// The uploads that have begun and not ended. Fails: `io_error`.
  Result<std::vector<std::string>> uploads() const;

 private:
  friend Result<Store> open_store(const std::string& folder, const Options& options);
  explicit Store(std::shared_ptr<const detail::Folder> folder) noexcept : folder_(std::move(folder)) {}
  std::shared_ptr<const detail::Folder> folder_;
};

/// Opens the store in `folder`, which is made when it is not there, for its owner alone, and sweeps what
/// crashes have left half-written. What other processes are writing stays.
///
/// Fails: `file_missing` when the folder's own folder is not there; `path_refused` with the rule's word at
/// `rule` of the details: `not_a_folder`, `rights` (others may use it); `disk_full`, `io_error`.
Result<Store> open_store(const std::string& folder, const Options& options = {});

}  // namespace calyx::artifacts
