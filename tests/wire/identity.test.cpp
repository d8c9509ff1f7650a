// Wallets of other chains over the wire: signed requests, signing in, the whitelist, keys for agents,
// credits.
#include <doctest/doctest.h>

#include <atomic>
#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/request_signature.hpp>
#include <calyx/core/sign_in.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/simulated_tokens.hpp>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/crypto_for_tests.hpp"
#include "crypto/evm_wallet_for_tests.hpp"
#include "crypto/secp256k1.hpp"
#include "crypto/sha256.hpp"
#include "testing.hpp"
#include "wire/client.hpp"

namespace core = calyx::core;
namespace signing = core::request_signature;
using core::for_tests::text_of;
using core::for_tests::vectors;
using wire_test::Answer;
using wire_test::json::Value;

namespace {

constexpr std::int64_t vectors_us = 1'767'225'600'000'000;
constexpr const char* usdc = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
constexpr const char* terms =
    R"({"base_url":"https://calyx.example","realm":"calyx.example",)"
    R"("networks":[{"network":"base","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]})";

bool built(const char* test) {
  if (calyx::crypto::secp256k1_built()) return true;
  CHECK(calyx::testing::may_lack(test, "libsecp256k1-dev"));
  return false;
}

// A market at the instant of the vectors.
struct Door {
  std::shared_ptr<std::atomic<std::int64_t>> clock = std::make_shared<std::atomic<std::int64_t>>(vectors_us);
  std::shared_ptr<calyx::SimulatedTokens> tokens = calyx::SimulatedTokens::open().value();
  calyx::Engine engine;
  std::string op;

  explicit Door(const std::string& path = {})
      : engine(calyx::Engine::open(options(path)).value()),
        op(engine.issue_operator_key("t").value().api_key) {
    REQUIRE(ask("PUT", "/v1/settings", op, terms).status == 200);
  }
  calyx::Options options(const std::string& path) {
    calyx::Options out;
    out.path = path;
    out.now_us = [at = clock] { return at->load(); };
    out.settlement = tokens;
    return out;
  }
  std::int64_t now_ms() const { return *clock / 1000; }
  void pass_s(std::int64_t seconds) { *clock += seconds * core::us_per_second; }

  Answer send(const std::string& method, const std::string& target, const std::string& body,
              calyx::HeaderFields headers) {
    const calyx::Response response = calyx::handle(engine, {method, target, std::move(headers), body});
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  }
  Answer ask(const std::string& method, const std::string& target, const std::string& key,
             const std::string& body = {}) {
    calyx::HeaderFields headers;
    if (!key.empty()) headers.push_back({"X-API-Key", key});
    return send(method, target, body, std::move(headers));
  }
  // All that a refusal must leave as it was.
  std::string state() { return ask("GET", "/v1/export?format=jsonl", op).body; }
  Answer whitelist(const std::string& chain, const std::string& address, bool allowed = true) {
    return ask("POST", "/api/v1/auth/wallet/whitelist", op,
               R"({"chain":")" + chain + R"(","address":")" + address + R"(","allowed":)" +
                   (allowed ? "true}" : "false}"));
  }
  Answer challenge(const std::string& chain, const std::string& address) {
    return ask("POST", "/api/v1/auth/wallet/challenge", {},
               R"({"chain":")" + chain + R"(","address":")" + address + "\"}");
  }
  Answer verify(const std::string& id, const std::string& signature) {
    return ask("POST", "/api/v1/auth/wallet/verify", {},
               R"({"challenge_id":")" + id + R"(","signature":")" + signature + "\"}");
  }
};

// A wallet of Solana, which every build can judge.
struct SolanaWallet {
  core::for_tests::Signer signer;
  std::string address;
  explicit SolanaWallet(char repeated) : signer(repeated), address(core::solana::text(signer.key)) {}
  std::string sign(std::string_view text) const { return core::base64(core::chars(signer(text))); }

  calyx::HeaderFields headers(const Door& door, const std::string& method, const std::string& target,
                              const std::string& body, const std::string& nonce) const {
    const std::string timestamp = std::to_string(door.now_ms());
    const std::string text =
        signing::signed_text(signing::first_line_default, signing::Chain::solana, address,
                             {method, target, calyx::crypto::Sha256{}(body)}, timestamp, nonce);
    return {{"X-Auth-Address", address},     {"X-Auth-Chain", "solana"}, {"X-Auth-Signature", sign(text)},
            {"X-Auth-Timestamp", timestamp}, {"X-Auth-Nonce", nonce},    {"X-Auth-Sig-Encoding", "base64"}};
  }
  Answer ask(Door& door, const std::string& method, const std::string& target, const std::string& body = {}) {
    return door.send(method, target, body,
                     headers(door, method, target, body, "nonce-" + std::to_string(++nonces_)));
  }

