#include <calyx/core/encoding.hpp>
#include <random>
#include <string>

#include "payments_for_tests.hpp"

using namespace calyx::core;

namespace {

std::string random_bytes(std::mt19937_64& random, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(random() & 255));
  return out;
}

/// Base 64 by its definition: the bits of all bytes in a row, cut into sixes.
std::string base64_by_hand(std::string_view bytes, std::string_view letters) {
  std::string bits;
  for (const char c : bytes)
    for (int bit = 7; bit >= 0; --bit) bits.push_back((c >> bit & 1) != 0 ? '1' : '0');
  while (bits.size() % 6 != 0) bits.push_back('0');
  std::string out;
  for (std::size_t at = 0; at < bits.size(); at += 6)
    out.push_back(letters[std::stoul(bits.substr(at, 6), nullptr, 2)]);
  return out;
}

}  // namespace

TEST_CASE("every encoding gives back what it was given, at every length") {
  std::mt19937_64 random(7);
  for (std::size_t size = 0; size < 300; ++size) {
    const std::string bytes = random_bytes(random, size);
    CAPTURE(hex(bytes));
    CHECK(unhex(hex(bytes)) == bytes);
    CHECK(unbase64(base64(bytes)) == bytes);
    CHECK(unbase64url(base64url(bytes)) == bytes);
    CHECK(base64(bytes).size() == (size + 2) / 3 * 4);
    CHECK(base64url(bytes).size() == (size * 4 + 2) / 3);
  }
}

