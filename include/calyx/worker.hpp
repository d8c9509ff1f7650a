/// \file
/// Who does the work: functions of the host by name, recipes, and workers that run them on threads of their
/// own.
///
/// Start at `Engine::register_task` and `Worker::start`.
#pragma once

#include <array>
#include <calyx/enclosure.hpp>
#include <calyx/jobs.hpp>
#include <calyx/projects.hpp>
#include <calyx/version.hpp>
#include <functional>
#include <memory>

namespace calyx {

class Engine;
class Crew;  // a worker's inside

/// One task, as the function that does it sees it.
struct TaskCall {
  JobId job{};
  std::uint64_t index = 0;
  std::int64_t attempt = 1;
  const core::json::Value& payload;
  /// Whether to stop: the job was cancelled, the task's time is over, or the worker stops. Cheap to ask.
  std::function<bool()> stopped{};
  /// Tells how far it is: any JSON object. May be called as often as one likes.
  std::function<void(const core::json::Value&)> progress{};
  /// The bytes of an artifact that the job's payer may read, which its payload names by `id`. Fails:
  /// `artifact_unknown`, `too_large` (above `bytes_max`); as reading one. Empty without a market.
  std::function<Result<std::string>(std::string_view id, std::size_t bytes_max)> artifact{};
  /// The JSON that such an artifact holds. Fails also: as reading JSON (`not_json` and so on).
  std::function<Result<core::json::Value>(std::string_view id, std::size_t bytes_max)> artifact_json{};
  /// Keeps `bytes` as an artifact that the task left, as a command leaves files. Once a name. Fails:
  /// `field_value`; as storing one. Empty without a market.
  std::function<Result<Done>(std::string_view name, std::string_view bytes)> leave{};
  /// Runs a program of this machine for the task. Where the host lets no commands run, it fails:
  /// `bare_host_refused`. Empty without a market.
  RunEnclosed enclosed{};
  /// The bytes that an attempt of this task kept last, this one or one before it; empty where none did.
  /// Fails: `unsupported`: a market in memory has no place for them; `io_error`. Empty without a market.
  std::function<Result<std::string>()> checkpoint{};
  /// Keeps `bytes`, at most `checkpoint_bytes_max`, in the place of those kept before: durable, and whole or
  /// not at all. They go when the job has ended, and are no part of what it came to. Fails: `too_large`;
  /// `stopped`: the job is over, or the task somebody else's; `unsupported`; `disk_full`, `io_error`. Empty
  /// without a market.
  std::function<Result<Done>(std::string_view bytes)> keep_checkpoint{};
};
inline constexpr std::size_t checkpoint_bytes_max = std::size_t{64} << 20;

/// Gives the task's result, which must be JSON with no integer beyond 2^53 - 1 and no NaN; or an error, whose
/// message becomes the task's. What it throws is its task's failure, and nobody else's.
/// Threads: those of all workers at once. It may call the engine.
using TaskFunction = std::function<Result<core::json::Value>(const TaskCall& call)>;

/// What a recipe promises of a payload's result.
enum class RecipeClass : std::uint8_t {
  open,     ///< Nothing: it may come out differently.
  bounded,  ///< It is near the truth, within what the result says; a measurement is.
  exact,    ///< The same bytes on every machine and device, so that a receipt can be computed again.
};
inline constexpr std::array<std::string_view, 3> recipe_class_words = {"open", "bounded", "exact"};
constexpr std::string_view word(RecipeClass of) noexcept {
  return recipe_class_words[static_cast<std::size_t>(of)];
}

/// A recipe: work that anybody can name, with a payload that is checked before money is held.
struct RecipeDefinition {
  std::string name{};  ///< 1 to 128 bytes of 0x21-0x7E.
  std::string summary{};
  /// JSON Schema 2020-12 of the payload, as users read it and as each payload is judged before money is held:
  /// the subset of `core/schema.hpp`. Null: none.
  core::json::Value payload_schema{};
  std::vector<std::string> operations{};
  std::vector<std::string> artifact_inputs{};
  RecipeClass result_class = RecipeClass::open;
  /// Judges a payload beyond its schema, before money is held, and each task's of a job that fans out. Fails:
  /// `field_…` with pointers into the payload, which begin with `/payload`. Empty: the schema alone does.
  std::function<Result<Done>(const core::json::Value& payload)> check{};
  TaskFunction run{};
};

/// A folder with a system's files that stands for an image where no container tool is there.
struct ImageRoot {
  std::string image{}, folder{};  ///< As jobs name it; absolute.
};

/// A user of this machine.
struct TaskUser {
  std::uint32_t user = 0, group = 0;  ///< By their numbers. Root's group is for root alone.
};

/// Gives the absolute path of the file or folder of this machine that `source` is: what lies there stays as
/// it is, and the user of tasks may read it. Asked before a task's command begins, for what its project's
/// manifest declares and nothing else; by each worker once for a source of a revision, for as long as its
/// answer is there.
///
/// A failure that is `unavailable` is this machine's: the task is tried again, here or elsewhere, as one that
/// did not start (`source_unavailable`), at most `core::infrastructure_retries_max` times like all that
/// workers do not bring to an end. Any other one is final (`source_refused`). Nobody is charged for either,
/// and the message is shown to the payer. With `stopped` the task is given back. It may take its time, and is
/// to ask `stopped` meanwhile: that keeps the lease of a worker without a heart. Threads: those of all
/// workers, at once for different sources; for the same one where two workers ask. It may call the engine.
using FindDataSource =
    std::function<Result<std::string>(const DataSource& source, const std::function<bool()>& stopped)>;

/// How commands run: each with an environment that begins empty, a folder of its own, no network but where it
/// is let, and limits; README says which of these a kernel keeps.
///
/// A job's `image`, or the image that its project's Dockerfile makes, runs in a container where podman or
/// docker answers; else a root of that name runs under bubblewrap; else the command runs as a process of this
/// machine, if the host allows that.
struct CommandOptions {
  /// Where tasks' files lie, absolute: best a folder in memory (/dev/shm). Needed.
  std::string scratch{};
  /// The program `calyx-runner`; empty: where it was installed beside calyx.
  std::string helper{};
  /// What tasks on the bare host may read besides the system's own folders, and may write besides their own.
  std::vector<std::string> readable{}, writable{};
  bool network = false;  ///< Whether tasks, and builds of Dockerfiles, reach more than local sockets.
  /// What a task may take whose job says nothing of it in `requirements.memory_mb`: all its processes
  /// together; and in `storage_gb`: its files. 0: no limit. Units: 2^20 bytes.
  std::uint64_t memory_mb = 4'096, disk_mb = 8'192;
  /// As whom commands run, where the host is root: best a user who owns nothing, as `nobody`. It must get
  /// through to `scratch`, to `caches` and to the market's folder; the folders of projects and checkpoints
  /// beside the market, and those below `caches`, are opened to its group. Absent: as the host itself.
  /// `options_invalid`: another one where the host is not root, and group 0 for another user than root.
  std::optional<TaskUser> user{};
  FindDataSource data_sources{};  ///< Empty: what projects declare is `source_unavailable` here.
  /// An absolute folder for what projects' `cache_mounts` keep; empty: each task has an empty folder instead.
  /// Below it each project has folders of its own, which no other project's tasks reach, of this market or of
  /// another, nor one that is made later under its name. A task's `storage_gb` counts what one grows by that
  /// the task has alone: where several have it at once, in one process or in more, nobody is held to that.
  /// One that has more than `cache_mb`, or than its `size_mb` where that is less, or folders that cannot be
  /// opened or lie inside more than 64 others, is emptied when the next task comes and no other has it.
  /// Otherwise they stay: the host may remove any while no command runs.
  std::string caches{};
  std::uint64_t cache_mb = 8'192;  ///< 0: no limit of the host's. Units: 2^20 bytes.
  /// Commands may run as processes of this machine's own; those of a host that is root only where the kernel
  /// has Landlock.
  bool allow_bare_host = false;
  /// What runs containers: an absolute path of podman or docker, `none`, or `auto` for whichever answers.
  std::string containers = "auto";
  std::string bubblewrap = "auto";  ///< Likewise, for `roots`.
  std::vector<ImageRoot> roots{};
};

struct WorkerOptions {
  std::string name = "local";             ///< 1 to 128 bytes of 0x21-0x7E.
  unsigned threads = 1;                   ///< 1 to 1,024; one more keeps the leases alive.
  std::uint64_t tasks_max = 256;          ///< Leased at once by a thread: 1 to 4,096.
  std::optional<WalletId> host_wallet{};  ///< Who is paid; absent: the market's house wallet.
  core::Requirements has{};               ///< As in `LeaseAsked`.
  std::vector<std::string> gpu_types{};
  std::optional<CommandOptions> commands{};  ///< Absent: jobs with a command are not for it.
};

/// How `Session::run_job` goes on.
struct RunOptions {
  /// Asked between tasks, and by those that run: true ends the call, with the job as it is then. Empty: the
  /// job's end alone does.
  std::function<bool()> stopped{};
  /// Asked between tasks alone: true ends the call, too, once the task that has begun is at its end.
  std::function<bool()> enough{};
  /// A thread more, for the time of the call, keeps leases alive. Without it a function that takes longer
  /// than `lease_s` must ask `TaskCall::stopped` now and then, which does so.
  bool heartbeats = false;
};

/// Leases tasks of the engine's functions and recipes and does them, until it is stopped.
class CALYX_EXPORT Worker {
 public:
  /// The engine must outlive it. Fails: `field_value`; `file_missing` (no `calyx-runner`, with `looked_at` in
  /// the details), `options_invalid`; `bare_host_refused` (commands have no place to run); `no_memory` where
  /// the system gives too few threads; as any call of the engine.
  static Result<Worker> start(Engine& engine, WorkerOptions options = {});
  Worker(Worker&&) noexcept;
  Worker& operator=(Worker&&) noexcept;
  ~Worker();  ///< Stops it.
  /// Lets the tasks that run come to their end, as `TaskCall::stopped` asks them to, gives the rest back, and
  /// waits for its threads.
  void stop() noexcept;
  /// Asks it to stop and waits for nobody: its threads end once their tasks do, and `stop` waits for that.
  void ask_to_stop() noexcept;

 private:
  explicit Worker(std::unique_ptr<Crew> crew);
  std::unique_ptr<Crew> crew_;
};

}  // namespace calyx
