/// \file
/// The words of payload schemas (JSON Schema 2020-12) that recipes share.
#pragma once

#include <array>
#include <calyx/core/json.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace calyx::recipes::schema {

/// The values of the member `device`, which every payload may have.
inline constexpr std::array<std::string_view, 3> devices = {"auto", "cpu", "cuda"};

inline core::json::Value one_of(std::span<const std::string_view> words) {
  core::json::Array list;
  for (const std::string_view word : words) list.emplace_back(word);
  return core::json::object({{"enum", std::move(list)}});
}

inline core::json::Value integer(std::uint64_t least, std::uint64_t most, std::string_view what) {
  return core::json::object(
      {{"type", "integer"}, {"minimum", least}, {"maximum", most}, {"description", what}});
}

inline core::json::Value number(double least, double most, std::string_view what) {
  return core::json::object(
      {{"type", "number"}, {"minimum", least}, {"maximum", most}, {"description", what}});
}

inline core::json::Value text(std::string_view what) {
  return core::json::object({{"type", "string"}, {"description", what}});
}

inline core::json::Value flag(std::string_view what) {
  return core::json::object({{"type", "boolean"}, {"description", what}});
}

/// A seed as `core::read_seed` takes it.
inline core::json::Value seed(std::string_view what) {
  return core::json::object({{"type", core::json::array({"integer", "string"})},
                             {"description", std::string(what) + " below 2^64; a string above 2^53 - 1"}});
}

/// The schema of a payload with these members, `operation` needed and no other allowed.
inline core::json::Value payload(core::json::Value members) {
  return core::json::object({{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                             {"type", "object"},
                             {"required", core::json::array({"operation"})},
                             {"additionalProperties", false},
                             {"properties", std::move(members)}});
}

}  // namespace calyx::recipes::schema
