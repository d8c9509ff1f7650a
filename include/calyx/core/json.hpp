/// \file
/// A JSON value of calyx's own, and its two spellings: canonical (RFC 8785), which is what is hashed and
/// signed, and the wire's, which keeps the order of members and the digits of money.
///
/// Start at `object`, `canonical`, `text`. Reading JSON is not done here: a reader builds values.
///
/// Threads: values; share them as you would a `std::string`.
#pragma once

#include <algorithm>
#include <charconv>
#include <climits>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace calyx::core::json {

class Value;
struct Member;

using Array = std::vector<Value>;

/// A number that is no int64. Two are equal when their values are, however they were spelled.
struct Real {
  double value = 0;
  std::string token;  ///< The digits as they stood in a document, or empty; `text` prints them as they are.

  bool operator==(const Real& other) const noexcept { return value == other.value; }
};

/// Members in the order they came, no key twice.
class Object {
 public:
  Object();
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();

  /// The members as an object, or nothing when two of them have one key. For readers: the time is
  /// n log n, so a hostile document with many members costs no more than its length.
  static std::optional<Object> of(std::vector<Member> members);

  /// The value at `key`, or null. It lives until the object changes.
  const Value* find(std::string_view key) const noexcept;
  Value* find(std::string_view key) noexcept;

  /// Puts `value` at `key`: in the old one's place, else last.
  Object& set(std::string key, Value value);

  /// Takes the member at `key` out, if there is one.
  void erase(std::string_view key);

  std::size_t size() const noexcept;
  bool empty() const noexcept;
  const Member* begin() const noexcept;
  const Member* end() const noexcept;

  /// The same members with equal values, in any order: order means nothing in JSON.
  bool operator==(const Object& other) const noexcept;

 private:
  std::vector<Member> members_;
};

enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };

/// One JSON value. An accessor of another kind than `kind()` gives null; none throws.
class Value {
 public:
  Value() noexcept = default;
  Value(std::nullptr_t) noexcept {}                                   // NOLINT: converts on purpose
  Value(std::same_as<bool> auto truth) noexcept : held_(truth) {}     // NOLINT
  Value(double number) : held_(Real{number, {}}) {}                   // NOLINT
  Value(const char* letters) : held_(std::string(letters)) {}         // NOLINT
  Value(std::string_view letters) : held_(std::string(letters)) {}    // NOLINT
  Value(std::string letters) noexcept : held_(std::move(letters)) {}  // NOLINT
  Value(Array items) noexcept : held_(std::move(items)) {}            // NOLINT
  Value(Object members) noexcept : held_(std::move(members)) {}       // NOLINT

  /// Any integer; one above 2^63 - 1 is held as a `Real` with its digits.
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) Value(T number) {  // NOLINT
    if constexpr (std::is_unsigned_v<T> && sizeof(T) >= sizeof(std::int64_t)) {
      if (number > static_cast<T>(INT64_MAX)) {
        held_ = Real{static_cast<double>(number), std::to_string(number)};
        return;
      }
    }
    held_ = static_cast<std::int64_t>(number);
  }

  /// A number that `text` prints with the digits of `token`, which must be a JSON number. One too large for
  /// a double has the value infinity, one too small zero; the digits stay.
  static Value number_token(std::string token);

  Kind kind() const noexcept { return static_cast<Kind>(held_.index()); }
  bool is_null() const noexcept { return kind() == Kind::null; }
  const bool* boolean() const noexcept { return std::get_if<bool>(&held_); }
  const std::int64_t* integer() const noexcept { return std::get_if<std::int64_t>(&held_); }
  const Real* real() const noexcept { return std::get_if<Real>(&held_); }
  const std::string* string() const noexcept { return std::get_if<std::string>(&held_); }
  const Array* array() const noexcept { return std::get_if<Array>(&held_); }
  Array* array() noexcept { return std::get_if<Array>(&held_); }
  const Object* object() const noexcept { return std::get_if<Object>(&held_); }
  Object* object() noexcept { return std::get_if<Object>(&held_); }

  /// The member at `key`, or null when there is none or this is no object.
  const Value* find(std::string_view key) const noexcept {
    const Object* members = object();
    return members == nullptr ? nullptr : members->find(key);
  }

  /// The same kind with equal contents: 5 and 5.0 differ, 5.0 and 5.00 do not.
  bool operator==(const Value& other) const noexcept { return held_ == other.held_; }

 private:
  std::variant<std::monostate, bool, std::int64_t, Real, std::string, Array, Object> held_;
};

