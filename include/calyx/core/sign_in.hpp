/// \file
/// The texts by which a wallet signs in: EIP-4361 (Sign-In with Ethereum) and Sign-In With Solana. They are
/// built, parsed strictly, and judged for a domain, a nonce and a time.
///
/// Start at `sign_in_text` and `read_sign_in`. A text has one reading: lines in their order, ended by LF
/// alone, none twice, nothing after the last. The signature over the text is checked by the caller, or by
/// `verify_sign_in` for Ethereum.
///
/// Source: EIP-4361's grammar, and that of Sign-In With Solana (phantom/sign-in-with-solana).
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core::sign_in {

/// The longest text that is read. Units: bytes.
inline constexpr std::size_t text_bytes_max = 8192;
inline constexpr std::size_t nonce_bytes_min = 8;
inline constexpr std::size_t resources_max = 64;

/// Whose grammar a text follows.
enum class Chain : std::uint8_t { ethereum, solana };

/// What a text says; an empty member is absent. A request id and a list of resources may be there and empty.
/// Ethereum demands `uri`, `version`, `chain_id`, `nonce` and `issued_at`; Solana
/// demands `domain` and `address` alone.
struct Message {
  std::string scheme;  ///< Ethereum alone: of `scheme://domain`.
  std::string domain;
  std::string address;  ///< Ethereum: checksummed. Solana: base 58, which is not decoded here.
  std::optional<std::string> statement;
  std::string uri;
  std::string version;   ///< "1".
  std::string chain_id;  ///< Ethereum: digits. Solana: `mainnet`, `testnet`, `devnet`, `localnet` or CAIP-2.
  std::string nonce;
  std::string issued_at;  ///< RFC 3339, as are the next two; kept as they stand, since they are signed so.
  std::string expiration_time;
  std::string not_before;
  std::optional<std::string> request_id;
  std::optional<std::vector<std::string>> resources;

  bool operator==(const Message&) const = default;
};

/// Why a text is no message, or not one that counts here and now.
enum class Fault : std::uint8_t {
  none,
  too_large,
  character,  ///< One that no line may have: a CR, another control, or what is not ASCII.
  first_line,
  address,
  statement,
  uri,
  version,
  chain_id,
  nonce,
  issued_at,
  expiration_time,
  not_before,
  request_id,
  resources,
  line,  ///< One too many, out of its order, twice, or empty where none may be.
  other_domain,
  other_chain,
  other_nonce,
  not_yet_valid,
  expired,
  signature,
  not_built,
};
inline constexpr std::array<std::string_view, 23> fault_words = {
    "none",        "too_large",     "character", "first_line", "address",      "statement",
    "uri",         "version",       "chain_id",  "nonce",      "issued_at",    "expiration_time",
    "not_before",  "request_id",    "resources", "line",       "other_domain", "other_chain",
    "other_nonce", "not_yet_valid", "expired",   "signature",  "not_built"};
constexpr std::string_view word(Fault fault) noexcept { return fault_words[static_cast<std::size_t>(fault)]; }
/// Whether the text itself is at fault, and not what it says.
constexpr bool malformed(Fault fault) noexcept { return fault > Fault::none && fault < Fault::other_domain; }

namespace detail {

constexpr bool alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
/// RFC 3986: unreserved and reserved characters; with `%` those of a URI.
constexpr bool uri_character(char c) noexcept {
  return alphanumeric(c) || std::string_view("-._~:/?#[]@!$&'()*+,;=").find(c) != std::string_view::npos;
}

template <class Test>
bool all(std::string_view text, const Test& test) noexcept {
  return std::all_of(text.begin(), text.end(), test);
}
inline bool valid_scheme(std::string_view text) noexcept {
  if (text.empty() || !alphanumeric(text[0]) || (text[0] >= '0' && text[0] <= '9')) return false;
  return all(text, [](char c) { return alphanumeric(c) || c == '+' || c == '-' || c == '.'; });
}
/// Characters of a URI, each `%` before two hexadecimal digits.
inline bool valid_escapes(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') continue;
    if (text.size() - i < 3) return false;
    for (const char c : text.substr(i + 1, 2))
      if (hex_values_either[static_cast<unsigned char>(c)] > 15) return false;
  }
  return true;
}
/// A URI as far as it matters here: a scheme, a colon, and characters that RFC 3986 has.
inline bool valid_uri(std::string_view text) noexcept {
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && valid_scheme(text.substr(0, colon)) &&
         all(text, [](char c) { return uri_character(c) || c == '%'; }) && valid_escapes(text);
}
/// An authority without its user's part: a host, and perhaps a port.
inline bool valid_domain(std::string_view text) noexcept {
  return !text.empty() && text.front() != ':' && valid_escapes(text) && all(text, [](char c) {
    return alphanumeric(c) || std::string_view("-._~!$&'()*+,;=%:[]").find(c) != std::string_view::npos;
  });
}
inline bool valid_statement(std::string_view text) noexcept {
  return !text.empty() && all(text, [](char c) { return uri_character(c) || c == ' '; });
}
inline bool valid_request_id(std::string_view text) noexcept {  // *pchar
  return valid_escapes(text) && all(text, [](char c) {
           return alphanumeric(c) || std::string_view("-._~!$&'()*+,;=:@%").find(c) != std::string_view::npos;
         });
}
inline bool valid_nonce(std::string_view text) noexcept {
  return text.size() >= nonce_bytes_min && all(text, alphanumeric);
}
inline bool valid_chain_id(Chain chain, std::string_view text) noexcept {
  if (chain == Chain::ethereum) {
    const auto number = read_uint256(text);
    return number && number->small();
  }
  constexpr std::string_view prefix = "solana:";
  if (text.substr(0, prefix.size()) == prefix) {  // CAIP-2: a reference of 1 to 32 characters
    text.remove_prefix(prefix.size());
    return !text.empty() && text.size() <= 32 &&
           all(text, [](char c) { return alphanumeric(c) || c == '-' || c == '_'; });
  }
  return text == "mainnet" || text == "testnet" || text == "devnet" || text == "localnet";
}
inline bool valid_address(Chain chain, std::string_view text) {
  if (chain == Chain::solana) return unbase58_octets<32>(text).has_value();
  const auto address = read_evm_address(text);
  return address && checksummed_text(*address) == text;
}

constexpr std::string_view first_line_end(Chain chain) noexcept {
  return chain == Chain::ethereum ? " wants you to sign in with your Ethereum account:"
                                  : " wants you to sign in with your Solana account:";
}

/// A line that is a label and a value, and where the value belongs.
struct Field {
  std::string_view label;
  Fault fault;
  std::string Message::*text;
};
inline constexpr std::array<Field, 7> fields = {{
    {"URI: ", Fault::uri, &Message::uri},
    {"Version: ", Fault::version, &Message::version},
    {"Chain ID: ", Fault::chain_id, &Message::chain_id},
    {"Nonce: ", Fault::nonce, &Message::nonce},
    {"Issued At: ", Fault::issued_at, &Message::issued_at},
    {"Expiration Time: ", Fault::expiration_time, &Message::expiration_time},
    {"Not Before: ", Fault::not_before, &Message::not_before},
}};
inline constexpr std::size_t fields_demanded = 5;  ///< Of Ethereum.
inline constexpr std::string_view request_id_label = "Request ID: ";
inline constexpr std::string_view resources_line = "Resources:";
inline constexpr std::string_view resource_mark = "- ";

inline bool valid_field(Chain chain, Fault field, std::string_view text) noexcept {
  switch (field) {
    case Fault::uri: return valid_uri(text);
    case Fault::version: return text == "1";
    case Fault::chain_id: return valid_chain_id(chain, text);
    case Fault::nonce: return valid_nonce(text);
    default: return read_date_time(text).has_value();
  }
}

/// The lines of a text, one after another.
class Lines {
 public:
  explicit Lines(std::string_view text) noexcept : rest_(text) {}
  bool more() const noexcept { return !done_; }
  /// The line that comes next; empty at the end, too.
  std::string_view look() const noexcept { return rest_.substr(0, rest_.find('\n')); }
  std::string_view take() noexcept {
    const std::string_view line = look();
    done_ = line.size() == rest_.size();
    rest_.remove_prefix(done_ ? rest_.size() : line.size() + 1);
    ++taken_;
    return line;
  }
  /// Takes the next line if it begins with `label`, and gives what follows.
  std::optional<std::string_view> take_after(std::string_view label) noexcept {
    if (!more() || look().substr(0, label.size()) != label) return std::nullopt;
    return take().substr(label.size());
  }
  std::size_t taken() const noexcept { return taken_; }

 private:
  std::string_view rest_;
  bool done_ = false;
  std::size_t taken_ = 0;
};

inline bool begins_a_field(std::string_view line) noexcept {
  const auto begins = [line](std::string_view label) { return line.substr(0, label.size()) == label; };
  return std::any_of(fields.begin(), fields.end(), [&](const Field& field) { return begins(field.label); }) ||
         begins(request_id_label) || line == resources_line;
}

/// The members from `URI` on, to the end of the text.
inline Fault read_fields(Lines& lines, Chain chain, Message& out) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto value = lines.take_after(fields[i].label);
    if (!value) {
      if (chain == Chain::ethereum && i < fields_demanded) return fields[i].fault;
      continue;
    }
    if (!valid_field(chain, fields[i].fault, *value)) return fields[i].fault;
    out.*fields[i].text = *value;
  }
  if (const auto id = lines.take_after(request_id_label)) {
    if (!valid_request_id(*id)) return Fault::request_id;
    out.request_id = std::string(*id);
  }
  if (lines.more() && lines.look() == resources_line) {
    lines.take();
    out.resources.emplace();
    while (lines.more()) {
      const auto resource = lines.take_after(resource_mark);
      if (!resource || !valid_uri(*resource) || out.resources->size() == resources_max)
        return Fault::resources;
      out.resources->emplace_back(*resource);
    }
  }
  return lines.more() ? Fault::line : Fault::none;
}

}  // namespace detail

