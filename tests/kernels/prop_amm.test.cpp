// The Prop AMM simulation with strategies in C++: parameters, paths, quotes and edges are the original's.
#include "calyx_kernels/prop_amm.hpp"

#include <initializer_list>
#include <set>
#include <utility>

#include "prop_amm_vectors.hpp"

namespace prop_amm = calyx::kernels::prop_amm;
using calyx::kernels::Pcg64;
using calyx::kernels::math::bits_of;
using prop_amm::End;
using prop_amm::Side;

namespace {

/// A constant product with a fee on the input, which keeps nothing.
struct FlatFee {
  std::uint32_t fee;
  void begin() {}
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t reserve_x, std::uint64_t reserve_y,
                    const unsigned char*, std::uint64_t& output) {
    output = prop_amm::constant_product(side, input, reserve_x, reserve_y, fee);
    return true;
  }
  bool after_swap(const prop_amm::Trade&, unsigned char*) { return true; }
};

/// As a flat fee of 66, until it has quoted or traded so often; then it fails.
struct Failing {
  std::uint64_t quotes_left;
  std::uint64_t trades_left;
  std::uint64_t after_failure = 0;
  void begin() {}
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t reserve_x, std::uint64_t reserve_y,
                    const unsigned char*, std::uint64_t& output) {
    if (quotes_left == 0 || trades_left == 0) {
      ++after_failure;
      return false;
    }
    --quotes_left;
    output = prop_amm::constant_product(side, input, reserve_x, reserve_y, 66);
    return true;
  }
  bool after_swap(const prop_amm::Trade&, unsigned char*) { return --trades_left != 0; }
};

/// Counts the questions, and those that were asked before since the last trade.
struct Counting : FlatFee {
  Counting() : FlatFee{66} {}
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t x, std::uint64_t y,
                    const unsigned char* storage, std::uint64_t& output) {
    ++quotes;
    if (!asked.insert({side, input}).second) ++again;
    return FlatFee::compute_swap(side, input, x, y, storage, output);
  }
  bool after_swap(const prop_amm::Trade& trade, unsigned char* storage) {
    asked.clear();
    return FlatFee::after_swap(trade, storage);
  }
  void begin() { asked.clear(); }
  std::set<std::pair<Side, std::uint64_t>> asked;
  std::uint64_t quotes = 0;
  std::uint64_t again = 0;
};

/// Remembers each question and trade, in their order.
struct Folding : FlatFee {
  static constexpr bool remembers = true;
  Folding() : FlatFee{66} {}
  void note(std::uint64_t word) { fold = (fold ^ word) * 0x100000001b3ULL; }
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t x, std::uint64_t y,
                    const unsigned char* storage, std::uint64_t& output) {
    ++quotes;
    for (const std::uint64_t word : {static_cast<std::uint64_t>(side), input, x, y}) note(word);
    return FlatFee::compute_swap(side, input, x, y, storage, output);
  }
  bool after_swap(const prop_amm::Trade& trade, unsigned char*) {
    note(trade.input_nano);
    note(trade.output_nano);
    return true;
  }
  std::uint64_t quotes = 0;
  std::uint64_t fold = 0xcbf29ce484222325ULL;
};

/// Pays the better price the more is asked for.
struct Convex : FlatFee {
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t reserve_x, std::uint64_t reserve_y,
                    const unsigned char*, std::uint64_t& output) {
    output = prop_amm::constant_product(side, input, reserve_x, reserve_y, input < 20'000'000'000 ? 500 : 0);
    return true;
  }
};

