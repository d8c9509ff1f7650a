#include "archive.hpp"
#include "beneath.hpp"
#include "draft.hpp"
#include "names.hpp"

#if CALYX_HAVE_LIBARCHIVE
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "crypto/sha256.hpp"
#endif

namespace calyx::archive {

#if CALYX_HAVE_LIBARCHIVE

namespace {

constexpr std::size_t block_bytes = std::size_t{64} << 10;
constexpr std::uint64_t end_mark_bytes = 1024;  // two blocks of zeros end a tar (POSIX.1, pax)
std::array<char, block_bytes> zeros{};  // never written; not const, so that the library need not hold them

struct Free {
  void operator()(struct ::archive* handle) const noexcept { ::archive_read_free(handle); }
};
using Handle = std::unique_ptr<struct ::archive, Free>;

/// libarchive reads names by the thread's locale, and would spoil those that a host's "C" has no letters for.
class Utf8Locale {
 public:
  Utf8Locale() noexcept {
    // Made once and never freed.
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (utf8 != nullptr) before_ = ::uselocale(utf8);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    if (before_ != nullptr) ::uselocale(before_);
  }

 private:
  locale_t before_ = nullptr;
};

/// The archive as a stream of tar: the first of two handles unpacks the compression, and what it gives is
/// counted here, before the second one reads it as a tar. One handle for both would count only entries, and
/// neither their headers, which it holds in memory, nor what it skips.
class TarStream {
 public:
  TarStream(const Source& source, const Limits& limits)
      : source_(source), limits_(limits), archive_block_(block_bytes), tar_block_(block_bytes) {}
  TarStream(const TarStream&) = delete;
  TarStream& operator=(const TarStream&) = delete;

  Result<Done> begin() {
    packed_.reset(::archive_read_new());
    tar_.reset(::archive_read_new());
    if (packed_ == nullptr || tar_ == nullptr) return fail(Reason::no_memory, "no memory for an archive");
    struct ::archive* const packed = packed_.get();
    // Never "all": every other reader is a door.
    if (::archive_read_support_filter_gzip(packed) != ARCHIVE_OK ||
        ::archive_read_support_filter_zstd(packed) != ARCHIVE_OK ||
        ::archive_read_support_format_raw(packed) != ARCHIVE_OK ||
        ::archive_read_support_format_tar(tar_.get()) != ARCHIVE_OK)
      return fail(Reason::not_built, "this libarchive was built without tar, gzip or zstd");
    struct ::archive_entry* entry = nullptr;
    if (::archive_read_open(packed, this, nullptr, give_packed, nullptr) != ARCHIVE_OK ||
        ::archive_read_next_header(packed, &entry) != ARCHIVE_OK) {
      if (!stopped() && archive_bytes_ == 0) return refusal("empty", "the archive has no bytes");
      return why(packed, {});
    }
    // A filter around the source itself is counted as one.
    constexpr int filters_max = 2;
    if (const int filters = ::archive_filter_count(packed); filters > filters_max)
      return refusal("compressed_twice", "the archive is compressed " + std::to_string(filters - 1) +
                                             " times, and once is the most");
    if (::archive_read_open(tar_.get(), this, nullptr, give_tar, nullptr) != ARCHIVE_OK)
      return why(tar_.get(), {});
    return Done{};
  }

  /// The next entry, or null at the end of a whole archive.
  Result<struct ::archive_entry*> next() {
    struct ::archive_entry* entry = nullptr;
    head_begins_ = tar_bytes_;
    in_head_ = true;
    const int code = ::archive_read_next_header(tar_.get(), &entry);
    in_head_ = false;
    if (code == ARCHIVE_OK) return entry;
    if (code != ARCHIVE_EOF) return why(tar_.get(), entry != nullptr ? name_of(entry) : std::string());
    CALYX_CHECK(see_the_end());
    return nullptr;
  }

  /// A piece of the current entry's file; nothing at its end.
  struct Piece {
    std::string_view bytes;
    std::uint64_t offset = 0;
  };
  Result<std::optional<Piece>> piece(std::string_view entry) {
    const void* bytes = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int code = ::archive_read_data_block(tar_.get(), &bytes, &size, &offset);
    if (code == ARCHIVE_EOF) return std::optional<Piece>();
    if (code != ARCHIVE_OK) return why(tar_.get(), entry);
    if (offset < 0) return refusal("sparse_order", "has a piece before its beginning", entry);
    return std::optional<Piece>(
        Piece{{static_cast<const char*>(bytes), size}, static_cast<std::uint64_t>(offset)});
  }

