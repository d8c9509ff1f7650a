#include "store/gate.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "scratch.hpp"
#include "testing.hpp"

using calyx::Reason;
using calyx::store::Gate;
using calyx::store::GateHold;
using calyx::store::in_child;
using calyx::store::monotonic_us;
using calyx::store::Scratch;
using calyx::store::Shared;
using calyx::store::start_child;
using calyx::store::wait_for;

namespace {

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

/// Opens the gate at `path` as another process would, and tries it.
Reason try_from_child(const std::string& path, std::uint64_t timeout_ms) {
  return static_cast<Reason>(in_child([&] {
    auto gate = Gate::open(path).value();
    return static_cast<int>(gate.lock(timeout_ms).reason());
  }));
}

}  // namespace

TEST_CASE("one process at a time holds the gate, and a closed descriptor of its file opens nothing") {
  const Scratch scratch;
  const std::string path = scratch / "m.db-gate";
  auto gate = Gate::open(path).value();
  REQUIRE(gate.lock(0).ok());
  CHECK(try_from_child(path, 20) == Reason::store_busy);

  const int other = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(other >= 0);
  ::close(other);
  CHECK(try_from_child(path, 20) == Reason::store_busy);

  gate.unlock();
  CHECK(try_from_child(path, 20) == Reason::none);
}

TEST_CASE("two engines of one process exclude each other, and the wait is told in milliseconds") {
  const Scratch scratch;
  auto first = Gate::open(scratch / "g").value();
  auto second = Gate::open(scratch / "g").value();
  REQUIRE(first.lock(0).ok());
  const std::int64_t began_us = monotonic_us();
  const auto refused = second.lock(30);
  const std::int64_t waited_us = monotonic_us() - began_us;
  CHECK(refused.reason() == Reason::store_busy);
  CHECK(waited_us >= 30'000);
  const auto* told = refused.error().details.find("waited_ms");
  REQUIRE(told != nullptr);
  REQUIRE(told->integer() != nullptr);
  CHECK(*told->integer() >= 30);
  CHECK(*told->integer() <= waited_us / 1000);
  CHECK(refused.error().message.ends_with(" ms: repeat the call, or set busy_timeout_ms higher"));
  CHECK_FALSE(second.held());

  first.unlock();
  CHECK_FALSE(first.held());
  CHECK(second.lock(0).ok());
  CHECK(second.held());
}

TEST_CASE("a gate taken twice is the caller's defect, not a wait") {
  const Scratch scratch;
  auto gate = Gate::open(scratch / "g").value();
  REQUIRE(gate.lock(0).ok());
  CHECK(gate.lock(0).reason() == Reason::internal);
  CHECK(gate.held());
  gate.unlock();
  gate.unlock();
  CHECK(gate.lock(0).ok());
}

TEST_CASE("a holder that is killed leaves the gate open") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  const Shared<std::atomic<bool>> holds;
  const pid_t child = start_child([&] {
    auto gate = Gate::open(path).value();
    if (!gate.lock(0).ok()) return 1;
    holds->store(true);
    for (;;) pause_ms(1000);
  });
  while (!holds->load()) pause_ms(1);
  auto gate = Gate::open(path).value();
  CHECK(gate.lock(10).reason() == Reason::store_busy);
  ::kill(child, SIGKILL);
  CHECK(wait_for(child) == -1);
  CHECK(gate.lock(1000).ok());
}

TEST_CASE("a forked child is told so, and cannot open its parent's gate") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  auto gate = Gate::open(path).value();
  REQUIRE(gate.lock(0).ok());
  const int code = in_child([&] {
    const Reason reason = gate.lock(0).reason();
    gate.unlock();
    { const Gate gone = std::move(gate); }
    return static_cast<int>(reason);
  });
  CHECK(static_cast<Reason>(code) == Reason::forked);
  CHECK(try_from_child(path, 10) == Reason::store_busy);
}

