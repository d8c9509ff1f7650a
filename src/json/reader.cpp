#include "reader.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pointer.hpp"

namespace calyx {
namespace {

namespace json = core::json;
namespace ondemand = simdjson::ondemand;

/// A parser and its buffer. Texts up to `desk_bytes` are read at the thread's own desk, so that a usual
/// request allocates neither; a large one must not leave its megabytes behind in every thread.
struct Desk {
  ondemand::parser parser;
  std::string padded;
};
constexpr std::size_t desk_bytes = std::size_t{16} << 10;

/// Set once the thread's desk is destroyed: destructors of the host's own statics may still call.
thread_local bool desk_gone = false;
struct ThreadDesk : Desk {
  ~ThreadDesk() { desk_gone = true; }
};
thread_local ThreadDesk thread_desk;

constexpr bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Where the value at hand stands, as a chain through the stack: names cost nothing until one is asked for.
struct Place {
  const Place* parent = nullptr;
  std::string_view key;
  std::size_t index = 0;
  bool in_array = false;
};

void append_pointer(std::string& out, const Place* place) {
  if (place == nullptr || place->parent == nullptr) return;  // the root has the empty pointer
  append_pointer(out, place->parent);
  if (place->in_array)
    append_pointer_step(out, std::to_string(place->index));
  else
    append_pointer_step(out, place->key);
}

Error fail_at(Reason reason, std::string message, const Place& place) {
  std::string pointer;
  append_pointer(pointer, &place);
  return fail(reason, std::move(message), json::object({{"at", std::move(pointer)}}));
}
Error fail_at(Reason reason, std::string message, std::size_t offset) {
  message += " at byte " + std::to_string(offset);
  return fail(reason, std::move(message), json::object({{"at", static_cast<std::int64_t>(offset)}}));
}

/// The first byte that begins no character. `text` is not UTF-8.
std::size_t utf8_fault(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (!json::valid_utf8(text.substr(at, size))) break;
    at += size;
  }
  return at;
}

/// Whether the escapes in `raw`, a string as it stands in the text, name half a surrogate pair.
bool has_half_pair(std::string_view raw) noexcept {
  const auto unit = [raw](std::size_t at) -> std::optional<unsigned> {
    if (raw.size() < at + 6 || raw[at] != '\\' || raw[at + 1] != 'u') return std::nullopt;
    unsigned value = 0;
    const char* const digits = raw.data() + at + 2;
    const auto read = std::from_chars(digits, digits + 4, value, 16);
    return read.ptr == digits + 4 ? std::optional<unsigned>(value) : std::nullopt;
  };
  for (std::size_t at = 0; at < raw.size(); ++at) {
    if (raw[at] != '\\') continue;
    const auto first = unit(at);
    if (!first) {
      ++at;  // what is escaped is no backslash of its own
      continue;
    }
    at += 5;
    if (*first < 0xD800 || *first > 0xDFFF) continue;
    const auto second = unit(at + 1);
    if (*first >= 0xDC00 || !second || *second < 0xDC00 || *second > 0xDFFF) return true;
    at += 6;
  }
  return false;
}

/// The number that begins `token`, as RFC 8259 spells numbers, or an empty view. `whole`: it has neither
/// point nor exponent.
struct NumberToken {
  std::string_view text;
  bool whole = true;
  bool exponent = false;
};
NumberToken number_at_start(std::string_view token) noexcept {
  NumberToken number;
  std::size_t at = 0;
  const auto peek = [token](std::size_t i) { return i < token.size() ? token[i] : '\0'; };
  const auto digits = [&] {
    const std::size_t from = at;
    while (is_digit(peek(at))) ++at;
    return at > from;
  };
  if (peek(at) == '-') ++at;
  if (peek(at) == '0')
    ++at;
  else if (!digits())
    return {};
  if (peek(at) == '.') {
    number.whole = false;
    ++at;
    if (!digits()) return {};
  }
  if (peek(at) == 'e' || peek(at) == 'E') {
    number.whole = false;
    number.exponent = true;
    ++at;
    if (peek(at) == '+' || peek(at) == '-') ++at;
    if (!digits()) return {};
  }
  number.text = token.substr(0, at);
  return number;
}

/// The number, true, false or null that is all of `token`, or nothing.
std::optional<json::Value> scalar(std::string_view token) {
  if (token == "true") return json::Value(true);
  if (token == "false") return json::Value(false);
  if (token == "null") return json::Value();
  const NumberToken number = number_at_start(token);
  if (number.text.empty() || number.text.size() != token.size()) return std::nullopt;
  if (number.whole && token != "-0") {
    std::int64_t integer = 0;
    const auto read = std::from_chars(token.data(), token.data() + token.size(), integer);
    if (read.ec == std::errc()) return json::Value(integer);
  }
  return json::Value::number_token(std::string(token));
}

/// Whether the canonical spelling of `number` is its own text: an integer that a double holds, or a plain
/// decimal of at most 15 significant digits, the last of them not 0. Such a one is the shortest that reads as
/// its double, since no two decimals of 15 digits read as the same one.
bool is_canonical(const NumberToken& number) noexcept {
  std::string_view digits = number.text;
  if (!digits.empty() && digits.front() == '-') digits.remove_prefix(1);
  if (number.exponent || digits.size() > 16) return false;
  if (number.whole) return digits.size() <= 15 && number.text != "-0";
  if (digits.back() == '0') return false;
  // From 0.000001 on, what is smaller has an exponent.
  return digits.substr(0, 8) != "0.000000";
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// One walk over one text, from its first byte to its last: simdjson's on-demand front checks only what is
/// visited, so everything is.
class Walk {
 public:
  /// `cut` may be null; then `items_a_segment` means nothing.
  Walk(Desk& desk, std::string_view text, const ReadLimits& limits, std::size_t items_a_segment,
       LongList* cut)
      : desk_(desk), text_(text), limits_(limits), items_a_segment_(items_a_segment), cut_(cut) {}

  Result<json::Value> all() {
    const std::string_view bare = trimmed(text_);
    if (bare.empty()) return fail_at(Reason::not_json, "there is no value", text_.size());
    if (bare.front() != '{' && bare.front() != '[' && bare.front() != '"') {
      // A bare scalar has no structure for simdjson to find.
      if (auto value = scalar(bare)) return *std::move(value);
      return fail_at(Reason::not_json, "no JSON value", static_cast<std::size_t>(bare.data() - text_.data()));
    }

    // simdjson reads past the end; zeros there are no part of any JSON text.
    desk_.padded.reserve(text_.size() + simdjson::SIMDJSON_PADDING);
    desk_.padded.assign(text_);
    desk_.padded.append(simdjson::SIMDJSON_PADDING, '\0');
    const simdjson::padded_string_view view(desk_.padded.data(), text_.size(), desk_.padded.size());
    if (const auto error = desk_.parser.iterate(view).get(document_)) return syntax(error);
    begun_ = true;

    const Place root;
    json::Value value;
    if (bare.front() == '"') {
      CALYX_TRY(value, string(document_.get_string(), bare, root));
    } else if (bare.front() == '[') {
      ondemand::array items;
      if (const auto error = document_.get_array().get(items)) return syntax(error);
      CALYX_TRY(value, array(items, root, 1));
    } else {
      ondemand::object members;
      if (const auto error = document_.get_object().get(members)) return syntax(error);
      CALYX_TRY(value, object(members, root, 1));
    }
    const char* rest = nullptr;
    if (document_.current_location().get(rest) == simdjson::SUCCESS)
      return fail_at(Reason::trailing_bytes, "something follows the value", offset_of(rest));
    return value;
  }

 private:
  std::size_t offset_of(const char* at) const noexcept {
    const std::ptrdiff_t offset = at - desk_.padded.data();
    return offset < 0 ? 0 : std::min(static_cast<std::size_t>(offset), text_.size());
  }

  /// simdjson's complaint as an error of ours.
  Error syntax(simdjson::error_code error) {
    if (error == simdjson::MEMALLOC) return fail(Reason::no_memory, "no memory to read JSON");
    std::size_t offset = text_.size();
    const char* at = nullptr;
    if (begun_ && document_.current_location().get(at) == simdjson::SUCCESS) offset = offset_of(at);
    return fail_at(Reason::not_json, "no JSON", offset);
  }

  /// What `read` unescaped out of `raw`; it lives until the next text is read at this desk.
  Result<std::string_view> string(simdjson::simdjson_result<std::string_view> read, std::string_view raw,
                                  const Place& place) {
    std::string_view text;
    if (const auto error = std::move(read).get(text)) {
      if (has_half_pair(raw)) return fail_at(Reason::not_utf8, "half a surrogate pair", place);
      return syntax(error);
    }
    // Some versions of simdjson let a lone low surrogate through, as bytes that are no UTF-8.
    if (text.find('\xED') != std::string_view::npos && !json::valid_utf8(text))
      return fail_at(Reason::not_utf8, "half a surrogate pair", place);
    if (text.find('\0') != std::string_view::npos)
      return fail_at(Reason::zero_character, "U+0000 in a string", place);
    return text;
  }

  Result<json::Value> value(ondemand::value& from, const Place& place, std::size_t depth) {
    const std::string_view token = from.raw_json_token();
    switch (token.empty() ? '\0' : token.front()) {
      case '{': {
        ondemand::object members;
        if (const auto error = from.get_object().get(members)) return syntax(error);
        return object(members, place, depth + 1);
      }
      case '[': {
        ondemand::array items;
        if (const auto error = from.get_array().get(items)) return syntax(error);
        return array(items, place, depth + 1);
      }
      case '"': {
        CALYX_TRY(const std::string_view text, string(from.get_string(), token, place));
        return json::Value(text);
      }
      default: {
        auto read = scalar(trimmed(token));
        if (!read) return fail_at(Reason::not_json, "no JSON value", offset_of(token.data()));
        return *std::move(read);
      }
    }
  }

  Result<json::Value> array(ondemand::array& from, const Place& place, std::size_t depth) {
    if (depth > limits_.depth) return too_deep(place);
    if (cut_ != nullptr && cut_->items == 0 && depth == 3 && !place.in_array && !place.parent->in_array) {
      std::size_t count = 0;
      if (const auto error = from.count_elements().get(count)) return syntax(error);
      if (count > items_a_segment_) return cut(from, place, depth);
    }
    json::Array items;
    Place inner{&place, {}, 0, true};
    for (auto read : from) {
      ondemand::value item;
      if (const auto error = std::move(read).get(item)) return syntax(error);
      CALYX_TRY(json::Value value_here, value(item, inner, depth));
      items.push_back(std::move(value_here));
      ++inner.index;
    }
    return json::Value(std::move(items));
  }

  Result<json::Value> object(ondemand::object& from, const Place& place, std::size_t depth) {
    if (depth > limits_.depth) return too_deep(place);
    std::vector<json::Member> members;
    for (auto read : from) {
      ondemand::field field;
      if (const auto error = std::move(read).get(field)) return syntax(error);
      const std::string_view raw = raw_key(field.key()).letters;
      CALYX_TRY(const std::string_view key, string(field.unescaped_key(), raw, place));
      const Place inner{&place, key, 0, false};
      CALYX_TRY(json::Value member, value(field.value(), inner, depth));
      members.push_back(json::Member{std::string(key), std::move(member)});
    }
    if (const auto twice = key_twice(members))
      return fail_at(Reason::duplicate_key, "the key stands twice", Place{&place, *twice, 0, false});
    return json::Value(*json::Object::of(std::move(members)));
  }

  /// Puts the list `from` into `cut_`; an empty one is left.
  Result<json::Value> cut(ondemand::array& from, const Place& place, std::size_t depth) {
    append_pointer(cut_->pointer, &place);
    std::string segment;
    Place inner{&place, {}, 0, true};
    std::size_t room = 0;
    const auto close = [&] {
      segment.push_back(']');
      room = segment.size();
      cut_->segments.push_back(std::move(segment));
      segment = std::string();
    };
    for (auto read : from) {
      ondemand::value item;
      if (const auto error = std::move(read).get(item)) return syntax(error);
      if (segment.empty()) segment.reserve(room + room / 8);
      segment.push_back(segment.empty() ? '[' : ',');
      const std::size_t start = segment.size();
      CALYX_CHECK(spell(item, inner, depth, segment));
      cut_->objects = cut_->objects && segment[start] == '{';
      if (++inner.index % items_a_segment_ == 0) close();
    }
    if (!segment.empty()) close();
    cut_->items = inner.index;
    return json::Value(json::Array());
  }

  /// Appends the canonical spelling of `from`, which nobody keeps as a value.
  Result<Done> spell(ondemand::value& from, const Place& place, std::size_t depth, std::string& out) {
    const std::string_view token = from.raw_json_token();
    switch (token.empty() ? '\0' : token.front()) {
      case '{': {
        ondemand::object members;
        if (const auto error = from.get_object().get(members)) return syntax(error);
        return spell(members, place, depth + 1, out);
      }
      case '[': {
        ondemand::array items;
        if (const auto error = from.get_array().get(items)) return syntax(error);
        if (depth + 1 > limits_.depth) return too_deep(place);
        Place inner{&place, {}, 0, true};
        out.push_back('[');
        for (auto read : items) {
          ondemand::value item;
          if (const auto error = std::move(read).get(item)) return syntax(error);
          if (inner.index != 0) out.push_back(',');
          CALYX_CHECK(spell(item, inner, depth + 1, out));
          ++inner.index;
        }
        out.push_back(']');
        return Done{};
      }
      case '"': {
        const std::string_view raw = trimmed(token);
        if (raw.find('"', 1) == raw.size() - 1 && raw.find('\\') == std::string_view::npos) {
          // Taken, not passed over: who passes over a string takes a colon behind it for its own.
          ondemand::raw_json_string taken;
          if (const auto error = from.get_raw_json_string().get(taken)) return syntax(error);
          out += raw;
          return Done{};
        }
        CALYX_TRY(const std::string_view text, string(from.get_string(), token, place));
        json::append_string(out, text);
        return Done{};
      }
      default: {
        const std::string_view bare = trimmed(token);
        const NumberToken number = number_at_start(bare);
        if (!number.text.empty() && number.text.size() == bare.size() && is_canonical(number)) {
          out += bare;
          return Done{};
        }
        const auto read = scalar(bare);
        if (!read) return fail_at(Reason::not_json, "no JSON value", offset_of(token.data()));
        json::append_canonical(out, *read);
        return Done{};
      }
    }
  }

  Result<Done> spell(ondemand::object& from, const Place& place, std::size_t depth, std::string& out) {
    if (depth > limits_.depth) return too_deep(place);
    const std::size_t first = pieces_.size();
    out.push_back('{');
    const std::size_t start = out.size();
    bool in_order = true;
    for (auto read : from) {
      ondemand::field field;
      if (const auto error = std::move(read).get(field)) return syntax(error);
      // Unescaped, a key lies in the text or in the parser's own buffer, which is not used again before the
      // next text.
      const auto [raw, escaped] = raw_key(field.key());
      std::string_view key = raw;
      if (escaped) {
        CALYX_TRY(key, string(field.unescaped_key(), raw, place));
      }
      const std::size_t comma = pieces_.size() == first ? 0 : 1;
      if (comma != 0) in_order = in_order && json::before_in_utf16(pieces_.back().key, key);
      const std::size_t begin = out.size() + comma;
      const char* const quote = raw.data() - 1;
      if (!escaped && raw.data()[raw.size() + 1] == ':' && (comma == 0 || quote[-1] == ',')) {
        out.append(quote - comma, comma + raw.size() + 3);  // the comma, the key in its quotes, the colon
      } else {
        if (comma != 0) out.push_back(',');
        if (escaped)
          json::append_string(out, key);
        else
          out.append(quote, raw.size() + 2);
        out.push_back(':');
      }
      const Place inner{&place, key, 0, false};
      CALYX_CHECK(spell(field.value(), inner, depth, out));
      pieces_.push_back({key, begin, out.size()});
    }
    if (!in_order) {
      const auto pieces = pieces_.begin() + static_cast<std::ptrdiff_t>(first);
      std::sort(pieces, pieces_.end(),
                [](const Piece& a, const Piece& b) { return json::before_in_utf16(a.key, b.key); });
      const auto twice = std::adjacent_find(pieces, pieces_.end(),
                                            [](const Piece& a, const Piece& b) { return a.key == b.key; });
      if (twice != pieces_.end())
        return fail_at(Reason::duplicate_key, "the key stands twice", Place{&place, twice->key, 0, false});
      ordered_.clear();
      for (auto piece = pieces; piece != pieces_.end(); ++piece) {
        if (piece != pieces) ordered_.push_back(',');
        ordered_.append(out, piece->begin, piece->end - piece->begin);
      }
      out.replace(start, out.size() - start, ordered_);
    }
    pieces_.resize(first);
    out.push_back('}');
    return Done{};
  }

  Error too_deep(const Place& place) const {
    return fail_at(Reason::too_deep, "deeper than " + std::to_string(limits_.depth) + " levels", place);
  }

  /// A key's letters as they stand in the text, up to its closing quote.
  struct RawKey {
    std::string_view letters;
    bool escaped = false;  ///< Whether a backslash is among them.
  };
  RawKey raw_key(ondemand::raw_json_string key) const noexcept {
    const char* const from = key.raw();
    const char* const end = desk_.padded.data() + text_.size();
    bool escaped = false;
    const char* at = from;
    while (at < end && *at != '"') {
      const bool escape = *at == '\\';
      escaped |= escape;
      at += escape ? 2 : 1;
    }
    return {{from, static_cast<std::size_t>(std::min(at, end) - from)}, escaped};
  }

  static std::optional<std::string_view> key_twice(const std::vector<json::Member>& members) {
    constexpr std::size_t few = 16;  // below it, comparing each with each is quicker than sorting
    if (members.size() <= few) {
      for (std::size_t i = 1; i < members.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
          if (members[i].key == members[j].key) return members[i].key;
      return std::nullopt;
    }
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const json::Member& member : members) keys.push_back(member.key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    return twice == keys.end() ? std::nullopt : std::optional<std::string_view>(*twice);
  }

  Desk& desk_;
  std::string_view text_;
  const ReadLimits& limits_;
  const std::size_t items_a_segment_;
  LongList* const cut_;
  /// The members of the objects that are being spelled, the innermost last.
  struct Piece {
    std::string_view key;
    std::size_t begin = 0, end = 0;
  };
  std::vector<Piece> pieces_;
  std::string ordered_;
  ondemand::document document_;
  bool begun_ = false;  ///< Before, the document has no place to ask for.
};

/// Where the first value of `text` ends, by its brackets and quotes alone; `npos` when it does not.
std::size_t first_value_end(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size() && is_space(text[at])) ++at;
  const auto end_of_string = [text](std::size_t quote) {
    std::size_t i = quote + 1;
    while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2u : 1u;
    return i < text.size() ? i + 1 : std::string_view::npos;
  };
  std::size_t open = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = end_of_string(at);
      if (at == std::string_view::npos || open == 0) return at;
      continue;
    }
    if (c == '{' || c == '[') ++open;
    if ((c == '}' || c == ']') && (open == 0 || --open == 0)) return at + 1;
    ++at;
    if (open != 0) continue;
    while (at < text.size() && !is_space(text[at]) &&
           std::string_view("{}[],:\"").find(text[at]) == std::string_view::npos)
      ++at;
    return at;
  }
  return std::string_view::npos;
}

