#include "services/projects.hpp"

#include <algorithm>
#include <set>

#include "json/pointer.hpp"
#include "json/reader.hpp"
#include "services/known_job.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

constexpr std::size_t project_text_max = 1024;
constexpr std::int64_t size_mb_max = std::int64_t{1} << 30;

bool is_letter_or_digit(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

constexpr std::string_view name_takes =
    "takes 1 to 128 letters, digits, dots, underscores and hyphens, and begins with a letter or a digit";

/// A name stands in a path of the wire, in a job and in a listing, and is spelled the same in each.
bool is_project_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= key_text_max && is_letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

Error no_project(std::string_view name) {
  json::Object details;
  if (is_project_name(name)) details.set("project", name);
  return fail(Reason::project_unknown, "no project has such a name", std::move(details));
}

Error lost(ProjectNumber number, std::string_view what) {
  return fail(Reason::corrupt,
              "project " + std::to_string(number) + " has no " + std::string(what) + "; run an audit",
              json::object({{"table", "projects"}, {"row", number}}));
}

Result<ProjectState> find(Transaction& tx, const Principal& principal, const ProjectName& project) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const AccountNumber account, account_of(tx.book(), caller, project));
  return find_project(tx.store(), account, project.name);
}

/// The youngest of the account's projects of this name, deleted or not.
Result<std::optional<ProjectState>> youngest(store::MarketStore& store, AccountNumber account,
                                             std::string_view name) {
  std::optional<ProjectState> out;
  CALYX_CHECK(store.projects().named(account, name, [&](const ProjectState& state) -> Result<bool> {
    out = state;
    return false;
  }));
  return out;
}

/// The last revision of `state`'s name so far.
Result<std::int64_t> last_revision(store::MarketStore& store, const ProjectState& state) {
  if (state.active != 0) return state.active;
  CALYX_TRY(const std::optional<store::ProjectRow> row, store.projects().project(state.number));
  if (!row) return lost(state.number, "row");
  return row->revisions_before;
}

// ── the manifest ──

enum class Takes : std::uint8_t { name, type, text, mount_path, sha256, megabytes };
struct Rule {
  std::string_view name;
  Takes takes;
  bool needed;
};
/// What every enclosure has a use of its own for.
constexpr std::string_view places_taken[] = {"/calyx", "/dev", "/proc", "/sys"};
constexpr Rule data_source_rules[] = {
    {"name", Takes::name, true},      {"type", Takes::type, true},
    {"source", Takes::text, true},    {"revision", Takes::text, false},
    {"sha256", Takes::sha256, false}, {"mount_path", Takes::mount_path, true}};
constexpr Rule cache_mount_rules[] = {{"name", Takes::name, true},
                                      {"mount_path", Takes::mount_path, true},
                                      {"size_mb", Takes::megabytes, false}};

std::string step(std::string_view name) {
  std::string out;
  append_pointer_step(out, name.substr(0, name_max));
  return out;
}

bool is_in(std::string_view path, std::string_view folder) noexcept {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

/// Absolute, and the same however it is read: no empty name, no `.`, no `..`, and nothing that a container
/// tool parts at.
bool is_mount_path(std::string_view path) noexcept {
  if (path.find_first_of(",\"") != std::string_view::npos) return false;
  if (path.size() < 2 || path.size() > project_text_max || path.front() != '/') return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    if (name.empty() || name == "." || name == "..") return false;
    path.remove_prefix(name.size());
  }
  return true;
}

