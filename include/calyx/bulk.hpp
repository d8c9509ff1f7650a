/// \file
/// Many operations in one commit, each with its own outcome.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/escrows.hpp>
#include <variant>

namespace calyx {

inline constexpr std::size_t bulk_max = 1'000;

using Operation = std::variant<Spend, Earn, Release, TopUp, WalletTransfer>;
using Outcome = std::variant<Spent, Earned, Released, Moved, Error>;

}  // namespace calyx
