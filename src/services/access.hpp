/// \file
/// Who asks, what they may touch, and whether their words have the shape they should.
#pragma once

#include <calyx/session.hpp>
#include <span>

#include "services/book.hpp"

namespace calyx::services {

/// A principal whose key was found good just now.
struct Caller {
  Role role = Role::operator_;
  AccountNumber wallet = 0;  ///< 0 for the operator.
  std::int64_t key = 0;      ///< Its number; 0 for the operator in process, and where an owner signed.
  KeyKind key_kind = KeyKind::api;
  const core::KeyBlocks* blocks = nullptr;  ///< Of a derived key; the principal's. Null: of none.

  bool is_operator() const noexcept { return role == Role::operator_; }
  bool signed_by_owner() const noexcept { return !is_operator() && key == 0; }
};

/// What a derived key does (`derive_key`), and all the rest, which a new call is part of until it says so.
enum class For : std::uint8_t { whole_keys, derived_keys };

/// Whose `key` is.
Principal principal_of(const Book& book, const KeyState& key);
/// The one word for a key that is unknown, revoked or over: who holds it is told no more.
Error no_such_key();

/// Fails: `unauthorized` when the key behind the session was revoked meanwhile, or ended before the last
/// event; `key_limited`.
Result<Caller> authorize(const Book& book, const Principal& principal, For keys = For::whole_keys);

/// What a call of `caller` would spend on, besides money and GPUs, whose rules `pass_policy` judges.
struct SpendsOn {
  std::string_view recipe{};           ///< Empty: none.
  std::span<const WalletId> payees{};  ///< Who may be paid; none: anybody.
};
/// Fails: `unauthorized` outside of the key's time; `key_limited`, with the limit as `limit` in the details.
Result<Done> check_limits(const Caller& caller, const SpendsOn& on, Instant now);
/// The names of a derived key's blocks, for the event of what it spends.
std::vector<core::Digest> ids_of(const core::KeyBlocks* blocks);
/// Whether `caller` may end the lock `seq`: a derived key ends what it, or one derived from it, began.
/// Fails: `unauthorized` outside of the key's time; `key_limited`.
Result<Done> may_end(const Book& book, const Caller& caller, Seq lock, Instant now);

/// Fails: `operator_only`.
Result<Done> operator_only(const Caller& caller);

/// Wallets beneath one that is not on the whitelist, and keys that it is ever given: a stranger's signature
/// may bring so much for good, and no more.
inline constexpr std::size_t of_strangers_max = 16;
/// Fails: `not_whitelisted`, where a stranger's `wallet` has its share.
Result<Done> may_grow(const Book& book, const WalletState& wallet);

/// Whether a human's wallet may be opened for `owner_id`: an address of another chain has one spelling and
/// one wallet (identity.hpp). Fails: `field_value`, `wallet_exists`.
Result<Done> check_owner(const Book& book, const std::string& owner_id);

/// Whether `wallet` may run jobs; an agent's where the human above it may.
bool whitelisted(const Book& book, const WalletState& wallet) noexcept;
/// Fails: `not_whitelisted`.
Result<Done> may_run_jobs(const Book& book, const Caller& caller);
Error not_whitelisted(std::string_view owner_id);

/// A key for an agent makes and unmakes no keys, and so no wallets; nor does a session, which ends.
/// Fails: `signature_needed`.
Result<Done> may_change_keys(const Caller& caller);
Error signature_needed(const char* says);

/// The wallet, for a caller who may read it: the operator, its own key, its parent's.
/// Fails: `wallet_unknown`, `not_your_wallet`.
Result<const WalletState*> readable(const Book& book, const Caller& caller, const WalletId& id);

/// The wallet, for a caller who may move its money: the operator, or its own key.
Result<const WalletState*> spendable(const Book& book, const Caller& caller, const WalletId& id);

/// The wallet, for a caller who may change it: the operator, or the human above it; for `Own::allowed` also
/// the human itself. An agent manages nothing. Fails also: `human_only`.
enum class Own : std::uint8_t { allowed, refused };
Result<const WalletState*> manageable(const Book& book, const Caller& caller, const WalletId& id, Own own);

// ── shapes; `field` is the JSON pointer that an error names ──

inline constexpr std::size_t key_text_max = 128;
inline constexpr std::size_t name_max = 256;
inline constexpr std::size_t label_max = 64;
inline constexpr std::size_t gpu_types_max = 64;
inline constexpr std::int64_t expires_in_s_max = 31'536'000;
inline constexpr std::int64_t integer_max = (std::int64_t{1} << 53) - 1;

enum class Empty : std::uint8_t { allowed, refused };
/// 1 to 128 bytes of 0x21-0x7E: job ids, references, idempotency keys.
Result<Done> check_key_text(std::string_view field, std::string_view text, Empty empty);
/// 1 to `max` bytes of UTF-8 without control characters.
Result<Done> check_name(std::string_view field, std::string_view text, std::size_t max,
                        Empty empty = Empty::refused);
/// More than nothing, and at most `amount_max`.
Result<Done> check_amount(std::string_view field, Money amount);
Result<Done> check_policy(const Policy& policy);

/// An amount as a JSON number or a decimal string, from its digits. Fails: `field_type`, `amount_…`.
Result<Money> read_amount(std::string_view field, const core::json::Value& value);

Error field_error(Reason reason, std::string_view field, std::string message);

/// The conflict that a key used for something else is; `field` is the first that differs.
Error reused(Reason reason, std::string_view field);
/// The same with what it was, and what it is now.
Error reused(Reason reason, std::string_view field, std::string_view was, std::string_view is);
Error reused(Reason reason, std::string_view field, Money was, Money is);
Error reused(Reason reason, std::string_view field, const Book& book, AccountNumber was, AccountNumber is);

/// `what`, "the approval", whose time is over since `at`.
Error expired(Reason reason, std::string_view what, Instant at);

/// An amount as messages say it (`6`, `0.5`) and as details hold it (a number of the wire).
std::string say(Money money);
core::json::Value number(Money money);

}  // namespace calyx::services
