// Verdicts on packings without a market: those of the vectors, one by one and in a batch.
#include <doctest/doctest.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <calyx/packing.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "testing.hpp"

using namespace calyx;

TEST_CASE("packing: verdicts without a market are the vectors', and a batch gives the same bytes") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::vectors + "/packing/eval.json").get(root) == simdjson::SUCCESS);
  std::vector<double> all;
  std::vector<packing::Verdict> single;
  for (const auto entry : simdjson::dom::array(root["candidates"])) {
    std::vector<double> numbers;
    for (const auto number : simdjson::dom::array(entry["candidate"])) numbers.push_back(double(number));
    const packing::Verdict verdict = packing::evaluate(numbers).value();
    CHECK(verdict.valid == bool(entry["raw"]["exact_valid"]));
    simdjson::dom::array circle;  // where two methods agree to all digits, only one is listed
    if (entry["raw"]["mec_exact"].get(circle) != simdjson::SUCCESS)
      REQUIRE(entry["raw"]["mec"].get(circle) == simdjson::SUCCESS);
    CHECK(verdict.score == doctest::Approx(double(circle.at(2))).epsilon(1e-9));
    CHECK(verdict.overlap_max == doctest::Approx(double(entry["raw"]["exact_overlap_max"])).epsilon(1e-9));
    CHECK((verdict.overlapping_pairs == 0) == (verdict.overlap_max <= 1e-6));
    single.push_back(verdict);
    all.insert(all.end(), numbers.begin(), numbers.end());
  }
  REQUIRE(single.size() > 50);
  std::vector<packing::Verdict> batch(single.size());
  REQUIRE(packing::evaluate_batch(all, batch, packing::Device::cpu).ok());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(std::bit_cast<std::uint64_t>(batch[i].score) == std::bit_cast<std::uint64_t>(single[i].score));
    CHECK(std::bit_cast<std::uint64_t>(batch[i].overlap_total) ==
          std::bit_cast<std::uint64_t>(single[i].overlap_total));
    CHECK(batch[i].valid == single[i].valid);
  }
}

TEST_CASE("packing: polygons judge as the scorer does, one by one and in a batch") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::vectors + "/packing/eval.json").get(root) == simdjson::SUCCESS);
  std::size_t seen = 0;
  for (const auto entry : simdjson::dom::array(root["candidates"])) {
    if (testing::test_scale() == testing::Scale::small && ++seen > 12) break;
    const std::string_view name(entry["name"]);
    CAPTURE(name);
    std::vector<double> numbers;
    for (const auto number : simdjson::dom::array(entry["candidate"])) numbers.push_back(double(number));
    double largest = 1.0;
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (i % 3 != 2) largest = std::max(largest, std::fabs(numbers[i]));
    const auto told = entry["raw"];
    const packing::Verdict verdict = packing::evaluate(numbers, packing::Areas::polygon).value();
    CHECK(verdict.valid == bool(told["valid"]));
    CHECK(verdict.overlapping_pairs == simdjson::dom::array(told["overlapping_pairs"]).size());
    // The scorer's corners are rounded where the pieces lie, which tells far from the origin.
    const double slack = 1e-13 + 1e-15 * largest;
    CHECK(std::fabs(verdict.overlap_max - double(told["overlap_max"])) <= slack);
    CHECK(std::fabs(verdict.overlap_total - double(told["overlap_total"])) <= 105 * slack);
    std::vector<packing::Verdict> batch(1);
    REQUIRE(
        packing::evaluate_batch(numbers, batch, packing::Device::automatic, packing::Areas::polygon).ok());
    CHECK(std::bit_cast<std::uint64_t>(batch[0].overlap_total) ==
          std::bit_cast<std::uint64_t>(verdict.overlap_total));
    CHECK(packing::evaluate_batch(numbers, batch, packing::Device::cuda, packing::Areas::polygon).reason() ==
          Reason::unsupported);
  }
}

