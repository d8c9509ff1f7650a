#include <doctest/doctest.h>

#include <calyx/core/request_signature.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using namespace calyx::core::for_tests;
namespace signing = calyx::core::request_signature;
using signing::Headers;
using signing::Judged;
using signing::Request;
using signing::Verdict;

namespace {

constexpr Instant now{1'767'225'600'000'000};
constexpr std::string_view alice = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const std::string signature_hex = "0x" + std::string(130, '1');
const std::string signature_base64 = base64(std::string(64, '\1'));

/// A recovery that gives what it is told to.
struct Recovers {
  Result<EvmAddress> answer = *read_evm_address(alice);
  Result<EvmAddress> operator()(const Digest& /*digest*/, std::string_view /*signature*/) const {
    return answer;
  }
};
struct Checks {
  bool answer = true;
  bool operator()(const PublicKey& /*key*/, std::string_view /*text*/, const Signature& /*signature*/) const {
    return answer;
  }
};
/// A key for addresses that begin as one does, without base 58.
std::optional<PublicKey> key_of(std::string_view address) {
  return address.substr(0, 3) == "Sol" ? std::optional<PublicKey>(PublicKey{}) : std::nullopt;
}

Headers on_base() { return {alice, "base", signature_hex, "1767225600000", "n0nce", "hex"}; }
Headers on_solana() { return {"Sol1", "solana", signature_base64, "1767225600000", "n0nce", "base64"}; }
Request get() { return {"GET", "/compute/instances?a=b", Hash{}(std::string_view())}; }

Judged judged(const Headers& headers, const Recovers& recovers = {}, const Checks& checks = {}) {
  return signing::judge_request(get(), headers, now, recovers, checks, key_of);
}

}  // namespace

TEST_CASE("nine lines are signed, as the published clients lay them out") {
  for (const json::Value& row : vectors("compute_auth_headers.json")) {
    if (row.find("signed_message") == nullptr) continue;
    CAPTURE(text_of(row, "name"));
    const json::Value& asked = *row.find("request");
    const json::Value& headers = *row.find("headers");
    const std::string body = text_of(asked, "body");
    const Digest digest = Hash{}(std::string_view(body));
    CHECK(hex(digest) == text_of(row, "body_sha256"));
    const std::string method = text_of(asked, "method");
    const std::string path = text_of(asked, "path");
    const std::string text = signing::signed_text(
        signing::first_line_default,
        text_of(headers, "X-Auth-Chain") == "base" ? signing::Chain::base : signing::Chain::solana,
        text_of(headers, "X-Auth-Address"), {method, path, digest}, text_of(headers, "X-Auth-Timestamp"),
        text_of(headers, "X-Auth-Nonce"));
    CHECK(text == text_of(row, "signed_message"));
    if (row.find("eip191_digest") != nullptr)
      CHECK("0x" + hex(personal_message_digest(text)) == text_of(row, "eip191_digest"));
  }
}

TEST_CASE("headers are judged by the first rule they break") {
  struct Row {
    const char* says;
    Headers headers;
    Verdict verdict;
  };
  const auto with = [](Headers headers, std::string_view Headers::*field, std::string_view value) {
    headers.*field = value;
    return headers;
  };
  const std::string long_nonce(signing::nonce_bytes_max + 1, 'n');
  const std::string upper = "0xF39FD6E51AAD88F6F4CE6AB8827279CFFFB92266";
  const Row rows[] = {
      {"on base", on_base(), Verdict::ok},
      {"on solana", on_solana(), Verdict::ok},
      {"the checksummed address",
       with(on_base(), &Headers::address, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"), Verdict::ok},
      {"the address in upper case", with(on_base(), &Headers::address, upper), Verdict::ok},
      {"no address", with(on_base(), &Headers::address, ""), Verdict::header_missing},
      {"no chain", with(on_base(), &Headers::chain, ""), Verdict::header_missing},
      {"no signature", with(on_base(), &Headers::signature, ""), Verdict::header_missing},
      {"no time", with(on_base(), &Headers::timestamp, ""), Verdict::header_missing},
      {"no nonce", with(on_base(), &Headers::nonce, ""), Verdict::header_missing},
      {"no encoding", with(on_base(), &Headers::encoding, ""), Verdict::header_missing},
      {"another chain", with(on_base(), &Headers::chain, "Base"), Verdict::chain_unknown},
      {"a wrong checksum", with(on_base(), &Headers::address, "0xf39fd6e51aad88F6F4ce6aB8827279cffFb92266"),
       Verdict::address_malformed},
      {"base's address on solana", with(on_solana(), &Headers::address, alice), Verdict::address_malformed},
      {"solana's address on base", with(on_base(), &Headers::address, "Sol1"), Verdict::address_malformed},
      {"base 64 on base", with(on_base(), &Headers::encoding, "base64"), Verdict::encoding_mismatch},
      {"hex on solana", with(on_solana(), &Headers::encoding, "hex"), Verdict::encoding_mismatch},
      {"64 octets on base",
       with(on_base(), &Headers::signature, std::string_view(signature_hex).substr(0, 130)),
       Verdict::signature_malformed},
      {"no 0x", with(on_base(), &Headers::signature, std::string_view(signature_hex).substr(2)),
       Verdict::signature_malformed},
      {"no padding", with(on_solana(), &Headers::signature, std::string_view(signature_base64).substr(0, 86)),
       Verdict::signature_malformed},
      {"a time with a sign", with(on_base(), &Headers::timestamp, "+1767225600000"),
       Verdict::timestamp_malformed},
      {"a time with a zero before it", with(on_base(), &Headers::timestamp, "01767225600000"),
       Verdict::timestamp_malformed},
      {"a time beyond all years", with(on_base(), &Headers::timestamp, "18446744073709551616"),
       Verdict::timestamp_malformed},
      {"a nonce that is too long", with(on_base(), &Headers::nonce, long_nonce), Verdict::nonce_malformed},
      {"a nonce with a line in it", with(on_base(), &Headers::nonce, "a\nb"), Verdict::nonce_malformed},
      {"300 s ago", with(on_base(), &Headers::timestamp, "1767225300000"), Verdict::ok},
      {"and a millisecond more", with(on_base(), &Headers::timestamp, "1767225299999"), Verdict::stale},
      {"60 s ahead", with(on_base(), &Headers::timestamp, "1767225660000"), Verdict::ok},
      {"and a millisecond more", with(on_base(), &Headers::timestamp, "1767225660001"), Verdict::too_early},
      {"0", with(on_base(), &Headers::timestamp, "0"), Verdict::stale},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(word(judged(row.headers).verdict) == word(row.verdict));
  }
}

TEST_CASE("an address has one spelling in the verdict, and a nonce its time") {
  Headers headers = on_base();
  headers.address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
  const Judged base = judged(headers);
  CHECK(base.address == alice);
  CHECK(base.at == now);
  CHECK(signing::stays_used_until(base.at).us == now.us + 300'000'000);
  CHECK(judged(on_solana()).address == "Sol1");
}

TEST_CASE("whoever signed must be the one who says so") {
  CHECK(judged(on_base(), {EvmAddress{}}).verdict == Verdict::signature);
  CHECK(judged(on_base(), {fail(Reason::unauthorized, "no")}).verdict == Verdict::signature);
  CHECK(judged(on_base(), {fail(Reason::not_built, "no")}).verdict == Verdict::not_built);
  CHECK(judged(on_solana(), {}, {false}).verdict == Verdict::signature);
  for (const std::string_view target : {"", "/a b", "/a\nb", "/a\tb", "/a\x7f"}) {
    Request request = get();
    request.target = target;
    CHECK(signing::judge_request(request, on_base(), now, Recovers{}, Checks{}, key_of).verdict ==
          Verdict::request_malformed);
  }
}
