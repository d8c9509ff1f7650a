#include "services/access.hpp"

#include <algorithm>
#include <calyx/core/evm.hpp>
#include <calyx/core/solana.hpp>
#include <set>

namespace calyx::services {
namespace {

namespace json = core::json;

bool has_control(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return true;
    // U+0080 to U+009F are spelled C2 80 to C2 9F.
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return true;
  }
  return false;
}

Result<const WalletState*> known(const Book& book, const WalletId& id) {
  const WalletState* wallet = book.find(id);
  if (wallet == nullptr)
    return fail(Reason::wallet_unknown, "no wallet " + id.text(), json::object({{"wallet_id", id.text()}}));
  return wallet;
}

Error key_limited(const char* limit, std::string message) {
  return fail(Reason::key_limited, std::move(message), json::object({{"limit", limit}}));
}

Error not_yours(const WalletId& id) {
  return fail(Reason::not_your_wallet, "this key does not reach " + id.text(),
              json::object({{"wallet_id", id.text()}}));
}

}  // namespace

Error no_such_key() { return fail(Reason::unauthorized, "the API key is unknown or revoked"); }

Principal principal_of(const Book& book, const KeyState& key) {
  Principal out{.key = key.id};
  if (const WalletState* wallet = book.wallet(key.wallet)) {
    out.role = wallet->owner_type == OwnerType::human ? Role::human : Role::agent;
    out.wallet = wallet->id;
    out.whitelisted = whitelisted(book, *wallet);
  }
  return out;
}

Result<Caller> authorize(const Book& book, const Principal& principal, For keys) {
  if (!principal.key && !principal.wallet) return Caller{};
  const KeyState* key = principal.key ? book.find(*principal.key) : nullptr;
  if (principal.key && (key == nullptr || !key->good(book.at))) return no_such_key();
  Caller caller{.blocks = principal.blocks.get()};
  if (caller.blocks != nullptr) {
    // The book's time is that of its last event, at which one that is good now may not have been good yet.
    if (core::over(*caller.blocks, book.at)) return no_such_key();
    if (keys != For::derived_keys) return key_limited("operation", "a derived key does not do this");
  }
  if (key != nullptr) {
    caller.key = static_cast<std::int64_t>(key->id.number());
    caller.key_kind = key->kind;
    if (key->wallet == 0) return caller;
  }
  const WalletState* wallet = key == nullptr ? book.find(*principal.wallet) : book.wallet(key->wallet);
  if (wallet == nullptr) return no_such_key();
  caller.role = wallet->owner_type == OwnerType::human ? Role::human : Role::agent;
  caller.wallet = wallet->number;
  return caller;
}

Result<Done> check_limits(const Caller& caller, const SpendsOn& on, Instant now) {
  if (caller.blocks == nullptr) return Done{};
  if (!core::in_time(*caller.blocks, now)) return no_such_key();
  for (const core::KeyBlock& block : *caller.blocks) {
    const KeyLimits& limits = block.limits;
    const auto within = [](const auto& list, const auto& one) {
      return std::find(list.begin(), list.end(), one) != list.end();
    };
    if (limits.allowed_recipes && !within(*limits.allowed_recipes, on.recipe))
      return key_limited("allowed_recipes", on.recipe.empty() ? "this key is for jobs of recipes alone"
                                                              : "this key is not for jobs of the recipe");
    if (!limits.allowed_payees) continue;
    if (on.payees.empty())
      return key_limited("allowed_payees",
                         "the call must name who may be paid: not everybody under this key");
    for (const WalletId& payee : on.payees)
      if (!within(*limits.allowed_payees, payee))
        return key_limited("allowed_payees", "nothing may be paid to " + payee.text() + " under this key");
  }
  return Done{};
}

std::vector<core::Digest> ids_of(const core::KeyBlocks* blocks) {
  std::vector<core::Digest> out;
  if (blocks != nullptr)
    for (const core::KeyBlock& block : *blocks) out.push_back(block.id);
  return out;
}

Result<Done> may_end(const Book& book, const Caller& caller, Seq lock, Instant now) {
  if (caller.blocks == nullptr) return Done{};
  if (!core::in_time(*caller.blocks, now)) return no_such_key();
  const auto under = book.locks_under.find(lock);
  if (under != book.locks_under.end() &&
      std::find(under->second.begin(), under->second.end(), caller.blocks->back().id) != under->second.end())
    return Done{};
  return key_limited("operation", "a derived key ends what itself began, or one derived from it");
}

