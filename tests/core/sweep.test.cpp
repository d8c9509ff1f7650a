#include <calyx/core/sweep.hpp>
#include <cmath>
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

Result<Axis> axis(std::string_view text) { return Axis::read("/parameters/x", parsed(text)); }
Result<Grid> grid(std::string_view text) { return Grid::read("/parameters", parsed(text)); }

std::string all(const Axis& axis) {
  json::Array out;
  for (std::uint64_t i = 0; i < axis.size(); ++i) out.push_back(axis.value(i));
  return json::text(json::Value(std::move(out)));
}
std::string point(const Grid& grid, std::uint64_t index) {
  return json::text(json::Value(grid.point(index)));
}

}  // namespace

TEST_CASE("a parameter is a list or a range with both ends in it") {
  struct Row {
    std::string given, expected;
  };
  const Row rows[] = {
      {R"(["a", 1, null, {"b": 2}])", R"(["a",1,null,{"b":2}])"},
      // Integers stay integers.
      {R"({"start": 1, "stop": 10, "step": 3})", "[1,4,7,10]"},
      {R"({"start": 1, "stop": 11, "step": 3})", "[1,4,7,10]"},
      {R"({"start": 5, "stop": -5, "step": -5})", "[5,0,-5]"},
      {R"({"start": 7, "stop": 7, "step": 1})", "[7]"},
      {R"({"start": 0, "stop": 100, "num": 5})", "[0,25,50,75,100]"},
      {R"({"start": 3, "stop": -3, "num": 3})", "[3,0,-3]"},
      {R"({"start": 9007199254740993, "stop": 9007199254740995, "num": 3})",
       "[9007199254740993,9007199254740994,9007199254740995]"},
      {R"({"start": 7, "stop": 9, "num": 1})", "[7]"},
      {R"({"start": -9223372036854775808, "stop": 9223372036854775807, "num": 2})",
       "[-9223372036854775808,9223372036854775807]"},
      // Others are doubles, rounded once, and end at stop itself.
      {R"({"start": 0, "stop": 1, "num": 5})", "[0,0.25,0.5,0.75,1]"},
      {R"({"start": 0, "stop": 1, "step": 0.25})", "[0,0.25,0.5,0.75,1]"},
      {R"({"start": 0.1, "stop": 0.5, "step": 0.1})", "[0.1,0.2,0.30000000000000004,0.4,0.5]"},
      {R"({"start": 0.1, "stop": 0.3, "step": 0.1})", "[0.1,0.2,0.3]"},
      {R"({"start": 0.1, "stop": 0.35, "step": 0.1})", "[0.1,0.2,0.30000000000000004]"},
      {R"({"start": 1.0, "stop": 0.0, "step": -0.5})", "[1,0.5,0]"},
      // Log scales.
      {R"({"start": 1, "stop": 1000, "num": 4, "scale": "log"})", "[1,10,100,1000]"},
      {R"({"start": 0.0001, "stop": 0.1, "num": 4, "scale": "log"})", "[0.0001,0.001,0.01,0.1]"},
      {R"({"start": 100, "stop": 1, "num": 3, "scale": "log"})", "[100,10,1]"},
      {R"({"start": 1, "stop": 100, "step": 2, "scale": "log"})", "[1,2,4,8,16,32,64]"},
      {R"({"start": 3, "stop": 3, "step": 2, "scale": "log"})", "[3]"},
      {R"({"start": 1, "stop": 0.001, "step": 0.1, "scale": "log"})", "[1,0.1,0.01,0.001]"},
      {R"({"start": 1, "stop": 2, "step": 1.5, "scale": "log"})", "[1,1.5]"},
      {R"({"start": 1, "stop": 10, "num": 2, "scale": "lin"})", "[1,10]"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.given);
    const auto read = axis(row.given);
    REQUIRE_MESSAGE(read.ok(), refusal(read));
    CHECK(all(*read) == row.expected);
  }
}

