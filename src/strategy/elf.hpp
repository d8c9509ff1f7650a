/// \file
/// Strategies as eBPF objects: an ELF file in, verified and decoded code or a fault out.
///
/// Start at `load_elf`. It takes two kinds of file, both 64-bit and little-endian:
/// - a relocatable object (ET_REL, EM_BPF) as `clang -target bpf` makes it, with a function `entrypoint` at
/// the
///   beginning of `.text`, no relocations there and no helper functions;
/// - a Solana program (ET_DYN, EM_BPF or EM_SBPF) of sBPF version 1.
/// What is in a file is believed only after it was checked. `calyx_kernels/sbpf.hpp` runs what comes out.
///
/// Threads: any, at any time; nothing is shared.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "calyx_kernels/sbpf.hpp"

namespace calyx::strategy {

/// Limits on a file, each of which ends in a fault of code `elf_too_large`.
inline constexpr std::size_t object_bytes_max = 10 * 1024 * 1024;
inline constexpr std::uint32_t text_instructions_max = 262'144;  ///< 2 MiB of text: slots of 8 bytes.
inline constexpr std::uint32_t sections_max = 1'024;
inline constexpr std::uint32_t segments_max = 64;

/// Why a file is refused.
struct ObjectFault {
  /// One of: `elf_malformed` (no proper ELF file), `elf_unsupported` (proper, but of another kind),
  /// `elf_too_large`, `bpf_verify` (an instruction that must not be run).
  std::string code;
  std::uint64_t at = 0;  ///< A byte of the file; of `bpf_verify` an instruction of the text, in slots.
  std::string message;
};

/// A program and its image. `view` lends them out.
struct SbpfObject {
  std::vector<kernels::sbpf::Instruction> code;  ///< One for each slot, and an `end`.
  std::vector<unsigned char> image;
  std::uint32_t image_at = 0;
  std::uint32_t text_at = 0;
  std::uint32_t entry = 0;
  std::uint32_t frames = 0;
  std::uint32_t heap_bytes = 0;
  bool plain = false;

  /// Owns: nothing; valid while this object stands unchanged.
  kernels::sbpf::Program view() const noexcept;
  std::size_t stack_bytes() const noexcept { return std::size_t{frames} * kernels::sbpf::frame_bytes; }
};

/// Loads a whole file. The first fault found is the one told.
std::variant<SbpfObject, ObjectFault> load_elf(std::span<const unsigned char> file);

/// Loads instructions alone, as a plain object whose entry is the first one.
std::variant<SbpfObject, ObjectFault> load_text(std::span<const unsigned char> text);

/// What speaks against running `text`, as solana_rbpf 0.8.5's RequisiteVerifier judges version 1. Text may
/// end in any instruction: running past its end is an `Ending`.
std::optional<ObjectFault> verify(std::span<const unsigned char> text);

}  // namespace calyx::strategy
