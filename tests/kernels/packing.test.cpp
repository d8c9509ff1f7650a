#include "calyx_kernels/packing.hpp"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/packing_sample.hpp"
#include "testing.hpp"

namespace {

namespace kernels = calyx::kernels;
namespace packing = calyx::kernels::packing;
using kernels::Code;
using packing::Piece;
using packing::Vector;
using packing::Verdict;
using simdjson::dom::element;

std::string vectors(const char* name) { return calyx::testing::vectors + "/packing/" + name; }

/// Reads a candidate as a JSON layer would. False when it is malformed: no array of numbers. The vectors
/// spell what JSON cannot as "nan", "inf" and "-inf".
bool read_candidate(element json, std::vector<double>& out) {
  simdjson::dom::array items;
  if (json.get(items) != simdjson::SUCCESS) return false;
  for (const element item : items) {
    double number = 0.0;
    std::string_view text;
    if (item.get(number) == simdjson::SUCCESS) {
      out.push_back(number);
    } else if (item.get(text) == simdjson::SUCCESS && (text == "nan" || text == "inf" || text == "-inf")) {
      const double infinity = std::numeric_limits<double>::infinity();
      out.push_back(text == "nan" ? std::numeric_limits<double>::quiet_NaN()
                                  : (text == "inf" ? infinity : -infinity));
    } else {
      return false;
    }
  }
  return true;
}

double number(element json) { return json.get_double().value(); }

Verdict judge(const double* candidate) {
  Verdict verdict{};
  REQUIRE(kernels::cpu_backend().packing_eval(candidate, 1, &verdict) == Code::ok);
  return verdict;
}

/// The pairs that a list in the vectors names.
std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs_of(element list) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (const element pair : list.get_array())
    pairs.emplace_back(static_cast<std::uint32_t>(pair.at(0).get_uint64().value()),
                       static_cast<std::uint32_t>(pair.at(1).get_uint64().value()));
  return pairs;
}

/// Compares `verdict` with what the vectors expect of the candidate `entry`, within their stated tolerances.
void check_verdict(const Verdict& verdict, element entry, element expected) {
  double score_tolerance = 1e-9;
  const bool far_out = entry["score_tolerance"].get(score_tolerance) == simdjson::SUCCESS;
  CHECK((verdict.valid == 1) == expected["exact_valid"].get_bool().value());
  CHECK(verdict.contained == 1);

  double score = 0.0;
  if (expected["score"].get(score) == simdjson::SUCCESS)
    CHECK(std::fabs(verdict.circle.radius - score) <= score_tolerance);
  element circle;
  bool has_circle = expected["mec_exact"].get(circle) == simdjson::SUCCESS;
  if (!has_circle) has_circle = !far_out && expected["mec"].get(circle) == simdjson::SUCCESS;
  REQUIRE(has_circle);
  CHECK(std::fabs(verdict.circle.centre.x - number(circle.at(0))) <= 1e-6);
  CHECK(std::fabs(verdict.circle.centre.y - number(circle.at(1))) <= 1e-6);
  CHECK(std::fabs(verdict.circle.radius - number(circle.at(2))) <= 1e-9);

  CHECK(std::fabs(verdict.overlap_max - number(expected["exact_overlap_max"])) <= 1e-11);
  CHECK(std::fabs(verdict.overlap_total - number(expected["exact_overlap_total"])) <= 1e-11);
  CHECK(std::fabs(verdict.overlap_max - number(expected["overlap_max"])) <= 2.1e-7);
  CHECK(std::fabs(verdict.overlap_total - number(expected["overlap_total"])) <= 3e-5);

  // The reference decides by polygons; where a pair lies within 1e-8 of the threshold the exact area may say
  // otherwise.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> doubtful;
  element list;
  if (expected["exact_pairs_within_1e-8_of_threshold"].get(list) == simdjson::SUCCESS) {
    for (const element item : list.get_array()) {
      const auto i = static_cast<std::uint32_t>(item.at(0).get_uint64().value());
      const auto j = static_cast<std::uint32_t>(item.at(1).get_uint64().value());
      doubtful.emplace_back(i, j);
      CHECK(packing::overlaps(verdict, i, j) == (number(item.at(2)) > packing::overlap_area_max));
    }
  }
  const auto named = pairs_of(expected["overlapping_pairs"].value());
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < packing::pieces; ++i) {
    for (std::uint32_t j = i + 1; j < packing::pieces; ++j) {
      count += packing::overlaps(verdict, i, j) ? 1U : 0U;
      const auto is_it = [&](const auto& pair) { return pair.first == i && pair.second == j; };
      bool in_doubt = false;
      for (const auto& pair : doubtful) in_doubt = in_doubt || is_it(pair);
      if (in_doubt) continue;
      bool in_reference = false;
      for (const auto& pair : named) in_reference = in_reference || is_it(pair);
      CHECK(packing::overlaps(verdict, i, j) == in_reference);
    }
  }
  CHECK(count == verdict.overlapping_count);
}

