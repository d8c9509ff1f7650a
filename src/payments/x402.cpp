#include "x402.hpp"

#include <utility>

#include "json/pointer.hpp"
#include "json/reader.hpp"

namespace calyx::payments {

namespace {

using core::EvmAddress;
using core::Uint256;
using core::json::Object;
using core::json::Value;
using core::x402::Payment;
using core::x402::Requirement;
using core::x402::Transfer;
using core::x402::Verdict;

/// An object of the document, or null where it was missed; and where it stands.
struct Place {
  const Value* value;
  std::string_view at;
};

/// Members of objects, read one by one until one is at fault: then nothing more is read.
class X402Reader {
 public:
  explicit X402Reader(X402Reading& out) noexcept : out_(out) {}

  bool good() const noexcept { return out_.verdict == Verdict::ok; }

  void refuse(const Place& in, std::string_view name, Verdict verdict = Verdict::malformed) {
    if (!good()) return;
    out_.verdict = verdict;
    out_.pointer = in.at;
    append_pointer_step(out_.pointer, name);
  }

  /// A member of `in`, which must be of `kind`; null, with a fault, when it is not.
  const Value* member(const Place& in, std::string_view name, core::json::Kind kind) {
    const Value* const found = in.value == nullptr ? nullptr : in.value->find(name);
    if (found != nullptr && found->kind() == kind) return found;
    refuse(in, name);
    return nullptr;
  }
  const Value* object(const Place& in, std::string_view name) {
    return member(in, name, core::json::Kind::object);
  }
  std::string_view string(const Place& in, std::string_view name) {
    const Value* const found = member(in, name, core::json::Kind::string);
    return found == nullptr ? std::string_view() : *found->string();
  }
  /// Puts into `to` what `read` makes of the text of a member; it gives nothing for a text that it refuses.
  template <class T, class Read>
  void read(const Place& in, std::string_view name, T& to, const Read& read) {
    const std::string_view text = string(in, name);
    if (!good()) return;
    if (auto value = read(text))
      to = *std::move(value);
    else
      refuse(in, name);
  }
  void address(const Place& in, std::string_view name, EvmAddress& to) {
    read(in, name, to, core::read_evm_address);
  }
  void number(const Place& in, std::string_view name, Uint256& to) { read(in, name, to, core::read_uint256); }

