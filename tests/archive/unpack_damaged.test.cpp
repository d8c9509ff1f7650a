#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "archive/archive.hpp"
#include "store/scratch.hpp"
#include "tarball.hpp"
#include "testing.hpp"

using namespace calyx::archive;
using calyx::Reason;
using calyx::store::Scratch;
using calyx::testing::by_scale;
using calyx::testing::Dice;
namespace fs = std::filesystem;

namespace {

/// Thousands of folders come and go here, and nothing depends on a disk, which would make each of them wait
/// while it syncs for somebody else. A TMPDIR that is set is heeded.
const bool in_memory = ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", 0) == 0;

std::string honest_tar() {
  return entry({.name = "run.sh", .mode = 0755}, "#!/bin/sh\n") + entry({.name = "a/", .type = '5'}) +
         entry({.name = "a/b"}, std::string(700, 'b')) +
         long_entry(std::string(90, 'n') + "/" + std::string(90, 'm'), "long") +
         pax_entry({"path=pax/\xC3\xA9", "mtime=1700000000.5", "SCHILY.xattr.user.x=y"}, {.name = "ok"},
                   "pax") +
         tar_end();
}

/// Tars again, after the bytes changed: checksums that are right lead deeper in than broken ones.
void mend_checksums(std::string& tar) {
  for (std::size_t at = 0; at + 512 <= tar.size(); at += 512) {
    if (tar.compare(at + 257, 5, "ustar") != 0) continue;
    std::string block = tar.substr(at, 512);
    put_checksum(block);
    tar.replace(at, 512, block);
  }
}

}  // namespace

TEST_CASE(
    "an archive with bytes changed at random never leads outside, nor leaves anything when it is refused") {
  const int rounds = by_scale(600, 6000, 200'000);
  const std::string tar = honest_tar();
  const std::string archives[] = {packed(tar), packed(tar, Packing::zstd), tar};
  std::map<std::string, int> outcomes;
  const Scratch scratch;
  fs::create_directory(scratch / "outside");
  std::ofstream(scratch / "outside/victim") << "untouched";
  const std::string parent = scratch / "parent";
  fs::create_directory(parent);
  for (int round = 0; round < rounds; ++round) {
    Dice dice(static_cast<std::uint64_t>(round) + 1);
    CAPTURE(round);
    std::string bytes = archives[dice.below(3)];
    const bool headers_only = dice.coin();
    if (headers_only) bytes = tar;
    for (std::uint64_t flips = 1 + dice.below(4); flips > 0; --flips) {
      const std::size_t at = dice.below(bytes.size());
      if (dice.coin())
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << dice.below(8)));
      else
        bytes[at] = "0127./\\\xFF\0L5x"[dice.below(13)];
    }
    if (headers_only) mend_checksums(bytes);
    const auto result = unpack(source_of(bytes), parent + "/project", {}, Keeping::scratch);
    std::string outcome = "taken";
    if (result.ok()) {
      std::uint64_t found = 0;
      for (const auto& one : fs::recursive_directory_iterator(parent + "/project")) {
        REQUIRE((one.symlink_status().type() == fs::file_type::regular ||
                 one.symlink_status().type() == fs::file_type::directory));
        if (one.is_regular_file()) {
          REQUIRE(one.hard_link_count() == 1);
          found += one.file_size();
        }
      }
      REQUIRE(found == result->bytes);
      fs::remove_all(parent + "/project");
    } else {
      REQUIRE(result.reason() == Reason::archive_refused);
      outcome = *result.error().details.find("rule")->string();
    }
    ++outcomes[outcome];
    REQUIRE(fs::is_empty(parent));
    REQUIRE(std::distance(fs::directory_iterator(scratch.folder()), fs::directory_iterator()) == 2);
    REQUIRE(std::distance(fs::directory_iterator(scratch / "outside"), fs::directory_iterator()) == 1);
  }
  // The loop is worth something only where it meets both ends, and more than the first check of all.
  CHECK(outcomes["taken"] > 0);
  CHECK(outcomes["damaged"] > 0);
  CHECK(outcomes.size() > 5);
  std::string counts;
  for (const auto& [outcome, count] : outcomes) counts += " " + outcome + "=" + std::to_string(count);
  calyx::testing::told(in_memory ? "damaged archives" : "damaged archives, on a disk",
                       std::to_string(rounds) + " rounds:" + counts);
}
