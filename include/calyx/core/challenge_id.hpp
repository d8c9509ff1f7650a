/// \file
/// The id of a challenge to sign in, which says all that the challenge's text follows from: so that nothing
/// of it is kept until it is answered.
///
/// What an id says is not to be believed before its seal was found to be this market's own.
///
/// Threads: values.
#pragma once

#include <calyx/core/request_signature.hpp>
#include <calyx/core/time.hpp>
#include <calyx/core/uint256.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

namespace calyx::core {

/// No member has a dot in it.
struct ChallengeId {
  request_signature::Chain chain = request_signature::Chain::base;
  std::string address{};  ///< In the one spelling that accounts have.
  Instant at{};           ///< In whole seconds.
  std::string nonce{};
  std::string seal{};  ///< What only its market can say of the challenge's text.

  bool operator==(const ChallengeId&) const = default;
};

/// Chain, address, seconds, nonce and seal, with dots between.
inline std::string challenge_id_text(const ChallengeId& id) {
  std::string out(request_signature::word(id.chain));
  const std::string seconds = std::to_string(id.at.us / us_per_second);
  for (const std::string* part : {&id.address, &seconds, &id.nonce, &id.seal}) out.append(".").append(*part);
  return out;
}

/// What `text` says, or nothing where it is no such id.
inline std::optional<ChallengeId> read_challenge_id(std::string_view text) {
  std::string_view parts[5];
  for (std::size_t i = 0; i < std::size(parts); ++i) {
    const std::size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == std::size(parts))) return std::nullopt;
    parts[i] = text.substr(0, dot);
    if (dot != std::string_view::npos) text.remove_prefix(dot + 1);
  }
  using request_signature::Chain;
  ChallengeId out;
  if (parts[0] == request_signature::word(Chain::solana))
    out.chain = Chain::solana;
  else if (parts[0] != request_signature::word(Chain::base))
    return std::nullopt;
  const auto number = read_uint256(parts[2]);
  const auto seconds = number ? number->small() : std::nullopt;
  if (!seconds || *seconds > static_cast<std::uint64_t>(instant_max.us / us_per_second)) return std::nullopt;
  out.at = {static_cast<std::int64_t>(*seconds) * us_per_second};
  out.address = parts[1];
  out.nonce = parts[3];
  out.seal = parts[4];
  return out;
}

}  // namespace calyx::core
