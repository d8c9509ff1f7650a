/// \file
/// The compute receipt: the exact bytes that are signed, and the judgement of what somebody presents.
///
/// A receipt is a compact JWS (RFC 7515) with an Ed25519 signature over an RFC 8785 payload. A verifier
/// judges the bytes as they came and never spells them again; so a payload that is signed and not
/// canonical is a valid receipt, though calyx writes no such thing.
///
/// Start at `append_receipt_payload` to make one, at `verify_receipt_document` to judge one.
#pragma once

#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/ids.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/time.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core {

inline constexpr std::string_view receipt_typ = "calyx-receipt+jws";
inline constexpr std::string_view receipt_type = "calyx.compute_receipt";
/// Longest JWS that is judged; ours are near one kilobyte.
inline constexpr std::size_t receipt_bytes_max = 65'536;

/// What a job's receipt says of the work: who has these can run it again and compare the output.
struct ReceiptWork {
  std::string kind;  ///< `task`, `recipe` or `command`.
  std::string name;  ///< Which of these.
  std::string version;
  std::string operation;  ///< A recipe's; empty for none, and then not said.
  Digest input_hash;      ///< Of the payload's canonical JSON.

  bool operator==(const ReceiptWork&) const = default;
};

/// The work as a value; its members are those of the receipt, and of the event that settles.
inline json::Value receipt_work(const ReceiptWork& work) {
  json::Value out = json::object({{"kind", work.kind},
                                  {"name", work.name},
                                  {"version", work.version},
                                  {"input_hash", output_hash_text(work.input_hash)}});
  if (!work.operation.empty()) out.object()->set("operation", work.operation);
  return out;
}

/// What a receipt says. Owns: nothing; the texts outlive the call they are passed to.
struct ReceiptFields {
  ReceiptId id;
  std::string_view issuer;
  Instant issued_at;  ///< Printed in whole seconds, rounded down.
  std::string_view job_id;
  WalletId payer_wallet;
  WalletId host_wallet;
  std::string_view gpu_model;
  std::int64_t duration_seconds = 0;  ///< Below 2^53, as every integer that is signed.
  Digest output_hash;
  Money gross;
  Money platform_fee;
  Money net;
  std::int64_t fee_basis_points = 0;
  TxnId reference;                    ///< The settling transfer.
  std::uint64_t seq = 0;              ///< The settling event's place in the ledger,
  Digest head;                        ///< and its hash, which covers all before it.
  const ReceiptWork* work = nullptr;  ///< Of a job; null for an escrow that a host settled by itself.
};

/// Appends the payload's RFC 8785 bytes: members are written in their sorted order, with no value built.
inline void append_receipt_payload(std::string& out, const ReceiptFields& fields) {
  // Beside the three texts: 324 bytes of words, 121 of ids, 155 of hashes and time, and at most 63 of money
  // and 60 of integers.
  constexpr std::size_t others_max = 768;
  const std::size_t bytes_max = others_max + json::string_bytes_max(fields.issuer) +
                                json::string_bytes_max(fields.job_id) +
                                json::string_bytes_max(fields.gpu_model);
  append_put(out, bytes_max, [&fields](char* to) {
    to = put_text(to, R"({"amount":{"gross":")");
    to = put_money(to, fields.gross, 2);
    to = put_text(to, R"(","net":")");
    to = put_money(to, fields.net, 2);
    to = put_text(to, R"(","platform_fee":")");
    to = put_money(to, fields.platform_fee, 2);
    to = put_text(to, R"(","unit":"FLOPS"},"duration_seconds":)");
    to = json::put_integer(to, fields.duration_seconds);
    to = put_text(to, R"(,"fee_basis_points":)");
    to = json::put_integer(to, fields.fee_basis_points);
    to = put_text(to, R"(,"gpu_model":)");
    to = json::put_string(to, fields.gpu_model);
    to = put_text(to, R"(,"host_wallet":")");
    to = fields.host_wallet.put(to);
    to = put_text(to, R"(","id":")");
    to = fields.id.put(to);
    to = put_text(to, R"(","issued_at":")");
    to = put_iso(to, fields.issued_at);
    to = put_text(to, R"(","issuer":)");
    to = json::put_string(to, fields.issuer);
    to = put_text(to, R"(,"job_id":)");
    to = json::put_string(to, fields.job_id);
    to = put_text(to, R"(,"ledger":{"head":")");
    to = put_hex(to, fields.head.view());
    to = put_text(to, R"(","seq":)");
    to = json::put_integer(to, static_cast<std::int64_t>(fields.seq));
    to = put_text(to, R"(},"output_hash":")");
    to = put_output_hash(to, fields.output_hash);
    to = put_text(to, R"(","payer_wallet":")");
    to = fields.payer_wallet.put(to);
    to = put_text(to, R"(","settlement":{"rail":"escrow","reference":")");
    to = fields.reference.put(to);
    return put_text(to, R"("},"type":"calyx.compute_receipt","v":1})");
  });
  if (fields.work == nullptr) return;
  out.pop_back();  // the brace: `work` sorts last
  out += R"(,"work":)";
  json::append_canonical(out, receipt_work(*fields.work));
  out.push_back('}');
}

