#include "runner/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "json/reader.hpp"

namespace calyx::runner {
namespace {

namespace json = core::json;

constexpr char root_prefix[] = "calyx-runner-";
constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/// How deep files are removed by going into folders. What is deeper is first moved up, so that neither the
/// stack nor the number of descriptors is a task's to choose.
constexpr int removal_depth = 24;

constexpr std::size_t skipped_max = 100;
constexpr std::size_t artifact_depth_most = 32;
constexpr std::size_t result_depth = 64;

struct Entry {
  std::string name;
  bool folder;
};

/// What is in `folder`, or nothing with false. The listing holds no descriptor afterwards.
bool list(int folder, std::vector<Entry>& entries) {
  const int copy = ::openat(folder, ".", folder_flags);
  if (copy < 0) return false;
  DIR* const listing = ::fdopendir(copy);
  if (listing == nullptr) {
    ::close(copy);
    return false;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closes(listing, &::closedir);
  errno = 0;
  while (const dirent* entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back({std::string(name), entry->d_type == DT_DIR});
  }
  return errno == 0;
}

bool has_all(mode_t mode) noexcept { return (mode & S_IRWXU) == S_IRWXU; }

class Remover {
 public:
  explicit Remover(int top) noexcept : top_(top) {}

  /// Empties the top folder.
  bool run() {
    bool gone = true;
    do {
      lifted_ = 0;
      gone = empty(top_, 0);
    } while (gone && lifted_ > 0);
    return gone;
  }

 private:
  bool empty(int folder, int depth) {
    struct stat facts;
    if (::fstat(folder, &facts) == 0 && !has_all(facts.st_mode)) ::fchmod(folder, 0700);
    std::vector<Entry> entries;
    if (!list(folder, entries)) return false;
    bool gone = true;
    for (const Entry& entry : entries) gone = remove(folder, entry, depth) && gone;
    return gone;
  }

  bool remove(int folder, const Entry& entry, int depth) {
    const char* const name = entry.name.c_str();
    // A file system that does not tell types says so of a folder when it is unlinked.
    if (!entry.folder && ::unlinkat(folder, name, 0) == 0) return true;
    if (!entry.folder && errno != EISDIR && errno != EPERM) return errno == ENOENT;
    Descriptor inside(::openat(folder, name, folder_flags));
    if (!inside && errno == EACCES && ::fchmodat(folder, name, 0700, 0) == 0)
      inside = Descriptor(::openat(folder, name, folder_flags));
    if (!inside) return errno == ENOENT;
    if (depth < removal_depth) {
      const bool gone = empty(inside.get(), depth + 1);
      return ::unlinkat(folder, name, AT_REMOVEDIR) == 0 && gone;
    }
    ::fchmod(inside.get(), 0700);
    char lifted[32];
    do std::snprintf(lifted, sizeof lifted, ".lifted-%llu", number_++);
    while (::faccessat(top_, lifted, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    if (::renameat(folder, name, top_, lifted) != 0) return false;
    ++lifted_;
    return true;
  }

  int top_;
  unsigned long long number_ = 0;
  std::uint64_t lifted_ = 0;
};

/// Whether a folder of this name below `scratch` belongs to nobody any more; its lock is then ours.
bool abandoned(int scratch, const char* name, Descriptor& folder) {
  folder = Descriptor(::openat(scratch, name, folder_flags));
  struct stat facts;
  // Only our own user's: the scratch folder may be one that all users share.
  return folder && ::fstat(folder.get(), &facts) == 0 && facts.st_uid == ::geteuid() &&
         ::flock(folder.get(), LOCK_EX | LOCK_NB) == 0;
}

Result<Done> write_file(int folder, const char* name, std::string_view bytes,
                        const std::optional<Owner>& owner) {
  const Descriptor file(::openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400));
  if (!file) return file_error("the payload cannot be made", errno);
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return file_error("the payload cannot be written", written < 0 ? errno : ENOSPC);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  if (owner && ::fchown(file.get(), owner->user, owner->group) != 0)
    return file_error("the payload cannot be given to the task's user", errno);
  return Done{};
}

/// The first number in `value` that another reader would not get as it stands, as an error.
std::optional<Error> unshared_number(const json::Value& value) {
  constexpr std::int64_t integer_max = (std::int64_t{1} << 53) - 1;
  if (const std::int64_t* number = value.integer()) {
    if (*number <= integer_max && *number >= -integer_max) return std::nullopt;
    return fail(Reason::field_value,
                "the result has the integer " + std::to_string(*number) + ", beyond 2^53 - 1");
  }
  if (const json::Real* number = value.real()) {
    if (!std::isfinite(number->value))
      return fail(Reason::field_value,
                  "the result has the number " + number->token.substr(0, 40) + ", which is beyond a double");
    if (number->value != 0 && number->token.find_first_of(".eE") == std::string::npos)
      return fail(Reason::field_value,
                  "the result has the integer " + number->token.substr(0, 40) + ", beyond 2^53 - 1");
    return std::nullopt;
  }
  if (const json::Array* items = value.array())
    for (const json::Value& item : *items)
      if (auto error = unshared_number(item)) return error;
  if (const json::Object* members = value.object())
    for (const json::Member& member : *members)
      if (auto error = unshared_number(member.value)) return error;
  return std::nullopt;
}

bool presentable(std::string_view name) noexcept {
  return json::valid_utf8(name) && std::none_of(name.begin(), name.end(), [](char letter) {
           const auto byte = static_cast<unsigned char>(letter);
           return byte < 0x20 || byte == 0x7F;
         });
}

class Gatherer {
 public:
  Gatherer(const Limits& limits, Artifacts& artifacts) noexcept : limits_(limits), artifacts_(artifacts) {}

  void gather(int folder, const std::string& before, std::size_t depth) {
    std::vector<Entry> entries;
    if (!list(folder, entries)) return skip(before, "unreadable");
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    for (const Entry& entry : entries) take(folder, entry.name, before + entry.name, depth);
  }

  void skip(const std::string& name, std::string_view why) {
    ++artifacts_.skipped_in_all;
    if (artifacts_.skipped.size() < skipped_max) artifacts_.skipped.push_back({name, why});
  }

 private:
  void take(int folder, const std::string& name, const std::string& whole, std::size_t depth) {
    if (!presentable(name)) return skip("", "name");
    struct stat facts;
    if (::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return skip(whole, "unreadable");
    if (S_ISLNK(facts.st_mode)) return skip(whole, "link");
    if (S_ISDIR(facts.st_mode)) {
      if (depth >= std::min(limits_.artifact_depth, artifact_depth_most)) return skip(whole, "too_deep");
      const Descriptor inside(::openat(folder, name.c_str(), folder_flags));
      if (!inside) return skip(whole, "unreadable");
      return gather(inside.get(), whole + "/", depth + 1);
    }
    if (!S_ISREG(facts.st_mode)) return skip(whole, "not_a_file");
    if (facts.st_nlink != 1) return skip(whole, "many_links");
    if (artifacts_.found.size() >= limits_.artifacts) return skip(whole, "too_many");
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    if (size > limits_.artifact_bytes - bytes_) return skip(whole, "too_large");
    bytes_ += size;
    artifacts_.found.push_back({whole, size});
  }

  const Limits& limits_;
  Artifacts& artifacts_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Error file_error(std::string doing, int number) {
  const Reason reason = number == ENOSPC || number == EDQUOT    ? Reason::disk_full
                        : number == ENOMEM                      ? Reason::no_memory
                        : number == ENOENT || number == ENOTDIR ? Reason::file_missing
                                                                : Reason::io_error;
  return fail(reason, std::move(doing) + " (errno " + std::to_string(number) + ")",
              json::object({{"errno", number}}));
}

bool remove_tree(int parent, const char* name) {
  {
    const Descriptor folder(::openat(parent, name, folder_flags));
    if (!folder) return errno == ENOENT;
    if (!Remover(folder.get()).run()) return false;
  }
  return ::unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

Result<std::shared_ptr<Root>> Root::make(const std::string& scratch) {
  Descriptor above(::open(scratch.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!above) return file_error("the scratch folder cannot be opened", errno);
  std::vector<Entry> entries;
  list(above.get(), entries);
  for (const Entry& entry : entries) {
    Descriptor left;
    if (entry.name.rfind(root_prefix, 0) == 0 && abandoned(above.get(), entry.name.c_str(), left))
      remove_tree(above.get(), entry.name.c_str());
  }
  for (;;) {
    std::string path = scratch + "/" + root_prefix + "XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
      return file_error("a folder in the scratch folder cannot be made", errno);
    std::string name = path.substr(scratch.size() + 1);
    Descriptor folder(::openat(above.get(), name.c_str(), folder_flags));
    struct stat facts;
    // Somebody who cleans up may have met it before it was locked: then it is gone, and another is made.
    if (folder && ::flock(folder.get(), LOCK_EX) == 0 && ::fstat(folder.get(), &facts) == 0 &&
        facts.st_nlink > 0) {
      // A task's user passes through, and sees no names.
      if (::fchmod(folder.get(), 0711) != 0)
        return file_error("the runner's folder cannot be opened up", errno);
      return std::make_shared<Root>(std::move(above), std::move(folder), std::move(name), std::move(path));
    }
    if (!folder && errno != ENOENT) return file_error("the runner's folder cannot be opened", errno);
  }
}

Root::Root(Descriptor scratch, Descriptor folder, std::string name, std::string path) noexcept
    : scratch_(std::move(scratch)),
      folder_(std::move(folder)),
      name_(std::move(name)),
      path_(std::move(path)) {}

Root::~Root() { remove_tree(scratch_.get(), name_.c_str()); }

Result<std::shared_ptr<TaskFolder>> TaskFolder::make(std::shared_ptr<Root> root, std::uint64_t number,
                                                     std::string_view payload,
                                                     const std::optional<Owner>& owner) {
  std::string name = std::to_string(number);
  auto made = std::make_shared<TaskFolder>(std::move(root), std::move(name));
  const int above = made->root_->folder();
  if (::mkdirat(above, made->name_.c_str(), 0700) != 0)
    return file_error("the task's folder cannot be made", errno);
  made->folder_ = Descriptor(::openat(above, made->name_.c_str(), folder_flags));
  const int folder = made->folder();
  if (folder < 0) return file_error("the task's folder cannot be opened", errno);
  CALYX_CHECK(write_file(folder, "payload.json", payload, owner));
  for (const char* inner : {"artifacts", "tmp"}) {
    if (::mkdirat(folder, inner, 0700) != 0) return file_error("a folder of the task cannot be made", errno);
    if (owner && ::fchownat(folder, inner, owner->user, owner->group, AT_SYMLINK_NOFOLLOW) != 0)
      return file_error("a folder cannot be given to the task's user", errno);
  }
  if (owner && ::fchown(folder, owner->user, owner->group) != 0)
    return file_error("the folder cannot be given to the task's user", errno);
  return made;
}

TaskFolder::TaskFolder(std::shared_ptr<Root> root, std::string name) noexcept
    : root_(std::move(root)), name_(std::move(name)), path_(root_->path() + "/" + name_) {}

TaskFolder::~TaskFolder() {
  folder_.close();
  remove_tree(root_->folder(), name_.c_str());
}

Result<Descriptor> make_log(const Root& root) {
  Descriptor file(::openat(root.folder(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  // Not every file system has files without a name.
  std::string path = root.path() + "/log-XXXXXX";
  file = Descriptor(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) return file_error("the task's log cannot be made", errno);
  ::unlink(path.c_str());
  return file;
}

namespace {

/// Makes the folder `name` in `at`, unless it is there, and opens it.
Result<Descriptor> step_into(int at, const std::string& name, const std::optional<Owner>& owner) {
  const bool made = ::mkdirat(at, name.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return file_error("a folder of the task cannot be made", errno);
  Descriptor inside(::openat(at, name.c_str(), folder_flags));
  if (!inside || (made && owner && ::fchown(inside.get(), owner->user, owner->group) != 0))
    return file_error("a folder of the task cannot be opened", errno);
  return inside;
}

Result<Done> write_input(int top, const Input& input, const std::optional<Owner>& owner) {
  constexpr std::size_t block_bytes = std::size_t{256} << 10;
  Descriptor inside;
  int at = top;
  std::string_view rest = input.path;
  for (;;) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string name(rest.substr(0, slash));
    if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string::npos)
      return fail(Reason::field_value, "the path of a task's input leads elsewhere");
    if (slash == rest.size()) break;
    CALYX_TRY(inside, step_into(at, name, owner));
    at = inside.get();
    rest.remove_prefix(slash + 1);
  }
  const std::string name(rest);
  const Descriptor file(
      ::openat(at, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400));
  if (!file) return file_error("a task's input cannot be made", errno);
  std::string block(block_bytes, '\0');
  for (std::uint64_t offset = 0;;) {
    CALYX_TRY(const std::size_t bytes, input.read(offset, block));
    if (bytes == 0) break;
    offset += bytes;
    for (std::string_view left(block.data(), bytes); !left.empty();) {
      const ssize_t written = ::write(file.get(), left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return file_error("a task's input cannot be written", written < 0 ? errno : ENOSPC);
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  if (owner && ::fchown(file.get(), owner->user, owner->group) != 0)
    return file_error("an input cannot be given to the task's user", errno);
  return Done{};
}

}  // namespace

Result<Done> write_inputs(const TaskFolder& folder, const std::vector<Input>& inputs,
                          const std::optional<Owner>& owner) {
  if (inputs.empty()) return Done{};
  CALYX_TRY(const Descriptor top, step_into(folder.folder(), "inputs", owner));
  for (const Input& input : inputs) CALYX_CHECK(write_input(top.get(), input, owner));
  return Done{};
}

Result<Done> link_mounts(const TaskFolder& folder, const Task& task, const std::optional<Owner>& owner) {
  const std::pair<const char*, const std::vector<Mount>*> kinds[] = {{"data", &task.data},
                                                                     {"caches", &task.caches}};
  for (const auto& [kind, mounts] : kinds) {
    if (mounts->empty()) continue;
    CALYX_TRY(const Descriptor top, step_into(folder.folder(), kind, owner));
    for (const Mount& mount : *mounts) {
      if (mount.path.empty()) {
        CALYX_CHECK(step_into(top.get(), mount.name, owner));
        continue;
      }
      const std::string& leads_to = task.enclosure ? mount.place : mount.path;
      if (::symlinkat(leads_to.c_str(), top.get(), mount.name.c_str()) != 0)
        return file_error("a link of the task cannot be made", errno);
    }
  }
  return Done{};
}

Result<std::string> read_result(const TaskFolder& folder, uid_t user, std::size_t bytes_max) {
  // Without waiting: opening a pipe would wait for its writer.
  const Descriptor file(
      ::openat(folder.folder(), "result.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) {
    if (errno == ELOOP) return fail(Reason::path_refused, "the result is a symbolic link");
    if (errno == ENXIO) return fail(Reason::path_refused, "the result is no plain file");
    return file_error("the result cannot be opened", errno);
  }
  struct stat facts;
  if (::fstat(file.get(), &facts) != 0) return file_error("the result cannot be looked at", errno);
  if (!S_ISREG(facts.st_mode)) return fail(Reason::path_refused, "the result is no plain file");
  if (facts.st_nlink != 1)
    return fail(Reason::path_refused,
                "the result has " + std::to_string(facts.st_nlink) + " names (hard links)");
  if (facts.st_uid != user)
    return fail(Reason::path_refused, "the result belongs to user " + std::to_string(facts.st_uid));
  if (static_cast<std::uint64_t>(facts.st_size) > bytes_max)
    return fail(Reason::too_large, "the result has " + std::to_string(facts.st_size) +
                                       " bytes, the most is " + std::to_string(bytes_max));
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_error("the result cannot be read", errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  text.resize(have);
  CALYX_TRY(const json::Value value, read_json(text, {.depth = result_depth, .bytes = bytes_max}));
  if (auto error = unshared_number(value)) return std::move(*error);
  return json::canonical(value);
}

void gather_artifacts(const TaskFolder& folder, const Limits& limits, Artifacts& artifacts) {
  Gatherer gatherer(limits, artifacts);
  const Descriptor top(::openat(folder.folder(), "artifacts", folder_flags));
  if (top) return gatherer.gather(top.get(), "", 0);
  // The task may remove its own folder, and then it has left nothing.
  if (errno != ENOENT) gatherer.skip("", errno == ELOOP || errno == ENOTDIR ? "link" : "unreadable");
}

Result<Descriptor> open_artifact(const TaskFolder& folder, const Artifact& artifact) {
  Descriptor at(::openat(folder.folder(), "artifacts", folder_flags));
  std::string_view rest = artifact.name;
  while (at) {
    const std::size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    if (name.empty() || name == "." || name == "..")
      return fail(Reason::file_missing, "no artifact has this name");
    if (slash == std::string_view::npos) {
      Descriptor file(
          ::openat(at.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
      struct stat facts;
      if (!file || ::fstat(file.get(), &facts) != 0)
        return file_error("the artifact cannot be opened", errno);
      if (!S_ISREG(facts.st_mode) || facts.st_nlink != 1 ||
          static_cast<std::uint64_t>(facts.st_size) != artifact.size)
        return fail(Reason::file_missing, "the artifact is not what it was");
      return file;
    }
    rest.remove_prefix(slash + 1);
    at = Descriptor(::openat(at.get(), name.c_str(), folder_flags));
  }
  return file_error("the artifact's folder cannot be opened", errno);
}

}  // namespace calyx::runner
