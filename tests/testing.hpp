/// \file
/// What the tests of every room share: how long they may take, numbers that repeat, and what they tell.
///
/// `CALYX_TEST_SCALE` is `small` (sanitizers), unset or `soak` (`./dev soak`); `CALYX_TEST_COUNTS` names the
/// file in which a run gathers what it looked at and what it left out, which `./dev test` prints at its end.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

namespace calyx::testing {

/// Where this checkout and this build are, told by main.cpp alone: the other objects are the same in each
/// checkout, and ccache knows them again.
extern const std::string vectors;          ///< The folder tests/vectors.
extern const std::string runner_helper;    ///< The program that starts tasks.
extern const std::string hostile_program;  ///< runner/hostile, built; empty where it is not.
extern const std::string docker_program;   ///< runner/docker, which stands in for a container runtime.

/// How much of a loop a run can pay for.
enum class Scale : std::uint8_t { small, usual, soak };

inline Scale test_scale() {
  const char* wanted = std::getenv("CALYX_TEST_SCALE");
  if (wanted == nullptr) return Scale::usual;
  return std::string_view(wanted) == "small"  ? Scale::small
         : std::string_view(wanted) == "soak" ? Scale::soak
                                              : Scale::usual;
}

/// One of three, by the scale. A file that asks this is run again by `./dev soak`.
template <class T>
T by_scale(T small, T usual, T soak) {
  return test_scale() == Scale::small ? small : test_scale() == Scale::soak ? soak : usual;
}

/// A small generator (splitmix64) whose numbers are the same everywhere, which the standard distributions are
/// not.
class Dice {
 public:
  explicit constexpr Dice(std::uint64_t seed) noexcept : state_(seed) {}
  constexpr std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  constexpr std::uint64_t below(std::uint64_t limit) noexcept { return limit == 0 ? 0 : next() % limit; }
  constexpr bool coin() noexcept { return (next() >> 63) != 0; }
  constexpr double uniform(double low, double high) noexcept {
    return low + (high - low) * (static_cast<double>(next() >> 11) * 0x1p-53);
  }

 private:
  std::uint64_t state_;
};

namespace detail {
/// One write to a file opened for appending, so that tests side by side do not mix their lines.
inline void tell(const std::string& line) {
  const char* path = std::getenv("CALYX_TEST_COUNTS");
  if (path == nullptr || *path == '\0') return;
  const int file = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  const std::string whole = line + "\n";
  if (::write(file, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size()))
    std::cerr << "the counts cannot be written: " << line << '\n';
  ::close(file);
}
}  // namespace detail

/// Tells how much was looked at: `told("power cuts", cuts)`, or with words for what is no number.
inline void told(std::string_view what, std::string_view how_much) {
  detail::tell(std::string(what) + ": " + std::string(how_much));
}
inline void told(std::string_view what, std::uint64_t count) { told(what, std::to_string(count)); }

/// Tells that `test` did not run here, and why. A skip that nobody sees is a test that nobody has.
inline void skipped(std::string_view test, std::string_view why) {
  const std::string line = "skipped: " + std::string(test) + " (" + std::string(why) + ")";
  std::cout << line << std::endl;
  detail::tell(line);
}

/// Tells that `test` lacks a package of the distribution. Where `CALYX_TEST_WHOLE` says that all of them are
/// installed that is a failure: false, and the caller fails.
inline bool may_lack(std::string_view test, std::string_view package) {
  skipped(test, std::string(package) + " is not installed");
  const char* whole = std::getenv("CALYX_TEST_WHOLE");
  return whole == nullptr || *whole == '\0';
}

/// Whether this program runs under a sanitizer, where times and memory mean nothing.
constexpr bool sanitized() noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return true;
#else
  return false;
#endif
#else
  return false;
#endif
}

}  // namespace calyx::testing