/// The same payload as a value, its members in the order that people read them in.
inline json::Value receipt_payload(const ReceiptFields& fields) {
  json::Value out = json::object({
      {"v", 1},
      {"type", receipt_type},
      {"id", fields.id.text()},
      {"issuer", fields.issuer},
      {"issued_at", iso_text(fields.issued_at)},
      {"job_id", fields.job_id},
      {"payer_wallet", fields.payer_wallet.text()},
      {"host_wallet", fields.host_wallet.text()},
      {"gpu_model", fields.gpu_model},
      {"duration_seconds", fields.duration_seconds},
      {"output_hash", output_hash_text(fields.output_hash)},
      {"amount", json::object({{"unit", "FLOPS"},
                               {"gross", money_text(fields.gross)},
                               {"platform_fee", money_text(fields.platform_fee)},
                               {"net", money_text(fields.net)}})},
      {"fee_basis_points", fields.fee_basis_points},
      {"settlement", json::object({{"rail", "escrow"}, {"reference", fields.reference.text()}})},
      {"ledger", json::object({{"seq", fields.seq}, {"head", hex(fields.head)}})},
  });
  if (fields.work != nullptr) out.object()->set("work", receipt_work(*fields.work));
  return out;
}

/// The protected header: these three members and no other, so one text a key.
inline std::string receipt_header(std::string_view kid) {
  std::string out = R"({"alg":"EdDSA","kid":)";
  json::append_string(out, kid);
  out += R"(,"typ":"calyx-receipt+jws"})";
  return out;
}

/// Appends what is signed. `header_text` is the base64url of the header: it is the same for every receipt
/// of a key, so a signer keeps it.
inline void append_signing_input(std::string& out, std::string_view header_text, std::string_view payload) {
  out.reserve(out.size() + header_text.size() + payload.size() / 3 * 4 + 96);  // room for the signature too
  out += header_text;
  out.push_back('.');
  append_base64url(out, payload);
}
/// Turns the signing input into the compact JWS.
inline void append_signature(std::string& signing_input, const Signature& signature) {
  signing_input.push_back('.');
  append_base64url(signing_input, chars(signature));
}
/// The compact JWS of what was stored: base64url gives back the text that was signed, to the byte.
inline std::string compact_jws(std::string_view header, std::string_view payload,
                               const Signature& signature) {
  std::string out;
  append_signing_input(out, base64url(header), payload);
  append_signature(out, signature);
  return out;
}

/// A key that receipts are checked against.
struct TrustedKey {
  std::string kid;
  PublicKey key{};
};

/// The RFC 7638 thumbprint of an Ed25519 key: the `kid` of calyx's receipts.
template <Sha256 H>
std::string jwk_thumbprint(const H& sha256, const PublicKey& key) {
  const std::string x = base64url(chars(key));
  return base64url(sha256(std::string_view(R"({"crv":"Ed25519","kty":"OKP","x":")"), std::string_view(x),
                          std::string_view("\"}"))
                       .view());
}

