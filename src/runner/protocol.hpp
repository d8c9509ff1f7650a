/// \file
/// What a runner and its helper, `calyx-runner`, say to each other. Both come from one build, so these are
/// plain structs; the hello's version is what two builds that meet by mistake are told apart by.
///
/// The helper is given a socket as descriptor 3, over which come descriptors alone: for each task a channel
/// and the file that takes its logs. It answers by forking a supervisor, which alone talks on that channel:
/// it reads one `Request`, and sends frames until the last one, a `Report`. Each is one packet. The end of
/// the channel on the runner's side means that nobody waits any more, and the task is killed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace calyx::runner::protocol {

inline constexpr int socket_number = 3;

/// The most that argv, environment and paths of a request may be together: a packet has to fit a socket's
/// buffer, and the kernel would not start a much larger command either. Units: bytes.
inline constexpr std::size_t request_bytes_max = 128 << 10;

/// The longest line that can be progress, its prefix left out. Units: bytes.
inline constexpr std::size_t progress_bytes_max = 64 << 10;
inline constexpr char progress_prefix[] = "COMPUTALOT_PROGRESS:";

/// The helper's first packet.
struct Hello {
  std::uint32_t version;
  std::int32_t landlock_abi;  ///< 0 when the kernel has none.
};

/// A task. Behind it stand, each ended by a NUL and in this order: the working folder, the folders to search
/// for the command (as in PATH), `writable` paths, `readable` paths, `arguments` and `variables`.
struct Request {
  std::int64_t timeout_ms;
  std::int64_t grace_ms;
  std::uint64_t memory_bytes;  ///< 0: not looked at; so with the limits below.
  std::uint64_t disk_bytes;    ///< Below all writable paths together; of caches, what they grow by.
  std::uint64_t file_bytes;
  std::uint64_t open_files;
  std::uint64_t cpu_s;
  std::uint64_t processes;
  std::int64_t stamp_us;  ///< As `Task::stamp_us`.
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t writable;
  std::uint32_t caches;  ///< So many of them are caches, the last.
  std::uint32_t readable;
  std::uint32_t arguments;
  std::uint32_t variables;
  std::uint8_t drop_user;
  std::uint8_t network;
  std::uint8_t gpu;
  std::uint8_t landlock_required;
  std::uint8_t trusted;  ///< Neither Landlock nor less than the host's rights.
};

/// What begins each packet of a supervisor.
enum class Frame : std::uint32_t {
  begun = 1,  ///< The task is about to be started: from here on it may have done something.
  progress,   ///< The rest of the packet is what stood behind the prefix.
  report,     ///< A `Report`.
};

/// What the runner may send after its request.
inline constexpr char cancel = 'c';

enum class Cause : std::uint32_t {
  exited = 1,  ///< `value` is the code.
  signalled,   ///< `value` is the signal.
  timed_out,
  cancelled,
  out_of_memory,
  out_of_disk,
  abandoned,    ///< The helper or the runner is gone.
  not_started,  ///< `stage` and `value`, an errno.
  stuck,        ///< Some process of the task would not die: its files may still change.
};

/// What was being done when a task could not be started.
enum class Stage : std::uint32_t { none, request, files, process, limits, folder, user, landlock, command };

struct Report {
  Cause cause;
  Stage stage;
  std::int32_t value;
  std::int32_t landlock_abi;  ///< 0: the task ran without.
  std::int64_t ran_us;
  std::int64_t cpu_us;         ///< Of every process of the task.
  std::uint64_t memory_bytes;  ///< The largest process, or the largest sum that was seen.
  std::uint64_t disk_bytes;    ///< The most that was seen, when it was looked at.
  std::uint32_t strays;        ///< Processes that outlived the task's first and were killed.
  std::uint8_t user_dropped;
  std::uint8_t tcp_denied;
  std::uint8_t sockets_denied;
  std::uint8_t signals_scoped;
  std::uint8_t no_new_privileges;
};

/// Changes with what is said, as far as sizes tell; the first number is for what they do not.
inline constexpr std::uint32_t version = 1u << 24 | sizeof(Request) << 12 | sizeof(Report);

/// The file of a task's logs: a header, then a region for each of stdout and stderr. A region keeps the first
/// `head_bytes` that were written, and of the rest the last `tail_bytes`, in a ring.
struct LogHeader {
  struct Stream {
    std::uint64_t begun;    ///< Bytes whose place in the ring may be changing already.
    std::uint64_t written;  ///< Bytes that are there to be read, unless the ring has passed over them.
  } streams[2];
};
inline constexpr std::uint64_t head_bytes = std::uint64_t{1} << 20;
inline constexpr std::uint64_t tail_bytes = std::uint64_t{15} << 20;
inline constexpr std::uint64_t log_header_bytes = 4096;

/// Where byte `offset` of a stream stands in the file.
constexpr std::uint64_t log_place(int stream, std::uint64_t offset) noexcept {
  const std::uint64_t inside = offset < head_bytes ? offset : head_bytes + (offset - head_bytes) % tail_bytes;
  return log_header_bytes + static_cast<std::uint64_t>(stream) * (head_bytes + tail_bytes) + inside;
}

/// How many bytes stand in one piece from `offset` on.
constexpr std::uint64_t log_run(std::uint64_t offset) noexcept {
  return offset < head_bytes ? head_bytes - offset : tail_bytes - (offset - head_bytes) % tail_bytes;
}

}  // namespace calyx::runner::protocol
