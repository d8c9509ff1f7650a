/// \file
/// What is started so that a command runs in an image, by podman or docker, or in an unpacked root, by
/// bubblewrap.
///
/// A task's folders have fixed places in there, so that nothing of this machine's paths is seen.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/runner.hpp"

namespace calyx::runner {

inline constexpr std::string_view inside_task = "/calyx/task";
inline constexpr std::string_view inside_project = "/calyx/project";
inline constexpr std::string_view inside_checkpoint = "/calyx/checkpoint";

/// A container tool ends with this code where it could not do its own part.
inline constexpr int container_tool_failed = 125;

/// What of the host's environment its tools find what is theirs by: containers their store and their daemon,
/// rustup its toolchains.
inline constexpr const char* tool_variables[] = {
    "HOME",           "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
    "DOCKER_HOST",    "DOCKER_CONFIG",   "DOCKER_CONTEXT",
    "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF",
    "RUSTUP_HOME",    "CARGO_HOME",      "RUSTUP_TOOLCHAIN"};

/// A task with its folders, as the enclosed command is to find them.
struct Enclosed {
  const Task& task;
  std::string folder;  ///< The task's own, outside.
  std::string name;    ///< For a container, unlike any other's.
  std::string mark;    ///< A file that says that the container was made.
  std::vector<std::pair<std::string, std::string>> variables;  ///< Of the command, by inside paths.
  User user;                                                   ///< Who runs it.
};

/// The words of the tool that runs `enclosed.task.argv`.
std::vector<std::string> command_of(const Enclosure& enclosure, const Enclosed& enclosed);

/// What is wrong with `task` in its enclosure: a folder's path that a tool would read as more than a path.
Result<Done> check_enclosure(const Task& task, const std::string& scratch);

}  // namespace calyx::runner
