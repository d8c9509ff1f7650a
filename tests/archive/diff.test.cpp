#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "archive/archive.hpp"
#include "crypto/sha256.hpp"
#include "store/scratch.hpp"

using namespace calyx::archive;
using calyx::Reason;

namespace {

File file(std::string path, std::string_view contents, std::uint32_t mode = 0644) {
  return {std::move(path), contents.size(), mode, calyx::crypto::Sha256{}(contents)};
}
using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE("a diff names what came, what went and what changed, by path") {
  const std::vector<File> before = {file("run.sh", "old", 0755), file("gone", "x"), file("a/kept", "same"),
                                    file("mode", "m")};
  const std::vector<File> after = {file("mode", "m", 0755), file("a/kept", "same"), file("z/new", ""),
                                   file("run.sh", "new", 0755), file("b", "y")};
  CHECK(tarball_diff(before, after) ==
        TarballDiff{.added = {"b", "z/new"}, .removed = {"gone"}, .changed = {"mode", "run.sh"}});
  CHECK(tarball_diff(after, before) ==
        TarballDiff{.added = {"gone"}, .removed = {"b", "z/new"}, .changed = {"mode", "run.sh"}});
  CHECK(tarball_diff(before, before) == TarballDiff{});
  CHECK(tarball_diff({}, before).added == Paths{"a/kept", "gone", "mode", "run.sh"});
  CHECK(tarball_diff(before, {}).removed == Paths{"a/kept", "gone", "mode", "run.sh"});
  CHECK(tarball_diff({}, {}) == TarballDiff{});
}

TEST_CASE("a source in memory gives its bytes once") {
  const Source source = source_of("calyx");
  std::string out(3, '?');
  CHECK(source(out).value() == 3);
  CHECK(out == "cal");
  CHECK(source(out).value() == 2);
  CHECK(out == "yxl");
  CHECK(source(out).value() == 0);
}

TEST_CASE("a build without libarchive says so and makes nothing") {
  if (built()) return;
  const calyx::store::Scratch scratch;
  CHECK(unpack(source_of(""), scratch / "out").reason() == Reason::not_built);
  CHECK(std::filesystem::is_empty(scratch.folder()));
}
