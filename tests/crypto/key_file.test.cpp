#include "crypto/key_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/core/encoding.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "crypto/signer.hpp"

using calyx::Instant;
using calyx::Reason;
using calyx::core::chars;
using namespace calyx::crypto;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view market = "00112233445566778899aabbccddeeff";
constexpr std::string_view elsewhere = "ffeeddccbbaa99887766554433221100";
constexpr Instant birth{1'790'000'000'000'000};

/// A folder of one test's own.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "calyx-keys-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string file(std::string_view name = "market.db-keys") const { return (path_ / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::string& path, std::string_view bytes, mode_t mode = 0600) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}
mode_t mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}
bool same(const SecretBytes& a, const SecretBytes& b) {
  return equal_in_constant_time(chars(a.bytes()), chars(b.bytes()));
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a key file is made once, for its owner alone, and read back") {
  const Folder folder;
  const std::string path = folder.file();
  CHECK(path == key_file_path(folder.file("market.db")));
  const auto none = load_key_file(path, market);
  CHECK(none.reason() == Reason::keys_missing);
  CHECK(none.error().message ==
        "the key file " + path + " is not there: put it back from a backup, or open the market read-only");

  const mode_t before = ::umask(0);
  const auto made = create_key_file(path, market, birth, system_random());
  ::umask(before);
  REQUIRE(made.ok());
  CHECK(mode_of(path) == 0600);
  CHECK(folder.files() == 1);
  CHECK(made->market == market);
  CHECK(made->hash_key.size() == hash_key_bytes);
  REQUIRE(made->seeds.size() == 1);
  CHECK(made->seeds[0].created_at == birth);
  const auto signer = Ed25519Signer::from_seed(made->seeds[0].seed);
  REQUIRE(signer.ok());
  CHECK((*signer)->kid() == made->seeds[0].kid);

  const auto read = load_key_file(path, market);
  REQUIRE(read.ok());
  CHECK(same(read->hash_key, made->hash_key));
  CHECK(same(read->seeds[0].seed, made->seeds[0].seed));
  CHECK_FALSE(same(read->hash_key, read->seeds[0].seed));

  const std::string text = content(path);
  const auto again = create_key_file(path, market, birth, system_random());
  CHECK(again.reason() == Reason::path_refused);
  CHECK(content(path) == text);
  CHECK(folder.files() == 1);
}

TEST_CASE("the owner's umask does not lock the owner out") {
  const Folder folder;
  const mode_t before = ::umask(0777);
  const auto made = create_key_file(folder.file(), market, birth, system_random());
  ::umask(before);
  CHECK(made.ok());
  CHECK(mode_of(folder.file()) == 0600);
}

TEST_CASE("a key file that others may use is refused, and the message says what to do") {
  const Folder folder;
  const std::string path = folder.file();
  REQUIRE(create_key_file(path, market, birth, system_random()).ok());
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0610u, 0601u, 0666u, 0777u, 0644u}) {
    CAPTURE(mode);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    const auto read = load_key_file(path, market);
    REQUIRE(read.reason() == Reason::path_refused);
    CHECK(read.error().message.find("chmod 600 " + path) != std::string::npos);
    CHECK(add_signing_seed(path, market, birth, system_random()).reason() == Reason::path_refused);
  }
  CHECK(load_key_file(path, market).error().message.find("mode 0644") != std::string::npos);
  for (const mode_t mode : {0600u, 0400u}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    CHECK(load_key_file(path, market).ok());
  }
}

TEST_CASE("what is no regular file is no key file") {
  const Folder folder;
  REQUIRE(create_key_file(folder.file("real"), market, birth, system_random()).ok());
  REQUIRE(::symlink("real", folder.file("link").c_str()) == 0);
  CHECK(load_key_file(folder.file("link"), market).reason() == Reason::path_refused);
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(load_key_file(folder.file("pipe"), market).reason() == Reason::path_refused);
  REQUIRE(::mkdir(folder.file("folder").c_str(), 0700) == 0);
  CHECK(load_key_file(folder.file("folder"), market).reason() == Reason::path_refused);
  CHECK(create_key_file(folder.file("link"), market, birth, system_random()).reason() ==
        Reason::path_refused);
  CHECK(create_key_file(folder.file("none/market.db-keys"), market, birth, system_random()).reason() ==
        Reason::io_error);
  CHECK(load_key_file(folder.file("none/market.db-keys"), market).reason() == Reason::keys_missing);
}

TEST_CASE("another market's key file is named as such") {
  const Folder folder;
  REQUIRE(create_key_file(folder.file(), elsewhere, birth, system_random()).ok());
  const auto read = load_key_file(folder.file(), market);
  REQUIRE(read.reason() == Reason::keys_foreign);
  CHECK(*read.error().details.find("found")->string() == elsewhere);
  const std::string text = content(folder.file());
  CHECK(add_signing_seed(folder.file(), market, birth, system_random()).reason() == Reason::keys_foreign);
  CHECK(content(folder.file()) == text);
}

