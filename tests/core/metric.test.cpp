#include <calyx/core/metric.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "plan_for_tests.hpp"

using namespace calyx::core;
using for_tests::parsed;
using for_tests::refusal;

TEST_CASE("a path leads through members and items") {
  const json::Value result = parsed(R"({"loss": {"mean": 0.5}, "runs": [{"ms": 7}, 8], "a.b": 1})");
  struct Row {
    std::string path;
    std::string expected;
  };
  const Row rows[] = {
      {"", R"({"loss":{"mean":0.5},"runs":[{"ms":7},8],"a.b":1})"},
      {"loss.mean", "0.5"},
      {"loss", R"({"mean":0.5})"},
      {"runs.0.ms", "7"},
      {"runs.1", "8"},
      {"runs.2", "nothing"},
      {"runs.-1", "nothing"},
      {"runs.ms", "nothing"},
      {"loss.mean.x", "nothing"},
      {"none", "nothing"},
      {"a.b", "nothing"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.path);
    const json::Value* found = Path{row.path}.find(result);
    CHECK((found == nullptr ? "nothing" : json::text(*found)) == row.expected);
  }
}

TEST_CASE("numbers order as they are written, integers beyond 2^53 and doubles alike") {
  const std::int64_t edge = std::int64_t{1} << 53;
  // From the smallest to the largest; none equal.
  const json::Value rising[] = {-1e300, INT64_MIN, -edge - 1, -edge,    -0.5,          0,         1e-300,
                                1,      1.5,       edge,      edge + 1, INT64_MAX - 1, INT64_MAX, 1e300};
  for (std::size_t i = 0; i < std::size(rising); ++i)
    for (std::size_t j = 0; j < std::size(rising); ++j) {
      CAPTURE(json::text(rising[i]));
      CAPTURE(json::text(rising[j]));
      CHECK((*number_of(rising[i]) < *number_of(rising[j])) == (i < j));
      CHECK((*number_of(rising[i]) == *number_of(rising[j])) == (i == j));
    }
  CHECK(*number_of(5) == *number_of(5.0));
  CHECK(*number_of(INT64_MAX) < *number_of(9223372036854775808.0));
}

TEST_CASE("what is no finite number is none") {
  for (const json::Value& value :
       {json::Value(), json::Value(true), json::Value("7"), json::array({7}), json::object({}),
        json::Value(std::numeric_limits<double>::quiet_NaN()), json::Value::number_token("1e400")})
    CHECK_FALSE(number_of(value));
}

TEST_CASE("rank_by is a metric whose largest is best, or says more") {
  struct Row {
    std::string given;
    Ranks ranks;
    std::string expected;  // metric, mode, statistic, limit; or the refusal
  };
  const Row rows[] = {
      {R"("score")", Ranks::points, "score max mean 1000"},
      {R"({"metric": "loss.mean", "mode": "min"})", Ranks::points, "loss.mean min mean 1000"},
      {R"({"metric": "a", "limit": 5})", Ranks::points, "a max mean 5"},
      {R"({"metric": "a", "statistic": "median"})", Ranks::candidates, "a max median 1000"},
      {R"({"metric": "a", "mode": null})", Ranks::points, "a max mean 1000"},
      {"7", Ranks::points, "field_type /rank_by is a number, must be a string or an object"},
      {R"("")", Ranks::points, "field_value /rank_by must be names with dots between them, as in loss.mean"},
      {R"("a..b")", Ranks::points,
       "field_value /rank_by must be names with dots between them, as in loss.mean"},
      {R"({"mode": "min"})", Ranks::points, "field_missing /rank_by/metric is missing"},
      {R"({"metric": "a", "mode": "most"})", Ranks::points, "field_value /rank_by/mode must be max or min"},
      {R"({"metric": "a", "limit": 10001})", Ranks::points,
       "field_value /rank_by/limit is 10001, takes 1 to 10000"},
      {R"({"metric": "a", "limit": 5})", Ranks::candidates,
       "field_unknown /rank_by/limit is not a field of rank_by"},
      {R"({"metric": "a", "statistic": "mean"})", Ranks::points,
       "field_unknown /rank_by/statistic is not a field of rank_by"},
      {R"({"metric": "a", "statistic": "mode"})", Ranks::candidates,
       "field_value /rank_by/statistic must be mean, median, min or max"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.given);
    const auto read = read_rank_by(parsed(row.given), row.ranks);
    std::string said = refusal(read);
    if (read.ok())
      said = read->metric.text + " " + std::string(mode_words[static_cast<std::size_t>(read->mode)]) + " " +
             std::string(statistic_words[static_cast<std::size_t>(read->statistic)]) + " " +
             std::to_string(read->limit);
    CHECK(said == row.expected);
  }
}

TEST_CASE("the best few are kept: ties to the smaller index, those without a number last") {
  const auto indices = [](std::uint64_t limit, Mode mode) {
    Best best(limit, mode);
    const std::optional<Number> numbers[] = {Number{3}, std::nullopt, Number{9},
                                             Number{3}, Number{1},    std::nullopt};
    for (std::uint64_t i = 0; i < std::size(numbers); ++i) {
      const bool takes = best.takes(numbers[i], i);
      const std::size_t before = best.size();
      best.add({numbers[i], i, {}});
      if (!takes) CHECK(best.size() == before);
    }
    std::string out;
    for (const Best::Entry& entry : std::move(best).sorted()) out += std::to_string(entry.index);
    return out;
  };
  CHECK(indices(6, Mode::max) == "203415");
  CHECK(indices(6, Mode::min) == "403215");
  CHECK(indices(3, Mode::max) == "203");
  CHECK(indices(2, Mode::min) == "40");
  CHECK(indices(5, Mode::max) == "20341");
  CHECK(indices(0, Mode::max).empty());
}
