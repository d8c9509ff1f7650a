/// \file
/// Memory runs out at every allocation of every step of the story, SQLite's and C++'s, once and for good.
///
/// A call may then fail with `no_memory` or let `std::bad_alloc` pass; it may not crash, leak, stay half
/// done, or leave an engine that does not go on when there is memory again.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include "engine_story.hpp"
#include "fault_alloc.hpp"

namespace calyx::faults {
namespace {

struct Tally {
  std::uint64_t cases = 0, threw = 0, no_memory = 0, unknown = 0, answered = 0;
};

/// How a call ended while memory ran out.
struct End {
  bool threw = false;
  Answer answer;
  bool fired = false;
};

template <class Call>
End starve(const AllocPlan& plan, Call call) {
  End end;
  AllocScope scope(plan);
  try {
    end.answer = call();
  } catch (const std::bad_alloc&) {
    end.threw = true;
  }
  scope.stop();
  end.fired = scope.fired() > 0;
  return end;
}

void count(Tally& tally, const End& end) {
  ++tally.cases;
  if (end.threw)
    ++tally.threw;
  else if (end.answer.reason == Reason::none)
    ++tally.answered;
  else if (end.answer.reason == Reason::outcome_unknown)
    ++tally.unknown;
  else
    ++tally.no_memory;
}

/// How far the next allocation to fail for good lies after the `n`th. Where memory does not come back the
/// engine fails ever later on its way to a fresh connection: of that long tail some are enough, unless there
/// is time.
std::uint64_t stride_after(std::uint64_t n) { return n < 150 ? 1 : by_scale<std::uint64_t>(97, 23, 1); }

/// One step, starved at allocation 1, 2, 3, … until it goes through. Empty when all is well.
std::string starve_step(std::size_t step, bool persistent, AllocSource source, Tally& tally) {
  const Played& played = undisturbed();
  const Told& before = played.told[step];
  const Told& after = played.told[step + 1];
  const auto act = played.story[step].act;
  Disk disk;
  Stage stage(disk);
  stage.set_clock(played.story[step].at_us);
  const auto set_up = [&] {
    stage.close();
    disk.restore(before.image);
    const auto opened = stage.open(31);
    return opened.ok() ? std::string() : "no opening: " + opened.error().message;
  };
  if (std::string bad = set_up(); !bad.empty()) return bad;
  for (std::uint64_t n = 1;; n += persistent ? stride_after(n) : 1) {
    Memory memory = before.memory;
    const End end = starve({.fail_at = n, .persistent = persistent, .source = source},
                           [&] { return act(stage.engine(), memory); });
    count(tally, end);
    const auto say = [&](const std::string& what) {
      return "allocation " + std::to_string(n) + (persistent ? " and after: " : ": ") +
             (end.threw ? "threw" : "said \"" + end.answer.text + "\" " + end.answer.message) + ": " + what;
    };
    if (!end.threw && end.answer.reason == Reason::none && end.answer.text != after.answer.text)
      return say("not the answer");
    if (!end.fired) {
      if (end.threw || end.answer.reason != Reason::none) return say("fails with memory enough");
      if (standing(stage.engine()) != after.standing) return say("wallets stand otherwise");
      break;
    }
    if (!end.threw && end.answer.reason != Reason::none && end.answer.reason != Reason::no_memory &&
        end.answer.reason != Reason::outcome_unknown)
      return say("another reason than memory");
    // Whoever looks now sees all of it or nothing, and what was said is true.
    const bool done = last_seq(disk) == after.seq && after.seq != before.seq;
    const std::string stands = standing(stage.engine());
    if (stands != (done ? after : before).standing) return say("wallets stand as neither:\n" + stands);
    if (done && !end.threw && end.answer.reason == Reason::no_memory) return say("but it was written");
    if (!done && last_seq(disk) != before.seq) return say("half of it was written");
    if (done) {
      memory = before.memory;
      const Answer again = act(stage.engine(), memory);
      if (again.text != after.answer.text)
        return say("the retry gives \"" + again.text + "\" " + again.message);
      if (std::string bad = set_up(); !bad.empty()) return bad;
    }
  }
  // After all those failures in a row the engine and its file are sound.
  if (std::string broken = find_broken_rule(disk, Depth::pages); !broken.empty()) return broken;
  const auto report = stage.engine().as_operator().audit();
  if (!report.ok()) return "no audit: " + report.error().message;
  if (!report->ok) return "the audit says: " + report->first_fault;
  stage.close();
  return disk.open_files() == 0 ? std::string() : "files stay open";
}

}  // namespace

TEST_CASE("the allocator under SQLite is ours") { REQUIRE(sqlite_allocator_installed()); }

TEST_CASE("memory may run out at any allocation of any step, and nothing is half done") {
  const auto begun = std::chrono::steady_clock::now();
  const Played& played = undisturbed();
  const sqlite3_int64 used_before = sqlite3_memory_used();
  Tally tally;
  std::string fault;
  for (std::size_t step = 0; step < played.story.size() && fault.empty(); ++step) {
    if (!played.story[step].act) continue;
    for (const bool persistent : {false, true})
      for (const AllocSource source : {AllocSource::both, AllocSource::sqlite, AllocSource::cpp}) {
        // One that fails alone is met by `both`; only those that go on failing differ by whose they are.
        if (source != AllocSource::both && (!persistent || test_scale() == Scale::small)) continue;
        if (!fault.empty()) continue;
        fault = starve_step(step, persistent, source, tally);
        if (!fault.empty()) fault = played.story[step].name + ", " + fault;
      }
  }
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(sqlite3_memory_used() == used_before);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("out of memory in steps: ", tally.cases, " cases, ", tally.threw, " threw, ", tally.no_memory,
          " said no_memory, ", tally.unknown, " unknown, ", tally.answered, " answered, ", ms, " ms");
  testing::told("points where memory ran out in steps", tally.cases);
  CHECK(tally.no_memory > 1000);
}

TEST_CASE("memory may run out as a market is read, opened or closed") {
  const auto begun = std::chrono::steady_clock::now();
  const Played& played = undisturbed();
  const Told& end = played.told.back();
  Tally tally;
  std::string fault;

  Disk disk;
  disk.restore(end.image);
  Stage stage(disk);
  stage.set_clock(end_of(played.story));
  REQUIRE(stage.open(31).ok());
  const WalletId agent = end.memory.wallets.at("agent"), host = end.memory.wallets.at("host");
  const auto told = [](const auto& result) {
    return result.ok() ? Answer{} : Answer{result.reason(), "", result.error().message};
  };
  struct Reading {
    std::string says;
    std::function<Answer(Session&)> read;
  };
  const auto receipts = stage.engine().as_operator().receipts(host);
  REQUIRE(receipts.ok());
  REQUIRE(!receipts->items.empty());
  const ReceiptId receipt = receipts->items.front().id;
  const Reading readings[] = {
      {"wallet", [&](Session& s) { return told(s.wallet(agent)); }},
      {"wallets", [&](Session& s) { return told(s.wallets()); }},
      {"entries", [&](Session& s) { return told(s.entries(agent)); }},
      {"escrows", [&](Session& s) { return told(s.escrows(agent)); }},
      {"approvals", [&](Session& s) { return told(s.approvals(agent)); }},
      {"keys", [&](Session& s) { return told(s.keys(agent)); }},
      {"receipts", [&](Session& s) { return told(s.receipts(host)); }},
      {"receipt", [&](Session& s) { return told(s.receipt(receipt)); }},
      {"inclusion proof", [&](Session& s) { return told(s.inclusion_proof(receipt)); }},
      {"consistency proof", [&](Session& s) { return told(s.consistency_proof(1, 3)); }},
      {"checkpoint", [&](Session& s) { return told(s.checkpoint()); }},
      {"audit", [&](Session& s) { return told(s.audit()); }},
      {"export",
       [&](Session& s) {
         return told(s.export_ledger(ExportFormat::jsonl, [](std::string_view) { return true; }));
       }},
  };
  for (const Reading& reading : readings)
    for (const bool persistent : {false, true})
      for (std::uint64_t n = 1; fault.empty(); n += persistent ? stride_after(n) : 1) {
        Session session = stage.engine().as_operator();
        const End ended =
            starve({.fail_at = n, .persistent = persistent}, [&] { return reading.read(session); });
        count(tally, ended);
        const bool good =
            ended.threw || ended.answer.reason == Reason::none || ended.answer.reason == Reason::no_memory;
        if (!good || (!ended.fired && ended.answer.reason != Reason::none))
          fault = reading.says + ", allocation " + std::to_string(n) + ": " +
                  std::string(word(ended.answer.reason)) + " " + ended.answer.message;
        if (!ended.fired) break;
      }
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(standing(stage.engine()) == end.standing);
  stage.close();

  // Openings allocate by the ten thousand, for every statement is prepared then: not each allocation is tried
  // unless there is time.
  const std::uint64_t stride_alone = by_scale<std::uint64_t>(97, 53, 1);
  const std::uint64_t stride_for_good = by_scale<std::uint64_t>(193, 97, 1);
  for (const bool birth : {true, false})
    for (const bool persistent : {false, true})
      for (std::uint64_t n = 1; fault.empty(); n += persistent ? stride_for_good : stride_alone) {
        disk.restore(birth ? Image{} : end.image);
        const sqlite3_int64 used_before = sqlite3_memory_used();
        const End ended =
            starve({.fail_at = n, .persistent = persistent}, [&] { return told(stage.open(32)); });
        count(tally, ended);
        const auto say = [&](const std::string& what) {
          return std::string(birth ? "birth" : "opening") + ", allocation " + std::to_string(n) + ": " +
                 std::string(word(ended.answer.reason)) + " " + ended.answer.message + ": " + what;
        };
        const bool good = ended.threw || ended.answer.reason == Reason::none ||
                          ended.answer.reason == Reason::no_memory ||
                          ended.answer.reason == Reason::outcome_unknown;
        if (!good) fault = say("another reason than memory");
        if (!ended.fired && !stage.is_open()) fault = say("does not open with memory enough");
        const bool was_open = stage.is_open();
        stage.close();
        if (disk.open_files() != 0) fault = say("files stay open");
        if (sqlite3_memory_used() != used_before) fault = say("SQLite's memory is not given back");
        // After a failed birth the market may stand or not; an older one stands as it was.
        if (fault.empty() && (!was_open || n % 8 == 0)) {
          const std::string bad = find_fault(stage, played.story, played.told,
                                             {.acknowledged = birth ? 0 : played.told.size(),
                                              .depth = n % 8 == 0 ? Depth::pages : Depth::rules,
                                              .life = 33});
          if (!bad.empty()) fault = say(bad);
        }
        if (!ended.fired) break;
      }
  CHECK_MESSAGE(fault.empty(), fault);

  // A closing copies the log into the file; it has no way to complain, and needs none.
  for (std::uint64_t n = 1; fault.empty(); ++n) {
    disk.restore(played.told[played.told.size() - 2].image);
    stage.set_clock(played.story.back().at_us);
    REQUIRE(stage.open(34).ok());
    Memory memory = played.told[played.told.size() - 2].memory;
    REQUIRE(played.story.back().act(stage.engine(), memory).reason == Reason::none);
    const End ended = starve({.fail_at = n, .persistent = true}, [&] {
      stage.close();
      return Answer{};
    });
    count(tally, ended);
    fault = find_fault(stage, played.story, played.told, {.acknowledged = played.told.size(), .life = 35});
    if (!fault.empty()) fault = "closing, allocation " + std::to_string(n) + ": " + fault;
    if (!ended.fired) break;
  }
  CHECK_MESSAGE(fault.empty(), fault);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("out of memory in reading, opening, closing: ", tally.cases, " cases, ", tally.threw, " threw, ",
          tally.no_memory, " said no_memory, ", tally.answered, " answered, ", ms, " ms");
  testing::told("points where memory ran out in reading, opening and closing", tally.cases);
}

TEST_CASE("memory may run out under callers who share commits, and each gets an answer that is true") {
  const auto begun = std::chrono::steady_clock::now();
  constexpr std::size_t callers = 6;
  const std::uint64_t rounds = by_scale<std::uint64_t>(20, 60, 3000);
  Disk disk;
  Stage stage(disk, {.busy_timeout_ms = 2000});
  REQUIRE(stage.open(50).ok());
  Session session = stage.engine().as_operator();
  std::vector<WalletId> payers;
  const WalletId host = session.create_wallet({.owner_id = "host"}).value().wallet.id;
  for (std::size_t i = 0; i < callers; ++i) {
    payers.push_back(session.create_wallet({.owner_id = "payer"}).value().wallet.id);
    CHECK(session.topup({.wallet = payers[i], .amount = flops(1'000'000)}).ok());
  }
  const auto wishes = [&](std::size_t caller, std::uint64_t round) {
    std::vector<Operation> operations;
    for (int i = 0; i < 6; ++i) {
      const std::string job = std::to_string(round) + "-" + std::to_string(i);
      operations.emplace_back(
          Spend{.wallet = payers[caller], .job_id = job, .amount = flops(1), .host_wallet = host});
      operations.emplace_back(Earn{.host = host,
                                   .job_id = job,
                                   .gross_amount = flops(1),
                                   .output_hash = story::output_hash(),
                                   .gpu_model = "H100",
                                   .payer_wallet = payers[caller]});
    }
    return operations;
  };
  std::uint64_t fired = 0, untrue = 0, starved = 0, through = 0;
  Dice dice(7);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // The threads and what they ask for are there before memory gets short.
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::vector<Operation>> asked;
    for (std::size_t i = 0; i < callers; ++i) asked.push_back(wishes(i, round));
    std::vector<Reason> answers(callers, Reason::internal);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < callers; ++i)
      threads.emplace_back([&, i] {
        ready.fetch_add(1);
        while (!go.load()) std::this_thread::yield();
        try {
          Session mine = stage.engine().as_operator();
          const auto outcomes = mine.bulk(asked[i]);
          answers[i] = outcomes.reason();
        } catch (const std::bad_alloc&) {
          answers[i] = Reason::no_memory;
        }
      });
    while (ready.load() != static_cast<int>(callers)) std::this_thread::yield();
    {
      AllocScope scope(
          {.fail_at = 1 + dice.below(4000), .persistent = round % 3 == 0, .threads = AllocThreads::all});
      go.store(true);
      for (std::thread& thread : threads) thread.join();
      scope.stop();
      if (scope.fired() > 0) ++fired;
    }
    for (std::size_t i = 0; i < callers; ++i) {
      const auto again = session.bulk(asked[i]);
      REQUIRE(again.ok());
      const auto* first = std::get_if<Spent>(&again->front());
      REQUIRE(first != nullptr);
      if (answers[i] == Reason::none) {
        ++through;
        if (!first->replayed) ++untrue;  // it was said to stand
      } else {
        ++starved;
        // An exception may come after the commit; `no_memory` as an answer may not, but cannot be told apart
        // here.
        if (answers[i] != Reason::no_memory && answers[i] != Reason::outcome_unknown) ++untrue;
      }
    }
  }
  CHECK(untrue == 0);
  CHECK(starved > 0);
  CHECK(through > 0);
  for (const WalletId payer : payers)
    CHECK(session.wallet(payer).value().balance == flops(1'000'000 - static_cast<std::int64_t>(6 * rounds)));
  CHECK(session.audit({}, AuditDepth::each).value().ok);
  CHECK(find_broken_rule(disk, Depth::pages) == "");
  stage.close();
  CHECK(disk.open_files() == 0);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("out of memory among callers: ", rounds, " rounds, memory ran out in ", fired, ", ", starved,
          " starved, ", through, " through, ", untrue, " untrue, ", ms, " ms");
  testing::told("callers' batches in which memory ran out", fired);
}

}  // namespace calyx::faults
