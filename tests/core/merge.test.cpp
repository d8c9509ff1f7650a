#include <calyx/core/merge.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "plan_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using for_tests::parsed;
using for_tests::refusal;

namespace {

JobShape shape_of(std::string_view submit) {
  auto shape = JobShape::read(*parsed(submit).object());
  REQUIRE_MESSAGE(shape.ok(), refusal(shape));
  return *std::move(shape);
}

/// The values of fan_out.by in these tests.
Result<json::Value> letter(std::uint64_t index) {
  return json::Value(std::string(1, static_cast<char>('a' + index)));
}

/// Feeds one outcome a task (null: it failed) and says the result and the notes, or the refusal.
std::string merged(std::string_view submit, std::string_view outcomes,
                   const JobShape::ItemAt& item = letter) {
  const JobShape shape = shape_of(submit);
  Merger merger(shape, item);
  std::uint64_t index = 0;
  const json::Value given = parsed(outcomes);
  for (const json::Value& outcome : *given.array()) {
    const auto added = merger.add(index++, outcome.is_null() ? nullptr : &outcome);
    if (!added.ok()) return refusal(added);
  }
  const Merged out = std::move(merger).finish();
  return json::text(out.result) + (out.notes.empty() ? "" : " " + json::text(json::Value(out.notes)));
}

const std::string three = R"("fan_out": {"by": "m"}, "payload": {"m": ["a", "b", "c"]})";

}  // namespace

