/// \file
/// A command line as the words of a command: what a shell would start, with no shell.
///
/// Source: POSIX.1-2017, Shell Command Language, 2.2 (Quoting) and 2.6.5 (Field Splitting).
#pragma once

#include <calyx/core/result.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::core {

/// The words of `line`. Spaces, tabs and ends of lines part them; `'…'` is kept as it stands; in `"…"` a
/// backslash takes `$`, `` ` ``, `"`, `\` and an end of line literally; elsewhere it takes any letter so, and
/// with an end of line it goes. What a shell would do beyond that is not done: `$HOME`, `*.txt`, `a | b` and
/// `a > b` are words with these letters in them.
///
/// Fails: `field_value`, with the byte where an open quote began, or the backslash that ends the line.
inline Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  bool in_word = false;
  const auto put = [&](char letter) {
    if (!in_word) words.emplace_back();
    in_word = true;
    words.back() += letter;
  };
  const auto open_at = [](const char* what, std::size_t at) {
    return fail(Reason::field_value, "has " + std::string(what) + " at byte " + std::to_string(at));
  };
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char letter = line[i];
    if (letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r') {
      in_word = false;
    } else if (letter == '\\') {
      if (i + 1 == line.size()) return open_at("a backslash with nothing behind it", i);
      if (line[++i] != '\n') put(line[i]);
    } else if (letter == '\'' || letter == '"') {
      const std::size_t began = i;
      if (!in_word) words.emplace_back();  // '' is a word, an empty one
      in_word = true;
      for (++i; i < line.size() && line[i] != letter; ++i) {
        constexpr std::string_view taken_literally = "$`\"\\\n";
        const bool escapes = letter == '"' && line[i] == '\\' && i + 1 < line.size() &&
                             taken_literally.find(line[i + 1]) != std::string_view::npos;
        if (escapes && line[++i] == '\n') continue;
        words.back() += line[i];
      }
      if (i == line.size()) return open_at("a quote that is not closed", began);
    } else {
      put(letter);
    }
  }
  return words;
}

}  // namespace calyx::core
