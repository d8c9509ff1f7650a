#include "store/receipt_text.hpp"

#include <calyx/core/encoding.hpp>
#include <cstdint>
#include <iterator>

namespace calyx::store {
namespace {

constexpr char as_it_is = 0, around_words = 1;

/// In the order of `core::append_receipt_payload`. The last one ends before the brace, since members may come
/// behind it.
constexpr std::string_view words[] = {
    R"({"amount":{"gross":")",
    R"(","net":")",
    R"(","platform_fee":")",
    R"(","unit":"FLOPS"},"duration_seconds":)",
    R"(,"fee_basis_points":)",
    R"(,"gpu_model":")",
    R"(","host_wallet":"wlt_)",
    R"(","id":"rcpt_)",
    R"(","issued_at":")",
    R"(","issuer":")",
    R"(","job_id":")",
    R"(","ledger":{"head":")",
    R"(","seq":)",
    R"(},"output_hash":"sha256:)",
    R"(","payer_wallet":"wlt_)",
    R"(","settlement":{"rail":"escrow","reference":"txn_)",
    R"("},"type":"calyx.compute_receipt","v":1)",
};

// A piece begins with a byte: its size, or one of these.
constexpr unsigned char size_max = 249;
constexpr unsigned char hash = 250;   ///< 32 bytes, which are the piece as 64 hex digits.
constexpr unsigned char large = 251;  ///< Its size in four bytes, the lowest first.
constexpr std::size_t hash_bytes = 32;

constexpr std::size_t piece_head_max = 5;

char* put_piece(char* to, std::string_view piece) noexcept {
  if (piece.size() == 2 * hash_bytes &&
      core::unhex_into({reinterpret_cast<std::uint8_t*>(to + 1), hash_bytes}, piece)) {
    *to = static_cast<char>(hash);
    return to + 1 + hash_bytes;
  }
  if (piece.size() <= size_max) {
    *to++ = static_cast<char>(piece.size());
  } else {
    *to++ = static_cast<char>(large);
    for (unsigned shift = 0; shift < 32; shift += 8) *to++ = static_cast<char>(piece.size() >> shift & 255);
  }
  return core::put_text(to, piece);
}

/// Puts the piece that `packed` begins with, which takes at most twice the room, and takes it off; null where
/// there is none.
char* take_piece(char* to, std::string_view& packed) noexcept {
  const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(packed[at]); };
  if (packed.empty()) return nullptr;
  std::size_t size = octet(0), begin = 1;
  const bool is_hash = size == hash;
  if (is_hash) {
    size = hash_bytes;
  } else if (size == large) {
    if (packed.size() < piece_head_max) return nullptr;
    size = std::size_t{octet(1)} | std::size_t{octet(2)} << 8 | std::size_t{octet(3)} << 16 |
           std::size_t{octet(4)} << 24;
    begin = piece_head_max;
  } else if (size > size_max) {
    return nullptr;
  }
  if (packed.size() - begin < size) return nullptr;
  const std::string_view piece = packed.substr(begin, size);
  packed.remove_prefix(begin + size);
  return is_hash ? core::put_hex(to, piece) : core::put_text(to, piece);
}

constexpr std::size_t words_bytes = [] {
  std::size_t bytes = 0;
  for (const std::string_view word : words) bytes += word.size();
  return bytes;
}();

}  // namespace

void append_packed(std::string& out, std::string_view payload) {
  // Where each word begins. A text of the host's may hold a word too: that is a cut like any other.
  std::array<std::size_t, std::size(words)> cuts{};
  std::size_t at = 0;
  for (std::size_t i = 0; i < std::size(words); ++i) {
    cuts[i] = payload.find(words[i], at);
    if (cuts[i] == std::string_view::npos || payload.size() > UINT32_MAX) {
      out.push_back(as_it_is);
      out += payload;
      return;
    }
    at = cuts[i] + words[i].size();
  }
  const std::size_t bytes_max = 1 + payload.size() + (std::size(words) + 1) * piece_head_max;
  core::append_put(out, bytes_max, [&](char* to) {
    *to++ = around_words;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < std::size(words); ++i) {
      to = put_piece(to, payload.substr(begin, cuts[i] - begin));
      begin = cuts[i] + words[i].size();
    }
    return put_piece(to, payload.substr(begin));
  });
}

bool append_unpacked(std::string& out, std::string_view packed) {
  if (packed.empty()) return false;
  const char form = packed.front();
  packed.remove_prefix(1);
  if (form == as_it_is) {
    out += packed;
    return true;
  }
  if (form != around_words) return false;
  bool good = true;
  core::append_put(out, words_bytes + 2 * packed.size(), [&](char* to) {
    for (const std::string_view word : words) {
      char* const end = take_piece(to, packed);
      good = end != nullptr;
      if (!good) return to;
      to = core::put_text(end, word);
    }
    char* const end = take_piece(to, packed);
    good = end != nullptr && packed.empty();
    return end == nullptr ? to : end;
  });
  return good;
}

}  // namespace calyx::store
