#include <calyx/core/merkle.hpp>
#include <calyx/core/receipt.hpp>
#include <string>
#include <vector>

#include "crypto_for_tests.hpp"

using namespace calyx;
using namespace calyx::core;
using for_tests::text_of;

namespace {

const for_tests::Hash sha256;
const for_tests::Check check;
const for_tests::ReadJson read_json;

ReceiptFields a_receipt() {
  ReceiptFields fields;
  fields.id = ReceiptId::make(1'767'235'683'000'000, 12, 0xC0FFEE, 3);
  fields.issuer = "calyx.example";
  fields.issued_at = Instant{1'767'235'683'999'999};
  fields.job_id = "job-441";
  fields.payer_wallet = WalletId::make(1'767'225'600'000'000, 1, 0xC0FFEE);
  fields.host_wallet = WalletId::make(1'767'225'600'000'000, 2, 0xC0FFEE);
  fields.gpu_model = "RTX 4090";
  fields.duration_seconds = 10'082;
  fields.output_hash = sha256(std::string_view("output"));
  fields.gross = Money{3'800'000};
  fields.platform_fee = Money{570'000};
  fields.net = Money{3'230'000};
  fields.fee_basis_points = 1500;
  fields.reference = TxnId::make(1'767'235'683'000'000, 77, 0xC0FFEE);
  fields.seq = 77;
  fields.head = sha256(std::string_view("event"));
  return fields;
}
std::string payload_of(const ReceiptFields& fields) {
  std::string out;
  append_receipt_payload(out, fields);
  return out;
}

struct Issuer {
  for_tests::Signer signer{'i'};
  std::string kid = jwk_thumbprint(sha256, signer.key);
  std::vector<TrustedKey> keys{TrustedKey{kid, signer.key}};

  std::string sign(std::string_view header, std::string_view payload) const {
    std::string out;
    append_signing_input(out, base64url(header), payload);
    append_signature(out, signer(out));
    return out;
  }
  std::string jws(const ReceiptFields& fields) const { return sign(receipt_header(kid), payload_of(fields)); }
  std::string reason(std::string_view text) const {
    const ReceiptVerdict verdict = verify_receipt_document(text, keys, read_json, check);
    CHECK(verdict.valid == verdict.reason.empty());
    CHECK(verdict.payload.is_null() == !verdict.valid);
    return verdict.reason;
  }
};

std::vector<TrustedKey> keys_of(const json::Value& row) {
  json::Array keys;
  if (const json::Value* given = row.find("trusted_keys"))
    keys = *given->array();
  else
    keys.push_back(*row.find("signing_key")->find("jwk"));
  const auto read = read_jwks(json::object({{"keys", std::move(keys)}}), sha256);
  REQUIRE(read);
  REQUIRE(read->size() >= 1);
  return *read;
}

}  // namespace

TEST_CASE("receipts are judged as their vectors say") {
  int accepted = 0;
  int refused = 0;
  for (const json::Value& row : for_tests::vectors("receipts_jws.json")) {
    const std::string name = text_of(row, "name");
    CAPTURE(name);
    const std::string jws = text_of(row, "jws");
    std::string expected = text_of(row, "calyx_expect");
    if (name == "rfc8037_a4") {
      // Well signed, but by its header no receipt.
      const auto x = unbase64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
      const std::vector<TrustedKey> keys{TrustedKey{"any", *octets<32>(*x)}};
      CHECK(verify_receipt(jws, keys, read_json, check).reason == "header");
      ++refused;
      continue;
    }
    const ReceiptVerdict verdict = verify_receipt(jws, keys_of(row), read_json, check);
    if (expected == "policy") expected = "ok";  // signed and not canonical: calyx judges the bytes alone
    if (expected == "malformed_or_signature") expected = "signature";
    if (expected == "ok") {
      CHECK(verdict.reason == "");
      CHECK(verdict.valid);
      ++accepted;
      if (row.find("receipt") != nullptr) CHECK(verdict.payload == *row.find("receipt"));
    } else {
      CHECK_FALSE(verdict.valid);
      CHECK(verdict.reason == expected);
      ++refused;
    }
  }
  CHECK(accepted == 5);
  CHECK(refused == 9);
}

TEST_CASE("header, signing input, signature and log leaf are the vectors', byte for byte") {
  int rows = 0;
  for (const json::Value& row : for_tests::vectors("receipts_jws.json")) {
    if (row.find("canonical_payload") == nullptr) continue;
    const std::string name = text_of(row, "name");
    CAPTURE(name);
    const std::string payload = json::canonical(*row.find("receipt"));
    CHECK(payload == text_of(row, "canonical_payload"));
    CHECK(hex(sha256(payload)) == text_of(row, "payload_sha256"));

    const json::Value& signing_key = *row.find("signing_key");
    const auto seed = unhex(text_of(signing_key, "seed_hex"));
    const for_tests::Signer signer{std::string_view(*seed)};
    const std::string kid = jwk_thumbprint(sha256, signer.key);
    CHECK(kid == text_of(signing_key, "kid"));

    std::string jws;
    append_signing_input(jws, base64url(receipt_header(kid)), payload);
    CHECK(jws == text_of(row, "signing_input"));
    const Signature signature = signer(jws);
    CHECK(hex(chars(signature)) == text_of(row, "signature_hex"));
    append_signature(jws, signature);
    CHECK(jws == text_of(row, "jws"));
    CHECK(compact_jws(receipt_header(kid), payload, signature) == jws);
    CHECK(hex(merkle::leaf_hash(sha256, jws)) == text_of(row, "log_leaf_hash"));
    ++rows;
  }
  CHECK(rows == 4);
}

TEST_CASE("the payload is written as its value's canonical text would be") {
  ReceiptFields fields = a_receipt();
  CHECK(payload_of(fields) == json::canonical(receipt_payload(fields)));
  CHECK(json::signable(receipt_payload(fields)));
  CHECK(payload_of(fields).substr(0, 70) ==
        R"({"amount":{"gross":"3.80","net":"3.23","platform_fee":"0.57","unit":"F)");
  CHECK(text_of(receipt_payload(fields), "issued_at") == "2026-01-01T02:48:03Z");

  fields.gpu_model = "\"RTX\\ 4090\"\n\xE2\x98\x95";
  fields.issuer = "";
  fields.job_id = std::string_view("j\0\x1F", 3);
  fields.gross = amount_max;
  fields.platform_fee = Money{1};
  fields.net = Money{};
  fields.duration_seconds = (std::int64_t{1} << 53) - 1;
  fields.fee_basis_points = 0;
  fields.seq = id_number_max;
  fields.output_hash = Digest{};
  CHECK(payload_of(fields) == json::canonical(receipt_payload(fields)));
  CHECK(json::signable(receipt_payload(fields)));

  std::string kept = "before";
  append_receipt_payload(kept, fields);
  CHECK(kept == "before" + payload_of(fields));
}

TEST_CASE("a receipt that is made is valid, and its payload is what was signed") {
  const Issuer issuer;
  const ReceiptFields fields = a_receipt();
  const ReceiptVerdict verdict = verify_receipt(issuer.jws(fields), issuer.keys, read_json, check);
  REQUIRE(verdict.valid);
  CHECK(verdict.payload == receipt_payload(fields));
  CHECK(receipt_gross(verdict.payload) == fields.gross);
}

TEST_CASE("one changed character anywhere makes a receipt invalid") {
  const Issuer issuer;
  const std::string jws = issuer.jws(a_receipt());
  for (std::size_t at = 0; at < jws.size(); ++at) {
    CAPTURE(at);
    std::string changed = jws;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    CHECK_FALSE(verify_receipt(changed, issuer.keys, read_json, check).valid);
    CHECK_FALSE(verify_receipt(jws.substr(0, at), issuer.keys, read_json, check).valid);
  }
}

TEST_CASE("a JWS is refused for the first thing wrong with it") {
  const Issuer issuer;
  const std::string payload = payload_of(a_receipt());
  const auto header = [&issuer](std::string_view alg, std::string_view more) {
    return R"({"alg":")" + std::string(alg) + R"(","kid":")" + issuer.kid + R"(","typ":"calyx-receipt+jws")" +
           std::string(more) + "}";
  };
  const std::string good = issuer.jws(a_receipt());
  const std::size_t first = good.find('.');
  const std::size_t second = good.rfind('.');
  struct Row {
    std::string says;
    std::string jws;
    std::string reason;
  };
  const Row rows[] = {
      {"as calyx writes it", good, ""},
      {"the algorithm's newer name", issuer.sign(header("Ed25519", ""), payload), ""},
      {"a header member that nobody needs to know", issuer.sign(header("EdDSA", R"(,"x":1)"), payload), ""},
      {"nothing", "", "malformed"},
      {"one part", good.substr(0, first), "malformed"},
      {"two parts", good.substr(0, second), "malformed"},
      {"four parts", good + ".AAAA", "malformed"},
      {"a newline behind", good + "\n", "malformed"},
      {"a space before", " " + good, "malformed"},
      {"padding", good + "==", "malformed"},
      {"too long", std::string(receipt_bytes_max, 'A') + good, "malformed"},
      {"a header that is no JSON", issuer.sign("{", payload), "header"},
      {"a header that is no object", issuer.sign("[]", payload), "header"},
      {"a header key twice", issuer.sign(header("EdDSA", R"(,"alg":"EdDSA")"), payload), "header"},
      {"no algorithm", issuer.sign(R"({"typ":"calyx-receipt+jws"})", payload), "alg"},
      {"the algorithm none", issuer.sign(header("none", ""), payload), "alg"},
      {"none, unsigned", base64url(header("none", "")) + "." + base64url(payload) + ".", "alg"},
      {"HMAC", issuer.sign(header("HS256", ""), payload), "alg"},
      {"another case", issuer.sign(header("eddsa", ""), payload), "alg"},
      {"an extension", issuer.sign(header("EdDSA", R"(,"crit":["exp"],"exp":1)"), payload), "header"},
      {"an empty crit", issuer.sign(header("EdDSA", R"(,"crit":[])"), payload), "header"},
      {"b64", issuer.sign(header("EdDSA", R"(,"b64":false)"), payload), "header"},
      {"another type", issuer.sign(R"({"alg":"EdDSA","kid":")" + issuer.kid + R"(","typ":"JWT"})", payload),
       "header"},
      {"no type", issuer.sign(R"({"alg":"EdDSA","kid":")" + issuer.kid + R"("})", payload), "header"},
      {"no kid", issuer.sign(R"({"alg":"EdDSA","typ":"calyx-receipt+jws"})", payload), "header"},
      {"an unknown kid", issuer.sign(receipt_header("other"), payload), "key"},
      {"no signature", good.substr(0, second + 1), "signature"},
      {"half a signature", good.substr(0, second + 1 + 44), "signature"},
      {"another payload's signature",
       base64url(receipt_header(issuer.kid)) + "." + base64url("{}") + good.substr(second), "signature"},
      {"a payload that is no JSON", issuer.sign(receipt_header(issuer.kid), "{"), "payload"},
      {"a payload that is no object", issuer.sign(receipt_header(issuer.kid), "[]"), "payload"},
      {"a payload key twice", issuer.sign(receipt_header(issuer.kid), R"({"a":1,"a":1})"), "payload"},
      {"a payload of members nobody knows", issuer.sign(receipt_header(issuer.kid), R"({"b":1,"a":2})"), ""},
      {"an empty payload object", issuer.sign(receipt_header(issuer.kid), "{}"), ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(issuer.reason(row.jws) == row.reason);
  }
}

TEST_CASE("the key is the one that the header names, whichever else is trusted") {
  const Issuer issuer;
  const for_tests::Signer other('o');
  const std::string jws = issuer.jws(a_receipt());
  const TrustedKey wrong{issuer.kid, other.key};
  const TrustedKey unrelated{jwk_thumbprint(sha256, other.key), other.key};
  const auto reason = [&jws](const std::vector<TrustedKey>& keys) {
    return verify_receipt(jws, keys, read_json, check).reason;
  };
  CHECK(reason({}) == "key");
  CHECK(reason({unrelated}) == "key");
  CHECK(reason({wrong}) == "signature");
  CHECK(reason({unrelated, issuer.keys[0]}) == "");
  CHECK(reason({wrong, issuer.keys[0]}) == "");
}

TEST_CASE("a published key set is read back; keys of other kinds are passed over") {
  const Issuer issuer;
  const json::Value published = jwks(issuer.keys);
  CHECK(json::text(published) == R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":")" +
                                     base64url(chars(issuer.signer.key)) + R"(","kid":")" + issuer.kid +
                                     R"(","use":"sig","alg":"EdDSA"}]})");
  const auto read = read_jwks(published, sha256);
  REQUIRE(read);
  REQUIRE(read->size() == 1);
  CHECK(read->front().kid == issuer.kid);
  CHECK(read->front().key == issuer.signer.key);

  const std::string x = base64url(chars(issuer.signer.key));
  const auto set = [](json::Value key) { return json::object({{"keys", json::array({std::move(key)})}}); };
  const auto bare = read_jwks(set(json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x}})), sha256);
  REQUIRE(bare);
  REQUIRE(bare->size() == 1);
  CHECK(bare->front().kid == issuer.kid);
  const auto named =
      read_jwks(set(json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x}, {"kid", "2026"}})), sha256);
  REQUIRE(named);
  REQUIRE(named->size() == 1);
  CHECK(named->front().kid == "2026");

  const json::Value passed_over[] = {
      json::object({{"kty", "EC"}, {"crv", "P-256"}, {"x", x}, {"y", x}}),
      json::object({{"kty", "OKP"}, {"crv", "X25519"}, {"x", x}}),
      json::object({{"kty", "OKP"}, {"crv", "Ed25519"}}),
      json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x.substr(4)}}),
      json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x + "="}}),
      json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x}, {"use", "enc"}}),
      json::object({{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", x}, {"alg", "HS256"}}),
      json::Value("a key"),
  };
  for (const json::Value& key : passed_over) {
    CAPTURE(json::text(key));
    const auto none = read_jwks(set(key), sha256);
    REQUIRE(none);
    CHECK(none->empty());
  }
  CHECK_FALSE(read_jwks(json::object({}), sha256));
  CHECK_FALSE(read_jwks(json::object({{"keys", json::object({})}}), sha256));
  CHECK_FALSE(read_jwks(json::array({}), sha256));
}

TEST_CASE("the thumbprint is RFC 8037's for its example key") {
  const auto x = unbase64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  CHECK(jwk_thumbprint(sha256, *octets<32>(*x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

TEST_CASE("the served document is valid, and shows what was signed") {
  const Issuer issuer;
  const ReceiptFields fields = a_receipt();
  const std::string jws = issuer.jws(fields);
  const json::Value document = receipt_document(receipt_payload(fields), jws, true);
  const std::string text = json::text(document);
  CAPTURE(text);
  CHECK(text.find(R"("flops_spent":3.8,"verified":true,"jws":")") != std::string::npos);
  CHECK(text_of(document, "receipt_id") == fields.id.text());
  CHECK(text_of(document, "gpu_model") == "RTX 4090");
  CHECK(issuer.reason(text) == "");
  CHECK(issuer.reason(" \n" + text + "\n") == "");
  CHECK(issuer.reason(json::canonical(document)) == "");
  CHECK(issuer.reason(R"({"jws":")" + jws + R"("})") == "");
}

TEST_CASE("a document that says otherwise than its JWS is not valid") {
  const Issuer issuer;
  const ReceiptFields fields = a_receipt();
  const std::string jws = issuer.jws(fields);
  const json::Value document = receipt_document(receipt_payload(fields), jws, true);
  const auto with = [&document](std::string_view key, json::Value value) {
    json::Value changed = document;
    changed.object()->set(std::string(key), std::move(value));
    return json::text(changed);
  };
  // Every member in turn, changed by as little as its kind allows.
  int changed = 0;
  for (const json::Member& member : *document.object()) {
    if (member.key == "jws" || member.key == "verified") continue;
    CAPTURE(member.key);
    json::Value value = member.value;
    if (const std::string* text = value.string())
      value = *text + "x";
    else if (const std::int64_t* number = value.integer())
      value = *number + 1;
    else if (value.object() != nullptr)
      value.object()->set("more", true);
    else
      value = json::Value::number_token("3.800001");
    CHECK(issuer.reason(with(member.key, value)) == "fields_differ");
    CHECK(issuer.reason(with(member.key, nullptr)) == "fields_differ");
    ++changed;
  }
  CHECK(changed == 17);

  struct Row {
    std::string says;
    std::string text;
    std::string reason;
  };
  const json::Value amount =
      json::object({{"unit", "FLOPS"}, {"gross", "3.80"}, {"platform_fee", "0.00"}, {"net", "3.80"}});
  const Row rows[] = {
      {"a share of the amount", with("amount", amount), "fields_differ"},
      {"the cost as text", with("flops_spent", "3.80"), ""},
      {"the cost to the last decimal", with("flops_spent", json::Value::number_token("3.800000")), ""},
      {"another cost", with("flops_spent", 4), "fields_differ"},
      {"a cost below nothing", with("flops_spent", json::Value::number_token("-3.8")), "fields_differ"},
      {"a cost that is no amount", with("flops_spent", json::array({})), "fields_differ"},
      {"its own word on being verified", with("verified", false), ""},
      {"a remark of the holder's", with("note", "paid"), ""},
      {"no JWS", R"({"id":"rcpt_1"})", "malformed"},
      {"a JWS that is no text", with("jws", 7), "malformed"},
      {"a broken JWS", with("jws", jws + "="), "malformed"},
      {"a key twice", R"({"jws":")" + jws + R"(","jws":")" + jws + R"("})", "malformed"},
      {"no JSON", "{", "malformed"},
      {"something behind", json::text(document) + "x", "malformed"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(issuer.reason(row.text) == row.reason);
  }

  // What a receipt may say and this one does not, a document must not say for it.
  const std::string little =
      issuer.sign(receipt_header(issuer.kid), R"({"id":"r","amount":{"gross":"1.00"}})");
  const auto beside = [&little](std::string_view member) {
    return R"({"jws":")" + little + R"(",)" + std::string(member) + "}";
  };
  CHECK(issuer.reason(beside(R"("id":"r")")) == "");
  CHECK(issuer.reason(beside(R"("receipt_id":"r","flops_spent":1)")) == "");
  CHECK(issuer.reason(beside(R"("gpu_model":"A100")")) == "fields_differ");
  CHECK(issuer.reason(beside(R"("issuer":"me")")) == "fields_differ");
}

TEST_CASE("a document of a payload without an amount has no cost, and none may be claimed") {
  const Issuer issuer;
  const std::string jws = issuer.sign(receipt_header(issuer.kid), R"({"id":"r"})");
  const json::Value document = receipt_document(json::object({{"id", "r"}}), jws, true);
  CHECK(document.find("flops_spent") == nullptr);
  CHECK(issuer.reason(json::text(document)) == "");
  CHECK(issuer.reason(R"({"flops_spent":0,"jws":")" + jws + R"("})") == "fields_differ");
}
