// The reader of JSON, held to a recogniser of the grammar that shares nothing with it.
#include <algorithm>
#include <calyx/core/json.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"
#include "json/reader.hpp"

namespace calyx::fuzz {

namespace {

using core::json::Kind;
using core::json::Value;

/// Whether a text is one value by RFC 8259, character by character. Of strings it says nothing but what the
/// grammar has: halves of surrogate pairs and U+0000 pass.
class Grammar {
 public:
  explicit Grammar(std::string_view text) : rest_(text) {}

  /// Nothing for what is nested too deeply to be followed here.
  std::optional<bool> whole() {
    space();
    const bool good = value(0);
    space();
    if (too_deep_) return std::nullopt;
    return good && rest_.empty();
  }

 private:
  char next() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool take(std::string_view word) {
    if (rest_.substr(0, word.size()) != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void space() {
    while (!rest_.empty() && std::string_view(" \t\n\r").find(next()) != std::string_view::npos)
      rest_.remove_prefix(1);
  }
  bool digits() {
    const std::size_t before = rest_.size();
    while (next() >= '0' && next() <= '9') rest_.remove_prefix(1);
    return rest_.size() < before;
  }
  bool number() {
    take("-");
    if (!take("0") && !digits()) return false;
    if (take(".") && !digits()) return false;
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      return digits();
    }
    return true;
  }
  bool string() {
    if (!take("\"")) return false;
    while (!take("\"")) {
      if (rest_.empty() || static_cast<unsigned char>(next()) < 0x20) return false;
      if (!take("\\")) {
        rest_.remove_prefix(1);
      } else if (take("u")) {
        for (int i = 0; i < 4; ++i) {
          if (rest_.empty() ||
              std::string_view("0123456789abcdefABCDEF").find(next()) == std::string_view::npos)
            return false;
          rest_.remove_prefix(1);
        }
      } else {
        if (rest_.empty() || std::string_view("\"\\/bfnrt").find(next()) == std::string_view::npos)
          return false;
        rest_.remove_prefix(1);
      }
    }
    return true;
  }
  bool value(int depth) {
    too_deep_ = too_deep_ || depth > 500;
    if (too_deep_) return false;
    if (next() == '"') return string();
    const bool list = take("[");
    if (!list && !take("{")) return take("true") || take("false") || take("null") || number();
    const std::string_view end = list ? "]" : "}";
    space();
    if (take(end)) return true;
    for (;;) {
      space();
      if (!list) {
        if (!string()) return false;
        space();
        if (!take(":")) return false;
        space();
      }
      if (!value(depth + 1)) return false;
      space();
      if (take(end)) return true;
      if (!take(",")) return false;
    }
  }

  std::string_view rest_;
  bool too_deep_ = false;
};

/// How deep a value is; and what every value keeps.
std::size_t depth_of(const Value& value) {
  const auto good_text = [](std::string_view text) {
    return core::json::valid_utf8(text) && text.find('\0') == std::string_view::npos;
  };
  if (value.string() != nullptr) demand(good_text(*value.string()), "a string is UTF-8 without U+0000");
  std::size_t deepest = 0;
  if (value.array() != nullptr) {
    for (const Value& item : *value.array()) deepest = std::max(deepest, depth_of(item));
    return deepest + 1;
  }
  if (value.object() != nullptr) {
    std::vector<std::string_view> keys;
    for (const core::json::Member& member : *value.object()) {
      demand(good_text(member.key), "a key is UTF-8 without U+0000");
      keys.push_back(member.key);
      deepest = std::max(deepest, depth_of(member.value));
    }
    std::sort(keys.begin(), keys.end());
    demand(std::adjacent_find(keys.begin(), keys.end()) == keys.end(), "no key stands twice");
    return deepest + 1;
  }
  return 0;
}

void accepted_json(std::string_view text, const Value& value) {
  const std::string spelled = core::json::text(value);
  const Result<Value> again = read_json(spelled);
  demand(again.ok() && *again == value && core::json::text(*again) == spelled, "a value is read as spelled");
  const std::string canonical = core::json::canonical(value);
  const Result<Value> of_canonical = read_json(canonical);
  demand(of_canonical.ok() && core::json::canonical(*of_canonical) == canonical,
         "the canonical text is that of what it says");
  if (core::json::signable(value)) demand(*of_canonical == value, "what is signed is read as it was");
  const Result<Value> in_space = read_json(" \n" + std::string(text) + "\t\r");
  demand(in_space.ok() && *in_space == value, "space around a value means nothing");

  const std::size_t depth = depth_of(value);
  demand(depth <= json_depth_max, "a value keeps the limit of depth");
  demand(read_json(text, {.depth = depth, .bytes = text.size()}).ok(), "limits are what may be reached");
  demand(read_json(text, {.bytes = text.size() - 1}).reason() == Reason::too_large,
         "one byte more is too large");
  if (depth > 0)
    demand(read_json(text, {.depth = depth - 1}).reason() == Reason::too_deep, "one level more is too deep");
}

/// The value at `pointer`, whose steps are members' names.
const Value* value_at(const Value& root, std::string_view pointer) {
  const Value* at = &root;
  while (!pointer.empty() && at != nullptr) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    std::string name;
    for (std::size_t i = 0; i < end; ++i)
      name.push_back(pointer[i] != '~' ? pointer[i] : pointer[++i] == '0' ? '~' : '/');
    at = at->find(name);
    pointer.remove_prefix(end);
  }
  return at;
}

/// The reader of long lists agrees with the usual one.
void cut_lists(std::string_view text, const Result<Value>& whole, std::size_t items_a_segment) {
  LongList cut;
  const Result<Value> read = read_json(text, {}, items_a_segment, cut);
  demand(read.ok() == whole.ok() && read.reason() == whole.reason(), "a cut list is no other verdict");
  if (!whole.ok()) {
    demand(read.error().message == whole.error().message, "a cut list is no other fault");
    return;
  }
  if (cut.items == 0) {
    demand(*read == *whole && cut.segments.empty(), "where no list is long nothing is cut");
    return;
  }
  const Value* const list = value_at(*whole, cut.pointer);
  const Value* const left = value_at(*read, cut.pointer);
  demand(list != nullptr && list->array() != nullptr && left != nullptr && left->array() != nullptr &&
             left->array()->empty(),
         "a cut list stands where it stood, and is empty");
  demand(cut.items == list->array()->size() && cut.items > items_a_segment, "all items are counted");
  std::size_t at = 0;
  bool objects = true;
  for (const std::string& segment : cut.segments) {
    const std::size_t count = std::min(items_a_segment, list->array()->size() - at);
    core::json::Array items(list->array()->begin() + static_cast<std::ptrdiff_t>(at),
                            list->array()->begin() + static_cast<std::ptrdiff_t>(at + count));
    for (const Value& item : items) objects = objects && item.object() != nullptr;
    demand(core::json::canonical(Value(std::move(items))) == segment,
           "a segment is its items' canonical text");
    at += count;
  }
  demand(at == list->array()->size() && cut.objects == objects, "the segments are the list");
}

}  // namespace

void target::json(std::string_view input) {
  const Result<Value> read = read_json(input);
  const Result<Value> same = read_json(std::string(input));
  demand(read.reason() == same.reason() &&
             (read.ok() ? *read == *same : read.error().message == same.error().message),
         "a text is read alike each time");
  demand((read.reason() == Reason::not_utf8) || core::json::valid_utf8(input), "UTF-8 comes first");
  const std::optional<bool> grammatical = Grammar(input).whole();
  if (grammatical && read.ok()) demand(*grammatical, "only JSON is read");
  if (grammatical && (read.reason() == Reason::not_json || read.reason() == Reason::trailing_bytes))
    demand(!*grammatical, "JSON is not called none");
  if (read.ok()) accepted_json(input, *read);
  for (const std::size_t items_a_segment : {1U, 2U, 5U}) cut_lists(input, read, items_a_segment);
}

}  // namespace calyx::fuzz
