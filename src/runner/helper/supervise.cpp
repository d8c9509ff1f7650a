#include "runner/helper/supervise.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runner/disk.hpp"
#include "runner/helper/capture.hpp"
#include "runner/helper/processes.hpp"
#include "runner/helper/sockets.hpp"
#include "runner/protocol.hpp"

namespace calyx::runner::helper {
namespace {

using protocol::Cause;
using protocol::Frame;
using protocol::Report;
using protocol::Request;
using protocol::Stage;

/// How long killed processes may take to be gone before the task counts as stuck.
constexpr std::int64_t stuck_us = 10'000'000;

/// When to look at something that costs more, the less often it is near its limit. Units: microseconds.
class Looks {
 public:
  /// The first after `pause_min`; never without a limit.
  Looks(std::uint64_t limit, std::int64_t start, std::int64_t pause_min, std::int64_t pause_max) noexcept
      : limit_(limit),
        at_(limit == 0 ? INT64_MAX : start + pause_min),
        pause_(pause_min),
        min_(pause_min),
        max_(pause_max) {}

  std::int64_t at() const noexcept { return at_; }

  /// Takes what was seen by a look from `began` to `ended`. True when it is above the limit.
  bool take(std::uint64_t seen, std::int64_t began, std::int64_t ended) noexcept {
    pause_ = seen > limit_ / 2 ? min_ : std::min(pause_ * 2, max_);
    // Never more than a twentieth of the time.
    at_ = ended + std::max(pause_, (ended - began) * 20);
    return seen > limit_;
  }

