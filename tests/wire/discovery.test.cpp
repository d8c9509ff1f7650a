// The documentation that the wire serves: that it tells of every route, of nothing else, and the truth.
#include <algorithm>
#include <map>
#include <set>

#include "archive/archive.hpp"
#include "engine/tarballs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"
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
  if (member.name == "type" && member.required) return R"("bug")";
  if (member.kind == "int" || member.kind == "flops") return "1";
  if (member.kind == "bool") return "true";
  if (member.kind == "object") return "{}";
  if (member.kind == "array") return "[]";
  if (member.kind == "texts") return R"(["x"])";
  if (member.name == "output_hash" || member.name == "sha256") return "\"" + std::string(64, 'a') + "\"";
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

TEST_CASE(
    "CP-05, CP-06, CP-08: pages are there for everybody, of the type that they say, and may be kept for a "
    "while") {
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

TEST_CASE(
    "CP-07: every route is in the index, in the references and in the OpenAPI document, and nothing else "
    "is") {
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
  const std::string hash(64, 'a');
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
                                     : member.name == "sha256"    ? std::string_view(hash)
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
  const std::string code = calyx::testing::gzip(calyx::testing::tar({{"script.py", "print()", 0755}}));
  for (const char* page : {"/llms.txt", "/api/v1/docs/workflows"}) {
    const calyx::store::Scratch scratch;
    Market market(scratch / "market.db");
    const Owner alice = market.human("alice");
    market.fund(alice, "1000");
    std::string job = market.post("/api/v1/jobs", alice.key, R"({"task":"work"})").at("job_id");
    std::size_t run = 0;
    for (const std::string& line : lines_of(market.get(page, {}).body)) {
      if (!line.starts_with("curl ")) continue;
      const Curl curl = curl_in(replaced(line, "<job_id>", job));
      CAPTURE(line);
      const bool push = line.find("@code.tar.gz") != std::string::npos;
      const std::string body = push                                       ? code
                               : line.find("@x.bin") != std::string::npos ? std::string("\0x", 2)
                                                                          : curl.body;
      const Answer answer = market.send(
          curl.method, curl.target, alice.key, body,
          curl.once.empty() ? calyx::HeaderFields{} : calyx::HeaderFields{{"Idempotency-Key", curl.once}});
      CAPTURE(answer.body);
      ++run;
      if (push && !calyx::archive::built()) {
        CHECK(answer.code() == "not_built");
        CHECK(calyx::testing::may_lack("wire.discovery.push", "libarchive-dev"));
      } else if (curl.body.find("\"project\"") != std::string::npos && !calyx::archive::built()) {
        CHECK(answer.code() == "project_not_ready");
      } else {
        CHECK(answer.status / 100 == 2);
        if (curl.method == "POST" && curl.target.ends_with("/jobs")) job = answer.at("job_id");
      }
    }
    CHECK(run >= 8);
  }
}

TEST_CASE("CP-08, CP-20: the guide to the recipes is made of those that are registered") {
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

// ── metrics ──

namespace {

// The samples of a text in Prometheus' format, by name and labels; every line is one of its three kinds.
std::map<std::string, std::string> samples_in(const std::string& text) {
  std::map<std::string, std::string> out;
  std::map<std::string, std::string> types;
  std::string helped;
  CHECK(text.ends_with('\n'));
  for (const std::string& line : lines_of(text)) {
    CAPTURE(line);
    std::vector<std::string> words;
    for (std::size_t at = 0; at < line.size();) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    REQUIRE(words.size() >= 2);
    if (words[0] == "#") {
      REQUIRE(words.size() >= 4);
      if (words[1] == "HELP") {
        helped = words[2];
        continue;
      }
      CHECK(words[1] == "TYPE");
      CHECK(words[2] == helped);  // right after its help
      CHECK((words[3] == "counter" || words[3] == "gauge"));
      CHECK((words[3] == "counter") == words[2].ends_with("_total"));
      CHECK(types.emplace(words[2], words[3]).second);
      continue;
    }
    CHECK(words.size() == 2);
    const std::string name = words[0].substr(0, words[0].find('{'));
    CHECK(name.starts_with("calyx_"));
    CHECK(std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; }));
    CHECK(types.count(name) == 1);
    CHECK(words[1].find_first_not_of("0123456789.") == std::string::npos);
    CHECK(out.emplace(words[0], words[1]).second);
  }
  return out;
}

}  // namespace

