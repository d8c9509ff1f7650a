#include "runner/runner.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>

#include "json/reader.hpp"
#include "runner/enclosure.hpp"
#include "runner/files.hpp"
#include "runner/helper_process.hpp"
#include "runner/log.hpp"
#include "runner/protocol.hpp"

namespace calyx::runner {
namespace {

bool is_other(const User& user) noexcept { return user.user != ::geteuid() || user.group != ::getegid(); }

using protocol::Cause;
using protocol::Frame;
using protocol::Report;
using protocol::Stage;

/// How often `Watch::cancelled` is asked.
constexpr std::int64_t ask_ms = 50;

/// How much later than the task's own deadlines a supervisor must have answered, its 10 s for processes that
/// will not die among them.
constexpr std::int64_t silence_ms = 30'000;

std::int64_t now_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool absolute(const std::string& path) noexcept {
  return !path.empty() && path.front() == '/' && path.find('\0') == std::string::npos;
}

/// The words of a request, each with its NUL, behind the struct.
class Packet {
 public:
  explicit Packet(std::size_t room) { bytes_.reserve(room); }
  void add(std::string_view word) { bytes_.append(word).push_back('\0'); }
  const std::string& finish(const protocol::Request& request) {
    bytes_.insert(0, reinterpret_cast<const char*>(&request), sizeof request);
    return bytes_;
  }

 private:
  std::string bytes_;
};

/// What is wrong with `task` before anything is made for it.
Result<Done> check(const Task& task, const Options& options) {
  if (task.argv.empty() || task.argv.front().empty())
    return fail(Reason::field_missing, "the task has no command", core::json::object({{"field", "argv"}}));
  std::size_t bytes = options.path.size();
  for (const std::string& word : task.argv) {
    if (word.find('\0') != std::string::npos)
      return fail(Reason::field_value, "the command has a NUL", core::json::object({{"field", "argv"}}));
    bytes += word.size() + 1;
  }
  for (const auto& [name, value] : task.environment) bytes += name.size() + value.size() + 2;
  for (const std::string& place : task.readable) bytes += 3 * place.size() + 16;
  for (const auto* mounts : {&task.data, &task.caches})
    for (const Mount& mount : *mounts)
      bytes += 2 * mount.path.size() + mount.place.size() + options.scratch.size() + mount.name.size() + 160;
  bytes += task.source.size() + task.checkpoint_dir.size() + 8 * (options.scratch.size() + 80);
  if (bytes > protocol::request_bytes_max)
    return fail(Reason::too_large, "command and environment have " + std::to_string(bytes) +
                                       " bytes, the most is " + std::to_string(protocol::request_bytes_max));
  for (const auto* folder : {&task.source, &task.checkpoint_dir})
    if (!folder->empty() && !absolute(*folder))
      return fail(Reason::field_value, "a task's folder is not absolute");
  for (const std::string& place : task.readable)
    if (!absolute(place)) return fail(Reason::field_value, "what a task reads is not absolute");
  for (const auto* mounts : {&task.data, &task.caches})
    for (const Mount& mount : *mounts) {
      const bool fresh = mount.path.empty() && mounts == &task.caches;
      const bool is_name = !mount.name.empty() && mount.name != "." && mount.name != ".." &&
                           mount.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
      if (!is_name || !absolute(mount.place) || !(fresh || absolute(mount.path)))
        return fail(Reason::field_value, "a task's mount has no name, or a place that is not absolute");
    }
  if (task.gpus && task.gpus->find('\0') != std::string::npos)
    return fail(Reason::field_value, "the list of GPUs has a NUL");
  if (task.enclosure) CALYX_CHECK(check_enclosure(task, options.scratch));
  return check_environment(task.environment);
}

Ended refused(std::string_view why, std::string message) {
  Ended ended;
  ended.how = How::not_started;
  ended.why = why;
  ended.message = std::move(message);
  return ended;
}

/// The runner's side of a channel. Going, it ends the task and waits until that is done, since its files go
/// next.
class Channel {
 public:
  explicit Channel(int number) noexcept : number_(number) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() {
    if (closed_) return;
    ::shutdown(number_.get(), SHUT_WR);
    const std::int64_t until_ms = now_ms() + silence_ms;
    char bytes[64];
    while (!closed_ && wait(until_ms - now_ms())) receive(bytes, sizeof bytes);
  }