TEST_CASE("a new seed signs, the old ones stay") {
  const Folder folder;
  const std::string path = folder.file();
  const auto first = create_key_file(path, market, birth, system_random());
  REQUIRE(first.ok());
  const Instant later{birth.us + 5};
  const auto second = add_signing_seed(path, market, later, system_random());
  REQUIRE(second.ok());
  REQUIRE(second->seeds.size() == 2);
  CHECK(same(second->hash_key, first->hash_key));
  CHECK(same(second->seeds[0].seed, first->seeds[0].seed));
  CHECK(second->seeds[0].kid == first->seeds[0].kid);
  CHECK(second->seeds[1].kid != first->seeds[0].kid);
  CHECK(second->seeds[1].created_at == later);
  CHECK(mode_of(path) == 0600);
  CHECK(folder.files() == 1);
  CHECK(load_key_file(path, market)->seeds.size() == 2);
  CHECK(add_signing_seed(folder.file("none"), market, later, system_random()).reason() ==
        Reason::keys_missing);
}

TEST_CASE("a source that repeats itself or gives nothing makes no keys") {
  const Folder folder;
  const RandomSource nothing = [](void*, std::size_t) { return false; };
  const RandomSource sevens = [](void* out, std::size_t size) {
    std::fill_n(static_cast<unsigned char*>(out), size, static_cast<unsigned char>(7));
    return true;
  };
  CHECK(create_key_file(folder.file(), market, birth, nothing).reason() == Reason::io_error);
  CHECK(folder.files() == 0);
  REQUIRE(create_key_file(folder.file(), market, birth, sevens).ok());
  CHECK(add_signing_seed(folder.file(), market, birth, nothing).reason() == Reason::io_error);
  CHECK(add_signing_seed(folder.file(), market, birth, sevens).reason() == Reason::io_error);
  CHECK(load_key_file(folder.file(), market)->seeds.size() == 1);
  CHECK(create_key_file(folder.file("other"), "no hex", birth, sevens).reason() == Reason::internal);
  CHECK(create_key_file(folder.file("other"), "", birth, sevens).reason() == Reason::internal);
}

TEST_CASE("the largest number of seeds is kept, one more is refused") {
  const Folder folder;
  const std::string path = folder.file();
  const auto file_of = [](std::size_t seeds) {
    std::string text = "{\"version\":1,\"market\":\"" + std::string(market) + "\",\"hash_key\":\"" +
                       std::string(43, 'A') + "\",\"seeds\":[";
    for (std::size_t i = 0; i < seeds; ++i) {
      std::array<std::uint8_t, seed_bytes> seed{};
      seed[0] = static_cast<std::uint8_t>(i);
      seed[1] = static_cast<std::uint8_t>(i >> 8);
      const auto signer = Ed25519Signer::from_seed(SecretBytes::copy_of(seed).value());
      text += (i == 0 ? "{\"kid\":\"" : ",{\"kid\":\"") + (*signer)->kid() + "\",\"seed\":\"" +
              calyx::core::base64url(chars(seed)) + "\",\"created_at_us\":253402300799999999}";
    }
    return text + "]}";
  };
  write(path, file_of(signing_seeds_max - 1));
  const auto most = add_signing_seed(path, market, calyx::core::instant_max, system_random());
  REQUIRE(most.ok());
  CHECK(most->seeds.size() == signing_seeds_max);
  CHECK(content(path).size() < key_file_bytes_max);
  CHECK(add_signing_seed(path, market, birth, system_random()).reason() == Reason::unsupported);
  write(path, file_of(signing_seeds_max + 1));
  CHECK(load_key_file(path, market).reason() == Reason::corrupt);
}

TEST_CASE("a draft that a crash left behind is never used, and is taken away by the next writer") {
  const Folder folder;
  const std::string path = folder.file();
  REQUIRE(create_key_file(folder.file("other"), market, birth, system_random()).ok());
  const std::string whole = content(folder.file("other"));
  write(path + "-0123456789abcdef.new", std::string_view(whole).substr(0, whole.size() / 2));
  write(path + "-mine.new", "the user's own");
  CHECK(load_key_file(path, market).reason() == Reason::keys_missing);
  REQUIRE(create_key_file(path, market, birth, system_random()).ok());
  CHECK(folder.files() == 3);
  CHECK(content(path + "-mine.new") == "the user's own");

  const std::string text = content(path);
  write(path + "-fedcba9876543210.new", "{");
  CHECK(load_key_file(path, market).ok());
  CHECK(content(path) == text);
  REQUIRE(add_signing_seed(path, market, birth, system_random()).ok());
  CHECK(folder.files() == 3);
}