inline json::Value jwk(const TrustedKey& key) {
  return json::object({{"kty", "OKP"},
                       {"crv", "Ed25519"},
                       {"x", base64url(chars(key.key))},
                       {"kid", key.kid},
                       {"use", "sig"},
                       {"alg", "EdDSA"}});
}
/// The key set as it is published (RFC 7517).
inline json::Value jwks(std::span<const TrustedKey> keys) {
  json::Array items;
  for (const TrustedKey& key : keys) items.push_back(jwk(key));
  return json::object({{"keys", std::move(items)}});
}

namespace detail {

/// The string member at `key`, or an empty view: none of the members asked for here may be empty.
inline std::string_view text_at(const json::Value& value, std::string_view key) noexcept {
  const json::Value* member = value.find(key);
  const std::string* text = member == nullptr ? nullptr : member->string();
  return text == nullptr ? std::string_view{} : std::string_view(*text);
}

}  // namespace detail

/// The Ed25519 keys of a JWKS, or nothing when it is none. Keys of other kinds, for other uses or with an
/// `x` that is not 32 bytes are passed over, as RFC 7517 asks. A key's own `kid` is taken as it is; one
/// without gets its thumbprint.
template <Sha256 H>
std::optional<std::vector<TrustedKey>> read_jwks(const json::Value& value, const H& sha256) {
  const json::Value* keys = value.find("keys");
  if (keys == nullptr || keys->array() == nullptr) return std::nullopt;
  std::vector<TrustedKey> out;
  for (const json::Value& item : *keys->array()) {
    if (detail::text_at(item, "kty") != "OKP" || detail::text_at(item, "crv") != "Ed25519") continue;
    if (item.find("use") != nullptr && detail::text_at(item, "use") != "sig") continue;
    const std::string_view alg = detail::text_at(item, "alg");
    if (item.find("alg") != nullptr && alg != "EdDSA" && alg != "Ed25519") continue;
    const auto x = unbase64url(detail::text_at(item, "x"));
    const auto key = x ? octets<32>(*x) : std::nullopt;
    if (!key) continue;
    const std::string_view kid = detail::text_at(item, "kid");
    out.push_back(TrustedKey{kid.empty() ? jwk_thumbprint(sha256, *key) : std::string(kid), *key});
  }
  return out;
}

/// A JSON reader as core takes it. It refuses what is not one UTF-8 JSON value, a key that comes twice in
/// an object, and depth beyond its limit; a number that is no int64 keeps its digits.
template <class R>
concept JsonReader = requires(const R& read, std::string_view text) {
  { read(text) } -> std::same_as<std::optional<json::Value>>;
};

struct ReceiptVerdict {
  bool valid = false;
  /// Empty when valid, else the first thing wrong: `malformed` (no such JWS), `alg`, `header`, `key`
  /// (nobody known), `signature`, `payload` (signed, but no JSON object), `fields_differ` (the document
  /// around the JWS says something else).
  std::string reason;
  json::Value payload;  ///< What was signed, when valid; null otherwise.
};

/// Judges a compact JWS by the keys that the caller trusts.
///
/// The algorithm is EdDSA or its newer name Ed25519 and never another, whatever key is at hand; the type is
/// a receipt's; extensions that a verifier would have to understand (`crit`, `b64`) are refused.
template <JsonReader R, Ed25519Check V>
ReceiptVerdict verify_receipt(std::string_view jws, std::span<const TrustedKey> keys, const R& read_json,
                              const V& check) {
  const auto refuse = [](std::string_view reason) { return ReceiptVerdict{false, std::string(reason), {}}; };
  if (jws.size() > receipt_bytes_max) return refuse("malformed");
  const std::size_t first = jws.find('.');
  const std::size_t second = first == std::string_view::npos ? first : jws.find('.', first + 1);
  if (second == std::string_view::npos) return refuse("malformed");
  const auto header_bytes = unbase64url(jws.substr(0, first));
  const auto payload_bytes = unbase64url(jws.substr(first + 1, second - first - 1));
  const auto signature_bytes = unbase64url(jws.substr(second + 1));  // a fourth part's dot is no base64url
  if (!header_bytes || !payload_bytes || !signature_bytes) return refuse("malformed");

  const std::optional<json::Value> header = read_json(std::string_view(*header_bytes));
  if (!header || header->object() == nullptr) return refuse("header");
  const std::string_view alg = detail::text_at(*header, "alg");
  if (alg != "EdDSA" && alg != "Ed25519") return refuse("alg");
  const std::string_view kid = detail::text_at(*header, "kid");
  if (header->find("crit") != nullptr || header->find("b64") != nullptr || kid.empty() ||
      detail::text_at(*header, "typ") != receipt_typ)
    return refuse("header");

  const auto signature = octets<64>(*signature_bytes);
  bool known = false;
  bool good = false;
  for (const TrustedKey& key : keys) {
    if (key.kid != kid) continue;
    known = true;
    if (signature && check(key.key, jws.substr(0, second), *signature)) good = true;
  }
  if (!known) return refuse("key");
  if (!good) return refuse("signature");

  std::optional<json::Value> payload = read_json(std::string_view(*payload_bytes));
  if (!payload || payload->object() == nullptr) return refuse("payload");
  return ReceiptVerdict{true, {}, *std::move(payload)};
}

