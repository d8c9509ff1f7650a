#include "services/job_text.hpp"

#include <algorithm>
#include <calyx/core/field.hpp>
#include <vector>

#include "crypto/sha256.hpp"
#include "services/job_terms.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
using Members = std::vector<const json::Member*>;

/// Canonical, but for what belongs at `hole`.
struct Text {
  std::string text;
  std::size_t hole = std::string::npos;
};

/// The members of the payload, without the choice of a device, which changes no result.
Members without_device(const json::Object& payload) {
  Members out;
  for (const json::Member& member : payload)
    if (member.key != "device") out.push_back(&member);
  return out;
}

/// Appends an object of `members`, which stands at `pointer`; what stands at `cut` is left open.
void append_object(Text& out, Members members, const std::string& pointer, std::string_view cut,
                   bool is_input) {
  std::sort(members.begin(), members.end(), [](const json::Member* a, const json::Member* b) {
    return json::before_in_utf16(a->key, b->key);
  });
  char before = '{';
  for (const json::Member* member : members) {
    out.text.push_back(before);
    before = ',';
    json::append_string(out.text, member->key);
    out.text.push_back(':');
    const std::string here = core::full_pointer_step(pointer, member->key);
    const json::Object* inner = member->value.object();
    const bool payload = is_input && here == "/payload";
    if (here == cut) {
      out.hole = out.text.size();
    } else if (inner != nullptr && (payload || cut.substr(0, here.size() + 1) == here + "/")) {
      Members inside;
      if (payload)
        inside = without_device(*inner);
      else
        for (const json::Member& one : *inner) inside.push_back(&one);
      append_object(out, std::move(inside), here, cut, is_input);
    } else {
      json::append_canonical(out.text, member->value);
    }
  }
  out.text += before == '{' ? "{}" : "}";
}

/// What the tasks of `job` are made from: the payload alone, or all members that make payloads.
Text input_text(const json::Object& job, std::string_view cut) {
  Members all;
  const json::Member* payload = nullptr;
  for (const json::Member& member : job) {
    if (member.key == "payload") payload = &member;
    if (std::find(std::begin(shape_members), std::end(shape_members), member.key) != std::end(shape_members))
      all.push_back(&member);
  }
  Text out;
  if (all.size() > (payload == nullptr ? 0 : 1)) {
    append_object(out, std::move(all), "", cut, true);
  } else {
    const json::Object* members = payload == nullptr ? nullptr : payload->value.object();
    append_object(out, members == nullptr ? Members{} : without_device(*members), "/payload", cut, true);
  }
  return out;
}

/// Of `text` with `items` as one list in its hole.
core::Digest hash_of(const Text& text, const LongList& items) {
  if (text.hole == std::string::npos) return crypto::Sha256{}(text.text);
  crypto::Sha256Stream hash;
  const std::string_view all = text.text;
  hash.update(all.substr(0, text.hole));
  std::string_view before = "[";
  for (const std::string& segment : items.segments) {
    hash.update(before);
    hash.update(std::string_view(segment).substr(1, segment.size() - 2));
    before = ",";
  }
  hash.update("]");
  hash.update(all.substr(text.hole));
  return hash.finish();
}

}  // namespace

LongList cut_items(const json::Object& job, std::string_view pointer) {
  LongList out;
  const json::Array* list = nullptr;
  for (const json::Member& outer : job) {
    const std::string here = core::full_pointer_step("", outer.key);
    if (outer.value.object() == nullptr || pointer.substr(0, here.size() + 1) != here + "/") continue;
    for (const json::Member& inner : *outer.value.object())
      if (core::full_pointer_step(here, inner.key) == pointer) list = inner.value.array();
  }
  if (list == nullptr) return out;
  out.pointer = pointer;
  out.items = list->size();
  std::string segment;
  for (std::size_t i = 0; i < list->size(); ++i) {
    segment.push_back(segment.empty() ? '[' : ',');
    json::append_canonical(segment, (*list)[i]);
    if ((i + 1) % items_a_segment != 0 && i + 1 != list->size()) continue;
    segment.push_back(']');
    out.segments.push_back(std::move(segment));
    segment.clear();
  }
  return out;
}

bool has_member(const LongList& items, std::span<const std::string> names) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    std::string key;
    json::append_string(key, name);
    key.push_back(':');
    return std::any_of(items.segments.begin(), items.segments.end(),
                       [&](const std::string& segment) { return segment.find(key) != std::string::npos; });
  });
}

Result<json::Object> with_items(const json::Object& job, const LongList& items) {
  json::Array list;
  for (const std::string& segment : items.segments) {
    CALYX_TRY(json::Value read, read_json(segment, {.bytes = segment.size()}));
    for (json::Value& item : *read.array()) list.push_back(std::move(item));
  }
  json::Object out = job;
  for (const json::Member& outer : job) {
    const std::string here = core::full_pointer_step("", outer.key);
    if (outer.value.object() == nullptr || items.pointer.substr(0, here.size() + 1) != here + "/") continue;
    for (const json::Member& inner : *outer.value.object())
      if (core::full_pointer_step(here, inner.key) == items.pointer) {
        out.find(outer.key)->object()->set(inner.key, std::move(list));
        return out;
      }
  }
  return fail(Reason::internal, "a job's items have no place");
}

core::Digest input_of(const json::Object& job, const LongList& items) {
  return hash_of(input_text(job, items.pointer), items);
}

core::Digest request_of(std::string_view spec, bool has_items, const core::Digest& input) {
  if (!has_items) return crypto::Sha256{}(spec);
  return crypto::Sha256{}(spec, core::hex(input));
}

JobText spell_job(const json::Object& job, std::string_view recipe, const LongList& items) {
  JobText out;
  out.input = input_of(job, items);
  Members all;
  for (const json::Member& member : job) all.push_back(&member);
  Text text;
  append_object(text, std::move(all), "", items.pointer, false);
  if (text.hole != std::string::npos) text.text.insert(text.hole, "[]");
  out.spec = R"({"job":)" + text.text + R"(,"recipe":)";
  json::append_string(out.spec, recipe);
  out.spec.push_back('}');
  out.request = request_of(out.spec, items.items != 0, out.input);
  return out;
}

}  // namespace calyx::services