 private:
  std::uint64_t limit_;
  std::int64_t at_;
  std::int64_t pause_;
  std::int64_t min_;
  std::int64_t max_;
};

std::int64_t now_us() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

/// The request's strings, where they stand in the packet.
struct Command {
  Request request{};
  const char* folder = nullptr;
  const char* search = nullptr;
  std::vector<const char*> writable;
  std::vector<const char*> readable;
  std::vector<char*> arguments;  ///< Ends with a null, as `execve` wants it; so `variables`.
  std::vector<char*> variables;
};

bool read_command(char* packet, std::size_t size, Command& command) {
  if (size < sizeof command.request + 1 || packet[size - 1] != '\0') return false;
  std::memcpy(&command.request, packet, sizeof command.request);
  char* at = packet + sizeof command.request;
  char* const end = packet + size;
  bool whole = true;
  const auto next = [&]() -> char* {
    if (at >= end) {
      whole = false;
      return end - 1;
    }
    char* const text = at;
    at += std::strlen(text) + 1;
    return text;
  };
  command.folder = next();
  command.search = next();
  const Request& request = command.request;
  for (std::uint32_t i = 0; whole && i < request.writable; ++i) command.writable.push_back(next());
  for (std::uint32_t i = 0; whole && i < request.readable; ++i) command.readable.push_back(next());
  for (std::uint32_t i = 0; whole && i < request.arguments; ++i) command.arguments.push_back(next());
  for (std::uint32_t i = 0; whole && i < request.variables; ++i) command.variables.push_back(next());
  if (!whole || command.arguments.empty() || command.writable.size() <= request.caches) return false;
  command.arguments.push_back(nullptr);
  command.variables.push_back(nullptr);
  return true;
}

/// What the child needs between `clone` and `execve`, and where it says what went wrong. It shares the
/// supervisor's memory meanwhile, which costs less than a copy and makes the answer a plain store.
struct Launch {
  const Command* command;
  int null;
  int out;
  int err;
  int ruleset;
  pid_t supervisor;
  volatile bool sockets_denied;
  volatile Stage stage;
  volatile int number;
};

int give_up(Launch& launch, Stage stage) noexcept {
  launch.number = errno;
  launch.stage = stage;
  return 127;
}

bool limit(int what, std::uint64_t most) noexcept {
  const rlimit wanted{most, most};
  rlimit standing;
  if (::setrlimit(static_cast<__rlimit_resource>(what), &wanted) == 0) return true;
  // Who may not raise a limit has a lower one already, which is at least as strict.
  return errno == EPERM && ::getrlimit(static_cast<__rlimit_resource>(what), &standing) == 0 &&
         standing.rlim_max <= most;
}

bool limit_if(int what, std::uint64_t most) noexcept { return most == 0 || limit(what, most); }

/// Replaces the process by the command, looked for in the folders of `search` when it is a plain name.
/// Returns only if there is none to run, with `errno`.
void become(const Command& command) noexcept {
  char* const* const arguments = command.arguments.data();
  char* const* const variables = command.variables.data();
  const char* const name = arguments[0];
  if (std::strchr(name, '/') != nullptr) {
    ::execve(name, arguments, variables);
    return;
  }
  int number = ENOENT;
  char path[4096];
  const std::size_t name_size = std::strlen(name);
  for (const char* at = command.search; name_size > 0 && *at != '\0';) {
    const std::size_t size = std::strcspn(at, ":");
    if (size > 0 && size + name_size + 2 <= sizeof path) {
      std::memcpy(path, at, size);
      path[size] = '/';
      std::memcpy(path + size + 1, name, name_size + 1);
      ::execve(path, arguments, variables);
      if (errno == EACCES) number = EACCES;
      if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return;
    }
    at += size;
    if (*at == ':') ++at;
  }
  errno = number;
}

/// Leaves the child no right but its user's.
bool lay_down_rights(Launch& launch) noexcept {
  // In this order: without new privileges a root that has laid its capabilities down does not get them back
  // by starting a program. With them it could read the host's memory past Landlock.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  __user_cap_header_struct version{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct nothing[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &version, nothing) != 0) return false;
  if (launch.command->request.network == 0) launch.sockets_denied = deny_sockets();
  return true;
}

/// The child. Only system calls: its memory is the supervisor's.
int launch_child(void* given) noexcept {
  Launch& launch = *static_cast<Launch*>(given);
  const Command& command = *launch.command;
  const Request& request = command.request;
  ::setsid();
  if (::dup2(launch.null, 0) < 0 || ::dup2(launch.out, 1) < 0 || ::dup2(launch.err, 2) < 0)
    return give_up(launch, Stage::files);
  if (!limit(RLIMIT_CORE, 0) || !limit_if(RLIMIT_FSIZE, request.file_bytes) ||
      !limit_if(RLIMIT_NOFILE, request.open_files) || !limit_if(RLIMIT_CPU, request.cpu_s) ||
      !limit_if(RLIMIT_NPROC, request.processes))
    return give_up(launch, Stage::limits);
  ::umask(022);
  if (request.drop_user != 0 && (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
                                 ::syscall(SYS_setresgid, request.gid, request.gid, request.gid) != 0 ||
                                 ::syscall(SYS_setresuid, request.uid, request.uid, request.uid) != 0))
    return give_up(launch, Stage::user);
  // After the change of user, which would clear it. A parent that is gone by now would never fire it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launch.supervisor) return give_up(launch, Stage::process);
  if (request.trusted == 0 && !lay_down_rights(launch)) return give_up(launch, Stage::user);
  if (::chdir(command.folder) != 0) return give_up(launch, Stage::folder);
  if (launch.ruleset >= 0 && !landlock_restrict(launch.ruleset)) return give_up(launch, Stage::landlock);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe): there is one thread
  if (::syscall(SYS_close_range, 3, ~0U, 0) != 0)
    for (int number = 3; number < 1024; ++number) ::close(number);
  become(command);
  return give_up(launch, Stage::command);
}

/// A pipe that the supervisor reads without waiting and the task writes to.
struct Pipe {
  int reading = -1;
  int writing = -1;

