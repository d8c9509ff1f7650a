/// \file
/// Receipts that wait for their signature, shared out among the threads that wait anyway.
///
/// A signature is the largest CPU cost of a settlement. The leader puts receipts in as it orders them; any
/// caller whose own call is in the batch may be asked to help until the pool is closed.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
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

 private:
  struct Task {
    services::PendingReceipt* receipt = nullptr;
    bool is_signed = false;
  };
  bool sign_next(std::unique_lock<std::mutex>& lock, services::ReceiptScratch& scratch);
  bool keep_next(std::unique_lock<std::mutex>& lock, const Keep& keep);

  std::mutex mutex_;
  std::condition_variable changed_;
  Sign sign_;
  std::vector<Task> tasks_;
  std::size_t next_ = 0, done_ = 0, kept_ = 0;
  bool closed_ = true;
  std::optional<Error> failed_;
};

}  // namespace calyx::engine
