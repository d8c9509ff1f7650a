#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "artifacts.hpp"
#include "crypto/sha256.hpp"
#include "files.hpp"
#include "upload.hpp"

namespace calyx::artifacts {
namespace {

constexpr std::size_t number_digits = 5;
constexpr std::size_t copy_block_bytes = std::size_t{256} << 10;

Result<std::string> checked_id(std::string_view id) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (id.empty() || id.size() > upload_id_bytes_max || !std::all_of(id.begin(), id.end(), fits))
    return fail(Reason::field_value, "an upload's id has 1 to " + std::to_string(upload_id_bytes_max) +
                                         " letters, digits, - and _");
  return std::string(id);
}

Result<Done> check_number(std::uint32_t number) {
  if (number >= 1 && number <= part_number_max) return Done{};
  return fail(
      Reason::field_value,
      "a part's number is 1 to " + std::to_string(part_number_max) + ", and not " + std::to_string(number),
      core::json::object({{"limit", part_number_max}, {"found", number}}));
}

std::string number_name(std::uint32_t number) {
  std::array<char, 16> text{};
  const int size = std::snprintf(text.data(), text.size(), "%05u", number);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::optional<std::uint32_t> read_number(std::string_view name) noexcept {
  std::uint32_t number = 0;
  const auto read = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.size() != number_digits || read.ec != std::errc() || read.ptr != name.data() + name.size() ||
      number == 0)
    return std::nullopt;
  return number;
}

Error unknown(const std::string& id) {
  return fail(Reason::upload_unknown, "there is no upload " + id, core::json::object({{"upload", id}}));
}

Error part_failure(Reason reason, std::uint32_t number, std::string_view what) {
  return fail(reason, "part " + std::to_string(number) + " " + std::string(what),
              core::json::object({{"part", number}}));
}

struct OpenPart {
  Descriptor file;
  Part part;
};

/// The part `number` of the upload, with its hash as its file says it; nothing when it is not there.
Result<std::optional<OpenPart>> open_part(int uploads, const std::string& id, std::uint32_t number) {
  OpenPart out;
  out.part.number = number;
  out.file = Descriptor(::openat(uploads, (id + "/" + number_name(number)).c_str(),
                                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!out.file.open()) {
    if (errno == ENOENT) return std::optional<OpenPart>();
    return system_failure(errno, "opening a part");
  }
  struct stat facts {};
  if (::fstat(*out.file, &facts) != 0) return system_failure(errno, "looking at a part");
  std::array<char, part_head_bytes> head{};
  const ssize_t got = read_at(*out.file, head.data(), head.size(), 0);
  if (got < 0) return system_failure(errno, "reading a part");
  if (!S_ISREG(facts.st_mode) || static_cast<std::size_t>(got) != head.size())
    return part_failure(Reason::corrupt, number, "has no hash before its bytes");
  out.part.sha256 = *core::digest_of_bytes({head.data(), head.size()});
  out.part.size = static_cast<std::uint64_t>(facts.st_size) - part_head_bytes;
  return std::optional(std::move(out));
}

/// Appends the part's bytes to `whole`, and compares them with its hash on the way.
Result<Done> append(Upload& whole, const OpenPart& from) {
  crypto::Sha256Stream hash;
  std::vector<char> block(copy_block_bytes);
  for (std::uint64_t at = 0; at < from.part.size;) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), from.part.size - at));
    const ssize_t got = read_at(*from.file, block.data(), size, part_head_bytes + at);
    if (got < 0) return system_failure(errno, "reading a part");
    if (got == 0) break;
    const std::string_view bytes(block.data(), static_cast<std::size_t>(got));
    hash.update(bytes);
    CALYX_CHECK(whole.write(bytes));
    at += bytes.size();
  }
  if (hash.finish() != from.part.sha256)
    return part_failure(Reason::corrupt, from.part.number,
                        "has other bytes on the disk than were sent: send it again");
  return Done{};
}

}  // namespace

Result<Done> Store::start(std::string_view given) const {
  CALYX_TRY(const std::string id, checked_id(given));
  if (::mkdirat(*folder_->uploads, id.c_str(), 0700) != 0 && errno != EEXIST)
    return system_failure(errno, "making an upload's folder");
  // Also of one that was there before: whoever made it may not have come as far.
  if (::fsync(*folder_->uploads) != 0) return system_failure(errno, "syncing the uploads' folder");
  return Done{};
}

