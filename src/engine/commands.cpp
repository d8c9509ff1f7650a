#include "engine/commands.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "engine/printing.hpp"
#include "json/reader.hpp"

namespace calyx::engine {
namespace {

namespace json = core::json;
using services::JobTerms;

/// How much longer than all its files together one file may be: a task that fills the disk with one file is
/// told of its disk, and not of a file's size.
constexpr std::uint64_t file_margin_mb = 1024;
/// Of a user of the tasks' own, all its tasks together.
constexpr std::uint64_t processes_max = 4096;

constexpr JobFailure failure_of(runner::How how) noexcept {
  switch (how) {
    case runner::How::succeeded: return JobFailure::none;
    case runner::How::exited_nonzero: return JobFailure::exit_nonzero;
    case runner::How::signalled: return JobFailure::signalled;
    case runner::How::timed_out: return JobFailure::timed_out;
    case runner::How::cancelled: return JobFailure::cancelled;
    case runner::How::out_of_memory: return JobFailure::out_of_memory;
    case runner::How::out_of_disk: return JobFailure::out_of_disk;
    case runner::How::result_missing: return JobFailure::result_missing;
    case runner::How::result_invalid: return JobFailure::result_invalid;
    case runner::How::not_started: return JobFailure::not_started;
    case runner::How::lost: return JobFailure::lease_lost;
  }
  return JobFailure::not_started;
}

/// Lets a group pass through the two folders above `folder`, which are the market's own.
bool let_through(const std::string& folder, gid_t group) {
  std::filesystem::path above = folder;
  for (int i = 0; i < 2 && !folder.empty(); ++i) {
    above = above.parent_path();
    if (::lchown(above.c_str(), static_cast<uid_t>(-1), group) != 0 || ::chmod(above.c_str(), 0710) != 0)
      return false;
  }
  return true;
}

/// Devices, as long as a task has them.
class Taken {
 public:
  Taken(Devices& devices, std::int64_t count, const std::function<bool()>& stopped)
      : devices_(devices), numbers_(count == 0 ? std::string() : devices.take(count, stopped)) {}
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() {
    if (!numbers_.empty()) devices_.give_back(numbers_);
  }
  const std::string& numbers() const noexcept { return numbers_; }

 private:
  Devices& devices_;
  std::string numbers_;
};

}  // namespace

std::string Devices::take(std::int64_t count, const std::function<bool()>& stopped) {
  const auto wanted = static_cast<std::size_t>(count);
  std::unique_lock lock(mutex_);
  const auto is_there = [&] {
    return static_cast<std::size_t>(std::count(free_.begin(), free_.end(), true)) >= wanted;
  };
  while (!is_there()) {
    constexpr std::chrono::milliseconds ask_every(50);
    if (wanted > free_.size() || stopped()) return {};
    given_.wait_for(lock, ask_every);
  }
  std::string numbers;
  for (std::size_t i = 0, taken = 0; taken < wanted; ++i) {
    if (!free_[i]) continue;
    free_[i] = false;
    numbers += (taken++ == 0 ? "" : ",") + std::to_string(i);
  }
  return numbers;
}

void Devices::give_back(const std::string& numbers) {
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t at = 0; at < numbers.size();
         at = std::min(numbers.find(',', at), numbers.size() - 1) + 1)
      free_[std::stoul(numbers.substr(at))] = true;
  }
  given_.notify_all();
}

Result<std::unique_ptr<Commands>> Commands::open(const CommandOptions& options, std::int64_t gpu_count) {
  CALYX_CHECK(Places::check(options));
  runner::Options wanted;
  wanted.scratch = options.scratch;
  wanted.helper = options.helper;
  wanted.readable.insert(wanted.readable.end(), options.readable.begin(), options.readable.end());
  wanted.writable = options.writable;
  wanted.landlock_required = ::geteuid() == 0;
  if (options.user && options.user->user != 0 && options.user->group == 0)
    return fail(Reason::options_invalid, "tasks of another user are not of root's group: name one of its own",
                json::object({{"field", "/commands/user"}}));
  std::error_code ignored;
  if (!options.caches.empty() &&
      (options.caches.front() != '/' || !std::filesystem::is_directory(options.caches, ignored)))
    return fail(Reason::options_invalid, "the folder for caches is not absolute, or not there",
                json::object({{"field", "/commands/caches"}}));
  if (options.user) wanted.user = runner::User{options.user->user, options.user->group};
  CALYX_TRY(std::unique_ptr<runner::Runner> runner, runner::Runner::open(std::move(wanted)));
  CALYX_TRY(std::unique_ptr<Places> places, Places::find(options, *runner));
  return std::unique_ptr<Commands>(new Commands(std::move(runner), std::move(places), options, gpu_count));
}