TEST_CASE(
    "CP-12: metrics are for the host's machine, an operator and the token's holder, and for nobody else") {
  Market market;
  const Owner alice = market.human("alice");
  const Owner agent = market.agent(alice, "agent");
  const auto asked = [&](std::string_view key, bool local, calyx::HeaderFields headers = {}) {
    if (!key.empty()) headers.push_back({"Authorization", "Bearer " + std::string(key)});
    return calyx::handle(market.engine(), {"GET", "/metrics", std::move(headers), {}, local});
  };
  struct Row {
    const char* says;
    std::string_view key;
    bool local;
    int status;
  };
  const Row rows[] = {
      {"the host's own machine needs no key", "", true, 200},
      {"and no good one", "cyx_live_x", true, 200},
      {"an operator", market.op, false, 200},
      {"the token", Market::metrics_token, false, 200},
      {"nobody", "", false, 401},
      {"a key that is none", "cyx_live_x", false, 401},
      {"the token without its end", "token-for-metrics-onl", false, 401},
      {"a human", alice.key, false, 403},
      {"an agent", agent.key, false, 403},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const calyx::Response answer = asked(row.key, row.local);
    CHECK(answer.status == row.status);
    CHECK((answer.body.find("calyx_events_total") != std::string::npos) == (row.status == 200));
  }
  // What a header claims of where a request comes from is nobody's word.
  for (const char* name : {"X-Forwarded-For", "Forwarded", "X-Real-IP", "Host", "Via", "X-Calyx-Local"})
    CHECK(asked("", false, {{name, "127.0.0.1"}}).status == 401);
  // The token opens nothing else, and being local neither.
  CHECK(market.get("/v1/audit", Market::metrics_token).status == 401);
  CHECK(market.get("/api/v1/jobs", Market::metrics_token).status == 401);
  CHECK(calyx::handle(market.engine(), {"GET", "/v1/audit", {}, {}, true}).status == 401);
  CHECK(market.send("POST", "/metrics", market.op).status == 405);

  // Without a token none is good, the empty one neither.
  calyx::Engine plain = calyx::Engine::open({}).value();
  CHECK(!plain.is_metrics_token(""));
  CHECK(calyx::handle(plain, {"GET", "/metrics", {{"X-API-Key", ""}}, {}}).status == 401);
  for (const char* token : {"short", "has a space in it", "123456789012345"}) {
    calyx::Options options;
    options.metrics_token = token;
    CHECK(calyx::Engine::open(std::move(options)).reason() == calyx::Reason::options_invalid);
  }
}

