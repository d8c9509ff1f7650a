#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "archive/archive.hpp"
#include "crypto/sha256.hpp"
#include "store/scratch.hpp"
#include "tarball.hpp"
#include "testing.hpp"

using namespace calyx::archive;
using calyx::Reason;
using calyx::Result;
using calyx::store::Scratch;
namespace fs = std::filesystem;

namespace {

/// A folder to unpack into, and one beside it that nothing may touch.
struct Place {
  Scratch scratch;
  std::string parent = scratch / "parent";
  std::string destination = parent + "/project";

  Place() {
    fs::create_directory(parent);
    fs::create_directory(scratch / "outside");
    std::ofstream(scratch / "outside/victim") << "untouched";
  }
  /// Whether nothing at all was left or changed.
  bool untouched() const {
    return fs::is_empty(parent) && outside_untouched() &&
           std::distance(fs::directory_iterator(scratch.folder()), fs::directory_iterator()) == 2;
  }
  bool outside_untouched() const {
    std::ifstream in(scratch / "outside/victim");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    return text == "untouched" &&
           std::distance(fs::directory_iterator(scratch / "outside"), fs::directory_iterator()) == 1;
  }
};

Result<Unpacked> unpack_bytes(std::string_view bytes, const std::string& destination,
                              const Limits& limits = {}) {
  return unpack(source_of(bytes), destination, limits, Keeping::scratch);
}

/// The rule that the archive breaks; "taken" when it breaks none.
std::string rule_of(const Result<Unpacked>& result) {
  if (result.ok()) return "taken";
  const auto* rule = result.error().details.find("rule");
  if (result.reason() != Reason::archive_refused || rule == nullptr)
    return std::string(word(result.reason()));
  return *rule->string();
}
std::string rule_of(std::string_view bytes, const Limits& limits = {}) {
  const Place place;
  const auto result = unpack_bytes(bytes, place.destination, limits);
  if (!result.ok()) {
    CHECK(place.untouched());
    CHECK(calyx::facts(result.reason()).http == 422);
  }
  return rule_of(result);
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
mode_t mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::lstat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}
std::string noise(std::size_t size, std::uint64_t seed = 1) {
  calyx::testing::Dice dice(seed);
  std::string out;
  while (out.size() < size) out.push_back(static_cast<char>(dice.next()));
  return out;
}

}  // namespace

