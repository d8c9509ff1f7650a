#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/core/permutation.hpp>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

using namespace calyx::core;

namespace {

std::vector<std::uint64_t> images(std::uint64_t size, std::uint64_t seed) {
  const Permutation permutation(size, seed);
  std::vector<std::uint64_t> out;
  for (std::uint64_t i = 0; i < size; ++i) out.push_back(permutation(i));
  return out;
}

}  // namespace

TEST_CASE("every index has one image and every image one index, for any size and seed") {
  const auto check = [](std::uint64_t size, std::uint64_t seed) {
    std::vector<std::uint64_t> all = images(size, seed);
    std::sort(all.begin(), all.end());
    for (std::uint64_t i = 0; i < size; ++i)
      if (all[static_cast<std::size_t>(i)] != i) return false;
    return true;
  };
  for (std::uint64_t size = 1; size <= 300; ++size) {
    CAPTURE(size);
    CHECK(check(size, 0));
    CHECK(check(size, size * 7919));
  }
  for (const std::uint64_t size : {1'023U, 1'024U, 1'025U, 4'095U, 4'097U, 65'536U, 65'537U, 100'000U}) {
    CAPTURE(size);
    CHECK(check(size, 42));
  }
}

TEST_CASE("a seed gives the same permutation always, and another seed another one") {
  CHECK(images(1'000, 7) == images(1'000, 7));
  CHECK(images(1'000, 7) != images(1'000, 8));
  // What a sample drew in a stored job must be drawn again by the next version: these never change.
  const std::vector<std::uint64_t> first = images(10, 0);
  CHECK(first == std::vector<std::uint64_t>{3, 9, 0, 1, 8, 6, 2, 4, 7, 5});
}

TEST_CASE("the largest size is drawn from as fast as a small one, without repetition") {
  const Permutation permutation(std::uint64_t{1} << 63, 3);
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const std::uint64_t image = permutation(i);
    CHECK(image < std::uint64_t{1} << 63);
    seen.insert(image);
  }
  CHECK(seen.size() == 10'000);
}

TEST_CASE("the first draws are spread over the whole range, whatever its size") {
  // 10,000 draws in 16 equal parts: 625 each, give or take; six standard deviations are 145.
  for (const std::uint64_t size : {std::uint64_t{20'000}, std::uint64_t{1'000'003}, std::uint64_t{1} << 40}) {
    CAPTURE(size);
    const Permutation permutation(size, 11);
    std::vector<int> parts(16);
    for (std::uint64_t i = 0; i < 10'000; ++i)
      ++parts[static_cast<std::size_t>(static_cast<double>(permutation(i)) / static_cast<double>(size) * 16)];
    for (const int part : parts) {
      CHECK(part > 480);
      CHECK(part < 770);
    }
  }
}