/// The first control character inside a string, or `npos`.
std::size_t raw_control(std::string_view text) noexcept {
  bool inside = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"')
      inside = !inside;
    else if (inside && text[at] == '\\')
      ++at;
    else if (inside && static_cast<unsigned char>(text[at]) < 0x20)
      return at;
  }
  return std::string_view::npos;
}

Result<json::Value> walk(std::string_view text, const ReadLimits& limits, std::size_t items_a_segment,
                         LongList* cut) {
  if (text.size() > desk_bytes || desk_gone) {
    Desk own;
    return Walk(own, text, limits, items_a_segment, cut).all();
  }
  return Walk(thread_desk, text, limits, items_a_segment, cut).all();
}

Result<json::Value> read(std::string_view text, const ReadLimits& limits, std::size_t items_a_segment,
                         LongList* cut) {
  if (text.size() > limits.bytes)
    return fail(Reason::too_large,
                std::to_string(text.size()) + " bytes, at most " + std::to_string(limits.bytes) + " are read",
                json::object({{"size", text.size()}, {"limit", limits.bytes}}));
  if (!simdjson::validate_utf8(text.data(), text.size()))
    return fail_at(Reason::not_utf8, "no UTF-8", utf8_fault(text));
  if (text.substr(0, 3) == "\xEF\xBB\xBF")  // newer simdjson skips it
    return fail_at(Reason::not_json, "a byte order mark", std::size_t{0});

  Result<json::Value> read = walk(text, limits, items_a_segment, cut);
  if (read.reason() != Reason::not_json) return read;

  // What is wrong is known to simdjson only roughly; from here on time does not matter.
  const std::size_t end = first_value_end(text);
  if (end < text.size() && !trimmed(text.substr(end)).empty()) {
    Result<json::Value> first = read_json(text.substr(0, end), limits);
    if (!first.ok()) return first;
    return fail_at(Reason::trailing_bytes, "something follows the value", end);
  }
  if (const std::size_t control = raw_control(text); control != std::string_view::npos)
    return fail_at(text[control] == '\0' ? Reason::zero_character : Reason::not_json,
                   "a control character in a string", control);
  return read;
}

}  // namespace

Result<core::json::Value> read_json(std::string_view text, const ReadLimits& limits) {
  return read(text, limits, 0, nullptr);
}

Result<core::json::Value> read_json(std::string_view text, const ReadLimits& limits,
                                    std::size_t items_a_segment, LongList& cut) {
  cut = {};
  Result<core::json::Value> value = read(text, limits, items_a_segment, &cut);
  if (value.ok()) return value;
  // Counting a list finds faults behind those that come first, so what is wrong is said by the usual way.
  cut = {};
  return read_json(text, limits);
}

}  // namespace calyx
