#include <calyx/core/job_shape.hpp>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "plan_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using for_tests::parsed;
using for_tests::refusal;

namespace {

Result<JobShape> read(std::string_view submit) { return JobShape::read(*parsed(submit).object()); }

/// Gives back the explicit items of `submit`, as an engine does that stored them.
JobShape::ItemAt items_of(const JobShape& shape, const json::Value& submit) {
  const json::Value* at = &submit;
  std::string_view rest = shape.items_pointer();
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find('/'), rest.size());
    at = at->find(rest.substr(0, end));
    rest = rest.substr(end);
  }
  return [list = *at](std::uint64_t i) -> Result<json::Value> {
    if (list.array() == nullptr || i >= list.array()->size())
      return fail(Reason::internal, "no item " + std::to_string(i));
    return (*list.array())[static_cast<std::size_t>(i)];
  };
}

/// All tasks' payloads, one a line.
std::string payloads(std::string_view submit) {
  const json::Value value = parsed(submit);
  const auto shape = JobShape::read(*value.object());
  REQUIRE_MESSAGE(shape.ok(), refusal(shape));
  const JobShape::ItemAt item = items_of(*shape, value);
  std::string out;
  for (std::uint64_t i = 0; i < shape->tasks(); ++i) {
    if (i > 0) out += '\n';
    out += json::text(*shape->payload(i, item));
  }
  return out;
}

}  // namespace

