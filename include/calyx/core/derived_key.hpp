/// \file
/// Derived keys: whoever holds an API key makes, offline, one that may do less, and hands it on.
///
/// A derived key is a chain of blocks. Each states limits and names the next public key, and is signed with
/// the key that the block before it names; the first, with the one that the API key's secret gives. Its
/// holder has the secret of the last of them, so that it may add a block and can take none away, and all
/// blocks bind. It is the construction of Biscuit (biscuitsec.org), with limits in place of Datalog.
///
/// Text: `cyx_der_` ROOT `.` BLOCK … `.` SECRET, and BLOCK is LIMITS `~` NEXT `~` SIGNATURE: each in
/// base64url. ROOT and NEXT are Ed25519 public keys, SECRET a seed, LIMITS the RFC 8785 JSON of
/// `limits_document`. What is signed are the octets of `calyx/derived-key/1` and a line feed, of the
/// signature before (none for the first), of NEXT, and of the JSON.
///
/// The seed of ROOT is the 32-byte BLAKE2b of the API key's text, under the key `calyx/delegate`: an engine
/// keeps ROOT beside the key's hash, and holds nothing by which it could make one itself.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/ids.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/policy.hpp>
#include <calyx/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx {

/// What a derived key allows; what is absent binds nothing. AP2's names for it, where it has one, stand in
/// `limits_document`. Units: micro-FLOPS.
struct KeyLimits {
  /// Caps a job and an hour, the threshold above which somebody must approve, and GPUs: as a wallet's policy,
  /// but that the hour counts what this key spent.
  Policy policy{};
  std::optional<Money> budget{};  ///< All that it may ever spend, less what came back.
  std::optional<std::vector<std::string>> allowed_recipes{};  ///< Then it runs jobs of these alone.
  std::optional<std::vector<WalletId>> allowed_payees{};      ///< The hosts that may be paid.
  std::optional<Instant> not_before{};                        ///< Kept in whole seconds, as the next.
  std::optional<Instant> not_after{};                         ///< The last instant at which it is good.

  bool operator==(const KeyLimits&) const = default;
};

namespace core {

/// A block that was found good.
struct KeyBlock {
  Digest id{};  ///< SHA-256 of its signature: what is spent under it is counted by that.
  KeyLimits limits{};
};
/// The blocks of a derived key, the widest first.
using KeyBlocks = std::vector<KeyBlock>;

inline constexpr std::string_view derived_key_prefix = "cyx_der_";
inline constexpr std::string_view derived_key_context = "calyx/derived-key/1\n";
inline constexpr std::size_t key_blocks_max = 8;
inline constexpr std::size_t key_list_max = 64;            ///< Names in one list.
inline constexpr std::size_t key_limits_bytes_max = 2048;  ///< Of one block's JSON.
inline constexpr std::size_t derived_key_bytes_max = 8192;

/// Whether the API key `text` is to be read as a derived one.
constexpr bool is_derived_key(std::string_view text) noexcept {
  return text.substr(0, derived_key_prefix.size()) == derived_key_prefix;
}

/// A derived key as its text has it: nothing of it was judged.
struct DerivedKey {
  struct Block {
    std::string limits;  ///< JSON.
    PublicKey next{};
    Signature signature{};
  };
  PublicKey root{};
  std::vector<Block> blocks;
  std::array<std::uint8_t, 32> secret{};  ///< The seed of the last block's `next`; of `root` without blocks.
};

/// The limits as one JSON object. What a payment mandate of AP2 constrains has its name: `allowed_payees`,
/// `amount_range` (its `max`), `budget` (its `max`), `execution_date` (`not_before`, `not_after`); amounts
/// are FLOPS as decimal strings.
inline json::Value limits_document(const KeyLimits& limits) {
  json::Object out;
  const auto money = [](Money amount) { return json::Value(money_text(amount)); };
  const auto texts = [](const auto& list, auto&& text_of) {
    json::Array array;
    for (const auto& one : list) array.emplace_back(text_of(one));
    return json::Value(std::move(array));
  };
  const auto same = [](const std::string& text) { return text; };
  const Policy& policy = limits.policy;
  if (policy.allowed_gpu_types) out.set("allowed_gpu_types", texts(*policy.allowed_gpu_types, same));
  if (limits.allowed_payees)
    out.set("allowed_payees", texts(*limits.allowed_payees, [](const WalletId& id) { return id.text(); }));
  if (limits.allowed_recipes) out.set("allowed_recipes", texts(*limits.allowed_recipes, same));
  if (policy.spend_cap_per_job)
    out.set("amount_range", json::object({{"max", money(*policy.spend_cap_per_job)}}));
  if (policy.approval_threshold) out.set("approval_threshold", money(*policy.approval_threshold));
  if (limits.budget) out.set("budget", json::object({{"max", money(*limits.budget)}}));
  if (limits.not_before || limits.not_after) {
    json::Object date;
    if (limits.not_after) date.set("not_after", iso_text(*limits.not_after));
    // Rounded up: a key is good no earlier than it was meant to be.
    if (limits.not_before)
      date.set("not_before", iso_text(Instant{limits.not_before->us + us_per_second - 1}));
    out.set("execution_date", std::move(date));
  }
  if (policy.spend_cap_per_hour) out.set("spend_cap_per_hour", money(*policy.spend_cap_per_hour));
  return json::Value(std::move(out));
}

/// The first member of `limits` that no key may say, as a JSON pointer into `limits_document`; empty when all
/// is well. Amounts are at least 0 and at most `amount_max`, lists of at most `key_list_max` names of 1 to
/// 128 bytes of UTF-8, instants of years from 1970 to 9999.
inline std::string_view limits_fault(const KeyLimits& limits) {
  const auto money = [](const std::optional<Money>& amount) {
    return !amount || (amount->micro >= 0 && *amount <= amount_max);
  };
  const auto names = [](const std::optional<std::vector<std::string>>& list) {
    return !list || (list->size() <= key_list_max && std::all_of(list->begin(), list->end(), [](auto& name) {
                       return !name.empty() && name.size() <= 128 && json::valid_utf8(name);
                     }));
  };
  const auto instant = [](const std::optional<Instant>& at) {
    return !at || (at->us >= 0 && *at <= instant_max);
  };
  if (!names(limits.policy.allowed_gpu_types)) return "/allowed_gpu_types";
  if (limits.allowed_payees && limits.allowed_payees->size() > key_list_max) return "/allowed_payees";
  if (!names(limits.allowed_recipes)) return "/allowed_recipes";
  if (!money(limits.policy.spend_cap_per_job)) return "/amount_range/max";
  if (!money(limits.policy.approval_threshold)) return "/approval_threshold";
  if (!money(limits.budget)) return "/budget/max";
  if (!instant(limits.not_after)) return "/execution_date/not_after";
  if (!instant(limits.not_before)) return "/execution_date/not_before";
  if (!money(limits.policy.spend_cap_per_hour)) return "/spend_cap_per_hour";
  return {};
}

namespace detail {

/// Reads members; where the first is that cannot be read, or that nobody asked for, is remembered.
class LimitsReader {
 public:
  LimitsReader(const json::Value& value, std::string base, std::string& bad_at)
      : object_(value.object()), base_(std::move(base)), bad_at_(bad_at) {
    if (object_ == nullptr && bad_at_.empty()) bad_at_ = base_.empty() ? "/" : base_;
  }