TEST_CASE("an honest archive is unpacked whole, whatever writes it and however it is packed") {
  const std::string long_name = std::string(120, 'd') + "/" + std::string(90, 'f');
  const std::vector<Member> members = {
      {"./", "", AE_IFDIR, 0700},
      {"./run.sh", "#!/bin/sh\n", AE_IFREG, 0775},
      {"./data/", "", AE_IFDIR, 0777},
      {"./data/empty", ""},
      {"data/noise", noise(200'000)},
      {"implied/folders/too", "x", AE_IFREG, 0600},
      {"caf\xC3\xA9/\xE6\x97\xA5\xE6\x9C\xAC", "letters"},
      {long_name, "long"},
  };
  for (const Packing packing : {Packing::plain, Packing::gzip, Packing::zstd})
    for (const char* format : {"pax", "gnutar", "ustar"}) {
      CAPTURE(static_cast<int>(packing));
      CAPTURE(format);
      const Place place;
      const auto unpacked = unpack_bytes(archive_of(members, packing, format), place.destination);
      REQUIRE_MESSAGE(unpacked.ok(), unpacked.error().message);
      REQUIRE(unpacked->files.size() == 6);
      CHECK(std::is_sorted(unpacked->files.begin(), unpacked->files.end(),
                           [](const File& a, const File& b) { return a.path < b.path; }));
      std::uint64_t bytes = 0;
      for (const File& file : unpacked->files) {
        CAPTURE(file.path);
        const auto member = std::find_if(members.begin(), members.end(), [&](const Member& one) {
          return one.path == file.path || one.path == "./" + file.path;
        });
        REQUIRE(member != members.end());
        CHECK(content(place.destination + "/" + file.path) == member->body);
        CHECK(file.sha256 == calyx::crypto::Sha256{}(member->body));
        CHECK(file.size == member->body.size());
        CHECK(file.mode == ((member->mode & 0100) != 0 ? 0755 : 0644));
        CHECK(mode_of(place.destination + "/" + file.path) == file.mode);
        bytes += file.size;
      }
      CHECK(unpacked->bytes == bytes);
      CHECK(mode_of(place.destination) == 0755);
      CHECK(mode_of(place.destination + "/data") == 0755);
      CHECK(mode_of(place.destination + "/implied/folders") == 0755);
      // Nothing but the folder itself came into being.
      CHECK(std::distance(fs::directory_iterator(place.parent), fs::directory_iterator()) == 1);
      CHECK(place.outside_untouched());
    }
}

TEST_CASE("rights beyond running it are dropped, and so are owners") {
  const Place place;
  const auto unpacked = unpack_bytes(packed(entry({.name = "set", .mode = 06755}, "x") +
                                            entry({.name = "sticky/", .type = '5', .mode = 01777}) +
                                            entry({.name = "none", .mode = 0}, "y") +
                                            entry({.name = "others", .mode = 0077}, "z") + tar_end()),
                                     place.destination);
  REQUIRE_MESSAGE(unpacked.ok(), unpacked.error().message);
  CHECK(mode_of(place.destination + "/set") == 0755);
  CHECK(mode_of(place.destination + "/sticky") == 0755);
  CHECK(mode_of(place.destination + "/none") == 0644);
  CHECK(mode_of(place.destination + "/others") == 0644);
  struct stat facts {};
  REQUIRE(::stat((place.destination + "/set").c_str(), &facts) == 0);
  CHECK(facts.st_uid == ::getuid());
}

TEST_CASE("a hostile archive is refused by its rule, and nothing is left of it") {
  const Scratch elsewhere;
  const std::string good = entry({.name = "good"}, "good");
  struct Row {
    std::string says;
    std::string tar;
    std::string rule;
  };
  const Row rows[] = {
      {"upwards", entry({.name = "../outside/victim"}, "evil"), "parent_folder"},
      {"upwards, later", entry({.name = "a/../../outside/victim"}, "evil"), "parent_folder"},
      {"upwards by a long name", long_entry("../" + std::string(150, 'a'), "evil"), "parent_folder"},
      {"upwards by a pax header", pax_entry({"path=../outside/victim"}, {.name = "ok"}, "evil"),
       "parent_folder"},
      {"absolute", entry({.name = elsewhere / "evil"}, "evil"), "absolute"},
      {"absolute by a pax header", pax_entry({"path=/tmp/evil"}, {.name = "ok"}, "evil"), "absolute"},
      {"a link outside", entry({.name = "link", .type = '2', .link = "../outside/victim"}), "symbolic_link"},
      {"a link inside", entry({.name = "link", .type = '2', .link = "good"}), "symbolic_link"},
      {"through a link",
       entry({.name = "a", .type = '2', .link = "../outside"}) + entry({.name = "a/victim"}, "evil"),
       "symbolic_link"},
      {"a hard link to what is outside", entry({.name = "hard", .type = '1', .link = "../outside/victim"}),
       "hard_link"},
      {"a hard link to what is inside", entry({.name = "hard", .type = '1', .link = "good"}), "hard_link"},
      {"a hard link with bytes",
       pax_entry({"linkpath=good"}, {.name = "hard", .type = '1', .link = "x"}, "evil"), "hard_link"},
      {"a pipe", entry({.name = "pipe", .type = '6'}), "pipe"},
      {"a character device", entry({.name = "null", .type = '3'}), "device"},
      {"a block device", entry({.name = "disk", .type = '4'}), "device"},
      {"a name twice", entry({.name = "good"}, "evil"), "duplicate"},
      {"a name twice, spelled otherwise", entry({.name = ".//good"}, "evil"), "duplicate"},
      {"a file as a folder", entry({.name = "good/evil"}, "evil"), "file_and_folder"},
      {"a folder as a file", entry({.name = "good", .type = '5'}), "file_and_folder"},
      {"the same by a slash", entry({.name = "good/", .type = '5'}), "file_and_folder"},
      {"only the case differs", entry({.name = "GOOD"}, "evil"), "case_collision"},
      {"a name in Latin-1", entry({.name = "caf\xE9"}, "x"), "not_utf8"},
      {"a long name in Latin-1", long_entry(std::string(150, 'a') + "\xE9", "x"), "not_utf8"},
      {"a pax name in Latin-1", pax_entry({"path=caf\xE9"}, {.name = "ok"}, "x"), "not_utf8"},
      {"a pax name said to be binary", pax_entry({"hdrcharset=BINARY", "path=caf\xE9"}, {.name = "ok"}, "x"),
       "not_utf8"},
      {"a control character", entry({.name = "a\x1B[2J"}, "x"), "control_character"},
      {"no name", entry({.name = ""}, "x"), "name_empty"},
      {"a path that is too long", long_entry(std::string(250, 'a') + "/" + std::string(800, 'b')),
       "path_bytes"},
      {"one name that is too long", long_entry(std::string(256, 'a')), "name_bytes"},
      {"too deep",
       [] {
         std::string path;
         for (int i = 0; i < 33; ++i) path += "a/";
         return entry({.name = path, .type = '5'});
       }(),
       "depth"},
      {"a file of 2 GB and a byte", header({.name = "big", .size = (std::uint64_t{2} << 30) + 1}),
       "file_bytes"},
      {"a header that is none", std::string(512, 'x'), "damaged"},
      {"a checksum that is wrong",
       [] {
         std::string block = header({.name = "x"});
         block[0] = 'y';
         return block;
       }(),
       "damaged"},
  };
  for (const Row& row : rows)
    for (const Packing packing : {Packing::plain, Packing::gzip}) {
      CAPTURE(row.says);
      CHECK(rule_of(packed(good + row.tar + tar_end(), packing)) == row.rule);
    }
  CHECK(fs::is_empty(elsewhere.folder()));
}

TEST_CASE("what libarchive's own writer makes of hostile entries is refused, too") {
  struct Row {
    std::string says;
    Member member;
    std::string rule;
  };
  const Row rows[] = {
      {"upwards", {"../evil", "x"}, "parent_folder"},
      {"absolute", {"/tmp/calyx-evil", "x"}, "absolute"},
      {"a link", {"link", "", AE_IFLNK, 0777, "/etc/passwd"}, "symbolic_link"},
      {"a hard link", {"link", "", AE_IFREG, 0644, "", "/etc/passwd"}, "hard_link"},
      {"a pipe", {"pipe", "", AE_IFIFO}, "pipe"},
      {"a device", {"null", "", AE_IFCHR}, "device"},
  };
  for (const Row& row : rows)
    for (const char* format : {"pax", "gnutar"}) {
      CAPTURE(row.says);
      CAPTURE(format);
      CHECK(rule_of(archive_of({{"good", "good"}, row.member}, Packing::gzip, format)) == row.rule);
    }
}

TEST_CASE("what is no tar, packed once, is refused") {
  const std::string tar = entry({.name = "a"}, "x") + tar_end();
  struct Row {
    std::string says;
    std::string bytes;
    std::string rule;
  };
  const Row rows[] = {
      {"no bytes", "", "empty"},
      {"nothing, packed", packed(""), "not_an_archive"},
      {"an end and nothing before it", packed(tar_end()), "empty"},
      {"one byte", "x", "not_an_archive"},
      {"noise", noise(100'000), "not_an_archive"},
      {"packed noise", packed(noise(100'000)), "not_an_archive"},
      {"a zip", archive_of({{"a", "x"}}, Packing::plain, "zip"), "not_an_archive"},
      {"a cpio", archive_of({{"a", "x"}}, Packing::plain, "cpio"), "not_an_archive"},
      {"a tar in bzip2", packed(tar, Packing::bzip2), "not_an_archive"},
      {"packed twice", packed(packed(tar)), "compressed_twice"},
      {"packed twice in two ways", packed(packed(tar, Packing::zstd)), "compressed_twice"},
      {"two archives in one", packed(tar + tar), "bytes_after_the_end"},
      {"something behind the end", packed(tar + "evil"), "bytes_after_the_end"},
      {"no end", packed(entry({.name = "a"}, "x")), "cut_short"},
      {"half an end", packed(entry({.name = "a"}, "x") + std::string(512, '\0')), "cut_short"},
      {"a size that the file has not", packed(header({.name = "a", .size = 10'000}) + tar_end()),
       "cut_short"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(rule_of(row.bytes) == row.rule);
  }
  CHECK(rule_of(packed(tar + std::string(10'240, '\0'))) == "taken");
}

TEST_CASE("an archive that was cut anywhere is refused") {
  for (const Packing packing : {Packing::plain, Packing::gzip, Packing::zstd}) {
    const std::string whole = packed(entry({.name = "a"}, noise(3000)) + entry({.name = "b/", .type = '5'}) +
                                         entry({.name = "b/c"}, "x") + tar_end(),
                                     packing);
    CAPTURE(static_cast<int>(packing));
    CHECK(rule_of(whole) == "taken");
    for (std::size_t size = 0; size < whole.size(); size += size + 40 < whole.size() ? 37U : 1U) {
      CAPTURE(size);
      CHECK(rule_of(std::string_view(whole).substr(0, size)) != "taken");
    }
  }
}

TEST_CASE("each limit holds to the last, and refuses one more with its numbers") {
  const auto files = [](std::size_t count, std::size_t bytes) {
    std::string tar;
    for (std::size_t i = 0; i < count; ++i) tar += entry({.name = "f" + std::to_string(i)}, noise(bytes, i));
    return tar + tar_end();
  };
  struct Row {
    std::string says;
    std::string bytes;
    Limits limits;
    std::string rule;
  };
  const std::string plain = packed(files(4, 1000), Packing::plain);
  const auto with = [](auto change) {
    Limits limits;
    change(limits);
    return limits;
  };
  const Row rows[] = {
      {"entries", plain, with([](Limits& to) { to.entries_max = 4; }), "taken"},
      {"one entry more", plain, with([](Limits& to) { to.entries_max = 3; }), "entries"},
      {"a file's bytes", plain, with([](Limits& to) { to.file_bytes_max = 1000; }), "taken"},
      {"a byte more", plain, with([](Limits& to) { to.file_bytes_max = 999; }), "file_bytes"},
      {"the archive's bytes", plain, with([&](Limits& to) { to.archive_bytes_max = plain.size(); }), "taken"},
      {"a byte more", plain, with([&](Limits& to) { to.archive_bytes_max = plain.size() - 1; }),
       "archive_bytes"},
      {"the tar's bytes", plain, with([&](Limits& to) { to.expanded_bytes_max = plain.size(); }), "taken"},
      {"a byte more", plain, with([&](Limits& to) { to.expanded_bytes_max = plain.size() - 1; }),
       "expanded_bytes"},
      {"what the headers say", packed(header({.name = "a", .size = 5000}) + tar_end()),
       with([](Limits& to) { to.expanded_bytes_max = 4999; }), "expanded_bytes"},
      {"depth", packed(entry({.name = "a/b/c"}) + tar_end()), with([](Limits& to) { to.depth_max = 2; }),
       "depth"},
      {"path", packed(entry({.name = "abcd"}) + tar_end()), with([](Limits& to) { to.path_bytes_max = 3; }),
       "path_bytes"},
      {"ratio", packed(entry({.name = "a"}, std::string(100'000, 'a')) + tar_end()),
       with([](Limits& to) { to.ratio_free_bytes = 50'000; }), "ratio"},
      {"below the ratio's beginning", packed(entry({.name = "a"}, std::string(100'000, 'a')) + tar_end()),
       with([](Limits& to) { to.ratio_free_bytes = 110'000; }), "taken"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(rule_of(row.bytes, row.limits) == row.rule);
  }
  const Place place;
  const auto refused =
      unpack_bytes(plain, place.destination, with([](Limits& to) { to.file_bytes_max = 999; }));
  CHECK(refused.error().message == "the entry f0 has 1000 bytes, the most is 999");
  CHECK(*refused.error().details.find("entry")->string() == "f0");
  CHECK(*refused.error().details.find("limit")->integer() == 999);
  CHECK(*refused.error().details.find("found")->integer() == 1000);
}

TEST_CASE("a bomb is stopped while it streams, having written no more than it may") {
  // 1 GB of zeros in 1 MB: gzip takes members one after another for one stream.
  const std::string stretch = packed(std::string(std::size_t{16} << 20, '\0'));
  std::string bomb = packed(header({.name = "bomb", .size = std::uint64_t{1} << 30}));
  for (int i = 0; i < 64; ++i) bomb += stretch;
  bomb += packed(tar_end());
  REQUIRE(bomb.size() < (std::size_t{2} << 20));

  const Place place;
  std::uint64_t written_max = 0;
  const Source whole = source_of(bomb);
  const Source source = [&](std::span<char> out) {
    std::uint64_t written = 0;
    for (const auto& found : fs::recursive_directory_iterator(place.parent))
      if (found.is_regular_file()) written += found.file_size();
    written_max = std::max(written_max, written);
    return whole(out.first(std::min<std::size_t>(out.size(), 4096)));
  };
  const auto result = unpack(source, place.destination, {}, Keeping::scratch);
  CHECK(rule_of(result) == "ratio");
  CHECK(place.untouched());
  CHECK(written_max > 0);
  CHECK(written_max <= (std::uint64_t{10} << 20) + (std::uint64_t{1} << 20));
  calyx::testing::told("bytes that a bomb of 1 GB wrote before it was stopped", written_max);
}

TEST_CASE("a sparse file counts at its logical size") {
  Member sparse{"sparse", std::string(1 << 20, '\0'),        AE_IFREG, 0644, "",
                "",       {{0, 512}, {(1 << 20) - 512, 512}}};
  sparse.body.replace(0, 4, "head");
  sparse.body.replace(sparse.body.size() - 4, 4, "tail");
  const std::string archive = archive_of({sparse});
  REQUIRE(archive.size() < 2000);

  const Place place;
  const auto unpacked = unpack_bytes(archive, place.destination);
  REQUIRE_MESSAGE(unpacked.ok(), unpacked.error().message);
  REQUIRE(unpacked->files.size() == 1);
  CHECK(unpacked->files[0].size == 1 << 20);
  CHECK(unpacked->bytes == 1 << 20);
  CHECK(content(place.destination + "/sparse") == sparse.body);
  CHECK(unpacked->files[0].sha256 == calyx::crypto::Sha256{}(sparse.body));

  Limits limits;
  limits.file_bytes_max = (1 << 20) - 1;
  CHECK(rule_of(archive, limits) == "file_bytes");
  limits = {};
  limits.expanded_bytes_max = (1 << 20) - 1;
  CHECK(rule_of(archive, limits) == "expanded_bytes");
  limits = {};
  limits.ratio_free_bytes = 1 << 19;
  CHECK(rule_of(archive, limits) == "ratio");

  // A hole of 1 GB in a header of GNU tar's old kind: one piece at its end.
  std::string block = header({.name = "hole", .type = 'S'});
  put_field(block, 257, std::string_view("ustar  \0", 8));
  put_field(block, 386, octal((std::uint64_t{1} << 30) - 512, 11));
  put_field(block, 398, octal(512, 11));
  put_field(block, 124, octal(512, 11));
  put_field(block, 483, octal(std::uint64_t{1} << 30, 11));
  put_checksum(block);
  CHECK(rule_of(packed(block + std::string(512, 'x') + tar_end())) == "ratio");
}

TEST_CASE("a sparse map that would fill the memory is cut off") {
  std::string map = "4000000\n";
  for (int i = 0; i < 1'000'000; ++i) map += "0\n0\n";
  const std::string tar =
      pax_entry({"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=x", "GNU.sparse.realsize=4"},
                {.name = "GNUSparseFile.0/x"}, map) +
      tar_end();
  CHECK(rule_of(packed(tar)) == "head_bytes");
}

TEST_CASE("a folder that is there, or has no parent, is not unpacked into") {
  const std::string archive = packed(entry({.name = "a"}, "x") + tar_end());
  const Place place;
  fs::create_directory(place.destination);
  CHECK(unpack_bytes(archive, place.destination).reason() == Reason::path_refused);
  CHECK(fs::is_empty(place.destination));
  fs::remove(place.destination);
  fs::create_symlink("nowhere", place.destination);
  CHECK(unpack_bytes(archive, place.destination).reason() == Reason::path_refused);
  fs::remove(place.destination);
  CHECK(unpack_bytes(archive, place.parent + "/no/project").reason() == Reason::file_missing);
  for (const char* name : {"", ".", "..", "/"})
    CHECK(unpack_bytes(archive, name).reason() == Reason::path_refused);
  CHECK(unpack_bytes(archive, place.parent + "/" + std::string(250, 'a')).reason() == Reason::path_refused);
  CHECK(place.untouched());
  CHECK(unpack(source_of(archive), place.destination + "/").ok());
  CHECK(content(place.destination + "/a") == "x");
}

TEST_CASE("a source may end the work, by an error or by an exception") {
  const std::string archive = packed(entry({.name = "a"}, noise(500'000)) + tar_end());
  for (const std::size_t after : {std::size_t{0}, std::size_t{100'000}}) {
    const Place place;
    std::size_t given = 0;
    const Source inner = source_of(archive);
    const auto stopping = [&](std::span<char> out) -> Result<std::size_t> {
      if (given >= after) return calyx::fail(Reason::stopped, "enough");
      auto got = inner(out.first(std::min<std::size_t>(out.size(), 10'000)));
      given += *got;
      return got;
    };
    CHECK(unpack(stopping, place.destination).reason() == Reason::stopped);
    CHECK(place.untouched());
    given = 0;
    const auto throwing = [&](std::span<char> out) -> Result<std::size_t> {
      if (given >= after) throw std::runtime_error("enough");
      given += 1;
      out[0] = archive[given - 1];
      return std::size_t{1};
    };
    CHECK_THROWS_AS((void)unpack(throwing, place.destination), std::runtime_error);
    CHECK(place.untouched());
  }
}

TEST_CASE("a full disk is no fault of the archive, and leaves nothing") {
  const Place place;
  const std::string archive = packed(entry({.name = "a"}, noise(200'000)) + tar_end());
  const int code = calyx::store::in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit little{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &little) != 0) return 2;
    return unpack_bytes(archive, place.destination).reason() == Reason::io_error ? 0 : 1;
  });
  CHECK(code == 0);
  CHECK(place.untouched());
}

TEST_CASE("what a crash left is taken away by the next unpacking, and what is at work is not") {
  const Place place;
  const std::string archive = packed(entry({.name = "a"}, noise(300'000)) + tar_end());
  const int code = calyx::store::in_child([&] {
    const Source inner = source_of(archive);
    std::size_t calls = 0;
    (void)unpack(
        [&](std::span<char> out) {
          if (++calls == 20) ::raise(SIGKILL);
          return inner(out.first(10'000));
        },
        place.destination);
    return 0;
  });
  CHECK(code == -1);
  const auto entries = [&] {
    return std::distance(fs::directory_iterator(place.parent), fs::directory_iterator());
  };
  REQUIRE(entries() == 1);

  bool inside = false;
  const Source inner = source_of(archive);
  const Source meanwhile = [&](std::span<char> out) {
    if (!std::exchange(inside, true)) {
      CHECK(entries() == 1);  // the dead one's draft is gone, this one's is there
      // One that ends first gets the name; the draft of the one at work stays its own.
      CHECK(unpack_bytes(archive, place.destination).ok());
      CHECK(entries() == 2);
    }
    return inner(out);
  };
  const auto late = unpack(meanwhile, place.destination, {}, Keeping::scratch);
  CHECK(late.reason() == Reason::path_refused);
  CHECK(entries() == 1);
  CHECK(content(place.destination + "/a").size() == 300'000);
}

TEST_CASE("threads and processes unpack side by side, and one of those with one destination wins") {
  const Place place;
  const std::string archive =
      packed(entry({.name = "a"}, noise(50'000)) + entry({.name = "b/c"}, "x") + tar_end());
  std::vector<Reason> reasons(8, Reason::internal);
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i)
    children.push_back(calyx::store::start_child([&] {
      const Reason reason = unpack_bytes(archive, place.destination).reason();
      return reason == Reason::none ? 10 : reason == Reason::path_refused ? 11 : 12;
    }));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < reasons.size(); ++i)
    threads.emplace_back([&, i] {
      reasons[i] =
          unpack_bytes(archive, i % 2 == 0 ? place.destination : place.destination + std::to_string(i))
              .reason();
    });
  for (std::thread& thread : threads) thread.join();
  int won = 0;
  for (const pid_t child : children) {
    const int code = calyx::store::wait_for(child);
    CHECK((code == 10 || code == 11));
    won += code == 10 ? 1 : 0;
  }
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    CHECK((reasons[i] == Reason::none || (i % 2 == 0 && reasons[i] == Reason::path_refused)));
    if (i % 2 == 0) won += reasons[i] == Reason::none ? 1 : 0;
  }
  CHECK(won == 1);
  CHECK(std::distance(fs::directory_iterator(place.parent), fs::directory_iterator()) == 5);
}