 private:
  int nonces_ = 0;
};

std::string code_of(const Answer& answer) { return answer.at("error.details.code"); }

}  // namespace

TEST_CASE("XM-06, XM-51: requests that published clients signed are answered, once each") {
  if (!built("wire.identity.vectors")) return;
  std::size_t answered = 0;
  for (const Value& row : vectors("compute_auth_headers.json")) {
    CAPTURE(text_of(row, "name"));
    Door door;
    *door.clock = *row.find("now_ms")->integer() * 1000;
    const Value& asked = *row.find("request");
    calyx::HeaderFields headers;
    for (const wire_test::json::Member& member : *row.find("headers")->object())
      headers.push_back({member.key, *member.value.string()});
    const auto send = [&] {
      return door.send(text_of(asked, "method"), text_of(asked, "path"), text_of(asked, "body"), headers);
    };
    if (text_of(asked, "path") != "/compute/api-keys") continue;
    const Answer answer = send();
    CHECK(answer.status == 201);
    CHECK(answer.members() == "api_key id label created_at");
    CHECK(answer.at("api_key").starts_with("x402c_"));
    const Answer again = send();
    CHECK(again.status == 401);
    CHECK(again.code() == "signature_invalid");
    CHECK(code_of(again) == "nonce_used");
    ++answered;
  }
  CHECK(answered == 2);
}

TEST_CASE(
    "XM-07: a signature counts for one request, at its time, in its chain's encoding; nothing is written "
    "else") {
  Door door;
  SolanaWallet alice('a');
  const std::string target = "/v1/wallets?limit=5";
  const calyx::HeaderFields good = alice.headers(door, "GET", target, {}, "one");
  const std::string before = door.state();
  const auto with = [&](const std::string& name, const std::string& value) {
    calyx::HeaderFields headers = good;
    for (calyx::HeaderField& field : headers)
      if (field.name == name) field.value = value;
    return headers;
  };
  const auto refused = [&](const calyx::HeaderFields& headers, const char* code, const std::string& to) {
    CAPTURE(code);
    const Answer answer = door.send("GET", to, {}, headers);
    CHECK(answer.status == 401);
    CHECK(answer.code() == "signature_invalid");
    CHECK(code_of(answer) == code);
  };
  for (const calyx::HeaderField& field : good) refused(with(field.name, ""), "header_missing", target);
  refused(with("X-Auth-Chain", "base"), "address_malformed", target);
  refused(with("X-Auth-Chain", "near"), "chain_unknown", target);
  refused(with("X-Auth-Sig-Encoding", "hex"), "encoding_mismatch", target);
  refused(with("X-Auth-Signature", core::base64(std::string(63, 'x'))), "signature_malformed", target);
  refused(with("X-Auth-Timestamp", "soon"), "timestamp_malformed", target);
  refused(with("X-Auth-Nonce", "two"), "signature", target);
  refused(with("X-Auth-Nonce", "a b"), "nonce_malformed", target);
  refused(good, "signature", "/v1/wallets?limit=6");
  door.pass_s(301);
  refused(good, "stale", target);
  door.pass_s(-240);
  const calyx::HeaderFields early = alice.headers(door, "GET", target, {}, "early");
  door.pass_s(-61);
  refused(early, "too_early", target);

  calyx::HeaderFields two = good;
  two.push_back({"X-API-Key", door.op});
  const Answer both = door.send("GET", target, {}, two);
  CHECK(both.status == 401);
  CHECK(both.code() == "unauthorized");
  CHECK(door.state() == before);

  // The first one that counts opens the wallet, the second finds it.
  const Answer first = door.send("GET", target, {}, good);
  REQUIRE(first.status == 200);
  CHECK(first.items() == 1);
  CHECK(first.at("items.0.owner_id") == "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + alice.address);
  CHECK(first.at("items.0.owner_type") == "human");
  refused(good, "nonce_used", target);
  const Answer second = alice.ask(door, "GET", "/v1/wallets");
  CHECK(second.at("items.0.id") == first.at("items.0.id"));
  // A nonce is one of its address alone.
  SolanaWallet bob('b');
  CHECK(door.send("GET", target, {}, bob.headers(door, "GET", target, {}, "one")).status == 200);
}

TEST_CASE("one signed request from 16 threads passes once") {
  Door door;
  SolanaWallet alice('a');
  const std::string body = R"({"label":"agent"})";
  const calyx::HeaderFields headers = alice.headers(door, "POST", "/compute/api-keys", body, "n");
  std::atomic<int> made{0}, refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      const calyx::Response answer = calyx::handle(door.engine, {"POST", "/compute/api-keys", headers, body});
      (answer.status == 201 ? made : refused) += answer.status == 201 || answer.status == 401 ? 1 : 100;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 1);
  CHECK(refused == 15);
  CHECK(alice.ask(door, "GET", "/v1/wallets").items() == 1);
}

