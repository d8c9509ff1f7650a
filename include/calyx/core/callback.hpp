/// \file
/// Where a job's webhook may go (its `callback_url`), and when it is tried again.
///
/// Start at `read_callback_url`, as a job is submitted, and `judge_addresses`, before each attempt. A URL
/// that somebody else chose must not reach what only this machine can: so its host's name has rules, and of
/// the addresses that the name has at that moment each must be a public one. Whoever sends connects to the
/// address that was judged, and asks no resolver again.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::core {

struct CallbackRules {
  bool allow_http = false;  ///< Without TLS anybody on the way reads what a job is called and how it ended.
  /// Also addresses that are not public, and names that stand for this machine: for tests and closed
  /// networks.
  bool allow_private = false;
  std::vector<std::uint16_t> ports{443};
};

inline constexpr std::size_t callback_url_max = 2048;  ///< Bytes.

struct CallbackUrl {
  bool https = true;
  std::string host{};  ///< In lower case; an IPv6 address without its brackets.
  bool is_address = false;
  std::uint16_t port = 443;
  std::string target{};  ///< Path and query, as they were given; `/` for none.
};

/// What is wrong, in one word: `too_long`, `characters`, `scheme`, `userinfo`, `fragment`, `port`, `host`, or
/// as `address_fault` says. Empty: nothing.
struct CallbackReading {
  std::string_view fault{};
  CallbackUrl url{};
};

namespace detail {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_hex(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// Four decimal numbers without leading zeros. What inet_aton takes besides (octal, hex, fewer parts) is how
/// a bad address is hidden from who only looks at the text.
constexpr std::optional<std::uint32_t> read_ipv4(std::string_view text) noexcept {
  std::uint32_t out = 0;
  for (int part = 0; part < 4; ++part) {
    if (part != 0) {
      if (text.empty() || text.front() != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    std::uint32_t value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits]) && digits < 4)
      value = value * 10 + static_cast<std::uint32_t>(text[digits++] - '0');
    if (digits == 0 || digits > 3 || value > 255 || (digits > 1 && text.front() == '0')) return std::nullopt;
    out = out << 8 | value;
    text.remove_prefix(digits);
  }
  return text.empty() ? std::optional(out) : std::nullopt;
}

using Ipv6 = std::array<std::uint16_t, 8>;

/// RFC 4291, 2.2, without a zone.
constexpr std::optional<Ipv6> read_ipv6(std::string_view text) noexcept {
  Ipv6 groups{};
  std::size_t count = 0, gap = 9;
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (count == 8) return std::nullopt;
    std::size_t digits = 0;
    std::uint32_t value = 0;
    while (digits < text.size() && is_hex(text[digits]) && digits < 5) {
      const char c = text[digits++];
      value = value * 16 + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (digits < text.size() && text[digits] == '.') {  // its last 32 bits as IPv4
      const std::optional<std::uint32_t> tail = read_ipv4(text);
      if (!tail || count > 6) return std::nullopt;
      groups[count++] = static_cast<std::uint16_t>(*tail >> 16);
      groups[count++] = static_cast<std::uint16_t>(*tail & 0xFFFF);
      break;
    }
    if (digits == 0 || digits > 4) return std::nullopt;
    groups[count++] = static_cast<std::uint16_t>(value);
    text.remove_prefix(digits);
    if (text.empty()) break;
    if (text.starts_with("::")) {
      if (gap != 9) return std::nullopt;
      gap = count;
      text.remove_prefix(2);
    } else if (text.front() == ':' && text.size() > 1) {
      text.remove_prefix(1);
    } else {
      return std::nullopt;
    }
  }
  if (gap == 9) return count == 8 ? std::optional(groups) : std::nullopt;
  if (count == 8) return std::nullopt;  // the gap stands for one group at least
  Ipv6 out{};
  for (std::size_t i = 0; i < gap; ++i) out[i] = groups[i];
  for (std::size_t i = gap; i < count; ++i) out[8 - count + i] = groups[i];
  return out;
}

constexpr std::string_view ipv4_fault(std::uint32_t address) noexcept {
  struct Block {
    std::uint32_t first;
    int bits;
    std::string_view word;
  };
  constexpr Block blocks[] = {
      {0x00000000, 8, "unspecified"},    {0x0A000000, 8, "private"},        {0x64400000, 10, "shared"},
      {0x7F000000, 8, "loopback"},       {0xA83F8110, 32, "metadata"},      {0xA9FEA9FE, 32, "metadata"},
      {0xA9FE0000, 16, "link_local"},    {0xAC100000, 12, "private"},       {0xC0000000, 24, "reserved"},
      {0xC0000200, 24, "documentation"}, {0xC0586300, 24, "transition"},    {0xC0A80000, 16, "private"},
      {0xC6120000, 15, "benchmarking"},  {0xC6336400, 24, "documentation"}, {0xCB007100, 24, "documentation"},
      {0xE0000000, 4, "multicast"},      {0xFFFFFFFF, 32, "broadcast"},     {0xF0000000, 4, "reserved"},
  };
  for (const Block& block : blocks)
    if ((address ^ block.first) >> (32 - block.bits) == 0) return block.word;
  return {};
}

constexpr std::string_view ipv6_fault(const Ipv6& a) noexcept {
  const bool leads = a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] == 0 && a[4] == 0;
  if (leads && a[5] == 0xFFFF) return "mapped";
  if (leads && a[5] == 0 && a[6] == 0 && a[7] <= 1) return a[7] == 0 ? "unspecified" : "loopback";
  if (a[0] == 0x64 && a[1] == 0xFF9B) return "nat64";
  if ((a[0] & 0xFE00) == 0xFC00) return "private";
  if ((a[0] & 0xFF80) == 0xFE80) return "link_local";  // with the site-local ones of old
  if ((a[0] & 0xFF00) == 0xFF00) return "multicast";
  if (a[0] == 0x2002 || (a[0] == 0x2001 && a[1] == 0)) return "transition";  // 6to4, Teredo
  if ((a[0] == 0x2001 && a[1] == 0xDB8) || (a[0] == 0x3FFF && a[1] < 0x1000)) return "documentation";
  if (a[0] == 0x2001 && a[1] < 0x200) return "reserved";
  return (a[0] & 0xE000) == 0x2000 ? std::string_view() : std::string_view("reserved");
}

