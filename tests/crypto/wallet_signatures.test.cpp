// Wallets' signatures over sign-in texts and over requests, as real wallets and clients made them.
#include <doctest/doctest.h>

#include <calyx/core/request_signature.hpp>
#include <calyx/core/sign_in.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/crypto_for_tests.hpp"
#include "crypto/secp256k1.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "testing.hpp"

using namespace calyx;
using namespace calyx::core;
using namespace calyx::core::for_tests;
namespace signing = calyx::core::request_signature;

namespace {

bool built(const char* test) {
  if (crypto::secp256k1_built()) return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

/// The key of one of the addresses in the vectors, whose seeds are public.
std::optional<PublicKey> solana_key(std::string_view address) {
  for (const std::string_view seed : {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                                      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                                      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"}) {
    const Signer signer(unhex(seed).value());
    if (base58(chars(signer.key)) == address) return signer.key;
  }
  return std::nullopt;
}

/// The class that a vector expects of a verdict.
std::string class_of(signing::Verdict verdict) {
  switch (verdict) {
    case signing::Verdict::ok: return "ok";
    case signing::Verdict::stale: return "stale";
    case signing::Verdict::signature: return "signature";
    case signing::Verdict::not_built: return "not_built";
    default: return "malformed";
  }
}

}  // namespace

TEST_CASE("requests that published clients signed are judged as they should be") {
  if (!built("crypto.wallet_signatures.requests")) return;
  std::size_t seen = 0;
  for (const json::Value& row : vectors("compute_auth_headers.json")) {
    CAPTURE(text_of(row, "name"));
    const json::Value& asked = *row.find("request");
    const json::Value& sent = *row.find("headers");
    const std::string method = text_of(asked, "method");
    const std::string target = text_of(asked, "path");
    const std::string address = text_of(sent, "X-Auth-Address");
    const std::string chain = text_of(sent, "X-Auth-Chain");
    const std::string signature = text_of(sent, "X-Auth-Signature");
    const std::string timestamp = text_of(sent, "X-Auth-Timestamp");
    const std::string nonce = text_of(sent, "X-Auth-Nonce");
    const std::string encoding = text_of(sent, "X-Auth-Sig-Encoding");
    const Instant now{static_cast<std::int64_t>(number_of(row, "now_ms")) * 1000};
    const signing::Request request{method, target, crypto::Sha256{}(text_of(asked, "body"))};
    const signing::Headers headers{address, chain, signature, timestamp, nonce, encoding};
    const auto judged =
        signing::judge_request(request, headers, now, crypto::EvmSignatures{}, crypto::Ed25519{}, solana_key);
    CHECK(class_of(judged.verdict) == text_of(row, "calyx_expect"));
    ++seen;
    if (judged.verdict != signing::Verdict::ok) continue;
    CHECK(judged.address == address);
    // Another deployment's first line is another text.
    CHECK(signing::judge_request(request, headers, now, crypto::EvmSignatures{}, crypto::Ed25519{},
                                 solana_key, "CALYX-ELSEWHERE-AUTH")
              .verdict == signing::Verdict::signature);
  }
  CHECK(seen == 14);
}

TEST_CASE("sign-in texts that Ethereum wallets signed are judged as they should be") {
  if (!built("crypto.wallet_signatures.sign_in")) return;
  std::size_t seen = 0;
  for (const json::Value& row : vectors("siwe.json")) {
    CAPTURE(text_of(row, "name"));
    const std::string text = text_of(row, "message");
    const std::string signature = read_hex_bytes(text_of(row, "signature")).value();
    const Instant at = core::read_date_time(text_of(row, "verify_at")).value();
    const json::Value* expect = row.find("calyx_expect");
    const std::string domain = expect == nullptr ? std::string() : text_of(row, "expected_domain");
    const std::string nonce = expect == nullptr ? std::string() : text_of(row, "expected_nonce");
    const auto fault = sign_in::verify_sign_in(text, signature, {.domain = domain, .nonce = nonce}, at,
                                               crypto::EvmSignatures{});
    ++seen;
    if (expect == nullptr) {
      CHECK(word(fault) == "none");
    } else if (*expect->string() == "signature") {
      CHECK(word(fault) == "signature");
    } else {
      CHECK(word(fault) != "none");
      CHECK(word(fault) != "signature");
    }
  }
  CHECK(seen == 12);
}

TEST_CASE("sign-in texts of Solana carry signatures of the addresses that they name") {
  for (const json::Value& row : vectors("solana_ed25519.json")) {
    const std::string name = text_of(row, "name");
    CAPTURE(name);
    const std::string text = text_of(row, "message");
    const auto reading = sign_in::read_sign_in(text, sign_in::Chain::solana);
    if (reading.fault != sign_in::Fault::none) {
      CHECK(name.substr(0, 4) == "raw_");
      continue;
    }
    const auto key = solana_key(reading.message.address);
    REQUIRE(key);
    const auto signature = octets<64>(unbase64(text_of(row, "signature_base64")).value());
    REQUIRE(signature);
    CHECK(crypto::Ed25519{}(*key, text, *signature) == (text_of(row, "calyx_expect") == "ok"));
  }
}