 private:
  X402Reading& out_;
};

std::optional<std::array<std::uint8_t, 32>> read_nonce(std::string_view text) {
  const auto bytes = core::read_hex_bytes(text);
  return bytes ? core::octets<32>(*bytes) : std::nullopt;
}

/// EIP-3009, the member `authorization` of the payload.
void read_eip3009(X402Reader& reader, const Place& payload, Payment& out) {
  const Place in{reader.object(payload, "authorization"), "/payload/authorization"};
  out.transfer = Transfer::eip3009;
  reader.address(in, "from", out.payer);
  reader.address(in, "to", out.pay_to);
  reader.number(in, "value", out.value);
  reader.number(in, "validAfter", out.valid_after);
  reader.number(in, "validBefore", out.valid_before);
  reader.read(in, "nonce", out.nonce, read_nonce);
}

/// Permit2, the member `permit2Authorization` of the payload.
void read_permit2(X402Reader& reader, const Place& payload, Payment& out) {
  const Place in{reader.object(payload, "permit2Authorization"), "/payload/permit2Authorization"};
  out.transfer = Transfer::permit2;
  reader.address(in, "from", out.payer);
  const Place permitted{reader.object(in, "permitted"), "/payload/permit2Authorization/permitted"};
  reader.address(permitted, "token", out.asset.emplace());
  reader.number(permitted, "amount", out.value);
  reader.address(in, "spender", out.spender);
  Uint256 nonce;
  reader.number(in, "nonce", nonce);
  out.nonce = core::word_of(nonce);
  reader.number(in, "deadline", out.valid_before);
  const Place witness{reader.object(in, "witness"), "/payload/permit2Authorization/witness"};
  reader.address(witness, "to", out.pay_to);
  reader.number(witness, "validAfter", out.valid_after);
}

void read_x402_payload(X402Reader& reader, const Place& document, Payment& out) {
  const Place payload{reader.object(document, "payload"), "/payload"};
  if (payload.value == nullptr) return;
  const bool eip3009 = payload.value->find("authorization") != nullptr;
  const bool permit2 = payload.value->find("permit2Authorization") != nullptr;
  const bool solana = payload.value->find("transaction") != nullptr;
  // Of two messages nobody could say which one is paid by.
  if (int{eip3009} + int{permit2} + int{solana} != 1 || (permit2 && out.version == 1)) {
    reader.refuse(document, "payload");
    return;
  }
  if (solana) {
    out.transfer = Transfer::solana;
    out.transaction = reader.string(payload, "transaction");
    return;
  }
  if (eip3009)
    read_eip3009(reader, payload, out);
  else
    read_permit2(reader, payload, out);
  reader.read(payload, "signature", out.signature, core::read_hex_bytes);
}

/// All of it but what is moved out of the document.
void read_x402_document(X402Reader& reader, const Place& document, X402Header header, Payment& out) {
  const Value* const version = reader.member(document, "x402Version", core::json::Kind::integer);
  if (version == nullptr) return;
  const int of_header = header == X402Header::x_payment ? 1 : 2;
  if (*version->integer() != of_header) {
    reader.refuse(document, "x402Version", Verdict::version);
    return;
  }
  out.version = of_header;
  Place terms = document;  // where scheme and network stand
  if (out.version == 2) terms = {reader.object(document, "accepted"), "/accepted"};
  out.scheme = reader.string(terms, "scheme");
  out.network = reader.string(terms, "network");
  if (out.scheme != core::x402::scheme_exact) reader.refuse(terms, "scheme", Verdict::scheme);
  if (!reader.good()) return;
  read_x402_payload(reader, document, out);
  if (out.version == 2 && out.transfer == Transfer::eip3009)
    reader.address(terms, "asset", out.asset.emplace());
}

/// The name that the client gave its payment, in the extensions that were read.
void read_identifier(X402Reader& reader, Payment& out) {
  const Value* const extension = out.extensions.find(core::x402::payment_identifier);
  const Value* const info = extension == nullptr ? nullptr : extension->find("info");
  const Value* const id = info == nullptr ? nullptr : info->find("id");
  if (id == nullptr) return;
  reader.read({info, "/extensions/payment-identifier/info"}, "id", out.identifier,
              [](std::string_view text) -> std::optional<std::string> {
                if (!core::x402::is_identifier(text)) return std::nullopt;
                return std::string(text);
              });
}

using core::x402::detail::put;

void put_if_any(Object& out, std::string_view key, std::string_view text) {
  if (!text.empty()) put(out, key, text);
}

std::string encoded_header(const Value& document) { return core::base64(core::json::text(document)); }

}  // namespace

X402Reading read_x402_payment(std::string_view text, X402Header header) {
  X402Reading out;
  out.verdict = Verdict::malformed;
  if (text.empty() || text.size() > x402_header_bytes_max) return out;
  const auto bytes = core::unbase64(text);
  if (!bytes) return out;
  auto document = read_json(*bytes);
  if (!document.ok() || document->object() == nullptr) return out;
  out.verdict = Verdict::ok;
  X402Reader reader(out);
  read_x402_document(reader, {&*document, ""}, header, out.payment);
  if (!reader.good() || header == X402Header::x_payment) return out;
  // The document is not needed any more.
  const auto take = [&document](std::string_view name, Value& to) {
    if (Value* from = document->object()->find(name)) to = std::move(*from);
  };
  take("accepted", out.payment.accepted);
  take("resource", out.payment.resource);
  take("extensions", out.payment.extensions);
  read_identifier(reader, out.payment);
  return out;
}

Value x402_v1_challenge(std::string_view error, const std::vector<Requirement>& offered) {
  core::json::Array accepts;
  accepts.reserve(offered.size());
  for (const Requirement& requirement : offered)
    if (auto entry = core::x402::v1_value(requirement)) accepts.push_back(*std::move(entry));
  Object out;
  out.set("x402Version", 1);
  put(out, "error", error);
  out.set("accepts", std::move(accepts));
  return out;
}

std::string x402_payment_required(const X402Challenge& challenge) {
  Object out;
  out.set("x402Version", 2);
  put_if_any(out, "error", challenge.error);
  Object resource;
  core::json::Array accepts;
  accepts.reserve(challenge.offered.size());
  for (const Requirement& requirement : challenge.offered) {
    if (resource.empty()) {
      put(resource, "url", requirement.resource);
      put_if_any(resource, "description", requirement.description);
      put_if_any(resource, "mimeType", requirement.mime_type);
    }
    accepts.push_back(core::x402::v2_value(requirement));
  }
  out.set("resource", std::move(resource));
  out.set("accepts", std::move(accepts));
  if (!challenge.extensions.is_null()) out.set("extensions", challenge.extensions);
  return encoded_header(out);
}

std::string x402_payment_response(const X402Settlement& settlement, int version) {
  constexpr std::string_view no_transaction =
      "0x0000000000000000000000000000000000000000000000000000000000000000";
  Object out;
  out.set("success", settlement.error.empty());
  put_if_any(out, "errorReason", settlement.error);
  // In the order of each version's own clients.
  if (version == 2) put_if_any(out, "payer", settlement.payer);
  put(out, "transaction",
      version == 1 && settlement.transaction.empty() ? no_transaction : settlement.transaction);
  put(out, "network", settlement.network);
  if (version == 1) put_if_any(out, "payer", settlement.payer);
  return encoded_header(out);
}

}  // namespace calyx::payments
