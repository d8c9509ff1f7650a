// Each file of the corpus, once, through its target: what fuzzing has found stays found.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"
#include "testing.hpp"
#include "wallets.hpp"

using namespace calyx;

namespace {

struct FuzzTarget {
  std::string_view name;
  void (*run)(std::string_view input);
};
constexpr FuzzTarget fuzz_targets[] = {
#define CALYX_FUZZ_ROW(name) {#name, fuzz::target::name},
    CALYX_FUZZ_TARGETS(CALYX_FUZZ_ROW)
#undef CALYX_FUZZ_ROW
};

const std::filesystem::path& corpus_folder() {
  static const std::filesystem::path folder =
      std::filesystem::path(testing::vectors).parent_path() / "fuzz/corpus";
  return folder;
}

}  // namespace

TEST_CASE("what fuzzing has found keeps its promises") {
  std::uint64_t inputs = 0;
  for (const FuzzTarget& target : fuzz_targets) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(corpus_folder() / target.name))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    CAPTURE(target.name);
    CHECK(files.size() >= 10);
    for (const std::filesystem::path& path : files) {
      std::ifstream file(path, std::ios::binary);
      // Of its own size, so that a sanitizer sees who reads past its end.
      const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      CAPTURE(path.filename().string());
      CHECK(file.good() != file.eof());
      CHECK_NOTHROW(target.run({bytes.data(), bytes.size()}));
      ++inputs;
    }
  }
  testing::told("inputs of the fuzz corpus", inputs);
  // Without it whatever a wallet of an EVM chain signs is left out.
  if (!fuzz::evm_signs) CHECK(testing::may_lack("fuzz.corpus.evm", "libsecp256k1-dev"));
}

TEST_CASE("each folder of the corpus has its target") {
  for (const auto& entry : std::filesystem::directory_iterator(corpus_folder())) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    CHECK(std::any_of(std::begin(fuzz_targets), std::end(fuzz_targets),
                      [&](const FuzzTarget& target) { return target.name == name; }));
  }
}
