/// \file
/// The helper as its host sees it: a process, and a socket to hand tasks over.
#pragma once

#include <sys/types.h>

#include <calyx/core/result.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runner/descriptor.hpp"
#include "runner/runner.hpp"

namespace calyx::runner {

/// The path of `calyx-runner`. Fails: `file_missing` with `looked_at`.
Result<std::string> find_helper(const std::string& wanted);

class HelperProcess {
 public:
  /// Starts it and waits for its hello. Fails: `io_error`, `unsupported`, `no_memory`.
  static Result<std::shared_ptr<HelperProcess>> start(const std::string& path, const Options& options);
  HelperProcess(pid_t number, Descriptor process, Descriptor socket) noexcept;
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;
  /// Ends and reaps it.
  ~HelperProcess();

  /// Hands over a task's end of a channel and its log. False when the helper is gone.
  bool hand_over(int channel, int log) const noexcept;

  pid_t number() const noexcept { return number_; }

 private:
  pid_t number_;
  Descriptor process_;
  Descriptor socket_;
};

}  // namespace calyx::runner
