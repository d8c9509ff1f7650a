// The recipe `prop_amm` as a job: its payload is judged before money is held, and its result can be computed
// again.
#include <calyx/core/encoding.hpp>
#include <calyx/prop_amm.hpp>
#include <fstream>
#include <sstream>

#include "engine/job_market.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;

namespace {

std::string source(const std::string& name) {
  std::ifstream file(calyx::testing::vectors + "/prop_amm/strategies/" + name + ".rs", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string base64(std::string_view bytes) {
  std::string out;
  core::append_base64(out, bytes);
  return out;
}

json::Object payload(std::string_view operation, std::string_view name) {
  json::Object out;
  out.set("operation", operation).set("rs_source_b64", base64(source(std::string(name))));
  return out;
}

Result<JobSubmitted> submit(JobMarket& market, json::Object payload) {
  json::Object job;
  job.set("payload", std::move(payload));
  return market.all.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "prop_amm"});
}

json::Value result_of(JobMarket& market, json::Object payload) {
  const Result<JobSubmitted> submitted = submit(market, std::move(payload));
  REQUIRE_MESSAGE(submitted.ok(), submitted.error().message);
  const Job job = market.all.run_job(submitted->id).value();
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  return market.all.job_results(job.id).value().result;
}

double real(const json::Value& value, std::string_view member) {
  const json::Value* found = value.find(member);
  REQUIRE(found != nullptr);
  REQUIRE(found->real() != nullptr);
  return found->real()->value;
}

}  // namespace

TEST_CASE("prop_amm: a job's result is what the strategy earns, without a market, too") {
  JobMarket market;
  json::Object asked = payload("eval", "cp66");
  asked.set("seed_base", 7).set("count", 5).set("steps", 100).set("per_seed", true);
  const json::Value result = result_of(market, asked);
  const auto made = prop_amm::Strategy::compile(source("cp66")).value();
  const auto expected = made.evaluate({.seed_base = 7, .count = 5, .steps = 100}).value();
  CHECK(real(result, "total_edge") == *expected.total_edge);
  CHECK(real(result, "avg_edge") == *expected.avg_edge);
  CHECK(*result.find("violations")->integer() == 0);
  CHECK(*result.find("count")->integer() == 5);
  CHECK(*result.find("steps")->integer() == 100);
  CHECK(*result.find("seed_base")->integer() == 7);
  CHECK(result.find("start") == nullptr);
  const json::Array& edges = *result.find("edges")->array();
  REQUIRE(edges.size() == 5);
  for (std::size_t i = 0; i < edges.size(); ++i) {
    CHECK(*edges[i].find("seed")->integer() == static_cast<std::int64_t>(7 + i));
    CHECK(real(edges[i], "edge") == expected.edges[i].edge);
  }
  asked.set("per_seed", false);
  CHECK(result_of(market, asked).find("edges") == nullptr);
}

TEST_CASE("prop_amm: chunks, named either way, are parts of the whole") {
  JobMarket market;
  json::Object whole = payload("eval", "ewma_fee");
  whole.set("seed_base", "18446744073709551614").set("count", 10).set("steps", 100).set("per_seed", true);
  const json::Value all = result_of(market, whole);
  CHECK(*all.find("seed_base")->string() == "18446744073709551614");
  const json::Array& edges = *all.find("edges")->array();
  CHECK(*edges[1].find("seed")->string() == "18446744073709551615");
  CHECK(*edges[2].find("seed")->integer() == 0);
  std::size_t next = 0;
  for (std::int64_t index = 0; index < 3; ++index) {
    json::Object by_index = payload("eval_chunk", "ewma_fee");
    by_index.set("seed_base", "18446744073709551614").set("steps", 100).set("per_seed", true);
    json::Object by_start = by_index;
    by_index.set("chunk_index", index).set("chunk_count", 3).set("total_count", 10);
    const json::Value one = result_of(market, by_index);
    by_start.set("start", *one.find("start")->integer()).set("count", *one.find("count")->integer());
    CHECK(json::canonical(result_of(market, by_start)) == json::canonical(one));
    CHECK(*one.find("start")->integer() == static_cast<std::int64_t>(next));
    for (const json::Value& edge : *one.find("edges")->array())
      CHECK(json::canonical(edge) == json::canonical(edges[next++]));
  }
  CHECK(next == 10);
}