/// A payload's gross amount, or nothing when it has none that can be read.
inline std::optional<Money> receipt_gross(const json::Value& payload) {
  const json::Value* amount = payload.find("amount");
  if (amount == nullptr) return std::nullopt;
  const MoneyReading gross = read_money(detail::text_at(*amount, "gross"));
  return gross.fault == MoneyFault::none ? std::optional<Money>(gross.money) : std::nullopt;
}

/// The receipt as it is served: what was signed, in words, and the JWS itself.
inline json::Value receipt_document(const json::Value& payload, std::string_view jws, bool verified) {
  json::Object out;
  if (const json::Object* members = payload.object()) out = *members;
  if (const json::Value* id = payload.find("id")) out.set("receipt_id", *id);
  if (const auto gross = receipt_gross(payload))
    out.set("flops_spent", json::Value::number_token(wire_text(*gross)));
  out.set("verified", verified);
  out.set("jws", jws);
  return json::Value(std::move(out));
}

namespace detail {

/// Whether a document's member says what the payload says. A member that a receipt may have and this one
/// has not differs: nobody signed it. Names that no receipt knows are a holder's own remarks.
inline bool member_agrees(const json::Member& member, const json::Value& payload) {
  if (member.key == "jws" || member.key == "verified") return true;
  if (member.key == "flops_spent") {
    std::string digits;
    if (const std::string* text = member.value.string())
      digits = *text;
    else if (member.value.integer() != nullptr || member.value.real() != nullptr)
      digits = json::text(member.value);
    const MoneyReading spent = read_money(digits);
    const std::optional<Money> gross = receipt_gross(payload);
    return spent.fault == MoneyFault::none && gross && *gross == spent.money;
  }
  const json::Value* signed_value = payload.find(member.key == "receipt_id" ? "id" : member.key);
  if (signed_value != nullptr) return *signed_value == member.value;
  for (const std::string_view name : {"v", "type", "id", "issuer", "issued_at", "job_id", "payer_wallet",
                                      "host_wallet", "gpu_model", "duration_seconds", "output_hash", "amount",
                                      "fee_basis_points", "settlement", "ledger", "receipt_id"})
    if (member.key == name) return false;
  return true;
}

}  // namespace detail

/// Judges what a person presents as a receipt: the served document (text that starts with a brace), or the
/// bare JWS. What counts is the JWS; a document must not say otherwise than what is signed in it.
template <JsonReader R, Ed25519Check V>
ReceiptVerdict verify_receipt_document(std::string_view text, std::span<const TrustedKey> keys,
                                       const R& read_json, const V& check) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || text[start] != '{')
    return verify_receipt(text, keys, read_json, check);
  const auto refuse = [](std::string_view reason) { return ReceiptVerdict{false, std::string(reason), {}}; };
  const std::optional<json::Value> document = read_json(text);
  if (!document || document->object() == nullptr) return refuse("malformed");
  ReceiptVerdict verdict = verify_receipt(detail::text_at(*document, "jws"), keys, read_json, check);
  if (!verdict.valid) return verdict;
  for (const json::Member& member : *document->object())
    if (!detail::member_agrees(member, verdict.payload)) return refuse("fields_differ");
  return verdict;
}

}  // namespace calyx::core
