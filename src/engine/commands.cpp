#include "engine/commands.hpp"

#include <array>

#include "json/reader.hpp"

namespace calyx::engine {
namespace {

namespace json = core::json;

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

}  // namespace

Result<std::unique_ptr<Commands>> Commands::open(const CommandOptions& options) {
  if (!options.allow_bare_host)
    return fail(Reason::bare_host_refused,
                "commands would run as processes of this machine: set allow_bare_host if they may",
                json::object({{"field", "/commands/allow_bare_host"}}));
  runner::Options wanted;
  wanted.scratch = options.scratch;
  wanted.helper = options.helper;
  wanted.readable.insert(wanted.readable.end(), options.readable.begin(), options.readable.end());
  wanted.writable = options.writable;
  CALYX_TRY(std::unique_ptr<runner::Runner> runner, runner::Runner::open(std::move(wanted)));
  return std::unique_ptr<Commands>(new Commands(std::move(runner), options.network));
}

std::optional<TaskOutcome> Commands::run(const services::KnownJob& job, const std::string& source,
                                         const std::string& checkpoint, std::vector<runner::Input> inputs,
                                         const TaskCall& call, const Left& left) {
  runner::Task task;
  task.inputs = std::move(inputs);
  task.argv = job.terms.command;
  task.payload = json::canonical(call.payload);
  task.source = source;
  task.checkpoint_dir = checkpoint;
  task.network = network_;
  task.limits.timeout_ms = job.terms.timeout_s * 1'000;
  task.limits.memory_mb = static_cast<std::uint64_t>(job.terms.requirements.memory_mb);
  runner::Watch watch;
  watch.cancelled = call.stopped;
  watch.progress = [&](std::string_view text) {
    if (const Result<json::Value> progress = read_json(text); progress.ok()) call.progress(*progress);
  };
  const runner::Ended ended = runner_->run(task, watch);
  if (ended.how == runner::How::cancelled) return std::nullopt;
  TaskOutcome out{.failure = failure_of(ended.how),
                  .error = ended.message,
                  .ran_ms = ended.ran_ms,
                  .out = end_of(ended.out),
                  .err = end_of(ended.err)};
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
