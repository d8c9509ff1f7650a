/// \file
/// x402's scheme `exact` on EVM chains: what is asked for, what a client signed, and the verdict on it.
///
/// Start at `verify_exact_evm`. A verdict of `ok` says that the payment is signed as asked for, and no more:
/// whether the payer has the funds, and whether the nonce was used, only a chain knows. Headers are read and
/// spelled in `src/payments`.
///
/// Units: amounts are atomic units of a token; instants on the wire are seconds since 1970.
/// Threads: values.
#pragma once

#include <array>
#include <calyx/core/evm.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/time.hpp>
#include <calyx/core/uint256.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::core::x402 {

// One row a verdict: its word and the code that versions 1 and 2 of the protocol have for it. `ok` has none.
// Version 1's client takes a closed list of codes, so what came later has a general one there.
#define CALYX_X402_VERDICTS(X)                                                                            \
  X(ok, "", "")                                                                                           \
  /* The header or its JSON is not what the version says. */                                              \
  X(malformed, "invalid_payload", "invalid_payload")                                                      \
  X(version, "invalid_x402_version", "invalid_x402_version")                                              \
  X(scheme, "unsupported_scheme", "unsupported_scheme")                                                   \
  X(network, "invalid_network", "invalid_network")                                                        \
  /* Version 2: what the client accepted is not what was offered. */                                      \
  X(requirements, "invalid_payment_requirements", "invalid_payment_requirements")                         \
  /* Version 2: an extension that was offered did not come back. */                                       \
  X(extensions, "invalid_payload", "invalid_payload")                                                     \
  /* The requirement names no asset, recipient or domain that could be signed for: the host's mistake. */ \
  X(domain, "invalid_payment_requirements", "invalid_payment_requirements")                               \
  /* EIP-3009 where Permit2 was asked for, or the other way about. */                                     \
  X(transfer_method, "invalid_payload", "invalid_payload")                                                \
  X(spender, "invalid_payload", "invalid_permit2_spender")                                                \
  X(signature, "invalid_exact_evm_payload_signature", "invalid_exact_evm_payload_signature")              \
  /* A contract's signature: only a call on the chain can judge it. */                                    \
  X(needs_backend, "unexpected_verify_error", "unexpected_verify_error")                                  \
  X(not_built, "unexpected_verify_error", "unexpected_verify_error")                                      \
  X(token, "invalid_payload", "permit2_token_mismatch")                                                   \
  X(recipient, "invalid_exact_evm_payload_recipient_mismatch",                                            \
    "invalid_exact_evm_payload_recipient_mismatch")                                                       \
  X(expired, "invalid_exact_evm_payload_authorization_valid_before",                                      \
    "invalid_exact_evm_payload_authorization_valid_before")                                               \
  X(not_yet_valid, "invalid_exact_evm_payload_authorization_valid_after",                                 \
    "invalid_exact_evm_payload_authorization_valid_after")                                                \
  X(amount, "invalid_exact_evm_payload_authorization_value",                                              \
    "invalid_exact_evm_payload_authorization_value_mismatch")

/// What the rules say of a payment.
enum class Verdict : std::uint8_t {
#define CALYX_X402_WORD(word, v1, v2) word,
  CALYX_X402_VERDICTS(CALYX_X402_WORD)
#undef CALYX_X402_WORD
};

struct VerdictFacts {
  std::string_view word;
  std::string_view v1;  ///< The `invalidReason` or `errorReason` of version 1.
  std::string_view v2;
};
inline constexpr VerdictFacts verdict_table[] = {
#define CALYX_X402_ROW(word, v1, v2) {#word, v1, v2},
    CALYX_X402_VERDICTS(CALYX_X402_ROW)
#undef CALYX_X402_ROW
};
constexpr std::string_view word(Verdict verdict) noexcept {
  return verdict_table[static_cast<std::size_t>(verdict)].word;
}
/// The code of `verdict` on the wire of `version`, 1 or 2.
constexpr std::string_view wire_code(Verdict verdict, int version) noexcept {
  const VerdictFacts& facts = verdict_table[static_cast<std::size_t>(verdict)];
  return version == 1 ? facts.v1 : facts.v2;
}

