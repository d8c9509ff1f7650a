/// \file
/// Keccak-256 as Ethereum has it: Keccak-f[1600] at a rate of 136 bytes, padded by 0x01 and not by SHA-3's
/// 0x06. It has no secret to keep, so unlike the other hashes it is computed here.
///
/// Start at `keccak256`. Source: the Keccak reference, version 3.0, sections 1.2 and 1.3.
///
/// Threads: values.
#pragma once

#include <array>
#include <bit>
#include <calyx/core/digest.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace calyx::core {

namespace detail {

/// Lane (x, y) of the state lies at 5 y + x.
using KeccakState = std::array<std::uint64_t, 25>;

inline constexpr std::array<int, 25> keccak_turns = {0,  1,  62, 28, 27, 36, 44, 6,  55, 20, 3,  10, 43,
                                                     25, 39, 41, 45, 15, 21, 8,  18, 2,  61, 56, 14};
inline constexpr std::array<std::uint64_t, 24> keccak_constants = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

/// Row `Y` of what rho, pi and chi make of `in` after theta. The indices are constants, so that a row is
/// a few instructions and no loop.
template <std::size_t Y, std::size_t... X>
constexpr void keccak_row(const KeccakState& in, const std::array<std::uint64_t, 5>& theta, KeccakState& out,
                          std::index_sequence<X...>) noexcept {
  constexpr auto from = [](std::size_t x) { return 5 * x + (x + 3 * Y) % 5; };
  const std::array<std::uint64_t, 5> row = {
      std::rotl(in[from(X)] ^ theta[(X + 3 * Y) % 5], keccak_turns[from(X)])...};
  ((out[5 * Y + X] = row[X] ^ (~row[(X + 1) % 5] & row[(X + 2) % 5])), ...);
}

template <std::size_t... Y>
constexpr void keccak_round(const KeccakState& in, KeccakState& out, std::uint64_t constant,
                            std::index_sequence<Y...> five) noexcept {
  const std::array<std::uint64_t, 5> sums = {(in[Y] ^ in[Y + 5] ^ in[Y + 10] ^ in[Y + 15] ^ in[Y + 20])...};
  const std::array<std::uint64_t, 5> theta = {(sums[(Y + 4) % 5] ^ std::rotl(sums[(Y + 1) % 5], 1))...};
  (keccak_row<Y>(in, theta, out, five), ...);
  out[0] ^= constant;
}

constexpr void keccak_f1600(KeccakState& state) noexcept {
  constexpr auto five = std::make_index_sequence<5>();
  KeccakState other{};
  for (std::size_t i = 0; i < keccak_constants.size(); i += 2) {
    keccak_round(state, other, keccak_constants[i], five);
    keccak_round(other, state, keccak_constants[i + 1], five);
  }
}

}  // namespace detail

/// The hash of what comes piece by piece.
class Keccak256Stream {
 public:
  constexpr void update(std::string_view piece) noexcept {
    std::size_t at = 0;
    while (at < piece.size()) {
      if (filled_ % 8 == 0 && piece.size() - at >= 8) {
        std::uint64_t lane = 0;  // compilers make one load of it
        for (unsigned i = 0; i < 8; ++i)
          lane |= std::uint64_t{static_cast<unsigned char>(piece[at + i])} << (8 * i);
        state_[filled_ / 8] ^= lane;
        filled_ += 8;
        at += 8;
      } else {
        put(static_cast<unsigned char>(piece[at++]));
        ++filled_;
      }
      if (filled_ == rate) {
        detail::keccak_f1600(state_);
        filled_ = 0;
      }
    }
  }

  /// The digest of all pieces; the stream then begins anew.
  constexpr Digest finish() noexcept {
    put(0x01);
    state_[rate / 8 - 1] ^= std::uint64_t{0x80} << 56;
    detail::keccak_f1600(state_);
    Digest out;
    for (std::size_t i = 0; i < out.bytes.size(); ++i)
      out.bytes[i] = static_cast<std::uint8_t>(state_[i / 8] >> (8 * (i % 8)));
    *this = Keccak256Stream();
    return out;
  }

 private:
  static constexpr std::size_t rate = 136;
  constexpr void put(unsigned char octet) noexcept {
    state_[filled_ / 8] ^= std::uint64_t{octet} << (8 * (filled_ % 8));
  }
  detail::KeccakState state_{};
  std::size_t filled_ = 0;  ///< Octets of the block, below `rate`.
};

/// The Keccak-256 of the pieces laid end to end.
template <class... Pieces>
constexpr Digest keccak256(const Pieces&... pieces) noexcept {
  Keccak256Stream stream;
  (stream.update(std::string_view(pieces)), ...);
  return stream.finish();
}

/// The same as a function object, for what takes a hash as an argument.
struct Keccak256 {
  template <class... Pieces>
  constexpr Digest operator()(const Pieces&... pieces) const noexcept {
    return keccak256(pieces...);
  }
};

}  // namespace calyx::core
