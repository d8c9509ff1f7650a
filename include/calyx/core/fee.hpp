/// \file
/// The platform's fee: one share is computed, the other is what is left, so nothing is made or lost.
#pragma once

#include <calyx/core/money.hpp>
#include <cstdint>

namespace calyx::core {

inline constexpr std::int32_t fee_basis_points_default = 1500;  ///< 15%
inline constexpr std::int32_t basis_points_whole = 10'000;

struct FeeSplit {
  Money fee;
  Money net;
};

/// The fee on `gross` rounded half-even to the micro, and the rest. `gross` is not negative and
/// `basis_points` is 0 to 10,000; then both shares are not negative and sum to `gross`.
constexpr FeeSplit split_fee(Money gross, std::int32_t basis_points) noexcept {
  const Wide scaled = static_cast<Wide>(gross.micro) * basis_points;
  auto fee = static_cast<std::int64_t>(scaled / basis_points_whole);
  const auto rest = static_cast<std::int64_t>(scaled % basis_points_whole);
  constexpr std::int64_t half = basis_points_whole / 2;
  if (rest > half || (rest == half && fee % 2 != 0)) ++fee;
  return {Money{fee}, Money{gross.micro - fee}};
}

}  // namespace calyx::core