TEST_CASE("a parameter that says no values is refused where it goes wrong") {
  struct Row {
    std::string given, expected;
  };
  const Row rows[] = {
      {"5", "field_type /parameters/x is a number, must be an array or a range"},
      {"[]", "field_value /parameters/x is empty"},
      {R"({"start": 1, "stop": 2})", "field_missing /parameters/x needs step or num"},
      {R"({"start": 1, "stop": 2, "step": 1, "num": 2})",
       "field_value /parameters/x has step and num, takes one of them"},
      {R"({"stop": 2, "num": 2})", "field_missing /parameters/x/start is missing"},
      {R"({"start": "1", "stop": 2, "num": 2})",
       "field_type /parameters/x/start is a string, must be a number"},
      {R"({"start": 1, "stop": 2, "num": 2, "base": 10})",
       "field_unknown /parameters/x/base is not a field of a range"},
      {R"({"start": 1, "stop": 2, "step": 0})",
       "field_value /parameters/x/step never leads from start to stop"},
      {R"({"start": 1, "stop": 2, "step": -1})",
       "field_value /parameters/x/step never leads from start to stop"},
      {R"({"start": 1.5, "stop": 2, "step": -1})",
       "field_value /parameters/x/step never leads from start to stop"},
      {R"({"start": 1, "stop": 2, "num": 0})",
       "field_value /parameters/x/num is 0, takes 1 to 9223372036854775807"},
      {R"({"start": 2, "stop": 2, "num": 3})",
       "field_value /parameters/x/num is 3, and start is stop: takes 1"},
      {R"({"start": 1, "stop": 2, "num": 2, "scale": "exp"})",
       "field_value /parameters/x/scale must be lin or log"},
      {R"({"start": 0, "stop": 2, "num": 2, "scale": "log"})",
       "field_value /parameters/x has a log scale, so start and stop must be above 0"},
      {R"({"start": 1, "stop": 8, "step": 1, "scale": "log"})",
       "field_value /parameters/x/step never leads from start to stop"},
      {R"({"start": 1, "stop": 8, "step": 0.5, "scale": "log"})",
       "field_value /parameters/x/step never leads from start to stop"},
      {R"({"start": -9223372036854775808, "stop": 9223372036854775807, "step": 1})",
       "field_value /parameters/x has more than 2^63 - 1 values, takes at most 9223372036854775807"},
      {R"({"start": 0.0, "stop": 1.0, "step": 1e-300})",
       "field_value /parameters/x/step makes more than 9007199254740991 values"},
      {R"({"start": -1e308, "stop": 1e308, "num": 3})",
       "field_value /parameters/x start and stop are too far apart for a double"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.given);
    CHECK(refusal(axis(row.given)) == row.expected);
  }
  const json::Value huge =
      json::object({{"start", json::Value::number_token("1e400")}, {"stop", 1}, {"num", 2}});
  CHECK(refusal(Axis::read("/x", huge)) == "field_value /x/start is beyond the range of a double");
}

