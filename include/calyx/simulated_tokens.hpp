/// \file
/// A ledger of tokens for tests and demos: a chain that is a file, or lives in memory.
///
/// Start at `SimulatedTokens::open`, give somebody tokens with `mint`, and hand it to `Options::settlement`.
/// It is no chain and checks no signature: what it keeps is that tokens move once, from who has them, and
/// that a nonce is used once.
///
/// The file is lines, each synced before the call returns; a line that a crash cut short counts as none.
///
/// Units: tokens in atomic units, as 1 to 37 decimal digits; all together too.
/// Threads: any. Processes: any number may open one file.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/payments.hpp>
#include <calyx/version.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace calyx {

/// Whose tokens of what.
struct TokenAccount {
  std::string network{}, asset{}, address{};
};

class CALYX_EXPORT SimulatedTokens final : public SettlementBackend {
 public:
  /// `path` empty: in memory. Fails: `io_error`; `corrupt`, for a file that this did not write.
  static Result<std::shared_ptr<SimulatedTokens>> open(const std::string& path = {});
  ~SimulatedTokens() override;

  /// Fails: `field_value` (no number, no address, or a balance out of range); `io_error`.
  Result<Done> mint(const TokenAccount& to, std::string_view amount);
  /// Fails: `io_error`, `corrupt`.
  Result<std::string> balance(const TokenAccount& of);
  /// How many payments have settled.
  Result<std::uint64_t> settlements();

  /// What the next answers of this object are, in place of what they would be; those told first come first.
  enum class Answer : std::uint8_t {
    pending,      ///< A settlement is done all the same, and the answer comes later.
    refused,      ///< For good, with the reason `told_to_refuse`; of what has settled already it is not said.
    unavailable,  ///< Nothing is done.
    lost,         ///< What was asked is done, and the answer is `unavailable`.
  };
  void next(Answer answer, std::size_t times = 1);

  /// Refuses with `insufficient_funds`, `nonce_used`, `amount` (no number) or `not_on_chain`.
  SettlementAnswer verify(const VerifiedPayment& payment) override;
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override;
  SettlementAnswer status(std::string_view key) override;

  /// Pays as a payer does who settles by itself: the transaction, for `VerifiedPayment::on_chain`. Fails:
  /// `insufficient_balance`; `payment_reused`; `field_value`; `io_error`.
  Result<std::string> pay(const VerifiedPayment& payment);

 private:
  struct State;
  explicit SimulatedTokens(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace calyx