TEST_CASE("a task's payload is a function of its index") {
  struct Row {
    const char* says;
    std::string submit, expected;
  };
  const Row rows[] = {
      {"one script, one task", R"({"payload": {"test": true}})", R"({"test":true})"},
      {"structured_runner is the type of a job that names none", R"({"type": "structured_runner"})", "{}"},
      {"what is not about shape is somebody else's",
       R"({"project": "p", "runner_command": ["x"], "timeout_s": 5, "tags": 7, "payload": null})", "{}"},

      {"one task for each value of a list; the value stands in the list's place",
       R"({"fan_out": {"by": "models"}, "payload": {"a": 1, "models": ["gpt4", "claude"], "b": 2}})",
       "{\"a\":1,\"models\":\"gpt4\",\"b\":2}\n{\"a\":1,\"models\":\"claude\",\"b\":2}"},
      {"one task for each explicit item",
       R"({"fan_out": {"items": [{"params": [0.1, 0.5]}, {"params": [0.2, 0.4]}]}})",
       "{\"params\":[0.1,0.5]}\n{\"params\":[0.2,0.4]}"},
      {"an item's members are put over the payload's",
       R"({"payload": {"n": 1, "s": "x"}, "fan_out": {"items": [{"n": 2}, {"t": 3}]}})",
       "{\"n\":2,\"s\":\"x\"}\n{\"n\":1,\"s\":\"x\",\"t\":3}"},
      {"a chunk has its size under the range's field, and where it lies beside it",
       R"({"payload": {"total_seeds": 10, "x": 1}, "fan_out": {"chunks": 3, "range_field": "total_seeds", "total": 10}})",
       "{\"total_seeds\":4,\"x\":1,\"total_seeds_start\":0,\"total_seeds_end\":4}\n"
       "{\"total_seeds\":3,\"x\":1,\"total_seeds_start\":4,\"total_seeds_end\":7}\n"
       "{\"total_seeds\":3,\"x\":1,\"total_seeds_start\":7,\"total_seeds_end\":10}"},
      {"a batch reads what each of its items would have read; the last may be smaller",
       R"({"fan_out": {"by": "n"}, "payload": {"n": [1, 2, 3], "x": 0}, "batch_size": 2})",
       "{\"items\":[{\"n\":1,\"x\":0},{\"n\":2,\"x\":0}]}\n{\"items\":[{\"n\":3,\"x\":0}]}"},
      {"batch_size may stand within fan_out too, and a batch of one is one",
       R"({"fan_out": {"items": [{"n": 1}, {"n": 2}], "batch_size": 1}})",
       "{\"items\":[{\"n\":1}]}\n{\"items\":[{\"n\":2}]}"},

      {"a sweep's task is a point of the grid over the fixed payload",
       R"({"type": "sweep", "fixed_payload": {"data": "x"}, "parameters": {"lr": [0.1, 0.2], "depth": {"start": 1, "stop": 2, "step": 1}}})",
       "{\"data\":\"x\",\"lr\":0.1,\"depth\":1}\n{\"data\":\"x\",\"lr\":0.1,\"depth\":2}\n"
       "{\"data\":\"x\",\"lr\":0.2,\"depth\":1}\n{\"data\":\"x\",\"lr\":0.2,\"depth\":2}"},
      {"points may go in batches", R"({"type": "sweep", "parameters": {"a": [1, 2, 3]}, "batch_size": 2})",
       "{\"items\":[{\"a\":1},{\"a\":2}]}\n{\"items\":[{\"a\":3}]}"},

      {"a list of the payload is split into slices of one size",
       R"({"type": "map_reduce", "payload": {"docs": [1, 2, 3, 4, 5], "k": 7}, "split": {"field": "docs", "chunk_size": 2}, "reduce": "sum"})",
       "{\"docs\":[1,2],\"k\":7}\n{\"docs\":[3,4],\"k\":7}\n{\"docs\":[5],\"k\":7}"},
      {"... or into so many",
       R"({"type": "map_reduce", "payload": {"docs": [1, 2, 3, 4, 5]}, "split": {"field": "docs", "chunks": 2}, "reduce": "sum"})",
       "{\"docs\":[1,2,3]}\n{\"docs\":[4,5]}"},
      {"items of the split's own",
       R"({"type": "map_reduce", "payload": {"k": 7}, "split": {"items": ["a", "b", "c"], "chunks": 2}, "reduce": "concat"})",
       "{\"k\":7,\"items\":[\"a\",\"b\"]}\n{\"k\":7,\"items\":[\"c\"]}"},
      {"a range from 0",
       R"({"type": "map_reduce", "split": {"range": 10, "chunk_size": 4}, "reduce": "sum"})",
       "{\"range\":{\"start\":0,\"end\":4}}\n{\"range\":{\"start\":4,\"end\":8}}\n{\"range\":{\"start\":8,"
       "\"end\":10}}"},
      {"a range from elsewhere",
       R"({"type": "map_reduce", "split": {"range": {"start": 100, "end": 105}, "chunks": 2}, "reduce": "sum"})",
       "{\"range\":{\"start\":100,\"end\":103}}\n{\"range\":{\"start\":103,\"end\":105}}"},

      {"a benchmark goes replica by replica, each with its seed",
       R"({"type": "benchmark", "candidates": {"a": {"x": 1}, "b": {"x": 2}}, "replicas": 2, "seed": 5, "shared_payload": {"d": 0}})",
       "{\"d\":0,\"x\":1,\"seed\":5}\n{\"d\":0,\"x\":2,\"seed\":5}\n{\"d\":0,\"x\":1,\"seed\":6}\n{\"d\":0,"
       "\"x\":2,\"seed\":6}"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(payloads(row.submit) == row.expected);
  }
}

TEST_CASE("the range of the reference: 10,000 seeds in 20 chunks of 500") {
  const JobShape shape =
      *read(R"({"fan_out": {"chunks": 20, "range_field": "total_seeds", "total": 10000}})");
  CHECK(shape.tasks() == 20);
  CHECK(shape.items() == 0);
  CHECK(json::text(*shape.payload(19, {})) ==
        R"({"total_seeds":500,"total_seeds_start":9500,"total_seeds_end":10000})");
}

TEST_CASE("a shape that cannot be is refused where it goes wrong") {
  struct Row {
    std::string submit, expected;
  };
  const Row rows[] = {
      {R"({"type": "magic"})", "field_value /type must be structured_runner, sweep, map_reduce or benchmark"},
      {R"({"type": 7})", "field_type /type is a number, must be a string"},
      {R"({"payload": [1]})", "field_type /payload is an array, must be an object"},
      // Fields of another type.
      {R"({"parameters": {"a": [1]}})", "field_unknown /parameters is not a field of structured_runner"},
      {R"({"type": "sweep", "parameters": {"a": [1]}, "payload": {}})",
       "field_unknown /payload is not a field of sweep"},
      {R"({"type": "sweep", "parameters": {"a": [1]}, "fan_out": {"by": "a"}})",
       "field_unknown /fan_out is not a field of sweep"},
      {R"({"type": "map_reduce", "batch_size": 2})",
       "field_unknown /batch_size is not a field of map_reduce"},
      {R"({"type": "benchmark", "merge_strategy": "collect"})",
       "field_unknown /merge_strategy is not a field of benchmark"},
      {R"({"rank_by": "x"})", "field_unknown /rank_by is not a field of structured_runner"},
      // Exactly one fan-out.
      {R"({"fan_out": []})", "field_type /fan_out is an array, must be an object"},
      {R"({"fan_out": {}})", "field_missing /fan_out needs one of by, items and chunks"},
      {R"({"fan_out": {"by": "a", "items": [{}]}, "payload": {"a": [1]}})",
       "field_value /fan_out mixes by and items, takes exactly one"},
      {R"({"fan_out": {"by": "a", "items": [{}], "total": 3}, "payload": {"a": [1]}})",
       "field_value /fan_out mixes by, items and chunks, takes exactly one"},
      {R"({"fan_out": {"items": [{}], "chunks": 3}})",
       "field_value /fan_out mixes items and chunks, takes exactly one"},
      {R"({"fan_out": {"every": 3}})", "field_unknown /fan_out/every is not a field of fan_out"},
      {R"({"fan_out": {"by": "a"}})", "field_value /fan_out/by names no member of the payload"},
      {R"({"fan_out": {"by": "a"}, "payload": {"a": 7}})",
       "field_value /fan_out/by names no list of the payload"},
      {R"({"fan_out": {"by": "a"}, "payload": {"a": []}})", "field_value /payload/a is empty"},
      {R"({"fan_out": {"by": 7}, "payload": {"a": []}})",
       "field_type /fan_out/by is a number, must be a string"},
      {R"({"fan_out": {"items": []}})", "field_value /fan_out/items is empty"},
      {R"({"fan_out": {"items": {}}})", "field_type /fan_out/items is an object, must be an array"},
      {R"({"fan_out": {"items": [{}, 7]}})",
       "field_type /fan_out/items/1 is a number, must be an object, one task's payload"},
      {R"({"fan_out": {"chunks": 3, "range_field": "n"}})", "field_missing /fan_out/total is missing"},
      {R"({"fan_out": {"chunks": 3, "total": 9}})", "field_missing /fan_out/range_field is missing"},
      {R"({"fan_out": {"range_field": "n", "total": 9}})", "field_missing /fan_out/chunks is missing"},
      {R"({"fan_out": {"chunks": 20, "range_field": "n", "total": 10}})",
       "field_value /fan_out/chunks is 20, takes 1 to 10"},
      {R"({"fan_out": {"chunks": 0, "range_field": "n", "total": 10}})",
       "field_value /fan_out/chunks is 0, takes 1 to 10"},
      {R"({"fan_out": {"chunks": 2, "range_field": "n", "total": 0}})",
       "field_value /fan_out/total is 0, takes 1 to 9007199254740991"},
      {R"({"fan_out": {"chunks": 2, "range_field": "n", "total": 9007199254740992}})",
       "field_value /fan_out/total is 9007199254740992, takes 1 to 9007199254740991"},
      {R"({"fan_out": {"chunks": 2.5, "range_field": "n", "total": 10}})",
       "field_type /fan_out/chunks is a number, must be an integer"},
      // Batches and merges.
      {R"({"batch_size": 2})", "field_value /batch_size needs a fan_out to group"},
      {R"({"fan_out": {"items": [{}]}, "batch_size": 0})", "field_value /batch_size is 0, takes 1 to 100000"},
      {R"({"fan_out": {"items": [{}]}, "batch_size": 100001})",
       "field_value /batch_size is 100001, takes 1 to 100000"},
      {R"({"fan_out": {"items": [{}], "batch_size": 2}, "batch_size": 2})",
       "field_value /fan_out/batch_size is given twice: also as /batch_size"},
      {R"({"merge_strategy": "sum"})", "field_value /merge_strategy must be collect, keyed or weighted_avg"},
      {R"({"key_field": "id"})", "field_value /key_field is for merge_strategy keyed"},
      {R"({"weight": "n"})", "field_value /weight is for merge_strategy weighted_avg"},
      {R"({"merge_strategy": "keyed", "on_duplicate": "first"})",
       "field_value /on_duplicate must be error or last"},
      {R"({"merge_strategy": "keyed", "fan_out": {"items": [{}]}})",
       "field_missing /key_field is missing: keyed takes keys from it, or from fan_out.by"},
      // Sweeps.
      {R"({"type": "sweep"})", "field_missing /parameters is missing"},
      {R"({"type": "sweep", "parameters": {"a": [1]}, "fixed_payload": {"a": 2}})",
       "field_value /fixed_payload/a is a parameter too"},
      {R"({"type": "sweep", "parameters": {"a": [1]}, "fixed_payload": 2})",
       "field_type /fixed_payload is a number, must be an object"},
      {R"({"type": "sweep", "parameters": {"a": [1, 2]}, "sample": {"k": 3}})",
       "field_value /sample/k is 3, takes 1 to 2"},
      {R"({"type": "sweep", "parameters": {"a": [1]}, "rank_by": {"mode": "min"}})",
       "field_missing /rank_by/metric is missing"},
      {R"({"type": "sweep", "parameters": {"a": {"start": 1, "stop": 100000000, "step": 1}, "b": {"start": 1, "stop": 100000000, "step": 1}}})",
       "field_value /parameters has 10000000000000000 points, takes at most 9007199254740991 without a "
       "sample"},
      // map_reduce.
      {R"({"type": "map_reduce", "reduce": "sum"})", "field_missing /split is missing"},
      {R"({"type": "map_reduce", "split": {"range": 5, "chunks": 1}})", "field_missing /reduce is missing"},
      {R"({"type": "map_reduce", "split": {"chunks": 1}, "reduce": "sum"})",
       "field_missing /split needs one of field, items and range"},
      {R"({"type": "map_reduce", "split": {"range": 5, "items": [1], "chunks": 1}, "reduce": "sum"})",
       "field_value /split mixes items and range, takes exactly one"},
      {R"({"type": "map_reduce", "split": {"range": 5}, "reduce": "sum"})",
       "field_missing /split needs chunk_size or chunks"},
      {R"({"type": "map_reduce", "split": {"range": 5, "chunks": 1, "chunk_size": 5}, "reduce": "sum"})",
       "field_value /split has chunk_size and chunks, takes one of them"},
      {R"({"type": "map_reduce", "split": {"range": 5, "chunks": 6}, "reduce": "sum"})",
       "field_value /split/chunks is 6, takes 1 to 5"},
      {R"({"type": "map_reduce", "split": {"range": {"start": 5, "end": 5}, "chunks": 1}, "reduce": "sum"})",
       "field_value /split/range/end is 5, takes 6 to 9007199254740991"},
      {R"({"type": "map_reduce", "split": {"range": {"start": -1, "end": 5}, "chunks": 1}, "reduce": "sum"})",
       "field_value /split/range/start is -1, takes 0 to 9007199254740990"},
      {R"({"type": "map_reduce", "split": {"field": "x", "chunks": 1}, "reduce": "sum"})",
       "field_value /split/field names no member of the payload"},
      {R"({"type": "map_reduce", "split": {"items": [], "chunks": 1}, "reduce": "sum"})",
       "field_value /split/items is empty"},
      {R"({"type": "map_reduce", "split": {"range": 5, "chunks": 1}, "reduce": "median"})",
       "field_value /reduce must be one operator: sum, count, min, max, mean, var, concat, merge, any, all, "
       "weighted_avg, top_k or histogram"},
      // Benchmarks.
      {R"({"type": "benchmark"})", "field_missing /candidates is missing"},
      {R"({"type": "benchmark", "candidates": {"a": {}}, "shared_payload": {"seed": 1}})",
       "field_value /shared_payload/seed is each replica's own; the first one's is given as /seed"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.submit);
    CHECK(refusal(read(row.submit)) == row.expected);
  }
}

TEST_CASE("explicit items are counted and pointed at, and the shape is read again without them") {
  struct Row {
    std::string submit, stored, pointer;
    std::uint64_t items;
  };
  const Row rows[] = {
      {R"({"fan_out": {"items": [{"a": 1}, {"a": 2}, {"a": 3}]}, "batch_size": 2})",
       R"({"fan_out": {"items": []}, "batch_size": 2})", "/fan_out/items", 3},
      {R"({"fan_out": {"by": "m"}, "payload": {"x": 0, "m": [1, 2], "y": 0}})",
       R"({"fan_out": {"by": "m"}, "payload": {"x": 0, "m": [], "y": 0}})", "/payload/m", 2},
      {R"({"type": "map_reduce", "split": {"field": "d", "chunk_size": 2}, "payload": {"d": [1, 2, 3]}, "reduce": "sum"})",
       R"({"type": "map_reduce", "split": {"field": "d", "chunk_size": 2}, "payload": {"d": []}, "reduce": "sum"})",
       "/payload/d", 3},
      {R"({"type": "map_reduce", "split": {"items": [1, 2, 3], "chunks": 2}, "reduce": "sum"})",
       R"({"type": "map_reduce", "split": {"chunks": 2}, "reduce": "sum"})", "/split/items", 3},
      {R"({"fan_out": {"chunks": 2, "range_field": "n", "total": 5}})",
       R"({"fan_out": {"chunks": 2, "range_field": "n", "total": 5}})", "", 0},
      {R"({"type": "sweep", "parameters": {"a": [1, 2]}})",
       R"({"type": "sweep", "parameters": {"a": [1, 2]}})", "", 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.submit);
    const json::Value submit = parsed(row.submit);
    const JobShape first = *JobShape::read(*submit.object());
    CHECK(first.items() == row.items);
    CHECK(first.items_pointer() == row.pointer);
    const auto again = JobShape::read_stored(*parsed(row.stored).object(), first.items());
    REQUIRE_MESSAGE(again.ok(), refusal(again));
    CHECK(again->tasks() == first.tasks());
    CHECK(again->items_pointer() == row.pointer);
    const JobShape::ItemAt item = items_of(first, submit);
    for (std::uint64_t i = 0; i < first.tasks(); ++i)
      CHECK(json::text(*again->payload(i, item)) == json::text(*first.payload(i, item)));
  }
  CHECK(read(R"({"fan_out": {"by": "a/b~c"}, "payload": {"a/b~c": [1]}})")->items_pointer() ==
        "/payload/a~1b~0c");
}

TEST_CASE("which items a task needs can be asked before it is laid out") {
  const JobShape batches = *read(R"({"fan_out": {"items": [{}, {}, {}, {}, {}]}, "batch_size": 2})");
  CHECK(batches.units() == 5);
  CHECK(batches.tasks() == 3);
  CHECK(batches.items_of(1) == Chunk{2, 4});
  CHECK(batches.items_of(2) == Chunk{4, 5});
  const JobShape split =
      *read(R"({"type": "map_reduce", "split": {"items": [1, 2, 3, 4, 5], "chunks": 2}, "reduce": "sum"})");
  CHECK(split.items_of(0) == Chunk{0, 3});
  CHECK(split.items_of(1) == Chunk{3, 5});
  CHECK(read(R"({"payload": {}})")->items_of(0) == Chunk{0, 0});
}

TEST_CASE("an item that cannot be had fails the payload, not the process") {
  const JobShape shape = *read(R"({"fan_out": {"items": [{}]}})");
  const auto lost = [](std::uint64_t) -> Result<json::Value> { return fail(Reason::io_error, "is lost"); };
  CHECK(refusal(shape.payload(0, lost)) == "io_error is lost");
  CHECK(refusal(shape.payload(0, {})) == "internal nobody gives item 0 back");
  const auto other = [](std::uint64_t) -> Result<json::Value> { return json::Value(7); };
  CHECK(refusal(shape.payload(0, other)) == "field_type /fan_out/items/0 is a number, must be an object");
}

TEST_CASE("tasks go up to 2^53 - 1, and the last is planned like the first") {
  const JobShape shape =
      *read(R"({"fan_out": {"chunks": 9007199254740991, "range_field": "n", "total": 9007199254740991}})");
  CHECK(shape.tasks() == tasks_max);
  CHECK(json::text(*shape.payload(tasks_max - 1, {})) ==
        R"({"n":1,"n_start":9007199254740990,"n_end":9007199254740991})");
  const JobShape sweep = *read(R"({"type": "sweep", "sample": {"k": 1000, "seed": 3},
      "parameters": {"a": {"start": 1, "stop": 1000000000, "step": 1},
                     "b": {"start": 1, "stop": 1000000000, "step": 1}}})");
  CHECK(sweep.tasks() == 1'000);
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 1'000; ++i) seen.insert(point_identity(sweep.point(i)));
  CHECK(seen.size() == 1'000);
}

TEST_CASE("chunks of any range give every index once") {
  std::mt19937_64 random(20261128);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t total = 1 + random() % 2'000;
    const std::uint64_t chunks = 1 + random() % total;
    json::Object submit;
    submit.set("fan_out", json::object({{"chunks", chunks}, {"range_field", "n"}, {"total", total}}));
    const JobShape shape = *JobShape::read(submit);
    std::int64_t next = 0;
    for (std::uint64_t i = 0; i < shape.tasks(); ++i) {
      const json::Value payload = *shape.payload(i, {});
      REQUIRE(*payload.find("n_start")->integer() == next);
      next += *payload.find("n")->integer();
      REQUIRE(*payload.find("n_end")->integer() == next);
    }
    CHECK(static_cast<std::uint64_t>(next) == total);
  }
}