TEST_CASE("base 64 is RFC 4648's") {
  const char* const rows[][3] = {{"", "", ""},
                                 {"f", "Zg==", "Zg"},
                                 {"fo", "Zm8=", "Zm8"},
                                 {"foo", "Zm9v", "Zm9v"},
                                 {"foob", "Zm9vYg==", "Zm9vYg"},
                                 {"fooba", "Zm9vYmE=", "Zm9vYmE"},
                                 {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
                                 {"\xFB\xFF\xBF", "+/+/", "-_-_"}};
  for (const auto& row : rows) {
    CHECK(base64(row[0]) == row[1]);
    CHECK(base64url(row[0]) == row[2]);
    CHECK(unbase64(row[1]) == row[0]);
    CHECK(unbase64url(row[2]) == row[0]);
  }
}

TEST_CASE("base 64 is the bits in sixes, at every length") {
  const std::string alike = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::mt19937_64 random(64);
  for (std::size_t size = 0; size <= 100; ++size) {
    const std::string bytes = random_bytes(random, size);
    CAPTURE(hex(bytes));
    CHECK(base64url(bytes) == base64_by_hand(bytes, alike + "-_"));
    const std::string padding((3 - size % 3) % 3, '=');
    CHECK(base64(bytes) == base64_by_hand(bytes, alike + "+/") + padding);
  }
}

TEST_CASE("base 64 that no encoder wrote is not read") {
  for (const char* text : {"Zg", "Zg=", "Zg===", "Z", "Zh==", "Zi==", "Zk==", "Zo==", "Zm9=", "Zm+=", "Zm9v=",
                           "====", "=", "Zg==Zg==", " Zg==", "Zg==\n", "Zm 8=", "-_-_", "Zm9v\xC2\xA0"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(unbase64(text));
  }
  for (const char* text :
       {"Zg==", "Zm8=", "Z", "Zh", "Zi", "Zk", "Zo", "Zm9", "Zm-", "+/+/", "Zg\n", "Zm 8", ".", "Zm9vY"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(unbase64url(text));
  }
  CHECK_FALSE(unbase64url(std::string_view("Zm9v\0", 5)));
}

TEST_CASE("hex is lower case and even, unless its reader says otherwise") {
  CHECK(hex(std::string_view("\x00\xAB\xFF", 3)) == "00abff");
  CHECK(unhex("00abff") == std::string("\x00\xAB\xFF", 3));
  CHECK_FALSE(unhex("00ABff"));
  CHECK(unhex("00ABff", HexCase::either) == std::string("\x00\xAB\xFF", 3));
  for (const char* text : {"0", "0g", "g0", " 0", "0x", "00 "}) CHECK_FALSE(unhex(text, HexCase::either));
  for (int c = 0; c < 256; ++c) {
    CAPTURE(c);
    const char digit = static_cast<char>(c);
    const bool lower = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    for (const std::string& text : {std::string{digit, '0', 'f', 'f'}, std::string{'f', 'f', '0', digit}}) {
      CHECK(unhex(text).has_value() == lower);
      CHECK(unhex(text, HexCase::either).has_value() == (lower || (c >= 'A' && c <= 'F')));
    }
  }
}

TEST_CASE("base 58 is Bitcoin's, both ways") {
  int rows = 0;
  for (const json::Value& row : for_tests::vectors("base58.json")) {
    const std::string text = for_tests::text_of(row, "base58");
    CAPTURE(text);
    ++rows;
    if (row.find("error") != nullptr) {
      CHECK_FALSE(unbase58(text));
      continue;
    }
    const auto bytes = unhex(for_tests::text_of(row, "hex"));
    REQUIRE(bytes);
    CHECK(base58(*bytes) == text);
    CHECK(unbase58(text) == bytes);
    CHECK(unbase58_octets<32>(text).has_value() == (bytes->size() == 32));
    CHECK(unbase58_octets<64>(text).has_value() == (bytes->size() == 64));
  }
  CHECK(rows == 10);
  CHECK(base58(std::string(32, '\xFF')) == "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG");
  CHECK(base58(std::string(3, '\0')) == "111");
}

TEST_CASE("base 58 gives back what it was given, and no text but one spells a value") {
  const std::uint64_t seed = for_tests::seed_for("base 58");
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (std::size_t size = 0; size < 66; ++size) {
    std::string bytes = random_bytes(random, size);
    for (std::size_t zeros = random() % 3; zeros-- > 0 && zeros < size;) bytes[zeros] = '\0';
    CAPTURE(hex(bytes));
    const std::string text = base58(bytes);
    CHECK(unbase58(text) == bytes);
    CHECK(unbase58('1' + text) == std::string(1, '\0') + bytes);
    for (int changes = 0; changes < 20 && !text.empty(); ++changes) {
      std::string other = text;
      other[random() % other.size()] = static_cast<char>(random() & 255);
      const auto read = unbase58(other);
      if (read) CHECK(base58(*read) == other);
      if (other != text) CHECK(read != bytes);
    }
  }
}

TEST_CASE("base 58 that no encoder wrote is not read") {
  for (const char* text : {"0", "O", "I", "l", "1 ", " 1", "abc\n", "abc+def", "\xC3\xA4"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(unbase58(text));
  }
  CHECK_FALSE(unbase58(std::string_view("12\0", 3)));
  CHECK_FALSE(unbase58(std::string(base58_chars_max + 1, '1')));
  CHECK(unbase58(std::string(base58_chars_max, '1')) == std::string(base58_chars_max, '\0'));
  // One octet fewer and one more than an address: 31 ones and 33, and the largest number of 32 octets plus
  // one.
  CHECK_FALSE(unbase58_octets<32>(std::string(31, '1')));
  CHECK(unbase58_octets<32>(std::string(32, '1')) == std::array<std::uint8_t, 32>{});
  CHECK_FALSE(unbase58_octets<32>(std::string(33, '1')));
  CHECK(unbase58_octets<32>("JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"));
  CHECK_FALSE(unbase58_octets<32>("JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH"));
  CHECK_FALSE(unbase58_octets<32>("1JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"));
  CHECK_FALSE(unbase58_octets<32>(""));
  static_assert(unbase58_octets<1>("1") == std::array<std::uint8_t, 1>{0});
  static_assert(!unbase58_octets<1>("5R"));
}

TEST_CASE("octets are as many as were asked for") {
  CHECK(octets<3>("abc") == std::array<std::uint8_t, 3>{'a', 'b', 'c'});
  CHECK_FALSE(octets<3>("ab"));
  CHECK_FALSE(octets<3>("abcd"));
  CHECK(chars(*octets<3>("abc")) == "abc");
}

TEST_CASE("appending leaves what stood there") {
  std::string out = "> ";
  append_hex(out, "a");
  append_base64(out, "a");
  append_base64url(out, "a");
  CHECK(out == "> 61YQ==YQ");
}