TEST_CASE("prop_amm: a seed without a proper shape has no edge, and its job completes") {
  JobMarket market;
  json::Object asked = payload("eval", "bad_concave_hidden");
  asked.set("count", 3).set("steps", 2'000).set("per_seed", true);
  const json::Value strict = result_of(market, asked);
  CHECK(strict.find("avg_edge")->is_null());
  CHECK(strict.find("total_edge")->is_null());
  CHECK(*strict.find("violations")->integer() > 0);
  const json::Array& edges = *strict.find("edges")->array();
  REQUIRE(edges.size() == 3);
  std::int64_t violations = 0;
  for (const json::Value& edge : edges)
    if (edge.find("edge")->is_null()) {
      ++violations;
      CHECK(*edge.find("violation")->find("kind")->string() == "concavity");
      CHECK(edge.find("violation")->find("context")->string()->ends_with("search"));
    }
  CHECK(violations == *strict.find("violations")->integer());
  asked.set("strict_curves", false);
  CHECK(result_of(market, asked).find("avg_edge")->real() != nullptr);
}

TEST_CASE("prop_amm: validation is a verdict, and a source that is none is one, too") {
  JobMarket market;
  const json::Value good = result_of(market, payload("validate_full", "cp30"));
  CHECK(*good.find("valid")->boolean());
  CHECK(*good.find("name")->string() == "cp 30 bps");
  CHECK(*good.find("parity")->string() == "skipped");
  CHECK(good.find("runs")->find("edges")->array()->size() == 12);
  const json::Value kinked = result_of(market, payload("validate", "bad_concave"));
  CHECK_FALSE(*kinked.find("valid")->boolean());
  CHECK(*kinked.find("reason")->string() == "concavity");
  CHECK(*kinked.find("side")->string() == "buy");
  CHECK(*result_of(market, payload("concavity_check", "bad_monotone")).find("reason")->string() ==
        "monotonicity");
  CHECK(*result_of(market, payload("validate_full", "bad_concave_hidden")).find("reason")->string() ==
        "runtime_shape");
  json::Object broken;
  broken.set("operation", "validate").set("rs_source_b64", base64("const NAME: &str = \"t\";\nunsafe {}"));
  const json::Value none = result_of(market, broken);
  CHECK_FALSE(*none.find("valid")->boolean());
  CHECK(*none.find("reason")->string() == "source_unsafe");
  CHECK(*none.find("line")->integer() == 2);
  CHECK(*none.find("column")->integer() == 1);
}

TEST_CASE("prop_amm: a strategy that fails completes its job, and the result says where") {
  JobMarket market;
  const std::string panics =
      "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n"
      "pub fn get_model_used() -> &'static str { MODEL_USED }\n"
      "pub fn compute_swap(data: &[u8]) -> u64 {\n  data[4000] as u64\n}\n";
  json::Object asked;
  asked.set("operation", "eval").set("rs_source_b64", base64(panics)).set("count", 3).set("steps", 10);
  const json::Value failed = result_of(market, asked);
  CHECK(failed.find("avg_edge")->is_null());
  CHECK(failed.find("violations")->is_null());
  const json::Value& failure = *failed.find("failure");
  CHECK(*failure.find("kind")->string() == "panic");
  CHECK(*failure.find("seed")->integer() == 0);
  CHECK(*failure.find("step")->integer() == 0);
  CHECK(*failure.find("line")->integer() == 4);
  asked.set("operation", "bpf_eval");
  const json::Value lenient = result_of(market, asked);
  CHECK(lenient.find("failure") == nullptr);
  CHECK(*lenient.find("avg_edge")->integer() == 0);  // nobody trades with who pays nothing
}

TEST_CASE("prop_amm: what a payload gets wrong is told before anything is held") {
  JobMarket market;
  market.price(1'000);
  const auto refused = [&](json::Object asked, Reason reason, std::string_view field) {
    const Result<JobSubmitted> submitted = submit(market, std::move(asked));
    REQUIRE_FALSE(submitted.ok());
    CHECK(submitted.reason() == reason);
    CHECK(*submitted.error().details.find("field")->string() == field);
    return submitted.error();
  };
  const auto with = [](std::string_view operation, const char* name, json::Value value) {
    json::Object out = payload(operation, "cp30");
    out.set(name, std::move(value));
    return out;
  };
  refused(with("eval", "operation", "evaluate"), Reason::field_value, "/payload/operation");
  refused(with("eval", "strategy_ref", "art_x"), Reason::field_unknown, "/payload/rs_source_b64");
  refused(with("eval", "count", 0), Reason::field_value, "/payload/count");
  refused(with("eval", "count", 1'000'001), Reason::field_value, "/payload/count");
  refused(with("eval", "steps", "many"), Reason::field_type, "/payload/steps");
  refused(with("eval", "seed_base", "18446744073709551616"), Reason::field_value, "/payload/seed_base");
  refused(with("eval", "start", 1), Reason::field_unknown, "/payload/start");
  refused(with("eval", "chunk_index", 1), Reason::field_unknown, "/payload/chunk_index");
  refused(with("eval_chunk", "chunk_index", 1), Reason::field_missing, "/payload/total_count");
  refused(with("validate", "seed_base", 1), Reason::field_unknown, "/payload/seed_base");
  refused(with("eval", "per_seed", 1), Reason::field_type, "/payload/per_seed");
  refused(with("eval", "edges", true), Reason::field_unknown, "/payload/edges");
  refused(with("eval", "rs_source_b64", "a"), Reason::field_value, "/payload/rs_source_b64");
  json::Object both = with("eval_chunk", "chunk_index", 3);
  both.set("chunk_count", 3).set("total_count", 9);
  refused(both, Reason::field_value, "/payload/chunk_index");
  both.set("chunk_index", 1).set("count", 3);
  refused(both, Reason::field_unknown, "/payload/count");
  json::Object many = with("eval", "per_seed", true);
  many.set("count", 100'001);
  refused(many, Reason::field_value, "/payload/count");
  json::Object none;
  none.set("operation", "eval");
  refused(none, Reason::field_missing, "/payload/rs_source_b64");

  // A source that does not compile is no verdict here but a mistake.
  json::Object broken;
  broken.set("operation", "eval").set("rs_source_b64", base64("fn main() {}"));
  const Error error = refused(broken, Reason::strategy_refused, "/payload/rs_source_b64");
  CHECK(*error.details.find("code")->string() == "source_name");
  CHECK(error.details.find("line")->integer() != nullptr);
  CHECK(market.held() == Money{});

  // No device of that kind is here, or it would have run.
  if (const Result<JobSubmitted> cuda = submit(market, with("eval", "device", "cuda")); cuda.ok()) {
    const Job job = market.all.run_job(cuda->id).value();
    CHECK(job.status == JobStatus::failed);
    CHECK(job.error.find("device") != std::string::npos);
  }
}

TEST_CASE("prop_amm: a strategy lies in an artifact, and what is built of it becomes one") {
  store::Scratch folder;
  Options options;
  options.path = folder / "m.db";
  JobMarket market(options);
  Session payer = market.engine.session(market.all.issue_key(market.payer, "p").value().api_key).value();
  const std::string text = source("cp500");
  const std::string stored = payer.put_artifact({.name = "lib.rs"}, text).value().artifact.id.text();
  json::Object asked;
  asked.set("operation", "eval").set("strategy_ref", stored).set("count", 2).set("steps", 50);
  const json::Value result = result_of(market, asked);
  json::Object inlined = payload("eval", "cp500");
  inlined.set("count", 2).set("steps", 50);
  CHECK(json::canonical(result) == json::canonical(result_of(market, inlined)));

  json::Object build;
  build.set("operation", "build").set("strategy_ref", stored);
  const Job job = market.all.run_job(submit(market, build).value().id).value();
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(market.all.job_results(job.id).value().result.find("bpf")->is_null());
  const JobTask task = payer.job_tasks(job.id).value().items.at(0);
  REQUIRE(task.artifacts.size() == 1);
  CHECK(task.artifacts[0].name == "strategy.calyx-bytecode");
  const std::string bytecode = prop_amm::Strategy::compile(text).value().bytecode();
  const ArtifactReader reader = payer.open_artifact(task.artifacts[0].id).value();
  std::string read(reader.artifact().size, '\0');
  CHECK(reader.read_at(0, read).value() == bytecode.size());
  CHECK(read == bytecode);

  // What is no source fails its task, in words; what is too long is not even read.
  asked.set("strategy_ref",
            payer.put_artifact({.name = "lib.rs"}, "fn main() {}").value().artifact.id.text());
  const Job broken = market.all.run_job(submit(market, asked).value().id).value();
  CHECK(broken.status == JobStatus::failed);
  CHECK(broken.error.find("NAME") != std::string::npos);
  const std::string much(300'000, ' ');
  asked.set("strategy_ref", payer.put_artifact({.name = "lib.rs"}, much).value().artifact.id.text());
  CHECK(market.all.run_job(submit(market, asked).value().id).value().status == JobStatus::failed);

  // An object runs by the rules of the BPF runtime alone.
  std::ifstream file(calyx::testing::vectors + "/prop_amm/strategies/cp30.sbf.so", std::ios::binary);
  const std::string object{std::istreambuf_iterator<char>(file), {}};
  json::Object as_object;
  as_object.set("operation", "bpf_eval").set("count", 2).set("steps", 50);
  as_object.set("strategy_ref", payer.put_artifact({.name = "cp30.so"}, object).value().artifact.id.text());
  const auto loaded =
      prop_amm::Strategy::load({reinterpret_cast<const unsigned char*>(object.data()), object.size()});
  CHECK(real(result_of(market, as_object), "total_edge") ==
        *loaded.value().evaluate({.count = 2, .steps = 50}).value().total_edge);
  as_object.set("operation", "eval");
  const Job refused = market.all.run_job(submit(market, as_object).value().id).value();
  CHECK(refused.status == JobStatus::failed);
  CHECK(refused.error.find("bpf_eval") != std::string::npos);

  // Somebody else's is not there.
  const WalletCreated other = market.all.create_wallet({.owner_id = "other"}).value();
  Session theirs = market.engine.session(other.api_key).value();
  asked.set("strategy_ref", theirs.put_artifact({.name = "lib.rs"}, text).value().artifact.id.text());
  const Result<JobSubmitted> stolen = submit(market, asked);
  CHECK(stolen.reason() == Reason::field_value);
  CHECK(*stolen.error().details.find("field")->string() == "/payload/strategy_ref");
  CHECK(market.held() == Money{});
}
