#include <doctest/doctest.h>

#include <calyx/core/challenge_id.hpp>
#include <string>

using namespace calyx;
using core::ChallengeId;
using core::request_signature::Chain;

TEST_CASE("CP-03: a challenge's id says what its text follows from, in one spelling") {
  const ChallengeId of{.chain = Chain::solana,
                       .address = "So11111111111111111111111111111111111111112",
                       .at = {1'767'225'600'000'000},
                       .nonce = "00ff",
                       .seal = "a5"};
  const std::string text = core::challenge_id_text(of);
  CHECK(text == "solana.So11111111111111111111111111111111111111112.1767225600.00ff.a5");
  CHECK(core::read_challenge_id(text) == of);
  for (const char* bad :
       {"", "base", "base.0x.0.n", "base.0x.0.n.s.", "base.0x.0.n.s.t", "Base.0x.0.n.s", "ethereum.0x.0.n.s",
        ".0x.0.n.s", "base.0x.01.n.s", "base.0x.-1.n.s", "base.0x.+1.n.s", "base.0x..n.s", "base.0x.1e3.n.s",
        "base.0x.253402300800.n.s", "base.0x.18446744073709551616.n.s"}) {
    CAPTURE(bad);
    CHECK_FALSE(core::read_challenge_id(bad));
  }
  // Whoever checks the seal finds what these say of no use.
  for (const char* good : {"base....", "base.0x.253402300799.n.s", "solana.a.0.."}) {
    CAPTURE(good);
    const auto read = core::read_challenge_id(good);
    CHECK(read.has_value() == (std::string(good) != "base...."));
    if (read) CHECK(core::challenge_id_text(*read) == good);
  }
}