/// Checks every candidate of a file, as given and rounded; returns how many there are.
std::size_t check_file(const std::string& path) {
  simdjson::dom::parser parser;
  const element file = parser.load(path).value();
  std::size_t count = 0;
  for (const element entry : file["candidates"].get_array()) {
    CAPTURE(std::string(entry["name"].get_string().value()));
    std::vector<double> candidate;
    REQUIRE(read_candidate(entry["candidate"].value(), candidate));
    REQUIRE(packing::check_candidate(candidate.data(), candidate.size()) == Code::ok);
    double rounded[packing::candidate_numbers];
    packing::round_candidate(candidate.data(), rounded);
    const element raw = entry["raw"].value();
    const element after = entry["rounded"].value();
    check_verdict(judge(candidate.data()), entry, raw);
    check_verdict(judge(rounded), entry, after.is_string() ? raw : after);
    if (after.is_string())
      CHECK(std::memcmp(rounded, candidate.data(), sizeof rounded) == 0);
    else
      CHECK(std::memcmp(rounded, candidate.data(), sizeof rounded) != 0);
    ++count;
  }
  return count;
}

/// FNV-1a over bytes: enough to tell that a bit moved.
std::uint64_t hash(std::uint64_t state, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < size; ++i) state = (state ^ bytes[i]) * 0x100000001b3ULL;
  return state;
}

/// All candidates of the committed vectors, each as given and then rounded, one after the other.
std::vector<double> all_candidates() {
  simdjson::dom::parser parser;
  const element file = parser.load(vectors("eval.json")).value();
  std::vector<double> all;
  for (const element entry : file["candidates"].get_array()) {
    std::vector<double> candidate;
    REQUIRE(read_candidate(entry["candidate"].value(), candidate));
    double rounded[packing::candidate_numbers];
    packing::round_candidate(candidate.data(), rounded);
    all.insert(all.end(), candidate.begin(), candidate.end());
    all.insert(all.end(), rounded, rounded + packing::candidate_numbers);
  }
  return all;
}

}  // namespace

TEST_CASE("the verdict agrees with the challenge's scorer, as given and rounded") {
  CHECK(check_file(vectors("eval.json")) == 53);
}

TEST_CASE("the verdict agrees on the best packings that others published") {
  const char* extra = std::getenv("CALYX_EXTRA_VECTORS");
  if (extra == nullptr || *extra == '\0') {
    calyx::testing::skipped("packing best-known candidates", "CALYX_EXTRA_VECTORS is not set");
    return;
  }
  CHECK(check_file(std::string(extra) + "/packing/eval.json") == 78);
}

TEST_CASE("what two pieces share is exact, whichever of them comes first") {
  simdjson::dom::parser parser;
  const element file = parser.load(vectors("pair_area.json")).value();
  std::size_t count = 0;
  for (const element entry : file["pairs"].get_array()) {
    const std::string kind(entry["kind"].get_string().value());
    CAPTURE(kind);
    CAPTURE(count);
    const auto piece = [&](const char* key) {
      return packing::piece_at(number(entry[key].at(0)), number(entry[key].at(1)), number(entry[key].at(2)));
    };
    const Piece a = piece("a");
    const Piece b = piece("b");
    const double exact = number(entry["exact"]);
    const double area = packing::overlap_area(a, b);
    CHECK(std::fabs(area - exact) <= (kind == "big_offset" ? 1e-9 : 1e-12));
    CHECK(std::fabs(packing::overlap_area(b, a) - exact) <= (kind == "big_offset" ? 1e-9 : 1e-12));
    CHECK(std::fabs(area - number(entry["polygon"])) <= 2.1e-7);
    ++count;
  }
  CHECK(count == 300);
}

