#include <calyx/projects.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

void append_revision_number(Members& members, std::string_view name, std::int64_t revision) {
  revision == 0 ? members.null(name) : members.integer(name, revision);
}

}  // namespace

Result<ProjectName> project_name(const Call& call, Query& query) {
  ProjectName out;
  if (const auto wallet = query.find("wallet_id")) {
    out.wallet = WalletId::read(*wallet);
    if (!out.wallet)
      return fail(Reason::wallet_unknown, "no wallet has such an id", json::object({{"field", "wallet_id"}}));
  }
  // What looks like a secret is no project's name, and is not repeated.
  if (!sayable(call.id)) return fail(Reason::project_unknown, "no project has such a name");
  out.name = call.id;
  return out;
}

void append_status(Members& members, const ProjectStatus& status) {
  members.text("project", std::string_view(status.name))
      .boolean("can_accept_new_jobs", status.can_accept_new_jobs)
      .boolean("ready_for_jobs", status.ready_for_jobs);
  append_revision_number(members, "active_revision", status.active_revision);
  members.text("revision_state", word(status.revision_state));
}

namespace {

Result<ProjectName> project_name(const Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(ProjectName out, project_name(call, query));
  CALYX_CHECK(query.done());
  return out;
}

/// What is answered for a body that is at fault: `fault`, unless the project is not even there.
Error first_fault(Call& call, const ProjectName& project, Error fault) {
  if (Result<ProjectStatus> found = call.session->project_status(project); !found.ok())
    return std::move(found).error();
  return fault;
}

void append_paths(Members& members, std::string& out, std::string_view name,
                  const std::vector<std::string>& paths) {
  members.begin(name);
  append_list(out, paths, [&](const std::string& path) { json::append_string(out, path); });
}

void append_project(std::string& out, const Project& project) {
  Members members(out);
  members.text("name", std::string_view(project.name))
      .id("wallet_id", project.wallet)
      .text_or_null("remote_dir", project.remote_dir)
      .text_or_null("description", project.description)
      .instant("created_at", project.created_at);
  append_revision_number(members, "active_revision", project.active_revision);
  members.close();
}
Response project_response(int status, const Project& project) {
  std::string out;
  append_project(out, project);
  return json_response(status, std::move(out));
}

/// The members of a revision, without what differs from the one before.
void append_revision(Members& members, std::string& out, const Revision& revision) {
  members.integer("revision", revision.number)
      .instant("created_at", revision.at)
      .text("sha256", std::string_view(core::hex(revision.sha256)))
      .count("size", revision.size)
      .begin("files");
  append_list(out, revision.files, [&](const ProjectFile& file) {
    Members(out)
        .text("path", std::string_view(file.path))
        .count("size", file.size)
        .text("mode", std::string_view(file.mode == 0755 ? "0755" : "0644"))
        .text("sha256", std::string_view(core::hex(file.sha256)))
        .close();
  });
  append_value(members, out, "manifest", revision.manifest);
}

Response status_response(const ProjectStatus& status) {
  std::string out;
  Members members(out);
  append_status(members, status);
  members.close();
  return json_response(200, std::move(out));
}

Response kv_response(const KvEntry& entry) {
  std::string out;
  Members members(out);
  members.text("key", std::string_view(entry.key));
  append_value(members, out, "value", entry.value);
  members.integer("version", entry.version).close();
  return json_response(200, std::move(out));
}

}  // namespace

Result<Response> create_project(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  ProjectCreate asked;
  fields.read("name", asked.name);
  fields.read_optional("remote_dir", asked.remote_dir);
  fields.read_optional("description", asked.description);
  fields.read("wallet_id", asked.wallet);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const Project project, call.session->create_project(asked));
  return project_response(201, project);
}

Result<Response> list_projects(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  Page page;
  CALYX_TRY(const std::uint64_t limit, query.number("limit", page.limit));
  if (limit < 1 || limit > 1'000)
    return field_fault(Reason::field_value, "limit", "is " + std::to_string(limit) + ", takes 1 to 1000");
  page.limit = static_cast<std::uint32_t>(limit);
  if (const auto after = query.find("after")) page.after = *after;
  std::optional<WalletId> wallet;
  if (const auto named = query.find("wallet_id")) {
    wallet = WalletId::read(*named);
    if (!wallet)
      return fail(Reason::wallet_unknown, "no wallet has such an id", json::object({{"field", "wallet_id"}}));
  }
  CALYX_CHECK(query.done());
  CALYX_TRY(const Listed<Project> listed, call.session->projects(page, wallet));
  std::string out;
  Members members(out);
  members.begin("projects");
  append_list(out, listed.items, [&](const Project& project) { append_project(out, project); });
  members.text_or_null("next_cursor", listed.next).close();
  return json_response(200, std::move(out));
}

Result<Response> get_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const Project project, call.session->project(name));
  return project_response(200, project);
}

