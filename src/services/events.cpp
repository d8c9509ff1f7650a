#include "services/events.hpp"

#include <calyx/core/money.hpp>

#include "json/reader.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

/// Writes a canonical object member by member; the caller names them in the order RFC 8785 sorts them.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) { out_.push_back('{'); }
  void close() { out_.push_back('}'); }

  void put(std::string_view key, std::string_view text) {
    name(key);
    json::append_string(out_, text);
  }
  void put(std::string_view key, std::int64_t number) {
    name(key);
    json::append_integer(out_, number);
  }
  void put(std::string_view key, Money money) {
    name(key);
    out_.push_back('"');
    core::append_money(out_, money, 2);
    out_.push_back('"');
  }
  void put(std::string_view key, const core::Digest& digest) {
    name(key);
    out_.push_back('"');
    core::append_hex(out_, digest);
    out_.push_back('"');
  }
  /// What is absent, empty, zero or false is left out.
  void maybe(std::string_view key, const std::string& text) {
    if (!text.empty()) put(key, text);
  }
  void maybe(std::string_view key, const std::optional<std::string>& text) {
    if (text) put(key, *text);
  }
  void maybe(std::string_view key, std::int64_t number) {
    if (number != 0) put(key, number);
  }
  void maybe(std::string_view key, const std::optional<std::int64_t>& number) {
    if (number) put(key, *number);
  }
  void maybe(std::string_view key, const std::vector<core::Digest>& digests) {
    if (digests.empty()) return;
    name(key);
    char mark = '[';
    for (const core::Digest& digest : digests) {
      out_.push_back(mark);
      out_.push_back('"');
      core::append_hex(out_, digest);
      out_.push_back('"');
      mark = ',';
    }
    out_.push_back(']');
  }
  void flag(std::string_view key, bool truth) {
    if (!truth) return;
    name(key);
    out_ += "true";
  }
  void value(std::string_view key, const json::Value& value) {
    name(key);
    json::append_canonical(out_, value);
  }
  void policy(std::string_view key, const Policy& policy) {
    json::Object object;
    const auto money = [&](const char* rule, const std::optional<Money>& value) {
      if (value) object.set(rule, core::money_text(*value));
    };
    money("approval_threshold", policy.approval_threshold);
    money("spend_cap_per_hour", policy.spend_cap_per_hour);
    money("spend_cap_per_job", policy.spend_cap_per_job);
    if (policy.allowed_gpu_types) {
      json::Array list;
      for (const std::string& gpu : *policy.allowed_gpu_types) list.emplace_back(gpu);
      object.set("allowed_gpu_types", std::move(list));
    }
    if (!object.empty()) value(key, json::Value(std::move(object)));
  }

 private:
  void name(std::string_view key) {
    out_ += first_ ? "\"" : ",\"";
    first_ = false;
    out_ += key;
    out_ += "\":";
  }
  std::string& out_;
  bool first_ = true;
};

/// Reads members; the first that is not as we write it is remembered, and the rest reads as nothing.
class Reader {
 public:
  explicit Reader(const json::Value& value) : value_(value), good_(value.object() != nullptr) {}

  bool good() const noexcept { return good_ && taken_ == value_.object()->size(); }

