// The fee, one micro dearer when that is planted.
#pragma once
#pragma GCC system_header  // for #include_next, which is no part of the language

#define split_fee split_fee_as_it_is
#include_next <calyx/core/fee.hpp>
#undef split_fee

#include "faults/planted/planted.hpp"

namespace calyx::core {

inline FeeSplit split_fee(Money gross, std::int32_t basis_points) noexcept {
  FeeSplit split = split_fee_as_it_is(gross, basis_points);
  if (faults::planted == faults::Planted::fee_off_by_one && split.net.micro > 0) {
    ++split.fee.micro;
    --split.net.micro;
  }
  return split;
}

}  // namespace calyx::core