  /// Counts a hole in a sparse file as if its zeros had been in the stream.
  Result<Done> count_hole(std::uint64_t bytes) {
    hole_bytes_ += bytes;
    if (auto error = judge()) return std::move(*error);
    return Done{};
  }

  static std::string name_of(struct ::archive_entry* entry) {
    const char* name = ::archive_entry_pathname(entry);
    return name == nullptr ? std::string() : std::string(name);
  }

 private:
  /// What the stream so far breaks, if it does.
  std::optional<Error> judge() const {
    const std::uint64_t expanded = tar_bytes_ + hole_bytes_;
    if (archive_bytes_ > limits_.archive_bytes_max)
      return refusal("archive_bytes",
                     "the archive has more than " + std::to_string(limits_.archive_bytes_max) + " bytes", {},
                     {.found = archive_bytes_, .limit = limits_.archive_bytes_max});
    if (expanded > limits_.expanded_bytes_max)
      return refusal(
          "expanded_bytes",
          "the archive expands to more than " + std::to_string(limits_.expanded_bytes_max) + " bytes", {},
          {.found = expanded, .limit = limits_.expanded_bytes_max});
    if (expanded > limits_.ratio_free_bytes &&
        expanded / std::max<std::uint64_t>(limits_.ratio_max, 1) > archive_bytes_)
      return refusal(
          "ratio",
          "the archive expands " + std::to_string(archive_bytes_) + " bytes to " + std::to_string(expanded) +
              ", more than " + std::to_string(limits_.ratio_max) + " times",
          {}, {.found = expanded / std::max<std::uint64_t>(archive_bytes_, 1), .limit = limits_.ratio_max});
    return std::nullopt;
  }

  bool stopped() const noexcept { return error_.has_value() || thrown_ != nullptr; }

  /// Why a handle gave up: what was said on our side of it comes first.
  Error why(struct ::archive* handle, std::string_view entry) {
    if (thrown_ != nullptr) std::rethrow_exception(std::exchange(thrown_, nullptr));
    if (error_) return *error_;
    if (::archive_errno(handle) == ENOMEM) return fail(Reason::no_memory, "no memory for an archive");
    const char* given = ::archive_error_string(handle);
    const std::string_view said = given == nullptr ? "nothing" : given;
    const auto says = [said](std::string_view word) { return said.find(word) != std::string_view::npos; };
    std::string_view rule = "damaged";
    if (says("runcated")) rule = "cut_short";
    if (says("nrecognized archive")) rule = "not_an_archive";
    if (says("onvert")) rule = "not_utf8";
    return refusal(rule,
                   (entry.empty() ? "the archive cannot be read (" : "cannot be read (") + shown(said) + ")",
                   entry);
  }

  /// Fills `tar_block_` from the first handle and counts it; 0 at the end, less than 0 when it must stop.
  la_ssize_t pull() {
    const la_ssize_t got = ::archive_read_data(packed_.get(), tar_block_.data(), tar_block_.size());
    if (got < 0) {
      if (!stopped()) error_ = why(packed_.get(), {});
      return -1;
    }
    const std::string_view block(tar_block_.data(), static_cast<std::size_t>(got));
    if (const std::size_t last = block.find_last_not_of('\0'); last != std::string_view::npos)
      zeros_from_ = tar_bytes_ + last + 1;
    tar_bytes_ += block.size();
    error_ = judge();
    if (!error_ && in_head_ && tar_bytes_ - head_begins_ > head_bytes_max + 2 * block_bytes)
      error_ = refusal("head_bytes",
                       "an entry's header has more than " + std::to_string(head_bytes_max) + " bytes", {},
                       {.found = tar_bytes_ - head_begins_, .limit = head_bytes_max});
    return error_ ? -1 : got;
  }

