/// \file
/// The peer that calyx is measured against: the SQLite code that a user would write by hand.
///
/// Start at `Baseline::spend` and `Baseline::earn`. It is a competent program (prepared statements, WAL,
/// `synchronous=FULL`, an index for each question it asks) and an honest one (the checks, the double entry
/// and the signed receipt of calyx), but it keeps no sums, shares no commits and chains nothing.
///
/// Units: amounts are micro-FLOPS, instants are microseconds since 1970-01-01 UTC.
/// Fails: a denial is an `Outcome`; what SQLite refuses is thrown as `std::runtime_error`.
/// Threads: one `Baseline` is one connection and belongs to one thread; several may share a file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "measure.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace calyx::bench {

/// What a call of the baseline came to; anything but `done` has written nothing.
enum class Outcome : std::uint8_t {
  done,
  wallet_unknown,
  gpu_not_allowed,
  above_job_cap,
  above_hour_cap,
  insufficient_balance,
  job_reused,
  job_unknown,
  already_settled,
  gross_above_locked,
  not_the_host,
};

/// Which index answers the sums over a wallet's entries.
enum class WalletIndex : std::uint8_t {
  by_time,   ///< (wallet, time): what one writes first; the sum looks up each row.
  covering,  ///< (wallet, time, kind, amount): the sum reads the index alone, and inserts cost more.
};

/// How a wallet of the baseline may spend.
struct BaselinePolicy {
  std::int64_t cap_job_micro = 0;
  std::int64_t cap_hour_micro = 0;
  std::string allowed_gpus;  ///< Each between bars, `|RTX 4090|A100|`; empty allows every model.
};

/// One lock of money. The texts are read during the call only.
struct BaselineSpend {
  std::string_view buyer;
  std::string_view job;
  std::string_view gpu_model;
  std::int64_t amount_micro = 0;
};

/// One settlement. The texts are read during the call only.
struct BaselineEarn {
  std::string_view host;
  std::string_view job;
  std::int64_t gross_micro = 0;
};

/// A receipt as it is stored: the signed payload's bytes, and the Ed25519 signature over `signing_input`.
struct BaselineReceipt {
  std::string payload;
  std::array<unsigned char, 64> signature{};
};

/// One connection to one file of the baseline.
class Baseline {
 public:
  static constexpr std::int64_t fee_basis_points = 1500;
  static constexpr std::int64_t hour_us = 3'600'000'000;

  struct Options {
    WalletIndex index = WalletIndex::by_time;
    int busy_timeout_ms = 60'000;  ///< Many threads on one file wait their turn in SQLite's own handler.
  };

  Baseline(const std::filesystem::path& file, const Options& options);
  explicit Baseline(const std::filesystem::path& file) : Baseline(file, Options{}) {}
  ~Baseline();
  Baseline(const Baseline&) = delete;
  Baseline& operator=(const Baseline&) = delete;

  /// Creates `wallet`, or does nothing when it stands.
  void create_wallet(std::string_view wallet, const BaselinePolicy& policy);

  /// Credits `wallet` from outside the market.
  void fund(std::string_view wallet, std::int64_t amount_micro);

  /// Locks money for a job: allowlist, job cap, rolling hour, balance, then escrow. One commit, unless a
  /// group is open.
  Outcome spend(const BaselineSpend& spend, std::int64_t now_us);

  /// Settles a job: 85% to the host, 15% fee, the rest back to the buyer, and a signed receipt. One commit,
  /// unless a group is open.
  Outcome earn(const BaselineEarn& earn, std::int64_t now_us);

  /// Opens a group: the calls until `commit_group` share one transaction, as one commit for many pairs.
  void begin_group();
  void commit_group();
  void roll_back_group();

  std::int64_t balance(std::string_view wallet);

  /// The sum over every entry of every wallet: zero, or the books are wrong.
  std::int64_t sum_of_books();

  std::int64_t entry_count();

  /// The receipt of `job`. Fails: throws when there is none.
  BaselineReceipt receipt(std::string_view job);

  /// The bytes that a receipt's signature covers: `header.payload`, both in base64url.
  std::string signing_input(std::string_view payload) const;

  const std::array<unsigned char, 32>& public_key() const noexcept { return public_key_; }

  /// Gives back disk the log holds, as a user's program does on a clean exit.
  void checkpoint();

 private:
  struct Settled {
    std::string_view buyer;
    std::string_view host;
    std::string_view job;
    std::string_view gpu_model;
    std::string_view txn;
    std::int64_t gross_micro;
    std::int64_t fee_micro;
    std::int64_t seq;
    std::int64_t now_us;
  };
  struct Leg {
    std::string_view wallet;
    std::int64_t amount_micro;
    int kind;
  };

  void run(const char* sql);
  sqlite3_stmt* prepared(const char* sql);
  std::int64_t single_integer(const char* sql);
  void begin_call();
  void end_call(Outcome outcome);
  Outcome spend_in_transaction(const BaselineSpend& spend, std::int64_t now_us);
  Outcome earn_in_transaction(const BaselineEarn& earn, std::int64_t now_us);
  void insert_entry(std::string_view txn, std::string_view job, const Leg& leg, std::int64_t now_us);
  void write_receipt(const Settled& settled);
  std::string_view next_id(const char* prefix, std::int64_t now_us, std::array<char, 30>& out);
  void close() noexcept;

  sqlite3* database_ = nullptr;
  std::vector<sqlite3_stmt*> statements_;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
  sqlite3_stmt* roll_back_ = nullptr;
  sqlite3_stmt* insert_wallet_ = nullptr;
  sqlite3_stmt* wallet_policy_ = nullptr;
  sqlite3_stmt* hour_sum_ = nullptr;
  sqlite3_stmt* balance_sum_ = nullptr;
  sqlite3_stmt* insert_escrow_ = nullptr;
  sqlite3_stmt* find_escrow_ = nullptr;
  sqlite3_stmt* settle_escrow_ = nullptr;
  sqlite3_stmt* insert_entry_ = nullptr;
  sqlite3_stmt* insert_receipt_ = nullptr;
  sqlite3_stmt* find_receipt_ = nullptr;
  bool in_group_ = false;
  std::uint64_t id_state_ = 0;
  std::array<unsigned char, 64> secret_key_{};
  std::array<unsigned char, 32> public_key_{};
  std::string header_;   ///< The JWS header in base64url, with its dot.
  std::string head_;     ///< Stands where calyx writes the hash of the settling event.
  std::string payload_;  ///< Kept between calls, so that a receipt allocates nothing.
  std::string input_;
};

/// `count` bare Ed25519 signatures over `message_bytes` each.
Sample bare_signatures(std::size_t message_bytes, unsigned count);

/// `count` prepared inserts of four rows of six integers under an index on (wallet, amount), in one
/// transaction of a new file in `folder`.
Sample bare_four_row_inserts(const std::filesystem::path& folder, unsigned count);

}  // namespace calyx::bench