  std::optional<Money> money(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    const std::string text = found->string() != nullptr    ? *found->string()
                             : found->integer() != nullptr ? json::text(*found)
                                                           : std::string();
    const MoneyReading reading = read_money(text);
    if (reading.fault != MoneyFault::none) bad(key);
    return reading.money;
  }
  std::optional<Instant> instant(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    const auto at = found->string() == nullptr ? std::nullopt : read_iso(*found->string());
    if (!at) bad(key);
    return at;
  }
  template <class Item, class Read>
  std::optional<std::vector<Item>> list(std::string_view key, const Read& read_item) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    std::vector<Item> out;
    if (found->array() == nullptr || found->array()->size() > key_list_max) return bad(key), out;
    for (const json::Value& one : *found->array()) {
      const std::optional<Item> item = one.string() == nullptr ? std::nullopt : read_item(*one.string());
      if (!item) return bad(key), out;
      out.push_back(*item);
    }
    return out;
  }
  /// The object at `key`, read by `each`, which is not asked where there is none. An empty one says nothing,
  /// and was meant to say something.
  template <class Each>
  void object(std::string_view key, const Each& each) {
    const json::Value* found = find(key);
    if (found == nullptr) return;
    LimitsReader inner(*found, base_ + "/" + std::string(key), bad_at_);
    each(inner);
    inner.end();
    if (found->object() != nullptr && found->object()->empty()) bad(key);
  }
  void end() {
    if (object_ == nullptr) return;
    for (const json::Member& member : *object_)
      if (std::find(asked_.begin(), asked_.end(), member.key) == asked_.end()) bad(member.key);
  }

 private:
  const json::Value* find(std::string_view key) {
    asked_.push_back(key);
    return object_ == nullptr ? nullptr : object_->find(key);
  }
  void bad(std::string_view key) {
    if (bad_at_.empty()) bad_at_ = base_ + "/" + std::string(key.substr(0, 128));
  }
  const json::Object* object_;
  std::string base_;
  std::string& bad_at_;
  std::vector<std::string_view> asked_;
};

}  // namespace detail