TEST_CASE("the four ways to pair the halves of two disks add up to the lens of the disks") {
  // The lens has a formula of its own. Touching, nested, parallel and nearly concentric halves are what goes
  // wrong in such code, so most rounds draw one of those, off by an amount from 1e-5 down to below a
  // rounding.
  const auto flipped = [](Piece piece) {
    piece.facing = {-piece.facing.x, -piece.facing.y};
    return piece;
  };
  calyx::testing::Dice dice(5);
  double worst_sum = 0.0;
  double worst_order = 0.0;
  for (int round = 0; round < 60000; ++round) {
    const double off = std::pow(10.0, -dice.uniform(5.0, 17.0)) * (dice.next() % 2 == 0 ? 1.0 : -1.0);
    double a_angle = dice.uniform(-4.0, 4.0);
    double b_angle = dice.uniform(-4.0, 4.0);
    double way = dice.uniform(-4.0, 4.0);
    double distance = dice.uniform(0.0, 2.05);
    const auto quarters = [&] { return kernels::math::half_pi * static_cast<double>(dice.next() % 4); };
    switch (round % 8) {
      case 1: distance = 2.0 + off; break;                 // arcs touch
      case 2: distance = std::fabs(off); break;            // one disk, nearly
      case 3: b_angle = a_angle + off; break;              // parallel
      case 4: way = b_angle, distance = 1.0 + off; break;  // an arc touches a flat side
      case 5: way = a_angle + kernels::math::half_pi, distance = 2.0 + off; break;  // a corner touches an arc
      case 6:
        way = a_angle + kernels::math::half_pi, b_angle = a_angle + off;
        break;  // flat sides on one line
      case 7:
        a_angle = 0.0, b_angle = quarters(), way = quarters();
        distance = 0.5 * static_cast<double>(dice.next() % 5) + (dice.next() % 2 == 0 ? off : 0.0);
        break;
      default: break;
    }
    const Piece a = packing::piece_at(0.0, 0.0, a_angle);
    const kernels::math::Unit to = kernels::math::direction(way);
    const Piece b = packing::piece_at(distance * to.x, distance * to.y, b_angle);
    const Piece halves_of_a[] = {a, flipped(a)};
    const Piece halves_of_b[] = {b, flipped(b)};
    double sum = 0.0;
    for (const Piece& p : halves_of_a) {
      for (const Piece& q : halves_of_b) {
        const double area = packing::overlap_area(p, q);
        sum += area;
        worst_order = std::fmax(worst_order, std::fabs(area - packing::overlap_area(q, p)));
      }
    }
    const double real = std::hypot(b.centre.x, b.centre.y);
    const double lens =
        real >= 2.0 ? 0.0 : 2.0 * std::acos(0.5 * real) - 0.5 * real * std::sqrt((2.0 - real) * (2.0 + real));
    worst_sum = std::fmax(worst_sum, std::fabs(sum - lens));
  }
  CHECK(worst_sum <= 1e-14);
  CHECK(worst_order <= 4e-15);
}

