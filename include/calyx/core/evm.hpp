/// \file
/// What wallets of EVM chains sign: addresses (EIP-55), personal messages (EIP-191), typed data (EIP-712) and
/// the two typed messages that move tokens, EIP-3009's and Permit2's; and the assets that calyx knows.
///
/// Start at `transfer_digest`, `permit2_digest` and `personal_message_digest`. The check of a signature comes
/// in as an argument that models `EvmRecovery`; nothing of a curve is computed here.
///
/// Threads: values.
#pragma once

#include <array>
#include <calyx/core/encoding.hpp>
#include <calyx/core/keccak256.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/uint256.hpp>
#include <charconv>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace calyx::core {

struct EvmAddress {
  std::array<std::uint8_t, 20> bytes{};
  auto operator<=>(const EvmAddress&) const = default;
};

/// `0x` and the 40 digits of `address` in lower case.
inline std::string lower_text(const EvmAddress& address) { return "0x" + hex(chars(address.bytes)); }

/// `0x` and the 40 digits of `address`, the letters of which are upper case where EIP-55 says so.
inline std::string checksummed_text(const EvmAddress& address) {
  std::string out = lower_text(address);
  const Digest digest = keccak256(std::string_view(out).substr(2));
  for (std::size_t i = 0; i < 40; ++i) {
    const unsigned nibble = unsigned{digest.bytes[i / 2]} >> (i % 2 == 0 ? 4 : 0) & 15U;
    char& digit = out[i + 2];
    if (nibble >= 8 && digit >= 'a') digit = static_cast<char>(digit - 'a' + 'A');
  }
  return out;
}

/// The address that `text` spells, or nothing: `0x`, 40 digits, and letters that are all of one case or those
/// of the checksum.
inline std::optional<EvmAddress> read_evm_address(std::string_view text) {
  if (text.substr(0, 2) != "0x") return std::nullopt;
  EvmAddress out;
  if (!unhex_into(out.bytes, text.substr(2), HexCase::either)) return std::nullopt;
  bool lower = false;
  bool upper = false;
  for (const char c : text.substr(2)) {
    lower = lower || c >= 'a';
    upper = upper || (c >= 'A' && c <= 'F');
  }
  if (lower && upper && checksummed_text(out) != text) return std::nullopt;
  return out;
}

/// The bytes that `0x` and pairs of hexadecimal digits of either case spell, or nothing.
inline std::optional<std::string> read_hex_bytes(std::string_view text) {
  if (text.substr(0, 2) != "0x" || text.size() % 2 != 0) return std::nullopt;
  return unhex(text.substr(2), HexCase::either);
}

