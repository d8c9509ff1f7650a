#include "calyx_kernels/freivalds.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <vector>

#include "testing.hpp"

namespace kernels = calyx::kernels;

namespace {

constexpr std::uint32_t size = 48;

template <class Entry>
std::vector<Entry> product(std::uint64_t a, std::uint64_t b) {
  std::vector<Entry> out(std::size_t{size} * size);
  for (std::uint64_t i = 0; i < size; ++i)
    for (std::uint64_t j = 0; j < size; ++j) {
      std::int64_t sum = 0;
      for (std::uint64_t n = 0; n < size; ++n)
        sum += std::int64_t{kernels::probe_entry(a, i * size + n)} * kernels::probe_entry(b, n * size + j);
      out[i * size + j] = static_cast<Entry>(sum);
    }
  return out;
}

template <class Entry>
void check_all(std::uint64_t seed) {
  const std::uint64_t a = seed + 1;
  const std::uint64_t b = seed + 2;
  const auto right = product<Entry>(a, b);
  CHECK(kernels::product_holds(a, b, right.data(), size, seed, 2));
  // In another order, or of other matrices, it is another product.
  CHECK_FALSE(kernels::product_holds(b, a, right.data(), size, seed, 2));
  CHECK_FALSE(kernels::product_holds(a, b + 1, right.data(), size, seed, 2));
  calyx::testing::Dice dice(seed);
  for (int i = 0; i < 50; ++i) {
    auto wrong = right;
    Entry& entry = wrong[dice.below(wrong.size())];
    entry = i % 2 == 0 ? entry + Entry{1} : entry - Entry{3};
    CHECK_FALSE(kernels::product_holds(a, b, wrong.data(), size, seed + static_cast<std::uint64_t>(i), 2));
  }
  for (const Entry no_entry :
       {static_cast<Entry>(0.5), static_cast<Entry>(1e30), static_cast<Entry>(-1e30),
        std::numeric_limits<Entry>::quiet_NaN(), std::numeric_limits<Entry>::infinity()}) {
    auto wrong = right;
    wrong.back() = no_entry;
    CHECK_FALSE(kernels::product_holds(a, b, wrong.data(), size, seed, 2));
  }
  // Two wrongs that cancel for a vector of ones do not for one of chance.
  auto wrong = right;
  wrong[0] += Entry{1};
  wrong[1] -= Entry{1};
  CHECK_FALSE(kernels::product_holds(a, b, wrong.data(), size, seed, 2));
}

}  // namespace

TEST_CASE("a product passes Freivalds' check, and one wrong entry does not") {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "freivalds: seed " << seed << std::endl;
  check_all<double>(seed);
  check_all<float>(seed);
}

TEST_CASE("entries of the probe's matrices are all the whole numbers within their bound") {
  bool met[2 * kernels::probe_entry_max + 1] = {};
  for (std::uint64_t i = 0; i < 2'000; ++i) {
    const std::int64_t entry = kernels::probe_entry(7, i);
    REQUIRE(entry >= -kernels::probe_entry_max);
    REQUIRE(entry <= kernels::probe_entry_max);
    met[entry + kernels::probe_entry_max] = true;
  }
  for (const bool one : met) CHECK(one);
}