TEST_CASE("the gate's file is for its owner, whole, closed on exec, and stays") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  struct stat facts = {};
  {
    auto gate = Gate::open(path).value();
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    CHECK(facts.st_size == 4096);
    CHECK(facts.st_blocks > 0);
    int found = 0;
    for (int descriptor = 3; descriptor < 256; ++descriptor) {
      struct stat theirs = {};
      if (::fstat(descriptor, &theirs) != 0 || theirs.st_ino != facts.st_ino || theirs.st_dev != facts.st_dev)
        continue;
      ++found;
      CHECK((::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(found == 1);
  }
  struct stat later = {};
  REQUIRE(::stat(path.c_str(), &later) == 0);
  CHECK(later.st_ino == facts.st_ino);
}

TEST_CASE("a gate that cannot be had says which file it is, and what to do") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "folder");
  REQUIRE(::symlink("nowhere", (scratch / "link").c_str()) == 0);
  REQUIRE(::mkfifo((scratch / "pipe").c_str(), 0600) == 0);
  const std::pair<const char*, const char*> rows[] = {
      {"folder", ": the market's gate file cannot be opened (errno 21): move it away"},
      {"link", ": the market's gate file cannot be opened (errno 40): move it away"},
      {"pipe", ": the market's gate is no file: move it away"},
      {"none/g", ": the market's gate file cannot be made (errno 2): make its folder"},
  };
  for (const auto& [name, said] : rows) {
    const auto opened = Gate::open(scratch / name);
    REQUIRE_FALSE(opened.ok());
    CHECK(opened.error().message == (scratch / name) + said);
  }
}

TEST_CASE("a gate cut short is made whole, and a stranger's file is left as it is") {
  const Scratch scratch;
  struct Row {
    std::string says;
    std::string contents;
    Reason expected;
  };
  const Row rows[] = {
      {"empty", "", Reason::none},
      {"a few bytes of a full disk", std::string(10, '\0'), Reason::none},
      {"zeros", std::string(4096, '\0'), Reason::none},
      {"a text", "Dear diary, today", Reason::not_a_market},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const std::string path = scratch / row.says;
    std::ofstream(path, std::ios::binary) << row.contents;
    auto gate = Gate::open(path);
    CHECK(gate.reason() == row.expected);
    if (gate.ok()) {
      CHECK(std::filesystem::file_size(path) == 4096);
      CHECK(gate->committed_seq() == 0U);
      CHECK(gate->lock(0).ok());
    } else {
      CHECK(std::filesystem::file_size(path) == row.contents.size());
    }
  }
  CHECK(Gate::open(scratch / "no/gate").reason() == Reason::io_error);
}

TEST_CASE("a committed number is seen by every process and never goes back") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  auto gate = Gate::open(path).value();
  CHECK(gate.committed_seq() == 0U);
  gate.publish(41);
  CHECK(in_child([&] {
          auto theirs = Gate::open(path).value();
          if (theirs.committed_seq() != 41U) return 1;
          theirs.publish(43);
          theirs.publish(42);
          return 0;
        }) == 0);
  CHECK(gate.committed_seq() == 43U);
  gate.publish(40);
  CHECK(gate.committed_seq() == 43U);
  CHECK(Gate::open_for_reading(path).committed_seq() == 43U);
}

TEST_CASE("a gate without a file is always open and knows no number") {
  Gate gate;
  CHECK_FALSE(gate.has_file());
  CHECK(gate.lock(0).ok());
  CHECK(gate.lock(0).ok());
  gate.publish(7);
  CHECK_FALSE(gate.committed_seq().has_value());
  CHECK_FALSE(gate.wanted_by_others());
  gate.unlock();

  const Scratch scratch;
  CHECK_FALSE(Gate::open_for_reading(scratch / "no/gate").has_file());
}

TEST_CASE("a reader who may not write the gate still locks it and reads its number") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  auto gate = Gate::open(path).value();
  gate.publish(5);
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  REQUIRE(gate.lock(0).ok());
  // Permissions mean nothing to root, so the child becomes somebody; who is nobody already stays.
  const int code = in_child([&] {
    if (::geteuid() == 0 && (::chmod(scratch.folder().c_str(), 0755) != 0 ||
                             ::chown(path.c_str(), 65534, 65534) != 0 || ::setuid(65534) != 0))
      return 77;
    auto reader = Gate::open_for_reading(path);
    if (!reader.has_file()) return 1;
    if (reader.committed_seq() != 5U) return 2;
    if (reader.lock(10).reason() != Reason::store_busy) return 3;
    reader.publish(9);
    if (Gate::open(path).ok()) return 4;
    return 0;
  });
  if (code == 77)
    calyx::testing::skipped("a gate that may only be read", "this process cannot become another user");
  CHECK((code == 0 || code == 77));
  CHECK(gate.committed_seq() == 5U);
}

