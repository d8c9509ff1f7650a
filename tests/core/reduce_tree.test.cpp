#include <doctest/doctest.h>

#include <calyx/core/reduce_tree.hpp>
#include <vector>

namespace calyx::core {
namespace {

TEST_CASE("a reduction's tasks stand behind what they reduce, level after level") {
  struct Row {
    std::uint64_t leaves, fan_in;
    std::vector<Chunk> levels;  ///< Behind level 0.
  };
  const Row rows[] = {
      {1, 64, {{1, 2}}},
      {2, 2, {{2, 3}}},
      {5, 2, {{5, 8}, {8, 10}, {10, 11}}},
      {64, 64, {{64, 65}}},
      {65, 64, {{65, 67}, {67, 68}}},
      {1'000'000,
       64,
       {{1'000'000, 1'015'625}, {1'015'625, 1'015'870}, {1'015'870, 1'015'874}, {1'015'874, 1'015'875}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.leaves);
    const ReduceTree tree(row.leaves, row.fan_in);
    for (std::size_t i = 0; i < row.levels.size(); ++i)
      CHECK(tree.level(static_cast<unsigned>(i + 1)) == row.levels[i]);
    CHECK(tree.level(static_cast<unsigned>(row.levels.size() + 1)).size() == 0);
    CHECK(tree.tasks() == row.levels.back().end);
  }
}

TEST_CASE("every result is taken once, in order, and the last task takes what all the others left") {
  constexpr std::uint64_t fan_ins[] = {2, 3, 7, 64};
  for (std::uint64_t leaves = 1; leaves <= 200; ++leaves)
    for (const std::uint64_t fan_in : fan_ins) {
      const ReduceTree tree(leaves, fan_in);
      std::uint64_t next = 0;
      for (std::uint64_t task = 0; task < leaves; ++task) CHECK(tree.inputs(task).size() == 0);
      for (std::uint64_t task = leaves; task < tree.tasks(); ++task) {
        const Chunk inputs = tree.inputs(task);
        CHECK(inputs.start == next);
        CHECK(inputs.size() >= 1);
        CHECK(inputs.size() <= fan_in);
        CHECK(inputs.end <= task);
        next = inputs.end;
      }
      CHECK(next == tree.tasks() - 1);
    }
}

TEST_CASE("a level is handed out when all before it have ended") {
  constexpr ReduceTree tree(5, 2);
  struct Row {
    std::uint64_t fresh, ended, until;
  };
  constexpr Row rows[] = {
      {0, 0, 5},   {3, 0, 5},                 // leaves, at any time
      {5, 4, 5},   {5, 5, 8},                 // the first level, behind the last leaf
      {6, 5, 8},   {8, 7, 8},    {8, 8, 10},  // the second
      {10, 9, 10}, {10, 10, 11},
  };
  for (const Row& row : rows) CHECK(tree.open_until(row.fresh, row.ended) == row.until);
}

}  // namespace
}  // namespace calyx::core
