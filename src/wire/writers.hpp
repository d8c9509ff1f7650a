/// \file
/// Resources as JSON, straight into the text of an answer: members in the order that the documents show
/// them in, money as numbers with the fewest digits (`5.0`, `8.4`), what is absent as `null`.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/session.hpp>
#include <string>
#include <string_view>

namespace calyx::wire {

/// The members of one object, appended as they are named; `close` ends it.
class Members {
 public:
  explicit Members(std::string& out) : out_(out) { out_.push_back('{'); }
  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;

  Members& text(std::string_view name, std::string_view value) {
    begin(name);
    core::json::append_string(out_, value);
    return *this;
  }
  /// An empty text is none.
  Members& text_or_null(std::string_view name, std::string_view value) {
    return value.empty() ? null(name) : text(name, value);
  }
  Members& text(std::string_view name, const std::optional<std::string>& value) {
    return value ? text(name, std::string_view(*value)) : null(name);
  }
  Members& money(std::string_view name, Money value) {
    begin(name);
    core::append_money(out_, value, 1);
    return *this;
  }
  Members& money(std::string_view name, const std::optional<Money>& value) {
    return value ? money(name, *value) : null(name);
  }
  template <IdKind K>
  Members& id(std::string_view name, const Id<K>& value) {
    begin(name);
    out_.push_back('"');
    value.append_to(out_);
    out_.push_back('"');
    return *this;
  }
  template <IdKind K>
  Members& id(std::string_view name, const std::optional<Id<K>>& value) {
    return value ? id(name, *value) : null(name);
  }
  Members& instant(std::string_view name, Instant value) {
    begin(name);
    out_.push_back('"');
    core::append_iso(out_, value);
    out_.push_back('"');
    return *this;
  }
  Members& instant(std::string_view name, const std::optional<Instant>& value) {
    return value ? instant(name, *value) : null(name);
  }
  Members& integer(std::string_view name, std::int64_t value) {
    begin(name);
    core::json::append_integer(out_, value);
    return *this;
  }
  /// A count; none of ours comes near 2^63.
  Members& count(std::string_view name, std::uint64_t value) {
    return integer(name, static_cast<std::int64_t>(value));
  }
  Members& boolean(std::string_view name, bool value) { return json(name, value ? "true" : "false"); }
  Members& null(std::string_view name) { return json(name, "null"); }
  Members& digest(std::string_view name, const core::Digest& value);
  Members& digests(std::string_view name, const std::vector<core::Digest>& values);
  Members& texts(std::string_view name, const std::optional<std::vector<std::string>>& values);
  /// A value that is JSON already.
  Members& json(std::string_view name, std::string_view value) {
    begin(name);
    out_ += value;
    return *this;
  }
  /// Names a member whose value the caller appends to `out` next.
  void begin(std::string_view name) {
    if (!first_) out_.push_back(',');
    first_ = false;
    out_.push_back('"');
    out_ += name;
    out_ += "\":";
  }
  void close() { out_.push_back('}'); }

 private:
  std::string& out_;
  bool first_ = true;
};

void append_json(std::string& out, const Wallet& wallet);
/// The wallet and, this once, its key: `key_id`, `key_last4`, `api_key` (null in a replay).
void append_json(std::string& out, const WalletCreated& created);
void append_json(std::string& out, const Moved& moved);
void append_json(std::string& out, const Spent& spent);
void append_json(std::string& out, const Earned& earned);
void append_json(std::string& out, const Released& released);
void append_json(std::string& out, const EntryView& entry);
void append_json(std::string& out, const EscrowView& escrow);
void append_json(std::string& out, const Approval& approval);
void append_json(std::string& out, const ApiKey& key);
void append_json(std::string& out, const KeyIssued& issued);
void append_json(std::string& out, const Payout& payout);
void append_json(std::string& out, const Granted& granted);
void append_json(std::string& out, const WaitlistEntry& entry);
/// The entry, and `wallet`: the human wallet that was opened, with its key.
void append_json(std::string& out, const WaitlistApproved& approved);
/// Hashes are 64 hex digits; `checkpoint` is the signed note.
void append_json(std::string& out, const InclusionProof& proof);
void append_json(std::string& out, const ConsistencyProof& proof);
void append_json(std::string& out, const AuditReport& report);
void append_json(std::string& out, const JobEstimate& estimate);
void append_json(std::string& out, const JobSubmitted& submitted);
void append_json(std::string& out, const Job& job);
void append_json(std::string& out, const Artifact& artifact);
/// The members of a project's status, which others may follow.
void append_status(Members& members, const ProjectStatus& status);

template <class T>
std::string json_text(const T& resource) {
  constexpr std::size_t usual_bytes = 512;
  std::string out;
  out.reserve(usual_bytes);
  append_json(out, resource);
  return out;
}

/// A member that is any JSON value, as it was read.
inline void append_value(Members& members, std::string& out, std::string_view name,
                         const core::json::Value& value) {
  members.begin(name);
  core::json::append_text(out, value);
}

/// A JSON array; `append(item)` puts each item where it belongs.
template <class T, class Append>
void append_list(std::string& out, const std::vector<T>& items, Append append) {
  out.push_back('[');
  for (const T& item : items) {
    if (&item != items.data()) out.push_back(',');
    append(item);
  }
  out.push_back(']');
}

/// `{"items": […], "next": …}`; `next` is null on the last page.
template <class T, class Append>
std::string page_text(const Listed<T>& listed, Append&& append) {
  std::string out = R"({"items":[)";
  for (const T& item : listed.items) {
    if (&item != listed.items.data()) out.push_back(',');
    append(out, item);
  }
  out += R"(],"next":)";
  if (listed.next.empty())
    out += "null";
  else
    core::json::append_string(out, listed.next);
  out.push_back('}');
  return out;
}
template <class T>
std::string page_text(const Listed<T>& listed) {
  return page_text(listed, [](std::string& out, const T& item) { append_json(out, item); });
}

/// As the machines' interface names its keys: the octets of our id as a UUID.
std::string uuid_text(KeyId id);

}  // namespace calyx::wire