Result<Done> check_member(const Rule& rule, const std::string& at, const json::Value& value) {
  if (rule.takes == Takes::megabytes) {
    if (value.integer() == nullptr) return field_error(Reason::field_type, at, "must be an integer");
    if (*value.integer() < 1 || *value.integer() > size_mb_max)
      return field_error(
          Reason::field_value, at,
          "is " + std::to_string(*value.integer()) + ", takes 1 to " + std::to_string(size_mb_max));
    return Done{};
  }
  if (value.string() == nullptr) return field_error(Reason::field_type, at, "must be a string");
  const std::string& text = *value.string();
  switch (rule.takes) {
    case Takes::name:  // also a folder's
      if (is_project_name(text)) return Done{};
      return field_error(Reason::field_value, at, std::string(name_takes));
    case Takes::type:
      if (text == "huggingface" || text == "url" || text == "artifact") return Done{};
      return field_error(Reason::field_value, at, "must be huggingface, url or artifact");
    case Takes::mount_path:
      CALYX_CHECK(check_name(at, text, project_text_max));
      if (!is_mount_path(text))
        return field_error(Reason::field_value, at,
                           "must be an absolute path without . and .., commas and quotes");
      // Below /tmp there is room for it, but a container's own /tmp is its tasks'.
      if (text == "/tmp" || std::any_of(std::begin(places_taken), std::end(places_taken),
                                        [&](std::string_view taken) { return is_in(text, taken); }))
        return field_error(Reason::field_value, at, "is where the system's or calyx's own files are");
      return Done{};
    case Takes::sha256:
      if (core::read_digest_hex(text)) return Done{};
      return field_error(Reason::field_value, at, "must be 64 lower-case hex digits");
    case Takes::text:
    case Takes::megabytes: break;
  }
  return check_name(at, text, project_text_max);
}

/// `mounts` are the places of the items so far, of this list and of those before.
Result<Done> check_items(const json::Object& manifest, std::string_view name, std::span<const Rule> rules,
                         std::vector<std::string_view>& mounts) {
  const json::Value* list = manifest.find(name);
  if (list == nullptr) return Done{};
  const std::string base = step(name);
  if (list->array() == nullptr) return field_error(Reason::field_type, base, "must be a list of objects");
  if (list->array()->size() > manifest_items_max)
    return field_error(Reason::field_value, base,
                       "has " + std::to_string(list->array()->size()) + " items, takes " +
                           std::to_string(manifest_items_max));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < list->array()->size(); ++i) {
    const std::string item = base + '/' + std::to_string(i);
    const json::Object* members = (*list->array())[i].object();
    if (members == nullptr) return field_error(Reason::field_type, item, "must be an object");
    for (const Rule& rule : rules) {
      const json::Value* value = members->find(rule.name);
      const std::string at = item + step(rule.name);
      if (value != nullptr)
        CALYX_CHECK(check_member(rule, at, *value));
      else if (rule.needed)
        return field_error(Reason::field_missing, at, "is missing");
    }
    for (const json::Member& member : *members)
      if (std::none_of(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.name == member.key; }))
        return field_error(Reason::field_unknown, item + step(member.key),
                           "is not a member of this list's items");
    if (!names.insert(*members->find("name")->string()).second)
      return field_error(Reason::field_value, item + "/name", "is the name of another item, too");
    const std::string_view mount = *members->find("mount_path")->string();
    for (const std::string_view other : mounts)
      if (is_in(mount, other) || is_in(other, mount))
        return field_error(Reason::field_value, item + "/mount_path", "is in the place of another item");
    mounts.push_back(mount);
  }
  return Done{};
}

Result<Done> check_manifest(const json::Object& manifest) {
  std::vector<std::string_view> mounts;
  CALYX_CHECK(check_items(manifest, "data_sources", data_source_rules, mounts));
  CALYX_CHECK(check_items(manifest, "cache_mounts", cache_mount_rules, mounts));
  for (const json::Member& member : manifest)
    if (member.key != "data_sources" && member.key != "cache_mounts")
      return field_error(Reason::field_unknown, step(member.key), "is not a member of a manifest");
  return Done{};
}

}  // namespace

Result<AccountNumber> project_account(const Book& book, const Caller& caller,
                                      const std::optional<WalletId>& wallet) {
  if (!wallet) return caller.wallet;
  CALYX_TRY(const WalletState* owner, readable(book, caller, *wallet));
  return owner->number;
}

Result<AccountNumber> account_of(const Book& book, const Caller& caller, const ProjectName& project) {
  Result<AccountNumber> account = project_account(book, caller, project.wallet);
  if (account.reason() == Reason::not_your_wallet) return no_project(project.name);
  return account;
}