/// The address that belongs to a public key, given as the 64 octets of its point.
inline EvmAddress evm_address_of(std::string_view point) noexcept {
  const Digest digest = keccak256(point);
  EvmAddress out;
  for (std::size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = digest.bytes[i + 12];
  return out;
}

/// The octets of a signature of an externally owned account: r, s and v.
inline constexpr std::size_t evm_signature_bytes = 65;

/// The check of a signature as core takes it: the address whose key made `signature` over `digest`. Fails:
/// `not_built`, or any other reason when the signature is no good. It never gives address zero for one.
template <class R>
concept EvmRecovery = requires(const R& recover, const Digest& digest, std::string_view signature) {
  { recover(digest, signature) } -> std::same_as<Result<EvmAddress>>;
};

/// What a wallet signs for a text that a human reads (EIP-191, version 0x45). The length is that of its
/// bytes.
inline Digest personal_message_digest(std::string_view message) noexcept {
  char length[20];
  const char* const end = std::to_chars(length, length + sizeof length, message.size()).ptr;
  return keccak256(std::string_view("\x19"
                                    "Ethereum Signed Message:\n"),
                   std::string_view(length, static_cast<std::size_t>(end - length)), message);
}

namespace detail {

/// Words of 32 octets laid end to end, as `abi.encode` does for values of fixed size.
class EvmWords {
 public:
  EvmWords& add(const Digest& digest) noexcept { return put(digest.view()); }
  EvmWords& add(const std::array<std::uint8_t, 32>& word) noexcept { return put(chars(word)); }
  EvmWords& add(const Uint256& number) noexcept { return add(word_of(number)); }
  EvmWords& add(const EvmAddress& address) noexcept {
    constexpr std::array<char, 12> zeros{};
    return put({zeros.data(), zeros.size()}).put(chars(address.bytes));
  }
  Digest hash() noexcept { return stream_.finish(); }

 private:
  EvmWords& put(std::string_view octets) noexcept {
    stream_.update(octets);
    return *this;
  }
  Keccak256Stream stream_;
};

inline constexpr Digest domain_type =
    keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
inline constexpr Digest domain_type_without_version =
    keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
inline constexpr Digest transfer_type = keccak256(
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 "
    "validBefore,bytes32 nonce)");
inline constexpr Digest token_permissions_type = keccak256("TokenPermissions(address token,uint256 amount)");
inline constexpr Digest witness_type = keccak256("Witness(address to,uint256 validAfter)");
inline constexpr Digest permit2_type = keccak256(
    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 "
    "deadline,Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 "
    "validAfter)");

}  // namespace detail

/// Where a typed message counts: one contract on one chain (EIP-712).
struct EvmDomain {
  std::string_view name;
  std::optional<std::string_view> version;  ///< Nothing: the domain's type has no version, as Permit2's.
  std::uint64_t chain_id = 0;
  EvmAddress contract;
};

inline Digest domain_separator(const EvmDomain& domain) noexcept {
  detail::EvmWords words;
  words.add(domain.version ? detail::domain_type : detail::domain_type_without_version);
  words.add(keccak256(domain.name));
  if (domain.version) words.add(keccak256(*domain.version));
  return words.add(Uint256(domain.chain_id)).add(domain.contract).hash();
}

/// What is signed of a typed message (EIP-712).
inline Digest typed_digest(const Digest& separator, const Digest& message) noexcept {
  return keccak256(std::string_view("\x19\x01", 2), separator.view(), message.view());
}

/// EIP-3009's message: whoever holds its signature may move `value` from `from` to `to`, once.
struct TransferAuthorization {
  EvmAddress from;
  EvmAddress to;
  Uint256 value;         ///< Units: atomic units.
  Uint256 valid_after;   ///< Units: seconds since 1970; the chain asks for a later block time.
  Uint256 valid_before;  ///< The same, for an earlier one.
  std::array<std::uint8_t, 32> nonce{};
};

inline Digest struct_hash(const TransferAuthorization& transfer) noexcept {
  return detail::EvmWords()
      .add(detail::transfer_type)
      .add(transfer.from)
      .add(transfer.to)
      .add(transfer.value)
      .add(transfer.valid_after)
      .add(transfer.valid_before)
      .add(transfer.nonce)
      .hash();
}
inline Digest transfer_digest(const EvmDomain& domain, const TransferAuthorization& transfer) noexcept {
  return typed_digest(domain_separator(domain), struct_hash(transfer));
}

/// Permit2's message as x402 uses it: `spender`, and nobody else, may move `amount` of `token` to `to`, once.
struct Permit2Transfer {
  EvmAddress token;
  Uint256 amount;  ///< Units: atomic units.
  EvmAddress spender;
  Uint256 nonce;
  Uint256 deadline;     ///< Units: seconds since 1970.
  EvmAddress to;        ///< Of the witness.
  Uint256 valid_after;  ///< The same.
};

inline Digest struct_hash(const Permit2Transfer& transfer) noexcept {
  const Digest permitted =
      detail::EvmWords().add(detail::token_permissions_type).add(transfer.token).add(transfer.amount).hash();
  const Digest witness =
      detail::EvmWords().add(detail::witness_type).add(transfer.to).add(transfer.valid_after).hash();
  return detail::EvmWords()
      .add(detail::permit2_type)
      .add(permitted)
      .add(transfer.spender)
      .add(transfer.nonce)
      .add(transfer.deadline)
      .add(witness)
      .hash();
}

/// The Permit2 contract, which has this address on every chain.
inline constexpr EvmAddress permit2_contract{{0x00, 0x00, 0x00, 0x00, 0x00, 0x22, 0xD4, 0x73, 0x03, 0x0F,
                                              0x11, 0x6d, 0xDE, 0xE9, 0xF6, 0xB4, 0x3a, 0xC7, 0x8B, 0xA3}};
/// The contract through which x402 spends by Permit2.
inline constexpr EvmAddress x402_permit2_proxy{{0x40, 0x20, 0x85, 0xc2, 0x48, 0xEe, 0xA2, 0x7D, 0x92, 0xE8,
                                                0xb3, 0x0b, 0x2C, 0x58, 0xed, 0x07, 0xf9, 0xE2, 0x00, 0x01}};

inline Digest permit2_digest(std::uint64_t chain_id, const Permit2Transfer& transfer) noexcept {
  return typed_digest(domain_separator({"Permit2", std::nullopt, chain_id, permit2_contract}),
                      struct_hash(transfer));
}

/// A dollar token that calyx can ask for.
struct EvmAsset {
  std::string_view network;  ///< x402's name of the chain, which version 1 writes.
  bool in_v1;                ///< Whether version 1's own client (npm `x402` 1.2.0) knows that name.
  std::string_view caip2;    ///< The same chain in version 2.
  std::uint64_t chain_id;
  std::string_view contract;  ///< Checksummed.
  std::string_view name;      ///< Of the contract's EIP-712 domain, which differs from chain to chain.
  std::string_view version;
  unsigned decimals;
  bool eip3009;  ///< Whether the contract takes EIP-3009's messages; else Permit2's.
};

inline constexpr std::array<EvmAsset, 3> evm_assets = {{
    {"base", true, "eip155:8453", 8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2", 6,
     true},
    {"base-sepolia", true, "eip155:84532", 84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2",
     6, true},
    {"megaeth", false, "eip155:4326", 4326, "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", "MegaUSD", "1", 18,
     false},
}};

/// The asset of the chain that either version of x402 calls `network`, or null.
constexpr const EvmAsset* find_evm_asset(std::string_view network) noexcept {
  for (const EvmAsset& asset : evm_assets)
    if (asset.network == network || asset.caip2 == network) return &asset;
  return nullptr;
}

/// The number of the chain that `network` names: one that calyx knows, or `eip155:` and a canonical number.
constexpr std::optional<std::uint64_t> read_evm_chain(std::string_view network) noexcept {
  if (const EvmAsset* asset = find_evm_asset(network)) return asset->chain_id;
  constexpr std::string_view prefix = "eip155:";
  if (network.substr(0, prefix.size()) != prefix) return std::nullopt;
  const auto number = read_uint256(network.substr(prefix.size()));
  return number ? number->small() : std::nullopt;
}

}  // namespace calyx::core
