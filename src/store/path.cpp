#include "store/path.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

namespace calyx::store {
namespace {

constexpr std::string_view sidecar_endings[] = {"-gate", "-keys", "-wal", "-shm", "-journal"};

Error refused(const char* rule, std::string message) {
  return fail(Reason::path_refused, std::move(message), core::json::object({{"rule", rule}}));
}

/// The error of a file system call, for which no rule of ours has a better word.
Error system_error(int number) {
  if (number == ENOMEM) return fail(Reason::no_memory, "no memory to look at it");
  if (number == ENAMETOOLONG)
    return refused("too_long", "a name in it is longer than the file system takes: give a shorter one");
  auto details = core::json::object({{"rule", "folder"}, {"errno", number}});
  if (number == ENOENT || number == ENOTDIR)
    return fail(Reason::file_missing, "its folder is not there: make it first", std::move(details));
  if (number == EIO)
    return fail(Reason::io_error, "its folder cannot be read (EIO): check the disk", std::move(details));
  return fail(Reason::path_refused,
              "its folder cannot be looked into (errno " + std::to_string(number) + "): let this user do so",
              std::move(details));
}

bool is_control(char letter) noexcept {
  const auto byte = static_cast<unsigned char>(letter);
  return byte < 0x20 || byte == 0x7F;
}

/// Whether `path` begins with "file:", which SQLite may take for a URI, in any mixture of cases.
bool begins_like_a_uri(std::string_view path) noexcept {
  constexpr std::string_view scheme = "file:";
  return path.size() >= scheme.size() &&
         std::equal(scheme.begin(), scheme.end(), path.begin(), [](char want, char have) {
           return want == (have >= 'A' && have <= 'Z' ? static_cast<char>(have - 'A' + 'a') : have);
         });
}

std::string_view last_name(std::string_view path) noexcept {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

/// What can be said of a name without asking the file system, of one given and of one resolved alike.
std::optional<Error> judge_name(std::string_view path, std::size_t bytes_max) {
  if (path.empty()) return refused("empty", "the path is empty: give a file's");
  if (path.size() > bytes_max)
    return refused("too_long", "the path has " + std::to_string(path.size()) + " bytes, the most is " +
                                   std::to_string(bytes_max) + ": give a shorter one");
  const auto control = std::find_if(path.begin(), path.end(), is_control);
  if (control != path.end())
    return refused("control_character", "the path has a control character at byte " +
                                            std::to_string(control - path.begin()) + ": leave it out");
  const std::string_view name = last_name(path);
  if (name.empty() || name == "." || name == "..")
    return refused("not_a_file", "the path names a folder: give a file's");
  for (const std::string_view ending : sidecar_endings)
    if (name.size() >= ending.size() && name.substr(name.size() - ending.size()) == ending)
      return refused("sidecar", "the path ends in " + std::string(ending) +
                                    ", as the files beside another market do: name the market itself");
  return std::nullopt;
}

Result<std::string> real_path(const char* path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path, nullptr), &std::free);
  if (real == nullptr) return system_error(errno);
  return std::string(real.get());
}

Result<std::string> follow(const std::string& path) {
  std::string real;
  struct stat facts;
  if (::stat(path.c_str(), &facts) == 0) {
    if (!S_ISREG(facts.st_mode)) return refused("not_a_file", "is there and is no file: give a file's path");
    if (facts.st_nlink > 1)
      return refused("many_links", "the file has " + std::to_string(facts.st_nlink) +
                                       " names (hard links): remove all but one");
    CALYX_TRY(real, real_path(path.c_str()));
  } else if (errno == ENOENT) {
    // Only a link: another process may have made the file itself between the two looks.
    if (::lstat(path.c_str(), &facts) == 0 && S_ISLNK(facts.st_mode))
      return refused("dangling_link", "is a symbolic link to a file that is not there: remove it");
    const std::string_view name = last_name(path);
    std::string folder = path.substr(0, path.size() - name.size());
    if (folder.empty()) folder = ".";
    CALYX_TRY(real, real_path(folder.c_str()));
    if (real.back() != '/') real += '/';
    real += name;
  } else {
    return system_error(errno);
  }
  if (auto error = judge_name(real, real_path_bytes_max)) return std::move(*error);
  return real;
}

}  // namespace

Result<std::string> real_market_path(std::string_view given) {
  if (begins_like_a_uri(given))
    return refused("uri", "the path begins with file:, which could switch locking off: give a plain path");
  if (given == ":memory:") return refused("memory", "a market in memory has no path: leave the path out");
  if (auto error = judge_name(given, path_bytes_max)) return std::move(*error);
  Result<std::string> real = follow(std::string(given));
  if (!real.ok()) return at_path(std::move(real).error(), given);
  return real;
}

Error at_path(Error error, std::string_view path) {
  error.message.insert(0, std::string(path) + ": ");
  if (error.details.object() != nullptr) error.details.object()->set("path", path);
  return error;
}

std::string gate_path(std::string_view real_path) { return std::string(real_path) + "-gate"; }
std::string keys_path(std::string_view real_path) { return std::string(real_path) + "-keys"; }

}  // namespace calyx::store