TEST_CASE("metrics say what the engine says") {
  Market market;
  const Owner alice = market.human("alice");
  const Owner host = market.human("host");
  market.fund(alice, "100");
  REQUIRE(market.spend(alice, "a", "10").status == 200);
  REQUIRE(market.spend(alice, "b", "20").status == 200);
  REQUIRE(market.earn(host, market.op, "a", "4").status == 200);
  const auto submit = [&](const std::string& more) {
    return market.post("/api/v1/jobs", alice.key, R"({"task":"work","timeout_s":5)" + more + "}")
        .at("job_id");
  };
  const std::string first = submit(R"(,"fan_out":{"chunks":7,"range_field":"n","total":7})");
  const std::string second = submit(R"(,"depends_on":[")" + first + "\"]");
  const std::string third = submit("");
  REQUIRE(market.send("PUT", "/api/v1/jobs/" + third + "/cancel", alice.key).status == 200);
  REQUIRE(market.post("/api/v1/workers/lease", market.op, R"({"worker":"w","tasks":["work"],"tasks_max":3})")
              .find("lease.lease_id") != nullptr);

  const Answer answer = market.get("/metrics", market.op);
  CHECK(answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(answer.header("Cache-Control") == "no-store");
  auto samples = samples_in(answer.body);
  const calyx::Metrics typed = market.engine().as_operator().metrics().value();
  const auto is = [&](const std::string& name, std::uint64_t value) {
    CAPTURE(name);
    CHECK(samples[name] == std::to_string(value));
  };
  is("calyx_build_info{version=\"" CALYX_VERSION "\"}", 1);
  is("calyx_events_total", static_cast<std::uint64_t>(market.engine().as_operator().audit().value().seq));
  is("calyx_events_total", typed.events);
  is("calyx_receipts_total", 1);
  is("calyx_wallets", market.engine().as_operator().wallets().value().items.size());
  is("calyx_open_escrows", 1);
  CHECK(samples["calyx_supply_flops"] == "100.0");
  CHECK(samples["calyx_fees_flops"] == "0.6");
  is("calyx_jobs_submitted_total", 3);
  for (const char* status : {"planning", "queued", "running"}) {
    const Answer listed = market.get(std::string("/api/v1/jobs?status=") + status, market.op);
    is("calyx_jobs{status=\"" + std::string(status) + "\"}", listed.find("jobs")->array()->size());
  }
  is("calyx_jobs_ended_total", 1);
  is("calyx_tasks_ready", 4);
  is("calyx_tasks_running", 3);
  is("calyx_leases", 1);
  // Each read of a market in memory is a call of its own, so these may have moved on by a little.
  CHECK(std::stoull(samples["calyx_commits_total"]) <= market.engine().stats().commits);
  CHECK(samples.count("calyx_calls_committed_total") == 1);
  CHECK(samples.count("calyx_checkpoints_total") == 1);

  // All but what a process counts for itself; alice may not ask.
  CHECK(typed.supply == calyx::Money{100'000'000});
  CHECK(market.engine().session(alice.key).value().metrics().reason() == calyx::Reason::operator_only);
}

// ── presets ──