/// Counts its trades in the storage, and looks whether it is as it was left.
struct Remembering : FlatFee {
  std::uint64_t trades = 0;
  std::uint64_t last_step = 0;
  bool in_order = true;
  void begin() { trades = 0, last_step = 0; }
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t reserve_x, std::uint64_t reserve_y,
                    const unsigned char* storage, std::uint64_t& output) {
    in_order = in_order && storage[0] == (trades & 0xff) && storage[1023] == (trades == 0 ? 0 : 7);
    output = prop_amm::constant_product(side, input, reserve_x, reserve_y, 66);
    return true;
  }
  bool after_swap(const prop_amm::Trade& trade, unsigned char* storage) {
    in_order = in_order && trade.step >= last_step && trade.input_nano > 0 && trade.output_nano > 0 &&
               trade.reserve_x_nano > 0 && trade.reserve_y_nano > 0;
    last_step = trade.step;
    storage[0] = static_cast<unsigned char>(++trades);
    storage[1023] = 7;
    return true;
  }
};

/// Pays more than it should, so that both ways to trade gain something, and remembers which was taken first.
struct Generous : FlatFee {
  std::uint64_t more_on_sell = 0;
  int first = -1;
  bool compute_swap(Side side, std::uint64_t input, std::uint64_t reserve_x, std::uint64_t reserve_y,
                    const unsigned char*, std::uint64_t& output) {
    output = prop_amm::constant_product(side, input, reserve_x, reserve_y, 0);
    const bool most = (side == Side::sell) == (more_on_sell != 0);
    output += output / (most ? 10 : 20);
    return true;
  }
  bool after_swap(const prop_amm::Trade& trade, unsigned char*) {
    if (first < 0) first = static_cast<int>(trade.side);
    return true;
  }
};

std::uint64_t bits_in(simdjson::dom::element pair) {
  return std::stoull(std::string(std::string_view(pair.at(0))), nullptr, 16);
}

}  // namespace

TEST_CASE("a seed's parameters, prices and orders are the original's") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::prop_amm_file("rng.json")).get(root) == simdjson::SUCCESS);
  std::uint64_t seeds = 0;
  for (const auto entry : simdjson::dom::array(root["parameters"])) {
    const auto drawn = prop_amm::parameters_of(calyx::testing::prop_amm_number(entry["seed"]));
    CHECK(bits_of(drawn.sigma) == bits_in(entry["sigma"]));
    CHECK(bits_of(drawn.lambda) == bits_in(entry["lambda"]));
    CHECK(bits_of(drawn.mean_size) == bits_in(entry["mean_size"]));
    CHECK(drawn.fee == std::uint64_t(entry["norm_fee_bps"]));
    CHECK(bits_of(drawn.liquidity) == bits_in(entry["norm_liquidity"]));
    ++seeds;
  }
  CHECK(seeds == 32);
  std::uint64_t steps = 0;
  std::uint64_t orders = 0;
  for (const auto path : simdjson::dom::array(root["paths"])) {
    const std::uint64_t seed = calyx::testing::prop_amm_number(path["seed"]);
    const auto drawn = prop_amm::parameters_of(seed);
    prop_amm::Prices prices(seed, drawn.sigma);
    const prop_amm::Sizes sizes(drawn.mean_size);
    Pcg64 retail(seed + 1);
    Pcg64 arbitrageur(seed + 2);
    const double limit = prop_amm::msun_exp(-drawn.lambda);
    for (const auto step : simdjson::dom::array(path["steps"])) {
      REQUIRE(bits_of(prices.next()) == bits_in(step["price"]));
      REQUIRE(bits_of(sizes.draw(arbitrageur)) == bits_in(step["arb_draw"]));
      const simdjson::dom::array wanted = step["orders"];
      REQUIRE(calyx::kernels::poisson(retail, limit) == wanted.size());
      for (const auto order : wanted) {
        REQUIRE(bits_of(sizes.draw(retail)) == bits_in(order.at(1)));
        const bool buy = calyx::kernels::uniform(retail) < 0.5;
        REQUIRE(buy == (std::string_view(order.at(0)) == "buy"));
        ++orders;
      }
      ++steps;
    }
  }
  CHECK(steps == 200);
  CHECK(orders > 100);
}