  std::string text(std::string_view key) { return need(key, optional_text(key)); }
  std::optional<std::string> optional_text(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->string() == nullptr) return bad<std::string>();
    return *found->string();
  }
  std::string maybe_text(std::string_view key) { return optional_text(key).value_or(std::string()); }
  /// The one whose word stands there.
  template <class T>
  T one_of(std::string_view key, std::initializer_list<T> all) {
    return one_of_words(optional_text(key).value_or(std::string()), all);
  }
  /// The same where it may be absent, which means `otherwise`.
  template <class T>
  T maybe_one_of(std::string_view key, T otherwise, std::initializer_list<T> all) {
    const std::optional<std::string> text = optional_text(key);
    return text ? one_of_words(*text, all) : otherwise;
  }
  std::int64_t number(std::string_view key) { return need(key, optional_number(key)); }
  std::optional<std::int64_t> optional_number(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->integer() == nullptr) return bad<std::int64_t>();
    return *found->integer();
  }
  std::int64_t maybe_number(std::string_view key) { return optional_number(key).value_or(0); }
  Money money(std::string_view key) { return need(key, optional_money(key)); }
  std::optional<Money> optional_money(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    if (found->string() == nullptr) return bad<Money>();
    const core::MoneyReading reading = core::read_money(*found->string());
    if (reading.fault != core::MoneyFault::none) return bad<Money>();
    return reading.money;
  }
  core::Digest digest(std::string_view key) {
    const auto read = core::read_digest_hex(text(key));
    if (!read) good_ = false;
    return read.value_or(core::Digest{});
  }
  std::optional<core::Digest> optional_digest(std::string_view key) {
    const auto text = optional_text(key);
    const auto read = text ? core::read_digest_hex(*text) : std::nullopt;
    if (text && !read) good_ = false;
    return read;
  }
  /// A list of one at least, or nothing.
  std::vector<core::Digest> digests(std::string_view key) {
    std::vector<core::Digest> out;
    const json::Value* found = find(key);
    if (found == nullptr) return out;
    if (found->array() == nullptr || found->array()->empty()) return good_ = false, out;
    for (const json::Value& one : *found->array()) {
      const auto read = one.string() == nullptr ? std::nullopt : core::read_digest_hex(*one.string());
      if (!read) return good_ = false, out;
      out.push_back(*read);
    }
    return out;
  }
  bool flag(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return false;
    if (found->boolean() == nullptr || !*found->boolean()) good_ = false;
    return true;
  }
  std::vector<PaymentNetwork> networks(std::string_view key) {
    const json::Value* found = find(key);
    std::vector<PaymentNetwork> out;
    if (found == nullptr || found->array() == nullptr) {
      good_ = false;
      return out;
    }
    for (const json::Value& one : *found->array()) {
      Reader inner(one);
      good_ = good_ && inner.good_;
      if (!good_) return out;
      PaymentNetwork& network = out.emplace_back();
      network.asset = inner.text("asset");
      network.fee_payer = inner.text("fee_payer");
      network.network = inner.text("network");
      network.pay_to = inner.text("pay_to");
      if (!inner.good()) good_ = false;
    }
    return out;
  }
  std::optional<core::ReceiptWork> work(std::string_view key) {
    const json::Value* found = find(key);
    if (found == nullptr) return std::nullopt;
    Reader inner(*found);
    if (!inner.good_) return bad<core::ReceiptWork>();
    core::ReceiptWork work;
    work.kind = inner.text("kind");
    work.name = inner.text("name");
    work.version = inner.text("version");
    work.operation = inner.maybe_text("operation");
    const auto hash = core::read_output_hash(inner.text("input_hash"));
    if (!hash || !inner.good()) good_ = false;
    work.input_hash = hash.value_or(core::Digest{});
    return work;
  }
  std::map<std::string, Money> amounts(std::string_view key) {
    std::map<std::string, Money> out;
    const json::Value* found = find(key);
    if (found == nullptr || found->object() == nullptr) {
      good_ = false;
      return out;
    }
    for (const json::Member& member : *found->object()) {
      const core::MoneyReading reading =
          member.value.string() == nullptr ? core::MoneyReading{} : core::read_money(*member.value.string());
      if (member.value.string() == nullptr || reading.fault != core::MoneyFault::none) good_ = false;
      out.emplace(member.key, reading.money);
    }
    return out;
  }
  Policy policy(std::string_view key) {
    Policy policy;
    const json::Value* found = find(key);
    if (found == nullptr) return policy;
    Reader of(*found);
    if (!of.good_) return good_ = false, policy;
    policy.approval_threshold = of.optional_money("approval_threshold");
    policy.spend_cap_per_hour = of.optional_money("spend_cap_per_hour");
    policy.spend_cap_per_job = of.optional_money("spend_cap_per_job");
    if (const json::Value* list = of.find("allowed_gpu_types")) {
      policy.allowed_gpu_types.emplace();
      if (list->array() == nullptr) return good_ = false, policy;
      for (const json::Value& gpu : *list->array()) {
        if (gpu.string() == nullptr) return good_ = false, policy;
        policy.allowed_gpu_types->push_back(*gpu.string());
      }
    }
    if (!of.good()) good_ = false;
    return policy;
  }

 private:
  template <class T>
  T one_of_words(std::string_view text, std::initializer_list<T> all) {
    for (const T one : all)
      if (text == word(one)) return one;
    good_ = false;
    return T{};
  }
  const json::Value* find(std::string_view key) {
    if (!good_) return nullptr;
    const json::Value* found = value_.find(key);
    if (found != nullptr) ++taken_;
    return found;
  }
  template <class T>
  std::optional<T> bad() {
    good_ = false;
    return std::nullopt;
  }
  template <class T>
  T need(std::string_view, std::optional<T> value) {
    if (!value) good_ = false;
    return value ? std::move(*value) : T{};
  }
  const json::Value& value_;
  bool good_;
  std::size_t taken_ = 0;
};

