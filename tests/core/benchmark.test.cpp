#include <calyx/core/benchmark.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "plan_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using for_tests::parsed;
using for_tests::refusal;

namespace {

Result<Benchmark> read(std::string_view submit) {
  const json::Value value = parsed(submit);
  return Benchmark::read(Members(*value.object(), "", "a job"));
}

/// `results` has one row a replica, one item a candidate; null is a task that failed.
json::Value report(const Benchmark& benchmark, std::string_view rank_by, std::string_view results) {
  std::optional<RankBy> rank;
  if (!rank_by.empty()) rank = *read_rank_by(parsed(rank_by), Ranks::candidates);
  BenchmarkReport out(benchmark, rank);
  std::uint64_t index = 0;
  const json::Value given = parsed(results);
  for (const json::Value& replica : *given.array())
    for (const json::Value& result : *replica.array()) out.add(index++, result.is_null() ? nullptr : &result);
  return std::move(out).value();
}

}  // namespace

TEST_CASE("tasks go replica by replica, and a replica has one seed for all candidates") {
  const Benchmark benchmark = *read(R"({"candidates": [{"name": "fast", "payload": {"level": 1}},
                                                       {"name": "slow", "payload": {"level": 9, "n": 5}}],
                                        "replicas": 2, "seed": 100})");
  const json::Object shared = *parsed(R"({"n": 3, "data": "x"})").object();
  CHECK(benchmark.tasks() == 4);
  const std::string expected[] = {
      R"({"n":3,"data":"x","level":1,"seed":100})",
      R"({"n":5,"data":"x","level":9,"seed":100})",
      R"({"n":3,"data":"x","level":1,"seed":101})",
      R"({"n":5,"data":"x","level":9,"seed":101})",
  };
  for (std::uint64_t i = 0; i < 4; ++i)
    CHECK(json::text(json::Value(benchmark.payload(i, shared))) == expected[i]);
}

TEST_CASE("a seed beyond what JSON readers agree on is printed as a string, and wraps") {
  const Benchmark benchmark =
      *read(R"({"candidates": {"a": {}}, "replicas": 2, "seed": "18446744073709551615"})");
  CHECK(json::text(json::Value(benchmark.payload(0, {}))) == R"({"seed":"18446744073709551615"})");
  CHECK(json::text(json::Value(benchmark.payload(1, {}))) == R"({"seed":0})");
}

TEST_CASE("candidates are a list or an object, each name once") {
  struct Row {
    std::string submit, expected;
  };
  const Row rows[] = {
      {R"({"candidates": {"a": {"x": 1}, "b": {}, "c": null}})", "none"},
      {R"({"candidates": [{"name": "a"}, {"name": "b", "payload": {}}]})", "none"},
      {R"({})", "field_missing /candidates is missing"},
      {R"({"candidates": 3})", "field_type /candidates is a number, must be an array or an object"},
      {R"({"candidates": []})", "field_value /candidates has 0 candidates, takes 1 to 1000"},
      {R"({"candidates": [{"name": "a"}, {"name": "a"}]})",
       "field_value /candidates/1/name is the name of candidate 0 too"},
      {R"({"candidates": [{"name": ""}]})", "field_value /candidates/0/name is empty"},
      {R"({"candidates": [{"payload": {}}]})", "field_missing /candidates/0/name is missing"},
      {R"({"candidates": ["a"]})", "field_type /candidates/0 is a string, must be an object"},
      {R"({"candidates": [{"name": "a", "weight": 1}]})",
       "field_unknown /candidates/0/weight is not a field of a candidate"},
      {R"({"candidates": [{"name": "a", "payload": 7}]})",
       "field_type /candidates/0/payload is a number, must be an object"},
      {R"({"candidates": {"a": 7}})", "field_type /candidates/a is a number, must be an object"},
      {R"({"candidates": {"a": {"seed": 1}}})",
       "field_value /candidates/a/seed is each replica's own; the first one's is given as /seed"},
      {R"({"candidates": {"a": {}, "b": {}}, "replicas": 0})",
       "field_value /replicas is 0, takes 1 to 5000000"},
      {R"({"candidates": {"a": {}, "b": {}}, "replicas": 5000001})",
       "field_value /replicas is 5000001, takes 1 to 5000000"},
      {R"({"candidates": {"a": {}}, "seed": -1})", "field_value /seed must be a whole number below 2^64"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.submit);
    CHECK(refusal(read(row.submit)) == row.expected);
  }
  CHECK(read(R"({"candidates": {"a": {}}})")->replicas == 1);
}