  /// Reads what follows the last entry: an archive that was cut between two entries has no end, and a
  /// compressed one that was cut in its last bytes shows it only now.
  Result<Done> see_the_end() {
    const auto end = static_cast<std::uint64_t>(::archive_read_header_position(tar_.get()));
    for (;;) {
      const la_ssize_t got = pull();
      if (got < 0) return why(packed_.get(), {});
      if (got == 0) break;
    }
    if (zeros_from_ > end) return refusal("bytes_after_the_end", "the archive has more bytes behind its end");
    if (tar_bytes_ < end + end_mark_bytes)
      return refusal("cut_short", "the archive ends without its mark of an end");
    return Done{};
  }

  /// What libarchive calls. No exception may pass through it.
  template <class Work>
  la_ssize_t guarded(Work work) noexcept {
    if (stopped()) return ARCHIVE_FATAL;
    try {
      const la_ssize_t got = work();
      return got < 0 ? ARCHIVE_FATAL : got;
    } catch (...) {
      thrown_ = std::current_exception();
      return ARCHIVE_FATAL;
    }
  }
  static la_ssize_t give_packed(struct ::archive* /*handle*/, void* self, const void** out) noexcept {
    auto& stream = *static_cast<TarStream*>(self);
    *out = stream.archive_block_.data();
    return stream.guarded([&]() -> la_ssize_t {
      auto got = stream.source_(stream.archive_block_);
      if (!got.ok()) {
        stream.error_ = std::move(got).error();
        return -1;
      }
      const std::size_t size = std::min(*got, stream.archive_block_.size());
      stream.archive_bytes_ += size;
      stream.error_ = stream.judge();
      return stream.error_ ? -1 : static_cast<la_ssize_t>(size);
    });
  }
  static la_ssize_t give_tar(struct ::archive* /*handle*/, void* self, const void** out) noexcept {
    auto& stream = *static_cast<TarStream*>(self);
    *out = stream.tar_block_.data();
    return stream.guarded([&] { return stream.pull(); });
  }