Result<Response> change_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  const Result<json::Value> body = read_body(call.request);
  if (!body.ok()) return first_fault(call, name, body.error());
  Fields fields(*body);
  // Null clears, as an empty text does.
  std::optional<std::optional<std::string>> remote_dir, description;
  fields.read_change("remote_dir", remote_dir);
  fields.read_change("description", description);
  if (const Result<Done> done = fields.done(); !done.ok()) return first_fault(call, name, done.error());
  ProjectChange change;
  if (remote_dir) change.remote_dir = remote_dir->value_or("");
  if (description) change.description = description->value_or("");
  CALYX_TRY(const Project project, call.session->change_project(name, change));
  return project_response(200, project);
}

Result<Response> delete_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_CHECK(call.session->delete_project(name));
  std::string out;
  Members(out).text("project", std::string_view(name.name)).boolean("deleted", true).close();
  return json_response(200, std::move(out));
}

Result<Response> push_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  if (call.request.body.size() > tarball_bytes_max)
    return first_fault(
        call, name,
        fail(Reason::too_large, "the tarball is longer than " + std::to_string(tarball_bytes_max),
             json::object({{"limit", tarball_bytes_max}})));
  CALYX_TRY(const Revision revision, call.request.source
                                         ? call.session->push_project(name, call.request.source)
                                         : call.session->push_project(name, call.request.body));
  std::string out;
  Members members(out);
  members.text("project", std::string_view(name.name));
  append_revision(members, out, revision);
  members.begin("tarball_diff");
  Members diff(out);
  append_paths(diff, out, "added", revision.tarball_diff.added);
  append_paths(diff, out, "removed", revision.tarball_diff.removed);
  append_paths(diff, out, "changed", revision.tarball_diff.changed);
  diff.close();
  members.close();
  return json_response(201, std::move(out));
}

Result<Response> init_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const ProjectStatus status, call.session->init_project(name));
  return status_response(status);
}

Result<Response> get_project_status(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const ProjectStatus status, call.session->project_status(name));
  return status_response(status);
}

Result<Response> get_project_details(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const ProjectStatusDetails details, call.session->project_status_details(name));
  std::string out;
  Members members(out);
  append_status(members, details.status);
  if (details.revision) {
    members.begin("revision");
    Members inner(out);
    append_revision(inner, out, *details.revision);
    inner.close();
  } else {
    members.null("revision");
  }
  members.begin("diagnostics");
  append_list(out, details.diagnostics, [&](const ProjectDiagnostic& diagnostic) {
    Members(out)
        .text("code", std::string_view(diagnostic.code))
        .text("message", std::string_view(diagnostic.message))
        .text_or_null("recommended_action", diagnostic.recommended_action)
        .close();
  });
  members.close();
  return json_response(200, std::move(out));
}

Result<Response> invalidate_project(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const ProjectStatus status, call.session->invalidate_project(name));
  return status_response(status);
}

Result<Response> put_kv(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  const Result<json::Value> body = read_body(call.request);
  if (!body.ok()) return first_fault(call, name, body.error());
  Fields fields(*body);
  KvPut asked{.key = std::string(call.key)};
  if (const json::Value* value = fields.find("value"))
    asked.value = *value;
  else
    fields.fault(field_fault(Reason::field_missing, "/value", "is missing"));
  fields.read("version", asked.version);
  if (const Result<Done> done = fields.done(); !done.ok()) return first_fault(call, name, done.error());
  CALYX_TRY(const KvEntry entry, call.session->kv_put(name, asked));
  return kv_response(entry);
}

Result<Response> get_kv(Call& call) {
  CALYX_TRY(const ProjectName name, project_name(call));
  CALYX_TRY(const KvEntry entry, call.session->kv_get(name, call.key));
  return kv_response(entry);
}

}  // namespace calyx::wire
