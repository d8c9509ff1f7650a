/// \file
/// A program that does, by its first argument, what tasks should not do. Each way ends by itself after a
/// while, so that a test which fails leaves nothing behind for long.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

extern char** environ;

namespace {

const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
bool time_left() { return std::chrono::steady_clock::now() < end; }
void linger() {
  while (time_left()) ::usleep(20'000);
}

void result() { std::ofstream(std::getenv("COMPUTALOT_TASK_RESULT")) << "{}"; }

/// A daemon as the books say: two forks, a session of its own, deaf to all that one may be deaf to.
int daemonise() {
  if (::fork() == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    for (int signal = 1; signal < 32; ++signal) ::signal(signal, SIG_IGN);
    linger();
    ::_exit(0);
  }
  ::wait(nullptr);
  result();
  return 0;
}

/// Processes one below the other, each in a session of its own, none of which reaps.
int chain(int depth) {
  if (depth > 0 && ::fork() == 0) {
    ::setsid();
    chain(depth - 1);
    ::_exit(0);
  }
  if (depth == 20) {
    ::usleep(200'000);
    result();
    return 0;
  }
  linger();
  return 0;
}

/// Processes that are gone as soon as one has seen them, leaving another.
int hop(int lines) {
  for (int line = 0; line < lines; ++line) {
    if (::fork() != 0) continue;
    ::setsid();
    while (time_left())
      if (::fork() != 0) ::_exit(0);
    ::_exit(0);
  }
  ::usleep(100'000);
  result();
  return 0;
}

/// Takes memory by and by, in `processes` processes of `mb` each.
int hog(int processes, std::size_t mb) {
  for (int i = 1; i < processes; ++i)
    if (::fork() == 0) break;
  for (std::size_t taken = 0; taken < mb && time_left(); taken += 4) {
    void* memory = ::mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) break;
    std::memset(memory, 1, 4 << 20);
    ::usleep(1000);
  }
  linger();
  return 0;
}

/// Writes `mb` MB without a line's end, each 8 bytes saying in 7 bits of each byte where they are.
int flood(std::uint64_t mb) {
  std::vector<std::uint64_t> words(8192);
  std::uint64_t at = 0;
  const std::uint64_t total = mb << 20;
  while (at < total) {
    for (std::uint64_t& word : words) {
      word = 0;
      for (unsigned i = 0; i < 8; ++i) word |= (0x80 | ((at / 8) >> (7 * i) & 0x7F)) << (8 * i);
      at += 8;
    }
    const char* from = reinterpret_cast<const char*>(words.data());
    std::size_t size = words.size() * 8;
    while (size > 0) {
      const ssize_t written = ::write(1, from, size);
      if (written <= 0) return 1;
      from += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  result();
  return 0;
}

int fill(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  std::vector<char> bytes(1 << 20, 'x');
  while (time_left() && ::write(file, bytes.data(), bytes.size()) > 0) {
  }
  return 7;
}

/// Folders inside one another, deeper than a path can name.
int dig(int depth) {
  if (::chdir(std::getenv("COMPUTALOT_ARTIFACT_DIR")) != 0) return 1;
  for (int i = 0; i < depth; ++i)
    if (::mkdir("deeper", 0700) != 0 || ::chdir("deeper") != 0) return 2;
  const int file = ::open("here", O_WRONLY | O_CREAT, 0600);
  ::close(file);
  ::chmod(".", 0);
  result();
  return 0;
}

/// What a program is given: its variables, descriptors, signals, limits and place.
int tell() {
  for (char** variable = environ; *variable != nullptr; ++variable) std::cout << "env " << *variable << '\n';
  for (int number = 0; number < 4096; ++number) {
    struct stat facts;
    if (::fstat(number, &facts) == 0) std::cout << "fd " << number << '\n';
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    for (const char* word : {"SigBlk", "SigIgn", "NoNewPrivs", "Uid"})
      if (line.rfind(word, 0) == 0) std::cout << "status " << line << '\n';
  const auto limit = [](const char* name, __rlimit_resource which) {
    rlimit most;
    ::getrlimit(which, &most);
    std::cout << "limit " << name << ' ' << most.rlim_cur << ' ' << most.rlim_max << '\n';
  };
  limit("core", RLIMIT_CORE);
  limit("files", RLIMIT_NOFILE);
  limit("size", RLIMIT_FSIZE);
  char folder[4096];
  std::cout << "cwd " << (::getcwd(folder, sizeof folder) != nullptr ? folder : "?") << '\n';
  std::cout << "session " << (::getsid(0) == ::getpid()) << '\n';
  std::cout << std::flush;
  result();
  return 0;
}

std::string outcome(bool worked) { return worked ? "yes" : std::string("no ") + std::to_string(errno); }

/// Tries to get out; `arguments` are the host, a file of its to read, and one to write.
int attack(pid_t host, const char* secret, const char* target) {
  std::cout << "signal host " << outcome(::kill(host, 0) == 0) << '\n';
  std::cout << "signal parent " << outcome(::kill(::getppid(), 0) == 0) << '\n';
  std::cout << "trace parent " << outcome(::ptrace(PTRACE_SEIZE, ::getppid(), 0, 0) == 0) << '\n';
  std::cout << "read secret " << outcome(::open(secret, O_RDONLY) >= 0) << '\n';
  std::cout << "write target " << outcome(::open(target, O_WRONLY | O_CREAT, 0600) >= 0) << '\n';
  std::cout << "write source " << outcome(::open("planted", O_WRONLY | O_CREAT, 0600) >= 0) << '\n';
  std::cout << "write tmp " << outcome(::open("/tmp/calyx-hostile", O_WRONLY | O_CREAT, 0600) >= 0) << '\n';
  // Opening may work where reading gives nothing.
  std::ifstream memory("/proc/" + std::to_string(host) + "/environ");
  std::cout << "read host " << outcome(memory.get() != std::ifstream::traits_type::eof()) << '\n';
  std::cout << "trace host " << outcome(::ptrace(PTRACE_SEIZE, host, 0, 0) == 0) << '\n';
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool connected = ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  std::cout << "connect " << (connected || errno == ECONNREFUSED ? "yes" : outcome(false)) << '\n';
  std::cout << "udp " << outcome(::socket(AF_INET6, SOCK_DGRAM, 0) >= 0) << '\n';
  std::cout << "local " << outcome(::socket(AF_UNIX, SOCK_STREAM, 0) >= 0) << '\n';
  std::cout << "uring " << outcome(::syscall(425, 1, nullptr) >= 0 || errno == EFAULT || errno == EPERM)
            << '\n';
  std::cout << "own tmp "
            << outcome(
                   ::open((std::string(std::getenv("TMPDIR")) + "/x").c_str(), O_WRONLY | O_CREAT, 0600) >= 0)
            << '\n';
  std::cout << "null " << outcome(::open("/dev/null", O_RDWR) >= 0) << '\n';
  std::cout << "stdout " << outcome(::open("/dev/stdout", O_WRONLY) >= 0) << '\n';
  std::cout << std::flush;
  result();
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string_view what = count > 1 ? arguments[1] : "";
  const auto number = [&](int at) { return count > at ? std::atoi(arguments[at]) : 0; };
  if (what == "daemonise") return daemonise();
  if (what == "chain") return chain(20);
  if (what == "hop") return hop(number(2));
  if (what == "hog") return hog(number(2), static_cast<std::size_t>(number(3)));
  if (what == "flood") return flood(static_cast<std::uint64_t>(number(2)));
  if (what == "fill") return fill(arguments[2]);
  if (what == "dig") return dig(number(2));
  if (what == "tell") return tell();
  if (what == "attack") return attack(number(2), arguments[3], arguments[4]);
  return 64;
}