struct KindOf {
  EventKind operator()(const SpendEvent&) const noexcept { return EventKind::spend; }
  EventKind operator()(const EarnEvent&) const noexcept { return EventKind::earn; }
  EventKind operator()(const ReleaseEvent&) const noexcept { return EventKind::release; }
  EventKind operator()(const ExpireEvent&) const noexcept { return EventKind::expire; }
  EventKind operator()(const BurnEvent&) const noexcept { return EventKind::burn; }
  EventKind operator()(const TransferEvent&) const noexcept { return EventKind::transfer; }
  EventKind operator()(const TopUpEvent&) const noexcept { return EventKind::topup; }
  EventKind operator()(const KeyBoundEvent&) const noexcept { return EventKind::key_bound; }
  EventKind operator()(const MarketCreated&) const noexcept { return EventKind::market_created; }
  EventKind operator()(const WalletCreatedEvent&) const noexcept { return EventKind::wallet_created; }
  EventKind operator()(const WalletChanged&) const noexcept { return EventKind::wallet_changed; }
  EventKind operator()(const KeyIssuedEvent&) const noexcept { return EventKind::key_issued; }
  EventKind operator()(const KeyRevokedEvent&) const noexcept { return EventKind::key_revoked; }
  EventKind operator()(const ApprovalRequested&) const noexcept { return EventKind::approval_requested; }
  EventKind operator()(const ApprovalDecided&) const noexcept { return EventKind::approval_decided; }
  EventKind operator()(const ApprovalUsed&) const noexcept { return EventKind::approval_used; }
  EventKind operator()(const GrantEvent&) const noexcept { return EventKind::grant; }
  EventKind operator()(const PayoutEvent&) const noexcept { return EventKind::payout; }
  EventKind operator()(const PayoutConfirmed&) const noexcept { return EventKind::payout_confirmed; }
  EventKind operator()(const PayoutFailed&) const noexcept { return EventKind::payout_failed; }
  EventKind operator()(const WaitlistJoined&) const noexcept { return EventKind::waitlist_joined; }
  EventKind operator()(const WaitlistApprovedEvent&) const noexcept { return EventKind::waitlist_approved; }
  EventKind operator()(const SigningKeyAdded&) const noexcept { return EventKind::signing_key_added; }
  EventKind operator()(const PricesSet&) const noexcept { return EventKind::prices_set; }
  EventKind operator()(const PaymentTermsSet&) const noexcept { return EventKind::payment_terms_set; }
  EventKind operator()(const WalletWhitelisted&) const noexcept { return EventKind::wallet_whitelisted; }
};

/// One overload an event, its members in the order of their keys.
struct Spell {
  Writer& out;

