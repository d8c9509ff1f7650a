#include "services/services.hpp"

namespace calyx::services {
namespace {

Error no_key(const KeyId& id) {
  return fail(Reason::key_unknown, "no key " + id.text(), core::json::object({{"key_id", id.text()}}));
}

/// Appends a fresh key and answers with it; the secret exists only in that answer.
Result<KeyIssued> append_key(Transaction& tx, const Caller& caller, AccountNumber wallet,
                             std::string_view label, std::int64_t replaces, const IdempotencyKey& once) {
  CALYX_TRY(std::string secret,
            crypto::api_key_text(wallet == 0 ? "cyx_op_" : "cyx_live_", tx.seams().random));
  const std::int64_t number = tx.book().next_key();
  CALYX_TRY(const Placed event,
            tx.append(KeyIssuedEvent{.key = number,
                                     .wallet = wallet,
                                     .hash = crypto::api_key_hash(*tx.seams().hash_key, secret),
                                     .last4 = secret.substr(secret.size() - 4),
                                     .label = std::string(label),
                                     .replaces = replaces,
                                     .once = once,
                                     .by = caller.wallet}));
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

}  // namespace

Result<KeyIssued> issue_key(Transaction& tx, const Principal& principal, std::optional<WalletId> wallet,
                            std::string_view label, const IdempotencyKey& once) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  AccountNumber number = 0;
  if (wallet) {
    CALYX_TRY(const WalletState* managed, manageable(book, caller, *wallet, Own::allowed));
    number = managed->number;
  } else {
    CALYX_CHECK(operator_only(caller));
  }
  CALYX_CHECK(check_name("/label", label, label_max, Empty::allowed));
  CALYX_CHECK(check_key_text("Idempotency-Key", once, Empty::allowed));
  CALYX_TRY(const std::optional<Event> first, replayed(tx, caller, once));
  if (first) {
    const auto* before = std::get_if<KeyIssuedEvent>(&first->fields);
    if (before == nullptr || before->replaces != 0) return reused(Reason::key_reused, "operation");
    if (before->wallet != number) return reused(Reason::key_reused, "wallet_id");
    if (before->label != label) return reused(Reason::key_reused, "label");
    return again(book, *before);
  }
  return append_key(tx, caller, number, label, 0, once);
}

Result<ApiKey> revoke_key(Transaction& tx, const Principal& principal, KeyId id) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_TRY(const KeyState* key, manageable_key(tx.book(), caller, id));
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
  CALYX_CHECK(tx.append(KeyRevokedEvent{.key = old, .by = caller.wallet}));
  return append_key(tx, caller, wallet, label, old, once);
}

}  // namespace calyx::services
