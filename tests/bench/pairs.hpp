/// \file
/// The pairs of calls that cases make: new jobs, who locks for them and who is paid.
///
/// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "subject.hpp"

namespace calyx::bench {

/// A job's id is new in every market, as long as calyx's own ids, and sorts by when it was asked for.
inline std::string new_job() {
  static std::atomic<std::uint64_t> next{0};
  char text[40];
  std::snprintf(text, sizeof text, "job_%026llu", static_cast<unsigned long long>(next.fetch_add(1)));
  return text;
}

/// Which buyer the n-th pair of a caller has: callers start apart and each goes round all of them.
inline unsigned buyer_of(unsigned caller, std::uint64_t pair, const Market& market) {
  return static_cast<unsigned>((caller * 13u + pair) % market.buyers);
}
inline unsigned host_of(std::uint64_t pair, const Market& market) {
  return static_cast<unsigned>(pair % market.hosts);
}

/// Operations for a bulk, and the texts that they point to.
struct Batch {
  std::vector<std::string> jobs;
  std::vector<Operation> operations;
};

/// `pairs` new jobs, each locked and then settled.
inline Batch pairs_batch(std::size_t pairs, unsigned caller, const Market& market) {
  Batch batch;
  batch.jobs.reserve(pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::string& job = batch.jobs.emplace_back(new_job());
    batch.operations.push_back(
        {Operation::Kind::spend, buyer_of(caller, i, market), job, market.locked_micro});
    batch.operations.push_back({Operation::Kind::earn, host_of(i, market), job, market.gross_micro});
  }
  return batch;
}

}  // namespace calyx::bench
