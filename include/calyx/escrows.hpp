/// \file
/// Escrow: what a payer locks for a job before it runs, and how the lock ends.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/wallets.hpp>

namespace calyx {

/// Locks `amount` of `wallet` for `job_id`. `job_id` is the key: the same spend again is the first answer.
struct Spend {
  WalletId wallet{};
  std::string job_id{};  ///< Unique per payer wallet, for ever: 1 to 128 bytes of 0x21-0x7E.
  Money amount{};
  std::optional<std::string> gpu_type{};       ///< Judged by the allowlists, literally.
  std::optional<WalletId> host_wallet{};       ///< Who alone may earn it; absent: the operator settles.
  std::optional<std::int64_t> expires_in_s{};  ///< 1 to 31,536,000; absent: the lock waits for ever.
};

struct Spent {
  TxnId txn{};
  std::string job_id{};
  Money amount_locked{};
  Money new_balance{};
  bool replayed = false;
};

/// Settles `job_id`: `gross` leaves escrow, the fee to the platform, the rest of `gross` to `host`, the
/// rest of the lock back to the payer, and a receipt is signed; all of it, or nothing.
struct Earn {
  WalletId host{};
  std::string job_id{};
  Money gross_amount{};  ///< At most what is locked; 0 is a whole refund with a receipt of zero.
  core::Digest output_hash{};
  std::string gpu_model{};                 ///< 1 to 128 bytes of UTF-8 without controls.
  std::int64_t duration_seconds = 0;       ///< 0 to 2^53 - 1.
  std::optional<WalletId> payer_wallet{};  ///< Needed when two payers used the same `job_id`.
};

struct Earned {
  TxnId txn{};
  Money gross_amount{};
  Money platform_fee{};
  Money net_payout{};
  Money new_balance{};  ///< The host's.
  ReceiptId receipt{};
  bool replayed = false;
};

/// Returns the whole lock of `job_id`; a `job_id` never seen is burned, so that no late spend can use it.
struct Release {
  WalletId wallet{};
  std::string job_id{};
};

struct Released {
  TxnId txn{};
  std::string job_id{};
  Money amount{};  ///< Zero when the id was burned.
  Money new_balance{};
  bool burned = false;
  bool replayed = false;
};

enum class EscrowState : std::uint8_t { open, settled, released, expired, burned };
constexpr std::string_view word(EscrowState state) noexcept {
  constexpr std::string_view words[] = {"open", "settled", "released", "expired", "burned"};
  return words[static_cast<std::size_t>(state)];
}

struct EscrowView {
  std::string job_id{};
  WalletId payer{};
  std::optional<WalletId> host{};
  Money amount{};
  std::optional<std::string> gpu_type{};
  EscrowState state = EscrowState::open;
  TxnId locked_by{};
  Instant locked_at{};
  std::optional<Instant> expires_at{};
  std::optional<TxnId> ended_by{};
  std::optional<ReceiptId> receipt{};
};

}  // namespace calyx
