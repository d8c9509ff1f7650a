/// \file
/// Receipts that wait for their signature, shared out among the threads that wait anyway.
///
/// A signature is the largest CPU cost of a settlement. The leader puts receipts in as it orders them; any
/// caller whose own call is in the batch may be asked to help until the pool is closed. Threads that the host
/// asked for help without being in it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "services/receipts.hpp"

namespace calyx::engine {

class SignPool {
 public:
  /// Signs one receipt in place.
  using Sign = std::function<Result<Done>(services::PendingReceipt&, services::ReceiptScratch&)>;

  /// Opens the pool for a batch; nobody is in it.
  void open(Sign sign);
  /// A receipt to sign; it stays where it is until `finish` returns.
  void add(services::PendingReceipt& receipt);
  /// Signs until nothing is left and the pool is closed.
  void help();
  /// What is done with a receipt that is signed; throws nothing.
  using Keep = std::function<Result<Done>(const services::PendingReceipt&)>;
  /// Closes the pool, signs what is left, waits for helpers. `keep` gets the receipts in their order, each
  /// once it is signed, while others sign those after it, and none after a failure. The first failure, if
  /// any.
  Result<Done> finish(const Keep& keep);

  /// Signs of every batch what others leave, until `dismiss`. For a thread that does nothing else.
  void serve();
  void dismiss();

 private:
  struct Task {
    services::PendingReceipt* receipt = nullptr;
    bool is_signed = false;
  };
  bool sign_next(std::unique_lock<std::mutex>& lock, services::ReceiptScratch& scratch);
  bool keep_next(std::unique_lock<std::mutex>& lock, const Keep& keep);

  /// Whether those who serve have something to do. While more may come a few are left to wait: the thread
  /// that they would wake is up only when the leader has come to them.
  bool has_backlog() const noexcept { return tasks_.size() - next_ >= (closed_ ? 1 : backlog_min); }
  static constexpr std::size_t backlog_min = 4;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable backlog_;  ///< Where those who serve wait.
  Sign sign_;
  std::vector<Task> tasks_;
  std::size_t next_ = 0, done_ = 0, kept_ = 0;
  bool closed_ = true, dismissed_ = false;
  std::optional<Error> failed_;
};

/// Threads that serve a pool, from `start` to the end of this.
class SignThreads {
 public:
  /// Fails: `no_memory` where the system gives no thread more.
  Result<Done> start(SignPool& pool, unsigned count);
  std::size_t count() const noexcept { return threads_.size(); }

  SignThreads() = default;
  SignThreads(const SignThreads&) = delete;
  SignThreads& operator=(const SignThreads&) = delete;
  ~SignThreads();

 private:
  SignPool* pool_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace calyx::engine