TEST_CASE(
    "CP-01, CP-03, CP-04: a wallet on the whitelist signs in, once a challenge, until its session ends") {
  Door door;
  SolanaWallet alice('a');
  const Answer asked = door.challenge("solana", alice.address);
  REQUIRE(asked.status == 200);
  CHECK(asked.at("challenge.expires_at") == "2026-01-01T00:05:00Z");
  const std::string id = asked.at("challenge.id");
  const std::string message = asked.at("challenge.message");
  const auto reading = core::sign_in::read_sign_in(message, core::sign_in::Chain::solana);
  REQUIRE(reading.fault == core::sign_in::Fault::none);
  CHECK(reading.message.domain == "calyx.example");
  CHECK(reading.message.address == alice.address);
  CHECK(reading.message.chain_id == "mainnet");
  const std::string signature = alice.sign(message);

  const std::string before = door.state();
  const Answer stranger = door.verify(id, signature);
  CHECK(stranger.status == 403);
  CHECK(stranger.code() == "not_whitelisted");
  SolanaWallet bob('b');
  const Answer forged = door.verify(id, bob.sign(message));
  CHECK(forged.status == 401);
  CHECK(code_of(forged) == "signature");
  CHECK(code_of(door.verify(id, "0x00")) == "signature_malformed");
  CHECK(door.state() == before);

  const Answer listed = door.whitelist("solana", alice.address);
  REQUIRE(listed.status == 200);
  CHECK(listed.at("whitelisted") == "true");
  const Answer opened = door.verify(id, signature);
  REQUIRE_MESSAGE(opened.status == 200, opened.body);
  const std::string token = opened.at("token");
  CHECK(token.starts_with("fls_"));
  CHECK(opened.at("expires_at") == "2026-01-02T00:00:00Z");
  CHECK(opened.at("wallet_id") == listed.at("wallet_id"));
  const Answer again = door.verify(id, signature);
  CHECK(again.status == 401);
  CHECK(again.code() == "challenge_invalid");
  CHECK(code_of(again) == "used");

  CHECK(door.ask("GET", "/api/v1/account/balance", token).status == 200);
  CHECK(door.ask("POST", "/api/v1/jobs", token, R"({"task":"t"})").status == 201);
  door.pass_s(86'399);
  CHECK(door.ask("GET", "/api/v1/account/balance", token).status == 200);
  door.pass_s(1);
  CHECK(door.ask("GET", "/api/v1/account/balance", token).status == 401);

  // What is not as it was given is none, and what was not answered in time.
  const Answer late = door.challenge("solana", alice.address);
  const std::string late_id = late.at("challenge.id");
  for (std::size_t i = 0; i < late_id.size(); i += 7) {
    std::string changed = late_id;
    changed[i] = changed[i] == '1' ? '2' : '1';
    CHECK(code_of(door.verify(changed, alice.sign(late.at("challenge.message")))) == "unknown");
  }
  CHECK(code_of(door.verify("", "x")) == "unknown");
  CHECK(door.ask("PUT", "/v1/settings", door.op, R"({"base_url":"https://other.example"})").status == 200);
  CHECK(code_of(door.verify(late_id, alice.sign(late.at("challenge.message")))) == "unknown");
  CHECK(door.ask("PUT", "/v1/settings", door.op, terms).status == 200);
  door.pass_s(300);
  CHECK(code_of(door.verify(late_id, alice.sign(late.at("challenge.message")))) == "expired");

  // Who is taken off runs nothing more, by any key.
  const Answer more = door.challenge("solana", alice.address);
  const std::string held =
      door.verify(more.at("challenge.id"), alice.sign(more.at("challenge.message"))).at("token");
  CHECK(door.ask("GET", "/api/v1/account/balance", held).status == 200);
  CHECK(door.whitelist("solana", alice.address, false).status == 200);
  CHECK(door.ask("GET", "/api/v1/account/balance", held).code() == "not_whitelisted");
  CHECK(door.ask("POST", "/api/v1/jobs", held, R"({"task":"t"})").status == 403);
  CHECK(door.ask("GET", "/v1/wallets", held).status == 200);
  const auto session = door.engine.session(held);
  REQUIRE(session.ok());
  CHECK_FALSE(session->principal().whitelisted);

  // A session makes no keys, and ends no other one's.
  CHECK(door.ask("POST", "/v1/wallets/" + listed.at("wallet_id") + "/keys", held, "{}").code() ==
        "signature_needed");
  // A session is ended by whoever holds it.
  const std::string key =
      door.ask("GET", "/v1/wallets/" + listed.at("wallet_id") + "/keys", held).at("items.1.id");
  CHECK(door.ask("DELETE", "/v1/keys/" + key, held).status == 200);
  CHECK(door.ask("GET", "/v1/wallets", held).status == 401);
}

TEST_CASE("who asks to sign in is told what is wrong") {
  Door door;
  CHECK(door.challenge("solana", "x").code() == "field_value");
  CHECK(door.challenge("base", "0x00").code() == "field_value");
  CHECK(door.challenge("near", "x").field() == "/chain");
  CHECK(door.challenge("base", "0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266").code() ==
        "field_value");  // EIP-55
  CHECK(door.ask("POST", "/api/v1/auth/wallet/challenge", {}, "{}").code() == "field_missing");
  CHECK(door.whitelist("base", "0x00").code() == "field_value");
  CHECK(door.ask("POST", "/api/v1/auth/wallet/whitelist", {}, "{}").status == 401);
  calyx::Engine bare = calyx::Engine::open({}).value();
  CHECK(bare.sign_in_challenge(calyx::AddressChain::solana, SolanaWallet('a').address).reason() ==
        calyx::Reason::unsupported);
}

TEST_CASE("CP-01: a wallet that only signed has /v1 and /compute, and /api/v1 once it is on the whitelist") {
  Door door;
  SolanaWallet alice('a');
  const std::string before = door.state();
  const Answer refused = alice.ask(door, "POST", "/api/v1/jobs", R"({"task":"t"})");
  CHECK(refused.status == 403);
  CHECK(refused.code() == "not_whitelisted");
  CHECK(door.state() == before);
  CHECK(alice.ask(door, "GET", "/compute/credits/balance").status == 200);
  const std::string key = alice.ask(door, "POST", "/compute/api-keys", "{}").at("api_key");
  CHECK(door.ask("GET", "/api/v1/account/balance", key).code() == "not_whitelisted");
  // Nor does an agent beneath it, whose key is an ordinary one.
  const std::string id = alice.ask(door, "GET", "/v1/wallets").at("items.0.id");
  const Answer agent = alice.ask(door, "POST", "/v1/wallets",
                                 R"({"owner_type":"agent","owner_id":"a","parent_wallet_id":")" + id + "\"}");
  REQUIRE(agent.status == 201);
  CHECK(door.ask("POST", "/api/v1/jobs", agent.at("api_key"), R"({"task":"t"})").code() == "not_whitelisted");
  const auto session = door.engine.session(agent.at("api_key"));
  REQUIRE(session.ok());
  calyx::JobSubmit job;
  job.job.set("task", "t");
  CHECK(calyx::Session(*session).submit_job(job).reason() == calyx::Reason::not_whitelisted);

  CHECK(door.whitelist("solana", alice.address).at("wallet_id") == id);
  CHECK(alice.ask(door, "POST", "/api/v1/jobs", R"({"task":"t"})").status == 201);
  CHECK(door.ask("POST", "/api/v1/jobs", agent.at("api_key"), R"({"task":"t"})").status == 201);
  CHECK(door.ask("GET", "/api/v1/account/balance", key).status == 200);
}

TEST_CASE("XM-08, XM-51, XM-52, XM-53: keys for agents are the owner's signature's, and stop at once") {
  Door door;
  SolanaWallet alice('a'), bob('b');
  const Answer made = alice.ask(door, "POST", "/compute/api-keys", R"({"label":"my-agent"})");
  REQUIRE(made.status == 201);
  const std::string key = made.at("api_key"), id = made.at("id");
  CHECK(id.size() == 36);
  CHECK(made.at("label") == "my-agent");
  const std::string wallet = door.ask("GET", "/v1/wallets", key).at("items.0.id");

  const Answer list = door.ask("GET", "/compute/api-keys", key);
  CHECK(list.members() == "api_keys next");
  CHECK(list.at("api_keys.0.id") == id);
  CHECK(list.at("api_keys.0.key_last4") == key.substr(key.size() - 4));
  CHECK(list.at("api_keys.0.revoked_at") == "null");
  CHECK(bob.ask(door, "GET", "/compute/api-keys").body == R"({"api_keys":[],"next":null})");

  // A key makes and unmakes none, by whichever route.
  const std::string inner = door.ask("GET", "/v1/wallets/" + wallet + "/keys", key).at("items.0.id");
  const std::pair<const char*, std::string> calls[] = {{"POST", "/compute/api-keys"},
                                                       {"DELETE", "/compute/api-keys/" + id},
                                                       {"POST", "/v1/wallets/" + wallet + "/keys"},
                                                       {"POST", "/v1/keys/" + inner + "/rotate"},
                                                       {"DELETE", "/v1/keys/" + inner}};
  const std::string before = door.state();
  for (const auto& [method, where] : calls) {
    const std::string target(where);  // clang 14 captures no structured binding
    CAPTURE(target);
    const Answer answer = door.ask(method, target, key, *method == 'P' ? "{}" : "");
    CHECK(answer.status == 403);
    CHECK(answer.code() == "signature_needed");
  }
  CHECK(door.ask("POST", "/v1/wallets", key,
                 R"({"owner_type":"agent","owner_id":"a","parent_wallet_id":")" + wallet + "\"}")
            .code() == "signature_needed");
  // Nor does a key of the usual kind, or the operator mint one.
  const std::string usual = alice.ask(door, "POST", "/v1/wallets/" + wallet + "/keys", "{}").at("api_key");
  CHECK(door.ask("DELETE", "/compute/api-keys/" + id, usual).code() == "signature_needed");
  CHECK(door.ask("POST", "/compute/api-keys", usual, "{}").code() == "signature_needed");
  CHECK(door.ask("POST", "/compute/api-keys", door.op, "{}").code() == "signature_needed");
  CHECK(door.ask("POST", "/v1/keys/" + inner + "/rotate", door.op).code() == "signature_needed");
  CHECK(bob.ask(door, "DELETE", "/compute/api-keys/" + id).status == 403);
  CHECK(alice.ask(door, "DELETE", "/compute/api-keys/" + id.substr(1)).status == 404);
  CHECK(door.state() != before);  // of the usual key alone

  const Answer gone = alice.ask(door, "DELETE", "/compute/api-keys/" + id);
  CHECK(gone.status == 200);
  CHECK(gone.at("revoked_at") == "2026-01-01T00:00:00Z");
  for (const char* target : {"/v1/wallets", "/compute/api-keys", "/compute/credits/balance"})
    CHECK(door.ask("GET", target, key).status == 401);
}

TEST_CASE("XM-52: keys for agents are listed by pages, past keys of other kinds") {
  Door door;
  SolanaWallet alice('a');
  const std::string wallet = alice.ask(door, "GET", "/v1/wallets").at("items.0.id");
  std::vector<std::string> made;
  for (const char kind : std::string_view("ucccccuu")) {
    if (kind == 'c')
      made.push_back(alice.ask(door, "POST", "/compute/api-keys", "{}").at("id"));
    else
      REQUIRE(alice.ask(door, "POST", "/v1/wallets/" + wallet + "/keys", "{}").status == 201);
  }
  std::vector<std::string> listed;
  std::string target = "/compute/api-keys?limit=2";
  for (int page = 0; page < 3; ++page) {
    const Answer answer = alice.ask(door, "GET", target);
    REQUIRE_MESSAGE(answer.status == 200, answer.body);
    const std::size_t count = answer.find("api_keys")->array()->size();
    CHECK(count == (page < 2 ? 2 : 1));
    for (std::size_t i = 0; i < count; ++i)
      listed.push_back(answer.at("api_keys." + std::to_string(i) + ".id"));
    CHECK((answer.at("next") == "null") == (page == 2));
    target = "/compute/api-keys?limit=2&after=" + answer.at("next");
  }
  CHECK(listed == made);
  CHECK(alice.ask(door, "GET", "/compute/api-keys").find("api_keys")->array()->size() == 5);
  CHECK(alice.ask(door, "GET", "/compute/api-keys?limit=0").code() == "field_value");
  CHECK(alice.ask(door, "GET", "/compute/api-keys?x=1").code() == "field_unknown");
}

TEST_CASE("XM-07: an address signs so many times within the time of a signature, and no more") {
  Door door;
  SolanaWallet alice('a'), bob('b');
  constexpr int most = 1024;
  for (int i = 0; i < most; ++i) {
    REQUIRE(alice.ask(door, "GET", "/compute/credits/balance").status == 200);
    if (i == 0) door.pass_s(100);
  }
  const std::string before = door.state();
  const Answer refused = alice.ask(door, "GET", "/compute/credits/balance");
  CHECK(refused.status == 429);
  CHECK(refused.code() == "too_many_nonces");
  CHECK(refused.at("error.details.limit") == "1024");
  // Its first signature has 200 of its 300 seconds left.
  CHECK(refused.header("Retry-After") == "201");
  CHECK(door.state() == before);
  CHECK(bob.ask(door, "GET", "/compute/credits/balance").status == 200);
  door.pass_s(200);
  CHECK(alice.ask(door, "GET", "/compute/credits/balance").status == 429);
  door.pass_s(1);
  CHECK(alice.ask(door, "GET", "/compute/credits/balance").status == 200);
  CHECK(alice.ask(door, "GET", "/compute/credits/balance").status == 429);
  door.pass_s(300);
  CHECK(alice.ask(door, "GET", "/compute/credits/balance").status == 200);
}

TEST_CASE("a stranger's wallet grows so far and no further, until it is on the whitelist") {
  Door door;
  SolanaWallet alice('a');
  const std::string id = alice.ask(door, "GET", "/v1/wallets").at("items.0.id");
  const std::string agent = R"({"owner_type":"agent","owner_id":"a","parent_wallet_id":")" + id + "\"}";
  for (int i = 0; i < 16; ++i) REQUIRE(alice.ask(door, "POST", "/compute/api-keys", "{}").status == 201);
  CHECK(alice.ask(door, "POST", "/compute/api-keys", "{}").code() == "not_whitelisted");
  CHECK(alice.ask(door, "POST", "/v1/wallets/" + id + "/keys", "{}").code() == "not_whitelisted");
  CHECK(alice.ask(door, "POST", "/v1/wallets", agent).code() == "not_whitelisted");
  CHECK(door.whitelist("solana", alice.address).status == 200);
  CHECK(alice.ask(door, "POST", "/compute/api-keys", "{}").status == 201);
  CHECK(alice.ask(door, "POST", "/v1/wallets", agent).status == 201);
}

