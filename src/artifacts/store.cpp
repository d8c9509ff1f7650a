#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/core/encoding.hpp>
#include <cerrno>
#include <utility>

#include "artifacts.hpp"
#include "crypto/sha256.hpp"
#include "files.hpp"
#include "upload.hpp"

namespace calyx::artifacts {

namespace detail {

struct Reading {
  Descriptor file;
  core::Digest sha256;
  std::uint64_t size = 0;
};

}  // namespace detail

namespace {

constexpr std::size_t read_block_bytes = std::size_t{256} << 10;

Error refused_folder(std::string_view rule, std::string message) {
  return fail(Reason::path_refused, std::move(message), core::json::object({{"rule", rule}}));
}

Error damaged(const core::Digest& sha256, std::string_view how) {
  return fail(Reason::corrupt, "the artifact " + core::hex(sha256) + " " + std::string(how),
              core::json::object({{"sha256", core::hex(sha256)}}));
}

Result<Descriptor> open_folder(int at, const char* path) {
  Descriptor folder(::openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.open()) return system_failure(errno, "opening a folder of artifacts");
  return folder;
}

}  // namespace

std::string folder_path(std::string_view database_path) { return std::string(database_path) + "-artifacts"; }

Result<Store> open_store(const std::string& folder, const Options& options) {
  const bool made = ::mkdir(folder.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    if (errno == ENOENT || errno == ENOTDIR)
      return fail(Reason::file_missing, "the folder of the artifacts' folder is not there: make it first");
    return system_failure(errno, "making the artifacts' folder");
  }
  auto state = std::make_shared<detail::Folder>();
  state->options = options;
  state->root = Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!state->root.open()) {
    if (errno == ENOTDIR || errno == ELOOP)
      return refused_folder("not_a_folder", "the artifacts' folder is something else, or a link");
    return system_failure(errno, "opening the artifacts' folder");
  }
  // The umask may have taken rights from the owner, too.
  if (made && ::fchmod(*state->root, 0700) != 0)
    return system_failure(errno, "setting the mode of the artifacts' folder");
  struct stat facts {};
  if (::fstat(*state->root, &facts) != 0) return system_failure(errno, "looking at the artifacts' folder");
  if ((facts.st_mode & 077) != 0)
    return refused_folder("rights", "group or others may use the artifacts' folder: take that right away");
  CALYX_CHECK(make_folder(*state->root, "tmp"));
  CALYX_CHECK(make_folder(*state->root, "uploads"));
  // Also where they were there before: whoever made them may not have come as far.
  if (::fsync(*state->root) != 0 || !sync_folder(*state->root, ".."))
    return system_failure(errno, "syncing the artifacts' folder");
  CALYX_TRY(state->drafts, open_folder(*state->root, "tmp"));
  CALYX_TRY(state->uploads, open_folder(*state->root, "uploads"));
  sweep_drafts(*state->drafts);
  return Store(std::move(state));
}

Result<Upload> Store::begin() const {
  auto state = std::make_unique<detail::Writing>();
  state->folder = folder_;
  state->size_max = folder_->options.blob_bytes_max;
  CALYX_TRY(state->draft, new_draft(*folder_->drafts));
  return Upload(std::move(state));
}

