/// \file
/// Bytes as text and back: hex, base64, base64url, base58.
///
/// Bytes are carried in `std::string` and `std::string_view`; `chars` shows an array of octets as one. Every
/// decoder is strict: what an encoder would not have written is not read, so each value has one spelling.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core {

/// The octets as characters; nothing is copied.
inline std::string_view chars(std::span<const std::uint8_t> octets) noexcept {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

/// The characters as an array of octets, or nothing when they are not `N`.
template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> octets(std::string_view bytes) noexcept {
  if (bytes.size() != N) return std::nullopt;
  std::array<std::uint8_t, N> out;
  std::memcpy(out.data(), bytes.data(), N);
  return out;
}

/// What lies in `text` from `at` on, for a caller who knows that it does: `substr` would look again, and
/// throw.
constexpr std::string_view part(std::string_view text, std::size_t at, std::size_t size) noexcept {
  return {text.data() + at, size};
}
constexpr std::string_view part(std::string_view text, std::size_t at) noexcept {
  return part(text, at, text.size() - at);
}

/// The line at a place of a text whose lines all end in a newline. A table of words as one text needs no
/// pointers, which a loader would have to set one by one.
constexpr std::string_view line_of(std::string_view lines, std::size_t place) noexcept {
  for (; place > 0; --place) lines.remove_prefix(lines.find('\n') + 1);
  return part(lines, 0, lines.find('\n'));
}

// `put_…` writes a text where `to` points and gives its end, as `std::to_chars` does; the caller has made the
// room. A text of many pieces is written so: each growth of a `std::string` costs more than a short piece.

inline char* put_text(char* to, std::string_view text) noexcept {
  return to + text.copy(to, text.size());  // unlike memcpy, of a view of nothing too
}

/// Appends what `put` writes, which is no longer than `bytes_max`. `put` takes `to` and gives the end.
template <class Put>
void append_put(std::string& out, std::size_t bytes_max, const Put& put) {
  const std::size_t start = out.size();
  out.resize(start + bytes_max);
  const char* const end = put(out.data() + start);
  assert(end <= out.data() + out.size());
  out.resize(static_cast<std::size_t>(end - out.data()));
}

inline constexpr std::string_view hex_digits = "0123456789abcdef";

/// The two digits of each octet.
inline constexpr auto hex_pairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  for (std::size_t octet = 0; octet < pairs.size(); ++octet)
    pairs[octet] = {hex_digits[octet >> 4], hex_digits[octet & 15]};
  return pairs;
}();

inline char* put_hex(char* to, std::string_view bytes) noexcept {
  for (const char c : bytes) {
    std::memcpy(to, hex_pairs[static_cast<unsigned char>(c)].data(), 2);
    to += 2;
  }
  return to;
}
inline void append_hex(std::string& out, std::string_view bytes) {
  const std::size_t start = out.size();
  out.resize(start + 2 * bytes.size());
  put_hex(out.data() + start, bytes);
}
inline std::string hex(std::string_view bytes) {
  std::string out;
  append_hex(out, bytes);
  return out;
}

/// Which letters `unhex` takes.
enum class HexCase : std::uint8_t { lower, either };

/// What each character is worth as a hex digit; 256 for one that is none.
constexpr std::array<std::uint16_t, 256> hex_values(HexCase letters) noexcept {
  std::array<std::uint16_t, 256> values{};
  for (std::uint16_t& value : values) value = 256;
  for (std::uint8_t i = 0; i < 16; ++i) {
    const auto digit = static_cast<unsigned char>(hex_digits[i]);
    values[digit] = i;
    if (letters == HexCase::either && i > 9) values[digit - 'a' + 'A'] = i;
  }
  return values;
}
inline constexpr std::array<std::uint16_t, 256> hex_values_lower = hex_values(HexCase::lower);
inline constexpr std::array<std::uint16_t, 256> hex_values_either = hex_values(HexCase::either);

/// Reads the octets that `text` spells into `out`; false, with `out` half written, when they are not as many.
inline bool unhex_into(std::span<std::uint8_t> out, std::string_view text,
                       HexCase letters = HexCase::lower) noexcept {
  if (text.size() != 2 * out.size()) return false;
  const auto& values = letters == HexCase::lower ? hex_values_lower : hex_values_either;
  const auto* from = reinterpret_cast<const unsigned char*>(text.data());
  unsigned all = 0;  // of the octets, so that what is no digit shows in the end as a bit above them
  for (std::uint8_t& octet : out) {
    const unsigned both = unsigned{values[from[0]]} << 4 | values[from[1]];
    from += 2;
    all |= both;
    octet = static_cast<std::uint8_t>(both);
  }
  return all <= 255;
}
/// The bytes that `text` spells, or nothing.
inline std::optional<std::string> unhex(std::string_view text, HexCase letters = HexCase::lower) {
  std::string out(text.size() / 2, '\0');
  if (!unhex_into({reinterpret_cast<std::uint8_t*>(out.data()), out.size()}, text, letters))
    return std::nullopt;
  return out;
}

