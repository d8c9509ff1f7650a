// Receipts as people present them, a JWS or the served document around one, and key sets.
#include <algorithm>
#include <calyx/core/receipt.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "fuzz.hpp"
#include "json/reader.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

using core::TrustedKey;
using core::json::Value;

/// As the engine reads them.
struct ReceiptJson {
  std::optional<Value> operator()(std::string_view text) const {
    Result<Value> read = read_json(text);
    return read.ok() ? std::optional<Value>(*std::move(read)) : std::nullopt;
  }
};

/// The issuer of the vectors, RFC 8032's first key, whose secret is public.
const EdWallet& issuer() {
  static const EdWallet wallet(
      *core::unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  return wallet;
}
const std::vector<TrustedKey>& trusted() {
  static const std::vector<TrustedKey> keys = {
      {core::jwk_thumbprint(crypto::Sha256{}, issuer().key()), issuer().key()}};
  return keys;
}

core::ReceiptVerdict judged(std::string_view text) {
  const auto judge = [text] {
    return core::verify_receipt_document(text, trusted(), ReceiptJson{}, crypto::Ed25519{});
  };
  core::ReceiptVerdict out = judge();
  const core::ReceiptVerdict same = judge();
  demand(out.valid == same.valid && out.reason == same.reason && out.payload == same.payload,
         "a receipt is judged alike each time");
  demand(out.valid == out.reason.empty() && (out.valid || out.payload.is_null()), "a verdict is one of two");
  return out;
}

void valid_receipt(std::string_view jws, const core::ReceiptVerdict& verdict) {
  demand(jws.size() <= core::receipt_bytes_max, "a receipt keeps its limit");
  demand(std::count(jws.begin(), jws.end(), '.') == 2, "a compact JWS has three parts");
  const std::vector<std::string_view> parts = pieces_of(jws, 3, '.');
  std::string bytes[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const auto read = core::unbase64url(parts[i]);
    demand(read && core::base64url(*read) == parts[i], "each part has one spelling");
    bytes[i] = *read;
  }
  const auto header = ReceiptJson{}(bytes[0]);
  using core::detail::text_at;
  demand(header && text_at(*header, "typ") == core::receipt_typ &&
             text_at(*header, "kid") == trusted()[0].kid &&
             (text_at(*header, "alg") == "EdDSA" || text_at(*header, "alg") == "Ed25519") &&
             header->find("crit") == nullptr && header->find("b64") == nullptr,
         "the header is a receipt's");
  const std::string_view input = jws.substr(0, jws.rfind('.'));
  demand(crypto::ed25519_verify(core::chars(issuer().key()), input, bytes[2]),
         "the signature is the issuer's");
  const auto payload = ReceiptJson{}(bytes[1]);
  demand(payload && *payload == verdict.payload && payload->object() != nullptr,
         "the payload is what was signed");

  const auto with = [&](const core::Signature& signature) {
    std::string out(input);
    core::append_signature(out, signature);
    return out;
  };
  core::Signature signature = *core::octets<64>(bytes[2]);
  demand(judged(with(with_order_added(signature))).reason == "signature", "S beyond the order is refused");
  signature[3] ^= 1;
  demand(judged(with(signature)).reason == "signature", "a signature that was changed is refused");

  // What is served of a receipt is a receipt, unless the payload has members of the document's own.
  for (const char* const own : {"jws", "verified", "receipt_id", "flops_spent"})
    if (payload->find(own) != nullptr) return;
  const Value document = core::receipt_document(verdict.payload, jws, true);
  const core::ReceiptVerdict served = judged(core::json::text(document));
  demand(served.valid && served.payload == verdict.payload, "a receipt that is served is valid");
  Value changed = document;
  for (const core::json::Member& member : *verdict.payload.object()) {
    changed.object()->set(member.key, core::json::array({member.value}));
    demand(judged(core::json::text(changed)).reason == "fields_differ", "a document says what was signed");
    changed.object()->set(member.key, member.value);
  }
}

/// The first two parts signed by the issuer: what is left to refuse is what they say.
void signed_by_issuer(std::string_view text) {
  const std::size_t first = text.find('.');
  const std::size_t second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second == std::string_view::npos) return;
  std::string jws(text.substr(0, second));
  core::append_signature(jws, issuer().sign(jws));
  const core::ReceiptVerdict verdict = judged(jws);
  demand(verdict.reason != "signature", "the issuer's own signature is found good");
  if (verdict.valid) valid_receipt(jws, verdict);
}

void key_set(std::string_view text) {
  const auto document = ReceiptJson{}(text);
  const auto keys = document ? core::read_jwks(*document, crypto::Sha256{}) : std::nullopt;
  if (!keys) return;
  const auto again = core::read_jwks(core::jwks(*keys), crypto::Sha256{});
  demand(again && again->size() == keys->size(), "keys that are published are read");
  for (std::size_t i = 0; i < keys->size(); ++i)
    demand((*again)[i].kid == (*keys)[i].kid && (*again)[i].key == (*keys)[i].key && !(*keys)[i].kid.empty(),
           "a key that is published is read as the same");
}

}  // namespace

void target::receipt(std::string_view input) {
  const core::ReceiptVerdict verdict = judged(input);
  if (input.starts_with('{')) {
    key_set(input);
    if (verdict.valid) {
      const auto document = ReceiptJson{}(input);
      demand(document.has_value(), "a valid document is JSON");
      const std::string_view jws = core::detail::text_at(*document, "jws");
      const core::ReceiptVerdict bare = judged(jws);
      demand(bare.valid && bare.payload == verdict.payload, "of a document its JWS counts");
    }
    return;
  }
  if (verdict.valid && input.find_first_of(" \t\r\n") == std::string_view::npos)
    valid_receipt(input, verdict);
  signed_by_issuer(input);
}

}  // namespace calyx::fuzz