Result<ProjectState> find_project(store::MarketStore& store, AccountNumber account, std::string_view name) {
  if (!is_project_name(name)) return no_project(name);
  CALYX_TRY(std::optional<ProjectState> state, youngest(store, account, name));
  if (!state || state->deleted.us != 0) return no_project(name);
  return *std::move(state);
}

Result<FoundRevision> find_revision(store::MarketStore& store, AccountNumber account, std::string_view name,
                                    std::int64_t number) {
  std::vector<ProjectState> named;
  CALYX_CHECK(store.projects().named(account, name, [&](const ProjectState& state) -> Result<bool> {
    named.push_back(state);
    return state.active == 0 || state.active >= number;  // older ones have lower numbers
  }));
  for (ProjectState& state : named) {
    CALYX_TRY(std::optional<store::RevisionRow> row, store.projects().revision(state.number, number));
    if (row) return FoundRevision{std::move(state), *std::move(row)};
  }
  return no_project(name);
}

Result<std::int64_t> revision_for_job(store::MarketStore& store, AccountNumber account,
                                      std::string_view name) {
  Result<ProjectState> state = find_project(store, account, name);
  if (state.reason() == Reason::project_unknown)
    return field_error(Reason::project_unknown, "/project", "names no project of the job's account");
  if (!state.ok()) return std::move(state).error();
  if (state->active == 0)
    return field_error(Reason::project_not_ready, "/project",
                       "names a project to which nothing was pushed yet");
  return state->active;
}

Result<ProjectState> create_project(Transaction& tx, const Principal& principal, const ProjectCreate& asked) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(may_run_jobs(tx.book(), caller));
  CALYX_TRY(const AccountNumber account, project_account(tx.book(), caller, asked.wallet));
  if (!is_project_name(asked.name)) return field_error(Reason::field_value, "/name", std::string(name_takes));
  CALYX_CHECK(check_name("/remote_dir", asked.remote_dir, project_text_max, Empty::allowed));
  CALYX_CHECK(check_name("/description", asked.description, project_text_max, Empty::allowed));
  CALYX_TRY(const std::optional<ProjectState> before, youngest(tx.store(), account, asked.name));
  if (before && before->deleted.us == 0)
    return fail(Reason::project_exists, "there is a project of this name already",
                json::object({{"field", "/name"}, {"project", asked.name}}));
  CALYX_TRY(const ProjectNumber last, tx.store().projects().last_project());
  store::ProjectRow row{.number = last + 1, .account = account, .at = tx.now(), .name = asked.name};
  if (before) {
    CALYX_TRY(row.revisions_before, last_revision(tx.store(), *before));
  }
  ProjectState state{.number = row.number,
                     .account = account,
                     .name = asked.name,
                     .remote_dir = asked.remote_dir,
                     .description = asked.description};
  CALYX_CHECK(tx.change_projects().add_project(row));
  CALYX_CHECK(tx.change_projects().put_state(state));
  return state;
}

Result<ProjectState> change_project(Transaction& tx, const Principal& principal, const ProjectName& project,
                                    const ProjectChange& change) {
  CALYX_TRY(ProjectState state, find(tx, principal, project));
  if (change.remote_dir) {
    CALYX_CHECK(check_name("/remote_dir", *change.remote_dir, project_text_max, Empty::allowed));
    state.remote_dir = *change.remote_dir;
  }
  if (change.description) {
    CALYX_CHECK(check_name("/description", *change.description, project_text_max, Empty::allowed));
    state.description = *change.description;
  }
  CALYX_CHECK(tx.change_projects().put_state(state));
  return state;
}

Result<Done> delete_project(Transaction& tx, const Principal& principal, const ProjectName& project) {
  CALYX_TRY(ProjectState state, find(tx, principal, project));
  state.deleted = tx.now();
  state.warmed = 0;
  state.kv_keys = 0;
  CALYX_CHECK(tx.change_projects().remove_kv(state.number));
  return tx.change_projects().put_state(state);
}