  /// Whether there is something to receive within `ms`.
  bool wait(std::int64_t ms) const noexcept {
    pollfd polled{number_.get(), POLLIN, 0};
    return ::poll(&polled, 1, static_cast<int>(std::clamp<std::int64_t>(ms, 0, 3'600'000))) > 0;
  }

  /// The next packet, or nothing at its end.
  std::size_t receive(char* bytes, std::size_t room) noexcept {
    ssize_t got;
    do got = ::recv(number_.get(), bytes, room, 0);
    while (got < 0 && errno == EINTR);
    if (got <= 0) closed_ = true;
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }

  bool send(std::string_view bytes) noexcept {
    ssize_t sent;
    do sent = ::send(number_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
  }

  bool closed() const noexcept { return closed_; }

 private:
  Descriptor number_;
  bool closed_ = false;
};

/// What came of talking to a supervisor.
struct Heard {
  bool begun = false;
  bool cancelled = false;  ///< Asked for, and told.
  std::optional<Report> report;
  bool silent = false;
};

/// Calls `watch` with the latest of the progress lines that are there. One that is no object is plain output.
class Progress {
 public:
  void take(std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const auto value = read_json(line, {.bytes = protocol::progress_bytes_max});
    if (value.ok() && value->object() != nullptr) latest_.assign(line);
  }
  void tell(const Watch& watch) {
    if (latest_.empty()) return;
    const std::string line = std::move(latest_);
    latest_.clear();
    watch.progress(line);
  }

