#include <algorithm>
#include <array>
#include <calyx/core/encoding.hpp>
#include <calyx/core/payment_terms.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/facilitator.hpp>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <utility>

#include "crypto/sha256.hpp"
#include "json/reader.hpp"
#include "payments/mpp.hpp"
#include "services/access.hpp"

namespace calyx {
namespace {

using core::Digest;
using core::json::Value;

constexpr std::size_t depth_max = 16;
constexpr std::size_t remembered_max = 1024;
constexpr std::int64_t first_wait_ms = 1'000;
constexpr std::int64_t wait_ms_max = 300'000;

/// `pattern` with the texts in the places of its `$`.
std::string filled(std::string_view pattern, std::initializer_list<std::string_view> texts) {
  std::string out;
  const std::string_view* next = texts.begin();
  for (const char c : pattern) {
    if (c == '$')
      out.append(*next++);
    else
      out.push_back(c);
  }
  return out;
}

std::string_view text_at(const Value& in, std::string_view key) {
  const Value* const found = in.find(key);
  return found == nullptr || found->string() == nullptr ? std::string_view() : *found->string();
}

/// Whether `text` has one of the words in it, each of which ends in a blank.
bool has_any(const std::string& text, std::string_view words) {
  for (std::size_t blank; (blank = words.find(' ')) != std::string_view::npos; words.remove_prefix(blank + 1))
    if (text.find(words.data(), 0, blank) != std::string::npos) return true;
  return false;
}

bool is_evm(const VerifiedPayment& payment) { return payment.network.starts_with("eip155:"); }

// ── what is sent ──

/// What `payment` pays, as JSON, where its own words do not say it; empty for a token that calyx does not
/// know. `resource` empty: of version 2. `transaction`: Solana's, in base 64, whose first account pays the
/// chain's fee.
std::string requirement_of(const VerifiedPayment& payment, std::string_view resource,
                           std::string_view transaction) {
  const bool v1 = !resource.empty();
  std::string_view network, asset;
  std::string extra;
  if (const core::EvmAsset* const known = core::find_evm_asset(payment.network)) {
    network = v1 ? known->network : known->caip2;
    asset = known->contract;  // what was signed names it, so that another one is refused
    extra = filled(R"("name":"$","version":"$")", {known->name, known->version});
  } else {
    const core::SolanaAsset* const mint = core::find_solana_asset(payment.network);
    const auto bytes = core::unbase64(transaction);
    const auto moves = core::solana::read_transaction(bytes ? *bytes : std::string_view());
    if (mint == nullptr || moves.fault != core::solana::TransactionFault::none) return {};
    network = mint->network;
    asset = mint->mint;
    extra = filled(R"("feePayer":"$")", {core::base58(moves.transaction.account(0))});
  }
  for (const std::string* text : {&payment.pay_to, &payment.amount})
    if (!core::detail::is_header_text(*text, services::key_text_max)) return {};  // it stands in quotes
  return filled(v1 ? R"({"scheme":"exact","network":"$","maxAmountRequired":"$","asset":"$","payTo":"$",)"
                     R"("maxTimeoutSeconds":300,"extra":{$},"description":"","mimeType":"application/json",)"
                     R"("resource":"$"})"
                   : R"({"scheme":"exact","network":"$","amount":"$","asset":"$","payTo":"$",)"
                     R"("maxTimeoutSeconds":300,"extra":{$}})",
                {network, payment.amount, asset, payment.pay_to, extra, resource});
}

/// The body of `/verify` and `/settle`; empty where `payment` cannot be told to a facilitator.
std::string body_of(const VerifiedPayment& payment, std::string_view resource) {
  const bool v1 = payment.protocol == PaymentProtocol::x402_v1;
  std::string document, asked;
  if (payment.protocol == PaymentProtocol::mpp) {
    const core::mpp::CredentialReading reading = payments::mpp::read_authorization(payment.payload);
    const Value& given = reading.credential.payload;
    if (!core::mpp::read_evm_authorization(given)) return {};
    asked = requirement_of(payment, {}, {});
    document =
        filled(R"({"x402Version":2,"accepted":$,"payload":{"signature":"$","authorization":{"from":"$",)"
               R"("to":"$","value":"$","validAfter":"$","validBefore":"$","nonce":"$"}}})",
               {asked, text_at(given, "signature"), text_at(given, "from"), text_at(given, "to"),
                text_at(given, "value"), text_at(given, "validAfter"), text_at(given, "validBefore"),
                text_at(given, "nonce")});
  } else {
    auto bytes = core::unbase64(payment.payload);
    if (!bytes) return {};
    const auto read = read_json(*bytes);
    if (!read.ok()) return {};
    const Value* const version = read->find("x402Version");
    const std::int64_t* const number = version == nullptr ? nullptr : version->integer();
    const Value* const part = read->find(v1 ? "payload" : "accepted");
    if (number == nullptr || *number != (v1 ? 1 : 2) || part == nullptr) return {};
    asked = v1 ? requirement_of(payment, resource, text_at(*part, "transaction")) : core::json::text(*part);
    document = *std::move(bytes);
  }
  if (asked.empty()) return {};
  return filled(R"({"x402Version":$,"paymentPayload":$,"paymentRequirements":$})",
                {v1 ? "1" : "2", document, asked});
}

// ── what comes back ──

bool is_fit(std::string_view text) { return services::check_name({}, text, services::name_max).ok(); }

/// Whether `reason` is found before anything is sent to a chain. Of what is not known here that is not
/// believed.
bool is_found_before_sending(const std::string& reason) {
  return !has_any(reason, "nonce state fail simulation settle revert unexpected : ") &&
         has_any(reason, "invalid_ insufficient_ unsupported_ payment_expired ");
}

/// Whether an answer is about `payment`: what it leaves out it does not deny.
bool is_about(const Value& answer, const VerifiedPayment& payment) {
  const std::string_view who = text_at(answer, "payer"), network = text_at(answer, "network");
  const auto same = [evm = is_evm(payment)](char a, char b) {
    return a == b || (evm && (a | 0x20) == b);  // a payment has it in lower case
  };
  return (who.empty() ||
          std::equal(who.begin(), who.end(), payment.payer.begin(), payment.payer.end(), same)) &&
         (network.empty() || network == payment.network || core::caip2_of(network) == payment.network);
}

/// Of a settlement that succeeded.
void judge_success(const Value& answer, std::string_view transaction, const VerifiedPayment& payment,
                   SettlementAnswer& out) {
  // `exact` moves the amount that was signed: whoever says another one speaks of something else.
  const Value* const amount = answer.find("amount");
  if (!is_fit(transaction) ||
      (amount != nullptr && !amount->is_null() && text_at(answer, "amount") != payment.amount))
    return;
  out.transaction = transaction;
  if (is_evm(payment)) {  // in one spelling
    const auto hash = core::read_hex_bytes(transaction);
    if (!hash || hash->size() != 32) return;
    out.transaction = "0x" + core::hex(*hash);
  }
  out.outcome = SettlementOutcome::settled;
}

/// What `answer`, which came with the HTTP status `status`, says of `payment`. Without a value it says
/// nothing.
void judge(bool verifies, const Value& answer, int status, const VerifiedPayment& payment,
           SettlementAnswer& out) {
  const Value* const member = answer.find(verifies ? "isValid" : "success");
  if (member == nullptr || member->boolean() == nullptr || !is_about(answer, payment)) return;
  const bool good = *member->boolean();
  // With these a facilitator refuses a payment. Others, such as 401, are about who asks, whatever they say.
  const bool refuses = status == 400 || status == 402 || status == 412 || status == 422;
  if (status >= 300 && (good || !refuses)) return;
  const std::string_view transaction = text_at(answer, "transaction");
  // Some spell none as a hash of zeros.
  const bool sent = transaction.find_first_not_of("0x") != std::string_view::npos;
  if (good) {
    if (verifies)
      out.outcome = SettlementOutcome::valid;
    else if (sent)
      judge_success(answer, transaction, payment, out);
    return;
  }
  out.reason = text_at(answer, verifies ? "invalidReason" : "errorReason");
  if (out.reason == "settlement_pending")
    out.outcome = SettlementOutcome::pending;
  else if (verifies
               ? !has_any(out.reason, "unexpected_ failed_to_ ")  // which is the facilitator's own trouble
               : !sent && is_found_before_sending(out.reason))
    out.outcome = SettlementOutcome::refused;
  if (!is_fit(out.reason)) out.reason = "refused";
}

}  // namespace

struct Facilitator::State {
  /// A payment, by the digest of its payload, or a key, by its own.
  struct Known {
    Digest name{};
    bool begun = false;  ///< Of a payment: it was asked to be settled.
    std::int64_t due_ms = 0, wait_ms = 0;
  };

