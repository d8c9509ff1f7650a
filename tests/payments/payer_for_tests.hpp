/// \file
/// A payer of x402's scheme `exact` on EVM chains: what its client sends, signed here.
#pragma once

#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/evm_wallet_for_tests.hpp"

#if CALYX_HAVE_SECP256K1
namespace calyx::payments::for_tests {

using crypto::for_tests::EvmWallet;

/// The 32 octets of a secret or a nonce, of `number`, which is not zero.
inline std::string octets_of(std::uint64_t number) {
  std::string out(32, '\0');
  for (std::size_t i = 31; number != 0; number >>= 8) out[i--] = static_cast<char>(number & 0xff);
  return out;
}

/// One message of EIP-3009.
struct ToSign {
  std::string chain{"base"};  ///< Whose token it is signed for.
  std::string pay_to;
  std::uint64_t value = 0;         ///< In atomic units.
  std::uint64_t valid_before = 0;  ///< In seconds since 1970.
  std::uint64_t nonce = 1;
  std::optional<core::EvmAddress>
      payer{};  ///< Who pays, where that is not the address of the key that signs.
};

/// The `payload` of either version.
inline core::json::Value signed_payload(const EvmWallet& key, const ToSign& asked) {
  const core::EvmAsset& asset = *core::find_evm_asset(asked.chain);
  core::TransferAuthorization transfer;
  transfer.from = asked.payer.value_or(key.address());
  transfer.to = *core::read_evm_address(asked.pay_to);
  transfer.value = core::Uint256(asked.value);
  transfer.valid_before = core::Uint256(asked.valid_before);
  transfer.nonce = *core::octets<32>(octets_of(asked.nonce));
  const std::string signature = key.sign(core::transfer_digest(
      {asset.name, asset.version, asset.chain_id, *core::read_evm_address(asset.contract)}, transfer));
  core::json::Object authorization, out;
  authorization.set("from", core::checksummed_text(transfer.from))
      .set("to", core::checksummed_text(transfer.to))
      .set("value", core::text(transfer.value))
      .set("validAfter", "0")
      .set("validBefore", core::text(transfer.valid_before))
      .set("nonce", "0x" + core::hex(core::chars(transfer.nonce)));
  out.set("signature", "0x" + core::hex(signature)).set("authorization", std::move(authorization));
  return out;
}

/// The value of `X-PAYMENT`; `network` is the chain that it says.
inline std::string v1_words(core::json::Value payload, std::string_view network = "base") {
  core::json::Object out;
  out.set("x402Version", 1).set("scheme", "exact").set("network", network).set("payload", std::move(payload));
  return core::base64(core::json::text(core::json::Value(std::move(out))));
}

/// The value of `PAYMENT-SIGNATURE`; `accepted` is an entry of what was offered.
inline std::string v2_words(core::json::Value payload, core::json::Value accepted,
                            core::json::Value extensions = {}) {
  core::json::Object out;
  out.set("x402Version", 2).set("accepted", std::move(accepted)).set("payload", std::move(payload));
  if (!extensions.is_null()) out.set("extensions", std::move(extensions));
  return core::base64(core::json::text(core::json::Value(std::move(out))));
}

}  // namespace calyx::payments::for_tests
#endif
