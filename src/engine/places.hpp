/// \file
/// Where commands may run on this machine: in an image by podman or docker, in an unpacked root by
/// bubblewrap, or, where the host allows it, as processes of the machine's own. In this order.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/worker.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runner/runner.hpp"

namespace calyx::engine {

/// Threads: any.
class Places {
 public:
  /// Fails: `options_invalid`; `bare_host_refused` where `options` leave commands no place to run.
  static Result<Done> check(const CommandOptions& options);
  /// Looks for the tools that `options` name, which were checked, and asks each whether it works here. Fails:
  /// `options_invalid`, when the one that is named by its path does not; `bare_host_refused`.
  static Result<std::unique_ptr<Places>> find(const CommandOptions& options, runner::Runner& runner);

  /// The images that a job may name; `any_image` stands for all. Without one nothing runs but what may run
  /// bare.
  std::vector<std::string> images() const;
  /// Whether a command without an image may run: bare, or in its project's Dockerfile.
  bool without_image() const noexcept { return bare_ || tool_; }

  /// Where a command with `image` runs; nothing is the bare host. Fails: `bare_host_refused`, where none of
  /// the places is open to it.
  Result<std::optional<runner::Enclosure>> of(const std::string& image) const;
  /// Where one runs whose project lies in `folder`, made of `tarball`: its Dockerfile is built once for all,
  /// and remembered. Who comes while it is being built waits, and is asked by `stopped` whether to go on.
  /// Fails: also `stopped`; `unsupported` where the build failed, with the end of what it said.
  Result<std::optional<runner::Enclosure>> of_project(const std::string& folder, const core::Digest& tarball,
                                                      std::int64_t timeout_ms,
                                                      const std::function<bool()>& stopped);
  /// For a task that the tool did not start: forgets a project's `image` that the tool has no more, so that
  /// `of_project` builds it again.
  void look_again(const std::string& image, const std::function<bool()>& stopped);

 private:
  Places(const CommandOptions& options, runner::Runner& runner);
  bool works(const std::string& program, std::vector<std::string> words,
             const std::function<bool()>& stopped = {}) const;
  bool has(const std::string& image, const std::function<bool()>& stopped) const;
  Result<Done> build_once(const std::string& image, const std::string& folder, std::int64_t timeout_ms,
                          const std::function<bool()>& stopped);
  Result<Done> build_missing(const std::string& image, const std::string& folder, std::int64_t timeout_ms,
                             const std::function<bool()>& stopped);
  runner::Ended build(const std::string& image, const std::string& folder, std::int64_t timeout_ms,
                      const std::function<bool()>& stopped);

  runner::Runner& runner_;
  const bool bare_, network_;
  std::optional<runner::Enclosure> tool_;    ///< podman or docker, without an image.
  std::optional<runner::Enclosure> bubble_;  ///< bubblewrap, without a root.
  std::vector<ImageRoot> roots_;

  enum class Image : std::uint8_t { being_built, built };
  std::mutex mutex_;                     ///< Of what follows; no tool is asked under it.
  std::condition_variable changed_;      ///< A build has ended, one way or the other.
  std::map<std::string, Image> images_;  ///< Of projects, by their names.
};

}  // namespace calyx::engine
