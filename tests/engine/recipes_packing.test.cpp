#include <unistd.h>

#include <algorithm>
#include <calyx_kernels/packing_sample.hpp>
#include <calyx_kernels/packing_search.hpp>
#include <filesystem>

#include "engine/job_market.hpp"
#include "recipes/recipes.hpp"
#include "store/scratch.hpp"

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

/// A search that takes some milliseconds.
json::Value short_search(std::string_view operation) {
  json::Value out = json::object({{"operation", operation}, {"seed", 5}, {"max_evaluations", 6'000}});
  if (operation == "differential_evolution") out.object()->set("population_size", 30);
  return out;
}

json::Value with(json::Value payload, std::string_view name, json::Value value) {
  payload.object()->set(std::string(name), std::move(value));
  return payload;
}

Result<json::Value> run(const json::Value& payload) {
  const RecipeDefinition recipe = recipes::packing_recipe();
  CALYX_CHECK(recipe.check(payload));
  return recipe.run(TaskCall{.payload = payload});
}

double number(const json::Value& value) {
  return value.real() != nullptr ? value.real()->value : static_cast<double>(*value.integer());
}

}  // namespace

TEST_CASE("packing: a search's result is a candidate that eval judges as the result says") {
  for (const std::string_view operation : {"feasible_optimize", "basin_hopping", "differential_evolution"}) {
    INFO(operation);
    const json::Value result = run(short_search(operation)).value();
    CHECK(*result.find("operation")->string() == operation);
    CHECK(*result.find("seed")->integer() == 5);
    CHECK(*result.find("pieces")->integer() == 15);
    CHECK(number(*result.find("penalty")) == 100);
    CHECK(*result.find("evaluations")->integer() == 6'000);
    CHECK(*result.find("ended")->string() == "budget");
    REQUIRE(result.find("candidate")->array()->size() == 45);
    const double score = number(*result.find("score"));
    CHECK(score < 3.3);
    const json::Value eval =
        run(json::object({{"operation", "eval"}, {"candidate", *result.find("candidate")}})).value();
    CHECK(*eval.find("rounded")->find("valid")->boolean());
    CHECK(number(*eval.find("rounded")->find("score")) == score);
    CHECK(json::canonical(*eval.find("rounded")) == json::canonical(*result.find("rounded")));
    CHECK(json::canonical(*eval.find("raw")) == json::canonical(*result.find("raw")));
    // The same payload, the same bytes; another seed, others.
    CHECK(json::canonical(run(short_search(operation)).value()) == json::canonical(result));
    CHECK(json::canonical(run(with(short_search(operation), "seed", 6)).value()) != json::canonical(result));
  }
}

TEST_CASE("packing: a search that starts from a candidate never ends with a worse one") {
  for (const std::string_view operation : {"feasible_optimize", "basin_hopping", "differential_evolution"}) {
    INFO(operation);
    const json::Value result = run(with(short_search(operation), "candidate", candidate())).value();
    CHECK(number(*result.find("score")) <= packing::evaluate(packing::sample_candidate).circle.radius);
  }
}

TEST_CASE(
    "packing: what is small is said to be small, and other counts of pieces have verdicts of their own") {
  const json::Value none = run(with(short_search("basin_hopping"), "max_evaluations", 1)).value();
  CHECK(*none.find("evaluations")->integer() == 1);
  CHECK(none.find("score")->is_null());
  CHECK_FALSE(*none.find("rounded")->find("valid")->boolean());

  const json::Value two = run(with(short_search("feasible_optimize"), "pieces", 2)).value();
  CHECK(number(*two.find("score")) < 1.6);
  CHECK(two.find("candidate")->array()->size() == 6);
  const json::Value apart =
      run(json::object(
              {{"operation", "eval"}, {"pieces", 2}, {"candidate", json::array({0, 0, 0, 4, 0, 0})}}))
          .value();
  CHECK(*apart.find("raw")->find("valid")->boolean());
  CHECK(apart.find("raw")->find("overlapping_pairs")->array()->empty());
  const json::Value together =
      run(json::object(
              {{"operation", "eval"}, {"pieces", 2}, {"candidate", json::array({0, 0, 0, 0, 0, 0})}}))
          .value();
  CHECK_FALSE(*together.find("raw")->find("valid")->boolean());
  CHECK(json::canonical(*together.find("raw")->find("overlapping_pairs")) == "[[0,1]]");
  CHECK(number(*together.find("raw")->find("overlap_total")) == doctest::Approx(1.5707963267948966));
}

TEST_CASE("packing: polygons decide where they are asked for, of any count of pieces and on the CPU alone") {
  const json::Value eval = json::object({{"operation", "eval"}, {"candidate", candidate()}});
  CHECK(json::canonical(run(with(eval, "areas", "exact")).value()) == json::canonical(run(eval).value()));
  // Two on each other: what their polygons lack is to be seen.
  const json::Value two = json::object({{"operation", "eval"},
                                        {"pieces", 2},
                                        {"candidate", json::array({0, 0, 0.3, 0, 0, 0.3})},
                                        {"areas", "polygon"}});
  const json::Value judged = run(two).value();
  CHECK(number(*judged.find("raw")->find("overlap_total")) ==
        doctest::Approx(1.5707961727098354).epsilon(1e-13));
  CHECK(json::canonical(*judged.find("raw")->find("overlapping_pairs")) == "[[0,1]]");
  CHECK_FALSE(*judged.find("raw")->find("valid")->boolean());
  const json::Value batch = json::object({{"operation", "eval_batch"},
                                          {"candidates", json::array({candidate(), candidate()})},
                                          {"areas", "polygon"}});
  const json::Value both = run(batch).value();
  CHECK(json::canonical((*both.find("results")->array())[1]) ==
        json::canonical(run(with(eval, "areas", "polygon")).value()));
  CHECK(run(with(with(eval, "areas", "polygon"), "device", "cuda")).reason() == Reason::unsupported);
}

TEST_CASE("packing: a search whose process dies goes on from what it kept, to the same bytes") {
  // Long enough that it keeps something by itself, in the middle.
  json::Value payload = short_search("feasible_optimize");
  payload.object()->set("max_evaluations", 270'000);
  const RecipeDefinition recipe = recipes::packing_recipe();
  const std::string whole = json::canonical(recipe.run({.payload = payload}).value());
  std::string kept;
  struct Died {};
  const auto dies = [&](std::string_view bytes) -> Result<Done> {
    kept = bytes;
    throw Died();
  };
  CHECK_THROWS_AS(static_cast<void>(recipe.run({.payload = payload, .keep_checkpoint = dies})), Died);
  REQUIRE_FALSE(kept.empty());
  std::int64_t first = 0;
  const auto told = [&](const json::Value& value) {
    if (first == 0) first = *value.find("evaluations")->integer();
  };
  std::uint64_t asked = 0;
  const Result<json::Value> rest = recipe.run({.payload = payload,
                                               .stopped =
                                                   [&] {
                                                     ++asked;
                                                     return false;
                                                   },
                                               .progress = told,
                                               .checkpoint = [&]() -> Result<std::string> { return kept; }});
  CHECK(json::canonical(rest.value()) == whole);
  CHECK(asked < 8'000 / 32 + 2);  // it was asked of the rest alone
  // What is damaged, or another search's, is as if there was nothing.
  for (const std::string& bad : {kept.substr(1), std::string("x")}) {
    json::Value brief = short_search("feasible_optimize");
    const Result<json::Value> anew =
        recipe.run({.payload = brief, .checkpoint = [&]() -> Result<std::string> { return bad; }});
    CHECK(json::canonical(anew.value()) == json::canonical(run(brief).value()));
  }
}

TEST_CASE("packing: a job whose worker is stopped goes on elsewhere, and leaves nothing beside the market") {
  store::Scratch folder;
  Options options;
  options.path = folder / "m.db";
  JobMarket market(options);
  json::Value payload = short_search("basin_hopping");
  payload.object()->set("max_evaluations", 40'000);
  json::Object asked;
  asked.set("payload", payload);
  const JobId id =
      market.all.submit_job({.job = std::move(asked), .wallet = market.payer, .recipe = "packing"})
          .value()
          .id;
  const std::string state = folder / "m.db-checkpoints/" + id.text() + "/0/state";
  std::uint64_t looks = 0;
  const auto in_the_middle = [&] { return ++looks > 600; };
  CHECK(market.all.run_job(id, {.stopped = in_the_middle}).value().status != JobStatus::completed);
  REQUIRE(std::filesystem::exists(state));
  CHECK(std::filesystem::file_size(state) > 1'000);
  const Job job = market.all.run_job(id).value();
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  CHECK(json::canonical(market.all.job_results(id).value().result) == json::canonical(run(payload).value()));
  CHECK_FALSE(std::filesystem::exists(folder / "m.db-checkpoints/" + id.text()));
}

TEST_CASE(
    "packing: the best so far of a search that ran out of time, or was cancelled, stays with its task") {
  JobMarket market;
  for (const bool cancelled : {false, true}) {
    CAPTURE(cancelled);
    json::Object asked;
    asked.set("payload", json::object({{"operation", "basin_hopping"}, {"max_iters", 1'000'000'000}}));
    asked.set("timeout_s", cancelled ? 600 : 1);
    const JobId id =
        market.all.submit_job({.job = std::move(asked), .wallet = market.payer, .recipe = "packing"})
            .value()
            .id;
    const auto best = [&] { return market.all.job_tasks(id).value().items.at(0).progress; };
    if (cancelled) {
      Worker worker = Worker::start(market.engine).value();
      while (best().find("score") == nullptr || best().find("score")->is_null()) ::usleep(10'000);
      CHECK(market.all.cancel_job(id).value().status == JobStatus::cancelled);
    } else {
      CHECK(market.all.run_job(id).value().status == JobStatus::failed);
    }
    const json::Value kept = best();
    REQUIRE(kept.find("candidate") != nullptr);
    std::vector<double> numbers;
    for (const json::Value& each : *kept.find("candidate")->array()) numbers.push_back(number(each));
    REQUIRE(packing::check_candidate(numbers.data(), numbers.size()) == kernels::Code::ok);
    const packing::Verdict verdict = packing::evaluate(numbers.data());
    CHECK(verdict.valid == 1);
    CHECK(verdict.circle.radius == number(*kept.find("score")));
    // It is no result, and nothing that a hash covers.
    CHECK(market.all.job_results(id).value().result.is_null());
  }
}

TEST_CASE("packing: a search is a job like others, and its receipt covers what it found") {
  JobMarket market;
  market.price(1'000);
  json::Object asked;
  asked.set("payload", short_search("feasible_optimize"));
  const JobId id =
      market.all.submit_job({.job = std::move(asked), .wallet = market.payer, .recipe = "packing"})
          .value()
          .id;
  const Job job = market.all.run_job(id).value();
  REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
  const json::Value result = market.all.job_results(id).value().result;
  CHECK(json::canonical(result) == json::canonical(run(short_search("feasible_optimize")).value()));
  CHECK(*job.output_hash == output_hash(json::canonical(result)));
}

TEST_CASE(
    "packing: a search tells how far it is, and stops within a millisecond's work when it is asked to") {
  const RecipeDefinition recipe = recipes::packing_recipe();
  const json::Value payload = json::object({{"operation", "basin_hopping"}, {"max_iters", 1'000'000'000}});
  std::uint64_t told = 0;
  std::int64_t last = 0;
  bool in_order = true;
  std::uint64_t asked = 0;
  std::uint64_t asked_after = 0;
  const Result<json::Value> stopped =
      recipe.run({.payload = payload,
                  .stopped =
                      [&] {
                        ++asked;
                        if (told >= 3) ++asked_after;
                        return told >= 3;
                      },
                  .progress =
                      [&](const json::Value& value) {
                        ++told;
                        const std::int64_t evaluations = *value.find("evaluations")->integer();
                        in_order = in_order && evaluations > last && value.find("score") != nullptr &&
                                   value.find("iterations") != nullptr;
                        last = evaluations;
                      }});
  CHECK(stopped.reason() == Reason::stopped);
  CHECK(told == 3);
  CHECK(in_order);
  CHECK(asked_after == 1);
  // Asked once every 32 evaluations, of some microseconds each.
  CHECK(asked >= static_cast<std::uint64_t>(last) / 33);
}

TEST_CASE("packing: a search's payload that does not fit is refused before anything is held") {
  JobMarket market;
  market.price(1'000);
  const Money before = market.balance();
  const json::Value hops = json::object({{"operation", "basin_hopping"}});
  const json::Value moves = json::object({{"operation", "feasible_optimize"}});
  const json::Value evolves = json::object({{"operation", "differential_evolution"}});
  const json::Value eval = json::object({{"operation", "eval"}, {"candidate", candidate()}});
  struct Row {
    const char* says;
    json::Value payload;
    Reason reason;
    const char* field;
  };
  const Row rows[] = {
      {"three numbers", with(hops, "candidate", candidate(3)), Reason::field_value, "/payload/candidate"},
      {"45 numbers of 14 pieces", with(with(hops, "pieces", 14), "candidate", candidate()),
       Reason::field_value, "/payload/candidate"},
      {"a text for a candidate", with(hops, "candidate", "x"), Reason::field_type, "/payload/candidate"},
      {"no piece", with(hops, "pieces", 0), Reason::field_value, "/payload/pieces"},
      {"one piece too many", with(hops, "pieces", 33), Reason::field_value, "/payload/pieces"},
      {"a list of starts", with(hops, "candidates", json::array({candidate()})), Reason::field_unknown,
       "/payload/candidates"},
      {"a negative seed", with(hops, "seed", -1), Reason::field_value, "/payload/seed"},
      {"a seed that is a fraction", with(hops, "seed", 0.5), Reason::field_value, "/payload/seed"},
      {"no penalty", with(hops, "penalty", 0), Reason::field_value, "/payload/penalty"},
      {"a text for a penalty", with(hops, "penalty", "100"), Reason::field_type, "/payload/penalty"},
      {"no iterations", with(hops, "max_iters", 0), Reason::field_value, "/payload/max_iters"},
      {"too many", with(hops, "max_iters", 1'000'000'001), Reason::field_value, "/payload/max_iters"},
      {"a budget of nothing", with(hops, "max_evaluations", 0), Reason::field_value,
       "/payload/max_evaluations"},
      {"hops of no length", with(hops, "hop_scale", 0), Reason::field_value, "/payload/hop_scale"},
      {"hops too long", with(hops, "hop_scale", 2.6), Reason::field_value, "/payload/hop_scale"},
      {"below absolute zero", with(hops, "temperature", -1), Reason::field_value, "/payload/temperature"},
      {"restarts of hops", with(hops, "n_restarts", 2), Reason::field_unknown, "/payload/n_restarts"},
      {"no restart", with(moves, "n_restarts", 0), Reason::field_value, "/payload/n_restarts"},
      {"a population that moves", with(moves, "population_size", 10), Reason::field_unknown,
       "/payload/population_size"},
      {"hops of a population", with(evolves, "hop_scale", 0.1), Reason::field_unknown, "/payload/hop_scale"},
      {"four individuals", with(evolves, "population_size", 4), Reason::field_value,
       "/payload/population_size"},
      {"no chain", with(hops, "chains", 0), Reason::field_value, "/payload/chains"},
      {"too many chains", with(hops, "chains", 4'097), Reason::field_value, "/payload/chains"},
      {"more chains than have room", with(with(evolves, "population_size", 10'000), "chains", 300),
       Reason::field_value, "/payload/chains"},
      {"chains of a verdict", with(eval, "chains", 2), Reason::field_unknown, "/payload/chains"},
      {"areas of a search", with(hops, "areas", "polygon"), Reason::field_unknown, "/payload/areas"},
      {"areas of nobody's", with(eval, "areas", "round"), Reason::field_value, "/payload/areas"},
      {"a seed of a verdict", with(eval, "seed", 1), Reason::field_unknown, "/payload/seed"},
      {"a member of nobody's", with(hops, "colour", 1), Reason::field_unknown, "/payload/colour"},
  };
  for (const Row& row : rows) {
    INFO(row.says);
    json::Object job;
    job.set("payload", row.payload);
    const Result<JobSubmitted> refused =
        market.all.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "packing"});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.reason() == row.reason);
    CHECK(*refused.error().details.find("field")->string() == row.field);
  }
  const Result<json::Value> three = run(with(hops, "candidate", candidate(3)));
  CHECK(three.error().message.find("has 3 numbers, needs 45") != std::string::npos);
  CHECK(market.balance() == before);
  CHECK(market.all.jobs().value().items.empty());
  // What is allowed at the limits is taken.
  for (const json::Value& fits :
       {with(hops, "hop_scale", 2.5), with(hops, "seed", "18446744073709551615"), with(hops, "penalty", 1),
        with(evolves, "population_size", 10'000), with(moves, "pieces", 32)})
    CHECK(recipes::packing_recipe().check(fits).ok());
  CHECK(run(with(hops, "device", "cuda")).reason() == Reason::unsupported);
}

TEST_CASE("packing: what an artifact holds is judged as if it stood in the payload") {
  store::Scratch folder;
  Options options;
  options.path = folder / "m.db";
  JobMarket market(options);
  Session payer = market.engine.session(market.all.issue_key(market.payer, "p").value().api_key).value();
  const auto put = [&](const json::Value& value) {
    return payer.put_artifact({.name = "numbers.json"}, json::canonical(value)).value().artifact.id.text();
  };
  const auto done = [&](json::Value payload) {
    json::Object job;
    job.set("payload", std::move(payload));
    const JobId id =
        payer.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "packing"}).value().id;
    return market.all.run_job(id).value();
  };
  const auto result = [&](const Job& job) {
    REQUIRE_MESSAGE(job.status == JobStatus::completed, job.error);
    return json::canonical(market.all.job_results(job.id).value().result);
  };
  const json::Value eval = json::object({{"operation", "eval"}});
  const std::string one = put(candidate());
  CHECK(result(done(with(eval, "candidate_ref", one))) == result(done(with(eval, "candidate", candidate()))));
  const json::Value batch = json::object({{"operation", "eval_batch"}});
  const json::Value two = json::array({candidate(), candidate()});
  CHECK(result(done(with(batch, "candidates_ref", put(two)))) ==
        result(done(with(batch, "candidates", two))));
  CHECK(result(done(with(short_search("basin_hopping"), "candidate_ref", one))) ==
        result(done(with(short_search("basin_hopping"), "candidate", candidate()))));

  // What is no candidate fails its task, in words.
  const Job three = done(with(eval, "candidate_ref", put(candidate(3))));
  CHECK(three.status == JobStatus::failed);
  CHECK(three.error.find("has 3 numbers, needs 45") != std::string::npos);
  const std::string text = payer.put_artifact({.name = "n"}, "no JSON").value().artifact.id.text();
  CHECK(done(with(eval, "candidate_ref", text)).status == JobStatus::failed);
  // Both, or a reference where there is no market, are refused.
  CHECK(run(with(with(eval, "candidate", candidate()), "candidate_ref", one)).reason() ==
        Reason::field_unknown);
  CHECK(run(with(eval, "candidate_ref", one)).reason() == Reason::unsupported);
}

TEST_CASE("packing: the schema names every member that the check knows, and no other") {
  const RecipeDefinition recipe = recipes::packing_recipe();
  for (const json::Member& member : *recipe.payload_schema.find("properties")->object()) {
    INFO(member.key);
    // A member of the wrong type is refused for that, or for being another operation's; never as unknown to
    // all.
    bool known = false;
    for (const std::string& operation : recipe.operations) {
      const Result<Done> checked =
          recipe.check(with(json::object({{"operation", operation}}), member.key, json::object({})));
      known = known || !checked.ok();
      if (checked.reason() == Reason::field_unknown)
        CHECK(checked.error().message.find("alone") != std::string::npos);
    }
    CHECK(known);
  }
  CHECK(recipe.payload_schema.find("properties")->object()->size() == 17);
}