TEST_CASE("a holder sees that others want the gate, and is not fooled by its own waiting") {
  const Scratch scratch;
  const std::string path = scratch / "g";
  auto first = Gate::open(path).value();
  auto second = Gate::open(path).value();
  CHECK_FALSE(first.wanted_by_others());
  REQUIRE(first.lock(0).ok());
  CHECK_FALSE(first.wanted_by_others());
  CHECK_FALSE(second.lock(1).ok());
  CHECK(first.wanted_by_others());
  CHECK_FALSE(second.wanted_by_others());
  first.unlock();
  REQUIRE(second.lock(0).ok());
  CHECK_FALSE(second.wanted_by_others());
  pause_ms(25);
  CHECK_FALSE(first.wanted_by_others());  // a wish grows old
}

TEST_CASE("who gives back a gate that others want stands aside before the next try") {
  const Scratch scratch;
  auto first = Gate::open(scratch / "g").value();
  auto second = Gate::open(scratch / "g").value();
  const auto around_us = [&first] {
    const std::int64_t began_us = monotonic_us();
    first.unlock();
    CHECK(first.lock(1000).ok());
    return monotonic_us() - began_us;
  };
  REQUIRE(first.lock(0).ok());
  std::int64_t least_us = around_us();
  for (int i = 0; i < 100; ++i) least_us = std::min(least_us, around_us());
  CHECK(least_us < 50);
  CHECK_FALSE(second.lock(0).ok());
  CHECK(around_us() >= 50);
}

TEST_CASE("a hold gives the gate back on every way out") {
  const Scratch scratch;
  auto gate = Gate::open(scratch / "g").value();
  {
    const auto hold = GateHold::take(gate, 0);
    REQUIRE(hold.ok());
    CHECK(gate.held());
    CHECK(GateHold::take(gate, 0).reason() == Reason::internal);
    CHECK(gate.held());
  }
  CHECK_FALSE(gate.held());
}

TEST_CASE("who locks a gate whose file was replaced starts over with the one that bears the name") {
  const Scratch scratch;
  const std::string path = scratch / "m.db-gate";
  Gate old = Gate::open(path).value();
  REQUIRE(old.lock(0).ok());
  old.publish(7);
  old.unlock();
  std::filesystem::remove(path);
  Gate fresh = Gate::open(path).value();
  REQUIRE(fresh.lock(0).ok());
  CHECK(old.lock(0).reason() == Reason::store_busy);  // else two would hold one market
  fresh.publish(3);
  fresh.unlock();
  REQUIRE(old.lock(0).ok());
  CHECK(old.committed_seq() == 3);
  CHECK(fresh.lock(0).reason() == Reason::store_busy);
  old.unlock();
  // Removed, and nobody made another: the next to lock does.
  std::filesystem::remove(path);
  REQUIRE(old.lock(0).ok());
  CHECK(std::filesystem::exists(path));
  CHECK(old.committed_seq() == 0);
  old.unlock();
}

TEST_CASE("a gate begins at what its market says, and only its maker takes it back") {
  const Scratch scratch;
  const std::string path = scratch / "m.db-gate";
  Gate maker = Gate::open(path).value();
  Gate other = Gate::open(path).value();
  maker.publish(9);
  maker.begin_at(2);  // not held
  CHECK(other.committed_seq() == 9);
  REQUIRE(maker.lock(0).ok());
  maker.begin_at(2);
  CHECK(other.committed_seq() == 2);
  maker.unlock();
  REQUIRE(other.lock(0).ok());
  other.withdraw();
  other.unlock();
  CHECK(std::filesystem::exists(path));
  maker.withdraw();  // not held
  CHECK(std::filesystem::exists(path));
  REQUIRE(maker.lock(0).ok());
  maker.withdraw();
  maker.unlock();
  CHECK_FALSE(std::filesystem::exists(path));
}
