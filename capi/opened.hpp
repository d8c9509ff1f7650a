/// \file
/// What the handle of an engine stands for: the engine, and the workers that were started on it.
#pragma once

#include <algorithm>
#include <calyx/engine.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "handles.hpp"

namespace calyx::capi {

struct Opened;
class HostFunction;

/// What the handle of a worker stands for. It holds its engine, whose file so stays open until the handle is
/// given back.
class Running {
 public:
  explicit Running(std::shared_ptr<Opened> opened) noexcept : opened_(std::move(opened)) {}

  void begin(Worker worker) {
    const std::lock_guard lock(mutex_);
    worker_.emplace(std::move(worker));
    if (asked_to_stop_) worker_->ask_to_stop();  // its engine was closed meanwhile
  }
  /// Threads: any, its own too.
  void ask_to_stop() noexcept {
    const std::lock_guard lock(mutex_);
    asked_to_stop_ = true;
    if (worker_) worker_->ask_to_stop();
  }
  /// Waits for its threads, outside the lock, for its tasks may ask it to stop. For the one who took the
  /// handle, on no thread of a worker.
  void stop() noexcept {
    ask_to_stop();
    if (worker_) worker_->stop();
  }

 private:
  std::shared_ptr<Opened> opened_;  // outlives the worker
  std::mutex mutex_;
  std::optional<Worker> worker_;
  bool asked_to_stop_ = false;
};

struct Opened {
  explicit Opened(Engine given) noexcept : engine(std::move(given)) {}

  void add(const std::shared_ptr<Running>& worker) {
    const std::lock_guard lock(mutex);
    std::erase_if(workers, [](const std::weak_ptr<Running>& one) { return one.expired(); });
    workers.push_back(worker);
    if (closed) worker->ask_to_stop();
  }
  void ask_workers_to_stop() noexcept {
    const std::lock_guard lock(mutex);
    closed = true;
    for (const std::weak_ptr<Running>& worker : workers)
      if (const auto running = worker.lock()) running->ask_to_stop();
  }

  /// What finds the data sources of this engine's workers; null: nothing.
  std::shared_ptr<const HostFunction> sources() const {
    const std::lock_guard lock(mutex);
    return found_by;
  }
  /// Who was there before goes outside the lock: it is the host's, and may have an end of its own.
  void set_sources(std::shared_ptr<const HostFunction> function) {
    const std::lock_guard lock(mutex);
    found_by.swap(function);
  }

  std::shared_ptr<const HostFunction> found_by;  // outlives the engine
  Engine engine;
  mutable std::mutex mutex;  // over what follows, and `found_by`
  std::vector<std::weak_ptr<Running>> workers;
  bool closed = false;
};

inline Result<std::shared_ptr<Opened>> opened_of(const calyx_engine* handle) {
  return HandleTable::current().find<Opened>(Kind::engine, handle);
}
inline Result<std::shared_ptr<Engine>> engine_of(const calyx_engine* handle) {
  CALYX_TRY(const auto opened, opened_of(handle));
  return std::shared_ptr<Engine>(opened, &opened->engine);
}

}  // namespace calyx::capi
