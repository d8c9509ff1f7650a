/// \file
/// The store's folder as its files see it: descriptors, locks, names, and what the system says.
///
/// `<folder>/ab/cdef...` are the blobs, by the hex of their SHA-256; `tmp` is what is being written, each
/// file locked by its writer; `uploads/<id>/<number>` are parts, each behind the hash of its bytes; `lock`
/// keeps a blob's removal apart from its renewal.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "artifacts.hpp"

namespace calyx::artifacts {

/// An open file or folder, closed with its owner.
class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();
  int operator*() const noexcept { return number_; }
  bool open() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

namespace detail {

struct Folder {
  Options options;
  Descriptor root;
  Descriptor drafts;
  Descriptor uploads;
  /// The blobs' folders that this process knows to be on the disk. They are made when a blob first needs one:
  /// all 256 at once take a second of a slow disk.
  mutable std::array<std::atomic<bool>, 256> synced{};
};

}  // namespace detail

/// What the system said while `doing`, by what the caller can do about it.
Error system_failure(int number, std::string_view doing);

/// Where a blob lies below the root.
std::string blob_path(const core::Digest& sha256);

/// Makes the folder `name` in `at`, for its owner alone, unless it is there.
Result<Done> make_folder(int at, const char* name);

/// Makes the folder of the blobs whose hashes begin as this one's, unless it is there, and its name durable.
Result<Done> ready_folder(const detail::Folder& folder, const core::Digest& sha256);

enum class Sharing : std::uint8_t { many, alone };

/// The store's lock, among threads and processes: each taking opens the file anew, since a lock belongs to an
/// open file and threads that shared one would hold each other's.
class Lock {
 public:
  static Result<Lock> take(int root, Sharing sharing);

 private:
  explicit Lock(Descriptor file) noexcept : file_(std::move(file)) {}
  Descriptor file_;
};

/// A new file among the drafts, locked.
struct Draft {
  Descriptor file;
  std::string name;
};
Result<Draft> new_draft(int drafts);

/// A name among the drafts that nobody has.
Result<std::string> draft_name();

/// Takes away what is among the drafts and held by nobody. Nothing depends on its success.
void sweep_drafts(int drafts);

/// Removes a folder of files in `at`. Nothing depends on its success.
void remove_folder(int at, const std::string& name);

/// The names in the folder `path` below `at`, without "." and "..". Nothing when there is no such folder.
Result<std::optional<std::vector<std::string>>> names_in(int at, const char* path);

/// Syncs the folder `path` below `at`. False with errno.
bool sync_folder(int at, const char* path) noexcept;

int write_all(int file, std::string_view bytes) noexcept;

/// Reads at `offset` until `size` bytes are there or the file ends; less than 0 with errno.
ssize_t read_at(int file, char* out, std::size_t size, std::uint64_t offset) noexcept;

timespec time_of(Instant instant) noexcept;
Instant instant_of(const timespec& time) noexcept;

/// Makes the blob at `path` as young as `now`, unless it is younger. The lock is held. False with errno.
bool make_young(int root, const std::string& path, const struct stat& facts, Instant now) noexcept;

}  // namespace calyx::artifacts
