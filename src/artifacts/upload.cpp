#include "upload.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace calyx::artifacts {
namespace detail {

Writing::~Writing() {
  if (!draft.name.empty()) ::unlinkat(*folder->drafts, draft.name.c_str(), 0);
}

Error Writing::give_up(Error error) {
  if (!draft.name.empty()) ::unlinkat(*folder->drafts, draft.name.c_str(), 0);
  draft.name.clear();
  draft.file = Descriptor();
  over = error;
  return error;
}

}  // namespace detail

namespace {

Error mismatch(std::string_view field, core::json::Value expected, core::json::Value found,
               std::string message) {
  return fail(
      Reason::content_mismatch, std::move(message),
      core::json::object({{"field", field}, {"expected", std::move(expected)}, {"found", std::move(found)}}));
}

/// What the sender said otherwise, if it did.
std::optional<Error> judge(const Expected& expected, const Stored& found) {
  if (expected.size && *expected.size != found.size)
    return mismatch(
        "size", *expected.size, found.size,
        "expected " + std::to_string(*expected.size) + " bytes, has " + std::to_string(found.size));
  if (expected.sha256 && *expected.sha256 != found.sha256)
    return mismatch(
        "sha256", core::hex(*expected.sha256), core::hex(found.sha256),
        "expected the SHA-256 " + core::hex(*expected.sha256) + ", has " + core::hex(found.sha256));
  return std::nullopt;
}

/// Names a blob whose bytes are on the disk, or renews the one that is there with the same bytes.
Result<bool> place_blob(const detail::Folder& folder, const std::string& draft, const Stored& blob,
                        Instant now) {
  CALYX_CHECK(ready_folder(folder, blob.sha256));
  const std::string path = blob_path(blob.sha256);
  // Shared with other writers: they name files whole, and of one name all files are alike. Only a removal
  // between the look and the renewal would do harm.
  CALYX_TRY(const Lock lock, Lock::take(*folder.root, Sharing::many));
  for (;;) {
    struct stat facts {};
    const bool there = ::fstatat(*folder.root, path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && S_ISREG(facts.st_mode) && static_cast<std::uint64_t>(facts.st_size) == blob.size) {
      if (!make_young(*folder.root, path, facts, now)) return system_failure(errno, "renewing an artifact");
      ::unlinkat(*folder.drafts, draft.c_str(), 0);
      return false;
    }
    // What is there and cannot be the blob is replaced; else of two writers at once one is the first.
    const unsigned flags = there ? 0 : RENAME_NOREPLACE;
    if (::renameat2(*folder.drafts, draft.c_str(), *folder.root, path.c_str(), flags) == 0) return true;
    if (errno == EEXIST) continue;
    if ((errno == EINVAL || errno == ENOSYS) &&
        ::renameat(*folder.drafts, draft.c_str(), *folder.root, path.c_str()) == 0)
      return true;
    return system_failure(errno, "naming an artifact");
  }
}

}  // namespace

Upload::Upload(std::unique_ptr<detail::Writing> state) noexcept : state_(std::move(state)) {}
Upload::Upload(Upload&&) noexcept = default;
Upload& Upload::operator=(Upload&&) noexcept = default;
Upload::~Upload() = default;

std::uint64_t Upload::size() const noexcept { return state_->size; }

Result<Done> Upload::write(std::string_view bytes) {
  detail::Writing& to = *state_;
  if (to.over) return *to.over;
  if (bytes.size() > to.size_max - to.size) {
    const std::uint64_t found = to.size + bytes.size();
    return to.give_up(fail(Reason::too_large,
                           "the artifact has " + std::to_string(found) + " bytes or more, the most is " +
                               std::to_string(to.size_max),
                           core::json::object({{"limit", to.size_max}, {"found", found}})));
  }
  if (const int number = write_all(*to.draft.file, bytes))
    return to.give_up(system_failure(number, "writing an artifact"));
  to.hash.update(bytes);
  to.size += bytes.size();
  return Done{};
}

Result<Stored> Upload::finish(Instant now, const Expected& expected) {
  detail::Writing& to = *state_;
  if (to.over) return *to.over;
  Stored stored{.sha256 = to.hash.finish(), .size = to.size, .fresh = true};
  if (auto error = judge(expected, stored)) return to.give_up(std::move(*error));

  const bool is_part = !to.part.empty();
  if (is_part && ::pwrite(*to.draft.file, stored.sha256.bytes.data(), part_head_bytes, 0) !=
                     static_cast<ssize_t>(part_head_bytes))
    return to.give_up(system_failure(errno, "writing a part's hash"));
  const timespec times[] = {time_of(now), time_of(now)};
  if (::fchmod(*to.draft.file, 0400) != 0 || ::futimens(*to.draft.file, times) != 0)
    return to.give_up(system_failure(errno, "setting an artifact's mode and time"));
  // Before it has a name: a name only ever leads to all of the bytes.
  if (::fsync(*to.draft.file) != 0) return to.give_up(system_failure(errno, "syncing an artifact"));

  std::string folder;
  if (is_part) {
    // Below the folder of all uploads: where this one has ended meanwhile there is no such path any more.
    if (::renameat(*to.folder->drafts, to.draft.name.c_str(), *to.folder->uploads, to.part.c_str()) != 0) {
      if (errno == ENOENT) return to.give_up(fail(Reason::upload_unknown, "the upload has ended meanwhile"));
      return to.give_up(system_failure(errno, "naming a part"));
    }
    folder = "uploads/" + to.part.substr(0, to.part.find('/'));
  } else {
    auto placed = place_blob(*to.folder, to.draft.name, stored, now);
    if (!placed.ok()) return to.give_up(std::move(placed).error());
    stored.fresh = *placed;
    folder = blob_path(stored.sha256).substr(0, 2);
  }
  to.draft.name.clear();
  to.draft.file = Descriptor();
  to.over = fail(Reason::closed, "the upload is over");
  // Also of what was there before: whoever named it may not have come as far.
  if (!sync_folder(*to.folder->root, folder.c_str())) {
    if (is_part && errno == ENOENT) return fail(Reason::upload_unknown, "the upload has ended meanwhile");
    return system_failure(errno, "syncing a folder of artifacts");
  }
  return stored;
}

}  // namespace calyx::artifacts
