#include "services/identity.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

const WalletState* wallet_of(const Book& book, const std::string& account) {
  const auto found = book.wallet_by_address.find(account);
  return found == book.wallet_by_address.end() ? nullptr : book.wallet(found->second);
}

/// Signatures of one address whose time has not passed, each a row until it has: three a second, for as long
/// as they last. Who asks more often has a key.
constexpr std::size_t nonces_kept_max = 1024;

/// Whether strangers may open one more wallet now.
Result<Done> check_pace(const Book& book, Instant now) {
  const std::deque<Instant>& opened = book.opened_by_signature;
  if (opened.size() < opened_by_signature_max) return Done{};
  const std::int64_t wait_us = opened.front().us + core::us_per_hour - now.us;
  if (wait_us <= 0) return Done{};
  const auto most = static_cast<std::int64_t>(opened_by_signature_max);
  return fail(Reason::too_many_wallets,
              "signatures opened " + std::to_string(most) + " wallets within an hour, and open no more",
              json::object({{"limit", most},
                            {"retry_after_s", (wait_us + core::us_per_second - 1) / core::us_per_second}}));
}

Result<Done> take_nonce(Transaction& tx, const SignedOnce& once, Reason reason, const char* again,
                        const char* late) {
  // The call may have waited for its turn until after it was judged.
  if (tx.now() > once.until) return fail(reason, "its time has passed", json::object({{"code", late}}));
  CALYX_TRY(const bool spent, tx.store().nonces().spent(once.account, once.nonce, once.until));
  if (spent) return fail(reason, "it counts once, and came before", json::object({{"code", again}}));
  CALYX_TRY(const std::optional<Instant> full,
            tx.store().nonces().full_until(once.account, tx.now(), nonces_kept_max));
  if (full)
    return fail(Reason::too_many_nonces,
                "the address signed " + std::to_string(nonces_kept_max) +
                    " times within the time that a signature has: a key asks as often as it likes",
                json::object({{"limit", nonces_kept_max},
                              {"retry_after_s", (full->us - tx.now().us) / core::us_per_second + 1}}));
  return tx.change_nonces().keep(once.account, once.nonce, once.until, tx.now());
}

}  // namespace

Result<const WalletState*> wallet_or_room(const Book& book, const std::string& account, Instant now) {
  const WalletState* const wallet = wallet_of(book, account);
  if (wallet == nullptr) CALYX_CHECK(check_pace(book, now));
  return wallet;
}

Result<const WalletState*> open_wallet(Transaction& tx, const std::string& account, AccountNumber by) {
  const Book& book = tx.book();
  CALYX_CHECK(tx.append(WalletCreatedEvent{.wallet = book.next_wallet(),
                                           .owner_type = OwnerType::human,
                                           .owner_id = account,
                                           .parent = 0,
                                           .policy = {},
                                           .once = {},
                                           .by = by}));
  return wallet_of(book, account);
}

bool is_whitelisted(const Book& book, const std::string& account) {
  const WalletState* const wallet = wallet_of(book, account);
  return wallet != nullptr && wallet->whitelisted;
}

Result<Principal> admit(Transaction& tx, const SignedOnce& once, Whitelist whitelist) {
  if (whitelist == Whitelist::needed && !is_whitelisted(tx.book(), once.account))
    return not_whitelisted(once.account);
  CALYX_TRY(const WalletState* wallet, wallet_or_room(tx.book(), once.account, tx.now()));
  CALYX_CHECK(take_nonce(tx, once, Reason::signature_invalid, "nonce_used", "stale"));
  if (wallet == nullptr) {
    CALYX_TRY(wallet, open_wallet(tx, once.account, tx.book().next_wallet()));
  }
  return Principal{.role = Role::human, .wallet = wallet->id, .key = {}, .whitelisted = wallet->whitelisted};
}

Result<KeyIssued> sign_in(Transaction& tx, const SignedOnce& once) {
  const WalletState* const wallet = wallet_of(tx.book(), once.account);
  if (wallet == nullptr || !wallet->whitelisted) return not_whitelisted(once.account);
  CALYX_CHECK(take_nonce(tx, once, Reason::challenge_invalid, "used", "expired"));
  return open_session(tx, *wallet);
}

Result<Wallet> whitelist(Transaction& tx, const Principal& principal, const std::string& account,
                         bool allowed) {
  CALYX_TRY(const Caller caller, authorize(tx.book(), principal));
  CALYX_CHECK(operator_only(caller));
  const WalletState* wallet = wallet_of(tx.book(), account);
  if (wallet == nullptr) {
    CALYX_TRY(wallet, open_wallet(tx, account, caller.wallet));
  }
  const AccountNumber number = wallet->number;
  if (wallet->whitelisted != allowed) CALYX_CHECK(tx.append(WalletWhitelisted{number, allowed}));
  return tx.book().view(*tx.book().wallet(number), tx.now());
}

}  // namespace calyx::services
