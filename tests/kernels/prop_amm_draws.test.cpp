// The generator, the distributions and the exponentials of the Prop AMM simulation against the original's.
#include <doctest/doctest.h>
#include <simdjson.h>

#include <bit>
#include <string>

#include "calyx_kernels/pcg64.hpp"
#include "calyx_kernels/prop_amm_math.hpp"
#include "calyx_kernels/ziggurat.hpp"
#include "testing.hpp"

namespace kernels = calyx::kernels;
using kernels::Pcg64;
using kernels::math::bits_of;
using kernels::math::double_of;

namespace {

simdjson::dom::element load(simdjson::dom::parser& parser, const std::string& name) {
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::vectors + "/prop_amm/" + name).get(root) == simdjson::SUCCESS);
  return root;
}

std::uint64_t hex(simdjson::dom::element text) {
  return std::stoull(std::string(std::string_view(text)), nullptr, 16);
}

/// The bits of a pair of bits and decimal.
std::uint64_t bits_in(simdjson::dom::element pair) { return hex(pair.at(0)); }

std::uint64_t seed_of(simdjson::dom::element entry) {
  return std::stoull(std::string(std::string_view(entry["seed"])));
}

}  // namespace

TEST_CASE("words, uniforms, normals and Poisson draws are the original's to the bit") {
  simdjson::dom::parser parser;
  const auto root = load(parser, "rng.json");
  std::uint64_t looked_at = 0;
  const auto same = [&](simdjson::dom::element wanted, auto&& draw) {
    for (const auto pair : simdjson::dom::array(wanted)) {
      REQUIRE(bits_of(draw()) == bits_in(pair));
      ++looked_at;
    }
  };
  for (const auto stream : simdjson::dom::array(root["streams"])) {
    const std::uint64_t seed = seed_of(stream);
    CAPTURE(seed);
    Pcg64 words(seed);
    for (const auto word : simdjson::dom::array(stream["u64"])) {
      REQUIRE(words.next() == hex(word));
      ++looked_at;
    }
    Pcg64 half_open(seed);
    same(stream["f64_half_open"], [&] { return kernels::uniform(half_open); });
    Pcg64 open(seed);
    same(stream["f64_open"], [&] { return kernels::uniform_open(open); });
    Pcg64 between(seed);
    same(stream["range_0.4_1.2"], [&] { return kernels::uniform_between(between, 0.4, 1.2); });
    Pcg64 whole(seed);
    for (const auto number : simdjson::dom::array(stream["range_u16_30_to_80_inclusive"])) {
      REQUIRE(kernels::uniform_whole(whole, 30, 51) == std::uint64_t(number));
      ++looked_at;
    }
    Pcg64 normal(seed);
    same(stream["normal"], [&] { return kernels::standard_normal(normal); });

    Pcg64 many(seed);
    std::uint64_t fold = 0;
    std::uint64_t beyond = 0;
    const simdjson::dom::array tails = stream["normal_4000_tail"];
    for (std::uint64_t i = 0; i < 4000; ++i) {
      const double z = kernels::standard_normal(many);
      fold = std::rotl(fold, 1) ^ bits_of(z);
      if (kernels::math::absolute(z) <= kernels::ziggurat::tail_start) continue;
      REQUIRE(beyond < tails.size());
      CHECK(std::uint64_t(tails.at(beyond).at(0)) == i);
      CHECK(bits_in(tails.at(beyond).at(1)) == bits_of(z));
      ++beyond;
    }
    CHECK(beyond == tails.size());
    CHECK(fold == hex(stream["normal_4000_fold"]));
    CHECK(many.next() == hex(stream["u64_after_4000_normals"]));

    for (const auto poisson : simdjson::dom::array(stream["poisson"])) {
      Pcg64 counts(seed);
      const double lambda = double_of(bits_in(poisson["lambda"]));
      const double limit = kernels::prop_amm::msun_exp(-lambda);
      for (const auto count : simdjson::dom::array(poisson["draws"])) {
        REQUIRE(kernels::poisson(counts, limit) == std::uint64_t(count));
        ++looked_at;
      }
      CHECK(counts.next() == hex(poisson["next_u64_after"]));
    }
    for (const auto sizes : simdjson::dom::array(stream["lognormal_sigma_1.2"])) {
      Pcg64 draws(seed);
      const double mu = kernels::prop_amm::mean_ln(double_of(bits_in(sizes["mean"]))) - 0.5 * 1.2 * 1.2;
      same(sizes["draws"], [&] { return kernels::log_normal(draws, mu, 1.2); });
    }
  }
  CHECK(looked_at == 3264);
  calyx::testing::told("draws compared with the original's", looked_at);
}

TEST_CASE("the ziggurat's sampled edges and heights are the stored ones") {
  simdjson::dom::parser parser;
  const auto root = load(parser, "rng.json");
  std::uint64_t looked_at = 0;
  for (const auto [name, pair] : simdjson::dom::object(root["ziggurat"]["samples"])) {
    const auto i = static_cast<std::uint32_t>(std::stoul(std::string(name.substr(2))));
    const std::string named(name);  // clang 14 captures no structured binding
    CAPTURE(named);
    CHECK(bits_in(pair) ==
          bits_of(name[0] == 'X' ? kernels::ziggurat::edge(i) : kernels::ziggurat::height(i)));
    ++looked_at;
  }
  CHECK(looked_at == 28);
}

TEST_CASE("the price's exponential equals the C library's under the original, and so does ln of a mean") {
  simdjson::dom::parser parser;
  const auto root = load(parser, "exp.json");
  std::uint64_t looked_at = 0;
  for (const auto pair : simdjson::dom::array(root["exp"])) {
    CHECK(bits_of(kernels::prop_amm::price_exp(double_of(hex(pair.at(0))))) == hex(pair.at(1)));
    ++looked_at;
  }
  CHECK(looked_at == 500);
  looked_at = 0;
  for (const auto pair : simdjson::dom::array(root["ln"])) {
    CHECK(bits_of(kernels::prop_amm::mean_ln(double_of(hex(pair.at(0))))) == hex(pair.at(1)));
    ++looked_at;
  }
  CHECK(looked_at == 125);
}

TEST_CASE("a stream that leaves words out goes on where one that drew them stands") {
  calyx::testing::Dice dice(0x9c6);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t seed = dice.next();
    const std::uint64_t count = dice.below(3000);
    Pcg64 drawn(seed);
    Pcg64 left_out(seed);
    for (std::uint64_t n = 0; n < count; ++n) drawn.next();
    left_out.advance(count);
    REQUIRE(drawn.next() == left_out.next());
  }
}
