/// \file
/// What an upload holds while its bytes come.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "artifacts.hpp"
#include "crypto/sha256.hpp"
#include "files.hpp"

namespace calyx::artifacts {

/// A part's file begins with the SHA-256 of what follows, so that a list need not read the parts.
inline constexpr std::uint64_t part_head_bytes = 32;

namespace detail {

struct Writing {
  std::shared_ptr<const Folder> folder;
  Draft draft;
  crypto::Sha256Stream hash;
  std::uint64_t size = 0;
  std::uint64_t size_max = 0;
  std::string part;           ///< `<id>/<number>` when it is one; empty for a blob.
  std::optional<Error> over;  ///< What each later call answers.

  Writing() = default;
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
  ~Writing();

  /// Takes the draft away, for `error`.
  Error give_up(Error error);
};

}  // namespace detail
}  // namespace calyx::artifacts