TEST_CASE("no signature opens an operator's route, or a wallet on the way there") {
  Door door;
  SolanaWallet alice('a');
  const std::string before = door.state();
  CHECK(alice.ask(door, "GET", "/v1/keys").code() == "operator_only");
  CHECK(alice.ask(door, "GET", "/metrics").code() == "operator_only");
  CHECK(door.state() == before);
}

TEST_CASE("an address has one wallet, by one spelling, whoever opens it") {
  Door door;
  SolanaWallet alice('a');
  const std::string account = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + alice.address;
  const std::string id = alice.ask(door, "GET", "/v1/wallets").at("items.0.id");
  const std::string human = R"({"owner_type":"human","owner_id":")" + account + "\"}";
  const Answer twice = door.ask("POST", "/v1/wallets", door.op, human);
  CHECK(twice.status == 409);
  CHECK(twice.code() == "wallet_exists");
  CHECK(twice.at("error.details.wallet_id") == id);
  const std::string joins = R"({"owner_id":")" + account + "\"}";
  const std::string waiting = door.ask("POST", "/v1/waitlist", door.op, joins).at("id");
  const std::string before = door.state();
  CHECK(door.ask("POST", "/v1/waitlist/" + waiting + "/approve", door.op).code() == "wallet_exists");
  CHECK(door.state() == before);
  const std::string mixed =
      R"({"owner_type":"human","owner_id":"eip155:8453:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"})";
  CHECK(door.ask("POST", "/v1/wallets", door.op, mixed).field() == "/owner_id");
}

