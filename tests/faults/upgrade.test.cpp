/// \file
/// A file goes forward to the next schema while the power goes, the disk fails or memory runs out.
#include <doctest/doctest.h>

#include <string>

#include "faults/fault_alloc.hpp"
#include "faults/fault_vfs.hpp"
#include "store/asking.hpp"
#include "store/later_schemas.hpp"
#include "store/market_store.hpp"
#include "testing.hpp"

namespace calyx::faults {
namespace {

using testing::by_scale;

constexpr const char* market = "/mem/m.db";

Result<store::Connection> open_on(const Disk& disk, const std::string& path = market) {
  return store::Connection::open({.path = path, .create = true, .vfs = disk.vfs_name()});
}

constexpr const char* events_of = "SELECT group_concat(seq || ' ' || at_us) FROM events";
constexpr const char* events_told = "1 1000,2 2000,3 3000";

/// A file of this build's schema with three events, as a process leaves it that dies.
Image before() {
  Disk disk;
  store::Connection connection = open_on(disk).value();
  REQUIRE(store::migrate(connection, false).ok());
  store::MarketStore store = store::MarketStore::make(connection, true).value();
  store::WriteTransaction transaction = store::WriteTransaction::begin(connection).value();
  for (store::Seq seq = 1; seq <= 3; ++seq)
    REQUIRE(store.append_event(seq, Instant{1'000 * seq}, 6, "{}", {}).ok());
  REQUIRE(transaction.commit().ok());
  return disk.snapshot();
}

Result<Done> go_forward(const Disk& disk) {
  CALYX_TRY(store::Connection connection, open_on(disk));
  return store::migrate(connection, false, store::Blank::refused, store::next_but_one_schema());
}

/// What is wrong with the copy that was made before.
std::string fault_in_copy(const Disk& disk) {
  Result<store::Connection> copy =
      open_on(disk, std::string(market) + "-schema" + std::to_string(store::schema_version));
  if (!copy.ok()) return "its copy does not open: " + copy.error().message;
  if (const Result<Done> whole = store::migrate(*copy, false, store::Blank::refused); !whole.ok())
    return "its copy is not whole: " + whole.error().message;
  if (const std::string check = store::ask(*copy, "PRAGMA integrity_check"); check != "ok")
    return "its copy: " + check;
  const std::string events = store::ask(*copy, events_of);
  return events == events_told ? std::string() : "its copy has the events " + events;
}

/// What is wrong with `left`: it must be of the first schema or of the last, whole, and go forward now.
std::string fault_in(const Image& left, std::uint64_t& forward) {
  Disk disk;
  disk.restore(left);
  {
    Result<store::Connection> opened = open_on(disk);
    if (!opened.ok()) return "does not open: " + opened.error().message;
    const std::string version = store::ask(*opened, "PRAGMA user_version");
    const bool last = version == std::to_string(store::schema_version + 2);
    if (!last && version != std::to_string(store::schema_version)) return "is of version " + version;
    forward += last ? 1 : 0;
    const Result<Done> whole = store::migrate(*opened, false, store::Blank::refused,
                                              last ? store::next_but_one_schema() : store::own_schema());
    if (!whole.ok()) return "is of version " + version + " and not whole: " + whole.error().message;
    if (const std::string check = store::ask(*opened, "PRAGMA integrity_check"); check != "ok") return check;
    if (const std::string bad = last ? fault_in_copy(disk) : std::string(); !bad.empty()) return bad;
  }
  if (const Result<Done> again = go_forward(disk); !again.ok()) return "stays back: " + again.error().message;
  store::Connection connection = open_on(disk).value();
  if (const std::string events = store::ask(connection, events_of); events != events_told)
    return "has the events " + events;
  const std::string remarks = store::ask(connection, "SELECT group_concat(at_us || text) FROM remarks");
  if (remarks != "1000of 1000,2000of 2000,3000of 3000") return "has the remarks " + remarks;
  return {};
}

}  // namespace

TEST_CASE("the power may go at any moment as a file goes forward, and it is of one schema or the other") {
  Disk disk;
  disk.restore(before());
  disk.start_trace();
  REQUIRE(go_forward(disk).ok());
  const Trace trace = disk.take_trace();
  std::uint64_t recovered = 0, forward = 0;
  std::string fault;
  for_each_cut(trace, {all_damages.begin(), all_damages.end()}, Syncs::honours, [&](const Cut& cut) {
    if (!fault.empty()) return;
    ++recovered;
    fault = fault_in(cut.left, forward);
    if (!fault.empty())
      fault = "after " + std::to_string(cut.events) + " events, " + name_of(cut.damage.kind) + ": " + fault;
  });
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(forward > 0);
  CHECK(forward < recovered);
  MESSAGE("power cuts as a file goes forward: ", trace.events.size(), " events, ", recovered, " recoveries, ",
          forward, " of them of the last schema");
  testing::told("recoveries of files that went forward", recovered);
}

TEST_CASE("any call of the file system may fail as a file goes forward, and the next try brings it there") {
  const Image start = before();
  std::uint64_t refused = 0, forward = 0;
  std::string fault;
  for (const Calls calls : failing_calls)
    for (const FaultKind kind : {FaultKind::io_error, FaultKind::disk_full})
      for (std::uint64_t n = 1; fault.empty(); ++n) {
        Disk disk;
        disk.restore(start);
        disk.arm({.calls = calls, .at = n, .kind = kind});
        const Result<Done> done = go_forward(disk);
        const bool fired = disk.fired() > 0;
        disk.disarm();
        if (!done.ok()) ++refused;
        const bool told = fired && done.reason() != Reason::corrupt && done.reason() != Reason::not_a_market;
        if (!done.ok() && !told) fault = done.error().message;
        if (fault.empty()) fault = fault_in(disk.snapshot(), forward);
        if (!fault.empty()) fault = std::string(name_of(calls)) + " " + std::to_string(n) + ": " + fault;
        if (!fired) break;
      }
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(refused > 50);
  MESSAGE("I/O errors as a file goes forward: ", refused, " refused");
  testing::told("I/O faults as a file goes forward", refused);
}

TEST_CASE("memory may run out at any allocation as a file goes forward, and the next try brings it there") {
  REQUIRE(sqlite_allocator_installed());
  const Image start = before();
  std::uint64_t refused = 0, forward = 0;
  std::string fault;
  // There are thousands: each in a soak, else some, by a prime that no loop of the code has for its length.
  const std::uint64_t every = by_scale<std::uint64_t>(199, 23, 1);
  for (std::uint64_t at = 1; fault.empty(); at += every) {
    Disk disk;
    disk.restore(start);
    Result<Done> done = fail(Reason::no_memory, "no memory");
    std::uint64_t fired = 0;
    {
      AllocScope scope({.fail_at = at});
      try {
        done = go_forward(disk);
      } catch (const std::bad_alloc&) {  // as the engine's calls take it
      }
      scope.stop();
      fired = scope.fired();
    }
    if (!done.ok()) ++refused;
    if (!done.ok() && (done.reason() != Reason::no_memory || fired == 0)) fault = done.error().message;
    if (fault.empty()) fault = fault_in(disk.snapshot(), forward);
    if (!fault.empty()) fault = "allocation " + std::to_string(at) + ": " + fault;
    if (fired == 0) break;
  }
  CHECK_MESSAGE(fault.empty(), fault);
  CHECK(refused * every > 10'000);
  MESSAGE("allocations that failed as a file went forward: ", refused);
  testing::told("failed allocations as a file goes forward", refused);
}

}  // namespace calyx::faults
