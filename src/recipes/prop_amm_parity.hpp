/// \file
/// A strategy as rustc builds it, asked what its bytecode was asked: two compilers of one source, and whether
/// they agree.
///
/// Nothing of the source runs in this process: it is compiled and run by `RunEnclosed`. What the source may
/// not say (`unsafe`, macros that read files or the environment, other crates) was refused when its bytecode
/// was made.
///
/// Threads: nothing is shared.
#pragma once

#include <calyx/enclosure.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "strategy/native.hpp"
#include "strategy/strategy.hpp"

namespace calyx::prop_amm {

/// How much is asked, where no call uses more than its share of `parity_fuel`.
inline constexpr std::uint64_t parity_quotes = 10'000;
inline constexpr std::uint64_t parity_updates = 1'000;
/// Instructions of all calls together: what comes after them is not asked. So slow strategies end, too, and
/// the same questions are asked everywhere.
inline constexpr std::uint64_t parity_fuel = 1'000'000'000;

struct Parity {
  std::string_view word{};    ///< `passed`, `failed` or `skipped`.
  std::string_view reason{};  ///< Of `skipped`, as `Verdict::parity_reason` lists them.
  std::string message{};      ///< In words; of `failed` the first question that has two answers.
  std::uint32_t line = 0;     ///< Of the source, where one answer is a panic of ours.
};

/// Only two answers to one question are `failed`: whatever keeps a question from being answered is `skipped`.
/// Fails: `stopped`.
Result<Parity> compare_with_rustc(const strategy::Compiled& compiled, const strategy::NativeCode* native,
                                  std::string_view source, const RunEnclosed& enclosed,
                                  const std::function<bool()>& stopped);

/// The files of which rustc makes the program that answers, but for the source and the questions.
std::vector<EnclosedFile> rust_files(bool decodes, bool has_after_swap);

}  // namespace calyx::prop_amm
