#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "artifacts/artifacts.hpp"
#include "blobs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx::artifacts;
using calyx::Instant;
using calyx::Result;
using calyx::core::Digest;
using calyx::store::Scratch;
using calyx::store::Shared;
using calyx::testing::by_scale;
using calyx::testing::Dice;

namespace {

constexpr std::size_t noted_max = 4096;
constexpr std::uint32_t parts_max = 8;

/// What the child was told to be durable, as the parent sees it after the child's end.
struct Noted {
  std::atomic<std::uint32_t> blobs{0};
  std::array<Digest, noted_max> digests{};
  std::atomic<std::uint64_t> forgetting{0};  ///< While an upload that is over is taken off this list.
  std::array<std::atomic<std::uint64_t>, parts_max> parts{};  ///< Seeds of the parts of the current upload.
  std::atomic<std::uint64_t> upload{0};
};

std::string part_of(std::uint64_t seed) {
  Dice dice(seed);
  return noise(dice, dice.below(30'000));
}

/// Stores for ever, until it is killed.
[[noreturn]] void store_for_ever(const std::string& folder, std::uint64_t seed, Noted& noted) {
  Dice dice(seed);
  const Store store = open_store(folder).value();
  for (;;) {
    if (dice.below(3) != 0) {
      const std::string bytes = noise(dice, dice.below(100'000));
      const Stored stored = put(store, bytes, Instant{1}, {}, 1 + dice.below(20'000)).value();
      const std::uint32_t at = noted.blobs.load();
      if (at == noted_max) ::_exit(3);
      noted.digests[at] = stored.sha256;
      noted.blobs.store(at + 1);
      continue;
    }
    const std::string id = "up-" + std::to_string(noted.upload.load());
    store.start(id).value();
    const auto number = static_cast<std::uint32_t>(1 + dice.below(parts_max));
    const std::uint64_t part_seed = 1 + dice.below(1'000'000'000);
    store.part(id, number, part_of(part_seed)).value();
    noted.parts[number - 1].store(part_seed);
    if (dice.below(6) == 0) {
      std::vector<ListedPart> parts;
      for (const Part& part : store.list(id).value()) parts.push_back({part.number, part.sha256});
      const Stored stored = store.complete(id, parts, {}, Instant{1}).value();
      const std::uint32_t at = noted.blobs.load();
      if (at == noted_max) ::_exit(3);
      noted.digests[at] = stored.sha256;
      noted.blobs.store(at + 1);
      noted.forgetting.store(1);
      for (auto& part : noted.parts) part.store(0);
      noted.upload.fetch_add(1);
      noted.forgetting.store(0);
    }
  }
}

void kill_again_and_again(const std::string& folder, int kills, std::string_view where) {
  const Shared<Noted> noted;
  Dice dice(11);
  std::uint64_t acknowledged = 0;
  std::uint64_t left_overs = 0;
  for (int kill = 0; kill < kills; ++kill) {
    CAPTURE(kill);
    noted->blobs = 0;
    const pid_t child = calyx::store::start_child(
        [&]() -> int { store_for_ever(folder, static_cast<std::uint64_t>(kill), *noted); });
    // A machine with much else to do may not come far in that time, so some wait for the first
    // acknowledgement.
    for (int ms = 0; kill % 4 == 1 && noted->blobs == 0 && ms < 20'000; ++ms)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(dice.below(kill % 4 == 0 ? 3'000 : 40'000)));
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(calyx::store::wait_for(child) == -1);

    const bool laid_out = std::filesystem::exists(folder + "/tmp");
    left_overs += laid_out ? static_cast<std::uint64_t>(entries_in(folder + "/tmp")) : 0;
    const Store store = open_store(folder).value();
    REQUIRE(entries_in(folder + "/tmp") == 0);
    const auto blobs = blobs_in(folder);  // each hashes to its name
    const std::uint32_t count = noted->blobs;
    acknowledged += count;
    for (std::uint32_t i = 0; i < count; ++i) REQUIRE(blobs.count(noted->digests[i]) == 1);

    // The upload at hand has every part that was acknowledged, and at most one more of which nobody was told.
    const auto next_upload = [&] {
      for (auto& part : noted->parts) part = 0;
      noted->upload.fetch_add(1);
    };
    const std::string id = "up-" + std::to_string(noted->upload.load());
    std::string whole;
    std::map<std::uint32_t, Digest> told_of;
    for (std::uint32_t number = 1; number <= parts_max; ++number)
      if (const std::uint64_t seed = noted->parts[number - 1]; seed != 0) {
        whole += part_of(seed);
        told_of[number] = hash_of(part_of(seed));
      }
    const auto parts = store.list(id);
    if (parts.ok()) {
      std::vector<ListedPart> all;
      std::size_t untold = 0;
      std::size_t found = 0;
      for (const Part& part : *parts) {
        all.push_back({part.number, part.sha256});
        found += told_of.count(part.number);
        untold += told_of.count(part.number) == 1 && told_of[part.number] == part.sha256 ? 0U : 1U;
      }
      REQUIRE(found == told_of.size());
      REQUIRE(untold <= 1);
      if (untold == 1) {
        // Its bytes are only known to be those of its hash, which completing compares.
        REQUIRE(store.complete(id, all, {}, Instant{1}).ok());
        next_upload();
      } else if (dice.below(4) == 0 && !all.empty()) {
        REQUIRE(store.complete(id, all, {.sha256 = hash_of(whole)}, Instant{1}).ok());
        next_upload();
      }
    } else if (!told_of.empty()) {
      // Completed just before the kill: the blob is there, though nobody was told. (Of what was being
      // forgotten in that moment only a rest is known.)
      REQUIRE(parts.reason() == calyx::Reason::upload_unknown);
      if (noted->forgetting == 0) REQUIRE(blobs.count(hash_of(whole)) == 1);
      next_upload();
    }
    noted->forgetting = 0;
    if (kill % 4 == 3) {
      const auto collected =
          store.collect([](const Digest&) -> Result<bool> { return false; }, Instant{2}, 0).value();
      REQUIRE(blobs_in(folder).empty());
      CHECK(collected.kept == 0);
    }
  }
  CHECK(acknowledged > 0);
  calyx::testing::told("artifact stores killed " + std::string(where),
                       std::to_string(kills) + ", with " + std::to_string(acknowledged) +
                           " artifacts acknowledged and " + std::to_string(left_overs) +
                           " left half-written");
}

}  // namespace

TEST_CASE("whatever moment a process is killed in, what it acknowledged is whole and nothing is half there") {
  const Scratch scratch;
  kill_again_and_again(scratch / "artifacts", by_scale(5, 40, 1000), "on a disk");
}

TEST_CASE("the same in memory, where a hundred times as much is done between two kills") {
  if (::access("/dev/shm", W_OK) != 0) {
    calyx::testing::skipped("artifacts: kills in memory", "there is no /dev/shm");
    return;
  }
  std::string folder = "/dev/shm/calyx-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  struct Gone {
    const std::string& folder;
    ~Gone() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  } const gone{folder};
  kill_again_and_again(folder + "/artifacts", by_scale(15, 100, 3000), "in memory");
}