struct Reading {
  Fault fault = Fault::none;
  std::size_t line = 0;  ///< The last one that was looked at, counted from 1; 0 where the fault has no line.
  Message message;       ///< As far as it was read.
};

namespace detail {

/// Reads the lines that every text has, and what follows.
inline Fault read_lines(Lines& lines, Chain chain, Message& out) {
  std::string_view first = lines.take();
  const std::string_view end = first_line_end(chain);
  if (first.size() <= end.size() || first.substr(first.size() - end.size()) != end) return Fault::first_line;
  first.remove_suffix(end.size());
  constexpr std::string_view scheme_end = "://";
  const std::size_t scheme = chain == Chain::ethereum ? first.find(scheme_end) : std::string_view::npos;
  if (scheme != std::string_view::npos) {
    out.scheme = first.substr(0, scheme);
    first.remove_prefix(scheme + scheme_end.size());
    if (!valid_scheme(out.scheme)) return Fault::first_line;
  }
  out.domain = first;
  if (!valid_domain(first)) return Fault::first_line;
  out.address = lines.take();
  if (!valid_address(chain, out.address)) return Fault::address;

  // Ethereum: an empty line, perhaps a statement, an empty line, the fields. Solana: an empty line before a
  // statement and one before fields, if there are any.
  if (chain == Chain::solana && !lines.more()) return Fault::none;
  if (!lines.take().empty() || !lines.more()) return Fault::line;
  const bool stated = chain == Chain::ethereum ? !lines.look().empty() : !begins_a_field(lines.look());
  if (stated) {
    out.statement = std::string(lines.take());
    if (!valid_statement(*out.statement)) return Fault::statement;
    if (chain == Chain::solana && !lines.more()) return Fault::none;
  }
  if ((chain == Chain::ethereum || stated) && !lines.take().empty()) return Fault::line;
  if (!lines.more() || lines.look().empty()) return Fault::line;
  return read_fields(lines, chain, out);
}

}  // namespace detail

