/// \file
/// Every call that the engine makes of the file system fails once, and for good, in every step of the story.
///
/// What a caller is told must be true: `unavailable` means that nothing was written, now and after a power
/// cut; `unknown` leaves both open; an answer stands whatever comes. When the fault is over the same engine
/// goes on.
#include <doctest/doctest.h>

#include <chrono>

#include "engine_story.hpp"

namespace calyx::faults {
namespace {

struct Tally {
  std::uint64_t cases = 0, answered = 0, unavailable = 0, unknown = 0;
};

struct Plan {
  Calls calls;
  FaultKind kind;
  bool persistent;
};

std::vector<Plan> plans() {
  std::vector<Plan> all;
  for (const bool persistent : {false, true}) {
    for (const Calls calls : failing_calls) all.push_back({calls, FaultKind::io_error, persistent});
    for (const Calls calls : {Calls::write, Calls::truncate, Calls::shm_map})
      all.push_back({calls, FaultKind::disk_full, persistent});
    all.push_back({Calls::write, FaultKind::short_write, persistent});
  }
  return all;
}

std::string describe(const Plan& plan, std::uint64_t n) {
  const char* kinds[] = {"I/O error", "disk full", "short write"};
  return std::string(kinds[static_cast<int>(plan.kind)]) + " at " + name_of(plan.calls) + " " +
         std::to_string(n) + (plan.persistent ? " and after" : "");
}

/// Looks at what `image` holds, on a disk of its own.
std::string fault_in(const Image& image, Look look, DiskOptions medium = {}) {
  Disk disk(medium);
  disk.restore(image);
  Stage stage(disk);
  return find_fault(stage, undisturbed().story, undisturbed().told, look);
}

/// One step of the story, with call `n` failing. Empty when all is well; `fired` tells whether the fault
/// came.
std::string fail_step(std::size_t step, const Plan& plan, std::uint64_t n, bool thorough, bool& fired,
                      Tally& counts, DiskOptions medium = {}) {
  const Played& played = undisturbed();
  const Told& before = played.told[step];
  const Told& after = played.told[step + 1];
  Disk disk(medium);
  disk.restore(before.image);
  Stage stage(disk, {.busy_timeout_ms = 2});
  stage.set_clock(played.story[step].at_us);
  if (const auto opened = stage.open(31); !opened.ok()) return "no opening: " + opened.error().message;
  disk.start_trace();

  Memory memory = before.memory;
  disk.arm({.calls = plan.calls, .at = n, .persistent = plan.persistent, .kind = plan.kind});
  const Answer answer = played.story[step].act(stage.engine(), memory);
  fired = disk.fired() > 0;
  disk.disarm();
  const Status status = facts(answer.reason).status;
  ++counts.cases;
  if (status == Status::ok) {
    ++counts.answered;
    if (answer.text != after.answer.text) return "it answers " + answer.text;
  } else if (!fired) {
    return "without a fault it fails: " + answer.text + ": " + answer.message;
  } else if (status == Status::unavailable) {
    ++counts.unavailable;
  } else if (status == Status::unknown) {
    ++counts.unknown;
  } else {
    return "it says " + answer.text + ": " + answer.message;
  }

  // What is left if the process dies now: the answer must be true of that.
  if (thorough && fired) {
    Look look{.acknowledged = step + 1, .depth = Depth::pages, .life = 32};
    if (status == Status::ok) {
      ++look.acknowledged;
      look.held = &memory;
    }
    look.may_stand = status != Status::unavailable;
    if (std::string bad = fault_in(disk.snapshot(), look); !bad.empty())
      return "answered \"" + answer.text + "\", then killed: " + bad;
  }
  // The same engine goes on.
  memory = before.memory;
  for (const char* time : {"first", "second"}) {
    const Answer again = played.story[step].act(stage.engine(), memory);
    if (again.reason != Reason::none || again.text != after.answer.text)
      return std::string("answered \"") + answer.text + "\", then the " + time +
             " retry on the same engine gives \"" + again.text + "\" " + again.message;
    if (const std::string stands = standing(stage.engine()); stands != after.standing)
      return std::string("after the ") + time + " retry wallets stand otherwise:\n" + stands;
  }
  // What was answered now outlives the power, whatever the failed call left in the cache.
  if (thorough && fired) {
    const Trace trace = disk.take_trace();
    Replay replay(trace);
    replay.advance_to(trace.events.size());
    for (const Damage damage : {Damage{DamageKind::drop_all, 0}, Damage{DamageKind::mixed, n}}) {
      // By turns, unless there is time for both.
      if (test_scale() != Scale::soak && (damage.kind == DamageKind::mixed) == ((n + step) % 2 == 0))
        continue;
      if (std::string bad =
              fault_in(replay.image(damage), {.acknowledged = step + 2, .life = 33, .held = &memory});
          !bad.empty())
        return std::string("retried well, then the power went (") + name_of(damage.kind) + "): " + bad;
    }
  }
  stage.close();
  if (disk.open_files() != 0) return "files stay open";
  return {};
}

}  // namespace

TEST_CASE("every call of the file system may fail in every step, and callers are told the truth") {
  const auto begun = std::chrono::steady_clock::now();
  const Played& played = undisturbed();
  Tally counts;
  std::string fault;
  for (std::size_t step = 0; step < played.story.size() && fault.empty(); ++step) {
    if (!played.story[step].act) continue;
    for (const Plan& plan : plans()) {
      if (test_scale() == Scale::small && plan.persistent && step % 4 != 0) continue;
      const bool changes = contains(Calls::write | Calls::sync | Calls::truncate | Calls::remove, plan.calls);
      for (std::uint64_t n = 1; fault.empty(); ++n) {
        bool fired = false;
        // Faults that come where nothing is written are looked at from all sides only now and then.
        const bool thorough = changes || test_scale() == Scale::soak || counts.cases % 8 == 0;
        fault = fail_step(step, plan, n, thorough, fired, counts);
        if (!fault.empty()) fault = played.story[step].name + ", " + describe(plan, n) + ": " + fault;
        if (!fired) break;
      }
    }
  }
  CHECK_MESSAGE(fault.empty(), fault);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("I/O errors in steps: ", counts.cases, " cases, ", counts.answered, " answered, ",
          counts.unavailable, " unavailable, ", counts.unknown, " unknown, ", ms, " ms");
  testing::told("I/O faults in steps", counts.cases);
  // A kind of answer that never came was never tried.
  CHECK(counts.answered > 0);
  CHECK(counts.unavailable > 100);
  CHECK(counts.unknown > 10);
}

TEST_CASE("every call of the file system may fail as a market is opened or closed") {
  const auto begun = std::chrono::steady_clock::now();
  const Played& played = undisturbed();
  struct Row {
    std::string says;
    std::size_t acknowledged;  ///< 0: no file yet.
    bool closing;
  };
  // Closed after a step in the middle that does something.
  std::size_t middle = played.told.size() / 2;
  while (!played.story[middle - 1].act) ++middle;
  const Row rows[] = {{"a birth", 0, false},
                      {"an opening after a process died", played.told.size(), false},
                      {"a closing", middle, true}};
  std::uint64_t cases = 0, refused = 0;
  std::string fault;
  const auto one = [&](const Row& row, const Plan& plan, std::uint64_t n, bool& fired) -> std::string {
    Disk disk;
    if (row.acknowledged > 0) disk.restore(played.told[row.acknowledged - 1].image);
    Stage stage(disk, {.busy_timeout_ms = 2});
    if (row.closing) {
      stage.set_clock(played.story[row.acknowledged - 1].at_us);
      if (const auto opened = stage.open(34); !opened.ok()) return opened.error().message;
      Memory memory = played.told[row.acknowledged - 1].memory;
      const Answer answer = played.story[row.acknowledged - 1].act(stage.engine(), memory);
      if (answer.reason != Reason::none) return answer.message;
    }
    disk.arm({.calls = plan.calls, .at = n, .persistent = plan.persistent, .kind = plan.kind});
    Result<Done> opened = Done{};
    if (!row.closing) opened = stage.open(34);
    if (row.closing) stage.close();
    fired = disk.fired() > 0;
    disk.disarm();
    ++cases;
    if (!opened.ok()) {
      ++refused;
      const Status status = opened.error().status();
      const bool said = status == Status::unavailable || status == Status::unknown ||
                        opened.reason() == Reason::file_missing || opened.reason() == Reason::unsupported;
      if (!fired || !said)
        return "it says " + std::string(word(opened.reason())) + ": " + opened.error().message;
    }
    stage.close();
    if (disk.open_files() != 0) return "files stay open";
    return fault_in(disk.snapshot(), {.acknowledged = row.acknowledged + (row.closing ? 1 : 0),
                                      .depth = cases % 8 == 0 ? Depth::pages : Depth::rules,
                                      .life = 35});
  };
  for (const Row& row : rows)
    for (const Plan& plan : plans()) {
      if (test_scale() == Scale::small && plan.persistent) continue;
      for (std::uint64_t n = 1; fault.empty(); ++n) {
        bool fired = false;
        fault = one(row, plan, n, fired);
        if (!fault.empty()) fault = row.says + ", " + describe(plan, n) + ": " + fault;
        if (!fired) break;
      }
    }
  CHECK_MESSAGE(fault.empty(), fault);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("I/O errors at opening and closing: ", cases, " cases, ", refused, " openings refused, ", ms,
          " ms");
  testing::told("I/O faults at opening and closing", cases);
  CHECK(refused > 100);
}

TEST_CASE("a disk that is full behind the last frame of a commit is told truly") {
  // Where a torn write endangers its sector SQLite pads the log behind a commit, so the commit may be whole
  // in the log when the room runs out.
  const Played& played = undisturbed();
  Tally counts;
  std::string fault;
  for (std::size_t step = 0; step < played.story.size() && fault.empty(); ++step) {
    if (!played.story[step].act || (test_scale() == Scale::small && step % 4 != 0)) continue;
    for (const FaultKind kind : {FaultKind::disk_full, FaultKind::short_write}) {
      const Plan plan{Calls::write, kind, true};
      for (std::uint64_t n = 1; fault.empty(); ++n) {
        bool fired = false;
        fault = fail_step(step, plan, n, true, fired, counts, {.powersafe_overwrite = false});
        if (!fault.empty()) fault = played.story[step].name + ", " + describe(plan, n) + ": " + fault;
        if (!fired) break;
      }
    }
  }
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(counts.cases > 50);
}

TEST_CASE("a full disk may be run into again and again, and no connection is left behind each time") {
  Disk disk;
  Stage stage(disk);
  REQUIRE(stage.open(38).ok());
  Session session = stage.engine().as_operator();
  const WalletId wallet = session.create_wallet({.owner_id = "human"}).value().wallet.id;
  const auto topup = [&](int i) {
    return session.topup(
        {.wallet = wallet, .amount = flops(1), .idempotency_key = "once-" + std::to_string(i)});
  };
  const std::uint64_t files = disk.open_files();
  constexpr int calls = 50;
  for (int i = 0; i < calls; ++i) {
    disk.arm({.calls = Calls::write,
              .at = 1 + static_cast<std::uint64_t>(i % 5),
              .persistent = true,
              .kind = FaultKind::disk_full});
    const auto refused = topup(i);
    disk.disarm();
    CHECK((refused.reason() == Reason::disk_full || refused.reason() == Reason::outcome_unknown));
    CHECK((!refused.ok() && refused.error().message.find("the disk is full") != std::string::npos));
    CHECK(disk.open_files() <= 3 * files);
  }
  for (int i = 0; i < calls; ++i) CHECK(topup(i).ok());
  CHECK(disk.open_files() == files);
  CHECK(session.wallet(wallet).value().balance == flops(calls));
  stage.close();
  CHECK(find_broken_rule(disk, Depth::pages) == "");
}

TEST_CASE(
    "after a failed sync an engine goes on and loses nothing, also when it is closed and opened again") {
  // The pages of a failed sync count as clean, so no later sync saves them. What is read back from the cache
  // then is not on the disk, and whatever is appended behind it would be lost with it.
  struct Row {
    std::string says;
    bool reopened;
  };
  const Row rows[] = {{"the same engine goes on", false}, {"the engine is closed and opened again", true}};
  const Played& played = undisturbed();
  std::vector<Damage> damages = {{DamageKind::drop_all, 0}, {DamageKind::reordered, 0}};
  if (test_scale() == Scale::soak) {
    damages.push_back({DamageKind::keep_all, 0});
    damages.push_back({DamageKind::mixed, 1});
  }
  std::uint64_t cases = 0, recoveries = 0, unknown = 0;
  for (const Row& row : rows) {
    std::string fault;
    for (std::size_t step = 0; step + 4 < played.story.size() && fault.empty(); ++step) {
      if (!played.story[step].act || (test_scale() == Scale::small && step % 4 != 0)) continue;
      for (std::uint64_t n = 1; fault.empty(); ++n) {
        // From the failed step on the story is told to its end, and the power goes at every event of the
        // rest.
        Disk disk;
        disk.restore(played.told[step].image);
        Stage stage(disk, {.busy_timeout_ms = 2});
        stage.set_clock(played.story[step].at_us);
        REQUIRE(stage.open(36).ok());
        Memory memory = played.told[step].memory;
        disk.start_trace();
        disk.arm({.calls = Calls::sync, .at = n, .persistent = false, .kind = FaultKind::io_error});
        const Answer answer = played.story[step].act(stage.engine(), memory);
        const bool fired = disk.fired() > 0;
        disk.disarm();
        if (!fired) break;
        ++cases;
        if (facts(answer.reason).status == Status::unknown) ++unknown;
        Played rest;
        rest.story.assign(played.story.begin() + static_cast<std::ptrdiff_t>(step), played.story.end());
        rest.story.resize(std::min<std::size_t>(rest.story.size(), 4));
        rest.told.push_back(played.told[step]);
        rest.told[0].events = 0;
        memory = played.told[step].memory;
        if (row.reopened) {
          stage.close();
          if (const auto opened = stage.open(37); !opened.ok())
            fault = "no opening: " + opened.error().message;
        }
        for (const Step& next : rest.story) {
          if (!fault.empty()) break;
          stage.set_clock(next.at_us);
          if (next.act) {
            const Answer given = next.act(stage.engine(), memory);
            if (given.reason != Reason::none)
              fault = next.name + " then says " + given.text + ": " + given.message;
          }
          Told told;
          told = played.told[step + rest.told.size()];
          told.events = disk.events();
          told.memory = memory;
          rest.told.push_back(std::move(told));
        }
        // Other secrets were minted here than in the undisturbed story; ids and numbers are the same.
        rest.told[0].memory.secrets = played.told[step].memory.secrets;
        stage.close();
        rest.trace = disk.take_trace();
        if (!fault.empty()) break;
        const Cuts found = cut_everywhere(rest, damages, Syncs::honours);
        recoveries += found.distinct;
        if (found.bad != 0) fault = found.fault;
        if (!fault.empty())
          fault = row.says + ", " + played.story[step].name + ", sync " + std::to_string(n) + ": " + fault;
      }
    }
    CHECK_MESSAGE(fault.empty(), fault);
  }
  MESSAGE("failed syncs: ", cases, " cases, ", unknown, " told unknown, ", recoveries, " recoveries");
  testing::told("failed syncs", cases);
  testing::told("recoveries after failed syncs", recoveries);
  CHECK(unknown >= by_scale<std::uint64_t>(5, 50, 50));
}

}  // namespace calyx::faults
