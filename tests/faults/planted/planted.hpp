/// \file
/// Faults that a hand could slip into the engine, switched on while the program runs.
///
/// The headers under instead/ come before the engine's own for the few sources that use them, and the linker
/// leads SQLite's doors through planted.test.cpp: everything else in this program is libcalyx.a as it is.
#pragma once

#include <cstdint>

namespace calyx::faults {

enum class Planted : std::uint8_t {
  nothing,
  normal_sync,
  index_dropped,
  chain_skips_a_field,
  fee_off_by_one
};

inline Planted planted = Planted::nothing;

}  // namespace calyx::faults
