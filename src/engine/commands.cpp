#include "engine/commands.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "json/reader.hpp"

namespace calyx::engine {
namespace {

namespace json = core::json;
using services::JobTerms;

constexpr std::uint64_t file_margin_mb = 1024;
/// Of a user of the tasks' own, all its tasks together.
constexpr std::uint64_t processes_max = 4096;

/// What of each stream is kept with the task: its end, which says why.
constexpr std::uint64_t output_bytes_max = std::uint64_t{256} << 10;

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

/// The bytes of one character of UTF-8 at the front of `text`; 0 where there is none, or a zero byte.
std::size_t character(std::string_view text) noexcept {
  for (std::size_t bytes = 1; bytes <= 4 && bytes <= text.size(); ++bytes)
    if (json::valid_utf8(text.substr(0, bytes))) return text[0] == '\0' ? 0 : bytes;
  return 0;
}

/// `bytes` as text: what is no UTF-8 is spelled `\xHH`, so that nothing is lost and the rest can be read.
std::string as_text(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (json::valid_utf8(bytes) && bytes.find('\0') == std::string_view::npos) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t size = character(bytes);
    if (size != 0) {
      out += bytes.substr(0, size);
    } else {
      const auto octet = static_cast<unsigned char>(bytes[0]);
      out += {'\\', 'x', digits[octet >> 4], digits[octet & 15]};
    }
    bytes.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

std::string end_of(const runner::Log& log) {
  const std::uint64_t written = log.written();
  std::uint64_t offset = written > output_bytes_max ? written - output_bytes_max : 0;
  std::string bytes;
  for (;;) {
    const runner::Log::Piece piece = log.read(offset, output_bytes_max);
    if (piece.bytes.empty()) break;
    bytes += piece.bytes;
    offset = piece.offset + piece.bytes.size();
  }
  return as_text(bytes);
}

/// `text` without what names the image: that is between the host and who chose it.
void redact(std::string& text, const std::string& image) {
  constexpr std::string_view shown = "[image]";
  if (image.empty()) return;
  for (std::size_t at = text.find(image); at != std::string::npos; at = text.find(image, at + shown.size()))
    text.replace(at, image.size(), shown);
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

std::optional<TaskOutcome> Commands::run(const services::KnownJob& job, const PreparedFolder& source,
                                         const std::string& checkpoint, std::vector<runner::Input> inputs,
                                         const TaskCall& call, const Left& left) {
  const JobTerms& terms = job.terms;
  runner::Task task;
  const auto place_of = [&]() -> Result<std::optional<runner::Enclosure>> {
    if (!terms.image.empty()) return places_->of(terms.image);
    return places_->of_project(source.path, source.tarball, terms.timeout_s * 1'000, call.stopped);
  };
  const auto no_place = [](const Error& error) -> std::optional<TaskOutcome> {
    if (error.reason == Reason::stopped) return std::nullopt;
    return TaskOutcome{.failure = JobFailure::not_started, .error = error.message};
  };
  Result<std::optional<runner::Enclosure>> place = place_of();
  if (!place.ok()) return no_place(place.error());
  task.enclosure = *std::move(place);
  if (user_ && !(let_through(source.path, user_->group) && let_through(checkpoint, user_->group) &&
                 (checkpoint.empty() || ::lchown(checkpoint.c_str(), user_->user, user_->group) == 0)))
    return no_place(fail(Reason::io_error,
                         "the folders of projects or checkpoints cannot be opened to the "
                         "tasks' user"));
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
  const core::Requirements& needs = terms.requirements;
  task.limits.memory_mb = needs.memory_mb != 0 ? static_cast<std::uint64_t>(needs.memory_mb) : memory_mb_;
  task.limits.disk_mb = needs.storage_gb != 0 ? static_cast<std::uint64_t>(needs.storage_gb) << 10 : disk_mb_;
  // Somewhat above: a task that fills the disk with one file is told of its disk, not of a file's size.
  if (user_) task.limits.processes = processes_max;
  task.limits.file_mb = task.limits.disk_mb == 0 ? 0 : task.limits.disk_mb + file_margin_mb;
  runner::Watch watch;
  watch.cancelled = call.stopped;
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
  if (ended.how == runner::How::cancelled) return std::nullopt;
  const bool file_too_large = ended.how == runner::How::signalled && ended.signal == SIGXFSZ;
  TaskOutcome out{.failure = file_too_large ? JobFailure::out_of_disk : failure_of(ended.how),
                  .error = ended.message,
                  .ran_ms = ended.ran_ms,
                  .out = end_of(ended.out),
                  .err = end_of(ended.err)};
  if (task.enclosure)
    for (std::string* text : {&out.out, &out.err, &out.error}) redact(*text, task.enclosure->image);
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
  return out;
}

}  // namespace calyx::engine
