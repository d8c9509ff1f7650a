/// \file
/// Tasks as processes of this machine: one command, its input as a file, its output as a file, and exactly
/// how it ended. Nothing here knows of money, jobs or a store.
///
/// Start at `Runner::open`, then `Runner::run`, which returns when the task and all that came of it are gone.
/// The command finds the path of its input in `COMPUTALOT_TASK_PAYLOAD`, writes its output to the path in
/// `COMPUTALOT_TASK_RESULT` and files to keep into the folder in `COMPUTALOT_ARTIFACT_DIR`; exit code 0 is
/// success. A line on its stdout that begins with `COMPUTALOT_PROGRESS:` and goes on as a JSON object is
/// progress.
///
/// Processes are started by a helper, the program `calyx-runner`: forking the host would copy its page
/// tables, and only a process of its own can be the reaper of all that a task starts without a signal handler
/// in the host.
///
/// What holds for each task, as far as `Rungs` says so: it has the environment named at `Task::environment`
/// and no descriptor but 0, 1 and 2; it writes below its own folder, its checkpoint folder and its caches
/// only, and reads those, its source, its data and `Options::readable`; it makes no sockets but local ones
/// unless `Task::network`; it signals nobody outside; it leaves no core file, has no capability even as root,
/// gains none by a set-user-id program, and no process of it outlives `run`.
///
/// Owns: a runner makes one folder below `Options::scratch`, which goes with it and the last `Ended` of it.
/// Threads: any; `run` from as many as the caller has, each call on its own thread until it returns.
/// Processes: in a forked child of the host, calls answer `not_started` with `forked`.
#pragma once

#include <sys/types.h>

#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::runner {

/// How much a task may take. 0 means that a limit is not set, where it does not say otherwise.
struct Limits {
  std::int64_t timeout_ms = 3'600'000;  ///< From its start on; then its group gets TERM. 0 is at once.
  std::int64_t grace_ms = 5'000;        ///< From TERM to KILL, for a timeout and for a cancellation.
  std::uint64_t memory_mb = 0;          ///< Of all its processes together, looked at 5 to 50 times a second.
  /// What it may write to, all together, and of caches what they grow by; looked at 1 to 5 times a second. A
  /// checkpoint or a cache with folders that cannot be looked into has too much.
  std::uint64_t disk_mb = 8192;
  std::uint64_t file_mb = 4096;     ///< Each file that it writes; its logs are no files of its own.
  std::uint64_t open_files = 1024;  ///< A process.
  std::uint64_t cpu_s = 0;          ///< A process.
  std::uint64_t processes = 0;      ///< Of its user, as the kernel counts: only with a user of its own.
  std::size_t result_bytes = std::size_t{16} << 20;       ///< 0 is none.
  std::size_t artifacts = 10'000;                         ///< 0 is none; also the next two.
  std::uint64_t artifact_bytes = std::uint64_t{2} << 30;  ///< All artifacts together.
  std::size_t artifact_depth = 16;                        ///< Folders inside one another, at most 32.
};

/// A file that a task is given to read, at `path` below COMPUTALOT_INPUT_DIR.
struct Input {
  std::string path;  ///< Relative, without empty names, "." and "..".
  /// Fills `out` with what begins at `offset`, and gives how much that was; 0 at the end.
  std::function<Result<std::size_t>(std::uint64_t offset, std::span<char> out)> read;
};

/// A place of this machine that a task finds at another one.
struct Mount {
  std::string name;   ///< No path, and neither "." nor "..": what it is called below the folder of its kind.
  std::string path;   ///< Absolute. Of a cache it may be empty: a new folder in the task's own.
  std::string place;  ///< Where an enclosure has it, absolute; elsewhere it is found where it is.
};

/// Where a command runs instead of this machine's own system. What keeps it there is the tool's doing: the
/// rungs of `Rungs` are those of the tool's own process. A container of docker's is no child of its tool:
/// where the task did not end by itself the tool is asked to remove it, and a daemon that is gone leaves it
/// running.
struct Enclosure {
  enum class Kind : std::uint8_t { docker, podman, bubblewrap };
  Kind kind = Kind::docker;
  std::string program;  ///< Its command line tool, absolute.
  std::string image;    ///< With docker and podman: the image's name.
  /// With bubblewrap: a folder with a system's files, absolute; or empty, for what `Task::readable` names
  /// alone.
  std::string root;
};

