/// \file
/// The feedback of a market file, which is never changed.
///
/// Threads: as `MarketStore`, whose connection this shares.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "store/database.hpp"
#include "store/listing.hpp"

namespace calyx::store {

/// What `migrate` makes for feedback, and which of the tables take no change.
std::span<const char* const> feedback_schema() noexcept;
std::span<const char* const> feedback_tables_of_record() noexcept;

struct FeedbackRow {
  std::int64_t number = 0;
  Instant at;
  std::int64_t type = 0;
  std::string title, description;
};

class FeedbackStore {
 public:
  static Result<FeedbackStore> make(Connection& connection, bool writes);

  /// In a write transaction.
  Result<Done> add(const FeedbackRow& row);

  Result<std::int64_t> last();
  /// When row `number` came.
  Result<std::optional<Instant>> at(std::int64_t number);
  /// The rows behind `after`, the oldest first; the callback gives false to stop.
  using Each = std::function<Result<bool>(const FeedbackRow&)>;
  Result<Done> from(std::int64_t after, const Each& each);

  // ── for an audit ──
  Result<std::int64_t> count();
  /// As `JobStore::index_fault`.
  Result<std::string> index_fault() { return listings_.fault(); }

 private:
  Statement add_, last_, at_, from_, count_;
  Listings listings_;
};

}  // namespace calyx::store
