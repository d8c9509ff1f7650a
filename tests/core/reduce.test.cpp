#include <calyx/core/index_tree.hpp>
#include <calyx/core/reduce.hpp>
#include <cstdint>
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

/// `results` is a JSON array; a null in it is a task that failed. Every cut is tried: all must agree.
std::string reduced(std::string_view operators, const json::Value& results) {
  const auto rule = read_reduce(parsed(operators));
  REQUIRE_MESSAGE(rule.ok(), refusal(rule));
  const json::Array& items = *results.array();
  const auto stretch = [&](std::size_t from, std::size_t to) {
    IndexTree<Reduction> out(from);
    for (std::size_t i = from; i < to; ++i)
      out.add(Reduction::of(*rule, i, items[i].is_null() ? nullptr : &items[i]));
    return out;
  };
  const auto said = [&](IndexTree<Reduction>&& tree) {
    json::Object notes;
    const json::Value value = std::move(tree).finish().value(*rule, notes);
    return json::text(value) + (notes.empty() ? "" : " " + json::text(json::Value(notes)));
  };
  const std::string out = said(stretch(0, items.size()));
  for (std::size_t cut = 0; cut <= items.size(); ++cut) {
    CAPTURE(cut);
    IndexTree<Reduction> left = stretch(0, cut);
    left.add(stretch(cut, items.size()));
    CHECK(said(std::move(left)) == out);
  }
  return out;
}

}  // namespace