struct Task {
  /// The command, no shell: a first word without a slash is looked for in the PATH of the task's environment.
  std::vector<std::string> argv;
  std::string payload = "{}";  ///< JSON text, which is written as it is.
  std::string source;          ///< A folder, absolute, to start in and read; or empty: one of its own.
  std::vector<Input> inputs;   ///< Copied into its folder before it starts, within `disk_mb`.
  /// What it may read besides `Options::readable`, absolute and there: in a root of bubblewrap's, too, at the
  /// same place. Not in containers.
  std::vector<std::string> readable;
  std::string checkpoint_dir;  ///< A folder, absolute, to write as its user may; or empty.
  std::vector<Mount> data;     ///< To read, below COMPUTALOT_DATA_DIR.
  std::vector<Mount> caches;   ///< To write as its user may, below COMPUTALOT_CACHE_DIR.
  /// The modification time of the folder above each cache, for as long as no other task has come to that
  /// cache: from then on nobody can tell who makes it grow, and `disk_mb` leaves it out. 0: nobody comes.
  std::int64_t stamp_us = 0;
  /// Variables beyond PATH, HOME, TMPDIR, LANG, TZ and the runner's own. PATH, LANG and TZ may be among them.
  std::vector<std::pair<std::string, std::string>> environment;
  std::optional<std::string> gpus;  ///< CUDA_VISIBLE_DEVICES, and with it the devices of GPUs.
  bool network = false;             ///< Whether it may use more than local sockets.
  std::optional<Enclosure> enclosure;
  /// The command is the host's own tool, and runs with the host's rights: no Landlock, no lost capability.
  bool trusted = false;
  bool result_optional = false;  ///< Without a file of its own the result is null.
  Limits limits;
};

/// Whether a task may have these variables: a name is letters, digits and underscores, a value has no NUL.
///
/// Fails: `field_value` with `name` and the broken `rule` in the details: `name`, `value`, `reserved` (the
/// runner sets it), `loader` (LD_*, PYTHON* and what else changes the code that a program loads),
/// `credential` (a name that says so: what a task needs to know belongs in its payload), `twice`,
/// `too_large`.
Result<Done> check_environment(const std::vector<std::pair<std::string, std::string>>& environment);

enum class How : std::uint8_t {
  succeeded,       ///< Exit code 0 and a result.
  exited_nonzero,  ///< `code`. A container that was killed inside has 137.
  signalled,       ///< `signal`.
  timed_out,
  cancelled,
  out_of_memory,   ///< It had more than `memory_mb`.
  out_of_disk,     ///< Its files took more than `disk_mb`.
  result_missing,  ///< Exit code 0, and no file.
  result_invalid,  ///< Exit code 0, and a file that is refused: `why`.
  not_started,     ///< Nothing ran: `why`.
  lost,            ///< It began, and how it ended is not known: `why`. It was killed; with `stuck` in vain.
};

/// The word for it: `exited_nonzero`.
std::string_view word(How how) noexcept;

/// One stream of a task's output. The first MB that was written and the last 15 MB are kept.
///
/// It is a view of a file that has no name any more, and lives as long as its last copy.
/// Threads: any, also while the task writes.
class Log {
 public:
  /// What was asked for, as far as it is kept.
  struct Piece {
    std::uint64_t offset = 0;  ///< Of its first byte: later than asked when that part was dropped.
    std::string bytes;         ///< As written, whatever it is; empty when there is nothing yet.
  };

  Log() noexcept = default;

  std::uint64_t written() const noexcept;  ///< Bytes so far.
  std::uint64_t dropped() const noexcept;  ///< Of those, the ones that are no longer kept.

  /// Up to `bytes_max` bytes from `offset` on, never across a gap: the next call starts behind the last
  /// piece.
  Piece read(std::uint64_t offset, std::size_t bytes_max) const;

  /// All that is kept, one after the other.
  std::string text() const;

 private:
  friend class Runner;
  struct File;
  Log(std::shared_ptr<const File> file, int stream) noexcept : file_(std::move(file)), stream_(stream) {}
  std::shared_ptr<const File> file_;
  int stream_ = 0;
};

/// A file that a task left to keep.
struct Artifact {
  std::string name;        ///< Relative, with slashes, UTF-8 without control characters.
  std::uint64_t size = 0;  ///< Units: bytes.
};

/// What a task left in its artifact folder.
struct Artifacts {
  /// What was not taken, and why: `link`, `not_a_file`, `many_links`, `name`, `too_deep`, `too_large`,
  /// `too_many`, `unreadable`.
  struct Skipped {
    std::string name;
    std::string_view why;
  };
  std::vector<Artifact> found;   ///< In the order of their names.
  std::vector<Skipped> skipped;  ///< The first 100.
  std::uint64_t skipped_in_all = 0;
};

/// Which limits held. A host that needs one looks here, or sets `Options::landlock_required`.
struct Rungs {
  int landlock_abi = 0;         ///< 0: the kernel has none, so the task had all the rights of its user.
  bool user_dropped = false;    ///< It ran as `Options::user`.
  bool root = false;            ///< It ran as root.
  bool tcp_denied = false;      ///< Neither listening nor connecting, as Landlock keeps it.
  bool sockets_denied = false;  ///< It could make local sockets only, as seccomp keeps it.
  bool signals_scoped = false;  ///< It could signal its own processes only, even with the host's user.
  bool no_new_privileges = false;
  bool memory_watched = false;
  bool emptied = false;  ///< No process of it is left.
};

