#include "crypto/signer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/core/encoding.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using calyx::Reason;
using calyx::core::chars;
using calyx::core::octets;
using calyx::core::unhex;
using namespace calyx::crypto;

namespace {

template <std::size_t N>
std::array<std::uint8_t, N> bytes(std::string_view hex) {
  return octets<N>(unhex(hex).value()).value();
}

std::unique_ptr<Ed25519Signer> signer(std::string_view seed_hex) {
  return Ed25519Signer::from_seed(SecretBytes::copy_of(bytes<32>(seed_hex)).value()).value();
}

struct Vector {
  const char* seed;
  const char* key;
  const char* message;
  const char* signature;
};
/// RFC 8032, section 7.1: tests 1, 2 and 3, and the one over SHA-512 of "abc".
const Vector vectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
     "d25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
     "387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
     "4a7c15e9716ed28dc027beceea1ec40a"},
    {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
     "454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
     "3dca179c138ac17ad9bef1177331a704"},
};

}  // namespace

TEST_CASE("Ed25519 signs and verifies as RFC 8032 has it") {
  for (const Vector& row : vectors) {
    CAPTURE(row.key);
    const auto signs = signer(row.seed);
    const std::string message = unhex(row.message).value();
    CHECK(signs->public_key() == bytes<32>(row.key));
    const auto signature = signs->sign(message);
    REQUIRE(signature.ok());
    CHECK(*signature == bytes<64>(row.signature));
    CHECK(ed25519_verify(signs->public_key(), message, *signature));
    CHECK(Ed25519{}(signs->public_key(), message, *signature));
    CHECK(ed25519_verify(chars(signs->public_key()), message, chars(*signature)));
    CHECK_FALSE(ed25519_verify(signs->public_key(), message + "x", *signature));
    CHECK_FALSE(ed25519_verify(chars(signs->public_key()).substr(1), message, chars(*signature)));
    CHECK_FALSE(ed25519_verify(chars(signs->public_key()), message, chars(*signature).substr(0, 63)));
    CHECK_FALSE(ed25519_verify("", message, ""));
  }
}

TEST_CASE("one bit of a signature, a key or a message is one too many") {
  const Vector& row = vectors[2];
  const std::string message = unhex(row.message).value();
  for (std::size_t bit = 0; bit < 64 * 8; ++bit) {
    Signature signature = bytes<64>(row.signature);
    signature[bit / 8] = static_cast<std::uint8_t>(signature[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(ed25519_verify(bytes<32>(row.key), message, signature));
  }
  for (std::size_t bit = 0; bit < 32 * 8; ++bit) {
    PublicKey key = bytes<32>(row.key);
    key[bit / 8] = static_cast<std::uint8_t>(key[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(ed25519_verify(key, message, bytes<64>(row.signature)));
  }
}

TEST_CASE("a signature has one S: the group's order added to it is refused") {
  const auto order = bytes<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  for (const Vector& row : vectors) {
    Signature signature = bytes<64>(row.signature);
    unsigned carry = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      carry += unsigned{signature[32 + i]} + order[i];
      signature[32 + i] = static_cast<std::uint8_t>(carry);
      carry >>= 8;
    }
    REQUIRE(carry == 0);
    CHECK_FALSE(ed25519_verify(bytes<32>(row.key), unhex(row.message).value(), signature));
  }
}

TEST_CASE("a key of small order signs nothing, however it is spelled") {
  // The points whose order divides 8, in each of their encodings. For the first, R = the same point and
  // S = 0 satisfy the equation with every message.
  const char* const keys[] = {
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  };
  for (const char* const key : keys)
    for (const char* const r : keys)
      for (int message = 0; message < 8; ++message) {
        Signature signature{};
        std::ranges::copy(bytes<32>(r), signature.begin());
        CHECK_FALSE(ed25519_verify(bytes<32>(key), std::to_string(message), signature));
      }
}

TEST_CASE("a key's name is its RFC 7638 thumbprint") {
  const auto signs = signer(vectors[0].seed);  // RFC 8037, A.3, uses the same key
  CHECK(signs->kid() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

TEST_CASE("a seed of another size is refused") {
  CHECK(Ed25519Signer::from_seed(SecretBytes{}).reason() == Reason::internal);
  const std::array<std::uint8_t, 31> short_seed{};
  CHECK(Ed25519Signer::from_seed(SecretBytes::copy_of(short_seed).value()).reason() == Reason::internal);
}

TEST_CASE("threads sign at once") {
  const auto signs = signer(vectors[1].seed);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto signature = signs->sign("\x72");
        if (signature.ok() && *signature == bytes<64>(vectors[1].signature)) ++right;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 200);
}

TEST_CASE("what the host's callback gives is used when it is right and in time") {
  const auto host = signer(vectors[0].seed);
  const auto other = signer(vectors[1].seed);
  const auto by = [](const Ed25519Signer& signs) {
    return [&signs](std::string_view, std::string_view message, std::uint8_t* out) {
      std::ranges::copy(*signs.sign(message), out);
      return true;
    };
  };
  struct Row {
    const char* says;
    SignCallback callback;
    std::chrono::milliseconds deadline;
    Reason expected;
  };
  using namespace std::chrono_literals;
  const Row rows[] = {
      {"the host's own signature", by(*host), 60'000ms, Reason::none},
      {"another key's", by(*other), 60'000ms, Reason::signer_failed},
      {"over another message",
       [&](auto, auto message, std::uint8_t* out) {
         std::ranges::copy(*host->sign(std::string(message) + "x"), out);
         return true;
       },
       60'000ms, Reason::signer_failed},
      {"zeros", [](auto, auto, auto) { return true; }, 60'000ms, Reason::signer_failed},
      {"a refusal, though the bytes are right",
       [&](auto, auto message, std::uint8_t* out) {
         std::ranges::copy(*host->sign(message), out);
         return false;
       },
       60'000ms, Reason::signer_failed},
      {"an exception", [](auto, auto, auto) -> bool { throw std::runtime_error("no device"); }, 60'000ms,
       Reason::signer_failed},
      {"something thrown that is no exception", [](auto, auto, auto) -> bool { throw 7; }, 60'000ms,
       Reason::signer_failed},
      {"nothing to call", SignCallback{}, 60'000ms, Reason::signer_failed},
      {"too late",
       [&](auto kid, auto message, std::uint8_t* out) {
         std::this_thread::sleep_for(20ms);
         return by(*host)(kid, message, out);
       },
       5ms, Reason::signer_failed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    std::string asked_kid;
    const CallbackSigner signs(
        host->public_key(),
        !row.callback ? row.callback
                      : [&](std::string_view kid, std::string_view message, std::uint8_t* out) {
                          asked_kid = kid;
                          return row.callback(kid, message, out);
                        },
        row.deadline);
    const auto signature = signs.sign("a receipt");
    CHECK(signature.reason() == row.expected);
    if (row.callback) CHECK(asked_kid == host->kid());
    if (signature.ok()) CHECK(ed25519_verify(host->public_key(), "a receipt", *signature));
  }
}