TEST_CASE("strangers open so many wallets within an hour, and no more") {
  Door door;
  constexpr int most = 1000;
  std::string refused;
  for (int i = 0; i <= most; ++i) {
    const core::for_tests::Signer signer(std::string(28, 's') + std::to_string(1000 + i));
    SolanaWallet one('x');
    one.signer = signer;
    one.address = core::solana::text(signer.key);
    const Answer answer = one.ask(door, "GET", "/compute/credits/balance");
    if (i < most) {
      REQUIRE(answer.status == 200);
    } else {
      CHECK(answer.status == 429);
      CHECK(answer.code() == "too_many_wallets");
      CHECK(answer.header("Retry-After") == "3600");
      door.pass_s(3600);
      CHECK(one.ask(door, "GET", "/compute/credits/balance").status == 200);
    }
  }
  const Answer audit = door.ask("GET", "/v1/audit", door.op);
  CHECK_MESSAGE(audit.at("ok") == "true", audit.body);
}

TEST_CASE("XM-20, XM-21, XM-22, XM-23: credits are read in dollars and bought with one call") {
  if (!built("wire.identity.credits")) return;
  Door door;
  SolanaWallet alice('a');
  const Answer nothing = alice.ask(door, "GET", "/compute/credits/balance");
  CHECK(nothing.body == R"({"balance":0,"total_deposited":0,"total_spent":0})");
  const std::string key = alice.ask(door, "POST", "/compute/api-keys", "{}").at("api_key");
  const std::string wallet = door.ask("GET", "/v1/wallets", key).at("items.0.id");
  const auto buy = [&](const std::string& body, calyx::HeaderFields headers = {}) {
    headers.push_back({"X-API-Key", key});
    return door.send("POST", "/compute/credits/topup", body, std::move(headers));
  };
  CHECK(buy(R"({"amount":0.99,"network":"base"})").field() == "/amount");
  CHECK(buy(R"({"amount":1e15,"network":"base"})").status == 422);
  CHECK(buy(R"({"amount":1,"network":"near"})").field() == "/network");
  CHECK(buy(R"({"amount":1,"network":"solana"})").code() == "unsupported");

  const std::string body = R"({"amount":1,"network":"base"})";
  const Answer unpaid = buy(body);
  CHECK(unpaid.status == 402);
  CHECK(unpaid.at("accepts.0.maxAmountRequired") == "1000000");
  CHECK(unpaid.at("accepts.0.resource") == "https://calyx.example/compute/credits/topup");
  CHECK(unpaid.at("accepts.1.network") == "absent");
  buy(body);
  CHECK(door.ask("GET", "/v1/export?format=jsonl", door.op).status == 200);

  // A payment as the published client made it.
  const Value golden = vectors("combined_402.json")[0];
  const std::string words =
      text_of(*golden.find("client_retry_headers")->find("x402-fetch 1.2.0"), "X-PAYMENT");
  const std::string payer = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
  REQUIRE(door.tokens->mint({.network = "eip155:8453", .asset = usdc, .address = payer}, "5000000").ok());
  const Answer paid = buy(body, {{"X-PAYMENT", words}});
  REQUIRE_MESSAGE(paid.status == 200, paid.body);
  CHECK(paid.at("success") == "true");
  CHECK(paid.at("deposited") == "1.0");
  CHECK(paid.at("new_balance") == "1.00");
  CHECK(paid.at("tx_hash").starts_with("0x"));
  CHECK(paid.header("X-Calyx-Balance") == "100");
  CHECK(!paid.header("X-PAYMENT-RESPONSE").empty());
  const Answer again = buy(body, {{"X-PAYMENT", words}});
  CHECK(again.status == 200);
  CHECK(again.replayed());
  CHECK(again.body == paid.body);
  // Somebody else's words pay nobody else.
  SolanaWallet bob('b');
  calyx::HeaderFields stolen = bob.headers(door, "POST", "/compute/credits/topup", body, "n");
  stolen.push_back({"X-PAYMENT", words});
  CHECK(door.send("POST", "/compute/credits/topup", body, stolen).code() == "payment_reused");
  CHECK(bob.ask(door, "GET", "/compute/credits/balance").at("balance") == "0");

  CHECK(door.ask("POST", "/v1/wallets/" + wallet + "/payouts", key, R"({"amount":50.5,"destination":"d"})")
            .status == 202);
  const Answer balance = door.ask("GET", "/compute/credits/balance", key);
  CHECK(balance.members() == "wallet balance total_deposited total_spent");
  CHECK(balance.at("wallet") == alice.address);
  CHECK(balance.at("balance") == "0.49");  // of 49.5 FLOPS, rounded down
  CHECK(balance.at("total_deposited") == "1.00");
  CHECK(balance.at("total_spent") == "0.50");
  CHECK(balance.header("X-Calyx-Balance") == "49.5");
  CHECK(door.ask("GET", "/compute/credits/balance", door.op).code() == "field_value");
  const Answer audit = door.ask("GET", "/v1/audit", door.op);
  CHECK_MESSAGE(audit.at("ok") == "true", audit.body);
}

