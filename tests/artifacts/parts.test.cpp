#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "artifacts/artifacts.hpp"
#include "blobs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx::artifacts;
using calyx::Instant;
using calyx::Reason;
using calyx::Result;
using calyx::store::Scratch;
using calyx::testing::by_scale;
using calyx::testing::Dice;
namespace fs = std::filesystem;

namespace {

constexpr Instant now{1000};

std::vector<ListedPart> listed(const std::vector<Part>& parts) {
  std::vector<ListedPart> out;
  for (const Part& part : parts) out.push_back({part.number, part.sha256});
  return out;
}

std::int64_t number_at(const calyx::Error& error, std::string_view key) {
  const auto* value = error.details.find(key);
  REQUIRE(value != nullptr);
  REQUIRE(value->integer() != nullptr);
  return *value->integer();
}

}  // namespace

TEST_CASE("parts come in any order, are sent again, survive a restart, and make one blob") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  Dice dice(3);
  const std::string first = noise(dice, 100'000);
  const std::string second = noise(dice, 1);
  const std::string third = noise(dice, 50'000);
  {
    const Store store = open_store(folder).value();
    REQUIRE(store.start("up-1").ok());
    REQUIRE(store.start("up-1").ok());  // goes on
    CHECK(store.list("up-1")->empty());
    CHECK(store.part("up-1", 10'000, third)->size == third.size());
    CHECK(store.part("up-1", 1, "sent by mistake").ok());
  }
  const Store store = open_store(folder).value();
  CHECK(store.uploads().value() == std::vector<std::string>{"up-1"});
  CHECK(store.part("up-1", 1, first, {.sha256 = hash_of(first), .size = first.size()}).ok());
  CHECK(store.part("up-1", 1, first).ok());
  Upload streamed = store.begin_part("up-1", 7).value();
  REQUIRE(streamed.write(second).ok());
  CHECK(streamed.finish(now)->sha256 == hash_of(second));
  CHECK(store.part("up-1", 8, "never listed").ok());
  const std::vector<Part> parts = store.list("up-1").value();
  CHECK(parts == std::vector<Part>{{1, hash_of(first), first.size()},
                                   {7, hash_of(second), second.size()},
                                   {8, hash_of("never listed"), 12},
                                   {10'000, hash_of(third), third.size()}});
  std::vector<ListedPart> list = listed(parts);
  list.erase(list.begin() + 2);
  const std::string whole = first + second + third;
  const Stored stored =
      store.complete("up-1", list, {.sha256 = hash_of(whole), .size = whole.size()}, now).value();
  CHECK(stored.sha256 == hash_of(whole));
  CHECK(store.open(stored.sha256)->read_at(0, whole.size()).value() == whole);
  CHECK(store.complete("up-1", list, {}, now).reason() == Reason::upload_unknown);
  CHECK(store.list("up-1").reason() == Reason::upload_unknown);
  CHECK(store.uploads()->empty());
  CHECK(entries_in(folder + "/tmp") == 0);
  CHECK(blobs_in(folder).size() == 1);
}

TEST_CASE("an upload whose parts are not what is listed stays as it was, until they are") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  REQUIRE(store.start("up").ok());
  REQUIRE(store.part("up", 1, "one").ok());
  REQUIRE(store.part("up", 2, "tow").ok());
  const ListedPart right[] = {{1, hash_of("one")}, {2, hash_of("two")}};

  const auto another = store.complete("up", right, {}, now);
  CHECK(another.reason() == Reason::content_mismatch);
  CHECK(number_at(another.error(), "part") == 2);
  const ListedPart more[] = {{1, hash_of("one")}, {3, hash_of("three")}};
  const auto missing = store.complete("up", more, {}, now);
  CHECK(missing.reason() == Reason::content_mismatch);
  CHECK(number_at(missing.error(), "part") == 3);

  CHECK(store.part("up", 2, "two", {.sha256 = hash_of("tow")}).reason() == Reason::content_mismatch);
  CHECK(store.list("up")->at(1).sha256 == hash_of("tow"));  // a refused part replaces nothing
  CHECK(store.part("up", 2, "two").ok());
  CHECK(store.complete("up", right, {.sha256 = hash_of("another")}, now).reason() ==
        Reason::content_mismatch);
  CHECK(store.complete("up", right, {.size = 7}, now).reason() == Reason::content_mismatch);
  CHECK(store.complete("up", {}, {}, now).reason() == Reason::field_value);
  const ListedPart falling[] = {right[1], right[0]};
  CHECK(store.complete("up", falling, {}, now).reason() == Reason::field_value);
  const ListedPart twice[] = {right[0], right[0]};
  CHECK(store.complete("up", twice, {}, now).reason() == Reason::field_value);

  // Bytes that changed on the disk are noticed before they are served.
  const std::string path = folder + "/uploads/up/00002";
  fs::permissions(path, fs::perms(0600));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(32) << "T";
  CHECK(store.complete("up", right, {}, now).reason() == Reason::corrupt);
  CHECK(blobs_in(folder).empty());
  CHECK(entries_in(folder + "/tmp") == 0);
  CHECK(store.list("up")->size() == 2);

  CHECK(store.part("up", 2, "two").ok());
  CHECK(store.complete("up", right, {.sha256 = hash_of("onetwo")}, now).ok());
  CHECK(blobs_in(folder).size() == 1);
}

TEST_CASE("ids, numbers and sizes end at their limits") {
  const Scratch scratch;
  const Store store = open_store(scratch / "artifacts", {.blob_bytes_max = 100}).value();
  for (const std::string& id : {std::string(), std::string("a/b"), std::string(".."), std::string("a.b"),
                                std::string("a\0b", 3), std::string(65, 'a'), std::string("caf\xC3\xA9")}) {
    CAPTURE(id);
    CHECK(store.start(id).reason() == Reason::field_value);
    CHECK(store.list(id).reason() == Reason::field_value);
    CHECK(store.part(id, 1, "x").reason() == Reason::field_value);
    CHECK(store.abort(id).reason() == Reason::field_value);
  }
  const std::string longest(64, 'Z');
  CHECK(store.start(longest).ok());
  CHECK(store.part(longest, 0, "x").reason() == Reason::field_value);
  CHECK(store.part(longest, 10'001, "x").reason() == Reason::field_value);
  CHECK(store.part(longest, 10'000, std::string(60, 'x')).ok());
  CHECK(store.part(longest, 1, std::string(40, 'x')).ok());
  CHECK(store.part(longest, 2, "x").reason() == Reason::too_large);
  CHECK(store.part(longest, 1, std::string(41, 'x')).reason() == Reason::too_large);
  CHECK(store.part(longest, 1, std::string(40, 'y')).ok());  // in place of its older self
  CHECK(store.list(longest)->size() == 2);
  CHECK(store.part("never", 1, "x").reason() == Reason::upload_unknown);
  CHECK(store.complete("never", std::vector<ListedPart>{{1, hash_of("x")}}, {}, now).reason() ==
        Reason::upload_unknown);
}

TEST_CASE("an upload that is ended takes its parts along, also those that are still coming") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  CHECK_FALSE(store.abort("up").value());
  REQUIRE(store.start("up").ok());
  REQUIRE(store.part("up", 1, "one").ok());
  Upload coming = store.begin_part("up", 2).value();
  REQUIRE(coming.write("two").ok());
  CHECK(store.abort("up").value());
  CHECK(coming.finish(now).reason() == Reason::upload_unknown);
  CHECK(store.part("up", 1, "one").reason() == Reason::upload_unknown);
  CHECK(entries_in(folder + "/tmp") == 0);
  CHECK(entries_in(folder + "/uploads") == 0);
  // The same id may begin anew, and has nothing of its older self.
  REQUIRE(store.start("up").ok());
  CHECK(store.list("up")->empty());
}

TEST_CASE("what an ended upload left behind in a crash is swept at opening") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  REQUIRE(open_store(folder).ok());
  fs::create_directory(folder + "/tmp/0123456789abcdef0123456789abcdef");
  std::ofstream(folder + "/tmp/0123456789abcdef0123456789abcdef/00001") << "x";
  std::ofstream(folder + "/tmp/left") << "x";
  const Store store = open_store(folder).value();
  CHECK(entries_in(folder + "/tmp") == 0);
  // But not what is being written, by whomever.
  Upload upload = store.begin().value();
  REQUIRE(upload.write("at work").ok());
  CHECK(calyx::store::in_child([&] { return open_store(folder).ok() ? 0 : 1; }) == 0);
  CHECK(entries_in(folder + "/tmp") == 1);
  CHECK(upload.finish(now).ok());
}

TEST_CASE("parts sent by many at once are each whole, and the last one under a number stands") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  REQUIRE(store.start("up").ok());
  const int rounds = by_scale(5, 30, 1000);
  const auto content = [](std::uint32_t number, std::uint64_t sender) {
    Dice dice(number * 100 + sender);
    return noise(dice, 5000 + number);
  };
  const auto work = [&](std::uint64_t sender) {
    int wrong = 0;
    for (int round = 0; round < rounds; ++round)
      for (std::uint32_t number = 1; number <= 4; ++number)
        wrong += store.part("up", number, content(number, sender)).ok() ? 0 : 1;
    return wrong;
  };
  const pid_t child = calyx::store::start_child([&] { return work(1); });
  int wrong = -1;
  std::thread other([&] { wrong = work(2); });
  CHECK(work(3) == 0);
  other.join();
  CHECK(wrong == 0);
  CHECK(calyx::store::wait_for(child) == 0);
  std::string whole;
  const std::vector<Part> parts = store.list("up").value();
  REQUIRE(parts.size() == 4);
  for (const Part& part : parts)
    for (const std::uint64_t sender : {1U, 2U, 3U})
      if (part.sha256 == hash_of(content(part.number, sender))) whole += content(part.number, sender);
  CHECK(store.complete("up", listed(parts), {.sha256 = hash_of(whole)}, now).ok());
}