TEST_CASE("an operator makes one value of all results") {
  struct Row {
    std::string operators, results, expected;
  };
  const Row rows[] = {
      // Sums: exact while all are integers and the sum fits 64 bits.
      {R"("sum")", "[1, 2, 3]", "6"},
      {R"("sum")", "[1, null, 3]", "4"},
      {R"("sum")", "[1, 0.5]", "1.5"},
      {R"("sum")", "[9223372036854775807, -1, 1]", "9223372036854775807"},
      {R"("sum")", "[9223372036854775807, 9223372036854775807, -9223372036854775807]", "9223372036854775807"},
      {R"("sum")", "[9223372036854775807, 1]", "9223372036854776000"},
      {R"("sum")", "[-9223372036854775808, -9223372036854775808]", "-18446744073709552000"},
      {R"("sum")", "[9007199254740993, 0.5]", "9007199254740992"},
      {R"("sum")", "[]", "0"},
      {R"("sum")", "[null, null]", "0"},
      {R"("sum")", R"([{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}])", R"({"a":3,"b":[4,6]})"},
      {R"("sum")", R"([{"a": 1}, {"b": 2}, {"a": null, "b": 3}])", R"({"a":1,"b":5})"},
      {R"("sum")", R"([{"a": 1, "name": "x"}, {"a": 2, "name": "x"}])",
       R"({"a":3} {"dropped_count":1,"dropped":["/name"]})"},
      {R"("sum")", R"([{"a": 1, "b": 1}, {"a": {"c": 1}, "b": 2}])",
       R"({"b":3} {"dropped_count":1,"dropped":["/a"]})"},
      {R"("sum")", R"([{"a": [1, 2]}, {"a": [1]}])", R"({} {"dropped_count":1,"dropped":["/a"]})"},
      {R"("sum")", R"([1, "x", 2])", R"(null {"dropped_count":1,"dropped":[""]})"},
      // Count.
      {R"("count")", R"([1, "x", {}])", "3"},
      {R"("count")", "[1, null]", "1"},
      {R"("count")", "[]", "0"},
      // Extremes come as they were.
      {R"("min")", "[3, 1, 2]", "1"},
      {R"("max")", "[3, 1.5, 7.25]", "7.25"},
      {R"("max")", "[9223372036854775806, 9223372036854775807]", "9223372036854775807"},
      {R"("max")", R"([{"a": 1, "b": 9}, {"a": 5, "b": 2}])", R"({"a":5,"b":9})"},
      {R"("max")", "[]", "null"},
      // Mean and the sample's variance.
      {R"("mean")", "[1, 2, 6]", "3"},
      {R"("mean")", "[null, 5]", "5"},
      {R"("mean")", "[]", "null"},
      {R"("var")", "[2, 4, 4, 4, 5, 5, 7, 9]", "4.571428571428571"},
      {R"("var")", "[5]", "null"},
      // Truth.
      {R"("any")", "[false, true]", "true"},
      {R"("any")", "[false, false]", "false"},
      {R"("any")", "[]", "false"},
      {R"("all")", "[true, true]", "true"},
      {R"("all")", "[true, false]", "false"},
      {R"("all")", "[]", "true"},
      {R"("all")", R"([{"ok": true}, {"ok": false}])", R"({"ok":false})"},
      {R"("all")", "[true, 1]", R"(null {"dropped_count":1,"dropped":[""]})"},
      // Lists and objects.
      {R"("concat")", "[[1, 2], [], [3]]", "[1,2,3]"},
      {R"("concat")", R"([[1], 2, "x", null, [[3]]])", R"([1,2,"x",[3]])"},
      {R"("concat")", "[]", "[]"},
      {R"("merge")", R"([{"a": 1, "b": 1}, {"b": 2, "c": 2}, {"a": 3}])", R"({"a":3,"b":2,"c":2})"},
      {R"("merge")", R"([{"a": 1}, 7])", R"({"a":1} {"skipped":{"":1}})"},
      {R"("merge")", "[]", "{}"},
      // Weighted by `count`, or what is named, or 1; the weights themselves are summed.
      {R"("weighted_avg")", R"([{"loss": 1, "count": 1}, {"loss": 4, "count": 2}])",
       R"({"count":3,"loss":3})"},
      {R"("weighted_avg")", R"([{"loss": 1}, {"loss": 4}])", R"({"loss":2.5})"},
      {R"("weighted_avg")", "[1, 4]", "2.5"},
      {R"({"weighted_avg": {"weight": "w.n"}})", R"([{"x": 0.1, "w": {"n": 3}}, {"x": 0.1, "w": {"n": 7}}])",
       R"({"w":{"n":10},"x":0.1})"},
      {R"("weighted_avg")", R"([{"x": 1, "m": "a"}, {"x": 3, "m": "a"}])", R"({"m":"a","x":2})"},
      {R"("weighted_avg")", R"([{"x": 1, "m": "a"}, {"x": 3, "m": "b"}])",
       R"({"x":2} {"dropped_count":1,"dropped":["/m"]})"},
      {R"("weighted_avg")", R"([{"x": 1, "count": -1}, {"x": 3, "count": 2}])",
       R"({"count":2,"x":3} {"skipped":{"":1}})"},
      {R"("weighted_avg")", R"([{"x": 1, "count": 0}, {"x": 3, "count": 0}])", R"({"count":0,"x":null})"},
      // The best, and how many fall where.
      {R"({"top_k": {"by": "s", "k": 2}})", R"([{"s": 1}, {"s": 3}, {"t": 9}, {"s": 2}])",
       R"([{"s":3},{"s":2}] {"skipped":{"":1}})"},
      {R"({"top_k": {"by": "s", "k": 2, "mode": "min"}})", R"([[{"s": 4}, {"s": 3}], [{"s": 1}]])",
       R"([{"s":1},{"s":3}])"},
      {R"({"top_k": {"k": 2}})", "[5, 7, 5, 6]", "[7,6]"},
      {R"({"top_k": {"k": 3}})", "[]", "[]"},
      {R"({"histogram": {"edges": [0, 1, 2, 4]}})", "[0, 0.5, 1, 2, 4, -1, 5, [1.5, 3]]",
       R"({"edges":[0,1,2,4],"counts":[2,2,3],"below":1,"above":1})"},
      {R"({"histogram": {"edges": [0, 1]}})", R"([0.5, "x"])",
       R"({"edges":[0,1],"counts":[1],"below":0,"above":0} {"skipped":{"":1}})"},
      {R"({"histogram": {"edges": [0, 1]}})", "[]", R"({"edges":[0,1],"counts":[0],"below":0,"above":0})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.operators);
    CAPTURE(row.results);
    CHECK(reduced(row.operators, parsed(row.results)) == row.expected);
  }
}

TEST_CASE("each field may have an operator of its own") {
  struct Row {
    std::string operators, results, expected;
  };
  const Row rows[] = {
      {R"({"hits": "sum", "best": "max", "names": "concat"})",
       R"([{"hits": 1, "best": 0.5, "names": ["a"]}, {"hits": 2, "best": 0.25, "names": ["b"]}])",
       R"({"hits":3,"best":0.5,"names":["a","b"]})"},
      {R"({"stats.ms": "mean", "hits": "sum"})", R"([{"stats": {"ms": 4}}, {"stats": {"ms": 6}, "hits": 1}])",
       R"({"stats.ms":5,"hits":1} {"missing":{"hits":1}})"},
      {R"({"loss": "weighted_avg"})", R"([{"loss": 1, "count": 3}, {"loss": 5, "count": 1}])",
       R"({"loss":2})"},
      {R"({"top": {"top_k": {"k": 1}}, "ms": {"histogram": {"edges": [0, 10]}}})",
       R"([{"top": 3, "ms": [1, 2]}, {"top": 5, "ms": 20}])",
       R"({"top":[5],"ms":{"edges":[0,10],"counts":[2],"below":0,"above":1}})"},
      {R"({"sum": "sum"})", R"([{"sum": 1}, {"sum": 2}])", R"({"sum":3})"},
      {R"({"top_k": {"top_k": {"k": 1}}})", R"([{"top_k": 1}, {"top_k": 2}])", R"({"top_k":[2]})"},
      {R"({"a": "sum", "b": "max"})", "[]", R"({"a":0,"b":null})"},
      {R"({"a": "sum"})", R"([{"a": {"x": "t"}}, {"a": {"x": 1, "y": 2}}])",
       R"({"a":{"y":2}} {"dropped_count":1,"dropped":["/a/x"]})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.operators);
    CHECK(reduced(row.operators, parsed(row.results)) == row.expected);
  }
}

TEST_CASE("a reduce that says nothing is refused where it goes wrong") {
  const std::string words =
      "sum, count, min, max, mean, var, concat, merge, any, all, weighted_avg, top_k or histogram";
  struct Row {
    std::string given, expected;
  };
  const Row rows[] = {
      {"7", "field_type /reduce is a number, must be an operator or an object"},
      {R"("median")", "field_value /reduce must be one operator: " + words},
      {R"("top_k")", R"(field_value /reduce needs {"top_k": {"by", "k", "mode"}})"},
      {R"("histogram")", R"(field_value /reduce needs {"histogram": {"edges"}})"},
      {"{}", "field_value /reduce has 0 fields, takes 1 to 1000"},
      {R"({"a": "median"})", "field_value /reduce/a must be one operator: " + words},
      {R"({"a": 7})", "field_type /reduce/a is a number, must be an operator or an object"},
      {R"({"a": {"b": "sum"}})", "field_value /reduce/a must be one operator: " + words},
      {R"({"a..b": "sum"})",
       "field_value /reduce/a..b must be names with dots between them, as in loss.mean"},
      {R"({"top_k": {"by": "s"}})", "field_missing /reduce/top_k/k is missing"},
      {R"({"top_k": {"k": 10001}})", "field_value /reduce/top_k/k is 10001, takes 1 to 10000"},
      {R"({"top_k": {"k": 1, "mode": "best"}})", "field_value /reduce/top_k/mode must be max or min"},
      {R"({"top_k": {"k": 1, "n": 2}})", "field_unknown /reduce/top_k/n is not a field of top_k"},
      {R"({"sum": {"x": 1}})", "field_unknown /reduce/sum/x is not a field of sum"},
      {R"({"histogram": {"edges": [1]}})",
       "field_value /reduce/histogram/edges has 1 numbers, takes 2 to 10001"},
      {R"({"histogram": {"edges": [1, 1]}})",
       "field_value /reduce/histogram/edges/1 is not above the edge before it"},
      {R"({"histogram": {"edges": [1, "2"]}})",
       "field_type /reduce/histogram/edges/1 is a string, must be a number"},
      {R"({"weighted_avg": {"weight": 3}})",
       "field_type /reduce/weighted_avg/weight is a number, must be a string"},
      {R"({"runner_command": "x"})",
       "field_type /reduce/runner_command is a string, must be an array of strings"},
      {R"({"runner_command": []})", "field_value /reduce/runner_command has 0 words, takes 1 to 1000"},
      {R"({"runner_command": ["a", 1]})",
       "field_type /reduce/runner_command/1 is a number, must be a string"},
      {R"({"runner_command": ["a"], "fan_in": 1})", "field_value /reduce/fan_in is 1, takes 2 to 10000"},
      {R"({"runner_command": ["a"], "x": 1})",
       "field_unknown /reduce/x is not a field of a reducing command"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.given);
    CHECK(refusal(read_reduce(parsed(row.given))) == row.expected);
  }
}

TEST_CASE("a command that reduces is recognised: its words, and how many results it takes at a time") {
  const ReduceRule rule = *read_reduce(parsed(R"({"runner_command": ["python3", "join.py"]})"));
  CHECK(rule.command == std::vector<std::string>{"python3", "join.py"});
  CHECK(rule.fan_in == 64);
  CHECK(rule.fields.empty());
  CHECK(read_reduce(parsed(R"({"runner_command": ["x"], "fan_in": 2})"))->fan_in == 2);
}

TEST_CASE("random results reduce alike to the bit however they are cut") {
  std::mt19937_64 random(20261128);
  for (const char* operators : {R"("sum")", R"("mean")", R"("var")", R"("weighted_avg")", R"("concat")",
                                R"("merge")", R"({"a": "var", "b": {"top_k": {"k": 3}}})"}) {
    CAPTURE(operators);
    json::Array results;
    for (int i = 0; i < 60; ++i) {
      if (random() % 5 == 0) {
        results.push_back({});
        continue;
      }
      json::Object result;
      for (const char* name : {"a", "b", "c", "d"})
        if (random() % 4 != 0) result.set(name, static_cast<double>(random()) / 7.0);
      result.set("count", random() % 10);
      results.push_back(std::move(result));
    }
    reduced(operators, json::Value(results));  // checks every cut itself
  }
}

TEST_CASE("merging many objects of the same few members takes the room of one") {
  const ReduceRule rule = *read_reduce(parsed(R"("merge")"));
  IndexTree<Reduction> tree;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const json::Value result = json::object({{"a", i}, {"b", json::array({i})}});
    tree.add(Reduction::of(rule, i, &result));
  }
  json::Object notes;
  CHECK(json::text(std::move(tree).finish().value(rule, notes)) == R"({"a":19999,"b":[19999]})");
}
