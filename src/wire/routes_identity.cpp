// Wallets of other chains: how they sign in, who is on the whitelist, and the keys that their owners sign
// for.
#include <calyx/identity.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

struct Address {
  std::string chain, text;
  void read(Fields& fields) {
    fields.read("address", text);
    fields.read("chain", chain);
  }
};
Result<AddressChain> chain_of(const Address& address) {
  for (const AddressChain chain : {AddressChain::base, AddressChain::solana})
    if (address.chain == word(chain)) return chain;
  return field_fault(Reason::field_value, "/chain", "takes base or solana");
}

std::optional<KeyId> read_uuid(std::string_view text) {
  std::string digits;
  for (const char c : text)
    if (c != '-') digits.push_back(c);
  const auto octets = core::read_hex_bytes("0x" + digits);
  if (!octets || octets->size() != 16) return std::nullopt;
  KeyId id;
  for (std::size_t i = 0; i < octets->size(); ++i) {
    std::uint64_t& half = i < 8 ? id.high : id.low;
    half = half << 8 | static_cast<unsigned char>((*octets)[i]);
  }
  if (uuid_text(id) != text) return std::nullopt;
  return id;
}

void append_compute_key(std::string& out, const ApiKey& key) {
  Members(out)
      .text("id", std::string_view(uuid_text(key.id)))
      .text("label", std::string_view(key.label))
      .text("key_last4", std::string_view(key.last4))
      .instant("created_at", key.created_at)
      .instant("revoked_at", key.revoked_at)
      .close();
}

}  // namespace

Result<Response> start_sign_in(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  Address address;
  address.read(fields);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const AddressChain chain, chain_of(address));
  CALYX_TRY(const SignInChallenge challenge, call.engine.sign_in_challenge(chain, address.text));
  std::string out;
  Members members(out);
  members.begin("challenge");
  Members(out)
      .text("id", std::string_view(challenge.id))
      .text("message", std::string_view(challenge.message))
      .instant("expires_at", challenge.expires_at)
      .close();
  members.close();
  Response response = json_response(200, std::move(out));
  response.headers.push_back({"Cache-Control", "no-store"});
  return response;
}

Result<Response> finish_sign_in(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  std::string id, signature;
  fields.read("challenge_id", id);
  fields.read("signature", signature);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const KeyIssued issued, call.engine.sign_in(id, signature));
  std::string out;
  Members(out)
      .text("token", std::string_view(issued.api_key))
      .instant("expires_at", issued.key.expires_at)
      .id("wallet_id", issued.key.wallet)
      .close();
  Response response = json_response(200, std::move(out));
  response.headers.push_back({"Cache-Control", "no-store"});
  return response;
}

Result<Response> whitelist_wallet(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  Address address;
  address.read(fields);
  bool allowed = true;
  fields.read("allowed", allowed);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const AddressChain chain, chain_of(address));
  CALYX_TRY(const Wallet wallet, call.session->whitelist(chain, address.text, allowed));
  std::string out;
  Members(out)
      .id("wallet_id", wallet.id)
      .text("owner_id", std::string_view(wallet.owner_id))
      .boolean("whitelisted", allowed)
      .close();
  return json_response(200, std::move(out));
}

Result<Response> issue_compute_key(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  std::optional<std::string> label;
  fields.read("label", label);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const KeyIssued issued, call.session->issue_compute_key(label.value_or(std::string()), once));
  std::string out;
  Members(out)
      .text_or_null("api_key", issued.api_key)
      .text("id", std::string_view(uuid_text(issued.key.id)))
      .text("label", std::string_view(issued.key.label))
      .instant("created_at", issued.key.created_at)
      .close();
  return json_response(201, std::move(out), issued.replayed ? Replay::again : Replay::first);
}

Result<Response> list_compute_keys(Call& call) {
  CALYX_TRY(Page page, read_page(call));
  const std::optional<WalletId>& wallet = call.session->principal().wallet;
  const std::size_t most = page.limit;
  Listed<ApiKey> found;
  // Keys of other kinds stand between them. No look takes in more than the page lacks, so that `next` is
  // where the last of them ends.
  while (wallet) {
    page.limit = static_cast<std::uint32_t>(most - found.items.size());
    CALYX_TRY(Listed<ApiKey> listed, call.session->keys(*wallet, page));
    for (ApiKey& key : listed.items)
      if (key.kind == KeyKind::compute) found.items.push_back(std::move(key));
    found.next = page.after = std::move(listed.next);
    if (found.next.empty() || found.items.size() == most) break;
  }
  std::string out;
  Members members(out);
  members.begin("api_keys");
  append_list(out, found.items, [&](const ApiKey& key) { append_compute_key(out, key); });
  members.text_or_null("next", found.next);
  members.close();
  return json_response(200, std::move(out));
}

Result<Response> revoke_compute_key(Call& call) {
  const std::optional<KeyId> id = read_uuid(call.id);
  if (!id) return fail(Reason::key_unknown, "no key has such an id");
  CALYX_TRY(const ApiKey key, call.session->revoke_key(*id));
  std::string out;
  append_compute_key(out, key);
  return json_response(200, std::move(out));
}

}  // namespace calyx::wire