TEST_CASE("no circle of all that touch two or three pieces is smaller than the smallest") {
  // The answer touches two or three of each piece's arc and corners; here every such circle is tried.
  calyx::testing::Dice dice(6);
  for (int round = 0; round < 24; ++round) {
    CAPTURE(round);
    const double scales[] = {3.0, 1.0, 10.0, 0.01, 1e-6, 100.0};
    const double scale = scales[round % 6];
    Piece piece[packing::pieces];
    for (std::uint32_t i = 0; i < packing::pieces; ++i) {
      const double y = round % 4 == 1 ? 0.0 : dice.uniform(-scale, scale);
      piece[i] = packing::piece_at(dice.uniform(-scale, scale), y, dice.uniform(-4.0, 4.0));
    }
    // Many alike: a support then has several equals to choose from.
    if (round % 5 == 2)
      for (std::uint32_t i = 3; i < packing::pieces; ++i) piece[i] = piece[i % 3];

    packing::Touch touch[3 * packing::pieces];
    for (std::uint32_t i = 0; i < packing::pieces; ++i) {
      const Vector side = packing::left_of(piece[i].facing);
      touch[3 * i] = {piece[i].centre, piece[i].centre, 1.0, i};
      touch[3 * i + 1] = {piece[i].centre + side, piece[i].centre + side, 0.0, i};
      touch[3 * i + 2] = {piece[i].centre - side, piece[i].centre - side, 0.0, i};
    }
    double best = std::numeric_limits<double>::infinity();
    const auto consider = [&](const Vector* centre, std::uint32_t count) {
      for (std::uint32_t n = 0; n < count; ++n)
        best = std::fmin(best, packing::distance_to(packing::furthest_of_all(piece, centre[n]), centre[n]));
    };
    for (std::uint32_t i = 0; i < 3 * packing::pieces; ++i) {
      for (std::uint32_t j = i + 1; j < 3 * packing::pieces; ++j) {
        Vector centre[2];
        consider(centre, packing::centre_touching(touch[i], touch[j], centre));
        for (std::uint32_t k = j + 1; k < 3 * packing::pieces; ++k)
          consider(centre, packing::centres_touching(touch[i], touch[j], touch[k], centre));
      }
    }
    const packing::Circle circle = packing::enclosing_circle(piece);
    CHECK(circle.radius <= best + 1e-13 * best);
    // The radius is not only small: the boundary, sampled, lies inside.
    for (std::uint32_t i = 0; i < packing::pieces; ++i) {
      for (int step = 0; step <= 32; ++step) {
        const kernels::math::Unit at = kernels::math::direction((step / 32.0 - 0.5) * kernels::math::pi);
        const Vector point =
            piece[i].centre + (at.x * piece[i].facing + at.y * packing::left_of(piece[i].facing));
        CHECK(packing::length(point - circle.centre) <= circle.radius + 1e-13 * best);
      }
    }
  }
}

TEST_CASE("a candidate that cannot be judged is refused by its class") {
  simdjson::dom::parser parser;
  const element file = parser.load(vectors("eval.json")).value();
  std::size_t count = 0;
  for (const element entry : file["error_cases"].get_array()) {
    CAPTURE(std::string(entry["name"].get_string().value()));
    const std::string expected(entry["error_class"].get_string().value());
    std::vector<double> candidate;
    // The kernels know no JSON: `malformed` is what the layer that reads it says.
    std::string got = "malformed";
    if (read_candidate(entry["candidate"].value(), candidate)) {
      const Code code = packing::check_candidate(candidate.data(), candidate.size());
      got = code == Code::wrong_length ? "wrong_length"
                                       : (code == Code::not_finite ? "not_finite" : "accepted");
    }
    CHECK(got == expected);
    ++count;
  }
  CHECK(count == 12);
}

TEST_CASE("a refusal names the first thing wrong, and the limit itself is taken") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double past = std::nextafter(packing::coordinate_max, infinity);
  struct Row {
    const char* says;
    std::size_t at;
    double number;
    std::size_t count;
    Code expected;
  };
  const Row rows[] = {
      {"as it is", 0, 0.0, 45, Code::ok},
      {"one number short", 0, infinity, 44, Code::wrong_length},
      {"the limit", 1, -packing::coordinate_max, 45, Code::ok},
      {"one past the limit", 0, past, 45, Code::out_of_range},
      {"one past the limit, below", 43, -past, 45, Code::out_of_range},
      {"an angle has no limit", 44, 1e300, 45, Code::ok},
      {"but must be a number", 44, -infinity, 45, Code::not_finite},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    double candidate[packing::candidate_numbers];
    std::memcpy(candidate, packing::sample_candidate, sizeof candidate);
    candidate[row.at] = row.number;
    CHECK(packing::check_candidate(candidate, row.count) == row.expected);
    if (row.expected != Code::ok || row.count != packing::candidate_numbers) continue;
    const Verdict verdict = judge(candidate);
    CHECK(std::isfinite(verdict.circle.radius));
    CHECK(std::isfinite(verdict.overlap_total));
    CHECK(verdict.contained == 1);
  }
  CHECK(packing::check_candidate(nullptr, 0) == Code::wrong_length);
}