TEST_CASE(
    "CP-60: a preset's requirements are those of a submit, and its price is what the job is estimated at") {
  Market market;
  const Owner alice = market.human("alice");
  const Answer free = market.get("/api/v1/presets", alice.key);
  CHECK(free.status == 200);
  for (const json::Value& preset : *free.find("presets")->array())
    CHECK(json::text(*preset.find("rate_per_second")) == "0.0");

  REQUIRE(
      market
          .send(
              "PUT", "/v1/settings", market.op,
              R"({"prices":{"base":"0.001","cpu":"0.01","memory_gb":"0.002","gpus":{"A100":"1.5","*":"0.5"}}})")
          .status == 200);
  market.fund(alice, "10000");
  const Answer listed = market.get("/api/v1/presets", alice.key);
  std::set<std::string> names;
  for (const json::Value& preset : *listed.find("presets")->array()) {
    const std::string& name = *preset.find("name")->string();
    CAPTURE(name);
    CHECK(names.insert(name).second);
    const std::string job =
        R"({"task":"work","timeout_s":2,"requirements":)" + json::text(*preset.find("requirements")) + "}";
    const Answer estimate = market.post("/api/v1/jobs/estimate", alice.key, job);
    CHECK(estimate.status == 200);
    CHECK(estimate.at("rate_per_second") == json::text(*preset.find("rate_per_second")));
    const Answer submitted = market.post("/api/v1/jobs", alice.key, job);
    CHECK(submitted.status == 201);
    CHECK(submitted.at("hold") == estimate.at("hold"));
    CHECK(submitted.at("hold") != "0.0");
  }
  CHECK(names.count("cpu-small") == 1);
  CHECK(names.count("gpu-a100") == 1);
  CHECK(listed.at("presets.0.rate_per_second") == "0.015");  // base, a core, two GB
  CHECK(market.get("/api/v1/presets", {}).status == 401);
  const auto typed = market.engine().as_operator().presets().value();
  CHECK(typed.size() == names.size());
  CHECK(typed.front().rate == calyx::Money{15'000});
}

// ── feedback ──

TEST_CASE("CP-09: feedback is taken from anybody, of four types, and read by operators alone") {
  Market market;
  const Owner alice = market.human("alice");
  const auto told = [&](const std::string& type) {
    return market.post("/api/v1/feedback", {},
                       R"({"type":")" + type + R"(","title":"Title","description":"One\nTwo"})");
  };
  std::int64_t number = 0;
  for (const char* type : {"bug", "feature_request", "provisioning", "job_type_request"}) {
    CAPTURE(type);
    const Answer answer = told(type);
    CHECK(answer.status == 201);
    CHECK(answer.at("id") == std::to_string(++number));
    CHECK(answer.at("type") == type);
    CHECK(answer.at("title") == "Title");
    CHECK(answer.at("description") == "One\nTwo");
  }
  const std::string long_title(201, 't'), long_text(8193, 'd');
  struct Row {
    const char* says;
    std::string body;
    int status;
    const char* code;
    const char* field;
  };
  const Row rows[] = {
      {"another type", R"({"type":"praise","title":"t","description":"d"})", 422, "field_value", "/type"},
      {"no type", R"({"title":"t","description":"d"})", 422, "field_missing", "/type"},
      {"a type that is no text", R"({"type":1,"title":"t","description":"d"})", 422, "field_type", "/type"},
      {"no title", R"({"type":"bug","description":"d"})", 422, "field_missing", "/title"},
      {"an empty title", R"({"type":"bug","title":"","description":"d"})", 422, "field_value", "/title"},
      {"a title of two lines", R"({"type":"bug","title":"a\nb","description":"d"})", 422, "field_value",
       "/title"},
      {"a long title", R"({"type":"bug","title":")" + long_title + R"(","description":"d"})", 422,
       "field_value", "/title"},
      {"no description", R"({"type":"bug","title":"t"})", 422, "field_missing", "/description"},
      {"a long description", R"({"type":"bug","title":"t","description":")" + long_text + "\"}", 422,
       "field_value", "/description"},
      {"a member of nobody's", R"({"type":"bug","title":"t","description":"d","key":"x"})", 422,
       "field_unknown", "/key"},
      {"no JSON", "{", 400, "not_json", "absent"},
      {"very much", R"({"type":"bug","title":"t","description":")" + std::string(70'000, 'd') + "\"}", 413,
       "too_large", "absent"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = market.post("/api/v1/feedback", {}, row.body);
    CHECK(answer.status == row.status);
    CHECK(answer.code() == row.code);
    if (*row.field == '/') CHECK(answer.field() == row.field);
  }
  const std::string longest = R"({"type":"bug","title":")" + long_title.substr(1) + R"(","description":")" +
                              long_text.substr(1) + "\"}";
  CHECK(market.post("/api/v1/feedback", {}, longest).status == 201);

  const Answer listed = market.get("/api/v1/feedback?limit=2", market.op);
  CHECK(listed.items() == 2);
  CHECK(listed.at("items.1.type") == "feature_request");
  CHECK(listed.at("next") == "2");
  const Answer rest = market.get("/api/v1/feedback?limit=3&after=2", market.op);
  CHECK(rest.items() == 3);
  CHECK(rest.at("next") == "null");
  CHECK(market.get("/api/v1/feedback", alice.key).code() == "operator_only");
  CHECK(market.get("/api/v1/feedback", {}).status == 401);
  CHECK(market.engine().session(alice.key).value().feedback().reason() == calyx::Reason::operator_only);
  CHECK(market.engine().as_operator().feedback().value().items.size() == 5);
  CHECK(market.engine().as_operator().audit().value().ok);
}

TEST_CASE("there is an end to feedback: so much an hour, for all together, and nobody else's call suffers") {
  Market market;
  const calyx::FeedbackSubmit one{.title = "t", .description = "d"};
  for (std::int64_t i = 0; i < calyx::feedback_an_hour_max; ++i) {
    CHECK(market.engine().submit_feedback(one).ok());
    market.pass_s(1);
  }
  const Answer refused =
      market.post("/api/v1/feedback", {}, R"({"type":"bug","title":"t","description":"d"})");
  CHECK(refused.status == 429);
  CHECK(refused.code() == "too_much_feedback");
  CHECK(refused.at("error.details.retry_after_s") == "3540");
  CHECK(refused.header("Retry-After") == "3540");
  CHECK(market.human("alice").id.starts_with("wlt_"));
  market.pass_s(3539);
  CHECK(market.engine().submit_feedback(one).reason() == calyx::Reason::too_much_feedback);
  market.pass_s(1);
  CHECK(market.engine().submit_feedback(one).ok());
  CHECK(market.engine().submit_feedback(one).reason() == calyx::Reason::too_much_feedback);
  CHECK(market.engine().as_operator().audit().value().ok);
}