 private:
  std::string latest_;
};

Heard listen(Channel& channel, const Task& task, const Watch& watch) {
  Heard heard;
  Progress progress;
  std::string packet(sizeof(Frame) + protocol::progress_bytes_max, '\0');
  const std::int64_t far_ms = std::int64_t{1} << 40;
  const std::int64_t until_ms =
      now_ms() + std::min(std::max<std::int64_t>(task.limits.timeout_ms, 0), far_ms) +
      std::min(std::max<std::int64_t>(task.limits.grace_ms, 0), far_ms) + silence_ms;
  std::int64_t ask_at_ms = now_ms();
  for (;;) {
    // By the clock, since a task may tell of progress without pause.
    const std::int64_t now = now_ms();
    const bool asks = watch.cancelled && !heard.cancelled;
    if (asks && now >= ask_at_ms) {
      ask_at_ms = now + ask_ms;
      if (watch.cancelled()) {
        heard.cancelled = true;
        channel.send({&protocol::cancel, 1});
        continue;
      }
    }
    if (now >= until_ms) {
      heard.silent = true;
      return heard;
    }
    if (!channel.wait(0)) {
      // Whatever came in one go is told as one.
      progress.tell(watch);
      if (!channel.wait((asks ? std::min(until_ms, ask_at_ms) : until_ms) - now_ms())) continue;
    }
    const std::size_t size = channel.receive(packet.data(), packet.size());
    if (size < sizeof(Frame)) return heard;
    Frame frame;
    std::memcpy(&frame, packet.data(), sizeof frame);
    const std::string_view rest(packet.data() + sizeof frame, size - sizeof frame);
    if (frame == Frame::begun) heard.begun = true;
    if (frame == Frame::progress && watch.progress) progress.take(rest);
    if (frame == Frame::report && rest.size() == sizeof(Report)) {
      Report report;
      std::memcpy(&report, rest.data(), sizeof report);
      heard.report = report;
      progress.tell(watch);
      return heard;
    }
  }
}

std::string_view stage_word(const Report& report) noexcept {
  switch (report.stage) {
    case Stage::files: return "files";
    case Stage::process: return "process";
    case Stage::limits: return "limits";
    case Stage::folder: return "folder";
    case Stage::user: return "user";
    case Stage::landlock: return "landlock";
    case Stage::command:
      return report.value == ENOENT    ? "command_missing"
             : report.value == EACCES  ? "command_not_allowed"
             : report.value == ENOEXEC ? "command_not_a_program"
                                       : "command";
    default: return "request";
  }
}

void put_not_started(Ended& ended, const Report& report, const Task& task) {
  ended.how = How::not_started;
  ended.why = stage_word(report);
  ended.message = report.stage == Stage::command ? task.argv.front().substr(0, 200) + " cannot be run"
                                                 : "the task's " + ended.why + " cannot be made ready";
  ended.message += " (errno " + std::to_string(report.value) + ")";
}

bool enclosed_in_container(const Task& task) noexcept {
  return task.enclosure && task.enclosure->kind != Enclosure::Kind::bubblewrap;
}

/// Where the tool of a container says that it has made one: beside the task's folder, out of its reach.
std::string mark_of(const TaskFolder& folder) { return folder.path() + ".container"; }

/// Its container's name: the runner's folder has one of its own, and tasks are numbered.
std::string container_of(const TaskFolder& folder) {
  const std::string& path = folder.path();
  const std::size_t number = path.rfind('/');
  const std::size_t runner = path.rfind('/', number - 1);
  return path.substr(runner + 1, number - runner - 1) + "-" + path.substr(number + 1);
}

bool was_made(const TaskFolder& folder) noexcept { return ::access(mark_of(folder).c_str(), F_OK) == 0; }

/// The last step: what the report says, and for exit code 0 what the result file says.
void put_end(Ended& ended, const Report& report, const Task& task, const TaskFolder& folder, uid_t user) {
  const auto put = [&ended](How how, std::string message) {
    ended.how = how;
    ended.message = std::move(message);
  };
  const Limits& limits = task.limits;
  switch (report.cause) {
    case Cause::signalled:
      ended.signal = report.value;
      return put(How::signalled, "the task was ended by signal " + std::to_string(report.value));
    case Cause::timed_out:
      return put(How::timed_out, "the task ran for more than " + std::to_string(limits.timeout_ms) + " ms");
    case Cause::cancelled: return put(How::cancelled, "the task was cancelled");
    case Cause::out_of_memory:
      return put(How::out_of_memory, "the task had " + std::to_string(report.memory_bytes >> 20) + " MB of " +
                                         std::to_string(limits.memory_mb));
    case Cause::out_of_disk:
      return put(How::out_of_disk, "the task's files took " + std::to_string(report.disk_bytes >> 20) +
                                       " MB of " + std::to_string(limits.disk_mb));
    case Cause::stuck: ended.why = "stuck"; return put(How::lost, "a process of the task would not die");
    case Cause::abandoned:
      ended.why = "helper_lost";
      return put(How::lost, "the helper died while the task ran");
    case Cause::not_started: return put_not_started(ended, report, task);
    case Cause::exited: break;
  }
  if (report.value != 0) {
    ended.code = report.value;
    if (enclosed_in_container(task) && report.value == container_tool_failed && !was_made(folder)) {
      ended.why = "container";
      return put(How::not_started, "the container was not made: its tool's output says why");
    }
    return put(How::exited_nonzero, "the task ended with code " + std::to_string(report.value));
  }
  auto result = read_result(folder, user, limits.result_bytes);
  if (result.ok()) {
    ended.result = *std::move(result);
    return put(How::succeeded, {});
  }
  ended.why = word(result.reason());
  if (result.reason() == Reason::file_missing) {
    ended.why.clear();
    if (!task.result_optional)
      return put(How::result_missing, "the task ended with code 0 and wrote no result");
    ended.result = "null";
    return put(How::succeeded, {});
  }
  put(How::result_invalid, result.error().message);
}

}  // namespace

std::string_view word(How how) noexcept {
  switch (how) {
    case How::succeeded: return "succeeded";
    case How::exited_nonzero: return "exited_nonzero";
    case How::signalled: return "signalled";
    case How::timed_out: return "timed_out";
    case How::cancelled: return "cancelled";
    case How::out_of_memory: return "out_of_memory";
    case How::out_of_disk: return "out_of_disk";
    case How::result_missing: return "result_missing";
    case How::result_invalid: return "result_invalid";
    case How::not_started: return "not_started";
    case How::lost: return "lost";
  }
  return "lost";
}

struct Runner::Inside {
  Options options;
  std::string helper_path;
  std::shared_ptr<Root> root;
  std::vector<std::pair<std::string, std::string>> tools;  ///< What container tools get of the environment.
  pid_t host = ::getpid();
  std::atomic<std::uint64_t> tasks{0};
  mutable std::mutex lock;
  std::shared_ptr<HelperProcess> helper;

