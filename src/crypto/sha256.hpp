/// \file
/// SHA-256, for the chain, the receipt log and whatever core hashes.
#pragma once

#include <calyx/core/digest.hpp>
#include <memory>
#include <string_view>

namespace calyx::crypto {

/// The SHA-256 of the parts put one after another. This is what core's rules are handed where they need
/// a hash. Threads: any.
struct Sha256 {
  core::Digest operator()(std::string_view a) const;
  core::Digest operator()(std::string_view a, std::string_view b) const;
  core::Digest operator()(std::string_view a, std::string_view b, std::string_view c) const;
};
static_assert(core::Sha256<Sha256>);

/// The SHA-256 of what comes piece by piece and is too large to be held. Threads: one at a time.
class Sha256Stream {
 public:
  Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;
  ~Sha256Stream();

  void update(std::string_view piece);

  /// The digest of all pieces; the stream then begins anew.
  core::Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace calyx::crypto
