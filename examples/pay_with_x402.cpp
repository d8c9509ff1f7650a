// Credits bought by x402 version 2, end to end, with no chain and no network.
//
// A host quotes a price for credits and says in a 402 how it is paid. A payer, who has USDC on Base, signs an
// EIP-3009 authorization for just that. The host's market judges it, a settlement backend moves the money,
// and the credits are there. The backend here is simulated: yours is a facilitator, or a node.
#include <secp256k1_recovery.h>

#include <calyx/calyx.hpp>
#include <calyx/core/encoding.hpp>
#include <calyx/core/x402.hpp>
#include <calyx/simulated_tokens.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <stdexcept>

namespace {

namespace core = calyx::core;
namespace json = calyx::core::json;
using namespace calyx::literals;  // 100_flops

void say(const char* step, const std::string& what) { std::printf("%-10s %s\n", step, what.c_str()); }
void need(bool held, const char* what) { held ? void() : throw std::runtime_error(what); }

const core::EvmAsset& usdc = *core::find_evm_asset("base");
const core::EvmAddress contract = core::read_evm_address(usdc.contract).value();
/// A payer's key, which in earnest nobody else knows, and what it signs.
struct Payer {
  unsigned char secret[32] = {0x59, 0xc6, 0x99, 0x5e, 7};
  secp256k1_context* const context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
  ~Payer() { secp256k1_context_destroy(context); }

  core::EvmAddress address() const {
    secp256k1_pubkey key;
    need(secp256k1_ec_pubkey_create(context, &key, secret) == 1, "no key");
    unsigned char point[65];
    std::size_t size = sizeof point;
    secp256k1_ec_pubkey_serialize(context, point, &size, &key, SECP256K1_EC_UNCOMPRESSED);
    return core::evm_address_of(core::chars(point).substr(1));
  }
  std::string sign(const core::Digest& digest) const {
    secp256k1_ecdsa_recoverable_signature made;
    need(secp256k1_ecdsa_sign_recoverable(context, &made, digest.bytes.data(), secret, nullptr, nullptr) == 1,
         "no signature");
    unsigned char rsv[65];
    int recovery = 0;
    secp256k1_ecdsa_recoverable_signature_serialize_compact(context, rsv, &recovery, &made);
    rsv[64] = static_cast<unsigned char>(27 + recovery);
    return "0x" + core::hex(core::chars(rsv));
  }
};

/// The value of `PAYMENT-SIGNATURE` that pays the first that a 402 asks for.
std::string payment_for(const json::Value& body, const Payer& payer) {
  const json::Value& asked = (*body.find("accepts")->array())[0];
  need(*asked.find("network") == json::Value(usdc.network), "it does not ask for USDC on Base");
  core::TransferAuthorization pays{.from = payer.address()};
  pays.to = core::read_evm_address(*asked.find("payTo")->string()).value();
  pays.value = core::read_uint256(*asked.find("maxAmountRequired")->string()).value();
  const auto now = std::chrono::system_clock::now().time_since_epoch() / std::chrono::seconds(1);
  pays.valid_before = core::Uint256(static_cast<std::uint64_t>(now + 300));
  std::random_device random;
  for (std::uint8_t& octet : pays.nonce) octet = static_cast<std::uint8_t>(random());

  const core::EvmDomain domain{usdc.name, usdc.version, core::read_evm_chain(usdc.caip2).value(), contract};
  const json::Value authorization = json::object({{"from", core::checksummed_text(pays.from)},
                                                  {"to", core::checksummed_text(pays.to)},
                                                  {"value", core::text(pays.value)},
                                                  {"validAfter", core::text(pays.valid_after)},
                                                  {"validBefore", core::text(pays.valid_before)},
                                                  {"nonce", "0x" + core::hex(core::chars(pays.nonce))}});
  const json::Value accepted = v2_value(core::x402::exact_evm_requirement(usdc, pays.value, pays.to));
  const json::Value payload = json::object(
      {{"signature", payer.sign(core::transfer_digest(domain, pays))}, {"authorization", authorization}});
  return core::base64(
      json::text(json::object({{"x402Version", 2}, {"accepted", accepted}, {"payload", payload}})));
}

void pay_with_x402(const Payer& payer) {
  const auto tokens = calyx::SimulatedTokens::open().value();
  const calyx::TokenAccount purse{std::string(usdc.caip2), core::lower_text(contract),
                                  core::lower_text(payer.address())};
  tokens->mint(purse, "5000000").value();  // USD 5

  calyx::Engine engine = calyx::Engine::open({.settlement = tokens}).value();
  calyx::Session market = engine.as_operator();
  const calyx::PaymentNetwork base{.network = "base", .pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"};
  market.change_settings({.base_url = "https://calyx.example", .networks = {{base}}}).value();
  const calyx::WalletCreated alice = market.create_wallet({.owner_id = "alice"}).value();

  calyx::Session session = engine.session(alice.api_key).value();
  const calyx::Quote quote = session.quote_topup({.wallet = alice.wallet.id, .amount = 100_flops}).value();
  const auto challenge = session.payment_challenge(quote.id, {.resource = "/credits"}).value();
  say("Quote", "PAYMENT-REQUIRED: " + challenge.payment_required.substr(0, 64) + "...");

  const std::string header = payment_for(challenge.body, payer);
  const calyx::PaymentAnswer paid = session.pay_quote(quote.id, {.text = header}).value();
  need(paid.payment.status == calyx::PaymentStatus::paid, "the payment did not settle");
  say("Pay", "settled in " + paid.payment.transaction + "; USDC left: " + tokens->balance(purse).value());
  say("Balance", core::money_text(session.wallet(alice.wallet.id).value().balance));

  const calyx::PaymentAnswer again = session.pay_quote(quote.id, {.text = header}).value();
  need(again.payment.replayed && again.response == paid.response, "the same words had another answer");
  need(tokens->settlements().value() == 1, "a replay moved money");
  say("Again", "the same answer, and nothing moved");
}

}  // namespace

int main() {
  try {
    pay_with_x402({});
    return 0;
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "pay_with_x402: %s\n", fault.what());
    return 1;
  }
}
