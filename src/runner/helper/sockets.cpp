#include "runner/helper/sockets.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iterator>

namespace calyx::runner::helper {
namespace {

#if defined(__x86_64__)
constexpr unsigned int own_architecture = AUDIT_ARCH_X86_64;
constexpr unsigned int calls_end = 0x4000'0000;  // from here on the calls of x32, with the same architecture
#elif defined(__aarch64__) && defined(__AARCH64EL__)
constexpr unsigned int own_architecture = AUDIT_ARCH_AARCH64;
constexpr unsigned int calls_end = 0xFFFF'FFFF;
#else
constexpr unsigned int own_architecture = 0;
constexpr unsigned int calls_end = 0;
#endif
constexpr unsigned int uring_setup = 425;  // the same on every architecture

constexpr sock_filter load(std::size_t offset) noexcept {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<unsigned int>(offset)};
}
constexpr sock_filter if_equal(unsigned int value, unsigned char then, unsigned char otherwise) noexcept {
  return {BPF_JMP | BPF_JEQ | BPF_K, then, otherwise, value};
}
constexpr sock_filter answer(unsigned int what) noexcept { return {BPF_RET | BPF_K, 0, 0, what}; }

constexpr unsigned int refuse(int number) noexcept {
  return SECCOMP_RET_ERRNO | static_cast<unsigned int>(number);
}

// The low half of an argument is all of a domain, an int. Jumps count the lines that they leave out.
constexpr sock_filter program[] = {
    load(offsetof(seccomp_data, arch)),
    if_equal(own_architecture, 0, 9),
    load(offsetof(seccomp_data, nr)),
    {BPF_JMP | BPF_JGE | BPF_K, 7, 0, calls_end},
    if_equal(uring_setup, 6, 0),
    if_equal(SYS_socket, 0, 3),
    load(offsetof(seccomp_data, args)),
    if_equal(AF_UNIX, 1, 0),
    if_equal(AF_NETLINK, 0, 1),
    answer(SECCOMP_RET_ALLOW),
    answer(refuse(EACCES)),
    answer(refuse(ENOSYS)),
};

}  // namespace

bool deny_sockets() noexcept {
  if constexpr (own_architecture == 0) return false;
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), const_cast<sock_filter*>(program)};
  // Without the flag older kernels slow the task down against attacks on its own memory by itself.
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) == 0;
}

}  // namespace calyx::runner::helper
