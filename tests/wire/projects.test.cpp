#include "archive/archive.hpp"
#include "engine/tarballs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"
#include "wire/client.hpp"
#include "wire/router.hpp"

using namespace wire_test;
namespace wire = calyx::wire;

TEST_CASE(
    "CP-31, CP-42: a project's name and its keys are the path's, decoded, and what looks like a secret is "
    "not repeated") {
  Market market;
  const Owner alice = market.human("alice");
  const Answer made =
      market.post("/api/v1/projects", alice.key, R"({"name":"my-proj","remote_dir":"/root/my-proj"})");
  REQUIRE(made.status == 201);
  CHECK(made.members() == "name wallet_id remote_dir description created_at active_revision");
  CHECK(made.at("wallet_id") == alice.id);
  CHECK(made.at("active_revision") == "null");
  CHECK(market.post("/api/v1/projects", alice.key, R"({"name":"my-proj"})").code() == "project_exists");
  CHECK(market.post("/api/v1/projects", alice.key, R"({"name":"a b"})").field() == "/name");

  const std::string project = "/api/v1/projects/my%2Dproj";
  CHECK(market.send("PUT", project + "/kv/a%2Fb", alice.key, R"({"value":{"n":1},"version":0})").body ==
        R"({"key":"a/b","value":{"n":1},"version":1})");
  CHECK(market.get(project + "/kv/a%2Fb", alice.key).at("value.n") == "1");
  const Answer late = market.send("PUT", project + "/kv/a%2Fb", alice.key, R"({"value":2,"version":0})");
  CHECK(late.status == 409);
  CHECK(late.code() == "kv_changed");
  CHECK(late.at("error.details.version") == "1");
  CHECK(market.send("PUT", project + "/kv/n", alice.key, R"({"value":null})").at("version") == "1");
  CHECK(market.send("PUT", project + "/kv/n", alice.key, "{}").field() == "/value");
  CHECK(market.get(project + "/kv/none", alice.key).code() == "kv_unknown");
  CHECK(market.get(project + "/kv/" + alice.key, alice.key).body.find("cyx_") == std::string::npos);
  const Answer secret = market.get("/api/v1/projects/" + alice.key, alice.key);
  CHECK(secret.code() == "project_unknown");
  CHECK(secret.body.find("cyx_") == std::string::npos);

  CHECK(
      market.send("PUT", project, alice.key, R"({"remote_dir":null,"description":"d"})").at("description") ==
      "d");
  CHECK(market.get(project, alice.key).at("remote_dir") == "null");
  CHECK(market.get("/api/v1/projects", alice.key).at("projects.0.name") == "my-proj");
  CHECK(market.get(project + "/status", alice.key).body ==
        R"({"project":"my-proj","can_accept_new_jobs":false,"ready_for_jobs":false,"active_revision":null,)"
        R"("revision_state":"none"})");
  CHECK(market.get(project + "/status/details", alice.key).at("diagnostics.0.code") == "nothing_pushed");
  CHECK(market.send("DELETE", project, alice.key).at("deleted") == "true");
  CHECK(market.get(project, alice.key).status == 404);
}

TEST_CASE("CP-32: each route says how long a body it takes") {
  const std::pair<const char*, std::uint64_t> longer[] = {
      {"POST /api/v1/jobs", calyx::job_text_bytes_max},
      {"POST /api/v1/jobs/batch", calyx::job_text_bytes_max},
      {"POST /api/v1/jobs/estimate", calyx::job_text_bytes_max},
      {"POST /api/v1/recipes/{id}/jobs", calyx::job_text_bytes_max},
      {"POST /api/v1/workers/report", calyx::job_text_bytes_max},
      {"POST /api/v1/projects/{id}/push", calyx::tarball_bytes_max},
      {"POST /api/v1/artifacts", calyx::artifact_bytes_max},
      {"PUT /api/v1/artifacts/direct/{id}", calyx::artifact_bytes_max},
      {"PUT /api/v1/artifacts/multipart/{id}/parts/{key}", calyx::artifact_part_bytes_max},
      {"POST /api/v1/artifacts/multipart/complete", wire::parts_text_bytes_max},
  };
  std::size_t seen = 0;
  for (const wire::Route& route : wire::routes()) {
    const std::string name = std::string(word(route.method)) + ' ' + std::string(route.path);
    CAPTURE(name);
    const auto* const row = std::find_if(std::begin(longer), std::end(longer),
                                         [&](const auto& known) { return known.first == name; });
    const std::uint64_t most = row == std::end(longer) ? calyx::request_body_max : row->second;
    seen += row != std::end(longer);
    CHECK(route.body_bytes_max == most);
    CHECK(calyx::body_limit(word(route.method), route.path) == most);
  }
  CHECK(seen == std::size(longer));
  CHECK(calyx::body_limit("POST", "/api/v1/projects/p/push?wallet_id=x") == calyx::tarball_bytes_max);
  CHECK(calyx::body_limit("PUT", "/api/v1/projects/p/push") == calyx::request_body_max);
  CHECK(calyx::body_limit("", "") == calyx::request_body_max);
}

