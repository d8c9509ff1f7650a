#include "crypto/secp256k1.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/crypto_for_tests.hpp"
#include "crypto/evm_wallet_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::core;
using namespace calyx::core::for_tests;
using calyx::crypto::recover_evm_address;

namespace {

/// Whether the build has the library; a test that lacks it is skipped by its name.
bool built(const char* test) {
  if (crypto::secp256k1_built()) return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

}  // namespace

TEST_CASE("a build without libsecp256k1 says so") {
  if (crypto::secp256k1_built()) return;
  CHECK(recover_evm_address(Digest{}, std::string(65, '\1')).reason() == Reason::not_built);
  CHECK(recover_evm_address(Digest{}, "").reason() == Reason::not_built);
}

TEST_CASE("a personal message's signature gives its signer's address") {
  if (!built("crypto.secp256k1.personal_messages")) return;
  std::size_t seen = 0;
  for (const json::Value& row : vectors("eip191_personal_sign.json")) {
    CAPTURE(text_of(row, "name"));
    const Digest digest = personal_message_digest(text_of(row, "message"));
    const std::string signature = read_hex_bytes(text_of(row, "signature")).value();
    const auto signer = recover_evm_address(digest, signature);
    REQUIRE(signer.ok());
    CHECK(checksummed_text(*signer) == text_of(row, "recovered_address"));
    ++seen;
  }
  CHECK(seen == 8);
}

#if CALYX_HAVE_SECP256K1

using calyx::crypto::for_tests::EvmWallet;

TEST_CASE("a key has the address that other libraries say, and signs what they sign") {
  for (const json::Value& row : vectors("eip191_personal_sign.json")) {
    const json::Value& key = *row.find("signing_key");
    const EvmWallet wallet(read_hex_bytes(text_of(key, "private_key")).value());
    CHECK(checksummed_text(wallet.address()) == text_of(key, "address"));
    CHECK("0x" + hex(wallet.sign(personal_message_digest(text_of(row, "message")))) ==
          text_of(row, "signature"));
  }
}

TEST_CASE("a signature is refused that a token would refuse on its chain") {
  const EvmWallet wallet(std::string(32, '\7'));
  const Digest digest = keccak256("calyx");
  const std::string good = wallet.sign(digest);
  REQUIRE(recover_evm_address(digest, good).value() == wallet.address());
  const std::string order = unhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").value();
  const std::string half = unhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0").value();
  const std::string over_half =
      unhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1").value();
  const auto with = [&good](std::size_t at, const std::string& octets) {
    return std::string(good).replace(at, octets.size(), octets);
  };
  struct Row {
    const char* says;
    std::string signature;
  };
  const Row refused[] = {
      {"nothing", ""},
      {"64 octets", good.substr(0, 64)},
      {"66 octets", good + '\0'},
      {"v 0", with(64, std::string(1, '\0'))},
      {"v 1", with(64, "\1")},
      {"v 26", with(64, "\x1a")},
      {"v 29", with(64, "\x1d")},
      {"v 35", with(64, "\x23")},
      {"r 0", with(0, std::string(32, '\0'))},
      {"r the order", with(0, order)},
      {"r above all", with(0, std::string(32, '\xff'))},
      {"s 0", with(32, std::string(32, '\0'))},
      {"s the order", with(32, order)},
      {"s above all", with(32, std::string(32, '\xff'))},
      {"s one above half", with(32, over_half)},
      {"the same signature with s in the upper half", wallet.sign_high(digest)},
      {"an r that is on no point", with(0, std::string(31, '\0') + "\5")},
      {"zeros", std::string(64, '\0') + "\x1b"},
  };
  for (const Row& row : refused) {
    CAPTURE(row.says);
    CHECK(recover_evm_address(digest, row.signature).reason() == Reason::unauthorized);
  }
  // v of 29 and 30 stand for an r that is below the order by so little that it was taken from it: with a
  // small r half of these are of some key.
  for (char r = 1; r < 40; ++r)
    for (const char v : {'\x1d', '\x1e'}) {
      std::string small = with(0, std::string(31, '\0') + r);
      small[64] = v;
      CHECK(recover_evm_address(digest, small).reason() == Reason::unauthorized);
    }
  // The largest s that counts is of some key: it is refused for nothing but being somebody else's.
  const auto other = recover_evm_address(digest, with(32, half));
  REQUIRE(other.ok());
  CHECK(*other != wallet.address());
}

TEST_CASE("what a contract may have signed is all that its address's own key did not, in any spelling") {
  const EvmWallet wallet(std::string(32, '\7')), owner(std::string(32, '\5'));
  const Digest digest = keccak256("a digest");
  const calyx::crypto::EvmSignatures by_contract{wallet.address()};
  const std::string good = wallet.sign(digest);
  std::vector<std::string> own = {good, wallet.sign_high(digest), good.substr(0, 64),
                                  wallet.sign_high(digest).substr(0, 64)};
  for (const char v : {'\0', '\1', '\x1d'}) {
    own.push_back(good.substr(0, 64) + v);
    own.push_back(wallet.sign_high(digest).substr(0, 64) + v);
  }
  own.push_back(good.substr(0, 64));  // EIP-2098: v is the first bit of s
  own.back()[32] = static_cast<char>(own.back()[32] | '\x80');
  for (const std::string& signature : own) {
    CAPTURE(calyx::core::hex(signature));
    CHECK(by_contract(digest, signature).reason() == Reason::unauthorized);
  }
  for (const std::string& signature :
       {owner.sign(digest), owner.sign_high(digest), std::string(65, '\0'), std::string(65, '\xff'),
        std::string(64, '\1'), std::string(63, '\1'), std::string(1, '\1'), std::string()}) {
    CAPTURE(calyx::core::hex(signature));
    const auto signer = by_contract(digest, signature);
    REQUIRE(signer.ok());
    CHECK(*signer == wallet.address());
  }
  // Without one named the rules are those of keys.
  CHECK(calyx::crypto::EvmSignatures{}(digest, good).value() == wallet.address());
  CHECK(calyx::crypto::EvmSignatures{}(digest, owner.sign(digest)).value() == owner.address());
  CHECK(calyx::crypto::EvmSignatures{}(digest, own[1]).reason() == Reason::unauthorized);
}

TEST_CASE("another digest, or any bit of the signature changed, is somebody else's or nobody's") {
  const std::uint64_t seed = 0x5ec9;
  MESSAGE("seed " << seed);
  calyx::testing::Dice dice(seed);
  const int rounds = calyx::testing::by_scale(100, 1'000, 50'000);
  for (int round = 0; round < rounds; ++round) {
    std::string secret(32, '\0');
    for (char& octet : secret) octet = static_cast<char>(dice.below(255) + 1);
    secret[0] = static_cast<char>(dice.below(255));  // below the order
    const EvmWallet wallet(secret);
    Digest digest;
    for (std::uint8_t& octet : digest.bytes) octet = static_cast<std::uint8_t>(dice.next());
    std::string signature = wallet.sign(digest);
    REQUIRE(recover_evm_address(digest, signature).value() == wallet.address());
    Digest other = digest;
    other.bytes[dice.below(32)] ^= static_cast<std::uint8_t>(1 << dice.below(8));
    const auto of_other = recover_evm_address(other, signature);
    CHECK_FALSE((of_other.ok() && *of_other == wallet.address()));
    signature[dice.below(65)] ^= static_cast<char>(1 << dice.below(8));
    const auto changed = recover_evm_address(digest, signature);
    CHECK_FALSE((changed.ok() && *changed == wallet.address()));
    if (changed.ok()) CHECK(*changed != EvmAddress{});
  }
  calyx::testing::told("signatures of EVM chains changed at random", static_cast<std::uint64_t>(rounds));
}

TEST_CASE("threads recover at once") {
  const EvmWallet wallet(std::string(32, '\3'));
  const Digest digest = keccak256("threads");
  const std::string signature = wallet.sign(digest);
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  threads.reserve(right.size());
  for (int& count : right)
    threads.emplace_back([&count, &wallet, &digest, &signature] {
      for (int i = 0; i < 50; ++i) {
        const auto signer = recover_evm_address(digest, signature);
        count += signer.ok() && *signer == wallet.address() ? 1 : 0;
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const int count : right) CHECK(count == 50);
}

#endif
