/// \file
/// What a ledger must offer to be measured by `ledger_bench`, and the two that do: calyx and the baseline.
///
/// Start at `Subject`. Wallets are named by number, so that no subject pays for another's kind of id; a
/// subject keeps its own ids behind them.
///
/// Units: amounts are micro-FLOPS.
/// Fails: every call throws `std::runtime_error`, a denial included: a benchmark asks nothing that is
/// refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace calyx::bench {

/// The market that every case works in. Buyer n has the owner id `buyer-n`, host n has `host-n`.
struct Market {
  unsigned buyers = 100;
  unsigned hosts = 10;
  std::int64_t funded_micro = 1'000'000'000'000;  ///< Each buyer, once.
  std::int64_t cap_job_micro = 5'000'000;         ///< A pair locks less than this.
  std::int64_t cap_hour_micro = 500'000'000'000;  ///< Checked by each spend, reached by none.
  std::string_view allowed_gpus[2] = {"RTX 4090", "A100"};
  std::string_view gpu_model = "RTX 4090";  ///< What every spend asks for.
  std::int64_t locked_micro = 4'000'000;    ///< What a pair locks,
  std::int64_t gross_micro = 3'800'000;     ///< what it is paid; the rest goes back.
};

/// One call. `job` is the caller's text and lives until the call returns.
struct Operation {
  enum class Kind : std::uint8_t { spend, earn };
  Kind kind = Kind::spend;
  unsigned party = 0;  ///< The buyer of a spend, the host of an earn.
  std::string_view job;
  std::int64_t amount_micro = 0;  ///< To lock, or gross.
};

/// A ledger under measurement. Owns: its file, between `open` and `close`.
///
/// Threads: `spend`, `earn` and `bulk` are called by at most `callers` threads at once, each with its own
/// number; everything else by one thread while no call is under way.
class Subject {
 public:
  static constexpr std::size_t bulk_max = 2'000;  ///< Operations in one `bulk`: a thousand pairs.

  Subject() = default;
  virtual ~Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  /// The name that the lines of output carry.
  virtual std::string_view name() const = 0;

  /// Opens `file`, making it when it is not there, and everything that an open is to pay for: sums are ready.
  virtual void open(const std::filesystem::path& file) = 0;

  /// Called once after each `open`: makes the wallets, policies and funds of `market`, or in a file that has
  /// them finds them again.
  virtual void prepare(const Market& market) = 0;

  /// Gets ready for calls from `callers` threads, numbered from 0. Called after `prepare`, untimed.
  virtual void expect_callers(unsigned callers) = 0;

  /// Each returns when what it did is durable.
  virtual void spend(unsigned caller, const Operation& operation) = 0;
  virtual void earn(unsigned caller, const Operation& operation) = 0;

  /// Does `operations`, in order, in as few commits as it can; durable on return.
  virtual void bulk(unsigned caller, std::span<const Operation> operations) = 0;

  /// What `buyer` may spend, with the commits of other processes seen.
  virtual std::int64_t balance(unsigned buyer) = 0;

  /// Checks everything that can be checked. Fails: throws when the books are wrong.
  virtual void audit() = 0;

  virtual std::int64_t entry_count() = 0;

  /// The bytes that one receipt's signature covers, for the bare sign rate of the same message.
  virtual std::size_t signing_input_bytes() = 0;

  /// A query over this subject's file with one row an entry, its columns named `wallet` and `amount`.
  virtual std::string entries_query() const = 0;

  /// Closes the file cleanly, with nothing left in the log.
  virtual void close() = 0;
};

std::unique_ptr<Subject> make_calyx();
/// The same, with one thread of its own that signs.
std::unique_ptr<Subject> make_calyx_signing();

std::unique_ptr<Subject> make_baseline();

}  // namespace calyx::bench