TEST_CASE("a value is rounded once: none carries the errors of those before it") {
  const Axis steps = *axis(R"({"start": 0.1, "stop": 1000.0, "step": 0.1})");
  CHECK(steps.size() == 10'000);
  for (const std::uint64_t i : {1U, 2U, 777U, 5'000U, 9'998U})
    CHECK(steps.value(i).real()->value == std::fma(static_cast<double>(i), 0.1, 0.1));
  CHECK(json::text(steps.value(9'999)) == "1000");
  // Of a billion steps the quotient is off by more than a billionth; the last value is there all the same.
  const Axis many = *axis(R"({"start": 0.3, "stop": 100000000.3, "step": 0.1})");
  CHECK(many.size() == 1'000'000'001);
  CHECK(many.value(1'000'000'000).real()->value == 100000000.3);
}

TEST_CASE("a grid counts like a number whose last digit moves fastest") {
  const Grid read =
      *grid(R"({"lr": [0.1, 0.2], "depth": {"start": 1, "stop": 3, "step": 1}, "act": ["relu"]})");
  CHECK(read.size() == 6);
  const std::string expected[] = {
      R"({"lr":0.1,"depth":1,"act":"relu"})", R"({"lr":0.1,"depth":2,"act":"relu"})",
      R"({"lr":0.1,"depth":3,"act":"relu"})", R"({"lr":0.2,"depth":1,"act":"relu"})",
      R"({"lr":0.2,"depth":2,"act":"relu"})", R"({"lr":0.2,"depth":3,"act":"relu"})",
  };
  for (std::uint64_t i = 0; i < 6; ++i) CHECK(point(read, i) == expected[i]);
}

TEST_CASE("digits lead back to the index, on any grid") {
  std::mt19937_64 random(20261128);
  for (int round = 0; round < 200; ++round) {
    json::Object parameters;
    const std::uint64_t axes = 1 + random() % 6;
    for (std::uint64_t i = 0; i < axes; ++i)
      parameters.set("p" + std::to_string(i),
                     json::object({{"start", 0}, {"stop", random() % 1'000}, {"step", 1 + random() % 3}}));
    const Grid read = *Grid::read("/parameters", json::Value(parameters));
    for (int i = 0; i < 50; ++i) {
      const std::uint64_t index = random() % read.size();
      CHECK(read.index(read.digits(index)) == index);
    }
    CHECK(read.index(read.digits(read.size() - 1)) == read.size() - 1);
  }
}

TEST_CASE("a grid is refused when it has no parameters, or more points than can be counted") {
  const std::string million = R"({"start": 1, "stop": 1000000, "step": 1})";
  struct Row {
    std::string given, expected;
  };
  const Row rows[] = {
      {"{}", "field_value /parameters has 0 parameters, takes 1 to 100"},
      {"[1]", "field_type /parameters is an array, must be an object"},
      {R"({"a": 7})", "field_type /parameters/a is a number, must be an array or a range"},
      {R"({"a":)" + million + R"(,"b":)" + million + R"(,"c":)" + million + "}", "none"},
      {R"({"a":)" + million + R"(,"b":)" + million + R"(,"c":)" + million + R"(,"d":)" + million + "}",
       "field_value /parameters has 1000000000000000000 times 1000000 points or more, takes at most "
       "9223372036854775807"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.given);
    CHECK(refusal(grid(row.given)) == row.expected);
  }
  json::Object many;
  for (int i = 0; i < 101; ++i) many.set(std::to_string(i), json::array({1}));
  CHECK(refusal(Grid::read("/parameters", json::Value(many))) ==
        "field_value /parameters has 101 parameters, takes 1 to 100");
}

TEST_CASE("a sample draws k distinct points, the same ones for the same seed") {
  const std::string parameters = R"({"a": {"start": 1, "stop": 50, "step": 1}, "b": [0, 1]})";
  const auto drawn = [&](std::string_view sample) {
    const json::Value given = parsed(sample);
    const Points points = *Points::read(*grid(parameters), &given);
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < points.size(); ++i) out.push_back(point_identity(points[i]));
    return out;
  };
  const auto twenty = drawn(R"({"k": 20, "seed": 1})");
  CHECK(std::set<std::string>(twenty.begin(), twenty.end()).size() == 20);
  CHECK(drawn(R"({"k": 20, "seed": 1})") == twenty);
  CHECK(drawn(R"({"k": 20, "seed": "1"})") == twenty);
  CHECK(drawn(R"({"k": 20, "seed": 2})") != twenty);
  CHECK(drawn(R"({"k": 20})") == drawn(R"({"k": 20, "seed": 0})"));
  // A larger sample begins with the smaller one, so it can be grown.
  auto more = drawn(R"({"k": 30, "seed": 1})");
  more.resize(20);
  CHECK(more == twenty);
  const auto each = drawn(R"({"k": 100, "seed": 5})");
  CHECK(std::set<std::string>(each.begin(), each.end()).size() == 100);
}

TEST_CASE("a sample takes no more than there is, and only it may have a grid beyond 2^53 - 1") {
  const auto read = [](std::string_view parameters, std::string_view sample) {
    const json::Value given = parsed(sample);
    return Points::read(*grid(parameters), given.is_null() ? nullptr : &given);
  };
  const std::string large = R"({"a": {"start": 1, "stop": 9007199254740992, "step": 1}})";
  struct Row {
    std::string parameters, sample, expected;
  };
  const Row rows[] = {
      {R"({"a": [1, 2, 3]})", R"({"k": 3})", "none"},
      {R"({"a": [1, 2, 3]})", R"({"k": 4})", "field_value /sample/k is 4, takes 1 to 3"},
      {R"({"a": [1, 2, 3]})", R"({"k": 0})", "field_value /sample/k is 0, takes 1 to 3"},
      {R"({"a": [1, 2, 3]})", R"({"seed": 4})", "field_missing /sample/k is missing"},
      {R"({"a": [1, 2, 3]})", "3", "field_type /sample is a number, must be an object"},
      {R"({"a": [1, 2, 3]})", R"({"k": 1, "n": 2})", "field_unknown /sample/n is not a field of a sample"},
      {large, "null",
       "field_value /parameters has 9007199254740992 points, takes at most 9007199254740991 without a "
       "sample"},
      {large, R"({"k": 1000})", "none"},
      {R"({"a": {"start": 1, "stop": 9007199254740991, "step": 1}})", "null", "none"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.parameters);
    CAPTURE(row.sample);
    CHECK(refusal(read(row.parameters, row.sample)) == row.expected);
  }
}

TEST_CASE("a point is known by its parameters, however they are ordered or spelled") {
  CHECK(point_identity(*parsed(R"({"b": 1.0, "a": "x"})").object()) ==
        point_identity(*parsed(R"({"a": "x", "b": 1})").object()));
  CHECK(point_identity(*parsed(R"({"b": 1, "a": "x"})").object()) == R"({"a":"x","b":1})");
}

TEST_CASE("a grid of 10^9 points is planned as one of a thousand: nothing is laid out") {
  const Grid large = *grid(R"({"a": {"start": 1, "stop": 1000, "step": 1},
                               "b": {"start": 1, "stop": 1000, "step": 1},
                               "c": {"start": 1, "stop": 1000, "step": 1}})");
  CHECK(large.size() == 1'000'000'000);
  CHECK(point(large, 999'999'999) == R"({"a":1000,"b":1000,"c":1000})");
  CHECK(point(large, 123'456'789) == R"({"a":124,"b":457,"c":790})");
}