Result<EnclosedEnd> Commands::run_enclosed(const EnclosedTask& task, const std::function<bool()>& stopped) {
  {
    const std::lock_guard lock(mutex_);
    if (!run_enclosed_) {
      CALYX_TRY(run_enclosed_, open_enclosure(enclosure_));
    }
  }
  return run_enclosed_(task, stopped);
}

std::optional<TaskOutcome> Commands::mount(const services::KnownJob& job, const PreparedFolder& source,
                                           const std::function<bool()>& stopped, runner::Task& task,
                                           std::vector<CacheFolder>& held) {
  Result<services::Declared> declared = services::declared_in(source.manifest);
  if (!declared.ok())
    return TaskOutcome{.failure = JobFailure::source_refused, .error = declared.error().message};
  for (DataSource& one : declared->sources) {
    one.wallet = source.wallet;
    one.project = job.terms.project;
    one.project_revision = job.row.revision;
    FoundSource found = sources_.find(source.project, one, stopped);
    if (found.failure != JobFailure::none)
      return TaskOutcome{.failure = found.failure, .error = "data source " + one.name + ": " + found.text};
    task.data.push_back({one.name, std::move(found.text), std::move(one.mount_path)});
  }
  // Of no clock that a task is paid by: it only has to be another than the next task's.
  task.stamp_us = std::chrono::duration_cast<std::chrono::microseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count();
  for (CacheMount& one : declared->caches) {
    task.caches.push_back({one.name, {}, std::move(one.mount_path)});
    if (caches_.empty()) continue;
    auto most_mb = static_cast<std::uint64_t>(one.size_mb);
    if (cache_mb_ != 0) most_mb = most_mb == 0 ? cache_mb_ : std::min(most_mb, cache_mb_);
    Result<CacheFolder> folder = CacheFolder::open(caches_, source, one, most_mb, task.stamp_us, stopped);
    if (!folder.ok())
      return TaskOutcome{
          .failure = folder.reason() == Reason::stopped ? JobFailure::cancelled : JobFailure::not_started,
          .error = folder.error().message};
    if (user_ && !(let_through(folder->path(), user_->group) &&
                   ::lchown(folder->path().c_str(), user_->user, user_->group) == 0))
      return TaskOutcome{.failure = JobFailure::not_started,
                         .error = "a cache's folder cannot be opened to the tasks' user"};
    task.caches.back().path = folder->path();
    held.push_back(*std::move(folder));
  }
  return std::nullopt;
}

