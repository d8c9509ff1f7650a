/// \file
/// A task's output: kept in the file of logs with a cap, and its progress lines picked out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runner/protocol.hpp"

namespace calyx::runner::helper {

/// One stream's region in the file of logs.
///
/// A pipe is read for it, instead of the file being the task's own stdout: a task then cannot fill the disk
/// with output, whatever it writes does not count against its limit on files, and the cap is exact.
class Capture {
 public:
  Capture(int file, int stream) noexcept : file_(file), stream_(stream) {}

  /// Appends; what the disk does not take is counted as written and reads as it stood.
  void append(const char* bytes, std::size_t size) noexcept;

 private:
  void tell() noexcept;

  int file_;
  int stream_;
  protocol::LogHeader::Stream header_{};
};

/// Picks progress lines out of a stream. A line is one only from its first letter on, and is handed over
/// whole.
class ProgressLines {
 public:
  /// Reads on to the end of the next progress line: true when there is one, which `line` then holds, behind
  /// its prefix. `bytes` and `size` move on either way, to their end when false.
  bool next(const char*& bytes, std::size_t& size) noexcept;

  const char* line() const noexcept { return line_; }
  std::size_t line_size() const noexcept { return line_size_; }

 private:
  enum class State : std::uint8_t { prefix, inside, plain };

  State state_ = State::prefix;
  std::size_t matched_ = 0;
  std::size_t line_size_ = 0;
  char line_[protocol::progress_bytes_max];
};

}  // namespace calyx::runner::helper
