#include "strategy/lexer.hpp"

#include <charconv>
#include <utility>

namespace calyx::strategy {
namespace {

constexpr std::size_t tokens_max = 65'536;

bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool continues_name(char c) { return begins_name(c) || is_digit(c); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> all() {
    if (source_.substr(0, 3) == "\xef\xbb\xbf") at_ = 3;
    for (;;) {
      const std::size_t before = at_;
      skip_space();
      Token token;
      token.spaced = at_ != before;
      token.at = position();
      if (at_ >= source_.size()) {
        tokens_.push_back(token);
        return std::move(tokens_);
      }
      if (tokens_.size() >= tokens_max)
        refuse("too_large", token.at, "the source has more than 65536 tokens");
      read(token);
      tokens_.push_back(std::move(token));
    }
  }

 private:
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  Position position() {
    for (; counted_ < at_; ++counted_)
      if (source_[counted_] == '\n') {
        ++line_;
        line_begin_ = counted_ + 1;
      }
    return {line_, static_cast<std::uint32_t>(at_ - line_begin_ + 1)};
  }
  [[noreturn]] void fail(Position at, std::string message) {
    refuse("source_syntax", at, std::move(message));
  }

  void skip_space() {
    for (;;) {
      const char c = peek();
      if (at_ >= source_.size()) return;
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else if (c == '/' && peek(1) == '/') {
        while (at_ < source_.size() && source_[at_] != '\n') ++at_;
      } else if (c == '/' && peek(1) == '*') {
        const Position begin = position();
        std::size_t depth = 0;
        do {
          if (at_ >= source_.size()) fail(begin, "a comment has no end");
          if (peek() == '/' && peek(1) == '*') {
            ++depth;
            at_ += 2;
          } else if (peek() == '*' && peek(1) == '/') {
            --depth;
            at_ += 2;
          } else {
            ++at_;
          }
        } while (depth != 0);
      } else {
        return;
      }
    }
  }

  void read(Token& token) {
    const std::size_t begin = at_;
    const char c = peek();
    if ((c == 'r' || (c == 'b' && peek(1) == 'r')) && raw_text(token)) return;
    if (c == 'b' && peek(1) == '"') {
      ++at_;
      quoted(token, TokenKind::byte_text);
    } else if (c == 'b' && peek(1) == '\'') {
      ++at_;
      character(token);
      token.suffix = "u8";
      token.kind = TokenKind::integer;
    } else if (begins_name(c)) {
      while (continues_name(peek())) ++at_;
      token.kind = TokenKind::name;
    } else if (is_digit(c)) {
      number(token);
    } else if (c == '"') {
      quoted(token, TokenKind::text);
    } else if (c == '\'') {
      if (begins_name(peek(1)) && peek(2) != '\'') {
        ++at_;
        const std::size_t name = at_;
        while (continues_name(peek())) ++at_;
        token.kind = TokenKind::lifetime;
        token.text = source_.substr(name, at_ - name);
        return;
      }
      character(token);
    } else {
      mark(token);
    }
    token.text = source_.substr(begin, at_ - begin);
  }

  void mark(Token& token) {
    token.kind = TokenKind::mark;
    static constexpr std::string_view marks[] = {
        "..=", "...", "<<=", "::", "->", "=>", "==", "!=", "<=", "&&", "||",
        "+=",  "-=",  "*=",  "/=", "%=", "^=", "&=", "|=", "..", "<<"};
    for (const std::string_view known : marks)
      if (source_.substr(at_, known.size()) == known) {
        at_ += known.size();
        return;
      }
    if (std::string_view("+-*/%^!&|=<>@.,;:#$?(){}[]~").find(peek()) == std::string_view::npos)
      fail(token.at, "this character has no meaning here");
    ++at_;
  }

  bool raw_text(Token& token) {
    std::size_t ahead = peek() == 'b' ? 2 : 1;
    std::size_t hashes = 0;
    while (peek(ahead) == '#') {
      ++ahead;
      ++hashes;
    }
    if (peek(ahead) != '"') return false;
    const std::size_t begin = at_;
    token.kind = peek() == 'b' ? TokenKind::byte_text : TokenKind::text;
    std::string close = "\"";
    close.append(hashes, '#');
    const std::size_t inside = at_ + ahead + 1;
    const std::size_t end = source_.find(close, inside);
    if (end == std::string_view::npos) fail(token.at, "a string has no end");
    token.value = std::string(source_.substr(inside, end - inside));
    at_ = end + close.size();
    token.text = source_.substr(begin, at_ - begin);
    return true;
  }

  /// The character behind a backslash, as UTF-8.
  void escape(std::string& out) {
    const Position here = position();
    const char c = peek();
    ++at_;
    switch (c) {
      case 'n': out += '\n'; return;
      case 'r': out += '\r'; return;
      case 't': out += '\t'; return;
      case '0': out += '\0'; return;
      case '\\': out += '\\'; return;
      case '\'': out += '\''; return;
      case '"': out += '"'; return;
      case 'x': {
        std::uint32_t value = 0;
        if (!hex(2, value)) fail(here, "this escape needs two hexadecimal digits");
        out += static_cast<char>(value);
        return;
      }
      case 'u': {
        std::uint32_t value = 0;
        if (peek() != '{') fail(here, "this escape needs braces");
        ++at_;
        std::size_t digits = 0;
        while (digits < 6 && hex(1, value)) ++digits;
        if (digits == 0 || peek() != '}' || value > 0x10ffff) fail(here, "this escape names no character");
        ++at_;
        if (value < 0x80) {
          out += static_cast<char>(value);
        } else if (value < 0x800) {
          out += static_cast<char>(0xc0 | value >> 6);
          out += static_cast<char>(0x80 | (value & 0x3f));
        } else if (value < 0x10000) {
          out += static_cast<char>(0xe0 | value >> 12);
          out += static_cast<char>(0x80 | ((value >> 6) & 0x3f));
          out += static_cast<char>(0x80 | (value & 0x3f));
        } else {
          out += static_cast<char>(0xf0 | value >> 18);
          out += static_cast<char>(0x80 | ((value >> 12) & 0x3f));
          out += static_cast<char>(0x80 | ((value >> 6) & 0x3f));
          out += static_cast<char>(0x80 | (value & 0x3f));
        }
        return;
      }
      default: fail(here, "this escape is unknown");
    }
  }

  bool hex(std::size_t digits, std::uint32_t& value) {
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = peek();
      std::uint32_t digit = 0;
      if (is_digit(c))
        digit = static_cast<std::uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        digit = static_cast<std::uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        digit = static_cast<std::uint32_t>(c - 'A' + 10);
      else
        return false;
      value = value << 4 | digit;
      ++at_;
    }
    return true;
  }