Result<Reader> Store::open(const core::Digest& sha256) const {
  auto state = std::make_shared<detail::Reading>();
  state->sha256 = sha256;
  // Not to wait for whatever else might stand there.
  state->file = Descriptor(
      ::openat(*folder_->root, blob_path(sha256).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!state->file.open()) {
    if (errno == ENOENT)
      return fail(Reason::artifact_unknown, "there is no artifact " + core::hex(sha256),
                  core::json::object({{"sha256", core::hex(sha256)}}));
    if (errno == ELOOP) return damaged(sha256, "is a link");
    return system_failure(errno, "opening an artifact");
  }
  struct stat facts {};
  if (::fstat(*state->file, &facts) != 0) return system_failure(errno, "looking at an artifact");
  if (!S_ISREG(facts.st_mode)) return damaged(sha256, "is no file");
  state->size = static_cast<std::uint64_t>(facts.st_size);
  return Reader(std::move(state));
}

Result<bool> Store::remove(const core::Digest& sha256) const {
  const std::string path = blob_path(sha256);
  {
    CALYX_TRY(const Lock lock, Lock::take(*folder_->root, Sharing::alone));
    if (::unlinkat(*folder_->root, path.c_str(), 0) != 0) {
      if (errno == ENOENT) return false;
      return system_failure(errno, "removing an artifact");
    }
  }
  if (!sync_folder(*folder_->root, path.substr(0, 2).c_str()))
    return system_failure(errno, "syncing a folder of artifacts");
  return true;
}

Result<bool> Store::renew(const core::Digest& sha256, Instant now) const {
  const std::string path = blob_path(sha256);
  CALYX_TRY(const Lock lock, Lock::take(*folder_->root, Sharing::many));
  struct stat facts {};
  if (::fstatat(*folder_->root, path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    return system_failure(errno, "looking at an artifact");
  }
  if (!make_young(*folder_->root, path, facts, now)) return system_failure(errno, "renewing an artifact");
  return true;
}

Result<Collected> Store::collect(const std::function<Result<bool>(const core::Digest&)>& is_wanted,
                                 Instant now, std::int64_t grace_us) const {
  Collected collected;
  // One that seems to come from the future is young: a clock ran ahead, and it is kept until time has caught
  // up.
  const auto old_enough = [&](const struct stat& facts) {
    return now.us - instant_of(facts.st_mtim).us >= grace_us;
  };
  for (const auto& pair : core::hex_pairs) {
    const std::string folder(pair.data(), 2);
    CALYX_TRY(const auto names, names_in(*folder_->root, folder.c_str()));
    if (!names) continue;
    bool removed_any = false;
    for (const std::string& name : *names) {
      const auto sha256 = core::read_digest_hex(folder + name);
      if (!sha256) continue;  // not ours
      const std::string path = blob_path(*sha256);
      struct stat facts {};
      if (::fstatat(*folder_->root, path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
      bool wanted = !old_enough(facts);
      if (!wanted) {
        CALYX_TRY(wanted, is_wanted(*sha256));
      }
      if (wanted) {
        ++collected.kept;
        continue;
      }
      // Asked again under the lock: somebody may have stored the same bytes, or renewed them, meanwhile.
      CALYX_TRY(const Lock lock, Lock::take(*folder_->root, Sharing::alone));
      if (::fstatat(*folder_->root, path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (!old_enough(facts)) {
        ++collected.kept;
        continue;
      }
      if (::unlinkat(*folder_->root, path.c_str(), 0) != 0)
        return system_failure(errno, "removing an artifact");
      removed_any = true;
      ++collected.removed;
      collected.removed_bytes += static_cast<std::uint64_t>(facts.st_size);
    }
    if (removed_any && !sync_folder(*folder_->root, folder.c_str()))
      return system_failure(errno, "syncing a folder of artifacts");
  }
  return collected;
}

Reader::Reader(std::shared_ptr<const detail::Reading> state) noexcept : state_(std::move(state)) {}

std::uint64_t Reader::size() const noexcept { return state_->size; }

Result<std::size_t> Reader::read_at(std::uint64_t offset, std::span<char> out) const {
  if (offset >= state_->size) return std::size_t{0};
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), state_->size - offset));
  const ssize_t got = artifacts::read_at(*state_->file, out.data(), size, offset);
  if (got < 0) return system_failure(errno, "reading an artifact");
  if (static_cast<std::size_t>(got) != size) return damaged(state_->sha256, "is shorter than it was");
  return size;
}

Result<std::string> Reader::read_at(std::uint64_t offset, std::size_t length) const {
  std::string out;
  if (offset < state_->size)
    out.resize(static_cast<std::size_t>(std::min<std::uint64_t>(length, state_->size - offset)));
  CALYX_CHECK(read_at(offset, std::span<char>(out)));
  return out;
}

Result<Done> Reader::check() const {
  crypto::Sha256Stream hash;
  std::vector<char> block(read_block_bytes);
  for (std::uint64_t at = 0; at < state_->size;) {
    CALYX_TRY(const std::size_t got, read_at(at, block));
    hash.update({block.data(), got});
    at += got;
  }
  if (hash.finish() != state_->sha256) return damaged(state_->sha256, "has other bytes than its name says");
  return Done{};
}

}  // namespace calyx::artifacts