inline constexpr std::string_view scheme_exact = "exact";

/// Version 2's extension by which a client gives its payment a name of its own.
inline constexpr std::string_view payment_identifier = "payment-identifier";
inline constexpr std::size_t identifier_bytes_min = 16, identifier_bytes_max = 128;
/// Whether `text` is such a name.
constexpr bool is_identifier(std::string_view text) noexcept {
  for (const char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
      return false;
  return text.size() >= identifier_bytes_min && text.size() <= identifier_bytes_max;
}

/// What a payment must still be good for when it is judged. Units: seconds. The reference verifiers' buffer.
inline constexpr std::uint64_t seconds_left_min = 6;

/// What is asked for: one entry of `accepts`.
struct Requirement {
  std::string scheme{scheme_exact};
  std::string network;  ///< By CAIP-2, as version 2 writes it.
  Uint256 amount;
  std::string asset;  ///< A contract's address; of Solana, a mint.
  std::string pay_to;
  std::uint32_t max_timeout_seconds = 300;
  json::Value
      extra;  ///< An object, or null to leave it out. EVM: `name` and `version` of the asset's domain.
  std::string resource;  ///< An absolute URL. This and what follows version 1 writes into each entry.
  std::string description;
  std::string mime_type{"application/json"};
};

/// A requirement for `amount` of a token that calyx knows.
inline Requirement exact_evm_requirement(const EvmAsset& asset, const Uint256& amount,
                                         const EvmAddress& pay_to) {
  Requirement out;
  out.network = std::string(asset.caip2);
  out.amount = amount;
  out.asset = std::string(asset.contract);
  out.pay_to = checksummed_text(pay_to);
  json::Object extra;
  if (!asset.eip3009) extra.set("assetTransferMethod", "permit2");
  extra.set("name", asset.name).set("version", asset.version);
  out.extra = std::move(extra);
  return out;
}

/// The name that version 1 has for `requirement`'s chain, or nothing when its client knows none.
inline std::optional<std::string_view> v1_network(const Requirement& requirement) noexcept {
  const EvmAsset* const asset = find_evm_asset(requirement.network);
  if (asset != nullptr && asset->in_v1) return asset->network;
  if (requirement.network == "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp") return "solana";
  if (requirement.network == "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1") return "solana-devnet";
  return std::nullopt;
}

namespace detail {

/// One out-of-line call a member, since each `set` by itself is a hundred bytes of code.
inline void put(json::Object& out, std::string_view key, std::string_view text) {
  out.set(std::string(key), json::Value(text));
}
inline void put_extra(json::Object& out, const json::Value& extra) {
  if (!extra.is_null()) out.set("extra", extra);
}

}  // namespace detail

/// An entry of version 2's `accepts`; what a client accepted must equal it in all fields.
inline json::Value v2_value(const Requirement& requirement) {
  json::Object out;
  detail::put(out, "scheme", requirement.scheme);
  detail::put(out, "network", requirement.network);
  detail::put(out, "amount", text(requirement.amount));
  detail::put(out, "asset", requirement.asset);
  detail::put(out, "payTo", requirement.pay_to);
  out.set("maxTimeoutSeconds", requirement.max_timeout_seconds);
  detail::put_extra(out, requirement.extra);
  return out;
}

/// An entry of version 1's `accepts`, or nothing where `v1_network` has none. Its client demands every member
/// that is written here, and refuses null.
inline std::optional<json::Value> v1_value(const Requirement& requirement) {
  const auto network = v1_network(requirement);
  if (!network) return std::nullopt;
  json::Object out;
  detail::put(out, "scheme", requirement.scheme);
  detail::put(out, "network", *network);
  detail::put(out, "maxAmountRequired", text(requirement.amount));
  detail::put(out, "resource", requirement.resource);
  detail::put(out, "description", requirement.description);
  detail::put(out, "mimeType", requirement.mime_type);
  detail::put(out, "payTo", requirement.pay_to);
  out.set("maxTimeoutSeconds", requirement.max_timeout_seconds);
  detail::put(out, "asset", requirement.asset);
  detail::put_extra(out, requirement.extra);
  return out;
}

/// What a client signed.
enum class Transfer : std::uint8_t {
  eip3009,
  permit2,
  solana,  ///< A transaction, which is not looked into here.
};

/// A payment as it was read from a header: well-formed, and judged by nobody yet.
struct Payment {
  int version = 0;      ///< 1 or 2.
  std::string scheme;   ///< Version 2: of what the client accepted, as is the network.
  std::string network;  ///< As the client wrote it.
  Transfer transfer = Transfer::eip3009;

  EvmAddress payer;
  EvmAddress pay_to;
  Uint256 value;
  Uint256 valid_after;
  Uint256 valid_before;  ///< Permit2: the deadline.
  std::array<std::uint8_t, 32> nonce{};
  std::string signature;  ///< The bytes, of any number.

  /// The contract that the payment moves: Permit2's token, else what a client of version 2 accepted. Version
  /// 1 does not say it, so there it is the requirement's, once the signature holds.
  std::optional<EvmAddress> asset;
  EvmAddress spender;  ///< Permit2 alone.

  std::string transaction;  ///< Solana alone, in base 64 as it came.

  json::Value accepted;    ///< Version 2: the requirement that the client says it pays, whole.
  json::Value resource;    ///< Version 2, or null.
  json::Value extensions;  ///< Version 2, or null.
  std::string identifier;  ///< What `payment_identifier` says in them, or empty.
};

/// Whether `answered` has all that `offered` has: a client may add members to an object, and change nothing.
inline bool echoes(const json::Value& offered, const json::Value& answered) noexcept {
  const json::Object* const members = offered.object();
  if (members == nullptr || answered.object() == nullptr) return offered == answered;
  for (const json::Member& member : *members) {
    const json::Value* const same = answered.find(member.key);
    if (same == nullptr || !echoes(member.value, *same)) return false;
  }
  return true;
}

/// Which of `offered` a payment is meant for: the index, or nothing. Version 2 names all fields of it,
/// version 1 only scheme and network. Its amount is not looked at.
inline std::optional<std::size_t> find_requirement(const Payment& payment,
                                                   const std::vector<Requirement>& offered) {
  for (std::size_t i = 0; i < offered.size(); ++i) {
    if (payment.version == 2) {
      if (payment.accepted == v2_value(offered[i])) return i;
    } else if (payment.scheme == offered[i].scheme && v1_network(offered[i]) == payment.network) {
      return i;
    }
  }
  return std::nullopt;
}

namespace detail {

/// The domain that an EIP-3009 payment for `requirement` is signed for, or nothing.
inline std::optional<EvmDomain> eip3009_domain(const Requirement& requirement, std::uint64_t chain_id,
                                               const EvmAddress& asset) noexcept {
  const json::Value* const name = requirement.extra.find("name");
  const json::Value* const version = requirement.extra.find("version");
  if (name == nullptr || version == nullptr || name->string() == nullptr || version->string() == nullptr)
    return std::nullopt;
  return EvmDomain{*name->string(), *version->string(), chain_id, asset};
}

}  // namespace detail

/// What is judged of a payment on any chain: version, scheme, network, and version 2's echo of what was
/// offered.
inline Verdict judge_envelope(const Payment& payment, const Requirement& requirement,
                              const json::Value& extensions) {
  if (payment.version != 1 && payment.version != 2) return Verdict::version;
  if (payment.scheme != scheme_exact || requirement.scheme != scheme_exact) return Verdict::scheme;
  if (payment.version == 1 ? v1_network(requirement) != payment.network
                           : requirement.network != payment.network)
    return Verdict::network;
  if (payment.version == 2) {
    if (payment.accepted != v2_value(requirement)) return Verdict::requirements;
    if (!extensions.is_null() && !echoes(extensions, payment.extensions)) return Verdict::extensions;
  }
  return Verdict::ok;
}

/// The digest that the payer of `payment` signed, if it is a payment for `asset` on `chain_id`. `domain` is
/// that of EIP-3009.
inline Digest signed_digest(const Payment& payment, const EvmDomain& domain) noexcept {
  if (payment.transfer == Transfer::permit2)
    return permit2_digest(
        domain.chain_id, Permit2Transfer{payment.asset.value_or(EvmAddress()), payment.value, payment.spender,
                                         uint256_of(payment.nonce), payment.valid_before, payment.pay_to,
                                         payment.valid_after});
  return transfer_digest(
      domain, TransferAuthorization{payment.payer, payment.pay_to, payment.value, payment.valid_after,
                                    payment.valid_before, payment.nonce});
}

/// What the rules say of `payment` as one for `requirement`, offered with `extensions`, at `now`. The first
/// rule that it breaks counts, in this order: version, scheme, network, version 2's echo of the requirement
/// and the extensions, transfer method and domain, Permit2's spender, signature, Permit2's token, recipient,
/// end and beginning of its time, amount. Version 1 takes more than was asked for; version 2 asks for
/// equality.
///
/// Stricter than the reference verifiers: what they take and a token refuses on chain (an s in the upper
/// half, a v of 0 or 1) is `signature`. A signature of more than 65 octets is `needs_backend`, if nothing
/// else is wrong.
template <EvmRecovery Recover>
Verdict verify_exact_evm(const Payment& payment, const Requirement& requirement,
                         const json::Value& extensions, Instant now, const Recover& recover) {
  if (const Verdict bad = judge_envelope(payment, requirement, extensions); bad != Verdict::ok) return bad;
  const auto chain_id = read_evm_chain(requirement.network);
  if (!chain_id) return Verdict::network;

  const json::Value* const method = requirement.extra.find("assetTransferMethod");
  const bool permit2 = method != nullptr && *method == json::Value("permit2");
  if (payment.transfer != (permit2 ? Transfer::permit2 : Transfer::eip3009)) return Verdict::transfer_method;
  const auto asset = read_evm_address(requirement.asset);
  const auto pay_to = read_evm_address(requirement.pay_to);
  if (!asset || !pay_to) return Verdict::domain;
  EvmDomain domain{.chain_id = *chain_id};
  if (!permit2) {
    const auto of_token = detail::eip3009_domain(requirement, *chain_id, *asset);
    if (!of_token) return Verdict::domain;
    domain = *of_token;
  } else if (payment.spender != x402_permit2_proxy) {
    return Verdict::spender;
  }

  // A contract's: the chain is asked about it last, of a payment that is good otherwise.
  const bool by_contract = payment.signature.size() > evm_signature_bytes;
  if (!by_contract) {
    const Result<EvmAddress> payer = recover(signed_digest(payment, domain), payment.signature);
    if (payer.reason() == Reason::not_built) return Verdict::not_built;
    if (!payer.ok() || *payer != payment.payer) return Verdict::signature;
  }

  if (permit2 && payment.asset != *asset) return Verdict::token;
  if (payment.pay_to != *pay_to) return Verdict::recipient;
  const auto seconds = static_cast<std::uint64_t>(now.us < 0 ? 0 : now.us / us_per_second);
  if (payment.valid_before < Uint256(seconds + seconds_left_min)) return Verdict::expired;
  if (payment.valid_after > Uint256(seconds)) return Verdict::not_yet_valid;
  const bool enough =
      payment.version == 1 ? payment.value >= requirement.amount : payment.value == requirement.amount;
  if (!enough) return Verdict::amount;
  return by_contract ? Verdict::needs_backend : Verdict::ok;
}

}  // namespace calyx::core::x402