  bool make(const Request& request) noexcept {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    reading = ends[0];
    writing = ends[1];
    // Whoever opens /dev/stdout opens the pipe anew, which is a matter of whose it is.
    if (request.drop_user != 0 && ::fchown(writing, request.uid, request.gid) != 0) return false;
    return ::fcntl(reading, F_SETFL, O_NONBLOCK) == 0;
  }
  void close_writing() noexcept {
    ::close(writing);
    writing = -1;
  }
};

/// What a cache grows by while its task has it alone.
class Cache {
 public:
  explicit Cache(const char* folder) : folder_(folder) {
    const int inside = ::open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    above_ = ::openat(inside, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ::close(inside);
    const Below before = disk_below(folder, UINT64_MAX);
    before_ = before.bytes;
    counts_ = before.whole;
  }

  /// Above `limit` where there is more than can be looked at.
  std::uint64_t growth(std::uint64_t limit, std::int64_t stamp_us) {
    if (!counts_) return 0;
    const Below now = disk_below(folder_, before_ + limit);
    struct stat facts;
    // After the look: who came before it ended may have written what it saw.
    counts_ = stamp_us == 0 || ::fstat(above_, &facts) != 0 ||
              std::int64_t{facts.st_mtim.tv_sec} * 1'000'000 + facts.st_mtim.tv_nsec / 1000 == stamp_us;
    if (!counts_) return 0;
    return now.whole ? std::max(now.bytes, before_) - before_ : limit + 1;
  }

 private:
  const char* folder_;
  int above_ = -1;  ///< Open as long as the supervisor is.
  std::uint64_t before_ = 0;
  bool counts_ = true;
};

class Supervisor {
 public:
  Supervisor(int channel, int log, const Inherited& inherited) noexcept
      : channel_(channel), inherited_(inherited), out_(log, 0), err_(log, 1) {}

  void run() {
    if (!receive()) {
      report_.stage = Stage::request;
      report_.value = EPROTO;
    } else if (start()) {
      watch();
    }
    finish();
  }

 private:
  bool receive() {
    static char packet[sizeof(Request) + protocol::request_bytes_max + 1];
    ssize_t got;
    do got = ::recv(channel_, packet, sizeof packet, 0);
    while (got < 0 && errno == EINTR);
    return got > 0 && static_cast<std::size_t>(got) < sizeof packet &&
           read_command(packet, static_cast<std::size_t>(got), command_);
  }

  bool not_started(Stage stage, int number) noexcept {
    report_.cause = Cause::not_started;
    report_.stage = stage;
    report_.value = number;
    return false;
  }

  bool start() {
    const Request& request = command_.request;
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t child;
    ::sigemptyset(&child);
    ::sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, nullptr);  // NOLINT(concurrency-mt-unsafe): there is one thread
    signals_ = ::signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals_ < 0 || !pipes_[0].make(request) || !pipes_[1].make(request))
      return not_started(Stage::files, errno);

    int ruleset = -1;
    const bool landlocked = inherited_.grounds->abi > 0 && request.trusted == 0;
    if (landlocked)
      ruleset = landlock_ruleset(
          {inherited_.grounds, command_.readable, command_.writable, request.network != 0, request.gpu != 0});
    else if (request.landlock_required != 0 && request.trusted == 0)
      return not_started(Stage::landlock, ENOSYS);
    if (landlocked && ruleset < 0) return not_started(Stage::landlock, errno);

    for (std::size_t i = first_cache(); request.disk_bytes != 0 && i < command_.writable.size(); ++i)
      caches_.emplace_back(command_.writable[i]);
    send(Frame::begun, nullptr, 0);
    Launch launch{&command_,
                  inherited_.null,
                  pipes_[0].writing,
                  pipes_[1].writing,
                  ruleset,
                  ::getpid(),
                  false,
                  Stage::none,
                  0};
    alignas(64) static char stack[64 << 10];
    started_us_ = now_us();
    task_ = ::clone(&launch_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &launch);
    const int number = errno;
    pipes_[0].close_writing();
    pipes_[1].close_writing();
    if (ruleset >= 0) ::close(ruleset);
    if (task_ < 0) return not_started(Stage::process, number);
    if (launch.stage != Stage::none) {
      while (::waitpid(task_, nullptr, 0) < 0 && errno == EINTR) {
      }
      return not_started(launch.stage, launch.number);
    }
    if (ruleset >= 0) {
      report_.landlock_abi = inherited_.grounds->abi;
      report_.tcp_denied = inherited_.grounds->abi >= 4 && request.network == 0;
      report_.signals_scoped = inherited_.grounds->abi >= 6;
    }
    report_.sockets_denied = launch.sockets_denied;
    report_.user_dropped = request.drop_user;
    report_.no_new_privileges = request.trusted == 0;
    return true;
  }