  void operator()(const SpendEvent& of) const {
    out.put("amount", of.amount);
    out.maybe("expires_in_s", of.expires_in_s);
    out.maybe("gpu_type", of.gpu_type);
    out.maybe("host", of.host);
    out.maybe("job", of.job);
    out.put("job_id", of.job_id);
    out.maybe("under", of.under);
    out.put("wallet", of.wallet);
  }
  void operator()(const EarnEvent& of) const {
    if (of.before.micro != 0) out.put("before", of.before);
    out.put("duration_seconds", of.duration_seconds);
    out.put("fee", of.fee);
    out.put("gpu_model", of.gpu_model);
    out.put("gross", of.gross);
    out.put("host", of.host);
    out.put("leaf", of.leaf);
    out.put("lock", of.lock);
    out.flag("more", of.more);
    out.put("net", of.net);
    out.put("output_hash", of.output_hash);
    if (of.work) out.value("work", core::receipt_work(*of.work));
  }
  void operator()(const ReleaseEvent& of) const { out.put("lock", of.lock); }
  void operator()(const ExpireEvent& of) const { out.put("lock", of.lock); }
  void operator()(const BurnEvent& of) const {
    out.put("job_id", of.job_id);
    out.put("wallet", of.wallet);
  }
  void operator()(const TransferEvent& of) const {
    out.put("amount", of.amount);
    out.maybe("by", of.by);
    out.put("from", of.from);
    out.maybe("idempotency_key", of.once);
    out.maybe("reference", of.reference);
    out.flag("spends", of.spends);
    out.put("to", of.to);
  }
  void operator()(const TopUpEvent& of) const {
    out.put("amount", of.amount);
    out.maybe("idempotency_key", of.once);
    out.maybe("reference", of.reference);
    out.put("wallet", of.wallet);
  }
  void operator()(const KeyBoundEvent& of) const {
    out.maybe("by", of.by);
    out.put("event", of.event);
    out.put("idempotency_key", of.once);
  }
  void operator()(const MarketCreated& of) const {
    out.put("fee_basis_points", std::int64_t{of.fee_basis_points});
    out.put("issuer", of.issuer);
    out.put("market", of.market);
  }
  void operator()(const WalletCreatedEvent& of) const {
    out.maybe("by", of.by);
    out.maybe("idempotency_key", of.once);
    out.put("owner_id", of.owner_id);
    out.put("owner_type", word(of.owner_type));
    out.maybe("parent", of.parent);
    out.policy("policy", of.policy);
    out.put("wallet", of.wallet);
  }
  void operator()(const WalletChanged& of) const {
    out.maybe("by", of.by);
    out.policy("policy", of.policy);
    out.put("status", word(of.status));
    out.put("wallet", of.wallet);
  }
  void operator()(const KeyIssuedEvent& of) const {
    out.maybe("by", of.by);
    if (of.delegate) out.put("delegate", *of.delegate);
    out.maybe("expires_in_s", of.expires_in_s);
    out.put("hash", of.hash);
    out.maybe("idempotency_key", of.once);
    if (of.kind != KeyKind::api) out.put("issued_as", word(of.kind));
    out.put("key", of.key);
    out.put("label", of.label);
    out.put("last4", of.last4);
    out.maybe("replaces", of.replaces);
    out.maybe("wallet", of.wallet);
  }
  void operator()(const KeyRevokedEvent& of) const {
    out.maybe("by", of.by);
    out.put("key", of.key);
  }
  void operator()(const ApprovalRequested& of) const {
    out.put("amount", of.amount);
    out.put("expires_in_s", of.expires_in_s);
    out.maybe("gpu_type", of.gpu_type);
    out.maybe("job_id", of.job_id);
    out.put("operation", of.operation);
    out.put("terms", of.terms);
    out.put("wallet", of.wallet);
  }
  void operator()(const ApprovalDecided& of) const {
    out.put("approval", of.approval);
    out.flag("approved", of.approved);
    out.maybe("by", of.by);
  }
  void operator()(const ApprovalUsed& of) const { out.put("approval", of.approval); }
  void operator()(const GrantEvent& of) const {
    out.put("amount", of.amount);
    out.maybe("idempotency_key", of.once);
    out.put("wallet", of.wallet);
  }
  void operator()(const PayoutEvent& of) const {
    out.put("amount", of.amount);
    out.maybe("by", of.by);
    out.put("destination", of.destination);
    out.maybe("idempotency_key", of.once);
    out.flag("spends", of.spends);
    out.put("wallet", of.wallet);
  }
  void operator()(const PayoutConfirmed& of) const { out.put("payout", of.payout); }
  void operator()(const PayoutFailed& of) const { out.put("payout", of.payout); }
  void operator()(const WaitlistJoined& of) const {
    out.maybe("idempotency_key", of.once);
    out.put("owner_id", of.owner_id);
  }
  void operator()(const WaitlistApprovedEvent& of) const {
    out.put("entry", of.entry);
    out.maybe("idempotency_key", of.once);
  }
  void operator()(const SigningKeyAdded& of) const { out.put("public_key", of.public_key); }
  void operator()(const PricesSet& of) const {
    out.put("base", of.prices.base);
    out.put("cpu", of.prices.cpu);
    json::Object gpus;
    for (const auto& [type, price] : of.prices.gpus) gpus.set(type, core::money_text(price));
    out.value("gpus", json::Value(std::move(gpus)));
    out.put("memory_gb", of.prices.memory_gb);
  }
  void operator()(const WalletWhitelisted& of) const {
    out.flag("allowed", of.allowed);
    out.put("wallet", of.wallet);
  }
  void operator()(const PaymentTermsSet& of) const {
    out.put("base_url", of.terms.base_url);
    json::Array networks;
    for (const PaymentNetwork& one : of.terms.networks)
      networks.push_back(json::object({{"asset", one.asset},
                                       {"fee_payer", one.fee_payer},
                                       {"network", one.network},
                                       {"pay_to", one.pay_to}}));
    out.value("networks", json::Value(std::move(networks)));
    out.put("realm", of.terms.realm);
  }
};

