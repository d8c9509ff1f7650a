/// \file
/// Identifiers: a prefix that says what is named, and 26 characters that sort by time of birth.
///
/// An id is not drawn but derived: 48 bits of milliseconds, 40 bits of the thing's number in its own
/// sequence, 8 bits to tell apart what one event brought forth, 32 bits of the market's tag. So an id
/// leads to its row without an index, two markets' ids do not meet, and a replayed ledger gives the same
/// ids again. Ids are names, not secrets: what a caller may see is decided by its key.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace calyx {

/// What an id names; the prefix in its text.
enum class IdKind : std::uint8_t {
  wallet,
  txn,
  receipt,
  job,
  approval,
  key,
  payout,
  waitlist,
  artifact,
  upload,
  quote,
  payment
};

namespace core {

constexpr std::string_view prefix(IdKind kind) noexcept {
  constexpr std::string_view prefixes[] = {"wlt_", "txn_", "rcpt_", "job_", "apr_", "key_",
                                           "pay_", "wtl_", "art_",  "upl_", "qte_", "pmt_"};
  return prefixes[static_cast<std::size_t>(kind)];
}

/// Crockford's base 32: no I, L, O, U. Ours are upper case; nothing else is read.
inline constexpr std::string_view crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
inline constexpr std::size_t id_digits = 26;

/// The two digits of each ten bits.
inline constexpr auto crockford_pairs = [] {
  std::array<std::array<char, 2>, 1024> pairs{};
  for (std::size_t ten = 0; ten < pairs.size(); ++ten)
    pairs[ten] = {crockford[ten >> 5], crockford[ten & 31]};
  return pairs;
}();

inline constexpr std::uint64_t id_number_max = (std::uint64_t{1} << 40) - 1;

}  // namespace core

/// The id of one thing of kind `K`.
template <IdKind K>
struct Id {
  std::uint64_t high = 0;  ///< 48 bits of milliseconds, the upper 16 bits of the number.
  std::uint64_t low = 0;   ///< The lower 24 bits of the number, 8 bits of index, 32 bits of tag.

  auto operator<=>(const Id&) const = default;

  static constexpr Id make(std::int64_t born_us, std::uint64_t number, std::uint32_t tag,
                           std::uint8_t index = 0) noexcept {
    const auto ms = static_cast<std::uint64_t>(born_us / 1000);
    return {(ms << 16) | (number >> 24), (number << 40) | (std::uint64_t{index} << 32) | tag};
  }

  /// The thing's place in its own sequence (a wallet's number, a transfer's `seq`, a receipt's leaf).
  constexpr std::uint64_t number() const noexcept { return ((high & 0xFFFF) << 24) | (low >> 40); }
  constexpr std::uint8_t index() const noexcept { return static_cast<std::uint8_t>(low >> 32); }
  constexpr std::uint32_t tag() const noexcept { return static_cast<std::uint32_t>(low); }

  static constexpr std::size_t text_bytes = core::prefix(K).size() + core::id_digits;

  /// Writes the text, `text_bytes` long, where `to` points, and gives its end.
  char* put(char* to) const noexcept {
    const std::string_view start = core::prefix(K);
    std::memcpy(to, start.data(), start.size());
    to += start.size();
    const auto ten = [&to](std::uint64_t bits) {
      std::memcpy(to, core::crockford_pairs[bits & 1023].data(), 2);
      to += 2;
    };
    // Of the 130 bits that the digits hold the first two are 0; the pair in the middle has bits of both.
    for (int shift = 56; shift > 0; shift -= 10) ten(high >> shift);
    ten(high << 4 | low >> 60);
    for (int shift = 50; shift >= 0; shift -= 10) ten(low >> shift);
    return to;
  }
  void append_to(std::string& out) const {
    char letters[text_bytes];
    put(letters);
    out.append(letters, text_bytes);
  }
  std::string text() const {
    std::string out;
    append_to(out);
    return out;
  }

  /// The id that `text` spells, or nothing.
  static constexpr std::optional<Id> read(std::string_view text) noexcept {
    const std::string_view start = core::prefix(K);
    if (text.size() != start.size() + core::id_digits || text.substr(0, start.size()) != start)
      return std::nullopt;
    Id id;
    for (const char c : text.substr(start.size())) {
      const std::size_t five = core::crockford.find(c);
      if (five == std::string_view::npos || id.high >> 59 != 0) return std::nullopt;
      id.high = (id.high << 5) | (id.low >> 59);
      id.low = (id.low << 5) | five;
    }
    return id;
  }
};

using WalletId = Id<IdKind::wallet>;
using TxnId = Id<IdKind::txn>;
using ReceiptId = Id<IdKind::receipt>;
using ApprovalId = Id<IdKind::approval>;
using KeyId = Id<IdKind::key>;
using PayoutId = Id<IdKind::payout>;
using WaitlistId = Id<IdKind::waitlist>;
using JobId = Id<IdKind::job>;
using ArtifactId = Id<IdKind::artifact>;
using UploadId = Id<IdKind::upload>;
using QuoteId = Id<IdKind::quote>;
using PaymentId = Id<IdKind::payment>;

}  // namespace calyx
