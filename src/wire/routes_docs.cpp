/// \file
/// The documentation, as texts: what the route table and its notes know, with guides.hpp around it.
#include "wire/guides.hpp"
#include "wire/notes.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

constexpr std::string_view pages[] = {"/skill.md",
                                      "/llms.txt",
                                      "/llms-full.txt",
                                      "/docs",
                                      "/openapi.json",
                                      "/api/v1/docs/recipes",
                                      "/api/v1/docs/python-sdk",
                                      "/api/v1/docs/workflows"};

/// A page that changes with the build and the recipes only, and says nothing of who asks.
Response page_response(std::string body, const Call& call) {
  const Match found = match(call.request.method, call.path);
  Response out;
  out.status = 200;
  out.headers = {{"Content-Type", std::string(note_of(*found.route).content)},
                 {"Cache-Control", "public, max-age=300"}};
  out.body = std::move(body);
  return out;
}

std::string_view access_word(Access access) {
  switch (access) {
    case Access::anyone: return "anyone";
    case Access::key: return "key";
    case Access::operator_: return "operator";
    case Access::metrics: return "local, operator or metrics token";
  }
  return {};
}

std::string_view access_sentence(Access access) {
  switch (access) {
    case Access::anyone: return "no key needed";
    case Access::key: return "a key";
    case Access::operator_: return "an operator's key";
    case Access::metrics:
      return "this machine without a key; else an operator's key, or the metrics token in its place";
  }
  return {};
}

std::string_view kind_in_words(std::string_view kind) {
  if (kind == "int") return "integer";
  if (kind == "bool") return "true or false";
  if (kind == "flops") return "FLOPS";
  if (kind == "texts") return "list of strings";
  if (kind == "array") return "list";
  if (kind == "any") return "any JSON";
  return kind;
}

/// `each(note, route)` for the routes of `group`, in the table's order.
template <class Each>
void for_group(Group group, Each each) {
  for (const Route& route : routes())
    if (const Note& note = note_of(route); note.group == group) each(note, route);
}

void append_table(std::string& out, Group group) {
  out.append("### ")
      .append(word(group))
      .append("\n\n| Method | Path | Access | Purpose |\n|---|---|---|---|\n");
  for_group(group, [&](const Note& note, const Route& route) {
    out.append("| ").append(word(note.method)).append(" | `").append(note.path).append("` | ");
    out.append(access_word(route.access)).append(" | ").append(note.summary).append(" |\n");
  });
  out.push_back('\n');
}
std::string route_tables() {
  std::string out = "## Routes\n\n";
  for (std::size_t i = 0; i < groups; ++i) append_table(out, static_cast<Group>(i));
  return out;
}

void append_members(std::string& out, std::string_view what, std::string_view list) {
  if (list.empty()) return;
  out.append("- ").append(what).append(": ");
  for (bool first = true; !list.empty(); first = false) {
    const NotedMember member = next_member(list);
    if (!first) out += ", ";
    out.append("`").append(member.name).append("`");
    if (member.kind != member_kinds[0]) out.append(" ").append(kind_in_words(member.kind));
    if (member.required) out += " (needed)";
  }
  out.push_back('\n');
}

/// Each route with what it takes and gives.
std::string routes_in_full() {
  std::string out = "## Routes in full\n\nA member without a kind is a string.\n\n";
  for (std::size_t i = 0; i < groups; ++i)
    for_group(static_cast<Group>(i), [&](const Note& note, const Route& route) {
      out.append("### ").append(word(note.method)).append(" ").append(note.path).append("\n\n");
      out.append(note.summary).append(". Access: ").append(access_sentence(route.access)).append(".\n\n");
      append_members(out, "parameters", note.parameters);
      if (note.body.starts_with('@'))
        out.append("- body: ").append(note.body.substr(1)).append("\n");
      else
        append_members(out, "body", note.body);
      out.append("- answer: ")
          .append(std::to_string(note.status))
          .append(", ")
          .append(note.content)
          .append("\n");
      append_members(out, "with", note.answer);
      out.push_back('\n');
    });
  return out;
}

std::string error_table() {
  std::string out = "## Errors\n\n| HTTP | Code | The caller then |\n|---|---|---|\n";
  constexpr std::string_view advice[] = {"",
                                         "mends the request",
                                         "asks about something else",
                                         "reads again and decides again",
                                         "changes the terms: funds, policy or rights said no",
                                         "makes the same call later",
                                         "knows why",
                                         "uses another build or version",
                                         "calls the market's operator",
                                         "reports a defect",
                                         "repeats the call with the same key: it may stand"};
  for (std::size_t i = 1; i < reasons; ++i) {
    const ReasonFacts& one = facts(static_cast<Reason>(i));
    out.append("| ").append(std::to_string(one.http)).append(" | `").append(one.word).append("` | ");
    out.append(advice[static_cast<std::size_t>(one.status)]).append(" |\n");
  }
  out.push_back('\n');
  return out;
}