/// As browsers tell: a host whose last label is a number is meant as IPv4.
constexpr bool ends_in_number(std::string_view host) noexcept {
  const std::string_view last = host.substr(host.rfind('.') + 1);
  const bool hex = last.starts_with("0x");
  for (const char c : last.substr(hex ? 2 : 0))
    if (!(hex ? is_hex(c) : is_digit(c))) return false;
  return !last.empty();
}

constexpr bool is_host_name(std::string_view host) noexcept {
  if (host.empty() || host.size() > 253) return false;
  std::size_t label = 0;
  char before = '.';
  for (const char c : host) {
    if (c == '.') {
      if (label == 0 || before == '-') return false;
      label = 0;
    } else {
      if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-') return false;
      if ((label == 0 && c == '-') || ++label > 63) return false;
    }
    before = c;
  }
  return label != 0 && before != '-';
}

/// Names that no public resolver answers for.
constexpr bool is_local_name(std::string_view host) noexcept {
  if (host.find('.') == std::string_view::npos) return true;
  for (const std::string_view end : {".localhost", ".localdomain", ".local", ".internal", ".intranet", ".lan",
                                     ".home.arpa", ".test", ".invalid", ".example", ".onion"})
    if (host.ends_with(end)) return true;
  return false;
}

}  // namespace detail

/// Why nothing may be sent to `address`, an IP address as text: `address` (it is none, or spelled otherwise
/// than usual), `loopback`, `private`, `shared` (100.64/10), `link_local`, `metadata`, `mapped`, `nat64`,
/// `transition`, `multicast`, `unspecified`, `documentation`, `benchmarking`, `broadcast`, `reserved`. Empty:
/// it is public.
constexpr std::string_view address_fault(std::string_view address) noexcept {
  if (const auto v4 = detail::read_ipv4(address)) return detail::ipv4_fault(*v4);
  if (const auto v6 = detail::read_ipv6(address)) return detail::ipv6_fault(*v6);
  return "address";
}

/// The same of all that a name resolves to: the first fault among them, `unresolved` where there is none.
/// With `allow_private` only what is no address is at fault.
inline std::string_view judge_addresses(const CallbackRules& rules,
                                        std::span<const std::string> addresses) noexcept {
  if (addresses.empty()) return "unresolved";
  for (const std::string& address : addresses)
    if (const std::string_view fault = address_fault(address);
        !fault.empty() && (fault == "address" || !rules.allow_private))
      return fault;
  return {};
}