/// How a task ended.
struct Ended {
  How how = How::not_started;
  int code = 0;         ///< With `exited_nonzero`.
  int signal = 0;       ///< With `signalled`.
  std::string why;      ///< One word, where `How` says so.
  std::string message;  ///< One line for a person, with the numbers in it; empty for `succeeded`.
  std::string result;   ///< Canonical JSON (RFC 8785), with `succeeded`.
  std::int64_t ran_ms = 0;
  std::int64_t cpu_us = 0;         ///< Of all its processes.
  std::uint64_t memory_bytes = 0;  ///< Of its largest process, or more where `memory_mb` had it looked at.
  std::uint32_t strays = 0;        ///< Processes that it had left behind, and that were killed.
  Log out;
  Log err;
  Artifacts artifacts;  ///< Also of a task that failed.
  Rungs rungs;

  /// Opens an artifact for reading; the caller closes it. Fails: `file_missing`, `io_error`.
  Result<int> open(const Artifact& artifact) const;

 private:
  friend class Runner;
  std::shared_ptr<const class TaskFolder> folder_;
};

/// What a caller wants to hear of a running task. All are called on the thread of `run`; one that throws ends
/// the task, and what it threw passes once the task is gone.
struct Watch {
  /// Once, before the command runs; `folder` is the task's own, outside of any enclosure.
  std::function<void(const Log& out, const Log& err, const std::string& folder)> begun;
  std::function<void(std::string_view json)> progress;  ///< The latest object, as it was written.
  std::function<bool()> cancelled;                      ///< Asked 20 times a second; true ends the task.
};

struct User {
  uid_t user = 0;
  gid_t group = 0;
};

struct Options {
  std::string
      scratch;  ///< An absolute folder for tasks' files. Best on tmpfs; a dropped user must get through it.
  std::string
      helper;  ///< The path of `calyx-runner`; empty: beside calyx, in its libexec, then `CALYX_RUNNER`.
  std::optional<User> user;  ///< Whom tasks run as. Only root may give another than its own.
  /// What every task may read; what is not there is left out. A host's own files are not to be among them.
  /// Of /etc what programs cannot do without, and nothing that is root's alone: the host may be root.
  std::vector<std::string> readable = {"/usr",
                                       "/bin",
                                       "/sbin",
                                       "/lib",
                                       "/lib32",
                                       "/lib64",
                                       "/libx32",
                                       "/opt",
                                       "/proc",
                                       "/sys",
                                       "/run/systemd/resolve",
                                       "/etc/alternatives",
                                       "/etc/crypto-policies",
                                       "/etc/pki/ca-trust",
                                       "/etc/pki/tls/certs",
                                       "/etc/pki/tls/openssl.cnf",
                                       "/etc/ca-certificates",
                                       "/etc/fonts",
                                       "/etc/group",
                                       "/etc/host.conf",
                                       "/etc/hosts",
                                       "/etc/ld.so.cache",
                                       "/etc/ld.so.conf",
                                       "/etc/ld.so.conf.d",
                                       "/etc/localtime",
                                       "/etc/mime.types",
                                       "/etc/nsswitch.conf",
                                       "/etc/OpenCL",
                                       "/etc/os-release",
                                       "/etc/passwd",
                                       "/etc/protocols",
                                       "/etc/resolv.conf",
                                       "/etc/services",
                                       "/etc/ssl/certs",
                                       "/etc/ssl/openssl.cnf",
                                       "/etc/timezone",
                                       "/etc/vulkan"};
  std::vector<std::string> writable;  ///< What every task may write besides: /dev/shm, for some programs.
  std::string path = "/usr/local/bin:/usr/bin:/bin";  ///< A task's PATH, if it brings none.
  bool landlock_required = false;  ///< Tasks do not start where the kernel has no Landlock.
};

class Runner {
 public:
  /// Starts the helper and makes the runner's folder.
  ///
  /// Fails: `options_invalid` (a path that is not absolute, a user that this one may not become),
  /// `file_missing` with `looked_at` in the details (no helper), `unsupported` (the helper is of another
  /// build, or the kernel is older than 5.3), `io_error`, `disk_full`, `no_memory`.
  static Result<std::unique_ptr<Runner>> open(Options options);

  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  /// Ends the helper. No call may be running.
  ~Runner();

  /// Runs `task` to its end. A helper that has died is started anew first.
  Ended run(const Task& task, const Watch& watch = {});

  /// The helper's process, for who looks after processes. It changes when a helper has died.
  pid_t helper() const;

 private:
  struct Inside;
  void end_container(const Task& task, const std::string& name, const std::string& mark);
  explicit Runner(std::unique_ptr<Inside> inside) noexcept;
  std::unique_ptr<Inside> inside_;
};

}  // namespace calyx::runner