TEST_CASE("the report ranks candidates by their mean and says how sure that is") {
  const Benchmark benchmark = *read(R"({"candidates": {"a": {}, "b": {}, "c": {}}, "replicas": 3})");
  const json::Value said = report(benchmark, R"("score")", R"([
      [{"score": 1}, {"score": 10}, {"score": 1.5}],
      [{"score": 2}, {"score": 11}, {"score": 2.5}],
      [{"score": 3}, {"score": 12}, {"score": 3.5}]])");
  CHECK(json::text(*said.find("best")) == R"("b")");
  CHECK(json::text(*said.find("incomplete")) == "false");
  CHECK(json::text(*said.find("overlaps")) == R"([["c","a"]])");
  CHECK(json::text(*said.find("overlap_count")) == "1");
  const json::Array& rows = *said.find("candidates")->array();
  REQUIRE(rows.size() == 3);
  // The interval: 11 +- 4.302652730 * 1 / sqrt(3).
  CHECK(json::text(rows[0]) ==
        R"({"name":"b","n":3,"failures":0,"unranked":0,"mean":11,"sd":1,"median":11,"min":10,"max":12,)"
        R"("interval_95":[8.515862288105021,13.484137711894979],"incomplete":false,"rank":1})");
  CHECK(*rows[1].find("name")->string() == "c");
  CHECK(*rows[2].find("rank")->integer() == 3);
}

TEST_CASE("two candidates overlap when neither's interval ends before the other's begins") {
  const Benchmark benchmark = *read(R"({"candidates": {"a": {}, "b": {}, "c": {}}, "replicas": 2})");
  // Intervals around 1, 2 and 90.5, each 6.35 to either side for numbers that are 1 apart.
  const std::string results = "[[[0.5], [1.5], [90]], [[1.5], [2.5], [91]]]";
  for (const std::string_view mode : {"max", "min"}) {
    CAPTURE(mode);
    const json::Value said =
        report(benchmark, R"({"metric": "0", "mode": ")" + std::string(mode) + R"("})", results);
    CHECK(json::text(*said.find("overlaps")) == (mode == "max" ? R"([["b","a"]])" : R"([["a","b"]])"));
  }
}

TEST_CASE("the rank follows the mode and the statistic that were chosen") {
  const Benchmark benchmark = *read(R"({"candidates": {"a": {}, "b": {}, "c": {}}, "replicas": 3})");
  const std::string results = "[[[1], [2], [3]], [[1], [2], [3]], [[10], [2], [0]]]";
  //                           means 4, 2, 2; medians 1, 2, 3; least 1, 2, 0; most 10, 2, 3
  struct Row {
    std::string rank_by, order;
  };
  const Row rows[] = {
      {R"("0")", "abc"},
      {R"({"metric": "0", "mode": "min"})", "bca"},
      {R"({"metric": "0", "statistic": "median"})", "cba"},
      {R"({"metric": "0", "statistic": "median", "mode": "min"})", "abc"},
      {R"({"metric": "0", "statistic": "min"})", "bac"},
      {R"({"metric": "0", "statistic": "max"})", "acb"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rank_by);
    std::string order;
    const json::Value said = report(benchmark, row.rank_by, results);
    for (const json::Value& one : *said.find("candidates")->array()) order += *one.find("name")->string();
    CHECK(order == row.order);
  }
}

TEST_CASE("what failed, gave no number or never ran leaves its candidate incomplete, and is counted") {
  const Benchmark benchmark = *read(R"({"candidates": {"a": {}, "b": {}, "c": {}}, "replicas": 3})");
  const json::Value said =
      report(benchmark, R"("s")", R"([[{"s": 1}, null, {"s": 5}], [{"t": 1}, null, {"s": 6}]])");
  struct Row {
    std::string name, n, failures, unranked, mean, incomplete, rank;
  };
  const Row rows[] = {{"c", "2", "1", "0", "5.5", "true", "1"},
                      {"a", "1", "1", "1", "1", "true", "2"},
                      {"b", "0", "3", "0", "null", "true", "null"}};
  const json::Array& candidates = *said.find("candidates")->array();
  REQUIRE(candidates.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(rows[i].name);
    CHECK(*candidates[i].find("name")->string() == rows[i].name);
    CHECK(json::text(*candidates[i].find("n")) == rows[i].n);
    CHECK(json::text(*candidates[i].find("failures")) == rows[i].failures);
    CHECK(json::text(*candidates[i].find("unranked")) == rows[i].unranked);
    CHECK(json::text(*candidates[i].find("mean")) == rows[i].mean);
    CHECK(json::text(*candidates[i].find("incomplete")) == rows[i].incomplete);
    CHECK(json::text(*candidates[i].find("rank")) == rows[i].rank);
  }
  CHECK(json::text(*said.find("incomplete")) == "true");
  CHECK(json::text(*said.find("overlaps")) == "[]");  // one number has no interval
}

TEST_CASE("without a metric replicas are counted, and nobody is best") {
  const Benchmark benchmark = *read(R"({"candidates": {"a": {}, "b": {}}, "replicas": 2})");
  CHECK(json::text(report(benchmark, "", "[[1, 2], [3, null]]")) ==
        R"({"replicas":2,"incomplete":true,"candidates":[{"name":"a","n":2,"failures":0,"incomplete":false},)"
        R"({"name":"b","n":1,"failures":1,"incomplete":true}]})");
}