  const Source& source_;
  const Limits& limits_;
  std::vector<char> archive_block_;
  std::vector<char> tar_block_;
  Handle packed_;
  Handle tar_;
  std::optional<Error> error_;
  std::exception_ptr thrown_;
  std::uint64_t archive_bytes_ = 0;
  std::uint64_t tar_bytes_ = 0;
  std::uint64_t hole_bytes_ = 0;
  std::uint64_t zeros_from_ = 0;  ///< Behind the last byte of the tar that is not zero.
  std::uint64_t head_begins_ = 0;
  bool in_head_ = false;
};

/// Whether an entry is a file or a folder, or the refusal of what is neither.
Result<EntryKind> kind_of(struct ::archive_entry* entry, std::string_view name) {
  if (::archive_entry_hardlink(entry) != nullptr || ::archive_entry_hardlink_utf8(entry) != nullptr)
    return refusal("hard_link", "is a hard link", name);
  switch (::archive_entry_filetype(entry)) {
    case AE_IFREG: return EntryKind::file;
    case AE_IFDIR: return EntryKind::folder;
    case AE_IFLNK: return refusal("symbolic_link", "is a symbolic link", name);
    case AE_IFIFO: return refusal("pipe", "is a pipe", name);
    case AE_IFCHR:
    case AE_IFBLK: return refusal("device", "is a device", name);
    default: return refusal("other_kind", "is neither a file nor a folder", name);
  }
}

Result<Done> write_at(int file, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return system_failure(errno, "writing what was unpacked");
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return Done{};
}

/// Writes the current entry's bytes into a new file.
Result<File> unpack_file(TarStream& stream, struct ::archive_entry* entry, std::string path, int folder) {
  File file{.path = std::move(path),
            .size = static_cast<std::uint64_t>(::archive_entry_size(entry)),
            .mode = (::archive_entry_perm(entry) & S_IXUSR) != 0 ? 0755U : 0644U,
            .sha256 = {}};
  const Descriptor out =
      open_beneath(folder, file.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, way_here());
  if (!out.open()) return system_failure(errno, "making a file of the archive");

  crypto::Sha256Stream hash;
  std::uint64_t position = 0;
  // Holes stay holes on the disk, and are hashed as the zeros that a reader will find.
  const auto pass_hole = [&](std::uint64_t to) -> Result<Done> {
    CALYX_CHECK(stream.count_hole(to - position));
    while (position < to) {
      const std::uint64_t size = std::min<std::uint64_t>(to - position, zeros.size());
      hash.update({zeros.data(), static_cast<std::size_t>(size)});
      position += size;
    }
    return Done{};
  };
  for (;;) {
    CALYX_TRY(const auto piece, stream.piece(file.path));
    if (!piece) break;
    if (piece->bytes.empty()) continue;
    if (piece->offset < position)
      return refusal("sparse_order", "has pieces that do not follow one another", file.path);
    if (piece->offset > file.size || piece->bytes.size() > file.size - piece->offset)
      return refusal("damaged", "has bytes beyond its size of " + std::to_string(file.size), file.path);
    CALYX_CHECK(pass_hole(piece->offset));
    CALYX_CHECK(write_at(*out, piece->bytes, position));
    hash.update(piece->bytes);
    position += piece->bytes.size();
  }
  CALYX_CHECK(pass_hole(file.size));
  if (::ftruncate(*out, static_cast<off_t>(file.size)) != 0)
    return system_failure(errno, "giving a file of the archive its size");
  if (::fchmod(*out, file.mode) != 0)
    return system_failure(errno, "setting the mode of a file of the archive");
  file.sha256 = hash.finish();
  return file;
}

Result<Done> make_folder(int folder, const std::string& path) {
  if (!make_folder_beneath(folder, path, way_here()))
    return system_failure(errno, "making a folder of the archive");
  return Done{};
}

}  // namespace

bool built() noexcept { return true; }

Result<Unpacked> unpack(const Source& source, const std::string& destination, const Limits& limits,
                        Keeping keeping) {
  CALYX_TRY(Draft draft, Draft::begin(destination));
  const Utf8Locale locale;
  TarStream stream(source, limits);
  CALYX_CHECK(stream.begin());
  Names names(limits);
  Unpacked unpacked;
  bool any = false;
  for (;;) {
    CALYX_TRY(struct ::archive_entry * entry, stream.next());
    if (entry == nullptr) break;
    any = true;
    const std::string given = TarStream::name_of(entry);
    CALYX_TRY(const EntryKind kind, kind_of(entry, given));
    CALYX_TRY(Names::Accepted name, names.add(given, kind));
    for (const std::string& folder : name.folders_to_make) CALYX_CHECK(make_folder(draft.folder(), folder));
    if (kind == EntryKind::folder) {
      if (!name.made_already) CALYX_CHECK(make_folder(draft.folder(), name.path));
      continue;
    }
    const la_int64_t size = ::archive_entry_size(entry);
    if (size < 0) return refusal("damaged", "has a size below zero", given);
    const auto bytes = static_cast<std::uint64_t>(size);
    if (bytes > limits.file_bytes_max)
      return refusal(
          "file_bytes",
          "has " + std::to_string(bytes) + " bytes, the most is " + std::to_string(limits.file_bytes_max),
          given, {.found = bytes, .limit = limits.file_bytes_max});
    // What the headers say may be refused before it is written; what is really there is counted as well.
    if (unpacked.bytes + bytes > limits.expanded_bytes_max)
      return refusal("expanded_bytes",
                     "brings the files to " + std::to_string(unpacked.bytes + bytes) +
                         " bytes, the most is " + std::to_string(limits.expanded_bytes_max),
                     given, {.found = unpacked.bytes + bytes, .limit = limits.expanded_bytes_max});
    CALYX_TRY(File file, unpack_file(stream, entry, std::move(name.path), draft.folder()));
    unpacked.bytes += bytes;
    unpacked.files.push_back(std::move(file));
  }
  if (!any) return refusal("empty", "the archive has no entries");
  std::sort(unpacked.files.begin(), unpacked.files.end(),
            [](const File& a, const File& b) { return a.path < b.path; });
  CALYX_CHECK(draft.keep(keeping));
  return unpacked;
}

#else

bool built() noexcept { return false; }

Result<Unpacked> unpack(const Source& /*source*/, const std::string& /*destination*/,
                        const Limits& /*limits*/, Keeping /*keeping*/) {
  return fail(Reason::not_built, "this build has no libarchive, so it unpacks nothing");
}

#endif

}  // namespace calyx::archive