std::string recipe_guide(const Call& call) {
  std::string out =
      "# Recipes\n\nA recipe's job needs no code of yours: name the recipe, give it a payload. The payload "
      "is "
      "checked against the\nrecipe's schema before anything is held; a fault is 422 with `details.field`. "
      "Submit "
      "with\n`POST /api/v1/recipes/{id}/jobs`, read the result at `GET /api/v1/results/{id}`.\n\n";
  for (const auto& recipe : call.engine.as_operator().recipes()) {
    out.append("## ").append(recipe->name).append("\n\n");
    if (!recipe->summary.empty()) out.append(recipe->summary).append("\n\n");
    if (!recipe->operations.empty()) {
      out += "Operations:";
      for (const std::string& operation : recipe->operations)
        out.append(&operation == recipe->operations.data() ? " `" : ", `").append(operation).append("`");
      out += ".\n\n";
    }
    if (!recipe->artifact_inputs.empty()) {
      out += "Takes artifacts:";
      for (const std::string& input : recipe->artifact_inputs)
        out.append(&input == recipe->artifact_inputs.data() ? " `" : ", `").append(input).append("`");
      out += ".\n\n";
    }
    out += "```json\n";
    json::append_text(out, recipe->payload_schema);
    out += "\n```\n\n";
  }
  return out;
}

std::string full_reference(const Call& call) {
  std::string out(guides::title);
  out.append(guides::introduction)
      .append(guides::quickstart)
      .append(guides::feedback)
      .append(guides::workflows);
  out.append(recipe_guide(call)).append(guides::python).append(routes_in_full()).append(error_table());
  return out;
}

void append_html(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out.push_back(c);
  }
}

void append_members(std::string& out, std::string_view list) {
  out.push_back('[');
  for (bool first = true; !list.empty(); first = false) {
    const NotedMember member = next_member(list);
    if (!first) out.push_back(',');
    Members(out)
        .text("name", member.name)
        .text("kind", member.kind)
        .boolean("required", member.required)
        .close();
  }
  out.push_back(']');
}

}  // namespace

Result<Response> get_skill(Call& call) {
  return page_response(std::string(guides::skill_header).append(guides::skill), call);
}

Result<Response> get_compact_reference(Call& call) {
  std::string out(guides::title);
  out.append(guides::introduction).append(guides::quickstart).append(guides::feedback).append(route_tables());
  return page_response(std::move(out), call);
}

Result<Response> get_full_reference(Call& call) { return page_response(full_reference(call), call); }

Result<Response> get_docs(Call& call) {
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>The compute market's API</title>\n"
      "<style>body{max-width:60rem;margin:2rem auto;padding:0 1rem;font-family:sans-serif}"
      "pre{white-space:pre-wrap}td,th{padding:.2rem .6rem;text-align:left;vertical-align:top}</style>\n"
      "<h1>The compute market's API</h1>\n<ul>\n";
  for (const std::string_view page : pages) {
    const Note& note = note_of(*match("GET", page).route);
    out.append("<li><a href=\"").append(page).append("\">").append(page).append("</a>: ");
    append_html(out, note.summary);
    out += "</li>\n";
  }
  out += "</ul>\n";
  for (std::size_t i = 0; i < groups; ++i) {
    out.append("<h2>").append(word(static_cast<Group>(i))).append("</h2>\n<table>\n");
    for_group(static_cast<Group>(i), [&](const Note& note, const Route& route) {
      out.append("<tr><td>").append(word(note.method)).append("</td><td><code>").append(note.path);
      out.append("</code></td><td>").append(access_word(route.access)).append("</td><td>");
      append_html(out, note.summary);
      out += "</td></tr>\n";
    });
    out += "</table>\n";
  }
  out += "<h2>In full</h2>\n<pre>";
  append_html(out, full_reference(call));
  out += "</pre>\n</html>\n";
  return page_response(std::move(out), call);
}

Result<Response> get_docs_index(Call& call) {
  std::string out;
  Members members(out);
  members.text("name", std::string_view("calyx"))
      .text("version", std::string_view(CALYX_VERSION))
      .begin("pages");
  out.push_back('[');
  for (const std::string_view page : pages) {
    const Note& note = note_of(*match("GET", page).route);
    if (out.back() != '[') out.push_back(',');
    Members(out).text("path", page).text("content_type", note.content).text("summary", note.summary).close();
  }
  out.push_back(']');
  members.begin("routes");
  out.push_back('[');
  for (const Route& route : routes()) {
    const Note& note = note_of(route);
    if (&route != routes().data()) out.push_back(',');
    Members one(out);
    one.text("method", word(route.method))
        .text("path", route.path)
        .text("group", word(note.group))
        .text("access", access_word(route.access))
        .text("summary", note.summary)
        .begin("parameters");
    append_members(out, note.parameters);
    one.begin("body");
    if (note.body.starts_with('@'))
      json::append_string(out, note.body.substr(1));
    else
      append_members(out, note.body);
    one.close();
  }
  out.push_back(']');
  members.close();
  return page_response(std::move(out), call);
}

Result<Response> get_recipe_guide(Call& call) { return page_response(recipe_guide(call), call); }
Result<Response> get_python_guide(Call& call) { return page_response(std::string(guides::python), call); }
Result<Response> get_workflow_guide(Call& call) {
  return page_response(std::string(guides::workflows), call);
}

}  // namespace calyx::wire
