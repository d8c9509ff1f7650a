/// \file
/// The members of a JSON object that a caller sent, read one by one: what is wrong is answered with the
/// place as a JSON pointer (RFC 6901) and the numbers in the message.
///
/// Start at `Members`. A member that is null counts as left out.
///
/// Threads: values; `Members` looks at an object that the caller keeps.
#pragma once

#include <algorithm>
#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace calyx::core {

/// The most that a double holds exactly, and so the most that all readers of JSON agree on: 2^53 - 1.
inline constexpr std::uint64_t exact_integer_max = (std::uint64_t{1} << 53) - 1;

/// A refusal of what stands at `pointer`.
inline Error field_fault(Reason reason, std::string_view pointer, std::string message) {
  return fail(reason, std::move(message), json::object({{"field", pointer}}));
}

/// `pointer`, one step further, to be followed.
inline std::string full_pointer_step(std::string_view pointer, std::string_view name) {
  std::string out(pointer);
  out.push_back('/');
  for (const char c : name) {
    if (c == '~' || c == '/')
      out += c == '~' ? "~0" : "~1";
    else
      out.push_back(c);
  }
  return out;
}
/// What an answer repeats of a stranger's text: at most 128 bytes, and no part of a character.
inline std::string_view repeatable(std::string_view text) noexcept {
  constexpr std::size_t said_max = 128;
  if (text.size() <= said_max) return text;
  std::size_t end = said_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}
/// `pointer`, one step further, to be said in an answer.
inline std::string pointer_step(std::string_view pointer, std::string_view name) {
  return full_pointer_step(pointer, repeatable(name));
}
inline std::string pointer_step(std::string_view pointer, std::uint64_t index) {
  return pointer_step(pointer, std::to_string(index));
}

inline Error wrong_type(std::string_view pointer, const json::Value& value, std::string_view takes) {
  constexpr std::string_view kinds[] = {"null",     "a boolean", "a number", "a number",
                                        "a string", "an array",  "an object"};
  const std::string_view is = kinds[static_cast<std::size_t>(value.kind())];
  return field_fault(Reason::field_type, pointer,
                     "is " + std::string(is) + ", must be " + std::string(takes));
}

/// `a, b or c`
inline std::string listed(std::span<const std::string_view> words, std::string_view last = "or") {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 < words.size() ? ", " : " " + std::string(last) + " ";
    out += words[i];
  }
  return out;
}

struct CountRange {
  std::uint64_t least = 1;
  std::uint64_t most = exact_integer_max;
};

inline Result<std::uint64_t> read_count(std::string_view pointer, const json::Value& value,
                                        CountRange range) {
  const auto refused = [&](std::string is) {
    return field_fault(Reason::field_value, pointer,
                       "is " + std::move(is) + ", takes " + std::to_string(range.least) + " to " +
                           std::to_string(range.most));
  };
  if (const std::int64_t* integer = value.integer()) {
    if (*integer < 0 || static_cast<std::uint64_t>(*integer) < range.least ||
        static_cast<std::uint64_t>(*integer) > range.most)
      return refused(std::to_string(*integer));
    return static_cast<std::uint64_t>(*integer);
  }
  const json::Real* real = value.real();
  if (real == nullptr) return wrong_type(pointer, value, "an integer");
  if (real->token.empty() || real->token.find_first_of(".eE") != std::string::npos || real->token == "-0")
    return field_fault(Reason::field_type, pointer, "is a number, must be an integer");
  return refused("beyond 64 bits");
}

/// A seed: any u64, as an integer or as a string of its decimal digits.
inline Result<std::uint64_t> read_seed(std::string_view pointer, const json::Value& value) {
  std::string digits;
  if (value.integer() != nullptr || value.real() != nullptr)
    digits = json::text(value);
  else if (value.string() != nullptr)
    digits = *value.string();
  else
    return wrong_type(pointer, value, "an integer or a decimal string");
  std::uint64_t out = 0;
  const char* const end = digits.data() + digits.size();
  const auto done = std::from_chars(digits.data(), end, out);
  if (digits.empty() || done.ec != std::errc{} || done.ptr != end)
    return field_fault(Reason::field_value, pointer, "must be a whole number below 2^64");
  return out;
}

/// A seed as JSON that every reader gets right: an integer up to 2^53 - 1, a decimal string above.
inline json::Value seed_value(std::uint64_t seed) {
  if (seed <= exact_integer_max) return seed;
  return std::to_string(seed);
}

