/// \file
/// Where credits meet the outside: payouts, promotional grants, the waitlist.
#pragma once

#include <calyx/keys.hpp>
#include <calyx/wallets.hpp>

namespace calyx {

enum class PayoutStatus : std::uint8_t { pending, confirmed, failed };
constexpr std::string_view word(PayoutStatus status) noexcept {
  constexpr std::string_view words[] = {"pending", "confirmed", "failed"};
  return words[static_cast<std::size_t>(status)];
}

/// Debits `wallet` at once; the host pays outside and says how it went.
struct PayoutRequest {
  WalletId wallet{};
  Money amount{};
  std::string destination{};  ///< The host's own words, 1 to 256 bytes of UTF-8 without controls.
  IdempotencyKey idempotency_key{};
};

struct Payout {
  PayoutId id{};
  TxnId txn{};
  WalletId wallet{};
  Money amount{};
  std::string destination{};
  PayoutStatus status = PayoutStatus::pending;
  Money new_balance{};
  Instant created_at{};
  bool replayed = false;
};

/// The promotion of the documents: USD 20 in free FLOPS for the first 50 owners, once each.
inline constexpr Money grant_amount{2'000 * core::micro_per_flops};
inline constexpr std::int64_t grants_max = 50;

struct Granted {
  Moved moved{};
  std::int64_t remaining = 0;
};

enum class WaitlistStatus : std::uint8_t { waiting, approved };
constexpr std::string_view word(WaitlistStatus status) noexcept {
  return status == WaitlistStatus::waiting ? "waiting" : "approved";
}

struct WaitlistEntry {
  WaitlistId id{};
  std::string owner_id{};
  WaitlistStatus status = WaitlistStatus::waiting;
  Instant created_at{};
  bool replayed = false;
};

struct WaitlistApproved {
  WaitlistEntry entry{};
  WalletCreated created{};
};

}  // namespace calyx