Fields read_known(EventKind kind, Reader& in) {
  switch (kind) {
    case EventKind::spend: {
      SpendEvent of;
      of.amount = in.money("amount");
      of.expires_in_s = in.optional_number("expires_in_s");
      of.gpu_type = in.optional_text("gpu_type");
      of.host = in.optional_number("host");
      of.job = in.maybe_number("job");
      of.job_id = in.text("job_id");
      of.under = in.digests("under");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::earn: {
      EarnEvent of;
      of.before = in.optional_money("before").value_or(Money{});
      of.duration_seconds = in.number("duration_seconds");
      of.fee = in.money("fee");
      of.gpu_model = in.text("gpu_model");
      of.gross = in.money("gross");
      of.host = in.number("host");
      of.leaf = in.number("leaf");
      of.lock = in.number("lock");
      of.more = in.flag("more");
      of.net = in.money("net");
      of.output_hash = in.digest("output_hash");
      of.work = in.work("work");
      return of;
    }
    case EventKind::release: return ReleaseEvent{.lock = in.number("lock")};
    case EventKind::expire: return ExpireEvent{.lock = in.number("lock")};
    case EventKind::burn: {
      BurnEvent of;
      of.job_id = in.text("job_id");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::transfer: {
      TransferEvent of;
      of.amount = in.money("amount");
      of.by = in.maybe_number("by");
      of.from = in.number("from");
      of.once = in.maybe_text("idempotency_key");
      of.reference = in.maybe_text("reference");
      of.spends = in.flag("spends");
      of.to = in.number("to");
      return of;
    }
    case EventKind::topup: {
      TopUpEvent of;
      of.amount = in.money("amount");
      of.once = in.maybe_text("idempotency_key");
      of.reference = in.maybe_text("reference");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::key_bound: {
      KeyBoundEvent of;
      of.by = in.maybe_number("by");
      of.event = in.number("event");
      of.once = in.text("idempotency_key");
      return of;
    }
    case EventKind::market_created: {
      MarketCreated of;
      of.fee_basis_points = static_cast<std::int32_t>(in.number("fee_basis_points"));
      of.issuer = in.text("issuer");
      of.market = in.text("market");
      return of;
    }
    case EventKind::wallet_created: {
      WalletCreatedEvent of;
      of.by = in.maybe_number("by");
      of.once = in.maybe_text("idempotency_key");
      of.owner_id = in.text("owner_id");
      of.owner_type = in.one_of("owner_type", {OwnerType::human, OwnerType::agent});
      of.parent = in.maybe_number("parent");
      of.policy = in.policy("policy");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::wallet_changed: {
      WalletChanged of;
      of.by = in.maybe_number("by");
      of.policy = in.policy("policy");
      of.status = in.one_of("status", {WalletStatus::active, WalletStatus::frozen, WalletStatus::closed});
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::key_issued: {
      KeyIssuedEvent of;
      of.by = in.maybe_number("by");
      of.delegate = in.optional_digest("delegate");
      of.expires_in_s = in.optional_number("expires_in_s");
      of.hash = in.digest("hash");
      of.once = in.maybe_text("idempotency_key");
      of.kind =
          in.maybe_one_of("issued_as", KeyKind::api, {KeyKind::session, KeyKind::compute, KeyKind::jobs});
      of.key = in.number("key");
      of.label = in.text("label");
      of.last4 = in.text("last4");
      of.replaces = in.maybe_number("replaces");
      of.wallet = in.maybe_number("wallet");
      return of;
    }
    case EventKind::key_revoked: {
      KeyRevokedEvent of;
      of.by = in.maybe_number("by");
      of.key = in.number("key");
      return of;
    }
    case EventKind::approval_requested: {
      ApprovalRequested of;
      of.amount = in.money("amount");
      of.expires_in_s = in.number("expires_in_s");
      of.gpu_type = in.optional_text("gpu_type");
      of.job_id = in.maybe_text("job_id");
      of.operation = in.text("operation");
      of.terms = in.text("terms");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::approval_decided: {
      ApprovalDecided of;
      of.approval = in.number("approval");
      of.approved = in.flag("approved");
      of.by = in.maybe_number("by");
      return of;
    }
    case EventKind::approval_used: return ApprovalUsed{.approval = in.number("approval")};
    case EventKind::grant: {
      GrantEvent of;
      of.amount = in.money("amount");
      of.once = in.maybe_text("idempotency_key");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::payout: {
      PayoutEvent of;
      of.amount = in.money("amount");
      of.by = in.maybe_number("by");
      of.destination = in.text("destination");
      of.once = in.maybe_text("idempotency_key");
      of.spends = in.flag("spends");
      of.wallet = in.number("wallet");
      return of;
    }
    case EventKind::payout_confirmed: return PayoutConfirmed{.payout = in.number("payout")};
    case EventKind::payout_failed: return PayoutFailed{.payout = in.number("payout")};
    case EventKind::waitlist_joined: {
      WaitlistJoined of;
      of.once = in.maybe_text("idempotency_key");
      of.owner_id = in.text("owner_id");
      return of;
    }
    case EventKind::waitlist_approved: {
      WaitlistApprovedEvent of;
      of.entry = in.number("entry");
      of.once = in.maybe_text("idempotency_key");
      return of;
    }
    case EventKind::signing_key_added: return SigningKeyAdded{.public_key = in.text("public_key")};
    case EventKind::prices_set: {
      PricesSet of;
      of.prices.base = in.money("base");
      of.prices.cpu = in.money("cpu");
      of.prices.gpus = in.amounts("gpus");
      of.prices.memory_gb = in.money("memory_gb");
      return of;
    }
    case EventKind::payment_terms_set: {
      PaymentTermsSet of;
      of.terms.base_url = in.text("base_url");
      of.terms.networks = in.networks("networks");
      of.terms.realm = in.text("realm");
      return of;
    }
    case EventKind::wallet_whitelisted: {
      WalletWhitelisted of;
      of.allowed = in.flag("allowed");
      of.wallet = in.number("wallet");
      return of;
    }
  }
  static_cast<void>(in.text("kind"));  // a number that is no kind: nothing reads as good
  return ReleaseEvent{};
}

}  // namespace

EventKind kind_of(const Fields& fields) noexcept { return std::visit(KindOf{}, fields); }

std::optional<JobTaken> job_taken_by(const Fields& fields) noexcept {
  if (const auto* of = std::get_if<SpendEvent>(&fields)) return JobTaken{of->job_id, of->wallet, of->amount};
  if (const auto* of = std::get_if<BurnEvent>(&fields)) return JobTaken{of->job_id, of->wallet, Money{}};
  return std::nullopt;
}

Seq lock_ended_by(const Fields& fields) noexcept {
  if (const auto* of = std::get_if<EarnEvent>(&fields)) return of->more ? 0 : of->lock;
  if (const auto* of = std::get_if<ReleaseEvent>(&fields)) return of->lock;
  if (const auto* of = std::get_if<ExpireEvent>(&fields)) return of->lock;
  return 0;
}

void append_fields(std::string& out, const Fields& fields) {
  Writer writer(out);
  std::visit(Spell{writer}, fields);
  writer.close();
}

Result<Fields> read_fields(EventKind kind, std::string_view text) {
  auto value = read_json(text);
  if (value.ok()) {
    Reader reader(*value);
    Fields fields = read_known(kind, reader);
    if (reader.good()) return fields;
  }
  return fail(Reason::corrupt, "an event's fields are not what calyx writes; keep the file and run an audit");
}

}  // namespace calyx::services