struct Member {
  std::string key;
  Value value;
};

inline Value Value::number_token(std::string token) {
  Real real;
  const auto read = std::from_chars(token.data(), token.data() + token.size(), real.value);
  if (read.ec == std::errc::result_out_of_range) {
    // `from_chars` does not say on which side. The number is 0.d... * 10^power with d not zero; what is out
    // of range is far from 1, so the sign of the power tells.
    long power = 0;
    bool begun = false;
    bool decimals = false;
    std::size_t at = 0;
    for (; at < token.size() && token[at] != 'e' && token[at] != 'E'; ++at) {
      if (token[at] == '.') decimals = true;
      if (token[at] < '0' || token[at] > '9') continue;
      begun = begun || token[at] != '0';
      if (begun && !decimals) ++power;
      if (!begun && decimals) --power;
    }
    if (at < token.size()) {
      const std::size_t digits = token[at + 1] == '+' ? at + 2 : at + 1;
      long exponent = 0;
      const auto last = std::from_chars(token.data() + digits, token.data() + token.size(), exponent);
      if (last.ec == std::errc::result_out_of_range)
        exponent = token[digits] == '-' ? LONG_MIN / 2 : LONG_MAX / 2;
      power += std::clamp(exponent, LONG_MIN / 2, LONG_MAX / 2);
    }
    real.value = power > 0 ? HUGE_VAL : 0.0;
    if (token.front() == '-') real.value = -real.value;
  }
  real.token = std::move(token);
  Value value;
  value.held_ = std::move(real);
  return value;
}

inline Object::Object() = default;
inline Object::Object(const Object&) = default;
inline Object::Object(Object&&) noexcept = default;
inline Object& Object::operator=(const Object&) = default;
inline Object& Object::operator=(Object&&) noexcept = default;
inline Object::~Object() = default;

inline std::size_t Object::size() const noexcept { return members_.size(); }
inline bool Object::empty() const noexcept { return members_.empty(); }
inline const Member* Object::begin() const noexcept { return members_.data(); }
inline const Member* Object::end() const noexcept { return members_.data() + members_.size(); }

inline const Value* Object::find(std::string_view key) const noexcept {
  for (const Member& member : members_)
    if (member.key == key) return &member.value;
  return nullptr;
}
inline Value* Object::find(std::string_view key) noexcept {
  return const_cast<Value*>(std::as_const(*this).find(key));
}

inline Object& Object::set(std::string key, Value value) {
  if (Value* old = find(key))
    *old = std::move(value);
  else
    members_.push_back(Member{std::move(key), std::move(value)});
  return *this;
}

inline void Object::erase(std::string_view key) {
  std::erase_if(members_, [key](const Member& member) { return member.key == key; });
}

inline std::optional<Object> Object::of(std::vector<Member> members) {
  std::vector<std::string_view> keys;
  keys.reserve(members.size());
  for (const Member& member : members) keys.push_back(member.key);
  std::sort(keys.begin(), keys.end());
  if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) return std::nullopt;
  Object object;
  object.members_ = std::move(members);
  return object;
}

