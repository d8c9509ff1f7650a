// The documentation that the wire serves: that it tells of every route, of nothing else, and the truth.
#include <algorithm>
#include <set>

#include "wire/client.hpp"
#include "wire/notes.hpp"

using namespace wire_test;
namespace wire = calyx::wire;

namespace {

constexpr const char* page_paths[] = {"/skill.md",
                                      "/llms.txt",
                                      "/llms-full.txt",
                                      "/docs",
                                      "/api/v1/docs/recipes",
                                      "/api/v1/docs/python-sdk",
                                      "/api/v1/docs/workflows"};

std::string named(const wire::Route& route) {
  return std::string(word(route.method)) + " " + std::string(route.path);
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// A `curl` of a page, as the request that it would send.
struct Curl {
  std::string method, target, body, once;
};
Curl curl_in(const std::string& line) {
  Curl out{"GET", {}, {}, {}};
  if (const std::size_t at = line.find("-X "); at != std::string::npos)
    out.method = line.substr(at + 3, line.find(' ', at + 3) - at - 3);
  const std::size_t base = line.find("$BASE_URL");
  REQUIRE(base != std::string::npos);
  const std::size_t from = base + std::string_view("$BASE_URL").size();
  out.target = line.substr(from, line.find_first_of(" \"", from) - from);
  if (const std::size_t at = line.find("-d '"); at != std::string::npos)
    out.body = line.substr(at + 4, line.rfind('\'') - at - 4);
  if (const std::size_t at = line.find("Idempotency-Key: "); at != std::string::npos)
    out.once = line.substr(at + 17, line.find('"', at) - at - 17);
  return out;
}

// `METHOD /path` of prose and of the second and third column of a table, as `METHOD /path`.
std::vector<std::string> routes_named_in(const std::string& page) {
  std::vector<std::string> out;
  for (std::string line : lines_of(page)) {
    line = replaced(replaced(std::move(line), "` | `", " "), " | `", " ");
    line = replaced(replaced(std::move(line), "</td><td><code>", " "), "<td>", " ");
    for (std::size_t i = 0; i < wire::methods; ++i) {
      const std::string begins = std::string(word(static_cast<wire::Method>(i))) + " /";
      for (std::size_t at = 0; (at = line.find(begins, at)) != std::string::npos; at += begins.size()) {
        const std::size_t end = line.find_first_of("`<, ", at + begins.size());
        out.push_back(line.substr(at, end - at));
      }
    }
  }
  return out;
}

// A good value of a kind, as JSON.
std::string sample(const wire::NotedMember& member) {
  if (member.kind == "int" || member.kind == "flops") return "1";
  if (member.kind == "bool") return "true";
  if (member.kind == "object") return "{}";
  if (member.kind == "array") return "[]";
  if (member.kind == "texts") return R"(["x"])";
  if (member.name == "output_hash") return "\"" + std::string(64, 'a') + "\"";
  if (member.name == "owner_type") return R"("human")";
  if (member.name == "status") return R"("active")";
  if (member.name == "depth") return R"("each")";
  if (member.name == "lease_id") return R"("1")";
  if (member.name == "type") return R"("structured_runner")";
  return R"("x")";
}

enum class Which { all, needed };
std::string body_of(const wire::Note& note, Which which) {
  std::string out = "{";
  for (std::string_view list = note.body; !list.empty();) {
    const wire::NotedMember member = wire::next_member(list);
    if (which == Which::needed && !member.required) continue;
    out += (out.size() == 1 ? "\"" : ",\"") + std::string(member.name) + "\":" + sample(member);
  }
  return out + "}";
}

}  // namespace

TEST_CASE("pages are there for everybody, of the type that they say, and may be kept for a while") {
  Market market;
  struct Row {
    const char* path;
    const char* type;
    const char* says;
  };
  const Row rows[] = {
      {"/skill.md", "text/markdown; charset=utf-8", "---\nname: "},
      {"/llms.txt", "text/plain; charset=utf-8", "# The compute market's API\n"},
      {"/llms-full.txt", "text/plain; charset=utf-8", "# The compute market's API\n"},
      {"/docs", "text/html; charset=utf-8", "<!doctype html>"},
      {"/openapi.json", "application/json", R"({"openapi":"3.1.0")"},
      {"/api/v1/docs", "application/json", R"({"name":"calyx")"},
      {"/api/v1/docs/recipes", "text/markdown; charset=utf-8", "# Recipes\n"},
      {"/api/v1/docs/python-sdk", "text/markdown; charset=utf-8", "# The Python client\n"},
      {"/api/v1/docs/workflows", "text/markdown; charset=utf-8", "# Ways to put jobs together\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.path);
    const Answer answer = market.get(row.path, {});
    CHECK(answer.status == 200);
    CHECK(answer.header("Content-Type") == row.type);
    CHECK(answer.header("Cache-Control") == "public, max-age=300");
    CHECK(answer.body.starts_with(row.says));
    CHECK(json::valid_utf8(answer.body));
    CHECK(market.get(row.path, "cyx_live_x").body == answer.body);  // a key that is not good is not looked at
    CHECK(market.send("GET", row.path, {}, {}, {{"Host", "evil.example\"><script>"}}).body == answer.body);
  }
  CHECK(market.get("/api/v1/docs/nothing", {}).code() == "route_unknown");
}

TEST_CASE("every route is in the index, in the references and in the OpenAPI document, and nothing else is") {
  Market market;
  std::set<std::string> table;
  for (const wire::Route& route : wire::routes()) table.insert(named(route));

  std::set<std::string> index, paths;
  const Answer docs = market.get("/api/v1/docs", {});
  for (const json::Value& one : *docs.find("routes")->array()) {
    index.insert(*one.find("method")->string() + " " + *one.find("path")->string());
    CHECK(one.find("summary")->string()->size() > 5);
  }
  CHECK(index == table);
  const Answer openapi = market.get("/openapi.json", {});
  for (const json::Member& path : *openapi.find("paths")->object())
    for (const json::Member& operation : *path.value.object()) {
      std::string method = operation.key;
      std::transform(method.begin(), method.end(), method.begin(),
                     [](char c) { return static_cast<char>(c - 'a' + 'A'); });
      paths.insert(method + " " + path.key);
    }
  CHECK(paths == table);
  for (const char* page : {"/llms.txt", "/llms-full.txt", "/docs"}) {
    CAPTURE(page);
    const std::vector<std::string> found = routes_named_in(market.get(page, {}).body);
    for (const std::string& route : table) {
      CAPTURE(route);
      CHECK(std::find(found.begin(), found.end(), route) != found.end());
    }
  }
  for (const char* page : page_paths) {
    CAPTURE(page);
    for (const std::string& route : routes_named_in(market.get(page, {}).body)) {
      CAPTURE(route);
      CHECK(table.count(route) == 1);
    }
  }
}

TEST_CASE("the index says who gets in, what it takes, and which pages there are") {
  Market market;
  const Answer docs = market.get("/api/v1/docs", {});
  CHECK(docs.at("version") == CALYX_VERSION);
  const json::Array& routes = *docs.find("routes")->array();
  const auto one = [&](std::string_view path) -> const json::Value& {
    const auto found = std::find_if(routes.begin(), routes.end(), [&](const json::Value& route) {
      return *route.find("path")->string() == path;
    });
    REQUIRE(found != routes.end());
    return *found;
  };
  CHECK(*one("/health").find("access")->string() == "anyone");
  CHECK(*one("/v1/audit").find("access")->string() == "operator");
  CHECK(*one("/api/v1/jobs").find("access")->string() == "key");
  CHECK(
      json::text(*one("/v1/wallets/{id}/transfer").find("body")) ==
      R"([{"name":"to_wallet_id","kind":"string","required":true},)"
      R"({"name":"amount","kind":"flops","required":true},{"name":"reference","kind":"string","required":false}])");
  for (const json::Value& page : *docs.find("pages")->array()) {
    const Answer answer = market.get(*page.find("path")->string(), {});
    CHECK(answer.status == 200);
    CHECK(answer.header("Content-Type") == *page.find("content_type")->string());
  }
}

TEST_CASE("what the notes say of a body and of a query is what is read") {
  Market market;
  const Owner alice = market.human("alice");
  const std::string job = market.post("/api/v1/jobs", market.op, R"({"task":"work"})").at("job_id");
  REQUIRE(market.post("/api/v1/projects", market.op, R"({"name":"project"})").status == 201);
  for (const wire::Route& route : wire::routes()) {
    const wire::Note& note = wire::note_of(route);
    CAPTURE(note.path);
    CAPTURE(word(note.method));
    const std::string method(word(note.method));
    const std::string_view id = note.group == wire::Group::jobs       ? std::string_view(job)
                                : note.group == wire::Group::recipes  ? "packing"
                                : note.group == wire::Group::projects ? "project"
                                                                      : std::string_view(alice.id);
    const std::string path = replaced(replaced(std::string(note.path), "{key}", "k"), "{id}", id);

    std::string query;
    for (std::string_view list = note.parameters; !list.empty();) {
      const wire::NotedMember member = wire::next_member(list);
      if (member.kind == "header") continue;
      const std::string_view value = member.name == "status"      ? std::string_view("queued")
                                     : member.name == "depth"     ? "each"
                                     : member.name == "format"    ? "csv"
                                     : member.name == "wallet_id" ? std::string_view(alice.id)
                                                                  : "1";
      query.append(query.empty() ? "?" : "&").append(member.name).append("=").append(value);
    }
    const auto fault = [&](const std::string& target, const std::string& body) {
      const Answer answer = market.send(method, target, market.op, body);
      return answer.code() + " " + answer.field() + " " + answer.at("error.message");
    };
    if (!query.empty()) {
      const std::string said = fault(path + query, "{}");
      CAPTURE(said);
      CHECK(said.find("field_") == std::string::npos);
      CHECK(fault(path + query + "&colour=1", "{}").find("field_unknown colour") == 0);
    }

    if (note.body.empty() || note.body.starts_with('@')) continue;
    // Members of a job bear on one another, so they are asked about one by one.
    const std::string begun = note.body == wire::noted::submit          ? R"({"task":"work")"
                              : note.body == wire::noted::submit_recipe ? R"({"fan_out":{"items":[{}]})"
                                                                        : "";
    if (!begun.empty()) {
      for (std::string_view list = note.body; !list.empty();) {
        const wire::NotedMember member = wire::next_member(list);
        if (begun.find("\"" + std::string(member.name) + "\"") != std::string::npos) continue;
        const std::string said =
            fault(path, begun + ",\"" + std::string(member.name) + "\":" + sample(member) + "}");
        CAPTURE(said);
        CAPTURE(member.name);
        CHECK(said.find("is not a member of this request") == std::string::npos);
        CHECK(said.find("field_type /" + std::string(member.name) + " ") == std::string::npos);
      }
      CHECK(fault(path, begun + ",\"colour\":1}").find("is not a member of this request") !=
            std::string::npos);
      continue;
    }
    for (const Which which : {Which::all, Which::needed}) {
      std::string body = body_of(note, which);
      const std::string said = fault(path, body);
      CAPTURE(body);
      CAPTURE(said);
      CHECK(said.find("field_missing") == std::string::npos);
      CHECK(said.find("field_unknown") == std::string::npos);
      CHECK(said.find("field_type") == std::string::npos);
      body.insert(body.size() - 1, body == "{}" ? "\"colour\":1" : ",\"colour\":1");
      CHECK(fault(path, body).find("field_unknown /colour") == 0);
    }
    for (std::string_view list = note.body; !list.empty();) {  // and what is needed cannot be left out
      const wire::NotedMember member = wire::next_member(list);
      if (!member.required) continue;
      CAPTURE(member.name);
      wire::Note without = note;
      const std::string whole(note.body);
      const std::size_t at = whole.find(std::string(member.name) + "!");
      const std::size_t end = std::min(whole.find(' ', at), whole.size() - 1);
      const std::string rest = whole.substr(0, at) + whole.substr(end + 1);
      without.body = rest;
      CHECK(fault(path, body_of(without, Which::needed)).find("field_missing /" + std::string(member.name)) ==
            0);
    }
  }
}

TEST_CASE("the curl lines of the pages do what the pages say") {
  for (const char* page : {"/llms.txt", "/api/v1/docs/workflows"}) {
    Market market;
    const Owner alice = market.human("alice");
    market.fund(alice, "1000");
    std::string job = market.post("/api/v1/jobs", alice.key, R"({"task":"work"})").at("job_id");
    std::size_t run = 0;
    for (const std::string& line : lines_of(market.get(page, {}).body)) {
      if (!line.starts_with("curl ")) continue;
      const Curl curl = curl_in(replaced(line, "<job_id>", job));
      CAPTURE(line);
      const bool push = line.find("--data-binary") != std::string::npos;
      const Answer answer = market.send(
          curl.method, curl.target, alice.key, push ? "no tarball" : curl.body,
          curl.once.empty() ? calyx::HeaderFields{} : calyx::HeaderFields{{"Idempotency-Key", curl.once}});
      CAPTURE(answer.body);
      ++run;
      if (push) {
        CHECK(answer.code() == "unsupported");  // a market in memory keeps no files
      } else if (curl.body.find("\"project\"") != std::string::npos) {
        CHECK(answer.code() == "project_not_ready");  // for the same reason
      } else {
        CHECK(answer.status / 100 == 2);
        if (answer.find("job_id") != nullptr && curl.method == "POST") job = answer.at("job_id");
      }
    }
    CHECK(run >= 8);
  }
}

TEST_CASE("the guide to the recipes is made of those that are registered") {
  Market market;
  CHECK(market.get("/api/v1/docs/recipes", {}).body.find("## packing\n") != std::string::npos);
  CHECK(market.get("/api/v1/docs/recipes", {}).body.find("## mine\n") == std::string::npos);
  REQUIRE(market.engine()
              .register_recipe(
                  {.name = "mine",
                   .summary = "Doubles <a number>",
                   .payload_schema = json::object({{"type", "object"}}),
                   .operations = {"double", "halve"},
                   .artifact_inputs = {"data_ref"},
                   .run = [](const calyx::TaskCall&) -> calyx::Result<json::Value> { return json::Value(); }})
              .ok());
  const std::string guide = market.get("/api/v1/docs/recipes", {}).body;
  CHECK(guide.find("## mine\n\nDoubles <a number>\n\nOperations: `double`, `halve`.\n\nTakes artifacts: "
                   "`data_ref`.\n\n"
                   "```json\n{\"type\":\"object\"}\n```\n") != std::string::npos);
  CHECK(market.get("/llms-full.txt", {}).body.find("## mine\n") != std::string::npos);
  CHECK(market.get("/docs", {}).body.find("Doubles &lt;a number&gt;") != std::string::npos);
  CHECK(market.get("/docs", {}).body.find("<a number>") == std::string::npos);
}

TEST_CASE("the full reference names every code of an error, with its status") {
  Market market;
  const std::string full = market.get("/llms-full.txt", {}).body;
  for (std::size_t i = 1; i < calyx::reasons; ++i) {
    const auto& one = calyx::facts(static_cast<calyx::Reason>(i));
    CAPTURE(one.word);
    CHECK(full.find("| " + std::to_string(one.http) + " | `" + std::string(one.word) + "` | ") !=
          std::string::npos);
  }
}

TEST_CASE("the OpenAPI document has the structure that OpenAPI 3.1 asks for") {
  Market market;
  const Answer openapi = market.get("/openapi.json", {});
  CHECK(openapi.members() == "openapi info servers security tags paths components");
  CHECK(openapi.at("openapi") == "3.1.0");
  CHECK(openapi.at("info.title") == "calyx");
  CHECK(openapi.at("info.version") == CALYX_VERSION);
  CHECK(openapi.at("servers") == R"([{"url":"/"}])");
  CHECK(openapi.at("components.securitySchemes.bearer.scheme") == "bearer");
  CHECK(openapi.at("components.securitySchemes.api_key.name") == "X-API-Key");
  std::set<std::string> tags, ids;
  for (const json::Value& tag : *openapi.find("tags")->array()) tags.insert(*tag.find("name")->string());

  // What a $ref names is there.
  const std::string& text = openapi.body;
  constexpr std::string_view reference = "\"$ref\":\"#/";
  std::size_t references = 0;
  for (std::size_t at = 0; (at = text.find(reference, at)) != std::string::npos; ++at, ++references) {
    const std::size_t from = at + reference.size();
    const std::string to = replaced(text.substr(from, text.find('"', from) - from), "/", ".");
    CAPTURE(to);
    CHECK(openapi.find(to) != nullptr);
  }
  CHECK(references >= wire::routes().size());

  for (const json::Member& path : *openapi.find("paths")->object()) {
    CAPTURE(path.key);
    CHECK(path.key.starts_with('/'));
    for (const json::Member& of : *path.value.object()) {
      CAPTURE(of.key);
      const json::Value& operation = of.value;
      CHECK(ids.insert(*operation.find("operationId")->string()).second);  // each once
      CHECK(!operation.find("summary")->string()->empty());
      for (const json::Value& tag : *operation.find("tags")->array()) CHECK(tags.count(*tag.string()) == 1);

      // The path's parameters are declared and needed; no name comes twice in one place.
      std::set<std::string> seen;
      std::size_t in_path = 0;
      for (const json::Value& parameter : *operation.find("parameters")->array()) {
        const std::string& name = *parameter.find("name")->string();
        const std::string& place = *parameter.find("in")->string();
        CHECK(seen.insert(place + " " + name).second);
        CHECK((place == "path" || place == "query" || place == "header"));
        CHECK(parameter.find("schema")->object() != nullptr);
        if (place != "path") continue;
        ++in_path;
        CHECK(*parameter.find("required")->boolean());
        CHECK(path.key.find("{" + name + "}") != std::string::npos);
      }
      CHECK(in_path == static_cast<std::size_t>(std::count(path.key.begin(), path.key.end(), '{')));

      const json::Object& responses = *operation.find("responses")->object();
      CHECK(responses.size() == 2);
      CHECK(responses.find("default")->find("$ref") != nullptr);
      for (const json::Member& response : responses) {
        if (response.key == "default") continue;
        CHECK(response.key.size() == 3);
        CHECK(response.key.starts_with('2'));
        CHECK(!response.value.find("description")->string()->empty());
        CHECK(response.value.find("content")->object()->size() == 1);
      }
      if (const json::Value* body = operation.find("requestBody")) {
        CHECK(body->find("content")->object()->size() == 1);
        CHECK(of.key != "get");
      }
    }
  }
  CHECK(openapi.at("paths./v1/wallets/{id}/spend.post.security") == R"([{"bearer":[]},{"api_key":[]}])");
  CHECK(openapi.at("paths./health.get.security") == "[]");
}