TEST_CASE("a flat fee quotes what the original quotes") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(calyx::testing::prop_amm_file("quotes.json")).get(root) == simdjson::SUCCESS);
  std::uint64_t quotes = 0;
  std::uint64_t extreme = 0;
  const struct {
    const char* name;
    std::uint32_t fee;
  } pools[] = {{"cp30", 30}, {"cp66", 66}, {"cp500", 500}};
  for (const auto& pool : pools)
    for (const auto row : simdjson::dom::array(root["strategies"][pool.name]["quotes"])) {
      std::uint64_t cells[6];
      for (const std::size_t i : {0U, 1U, 2U, 3U, 5U}) cells[i] = calyx::testing::prop_amm_number(row.at(i));
      if (cells[0] > 1) continue;  // no side at all: only a program can be asked that
      const Side side = cells[0] == 0 ? Side::buy : Side::sell;
      CHECK(prop_amm::constant_product(side, cells[1], cells[2], cells[3], pool.fee) == cells[5]);
      ++quotes;
      if (cells[1] > 1ULL << 60) ++extreme;
    }
  CHECK(quotes == 591);
  CHECK(extreme > 0);
}

TEST_CASE("nanos are cut toward zero and kept within 64 bits") {
  CHECK(prop_amm::to_nano(1.001) - prop_amm::to_nano(1.0) == 999'999);
  CHECK(prop_amm::to_nano(2.001) - prop_amm::to_nano(2.0) == 1'000'000);
  CHECK(prop_amm::to_nano(0.0) == 0);
  CHECK(prop_amm::to_nano(-1.0) == 0);
  CHECK(prop_amm::to_nano(calyx::kernels::math::double_of(0x7ff8000000000000ULL)) == 0);
  CHECK(prop_amm::to_nano(1e300) == ~std::uint64_t{0});
  CHECK(prop_amm::to_nano(18446744073.709552) == ~std::uint64_t{0});
  CHECK(prop_amm::from_nano(1'500'000'000) == 1.5);
}

TEST_CASE("flat fees earn the original's edge of every seed, to the bit") {
  const auto steps = calyx::testing::by_scale<std::uint32_t>(200, 10'000, 10'000);
  std::uint64_t compared = 0;
  FlatFee starter{500};
  compared += calyx::testing::compare_edges("cp500", starter, steps).with_edge;
  FlatFee cp30{30};
  compared += calyx::testing::compare_edges("cp30", cp30, steps).with_edge;
  FlatFee cp66{66};
  compared += calyx::testing::compare_edges("cp66", cp66, steps).with_edge;
  CHECK(compared == (steps == 200 ? 192 : 433));
  calyx::testing::told("edges of flat fees compared", compared);
}

TEST_CASE("a strategy's failure ends its simulation at that step, and it is not asked again") {
  const prop_amm::Settings settings{100, true};
  Failing quoting{40, 1'000'000};  // amid a search, which goes on
  auto result = prop_amm::simulate(1, settings, quoting);
  CHECK(result.end == End::strategy_failed);
  CHECK(result.search == prop_amm::Search::none);
  CHECK(result.edge == 0.0);
  CHECK(result.step == 1);
  CHECK(quoting.after_failure == 1);
  Failing trading{1'000'000, 3};
  result = prop_amm::simulate(1, settings, trading);
  CHECK(result.end == End::strategy_failed);
  CHECK(trading.after_failure == 0);
}

TEST_CASE("a curve without proper shape is let pass when nobody asks") {
  Convex strategy{{0}};
  const auto strict = prop_amm::simulate(0, {2000, true}, strategy);
  CHECK(strict.end == End::not_concave);
  CHECK(strict.search != prop_amm::Search::none);
  const auto loose = prop_amm::simulate(0, {2000, false}, strategy);
  CHECK(loose.end == End::done);
  CHECK(loose.step == 0);
  CHECK(loose.edge != 0.0);
  FlatFee proper{66};
  CHECK(bits_of(prop_amm::simulate(5, {500, true}, proper).edge) ==
        bits_of(prop_amm::simulate(5, {500, false}, proper).edge));
}

TEST_CASE("storage begins as zeros in each simulation and changes with trades alone") {
  Remembering strategy;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    CHECK(prop_amm::simulate(seed, {500, true}, strategy).end == End::done);
    CHECK(strategy.trades > 5);
    CHECK(strategy.in_order);
  }
}

TEST_CASE("what a search knows since the last trade is hardly ever asked again") {
  // Another answer to the same question would be another edge, so all that could be lost here is time.
  Counting strategy;
  for (std::uint64_t seed = 0; seed < 4; ++seed) prop_amm::simulate(seed, {200, true}, strategy);
  CHECK(strategy.quotes > 10'000);
  CHECK(strategy.again * 25 < strategy.quotes);
}

TEST_CASE("a strategy that remembers its calls is asked all that the original asks, in its order") {
  // From a simulator that made every call of the original's text, written before this one spared any.
  Folding folding;
  double edge = 0.0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) edge += prop_amm::simulate(seed, {500, true}, folding).edge;
  CHECK(folding.quotes == 74'446);
  CHECK(folding.fold == 0x43fecfc8c7eb4b9eULL);
  FlatFee forgets{66};
  double spared = 0.0;
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    spared += prop_amm::simulate(seed, {500, true}, forgets).edge;
  CHECK(bits_of(edge) == bits_of(spared));
}

TEST_CASE("of two ways to gain the arbitrageur takes the better one") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    CAPTURE(seed);
    for (const int side : {0, 1}) {
      Generous strategy;
      strategy.more_on_sell = static_cast<std::uint64_t>(side);
      CHECK(prop_amm::simulate(seed, {1, true}, strategy).end == End::done);
      CHECK(strategy.first == side);
    }
  }
}

TEST_CASE("a curve forgives what rounding does and no more") {
  const auto judged = [](std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> points) {
    prop_amm::Curve curve;
    curve.clear();
    // A quarter of a nano keeps the cut toward zero away from the whole numbers.
    for (const auto& [x, y] : points)
      curve.add_below(prop_amm::to_nano((static_cast<double>(x) + 0.25) / 1e9),
                      (static_cast<double>(y) + 0.25) / 1e9);
    const End end = curve.judge();
    // From above, or from both sides: the same points.
    for (std::size_t split = 0; split < points.size(); ++split) {
      curve.clear();
      std::size_t at = 0;
      for (const auto& [x, y] : points) {
        const double output = (static_cast<double>(y) + 0.25) / 1e9;
        const std::uint64_t input = prop_amm::to_nano((static_cast<double>(x) + 0.25) / 1e9);
        if (at++ < split)
          curve.add_below(input, output);
        else
          curve.add_above(input, output);
      }
      CHECK(curve.judge() == end);
    }
    return end;
  };
  CHECK(judged({}) == End::done);
  CHECK(judged({{5'000'000, 9}}) == End::done);
  // In any order; a drop of 4 is forgiven.
  CHECK(judged({{5'000'000, 1000}, {1'000'000, 1004}}) == End::done);
  CHECK(judged({{5'000'000, 1000}, {1'000'000, 1005}}) == End::not_monotone);
  // Inputs within 4 are one, with the larger output; within 5 they are two.
  CHECK(judged({{1'000'000, 1000}, {1'000'004, 500}, {5'000'000, 1000}}) == End::done);
  CHECK(judged({{1'000'000, 500}, {1'000'004, 1010}, {5'000'000, 1000}}) == End::not_monotone);
  CHECK(judged({{1'000'000, 1000}, {1'000'005, 500}, {5'000'000, 1000}}) == End::not_monotone);
  // Equal widths: the second rise may be 8 above the first.
  CHECK(judged({{1'000'000, 0}, {2'000'000, 100}, {3'000'000, 208}}) == End::done);
  CHECK(judged({{1'000'000, 0}, {2'000'000, 100}, {3'000'000, 209}}) == End::not_concave);
  // Narrow segments are not looked at.
  CHECK(judged({{1'000'000, 0}, {2'000'000, 100}, {2'999'999, 5000}}) == End::done);
}