#if CALYX_HAVE_SECP256K1
TEST_CASE("CP-03, CP-04: a wallet of an EVM chain signs in with EIP-4361's text") {
  Door door;
  const calyx::crypto::for_tests::EvmWallet wallet(std::string(31, '\0') + "\x2a");
  const std::string address = core::checksummed_text(wallet.address());
  CHECK(door.whitelist("base", address).at("owner_id") ==
        "eip155:8453:" + core::lower_text(wallet.address()));
  const Answer asked = door.challenge("base", core::lower_text(wallet.address()));
  const std::string message = asked.at("challenge.message");
  const auto reading = core::sign_in::read_sign_in(message, core::sign_in::Chain::ethereum);
  REQUIRE(reading.fault == core::sign_in::Fault::none);
  CHECK(reading.message.address == address);
  CHECK(reading.message.chain_id == "8453");
  const core::Digest digest = core::personal_message_digest(message);
  const std::string id = asked.at("challenge.id");
  CHECK(code_of(door.verify(id, "0x" + core::hex(wallet.sign_high(digest)))) == "signature");
  CHECK(code_of(door.verify(id, core::base64(wallet.sign(digest)))) == "signature_malformed");
  const Answer opened = door.verify(id, "0x" + core::hex(wallet.sign(digest)));
  REQUIRE_MESSAGE(opened.status == 200, opened.body);
  CHECK(door.ask("GET", "/api/v1/account/balance", opened.at("token")).status == 200);
}
#endif

