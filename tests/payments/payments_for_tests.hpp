/// \file
/// Vectors of payments, read by calyx's own reader.
#pragma once

#include <doctest/doctest.h>

#include <calyx/core/x402.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/crypto_for_tests.hpp"

namespace calyx::payments::for_tests {

using core::for_tests::number_of;
using core::for_tests::text_of;
using core::for_tests::vectors;

/// The member at `key`, which must be there.
inline const core::json::Value& at(const core::json::Value& value, std::string_view key) {
  const core::json::Value* const member = value.find(key);
  REQUIRE_MESSAGE(member != nullptr, "no member " << std::string(key));
  return *member;
}

inline Instant seconds_at(const core::json::Value& value, std::string_view key) {
  return {static_cast<std::int64_t>(number_of(value, key)) * core::us_per_second};
}

/// The requirement that an entry of either version's `accepts` states.
inline core::x402::Requirement requirement_of(const core::json::Value& entry) {
  core::x402::Requirement out;
  const bool v1 = entry.find("maxAmountRequired") != nullptr;
  out.scheme = text_of(entry, "scheme");
  out.network = text_of(entry, "network");
  if (v1) {
    const core::EvmAsset* const asset = core::find_evm_asset(out.network);
    REQUIRE(asset != nullptr);
    out.network = std::string(asset->caip2);
    out.resource = text_of(entry, "resource");
    out.description = text_of(entry, "description");
    out.mime_type = text_of(entry, "mimeType");
  }
  const auto amount = core::read_uint256(text_of(entry, v1 ? "maxAmountRequired" : "amount"));
  REQUIRE(amount);
  out.amount = *amount;
  out.asset = text_of(entry, "asset");
  out.pay_to = text_of(entry, "payTo");
  out.max_timeout_seconds = static_cast<std::uint32_t>(number_of(entry, "maxTimeoutSeconds"));
  if (const core::json::Value* extra = entry.find("extra")) out.extra = *extra;
  return out;
}

}  // namespace calyx::payments::for_tests
