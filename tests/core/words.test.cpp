#include <doctest/doctest.h>

#include <calyx/core/words.hpp>

namespace calyx::core {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("a command line splits into the words that a shell would start") {
  struct Row {
    const char* line;
    Words words;
  };
  const Row rows[] = {
      {"", {}},
      {"  \t\n ", {}},
      {"python train.py --epochs 10", {"python", "train.py", "--epochs", "10"}},
      {"  a\t b\r\nc ", {"a", "b", "c"}},
      {"echo 'a  b' \"c  d\"", {"echo", "a  b", "c  d"}},
      {"--name='a b'c", {"--name=a bc"}},
      {"'' \"\" x", {"", "", "x"}},
      {R"('it'\''s')", {"it's"}},
      {R"('a\nb')", {R"(a\nb)"}},
      {R"("a\"b\\c\$d\`e\nf")", {R"(a"b\c$d`e\nf)"}},
      {R"("it's" 'say "x"')", {"it's", "say \"x\""}},
      {R"(a\ b \'c \\)", {"a b", "'c", "\\"}},
      {"a\\\nb \"c\\\nd\"", {"ab", "cd"}},
      {"\\\n", {}},
      {"'a\nb'", {"a\nb"}},
      {"python -c 'import sys; print(sys.argv)'", {"python", "-c", "import sys; print(sys.argv)"}},
      // Nothing of this means anything here.
      {"cat *.txt | wc -l > $OUT && rm ~/x #y",
       {"cat", "*.txt", "|", "wc", "-l", ">", "$OUT", "&&", "rm", "~/x", "#y"}},
      {"caf\xc3\xa9 \"\xe2\x82\xac 5\"", {"caf\xc3\xa9", "\xe2\x82\xac 5"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    const Result<Words> words = split_words(row.line);
    REQUIRE(words.ok());
    CHECK(*words == row.words);
  }
}

TEST_CASE("a command line with an open end is refused, and says where") {
  struct Row {
    const char* line;
    const char* says;
  };
  const Row rows[] = {
      {"echo 'a b", "has a quote that is not closed at byte 5"},
      {"echo \"a\\\"", "has a quote that is not closed at byte 5"},
      {"a '", "has a quote that is not closed at byte 2"},
      {"a b\\", "has a backslash with nothing behind it at byte 3"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    const Result<Words> words = split_words(row.line);
    REQUIRE(words.reason() == Reason::field_value);
    CHECK(words.error().message == row.says);
  }
}

}  // namespace
}  // namespace calyx::core
