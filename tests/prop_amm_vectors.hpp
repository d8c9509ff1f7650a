/// \file
/// What the tests of the Prop AMM simulation share: the original's edges, compared with a strategy's.
#pragma once

#include <doctest/doctest.h>
#include <simdjson.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "calyx_kernels/prop_amm.hpp"
#include "testing.hpp"

namespace calyx::testing {

inline std::string prop_amm_file(const std::string& name) {
  return calyx::testing::vectors + "/prop_amm/" + name;
}

inline std::string prop_amm_text(const std::string& name) {
  std::ifstream file(prop_amm_file(name), std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::uint64_t prop_amm_number(simdjson::dom::element element) {
  std::string_view text;
  if (element.get(text) == simdjson::SUCCESS) return std::stoull(std::string(text));
  std::uint64_t value = 0;
  REQUIRE(element.get(value) == simdjson::SUCCESS);
  return value;
}

inline std::string_view name_of(kernels::prop_amm::End end) {
  return end == kernels::prop_amm::End::not_monotone  ? "monotonicity"
         : end == kernels::prop_amm::End::not_concave ? "concavity"
                                                      : "";
}

inline std::string_view name_of(kernels::prop_amm::Search search) {
  constexpr std::string_view names[] = {"", "arbitrage buy search", "arbitrage sell search",
                                        "router buy split search", "router sell split search"};
  return names[static_cast<std::size_t>(search)];
}

/// How many simulations were compared, and how many of them had an edge.
struct EdgesCompared {
  std::uint64_t all = 0;
  std::uint64_t with_edge = 0;
};

/// Runs `strategy` on every listed seed of the strategy `name` with at most `steps_most` steps. Every edge is
/// the original's to the bit, and every violation has its kind and its search.
template <class Strategy>
EdgesCompared compare_edges(const std::string& name, Strategy& strategy, std::uint32_t steps_most) {
  namespace prop_amm = kernels::prop_amm;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(prop_amm_file("edges.json")).get(root) == simdjson::SUCCESS);
  EdgesCompared compared;
  const auto compare = [&](simdjson::dom::element block) {
    prop_amm::Settings settings;
    settings.steps = static_cast<std::uint32_t>(prop_amm_number(block["steps"]));
    if (settings.steps > steps_most) return;
    for (const auto entry : simdjson::dom::array(block["edges"])) {
      const std::uint64_t seed = prop_amm_number(entry["seed"]);
      const prop_amm::Result result = prop_amm::simulate(seed, settings, strategy);
      CAPTURE(name);
      CAPTURE(seed);
      CAPTURE(settings.steps);
      ++compared.all;
      std::string_view bits;
      if (entry["bits"].get(bits) == simdjson::SUCCESS) {
        CHECK(result.end == prop_amm::End::done);
        CHECK(kernels::math::bits_of(result.edge) == std::stoull(std::string(bits), nullptr, 16));
        ++compared.with_edge;
      } else {
        CHECK(std::string(name_of(result.end)) == std::string(std::string_view(entry["violation"]["kind"])));
        CHECK(std::string(name_of(result.search)) ==
              std::string(std::string_view(entry["violation"]["context"])));
      }
    }
  };
  const auto strategies = root["strategies"][name];
  for (const auto block : simdjson::dom::array(strategies["blocks"])) compare(block);
  simdjson::dom::element sensitive;
  if (strategies["exp_sensitive"].get(sensitive) == simdjson::SUCCESS) compare(sensitive);
  return compared;
}

}  // namespace calyx::testing