/// The limits that `document` states in the members of `limits_document`, amounts also as integers; or
/// nothing, and `bad_at` is the JSON pointer of the first member that is wrong. One that nobody knows is: it
/// may be one that would have bound.
inline std::optional<KeyLimits> read_limits(const json::Value& document, std::string& bad_at) {
  const auto same = [](const std::string& text) { return std::optional<std::string>(text); };
  KeyLimits out;
  bad_at.clear();
  detail::LimitsReader reader(document, {}, bad_at);
  out.policy.allowed_gpu_types = reader.list<std::string>("allowed_gpu_types", same);
  out.allowed_payees =
      reader.list<WalletId>("allowed_payees", [](const std::string& text) { return WalletId::read(text); });
  out.allowed_recipes = reader.list<std::string>("allowed_recipes", same);
  reader.object("amount_range", [&](auto& inner) { out.policy.spend_cap_per_job = inner.money("max"); });
  out.policy.approval_threshold = reader.money("approval_threshold");
  reader.object("budget", [&](auto& inner) { out.budget = inner.money("max"); });
  reader.object("execution_date", [&](auto& inner) {
    out.not_after = inner.instant("not_after");
    out.not_before = inner.instant("not_before");
  });
  out.policy.spend_cap_per_hour = reader.money("spend_cap_per_hour");
  reader.end();
  if (bad_at.empty()) bad_at = limits_fault(out);
  return bad_at.empty() ? std::optional<KeyLimits>(std::move(out)) : std::nullopt;
}

/// What the signature of a block after `before` (null: the first) is over.
inline std::string block_signing_input(const Signature* before, const PublicKey& next,
                                       std::string_view limits) {
  std::string out(derived_key_context);
  if (before != nullptr) out.append(chars(*before));
  return out.append(chars(next)).append(limits);
}

inline std::string derived_key_text(const DerivedKey& key) {
  std::string out(derived_key_prefix);
  append_base64url(out, chars(key.root));
  for (const DerivedKey::Block& block : key.blocks) {
    out.push_back('.');
    append_base64url(out, block.limits);
    out.push_back('~');
    append_base64url(out, chars(block.next));
    out.push_back('~');
    append_base64url(out, chars(block.signature));
  }
  out.push_back('.');
  append_base64url(out, chars(key.secret));
  return out;
}

/// The parts of a derived key with one block at least, or nothing. What it costs is bounded by
/// `derived_key_bytes_max`.
inline std::optional<DerivedKey> read_derived_key(std::string_view text) {
  if (!is_derived_key(text) || text.size() > derived_key_bytes_max) return std::nullopt;
  text.remove_prefix(derived_key_prefix.size());
  const auto cut = [](std::string_view& from, char at) {
    const std::size_t end = std::min(from.find(at), from.size());
    const std::string_view out = part(from, 0, end);
    from = part(from, std::min(end + 1, from.size()));
    return out;
  };
  const auto read32 = [](std::string_view of) {
    const auto bytes = unbase64url(of);
    return bytes ? octets<32>(*bytes) : std::nullopt;
  };
  DerivedKey out;
  const auto root = read32(cut(text, '.'));
  if (!root) return std::nullopt;
  out.root = *root;
  while (text.find('.') != std::string_view::npos) {
    std::string_view block = cut(text, '.');
    if (out.blocks.size() == key_blocks_max) return std::nullopt;
    auto limits = unbase64url(cut(block, '~'));
    const auto next = read32(cut(block, '~'));
    const auto signature_bytes = unbase64url(block);
    const auto signature = signature_bytes ? octets<64>(*signature_bytes) : std::nullopt;
    if (!limits || limits->size() > key_limits_bytes_max || !next || !signature) return std::nullopt;
    out.blocks.push_back({*std::move(limits), *next, *signature});
  }
  const auto secret = read32(text);
  if (out.blocks.empty() || !secret) return std::nullopt;
  out.secret = *secret;
  return out;
}

/// Whether each block was signed by the key before it, and the holder has the secret of the last: `public_of`
/// gives a seed's public key.
template <Ed25519Check V, class PublicOf>
bool chain_holds(const DerivedKey& key, const V& verify, const PublicOf& public_of) {
  const PublicKey* signer = &key.root;
  const Signature* before = nullptr;
  for (const DerivedKey::Block& block : key.blocks) {
    if (!verify(*signer, block_signing_input(before, block.next, block.limits), block.signature))
      return false;
    signer = &block.next;
    before = &block.signature;
  }
  return public_of(key.secret) == *signer;
}

/// Whether the time of a key with these blocks is over at `now`.
inline bool over(const KeyBlocks& blocks, Instant now) noexcept {
  return std::any_of(blocks.begin(), blocks.end(), [&](const KeyBlock& block) {
    return block.limits.not_after && now.us >= block.limits.not_after->us + us_per_second;
  });
}

/// Whether a key with these blocks is good at `now`.
inline bool in_time(const KeyBlocks& blocks, Instant now) noexcept {
  return !over(blocks, now) && std::all_of(blocks.begin(), blocks.end(), [&](const KeyBlock& block) {
    return !block.limits.not_before || *block.limits.not_before <= now;
  });
}

}  // namespace core
}  // namespace calyx
