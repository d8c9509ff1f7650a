/// \file
/// calyx-runner: starts tasks for a calyx engine in another process, and answers for all that they start.
///
/// It is small and has one thread, so that forking it is cheap where forking the engine's host would not be;
/// it is the reaper of its descendants, so that the host needs no signal handler; and it ends when its host
/// does.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runner/helper/landlock.hpp"
#include "runner/helper/processes.hpp"
#include "runner/helper/supervise.hpp"
#include "runner/protocol.hpp"

namespace {

using namespace calyx::runner;
using namespace calyx::runner::helper;

int open_process(pid_t process) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, process, 0)); }

/// Takes the next request for a supervisor: false when the runner is gone. `got` says whether one came.
bool take_task(int socket, int (&files)[2], bool& got) noexcept {
  char word = 0;
  iovec part{&word, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof files)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  got = false;
  if (size < 0) return errno == EINTR || errno == EAGAIN;
  if (size == 0) return false;
  const cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof files))
    return true;
  std::memcpy(files, CMSG_DATA(rights), sizeof files);
  got = true;
  return true;
}

/// Reaps supervisors. When one was killed, what is left of its task has become ours, and goes.
void reap(std::vector<pid_t>& supervisors) {
  int status = 0;
  pid_t ended;
  while ((ended = ::waitpid(-1, &status, WNOHANG)) > 0) {
    const auto known = std::find(supervisors.begin(), supervisors.end(), ended);
    if (known == supervisors.end()) {
      kill_children(supervisors);
      continue;
    }
    supervisors.erase(known);
    if (!WIFEXITED(status)) kill_children(supervisors);
  }
}

/// Answers for a supervisor that there is not.
void refuse(int channel, int number) noexcept {
  protocol::Frame frame = protocol::Frame::report;
  protocol::Report report{
      .cause = protocol::Cause::not_started, .stage = protocol::Stage::process, .value = number};
  iovec parts[2] = {{&frame, sizeof frame}, {&report, sizeof report}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ::sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int serve(pid_t host, const Grounds& grounds) {
  const int socket = protocol::socket_number;
  const int host_process = open_process(host);
  const int own_process = open_process(::getpid());
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  // A host that died before it was looked at has given its number back, perhaps to somebody else.
  if (host_process < 0 || own_process < 0 || null < 0 || ::getppid() != host) return 1;
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, nullptr);  // NOLINT(concurrency-mt-unsafe): there is one thread
  const int signals = ::signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signals < 0) return 1;

  const protocol::Hello hello{protocol::version, grounds.abi};
  if (::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) return 1;

  std::vector<pid_t> supervisors;
  bool wanted = true;
  while (wanted || !supervisors.empty()) {
    pollfd polled[3] = {
        {signals, POLLIN, 0}, {wanted ? socket : -1, POLLIN, 0}, {wanted ? host_process : -1, POLLIN, 0}};
    if (::poll(polled, 3, -1) < 0) continue;
    if (polled[0].revents != 0) {
      signalfd_siginfo told[8];
      while (::read(signals, told, sizeof told) > 0) {
      }
      reap(supervisors);
    }
    if (polled[2].revents != 0) wanted = false;
    if (!wanted || polled[1].revents == 0) continue;
    int files[2];
    bool got = false;
    wanted = take_task(socket, files, got);
    if (!got) continue;
    const pid_t supervisor = ::fork();
    if (supervisor == 0) {
      ::close(socket);
      ::close(signals);
      supervise(files[0], files[1], {&grounds, host_process, own_process, null});
      ::_exit(0);
    }
    if (supervisor > 0) {
      supervisors.push_back(supervisor);
    } else {
      refuse(files[0], errno);
    }
    ::close(files[0]);
    ::close(files[1]);
  }
  return 0;
}

}  // namespace

/// `calyx-runner HOST [r:PATH | w:PATH]...`: the host's process number, and what every task may read or
/// write.
int main(int count, char** arguments) {
  int type = 0;
  socklen_t size = sizeof type;
  if (count < 2 || ::getsockopt(protocol::socket_number, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      type != SOCK_SEQPACKET) {
    std::fputs("calyx-runner is started by calyx, not by hand\n", stderr);
    return 2;
  }
  ::syscall(SYS_close_range, protocol::socket_number + 1, ~0U, 0);
  ::fcntl(protocol::socket_number, F_SETFD, FD_CLOEXEC);
  if (::chdir("/") != 0) return 1;
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // glibc leaves its own two signals ignored in what it spawns, out of the reach of its own calls.
  const std::uint64_t as_usual[8] = {};
  for (const int signal : {32, 33}) ::syscall(SYS_rt_sigaction, signal, as_usual, nullptr, 8);
  // When memory runs out the kernel should rather take a task than the host. A wish, so a refusal is no
  // matter.
  if (const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    if (::write(score, "500", 3) < 0) errno = 0;
    ::close(score);
  }
  // A process that nobody may trace keeps its descriptors to itself.
  ::prctl(PR_SET_DUMPABLE, 0);
  Grounds grounds;
  grounds.abi = landlock_abi();
  if (grounds.abi > 0) {
    for (int i = 2; i < count; ++i) {
      if (std::strncmp(arguments[i], "r:", 2) == 0) add_place(grounds.readable, arguments[i] + 2);
      if (std::strncmp(arguments[i], "w:", 2) == 0) add_place(grounds.writable, arguments[i] + 2);
    }
    add_devices(grounds);
  }
  return serve(static_cast<pid_t>(std::strtol(arguments[1], nullptr, 10)), grounds);
}
