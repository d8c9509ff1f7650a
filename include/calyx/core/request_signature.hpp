/// \file
/// Requests that a wallet signed: the `X-Auth-` headers, the nine lines that they sign, and the verdict.
///
/// Start at `judge_request`. A nonce counts once for an address, which the caller keeps until
/// `stays_used_until`; whether the address may do what it asks is the caller's, too.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace calyx::core::request_signature {

/// The first of the nine lines. A deployment that sets one of its own takes no signature made for another.
inline constexpr std::string_view first_line_default = "X402-COMPUTE-AUTH";
inline constexpr std::string_view version_line = "v1";

/// How far a request's time may lie before and after the judge's.
inline constexpr std::int64_t age_max_us = 300 * us_per_second;
inline constexpr std::int64_t ahead_max_us = 60 * us_per_second;

/// The longest nonce. Units: bytes, of 0x21 to 0x7E.
inline constexpr std::size_t nonce_bytes_max = 128;

enum class Chain : std::uint8_t { base, solana };
constexpr std::string_view word(Chain chain) noexcept { return chain == Chain::base ? "base" : "solana"; }

/// The account of `address` on its chain by CAIP-10, one spelling each: `address` as `Judged` has it.
/// Base stands for all EVM chains, on which one key has one address.
constexpr std::string_view account_prefix(Chain chain) noexcept {
  return chain == Chain::base ? "eip155:8453:" : "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:";
}
inline std::string account_of(Chain chain, std::string_view address) {
  return std::string(account_prefix(chain)).append(address);
}
/// The address in what `account_of` may have made, or nothing. Its letters are not judged.
constexpr std::optional<std::string_view> address_in(std::string_view account) noexcept {
  for (const Chain chain : {Chain::base, Chain::solana}) {
    const std::string_view prefix = account_prefix(chain);
    if (account.size() > prefix.size() && account.substr(0, prefix.size()) == prefix)
      return account.substr(prefix.size());
  }
  return std::nullopt;
}

/// The values of the headers as they came; empty where one was missing.
struct Headers {
  std::string_view address;    ///< `X-Auth-Address`
  std::string_view chain;      ///< `X-Auth-Chain`: `base` or `solana`
  std::string_view signature;  ///< `X-Auth-Signature`
  std::string_view timestamp;  ///< `X-Auth-Timestamp`. Units: milliseconds since 1970.
  std::string_view nonce;      ///< `X-Auth-Nonce`
  std::string_view encoding;   ///< `X-Auth-Sig-Encoding`: `hex` on base, `base64` on solana
};

/// The request that is signed for.
struct Request {
  std::string_view method;  ///< In upper case, as HTTP has it.
  std::string_view target;  ///< The path and the query as they were sent.
  Digest body_sha256;       ///< Of an absent body: of nothing.
};

/// Why a request is not signed, one word for each way.
enum class Verdict : std::uint8_t {
  ok,
  header_missing,
  request_malformed,  ///< A method or target with a space or control in it would shift the lines.
  chain_unknown,
  address_malformed,
  encoding_mismatch,  ///< Not the one that the chain's signatures have.
  signature_malformed,
  timestamp_malformed,
  nonce_malformed,
  stale,
  too_early,
  signature,
  not_built,
};
inline constexpr std::array<std::string_view, 13> verdict_words = {"ok",
                                                                   "header_missing",
                                                                   "request_malformed",
                                                                   "chain_unknown",
                                                                   "address_malformed",
                                                                   "encoding_mismatch",
                                                                   "signature_malformed",
                                                                   "timestamp_malformed",
                                                                   "nonce_malformed",
                                                                   "stale",
                                                                   "too_early",
                                                                   "signature",
                                                                   "not_built"};
constexpr std::string_view word(Verdict verdict) noexcept {
  return verdict_words[static_cast<std::size_t>(verdict)];
}

/// The text that is signed. `address` is in lower case on base, and as base 58 has it on solana.
inline std::string signed_text(std::string_view first_line, Chain chain, std::string_view address,
                               const Request& request, std::string_view timestamp, std::string_view nonce) {
  std::string out(first_line);
  const std::string body = hex(request.body_sha256);
  for (const std::string_view line : {version_line, word(chain), address, request.method, request.target,
                                      std::string_view(body), timestamp, nonce})
    out.append("\n").append(line);
  return out;
}

/// Who asks, and what else the caller needs.
struct Judged {
  Verdict verdict = Verdict::ok;
  Chain chain = Chain::base;
  std::string address;  ///< Base: in lower case. One spelling an address, so that it may be compared.
  Instant at;           ///< When the request was signed, as it says.
};