  void quoted(Token& token, TokenKind kind) {
    token.kind = kind;
    ++at_;
    for (;;) {
      if (at_ >= source_.size()) fail(token.at, "a string has no end");
      const char c = source_[at_++];
      if (c == '"') return;
      if (c != '\\') {
        token.value += c;
      } else if (peek() == '\n' || peek() == '\r') {
        // A line's end behind a backslash goes, with the space that begins the next one.
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
      } else {
        escape(token.value);
      }
    }
  }

  void character(Token& token) {
    token.kind = TokenKind::character;
    ++at_;
    std::string value;
    if (peek() == '\\') {
      ++at_;
      escape(value);
    } else {
      while (at_ < source_.size() && peek() != '\'' && peek() != '\n' && value.size() < 5)
        value += source_[at_++];
    }
    if (peek() != '\'' || value.empty()) fail(token.at, "a character has no end");
    ++at_;
    token.number = static_cast<unsigned char>(value[0]);
  }

  void number(Token& token) {
    token.kind = TokenKind::integer;
    std::uint32_t base = 10;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'o' || peek(1) == 'b')) {
      base = peek(1) == 'x' ? 16 : peek(1) == 'o' ? 8 : 2;
      at_ += 2;
    }
    std::string digits;
    const auto take_digits = [&] {
      for (;;) {
        const char c = peek();
        const bool letter = base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
        if (is_digit(c) || letter)
          digits += c;
        else if (c != '_')
          return;
        ++at_;
      }
    };
    take_digits();
    if (digits.empty()) fail(token.at, "a number has no digits");
    if (base == 10) {
      // `1..2` is a range, `1.max(2)` a call, `t.0.1` is sorted out by the parser.
      if (peek() == '.' && peek(1) != '.' && !begins_name(peek(1))) {
        token.kind = TokenKind::real;
        digits += '.';
        ++at_;
        take_digits();
      }
      const bool sign = peek(1) == '+' || peek(1) == '-';
      if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign ? 2 : 1))) {
        token.kind = TokenKind::real;
        digits += 'e';
        ++at_;
        if (peek() == '-') digits += '-';
        if (sign) ++at_;
        take_digits();
      }
    }
    const std::size_t suffix = at_;
    while (continues_name(peek())) ++at_;
    token.suffix = source_.substr(suffix, at_ - suffix);
    if (token.suffix == "f64" && base == 10) token.kind = TokenKind::real;
    if (token.kind == TokenKind::real) {
      const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), token.real);
      // What is too large is infinite and what is too small is zero; the library tells both alike.
      if (read.ec == std::errc::result_out_of_range) {
        const std::size_t exponent = digits.find('e');
        const bool small = exponent != std::string::npos && digits[exponent + 1] == '-';
        token.real = small ? 0.0 : kernels::math::infinity;
      }
      return;
    }
    for (const char c : digits) {
      const auto digit = static_cast<std::uint32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
      if (digit >= base) fail(token.at, "a digit is too large for its base");
      if (token.number > (~Wide{0} - digit) / base) fail(token.at, "an integer has more than 128 bits");
      token.number = token.number * base + digit;
    }
  }

  std::string_view source_;
  std::size_t at_ = 0;
  std::size_t counted_ = 0;
  std::size_t line_begin_ = 0;
  std::uint32_t line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) { return Lexer(source).all(); }

}  // namespace calyx::strategy
