/// \file
/// What the tests of plans and merges share: JSON written as text, and a refusal as one line.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "crypto_for_tests.hpp"

namespace calyx::core::for_tests {

inline json::Value parsed(std::string_view text) {
  auto value = ReadJson{}(text);
  REQUIRE_MESSAGE(value, "no JSON: " << std::string(text));
  return *std::move(value);
}

/// `field_value /fan_out/chunks is 20, takes 1 to 10`, or `none`.
template <class T>
std::string refusal(const Result<T>& result) {
  if (result.ok()) return "none";
  const Error& error = result.error();
  const json::Value* field = error.details.find("field");
  std::string out(word(error.reason));
  if (field != nullptr) out += " " + *field->string();
  return out + " " + error.message;
}

}  // namespace calyx::core::for_tests
