#include "services/artifact_refs.hpp"

#include <algorithm>
#include <set>

#include "json/pointer.hpp"
#include "services/access.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

std::string step(std::string_view place, std::string_view name) {
  std::string out(place);
  append_pointer_step(out, name.substr(0, name_max));
  return out;
}

bool is_input(std::span<const std::string> inputs, const json::Member& member) {
  return member.value.string() != nullptr &&
         std::find(inputs.begin(), inputs.end(), member.key) != inputs.end();
}

/// Relative, the same however it is read, and inside: no empty name, no `.`, no `..`.
bool is_inside(std::string_view path) noexcept {
  std::size_t depth = 0;
  for (;;) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > 255 || ++depth > download_depth_max)
      return false;
    if (slash == path.size()) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<ArtifactId> read_ref(const std::string& place, const json::Value& value) {
  if (value.string() == nullptr) return field_error(Reason::field_type, place, "must be an artifact's id");
  if (const auto id = ArtifactId::read(*value.string())) return *id;
  if (value.string()->find("://") != std::string::npos)
    return fail(Reason::unsupported, "nothing is fetched by URL yet: upload it as an artifact",
                json::object({{"field", place}}));
  return field_error(Reason::field_value, place, "is no artifact's id");
}

Result<Download> read_download(const json::Value& value, const std::string& place) {
  if (value.object() == nullptr) return field_error(Reason::field_type, place, "must be an object");
  Download out;
  const json::Member* named = nullptr;
  bool has_path = false;
  for (const json::Member& member : *value.object()) {
    const std::string at = step(place, member.key);
    if (member.key == "url")
      return fail(Reason::unsupported, "nothing is fetched by URL yet: upload it as an artifact",
                  json::object({{"field", at}}));
    if (member.key == "path") {
      const std::string* path = member.value.string();
      if (path == nullptr) return field_error(Reason::field_type, at, "must be a string");
      CALYX_CHECK(check_name(at, *path, download_path_max));
      if (!is_inside(*path))
        return field_error(Reason::field_value, at, "must be a relative path without . and ..");
      out.path = *path;
      has_path = true;
    } else if (member.key == "artifact_id" || member.key == "id" || member.key == "ref") {
      if (named != nullptr) return field_error(Reason::field_value, at, "stands beside " + named->key);
      named = &member;
      CALYX_TRY(out.id, read_ref(at, member.value));
    } else {
      return field_error(Reason::field_unknown, at, "is not a member of a download");
    }
  }
  if (named == nullptr) return field_error(Reason::field_missing, step(place, "artifact_id"), "is missing");
  if (!has_path) return field_error(Reason::field_missing, step(place, "path"), "is missing");
  return out;
}

/// The folders that `path` lies in, the outermost first.
template <class Each>
bool any_folder(std::string_view path, Each each) {
  for (std::size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1))
    if (each(path.substr(0, at))) return true;
  return false;
}

Result<std::string> content_text(const std::string& place, ArtifactId id, const ContentOf& content_of) {
  const Result<core::Digest> content = content_of(id);
  if (content.ok()) return core::output_hash_text(*content);
  if (content.error().status() != Status::not_found) return content.error();
  return field_error(Reason::field_value, place, "names no artifact: " + content.error().message);
}

}  // namespace

Result<std::vector<Download>> read_downloads(const json::Value& value, std::string_view place) {
  if (value.object() == nullptr) return field_error(Reason::field_type, place, "must be an object");
  for (const json::Member& member : *value.object())
    if (member.key != "download")
      return field_error(Reason::field_unknown, step(place, member.key), "is not a member of _artifacts");
  const std::string at = step(place, "download");
  const json::Value* list = value.find("download");
  if (list == nullptr) return field_error(Reason::field_missing, at, "is missing");
  if (list->array() == nullptr) return field_error(Reason::field_type, at, "must be a list");
  if (list->array()->size() > downloads_max)
    return field_error(
        Reason::field_value, at,
        "has " + std::to_string(list->array()->size()) + " items, takes " + std::to_string(downloads_max));
  std::vector<Download> out;
  std::set<std::string, std::less<>> files, folders;
  for (std::size_t i = 0; i < list->array()->size(); ++i) {
    const std::string item = at + '/' + std::to_string(i);
    CALYX_TRY(Download download, read_download((*list->array())[i], item));
    const std::string& path = download.path;
    // A file that another one would have to lie in, or twice: the second has no place.
    if (folders.count(path) != 0 || !files.insert(path).second ||
        any_folder(path, [&](std::string_view folder) { return files.find(folder) != files.end(); }))
      return field_error(Reason::field_value, item + "/path", "is where another one lies");
    any_folder(path, [&](std::string_view folder) {
      folders.emplace(folder);
      return false;
    });
    out.push_back(std::move(download));
  }
  return out;
}

bool names_artifacts(const json::Value& value, std::span<const std::string> inputs) {
  if (const json::Object* members = value.object())
    return std::any_of(members->begin(), members->end(), [&](const json::Member& member) {
      return member.key == artifacts_member || is_input(inputs, member) ||
             names_artifacts(member.value, inputs);
    });
  if (const json::Array* items = value.array())
    return std::any_of(items->begin(), items->end(),
                       [&](const json::Value& item) { return names_artifacts(item, inputs); });
  return false;
}

Result<json::Value> replaced_refs(const json::Value& value, std::string_view place,
                                  std::span<const std::string> inputs, const ContentOf& content_of) {
  if (const json::Array* items = value.array()) {
    json::Array out;
    out.reserve(items->size());
    for (const json::Value& item : *items) {
      CALYX_TRY(json::Value replaced,
                replaced_refs(item, step(place, std::to_string(out.size())), inputs, content_of));
      out.push_back(std::move(replaced));
    }
    return json::Value(std::move(out));
  }
  const json::Object* members = value.object();
  if (members == nullptr) return value;
  std::vector<json::Member> out;
  out.reserve(members->size());
  for (const json::Member& member : *members) {
    const std::string at = step(place, member.key);
    json::Value replaced;
    if (member.key == artifacts_member) {
      CALYX_TRY(const std::vector<Download> downloads, read_downloads(member.value, at));
      json::Array list;
      for (const Download& download : downloads) {
        const std::string item = at + "/download/" + std::to_string(list.size()) + "/artifact_id";
        CALYX_TRY(std::string content, content_text(item, download.id, content_of));
        list.push_back(json::object({{"path", download.path}, {"sha256", std::move(content)}}));
      }
      replaced = json::object({{"download", std::move(list)}});
    } else if (is_input(inputs, member)) {
      CALYX_TRY(const ArtifactId id, read_ref(at, member.value));
      CALYX_TRY(std::string content, content_text(at, id, content_of));
      replaced = json::Value(std::move(content));
    } else {
      CALYX_TRY(replaced, replaced_refs(member.value, at, inputs, content_of));
    }
    out.push_back({member.key, std::move(replaced)});
  }
  auto object = json::Object::of(std::move(out));
  return object ? json::Value(*std::move(object)) : value;  // it was one before
}

}  // namespace calyx::services
