/// \file
/// A movement of money: 2 to 8 entries that sum to zero, over numbered accounts.
#pragma once

#include <array>
#include <calyx/core/money.hpp>
#include <calyx/core/reason.hpp>
#include <cstdint>
#include <span>
#include <string>

namespace calyx::core {

/// An account's number. Wallets count from `wallet_first`; an escrow account is named by the event that
/// locked it, so it needs no row of its own.
using AccountNumber = std::int64_t;

inline constexpr AccountNumber account_external =
    1;  ///< Money from and to outside; the only one that may go below zero.
inline constexpr AccountNumber account_fees = 2;  ///< The platform's fees.
inline constexpr AccountNumber wallet_first = 16;
inline constexpr AccountNumber escrow_first = AccountNumber{1} << 40;

constexpr AccountNumber escrow_account(std::int64_t lock_seq) noexcept { return escrow_first + lock_seq; }
constexpr bool is_escrow(AccountNumber account) noexcept { return account >= escrow_first; }
constexpr bool is_wallet(AccountNumber account) noexcept {
  return account >= wallet_first && account < escrow_first;
}

/// One leg. Units: micro-FLOPS; positive credits the account, negative debits it, never zero.
struct Entry {
  AccountNumber account = 0;
  Money amount;
  bool operator==(const Entry&) const = default;
};

inline constexpr std::size_t legs_min = 2;
inline constexpr std::size_t legs_max = 8;

/// An entry's number in a market: `legs_max` times its event's, and its place among the transfer's legs. So
/// entries are numbered in the order in which money moved.
using EntryId = std::int64_t;

constexpr EntryId entry_id(std::int64_t seq, std::size_t place) noexcept {
  return seq * static_cast<EntryId>(legs_max) + static_cast<EntryId>(place);
}
constexpr std::int64_t event_of(EntryId entry) noexcept { return entry / static_cast<EntryId>(legs_max); }

/// The legs of one transfer, at most one an account; a leg of nothing is left out.
class Legs {
 public:
  constexpr void add(AccountNumber account, Money amount) noexcept {
    if (amount.micro == 0) return;
    for (std::size_t i = 0; i < count_; ++i)
      if (legs_[i].account == account) {
        legs_[i].amount.micro += amount.micro;  // within int64: amounts are bounded by amount_max
        if (legs_[i].amount.micro == 0) {
          for (std::size_t j = i + 1; j < count_; ++j) legs_[j - 1] = legs_[j];
          --count_;
        }
        return;
      }
    if (count_ < legs_max) legs_[count_] = {account, amount};
    ++count_;  // one past the limit is seen by judge()
  }
  constexpr std::size_t count() const noexcept { return count_; }
  constexpr std::span<const Entry> all() const noexcept {
    return {legs_.data(), count_ < legs_max ? count_ : legs_max};
  }

 private:
  std::array<Entry, legs_max> legs_{};
  std::size_t count_ = 0;
};

/// What the rules say of a transfer's legs; a transfer may also have none at all (nothing moved).
constexpr Reason judge(const Legs& legs) noexcept {
  if (legs.count() == 0) return Reason::none;
  if (legs.count() < legs_min || legs.count() > legs_max) return Reason::legs_out_of_range;
  Wide sum = 0;
  for (const Entry& leg : legs.all()) sum += leg.amount.micro;
  return sum == 0 ? Reason::none : Reason::sum_not_zero;
}

}  // namespace calyx::core
