/// \file
/// Payload schemas: the subset of JSON Schema 2020-12 that calyx judges by, and nothing that it would pass
/// over.
///
/// Start at `check_schema`, which refuses what is not of the subset, and `check_by_schema`.
///
/// What judges: `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`,
/// `minLength`, `maxLength` (in characters), `items`, `minItems`, `maxItems`, `properties`, `required`,
/// `additionalProperties`, `minProperties`, `maxProperties`; a schema may be `true` or `false`. What only
/// tells:
/// `$schema`, `$comment`, `title`, `description`, `default`, `examples`, `deprecated`, `format`,
/// `contentEncoding`, `contentMediaType`.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <cmath>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace calyx::core {

inline constexpr std::string_view schema_dialect = "https://json-schema.org/draft/2020-12/schema";
inline constexpr unsigned schema_depth_max = 32;  ///< As deep as a document may be.

namespace schema_detail {

inline constexpr std::array<std::string_view, 7> types = {"null",   "boolean", "integer", "number",
                                                          "string", "array",   "object"};
inline constexpr std::array<std::string_view, 9> annotations = {
    "$comment",   "title",  "description",     "default",         "examples",
    "deprecated", "format", "contentEncoding", "contentMediaType"};

inline bool is_number(const json::Value& value) noexcept { return value.integer() || value.real(); }

/// Two numbers, exactly: an int64 is not taken for a double, which may not hold it.
inline std::partial_ordering compare(const json::Value& a, const json::Value& b) noexcept {
  if (a.integer() && b.integer()) return *a.integer() <=> *b.integer();
  if (a.real() && b.real()) return a.real()->value <=> b.real()->value;
  if (a.real()) return 0 <=> compare(b, a);
  constexpr double beyond = 9223372036854775808.0;  // 2^63
  const double real = b.real()->value;
  if (std::isnan(real)) return std::partial_ordering::unordered;
  if (real >= beyond) return std::partial_ordering::less;
  if (real < -beyond) return std::partial_ordering::greater;
  const double floor = std::floor(real);
  const auto whole = static_cast<std::int64_t>(floor);
  if (*a.integer() != whole) return *a.integer() <=> whole;
  return floor < real ? std::partial_ordering::less : std::partial_ordering::equivalent;
}

/// Equal as JSON Schema means it: 1 is 1.0, and members have no order.
inline bool same(const json::Value& a, const json::Value& b) noexcept {
  if (is_number(a) && is_number(b)) return compare(a, b) == 0;
  if (a.array() && b.array())
    return std::equal(a.array()->begin(), a.array()->end(), b.array()->begin(), b.array()->end(), same);
  if (a.object() && b.object())
    return a.object()->size() == b.object()->size() &&
           std::all_of(a.object()->begin(), a.object()->end(), [&](const json::Member& member) {
             const json::Value* other = b.find(member.key);
             return other != nullptr && same(member.value, *other);
           });
  return a == b;
}

inline bool is_of(const json::Value& value, std::string_view type) noexcept {
  switch (value.kind()) {
    case json::Kind::null: return type == "null";
    case json::Kind::boolean: return type == "boolean";
    case json::Kind::integer: return type == "integer" || type == "number";
    case json::Kind::real:
      return type == "number" ||
             (type == "integer" && std::floor(value.real()->value) == value.real()->value);
    case json::Kind::string: return type == "string";
    case json::Kind::array: return type == "array";
    case json::Kind::object: return type == "object";
  }
  return false;
}

/// Characters, not bytes.
inline std::uint64_t length(std::string_view text) noexcept {
  return static_cast<std::uint64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

inline const json::Value* texts_fault(const json::Value& list) noexcept {
  if (list.array() == nullptr) return &list;
  for (const json::Value& one : *list.array())
    if (one.string() == nullptr) return &one;
  return nullptr;
}

inline std::string said(const json::Value& value) {
  std::string text = json::canonical(value);
  const std::string_view start = repeatable(text);
  return start.size() == text.size() ? text : std::string(start) + "...";
}

}  // namespace schema_detail

/// Whether `schema` is of the subset, so that every word of it is kept. `pointer` is where it stands.
///
/// Fails: `field_unknown` for a keyword that is not of the subset; `field_type`; `field_value` (a type that
/// is none, another dialect, a count below 0, deeper than `schema_depth_max`).
inline Result<Done> check_schema(const json::Value& schema, const std::string& pointer, unsigned depth = 0) {
  namespace d = schema_detail;
  if (schema.boolean() != nullptr) return Done{};
  if (schema.object() == nullptr) return wrong_type(pointer, schema, "an object or a boolean");
  if (depth == schema_depth_max)
    return field_fault(Reason::field_value, pointer,
                       "is deeper than " + std::to_string(schema_depth_max) + " schemas");
  for (const auto& [key, value] : *schema.object()) {
    const std::string at = pointer_step(pointer, key);
    const auto is = [&key = key](std::initializer_list<std::string_view> words) {
      return std::find(words.begin(), words.end(), key) != words.end();
    };
    if (is({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) {
      if (!d::is_number(value)) return wrong_type(at, value, "a number");
    } else if (is({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})) {
      if (value.integer() == nullptr) return wrong_type(at, value, "an integer");
      if (*value.integer() < 0)
        return field_fault(Reason::field_value, at, "is " + d::said(value) + ", takes 0 or more");
    } else if (key == "type") {
      const json::Array one{value};
      const json::Array& all = value.array() == nullptr ? one : *value.array();
      for (const json::Value& type : all) {
        if (type.string() == nullptr) return wrong_type(at, type, "a type's name");
        if (std::find(d::types.begin(), d::types.end(), *type.string()) == d::types.end())
          return field_fault(Reason::field_value, at, "must be " + listed(d::types));
      }
    } else if (key == "enum") {
      if (value.array() == nullptr) return wrong_type(at, value, "a list");
    } else if (key == "required") {
      if (const json::Value* fault = d::texts_fault(value)) return wrong_type(at, *fault, "a list of names");
    } else if (is({"items", "additionalProperties"})) {
      CALYX_CHECK(check_schema(value, at, depth + 1));
    } else if (key == "properties") {
      if (value.object() == nullptr) return wrong_type(at, value, "an object");
      for (const auto& [name, inner] : *value.object())
        CALYX_CHECK(check_schema(inner, pointer_step(at, name), depth + 1));
    } else if (key == "$schema") {
      if (value.string() == nullptr || *value.string() != schema_dialect)
        return field_fault(Reason::field_value, at, "must be " + std::string(schema_dialect));
    } else if (key != "const" &&
               std::find(d::annotations.begin(), d::annotations.end(), key) == d::annotations.end()) {
      return field_fault(Reason::field_unknown, at, "is no keyword that payloads are judged by");
    }
  }
  return Done{};
}

/// Judges `value`, which stands at `pointer`, by a `schema` that `check_schema` has passed.
///
/// Fails, with the first fault: `field_type`; `field_missing`; `field_unknown`; `field_value`.
inline Result<Done> check_by_schema(const json::Value& schema, const json::Value& value,
                                    const std::string& pointer) {
  namespace d = schema_detail;
  if (schema.boolean() != nullptr) {
    if (*schema.boolean()) return Done{};
    return field_fault(Reason::field_unknown, pointer, "may not be here");
  }
  const auto number = [&](std::string_view keyword) { return schema.find(keyword); };
  const auto refused = [&](std::string message) {
    return field_fault(Reason::field_value, pointer, std::move(message));
  };
  if (const json::Value* type = schema.find("type")) {
    const json::Array one{*type};
    const json::Array& all = type->array() == nullptr ? one : *type->array();
    std::vector<std::string_view> names;
    names.reserve(all.size());
    for (const json::Value& name : all) names.push_back(*name.string());
    if (std::none_of(names.begin(), names.end(),
                     [&](std::string_view name) { return d::is_of(value, name); })) {
      if (value.real() != nullptr && std::find(names.begin(), names.end(), "integer") != names.end())
        return field_fault(Reason::field_type, pointer, "is " + d::said(value) + ", must be an integer");
      return wrong_type(pointer, value, "of type " + listed(names));
    }
  }
  if (const json::Value* list = schema.find("enum");
      list != nullptr && std::none_of(list->array()->begin(), list->array()->end(),
                                      [&](const json::Value& one) { return d::same(one, value); }))
    return refused("is " + d::said(value) + ", must be one of " + d::said(*list));
  if (const json::Value* constant = schema.find("const"); constant != nullptr && !d::same(*constant, value))
    return refused("is " + d::said(value) + ", must be " + d::said(*constant));
  if (d::is_number(value)) {
    const auto bounded = [&](std::string_view keyword, std::string_view must, bool low, bool open) {
      const json::Value* bound = number(keyword);
      if (bound == nullptr) return Result<Done>(Done{});
      const std::partial_ordering order = low ? d::compare(value, *bound) : d::compare(*bound, value);
      if (order > 0 || (!open && order == 0)) return Result<Done>(Done{});
      std::string says = "is " + d::said(value);
      says.append(", must be ").append(must).append(" ").append(d::said(*bound));
      return Result<Done>(refused(std::move(says)));
    };
    CALYX_CHECK(bounded("minimum", "at least", true, false));
    CALYX_CHECK(bounded("exclusiveMinimum", "above", true, true));
    CALYX_CHECK(bounded("maximum", "at most", false, false));
    CALYX_CHECK(bounded("exclusiveMaximum", "below", false, true));
    return Done{};
  }
  // How many there are of something that may be counted.
  const auto counted = [&](std::uint64_t has, std::string_view least, std::string_view most,
                           std::string_view what) {
    for (const bool low : {true, false}) {
      const json::Value* bound = number(low ? least : most);
      if (bound == nullptr) continue;
      const auto takes = static_cast<std::uint64_t>(*bound->integer());
      if (low ? has >= takes : has <= takes) continue;
      std::string says = "has " + std::to_string(has);
      says.append(" ").append(what).append(low ? ", needs at least " : ", takes at most ");
      return Result<Done>(refused(says + std::to_string(takes)));
    }
    return Result<Done>(Done{});
  };
  if (value.string() != nullptr)
    return counted(d::length(*value.string()), "minLength", "maxLength", "characters");
  if (value.array() != nullptr) {
    CALYX_CHECK(counted(value.array()->size(), "minItems", "maxItems", "items"));
    if (const json::Value* items = schema.find("items"))
      for (std::size_t i = 0; i < value.array()->size(); ++i)
        CALYX_CHECK(check_by_schema(*items, (*value.array())[i], pointer_step(pointer, i)));
    return Done{};
  }
  if (value.object() == nullptr) return Done{};
  CALYX_CHECK(counted(value.object()->size(), "minProperties", "maxProperties", "members"));
  if (const json::Value* required = schema.find("required"))
    for (const json::Value& name : *required->array())
      if (value.find(*name.string()) == nullptr)
        return field_fault(Reason::field_missing, pointer_step(pointer, *name.string()), "is missing");
  const json::Value* properties = schema.find("properties");
  const json::Value* others = schema.find("additionalProperties");
  for (const auto& [key, inner] : *value.object()) {
    const json::Value* rule = properties == nullptr ? nullptr : properties->find(key);
    if (rule == nullptr) rule = others;
    if (rule != nullptr) CALYX_CHECK(check_by_schema(*rule, inner, pointer_step(pointer, key)));
  }
  return Done{};
}

}  // namespace calyx::core
