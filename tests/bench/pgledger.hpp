/// \file
/// A driver for pgledger, a ledger written as PostgreSQL functions, on a cluster of its own.
///
/// Start at `PgLedger::why_not`, then make a `PgLedger`. pgledger itself is not part of calyx: the
/// environment variable `CALYX_PGLEDGER` names a checkout of it. The cluster lives in a new folder, listens
/// on a Unix socket alone, and goes with the object.
///
/// Units: amounts are micro-FLOPS here, and decimals in pgledger.
/// Fails: everything throws `std::runtime_error` with what the server said.
/// Threads: a `Client` is one connection and belongs to one thread; the rest is for one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace calyx::bench {

/// One hold by a buyer, settled in two legs: to a host, and the fee to the platform.
struct PgPair {
  unsigned buyer = 0;
  unsigned host = 0;
};

class PgLedger {
 public:
  struct Accounts {
    unsigned buyers = 100;
    unsigned hosts = 10;
    std::int64_t funded_micro = 1'000'000'000'000;
    std::int64_t gross_micro = 3'800'000;
    std::int64_t fee_micro = 570'000;
  };

  /// Why pgledger can't be run here, or nothing when it can.
  static std::optional<std::string> why_not();

  /// Makes a cluster under `folder`, loads pgledger, and opens the accounts.
  PgLedger(const std::filesystem::path& folder, const Accounts& accounts);
  ~PgLedger();
  PgLedger(const PgLedger&) = delete;
  PgLedger& operator=(const PgLedger&) = delete;

  /// One connection, with its statements prepared.
  class Client {
   public:
    explicit Client(const PgLedger& ledger);
    ~Client();
    Client(Client&&) noexcept;
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    Client& operator=(Client&&) = delete;

    /// A hold in one commit, a settlement in the next.
    void pair(const PgPair& pair);

    /// All of `pairs` in one transaction.
    void pairs_in_one_transaction(const std::vector<PgPair>& pairs);

   private:
    struct Connection;
    std::unique_ptr<Connection> connection_;
  };

  /// Whether every entry sums to zero, and there are as many as `pairs` pairs leave.
  bool books_are_right(std::uint64_t pairs);

 private:
  struct Cluster;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace calyx::bench