  explicit State(std::shared_ptr<const detail::FacilitatorWork> its) : work(std::move(its)) {}

  const std::shared_ptr<const detail::FacilitatorWork> work;
  std::mutex mutex{};
  std::array<Known, remembered_max> known{};  ///< What is longest in it goes first.
  std::size_t oldest = 0;

  /// Under the mutex, as is the next.
  Known* find(const Digest& name) {
    for (Known& one : known)
      if (one.name == name) return &one;
    return nullptr;
  }
  /// Nobody who waits makes room, and what has begun only for want of others: strangers verify what they
  /// like. Null without room.
  Known* put(const Digest& name, std::int64_t now) {
    if (Known* const found = find(name)) return found;
    Known* place = nullptr;
    for (std::size_t i = 0; i < remembered_max && (place == nullptr || place->begun); ++i) {
      Known& one = known[(oldest + i) % remembered_max];
      if (now >= one.due_ms && (place == nullptr || !one.begun)) place = &one;
    }
    if (place == nullptr) return nullptr;
    oldest = static_cast<std::size_t>(place - known.data()) + 1;
    *place = Known{name};
    return place;
  }

  /// Keeps whoever comes next for `name` waiting where this time led nowhere, and nobody where it led on.
  void remember(const Digest& name, const SettlementAnswer& answer) {
    const bool in_vain =
        answer.outcome == SettlementOutcome::unavailable || answer.outcome == SettlementOutcome::pending;
    const std::int64_t now = work->now_ms();
    const std::lock_guard lock(mutex);
    Known* const of = put(name, now);
    if (of == nullptr) return;
    of->wait_ms = in_vain ? std::clamp(2 * of->wait_ms, first_wait_ms, wait_ms_max) : 0;
    of->due_ms = now + of->wait_ms;
  }
  /// One at a time asks about a payment: from now on others wait until this one remembers what came of it, or
  /// is long gone. Without a value it has to wait itself; true if nobody asked before, as far as
  /// that is certain.
  std::optional<bool> begin(const Digest& key, const Digest& payment) {
    const std::int64_t now = work->now_ms();
    const std::lock_guard lock(mutex);
    if (const Known* const asked = find(key); asked != nullptr && now < asked->due_ms) return std::nullopt;
    const Known* const found = find(payment);
    const bool first = found != nullptr && !found->begun;
    Known* const begun = put(payment, now);
    if (begun == nullptr) return std::nullopt;
    begun->begun = true;
    const std::int64_t due_ms = std::exchange(begun->due_ms, now + 1);  // its place is not the key's
    Known* const of = put(key, now);
    begun->due_ms = due_ms;
    if (of == nullptr) return std::nullopt;
    of->due_ms = now + wait_ms_max;
    return first;
  }

