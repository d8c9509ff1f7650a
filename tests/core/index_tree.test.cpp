#include <doctest/doctest.h>

#include <calyx/core/index_tree.hpp>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace calyx::core;

namespace {

/// Writes down how it was merged.
struct Trace {
  std::string text;
  void merge(Trace&& right) { text = "(" + text + " " + right.text + ")"; }
};

IndexTree<Trace> stretch(std::uint64_t from, std::uint64_t to) {
  IndexTree<Trace> out(from);
  for (std::uint64_t i = from; i < to; ++i) out.add(Trace{std::to_string(i)});
  return out;
}
std::string whole(std::uint64_t size) { return stretch(0, size).finish().text; }

struct Sum {
  double value = 0;
  void merge(Sum&& right) { value += right.value; }
};

}  // namespace

TEST_CASE("what meets where follows from the indices alone") {
  CHECK(whole(0).empty());
  CHECK(whole(1) == "0");
  CHECK(whole(2) == "(0 1)");
  CHECK(whole(3) == "((0 1) 2)");
  CHECK(whole(4) == "((0 1) (2 3))");
  CHECK(whole(6) == "(((0 1) (2 3)) (4 5))");
  CHECK(whole(7) == "(((0 1) (2 3)) ((4 5) 6))");
}

TEST_CASE("any cut into partial reductions gives the same tree") {
  std::mt19937_64 random(20261128);
  for (int round = 0; round < 500; ++round) {
    const std::uint64_t size = 1 + random() % 70;
    CAPTURE(size);
    std::vector<IndexTree<Trace>> parts;
    for (std::uint64_t from = 0; from < size;) {
      const std::uint64_t to = from + 1 + random() % (size - from);
      parts.push_back(stretch(from, to));
      from = to;
    }
    // Neighbours are joined in any order.
    while (parts.size() > 1) {
      const auto at = static_cast<std::ptrdiff_t>(random() % (parts.size() - 1));
      CHECK(parts[static_cast<std::size_t>(at)].end() == parts[static_cast<std::size_t>(at) + 1].begin());
      parts[static_cast<std::size_t>(at)].add(std::move(parts[static_cast<std::size_t>(at) + 1]));
      parts.erase(parts.begin() + at + 1);
    }
    CHECK(std::move(parts.front()).finish().text == whole(size));
  }
}

TEST_CASE("a sum of doubles is the same to the bit however it is cut, and is not that from left to right") {
  std::mt19937_64 random(5);
  std::vector<double> numbers;
  for (int i = 0; i < 10'000; ++i) numbers.push_back(static_cast<double>(random()) / 3.0);
  const auto sum = [&](std::uint64_t from, std::uint64_t to) {
    IndexTree<Sum> out(from);
    for (std::uint64_t i = from; i < to; ++i) out.add(Sum{numbers[i]});
    return out;
  };
  const double expected = sum(0, numbers.size()).finish().value;
  for (const std::uint64_t cut : {1U, 2U, 777U, 4'096U, 5'000U, 9'999U}) {
    IndexTree<Sum> left = sum(0, cut);
    left.add(sum(cut, numbers.size()));
    CHECK(std::move(left).finish().value == expected);
  }
  double straight = 0;
  for (const double number : numbers) straight += number;
  CHECK(straight != expected);
}
