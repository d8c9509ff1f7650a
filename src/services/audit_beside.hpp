/// \file
/// The part of an audit that looks beside the log: at jobs, projects, feedback, webhooks, artifacts and
/// payments.
#pragma once

#include <calyx/ledger.hpp>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "services/book.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

/// What the log tells of them.
struct Told {
  /// What a job holds, or held.
  struct Budget {
    store::JobNumber job = 0;
    AccountNumber payer = 0;
    Money amount;
  };
  using Shares = std::vector<std::pair<AccountNumber, Money>>;  ///< What each host earned of a job.
  struct Settlement {
    std::int64_t leaf = 0;  ///< Of the first receipt.
    core::Digest output, input;
    Shares shares;
  };
  /// A top-up of a payment.
  struct Credit {
    Seq seq = 0;
    Instant at;
    AccountNumber account = 0;
    Money amount;
  };
  std::unordered_map<Seq, Budget> budgets;  ///< By their locks, as the next.
  std::unordered_map<Seq, Settlement> settlements;
  std::map<std::string, Credit> credits;  ///< By reference.
};

/// The first fault of what lies beside the log, in the read transaction of `store` in which the log ended in
/// `book` and told `told`; empty for none. `AuditDepth::each` also reads what jobs were asked for and what
/// their tasks came to. Fails: the store.
Result<std::string> fault_beside(store::MarketStore& store, const Book& book, Told told, AuditDepth depth);

}  // namespace calyx::services
