#include "runner/helper_process.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "runner/files.hpp"
#include "runner/protocol.hpp"

namespace calyx::runner {
namespace {

constexpr int hello_ms = 10'000;
constexpr int farewell_ms = 2'000;

bool runnable(const std::string& path) noexcept {
  struct stat facts;
  return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

/// The real folder of the file at `path`, or nothing.
std::string folder_of(const char* path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path, nullptr), &std::free);
  if (real == nullptr) return {};
  const std::string whole = real.get();
  return whole.substr(0, whole.rfind('/'));
}

/// The words of a command as `posix_spawn` wants them.
std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  all.reserve(words.size() + 1);
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

/// Starts `path` with `socket` as its descriptor 3, nothing else of ours, and no environment. 0, or an errno.
int spawn(const std::string& path, std::vector<std::string> words, int socket, pid_t& number) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (const int error = ::posix_spawn_file_actions_init(&actions); error != 0) return error;
  if (const int error = ::posix_spawnattr_init(&attributes); error != 0) {
    ::posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  sigset_t all;
  sigset_t none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  // A session of its own: what a terminal sends to the host's group is for the host to judge.
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  int error = 0;
  // The socket first: it may itself be one of 0, 1 and 2 where a host has closed those.
  if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions, socket, protocol::socket_number);
  for (int standard = 0; standard < 3 && error == 0; ++standard)
    error = ::posix_spawn_file_actions_addopen(&actions, standard, "/dev/null", O_RDWR, 0);
  char* nothing[] = {nullptr};
  if (error == 0)
    error = ::posix_spawn(&number, path.c_str(), &actions, &attributes, pointers(words).data(), nothing);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

Result<std::string> find_helper(const std::string& wanted) {
  std::vector<std::string> places;
  if (!wanted.empty()) {
    places.push_back(wanted);
  } else {
    Dl_info library{};
    const bool known = ::dladdr(reinterpret_cast<const void*>(&find_helper), &library) != 0;
    for (const std::string& folder :
         {known && library.dli_fname != nullptr ? folder_of(library.dli_fname) : std::string(),
          folder_of("/proc/self/exe")}) {
      if (folder.empty()) continue;
      for (const char* way : {"/", "/../libexec/calyx/", "/../../libexec/calyx/"})
        places.push_back(folder + way + "calyx-runner");
    }
    // Not where the host has more rights than who set its environment.
    if (const char* named = ::secure_getenv("CALYX_RUNNER"); named != nullptr && *named == '/')
      places.push_back(named);
  }
  const auto found = std::find_if(places.begin(), places.end(), runnable);
  if (found != places.end()) return *found;
  core::json::Array looked_at(places.begin(), places.end());
  return fail(Reason::file_missing,
              "the helper calyx-runner is at none of " + std::to_string(places.size()) + " places",
              core::json::object({{"looked_at", std::move(looked_at)}}));
}

Result<std::shared_ptr<HelperProcess>> HelperProcess::start(const std::string& path, const Options& options) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return file_error("the helper's socket cannot be made", errno);
  Descriptor ours(ends[0]);
  Descriptor theirs(ends[1]);
  std::vector<std::string> words = {"calyx-runner", std::to_string(::getpid())};
  for (const std::string& place : options.readable) words.push_back("r:" + place);
  for (const std::string& place : options.writable) words.push_back("w:" + place);
  pid_t number = -1;
  if (const int error = spawn(path, std::move(words), theirs.get(), number); error != 0)
    return file_error("the helper cannot be started", error);
  theirs.close();
  Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, number, 0)));
  const int error = errno;
  const bool followed = static_cast<bool>(process);
  const int socket = ours.get();
  auto helper = std::make_shared<HelperProcess>(number, std::move(process), std::move(ours));
  if (!followed)
    return error == ENOSYS ? fail(Reason::unsupported, "the kernel has no descriptors of processes: 5.3 has")
                           : file_error("the helper cannot be followed", error);
  pollfd polled{socket, POLLIN, 0};
  int ready;
  do ready = ::poll(&polled, 1, hello_ms);
  while (ready < 0 && errno == EINTR);
  protocol::Hello hello{};
  if (ready <= 0 || ::recv(socket, &hello, sizeof hello, MSG_DONTWAIT) != static_cast<ssize_t>(sizeof hello))
    return fail(Reason::io_error, "the helper at " + path + " says nothing");
  if (hello.version != protocol::version)
    return fail(Reason::unsupported, "the helper at " + path + " is of another build");
  return helper;
}

HelperProcess::HelperProcess(pid_t number, Descriptor process, Descriptor socket) noexcept
    : number_(number), process_(std::move(process)), socket_(std::move(socket)) {}

HelperProcess::~HelperProcess() {
  // Its end of the socket tells it to go. One that does not is stopped or broken.
  socket_.close();
  if (process_) {
    pollfd polled{process_.get(), POLLIN, 0};
    while (::poll(&polled, 1, farewell_ms) < 0 && errno == EINTR) {
    }
    if (polled.revents == 0) ::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
  } else {
    ::kill(number_, SIGKILL);
  }
  // Only this one: the host's other children are the host's. By its descriptor, since in a host that ignores
  // its children the number may be another's by now.
  siginfo_t ended;
  constexpr auto by_descriptor = static_cast<idtype_t>(3);  // P_PIDFD, which older headers lack
  while ((process_ ? ::waitid(by_descriptor, static_cast<id_t>(process_.get()), &ended, WEXITED)
                   : ::waitid(P_PID, static_cast<id_t>(number_), &ended, WEXITED)) < 0 &&
         errno == EINTR) {
  }
}

bool HelperProcess::hand_over(int channel, int log) const noexcept {
  const int files[2] = {channel, log};
  char word = 't';
  iovec part{&word, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof files)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof files);
  std::memcpy(CMSG_DATA(rights), files, sizeof files);
  ssize_t sent;
  do sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == 1;
}

}  // namespace calyx::runner