inline bool Object::operator==(const Object& other) const noexcept {
  if (size() != other.size()) return false;
  for (std::size_t i = 0; i < size(); ++i) {
    // Two objects made in one way have one order, so the member at the same place is tried first.
    const Member& mine = members_[i];
    const Member& theirs = other.members_[i];
    const Value* value = theirs.key == mine.key ? &theirs.value : other.find(mine.key);
    if (value == nullptr || !(*value == mine.value)) return false;
  }
  return true;
}

/// `object({{"needed", 4}, {"field", "/amount"}})`; of two members with one key the later counts.
inline Value object(std::initializer_list<Member> members) {
  Object out;
  for (const Member& member : members) out.set(member.key, member.value);
  return Value(std::move(out));
}
inline Value array(std::initializer_list<Value> items) { return Value(Array(items)); }

/// Whether `bytes` is UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, at most U+10FFFF.
inline bool valid_utf8(std::string_view bytes) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* const end = at + bytes.size();
  const auto continues = [end](const unsigned char* p, unsigned char low, unsigned char high) {
    return p < end && *p >= low && *p <= high;
  };
  while (at < end) {
    if (end - at >= 8) {  // most text is ASCII: eight bytes at a look
      std::uint64_t eight;
      std::memcpy(&eight, at, sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        at += 8;
        continue;
      }
    }
    const unsigned char lead = *at++;
    if (lead < 0x80) continue;
    // The second byte's range is what keeps out overlong forms, surrogates and what lies past U+10FFFF.
    int more;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
      more = 1;
    else if (lead >= 0xE0 && lead <= 0xEF)
      more = 2;
    else if (lead >= 0xF0 && lead <= 0xF4)
      more = 3;
    else
      return false;
    if (lead == 0xE0)
      low = 0xA0;
    else if (lead == 0xED)
      high = 0x9F;
    else if (lead == 0xF0)
      low = 0x90;
    else if (lead == 0xF4)
      high = 0x8F;
    if (!continues(at++, low, high)) return false;
    while (--more > 0)
      if (!continues(at++, 0x80, 0xBF)) return false;
  }
  return true;
}

/// Whether `c` must be escaped in a string.
constexpr bool needs_escape(char c) noexcept {
  return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}
/// The same of any of the eight characters in `eight`.
constexpr bool any_needs_escape(std::uint64_t eight) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101;
  // The highest bit of a byte comes to be set where the byte is below `least`. A borrow may set it in the
  // byte above such a one as well, and nowhere else: whether there is any is exact.
  const auto below = [](std::uint64_t bytes, std::uint64_t least) { return (bytes - ones * least) & ~bytes; };
  const std::uint64_t found =
      below(eight, 0x20) | below(eight ^ ones * '"', 1) | below(eight ^ ones * '\\', 1);
  return (found & ones << 7) != 0;
}
/// Whether `text` holds nothing that must be escaped: so it is with nearly all texts.
inline bool is_plain(std::string_view text) noexcept {
  if (text.size() < 8) return std::none_of(text.begin(), text.end(), needs_escape);
  const char* const last = text.data() + text.size() - 8;
  std::uint64_t eight;
  for (const char* at = text.data(); at < last; at += 8) {
    std::memcpy(&eight, at, sizeof eight);
    if (any_needs_escape(eight)) return false;
  }
  std::memcpy(&eight, last, sizeof eight);
  return !any_needs_escape(eight);
}

/// Writes the plain `text` in quotes where `to` points, and gives its end.
inline char* put_quoted(char* to, std::string_view text) noexcept {
  *to++ = '"';
  to += text.copy(to, text.size());  // unlike memcpy, of a view of nothing too
  *to++ = '"';
  return to;
}

/// The room that `put_string` may need.
constexpr std::size_t string_bytes_max(std::string_view text) noexcept { return 6 * text.size() + 2; }

