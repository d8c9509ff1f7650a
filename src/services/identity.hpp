/// \file
/// Addresses as principals: their wallets, the whitelist, and signatures that count once.
#pragma once

#include <calyx/identity.hpp>

#include "services/services.hpp"

namespace calyx::services {

/// A signature that was found good: whose, and what may not come again until when.
struct SignedOnce {
  std::string account;  ///< By CAIP-10.
  std::string nonce;
  Instant until;
};

/// Whether the wallet of `account` is there, and on the whitelist.
bool is_whitelisted(const Book& book, const std::string& account);

/// The wallet of `account`; null where it may be given one. Fails: `too_many_wallets`.
Result<const WalletState*> wallet_or_room(const Book& book, const std::string& account, Instant now);
/// Opens the wallet of `account`, which has none. `by`: who does; the next wallet's number for its owner.
Result<const WalletState*> open_wallet(Transaction& tx, const std::string& account, AccountNumber by);

enum class Whitelist : std::uint8_t { needed, not_needed };

/// The wallet of `once.account`, opened if need be; the nonce is taken.
/// Fails, and writes nothing: `signature_invalid` (`nonce_used`, `stale`), `not_whitelisted`,
/// `too_many_wallets`, `too_many_nonces`.
Result<Principal> admit(Transaction& tx, const SignedOnce& once, Whitelist whitelist);

/// A session's key for a wallet that is on the whitelist; the challenge is used up.
/// Fails, and writes nothing: `not_whitelisted`; `challenge_invalid` (`used`, `expired`);
/// `too_many_nonces`.
Result<KeyIssued> sign_in(Transaction& tx, const SignedOnce& once);

/// Puts the wallet of `account` on the whitelist, opened if need be, or takes it off. An operator's.
Result<Wallet> whitelist(Transaction& tx, const Principal& principal, const std::string& account,
                         bool allowed);

}  // namespace calyx::services