namespace {

/// A search that takes some milliseconds.
packing::SearchOptions short_search(packing::Method method) {
  return {.method = method, .seed = 5, .max_evaluations = 6'000, .population_size = 30};
}
constexpr packing::Method methods[] = {packing::Method::feasible_optimize, packing::Method::basin_hopping,
                                       packing::Method::differential_evolution};

bool same(const packing::SearchResult& a, const packing::SearchResult& b) {
  return a.end == b.end && a.evaluations == b.evaluations && a.iterations == b.iterations &&
         std::bit_cast<std::uint64_t>(a.score) == std::bit_cast<std::uint64_t>(b.score) &&
         std::bit_cast<std::uint64_t>(a.objective) == std::bit_cast<std::uint64_t>(b.objective) &&
         a.candidate == b.candidate && a.chain == b.chain;
}

}  // namespace

TEST_CASE("packing: a search without a market finds something valid, and from each checkpoint the same") {
  for (const packing::Method method : methods) {
    CAPTURE(static_cast<int>(method));
    const packing::SearchOptions options = short_search(method);
    std::vector<std::string> kept;
    const packing::SearchCalls calls{.checkpoint = [&](std::string_view bytes) { kept.emplace_back(bytes); },
                                     .checkpoint_every = 1'000};
    const packing::SearchResult whole = packing::search(options, {}, calls).value();
    CHECK(whole.end == packing::SearchEnd::budget);
    CHECK(whole.evaluations == 6'000);
    CHECK(whole.checkpoint.empty());
    const packing::Verdict verdict = packing::evaluate(whole.candidate).value();
    CHECK(verdict.valid);
    CHECK(verdict.score == whole.score);
    REQUIRE(kept.size() >= 2);
    for (const std::string& checkpoint : kept)
      CHECK(same(packing::search(options, {}, {}, checkpoint).value(), whole));
    // Another search, or half of a checkpoint, is refused.
    packing::SearchOptions other = options;
    other.seed = 6;
    for (const Result<packing::SearchResult>& refused :
         {packing::search(other, {}, {}, kept[0]), packing::search(options, whole.candidate, {}, kept[0]),
          packing::search(options, {}, {}, kept[0].substr(0, 100))}) {
      REQUIRE_FALSE(refused.ok());
      CHECK(*refused.error().details.find("field")->string() == "/checkpoint");
    }
  }
}

TEST_CASE("packing: a search that is stopped says where it was, and goes on from there") {
  for (const packing::Method method : methods) {
    CAPTURE(static_cast<int>(method));
    packing::SearchOptions options = short_search(method);
    options.max_evaluations = 30'000;
    std::uint64_t told = 0;
    double last = 0;
    std::string kept;
    const packing::SearchResult part =
        packing::search(options, {},
                        {.stopped = [&] { return told > 1; },
                         .progress =
                             [&](const packing::SearchProgress& progress) {
                               ++told;
                               last = progress.objective;
                               CHECK(progress.candidate.size() == 45);
                             },
                         .checkpoint = [&](std::string_view bytes) { kept = bytes; }})
            .value();
    CHECK(part.end == packing::SearchEnd::stopped);
    CHECK(told == 2);
    CHECK(part.objective >= last);
    CHECK(part.checkpoint == kept);
    CHECK(part.evaluations > 8'192);
    CHECK(same(packing::search(options, {}, {}, part.checkpoint).value(), packing::search(options).value()));
  }
}

TEST_CASE("packing: chains are searches with seeds in a row, and the best of them is the result") {
  for (const packing::Method method : methods) {
    CAPTURE(static_cast<int>(method));
    packing::SearchOptions options = short_search(method);
    options.seed = std::numeric_limits<std::uint64_t>::max() - 1;  // the seeds go on at 0
    constexpr std::uint32_t chains = 5;
    packing::SearchResult best;
    std::uint64_t evaluations = 0;
    std::uint64_t iterations = 0;
    for (std::uint32_t i = 0; i < chains; ++i, ++options.seed) {
      packing::SearchResult one = packing::search(options).value();
      evaluations += one.evaluations;
      iterations += one.iterations;
      one.chain = i;
      if (i == 0 || one.score < best.score) best = std::move(one);
    }
    best.evaluations = evaluations;
    best.iterations = iterations;

    options = short_search(method);
    options.seed = std::numeric_limits<std::uint64_t>::max() - 1;
    options.chains = chains;
    for (const unsigned threads : {1U, 2U, 7U}) {
      CAPTURE(threads);
      options.threads = threads;
      std::uint64_t told = 0;
      const packing::SearchResult together =
          packing::search(options, {},
                          {.progress =
                               [&](const packing::SearchProgress& progress) {
                                 CHECK(progress.evaluations > told);
                                 CHECK(progress.score >= best.score);
                                 told = progress.evaluations;
                               }})
              .value();
      CHECK(same(together, best));
      CHECK(told + 8'192 > evaluations);
    }
  }
}

TEST_CASE("packing: many chains are heard of as often as one") {
  packing::SearchOptions options{.method = packing::Method::basin_hopping, .max_iters = 1'000'000'000};
  options.chains = 400;
  std::uint64_t told = 0;
  std::uint64_t kept = 0;
  const packing::SearchResult part =
      packing::search(options, {},
                      {.stopped = [&] { return told > 1; },
                       .progress = [&](const packing::SearchProgress& /*progress*/) { ++told; },
                       .checkpoint = [&](std::string_view /*bytes*/) { ++kept; }})
          .value();
  CHECK(part.end == packing::SearchEnd::stopped);
  CHECK(part.evaluations < 200'000);
  CHECK(kept == 1);
}

TEST_CASE("packing: chains that are stopped go on from where each of them was") {
  for (const packing::Method method : methods) {
    CAPTURE(static_cast<int>(method));
    packing::SearchOptions options = short_search(method);
    options.chains = 3;
    options.threads = 2;
    options.max_evaluations = 40'000;
    const packing::SearchResult whole = packing::search(options).value();
    std::string kept;
    std::uint64_t stops = 0;
    for (;; ++stops) {
      std::uint64_t asked = 0;
      const packing::SearchResult part =
          packing::search(options, {}, {.stopped = [&] { return ++asked > 600; }}, kept).value();
      if (part.end != packing::SearchEnd::stopped) {
        CHECK(same(part, whole));
        break;
      }
      REQUIRE(part.checkpoint != kept);
      kept = part.checkpoint;
    }
    CHECK(stops >= 2);
    const auto refused = [&](const packing::SearchOptions& of, const std::string& checkpoint) {
      return packing::search(of, {}, {}, checkpoint).reason() == Reason::field_value;
    };
    CHECK(refused(options, kept + "x"));
    CHECK(refused(options, kept.substr(0, kept.size() - 1)));
    CHECK(refused(options, kept.substr(0, 5)));
    CHECK(refused(options, std::string(24, '\xff')));
    packing::SearchOptions other = options;
    other.chains = 4;
    CHECK(refused(other, kept));
    other.chains = 1;
    CHECK(refused(other, kept));
  }
}

TEST_CASE("packing: an option beyond its limits is refused by its name") {
  const auto field = [](const packing::SearchOptions& options, std::span<const double> start = {}) {
    const Result<packing::SearchResult> refused = packing::search(options, start);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.reason() == Reason::field_value);
    return *refused.error().details.find("field")->string();
  };
  CHECK(field({.pieces = 0}) == "/pieces");
  CHECK(field({.pieces = 33}) == "/pieces");
  CHECK(field({.penalty = 0.5}) == "/penalty");
  CHECK(field({.max_iters = 1'000'000'001}) == "/max_iters");
  CHECK(field({.max_evaluations = 1'000'000'000'001}) == "/max_evaluations");
  CHECK(field({.n_restarts = 0}) == "/n_restarts");
  CHECK(field({.hop_scale = 0}) == "/hop_scale");
  CHECK(field({.temperature = -1}) == "/temperature");
  CHECK(field({.population_size = 4}) == "/population_size");
  CHECK(field({.chains = 0}) == "/chains");
  CHECK(field({.chains = 4'097}) == "/chains");
  CHECK(field({.threads = 0}) == "/threads");
  CHECK(field({.threads = 1'025}) == "/threads");
  // 10,000 individuals of 32 pieces take 7.4 MiB.
  CHECK(field({.method = packing::Method::differential_evolution,
               .pieces = 32,
               .population_size = 10'000,
               .chains = 139}) == "/chains");
  std::vector<double> start(45);
  CHECK(field({}, std::span(start).first(44)) == "/start");
  start[7] = std::numeric_limits<double>::infinity();
  CHECK(field({}, start) == "/start");
  CHECK(packing::search({.pieces = 32, .max_evaluations = 1}).value().evaluations == 1);
}

TEST_CASE("packing: a candidate that is none is refused, and a batch with one writes nothing") {
  std::vector<double> numbers(packing::candidate_numbers);
  for (std::size_t i = 0; i < numbers.size(); i += 3) numbers[i] = static_cast<double>(i);
  CHECK(packing::evaluate(std::span(numbers).first(44)).reason() == Reason::field_value);
  CHECK(packing::evaluate({}).error().message.find("has 0 numbers, needs 45") == 0);
  std::vector<double> two = numbers;
  two.insert(two.end(), numbers.begin(), numbers.end());
  std::vector<packing::Verdict> out(2);
  CHECK(packing::evaluate_batch(std::span(two).first(89), out).reason() == Reason::field_value);
  CHECK(packing::evaluate_batch(two, std::span(out).first(1)).reason() == Reason::field_value);
  two[50] = std::numeric_limits<double>::quiet_NaN();
  CHECK(packing::evaluate(std::span(two).last(45)).reason() == Reason::field_value);
  const Result<Done> refused = packing::evaluate_batch(two, out);
  CHECK(refused.reason() == Reason::field_value);
  CHECK(*refused.error().details.find("index")->integer() == 1);
  CHECK(out[0].score == 0.0);
  CHECK(packing::evaluate_batch({}, {}).ok());
}
