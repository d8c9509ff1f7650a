#include <doctest/doctest.h>

#include <calyx/core/keccak256.hpp>
#include <string>
#include <string_view>

#include "crypto_for_tests.hpp"

using namespace calyx::core;
using namespace calyx::core::for_tests;

TEST_CASE("Keccak-256 gives the digests that other libraries give, at and around its rate") {
  std::size_t seen = 0;
  for (const json::Value& row : vectors("keccak256.json")) {
    CAPTURE(text_of(row, "name"));
    const auto input = unhex(text_of(row, "input_hex"));
    REQUIRE(input);
    CHECK(keccak256(*input) == digest_at(row, "keccak256"));
    ++seen;
  }
  CHECK(seen == 14);
}

TEST_CASE("Keccak-256 is not SHA3-256, and a constant where its input is one") {
  constexpr Digest of_nothing = keccak256("");
  static_assert(of_nothing.bytes[0] == 0xc5 && of_nothing.bytes[31] == 0x70);
  CHECK(hex(of_nothing) == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
  CHECK(hex(keccak256("abc")) != "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
}

TEST_CASE("pieces are hashed as if they were one text, wherever it is cut") {
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i * 7));
  const std::string_view all = text;
  const Digest whole = keccak256(all);
  for (std::size_t a = 0; a <= all.size(); ++a) {
    CHECK(keccak256(all.substr(0, a), all.substr(a)) == whole);
    const std::size_t b = a + (all.size() - a) / 2;
    CHECK(Keccak256{}(all.substr(0, a), all.substr(a, b - a), all.substr(b)) == whole);
  }
  Keccak256Stream stream;
  stream.update(all.substr(0, 137));
  stream.update(all.substr(137));
  CHECK(stream.finish() == whole);
  CHECK(stream.finish() == keccak256(""));
}
