// A time for all of an HTTP exchange: the library's own are of one read each, and whoever sends a byte now
// and then is never late for those.
#pragma once

#include <httplib.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

/// Cuts the connection of `client` when the time is over, unless it goes before.
class Deadline {
 public:
  Deadline(httplib::Client& client, std::chrono::milliseconds most)
      : thread_([this, &client, most] {
          std::unique_lock lock(mutex_);
          if (!ended_.wait_for(lock, most, [this] { return over_; })) client.stop();
        }) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;  // last: it uses what stands above
};
