/// \file
/// Processes that a test starts, hears and kills.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "store/scratch.hpp"

namespace calyx::faults {

/// In a child: says a line to who hears it. Ends the process where it cannot.
inline void tell(int pipe, const std::string& line) {
  const std::string whole = line + "\n";
  if (::write(pipe, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) ::_exit(3);
}

struct Child {
  pid_t process = -1;
  int pipe = -1;
};

/// Starts `work(pipe)` in a process of its own, which holds no pipe of `others`. Throws where it cannot: a
/// process number of -1 would let a kill hit every process there is.
template <class Work>
Child start(const std::vector<Child>& others, Work work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for a child");
  Child child;
  child.pipe = ends[0];
  child.process = store::start_child([&] {
    for (const Child& other : others)
      if (other.pipe >= 0) ::close(other.pipe);
    return work(ends[1]);
  });
  ::close(ends[1]);
  return child;
}

/// Waits for its end; all that it said, a line each. `kills` counts it where a signal ended it.
inline std::vector<std::string> hear(const Child& child, std::uint64_t* kills = nullptr) {
  if (store::wait_for(child.process) < 0 && kills != nullptr) ++*kills;
  std::string all;
  char bytes[4096];
  for (ssize_t got; (got = ::read(child.pipe, bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(got));
  ::close(child.pipe);
  std::vector<std::string> out;
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) out.push_back(line);
  return out;
}

}  // namespace calyx::faults