/// What the text of a URL says of itself.
inline CallbackReading read_callback_url(const CallbackRules& rules, std::string_view text) {
  CallbackReading out;
  const auto fault = [&](std::string_view word) {
    out.fault = word;
    return out;
  };
  if (text.size() > callback_url_max) return fault("too_long");
  for (const char c : text)
    if (c <= 0x20 || c >= 0x7F || c == '\\' || c == '"' || c == '<' || c == '>' || c == '`' || c == '{' ||
        c == '}' || c == '|' || c == '^')
      return fault("characters");
  const auto lower = [](std::string_view letters) {
    std::string made(letters);
    for (char& c : made)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return made;
  };
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return fault("scheme");
  const std::string scheme = lower(text.substr(0, colon));
  out.url.https = scheme == "https";
  if (!out.url.https && !(scheme == "http" && rules.allow_http)) return fault("scheme");
  text.remove_prefix(colon + 3);
  if (text.find('#') != std::string_view::npos) return fault("fragment");
  const std::size_t slash = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, slash);
  out.url.target = text.substr(slash);
  if (!out.url.target.starts_with('/')) out.url.target.insert(0, 1, '/');
  if (authority.find('@') != std::string_view::npos) return fault("userinfo");

  const bool bracketed = authority.starts_with('[');
  const std::size_t end = bracketed ? authority.find(']') : std::min(authority.find(':'), authority.size());
  if (end == std::string_view::npos) return fault("host");
  std::string host = lower(authority.substr(bracketed ? 1 : 0, bracketed ? end - 1 : end));
  authority.remove_prefix(bracketed ? end + 1 : end);
  std::uint32_t port = out.url.https ? 443 : 80;
  if (!authority.empty()) {
    if (authority.front() != ':' || authority.size() < 2 || authority.size() > 6) return fault("port");
    port = 0;
    for (const char c : authority.substr(1)) {
      if (!detail::is_digit(c)) return fault("port");
      port = port * 10 + static_cast<std::uint32_t>(c - '0');
    }
  }
  bool listed = false;
  for (const std::uint16_t one : rules.ports) listed = listed || one == port;
  if (!listed) return fault("port");
  out.url.port = static_cast<std::uint16_t>(port);

  out.url.is_address = bracketed || detail::ends_in_number(host);
  out.url.host = std::move(host);
  if (out.url.is_address) {
    if (bracketed ? !detail::read_ipv6(out.url.host) : !detail::read_ipv4(out.url.host))
      return fault("address");
    return fault(rules.allow_private ? std::string_view() : address_fault(out.url.host));
  }
  if (!detail::is_host_name(out.url.host) || (!rules.allow_private && detail::is_local_name(out.url.host)))
    return fault("host");
  return out;
}

// ── when it is tried again ──

/// From the end of one attempt to the next: the first is made at once.
inline constexpr std::int64_t callback_delays_s[] = {0,     5,     300,   1800,  7200,
                                                     18000, 36000, 50400, 72000, 86400};
inline constexpr std::int64_t callback_attempts_max = std::size(callback_delays_s);
inline constexpr std::int64_t callback_retry_after_max_s = 86400;

/// What an attempt came to.
enum class CallbackNext : std::uint8_t { delivered, again, dead };

/// What `status`, the answer to attempt number `attempts`, means: 2xx alone is success, and 410 asks for no
/// more. 0 is no answer at all. A redirection is a failure: where it leads to was not judged.
constexpr CallbackNext judge_callback(int status, std::int64_t attempts) noexcept {
  if (status >= 200 && status < 300) return CallbackNext::delivered;
  return status == 410 || attempts >= callback_attempts_max ? CallbackNext::dead : CallbackNext::again;
}

/// How long to wait after attempt number `attempts`, from 1: as listed and up to a tenth more, by `random`,
/// so that what failed together is not tried together; as long as the receiver asked for, within a day.
/// Units: microseconds.
constexpr std::int64_t callback_delay_us(std::int64_t attempts, std::int64_t retry_after_s,
                                         std::uint32_t random) noexcept {
  const std::int64_t place = attempts < callback_attempts_max ? attempts : callback_attempts_max - 1;
  const std::int64_t listed_us = callback_delays_s[place < 0 ? 0 : place] * us_per_second;
  const std::int64_t jittered_us =
      listed_us + listed_us / 10 * static_cast<std::int64_t>(random % 1024) / 1024;
  const std::int64_t asked_s =
      retry_after_s < callback_retry_after_max_s ? retry_after_s : callback_retry_after_max_s;
  return jittered_us > asked_s * us_per_second ? jittered_us : asked_s * us_per_second;
}

}  // namespace calyx::core
