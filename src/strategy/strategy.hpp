/// \file
/// Strategies as Rust source: a compiler for the part of Rust that they use.
///
/// Start at `compile`. It reads one file as the Prop AMM challenge has them (a Rust edition 2021 `lib.rs`)
/// and makes bytecode of `compute_swap` and, where there is one, `after_swap`; `calyx_kernels/bytecode.hpp`
/// runs it. What nothing calls from there is read, not checked: the entry point's boilerplate among it. There
/// is no borrow checker: a reference to what is gone ends the call with a panic or reads what lies there now.
///
/// Threads: any, at any time; nothing is shared.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "calyx_kernels/bytecode.hpp"

namespace calyx::strategy {

/// Limits on a source, each of which ends in a diagnostic of code `too_large` or `too_deep`.
inline constexpr std::size_t source_bytes_max = 256 * 1024;
inline constexpr std::uint32_t nesting_max = 200;  ///< Expressions, types, patterns and blocks in each other.
inline constexpr std::uint32_t code_max = 30'000;  ///< Instructions.
inline constexpr std::uint32_t frame_slots_max = 8'192;  ///< 64 KiB a function.
inline constexpr std::uint32_t stack_slots_max = 16'384;

/// Why a source is refused. Units: lines and columns count from 1, columns in bytes.
struct Diagnostic {
  /// One of: `source_unsafe`, `source_name`, `source_model_used`, `source_get_model_used`,
  /// `source_no_compute_swap`, `source_syntax`, `source_forbidden` (the challenge's rules), `unsupported`,
  /// `type_mismatch`, `type_unknown`, `name_unknown`, `argument_count`, `recursion`, `constant_failed`,
  /// `too_large`, `too_deep`.
  std::string code;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::string message;
};

/// A program and its tables. `view` lends them out.
struct Compiled {
  std::vector<kernels::bytecode::Instruction> code;
  std::vector<std::uint32_t> lines;  ///< The source line of each instruction.
  std::vector<std::uint64_t> pool;
  std::vector<unsigned char> constants;
  std::uint32_t stack_slots = 0;
  std::uint32_t compute_swap = kernels::bytecode::Program::no_entry;
  std::uint32_t after_swap = kernels::bytecode::Program::no_entry;
  std::string name;        ///< The constant NAME.
  std::string model_used;  ///< The constant MODEL_USED.

  /// Owns: nothing; valid while this object stands unchanged.
  kernels::bytecode::Program view() const noexcept;
  /// The line of the instruction at which a call ended, or 0.
  std::uint32_t line_at(std::uint32_t at) const noexcept { return at < lines.size() ? lines[at] : 0; }
};

/// Compiles `source`. The first fault found is the one told; the challenge's rules are looked at first, in
/// the order in which `Diagnostic::code` lists them, except that what cannot be read at all is
/// `source_syntax`.
std::variant<Compiled, Diagnostic> compile(std::string_view source);

/// A program as bytes, to be compared or kept: `calyx-bytecode/1\n`, then little-endian numbers of 32 bits
/// (the two entries, the slots of stack, and how many instructions, pooled words and bytes of constants), the
/// instructions (four numbers of 16 bits each), their lines (32 bits), the pool (64 bits) and the constants.
std::string bytes_of(const Compiled& compiled);

}  // namespace calyx::strategy
