/// \file
/// Threads of which a test can tell that they wait: what comes next then comes for certain while they do.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace calyx::testing {

/// Something that one thread waits for and another says.
class Latch {
 public:
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  bool is_open() const { return open_.load(); }
  void wait() const { open_.wait(false); }

 private:
  std::atomic<bool> open_{false};
};

/// Runs `work` on a thread of its own, which ends before this does.
class Waiting {
 public:
  template <class Work>
  explicit Waiting(Work work)
      : thread_([this, work = std::move(work)]() mutable {
          id_.store(::gettid());
          work();
          done_.store(true);
        }) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { join(); }

  bool done() const { return done_.load(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  /// Returns once the thread sleeps, as the system has it, or is done. Of looks apart by a millisecond
  /// several in a row must say so: whoever is merely held up is soon about again.
  void until_it_waits() const {
    constexpr int looks_wanted = 5, looks_max = 60'000;
    int asleep = 0;
    for (int looks = 0; asleep < looks_wanted && !done(); ++looks) {
      if (looks == looks_max) throw std::runtime_error("the thread neither waits nor ends");
      asleep = sleeps() ? asleep + 1 : 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  bool sleeps() const {
    if (id_.load() == 0) return false;
    std::ifstream in("/proc/self/task/" + std::to_string(id_.load()) + "/stat");
    std::string line;
    std::getline(in, line);
    const std::size_t name_end = line.rfind(") ");  // proc(5): the state follows the name
    return name_end != std::string::npos && line.compare(name_end + 2, 1, "S") == 0;
  }

  std::atomic<pid_t> id_{0};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace calyx::testing
