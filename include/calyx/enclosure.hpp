/// \file
/// Programs of this machine, run for a stranger's sake: with files of their own, nothing else to write,
/// little to read, no network, and limits.
///
/// Start at `open_enclosure`. What it gives is handed to `prop_amm::Strategy::validate`; a worker with
/// `CommandOptions` gives recipes one by itself (`TaskCall::enclosed`).
///
/// Threads: any, as many at once as the caller has.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/version.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace calyx {

/// A file that an enclosed program finds below its input folder.
struct EnclosedFile {
  std::string name{};  ///< Relative, without empty names, "." and "..".
  std::string bytes{};
};

/// What is to be run. It may read the programs and libraries of the system and those of `tool`, and its own
/// files; it may write to its own folders alone, makes no sockets but local ones, and goes with all that it
/// started.
struct EnclosedTask {
  /// The command; its first word is absolute. Its variables are those of a job's command: the files lie in
  /// `COMPUTALOT_INPUT_DIR`, and `TMPDIR` is a folder to write to.
  std::vector<std::string> argv{};
  std::vector<EnclosedFile> files{};
  /// A program that it needs of the host besides: `rustc`, whose path then is the value of `RUSTC`; or empty.
  std::string tool{};
  std::int64_t timeout_ms = 120'000;  ///< In all.
  std::uint64_t cpu_s = 60;           ///< Of each process.
  std::uint64_t memory_mb = 2'048;    ///< Of all its processes together.
  std::uint64_t disk_mb = 512;        ///< Of its folders.
};

/// How it ended.
struct EnclosedEnd {
  /// `exited`, with `code`; or `signalled`, `timed_out`, `out_of_memory`, `out_of_disk`, `lost`.
  std::string how{};
  int code = 0;
  std::string out{}, err{};  ///< What it wrote; of more than 16 MB each, the beginning and the end.
};

/// Runs a task to its end, on the caller's thread. `stopped` is asked 20 times a second: true ends it.
///
/// Fails: `stopped`; `file_missing` with `tool` in the details, where the host has no such program;
/// `bare_host_refused`, where there is no place in which it would be held; `unsupported` for a tool of
/// another name; as making its folder.
using RunEnclosed =
    std::function<Result<EnclosedEnd>(const EnclosedTask&, const std::function<bool()>& stopped)>;

/// Where and how: the members are those of `CommandOptions`, and mean the same.
struct EnclosureOptions {
  std::string scratch{};  ///< An absolute folder, best in memory, that lets programs run.
  std::string helper{};   ///< The program `calyx-runner`; empty: where it was installed beside calyx.
  std::string bubblewrap = "auto";  ///< An absolute path, `none`, or `auto`.
  /// Without bubblewrap the kernel's Landlock alone may hold a program, which then shares the host's
  /// processes' namespaces. Without that, too, nothing is run.
  bool allow_bare_host = false;
};

/// Starts `calyx-runner` and looks for what holds a program here. What is given owns it, and each copy does.
///
/// Fails: `options_invalid`, `file_missing` (no helper, with `looked_at` in the details),
/// `bare_host_refused`, `unsupported` (the helper is of another build), `io_error`, `no_memory`.
CALYX_EXPORT Result<RunEnclosed> open_enclosure(const EnclosureOptions& options);

}  // namespace calyx
