#include <doctest/doctest.h>

#include <calyx/core/chunks.hpp>
#include <calyx/core/field.hpp>
#include <cstdint>
#include <random>

using namespace calyx::core;

TEST_CASE("a range is shared out evenly, the larger chunks first") {
  struct Row {
    std::uint64_t total, chunks, index;
    Chunk expected;
  };
  const Row rows[] = {
      {10'000, 20, 0, {0, 500}},
      {10'000, 20, 19, {9'500, 10'000}},
      {10, 3, 0, {0, 4}},
      {10, 3, 1, {4, 7}},
      {10, 3, 2, {7, 10}},
      {1, 1, 0, {0, 1}},
      {7, 7, 6, {6, 7}},
      {exact_integer_max, 2, 1, {4503599627370496, exact_integer_max}},
      {exact_integer_max,
       exact_integer_max,
       exact_integer_max - 1,
       {exact_integer_max - 1, exact_integer_max}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.total);
    CAPTURE(row.index);
    CHECK(even_chunk(row.total, row.chunks, row.index) == row.expected);
  }
}

TEST_CASE("chunks of one size leave the rest to the last") {
  CHECK(sized_chunks(10, 4) == 3);
  CHECK(sized_chunk(10, 4, 0) == Chunk{0, 4});
  CHECK(sized_chunk(10, 4, 2) == Chunk{8, 10});
  CHECK(sized_chunks(8, 4) == 2);
  CHECK(sized_chunk(8, 4, 1) == Chunk{4, 8});
  CHECK(sized_chunks(3, exact_integer_max) == 1);
  CHECK(sized_chunk(3, exact_integer_max, 0) == Chunk{0, 3});
}

TEST_CASE(
    "every index is in one chunk, and sizes differ by at most one, for any total and number of chunks") {
  std::mt19937_64 random(20261128);
  for (int round = 0; round < 2'000; ++round) {
    const std::uint64_t total = 1 + random() % 5'000;
    const std::uint64_t chunks = 1 + random() % total;
    CAPTURE(total);
    CAPTURE(chunks);
    std::uint64_t next = 0;
    bool even = true;
    for (std::uint64_t i = 0; i < chunks; ++i) {
      const Chunk chunk = even_chunk(total, chunks, i);
      even = even && chunk.start == next &&
             (chunk.size() == total / chunks || chunk.size() == total / chunks + 1);
      next = chunk.end;
    }
    CHECK(even);
    CHECK(next == total);

    const std::uint64_t size = 1 + random() % (2 * total);
    next = 0;
    for (std::uint64_t i = 0; i < sized_chunks(total, size); ++i) {
      const Chunk chunk = sized_chunk(total, size, i);
      REQUIRE(chunk.start == next);
      REQUIRE((chunk.size() == size || chunk.end == total));
      next = chunk.end;
    }
    CHECK(next == total);
  }
}
