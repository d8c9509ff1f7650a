#include <calyx/identity.hpp>

#include "crypto/delegate.hpp"
#include "services/payments.hpp"
#include "services/services.hpp"

namespace calyx::services {
namespace {

Error no_key(const KeyId& id) {
  return fail(Reason::key_unknown, "no key " + id.text(), core::json::object({{"key_id", id.text()}}));
}

std::string_view first_letters(KeyKind kind, AccountNumber wallet) noexcept {
  switch (kind) {
    case KeyKind::api: break;
    case KeyKind::session: return "fls_";
    case KeyKind::compute: return "x402c_";
    case KeyKind::jobs: return "flk_";
  }
  return wallet == 0 ? "cyx_op_" : "cyx_live_";
}

struct NewKey {
  AccountNumber wallet = 0;  ///< 0: an operator's.
  std::string_view label;
  KeyKind kind = KeyKind::api;
  std::optional<std::int64_t> expires_in_s{};
  std::int64_t replaces = 0;
};

/// Appends a fresh key and answers with it; the secret exists only in that answer.
Result<KeyIssued> append_key(Transaction& tx, const Caller& caller, const NewKey& asked,
                             const IdempotencyKey& once) {
  CALYX_TRY(std::string secret,
            crypto::api_key_text(first_letters(asked.kind, asked.wallet), tx.seams().random));
  const std::int64_t number = tx.book().next_key();
  std::optional<core::Digest> delegate;
  if (asked.wallet != 0) {
    CALYX_TRY(const core::PublicKey key, crypto::delegate_key(secret));
    delegate = core::Digest{key};
  }
  CALYX_TRY(const Placed event,
            tx.append(KeyIssuedEvent{.key = number,
                                     .wallet = asked.wallet,
                                     .hash = crypto::api_key_hash(*tx.seams().hash_key, secret),
                                     .last4 = secret.substr(secret.size() - 4),
                                     .label = std::string(asked.label),
                                     .replaces = asked.replaces,
                                     .once = once,
                                     .by = caller.wallet,
                                     .kind = asked.kind,
                                     .expires_in_s = asked.expires_in_s,
                                     .delegate = delegate}));
  CALYX_CHECK(keep_key(tx, caller, once, event.seq));
  return KeyIssued{tx.book().view(*tx.book().key(number)), std::move(secret)};
}

/// The first answer again, without the secret.
KeyIssued again(const Book& book, const KeyIssuedEvent& before) {
  ApiKey key = book.view(*book.key(before.key));
  key.revoked_at.reset();  // as it was answered first
  return {std::move(key), {}, true};
}

Result<const KeyState*> manageable_key(const Book& book, const Caller& caller, const KeyId& id) {
  const KeyState* key = book.find(id);
  if (key == nullptr) return no_key(id);
  if (caller.is_operator()) return key;
  const WalletState* wallet = book.wallet(key->wallet);
  if (wallet == nullptr) return no_key(id);  // an operator's: not theirs to see
  CALYX_TRY(const WalletState* managed, manageable(book, caller, wallet->id, Own::allowed));
  static_cast<void>(managed);
  return key;
}

Result<KeyIssued> issue(Transaction& tx, const Caller& caller, const NewKey& asked,
                        const IdempotencyKey& once) {
  CALYX_CHECK(check_name("/label", asked.label, label_max, Empty::allowed));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (!first) {
    if (const WalletState* const wallet = tx.book().wallet(asked.wallet))
      CALYX_CHECK(may_grow(tx.book(), *wallet));
    return append_key(tx, caller, asked, once);
  }
  const auto* before = std::get_if<KeyIssuedEvent>(&first->fields);
  if (before == nullptr || before->replaces != 0 || before->kind != asked.kind)
    return reused(Reason::key_reused, "operation");
  if (before->wallet != asked.wallet) return reused(Reason::key_reused, "wallet_id");
  if (before->label != asked.label) return reused(Reason::key_reused, "label");
  return again(tx.book(), *before);
}

}  // namespace

Result<KeyIssued> issue_key(Transaction& tx, const Principal& principal, std::optional<WalletId> wallet,
                            std::string_view label, const IdempotencyKey& once, KeyKind kind) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  AccountNumber number = 0;
  if (wallet) {
    CALYX_TRY(const WalletState* managed, manageable(book, caller, *wallet, Own::allowed));
    number = managed->number;
  } else {
    CALYX_CHECK(operator_only(caller));
  }
  CALYX_CHECK(may_change_keys(caller));
  if (!is_managed(kind) || (kind == KeyKind::jobs && number == 0))
    return field_error(Reason::field_value, "/kind", "takes api, or of a wallet jobs");
  return issue(tx, caller, {.wallet = number, .label = label, .kind = kind}, once);
}