TEST_CASE("CP-30 to CP-39: the quickstart: create, push, submit, init, status") {
  if (!calyx::archive::built()) {
    CHECK(calyx::testing::may_lack("wire.projects.quickstart", "libarchive-dev"));
    return;
  }
  const calyx::store::Scratch scratch;
  calyx::Options options;
  options.path = scratch / "m.db";
  calyx::Engine engine = calyx::Engine::open(options).value();
  calyx::Session all = engine.as_operator();
  const calyx::WalletCreated alice = all.create_wallet({.owner_id = "alice"}).value();
  const auto send = [&](const char* method, const std::string& target, std::string body = {}) {
    const calyx::Response response =
        calyx::handle(engine, {method, target, {{"X-API-Key", alice.api_key}}, std::move(body)});
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  };
  const std::string project = "/api/v1/projects/my-proj";
  REQUIRE(send("POST", "/api/v1/projects", R"({"name":"my-proj","remote_dir":"/root/projects/my-proj"})")
              .status == 201);
  const std::string script(std::size_t{2} << 20, '#');  // beyond what other routes take
  const Answer pushed = send("POST", project + "/push",
                             calyx::testing::gzip(calyx::testing::tar({{"script.py", script, 0755}})));
  REQUIRE_MESSAGE(pushed.status == 201, pushed.body);
  CHECK(pushed.members() == "project revision created_at sha256 size files manifest tarball_diff");
  CHECK(pushed.at("revision") == "1");
  CHECK(pushed.at("files.0.path") == "script.py");
  CHECK(pushed.at("files.0.mode") == "0755");
  CHECK(pushed.at("tarball_diff") == R"({"added":["script.py"],"removed":[],"changed":[]})");
  const Answer job = send("POST", "/api/v1/jobs",
                          R"({"type":"structured_runner","runner_command":["python3","script.py"],)"
                          R"("payload":{"test":true},"project":"my-proj","timeout_s":120})");
  REQUIRE_MESSAGE(job.status == 201, job.body);
  CHECK(send("GET", "/api/v1/jobs/" + job.at("job_id")).at("revision") == "1");
  const Answer poor = send("POST", project + "/init");
  CHECK(poor.status == 402);
  CHECK(poor.at("error.details.shortfall") == "500.0");
  REQUIRE(all.topup({.wallet = alice.wallet.id, .amount = calyx::init_balance_min}).ok());
  CHECK(send("POST", project + "/init").at("ready_for_jobs") == "true");
  CHECK(send("GET", project + "/status").at("revision_state") == "warm");
  CHECK(send("POST", project + "/push", "no tarball").at("error.details.rule") == "not_an_archive");
  CHECK(send("GET", project + "/status/details").at("revision.revision") == "1");
}

TEST_CASE("CP-95: a worker elsewhere gets the code that its lease's commands run in, and no other") {
  if (!calyx::archive::built()) {
    CHECK(calyx::testing::may_lack("wire.projects.source", "libarchive-dev"));
    return;
  }
  const calyx::store::Scratch scratch;
  calyx::Options options;
  options.path = scratch / "m.db";
  calyx::Engine engine = calyx::Engine::open(options).value();
  const std::string op = engine.issue_operator_key("w").value().api_key;
  const calyx::WalletCreated alice = engine.as_operator().create_wallet({.owner_id = "alice"}).value();
  const auto send = [&](const char* method, const std::string& target, const std::string& key,
                        std::string body = {}) {
    const calyx::Response response =
        calyx::handle(engine, {method, target, {{"X-API-Key", key}}, std::move(body)});
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  };
  REQUIRE(send("POST", "/api/v1/projects", alice.api_key, R"({"name":"p"})").status == 201);
  const auto tarball = [](const char* text) {
    return calyx::testing::gzip(calyx::testing::tar({{"run.sh", text, 0755}}));
  };
  const auto submit = [&](const char* job) {
    const Answer made = send("POST", "/api/v1/jobs", alice.api_key, job);
    REQUIRE_MESSAGE(made.status == 201, made.body);
  };
  const std::string first = tarball("one"), second = tarball("two");
  const char* const command = R"({"runner_command":["sh","run.sh"],"payload":{},"project":"p"})";
  REQUIRE(send("POST", "/api/v1/projects/p/push", alice.api_key, first).status == 201);
  submit(command);
  REQUIRE(send("POST", "/api/v1/projects/p/push", alice.api_key, second).status == 201);
  submit(command);
  submit(R"({"task":"t"})");
  const auto lease = [&] {
    const Answer got = send("POST", "/api/v1/workers/lease", op,
                            R"({"worker":"w","commands":true,"tasks":["t"],"tasks_max":1})");
    REQUIRE_MESSAGE(got.find("lease.lease_id") != nullptr, got.body);
    return got;
  };
  const auto source = [](const std::string& id) { return "/api/v1/workers/leases/" + id + "/source"; };
  for (const auto& [revision, bytes] : {std::pair{"1", first}, std::pair{"2", second}}) {
    const Answer leased = lease();
    CHECK(leased.at("lease.revision") == revision);
    const std::string id = leased.at("lease.lease_id");
    const Answer got = send("GET", source(id), op);
    CHECK(got.status == 200);
    CHECK(got.body == bytes);
    CHECK(got.header("Content-Disposition") == "attachment; filename=\"p.tar.gz\"");
    CHECK(send("GET", source(id), alice.api_key).code() == "operator_only");
    CHECK(send("POST", "/api/v1/workers/report", op, R"({"lease_id":")" + id + R"(","gives_back":true})")
              .status == 200);
    CHECK(send("GET", source(id), op).code() == "lease_lost");
    // It is not handed out again here.
    const std::string job = leased.at("lease.job_id");
    CHECK(send("PUT", "/api/v1/jobs/" + job + "/cancel", alice.api_key).status == 200);
  }
  CHECK(send("GET", source(lease().at("lease.lease_id")), op).code() == "project_not_ready");
  for (const char* none : {"1", "x", "99999999999999999"})
    CHECK(send("GET", source(none), op).code() == "lease_lost");
}