/// After this instant the nonce of a request signed `at` may be forgotten: with it the request is stale.
constexpr Instant stays_used_until(Instant at) noexcept { return {at.us + age_max_us}; }

namespace detail {

/// Milliseconds in decimal digits without a leading zero, of years that have four digits.
inline std::optional<Instant> read_timestamp(std::string_view text) noexcept {
  const auto number = read_uint256(text);
  const auto ms = number ? number->small() : std::nullopt;
  if (!ms || *ms > static_cast<std::uint64_t>(instant_max.us / 1000)) return std::nullopt;
  return Instant{static_cast<std::int64_t>(*ms) * 1000};
}
inline bool visible(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}
/// Bytes that HTTP may carry in a method or target, those above ASCII included.
inline bool unbroken(std::string_view text) noexcept {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
  });
}

}  // namespace detail

namespace detail {

/// What can be said before a signature is checked, which is then in `signature`.
struct Checked {
  std::optional<EvmAddress> address;  ///< On base.
  std::optional<PublicKey> key;       ///< On solana.
  std::string signature;
};

template <class SolanaKey>
Verdict judge_headers(const Request& request, const Headers& headers, Instant now,
                      const SolanaKey& solana_key, Judged& out, Checked& checked) {
  for (const std::string_view value : {headers.address, headers.chain, headers.signature, headers.timestamp,
                                       headers.nonce, headers.encoding})
    if (value.empty()) return Verdict::header_missing;
  if (!unbroken(request.method) || !unbroken(request.target)) return Verdict::request_malformed;
  const bool base = headers.chain == word(Chain::base);
  if (!base && headers.chain != word(Chain::solana)) return Verdict::chain_unknown;
  out.chain = base ? Chain::base : Chain::solana;
  if (base) {
    checked.address = read_evm_address(headers.address);
    if (!checked.address) return Verdict::address_malformed;
    out.address = lower_text(*checked.address);
  } else {
    checked.key = solana_key(headers.address);
    if (!checked.key) return Verdict::address_malformed;
    out.address = headers.address;
  }
  if (headers.encoding != (base ? "hex" : "base64")) return Verdict::encoding_mismatch;
  auto signature = base ? read_hex_bytes(headers.signature) : unbase64(headers.signature);
  if (!signature || signature->size() != (base ? evm_signature_bytes : std::tuple_size_v<Signature>))
    return Verdict::signature_malformed;
  checked.signature = *std::move(signature);
  const auto at = read_timestamp(headers.timestamp);
  if (!at) return Verdict::timestamp_malformed;
  out.at = *at;
  if (headers.nonce.size() > nonce_bytes_max || !visible(headers.nonce)) return Verdict::nonce_malformed;
  if (now.us - at->us > age_max_us) return Verdict::stale;
  return at->us - now.us > ahead_max_us ? Verdict::too_early : Verdict::ok;
}

}  // namespace detail

/// What can be said before the body is hashed: the verdicts before `signature`, and who claims to ask.
template <class SolanaKey>
Judged judge_claim(std::string_view method, std::string_view target, const Headers& headers, Instant now,
                   const SolanaKey& solana_key) {
  Judged out;
  detail::Checked checked;
  out.verdict = detail::judge_headers({method, target, {}}, headers, now, solana_key, out, checked);
  return out;
}

/// What the rules say of a request and its headers, at `now`. The first rule that is broken counts, in the
/// order of `Verdict`.
///
/// `recover` and `check` are the signature checks of the two chains; `solana_key` gives the key that an
/// address spells, `std::optional<PublicKey>(std::string_view)`, or nothing when it is none.
template <EvmRecovery Recover, Ed25519Check Check, class SolanaKey>
Judged judge_request(const Request& request, const Headers& headers, Instant now, const Recover& recover,
                     const Check& check, const SolanaKey& solana_key,
                     std::string_view first_line = first_line_default) {
  Judged out;
  detail::Checked checked;
  out.verdict = detail::judge_headers(request, headers, now, solana_key, out, checked);
  if (out.verdict != Verdict::ok) return out;
  const std::string text =
      signed_text(first_line, out.chain, out.address, request, headers.timestamp, headers.nonce);
  bool good = false;
  if (checked.key) {
    good = check(*checked.key, text, *octets<std::tuple_size_v<Signature>>(checked.signature));
  } else {
    const Result<EvmAddress> signer = recover(personal_message_digest(text), checked.signature);
    if (signer.reason() == Reason::not_built) {
      out.verdict = Verdict::not_built;
      return out;
    }
    good = signer.ok() && *signer == *checked.address;
  }
  if (!good) out.verdict = Verdict::signature;
  return out;
}

}  // namespace calyx::core::request_signature
