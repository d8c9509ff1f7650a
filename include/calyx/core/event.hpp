/// \file
/// Events: the append-only log that every state of a market follows from, and the chain that holds it.
///
/// An event's document is the RFC 8785 JSON of {`at_us`, `kind`, `prev`, `seq`, …its own fields}; its hash
/// is the SHA-256 of that. `prev` is the hash before it in lower hex; the first event's is the SHA-256 of the
/// market's id. So the export of a log can be checked again with a dozen lines of any language.
#pragma once

#include <algorithm>
#include <calyx/core/digest.hpp>
#include <calyx/core/encoding.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace calyx::core {

/// What an event is. The numbers are in the file: new ones may appear, none moves. Below `standing_first`
/// are the events of money alone; from there on those that a market's standing (wallets, keys, approvals,
/// …) follows from, which are read again when it is opened.
enum class EventKind : std::uint8_t {
  spend = 1,
  earn = 2,
  release = 3,
  expire = 4,
  burn = 5,
  transfer = 6,
  topup = 7,
  key_bound = 8,
  market_created = 32,
  wallet_created = 33,
  wallet_changed = 34,
  key_issued = 35,
  key_revoked = 36,
  approval_requested = 37,
  approval_decided = 38,
  approval_used = 39,
  grant = 40,
  payout = 41,
  payout_confirmed = 42,
  payout_failed = 43,
  waitlist_joined = 44,
  waitlist_approved = 45,
  signing_key_added = 46,
  prices_set = 47,
  payment_terms_set = 48,
  wallet_whitelisted = 49,
};
inline constexpr int standing_first = 32;

/// The kind's word in the document; empty for a number that is none.
constexpr std::string_view word(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::spend: return "spend";
    case EventKind::earn: return "earn";
    case EventKind::release: return "release";
    case EventKind::expire: return "expire";
    case EventKind::burn: return "burn";
    case EventKind::transfer: return "transfer";
    case EventKind::topup: return "topup";
    case EventKind::key_bound: return "key_bound";
    case EventKind::market_created: return "market_created";
    case EventKind::wallet_created: return "wallet_created";
    case EventKind::wallet_changed: return "wallet_changed";
    case EventKind::key_issued: return "key_issued";
    case EventKind::key_revoked: return "key_revoked";
    case EventKind::approval_requested: return "approval_requested";
    case EventKind::approval_decided: return "approval_decided";
    case EventKind::approval_used: return "approval_used";
    case EventKind::grant: return "grant";
    case EventKind::payout: return "payout";
    case EventKind::payout_confirmed: return "payout_confirmed";
    case EventKind::payout_failed: return "payout_failed";
    case EventKind::waitlist_joined: return "waitlist_joined";
    case EventKind::waitlist_approved: return "waitlist_approved";
    case EventKind::signing_key_added: return "signing_key_added";
    case EventKind::prices_set: return "prices_set";
    case EventKind::payment_terms_set: return "payment_terms_set";
    case EventKind::wallet_whitelisted: return "wallet_whitelisted";
  }
  return {};
}

/// What stands in every event.
struct EventHead {
  std::int64_t seq = 0;
  Instant at;
  EventKind kind = EventKind::spend;
  Digest prev;
};

/// The quote that ends the string whose text starts at `at`, or the end of `fields`.
constexpr std::size_t skip_string(std::string_view fields, std::size_t at) noexcept {
  for (std::size_t from = at; (from = fields.find('"', from)) != std::string_view::npos; ++from) {
    std::size_t slashes = 0;
    while (from - slashes > at && fields[from - slashes - 1] == '\\') ++slashes;
    if (slashes % 2 == 0) return from;
  }
  return fields.size();
}

/// The end of the JSON value that starts at `at`; `fields` is canonical, as this engine wrote it.
constexpr std::size_t skip_value(std::string_view fields, std::size_t at) noexcept {
  std::size_t depth = 0;
  for (; at < fields.size(); ++at) {
    const char c = fields[at];
    if (c >= '0' && c <= '9') continue;  // most of what is in no string
    if (c == '"') {
      at = skip_string(fields, at + 1);
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;
      --depth;
    } else if (c == ',' && depth == 0) {
      return at;
    }
  }
  return at;
}

/// Where in `fields` the first member from `at` on begins whose key does not come before `key`; with none
/// left, the brace that closes them or their end.
constexpr std::size_t skip_members(std::string_view fields, std::size_t at, std::string_view key) noexcept {
  while (at + 1 < fields.size() && fields[at] == '"') {
    const std::size_t quote = std::min(fields.find('"', at + 1), fields.size());
    // Most often the first letter tells, and saves a comparison of texts.
    if (static_cast<unsigned char>(fields[at + 1]) >= static_cast<unsigned char>(key[0]) &&
        key < fields.substr(at + 1, quote - at - 1))
      break;
    at = std::min(skip_value(fields, quote + 2) + 1, fields.size());
  }
  return at;
}

/// Appends the event's document: `fields`, the canonical JSON object of its own fields, with the four of
/// `head` put where the order of keys wants them. The keys are ASCII, so bytes sort as RFC 8785 asks.
inline void append_event_document(std::string& out, const EventHead& head, std::string_view fields) {
  // 37 bytes of names and marks, 64 of a hash and 40 of integers.
  constexpr std::size_t head_bytes_max = 141;
  append_put(out, head_bytes_max + word(head.kind).size() + fields.size(), [&](char* to) {
    std::size_t at = 1;  // what stands before it in `fields` has been written
    const auto fields_before = [&](std::string_view key) {
      const std::size_t next = skip_members(fields, at, key);
      if (next == at) return;
      to = put_text(to, fields.substr(at, next - at - 1));
      *to++ = ',';  // for the last of them a brace stood there
      at = next;
    };
    *to++ = '{';
    fields_before("at_us");
    to = put_text(to, R"("at_us":)");
    to = json::put_integer(to, head.at.us);
    *to++ = ',';
    fields_before("kind");
    to = put_text(to, R"("kind":")");
    to = put_text(to, word(head.kind));
    to = put_text(to, R"(",)");
    fields_before("prev");
    to = put_text(to, R"("prev":")");
    to = put_hex(to, head.prev.view());
    to = put_text(to, R"(",)");
    fields_before("seq");
    to = put_text(to, R"("seq":)");
    to = json::put_integer(to, head.seq);
    if (at + 1 >= fields.size()) {
      *to++ = '}';
      return to;
    }
    *to++ = ',';
    return put_text(to, fields.substr(at));
  });
}

/// The event's hash: what the next one names as `prev`, and what a receipt carries as the ledger's head.
/// `scratch` is room to write in, kept by the caller between events.
template <Sha256 H>
Digest event_hash(const H& sha256, const EventHead& head, std::string_view fields, std::string& scratch) {
  scratch.clear();
  append_event_document(scratch, head, fields);
  return sha256(std::string_view(scratch));
}

}  // namespace calyx::core
