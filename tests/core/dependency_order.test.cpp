#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/core/dependency_order.hpp>

#include "testing.hpp"

namespace calyx::core {
namespace {

using List = std::vector<std::size_t>;
using Needs = std::vector<List>;

TEST_CASE("things come behind what they need, else in the order of their index") {
  struct Row {
    const char* says;
    Needs needs;
    List order;
  };
  const Row rows[] = {
      {"nothing", {}, {}},
      {"one", {{}}, {0}},
      {"none needs another", {{}, {}, {}}, {0, 1, 2}},
      {"in order already", {{}, {0}, {1}}, {0, 1, 2}},
      {"a chain told backwards", {{1}, {2}, {}}, {2, 1, 0}},
      {"a need named twice", {{1, 1}, {}}, {1, 0}},
      {"a diamond", {{}, {0}, {0}, {1, 2}}, {0, 1, 2, 3}},
      {"the lowest of those that may be next", {{3}, {}, {}, {}}, {1, 2, 3, 0}},
      {"what becomes free goes before what was free and is higher", {{1}, {}, {}}, {1, 0, 2}},
      {"two that have nothing to do with each other", {{2}, {3}, {}, {}}, {2, 0, 3, 1}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const DependencyOrder got = dependency_order(row.needs);
    CHECK(got.order == row.order);
    CHECK(got.cycle.empty());
  }
}

TEST_CASE("a circle is told as the way around it, from its lowest index") {
  struct Row {
    const char* says;
    Needs needs;
    List cycle;
  };
  const Row rows[] = {
      {"itself", {{0}}, {0, 0}},
      {"itself, among others", {{}, {0}, {1, 2}}, {2, 2}},
      {"two", {{1}, {0}}, {0, 1, 0}},
      {"three, against their order", {{1}, {2}, {0}}, {0, 1, 2, 0}},
      {"three, along it", {{2}, {0}, {1}}, {0, 2, 1, 0}},
      {"a tail that leads into it is not of it", {{3}, {}, {3}, {2}}, {2, 3, 2}},
      {"what waits for it is not of it", {{}, {2}, {3}, {2}, {1}}, {2, 3, 2}},
      {"a need that is met leads nowhere", {{}, {0, 2}, {0, 1}}, {1, 2, 1}},
      {"one of two", {{1}, {0}, {3}, {2}}, {0, 1, 0}},
      {"entered above its lowest", {{3}, {2}, {3}, {1}}, {1, 2, 3, 1}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const DependencyOrder got = dependency_order(row.needs);
    CHECK(got.order.empty());
    CHECK(got.cycle == row.cycle);
  }
}

TEST_CASE("of any needs there is an order that keeps them, or a circle that is one") {
  testing::Dice dice{20261129};
  int ordered = 0, circles = 0;
  for (int round = 0; round < 2'000; ++round) {
    const std::size_t count = 1 + dice.next() % 12;
    Needs needs(count);
    for (std::size_t edges = dice.next() % (count + 2); edges > 0; --edges)
      needs[dice.next() % count].push_back(dice.next() % count);
    const DependencyOrder got = dependency_order(needs);
    if (got.cycle.empty()) {
      ++ordered;
      List place(count, count);
      REQUIRE(got.order.size() == count);
      for (std::size_t i = 0; i < count; ++i) place.at(got.order[i]) = i;
      for (std::size_t i = 0; i < count; ++i)
        for (const std::size_t need : needs[i]) CHECK(place[need] < place[i]);
    } else {
      ++circles;
      REQUIRE(got.cycle.size() >= 2);
      CHECK(got.cycle.front() == got.cycle.back());
      for (std::size_t i = 0; i + 1 < got.cycle.size(); ++i) {
        const List& here = needs[got.cycle[i]];
        CHECK(std::find(here.begin(), here.end(), got.cycle[i + 1]) != here.end());
      }
      List members(got.cycle.begin() + 1, got.cycle.end());
      std::sort(members.begin(), members.end());
      CHECK(std::adjacent_find(members.begin(), members.end()) == members.end());
    }
  }
  CHECK(ordered > 200);
  CHECK(circles > 200);
}

}  // namespace
}  // namespace calyx::core
