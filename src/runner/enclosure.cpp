#include "runner/enclosure.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

namespace calyx::runner {
namespace {

/// More than a program needs, and less than would keep others from starting theirs.
constexpr std::string_view processes_max = "4096";

using Words = std::vector<std::string>;

void add(Words& words, std::initializer_list<std::string_view> more) {
  for (const std::string_view word : more) words.emplace_back(word);
}

/// Where the command begins: in its project, or as its image says.
std::string_view begins_in(const Task& task) {
  return task.source.empty() ? std::string_view() : inside_project;
}

/// Where the folder of a cache is outside of the enclosure.
std::string outside_of(const Mount& cache, const Enclosed& enclosed) {
  return cache.path.empty() ? enclosed.folder + "/caches/" + cache.name : cache.path;
}

Words in_container(const Enclosure& enclosure, const Enclosed& enclosed) {
  const Task& task = enclosed.task;
  const bool podman = enclosure.kind == Enclosure::Kind::podman;
  Words words = {enclosure.program, "run", "--rm", "--name", enclosed.name, "--cidfile", enclosed.mark};
  // The image's files stay as they are, and what is written counts as the task's.
  add(words, {"--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
              "--security-opt", "label=disable", "--pids-limit", processes_max});
  // Docker's containers are not ours to kill with their tool: this passes the signals on that it gets.
  if (!podman) words.emplace_back("--init");
  const bool rootless = podman && enclosed.user.user != 0;
  if (rootless) add(words, {"--userns", "keep-id"});
  add(words, {"--user", std::to_string(enclosed.user.user) + ":" + std::to_string(enclosed.user.group)});
  if (!task.network) add(words, {"--network", "none"});
  if (task.limits.memory_mb != 0) add(words, {"--memory", std::to_string(task.limits.memory_mb) + "m"});
  if (task.limits.open_files != 0) {
    const std::string files = std::to_string(task.limits.open_files);
    add(words, {"--ulimit", "nofile=" + files + ":" + files});
  }
  if (task.gpus) {
    if (podman) {
      for (std::string_view rest = *task.gpus; !rest.empty();) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        add(words, {"--device", "nvidia.com/gpu=" + std::string(rest.substr(0, comma))});
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    } else {
      add(words, {"--gpus", "\"device=" + *task.gpus + "\""});  // quoted: its values are comma-separated
    }
  }
  const auto mount = [&](std::string_view outside, std::string_view inside, const char* how) {
    if (outside.empty()) return;
    add(words,
        {"--mount", "type=bind,source=" + std::string(outside) + ",target=" + std::string(inside) + how});
  };
  mount(enclosed.folder, inside_task, "");
  mount(task.source, inside_project, ",readonly");
  mount(task.checkpoint_dir, inside_checkpoint, "");
  for (const Mount& data : task.data) mount(data.path, data.place, ",readonly");
  for (const Mount& cache : task.caches) mount(outside_of(cache, enclosed), cache.place, "");
  if (!begins_in(task).empty()) add(words, {"--workdir", begins_in(task)});
  for (const auto& [name, value] : enclosed.variables) {
    words.emplace_back("--env");
    words.emplace_back(name).append("=").append(value);
  }
  words.push_back(enclosure.image);
  return words;
}

struct CloseFolder {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};

/// The entries of the folder at `root`, in order.
std::vector<std::string> entries_of(const std::string& root) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir(root.c_str()));
  if (folder == nullptr) return names;
  while (const dirent* entry = ::readdir(folder.get()))  // NOLINT(concurrency-mt-unsafe): a folder of our own
    names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

Words in_root(const Enclosure& enclosure, const Enclosed& enclosed) {
  constexpr std::array<std::string_view, 6> ours = {".", "..", "proc", "dev", "tmp", "calyx"};
  const Task& task = enclosed.task;
  Words words = {enclosure.program, "--unshare-all", "--die-with-parent"};
  if (task.network) words.emplace_back("--share-net");
  add(words, {"--cap-drop", "ALL", "--tmpfs", "/"});
  // Entry by entry, since a root that is mounted as a whole and not to be written has no room for other
  // mounts.
  for (const std::string& name : entries_of(enclosure.root)) {
    if (std::find(ours.begin(), ours.end(), name) != ours.end()) continue;
    const std::string path = enclosure.root + "/" + name;
    char target[4096];
    if (const ssize_t size = ::readlink(path.c_str(), target, sizeof target); size > 0)
      add(words, {"--symlink", std::string_view(target, static_cast<std::size_t>(size)), "/" + name});
    else
      add(words, {"--ro-bind", path, "/" + name});
  }
  add(words, {"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", enclosed.folder, inside_task});
  if (task.gpus)
    for (const std::string& name : entries_of("/dev"))
      if (name.substr(0, 6) == "nvidia") add(words, {"--dev-bind", "/dev/" + name, "/dev/" + name});
  for (const std::string& place : task.readable) add(words, {"--ro-bind", place, place});
  if (!task.source.empty()) add(words, {"--ro-bind", task.source, inside_project});
  if (!task.checkpoint_dir.empty()) add(words, {"--bind", task.checkpoint_dir, inside_checkpoint});
  for (const Mount& data : task.data) add(words, {"--ro-bind", data.path, data.place});
  for (const Mount& cache : task.caches) add(words, {"--bind", outside_of(cache, enclosed), cache.place});
  add(words, {"--remount-ro", "/", "--chdir", task.source.empty() ? inside_task : begins_in(task), "--"});
  return words;
}

/// Whether `place` is there in `root`, or below a name that the root does not have: its own entries are bound
/// one by one, and nothing is made in them.
bool can_be_mounted(const std::string& root, const std::string& place) {
  const std::string first = root + place.substr(0, place.find('/', 1));
  return ::access((root + place).c_str(), F_OK) == 0 || ::access(first.c_str(), F_OK) != 0;
}

}  // namespace

std::vector<std::string> command_of(const Enclosure& enclosure, const Enclosed& enclosed) {
  Words words = enclosure.kind == Enclosure::Kind::bubblewrap ? in_root(enclosure, enclosed)
                                                              : in_container(enclosure, enclosed);
  words.insert(words.end(), enclosed.task.argv.begin(), enclosed.task.argv.end());
  return words;
}

Result<Done> check_enclosure(const Task& task, const std::string& scratch) {
  const Enclosure& enclosure = *task.enclosure;
  if (enclosure.kind == Enclosure::Kind::bubblewrap) {
    if (enclosure.root.empty()) return Done{};
    for (const auto* mounts : {&task.data, &task.caches})
      for (const Mount& mount : *mounts)
        if (!can_be_mounted(enclosure.root, mount.place))
          return fail(Reason::field_value,
                      "the root has no " + mount.place + " to mount on, and cannot be written to",
                      core::json::object({{"field", "mount_path"}}));
    return Done{};
  }
  if (enclosure.image.empty() || enclosure.image.front() == '-')
    return fail(Reason::field_value, "the task's image has no name",
                core::json::object({{"field", "image"}}));
  std::vector<const std::string*> paths = {&scratch, &task.source, &task.checkpoint_dir};
  for (const auto* mounts : {&task.data, &task.caches})
    for (const Mount& mount : *mounts) paths.insert(paths.end(), {&mount.path, &mount.place});
  for (const std::string* path : paths)
    if (path->find_first_of(",\"") != std::string::npos)
      return fail(Reason::field_value,
                  "a path of the task has a comma or a quote, which container tools part at",
                  core::json::object({{"field", "path"}}));
  return Done{};
}

}  // namespace calyx::runner
