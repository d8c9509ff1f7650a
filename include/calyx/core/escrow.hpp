/// \file
/// Escrow: what may happen to a lock, and the legs of each thing that does.
#pragma once

#include <calyx/core/fee.hpp>
#include <calyx/core/time.hpp>
#include <calyx/core/transfer.hpp>
#include <optional>

namespace calyx::core {

/// How a lock ended, or that it has not.
enum class LockState : std::uint8_t { open, settled, released, expired };

/// What is known of a lock when somebody wants to settle or release it.
struct LockFacts {
  LockState state = LockState::open;
  Money locked;
  std::optional<Instant> deadline;  ///< Absent: it waits for ever.
};

/// A lock at or after its deadline has expired, whether or not anything was written yet.
constexpr bool is_due(std::optional<Instant> deadline, Instant now) noexcept {
  return deadline && now >= *deadline;
}

/// Whether `gross` may be settled out of a lock now; the first rule that is broken.
constexpr Reason judge_settlement(const LockFacts& lock, Money gross, Instant now) noexcept {
  if (lock.state == LockState::settled) return Reason::already_settled;
  if (lock.state == LockState::released) return Reason::escrow_released;
  if (lock.state == LockState::expired || is_due(lock.deadline, now)) return Reason::escrow_expired;
  if (gross > lock.locked) return Reason::gross_above_locked;
  return Reason::none;
}

/// Whether a lock may be released now by its payer.
constexpr Reason judge_release(const LockFacts& lock, Instant now) noexcept {
  if (lock.state == LockState::settled) return Reason::already_settled;
  if (lock.state == LockState::released) return Reason::escrow_released;
  if (lock.state == LockState::expired || is_due(lock.deadline, now)) return Reason::escrow_expired;
  return Reason::none;
}

/// Wallet to escrow.
constexpr Legs lock_legs(AccountNumber payer, std::int64_t lock_seq, Money amount) noexcept {
  Legs legs;
  legs.add(payer, -amount);
  legs.add(escrow_account(lock_seq), amount);
  return legs;
}

/// The whole lock leaves escrow: the fee, the host's net, and the rest back to the payer.
constexpr Legs settlement_legs(AccountNumber payer, AccountNumber host, std::int64_t lock_seq, Money locked,
                               Money gross, const FeeSplit& split) noexcept {
  Legs legs;
  legs.add(escrow_account(lock_seq), -locked);
  legs.add(account_fees, split.fee);
  legs.add(host, split.net);
  legs.add(payer, Money{locked.micro - gross.micro});
  return legs;
}

/// One host of several is paid out of a lock that stays open for the others.
constexpr Legs part_legs(AccountNumber host, std::int64_t lock_seq, Money gross,
                         const FeeSplit& split) noexcept {
  Legs legs;
  legs.add(escrow_account(lock_seq), -gross);
  legs.add(account_fees, split.fee);
  legs.add(host, split.net);
  return legs;
}

/// The whole lock goes back to the payer.
constexpr Legs release_legs(AccountNumber payer, std::int64_t lock_seq, Money locked) noexcept {
  Legs legs;
  legs.add(escrow_account(lock_seq), -locked);
  legs.add(payer, locked);
  return legs;
}

/// A movement between two accounts, outside money included.
constexpr Legs move_legs(AccountNumber from, AccountNumber to, Money amount) noexcept {
  Legs legs;
  legs.add(from, -amount);
  legs.add(to, amount);
  return legs;
}

}  // namespace calyx::core