std::optional<TaskOutcome> Commands::run(const services::KnownJob& job, const PreparedFolder& source,
                                         const std::string& checkpoint, std::vector<runner::Input> inputs,
                                         const TaskCall& call, const Prints& prints, const Left& left) {
  const JobTerms& terms = job.terms;
  runner::Task task;
  const auto place_of = [&]() -> Result<std::optional<runner::Enclosure>> {
    if (!terms.image.empty()) return places_->of(terms.image);
    return places_->of_project(source.path, source.tarball, terms.timeout_s * 1'000, call.stopped);
  };
  ShownNames names;
  names.add_path(source.path, "project");
  names.add_path(checkpoint, "checkpoint");
  const auto no_place = [&](const Error& error) -> std::optional<TaskOutcome> {
    if (error.reason == Reason::stopped) return std::nullopt;
    return TaskOutcome{.failure = JobFailure::not_started, .error = names.shown(error.message)};
  };
  Result<std::optional<runner::Enclosure>> place = place_of();
  if (!place.ok()) return no_place(place.error());
  task.enclosure = *std::move(place);
  if (user_ && !(let_through(source.path, user_->group) && let_through(checkpoint, user_->group) &&
                 (checkpoint.empty() || ::lchown(checkpoint.c_str(), user_->user, user_->group) == 0)))
    return no_place(fail(Reason::io_error, "the market's folders cannot be opened to the tasks' user"));
  const core::Requirements& needs = terms.requirements;
  task.limits.disk_mb = needs.storage_gb != 0 ? static_cast<std::uint64_t>(needs.storage_gb) << 10 : disk_mb_;
  std::vector<CacheFolder> held;
  if (std::optional<TaskOutcome> without = mount(job, source, call.stopped, task, held)) {
    if (without->failure == JobFailure::cancelled) return std::nullopt;
    without->error = names.shown(std::move(without->error));
    return without;
  }
  for (const auto* mounts : {&task.data, &task.caches})
    for (const runner::Mount& one : *mounts)
      names.add_path(one.path, (mounts == &task.data ? "data/" : "caches/") + one.name);
  const Taken gpus(devices_, terms.requirements.gpu_count, call.stopped);
  if (terms.requirements.gpu_count != 0 && gpus.numbers().empty()) return std::nullopt;
  if (!gpus.numbers().empty()) task.gpus = gpus.numbers();
  task.inputs = std::move(inputs);
  task.argv = services::command_of(job, call.index);
  task.payload = json::canonical(call.payload);
  task.source = source.path;
  task.checkpoint_dir = checkpoint;
  task.network = network_;
  task.result_optional = terms.bare_result;
  task.limits.timeout_ms = terms.timeout_s * 1'000;
  task.limits.memory_mb = needs.memory_mb != 0 ? static_cast<std::uint64_t>(needs.memory_mb) : memory_mb_;
  if (user_) task.limits.processes = processes_max;
  task.limits.file_mb = task.limits.disk_mb == 0 ? 0 : task.limits.disk_mb + file_margin_mb;
  // A file that is there already may be appended to.
  for (const CacheFolder& one : held)
    if (task.limits.file_mb != 0) task.limits.file_mb += one.bytes() >> 20;
  // What names the image is between the host and who chose it.
  if (task.enclosure) names.add(task.enclosure->image, "[image]");
  std::optional<Printing> printing;
  runner::Watch watch;
  watch.begun = [&](const runner::Log& log, const runner::Log& err, const std::string& folder) {
    names.add_path(folder, "work");
    printing.emplace(log, err, names);
  };
  watch.cancelled = [&] {
    if (printing && printing->has_news()) prints(printing->all(false));
    return call.stopped();
  };
  watch.progress = [&](std::string_view text) {
    if (const Result<json::Value> progress = read_json(text); progress.ok()) call.progress(*progress);
  };
  runner::Ended ended = runner_->run(task, watch);
  if (ended.how == runner::How::not_started && terms.image.empty() && task.enclosure &&
      !task.enclosure->image.empty()) {
    // Somebody may have tidied up the machine's images since it was built, and another task have seen to it.
    places_->look_again(task.enclosure->image, call.stopped);
    place = place_of();
    if (!place.ok()) return no_place(place.error());
    ended = runner_->run(task, watch);
  }
  Printed printed = printing ? printing->all(true) : Printed{};
  if (ended.how == runner::How::cancelled) {
    if (printing) prints(std::move(printed));
    return std::nullopt;
  }
  const bool file_too_large = ended.how == runner::How::signalled && ended.signal == SIGXFSZ;
  TaskOutcome out{.failure = file_too_large ? JobFailure::out_of_disk : failure_of(ended.how),
                  .error = ended.message,
                  .ran_ms = ended.ran_ms,
                  .out = std::move(printed.out),
                  .err = std::move(printed.err),
                  .out_dropped = printed.out_dropped,
                  .err_dropped = printed.err_dropped};
  if (out.failure == JobFailure::none) {
    Result<json::Value> result = read_json(ended.result, {.bytes = ended.result.size()});
    if (result.ok()) {
      out.result = *std::move(result);
    } else {
      out.failure = JobFailure::result_invalid;
      out.error = result.error().message;
    }
  }
  left(ended, out);
  out.error = names.shown(std::move(out.error));
  return out;
}

}  // namespace calyx::engine