TEST_CASE("one bad candidate in a batch leaves every verdict unwritten") {
  double candidates[2 * packing::candidate_numbers];
  std::memcpy(candidates, packing::sample_candidate, sizeof packing::sample_candidate);
  std::memcpy(candidates + packing::candidate_numbers, packing::sample_candidate,
              sizeof packing::sample_candidate);
  candidates[packing::candidate_numbers + 7] = std::numeric_limits<double>::quiet_NaN();
  Verdict verdicts[2];
  std::memset(static_cast<void*>(verdicts), 0x5a, sizeof verdicts);
  Verdict untouched[2];
  std::memcpy(static_cast<void*>(untouched), verdicts, sizeof verdicts);
  CHECK(kernels::cpu_backend().packing_eval(candidates, 2, verdicts) == Code::not_finite);
  CHECK(std::memcmp(verdicts, untouched, sizeof verdicts) == 0);
  CHECK(kernels::cpu_backend().packing_eval(nullptr, 0, nullptr) == Code::ok);
}

TEST_CASE("six decimals are rounded as the decimal says, ties to even") {
  struct Row {
    double number;
    double expected;
  };
  const Row rows[] = {
      {0.0, 0.0},
      {1e-9, 0.0},
      {5e-7, 0.0},  // the double lies just below the tie
      {4.9999999e-7, 0.0},
      {5.0000001e-7, 1e-6},
      {0.0078125, 0.007812},  // 1/128 is a tie: to the even 7812
      {0.0234375, 0.023438},  // 3/128 is a tie: to the even 23438
      {1.0000005, 1.000001},  // the double lies above the tie
      {1.0000015, 1.000001},  // the double lies below the tie
      {0.1 + 0.2, 0.3},
      {2.675, 2.675},
      {3.141592653589793, 3.141593},
      {123456.7890125, 123456.789012},
      {999999999.9999995, 1e9},
      {4294967297.123457, 4294967297.123457},
      {5345593839.8781395, 5345593839.878139},  // the neighbouring double is nearer to the decimal
      {1e15, 1e15},
      {1e300, 1e300},
      {5e-324, 0.0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.number);
    CHECK(packing::round6(row.number) == row.expected);
    CHECK(packing::round6(-row.number) == -row.expected);
    CHECK(packing::round6(packing::round6(row.number)) == packing::round6(row.number));
  }
  CHECK(!std::signbit(packing::round6(-1e-9)));
  CHECK(!std::signbit(packing::round6(-0.0)));
}

TEST_CASE("rounding agrees with the C library's decimal printing") {
  calyx::testing::Dice dice(7);
  for (int i = 0; i < 20000; ++i) {
    double number = dice.uniform(-1.0, 1.0) * std::pow(10.0, dice.uniform(-8.0, 10.2));
    // Every third is an exact tie: an odd multiple of 1 / 128.
    if (i % 3 == 0) number = (2.0 * std::floor(dice.uniform(-1e6, 1e6)) + 1.0) / 128.0;
    char text[64];
    std::snprintf(text, sizeof text, "%.6f", number);
    CAPTURE(text);
    CHECK(packing::round6(number) == std::strtod(text, nullptr));
  }
}

