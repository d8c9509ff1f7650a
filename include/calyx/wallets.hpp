/// \file
/// Wallets: who owns them, what they may spend, what they hold.
///
/// Units: amounts are micro-FLOPS (`Money`), instants are microseconds since 1970-01-01 UTC.
#pragma once

#include <calyx/core/ids.hpp>
#include <calyx/core/policy.hpp>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace calyx {

enum class OwnerType : std::uint8_t { human, agent };
enum class WalletStatus : std::uint8_t { active, frozen, closed };

constexpr std::string_view word(OwnerType type) noexcept {
  return type == OwnerType::human ? "human" : "agent";
}
constexpr std::string_view word(WalletStatus status) noexcept {
  constexpr std::string_view words[] = {"active", "frozen", "closed"};
  return words[static_cast<std::size_t>(status)];
}

/// Once per intent: the same key and the same contents give the first answer again. 1 to 128 bytes of
/// 0x21-0x7E, or empty for none. On the wire: the header `Idempotency-Key`.
using IdempotencyKey = std::string;

struct WalletCreate {
  OwnerType owner_type = OwnerType::human;
  std::string owner_id{};  ///< The caller's own name for the owner: 1 to 256 bytes of UTF-8, no controls.
  std::optional<WalletId> parent{};  ///< A human wallet; required for an agent, refused for a human.
  Policy policy{};
  IdempotencyKey idempotency_key{};
};

/// A wallet as it stands.
struct Wallet {
  WalletId id{};
  OwnerType owner_type = OwnerType::human;
  std::string owner_id{};
  std::optional<WalletId> parent{};
  WalletStatus status = WalletStatus::active;
  Policy policy{};
  Instant created_at{};
  Money balance{};          ///< The sum of the wallet's entries.
  Money held{};             ///< What the wallet has locked in open escrows.
  Money expired_pending{};  ///< The part of `held` whose deadline has passed: the next write brings it back.
  std::uint64_t txn_count = 0;  ///< Ledger transactions that touched this wallet.
};

struct WalletCreated {
  Wallet wallet{};
  std::string api_key{};  ///< Shown this once; empty when `replayed`.
  KeyId key{};
  std::string key_last4{};
  bool replayed = false;
};

/// What to change; an absent member stays as it is. A policy rule is cleared by an engaged, empty optional.
struct WalletChange {
  std::optional<WalletStatus> status{};
  std::optional<std::optional<Money>> spend_cap_per_job{};
  std::optional<std::optional<Money>> spend_cap_per_hour{};
  std::optional<std::optional<Money>> approval_threshold{};
  std::optional<std::optional<std::vector<std::string>>> allowed_gpu_types{};
};

/// What one call moved, and what the wallet holds after it.
struct Moved {
  TxnId txn{};
  Money amount{};
  Money new_balance{};
  bool replayed = false;
};

struct TopUp {
  WalletId wallet{};
  Money amount{};
  std::string reference{};  ///< The payment outside, once per wallet: 1 to 128 bytes of 0x21-0x7E, or empty.
  IdempotencyKey idempotency_key{};
};

struct WalletTransfer {
  WalletId from{};
  WalletId to{};
  Money amount{};
  std::string reference{};  ///< A note in the ledger; same shape as above, or empty.
  IdempotencyKey idempotency_key{};
};

/// A page of a list: `limit` items (1 to 1,000) that come after `after`, the `next` of the page before. A
/// page may be shorter than its limit; `next` alone tells the end.
struct Page {
  std::string after{};
  std::uint32_t limit = 100;
};

template <class T>
struct Listed {
  std::vector<T> items{};
  std::string next{};  ///< Empty when there is no more.
};

}  // namespace calyx
