// A till: a market whose payers have money on a chain, and payments as the real clients made them.
#pragma once

#include <doctest/doctest.h>

#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/mpp.hpp>
#include <calyx/core/time.hpp>
#include <calyx/simulated_tokens.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/crypto_for_tests.hpp"
#include "crypto/evm_wallet_for_tests.hpp"
#include "crypto/secp256k1.hpp"
#include "testing.hpp"
#include "wire/client.hpp"

namespace wire_test {

namespace core = calyx::core;
using core::for_tests::text_of;
using core::for_tests::vectors;
using json::Value;

inline constexpr const char* usdc = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
inline constexpr const char* client_address = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
inline constexpr const char* take_base =
    R"({"base_url":"https://calyx.example","realm":"calyx.example",)"
    R"("networks":[{"network":"base","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]})";

// A market at the instant of the vectors, whose payers have five dollars each on Base.
struct Till {
  std::int64_t now_us = 1'767'225'600'000'000;
  std::shared_ptr<calyx::SimulatedTokens> tokens = calyx::SimulatedTokens::open().value();
  calyx::Engine engine;
  std::string op, wallet, key;

  Till()
      : engine(calyx::Engine::open(options()).value()), op(engine.issue_operator_key("t").value().api_key) {
    fill(client_address);
    const Answer made = ask("POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"a"})");
    wallet = made.at("id");
    key = made.at("api_key");
    REQUIRE(ask("PUT", "/v1/settings", op, take_base).status == 200);
  }
  calyx::Options options() {
    calyx::Options out;
    out.now_us = [this] { return now_us; };
    out.settlement = tokens;
    return out;
  }
  void fill(const std::string& payer) {
    REQUIRE(tokens->mint({.network = "eip155:8453", .asset = usdc, .address = payer}, "5000000").ok());
  }
  void pass_s(std::int64_t seconds) { now_us += seconds * core::us_per_second; }

  Answer ask(const char* method, const std::string& target, const std::string& with_key,
             const std::string& body = {}, calyx::HeaderFields headers = {}) {
    headers.push_back({"X-API-Key", with_key});
    return send(method, target, body, std::move(headers));
  }
  Answer send(const char* method, const std::string& target, const std::string& body,
              calyx::HeaderFields headers) {
    const calyx::Response response = calyx::handle(engine, {method, target, std::move(headers), body});
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  }
  // The path at which a new quote of `amount` FLOPS is paid.
  std::string quote(const std::string& amount = "100") {
    const Answer made = ask("POST", "/api/v1/account/quotes/topup", key, R"({"amount":)" + amount + "}");
    REQUIRE_MESSAGE(made.status == 201, made.body);
    return made.at("pay");
  }
  Answer pay(const std::string& at, const char* header, const std::string& text) {
    return ask("POST", at, key, {}, {{header, text}});
  }
  std::string balance() { return ask("GET", "/v1/wallets/" + wallet, key).at("balance"); }
};

inline Value unpacked(const std::string& base64) {
  const auto text = core::unbase64(base64);
  REQUIRE(text);
  auto value = calyx::read_json(*text);
  REQUIRE(value.ok());
  return *std::move(value);
}

inline const Value& combined() {
  static const json::Array rows = vectors("combined_402.json");
  return rows[0];
}
inline std::string real(const char* client, const char* header) {
  return text_of(*combined().find("client_retry_headers")->find(client), header);
}
inline std::string real_v1() { return real("x402-fetch 1.2.0", "X-PAYMENT"); }
inline std::string real_v2() { return real("@x402/fetch 2.27.0", "PAYMENT-SIGNATURE"); }

inline bool built(const char* test) {
  if (calyx::crypto::secp256k1_built()) return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

#if CALYX_HAVE_SECP256K1
// The `Authorization` in which `payer` pays the 402 `challenged` by MPP: 100 FLOPS. `from`: for whom its key
// signs, if not for itself.
inline std::string credential_for(const Till& till, const calyx::crypto::for_tests::EvmWallet& payer,
                                  const Answer& challenged,
                                  const std::optional<core::EvmAddress>& from = {}) {
  const std::string header = challenged.header("WWW-Authenticate");
  const auto parameter = [&](const std::string& name) {
    const std::size_t found = header.find(" " + name + "=\"");
    if (found == std::string::npos) return std::string();
    const std::size_t begin = found + name.size() + 3;
    return header.substr(begin, header.find('"', begin) - begin);
  };
  json::Object challenge;
  for (const char* name : {"id", "realm", "method", "intent", "request", "expires", "header", "opaque"})
    if (const std::string text = parameter(name); !text.empty()) challenge.set(name, text);
  const core::EvmAsset& asset = *core::find_evm_asset("base");
  core::TransferAuthorization transfer;
  transfer.from = from.value_or(payer.address());
  transfer.to = *core::read_evm_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
  transfer.value = core::Uint256(1'000'000);
  transfer.valid_before = core::Uint256(static_cast<std::uint64_t>(till.now_us / core::us_per_second) + 300);
  transfer.nonce =
      core::keccak256(std::string_view(parameter("id")), std::string_view(parameter("realm"))).bytes;
  const std::string signature = payer.sign(core::transfer_digest(
      {asset.name, asset.version, asset.chain_id, *core::read_evm_address(asset.contract)}, transfer));
  json::Object payload;
  payload.set("type", "authorization")
      .set("from", core::checksummed_text(transfer.from))
      .set("to", core::checksummed_text(transfer.to))
      .set("value", core::text(transfer.value))
      .set("validAfter", "0")
      .set("validBefore", core::text(transfer.valid_before))
      .set("nonce", "0x" + core::hex(core::chars(transfer.nonce)))
      .set("signature", "0x" + core::hex(signature));
  json::Object whole;
  whole.set("challenge", std::move(challenge)).set("payload", std::move(payload));
  return "Payment " + core::base64url(json::canonical(Value(std::move(whole))));
}
#endif

}  // namespace wire_test