/// RFC 4648's two alphabets of 64, and whether `=` fills the last group.
struct Base64Form {
  std::string_view letters;
  bool padded;
  std::array<std::int8_t, 256> values;
  std::array<std::array<char, 2>, 4096> pairs;  ///< The two letters of each twelve bits.
};
constexpr Base64Form base64_form(std::string_view letters, bool padded) noexcept {
  Base64Form form{letters, padded, {}, {}};
  for (std::int8_t& value : form.values) value = -1;
  for (std::size_t i = 0; i < form.pairs.size(); ++i) form.pairs[i] = {letters[i >> 6], letters[i & 63]};
  for (std::size_t i = 0; i < letters.size(); ++i)
    form.values[static_cast<unsigned char>(letters[i])] = static_cast<std::int8_t>(i);
  return form;
}
inline constexpr Base64Form base64_standard =
    base64_form("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true);
inline constexpr Base64Form base64_url =
    base64_form("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false);

/// The number that the eight bytes at `in` spell, the highest first; compilers make one load of it.
constexpr std::uint64_t high_first(const unsigned char* in) noexcept {
  return std::uint64_t{in[0]} << 56 | std::uint64_t{in[1]} << 48 | std::uint64_t{in[2]} << 40 |
         std::uint64_t{in[3]} << 32 | std::uint64_t{in[4]} << 24 | std::uint64_t{in[5]} << 16 |
         std::uint64_t{in[6]} << 8 | std::uint64_t{in[7]};
}

/// Appends `bytes` in `form`. Writes straight into the grown text: this stands on the settlement path.
inline void append_base64(std::string& out, std::string_view bytes, const Base64Form& form) {
  const std::size_t rest = bytes.size() % 3;
  const std::size_t last = rest == 0 ? 0 : form.padded ? 4 : rest + 1;  // characters of the last group
  const std::size_t start = out.size();
  out.resize(start + bytes.size() / 3 * 4 + last);
  const char* const letters = form.letters.data();
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  char* to = out.data() + start;
  std::size_t groups = bytes.size() / 3;
  const auto* const end = in + bytes.size();
  for (; end - in >= 8; groups -= 2, in += 6, to += 8) {  // two groups at a look, which takes up eight bytes
    const std::uint64_t six = high_first(in);
    std::memcpy(to, form.pairs[six >> 52].data(), 2);
    std::memcpy(to + 2, form.pairs[six >> 40 & 4095].data(), 2);
    std::memcpy(to + 4, form.pairs[six >> 28 & 4095].data(), 2);
    std::memcpy(to + 6, form.pairs[six >> 16 & 4095].data(), 2);
  }
  for (; groups > 0; --groups, in += 3, to += 4) {
    const std::uint32_t three = (std::uint32_t{in[0]} << 16) | (std::uint32_t{in[1]} << 8) | in[2];
    std::memcpy(to, form.pairs[three >> 12].data(), 2);
    std::memcpy(to + 2, form.pairs[three & 4095].data(), 2);
  }
  if (rest == 0) return;
  const std::uint32_t three =
      (std::uint32_t{in[0]} << 16) | (rest == 2 ? std::uint32_t{in[1]} << 8 : std::uint32_t{0});
  to[0] = letters[three >> 18];
  to[1] = letters[three >> 12 & 63];
  if (rest == 2)
    to[2] = letters[three >> 6 & 63];
  else if (form.padded)
    to[2] = '=';
  if (form.padded) to[3] = '=';
}

/// The bytes that `text` spells in `form`, or nothing: padding neither missing nor too much, no other
/// character, and no set bit that no byte takes up.
inline std::optional<std::string> read_base64(std::string_view text, const Base64Form& form) {
  if (form.padded) {
    if (text.size() % 4 != 0) return std::nullopt;
    for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i) text.remove_suffix(1);
  }
  const std::size_t rest = text.size() % 4;
  if (rest == 1) return std::nullopt;
  // Written where it belongs, since each payment is read so: pushed back octet by octet it took three times
  // as long.
  std::string out(text.size() / 4 * 3 + (rest == 0 ? 0 : rest - 1), '\0');
  char* to = out.data();
  const auto* in = reinterpret_cast<const unsigned char*>(text.data());
  int all = 0;  // of the values, so that what is no letter shows in the end as the sign
  for (std::size_t groups = text.size() / 4; groups > 0; --groups, in += 4, to += 3) {
    const int first = form.values[in[0]] << 6 | form.values[in[1]];
    const int last = form.values[in[2]] << 6 | form.values[in[3]];
    all |= first | last;
    to[0] = static_cast<char>(first >> 4);
    to[1] = static_cast<char>(first << 4 | (last >> 8 & 15));
    to[2] = static_cast<char>(last);
  }
  if (rest != 0) {
    const int first = form.values[in[0]] << 6 | form.values[in[1]];
    const int last = rest == 3 ? form.values[in[2]] : 0;
    all |= first | last;
    if (rest == 2 ? (first & 15) != 0 : (last & 3) != 0) return std::nullopt;
    to[0] = static_cast<char>(first >> 4);
    if (rest == 3) to[1] = static_cast<char>(first << 4 | last >> 2);
  }
  return all < 0 ? std::nullopt : std::optional<std::string>(std::move(out));
}

/// Standard base 64, padded.
inline void append_base64(std::string& out, std::string_view bytes) {
  append_base64(out, bytes, base64_standard);
}
inline std::string base64(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}
inline std::optional<std::string> unbase64(std::string_view text) {
  return read_base64(text, base64_standard);
}

/// The URL alphabet, never padded: what JOSE writes.
inline void append_base64url(std::string& out, std::string_view bytes) {
  append_base64(out, bytes, base64_url);
}
inline std::string base64url(std::string_view bytes) {
  std::string out;
  append_base64url(out, bytes);
  return out;
}
inline std::optional<std::string> unbase64url(std::string_view text) { return read_base64(text, base64_url); }

/// Bitcoin's alphabet: no 0, O, I, l.
inline constexpr std::string_view base58_letters =
    "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// What each character is worth as a digit of base 58; -1 for one that is none.
inline constexpr auto base58_values = [] {
  std::array<std::int8_t, 256> values{};
  for (std::int8_t& value : values) value = -1;
  for (std::size_t i = 0; i < base58_letters.size(); ++i)
    values[static_cast<unsigned char>(base58_letters[i])] = static_cast<std::int8_t>(i);
  return values;
}();

/// Base 58 in Bitcoin's alphabet. For keys and addresses: the time grows with the square of the size.
inline std::string base58(std::string_view bytes) {
  std::size_t zeros = 0;
  while (zeros < bytes.size() && bytes[zeros] == '\0') ++zeros;
  std::vector<std::uint8_t> digits;  // base 58, the lowest first
  digits.reserve(bytes.size() * 138 / 100 + 1);
  for (const char c : bytes.substr(zeros)) {
    unsigned carry = static_cast<unsigned char>(c);
    for (std::uint8_t& digit : digits) {
      carry += unsigned{digit} << 8;
      digit = static_cast<std::uint8_t>(carry % 58);
      carry /= 58;
    }
    for (; carry != 0; carry /= 58) digits.push_back(static_cast<std::uint8_t>(carry % 58));
  }
  std::string out(zeros, base58_letters[0]);
  for (std::size_t i = digits.size(); i-- > 0;) out.push_back(base58_letters[digits[i]]);
  return out;
}

/// Writes the octets that `text` spells at the end of `out` and gives their number, or nothing when one of
/// its characters is no digit or `out` is too short. The time grows with the square of the size.
constexpr std::optional<std::size_t> unbase58_at_end(std::span<std::uint8_t> out,
                                                     std::string_view text) noexcept {
  for (std::uint8_t& octet : out) octet = 0;
  std::size_t zeros = 0;
  while (zeros < text.size() && text[zeros] == base58_letters[0]) ++zeros;
  std::size_t used = 0;  // octets of the number, which stands at the end
  for (const char c : part(text, zeros)) {
    const int value = base58_values[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    auto carry = static_cast<unsigned>(value);
    for (std::size_t i = 0; i < used || carry != 0; ++i) {
      if (i == out.size()) return std::nullopt;
      std::uint8_t& octet = out[out.size() - 1 - i];
      carry += unsigned{octet} * 58;
      octet = static_cast<std::uint8_t>(carry);
      carry >>= 8;
      if (i == used) ++used;
    }
  }
  return zeros + used <= out.size() ? std::optional<std::size_t>(zeros + used) : std::nullopt;
}

/// Reads the octets that `text` spells in base 58 into `out`; false, with `out` written, when they are not as
/// many.
constexpr bool unbase58_into(std::span<std::uint8_t> out, std::string_view text) noexcept {
  return text.size() <= 2 * out.size() && unbase58_at_end(out, text) == out.size();
}
/// The `N` octets that `text` spells in base 58, or nothing when they are not as many.
template <std::size_t N>
constexpr std::optional<std::array<std::uint8_t, N>> unbase58_octets(std::string_view text) noexcept {
  std::array<std::uint8_t, N> out{};
  return unbase58_into(out, text) ? std::optional(out) : std::nullopt;
}

/// The longest text that `unbase58` reads: twice a signature's.
inline constexpr std::size_t base58_chars_max = 176;

/// The bytes that `text` spells in base 58, or nothing; also nothing beyond `base58_chars_max`.
inline std::optional<std::string> unbase58(std::string_view text) {
  if (text.size() > base58_chars_max) return std::nullopt;
  std::string out(text.size(), '\0');  // a digit is worth less than an octet
  const auto size = unbase58_at_end({reinterpret_cast<std::uint8_t*>(out.data()), out.size()}, text);
  if (!size) return std::nullopt;
  return out.substr(out.size() - *size);
}

}  // namespace calyx::core
