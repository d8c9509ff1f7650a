/// \file
/// Approvals: what a spend above a threshold leaves behind for a human to decide.
#pragma once

#include <calyx/wallets.hpp>

namespace calyx {

enum class ApprovalStatus : std::uint8_t { pending, approved, denied, used, expired };
constexpr std::string_view word(ApprovalStatus status) noexcept {
  constexpr std::string_view words[] = {"pending", "approved", "denied", "used", "expired"};
  return words[static_cast<std::size_t>(status)];
}

/// Approvals of one wallet that are kept at hand; of more the oldest that have ended go (the log keeps all).
/// When that many wait, a call that would ask for one more fails with `too_many_approvals`.
inline constexpr std::size_t approvals_kept_max = 1'000;

/// A spend, transfer or payout that waits for a human. An approval serves exactly the call that asked,
/// once; silence until `expires_at` is denial, and a denial too holds only until then.
struct Approval {
  ApprovalId id{};
  WalletId wallet{};
  ApprovalStatus status = ApprovalStatus::pending;
  std::string operation{};  ///< `spend`, `transfer` or `payout`.
  Money amount{};
  std::string job_id{};  ///< Empty unless the operation is a spend.
  std::optional<std::string> gpu_type{};
  Instant created_at{};
  Instant expires_at{};
};

}  // namespace calyx
