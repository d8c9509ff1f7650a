/// \file
/// Tarballs from strangers: unpacked within limits into a fresh folder, or refused with nothing left behind.
///
/// Start at `unpack`. An archive may hold regular files and folders and nothing else: symbolic links, hard
/// links, pipes and devices are refused, and of an entry's rights only "may be run" is kept.
///
/// Units: sizes are bytes; MB and GB are powers of two.
/// Threads: any; unpackings run side by side, also of processes, and also into one parent folder.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::archive {

/// Whether this build has libarchive; without it `unpack` answers `not_built`.
bool built() noexcept;

/// How far an archive may go. What is counted is counted while it streams, so an archive that lies about
/// itself is stopped where it passes a limit.
struct Limits {
  std::uint64_t archive_bytes_max = std::uint64_t{512} << 20;
  std::uint64_t expanded_bytes_max = std::uint64_t{4} << 30;  ///< Of the tar, with the holes of sparse files.
  std::uint64_t file_bytes_max = std::uint64_t{2} << 30;      ///< Of one file, at its logical size.
  std::uint64_t ratio_max = 100;                             ///< Expanded bytes for each byte of the archive.
  std::uint64_t ratio_free_bytes = std::uint64_t{10} << 20;  ///< Below this the ratio is not asked for.
  std::uint64_t entries_max = 100'000;                       ///< Folders that are only implied count, too.
  std::size_t depth_max = 32;                                ///< Names in a path.
  std::size_t path_bytes_max = 1024;
};

/// What a tar header and its extensions may take before an entry: the longest names and the largest sparse
/// map that anybody writes lie far below, and the reader holds them in memory.
inline constexpr std::uint64_t head_bytes_max = std::uint64_t{1} << 20;

/// The longest single name of a path, which is what Linux file systems take.
inline constexpr std::size_t name_bytes_max = 255;

/// Where an archive comes from: fills `out` from its beginning and gives how many bytes it put there, 0 at
/// the end. Its error goes up as it is, so it may also end the work (`stopped`); an exception passes through.
/// While it is called the thread's LC_CTYPE is C.UTF-8.
using Source = std::function<Result<std::size_t>(std::span<char> out)>;

/// An archive that is held in memory, which outlives the source.
Source source_of(std::string_view bytes);

struct File {
  std::string path;  ///< Below the folder, with `/` between names; UTF-8.
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  ///< 0755 or 0644.
  core::Digest sha256;

  bool operator==(const File&) const = default;
};

struct Unpacked {
  std::vector<File> files;  ///< By path.
  std::uint64_t bytes = 0;  ///< The sum of their sizes.
};

/// Whether what was unpacked must outlive a power cut.
enum class Keeping : std::uint8_t {
  durable,  ///< Synced before it gets its name.
  scratch,  ///< Made anew after a crash anyway.
};

/// Unpacks a tar, plain or compressed once with gzip or zstd, into a folder that it makes at `destination`.
///
/// It works in a folder beside it, which gets the name when everything is there: nobody sees half of an
/// archive. A refusal leaves nothing behind; what a crash left is taken away by the next unpacking to the
/// same destination. Names are compared without regard to the case of ASCII letters, so that what is
/// unpacked here may be unpacked anywhere. Owners, times, extended attributes and access lists are dropped.
///
/// Fails, having left nothing:
/// - `archive_refused` with the broken rule's word at `rule` of the details, and `entry`, `limit` and `found`
///   where there are such: `empty`, `not_an_archive`, `damaged`, `cut_short`, `compressed_twice`,
///   `bytes_after_the_end`; `archive_bytes`, `expanded_bytes`, `ratio`, `head_bytes`, `entries`;
///   `name_empty`, `not_utf8`, `control_character`, `absolute`, `parent_folder`, `path_bytes`, `name_bytes`,
///   `depth`; `symbolic_link`, `hard_link`, `pipe`, `device`, `other_kind`; `file_bytes`, `sparse_order`;
///   `duplicate`, `case_collision`, `file_and_folder`
/// - `path_refused` when there is something at `destination`; `file_missing` when its parent is not there
/// - `disk_full`, `io_error`, `no_memory`; `not_built`; what `source` says
Result<Unpacked> unpack(const Source& source, const std::string& destination, const Limits& limits = {},
                        Keeping keeping = Keeping::durable);

/// What changed from one list of files to another, by path.
struct TarballDiff {
  std::vector<std::string> added;
  std::vector<std::string> removed;
  std::vector<std::string> changed;  ///< Other contents, or another mode.

  bool operator==(const TarballDiff&) const = default;
};

/// The lists may come in any order, with no path twice.
TarballDiff tarball_diff(std::span<const File> before, std::span<const File> after);

}  // namespace calyx::archive
