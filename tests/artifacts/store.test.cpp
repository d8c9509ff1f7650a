#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
using calyx::core::Digest;
using calyx::store::Scratch;
using calyx::store::Shared;
using calyx::testing::by_scale;
using calyx::testing::Dice;
namespace fs = std::filesystem;

namespace {

mode_t mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

std::string path_of(const std::string& folder, const Digest& sha256) {
  const std::string hex = calyx::core::hex(sha256);
  return folder + "/" + hex.substr(0, 2) + "/" + hex.substr(2);
}

std::string rule_of(const Result<Store>& result) {
  REQUIRE_FALSE(result.ok());
  const auto* rule = result.error().details.find("rule");
  return rule == nullptr ? std::string(word(result.reason())) : *rule->string();
}

}  // namespace

TEST_CASE("a blob is stored under its hash, once, and read in ranges") {
  const Scratch scratch;
  const std::string folder = folder_path(scratch / "market.db");
  CHECK(folder == scratch / "market.db-artifacts");
  const Store store = open_store(folder).value();
  CHECK(mode_of(folder) == 0700);

  Dice dice(1);
  const std::string bytes = noise(dice, 300'001);
  const Stored first = put(store, bytes).value();
  CHECK(first.sha256 == hash_of(bytes));
  CHECK(first.size == bytes.size());
  CHECK(first.fresh);
  CHECK_FALSE(put(store, bytes, Instant{2}, {}, 1000)->fresh);
  CHECK(mode_of(path_of(folder, first.sha256)) == 0400);
  CHECK(blobs_in(folder).size() == 1);
  CHECK(entries_in(folder + "/tmp") == 0);

  const Reader reader = store.open(first.sha256).value();
  CHECK(reader.size() == bytes.size());
  CHECK(reader.check().ok());
  struct Row {
    std::uint64_t offset;
    std::size_t length;
  };
  for (const Row& row : {Row{0, 300'001}, Row{0, 0}, Row{0, 1}, Row{300'000, 1}, Row{300'000, 2},
                         Row{300'001, 1}, Row{UINT64_MAX, 5}, Row{123, 200'000}, Row{299'999, SIZE_MAX}}) {
    CAPTURE(row.offset);
    CAPTURE(row.length);
    const std::string expected = row.offset < bytes.size()
                                     ? bytes.substr(static_cast<std::size_t>(row.offset), row.length)
                                     : std::string();
    CHECK(reader.read_at(row.offset, row.length).value() == expected);
  }

  CHECK(store.remove(first.sha256).value());
  CHECK_FALSE(store.remove(first.sha256).value());
  const auto gone = store.open(first.sha256);
  CHECK(gone.reason() == Reason::artifact_unknown);
  CHECK(*gone.error().details.find("sha256")->string() == calyx::core::hex(first.sha256));
  // Who reads it may read on.
  CHECK(reader.read_at(0, bytes.size()).value() == bytes);
}

TEST_CASE("the store does what a map of bytes by hash would do") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const int steps = by_scale(150, 600, 20'000);
  Dice dice(7);
  std::map<Digest, std::string> model;
  std::map<Digest, std::int64_t> born;
  std::vector<Store> stores;  // as many handles as a few processes would have
  for (int i = 0; i < 3; ++i) stores.push_back(open_store(folder).value());
  std::int64_t now = 1'000'000;
  const auto any_known = [&]() -> Digest {
    if (model.empty() || dice.below(10) == 0) return hash_of(noise(dice, 8));
    return std::next(model.begin(), static_cast<std::ptrdiff_t>(dice.below(model.size())))->first;
  };
  for (int step = 0; step < steps; ++step) {
    CAPTURE(step);
    const Store& store = stores[dice.below(stores.size())];
    now += static_cast<std::int64_t>(dice.below(1000));
    switch (dice.below(8)) {
      case 0:
      case 1:
      case 2: {
        // Few seeds, so that contents come again.
        Dice few(dice.below(40));
        const std::string bytes = noise(few, few.below(3000));
        const Stored stored = put(store, bytes, Instant{now}, {}, 1 + dice.below(2000)).value();
        CHECK(stored.sha256 == hash_of(bytes));
        CHECK(stored.fresh == (model.count(stored.sha256) == 0));
        model[stored.sha256] = bytes;
        born[stored.sha256] = now;
        break;
      }
      case 3: {
        Upload left = store.begin().value();
        REQUIRE(left.write("left").ok());
        break;
      }
      case 4: {
        const Digest one = any_known();
        CHECK(store.remove(one).value() == (model.erase(one) == 1));
        break;
      }
      case 5: {
        const Digest one = any_known();
        const auto reader = store.open(one);
        REQUIRE(reader.ok() == (model.count(one) == 1));
        if (!reader.ok()) break;
        const std::string& bytes = model[one];
        const std::size_t offset = dice.below(bytes.size() + 1);
        const std::size_t length = dice.below(bytes.size() + 1);
        CHECK(reader->read_at(offset, length).value() == bytes.substr(offset, length));
        break;
      }
      case 6: {
        const Digest one = any_known();
        CHECK(store.renew(one, Instant{now}).value() == (model.count(one) == 1));
        if (model.count(one) == 1) born[one] = now;
        break;
      }
      default: {
        if (dice.below(4) != 0) break;
        constexpr std::int64_t grace_us = 5000;
        const std::uint64_t bit = dice.below(8);
        const auto wanted = [&](const Digest& one) { return (one.bytes[5] >> bit & 1) != 0; };
        const auto collected = store
                                   .collect([&](const Digest& one) -> Result<bool> { return wanted(one); },
                                            Instant{now}, grace_us)
                                   .value();
        std::uint64_t removed = 0;
        for (auto at = model.begin(); at != model.end();) {
          if (!wanted(at->first) && now - born[at->first] >= grace_us) {
            ++removed;
            at = model.erase(at);
          } else {
            ++at;
          }
        }
        CHECK(collected.removed == removed);
        CHECK(collected.kept == model.size());
        break;
      }
    }
  }
  CHECK(blobs_in(folder) == model);
  CHECK(entries_in(folder + "/tmp") == 0);
}

TEST_CASE("the limit holds to the last byte, and one more is refused while it streams") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder, {.blob_bytes_max = 1000}).value();
  CHECK(put(store, std::string(1000, 'a'), Instant{1}, {}, 7).ok());
  CHECK(put(store, std::string(1000, 'b')).ok());

  Upload upload = store.begin().value();
  REQUIRE(upload.write(std::string(999, 'c')).ok());
  CHECK(upload.size() == 999);
  const auto refused = upload.write("cc");
  CHECK(refused.reason() == Reason::too_large);
  CHECK(calyx::facts(refused.reason()).http == 413);
  CHECK(*refused.error().details.find("limit")->integer() == 1000);
  CHECK(*refused.error().details.find("found")->integer() == 1001);
  // It is over, and took its file with it, while the sender may still hold the upload.
  CHECK(entries_in(folder + "/tmp") == 0);
  CHECK(upload.write("c").reason() == Reason::too_large);
  CHECK(upload.finish(Instant{1}).reason() == Reason::too_large);
  CHECK(blobs_in(folder).size() == 2);
  CHECK(Options{}.blob_bytes_max == 2'147'483'648);
}

TEST_CASE("what the sender says of the bytes is compared, and what differs is not stored") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  const Digest right = hash_of("calyx");
  const auto size = put(store, "calyx", Instant{1}, {.sha256 = right, .size = 6});
  CHECK(size.reason() == Reason::content_mismatch);
  CHECK(*size.error().details.find("field")->string() == "size");
  CHECK(*size.error().details.find("found")->integer() == 5);
  const auto hash = put(store, "Calyx", Instant{1}, {.sha256 = right, .size = 5});
  CHECK(hash.reason() == Reason::content_mismatch);
  CHECK(*hash.error().details.find("expected")->string() == calyx::core::hex(right));
  CHECK(blobs_in(folder).empty());
  CHECK(entries_in(folder + "/tmp") == 0);
  CHECK(put(store, "calyx", Instant{1}, {.sha256 = right, .size = 5}).ok());
  CHECK(put(store, "", Instant{1}, {.sha256 = hash_of(""), .size = 0}).ok());

  Upload over = store.begin().value();
  CHECK(over.finish(Instant{1}).ok());
  CHECK(over.finish(Instant{1}).reason() == Reason::closed);
  CHECK(over.write("x").reason() == Reason::closed);
}

TEST_CASE("a folder that is not its owner's alone, or no folder, is refused") {
  const Scratch scratch;
  CHECK(rule_of(open_store(scratch / "no/artifacts")) == "file_missing");
  std::ofstream(scratch / "file") << "x";
  CHECK(rule_of(open_store(scratch / "file")) == "not_a_folder");
  REQUIRE(open_store(scratch / "artifacts").ok());
  fs::create_symlink("artifacts", scratch / "link");
  CHECK(rule_of(open_store(scratch / "link")) == "not_a_folder");
  REQUIRE(::chmod((scratch / "artifacts").c_str(), 0750) == 0);
  CHECK(rule_of(open_store(scratch / "artifacts")) == "rights");
}

TEST_CASE("a blob that was damaged is told, and made whole when the same bytes come again") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  const Digest one = put(store, "the bytes")->sha256;
  const std::string path = path_of(folder, one);
  const Reader reader = store.open(one).value();
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  std::ofstream(path) << "The bytes";
  CHECK(reader.check().reason() == Reason::corrupt);
  REQUIRE(::truncate(path.c_str(), 3) == 0);
  CHECK(reader.read_at(0, 9).reason() == Reason::corrupt);
  CHECK(store.open(one)->check().reason() == Reason::corrupt);
  CHECK(put(store, "the bytes")->fresh);
  CHECK(store.open(one)->check().ok());
  fs::remove(path);
  fs::create_directory(path);
  CHECK(store.open(one).reason() == Reason::corrupt);
}

TEST_CASE("a collection takes what is old and unwanted, and nothing else") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  constexpr std::int64_t grace_us = 100;
  const Digest wanted = put(store, "wanted", Instant{0})->sha256;
  const Digest unwanted = put(store, "unwanted", Instant{0})->sha256;
  const Digest young = put(store, "young", Instant{901})->sha256;
  const Digest at_grace = put(store, "at grace", Instant{900})->sha256;
  const Digest again = put(store, "again", Instant{0})->sha256;
  const Digest renewed = put(store, "renewed", Instant{0})->sha256;
  const Digest ahead = put(store, "ahead", Instant{5000})->sha256;
  CHECK_FALSE(put(store, "again", Instant{950})->fresh);
  CHECK(store.renew(renewed, Instant{950}).value());
  CHECK(store.renew(renewed, Instant{1}).value());  // never made older
  CHECK_FALSE(store.renew(hash_of("never"), Instant{950}).value());
  fs::create_directories(folder + "/ab");
  std::ofstream(folder + "/ab/not-a-blob") << "x";

  const auto is_wanted = [&](const Digest& one) -> Result<bool> { return one == wanted; };
  const Collected collected = store.collect(is_wanted, Instant{1000}, grace_us).value();
  CHECK(collected.removed == 2);
  CHECK(collected.removed_bytes == std::string("unwanted").size() + std::string("at grace").size());
  CHECK(collected.kept == 5);
  CHECK(fs::remove(folder + "/ab/not-a-blob"));
  const auto left = blobs_in(folder);
  CHECK(left.size() == 5);
  for (const Digest& kept : {wanted, young, again, renewed, ahead}) CHECK(left.count(kept) == 1);
  CHECK(left.count(unwanted) + left.count(at_grace) == 0);

  const auto failing = [](const Digest&) -> Result<bool> { return calyx::fail(Reason::store_busy, "busy"); };
  CHECK(store.collect(failing, Instant{10'000}, grace_us).reason() == Reason::store_busy);
  CHECK(blobs_in(folder).size() == 5);
  CHECK(store.collect(is_wanted, Instant{10'000}, grace_us)->kept == 1);
}

TEST_CASE("a collection that meets a writer of the same bytes leaves what was acknowledged") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  const Store store = open_store(folder).value();
  const int rounds = by_scale(20, 60, 5000);
  for (int round = 0; round < rounds; ++round) {
    const std::string bytes = "contested " + std::to_string(round);
    const Digest one = put(store, bytes, Instant{0})->sha256;
    // While the collector asks, the bytes are stored again: it must look again before it removes.
    bool asked = false;
    const auto is_wanted = [&](const Digest& each) -> Result<bool> {
      if (each == one) {
        asked = true;
        std::thread([&] { CHECK(put(store, bytes, Instant{1000}).ok()); }).join();
      }
      return false;
    };
    REQUIRE(store.collect(is_wanted, Instant{1000}, 500).ok());
    CHECK(asked);
    REQUIRE(store.open(one)->read_at(0, 100).value() == bytes);
    if (round % 20 == 19)
      REQUIRE(store.collect([](const Digest&) -> Result<bool> { return false; }, Instant{10'000}, 0).ok());
  }
}

TEST_CASE("processes and threads that store the same bytes at once store them once") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  constexpr std::uint64_t blobs = 40;
  const auto content = [](std::uint64_t number) {
    Dice dice(number);
    return noise(dice, 20'000 + number);
  };
  const Shared<std::array<std::atomic<std::uint64_t>, blobs>> fresh;
  const auto work = [&](std::uint64_t seed) {
    const auto store = open_store(folder);
    if (!store.ok()) return 2;
    std::vector<std::uint64_t> order(blobs);
    for (std::uint64_t i = 0; i < blobs; ++i) order[i] = i;
    Dice dice(seed);
    for (std::uint64_t i = blobs; i > 1; --i) std::swap(order[i - 1], order[dice.below(i)]);
    for (const std::uint64_t number : order) {
      const auto stored = put(*store, content(number));
      if (!stored.ok() || stored->sha256 != hash_of(content(number))) return 1;
      (*fresh)[number] += stored->fresh ? 1 : 0;
    }
    return 0;
  };
  std::vector<pid_t> children;
  for (std::uint64_t i = 0; i < 3; ++i)
    children.push_back(calyx::store::start_child([&, i] { return work(i); }));
  std::vector<std::thread> threads;
  std::array<int, 2> codes{};
  for (std::uint64_t i = 0; i < codes.size(); ++i) threads.emplace_back([&, i] { codes[i] = work(10 + i); });
  for (std::thread& thread : threads) thread.join();
  for (const int code : codes) CHECK(code == 0);
  for (const pid_t child : children) CHECK(calyx::store::wait_for(child) == 0);
  for (const auto& count : *fresh) CHECK(count == 1);
  CHECK(blobs_in(folder).size() == blobs);
  CHECK(entries_in(folder + "/tmp") == 0);
}

TEST_CASE("a write that the system refuses leaves nothing half-written") {
  const Scratch scratch;
  const std::string folder = scratch / "artifacts";
  REQUIRE(open_store(folder).ok());
  CHECK(calyx::store::in_child([&] {
          ::signal(SIGXFSZ, SIG_IGN);
          const rlimit little{10'000, 10'000};
          if (::setrlimit(RLIMIT_FSIZE, &little) != 0) return 2;
          const Store store = open_store(folder).value();
          Upload upload = store.begin().value();
          if (upload.write(std::string(20'000, 'x')).reason() != Reason::io_error) return 3;
          if (upload.finish(Instant{1}).reason() != Reason::io_error) return 4;
          return fs::is_empty(folder + "/tmp") ? 0 : 5;
        }) == 0);
  CHECK(blobs_in(folder).empty());
}

TEST_CASE("a full disk is told as one, and what was there stays") {
  const Scratch scratch;
  const std::string disk = scratch / "disk";
  fs::create_directory(disk);
  constexpr int no_rights = 77;
  const int code = calyx::store::in_child([&] {
    // In a mount table of this child's own, which goes with it.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") != 0)
      return no_rights;
    const Store store = open_store(disk + "/artifacts").value();
    const auto first = put(store, std::string(100'000, 'a'));
    if (!first.ok()) return 1;
    for (int i = 0; i < 3; ++i)
      if (put(store, std::string(2'000'000, 'b')).reason() != Reason::disk_full) return 2;
    if (entries_in(disk + "/artifacts/tmp") != 0) return 3;
    if (!store.start("up").ok() || !store.part("up", 1, "small").ok()) return 4;
    if (store.part("up", 2, std::string(2'000'000, 'c')).reason() != Reason::disk_full) return 5;
    if (store.list("up")->size() != 1) return 6;
    if (!store.open(first->sha256)->check().ok()) return 7;
    return put(store, std::string(100'000, 'd')).ok() ? 0 : 8;
  });
  if (code == no_rights)
    calyx::testing::skipped("artifacts: a full disk", "a file system of its own may not be mounted here");
  else
    CHECK(code == 0);
}
