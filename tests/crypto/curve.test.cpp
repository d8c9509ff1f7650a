#include "crypto/curve.hpp"

#include <doctest/doctest.h>
#include <sodium.h>

#include <calyx/core/encoding.hpp>
#include <iostream>
#include <random>
#include <string>

using namespace calyx;

namespace {

core::PublicKey point_of(std::string_view text) {
  core::PublicKey out{};
  REQUIRE(core::unhex_into(out, text));
  return out;
}

}  // namespace

TEST_CASE("a point of the curve is told from what is none") {
  struct Row {
    const char* octets;
    bool on_curve;
  };
  // Decided by Euler's criterion over the field, in Python, from the curve's equation.
  const Row rows[] = {
      // SHA-256 of "calyx curve 0" and so on
      {"ff5081cf911297f0e078e13142b663a2f2e96060ffde23781ad4c87e4f40b12c", false},
      {"d833d8a1d1ccf16d165d7c22de2aaa7e14bbec0634719a7509214526b583b0ff", false},
      {"d59c280ac978eaa3c0cff95fceeb7e75a8638c803fabc0a679ffacc80457ddaf", true},
      {"34d1b6882feafa85813ec4467e58939ce0fa94365676e4f49e3a2e8e0fc05c0c", true},
      {"59f9c2e263703e90c7060d9c23211052a3b08dcabd13290d276bc4f15d7a4d4b", false},
      {"eff220b8e258b620ff11d9ae0258148d29211f3a44884f7d329638544388142b", false},
      {"0fe37f8206044a447f200765254aac9713d3029135738fd9fb80aba8f17b5546", false},
      {"bf57be99f4a4f7fddf2e657aa94aee8154308c6a0bc9d72e0e90c621a6b061db", true},
      {"b3b3a5039bf883dd18f4a8ef2f1d444c9d6cf76abd965c306296e61d33094c24", true},
      {"c1003dd60080963c3c508aa5b69a158b2551c5914591830e8ce00913bf38e6e2", false},
      {"7773aeca459b9cd994fec9471af890adee5ea93e08d07f9d1b539b597963e764", true},
      {"4c891b657ef7a43299872e27d97386a9ca10b13b91f86917cc279fc6fc4ac662", false},
      // Points of small order, among them the neutral one and a zero with a sign
      {"0000000000000000000000000000000000000000000000000000000000000000", true},
      {"0100000000000000000000000000000000000000000000000000000000000000", true},
      {"0100000000000000000000000000000000000000000000000000000000000080", true},
      {"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true},
      // 2, and numbers that are above the field's order and so a second spelling of 0, 1, 2 and 18
      {"0200000000000000000000000000000000000000000000000000000000000000", false},
      {"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true},
      {"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true},
      {"efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false},
      {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", true},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.octets));
    CHECK(crypto::on_ed25519_curve(point_of(row.octets)) == row.on_curve);
  }
}

TEST_CASE("a point outside the subgroup of prime order is a point all the same") {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "points of the curve: seed " << seed << std::endl;
  std::mt19937_64 random(seed);
  int outside = 0;
  for (int i = 0; i < 500; ++i) {
    core::PublicKey octets{};
    for (std::uint8_t& octet : octets) octet = static_cast<std::uint8_t>(random());
    const bool on_curve = crypto::on_ed25519_curve(octets);
    if (crypto_core_ed25519_is_valid_point(octets.data()) == 1) CHECK(on_curve);
    outside += on_curve && crypto_core_ed25519_is_valid_point(octets.data()) == 0 ? 1 : 0;
  }
  CHECK(outside > 100);  // seven of eight points, and each second text is one
}
