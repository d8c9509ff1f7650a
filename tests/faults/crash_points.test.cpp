/// \file
/// The power goes at every write, sync, truncate and delete of every call that moves money.
#include <doctest/doctest.h>

#include <chrono>

#include "engine_story.hpp"

namespace calyx::faults {
namespace {

enum class Start : std::uint8_t {
  nothing,        ///< No file: the market's birth is part of the story.
  log_restarts,   ///< The log is copied while another engine looks on, so the next commit begins it anew.
  log_recovered,  ///< A market whose process died: its log is read again at the opening.
};

/// `story` as told from `start`, with the disk's trace.
Played played_from(Start start, DiskOptions medium) {
  const Story earlier = tell_story("earlier");
  Played played;
  played.story = tell_story("a", start == Start::nothing ? story_begins_us : end_of(earlier));
  Disk disk(medium);
  Stage stage(disk);
  Stage onlooker(disk);
  if (start != Start::nothing) {
    play(stage, earlier, 10);
    const Image died = disk.snapshot();
    if (start == Start::log_restarts) REQUIRE(onlooker.open(11).ok());
    stage.close();
    if (start == Start::log_recovered) disk.restore(died);
  }
  disk.start_trace();
  played.told = play(stage, played.story, 20);
  stage.close();
  onlooker.close();
  played.trace = disk.take_trace();
  return played;
}

std::uint64_t beginnings_of_the_log(const Trace& trace) {
  std::uint64_t count = 0;
  for (const Event& event : trace.events)
    if (event.kind == EventKind::write && event.offset == 0 && event.name.ends_with("-wal")) ++count;
  return count;
}

}  // namespace

TEST_CASE("the power may go at any write, sync, truncate and delete, and nothing acknowledged is lost") {
  struct Row {
    std::string says;
    Start start;
    bool powersafe_overwrite;
    std::uint64_t every;  ///< Which of its images are recovered.
  };
  // The first row is looked at whole. The others tell the same story from other logs, and meet it again and
  // again: of theirs some are enough, unless there is time.
  const std::uint64_t some = by_scale<std::uint64_t>(3, 3, 1);
  const Row rows[] = {
      {"from no file", Start::nothing, true, 1},
      {"as the log is about to begin anew", Start::log_restarts, true, some},
      {"after a process died", Start::log_recovered, true, some},
      {"where a torn write takes its whole sector with it", Start::log_restarts, false, some},
  };
  std::vector<Damage> damages(all_damages.begin(), all_damages.end());
  for (std::uint64_t seed = 5; seed < by_scale<std::uint64_t>(5, 6, 300); ++seed) {
    damages.push_back({DamageKind::mixed, seed});
    damages.push_back({DamageKind::torn, seed});
    damages.push_back({DamageKind::reordered, seed});
  }
  std::uint64_t cuts = 0, recoveries = 0;
  for (const Row& row : rows) {
    if (test_scale() == Scale::small && !row.powersafe_overwrite) continue;
    const auto begun = std::chrono::steady_clock::now();
    const DiskOptions medium{row.powersafe_overwrite};
    const Played played = played_from(row.start, medium);
    const Cuts found = cut_everywhere(played, damages, Syncs::honours, medium, 1, row.every);
    CHECK_MESSAGE(found.bad == 0, row.says << ": " << found.fault);
    CHECK(found.acknowledged == played.told.size());
    CHECK(found.distinct * row.every > played.trace.events.size());
    if (row.start != Start::log_recovered) CHECK(beginnings_of_the_log(played.trace) >= 1);
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun)
            .count();
    MESSAGE("power cuts ", row.says, ": ", played.story.size(), " steps, ", played.trace.events.size(),
            " events, ", found.cuts, " cuts, ", found.distinct, " distinct images recovered, ", found.bad,
            " bad, ", ms, " ms");
    cuts += found.cuts;
    recoveries += found.distinct;
  }
  MESSAGE("power cuts in all: ", cuts, " cuts, ", recoveries, " recoveries");
  testing::told("power cuts", cuts);
  testing::told("recoveries after power cuts", recoveries);
}

}  // namespace calyx::faults