/// Writes `text` where `to` points, quoted and escaped as RFC 8785 says, and gives its end. It must be UTF-8.
inline char* put_string(char* to, std::string_view text) noexcept {
  if (is_plain(text)) return put_quoted(to, text);
  *to++ = '"';
  for (const char c : text) {
    if (!needs_escape(c)) {
      *to++ = c;
      continue;
    }
    *to++ = '\\';
    switch (c) {
      case '\b': *to++ = 'b'; break;
      case '\t': *to++ = 't'; break;
      case '\n': *to++ = 'n'; break;
      case '\f': *to++ = 'f'; break;
      case '\r': *to++ = 'r'; break;
      case '"':
      case '\\': *to++ = c; break;
      default: {
        constexpr std::string_view digits = "0123456789abcdef";
        for (const char letter : {'u', '0', '0', digits[static_cast<unsigned char>(c) >> 4], digits[c & 15]})
          *to++ = letter;
      }
    }
  }
  *to++ = '"';
  return to;
}
/// Appends what `put_string` writes.
inline void append_string(std::string& out, std::string_view text) {
  const std::size_t start = out.size();
  if (is_plain(text)) {
    out.resize(start + text.size() + 2);
    put_quoted(out.data() + start, text);
    return;
  }
  out.resize(start + string_bytes_max(text));
  const char* const end = put_string(out.data() + start, text);
  out.resize(static_cast<std::size_t>(end - out.data()));
}

inline constexpr std::size_t integer_bytes_max = 20;
inline char* put_integer(char* to, std::int64_t number) noexcept {
  return std::to_chars(to, to + integer_bytes_max, number).ptr;
}
inline void append_integer(std::string& out, std::int64_t number) {
  char digits[integer_bytes_max];
  out.append(digits, static_cast<std::size_t>(put_integer(digits, number) - digits));
}

/// Appends the text that ECMAScript gives `number`, as RFC 8785 asks. JSON has no infinities and no
/// not-a-numbers; they print as `null`, as they do there.
inline void append_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  constexpr double exact_integers = 9007199254740992;                       // 2^53
  if (std::abs(number) < exact_integers && number == std::trunc(number)) {  // minus zero prints as 0
    append_integer(out, static_cast<std::int64_t>(number));
    return;
  }

  // The shortest digits come as d[.ddd]e+-xx; ECMAScript differs only in where the point goes.
  char scientific[32];
  const auto done =
      std::to_chars(scientific, scientific + sizeof scientific, number, std::chars_format::scientific);
  const char* at = scientific;
  if (*at == '-') out.push_back(*at++);
  const char* const e = std::find(at, static_cast<const char*>(done.ptr), 'e');
  char digits[20];
  int count = 0;
  for (; at != e; ++at)
    if (*at != '.') digits[count++] = *at;
  int exponent = 0;
  std::from_chars(e[1] == '+' ? e + 2 : e + 1, done.ptr, exponent);
  const int point = exponent + 1;  // digits before the decimal point, when all are written out

  const auto put = [&out, &digits](int from, int to) {
    out.append(digits + from, static_cast<std::size_t>(to - from));
  };
  const auto zeros = [&out](int how_many) { out.append(static_cast<std::size_t>(how_many), '0'); };
  if (count <= point && point <= 21) {
    put(0, count);
    zeros(point - count);
  } else if (0 < point && point <= 21) {
    put(0, point);
    out.push_back('.');
    put(point, count);
  } else if (-6 < point && point <= 0) {
    out += "0.";
    zeros(-point);
    put(0, count);
  } else {
    put(0, 1);
    if (count > 1) {
      out.push_back('.');
      put(1, count);
    }
    out += exponent < 0 ? "e-" : "e+";
    append_integer(out, exponent < 0 ? -exponent : exponent);
  }
}

