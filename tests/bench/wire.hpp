/// \file
/// The same calls by both doors of one process: typed, and as requests of the wire contract.
///
/// Threads: one.
#pragma once

#include <calyx/request.hpp>
#include <cstdint>
#include <string>

#include "measure.hpp"

namespace calyx::bench {

/// A market in memory, so that what differs between the doors is not lost in a disk's noise, and a payer in
/// it.
class WireMarket {
 public:
  WireMarket();

  /// `count` calls each; the session of the typed ones and the key of the others are the same payer's.
  Sample typed_spends(unsigned count);
  Sample wire_spends(unsigned count);
  Sample typed_gets(unsigned count);
  Sample wire_gets(unsigned count);

 private:
  std::string next_job();

  Engine engine_;
  std::string key_;
  Session session_;
  WalletId payer_;
  std::uint64_t jobs_ = 0;
};

}  // namespace calyx::bench
