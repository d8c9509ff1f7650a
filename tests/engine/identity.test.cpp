// Addresses as principals across restarts, markets and doors in process.
#include <doctest/doctest.h>

#include <atomic>
#include <calyx/calyx.hpp>
#include <calyx/core/encoding.hpp>
#include <calyx/core/solana.hpp>
#include <memory>
#include <string>

#include "core/crypto_for_tests.hpp"
#include "crypto/sha256.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
namespace signing = core::request_signature;

namespace {

constexpr std::int64_t start_us = 1'767'225'600'000'000;

struct Asking {
  core::for_tests::Signer signer{'a'};
  std::string address = core::solana::text(signer.key);
  std::string timestamp, nonce, signature;
  SignedRequest request;

  Asking(std::int64_t at_us, std::string_view once) : timestamp(std::to_string(at_us / 1000)), nonce(once) {
    request = {.method = "GET", .target = "/v1/wallets", .body = {}, .headers = {}};
    signature = core::base64(core::chars(signer(
        signing::signed_text(signing::first_line_default, signing::Chain::solana, address,
                             {request.method, request.target, crypto::Sha256{}("")}, timestamp, nonce))));
    request.headers = {address, "solana", signature, timestamp, nonce, "base64"};
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
};

Options at(const std::string& path, const std::shared_ptr<std::atomic<std::int64_t>>& clock) {
  Options out;
  out.path = path;
  out.now_us = [clock] { return clock->load(); };
  return out;
}

}  // namespace

TEST_CASE("XM-07: what counted once counts no more, also for the next process and one beside it") {
  const store::Scratch scratch;
  const std::string path = scratch / "market.db";
  const auto clock = std::make_shared<std::atomic<std::int64_t>>(start_us);
  const Asking first(start_us, "n1"), second(start_us, "n2");
  WalletId wallet;
  KeyIssued key;
  {
    Engine one = Engine::open(at(path, clock)).value();
    Engine other = Engine::open(at(path, clock)).value();
    Session session = one.session(first.request).value();
    CHECK(session.principal().role == Role::human);
    CHECK_FALSE(session.principal().whitelisted);
    wallet = session.principal().wallet.value();
    CHECK(other.session(first.request).reason() == Reason::signature_invalid);
    CHECK(other.session(second.request, true).reason() == Reason::not_whitelisted);
    CHECK(other.session(second.request)->principal().wallet == wallet);
    key = session.issue_compute_key("agent").value();
    CHECK(key.key.kind == KeyKind::compute);
    CHECK(one.as_operator().whitelist(AddressChain::solana, first.address)->id == wallet);
  }
  Engine again = Engine::open(at(path, clock)).value();
  CHECK(again.session(first.request).reason() == Reason::signature_invalid);
  CHECK(again.session(second.request).reason() == Reason::signature_invalid);
  const Asking third(start_us, "n3");
  Session session = again.session(third.request, true).value();
  CHECK(session.principal().wallet == wallet);
  CHECK(again.session(key.api_key)->principal().wallet == wallet);
  const Result<Listed<ApiKey>> keys = session.keys(wallet);
  REQUIRE(keys.ok());
  REQUIRE(keys->items.size() == 1);
  CHECK(keys->items[0].kind == KeyKind::compute);
  CHECK(again.as_operator().audit().value().ok);

  // A nonce is kept for as long as its signature might count, and not much longer.
  *clock += 301 * core::us_per_second;
  CHECK(again.session(first.request).reason() == Reason::signature_invalid);
  CHECK(again.session(Asking(*clock, "n4").request).ok());  // forgets them
  CHECK(again.session(Asking(*clock, "n1").request).ok());
}

TEST_CASE("what may be forgotten does not come back with a clock that goes back") {
  const store::Scratch scratch;
  const auto clock = std::make_shared<std::atomic<std::int64_t>>(start_us);
  Engine engine = Engine::open(at(scratch / "market.db", clock)).value();
  const Asking first(start_us, "n1");
  CHECK(engine.session(first.request).ok());
  *clock += 600 * core::us_per_second;
  const Asking later(*clock, "n2");
  CHECK(engine.session(later.request).ok());  // forgets the first one
  *clock = start_us;
  CHECK(engine.session(first.request).reason() == Reason::signature_invalid);
  const Asking fresh(start_us + core::us_per_second, "n3");
  CHECK(engine.session(fresh.request).ok());
}

TEST_CASE("a first line of one's own keeps signatures for others out") {
  const auto clock = std::make_shared<std::atomic<std::int64_t>>(start_us);
  Options options = at({}, clock);
  options.signature_first_line = "CALYX-HERE-AUTH";
  Engine engine = Engine::open(std::move(options)).value();
  const Asking asking(start_us, "n1");
  const Result<Session> refused = engine.session(asking.request);
  CHECK(refused.reason() == Reason::signature_invalid);
  CHECK(*refused.error().details.find("code")->string() == "signature");
  Options bad = at({}, clock);
  bad.signature_first_line = "two words";
  CHECK(Engine::open(std::move(bad)).reason() == Reason::options_invalid);
}

TEST_CASE("an operator's wallet for an address is the address's, and on the whitelist from the start") {
  const auto clock = std::make_shared<std::atomic<std::int64_t>>(start_us);
  Engine engine = Engine::open(at({}, clock)).value();
  const Asking asking(start_us, "n1");
  WalletCreate create;
  create.owner_type = OwnerType::human;
  create.owner_id = signing::account_of(AddressChain::solana, asking.address);
  const WalletCreated made = engine.as_operator().create_wallet(create).value();
  Session session = engine.session(asking.request, true).value();
  CHECK(session.principal().wallet == made.wallet.id);
  CHECK(session.whitelist(AddressChain::solana, asking.address).reason() == Reason::operator_only);
  // What is signed opens no operator's doors.
  CHECK(session.operator_keys().reason() == Reason::operator_only);
  CHECK(session.topup({.wallet = made.wallet.id, .amount = Money{1'000'000}}).reason() ==
        Reason::operator_only);
}