  /// Until the task's first process and all others that came of it are gone.
  void watch() {
    const Request& request = command_.request;
    const auto in_us = [](std::int64_t ms) {
      return std::clamp<std::int64_t>(ms, 0, std::int64_t{1} << 40) * 1000;
    };
    const std::int64_t deadline_us = started_us_ + in_us(request.timeout_ms);
    std::int64_t kill_us = 0;  // when TERM turns into KILL; 0 before TERM
    Looks memory(request.memory_bytes, started_us_, 20'000, 200'000);
    Looks disk(request.disk_bytes, started_us_, 200'000, 1'000'000);
    while (alive_) {
      const Woken woken =
          wait_until(std::min({kill_us != 0 ? kill_us : deadline_us, memory.at(), disk.at()}));
      if (woken.abandoned) {
        if (request.trusted != 0) farewell();
        return kill_all(Cause::abandoned);
      }
      if (!alive_) break;
      const std::int64_t now = now_us();
      if (kill_us == 0 && (woken.cancelled || now >= deadline_us)) {
        ending_ = woken.cancelled ? Cause::cancelled : Cause::timed_out;
        // The group's number is the task's own until it is reaped, and `alive_` says that it is not.
        ::kill(-task_, SIGTERM);
        kill_us = now + in_us(request.grace_ms);
      }
      if (kill_us != 0 && now >= kill_us) return kill_all(ending_);
      if (now >= memory.at()) {
        const std::uint64_t seen = memory_below(::getpid(), request.memory_bytes);
        report_.memory_bytes = std::max(report_.memory_bytes, seen);
        if (memory.take(seen, now, now_us())) return kill_all(Cause::out_of_memory);
      }
      if (now >= disk.at()) {
        const std::uint64_t seen = disk_taken();
        report_.disk_bytes = std::max(report_.disk_bytes, seen);
        if (disk.take(seen, now, now_us())) return kill_all(Cause::out_of_disk);
      }
    }
    kill_all(ending_);
  }

  std::size_t first_cache() const noexcept { return command_.writable.size() - command_.request.caches; }

  std::uint64_t disk_taken() {
    const Request& request = command_.request;
    std::uint64_t taken = 0;
    for (std::size_t i = 0; i < first_cache(); ++i) {
      const Below below = disk_below(command_.writable[i], request.disk_bytes);
      // The task's own folder, the first, goes with it, but what is hidden in the others would stay.
      taken += below.whole || i == 0 ? below.bytes : request.disk_bytes + 1;
    }
    for (Cache& cache : caches_) taken += cache.growth(request.disk_bytes, request.stamp_us);
    return taken;
  }

  /// Lets a tool tell its daemon, which has the container, before the tool is killed.
  void farewell() const noexcept {
    ::kill(-task_, SIGTERM);
    timespec pause{1, 0};
    while (::nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
  }

  struct Woken {
    bool cancelled = false;
    bool abandoned = false;  ///< The runner, its process or the helper is gone.
  };

  Woken wait_until(std::int64_t until_us) {
    Woken woken;
    pollfd polled[6] = {{channel_, POLLIN, 0},          {signals_, POLLIN, 0},
                        {inherited_.host, POLLIN, 0},   {inherited_.parent, POLLIN, 0},
                        {pipes_[0].reading, POLLIN, 0}, {pipes_[1].reading, POLLIN, 0}};
    std::int64_t pause_ms = std::max<std::int64_t>((until_us - now_us() + 999) / 1000, 0);
    if (unsent_ > 0) pause_ms = std::min<std::int64_t>(pause_ms, 20);
    if (::poll(polled, 6, static_cast<int>(std::min<std::int64_t>(pause_ms, 60'000))) < 0) return woken;
    if (polled[4].revents != 0) drain(0);
    if (polled[5].revents != 0) drain(1);
    if (unsent_ > 0) send_progress(progress_, unsent_);
    if (polled[1].revents != 0) {
      signalfd_siginfo told[8];
      while (::read(signals_, told, sizeof told) > 0) {
      }
      reap();
    }
    if (polled[0].revents != 0) {
      char word = 0;
      const ssize_t got = ::recv(channel_, &word, 1, MSG_DONTWAIT);
      woken.cancelled = got == 1 && word == protocol::cancel;
      woken.abandoned = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    }
    woken.abandoned = woken.abandoned || polled[2].revents != 0 || polled[3].revents != 0;
    return woken;
  }

  /// Takes what a pipe holds now, one piece at a time so that a flood delays nothing else.
  bool drain(int stream) noexcept {
    Pipe& pipe = pipes_[stream];
    if (pipe.reading < 0) return false;
    static char bytes[64 << 10];
    const ssize_t got = ::read(pipe.reading, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) {
      ::close(pipe.reading);
      pipe.reading = -1;
      return false;
    }
    auto size = static_cast<std::size_t>(got);
    (stream == 0 ? out_ : err_).append(bytes, size);
    if (stream == 0)
      for (const char* at = bytes; lines_.next(at, size);) send_progress(lines_.line(), lines_.line_size());
    return true;
  }

  /// Reaps who has ended. False when there is no child, living or dead, that is: nothing is left of the task.
  bool reap() noexcept {
    for (;;) {
      int status = 0;
      const pid_t ended = ::waitpid(-1, &status, WNOHANG);
      if (ended < 0 && errno == EINTR) continue;
      if (ended < 0) return false;
      if (ended == 0) return true;
      if (ended != task_) {
        if (!alive_) ++report_.strays;
        continue;
      }
      alive_ = false;
      report_.ran_us = now_us() - started_us_;
      exit_ = WIFEXITED(status) ? Cause::exited : Cause::signalled;
      report_.value = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    }
  }

  /// Kills until nobody is left: only then do the task's files stand still. `why` is the cause to report, or
  /// `exited` for how the task itself ended.
  void kill_all(Cause why) {
    const std::int64_t until_us = now_us() + stuck_us;
    while (reap()) {
      if (now_us() > until_us) {
        report_.cause = Cause::stuck;
        return;
      }
      kill_children({});
      pollfd polled{signals_, POLLIN, 0};
      ::poll(&polled, 1, 10);
      signalfd_siginfo told[8];
      while (::read(signals_, told, sizeof told) > 0) {
      }
      // Who waits for room in a pipe cannot die any slower for it, but what was written is kept.
      drain(0);
      drain(1);
    }
    // Bounded, since someone outside who was handed the pipe could go on writing.
    for (int stream = 0; stream < 2; ++stream)
      for (int pieces = 0; pieces < 64 && drain(stream); ++pieces) {
      }
    if (unsent_ > 0) send_progress(progress_, unsent_);
    report_.cause = why == Cause::exited ? exit_ : why;
  }

  bool send(Frame frame, const void* bytes, std::size_t size, int flags = 0) noexcept {
    iovec parts[2] = {{&frame, sizeof frame}, {const_cast<void*>(bytes), size}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = size == 0 ? 1 : 2;
    ssize_t sent;
    do sent = ::sendmsg(channel_, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
  }

  /// Sends a progress line if there is room, else keeps it until there is, or a newer one comes.
  void send_progress(const char* line, std::size_t size) noexcept {
    unsent_ = 0;
    if (size == 0 || send(Frame::progress, line, size, MSG_DONTWAIT) || errno != EAGAIN) return;
    std::memmove(progress_, line, size);
    unsent_ = size;
  }

  void finish() noexcept {
    rusage used{};
    ::getrusage(RUSAGE_CHILDREN, &used);
    const auto us = [](const timeval& time) { return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; };
    report_.cpu_us = us(used.ru_utime) + us(used.ru_stime);
    report_.memory_bytes = std::max(report_.memory_bytes, static_cast<std::uint64_t>(used.ru_maxrss) << 10);
    send(Frame::report, &report_, sizeof report_);
  }

  int channel_;
  const Inherited& inherited_;
  Capture out_;
  Capture err_;
  ProgressLines lines_;
  Command command_;
  std::vector<Cache> caches_;
  Report report_{.cause = Cause::not_started};
  Pipe pipes_[2];
  int signals_ = -1;
  pid_t task_ = -1;
  bool alive_ = true;
  Cause exit_ = Cause::exited;
  Cause ending_ = Cause::exited;
  std::int64_t started_us_ = 0;
  std::size_t unsent_ = 0;
  char progress_[protocol::progress_bytes_max];
};

}  // namespace

void supervise(int channel, int log, const Inherited& inherited) {
  // Large, and there is one a process.
  static Supervisor supervisor(channel, log, inherited);
  supervisor.run();
}

}  // namespace calyx::runner::helper