  /// One try: the JSON of its answer, and its status; null, with `again`, where another try may have one.
  Value exchange(const char* path, std::string_view body, std::string_view key, int& status,
                 bool& again) const {
    const FacilitatorReply reply = work->exchange(path, body, key);
    status = reply.status;
    again = status < 200 || status == 408 || status == 429 || status >= 500;
    if (again || (status >= 300 && status < 400)) return {};
    auto read = read_json(reply.body, {depth_max, facilitator_reply_max});
    if (read.ok()) return *std::move(read);
    again = status < 300;
    return {};
  }

  /// `first`: nobody asked before, so a refusal of `settle` is one. After others a chain is asked.
  void ask(bool verifies, std::string_view key, const VerifiedPayment& payment, bool first,
           SettlementAnswer& out) const {
    const std::string body = body_of(payment, work->resource);
    if (body.empty() && verifies) {
      out.outcome = SettlementOutcome::refused;
      out.reason = "invalid_payload";
    }
    for (int i = 0; !body.empty(); ++i) {
      int status = 0;
      bool again = false;
      const Value answer = exchange(verifies ? "/verify" : "/settle", body, key, status, again);
      judge(verifies, answer, status, payment, out);
      if (out.outcome == SettlementOutcome::refused && !first) out.outcome = SettlementOutcome::unavailable;
      if (out.outcome != SettlementOutcome::unavailable) return;
      if (!again || i + 1 >= work->tries) break;
      first = verifies;  // a try to settle may have moved the money
      work->pause(i);
    }
    if (verifies) return;
    work->lookup(payment, out);
    if (out.outcome == SettlementOutcome::unknown) out.outcome = SettlementOutcome::unavailable;
  }
};

Facilitator::Facilitator(std::shared_ptr<const detail::FacilitatorWork> work)
    : state_(new State(std::move(work))) {}
Facilitator::~Facilitator() = default;

Result<Value> Facilitator::supported() {
  int status = 0;
  bool again = false;
  Value answer = state_->exchange("/supported", {}, {}, status, again);
  Value* const kinds = answer.object() == nullptr ? nullptr : answer.object()->find("kinds");
  if (kinds != nullptr && kinds->array() != nullptr && status < 300) return std::move(*kinds);
  std::string says = "the facilitator does not say what it settles: HTTP status ";
  core::json::append_integer(says, status);
  return fail(Reason::io_error, std::move(says));
}

SettlementAnswer Facilitator::verify(const VerifiedPayment& payment) {
  State& its = *state_;
  SettlementAnswer out;
  if (!payment.on_chain.empty()) {
    its.work->lookup(payment, out);
    if (out.outcome == SettlementOutcome::settled) out.outcome = SettlementOutcome::valid;
    if (out.outcome == SettlementOutcome::unknown) out.outcome = SettlementOutcome::refused;
    out.reason = "not_on_chain";
    return out;
  }
  const Digest name = crypto::Sha256{}(payment.payload);
  const std::int64_t now = its.work->now_ms();
  {
    // Before anything is asked: who was asked to settle it meanwhile has then begun.
    const std::lock_guard lock(its.mutex);
    State::Known* const of = its.put(name, now);
    if (of == nullptr || now < of->due_ms) return out;
    of->due_ms = now + wait_ms_max;
  }
  its.ask(true, {}, payment, true, out);
  its.remember(name, out);
  return out;
}

SettlementAnswer Facilitator::settle(std::string_view key, const VerifiedPayment& payment) {
  State& its = *state_;
  SettlementAnswer out;
  const Digest name = crypto::Sha256{}(key);
  const std::optional<bool> turn = its.begin(name, crypto::Sha256{}(payment.payload));
  if (!turn) {
    out.outcome = SettlementOutcome::pending;
    return out;
  }
  const bool on_chain = !payment.on_chain.empty();
  const bool first = *turn && !on_chain;
  if (!first) its.work->lookup(payment, out);
  if (out.outcome == SettlementOutcome::unknown) out.outcome = SettlementOutcome::unavailable;
  if (out.outcome == SettlementOutcome::unavailable && !on_chain) its.ask(false, key, payment, first, out);
  its.remember(name, out);
  return out;
}

// It asks a chain, or says that it cannot.
bool Facilitator::judges_contracts() const noexcept { return true; }

SettlementAnswer Facilitator::status(std::string_view key) {
  State& its = *state_;
  SettlementAnswer out;
  const Digest name = crypto::Sha256{}(key);
  const std::int64_t now = its.work->now_ms();
  const std::lock_guard lock(its.mutex);
  const State::Known* const found = its.find(name);
  if (found == nullptr || now >= found->due_ms) out.outcome = SettlementOutcome::unknown;
  return out;
}

}  // namespace calyx