/// Reads `text`, or says what is wrong with it and in which line.
inline Reading read_sign_in(std::string_view text, Chain chain) {
  Reading out;
  if (text.size() > text_bytes_max) {
    out.fault = Fault::too_large;
  } else if (!detail::all(text, [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); })) {
    out.fault = Fault::character;
  } else {
    detail::Lines lines(text);
    out.fault = detail::read_lines(lines, chain, out.message);
    if (out.fault != Fault::none) out.line = lines.taken();
  }
  return out;
}

/// The text of `message`, or nothing when it would not be read back as the same: a member that is demanded
/// and empty, a line break in one, a nonce of fewer than 8 letters and digits, and the like.
inline std::optional<std::string> sign_in_text(const Message& message, Chain chain) {
  std::string out;
  if (!message.scheme.empty()) out.append(message.scheme).append("://");
  out.append(message.domain).append(detail::first_line_end(chain));
  out.append("\n").append(message.address);
  if (chain == Chain::ethereum) out += "\n";
  if (message.statement) out.append(chain == Chain::ethereum ? "\n" : "\n\n").append(*message.statement);
  if (chain == Chain::ethereum) out += "\n";
  std::string rest;
  for (const detail::Field& field : detail::fields)
    if (const std::string& value = message.*field.text; !value.empty())
      rest.append("\n").append(field.label).append(value);
  if (message.request_id) rest.append("\n").append(detail::request_id_label).append(*message.request_id);
  if (message.resources) {
    rest.append("\n").append(detail::resources_line);
    for (const std::string& resource : *message.resources)
      rest.append("\n").append(detail::resource_mark).append(resource);
  }
  if (chain == Chain::solana && !rest.empty()) out += "\n";
  out += rest;
  const Reading back = read_sign_in(out, chain);
  if (back.fault != Fault::none || back.message != message) return std::nullopt;
  return out;
}

