#include <calyx_kernels/packing.hpp>
#include <calyx_kernels/packing_sample.hpp>

#include "engine/job_market.hpp"

using namespace calyx;
using testing::JobMarket;
namespace json = core::json;
namespace packing = kernels::packing;

namespace {

json::Value candidate(std::size_t numbers = packing::candidate_numbers) {
  json::Array out;
  for (std::size_t i = 0; i < numbers; ++i) out.emplace_back(packing::sample_candidate[i]);
  return out;
}

Result<JobSubmitted> submit(JobMarket& market, json::Value payload) {
  json::Object job;
  job.set("payload", std::move(payload));
  return market.all.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "packing"});
}

}  // namespace

TEST_CASE("packing: a job's receipt covers a verdict that anybody can compute again") {
  JobMarket market;
  market.price(1'000);
  const json::Value payload = json::object({{"operation", "eval"}, {"candidate", candidate()}});
  const JobId id = submit(market, payload).value().id;
  const Job job = market.all.run_job(id).value();
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);

  const json::Value result = market.all.job_results(id).value().result;
  const packing::Verdict verdict = packing::evaluate(packing::sample_candidate);
  CHECK(*result.find("raw")->find("valid")->boolean() == (verdict.valid != 0));
  CHECK(result.find("raw")->find("score")->real()->value == verdict.circle.radius);
  CHECK(result.find("raw")->find("overlapping_pairs")->array()->size() == verdict.overlapping_count);
  double rounded[packing::candidate_numbers];
  packing::round_candidate(packing::sample_candidate, rounded);
  CHECK(result.find("rounded")->find("score")->real()->value == packing::evaluate(rounded).circle.radius);
  CHECK(*job.output_hash == output_hash(json::canonical(result)));

  if (job.receipt) {  // it may have taken no millisecond, and then it cost nothing
    const json::Value receipt = market.all.receipt(*job.receipt).value().payload;
    CHECK(*receipt.find("work")->find("kind")->string() == "recipe");
    CHECK(*receipt.find("work")->find("operation")->string() == "eval");
    CHECK(*receipt.find("work")->find("input_hash")->string() ==
          core::output_hash_text(output_hash(json::canonical(payload))));
  }
}

TEST_CASE("packing: the device that it ran on is no part of what a receipt covers") {
  JobMarket market;
  const auto run = [&](json::Value payload) {
    return market.all.run_job(submit(market, std::move(payload)).value().id).value();
  };
  const Job any = run(json::object({{"operation", "eval"}, {"candidate", candidate()}, {"device", "auto"}}));
  const Job cpu = run(json::object({{"operation", "eval"}, {"candidate", candidate()}, {"device", "cpu"}}));
  CHECK(any.output_hash == cpu.output_hash);
}

TEST_CASE("packing: a batch keeps its order and names its best") {
  JobMarket market;
  json::Array all;
  json::Array far;  // pieces in a row, far apart: valid, and large
  for (std::size_t i = 0; i < packing::candidate_numbers; ++i)
    far.emplace_back(i % 3 == 0 ? static_cast<double>(i) : 0.0);
  all.emplace_back(far);
  all.push_back(candidate());
  const JobId id =
      submit(market, json::object({{"operation", "eval_batch"}, {"candidates", std::move(all)}})).value().id;
  CHECK(market.all.run_job(id).value().status == JobStatus::completed);
  const json::Value result = market.all.job_results(id).value().result;
  REQUIRE(result.find("results")->array()->size() == 2);
  CHECK(*(*result.find("results")->array())[0].find("raw")->find("valid")->boolean());
  CHECK(*result.find("best")->integer() == 1);
}

TEST_CASE("packing: a payload that does not fit is refused before anything is held") {
  JobMarket market;
  market.price(1'000);
  const Money before = market.balance();
  struct Row {
    const char* says;
    json::Value payload;
    Reason reason;
    const char* field;
  };
  const auto with = [](json::Value numbers) {
    return json::object({{"operation", "eval"}, {"candidate", std::move(numbers)}});
  };
  json::Value wide = candidate();
  (*wide.array())[4] = 2e9;
  const Row rows[] = {
      {"nothing", json::object({}), Reason::field_missing, "/payload/operation"},
      {"another operation", json::object({{"operation", "solve"}}), Reason::field_value,
       "/payload/operation"},
      {"no candidate", json::object({{"operation", "eval"}}), Reason::field_missing, "/payload/candidate"},
      {"the documents' three numbers", with(candidate(3)), Reason::field_value, "/payload/candidate"},
      {"a number that is none", with(json::array({"x"})), Reason::field_value, "/payload/candidate"},
      {"a coordinate too far", with(wide), Reason::field_value, "/payload/candidate/4"},
      {"a member of nobody's", json::object({{"operation", "eval"}, {"colour", 1}}), Reason::field_unknown,
       "/payload/colour"},
      {"a batch of none", json::object({{"operation", "eval_batch"}, {"candidates", json::array({})}}),
       Reason::field_value, "/payload/candidates"},
  };
  for (const Row& row : rows) {
    INFO(row.says);
    const Result<JobSubmitted> refused = submit(market, row.payload);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.reason() == row.reason);
    CHECK(*refused.error().details.find("field")->string() == row.field);
  }
  CHECK(market.balance() == before);
  CHECK(market.all.jobs().value().items.empty());
}

TEST_CASE("a host's recipe is sealed: named by anybody, judged by its check") {
  JobMarket market;
  CHECK(market.engine
            .register_recipe(
                {.name = "double",
                 .check = [](const json::Value& payload) -> Result<Done> {
                   if (payload.find("n") != nullptr) return Done{};
                   return fail(Reason::field_missing, "is missing", json::object({{"field", "/payload/n"}}));
                 },
                 .run = [](const TaskCall& call) -> Result<json::Value> {
                   return json::Value(2 * *call.payload.find("n")->integer());
                 }})
            .ok());
  const auto submitted = [&](json::Value payload) {
    json::Object job;
    job.set("payload", std::move(payload));
    return market.all.submit_job({.job = std::move(job), .recipe = "double"});
  };
  CHECK(submitted(json::object({})).reason() == Reason::field_missing);
  const JobId id = submitted(json::object({{"n", 21}})).value().id;
  CHECK(market.all.run_job(id).value().work == "recipe");
  CHECK(*market.all.job_results(id).value().result.integer() == 42);
  CHECK(market.all.recipes().size() == 4);
}