TEST_CASE("a derived key is presented as any other, and told apart by what it may not") {
  Door door;
  const Answer made =
      door.ask("POST", "/v1/wallets", door.op, R"({"owner_type":"human","owner_id":"alice"})");
  REQUIRE(made.status == 201);
  const std::string wallet = made.at("id"), key = made.at("api_key");
  REQUIRE(door.ask("POST", "/v1/wallets/" + wallet + "/topup", door.op, R"({"amount":100})").status == 200);
  calyx::KeyLimits limits;
  limits.policy.spend_cap_per_job = calyx::Money{6'000'000};
  limits.budget = calyx::Money{10'000'000};
  const std::string derived = calyx::derive_key(key, limits).value();
  const std::string spend = "/v1/wallets/" + wallet + "/spend";

  CHECK(door.ask("GET", "/v1/wallets/" + wallet, derived).at("balance") == "100.0");
  CHECK(door.send("GET", "/v1/wallets/" + wallet, {}, {{"Authorization", "Bearer " + derived}}).status ==
        200);
  CHECK(door.ask("POST", spend, derived, R"({"job_id":"a","amount":6})").status == 200);
  const Answer above = door.ask("POST", spend, derived, R"({"job_id":"b","amount":7})");
  CHECK(above.status == 403);
  CHECK(above.at("error.code") == "spend_cap_per_job");
  CHECK(above.at("error.details.owner") == "key");
  const Answer spent = door.ask("POST", spend, derived, R"({"job_id":"b","amount":5})");
  CHECK(spent.status == 403);
  CHECK(spent.at("error.code") == "budget_spent");
  CHECK(spent.at("error.details.room") == "4.0");

  const std::string before = door.state();
  const Answer moved = door.ask("POST", "/v1/wallets/" + wallet + "/transfer", derived,
                                R"({"to_wallet_id":")" + wallet + R"(","amount":1})");
  CHECK(moved.status == 403);
  CHECK(moved.at("error.code") == "key_limited");
  CHECK(door.ask("POST", "/v1/wallets/" + wallet + "/keys", derived, "{}").at("error.code") == "key_limited");
  CHECK(door.ask("POST", "/api/v1/account/quotes/topup", derived, R"({"amount":1})").at("error.code") ==
        "key_limited");
  CHECK(door.ask("GET", "/v1/audit", derived).status == 403);
  CHECK(door.ask("GET", "/v1/wallets/" + wallet, derived.substr(0, derived.size() - 1)).status == 401);
  CHECK(door.state() == before);
}

TEST_CASE("what a derived key lacks in its wallet's balance is told, and no quote is made for it") {
  Door door;
  const Answer made =
      door.ask("POST", "/v1/wallets", door.op, R"({"owner_type":"human","owner_id":"alice"})");
  const std::string derived = calyx::derive_key(made.at("api_key"), {}).value();
  const Answer lacks =
      door.ask("POST", "/v1/wallets/" + made.at("id") + "/spend", derived, R"({"job_id":"a","amount":6})");
  CHECK(lacks.status == 402);
  CHECK(lacks.at("error.code") == "insufficient_balance");
  CHECK(lacks.at("error.details.quote") == "absent");
}