Result<KeyIssued> issue_compute_key(Transaction& tx, const Principal& principal, std::string_view label,
                                    const IdempotencyKey& once) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  if (!caller.signed_by_owner())
    return signature_needed("a key for compute is made by the signature of the wallet's owner");
  return issue(tx, caller, {.wallet = caller.wallet, .label = label, .kind = KeyKind::compute}, once);
}

Result<KeyIssued> issue_management_key(Transaction& tx, PaymentId paid) {
  CALYX_TRY(const AccountNumber wallet, payer_of_call(tx, paid));
  // The payment is the wallet's signature.
  const Caller payer{.role = Role::human, .wallet = wallet};
  const IdempotencyKey once = "management-" + paid.text();
  CALYX_TRY(const std::optional<Event> first, replayed(tx, payer, once));
  // One that pays for many calls has one key, not one for each.
  if (!first)
    for (const std::int64_t number : tx.book().wallet(wallet)->keys)
      if (const KeyState* const key = tx.book().key(number);
          key->kind == KeyKind::compute && !key->revoked_at)
        return KeyIssued{tx.book().view(*key), {}, true};
  return issue(tx, payer, {.wallet = wallet, .label = "management", .kind = KeyKind::compute}, once);
}

Result<KeyIssued> open_session(Transaction& tx, const WalletState& wallet) {
  return append_key(tx, {.role = Role::human, .wallet = wallet.number},
                    {.wallet = wallet.number, .kind = KeyKind::session, .expires_in_s = session_lasts_s}, {});
}

Result<ApiKey> revoke_key(Transaction& tx, const Principal& principal, KeyId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const KeyState* key, manageable_key(tx.book(), caller, id));
  // Whoever holds a session may end it.
  if (key->kind != KeyKind::session || caller.key != static_cast<std::int64_t>(id.number())) {
    CALYX_CHECK(may_change_keys(caller));
    if (key->kind == KeyKind::compute && !caller.is_operator() && !caller.signed_by_owner())
      return signature_needed("a key for compute is revoked by the signature of the wallet's owner");
  }
  if (!key->revoked_at)
    CALYX_CHECK(
        tx.append(KeyRevokedEvent{.key = static_cast<std::int64_t>(id.number()), .by = caller.wallet}));
  return tx.book().view(*tx.book().find(id));
}

Result<KeyIssued> rotate_key(Transaction& tx, const Principal& principal, KeyId id,
                             const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  CALYX_TRY(const KeyState* key, manageable_key(book, caller, id));
  CALYX_CHECK(may_change_keys(caller));
  if (!is_managed(key->kind))
    return signature_needed("the wallet's owner signs for another one, in place of this key");
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  const auto old = static_cast<std::int64_t>(id.number());
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<KeyIssuedEvent>(&first->fields);
    if (before == nullptr || before->replaces == 0) return reused(Reason::key_reused, "operation");
    if (before->replaces != old) return reused(Reason::key_reused, "key_id");
    return again(book, *before);
  }
  if (key->revoked_at)
    return fail(Reason::key_unknown, "the key is revoked: issue another",
                core::json::object({{"key_id", id.text()}}));
  const AccountNumber wallet = key->wallet;
  const std::string label = key->label;
  const KeyKind kind = key->kind;
  if (const WalletState* const owner = book.wallet(wallet)) CALYX_CHECK(may_grow(book, *owner));
  CALYX_CHECK(tx.append(KeyRevokedEvent{.key = old, .by = caller.wallet}));
  return append_key(tx, caller, {.wallet = wallet, .label = label, .kind = kind, .replaces = old}, once);
}

}  // namespace calyx::services
