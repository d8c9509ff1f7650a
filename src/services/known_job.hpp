/// \file
/// What of a job never changes, read once: its row, its terms, its shape.
#pragma once

#include <calyx/core/job_shape.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "json/reader.hpp"
#include "services/job_terms.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

struct KnownJob {
  store::JobRow row;
  JobTerms terms;
  core::JobShape shape;
};

/// What task `index` of a job of a command runs.
inline const std::vector<std::string>& command_of(const KnownJob& job, std::uint64_t index) {
  return job.shape.reduces(index) ? job.shape.reduce().command : job.terms.command;
}

/// Threads: any.
class JobCache {
 public:
  /// Fails: `corrupt` when the job is not there or is not as this engine writes it.
  Result<std::shared_ptr<const KnownJob>> get(store::MarketStore& store, store::JobNumber number);
  /// What a batch that failed had written is not to be remembered: its numbers are given again.
  void forget();

 private:
  std::mutex mutex_;
  std::unordered_map<store::JobNumber, std::shared_ptr<const KnownJob>> known_;
};

/// The explicit items of a job, one by one: they lie side by side in segments, each of which is read once.
class Items {
 public:
  Items(store::MarketStore& store, store::JobNumber job) : store_(store), job_(job) {}
  /// Fails: `corrupt` for one that is not there.
  Result<core::json::Value> operator()(std::uint64_t item);

 private:
  store::MarketStore& store_;
  store::JobNumber job_;
  core::json::Array segment_;
  std::uint64_t first_ = 0;
};

/// The request of a job, {"job","recipe"}: its row keeps it, the memo of it does not. Fails: `corrupt`.
Result<core::json::Value> spec_of(store::MarketStore& store, const KnownJob& known);

/// The explicit items of a job as they lie in the file; of none, an empty list. Fails: `corrupt` when a
/// segment is missing.
Result<std::shared_ptr<const LongList>> items_of(store::MarketStore& store, const KnownJob& known);

/// What the tasks `first` to `first + count - 1` of `job` read. Of one that reduces, as far as there is
/// anything to reduce: it is handed out when that is all.
Result<std::vector<core::json::Value>> payloads_of(store::MarketStore& store, const KnownJob& job,
                                                   std::uint64_t first, std::uint64_t count);

/// A JSON text that this engine wrote. Fails: `corrupt`.
Result<core::json::Value> read_own_json(std::string_view text, std::string_view what);

}  // namespace calyx::services