/// An object, where it stands, and what it is called when it is refused.
class Members {
 public:
  Members(const json::Object& object, std::string pointer, std::string noun)
      : object_(&object), pointer_(std::move(pointer)), noun_(std::move(noun)) {}

  /// The object at `pointer`. Fails: `field_type`.
  static Result<Members> of(const json::Value& value, std::string pointer, std::string noun) {
    if (value.object() == nullptr) return wrong_type(pointer, value, "an object");
    return Members(*value.object(), std::move(pointer), std::move(noun));
  }

  const json::Object& object() const noexcept { return *object_; }
  const std::string& pointer() const noexcept { return pointer_; }
  std::string at(std::string_view name) const { return pointer_step(pointer_, name); }

  /// The member, or null when it is left out.
  const json::Value* find(std::string_view name) const noexcept {
    const json::Value* value = object_->find(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }

  /// Fails: `field_missing`.
  Result<const json::Value*> need(std::string_view name) const {
    const json::Value* value = find(name);
    if (value == nullptr) return field_fault(Reason::field_missing, at(name), "is missing");
    return value;
  }

  /// Fails: `field_missing`, `field_type`, `field_value`.
  Result<std::uint64_t> count(std::string_view name, CountRange range) const {
    CALYX_TRY(const json::Value* const value, need(name));
    return read_count(at(name), *value, range);
  }
  Result<std::uint64_t> count_or(std::string_view name, CountRange range, std::uint64_t otherwise) const {
    const json::Value* value = find(name);
    if (value == nullptr) return otherwise;
    return read_count(at(name), *value, range);
  }
  Result<std::uint64_t> seed(std::string_view name) const {
    const json::Value* value = find(name);
    if (value == nullptr) return std::uint64_t{0};
    return read_seed(at(name), *value);
  }

  /// A text of at least one letter. Fails: `field_missing`, `field_type`, `field_value`.
  Result<std::string> text(std::string_view name) const {
    CALYX_TRY(const json::Value* const value, need(name));
    if (value->string() == nullptr) return wrong_type(at(name), *value, "a string");
    if (value->string()->empty()) return field_fault(Reason::field_value, at(name), "is empty");
    return *value->string();
  }

  /// Which of `words` is said, as its place among them; the first when the member is left out.
  Result<std::size_t> word(std::string_view name, std::span<const std::string_view> words) const {
    const json::Value* value = find(name);
    if (value == nullptr) return std::size_t{0};
    if (value->string() == nullptr) return wrong_type(at(name), *value, "a string");
    const auto found = std::find(words.begin(), words.end(), *value->string());
    if (found == words.end()) return field_fault(Reason::field_value, at(name), "must be " + listed(words));
    return static_cast<std::size_t>(found - words.begin());
  }

  /// The object at `name`, or an empty one when it is left out. Fails: `field_type`.
  Result<json::Object> object_or_empty(std::string_view name) const {
    const json::Value* value = find(name);
    if (value == nullptr) return json::Object();
    if (value->object() == nullptr) return wrong_type(at(name), *value, "an object");
    return *value->object();
  }

  /// Fails: `field_unknown`, for the first member that is none of `names`.
  Result<Done> only(std::initializer_list<std::string_view> names) const {
    for (const json::Member& member : *object_)
      if (std::find(names.begin(), names.end(), member.key) == names.end())
        return field_fault(Reason::field_unknown, at(member.key), "is not a field of " + noun_);
    return Done{};
  }

 private:
  const json::Object* object_;
  std::string pointer_;
  std::string noun_;
};

/// `base` with the members of `over` put into it, which win and come last where they are new. The time is
/// that of sorting, whatever a stranger's objects look like.
inline json::Object merged(json::Object base, const json::Object& over) {
  if (base.empty()) return over;
  constexpr std::size_t few = 16;
  if (over.size() <= few) {
    for (const json::Member& member : over) base.set(member.key, member.value);
    return base;
  }
  std::vector<json::Member> out(base.begin(), base.end());
  std::unordered_map<std::string_view, std::size_t> places;
  for (const json::Member& member : base) places.emplace(member.key, places.size());
  for (const json::Member& member : over) {
    const auto place = places.find(member.key);
    if (place == places.end())
      out.push_back(member);
    else
      out[place->second].value = member.value;
  }
  return *json::Object::of(std::move(out));  // each key once, as in both
}

}  // namespace calyx::core
