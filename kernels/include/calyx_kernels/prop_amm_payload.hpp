/// \file
/// Payloads of the Prop AMM challenge: what a strategy's calls read.
///
/// A quote is the side and three numbers, a trade is a 2, the side and five; the storage lies behind either.
/// Numbers are little-endian, as are the machines that this is compiled for.
///
/// Units: amounts are nanos (1e-9).

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"

namespace calyx::kernels::prop_amm {

static_assert(std::endian::native == std::endian::little);

inline constexpr std::uint32_t quote_bytes = 25;  ///< Before the storage.
inline constexpr std::uint32_t trade_bytes = 42;  ///< Likewise.

/// In one store, since what comes in pieces cannot be loaded whole before all of them have left the
/// processor.
CALYX_HD inline void put_word(unsigned char* to, std::uint64_t value) {
  std::memcpy(to, &value, sizeof value);
}

/// Writes the `quote_bytes` of a quote.
CALYX_HD inline void put_quote(unsigned char* payload, Side side, std::uint64_t input_nano,
                               std::uint64_t reserve_x_nano, std::uint64_t reserve_y_nano) {
  payload[0] = static_cast<unsigned char>(side);
  put_word(payload + 1, input_nano);
  put_word(payload + 9, reserve_x_nano);
  put_word(payload + 17, reserve_y_nano);
}

/// Writes the `trade_bytes` of a trade, and `storage` behind them.
CALYX_HD inline void put_trade(unsigned char* payload, const Trade& trade, const unsigned char* storage) {
  payload[0] = 2;
  payload[1] = static_cast<unsigned char>(trade.side);
  put_word(payload + 2, trade.input_nano);
  put_word(payload + 10, trade.output_nano);
  put_word(payload + 18, trade.reserve_x_nano);
  put_word(payload + 26, trade.reserve_y_nano);
  put_word(payload + 34, trade.step);
  std::memcpy(payload + trade_bytes, storage, storage_bytes);
}

}  // namespace calyx::kernels::prop_amm
