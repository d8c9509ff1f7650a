/// \file
/// What the fuzz targets share: their list, and how one says that a promise is broken.
///
/// A target is a function of a stranger's bytes that asks for more than to come back: what is accepted is
/// spelled again and read as the same value, keeps its limits, and is judged alike each time. libFuzzer calls
/// it through `libfuzzer/entry.cpp` (`./dev fuzz`), and `corpus.test.cpp` with each file of
/// `corpus/<target>`.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::fuzz {

// One row a target: the name of its function, of its file and of its folder of the corpus.
#define CALYX_FUZZ_TARGETS(X) \
  X(account)                  \
  X(challenge_id)             \
  X(derived_key)              \
  X(encoding)                 \
  X(facilitator)              \
  X(json)                     \
  X(mpp_challenge)            \
  X(mpp_credential)           \
  X(payment_terms)            \
  X(receipt)                  \
  X(request)                  \
  X(sign_in)                  \
  X(signed_request)           \
  X(solana)                   \
  X(x402)

namespace target {
#define CALYX_FUZZ_DECLARED(name) void name(std::string_view input);
CALYX_FUZZ_TARGETS(CALYX_FUZZ_DECLARED)
#undef CALYX_FUZZ_DECLARED
}  // namespace target

/// A promise that an input broke. libFuzzer takes any exception for a crash, and keeps the input.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};

inline void demand(bool holds, const char* promise) {
  if (!holds) throw Broken(promise);
}

/// The first `count` pieces of `text` between `mark`s, the last of which is all the rest; empty ones where
/// there are fewer.
inline std::vector<std::string_view> pieces_of(std::string_view text, std::size_t count, char mark = '\n') {
  std::vector<std::string_view> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = i + 1 == count ? text.size() : text.find(mark);
    out[i] = text.substr(0, end);
    if (end >= text.size()) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

/// ASCII's capitals made small.
inline std::string small_letters(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return out;
}

}  // namespace calyx::fuzz