/// Whether `a` comes before `b` by UTF-16 code units. That is the order of their UTF-8 bytes but for one
/// thing: what needs a surrogate pair (lead bytes F0 to F4) comes before U+E000 to U+FFFF (EE and EF).
inline bool before_in_utf16(std::string_view a, std::string_view b) noexcept {
  const std::size_t common = std::min(a.size(), b.size());
  std::size_t at = 0;
  while (at < common && a[at] == b[at]) ++at;
  if (at == common) return a.size() < b.size();
  const auto rank = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == 0xEE || byte == 0xEF ? byte + 0x10 : byte;
  };
  return rank(a[at]) < rank(b[at]);
}

/// Appends the RFC 8785 spelling of `value`. An integer beyond 2^53 is spelled as the double nearest to
/// it, since that is all that the canonical form knows; so is a number that has a token.
inline void append_canonical(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::null: out += "null"; return;
    case Kind::boolean: out += *value.boolean() ? "true" : "false"; return;
    case Kind::integer: {
      constexpr std::int64_t exact_integers = std::int64_t{1} << 53;
      const std::int64_t number = *value.integer();
      if (number > exact_integers || number < -exact_integers)
        append_number(out, static_cast<double>(number));
      else
        append_integer(out, number);
      return;
    }
    case Kind::real: append_number(out, value.real()->value); return;
    case Kind::string: append_string(out, *value.string()); return;
    case Kind::array: {
      char before = '[';
      for (const Value& item : *value.array()) {
        out.push_back(before);
        append_canonical(out, item);
        before = ',';
      }
      if (before == '[') out.push_back(before);
      out.push_back(']');
      return;
    }
    case Kind::object: {
      std::vector<const Member*> sorted;
      sorted.reserve(value.object()->size());
      for (const Member& member : *value.object()) sorted.push_back(&member);
      std::sort(sorted.begin(), sorted.end(),
                [](const Member* a, const Member* b) { return before_in_utf16(a->key, b->key); });
      char before = '{';
      for (const Member* member : sorted) {
        out.push_back(before);
        append_string(out, member->key);
        out.push_back(':');
        append_canonical(out, member->value);
        before = ',';
      }
      if (before == '{') out.push_back(before);
      out.push_back('}');
      return;
    }
  }
}
inline std::string canonical(const Value& value) {
  std::string out;
  append_canonical(out, value);
  return out;
}

/// Whether every reader gets the same value from `value`'s canonical text: integers within 2^53 - 1 and no
/// other number. What fails this is not signed and not hashed.
inline bool signable(const Value& value) noexcept {
  constexpr std::int64_t integer_max = (std::int64_t{1} << 53) - 1;
  if (value.kind() == Kind::real) return false;
  if (const std::int64_t* number = value.integer()) return *number <= integer_max && *number >= -integer_max;
  if (const Array* items = value.array()) return std::all_of(items->begin(), items->end(), signable);
  if (const Object* members = value.object())
    return std::all_of(members->begin(), members->end(), [](const Member& m) { return signable(m.value); });
  return true;
}

/// Appends the wire's spelling of `value`: members in their order, no spaces, tokens as they are.
inline void append_text(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::integer: append_integer(out, *value.integer()); return;
    case Kind::real:
      if (value.real()->token.empty())
        append_number(out, value.real()->value);
      else
        out += value.real()->token;
      return;
    case Kind::array: {
      char before = '[';
      for (const Value& item : *value.array()) {
        out.push_back(before);
        append_text(out, item);
        before = ',';
      }
      if (before == '[') out.push_back(before);
      out.push_back(']');
      return;
    }
    case Kind::object: {
      char before = '{';
      for (const Member& member : *value.object()) {
        out.push_back(before);
        append_string(out, member.key);
        out.push_back(':');
        append_text(out, member.value);
        before = ',';
      }
      if (before == '{') out.push_back(before);
      out.push_back('}');
      return;
    }
    case Kind::null:
    case Kind::boolean:
    case Kind::string: append_canonical(out, value); return;
  }
}
inline std::string text(const Value& value) {
  std::string out;
  append_text(out, value);
  return out;
}

}  // namespace calyx::core::json