Result<Done> operator_only(const Caller& caller) {
  if (caller.is_operator()) return Done{};
  return fail(Reason::operator_only, "only an operator's key may do this",
              json::object({{"role", caller.role == Role::human ? "human" : "agent"}}));
}

bool whitelisted(const Book& book, const WalletState& wallet) noexcept {
  const WalletState* const above = book.wallet(wallet.parent);
  return above == nullptr ? wallet.whitelisted : above->whitelisted;
}

Result<Done> may_run_jobs(const Book& book, const Caller& caller) {
  const WalletState* const wallet = book.wallet(caller.wallet);
  if (wallet == nullptr || whitelisted(book, *wallet)) return Done{};
  return not_whitelisted(wallet->owner_id);
}

Result<Done> check_owner(const Book& book, const std::string& owner_id) {
  namespace signing = core::request_signature;
  const auto address = signing::address_in(owner_id);
  if (!address) return Done{};
  const auto evm = core::read_evm_address(*address);
  const auto solana = core::solana::read_address(*address);
  if (owner_id != (evm      ? signing::account_of(signing::Chain::base, core::lower_text(*evm))
                   : solana ? signing::account_of(signing::Chain::solana, core::solana::text(*solana))
                            : std::string()))
    return field_error(Reason::field_value, "/owner_id",
                       "names an account by CAIP-10, but not as signatures do: in lower case on EVM chains");
  const auto found = book.wallet_by_address.find(owner_id);
  if (found == book.wallet_by_address.end()) return Done{};
  const WalletId id = book.wallet(found->second)->id;
  return fail(Reason::wallet_exists, "the address has the wallet " + id.text() + ": put it on the whitelist",
              json::object({{"wallet_id", id.text()}}));
}

Result<Done> may_grow(const Book& book, const WalletState& wallet) {
  if (whitelisted(book, wallet) || std::max(wallet.children.size(), wallet.keys.size()) < of_strangers_max)
    return Done{};
  return fail(
      Reason::not_whitelisted,
      "a wallet that is not on the whitelist has at most " + std::to_string(of_strangers_max) +
          " agents, and keys",
      json::object({{"owner_id", wallet.owner_id}, {"limit", static_cast<std::int64_t>(of_strangers_max)}}));
}

Error not_whitelisted(std::string_view owner_id) {
  return fail(Reason::not_whitelisted, "no operator has put this wallet on the whitelist",
              json::object({{"owner_id", owner_id}}));
}

Error signature_needed(const char* says) { return fail(Reason::signature_needed, says); }

Result<Done> may_change_keys(const Caller& caller) {
  if (is_managed(caller.key_kind)) return Done{};
  return signature_needed("this key makes and revokes no keys: the wallet's owner signs for that");
}

Result<const WalletState*> readable(const Book& book, const Caller& caller, const WalletId& id) {
  CALYX_TRY(const WalletState* wallet, known(book, id));
  if (caller.is_operator() || wallet->number == caller.wallet) return wallet;
  if (caller.role == Role::human && wallet->parent == caller.wallet) return wallet;
  return not_yours(id);
}

Result<const WalletState*> spendable(const Book& book, const Caller& caller, const WalletId& id) {
  CALYX_TRY(const WalletState* wallet, known(book, id));
  if (caller.is_operator() || wallet->number == caller.wallet) return wallet;
  return not_yours(id);
}

Result<const WalletState*> manageable(const Book& book, const Caller& caller, const WalletId& id, Own own) {
  CALYX_TRY(const WalletState* wallet, readable(book, caller, id));
  if (caller.is_operator()) return wallet;
  if (caller.role != Role::human)
    return fail(Reason::human_only, "an agent's key may not do this",
                json::object({{"role", "agent"}, {"wallet_id", id.text()}}));
  if (wallet->number == caller.wallet && own == Own::refused)
    return fail(Reason::operator_only, "for a human's own wallet only an operator may do this",
                json::object({{"role", "human"}, {"wallet_id", id.text()}}));
  return wallet;
}

Error field_error(Reason reason, std::string_view field, std::string message) {
  return fail(reason, std::move(message), json::object({{"field", field}}));
}