Result<Published> publish_revision(Transaction& tx, const Principal& principal, const ProjectName& project,
                                   store::RevisionRow row) {
  CALYX_TRY(ProjectState state, find(tx, principal, project));
  // Deleted while its tarball was read, and made anew: that is another project.
  if (state.number != row.project) return no_project(project.name);
  CALYX_TRY(const std::int64_t last, last_revision(tx.store(), state));
  const std::int64_t before = state.active;
  row.number = last + 1;
  row.at = tx.now();
  state.active = row.number;
  state.warmed = 0;
  state.invalidated = Instant{};
  CALYX_CHECK(tx.change_projects().add_revision(row));
  CALYX_CHECK(tx.change_projects().put_state(state));
  return Published{std::move(row), before};
}

Result<Done> mark_warm(Transaction& tx, ProjectNumber project, std::int64_t revision) {
  CALYX_TRY(std::optional<ProjectState> state, tx.store().projects().state(project));
  if (!state) return lost(project, "state");
  if (state->deleted.us != 0 || state->active != revision || state->warmed == revision) return Done{};
  state->warmed = revision;
  state->invalidated = Instant{};
  return tx.change_projects().put_state(*state);
}

Result<ProjectState> invalidate_project(Transaction& tx, const Principal& principal,
                                        const ProjectName& project) {
  CALYX_TRY(ProjectState state, find(tx, principal, project));
  if (state.active == 0) return state;
  state.warmed = 0;
  state.invalidated = tx.now();
  CALYX_CHECK(tx.change_projects().put_state(state));
  return state;
}

Result<KvEntry> kv_entry(store::MarketStore& store, ProjectNumber project, std::string_view key) {
  CALYX_TRY(const std::optional<store::KvRow> row, store.projects().kv(project, key));
  if (!row) return fail(Reason::kv_unknown, "the project has no such key");
  CALYX_TRY(json::Value value, read_own_json(row->value, "what a project shares"));
  return KvEntry{row->key, std::move(value), row->version};
}

Result<KvEntry> put_kv(Transaction& tx, const Principal& principal, const ProjectName& project,
                       const KvPut& asked) {
  CALYX_TRY(ProjectState state, find(tx, principal, project));
  CALYX_CHECK(check_key_text("key", asked.key, Empty::refused));
  if (asked.version && (*asked.version < 0 || *asked.version > integer_max))
    return field_error(Reason::field_value, "/version",
                       "is " + std::to_string(*asked.version) + ", takes 0 for none yet, or a version");
  store::KvRow row{.project = state.number, .key = asked.key, .value = json::canonical(asked.value)};
  if (row.value.size() > kv_value_bytes_max)
    return field_error(
        Reason::field_value, "/value",
        "has " + std::to_string(row.value.size()) + " bytes, takes " + std::to_string(kv_value_bytes_max));
  CALYX_TRY(const std::optional<store::KvRow> before, tx.store().projects().kv(state.number, asked.key));
  const std::int64_t version = before ? before->version : 0;
  if (asked.version && *asked.version != version)
    return fail(Reason::kv_changed,
                "stands at version " + std::to_string(version) + ", not at " + std::to_string(*asked.version),
                json::object({{"field", "/version"}, {"version", version}}));
  if (!before) {
    if (state.kv_keys >= kv_keys_max)
      return field_error(Reason::field_value, "key",
                         "is one too many: a project has at most " + std::to_string(kv_keys_max));
    ++state.kv_keys;
    CALYX_CHECK(tx.change_projects().put_state(state));
  }
  row.version = version + 1;
  CALYX_CHECK(tx.change_projects().put_kv(row));
  return KvEntry{asked.key, asked.value, row.version};
}

Result<json::Object> read_manifest(std::string_view text) {
  const auto at_fault = [](Error error) {
    if (error.details.object() == nullptr) error.details = json::Object();
    error.details.object()->set("file", manifest_path);
    return error;
  };
  Result<json::Value> read = read_json(text, {.bytes = manifest_bytes_max});
  if (!read.ok()) {
    // The request is well formed, what it holds is not: the reader's own words would be a 400.
    json::Value details = read.error().details;
    if (details.object() == nullptr) details = json::Object();
    details.object()->set("field", "");
    return at_fault(fail(Reason::field_value, "is no JSON: " + read.error().message, std::move(details)));
  }
  if (read->object() == nullptr) return at_fault(field_error(Reason::field_type, "", "must be an object"));
  if (Result<Done> checked = check_manifest(*read->object()); !checked.ok())
    return at_fault(std::move(checked).error());
  return std::move(*read->object());
}

