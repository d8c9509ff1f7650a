#include "names.hpp"

#include <algorithm>
#include <calyx/core/encoding.hpp>
#include <calyx/core/json.hpp>
#include <utility>

namespace calyx::archive {
namespace {

constexpr std::size_t shown_bytes_max = 200;

bool is_control(char letter) noexcept {
  const auto byte = static_cast<unsigned char>(letter);
  return byte < 0x20 || byte == 0x7F;
}

char folded(char letter) noexcept {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

std::string key_of(std::uint32_t parent, std::string_view name) {
  std::string key = std::to_string(parent) + "/";
  std::transform(name.begin(), name.end(), std::back_inserter(key), folded);
  return key;
}

core::json::Object facts_of(std::string_view rule, std::string_view entry) {
  core::json::Object facts;
  facts.set("rule", rule);
  if (!entry.empty()) facts.set("entry", shown(entry));
  return facts;
}

std::string with_entry(std::string message, std::string_view entry) {
  if (entry.empty()) return message;
  return "the entry " + shown(entry) + " " + std::move(message);
}

}  // namespace

std::string shown(std::string_view name) {
  const bool cut = name.size() > shown_bytes_max;
  std::string_view rest = name.substr(0, shown_bytes_max);
  std::string out;
  while (!rest.empty()) {
    std::size_t size = 1;
    while (size <= 4 && size <= rest.size() && !core::json::valid_utf8(rest.substr(0, size))) ++size;
    if (size > 4 || size > rest.size() || is_control(rest.front())) {
      out += "\\x";
      core::append_hex(out, rest.substr(0, 1));
      size = 1;
    } else {
      out += rest.substr(0, size);
    }
    rest.remove_prefix(size);
  }
  if (cut) out += "...";
  return out;
}

Error refusal(std::string_view rule, std::string message, std::string_view entry) {
  return fail(Reason::archive_refused, with_entry(std::move(message), entry),
              core::json::Value(facts_of(rule, entry)));
}

Error refusal(std::string_view rule, std::string message, std::string_view entry, Excess excess) {
  core::json::Object facts = facts_of(rule, entry);
  facts.set("limit", excess.limit);
  facts.set("found", excess.found);
  return fail(Reason::archive_refused, with_entry(std::move(message), entry),
              core::json::Value(std::move(facts)));
}

Result<Done> Names::count_one(std::string_view given) {
  if (++entries_ <= limits_.entries_max) return Done{};
  return refusal("entries", "is one more than the " + std::to_string(limits_.entries_max) + " that may be",
                 given, {.found = entries_, .limit = limits_.entries_max});
}

Result<Names::Accepted> Names::add(std::string_view given, EntryKind kind) {
  if (given.empty()) return refusal("name_empty", "an entry has no name");
  if (given.size() > limits_.path_bytes_max)
    return refusal("path_bytes",
                   "has a path of " + std::to_string(given.size()) + " bytes, the most is " +
                       std::to_string(limits_.path_bytes_max),
                   given, {.found = given.size(), .limit = limits_.path_bytes_max});
  if (!core::json::valid_utf8(given)) return refusal("not_utf8", "has a name that is not UTF-8", given);
  if (std::any_of(given.begin(), given.end(), is_control))
    return refusal("control_character", "has a control character in its name", given);
  if (given.front() == '/') return refusal("absolute", "has an absolute path", given);
  if (kind == EntryKind::file && given.back() == '/')
    return refusal("file_and_folder", "is a file by its kind and a folder by its name", given);

  std::vector<std::string_view> parts;
  for (std::string_view rest = given; !rest.empty();) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return refusal("parent_folder", "has .. in its path", given);
    if (part.size() > name_bytes_max)
      return refusal("name_bytes",
                     "has a name of " + std::to_string(part.size()) + " bytes in its path, the most is " +
                         std::to_string(name_bytes_max),
                     given, {.found = part.size(), .limit = name_bytes_max});
    parts.push_back(part);
  }
  if (parts.size() > limits_.depth_max)
    return refusal(
        "depth",
        "lies " + std::to_string(parts.size()) + " deep, the most is " + std::to_string(limits_.depth_max),
        given, {.found = parts.size(), .limit = limits_.depth_max});
  if (parts.empty()) {
    if (kind == EntryKind::file) return refusal("name_empty", "is a file without a name", given);
    if (std::exchange(root_named_, true)) return refusal("duplicate", "comes twice", given);
    CALYX_CHECK(count_one(given));
    return Accepted{.path = {}, .folders_to_make = {}, .made_already = true};
  }

  Accepted accepted;
  std::uint32_t parent = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    if (!accepted.path.empty()) accepted.path += '/';
    accepted.path += parts[i];
    const auto [at, fresh] = nodes_.try_emplace(key_of(parent, parts[i]));
    Node& node = at->second;
    if (fresh) {
      CALYX_CHECK(count_one(given));
      node.name = std::string(parts[i]);
      node.id = ++last_id_;
      node.kind = last ? kind : EntryKind::folder;
      node.named = last;
      if (!last) accepted.folders_to_make.push_back(accepted.path);
    } else {
      if (node.name != parts[i])
        return refusal("case_collision", "differs from " + node.name + " only in case", given);
      if (node.kind != (last ? kind : EntryKind::folder))
        return refusal("file_and_folder", "makes one name a file and a folder", given);
      if (last) {
        if (std::exchange(node.named, true)) return refusal("duplicate", "comes twice", given);
        accepted.made_already = true;
      }
    }
    parent = node.id;
  }
  return accepted;
}

}  // namespace calyx::archive
