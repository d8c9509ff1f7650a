// Verdicts on packings without a market: those of the vectors, one by one and in a batch.
#include <doctest/doctest.h>
#include <simdjson.h>

#include <bit>
#include <calyx/packing.hpp>
#include <limits>
#include <vector>

#include "testing.hpp"

using namespace calyx;

TEST_CASE("packing: verdicts without a market are the vectors', and a batch gives the same bytes") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(std::string(CALYX_TEST_VECTORS) + "/packing/eval.json").get(root) == simdjson::SUCCESS);
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