Result<Declared> declared_in(std::string_view text) {
  Declared out;
  if (text == "{}") return out;
  CALYX_TRY(const json::Object manifest, read_manifest(text));
  const auto each = [&](std::string_view list, const auto& take) {
    if (const json::Value* items = manifest.find(list))
      for (const json::Value& item : *items->array())
        take(
            [&](std::string_view member) {
              const json::Value* value = item.find(member);
              return value == nullptr ? std::string() : *value->string();
            },
            item);
  };
  each("data_sources", [&](const auto& text_of, const json::Value&) {
    out.sources.push_back({.name = text_of("name"),
                           .type = text_of("type"),
                           .source = text_of("source"),
                           .revision = text_of("revision"),
                           .sha256 = core::read_digest_hex(text_of("sha256")),
                           .mount_path = text_of("mount_path")});
  });
  each("cache_mounts", [&](const auto& text_of, const json::Value& item) {
    const json::Value* size_mb = item.find("size_mb");
    out.caches.push_back({.name = text_of("name"),
                          .mount_path = text_of("mount_path"),
                          .size_mb = size_mb == nullptr ? 0 : *size_mb->integer()});
  });
  return out;
}

ProjectStatus status_of(const ProjectState& state) {
  const bool warm = state.active != 0 && state.warmed == state.active;
  return {.name = state.name,
          .can_accept_new_jobs = state.active != 0,
          .ready_for_jobs = warm,
          .active_revision = state.active,
          .revision_state = state.active == 0           ? RevisionState::none
                            : warm                      ? RevisionState::warm
                            : state.invalidated.us != 0 ? RevisionState::invalidated
                                                        : RevisionState::published};
}

std::string files_text(std::span<const ProjectFile> files) {
  std::string out = "[";
  for (const ProjectFile& file : files) {
    if (out.size() > 1) out.push_back(',');
    json::append_canonical(out, json::object({{"path", file.path},
                                              {"size", file.size},
                                              {"mode", file.mode},
                                              {"sha256", core::hex(file.sha256)}}));
  }
  out.push_back(']');
  return out;
}

Result<Revision> view(const store::RevisionRow& row) {
  const auto damaged = [&] {
    return fail(Reason::corrupt,
                "revision " + std::to_string(row.number) + " of project " + std::to_string(row.project) +
                    " is not as it was written; run an audit",
                json::object({{"table", "revisions"}, {"row", row.number}}));
  };
  Revision out{.number = row.number, .at = row.at, .sha256 = row.sha256, .size = row.size};
  CALYX_TRY(const json::Value files, read_own_json(row.files, "a revision's files"));
  CALYX_TRY(json::Value manifest, read_own_json(row.manifest, "a revision's manifest"));
  if (files.array() == nullptr || manifest.object() == nullptr) return damaged();
  out.manifest = std::move(*manifest.object());
  out.files.reserve(files.array()->size());
  for (const json::Value& file : *files.array()) {
    const json::Value *path = file.find("path"), *size = file.find("size"), *mode = file.find("mode"),
                      *sha256 = file.find("sha256");
    if (path == nullptr || path->string() == nullptr || size == nullptr || size->integer() == nullptr ||
        mode == nullptr || mode->integer() == nullptr || sha256 == nullptr || sha256->string() == nullptr)
      return damaged();
    const auto digest = core::read_digest_hex(*sha256->string());
    if (!digest) return damaged();
    out.files.push_back({.path = *path->string(),
                         .size = static_cast<std::uint64_t>(*size->integer()),
                         .mode = static_cast<std::uint32_t>(*mode->integer()),
                         .sha256 = *digest});
  }
  return out;
}

}  // namespace calyx::services