TEST_CASE("a fan-out's results come together as its strategy says") {
  struct Row {
    const char* says;
    std::string submit, outcomes, expected;
  };
  const Row rows[] = {
      {"one task's result is the job's", "{}", R"([{"score": 1}])", R"({"score":1})"},
      {"... whatever the strategy", R"({"merge_strategy": "weighted_avg"})", "[7]", "7"},
      {"... or null", "{}", "[null]", R"(null {"failed":1})"},

      {"collect: a list in order", "{" + three + "}", R"([1, {"x": 2}, "3"])", R"([1,{"x":2},"3"])"},
      {"what failed keeps its place", "{" + three + "}", "[1, null, 3]", R"([1,null,3] {"failed":1})"},
      {"a list ends before what never ran", "{" + three + "}", "[1]", R"([1] {"failed":2})"},

      {"keyed: by the values of fan_out.by", "{" + three + R"(, "merge_strategy": "keyed"})", "[1, 2, 3]",
       R"({"a":1,"b":2,"c":3})"},
      {"what failed has no key", "{" + three + R"(, "merge_strategy": "keyed"})", "[1, null, 3]",
       R"({"a":1,"c":3} {"failed":1})"},
      {"by a field of the result", "{" + three + R"(, "merge_strategy": "keyed", "key_field": "id.n"})",
       R"([{"id": {"n": "x"}}, {"id": {"n": 7}}, {"id": {}}])",
       R"({"x":{"id":{"n":"x"}},"7":{"id":{"n":7}}} {"unkeyed":1})"},
      {"a key that comes again is an error",
       "{" + three + R"(, "merge_strategy": "keyed", "key_field": "k"})",
       R"([{"k": 1}, {"k": 2}, {"k": "1"}])",
       "field_value /merge_strategy has the key 1 for units 0 and 2; on_duplicate may be last"},
      {"... unless the last may win",
       "{" + three + R"(, "merge_strategy": "keyed", "key_field": "k", "on_duplicate": "last"})",
       R"([{"k": 1, "v": 0}, {"k": 2}, {"k": 1, "v": 9}])", R"({"1":{"k":1,"v":9},"2":{"k":2}})"},

      {"weighted_avg: numbers by their count", "{" + three + R"(, "merge_strategy": "weighted_avg"})",
       R"([{"loss": 1, "count": 1}, {"loss": 4, "count": 2}, null])", R"({"count":3,"loss":3} {"failed":1})"},
      {"... or by the field that is named",
       "{" + three + R"(, "merge_strategy": "weighted_avg", "weight": "n"})",
       R"([{"loss": 1, "n": 3}, {"loss": 5, "n": 1}])", R"({"loss":2,"n":4} {"failed":1})"},
      {"what is no number must agree, or is dropped and said",
       "{" + three + R"(, "merge_strategy": "weighted_avg"})",
       R"([{"x": 1, "model": "m", "run": "r1"}, {"x": 2, "model": "m", "run": "r2"}, {"x": 3, "model": "m"}])",
       R"({"model":"m","x":2} {"dropped_count":1,"dropped":["/run"]})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(merged(row.submit, row.outcomes) == row.expected);
  }
}

TEST_CASE("a batch's results are taken apart, item by item") {
  const std::string batch = R"({"fan_out": {"by": "m"}, "payload": {"m": ["a", "b", "c"]}, "batch_size": 2)";
  struct Row {
    const char* says;
    std::string submit, outcomes, expected;
  };
  const Row rows[] = {
      {"one entry an item", batch + "}", R"([{"results": [1, 2]}, {"results": [3]}])", "[1,2,3]"},
      {"an item that failed does not fail its mates", batch + "}",
       R"([{"results": [{"ok": false, "error": "x"}, {"ok": true, "result": 2}]}, {"results": [{"error": "y"}]}])",
       R"([null,2,null] {"failed":2})"},
      {"entries that only look like it are results", batch + "}",
       R"([{"results": [{"error": 0.5, "n": 2}, {"ok": true, "n": 1}]}, {"results": [{"ok": 3}]}])",
       R"([{"error":0.5,"n":2},{"ok":true,"n":1},3])"},
      {"a batch that failed failed for each", batch + "}", R"([null, {"results": [3]}])",
       R"([null,null,3] {"failed":2})"},
      {"another number of results than of items is none", batch + "}",
       R"([{"results": [1]}, {"results": [3]}])", R"([null,null,3] {"failed":2})"},
      {"a batch that answers together stands once", batch + "}", R"([{"sum": 3}, {"sum": 3}])",
       R"([{"sum":3},{"sum":3}])"},
      {"keys are the items'", batch + R"(, "merge_strategy": "keyed"})",
       R"([{"results": [1, 2]}, {"results": [3]}])", R"({"a":1,"b":2,"c":3})"},
      {"several items together have no key", batch + R"(, "merge_strategy": "keyed"})",
       R"([{"sum": 1}, {"results": [3]}])", R"({"c":3} {"unkeyed":1})"},
      {"averages are the items'", batch + R"(, "merge_strategy": "weighted_avg"})",
       R"([{"results": [1, 2]}, {"results": [6]}])", "3"},
      {"a batch that never ran", batch + "}", R"([{"results": [1, 2]}])", R"([1,2] {"failed":1})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(merged(row.submit, row.outcomes) == row.expected);
  }
}

TEST_CASE("batches of any size merge to what single tasks would, to the bit") {
  std::mt19937_64 random(20261128);
  for (const std::string strategy : {"collect", "keyed", "weighted_avg"})
    for (const std::uint64_t size : {1U, 2U, 3U, 7U, 26U}) {
      CAPTURE(strategy);
      CAPTURE(size);
      constexpr std::uint64_t letters = 26;
      json::Array values;
      for (std::uint64_t i = 0; i < letters; ++i) values.push_back(*letter(i));
      json::Object submit;
      submit.set("payload", json::object({{"m", std::move(values)}}));
      submit.set("fan_out", json::object({{"by", "m"}}));
      submit.set("merge_strategy", strategy);
      const JobShape alone = *JobShape::read(submit);
      submit.set("batch_size", size);
      const JobShape batched = *JobShape::read(submit);

      // Every third batch of an average answers for its items together: that counts as the first one's
      // result.
      Merger one(alone, letter), many(batched, letter);
      for (std::uint64_t task = 0; task < batched.tasks(); ++task) {
        const Chunk units = batched.units_of(task);
        const bool together = strategy == "weighted_avg" && task % 3 == 2;
        json::Array entries;
        for (std::uint64_t unit = units.start; unit < units.end; ++unit) {
          const json::Value result = json::object(
              {{"x", static_cast<double>(random()) / 7.0}, {"count", static_cast<double>(random()) / 3.0}});
          const bool failed = together ? unit > units.start : random() % 4 == 0;
          CHECK(one.add(unit, failed ? nullptr : &result).ok());
          if (failed)
            entries.push_back(json::object({{"ok", false}}));
          else
            entries.push_back(result);
        }
        const json::Value answer =
            together ? entries.front() : json::object({{"results", std::move(entries)}});
        CHECK(many.add(task, &answer).ok());
      }
      const Merged single = std::move(one).finish();
      const Merged grouped = std::move(many).finish();
      CHECK(json::text(grouped.result) == json::text(single.result));
    }
}

TEST_CASE("a result that cannot be merged can be refused as it comes in") {
  const JobShape plain = shape_of("{}");
  const JobShape batch = shape_of(R"({"fan_out": {"items": [{}, {}, {}]}, "batch_size": 2})");
  const JobShape points = shape_of(R"({"type": "sweep", "parameters": {"a": [1, 2, 3]}, "batch_size": 2})");
  CHECK(refusal(check_result(plain, 0, parsed(R"({"results": []})"))) == "none");
  CHECK(refusal(check_result(batch, 0, parsed(R"({"results": [1, 2]})"))) == "none");
  CHECK(refusal(check_result(batch, 1, parsed(R"({"results": [1]})"))) == "none");
  CHECK(refusal(check_result(batch, 0, parsed(R"({"sum": 1})"))) == "none");
  CHECK(refusal(check_result(batch, 0, parsed(R"({"results": [1, 2, 3]})"))) ==
        "field_value /results has 3 results for 2 items");
  CHECK(refusal(check_result(points, 0, parsed(R"({"sum": 1})"))) ==
        "field_missing /results is missing: a batch of points needs the result of each");
}

TEST_CASE("a sweep's points are ranked: ties by index, what has no number last and counted") {
  const std::string sweep = R"({"type": "sweep", "parameters": {"a": [1, 2, 3, 4, 5]})";
  CHECK(merged(sweep + R"(, "rank_by": "s"})", R"([{"s": 1}, {"s": 7}, {"t": 0}, {"s": 7}, null])") ==
        R"({"points":5,"failed":1,"metric":"s","mode":"max","unranked":1,)"
        R"("best":{"index":1,"parameters":{"a":2},"value":7,"result":{"s":7}},)"
        R"("ranked":[{"index":1,"parameters":{"a":2},"value":7,"result":{"s":7}},)"
        R"({"index":3,"parameters":{"a":4},"value":7,"result":{"s":7}},)"
        R"({"index":0,"parameters":{"a":1},"value":1,"result":{"s":1}},)"
        R"({"index":2,"parameters":{"a":3},"value":null,"result":{"t":0}}],"left_out":0} {"failed":1})");

  const auto order = [&](std::string_view rank_by, std::string_view outcomes) {
    const JobShape shape = shape_of(sweep + ", \"rank_by\": " + std::string(rank_by) + "}");
    Merger merger(shape);
    std::uint64_t index = 0;
    const json::Value given = parsed(outcomes);
    for (const json::Value& outcome : *given.array())
      CHECK(merger.add(index++, outcome.is_null() ? nullptr : &outcome).ok());
    const Merged out = std::move(merger).finish();
    std::string said;
    for (const json::Value& row : *out.result.find("ranked")->array())
      said += std::to_string(*row.find("index")->integer());
    return said + " best " + json::text(*out.result.find("best")).substr(0, 9) + " left out " +
           std::to_string(*out.result.find("left_out")->integer());
  };
  struct Row {
    std::string rank_by, outcomes, expected;
  };
  const Row rows[] = {
      {R"("0")", "[[3], [1], [2], [5], [4]]", R"(34021 best {"index": left out 0)"},
      {R"({"metric": "0", "mode": "min"})", "[[3], [1], [2], [5], [4]]",
       R"(12043 best {"index": left out 0)"},
      {R"({"metric": "0", "limit": 2})", "[[3], [1], [2], [5], [4]]", R"(34 best {"index": left out 3)"},
      {R"({"metric": "0", "limit": 2})", R"([["x"], [], [2], null, null])",
       R"(20 best {"index": left out 1)"},
      {R"("0")", "[[], [], []]", "012 best null left out 0"},
      {R"("a.b")", R"([{"a": {"b": 1}}, {"a": {"b": 2.5}}])", R"(10 best {"index": left out 0)"},
      {R"("0")", "[]", " best null left out 0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rank_by);
    CAPTURE(row.outcomes);
    CHECK(order(row.rank_by, row.outcomes) == row.expected);
  }
}

TEST_CASE("a metric that is no finite number ranks like one that is missing") {
  const JobShape shape = shape_of(R"({"type": "sweep", "parameters": {"a": [1, 2, 3]}, "rank_by": "s"})");
  Merger merger(shape);
  const json::Value outcomes[] = {json::object({{"s", std::numeric_limits<double>::quiet_NaN()}}),
                                  json::object({{"s", json::Value::number_token("1e400")}}),
                                  json::object({{"s", -5}})};
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(merger.add(i, &outcomes[i]).ok());
  const Merged out = std::move(merger).finish();
  CHECK(json::text(*out.result.find("unranked")) == "2");
  CHECK(json::text(*out.result.find("best")->find("index")) == "2");
}

TEST_CASE("a sweep without a metric lists its first points, and one in batches ranks each") {
  CHECK(merged(R"({"type": "sweep", "parameters": {"a": [1, 2]}})", "[5, 6]") ==
        R"({"points":2,"failed":0,"ranked":[{"index":0,"parameters":{"a":1},"result":5},)"
        R"({"index":1,"parameters":{"a":2},"result":6}],"left_out":0})");
  CHECK(
      merged(
          R"({"type": "sweep", "parameters": {"a": [1, 2, 3]}, "batch_size": 2, "rank_by": {"metric": "s", "limit": 1}})",
          R"([{"results": [{"s": 1}, {"s": 5}]}, {"s": 9}])") ==
      R"({"points":3,"failed":1,"metric":"s","mode":"max","unranked":0,)"
      R"("best":{"index":1,"parameters":{"a":2},"value":5,"result":{"s":5}},)"
      R"("ranked":[{"index":1,"parameters":{"a":2},"value":5,"result":{"s":5}}],"left_out":1} {"failed":1})");
}

TEST_CASE("a map_reduce gives what its operators give, and what failed is said") {
  const std::string job =
      R"({"type": "map_reduce", "split": {"range": 100, "chunks": 4}, "reduce": {"hits": "sum", "ms": "max"}})";
  CHECK(merged(job, R"([{"hits": 1, "ms": 5}, null, {"hits": 2, "ms": 9}, {"hits": 4}])") ==
        R"({"hits":7,"ms":9} {"failed":1,"missing":{"ms":1}})");
  CHECK(merged(job, "[]") == R"({"hits":0,"ms":null} {"failed":4})");
}

TEST_CASE("where a command reduces the last task's result is the job's") {
  const std::string job =
      R"({"type": "map_reduce", "split": {"range": 3, "chunks": 3}, "reduce": {"runner_command": ["x"], "fan_in": 2}})";
  CHECK(shape_of(job).reduce().command == std::vector<std::string>{"x"});
  CHECK(shape_of(job).tasks() == 6);  // three chunks, two reductions of them, one of those
  CHECK(merged(job, R"([1, 2, 3, 12, 3, "all"])") == R"("all")");
  CHECK(merged(job, R"([1, null, 3, 1, 3, "most"])") == R"("most" {"failed":1})");
  CHECK(merged(job, R"([1, 2, 3, 12, 3, null])") == R"(null {"failed":1})");
  CHECK(merged(job, "[1]") == R"(null {"failed":5})");
}

TEST_CASE("a benchmark gives its report; what never ran is missing there") {
  const std::string said = merged(
      R"({"type": "benchmark", "candidates": {"a": {}, "b": {}}, "replicas": 2, "rank_by": {"metric": "ms", "mode": "min"}})",
      R"([{"ms": 5}, {"ms": 3}, {"ms": 7}])");
  CHECK(said.find(R"("best":"b")") != std::string::npos);
  CHECK(said.find(R"("name":"a","n":2,"failures":0)") != std::string::npos);
  CHECK(said.find(R"("name":"b","n":1,"failures":1)") != std::string::npos);
  CHECK(said.find(R"({"failed":1})") != std::string::npos);
}

TEST_CASE("outcomes come in order, each once") {
  const JobShape shape = shape_of(R"({"fan_out": {"items": [{}, {}]}})");
  Merger merger(shape);
  const json::Value one = 1;
  CHECK(refusal(merger.add(1, &one)) == "internal task 1 came where 0 of 2 was due");
  CHECK(merger.add(0, &one).ok());
  CHECK(refusal(merger.add(0, &one)) == "internal task 0 came where 1 of 2 was due");
  CHECK(merger.add(1, nullptr).ok());
  CHECK(refusal(merger.add(2, &one)) == "internal task 2 came where 2 of 2 was due");
  CHECK(json::text(std::move(merger).finish().result) == "[1,null]");
}

TEST_CASE("a job of a billion tasks that was cut short is merged without walking the rest") {
  const JobShape shape = shape_of(R"({"type": "map_reduce", "split": {"range": 1000000000, "chunk_size": 1},
                                      "reduce": "sum"})");
  Merger merger(shape);
  const json::Value one = 1;
  for (std::uint64_t i = 0; i < 1'000; ++i) CHECK(merger.add(i, &one).ok());
  const Merged out = std::move(merger).finish();
  CHECK(json::text(out.result) == "1000");
  CHECK(json::text(json::Value(out.notes)) == R"({"failed":999999000})");
}