TEST_CASE("the same candidate has the same verdict wherever it stands in a batch") {
  const std::vector<double> all = all_candidates();
  const std::size_t count = all.size() / packing::candidate_numbers;
  REQUIRE(count == 106);
  std::vector<Verdict> together(count);
  REQUIRE(kernels::cpu_backend().packing_eval(all.data(), count, together.data()) == Code::ok);
  for (std::size_t i = 0; i < count; ++i) {
    CAPTURE(i);
    for (int again = 0; again < 3; ++again) {
      const Verdict alone = judge(all.data() + i * packing::candidate_numbers);
      CHECK(std::memcmp(&alone, &together[i], sizeof alone) == 0);
    }
  }
  // Backwards, so that each has other neighbours and another address.
  std::vector<double> reversed;
  for (std::size_t i = count; i-- > 0;)
    reversed.insert(reversed.end(), all.begin() + static_cast<std::ptrdiff_t>(i * packing::candidate_numbers),
                    all.begin() + static_cast<std::ptrdiff_t>((i + 1) * packing::candidate_numbers));
  std::vector<Verdict> backwards(count);
  REQUIRE(kernels::cpu_backend().packing_eval(reversed.data(), count, backwards.data()) == Code::ok);
  for (std::size_t i = 0; i < count; ++i)
    CHECK(std::memcmp(&backwards[count - 1 - i], &together[i], sizeof together[i]) == 0);
}

TEST_CASE("the verdicts have the same bits in every build") {
  // A compiler that contracts, reorders or uses wider registers moves this number. It changes only with the
  // rule.
  const std::vector<double> all = all_candidates();
  std::uint64_t digest = 0xcbf29ce484222325ULL;
  for (std::size_t i = 0; i < all.size(); i += packing::candidate_numbers) {
    const Verdict verdict = judge(all.data() + i);
    digest = hash(digest, &verdict, sizeof verdict);
  }
  CHECK(digest == 0x7e321f82fa807566ULL);
}

TEST_CASE("every usable backend gives the CPU's bytes") {
  const std::vector<double> all = all_candidates();
  const std::size_t count = all.size() / packing::candidate_numbers;
  std::vector<Verdict> expected(count);
  REQUIRE(kernels::cpu_backend().packing_eval(all.data(), count, expected.data()) == Code::ok);
  CHECK(kernels::packing_eval_recipe.exactness == kernels::Exactness::exact);
  const kernels::Backend* chosen = kernels::choose_backend();
  REQUIRE(chosen != nullptr);
  CHECK(chosen->usable());
  std::vector<Verdict> got(count);
  REQUIRE(chosen->packing_eval(all.data(), count, got.data()) == Code::ok);
  CHECK(std::memcmp(got.data(), expected.data(), count * sizeof(Verdict)) == 0);
}

TEST_CASE("the caller's choice of backend is kept or refused, never replaced") {
  CHECK(kernels::choose_backend(kernels::Preference::cpu) == &kernels::cpu_backend());
  const kernels::Backend* cuda = kernels::cuda_backend();
  if (cuda == nullptr || !cuda->usable()) {
    CHECK(kernels::choose_backend(kernels::Preference::cuda) == nullptr);
    CHECK(kernels::choose_backend() == &kernels::cpu_backend());
  } else {
    CHECK(kernels::choose_backend(kernels::Preference::cuda) == cuda);
    CHECK(kernels::choose_backend() == cuda);
  }
}

TEST_CASE("our sample packing is valid with nothing shared, and is already rounded") {
  const Verdict verdict = judge(packing::sample_candidate);
  CHECK(verdict.valid == 1);
  CHECK(verdict.overlap_max == 0.0);
  CHECK(verdict.circle.radius == doctest::Approx(2.9733527).epsilon(1e-8));
  double rounded[packing::candidate_numbers];
  packing::round_candidate(packing::sample_candidate, rounded);
  CHECK(std::memcmp(rounded, packing::sample_candidate, sizeof rounded) == 0);
  // It stays valid when everything moves 0.01 % inwards, so no way of scoring it comes near the threshold.
  double closer[packing::candidate_numbers];
  for (std::size_t i = 0; i < packing::candidate_numbers; ++i)
    closer[i] = i % 3 == 2 ? packing::sample_candidate[i] : 0.9999 * packing::sample_candidate[i];
  CHECK(judge(closer).overlap_max == 0.0);
}

TEST_CASE("each pair has its own place among the 105") {
  std::uint32_t expected = 0;
  for (std::uint32_t i = 0; i < packing::pieces; ++i)
    for (std::uint32_t j = i + 1; j < packing::pieces; ++j) CHECK(packing::pair_index(i, j) == expected++);
  CHECK(expected == packing::pairs);
}
