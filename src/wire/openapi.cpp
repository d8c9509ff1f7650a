/// \file
/// The OpenAPI 3.1 document, made of the route table and its notes.
#include "wire/notes.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

std::string_view schema_of(std::string_view kind) {
  if (kind == "int") return R"({"type":"integer"})";
  if (kind == "bool") return R"({"type":"boolean"})";
  if (kind == "flops") return R"({"$ref":"#/components/schemas/Flops"})";
  if (kind == "object") return R"({"type":"object"})";
  if (kind == "array") return R"({"type":"array"})";
  if (kind == "texts") return R"({"type":"array","items":{"type":"string"}})";
  if (kind == "any") return "{}";
  return R"({"type":"string"})";
}

/// An answer's members may all be null where there is nothing to say, so only those of a body have one type.
enum class Side : std::uint8_t { body, answer };

void append_schema(std::string& out, std::string_view list, Side side) {
  std::string required;
  Members schema(out);
  schema.text("type", std::string_view("object")).begin("properties");
  Members properties(out);
  while (!list.empty()) {
    const NotedMember member = next_member(list);
    const std::string_view one = schema_of(member.kind);
    if (side == Side::body || one == "{}")
      properties.json(member.name, one);
    else
      properties.json(member.name, std::string(R"({"anyOf":[)").append(one).append(R"(,{"type":"null"}]})"));
    if (!member.required) continue;
    required += required.empty() ? "[" : ",";
    json::append_string(required, member.name);
  }
  properties.close();
  if (!required.empty()) schema.json("required", required += "]");
  schema.close();
}

void append_parameter(std::string& out, std::string_view name, std::string_view place, bool required,
                      std::string_view schema) {
  if (out.back() != '[') out.push_back(',');
  Members(out)
      .text("name", name)
      .text("in", place)
      .boolean("required", required)
      .json("schema", schema)
      .close();
}

void append_parameters(std::string& out, const Note& note) {
  out.push_back('[');
  for (const std::string_view name : {"id", "key"})
    if (note.path.find(std::string("{").append(name).append("}")) != std::string_view::npos)
      append_parameter(out, name, "path", true, schema_of({}));
  for (std::string_view list = note.parameters; !list.empty();) {
    const NotedMember member = next_member(list);
    append_parameter(out, member.name, member.kind == "header" ? "header" : "query", member.required,
                     schema_of(member.kind));
  }
  out.push_back(']');
}

/// A content type alone, as the map of media types has it.
std::string_view media_type(std::string_view content) { return content.substr(0, content.find(';')); }

void append_security(std::string& out, Access access) {
  switch (access) {
    case Access::anyone: out += "[]"; break;
    case Access::key:
    case Access::operator_: out += R"([{"bearer":[]},{"api_key":[]}])"; break;
    case Access::metrics: out += R"([{},{"bearer":[]},{"api_key":[]}])"; break;
  }
}

/// `POST /v1/wallets/{id}/spend` as `post_v1_wallets_id_spend`.
std::string operation_id(const Note& note) {
  std::string out;
  for (const char c : word(note.method)) out.push_back(static_cast<char>(c - 'A' + 'a'));
  for (const char c : note.path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain)
      out.push_back(c);
    else if (out.back() != '_')
      out.push_back('_');
  }
  if (out.back() == '_') out.pop_back();
  return out;
}

void append_operation(std::string& out, const Note& note, const Route& route) {
  Members operation(out);
  operation.text("operationId", std::string_view(operation_id(note)))
      .text("summary", note.summary)
      .begin("tags");
  out.push_back('[');
  json::append_string(out, word(note.group));
  out.push_back(']');
  operation.begin("security");
  append_security(out, route.access);
  operation.begin("parameters");
  append_parameters(out, note);
  if (!note.body.empty()) {
    const bool raw = note.body.starts_with('@');
    bool required = raw;
    for (std::string_view list = raw ? std::string_view() : note.body; !list.empty();)
      required = next_member(list).required || required;
    operation.begin("requestBody");
    Members body(out);
    body.boolean("required", required).begin("content");
    Members content(out);
    content.begin(raw ? note.body.substr(1) : std::string_view("application/json"));
    if (raw) {
      out += "{}";
    } else {
      out += R"({"schema":)";
      append_schema(out, note.body, Side::body);
      out.push_back('}');
    }
    content.close();
    body.close();
  }
  operation.begin("responses");
  Members responses(out);
  responses.begin(std::to_string(note.status));
  Members answer(out);
  answer.text("description", note.summary).begin("content");
  Members content(out);
  content.begin(media_type(note.content));
  if (note.answer.empty()) {
    out += "{}";
  } else {
    out += R"({"schema":)";
    append_schema(out, note.answer, Side::answer);
    out.push_back('}');
  }
  content.close();
  answer.close();
  responses.json("default", R"({"$ref":"#/components/responses/Error"})");
  responses.close();
  operation.close();
}

constexpr std::string_view components =
    R"({"securitySchemes":{"bearer":{"type":"http","scheme":"bearer"},)"
    R"("api_key":{"type":"apiKey","in":"header","name":"X-API-Key"}},)"
    R"("schemas":{"Flops":{"description":"FLOPS with at most six decimals; answers give a number.",)"
    R"("anyOf":[{"type":"number"},{"type":"string","pattern":"^[0-9]+([.][0-9]{1,6})?$"}]},)"
    R"("Error":{"type":"object","required":["error"],"properties":{"error":{"type":"object",)"
    R"("required":["code","message","details"],"properties":{"code":{"type":"string"},)"
    R"("message":{"type":"string"},"details":{"type":"object"}}}}}},)"
    R"("responses":{"Error":{"description":"A refusal: its code is stable, its details say where and how much.",)"
    R"("content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"}}}}}})";

std::string build() {
  std::string out;
  Members document(out);
  document.text("openapi", std::string_view("3.1.0")).begin("info");
  Members(out)
      .text("title", std::string_view("calyx"))
      .text("version", std::string_view(CALYX_VERSION))
      .text("description", std::string_view("A compute market: jobs, wallets, escrow, receipts."))
      .close();
  document.json("servers", R"([{"url":"/"}])")
      .json("security", R"([{"bearer":[]},{"api_key":[]}])")
      .begin("tags");
  out.push_back('[');
  for (std::size_t i = 0; i < groups; ++i) {
    if (i > 0) out.push_back(',');
    Members(out).text("name", word(static_cast<Group>(i))).close();
  }
  out.push_back(']');
  document.begin("paths");
  Members paths(out);
  const std::span<const Route> all = routes();
  for (const Route& first : all) {
    const auto same = [&](const Route& other) { return other.path == first.path; };
    if (&*std::find_if(all.begin(), all.end(), same) != &first) continue;
    paths.begin(first.path);
    Members item(out);
    for (const Route& route : all) {
      if (!same(route)) continue;
      std::string method(word(route.method));
      for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
      item.begin(method);
      append_operation(out, note_of(route), route);
    }
    item.close();
  }
  paths.close();
  document.json("components", components).close();
  return out;
}

}  // namespace

Result<Response> get_openapi(Call&) {
  Response out = json_response(200, build());
  out.headers.push_back({"Cache-Control", "public, max-age=300"});
  return out;
}

}  // namespace calyx::wire