TEST_CASE("a write that fails half-way leaves what was there") {
  const Folder folder;
  const std::string path = folder.file();
  REQUIRE(create_key_file(path, market, birth, system_random()).ok());
  const std::string text = content(path);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit few{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &few);
    const bool refused =
        add_signing_seed(path, market, birth, system_random()).reason() == Reason::io_error &&
        create_key_file(path + "2", market, birth, system_random()).reason() == Reason::io_error;
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(content(path) == text);
  CHECK(folder.files() == 1);
}

TEST_CASE("of several makers of one file one wins, and its file is whole") {
  for (int round = 0; round < 20; ++round) {
    const Folder folder;
    std::atomic<int> won = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        if (create_key_file(folder.file(), market, birth, system_random()).ok()) ++won;
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(won == 1);
    CHECK(load_key_file(folder.file(), market).ok());
    CHECK(folder.files() == 1);
  }
}

TEST_CASE("a damaged key file is refused") {
  const Folder folder;
  const std::string path = folder.file();
  REQUIRE(create_key_file(path, market, birth, system_random()).ok());
  REQUIRE(add_signing_seed(path, market, birth, system_random()).ok());
  const std::string whole = content(path);
  const auto with = [&](std::string_view text) {
    write(path, text);
    return load_key_file(path, market).reason();
  };
  for (std::size_t size = 0; size < whole.size() - 1; ++size) {
    CAPTURE(size);
    CHECK(with(std::string_view(whole).substr(0, size)) == Reason::corrupt);
  }
  // A letter of a seed or of its name is found by the name, one of the market by the market; the hash key
  // and the times have nothing to be checked against.
  const std::size_t seeds = whole.find("\"seeds\"");
  for (std::size_t i = seeds; i < whole.size(); ++i) {
    const char c = whole[i];
    if (c < 'A' || c > 'z') continue;
    std::string changed = whole;
    changed[i] = c == 'Q' ? 'R' : 'Q';
    CAPTURE(i);
    CHECK(with(changed) == Reason::corrupt);
  }
  const std::string row = whole.substr(whole.find("{\"kid\""), whole.find("},") + 1 - whole.find("{\"kid\""));
  struct Row {
    const char* says;
    std::string text;
    Reason expected;
  };
  const Row rows[] = {
      {"as it was", whole, Reason::none},
      {"with other spaces", replaced(replaced(whole, ",", " ,\t"), ":", " :\r\n "), Reason::none},
      {"a newer version", replaced(whole, "\"version\":1", "\"version\":2"), Reason::file_newer},
      {"version 0", replaced(whole, "\"version\":1", "\"version\":0"), Reason::corrupt},
      {"no version", replaced(whole, "\"version\":1,", ""), Reason::corrupt},
      {"another market", replaced(whole, market, elsewhere), Reason::keys_foreign},
      {"a market in capitals", replaced(whole, market, "00112233445566778899AABBCCDDEEFF"), Reason::corrupt},
      {"a seed twice", replaced(whole, row, row + "," + row), Reason::corrupt},
      {"no seeds", whole.substr(0, seeds) + "\"seeds\":[]}\n", Reason::corrupt},
      {"a comma too many", replaced(whole, "]}", ",]}"), Reason::corrupt},
      {"a member too many", replaced(whole, "]}", "],\"more\":1}"), Reason::corrupt},
      {"something after", whole + "{}", Reason::corrupt},
      {"a zero byte after", whole + std::string(1, '\0'), Reason::corrupt},
      {"padded base64", replaced(whole, "\",\"created", "=\",\"created"), Reason::corrupt},
      {"an escape", replaced(whole, "\"kid\"", "\"k\\u0069d\""), Reason::corrupt},
      {"too large", whole + std::string(key_file_bytes_max, ' '), Reason::corrupt},
  };
  for (const Row& damaged : rows) {
    CAPTURE(damaged.says);
    CHECK(with(damaged.text) == damaged.expected);
  }
}

TEST_CASE("no message tells a secret") {
  const Folder folder;
  const std::string path = folder.file();
  const auto made = create_key_file(path, market, birth, system_random());
  REQUIRE(made.ok());
  const std::string whole = content(path);
  const std::string hash_key = calyx::core::base64url(chars(made->hash_key.bytes()));
  const std::string seed = calyx::core::base64url(chars(made->seeds[0].seed.bytes()));
  CHECK(whole.find(hash_key) != std::string::npos);
  CHECK(whole.find(seed) != std::string::npos);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = '?';
    write(path, changed);
    const auto read = load_key_file(path, market);
    if (read.ok()) continue;
    CHECK(read.error().message.find(seed.substr(0, 6)) == std::string::npos);
    CHECK(read.error().message.find(hash_key.substr(0, 6)) == std::string::npos);
    CHECK(read.error().message.find('\n') == std::string::npos);
  }
}
