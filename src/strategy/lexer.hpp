/// \file
/// Rust source as tokens.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "calyx_kernels/bytecode.hpp"
#include "strategy/strategy.hpp"

namespace calyx::strategy {

using kernels::bytecode::Wide;

struct Position {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

/// What ends a compilation. It never leaves `compile`.
struct Refusal {
  Diagnostic diagnostic;
};

[[noreturn]] inline void refuse(std::string code, Position at, std::string message) {
  throw Refusal{{std::move(code), at.line, at.column, std::move(message)}};
}

enum class TokenKind : std::uint8_t { end, name, lifetime, integer, real, text, byte_text, character, mark };

struct Token {
  TokenKind kind = TokenKind::end;
  Position at;
  std::string_view text;  ///< As in the source; of a lifetime without its tick.
  std::string value;      ///< What a string means.
  Wide number = 0;        ///< Of an integer or a character.
  double real = 0.0;
  std::string_view suffix;  ///< Of a number: `u64` and the like.
  bool spaced = false;      ///< Whether space or a comment stands before it.
};

/// The tokens of `source`, and one of kind `end`. Marks are single characters but for those of two or three
/// that Rust has; `>>` and its kin come as single `>`, joined by who wants them. Throws `Refusal`.
std::vector<Token> lex(std::string_view source);

}  // namespace calyx::strategy