Result<Money> read_amount(std::string_view field, const json::Value& value) {
  core::MoneyReading reading;
  if (const std::int64_t* integer = value.integer()) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, *integer).ptr;
    reading = core::read_money({digits, static_cast<std::size_t>(end - digits)});
  } else if (const json::Real* real = value.real()) {
    // A value that was made in process has no digits of its own: its shortest spelling is meant.
    reading = core::read_money(real->token.empty() ? json::canonical(value) : real->token);
  } else if (const std::string* text = value.string()) {
    reading = core::read_money(*text);
  } else {
    return field_error(Reason::field_type, field, "must be a number or a decimal string");
  }
  if (reading.fault == core::MoneyFault::none) return reading.money;
  return field_error(core::reason_of(reading.fault), field, std::string(core::message_of(reading.fault)));
}

Result<Done> check_key_text(std::string_view field, std::string_view text, Empty empty) {
  if (text.empty() && empty == Empty::allowed) return Done{};
  const bool shaped = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x21 && c <= 0x7E; });
  if (!text.empty() && text.size() <= key_text_max && shaped) return Done{};
  return field_error(Reason::field_value, field,
                     "has " + std::to_string(text.size()) + " bytes, takes 1 to 128 of 0x21-0x7E");
}

Result<Done> check_name(std::string_view field, std::string_view text, std::size_t max, Empty empty) {
  if (text.empty() && empty == Empty::allowed) return Done{};
  if (!text.empty() && text.size() <= max && json::valid_utf8(text) && !has_control(text)) return Done{};
  return field_error(Reason::field_value, field,
                     "has " + std::to_string(text.size()) + " bytes, takes 1 to " + std::to_string(max) +
                         " of UTF-8 without control characters");
}

Result<Done> check_amount(std::string_view field, Money amount) {
  if (amount.micro == 0) return field_error(Reason::amount_zero, field, "is 0, must be more");
  if (amount.micro < 0)
    return field_error(Reason::amount_negative, field, "is " + say(amount) + ", must be more than 0");
  if (amount > core::amount_max)
    return field_error(Reason::amount_out_of_range, field,
                       "is " + say(amount) + ", at most " + say(core::amount_max));
  return Done{};
}

Result<Done> check_policy(const Policy& policy) {
  const auto rule = [](std::string_view field, const std::optional<Money>& value) -> Result<Done> {
    if (!value) return Done{};
    if (value->micro < 0)
      return field_error(Reason::amount_negative, field, "is " + say(*value) + ", at least 0");
    if (*value > core::amount_max)
      return field_error(Reason::amount_out_of_range, field,
                         "is " + say(*value) + ", at most " + say(core::amount_max));
    return Done{};
  };
  CALYX_CHECK(rule("/spend_cap_per_job", policy.spend_cap_per_job));
  CALYX_CHECK(rule("/spend_cap_per_hour", policy.spend_cap_per_hour));
  CALYX_CHECK(rule("/approval_threshold", policy.approval_threshold));
  if (!policy.allowed_gpu_types) return Done{};
  const auto& list = *policy.allowed_gpu_types;
  if (list.size() > gpu_types_max)
    return field_error(
        Reason::field_value, "/allowed_gpu_types",
        "has " + std::to_string(list.size()) + " models, takes " + std::to_string(gpu_types_max));
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string field = "/allowed_gpu_types/" + std::to_string(i);
    CALYX_CHECK(check_name(field, list[i], key_text_max));
    if (!seen.insert(list[i]).second) return field_error(Reason::field_value, field, "names a model twice");
  }
  return Done{};
}

Error reused(Reason reason, std::string_view field) {
  return fail(reason, "was used before with another " + std::string(field),
              json::object({{"field", "/" + std::string(field)}}));
}

Error reused(Reason reason, std::string_view field, std::string_view was, std::string_view is) {
  Error out = reused(reason, field);
  out.message.append(": ").append(was).append(", now ").append(is);
  json::Object& details = *out.details.object();
  details.set("was", was);
  details.set("is", is);
  return out;
}

Error reused(Reason reason, std::string_view field, Money was, Money is) {
  Error out = reused(reason, field, say(was), say(is));
  json::Object& details = *out.details.object();
  *details.find("was") = number(was);
  *details.find("is") = number(is);
  return out;
}

Error reused(Reason reason, std::string_view field, const Book& book, AccountNumber was, AccountNumber is) {
  return reused(reason, field, book.wallet(was)->id.text(), book.wallet(is)->id.text());
}

Error expired(Reason reason, std::string_view what, Instant at) {
  const std::string text = core::iso_text(at);
  return fail(reason, std::string(what) + " expired at " + text, json::object({{"expires_at", text}}));
}

std::string say(Money money) {
  std::string out;
  core::append_money(out, money, 0);
  return out;
}

core::json::Value number(Money money) { return json::Value::number_token(core::wire_text(money)); }

}  // namespace calyx::services
