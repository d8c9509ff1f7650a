#include "store/receipt_text.hpp"

#include <array>
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

void append_piece(std::string& out, std::string_view piece) {
  if (piece.size() == 2 * hash_bytes) {
    std::array<std::uint8_t, hash_bytes> bytes;
    if (core::unhex_into(bytes, piece)) {
      out.push_back(static_cast<char>(hash));
      out += core::chars(bytes);
      return;
    }
  }
  if (piece.size() <= size_max) {
    out.push_back(static_cast<char>(piece.size()));
  } else {
    out.push_back(static_cast<char>(large));
    for (unsigned shift = 0; shift < 32; shift += 8)
      out.push_back(static_cast<char>(piece.size() >> shift & 255));
  }
  out += piece;
}

/// Takes the piece that `packed` begins with; false where there is none.
bool take_piece(std::string& out, std::string_view& packed) {
  const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(packed[at]); };
  if (packed.empty()) return false;
  std::size_t size = octet(0), begin = 1;
  if (size == hash) {
    size = hash_bytes;
  } else if (size == large) {
    if (packed.size() < 5) return false;
    size = std::size_t{octet(1)} | std::size_t{octet(2)} << 8 | std::size_t{octet(3)} << 16 |
           std::size_t{octet(4)} << 24;
    begin = 5;
  } else if (size > size_max) {
    return false;
  }
  if (packed.size() - begin < size) return false;
  const std::string_view piece = packed.substr(begin, size);
  if (octet(0) == hash)
    core::append_hex(out, piece);
  else
    out += piece;
  packed.remove_prefix(begin + size);
  return true;
}

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
  out.push_back(around_words);
  at = 0;
  for (std::size_t i = 0; i < std::size(words); ++i) {
    append_piece(out, payload.substr(at, cuts[i] - at));
    at = cuts[i] + words[i].size();
  }
  append_piece(out, payload.substr(at));
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
  for (const std::string_view word : words) {
    if (!take_piece(out, packed)) return false;
    out += word;
  }
  return take_piece(out, packed) && packed.empty();
}

}  // namespace calyx::store
