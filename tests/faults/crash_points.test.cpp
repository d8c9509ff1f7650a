/// \file
/// The power goes at every write, sync, truncate and delete of every call that moves money.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>

#include "engine_story.hpp"

namespace calyx::faults {
namespace {

enum class Start : std::uint8_t {
  nothing,        ///< No file: the market's birth is part of the story.
  log_restarts,   ///< A market closed in peace: its log is copied, so the first commit begins it anew.
  log_recovered,  ///< A market whose process died: its log is read again at the opening.
};

/// A disk on which an earlier story was told and ended as `start` says.
Image prepared(Start start, const Story& earlier) {
  if (start == Start::nothing) return {};
  Disk disk;
  Stage stage(disk);
  play(stage, earlier, 10);
  const Image died = disk.snapshot();
  stage.close();
  return start == Start::log_recovered ? died : disk.snapshot();
}

struct Counts {
  std::uint64_t events = 0, cuts = 0, distinct = 0;
};

/// Cuts the power everywhere in `story`, told from `start`, and checks what is left. Stops at the first
/// fault.
Counts cut_everywhere(const std::string& says, Start start, const std::vector<Damage>& damages,
                      DiskOptions medium) {
  const Story earlier = tell_story("earlier");
  const Story story = tell_story("a", start == Start::nothing ? story_begins_us : end_of(earlier));
  const Image before = prepared(start, earlier);

  Disk disk(medium);
  disk.restore(before);
  Stage stage(disk);
  disk.start_trace();
  const std::vector<Told> told = play(stage, story, 20);
  stage.close();
  const Trace trace = disk.take_trace();

  Counts counts;
  counts.events = trace.events.size();
  std::string fault;
  Disk left(medium);
  Stage second(left);
  std::size_t acknowledged = 0;
  std::vector<Image> seen;  // of this step: what came out the same was looked at already
  for_each_cut(trace, damages, Syncs::honours, [&](const Cut& cut) {
    ++counts.cuts;
    if (!fault.empty()) return;
    const std::size_t before_step = acknowledged;
    while (acknowledged < told.size() && told[acknowledged].events <= cut.events) ++acknowledged;
    if (acknowledged != before_step) seen.clear();
    for (const Image& image : seen)
      if (image.same_as(cut.left)) return;
    seen.push_back(cut.left);
    ++counts.distinct;
    left.restore(cut.left);
    // integrity_check reads every page, so it takes turns.
    const Depth depth = counts.distinct % 8 == 0 ? Depth::pages : Depth::rules;
    fault = find_fault(second, story, told, {.acknowledged = acknowledged, .depth = depth, .life = 30});
    if (!fault.empty())
      fault = says + ", cut after event " + std::to_string(cut.events) + " of " +
              std::to_string(trace.events.size()) + ", " + name_of(cut.damage.kind) + " " +
              std::to_string(cut.damage.seed) + ", " + std::to_string(acknowledged) +
              " acknowledged: " + fault;
  });
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(acknowledged == told.size());
  return counts;
}

}  // namespace

TEST_CASE("the power may go at any write, sync, truncate and delete, and nothing acknowledged is lost") {
  struct Row {
    std::string says;
    Start start;
    bool powersafe_overwrite;
  };
  const Row rows[] = {
      {"from no file", Start::nothing, true},
      {"as the log is about to begin anew", Start::log_restarts, true},
      {"after a process died", Start::log_recovered, true},
      {"where a torn write takes its whole sector with it", Start::log_restarts, false},
  };
  std::vector<Damage> damages(all_damages.begin(), all_damages.end());
  for (std::uint64_t seed = 5; seed < by_scale<std::uint64_t>(5, 13, 300); ++seed) {
    damages.push_back({DamageKind::mixed, seed});
    damages.push_back({DamageKind::torn, seed});
    damages.push_back({DamageKind::reordered, seed});
  }
  Counts all;
  for (const Row& row : rows) {
    if (test_scale() == Scale::small && !row.powersafe_overwrite) continue;
    const auto begun = std::chrono::steady_clock::now();
    const Counts counts = cut_everywhere(row.says, row.start, damages, {row.powersafe_overwrite});
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun)
            .count();
    MESSAGE("power cuts ", row.says, ": ", counts.events, " events, ", counts.cuts, " cuts, ",
            counts.distinct, " distinct images recovered, ", ms, " ms");
    CHECK(counts.distinct > counts.events);
    all.cuts += counts.cuts;
    all.distinct += counts.distinct;
  }
  MESSAGE("power cuts in all: ", all.cuts, " cuts, ", all.distinct, " recoveries");
}

}  // namespace calyx::faults