Result<Upload> Store::begin_part(std::string_view given, std::uint32_t number) const {
  CALYX_TRY(const std::string id, checked_id(given));
  CALYX_CHECK(check_number(number));
  CALYX_TRY(const auto names, names_in(*folder_->uploads, id.c_str()));
  if (!names) return unknown(id);
  // Their sizes alone: to read each one's hash for every part that comes would make many parts slow.
  std::uint64_t others = 0;
  for (const std::string& name : *names) {
    if (name == number_name(number)) continue;
    std::string path = id;
    path.append("/").append(name);
    struct stat facts {};
    if (::fstatat(*folder_->uploads, path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0)
      others += static_cast<std::uint64_t>(facts.st_size) - part_head_bytes;
  }
  CALYX_TRY(Upload upload, begin());
  upload.state_->size_max -= std::min(upload.state_->size_max, others);
  upload.state_->part = id + "/" + number_name(number);
  // Room for the hash, which is known at the end.
  const std::array<char, part_head_bytes> head{};
  if (const int wrong = write_all(*upload.state_->draft.file, {head.data(), head.size()}))
    return system_failure(wrong, "writing a part");
  return upload;
}

Result<Part> Store::part(std::string_view id, std::uint32_t number, std::string_view bytes,
                         const Expected& expected) const {
  CALYX_TRY(Upload upload, begin_part(id, number));
  CALYX_CHECK(upload.write(bytes));
  CALYX_TRY(const Stored stored, upload.finish(Instant{}, expected));  // nobody asks a part for its age
  return Part{.number = number, .sha256 = stored.sha256, .size = stored.size};
}

Result<std::vector<Part>> Store::list(std::string_view given) const {
  CALYX_TRY(const std::string id, checked_id(given));
  CALYX_TRY(const auto names, names_in(*folder_->uploads, id.c_str()));
  if (!names) return unknown(id);
  std::vector<Part> parts;
  for (const std::string& name : *names) {
    const auto number = read_number(name);
    if (!number) continue;
    CALYX_TRY(const auto found, open_part(*folder_->uploads, id, *number));
    if (found) parts.push_back(found->part);
  }
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.number < b.number; });
  return parts;
}

Result<Stored> Store::complete(std::string_view given, std::span<const ListedPart> parts,
                               const Expected& expected, Instant now, PartsThen then) const {
  CALYX_TRY(const std::string id, checked_id(given));
  if (parts.empty()) return fail(Reason::field_value, "no part is listed");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    CALYX_CHECK(check_number(parts[i].number));
    if (i > 0 && parts[i].number <= parts[i - 1].number)
      return fail(Reason::field_value,
                  "part " + std::to_string(parts[i].number) + " is listed after part " +
                      std::to_string(parts[i - 1].number),
                  core::json::object({{"part", parts[i].number}}));
  }
  struct stat facts {};
  if (::fstatat(*folder_->uploads, id.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return unknown(id);
    return system_failure(errno, "looking at an upload");
  }
  CALYX_TRY(Upload whole, begin());
  for (const ListedPart& listed : parts) {
    CALYX_TRY(const auto found, open_part(*folder_->uploads, id, listed.number));
    if (!found) return part_failure(Reason::content_mismatch, listed.number, "is listed and was not sent");
    if (found->part.sha256 != listed.sha256)
      return part_failure(Reason::content_mismatch, listed.number,
                          "has the SHA-256 " + core::hex(found->part.sha256) + ", and another is listed");
    CALYX_CHECK(append(whole, *found));
  }
  CALYX_TRY(const Stored stored, whole.finish(now, expected));
  // What is left of the upload if this fails is ended by the next call for it.
  if (then == PartsThen::go) (void)abort(id);
  return stored;
}

Result<bool> Store::abort(std::string_view given) const {
  CALYX_TRY(const std::string id, checked_id(given));
  CALYX_TRY(const std::string gone, draft_name());
  // Away at once, as a whole; then in peace.
  if (::renameat(*folder_->uploads, id.c_str(), *folder_->drafts, gone.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return system_failure(errno, "ending an upload");
  }
  const bool synced = ::fsync(*folder_->uploads) == 0;
  const int number = errno;
  remove_folder(*folder_->drafts, gone);
  if (!synced) return system_failure(number, "syncing the uploads' folder");
  return true;
}

Result<std::vector<std::string>> Store::uploads() const {
  CALYX_TRY(auto names, names_in(*folder_->root, "uploads"));
  std::vector<std::string> ids = names ? std::move(*names) : std::vector<std::string>();
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace calyx::artifacts
