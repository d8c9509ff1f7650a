// Where commands run, asked by many tasks at once: a build holds up nobody but those who need what it builds.
#include "engine/places.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/waits.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using engine::Places;
using testing::Waiting;

namespace {

/// Projects' folders, and the container tool of the tests with a folder of its own.
struct Site {
  store::Scratch scratch;
  std::unique_ptr<runner::Runner> runner;
  std::unique_ptr<Places> places;

  Site() {
    for (const char* folder : {"tasks", "tool", "projects"})
      std::filesystem::create_directory(scratch / folder);
    ::setenv("DOCKER_CONFIG", (scratch / "tool").c_str(), 1);
    runner::Options options;
    options.scratch = scratch / "tasks";
    options.helper = calyx::testing::runner_helper;
    runner = runner::Runner::open(options).value();
    places =
        Places::find({.containers = calyx::testing::docker_program, .bubblewrap = "none"}, *runner).value();
  }
  ~Site() { ::unsetenv("DOCKER_CONFIG"); }

  /// A project whose Dockerfile says `recipe`, under the digest of `number`.
  std::string project(std::uint8_t number, const char* recipe) const {
    std::string folder = scratch / "projects/" + std::to_string(number);
    std::filesystem::create_directory(folder);
    std::ofstream(folder + "/Dockerfile") << recipe;
    return folder;
  }
  static core::Digest digest(std::uint8_t number) {
    core::Digest out{};
    out.bytes[0] = number;
    return out;
  }
  static std::string image(std::uint8_t number) {
    return "localhost/calyx-project:" + core::hex(digest(number));
  }
  Result<std::optional<runner::Enclosure>> ask(
      std::uint8_t number, const std::function<bool()>& stopped = [] { return false; }) {
    return places->of_project(scratch / "projects/" + std::to_string(number), digest(number), 60'000,
                              stopped);
  }
  /// The calls of the tool so far that have `words` in them.
  std::size_t calls(const std::string& words) const {
    std::ifstream file(scratch / "tool/calls");
    std::size_t times = 0;
    for (std::string line; std::getline(file, line);)
      if (line.find(words) != std::string::npos) ++times;
    return times;
  }
  std::size_t builds(std::uint8_t number) const { return calls("\"build\", \"--tag\", \"" + image(number)); }
  /// Builds of Dockerfiles that say `held` wait from now on, or go on.
  void hold() const { std::ofstream(scratch / "tool/hold") << ""; }
  void let_go() const { std::filesystem::remove(scratch / "tool/hold"); }
  void until_built(std::uint8_t number, std::size_t times) const {
    while (builds(number) < times) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
};

/// A caller's wish to stop, and whether anybody has asked for it.
struct Flag {
  std::atomic<bool> set{false};
  std::atomic<int> asked{0};
  std::function<bool()> ask() {
    return [this] { return ++asked, set.load(); };
  }
  void until_asked() const {
    while (asked.load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
};

}  // namespace

TEST_CASE("what was built once is remembered, and the tool is not asked again") {
  Site site;
  site.project(1, "FROM scratch\n");
  CHECK(site.ask(1).value()->image == Site::image(1));
  const std::size_t calls = site.calls("");
  CHECK(site.ask(1).value()->image == Site::image(1));
  CHECK(site.calls("") == calls);
  CHECK(site.builds(1) == 1);
  // Other places of the machine share the tool's store, and not the memory.
  auto others =
      Places::find({.containers = calyx::testing::docker_program, .bubblewrap = "none"}, *site.runner)
          .value();
  CHECK(others->of_project(site.scratch / "projects/1", Site::digest(1), 60'000, [] { return false; })
            .value()
            ->image == Site::image(1));
  CHECK(site.builds(1) == 1);
}

TEST_CASE(
    "a build holds up neither other projects' tasks nor other builds, and those that wait get its image") {
  Site site;
  site.project(1, "FROM held\n");
  site.project(2, "FROM scratch\n");
  site.project(3, "FROM scratch\n");
  CHECK(site.ask(2).ok());
  site.hold();
  std::array<Result<std::optional<runner::Enclosure>>, 3> got{Error{}, Error{}, Error{}};
  std::vector<std::unique_ptr<Waiting>> askers;
  for (auto& one : got) askers.push_back(std::make_unique<Waiting>([&] { one = site.ask(1); }));
  site.until_built(1, 1);
  CHECK(site.ask(2).value()->image == Site::image(2));  // known
  CHECK(site.ask(3).value()->image == Site::image(3));  // built meanwhile
  for (const auto& asker : askers) {
    asker->until_it_waits();
    CHECK_FALSE(asker->done());
  }
  site.let_go();
  askers.clear();
  for (const auto& one : got) {
    REQUIRE(one.ok());
    CHECK((*one)->image == Site::image(1));
  }
  CHECK(site.builds(1) == 1);
}

TEST_CASE("who waits for a build hears that it is to stop, and the build goes on") {
  Site site;
  site.project(1, "FROM held\n");
  site.hold();
  Result<std::optional<runner::Enclosure>> first = Error{}, second = Error{};
  Flag flag;
  Waiting builder([&] { first = site.ask(1); });
  site.until_built(1, 1);
  Waiting waiter([&] { second = site.ask(1, flag.ask()); });
  flag.until_asked();
  CHECK_FALSE(waiter.done());
  flag.set = true;
  waiter.join();
  CHECK(second.reason() == Reason::stopped);
  CHECK_FALSE(builder.done());
  site.let_go();
  builder.join();
  CHECK(first.ok());
  CHECK(site.builds(1) == 1);
}

TEST_CASE("where the builder is stopped, or fails, whoever waits tries in its place") {
  Site site;
  site.project(1, "FROM held\n");
  site.hold();
  Result<std::optional<runner::Enclosure>> first = Error{}, second = Error{};
  Flag stops, waits;
  Waiting builder([&] { first = site.ask(1, stops.ask()); });
  site.until_built(1, 1);
  Waiting waiter([&] { second = site.ask(1, waits.ask()); });
  waits.until_asked();
  stops.set = true;
  builder.join();
  CHECK(first.reason() == Reason::stopped);
  site.until_built(1, 2);
  site.let_go();
  waiter.join();
  CHECK(second.ok());

  site.project(2, "broken\n");
  for (std::size_t tries = 1; tries <= 2; ++tries) {
    CHECK(site.ask(2).reason() == Reason::unsupported);
    CHECK(site.builds(2) == tries);
  }
  site.project(2, "FROM scratch\n");
  CHECK(site.ask(2).ok());
}

TEST_CASE("an image that the tool has no more is built again once somebody has looked") {
  Site site;
  const auto goes_on = [] { return false; };
  site.project(1, "FROM scratch\n");
  site.places->look_again(Site::image(1), goes_on);  // it was never there
  CHECK(site.ask(1).ok());
  site.places->look_again(Site::image(1), goes_on);  // it is there
  const std::size_t calls = site.calls("");
  CHECK(site.ask(1).ok());
  CHECK(site.calls("") == calls);
  std::filesystem::remove_all(site.scratch / "tool/images");
  CHECK(site.ask(1).ok());
  CHECK(site.builds(1) == 1);  // nobody has looked
  site.places->look_again(Site::image(1), goes_on);
  CHECK(site.ask(1).ok());
  CHECK(site.builds(1) == 2);

  // Another task that missed it looks while it is being built: that build goes on alone.
  site.project(2, "FROM held\n");
  site.hold();
  Result<std::optional<runner::Enclosure>> first = Error{}, second = Error{};
  Flag flag;
  Waiting builder([&] { first = site.ask(2); });
  site.until_built(2, 1);
  site.places->look_again(Site::image(2), goes_on);
  Waiting waiter([&] { second = site.ask(2, flag.ask()); });
  flag.until_asked();
  site.let_go();
  builder.join();
  waiter.join();
  CHECK(first.ok());
  CHECK(second.ok());
  CHECK(site.builds(2) == 1);
}
