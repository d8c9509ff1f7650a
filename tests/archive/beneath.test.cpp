#include "archive/beneath.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "store/scratch.hpp"

using namespace calyx::archive;
using calyx::store::Scratch;
namespace fs = std::filesystem;

TEST_CASE("nothing outside of a folder is reached through it, by the kernel's way or by steps") {
  for (const Way way : {Way::kernel, Way::steps}) {
    CAPTURE(static_cast<int>(way));
    const Scratch scratch;
    fs::create_directories(scratch / "in/a/b");
    fs::create_directory(scratch / "out");
    std::ofstream(scratch / "out/secret") << "x";
    fs::create_symlink("../out", scratch / "in/up");
    fs::create_symlink(scratch / "out", scratch / "in/a/far");
    fs::create_symlink("a", scratch / "in/near");
    fs::create_symlink("../out/secret", scratch / "in/file");
    const Descriptor in(::open((scratch / "in").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(in.open());
    constexpr int fresh = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

    CHECK(open_beneath(*in, "a/b/new", fresh, 0600, way).open());
    CHECK(fs::exists(scratch / "in/a/b/new"));
    CHECK_FALSE(open_beneath(*in, "a/b/new", fresh, 0600, way).open());
    CHECK(errno == EEXIST);
    for (const char* path :
         {"up/new", "a/far/new", "near/new", "../out/new", "a/../../out/new", "/tmp/new"}) {
      CAPTURE(path);
      CHECK_FALSE(open_beneath(*in, path, fresh, 0600, way).open());
      CHECK_FALSE(make_folder_beneath(*in, path, way));
    }
    for (const char* path : {"file", "up/secret", "a/far/secret", "../out/secret"}) {
      CAPTURE(path);
      CHECK_FALSE(open_beneath(*in, path, O_RDONLY, 0, way).open());
    }
    CHECK(make_folder_beneath(*in, "a/b/c", way));
    CHECK(make_folder_beneath(*in, "d", way));
    CHECK((fs::status(scratch / "in/d").permissions() & fs::perms::mask) == fs::perms(0755));
    CHECK(std::distance(fs::directory_iterator(scratch / "out"), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("a tree is taken away without following what it links to") {
  const Scratch scratch;
  fs::create_directories(scratch / "in/a/b");
  fs::create_directory(scratch / "out");
  std::ofstream(scratch / "out/kept") << "x";
  std::ofstream(scratch / "in/a/file") << "x";
  fs::create_directory_symlink(scratch / "out", scratch / "in/a/b/link");
  const Descriptor folder(::open(scratch.folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK(remove_tree(*folder, "in"));
  CHECK_FALSE(fs::exists(scratch / "in"));
  CHECK(fs::exists(scratch / "out/kept"));
  CHECK(remove_tree(*folder, "in"));
}