  std::shared_ptr<HelperProcess> current() const {
    const std::lock_guard hold(lock);
    return helper;
  }

  /// Another helper than `dead`: a new one, if nobody was faster.
  Result<std::shared_ptr<HelperProcess>> another(const std::shared_ptr<HelperProcess>& dead) {
    const std::lock_guard hold(lock);
    if (helper == nullptr || helper == dead) {
      helper = nullptr;
      CALYX_TRY(helper, HelperProcess::start(helper_path, options));
    }
    return helper;
  }

  /// Gives a supervisor its end. A helper that has died since the last task is followed by another.
  Result<Done> hand_over(int channel, int log) {
    std::shared_ptr<HelperProcess> chosen = current();
    for (int tries = 0; tries < 3; ++tries) {
      if (chosen != nullptr && chosen->hand_over(channel, log)) return Done{};
      CALYX_TRY(chosen, another(chosen));
    }
    return fail(Reason::io_error, "the helper dies as soon as it is started");
  }

  std::string packet(const Task& task, const TaskFolder& folder) const;
};

/// The variables of `task`, with its folders where the command sees them.
std::vector<std::pair<std::string, std::string>> variables_of(const Task& task, const std::string& home,
                                                              const std::string& checkpoint_dir,
                                                              const std::string& path) {
  const std::string tmp = home + "/tmp";
  std::vector<std::pair<std::string, std::string>> variables = {
      {"HOME", tmp},
      {"TMPDIR", tmp},
      {"COMPUTALOT_TASK_PAYLOAD", home + "/payload.json"},
      {"COMPUTALOT_TASK_RESULT", home + "/result.json"},
      {"COMPUTALOT_ARTIFACT_DIR", home + "/artifacts"}};
  if (!task.inputs.empty()) variables.emplace_back("COMPUTALOT_INPUT_DIR", home + "/inputs");
  if (!checkpoint_dir.empty()) variables.emplace_back("COMPUTALOT_CHECKPOINT_DIR", checkpoint_dir);
  if (!task.data.empty()) variables.emplace_back("COMPUTALOT_DATA_DIR", home + "/data");
  if (!task.caches.empty()) variables.emplace_back("COMPUTALOT_CACHE_DIR", home + "/caches");
  // A container tool passes devices on and numbers them anew.
  if (task.gpus && !enclosed_in_container(task)) variables.emplace_back("CUDA_VISIBLE_DEVICES", *task.gpus);
  const auto brings = [&task](std::string_view name) {
    return std::any_of(task.environment.begin(), task.environment.end(),
                       [name](const auto& pair) { return pair.first == name; });
  };
  // An image has a PATH of its own.
  if (!brings("PATH") && !enclosed_in_container(task)) variables.emplace_back("PATH", path);
  if (!brings("LANG")) variables.emplace_back("LANG", "C.UTF-8");
  if (!brings("TZ")) variables.emplace_back("TZ", "UTC");
  variables.insert(variables.end(), task.environment.begin(), task.environment.end());
  return variables;
}

std::string Runner::Inside::packet(const Task& task, const TaskFolder& folder) const {
  const Limits& limits = task.limits;
  const bool in_container = enclosed_in_container(task);
  const bool drops = options.user && is_other(*options.user);
  protocol::Request request{};
  request.timeout_ms = std::max<std::int64_t>(limits.timeout_ms, 0);
  request.grace_ms = std::max<std::int64_t>(limits.grace_ms, 0);
  constexpr std::uint64_t mb_max = std::uint64_t{1} << 40;
  request.disk_bytes = std::min(limits.disk_mb, mb_max) << 20;
  if (!in_container) {  // else the tool sets them, on the container and not on itself
    request.memory_bytes = std::min(limits.memory_mb, mb_max) << 20;
    request.file_bytes = std::min(limits.file_mb, mb_max) << 20;
    request.open_files = limits.open_files;
    request.cpu_s = limits.cpu_s;
    request.processes = limits.processes;
  }
  request.stamp_us = task.stamp_us;
  request.network = task.network;
  request.gpu = task.gpus.has_value();
  request.landlock_required = options.landlock_required;
  request.trusted = task.trusted || task.enclosure;
  if (drops) {
    request.drop_user = 1;
    request.uid = options.user->user;
    request.gid = options.user->group;
  }
  std::string search = options.path;
  for (const auto& [name, value] : task.environment)
    if (name == "PATH") search = value;

  std::vector<std::string> argv = task.argv;
  std::vector<std::pair<std::string, std::string>> variables;
  if (task.enclosure) {
    variables = variables_of(
        task, std::string(inside_task),
        std::string(task.checkpoint_dir.empty() ? std::string_view() : inside_checkpoint), options.path);
    argv = command_of(*task.enclosure, {.task = task,
                                        .folder = folder.path(),
                                        .name = container_of(folder),
                                        .mark = mark_of(folder),
                                        .variables = variables,
                                        .user = drops ? *options.user : User{::geteuid(), ::getegid()}});
  }
  if (in_container || task.trusted) {
    variables = tools;
    variables.emplace_back("PATH", options.path);
  } else if (!task.enclosure) {
    variables = variables_of(task, folder.path(), task.checkpoint_dir, options.path);
  }

  Packet words(4096);
  words.add(task.source.empty() ? folder.path() + "/tmp" : task.source);
  words.add(search);
  words.add(folder.path());
  request.writable = 1;
  if (!task.checkpoint_dir.empty()) {
    words.add(task.checkpoint_dir);
    ++request.writable;
  }
  for (const Mount& cache : task.caches) {
    if (cache.path.empty()) continue;
    words.add(cache.path);
    ++request.writable;
    ++request.caches;
  }
  if (!task.source.empty()) {
    words.add(task.source);
    request.readable = 1;
  }
  if (!request.trusted) {
    for (const std::string& place : task.readable) words.add(place);
    for (const Mount& mount : task.data) words.add(mount.path);
    request.readable += static_cast<std::uint32_t>(task.readable.size() + task.data.size());
  }
  for (const std::string& word : argv) words.add(word);
  request.arguments = static_cast<std::uint32_t>(argv.size());
  for (const auto& [name, value] : variables) words.add(std::string(name) + "=" + value);
  request.variables = static_cast<std::uint32_t>(variables.size());
  return words.finish(request);
}

Result<std::unique_ptr<Runner>> Runner::open(Options options) {
  if (!absolute(options.scratch))
    return fail(Reason::options_invalid, "the scratch folder is not absolute",
                core::json::object({{"field", "scratch"}}));
  if (options.user && is_other(*options.user) && ::geteuid() != 0)
    return fail(Reason::options_invalid, "only root may run tasks as another user",
                core::json::object({{"field", "user"}}));
  while (options.scratch.size() > 1 && options.scratch.back() == '/') options.scratch.pop_back();
  auto inside = std::make_unique<Inside>();
  CALYX_TRY(inside->helper_path, find_helper(options.helper));
  CALYX_TRY(inside->root, Root::make(options.scratch));
  CALYX_TRY(inside->helper, HelperProcess::start(inside->helper_path, options));
  for (const char* name : tool_variables)
    if (const char* value = ::secure_getenv(name); value != nullptr)  // NOLINT(concurrency-mt-unsafe)
      inside->tools.emplace_back(name, value);
  inside->options = std::move(options);
  return std::unique_ptr<Runner>(new Runner(std::move(inside)));
}

Runner::Runner(std::unique_ptr<Inside> inside) noexcept : inside_(std::move(inside)) {}
Runner::~Runner() = default;

pid_t Runner::helper() const {
  const auto helper = inside_->current();
  return helper == nullptr ? -1 : helper->number();
}

/// Ends the container of `task`, which is a child of the tool's daemon and may outlive the tool.
void Runner::end_container(const Task& task, const std::string& name, const std::string& mark) {
  if (::unlink(mark.c_str()) != 0) return;  // none was made
  Task removal{
      .argv = {task.enclosure->program, "rm", "--force", name}, .trusted = true, .result_optional = true};
  removal.limits.timeout_ms = 30'000;
  static_cast<void>(run(removal));
}

Ended Runner::run(const Task& task, const Watch& watch) {
  const Options& options = inside_->options;
  if (::getpid() != inside_->host) return refused("forked", "the runner belongs to another process");
  if (auto fine = check(task, options); !fine.ok()) return refused(word(fine.reason()), fine.error().message);

  const bool drops = options.user && is_other(*options.user);
  std::optional<Owner> owner;
  if (drops) owner = Owner{options.user->user, options.user->group};
  auto folder = TaskFolder::make(inside_->root, ++inside_->tasks, task.payload, owner);
  if (!folder.ok()) return refused(word(folder.reason()), folder.error().message);
  if (const auto written = write_inputs(**folder, task.inputs, owner); !written.ok())
    return refused(word(written.reason()), written.error().message);
  if (const auto linked = link_mounts(**folder, task, owner); !linked.ok())
    return refused(word(linked.reason()), linked.error().message);
  auto log = make_log(*inside_->root);
  if (!log.ok()) return refused(word(log.reason()), log.error().message);

  Ended ended;
  ended.folder_ = *folder;
  const auto file = std::make_shared<const Log::File>(Log::File{*std::move(log)});
  ended.out = Log(file, 0);
  ended.err = Log(file, 1);

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return refused("files", "a task's channel cannot be made (errno " + std::to_string(errno) + ")");
  Descriptor theirs(ends[1]);
  Channel channel(ends[0]);
  if (!channel.send(inside_->packet(task, **folder)))
    return refused("files", "a task's request cannot be sent (errno " + std::to_string(errno) + ")");
  if (watch.begun) watch.begun(ended.out, ended.err, (*folder)->path());
  if (auto given = inside_->hand_over(theirs.get(), file->descriptor.get()); !given.ok())
    return refused("helper_lost", given.error().message);
  theirs.close();

  const Heard heard = listen(channel, task, watch);
  if (!heard.report) {
    if (enclosed_in_container(task)) end_container(task, container_of(**folder), mark_of(**folder));
    ended.how = heard.begun || heard.silent ? How::lost : How::not_started;
    ended.why = heard.silent ? "silent" : "helper_lost";
    ended.message = heard.silent ? "the task's supervisor does not answer" : "the task's supervisor died";
    return ended;
  }
  const Report& report = *heard.report;
  ended.ran_ms = report.ran_us / 1000;
  ended.cpu_us = report.cpu_us;
  ended.memory_bytes = report.memory_bytes;
  ended.strays = report.strays;
  ended.rungs.landlock_abi = report.landlock_abi;
  ended.rungs.user_dropped = report.user_dropped != 0;
  ended.rungs.root = report.user_dropped == 0 && ::geteuid() == 0;
  ended.rungs.tcp_denied = report.tcp_denied != 0;
  ended.rungs.sockets_denied = report.sockets_denied != 0;
  ended.rungs.signals_scoped = report.signals_scoped != 0;
  ended.rungs.no_new_privileges = report.no_new_privileges != 0;
  ended.rungs.memory_watched = task.limits.memory_mb != 0;
  ended.rungs.emptied = report.cause != Cause::stuck;
  put_end(ended, report, task, **folder, drops ? options.user->user : ::geteuid());
  if (enclosed_in_container(task)) {
    if (report.cause == Cause::exited)
      ::unlink(mark_of(**folder).c_str());  // it is gone by itself
    else
      end_container(task, container_of(**folder), mark_of(**folder));
  }
  if (ended.rungs.emptied && report.cause != Cause::not_started)
    gather_artifacts(**folder, task.limits, ended.artifacts);
  // Who keeps the answer should not keep descriptors and files for nothing.
  if (ended.artifacts.found.empty()) ended.folder_ = nullptr;
  if (ended.out.written() == 0) ended.out = Log();
  if (ended.err.written() == 0) ended.err = Log();
  return ended;
}

Result<int> Ended::open(const Artifact& artifact) const {
  if (folder_ == nullptr) return fail(Reason::file_missing, "the task left nothing");
  CALYX_TRY(Descriptor file, open_artifact(*folder_, artifact));
  return file.release();
}

}  // namespace calyx::runner