/// What a message must say to count here. An empty member is not asked for.
struct Expected {
  std::string_view domain;
  std::string_view chain_id;
  std::string_view nonce;
};

/// What the rules say of a message that was read, at `now`: domain, chain, nonce, then its time, which begins
/// at `not_before` and ends before `expiration_time`.
inline Fault judge(const Message& message, const Expected& expected, Instant now) noexcept {
  if (!expected.domain.empty() && message.domain != expected.domain) return Fault::other_domain;
  if (!expected.chain_id.empty() && message.chain_id != expected.chain_id) return Fault::other_chain;
  if (!expected.nonce.empty() && message.nonce != expected.nonce) return Fault::other_nonce;
  const auto begins = read_date_time(message.not_before);
  if (begins && now < *begins) return Fault::not_yet_valid;
  const auto ends = read_date_time(message.expiration_time);
  return ends && now >= *ends ? Fault::expired : Fault::none;
}

/// Reads and judges a text that an Ethereum wallet composed and signed. `signature` is its 65 octets.
template <EvmRecovery Recover>
Fault verify_sign_in(std::string_view text, std::string_view signature, const Expected& expected, Instant now,
                     const Recover& recover) {
  const Reading reading = read_sign_in(text, Chain::ethereum);
  if (reading.fault != Fault::none) return reading.fault;
  const Fault fault = judge(reading.message, expected, now);
  if (fault != Fault::none) return fault;
  const Result<EvmAddress> signer = recover(personal_message_digest(text), signature);
  if (signer.reason() == Reason::not_built) return Fault::not_built;
  return signer.ok() && checksummed_text(*signer) == reading.message.address ? Fault::none : Fault::signature;
}

}  // namespace calyx::core::sign_in
